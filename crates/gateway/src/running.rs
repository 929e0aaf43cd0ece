//! What is still running when its token ends: answers that stream, connections that were upgraded.
//!
//! A token is checked when a request arrives; what the request started may outlive it. The upkeep thread looks at
//! everything that runs a few times a second and ends what has lost its token. Whoever runs notices by itself; a caller
//! that reads nothing keeps it from noticing, and then the connection is cut.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::task::{Context, Poll, Waker};

use keybound_protocol::time::Timestamp;
use keybound_resource_server::{AcceptedAccessToken, ResourceServer};
use keybound_tls::Connection;

use crate::lane::Lanes;

/// Everything that may run, to be watched if it does.
#[derive(Clone)]
pub(crate) struct Watch {
    pub(crate) registry: Arc<RunningResponses>,
    pub(crate) resource_server: ResourceServer,
    pub(crate) token: AcceptedAccessToken,
    /// The token's `exp`, or a little later if it was accepted after that.
    pub(crate) ends_at: Timestamp,
    pub(crate) connection: Arc<Connection>,
}

/// One answer or tunnel that is being watched, as long as it is held.
pub(crate) struct Running {
    watch: Watch,
    ended: AtomicBool,
    waker: Mutex<Option<Waker>>,
}

/// Everything that is being watched.
#[derive(Default)]
pub(crate) struct RunningResponses(Lanes<Vec<Weak<Running>>>);

impl Watch {
    /// Watches from now on, until the value is dropped.
    pub(crate) fn start(self) -> Arc<Running> {
        let registry = Arc::clone(&self.registry);
        let running = Arc::new(Running {
            watch: self,
            ended: AtomicBool::new(false),
            waker: Mutex::new(None),
        });
        registry.0.own().push(Arc::downgrade(&running));
        running
    }
}

impl Watch {
    /// Whether the token, its client, its certificate or its signing key was revoked meanwhile.
    fn is_denied(&self) -> bool {
        self.resource_server.denial_of(&self.token).is_some()
    }
}

impl Running {
    /// Ready once the token has ended.
    pub(crate) fn poll_ended(&self, context: &Context<'_>) -> Poll<()> {
        if self.ended.load(Ordering::Acquire) {
            return Poll::Ready(());
        }
        let mut waker = self.waker.lock().unwrap_or_else(PoisonError::into_inner);
        match &mut *waker {
            Some(waker) => waker.clone_from(context.waker()),
            none => *none = Some(context.waker().clone()),
        }
        // The sweep may have come between the two lines above.
        if self.ended.load(Ordering::Acquire) {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    }

    fn sweep(&self, now: Timestamp) {
        if self.ended.load(Ordering::Acquire) {
            // Told at the last sweep and still here: nobody polls it, because nobody reads.
            self.watch.connection.close();
            return;
        }
        if self.watch.ends_at <= now || self.watch.is_denied() {
            self.ended.store(true, Ordering::Release);
            if let Some(waker) = self.waker.lock().unwrap_or_else(PoisonError::into_inner).take() {
                waker.wake();
            }
        }
    }
}

impl RunningResponses {
    /// Ends what has lost its token, and forgets what has ended by itself.
    pub(crate) fn sweep(&self, now: Timestamp) {
        for mut lane in self.0.all() {
            lane.retain(|running| running.strong_count() > 0);
            let held: Vec<Arc<Running>> = lane.iter().filter_map(Weak::upgrade).collect();
            // Waking is done with the lane free: what a waker does is not ours to know.
            drop(lane);
            held.iter().for_each(|running| running.sweep(now));
        }
    }
}
