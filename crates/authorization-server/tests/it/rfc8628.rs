//! RFC 8628: devices that show a code.

use std::time::Duration;

use http::Method;
use keybound_authorization_server::Limits;
use keybound_authorization_server::approvals::DecisionRefusal;
use keybound_protocol::time::Timestamp;
use keybound_store::{NewUserSession, SignedIn, UserSessionHash, UserSessionStart};
use serde_json::{Value, json};

use crate::approvals::{Cast, cast, entry};
use crate::pki::Leaf;
use crate::world::{API, OPAQUE_API, Reply, Side, claims};

const DEVICE_CODE: &str = "urn:ietf:params:oauth:grant-type:device_code";
const DECISION: &str = "user said yes";

async fn devices() -> Cast {
    cast(json!({"grant_types": [DEVICE_CODE, "refresh_token"]}), |plan| plan).await
}

async fn begin(cast: &Cast, more: &[(&str, &str)]) -> Reply {
    let form = [&[("client_id", "demo")], more].concat();
    cast.world.post(Some(&cast.demo), "/device_authorization", &form).await
}

async fn begun(cast: &Cast) -> Value {
    let reply = begin(cast, &[("scope", "read")]).await;
    assert_eq!(reply.status, 200, "{reply:?}");
    reply.json()
}

async fn poll_as(cast: &Cast, leaf: &Leaf, client_id: &str, begun: &Value) -> Reply {
    let form = [
        ("client_id", client_id),
        ("grant_type", DEVICE_CODE),
        ("device_code", begun["device_code"].as_str().unwrap()),
    ];
    cast.world.post(Some(leaf), "/token", &form).await
}

async fn poll(cast: &Cast, begun: &Value) -> Reply {
    poll_as(cast, &cast.demo, "demo", begun).await
}

async fn refused(cast: &Cast, begun: &Value, error: &str) {
    let reply = poll(cast, begun).await;
    cast.world.assert_refused(&reply, 400, error, DECISION).await;
}

fn user_code(begun: &Value) -> &str {
    begun["user_code"].as_str().unwrap()
}

// covers R8628-1, TRAP-49, MTLS-1-1
#[tokio::test]
async fn the_device_authenticates_at_both_endpoints() {
    let cast = devices().await;
    for leaf in [Some(&cast.other), None] {
        let form = [("client_id", "demo"), ("scope", "read")];
        let reply = cast.world.post(leaf, "/device_authorization", &form).await;
        assert_eq!(
            (reply.status.as_u16(), &reply.json()["error"]),
            (400, &json!("invalid_client"))
        );
    }
    let begun = begun(&cast).await;
    let reply = poll_as(&cast, &cast.other, "demo", &begun).await;
    assert_eq!(
        (reply.status.as_u16(), &reply.json()["error"]),
        (400, &json!("invalid_client"))
    );
    // Another client's code is unknown, and the attempt does not count as having asked.
    let reply = poll_as(&cast, &cast.other, "other", &begun).await;
    cast.world.assert_refused(&reply, 400, "invalid_grant", DECISION).await;
    refused(&cast, &begun, "authorization_pending").await;
    let reply = cast
        .world
        .post(Some(&cast.demo), "/device_authorization", &[("client_id", "plain")])
        .await;
    cast.world
        .assert_refused(&reply, 400, "unauthorized_client", "grant type registered")
        .await;
}

// covers R8628-2
#[tokio::test]
async fn the_answer_has_two_codes_and_where_to_type_one() {
    let cast = devices().await;
    let (first, second) = (begun(&cast).await, begun(&cast).await);
    let code = user_code(&first);
    assert_eq!((code.len(), &code[4..5]), (9, "-"));
    assert!(
        code.bytes()
            .all(|octet| octet == b'-' || b"BCDFGHJKLMNPQRSTVWXZ".contains(&octet)),
        "{code}"
    );
    assert_ne!(code, user_code(&second));
    assert!(first["device_code"].as_str().unwrap().len() >= 43);
    assert_ne!(first["device_code"], second["device_code"]);
    assert_eq!((&first["expires_in"], &first["interval"]), (&json!(600), &json!(5)));
    assert_eq!(first["verification_uri"], "https://as.example/device");
    let complete = format!("https://as.example/device?user_code={code}");
    assert_eq!(first["verification_uri_complete"], json!(complete));
    for (more, error) in [
        (("scope", "admin"), "invalid_scope"),
        (("scope", "keybound:admin"), "invalid_scope"),
        (("resource", "https://unknown.example"), "invalid_target"),
        (("resource", "https://as.example/admin"), "invalid_target"),
    ] {
        let reply = begin(&cast, &[more]).await;
        let rule = "authorization request acceptable";
        cast.world.assert_refused(&reply, 400, error, rule).await;
    }
}

