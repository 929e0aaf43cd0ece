//! Errors of the admin API as problem details (RFC 9457).

use axum::body::Body;
use axum::response::IntoResponse;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderMap, HeaderValue, StatusCode};
use keybound_protocol::error_code::ErrorCode;
use keybound_store::StoreError;

const PROBLEM: &str = "application/problem+json";

/// What went wrong, for a program and for whoever reads its output.
///
/// `detail` may say what the caller sent: the caller is an administrator.
#[derive(Clone, Debug)]
pub(super) struct Problem {
    status: StatusCode,
    detail: Option<String>,
    error: Option<ErrorCode>,
    retry_after: bool,
}

impl Problem {
    /// The title is the status's own reason phrase; its type is `about:blank`.
    pub(super) fn new(status: StatusCode) -> Problem {
        Problem {
            status,
            detail: None,
            error: None,
            retry_after: false,
        }
    }

    pub(super) fn bad_request(detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::BAD_REQUEST).detail(detail)
    }

    pub(super) fn not_found(detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::NOT_FOUND).detail(detail)
    }

    pub(super) fn conflict(detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::CONFLICT).detail(detail)
    }

    /// `If-Match` names another version than the one on file.
    pub(super) fn precondition_failed() -> Problem {
        Problem::new(StatusCode::PRECONDITION_FAILED).detail("it was changed in the meantime: read it again")
    }

    pub(super) fn detail(mut self, detail: impl Into<String>) -> Problem {
        self.detail = Some(detail.into());
        self
    }

    /// The OAuth code of the same meaning.
    pub(super) fn error(mut self, error: ErrorCode) -> Problem {
        self.error = Some(error);
        self
    }

    pub(super) fn retry_after(mut self) -> Problem {
        self.retry_after = true;
        self
    }

    pub(super) fn to_json(&self) -> String {
        let mut problem = serde_json::json!({
            "type": "about:blank",
            "title": self.status.canonical_reason().unwrap_or("Error"),
            "status": self.status.as_u16(),
        });
        if let Some(detail) = &self.detail {
            problem["detail"] = detail.as_str().into();
        }
        if let Some(error) = self.error {
            problem["error"] = error.as_str().into();
        }
        problem.to_string()
    }

    /// Whether an answer with these header fields is a problem already.
    pub(super) fn is_one(headers: &HeaderMap) -> bool {
        headers
            .get(CONTENT_TYPE)
            .is_some_and(|media_type| media_type == PROBLEM)
    }

    pub(super) fn headers(&self, headers: &mut HeaderMap) {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(PROBLEM));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if self.retry_after {
            headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
        }
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Problem {
        tracing::error!(%error, "the admin API could not use the store");
        Problem::new(StatusCode::SERVICE_UNAVAILABLE)
            .detail("the store does not answer")
            .retry_after()
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> axum::response::Response {
        let mut response = http::Response::new(Body::from(self.to_json()));
        *response.status_mut() = self.status;
        self.headers(response.headers_mut());
        response
    }
}
