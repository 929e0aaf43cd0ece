//! Every path of the admin API, and what its handlers share.

use axum::Router;
use axum::body::{Body, Bytes};
use axum::response::IntoResponse;
use axum::routing::{get, post};
use http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG};
use http::{HeaderMap, HeaderValue, StatusCode};
use serde::Serialize;

use super::preconditions::entity_tag;
use super::problem::Problem;
use super::{anchors, audit, backchannel, certificates, clients, grants, keys, refusals, revocations, users};

/// The routes, below `/admin/v1`.
pub(super) fn router() -> Router {
    Router::new()
        .route("/clients", get(clients::list).post(clients::create))
        .route(
            "/clients/{client_id}",
            get(clients::show).put(clients::replace).delete(clients::delete),
        )
        .route("/clients/{client_id}/secret", post(clients::replace_secret))
        .route("/users", get(users::list).post(users::create))
        .route(
            "/users/{name}",
            get(users::show).put(users::replace).delete(users::delete),
        )
        .route("/grants", get(grants::list))
        .route("/grants/{grant_id}", get(grants::show).delete(grants::withdraw))
        .route(
            "/backchannel/{auth_req_id}",
            get(backchannel::show).post(backchannel::decide),
        )
        .route("/certificates/match", post(certificates::matching))
        .route("/anchors", get(anchors::list).post(anchors::create))
        .route(
            "/anchors/{name}",
            get(anchors::show).put(anchors::replace).delete(anchors::delete),
        )
        .route("/refusals", get(refusals::list))
        .route("/refusals/{id}", get(refusals::show))
        .route("/revocations", post(revocations::create))
        .route("/keys", get(keys::list))
        .route("/audit", get(audit::list))
        .fallback(async || Problem::not_found("the admin API has no such path"))
        .method_not_allowed_fallback(async || Problem::new(StatusCode::METHOD_NOT_ALLOWED))
}

/// An answer with a JSON value.
pub(super) struct Answer {
    status: StatusCode,
    body: Option<Vec<u8>>,
    version: Option<u64>,
    location: Option<String>,
}

impl Answer {
    pub(super) fn new(status: StatusCode, value: &impl Serialize) -> Answer {
        // Values of ours always serialise: maps have text keys, numbers are finite.
        Answer {
            status,
            body: Some(serde_json::to_vec(value).unwrap_or_default()),
            version: None,
            location: None,
        }
    }

    pub(super) fn ok(value: &impl Serialize) -> Answer {
        Answer::new(StatusCode::OK, value)
    }

    pub(super) fn no_content() -> Answer {
        Answer {
            status: StatusCode::NO_CONTENT,
            body: None,
            version: None,
            location: None,
        }
    }

    /// With the entity tag of this version.
    pub(super) fn version(mut self, version: u64) -> Answer {
        self.version = Some(version);
        self
    }

    /// With the URL of what was made.
    pub(super) fn location(mut self, location: String) -> Answer {
        self.location = Some(location);
        self
    }
}

impl IntoResponse for Answer {
    fn into_response(self) -> axum::response::Response {
        let has_body = self.body.is_some();
        let mut response = http::Response::new(self.body.map_or_else(Body::empty, Body::from));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if has_body {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        if let Some(version) = self.version {
            headers.insert(ETAG, entity_tag(version));
        }
        if let Some(location) = self.location.and_then(|location| HeaderValue::try_from(location).ok()) {
            headers.insert(http::header::LOCATION, location);
        }
        response
    }
}

/// What a handler returns.
pub(super) type Handled = Result<Answer, Problem>;

/// A JSON body, its media type checked.
pub(super) fn json_body(headers: &HeaderMap, body: Bytes) -> Result<Bytes, Problem> {
    let media_type = headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    let media_type = media_type.split(';').next().unwrap_or_default().trim();
    if media_type.eq_ignore_ascii_case("application/json") {
        return Ok(body);
    }
    Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE).detail("send application/json"))
}

/// How many entries a page has: what was asked for, at most what the store gives.
pub(super) fn page_limit(asked: Option<u16>) -> u16 {
    asked.unwrap_or(100).clamp(1, keybound_store::PAGE_MAX)
}
