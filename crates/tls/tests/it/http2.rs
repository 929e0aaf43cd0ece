//! HTTP/2: the same answers, and an end to floods.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Request, StatusCode};
use http_body_util::{BodyExt as _, Full, combinators::BoxBody};
use hyper::client::conn::http2::SendRequest;
use hyper_util::rt::{TokioExecutor, TokioIo};
use keybound_tls::{FramingViolation, LayerRefusal, Limits};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::{Instant, sleep, timeout},
};
use tokio_rustls::client::TlsStream;

use crate::{
    pki::{Client, KeyKind},
    support::{EARLY, PATIENCE, RawClient, Server, quick},
};

type Body = BoxBody<Bytes, std::convert::Infallible>;

fn whole(octets: impl Into<Bytes>) -> Body {
    Full::new(octets.into()).boxed()
}

async fn connect(server: &Server) -> SendRequest<Body> {
    let client = RawClient::http2(Some(&Client::self_signed(KeyKind::P256)));
    let stream = client.connect(server, "localhost").await.unwrap();
    let (sender, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
        .await
        .unwrap();
    tokio::spawn(connection);
    sender
}

async fn send(sender: &mut SendRequest<Body>, request: Request<Body>) -> (StatusCode, String) {
    let response = timeout(PATIENCE, sender.send_request(request)).await.unwrap().unwrap();
    let status = response.status();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, String::from_utf8_lossy(&body).into_owned())
}

fn get(uri: &str) -> Request<Body> {
    Request::get(uri).body(whole("")).unwrap()
}

// covers MTLS-2-2
#[tokio::test]
async fn requests_share_a_connection_and_its_certificate() {
    let server = Server::mutual();
    let mut sender = connect(&server).await;
    for _ in 0..3 {
        let (status, body) = send(&mut sender, get("https://localhost/a?b")).await;
        assert_eq!(status, 200);
        assert!(
            body.starts_with("GET https://localhost/a?b policy=mutual_tls") && body.contains("presented=peer "),
            "{body}"
        );
    }
    assert_eq!(server.handle.counters().snapshot().handshakes_completed, 1);
    drop(sender);
    server.wait_until_empty().await;
}

