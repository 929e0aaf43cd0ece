//! The metadata of the guarded resources (RFC 9728): for everybody at its own path, for nobody beside it, named in each challenge.

use http::Method;
use keybound_gateway::{GatewaySettings, Limits, RouteSettings};
use keybound_protocol::challenge::PresentedChallenge;
use keybound_protocol::scope::Scope;
use keybound_resource_server::{Binding, ResourceServer, RoutePolicy};
use serde_json::json;

use crate::harness::caller::Response;
use crate::harness::issuer::Issuer;
use crate::harness::upstream::Upstream;
use crate::harness::{World, only, policy, route};

const PATH: &str = "/.well-known/oauth-protected-resource";
const BARE: &str = r#"Bearer realm="https://api.example""#;
const LAST: &str = r#", resource_metadata="https://api.example/.well-known/oauth-protected-resource""#;

/// A request without a token, on a connection without a certificate.
async fn ask_host(world: &World, host: &str, method: &str, target: &str, fields: &str) -> Response {
    let mut caller = world.connect_as(None).await;
    caller
        .send(format!("{method} {target} HTTP/1.1\r\nHost: {host}\r\n{fields}\r\n"))
        .await;
    caller.response(method).await
}

async fn ask(world: &World, method: &str, target: &str) -> Response {
    ask_host(world, "localhost", method, target, "").await
}

fn scopes(text: &str) -> Scope {
    Scope::parse(text).unwrap()
}

fn policy_of(resource: &str) -> RoutePolicy {
    RoutePolicy::new(resource.parse().unwrap())
}

fn with_policy(path: &str, upstream: &Upstream, policy: RoutePolicy) -> RouteSettings {
    RouteSettings {
        policy,
        ..route(path, upstream.address)
    }
}

// covers R9728-1
#[tokio::test]
async fn nothing_beside_the_document_is_open() {
    let upstream = Upstream::start().await;
    let root = World::start(vec![route("/", upstream.address)]);
    let deep = World::start(vec![with_policy("/", &upstream, policy_of("https://api.example/v1"))]);
    for (world, target, status) in [
        (&root, "/", 401),
        (&root, "/.well-known/", 401),
        (&root, "/.well-known/oauth-protected-resource/", 401),
        (&root, "/.well-known/oauth-protected-resource/v1", 401),
        (&root, "/.well-known/oauth-protected-resources", 401),
        (&root, "/.well-known/oauth-authorization-server", 401),
        (&root, "/.well-known/OAuth-Protected-Resource", 401),
        (&root, "/x/.well-known/oauth-protected-resource", 401),
        (&root, "/.well-known/oauth-protected-resource/..", 400),
        (&root, "/.well-known/oauth-protected-resource;x", 400),
        (&root, "/.well-known/oauth-protected-resource%2f", 400),
        (&deep, PATH, 401),
        (&deep, "/v1/.well-known/oauth-protected-resource", 401),
        (&deep, "/.well-known/oauth-protected-resource/v1/", 401),
        (&deep, "/.well-known/oauth-protected-resource/v1/x", 401),
        (&deep, "/.well-known/oauth-protected-resource/v12", 401),
        (&deep, "/.well-known/oauth-protected-resource/v1", 200),
    ] {
        assert_eq!(ask(world, "GET", target).await.status, status, "{target}");
    }
    assert_eq!(upstream.count(), 0);
}

// covers R9728-1, R9728-3
#[tokio::test]
async fn a_resource_without_such_an_address_has_no_document_and_names_none() {
    let upstream = Upstream::start().await;
    for resource in ["urn:example:api", "http://api.example", "https://api.example/a%2fb"] {
        let world = World::start(vec![with_policy("/", &upstream, policy_of(resource))]);
        let answer = ask(&world, "GET", PATH).await;
        assert_eq!(answer.status, 401, "{resource}");
        assert_eq!(
            answer.header("www-authenticate"),
            Some(format!("Bearer realm=\"{resource}\""))
        );
    }
}

