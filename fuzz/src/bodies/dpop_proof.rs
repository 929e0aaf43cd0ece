//! Octets as the `DPoP` field of a request (RFC 9449 §4.3); and any text as the `jti`, method and URL of a proof that is made here.

use std::cell::OnceCell;

use aws_lc_rs::rand::SystemRandom;
use keybound_protocol::base64url;
use keybound_protocol::dpop_nonce::DpopNonces;
use keybound_protocol::dpop_proof::{DpopProofError, DpopRequest, NewDpopProof, PROOF_ID_BYTES_MAX};
use keybound_protocol::http_uri::HttpUri;
use keybound_protocol::json::JsonObject;
use keybound_protocol::jws::UnverifiedJws;
use keybound_protocol::key_thumbprint::KeyThumbprint;
use keybound_protocol::signature_algorithm::SignatureAlgorithm;
use keybound_protocol::signer::{LocalSigner, Signer};
use keybound_protocol::time::Timestamp;

/// PKCS#8 of the Ed25519 key with this seed; `seeds.rs` signs the corpus with it.
const PKCS8_PREFIX: [u8; 16] = [
    0x30, 46, 0x02, 1, 0, 0x30, 5, 0x06, 3, 0x2b, 0x65, 0x70, 0x04, 34, 0x04, 32,
];
const SEED: [u8; 32] = [7; 32];
const URL: &str = "https://rs.example/a";
const TOKEN: &str = "token";
/// 2026-01-01T00:00:00Z
const NOW: Timestamp = Timestamp::from_unix_secs(1_767_225_600);

struct Resource {
    signer: LocalSigner,
    targets: [HttpUri; 1],
    nonces: DpopNonces,
}

thread_local! {
    static RESOURCE: OnceCell<Resource> = const { OnceCell::new() };
}

/// Checks every property for one input.
pub(crate) fn check(octets: &[u8]) {
    RESOURCE.with(|resource| {
        let resource = resource.get_or_init(Resource::new);
        resource.check_field(octets);
        if let Ok(text) = std::str::from_utf8(octets) {
            resource.nonces.judge(text, NOW).expect_err("nobody guesses a nonce");
            resource.check_made(text);
        }
    });
}

impl Resource {
    fn new() -> Resource {
        let pkcs8 = [PKCS8_PREFIX.as_slice(), &SEED].concat();
        Resource {
            signer: LocalSigner::from_pkcs8(SignatureAlgorithm::EdDsa, &pkcs8, &SystemRandom::new())
                .expect("32 octets are an Ed25519 key"),
            targets: [HttpUri::parse(URL).expect("a URL")],
            nonces: DpopNonces::new(&SEED),
        }
    }

    fn request(&self) -> DpopRequest<'_> {
        DpopRequest {
            method: "GET",
            targets: &self.targets,
            access_token: None,
            algorithms: &SignatureAlgorithm::ALL,
            nonces: None,
        }
    }

    fn check_field(&self, field: &[u8]) {
        let request = self.request();
        let verified = match request.verify([field], NOW) {
            Ok(verified) => verified,
            Err(error) => {
                // What an operator reads names the rule that failed, whatever was sent.
                assert!(DpopProofError::RULES.contains(&error.rule()), "{error:?}");
                assert_eq!(error.rules().len(), DpopProofError::RULES.len());
                return;
            }
        };
        // A proof says what was asked for, by whoever's key is in it.
        let text = std::str::from_utf8(field).expect("read as text");
        let jws = UnverifiedJws::parse(text).expect("verified");
        let claims = JsonObject::parse(jws.unverified_payload()).expect("verified");
        assert_eq!(claims.string("htm").expect("verified"), Some("GET"));
        let target = claims.string("htu").expect("verified").expect("verified");
        assert_eq!(HttpUri::parse(target).expect("verified"), self.targets[0]);
        let header = text.split('.').next().expect("three parts");
        let header = base64url::decode(header).expect("verified");
        let header = JsonObject::parse(&header).expect("verified");
        // A media type (RFC 7515 §4.1.9).
        let named = header
            .string("typ")
            .expect("verified")
            .expect("verified")
            .to_ascii_lowercase();
        assert_eq!(named.strip_prefix("application/").unwrap_or(&named), "dpop+jwt");
        let key = header.object("jwk").expect("verified").expect("verified");
        assert!(!key.contains("d") && !key.contains("k"), "a key that is not public");
        assert!(verified.remember_until() > NOW, "forgotten while it counts");
        // Nothing else about the request may differ.
        let other = [HttpUri::parse("https://rs.example/b").expect("a URL")];
        for changed in [
            DpopRequest {
                method: "POST",
                ..request
            },
            DpopRequest {
                targets: &other,
                ..request
            },
            DpopRequest {
                targets: &[],
                ..request
            },
            DpopRequest {
                algorithms: &[],
                ..request
            },
            DpopRequest {
                nonces: Some(&self.nonces),
                ..request
            },
        ] {
            assert!(changed.verify([field], NOW).is_err(), "taken for {changed:?}");
        }
        assert!(request.verify([field, field], NOW).is_err(), "two fields");
        let late = verified.remember_until();
        assert!(request.verify([field], late).is_err(), "taken when it is forgotten");
    }

    /// What is made for a request is taken for it, and its key and `jti` are what it is known by.
    fn check_made(&self, text: &str) {
        let (method, rest) = text.split_once(' ').unwrap_or(("GET", text));
        let (path, proof_id) = rest.split_once(' ').unwrap_or((rest, rest));
        let Ok(target) = HttpUri::parse(&format!("{URL}{path}")) else {
            return;
        };
        let nonce = self.nonces.current(NOW);
        let new = NewDpopProof {
            method,
            target: &target,
            proof_id,
            issued_at: NOW,
            access_token: Some(TOKEN),
            nonce: Some(&nonce),
        };
        let proof = new.sign(&self.signer).expect("Ed25519 signs everything");
        let targets = [target.clone()];
        let asked = DpopRequest {
            method,
            targets: &targets,
            access_token: Some(TOKEN),
            nonces: Some(&self.nonces),
            ..self.request()
        };
        match asked.verify([proof.as_bytes()], NOW) {
            Ok(verified) => {
                assert_eq!(*verified.key(), KeyThumbprint::of_key(self.signer.public_jwk()));
                let again = asked.verify([proof.as_bytes()], NOW).expect("taken before");
                assert_eq!(again.replay_key(), verified.replay_key());
                let other = DpopRequest {
                    access_token: Some("other"),
                    ..asked
                };
                let error = other.verify([proof.as_bytes()], NOW).expect_err("another token");
                assert!(matches!(error, DpopProofError::TokenHash), "{error:?}");
            }
            Err(DpopProofError::ProofId) => assert!(proof_id.is_empty() || proof_id.len() > PROOF_ID_BYTES_MAX),
            Err(DpopProofError::TooLong) => assert!(text.len() > 1024),
            Err(error) => panic!("{text:?} was made and not taken: {error}"),
        }
    }
}
