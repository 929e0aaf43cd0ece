//! CIBA Core: users who are asked elsewhere, in poll and ping mode.

use std::time::Duration;

use keybound_authorization_server::approvals::DecisionRefusal;
use keybound_store::ApprovalRequestHash;
use serde_json::{Value, json};

use crate::approvals::{Cast, cast};
use crate::hostile_urls::Canary;
use crate::pki::{Leaf, dns, self_signed};
use crate::rfc7523::signed;
use crate::rfc8628::Browser;
use crate::world::{ISSUER, NOW, Plan, Reply, claims, with};

pub(crate) const CIBA: &str = "urn:openid:params:grant-type:ciba";
pub(crate) const REQUEST: &str = "backchannel authentication request acceptable";
pub(crate) const DECISION: &str = "user said yes";
pub(crate) const TOKEN: &str = "client-notification-token-1815";

pub(crate) fn polling() -> Value {
    json!({"grant_types": [CIBA, "client_credentials"], "backchannel_token_delivery_mode": "poll"})
}

pub(crate) async fn ask_as(cast: &Cast, leaf: Option<&Leaf>, client_id: &str, more: &[(&str, &str)]) -> Reply {
    let form = [&[("client_id", client_id)], more].concat();
    cast.world.post(leaf, "/bc-authorize", &form).await
}

pub(crate) async fn ask(cast: &Cast, more: &[(&str, &str)]) -> Reply {
    ask_as(cast, Some(&cast.demo), "demo", more).await
}

pub(crate) const GOOD: [(&str, &str); 2] = [("scope", "openid read"), ("login_hint", "ada")];

pub(crate) async fn asked(cast: &Cast, more: &[(&str, &str)]) -> String {
    let reply = ask(cast, &[&GOOD, more].concat()).await;
    assert_eq!(reply.status, 200, "{reply:?}");
    reply.json()["auth_req_id"].as_str().unwrap().to_owned()
}

pub(crate) async fn poll_as(cast: &Cast, leaf: &Leaf, client_id: &str, auth_req_id: &str) -> Reply {
    let form = [
        ("client_id", client_id),
        ("grant_type", CIBA),
        ("auth_req_id", auth_req_id),
    ];
    cast.world.post(Some(leaf), "/token", &form).await
}

pub(crate) async fn refused(cast: &Cast, auth_req_id: &str, error: &str) {
    let reply = poll_as(cast, &cast.demo, "demo", auth_req_id).await;
    cast.world.assert_refused(&reply, 400, error, DECISION).await;
}

pub(crate) fn hash(auth_req_id: &str) -> ApprovalRequestHash {
    ApprovalRequestHash::of_auth_req_id(auth_req_id)
}

// covers CIBA-1, FAPI-22, TRAP-49
#[tokio::test]
async fn the_client_authenticates_as_registered() {
    let cast = cast(polling(), |plan| plan).await;
    for leaf in [Some(&cast.other), None] {
        let reply = ask_as(&cast, leaf, "demo", &GOOD).await;
        assert_eq!(
            (reply.status.as_u16(), &reply.json()["error"]),
            (401, &json!("invalid_client"))
        );
        assert!(reply.header("www-authenticate").is_some());
    }
    let reply = ask_as(&cast, Some(&cast.demo), "plain", &GOOD).await;
    cast.world
        .assert_refused(&reply, 400, "unauthorized_client", "grant type registered")
        .await;
    let auth_req_id = asked(&cast, &[]).await;
    let reply = poll_as(&cast, &cast.other, "demo", &auth_req_id).await;
    assert_eq!(
        (reply.status.as_u16(), &reply.json()["error"]),
        (400, &json!("invalid_client"))
    );
}

