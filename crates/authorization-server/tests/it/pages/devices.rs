//! The page where a device is connected.

use http::Method;
use serde_json::json;

use super::assert_error_page;
use crate::browser::{Browser, add_user, form_token, location, text};
use crate::world::{Side, World};

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
            "<bdi>Living room</bdi> asks for access",
            "It runs on another device.",
            code,
            "id=\"device-approve\"",
            "id=\"device-deny\"",
            "a stolen copy opens nothing",
        ] {
            assert!(html.contains(expected), "{expected} in {html}");
        }
        let confirmation = form_token(&shown);
        let form = [
            ("form_token", confirmation.as_str()),
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
        assert_eq!(location(&browser.post("/device", &form).await), "/device");
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

/// What the page of devices says that was done.
fn done(html: &str) -> Option<&str> {
    let (_, after) = html.split_once("role=\"status\">")?;
    let (_, text) = after.split_once("<span>")?;
    text.split('<').next()
}

// covers R8628-3
#[tokio::test]
async fn a_device_is_decided_about_by_the_page_that_showed_its_code_and_no_other() {
    let (world, leaf, begun) = device().await;
    let (browser, asking) = at_device(&world).await;
    let mut shown = Vec::new();
    let form = [("client_id", "tv"), ("scope", "read")];
    let other = world.post(Some(&leaf), "/device_authorization", &form).await.json();
    for asked in [&begun, &other] {
        let code = asked["user_code"].as_str().unwrap();
        let form = [("form_token", asking.as_str()), ("user_code", code), ("action", "find")];
        shown.push((code, form_token(&browser.post("/device", &form).await)));
    }
    let [(code, token), (_, of_other)] = &shown[..] else {
        panic!("{shown:?}");
    };
    // The page that asks for a code, the page of another device, and a code that is none.
    for (token, typed) in [(&asking, *code), (of_other, *code), (token, "BBBB-BBBB"), (token, "")] {
        for decision in ["approve", "deny"] {
            let form = [
                ("form_token", token.as_str()),
                ("user_code", typed),
                ("action", decision),
            ];
            let reply = browser.post("/device", &form).await;
            let rule = "the form has the token of this browser";
            assert_error_page(&world, &reply, 403, "invalid_request", rule).await;
        }
    }
    // However the code is written.
    let typed = code.to_lowercase().replace('-', " ");
    let form = [
        ("form_token", token.as_str()),
        ("user_code", &typed),
        ("action", "approve"),
    ];
    assert_eq!(location(&browser.post("/device", &form).await), "/device");
    assert_eq!(
        done(&text(&browser.get("/device").await)),
        Some("Connected. Your device goes on by itself.")
    );
}

#[tokio::test]
async fn what_was_done_is_told_once_and_only_where_it_was_done() {
    let (world, _, begun) = device().await;
    let (browser, asking) = at_device(&world).await;
    let (other, _) = at_device(&world).await;
    for path in ["/device?done=approved", "/device?done=denied"] {
        assert_eq!(done(&text(&browser.get(path).await)), None, "{path}");
    }
    let code = begun["user_code"].as_str().unwrap();
    let form = [("form_token", asking.as_str()), ("user_code", code), ("action", "find")];
    let token = form_token(&browser.post("/device", &form).await);
    let form = [("form_token", token.as_str()), ("user_code", code), ("action", "deny")];
    assert_eq!(location(&browser.post("/device", &form).await), "/device");
    // The marker in another session is nothing.
    let marker = browser.cookie("__Host-keybound-notice").unwrap();
    let session = other.cookie("__Host-keybound-session").unwrap();
    let cookies = format!("__Host-keybound-session={session}; __Host-keybound-notice={marker}");
    let peer = world.peer(Side::Public, None);
    let reply = peer.send(Method::GET, "/device", &[("cookie", &cookies)], None).await;
    assert_eq!((reply.status.as_u16(), done(&text(&reply))), (200, None));

    assert_eq!(
        done(&text(&browser.get("/device").await)),
        Some("Denied. The device gets nothing.")
    );
    assert_eq!(done(&text(&browser.get("/device").await)), None);
    assert_eq!(browser.cookie("__Host-keybound-notice"), None);
}
