//! Text as a JSON Web Signature, an access token and a client assertion; and any octets as what somebody signs.

use std::cell::OnceCell;

use aws_lc_rs::rand::SystemRandom;
use keybound_protocol::access_token::{self, IssuerPolicy};
use keybound_protocol::base64url;
use keybound_protocol::client_assertion::UnverifiedClientAssertion;
use keybound_protocol::json::JsonObject;
use keybound_protocol::jwk_set::JwkSet;
use keybound_protocol::jws::{JwsPolicy, UnverifiedJws};
use keybound_protocol::signature_algorithm::SignatureAlgorithm;
use keybound_protocol::signer::{LocalSigner, Signer};
use keybound_protocol::time::Timestamp;

/// PKCS#8 of the Ed25519 key with this seed; `seeds.rs` signs the corpus with it.
const PKCS8_PREFIX: [u8; 16] = [
    0x30, 46, 0x02, 1, 0, 0x30, 5, 0x06, 3, 0x2b, 0x65, 0x70, 0x04, 34, 0x04, 32,
];
const SEED: [u8; 32] = [7; 32];
const ISSUER: &str = "https://as.example";
const RESOURCE: &str = "https://rs.example";
/// 2026-01-01T00:00:00Z
const NOW: Timestamp = Timestamp::from_unix_secs(1_767_225_600);
const POLICY: JwsPolicy<'static> = JwsPolicy {
    algorithms: &SignatureAlgorithm::ALL,
    types: &["at+jwt", "application/at+jwt", "JWT"],
    type_may_be_missing: true,
};

struct Issuer {
    signer: LocalSigner,
    keys: JwkSet,
    policy: IssuerPolicy,
}

thread_local! {
    static ISSUER_STATE: OnceCell<Issuer> = const { OnceCell::new() };
}

/// Checks every property for one input.
pub(crate) fn check(octets: &[u8]) {
    ISSUER_STATE.with(|issuer| {
        let issuer = issuer.get_or_init(Issuer::new);
        if let Ok(text) = std::str::from_utf8(octets) {
            issuer.check_token(text);
        }
        issuer.check_payload(octets);
    });
}

impl Issuer {
    fn new() -> Issuer {
        let pkcs8 = [PKCS8_PREFIX.as_slice(), &SEED].concat();
        let signer = LocalSigner::from_pkcs8(SignatureAlgorithm::EdDsa, &pkcs8, &SystemRandom::new())
            .expect("32 octets are an Ed25519 key");
        let mut policy = IssuerPolicy::new(ISSUER, vec![RESOURCE.to_owned()]);
        policy.token_types.push("JWT".to_owned());
        Issuer {
            keys: JwkSet::new(vec![signer.public_jwk().clone()]).expect("one key"),
            signer,
            policy,
        }
    }

    fn check_token(&self, text: &str) {
        if let Ok(assertion) = UnverifiedClientAssertion::parse(text) {
            assertion.unverified_client_id();
        }
        let token = access_token::verify(text, &self.policy, &self.keys, NOW);
        let Ok(jws) = UnverifiedJws::parse(text) else {
            assert!(token.is_err(), "{text:?} is no JWS");
            return;
        };
        // One spelling: what was read writes back as the same characters.
        let (signing_input, signature) = text.rsplit_once('.').expect("three parts");
        let (header, payload) = signing_input.split_once('.').expect("three parts");
        assert_eq!(base64url::encode(jws.unverified_payload()), payload);
        let object = base64url::decode(header).map(|header| JsonObject::parse(&header));
        let object = object.expect("read once already").expect("read once already");
        assert!(!object.contains("crit"), "an extension that nobody here understands");
        let is_signed = base64url::encode(&self.sign(signing_input.as_bytes())) == signature;
        match jws.verify(&POLICY, &self.keys) {
            Ok(verified) => {
                assert!(is_signed, "nobody signed {text:?}");
                assert_eq!(verified.payload(), jws.unverified_payload());
                assert_eq!(verified.algorithm(), SignatureAlgorithm::EdDsa);
                assert!(matches!(object.string("alg"), Ok(Some("EdDSA" | "Ed25519"))));
            }
            Err(error) => {
                assert!(token.is_err(), "{text:?} was taken although {error}");
            }
        }
        if let Ok(token) = token {
            let claims = token.claims();
            assert_eq!(claims.issuer, ISSUER);
            assert!(claims.audience.iter().any(|audience| audience == RESOURCE));
            assert!(token.require_valid_at(NOW).is_ok());
            assert!(
                token.require_valid_at(Timestamp::from_unix_secs(i64::MAX)).is_err()
                    || claims.expires_at.unix_secs() == i64::MAX
            );
        }
        // With nobody's keys nothing verifies.
        assert!(jws.verify(&POLICY, &JwkSet::default()).is_err());
    }

    /// Whatever is signed verifies, and nothing near it does.
    fn check_payload(&self, payload: &[u8]) {
        if payload.len() > 8 * 1024 {
            return;
        }
        let header = base64url::encode(br#"{"alg":"EdDSA","typ":"JWT"}"#);
        let signing_input = format!("{header}.{}", base64url::encode(payload));
        let signature = self.sign(signing_input.as_bytes());
        let token = format!("{signing_input}.{}", base64url::encode(&signature));
        let jws = UnverifiedJws::parse(&token).expect("a compact JWS");
        let verified = jws.verify(&POLICY, &self.keys).expect("just signed");
        assert_eq!(verified.payload(), payload);
        // One bit of the signature, chosen by the payload.
        let sum: usize = payload.iter().map(|octet| usize::from(*octet)).sum();
        let mut forged = signature.clone();
        forged[sum % 64] ^= 1 << (sum / 64 % 8);
        let altered = format!("{signing_input}.{}", base64url::encode(&forged));
        // One octet more in the payload, under the signature that was made without it.
        let longer = [payload, b" "].concat();
        let extended = format!(
            "{header}.{}.{}",
            base64url::encode(&longer),
            base64url::encode(&signature)
        );
        for token in [altered, extended] {
            let jws = UnverifiedJws::parse(&token).expect("a compact JWS");
            assert!(jws.verify(&POLICY, &self.keys).is_err(), "nobody signed {token}");
        }
    }

    fn sign(&self, message: &[u8]) -> Vec<u8> {
        self.signer.sign(message).expect("Ed25519 signs everything").to_vec()
    }
}