// covers CIBA-2
#[tokio::test]
async fn openid_and_exactly_one_hint() {
    let cast = cast(polling(), |plan| plan).await;
    let table: [(&[(&str, &str)], &str); 9] = [
        (&[("login_hint", "ada")], "invalid_request"),
        (&[("scope", "read"), ("login_hint", "ada")], "invalid_request"),
        (&[("scope", "openid")], "invalid_request"),
        (
            &[("scope", "openid"), ("login_hint", "ada"), ("id_token_hint", "x")],
            "invalid_request",
        ),
        (
            &[("scope", "openid"), ("login_hint", "ada"), ("login_hint_token", "x")],
            "invalid_request",
        ),
        (
            &[("scope", "openid"), ("login_hint", "ada"), ("requested_expiry", "0")],
            "invalid_request",
        ),
        (
            &[("scope", "openid"), ("login_hint", "ada"), ("requested_expiry", "soon")],
            "invalid_request",
        ),
        (&[("scope", "openid admin"), ("login_hint", "ada")], "invalid_scope"),
        (
            &[
                ("scope", "openid"),
                ("login_hint", "ada"),
                ("binding_message", "\u{1b}[31mred"),
            ],
            "invalid_binding_message",
        ),
    ];
    for (form, error) in table {
        let reply = ask(&cast, form).await;
        cast.world.assert_refused(&reply, 400, error, REQUEST).await;
    }
    let long = "x".repeat(65);
    let reply = ask(&cast, &[&GOOD, &[("binding_message", long.as_str())][..]].concat()).await;
    cast.world
        .assert_refused(&reply, 400, "invalid_binding_message", REQUEST)
        .await;
    for hint in [
        ("login_hint", "nobody"),
        ("login_hint_token", "x"),
        ("id_token_hint", "a.b.c"),
    ] {
        let reply = ask(&cast, &[("scope", "openid"), hint]).await;
        cast.world
            .assert_refused(&reply, 400, "unknown_user_id", "user known by the hint")
            .await;
    }
    // By name, and by `sub`.
    assert_eq!(ask(&cast, &GOOD).await.status, 200);
    let by_subject = [("scope", "openid"), ("login_hint", cast.ada.as_str())];
    assert_eq!(ask(&cast, &by_subject).await.status, 200);
}

// covers CIBA-3
#[tokio::test]
async fn the_answer_names_the_request_and_how_to_wait() {
    let cast = cast(polling(), |plan| plan).await;
    let reply = ask(&cast, &[&GOOD, &[("requested_expiry", "60")][..]].concat()).await;
    let answer = reply.json();
    let auth_req_id = answer["auth_req_id"].as_str().unwrap();
    assert!(auth_req_id.len() >= 43);
    let is_permitted = |octet: u8| octet.is_ascii_alphanumeric() || b"-._".contains(&octet);
    assert!(auth_req_id.bytes().all(is_permitted), "{auth_req_id}");
    assert_eq!((&answer["expires_in"], &answer["interval"]), (&json!(60), &json!(5)));
    assert_eq!(reply.header("cache-control"), Some("no-store"));
    assert_eq!(ask(&cast, &GOOD).await.json()["expires_in"], json!(300));
    let reply = ask(&cast, &[&GOOD, &[("requested_expiry", "999999")][..]].concat()).await;
    assert_eq!(
        reply.json()["expires_in"],
        json!(900),
        "never longer than the server wants"
    );
}

