//! Those whom a URL names: name services that change their mind, servers that send one elsewhere or never end.

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
    Connection, FetchError, GuardedFetch, GuardedFetchSettings, RequestBody, RequestError, Resolver, ResponseBody,
    Service, Transport,
};
use tokio::time::{Instant, sleep};

use crate::{
    guarded_fetch::Canary,
    pki,
    support::{public_policy, quick, serve, settings},
};

/// 127.0.0.1 is a public address here, and the rest of 127.0.0.0/8 is the inside that nobody may reach.
const PUBLIC: [u8; 4] = [127, 0, 0, 1];
const INSIDE: [u8; 4] = [127, 0, 0, 2];

fn fetch(allowed: &str, resolver: Resolver) -> GuardedFetch {
    let mut settings = GuardedFetchSettings::new(pki::roots());
    settings.allow_addresses = vec![allowed.parse().unwrap()];
    settings.timeout = Duration::from_millis(700);
    settings.resolver = resolver;
    GuardedFetch::new(settings)
}

/// A name service that knows one address.
fn always(address: [u8; 4]) -> Resolver {
    Resolver::from_fn(move |_, port| Box::pin(async move { Ok(vec![SocketAddr::from((address, port))]) }))
}

/// Answers with a key set.
struct Keys;

impl Service for Keys {
    async fn call(&self, _: &Arc<Connection>, _: Request<RequestBody>) -> Response<ResponseBody> {
        Response::new(ResponseBody::from(r#"{"keys":[]}"#))
    }
}

// covers T22, TRAP-42
#[tokio::test]
async fn a_name_that_is_rebound_is_asked_once_for_each_fetch_and_leads_to_no_address_that_was_not_checked() {
    let server = serve(settings(Transport::Tls(public_policy()), quick()), Keys);
    let port = server.local_addr().port();
    // The same port on the inside: whoever connects there followed the second answer.
    let canary = Canary::start(&format!("127.0.0.2:{port}")).await;
    let asked = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&asked);
    // Every other answer is another one, and every third fetch meets both at once.
    let resolver = Resolver::from_fn(move |_, port| {
        let addresses = match counter.fetch_add(1, SeqCst) % 3 {
            0 => vec![PUBLIC],
            1 => vec![INSIDE],
            _ => vec![PUBLIC, INSIDE],
        };
        let addresses = addresses.into_iter().map(|address| SocketAddr::from((address, port)));
        let addresses = addresses.collect();
        Box::pin(async move { Ok(addresses) })
    });
    let fetch = self::fetch("127.0.0.1/32", resolver);
    let (mut fetched, mut refused) = (0, 0);
    for number in 0..300 {
        match fetch.get(&format!("https://localhost:{port}/{number}")).await {
            Ok(_) => fetched += 1,
            Err(FetchError::AddressNotAllowed { address, .. }) => {
                assert_eq!(address, std::net::IpAddr::from(INSIDE));
                refused += 1;
            }
            Err(error) => panic!("{error}"),
        }
    }
    sleep(Duration::from_millis(50)).await;
    assert_eq!((fetched, refused, asked.load(SeqCst)), (100, 200, 300));
    assert_eq!(canary.connections.load(SeqCst), 0);
    // The canary does sing.
    let resolver = always(INSIDE);
    let _ = self::fetch("127.0.0.0/8", resolver)
        .get(&format!("https://localhost:{port}/"))
        .await;
    assert_eq!(canary.connections.load(SeqCst), 1);
}

/// Sends whoever comes elsewhere.
struct Elsewhere {
    status: StatusCode,
    to: String,
}

impl Service for Elsewhere {
    async fn call(&self, _: &Arc<Connection>, _: Request<RequestBody>) -> Response<ResponseBody> {
        let mut response = Response::new(ResponseBody::from(r#"{"keys":[]}"#));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        for name in ["location", "refresh", "content-location", "alt-svc", "link"] {
            headers.insert(name, HeaderValue::from_str(&self.to).unwrap());
        }
        response
    }
}

// covers T22, TRAP-42
#[tokio::test]
async fn nobody_is_sent_elsewhere_by_any_status() {
    let canary = Canary::start("127.0.0.1:0").await;
    let fetch = self::fetch("127.0.0.0/8", always(PUBLIC));
    for status in [201, 204, 300, 301, 302, 303, 304, 305, 307, 308, 401, 407] {
        let elsewhere = Elsewhere {
            status: StatusCode::from_u16(status).unwrap(),
            to: format!("https://127.0.0.1:{}/", canary.address.port()),
        };
        let server = serve(settings(Transport::Tls(public_policy()), quick()), elsewhere);
        let url = format!("https://localhost:{}/", server.local_addr().port());
        let result = fetch.get(&url).await;
        assert!(
            matches!(result, Err(FetchError::Status { status: answered }) if answered == status),
            "{status} {result:?}"
        );
    }
    assert_eq!(canary.connections.load(SeqCst), 0);
}

/// A body that never ends: as fast as it is read, or an octet at a time.
struct Endless {
    pause: Duration,
    sent: Arc<AtomicUsize>,
}

impl Service for Endless {
    async fn call(&self, _: &Arc<Connection>, _: Request<RequestBody>) -> Response<ResponseBody> {
        let (pause, sent) = (self.pause, Arc::clone(&self.sent));
        let octets = if pause.is_zero() { 16 * 1024 } else { 1 };
        let frames = Frames {
            pause,
            octets,
            sent,
            sleeping: None,
        };
        Response::new(ResponseBody::stream(http_body_util::combinators::BoxBody::new(frames)))
    }
}

struct Frames {
    pause: Duration,
    octets: usize,
    sent: Arc<AtomicUsize>,
    sleeping: Option<std::sync::Mutex<std::pin::Pin<Box<tokio::time::Sleep>>>>,
}

impl http_body::Body for Frames {
    type Data = bytes::Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<http_body::Frame<bytes::Bytes>, Self::Error>>> {
        use std::task::Poll;
        if let Some(sleeping) = &self.sleeping {
            let pending = sleeping.lock().unwrap().as_mut().poll(context).is_pending();
            if pending {
                return Poll::Pending;
            }
        }
        let pause = self.pause;
        self.sleeping = (!pause.is_zero()).then(|| std::sync::Mutex::new(Box::pin(sleep(pause))));
        self.sent.fetch_add(self.octets, SeqCst);
        let octets = bytes::Bytes::from(vec![b' '; self.octets]);
        Poll::Ready(Some(Ok(http_body::Frame::data(octets))))
    }
}

// covers T22, TRAP-42
#[tokio::test]
async fn a_body_without_end_is_read_to_the_limit_and_not_waited_for_longer_than_it() {
    let fetch = self::fetch("127.0.0.0/8", always(PUBLIC));
    for pause in [Duration::ZERO, Duration::from_millis(20)] {
        let sent = Arc::new(AtomicUsize::new(0));
        let endless = Endless {
            pause,
            sent: Arc::clone(&sent),
        };
        let server = serve(settings(Transport::Tls(public_policy()), quick()), endless);
        let begun = Instant::now();
        let result = fetch
            .get(&format!("https://localhost:{}/", server.local_addr().port()))
            .await;
        match pause.is_zero() {
            true => assert!(
                matches!(
                    result,
                    Err(FetchError::Request(RequestError::ResponseTooLong {
                        bytes_max: 262_144
                    }))
                ),
                "{result:?}"
            ),
            false => assert!(matches!(result, Err(FetchError::Timeout(_))), "{result:?}"),
        }
        assert!(begun.elapsed() < Duration::from_secs(3));
        // What the server could push into buffers, and not what it would have liked to.
        assert!(sent.load(SeqCst) < 64 << 20, "{}", sent.load(SeqCst));
    }
}
