//! RFC 9701: introspection responses as signed JWTs.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::StatusCode;
use keybound_protocol::client::ClientOrigin;
use keybound_protocol::client_assertion::CLIENT_ASSERTION_TYPE;
use keybound_protocol::client_metadata::ClientMetadata;
use keybound_protocol::introspection::INACTIVE;
use keybound_protocol::issuer::Issuer;
use keybound_protocol::jwk_set::JwkSet;
use keybound_protocol::jws::{JwsPolicy, UnverifiedJws};
use keybound_protocol::peer_certificate::{PeerCertificate, PresentedCertificate};
use keybound_protocol::rule::Outcome;
use keybound_protocol::signature_algorithm::SignatureAlgorithm;
use keybound_protocol::time::Timestamp;
use keybound_resource_server::{Check, IssuerSettings, KeySource, ResourceServer, RoutePolicy, Validation};
use serde_json::json;

use crate::pki::{Authority, Leaf, dns};
use crate::rfc7523;
use crate::rfc7662::{Cast, cast, headers};
use crate::world::{API, ISSUER, NOW, Plan, Reply, Side, World, claims, credentials, jose_header, tls_client, with};

const JWT: &str = "application/token-introspection+jwt";

/// The answer to a caller that sends this `Accept` field.
async fn introspect(world: &World, caller: Option<&Leaf>, form: &[(&str, &str)], accept: &str) -> Reply {
    let peer = world.peer(Side::MutualTls, caller);
    peer.post_with("/introspect", form, &[("accept", accept)]).await
}

impl Cast {
    /// The signed answer to `rs`.
    async fn signed(&self, token: &str) -> String {
        let form = [("client_id", "rs"), ("token", token)];
        jwt(&introspect(&self.world, Some(&self.rs), &form, JWT).await)
    }
}

/// The JWT that this answer is.
fn jwt(reply: &Reply) -> String {
    assert_eq!(reply.status, StatusCode::OK, "{reply:?}");
    assert_eq!(reply.header("content-type"), Some(JWT));
    assert_eq!(reply.header("vary"), Some("accept"));
    assert_eq!(reply.header("cache-control"), Some("no-store"));
    String::from_utf8(reply.body.clone()).unwrap()
}

/// The keys that the server publishes.
async fn keys(world: &World) -> JwkSet {
    JwkSet::parse(&world.peer(Side::Public, None).get("/jwks").await.body).unwrap()
}

// covers R9701-1, R7662-1
#[tokio::test]
async fn who_is_not_authenticated_or_asks_about_nothing_gets_an_error_in_json() {
    let cast = cast().await;
    let [token, _] = cast.tokens().await;
    let stranger = Authority::root("stranger").issue(dns("rs.example"));
    for (caller, form, status, error) in [
        (None, &[("token", token.as_str())][..], 401, "invalid_client"),
        (None, &[("client_id", "rs"), ("token", &token)], 401, "invalid_client"),
        (
            Some(&stranger),
            &[("client_id", "rs"), ("token", &token)],
            401,
            "invalid_client",
        ),
        (Some(&cast.rs), &[("client_id", "rs")], 400, "invalid_request"),
    ] {
        let reply = introspect(&cast.world, caller, form, JWT).await;
        assert_eq!(
            (
                reply.status.as_u16(),
                &reply.json()["error"],
                reply.header("content-type")
            ),
            (status, &json!(error), Some("application/json"))
        );
        assert!(reply.header("keybound-refusal").is_some());
    }
}

