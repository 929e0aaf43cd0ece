//! Unused connections of one identity, per runtime and origin.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use http::Response;
use hyper::{body::Incoming, client::conn::http1::SendRequest};

use super::IncomingBody;
use crate::OutgoingBody;

/// Scheme, host and port.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Origin {
    pub(super) tls: bool,
    pub(super) host: Arc<str>,
    pub(super) port: u16,
}

/// Unused connections. A runtime is a thread, and its connections are driven by it, so each thread has a shelf of its own and
/// takes from no other: otherwise every byte of a response would pass between threads.
pub(super) struct ConnectionPool {
    shelves: [Mutex<Shelf>; SHELVES],
    idle_connections_max: usize,
    idle_timeout: Duration,
}

const SHELVES: usize = 16;

#[derive(Default)]
struct Shelf {
    connections: HashMap<Origin, Vec<Idle>>,
    swept_at: Option<Instant>,
}

struct Idle {
    sender: SendRequest<OutgoingBody>,
    since: Instant,
}

/// What the pool had.
pub(super) enum Checkout {
    Pooled(SendRequest<OutgoingBody>),
    Nothing,
}

impl ConnectionPool {
    pub(super) fn new(idle_connections_max: usize, idle_timeout: Duration) -> ConnectionPool {
        ConnectionPool {
            shelves: Default::default(),
            idle_connections_max,
            idle_timeout,
        }
    }

    /// Takes the connection used last, which is the least likely to have been closed by its server.
    pub(super) async fn take(&self, origin: &Origin) -> Checkout {
        loop {
            let Some(idle) = self.pop(origin) else {
                return Checkout::Nothing;
            };
            if idle.since.elapsed() >= self.idle_timeout {
                continue;
            }
            // Just after a response ended, its connection needs one more turn of its own task before it is ready. One that
            // is not ready then still sends a request that was answered early, and is of no use to another.
            if !idle.sender.is_ready() {
                tokio::task::yield_now().await;
            }
            if idle.sender.is_ready() {
                return Checkout::Pooled(idle.sender);
            }
        }
    }

    fn pop(&self, origin: &Origin) -> Option<Idle> {
        self.with_shelf(|shelf| shelf.connections.get_mut(origin).and_then(Vec::pop))
    }

    pub(super) fn put(&self, origin: Origin, sender: SendRequest<OutgoingBody>) {
        if sender.is_closed() {
            return;
        }
        let idle = Idle {
            sender,
            since: Instant::now(),
        };
        self.with_shelf(|shelf| {
            shelf.sweep(idle.since, self.idle_timeout);
            let connections = shelf.connections.entry(origin).or_default();
            if connections.len() < self.idle_connections_max {
                connections.push(idle);
            }
        });
    }

    /// Hands the response over with its connection, which comes back when the body is read.
    pub(super) fn attend(
        self: &Arc<Self>,
        origin: Origin,
        sender: SendRequest<OutgoingBody>,
        response: Response<Incoming>,
    ) -> Response<IncomingBody> {
        response.map(|body| IncomingBody::pooled(body, sender, self, origin))
    }

    fn with_shelf<T>(&self, act: impl FnOnce(&mut Shelf) -> T) -> T {
        let shelf = &self.shelves[shelf_of_thread() % SHELVES];
        act(&mut shelf.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Shelf {
    /// Throws out what is too old, once a second at most: without a timer, nothing unused stays for long while anything is used.
    fn sweep(&mut self, now: Instant, idle_timeout: Duration) {
        if self
            .swept_at
            .is_some_and(|swept_at| now.duration_since(swept_at) < Duration::from_secs(1))
        {
            return;
        }
        self.swept_at = Some(now);
        self.connections.retain(|_, idle| {
            idle.retain(|idle| !idle.sender.is_closed() && now.duration_since(idle.since) < idle_timeout);
            !idle.is_empty()
        });
    }
}

/// A number of the calling thread.
fn shelf_of_thread() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local! { static SHELF: usize = NEXT.fetch_add(1, Relaxed) }
    SHELF.with(|shelf| *shelf)
}
