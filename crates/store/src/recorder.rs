//! What both recorders share: a bounded buffer, and a thread that writes it in batches.
//!
//! Recording never waits for the database: it takes a lock for as long as a push takes. A batch is written when it is
//! full, when it is a second old, when somebody [flushes](Recorder::flush), and at the end. If the database fails the
//! batch is kept and tried again, while the buffer has room; what does not fit is counted.

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
        let writing = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name(name.into())
            .spawn(move || writing.run(&write))?;
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

/// A batch under way.
struct Batch<T> {
    entries: Vec<T>,
    dropped: u64,
    /// Whom to tell: everybody who waits, if this takes everything that waits.
    flushes: Vec<oneshot::Sender<Result<(), StoreError>>>,
}

impl<T> Shared<T> {
    /// What the thread does.
    fn run(&self, write: &Write<T>) {
        // Its own small runtime: the answers of the store need a timer, and the callers' runtimes end before the last
        // batch.
        let runtime = match tokio::runtime::Builder::new_current_thread().enable_time().build() {
            Ok(runtime) => runtime,
            Err(error) => return tracing::error!(%error, "nothing can be recorded"),
        };
        while let Some(batch) = self.next() {
            let result = runtime.block_on(write(&batch.entries, batch.dropped));
            let has_failed = result.is_err();
            self.done(batch, result);
            if has_failed && !self.pause() {
                break;
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until there is something to write. `None` at the end.
    fn next(&self) -> Option<Batch<T>> {
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

    fn take(&self, state: &mut State<T>) -> Batch<T> {
        let count = state.waiting.len().min(self.limits.batch_max);
        let entries = state.waiting.drain(..count).collect();
        let takes_all = state.waiting.is_empty();
        state.since = if takes_all { None } else { state.since };
        Batch {
            entries,
            dropped: std::mem::take(&mut state.dropped),
            flushes: if takes_all {
                std::mem::take(&mut state.flushes)
            } else {
                Vec::new()
            },
        }
    }

    /// After a failure everything goes back to where it was, as far as there is room, and everybody who waits is told.
    fn done(&self, batch: Batch<T>, result: Result<(), StoreError>) {
        let Batch {
            mut entries,
            dropped,
            mut flushes,
        } = batch;
        if result.is_err() {
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
            flushes.append(&mut state.flushes);
        }
        for flush in flushes {
            let _ = flush.send(result.clone());
        }
    }

    /// Waits before the next try, or until somebody wants to know. False at the end: then there is no next try.
    fn pause(&self) -> bool {
        let state = self.lock();
        let ended = |state: &State<T>| state.is_closing || !state.flushes.is_empty();
        let wait = self
            .wake
            .wait_timeout_while(state, self.limits.delay, |state| !ended(state));
        let state = wait.unwrap_or_else(PoisonError::into_inner).0;
        if state.is_closing {
            let lost = state.waiting.len() as u64 + state.dropped;
            tracing::error!(lost, "the database takes no writes: the last records are lost");
        }
        !state.is_closing
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    /// A database that can be away, and what it was given.
    #[derive(Default)]
    struct Database {
        is_away: AtomicBool,
        written: Mutex<Vec<(Vec<u32>, u64)>>,
        tries: Mutex<u32>,
    }

    impl Database {
        fn recorder(self: &Arc<Database>, limits: RecorderLimits) -> Recorder<u32> {
            let database = Arc::clone(self);
            let write = move |entries: &[u32], dropped: u64| -> Answer<()> {
                *database.tries.lock().unwrap() += 1;
                if database.is_away.load(Ordering::SeqCst) {
                    return Box::pin(async { Err(StoreError::Closed) });
                }
                database.written.lock().unwrap().push((entries.to_vec(), dropped));
                Box::pin(async { Ok(()) })
            };
            Recorder::start("test", limits, Box::new(write)).unwrap()
        }

        fn entries(&self) -> Vec<u32> {
            self.written
                .lock()
                .unwrap()
                .iter()
                .flat_map(|(entries, _)| entries.clone())
                .collect()
        }

        fn dropped(&self) -> u64 {
            self.written.lock().unwrap().iter().map(|(_, dropped)| dropped).sum()
        }
    }

    fn limits() -> RecorderLimits {
        RecorderLimits {
            batch_max: 10,
            delay: Duration::from_secs(3_600),
            waiting_max: 35,
        }
    }

    fn flush(recorder: &Recorder<u32>) -> Result<(), StoreError> {
        tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap()
            .block_on(recorder.flush())
    }

    #[test]
    fn a_flush_writes_everything_in_order_and_nothing_if_there_is_nothing() {
        let database = Arc::new(Database::default());
        let recorder = database.recorder(limits());
        flush(&recorder).unwrap();
        assert_eq!(*database.tries.lock().unwrap(), 0);
        for entry in 0..33 {
            recorder.push(entry);
        }
        flush(&recorder).unwrap();
        assert_eq!(database.entries(), (0..33).collect::<Vec<_>>());
        assert!(
            database
                .written
                .lock()
                .unwrap()
                .iter()
                .all(|(entries, _)| entries.len() <= 10)
        );
    }

    #[test]
    fn while_the_database_is_away_a_flush_fails_and_nothing_is_lost_but_what_does_not_fit() {
        let database = Arc::new(Database::default());
        database.is_away.store(true, Ordering::SeqCst);
        let recorder = database.recorder(limits());
        let kept = (0..50).filter(|entry| recorder.push(*entry)).count();
        assert!((35..=45).contains(&kept), "{kept}");
        for _ in 0..3 {
            assert!(flush(&recorder).is_err());
        }
        // It doesn't try without end: once when the batch was full, once for each who asks, at most once more between.
        assert!(*database.tries.lock().unwrap() <= 8);
        database.is_away.store(false, Ordering::SeqCst);
        flush(&recorder).unwrap();
        let entries = database.entries();
        assert!(entries.is_sorted(), "{entries:?}");
        assert_eq!(entries.len() as u64 + database.dropped(), 50);
        assert!(entries.len() >= 35 - 10, "{entries:?}");
    }

    #[test]
    fn the_end_comes_also_while_the_database_is_away() {
        let database = Arc::new(Database::default());
        database.is_away.store(true, Ordering::SeqCst);
        let recorder = database.recorder(limits());
        for entry in 0..35 {
            recorder.push(entry);
        }
        drop(recorder);
        assert!(*database.tries.lock().unwrap() <= 2);
    }
}
