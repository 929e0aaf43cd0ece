//! HTTP/2 in, HTTP/1.1 out.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use http_body::Frame;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::AsyncReadExt as _;

use crate::harness::caller::Caller;
use crate::harness::upstream::Upstream;
use crate::harness::{World, route};

type Body = http_body_util::combinators::BoxBody<Bytes, Infallible>;

async fn connect(world: &World) -> SendRequest<Body> {
    let caller = Caller::connect(world.address, &world.pki, Some(&world.pki.client), &[b"h2"]).await;
    let (sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(caller.stream))
        .await
        .unwrap();
    tokio::spawn(connection);
    sender
}

fn request(world: &World, method: &str, path: &str, body: Body) -> Request<Body> {
    Request::builder()
        .method(method)
        .uri(format!("https://localhost{path}"))
        .header("authorization", format!("Bearer {}", world.token()))
        .body(body)
        .unwrap()
}

fn full(text: &'static str) -> Body {
    Full::new(Bytes::from_static(text.as_bytes())).boxed()
}

async fn text(response: Response<Incoming>) -> (StatusCode, String) {
    let status = response.status();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, String::from_utf8_lossy(&body).into_owned())
}

// covers TRAP-29
#[tokio::test]
async fn requests_arrive_as_http_1_1() {
    let upstream = Upstream::start().await;
    let world = World::start(vec![route("/", upstream.address)]);
    let mut sender = connect(&world).await;
    let mut get = request(&world, "GET", "/a?b=c", full(""));
    for (name, value) in [
        ("cookie", "a=1"),
        ("cookie", "__Host-keybound=2"),
        ("cookie", "b=3"),
        ("client-cert", ":AA==:"),
    ] {
        get.headers_mut().append(name, HeaderValue::from_static(value));
    }
    assert_eq!(
        text(sender.send_request(get).await.unwrap()).await,
        (StatusCode::OK, "ok".to_owned())
    );
    let received = upstream.last();
    assert_eq!(received.line(), "GET /a?b=c HTTP/1.1");
    assert_eq!(received.field("host").as_deref(), Some("localhost"));
    assert_eq!(received.field("cookie").as_deref(), Some("a=1; b=3"));
    assert_eq!(received.field("via").as_deref(), Some("2.0 keybound"));
    assert!(received.field("client-cert").unwrap().len() > 100);
    assert_eq!(
        (received.field("transfer-encoding"), received.field("content-length")),
        (None, None)
    );

    let post = request(&world, "POST", "/", full("hello"));
    assert_eq!(text(sender.send_request(post).await.unwrap()).await.0, StatusCode::OK);
    assert_eq!(upstream.last().body, b"hello");
    assert_eq!(upstream.last().field("content-length").as_deref(), Some("5"));

    // Of unknown length, with trailers.
    let mut trailers = HeaderMap::new();
    trailers.insert("x-sum", HeaderValue::from_static("1"));
    trailers.insert("client_cert", HeaderValue::from_static("forged"));
    let frames = [Frame::data(Bytes::from_static(b"hello")), Frame::trailers(trailers)];
    let body = Frames(frames.into()).boxed();
    let mut post = request(&world, "POST", "/", body);
    post.headers_mut()
        .insert("trailer", HeaderValue::from_static("x-sum, client_cert"));
    assert_eq!(text(sender.send_request(post).await.unwrap()).await.0, StatusCode::OK);
    let received = upstream.last();
    assert_eq!(
        (received.body.as_slice(), received.trailers.as_str()),
        (b"hello".as_slice(), "x-sum: 1\r\n")
    );
    assert_eq!(upstream.connections(), 1);
}

/// A body of these frames, its length not known before.
struct Frames(std::collections::VecDeque<Frame<Bytes>>);

impl http_body::Body for Frames {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.0.pop_front().map(Ok))
    }
}

