//! What the page of consent says.

use serde_json::json;

use crate::browser::{Browser, location, text, world, world_with};

#[tokio::test]
async fn a_hostile_name_is_text_and_stays_in_its_place() {
    let hostile = "</title><script>alert(1)</script>\u{ad}\u{200b}\"><b>Aurora\u{200f} bank &amp; co";
    let world = world_with(json!({"client_name": hostile})).await;
    let browser = Browser::of(&world);
    let login = browser.begin().await;
    let consent = location(&browser.sign_in(&login).await);
    for path in [login, consent] {
        let html = text(&browser.get(&path).await);
        assert!(!html.contains("<script"), "{html}");
        assert!(!html.contains("<b>"), "{html}");
        assert!(!html.contains(['\u{ad}', '\u{200b}', '\u{200f}']), "{html}");
        assert!(html.contains("<bdi>&#60;/title&#62;"), "{html}");
    }
}

#[tokio::test]
async fn consent_says_who_asks_for_what_where_one_goes_and_whether_it_is_bound() {
    let world = world().await;
    let browser = Browser::of(&world);
    let html = text(&browser.get(&browser.to_consent().await).await);
    for expected in [
        "<bdi>Contas Claras</bdi> asks for access to your Aurora account",
        "<bdi>Helena Prado</bdi>",
        "<bdi class=\"mono\">demo</bdi>",
        "id=\"redirect-host\">client.example</bdi>",
        "<h2>read</h2>",
        "Only <bdi>Contas Claras</bdi> can use this access:</strong> a stolen copy opens nothing.",
        "id=\"consent-deny\"",
        "id=\"consent-approve\"",
    ] {
        assert!(html.contains(expected), "{expected} in {html}");
    }
    let unbound = world_with(json!({"tls_client_certificate_bound_access_tokens": false})).await;
    let browser = Browser::of(&unbound);
    let html = text(&browser.get(&browser.to_consent().await).await);
    assert!(html.contains("This access is not tied to <bdi>demo</bdi>."), "{html}");
    assert!(!html.contains("a stolen copy opens nothing"));
}
