//! Answers of every shape.

use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::harness::caller::read_head;
use crate::harness::upstream::{Received, Upstream, receive};
use crate::harness::{World, route};

#[tokio::test]
async fn head_204_and_304_have_no_body_and_keep_the_connection() {
    let upstream = Upstream::serving(|mut stream, upstream| async move {
        let mut read = Vec::new();
        while let Some(received) = receive(&mut stream, &mut read).await {
            let answer: &[u8] = match received.line() {
                "HEAD /length HTTP/1.1" => b"HTTP/1.1 200 OK\r\nContent-Length: 1234\r\nETag: \"a\"\r\n\r\n",
                "HEAD /chunked HTTP/1.1" => b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
                "HEAD /none HTTP/1.1" => b"HTTP/1.1 200 OK\r\n\r\n",
                "GET /204 HTTP/1.1" => b"HTTP/1.1 204 No Content\r\nX-A: b\r\n\r\n",
                "GET /204-length HTTP/1.1" => b"HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n",
                "GET /304 HTTP/1.1" => b"HTTP/1.1 304 Not Modified\r\nETag: \"a\"\r\n\r\n",
                "GET /304-length HTTP/1.1" => b"HTTP/1.1 304 Not Modified\r\nContent-Length: 1234\r\n\r\n",
                "GET /empty HTTP/1.1" => b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
                _ => b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nbody",
            };
            upstream.keep(received);
            stream.write_all(answer).await.unwrap();
        }
    })
    .await;
    let world = World::start(vec![route("/", upstream.address)]);
    let token = world.token();
    let mut caller = world.connect().await;
    for (method, path, status, length) in [
        ("HEAD", "/length", 200, Some("1234")),
        ("HEAD", "/chunked", 200, None),
        ("HEAD", "/none", 200, None),
        ("GET", "/204", 204, None),
        ("GET", "/204-length", 204, None),
        ("GET", "/304", 304, None),
        ("GET", "/empty", 200, Some("0")),
        ("GET", "/", 200, Some("4")),
        ("HEAD", "/length", 200, Some("1234")),
    ] {
        let answer = caller.request(method, path, &token, "", b"").await;
        assert_eq!(
            (answer.status, answer.header("content-length").as_deref()),
            (status, length),
            "{method} {path}"
        );
    }
    assert_eq!(caller.request("GET", "/304-length", &token, "", b"").await.status, 304);
    assert_eq!(caller.request("GET", "/", &token, "", b"").await.text(), "body");
    assert_eq!(upstream.connections(), 1);
}

#[tokio::test]
async fn bodies_of_every_framing_arrive_whole() {
    let upstream = Upstream::serving(|mut stream, upstream| async move {
        let mut read = Vec::new();
        while let Some(received) = receive(&mut stream, &mut read).await {
            let answer: &[u8] = match received.line().split(' ').nth(1).unwrap() {
                "/chunked" => {
                    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n"
                }
                "/close" => b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nabcde",
                "/old" => b"HTTP/1.0 200 OK\r\n\r\nabcde",
                _ => b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabcde",
            };
            upstream.keep(received);
            stream.write_all(answer).await.unwrap();
            if !answer.windows(2).any(|two| two == b"h:" || two == b"g:") {
                return;
            }
        }
    })
    .await;
    let world = World::start(vec![route("/", upstream.address)]);
    let token = world.token();
    let mut caller = world.connect().await;
    for path in ["/length", "/chunked", "/close", "/old", "/length"] {
        assert_eq!(
            caller.request("GET", path, &token, "", b"").await.text(),
            "abcde",
            "{path}"
        );
    }
    for method in ["POST", "GET", "DELETE"] {
        let answer = caller.request(method, "/", &token, "", b"hello").await;
        assert_eq!(
            (answer.status, upstream.last().body.as_slice()),
            (200, b"hello".as_slice())
        );
        assert_eq!(
            upstream.last().field("content-length").as_deref(),
            Some("5"),
            "{method}"
        );
        let head = format!("{method} / HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n");
        caller
            .send(format!(
                "{head}Transfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n"
            ))
            .await;
        assert_eq!(caller.response(method).await.status, 200);
        assert_eq!(upstream.last().body, b"hello", "{method}");
        assert_eq!(
            upstream.last().field("transfer-encoding").as_deref(),
            Some("chunked"),
            "{method}"
        );
    }
    // To a caller that speaks HTTP/1.0, a body of unknown length ends with the connection.
    caller
        .send(format!(
            "GET /chunked HTTP/1.0\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n\r\n"
        ))
        .await;
    let answer = caller.response("GET").await;
    assert_eq!((answer.text(), answer.header("transfer-encoding")), ("abcde", None));
}

