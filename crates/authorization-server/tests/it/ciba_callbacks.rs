//! CIBA Core §10.2: what clients in ping mode are told, where, how often, and by whom it is decided.

use std::time::Duration;

use http::{HeaderMap, Method};
use serde_json::{Value, json};

use crate::approvals::{Cast, cast};
use crate::browser::{Browser, PASSWORD, add_user, form_token, location, text};
use crate::callback::{Callback, Delivery};
use crate::ciba::{TOKEN, asked, hash, pinging, poll_as, refused};
use crate::pki::{dns, self_signed};
use crate::world::{Reply, claims};

/// How long after a failed attempt the next one is made at the latest, in these tests.
const RETRIED: Duration = Duration::from_millis(1_500);
/// Both families of this machine's own addresses.
pub(crate) const OWN: [&str; 2] = ["127.0.0.0/8", "::1/128"];

pub(crate) const NOTIFY: (&str, &str) = ("client_notification_token", TOKEN);

/// A server whose clients `demo` and `other` are pinged at this path.
async fn pinged(callback: &Callback, path: &str) -> Cast {
    cast(pinging(&callback.url(path)), |plan| callback.trusted(plan, &OWN)).await
}

pub(crate) fn field<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).map(|value| value.to_str().unwrap())
}

fn assert_ping(delivery: &Delivery, auth_req_id: &str) {
    assert_eq!((&delivery.method, delivery.path.as_str()), (&Method::POST, "/cb"));
    let authorization = format!("Bearer {TOKEN}");
    assert_eq!(field(&delivery.headers, "authorization"), Some(authorization.as_str()));
    assert_eq!(field(&delivery.headers, "content-type"), Some("application/json"));
    assert_eq!(delivery.body, json!({"auth_req_id": auth_req_id}));
}

/// The access token that a client fetches; nothing but what the user allowed is in it.
async fn fetched(cast: &Cast, auth_req_id: &str) -> Value {
    let reply = poll_as(cast, &cast.demo, "demo", auth_req_id).await;
    assert_eq!(reply.status, 200, "{reply:?}");
    let claims = claims(reply.json()["access_token"].as_str().unwrap());
    assert_eq!(claims["scope"], json!("openid read"));
    assert_eq!(claims["cnf"]["x5t#S256"], json!(cast.demo.thumbprint()));
    claims
}

async fn decide_as_administrator(cast: &Cast, admin: &crate::pki::Leaf, auth_req_id: &str, decision: &str) -> Reply {
    let token = cast
        .world
        .access_token(admin, "admin", &[("scope", "keybound:admin")])
        .await;
    let authorization = format!("Bearer {token}");
    let peer = cast.world.peer(crate::world::Side::MutualTls, Some(admin));
    let body = json!({ "decision": decision }).to_string();
    let path = format!("/admin/v1/backchannel/{auth_req_id}");
    let headers = [("authorization", authorization.as_str())];
    peer.send(Method::POST, &path, &headers, Some(("application/json", body)))
        .await
}

// covers CIBA-5
#[tokio::test]
async fn a_client_is_pinged_once_when_an_administrator_decides_and_then_fetches_its_token() {
    let (callback, admin) = (Callback::start(), self_signed(dns("admin")));
    let cast = cast(pinging(&callback.url("/cb")), |plan| {
        let plan = plan.client("admin", crate::admin::administrator(&admin));
        callback.trusted(plan, &OWN)
    })
    .await;
    let auth_req_id = asked(&cast, &[NOTIFY]).await;
    callback.nothing_within(Duration::from_millis(50)).await;
    refused(&cast, &auth_req_id, "authorization_pending").await;
    let reply = decide_as_administrator(&cast, &admin, &auth_req_id, "approve").await;
    assert_eq!(
        (reply.status.as_u16(), &reply.json()["state"]),
        (200, &json!("approved"))
    );
    assert_ping(&callback.next().await, &auth_req_id);
    let claims = fetched(&cast, &auth_req_id).await;
    assert_eq!(claims["sub"], json!(cast.ada.as_str()));
    refused(&cast, &auth_req_id, "invalid_grant").await;
    // A decision that comes again is none, and tells nobody.
    let again = decide_as_administrator(&cast, &admin, &auth_req_id, "deny").await;
    assert_eq!(again.status, 409);
    // One that is denied is told, too: the client asks, and hears it.
    let denied = asked(&cast, &[NOTIFY]).await;
    assert_eq!(
        decide_as_administrator(&cast, &admin, &denied, "deny").await.status,
        200
    );
    assert_ping(&callback.next().await, &denied);
    refused(&cast, &denied, "access_denied").await;
    callback.nothing_within(RETRIED).await;
}

