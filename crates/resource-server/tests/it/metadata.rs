//! The resource's metadata at the layer (RFC 9728): served to everybody, named in every challenge, and only if it was asked for.

use std::convert::Infallible;

use axum::body::Body;
use http::{Method, Request, Response, StatusCode};
use http_body_util::BodyExt as _;
use keybound_protocol::challenge::PresentedChallenge;
use keybound_protocol::protected_resource_metadata::ProtectedResourceMetadata;
use keybound_protocol::scope::Scope;
use keybound_resource_server::client::Clock;
use keybound_resource_server::{AccessTokenLayer, MetadataDocument, NoMetadataUrl, RoutePolicy};
use tower::{Layer as _, ServiceExt as _, service_fn};

use crate::pki::Party;
use crate::support::{AUDIENCE, ISSUER, NOW, issuer, resource_server};
use crate::token_issuer::TokenIssuer;

const PATH: &str = "/.well-known/oauth-protected-resource";
const DOCUMENT: &str = r#"{"authorization_servers":["https://as.example"],"bearer_methods_supported":["header"],"resource":"https://api.example","scopes_supported":["read"],"tls_client_certificate_bound_access_tokens":true}"#;
const BARE: &str = r#"Bearer realm="https://api.example""#;
const LAST: &str = r#", resource_metadata="https://api.example/.well-known/oauth-protected-resource""#;

fn metadata(resource: &str) -> Result<MetadataDocument, NoMetadataUrl> {
    MetadataDocument::new(
        &ProtectedResourceMetadata::new(resource.parse().unwrap())
            .with_authorization_server(issuer(ISSUER))
            .with_scopes(&Scope::parse("read").unwrap())
            .with_certificate_bound_access_tokens(true),
    )
}

fn layer(token_issuer: &TokenIssuer, resource: &str) -> AccessTokenLayer {
    let policy = RoutePolicy::new(resource.parse().unwrap()).with_scopes(Scope::parse("admin").unwrap());
    AccessTokenLayer::new(resource_server(token_issuer), policy, Clock::fixed(NOW))
}

/// The answer of the layer; the service behind it answers 418.
async fn ask(layer: &AccessTokenLayer, request: Request<Body>) -> Response<Body> {
    let teapot = service_fn(async |_: Request<Body>| {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::IM_A_TEAPOT;
        Ok::<_, Infallible>(response)
    });
    layer.layer(teapot).oneshot(request).await.unwrap()
}

fn request(method: Method, target: &str, fields: &[(&str, &str)]) -> Request<Body> {
    let mut request = Request::builder().method(method).uri(target);
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    request.body(Body::empty()).unwrap()
}

fn header<'a>(response: &'a Response<Body>, name: &str) -> Option<&'a str> {
    response.headers().get(name).map(|value| value.to_str().unwrap())
}

async fn text(response: Response<Body>) -> String {
    let body = response.into_body().collect().await.unwrap().to_bytes();
    String::from_utf8(body.to_vec()).unwrap()
}

