//! Proof Key for Code Exchange (RFC 7636): `S256` alone.
//!
//! `plain` shows the verifier to whoever sees the request; there is no value for it here, so nothing can fall back to it (§7.2).

use subtle::ConstantTimeEq;

use crate::base64url;
use crate::digest::sha256;
use crate::error_code::ErrorCode;
use crate::serde_as_text::serde_as_text;

/// The shortest code verifier (RFC 7636 §4.1).
pub const VERIFIER_CHARS_MIN: usize = 43;
/// The longest code verifier (RFC 7636 §4.1).
pub const VERIFIER_CHARS_MAX: usize = 128;
/// The one `code_challenge_method` of this product.
pub const S256: &str = "S256";

/// Why an authorization request's code challenge was not accepted: `invalid_request` (RFC 7636 §4.4.1).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CodeChallengeError {
    /// `code_challenge_method` is missing, which means `plain` (RFC 7636 §4.3).
    #[error("`code_challenge_method` is missing, which means plain; only {S256} is supported")]
    MethodMissing,
    /// `code_challenge_method` is another one.
    #[error("`code_challenge_method` {0:?} is not {S256}")]
    MethodUnsupported(String),
    /// `code_challenge_method` without `code_challenge`.
    #[error("`code_challenge_method` without `code_challenge`")]
    ChallengeMissing,
    /// `code_challenge` is not the base64url of 32 octets, which every SHA-256 is.
    #[error("`code_challenge` is not the base64url of a SHA-256")]
    ChallengeMalformed,
}

/// Why a code verifier was not accepted: `invalid_grant` (RFC 7636 §4.6).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CodeVerifierError {
    /// The authorization request had a challenge, the token request has no verifier.
    #[error("`code_verifier` is missing, and the authorization request had a `code_challenge`")]
    Missing,
    /// The token request has a verifier, the authorization request had no challenge: somebody took it out (RFC 9700 §4.8.2).
    #[error("there is a `code_verifier`, and the authorization request had no `code_challenge`")]
    Unexpected,
    /// Not 43 to 128 unreserved characters.
    #[error("`code_verifier` is not {VERIFIER_CHARS_MIN} to {VERIFIER_CHARS_MAX} unreserved characters")]
    Malformed,
    /// It is not the one that the challenge was made of.
    #[error("`code_verifier` does not match the `code_challenge`")]
    Mismatch,
}

impl CodeVerifierError {
    /// The code that is sent.
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::Missing | Self::Unexpected | Self::Malformed | Self::Mismatch => ErrorCode::InvalidGrant,
        }
    }
}

/// The SHA-256 of a code verifier, as an authorization request carries it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CodeChallenge([u8; 32]);

/// A code verifier. Not shown by `Debug`.
#[derive(Clone)]
pub struct CodeVerifier(Box<str>);

impl CodeChallenge {
    /// Reads `code_challenge` and `code_challenge_method` of an authorization request; `None` if it has neither.
    ///
    /// # Errors
    /// See [`CodeChallengeError`].
    pub fn from_parameters(challenge: Option<&str>, method: Option<&str>) -> Result<Option<Self>, CodeChallengeError> {
        match (challenge, method) {
            (None, None) => Ok(None),
            (None, Some(_)) => Err(CodeChallengeError::ChallengeMissing),
            (Some(_), None) => Err(CodeChallengeError::MethodMissing),
            (Some(challenge), Some(S256)) => Self::parse(challenge).map(Some),
            (Some(_), Some(other)) => Err(CodeChallengeError::MethodUnsupported(other.to_owned())),
        }
    }

    /// Reads an `S256` challenge.
    ///
    /// # Errors
    /// [`CodeChallengeError::ChallengeMalformed`]
    pub fn parse(text: &str) -> Result<Self, CodeChallengeError> {
        base64url::decode(text)
            .ok()
            .and_then(|octets| octets.try_into().ok())
            .map(Self)
            .ok_or(CodeChallengeError::ChallengeMalformed)
    }

    /// The challenge as it is sent.
    pub fn to_text(&self) -> String {
        base64url::encode(&self.0)
    }
}

impl CodeVerifier {
    /// A new verifier out of 256 random bits, as RFC 7636 §4.1 recommends.
    pub fn from_random(random: [u8; 32]) -> Self {
        Self(base64url::encode(&random).into())
    }

    /// Reads `code_verifier`.
    ///
    /// # Errors
    /// [`CodeVerifierError::Malformed`]
    pub fn parse(text: &str) -> Result<Self, CodeVerifierError> {
        let is_unreserved = |octet: u8| octet.is_ascii_alphanumeric() || b"-._~".contains(&octet);
        if (VERIFIER_CHARS_MIN..=VERIFIER_CHARS_MAX).contains(&text.len()) && text.bytes().all(is_unreserved) {
            return Ok(Self(text.into()));
        }
        Err(CodeVerifierError::Malformed)
    }

    /// What an authorization request says of it.
    pub fn challenge(&self) -> CodeChallenge {
        CodeChallenge(sha256(self.0.as_bytes()))
    }

    /// The verifier as a token request carries it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Decides whether the sender of a token request made the authorization request, as far as PKCE says.
///
/// `registered` is the challenge that was kept with the code, `presented` the `code_verifier` of the token request. A code without
/// challenge takes no verifier: else whoever removes the challenge from a request would not be noticed (RFC 9700 §4.8.2).
///
/// # Errors
/// See [`CodeVerifierError`]. Compared in constant time.
pub fn require_verifier(registered: Option<&CodeChallenge>, presented: Option<&str>) -> Result<(), CodeVerifierError> {
    match (registered, presented) {
        (None, None) => Ok(()),
        (None, Some(_)) => Err(CodeVerifierError::Unexpected),
        (Some(_), None) => Err(CodeVerifierError::Missing),
        (Some(registered), Some(presented)) => {
            let presented = CodeVerifier::parse(presented)?.challenge();
            match bool::from(registered.0.ct_eq(&presented.0)) {
                true => Ok(()),
                false => Err(CodeVerifierError::Mismatch),
            }
        }
    }
}

impl std::fmt::Debug for CodeVerifier {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("CodeVerifier(…)")
    }
}

impl std::fmt::Display for CodeChallenge {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(&self.to_text())
    }
}

impl std::str::FromStr for CodeChallenge {
    type Err = CodeChallengeError;

    fn from_str(text: &str) -> Result<Self, CodeChallengeError> {
        Self::parse(text)
    }
}

serde_as_text!(CodeChallenge, |value| &value.to_text());
