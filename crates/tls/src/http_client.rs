//! Outgoing HTTP/1.1, over TLS unless a caller says otherwise.
//!
//! One [`HttpClient`] is one identity: its TLS configuration, session memory and connection pool are its own, so nothing that
//! was established with one client certificate is ever used for another (RFC 8705 §3). It follows no redirect, keeps no
//! cookie and interprets no body.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use http::{HeaderValue, Request, Response, Uri, header::HOST, uri::Scheme};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use rustls::{
    ClientConfig,
    client::{Resumption, WebPkiServerVerifier},
    pki_types::ServerName,
};
use tokio::{net::TcpStream, time::timeout};
use tokio_rustls::TlsConnector;

use crate::{Identity, OutgoingBody, Roots, identity::provider};

mod connection_pool;
mod incoming_body;
mod request_error;

use connection_pool::{Checkout, ConnectionPool, Origin};
pub use incoming_body::IncomingBody;
pub use request_error::RequestError;

/// How an [`HttpClient`] connects.
#[derive(Clone, Debug)]
pub struct HttpClientSettings {
    /// Whom it trusts to name servers.
    pub roots: Roots,
    /// The client certificate it presents where asked.
    pub identity: Option<Identity>,
    /// Whether `http://` is allowed: for a gateway's upstreams alone.
    pub plain_http: bool,
    /// Whether TLS 1.2 is refused. Before TLS 1.3 a client certificate travels in clear (RFC 8705 §8).
    pub tls13_only: bool,
    /// Name resolution, TCP and TLS together.
    pub connect_timeout: Duration,
    /// From the request to the head of its response; `None` leaves it to the caller.
    pub response_timeout: Option<Duration>,
    /// How long an unused connection is kept.
    pub idle_timeout: Duration,
    /// Unused connections kept per origin and runtime.
    pub idle_connections_max: usize,
}

impl HttpClientSettings {
    /// No identity, https only, 5 s to connect, 30 s to answer, 32 unused connections kept 50 s.
    pub fn new(roots: Roots) -> HttpClientSettings {
        HttpClientSettings {
            roots,
            identity: None,
            plain_http: false,
            tls13_only: false,
            connect_timeout: Duration::from_secs(5),
            response_timeout: Some(Duration::from_secs(30)),
            idle_timeout: Duration::from_secs(50),
            idle_connections_max: 32,
        }
    }
}

/// Sends requests, with one identity. Cloning is cheap and shares the pool.
#[derive(Clone)]
pub struct HttpClient {
    inner: Arc<Inner>,
}

struct Inner {
    settings: HttpClientSettings,
    tls: TlsConnector,
    pool: Arc<ConnectionPool>,
}

impl HttpClient {
    /// Makes a client; nothing is connected yet.
    pub fn new(settings: HttpClientSettings) -> HttpClient {
        let tls = TlsConnector::from(Arc::new(client_config(&settings)));
        let pool = Arc::new(ConnectionPool::new(
            settings.idle_connections_max,
            settings.idle_timeout,
        ));
        HttpClient {
            inner: Arc::new(Inner { settings, tls, pool }),
        }
    }

    /// The client certificate it presents where asked.
    pub fn identity(&self) -> Option<&Identity> {
        self.inner.settings.identity.as_ref()
    }

    /// Sends a request and waits for the head of its response. The URI is absolute; `Host` is made from it unless present.
    ///
    /// A request that finds its pooled connection closed before a byte of it was taken is sent again on a fresh one, once.
    /// One without a body is sent again, too, if the connection closes before any answer and its method is idempotent.
    ///
    /// # Errors
    /// [`RequestError`] tells apart: not reached, not trusted (server identity, RFC 9525), our certificate refused, too late.
    pub async fn send(&self, request: Request<OutgoingBody>) -> Result<Response<IncomingBody>, RequestError> {
        match self.inner.settings.response_timeout {
            // The time to connect is limited by itself, so that a dead address is told apart from a slow answer.
            Some(limit) => timeout(self.inner.settings.connect_timeout + limit, self.exchange(request))
                .await
                .unwrap_or(Err(RequestError::Timeout {
                    waiting_for: "a response",
                })),
            None => self.exchange(request).await,
        }
    }

    async fn exchange(&self, mut request: Request<OutgoingBody>) -> Result<Response<IncomingBody>, RequestError> {
        let origin = self.origin(request.uri())?;
        if !request.headers().contains_key(HOST) {
            request.headers_mut().insert(HOST, host_value(&origin)?);
        }
        to_origin_form(&mut request);
        self.exchange_with(origin, request).await
    }

