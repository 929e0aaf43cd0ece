//! RFC 8705 §2: which client a request is from, whatever the method.

use base64::Engine as _;
use http::StatusCode;
use keybound_protocol::client::ClientId;
use keybound_protocol::client_assertion::{CLIENT_ASSERTION_TYPE, client_assertion};
use keybound_protocol::issuer::Issuer;
use keybound_protocol::signature_algorithm::SignatureAlgorithm;
use keybound_protocol::signer::LocalSigner;
use keybound_protocol::time::Timestamp;
use serde_json::{Value, json};

use crate::pki::{Authority, Leaf, dns, self_signed};
use crate::world::{ISSUER, NOW, Plan, Side, World, credentials, self_signed_client, tls_client, with};

/// `private_key_jwt` with the key of this certificate.
pub(crate) fn private_key_jwt_client(leaf: &Leaf) -> Value {
    let mut key = leaf.jwk();
    key.as_object_mut().unwrap().remove("x5c");
    json!({
        "token_endpoint_auth_method": "private_key_jwt",
        "jwks": {"keys": [key]},
        "grant_types": ["client_credentials"],
        "scope": "read write",
    })
}

/// A good assertion, signed with the key of this certificate.
pub(crate) fn assertion(leaf: &Leaf, client_id: &str, token_id: &str, now: i64) -> String {
    let random = aws_lc_rs::rand::SystemRandom::new();
    let signer = LocalSigner::from_pkcs8(SignatureAlgorithm::Es256, &leaf.key().serialize_der(), &random).unwrap();
    let client_id = ClientId::parse(client_id).unwrap();
    client_assertion(
        &signer,
        &client_id,
        &Issuer::parse(ISSUER).unwrap(),
        token_id,
        Timestamp::from_unix_secs(now),
    )
    .unwrap()
}

// covers MTLS-2-6, MTLS-2-2, MTLS-6.1-2, TRAP-20
#[tokio::test]
async fn without_a_certificate_the_handshake_succeeds_and_the_answer_is_invalid_client() {
    let authority = Authority::root("corp");
    let world = Plan::new()
        .trusts("corp", &authority)
        .client("demo", tls_client("demo.example"))
        .start()
        .await;
    let reply = world.token(None, "demo").await;
    let refusal = world
        .assert_refused(&reply, 400, "invalid_client", "client certificate presented")
        .await;
    assert_eq!(refusal.reason, "no client certificate was presented");
    let reply = world
        .peer(Side::Public, None)
        .post("/token", &credentials("demo"))
        .await;
    let refusal = world
        .assert_refused(&reply, 400, "invalid_client", "client certificate presented")
        .await;
    assert_eq!(
        refusal.reason,
        "the request came to a listener that does not ask for a client certificate"
    );
}

// covers MTLS-2-5, MTLS-2-7, MTLS-2-4, FAPI-4
#[tokio::test]
async fn a_certificate_of_another_client_is_refused_although_it_is_valid() {
    let authority = Authority::root("corp");
    let world = Plan::new()
        .trusts("corp", &authority)
        .client("a", tls_client("a.example"))
        .client("b", tls_client("b.example"))
        .start()
        .await;
    let of_a = authority.issue(dns("a.example"));
    assert_eq!(world.token(Some(&of_a), "a").await.status, StatusCode::OK);
    let reply = world.token(Some(&of_a), "b").await;
    let refusal = world
        .assert_refused(&reply, 400, "invalid_client", "tls_client_auth_san_dns")
        .await;
    let failed = refusal.failed_rule().unwrap();
    assert_eq!(
        (failed.presented.as_deref(), failed.registered.as_deref()),
        (Some("a.example"), Some("b.example"))
    );
}

// covers MTLS-2-4
#[tokio::test]
async fn of_two_clients_with_one_subject_the_one_that_is_named_is_meant() {
    let authority = Authority::root("corp");
    let world = Plan::new()
        .trusts("corp", &authority)
        .client("one", tls_client("shared.example"))
        .client("two", tls_client("shared.example"))
        .start()
        .await;
    let leaf = authority.issue(dns("shared.example"));
    for client_id in ["one", "two"] {
        let token = world.access_token(&leaf, client_id, &[]).await;
        assert_eq!(crate::world::claims(&token)["client_id"], client_id);
    }
}

/// Everything that differs between two answers that must look alike.
fn comparable(reply: &crate::world::Reply) -> String {
    let id = reply.header("keybound-refusal").unwrap().to_owned();
    assert_eq!(id.len(), 16);
    let body = String::from_utf8(reply.body.clone()).unwrap().replace(&id, "ID");
    let mut headers: Vec<String> = reply
        .headers
        .iter()
        .filter(|(name, _)| *name != "date" && *name != "keybound-refusal")
        .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()))
        .collect();
    headers.sort();
    format!("{} {headers:?} {body}", reply.status)
}

