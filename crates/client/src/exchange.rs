//! One form posted to an endpoint of an authorization server, and its answer.

use std::sync::Arc;

use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode};
use keybound_protocol::json::JsonObject;
use keybound_tls::{OutgoingBody, RequestError};

use crate::authorization_server::Location;
use crate::client_authentication::AuthenticatedForm;
use crate::dpop_key::{DPOP, DpopKey};
use crate::error::{ClientError, EndpointRefusal, ResponseError};
use crate::identity::Identity;
use crate::trace::{Trace, TracedRequest, TracedResponse, redacted_body, redacted_headers};

/// The largest answer of an endpoint that is read, in octets.
pub const RESPONSE_BYTES_MAX: u64 = 64 * 1024;

/// The header in which a Keybound server says under which id it recorded a refusal.
const REFUSAL_HEADER: &str = "keybound-refusal";

/// An answer with a status of success.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) body: Bytes,
}

/// A form to be posted.
pub(crate) struct Post<'a> {
    pub(crate) location: &'a Location,
    pub(crate) form: &'a AuthenticatedForm,
    /// Over whose connections.
    pub(crate) identity: &'a Identity,
    /// Who proves a key by it (RFC 9449 §5).
    pub(crate) dpop: Option<&'a DpopKey>,
}

/// Posts a form.
///
/// # Errors
/// No answer, or one that is not a success.
pub(crate) async fn post_form(post: Post<'_>, trace: Option<&Arc<dyn Trace>>) -> Result<Answer, ClientError> {
    let Post {
        location,
        form,
        identity,
        dpop,
    } = post;
    let request_failed = |source| ClientError::Request {
        url: location.url.to_string(),
        source,
    };
    let body = Bytes::from(
        url::form_urlencoded::Serializer::new(String::new())
            .extend_pairs(&form.pairs)
            .finish(),
    );
    let mut request = Request::post(location.url.as_str())
        .body(OutgoingBody::Full(body.clone()))
        .map_err(|_| request_failed(RequestError::UriWithoutHost))?;
    let headers = request.headers_mut();
    headers.insert(
        CONTENT_TYPE,
        HeaderValue::from_static("application/x-www-form-urlencoded"),
    );
    headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
    headers.extend(form.authorization.clone().map(|value| (AUTHORIZATION, value)));
    if let Some(dpop) = dpop {
        headers.insert(DPOP, dpop.prove(&Method::POST, location.url.as_str(), None)?);
    }
    if let Some(trace) = trace {
        trace.request(&TracedRequest {
            method: &Method::POST,
            url: &location.url,
            certificate: identity.thumbprint(),
            headers: redacted_headers(request.headers()),
            body: redacted_body(request.headers(), &body),
        });
    }
    let response = identity.send(request).await.map_err(request_failed)?;
    let (parts, body) = response.into_parts();
    if let Some(dpop) = dpop {
        dpop.learn(location.url.as_str(), &parts.headers);
    }
    let body = body.collect_at_most(RESPONSE_BYTES_MAX).await.map_err(request_failed)?;
    if let Some(trace) = trace {
        trace.response(&TracedResponse {
            url: &location.url,
            status: parts.status,
            headers: redacted_headers(&parts.headers),
            body: redacted_body(&parts.headers, &body),
        });
    }
    if parts.status.is_success() {
        return Ok(Answer {
            status: parts.status,
            body,
        });
    }
    Err(refusal(location, identity, parts.status, &parts.headers, &body))
}

/// An error that the endpoint itself describes, or that it describes nothing.
fn refusal(
    location: &Location,
    identity: &Identity,
    status: StatusCode,
    headers: &HeaderMap,
    body: &[u8],
) -> ClientError {
    let member = |object: &JsonObject, name| object.string(name).ok().flatten().map(str::to_owned);
    let described = JsonObject::parse(body)
        .ok()
        .and_then(|object| Some((member(&object, "error")?, object)));
    let Some((error, object)) = described else {
        return ClientError::Response {
            url: location.url.to_string(),
            status,
            source: ResponseError::Status,
        };
    };
    let refusal_id = headers
        .get(REFUSAL_HEADER)
        .and_then(|value| value.to_str().ok())
        .map(str::to_owned);
    ClientError::Refused(Box::new(EndpointRefusal {
        endpoint: location.endpoint,
        url: location.url.to_string(),
        status,
        error,
        description: member(&object, "error_description"),
        refusal_id,
        is_alias: location.is_alias,
        meant_certificate: identity.thumbprint().is_some(),
    }))
}
