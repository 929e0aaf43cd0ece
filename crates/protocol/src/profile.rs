//! Security profiles. A client may be stricter than its server, never laxer.

use std::fmt;
use std::str::FromStr;

use crate::authentication_method::AuthenticationMethod;
use crate::serde_as_text::serde_as_text;
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

/// A rule that a profile makes stricter. Displayed as `client authentication by … (was: …)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProfileChange {
    /// What it is about, and what holds under the profile.
    pub rule: &'static str,
    /// What holds without it.
    pub before: &'static str,
}

impl fmt::Display for ProfileChange {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} (was: {})", self.rule, self.before)
    }
}

const fn change(rule: &'static str, before: &'static str) -> ProfileChange {
    ProfileChange { rule, before }
}

/// What FAPI 2.0 changes. What it asks for and what holds in any case is not in it: codes live 60 s and count once, refresh tokens of
/// clients that authenticate are not rotated, `iss` is in every authorization response, PKCE is S256 alone, the cipher suites.
const FAPI2: &[ProfileChange] = &[
    change("PAR required", "optional"),
    change(
        "PKCE required of every client",
        "of public clients, and of others that register so",
    ),
    change(
        "redirect_uri required in every request",
        "may be left out where one is registered",
    ),
    change(
        "redirect URIs https, or http to a loopback address, alone",
        "also http to localhost, and private-use schemes",
    ),
    change(
        "aud, exp and nbf required of request objects, of the last hour and for an hour at most",
        "as the client sends them",
    ),
    change(
        "client authentication by tls_client_auth, self_signed_tls_client_auth or private_key_jwt alone",
        "also client_secret_basic, client_secret_post and none, where enabled",
    ),
    change(
        "aud of client assertions the issuer, as a single string",
        "also the endpoints, and lists",
    ),
    change("bound access tokens required", "as the client registers"),
    change("signatures by PS256, ES256 or EdDSA alone", "also ES384 and RS256"),
    change(
        "CIBA clients poll or are pinged",
        "tokens are also pushed, where enabled",
    ),
];

/// What Message Signing changes beyond that.
const FAPI2_MESSAGE_SIGNING: &[ProfileChange] = &[change("signed request objects required", "optional")];

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

    /// What the profile changes, compared with none. `config check` shows it.
    pub fn changes(self) -> impl Iterator<Item = ProfileChange> {
        let fapi2: &[ProfileChange] = if self >= Self::Fapi2 { FAPI2 } else { &[] };
        let signing: &[ProfileChange] = if self >= Self::Fapi2MessageSigning {
            FAPI2_MESSAGE_SIGNING
        } else {
            &[]
        };
        fapi2.iter().chain(signing).copied()
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

    /// Whether a redirect URI has to be https, or http to a loopback address for a native application (FAPI 2.0 §5.3.2.2, RFC 8252 §7.3).
    pub fn restricts_redirect_uris(self) -> bool {
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

    /// Whether tokens may be pushed to a client (FAPI-CIBA §5.2.2: push mode is not supported). They would go over a connection in which
    /// the client proves nothing.
    pub fn permits_push_delivery(self) -> bool {
        self < Self::Fapi2
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

serde_as_text!(Profile, |value| value.name());

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
