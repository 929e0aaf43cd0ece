//! URLs that somebody else chose.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use http::{HeaderValue, Request, Response, StatusCode};
use keybound_tls::{
    Connection, FetchError, GuardedFetch, GuardedFetchSettings, ListenerHandle, RequestBody, RequestError,
    ResponseBody, Roots, Service, Transport,
};
use tokio::{
    net::TcpListener,
    time::{Instant, sleep},
};

use crate::{
    pki,
    support::{public_policy, quick, serve, settings},
};

fn fetch(allowed: &[&str]) -> GuardedFetch {
    let mut settings = GuardedFetchSettings::new(pki::roots());
    settings.allow_addresses = allowed.iter().map(|range| range.parse().unwrap()).collect();
    settings.timeout = Duration::from_millis(700);
    GuardedFetch::new(settings)
}

/// A listener that counts connections, and should count none.
pub(crate) struct Canary {
    pub(crate) address: SocketAddr,
    pub(crate) connections: Arc<AtomicUsize>,
}

impl Canary {
    pub(crate) async fn start(address: &str) -> Canary {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let connections = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&connections);
        tokio::spawn(async move {
            while listener.accept().await.is_ok() {
                counter.fetch_add(1, SeqCst);
            }
        });
        Canary { address, connections }
    }
}

// covers T22, TRAP-42
#[tokio::test]
async fn special_use_addresses_in_every_spelling_are_never_connected_to() {
    let canaries = [Canary::start("0.0.0.0:0").await, Canary::start("[::1]:0").await];
    let fetch = fetch(&[]);
    let mut payloads = 0;
    for port in canaries.iter().map(|canary| canary.address.port()) {
        for host in [
            "127.0.0.1",
            "127.1",
            "127.0.1",
            "0x7f000001",
            "0x7f.1",
            "0177.0.0.1",
            "017700000001",
            "2130706433",
            "127.000.000.001",
            "0",
            "0.0.0.0",
            "localhost",
            "LOCALHOST",
            "localhost.",
            "[::1]",
            "[::]",
            "[0:0:0:0:0:0:0:1]",
            "[::ffff:127.0.0.1]",
            "[::ffff:7f00:1]",
            "[::127.0.0.1]",
            "[64:ff9b::7f00:1]",
            "127.255.255.254",
            "１２７.0.0.1",
            "127。0。0。1",
            "%31%32%37.0.0.1",
            "127.0.0.1.",
            "①②⑦.0.0.1",
            "0x7F.0x0.0x0.0x1",
        ] {
            let result = fetch.get(&format!("https://{host}:{port}/jwks")).await;
            let refused = matches!(result, Err(FetchError::AddressNotAllowed { .. } | FetchError::Url))
                // A name that this machine does not know.
                || matches!(result, Err(FetchError::Request(RequestError::Resolve { .. })));
            assert!(refused, "{host}: {result:?}");
            payloads += 1;
        }
    }
    // 2,048 spellings of special-use addresses.
    for number in 0..256_u32 {
        let first = [0, 10, 127, 127, 169, 172, 192, 224][number as usize % 8];
        let second = [1, 2, 3, 4, 254, 16, 168, 5][number as usize % 8];
        let address = std::net::Ipv4Addr::new(first, second, number as u8, 1);
        let [a, b, c, d] = address.octets();
        let decimal = u32::from(address);
        for host in [
            address.to_string(),
            decimal.to_string(),
            format!("{decimal:#x}"),
            format!("{decimal:#o}").replace("0o", "0"),
            format!("{a:#x}.{b:#x}.{c:#x}.{d:#x}"),
            format!("{a}.{b}.{}", u32::from(c) * 256 + u32::from(d)),
            format!("[::ffff:{address}]"),
            format!("[64:ff9b::{address}]"),
        ] {
            let result = fetch.get(&format!("https://{host}/")).await;
            assert!(
                matches!(result, Err(FetchError::AddressNotAllowed { .. })),
                "{host}: {result:?}"
            );
        }
    }
    // None of these has anything to do with the canaries: they go nowhere for their own reasons.
    for address in [
        "10.0.0.1",
        "169.254.169.254",
        "192.168.0.1",
        "100.64.0.1",
        "[fe80::1]",
        "[fc00::1]",
        "[fd00:ec2::254]",
    ] {
        let result = fetch.get(&format!("https://{address}/")).await;
        assert!(
            matches!(result, Err(FetchError::AddressNotAllowed { .. })),
            "{address}: {result:?}"
        );
    }
    sleep(Duration::from_millis(50)).await;
    let connections: usize = canaries.iter().map(|canary| canary.connections.load(SeqCst)).sum();
    assert_eq!(connections, 0, "after {payloads} payloads");
    // The canaries do sing.
    let _ = self::fetch(&["127.0.0.0/8"])
        .get(&format!("https://127.0.0.1:{}/", canaries[0].address.port()))
        .await;
    assert_eq!(canaries[0].connections.load(SeqCst), 1);
}

