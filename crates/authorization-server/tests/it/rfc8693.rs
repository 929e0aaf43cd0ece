//! RFC 8693: tokens of trusted issuers, and our own, traded for bound ones of ours.

use std::sync::Arc;

use aws_lc_rs::rand::SystemRandom;
use http::StatusCode;
use keybound_authorization_server::{TokenExchangeSettings, TrustedKeys};
use keybound_protocol::access_token::verification::DEFAULT_TOKEN_TYPES;
use keybound_protocol::base64url;
use keybound_protocol::grant_type::GrantType;
use keybound_protocol::issuer::Issuer;
use keybound_protocol::jwk_set::JwkSet;
use keybound_protocol::resource::ResourceUri;
use keybound_protocol::signature_algorithm::SignatureAlgorithm;
use keybound_protocol::signer::{LocalSigner, Signer};
use keybound_store::{Actor, AuditEntry, Revocation, RevocationSubject};
use serde_json::{Value, json};

use crate::pki::{Authority, Leaf, dns};
use crate::world::{API, ISSUER, NOW, OPAQUE_API, OTHER_API, Plan, Reply, Side, World, claims, tls_client, with};

const IDP: &str = "https://idp.example";
const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";
const TRADED: &str = "tokens to trade good, of a trusted issuer, and presented by their holder";
const TRADE: &str = "within what the tokens traded permit";

/// Two trusted issuers, one of them the server itself, and clients that may trade their tokens, or not.
struct Cast {
    world: World,
    idp: Arc<LocalSigner>,
    api: Leaf,
    other: Leaf,
}

fn trusted(issuer: &str, keys: TrustedKeys, resources: &[&str]) -> TokenExchangeSettings {
    TokenExchangeSettings {
        issuer: Issuer::parse(issuer).unwrap(),
        keys,
        algorithms: SignatureAlgorithm::ALL.to_vec(),
        token_types: DEFAULT_TOKEN_TYPES.map(str::to_owned).to_vec(),
        audience: Vec::new(),
        subject_prefix: if issuer == ISSUER {
            String::new()
        } else {
            "idp:".to_owned()
        },
        clients: vec!["api".parse().unwrap(), "idp:taken".parse().unwrap()],
        resources: resources.iter().map(|uri| ResourceUri::parse(uri).unwrap()).collect(),
    }
}

fn trading(san_dns: &str) -> Value {
    let grants = json!({"grant_types": ["client_credentials", GrantType::TokenExchange.name()]});
    with(tls_client(san_dns), grants)
}

async fn cast() -> Cast {
    let authority = Authority::root("corp");
    let idp = Arc::new(LocalSigner::generate(SignatureAlgorithm::Es256, &SystemRandom::new()).unwrap());
    let keys = JwkSet::new(vec![idp.public_jwk().clone()]).unwrap();
    let mut plan = Plan::new().trusts("corp", &authority);
    plan.settings.token_exchange = vec![
        trusted(IDP, TrustedKeys::Given(keys), &[API, OTHER_API]),
        trusted(ISSUER, TrustedKeys::Discovered, &[OTHER_API]),
    ];
    let unbound = json!({"tls_client_certificate_bound_access_tokens": false});
    let world = plan
        .client("api", with(trading("api.example"), unbound.clone()))
        .client("other", trading("other.example"))
        .client("idp:taken", trading("api.example"))
        .client("plain", tls_client("api.example"))
        .client("unbound", with(tls_client("other.example"), unbound))
        .start()
        .await;
    Cast {
        world,
        idp,
        api: authority.issue(dns("api.example")),
        other: authority.issue(dns("other.example")),
    }
}

impl Cast {
    /// A token of the other issuer.
    fn foreign(&self, changes: Value) -> String {
        let header = json!({"alg": "ES256", "kid": self.idp.key_id(), "typ": "at+jwt"});
        let token = json!({
            "iss": IDP, "sub": "alice", "aud": ISSUER, "client_id": "spa", "scope": "read write admin",
            "iat": NOW, "exp": NOW + 120, "jti": "foreign",
        });
        let token = with(token, changes);
        let mut text = format!(
            "{}.{}",
            base64url::encode(header.to_string().as_bytes()),
            base64url::encode(token.to_string().as_bytes())
        );
        let signature = self.idp.sign(text.as_bytes()).unwrap();
        text.push('.');
        text.push_str(&base64url::encode(&signature));
        text
    }

