//! CIBA Core §10.3 and §12: tokens that are sent to the client, bound to the certificate of its request (RFC 8705 §3).

use std::time::Duration;

use http::Method;
use keybound_authorization_server::approvals::DecisionRefusal;
use keybound_protocol::client::ClientOrigin;
use keybound_protocol::client_assertion::CLIENT_ASSERTION_TYPE;
use keybound_protocol::client_metadata::{ClientMetadata, ClientMetadataError};
use keybound_protocol::confirmation::CertificateThumbprint;
use keybound_protocol::id_token::token_hash;
use keybound_protocol::profile::Profile;
use keybound_protocol::signature_algorithm::SignatureAlgorithm;
use keybound_protocol::time::Timestamp;
use keybound_store::{GrantQuery, GrantState, Revocation, RevocationSubject};
use serde_json::{Value, json};

use crate::approvals::{Cast, entry};
use crate::callback::{Callback, Delivery};
use crate::ciba::{CIBA, GOOD, TOKEN, ask, ask_as, asked, hash, pinging, poll_as};
use crate::ciba_callbacks::{NOTIFY, OWN, field};
use crate::pki::{Leaf, dns, self_signed};
use crate::rfc7523::{claims as assertion_claims, signed};
use crate::rfc8705_2::private_key_jwt_client;
use crate::world::{API, ISSUER, OTHER_API, Plan, Reply, Side, claims, tls_client, with};

const DELIVERY: &str = "way of delivery registered and served";
const BINDING: &str = "certificate presented to bind the access token to";

fn pushed_to(endpoint: &str) -> Value {
    let push = json!({
        "backchannel_token_delivery_mode": "push", "grant_types": [CIBA, "client_credentials", "refresh_token"],
    });
    with(pinging(endpoint), push)
}

/// As a server that pushes.
fn pushing(callback: &Callback, plan: Plan) -> Plan {
    let mut plan = callback.trusted(plan, &OWN);
    plan.settings.openid_enabled = true;
    plan.settings.push_delivery_enabled = true;
    plan
}

/// A plan whose clients may be registered for push: whether they are served is decided later.
async fn pushing_cast(callback: &Callback, path: &str, change: impl FnOnce(Plan) -> Plan) -> Cast {
    // The metadata is judged when the client is added, so the switch has to be on before.
    crate::approvals::cast_from(pushing(callback, Plan::new()), pushed_to(&callback.url(path)), change).await
}

fn assert_sent(delivery: &Delivery, auth_req_id: &str) {
    assert_eq!(delivery.method, Method::POST);
    let authorization = format!("Bearer {TOKEN}");
    assert_eq!(field(&delivery.headers, "authorization"), Some(authorization.as_str()));
    assert_eq!(field(&delivery.headers, "content-type"), Some("application/json"));
    assert_eq!(delivery.body["auth_req_id"], json!(auth_req_id));
}

async fn introspected(cast: &Cast, token: &str) -> Value {
    let form = [("client_id", "rs"), ("token", token)];
    let leaf = cast.authority.issue(dns("rs.example"));
    cast.world.post(Some(&leaf), "/introspect", &form).await.json()
}

