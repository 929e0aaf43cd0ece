//! Which requests pass: the token, the certificate, the route.

use keybound_gateway::{Gateway, GatewaySettings, Limits, RouteSettings};
use keybound_protocol::error_code::ErrorCode;
use keybound_protocol::scope::Scope;
use keybound_resource_server::{Binding, ResourceServer};
use keybound_tls::{ClientCertificatePolicy, Clock};

use crate::harness::caller::Response;
use crate::harness::issuer::Issuer;
use crate::harness::upstream::Upstream;
use crate::harness::{Options, World, environment, policy, route};

fn challenge(answer: &Response) -> String {
    answer.header("www-authenticate").expect("a challenge")
}

/// A refusal as RFC 6750 §3.1 and RFC 8705 §3 want it.
fn assert_invalid_token(answer: &Response, context: &str) {
    assert_eq!(answer.status, 401, "{context}");
    assert!(
        challenge(answer).starts_with("Bearer ") && challenge(answer).contains("error=\"invalid_token\""),
        "{context}"
    );
    assert_eq!(answer.json()["error"], "invalid_token", "{context}");
    assert_eq!(answer.header("cache-control").as_deref(), Some("no-store"), "{context}");
}

// covers T1, MTLS-3-11, MTLS-3-12, MTLS-3-13
#[tokio::test]
async fn a_stolen_token_is_useless_in_every_variant() {
    let upstream = Upstream::start().await;
    let world = World::start(vec![route("/", upstream.address)]);
    let token = world.token();
    let pki = &world.pki;
    for (thief, leaf) in [
        ("no certificate", None),
        ("another certificate of the same authority", Some(&pki.other)),
        ("the same name, another key", Some(&pki.namesake)),
        ("the same name, signed by itself", Some(&pki.self_signed)),
        ("the same key, certified again", Some(&pki.reissued)),
    ] {
        let mut caller = world.connect_as(leaf).await;
        // As long as the connection lives, not only at first.
        for _ in 0..3 {
            let answer = caller.request("GET", "/", &token, "", b"").await;
            assert_invalid_token(&answer, thief);
            let refusal = world.refusal(&answer);
            let failed = refusal.failed_rule().unwrap();
            assert!(
                failed.rule.ends_with("is the one it is bound to"),
                "{thief}: {}",
                failed.rule
            );
            assert_eq!(refusal.client_id.as_deref(), Some("demo-client"));
            assert_eq!(refusal.error_code, Some(ErrorCode::InvalidToken));
            assert_eq!(refusal.certificate.is_some(), leaf.is_some(), "{thief}");
        }
        assert_eq!(world.get("/").await.status, 200, "the genuine caller beside {thief}");
    }
    assert_eq!(upstream.count(), 5);
}

// covers T6
#[tokio::test]
async fn tokens_and_certificates_that_alternate_are_never_confused() {
    let upstream = Upstream::start().await;
    let world = World::start(vec![route("/", upstream.address)]);
    let leaves = [&world.pki.client, &world.pki.other, &world.pki.namesake];
    let tokens: Vec<String> = leaves
        .iter()
        .enumerate()
        .map(|(number, leaf)| {
            let mut claims = world.issuer.claims(Some(leaf));
            claims["client_id"] = format!("client-{number}").into();
            world.issuer.token(&claims)
        })
        .collect();
    let mut callers = Vec::new();
    for leaf in leaves {
        callers.push(world.connect_as(Some(leaf)).await);
    }
    let mut accepted = 0;
    // A fixed pseudo-random walk over (connection, token): every pair often, in no order.
    let mut state: u32 = 0x2545_f491;
    for round in 0..1_000 {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let (caller, token) = ((state >> 8) as usize % 3, (state >> 16) as usize % 3);
        let answer = callers[caller].request("GET", "/", &tokens[token], "", b"").await;
        let expected = if caller == token { 200 } else { 401 };
        assert_eq!(answer.status, expected, "round {round}: caller {caller}, token {token}");
        if caller == token {
            accepted += 1;
            let expected = format!("client-{token}");
            assert_eq!(
                upstream.last().field("keybound-client-id"),
                Some(expected),
                "round {round}"
            );
        }
    }
    assert_eq!(upstream.count(), accepted);
    assert!(accepted > 250, "{accepted}");
}

