//! Certificate-bound JWTs of an issuer that exists only here: made, published, verified.
#![expect(
    clippy::disallowed_methods,
    reason = "the least a server can do: it reads clock and generator where it stands"
)]

use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, anyhow};
use aws_lc_rs::digest;
use aws_lc_rs::rand::{self, SystemRandom};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair, ParsedPublicKey,
};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::pki_types::pem::PemObject;
use serde::Deserialize;

/// The key id of the only key.
const KEY_ID: &str = "bench";
const LIFETIME_SECS: u64 = 3600;

/// Makes tokens.
pub struct Issuer {
    key: EcdsaKeyPair,
    random: SystemRandom,
    encoded_header: String,
    name: String,
    audience: String,
}

impl Issuer {
    /// Reads the signing key, PKCS#8 in PEM.
    pub fn load(key_file: &str, name: &str, audience: &str) -> anyhow::Result<Self> {
        let der = PrivatePkcs8KeyDer::from_pem_file(key_file).with_context(|| key_file.to_owned())?;
        let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, der.secret_pkcs8_der())
            .map_err(|rejected| anyhow!("{key_file}: {rejected}"))?;
        let header = format!(r#"{{"alg":"ES256","typ":"at+jwt","kid":"{KEY_ID}"}}"#);
        let encoded_header = URL_SAFE_NO_PAD.encode(header);
        Ok(Self {
            key,
            random: SystemRandom::new(),
            encoded_header,
            name: name.to_owned(),
            audience: audience.to_owned(),
        })
    }

    /// A fresh token that only the holder of the certificate with this thumbprint can use.
    pub fn token(&self, thumbprint: &str) -> String {
        let mut token_id = [0; 16];
        rand::fill(&mut token_id).expect("the system has random numbers");
        let now = now();
        let claims = format!(
            r#"{{"iss":"{}","sub":"client-1","client_id":"client-1","aud":"{}","iat":{now},"exp":{},"jti":"{}","scope":"read","cnf":{{"x5t#S256":"{thumbprint}"}}}}"#,
            self.name,
            self.audience,
            now + LIFETIME_SECS,
            URL_SAFE_NO_PAD.encode(token_id)
        );
        let mut token = String::with_capacity(640);
        token.push_str(&self.encoded_header);
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(claims, &mut token);
        let signature = self
            .key
            .sign(&self.random, token.as_bytes())
            .expect("a P-256 key signs any message");
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(signature, &mut token);
        token
    }

    /// The answer to a token request.
    pub fn token_response(&self, thumbprint: &str) -> String {
        let token = self.token(thumbprint);
        format!(r#"{{"access_token":"{token}","token_type":"Bearer","expires_in":{LIFETIME_SECS},"scope":"read"}}"#)
    }

    /// The JWK set with the public key.
    pub fn key_set(&self) -> String {
        // An uncompressed point: 4, then 32 octets each.
        let point = self.key.public_key().as_ref();
        let (x, y) = point.get(1..).unwrap_or_default().split_at(32);
        format!(
            r#"{{"keys":[{{"kty":"EC","crv":"P-256","alg":"ES256","use":"sig","kid":"{KEY_ID}","x":"{}","y":"{}"}}]}}"#,
            URL_SAFE_NO_PAD.encode(x),
            URL_SAFE_NO_PAD.encode(y)
        )
    }

    /// Checks tokens of this issuer.
    pub fn verifier(&self) -> anyhow::Result<Verifier> {
        let key = ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, self.key.public_key().as_ref())
            .map_err(|rejected| anyhow!("public key: {rejected}"))?;
        Ok(Verifier { key })
    }
}

/// Checks tokens: signature, expiry, binding, and nothing more.
pub struct Verifier {
    key: ParsedPublicKey,
}

#[derive(Deserialize)]
struct Claims<'a> {
    exp: u64,
    #[serde(borrow)]
    cnf: Binding<'a>,
}

#[derive(Deserialize)]
struct Binding<'a> {
    #[serde(rename = "x5t#S256")]
    thumbprint: &'a str,
}

impl Verifier {
    /// Whether an `Authorization` value carries a token that the holder of this certificate may use.
    pub fn accepts(&self, authorization: &[u8], thumbprint: &str) -> bool {
        self.check(authorization, thumbprint).is_some()
    }

    fn check(&self, authorization: &[u8], thumbprint: &str) -> Option<()> {
        let token = std::str::from_utf8(authorization).ok()?.strip_prefix("Bearer ")?;
        let (signed, signature) = token.rsplit_once('.')?;
        let (_, claims) = signed.split_once('.')?;
        let signature = URL_SAFE_NO_PAD.decode(signature).ok()?;
        self.key.verify_sig(signed.as_bytes(), &signature).ok()?;
        let claims = URL_SAFE_NO_PAD.decode(claims).ok()?;
        let claims: Claims<'_> = serde_json::from_slice(&claims).ok()?;
        (claims.exp > now() && claims.cnf.thumbprint == thumbprint).then_some(())
    }
}

/// The `x5t#S256` of a certificate in DER.
pub fn thumbprint(certificate: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, certificate))
}

fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}
