//! When an issuer's keys may be fetched again.
//!
//! Whoever can send requests can make up key ids, so an unknown `kid` must not become a request to the issuer each time. The
//! answer is a function of three moments; that a fetch is already under way is the caller's business.

use std::time::Duration;

use crate::moment::Moment;

/// The moments that decide whether a fetch may start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FetchSchedule {
    /// The least time between two fetches, once a set was obtained.
    refetch_interval: Duration,
    /// Whether a set was ever obtained.
    obtained: bool,
    attempted_at: Option<Moment>,
    /// Attempts in a row that failed.
    failures: u32,
}

impl FetchSchedule {
    /// Nothing was fetched yet.
    pub(crate) fn new(refetch_interval: Duration) -> FetchSchedule {
        FetchSchedule {
            refetch_interval,
            obtained: false,
            attempted_at: None,
            failures: 0,
        }
    }

    /// The same moments, another interval.
    pub(crate) fn with_refetch_interval(self, refetch_interval: Duration) -> FetchSchedule {
        FetchSchedule {
            refetch_interval,
            ..self
        }
    }

    /// Whether a fetch may start now, were one wanted.
    ///
    /// Once a set was obtained: every `refetch_interval`. Until then there is nothing to serve, so the distance starts at one
    /// second and doubles up to the same interval: an issuer that starts after its resource server is found soon.
    pub(crate) fn may_fetch(&self, now: Moment) -> bool {
        self.retry_after(now).is_zero()
    }

    /// How long until a fetch may start.
    pub(crate) fn retry_after(&self, now: Moment) -> Duration {
        self.attempted_at.map_or(Duration::ZERO, |attempted_at| {
            self.distance().saturating_sub(now.since(attempted_at))
        })
    }

    pub(crate) fn attempt(&mut self, now: Moment) {
        self.attempted_at = Some(now);
    }

    pub(crate) fn succeeded(&mut self) {
        self.obtained = true;
        self.failures = 0;
    }

    pub(crate) fn failed(&mut self) {
        self.failures = self.failures.saturating_add(1);
    }

    fn distance(&self) -> Duration {
        if self.obtained {
            return self.refetch_interval;
        }
        let doublings = self.failures.saturating_sub(1).min(5);
        Duration::from_secs(1 << doublings).min(self.refetch_interval)
    }
}

#[cfg(test)]
mod tests {
    use keybound_protocol::time::Timestamp;

    use super::*;

    fn start() -> Moment {
        Moment::at(Timestamp::from_unix_secs(1_000_000))
    }

    fn at(start: Moment, secs: u64) -> Moment {
        start.moved(secs.cast_signed(), Duration::from_secs(secs))
    }

    fn obtained(moment: Moment) -> FetchSchedule {
        let mut schedule = FetchSchedule::new(Duration::from_secs(30));
        schedule.attempt(moment);
        schedule.succeeded();
        schedule
    }

    #[test]
    fn does_not_refetch_within_thirty_seconds() {
        let start = start();
        let schedule = obtained(start);
        assert!(!schedule.may_fetch(at(start, 29)));
        assert!(schedule.may_fetch(at(start, 30)));
    }

    #[test]
    fn spaces_first_attempts_ever_wider() {
        let start = start();
        let mut schedule = FetchSchedule::new(Duration::from_secs(30));
        assert!(schedule.may_fetch(start));
        let mut clock = 0;
        for expected in [1, 2, 4, 8, 16, 30, 30] {
            schedule.attempt(at(start, clock));
            schedule.failed();
            assert!(!schedule.may_fetch(at(start, clock + expected - 1)), "{expected}");
            assert!(schedule.may_fetch(at(start, clock + expected)), "{expected}");
            assert_eq!(schedule.retry_after(at(start, clock)), Duration::from_secs(expected));
            clock += expected;
        }
    }

    #[test]
    fn a_clock_set_back_neither_stops_fetching_nor_permits_more_of_it() {
        let start = start();
        let schedule = obtained(start);
        assert!(!schedule.may_fetch(start.moved(-1_000, Duration::from_secs(29))));
        assert!(schedule.may_fetch(start.moved(-1_000, Duration::from_secs(30))));
    }
}
