//! Keys that sign JWTs. [`LocalSigner`] holds the private key in this process; a module or a service elsewhere implements
//! [`Signer`] in its own crate.

use std::fmt;
use std::ops::Deref;

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::error::Unspecified;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair,
    RSA_PKCS1_SHA256, RSA_PSS_SHA256, RsaKeyPair,
};
use zeroize::Zeroizing;

use crate::jwk::{Jwk, JwkError};
use crate::public_key::{Curve, PublicKey, PublicKeyError};
pub use crate::signature_algorithm::SignatureAlgorithm;

/// A private key that signs by one algorithm.
pub trait Signer: Send + Sync + fmt::Debug {
    /// The one algorithm of this key (RFC 8725 §3.1).
    fn algorithm(&self) -> SignatureAlgorithm;

    /// The `kid` that verifiers find the public key by.
    fn key_id(&self) -> &str;

    /// The public key, as it is published.
    fn public_jwk(&self) -> &Jwk;

    /// Signs `message` and returns the signature in JOSE form: for ECDSA the two numbers side by side (RFC 7518 §3.4).
    ///
    /// # Errors
    /// [`SigningError`] if the key cannot be used. That is our fault, never the peer's.
    fn sign(&self, message: &[u8]) -> Result<Signature, SigningError>;
}

/// The signature could not be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the signing key {algorithm} could not be used")]
pub struct SigningError {
    /// The key's algorithm.
    pub algorithm: SignatureAlgorithm,
}

/// A signature in JOSE form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signature(Vec<u8>);

impl Signature {
    /// Takes the octets of a signature that another [`Signer`] made.
    pub fn from_octets(octets: Vec<u8>) -> Self {
        Self(octets)
    }
}

