//! Client authentication methods, by their registered names (RFC 7591 §2, RFC 8705 §2, OpenID Connect Core §9).

use std::fmt;

/// How a client authenticates: `token_endpoint_auth_method`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AuthenticationMethod {
    /// PKI mutual TLS (RFC 8705 §2.1.1).
    TlsClientAuth,
    /// Mutual TLS with registered certificates (RFC 8705 §2.2.1).
    SelfSignedTlsClientAuth,
    /// A JWT signed with the client's private key (RFC 7523 §2.2).
    PrivateKeyJwt,
    /// A secret in the `Authorization` header (RFC 6749 §2.3.1).
    ClientSecretBasic,
    /// A secret in the form (RFC 6749 §2.3.1).
    ClientSecretPost,
    /// A public client, which does not authenticate.
    None,
}

impl AuthenticationMethod {
    /// Every method.
    pub const ALL: [Self; 6] = [
        Self::TlsClientAuth,
        Self::SelfSignedTlsClientAuth,
        Self::PrivateKeyJwt,
        Self::ClientSecretBasic,
        Self::ClientSecretPost,
        Self::None,
    ];

    /// The registered name.
    pub fn name(self) -> &'static str {
        match self {
            Self::TlsClientAuth => "tls_client_auth",
            Self::SelfSignedTlsClientAuth => "self_signed_tls_client_auth",
            Self::PrivateKeyJwt => "private_key_jwt",
            Self::ClientSecretBasic => "client_secret_basic",
            Self::ClientSecretPost => "client_secret_post",
            Self::None => "none",
        }
    }

    /// The method of a registered name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|method| method.name() == name)
    }

    /// Whether the client has a secret that we made.
    pub fn has_secret(self) -> bool {
        matches!(self, Self::ClientSecretBasic | Self::ClientSecretPost)
    }

    /// Whether the certificate on the connection authenticates the client.
    pub fn is_mutual_tls(self) -> bool {
        matches!(self, Self::TlsClientAuth | Self::SelfSignedTlsClientAuth)
    }
}

impl fmt::Display for AuthenticationMethod {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}
