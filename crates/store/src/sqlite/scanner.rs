//! Listings: one thread with a read-only connection of its own, so that no scan runs on a thread that serves requests.

use std::path::PathBuf;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rusqlite::Connection;
use tokio::sync::oneshot;

use super::connection;
use super::fault::Fault;
use super::settings::SqliteLimits;
use super::writer::deadline_exceeded;
use crate::{Answer, StoreError};

/// SQLite looks at the clock after so many of its own instructions: about every 100 µs.
const INSTRUCTIONS_PER_LOOK: i32 = 10_000;

type Job = Box<dyn FnOnce(&mut Option<Connection>) + Send>;

/// The queue's end that callers hold. Dropping it ends the thread after the listing it is at.
pub(super) struct Scanner {
    queue: Option<SyncSender<Job>>,
    thread: Option<JoinHandle<()>>,
    database: PathBuf,
    scans_max: usize,
    deadline: Duration,
}

impl Scanner {
    pub(super) fn start(database: PathBuf, limits: &SqliteLimits) -> std::io::Result<Scanner> {
        let (queue, jobs): (_, Receiver<Job>) = sync_channel(limits.scans_max);
        let thread = std::thread::Builder::new()
            .name("store-scanner".into())
            .spawn(move || {
                let mut connection = None;
                while let Ok(job) = jobs.recv() {
                    job(&mut connection);
                }
            })?;
        let (scans_max, deadline) = (limits.scans_max, limits.deadline);
        Ok(Scanner {
            queue: Some(queue),
            thread: Some(thread),
            database,
            scans_max,
            deadline,
        })
    }

    /// Queues a listing. It is stopped at the deadline, wherever it is.
    pub(super) fn submit<T: Send + 'static>(
        &self,
        scan: impl FnOnce(&Connection) -> Result<T, Fault> + Send + 'static,
    ) -> Answer<T> {
        let (reply, answer) = oneshot::channel();
        let (limit, deadline) = (self.deadline, Instant::now() + self.deadline);
        let database = self.database.clone();
        let job: Job = Box::new(move |slot| {
            if Instant::now() < deadline && !reply.is_closed() {
                let _ = reply.send(run(slot, &database, deadline, limit, scan));
            }
        });
        let queued = match &self.queue {
            Some(queue) => queue.try_send(job).map_err(|error| match error {
                TrySendError::Full(_) => StoreError::Overloaded {
                    waiting_max: self.scans_max,
                },
                TrySendError::Disconnected(_) => StoreError::Closed,
            }),
            None => Err(StoreError::Closed),
        };
        Box::pin(async move {
            queued?;
            match tokio::time::timeout_at(deadline.into(), answer).await {
                Ok(Ok(result)) => result,
                // The thread drops a listing whose time is over.
                Ok(Err(_)) if Instant::now() < deadline => Err(StoreError::Closed),
                Ok(Err(_)) | Err(_) => Err(deadline_exceeded(limit)),
            }
        })
    }
}

impl Drop for Scanner {
    fn drop(&mut self) {
        drop(self.queue.take());
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the store's scanner thread panicked");
        }
    }
}

fn run<T>(
    slot: &mut Option<Connection>,
    database: &std::path::Path,
    deadline: Instant,
    limit: Duration,
    scan: impl FnOnce(&Connection) -> Result<T, Fault>,
) -> Result<T, StoreError> {
    let mut connection = match slot.take() {
        Some(connection) => connection,
        None => connection::open_reader(database).map_err(|error| Fault::from(error).to_store_error())?,
    };
    let watched = connection.progress_handler(INSTRUCTIONS_PER_LOOK, Some(move || Instant::now() >= deadline));
    let result = watched.map_err(Fault::from).and_then(|()| scan(&connection));
    match result {
        Ok(value) => {
            *slot = Some(connection);
            Ok(value)
        }
        Err(_) if Instant::now() >= deadline => Err(deadline_exceeded(limit)),
        Err(fault) => Err(fault.to_store_error()),
    }
}
