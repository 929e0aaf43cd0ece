//! A client that proves a key by DPoP.

use std::sync::atomic::{AtomicU64, Ordering};

use aws_lc_rs::rand::SystemRandom;
use keybound_protocol::dpop_proof::NewDpopProof;
use keybound_protocol::http_uri::HttpUri;
use keybound_protocol::key_thumbprint::KeyThumbprint;
use keybound_protocol::signature_algorithm::SignatureAlgorithm;
use keybound_protocol::signer::{LocalSigner, Signer};
use keybound_protocol::time::Timestamp;

/// A key, and how many proofs it made.
pub(crate) struct Prover {
    signer: LocalSigner,
    proofs: AtomicU64,
}

/// What a proof is for.
#[derive(Clone, Copy)]
pub(crate) struct Proof<'a> {
    pub(crate) method: &'a str,
    pub(crate) url: &'a str,
    pub(crate) now: Timestamp,
    pub(crate) token: Option<&'a str>,
    pub(crate) nonce: Option<&'a str>,
}

impl Prover {
    pub(crate) fn new() -> Prover {
        Prover::by(SignatureAlgorithm::Es256)
    }

    /// A key of this algorithm.
    pub(crate) fn by(algorithm: SignatureAlgorithm) -> Prover {
        Prover {
            signer: LocalSigner::generate(algorithm, &SystemRandom::new()).unwrap(),
            proofs: AtomicU64::new(0),
        }
    }

    /// `jkt`
    pub(crate) fn thumbprint(&self) -> KeyThumbprint {
        KeyThumbprint::of_key(self.signer.public_jwk())
    }

    /// A proof with a `jti` of its own.
    pub(crate) fn prove(&self, proof: &Proof<'_>) -> String {
        let proof_id = self.proofs.fetch_add(1, Ordering::Relaxed).to_string();
        let new = NewDpopProof {
            method: proof.method,
            target: &HttpUri::parse(proof.url).unwrap(),
            proof_id: &proof_id,
            issued_at: proof.now,
            access_token: proof.token,
            nonce: proof.nonce,
        };
        new.sign(&self.signer).unwrap()
    }
}
