//! A listener's part on one runtime: its connections, their clock, their sweep.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU32, AtomicU64, Ordering::Relaxed},
    },
};

use crate::{Connection, deadline::DeadlineTicks};

/// The connections of a listener that one runtime serves.
#[derive(Debug, Default)]
pub(super) struct Lane {
    pub(super) tick: Arc<AtomicU32>,
    next: AtomicU64,
    connections: Mutex<HashMap<u64, Arc<Connection>>>,
}

/// A connection that is swept until this is dropped.
#[derive(Debug)]
pub(super) struct Registration {
    lane: Arc<Lane>,
    id: u64,
}

impl Lane {
    pub(super) fn register(self: &Arc<Self>, connection: &Arc<Connection>) -> Registration {
        let id = self.next.fetch_add(1, Relaxed);
        self.with(|connections| connections.insert(id, Arc::clone(connection)));
        Registration {
            lane: Arc::clone(self),
            id,
        }
    }

    /// Lets one tick pass, and looks who is late.
    pub(super) fn sweep(&self, limits: &DeadlineTicks) {
        self.tick.fetch_add(1, Relaxed);
        self.with(|connections| {
            connections
                .values()
                .for_each(|connection| connection.deadline.sweep(limits))
        });
    }

    pub(super) fn wake_all(&self) {
        self.with(|connections| connections.values().for_each(|connection| connection.deadline.wake()));
    }

    pub(super) fn cut_all(&self) {
        self.with(|connections| connections.values().for_each(|connection| connection.deadline.cut()));
    }

    fn with<T>(&self, act: impl FnOnce(&mut HashMap<u64, Arc<Connection>>) -> T) -> T {
        act(&mut self.connections.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        // Removed first and dropped after: what a connection's state does when it is dropped is not ours to know.
        let connection = self.lane.with(|connections| connections.remove(&self.id));
        drop(connection);
    }
}