// covers CIBA-4, CIBA-6
#[tokio::test]
async fn tokens_are_sent_once_bound_to_the_certificate_of_the_request() {
    let callback = Callback::start();
    let cast = pushing_cast(&callback, "/cb", Plan::introspecting).await;
    // Not the certificate by which the client is known otherwise, but the one that it shows with this request.
    let renewed = cast.authority.issue(dns("demo.example"));
    assert_ne!(renewed.thumbprint(), cast.demo.thumbprint());
    let reply = ask_as(&cast, Some(&renewed), "demo", &[&GOOD, &[NOTIFY][..]].concat()).await;
    let answer = reply.json();
    assert_eq!(answer.get("interval"), None, "nobody polls");
    let auth_req_id = answer["auth_req_id"].as_str().unwrap();
    // Before and after: whoever is sent the tokens does not ask for them.
    let refused = async || {
        let reply = poll_as(&cast, &cast.demo, "demo", auth_req_id).await;
        cast.world
            .assert_refused(&reply, 400, "unauthorized_client", DELIVERY)
            .await
    };
    refused().await;
    callback.nothing_within(Duration::from_millis(50)).await;
    cast.decide(hash(auth_req_id), &cast.ada, true).await.unwrap();
    let delivery = callback.next().await;
    assert_sent(&delivery, auth_req_id);
    let sent = &delivery.body;
    assert_eq!(
        (&sent["token_type"], &sent["expires_in"], &sent["scope"]),
        (&json!("Bearer"), &json!(300), &json!("openid read"))
    );
    let text = |member: &str| sent[member].as_str().unwrap().to_owned();
    let (access_token, refresh_token, id_token) = (text("access_token"), text("refresh_token"), text("id_token"));
    let access = claims(&access_token);
    assert_eq!(access["cnf"], json!({"x5t#S256": renewed.thumbprint()}));
    assert_eq!(
        (&access["sub"], &access["aud"]),
        (&json!(cast.ada.as_str()), &json!(API))
    );
    let token_hash = |token: &str| json!(token_hash(SignatureAlgorithm::Es256, token));
    let id = claims(&id_token);
    for (claim, expected) in [
        ("iss", json!(ISSUER)),
        ("sub", json!(cast.ada.as_str())),
        ("aud", json!("demo")),
        ("at_hash", token_hash(&access_token)),
        ("urn:openid:params:jwt:claim:auth_req_id", json!(auth_req_id)),
        ("urn:openid:params:jwt:claim:rt_hash", token_hash(&refresh_token)),
    ] {
        assert_eq!(id[claim], expected, "{claim}");
    }
    let said = introspected(&cast, &access_token).await;
    assert_eq!(
        (&said["active"], &said["cnf"]["x5t#S256"]),
        (&json!(true), &json!(renewed.thumbprint()))
    );
    refused().await;
    callback.nothing_within(Duration::from_millis(1_500)).await;
    // The refresh token is the client's, and good for tokens that are bound to what it holds by then.
    let form = [
        ("client_id", "demo"),
        ("grant_type", "refresh_token"),
        ("refresh_token", refresh_token.as_str()),
    ];
    let refreshed = cast.world.post(Some(&cast.demo), "/token", &form).await.json();
    let refreshed = claims(refreshed["access_token"].as_str().unwrap());
    assert_eq!(refreshed["cnf"]["x5t#S256"], json!(cast.demo.thumbprint()));
}

// covers CIBA-6
#[tokio::test]
async fn opaque_tokens_are_sent_bound_too() {
    let callback = Callback::start();
    let cast = pushing_cast(&callback, "/cb", Plan::introspecting).await;
    let more = [NOTIFY, ("resource", crate::world::OPAQUE_API)];
    let auth_req_id = asked(&cast, &more).await;
    cast.decide(hash(&auth_req_id), &cast.ada, true).await.unwrap();
    let delivery = callback.next().await;
    assert_sent(&delivery, &auth_req_id);
    let token = delivery.body["access_token"].as_str().unwrap();
    assert!(!token.contains('.'), "{token}");
    let said = introspected(&cast, token).await;
    assert_eq!(said["cnf"]["x5t#S256"], json!(cast.demo.thumbprint()));
}

// covers CIBA-6
#[tokio::test]
async fn a_denial_is_sent_and_there_are_no_tokens() {
    let callback = Callback::start();
    let cast = pushing_cast(&callback, "/cb", |plan| plan).await;
    let auth_req_id = asked(&cast, &[NOTIFY]).await;
    cast.decide(hash(&auth_req_id), &cast.ada, false).await.unwrap();
    let delivery = callback.next().await;
    assert_sent(&delivery, &auth_req_id);
    assert_eq!(delivery.body["error"], json!("access_denied"));
    assert_eq!(delivery.body.get("access_token"), None);
    let expired = asked(&cast, &[NOTIFY]).await;
    cast.world.clock.advance(300);
    let late = cast.decide(hash(&expired), &cast.ada, true).await;
    assert!(matches!(late, Err(DecisionRefusal::Expired)), "{late:?}");
    callback.nothing_within(Duration::from_millis(100)).await;
}

/// The outcome of a request by a signed assertion, over a connection with this certificate.
async fn by_assertion(cast: &Cast, key: &Leaf, certificate: Option<&Leaf>, token_id: &str) -> Reply {
    let own = json!({"iss": "jwt", "sub": "jwt"});
    let assertion = with(assertion_claims(token_id), own);
    let assertion = signed(key, &json!({"alg": "ES256", "typ": "JWT"}), &assertion);
    let form = [
        &GOOD[..],
        &[
            NOTIFY,
            ("client_id", "jwt"),
            ("client_assertion_type", CLIENT_ASSERTION_TYPE),
            ("client_assertion", &assertion),
        ],
    ]
    .concat();
    cast.world
        .peer(Side::MutualTls, certificate)
        .post("/bc-authorize", &form)
        .await
}