// covers T6
#[tokio::test]
async fn two_tokens_of_one_caller_are_told_apart_on_one_connection() {
    let upstream = Upstream::start().await;
    let world = World::start(vec![route("/", upstream.address)]);
    let mut caller = world.connect().await;
    for round in 0..20 {
        let mut claims = world.issuer.claims(Some(&world.pki.client));
        claims["client_id"] = format!("client-{}", round % 3).into();
        claims["scope"] = format!("scope-{}", round % 2).into();
        let host = ["localhost", "localhost:9443"][round % 2];
        let token = world.issuer.token(&claims);
        caller
            .send(format!(
                "GET / HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {token}\r\n\r\n"
            ))
            .await;
        assert_eq!(caller.response("GET").await.status, 200, "{host}");
        let received = upstream.last();
        for (field, expected) in [
            ("keybound-client-id", format!("client-{}", round % 3)),
            ("keybound-scope", format!("scope-{}", round % 2)),
            ("host", host.to_owned()),
            ("x-forwarded-host", host.to_owned()),
            ("forwarded", format!("for=127.0.0.1;host=\"{host}\";proto=https")),
        ] {
            assert_eq!(received.field(field), Some(expected), "round {round}");
        }
    }
}

// covers T5
#[tokio::test]
async fn a_token_bound_to_the_gateways_own_certificate_opens_nothing() {
    let upstream = Upstream::start().await;
    let world = World::start(vec![route("/", upstream.address)]);
    let token = world.issuer.token_for(&world.pki.server);
    for leaf in [None, Some(&world.pki.client)] {
        let answer = world.connect_as(leaf).await.request("GET", "/", &token, "", b"").await;
        assert_invalid_token(&answer, "the gateway's certificate");
    }
    assert_eq!(upstream.count(), 0);
}

// covers T2
#[tokio::test]
async fn a_route_that_requires_binding_takes_no_bearer_token() {
    let upstream = Upstream::start().await;
    let optional = policy().with_binding(Binding::Optional);
    let world = World::start(vec![
        route("/", upstream.address),
        RouteSettings {
            policy: optional,
            ..route("/optional", upstream.address)
        },
    ]);
    let unbound = world.issuer.token(&world.issuer.claims(None));
    let mut strange = world.issuer.claims(None);
    strange["cnf"] = serde_json::json!({"jwk": {"kty": "EC"}});
    let strange = world.issuer.token(&strange);

    let mut caller = world.connect().await;
    let answer = caller.request("GET", "/", &unbound, "", b"").await;
    assert_invalid_token(&answer, "unbound");
    assert!(
        world
            .refusal(&answer)
            .failed_rule()
            .unwrap()
            .rule
            .starts_with("bound to a certificate")
    );
    assert_invalid_token(
        &caller.request("GET", "/", &strange, "", b"").await,
        "a cnf that is not understood",
    );
    // "optional": a token without cnf may pass, one with cnf is always checked.
    assert_eq!(caller.request("GET", "/optional", &unbound, "", b"").await.status, 200);
    assert_invalid_token(
        &caller.request("GET", "/optional", &strange, "", b"").await,
        "not understood, optional",
    );
    let mut thief = world.connect_as(None).await;
    assert_eq!(thief.request("GET", "/optional", &unbound, "", b"").await.status, 200);
    assert_invalid_token(
        &thief.request("GET", "/optional", &world.token(), "", b"").await,
        "bound, optional",
    );
    assert_eq!(upstream.count(), 2);
}

// covers MTLS-3-7
#[tokio::test]
async fn a_listener_that_asks_for_no_certificate_serves_routes_that_need_none() {
    let upstream = Upstream::start().await;
    let routes = |binding| {
        let policy = policy().with_binding(binding);
        vec![RouteSettings {
            policy,
            ..route("/", upstream.address)
        }]
    };
    let never = || Options {
        client_certificates: ClientCertificatePolicy::Never,
        ..Options::default()
    };
    // Two gateways, as on two ports of one host: one asks for certificates, the other serves what needs none.
    let with = World::start(routes(Binding::Required));
    let without = World::start_with(routes(Binding::None), never());
    let token = without.issuer.token(&without.issuer.claims(None));
    assert_eq!(with.get("/").await.status, 200);
    assert_eq!(
        without
            .connect_as(None)
            .await
            .request("GET", "/", &token, "", b"")
            .await
            .status,
        200
    );
    assert_eq!(upstream.last().field("client-cert"), None);
    // A bound token where no certificate is asked for says what is wrong.
    let optional = World::start_with(routes(Binding::Optional), never());
    let answer = optional
        .connect()
        .await
        .request("GET", "/", &optional.token(), "", b"")
        .await;
    assert_invalid_token(&answer, "not asked");
    let fix = optional.refusal(&answer).fix.clone().unwrap();
    assert!(fix.contains("the listener that asks for a client certificate"), "{fix}");
}

