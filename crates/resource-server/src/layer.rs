//! The check as a tower layer, for services written with axum, hyper or anything else that speaks tower.
//!
//! A thin shell around [`ResourceServer::check`]. Whoever terminates TLS puts the [`PresentedCertificate`] of the connection into
//! the request's extensions; a request without one counts as from a listener that asks for no certificate, and no bound token
//! passes. Nothing is ever read from a header in its place. The address of the caller may be there as a
//! [`SocketAddr`]: then no caller takes all the questions that an issuer may be asked at once.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::request::Parts;
use http::{HeaderValue, Request, Response, StatusCode};
use keybound_client::Clock;
use keybound_protocol::peer_certificate::PresentedCertificate;
use tower_layer::Layer;
use tower_service::Service;

use crate::accepted_token::AcceptedAccessToken;
use crate::caller::Caller;
use crate::metadata_document::MetadataDocument;
use crate::presentation::DPOP_NONCE;
use crate::refusal::Refused;
use crate::resource_server::ResourceServer;
use crate::route_policy::RoutePolicy;

/// Lets only requests with an acceptable access token reach a service.
///
/// An accepted token is in the extensions of the request as [`AcceptedAccessToken`]; the reason of a refusal in the extensions of
/// the response, as `Arc<Refused>`.
#[derive(Clone, Debug)]
pub struct AccessTokenLayer {
    resource_server: ResourceServer,
    policy: RoutePolicy,
    clock: Clock,
    metadata: Option<MetadataDocument>,
}

impl AccessTokenLayer {
    /// A layer for one route.
    pub fn new(resource_server: ResourceServer, policy: RoutePolicy, clock: Clock) -> AccessTokenLayer {
        AccessTokenLayer {
            resource_server,
            policy,
            clock,
            metadata: None,
        }
    }

    /// The same, and it serves the resource's metadata (RFC 9728) at its path, to everybody and in place of the service; every
    /// challenge says where. All layers of one resource get the same document, the metadata of what their policies name as
    /// audience.
    ///
    /// A layer serves only what reaches it: a router that puts it around single routes needs one for
    /// [`MetadataDocument::path`] too. The host asked for is not looked at.
    #[must_use]
    pub fn with_metadata(mut self, metadata: MetadataDocument) -> AccessTokenLayer {
        self.policy = self.policy.with_resource_metadata(metadata.url().clone());
        self.metadata = Some(metadata);
        self
    }

    /// The answer to a request for the metadata; `None` for every other request.
    fn answer_about_itself(&self, parts: &Parts) -> Option<Response<Bytes>> {
        let metadata = self.metadata.as_ref()?;
        let is_asked_for = parts.uri.path() == metadata.path() && parts.uri.query() == metadata.url().query();
        is_asked_for.then(|| metadata.answer(parts).unwrap_or_else(method_not_allowed))
    }
}

fn method_not_allowed() -> Response<Bytes> {
    let mut response = Response::new(Bytes::new());
    *response.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
    response.headers_mut().insert(ALLOW, MetadataDocument::ALLOW);
    response
}

impl<S> Layer<S> for AccessTokenLayer {
    type Service = AccessTokenService<S>;

    fn layer(&self, inner: S) -> AccessTokenService<S> {
        AccessTokenService {
            layer: self.clone(),
            inner,
        }
    }
}

/// A service that only requests with an acceptable access token reach.
#[derive(Clone, Debug)]
pub struct AccessTokenService<S> {
    layer: AccessTokenLayer,
    inner: S,
}

impl<S, RequestBody, ResponseBody> Service<Request<RequestBody>> for AccessTokenService<S>
where
    S: Service<Request<RequestBody>, Response = Response<ResponseBody>> + Clone + Send + 'static,
    S::Future: Send,
    RequestBody: Send + 'static,
    ResponseBody: From<String>,
{
    type Response = Response<ResponseBody>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Response<ResponseBody>, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<RequestBody>) -> Self::Future {
        let (mut parts, body) = request.into_parts();
        if let Some(answer) = self.layer.answer_about_itself(&parts) {
            // JSON that we wrote, so nothing is lossy.
            let text = |body: Bytes| String::from_utf8_lossy(&body).into_owned();
            return Box::pin(async move { Ok(answer.map(|body| text(body).into())) });
        }
        let presented = parts
            .extensions
            .get::<PresentedCertificate>()
            .unwrap_or(&PresentedCertificate::NotRequested);
        let now = self.layer.clock.now();
        let caller = Caller {
            presented,
            remote_address: parts.extensions.get::<SocketAddr>().copied(),
            last: None,
        };
        let layer = &self.layer;
        let check = layer.resource_server.check_for(&parts, &caller, &layer.policy, now);
        // The service that was polled ready is the one to call; its clone takes its place.
        let next = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, next);
        Box::pin(async move {
            match check.finish().await {
                Ok(accepted) => {
                    let next_nonce = accepted.next_nonce();
                    parts.extensions.insert::<AcceptedAccessToken>(accepted);
                    let mut response = inner.call(Request::from_parts(parts, body)).await?;
                    if let Some(nonce) = next_nonce {
                        response.headers_mut().insert(DPOP_NONCE, nonce);
                    }
                    Ok(response)
                }
                Err(refused) => Ok(response_to(refused)),
            }
        })
    }
}

/// The answer to a refused request (RFC 6750 §3), with the reason in its extensions.
pub fn response_to<Body: From<String>>(refused: Box<Refused>) -> Response<Body> {
    let body = refused.body();
    let has_body = !body.is_empty();
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = refused.status();
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if has_body {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    }
    for challenge in refused.challenges() {
        headers.append(WWW_AUTHENTICATE, challenge);
    }
    if let Some(nonce) = refused.dpop_nonce() {
        headers.insert(DPOP_NONCE, nonce);
    }
    if let Some(retry_after) = refused.retry_after() {
        headers.insert(RETRY_AFTER, retry_after);
    }
    tracing::info!(status = %refused.status(), reason = refused.reason() as &dyn std::error::Error, "refused");
    response.extensions_mut().insert::<Arc<Refused>>(Arc::from(refused));
    response
}
