//! Security profiles. A client may be stricter than its server, never laxer.

use std::fmt;
use std::str::FromStr;

use crate::authentication_method::AuthenticationMethod;
use crate::signature_algorithm::SignatureAlgorithm;

/// A security profile, from lax to strict.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Profile {
    /// The RFCs alone.
    #[default]
    Default,
    /// FAPI 2.0 Security Profile.
    Fapi2,
    /// FAPI 2.0 Message Signing.
    Fapi2MessageSigning,
}

/// The text names no profile.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not one of default, fapi2, fapi2-message-signing")]
pub struct UnknownProfile;

impl Profile {
    /// Every profile.
    pub const ALL: [Self; 3] = [Self::Default, Self::Fapi2, Self::Fapi2MessageSigning];

    /// The name in configuration and client metadata.
    pub fn name(self) -> &'static str {
        match self {
            Self::Default => "default",
            Self::Fapi2 => "fapi2",
            Self::Fapi2MessageSigning => "fapi2-message-signing",
        }
    }

    /// Whether every access token has to be bound to a certificate (FAPI 2.0 §5.3.2.1).
    pub fn requires_bound_access_tokens(self) -> bool {
        self >= Self::Fapi2
    }

    /// Whether clients may authenticate by `method` (FAPI 2.0 §5.3.2.1: mutual TLS or `private_key_jwt`).
    pub fn permits_method(self, method: AuthenticationMethod) -> bool {
        self < Self::Fapi2 || method.is_mutual_tls() || method == AuthenticationMethod::PrivateKeyJwt
    }

    /// Whether every authorization request is pushed (FAPI 2.0 §5.3.2.2).
    pub fn requires_pushed_authorization_requests(self) -> bool {
        self >= Self::Fapi2
    }

    /// Whether every authorization request has a code challenge (FAPI 2.0 §5.3.2.2).
    pub fn requires_code_challenge(self) -> bool {
        self >= Self::Fapi2
    }

    /// Whether every authorization request names its redirect URI, also if only one is registered (FAPI 2.0 §5.3.2.2).
    pub fn requires_redirect_uri(self) -> bool {
        self >= Self::Fapi2
    }

    /// Whether every authorization request is a signed request object (FAPI 2.0 Message Signing §5.3.1).
    pub fn requires_signed_request_objects(self) -> bool {
        self >= Self::Fapi2MessageSigning
    }

    /// Whether `aud` of a client assertion has to be the issuer as a single string (FAPI 2.0 §5.3.2.1). RFC 7523 §3 also takes the
    /// URL of the token endpoint and RFC 9126 §2 that of the endpoint called, which every client library of its time sends.
    pub fn requires_issuer_as_audience(self) -> bool {
        self >= Self::Fapi2
    }

    /// The algorithms that may sign (FAPI 2.0 §5.4.1: without RS256).
    pub fn signature_algorithms(self) -> &'static [SignatureAlgorithm] {
        if self < Self::Fapi2 {
            &SignatureAlgorithm::ALL
        } else {
            &SignatureAlgorithm::FAPI
        }
    }
}

impl fmt::Display for Profile {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

impl FromStr for Profile {
    type Err = UnknownProfile;

    fn from_str(name: &str) -> Result<Self, UnknownProfile> {
        Self::ALL
            .into_iter()
            .find(|profile| profile.name() == name)
            .ok_or(UnknownProfile)
    }
}
