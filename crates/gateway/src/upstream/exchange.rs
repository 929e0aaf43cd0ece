//! One request to an upstream and the head of its answer.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{HeaderMap, Request, Response, StatusCode};
use hyper::body::Incoming;
use keybound_resource_server::Refused as TokenRefused;

use super::{Lease, Permit, Upstream, UpstreamError};
use crate::request_body::{ForwardedRequestBody, UpstreamBody};

/// How often a request that waits for its upstream is looked after: whether its token still holds, and whether the upstream is late.
const LOOK_INTERVAL: Duration = Duration::from_millis(250);

/// What is to be sent. `head` may be asked for more than once, as the first connection may turn out to be closed.
pub(crate) struct Exchange<'a> {
    pub(crate) upstream: &'a Arc<Upstream>,
    pub(crate) head: &'a (dyn Fn() -> Request<UpstreamBody> + Send + Sync),
    /// `None` for a request without a body.
    pub(crate) body: Option<&'a Arc<ForwardedRequestBody>>,
    /// Whether the method is one that may be repeated (RFC 9110 §9.2.2).
    pub(crate) idempotent: bool,
    /// When the request arrived.
    pub(crate) started: Instant,
    /// Why the request's token is no longer good, if it is not.
    pub(crate) token_end: &'a (dyn Fn() -> Option<Box<TokenRefused>> + Send + Sync),
}

/// Why there is no answer.
pub(crate) enum NoAnswer {
    Upstream(UpstreamError),
    /// The token ended before there was one.
    TokenEnded(Box<TokenRefused>),
}

impl From<UpstreamError> for NoAnswer {
    fn from(error: UpstreamError) -> Self {
        Self::Upstream(error)
    }
}

/// The head of the answer, its body, and the connection it comes on.
pub(crate) struct Answer {
    pub(crate) response: Response<Incoming>,
    pub(crate) lease: Lease,
}

/// How one attempt failed.
enum Failure {
    /// Nothing was sent, and the request is back.
    NotSent(Box<Request<UpstreamBody>>),
    /// A kept connection was closed instead of answering: the usual race between its idle limit and ours.
    Stale(UpstreamError),
    Final(NoAnswer),
}

/// Why the head of an answer is not waited for any longer.
enum GivenUp {
    TooLate,
    TokenEnded(Box<TokenRefused>),
}