// covers MTLS-2-8, TRAP-18, T31
#[tokio::test]
async fn without_or_with_an_unknown_client_id_the_answer_is_that_of_a_mismatch() {
    let authority = Authority::root("corp");
    let registered = self_signed(dns("self.example"));
    let world = Plan::new()
        .trusts("corp", &authority)
        .client("demo", tls_client("demo.example"))
        .client("self", self_signed_client(&[&registered]))
        .start()
        .await;
    let stranger = authority.issue(dns("stranger.example"));
    let mismatch = world.token(Some(&stranger), "demo").await;
    let cases = [
        (
            "nobody",
            world.token(Some(&stranger), "nobody").await,
            "client registered",
        ),
        (
            "self",
            world.token(Some(&stranger), "self").await,
            "one of the registered certificates, octet for octet",
        ),
        (
            "spaces",
            world.token(Some(&stranger), "not a client id").await,
            "client registered",
        ),
        (
            "decoy",
            world.token(Some(&stranger), "decoy").await,
            "client registered",
        ),
        (
            "absent",
            world
                .post(Some(&stranger), "/token", &[("grant_type", "client_credentials")])
                .await,
            "client_id sent",
        ),
        (
            "no certificate",
            world.token(None, "demo").await,
            "client certificate presented",
        ),
        ("neither", world.token(None, "nobody").await, "client registered"),
    ];
    for (name, reply, rule) in &cases {
        assert_eq!(comparable(reply), comparable(&mismatch), "{name}");
        world.assert_refused(reply, 400, "invalid_client", rule).await;
    }
}

/// What a request can present, in all combinations that matter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Presented {
    Nothing,
    PkiCertificate,
    RegisteredSelfSigned,
    OtherSelfSigned,
    Assertion,
    Basic,
    Post,
    PkiAndAssertion,
    PkiAndBasic,
    SelfSignedAndPost,
    AssertionAndPost,
    BasicAndPost,
}

const PRESENTED: [Presented; 12] = [
    Presented::Nothing,
    Presented::PkiCertificate,
    Presented::RegisteredSelfSigned,
    Presented::OtherSelfSigned,
    Presented::Assertion,
    Presented::Basic,
    Presented::Post,
    Presented::PkiAndAssertion,
    Presented::PkiAndBasic,
    Presented::SelfSignedAndPost,
    Presented::AssertionAndPost,
    Presented::BasicAndPost,
];

/// What has to come out, by registered method.
fn expected(registered: &str, presented: Presented) -> (u16, &'static str) {
    use Presented::*;
    match (registered, presented) {
        ("tls", PkiCertificate) | ("self", RegisteredSelfSigned) | ("jwt", Assertion | PkiAndAssertion) => (200, ""),
        (_, PkiAndBasic | SelfSignedAndPost | AssertionAndPost | BasicAndPost) => (400, "invalid_request"),
        // A client that tried the Authorization header is answered with its challenge (RFC 6749 §5.2).
        (_, Basic) => (401, "invalid_client"),
        // Nothing is what such a client has to show; what it lacks is a grant it could use (RFC 6749 §4.4).
        ("none", Nothing | PkiCertificate | RegisteredSelfSigned | OtherSelfSigned) => (400, "unauthorized_client"),
        _ => (400, "invalid_client"),
    }
}

struct Matrix {
    world: World,
    pki: Leaf,
    registered: Leaf,
    other: Leaf,
    key: Leaf,
}

impl Matrix {
    async fn new() -> Matrix {
        let authority = Authority::root("corp");
        let (registered, other, key) = (self_signed(dns("x")), self_signed(dns("x")), self_signed(dns("key")));
        let world = Plan::new()
            .trusts("corp", &authority)
            .client("tls", tls_client("demo.example"))
            .client("self", self_signed_client(&[&registered]))
            .client("jwt", private_key_jwt_client(&key))
            .client("none", json!({"token_endpoint_auth_method": "none"}))
            .start()
            .await;
        Matrix {
            world,
            pki: authority.issue(dns("demo.example")),
            registered,
            other,
            key,
        }
    }