// covers CIBA-5
#[tokio::test]
async fn a_client_is_pinged_once_when_the_user_decides_on_the_page() {
    let callback = Callback::start();
    let cast = pinged(&callback, "/cb").await;
    add_user(&cast.world, "helena").await;
    let browser = Browser::of(&cast.world);
    let sign_in = form_token(&browser.get("/sign-in").await);
    let form = [
        ("form_token", sign_in.as_str()),
        ("username", "helena"),
        ("password", PASSWORD),
        ("to", "grants"),
    ];
    assert_eq!(location(&browser.post("/sign-in", &form).await), "/grants");
    for (action, done) in [("approve", "Allowed. The"), ("deny", "Denied. The")] {
        let reply = crate::ciba::ask(
            &cast,
            &[
                ("scope", "openid read"),
                ("login_hint", "helena"),
                ("binding_message", "W4SCT"),
                NOTIFY,
            ],
        )
        .await;
        assert_eq!(reply.status, 200, "{reply:?}");
        let auth_req_id = reply.json()["auth_req_id"].as_str().unwrap().to_owned();
        let page = browser.get("/grants").await;
        let html = text(&page);
        assert!(html.contains("W4SCT"), "{html}");
        let (_, request) = html.split_once("name=\"request\" value=\"").unwrap();
        let token = form_token(&page);
        let form = [
            ("form_token", token.as_str()),
            ("request", request.split('"').next().unwrap()),
            ("action", action),
        ];
        assert_eq!(location(&browser.post("/grants", &form).await), "/grants");
        assert!(text(&browser.get("/grants").await).contains(done), "{done}");
        assert_ping(&callback.next().await, &auth_req_id);
        // Sent again, as an impatient browser does: the request is over, and the client is not told again.
        assert_eq!(location(&browser.post("/grants", &form).await), "/grants");
        assert!(text(&browser.get("/grants").await).contains("That request is over."));
        match action {
            "approve" => drop(fetched(&cast, &auth_req_id).await),
            _ => refused(&cast, &auth_req_id, "access_denied").await,
        }
    }
    callback.nothing_within(RETRIED).await;
}

/// Neither CIBA Core §10.2 ("after a successful or failed end-user authentication") nor §12 ("not required to send this error") has a
/// client told of a request that nobody answered: it was told `expires_in`.
#[tokio::test]
async fn nobody_is_pinged_about_a_request_that_expired() {
    let callback = Callback::start();
    let cast = pinged(&callback, "/cb").await;
    let auth_req_id = asked(&cast, &[NOTIFY]).await;
    cast.world.clock.advance(300);
    for is_approved in [true, false] {
        let late = cast.decide(hash(&auth_req_id), &cast.ada, is_approved).await;
        let expired = keybound_authorization_server::approvals::DecisionRefusal::Expired;
        assert_eq!(late.unwrap_err().to_string(), expired.to_string());
    }
    refused(&cast, &auth_req_id, "expired_token").await;
    callback.nothing_within(Duration::from_millis(100)).await;
    // One that is answered in its last second is told.
    let auth_req_id = asked(&cast, &[NOTIFY]).await;
    cast.world.clock.advance(299);
    cast.decide(hash(&auth_req_id), &cast.ada, false).await.unwrap();
    assert_ping(&callback.next().await, &auth_req_id);
}

