//! RFC 8705 §2: which client a request is from, whatever the method.

use http::StatusCode;
use keybound_protocol::client::ClientId;
use keybound_protocol::client_assertion::client_assertion;
use keybound_protocol::issuer::Issuer;
use keybound_protocol::signature_algorithm::SignatureAlgorithm;
use keybound_protocol::signer::LocalSigner;
use keybound_protocol::time::Timestamp;
use serde_json::{Value, json};

use crate::pki::{Authority, Leaf, dns, self_signed};
use crate::world::{ISSUER, NOW, Plan, Side, credentials, self_signed_client, tls_client, with};

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
