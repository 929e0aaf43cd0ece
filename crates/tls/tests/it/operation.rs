//! Reload, drain, several runtimes, upgrades, slow and vanishing peers.

use std::{
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body::Frame;
use keybound_tls::{
    BindError, ClientCertificatePolicy, Connection, HostPolicies, HostPoliciesError, HostPolicy, Identity, Limits,
    Listener, ListenerSettings, RequestBody, ResponseBody, Runtimes, Service, Transport,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    sync::Semaphore,
    time::{Instant, sleep, timeout},
};

use crate::{
    pki,
    support::{
        PATIENCE, RawClient, Server, exchange, mutual_policy, quick, read_to_end, read_until, serve, settings, status,
    },
};

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";

fn policies(identity: Identity) -> HostPolicies {
    HostPolicies::one(HostPolicy::new(
        "mutual_tls",
        ClientCertificatePolicy::Optional,
        identity,
    ))
}

async fn presented_certificate(server: &Server) -> Vec<u8> {
    let stream = RawClient::any_version(None).connect(server, "localhost").await.unwrap();
    stream.get_ref().1.peer_certificates().unwrap()[0].to_vec()
}

#[tokio::test]
async fn a_reload_changes_new_handshakes_and_spares_open_connections() {
    let (old, new) = (pki::server(&["localhost"]), pki::server(&["localhost", "new.example"]));
    let server = Server::tls(policies(old.clone()));
    let mut open = RawClient::any_version(None)
        .connect(&server, "localhost")
        .await
        .unwrap();
    assert_eq!(presented_certificate(&server).await, old.leaf());

    let prepared = server.handle.prepare_reload(&policies(new.clone()), None).unwrap();
    assert_eq!(
        presented_certificate(&server).await,
        old.leaf(),
        "preparing changes nothing"
    );
    prepared.take_effect();
    assert_eq!(presented_certificate(&server).await, new.leaf());
    let answer = RawClient::any_version(None).get(&server, "new.example").await.unwrap();
    assert_eq!(status(&answer), "200");
    open.write_all(REQUEST).await.unwrap();
    assert_eq!(status(&read_until(&mut open, "body=").await), "200");

    // What cannot be served changes nothing.
    let empty = HostPolicy {
        hosts: Vec::new(),
        ..HostPolicy::new("x", ClientCertificatePolicy::Never, old)
    };
    let refused = server.handle.reload(&HostPolicies::one(empty), None);
    assert_eq!(refused, Err(HostPoliciesError::NoHost { policy: "x".to_owned() }));
    assert_eq!(presented_certificate(&server).await, new.leaf());
}

#[test]
fn a_bad_file_is_named_with_its_cause() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    let (certificate, key) = pki::server_pem(&["localhost"]);
    let (_, other_key) = pki::server_pem(&["localhost"]);
    std::fs::write(path("cert.pem"), &certificate).unwrap();
    std::fs::write(path("key.pem"), &key).unwrap();
    std::fs::write(path("other.pem"), &other_key).unwrap();
    std::fs::write(path("empty.pem"), "").unwrap();
    std::fs::write(path("broken.pem"), certificate.replace("\nMII", "\n!!!")).unwrap();
    std::fs::write(path("both.pem"), format!("{key}{certificate}")).unwrap();
    std::os::unix::fs::symlink("/dev/zero", path("zero.pem")).unwrap();
    let load = |certificate: &str, key: &str| Identity::from_pem_files(path(certificate), path(key));
    assert!(load("cert.pem", "key.pem").is_ok());
    assert!(load("both.pem", "both.pem").is_ok(), "one file with both, in any order");
    for (certificate, key, file, cause) in [
        ("missing.pem", "key.pem", "missing.pem", "No such file"),
        ("cert.pem", "zero.pem", "zero.pem", "a character device, not a file"),
        ("empty.pem", "key.pem", "empty.pem", "contains no certificate"),
        ("key.pem", "key.pem", "key.pem", "contains no certificate"),
        ("broken.pem", "key.pem", "broken.pem", "not valid PEM"),
        ("cert.pem", "missing.pem", "missing.pem", "No such file"),
        ("cert.pem", "cert.pem", "cert.pem", "contains no private key"),
        (
            "cert.pem",
            "other.pem",
            "other.pem",
            "does not belong to the first certificate of",
        ),
    ] {
        let error = load(certificate, key).unwrap_err().to_string();
        assert!(
            error.contains(&*path(file).display().to_string()) && error.contains(cause),
            "{error}"
        );
    }
}