impl Deref for Signature {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

/// Why a private key was not taken.
#[derive(Debug, thiserror::Error)]
pub enum SignerError {
    /// The octets are not a PKCS#8 private key of the kind that the algorithm needs.
    #[error("not a PKCS#8 private key for {algorithm}")]
    Rejected {
        /// The algorithm it was to be used with.
        algorithm: SignatureAlgorithm,
    },
    /// The public half is not acceptable, such as an RSA key of 1024 bits.
    #[error("the public half of the key is not acceptable")]
    PublicKey(#[from] PublicKeyError),
    /// The public half makes no JWK.
    #[error("the public half of the key makes no JWK")]
    Jwk(#[from] JwkError),
    /// The cryptographic library failed.
    #[error("the cryptographic library failed")]
    Library,
}

/// A signing key in this process's memory.
pub struct LocalSigner {
    private_key: PrivateKey,
    algorithm: SignatureAlgorithm,
    jwk: Jwk,
    key_id: Box<str>,
    random: SystemRandom,
}

enum PrivateKey {
    Ecdsa(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
    Rsa(RsaKeyPair),
}

impl LocalSigner {
    /// Makes a new key. RSA keys have 3072 bits, as strong as the 128 bits of the others, and take up to a second to make.
    ///
    /// `random` is passed in so that no library of ours draws randomness on its own.
    ///
    /// # Errors
    /// [`SignerError::Library`]
    pub fn generate(algorithm: SignatureAlgorithm, random: &SystemRandom) -> Result<Self, SignerError> {
        let private_key = match algorithm {
            SignatureAlgorithm::Es256 => {
                EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).map(PrivateKey::Ecdsa)
            }
            SignatureAlgorithm::Es384 => {
                EcdsaKeyPair::generate(&ECDSA_P384_SHA384_FIXED_SIGNING).map(PrivateKey::Ecdsa)
            }
            SignatureAlgorithm::EdDsa => Ed25519KeyPair::generate().map(PrivateKey::Ed25519),
            SignatureAlgorithm::Ps256 | SignatureAlgorithm::Rs256 => {
                RsaKeyPair::generate(KeySize::Rsa3072).map(PrivateKey::Rsa)
            }
        };
        Self::new(
            private_key.map_err(|Unspecified| SignerError::Library)?,
            algorithm,
            random,
        )
    }

    /// Takes a private key from PKCS#8, DER without encryption.
    ///
    /// # Errors
    /// [`SignerError::Rejected`] for anything but a key of the kind that `algorithm` needs.
    pub fn from_pkcs8(algorithm: SignatureAlgorithm, pkcs8: &[u8], random: &SystemRandom) -> Result<Self, SignerError> {
        let private_key = match algorithm {
            SignatureAlgorithm::Es256 => {
                EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8).map(PrivateKey::Ecdsa)
            }
            SignatureAlgorithm::Es384 => {
                EcdsaKeyPair::from_pkcs8(&ECDSA_P384_SHA384_FIXED_SIGNING, pkcs8).map(PrivateKey::Ecdsa)
            }
            SignatureAlgorithm::EdDsa => Ed25519KeyPair::from_pkcs8(pkcs8).map(PrivateKey::Ed25519),
            SignatureAlgorithm::Ps256 | SignatureAlgorithm::Rs256 => RsaKeyPair::from_pkcs8(pkcs8).map(PrivateKey::Rsa),
        };
        Self::new(
            private_key.map_err(|_| SignerError::Rejected { algorithm })?,
            algorithm,
            random,
        )
    }

    /// Takes a private key from PKCS#8 and lets its kind decide the algorithm: ES256, ES384, EdDSA, or PS256 for RSA.
    ///
    /// # Errors
    /// The error for ES256 if the key is of none of these kinds.
    pub fn from_pkcs8_of_any_kind(pkcs8: &[u8], random: &SystemRandom) -> Result<Self, SignerError> {
        use SignatureAlgorithm::{EdDsa, Es256, Es384, Ps256};
        [Es384, EdDsa, Ps256]
            .into_iter()
            .find_map(|algorithm| Self::from_pkcs8(algorithm, pkcs8, random).ok())
            .map_or_else(|| Self::from_pkcs8(Es256, pkcs8, random), Ok)
    }

    /// The private key as PKCS#8, DER without encryption. Whoever has these octets is this issuer.
    ///
    /// # Errors
    /// [`SignerError::Library`]
    pub fn to_pkcs8(&self) -> Result<Zeroizing<Vec<u8>>, SignerError> {
        let pkcs8 = match &self.private_key {
            PrivateKey::Ecdsa(key_pair) => key_pair.to_pkcs8v1().map(|document| document.as_ref().to_vec()),
            PrivateKey::Ed25519(key_pair) => key_pair.to_pkcs8v1().map(|document| document.as_ref().to_vec()),
            PrivateKey::Rsa(key_pair) => {
                AsDer::<Pkcs8V1Der<'_>>::as_der(key_pair).map(|document| document.as_ref().to_vec())
            }
        };
        pkcs8.map(Zeroizing::new).map_err(|Unspecified| SignerError::Library)
    }

    fn new(private_key: PrivateKey, algorithm: SignatureAlgorithm, random: &SystemRandom) -> Result<Self, SignerError> {
        let public_key = match &private_key {
            PrivateKey::Ecdsa(key_pair) => {
                let curve = if algorithm == SignatureAlgorithm::Es384 {
                    Curve::P384
                } else {
                    Curve::P256
                };
                // The uncompressed point: 4, then both coordinates.
                let point = key_pair.public_key().as_ref().get(1..).unwrap_or_default();
                let (x, y) = point.split_at(point.len() / 2);
                PublicKey::ec(curve, x.to_vec(), y.to_vec())?
            }
            PrivateKey::Ed25519(key_pair) => PublicKey::ed25519(key_pair.public_key().as_ref().to_vec())?,
            PrivateKey::Rsa(key_pair) => PublicKey::rsa(
                key_pair
                    .public_key()
                    .modulus()
                    .big_endian_without_leading_zero()
                    .to_vec(),
                key_pair
                    .public_key()
                    .exponent()
                    .big_endian_without_leading_zero()
                    .to_vec(),
            )?,
        };
        let jwk = Jwk::for_signing(public_key, algorithm)?;
        let key_id = jwk.key_id().unwrap_or_default().into();
        Ok(Self {
            private_key,
            algorithm,
            jwk,
            key_id,
            random: random.clone(),
        })
    }
}

impl Signer for LocalSigner {
    fn algorithm(&self) -> SignatureAlgorithm {
        self.algorithm
    }

