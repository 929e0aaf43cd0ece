//! An issuer that signs whatever a test wants.

use std::sync::Arc;

use aws_lc_rs::rand::SystemRandom;
use keybound_protocol::base64url;
use keybound_protocol::confirmation::CertificateThumbprint;
use keybound_protocol::jwk_set::JwkSet;
use keybound_protocol::signature_algorithm::SignatureAlgorithm;
use keybound_protocol::signer::{LocalSigner, Signer};
use keybound_protocol::time::Timestamp;
use serde_json::{Value, json};

/// A signing key with the claims of good tokens.
#[derive(Clone)]
pub(crate) struct TokenIssuer {
    pub(crate) issuer: String,
    pub(crate) signer: Arc<dyn Signer>,
}

impl TokenIssuer {
    pub(crate) fn new(issuer: &str) -> TokenIssuer {
        TokenIssuer::with_algorithm(issuer, SignatureAlgorithm::Es256)
    }

    pub(crate) fn with_algorithm(issuer: &str, algorithm: SignatureAlgorithm) -> TokenIssuer {
        let signer = LocalSigner::generate(algorithm, &SystemRandom::new()).unwrap();
        TokenIssuer {
            issuer: issuer.to_owned(),
            signer: Arc::new(signer),
        }
    }

    /// Its public key.
    pub(crate) fn keys(&self) -> JwkSet {
        JwkSet::new(vec![self.signer.public_jwk().clone()]).unwrap()
    }

    /// The header of good tokens.
    pub(crate) fn header(&self) -> Value {
        json!({"alg": self.signer.algorithm(), "kid": self.signer.key_id(), "typ": "at+jwt"})
    }

    /// The claims of a good token, good for five minutes, bound to nothing.
    pub(crate) fn claims(&self, audience: &str, now: Timestamp) -> Value {
        json!({
            "iss": self.issuer, "sub": "demo", "client_id": "demo", "aud": audience, "jti": "token-1",
            "iat": now, "exp": now.unix_secs() + 300, "scope": "read write",
        })
    }

    /// A good token bound to this certificate.
    pub(crate) fn bound_token(&self, thumbprint: &CertificateThumbprint, audience: &str, now: Timestamp) -> String {
        let mut claims = self.claims(audience, now);
        claims["cnf"] = json!({"x5t#S256": thumbprint});
        self.sign(&self.header(), &claims)
    }

    pub(crate) fn sign(&self, header: &Value, claims: &Value) -> String {
        self.sign_octets(header.to_string().as_bytes(), claims.to_string().as_bytes())
    }

    /// For headers and claims that no JSON library writes.
    pub(crate) fn sign_octets(&self, header: &[u8], claims: &[u8]) -> String {
        let input = format!("{}.{}", base64url::encode(header), base64url::encode(claims));
        let signature = self.signer.sign(input.as_bytes()).unwrap();
        format!("{input}.{}", base64url::encode(&signature))
    }
}
