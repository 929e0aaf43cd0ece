//! The thumbprint of a key, by which a token is bound to it: `jkt` (RFC 7638, RFC 9449 §6.1).

use std::fmt;
use std::str::FromStr;

use subtle::ConstantTimeEq;

use crate::jwk::Jwk;
use crate::serde_as_text::serde_as_text;
use crate::thumbprint::{CertificateThumbprint, ThumbprintError, ThumbprintText};

/// The SHA-256 JWK thumbprint of a public key: the value of `cnf.jkt` and of `dpop_jkt` (RFC 9449 §6.1, §10).
///
/// Another type than [`CertificateThumbprint`], which looks the same: one names a key, the other a whole certificate, and
/// neither is ever compared with the other. Compared in constant time, and of one spelling, as that one is.
#[derive(Clone, Copy)]
pub struct KeyThumbprint([u8; 32]);

impl KeyThumbprint {
    /// The thumbprint of a key (RFC 7638 §3).
    pub fn of_key(key: &Jwk) -> KeyThumbprint {
        KeyThumbprint(key.thumbprint())
    }

    /// The thumbprint whose 32 octets are already known.
    pub const fn from_bytes(bytes: [u8; 32]) -> KeyThumbprint {
        KeyThumbprint(bytes)
    }

    /// The 32 octets.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The text of `jkt`, without an allocation.
    pub fn to_text(&self) -> ThumbprintText {
        CertificateThumbprint::from_bytes(self.0).to_text()
    }
}

impl PartialEq for KeyThumbprint {
    fn eq(&self, other: &KeyThumbprint) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for KeyThumbprint {}

impl std::hash::Hash for KeyThumbprint {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}

impl fmt::Display for KeyThumbprint {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.to_text())
    }
}

impl fmt::Debug for KeyThumbprint {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.to_text())
    }
}

impl FromStr for KeyThumbprint {
    type Err = ThumbprintError;

    /// Reads the text of `jkt` as strictly as that of `x5t#S256`.
    fn from_str(text: &str) -> Result<KeyThumbprint, ThumbprintError> {
        let thumbprint: CertificateThumbprint = text.parse()?;
        Ok(KeyThumbprint(*thumbprint.as_bytes()))
    }
}

serde_as_text!(KeyThumbprint, |value| &value.to_text());
