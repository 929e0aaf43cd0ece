//! Upstreams that fail, and connections that end.

use std::io::ErrorKind;
use std::time::{Duration, Instant};

use keybound_gateway::Limits;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use crate::harness::caller::read_head;
use crate::harness::upstream::{Upstream, receive};
use crate::harness::{Options, World, route};

fn with_limits(limits: Limits) -> Options {
    Options {
        limits,
        ..Options::default()
    }
}

// covers T28
#[tokio::test]
async fn an_answer_that_ends_in_two_places_is_no_answer() {
    for framing in [
        "Content-Length: 2\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nContent-Length: 2",
        "Content-Length: 2\r\nContent-Length: 2",
        "Content-Length: 2\r\nContent-Length: 3",
        "Content-Length: 2, 2",
        "Content-Length: +2",
        "Content-Length: x",
        "Content-Length: ",
        "Transfer-Encoding: gzip, chunked",
        "Transfer-Encoding: gzip",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked, chunked",
        "Transfer-Encoding: xchunked",
    ] {
        let upstream = Upstream::answering(format!(
            "HTTP/1.1 200 OK\r\n{framing}\r\n\r\n2\r\nok\r\n0\r\n\r\nHTTP/1.1 200 OK\r\n\r\n"
        ))
        .await;
        let world = World::start(vec![route("/", upstream.address)]);
        let answer = world.get("/").await;
        assert_eq!(
            (answer.status, answer.json()["error"].as_str()),
            (502, Some("server_error")),
            "{framing}"
        );
        assert_eq!(
            world.refusal(&answer).failed_rule().unwrap().rule,
            "the upstream answers",
            "{framing}"
        );
    }
}

// covers T28
#[tokio::test]
async fn what_an_upstream_sends_beyond_its_answer_is_nobodys_answer() {
    let upstream = Upstream::answering(
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nstolen",
    )
    .await;
    let world = World::start(vec![route("/", upstream.address)]);
    let mut caller = world.connect().await;
    for _ in 0..5 {
        assert_eq!(caller.request("GET", "/", &world.token(), "", b"").await.text(), "ok");
    }
    assert_eq!(upstream.connections(), 5);
}

#[tokio::test]
async fn an_upstream_without_an_answer_is_a_502_or_504_that_says_why() {
    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let closes = Upstream::serving(|mut stream, upstream| async move {
        let received = receive(&mut stream, &mut Vec::new()).await.unwrap();
        upstream.keep(received);
    })
    .await;
    let garbage = Upstream::answering("SSH-2.0-OpenSSH\r\n\r\n").await;
    let long = Upstream::answering(format!("HTTP/1.1 200 OK\r\nX-Long: {}\r\n\r\n", "x".repeat(70_000))).await;
    let many = Upstream::answering(format!("HTTP/1.1 200 OK\r\n{}\r\n", "X: y\r\n".repeat(101))).await;
    let silent = Upstream::serving(|stream, _| async move {
        let _held = stream;
        std::future::pending().await
    })
    .await;
    let switches =
        Upstream::answering("HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n").await;
    let limits = Limits {
        response_timeout: Duration::from_millis(300),
        ..Limits::default()
    };
    let world = World::start_with(
        vec![
            route("/nobody", nobody),
            route("/closes", closes.address),
            route("/garbage", garbage.address),
            route("/long", long.address),
            route("/many", many.address),
            route("/silent", silent.address),
            route("/switches", switches.address),
        ],
        with_limits(limits),
    );
    for (path, status, code, reason) in [
        ("/nobody", 502, "server_error", "could not be reached"),
        (
            "/closes",
            502,
            "server_error",
            "closed the connection without an answer",
        ),
        ("/garbage", 502, "server_error", "did not answer in HTTP/1.1"),
        ("/long", 502, "server_error", "sent a head beyond the limits"),
        ("/many", 502, "server_error", "sent a head beyond the limits"),
        ("/silent", 504, "temporarily_unavailable", "gave no answer within 300ms"),
        ("/switches", 502, "server_error", "switched protocols unasked"),
    ] {
        let answer = world.get(path).await;
        assert_eq!(
            (answer.status, answer.json()["error"].as_str()),
            (status, Some(code)),
            "{path}"
        );
        assert!(
            !answer.text().contains("127.0.0.1"),
            "the caller learns nothing about the upstream: {}",
            answer.text()
        );
        let refusal = world.refusal(&answer);
        assert!(refusal.reason.contains(reason), "{path}: {}", refusal.reason);
        assert!(refusal.fix.is_some(), "{path}");
    }
    // A request that got no answer from a new connection is not sent twice.
    assert_eq!(closes.count(), 1);
}

// covers T28
#[tokio::test]
async fn an_answer_that_breaks_off_is_seen_to_break_off() {
    for answer in [
        "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nshort",
        "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nshort\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nshortX\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nshort\r\nzz\r\n",
    ] {
        let upstream = Upstream::serving(move |mut stream, _| async move {
            receive(&mut stream, &mut Vec::new()).await.unwrap();
            stream.write_all(answer.as_bytes()).await.unwrap();
        })
        .await;
        let world = World::start(vec![route("/", upstream.address)]);
        let mut caller = world.connect().await;
        let token = world.token();
        caller
            .send(format!(
                "GET / HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n\r\n"
            ))
            .await;
        assert!(caller.try_response("GET").await.is_none(), "{answer:?}");
    }
}