    fn key_id(&self) -> &str {
        &self.key_id
    }

    fn public_jwk(&self) -> &Jwk {
        &self.jwk
    }

    fn sign(&self, message: &[u8]) -> Result<Signature, SigningError> {
        let signature = match &self.private_key {
            PrivateKey::Ecdsa(key_pair) => key_pair.sign(&self.random, message).map(|made| made.as_ref().to_vec()),
            PrivateKey::Ed25519(key_pair) => key_pair.try_sign(message).map(|made| made.as_ref().to_vec()),
            PrivateKey::Rsa(key_pair) => {
                let padding = if self.algorithm == SignatureAlgorithm::Ps256 {
                    &RSA_PSS_SHA256
                } else {
                    &RSA_PKCS1_SHA256
                };
                let mut signature = vec![0; key_pair.public_modulus_len()];
                key_pair
                    .sign(padding, &self.random, message, &mut signature)
                    .map(|()| signature)
            }
        };
        signature.map(Signature).map_err(|Unspecified| SigningError {
            algorithm: self.algorithm,
        })
    }
}

impl fmt::Debug for LocalSigner {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("LocalSigner")
            .field("algorithm", &self.algorithm)
            .field("key_id", &self.key_id)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failing test panics")]

    use super::*;

    #[test]
    fn every_algorithm_signs_verifies_and_survives_export() {
        let random = SystemRandom::new();
        for algorithm in SignatureAlgorithm::ALL {
            let signer = LocalSigner::generate(algorithm, &random).unwrap();
            let again = LocalSigner::from_pkcs8(algorithm, &signer.to_pkcs8().unwrap(), &random).unwrap();
            assert_eq!(again.key_id(), signer.key_id());
            let signature = again.sign(b"message").unwrap();
            let jwk = Jwk::parse(signer.public_jwk().to_json().to_string().as_bytes()).unwrap();
            assert!(jwk.verifies(algorithm, b"message", &signature), "{algorithm}");
            assert!(!jwk.verifies(algorithm, b"massage", &signature), "{algorithm}");
            for other in SignatureAlgorithm::ALL {
                assert_eq!(
                    jwk.verifies(other, b"message", &signature),
                    other == algorithm,
                    "{algorithm} {other}"
                );
            }
        }
    }

    #[test]
    fn a_key_of_another_kind_is_refused() {
        let random = SystemRandom::new();
        let p256 = LocalSigner::generate(SignatureAlgorithm::Es256, &random)
            .unwrap()
            .to_pkcs8()
            .unwrap();
        for algorithm in [
            SignatureAlgorithm::Es384,
            SignatureAlgorithm::EdDsa,
            SignatureAlgorithm::Rs256,
        ] {
            assert!(matches!(
                LocalSigner::from_pkcs8(algorithm, &p256, &random),
                Err(SignerError::Rejected { algorithm: named }) if named == algorithm
            ));
        }
        assert!(LocalSigner::from_pkcs8(SignatureAlgorithm::Es256, b"", &random).is_err());
        assert!(LocalSigner::from_pkcs8_of_any_kind(b"\x30\x00", &random).is_err());
        let signer = LocalSigner::from_pkcs8_of_any_kind(&p256, &random).unwrap();
        assert_eq!(signer.algorithm(), SignatureAlgorithm::Es256);
    }

    #[test]
    fn debug_does_not_show_the_key() {
        let signer = LocalSigner::generate(SignatureAlgorithm::Es256, &SystemRandom::new()).unwrap();
        assert_eq!(
            format!("{signer:?}"),
            format!("LocalSigner {{ algorithm: Es256, key_id: {:?}, .. }}", signer.key_id())
        );
    }
}
