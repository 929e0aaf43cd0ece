//! When answers that must look alike are sent: at like times, too.
//!
//! `invalid_client` for a registered id and for one that nobody has are the same octets, and so is `{"active":false}` for a token
//! of another audience and for one that was never issued. What it takes to find out differs all the same, and has to: a path is
//! built only for a known client (and costs a signature or several), a client is parsed at its first use, a foreign token has a
//! good signature to verify and a bad one has its revocation left unread. Doing the missing work for show would cost a peer
//! nothing and us everything, and never be quite equal. Instead the answer waits until a whole number of [intervals] has passed
//! since the request was complete. An interval is many times what any of these verdicts takes, so the number is one.
//!
//! It is a timer that is waited for: no thread, no work, and nobody else's request waits. What anybody may know is sent at once.
//!
//! [intervals]: crate::Limits::alike_answer_interval

use std::time::Duration;

use tokio::time::{Instant, sleep_until};

/// Waits until the answer to a request that was complete at `complete_at` may be sent.
pub(crate) async fn wait(complete_at: Instant, interval: Duration) {
    sleep_until(due(complete_at, Instant::now(), interval)).await;
}

/// The first whole number of intervals after `complete_at`, at least one, that is not past at `now`.
///
/// A verdict that took longer than one interval, because a client's keys were fetched or the machine is busy, shows no more
/// than in how many of them it was reached.
fn due(complete_at: Instant, now: Instant, interval: Duration) -> Instant {
    let (took, interval) = (
        now.saturating_duration_since(complete_at).as_nanos(),
        interval.as_nanos(),
    );
    let intervals = took.checked_div(interval).unwrap_or_default().saturating_add(1);
    let nanos = interval.saturating_mul(intervals);
    complete_at + Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTERVAL: Duration = Duration::from_millis(5);

    fn due_after(took: Duration) -> Duration {
        let complete_at = Instant::now();
        due(complete_at, complete_at + took, INTERVAL) - complete_at
    }

    #[test]
    fn however_short_a_verdict_took_within_an_interval_its_answer_is_due_at_the_same_time() {
        for micros in [0, 1, 30, 400, 4_999] {
            assert_eq!(due_after(Duration::from_micros(micros)), INTERVAL, "{micros}");
        }
    }

    #[test]
    fn a_verdict_that_took_longer_shows_nothing_but_the_number_of_intervals() {
        for (micros, intervals) in [(5_000, 2), (5_001, 2), (9_999, 2), (2_000_000, 401)] {
            assert_eq!(
                due_after(Duration::from_micros(micros)),
                INTERVAL * intervals,
                "{micros}"
            );
        }
    }

    #[test]
    fn without_an_interval_nothing_waits() {
        let now = Instant::now();
        assert_eq!(due(now, now + INTERVAL, Duration::ZERO), now);
    }
}