// covers R9728-1
#[tokio::test]
async fn other_methods_are_refused_here_and_not_forwarded() {
    let upstream = Upstream::start().await;
    let world = World::start(vec![route("/", upstream.address), route(PATH, upstream.address)]);
    for method in ["POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND"] {
        let mut caller = world.connect().await;
        let answer = caller.request(method, PATH, &world.token(), "", b"").await;
        assert_eq!(answer.status, 405, "{method}");
        assert_eq!(answer.header("allow").as_deref(), Some("GET, HEAD"));
        assert!(world.refusal(&answer).reason.contains(method));
    }
    assert_eq!(upstream.count(), 0);
}

// covers R9728-1, R9728-2
#[tokio::test]
async fn the_document_is_served_to_everybody_and_no_route_takes_its_place() {
    const DOCUMENT: &str = r#"{"authorization_servers":["https://issuer.example"],"bearer_methods_supported":["header"],"dpop_signing_alg_values_supported":["ES256","ES384","EdDSA","PS256","RS256"],"resource":"https://api.example","tls_client_certificate_bound_access_tokens":true}"#;
    let upstream = Upstream::start().await;
    let shadowing = only(&[Method::POST], route(PATH, upstream.address));
    let world = World::start(vec![
        route("/", upstream.address),
        route("/.well-known", upstream.address),
        shadowing,
    ]);
    let mut tag = String::new();
    // Other spellings of the path are the same path, and nothing of it is an upstream's business.
    for (host, target) in [
        ("localhost", PATH),
        ("localhost", "/.well-known/oauth%2Dprotected%2dresource"),
        ("localhost", "/.well-known/oauth-protected-resource?x=y"),
        ("localhost:9443", PATH),
        ("localhost", "https://localhost/.well-known/oauth-protected-resource"),
    ] {
        let answer = ask_host(&world, host, "GET", target, "").await;
        assert_eq!((answer.status, answer.text()), (200, DOCUMENT), "{target}");
        assert_eq!(answer.header("content-type").as_deref(), Some("application/json"));
        assert_eq!(answer.header("cache-control").as_deref(), Some("public, max-age=60"));
        assert_eq!(answer.header("vary"), None);
        tag = answer.header("etag").unwrap();
    }
    // With a token it is the same; so it is with a bad one.
    assert_eq!(world.get(PATH).await.text(), DOCUMENT);
    let answer = ask_host(&world, "localhost", "GET", PATH, "Authorization: Bearer x\r\n").await;
    assert_eq!(answer.text(), DOCUMENT);

    let head = ask(&world, "HEAD", PATH).await;
    assert_eq!((head.status, head.body.len()), (200, 0));
    assert_eq!(head.header("content-length"), Some(DOCUMENT.len().to_string()));
    let known = format!("If-None-Match: {tag}\r\n");
    let answer = ask_host(&world, "localhost", "GET", PATH, &known).await;
    assert_eq!((answer.status, answer.body.len()), (304, 0));
    assert_eq!(answer.header("etag"), Some(tag));
    assert_eq!(upstream.count(), 0);
}

