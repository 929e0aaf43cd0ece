//! What a FAPI 2.0 client expects of the resource.

use crate::harness::{World, demo};

const ID: &str = "c770aef3-6784-41f7-8e0e-ff5f97bddb3a";

// covers FAPI-16, R-FAPI-9
#[tokio::test]
async fn the_interaction_id_comes_back_if_it_is_one() {
    let world = World::start(vec![demo("/")]);
    for refused in [
        "",
        "x",
        "c770aef3-6784-41f7-8e0e-ff5f97bddb3",
        "c770aef3+6784-41f7-8e0e-ff5f97bddb3a",
        "<script>",
    ] {
        let answer = world
            .get_with("/", &format!("x-fapi-interaction-id: {refused}\r\n"))
            .await;
        assert_eq!(
            (answer.status, answer.header("x-fapi-interaction-id")),
            (200, None),
            "{refused:?}"
        );
    }
    let twice = format!("x-fapi-interaction-id: {ID}\r\nx-fapi-interaction-id: {ID}\r\n");
    assert_eq!(world.get_with("/", &twice).await.header("x-fapi-interaction-id"), None);
    assert_eq!(world.get("/").await.header("x-fapi-interaction-id"), None);

    let answer = world.get_with("/", &format!("X-FAPI-Interaction-ID: {ID}\r\n")).await;
    assert_eq!(
        (answer.status, answer.header("x-fapi-interaction-id").as_deref()),
        (200, Some(ID))
    );
    // A refusal is a request, too.
    let mut stranger = world.connect_as(None).await;
    let fields = format!("x-fapi-interaction-id: {ID}\r\n");
    let answer = stranger.request("GET", "/", &world.token(), &fields, b"").await;
    assert_eq!(
        (answer.status, answer.header("x-fapi-interaction-id").as_deref()),
        (401, Some(ID))
    );
}

// covers FAPI-16, R-FAPI-9
#[tokio::test]
async fn only_the_header_brings_a_token_and_only_the_holder_is_served() {
    let world = World::start(vec![demo("/")]);
    let token = world.token();
    let mut holder = world.connect().await;
    let plain = |target: &str| format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n");
    holder.send(plain(&format!("/?access_token={token}"))).await;
    let answer = holder.response("GET").await;
    assert_eq!(answer.status, 401);
    assert!(
        answer
            .header("www-authenticate")
            .is_some_and(|challenge| challenge.starts_with("Bearer"))
    );
    let mut stranger = world.connect_as(None).await;
    let answer = stranger.request("GET", "/", &token, "", b"").await;
    assert_eq!(answer.status, 401);
    assert!(
        answer
            .header("www-authenticate")
            .is_some_and(|challenge| challenge.contains("invalid_token"))
    );

    for scheme in ["Bearer", "bearer", "BEARER"] {
        for accept in [
            "*/*",
            "application/json; charset=utf-8",
            "application/json;charset=UTF-8, */*;q=0.1",
        ] {
            let fields = format!("Authorization: {scheme} {token}\r\nAccept: {accept}\r\n");
            holder
                .send(format!("GET / HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n"))
                .await;
            let answer = holder.response("GET").await;
            assert_eq!(answer.status, 200, "{scheme} {accept}");
            assert!(answer.header("date").is_some(), "{scheme} {accept}");
        }
    }
}
