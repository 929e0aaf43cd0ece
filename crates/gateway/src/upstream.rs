//! One upstream: where requests go, and the connections kept open to it.
//!
//! HTTP/1.1 over `hyper::client::conn`, one pool per runtime thread. A connection carries one exchange at a time and
//! returns to the pool when its answer has been read to the end; anything else closes it, so an upstream never sees the
//! rest of one request as the beginning of another.
//!
//! Read on in `upstream/exchange.rs` (one request and its answer), `upstream/connection.rs`, `request_body.rs` and
//! `response_body.rs`.

mod connection;
mod error;
mod exchange;
mod stream;

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::{Duration, Instant};

pub(crate) use connection::{Lease, Permit};
pub use error::UpstreamError;
pub(crate) use exchange::{Answer, Exchange, NoAnswer};

use crate::lane::Lanes;
use crate::limits::Limits;
use crate::settings::UpstreamOrigin;
use connection::IdleConnection;

/// An upstream and its idle connections.
pub(crate) struct Upstream {
    origin: UpstreamOrigin,
    limits: Limits,
    idle: Lanes<Vec<IdleConnection>>,
    /// Connections that carry an exchange or a tunnel.
    in_use: AtomicUsize,
}

impl Upstream {
    pub(crate) fn new(origin: UpstreamOrigin, limits: Limits) -> Arc<Self> {
        Arc::new(Self {
            origin,
            limits,
            idle: Lanes::default(),
            in_use: AtomicUsize::new(0),
        })
    }

    pub(crate) fn origin(&self) -> &UpstreamOrigin {
        &self.origin
    }

    pub(crate) fn limits(&self) -> &Limits {
        &self.limits
    }

    /// The connection that was used last, if one is idle: the others may then grow old and be closed.
    fn take_idle(&self, now: Instant) -> Option<IdleConnection> {
        let mut idle = self.idle.own();
        // A connection returned a moment ago may not have noticed yet that it is free; one further back has.
        let index = loop {
            match idle
                .iter()
                .rposition(|connection| connection.is_ready() || connection.is_closed())
            {
                Some(index) if idle[index].is_closed() => drop(idle.swap_remove(index)),
                Some(index) => break index,
                None => return None,
            }
        };
        let connection = idle.remove(index);
        if connection.is_older_than(self.limits.upstream_idle_timeout, now) {
            // The ones before it are older still.
            idle.clear();
            return None;
        }
        Some(connection)
    }

    fn keep_idle(&self, connection: IdleConnection) {
        let mut idle = self.idle.own();
        if idle.len() < self.limits.upstream_idle_connections_max {
            idle.push(connection);
        }
    }

    /// Closes connections that were not used for long; called now and then.
    pub(crate) fn close_old(&self) {
        let now = Instant::now();
        for mut idle in self.idle.all() {
            idle.retain(|connection| {
                !connection.is_closed() && !connection.is_older_than(self.limits.upstream_idle_timeout, now)
            });
        }
    }

    /// How many connections wait for reuse.
    pub(crate) fn idle_connections(&self) -> usize {
        self.idle.all().map(|idle| idle.len()).sum()
    }
}

impl std::fmt::Debug for Upstream {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Upstream")
            .field("origin", &self.origin)
            .finish_non_exhaustive()
    }
}

/// When a wait for the upstream ends, moved on while the caller is still sending.
fn deadline(since: Instant, timeout: Duration) -> tokio::time::Instant {
    tokio::time::Instant::from_std(since + timeout)
}
