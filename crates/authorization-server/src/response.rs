//! Answers: their headers and nothing else. What an error says is decided in [`crate::error`].

use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, ETAG, HeaderName, PRAGMA};
use http::{HeaderValue, StatusCode};
use keybound_tls::ResponseBody;

/// An answer of this server.
pub(crate) type Response = http::Response<ResponseBody>;

/// The id under which an operator finds the reason of a refusal.
pub(crate) const KEYBOUND_REFUSAL: HeaderName = HeaderName::from_static("keybound-refusal");

const JSON: HeaderValue = HeaderValue::from_static("application/json");
const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");
const NO_CACHE: HeaderValue = HeaderValue::from_static("no-cache");

/// JSON that nobody may keep (RFC 6749 §5.1): tokens, verdicts about tokens, every error.
pub(crate) fn json(status: StatusCode, body: impl Into<Bytes>) -> Response {
    let mut response = Response::new(ResponseBody::Full(body.into()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, JSON);
    headers.insert(CACHE_CONTROL, NO_STORE);
    headers.insert(PRAGMA, NO_CACHE);
    response
}

/// A JSON document for everybody, such as metadata: its bytes are made beforehand.
#[derive(Clone, Debug)]
pub(crate) struct PublicDocument {
    body: Bytes,
    entity_tag: HeaderValue,
    cache_control: HeaderValue,
}

impl PublicDocument {
    /// `fresh` is how long caches may keep it.
    pub(crate) fn new(body: impl Into<Bytes>, fresh: std::time::Duration) -> PublicDocument {
        let body: Bytes = body.into();
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &body);
        let tag: String = digest
            .as_ref()
            .iter()
            .take(8)
            .map(|octet| format!("{octet:02x}"))
            .collect();
        // Digits, letters, quotes, `=` and `-` are always a header value.
        let value = |text: String| HeaderValue::try_from(text).unwrap_or(NO_STORE);
        PublicDocument {
            body,
            entity_tag: value(format!("\"{tag}\"")),
            cache_control: value(format!("public, max-age={}", fresh.as_secs())),
        }
    }

    /// The document, or 304 for whoever has it already.
    pub(crate) fn response(&self, if_none_match: Option<&HeaderValue>) -> Response {
        let known = if_none_match.is_some_and(|tags| {
            tags.to_str().is_ok_and(|tags| {
                tags.split(',')
                    .any(|tag| tag.trim().trim_start_matches("W/") == self.entity_tag)
            })
        });
        let mut response = Response::new(if known {
            ResponseBody::Empty
        } else {
            ResponseBody::Full(self.body.clone())
        });
        let headers = response.headers_mut();
        headers.insert(CACHE_CONTROL, self.cache_control.clone());
        headers.insert(ETAG, self.entity_tag.clone());
        if !known {
            headers.insert(CONTENT_TYPE, JSON);
        }
        if known {
            *response.status_mut() = StatusCode::NOT_MODIFIED;
        }
        response
    }
}

/// 204 with the methods of a path.
pub(crate) fn options(allow: &'static str) -> Response {
    let mut response = Response::new(ResponseBody::Empty);
    *response.status_mut() = StatusCode::NO_CONTENT;
    response.headers_mut().insert(ALLOW, HeaderValue::from_static(allow));
    response
}

/// Text for people and machines of the operations listener.
pub(crate) fn text(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Response {
    let mut response = json(status, body);
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}
