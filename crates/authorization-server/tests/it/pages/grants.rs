//! The page of what a user allowed.

use crate::browser::{Browser, add_user, form_token, location, text, world};

#[tokio::test]
async fn a_user_withdraws_what_is_theirs_and_nothing_else() {
    let world = world().await;
    let browser = Browser::of(&world);
    let consent = browser.to_consent().await;
    browser.decide(&consent, "approve").await;
    let page = browser.get("/grants").await;
    let html = text(&page);
    assert!(html.contains("<bdi>Contas Claras</bdi>"));
    let token = form_token(&page);
    let grant = html
        .split("name=\"grant\" value=\"")
        .nth(1)
        .unwrap()
        .split('"')
        .next()
        .unwrap()
        .to_owned();

    add_user(&world, "mallory").await;
    let mallory = Browser::of(&world);
    let sign_in = form_token(&mallory.get("/sign-in").await);
    let form = [
        ("form_token", sign_in.as_str()),
        ("username", "mallory"),
        ("password", crate::browser::PASSWORD),
        ("to", "grants"),
    ];
    assert_eq!(location(&mallory.post("/sign-in", &form).await), "/grants");
    let theirs = form_token(&mallory.get("/grants").await);
    let withdraw = |token: &str| {
        [
            ("form_token".to_owned(), token.to_owned()),
            ("grant".to_owned(), grant.clone()),
            ("action".to_owned(), "withdraw".to_owned()),
        ]
    };
    let send = async |browser: &Browser, token: &str| {
        let form = withdraw(token);
        let form: Vec<(&str, &str)> = form
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        browser.post("/grants", &form).await
    };
    assert_eq!(location(&send(&mallory, &theirs).await), "/grants");
    assert!(text(&mallory.get("/grants").await).contains("There is no such access of yours."));
    assert_eq!(send(&browser, &theirs).await.status, 403);
    assert!(text(&browser.get("/grants").await).contains(&grant));

    assert_eq!(location(&send(&browser, &token).await), "/grants");
    let html = text(&browser.get("/grants").await);
    assert!(html.contains("Withdrawn. That application") && !html.contains(&grant));
}