// covers MTLS-3-12
#[tokio::test]
async fn without_a_token_the_challenge_names_no_error() {
    let upstream = Upstream::start().await;
    let world = World::start(vec![route("/", upstream.address)]);
    let mut caller = world.connect().await;
    caller.send("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    let answer = caller.response("GET").await;
    assert_eq!((answer.status, answer.body.len()), (401, 0));
    assert_eq!(
        challenge(&answer),
        "Bearer realm=\"https://api.example\", \
         resource_metadata=\"https://api.example/.well-known/oauth-protected-resource\""
    );
    world.refusal(&answer);
    // A token in the query is none.
    caller
        .send(format!(
            "GET /?access_token={} HTTP/1.1\r\nHost: localhost\r\n\r\n",
            world.token()
        ))
        .await;
    assert_eq!(caller.response("GET").await.status, 401);
    assert_eq!(upstream.count(), 0);
}

// covers T6
#[tokio::test]
async fn scopes_and_issuers_are_the_routes() {
    let upstream = Upstream::start().await;
    let (ours, theirs) = (Issuer::new(), Issuer::named("https://theirs.example"));
    let only_ours = policy().with_issuers(vec![ours.issuer.parse().unwrap()]);
    let routes = vec![
        route("/", upstream.address),
        RouteSettings {
            policy: only_ours,
            ..route("/ours", upstream.address)
        },
        RouteSettings {
            policy: policy().with_scopes(Scope::parse("read admin").unwrap()),
            ..route("/admin", upstream.address)
        },
    ];
    let world = World::start(routes.clone());
    let resource_server = ResourceServer::new(vec![ours.settings(), theirs.settings()]).unwrap();
    world
        .gateway
        .reload(
            &GatewaySettings {
                routes,
                limits: Limits::default(),
            },
            resource_server,
        )
        .unwrap();

    let (our_token, their_token) = (ours.token_for(&world.pki.client), theirs.token_for(&world.pki.client));
    let mut caller = world.connect().await;
    assert_invalid_token(
        &caller.request("GET", "/", &world.token(), "", b"").await,
        "an issuer that is gone",
    );
    for (token, path, status) in [
        (&our_token, "/", 200),
        (&their_token, "/", 200),
        (&our_token, "/ours/x", 200),
        (&their_token, "/ours/x", 401),
        // Accepted a moment ago elsewhere, and still not for this route.
        (&their_token, "/", 200),
        (&our_token, "/admin", 403),
    ] {
        assert_eq!(
            caller.request("GET", path, token, "", b"").await.status,
            status,
            "{path}"
        );
    }
    let answer = caller.request("GET", "/admin", &our_token, "", b"").await;
    assert!(
        challenge(&answer).contains("error=\"insufficient_scope\"")
            && challenge(&answer).contains("scope=\"read admin\"")
    );
    assert_eq!(answer.json()["error"], "insufficient_scope");
    let failed = world.refusal(&answer).failed_rule().cloned().unwrap();
    assert_eq!(
        (failed.presented.as_deref(), failed.registered.as_deref()),
        (Some("read write"), Some("read admin"))
    );
}

// covers T4
#[tokio::test]
async fn other_audiences_expired_and_altered_tokens_are_refused() {
    let upstream = Upstream::start().await;
    let world = World::start(vec![route("/", upstream.address)]);
    let now = Clock::system().now().unix_secs();
    let mut caller = world.connect().await;
    for (claim, value) in [
        ("aud", "https://other.example".into()),
        ("exp", (now - 60).into()),
        ("iss", "https://x".into()),
    ] {
        let mut claims = world.issuer.claims(Some(&world.pki.client));
        claims[claim] = value;
        let answer = caller.request("GET", "/", &world.issuer.token(&claims), "", b"").await;
        assert_invalid_token(&answer, claim);
    }
    let token = world.token();
    let signature = token.rfind('.').unwrap();
    for at in [10, signature - 5, signature + 5] {
        let mut altered = token.clone().into_bytes();
        altered[at] = if altered[at] == b'A' { b'B' } else { b'A' };
        let answer = caller
            .request("GET", "/", std::str::from_utf8(&altered).unwrap(), "", b"")
            .await;
        assert_eq!(answer.status, 401, "{at}");
    }
    let twice = format!("Authorization: Bearer {token}\r\n");
    assert_eq!(caller.request("GET", "/", &token, &twice, b"").await.status, 400);
    assert_eq!(upstream.count(), 0);
}

#[tokio::test]
async fn a_bad_reload_changes_nothing() {
    let upstream = Upstream::start().await;
    let world = World::start(vec![route("/", upstream.address)]);
    let twice = vec![route("/a", upstream.address), route("/a", upstream.address)];
    let settings = GatewaySettings {
        routes: twice,
        limits: Limits::default(),
    };
    assert!(world.gateway.reload(&settings, world.issuer.resource_server()).is_err());
    assert_eq!(world.get("/").await.status, 200);
    let settings = GatewaySettings {
        routes: vec![route("/b", upstream.address)],
        limits: Limits::default(),
    };
    world.gateway.reload(&settings, world.issuer.resource_server()).unwrap();
    assert_eq!((world.get("/").await.status, world.get("/b").await.status), (404, 200));
    // The connection to the upstream was kept.
    assert_eq!(upstream.connections(), 1);
    assert!(Gateway::new(&settings, world.issuer.resource_server(), environment()).is_ok());
}
