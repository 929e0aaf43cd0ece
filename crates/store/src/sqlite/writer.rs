//! The one thread that writes: group commit.
//!
//! Callers queue; the thread takes what is waiting (up to `batch_max`), runs each verb inside one transaction, commits
//! once, and only then answers them all. While it waits for the disk the next batch gathers by itself, so one caller
//! pays one flush and many callers share one.
//!
//! Each verb runs in a savepoint: one that fails is rolled back and answered alone, and the others of its batch are
//! committed. Outcomes such as "exists already" are no failures. If the commit fails, nobody gets a yes.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rusqlite::Connection;
use tokio::sync::{oneshot, watch};

use super::batch::Batch;
use super::connection;
use super::fault::Fault;
use super::rows::change;
use super::settings::SqliteLimits;
use crate::key_file::KeyFile;
use crate::{Answer, RevocationCursor, StoreError};

/// What the writer thread needs to know.
pub(super) struct WriterSettings {
    pub(super) database: PathBuf,
    pub(super) node: Arc<str>,
    pub(super) limits: SqliteLimits,
    pub(super) key_file: Arc<KeyFile>,
    pub(super) revocations: Arc<watch::Sender<RevocationCursor>>,
}

/// What the writer has done since it was opened.
#[derive(Debug, Default)]
pub(super) struct WriterCounters {
    pub(super) verbs: AtomicU64,
    pub(super) commits: AtomicU64,
    pub(super) failures: AtomicU64,
}

/// The queue's end that callers hold. Dropping it commits what is queued, then ends the thread.
pub(super) struct Writer {
    queue: Option<SyncSender<Job>>,
    thread: Option<JoinHandle<()>>,
    counters: Arc<WriterCounters>,
    waiting_max: usize,
    deadline: Duration,
}

impl Writer {
    /// Starts the thread on an opened connection.
    pub(super) fn start(connection: Connection, settings: WriterSettings) -> std::io::Result<Writer> {
        let (queue, jobs) = sync_channel(settings.limits.waiting_max);
        let counters = Arc::new(WriterCounters::default());
        let (waiting_max, deadline) = (settings.limits.waiting_max, settings.limits.deadline);
        let writing = WriterThread {
            connection: Some(connection),
            settings,
            counters: Arc::clone(&counters),
            reopened_at: None,
            is_failing: false,
        };
        let thread = std::thread::Builder::new()
            .name("store-writer".into())
            .spawn(move || writing.run(&jobs))?;
        Ok(Writer {
            queue: Some(queue),
            thread: Some(thread),
            counters,
            waiting_max,
            deadline,
        })
    }

    /// Queues a verb; it is under way when this returns. The answer comes after the commit.
    pub(super) fn submit<T: Send + 'static>(
        &self,
        verb: impl FnOnce(&mut Batch<'_>) -> Result<T, Fault> + Send + 'static,
    ) -> Answer<T> {
        let (reply, answer) = oneshot::channel();
        let deadline = Instant::now() + self.deadline;
        let job = Job {
            deadline,
            work: Box::new(Verb {
                verb: Some(verb),
                outcome: None,
                reply,
            }),
        };
        let queued = match &self.queue {
            Some(queue) => queue.try_send(job).map_err(|error| match error {
                TrySendError::Full(_) => StoreError::Overloaded {
                    waiting_max: self.waiting_max,
                },
                TrySendError::Disconnected(_) => StoreError::Closed,
            }),
            None => Err(StoreError::Closed),
        };
        let limit = self.deadline;
        Box::pin(async move {
            queued?;
            match tokio::time::timeout_at(deadline.into(), answer).await {
                Ok(Ok(result)) => result,
                Ok(Err(_)) => Err(StoreError::Closed),
                Err(_) => Err(deadline_exceeded(limit)),
            }
        })
    }

    /// What it has done so far.
    pub(super) fn counters(&self) -> &WriterCounters {
        &self.counters
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        drop(self.queue.take());
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the store's writer thread panicked");
        }
    }
}

/// `DeadlineExceeded` with its limit.
pub(super) fn deadline_exceeded(limit: Duration) -> StoreError {
    StoreError::DeadlineExceeded {
        limit_ms: u64::try_from(limit.as_millis()).unwrap_or(u64::MAX),
    }
}

/// A verb that waits for its turn.
struct Job {
    deadline: Instant,
    work: Box<dyn Work>,
}

