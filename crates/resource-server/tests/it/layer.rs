//! The tower layer, alone and in a server that speaks TLS.

use std::convert::Infallible;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::Extension;
use axum::routing::get;
use http::{Request, Response, StatusCode};
use http_body_util::BodyExt as _;
use keybound_protocol::confirmation::BindingError;
use keybound_protocol::peer_certificate::PresentedCertificate;
use keybound_protocol::scope::Scope;
use keybound_resource_server::client::{Clock, OutgoingBody};
use keybound_resource_server::{
    AcceptedAccessToken, AccessTokenLayer, AccessTokenRefusal, Binding, Refused, RoutePolicy,
};
use keybound_tls::{
    ClientCertificatePolicy, Connection, HostPolicies, HostPolicy, Listener, ListenerSettings, RequestBody,
    ResponseBody, Runtimes, Service, Transport,
};
use tower::{Layer as _, ServiceExt as _};

use crate::pki::{self, Party};
use crate::support::{AUDIENCE, ISSUER, NOW, resource_server, route};
use crate::token_issuer::TokenIssuer;

fn layer(issuer: &TokenIssuer, policy: RoutePolicy) -> AccessTokenLayer {
    AccessTokenLayer::new(resource_server(issuer), policy, Clock::fixed(NOW))
}

/// Whom the service sees.
async fn whoami(Extension(token): Extension<AcceptedAccessToken>) -> String {
    let client_id = token.claims().client_id.clone().unwrap_or_default();
    match token.as_bound() {
        Some(bound) => format!("{client_id} {}", bound.certificate().unwrap()),
        None => format!("{client_id} unbound"),
    }
}

fn router(issuer: &TokenIssuer) -> Router {
    let admin = route().with_scopes(Scope::parse("admin").unwrap());
    Router::new()
        .route("/", get(whoami).layer(layer(issuer, route())))
        .route("/admin", get(whoami).layer(layer(issuer, admin)))
        .route(
            "/open",
            get(whoami).layer(layer(issuer, route().with_binding(Binding::Optional))),
        )
}

fn request(path: &str, token: Option<&str>, presented: Option<PresentedCertificate>) -> Request<Body> {
    let mut request = Request::get(path).body(Body::empty()).unwrap();
    if let Some(token) = token {
        request
            .headers_mut()
            .insert("authorization", format!("Bearer {token}").parse().unwrap());
    }
    if let Some(presented) = presented {
        request.extensions_mut().insert(presented);
    }
    request
}

async fn text(response: Response<Body>) -> (StatusCode, String) {
    let status = response.status();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, String::from_utf8(body.to_vec()).unwrap())
}

