//! The admin API, `/admin/v1/…` on the mutual-TLS listener: clients, users, trust anchors, refusals, signing keys,
//! audit.
//!
//! It is a protected resource like any other, and checked as one: only access tokens that are bound to the caller's certificate,
//! with scope `keybound:admin` and audience `{issuer}/admin`, pass, and only while their client still has that scope. There is no
//! second way in. Errors are problem details (RFC 9457); what comes from files is shown and cannot be changed (409).
//!
//! Read [`authorization`] first, then [`routes`]; a file per noun follows.

mod anchors;
mod audit;
mod authorization;
mod backchannel;
mod certificates;
mod clients;
mod grants;
mod keys;
mod preconditions;
mod problem;
mod refusals;
mod revocations;
mod routes;
mod users;

use std::sync::Arc;

use arc_swap::ArcSwap;
use axum::Router;
use axum::body::Body;
use http::request::Parts;
use http::{StatusCode, Uri};
use http_body_util::BodyExt as _;
use keybound_protocol::jwk_set::JwkSet;
use keybound_protocol::peer_certificate::PresentedCertificate;
use keybound_protocol::time::Timestamp;
use keybound_resource_server::SettingsError;
use keybound_tls::{BodyError, Connection, LayerRefusal, RequestBody, ResponseBody};
use tokio::sync::Semaphore;
use tower::ServiceExt as _;

use crate::configuration::Configuration;
use crate::protected_resource::{Caller, TokenCheck};
use crate::response::Response;
use crate::router::{ADMIN_PREFIX, Route};
use crate::server::Server;
use authorization::Administrator;
use problem::Problem;

/// The admin API.
pub(crate) struct AdminApi {
    router: Router,
    check: ArcSwap<TokenCheck>,
    working: Semaphore,
}

/// One request of an administrator. Handlers find it in the request's extensions.
#[derive(Clone)]
struct AdminRequest {
    server: Arc<Server>,
    administrator: Administrator,
    now: Timestamp,
}

impl AdminApi {
    pub(crate) fn new(
        configuration: &Configuration,
        keys: JwkSet,
        working_max: usize,
    ) -> Result<AdminApi, SettingsError> {
        Ok(AdminApi {
            router: routes::router(),
            check: ArcSwap::from_pointee(AdminApi::check(configuration, keys)?),
            working: Semaphore::new(working_max.clamp(1, Semaphore::MAX_PERMITS)),
        })
    }

    /// What tokens have to be under this configuration.
    pub(crate) fn check(configuration: &Configuration, keys: JwkSet) -> Result<TokenCheck, SettingsError> {
        TokenCheck::new(configuration, keys, configuration.resources.admin(), Route::Admin)
    }

    /// From now on takes the tokens that this check accepts.
    pub(crate) fn configure(&self, check: TokenCheck) {
        self.check.store(Arc::new(check));
    }

    /// From now on takes tokens that these keys signed.
    pub(crate) fn replace_keys(&self, keys: JwkSet) {
        self.check.load().replace_keys(keys);
    }

    /// Answers a request below `/admin/v1`.
    pub(crate) async fn answer(
        &self,
        server: &Arc<Server>,
        connection: &Arc<Connection>,
        presented: &PresentedCertificate,
        parts: &Parts,
        body: RequestBody,
    ) -> Response {
        let body = match body.collect_at_most(server.configuration.load().body_bytes_max).await {
            Ok(body) => body,
            Err(BodyError::Refused(refusal)) => {
                let problem = Problem::new(refusal.status()).detail(refusal.description());
                return convert(axum::response::IntoResponse::into_response(problem)).await;
            }
            // Nobody is left to read this.
            Err(BodyError::Broken(_)) => return Response::new(ResponseBody::Empty),
        };
        // The caller is judged when the request is complete: who sends the body late would else act on a right that is long gone.
        let now = server.clock.now();
        let caller = Caller {
            server,
            connection,
            presented,
            parts,
            now,
        };
        let administrator = match authorization::authorize(&caller, &self.check.load_full()).await {
            Ok(administrator) => administrator,
            Err(response) => return *response,
        };
        let Ok(_working) = self.working.try_acquire() else {
            let problem = Problem::new(StatusCode::SERVICE_UNAVAILABLE)
                .detail("too many admin requests at once")
                .retry_after();
            return convert(axum::response::IntoResponse::into_response(problem)).await;
        };
        let mut request = http::Request::new(Body::from(body));
        *request.method_mut() = parts.method.clone();
        *request.uri_mut() = below_prefix(&parts.uri);
        *request.headers_mut() = parts.headers.clone();
        request.extensions_mut().insert(AdminRequest {
            server: Arc::clone(server),
            administrator,
            now,
        });
        let answered = self.router.clone().oneshot(request).await;
        // The router's error type has no values.
        let Ok(response) = answered;
        convert(response).await
    }
}

/// The answer to a request of this API that the transport refused, as the problem that callers of this API expect. Its headers,
/// the id of the refusal among them, stay.
pub(crate) fn refused(mut response: Response, refusal: &LayerRefusal) -> Response {
    let problem = Problem::new(response.status()).detail(refusal.description());
    problem.headers(response.headers_mut());
    *response.body_mut() = ResponseBody::from(problem.to_json());
    response
}

/// The part of the path that the routes are about: what follows `/admin/v1`, which the router has seen in front.
fn below_prefix(uri: &Uri) -> Uri {
    let below = uri
        .path_and_query()
        .and_then(|target| target.as_str().strip_prefix(ADMIN_PREFIX))
        .unwrap_or_default();
    let rooted = if below.starts_with('/') {
        below.to_owned()
    } else {
        format!("/{below}")
    };
    // A part of a URI that begins with a slash is one, too.
    Uri::try_from(rooted).unwrap_or_default()
}

/// From axum's body to ours. What the handlers make is in memory already; an error that axum itself made (a query that cannot
/// be read, a method that a path does not have) becomes a problem like every other.
async fn convert(response: axum::response::Response) -> Response {
    let (mut parts, body) = response.into_parts();
    let body = match body.collect().await {
        Ok(collected) => collected.to_bytes(),
        Err(_) => bytes::Bytes::new(),
    };
    let is_error = parts.status.is_client_error() || parts.status.is_server_error();
    if !is_error || Problem::is_one(&parts.headers) {
        return Response::from_parts(parts, ResponseBody::Full(body));
    }
    let problem = Problem::new(parts.status).detail(String::from_utf8_lossy(&body));
    parts.headers.remove(http::header::CONTENT_LENGTH);
    problem.headers(&mut parts.headers);
    Response::from_parts(parts, ResponseBody::from(problem.to_json()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_prefix_in_front_is_taken_off() {
        for (uri, below) in [
            ("/admin/v1", "/"),
            ("/admin/v1/clients?limit=1", "/clients?limit=1"),
            ("/admin/v1?x=/admin/v1/keys", "/?x=/admin/v1/keys"),
            ("/admin/v1/clients/admin/v1/keys", "/clients/admin/v1/keys"),
            ("https://as.example/admin/v1/keys", "/keys"),
            ("/tenant/admin/v1/keys", "/"),
        ] {
            assert_eq!(below_prefix(&Uri::from_static(uri)), below, "{uri}");
        }
    }
}