// covers T28, TLS-7
#[tokio::test]
async fn the_authority_is_one_and_served_here() {
    let server = Server::mutual();
    let mut sender = connect(&server).await;
    let malformed = |violation| Some(LayerRefusal::Malformed(violation));
    let misdirected = |authority: &str| {
        Some(LayerRefusal::Misdirected {
            authority: authority.to_owned(),
            server_name: Some("localhost".to_owned()),
        })
    };
    for (uri, hosts, status, refusal) in [
        ("https://localhost/", &[][..], 200, None),
        ("https://localhost:8443/", &["localhost:8443"], 200, None),
        ("https://localhost/", &["LOCALHOST"], 200, None),
        (
            "https://localhost/",
            &["other"],
            400,
            malformed(FramingViolation::HostMismatch),
        ),
        (
            "https://localhost/",
            &["localhost:1"],
            400,
            malformed(FramingViolation::HostMismatch),
        ),
        (
            "https://localhost/",
            &["localhost", "localhost"],
            400,
            malformed(FramingViolation::Authority),
        ),
        ("https://other/", &[], 421, misdirected("other")),
        ("https://127.0.0.1/", &[], 421, misdirected("127.0.0.1")),
        ("http://localhost/", &[], 421, misdirected("localhost")),
        ("https://localhost/{a}", &[], 400, malformed(FramingViolation::Target)),
        ("https://localhost/%zz", &[], 400, malformed(FramingViolation::Target)),
    ] {
        let (calls, refusals) = (server.mirror.calls(), server.mirror.refusals().len());
        let mut request = get(uri);
        for host in hosts {
            request
                .headers_mut()
                .append("host", HeaderValue::from_str(host).unwrap());
        }
        let (answered, body) = send(&mut sender, request).await;
        assert_eq!(answered, status, "{uri} {hosts:?}: {body}");
        assert_eq!(
            server.mirror.refusals().get(refusals),
            refusal.as_ref(),
            "{uri} {hosts:?}"
        );
        assert_eq!(
            server.mirror.calls() - calls,
            usize::from(refusal.is_none()),
            "{uri} {hosts:?}"
        );
        assert!(
            refusal.is_none() || body.starts_with(r#"{"error":"invalid_request""#),
            "{body}"
        );
    }
    drop(sender);
    server.wait_until_empty().await;
}

// covers T28
#[tokio::test]
async fn what_an_http_1_upstream_would_misread_is_refused() {
    let server = Server::mutual();
    let mut sender = connect(&server).await;
    for (name, value, violation) in [
        ("content_length", "5", FramingViolation::FieldNameLookalike),
        ("transfer_encoding", "chunked", FramingViolation::FieldNameLookalike),
    ] {
        let mut request = get("https://localhost/");
        request.headers_mut().append(name, HeaderValue::from_static(value));
        assert_eq!(send(&mut sender, request).await.0, 400, "{name}");
        assert_eq!(
            server.mirror.refusals().last(),
            Some(&LayerRefusal::Malformed(violation)),
            "{name}"
        );
    }
    assert_eq!(server.mirror.calls(), 0);
}

// covers T27, R9440-8
#[tokio::test]
async fn the_list_of_fields_is_limited() {
    let server = Server::mutual();
    let mut sender = connect(&server).await;
    let with_field = |bytes: usize| {
        let mut request = get("https://localhost/");
        request
            .headers_mut()
            .append("a", HeaderValue::try_from("a".repeat(bytes)).unwrap());
        request
    };
    assert_eq!(send(&mut sender, with_field(32_000)).await.0, 200);
    assert_eq!(send(&mut sender, with_field(33_000)).await.0, 431);
    let mut many = get("https://localhost/");
    for number in 0..101 {
        many.headers_mut().append(
            http::HeaderName::try_from(format!("a{number}")).unwrap(),
            HeaderValue::from_static("x"),
        );
    }
    assert_eq!(send(&mut sender, many).await.0, 431);
    assert_eq!(server.mirror.calls(), 1);
}

#[tokio::test]
async fn bodies_are_limited_in_size_and_time() {
    let server = Server::mutual_with(Limits {
        body_timeout: Duration::from_millis(400),
        ..quick()
    });
    let mut sender = connect(&server).await;
    let post = |body: Body| Request::post("https://localhost/").body(body).unwrap();
    let unannounced = |octets: Option<usize>| {
        http_body_util::BodyExt::boxed(Unannounced(octets.map(|octets| Bytes::from(vec![b'a'; octets]))))
    };
    for (body, expected) in [
        (whole(vec![b'a'; 65536]), 200),
        (whole(vec![b'a'; 65537]), 413),
        (unannounced(Some(65536)), 200),
        (unannounced(Some(65537)), 413),
        (unannounced(None), 408),
    ] {
        let (status, answer) = send(&mut sender, post(body)).await;
        assert_eq!(status, expected, "{answer}");
    }
    let too_long = LayerRefusal::BodyTooLong { bytes_max: 65536 };
    assert_eq!(
        server.mirror.refusals(),
        [too_long.clone(), too_long, LayerRefusal::BodyTimeout]
    );
    drop(sender);
    server.wait_until_empty().await;
}

/// A body whose length nobody is told: one frame, or none and no end.
struct Unannounced(Option<Bytes>);

impl hyper::body::Body for Unannounced {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<hyper::body::Frame<Bytes>, Self::Error>>> {
        match &mut self.0 {
            Some(octets) if octets.is_empty() => std::task::Poll::Ready(None),
            Some(octets) => std::task::Poll::Ready(Some(Ok(hyper::body::Frame::data(std::mem::take(octets))))),
            None => std::task::Poll::Pending,
        }
    }
}

/// A body of chunks that a test hands over one by one.
struct Handed(tokio::sync::mpsc::Receiver<Bytes>);

impl hyper::body::Body for Handed {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<hyper::body::Frame<Bytes>, Self::Error>>> {
        let chunk = std::task::ready!(self.0.poll_recv(context));
        std::task::Poll::Ready(chunk.map(|chunk| Ok(hyper::body::Frame::data(chunk))))
    }
}

#[tokio::test]
async fn the_rest_of_a_body_that_nobody_reads_is_taken_up_to_a_limit() {
    let server = Server::mutual_with(Limits {
        linger_bytes_max: 4096,
        linger_timeout: PATIENCE,
        ..quick()
    });
    let mut sender = connect(&server).await;
    let (chunks, body) = tokio::sync::mpsc::channel(1);
    let request = Request::post(format!("https://localhost{EARLY}"))
        .body(Handed(body).boxed())
        .unwrap();
    assert_eq!(send(&mut sender, request).await, (StatusCode::OK, "early".to_owned()));
    let mut taken = 0;
    while timeout(PATIENCE, chunks.send(Bytes::from_static(&[b'a'; 1024])))
        .await
        .unwrap()
        .is_ok()
    {
        taken += 1;
        assert!(taken < 1024, "a body of which nobody reads anything goes on for ever");
    }
    assert!(taken >= 4, "the stream was reset after {taken} chunks");
    assert_eq!(send(&mut sender, get("https://localhost/")).await.0, 200);
    drop(sender);
    server.wait_until_empty().await;
}

/// A connection that speaks frames.
async fn raw(server: &Server) -> TlsStream<TcpStream> {
    let mut stream = RawClient::http2(None).connect(server, "localhost").await.unwrap();
    stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.unwrap();
    stream.write_all(&frame(4, 0, 0, &[])).await.unwrap();
    stream
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut octets = (payload.len() as u32).to_be_bytes()[1..].to_vec();
    octets.extend([kind, flags]);
    octets.extend(stream.to_be_bytes());
    octets.extend(payload);
    octets
}

/// GET https://localhost/, in HPACK without a table.
fn headers(stream: u32, flags: u8) -> Vec<u8> {
    let block = [&[0x82, 0x87, 0x84, 0x01, 9][..], b"localhost"].concat();
    frame(1, flags, stream, &block)
}

/// Sends until the server ends the connection; how many frames it took until that was noticed.
async fn flood(stream: &mut TlsStream<TcpStream>, mut frames: impl FnMut(u32) -> Vec<u8>) -> u32 {
    let begun = Instant::now();
    let (mut reader, mut writer) = tokio::io::split(stream);
    let reading = async {
        let mut chunk = [0; 4096];
        while let Ok(1..) = reader.read(&mut chunk).await {}
    };
    let writing = async {
        let mut count = 0;
        while count < 200_000 && writer.write_all(&frames(count)).await.is_ok() {
            count += 1;
            if count % 64 == 0 {
                tokio::task::yield_now().await;
            }
        }
        let _ = writer.flush().await;
        count
    };
    let (_, count) = timeout(PATIENCE, async { tokio::join!(reading, writing) })
        .await
        .expect("the connection should end");
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    count
}

// covers T27
#[tokio::test]
async fn floods_end_the_connection() {
    // The sweep forgives control frames, so it has its real length here.
    let server = Server::mutual_with(Limits {
        sweep_interval: Duration::from_secs(1),
        ..quick()
    });
    let mut genuine = connect(&server).await;

    let rapid_reset = |count: u32| [headers(2 * count + 1, 5), frame(3, 0, 2 * count + 1, &[0, 0, 0, 8])].concat();
    let count = flood(&mut raw(&server).await, rapid_reset).await;
    assert!(count < 100_000, "rapid reset: {count}");

    let count = flood(&mut raw(&server).await, |_| frame(6, 0, 0, &[0; 8])).await;
    assert!(count < 100_000, "pings: {count}");
    let count = flood(&mut raw(&server).await, |_| frame(4, 0, 0, &[])).await;
    assert!(count < 100_000, "settings: {count}");

    // A header block that goes on for ever.
    let endless = |count: u32| {
        if count == 0 {
            headers(1, 1)
        } else {
            frame(9, 0, 1, &[0x00, 1, b'a', 1, b'b'])
        }
    };
    let count = flood(&mut raw(&server).await, endless).await;
    assert!(count < 100_000, "continuations: {count}");
    let count = flood(&mut raw(&server).await, |count| {
        if count == 0 { headers(1, 1) } else { frame(9, 0, 1, &[]) }
    })
    .await;
    assert!(count < 100_000, "empty continuations: {count}");

    assert!(
        server.count("http2_flood") >= 2,
        "{:?}",
        server.handle.counters().snapshot()
    );
    assert_eq!(
        send(&mut genuine, get("https://localhost/")).await.0,
        200,
        "others are served on"
    );
    drop(genuine);
    server.wait_until_empty().await;
}

// covers T27
#[tokio::test]
async fn a_few_resets_and_pings_are_nothing() {
    let server = Server::mutual();
    let mut stream = raw(&server).await;
    for number in 0..10 {
        let octets = [
            headers(2 * number + 1, 5),
            frame(3, 0, 2 * number + 1, &[0, 0, 0, 8]),
            frame(6, 0, 0, &[0; 8]),
        ];
        stream.write_all(&octets.concat()).await.unwrap();
        sleep(Duration::from_millis(5)).await;
    }
    stream.write_all(&headers(101, 5)).await.unwrap();
    crate::support::read_until(&mut stream, "GET https://localhost/").await;
    assert_eq!(server.count("http2_flood"), 0);
    drop(stream);
    server.wait_until_empty().await;
}

// covers T25, T27
#[tokio::test]
async fn an_unfinished_header_block_has_the_time_of_a_head() {
    let server = Server::mutual_with(Limits {
        head_timeout: Duration::from_millis(300),
        ..quick()
    });
    for unfinished in [
        // Part of the frame, the frame without END_HEADERS, and not even the preface.
        headers(1, 5)[..12].to_vec(),
        headers(1, 1),
    ] {
        let begun = Instant::now();
        let mut stream = raw(&server).await;
        stream.write_all(&unfinished).await.unwrap();
        let mut rest = Vec::new();
        let _ = timeout(PATIENCE, stream.read_to_end(&mut rest)).await.unwrap();
        assert!((Duration::from_millis(300)..Duration::from_secs(5)).contains(&begun.elapsed()));
        server.wait_until_empty().await;
    }
    // A finished one has all the time in the world.
    let mut stream = raw(&server).await;
    sleep(Duration::from_millis(600)).await;
    stream.write_all(&headers(1, 5)).await.unwrap();
    crate::support::read_until(&mut stream, "GET https://localhost/").await;
}

// covers T25
#[tokio::test]
async fn a_silent_connection_is_told_and_closed() {
    let server = Server::mutual_with(Limits {
        idle_timeout: Duration::from_millis(300),
        ..quick()
    });
    let mut stream = raw(&server).await;
    let mut rest = Vec::new();
    // This peer does not answer the ping that goes with it, so it is cut a little later.
    let _ = timeout(PATIENCE, stream.read_to_end(&mut rest)).await.unwrap();
    // GOAWAY (7), without an error.
    let goaway = rest
        .windows(17)
        .any(|octets| octets[3] == 7 && octets[..3] == [0, 0, 8] && octets[13..17] == [0; 4]);
    assert!(goaway, "{rest:?}");
    server.wait_until_empty().await;
}

// covers T25
#[tokio::test]
async fn pings_do_not_make_a_connection_busy() {
    let server = Server::mutual_with(Limits {
        idle_timeout: Duration::from_millis(400),
        http2_keep_alive: Duration::from_millis(50),
        ..quick()
    });
    let mut sender = connect(&server).await;
    for _ in 0..3 {
        assert_eq!(send(&mut sender, get("https://localhost/")).await.0, 200);
        sleep(Duration::from_millis(200)).await;
    }
    assert_eq!(server.handle.counters().snapshot().connections_accepted, 1);
    // This client answers every ping, and is idle.
    server.wait_until_empty().await;
    assert!(sender.is_closed());
}

// covers T27
#[tokio::test]
async fn the_limits_are_announced() {
    let server = Server::mutual();
    let mut stream = raw(&server).await;
    let mut header = [0; 9];
    stream.read_exact(&mut header).await.unwrap();
    assert_eq!(header[3], 4, "SETTINGS comes first");
    let mut settings = vec![0; usize::from(header[2])];
    stream.read_exact(&mut settings).await.unwrap();
    let value = |id: u16| {
        let mut entries = settings.chunks(6).filter(|entry| entry[..2] == id.to_be_bytes());
        entries
            .next()
            .map(|entry| u32::from_be_bytes([entry[2], entry[3], entry[4], entry[5]]))
    };
    assert_eq!(value(3), Some(128), "streams at once");
    assert_eq!(value(6), Some(32 * 1024), "header list");
}
