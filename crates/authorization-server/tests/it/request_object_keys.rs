//! The keys of a request object at a client's `jwks_uri`: fetched for what they could make good, and for nothing else.

use keybound_protocol::base64url;
use serde_json::{Value, json};

use crate::browser::{Browser, location, text};
use crate::ciba::CIBA;
use crate::hostile_urls::Canary;
use crate::pki::{Authority, Leaf, dns, self_signed};
use crate::rfc7523::signed;
use crate::rfc8705_2_2::Publisher;
use crate::rfc9126::{code_client, good};
use crate::world::{ISSUER, NOW, Plan, Reply, World, tls_client, with};

const REQUEST_OBJECT: &str = "request object made by the client for this server, now";

/// A client of certificates that asks users by the browser and elsewhere, and whose keys lie at `uri`.
fn client(uri: &str) -> Value {
    with(
        code_client(tls_client("demo.example")),
        json!({
            "jwks_uri": uri,
            "grant_types": ["authorization_code", CIBA],
            "backchannel_token_delivery_mode": "poll",
            "scope": "openid read",
        }),
    )
}

async fn world(plan: Plan, uri: &str) -> (World, Leaf) {
    let authority = Authority::root("corp");
    let world = plan
        .trusts("corp", &authority)
        .client("demo", client(uri))
        .start()
        .await;
    (world, authority.issue(dns("demo.example")))
}

/// What can be good: the claims of an authorization request and of a backchannel authentication request in one.
fn claims() -> Value {
    let mut claims = json!({
        "iss": "demo", "client_id": "demo", "aud": ISSUER, "exp": NOW + 60, "nbf": NOW, "iat": NOW, "jti": "one",
    });
    for (name, value) in good() {
        claims[name] = json!(value);
    }
    claims["scope"] = json!("openid read");
    claims["login_hint"] = json!("nobody");
    claims
}

fn header() -> Value {
    json!({"alg": "ES256", "typ": "oauth-authz-req+jwt"})
}

/// What no key could make good, and a part of the reason.
fn garbage(key: &Leaf) -> Vec<(String, &'static str)> {
    let good = signed(key, &header(), &claims());
    let (head, signature) = good.rsplit_once('.').unwrap();
    let (head, _) = head.split_once('.').unwrap();
    let of = |changes: Value| signed(key, &with(header(), changes), &claims());
    vec![
        ("garbage".to_owned(), "parts instead of"),
        (format!("{good}.x.y"), "parts instead of"),
        (format!("!{good}"), "not base64url"),
        (format!("{}{}", "A".repeat(17_000), good), "longer than"),
        (
            format!("{head}.{}.{signature}", base64url::encode(b"no json")),
            "not a JSON object",
        ),
        (of(json!({"alg": "none"})), "algorithm \"none\""),
        (of(json!({"alg": "HS256"})), "algorithm \"HS256\""),
        (of(json!({"typ": "at+jwt"})), "type \"at+jwt\""),
        (of(json!({"crit": ["b64"]})), "`crit`"),
    ]
}

/// Sends a request object to each endpoint that takes one.
async fn everywhere(world: &World, leaf: &Leaf, object: &str) -> [Reply; 3] {
    let query: String = url::form_urlencoded::Serializer::new(String::new())
        .extend_pairs([("client_id", "demo"), ("request", object)])
        .finish();
    let form = [("client_id", "demo"), ("request", object)];
    [
        Browser::of(world).get(&format!("/authorize?{query}")).await,
        world.post(Some(leaf), "/par", &form).await,
        world.post(Some(leaf), "/bc-authorize", &form).await,
    ]
}

async fn assert_refused(world: &World, replies: [Reply; 3], reason: &str) {
    let [page, pushed, backchannel] = replies;
    assert_eq!(page.status, 400, "{page:?}");
    assert!(
        text(&page).contains("id=\"error-code\">invalid_request_object<"),
        "{page:?}"
    );
    let refusal = world.refusal(&page).await;
    assert_eq!(
        refusal.failed_rule().map(|rule| rule.rule.as_ref()),
        Some(REQUEST_OBJECT)
    );
    assert!(refusal.reason.contains(reason), "{reason}: {}", refusal.reason);
    for (reply, error) in [(pushed, "invalid_request_object"), (backchannel, "invalid_request")] {
        let refusal = world.assert_refused(&reply, 400, error, REQUEST_OBJECT).await;
        assert!(refusal.reason.contains(reason), "{reason}: {}", refusal.reason);
    }
}

// covers TRAP-42, R9101-2
#[tokio::test]
async fn garbage_makes_no_connection_to_jwks_uri_and_a_well_formed_request_object_one() {
    let key = self_signed(dns("key"));
    let canary = Canary::start("127.0.0.1:0").await;
    let mut plan = Plan::new();
    plan.settings.limits.key_set_fetches_per_second = 100_000;
    let (world, leaf) = world(plan, &format!("https://localhost:{}/keys", canary.port)).await;
    for (object, reason) in garbage(&key) {
        if object.len() > 16 * 1024 {
            // No URI is so long.
            let form = [("client_id", "demo"), ("request", object.as_str())];
            let reply = world.post(Some(&leaf), "/par", &form).await;
            let refusal = world
                .assert_refused(&reply, 400, "invalid_request_object", REQUEST_OBJECT)
                .await;
            assert!(refusal.reason.contains(reason), "{}", refusal.reason);
        } else {
            let replies = everywhere(&world, &leaf, &object).await;
            assert_refused(&world, replies, reason).await;
        }
        assert_eq!(canary.count(), 0, "{reason}");
    }
    let replies = everywhere(&world, &leaf, &signed(&key, &header(), &claims())).await;
    assert_refused(&world, replies, "keys could not be fetched").await;
    assert_eq!(canary.count(), 1, "once in half a minute, whoever asks");
}

// covers R9101-2
#[tokio::test]
async fn a_well_formed_request_object_is_judged_by_the_keys_that_were_fetched_for_it() {
    let (key, stranger) = (self_signed(dns("key")), self_signed(dns("stranger")));
    let plan = Plan::new();
    let (publisher, uri, _handle) = Publisher::start(&plan.server_authority);
    publisher.publish(&[&key]);
    let (world, leaf) = world(plan, &uri).await;
    for (object, reason) in garbage(&key) {
        let form = [("client_id", "demo"), ("request", object.as_str())];
        let reply = world.post(Some(&leaf), "/par", &form).await;
        let refusal = world
            .assert_refused(&reply, 400, "invalid_request_object", REQUEST_OBJECT)
            .await;
        assert!(refusal.reason.contains(reason), "{}", refusal.reason);
    }
    assert_eq!(publisher.asked(), 0);
    let forged = everywhere(&world, &leaf, &signed(&stranger, &header(), &claims())).await;
    assert_refused(&world, forged, "the signature is wrong").await;
    assert_eq!(publisher.asked(), 1);
    let [page, pushed, backchannel] = everywhere(&world, &leaf, &signed(&key, &header(), &claims())).await;
    assert!(location(&page).starts_with("/interaction/"), "{page:?}");
    assert_eq!(pushed.status, 201, "{pushed:?}");
    // The request was read: its user is nobody's.
    world
        .assert_refused(&backchannel, 400, "unknown_user_id", "user known by the hint")
        .await;
    assert_eq!(publisher.asked(), 1);
}
