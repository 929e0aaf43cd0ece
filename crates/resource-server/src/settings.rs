//! What a resource server is told once: whose tokens it takes, and how it learns whether they are good.

use std::sync::Arc;

use keybound_client::Client;
use keybound_protocol::access_token::verification::DEFAULT_TOKEN_TYPES;
use keybound_protocol::issuer::Issuer;
use keybound_protocol::signature_algorithm::SignatureAlgorithm;

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
}

impl IssuerSettings {
    /// The settings for an issuer about which nothing else was said: every algorithm of ours, RFC 9068 types, no other audience.
    pub fn new(issuer: Issuer, validation: Validation) -> IssuerSettings {
        IssuerSettings {
            issuer,
            validation,
            algorithms: SignatureAlgorithm::ALL.to_vec(),
            token_types: DEFAULT_TOKEN_TYPES.map(str::to_owned).to_vec(),
            audiences: Vec::new(),
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
