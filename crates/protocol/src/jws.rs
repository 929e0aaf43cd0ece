//! JSON Web Signatures in compact serialisation (RFC 7515 §3.1), the strict subset that access tokens and assertions use.
//!
//! The header is believed in three things only: `alg`, which must be one that the caller allows and the key is for; `typ`,
//! which must be one that the caller expects; `kid`, a hint. Keys named or carried by a header (`jwk`, `jku`, `x5u`, `x5c`)
//! are never used, but for the `jwk` of a [DPoP proof](crate::dpop_proof), which vouches for nobody. A header with `crit` is refused: no extension is understood here (RFC 7515 §4.1.11).

use crate::base64url::{self, Base64Error};
use crate::bearer::TOKEN_BYTES_MAX;
use crate::json::{JsonError, JsonObject, JsonTypeError};
use crate::jwk::Jwk;
use crate::jwk_set::JwkSet;
use crate::signature_algorithm::SignatureAlgorithm;

/// How many keys are tried for a signature that does not name one.
pub const KEYS_TRIED_MAX: usize = 4;

/// Why a JWS was not accepted.
#[derive(Debug, thiserror::Error)]
pub enum JwsError {
    /// Longer than [`TOKEN_BYTES_MAX`].
    #[error("longer than {TOKEN_BYTES_MAX} octets")]
    TooLong,
    /// Not three parts separated by dots. An encrypted JWT has five.
    #[error("{0} parts instead of header, payload and signature")]
    PartCount(usize),
    /// A part is not base64url.
    #[error("the {part} is not base64url")]
    Base64url {
        /// `header`, `payload` or `signature`.
        part: &'static str,
        /// What is wrong with it.
        #[source]
        source: Base64Error,
    },
    /// The header is not a JSON object without duplicate members.
    #[error("the header is not a JSON object")]
    Header(#[source] JsonError),
    /// A header member has the wrong JSON type.
    #[error("in the header, {0}")]
    HeaderType(#[source] JsonTypeError),
    /// `crit` is there.
    #[error("the header has `crit`, and no extension is understood here")]
    Critical,
    /// `alg` is missing.
    #[error("the header has no `alg`")]
    AlgorithmMissing,
    /// `alg` is `none`, a symmetric algorithm, one that is not supported, or one that this signer may not use.
    #[error("algorithm {presented:?} is not allowed here")]
    AlgorithmNotAllowed {
        /// What `alg` says.
        presented: String,
    },
    /// `typ` is not one of those that are expected here, or is missing.
    #[error("type {} is not expected here", crate::words::one_or_none(presented))]
    Type {
        /// What `typ` says.
        presented: Option<String>,
    },
    /// No key of the set can have made the signature.
    #[error("no known key has `kid` {}", crate::words::one_or_none(key_id))]
    UnknownKey {
        /// What `kid` says.
        key_id: Option<String>,
    },
    /// The key of this `kid` is for another algorithm than `alg` says.
    #[error("the key {} is not for algorithm {algorithm}", crate::words::one_or_none(key_id))]
    AlgorithmNotOfKey {
        /// What `kid` says.
        key_id: Option<String>,
        /// What `alg` says.
        algorithm: SignatureAlgorithm,
    },
    /// The signature was not made with the key over this header and payload.
    #[error("the signature is wrong")]
    Signature,
}

/// What a verifier allows: stated at every call, never defaulted.
#[derive(Debug, Clone, Copy)]
pub struct JwsPolicy<'a> {
    /// The algorithms that the signer may use.
    pub algorithms: &'a [SignatureAlgorithm],
    /// The values of `typ` that are expected, compared without case (RFC 7515 §4.1.9) and otherwise literally.
    pub types: &'a [&'a str],
    /// Whether `typ` may be missing.
    pub type_may_be_missing: bool,
}

/// A JWS that was taken apart. Nothing in it is true yet.
#[derive(Debug, Clone)]
pub struct UnverifiedJws<'a> {
    signing_input: &'a str,
    algorithm: Box<str>,
    media_type: Option<Box<str>>,
    key_id: Option<Box<str>>,
    payload: Vec<u8>,
    signature: Vec<u8>,
}

impl<'a> UnverifiedJws<'a> {
    /// Takes a compact JWS apart.
    ///
    /// # Errors
    /// Anything about its form: see [`JwsError`].
    pub fn parse(text: &'a str) -> Result<Self, JwsError> {
        Self::parse_with_header(text).map(|(jws, _)| jws)
    }

