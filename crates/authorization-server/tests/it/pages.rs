//! Pages: what a browser may do with them, which forms are taken, and how an interaction ends.

use http::{Method, StatusCode};
use keybound_store::{GrantQuery, RequestUriHash};
use serde_json::json;

use crate::browser::{Browser, add_user, form_token, location, parameters, text, world, world_with};
use crate::rfc9126::CALLBACK;
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
    // The cookie of a finished interaction is gone.
    assert_eq!(browser.cookie("__Host-keybound-interaction-"), None);
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

/// Pushes a good request for `demo` into the store; its `request_uri`.
async fn pushed(world: &World, browser: &Browser, request_uri: &str) {
    use keybound_protocol::authorization_request::AuthorizationRequest;
    use keybound_protocol::client::ClientId;
    use keybound_protocol::time::Timestamp;
    use keybound_store::PushedRequest;
    // The request as an interaction keeps it: what /par stores is the same.
    browser.begin().await;
    let request = AuthorizationRequest::from_json(&stored_request(world)).unwrap();
    let pushed = PushedRequest {
        hash: RequestUriHash::of(request_uri),
        client_id: ClientId::parse("demo").unwrap(),
        request: request.to_json(),
        expires_at: Timestamp::from_unix_secs(world.clock.now() + 60),
    };
    world.store.pushed_requests.push_request(pushed).await.unwrap();
}

fn stored_request(world: &World) -> String {
    let database = rusqlite::Connection::open(world.directory.path().join("keybound.db")).unwrap();
    database
        .query_row("SELECT request FROM interactions LIMIT 1", [], |row| row.get(0))
        .unwrap()
}

// covers FAPI-8, R9126-6
#[tokio::test]
async fn of_two_interactions_for_one_request_uri_the_second_ends_on_the_error_page() {
    let world = world().await;
    let browser = Browser::of(&world);
    let request_uri = "urn:ietf:params:oauth:request_uri:abcdefghijklmnopqrstuvwxyz";
    pushed(&world, &browser, request_uri).await;
    let path = format!("/authorize?client_id=demo&request_uri={request_uri}");
    // Opening the page spends nothing.
    let first = location(&browser.get(&path).await);
    let second = location(&browser.get(&path).await);
    let consent = location(&browser.sign_in(&first).await);
    let second = second.replace("login", "consent");
    let reply = browser.decide(&consent, "approve").await;
    assert!(location(&reply).contains("&code="));
    const UNFINISHED: &str = "neither the interaction nor its request_uri was finished before";
    let reply = browser.get(&second).await;
    assert_error_page(&world, &reply, 400, "invalid_request_uri", UNFINISHED).await;
    const REQUEST_URI: &str = "request_uri pushed by this client, in time, and not used up";
    let reply = browser.get(&path).await;
    assert_error_page(&world, &reply, 400, "invalid_request_uri", REQUEST_URI).await;
    assert_eq!(grants(&world).await, 1);
}

// covers FAPI-8
#[tokio::test]
async fn a_request_uri_opens_pages_for_its_client_until_the_second_it_expires() {
    let world = world().await;
    let browser = Browser::of(&world);
    let request_uri = "urn:ietf:params:oauth:request_uri:abcdefghijklmnopqrstuvwxyz";
    pushed(&world, &browser, request_uri).await;
    const REQUEST_URI: &str = "request_uri pushed by this client, in time, and not used up";
    let unknown = "/authorize?client_id=demo&request_uri=urn:ietf:params:oauth:request_uri:x";
    let foreign = "/authorize?client_id=demo&request_uri=https://client.example/request";
    for path in [unknown, foreign] {
        let reply = browser.get(path).await;
        assert_error_page(&world, &reply, 400, "invalid_request_uri", REQUEST_URI).await;
    }
    let path = format!("/authorize?client_id=demo&request_uri={request_uri}");
    world.clock.advance(59);
    let login = location(&browser.get(&path).await);
    world.clock.advance(1);
    let reply = browser.get(&path).await;
    assert_error_page(&world, &reply, 400, "invalid_request_uri", REQUEST_URI).await;
    // What was opened in time goes on.
    assert_eq!(browser.get(&login).await.status, 200);
}

// covers R6749-6, R9700-1
#[tokio::test]
async fn nobody_is_redirected_to_where_the_client_is_not() {
    let world = world().await;
    let browser = Browser::of(&world);
    for redirect_uri in [
        "https://evil.example/",
        "https://client.example/callback?registered=1&x=y",
        "https://client.example/callback?registered=1#x",
        "https://client.example.evil.example/callback?registered=1",
        "https://client.example@evil.example/callback?registered=1",
        "//evil.example/callback",
        "javascript:alert(1)",
        "https://client.example/callback/../../?registered=1",
    ] {
        let reply = browser.authorize(&[("redirect_uri", redirect_uri)]).await;
        assert_error_page(
            &world,
            &reply,
            400,
            "invalid_request",
            "authorization request acceptable",
        )
        .await;
        assert!(!text(&reply).contains("evil"), "nothing of the request is shown");
    }
    for client_id in ["nobody", ""] {
        let reply = browser
            .get(&format!(
                "/authorize?client_id={client_id}&redirect_uri=https://evil.example/"
            ))
            .await;
        assert_error_page(&world, &reply, 400, "invalid_request", "client known").await;
    }
    // Back from the theme switch only to pages of ours.
    for page in ["https://evil.example/grants", "//evil.example/grants", "/token"] {
        let reply = browser.post("/theme", &[("theme", "dark"), ("page", page)]).await;
        assert_eq!(location(&reply), "/grants");
    }
    let reply = browser.get("/sign-in?to=https://evil.example").await;
    assert!(!text(&reply).contains("evil"));
}

// covers R9700-10
#[tokio::test]
async fn pages_cannot_be_framed_kept_or_read_by_others() {
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
        assert!(header("strict-transport-security").starts_with("max-age="));
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
    for (name, password) in [("helena", "another password"), ("nobody", "another password")] {
        let token = form_token(&browser.get(&login).await);
        let form = [
            ("form_token", token.as_str()),
            ("username", name),
            ("password", password),
        ];
        let reply = browser.post(&login, &form).await;
        assert_eq!(reply.status, StatusCode::BAD_REQUEST);
        let refusal = world.refusal(&reply).await;
        assert!(refusal.reason.contains(name), "{refusal:?}");
        let html = text(&reply);
        assert!(!html.contains(password), "a password is never sent back");
        pages.push(html.replace(name, "NAME"));
    }
    assert_eq!(pages[0], pages[1]);
    assert!(pages[0].contains(keybound_authorization_server::users::REFUSED));
}

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
    assert_eq!(location(&send(&mallory, &theirs).await), "/grants?done=unknown");
    assert_eq!(send(&browser, &theirs).await.status, 403);
    assert!(text(&browser.get("/grants").await).contains(&grant));

    assert_eq!(location(&send(&browser, &token).await), "/grants?done=withdrawn");
    assert!(!text(&browser.get("/grants").await).contains(&grant));
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

// covers TRAP-37
#[tokio::test]
async fn the_mutual_tls_side_has_no_pages() {
    let world = world().await;
    for path in ["/authorize", "/sign-in", "/grants", "/interaction/x/login"] {
        let reply = world.peer(Side::MutualTls, None).get(path).await;
        assert_eq!(reply.status, StatusCode::NOT_FOUND, "{path}");
    }
}

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
