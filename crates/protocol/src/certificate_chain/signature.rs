//! Single signatures, for telling things apart: which list a key signed, why a path was not found. Verdicts are the path library's.

use rustls_pki_types::SubjectPublicKeyInfoDer;
use webpki::RawPublicKeyEntity;
use x509_parser::asn1_rs::{Any, BitString, FromDer, Tag};
use x509_parser::x509::AlgorithmIdentifier;

use crate::certificate::{CertificateError, Fields};

/// Whether the signature on a certificate or revocation list verifies under a key; `None` if its algorithm is not supported at all.
pub(super) fn verifies(der: &[u8], subject_public_key_info: &[u8]) -> Option<bool> {
    let signed = Signed::read(der).ok()?;
    let key = SubjectPublicKeyInfoDer::from(subject_public_key_info);
    let key = RawPublicKeyEntity::try_from(&key).ok()?;
    let mut known = false;
    for algorithm in webpki::ALL_VERIFICATION_ALGS {
        if algorithm.signature_alg_id().as_ref() == signed.algorithm {
            known = true;
            if key.verify_signature(*algorithm, signed.tbs, signed.signature).is_ok() {
                return Some(true);
            }
        }
    }
    known.then_some(false)
}

/// The parts of a certificate or revocation list that its signature is about.
pub(super) struct Signed<'a> {
    tbs: &'a [u8],
    /// Contents of the AlgorithmIdentifier.
    algorithm: &'a [u8],
    pub(super) algorithm_oid: String,
    signature: &'a [u8],
}

impl<'a> Signed<'a> {
    pub(super) fn is_of_known_algorithm(&self) -> bool {
        let mut algorithms = webpki::ALL_VERIFICATION_ALGS.iter();
        algorithms.any(|algorithm| algorithm.signature_alg_id().as_ref() == self.algorithm)
    }

    pub(super) fn read(der: &'a [u8]) -> Result<Signed<'a>, CertificateError> {
        let mut fields = Fields(Fields(der).next("signed structure", Tag::Sequence)?.data);
        let tbs = fields.raw("signed part", Tag::Sequence)?;
        let algorithm_der = fields.raw("signatureAlgorithm", Tag::Sequence)?;
        let algorithm = Any::from_der(algorithm_der)
            .map_err(|_| CertificateError::malformed("signatureAlgorithm"))?
            .1
            .data;
        let algorithm_oid = match AlgorithmIdentifier::from_der(algorithm_der) {
            Ok((_, identifier)) => identifier.algorithm.to_id_string(),
            Err(_) => return Err(CertificateError::malformed("signatureAlgorithm")),
        };
        let (_, signature) =
            BitString::from_der(fields.0).map_err(|_| CertificateError::malformed("signatureValue"))?;
        let signature = match signature.data {
            std::borrow::Cow::Borrowed(octets) => octets,
            std::borrow::Cow::Owned(_) => return Err(CertificateError::malformed("signatureValue")),
        };
        Ok(Signed {
            tbs,
            algorithm,
            algorithm_oid,
            signature,
        })
    }
}
