//! An authorization server in two lines: it signs what it is told to.

use std::sync::Arc;

use aws_lc_rs::rand::SystemRandom;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use keybound_protocol::confirmation::CertificateThumbprint;
use keybound_protocol::jwk_set::JwkSet;
use keybound_protocol::signature_algorithm::SignatureAlgorithm;
use keybound_protocol::signer::{LocalSigner, Signer as _};
use keybound_resource_server::{IssuerSettings, KeySource, ResourceServer, Validation};
use keybound_tls::Clock;
use serde_json::{Value, json};

use super::RESOURCE;
use super::pki::Leaf;

#[derive(Clone)]
pub(crate) struct Issuer {
    pub(crate) issuer: String,
    signer: Arc<LocalSigner>,
}

impl Issuer {
    pub(crate) fn new() -> Self {
        Self::named("https://issuer.example")
    }

    pub(crate) fn named(issuer: &str) -> Self {
        let signer = LocalSigner::generate(SignatureAlgorithm::Es256, &SystemRandom::new()).unwrap();
        Self {
            issuer: issuer.to_owned(),
            signer: Arc::new(signer),
        }
    }

    pub(crate) fn settings(&self) -> IssuerSettings {
        let keys = JwkSet::new(vec![self.signer.public_jwk().clone()]).unwrap();
        IssuerSettings::new(self.issuer.parse().unwrap(), Validation::Local(KeySource::Static(keys)))
    }

    pub(crate) fn resource_server(&self) -> ResourceServer {
        ResourceServer::new(vec![self.settings()]).unwrap()
    }

    /// A token for the test resource, bound to `leaf`, good for five minutes.
    pub(crate) fn token_for(&self, leaf: &Leaf) -> String {
        self.token(&self.claims(Some(leaf)))
    }

    /// Claims to be changed by the test.
    pub(crate) fn claims(&self, leaf: Option<&Leaf>) -> Value {
        let now = Clock::system().now().unix_secs();
        let mut claims = json!({
            "iss": self.issuer, "sub": "demo-subject", "client_id": "demo-client", "aud": RESOURCE,
            "scope": "read write", "iat": now, "exp": now + 300, "jti": "token-1",
        });
        if let Some(leaf) = leaf {
            let thumbprint = CertificateThumbprint::of_certificate(&leaf.der).to_string();
            claims["cnf"] = json!({ "x5t#S256": thumbprint });
        }
        claims
    }

    /// A signed token with exactly these claims.
    pub(crate) fn token(&self, claims: &Value) -> String {
        let header = json!({"alg": "ES256", "kid": self.signer.key_id(), "typ": "at+jwt"});
        let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!("{}.{}", encode(&header), encode(claims));
        let signature = self.signer.sign(signed.as_bytes()).unwrap();
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(&*signature))
    }
}