// covers R9701-3, R7662-2, T10
#[tokio::test]
async fn of_a_token_that_is_not_there_for_the_caller_nothing_is_signed_but_that() {
    let cast = cast().await;
    let [token, opaque] = cast.tokens().await;
    let [expired, expired_opaque] = cast.tokens().await;
    let [revoked, revoked_opaque] = cast.tokens().await;
    for token in [&revoked, &revoked_opaque] {
        assert_eq!(cast.revoke(&cast.demo, "demo", token).await.status, StatusCode::OK);
    }
    let assert_alike = |client_id: &str, replies: &[Reply], now: i64| {
        for reply in replies {
            let signed = jwt(reply);
            assert_eq!(
                claims(&signed),
                json!({"iss": ISSUER, "aud": client_id, "iat": now, "token_introspection": {"active": false}})
            );
            // All that two of them do not have in common is the signature, of the same length.
            assert_eq!(headers(reply), headers(&replies[0]));
            let first = jwt(&replies[0]);
            assert_eq!(signed.rsplit_once('.').unwrap().0, first.rsplit_once('.').unwrap().0);
            assert_eq!(signed.len(), first.len());
            assert_eq!(reply.header("keybound-refusal"), None);
        }
    };
    for (caller, client_id, tokens) in [
        (&cast.foreign, "foreign", [&token, &opaque, "unknown", "a.b.c"]),
        (&cast.demo, "demo", [&token, &opaque, "unknown", "...."]),
        (&cast.rs, "rs", [&revoked, &revoked_opaque, "unknown", "a.b.c"]),
    ] {
        let mut replies = Vec::new();
        for token in tokens {
            let form = [("client_id", client_id), ("token", token)];
            replies.push(introspect(&cast.world, Some(caller), &form, JWT).await);
        }
        assert_alike(client_id, &replies, NOW);
    }
    cast.world.clock.advance(300);
    let mut replies = Vec::new();
    for token in [&expired, &expired_opaque, "unknown"] {
        let form = [("client_id", "rs"), ("token", token)];
        replies.push(introspect(&cast.world, Some(&cast.rs), &form, JWT).await);
    }
    assert_alike("rs", &replies, NOW + 300);
}

// covers R9701-1
#[tokio::test]
async fn json_stays_the_answer_unless_the_jwt_is_asked_for_by_name_and_weight() {
    let cast = cast().await;
    let [token, _] = cast.tokens().await;
    let form = [("client_id", "rs"), ("token", token.as_str())];
    let plain = cast.world.post(Some(&cast.rs), "/introspect", &form).await;
    for accept in [
        "",
        "*/*",
        "application/*",
        "application/json",
        "application/jwt",
        "text/html",
        "application/token-introspection+jwt;q=0",
        "application/token-introspection+jwt;q=0.9, application/json",
        "application/token-introspection+jwt;q=0.9, */*",
    ] {
        let reply = introspect(&cast.world, Some(&cast.rs), &form, accept).await;
        assert_eq!(reply.body, plain.body, "{accept}");
        assert_eq!(headers(&reply), headers(&plain), "{accept}");
    }
    assert_eq!(plain.header("content-type"), Some("application/json"));
    assert_eq!(plain.header("vary"), Some("accept"));
    for accept in [JWT, "application/json;q=0.9, Application/Token-Introspection+JWT"] {
        jwt(&introspect(&cast.world, Some(&cast.rs), &form, accept).await);
    }
    // Two fields are one list.
    let fields = [("accept", "application/json;q=0.5"), ("accept", JWT)];
    let peer = cast.world.peer(Side::MutualTls, Some(&cast.rs));
    jwt(&peer.post_with("/introspect", &form, &fields).await);
}

