//! How an interaction goes on, and how it ends.

use http::Method;

use super::{OWN, assert_error_page, grants};
use crate::browser::{Browser, form_token, location, parameters, text, world};
use crate::rfc9126::CALLBACK;
use crate::world::{ISSUER, Reply, World};

// covers FAPI-10, R9700-8, R9207-1
#[tokio::test]
async fn a_user_who_consents_takes_a_code_to_the_client_and_nothing_else() {
    let world = world().await;
    let browser = Browser::of(&world);
    let consent = browser.to_consent().await;
    let reply = browser.decide(&consent, "approve").await;
    assert!(
        location(&reply).starts_with(&format!("{CALLBACK}&")),
        "the registered query stays"
    );
    let parameters = parameters(&reply);
    let names: Vec<&str> = parameters.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["registered", "code", "state", "iss"]);
    let value = |name: &str| {
        parameters
            .iter()
            .find(|(found, _)| found == name)
            .map(|(_, value)| value.as_str())
    };
    assert_eq!((value("state"), value("iss")), (Some("a state"), Some(ISSUER)));
    assert_eq!(grants(&world).await, 1);
}

// covers FAPI-10
#[tokio::test]
async fn state_comes_back_unchanged_or_not_at_all() {
    let world = world().await;
    let long = "s ä&=+%".repeat(140);
    for state in ["", long.as_str()] {
        let browser = Browser::of(&world);
        let login = browser.begin_with(&[("state", state)]).await;
        let consent = location(&browser.sign_in(&login).await);
        let parameters = parameters(&browser.decide(&consent, "approve").await);
        let found = parameters
            .iter()
            .find(|(name, _)| name == "state")
            .map(|(_, value)| value.as_str());
        assert_eq!(found, Some(state).filter(|state| !state.is_empty()));
    }
}

// covers FAPI-11
#[tokio::test]
async fn whoever_cancels_or_denies_takes_access_denied_back() {
    let world = world().await;
    let expected = [
        ("registered", "1"),
        ("error", "access_denied"),
        ("state", "a state"),
        ("iss", ISSUER),
    ];
    let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned()));

    let browser = Browser::of(&world);
    let login = browser.begin().await;
    let token = form_token(&browser.get(&login).await);
    let reply = browser
        .post(&login, &[("form_token", &token), ("action", "cancel")])
        .await;
    assert_eq!(parameters(&reply), expected);

    let browser = Browser::of(&world);
    let consent = browser.to_consent().await;
    assert_eq!(parameters(&browser.decide(&consent, "deny").await), expected);
    assert_eq!(grants(&world).await, 0);
}

// covers R6749-16
#[tokio::test]
async fn consent_is_not_taken_from_another_site() {
    let world = world().await;
    let browser = Browser::of(&world);
    let consent = browser.to_consent().await;
    let token = form_token(&browser.get(&consent).await);
    let approval = [("form_token", token.as_str()), ("decision", "approve")];
    const OWN_PAGE: &str = "the form was sent by a page of ours";
    const FORM_TOKEN: &str = "the form has the token of this browser";

    for headers in [
        [("origin", "https://evil.example"), ("sec-fetch-site", "cross-site")],
        [("origin", "null"), ("sec-fetch-site", "cross-site")],
        [("origin", ISSUER), ("sec-fetch-site", "same-site")],
    ] {
        let reply = browser.send(Method::POST, &consent, &approval, &headers).await;
        assert_error_page(&world, &reply, 403, "invalid_request", OWN_PAGE).await;
    }
    let reply = browser
        .send(Method::POST, &consent, &approval, &[("origin", "https://evil.example")])
        .await;
    assert_error_page(&world, &reply, 403, "invalid_request", OWN_PAGE).await;

    // The token of another form of the same browser, of another browser, and none.
    let login = form_token(&browser.get(&consent.replace("consent", "login")).await);
    let other_browser = Browser::of(&world);
    let other_consent = other_browser.to_consent().await;
    let other = form_token(&other_browser.get(&other_consent).await);
    for token in [login.as_str(), other.as_str(), ""] {
        let form = [("form_token", token), ("decision", "approve")];
        let reply = browser.send(Method::POST, &consent, &form, &OWN).await;
        assert_error_page(&world, &reply, 403, "invalid_request", FORM_TOKEN).await;
    }
    assert_eq!(grants(&world).await, 0);

    let reply = browser.send(Method::POST, &consent, &approval, &OWN).await;
    assert!(location(&reply).contains("&code="));
    assert_eq!(grants(&world).await, 1);
}

// covers R6749-16
#[tokio::test]
async fn an_interaction_belongs_to_the_browser_that_began_it() {
    let world = world().await;
    let browser = Browser::of(&world);
    let consent = browser.to_consent().await;
    let stranger = Browser::of(&world);
    // Signed in as the same user, and still without the cookie of this interaction.
    let own_consent = stranger.to_consent().await;
    let reply = stranger.get(&consent).await;
    assert_error_page(
        &world,
        &reply,
        400,
        "invalid_request",
        "the interaction was begun by this browser",
    )
    .await;
    assert_eq!(stranger.get(&own_consent).await.status, 200);
    let unknown = stranger.get("/interaction/AAAAAAAAAAAAAAAAAAAAAA/login").await;
    assert_error_page(
        &world,
        &unknown,
        400,
        "invalid_request",
        "the interaction was begun by this browser",
    )
    .await;
}