    async fn trade(&self, leaf: Option<&Leaf>, client_id: &str, token: &str, more: &[(&str, &str)]) -> Reply {
        let form = [
            ("grant_type", GrantType::TokenExchange.name()),
            ("client_id", client_id),
            ("subject_token", token),
            ("subject_token_type", ACCESS_TOKEN),
        ];
        let mut form = form.to_vec();
        form.retain(|(name, _)| more.iter().all(|(other, _)| other != name));
        form.extend(more.iter().filter(|(_, value)| !value.is_empty()));
        self.world.post(leaf, "/token", &form).await
    }

    /// A trade by the client that may.
    async fn api(&self, token: &str, more: &[(&str, &str)]) -> Reply {
        self.trade(Some(&self.api), "api", token, more).await
    }

    async fn refused(&self, reply: &Reply, error: &str, rule: &str) {
        self.world.assert_refused(reply, 400, error, rule).await;
    }
}

fn traded(reply: &Reply) -> Value {
    assert_eq!(reply.status, StatusCode::OK, "{reply:?}");
    claims(reply.json()["access_token"].as_str().unwrap())
}

// covers R8693-2
#[tokio::test]
async fn a_token_of_a_trusted_issuer_becomes_a_bound_one_of_ours_and_never_more_than_it_was() {
    let cast = cast().await;
    let reply = cast.api(&cast.foreign(json!({})), &[("resource", API)]).await;
    let body = reply.json();
    assert_eq!(
        (
            &body["issued_token_type"],
            &body["token_type"],
            &body["expires_in"],
            &body["scope"]
        ),
        (
            &json!(ACCESS_TOKEN),
            &json!("Bearer"),
            &json!(120),
            &json!("read write")
        )
    );
    assert!(body.get("refresh_token").is_none());
    assert_eq!(reply.header("cache-control"), Some("no-store"));
    let token = traded(&reply);
    for (name, value) in [
        ("iss", json!(ISSUER)),
        ("sub", json!("idp:alice")),
        ("client_id", json!("api")),
        ("aud", json!(API)),
        ("exp", json!(NOW + 120)),
        ("scope", json!("read write")),
        // Although this client's own tokens are not.
        ("cnf", json!({"x5t#S256": cast.api.thumbprint()})),
    ] {
        assert_eq!(token[name], value, "{name}");
    }
    assert!(token.get("act").is_none());
    let narrower = cast
        .api(&cast.foreign(json!({})), &[("audience", OTHER_API), ("scope", "read")])
        .await;
    assert_eq!(
        (&traded(&narrower)["aud"], &traded(&narrower)["scope"]),
        (&json!(OTHER_API), &json!("read"))
    );
    // Never longer than any token lives.
    let long = cast
        .api(&cast.foreign(json!({"exp": NOW + 100_000})), &[("resource", API)])
        .await;
    assert_eq!(traded(&long)["exp"], NOW + 300);

    let foreign = cast.foreign(json!({}));
    for (more, error) in [
        (vec![("resource", API), ("scope", "admin")], "invalid_scope"),
        (vec![("resource", API), ("scope", "keybound:admin")], "invalid_scope"),
        (vec![("resource", OPAQUE_API)], "invalid_target"),
        (vec![("resource", "https://as.example/admin")], "invalid_target"),
        (vec![("resource", API), ("resource", OTHER_API)], "invalid_target"),
        (vec![("audience", "api")], "invalid_target"),
        (vec![], "invalid_target"),
    ] {
        cast.refused(&cast.api(&foreign, &more).await, error, TRADE).await;
    }
    let metadata = cast
        .world
        .peer(Side::Public, None)
        .get("/.well-known/oauth-authorization-server")
        .await;
    let grants = metadata.json()["grant_types_supported"].clone();
    assert!(
        grants
            .as_array()
            .unwrap()
            .contains(&json!(GrantType::TokenExchange.name())),
        "{grants}"
    );
}

