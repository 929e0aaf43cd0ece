//! How long ago something was, by two clocks.
//!
//! What an issuer said is believed for a while, and the wall clock alone cannot tell how long that has been: set back by an hour it
//! would add an hour. The monotonic clock alone cannot either, for it may stand still while the machine sleeps. So the longer of the
//! two ages counts. What a token itself says (`exp`) is compared with the wall clock and with nothing else.

use std::time::{Duration, Instant};

use keybound_protocol::time::Timestamp;

/// One moment, as both clocks tell it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Moment {
    wall: Timestamp,
    monotonic: Instant,
}

impl Moment {
    /// This moment, which the caller's clock calls `now`.
    pub(crate) fn at(now: Timestamp) -> Moment {
        Moment {
            wall: now,
            monotonic: Instant::now(),
        }
    }

    /// The time since `earlier`, by the clock that says more.
    pub(crate) fn since(self, earlier: Moment) -> Duration {
        let monotonic = self.monotonic.saturating_duration_since(earlier.monotonic);
        self.wall.duration_since(earlier.wall).max(monotonic)
    }
}

#[cfg(test)]
impl Moment {
    /// Later, by what each of the clocks says.
    pub(crate) fn moved(self, wall_secs: i64, monotonic: Duration) -> Moment {
        Moment {
            wall: Timestamp::from_unix_secs(self.wall.unix_secs() + wall_secs),
            monotonic: self.monotonic + monotonic,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn check(wall_secs: i64, monotonic: Duration, expected: Duration) {
        let earlier = Moment::at(Timestamp::from_unix_secs(1_800_000_000));
        let age = earlier.moved(wall_secs, monotonic).since(earlier);
        assert_eq!(age, expected, "{wall_secs} s and {monotonic:?}");
    }

    #[test]
    fn a_wall_clock_that_is_set_back_makes_nothing_younger() {
        check(-3600, 30 * SECOND, 30 * SECOND);
        check(-3600, Duration::ZERO, Duration::ZERO);
        check(0, 30 * SECOND, 30 * SECOND);
    }

    #[test]
    fn a_monotonic_clock_that_stood_still_makes_nothing_younger() {
        check(3600, SECOND, 3600 * SECOND);
    }

    #[test]
    fn clocks_that_agree_are_believed() {
        check(30, 30 * SECOND, 30 * SECOND);
    }
}
