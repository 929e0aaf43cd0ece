//! What happens when the store does not take writes: nothing is issued that could not be recorded, and what needs no write goes on.

use std::time::{Duration, Instant};

use http::StatusCode;
use keybound_protocol::client_assertion::CLIENT_ASSERTION_TYPE;
use rusqlite::Connection;
use serde_json::json;

use crate::pki::{Authority, dns, self_signed};
use crate::rfc8705_2::{assertion, private_key_jwt_client};
use crate::world::{API, NOW, OPAQUE_API, Plan, Reply, Side, World, credentials, tls_client, with};

/// Holds the database's write lock, as another process or a stuck disk would.
fn lock(world: &World) -> Connection {
    let connection = Connection::open(world.directory.path().join("keybound.db")).unwrap();
    connection.execute_batch("BEGIN IMMEDIATE").unwrap();
    connection
}

fn assert_unavailable(reply: &Reply) {
    assert_eq!(reply.status, StatusCode::SERVICE_UNAVAILABLE, "{reply:?}");
    assert_eq!(reply.json()["error"], "temporarily_unavailable");
    assert!(reply.header("retry-after").is_some());
}

// covers T33, R5, R6, R20
#[tokio::test]
async fn without_the_store_jwts_and_answers_go_on_and_what_must_be_written_is_503() {
    let authority = Authority::root("corp");
    let key = self_signed(dns("key"));
    let world = Plan::new()
        .trusts("corp", &authority)
        .client("demo", tls_client("demo.example"))
        .client("jwt", private_key_jwt_client(&key))
        .client(
            "rs",
            with(tls_client("rs.example"), json!({"keybound_introspects": [API]})),
        )
        .start()
        .await;
    let (demo, rs) = (authority.issue(dns("demo.example")), authority.issue(dns("rs.example")));
    let token = world.access_token(&demo, "demo", &[]).await;
    let assertion = assertion(&key, "jwt", "once", NOW);
    let with_assertion = [
        ("client_assertion_type", CLIENT_ASSERTION_TYPE),
        ("client_assertion", assertion.as_str()),
    ];
    let with_assertion = [&credentials("jwt")[..], &with_assertion].concat();

    let locked = lock(&world);
    let began = Instant::now();
    let opaque = [&credentials("demo")[..], &[("resource", OPAQUE_API)]].concat();
    assert_unavailable(&world.post(Some(&demo), "/token", &opaque).await);
    assert_unavailable(&world.peer(Side::Public, None).post("/token", &with_assertion).await);
    assert_unavailable(
        &world
            .post(Some(&demo), "/revoke", &[("client_id", "demo"), ("token", &token)])
            .await,
    );
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
    // None of this writes.
    assert_eq!(world.token(Some(&demo), "demo").await.status, StatusCode::OK);
    assert_eq!(world.token(None, "demo").await.status, StatusCode::BAD_REQUEST);
    let reply = world
        .post(Some(&rs), "/introspect", &[("client_id", "rs"), ("token", &token)])
        .await;
    assert_eq!(reply.json()["active"], true);
    for path in ["/jwks", "/.well-known/oauth-authorization-server"] {
        assert_eq!(world.peer(Side::Public, None).get(path).await.status, StatusCode::OK);
    }

    locked.execute_batch("ROLLBACK").unwrap();
    assert_eq!(world.post(Some(&demo), "/token", &opaque).await.status, StatusCode::OK);
    // Nobody knows whether the write that was given up happened: the assertion counts as spent, or is good for this once.
    let reply = world.peer(Side::Public, None).post("/token", &with_assertion).await;
    assert!([200, 400].contains(&reply.status.as_u16()), "{reply:?}");
    let reply = world.peer(Side::Public, None).post("/token", &with_assertion).await;
    world
        .assert_refused(&reply, 400, "invalid_client", "client assertion used once")
        .await;
}