// covers R9728-1, R9728-3
#[tokio::test]
async fn a_layer_that_was_told_nothing_serves_nothing_and_names_nothing() {
    let layer = layer(&TokenIssuer::new(ISSUER), AUDIENCE);
    let answer = ask(&layer, request(Method::GET, PATH, &[])).await;
    assert_eq!(answer.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(header(&answer, "www-authenticate"), Some(BARE));
}

// covers R9728-1
#[tokio::test]
async fn nothing_else_is_served_without_a_token() {
    assert!(metadata("urn:example:api").is_err());
    let token_issuer = TokenIssuer::new(ISSUER);
    let root = layer(&token_issuer, AUDIENCE).with_metadata(metadata(AUDIENCE).unwrap());
    let deep = layer(&token_issuer, AUDIENCE).with_metadata(metadata("https://api.example/v1").unwrap());
    for (layer, target) in [
        (&root, "/"),
        (&root, "/.well-known/oauth-protected-resource/"),
        (&root, "/.well-known/oauth-protected-resource/v1"),
        (&root, "/.well-known/oauth-protected-resourceful"),
        (&root, "/.well-known/oauth-protected-resource?v1"),
        (&root, "/.well-known/OAuth-protected-resource"),
        (&root, "/x/.well-known/oauth-protected-resource"),
        (&deep, PATH),
        (&deep, "/v1/.well-known/oauth-protected-resource"),
        (&deep, "/.well-known/oauth-protected-resource/v1/"),
        (&deep, "/.well-known/oauth-protected-resource/v12"),
    ] {
        let answer = ask(layer, request(Method::GET, target, &[])).await;
        assert_eq!(answer.status(), StatusCode::UNAUTHORIZED, "{target}");
    }
    let answer = ask(
        &deep,
        request(Method::GET, "/.well-known/oauth-protected-resource/v1", &[]),
    )
    .await;
    assert_eq!(answer.status(), StatusCode::OK);
}

// covers R9728-1
#[tokio::test]
async fn other_methods_are_refused_and_never_reach_the_service() {
    let layer = layer(&TokenIssuer::new(ISSUER), AUDIENCE).with_metadata(metadata(AUDIENCE).unwrap());
    for method in [Method::POST, Method::PUT, Method::DELETE, Method::OPTIONS] {
        let answer = ask(&layer, request(method, PATH, &[])).await;
        assert_eq!(answer.status(), StatusCode::METHOD_NOT_ALLOWED);
        assert_eq!(header(&answer, "allow"), Some("GET, HEAD"));
        assert_eq!(text(answer).await, "");
    }
}

// covers R9728-1, R9728-2
#[tokio::test]
async fn the_document_is_for_everybody_and_for_caches() {
    let layer = layer(&TokenIssuer::new(ISSUER), AUDIENCE).with_metadata(metadata(AUDIENCE).unwrap());
    let answer = ask(&layer, request(Method::GET, PATH, &[("authorization", "Bearer x")])).await;
    assert_eq!(answer.status(), StatusCode::OK);
    assert_eq!(header(&answer, "content-type"), Some("application/json"));
    assert_eq!(header(&answer, "cache-control"), Some("public, max-age=60"));
    let length = DOCUMENT.len().to_string();
    assert_eq!(header(&answer, "content-length"), Some(length.as_str()));
    let tag = header(&answer, "etag").unwrap().to_owned();
    assert_eq!(text(answer).await, DOCUMENT);

    let head = ask(&layer, request(Method::HEAD, PATH, &[])).await;
    assert_eq!(head.status(), StatusCode::OK);
    assert_eq!(header(&head, "content-length"), Some(length.as_str()));
    assert_eq!(text(head).await, "");

    for known in ["\"other\"", "", "other", &tag.replace('"', "")] {
        let answer = ask(&layer, request(Method::GET, PATH, &[("if-none-match", known)])).await;
        assert_eq!(answer.status(), StatusCode::OK, "{known}");
    }
    for known in [&tag, &format!("\"other\", W/{tag}"), "*"] {
        let answer = ask(&layer, request(Method::GET, PATH, &[("if-none-match", known)])).await;
        assert_eq!(answer.status(), StatusCode::NOT_MODIFIED, "{known}");
        assert_eq!(header(&answer, "etag"), Some(tag.as_str()));
        assert_eq!(text(answer).await, "");
    }
}

// covers R9728-3, R6750-3
#[tokio::test]
async fn each_challenge_names_it_last() {
    let token_issuer = TokenIssuer::new(ISSUER);
    let layer = layer(&token_issuer, AUDIENCE).with_metadata(metadata(AUDIENCE).unwrap());
    let bare = ask(&layer, request(Method::GET, "/", &[])).await;
    assert_eq!(
        header(&bare, "www-authenticate"),
        Some(format!("{BARE}{LAST}").as_str())
    );

    let party = Party::new("demo");
    let token = format!(
        "Bearer {}",
        token_issuer.bound_token(&party.thumbprint(), AUDIENCE, NOW)
    );
    let mut in_vain = request(Method::GET, "/", &[("authorization", &token)]);
    in_vain.extensions_mut().insert(party.presented());
    for (request, status, error) in [
        (
            request(Method::GET, "/", &[("authorization", &token)]),
            StatusCode::UNAUTHORIZED,
            "invalid_token",
        ),
        (in_vain, StatusCode::FORBIDDEN, "insufficient_scope"),
    ] {
        let answer = ask(&layer, request).await;
        assert_eq!(answer.status(), status);
        let challenge = header(&answer, "www-authenticate").unwrap();
        assert!(
            challenge.starts_with(&format!("{BARE}, error=\"{error}\"")),
            "{challenge}"
        );
        assert!(challenge.ends_with(LAST), "{challenge}");
        // Nothing is there twice, or it would not be read.
        let read = PresentedChallenge::parse(challenge).unwrap();
        assert_eq!(
            read.resource_metadata.as_deref(),
            Some("https://api.example/.well-known/oauth-protected-resource")
        );
    }
}