// covers CIBA-4, FAPI-22
#[tokio::test]
async fn a_client_that_polls_hears_what_became_of_its_request() {
    let cast = cast(polling(), |plan| plan).await;
    let auth_req_id = asked(&cast, &[("binding_message", "W4SCT")]).await;
    refused(&cast, "unknown", "invalid_grant").await;
    let reply = poll_as(&cast, &cast.other, "other", &auth_req_id).await;
    cast.world.assert_refused(&reply, 400, "invalid_grant", DECISION).await;
    refused(&cast, &auth_req_id, "authorization_pending").await;
    cast.world.clock.advance(1);
    refused(&cast, &auth_req_id, "slow_down").await;
    // The user sees what the client shows, and nobody else does.
    let waiting = cast.world.server.waiting_requests_of(&cast.ada).await.unwrap();
    assert_eq!(waiting[0].asked.binding_message.as_deref(), Some("W4SCT"));
    assert!(
        cast.world
            .server
            .waiting_requests_of(&cast.grace)
            .await
            .unwrap()
            .is_empty()
    );
    let refusal = cast.decide(hash(&auth_req_id), &cast.grace, true).await;
    assert!(matches!(refusal, Err(DecisionRefusal::Unknown)), "{refusal:?}");
    cast.decide(hash(&auth_req_id), &cast.ada, true).await.unwrap();
    let reply = poll_as(&cast, &cast.demo, "demo", &auth_req_id).await;
    assert_eq!(reply.status, 200, "{reply:?}");
    let claims = claims(reply.json()["access_token"].as_str().unwrap());
    assert_eq!(
        (&claims["sub"], &claims["scope"]),
        (&json!(cast.ada.as_str()), &json!("openid read"))
    );
    assert!(claims["cnf"]["x5t#S256"].is_string());
    refused(&cast, &auth_req_id, "invalid_grant").await;
    let denied = asked(&cast, &[]).await;
    cast.decide(hash(&denied), &cast.ada, false).await.unwrap();
    refused(&cast, &denied, "access_denied").await;
    let expired = asked(&cast, &[]).await;
    cast.world.clock.advance(300);
    refused(&cast, &expired, "expired_token").await;
}

#[tokio::test]
async fn a_user_code_is_compared_where_the_client_registered_it() {
    let with_code = with(polling(), json!({"backchannel_user_code_parameter": true}));
    let cast = cast(with_code, |plan| plan).await;
    let reply = ask(&cast, &GOOD).await;
    cast.world
        .assert_refused(&reply, 400, "missing_user_code", "user's code right")
        .await;
    let reply = ask(&cast, &[&GOOD, &[("user_code", "1815")][..]].concat()).await;
    cast.world
        .assert_refused(&reply, 400, "invalid_user_code", "user's code right")
        .await;
}

fn without_certificate(leaf: &Leaf) -> Value {
    let mut key = leaf.jwk();
    key.as_object_mut().unwrap().remove("x5c");
    key
}

pub(crate) fn request(claims: Value) -> Value {
    with(
        json!({
            "iss": "demo", "aud": ISSUER, "iat": NOW, "nbf": NOW, "exp": NOW + 300, "jti": "1",
            "scope": "openid read", "login_hint": "ada",
        }),
        claims,
    )
}

