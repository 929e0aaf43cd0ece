//! The operations listener: `/health/live`, `/health/ready`, `/metrics`. Plain HTTP on a loopback address, for the platform.

use std::sync::Arc;

use http::{HeaderValue, Method, StatusCode, header::ALLOW};
use keybound_tls::{Connection, RequestBody, ResponseBody, Service, names_this_machine};

use crate::response::{self, Response};
use crate::server::Server;

/// Answers the operations listener.
#[derive(Clone)]
pub struct OperationsService {
    pub(crate) server: Arc<Server>,
    pub(crate) more_metrics: Arc<dyn Fn(&mut String) + Send + Sync>,
}

// A gateway's operations listener answers these alike: whoever watches both needs to know one of them.
const METHODS: &str = "GET, HEAD, OPTIONS";
const NO_SUCH_HOST: &str =
    r#"{"error":"invalid_request","error_description":"ask by an address, localhost or a configured host name"}"#;
const NO_SUCH_PATH: &str = r#"{"error":"invalid_request","error_description":"there is no endpoint at this path"}"#;
const NO_SUCH_METHOD: &str =
    r#"{"error":"invalid_request","error_description":"this endpoint does not have this method"}"#;

impl OperationsService {
    /// With further metrics of the process, such as those of its listeners: `append` adds whole families of OpenMetrics text.
    #[must_use]
    pub fn with_metrics(self, append: impl Fn(&mut String) + Send + Sync + 'static) -> Self {
        Self {
            more_metrics: Arc::new(append),
            ..self
        }
    }

    fn answer(&self, method: &Method, path: &str) -> Response {
        let found = matches!(path, "/health/live" | "/health/ready" | "/metrics");
        if !found {
            return response::json(StatusCode::NOT_FOUND, NO_SUCH_PATH);
        }
        match *method {
            Method::GET | Method::HEAD => {}
            Method::OPTIONS => return response::options(METHODS),
            _ => {
                let mut refused = response::json(StatusCode::METHOD_NOT_ALLOWED, NO_SUCH_METHOD);
                refused.headers_mut().insert(ALLOW, HeaderValue::from_static(METHODS));
                return refused;
            }
        }
        match path {
            "/health/live" => response::json(StatusCode::OK, r#"{"status":"live"}"#),
            "/health/ready" => self.ready(),
            _ => response::text(
                StatusCode::OK,
                "application/openmetrics-text; version=1.0.0; charset=utf-8",
                self.server.metrics.encode(&*self.more_metrics),
            ),
        }
    }

    fn ready(&self) -> Response {
        let obstacles = self.server.health.obstacles();
        if obstacles.is_empty() {
            return response::json(StatusCode::OK, r#"{"status":"ready"}"#);
        }
        let body = serde_json::json!({"status": "unready", "reasons": obstacles}).to_string();
        response::json(StatusCode::SERVICE_UNAVAILABLE, body)
    }
}

impl Service for OperationsService {
    async fn call(&self, _: &Arc<Connection>, request: http::Request<RequestBody>) -> http::Response<ResponseBody> {
        let configuration = self.server.configuration.load();
        if !names_this_machine(&request, &configuration.hosts) {
            return response::json(StatusCode::MISDIRECTED_REQUEST, NO_SUCH_HOST);
        }
        self.answer(request.method(), request.uri().path())
    }
}
