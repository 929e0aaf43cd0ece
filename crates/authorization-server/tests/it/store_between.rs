//! What the server tells the store, and what it does when one part of it fails.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::{Method, StatusCode};
use keybound_protocol::client::ClientId;
use keybound_protocol::client_assertion::CLIENT_ASSERTION_TYPE;
use keybound_protocol::issuer::Issuer;
use keybound_protocol::signature_algorithm::SignatureAlgorithm;
use keybound_protocol::time::Timestamp;
use keybound_store::{
    Answer, AuditEntry, ClientAssertions, ConsumeClientAssertion, NewSigningKey, OneTimeAssertion, RevokeSigningKey,
    RotateSigningKey, SigningKeys, StoreError, StoredSigningKey, TokenMarks,
};

use crate::admin::{Administration, administrator};
use crate::pki::{dns, self_signed};
use crate::rfc8705_2::{assertion, private_key_jwt_client};
use crate::world::{NOW, Plan, Side, credentials, tls_client, with};

/// Signing keys that can be made to fail.
struct FailingKeys {
    inner: Arc<dyn SigningKeys>,
    fails: Arc<AtomicBool>,
}

impl SigningKeys for FailingKeys {
    fn create_first_signing_key(&self, key: NewSigningKey, entry: AuditEntry) -> Answer<RotateSigningKey> {
        self.inner.create_first_signing_key(key, entry)
    }

    fn signing_keys(&self) -> Answer<Vec<StoredSigningKey>> {
        if self.fails.load(Ordering::SeqCst) {
            return Box::pin(async { Err(StoreError::Closed) });
        }
        self.inner.signing_keys()
    }

    fn rotate_signing_key(&self, key: NewSigningKey, entry: AuditEntry) -> Answer<RotateSigningKey> {
        self.inner.rotate_signing_key(key, entry)
    }

    fn revoke_signing_key(&self, key_id: String, until: Timestamp, entry: AuditEntry) -> Answer<RevokeSigningKey> {
        self.inner.revoke_signing_key(key_id, until, entry)
    }

    fn retire_other_signing_keys(
        &self,
        kept: Vec<String>,
        added_before: Timestamp,
        entry: AuditEntry,
    ) -> Answer<Vec<String>> {
        self.inner.retire_other_signing_keys(kept, added_before, entry)
    }

    fn remove_retired_signing_keys(&self, retiring_since: Timestamp, entry: AuditEntry) -> Answer<Vec<String>> {
        self.inner.remove_retired_signing_keys(retiring_since, entry)
    }
}

// covers R17
#[tokio::test]
async fn a_reload_that_fails_changes_nothing() {
    let admin = self_signed(dns("admin"));
    let fails = Arc::new(AtomicBool::new(false));
    let mut plan = Plan::new().client("admin", administrator(&admin));
    plan.around_store = Some(Box::new({
        let fails = Arc::clone(&fails);
        move |store| {
            let inner = Arc::clone(&store.signing_keys);
            store.signing_keys = Arc::new(FailingKeys { inner, fails });
        }
    }));
    let world = plan.start().await;
    let token = world
        .access_token(&admin, "admin", &[("scope", "keybound:admin")])
        .await;
    let authorization = format!("Bearer {token}");
    let mut settings = Plan::new().settings;
    settings.issuer = Issuer::parse("https://other.example").unwrap();
    settings.tokens.signing_algorithm = SignatureAlgorithm::EdDsa;
    fails.store(true, Ordering::SeqCst);
    assert!(world.server.reload(settings.clone()).await.is_err());
    let peer = world.peer(Side::MutualTls, Some(&admin));
    let list = async || {
        let headers = [("authorization", authorization.as_str())];
        peer.send(Method::GET, "/admin/v1/clients", &headers, None).await.status
    };
    assert_eq!(list().await, StatusCode::OK);
    let metadata = peer.get("/.well-known/oauth-authorization-server").await.json();
    assert_eq!(metadata["issuer"], "https://as.example");
    assert_eq!(world.token(Some(&admin), "admin").await.status, StatusCode::OK);
    fails.store(false, Ordering::SeqCst);
    world.server.reload(settings).await.unwrap();
    assert_eq!(list().await, StatusCode::UNAUTHORIZED);
    assert_eq!(peer.get("/jwks").await.json()["keys"].as_array().unwrap().len(), 2);
}

