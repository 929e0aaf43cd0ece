//! Point reads: a read-only connection for each thread that serves requests.
//!
//! A warm read takes a few microseconds, less than handing it to another thread: the one exception to the rule
//! that nothing blocks a thread that serves requests. There is a fixed number of connections; a thread always tries the same one first,
//! so with one runtime per core each runtime has its own, with its statements prepared and its pages cached.

use std::cell::Cell;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};

use rusqlite::Connection;

use super::connection;
use super::fault::Fault;
use crate::StoreError;

/// The connections for point reads, opened when first used.
pub(super) struct Readers {
    database: PathBuf,
    slots: Box<[Mutex<Option<Connection>>]>,
}

impl Readers {
    pub(super) fn new(database: PathBuf, readers_max: usize) -> Readers {
        Readers {
            database,
            slots: (0..readers_max.max(1)).map(|_| Mutex::new(None)).collect(),
        }
    }

    /// Runs a read. After a failure the connection is opened anew.
    pub(super) fn read<T>(&self, read: impl FnOnce(&Connection) -> Result<T, Fault>) -> Result<T, StoreError> {
        let mut slot = self.slot();
        let connection = match slot.take() {
            Some(connection) => connection,
            None => connection::open_reader(&self.database).map_err(|error| Fault::from(error).to_store_error())?,
        };
        let result = read(&connection);
        match &result {
            Err(fault) if fault.spoils_connection() => {}
            _ => *slot = Some(connection),
        }
        result.map_err(|fault| fault.to_store_error())
    }

    /// This thread's connection if it is free (it always is with as many as threads), else any free one, else this
    /// thread's when its read is done.
    fn slot(&self) -> MutexGuard<'_, Option<Connection>> {
        let own = thread_number() % self.slots.len();
        let (before, from) = self.slots.split_at(own);
        for slot in from.iter().chain(before) {
            match slot.try_lock() {
                Ok(guard) => return guard,
                Err(TryLockError::Poisoned(poisoned)) => return poisoned.into_inner(),
                Err(TryLockError::WouldBlock) => {}
            }
        }
        self.slots[own].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Numbers the threads in the order in which they first read.
fn thread_number() -> usize {
    static THREADS: AtomicUsize = AtomicUsize::new(0);
    thread_local!(static NUMBER: Cell<Option<usize>> = const { Cell::new(None) });
    NUMBER.with(|number| match number.get() {
        Some(number) => number,
        None => {
            let new = THREADS.fetch_add(1, Ordering::Relaxed);
            number.set(Some(new));
            new
        }
    })
}
