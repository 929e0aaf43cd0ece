//! One connection to an upstream: made, leased for one exchange, given back.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::Sleep;

use super::stream::UpstreamStream;
use super::{Upstream, UpstreamError, deadline};
use crate::request_body::UpstreamBody;

/// A connection that waits for its next exchange.
pub(super) struct IdleConnection {
    sender: SendRequest<UpstreamBody>,
    /// One timer per connection, moved on for each exchange: moving a timer to a later moment costs next to nothing,
    /// making a new one would not.
    timer: Pin<Box<Sleep>>,
    since: Instant,
}

impl IdleConnection {
    pub(super) fn is_ready(&self) -> bool {
        self.sender.is_ready()
    }

    pub(super) fn is_closed(&self) -> bool {
        self.sender.is_closed()
    }

    pub(super) fn is_older_than(&self, age: Duration, now: Instant) -> bool {
        now.saturating_duration_since(self.since) > age
    }

    pub(super) fn lease(self, permit: Permit) -> Lease {
        Lease {
            sender: self.sender,
            timer: self.timer,
            permit,
            reused: true,
        }
    }
}

/// The right to one of an upstream's connections; how many there are is limited.
#[derive(Debug)]
pub(crate) struct Permit(Arc<Upstream>);

impl Permit {
    /// # Errors
    /// As many as may be are in use.
    pub(super) fn acquire(upstream: &Arc<Upstream>) -> Result<Self, UpstreamError> {
        let max = upstream.limits().upstream_connections_max;
        if upstream.in_use.fetch_add(1, Ordering::Relaxed) < max {
            return Ok(Self(Arc::clone(upstream)));
        }
        upstream.in_use.fetch_sub(1, Ordering::Relaxed);
        Err(UpstreamError::Saturated {
            upstream: upstream.origin().to_string(),
            max,
        })
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.in_use.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A connection in use by one exchange. Dropped, it closes; [`give_back`](Self::give_back) keeps it.
pub(crate) struct Lease {
    pub(super) sender: SendRequest<UpstreamBody>,
    pub(super) timer: Pin<Box<Sleep>>,
    permit: Permit,
    /// Whether it has served before, and may have been closed meanwhile.
    pub(super) reused: bool,
}

impl Lease {
    /// Opens a connection.
    pub(super) async fn connect(permit: Permit) -> Result<Self, UpstreamError> {
        let upstream = &permit.0;
        let limits = upstream.limits();
        let name = || upstream.origin().to_string();
        let unreachable = |source| UpstreamError::Unreachable {
            upstream: name(),
            source,
        };
        let connecting = TcpStream::connect((upstream.origin().host(), upstream.origin().port()));
        let tcp = match tokio::time::timeout(limits.connect_timeout, connecting).await {
            Ok(connected) => connected.map_err(unreachable)?,
            Err(_) => {
                return Err(UpstreamError::ConnectTimeout {
                    upstream: name(),
                    within: limits.connect_timeout,
                });
            }
        };
        tcp.set_nodelay(true).map_err(unreachable)?;
        let (sender, connection) = http1::Builder::new()
            .max_buf_size(limits.upstream_head_bytes_max.max(8 * 1024))
            .max_header_size(limits.upstream_head_bytes_max)
            .max_headers(limits.upstream_head_fields_max)
            .handshake(TokioIo::new(UpstreamStream::new(tcp)))
            .await
            .map_err(|error| UpstreamError::of_exchange(name(), error))?;
        // How a connection ended is told to the exchange that it carried; between exchanges nobody needs to know.
        tokio::spawn(async move {
            let _ = connection.with_upgrades().await;
        });
        let timer = Box::pin(tokio::time::sleep(limits.response_timeout));
        Ok(Self {
            sender,
            timer,
            permit,
            reused: false,
        })
    }

    pub(super) fn restart_timer(&mut self, since: Instant, timeout: Duration) {
        self.timer.as_mut().reset(deadline(since, timeout));
    }

    /// Keeps the connection for the next exchange. Only after its answer was read to the end; `now` is when that was.
    pub(crate) fn give_back(self, now: Instant) {
        if !self.sender.is_closed() {
            let Self {
                sender, timer, permit, ..
            } = self;
            permit.0.keep_idle(IdleConnection {
                sender,
                timer,
                since: now,
            });
        }
    }

    /// Keeps nothing but the count: the connection has become a tunnel.
    pub(crate) fn into_permit(self) -> Permit {
        self.permit
    }
}
