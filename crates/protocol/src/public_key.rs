//! Public keys as values: the key members of a JWK (RFC 7518 §6, RFC 8037 §2) and the key in a certificate, comparable.

use x509_parser::prelude::FromDer;
use x509_parser::public_key::RSAPublicKey;
use x509_parser::x509::SubjectPublicKeyInfo;

use aws_lc_rs::signature::{self, ParsedPublicKey, RsaPublicKeyComponents};

use crate::signature_algorithm::SignatureAlgorithm;

/// The smallest RSA modulus in bits (FAPI 2.0 §5.4.1).
pub const RSA_BITS_MIN: usize = 2048;
/// The largest RSA modulus in bits: verification time grows with its square.
pub const RSA_BITS_MAX: usize = 8192;

/// An elliptic curve of RFC 7518 §6.2.1.1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Curve {
    /// `P-256`
    P256,
    /// `P-384`
    P384,
    /// `P-521`: certificates and bindings only, no signature algorithm of ours uses it.
    P521,
}

/// A public key.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum PublicKey {
    /// A point on a curve; both coordinates have the curve's full length.
    Ec {
        /// The curve.
        curve: Curve,
        /// Big-endian.
        x: Vec<u8>,
        /// Big-endian.
        y: Vec<u8>,
    },
    /// An Ed25519 key.
    Ed25519 {
        /// The 32 octets of RFC 8032 §5.1.5.
        x: Vec<u8>,
    },
    /// An RSA key; both numbers big-endian without leading zeros.
    Rsa {
        /// The modulus.
        n: Vec<u8>,
        /// The public exponent.
        e: Vec<u8>,
    },
}

/// Why key members, or a SubjectPublicKeyInfo, are no public key of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PublicKeyError {
    /// A coordinate does not have the curve's length, or the point is not on the curve.
    #[error("not a point on the curve")]
    Point,
    /// A number is zero, has leading zeros, or modulus and exponent do not make a key.
    #[error("not an RSA key")]
    Rsa,
    /// The modulus has too few or too many bits.
    #[error("an RSA modulus of {bits} bits is outside {RSA_BITS_MIN} to {RSA_BITS_MAX}")]
    RsaSize {
        /// How many it has.
        bits: usize,
    },
    /// The structure is not a SubjectPublicKeyInfo.
    #[error("not a SubjectPublicKeyInfo")]
    Malformed,
    /// An algorithm or curve that is not supported.
    #[error("a key of an unsupported kind")]
    Unsupported,
}

impl Curve {
    /// The `crv` of RFC 7518 §6.2.1.1.
    pub fn name(self) -> &'static str {
        match self {
            Self::P256 => "P-256",
            Self::P384 => "P-384",
            Self::P521 => "P-521",
        }
    }

    /// The curve that `crv` names.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::P256, Self::P384, Self::P521]
            .into_iter()
            .find(|curve| curve.name() == name)
    }

    fn of_object_identifier(oid: &str) -> Option<Self> {
        match oid {
            "1.2.840.10045.3.1.7" => Some(Self::P256),
            "1.3.132.0.34" => Some(Self::P384),
            "1.3.132.0.35" => Some(Self::P521),
            _ => None,
        }
    }

    fn coordinate_bytes(self) -> usize {
        match self {
            Self::P256 => 32,
            Self::P384 => 48,
            Self::P521 => 66,
        }
    }
}

