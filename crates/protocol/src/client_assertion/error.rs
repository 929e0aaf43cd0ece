//! Why a client assertion was not accepted: the reason, the rule that failed, and what to do about it.

use super::{ASSERTION_ID_BYTES_MAX, CLIENT_ASSERTION_TYPE};
use crate::client::ClientId;
use crate::json::{JsonError, JsonTypeError};
use crate::jws::JwsError;
use crate::refusal::Refusal;
use crate::rule::{Outcome, RuleOutcome};
use crate::time::Timestamp;

/// Why a client assertion was not accepted. For operators; the caller sees `invalid_client`.
#[derive(Debug, thiserror::Error)]
pub enum ClientAssertionError {
    /// `client_assertion` without `client_assertion_type`, or the reverse.
    #[error("`client_assertion` and `client_assertion_type` belong together")]
    Incomplete,
    /// `client_assertion_type` is another one.
    #[error("client assertion type {0:?} is not supported")]
    AssertionType(String),
    /// Not a JWS, or one whose algorithm, type, key or signature is not acceptable.
    #[error("the assertion's signature was not accepted")]
    Signature(#[from] JwsError),
    /// The claims are not a JSON object without duplicate members.
    #[error("the claims are not a JSON object")]
    Claims(#[source] JsonError),
    /// A claim has the wrong JSON type.
    #[error(transparent)]
    ClaimType(#[from] JsonTypeError),
    /// A claim that every assertion has is missing.
    #[error("claim `{0}` is missing")]
    ClaimMissing(&'static str),
    /// `iss` is not the client.
    #[error("issuer {presented:?} is not the client {expected}")]
    Issuer {
        /// What `iss` says.
        presented: String,
        /// The client.
        expected: ClientId,
    },
    /// `sub` is not the client.
    #[error("subject {presented:?} is not the client {expected}")]
    Subject {
        /// What `sub` says.
        presented: String,
        /// The client.
        expected: ClientId,
    },
    /// `aud` is not this server alone: another server, several values, or what only a laxer profile accepts.
    #[error("audience {presented} is not {}", one_of(accepted))]
    Audience {
        /// What `aud` says, as JSON.
        presented: String,
        /// What would have been accepted, the issuer first.
        accepted: Vec<String>,
    },
    /// `exp` is over, leeway included.
    #[error("expired at {expired_at}, it is {now}")]
    Expired {
        /// What `exp` says.
        expired_at: Timestamp,
        /// When it was judged.
        now: Timestamp,
    },
    /// It would live longer than [`ASSERTION_LIFETIME_MAX`](super::ASSERTION_LIFETIME_MAX).
    #[error("expires at {expires_at}, more than 5 minutes after {from}")]
    LivesTooLong {
        /// What `exp` says.
        expires_at: Timestamp,
        /// Its `iat`, or when it was judged.
        from: Timestamp,
    },
    /// `nbf` or `iat` is still to come, leeway included.
    #[error("`{claim}` is {presented}, it is {now}")]
    InTheFuture {
        /// `nbf` or `iat`.
        claim: &'static str,
        /// What it says.
        presented: Timestamp,
        /// When it was judged.
        now: Timestamp,
    },
    /// `jti` is empty or longer than [`ASSERTION_ID_BYTES_MAX`].
    #[error("`jti` is empty or longer than {ASSERTION_ID_BYTES_MAX} octets")]
    AssertionId,
}

impl ClientAssertionError {
    /// What is asked about every assertion, in this order; the first that fails is the reason.
    pub const RULES: [&str; 10] = [
        "a signed JWT as `client_assertion`",
        "signature algorithm permitted",
        "token type permitted",
        "signing key registered",
        "signature",
        "`iss` is the client",
        "`sub` is the client",
        "`aud` is this server alone",
        "inside its validity",
        "`jti` usable once",
    ];

    /// Which of [`RULES`](Self::RULES) failed.
    pub fn rule(&self) -> &'static str {
        match self {
            Self::Incomplete | Self::AssertionType(_) | Self::Claims(_) => "a signed JWT as `client_assertion`",
            Self::Signature(error) => match error {
                JwsError::AlgorithmNotAllowed { .. } => "signature algorithm permitted",
                JwsError::Type { .. } => "token type permitted",
                JwsError::UnknownKey { .. } | JwsError::AlgorithmNotOfKey { .. } => "signing key registered",
                JwsError::Signature => "signature",
                JwsError::TooLong
                | JwsError::PartCount(_)
                | JwsError::Base64url { .. }
                | JwsError::Header(_)
                | JwsError::HeaderType(_)
                | JwsError::Critical
                | JwsError::AlgorithmMissing => "a signed JWT as `client_assertion`",
            },
            Self::ClaimType(JsonTypeError { member, .. }) | Self::ClaimMissing(member) => match *member {
                "iss" => "`iss` is the client",
                "sub" => "`sub` is the client",
                "aud" => "`aud` is this server alone",
                "jti" => "`jti` usable once",
                _ => "inside its validity",
            },
            Self::Issuer { .. } => "`iss` is the client",
            Self::Subject { .. } => "`sub` is the client",
            Self::Audience { .. } => "`aud` is this server alone",
            Self::Expired { .. } | Self::LivesTooLong { .. } | Self::InTheFuture { .. } => "inside its validity",
            Self::AssertionId => "`jti` usable once",
        }
    }

    /// Every rule with its outcome, what was presented and what would have been accepted.
    pub fn rules(&self) -> Vec<RuleOutcome> {
        let mut rules = RuleOutcome::list(&Self::RULES, self.rule());
        let Some(failed) = rules.iter_mut().find(|rule| rule.outcome == Outcome::Failed) else {
            return rules;
        };
        failed.detail = Some(Refusal::reason_of(self));
        let (presented, registered) = match self {
            Self::Signature(JwsError::AlgorithmNotAllowed { presented }) => (Some(presented.clone()), None),
            Self::Signature(JwsError::Type { presented }) => (presented.clone(), None),
            Self::Signature(JwsError::UnknownKey { key_id }) => (key_id.clone(), None),
            Self::Issuer { presented, expected } | Self::Subject { presented, expected } => {
                (Some(presented.clone()), Some(expected.to_string()))
            }
            Self::Audience { presented, accepted } => (Some(presented.clone()), Some(one_of(accepted))),
            Self::Expired { expired_at: date, now }
            | Self::InTheFuture {
                presented: date, now, ..
            }
            | Self::LivesTooLong {
                expires_at: date,
                from: now,
            } => (Some(date.to_string()), Some(now.to_string())),
            _ => (None, None),
        };
        failed.presented = presented.as_deref().map(Refusal::presented_text);
        failed.registered = registered;
        rules
    }

    /// What to do about it.
    pub fn fix(&self) -> String {
        let text = match self {
            Self::Incomplete | Self::AssertionType(_) => {
                format!("send `client_assertion` and `client_assertion_type={CLIENT_ASSERTION_TYPE}`")
            }
            Self::Signature(JwsError::AlgorithmNotAllowed { .. }) => {
                "let the client sign with the algorithm that it registered and the profile permits".to_owned()
            }
            Self::Signature(JwsError::Type { .. }) => "let the client sign with `typ` JWT".to_owned(),
            Self::Signature(JwsError::UnknownKey { .. } | JwsError::AlgorithmNotOfKey { .. }) => {
                "register the key that the client signs with, in `jwks` or at its `jwks_uri`".to_owned()
            }
            Self::Signature(JwsError::Signature) => {
                "register the key that the client signs with: the one on file has not made this signature".to_owned()
            }
            Self::Signature(_) | Self::Claims(_) | Self::ClaimType(_) | Self::ClaimMissing(_) => {
                "let the client send the claims of RFC 7523 \u{a7}3 in a signed JWT".to_owned()
            }
            Self::Issuer { expected, .. } | Self::Subject { expected, .. } => {
                format!("let the client set `iss` and `sub` to {expected}")
            }
            Self::Audience { accepted, .. } => {
                format!(
                    "let the client set `aud` to the one string {}",
                    one_of(accepted.get(..1).unwrap_or_default())
                )
            }
            Self::Expired { .. } | Self::InTheFuture { .. } => {
                "let the client make a new assertion for each request, and compare the clocks".to_owned()
            }
            Self::LivesTooLong { .. } => "let the client set `exp` at most 5 minutes ahead".to_owned(),
            Self::AssertionId => {
                format!("let the client set `jti` to a new value of at most {ASSERTION_ID_BYTES_MAX} octets")
            }
        };
        Refusal::presented_text(&text)
    }
}

/// What `aud` may be, the issuer first.
fn one_of(accepted: &[String]) -> String {
    let quoted: Vec<String> = accepted.iter().map(|name| format!("{name:?}")).collect();
    quoted.join(" or ")
}
