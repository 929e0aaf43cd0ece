//! JSON Web Key sets (RFC 7517 §5): the keys of an issuer or of a client.

use serde_json::{Value, json};

use crate::json::{JsonError, JsonObject, JsonTypeError, JsonValue};
use crate::jwk::{Jwk, JwkError};
use crate::signature_algorithm::SignatureAlgorithm;

/// The largest document in octets, fetched or registered.
pub const JWK_SET_BYTES_MAX: usize = 256 * 1024;
/// The most keys in one set.
pub const JWK_SET_KEYS_MAX: usize = 100;

/// Why a document is not a key set.
#[derive(Debug, thiserror::Error)]
pub enum JwkSetError {
    /// Larger than [`JWK_SET_BYTES_MAX`].
    #[error("a key set of {0} octets is too large")]
    TooLarge(usize),
    /// Not a JSON object without duplicate members.
    #[error("not a JSON object")]
    Json(#[from] JsonError),
    /// `keys` is missing.
    #[error("member `keys` is missing")]
    Missing,
    /// `keys` is not an array of objects.
    #[error(transparent)]
    Type(#[from] JsonTypeError),
    /// More than [`JWK_SET_KEYS_MAX`] keys.
    #[error("a set of {0} keys is too large")]
    TooManyKeys(usize),
    /// A key is wrong. One that is merely of a kind we do not use is skipped instead.
    #[error("key {position} is not valid")]
    Key {
        /// Counted from 0.
        position: usize,
        /// What is wrong with it.
        #[source]
        source: JwkError,
    },
    /// Two different keys of the same `kid` could verify the same algorithm, so `kid` does not tell them apart (FAPI 2.0 §5.4.3).
    #[error("two different keys have `kid` {0:?} and verify the same algorithm")]
    DuplicateKeyId(String),
}

/// A set of public keys.
#[derive(Debug, Clone, Default)]
pub struct JwkSet {
    keys: Vec<Jwk>,
    skipped: Vec<SkippedKey>,
}

/// A key that was passed over because it is of a kind that is not used here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SkippedKey {
    /// Its `kid`.
    pub key_id: Option<String>,
    /// Why, for operators.
    pub reason: String,
}

impl JwkSet {
    /// Puts a set together from keys.
    ///
    /// # Errors
    /// [`JwkSetError::DuplicateKeyId`], [`JwkSetError::TooManyKeys`].
    pub fn new(keys: Vec<Jwk>) -> Result<Self, JwkSetError> {
        if keys.len() > JWK_SET_KEYS_MAX {
            return Err(JwkSetError::TooManyKeys(keys.len()));
        }
        let set = Self {
            keys,
            skipped: Vec::new(),
        };
        set.require_distinct_key_ids()?;
        Ok(set)
    }

    /// Reads a key set.
    ///
    /// Keys of unknown type or curve, and RSA keys of forbidden size, are skipped, as RFC 7517 §5 advises; anything malformed
    /// makes the whole set invalid, because half a set is an outage that nobody sees.
    ///
    /// # Errors
    /// See [`JwkSetError`].
    pub fn parse(json: &[u8]) -> Result<Self, JwkSetError> {
        if json.len() > JWK_SET_BYTES_MAX {
            return Err(JwkSetError::TooLarge(json.len()));
        }
        Self::from_object(&JsonObject::parse(json)?)
    }

    /// Reads a key set from an object that was already parsed.
    ///
    /// # Errors
    /// See [`JwkSetError`].
    pub fn from_object(object: &JsonObject) -> Result<Self, JwkSetError> {
        let wrong = JsonTypeError {
            member: "keys",
            expected: "an array of objects",
        };
        let entries = match object.get("keys") {
            None => return Err(JwkSetError::Missing),
            Some(JsonValue::Array(entries)) => entries,
            Some(_) => return Err(wrong.into()),
        };
        if entries.len() > JWK_SET_KEYS_MAX {
            return Err(JwkSetError::TooManyKeys(entries.len()));
        }
        let mut set = Self::default();
        for (position, entry) in entries.iter().enumerate() {
            let JsonValue::Object(entry) = entry else {
                return Err(wrong.into());
            };
            match Jwk::from_object(entry) {
                Ok(key) => set.keys.push(key),
                Err(error) if error.is_unsupported() => set.skipped.push(SkippedKey {
                    key_id: entry.string("kid")?.map(str::to_owned),
                    reason: error.to_string(),
                }),
                Err(source) => return Err(JwkSetError::Key { position, source }),
            }
        }
        set.require_distinct_key_ids()?;
        Ok(set)
    }

    /// The keys, in their order.
    pub fn keys(&self) -> &[Jwk] {
        &self.keys
    }

    /// The keys that were passed over.
    pub fn skipped(&self) -> &[SkippedKey] {
        &self.skipped
    }

    /// The certificates that the set registers: the first of each `x5c` (RFC 8705 §2.2.2), DER.
    pub fn certificates(&self) -> impl Iterator<Item = &[u8]> {
        self.keys
            .iter()
            .filter_map(|key| key.certificates().first())
            .map(Vec::as_slice)
    }

    /// Whether some key can verify a signature of one of `algorithms`.
    pub fn can_verify(&self, algorithms: &[SignatureAlgorithm]) -> bool {
        self.keys
            .iter()
            .any(|key| key.algorithms().any(|algorithm| algorithms.contains(&algorithm)))
    }

    /// Whether a key has this `kid`.
    pub fn contains_key_id(&self, key_id: &str) -> bool {
        self.keys.iter().any(|key| key.key_id() == Some(key_id))
    }

    /// The keys that a signature naming `key_id` may have been made with.
    ///
    /// Those of this `kid`. If there is none, or the signature names none: those that have no `kid`, and, for a signature
    /// that names none, all. `kid` is a hint and decides nothing else (RFC 7515 §4.1.4).
    pub fn candidates(&self, key_id: Option<&str>) -> impl Iterator<Item = &Jwk> {
        let exact = key_id.is_some_and(|key_id| self.contains_key_id(key_id));
        self.keys.iter().filter(move |key| match key_id {
            None => true,
            Some(_) if exact => key.key_id() == key_id,
            Some(_) => key.key_id().is_none(),
        })
    }

    /// The set as JSON, as it is published.
    pub fn to_json(&self) -> Value {
        json!({"keys": self.keys.iter().map(Jwk::to_json).collect::<Vec<_>>()})
    }

    fn require_distinct_key_ids(&self) -> Result<(), JwkSetError> {
        // Two keys of one `kid` are told apart by `alg`, `use` or `kty`: that is, if no algorithm can be verified by both. One key
        // listed twice is no ambiguity: a renewed certificate often keeps its key, and so its `kid`.
        for (position, key) in self.keys.iter().enumerate() {
            let Some(key_id) = key.key_id() else { continue };
            let ambiguous = self.keys.iter().skip(position + 1).any(|other| {
                other.key_id() == Some(key_id)
                    && other.public_key() != key.public_key()
                    && key
                        .algorithms()
                        .any(|algorithm| other.algorithms().any(|another| another == algorithm))
            });
            if ambiguous {
                return Err(JwkSetError::DuplicateKeyId(key_id.to_owned()));
            }
        }
        Ok(())
    }
}