impl PublicKey {
    /// Makes an elliptic-curve key of its coordinates.
    ///
    /// # Errors
    /// [`PublicKeyError::Point`] unless both have the curve's full length (RFC 7518 §6.2.1.2) and lie on it.
    pub fn ec(curve: Curve, x: Vec<u8>, y: Vec<u8>) -> Result<Self, PublicKeyError> {
        if x.len() != curve.coordinate_bytes() || y.len() != curve.coordinate_bytes() {
            return Err(PublicKeyError::Point);
        }
        let key = Self::Ec { curve, x, y };
        // Parsing checks that the point is on the curve. For P-521 the algorithm named here is never used.
        let algorithm: &'static dyn signature::VerificationAlgorithm = match curve {
            Curve::P256 => &signature::ECDSA_P256_SHA256_FIXED,
            Curve::P384 => &signature::ECDSA_P384_SHA384_FIXED,
            Curve::P521 => &signature::ECDSA_P521_SHA512_FIXED,
        };
        ParsedPublicKey::new(algorithm, key.raw_octets()).map_err(|_| PublicKeyError::Point)?;
        Ok(key)
    }

    /// Makes an Ed25519 key of its 32 octets.
    ///
    /// # Errors
    /// [`PublicKeyError::Point`] for another length.
    pub fn ed25519(x: Vec<u8>) -> Result<Self, PublicKeyError> {
        ParsedPublicKey::new(&signature::ED25519, &x).map_err(|_| PublicKeyError::Point)?;
        match x.len() {
            32 => Ok(Self::Ed25519 { x }),
            _ => Err(PublicKeyError::Point),
        }
    }

    /// Makes an RSA key of modulus and exponent.
    ///
    /// # Errors
    /// [`PublicKeyError::RsaSize`] outside 2048 to 8192 bits; [`PublicKeyError::Rsa`] for numbers that are not minimal
    /// (RFC 7518 §6.3.1) or make no key.
    pub fn rsa(n: Vec<u8>, e: Vec<u8>) -> Result<Self, PublicKeyError> {
        let (Some(&first), Some(1..)) = (n.first(), e.first()) else {
            return Err(PublicKeyError::Rsa);
        };
        if first == 0 {
            return Err(PublicKeyError::Rsa);
        }
        let bits = n.len() * 8 - first.leading_zeros() as usize;
        if !(RSA_BITS_MIN..=RSA_BITS_MAX).contains(&bits) {
            return Err(PublicKeyError::RsaSize { bits });
        }
        // aws-lc-rs takes any exponent here. With 1 every padded message is its own signature; even ones make no key; and the work
        // of verifying grows with the exponent, so it is bounded to 32 bits.
        let is_odd = |number: &[u8]| number.last().is_some_and(|octet| octet & 1 == 1);
        if !is_odd(&n) || !is_odd(&e) || e == [1] || e.len() > 4 {
            return Err(PublicKeyError::Rsa);
        }
        RsaPublicKeyComponents { n: &n, e: &e }
            .to_parsed_public_key(&signature::RSA_PSS_2048_8192_SHA256)
            .map_err(|_| PublicKeyError::Rsa)?;
        Ok(Self::Rsa { n, e })
    }

    /// Reads the key of a certificate from its DER-encoded SubjectPublicKeyInfo (RFC 5280 §4.1.2.7).
    ///
    /// # Errors
    /// [`PublicKeyError::Unsupported`] for other algorithms and for compressed points, which TLS never uses.
    pub fn of_subject_public_key_info(der: &[u8]) -> Result<Self, PublicKeyError> {
        let (rest, info) = SubjectPublicKeyInfo::from_der(der).map_err(|_| PublicKeyError::Malformed)?;
        if !rest.is_empty() {
            return Err(PublicKeyError::Malformed);
        }
        let key: &[u8] = &info.subject_public_key.data;
        match info.algorithm.algorithm.to_id_string().as_str() {
            "1.2.840.10045.2.1" => {
                let parameters = info.algorithm.parameters.as_ref().ok_or(PublicKeyError::Malformed)?;
                let curve = parameters.as_oid().map_err(|_| PublicKeyError::Unsupported)?;
                let curve = Curve::of_object_identifier(&curve.to_id_string()).ok_or(PublicKeyError::Unsupported)?;
                let Some((4, point)) = key.split_first() else {
                    return Err(PublicKeyError::Unsupported);
                };
                let (x, y) = point
                    .split_at_checked(curve.coordinate_bytes())
                    .ok_or(PublicKeyError::Point)?;
                Self::ec(curve, x.to_vec(), y.to_vec())
            }
            "1.3.101.112" => Self::ed25519(key.to_vec()),
            // rsaEncryption and id-RSASSA-PSS hold the same structure.
            "1.2.840.113549.1.1.1" | "1.2.840.113549.1.1.10" => {
                let (_, rsa) = RSAPublicKey::from_der(key).map_err(|_| PublicKeyError::Malformed)?;
                Self::rsa(minimal(rsa.modulus).to_vec(), minimal(rsa.exponent).to_vec())
            }
            _ => Err(PublicKeyError::Unsupported),
        }
    }

    /// The algorithms that this kind of key can verify; none for P-521.
    pub fn algorithms(&self) -> &'static [SignatureAlgorithm] {
        match self {
            Self::Ec { curve: Curve::P256, .. } => &[SignatureAlgorithm::Es256],
            Self::Ec { curve: Curve::P384, .. } => &[SignatureAlgorithm::Es384],
            Self::Ec { curve: Curve::P521, .. } => &[],
            Self::Ed25519 { .. } => &[SignatureAlgorithm::EdDsa],
            Self::Rsa { .. } => &[SignatureAlgorithm::Ps256, SignatureAlgorithm::Rs256],
        }
    }

    /// Prepares the key for verifying signatures of `algorithm`; `None` if this kind of key makes none.
    pub(crate) fn verification_key(&self, algorithm: SignatureAlgorithm) -> Option<ParsedPublicKey> {
        match (self, algorithm) {
            (Self::Ec { curve: Curve::P256, .. }, SignatureAlgorithm::Es256) => {
                ParsedPublicKey::new(&signature::ECDSA_P256_SHA256_FIXED, self.raw_octets()).ok()
            }
            (Self::Ec { curve: Curve::P384, .. }, SignatureAlgorithm::Es384) => {
                ParsedPublicKey::new(&signature::ECDSA_P384_SHA384_FIXED, self.raw_octets()).ok()
            }
            (Self::Ed25519 { x }, SignatureAlgorithm::EdDsa) => ParsedPublicKey::new(&signature::ED25519, x).ok(),
            (Self::Rsa { n, e }, SignatureAlgorithm::Ps256) => RsaPublicKeyComponents { n, e }
                .to_parsed_public_key(&signature::RSA_PSS_2048_8192_SHA256)
                .ok(),
            (Self::Rsa { n, e }, SignatureAlgorithm::Rs256) => RsaPublicKeyComponents { n, e }
                .to_parsed_public_key(&signature::RSA_PKCS1_2048_8192_SHA256)
                .ok(),
            _ => None,
        }
    }

    /// The uncompressed point (SEC 1 §2.3.3) or the Ed25519 octets; empty for RSA, which has no such form.
    fn raw_octets(&self) -> Vec<u8> {
        match self {
            Self::Ec { x, y, .. } => [&[4][..], x, y].concat(),
            Self::Ed25519 { x } => x.clone(),
            Self::Rsa { .. } => Vec::new(),
        }
    }
}