    async fn exchange_with(
        &self,
        origin: Origin,
        request: Request<OutgoingBody>,
    ) -> Result<Response<IncomingBody>, RequestError> {
        let repeatable = Repeatable::of(&request);
        let Checkout::Pooled(mut sender) = self.inner.pool.take(&origin).await else {
            return self.exchange_on_new_connection(origin, request).await;
        };
        match sender.try_send_request(request).await {
            Ok(response) => Ok(self.inner.pool.attend(origin, sender, response)),
            Err(mut error) => {
                let again = match (error.take_message(), repeatable) {
                    (Some(request), _) => request,
                    (None, Some(repeatable)) if closed_before_answer(error.error()) => repeatable.request(),
                    (None, _) => return Err(RequestError::from_hyper(error.into_error(), &origin.host)),
                };
                self.exchange_on_new_connection(origin, again).await
            }
        }
    }

    async fn exchange_on_new_connection(
        &self,
        origin: Origin,
        request: Request<OutgoingBody>,
    ) -> Result<Response<IncomingBody>, RequestError> {
        let mut sender = self.connect(&origin).await?;
        let response = sender
            .send_request(request)
            .await
            .map_err(|error| RequestError::from_hyper(error, &origin.host))?;
        Ok(self.inner.pool.attend(origin, sender, response))
    }

    fn origin(&self, uri: &Uri) -> Result<Origin, RequestError> {
        let tls = match uri.scheme() {
            Some(scheme) if *scheme == Scheme::HTTPS => true,
            Some(scheme) if *scheme == Scheme::HTTP && self.inner.settings.plain_http => false,
            _ => {
                return Err(RequestError::SchemeNotAllowed {
                    scheme: uri.scheme_str().unwrap_or("").to_owned(),
                });
            }
        };
        let authority = uri.authority().ok_or(RequestError::UriWithoutHost)?;
        if authority.as_str().contains('@') || authority.host().is_empty() {
            return Err(RequestError::UriWithoutHost);
        }
        let port = authority.port_u16().unwrap_or(if tls { 443 } else { 80 });
        Ok(Origin {
            tls,
            host: authority.host().to_ascii_lowercase().into(),
            port,
        })
    }

    async fn connect(&self, origin: &Origin) -> Result<SendRequest<OutgoingBody>, RequestError> {
        let limit = self.inner.settings.connect_timeout;
        timeout(limit, async {
            let stream = connect_tcp(&origin.host, origin.port).await?;
            self.handshake(origin, stream).await
        })
        .await
        .unwrap_or(Err(RequestError::Timeout {
            waiting_for: "a connection",
        }))
    }

    /// TLS, if the origin wants it, and HTTP over a connected stream.
    async fn handshake(&self, origin: &Origin, stream: TcpStream) -> Result<SendRequest<OutgoingBody>, RequestError> {
        if !origin.tls {
            return start_http(stream, &origin.host).await;
        }
        let name = server_name(&origin.host)?;
        let stream = self
            .inner
            .tls
            .connect(name, stream)
            .await
            .map_err(|error| RequestError::from_handshake(error, &origin.host))?;
        start_http(stream, &origin.host).await
    }

    /// One request on a connection of its own to one of the addresses that the caller checked. The name is used for TLS and `Host`
    /// alone.
    pub(crate) async fn send_to(
        &self,
        addresses: &[SocketAddr],
        mut request: Request<OutgoingBody>,
    ) -> Result<Response<IncomingBody>, RequestError> {
        let origin = self.origin(request.uri())?;
        request.headers_mut().insert(HOST, host_value(&origin)?);
        to_origin_form(&mut request);
        let stream = TcpStream::connect(addresses)
            .await
            .map_err(|source| RequestError::Connect {
                host: origin.host.to_string(),
                source: Arc::new(source),
            })?;
        let mut sender = self.handshake(&origin, stream).await?;
        let response = sender
            .send_request(request)
            .await
            .map_err(|error| RequestError::from_hyper(error, &origin.host))?;
        Ok(response.map(|body| IncomingBody::unpooled(body, sender)))
    }
}

impl std::fmt::Debug for HttpClient {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("HttpClient")
            .field("identity", &self.identity())
            .finish_non_exhaustive()
    }
}

/// What is needed to send a request without a body a second time.
struct Repeatable {
    parts: http::request::Parts,
}

