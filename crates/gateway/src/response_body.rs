//! The upstream's answer on its way to the caller.
//!
//! Frame by frame, as the caller's connection asks for them, so a slow reader slows the upstream. The upstream connection
//! travels with the body and goes back to its pool with the last frame.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Instant;

use bytes::Bytes;
use http::HeaderName;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use keybound_tls::{BoxError, ResponseBody};

use crate::request_body::ForwardedRequestBody;
use crate::running::{Running, Severed, Watch};
use crate::trailers;
use crate::upstream::Lease;

/// The token that this answer was given for is no longer good.
#[derive(Debug, thiserror::Error)]
#[error("the access token has expired or was revoked")]
struct TokenEnded;

/// A response body that streams.
struct ForwardedResponseBody {
    flow: Arc<Flow>,
    /// Trailer fields the head announced; `None` where no announcement is needed (HTTP/2).
    announced_trailers: Option<Vec<HeaderName>>,
    /// What ends the answer with its token; `None` for a route with `long_running = "until-close"`.
    running: Option<Arc<Running>>,
    /// The last frame, or the error in its place, has been handed over.
    is_over: bool,
}

/// The upstream's side of an answer, which can be taken from its body at any time.
struct Flow(Mutex<Option<Flowing>>);

struct Flowing {
    body: Incoming,
    /// A frame that was there at once.
    first: Option<Result<Frame<Bytes>, hyper::Error>>,
    lease: Option<Lease>,
    /// The request body, if it may still be on its way.
    request: Option<Arc<ForwardedRequestBody>>,
}

/// What [`forward`] needs beside the body.
pub(crate) struct Forwarding<W> {
    pub(crate) lease: Lease,
    pub(crate) request: Option<Arc<ForwardedRequestBody>>,
    pub(crate) announced_trailers: Option<Vec<HeaderName>>,
    /// Asked for if the answer takes more than a moment; none for a route with `long_running = "until-close"`.
    pub(crate) watch: W,
    pub(crate) now: Instant,
}

/// The body for the caller. What is complete already is handed over whole.
pub(crate) fn forward(mut body: Incoming, forwarding: Forwarding<impl FnOnce() -> Option<Watch>>) -> ResponseBody {
    let Forwarding {
        lease,
        request,
        announced_trailers,
        watch,
        now,
    } = forwarding;
    if body.is_end_stream() {
        finish(lease, request, now);
        return ResponseBody::Empty;
    }
    // One look, without waiting: a short answer usually arrives with its head, and then needs no stream.
    let mut context = Context::from_waker(std::task::Waker::noop());
    let first = match Pin::new(&mut body).poll_frame(&mut context) {
        Poll::Ready(Some(Ok(frame))) if body.is_end_stream() && frame.is_data() => {
            finish(lease, request, now);
            return ResponseBody::Full(frame.into_data().unwrap_or_default());
        }
        Poll::Ready(None) => {
            finish(lease, request, now);
            return ResponseBody::Empty;
        }
        Poll::Ready(Some(first)) => Some(first),
        Poll::Pending => None,
    };
    let flow = Arc::new(Flow(Mutex::new(Some(Flowing {
        body,
        first,
        lease: Some(lease),
        request,
    }))));
    // From the start, and not when the body is first asked for: over HTTP/2 that is when its reader opens its window.
    let running = watch().map(|watch| watch.start(Some(Arc::clone(&flow) as Arc<dyn Severed>)));
    ResponseBody::stream(ForwardedResponseBody {
        flow,
        announced_trailers,
        running,
        is_over: false,
    })
}

/// The answer was read to its end.
///
/// If the upstream gave it without reading the request to its end, what it would make of the rest is not known, so its
/// connection is closed.
fn finish(lease: Lease, request: Option<Arc<ForwardedRequestBody>>, now: Instant) {
    let broke_off = request.is_some_and(|request| request.abandon());
    if !broke_off {
        lease.give_back(now);
    }
}

impl Flow {
    fn lock(&self) -> MutexGuard<'_, Option<Flowing>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Severed for Flow {
    fn sever(&self) {
        // Let go of with the lock free: whoever hears of it may ask for the next frame.
        let flowing = self.lock().take();
        drop(flowing);
    }
}

impl Flowing {
    fn end(&mut self) {
        if let Some(lease) = self.lease.take() {
            finish(lease, self.request.take(), Instant::now());
        }
    }
}

impl Drop for Flowing {
    fn drop(&mut self) {
        // Cut short: the caller has gone, or the token has ended. The request's rest has no reader either.
        if let Some(request) = self.request.take() {
            request.abandon();
        }
    }
}

impl ForwardedResponseBody {
    /// The rest is missing, and the caller must see that it is.
    fn break_off(&mut self, error: BoxError) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        self.is_over = true;
        self.running = None;
        self.flow.sever();
        Poll::Ready(Some(Err(error)))
    }

    fn filter(&self, frame: Frame<Bytes>) -> Option<Frame<Bytes>> {
        match frame.into_trailers() {
            Ok(mut trailers) => {
                match &self.announced_trailers {
                    Some(announced) => trailers::retain_announced(&mut trailers, announced),
                    None => trailers::retain_permitted(&mut trailers),
                }
                (!trailers.is_empty()).then(|| Frame::trailers(trailers))
            }
            Err(data) => Some(data),
        }
    }
}

impl Body for ForwardedResponseBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if self.is_over {
            return Poll::Ready(None);
        }
        if self
            .running
            .as_ref()
            .is_some_and(|running| running.poll_ended(context).is_ready())
        {
            return self.break_off(TokenEnded.into());
        }
        let mut flow = self.flow.lock();
        let Some(flowing) = &mut *flow else {
            // The token ended since the line above.
            drop(flow);
            return self.break_off(TokenEnded.into());
        };
        let frame = match flowing.first.take() {
            Some(first) => Some(first),
            None => ready!(Pin::new(&mut flowing.body).poll_frame(context)),
        };
        let frame = match frame {
            Some(Ok(frame)) => Some(frame),
            None => None,
            Some(Err(error)) => {
                drop(flow);
                return self.break_off(error.into());
            }
        };
        let is_last = frame
            .as_ref()
            .is_none_or(|frame| frame.is_trailers() || flowing.body.is_end_stream());
        let ended = if is_last { flow.take() } else { None };
        drop(flow);
        if let Some(mut flowing) = ended {
            flowing.end();
            self.is_over = true;
            self.running = None;
        }
        Poll::Ready(frame.and_then(|frame| self.filter(frame)).map(Ok))
    }

    fn is_end_stream(&self) -> bool {
        self.is_over
    }

    fn size_hint(&self) -> SizeHint {
        let flow = self.flow.lock();
        let Some(flowing) = &*flow else {
            return SizeHint::default();
        };
        let rest = flowing.body.size_hint();
        match (&flowing.first, rest.exact()) {
            (Some(first), Some(rest)) => {
                let first = first
                    .as_ref()
                    .ok()
                    .and_then(Frame::data_ref)
                    .map_or(0, |data| data.len() as u64);
                SizeHint::with_exact(rest.saturating_add(first))
            }
            (Some(_), None) => SizeHint::default(),
            (None, _) => rest,
        }
    }
}

impl Drop for ForwardedResponseBody {
    fn drop(&mut self) {
        // The upkeep thread may hold the other end for a moment longer; the upstream need not wait for it.
        self.flow.sever();
    }
}