/// A DER INTEGER's octets without the zero that only keeps it positive.
fn minimal(integer: &[u8]) -> &[u8] {
    match integer {
        [0, rest @ ..] => rest,
        _ => integer,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_points_off_the_curve_and_short_coordinates() {
        assert_eq!(
            PublicKey::ec(Curve::P256, vec![1; 32], vec![1; 32]),
            Err(PublicKeyError::Point)
        );
        assert_eq!(
            PublicKey::ec(Curve::P256, vec![1; 31], vec![1; 32]),
            Err(PublicKeyError::Point)
        );
        assert_eq!(
            PublicKey::ec(Curve::P384, vec![1; 32], vec![1; 32]),
            Err(PublicKeyError::Point)
        );
        assert_eq!(PublicKey::ed25519(vec![1; 31]), Err(PublicKeyError::Point));
    }

    #[test]
    fn refuses_small_huge_and_sloppy_rsa_keys() {
        let modulus = |bits: usize| {
            let mut n = vec![0xffu8; bits.div_ceil(8)];
            if !bits.is_multiple_of(8) {
                n[0] = (1 << (bits % 8)) - 1;
            }
            n
        };
        let exponent = || vec![1, 0, 1];
        assert_eq!(
            PublicKey::rsa(modulus(2047), exponent()),
            Err(PublicKeyError::RsaSize { bits: 2047 })
        );
        assert!(PublicKey::rsa(modulus(2048), exponent()).is_ok());
        assert!(PublicKey::rsa(modulus(8192), exponent()).is_ok());
        assert_eq!(
            PublicKey::rsa(modulus(8200), exponent()),
            Err(PublicKeyError::RsaSize { bits: 8200 })
        );
        assert_eq!(
            PublicKey::rsa([vec![0], modulus(2048)].concat(), exponent()),
            Err(PublicKeyError::Rsa)
        );
        assert_eq!(
            PublicKey::rsa(modulus(2048), vec![0, 1, 0, 1]),
            Err(PublicKeyError::Rsa)
        );
        assert_eq!(PublicKey::rsa(modulus(2048), vec![]), Err(PublicKeyError::Rsa));
        for exponent in [vec![1], vec![2], vec![1, 0, 0], vec![1, 0, 0, 0, 1]] {
            assert_eq!(PublicKey::rsa(modulus(2048), exponent), Err(PublicKeyError::Rsa));
        }
        assert!(PublicKey::rsa(modulus(2048), vec![3]).is_ok());
        let mut even = modulus(2048);
        even[255] = 0xfe;
        assert_eq!(PublicKey::rsa(even, exponent()), Err(PublicKeyError::Rsa));
        assert_eq!(PublicKey::rsa(vec![], exponent()), Err(PublicKeyError::Rsa));
    }

    #[test]
    fn refuses_what_is_no_subject_public_key_info() {
        for der in [&b""[..], b"\x30\x00", b"\x30\x05\x06\x03\x2a\x03\x04", &[0xff; 40]] {
            assert_eq!(
                PublicKey::of_subject_public_key_info(der),
                Err(PublicKeyError::Malformed)
            );
        }
    }
}
