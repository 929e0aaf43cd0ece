//! What is still running when its token ends: answers that stream, connections that were upgraded.
//!
//! A token is checked when a request arrives; what the request started may outlive it. The upkeep thread looks at
//! everything that runs a few times a second and ends what has lost its token. What runs may not notice by itself: nobody
//! asks for the next part of an answer while its reader takes nothing, and over HTTP/2 a reader may take nothing from the
//! start. So ending does not wait for that: the upstream is let go of at once, and whoever has not noticed by the next look
//! loses its connection.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::task::{Context, Poll, Waker};

use keybound_protocol::time::Timestamp;
use keybound_resource_server::RunningToken;
use keybound_tls::{Clock, Connection};

use crate::lane::Lanes;

/// Everything that is needed to watch what may run.
pub(crate) struct Watch {
    pub(crate) registry: Arc<RunningResponses>,
    pub(crate) token: RunningToken,
    pub(crate) clock: Clock,
    pub(crate) connection: Arc<Connection>,
}

/// What can be taken from something that runs, without its help.
pub(crate) trait Severed: Send + Sync {
    /// Lets go of the upstream: nothing more comes from it, and it sees its connection end.
    fn sever(&self);
}

/// One answer or tunnel that is being watched, as long as it is held.
pub(crate) struct Running {
    watch: Watch,
    ended: AtomicBool,
    waker: Mutex<Option<Waker>>,
    upstream: Option<Arc<dyn Severed>>,
}

/// Everything that is being watched.
#[derive(Default)]
pub(crate) struct RunningResponses(Lanes<Vec<Weak<Running>>>);

impl Watch {
    /// Watches from now on, until the value is dropped. `upstream` is severed when the token ends; `None` for what notices
    /// by itself whatever its reader does.
    pub(crate) fn start(self, upstream: Option<Arc<dyn Severed>>) -> Arc<Running> {
        let registry = Arc::clone(&self.registry);
        let running = Arc::new(Running {
            watch: self,
            ended: AtomicBool::new(false),
            waker: Mutex::new(None),
            upstream,
        });
        registry.0.own().push(Arc::downgrade(&running));
        running
    }
}

impl Running {
    /// Ready once the token has ended.
    ///
    /// Its `exp` is looked at each time, so that nothing is passed on that came after it, however long the next look of the
    /// upkeep thread takes.
    pub(crate) fn poll_ended(&self, context: &Context<'_>) -> Poll<()> {
        if self.has_ended() {
            return Poll::Ready(());
        }
        let mut waker = self.waker.lock().unwrap_or_else(PoisonError::into_inner);
        match &mut *waker {
            Some(waker) => waker.clone_from(context.waker()),
            none => *none = Some(context.waker().clone()),
        }
        // The sweep may have come between the lines above.
        if self.has_ended() {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    }

    fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Acquire) || self.watch.token.ends_at() <= self.watch.clock.now()
    }

    fn sweep(&self, now: Timestamp) {
        if self.ended.load(Ordering::Acquire) {
            // Told at the last sweep and still here: nobody polls it, because nobody reads.
            self.watch.connection.close();
            return;
        }
        let Some(refused) = self.watch.token.refusal(now) else {
            return;
        };
        tracing::info!(
            remote = %self.watch.connection.remote_addr(),
            reason = refused.reason() as &dyn std::error::Error,
            "what ran with a token is ended with it"
        );
        self.ended.store(true, Ordering::Release);
        if let Some(upstream) = &self.upstream {
            upstream.sever();
        }
        if let Some(waker) = self.waker.lock().unwrap_or_else(PoisonError::into_inner).take() {
            waker.wake();
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