// covers T28
#[tokio::test]
async fn answers_come_back_with_trailers_and_without_connection_fields() {
    let upstream = Upstream::answering(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: x-leg\r\nX-Leg: 1\r\nKeep-Alive: 5\r\n\r\n\
         2\r\nok\r\n0\r\nGrpc-Status: 0\r\nClient-Cert: x\r\n\r\n",
    )
    .await;
    let world = World::start(vec![route("/", upstream.address)]);
    let mut sender = connect(&world).await;
    let response = sender
        .send_request(request(&world, "GET", "/", full("")))
        .await
        .unwrap();
    for name in ["connection", "x-leg", "keep-alive", "transfer-encoding"] {
        assert!(!response.headers().contains_key(name), "{name}");
    }
    let collected = response.into_body().collect().await.unwrap();
    let trailers = collected.trailers().cloned().unwrap();
    assert_eq!(trailers.get("grpc-status"), Some(&HeaderValue::from_static("0")));
    assert_eq!(trailers.len(), 1);
    assert_eq!(collected.to_bytes(), "ok");
}

// covers T6
#[tokio::test]
async fn streams_of_one_connection_are_judged_one_by_one() {
    let upstream = Upstream::start().await;
    let world = World::start(vec![route("/", upstream.address)]);
    let sender = connect(&world).await;
    let (good, bad) = (world.token(), world.issuer.token_for(&world.pki.other));
    let mut requests = tokio::task::JoinSet::new();
    for number in 0..100 {
        let mut sender = sender.clone();
        let is_good = number % 2 == 0;
        let mut get = request(&world, "GET", "/", full(""));
        let token = if is_good { &good } else { &bad };
        get.headers_mut()
            .insert("authorization", format!("Bearer {token}").parse().unwrap());
        requests.spawn(async move { (is_good, sender.send_request(get).await.unwrap().status()) });
    }
    for (is_good, status) in requests.join_all().await {
        assert_eq!(
            status,
            if is_good {
                StatusCode::OK
            } else {
                StatusCode::UNAUTHORIZED
            }
        );
    }
    assert_eq!(upstream.count(), 50);
}

/// One HTTP/2 frame.
pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// `:method GET`, `:scheme https`, `:path`, `:authority localhost`, `authorization`: nothing indexed.
pub(crate) fn head(path: &str, token: &str) -> Vec<u8> {
    let literal = |name: &[u8], value: &[u8]| {
        let length = |length: usize| {
            // HPACK integers with a prefix of 7 bits, no Huffman.
            let mut bytes = Vec::new();
            match u8::try_from(length) {
                Ok(length) if length < 127 => bytes.push(length),
                _ => {
                    bytes.push(127);
                    let mut rest = length - 127;
                    while rest >= 128 {
                        bytes.push(u8::try_from(rest % 128).unwrap() | 128);
                        rest /= 128;
                    }
                    bytes.push(u8::try_from(rest).unwrap());
                }
            }
            bytes
        };
        [&[0_u8][..], &length(name.len()), name, &length(value.len()), value].concat()
    };
    [
        vec![0x82, 0x87],
        literal(b":path", path.as_bytes()),
        literal(b":authority", b"localhost"),
        literal(b"authorization", format!("Bearer {token}").as_bytes()),
    ]
    .concat()
}

/// Sends one request whose `:path` is exactly `path`, and returns what the answer's header block begins with.
async fn raw_status(world: &World, path: &str) -> u8 {
    let mut caller = Caller::connect(world.address, &world.pki, Some(&world.pki.client), &[b"h2"]).await;
    caller.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await;
    caller.send(frame(4, 0, 0, &[])).await;
    caller.send(frame(1, 5, 1, &head(path, &world.token()))).await;
    loop {
        let header = caller.body(9).await;
        let length = u32::from_be_bytes([0, header[0], header[1], header[2]]);
        let payload = caller.body(usize::try_from(length).unwrap()).await;
        if header[3] == 1 {
            return payload[0];
        }
    }
}