impl Repeatable {
    /// Only where a second arrival changes nothing (RFC 9110 §9.2.2).
    fn of(request: &Request<OutgoingBody>) -> Option<Repeatable> {
        if !matches!(request.body(), OutgoingBody::Empty) || !request.method().is_idempotent() {
            return None;
        }
        let mut parts = Request::new(()).into_parts().0;
        parts.method = request.method().clone();
        parts.uri = request.uri().clone();
        parts.headers = request.headers().clone();
        Some(Repeatable { parts })
    }

    fn request(self) -> Request<OutgoingBody> {
        Request::from_parts(self.parts, OutgoingBody::Empty)
    }
}

fn closed_before_answer(error: &hyper::Error) -> bool {
    error.is_closed() || error.is_incomplete_message() || error.is_canceled()
}

/// RFC 9112 §3.2.1: the target is path and query alone, the authority goes to Host.
fn to_origin_form(request: &mut Request<OutgoingBody>) {
    if request.uri().authority().is_some() {
        let target = request.uri().path_and_query().cloned();
        *request.uri_mut() = target.map_or_else(|| Uri::from_static("/"), Uri::from);
    }
}

fn host_value(origin: &Origin) -> Result<HeaderValue, RequestError> {
    let default_port = if origin.tls { 443 } else { 80 };
    let host = match origin.port == default_port {
        true => HeaderValue::from_str(&origin.host),
        false => HeaderValue::try_from(format!("{}:{}", origin.host, origin.port)),
    };
    host.map_err(|_| RequestError::UriWithoutHost)
}

async fn connect_tcp(host: &str, port: u16) -> Result<TcpStream, RequestError> {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let addresses = tokio::net::lookup_host((bare, port))
        .await
        .map_err(|source| RequestError::Resolve {
            host: host.to_owned(),
            source: Arc::new(source),
        })?;
    let mut last = None;
    for address in addresses {
        match TcpStream::connect(address).await {
            Ok(stream) => {
                // Requests are small and wait for their answers: nothing is gained by collecting them.
                let _ = stream.set_nodelay(true);
                return Ok(stream);
            }
            Err(error) => last = Some(error),
        }
    }
    let source = last.unwrap_or_else(|| std::io::Error::new(std::io::ErrorKind::NotFound, "the name has no address"));
    Err(RequestError::Connect {
        host: host.to_owned(),
        source: Arc::new(source),
    })
}

async fn start_http<S>(stream: S, host: &str) -> Result<SendRequest<OutgoingBody>, RequestError>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    let (sender, connection) = http1::Builder::new()
        .handshake(TokioIo::new(stream))
        .await
        .map_err(|error| RequestError::from_hyper(error, host))?;
    tokio::spawn(async move {
        // The request that was on the connection gets the same error; nobody else is left to tell.
        if let Err(error) = connection.with_upgrades().await {
            tracing::debug!(error = &error as &dyn std::error::Error, "outgoing connection ended");
        }
    });
    Ok(sender)
}

fn server_name(host: &str) -> Result<ServerName<'static>, RequestError> {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    ServerName::try_from(bare.to_owned()).map_err(|_| RequestError::UriWithoutHost)
}

fn client_config(settings: &HttpClientSettings) -> ClientConfig {
    let versions: &[&rustls::SupportedProtocolVersion] = match settings.tls13_only {
        true => &[&rustls::version::TLS13],
        false => &[&rustls::version::TLS13, &rustls::version::TLS12],
    };
    let builder = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(versions)
        .expect("the provider has cipher suites and key exchange for TLS 1.2 and 1.3");
    // An empty root store is refused by the verifier's builder, but means something here: nobody is trusted.
    let builder =
        match WebPkiServerVerifier::builder_with_provider(Arc::clone(&settings.roots.store), provider()).build() {
            Ok(verifier) => builder.with_webpki_verifier(verifier),
            Err(_) => builder.with_root_certificates(Arc::clone(&settings.roots.store)),
        };
    let mut config = match &settings.identity {
        Some(identity) => builder.with_client_cert_resolver(Arc::new(rustls::sign::SingleCertAndKey::from(
            Arc::clone(&identity.key),
        ))),
        None => builder.with_no_client_auth(),
    };
    if settings.identity.is_some() {
        // A resumed session would carry the identity it was made with; with one memory per client that is this identity, but
        // a renewed certificate must not live on in it.
        config.resumption = Resumption::disabled();
    }
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    config
}
