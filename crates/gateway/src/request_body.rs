//! The caller's body on its way to the upstream.
//!
//! The connection to the upstream pulls it, frame by frame, so a slow upstream slows the caller and nothing is stored.
//! The exchange keeps a hand on it: it opens the gate when the upstream says `100 Continue`, and lets go of the body when
//! the upstream has answered without wanting it.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::HeaderName;
use http_body::{Body, Frame, SizeHint};
use keybound_tls::{BodyError, BoxError, RequestBody};
use tokio::time::Sleep;

use crate::trailers;

/// The body of a request to an upstream.
pub(crate) enum UpstreamBody {
    Empty,
    Forwarded(Arc<ForwardedRequestBody>),
}

/// A request body that both the exchange and the upstream connection hold.
pub(crate) struct ForwardedRequestBody {
    state: Mutex<State>,
    ended: AtomicBool,
    length: Option<u64>,
    /// The trailer fields that the forwarded head announces; others cannot be sent.
    announced_trailers: Vec<HeaderName>,
}

struct State {
    /// `None` once abandoned.
    body: Option<RequestBody>,
    gate: Gate,
    waker: Option<Waker>,
    last_progress: Instant,
    broken: Option<BodyError>,
}

/// Whether the caller has been asked for its body: reading from it is what makes hyper send `100 Continue`.
enum Gate {
    Open,
    /// Until the upstream asks for it, or has not said anything for a while.
    Closed(Option<Pin<Box<Sleep>>>, Duration),
}

/// What the upstream has of the body is not the whole.
#[derive(Debug, thiserror::Error)]
#[error("the rest of the request body is not sent")]
struct Abandoned;

impl ForwardedRequestBody {
    /// `expects_continue` keeps the body back until [`open_gate`](Self::open_gate), for that long at most.
    pub(crate) fn new(
        body: RequestBody,
        announced_trailers: Vec<HeaderName>,
        expects_continue: Option<Duration>,
    ) -> Arc<Self> {
        let length = body.size_hint().exact();
        let gate = expects_continue.map_or(Gate::Open, |patience| Gate::Closed(None, patience));
        let state = State {
            body: Some(body),
            gate,
            waker: None,
            last_progress: Instant::now(),
            broken: None,
        };
        Arc::new(Self {
            state: Mutex::new(state),
            ended: AtomicBool::new(false),
            length,
            announced_trailers,
        })
    }

    /// Lets the body flow: the upstream wants it.
    pub(crate) fn open_gate(&self) {
        let mut state = self.lock();
        state.gate = Gate::Open;
        if let Some(waker) = state.waker.take() {
            waker.wake();
        }
    }

    /// When the upstream last took something from the caller: the end of the request, once it has ended.
    pub(crate) fn last_progress(&self) -> Instant {
        self.lock().last_progress
    }

    /// Lets go of a body that has not been sent to its end, and says whether there was one; the upstream connection then
    /// breaks off. What the caller still sends is read for a while by its listener, so that it gets its answer.
    pub(crate) fn abandon(&self) -> bool {
        if self.ended.load(Ordering::Acquire) {
            return false;
        }
        let mut state = self.lock();
        state.body = None;
        if let Some(waker) = state.waker.take() {
            waker.wake();
        }
        true
    }

    /// Why the caller's body broke off, if it did.
    pub(crate) fn take_broken(&self) -> Option<BodyError> {
        self.lock().broken.take()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn poll_frame(&self, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let mut state = self.lock();
        let Poll::Ready(frame) = state.poll_next(context) else {
            // The exchange wakes the connection when it opens the gate or abandons the body.
            state.waker = Some(context.waker().clone());
            return Poll::Pending;
        };
        state.last_progress = Instant::now();
        let frame = match frame {
            Some(Ok(frame)) => match frame.into_trailers() {
                Ok(mut trailers) => {
                    trailers::retain_announced(&mut trailers, &self.announced_trailers);
                    (!trailers.is_empty()).then(|| Ok(Frame::trailers(trailers)))
                }
                Err(data) => Some(Ok(data)),
            },
            frame => frame,
        };
        let is_last = match &frame {
            None => true,
            Some(Ok(frame)) => frame.is_trailers() || state.body.as_ref().is_some_and(Body::is_end_stream),
            Some(Err(_)) => false,
        };
        self.ended.fetch_or(is_last, Ordering::AcqRel);
        Poll::Ready(frame)
    }
}

impl State {
    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let Some(body) = &mut self.body else {
            return Poll::Ready(Some(Err(Abandoned.into())));
        };
        if let Gate::Closed(timer, patience) = &mut self.gate {
            let patience = *patience;
            ready!(
                timer
                    .get_or_insert_with(|| Box::pin(tokio::time::sleep(patience)))
                    .as_mut()
                    .poll(context)
            );
            self.gate = Gate::Open;
        }
        match ready!(Pin::new(body).poll_frame(context)) {
            Some(Err(error)) => {
                let reported = error.to_string();
                self.broken = Some(error);
                Poll::Ready(Some(Err(reported.into())))
            }
            frame => Poll::Ready(frame.map(|frame| frame.map_err(Into::into))),
        }
    }
}

impl Body for UpstreamBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match &*self {
            Self::Empty => Poll::Ready(None),
            Self::Forwarded(body) => body.poll_frame(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Forwarded(body) => body.ended.load(Ordering::Acquire),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            // Only asked for before the first frame.
            Self::Forwarded(body) => body.length.map_or_else(SizeHint::default, SizeHint::with_exact),
        }
    }
}