/// A `:path` has no fragment (RFC 9113 §8.3.1), and right would be 400, as in HTTP/1. But `h2` makes the path a
/// `http::uri::PathAndQuery`, which cuts a fragment off and does not say that there was one; the octets are gone before any code
/// of ours runs. What is left is harmless: policy and upstream see the same path, the one without.
// covers T30
#[tokio::test]
async fn a_fragment_is_cut_off_before_policy_and_upstream() {
    const OK: u8 = 0x88;
    const BAD_REQUEST: u8 = 0x8c;
    let upstream = Upstream::start().await;
    let admin = crate::harness::policy().with_scopes(keybound_protocol::scope::Scope::parse("admin").unwrap());
    let mut protected = route("/admin", upstream.address);
    protected.policy = admin;
    let world = World::start(vec![route("/", upstream.address), protected]);
    assert_eq!(raw_status(&world, "/a|b").await, BAD_REQUEST);
    for path in ["/admin#/../public", "/admin/x#", "/admin?a#b"] {
        assert_ne!(raw_status(&world, path).await, OK, "{path}");
    }
    assert_eq!(upstream.count(), 0);
    for (path, forwarded) in [("/a#b", "/a"), ("/a#/../admin", "/a"), ("/a?b#c", "/a?b"), ("/#", "/")] {
        assert_eq!(raw_status(&world, path).await, OK, "{path}");
        assert_eq!(upstream.last().line(), format!("GET {forwarded} HTTP/1.1"), "{path}");
        // HTTP/1 refuses it.
        let count = upstream.count();
        assert_eq!(world.get(path).await.status, 400, "{path}");
        assert_eq!(upstream.count(), count);
    }
}

// covers T27
#[tokio::test]
async fn a_flood_of_resets_ends_its_connection_and_nobody_elses() {
    // An upstream that takes its time, so that every reset finds work under way.
    let upstream = Upstream::serving(|mut stream, upstream| async move {
        let mut read = Vec::new();
        while let Some(received) = crate::harness::upstream::receive(&mut stream, &mut read).await {
            let slow = received.line().contains("/slow");
            upstream.keep(received);
            if slow {
                tokio::time::sleep(Duration::from_secs(5)).await;
            }
            use tokio::io::AsyncWriteExt as _;
            let _ = stream
                .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
                .await;
        }
    })
    .await;
    let world = World::start(vec![route("/", upstream.address)]);
    let mut genuine = connect(&world).await;
    let mut attacker = Caller::connect(world.address, &world.pki, Some(&world.pki.client), &[b"h2"]).await;
    attacker.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await;
    attacker.send(frame(4, 0, 0, &[])).await;
    let head = head("/", &world.token());
    let started = Instant::now();
    let attack = async {
        let mut resets = 0;
        for stream in (1..).step_by(2).take(20_000) {
            let open_and_reset = [frame(1, 5, stream, &head), frame(3, 0, stream, &8_u32.to_be_bytes())].concat();
            attacker.send(open_and_reset).await;
            resets += 1;
            let mut buffer = [0; 4096];
            let ended = tokio::time::timeout(Duration::from_micros(50), attacker.stream.read(&mut buffer)).await;
            if matches!(ended, Ok(Ok(0) | Err(_))) {
                return resets;
            }
        }
        resets
    };
    let served = async {
        let mut slowest = Duration::ZERO;
        for _ in 0..50 {
            let asked = Instant::now();
            let response = genuine
                .send_request(request(&world, "GET", "/", full("")))
                .await
                .unwrap();
            assert_eq!(response.status(), StatusCode::OK);
            slowest = slowest.max(asked.elapsed());
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        slowest
    };
    let (resets, slowest) = tokio::join!(attack, served);
    assert!(resets < 2_000, "the connection outlived {resets} resets");
    assert!(started.elapsed() < Duration::from_secs(5));
    assert!(slowest < Duration::from_secs(1), "{slowest:?}");
    // The gateway is none the worse for it.
    assert_eq!(world.get("/").await.status, 200);
}
