//! What the gateway is told: `gateway.toml`, already read.
//!
//! Issuers and their keys are the resource server's business: a ready [`ResourceServer`](keybound_resource_server::ResourceServer)
//! is handed in beside these settings, and each route brings the policy that it is to apply.

use std::fmt;
use std::str::FromStr;

use http::Method;
use keybound_resource_server::RoutePolicy;
use url::{Host, Url};

use crate::canonical_path::PathError;
use crate::limits::Limits;

/// Everything that can change with a reload, but for the issuers.
#[derive(Debug, Clone)]
pub struct GatewaySettings {
    /// What is served. A request that no route matches is answered 404.
    pub routes: Vec<RouteSettings>,
    /// What bounds the upstream leg.
    pub limits: Limits,
}

/// One `[[routes]]` entry.
#[derive(Debug, Clone)]
pub struct RouteSettings {
    /// Where the route begins, in whole segments: `/api` is for `/api`, `/api/` and `/api/x`, not for `/apix`. The longest
    /// match wins. Compared case-sensitively.
    pub path: String,
    /// The methods it is for, `GET` including `HEAD`; empty for all. Where several routes have one path, the first that
    /// has the method wins; where none has, the answer is 405, not another route.
    pub methods: Vec<Method>,
    /// Who answers.
    pub upstream: UpstreamSettings,
    /// What a token must be: audience, scopes, binding, issuers.
    pub policy: RoutePolicy,
    /// Whether the upstream sees the token.
    pub authorization: Authorization,
    /// Whether the upstream sees the certificate.
    pub client_cert: ClientCert,
    /// What becomes of an answer or a tunnel that outlives its token.
    pub long_running: LongRunning,
}

impl RouteSettings {
    /// A route with the defaults of `gateway.toml`: all methods, the token forwarded, answers closed when it expires.
    pub fn new(path: &str, upstream: UpstreamSettings, policy: RoutePolicy) -> Self {
        Self {
            path: path.to_owned(),
            methods: Vec::new(),
            upstream,
            policy,
            authorization: Authorization::default(),
            client_cert: ClientCert::default(),
            long_running: LongRunning::default(),
        }
    }
}

/// Where a route leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UpstreamSettings {
    /// `demo:`: the gateway answers by itself, with what an upstream would have seen.
    Demo,
    /// An origin that speaks HTTP/1.1.
    Origin(UpstreamOrigin),
}

/// Host and port of an upstream.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct UpstreamOrigin {
    host: String,
    port: u16,
}

/// What happens to the caller's `Authorization` header.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Authorization {
    /// It reaches the upstream, which may check the token again. It then needs the certificate too, which comes as
    /// `Client-Cert`: on its own connection it sees the gateway.
    #[default]
    Forward,
    /// It ends here; the `Keybound-…` headers say what the token said.
    Strip,
}

/// Whether the upstream gets the caller's certificate as `Client-Cert` (RFC 9440).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ClientCert {
    /// It does. RFC 9440 §4 would have this off unless asked for; here the header is what the upstream is promised, and
    /// putting a gateway in front of it is the asking.
    #[default]
    Forward,
    /// It does not.
    Omit,
}

/// What becomes of an answer that is still running, or a connection that was upgraded, when its token expires.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum LongRunning {
    /// It is closed within a second of the token's `exp` or revocation.
    #[default]
    UntilExpiry,
    /// It goes on until one side closes it: `long_running = "until-close"`.
    UntilClose,
}

/// Why settings describe no gateway.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// A route's path is not one that a request could have.
    #[error("the route path {path:?} can match no request")]
    RoutePath {
        /// As configured.
        path: String,
        /// Why not.
        #[source]
        source: PathError,
    },
    /// Two routes claim the same requests.
    #[error("two routes are for {path:?} and the same methods")]
    DuplicateRoute {
        /// Their path.
        path: String,
    },
}

/// Why a text names no upstream.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UpstreamOriginError {
    /// Not a URL.
    #[error("not a URL: {0}")]
    Syntax(#[from] url::ParseError),
    /// Only `http` is spoken to upstreams.
    #[error("the scheme must be http, or demo: for the built-in upstream")]
    Scheme,
    /// More than scheme, host and port: requests keep their own path.
    #[error("only scheme, host and port may be given")]
    NotAnOrigin,
}

impl UpstreamOrigin {
    /// A host name or address, without brackets, and a port.
    pub fn new(host: &str, port: u16) -> Self {
        Self {
            host: host.to_owned(),
            port,
        }
    }

    /// Where to connect.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Where to connect.
    pub fn port(&self) -> u16 {
        self.port
    }
}

impl FromStr for UpstreamOrigin {
    type Err = UpstreamOriginError;

    fn from_str(text: &str) -> Result<Self, UpstreamOriginError> {
        let url = Url::parse(text)?;
        if url.scheme() != "http" {
            return Err(UpstreamOriginError::Scheme);
        }
        let bare = url.path() == "/" && url.query().is_none() && url.fragment().is_none();
        if !bare || !url.username().is_empty() || url.password().is_some() {
            return Err(UpstreamOriginError::NotAnOrigin);
        }
        let host = match url.host() {
            Some(Host::Domain(name)) => name.to_owned(),
            Some(Host::Ipv4(address)) => address.to_string(),
            Some(Host::Ipv6(address)) => address.to_string(),
            None => return Err(UpstreamOriginError::NotAnOrigin),
        };
        Ok(Self {
            host,
            port: url.port().unwrap_or(80),
        })
    }
}

impl FromStr for UpstreamSettings {
    type Err = UpstreamOriginError;

    fn from_str(text: &str) -> Result<Self, UpstreamOriginError> {
        match text {
            "demo:" => Ok(Self::Demo),
            _ => text.parse().map(Self::Origin),
        }
    }
}

impl fmt::Display for UpstreamOrigin {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.contains(':') {
            true => write!(formatter, "http://[{}]:{}", self.host, self.port),
            false => write!(formatter, "http://{}:{}", self.host, self.port),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: Result<&str, UpstreamOriginError>) {
        let origin = text.parse::<UpstreamOrigin>().map(|origin| origin.to_string());
        assert_eq!(origin, expected.map(str::to_owned), "{text}");
    }

    #[test]
    fn refuses_what_is_not_a_plain_http_origin() {
        check("https://a:1", Err(UpstreamOriginError::Scheme));
        check("ftp://a", Err(UpstreamOriginError::Scheme));
        check("http://a/base", Err(UpstreamOriginError::NotAnOrigin));
        check("http://a/?q", Err(UpstreamOriginError::NotAnOrigin));
        check("http://user@a/", Err(UpstreamOriginError::NotAnOrigin));
        check("http://", Err(UpstreamOriginError::Syntax(url::ParseError::EmptyHost)));
    }

    #[test]
    fn reads_origins() {
        check("http://127.0.0.1:8080", Ok("http://127.0.0.1:8080"));
        check("http://api.internal", Ok("http://api.internal:80"));
        check("http://[::1]:9000/", Ok("http://[::1]:9000"));
        assert_eq!("demo:".parse(), Ok(UpstreamSettings::Demo));
    }
}