/// Answers when told to.
#[derive(Clone)]
struct Waiting {
    begun: Arc<AtomicUsize>,
    dropped: Arc<AtomicUsize>,
    go: Arc<Semaphore>,
}

impl Waiting {
    fn new() -> Waiting {
        Waiting {
            begun: Arc::default(),
            dropped: Arc::default(),
            go: Arc::new(Semaphore::new(0)),
        }
    }

    async fn wait_until_begun(&self, count: usize) {
        while self.begun.load(SeqCst) < count {
            sleep(Duration::from_millis(1)).await;
        }
    }
}

struct CountsDrop(Arc<AtomicUsize>);

impl Drop for CountsDrop {
    fn drop(&mut self) {
        self.0.fetch_add(1, SeqCst);
    }
}

impl Service for Waiting {
    async fn call(&self, _: &Arc<Connection>, _: Request<RequestBody>) -> Response<ResponseBody> {
        let guard = CountsDrop(Arc::clone(&self.dropped));
        self.begun.fetch_add(1, SeqCst);
        self.go.acquire().await.unwrap().forget();
        std::mem::forget(guard);
        Response::new("done".into())
    }
}

#[tokio::test]
async fn a_drain_finishes_what_was_begun_and_takes_nothing_new() {
    let waiting = Waiting::new();
    let handle = serve(settings(Transport::Plain, quick()), waiting.clone());
    let address = handle.local_addr();
    let mut idle = TcpStream::connect(address).await.unwrap();
    let mut busy = TcpStream::connect(address).await.unwrap();
    busy.write_all(REQUEST).await.unwrap();
    waiting.wait_until_begun(1).await;

    let draining = tokio::spawn({
        let handle = handle.clone();
        async move { handle.drain().await }
    });
    assert_eq!(
        read_to_end(&mut idle).await.unwrap(),
        "",
        "an idle connection is closed at once"
    );
    while TcpStream::connect(address).await.is_ok() {
        sleep(Duration::from_millis(1)).await;
    }
    assert!(!draining.is_finished());
    waiting.go.add_permits(1);
    let answer = read_to_end(&mut busy).await.unwrap();
    assert!(
        answer.ends_with("done") && answer.contains("connection: close"),
        "{answer}"
    );
    timeout(PATIENCE, draining).await.unwrap().unwrap();
    assert_eq!(handle.counters().snapshot().connections_open, 0);
}

#[tokio::test]
async fn a_drain_cuts_what_does_not_end() {
    let waiting = Waiting::new();
    let handle = serve(settings(Transport::Tls(mutual_policy()), quick()), waiting.clone());
    let mut busy = RawClient::any_version(None)
        .connect_to(handle.local_addr(), "localhost")
        .await
        .unwrap();
    busy.write_all(REQUEST).await.unwrap();
    waiting.wait_until_begun(1).await;
    // A handshake that was begun, too.
    let _silent = TcpStream::connect(handle.local_addr()).await.unwrap();
    let begun = Instant::now();
    timeout(PATIENCE, handle.drain_within(Duration::from_millis(200)))
        .await
        .unwrap();
    assert!(
        (Duration::from_millis(200)..Duration::from_secs(3)).contains(&begun.elapsed()),
        "{:?}",
        begun.elapsed()
    );
    assert_eq!(waiting.dropped.load(SeqCst), 1, "its work is given up");
    assert_eq!(handle.counters().snapshot().connections_open, 0);
}

