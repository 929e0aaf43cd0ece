//! One request and its response, between hyper and the service.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{
    HeaderValue, Method, Request, Response, StatusCode, Version,
    header::{CONNECTION, CONTENT_LENGTH, UPGRADE},
};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use crate::{
    BoxError, Connection, LayerRefusal, RequestBody, ResponseBody, Service, authority, forwarded_certificate,
    lingering_body::LingeringBody, request_framing::REFUSED_METHOD,
};

/// Answers one request: refuses what is the transport's to refuse, hands the rest to the service.
pub(super) async fn answer<S: Service>(
    service: &S,
    connection: &Arc<Connection>,
    progress: RequestProgress,
    mut request: Request<Incoming>,
) -> Response<TrackedBody> {
    let head_only = request.method() == Method::HEAD;
    let (refused, mut response) = match check(connection, &mut request) {
        Ok(()) => {
            connection.facts.counters.request(connection.facts.runtime);
            let upgrade = connection.deadline.upgrade_asked() && request.headers().contains_key(UPGRADE);
            let bytes_max = connection.limits().body_bytes_max;
            let request = request.map(|body| RequestBody::incoming(body, bytes_max, connection));
            connection
                .interims
                .begin(!connection.is_http2() && request.version() == Version::HTTP_11);
            let response = service.call(connection, request).await;
            if !connection.is_http2() {
                connection.interims.written().await;
            }
            if upgrade {
                connection
                    .deadline
                    .answer_upgrade(response.status() == StatusCode::SWITCHING_PROTOCOLS);
            }
            (false, response)
        }
        Err(refusal) => {
            connection.note_refused(&refusal);
            let upgrade_asked = connection.deadline.upgrade_asked() && request.headers().contains_key(UPGRADE);
            let is_replaced = is_replaced(connection, &request);
            let (head, body) = request.into_parts();
            drop(LingeringBody::new(body, connection));
            let response = match is_replaced {
                true => service.refuse(connection, refusal),
                false => service.refuse_request(connection, &head.uri, refusal),
            };
            // A request for an upgrade that never reached the service is answered like any other.
            if upgrade_asked {
                connection.deadline.answer_upgrade(false);
            }
            (true, response)
        }
    };
    if !connection.is_http2()
        && (connection.deadline.body_refused() || (refused && response.status() == StatusCode::PAYLOAD_TOO_LARGE))
    {
        // The rest of a body that nobody reads is still coming. (A refused head was replaced by one that says so itself.)
        response
            .headers_mut()
            .insert(CONNECTION, HeaderValue::from_static("close"));
    }
    if head_only && connection.is_http2() {
        response = without_body(response);
    }
    response.map(|body| TrackedBody::new(body, progress))
}

/// The answer to HEAD: what GET would say of its length, and no content (RFC 9110 §9.3.2). hyper sees to that in HTTP/1.1 alone;
/// in HTTP/2 a peer takes the content for an error of the protocol.
fn without_body(response: Response<ResponseBody>) -> Response<ResponseBody> {
    let (mut parts, body) = response.into_parts();
    if let Some(length) = body.size_hint().exact()
        && length > 0
    {
        parts
            .headers
            .entry(CONTENT_LENGTH)
            .or_insert_with(|| HeaderValue::from(length));
    }
    Response::from_parts(parts, ResponseBody::Empty)
}

fn check(connection: &Connection, request: &mut Request<Incoming>) -> Result<(), LayerRefusal> {
    if is_replaced(connection, request) {
        // The screen records before it puts its own head in place of the peer's.
        return Err(connection.refusal().cloned().unwrap_or(LayerRefusal::HeadTimeout));
    }
    authority::check(connection, request)?;
    if let Some(bytes_max) = connection.limits().body_bytes_max
        && request.body().size_hint().lower() > bytes_max
    {
        return Err(LayerRefusal::BodyTooLong { bytes_max });
    }
    forwarded_certificate::take(connection, request);
    Ok(())
}

/// Whether the screen put its own head in place of the peer's.
fn is_replaced(connection: &Connection, request: &Request<Incoming>) -> bool {
    !connection.is_http2() && request.method().as_str() == REFUSED_METHOD
}

/// A request that is in progress until this is dropped.
pub(super) struct RequestProgress {
    connection: Arc<Connection>,
    answered: bool,
}

impl RequestProgress {
    pub(super) fn begin(connection: &Arc<Connection>) -> RequestProgress {
        connection.deadline.request_began();
        RequestProgress {
            connection: Arc::clone(connection),
            answered: false,
        }
    }
}

impl Drop for RequestProgress {
    fn drop(&mut self) {
        self.connection.deadline.request_ended(self.answered);
    }
}

/// A response body that tells the connection's deadline whose turn it is.
pub(super) struct TrackedBody {
    body: ResponseBody,
    with_peer: bool,
    progress: RequestProgress,
}

impl TrackedBody {
    fn new(body: ResponseBody, progress: RequestProgress) -> TrackedBody {
        progress.connection.deadline.body_with_peer();
        TrackedBody {
            body,
            with_peer: true,
            progress,
        }
    }

    fn pass_to_peer(&mut self, with_peer: bool) {
        let deadline = &self.progress.connection.deadline;
        match (self.with_peer, with_peer) {
            (false, true) => deadline.body_with_peer(),
            (true, true) => deadline.body_taken(),
            (true, false) => deadline.body_not_with_peer(),
            (false, false) => {}
        }
        self.with_peer = with_peer;
    }
}

impl Body for TrackedBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let frame = Pin::new(&mut self.body).poll_frame(context);
        self.pass_to_peer(frame.is_ready());
        self.progress.answered |= matches!(frame, Poll::Ready(None)) || self.body.is_end_stream();
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for TrackedBody {
    fn drop(&mut self) {
        self.pass_to_peer(false);
        self.progress.answered |= self.body.is_end_stream();
    }
}
