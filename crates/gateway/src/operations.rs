//! The operations listener: health, metrics, refusals. Plain HTTP, meant for the machine itself.

use std::sync::Arc;

use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use keybound_protocol::refusal::{Refusal, RefusalId};
use keybound_resource_server::RevocationStanding;
use keybound_tls::{Connection, RequestBody, ResponseBody, Service, names_this_machine};
use serde_json::Value;

use crate::gateway::Gateway;

const JSON: HeaderValue = HeaderValue::from_static("application/json");
// An authorization server's operations listener answers these alike: whoever watches both needs to know one of them.
const METHODS: HeaderValue = HeaderValue::from_static("GET, HEAD, OPTIONS");
const NO_SUCH_HOST: &str =
    r#"{"error":"invalid_request","error_description":"ask by an address, localhost or a configured host name"}"#;
const NO_SUCH_PATH: &str = r#"{"error":"invalid_request","error_description":"there is no endpoint at this path"}"#;
const NO_SUCH_METHOD: &str =
    r#"{"error":"invalid_request","error_description":"this endpoint does not have this method"}"#;
const OPENMETRICS: HeaderValue = HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");

/// Appends metrics of other origin, such as the listeners'.
type MoreMetrics = Arc<dyn Fn(&mut String) + Send + Sync>;

/// `/health/live`, `/health/ready`, `/metrics`, `/refusals/{ID}`.
#[derive(Clone)]
pub struct OperationsService {
    gateway: Gateway,
    more_metrics: MoreMetrics,
}

impl OperationsService {
    pub(crate) fn new(gateway: Gateway) -> Self {
        Self {
            gateway,
            more_metrics: Arc::new(|_| {}),
        }
    }

    /// The same, and `/metrics` also has what `append` writes, in the OpenMetrics text format without the end marker.
    #[must_use]
    pub fn with_metrics(self, append: impl Fn(&mut String) + Send + Sync + 'static) -> Self {
        Self {
            more_metrics: Arc::new(append),
            ..self
        }
    }

    fn answer(&self, method: &Method, path: &str) -> Response<ResponseBody> {
        let refusal_id = path.strip_prefix("/refusals/");
        if refusal_id.is_none() && !matches!(path, "/health/live" | "/health/ready" | "/metrics") {
            return json(StatusCode::NOT_FOUND, NO_SUCH_PATH);
        }
        match *method {
            Method::GET | Method::HEAD => {}
            Method::OPTIONS => {
                let mut response = Response::new(ResponseBody::Empty);
                *response.status_mut() = StatusCode::NO_CONTENT;
                return with_methods(response);
            }
            _ => return with_methods(json(StatusCode::METHOD_NOT_ALLOWED, NO_SUCH_METHOD)),
        }
        if let Some(id) = refusal_id {
            return self.refusal(id);
        }
        match path {
            "/health/live" => json(StatusCode::OK, r#"{"status":"live"}"#),
            "/health/ready" => self.readiness(),
            _ => {
                let shared = self.gateway.shared();
                // Requests are counted from the log, so what is waiting there belongs to the present.
                shared.write_log();
                shared.count_connections();
                shared.count_revocations();
                respond(
                    StatusCode::OK,
                    OPENMETRICS,
                    shared.metrics.to_text(|text| (self.more_metrics)(text)).into(),
                )
            }
        }
    }

    /// Ready although an issuer's keys are missing: the others' tokens are good, and its own may be again any moment. Which they are
    /// is said all the same. Not ready while it is not known what a followed issuer revoked: then another gateway may know.
    fn readiness(&self) -> Response<ResponseBody> {
        let shared = self.gateway.shared();
        let (loaded, now) = (shared.loaded.load(), shared.environment.clock.now());
        let without_keys: Vec<&str> = loaded
            .resource_server
            .issuers_without_keys(now)
            .map(|issuer| issuer.as_str())
            .collect();
        let (code, status) = match self.gateway.is_ready() {
            true => (StatusCode::OK, "ready"),
            false => (StatusCode::SERVICE_UNAVAILABLE, "unready"),
        };
        let mut body = serde_json::json!({ "status": status, "issuers_without_keys": without_keys });
        let followed: Vec<_> = loaded.resource_server.revocations(now).map(revocations).collect();
        if !followed.is_empty() {
            body["revocations"] = followed.into();
        }
        respond(code, JSON, body.to_string().into())
    }

    fn refusal(&self, id: &str) -> Response<ResponseBody> {
        let found = RefusalId::parse(id)
            .ok()
            .and_then(|id| self.gateway.refusals().find(&id));
        match found.and_then(|refusal| serde_json::to_vec(&*refusal).ok()) {
            Some(refusal) => respond(StatusCode::OK, JSON, refusal.into()),
            None => json(
                StatusCode::NOT_FOUND,
                r#"{"error":"invalid_request","error_description":"no such refusal is remembered"}"#,
            ),
        }
    }
}

impl Service for OperationsService {
    async fn call(&self, _: &Arc<Connection>, request: Request<RequestBody>) -> Response<ResponseBody> {
        let loaded = self.gateway.shared().loaded.load();
        if !names_this_machine(&request, loaded.routes.hosts()) {
            return json(StatusCode::MISDIRECTED_REQUEST, NO_SUCH_HOST);
        }
        self.answer(request.method(), request.uri().path())
    }
}

/// How the following of one issuer's revocations stands.
fn revocations(standing: RevocationStanding<'_>) -> Value {
    let state = match (standing.is_silent, standing.heard_ago) {
        (false, _) => "current",
        (true, None) => "not read yet",
        (true, Some(_)) => "silent",
    };
    serde_json::json!({
        "issuer": standing.issuer.as_str(),
        "state": state,
        "heard_secs_ago": standing.heard_ago.map(|ago| ago.as_secs()),
        "entries": standing.entries,
        "error": standing.last_error.map(|error| Refusal::reason_of(&*error)),
    })
}

fn with_methods(mut response: Response<ResponseBody>) -> Response<ResponseBody> {
    response.headers_mut().insert(ALLOW, METHODS);
    response
}

fn json(status: StatusCode, body: &'static str) -> Response<ResponseBody> {
    respond(status, JSON, body.into())
}

fn respond(status: StatusCode, content_type: HeaderValue, body: ResponseBody) -> Response<ResponseBody> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, content_type);
    response
        .headers_mut()
        .insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