// covers CIBA-3, FAPI-22
#[tokio::test]
async fn a_signed_request_is_complete_and_alone() {
    let key = self_signed(dns("key"));
    let jwks = json!({"jwks": {"keys": [without_certificate(&key)]},
        "backchannel_authentication_request_signing_alg": "ES256"});
    let cast = cast(with(polling(), jwks), |plan| plan).await;
    let sign = |claims: &Value| signed(&key, &json!({"alg": "ES256"}), claims);
    let reply = ask(&cast, &GOOD).await;
    cast.world.assert_refused(&reply, 400, "invalid_request", REQUEST).await;
    for claim in ["aud", "exp", "iat", "nbf", "jti", "iss"] {
        let mut claims = request(json!({}));
        claims.as_object_mut().unwrap().remove(claim);
        let reply = ask(&cast, &[("request", &sign(&claims))]).await;
        assert_eq!(
            (reply.status.as_u16(), &reply.json()["error"]),
            (400, &json!("invalid_request")),
            "{claim}"
        );
    }
    for (claims, status, error) in [
        (json!({"iss": "other"}), 401, "invalid_client"),
        (json!({"aud": "https://elsewhere.example"}), 400, "invalid_request"),
        (json!({"exp": NOW - 60}), 400, "invalid_request"),
        (json!({"exp": NOW + 7_200}), 400, "invalid_request"),
        (json!({"nbf": NOW + 120}), 400, "invalid_request"),
        (json!({"request": "x"}), 400, "invalid_request"),
    ] {
        let reply = ask(&cast, &[("request", &sign(&request(claims.clone())))]).await;
        assert_eq!(
            (reply.status.as_u16(), &reply.json()["error"]),
            (status, &json!(error)),
            "{claims}"
        );
    }
    let stranger = self_signed(dns("stranger"));
    let forged = signed(&stranger, &json!({"alg": "ES256"}), &request(json!({})));
    let reply = ask(&cast, &[("request", &forged)]).await;
    assert_eq!(reply.json()["error"], json!("invalid_request"));
    let good = sign(&request(json!({})));
    let reply = ask(&cast, &[("request", &good), ("binding_message", "beside")]).await;
    cast.world.assert_refused(&reply, 400, "invalid_request", REQUEST).await;
    assert_eq!(ask(&cast, &[("request", &good)]).await.status, 200);
    // Good once, also under another signature; a minute later as little.
    cast.world.clock.advance(60);
    for replayed in [good, sign(&request(json!({"binding_message": "again"})))] {
        let reply = ask(&cast, &[("request", &replayed)]).await;
        let rule = "signed request not used before";
        let refusal = cast.world.assert_refused(&reply, 400, "invalid_request", rule).await;
        assert!(refusal.reason.contains("used before"), "{}", refusal.reason);
        assert!(refusal.fix.unwrap().contains("jti"));
    }
    let reply = ask(&cast, &[("request", &sign(&request(json!({"jti": ""}))))]).await;
    assert_eq!(reply.json()["error"], json!("invalid_request"));
    let next = sign(&request(json!({"jti": "2"})));
    assert_eq!(ask(&cast, &[("request", &next)]).await.status, 200);
}

pub(crate) fn pinging(endpoint: &str) -> Value {
    with(
        polling(),
        json!({"backchannel_token_delivery_mode": "ping", "backchannel_client_notification_endpoint": endpoint}),
    )
}

// covers CIBA-5
#[tokio::test]
async fn no_callback_goes_to_a_special_use_address_however_it_is_spelled() {
    let four = Canary::start("0.0.0.0:0").await;
    let six = Canary::start("[::1]:0").await;
    for (host, port) in [
        ("127.0.0.1", four.port),
        ("localhost", four.port),
        ("localhost", six.port),
        ("[::1]", six.port),
        ("[::]", six.port),
        ("[::ffff:127.0.0.1]", four.port),
        ("2130706433", four.port),
        ("0x7f.1", four.port),
        ("0.0.0.0", four.port),
    ] {
        let cast = cast(pinging(&format!("https://{host}:{port}/cb")), |mut plan| {
            let roots = keybound_tls::Roots::from_pem(plan.server_authority.pem().as_bytes()).unwrap();
            plan.settings.fetch = keybound_tls::GuardedFetch::new(keybound_tls::GuardedFetchSettings::new(roots));
            plan
        })
        .await;
        let auth_req_id = asked(&cast, &[("client_notification_token", TOKEN)]).await;
        cast.decide(hash(&auth_req_id), &cast.ada, true).await.unwrap();
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert_eq!((four.count(), six.count()), (0, 0), "{host}");
        // The client may still ask by itself.
        let reply = poll_as(&cast, &cast.demo, "demo", &auth_req_id).await;
        assert_eq!(reply.status, 200, "{reply:?}");
    }
    four.assert_silent("127.0.0.1").await;
    six.assert_silent("::1").await;
}