/// Assertions, listened to.
struct Heard {
    inner: Arc<dyn ClientAssertions>,
    heard: Arc<Mutex<Vec<OneTimeAssertion>>>,
}

impl ClientAssertions for Heard {
    fn consume_client_assertion(&self, one: OneTimeAssertion, entry: AuditEntry) -> Answer<ConsumeClientAssertion> {
        self.heard.lock().unwrap().push(one.clone());
        self.inner.consume_client_assertion(one, entry)
    }
}

// covers R7523-3
#[tokio::test]
async fn the_store_is_told_when_an_assertion_was_made_and_a_record_whom_it_named() {
    let key = self_signed(dns("key"));
    let heard = Arc::new(Mutex::new(Vec::new()));
    let mut plan = Plan::new().client("jwt", private_key_jwt_client(&key));
    plan.around_store = Some(Box::new({
        let heard = Arc::clone(&heard);
        move |store| {
            let inner = Arc::clone(&store.client_assertions);
            store.client_assertions = Arc::new(Heard { inner, heard });
        }
    }));
    let world = plan.start().await;
    let present = async |assertion: &str| {
        // Without client_id: the assertion alone says who it is (RFC 7521 §4.2).
        let form = [
            ("grant_type", "client_credentials"),
            ("client_assertion_type", CLIENT_ASSERTION_TYPE),
            ("client_assertion", assertion),
        ];
        world.peer(Side::Public, None).post("/token", &form).await
    };
    let good = assertion(&key, "jwt", "once", NOW);
    present(&good).await;
    let issued_at: Vec<_> = heard.lock().unwrap().iter().map(|one| one.issued_at).collect();
    assert_eq!(issued_at, [Some(Timestamp::from_unix_secs(NOW))]);
    let stranger = self_signed(dns("stranger"));
    for (bad, named) in [
        (good, "jwt"),
        (assertion(&stranger, "jwt", "forged", NOW), "jwt"),
        (assertion(&stranger, "nobody", "unknown", NOW), "nobody"),
    ] {
        let reply = present(&bad).await;
        assert_eq!(reply.json()["error"], "invalid_client", "{reply:?}");
        assert_eq!(world.refusal(&reply).await.client_id.as_deref(), Some(named));
    }
}

// covers T39
#[tokio::test]
async fn tokens_of_a_removed_client_stay_denied_for_the_longest_life_that_any_setting_gives() {
    let it = Administration::new().await;
    let metadata = with(tls_client("new.example"), serde_json::json!({"client_id": "new"}));
    assert_eq!(
        it.call(Method::POST, "/clients", &[], Some(metadata)).await.status,
        StatusCode::CREATED
    );
    let reply = it.call(Method::DELETE, "/clients/new", &[], None).await;
    assert_eq!(reply.status, StatusCode::NO_CONTENT);
    let client_id = ClientId::parse("new").unwrap();
    let marks = TokenMarks {
        token_id: "any",
        client_id: &client_id,
        thumbprint: None,
        key_id: None,
        issued_at: Timestamp::from_unix_secs(NOW).minus(Duration::from_secs(1)),
    };
    let later = Timestamp::from_unix_secs(NOW).plus(Duration::from_secs(86_400));
    let denied = it.world.store.revocations.find_revocation(marks, later).unwrap();
    assert!(denied.is_some());
}

// covers R6749-4
#[tokio::test]
async fn an_answer_that_http_has_a_word_for_says_that_and_not_malformed() {
    let world = Plan::new().start().await;
    let peer = world.peer(Side::Public, None);
    let text = Some(("text/plain", "a=b".to_owned()));
    let replies = [
        (404, peer.get("/nowhere").await),
        (405, peer.get("/token").await),
        (415, peer.send(Method::POST, "/token", &[], text).await),
        (
            400,
            peer.post("/token", &[&credentials("x")[0], &credentials("x")[0]].map(|it| *it))
                .await,
        ),
    ];
    let mut seen = Vec::new();
    for (status, reply) in replies {
        assert_eq!(reply.status.as_u16(), status, "{reply:?}");
        let description = reply.json()["error_description"].as_str().unwrap().to_owned();
        assert_eq!(description.contains("malformed"), status == 400, "{description}");
        assert!(!seen.contains(&description), "{description}");
        seen.push(description);
    }
}
