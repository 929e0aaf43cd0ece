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

/// A connection whose frames are written by hand, and read without windows of their own.
struct Raw {
    caller: Caller,
    /// WINDOW_UPDATE frames that were sent.
    updates: usize,
}

impl Raw {
    async fn connect(world: &World) -> Raw {
        let mut caller = Caller::connect(world.address, &world.pki, Some(&world.pki.client), &[b"h2"]).await;
        caller.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await;
        caller.send(frame(4, 0, 0, &[])).await;
        Raw { caller, updates: 0 }
    }

    /// Asks for `path`, and gives the place of each DATA frame back as soon as it is there, the stream's and the connection's. The
    /// length of the answer.
    async fn get(&mut self, path: &str, stream: u32, token: &str) -> usize {
        self.caller.send(frame(1, 5, stream, &head(path, token))).await;
        let mut length = 0;
        loop {
            let header = self.caller.body(9).await;
            let payload = u32::from_be_bytes([0, header[0], header[1], header[2]]);
            self.caller.body(usize::try_from(payload).unwrap()).await;
            let [kind, flags] = [header[3], header[4]];
            assert!(!matches!(kind, 3 | 7), "the request was given up");
            if kind == 0 {
                length += payload as usize;
            }
            if kind <= 1 && flags & 1 == 1 {
                return length;
            }
            if kind == 0 && payload > 0 {
                for stream in [0, stream] {
                    self.caller.send(frame(8, 0, stream, &payload.to_be_bytes())).await;
                    self.updates += 1;
                }
            }
        }
    }

    /// Sends as many of `octets` as there are, or until the connection ends. Whether it did.
    async fn flood(&mut self, octets: &[u8], times: usize) -> bool {
        use tokio::io::AsyncWriteExt as _;
        let block = octets.repeat(times);
        if self.caller.stream.write_all(&block).await.is_err() || self.caller.stream.flush().await.is_err() {
            return true;
        }
        let mut buffer = [0; 4096];
        let end = async { while !matches!(self.caller.stream.read(&mut buffer).await, Ok(0) | Err(_)) {} };
        tokio::time::timeout(Duration::from_millis(500), end).await.is_ok()
    }
}

// covers T27
#[tokio::test]
async fn floods_of_frames_that_say_nothing_end_their_connection() {
    let upstream = Upstream::start().await;
    let world = World::start(vec![route("/", upstream.address)]);
    let mut genuine = connect(&world).await;
    for (name, octets) in [
        ("WINDOW_UPDATE of the connection", frame(8, 0, 0, &1_u32.to_be_bytes())),
        (
            "WINDOW_UPDATE of a stream that is over",
            frame(8, 0, 1, &1_u32.to_be_bytes()),
        ),
        ("unknown", frame(0xbb, 0, 0, b"nothing")),
        ("unknown and empty", frame(0xbb, 0, 0, b"")),
        ("PRIORITY_UPDATE", frame(0x10, 0, 0, b"\0\0\0\x01u=1")),
        ("ALTSVC", frame(0x0a, 0, 0, b"\0\0")),
    ] {
        let mut few = Raw::connect(&world).await;
        assert_eq!(few.get("/", 1, &world.token()).await, 2, "{name}");
        assert!(!few.flood(&octets, 200).await, "{name}: few of them do no harm");
        assert_eq!(few.get("/", 3, &world.token()).await, 2, "{name}");

        let mut many = Raw::connect(&world).await;
        assert_eq!(many.get("/", 1, &world.token()).await, 2, "{name}");
        assert!(many.flood(&octets, 50_000).await, "{name}: too many of them");

        let get = request(&world, "GET", "/", full(""));
        assert_eq!(genuine.send_request(get).await.unwrap().status(), StatusCode::OK);
    }
}

// covers T27, T24
#[tokio::test]
async fn clients_that_give_back_the_place_of_what_they_read_are_not_cut() {
    const BYTES: u64 = 64 * crate::streaming::MIB;
    let (address, _) = crate::streaming::bulk_upstream();
    let world = World::start(vec![route("/", address)]);
    // As hyper does it with its own windows, and with ones so small that it must do so for every 2 KiB.
    for window in [None, Some(4 * 1024)] {
        let caller = Caller::connect(world.address, &world.pki, Some(&world.pki.client), &[b"h2"]).await;
        let (mut sender, connection) = http2::Builder::new(TokioExecutor::new())
            .initial_stream_window_size(window)
            .initial_connection_window_size(window.map(|window| 16 * window))
            .handshake::<_, Body>(TokioIo::new(caller.stream))
            .await
            .unwrap();
        tokio::spawn(connection);
        let get = request(&world, "GET", &format!("/{BYTES}"), full(""));
        let mut body = sender.send_request(get).await.unwrap().into_body();
        let mut read = 0;
        while let Some(frame) = body.frame().await {
            read += frame.unwrap().into_data().unwrap().len() as u64;
        }
        assert_eq!(read, BYTES, "{window:?}");
    }
    // Two for each frame, more than there may be of other control frames.
    let mut simple = Raw::connect(&world).await;
    let token = world.token();
    assert_eq!(simple.get(&format!("/{BYTES}"), 1, &token).await as u64, BYTES);
    assert!(simple.updates > 5_000, "{}", simple.updates);
}