// covers R8628-3
#[tokio::test]
async fn a_device_waits_slows_down_and_is_told_when_its_time_is_over() {
    let cast = devices().await;
    let begun = begun(&cast).await;
    refused(&cast, &begun, "authorization_pending").await;
    cast.world.clock.advance(1);
    refused(&cast, &begun, "slow_down").await;
    // Ten seconds for good.
    cast.world.clock.advance(6);
    refused(&cast, &begun, "slow_down").await;
    cast.world.clock.advance(15);
    refused(&cast, &begun, "authorization_pending").await;
    cast.world.clock.advance(600);
    refused(&cast, &begun, "expired_token").await;
    assert!(matches!(
        cast.typed(user_code(&begun), "browser"),
        Err(DecisionRefusal::Expired)
    ));
}

// covers R8628-3
#[tokio::test]
async fn a_user_says_no() {
    let cast = devices().await;
    let begun = begun(&cast).await;
    let hash = cast.typed(user_code(&begun), "browser").unwrap();
    cast.decide(hash, &cast.ada, false).await.unwrap();
    refused(&cast, &begun, "access_denied").await;
    let again = cast.decide(hash, &cast.ada, true).await;
    assert!(matches!(again, Err(DecisionRefusal::AlreadyDecided)), "{again:?}");
    refused(&cast, &begun, "access_denied").await;
}

// covers R8628-1, R9068-3
#[tokio::test]
async fn a_user_says_yes_and_the_device_has_tokens_once() {
    let cast = devices().await;
    let begun = begun(&cast).await;
    refused(&cast, &begun, "authorization_pending").await;
    let typed = user_code(&begun).to_lowercase().replace('-', " ");
    let hash = cast.typed(&typed, "browser").unwrap();
    cast.decide(hash, &cast.ada, true).await.unwrap();
    let reply = poll(&cast, &begun).await;
    assert_eq!(reply.status, 200, "{reply:?}");
    let tokens = reply.json();
    let claims = claims(tokens["access_token"].as_str().unwrap());
    assert_eq!(
        (&claims["sub"], &claims["client_id"]),
        (&json!(cast.ada.as_str()), &json!("demo"))
    );
    assert_eq!((&claims["scope"], &claims["aud"]), (&json!("read"), &json!(API)));
    assert!(claims["cnf"]["x5t#S256"].is_string());
    refused(&cast, &begun, "invalid_grant").await;
    // The refresh token is one of a confidential client.
    let form = [
        ("client_id", "demo"),
        ("grant_type", "refresh_token"),
        ("refresh_token", tokens["refresh_token"].as_str().unwrap()),
    ];
    assert_eq!(cast.world.post(Some(&cast.demo), "/token", &form).await.status, 200);
}

#[tokio::test]
async fn of_twenty_questions_at_once_one_is_answered_with_an_opaque_token() {
    let cast = devices().await;
    let reply = begin(&cast, &[("scope", "read"), ("resource", OPAQUE_API)]).await;
    let begun = reply.json();
    let hash = cast.typed(user_code(&begun), "browser").unwrap();
    cast.decide(hash, &cast.ada, true).await.unwrap();
    let peer = cast.world.peer(crate::world::Side::MutualTls, Some(&cast.demo));
    let form = [
        ("client_id", "demo"),
        ("grant_type", DEVICE_CODE),
        ("device_code", begun["device_code"].as_str().unwrap()),
    ];
    let questions = (0..20).map(|_| peer.post("/token", &form));
    let replies = crate::users::futures_of(questions).await;
    let answered = replies.iter().filter(|reply| reply.status == 200).count();
    assert_eq!(answered, 1);
    assert!(
        replies
            .iter()
            .all(|reply| reply.status == 200 || reply.json()["error"] == "invalid_grant")
    );
}

// covers R8628-2
#[tokio::test]
async fn user_codes_are_guessed_seldom() {
    let limits = Limits {
        user_codes_per_minute: 3,
        ..Limits::default()
    };
    let cast = cast(json!({"grant_types": [DEVICE_CODE]}), |mut plan| {
        plan.settings.limits = limits;
        plan
    })
    .await;
    let begun = begun(&cast).await;
    for guess in ["BBBB-BBBB", "nothing", ""] {
        let found = cast.typed(guess, "browser");
        assert!(matches!(found, Err(DecisionRefusal::Unknown)), "{guess}: {found:?}");
    }
    // Neither with the right code, nor from another session at the same place.
    for session in ["browser", "another"] {
        let found = cast.typed(user_code(&begun), session);
        assert!(matches!(found, Err(DecisionRefusal::TooMany(_))), "{found:?}");
    }
    let elsewhere = std::net::IpAddr::from([198, 51, 100, 1]);
    let found = cast
        .world
        .server
        .find_device_request(user_code(&begun), "another", elsewhere);
    assert!(found.is_ok(), "{found:?}");
    let same_session = cast
        .world
        .server
        .find_device_request(user_code(&begun), "browser", elsewhere);
    assert!(
        matches!(same_session, Err(DecisionRefusal::TooMany(_))),
        "{same_session:?}"
    );
}

