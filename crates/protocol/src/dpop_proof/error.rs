//! Why a DPoP proof was not accepted: the reason, the rule that failed, and what to do about it.

use super::{DPOP_PROOF_BYTES_MAX, PROOF_ID_BYTES_MAX};
use crate::dpop_nonce::DpopNonceError;
use crate::error_code::ErrorCode;
use crate::http_uri::HttpUriError;
use crate::json::{JsonError, JsonTypeError};
use crate::jwk::JwkError;
use crate::jws::JwsError;
use crate::refusal::Refusal;
use crate::rule::{Outcome, RuleOutcome};
use crate::time::Timestamp;

/// Why a DPoP proof was not accepted (RFC 9449 §4.3). For operators; the caller sees `invalid_dpop_proof` or `use_dpop_nonce`.
#[derive(Debug, thiserror::Error)]
pub enum DpopProofError {
    /// The request has no `DPoP` field.
    #[error("the request has no DPoP header")]
    Missing,
    /// More than one `DPoP` field.
    #[error("the request has more than one DPoP header")]
    Repeated,
    /// Longer than [`DPOP_PROOF_BYTES_MAX`].
    #[error("the proof is longer than {DPOP_PROOF_BYTES_MAX} octets")]
    TooLong,
    /// Octets that are no text.
    #[error("the DPoP header is not text")]
    Text,
    /// Not a JWS, or one whose algorithm, type or signature is not acceptable.
    #[error("the proof's signature was not accepted")]
    Signature(#[from] JwsError),
    /// The header has no `jwk`.
    #[error("the proof's header has no `jwk`")]
    KeyMissing,
    /// `jwk` is no public key of ours, or private.
    #[error("the `jwk` in the proof's header is not a public key that is supported")]
    Key(#[from] JwkError),
    /// The claims are not a JSON object without duplicate members.
    #[error("the claims are not a JSON object")]
    Claims(#[source] JsonError),
    /// A claim has the wrong JSON type.
    #[error(transparent)]
    ClaimType(#[from] JsonTypeError),
    /// A claim that every proof has is missing, or `ath` beside a token.
    #[error("claim `{0}` is missing")]
    ClaimMissing(&'static str),
    /// `htm` is another method.
    #[error("the proof is for method {presented:?}, and this is {expected:?}")]
    Method {
        /// What `htm` says.
        presented: String,
        /// The method of the request.
        expected: String,
    },
    /// `htu` is another URL, or none.
    #[error("the proof is for {presented:?}, and this is {expected:?}")]
    Target {
        /// What `htu` says.
        presented: String,
        /// The URL of the request, normalised.
        expected: String,
        /// What is wrong with it, if it is no URL.
        #[source]
        source: Option<HttpUriError>,
    },
    /// This server demands a nonce, and the proof has none.
    #[error("the proof has no nonce, and one is required")]
    NonceMissing,
    /// The nonce does not count, or not any more.
    #[error(transparent)]
    Nonce(#[from] DpopNonceError),
    /// `iat` is too long ago, leeway included.
    #[error("made at {issued_at}, it is {now}")]
    Old {
        /// What `iat` says.
        issued_at: Timestamp,
        /// When it was judged.
        now: Timestamp,
    },
    /// `iat` is still to come, leeway included.
    #[error("made at {issued_at}, and it is only {now}")]
    InTheFuture {
        /// What `iat` says.
        issued_at: Timestamp,
        /// When it was judged.
        now: Timestamp,
    },
    /// `ath` is the hash of another token.
    #[error("the proof was made for another access token")]
    TokenHash,
    /// `jti` is empty or longer than [`PROOF_ID_BYTES_MAX`].
    #[error("`jti` is empty or longer than {PROOF_ID_BYTES_MAX} octets")]
    ProofId,
    /// The same key made a proof with this `jti` before, and that was used.
    #[error("the proof was used before")]
    Replayed,
    /// As many proofs are remembered as there is room for: that this one is new cannot be said.
    #[error("too many proofs are remembered to know that this one is new")]
    MemoryFull,
}

const ONE: &str = "one DPoP header";
const JWT: &str = "a signed JWT in it";
const ALGORITHM: &str = "asymmetric algorithm that is permitted";
const TYPE: &str = "type dpop+jwt";
const KEY: &str = "a public key in `jwk`";
const SIGNATURE: &str = "signature by that key";
const COMPLETE: &str = "claims complete";
const METHOD: &str = "`htm` is the request's method";
const TARGET: &str = "`htu` is the request's URL";
const NONCE: &str = "`nonce` is this server's, if it demands one";
const RECENT: &str = "`iat` is recent";
const HASH: &str = "`ath` is the access token's hash, if it goes with one";
const NEW: &str = "`jti` not seen before";

impl DpopProofError {
    /// What is asked about every proof, in this order; the first that fails is the reason. The key it has to be made with is asked
    /// about after that.
    pub const RULES: [&str; 13] = [
        ONE, JWT, ALGORITHM, TYPE, KEY, SIGNATURE, COMPLETE, METHOD, TARGET, NONCE, RECENT, HASH, NEW,
    ];

    /// The code that is sent.
    ///
    /// A request without any proof is incomplete (`invalid_request`); one without a usable nonce is told to fetch one, in the answer
    /// (RFC 9449 §8).
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::Missing => ErrorCode::InvalidRequest,
            Self::NonceMissing | Self::Nonce(_) => ErrorCode::UseDpopNonce,
            Self::MemoryFull => ErrorCode::TemporarilyUnavailable,
            Self::Repeated
            | Self::TooLong
            | Self::Text
            | Self::Signature(_)
            | Self::KeyMissing
            | Self::Key(_)
            | Self::Claims(_)
            | Self::ClaimType(_)
            | Self::ClaimMissing(_)
            | Self::Method { .. }
            | Self::Target { .. }
            | Self::Old { .. }
            | Self::InTheFuture { .. }
            | Self::TokenHash
            | Self::ProofId
            | Self::Replayed => ErrorCode::InvalidDpopProof,
        }
    }

    /// Which of [`RULES`](Self::RULES) failed.
    pub fn rule(&self) -> &'static str {
        match self {
            Self::Missing | Self::Repeated => ONE,
            Self::TooLong | Self::Text | Self::Claims(_) => JWT,
            Self::Signature(error) => match error {
                JwsError::AlgorithmNotAllowed { .. } => ALGORITHM,
                JwsError::Type { .. } => TYPE,
                JwsError::UnknownKey { .. } | JwsError::AlgorithmNotOfKey { .. } => KEY,
                JwsError::Signature => SIGNATURE,
                JwsError::TooLong
                | JwsError::PartCount(_)
                | JwsError::Base64url { .. }
                | JwsError::Header(_)
                | JwsError::HeaderType(_)
                | JwsError::Critical
                | JwsError::AlgorithmMissing => JWT,
            },
            Self::KeyMissing | Self::Key(_) => KEY,
            Self::ClaimMissing("ath") => HASH,
            Self::ClaimType(JsonTypeError { member, .. }) => match *member {
                "ath" => HASH,
                "nonce" => NONCE,
                _ => COMPLETE,
            },
            Self::ClaimMissing(_) => COMPLETE,
            Self::Method { .. } => METHOD,
            Self::Target { .. } => TARGET,
            Self::NonceMissing | Self::Nonce(_) => NONCE,
            Self::Old { .. } | Self::InTheFuture { .. } => RECENT,
            Self::TokenHash => HASH,
            Self::ProofId | Self::Replayed | Self::MemoryFull => NEW,
        }
    }

    /// Every rule with its outcome, what was presented and what would have been accepted.
    pub fn rules(&self) -> Vec<RuleOutcome> {
        let mut rules = RuleOutcome::list(&Self::RULES, self.rule());
        let Some(failed) = rules.iter_mut().find(|rule| rule.outcome == Outcome::Failed) else {
            return rules;
        };
        failed.detail = Some(Refusal::reason_of(self));
        let (presented, expected) = self.comparison();
        failed.presented = presented.as_deref().map(Refusal::presented_text);
        failed.registered = expected;
        rules
    }

    /// What arrived and what was expected, where the failed rule compares something.
    pub fn comparison(&self) -> (Option<String>, Option<String>) {
        match self {
            Self::Signature(JwsError::AlgorithmNotAllowed { presented }) => (Some(presented.clone()), None),
            Self::Signature(JwsError::Type { presented }) => {
                (presented.clone(), Some(super::DPOP_PROOF_TYPE.to_owned()))
            }
            Self::Method { presented, expected }
            | Self::Target {
                presented, expected, ..
            } => (Some(presented.clone()), Some(expected.clone())),
            Self::Old { issued_at, now } | Self::InTheFuture { issued_at, now } => {
                (Some(issued_at.to_string()), Some(now.to_string()))
            }
            _ => (None, None),
        }
    }

    /// What to do about it.
    pub fn fix(&self) -> &'static str {
        match self {
            Self::Missing => "let the client send a DPoP proof in the header DPoP, made for this request",
            Self::Repeated => "let the client, or the proxy before us, send one DPoP header",
            Self::Signature(JwsError::AlgorithmNotAllowed { .. }) => {
                "let the client sign its proofs with an algorithm of `dpop_signing_alg_values_supported`"
            }
            Self::Signature(JwsError::Type { .. }) => "let the client sign its proofs with `typ` dpop+jwt",
            Self::Key(JwkError::PrivateKey(_)) => {
                "the client sends its private key along: that key is lost, let the client make another and send the public part alone"
            }
            Self::Signature(JwsError::AlgorithmNotOfKey { .. }) | Self::KeyMissing | Self::Key(_) => {
                "let the client put its public key into `jwk` of the proof's header: P-256, P-384, Ed25519, or RSA of at least 2048 bits"
            }
            Self::Signature(JwsError::Signature) => {
                "let the client sign with the key whose public part is in the proof's header"
            }
            Self::TooLong
            | Self::Text
            | Self::Signature(_)
            | Self::Claims(_)
            | Self::ClaimType(_)
            | Self::ClaimMissing(_)
            | Self::ProofId => "let the client send the claims of RFC 9449 \u{a7}4.2 in a signed JWT",
            Self::Method { .. } => "let the client make a proof for each request, with its method in `htm`",
            Self::Target { .. } => {
                "let the client make a proof for each request, with the URL that it asks for, without query and fragment, in `htu`; \
                 if that is what it does, compare the public URL that is configured here"
            }
            Self::NonceMissing | Self::Nonce(_) => {
                "nothing, if the client sends the request again with the nonce of this answer's DPoP-Nonce header; most libraries do"
            }
            Self::Old { .. } | Self::InTheFuture { .. } => {
                "let the client make a new proof for each request, and compare the clocks"
            }
            Self::TokenHash => "let the client put the hash of the access token that it sends into `ath`",
            Self::Replayed => {
                "let the client make a new proof, with a new `jti`, for each request, also for one that it sends again; if it does, \
                 somebody else sent its request"
            }
            Self::MemoryFull => {
                "raise the number of proofs that are remembered, or find out who sends so many requests"
            }
        }
    }
}
