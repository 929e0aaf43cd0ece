//! One lane per runtime thread, so that what is shared is not contended.
//!
//! Upstream connections, log records and running responses are kept in one mutex per lane. A runtime thread always takes
//! its own, so the lock is free whenever it is asked for; only the upkeep thread, a few times a second, takes them all.

use std::cell::Cell;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// More lanes than a machine has cores for runtimes; threads beyond that share.
const LANES: usize = 64;

static NEXT_LANE: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    /// Not state of the product: only which of equal places this thread prefers.
    static LANE: Cell<Option<usize>> = const { Cell::new(None) };
}

/// A `T` per runtime thread.
#[derive(Debug)]
pub(crate) struct Lanes<T>(Box<[Mutex<T>]>);

impl<T: Default> Default for Lanes<T> {
    fn default() -> Self {
        Self((0..LANES).map(|_| Mutex::default()).collect())
    }
}

impl<T> Lanes<T> {
    /// This thread's own.
    pub(crate) fn own(&self) -> MutexGuard<'_, T> {
        let lane = LANE.with(|lane| match lane.get() {
            Some(index) => index,
            None => {
                let index = NEXT_LANE.fetch_add(1, Ordering::Relaxed) % LANES;
                lane.set(Some(index));
                index
            }
        });
        // `lane` is below LANES, the length of the slice.
        self.0[lane].lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One after the other.
    pub(crate) fn all(&self) -> impl Iterator<Item = MutexGuard<'_, T>> {
        self.0
            .iter()
            .map(|lane| lane.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
