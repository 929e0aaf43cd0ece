//! Why a client got no answer, or not the one it asked for.

use http::StatusCode;
use keybound_protocol::bearer::BearerError;
use keybound_protocol::endpoint::Endpoint;
use keybound_protocol::introspection::IntrospectionResponseError;
use keybound_protocol::json::{JsonError, JsonTypeError};
use keybound_protocol::jwk_set::JwkSetError;
use keybound_protocol::protected_resource_metadata::ProtectedResourceMetadataError;
use keybound_protocol::scope::ScopeError;
use keybound_protocol::server_metadata::ServerMetadataError;
use keybound_protocol::signer::SigningError;
use keybound_tls::{FetchError, RequestError};

use crate::authorization_response::AuthorizationResponseError;
use crate::id_token::IdTokenError;

/// Why an issuer's metadata or keys could not be had.
#[derive(Debug, thiserror::Error)]
pub enum DiscoveryError {
    /// Neither well-known document could be fetched; this is why the one of RFC 8414 could not.
    #[error("the metadata of {issuer} could not be fetched")]
    Fetch {
        /// Whose.
        issuer: String,
        /// The cause.
        #[source]
        source: FetchError,
    },
    /// It was fetched and is not the metadata of this issuer: it must not be used (RFC 8414 §3.3).
    #[error("what lies where the metadata of {issuer} should be cannot be used")]
    Metadata {
        /// Whose.
        issuer: String,
        /// The cause.
        #[source]
        source: ServerMetadataError,
    },
    /// The metadata has no `jwks_uri`.
    #[error("the metadata of {issuer} has no jwks_uri")]
    NoJwksUri {
        /// Whose.
        issuer: String,
    },
    /// The keys could not be fetched.
    #[error("the keys at {url} could not be fetched")]
    FetchKeys {
        /// From where.
        url: String,
        /// The cause.
        #[source]
        source: FetchError,
    },
    /// The resource is none whose metadata has a place: not an https URL.
    #[error("{resource} is not a resource that metadata can be found for")]
    NoResourceMetadataUrl {
        /// Which.
        resource: String,
    },
    /// The metadata of a resource could not be fetched.
    #[error("the metadata of a resource could not be fetched from {url}")]
    FetchResourceMetadata {
        /// From where.
        url: String,
        /// The cause.
        #[source]
        source: FetchError,
    },
    /// It was fetched and is not the metadata of this resource: it must not be used (RFC 9728 §3.3).
    #[error("the document at {url} is not the metadata of the resource")]
    ResourceMetadata {
        /// Where it came from.
        url: String,
        /// The cause.
        #[source]
        source: ProtectedResourceMetadataError,
    },
    /// They were fetched and are not a key set.
    #[error("the document at {url} is not a key set")]
    Keys {
        /// Where it came from.
        url: String,
        /// The cause.
        #[source]
        source: JwkSetError,
    },
}

