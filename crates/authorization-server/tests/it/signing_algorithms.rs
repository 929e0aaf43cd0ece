//! `tokens.signing_algorithm`: each of the five signs for everybody, and one takes over from another.

use http::{Method, StatusCode};
use keybound_protocol::access_token::{IssuerPolicy, verify};
use keybound_protocol::jwk_set::JwkSet;
use keybound_protocol::signature_algorithm::SignatureAlgorithm;
use keybound_protocol::time::Timestamp;
use keybound_store::{Actor, AuditEntry};
use serde_json::{Value, json};

use crate::admin::administrator;
use crate::pki::{Leaf, dns, self_signed};
use crate::world::{API, ISSUER, Plan, Side, World, jose_header, self_signed_client, with};

/// A server and one client, which is an administrator and may introspect, too.
struct Cast {
    world: World,
    client: Leaf,
}

/// The settings with this algorithm.
fn plan(client: &Leaf, algorithm: SignatureAlgorithm) -> Plan {
    let registered = with(
        self_signed_client(&[client]),
        json!({"keybound_introspects": [API], "scope": "read"}),
    );
    let mut plan = Plan::new()
        .client("self", registered)
        .client("admin", administrator(client));
    plan.settings.tokens.signing_algorithm = algorithm;
    plan
}

impl Cast {
    async fn new(algorithm: SignatureAlgorithm) -> Cast {
        let client = self_signed(dns("a"));
        let world = plan(&client, algorithm).start().await;
        Cast { world, client }
    }

    async fn reload(&self, algorithm: SignatureAlgorithm) {
        self.world
            .server
            .reload(plan(&self.client, algorithm).settings)
            .await
            .unwrap();
    }

    async fn token(&self) -> String {
        self.world.access_token(&self.client, "self", &[]).await
    }

    async fn is_active(&self, token: &str) -> bool {
        let form = [("client_id", "self"), ("token", token)];
        let reply = self.world.post(Some(&self.client), "/introspect", &form).await;
        reply.json()["active"].as_bool().unwrap()
    }

    async fn administers(&self) -> StatusCode {
        let scope = [("scope", "keybound:admin")];
        let token = self.world.access_token(&self.client, "admin", &scope).await;
        let authorization = format!("Bearer {token}");
        let headers = [("authorization", authorization.as_str())];
        let peer = self.world.peer(Side::MutualTls, Some(&self.client));
        peer.send(Method::GET, "/admin/v1/clients", &headers, None).await.status
    }

    async fn key_set(&self) -> Vec<u8> {
        self.world.peer(Side::Public, None).get("/jwks").await.body
    }

    /// `kid`, `alg`, `kty` and `crv` of each published key, newest first.
    async fn published(&self) -> Vec<[Value; 4]> {
        let set: Value = serde_json::from_slice(&self.key_set().await).unwrap();
        let keys = set["keys"].as_array().unwrap();
        keys.iter()
            .map(|key| ["kid", "alg", "kty", "crv"].map(|member| key[member].clone()))
            .collect()
    }

    fn now(&self) -> Timestamp {
        Timestamp::from_unix_secs(self.world.clock.now())
    }
}

/// `kid` and `alg` of a token's header.
fn signed_by(token: &str) -> (Value, Value) {
    let header = jose_header(token);
    (header["kid"].clone(), header["alg"].clone())
}

// covers R9068-1
#[tokio::test]
async fn every_algorithm_signs_what_its_published_key_verifies() {
    for (algorithm, kty, crv, signature_octets) in [
        (SignatureAlgorithm::Es256, "EC", json!("P-256"), 64),
        (SignatureAlgorithm::Es384, "EC", json!("P-384"), 96),
        (SignatureAlgorithm::EdDsa, "OKP", json!("Ed25519"), 64),
        (SignatureAlgorithm::Ps256, "RSA", json!(null), 384),
        (SignatureAlgorithm::Rs256, "RSA", json!(null), 384),
    ] {
        let it = Cast::new(algorithm).await;
        let token = it.token().await;
        let (key_id, alg) = signed_by(&token);
        assert_eq!(alg, algorithm.name());
        assert_eq!(it.published().await, [[key_id, alg, json!(kty), crv]]);
        let signature = token.rsplit('.').next().unwrap();
        assert_eq!(signature.len(), (signature_octets * 8_usize).div_ceil(6), "{algorithm}");
        let keys = JwkSet::parse(&it.key_set().await).unwrap();
        let policy = IssuerPolicy::new(ISSUER, vec![API.to_owned()]);
        assert!(verify(&token, &policy, &keys, it.now()).is_ok(), "{algorithm}");
        assert!(it.is_active(&token).await, "{algorithm}");
        assert_eq!(it.administers().await, StatusCode::OK, "{algorithm}");
    }
}

// covers R15
#[tokio::test]
async fn a_key_of_another_algorithm_takes_over_like_any_other_and_the_old_one_counts_on() {
    let it = Cast::new(SignatureAlgorithm::Es256).await;
    let es256 = signed_by(&it.token().await);
    it.world.clock.advance(3600);
    it.reload(SignatureAlgorithm::Ps256).await;
    // Published, and not signing yet: nobody had the time to fetch it.
    let published = it.published().await;
    let ps256 = (published[0][0].clone(), published[0][1].clone());
    assert_eq!((published.len(), ps256.1.as_str()), (2, Some("PS256")));
    it.world.clock.advance(59);
    it.reload(SignatureAlgorithm::Ps256).await;
    let last = it.token().await;
    assert_eq!(signed_by(&last), es256);
    it.world.clock.advance(1);
    it.reload(SignatureAlgorithm::Ps256).await;
    let first = it.token().await;
    assert_eq!(signed_by(&first), ps256);
    assert_eq!(it.published().await, published);
    assert!(it.is_active(&last).await && it.is_active(&first).await);
    assert_eq!(it.administers().await, StatusCode::OK);
    // Taken back: the old key is published, so it signs at once.
    it.reload(SignatureAlgorithm::Es256).await;
    assert_eq!(signed_by(&it.token().await), es256);
    assert_eq!(it.published().await, published);
}

// covers R15
#[tokio::test]
async fn an_algorithm_whose_key_has_retired_gets_a_new_one_that_is_published_first() {
    let it = Cast::new(SignatureAlgorithm::Es256).await;
    let es256 = signed_by(&it.token().await);
    it.world.clock.advance(3600);
    it.reload(SignatureAlgorithm::EdDsa).await;
    it.world.clock.advance(3600);
    it.reload(SignatureAlgorithm::EdDsa).await;
    let eddsa = signed_by(&it.token().await);
    assert_eq!(eddsa.1, "EdDSA");
    let entry = AuditEntry::new(it.now(), Actor::Server);
    let keys = &it.world.store.signing_keys;
    let retired = keys
        .retire_other_signing_keys(vec!["EdDSA".to_owned()], it.now(), entry)
        .await;
    assert_eq!(json!(retired.unwrap()), json!([es256.0]));
    it.reload(SignatureAlgorithm::EdDsa).await;
    assert_eq!(it.published().await.len(), 2);
    it.world.clock.advance(3600);
    it.reload(SignatureAlgorithm::Es256).await;
    assert_eq!(it.published().await.len(), 3);
    assert_eq!(signed_by(&it.token().await), eddsa);
    it.world.clock.advance(60);
    it.reload(SignatureAlgorithm::Es256).await;
    let (key_id, alg) = signed_by(&it.token().await);
    assert_eq!(alg, "ES256");
    assert_ne!(key_id, es256.0);
}
