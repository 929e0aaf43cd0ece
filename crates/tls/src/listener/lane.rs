//! A listener's part on one runtime: its connections, their clock, their sweep.

use std::{
    collections::HashMap,
    future::{Future, poll_fn},
    pin::pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU32, AtomicU64, Ordering::Relaxed},
    },
    task::Poll,
};

use tokio::sync::Semaphore;

use crate::{Connection, deadline::DeadlineTicks};

/// The connections of a listener that one runtime serves.
#[derive(Debug)]
pub(super) struct Lane {
    /// The number of the runtime.
    pub(super) runtime: usize,
    pub(super) tick: Arc<AtomicU32>,
    /// Whose turn it is to compute for a handshake.
    handshake_turn: Semaphore,
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
    pub(super) fn new(runtime: usize) -> Lane {
        Lane {
            runtime,
            tick: Arc::default(),
            handshake_turn: Semaphore::new(1),
            next: AtomicU64::new(0),
            connections: Mutex::default(),
        }
    }

    /// Runs a future's first step, in which a handshake computes most of what it costs, when every other task that could run has
    /// run since the last such step. However many handshakes are begun, established connections thus wait for one at a time.
    pub(super) async fn in_turn<F: Future>(&self, handshake: F) -> F::Output {
        let mut handshake = pin!(handshake);
        let turn = self.handshake_turn.acquire().await;
        tokio::task::yield_now().await;
        let first = poll_fn(|context| Poll::Ready(handshake.as_mut().poll(context))).await;
        drop(turn);
        match first {
            Poll::Ready(output) => output,
            Poll::Pending => handshake.await,
        }
    }

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
        let is_late = |connection: &&Arc<Connection>| connection.deadline.sweep(limits);
        // Woken when the map is free again: what a waker does is not ours to know.
        let late: Vec<_> = self.with(|connections| connections.values().filter(is_late).cloned().collect());
        late.iter().for_each(|connection| connection.deadline.wake());
    }

    pub(super) fn wake_all(&self) {
        self.all().iter().for_each(|connection| connection.deadline.wake());
    }

    pub(super) fn cut_all(&self) {
        self.all().iter().for_each(|connection| connection.deadline.cut());
    }

    fn all(&self) -> Vec<Arc<Connection>> {
        self.with(|connections| connections.values().cloned().collect())
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