/// Why a request of ours to an authorization server, or to a protected resource, failed.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nothing is known about the authorization server.
    #[error(transparent)]
    Discovery(Box<DiscoveryError>),
    /// The authorization server has no such endpoint.
    #[error("{issuer} has no {}", endpoint.metadata_name())]
    NoEndpoint {
        /// Whose.
        issuer: String,
        /// Which one.
        endpoint: Endpoint,
    },
    /// The client authenticates with a certificate, and its identity has none.
    #[error("this client authenticates with a certificate, and was given none")]
    NoCertificate,
    /// The request could not be sent, or no response came.
    #[error("the request to {url} failed")]
    Request {
        /// Where it went.
        url: String,
        /// The cause.
        #[source]
        source: RequestError,
    },
    /// The authorization server refused.
    #[error(transparent)]
    Refused(Box<EndpointRefusal>),
    /// The response has not the form that its specification gives it.
    #[error("the response of {url} ({status}) is not what its specification says")]
    Response {
        /// Where it came from.
        url: String,
        /// Its status.
        status: StatusCode,
        /// The cause.
        #[source]
        source: ResponseError,
    },
    /// The client assertion, the request object or the DPoP proof could not be signed.
    #[error("the client's assertion, request or proof could not be signed")]
    Assertion(#[from] SigningError),
    /// What came back from the authorization endpoint is not the answer to our request, or says no. Nothing more was sent.
    #[error("the answer of the authorization endpoint is not accepted")]
    Authorization(#[source] Box<AuthorizationResponseError>),
    /// The ID token is not to be believed; what came with it is thrown away.
    #[error("the ID token of {issuer} is not accepted")]
    IdToken {
        /// Whose it should be.
        issuer: String,
        /// The cause.
        #[source]
        source: Box<IdTokenError>,
    },
    /// The server's metadata does not name the only safe way to check a code's redeemer (RFC 7636 §7.2), or none at all (RFC 8414 §2).
    #[error("{issuer} does not say that it supports the code challenge method S256")]
    NoS256 {
        /// Whose.
        issuer: String,
    },
    /// The server takes signed requests alone, and the client has no key for them.
    #[error("{issuer} takes signed request objects alone, and this client has no key to sign them with")]
    NoRequestObjectKey {
        /// Whose.
        issuer: String,
    },
    /// The user did not decide in time.
    #[error("nobody approved the request in time")]
    ApprovalExpired,
    /// An earlier answer ended it: the server is not asked again.
    #[error("this request or grant has ended: an earlier answer said so")]
    Ended,
}

/// What is wrong with a response.
#[derive(Debug, thiserror::Error)]
pub enum ResponseError {
    /// Not a JSON object.
    #[error("it is not a JSON object")]
    Json(#[from] JsonError),
    /// A member has the wrong type.
    #[error(transparent)]
    Type(#[from] JsonTypeError),
    /// A member is missing.
    #[error("member `{0}` is missing")]
    Missing(&'static str),
    /// The token is of another type than was asked for: `Bearer`, which tokens have that are bound to a certificate, too (RFC 8705 §3), or
    /// `DPoP` (RFC 9449 §5).
    #[error("token_type is {presented:?}, not {expected}")]
    TokenType {
        /// What the server says.
        presented: String,
        /// What the client asked for.
        expected: &'static str,
    },
    /// The token cannot be sent.
    #[error("the access token is not one that can be sent")]
    Token(#[source] BearerError),
    /// The refresh token is none.
    #[error("the refresh token is not one that can be sent")]
    RefreshToken,
    /// A URI that is none.
    #[error("member `{0}` is not a URI")]
    Uri(&'static str),
    /// A URL that is none, or not https.
    #[error("member `{0}` is not an https URL")]
    Url(&'static str),
    /// The scope is none.
    #[error("its scope is malformed")]
    Scope(#[from] ScopeError),
    /// The introspection response is malformed.
    #[error("the introspection response is malformed")]
    Introspection(#[source] IntrospectionResponseError),
    /// It is neither the answer nor an OAuth error.
    #[error("it is neither the answer nor an OAuth error")]
    Status,
}

/// An endpoint of the authorization server said no.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{} refused: {error}{}", endpoint.metadata_name(), description.as_ref().map(|it| format!(" ({it})")).unwrap_or_default())]
pub struct EndpointRefusal {
    /// Which endpoint.
    pub endpoint: Endpoint,
    /// Where it lies.
    pub url: String,
    /// The status of the response.
    pub status: StatusCode,
    /// `error`: any code, also one that we do not know.
    pub error: String,
    /// `error_description`.
    pub description: Option<String>,
    /// The id under which a Keybound server recorded why (`keybound explain`).
    pub refusal_id: Option<String>,
    /// Whether the URL is one of `mtls_endpoint_aliases`.
    pub is_alias: bool,
    /// Whether our request was meant to present a certificate.
    pub meant_certificate: bool,
}

impl EndpointRefusal {
    /// Whether the likely cause is that the certificate never arrived: the server authenticates clients by certificate, the
    /// endpoint is a conventional one, and those ask for none where there are aliases.
    fn is_probably_wrong_host(&self) -> bool {
        self.error == "invalid_client" && self.meant_certificate && !self.is_alias
    }
}

impl From<AuthorizationResponseError> for ClientError {
    fn from(error: AuthorizationResponseError) -> ClientError {
        ClientError::Authorization(Box::new(error))
    }
}

impl From<DiscoveryError> for ClientError {
    fn from(error: DiscoveryError) -> ClientError {
        ClientError::Discovery(Box::new(error))
    }
}

impl ClientError {
    /// Whether the same request might succeed later, everything else being equal.
    pub fn is_transient(&self) -> bool {
        match self {
            ClientError::Request { source, .. } => source.is_transient(),
            ClientError::Discovery(error) => error.is_transient(),
            ClientError::Refused(refusal) => refusal.status.is_server_error() || refusal.status.as_u16() == 429,
            ClientError::Response { status, .. } => status.is_server_error() || status.as_u16() == 429,
            _ => false,
        }
    }

    /// Whether the authorization server, its user, or the TLS of a server refused us: not a failure to reach it.
    pub fn is_refusal(&self) -> bool {
        matches!(
            self,
            ClientError::Refused(_)
                | ClientError::Authorization(_)
                | ClientError::Request {
                    source: RequestError::ClientCertificateRefused { .. },
                    ..
                }
        )
    }

    /// What to do about it, in a sentence, where that is known.
    pub fn fix(&self) -> Option<String> {
        match self {
            ClientError::Discovery(error) => error.fix(),
            ClientError::NoEndpoint { issuer, endpoint } => Some(format!(
                "{issuer} does not advertise {}: check that the issuer is the right one",
                endpoint.metadata_name()
            )),
            ClientError::NoCertificate => Some("give the client its certificate and private key".to_owned()),
            ClientError::Request { source, .. } => request_fix(source),
            ClientError::Refused(refusal) => refusal.fix(),
            ClientError::Authorization(error) => match &**error {
                AuthorizationResponseError::Issuer { .. } => Some(
                    "somebody may be trying to have the code of one server sent to another: begin again, and only if you trust \
                     every server this client is registered with"
                        .to_owned(),
                ),
                AuthorizationResponseError::State => Some(
                    "the browser came back with the answer to another request, an old tab or an attack: begin again"
                        .to_owned(),
                ),
                _ => None,
            },
            ClientError::NoRequestObjectKey { .. } => {
                Some("give the client the private key whose public half is in its registered jwks".to_owned())
            }
            ClientError::ApprovalExpired => Some("begin again".to_owned()),
            ClientError::Ended => Some("ask the user again".to_owned()),
            ClientError::Response {
                source: ResponseError::TokenType { expected: "DPoP", .. },
                ..
            } => Some(
                "the server bound the token to no key: register the client with dpop_bound_access_tokens = true and \
                 tls_client_certificate_bound_access_tokens = false, at a server that supports DPoP"
                    .to_owned(),
            ),
            ClientError::Response {
                source: ResponseError::TokenType { presented, .. },
                ..
            } if presented.eq_ignore_ascii_case("DPoP") => Some("give the client its DPoP key".to_owned()),
            ClientError::Response { .. }
            | ClientError::Assertion(_)
            | ClientError::IdToken { .. }
            | ClientError::NoS256 { .. } => None,
        }
    }
}

impl DiscoveryError {
    /// Whether the same request might succeed later, everything else being equal.
    pub fn is_transient(&self) -> bool {
        match self {
            DiscoveryError::Fetch { source, .. }
            | DiscoveryError::FetchKeys { source, .. }
            | DiscoveryError::FetchResourceMetadata { source, .. } => match source {
                FetchError::Timeout(_) => true,
                FetchError::Status { status } => *status >= 500 || *status == 429,
                FetchError::Request(error) => error.is_transient(),
                _ => false,
            },
            DiscoveryError::Metadata { .. }
            | DiscoveryError::NoJwksUri { .. }
            | DiscoveryError::Keys { .. }
            | DiscoveryError::NoResourceMetadataUrl { .. }
            | DiscoveryError::ResourceMetadata { .. } => false,
        }
    }

    /// What to do about it, in a sentence, where that is known.
    pub fn fix(&self) -> Option<String> {
        match self {
            DiscoveryError::Fetch { source, .. }
            | DiscoveryError::FetchKeys { source, .. }
            | DiscoveryError::FetchResourceMetadata { source, .. } => match source {
                FetchError::AddressNotAllowed { address, .. } => Some(format!(
                    "{address} is a special-use address; if the server really lies there, allow its range (outgoing.allow_addresses)"
                )),
                FetchError::Status { status: 404 } => {
                    Some("nothing lies at the well-known path: check the issuer, its path included".to_owned())
                }
                FetchError::Request(error) => request_fix(error),
                _ => None,
            },
            DiscoveryError::Metadata {
                source: ServerMetadataError::IssuerMismatch { presented, .. },
                ..
            } => Some(format!(
                "if {presented:?} is the server you mean, configure exactly this spelling as the issuer"
            )),
            DiscoveryError::NoJwksUri { .. } => {
                Some("configure jwks_uri for this issuer, or validate its tokens by introspection".to_owned())
            }
            DiscoveryError::ResourceMetadata {
                source: ProtectedResourceMetadataError::ResourceMismatch { presented, .. },
                ..
            } => Some(format!("if {presented:?} is the resource you mean, name exactly that")),
            DiscoveryError::Metadata { .. }
            | DiscoveryError::Keys { .. }
            | DiscoveryError::NoResourceMetadataUrl { .. }
            | DiscoveryError::ResourceMetadata { .. } => None,
        }
    }
}

impl EndpointRefusal {
    fn fix(&self) -> Option<String> {
        if self.is_probably_wrong_host() {
            return Some(format!(
                "the request went to {}, which is none of the server's mtls_endpoint_aliases and may never have asked for a \
                 certificate: use the host that does",
                self.url
            ));
        }
        if let Some(id) = &self.refusal_id {
            return Some(format!(
                "the operator of the server finds the reason with: keybound explain {id}"
            ));
        }
        match self.error.as_str() {
            "invalid_client" => Some(
                "check client_id, its registered token_endpoint_auth_method, and that this certificate is the registered one"
                    .to_owned(),
            ),
            "invalid_scope" => Some("ask for scopes that this client is registered for".to_owned()),
            "invalid_target" => Some("ask for a resource that the server knows".to_owned()),
            _ => None,
        }
    }
}

fn request_fix(error: &RequestError) -> Option<String> {
    match error {
        RequestError::ServerNotTrusted { .. } => Some(
            "give the CA certificate that signed the server's, and call the server by a name in its certificate"
                .to_owned(),
        ),
        RequestError::ClientCertificateRefused { alert, .. } => Some(match *alert {
            "certificate_required" | "no_certificate" => {
                "the server demands a client certificate in the handshake: give one".to_owned()
            }
            "unknown_ca" => {
                "the server does not know the CA of the client certificate, or an intermediate is missing from the \
                             certificate file"
                    .to_owned()
            }
            "certificate_expired" => "the client certificate has expired: renew it".to_owned(),
            "decrypt_error" => "the private key does not belong to the client certificate".to_owned(),
            _ => {
                "the server ended the handshake because of the client certificate: check it against the server's rules"
                    .to_owned()
            }
        }),
        RequestError::Connect { .. } => Some("check that the server runs and that host and port are right".to_owned()),
        RequestError::Resolve { .. } => Some("check the host name".to_owned()),
        _ => None,
    }
}
