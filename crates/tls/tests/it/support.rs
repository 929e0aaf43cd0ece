//! Servers and clients for the tests.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use http::{Request, Response};
use keybound_protocol::peer_certificate::PresentedCertificate;
use keybound_tls::{
    BodyError, ClientCertificatePolicy, Connection, HostPolicies, HostPolicy, LayerRefusal, Limits, Listener,
    ListenerHandle, ListenerSettings, RequestBody, ResponseBody, Runtimes, Service, Transport,
};
use rustls::{
    ClientConfig, RootCertStore, SignatureScheme,
    client::{ResolvesClientCert, Resumption},
    pki_types::{CertificateDer, ServerName, pem::PemObject},
    sign::CertifiedKey,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use crate::pki;

pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// Answers every request with what it saw, and counts.
#[derive(Clone, Default)]
pub(crate) struct Mirror {
    pub(crate) calls: Arc<AtomicUsize>,
    /// Requests whose body arrived whole.
    pub(crate) completed: Arc<AtomicUsize>,
    pub(crate) refusals: Arc<std::sync::Mutex<Vec<LayerRefusal>>>,
}

impl Mirror {
    pub(crate) fn calls(&self) -> usize {
        self.calls.load(SeqCst)
    }

    pub(crate) fn completed(&self) -> usize {
        self.completed.load(SeqCst)
    }

    pub(crate) fn refusals(&self) -> Vec<LayerRefusal> {
        self.refusals.lock().unwrap().clone()
    }
}

pub(crate) fn describe(presented: &PresentedCertificate) -> String {
    match presented {
        PresentedCertificate::NotRequested => "not requested".to_owned(),
        PresentedCertificate::None => "none".to_owned(),
        PresentedCertificate::Peer(peer) => format!("peer {}", peer.thumbprint()),
        PresentedCertificate::Forwarded(forwarded) => {
            format!("forwarded {} via {}", forwarded.thumbprint(), forwarded.via())
        }
        PresentedCertificate::ForwardingRefused(error) => format!("refused {error}"),
        PresentedCertificate::TooLong {
            presented_intermediates,
        } => format!("too long {presented_intermediates}"),
    }
}

/// The path that [`Mirror`] answers without a look at the body.
pub(crate) const EARLY: &str = "/early";

impl Service for Mirror {
    async fn call(&self, connection: &Arc<Connection>, request: Request<RequestBody>) -> Response<ResponseBody> {
        self.calls.fetch_add(1, SeqCst);
        if request.uri().path() == EARLY {
            return Response::new("early".into());
        }
        let presented = describe(connection.presented_for(request.extensions()));
        let forwarded_fields = request
            .headers()
            .keys()
            .filter(|name| name.as_str().starts_with("client-cert"))
            .count();
        let (method, uri) = (request.method().clone(), request.uri().clone());
        let body = match request.into_body().collect().await {
            Ok(body) => body,
            Err(BodyError::Refused(refusal)) => return self.refuse(connection, refusal),
            Err(BodyError::Broken(_)) => {
                // The peer went away in the middle: nobody reads this answer.
                let mut response = Response::new(ResponseBody::Empty);
                *response.status_mut() = http::StatusCode::BAD_REQUEST;
                return response;
            }
        };
        self.completed.fetch_add(1, SeqCst);
        Response::new(
            format!(
                "{method} {uri} policy={} sni={:?} presented={presented} fields={forwarded_fields} body={}",
                connection.policy(),
                connection.server_name(),
                body.len()
            )
            .into(),
        )
    }

    fn refuse(&self, _: &Arc<Connection>, refusal: LayerRefusal) -> Response<ResponseBody> {
        let response = keybound_tls::service::refusal_response(&refusal);
        self.refusals.lock().unwrap().push(refusal);
        response
    }
}

/// Limits short enough to wait for.
pub(crate) fn quick() -> Limits {
    Limits {
        sweep_interval: Duration::from_millis(20),
        linger_timeout: Duration::from_millis(500),
        ..Limits::default()
    }
}

/// A listener with a [`Mirror`] behind it.
pub(crate) struct Server {
    pub(crate) handle: ListenerHandle,
    pub(crate) mirror: Mirror,
}

impl Server {
    pub(crate) fn start(settings: ListenerSettings) -> Server {
        let mirror = Mirror::default();
        let handle = serve(settings, mirror.clone());
        Server { handle, mirror }
    }

    pub(crate) fn tls(policies: HostPolicies) -> Server {
        Server::start(settings(Transport::Tls(policies), quick()))
    }

    /// `localhost`, asking for certificates.
    pub(crate) fn mutual() -> Server {
        Server::mutual_with(quick())
    }

    pub(crate) fn mutual_with(limits: Limits) -> Server {
        Server::start(settings(Transport::Tls(mutual_policy()), limits))
    }

    pub(crate) fn plain(limits: Limits) -> Server {
        Server::start(settings(Transport::Plain, limits))
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.handle.local_addr()
    }

    /// A TCP connection to it.
    pub(crate) async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address()).await.unwrap()
    }

    /// Waits until no connection is left.
    pub(crate) async fn wait_until_empty(&self) {
        self.wait_for(|counters| counters.connections_open == 0).await;
    }

    pub(crate) async fn wait_for(&self, condition: impl Fn(&keybound_tls::CounterSnapshot) -> bool) {
        let waiting = async {
            while !condition(&self.handle.counters().snapshot()) {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        let in_time = timeout(PATIENCE, waiting).await.is_ok();
        assert!(in_time, "{:?}", self.handle.counters().snapshot());
    }

    pub(crate) fn count(&self, reason: &str) -> u64 {
        self.handle.counters().snapshot().count(reason)
    }
}

pub(crate) fn serve(settings: ListenerSettings, service: impl Service) -> ListenerHandle {
    Listener::bind(settings, &Runtimes::current()).unwrap().serve(service)
}

pub(crate) fn settings(transport: Transport, limits: Limits) -> ListenerSettings {
    let mut settings = ListenerSettings::new("test", SocketAddr::from(([127, 0, 0, 1], 0)), transport);
    settings.limits = limits;
    settings
}

pub(crate) fn mutual_policy() -> HostPolicies {
    HostPolicies::one(HostPolicy::new(
        "mutual_tls",
        ClientCertificatePolicy::Optional,
        pki::server(&["localhost"]),
    ))
}

pub(crate) fn public_policy() -> HostPolicies {
    HostPolicies::one(HostPolicy::new(
        "public",
        ClientCertificatePolicy::Never,
        pki::server(&["localhost"]),
    ))
}

/// What a server's CertificateRequest asked, and what is answered.
#[derive(Debug, Default)]
pub(crate) struct Resolver {
    pub(crate) key: Option<Arc<CertifiedKey>>,
    pub(crate) asked: AtomicUsize,
    pub(crate) hints: AtomicUsize,
}

impl ResolvesClientCert for Resolver {
    fn resolve(&self, hints: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.asked.fetch_add(1, SeqCst);
        self.hints.fetch_add(hints.len(), SeqCst);
        self.key.clone()
    }

    fn has_certs(&self) -> bool {
        self.key.is_some()
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Version {
    Tls12,
    Tls13,
}

pub(crate) const BOTH_VERSIONS: [Version; 2] = [Version::Tls12, Version::Tls13];

/// A TLS client of rustls itself, told what to do in detail.
pub(crate) struct RawClient {
    pub(crate) config: ClientConfig,
    pub(crate) resolver: Arc<Resolver>,
}

impl RawClient {
    pub(crate) fn new(versions: &[Version], client: Option<&pki::Client>) -> RawClient {
        let mut roots = RootCertStore::empty();
        roots
            .add(CertificateDer::from_pem_slice(pki::CA.pem().as_bytes()).unwrap())
            .unwrap();
        let resolver = Arc::new(Resolver {
            key: client.map(pki::Client::certified_key),
            ..Resolver::default()
        });
        let versions: Vec<_> = versions
            .iter()
            .map(|version| match version {
                Version::Tls12 => &rustls::version::TLS12,
                Version::Tls13 => &rustls::version::TLS13,
            })
            .collect();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&versions)
            .unwrap()
            .with_root_certificates(roots)
            .with_client_cert_resolver(Arc::clone(&resolver) as Arc<dyn ResolvesClientCert>);
        config.resumption = Resumption::in_memory_sessions(16);
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        RawClient { config, resolver }
    }

    pub(crate) fn any_version(client: Option<&pki::Client>) -> RawClient {
        RawClient::new(&BOTH_VERSIONS, client)
    }

    pub(crate) fn http2(client: Option<&pki::Client>) -> RawClient {
        let mut raw = RawClient::any_version(client);
        raw.config.alpn_protocols = vec![b"h2".to_vec()];
        raw
    }

    pub(crate) async fn connect(&self, server: &Server, name: &str) -> std::io::Result<TlsStream<TcpStream>> {
        self.connect_to(server.address(), name).await
    }

    pub(crate) async fn connect_to(&self, address: SocketAddr, name: &str) -> std::io::Result<TlsStream<TcpStream>> {
        let name = ServerName::try_from(name.to_owned()).unwrap();
        let tcp = TcpStream::connect(address).await?;
        timeout(
            PATIENCE,
            TlsConnector::from(Arc::new(self.config.clone())).connect(name, tcp),
        )
        .await
        .unwrap()
    }

    /// One request over a connection of its own, and the whole answer.
    pub(crate) async fn get(&self, server: &Server, name: &str) -> std::io::Result<String> {
        let mut stream = self.connect(server, name).await?;
        exchange(
            &mut stream,
            format!("GET / HTTP/1.1\r\nhost: {name}\r\nconnection: close\r\n\r\n").as_bytes(),
        )
        .await
    }
}

/// Sends octets and reads until the server closes.
pub(crate) async fn exchange<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    octets: &[u8],
) -> std::io::Result<String> {
    stream.write_all(octets).await?;
    stream.flush().await?;
    read_to_end(stream).await
}

pub(crate) async fn read_to_end<S: AsyncRead + Unpin>(stream: &mut S) -> std::io::Result<String> {
    let mut answer = Vec::new();
    let in_time = timeout(PATIENCE, stream.read_to_end(&mut answer)).await;
    in_time.unwrap_or_else(|_| {
        panic!(
            "the server should have closed after {}",
            String::from_utf8_lossy(&answer)
        )
    })?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

/// Reads until `needle` has come.
pub(crate) async fn read_until<S: AsyncRead + Unpin>(stream: &mut S, needle: &str) -> String {
    let mut answer = Vec::new();
    loop {
        let mut chunk = [0; 4096];
        let count = timeout(PATIENCE, stream.read(&mut chunk))
            .await
            .expect("more should have come")
            .unwrap();
        answer.extend_from_slice(&chunk[..count]);
        let text = String::from_utf8_lossy(&answer).into_owned();
        if text.contains(needle) || count == 0 {
            return text;
        }
    }
}

/// The status of a response, as text.
pub(crate) fn status(answer: &str) -> &str {
    answer.split(' ').nth(1).unwrap_or("")
}

/// The JSON body of an answer of the transport's own.
pub(crate) fn assert_json_error(answer: &str, status: &str) {
    assert_eq!(self::status(answer), status, "{answer}");
    let lower = answer.to_ascii_lowercase();
    assert!(lower.contains("content-type: application/json\r\n"), "{answer}");
    assert!(lower.contains("cache-control: no-store\r\n"), "{answer}");
    let body = answer.split_once("\r\n\r\n").unwrap().1;
    assert!(body.starts_with(r#"{"error":""#) && body.ends_with("\"}"), "{answer}");
}
