//! Why an access token was not accepted: the reason, the rule that failed, and what to do about it.

use crate::confirmation::ConfirmationError;
use crate::error_code::ErrorCode;
use crate::json::{JsonError, JsonTypeError};
use crate::jws::JwsError;
use crate::refusal::Refusal;
use crate::rule::{Outcome, RuleOutcome};
use crate::scope::ScopeError;
use crate::signature_algorithm::SignatureAlgorithm;
use crate::time::Timestamp;

/// Why an access token was not accepted. For operators; the caller sees `invalid_token`.
#[derive(Debug, thiserror::Error)]
pub enum AccessTokenError {
    /// Not a JWS, or one whose algorithm, type, key or signature is not acceptable.
    #[error("the token's signature was not accepted")]
    Signature(#[from] JwsError),
    /// The claims are not a JSON object without duplicate members.
    #[error("the claims are not a JSON object")]
    Claims(#[source] JsonError),
    /// A claim has the wrong JSON type.
    #[error(transparent)]
    ClaimType(#[from] JsonTypeError),
    /// A claim that every access token has is missing.
    #[error("claim `{0}` is missing")]
    ClaimMissing(&'static str),
    /// `scope` is malformed.
    #[error("the scope is malformed")]
    Scope(#[from] ScopeError),
    /// `iss` is not the issuer that the keys belong to.
    #[error("issuer {presented:?} is not {expected:?}")]
    Issuer {
        /// What `iss` says.
        presented: String,
        /// Whose keys were used.
        expected: String,
    },
    /// None of the audience is this resource.
    #[error(
        "audience {} does not contain {}",
        crate::words::all_or_none(presented),
        crate::words::all_or_none(expected)
    )]
    Audience {
        /// What `aud` says.
        presented: Vec<String>,
        /// What would have been accepted.
        expected: Vec<String>,
    },
    /// `exp` is over, leeway included.
    #[error("expired at {expired_at}, it is {now}")]
    Expired {
        /// What `exp` says.
        expired_at: Timestamp,
        /// When it was judged.
        now: Timestamp,
    },
    /// `nbf` is still to come, leeway included.
    #[error("not valid before {not_before}, it is {now}")]
    NotYetValid {
        /// What `nbf` says.
        not_before: Timestamp,
        /// When it was judged.
        now: Timestamp,
    },
    /// `iat` is still to come, leeway included.
    #[error("issued at {issued_at}, it is {now}")]
    IssuedInTheFuture {
        /// What `iat` says.
        issued_at: Timestamp,
        /// When it was judged.
        now: Timestamp,
    },
    /// A JWT of another kind: an ID token, a logout token or the like.
    #[error("`{member}` shows that this is no access token")]
    OtherKindOfToken {
        /// What gives it away.
        member: &'static str,
    },
    /// `cnf` cannot be verified; the token is not treated as unbound.
    #[error("the confirmation cannot be verified")]
    Confirmation(#[source] ConfirmationError),
}

impl AccessTokenError {
    /// What is asked about every token, in this order; the first that fails is the reason.
    pub const RULES: [&str; 11] = [
        "a signed JWT",
        "signature algorithm permitted",
        "token type permitted",
        "signing key known",
        "signature",
        "claims complete",
        "issuer",
        "an access token, no other kind",
        "audience",
        "inside its validity",
        "confirmation can be verified",
    ];

    /// The code that is sent: `invalid_token` for each (RFC 9068 §4).
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::Signature(_)
            | Self::Claims(_)
            | Self::ClaimType(_)
            | Self::ClaimMissing(_)
            | Self::Scope(_)
            | Self::Issuer { .. }
            | Self::Audience { .. }
            | Self::Expired { .. }
            | Self::NotYetValid { .. }
            | Self::IssuedInTheFuture { .. }
            | Self::OtherKindOfToken { .. }
            | Self::Confirmation(_) => ErrorCode::InvalidToken,
        }
    }

    /// Which of [`RULES`](Self::RULES) failed.
    pub fn rule(&self) -> &'static str {
        match self {
            Self::Signature(error) => match error {
                JwsError::AlgorithmNotAllowed { .. } => "signature algorithm permitted",
                JwsError::Type { .. } => "token type permitted",
                JwsError::UnknownKey { .. } | JwsError::AlgorithmNotOfKey { .. } => "signing key known",
                JwsError::Signature => "signature",
                JwsError::TooLong
                | JwsError::PartCount(_)
                | JwsError::Base64url { .. }
                | JwsError::Header(_)
                | JwsError::HeaderType(_)
                | JwsError::Critical
                | JwsError::AlgorithmMissing => "a signed JWT",
            },
            Self::Claims(_) => "a signed JWT",
            Self::ClaimType(_) | Self::ClaimMissing(_) | Self::Scope(_) => "claims complete",
            Self::Issuer { .. } => "issuer",
            Self::OtherKindOfToken { .. } => "an access token, no other kind",
            Self::Audience { .. } => "audience",
            Self::Expired { .. } | Self::NotYetValid { .. } | Self::IssuedInTheFuture { .. } => "inside its validity",
            Self::Confirmation(_) => "confirmation can be verified",
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
            Self::Signature(JwsError::AlgorithmNotOfKey { algorithm, .. }) => (Some(algorithm.to_string()), None),
            Self::Issuer { presented, expected } => (Some(presented.clone()), Some(expected.clone())),
            Self::Audience { presented, expected } => (Some(presented.join(" ")), Some(expected.join(" "))),
            Self::Expired { expired_at: date, now }
            | Self::NotYetValid { not_before: date, now }
            | Self::IssuedInTheFuture { issued_at: date, now } => (Some(date.to_string()), Some(now.to_string())),
            _ => (None, None),
        };
        failed.presented = presented.as_deref().map(Refusal::presented_text);
        failed.registered = registered;
        rules
    }

    /// What to do about it.
    pub fn fix(&self) -> String {
        let text = match self {
            Self::Signature(JwsError::AlgorithmNotAllowed { presented }) => {
                match SignatureAlgorithm::from_name(presented) {
                    Some(algorithm) => {
                        format!("add \"{algorithm}\" to `algorithms` of this issuer, if it is to be trusted")
                    }
                    None => "let the issuer sign with ES256, ES384, EdDSA, PS256 or RS256".to_owned(),
                }
            }
            Self::Signature(JwsError::Type {
                presented: Some(presented),
            }) => format!(
                "add {presented:?} to `token_types` of this issuer, if its access tokens have that type; an ID token is none"
            ),
            Self::Signature(JwsError::Type { presented: None }) => {
                "let the issuer say `typ` in the token's header (RFC 9068 \u{a7}2.1)".to_owned()
            }
            Self::Signature(JwsError::UnknownKey { .. } | JwsError::AlgorithmNotOfKey { .. }) => {
                "check that the issuer's `jwks_uri` publishes the key that the token names".to_owned()
            }
            Self::Signature(JwsError::Signature) => {
                "obtain a new token: this one was altered, or another issuer made it".to_owned()
            }
            Self::Signature(_) | Self::Claims(_) => {
                "send the token exactly as the token endpoint returned it".to_owned()
            }
            Self::ClaimType(_) | Self::ClaimMissing(_) | Self::Scope(_) => {
                "let the issuer send the claims of RFC 9068 \u{a7}2.2".to_owned()
            }
            Self::Issuer { presented, .. } => {
                format!("add an [[issuers]] entry for {presented:?}, if it is to be trusted")
            }
            Self::OtherKindOfToken { .. } => "send the access token, not the ID token".to_owned(),
            Self::Audience { expected, .. } => format!(
                "ask for the token with resource={}, or add its audience to `audience` of this issuer",
                expected.first().map_or("", String::as_str)
            ),
            Self::Expired { .. } => {
                "obtain a new token; if it is new, compare the clocks of issuer and resource".to_owned()
            }
            Self::NotYetValid { .. } | Self::IssuedInTheFuture { .. } => {
                "compare the clocks of issuer and resource".to_owned()
            }
            Self::Confirmation(_) => {
                "let the issuer bind its tokens by `x5t#S256` or `jkt`: no other confirmation is verified here"
                    .to_owned()
            }
        };
        Refusal::presented_text(&text)
    }
}
