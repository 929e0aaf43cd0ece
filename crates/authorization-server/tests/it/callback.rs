//! A client's notification endpoint (CIBA Core §9): a server of its own over TLS that keeps what it was sent.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use keybound_tls::{
    ClientCertificatePolicy, Connection, GuardedFetch, GuardedFetchSettings, HostPolicies, HostPolicy, Listener,
    ListenerHandle, ListenerSettings, RequestBody, ResponseBody, Roots, Runtimes, Service, Transport,
};
use serde_json::Value;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::timeout;

use crate::pki::Authority;
use crate::world::{Plan, server_identity};

/// How long a fetch of the server waits in these tests.
pub(crate) const PATIENCE: Duration = Duration::from_millis(500);

/// What arrived.
#[derive(Debug)]
pub(crate) struct Delivery {
    pub(crate) method: Method,
    pub(crate) path: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Value,
}

/// The endpoint. What it answers depends on the path: see [`Endpoint::call`].
pub(crate) struct Callback {
    listener: ListenerHandle,
    authority: Authority,
    arrived: tokio::sync::Mutex<UnboundedReceiver<Delivery>>,
}

struct Endpoint {
    arrived: UnboundedSender<Delivery>,
    calls: AtomicUsize,
}

/// A body that never comes to its end.
struct Endless;

impl http_body::Body for Endless {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        self: std::pin::Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<http_body::Frame<Bytes>, Self::Error>>> {
        context.waker().wake_by_ref();
        std::task::Poll::Ready(Some(Ok(http_body::Frame::data(Bytes::from_static(&[b'a'; 1024])))))
    }
}

impl Service for Endpoint {
    async fn call(&self, _: &Arc<Connection>, request: Request<RequestBody>) -> Response<ResponseBody> {
        let (parts, body) = request.into_parts();
        let path = parts.uri.path().to_owned();
        let body = body.collect().await.unwrap();
        self.arrived
            .send(Delivery {
                method: parts.method,
                path: path.clone(),
                headers: parts.headers,
                body: serde_json::from_slice(&body).unwrap(),
            })
            .unwrap();
        let is_first = self.calls.fetch_add(1, Ordering::SeqCst) == 0;
        let mut response = Response::new(ResponseBody::Empty);
        let status = match path.as_str() {
            "/redirecting" => {
                let elsewhere = HeaderValue::from_static("/cb");
                response.headers_mut().insert("location", elsewhere);
                StatusCode::TEMPORARY_REDIRECT
            }
            "/refusing" => StatusCode::UNAUTHORIZED,
            "/recovering" if is_first => StatusCode::SERVICE_UNAVAILABLE,
            "/talkative" => {
                *response.body_mut() = ResponseBody::stream(Endless);
                StatusCode::OK
            }
            "/silent" => std::future::pending().await,
            _ => StatusCode::NO_CONTENT,
        };
        *response.status_mut() = status;
        response
    }
}

impl Callback {
    pub(crate) fn start() -> Callback {
        let authority = Authority::root("callback authority");
        let (sender, receiver) = unbounded_channel();
        let policy = HostPolicy::new("callback", ClientCertificatePolicy::Never, server_identity(&authority));
        let transport = Transport::Tls(HostPolicies::one(policy));
        let settings = ListenerSettings::new("callback", SocketAddr::from(([127, 0, 0, 1], 0)), transport);
        let endpoint = Endpoint {
            arrived: sender,
            calls: AtomicUsize::new(0),
        };
        Callback {
            listener: Listener::bind(settings, &Runtimes::current()).unwrap().serve(endpoint),
            authority,
            arrived: receiver.into(),
        }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("https://localhost:{}{path}", self.listener.local_addr().port())
    }

    /// The server as one that trusts this endpoint's certificate and may call these addresses.
    pub(crate) fn trusted(&self, mut plan: Plan, allowed: &[&str]) -> Plan {
        let mut fetch = GuardedFetchSettings::new(Roots::from_pem(self.authority.pem().as_bytes()).unwrap());
        fetch.allow_addresses = allowed.iter().map(|range| range.parse().unwrap()).collect();
        fetch.timeout = PATIENCE;
        plan.settings.fetch = GuardedFetch::new(fetch);
        plan
    }

    /// The next thing that arrives.
    #[track_caller]
    pub(crate) fn next(&self) -> impl Future<Output = Delivery> {
        let caller = std::panic::Location::caller();
        async move {
            let mut arrived = self.arrived.lock().await;
            let next = timeout(Duration::from_secs(10), arrived.recv()).await;
            next.unwrap_or_else(|_| panic!("nothing arrived, {caller}")).unwrap()
        }
    }

    /// Asserts that nothing arrives in this time.
    pub(crate) async fn nothing_within(&self, time: Duration) {
        let more = timeout(time, async { self.arrived.lock().await.recv().await }).await;
        assert!(more.is_err(), "{more:?}");
    }
}