// covers R8693-1
#[tokio::test]
async fn what_is_no_good_token_of_a_trusted_issuer_is_an_invalid_request() {
    let cast = cast().await;
    let resource = ("resource", API);
    let mut altered = cast.foreign(json!({}));
    altered.pop();
    for (name, token) in [
        ("another issuer", cast.foreign(json!({"iss": "https://evil.example"}))),
        ("expired", cast.foreign(json!({"exp": NOW - 31}))),
        ("ends now", cast.foreign(json!({"exp": NOW}))),
        ("for somebody else", cast.foreign(json!({"aud": API}))),
        ("not yet", cast.foreign(json!({"nbf": NOW + 61}))),
        ("without subject", cast.foreign(json!({"sub": null}))),
        ("an act that is none", cast.foreign(json!({"act": "service"}))),
        ("altered", altered),
        ("garbage", "garbage".to_owned()),
        ("a client of ours", cast.foreign(json!({"sub": "taken"}))),
    ] {
        let reply = cast.api(&token, &[resource]).await;
        assert_eq!(reply.json()["error"], "invalid_request", "{name}: {reply:?}");
        cast.refused(&reply, "invalid_request", TRADED).await;
    }
    let parameters = "every parameter of the grant sent, and well-formed";
    let foreign = cast.foreign(json!({}));
    for more in [
        vec![("subject_token", "")],
        vec![("subject_token_type", "")],
        vec![("actor_token", &*foreign)],
        vec![("actor_token_type", ACCESS_TOKEN)],
    ] {
        cast.refused(&cast.api(&foreign, &more).await, "invalid_request", parameters)
            .await;
    }
    let id_token = "urn:ietf:params:oauth:token-type:id_token";
    for more in [
        vec![resource, ("subject_token_type", id_token)],
        vec![resource, ("requested_token_type", id_token)],
        vec![resource, ("actor_token", &*foreign), ("actor_token_type", id_token)],
    ] {
        cast.refused(&cast.api(&foreign, &more).await, "invalid_request", TRADED)
            .await;
    }
}

#[tokio::test]
async fn only_the_clients_that_an_operator_named_trade_and_only_with_a_certificate() {
    let cast = cast().await;
    let foreign = cast.foreign(json!({}));
    let resource = [("resource", API)];
    let reply = cast.trade(Some(&cast.other), "other", &foreign, &resource).await;
    cast.refused(&reply, "unauthorized_client", TRADED).await;
    let reply = cast.trade(Some(&cast.api), "plain", &foreign, &resource).await;
    cast.refused(&reply, "unauthorized_client", "grant type registered")
        .await;
    assert_eq!(
        cast.trade(None, "api", &foreign, &resource).await.json()["error"],
        "invalid_client"
    );
}

// covers R8693-4
#[tokio::test]
async fn a_bound_token_is_traded_by_the_holder_of_its_certificate_alone() {
    let cast = cast().await;
    let resource = [("resource", API)];
    let bound_to = |leaf: &Leaf| cast.foreign(json!({"cnf": {"x5t#S256": leaf.thumbprint()}}));
    assert_eq!(
        traded(&cast.api(&bound_to(&cast.api), &resource).await)["sub"],
        "idp:alice"
    );
    let reply = cast.api(&bound_to(&cast.other), &resource).await;
    cast.refused(&reply, "invalid_request", TRADED).await;
    let unknown = cast.foreign(json!({"cnf": {"kid": "x"}}));
    cast.refused(&cast.api(&unknown, &resource).await, "invalid_request", TRADED)
        .await;

    // Our own, and those of an actor.
    let stolen = cast.world.access_token(&cast.other, "other", &[]).await;
    cast.refused(&cast.api(&stolen, &[]).await, "invalid_request", TRADED)
        .await;
    let actor = [
        ("resource", API),
        ("actor_token", &*stolen),
        ("actor_token_type", ACCESS_TOKEN),
    ];
    cast.refused(
        &cast.api(&cast.foreign(json!({})), &actor).await,
        "invalid_request",
        TRADED,
    )
    .await;
}

