//! Authenticating with assertions (RFC 7523), with and without a certificate beside them.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use aws_lc_rs::rand::SystemRandom;
use keybound_client::{AssertionKey, ClientAuthentication, TokenRequest};
use keybound_protocol::base64url;
use keybound_protocol::client_assertion::CLIENT_ASSERTION_TYPE;
use keybound_protocol::signature_algorithm::SignatureAlgorithm;
use keybound_protocol::signer::LocalSigner;
use serde_json::Value;

use crate::pki::{self, Party};
use crate::site::Seen;
use crate::support::{NOW, TwoHosts, client_with};

fn assertions() -> ClientAuthentication {
    let signer = LocalSigner::generate(SignatureAlgorithm::Es256, &SystemRandom::new()).unwrap();
    let count = AtomicUsize::new(0);
    let new_assertion_id = move || format!("assertion-{}", count.fetch_add(1, Ordering::SeqCst));
    ClientAuthentication::PrivateKeyJwt(AssertionKey::new(Arc::new(signer), new_assertion_id))
}

fn claims(seen: &Seen) -> Value {
    let assertion = seen.form("client_assertion").unwrap();
    let payload = assertion.split('.').nth(1).unwrap();
    serde_json::from_slice(&base64url::decode(payload).unwrap()).unwrap()
}

// covers MTLS-5-6, MTLS-2-3, TRAP-39
#[tokio::test]
async fn with_a_certificate_the_assertion_goes_to_the_alias_and_is_made_out_to_the_issuer() {
    let hosts = TwoHosts::new();
    let party = Party::new("demo");
    let client = client_with(&hosts.conventional, party.identity(), assertions());
    client.token(&TokenRequest::new(), NOW).await.unwrap();
    client.introspect("t", NOW).await.unwrap();
    client.revoke("t", NOW).await.unwrap();

    let seen = hosts.mutual_tls.seen();
    assert_eq!(seen.len(), 3);
    let mut ids = HashSet::new();
    for seen in &seen {
        assert_eq!(seen.thumbprint(), Some(party.thumbprint()), "the token is to be bound");
        assert_eq!(seen.form("client_assertion_type"), Some(CLIENT_ASSERTION_TYPE));
        assert_eq!(seen.form("client_id"), Some("demo"));
        let claims = claims(seen);
        assert_eq!(claims["aud"], hosts.conventional.issuer(), "never the alias");
        assert_eq!(
            (&claims["iss"], &claims["sub"]),
            (&Value::from("demo"), &Value::from("demo"))
        );
        assert!(claims["exp"].as_i64().unwrap() > NOW.unix_secs());
        ids.insert(claims["jti"].to_string());
    }
    assert_eq!(ids.len(), 3, "each is used once");
}

#[tokio::test]
async fn without_a_certificate_it_goes_to_the_conventional_host() {
    let hosts = TwoHosts::new();
    let client = client_with(&hosts.conventional, pki::anonymous(), assertions());
    client.token(&TokenRequest::new(), NOW).await.unwrap();
    assert_eq!(hosts.conventional.seen_at("/token").len(), 1);
    assert!(hosts.mutual_tls.seen().is_empty());
}
