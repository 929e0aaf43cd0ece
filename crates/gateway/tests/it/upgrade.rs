//! Connections that change their protocol: a tunnel only after 101, and only for as long as the token lives.

use std::time::{Duration, Instant};

use keybound_tls::Clock;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::harness::caller::{Caller, read_head};
use crate::harness::upstream::{Received, Upstream};
use crate::harness::{World, route};

/// Switches when asked to, says hello at once, and then echoes.
async fn echo() -> Upstream {
    Upstream::serving(|mut stream, upstream| async move {
        let mut read = Vec::new();
        while let Some(head) = read_head(&mut stream, &mut read).await {
            let received = Received {
                head,
                body: Vec::new(),
                trailers: String::new(),
            };
            let wants = received.field("upgrade");
            upstream.keep(received);
            let Some(protocol) = wants else {
                stream
                    .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
                    .await
                    .unwrap();
                continue;
            };
            let switch = format!(
                "HTTP/1.1 101 Switching Protocols\r\nUpgrade: {protocol}\r\nConnection: Upgrade\r\n\
                 Sec-WebSocket-Accept: x\r\nClient-Cert: x\r\n\r\nhello"
            );
            stream.write_all(switch.as_bytes()).await.unwrap();
            stream.write_all(&read).await.unwrap();
            let mut buffer = [0; 4096];
            while let Ok(length @ 1..) = stream.read(&mut buffer).await {
                if stream.write_all(&buffer[..length]).await.is_err() {
                    return;
                }
            }
            return;
        }
    })
    .await
}

fn upgrade(token: &str, fields: &str) -> String {
    format!("GET /socket HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n{fields}\r\n")
}

const WEBSOCKET: &str = "Connection: keep-alive, Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: y\r\n";

async fn read_exactly(caller: &mut Caller, expected: &[u8]) {
    let mut read = Vec::new();
    while read.len() < expected.len() {
        let some = caller.some().await;
        assert!(!some.is_empty(), "the tunnel closed after {read:?}");
        read.extend(some);
    }
    assert_eq!(read, expected);
}

// covers T28
#[tokio::test]
async fn a_tunnel_carries_bytes_both_ways_after_101() {
    let upstream = echo().await;
    let world = World::start(vec![route("/", upstream.address)]);
    let mut caller = world.connect().await;
    // What looks like a request is payload once the protocol has changed, also where it is sent ahead.
    let payload = b"GET /hidden HTTP/1.1\r\nHost: localhost\r\n\r\n\0\xff";
    caller
        .send([upgrade(&world.token(), WEBSOCKET).as_bytes(), payload.as_slice()].concat())
        .await;
    let head = caller.head().await.unwrap();
    assert!(head.starts_with("HTTP/1.1 101"), "{head}");
    assert!(
        head.contains("\r\nsec-websocket-accept: x") && !head.contains("client-cert"),
        "{head}"
    );
    read_exactly(&mut caller, &[b"hello".as_slice(), payload].concat()).await;
    for round in 0..10 {
        let message = format!("message {round} {}", "x".repeat(round * 1_000));
        caller.send(&message).await;
        read_exactly(&mut caller, message.as_bytes()).await;
    }
    let received = upstream.last();
    assert_eq!(received.field("connection").as_deref(), Some("upgrade"));
    assert_eq!(received.field("sec-websocket-key").as_deref(), Some("y"));
    assert_eq!(received.field("keybound-client-id").as_deref(), Some("demo-client"));
    assert_eq!(upstream.count(), 1);
    // One side closes, and so does the other.
    caller.stream.shutdown().await.unwrap();
    assert!(caller.is_closed().await);
}

// covers T28
#[tokio::test]
async fn only_a_protocol_of_its_own_is_switched_to() {
    let upstream = echo().await;
    let world = World::start(vec![route("/", upstream.address)]);
    for fields in [
        "Upgrade: websocket\r\n",
        "Connection: close, upgrades\r\nUpgrade: websocket\r\n",
        "Connection: Upgrade\r\n",
        "Connection: Upgrade\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n",
        "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: H2C\r\nHTTP2-Settings: AAMAAABk\r\n",
        "Connection: Upgrade\r\nUpgrade: HTTP/2.0\r\n",
        "Connection: Upgrade\r\nUpgrade: TLS/1.0\r\n",
        "Connection: Upgrade\r\nUpgrade: websocket, h2c\r\n",
        "Connection: Upgrade\r\nUpgrade: websocket\r\nUpgrade: h2c\r\n",
        "Connection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: 1\r\n",
    ] {
        let mut caller = world.connect().await;
        caller.send(upgrade(&world.token(), fields)).await;
        if fields.contains("Content-Length") {
            caller.send(b"x").await;
        }
        let answer = caller.response("GET").await;
        assert_eq!((answer.status, answer.text()), (200, "ok"), "{fields}");
        let received = upstream.last();
        assert_eq!(
            (received.field("upgrade"), received.field("http2-settings")),
            (None, None),
            "{fields}"
        );
    }
}

// covers T28
#[tokio::test]
async fn an_upstream_that_does_not_switch_answers_like_any_other() {
    let upstream = Upstream::start().await;
    let world = World::start(vec![route("/", upstream.address)]);
    let mut caller = world.connect().await;
    caller.send(upgrade(&world.token(), WEBSOCKET)).await;
    assert_eq!(caller.response("GET").await.text(), "ok");
    // The connection goes on in HTTP.
    assert_eq!(caller.request("GET", "/", &world.token(), "", b"").await.text(), "ok");
    // Nor is a refused request a way into a tunnel.
    caller.send(upgrade("x", WEBSOCKET)).await;
    assert_eq!(caller.response("GET").await.status, 401);
    assert_eq!(upstream.count(), 2);

    let other =
        Upstream::answering("HTTP/1.1 101 Switching Protocols\r\nUpgrade: other\r\nConnection: Upgrade\r\n\r\n").await;
    let world = World::start(vec![route("/", other.address)]);
    let mut caller = world.connect().await;
    caller.send(upgrade(&world.token(), WEBSOCKET)).await;
    let answer = caller.response("GET").await;
    assert_eq!(answer.status, 502);
    assert!(world.refusal(&answer).reason.contains("switched protocols unasked"));
}

// covers T1
#[tokio::test]
async fn a_tunnel_ends_with_its_token() {
    let upstream = echo().await;
    let world = World::start(vec![route("/", upstream.address)]);
    let mut claims = world.issuer.claims(Some(&world.pki.client));
    let expires_at = Clock::system().now().unix_secs() + 2;
    claims["exp"] = expires_at.into();
    let mut caller = world.connect().await;
    caller.send(upgrade(&world.issuer.token(&claims), WEBSOCKET)).await;
    assert!(caller.head().await.unwrap().starts_with("HTTP/1.1 101"));
    let mut end_of_token = None;
    loop {
        caller.send("ping").await;
        if end_of_token.is_none() && Clock::system().now().unix_secs() >= expires_at {
            end_of_token = Some(Instant::now());
        }
        if caller.some().await.is_empty() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let late = end_of_token
        .map(|end| end.elapsed())
        .expect("it ended before its token");
    assert!(late < Duration::from_secs(1), "{late:?}");
}