#[tokio::test]
async fn several_tabs_do_not_disturb_each_other() {
    let world = world().await;
    let browser = Browser::of(&world);
    let (first, second) = (
        browser.begin_with(&[("state", "1")]).await,
        browser.begin_with(&[("state", "2")]).await,
    );
    for (login, state) in [(second, "2"), (first, "1")] {
        let consent = location(&browser.sign_in(&login).await);
        let parameters = parameters(&browser.decide(&consent, "approve").await);
        assert!(parameters.contains(&("state".to_owned(), state.to_owned())));
    }
}

#[tokio::test]
async fn a_browser_keeps_few_interactions() {
    let world = world().await;
    let browser = Browser::of(&world);
    for _ in 0..30 {
        browser.begin().await;
    }
    assert_eq!(browser.cookie_names().len(), 12);
}

#[tokio::test]
async fn an_interaction_ends_after_ten_minutes() {
    let world = world().await;
    let browser = Browser::of(&world);
    let login = browser.begin().await;
    world.clock.advance(599);
    assert_eq!(browser.get(&login).await.status, 200);
    world.clock.advance(1);
    let reply = browser.get(&login).await;
    assert_error_page(
        &world,
        &reply,
        400,
        "invalid_request",
        "the interaction is younger than its lifetime",
    )
    .await;
}

const UNFINISHED: &str = "neither the interaction nor its request_uri was finished before";

/// Whoever is not answered as the first time is told so.
async fn assert_answered_already(world: &World, reply: &Reply) {
    assert_error_page(world, reply, 400, "invalid_request", UNFINISHED).await;
    assert!(text(reply).contains("You have already answered"), "{reply:?}");
}

#[tokio::test]
async fn allowing_twice_is_answered_twice_and_counts_once() {
    let world = world().await;
    let browser = Browser::of(&world);
    let consent = browser.to_consent().await;
    let token = form_token(&browser.get(&consent).await);
    let approval = [("form_token", token.as_str()), ("decision", "approve")];
    let (first, second) = tokio::join!(browser.post(&consent, &approval), browser.post(&consent, &approval));
    assert!(location(&first).contains("&code="));
    assert_eq!(location(&first), location(&second));
    // And once more, as by going back.
    assert_eq!(location(&browser.post(&consent, &approval).await), location(&first));
    assert_eq!(grants(&world).await, 1);

    // Another decision, another form, the page itself, and somebody without the session.
    let denial = [("form_token", token.as_str()), ("decision", "deny")];
    assert_answered_already(&world, &browser.post(&consent, &denial).await).await;
    let foreign = [("form_token", "AAAA"), ("decision", "approve")];
    let reply = browser.post(&consent, &foreign).await;
    let rule = "the form has the token of this browser";
    assert_error_page(&world, &reply, 403, "invalid_request", rule).await;
    assert_answered_already(&world, &browser.get(&consent).await).await;
    // Until the code is over.
    world.clock.advance(60);
    assert_answered_already(&world, &browser.post(&consent, &approval).await).await;
}

#[tokio::test]
async fn a_code_is_told_again_in_its_session_alone_and_to_its_browser() {
    let world = world().await;
    let browser = Browser::of(&world);
    let consent = browser.to_consent().await;
    let token = form_token(&browser.get(&consent).await);
    let approval = [("form_token", token.as_str()), ("decision", "approve")];
    let first = location(&browser.post(&consent, &approval).await);

    let stranger = Browser::of(&world);
    stranger.to_consent().await;
    let reply = stranger.post(&consent, &approval).await;
    let rule = "the interaction was begun by this browser";
    assert_error_page(&world, &reply, 400, "invalid_request", rule).await;
    assert_eq!(location(&browser.post(&consent, &approval).await), first);

    // The same user in another session of the same browser.
    world.clock.advance(1);
    let login = browser.begin_with(&[("prompt", "login")]).await;
    browser.sign_in(&login).await;
    assert_answered_already(&world, &browser.post(&consent, &approval).await).await;
}

#[tokio::test]
async fn what_was_denied_withdrawn_or_redeemed_is_not_told_again() {
    let world = world().await;
    let browser = Browser::of(&world);
    let consent = browser.to_consent().await;
    let token = form_token(&browser.get(&consent).await);
    let [approval, denial] =
        ["approve", "deny"].map(|decision| [("form_token", token.clone()), ("decision", decision.to_owned())]);
    let send = async |form: &[(&str, String); 2]| {
        let form: Vec<(&str, &str)> = form.iter().map(|(name, value)| (*name, value.as_str())).collect();
        browser.post(&consent, &form).await
    };
    assert!(location(&send(&denial).await).contains("error=access_denied"));
    for form in [&approval, &denial] {
        assert_answered_already(&world, &send(form).await).await;
    }
    assert_eq!(grants(&world).await, 0);

    // Withdrawn, and redeemed: two more of the same session.
    for is_withdrawn in [true, false] {
        let consent = browser.begin().await;
        let token = form_token(&browser.get(&consent).await);
        let approval = [("form_token", token.as_str()), ("decision", "approve")];
        let first = location(&browser.post(&consent, &approval).await);
        assert_eq!(location(&browser.post(&consent, &approval).await), first);
        if is_withdrawn {
            let page = browser.get("/grants").await;
            let html = text(&page);
            let (_, after) = html.split_once("name=\"grant\" value=\"").unwrap();
            let grant = after.split('"').next().unwrap();
            let token = form_token(&page);
            let form = [("form_token", token.as_str()), ("grant", grant), ("action", "withdraw")];
            assert_eq!(location(&browser.post("/grants", &form).await), "/grants");
        } else {
            let database = rusqlite::Connection::open(world.directory.path().join("keybound.db")).unwrap();
            let spent = "UPDATE authorization_codes SET spent_at = ?1";
            database.execute(spent, [world.clock.now()]).unwrap();
        }
        assert_answered_already(&world, &browser.post(&consent, &approval).await).await;
    }
}
