//! Interim responses, to peers that take them slowly or not at all.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use keybound_tls::{Connection, InterimResponseError, Limits, RequestBody, ResponseBody, Service, Transport};
use socket2::{Domain, Socket, Type};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

use crate::support::{PATIENCE, quick, serve, settings};

/// Sends hints before and after it reads the body, as many as `hints` says, and counts those that were taken.
#[derive(Clone, Default)]
struct Hinting {
    hints: usize,
    sent: Arc<AtomicUsize>,
    refused: Arc<AtomicUsize>,
    answered: Arc<AtomicUsize>,
}

impl Hinting {
    async fn hint(&self, connection: &Arc<Connection>) {
        let Some(interims) = connection.interim_responses() else {
            return;
        };
        for _ in 0..self.hints {
            let mut headers = HeaderMap::new();
            headers.insert("x-filling", HeaderValue::from_str(&"x".repeat(3000)).unwrap());
            headers.insert("x-number", HeaderValue::from(self.sent.load(SeqCst)));
            match interims.send(StatusCode::EARLY_HINTS, &headers) {
                Ok(()) => self.sent.fetch_add(1, SeqCst),
                Err(error) => {
                    assert_eq!(error, InterimResponseError::TooMany);
                    self.refused.fetch_add(1, SeqCst)
                }
            };
            tokio::task::yield_now().await;
        }
    }
}

impl Service for Hinting {
    async fn call(&self, connection: &Arc<Connection>, request: Request<RequestBody>) -> Response<ResponseBody> {
        self.hint(connection).await;
        let body = request.into_body().collect().await.unwrap();
        assert_eq!(body, "hello");
        self.hint(connection).await;
        self.answered.fetch_add(1, SeqCst);
        Response::new("y".repeat(100_000).into())
    }
}

const HEAD: &str =
    "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nExpect: 100-continue\r\nConnection: close\r\n\r\n";

/// A connection whose receive buffer is as small as the system lets it be.
async fn connect(address: std::net::SocketAddr) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_recv_buffer_size(2048).unwrap();
    socket.connect(&address.into()).unwrap();
    socket.set_nonblocking(true).unwrap();
    TcpStream::from_std(socket.into()).unwrap()
}

#[tokio::test]
async fn a_slow_reader_gets_each_whole_and_in_order() {
    let service = Hinting {
        hints: 2000,
        ..Hinting::default()
    };
    let handle = serve(settings(Transport::Plain, quick()), service.clone());
    let mut stream = connect(handle.local_addr()).await;
    stream.write_all(HEAD.as_bytes()).await.unwrap();
    // Until nothing fits any more, and the service has gone on to ask for the body.
    timeout(PATIENCE, async {
        while service.sent.load(SeqCst) + service.refused.load(SeqCst) < service.hints {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await
    .unwrap();
    assert!(service.refused.load(SeqCst) > 0, "the peer's side never filled up");
    let mut octets = Vec::new();
    let mut asked = false;
    let mut chunk = [0; 700];
    loop {
        let count = timeout(PATIENCE, stream.read(&mut chunk)).await.unwrap().unwrap();
        if count == 0 {
            break;
        }
        octets.extend_from_slice(&chunk[..count]);
        let since = octets.len().saturating_sub(800);
        if !asked && octets[since..].windows(13).any(|window| window == b" 100 Continue") {
            asked = true;
            stream.write_all(b"hello").await.unwrap();
        }
    }
    let text = String::from_utf8(octets).unwrap();
    let (heads, body) = text.split_once("\r\n\r\nyyy").unwrap();
    assert_eq!(body.len() + 3, 100_000);
    let heads: Vec<&str> = heads.split("\r\n\r\n").collect();
    let (last, interims) = heads.split_last().unwrap();
    assert!(last.starts_with("HTTP/1.1 200 OK\r\n"), "{last}");
    let filling = "x".repeat(3000);
    let mut number = 0;
    let mut asked = 0;
    for head in interims {
        if *head == "HTTP/1.1 100 Continue" {
            asked += 1;
            continue;
        }
        let expected = format!("HTTP/1.1 103 Early Hints\r\nx-filling: {filling}\r\nx-number: {number}");
        assert!(*head == expected, "{number}: {head}");
        number += 1;
    }
    assert_eq!((asked, number), (1, service.sent.load(SeqCst)));
}

// covers T25
#[tokio::test]
async fn a_peer_that_never_reads_is_cut() {
    let limits = Limits {
        idle_timeout: Duration::from_millis(300),
        ..quick()
    };
    let service = Hinting {
        hints: 3000,
        ..Hinting::default()
    };
    let handle = serve(settings(Transport::Plain, limits), service.clone());
    let mut stream = connect(handle.local_addr()).await;
    stream
        .write_all(format!("{}hello", HEAD.replace("Expect: 100-continue\r\n", "")).as_bytes())
        .await
        .unwrap();
    timeout(PATIENCE, async {
        while service.refused.load(SeqCst) == 0 || handle.counters().snapshot().connections_open > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await
    .unwrap();
}

/// Answers the first request before it has read its body, at length; the second with a hint.
#[derive(Clone, Default)]
struct Early {
    called: Arc<AtomicUsize>,
}

const LONG: usize = 8 * 1024 * 1024;

impl Service for Early {
    async fn call(&self, connection: &Arc<Connection>, request: Request<RequestBody>) -> Response<ResponseBody> {
        self.called.fetch_add(1, SeqCst);
        if request.uri() == "/first" {
            // Somebody else goes on reading.
            tokio::spawn(request.into_body().collect());
            return Response::new("y".repeat(LONG).into());
        }
        let interims = connection.interim_responses().unwrap();
        for _ in 0..3 {
            interims.send(StatusCode::EARLY_HINTS, &HeaderMap::new()).unwrap();
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Response::new("ok".into())
    }
}

/// hyper reads the next request while it still holds the response before it, whose request had a body that came late.
#[tokio::test]
async fn none_gets_into_a_response_that_is_still_being_written() {
    let service = Early::default();
    let handle = serve(settings(Transport::Plain, quick()), service.clone());
    let mut stream = connect(handle.local_addr()).await;
    stream
        .write_all(b"POST /first HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\n")
        .await
        .unwrap();
    timeout(PATIENCE, async {
        while service.called.load(SeqCst) == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await
    .unwrap();
    stream
        .write_all(b"helloGET /second HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        .await
        .unwrap();
    // Nothing was read so far, and much more waits than the system takes: the first response is not out.
    assert_eq!(service.called.load(SeqCst), 1);
    let mut octets = Vec::new();
    timeout(PATIENCE, stream.read_to_end(&mut octets))
        .await
        .unwrap()
        .unwrap();
    let text = String::from_utf8(octets).unwrap();
    let (head, rest) = text.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    let (body, rest) = rest.split_at(LONG);
    assert!(body.bytes().all(|octet| octet == b'y'));
    let hint = "HTTP/1.1 103 Early Hints\r\n\r\n";
    let last = rest.strip_prefix(&hint.repeat(3)).expect("three hints");
    assert!(
        last.starts_with("HTTP/1.1 200 OK\r\n") && last.ends_with("\r\n\r\nok"),
        "{last}"
    );
}