// covers MTLS-3-10, MTLS-3-12
#[tokio::test]
async fn without_a_certificate_from_the_tls_layer_no_bound_token_passes() {
    let issuer = TokenIssuer::new(ISSUER);
    let party = Party::new("demo");
    let token = issuer.bound_token(&party.thumbprint(), AUDIENCE, NOW);
    for path in ["/", "/open"] {
        let mut request = request(path, Some(&token), None);
        let forged = party.presented().end_entity().unwrap().client_cert_value().clone();
        request.headers_mut().insert("client-cert", forged);
        let response = router(&issuer).oneshot(request).await.unwrap();
        let refused = response.extensions().get::<Arc<Refused>>().unwrap();
        // Nobody said that a certificate was asked for, so that is what the operator is told.
        assert!(
            matches!(
                refused.reason(),
                AccessTokenRefusal::Binding(BindingError::NotRequested)
            ),
            "{:?}",
            refused.reason()
        );
        assert_eq!(response.headers()["cache-control"], "no-store");
        assert_eq!(response.headers()["content-type"], "application/json");
        let challenge = response.headers()["www-authenticate"].to_str().unwrap();
        assert!(
            challenge.starts_with(r#"Bearer realm="https://api.example", error="invalid_token""#),
            "{challenge}"
        );
        let (status, body) = text(response).await;
        assert_eq!(status, StatusCode::UNAUTHORIZED);
        assert!(body.starts_with(r#"{"error":"invalid_token","#), "{body}");
    }
}

// covers R6750-3
#[tokio::test]
async fn a_request_without_a_token_gets_a_bare_challenge_and_no_body() {
    let response = router(&TokenIssuer::new(ISSUER))
        .oneshot(request("/", None, None))
        .await
        .unwrap();
    assert_eq!(
        response.headers()["www-authenticate"],
        r#"Bearer realm="https://api.example""#
    );
    assert!(!response.headers().contains_key("content-type"));
    assert_eq!(text(response).await, (StatusCode::UNAUTHORIZED, String::new()));
}

// covers MTLS-3-11
#[tokio::test]
async fn the_service_gets_the_accepted_token_and_nobody_can_put_another_in_its_place() {
    let issuer = TokenIssuer::new(ISSUER);
    let party = Party::new("demo");
    let token = issuer.bound_token(&party.thumbprint(), AUDIENCE, NOW);
    let request = request("/", Some(&token), Some(party.presented()));
    let response = router(&issuer).oneshot(request).await.unwrap();
    assert_eq!(
        text(response).await,
        (StatusCode::OK, format!("demo {}", party.thumbprint()))
    );
}

#[tokio::test]
async fn each_route_has_its_own_policy() {
    let issuer = TokenIssuer::new(ISSUER);
    let party = Party::new("demo");
    let bound = issuer.bound_token(&party.thumbprint(), AUDIENCE, NOW);
    let unbound = issuer.sign(&issuer.header(), &issuer.claims(AUDIENCE, NOW));
    for (path, token, status) in [
        ("/", &bound, StatusCode::OK),
        ("/", &unbound, StatusCode::UNAUTHORIZED),
        ("/admin", &bound, StatusCode::FORBIDDEN),
        ("/open", &bound, StatusCode::OK),
        ("/open", &unbound, StatusCode::OK),
    ] {
        let request = request(path, Some(token), Some(party.presented()));
        assert_eq!(
            router(&issuer).oneshot(request).await.unwrap().status(),
            status,
            "{path}"
        );
    }
}

#[tokio::test]
async fn the_layer_calls_the_service_that_was_polled_ready() {
    // A service that is ready once: its clones are not.
    #[derive(Debug)]
    struct Once(bool);
    impl Clone for Once {
        fn clone(&self) -> Once {
            Once(false)
        }
    }
    impl tower::Service<Request<Body>> for Once {
        type Response = Response<Body>;
        type Error = Infallible;
        type Future = std::future::Ready<Result<Response<Body>, Infallible>>;
        fn poll_ready(&mut self, _: &mut std::task::Context<'_>) -> std::task::Poll<Result<(), Infallible>> {
            self.0 = true;
            std::task::Poll::Ready(Ok(()))
        }
        fn call(&mut self, _: Request<Body>) -> Self::Future {
            assert!(self.0, "called without being ready");
            std::future::ready(Ok(Response::new(Body::empty())))
        }
    }
    let issuer = TokenIssuer::new(ISSUER);
    let party = Party::new("demo");
    let token = issuer.bound_token(&party.thumbprint(), AUDIENCE, NOW);
    let service = layer(&issuer, route()).layer(Once(false));
    let response = service
        .oneshot(request("/", Some(&token), Some(party.presented())))
        .await
        .unwrap();
    assert_eq!(response.status(), StatusCode::OK);
}

/// The router behind our listener, which proves the certificates.
struct Served(Router);

impl Service for Served {
    async fn call(&self, connection: &Arc<Connection>, mut request: Request<RequestBody>) -> Response<ResponseBody> {
        let presented = connection.presented_for(request.extensions()).clone();
        request.extensions_mut().insert(presented);
        let (parts, _) = request.into_parts();
        let Ok(response) = self.0.clone().oneshot(Request::from_parts(parts, Body::empty())).await;
        response.map(ResponseBody::stream)
    }
}

/// A listener in front of the router, at this URL.
fn serve(issuer: &TokenIssuer) -> String {
    let policy = HostPolicy::new("resource", ClientCertificatePolicy::Optional, pki::server());
    let transport = Transport::Tls(HostPolicies::one(policy));
    let settings = ListenerSettings::new("resource", ([127, 0, 0, 1], 0).into(), transport);
    let listener = Listener::bind(settings, &Runtimes::current()).unwrap();
    let url = format!("https://localhost:{}/", listener.local_addr().port());
    listener.serve(Served(router(issuer)));
    url
}

async fn status_of(url: &str, token: &str, identity: &keybound_resource_server::client::Identity) -> StatusCode {
    let mut request = Request::get(url).body(OutgoingBody::Empty).unwrap();
    request
        .headers_mut()
        .insert("authorization", format!("Bearer {token}").parse().unwrap());
    identity.send(request).await.unwrap().status()
}

// covers MTLS-3-11, MTLS-3-12, MTLS-3-13, MTLS-4-6, MTLS-6.2-2, MTLS-6.2-3, MTLS-6.3-1, TRAP-24
#[tokio::test]
async fn on_real_connections_the_owner_is_served_and_nobody_else() {
    let issuer = TokenIssuer::new(ISSUER);
    let url = serve(&issuer);
    let previous = Party::new("owner");
    // Nobody's authority, long expired, for another purpose: the binding is what counts.
    for owner in [
        Party::new("owner"),
        Party::self_signed("owner"),
        Party::expired_of_unknown_authority("owner"),
    ] {
        let token = issuer.bound_token(&owner.thumbprint(), AUDIENCE, NOW);
        let owners_own = owner.identity();
        let thieves = [
            ("no certificate", pki::anonymous()),
            ("another certificate", Party::new("thief").identity()),
            ("the same name", Party::new("owner").identity()),
            ("self-signed with the same name", Party::self_signed("owner").identity()),
            ("the same key, re-issued", owner.reissued("owner").identity()),
            ("the previous certificate", previous.identity()),
        ];
        for _ in 0..10 {
            assert_eq!(status_of(&url, &token, &owners_own).await, StatusCode::OK);
            for (name, thief) in &thieves {
                assert_eq!(status_of(&url, &token, thief).await, StatusCode::UNAUTHORIZED, "{name}");
            }
        }
        // Forged headers do not even reach the service.
        let mut forged = Request::get(&url).body(OutgoingBody::Empty).unwrap();
        forged
            .headers_mut()
            .insert("authorization", format!("Bearer {token}").parse().unwrap());
        let value = owner.presented().end_entity().unwrap().client_cert_value().clone();
        forged.headers_mut().insert("client-cert", value);
        assert_eq!(
            pki::anonymous().send(forged).await.unwrap().status(),
            StatusCode::UNAUTHORIZED
        );
    }
}