// covers CIBA-6, R7523-4
#[tokio::test]
async fn a_request_without_anything_to_bind_the_tokens_to_is_refused() {
    let (callback, key) = (Callback::start(), self_signed(dns("key")));
    let metadata = |is_bound: bool| {
        let more = with(pushed_to(&callback.url("/cb")), json!({"scope": "openid read"}));
        let bound = json!({"tls_client_certificate_bound_access_tokens": is_bound});
        with(with(private_key_jwt_client(&key), more), bound)
    };
    let cast = pushing_cast(&callback, "/cb", |plan| plan.client("jwt", metadata(true))).await;
    let reply = by_assertion(&cast, &key, None, "1").await;
    cast.world.assert_refused(&reply, 400, "invalid_request", BINDING).await;
    // Nothing was spent: the same assertion is good with a certificate, any that is.
    let any = self_signed(dns("any"));
    let reply = by_assertion(&cast, &key, Some(&any), "1").await;
    assert_eq!(reply.status, 200, "{reply:?}");
    let auth_req_id = reply.json()["auth_req_id"].as_str().unwrap().to_owned();
    cast.decide(hash(&auth_req_id), &cast.ada, true).await.unwrap();
    let sent = callback.next().await.body;
    let token = claims(sent["access_token"].as_str().unwrap());
    assert_eq!(token["cnf"]["x5t#S256"], json!(any.thumbprint()));
    // A client whose tokens are not bound gets them unbound.
    let cast = pushing_cast(&callback, "/cb", |plan| plan.client("jwt", metadata(false))).await;
    let reply = by_assertion(&cast, &key, None, "1").await;
    let auth_req_id = reply.json()["auth_req_id"].as_str().unwrap().to_owned();
    cast.decide(hash(&auth_req_id), &cast.ada, true).await.unwrap();
    let sent = callback.next().await.body;
    assert_eq!(claims(sent["access_token"].as_str().unwrap()).get("cnf"), None);
}

#[tokio::test]
async fn what_is_pushed_is_for_one_resource() {
    let callback = Callback::start();
    let cast = pushing_cast(&callback, "/cb", |plan| plan).await;
    let (one, other) = (("resource", API), ("resource", OTHER_API));
    let reply = ask(&cast, &[&GOOD, &[NOTIFY, one, other][..]].concat()).await;
    cast.world
        .assert_refused(&reply, 400, "invalid_target", "within what the user allowed")
        .await;
    let auth_req_id = asked(&cast, &[NOTIFY, other]).await;
    cast.decide(hash(&auth_req_id), &cast.ada, true).await.unwrap();
    let sent = callback.next().await.body;
    assert_eq!(claims(sent["access_token"].as_str().unwrap())["aud"], json!(OTHER_API));
}

// covers CIBA-6
#[tokio::test]
async fn nothing_is_bound_to_a_certificate_that_was_revoked_since() {
    let callback = Callback::start();
    let cast = pushing_cast(&callback, "/cb", |plan| plan).await;
    let auth_req_id = asked(&cast, &[NOTIFY]).await;
    let revocation = Revocation {
        subject: RevocationSubject::Certificate(CertificateThumbprint::of_certificate(&cast.demo.der)),
        issued_before: None,
        until: Timestamp::from_unix_secs(cast.world.clock.now() + 1_000),
    };
    cast.world
        .store
        .revocations
        .revoke(revocation, entry(&cast.world))
        .await
        .unwrap();
    cast.decide(hash(&auth_req_id), &cast.ada, true).await.unwrap();
    let delivery = callback.next().await;
    assert_sent(&delivery, &auth_req_id);
    assert_eq!(delivery.body["error"], json!("transaction_failed"));
    // Nor does the user see as allowed what nobody has.
    let query = GrantQuery {
        subject: Some(cast.ada.clone()),
        client_id: None,
        after: None,
        limit: 10,
    };
    let grants = cast.world.store.grants.list_grants(query).await.unwrap().grants;
    assert!(grants.len() == 1 && grants[0].state != GrantState::Live, "{grants:?}");
}

