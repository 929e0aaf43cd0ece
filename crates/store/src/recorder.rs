//! What both recorders share: a bounded buffer, and a thread that writes it in batches.
//!
//! Recording never waits for the database: it takes a lock for as long as a push takes. A batch is written when it is full, when it is
//! a second old, when somebody [flushes](Recorder::flush), and at the end. If the database fails the batch is kept and tried
//! again, while the buffer has room; what does not fit is counted.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use crate::{Answer, StoreError};

/// The limits of a recorder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecorderLimits {
    /// Entries in one batch.
    pub batch_max: usize,
    /// How old the oldest entry of a batch becomes before it is written.
    pub delay: Duration,
    /// Entries that may wait, while the database is slow or away.
    pub waiting_max: usize,
}

impl Default for RecorderLimits {
    fn default() -> RecorderLimits {
        RecorderLimits {
            batch_max: 4_096,
            delay: Duration::from_secs(1),
            waiting_max: 4 * 4_096,
        }
    }
}

/// Writes one batch: the entries, and how many more there were.
pub(crate) type Write<T> = Box<dyn Fn(&[T], u64) -> Answer<()> + Send>;

/// A bounded buffer and the thread that empties it.
pub(crate) struct Recorder<T> {
    shared: Arc<Shared<T>>,
    thread: Option<JoinHandle<()>>,
}

struct Shared<T> {
    limits: RecorderLimits,
    state: Mutex<State<T>>,
    wake: Condvar,
}

struct State<T> {
    waiting: VecDeque<T>,
    /// When the oldest waiting entry came.
    since: Option<Instant>,
    /// Not written because a limit was reached.
    dropped: u64,
    flushes: Vec<oneshot::Sender<Result<(), StoreError>>>,
    is_closing: bool,
}

impl<T: Send + 'static> Recorder<T> {
    /// Starts the thread.
    pub(crate) fn start(name: &str, limits: RecorderLimits, write: Write<T>) -> std::io::Result<Recorder<T>> {
        let state = State {
            waiting: VecDeque::new(),
            since: None,
            dropped: 0,
            flushes: Vec::new(),
            is_closing: false,
        };
        let shared = Arc::new(Shared {
            limits,
            state: Mutex::new(state),
            wake: Condvar::new(),
        });
        // Its own small runtime: the answers of the store need a timer, and the callers' runtimes end before the last batch.
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
        let writing = Arc::clone(&shared);
        let thread = std::thread::Builder::new().name(name.into()).spawn(move || {
            while let Some(work) = writing.next() {
                let result = runtime.block_on(write(&work.entries, work.dropped));
                let has_failed = result.is_err();
                let is_last = work.is_last;
                writing.done(work, result);
                if is_last {
                    break;
                }
                if has_failed {
                    writing.pause();
                }
            }
        })?;
        Ok(Recorder {
            shared,
            thread: Some(thread),
        })
    }

    /// Adds an entry. False if there is no room: then it is only counted.
    pub(crate) fn push(&self, entry: T) -> bool {
        let mut state = self.shared.lock();
        if state.waiting.len() >= self.shared.limits.waiting_max {
            state.dropped += 1;
            return false;
        }
        state.waiting.push_back(entry);
        let is_first = state.since.is_none();
        state.since.get_or_insert_with(Instant::now);
        let is_full = state.waiting.len() == self.shared.limits.batch_max;
        drop(state);
        if is_first || is_full {
            self.shared.wake.notify_all();
        }
        true
    }

    /// Counts an entry that a limit keeps from being stored.
    pub(crate) fn count_dropped(&self) {
        self.shared.lock().dropped += 1;
    }

    /// Returns once everything recorded before this call is durable.
    pub(crate) async fn flush(&self) -> Result<(), StoreError> {
        let (reply, answer) = oneshot::channel();
        self.shared.lock().flushes.push(reply);
        self.shared.wake.notify_all();
        answer.await.unwrap_or(Err(StoreError::Closed))
    }
}

impl<T> Drop for Recorder<T> {
    fn drop(&mut self) {
        self.shared.lock().is_closing = true;
        self.shared.wake.notify_all();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("a recorder's thread panicked");
        }
    }
}

/// What the thread does next.
struct Work<T> {
    entries: Vec<T>,
    dropped: u64,
    /// Whom to tell, if this takes everything that waits.
    flushes: Vec<oneshot::Sender<Result<(), StoreError>>>,
    is_last: bool,
}

impl<T> Shared<T> {
    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until there is something to write. `None` at the end.
    fn next(&self) -> Option<Work<T>> {
        let mut state = self.lock();
        loop {
            let is_due = state.since.is_some_and(|since| since.elapsed() >= self.limits.delay);
            let is_full = state.waiting.len() >= self.limits.batch_max;
            let has_work = !state.waiting.is_empty() || state.dropped > 0;
            if !has_work {
                for flush in state.flushes.drain(..) {
                    let _ = flush.send(Ok(()));
                }
                if state.is_closing {
                    return None;
                }
            }
            if is_due || is_full || state.is_closing || !state.flushes.is_empty() {
                return Some(self.take(&mut state));
            }
            state = match state.since {
                None => self.wake.wait(state).unwrap_or_else(PoisonError::into_inner),
                Some(since) => {
                    let rest = self.limits.delay.saturating_sub(since.elapsed());
                    self.wake
                        .wait_timeout(state, rest)
                        .unwrap_or_else(PoisonError::into_inner)
                        .0
                }
            };
        }
    }

    fn take(&self, state: &mut State<T>) -> Work<T> {
        let count = state.waiting.len().min(self.limits.batch_max);
        let entries = state.waiting.drain(..count).collect();
        let takes_all = state.waiting.is_empty();
        state.since = if takes_all { None } else { state.since };
        Work {
            entries,
            dropped: std::mem::take(&mut state.dropped),
            flushes: if takes_all {
                std::mem::take(&mut state.flushes)
            } else {
                Vec::new()
            },
            is_last: state.is_closing && takes_all,
        }
    }

    /// After a failure everything goes back to where it was, as far as there is room.
    fn done(&self, work: Work<T>, result: Result<(), StoreError>) {
        let Work {
            mut entries,
            dropped,
            flushes,
            is_last,
        } = work;
        if let Err(error) = &result {
            tracing::error!(%error, entries = entries.len(), is_last, "a batch of records could not be written");
            let mut state = self.lock();
            state.dropped += dropped;
            while let Some(entry) = entries.pop() {
                if state.waiting.len() >= self.limits.waiting_max {
                    state.dropped += 1;
                } else {
                    state.waiting.push_front(entry);
                }
            }
            if !state.waiting.is_empty() {
                state.since.get_or_insert_with(Instant::now);
            }
        }
        for flush in flushes {
            let _ = flush.send(result.clone());
        }
    }

    /// Waits before the next try, unless it is the end or somebody wants to know.
    fn pause(&self) {
        let state = self.lock();
        if state.is_closing || !state.flushes.is_empty() {
            return;
        }
        drop(
            self.wake
                .wait_timeout(state, self.limits.delay)
                .unwrap_or_else(PoisonError::into_inner),
        );
    }
}
