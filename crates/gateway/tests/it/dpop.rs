//! Tokens that are bound to a key (RFC 9449), through the gateway: over any connection, with a proof that no upstream sees.

use std::sync::Arc;
use std::time::Duration;

use keybound_gateway::RouteSettings;
use keybound_protocol::dpop_nonce::DpopNonces;
use keybound_resource_server::{Binding, Dpop};
use keybound_tls::Clock;
use serde_json::json;

use crate::harness::caller::{Response, field_values};
use crate::harness::upstream::Upstream;
use crate::harness::{RESOURCE, World, demo, policy, route};
use crate::prover::{Proof, Prover};

/// A GET by the scheme `DPoP`, with a proof for `url`, over a connection without a certificate.
async fn get(
    world: &World,
    (path, url): (&str, &str),
    token: &str,
    (prover, nonce): (&Prover, Option<&str>),
) -> Response {
    let proof = prover.prove(&Proof {
        method: "GET",
        url,
        now: Clock::system().now(),
        token: Some(token),
        nonce,
    });
    send(
        world,
        path,
        &format!("Authorization: DPoP {token}\r\nDPoP: {proof}\r\n"),
    )
    .await
}

async fn send(world: &World, path: &str, fields: &str) -> Response {
    let mut caller = world.connect_as(None).await;
    caller
        .send(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n"))
        .await;
    caller.response("GET").await
}

fn token_for(world: &World, prover: &Prover) -> String {
    let mut claims = world.issuer.claims(None);
    claims["cnf"] = json!({"jkt": prover.thumbprint()});
    world.issuer.token(&claims)
}

fn url(path: &str) -> String {
    format!("{RESOURCE}{path}")
}

// covers R9449-4, R9449-1, T1
#[tokio::test]
async fn a_caller_without_a_certificate_gets_through_with_a_proof_and_a_thief_does_not() {
    let upstream = Upstream::start().await;
    let world = World::start(vec![route("/", upstream.address)]);
    let (holder, thief) = (Prover::new(), Prover::new());
    let token = token_for(&world, &holder);
    // By its public name, not by the one that this connection asked for; the query is not part of it.
    let good = url("/photos");
    let answer = get(&world, ("/photos?page=2", &good), &token, (&holder, None)).await;
    assert_eq!(answer.status, 200, "{}", answer.head);
    let received = upstream.last();
    assert_eq!(received.field("dpop"), None, "{}", received.head);
    assert_eq!(received.field("keybound-client-id").as_deref(), Some("demo-client"));

    for (path, url, prover, rule) in [
        (
            "/photos",
            good.as_str(),
            &thief,
            "the key of this request's DPoP proof is the one it is bound to",
        ),
        (
            "/photos/1",
            &good,
            &holder,
            "a DPoP proof for this request (RFC 9449 \u{a7}4.3)",
        ),
        (
            "/photos",
            "https://localhost/photos",
            &holder,
            "a DPoP proof for this request (RFC 9449 \u{a7}4.3)",
        ),
    ] {
        let answer = get(&world, (path, url), &token, (prover, None)).await;
        assert_eq!(answer.status, 401, "{}", answer.head);
        assert!(answer.header("www-authenticate").unwrap().starts_with("DPoP realm="));
        assert_eq!(world.refusal(&answer).failed_rule().unwrap().rule, rule);
    }
    // A proof that was overheard, and the token alone.
    let proof = holder.prove(&Proof {
        method: "GET",
        url: &good,
        now: Clock::system().now(),
        token: Some(&token),
        nonce: None,
    });
    let overheard = format!("Authorization: DPoP {token}\r\nDPoP: {proof}\r\n");
    assert_eq!(send(&world, "/photos", &overheard).await.status, 200);
    let replayed = send(&world, "/photos", &overheard).await;
    assert_eq!(replayed.status, 401);
    assert_eq!(replayed.json()["error"], "invalid_dpop_proof");
    assert!(world.refusal(&replayed).reason.contains("used before"));
    let bearer = send(&world, "/photos", &format!("Authorization: Bearer {token}\r\n")).await;
    assert_eq!((bearer.status, &bearer.json()["error"]), (401, &json!("invalid_token")));
    assert_eq!(field_values(&bearer.head, "www-authenticate").len(), 2);
    assert_eq!(upstream.count(), 2);
}

// covers R9449-4, R9449-7
#[tokio::test]
async fn a_certificate_and_a_proof_in_one_request_are_refused_with_the_reason() {
    let upstream = Upstream::start().await;
    let world = World::start(vec![route("/", upstream.address)]);
    let prover = Prover::new();
    let token = world.token();
    let proof = prover.prove(&Proof {
        method: "GET",
        url: &url("/"),
        now: Clock::system().now(),
        token: Some(&token),
        nonce: None,
    });
    let refused = world.get_with("/", &format!("DPoP: {proof}\r\n")).await;
    assert_eq!(refused.status, 401);
    assert!(world.refusal(&refused).reason.contains("a DPoP proof beside it"));
    assert_eq!(world.get("/").await.status, 200);
    // On a connection with a certificate, too, a token that is bound to a key is what it is.
    let bound = token_for(&world, &prover);
    let proof = prover.prove(&Proof {
        method: "GET",
        url: &url("/"),
        now: Clock::system().now(),
        token: Some(&bound),
        nonce: None,
    });
    let mut caller = world.connect().await;
    let head = format!("GET / HTTP/1.1\r\nHost: localhost\r\nAuthorization: DPoP {bound}\r\nDPoP: {proof}\r\n\r\n");
    caller.send(head).await;
    assert_eq!(caller.response("GET").await.status, 200);
}

// covers R9449-5
#[tokio::test]
async fn a_gateway_that_demands_nonces_gives_them_out() {
    let nonces = Arc::new(DpopNonces::new(&[5; 32]));
    let world = World::start(vec![RouteSettings {
        policy: policy().with_dpop_nonces(Arc::clone(&nonces)),
        ..demo("/")
    }]);
    let prover = Prover::new();
    let token = token_for(&world, &prover);
    let asked = get(&world, ("/", &url("/")), &token, (&prover, None)).await;
    assert_eq!((asked.status, &asked.json()["error"]), (401, &json!("use_dpop_nonce")));
    let challenge = asked.header("www-authenticate").unwrap();
    assert!(
        challenge.starts_with("DPoP realm=") && challenge.contains(r#"error="use_dpop_nonce""#),
        "{challenge}"
    );
    let nonce = asked.header("dpop-nonce").unwrap();
    let answer = get(&world, ("/", &url("/")), &token, (&prover, Some(&nonce))).await;
    assert_eq!(answer.status, 200, "{}", answer.head);
    // One of an earlier minute counts, and comes back with its successor.
    let earlier = nonces.current(Clock::system().now().minus(Duration::from_secs(60)));
    let answer = get(&world, ("/", &url("/")), &token, (&prover, Some(&earlier))).await;
    assert_eq!(answer.status, 200, "{}", answer.head);
    assert!(answer.header("dpop-nonce").is_some());
}

// covers R9728-2
#[tokio::test]
async fn the_metadata_says_what_the_routes_take() {
    let well_known = "/.well-known/oauth-protected-resource";
    for (first, second, certificates, algorithms, required) in [
        (Dpop::Accepted, Dpop::Accepted, true, true, false),
        (Dpop::Refused, Dpop::Refused, true, false, false),
        (Dpop::Refused, Dpop::Required, false, true, false),
        (Dpop::Required, Dpop::Required, false, true, true),
    ] {
        let with = |path: &str, dpop| RouteSettings {
            policy: policy().with_binding(Binding::Required).with_dpop(dpop),
            ..demo(path)
        };
        let world = World::start(vec![with("/", first), with("/other", second)]);
        let document = send(&world, well_known, "").await.json();
        let is_true = |member: &str| document[member] == json!(true);
        assert_eq!(
            is_true("tls_client_certificate_bound_access_tokens"),
            certificates,
            "{document}"
        );
        assert_eq!(is_true("dpop_bound_access_tokens_required"), required, "{document}");
        let expected = json!(["ES256", "ES384", "EdDSA", "PS256", "RS256"]);
        assert_eq!(
            document["dpop_signing_alg_values_supported"] == expected,
            algorithms,
            "{document}"
        );
    }
}
