//! The upstream's answer on its way to the caller.
//!
//! Frame by frame, as the caller's connection asks for them, so a slow reader slows the upstream. The upstream connection
//! travels with the body and goes back to its pool with the last frame.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use bytes::Bytes;
use http::HeaderName;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use keybound_tls::{BoxError, ResponseBody};

use crate::request_body::ForwardedRequestBody;
use crate::running::{Running, Watch};
use crate::trailers;
use crate::upstream::Lease;

/// The token that this answer was given for is no longer good.
#[derive(Debug, thiserror::Error)]
#[error("the access token has expired or was revoked")]
struct TokenEnded;

/// A response body that streams.
struct ForwardedResponseBody {
    body: Incoming,
    /// A frame that was there at once.
    first: Option<Result<Frame<Bytes>, hyper::Error>>,
    lease: Option<Lease>,
    /// The request body, if it may still be on its way.
    request: Option<Arc<ForwardedRequestBody>>,
    /// Trailer fields the head announced; `None` where no announcement is needed (HTTP/2).
    announced_trailers: Option<Vec<HeaderName>>,
    running: Expiry,
}

/// What ends the answer with its token.
enum Expiry {
    Never,
    /// Watched only from the second frame on: most answers have but one.
    Unwatched(Watch),
    Watched(Arc<Running>),
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
    ResponseBody::stream(ForwardedResponseBody {
        body,
        first,
        lease: Some(lease),
        request,
        announced_trailers,
        running: watch().map_or(Expiry::Never, Expiry::Unwatched),
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

impl ForwardedResponseBody {
    fn end(&mut self) {
        if let Some(lease) = self.lease.take() {
            finish(lease, self.request.take(), Instant::now());
        }
        self.running = Expiry::Never;
    }

    /// Ready when the token has ended.
    fn poll_expiry(&mut self, context: &Context<'_>) -> Poll<()> {
        if let Expiry::Unwatched(_) = &self.running
            && let Expiry::Unwatched(watch) = std::mem::replace(&mut self.running, Expiry::Never)
        {
            self.running = Expiry::Watched(watch.start());
        }
        match &self.running {
            Expiry::Watched(running) => running.poll_ended(context),
            Expiry::Never | Expiry::Unwatched(_) => Poll::Pending,
        }
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
        if self.lease.is_none() {
            return Poll::Ready(None);
        }
        let frame = match self.first.take() {
            Some(first) => Some(first),
            None if self.poll_expiry(context).is_ready() => {
                self.lease = None;
                return Poll::Ready(Some(Err(TokenEnded.into())));
            }
            None => ready!(Pin::new(&mut self.body).poll_frame(context)),
        };
        let frame = match frame {
            None => None,
            Some(Ok(frame)) => {
                let is_last = frame.is_trailers() || self.body.is_end_stream();
                let frame = self.filter(frame);
                if !is_last {
                    return Poll::Ready(frame.map(Ok));
                }
                frame
            }
            Some(Err(error)) => {
                // The rest is missing, and the caller must see that it is.
                self.lease = None;
                return Poll::Ready(Some(Err(error.into())));
            }
        };
        self.end();
        Poll::Ready(frame.map(Ok))
    }

    fn is_end_stream(&self) -> bool {
        self.lease.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        let rest = self.body.size_hint();
        match (&self.first, rest.exact()) {
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
        // Cut short: the caller has gone, or the token has ended. The request's rest has no reader either.
        if let Some(request) = self.request.take() {
            request.abandon();
        }
    }
}
