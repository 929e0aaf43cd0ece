//! RFC 7523: `private_key_jwt`.

use aws_lc_rs::rand::SystemRandom;
use http::StatusCode;
use keybound_protocol::base64url;
use keybound_protocol::client_assertion::CLIENT_ASSERTION_TYPE;
use keybound_protocol::signature_algorithm::SignatureAlgorithm;
use keybound_protocol::signer::{LocalSigner, Signer};
use serde_json::{Value, json};

use crate::pki::{Leaf, dns, self_signed};
use crate::rfc8705_2::{assertion, private_key_jwt_client};
use crate::rfc8705_2_2::Publisher;
use crate::world::{NOW, Plan, Reply, Side, World, credentials, with};

pub(crate) async fn world() -> (World, Leaf) {
    let key = self_signed(dns("key"));
    let world = Plan::new()
        .client("jwt", private_key_jwt_client(&key))
        .client("other", private_key_jwt_client(&self_signed(dns("other"))))
        .start()
        .await;
    (world, key)
}

/// An assertion with any header and claims.
pub(crate) fn signed(leaf: &Leaf, header: &Value, claims: &Value) -> String {
    let signer = LocalSigner::from_pkcs8(
        SignatureAlgorithm::Es256,
        &leaf.key().serialize_der(),
        &SystemRandom::new(),
    )
    .unwrap();
    let mut text = format!(
        "{}.{}",
        base64url::encode(header.to_string().as_bytes()),
        base64url::encode(claims.to_string().as_bytes())
    );
    let signature = signer.sign(text.as_bytes()).unwrap();
    text.push('.');
    text.push_str(&base64url::encode(&signature));
    text
}

pub(crate) fn claims(token_id: &str) -> Value {
    json!({"iss": "jwt", "sub": "jwt", "aud": "https://as.example", "jti": token_id, "iat": NOW, "exp": NOW + 60})
}

async fn present(world: &World, form: &[(&str, &str)], assertion: &str) -> Reply {
    let more = [
        ("client_assertion_type", CLIENT_ASSERTION_TYPE),
        ("client_assertion", assertion),
    ];
    world
        .peer(Side::Public, None)
        .post("/token", &[form, &more].concat())
        .await
}

// covers R7523-1, R7523-2, R7523-3, TRAP-39, FAPI-19
#[tokio::test]
async fn each_claim_of_an_assertion_is_checked() {
    let (world, key) = world().await;
    let header = json!({"alg": "ES256", "typ": "JWT"});
    let without = |claim: &str| {
        let mut claims = claims(claim);
        claims.as_object_mut().unwrap().remove(claim);
        claims
    };
    let refused: Vec<(&str, Value)> = vec![
        ("iss", with(claims("a"), json!({"iss": "other"}))),
        ("sub", with(claims("b"), json!({"sub": "other"}))),
        ("expired", with(claims("g"), json!({"exp": NOW - 31}))),
        ("too long", with(claims("h"), json!({"exp": NOW + 3600}))),
        ("not yet", with(claims("i"), json!({"nbf": NOW + 60}))),
        ("from the future", with(claims("j"), json!({"iat": NOW + 60}))),
        ("long jti", with(claims("k"), json!({"jti": "x".repeat(257)}))),
        ("empty jti", with(claims("l"), json!({"jti": ""}))),
        ("exp as text", with(claims("m"), json!({"exp": "soon"}))),
        ("no iss", without("iss")),
        ("no sub", without("sub")),
        ("no aud", without("aud")),
        ("no exp", without("exp")),
        ("no jti", without("jti")),
    ];
    for (name, claims) in &refused {
        let reply = present(&world, &credentials("jwt"), &signed(&key, &header, claims)).await;
        assert_eq!(
            (reply.status.as_u16(), &reply.json()["error"]),
            (400, &json!("invalid_client")),
            "{name}"
        );
        let refusal = world.refusal(&reply).await;
        assert_eq!(
            refusal.failed_rule().unwrap().outcome,
            keybound_protocol::rule::Outcome::Failed,
            "{name}"
        );
    }
    for (name, claims) in [
        ("plain", claims("y")),
        ("nbf 8 s ahead", with(claims("z"), json!({"nbf": NOW + 8}))),
    ] {
        let reply = present(&world, &credentials("jwt"), &signed(&key, &header, &claims)).await;
        assert_eq!(reply.status, StatusCode::OK, "{name} {reply:?}");
    }
}