    /// The same, and the header: for the one kind of JWS whose key lies there ([`dpop_proof`](crate::dpop_proof)).
    pub(crate) fn parse_with_header(text: &'a str) -> Result<(Self, JsonObject), JwsError> {
        if text.len() > TOKEN_BYTES_MAX {
            return Err(JwsError::TooLong);
        }
        let parts = text.split('.').count();
        let mut texts = text.split('.');
        let (Some(header), Some(payload), Some(signature), None) =
            (texts.next(), texts.next(), texts.next(), texts.next())
        else {
            return Err(JwsError::PartCount(parts));
        };
        let decode = |part: &'static str, text: &str| {
            base64url::decode(text).map_err(|source| JwsError::Base64url { part, source })
        };
        let object = JsonObject::parse(&decode("header", header)?).map_err(JwsError::Header)?;
        if object.contains("crit") {
            return Err(JwsError::Critical);
        }
        let member = |name: &'static str| object.string(name).map_err(JwsError::HeaderType);
        let jws = Self {
            signing_input: text.get(..header.len() + 1 + payload.len()).unwrap_or_default(),
            algorithm: member("alg")?.ok_or(JwsError::AlgorithmMissing)?.into(),
            media_type: member("typ")?.map(Into::into),
            key_id: member("kid")?.map(Into::into),
            payload: decode("payload", payload)?,
            signature: decode("signature", signature)?,
        };
        Ok((jws, object))
    }

    /// The payload that someone wrote.
    pub fn unverified_payload(&self) -> &[u8] {
        &self.payload
    }

    /// The `kid` that someone wrote.
    pub fn unverified_key_id(&self) -> Option<&str> {
        self.key_id.as_deref()
    }

    /// The `typ` that someone wrote.
    pub fn unverified_type(&self) -> Option<&str> {
        self.media_type.as_deref()
    }

    /// Decides whether a key of `keys` signed this, within `policy`.
    ///
    /// # Errors
    /// Algorithm, type, key and signature are judged in this order: see [`JwsError`].
    pub fn verify<'k>(&'k self, policy: &JwsPolicy<'_>, keys: &'k JwkSet) -> Result<VerifiedJws<'k>, JwsError> {
        let algorithm = self.require_permitted(policy)?;
        let key_id = || self.key_id.as_deref().map(str::to_owned);
        let mut known = keys.candidates(self.key_id.as_deref()).peekable();
        if known.peek().is_none() {
            return Err(JwsError::UnknownKey { key_id: key_id() });
        }
        let mut fitting = known
            .filter(|key| key.algorithms().any(|own| own == algorithm))
            .take(KEYS_TRIED_MAX)
            .peekable();
        if fitting.peek().is_none() {
            return Err(JwsError::AlgorithmNotOfKey {
                key_id: key_id(),
                algorithm,
            });
        }
        let message = self.signing_input.as_bytes();
        match fitting.find(|key| key.verifies(algorithm, message, &self.signature)) {
            Some(key) => Ok(VerifiedJws {
                jws: self,
                algorithm,
                key,
            }),
            None => Err(JwsError::Signature),
        }
    }

    /// Decides whether this one key signed this, within `policy`. Its `kid` does not matter: there is no other key to choose from.
    ///
    /// # Errors
    /// As [`verify`](Self::verify).
    pub(crate) fn verify_by(&self, policy: &JwsPolicy<'_>, key: &Jwk) -> Result<(), JwsError> {
        let algorithm = self.require_permitted(policy)?;
        if !key.algorithms().any(|own| own == algorithm) {
            return Err(JwsError::AlgorithmNotOfKey {
                key_id: self.key_id.as_deref().map(str::to_owned),
                algorithm,
            });
        }
        if key.verifies(algorithm, self.signing_input.as_bytes(), &self.signature) {
            Ok(())
        } else {
            Err(JwsError::Signature)
        }
    }

    /// Whether algorithm and type are among those that `policy` permits, before any key is looked at.
    ///
    /// # Errors
    /// [`JwsError::AlgorithmNotAllowed`], [`JwsError::Type`].
    pub(crate) fn require_permitted(&self, policy: &JwsPolicy<'_>) -> Result<SignatureAlgorithm, JwsError> {
        let algorithm = SignatureAlgorithm::from_name(&self.algorithm)
            .filter(|algorithm| policy.algorithms.contains(algorithm))
            .ok_or_else(|| JwsError::AlgorithmNotAllowed {
                presented: self.algorithm.to_string(),
            })?;
        let type_is_expected = match self.media_type.as_deref() {
            None => policy.type_may_be_missing,
            Some(presented) => policy
                .types
                .iter()
                .any(|expected| expected.eq_ignore_ascii_case(presented)),
        };
        if type_is_expected {
            return Ok(algorithm);
        }
        Err(JwsError::Type {
            presented: self.media_type.as_deref().map(str::to_owned),
        })
    }
}

/// A JWS whose signature was verified. Only [`UnverifiedJws::verify`] makes one.
#[derive(Debug)]
pub struct VerifiedJws<'a> {
    jws: &'a UnverifiedJws<'a>,
    algorithm: SignatureAlgorithm,
    key: &'a Jwk,
}

impl VerifiedJws<'_> {
    /// What the signer signed.
    pub fn payload(&self) -> &[u8] {
        &self.jws.payload
    }

    /// The type it was given, which the policy expected.
    pub fn media_type(&self) -> Option<&str> {
        self.jws.media_type.as_deref()
    }

    /// How it was signed.
    pub fn algorithm(&self) -> SignatureAlgorithm {
        self.algorithm
    }

    /// The key that it was signed with.
    pub fn key(&self) -> &Jwk {
        self.key
    }
}