#[tokio::test]
async fn a_connection_found_closed_costs_no_answer() {
    // Serves one request per connection, and never says so.
    let upstream = Upstream::serving(|mut stream, upstream| async move {
        if let Some(received) = receive(&mut stream, &mut Vec::new()).await {
            upstream.keep(received);
            stream
                .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
                .await
                .unwrap();
        }
    })
    .await;
    let world = World::start(vec![route("/", upstream.address)]);
    let token = world.token();
    let mut caller = world.connect().await;
    for number in 1..=20 {
        assert_eq!(
            caller.request("GET", "/", &token, "", b"").await.status,
            200,
            "{number}"
        );
        assert_eq!(upstream.count(), number);
    }
}

#[tokio::test]
async fn only_what_may_be_repeated_is_repeated() {
    // Answers the first request of a connection, and closes on the second after it has read it.
    let upstream = Upstream::serving(|mut stream, upstream| async move {
        let mut read = Vec::new();
        for number in 0..2 {
            let Some(received) = receive(&mut stream, &mut read).await else {
                return;
            };
            upstream.keep(received);
            if number == 0 {
                stream
                    .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
                    .await
                    .unwrap();
            }
        }
    })
    .await;
    for (method, body, status, requests) in [
        ("GET", "", 200, 3),
        ("DELETE", "", 200, 3),
        ("POST", "", 502, 2),
        ("PUT", "hello", 502, 2),
        ("POST", "hello", 502, 2),
    ] {
        let world = World::start(vec![route("/", upstream.address)]);
        let token = world.token();
        let mut caller = world.connect().await;
        let before = upstream.count();
        assert_eq!(caller.request("GET", "/", &token, "", b"").await.status, 200);
        let answer = caller.request(method, "/", &token, "", body.as_bytes()).await;
        assert_eq!(
            (answer.status, upstream.count() - before),
            (status, requests),
            "{method} {body}"
        );
    }
}

// covers T25
#[tokio::test]
async fn a_caller_that_leaves_takes_its_upstream_connection_with_it() {
    let (told, mut ended) = tokio::sync::mpsc::unbounded_channel();
    let upstream = Upstream::serving(move |mut stream, _| {
        let told = told.clone();
        async move {
            let mut read = Vec::new();
            read_head(&mut stream, &mut read).await.unwrap();
            // Never answers; notices when it is left alone.
            let mut buffer = [0; 1024];
            let end = loop {
                match stream.read(&mut buffer).await {
                    Ok(0) => break ErrorKind::UnexpectedEof,
                    Ok(_) => {}
                    Err(error) => break error.kind(),
                }
            };
            told.send(end).unwrap();
        }
    })
    .await;
    let world = World::start(vec![route("/", upstream.address)]);
    let token = world.token();
    for body in ["", "Content-Length: 100000\r\n"] {
        let mut caller = world.connect().await;
        caller
            .send(format!(
                "GET / HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n{body}\r\n"
            ))
            .await;
        tokio::time::sleep(Duration::from_millis(50)).await;
        drop(caller);
        let end = tokio::time::timeout(Duration::from_secs(5), ended.recv()).await;
        assert!(end.is_ok(), "with {body:?} the upstream connection stays open");
    }
}

// covers T25
#[tokio::test]
async fn an_upstream_is_late_only_once_the_request_is_complete() {
    // Answers some time after it has read everything, or never.
    let upstream = Upstream::serving(|mut stream, upstream| async move {
        let Some(received) = receive(&mut stream, &mut Vec::new()).await else {
            return;
        };
        let never = received.line().contains("/never");
        upstream.keep(received);
        tokio::time::sleep(Duration::from_millis(200)).await;
        if never {
            std::future::pending::<()>().await;
        }
        stream
            .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
            .await
            .unwrap();
    })
    .await;
    let limits = Limits {
        response_timeout: Duration::from_millis(400),
        ..Limits::default()
    };
    let world = World::start_with(vec![route("/", upstream.address)], with_limits(limits));
    let token = world.token();
    for (path, status) in [("/", 200), ("/never", 504)] {
        let mut caller = world.connect().await;
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\nContent-Length: 10\r\n\r\n"
        );
        caller.send(head).await;
        for _ in 0..10 {
            tokio::time::sleep(Duration::from_millis(100)).await;
            caller.send(b"x").await;
        }
        let complete = Instant::now();
        assert_eq!(caller.response("POST").await.status, status);
        assert!(complete.elapsed() >= Duration::from_millis(150), "{path}");
        assert!(complete.elapsed() < Duration::from_millis(1_500), "{path}");
    }
}

// covers T25
#[tokio::test]
async fn an_upstream_gets_only_so_many_connections() {
    let upstream = Upstream::serving(|mut stream, upstream| async move {
        let mut read = Vec::new();
        while let Some(received) = receive(&mut stream, &mut read).await {
            let slow = received.line().contains("/slow");
            upstream.keep(received);
            if slow {
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
            let _ = stream
                .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
                .await;
        }
    })
    .await;
    let limits = Limits {
        upstream_connections_max: 2,
        ..Limits::default()
    };
    let world = World::start_with(vec![route("/", upstream.address)], with_limits(limits));
    let token = world.token();
    let mut slow = Vec::new();
    for number in 1..=2 {
        let mut caller = world.connect().await;
        caller
            .send(format!(
                "GET /slow HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n\r\n"
            ))
            .await;
        while upstream.count() < number {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        slow.push(caller);
    }
    let answer = world.get("/").await;
    assert_eq!(
        (answer.status, answer.header("retry-after").as_deref()),
        (503, Some("1"))
    );
    assert_eq!(answer.json()["error"], "temporarily_unavailable");
    assert!(world.refusal(&answer).reason.contains("2 connections to the upstream"));
    for mut caller in slow {
        assert_eq!(caller.response("GET").await.status, 200);
    }
    // Nothing leaks: as many as before may go at once, again and again.
    for _ in 0..10 {
        assert_eq!(world.get("/").await.status, 200);
    }
    assert_eq!(upstream.connections(), 2);
}