/// A verb of any type: run inside the transaction, answered after it.
trait Work: Send {
    fn run(&mut self, batch: &mut Batch<'_>) -> Result<(), Fault>;
    fn answer(self: Box<Self>, committed: Result<(), StoreError>);
}

struct Verb<T, F> {
    verb: Option<F>,
    outcome: Option<T>,
    reply: oneshot::Sender<Result<T, StoreError>>,
}

impl<T, F> Work for Verb<T, F>
where
    T: Send,
    F: FnOnce(&mut Batch<'_>) -> Result<T, Fault> + Send,
{
    fn run(&mut self, batch: &mut Batch<'_>) -> Result<(), Fault> {
        if let Some(verb) = self.verb.take() {
            self.outcome = Some(verb(batch)?);
        }
        Ok(())
    }

    fn answer(self: Box<Self>, committed: Result<(), StoreError>) {
        let Verb { outcome, reply, .. } = *self;
        let result = committed.and_then(|()| outcome.ok_or(StoreError::Closed));
        // A caller that no longer waits has given up at its deadline, and was told so.
        let _ = reply.send(result);
    }
}

struct WriterThread {
    /// `None` after a failure that may have spoilt it.
    connection: Option<Connection>,
    settings: WriterSettings,
    counters: Arc<WriterCounters>,
    reopened_at: Option<Instant>,
    /// So that the log says when it begins and when it ends, not once for each verb.
    is_failing: bool,
}

impl WriterThread {
    fn run(mut self, jobs: &Receiver<Job>) {
        while let Ok(first) = jobs.recv() {
            let mut waiting = vec![first];
            waiting.extend(jobs.try_iter().take(self.settings.limits.batch_max.saturating_sub(1)));
            let now = Instant::now();
            let (due, late): (Vec<Job>, Vec<Job>) = waiting.into_iter().partition(|job| job.deadline > now);
            for job in late {
                job.work.answer(Err(deadline_exceeded(self.settings.limits.deadline)));
            }
            if !due.is_empty() {
                self.commit(due);
            }
        }
    }

    /// Runs a batch, commits it, answers everyone.
    fn commit(&mut self, jobs: Vec<Job>) {
        self.counters.verbs.fetch_add(jobs.len() as u64, Ordering::Relaxed);
        let connection = match self.usable_connection() {
            Ok(connection) => connection,
            Err(error) => return self.fail(jobs.into_iter().map(|job| job.work), &error),
        };
        let mut works: Vec<Box<dyn Work>> = jobs.into_iter().map(|job| job.work).collect();
        let committed = transact(&connection, &self.settings, &mut works);
        match committed {
            Ok(Committed { failed, revocations }) => {
                self.counters.commits.fetch_add(1, Ordering::Relaxed);
                self.connection = Some(connection);
                if std::mem::take(&mut self.is_failing) {
                    tracing::info!("the database takes writes again");
                }
                if let Some(cursor) = revocations {
                    self.settings.revocations.send_replace(cursor);
                }
                for (work, fault) in works.into_iter().zip(failed) {
                    if fault.is_some() {
                        self.counters.failures.fetch_add(1, Ordering::Relaxed);
                    }
                    work.answer(fault.map_or(Ok(()), |fault| Err(fault.to_store_error())));
                }
            }
            Err(fault) => {
                // Rolls back whatever SQLite has not rolled back itself.
                if !connection.is_autocommit() && connection.execute_batch("ROLLBACK").is_err() {
                    tracing::error!("a failed database transaction could not be rolled back");
                } else if !fault.spoils_connection() {
                    self.connection = Some(connection);
                }
                self.fail(works, &fault.to_store_error());
            }
        }
    }

    /// Nobody of this batch gets a yes.
    fn fail(&mut self, works: impl IntoIterator<Item = Box<dyn Work>>, error: &StoreError) {
        if !std::mem::replace(&mut self.is_failing, true) {
            tracing::error!(%error, "the database does not take writes");
        }
        for work in works {
            self.counters.failures.fetch_add(1, Ordering::Relaxed);
            work.answer(Err(error.clone()));
        }
    }

    /// The connection, opened again if the last failure may have spoilt it; not more often than ten times a second.
    fn usable_connection(&mut self) -> Result<Connection, StoreError> {
        if let Some(connection) = self.connection.take() {
            return Ok(connection);
        }
        let again_after = Duration::from_millis(100);
        if self.reopened_at.is_some_and(|at| at.elapsed() < again_after) {
            return Err(StoreError::Unavailable {
                reason: "the database failed a moment ago".into(),
            });
        }
        self.reopened_at = Some(Instant::now());
        connection::open_writer(&self.settings.database, &self.settings.limits)
            .map_err(|error| Fault::from(error).to_store_error())
    }
}

/// A committed transaction: for each verb its own failure, if it had one; and the newest deny entry, if there is one.
struct Committed {
    failed: Vec<Option<Fault>>,
    revocations: Option<RevocationCursor>,
}

fn transact(
    connection: &Connection,
    settings: &WriterSettings,
    works: &mut [Box<dyn Work>],
) -> Result<Committed, Fault> {
    change(connection, "BEGIN IMMEDIATE", [])?;
    let mut batch = Batch::new(connection, &settings.node);
    let mut failed = Vec::with_capacity(works.len());
    for work in works {
        let before = batch.mark();
        change(connection, "SAVEPOINT verb", [])?;
        match work.run(&mut batch) {
            Ok(()) => failed.push(None),
            // SQLite has given up the whole transaction (disk full, I/O error): so do we.
            Err(fault) if connection.is_autocommit() => return Err(fault),
            Err(fault) => {
                change(connection, "ROLLBACK TO verb", [])?;
                batch.reset(before);
                failed.push(Some(fault));
            }
        }
        change(connection, "RELEASE verb", [])?;
    }
    let revocations = batch.finish(&settings.key_file)?;
    change(connection, "COMMIT", [])?;
    Ok(Committed { failed, revocations })
}
