//! Interim answers (1xx) on their way from the upstream to the caller.

use std::sync::Arc;
use std::time::Duration;

use keybound_gateway::Limits;
use tokio::io::AsyncWriteExt as _;
use tokio::sync::Notify;

use crate::harness::caller::{Caller, field_values, read_head};
use crate::harness::upstream::{Upstream, receive};
use crate::harness::{Options, World, route};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
const HINT: &str = "HTTP/1.1 103 Early Hints\r\nLink: </a>; rel=preload\r\n\r\n";

/// Sends a request without a body.
async fn ask(world: &World, caller: &mut Caller, path: &str) {
    let token = world.token();
    caller
        .send(format!(
            "GET {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n\r\n"
        ))
        .await;
}

/// Status and `Link` of the heads up to the final one, whose body is read.
async fn answers(caller: &mut Caller) -> Vec<(u16, Vec<String>)> {
    let mut heads = Vec::new();
    loop {
        let head = caller.head().await.expect("a head");
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        heads.push((status, field_values(&head, "link")));
        if status >= 200 {
            assert_eq!(caller.some().await, b"ok");
            return heads;
        }
    }
}

#[tokio::test]
async fn early_hints_arrive_before_the_answer_is_known() {
    let proceed = Arc::new(Notify::new());
    let told = Arc::clone(&proceed);
    let upstream = Upstream::serving(move |mut stream, _| {
        let told = Arc::clone(&told);
        async move {
            let mut read = Vec::new();
            while read_head(&mut stream, &mut read).await.is_some() {
                let hints = "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\nConnection: X-Leg\r\nX-Leg: 1\r\n\
                             Client-Cert: :AA==:\r\nKeybound-Refusal: G-0\r\nkeybound_subject: x\r\nContent-Length: 7\r\n\
                             Set-Cookie: __Host-keybound=1\r\nSet-Cookie: a=1\r\nLink: </b>\r\n\r\n";
                stream.write_all(hints.as_bytes()).await.unwrap();
                told.notified().await;
                stream.write_all(OK.as_bytes()).await.unwrap();
            }
        }
    })
    .await;
    let world = World::start(vec![route("/", upstream.address)]);
    let mut caller = world.connect().await;
    for _ in 0..3 {
        ask(&world, &mut caller, "/").await;
        let head = caller.head().await.unwrap();
        assert_eq!(
            head,
            "HTTP/1.1 103 Early Hints\r\nlink: </a>\r\nlink: </b>\r\nset-cookie: a=1"
        );
        proceed.notify_one();
        let answer = caller.response("GET").await;
        assert_eq!((answer.status, answer.text()), (200, "ok"));
    }
    assert_eq!(upstream.connections(), 1);
}

#[tokio::test]
async fn several_arrive_in_their_order_however_they_were_written() {
    let upstream = Upstream::serving(|mut stream, _| async move {
        let mut read = Vec::new();
        while let Some(head) = read_head(&mut stream, &mut read).await {
            let all = format!(
                "HTTP/1.1 102 Processing\r\n\r\n{HINT}HTTP/1.1 103 Early Hints\r\nLink: </b>\r\n\r\nHTTP/1.1 199 Own\r\n\r\n{OK}"
            );
            // In one write, or octet by octet.
            let size = if head.starts_with("GET /whole") { all.len() } else { 1 };
            for part in all.as_bytes().chunks(size) {
                stream.write_all(part).await.unwrap();
            }
        }
    })
    .await;
    let world = World::start(vec![route("/", upstream.address)]);
    let mut caller = world.connect().await;
    for path in ["/whole", "/octets", "/whole"] {
        ask(&world, &mut caller, path).await;
        let expected = [
            (102, vec![]),
            (103, vec!["</a>; rel=preload".to_owned()]),
            (103, vec!["</b>".to_owned()]),
            (199, vec![]),
            (200, vec![]),
        ];
        assert_eq!(answers(&mut caller).await, expected, "{path}");
    }
}