    async fn ask(
        &self,
        path: &str,
        more: &[(&str, &str)],
        registered: &str,
        presented: Presented,
        round: usize,
    ) -> crate::world::Reply {
        use Presented::*;
        let leaf = match presented {
            PkiCertificate | PkiAndAssertion | PkiAndBasic => Some(&self.pki),
            RegisteredSelfSigned | SelfSignedAndPost => Some(&self.registered),
            OtherSelfSigned => Some(&self.other),
            _ => None,
        };
        let assertion = assertion(
            &self.key,
            registered,
            &format!("{path}-{registered}-{presented:?}-{round}"),
            NOW,
        );
        let mut form = [&credentials(registered)[..], more].concat();
        if matches!(presented, Assertion | PkiAndAssertion | AssertionAndPost) {
            form.extend([
                ("client_assertion_type", CLIENT_ASSERTION_TYPE),
                ("client_assertion", &assertion),
            ]);
        }
        if matches!(presented, Post | SelfSignedAndPost | AssertionAndPost | BasicAndPost) {
            form.push(("client_secret", "secret"));
        }
        let credentials = base64::engine::general_purpose::STANDARD.encode(format!("{registered}:secret"));
        let basic = format!("Basic {credentials}");
        let headers = match presented {
            Basic | PkiAndBasic | BasicAndPost => vec![("authorization", basic.as_str())],
            _ => Vec::new(),
        };
        self.world
            .peer(Side::MutualTls, leaf)
            .post_with(path, &form, &headers)
            .await
    }
}

// covers T3, MTLS-2-1, R6749-1, R6749-2, R6749-9, TRAP-8, TRAP-19, TRAP-22, MTLS-2.1.1-1, MTLS-2.2.1-1
#[tokio::test]
async fn only_the_registered_method_ever_authenticates() {
    let matrix = Matrix::new().await;
    for round in 0..3 {
        for registered in ["tls", "self", "jwt", "none", "nobody"] {
            for presented in PRESENTED {
                let reply = matrix.ask("/token", &[], registered, presented, round).await;
                let (status, error) = expected(registered, presented);
                assert_eq!(reply.status.as_u16(), status, "{registered} {presented:?} {reply:?}");
                match status {
                    200 => assert!(reply.json()["access_token"].is_string()),
                    401 => assert_eq!(
                        reply.header("www-authenticate"),
                        Some("Basic realm=\"https://as.example\"")
                    ),
                    _ => assert_eq!(reply.header("www-authenticate"), None),
                }
                if status != 200 {
                    assert_eq!(reply.json()["error"], error, "{registered} {presented:?}");
                }
            }
        }
    }
}

// covers MTLS-1-1, TRAP-49, TLS-8
#[tokio::test]
async fn every_endpoint_that_authenticates_clients_takes_the_registered_method_and_no_other() {
    let matrix = Matrix::new().await;
    for path in ["/introspect", "/revoke"] {
        for registered in ["tls", "self", "jwt", "nobody"] {
            for presented in PRESENTED {
                let reply = matrix.ask(path, &[("token", "x")], registered, presented, 0).await;
                let (mut status, error) = expected(registered, presented);
                // RFC 7662 §2.3.
                if path == "/introspect" && error == "invalid_client" {
                    status = 401;
                }
                assert_eq!(
                    reply.status.as_u16(),
                    status,
                    "{path} {registered} {presented:?} {reply:?}"
                );
                assert_eq!(reply.header("www-authenticate").is_some(), status == 401);
                if status != 200 {
                    assert_eq!(reply.json()["error"], error, "{path} {registered} {presented:?}");
                }
            }
        }
    }
}

// covers MTLS-1-3
#[tokio::test]
async fn a_stored_client_and_one_from_a_file_with_the_same_metadata_behave_alike() {
    let authority = Authority::root("corp");
    let metadata = with(tls_client("demo.example"), json!({"scope": "read"}));
    let world = Plan::new()
        .trusts("corp", &authority)
        .client("file", metadata.clone())
        .start()
        .await;
    let new = keybound_store::NewClient {
        client_id: ClientId::parse("stored").unwrap(),
        metadata: metadata.to_string(),
        origin: keybound_protocol::client::ClientOrigin::Administrator,
        secret: None,
    };
    let entry = keybound_store::AuditEntry::new(Timestamp::from_unix_secs(NOW), keybound_store::Actor::Operator);
    world.store.clients.create_client(new, entry).await.unwrap();
    let (right, wrong) = (
        authority.issue(dns("demo.example")),
        authority.issue(dns("other.example")),
    );
    for client_id in ["file", "stored"] {
        let token = world.access_token(&right, client_id, &[]).await;
        let claims = crate::world::claims(&token);
        assert_eq!(
            (&claims["scope"], &claims["cnf"]["x5t#S256"]),
            (&json!("read"), &json!(right.thumbprint()))
        );
        let reply = world.token(Some(&wrong), client_id).await;
        world
            .assert_refused(&reply, 400, "invalid_client", "tls_client_auth_san_dns")
            .await;
    }
}