#[tokio::test]
async fn nothing_is_decided_that_could_not_be_sent() {
    let callback = Callback::start();
    let cast = pushing_cast(&callback, "/silent", |mut plan| {
        plan.settings.limits.notifications_max = 1;
        plan
    })
    .await;
    let [first, second] = [asked(&cast, &[NOTIFY]).await, asked(&cast, &[NOTIFY]).await];
    cast.decide(hash(&first), &cast.ada, true).await.unwrap();
    callback.next().await;
    let busy = cast.decide(hash(&second), &cast.ada, true).await;
    assert!(matches!(busy, Err(DecisionRefusal::Busy)), "{busy:?}");
    let waiting = cast.world.server.waiting_requests_of(&cast.ada).await.unwrap();
    assert_eq!(
        waiting.iter().map(|waiting| waiting.hash).collect::<Vec<_>>(),
        [hash(&second)]
    );
}

/// A server whose `demo` registered push while that was served, and that was changed since.
async fn since_changed(client: Value, change: impl FnOnce(&mut Plan)) -> Cast {
    let callback = Callback::start();
    let metadata = with(pushed_to(&callback.url("/cb")), client);
    crate::approvals::cast_from(pushing(&callback, Plan::new()), metadata, |mut plan| {
        change(&mut plan);
        plan
    })
    .await
}

async fn modes(cast: &Cast) -> Value {
    let path = "/.well-known/oauth-authorization-server";
    let metadata = cast.world.peer(Side::Public, None).get(path).await.json();
    metadata["backchannel_token_delivery_modes_supported"].clone()
}

// covers CIBA-6, FAPI-22
#[tokio::test]
async fn push_is_served_where_it_is_switched_on_and_never_under_fapi() {
    let without = |change: fn(&mut Plan)| since_changed(json!({}), change);
    for cast in [
        without(|plan| plan.settings.push_delivery_enabled = false).await,
        without(|plan| plan.settings.openid_enabled = false).await,
        without(|plan| plan.settings.profile = Profile::Fapi2).await,
    ] {
        assert_eq!(modes(&cast).await, json!(["poll", "ping"]));
        let reply = ask(&cast, &[&GOOD, &[NOTIFY][..]].concat()).await;
        cast.world
            .assert_refused(&reply, 400, "unauthorized_client", DELIVERY)
            .await;
        let reply = poll_as(&cast, &cast.demo, "demo", "unknown").await;
        cast.world
            .assert_refused(&reply, 400, "unauthorized_client", DELIVERY)
            .await;
    }
    let served = without(|_| ()).await;
    assert_eq!(modes(&served).await, json!(["poll", "ping", "push"]));
    assert_eq!(ask(&served, &[&GOOD, &[NOTIFY][..]].concat()).await.status, 200);
}

// covers CIBA-6
#[test]
fn push_is_registered_where_it_is_switched_on_and_never_under_fapi() {
    let client = |more: Value| {
        let metadata = with(tls_client("demo.example"), pushed_to("https://client.example/cb"));
        with(metadata, more)
    };
    let judged = |change: fn(&mut Plan), metadata: Value| {
        let mut plan = Plan::new();
        plan.settings.openid_enabled = true;
        plan.settings.push_delivery_enabled = true;
        change(&mut plan);
        let policy = plan.settings.registration_policy(ClientOrigin::Administrator);
        ClientMetadata::parse(metadata.to_string().as_bytes(), &policy)
    };
    assert!(judged(|_| (), client(json!({}))).is_ok());
    for change in [
        |plan: &mut Plan| plan.settings.push_delivery_enabled = false,
        |plan: &mut Plan| plan.settings.openid_enabled = false,
    ] {
        let refused = judged(change, client(json!({}))).unwrap_err();
        assert!(matches!(refused, ClientMetadataError::DeliveryMode(_)), "{refused}");
    }
    let refused = judged(|_| (), client(json!({"keybound_profile": "fapi2"}))).unwrap_err();
    assert!(
        matches!(refused, ClientMetadataError::DeliveryModeForbidden(Profile::Fapi2)),
        "{refused}"
    );
    let by_key = json!({"dpop_bound_access_tokens": true, "tls_client_certificate_bound_access_tokens": false});
    let refused = judged(|_| (), client(by_key)).unwrap_err();
    assert!(matches!(refused, ClientMetadataError::PushedAndBoundToKey), "{refused}");
}