/// The second of two pipelined requests, asked together with a first whose long answer is read slowly.
// covers T28
#[tokio::test]
async fn none_gets_into_the_answer_before_it() {
    const LENGTH: usize = 3 * 1024 * 1024;
    let upstream = Upstream::serving(|mut stream, upstream| async move {
        let mut read = Vec::new();
        while let Some(received) = receive(&mut stream, &mut read).await {
            let answer = if received.line().starts_with("GET /long") {
                let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {LENGTH}\r\n\r\n");
                [head.into_bytes(), vec![b'.'; LENGTH]].concat()
            } else {
                format!("{HINT}{HINT}{OK}").into_bytes()
            };
            upstream.keep(received);
            if stream.write_all(&answer).await.is_err() {
                return;
            }
        }
    })
    .await;
    let world = World::start(vec![route("/", upstream.address)]);
    for pause in [Duration::ZERO, Duration::from_millis(300)] {
        let mut caller = world.connect().await;
        let token = world.token();
        let both = ["/hints", "/long", "/hints", "/hints"]
            .map(|path| format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n\r\n"));
        caller.send(both.concat()).await;
        tokio::time::sleep(pause).await;
        let hinted = [
            (103, vec!["</a>; rel=preload".to_owned()]),
            (103, vec!["</a>; rel=preload".to_owned()]),
        ];
        for path in ["/hints", "/long", "/hints", "/hints"] {
            let mut interims = Vec::new();
            let head = loop {
                let head = caller.head().await.expect("a head");
                if head.starts_with("HTTP/1.1 1") {
                    interims.push((103, field_values(&head, "link")));
                } else {
                    break head;
                }
            };
            assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{path}: {head}");
            let expected = if path == "/long" { [].as_slice() } else { &hinted };
            assert_eq!(interims, expected, "{path}");
            let body = caller.body(if path == "/long" { LENGTH } else { 2 }).await;
            let intact = if path == "/long" {
                body == vec![b'.'; LENGTH]
            } else {
                body == b"ok"
            };
            assert!(intact, "{path}");
        }
    }
}

#[tokio::test]
async fn callers_of_http_1_0_and_http_2_get_the_answer_alone() {
    let upstream = Upstream::answering(format!("{HINT}HTTP/1.1 100 Continue\r\n\r\n{OK}")).await;
    let world = World::start(vec![route("/", upstream.address)]);
    let token = world.token();
    let mut caller = world.connect().await;
    caller
        .send(format!("GET / HTTP/1.0\r\nAuthorization: Bearer {token}\r\n\r\n"))
        .await;
    let head = caller.head().await.unwrap();
    assert!(
        head.starts_with("HTTP/1.0 200 OK\r\n") || head.starts_with("HTTP/1.1 200 OK\r\n"),
        "{head}"
    );
    assert_eq!(caller.some().await, b"ok");
    assert!(caller.is_closed().await);

    let caller = Caller::connect(world.address, &world.pki, Some(&world.pki.client), &[b"h2"]).await;
    let io = hyper_util::rt::TokioIo::new(caller.stream);
    let executor = hyper_util::rt::TokioExecutor::new();
    let (mut sender, connection) = hyper::client::conn::http2::handshake(executor, io).await.unwrap();
    tokio::spawn(connection);
    for _ in 0..3 {
        let request = http::Request::get("https://localhost/")
            .header("authorization", format!("Bearer {token}"))
            .body(String::new())
            .unwrap();
        assert_eq!(sender.send_request(request).await.unwrap().status(), 200);
    }
}

#[tokio::test]
async fn what_is_too_much_is_dropped_and_the_answer_is_not() {
    let many: String = (0..100)
        .map(|number| format!("HTTP/1.1 103 Early Hints\r\nLink: </{number}>\r\n\r\n"))
        .collect();
    let long = format!("HTTP/1.1 103 Early Hints\r\nLink: <{}>\r\n\r\n", "a".repeat(20_000));
    let upstream = Upstream::serving(move |mut stream, _| {
        let (many, long) = (many.clone(), long.clone());
        async move {
            let mut read = Vec::new();
            while let Some(head) = read_head(&mut stream, &mut read).await {
                let interims = if head.starts_with("GET /many") { &many } else { &long };
                stream.write_all(format!("{interims}{OK}").as_bytes()).await.unwrap();
            }
        }
    })
    .await;
    let world = World::start(vec![route("/", upstream.address)]);
    let mut caller = world.connect().await;
    for _ in 0..2 {
        // They come in one write and are parsed in one go, so that none is taken before all have come.
        ask(&world, &mut caller, "/many").await;
        let mut expected: Vec<_> = (0..16).map(|number| (103, vec![format!("</{number}>")])).collect();
        expected.push((200, vec![]));
        assert_eq!(answers(&mut caller).await, expected);
        ask(&world, &mut caller, "/long").await;
        assert_eq!(answers(&mut caller).await, [(200, vec![])]);
    }
}

#[tokio::test]
async fn an_upstream_that_dies_after_one_is_a_bad_gateway() {
    for (path, last) in [("/between", ""), ("/within", "HTTP/1.1 200 OK\r\nContent-Le")] {
        let upstream = Upstream::serving(move |mut stream, _| async move {
            let _ = read_head(&mut stream, &mut Vec::new()).await;
            stream.write_all(format!("{HINT}{last}").as_bytes()).await.unwrap();
        })
        .await;
        let world = World::start(vec![route("/", upstream.address)]);
        let mut caller = world.connect().await;
        for _ in 0..2 {
            ask(&world, &mut caller, path).await;
            let head = caller.head().await.unwrap();
            assert!(head.starts_with("HTTP/1.1 103 Early Hints\r\n"), "{path}: {head}");
            let answer = caller.response("GET").await;
            assert_eq!(answer.status, 502, "{path}");
            assert_eq!(answer.json()["error"], "server_error");
            let refusal = world.refusal(&answer);
            assert!(
                refusal.reason.starts_with("the upstream gave no answer"),
                "{}",
                refusal.reason
            );
        }
    }
}

/// Neither does it come after the answer that the gateway gave in the upstream's stead, nor before another one's.
// covers T28
#[tokio::test]
async fn one_that_comes_too_late_goes_nowhere() {
    let upstream = Upstream::serving(|mut stream, _| async move {
        let mut read = Vec::new();
        while let Some(head) = read_head(&mut stream, &mut read).await {
            if head.starts_with("GET /late") {
                stream.write_all(HINT.as_bytes()).await.unwrap();
                tokio::time::sleep(Duration::from_millis(350)).await;
                let _ = stream.write_all(HINT.as_bytes()).await;
                let _ = stream.write_all(HINT.as_bytes()).await;
            } else {
                tokio::time::sleep(Duration::from_millis(150)).await;
                stream.write_all(OK.as_bytes()).await.unwrap();
            }
        }
    })
    .await;
    let options = Options {
        limits: Limits {
            response_timeout: Duration::from_millis(250),
            ..Limits::default()
        },
        ..Options::default()
    };
    let world = World::start_with(vec![route("/", upstream.address)], options);
    let mut caller = world.connect().await;
    ask(&world, &mut caller, "/late").await;
    assert!(caller.head().await.unwrap().starts_with("HTTP/1.1 103 "));
    let head = caller.head().await.unwrap();
    assert!(head.starts_with("HTTP/1.1 504 "), "{head}");
    let length: usize = field_values(&head, "content-length")[0].parse().unwrap();
    caller.body(length).await;
    for _ in 0..3 {
        ask(&world, &mut caller, "/").await;
        assert_eq!(answers(&mut caller).await, [(200, vec![])]);
    }
}

#[tokio::test]
async fn a_body_is_asked_for_once() {
    let upstream = Upstream::serving(|mut stream, _| async move {
        let mut read = Vec::new();
        while let Some(head) = read_head(&mut stream, &mut read).await {
            assert_eq!(field_values(&head, "expect"), ["100-continue"]);
            let interims = format!("{HINT}HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n{HINT}");
            stream.write_all(interims.as_bytes()).await.unwrap();
            let mut body = std::mem::take(&mut read);
            while body.len() < 5 {
                tokio::io::AsyncReadExt::read_buf(&mut stream, &mut body).await.unwrap();
            }
            assert_eq!(body, b"hello");
            stream.write_all(format!("{HINT}{OK}").as_bytes()).await.unwrap();
        }
    })
    .await;
    let world = World::start(vec![route("/", upstream.address)]);
    let token = world.token();
    let mut caller = world.connect().await;
    for _ in 0..3 {
        caller
            .send(format!(
                "POST / HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\nContent-Length: 5\r\n\
                 Expect: 100-continue\r\n\r\n"
            ))
            .await;
        let mut statuses = Vec::new();
        // Hints are told at once; when the body is asked for in between is the caller's connection's business.
        for _ in 0..3 {
            statuses.push(caller.head().await.unwrap()[9..12].to_owned());
        }
        statuses.sort();
        assert_eq!(statuses, ["100", "103", "103"]);
        caller.send("hello").await;
        assert_eq!(
            answers(&mut caller).await,
            [(103, vec!["</a>; rel=preload".to_owned()]), (200, vec![])]
        );
    }
}

#[tokio::test]
async fn hints_come_before_a_switch_of_protocols() {
    let upstream = Upstream::serving(|mut stream, _| async move {
        let mut read = Vec::new();
        if read_head(&mut stream, &mut read).await.is_some() {
            let switch = "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: chat\r\n\r\nwelcome";
            stream.write_all(format!("{HINT}{switch}").as_bytes()).await.unwrap();
            std::future::pending::<()>().await;
        }
    })
    .await;
    let world = World::start(vec![route("/", upstream.address)]);
    let token = world.token();
    let mut caller = world.connect().await;
    caller
        .send(format!(
            "GET / HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\nConnection: upgrade\r\nUpgrade: chat\r\n\r\n"
        ))
        .await;
    assert!(caller.head().await.unwrap().starts_with("HTTP/1.1 103 "));
    assert!(caller.head().await.unwrap().starts_with("HTTP/1.1 101 "));
    assert_eq!(caller.body(7).await, b"welcome");
}
