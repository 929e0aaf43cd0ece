//! Which kind of key a certificate is for.

use std::fmt;

use x509_parser::prelude::FromDer;
use x509_parser::public_key::PublicKey;
use x509_parser::x509::SubjectPublicKeyInfo;

use super::CertificateError;

/// Algorithm and size of a public key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PublicKeyKind {
    /// RSA, with the length of its modulus.
    Rsa {
        /// Bits of the modulus.
        bits: usize,
    },
    /// Elliptic curve P-256 (secp256r1).
    P256,
    /// Elliptic curve P-384 (secp384r1).
    P384,
    /// Elliptic curve P-521 (secp521r1).
    P521,
    /// Ed25519.
    Ed25519,
    /// Any other; it can be read and shown, but nothing here verifies its signatures.
    Other {
        /// The algorithm, or the named curve, as a dotted object identifier.
        oid: String,
    },
}

impl PublicKeyKind {
    /// The shortest RSA modulus that is accepted.
    pub const RSA_BITS_MIN: usize = 2048;

    /// Whether signatures by such a key mean anything here: RSA of at least 2048 bits, the NIST curves, Ed25519.
    pub fn is_acceptable(&self) -> bool {
        match self {
            PublicKeyKind::Rsa { bits } => *bits >= PublicKeyKind::RSA_BITS_MIN,
            PublicKeyKind::P256 | PublicKeyKind::P384 | PublicKeyKind::P521 | PublicKeyKind::Ed25519 => true,
            PublicKeyKind::Other { .. } => false,
        }
    }

    /// Reads the kind from a SubjectPublicKeyInfo, DER.
    pub(super) fn of(subject_public_key_info: &[u8]) -> Result<PublicKeyKind, CertificateError> {
        let malformed = CertificateError::malformed("subjectPublicKeyInfo");
        let Ok((rest, info)) = SubjectPublicKeyInfo::from_der(subject_public_key_info) else {
            return Err(malformed);
        };
        if !rest.is_empty() {
            return Err(malformed);
        }
        let algorithm = info.algorithm.algorithm.to_id_string();
        Ok(match algorithm.as_str() {
            "1.2.840.113549.1.1.1" => match info.parsed() {
                Ok(PublicKey::RSA(key)) => PublicKeyKind::Rsa {
                    bits: bits(key.modulus),
                },
                _ => return Err(malformed),
            },
            "1.2.840.10045.2.1" => {
                let parameters = info.algorithm.parameters.as_ref();
                match parameters
                    .and_then(|curve| curve.as_oid().ok())
                    .map(|curve| curve.to_id_string())
                {
                    Some(curve) => match curve.as_str() {
                        "1.2.840.10045.3.1.7" => PublicKeyKind::P256,
                        "1.3.132.0.34" => PublicKeyKind::P384,
                        "1.3.132.0.35" => PublicKeyKind::P521,
                        _ => PublicKeyKind::Other { oid: curve },
                    },
                    // Explicit curve parameters, which RFC 5480 §2.1.1 forbids.
                    None => PublicKeyKind::Other { oid: algorithm },
                }
            }
            "1.3.101.112" => PublicKeyKind::Ed25519,
            _ => PublicKeyKind::Other { oid: algorithm },
        })
    }
}

/// Significant bits of an unsigned big-endian integer. (x509-parser's `key_size` assumes one leading zero octet.)
fn bits(integer: &[u8]) -> usize {
    match integer.iter().position(|octet| *octet != 0) {
        None => 0,
        Some(first) => {
            let leading_zeros = integer.get(first).map_or(0, |octet| octet.leading_zeros());
            (integer.len() - first) * 8 - leading_zeros as usize
        }
    }
}

impl fmt::Display for PublicKeyKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PublicKeyKind::Rsa { bits } => write!(f, "RSA {bits}"),
            PublicKeyKind::P256 => f.write_str("EC P-256"),
            PublicKeyKind::P384 => f.write_str("EC P-384"),
            PublicKeyKind::P521 => f.write_str("EC P-521"),
            PublicKeyKind::Ed25519 => f.write_str("Ed25519"),
            PublicKeyKind::Other { oid } => write!(f, "{oid}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::bits;

    #[test]
    fn counts_significant_bits() {
        assert_eq!(bits(&[]), 0);
        assert_eq!(bits(&[0, 0]), 0);
        assert_eq!(bits(&[0, 0x80, 0]), 16);
        assert_eq!(bits(&[0x7f, 0xff]), 15);
    }
}
