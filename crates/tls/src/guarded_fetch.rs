//! The only way to fetch a URL that somebody else chose: `jwks_uri`, a discovered endpoint, a callback.
//!
//! The name is resolved, every address is checked, and the connection goes to the checked address, so that a second answer of
//! the name service changes nothing. https alone, no redirects, one attempt, bounded in size and time. What comes back is
//! bytes; nothing is interpreted here.

use std::{
    collections::HashMap,
    fmt, io,
    net::{IpAddr, SocketAddr},
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use bytes::Bytes;
use http::{
    HeaderValue, Request, StatusCode,
    header::{ACCEPT, AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE},
};
use ipnet::IpNet;
use tokio::{sync::OnceCell, time::timeout};
use url::{Host, Url};

use crate::{HttpClient, HttpClientSettings, OutgoingBody, RequestError, Roots};

mod special_use_address;

/// What a [`GuardedFetch`] may do.
#[derive(Clone, Debug)]
pub struct GuardedFetchSettings {
    /// Whom it trusts to name servers.
    pub roots: Roots,
    /// Special-use addresses that are allowed all the same (`outgoing.allow_addresses`).
    pub allow_addresses: Vec<IpNet>,
    /// The longest body.
    pub bytes_max: u64,
    /// For everything together: name, connection, handshake, response.
    pub timeout: Duration,
    /// How names become addresses.
    pub resolver: Resolver,
    /// Whether it speaks TLS 1.3 alone.
    pub tls13_only: bool,
}

/// How names become addresses: as the system says, or as a test does. Asked once for each fetch.
#[derive(Clone)]
pub struct Resolver(Arc<dyn Fn(String, u16) -> Resolving + Send + Sync>);

/// A question to a [`Resolver`] under way.
pub type Resolving = Pin<Box<dyn Future<Output = io::Result<Vec<SocketAddr>>> + Send>>;

impl Resolver {
    /// The system's.
    pub fn system() -> Resolver {
        Resolver::from_fn(|name, port| {
            Box::pin(async move {
                let addresses = tokio::net::lookup_host((name, port)).await?;
                Ok(addresses.collect())
            })
        })
    }

    /// One that asks `resolve` for the addresses of a name and a port.
    pub fn from_fn(resolve: impl Fn(String, u16) -> Resolving + Send + Sync + 'static) -> Resolver {
        Resolver(Arc::new(resolve))
    }
}

impl fmt::Debug for Resolver {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Resolver")
    }
}

impl GuardedFetchSettings {
    /// 256 KiB, 2 s, no special-use address, TLS 1.3 and 1.2.
    pub fn new(roots: Roots) -> GuardedFetchSettings {
        GuardedFetchSettings {
            roots,
            allow_addresses: Vec::new(),
            bytes_max: 256 * 1024,
            timeout: Duration::from_secs(2),
            resolver: Resolver::system(),
            tls13_only: false,
        }
    }
}

/// Fetches URLs that somebody else chose. One value serves the whole process; cloning shares it.
#[derive(Clone, Debug)]
pub struct GuardedFetch {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    settings: GuardedFetchSettings,
    client: HttpClient,
    in_flight: Mutex<HashMap<String, Flight>>,
    started: AtomicU64,
    failed: AtomicU64,
}

/// A fetch under way, and its result for all who wait.
type Flight = Arc<OnceCell<Result<Fetched, FetchError>>>;

/// What was fetched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetched {
    /// The body of a 200.
    pub body: Bytes,
    /// `Content-Type`, if it is text.
    pub content_type: Option<String>,
    /// `max-age` of `Cache-Control`; zero for `no-store` and `no-cache`.
    pub max_age: Option<Duration>,
}