/// Decides a request of a client that is told at this path, and lets `judge` look on.
async fn told_at(path: &str) -> (Callback, Cast, String) {
    let callback = Callback::start();
    let cast = pinged(&callback, path).await;
    let auth_req_id = asked(&cast, &[NOTIFY]).await;
    cast.decide(hash(&auth_req_id), &cast.ada, true).await.unwrap();
    let first = callback.next().await;
    assert_eq!((first.path.as_str(), &first.method), (path, &Method::POST));
    (callback, cast, auth_req_id)
}

// covers CIBA-5
#[tokio::test]
async fn a_redirect_is_not_followed_and_a_refusal_not_asked_again() {
    for path in ["/redirecting", "/refusing"] {
        let (callback, cast, auth_req_id) = told_at(path).await;
        callback.nothing_within(RETRIED).await;
        // The client may ask by itself all the same.
        fetched(&cast, &auth_req_id).await;
    }
}

// covers CIBA-5
#[tokio::test]
async fn an_endpoint_that_is_away_for_a_moment_is_told_again_and_then_no_more() {
    let (callback, cast, auth_req_id) = told_at("/recovering").await;
    let second = callback.next().await;
    assert_eq!(second.path, "/recovering");
    assert_eq!(second.body, json!({"auth_req_id": auth_req_id}));
    // The third attempt would come five seconds later.
    callback.nothing_within(Duration::from_secs(6)).await;
    fetched(&cast, &auth_req_id).await;
}

// covers CIBA-5
#[tokio::test]
async fn what_an_endpoint_goes_on_saying_is_not_listened_to() {
    let (callback, cast, auth_req_id) = told_at("/talkative").await;
    callback.nothing_within(RETRIED).await;
    fetched(&cast, &auth_req_id).await;
}

// covers CIBA-5
#[tokio::test]
async fn an_endpoint_that_does_not_answer_holds_up_nobody_else() {
    let callback = Callback::start();
    let cast = cast(pinging(&callback.url("/silent")), |plan| {
        let mut plan = callback.trusted(plan, &OWN);
        plan.settings.limits.notifications_max = 1;
        plan
    })
    .await;
    let first = asked(&cast, &[NOTIFY]).await;
    cast.decide(hash(&first), &cast.ada, true).await.unwrap();
    callback.next().await;
    // The one place is taken: the next client is not told, and nothing else of it is different.
    let second = asked(&cast, &[NOTIFY]).await;
    cast.decide(hash(&second), &cast.ada, true).await.unwrap();
    for auth_req_id in [&first, &second] {
        fetched(&cast, auth_req_id).await;
    }
    let retried = callback.next().await;
    assert_eq!(retried.body, json!({"auth_req_id": first}));
}

// covers CIBA-5
#[tokio::test]
async fn an_endpoint_is_called_where_its_address_is_allowed_and_its_certificate_trusted() {
    let callback = Callback::start();
    let stranger = Callback::start();
    for (trusting, allowed, is_told) in [
        (&callback, &OWN[..], true),
        (&callback, &["10.0.0.0/8"][..], false),
        (&callback, &[][..], false),
        (&stranger, &OWN[..], false),
    ] {
        let metadata = pinging(&callback.url("/cb"));
        let cast = cast(metadata, |plan| trusting.trusted(plan, allowed)).await;
        let auth_req_id = asked(&cast, &[NOTIFY]).await;
        cast.decide(hash(&auth_req_id), &cast.ada, true).await.unwrap();
        match is_told {
            true => assert_ping(&callback.next().await, &auth_req_id),
            false => callback.nothing_within(Duration::from_millis(200)).await,
        }
        fetched(&cast, &auth_req_id).await;
    }
}