// covers R9126-8, R7523-1, TRAP-39
#[tokio::test]
async fn an_assertion_is_made_out_to_the_issuer_or_to_an_endpoint_that_the_metadata_names() {
    let (world, key) = world().await;
    let header = json!({"alg": "ES256", "typ": "JWT"});
    let mut number = 0;
    let mut assertion = |audience: &Value| {
        number += 1;
        signed(
            &key,
            &header,
            &with(claims(&format!("n{number}")), json!({"aud": audience})),
        )
    };
    let call = async |path: &str, assertion: &str| {
        let more = [
            ("token", "x"),
            ("client_assertion_type", CLIENT_ASSERTION_TYPE),
            ("client_assertion", assertion),
        ];
        let form = [&credentials("jwt")[..], &more].concat();
        world.peer(Side::Public, None).post(path, &form).await
    };
    let metadata = world
        .peer(Side::Public, None)
        .get("/.well-known/oauth-authorization-server")
        .await
        .json();
    let url = |name: &str| metadata[name].clone();
    let alias = |name: &str| metadata["mtls_endpoint_aliases"][name].clone();
    let (token, token_alias) = (url("token_endpoint"), alias("token_endpoint"));
    let everywhere = [
        json!("https://as.example/"),
        json!("https://as.example/token/"),
        json!("https://mtls.as.example"),
        json!("https://localhost/token"),
        json!(format!("{}/token", world.public)),
        json!("https://as.example/jwks"),
        json!(["https://as.example", token]),
        json!(["https://as.example", "https://other.example"]),
        json!([]),
    ];
    for (path, own, foreign) in [
        ("/token", "token_endpoint", "introspection_endpoint"),
        ("/introspect", "introspection_endpoint", "revocation_endpoint"),
        ("/revoke", "revocation_endpoint", "introspection_endpoint"),
    ] {
        for audience in everywhere.iter().chain([&url(foreign), &alias(foreign)]) {
            let reply = call(path, &assertion(audience)).await;
            let status = if path == "/introspect" { 401 } else { 400 };
            let refusal = world
                .assert_refused(&reply, status, "invalid_client", "client assertion")
                .await;
            assert!(refusal.reason.contains("audience"), "{audience} {}", refusal.reason);
        }
        for audience in [
            json!("https://as.example"),
            json!(["https://as.example"]),
            token.clone(),
            token_alias.clone(),
            url(own),
            alias(own),
            json!([alias(own)]),
        ] {
            let reply = call(path, &assertion(&audience)).await;
            assert_eq!(reply.status, StatusCode::OK, "{path} {audience} {reply:?}");
        }
    }
}

