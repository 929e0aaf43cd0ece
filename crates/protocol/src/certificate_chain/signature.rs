//! The signatures of one verification: each is verified once, and of certificates only so many.
//!
//! Whoever asks, the path library or this crate, goes through [`Signatures`]. A peer chooses what is presented, and verifying a signature
//! is by far the most expensive step that it can make us take.

use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use aws_lc_rs::digest::{Context, SHA256, SHA256_OUTPUT_LEN};
use rustls_pki_types::{
    AlgorithmIdentifier as AlgorithmOctets, InvalidSignature, SignatureVerificationAlgorithm, SubjectPublicKeyInfoDer,
};
use webpki::RawPublicKeyEntity;
use x509_parser::asn1_rs::{Any, BitString, FromDer, Tag};
use x509_parser::x509::AlgorithmIdentifier;

use crate::certificate::{CertificateError, Fields};
use crate::certificate_revocation_list::CertificateRevocationList;

/// The most signatures of certificates that are verified for one verdict, its diagnosis included.
///
/// A path of a client, three intermediates and an anchor takes four. Six intermediates of one name without key identifiers, of which the
/// last one tried is the right one, take twelve.
pub(super) const SIGNATURES_MAX: usize = 12;

/// The most that are verified after there is no path, to say why: one for each certificate that can be presented.
pub(super) const DIAGNOSIS_SIGNATURES_MAX: usize = 6;

/// What was verified so far.
#[derive(Debug)]
pub(super) struct Signatures {
    // The path library wants its algorithms `Sync`; nobody else is ever waited for.
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// By the digest of key, algorithm, message and signature.
    outcomes: Vec<([u8; SHA256_OUTPUT_LEN], bool)>,
    left: usize,
    is_exhausted: bool,
}

impl Signatures {
    pub(super) fn new() -> Signatures {
        Signatures {
            state: Mutex::new(State {
                outcomes: Vec::new(),
                left: SIGNATURES_MAX,
                is_exhausted: false,
            }),
        }
    }

    /// Whether the signature on a certificate verifies under a key. What cannot be verified any more does not.
    pub(super) fn certificate_holds(&self, der: &[u8], subject_public_key_info: &[u8]) -> bool {
        holds(der, subject_public_key_info, &self.of_certificates())
    }

    /// Whether the signature on a revocation list verifies under a key.
    pub(super) fn list_holds(&self, list: &CertificateRevocationList, subject_public_key_info: &[u8]) -> bool {
        holds(list.der(), subject_public_key_info, &self.of_lists())
    }

    /// The algorithms for certificates.
    pub(super) fn of_certificates(&self) -> Algorithms<'_> {
        Algorithms::new(self, true)
    }

    /// The algorithms for revocation lists and the paths they belong to. Those lists are the operator's, and they are looked up
    /// only for paths that hold, so they are not counted.
    pub(super) fn of_lists(&self) -> Algorithms<'_> {
        Algorithms::new(self, false)
    }

    /// Leaves no more than so many.
    pub(super) fn leave_at_most(&self, left: usize) {
        let mut state = self.lock();
        state.left = state.left.min(left);
    }

    /// Whether a signature was left unverified because there were too many.
    pub(super) fn is_exhausted(&self) -> bool {
        self.lock().is_exhausted
    }

    /// How many were verified.
    #[cfg(test)]
    pub(super) fn verified(&self) -> usize {
        self.lock().outcomes.len()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The algorithms of the path library, with a memory.
pub(super) struct Algorithms<'s>(Vec<Remembering<'s>>);

impl<'s> Algorithms<'s> {
    fn new(signatures: &'s Signatures, is_counted: bool) -> Algorithms<'s> {
        let algorithms = webpki::ALL_VERIFICATION_ALGS.iter();
        let remembering = algorithms.map(|algorithm| Remembering {
            algorithm: *algorithm,
            signatures,
            is_counted,
        });
        Algorithms(remembering.collect())
    }

    pub(super) fn as_slice(&self) -> Vec<&dyn SignatureVerificationAlgorithm> {
        self.0
            .iter()
            .map(|algorithm| algorithm as &dyn SignatureVerificationAlgorithm)
            .collect()
    }
}

struct Remembering<'s> {
    algorithm: &'static dyn SignatureVerificationAlgorithm,
    signatures: &'s Signatures,
    is_counted: bool,
}

impl Remembering<'_> {
    fn digest(&self, public_key: &[u8], message: &[u8], signature: &[u8]) -> [u8; SHA256_OUTPUT_LEN] {
        let mut context = Context::new(&SHA256);
        let (key_algorithm, algorithm) = (self.public_key_alg_id(), self.signature_alg_id());
        for part in [
            key_algorithm.as_ref(),
            algorithm.as_ref(),
            public_key,
            signature,
            message,
        ] {
            context.update(&part.len().to_be_bytes());
            context.update(part);
        }
        let mut digest = [0; SHA256_OUTPUT_LEN];
        digest.copy_from_slice(context.finish().as_ref());
        digest
    }
}

impl SignatureVerificationAlgorithm for Remembering<'_> {
    fn verify_signature(&self, public_key: &[u8], message: &[u8], signature: &[u8]) -> Result<(), InvalidSignature> {
        let digest = self.digest(public_key, message, signature);
        let mut state = self.signatures.lock();
        let known = state.outcomes.iter().find(|(known, _)| *known == digest);
        let holds = match known {
            Some((_, holds)) => *holds,
            None => {
                if self.is_counted {
                    let Some(left) = state.left.checked_sub(1) else {
                        state.is_exhausted = true;
                        return Err(InvalidSignature);
                    };
                    state.left = left;
                }
                let holds = self.algorithm.verify_signature(public_key, message, signature).is_ok();
                state.outcomes.push((digest, holds));
                holds
            }
        };
        holds.then_some(()).ok_or(InvalidSignature)
    }

    fn public_key_alg_id(&self) -> AlgorithmOctets {
        self.algorithm.public_key_alg_id()
    }

    fn signature_alg_id(&self) -> AlgorithmOctets {
        self.algorithm.signature_alg_id()
    }
}

impl fmt::Debug for Remembering<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.algorithm.fmt(f)
    }
}

fn holds(der: &[u8], subject_public_key_info: &[u8], algorithms: &Algorithms<'_>) -> bool {
    let key = SubjectPublicKeyInfoDer::from(subject_public_key_info);
    let (Ok(signed), Ok(key)) = (Signed::read(der), RawPublicKeyEntity::try_from(&key)) else {
        return false;
    };
    let of_its_name = algorithms
        .0
        .iter()
        .filter(|algorithm| algorithm.signature_alg_id().as_ref() == signed.algorithm);
    of_its_name.into_iter().any(|algorithm| {
        // Of an algorithm for other kinds of keys nothing is verified.
        key.verify_signature(algorithm, signed.tbs, signed.signature).is_ok()
    })
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
