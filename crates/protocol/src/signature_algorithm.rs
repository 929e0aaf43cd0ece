//! The five JOSE signature algorithms of this product (RFC 7518 §3.1, RFC 8037).
//!
//! `none`, HMAC and everything else have no value here, so no list of allowed algorithms can contain them (RFC 8725 §3.1).

use std::fmt;
use std::str::FromStr;

use crate::serde_as_text::serde_as_text;

/// A JOSE signature algorithm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SignatureAlgorithm {
    /// ECDSA on P-256 with SHA-256: what we sign with unless told otherwise.
    Es256,
    /// ECDSA on P-384 with SHA-384.
    Es384,
    /// Ed25519 (RFC 8037); Ed448 is not supported.
    EdDsa,
    /// RSASSA-PSS with SHA-256 and MGF1 with SHA-256.
    Ps256,
    /// RSASSA-PKCS1-v1_5 with SHA-256: required of access-token verifiers (RFC 9068 §2.1), forbidden under FAPI 2.0.
    Rs256,
}

/// The text names no algorithm of this product.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not one of ES256, ES384, EdDSA, PS256, RS256")]
pub struct UnknownSignatureAlgorithm;

impl SignatureAlgorithm {
    /// Every algorithm, the preferred first; also what a foreign issuer may sign with unless it is limited.
    pub const ALL: [Self; 5] = [Self::Es256, Self::Es384, Self::EdDsa, Self::Ps256, Self::Rs256];
    /// The algorithms that FAPI 2.0 §5.4.1 permits.
    pub const FAPI: [Self; 3] = [Self::Ps256, Self::Es256, Self::EdDsa];

    /// The registered name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Es256 => "ES256",
            Self::Es384 => "ES384",
            Self::EdDsa => "EdDSA",
            Self::Ps256 => "PS256",
            Self::Rs256 => "RS256",
        }
    }

    /// Whether one signature costs milliseconds, not microseconds: then nothing else should have to wait for it.
    pub fn signs_slowly(self) -> bool {
        match self {
            Self::Ps256 | Self::Rs256 => true,
            Self::Es256 | Self::Es384 | Self::EdDsa => false,
        }
    }

    /// The algorithm of a registered name, compared octet for octet. `Ed25519` (RFC 9864) is another name of `EdDSA` here.
    pub fn from_name(name: &str) -> Option<Self> {
        if name == "Ed25519" {
            return Some(Self::EdDsa);
        }
        Self::ALL.into_iter().find(|algorithm| algorithm.name() == name)
    }
}

impl fmt::Display for SignatureAlgorithm {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

impl FromStr for SignatureAlgorithm {
    type Err = UnknownSignatureAlgorithm;

    fn from_str(name: &str) -> Result<Self, UnknownSignatureAlgorithm> {
        Self::from_name(name).ok_or(UnknownSignatureAlgorithm)
    }
}

serde_as_text!(SignatureAlgorithm, |value| value.name());

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn none_and_hmac_are_no_algorithms() {
        for name in ["none", "None", "HS256", "es256", "ES512", "RS512", "RS1", ""] {
            assert_eq!(SignatureAlgorithm::from_name(name), None, "{name:?}");
        }
        for algorithm in SignatureAlgorithm::ALL {
            assert_eq!(algorithm.name().parse(), Ok(algorithm));
        }
        assert_eq!(
            SignatureAlgorithm::from_name("Ed25519"),
            Some(SignatureAlgorithm::EdDsa)
        );
    }
}