// covers T26
#[test]
fn several_runtimes_share_a_port_that_no_other_listener_can_take() {
    let runtimes = Runtimes::start(2).unwrap();
    let listener = |address| {
        let settings = ListenerSettings {
            limits: quick(),
            ..ListenerSettings::new("test", address, Transport::Plain)
        };
        Listener::bind(settings, &runtimes)
    };
    let first = listener(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
    let address = first.local_addr();
    match listener(address) {
        Err(error @ BindError::Socket { .. }) => {
            let said = error.to_string();
            assert!(said.contains(&address.to_string()) && said.contains("in use"), "{said}");
        }
        other => panic!("{other:?}"),
    }
    let threads: Arc<std::sync::Mutex<std::collections::BTreeSet<String>>> = Arc::default();
    let handle = first.serve(NamesThread(Arc::clone(&threads)));
    runtimes.block_on(async {
        for _ in 0..64 {
            let mut stream = TcpStream::connect(address).await.unwrap();
            let request = b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
            assert_eq!(status(&exchange(&mut stream, request).await.unwrap()), "200");
        }
        handle.drain().await;
    });
    // The kernel spreads connections by their ports: that all 64 fall to one side is a chance of 2^-63.
    assert_eq!(threads.lock().unwrap().len(), 2);
    assert!(listener(address).is_ok(), "after the drain the port is free");
}

struct NamesThread(Arc<std::sync::Mutex<std::collections::BTreeSet<String>>>);

impl Service for NamesThread {
    async fn call(&self, _: &Arc<Connection>, _: Request<RequestBody>) -> Response<ResponseBody> {
        self.0
            .lock()
            .unwrap()
            .insert(std::thread::current().name().unwrap_or("").to_owned());
        Response::new(ResponseBody::Empty)
    }
}

/// Switches to an echo where asked for `echo`; else answers 200.
struct Upgrades;

impl Service for Upgrades {
    async fn call(&self, _: &Arc<Connection>, mut request: Request<RequestBody>) -> Response<ResponseBody> {
        if request
            .headers()
            .get("upgrade")
            .is_none_or(|protocol| protocol != "echo")
        {
            return Response::new(format!("no upgrade for {}", request.uri()).into());
        }
        let upgrade = hyper::upgrade::on(&mut request);
        tokio::spawn(async move {
            let mut stream = hyper_util::rt::TokioIo::new(upgrade.await.unwrap());
            let mut chunk = [0; 1024];
            while let Ok(count @ 1..) = stream.read(&mut chunk).await {
                if stream.write_all(&chunk[..count]).await.is_err() {
                    break;
                }
            }
        });
        let mut response = Response::new(ResponseBody::Empty);
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        response
            .headers_mut()
            .insert("upgrade", http::HeaderValue::from_static("echo"));
        response
            .headers_mut()
            .insert("connection", http::HeaderValue::from_static("upgrade"));
        response
    }
}

// covers T28
#[tokio::test]
async fn a_tunnel_opens_after_101_alone() {
    let handle = serve(settings(Transport::Plain, quick()), Upgrades);
    let head = |protocol: &str, path: &str| {
        format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: upgrade\r\nUpgrade: {protocol}\r\n\r\n")
    };
    // What looks like a request inside the tunnel is the tunnel's, and what is no HTTP at all, too.
    let mut stream = TcpStream::connect(handle.local_addr()).await.unwrap();
    let inside = "GET /inside HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n\0\x01";
    stream
        .write_all(format!("{}{inside}", head("echo", "/")).as_bytes())
        .await
        .unwrap();
    let answer = read_until(&mut stream, "\0\x01").await;
    assert!(
        answer.starts_with("HTTP/1.1 101") && answer.ends_with(inside),
        "{answer}"
    );
    // Idle for longer than any request may be.
    assert_eq!(handle.counters().snapshot().connections_open, 1);
    drop(stream);

    // Without 101 the next octets are the next request, screened.
    let mut stream = TcpStream::connect(handle.local_addr()).await.unwrap();
    let octets = format!(
        "{}{}GET /bad HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        head("h2c", "/one"),
        head("h2c", "/two")
    );
    let answers = exchange(&mut stream, octets.as_bytes()).await.unwrap();
    assert!(
        answers.contains("no upgrade for /one") && answers.contains("no upgrade for /two"),
        "{answers}"
    );
    assert!(
        answers.contains("HTTP/1.1 400") && !answers.contains("/bad"),
        "{answers}"
    );
    while handle.counters().snapshot().connections_open > 0 {
        sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test]
async fn a_vanished_client_ends_its_request() {
    let waiting = Waiting::new();
    let handle = serve(settings(Transport::Plain, quick()), waiting.clone());
    let mut stream = TcpStream::connect(handle.local_addr()).await.unwrap();
    stream.write_all(REQUEST).await.unwrap();
    waiting.wait_until_begun(1).await;
    drop(stream);
    let gone = async {
        while waiting.dropped.load(SeqCst) == 0 || handle.counters().snapshot().connections_open > 0 {
            sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(PATIENCE, gone).await.unwrap();
}

/// A response without end.
struct Endless(Arc<AtomicUsize>);

impl http_body::Body for Endless {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, std::convert::Infallible>>> {
        self.0.fetch_add(1, SeqCst);
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(&[b'a'; 16 * 1024])))))
    }
}

