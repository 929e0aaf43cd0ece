//! The wall clock, as a value.

use std::{sync::Arc, time::SystemTime};

use keybound_protocol::time::Timestamp;

/// Tells the time. Daemons make one and pass it down; tests pass one that stands still.
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> Timestamp + Send + Sync>);

impl Clock {
    /// The system's clock.
    pub fn system() -> Clock {
        Clock(Arc::new(|| {
            // The one place where the wall clock is read.
            #[expect(
                clippy::disallowed_methods,
                reason = "everything else is handed a Clock or a Timestamp"
            )]
            let now = SystemTime::now();
            let since_epoch = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
            Timestamp::from_unix_secs(i64::try_from(since_epoch.as_secs()).unwrap_or(i64::MAX))
        }))
    }

    /// A clock of the caller's making.
    pub fn from_fn(now: impl Fn() -> Timestamp + Send + Sync + 'static) -> Clock {
        Clock(Arc::new(now))
    }

    /// A clock that always says `at`.
    pub fn fixed(at: Timestamp) -> Clock {
        Clock::from_fn(move || at)
    }

    /// The time now.
    pub fn now(&self) -> Timestamp {
        (self.0)()
    }
}

impl std::fmt::Debug for Clock {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Clock")
    }
}