// covers R7523-1, T4, R8725-1
#[tokio::test]
async fn algorithm_key_and_type_tricks_do_not_work() {
    let (world, key) = world().await;
    let stranger = self_signed(dns("stranger"));
    let none = format!(
        "{}.{}.",
        base64url::encode(br#"{"alg":"none"}"#),
        base64url::encode(claims("none").to_string().as_bytes())
    );
    let own_key = stranger.jwk();
    let cases = [
        ("none", none),
        ("another key", signed(&stranger, &json!({"alg": "ES256"}), &claims("a"))),
        (
            "key in the header",
            signed(&stranger, &json!({"alg": "ES256", "jwk": own_key}), &claims("b")),
        ),
        (
            "jku",
            signed(
                &stranger,
                &json!({"alg": "ES256", "jku": "https://evil.example/keys"}),
                &claims("c"),
            ),
        ),
        (
            "crit",
            signed(
                &key,
                &json!({"alg": "ES256", "crit": ["b64"], "b64": false}),
                &claims("d"),
            ),
        ),
        (
            "another algorithm",
            signed(&key, &json!({"alg": "HS256"}), &claims("e")),
        ),
        (
            "access token",
            signed(&key, &json!({"alg": "ES256", "typ": "at+jwt"}), &claims("f")),
        ),
        ("garbage", "x".to_owned()),
        ("empty parts", "..".to_owned()),
    ];
    for (name, assertion) in cases {
        let reply = present(&world, &credentials("jwt"), &assertion).await;
        assert_eq!(
            (reply.status.as_u16(), &reply.json()["error"]),
            (400, &json!("invalid_client")),
            "{name}"
        );
    }
}

// covers R7523-2
#[tokio::test]
async fn client_id_may_be_left_out_and_must_otherwise_be_the_same() {
    let (world, key) = world().await;
    let grant = [("grant_type", "client_credentials")];
    let reply = present(&world, &grant, &assertion(&key, "jwt", "a", NOW)).await;
    assert_eq!(reply.status, StatusCode::OK);
    let reply = present(&world, &credentials("other"), &assertion(&key, "jwt", "b", NOW)).await;
    world
        .assert_refused(&reply, 400, "invalid_client", "client assertion")
        .await;
    for form in [
        vec![("client_assertion", "x")],
        vec![("client_assertion_type", CLIENT_ASSERTION_TYPE)],
        vec![
            (
                "client_assertion_type",
                "urn:ietf:params:oauth:client-assertion-type:saml2-bearer",
            ),
            ("client_assertion", "x"),
        ],
    ] {
        let form = [&credentials("jwt")[..], &form].concat();
        let reply = world.peer(Side::Public, None).post("/token", &form).await;
        assert_eq!(
            (reply.status.as_u16(), &reply.json()["error"]),
            (400, &json!("invalid_client")),
            "{form:?}"
        );
    }
}

// covers R7523-2
#[tokio::test]
async fn an_assertion_works_once_also_when_presented_twenty_times_at_once_and_at_every_endpoint() {
    let (world, key) = world().await;
    let form = credentials("jwt");
    for round in 0..5 {
        let assertion = assertion(&key, "jwt", &format!("round-{round}"), NOW);
        let asking: Vec<_> = (0..20)
            .map(|_| {
                let (peer, assertion) = (world.peer(Side::Public, None), assertion.clone());
                tokio::spawn(async move {
                    let more = [
                        ("client_assertion_type", CLIENT_ASSERTION_TYPE),
                        ("client_assertion", assertion.as_str()),
                    ];
                    peer.post("/token", &[&credentials("jwt")[..], &more].concat()).await
                })
            })
            .collect();
        let mut issued = 0;
        for task in asking {
            let reply = task.await.unwrap();
            match reply.status {
                StatusCode::OK => issued += 1,
                _ => {
                    world
                        .assert_refused(&reply, 400, "invalid_client", "client assertion used once")
                        .await;
                }
            }
        }
        assert_eq!(issued, 1);
    }
    let once = assertion(&key, "jwt", "once", NOW);
    assert_eq!(present(&world, &form, &once).await.status, StatusCode::OK);
    for path in ["/token", "/introspect", "/revoke"] {
        let more = [
            ("token", "x"),
            ("client_assertion_type", CLIENT_ASSERTION_TYPE),
            ("client_assertion", once.as_str()),
        ];
        let reply = world
            .peer(Side::Public, None)
            .post(path, &[&form[..], &more].concat())
            .await;
        assert_eq!(reply.json()["error"], "invalid_client", "{path}");
    }
}

// covers R7523-2
#[tokio::test]
async fn a_used_assertion_stays_used_over_a_restart() {
    let key = self_signed(dns("key"));
    let plan = || Plan::new().client("jwt", private_key_jwt_client(&key));
    let world = plan().start().await;
    let used = assertion(&key, "jwt", "used", NOW);
    assert_eq!(present(&world, &credentials("jwt"), &used).await.status, StatusCode::OK);
    world.server.stop().await.unwrap();
    let directory = std::sync::Arc::clone(&world.directory);
    drop(world);
    let mut again = plan();
    again.directory = Some(directory);
    let world = again.start().await;
    let reply = present(&world, &credentials("jwt"), &used).await;
    world
        .assert_refused(&reply, 400, "invalid_client", "client assertion used once")
        .await;
}

// covers R7523-1, TRAP-42
#[tokio::test]
async fn keys_at_jwks_uri_verify_assertions_and_are_rotated_within_thirty_seconds() {
    let (old, new) = (self_signed(dns("old")), self_signed(dns("new")));
    let plan = Plan::new();
    let (publisher, uri, _handle) = Publisher::start(&plan.server_authority);
    publisher.publish(&[&old]);
    let mut metadata = private_key_jwt_client(&old);
    metadata.as_object_mut().unwrap().remove("jwks");
    let world = plan
        .client("jwt", with(metadata, json!({"jwks_uri": uri})))
        .start()
        .await;
    let now = || world.clock.now();
    let reply = present(&world, &credentials("jwt"), &assertion(&old, "jwt", "a", now())).await;
    assert_eq!(reply.status, StatusCode::OK, "{reply:?}");
    publisher.publish(&[&new]);
    let reply = present(&world, &credentials("jwt"), &assertion(&new, "jwt", "b", now())).await;
    assert_eq!(reply.json()["error"], "invalid_client");
    world.clock.advance(30);
    let reply = present(&world, &credentials("jwt"), &assertion(&new, "jwt", "c", now())).await;
    assert_eq!(reply.status, StatusCode::OK, "{reply:?}");
    let reply = present(&world, &credentials("jwt"), &assertion(&old, "jwt", "d", now())).await;
    assert_eq!(reply.json()["error"], "invalid_client");
    assert_eq!(publisher.asked(), 2);
    // Something that is no assertion makes nobody ask.
    world.clock.advance(30);
    present(&world, &credentials("jwt"), "garbage").await;
    assert_eq!(publisher.asked(), 2);
}
