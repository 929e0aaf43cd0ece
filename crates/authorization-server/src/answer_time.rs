//! When answers that must look alike are sent: at like times, too.
//!
//! `invalid_client` for a registered id and for one that nobody has are the same octets, and so is `{"active":false}` for a token
//! of another audience and for one that was never issued. What it takes to find out differs all the same, and has to: a path is
//! built only for a known client (and costs a signature or several), a client is parsed at its first use, a foreign token has a
//! good signature to verify and a bad one has its revocation left unread. Doing the missing work for show would cost a peer
//! nothing and us everything, and never be quite equal. Instead the answer waits until a whole number of [intervals] has passed
//! since the request was complete. An interval is many times what any of these verdicts takes, so the number is one.
//!
//! The runtime's own timers are of no use here: a runtime goes to sleep for whole milliseconds, counted from when it has
//! nothing left to do, so that the moment in which the verdict was reached would show in the moment in which it wakes. A thread
//! of its own, which sleeps until a point in time, wakes everybody who waits. Nothing but these answers waits for it; what
//! anybody may know is sent at once.
//!
//! [intervals]: crate::Limits::alike_answer_interval

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

/// Tells requests when their answers may be sent.
pub(crate) struct AnswerTimer {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// By the time at which they are due, and by a number that keeps those apart that are due at once. As many as there are
    /// requests in progress, whose number the listeners limit.
    waiting: BTreeMap<(Instant, u64), oneshot::Sender<()>>,
    number: u64,
    is_closing: bool,
}

impl AnswerTimer {
    /// Starts the thread.
    pub(crate) fn start() -> std::io::Result<AnswerTimer> {
        let shared = Arc::new(Shared::default());
        let waking = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name("answer-timer".to_owned())
            .spawn(move || waking.run())?;
        Ok(AnswerTimer {
            shared,
            thread: Some(thread),
        })
    }

    /// Waits until the answer to a request that was complete at `complete_at` may be sent.
    pub(crate) async fn wait(&self, complete_at: Instant, interval: Duration) {
        if interval.is_zero() {
            return;
        }
        let woken = self.shared.wake_at(due(complete_at, Instant::now(), interval));
        // It fails only when the server ends.
        let _ = woken.await;
    }
}

impl Drop for AnswerTimer {
    fn drop(&mut self) {
        self.shared.lock().is_closing = true;
        self.shared.changed.notify_all();
        if let Some(thread) = self.thread.take() {
            // A panic of that thread was reported when it happened.
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wake_at(&self, due: Instant) -> oneshot::Receiver<()> {
        let (sender, woken) = oneshot::channel();
        let mut state = self.lock();
        let key = (due, state.number);
        state.number += 1;
        state.waiting.insert(key, sender);
        let is_next = state.waiting.first_key_value().is_some_and(|(first, _)| *first == key);
        drop(state);
        if is_next {
            self.changed.notify_all();
        }
        woken
    }

    /// What the thread does.
    fn run(&self) {
        let mut state = self.lock();
        while !state.is_closing {
            let now = Instant::now();
            let next = state.waiting.first_key_value().map(|((due, _), _)| *due);
            state = match next {
                Some(due) if due <= now => {
                    // Nobody is left to be told if the peer went away.
                    let _ = state.waiting.pop_first().map(|(_, sender)| sender.send(()));
                    state
                }
                Some(due) => {
                    let woken = self.changed.wait_timeout(state, due - now);
                    woken.unwrap_or_else(PoisonError::into_inner).0
                }
                None => self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
            };
        }
        // Everybody who still waits is answered now.
        state.waiting.clear();
    }
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
    #![expect(clippy::unwrap_used, reason = "tests")]

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

    #[tokio::test]
    async fn without_an_interval_nothing_waits() {
        let now = Instant::now();
        assert_eq!(due(now, now + INTERVAL, Duration::ZERO), now);
        let timer = AnswerTimer::start().unwrap();
        timer.wait(now, Duration::ZERO).await;
        assert!(timer.shared.lock().waiting.is_empty());
    }

    #[tokio::test]
    async fn nobody_is_woken_before_their_time_whoever_came_first() {
        let timer = AnswerTimer::start().unwrap();
        let woken_after = async |interval: Duration| {
            let complete_at = Instant::now();
            timer.wait(complete_at, interval).await;
            complete_at.elapsed()
        };
        let (long, short, same) = (INTERVAL * 8, INTERVAL, INTERVAL);
        let woken = tokio::join!(woken_after(long), woken_after(short), woken_after(same));
        assert!(woken.0 >= long && woken.1 >= short && woken.2 >= same, "{woken:?}");
        assert!(timer.shared.lock().waiting.is_empty());
    }

    #[tokio::test]
    async fn whoever_does_not_wait_any_more_is_in_nobodys_way() {
        let timer = AnswerTimer::start().unwrap();
        let gone = tokio::time::timeout(Duration::ZERO, timer.wait(Instant::now(), INTERVAL)).await;
        assert!(gone.is_err());
        timer.wait(Instant::now(), INTERVAL).await;
    }

    #[tokio::test]
    async fn at_the_end_nobody_waits_on() {
        let timer = AnswerTimer::start().unwrap();
        let (sender, receiver) = oneshot::channel();
        let never = Instant::now() + Duration::from_secs(3_600);
        timer.shared.lock().waiting.insert((never, 0), sender);
        drop(timer);
        assert!(receiver.await.is_err());
    }
}