struct Downloads {
    polled: Arc<AtomicUsize>,
    closes: Arc<AtomicBool>,
}

impl Service for Downloads {
    async fn call(&self, connection: &Arc<Connection>, _: Request<RequestBody>) -> Response<ResponseBody> {
        if self.closes.load(SeqCst) {
            let connection = Arc::clone(connection);
            tokio::spawn(async move {
                sleep(Duration::from_millis(100)).await;
                connection.close();
            });
        }
        Response::new(ResponseBody::stream(Endless(Arc::clone(&self.polled))))
    }
}

// covers T25
#[tokio::test]
async fn a_reader_that_takes_nothing_slows_its_response_and_is_cut_after_the_idle_time() {
    let service = Downloads {
        polled: Arc::default(),
        closes: Arc::default(),
    };
    let polled = Arc::clone(&service.polled);
    let limits = Limits {
        idle_timeout: Duration::from_millis(500),
        ..quick()
    };
    let handle = serve(settings(Transport::Plain, limits), service);
    let begun = Instant::now();
    let mut stream = TcpStream::connect(handle.local_addr()).await.unwrap();
    stream.write_all(REQUEST).await.unwrap();
    sleep(Duration::from_millis(300)).await;
    let before = polled.load(SeqCst);
    assert!(before < 1000, "nothing piles up: {before} chunks");
    while handle.counters().snapshot().connections_open > 0 {
        sleep(Duration::from_millis(1)).await;
        assert!(begun.elapsed() < PATIENCE);
    }
    assert!(begun.elapsed() >= Duration::from_millis(500));
    // A reader that is only slow is served on.
    let mut slow = TcpStream::connect(handle.local_addr()).await.unwrap();
    slow.write_all(REQUEST).await.unwrap();
    // The system takes more only once a good part of its buffer is free, so the reader must not be slower than that.
    let mut chunk = vec![0; 4 * 1024 * 1024];
    for _ in 0..8 {
        sleep(Duration::from_millis(150)).await;
        slow.read_exact(&mut chunk).await.unwrap();
    }
    assert_eq!(handle.counters().snapshot().connections_open, 1);
}

#[tokio::test]
async fn a_service_can_cut_its_connection_in_the_middle_of_a_response() {
    let service = Downloads {
        polled: Arc::default(),
        closes: Arc::new(AtomicBool::new(true)),
    };
    let handle = serve(settings(Transport::Tls(mutual_policy()), quick()), service);
    let mut stream = RawClient::any_version(None)
        .connect_to(handle.local_addr(), "localhost")
        .await
        .unwrap();
    stream.write_all(REQUEST).await.unwrap();
    let mut chunk = vec![0; 64 * 1024];
    let reading = async { while let Ok(1..) = stream.read(&mut chunk).await {} };
    timeout(PATIENCE, reading).await.expect("the connection should be cut");
    while handle.counters().snapshot().connections_open > 0 {
        sleep(Duration::from_millis(1)).await;
    }
}
