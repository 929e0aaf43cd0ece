//! Records refusals in batches, at most so many per second, and finds them at once.

use std::sync::{Arc, Mutex, PoisonError};

use keybound_protocol::refusal::{Refusal, RefusalId};
use keybound_protocol::time::Timestamp;

use crate::recorder::{Recorder, RecorderLimits};
use crate::{RefusalPage, RefusalQuery, Refusals, StoreError};

/// Refusals stored per second; the rest is counted.
pub const REFUSALS_PER_SECOND_MAX: u64 = 1_000;

/// Where a server puts its refusals, and where `explain` finds them, the newest included.
///
/// Recording never waits for the database. Dropping it writes what is left.
pub struct RefusalRecorder {
    recorder: Recorder<Refusal>,
    refusals: Arc<dyn Refusals>,
    second: Mutex<Second>,
}

/// The second at which refusals arrive, and how many were stored in it.
#[derive(Default)]
struct Second {
    at: i64,
    stored: u64,
}

impl RefusalRecorder {
    /// Starts recording.
    ///
    /// # Errors
    /// If no thread can be started.
    pub fn start(refusals: Arc<dyn Refusals>, limits: RecorderLimits) -> std::io::Result<RefusalRecorder> {
        let into = Arc::clone(&refusals);
        let write = move |refusals: &[Refusal], not_stored| into.append_refusals(refusals, not_stored);
        let recorder = Recorder::start("store-refusals", limits, Box::new(write))?;
        Ok(RefusalRecorder {
            recorder,
            refusals,
            second: Mutex::new(Second::default()),
        })
    }

    /// Records a refusal. If there were too many in its second, or the buffer is full, it is only counted, and this is
    /// false.
    pub fn record(&self, refusal: Refusal) -> bool {
        if !self.has_room_at(refusal.at) {
            self.recorder.count_dropped();
            return false;
        }
        self.recorder.push(refusal)
    }

    /// The refusal with this id, also if it was recorded a moment ago.
    pub async fn find(&self, id: &RefusalId) -> Result<Option<Refusal>, StoreError> {
        if let Some(refusal) = self.refusals.find_refusal(id)? {
            return Ok(Some(refusal));
        }
        self.recorder.flush().await?;
        self.refusals.find_refusal(id)
    }

    /// Refusals that fit `query`, newest first, those recorded a moment ago included.
    pub async fn list(&self, query: RefusalQuery) -> Result<RefusalPage, StoreError> {
        self.recorder.flush().await?;
        self.refusals.list_refusals(query).await
    }

    /// Returns once everything recorded before this call is durable.
    pub async fn flush(&self) -> Result<(), StoreError> {
        self.recorder.flush().await
    }

    /// Counts one more in the second of `at`, up to the limit.
    ///
    /// Several threads record, and each has read the clock for itself: a time that differs by a second or two belongs
    /// to the current second, or two threads at its edge would start it over with every refusal. A clock that was set
    /// is followed.
    fn has_room_at(&self, at: Timestamp) -> bool {
        let at = at.unix_secs();
        let mut second = self.second.lock().unwrap_or_else(PoisonError::into_inner);
        let is_next = at > second.at;
        let was_set_back = at < second.at.saturating_sub(2);
        if is_next || was_set_back {
            *second = Second { at, stored: 0 };
        }
        if second.stored >= REFUSALS_PER_SECOND_MAX {
            return false;
        }
        second.stored += 1;
        true
    }
}

impl std::fmt::Debug for RefusalRecorder {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("RefusalRecorder")
    }
}
