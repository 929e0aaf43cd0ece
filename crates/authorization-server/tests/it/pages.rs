//! Pages: what a browser may do with them. What each of them is for is in the modules below.

mod consent;
mod devices;
mod grants;
mod interactions;
mod request_uris;
mod sessions;

use http::{Method, StatusCode};
use keybound_store::GrantQuery;

use crate::browser::{Browser, location, text, world};
use crate::world::{ISSUER, Reply, Side, World};

const OWN: [(&str, &str); 2] = [("origin", ISSUER), ("sec-fetch-site", "same-origin")];

/// Asserts that this is the error page with this code, and that its record names this rule.
async fn assert_error_page(world: &World, reply: &Reply, status: u16, code: &str, rule: &str) {
    assert_eq!(reply.status.as_u16(), status, "{reply:?}");
    assert!(!reply.headers.contains_key("location"));
    let html = text(reply);
    for expected in [
        "id=\"error-page\"",
        "id=\"error-description\"",
        &format!("id=\"error-code\">{code}<"),
    ] {
        assert!(html.contains(expected), "{expected} in {html}");
    }
    let refusal = world.refusal(reply).await;
    assert!(html.contains(refusal.id.as_str()), "the reference that explain takes");
    let failed = refusal.failed_rule().map(|rule| rule.rule.as_ref());
    assert_eq!(failed, Some(rule), "{refusal:#?}");
}

async fn grants(world: &World) -> usize {
    let query = GrantQuery {
        limit: 100,
        ..GrantQuery::default()
    };
    world.store.grants.list_grants(query).await.unwrap().grants.len()
}

// covers R9700-10, R-FAPI-10
#[tokio::test]
async fn pages_cannot_be_framed_kept_read_by_others_or_had_in_clear() {
    let world = world().await;
    let browser = Browser::of(&world);
    let login = browser.begin().await;
    let consent = location(&browser.sign_in(&login).await);
    let pages = [login.as_str(), consent.as_str(), "/sign-in", "/grants", "/authorize"];
    for path in pages {
        let reply = browser.get(path).await;
        let header = |name: &str| reply.headers.get(name).map_or("", |value| value.to_str().unwrap());
        let destination = if path.starts_with("/interaction") {
            " https://client.example"
        } else {
            ""
        };
        let policy = format!(
            "default-src 'none'; style-src 'self'; img-src 'self'; font-src 'self'; form-action 'self'{destination}; \
             base-uri 'none'; frame-ancestors 'none'"
        );
        assert_eq!(header("content-security-policy"), policy, "{path}");
        assert_eq!(header("x-frame-options"), "DENY");
        assert_eq!(header("cache-control"), "no-store");
        assert_eq!(header("referrer-policy"), "no-referrer");
        assert_eq!(header("x-content-type-options"), "nosniff");
        assert_eq!(header("cross-origin-opener-policy"), "same-origin");
        assert_eq!(header("strict-transport-security"), "max-age=31536000");
        assert!(
            !reply
                .headers
                .keys()
                .any(|name| name.as_str().starts_with("access-control"))
        );
        let html = text(&reply);
        for forbidden in ["<script", " style=", "javascript:", " onclick", "http://"] {
            assert!(!html.contains(forbidden), "{forbidden} in {path}");
        }
    }
    // What is answered before there is a page, or instead of it.
    let unserved = browser
        .send(Method::GET, "/interaction/x/upstream/corp", &[], &[])
        .await;
    let media = [("content-type", "application/json")];
    let peer = world.peer(Side::Public, None);
    for reply in [
        unserved,
        browser.send(Method::OPTIONS, "/grants", &[], &[]).await,
        browser.send(Method::PUT, "/device", &[], &[]).await,
        browser.send(Method::POST, "/interaction/x/login", &[], &[]).await,
        peer.send(
            Method::POST,
            "/grants",
            &media,
            Some(("application/json", "{}".to_owned())),
        )
        .await,
        browser.get("/assets/none.css").await,
    ] {
        for (name, expected) in [
            (
                "content-security-policy",
                "default-src 'none'; style-src 'self'; img-src 'self'; font-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
            ),
            ("cache-control", "no-store"),
            ("x-frame-options", "DENY"),
            ("x-content-type-options", "nosniff"),
        ] {
            assert_eq!(reply.header(name), Some(expected), "{reply:?}");
        }
    }
    let preflight = [
        ("origin", "https://client.example"),
        ("access-control-request-method", "GET"),
    ];
    let reply = browser.send(Method::OPTIONS, "/authorize", &[], &preflight).await;
    assert!(
        !reply
            .headers
            .keys()
            .any(|name| name.as_str().starts_with("access-control"))
    );
}

#[tokio::test]
async fn cookies_are_for_this_host_alone_and_out_of_reach() {
    let world = world().await;
    let browser = Browser::of(&world);
    let replies = [browser.authorize(&[]).await, browser.get("/sign-in").await];
    let login = location(&replies[0]);
    let signed_in = browser.sign_in(&login).await;
    let theme = browser.post("/theme", &[("theme", "dark"), ("page", "/grants")]).await;
    let mut seen = 0;
    for reply in replies.iter().chain([&signed_in, &theme]) {
        for cookie in reply.headers.get_all("set-cookie") {
            let cookie = cookie.to_str().unwrap();
            assert!(cookie.starts_with("__Host-keybound-"), "{cookie}");
            assert!(cookie.contains("; Path=/; "), "{cookie}");
            assert!(cookie.ends_with("; Secure; HttpOnly; SameSite=Lax"), "{cookie}");
            assert!(!cookie.to_ascii_lowercase().contains("domain="), "{cookie}");
            seen += 1;
        }
    }
    assert!(seen >= 4, "interaction, browser, session, theme");
}

// covers TRAP-37
#[tokio::test]
async fn the_mutual_tls_side_has_no_pages() {
    let world = world().await;
    for path in ["/authorize", "/sign-in", "/grants", "/interaction/x/login"] {
        let reply = world.peer(Side::MutualTls, None).get(path).await;
        assert_eq!(reply.status, StatusCode::NOT_FOUND, "{path}");
    }
}