// covers R9701-1, R9701-2, R9701-4, MTLS-3.2-1
#[tokio::test]
async fn a_signed_answer_has_our_signature_its_type_and_what_json_would_have_said() {
    let cast = cast().await;
    let keys = keys(&cast.world).await;
    for token in cast.tokens().await {
        let signed = cast.signed(&token).await;
        let plain = [("client_id", "rs"), ("token", token.as_str())];
        let plain = cast.world.post(Some(&cast.rs), "/introspect", &plain).await;
        assert_eq!(plain.json()["cnf"], json!({"x5t#S256": cast.demo.thumbprint()}));

        let key_id = keys.keys().first().unwrap().key_id().unwrap();
        assert_eq!(
            jose_header(&signed),
            json!({"alg": "ES256", "kid": key_id, "typ": "token-introspection+jwt"})
        );
        let policy = JwsPolicy {
            algorithms: &[SignatureAlgorithm::Es256],
            types: &["token-introspection+jwt"],
            type_may_be_missing: false,
        };
        let jws = UnverifiedJws::parse(&signed).unwrap();
        let plain = String::from_utf8(plain.body).unwrap();
        // To the octet: neither `sub` nor `exp` is beside them.
        assert_eq!(
            String::from_utf8(jws.verify(&policy, &keys).unwrap().payload().to_vec()).unwrap(),
            format!(r#"{{"iss":"{ISSUER}","aud":"rs","iat":{NOW},"token_introspection":{plain}}}"#)
        );
    }
}

// covers R9701-4, R8725-1, R9068-5
#[tokio::test]
async fn a_signed_answer_is_no_access_token() {
    let cast = cast().await;
    let [token, _] = cast.tokens().await;
    let signed = cast.signed(&token).await;
    let issuer = Issuer::parse(ISSUER).unwrap();
    let settings = IssuerSettings::new(issuer, Validation::Local(KeySource::Static(keys(&cast.world).await)));
    let resource_server = ResourceServer::new(vec![settings]).unwrap();
    let jwk = cast.demo.jwk();
    let der = STANDARD.decode(jwk["x5c"][0].as_str().unwrap()).unwrap();
    let certificate = PeerCertificate::assert_possession_proven(der, Vec::new());
    let presented = PresentedCertificate::Peer(Arc::new(certificate));
    let check = |token: &str| {
        let (parts, ()) = http::Request::builder()
            .header("authorization", format!("Bearer {token}"))
            .body(())
            .unwrap()
            .into_parts();
        let policy = RoutePolicy::new(API.parse().unwrap());
        match resource_server.check(&parts, &presented, &policy, Timestamp::from_unix_secs(NOW)) {
            Check::Done(verdict) => verdict,
            Check::Pending(_) => panic!("everything is here to decide"),
        }
    };
    assert!(check(&token).is_ok(), "the control");
    let refused = check(&signed).unwrap_err();
    assert_eq!(refused.status(), StatusCode::UNAUTHORIZED);
    let rules = refused.rules();
    let failed = rules.iter().find(|rule| rule.outcome == Outcome::Failed).unwrap();
    assert_eq!(failed.rule, "token type permitted");
    assert_eq!(failed.presented.as_deref(), Some("token-introspection+jwt"));

    // Nor is it one here: not to administer with, not to ask about, not to revoke.
    let peer = cast.world.peer(Side::MutualTls, Some(&cast.demo));
    let reply = peer.get_with_token("/admin/v1/clients", &signed).await;
    assert_eq!(reply.status, StatusCode::UNAUTHORIZED, "{reply:?}");
    let form = [("client_id", "rs"), ("token", signed.as_str())];
    let reply = cast.world.post(Some(&cast.rs), "/introspect", &form).await;
    assert_eq!(reply.body, INACTIVE);
    assert_eq!(cast.revoke(&cast.demo, "demo", &signed).await.status, StatusCode::OK);
    assert_eq!(
        claims(&cast.signed(&token).await)["token_introspection"]["active"],
        true
    );
}

// covers R9701-4, R8725-1, R7523-1
#[tokio::test]
async fn a_signed_answer_is_no_client_assertion() {
    let (world, key) = rfc7523::world().await;
    let present = async |assertion: &str| {
        let form = [
            &credentials("jwt")[..],
            &[
                ("client_assertion_type", CLIENT_ASSERTION_TYPE),
                ("client_assertion", assertion),
            ],
        ]
        .concat();
        world.peer(Side::Public, None).post("/token", &form).await
    };
    // With everything that an assertion needs, even the client's own signature.
    for (typ, token_id) in [("token-introspection+jwt", "a"), ("Token-Introspection+JWT", "b")] {
        let header = json!({"alg": "ES256", "typ": typ});
        let reply = present(&rfc7523::signed(&key, &header, &rfc7523::claims(token_id))).await;
        let refusal = world
            .assert_refused(&reply, 400, "invalid_client", "client assertion")
            .await;
        let cause = format!("type {typ:?} is not expected here");
        assert!(refusal.reason.ends_with(&cause), "{refusal:#?}");
    }
    let header = json!({"alg": "ES256", "typ": "JWT"});
    let reply = present(&rfc7523::signed(&key, &header, &rfc7523::claims("a"))).await;
    assert_eq!(reply.status, StatusCode::OK, "the control: {reply:?}");

    // A client that is told about tokens cannot log in by what it was told.
    let cast = cast().await;
    let [token, _] = cast.tokens().await;
    let signed = cast.signed(&token).await;
    let form = [
        ("client_id", "jwt"),
        ("token", "x"),
        ("client_assertion_type", CLIENT_ASSERTION_TYPE),
        ("client_assertion", &signed),
    ];
    let reply = cast.world.post(None, "/introspect", &form).await;
    assert_eq!(
        (reply.status.as_u16(), &reply.json()["error"]),
        (401, &json!("invalid_client"))
    );
}

// covers R9701-4
#[tokio::test]
async fn the_metadata_names_the_algorithm_that_signs_also_while_it_changes() {
    let authority = Authority::root("corp");
    let plan = || {
        Plan::new().trusts("corp", &authority).client(
            "rs",
            with(tls_client("rs.example"), json!({"keybound_introspects": [API]})),
        )
    };
    let world = plan().start().await;
    let rs = authority.issue(dns("rs.example"));
    let signs = async || {
        let form = [("client_id", "rs"), ("token", "x")];
        let signed = jwt(&introspect(&world, Some(&rs), &form, JWT).await);
        jose_header(&signed)["alg"].clone()
    };
    let named = async || {
        let peer = world.peer(Side::Public, None);
        let metadata = peer.get("/.well-known/oauth-authorization-server").await.json();
        metadata["introspection_signing_alg_values_supported"].clone()
    };
    assert_eq!((signs().await, named().await), (json!("ES256"), json!(["ES256"])));
    let reload = async |algorithm: SignatureAlgorithm| {
        let mut settings = plan().settings;
        settings.tokens.signing_algorithm = algorithm;
        world.server.reload(settings).await.unwrap();
    };
    world.clock.advance(3_600);
    for _ in 0..2 {
        reload(SignatureAlgorithm::Ps256).await;
        assert_eq!(
            (signs().await, named().await),
            (json!("ES256"), json!(["PS256", "ES256"]))
        );
        world.clock.advance(30);
    }
    reload(SignatureAlgorithm::Ps256).await;
    assert_eq!((signs().await, named().await), (json!("PS256"), json!(["PS256"])));
}

// covers R9701-4
#[tokio::test]
async fn a_caller_that_registered_an_algorithm_gets_that_one_or_no_signature() {
    let authority = Authority::root("corp");
    let caller = |algorithm: &str| {
        let members = json!({"keybound_introspects": [API], "introspection_signed_response_alg": algorithm});
        with(tls_client("rs.example"), members)
    };
    // One that this server does not sign by cannot be registered.
    let policy = Plan::new()
        .settings
        .registration_policy(ClientOrigin::ConfigurationFile);
    for algorithm in ["PS256", "RS256", "none", "HS256"] {
        assert!(
            ClientMetadata::parse(caller(algorithm).to_string().as_bytes(), &policy).is_err(),
            "{algorithm}"
        );
    }
    let plan = Plan::new().trusts("corp", &authority).client("rs", caller("ES256"));
    let mut settings = plan.settings.clone();
    let world = plan.start().await;
    let rs = authority.issue(dns("rs.example"));
    let form = [("client_id", "rs"), ("token", "x")];
    let signed = jwt(&introspect(&world, Some(&rs), &form, JWT).await);
    assert_eq!(jose_header(&signed)["alg"], "ES256");
    // The operator changes the algorithm while the client keeps what it registered.
    settings.tokens.signing_algorithm = SignatureAlgorithm::Ps256;
    for _ in 0..3 {
        world.clock.advance(3_600);
        world.server.reload(settings.clone()).await.unwrap();
    }
    let reply = introspect(&world, Some(&rs), &form, JWT).await;
    let refusal = world
        .assert_refused(&reply, 500, "server_error", "introspection response signed")
        .await;
    assert!(
        refusal.reason.contains("ES256") && refusal.reason.contains("PS256"),
        "{}",
        refusal.reason
    );
    let reply = introspect(&world, Some(&rs), &form, "application/json").await;
    assert_eq!(reply.body, INACTIVE, "unsigned answers need no algorithm");
}
