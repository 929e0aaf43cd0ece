//! What a resource server is told once: whose tokens it takes, and how it learns whether they are good.

use std::sync::Arc;

use keybound_client::Client;
use keybound_protocol::access_token::verification::DEFAULT_TOKEN_TYPES;
use keybound_protocol::issuer::Issuer;
use keybound_protocol::signature_algorithm::SignatureAlgorithm;
use url::Url;

pub use crate::issuer_keys::KeySource;

/// How a resource server learns whether a token of an issuer is good.
#[derive(Clone, Debug)]
pub enum Validation {
    /// The token is a JWT that the issuer signed (RFC 9068): it is judged here, with the issuer's keys.
    Local(KeySource),
    /// The issuer is asked (RFC 7662), by a client of our own: its certificate authenticates *us* there and is never compared with
    /// any token (RFC 8705 §3.2 binds tokens to the certificate of *our* caller).
    Introspection(Arc<Client>),
}

/// How a resource server learns what an issuer revoked before its time.
#[derive(Clone, Debug)]
pub struct RevocationSettings {
    /// Where the issuer says it: `GET /revocations` of a Keybound server, on its mutual-TLS side.
    pub url: Url,
    /// Who asks: a client with a certificate and scope `keybound:revocations`.
    pub client: Arc<Client>,
    /// What becomes of tokens while the issuer does not say it.
    pub on_stale: OnStale,
}

/// What becomes of an issuer's tokens when it has not said for a while what it revoked
/// ([`revocations_silence_max`](crate::Limits::revocations_silence_max)).
#[derive(Clone, Debug)]
pub enum OnStale {
    /// They are judged by what is known. [`ResourceServer::revocations`](crate::ResourceServer::revocations) says that it is old.
    Continue,
    /// None is accepted (503), and what runs with one is ended.
    Refuse,
    /// The issuer is asked about each (RFC 7662), as if it were configured for that.
    Introspect(Arc<Client>),
}

/// An issuer whose tokens are taken.
#[derive(Clone, Debug)]
pub struct IssuerSettings {
    /// Its identifier, compared octet for octet with `iss`.
    pub issuer: Issuer,
    /// How its tokens are validated.
    pub validation: Validation,
    /// The algorithms that it may sign with. Of no meaning with introspection.
    pub algorithms: Vec<SignatureAlgorithm>,
    /// The values of `typ` that its access tokens may have. Of no meaning with introspection.
    pub token_types: Vec<String>,
    /// What else than the route's own audience its tokens may name in `aud`: what an issuer that knows no resource indicators
    /// calls us. Never a client identifier.
    pub audiences: Vec<String>,
    /// How its revocations are followed, by [`ResourceServer::follow_revocations`](crate::ResourceServer::follow_revocations).
    pub revocations: Option<RevocationSettings>,
}

impl IssuerSettings {
    /// The settings for an issuer about which nothing else was said: every algorithm of ours, RFC 9068 types, no other audience,
    /// revocations not followed.
    pub fn new(issuer: Issuer, validation: Validation) -> IssuerSettings {
        IssuerSettings {
            issuer,
            validation,
            algorithms: SignatureAlgorithm::ALL.to_vec(),
            token_types: DEFAULT_TOKEN_TYPES.map(str::to_owned).to_vec(),
            audiences: Vec::new(),
            revocations: None,
        }
    }
}

/// Why no resource server can be made of these settings.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// Without an issuer every token is refused.
    #[error("no issuer is configured")]
    NoIssuer,
    /// Two settings for one issuer: which of them decides?
    #[error("issuer {0} is configured twice")]
    DuplicateIssuer(Issuer),
    /// An issuer that may sign with nothing.
    #[error("issuer {0} has no algorithm")]
    NoAlgorithm(Issuer),
    /// An issuer whose tokens may have no type.
    #[error("issuer {0} has no token type")]
    NoTokenType(Issuer),
}

/// Checks what the types leave open.
pub(crate) fn require_consistent(issuers: &[IssuerSettings]) -> Result<(), SettingsError> {
    if issuers.is_empty() {
        return Err(SettingsError::NoIssuer);
    }
    for (position, settings) in issuers.iter().enumerate() {
        if issuers
            .iter()
            .skip(position + 1)
            .any(|other| other.issuer == settings.issuer)
        {
            return Err(SettingsError::DuplicateIssuer(settings.issuer.clone()));
        }
        if matches!(settings.validation, Validation::Introspection(_)) {
            continue;
        }
        if settings.algorithms.is_empty() {
            return Err(SettingsError::NoAlgorithm(settings.issuer.clone()));
        }
        if settings.token_types.is_empty() {
            return Err(SettingsError::NoTokenType(settings.issuer.clone()));
        }
    }
    Ok(())
}
