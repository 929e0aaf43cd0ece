//! The page where a device is connected.

use http::Method;
use serde_json::json;

use super::assert_error_page;
use crate::browser::{Browser, add_user, form_token, location, text};
use crate::world::World;

const DEVICE_CODE: &str = "urn:ietf:params:oauth:grant-type:device_code";

/// A server with helena, and a device that shows a code.
async fn device() -> (World, crate::pki::Leaf, serde_json::Value) {
    use crate::pki::{Authority, dns};
    use crate::world::{Plan, tls_client, with};
    let authority = Authority::root("corp");
    let metadata = json!({"grant_types": [DEVICE_CODE], "client_name": "Living room"});
    let world = Plan::new()
        .trusts("corp", &authority)
        .client("tv", with(tls_client("tv.example"), metadata))
        .start()
        .await;
    add_user(&world, "helena").await;
    let leaf = authority.issue(dns("tv.example"));
    let form = [("client_id", "tv"), ("scope", "read")];
    let reply = world.post(Some(&leaf), "/device_authorization", &form).await;
    let begun = reply.json();
    (world, leaf, begun)
}

/// Helena, signed in at the page of devices, and the token of its forms.
async fn at_device(world: &World) -> (Browser, String) {
    let browser = Browser::of(world);
    assert_eq!(
        location(&browser.get("/device?user_code=X").await),
        "/sign-in?to=device&user_code=X"
    );
    let token = form_token(&browser.get("/sign-in?to=device").await);
    let form = [
        ("form_token", token.as_str()),
        ("username", "helena"),
        ("password", crate::browser::PASSWORD),
        ("to", "device"),
    ];
    assert_eq!(location(&browser.post("/sign-in", &form).await), "/device");
    let token = form_token(&browser.get("/device").await);
    (browser, token)
}

// covers R8628-3
#[tokio::test]
async fn a_user_decides_about_a_device_by_its_code() {
    for (decision, expected) in [("approve", None), ("deny", Some("access_denied"))] {
        let (world, leaf, begun) = device().await;
        let code = begun["user_code"].as_str().unwrap();
        let (browser, token) = at_device(&world).await;
        let shown = browser
            .post(
                "/device",
                &[("form_token", &token), ("user_code", code), ("action", "find")],
            )
            .await;
        let html = text(&shown);
        for expected in [
            "Connect <bdi>Living room</bdi> on another device?",
            code,
            "id=\"device-approve\"",
            "id=\"device-deny\"",
            "a stolen copy opens nothing",
        ] {
            assert!(html.contains(expected), "{expected} in {html}");
        }
        let form = [
            ("form_token", token.as_str()),
            ("user_code", code),
            ("action", decision),
        ];
        let evil = [("origin", "https://evil.example"), ("sec-fetch-site", "cross-site")];
        let forged = browser.send(Method::POST, "/device", &form, &evil).await;
        assert_error_page(
            &world,
            &forged,
            403,
            "invalid_request",
            "the form was sent by a page of ours",
        )
        .await;
        assert!(location(&browser.post("/device", &form).await).starts_with("/device?done="));
        let poll = [
            ("client_id", "tv"),
            ("grant_type", DEVICE_CODE),
            ("device_code", begun["device_code"].as_str().unwrap()),
        ];
        let reply = world.post(Some(&leaf), "/token", &poll).await;
        assert_eq!(reply.json()["error"].as_str(), expected, "{reply:?}");
        assert_eq!(reply.json()["access_token"].is_string(), expected.is_none());
    }
}

// covers R8628-2
#[tokio::test]
async fn codes_are_tried_seldom_and_only_by_who_is_signed_in() {
    let (world, _, _) = device().await;
    let (browser, token) = at_device(&world).await;
    let mut statuses = Vec::new();
    for _ in 0..60 {
        let form = [
            ("form_token", token.as_str()),
            ("user_code", "BBBB-BBBB"),
            ("action", "find"),
        ];
        statuses.push(browser.post("/device", &form).await.status.as_u16());
    }
    assert_eq!(statuses[0], 400);
    assert_eq!(statuses.last(), Some(&429));
}
