//! Who is signed in, since when, and until when.

use http::{Method, StatusCode};

use crate::browser::{Browser, form_token, location, parameters, text, world};
use crate::world::{Reply, Side};

#[tokio::test]
async fn signing_in_renews_the_session() {
    let world = world().await;
    let browser = Browser::of(&world);
    let login = browser.begin().await;
    browser.sign_in(&login).await;
    let before = browser.cookie("__Host-keybound-session").unwrap();
    assert_eq!(browser.get("/grants").await.status, 200);
    let login = browser.begin_with(&[("prompt", "login")]).await;
    browser.sign_in(&login).await;
    let after = browser.cookie("__Host-keybound-session").unwrap();
    assert_ne!(before, after);
    let old = format!("__Host-keybound-session={before}");
    let reply = world
        .peer(Side::Public, None)
        .send(Method::GET, "/grants", &[("cookie", &old)], None)
        .await;
    assert_eq!(location(&reply), "/sign-in?to=grants", "the old one is over");
}

#[tokio::test]
async fn a_session_ends_unused_and_ends_at_last() {
    let world = world().await;
    let browser = Browser::of(&world);
    let login = browser.begin().await;
    browser.sign_in(&login).await;
    // Used every 25 minutes it lasts eight hours.
    for _ in 0..19 {
        world.clock.advance(25 * 60);
        assert_eq!(browser.get("/grants").await.status, 200);
    }
    world.clock.advance(5 * 60);
    assert_eq!(location(&browser.get("/grants").await), "/sign-in?to=grants");

    let browser = Browser::of(&world);
    let login = browser.begin().await;
    browser.sign_in(&login).await;
    world.clock.advance(30 * 60);
    assert_eq!(location(&browser.get("/grants").await), "/sign-in?to=grants");
}

#[tokio::test]
async fn clients_decide_when_the_user_is_asked_to_sign_in_and_never_whether_to_consent() {
    let world = world().await;
    let browser = Browser::of(&world);
    let error = |reply: &Reply| {
        parameters(reply)
            .into_iter()
            .find(|(name, _)| name == "error")
            .map(|(_, value)| value)
    };
    let reply = browser.authorize(&[("prompt", "none")]).await;
    assert_eq!(error(&reply).as_deref(), Some("login_required"));
    let login = browser.begin().await;
    assert!(login.ends_with("/login"));
    browser.sign_in(&login).await;
    let reply = browser.authorize(&[("prompt", "none")]).await;
    assert_eq!(error(&reply).as_deref(), Some("consent_required"));
    world.clock.advance(100);
    for (parameter, value, page) in [
        ("prompt", "", "/consent"),
        ("prompt", "consent", "/consent"),
        ("prompt", "login", "/login"),
        ("prompt", "select_account", "/login"),
        ("max_age", "99", "/login"),
        ("max_age", "100", "/consent"),
        ("max_age", "0", "/login"),
    ] {
        let path = browser.begin_with(&[(parameter, value)]).await;
        assert!(path.ends_with(page), "{parameter}={value}: {path}");
    }
}

#[tokio::test]
async fn a_failed_sign_in_never_says_what_was_wrong() {
    let world = world().await;
    let browser = Browser::of(&world);
    let login = browser.begin().await;
    let mut pages = Vec::new();
    for (name, password, rule, fix) in [
        (
            "helena",
            "another password",
            "password of the user",
            "set a new password",
        ),
        (
            "nobody",
            "another password",
            "user known by the name",
            "keybound user list",
        ),
    ] {
        let token = form_token(&browser.get(&login).await);
        let form = [
            ("form_token", token.as_str()),
            ("username", name),
            ("password", password),
        ];
        let reply = browser.post(&login, &form).await;
        assert_eq!(reply.status, StatusCode::BAD_REQUEST);
        let refusal = world.refusal(&reply).await;
        // A password that was typed as a name is not kept; the name of a user is no secret to an operator.
        assert_eq!(refusal.reason.contains(name), name == "helena", "{refusal:?}");
        assert_eq!(refusal.failed_rule().unwrap().rule, rule, "{refusal:?}");
        assert!(refusal.fix.as_deref().unwrap().contains(fix), "{refusal:?}");
        let html = text(&reply);
        assert!(!html.contains(password), "a password is never sent back");
        pages.push(html.replace(name, "NAME"));
    }
    assert_eq!(pages[0], pages[1]);
    assert!(pages[0].contains(keybound_authorization_server::users::REFUSED));
}

#[tokio::test]
async fn signing_out_ends_the_session_and_its_interactions() {
    let world = world().await;
    let browser = Browser::of(&world);
    let consent = browser.to_consent().await;
    let token = form_token(&browser.get("/grants").await);
    assert_eq!(browser.post("/sign-out", &[]).await.status, 403);
    assert_eq!(
        location(&browser.post("/sign-out", &[("form_token", &token)]).await),
        "/sign-out"
    );
    assert!(text(&browser.get("/sign-out").await).contains("id=\"signed-out\""));
    assert_eq!(
        location(&browser.get(&consent).await),
        consent.replace("consent", "login")
    );
}
