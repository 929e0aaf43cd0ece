//! How a client authenticates: per method exactly what that method needs, and nothing else.

use std::sync::Arc;

use url::Url;

use crate::authentication_method::AuthenticationMethod;
use crate::jwk_set::JwkSet;
use crate::signature_algorithm::SignatureAlgorithm;
use crate::subject_rule::SubjectRule;
use crate::trust_anchor::TrustAnchorName;

/// A client's registered method with what it is judged by.
///
/// A `tls_client_auth` client without a subject rule, or with two, has no value of this type (RFC 8705 §2.1.2).
#[derive(Debug, Clone)]
pub enum ClientAuthentication {
    /// `tls_client_auth` (RFC 8705 §2.1)
    TlsClientAuth {
        /// The one value that has to be in the certificate.
        subject: SubjectRule,
        /// The trust anchors that may have issued it.
        anchors: PermittedAnchors,
    },
    /// `self_signed_tls_client_auth` (RFC 8705 §2.2)
    SelfSignedTlsClientAuth {
        /// The certificates, as the first `x5c` entries of a key set.
        keys: ClientKeys,
        /// Whether one past its end still authenticates.
        expired: ExpiredSelfSigned,
    },
    /// `private_key_jwt` (RFC 7523 §2.2)
    PrivateKeyJwt {
        /// The keys that may sign.
        keys: ClientKeys,
        /// `token_endpoint_auth_signing_alg`: the only algorithm, if the client registered one.
        algorithm: Option<SignatureAlgorithm>,
    },
    /// `client_secret_basic` or `client_secret_post` (RFC 6749 §2.3.1). The secret's hash is in the store.
    ClientSecret {
        /// Where the secret is sent.
        transport: ClientSecretTransport,
    },
    /// `none`: a public client.
    None,
}

/// Which of the server's trust anchors may have issued a client's certificate (RFC 8705 §7.4).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PermittedAnchors {
    /// Each of those that are configured. Where none is, nobody is trusted.
    Every,
    /// These; one that is not configured (any more) trusts nobody.
    Named(Vec<TrustAnchorName>),
}

/// The keys of a client: by value or by reference, never both (RFC 7591 §2).
#[derive(Debug, Clone)]
pub enum ClientKeys {
    /// `jwks`
    Jwks(Arc<JwkSet>),
    /// `jwks_uri`, https
    JwksUri(Url),
}

/// What becomes of a registered self-signed certificate after its end: `keybound_expired_self_signed`. RFC 8705 §2.2 is silent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ExpiredSelfSigned {
    /// It no longer authenticates.
    #[default]
    Refuse,
    /// It authenticates as long as it is registered.
    Accept,
}

/// Where a client sends its secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientSecretTransport {
    /// `client_secret_basic`
    Basic,
    /// `client_secret_post`
    Post,
}

impl ClientAuthentication {
    /// The method's name.
    pub fn method(&self) -> AuthenticationMethod {
        match self {
            Self::TlsClientAuth { .. } => AuthenticationMethod::TlsClientAuth,
            Self::SelfSignedTlsClientAuth { .. } => AuthenticationMethod::SelfSignedTlsClientAuth,
            Self::PrivateKeyJwt { .. } => AuthenticationMethod::PrivateKeyJwt,
            Self::ClientSecret { transport } => transport.method(),
            Self::None => AuthenticationMethod::None,
        }
    }

    /// The keys that the method uses.
    pub fn keys(&self) -> Option<&ClientKeys> {
        match self {
            Self::SelfSignedTlsClientAuth { keys, .. } | Self::PrivateKeyJwt { keys, .. } => Some(keys),
            Self::TlsClientAuth { .. } | Self::ClientSecret { .. } | Self::None => None,
        }
    }
}

impl ClientSecretTransport {
    /// The method's name.
    pub fn method(self) -> AuthenticationMethod {
        match self {
            Self::Basic => AuthenticationMethod::ClientSecretBasic,
            Self::Post => AuthenticationMethod::ClientSecretPost,
        }
    }
}

impl PermittedAnchors {
    /// Whether the trust anchor `name` may have issued the client's certificate.
    pub fn permits(&self, name: &TrustAnchorName) -> bool {
        match self {
            Self::Every => true,
            Self::Named(names) => names.contains(name),
        }
    }

    /// The names, none of which means every anchor.
    pub fn names(&self) -> &[TrustAnchorName] {
        match self {
            Self::Every => &[],
            Self::Named(names) => names,
        }
    }
}

impl ExpiredSelfSigned {
    /// The name in client metadata.
    pub fn name(self) -> &'static str {
        match self {
            Self::Refuse => "refuse",
            Self::Accept => "accept",
        }
    }

    /// The value of this name.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Refuse, Self::Accept]
            .into_iter()
            .find(|value| value.name() == name)
    }
}