// covers T22, TRAP-42
#[tokio::test]
async fn only_https_without_credentials_is_fetched() {
    let canary = Canary::start("127.0.0.1:0").await;
    let fetch = fetch(&["127.0.0.0/8"]);
    let port = canary.address.port();
    for url in [
        format!("http://127.0.0.1:{port}/"),
        format!("HTTP://127.0.0.1:{port}/"),
        format!("ftp://127.0.0.1:{port}/"),
        format!("gopher://127.0.0.1:{port}/"),
        format!("ws://127.0.0.1:{port}/"),
        "file:///etc/passwd".to_owned(),
        "data:application/json,{}".to_owned(),
        "javascript:alert(1)".to_owned(),
        "unix:/var/run/docker.sock".to_owned(),
    ] {
        assert!(matches!(fetch.get(&url).await, Err(FetchError::Scheme { .. })), "{url}");
    }
    for url in [
        format!("https://user@127.0.0.1:{port}/"),
        format!("https://:secret@127.0.0.1:{port}/"),
    ] {
        assert!(matches!(fetch.get(&url).await, Err(FetchError::Credentials)), "{url}");
    }
    for url in [
        "",
        "jwks",
        "//127.0.0.1/",
        "https://",
        "https://?",
        "https://[::1",
        "https://a b/",
        "https://a:99999/",
    ] {
        assert!(
            matches!(fetch.get(url).await, Err(FetchError::Url | FetchError::NoHost)),
            "{url}"
        );
    }
    assert_eq!((canary.connections.load(SeqCst), fetch.started()), (0, 0));
}

/// Serves what its path asks for.
#[derive(Default)]
struct Files {
    requests: Arc<AtomicUsize>,
}

impl Service for Files {
    async fn call(&self, _: &Arc<Connection>, request: Request<RequestBody>) -> Response<ResponseBody> {
        self.requests.fetch_add(1, SeqCst);
        let mut response = Response::new(ResponseBody::Empty);
        match request.uri().path() {
            "/jwks" => {
                *response.body_mut() = r#"{"keys":[]}"#.into();
                let headers = response.headers_mut();
                headers.insert("content-type", HeaderValue::from_static("application/jwk-set+json"));
                headers.insert("cache-control", HeaderValue::from_static("public, Max-Age=120"));
            }
            "/redirect" => {
                *response.status_mut() = StatusCode::FOUND;
                response
                    .headers_mut()
                    .insert("location", HeaderValue::from_static("/jwks"));
            }
            "/notified" => {
                let header = |name: &str| request.headers().get(name).and_then(|value| value.to_str().ok());
                let is_told = request.method() == http::Method::POST
                    && header("authorization") == Some("Bearer of-the-client")
                    && header("content-type") == Some("application/json");
                *response.status_mut() = match is_told {
                    true => StatusCode::NO_CONTENT,
                    false => StatusCode::UNAUTHORIZED,
                };
            }
            "/slow" => sleep(Duration::from_secs(5)).await,
            "/brief" => sleep(Duration::from_millis(100)).await,
            path => {
                let bytes = path
                    .trim_start_matches('/')
                    .trim_end_matches("/stream")
                    .parse()
                    .unwrap_or(0);
                let whole = http_body_util::Full::new(bytes::Bytes::from(vec![b'a'; bytes]));
                *response.body_mut() = match path.ends_with("/stream") {
                    true => ResponseBody::stream(http_body_util::combinators::BoxBody::new(Unannounced(whole))),
                    false => vec![b'a'; bytes].into(),
                };
            }
        }
        response
    }
}

/// Hides its length.
struct Unannounced(http_body_util::Full<bytes::Bytes>);

impl http_body::Body for Unannounced {
    type Data = bytes::Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<http_body::Frame<bytes::Bytes>, Self::Error>>> {
        std::pin::Pin::new(&mut self.0).poll_frame(context)
    }
}

fn files() -> (ListenerHandle, Arc<AtomicUsize>) {
    let files = Files::default();
    let requests = Arc::clone(&files.requests);
    (
        serve(settings(Transport::Tls(public_policy()), quick()), files),
        requests,
    )
}