// covers T28
#[tokio::test]
async fn an_early_answer_arrives_although_the_request_is_still_being_sent() {
    for closes in [true, false] {
        let upstream = Upstream::serving(move |mut stream, upstream| async move {
            let mut read = Vec::new();
            let head = read_head(&mut stream, &mut read).await.unwrap();
            upstream.keep(Received {
                head,
                body: Vec::new(),
                trailers: String::new(),
            });
            stream
                .write_all(b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 8\r\n\r\ntoo much")
                .await
                .unwrap();
            if !closes {
                // Reads no further, and says nothing more.
                std::future::pending::<()>().await;
            }
        })
        .await;
        let world = World::start(vec![route("/", upstream.address)]);
        let mut caller = world.connect().await;
        let token = world.token();
        let head = format!(
            "POST / HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\nContent-Length: 10000000\r\n\r\n"
        );
        caller.send(head).await;
        caller.send(vec![b'x'; 300_000]).await;
        let started = Instant::now();
        let answer = caller.response("POST").await;
        assert_eq!((answer.status, answer.text()), (413, "too much"), "closes: {closes}");
        assert!(started.elapsed() < Duration::from_secs(2), "closes: {closes}");
        // What is left of the request is not taken for another one, by nobody.
        caller.send(b"GET /hidden HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
        assert!(caller.try_response("GET").await.is_none(), "closes: {closes}");
        assert_eq!(upstream.count(), 1);
        assert_eq!(world.get("/").await.status, 413);
    }
}

// covers T28
#[tokio::test]
async fn an_early_answer_goes_on_while_both_sides_still_send() {
    // An upstream that answers while it reads: what comes in goes out.
    let upstream = Upstream::serving(|mut stream, _| async move {
        let mut read = Vec::new();
        read_head(&mut stream, &mut read).await.unwrap();
        stream
            .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\n")
            .await
            .unwrap();
        let mut buffer = [0; 4];
        for _ in 0..2 {
            stream.read_exact(&mut buffer).await.unwrap();
            stream.write_all(&buffer).await.unwrap();
        }
    })
    .await;
    let world = World::start(vec![route("/", upstream.address)]);
    let mut caller = world.connect().await;
    let token = world.token();
    let head =
        format!("POST / HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\nContent-Length: 8\r\n\r\n");
    caller.send(head).await;
    assert!(caller.head().await.unwrap().starts_with("HTTP/1.1 200"));
    caller.send(b"ping").await;
    assert_eq!(caller.some().await, b"ping");
    caller.send(b"pong").await;
    assert_eq!(caller.some().await, b"pong");
}

#[tokio::test]
async fn a_caller_that_expects_continue_is_told_by_the_upstream() {
    let upstream = Upstream::serving(|mut stream, upstream| async move {
        let mut read = Vec::new();
        let Some(head) = read_head(&mut stream, &mut read).await else {
            return;
        };
        upstream.keep(Received {
            head: head.clone(),
            body: Vec::new(),
            trailers: String::new(),
        });
        match head.split(' ').nth(1).unwrap() {
            "/no" => stream
                .write_all(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno")
                .await
                .unwrap(),
            path => {
                if path == "/yes" {
                    stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await.unwrap();
                }
                let mut body = [0; 5];
                stream.read_exact(&mut body).await.unwrap();
                upstream.keep(Received {
                    head,
                    body: body.to_vec(),
                    trailers: String::new(),
                });
                stream
                    .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
                    .await
                    .unwrap();
            }
        }
    })
    .await;
    let world = World::start(vec![route("/", upstream.address)]);
    let token = world.token();
    let head = |path: &str| {
        format!(
            "POST {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\nContent-Length: 5\r\n\
             Expect: 100-continue\r\n\r\n"
        )
    };
    // Asked for.
    let mut caller = world.connect().await;
    let started = Instant::now();
    caller.send(head("/yes")).await;
    assert_eq!(caller.head().await.as_deref(), Some("HTTP/1.1 100 Continue"));
    assert!(started.elapsed() < Duration::from_millis(500));
    caller.send(b"hello").await;
    assert_eq!(caller.response("POST").await.status, 200);
    assert_eq!(upstream.last().field("expect").as_deref(), Some("100-continue"));
    assert_eq!(upstream.last().body, b"hello");
    // Refused: no 100, and the body never travels.
    let mut caller = world.connect().await;
    caller.send(head("/no")).await;
    let first = caller.head().await.unwrap();
    assert!(first.starts_with("HTTP/1.1 403"), "{first}");
    assert_eq!(upstream.count(), 3);
    // Not understood: after a second the caller is asked all the same.
    let mut caller = world.connect().await;
    let started = Instant::now();
    caller.send(head("/silent")).await;
    assert_eq!(caller.head().await.as_deref(), Some("HTTP/1.1 100 Continue"));
    assert!(
        started.elapsed() >= Duration::from_millis(900),
        "{:?}",
        started.elapsed()
    );
    caller.send(b"hello").await;
    assert_eq!(caller.response("POST").await.status, 200);
}

// covers T28
#[tokio::test]
async fn a_refused_request_is_not_asked_for_its_body() {
    let upstream = Upstream::start().await;
    let world = World::start(vec![route("/", upstream.address)]);
    let mut caller = world.connect().await;
    caller
        .send("POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n")
        .await;
    assert!(caller.head().await.unwrap().starts_with("HTTP/1.1 401"));
    assert_eq!(upstream.connections(), 0);
}

#[tokio::test]
async fn interim_answers_before_the_answer_do_no_harm() {
    let upstream = Upstream::answering(
        "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
    )
    .await;
    let world = World::start(vec![route("/", upstream.address)]);
    let mut caller = world.connect().await;
    for _ in 0..2 {
        assert_eq!(caller.request("GET", "/", &world.token(), "", b"").await.text(), "ok");
    }
}

#[tokio::test]
async fn trailers_pass_both_ways_if_announced_and_wanted() {
    let upstream = Upstream::answering(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum, Client-Cert, Keybound_X\r\n\r\n\
         2\r\nok\r\n0\r\nX-Sum: 1\r\nClient-Cert: x\r\nkeybound_x: y\r\nX-Unannounced: z\r\n\r\n",
    )
    .await;
    let world = World::start(vec![route("/", upstream.address)]);
    let token = world.token();
    let mut caller = world.connect().await;
    let head = format!("POST / HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n");
    caller
        .send(format!(
            "{head}TE: trailers\r\nTrailer: X-Check\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nX-Check: 7\r\nX-Other: 8\r\n\r\n"
        ))
        .await;
    let answer = caller.response("POST").await;
    assert_eq!((answer.text(), answer.trailers.as_str()), ("ok", "x-sum: 1\r\n"));
    assert_eq!(answer.header("trailer").as_deref(), Some("x-sum"));
    let received = upstream.last();
    assert_eq!(
        (received.body.as_slice(), received.trailers.as_str()),
        (b"hi".as_slice(), "x-check: 7\r\n")
    );
    assert_eq!(
        (received.field("te").as_deref(), received.field("connection").as_deref()),
        (Some("trailers"), Some("te"))
    );
    // A caller that did not ask for them gets none.
    let answer = caller.request("GET", "/", &token, "", b"").await;
    assert_eq!((answer.text(), answer.trailers.as_str()), ("ok", ""));
    assert_eq!(upstream.last().field("te"), None);
}

// covers R9440-2, R9440-7
#[tokio::test]
async fn answers_neither_show_identity_nor_vary_with_it_in_secret() {
    let upstream = Upstream::answering(
        "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nClient-Cert: :AA==:\r\nVary: Accept, Client-Cert\r\nX-A: b\r\n\
         Connection: X-Leg\r\nX-Leg: 1\r\nKeep-Alive: timeout=5\r\n\r\n",
    )
    .await;
    let world = World::start(vec![route("/", upstream.address)]);
    let answer = world.get("/").await;
    assert_eq!(
        (answer.header("vary").as_deref(), answer.header("x-a").as_deref()),
        (Some("*"), Some("b"))
    );
    for name in ["client-cert", "x-leg", "keep-alive"] {
        assert_eq!(answer.header(name), None, "{name}");
    }
}
