//! Whether one issuer can be asked. After failures it is left alone, but for one question at a time that finds out whether it is
//! back.
//!
//! Anybody can make tokens up, and some of them may make the issuer, or a proxy before it, fail. So one failed question stops
//! nobody else's, unless the token had no part in it; and after several, whose questions do fail keeps nobody else from asking.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::moment::Moment;

/// So many questions in a row must fail before an issuer that can be reached is left alone.
pub(crate) const FAILURES_BEFORE_PAUSE: u32 = 3;
/// Prefixes whose question failed that are remembered; questions are let through one by one, so there are few.
const FAILED_PREFIXES_MAX: usize = 1024;

/// How it goes with one issuer.
#[derive(Debug)]
pub(super) struct Availability {
    pause: Duration,
    standing: Mutex<Standing>,
}

#[derive(Debug, Default)]
struct Standing {
    /// Since the last answer.
    failures: u32,
    is_paused: bool,
    /// The question that finds out whether it is back.
    probe: Option<Probe>,
    probes: u64,
    /// For whom it failed, and when.
    failed: HashMap<Option<IpAddr>, Moment>,
    /// When a failure was last reported.
    reported: Option<Moment>,
}

#[derive(Clone, Copy, Debug)]
struct Probe {
    number: u64,
    begun: Moment,
}

/// A question that may be asked. Dropped without an outcome it was given up, which says nothing about the issuer.
#[derive(Debug)]
pub(super) struct Attempt<'a> {
    availability: &'a Availability,
    prefix: Option<IpAddr>,
    probe: Option<u64>,
}

impl Availability {
    pub(super) fn new(pause: Duration) -> Availability {
        Availability {
            pause,
            standing: Mutex::default(),
        }
    }

    /// Permits a question for somebody of `prefix`; `None` while the issuer is left alone.
    pub(super) fn begin(&self, prefix: Option<IpAddr>, now: Moment) -> Option<Attempt<'_>> {
        let mut standing = self.lock();
        if standing.leaves_alone(prefix, now, self.pause) {
            return None;
        }
        let mut probe = None;
        if standing.is_paused {
            let number = standing.probes;
            standing.probes += 1;
            standing.probe = Some(Probe { number, begun: now });
            probe = Some(number);
        }
        Some(Attempt {
            availability: self,
            prefix,
            probe,
        })
    }

    /// Whether the issuer is left alone by somebody of `prefix`.
    pub(super) fn is_left_alone(&self, prefix: Option<IpAddr>, now: Moment) -> bool {
        self.lock().leaves_alone(prefix, now, self.pause)
    }

    fn lock(&self) -> MutexGuard<'_, Standing> {
        self.standing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Standing {
    fn leaves_alone(&self, prefix: Option<IpAddr>, now: Moment, pause: Duration) -> bool {
        let is_recent = |then: &Moment| now.since(*then) < pause;
        // A probe that takes long must not keep the next from finding out.
        let is_probed = self.probe.is_some_and(|probe| is_recent(&probe.begun));
        self.is_paused && (is_probed || self.failed.get(&prefix).is_some_and(is_recent))
    }
}

impl Attempt<'_> {
    /// The issuer answered, whatever it said.
    pub(super) fn answered(self) {
        let mut standing = self.availability.lock();
        standing.failures = 0;
        standing.is_paused = false;
        standing.probe = None;
        standing.failed.clear();
    }

    /// It did not, as known at `now`. `was_sent`: the token may have been what it failed at. Whether that is to be reported: once in
    /// each pause, for whoever floods us with tokens must not flood the log.
    pub(super) fn failed(self, was_sent: bool, now: Moment) -> bool {
        let pause = self.availability.pause;
        let mut standing = self.availability.lock();
        standing.failures = standing.failures.saturating_add(1);
        standing.is_paused |= !was_sent || standing.failures >= FAILURES_BEFORE_PAUSE;
        if standing.is_paused {
            standing.failed.retain(|_, then| now.since(*then) < pause);
            if standing.failed.len() < FAILED_PREFIXES_MAX {
                standing.failed.insert(self.prefix, now);
            }
        }
        let is_due = standing.reported.is_none_or(|then| now.since(then) >= pause);
        if is_due {
            standing.reported = Some(now);
        }
        is_due
    }
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        let mut standing = self.availability.lock();
        if standing.probe.map(|probe| probe.number) == self.probe {
            standing.probe = None;
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failing test panics")]

    use keybound_protocol::time::Timestamp;

    use super::*;

    const PAUSE: Duration = Duration::from_secs(1);
    const STRANGER: Option<IpAddr> = Some(IpAddr::V4(std::net::Ipv4Addr::new(203, 0, 113, 1)));
    const OTHER: Option<IpAddr> = Some(IpAddr::V4(std::net::Ipv4Addr::new(203, 0, 113, 2)));

    fn now() -> Moment {
        Moment::at(Timestamp::from_unix_secs(1_800_000_000))
    }

    /// After so many failures of the stranger's questions.
    fn after(failures: u32, was_sent: bool, now: Moment) -> Availability {
        let availability = Availability::new(PAUSE);
        for _ in 0..failures {
            availability.begin(STRANGER, now).unwrap().failed(was_sent, now);
        }
        availability
    }

    #[test]
    fn failures_leave_the_issuer_alone_when_they_are_in_a_row_or_no_tokens_fault() {
        let now = now();
        assert!(after(FAILURES_BEFORE_PAUSE, true, now).begin(STRANGER, now).is_none());
        assert!(after(1, false, now).begin(STRANGER, now).is_none());
        assert!(
            after(FAILURES_BEFORE_PAUSE - 1, true, now)
                .begin(STRANGER, now)
                .is_some()
        );
        let availability = Availability::new(PAUSE);
        for _ in 0..100 {
            for _ in 1..FAILURES_BEFORE_PAUSE {
                availability.begin(STRANGER, now).unwrap().failed(true, now);
            }
            availability.begin(OTHER, now).unwrap().answered();
        }
    }

    #[test]
    fn one_question_at_a_time_finds_out_whether_the_issuer_is_back() {
        let now = now();
        let availability = after(FAILURES_BEFORE_PAUSE, true, now);
        let probe = availability.begin(OTHER, now).unwrap();
        assert!(availability.begin(None, now).is_none());
        drop(probe);
        let probe = availability.begin(None, now).unwrap();
        assert!(availability.begin(OTHER, now).is_none());
        // One that hangs is not waited for.
        let later = now.moved(1, Duration::ZERO);
        let second = availability.begin(OTHER, later).unwrap();
        drop(probe);
        assert!(availability.begin(None, later).is_none());
        second.answered();
        assert!(availability.begin(STRANGER, later).is_some());
    }

    #[test]
    fn failures_are_reported_once_in_each_pause() {
        let now = now();
        let availability = Availability::new(PAUSE);
        let mut reported = 0;
        for number in 0..300 {
            let then = now.moved(number / 100, Duration::ZERO);
            reported += u32::from(availability.begin(STRANGER, then).unwrap().failed(true, then));
            availability.begin(OTHER, then).unwrap().answered();
        }
        assert_eq!(reported, 3);
    }

    #[test]
    fn who_fails_keeps_failing_alone() {
        let now = now();
        let availability = after(FAILURES_BEFORE_PAUSE, true, now);
        for second in 0..10 {
            let then = now.moved(second, Duration::ZERO);
            if let Some(attempt) = availability.begin(STRANGER, then) {
                attempt.failed(true, then);
            }
            assert!(availability.begin(STRANGER, then).is_none());
            assert!(availability.begin(OTHER, then).is_some());
        }
    }
}