#[tokio::test]
async fn a_disabled_user_allows_nothing() {
    let cast = devices().await;
    let begun = begun(&cast).await;
    let hash = cast.typed(user_code(&begun), "browser").unwrap();
    let nobody = keybound_protocol::user::UserSubject::from_random(&[9; 16]);
    let refusal = cast.decide(hash, &nobody, true).await;
    assert!(matches!(refusal, Err(DecisionRefusal::UserBarred)), "{refusal:?}");
    refused(&cast, &begun, "authorization_pending").await;
}

/// A browser whose user is signed in, with the cookie of the session.
pub(crate) struct Browser<'a> {
    cast: &'a Cast,
    cookie: String,
}

impl Browser<'_> {
    pub(crate) async fn of(cast: &Cast) -> Browser<'_> {
        let secret = "a session secret of the tests";
        let now = Timestamp::from_unix_secs(cast.world.clock.now());
        let session = NewUserSession {
            hash: UserSessionHash::of(secret),
            signed_in: SignedIn {
                subject: cast.ada.clone(),
                auth_time: now,
                acr: None,
            },
            expires_at: now.plus(Duration::from_secs(3_600)),
            idle_until: now.plus(Duration::from_secs(3_600)),
        };
        let start = UserSessionStart {
            session,
            instead_of: None,
        };
        let started = cast
            .world
            .store
            .user_sessions
            .start_user_session(start, entry(&cast.world));
        started.await.unwrap();
        Browser {
            cast,
            cookie: format!("__Host-keybound-session={secret}"),
        }
    }

    pub(crate) async fn get(&self, path: &str) -> Reply {
        let peer = self.cast.world.peer(Side::Public, None);
        peer.send(Method::GET, path, &[("cookie", &self.cookie)], None).await
    }

    /// Sends the page's form with its own token; from another site if so.
    async fn post(&self, user_code: &str, action: &str, site: &str) -> Reply {
        let token = crate::browser::form_token(&self.get("/device").await);
        self.post_with(&token, user_code, action, site).await
    }

    /// Sends the form with this token.
    async fn post_with(&self, token: &str, user_code: &str, action: &str, site: &str) -> Reply {
        let form = [("form_token", token), ("user_code", user_code), ("action", action)];
        let form = url::form_urlencoded::Serializer::new(String::new())
            .extend_pairs(form)
            .finish();
        let headers = [("cookie", self.cookie.as_str()), ("sec-fetch-site", site)];
        let peer = self.cast.world.peer(Side::Public, None);
        peer.send(
            Method::POST,
            "/device",
            &headers,
            Some(("application/x-www-form-urlencoded", form)),
        )
        .await
    }
}

// covers R8628-2, R9700-8, R9700-10
#[tokio::test]
async fn a_user_compares_the_code_and_decides_on_a_page_of_its_own() {
    let cast = devices().await;
    let begun = begun(&cast).await;
    let code = user_code(&begun);
    let stranger = cast.world.peer(Side::Public, None);
    let reply = stranger.get(&format!("/device?user_code={code}")).await;
    assert_eq!(reply.status, 303);
    assert_eq!(
        reply.header("location").unwrap(),
        format!("/sign-in?to=device&user_code={code}")
    );
    let browser = Browser::of(&cast).await;
    // A link fills the field and decides nothing.
    let reply = browser.get(&format!("/device?user_code={code}")).await;
    let page = String::from_utf8(reply.body.clone()).unwrap();
    assert!(page.contains("id=\"user-code\"") && page.contains(code) && !page.contains("device-approve"));
    assert!(
        reply
            .header("content-security-policy")
            .unwrap()
            .contains("frame-ancestors 'none'")
    );
    for guess in ["BBBB-BBBB", "<script>", ""] {
        let reply = browser.post(guess, "find", "same-origin").await;
        assert_eq!(reply.status, 400, "{reply:?}");
        assert!(!String::from_utf8(reply.body).unwrap().contains("<script>"));
    }
    assert_eq!(browser.post(code, "approve", "cross-site").await.status, 403);
    let reply = browser.post(&code.to_lowercase(), "find", "same-origin").await;
    let page = String::from_utf8(reply.body.clone()).unwrap();
    assert_eq!(reply.status, 200);
    assert!(page.contains(code), "as the device shows it");
    let confirmation = crate::browser::form_token(&reply);
    for id in ["device-approve", "device-deny"] {
        assert!(page.contains(&format!("id=\"{id}\"")), "{id}");
    }
    refused(&cast, &begun, "authorization_pending").await;
    assert_eq!(browser.post(code, "approve", "same-origin").await.status, 403);
    let reply = browser.post_with(&confirmation, code, "approve", "same-origin").await;
    assert_eq!(
        (reply.status.as_u16(), reply.header("location")),
        (303, Some("/device"))
    );
    assert_eq!(poll(&cast, &begun).await.status, 200);
}