// covers CIBA-5
#[tokio::test]
async fn a_client_that_is_notified_says_with_what_and_where() {
    let cast = cast(pinging("https://client.example/cb"), |plan| plan).await;
    for more in [
        &[][..],
        &[("client_notification_token", "short")],
        &[("client_notification_token", "a token with spaces in it")],
    ] {
        let reply = ask(&cast, &[&GOOD, more].concat()).await;
        cast.world.assert_refused(&reply, 400, "invalid_request", REQUEST).await;
    }
    assert_eq!(
        ask(&cast, &[&GOOD, &[("client_notification_token", TOKEN)][..]].concat())
            .await
            .status,
        200
    );
}

#[tokio::test]
async fn an_administrator_decides_for_the_user_and_withdraws_what_was_allowed() {
    let admin = self_signed(dns("admin"));
    let metadata = crate::admin::administrator(&admin);
    let cast = cast(polling(), |plan| plan.client("admin", metadata)).await;
    let token = cast
        .world
        .access_token(&admin, "admin", &[("scope", "keybound:admin")])
        .await;
    let authorization = format!("Bearer {token}");
    let peer = cast.world.peer(crate::world::Side::MutualTls, Some(&admin));
    let call = async |method: http::Method, path: &str, body: Option<Value>| {
        let body = body.map(|body| ("application/json", body.to_string()));
        let headers = [("authorization", authorization.as_str())];
        peer.send(method, &format!("/admin/v1{path}"), &headers, body).await
    };
    let auth_req_id = asked(&cast, &[("binding_message", "W4SCT")]).await;
    let path = format!("/backchannel/{auth_req_id}");
    for (path, body, status) in [
        ("/backchannel/unknown", json!({"decision": "approve"}), 404),
        (path.as_str(), json!({"decision": "perhaps"}), 400),
        (path.as_str(), json!({}), 400),
    ] {
        assert_eq!(call(http::Method::POST, path, Some(body)).await.status, status);
    }
    let shown = call(http::Method::GET, &path, None).await.json();
    assert_eq!((&shown["state"], &shown["user"]), (&json!("pending"), &json!("ada")));
    assert_eq!(shown["binding_message"], json!("W4SCT"));
    let decision = json!({"decision": "approve"});
    let reply = call(http::Method::POST, &path, Some(decision.clone())).await;
    assert_eq!(
        (reply.status.as_u16(), &reply.json()["state"]),
        (200, &json!("approved"))
    );
    assert_eq!(call(http::Method::POST, &path, Some(decision)).await.status, 409);
    assert_eq!(poll_as(&cast, &cast.demo, "demo", &auth_req_id).await.status, 200);

    let listed = call(http::Method::GET, "/grants?user=ada", None).await.json();
    let grant = &listed["grants"][0];
    assert_eq!(
        (&grant["client_id"], &grant["state"]),
        (&json!("demo"), &json!("active"))
    );
    assert_eq!(
        call(http::Method::GET, "/grants?user=grace", None).await.json()["grants"],
        json!([])
    );
    let path = format!("/grants/{}", grant["grant_id"].as_str().unwrap());
    assert_eq!(call(http::Method::DELETE, &path, None).await.status, 204);
    assert_eq!(call(http::Method::DELETE, &path, None).await.status, 410);
    assert_eq!(
        call(http::Method::GET, &path, None).await.json()["state"],
        json!("ended")
    );
    assert_eq!(call(http::Method::DELETE, "/grants/unknown", None).await.status, 404);
}

#[tokio::test]
async fn a_request_whose_client_is_gone_is_not_shown_and_hides_nothing_else() {
    let cast = cast(polling(), |plan| plan).await;
    asked(&cast, &[("binding_message", "W4SCT")]).await;
    let browser = Browser::of(&cast).await;
    let page = async || {
        let reply = browser.get("/grants").await;
        assert_eq!(reply.status, 200, "{reply:?}");
        String::from_utf8(reply.body.to_vec()).unwrap()
    };
    assert!(page().await.contains("W4SCT"));
    cast.world.server.reload(Plan::new().settings).await.unwrap();
    assert!(!page().await.contains("W4SCT"));
}
