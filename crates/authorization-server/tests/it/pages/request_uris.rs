//! Pages of pushed requests, and where nobody is redirected to.

use keybound_store::RequestUriHash;

use super::{assert_error_page, grants};
use crate::browser::{Browser, location, text, world};
use crate::world::World;

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
    for (path, error) in [(unknown, "invalid_request_uri"), (foreign, "request_uri_not_supported")] {
        let reply = browser.get(path).await;
        assert_error_page(&world, &reply, 400, error, REQUEST_URI).await;
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