impl Exchange<'_> {
    /// Sends the request on a kept connection if there is one, and waits for the head of the answer.
    ///
    /// What never left is sent again whatever it is. What was sent on a kept connection that then closed is repeated once,
    /// on a new connection, if it has no body and its method may be repeated.
    pub(crate) async fn run(&self) -> Result<Answer, NoAnswer> {
        let mut request = (self.head)();
        if let Some(idle) = self.upstream.take_idle(self.started) {
            let lease = idle.lease(Permit::acquire(self.upstream)?);
            match self.attempt(lease, self.started, request).await {
                Ok(answer) => return Ok(answer),
                Err(Failure::NotSent(unsent)) => request = *unsent,
                Err(Failure::Stale(_)) if self.body.is_none() && self.idempotent => request = (self.head)(),
                Err(Failure::Stale(error)) => return Err(error.into()),
                Err(Failure::Final(error)) => return Err(error),
            }
        }
        let lease = self.connect().await?;
        match self.attempt(lease, Instant::now(), request).await {
            Ok(answer) => Ok(answer),
            Err(Failure::Stale(error)) => Err(error.into()),
            Err(Failure::Final(error)) => Err(error),
            Err(Failure::NotSent(_)) => Err(UpstreamError::Unreachable {
                upstream: self.upstream.origin().to_string(),
                source: std::io::ErrorKind::ConnectionReset.into(),
            }
            .into()),
        }
    }

    async fn connect(&self) -> Result<Lease, NoAnswer> {
        let connecting = Lease::connect(Permit::acquire(self.upstream)?);
        let token_end = async {
            loop {
                tokio::time::sleep(LOOK_INTERVAL).await;
                if let Some(refused) = (self.token_end)() {
                    break refused;
                }
            }
        };
        tokio::select! {
            lease = connecting => Ok(lease?),
            refused = token_end => Err(NoAnswer::TokenEnded(refused)),
        }
    }

    async fn attempt(&self, mut lease: Lease, now: Instant, request: Request<UpstreamBody>) -> Result<Answer, Failure> {
        let timeout = self.upstream.limits().response_timeout;
        // A timer that is moved on costs next to nothing, and one that fires in the meantime little.
        lease.restart_timer(now, timeout.min(LOOK_INTERVAL));
        let reused = lease.reused;
        let sent = {
            let mut sending = pin!(lease.sender.try_send_request(request));
            let timer = &mut lease.timer;
            poll_fn(|context| {
                if let Poll::Ready(sent) = sending.as_mut().poll(context) {
                    return Poll::Ready(Ok(sent));
                }
                while timer.as_mut().poll(context).is_ready() {
                    if let Some(refused) = (self.token_end)() {
                        return Poll::Ready(Err(GivenUp::TokenEnded(refused)));
                    }
                    // As long as the caller is sending, the upstream is not late.
                    let since = self.body.map_or(now, |body| body.last_progress().max(now));
                    let left = timeout.saturating_sub(since.elapsed());
                    if left.is_zero() {
                        return Poll::Ready(Err(GivenUp::TooLate));
                    }
                    timer
                        .as_mut()
                        .reset(super::deadline(Instant::now(), left.min(LOOK_INTERVAL)));
                }
                Poll::Pending
            })
            .await
        };
        let name = || self.upstream.origin().to_string();
        match sent {
            Ok(Ok(response)) => {
                check_framing(&response)
                    .map_err(|()| Failure::Final(UpstreamError::AmbiguousFraming { upstream: name() }.into()))?;
                Ok(Answer { response, lease })
            }
            Ok(Err(mut failed)) => match failed.take_message() {
                Some(unsent) => Err(Failure::NotSent(Box::new(unsent))),
                None => {
                    let error = failed.into_error();
                    let closed = !error.is_parse() && !error.is_user();
                    let error = UpstreamError::of_exchange(name(), error);
                    Err(if reused && closed {
                        Failure::Stale(error)
                    } else {
                        Failure::Final(error.into())
                    })
                }
            },
            Err(GivenUp::TooLate) => Err(Failure::Final(
                UpstreamError::ResponseTimeout {
                    upstream: name(),
                    within: timeout,
                }
                .into(),
            )),
            Err(GivenUp::TokenEnded(refused)) => Err(Failure::Final(NoAnswer::TokenEnded(refused))),
        }
    }
}

/// Refuses an answer whose length could be read in two ways: the next reader of a shared connection would take the rest
/// of one answer for the beginning of another. hyper has already settled on one reading; we don't.
fn check_framing(response: &Response<Incoming>) -> Result<(), ()> {
    let headers = response.headers();
    if !headers.contains_key(TRANSFER_ENCODING) && one_length(headers) {
        return Ok(());
    }
    let bodiless = response.status() == StatusCode::NO_CONTENT || response.status().is_informational();
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    let chunked = codings
        .next()
        .is_some_and(|coding| coding.as_bytes().eq_ignore_ascii_case(b"chunked"));
    let alone = codings.next().is_none() && !headers.contains_key(CONTENT_LENGTH);
    if chunked && alone && !bodiless { Ok(()) } else { Err(()) }
}

/// No length, or one that is plain digits, once.
fn one_length(headers: &HeaderMap) -> bool {
    let mut lengths = headers.get_all(CONTENT_LENGTH).iter();
    match (lengths.next(), lengths.next()) {
        (None, _) => true,
        (Some(length), None) => !length.is_empty() && length.as_bytes().iter().all(u8::is_ascii_digit),
        (Some(_), Some(_)) => false,
    }
}
