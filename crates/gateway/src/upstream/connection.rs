//! One connection to an upstream: made, leased for one exchange, given back.

use std::pin::Pin;
use std::sync::Arc;
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
    /// making a new one would not (DESIGN §5.1.f).
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

    pub(super) fn is_older_than(&self, age: Duration) -> bool {
        self.since.elapsed() > age
    }

    pub(super) fn lease(self, upstream: Arc<Upstream>) -> Lease {
        Lease {
            sender: self.sender,
            timer: self.timer,
            upstream,
            reused: true,
        }
    }
}

/// A connection in use by one exchange. Dropped, it closes; [`give_back`](Self::give_back) keeps it.
pub(crate) struct Lease {
    pub(super) sender: SendRequest<UpstreamBody>,
    pub(super) timer: Pin<Box<Sleep>>,
    upstream: Arc<Upstream>,
    /// Whether it has served before, and may have been closed meanwhile.
    pub(super) reused: bool,
}

impl Lease {
    /// Opens a connection.
    pub(super) async fn connect(upstream: &Arc<Upstream>) -> Result<Self, UpstreamError> {
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
            upstream: Arc::clone(upstream),
            reused: false,
        })
    }

    pub(super) fn restart_timer(&mut self, since: Instant, timeout: Duration) {
        self.timer.as_mut().reset(deadline(since, timeout));
    }

    /// Keeps the connection for the next exchange. Only after its answer was read to the end.
    pub(crate) fn give_back(self) {
        if !self.sender.is_closed() {
            let Self {
                sender,
                timer,
                upstream,
                ..
            } = self;
            upstream.keep_idle(IdleConnection {
                sender,
                timer,
                since: Instant::now(),
            });
        }
    }
}