/// Why nothing was fetched. For operators.
#[derive(Clone, Debug, thiserror::Error)]
pub enum FetchError {
    /// Not a URL.
    #[error("not a valid URL")]
    Url,
    /// Not https.
    #[error("scheme {scheme:?} is not allowed, only https")]
    Scheme {
        /// What it is.
        scheme: String,
    },
    /// A URL with a user name or password.
    #[error("the URL contains credentials")]
    Credentials,
    /// A URL without a host.
    #[error("the URL has no host")]
    NoHost,
    /// The host has an address of a special-use range that is not allowed.
    #[error("{host} has the special-use address {address}, which is not allowed")]
    AddressNotAllowed {
        /// The host.
        host: String,
        /// Its address.
        address: IpAddr,
    },
    /// Anything but 200; redirects are not followed.
    #[error("the server answered {status}")]
    Status {
        /// What it answered.
        status: u16,
    },
    /// Too late.
    #[error("not complete after {0:?}")]
    Timeout(Duration),
    /// The request failed.
    #[error(transparent)]
    Request(RequestError),
}

impl FetchError {
    /// Whether the same call may succeed a little later without anybody changing anything.
    pub fn may_pass(&self) -> bool {
        match self {
            FetchError::Timeout(_) | FetchError::Request(_) => true,
            FetchError::Status { status } => *status >= 500 || *status == 429,
            FetchError::Url
            | FetchError::Scheme { .. }
            | FetchError::Credentials
            | FetchError::NoHost
            | FetchError::AddressNotAllowed { .. } => false,
        }
    }
}

impl GuardedFetch {
    /// Makes one; nothing is fetched yet.
    pub fn new(settings: GuardedFetchSettings) -> GuardedFetch {
        let client = HttpClient::new(HttpClientSettings {
            tls13_only: settings.tls13_only,
            ..HttpClientSettings::new(settings.roots.clone())
        });
        GuardedFetch {
            inner: Arc::new(Inner {
                settings,
                client,
                in_flight: Mutex::default(),
                started: AtomicU64::new(0),
                failed: AtomicU64::new(0),
            }),
        }
    }

    /// Fetches `url`. Callers that ask while it is under way wait for the same answer.
    ///
    /// # Errors
    /// [`FetchError`]; nothing is tried a second time.
    pub async fn get(&self, url: &str) -> Result<Fetched, FetchError> {
        let url = checked_url(url)?;
        let flight = {
            let mut in_flight = self.inner.in_flight.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(in_flight.entry(url.as_str().to_owned()).or_default())
        };
        // If the caller that fetches goes away, the next one waiting takes over.
        let result = flight.get_or_init(|| self.fetch(&url)).await.clone();
        let mut in_flight = self.inner.in_flight.lock().unwrap_or_else(PoisonError::into_inner);
        if in_flight
            .get(url.as_str())
            .is_some_and(|current| Arc::ptr_eq(current, &flight))
        {
            in_flight.remove(url.as_str());
        }
        result
    }

    /// Posts JSON to `url` with a bearer token. Any status from 200 to 299 is a success; what comes with it is not read.
    ///
    /// # Errors
    /// [`FetchError`]; nothing is tried a second time.
    pub async fn post_json(&self, url: &str, bearer: &str, body: Bytes) -> Result<(), FetchError> {
        let url = checked_url(url)?;
        self.inner.started.fetch_add(1, Relaxed);
        let limit = self.inner.settings.timeout;
        let result = timeout(limit, self.post_once(&url, bearer, body))
            .await
            .unwrap_or(Err(FetchError::Timeout(limit)));
        if result.is_err() {
            self.inner.failed.fetch_add(1, Relaxed);
        }
        result
    }

    /// How many fetches were begun; callers that waited for another's are not counted.
    pub fn started(&self) -> u64 {
        self.inner.started.load(Relaxed)
    }

    /// How many of them failed.
    pub fn failed(&self) -> u64 {
        self.inner.failed.load(Relaxed)
    }

    async fn fetch(&self, url: &Url) -> Result<Fetched, FetchError> {
        self.inner.started.fetch_add(1, Relaxed);
        let limit = self.inner.settings.timeout;
        let result = timeout(limit, self.fetch_once(url))
            .await
            .unwrap_or(Err(FetchError::Timeout(limit)));
        if let Err(error) = &result {
            self.inner.failed.fetch_add(1, Relaxed);
            tracing::info!(
                url = url.as_str(),
                error = error as &dyn std::error::Error,
                "fetch failed"
            );
        }
        result
    }