// covers R8693-2, R8693-4
#[tokio::test]
async fn a_token_of_ours_is_traded_while_it_counts() {
    let cast = cast().await;
    for resource in [API, OPAQUE_API] {
        let own = cast
            .world
            .access_token(&cast.other, "unbound", &[("resource", resource), ("scope", "read")])
            .await;
        cast.world.clock.advance(100);
        let token = traded(&cast.api(&own, &[]).await);
        assert_eq!(
            (&token["sub"], &token["aud"], &token["scope"]),
            (&json!("unbound"), &json!(OTHER_API), &json!("read"))
        );
        assert_eq!(
            token["exp"].as_i64().unwrap() - token["iat"].as_i64().unwrap(),
            200,
            "what was left of it"
        );
        let reply = cast.api(&own, &[("resource", API)]).await;
        cast.refused(&reply, "invalid_target", TRADE).await;

        let entry = AuditEntry::new(keybound_protocol::time::Timestamp::from_unix_secs(NOW), Actor::Server);
        let revocation = Revocation {
            subject: RevocationSubject::Client("unbound".parse().unwrap()),
            issued_before: Some(keybound_protocol::time::Timestamp::from_unix_secs(
                cast.world.clock.now(),
            )),
            until: keybound_protocol::time::Timestamp::from_unix_secs(NOW + 100_000),
        };
        cast.world.store.revocations.revoke(revocation, entry).await.unwrap();
        cast.refused(&cast.api(&own, &[]).await, "invalid_request", TRADED)
            .await;
    }
}

// covers R8693-1, R8693-3
#[tokio::test]
async fn who_acts_for_whom_stands_in_the_token() {
    let cast = cast().await;
    let service = cast.foreign(json!({"sub": "service", "exp": NOW + 60}));
    let with_actor = [
        ("resource", API),
        ("actor_token", &*service),
        ("actor_token_type", ACCESS_TOKEN),
    ];
    let token = traded(&cast.api(&cast.foreign(json!({})), &with_actor).await);
    assert_eq!(
        (&token["sub"], &token["act"]),
        (&json!("idp:alice"), &json!({"sub": "idp:service"}))
    );
    assert_eq!(token["exp"], NOW + 60);
    let acted = cast.foreign(json!({"act": {"sub": "first"}}));
    let token = traded(&cast.api(&acted, &with_actor).await);
    assert_eq!(token["act"], json!({"sub": "idp:service", "act": {"sub": "idp:first"}}));
    assert_eq!(
        traded(&cast.api(&acted, &[("resource", API)]).await)["act"],
        json!({"sub": "idp:first"})
    );
    // Nobody elsewhere has acted as somebody here, nor may act as our client without being it.
    for refused in [
        json!({"act": {"sub": "taken"}}),
        json!({"act": {"sub": "first", "act": {"sub": "taken"}}}),
        json!({"act": {"client_id": "first"}}),
        json!({"may_act": {"sub": "api"}}),
    ] {
        let reply = cast.api(&cast.foreign(refused), &[("resource", API)]).await;
        cast.refused(&reply, "invalid_request", TRADED).await;
    }
    let named = cast.foreign(json!({"may_act": {"client_id": "api"}}));
    assert_eq!(cast.api(&named, &[("resource", API)]).await.status, StatusCode::OK);

    let only_service = cast.foreign(json!({"may_act": {"sub": "service"}}));
    assert_eq!(cast.api(&only_service, &with_actor).await.status, StatusCode::OK);
    for (token, more) in [
        (&only_service, &with_actor[..1]),
        (&cast.foreign(json!({"may_act": {"sub": "another"}})), &with_actor[..]),
    ] {
        cast.refused(&cast.api(token, more).await, "invalid_request", TRADED)
            .await;
    }
}