// covers T22, TRAP-42
#[tokio::test]
async fn what_comes_is_limited_in_size_and_time_and_redirects_are_not_followed() {
    let (server, requests) = files();
    let fetch = fetch(&["127.0.0.0/8", "::1/128"]);
    let url = |path: &str| format!("https://localhost:{}{path}#fragment", server.local_addr().port());
    let fetched = fetch.get(&url("/jwks")).await.unwrap();
    assert_eq!(&fetched.body[..], br#"{"keys":[]}"#);
    assert_eq!(fetched.content_type.as_deref(), Some("application/jwk-set+json"));
    assert_eq!(fetched.max_age, Some(Duration::from_secs(120)));

    let before = requests.load(SeqCst);
    assert!(matches!(
        fetch.get(&url("/redirect")).await,
        Err(FetchError::Status { status: 302 })
    ));
    assert_eq!(requests.load(SeqCst), before + 1);
    for (path, fits) in [
        ("/262144", true),
        ("/262145", false),
        ("/262144/stream", true),
        ("/262145/stream", false),
    ] {
        let result = fetch.get(&url(path)).await;
        match fits {
            true => assert_eq!(result.unwrap().body.len(), 262_144),
            false => assert!(
                matches!(
                    result,
                    Err(FetchError::Request(RequestError::ResponseTooLong {
                        bytes_max: 262_144
                    }))
                ),
                "{result:?}"
            ),
        }
    }
    let begun = Instant::now();
    assert!(matches!(fetch.get(&url("/slow")).await, Err(FetchError::Timeout(_))));
    assert!(begun.elapsed() < Duration::from_secs(3));
    assert_eq!((fetch.started(), fetch.failed()), (7, 4));
}

// covers X509-3, T22
#[tokio::test]
async fn the_server_must_be_trusted_and_have_the_name() {
    let (server, requests) = files();
    let port = server.local_addr().port();
    let fetch = fetch(&["127.0.0.0/8"]);
    // The certificate is for localhost alone.
    let result = fetch.get(&format!("https://127.0.0.1:{port}/jwks")).await;
    assert!(
        matches!(result, Err(FetchError::Request(RequestError::ServerNotTrusted { .. }))),
        "{result:?}"
    );
    let mut strangers = GuardedFetchSettings::new(Roots::from_pem(pki::authority("Other").pem().as_bytes()).unwrap());
    strangers.allow_addresses = vec!["127.0.0.0/8".parse().unwrap(), "::1/128".parse().unwrap()];
    let result = GuardedFetch::new(strangers)
        .get(&format!("https://localhost:{port}/jwks"))
        .await;
    assert!(
        matches!(result, Err(FetchError::Request(RequestError::ServerNotTrusted { .. }))),
        "{result:?}"
    );
    assert_eq!(requests.load(SeqCst), 0);
}

// covers TRAP-42
#[tokio::test]
async fn callers_that_want_the_same_at_once_share_one_fetch() {
    let (server, requests) = files();
    let fetch = fetch(&["127.0.0.0/8", "::1/128"]);
    let url = format!("https://localhost:{}/brief", server.local_addr().port());
    let callers: Vec<_> = (0..50)
        .map(|_| {
            let (fetch, url) = (fetch.clone(), url.clone());
            tokio::spawn(async move { fetch.get(&url).await })
        })
        .collect();
    for caller in callers {
        caller.await.unwrap().unwrap();
    }
    assert_eq!((requests.load(SeqCst), fetch.started()), (1, 1));
    fetch.get(&url).await.unwrap();
    assert_eq!(requests.load(SeqCst), 2, "a later caller fetches anew");
    // A caller that goes away does not take the others' answer with it.
    let first = tokio::spawn({
        let (fetch, url) = (fetch.clone(), url.clone());
        async move { fetch.get(&url).await }
    });
    sleep(Duration::from_millis(20)).await;
    let second = tokio::spawn(async move { fetch.get(&url).await });
    sleep(Duration::from_millis(20)).await;
    first.abort();
    second.await.unwrap().unwrap();
}

// covers CIBA-5
#[tokio::test]
async fn what_is_posted_carries_its_token_and_follows_no_redirect() {
    let (server, requests) = files();
    let fetch = fetch(&["127.0.0.0/8", "::1/128"]);
    let url = |path: &str| format!("https://localhost:{}{path}", server.local_addr().port());
    let post = async |path: &str, token: &str| fetch.post_json(&url(path), token, "{}".into()).await;
    let refused = post("/notified", "of-another").await.unwrap_err();
    assert!(matches!(refused, FetchError::Status { status: 401 }) && !refused.may_pass());
    let redirected = post("/redirect", "of-the-client").await.unwrap_err();
    assert!(matches!(redirected, FetchError::Status { status: 302 }) && !redirected.may_pass());
    assert_eq!(requests.load(SeqCst), 2);
    let late = post("/slow", "of-the-client").await.unwrap_err();
    assert!(matches!(late, FetchError::Timeout(_)) && late.may_pass());
    post("/notified", "of-the-client").await.unwrap();
    let plain = url("/notified").replace("https:", "http:");
    let plain = fetch.post_json(&plain, "of-the-client", "{}".into()).await.unwrap_err();
    assert!(matches!(plain, FetchError::Scheme { .. }));
}
