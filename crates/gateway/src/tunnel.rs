//! A connection after 101: bytes both ways, until one side closes or the token ends.

use std::future::poll_fn;
use std::sync::Arc;

use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use prometheus_client::metrics::gauge::Gauge;

use crate::running::Running;
use crate::upstream::Permit;

/// Both halves of an upgrade, each ready once its 101 has been sent or read to the end.
pub(crate) struct Tunnel {
    pub(crate) caller: OnUpgrade,
    pub(crate) upstream: OnUpgrade,
    /// `None` for a route with `long_running = "until-close"`.
    pub(crate) running: Option<Arc<Running>>,
    /// How many are open.
    pub(crate) open: Gauge,
    /// Counts among the upstream's connections.
    pub(crate) permit: Permit,
}

impl Tunnel {
    /// Carries bytes until the end. Dropping either half closes it.
    pub(crate) async fn run(self) {
        let (Ok(caller), Ok(upstream)) = (self.caller.await, self.upstream.await) else {
            // One side left before the switch was complete; there is nobody to tell.
            return;
        };
        let (mut caller, mut upstream) = (TokioIo::new(caller), TokioIo::new(upstream));
        self.open.inc();
        {
            let copying = tokio::io::copy_bidirectional(&mut caller, &mut upstream);
            let ended = async {
                match &self.running {
                    Some(running) => poll_fn(|context| running.poll_ended(context)).await,
                    None => std::future::pending().await,
                }
            };
            // How a tunnel ended, by a close or a reset, is the two ends' business.
            tokio::select! {
                _ = copying => {}
                () = ended => {}
            }
        }
        self.open.dec();
        drop(self.permit);
    }
}