    async fn fetch_once(&self, url: &Url) -> Result<Fetched, FetchError> {
        let addresses = self.checked_addresses(url).await?;
        let mut request = Request::get(url.as_str())
            .body(OutgoingBody::Empty)
            .map_err(|_| FetchError::Url)?;
        request
            .headers_mut()
            .insert(ACCEPT, HeaderValue::from_static("application/json, */*;q=0.1"));
        let response = self
            .inner
            .client
            .send_to(&addresses, request)
            .await
            .map_err(FetchError::Request)?;
        if response.status() != StatusCode::OK {
            return Err(FetchError::Status {
                status: response.status().as_u16(),
            });
        }
        let text = |value: &HeaderValue| value.to_str().ok().map(str::to_owned);
        let content_type = response.headers().get(CONTENT_TYPE).and_then(text);
        let max_age = response
            .headers()
            .get(CACHE_CONTROL)
            .and_then(text)
            .and_then(|value| max_age(&value));
        let body = response
            .into_body()
            .collect_at_most(self.inner.settings.bytes_max)
            .await;
        Ok(Fetched {
            body: body.map_err(FetchError::Request)?,
            content_type,
            max_age,
        })
    }

    async fn post_once(&self, url: &Url, bearer: &str, body: Bytes) -> Result<(), FetchError> {
        let addresses = self.checked_addresses(url).await?;
        let mut authorization = HeaderValue::try_from(format!("Bearer {bearer}")).map_err(|_| FetchError::Url)?;
        authorization.set_sensitive(true);
        let request = Request::post(url.as_str())
            .header(CONTENT_TYPE, "application/json")
            .header(AUTHORIZATION, authorization)
            .body(OutgoingBody::Full(body))
            .map_err(|_| FetchError::Url)?;
        let sent = self.inner.client.send_to(&addresses, request).await;
        let status = sent.map_err(FetchError::Request)?.status();
        if status.is_success() {
            Ok(())
        } else {
            Err(FetchError::Status {
                status: status.as_u16(),
            })
        }
    }

    /// The addresses of the URL's host, if *every* one is allowed: a name that points at several places, some of them inside, is
    /// not worth guessing about.
    async fn checked_addresses(&self, url: &Url) -> Result<Vec<SocketAddr>, FetchError> {
        let port = url.port_or_known_default().ok_or(FetchError::NoHost)?;
        let addresses: Vec<SocketAddr> = match url.host().ok_or(FetchError::NoHost)? {
            Host::Ipv4(address) => vec![SocketAddr::new(address.into(), port)],
            Host::Ipv6(address) => vec![SocketAddr::new(address.into(), port)],
            Host::Domain(name) => {
                let resolving = (self.inner.settings.resolver.0)(name.to_owned(), port);
                resolving.await.map_err(|source| {
                    FetchError::Request(RequestError::Resolve {
                        host: name.to_owned(),
                        source: Arc::new(source),
                    })
                })?
            }
        };
        for address in &addresses {
            if !special_use_address::is_allowed(address.ip(), &self.inner.settings.allow_addresses) {
                let host = url.host_str().unwrap_or_default().to_owned();
                return Err(FetchError::AddressNotAllowed {
                    host,
                    address: address.ip(),
                });
            }
        }
        Ok(addresses)
    }
}

fn checked_url(url: &str) -> Result<Url, FetchError> {
    let mut url = Url::parse(url).map_err(|_| FetchError::Url)?;
    if url.scheme() != "https" {
        return Err(FetchError::Scheme {
            scheme: url.scheme().to_owned(),
        });
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(FetchError::Credentials);
    }
    if url.host().is_none() {
        return Err(FetchError::NoHost);
    }
    url.set_fragment(None);
    Ok(url)
}

fn max_age(cache_control: &str) -> Option<Duration> {
    let mut directives = cache_control.split(',').map(str::trim);
    directives.find_map(|directive| {
        if directive.eq_ignore_ascii_case("no-store") || directive.eq_ignore_ascii_case("no-cache") {
            return Some(Duration::ZERO);
        }
        let (name, value) = directive.split_once('=')?;
        let seconds = value.trim_matches('"').parse().ok()?;
        name.eq_ignore_ascii_case("max-age")
            .then(|| Duration::from_secs(seconds))
    })
}