// covers R9728-2
#[tokio::test]
async fn each_resource_says_what_its_own_routes_demand() {
    let upstream = Upstream::start().await;
    let world = World::start(vec![route("/", upstream.address)]);
    let other = Issuer::named("https://other.example");
    let two = |path: &str, policy: RoutePolicy| with_policy(path, &upstream, policy);
    let only_other = || vec!["https://other.example".parse().unwrap()];
    let settings = GatewaySettings {
        routes: vec![
            two(
                "/v1/read",
                policy_of("https://api.example/v1").with_scopes(scopes("read")),
            ),
            two(
                "/v1",
                policy_of("https://api.example/v1").with_scopes(scopes("write read")),
            ),
            // One route that takes other tokens, and the resource as a whole no longer takes bound ones alone.
            two("/v2", policy_of("https://api.example/v2").with_issuers(only_other())),
            two(
                "/v2/open",
                policy_of("https://api.example/v2")
                    .with_binding(Binding::Optional)
                    .with_issuers(only_other()),
            ),
            two("/a", policy_of("https://a.example/").with_binding(Binding::None)),
            two("/b", policy_of("https://localhost:9443/")),
        ],
        limits: Limits::default(),
    };
    let resource_server = ResourceServer::new(vec![world.issuer.settings(), other.settings()]).unwrap();
    world.gateway.reload(&settings, resource_server).unwrap();

    let both = ["https://issuer.example", "https://other.example"];
    let algorithms = ["ES256", "ES384", "EdDSA", "PS256", "RS256"];
    let v1 = json!({
        "resource": "https://api.example/v1", "bearer_methods_supported": ["header"], "authorization_servers": both,
        "dpop_signing_alg_values_supported": algorithms, "scopes_supported": ["read", "write"], "tls_client_certificate_bound_access_tokens": true,
    });
    let v2 = json!({
        "resource": "https://api.example/v2", "bearer_methods_supported": ["header"],
        "authorization_servers": ["https://other.example"], "dpop_signing_alg_values_supported": algorithms,
    });
    let a = json!({
        "resource": "https://a.example/", "bearer_methods_supported": ["header"], "authorization_servers": both,
        "dpop_signing_alg_values_supported": algorithms,
    });
    let b = json!({
        "resource": "https://localhost:9443/", "bearer_methods_supported": ["header"], "authorization_servers": both,
        "dpop_signing_alg_values_supported": algorithms,
        "tls_client_certificate_bound_access_tokens": true,
    });
    for (host, path, expected) in [
        ("localhost", "/.well-known/oauth-protected-resource/v1", &v1),
        ("localhost", "/.well-known/oauth-protected-resource/v2", &v2),
        // Two resources whose documents have one path: the host decides.
        ("LOCALHOST:9443", PATH, &b),
        ("localhost:1", PATH, &a),
        ("localhost", PATH, &a),
    ] {
        let answer = ask_host(&world, host, "GET", path, "").await;
        assert_eq!(answer.json(), *expected, "{host} {path}");
    }
}

// covers R9728-3, R6750-3
#[tokio::test]
async fn each_challenge_names_the_document_last_and_once() {
    let upstream = Upstream::start().await;
    let world = World::start(vec![
        route("/", upstream.address),
        with_policy("/admin", &upstream, policy().with_scopes(scopes("admin"))),
    ]);
    let bare = ask(&world, "GET", "/").await;
    assert_eq!(bare.status, 401);
    assert_eq!(bare.header("www-authenticate"), Some(format!("{BARE}{LAST}")));

    let token = world.token();
    let stolen = world.connect_as(None).await.request("GET", "/", &token, "", b"").await;
    for (answer, status, expected) in [
        (
            stolen,
            401,
            format!(
                r#"{BARE}, error="invalid_token", error_description="the access token is not valid for this request"{LAST}"#
            ),
        ),
        (
            world.get("/admin").await,
            403,
            format!(
                r#"{BARE}, error="insufficient_scope", error_description="the access token lacks a scope that this request needs", scope="admin"{LAST}"#
            ),
        ),
    ] {
        assert_eq!(answer.status, status);
        let challenge = answer.header("www-authenticate").unwrap();
        assert_eq!(challenge, expected);
        // Nothing is there twice, or it would not be read.
        let read = PresentedChallenge::parse(&challenge).unwrap();
        let url = read.resource_metadata.unwrap();
        let document = ask(&world, "GET", url.strip_prefix("https://api.example").unwrap()).await;
        assert_eq!(document.json()["resource"], "https://api.example");
    }
    assert_eq!(upstream.count(), 0);
}
