//! ID tokens (OpenID Connect Core §2), as this server issues them.

use aws_lc_rs::digest::{Algorithm, SHA256, SHA384, SHA512, digest};
use serde_json::{Map, Value, json};

use crate::base64url;
use crate::client::ClientId;
use crate::issuer::Issuer;
use crate::signature_algorithm::SignatureAlgorithm;
use crate::signer::Signer;
use crate::time::Timestamp;
use crate::unsigned_jwt::UnsignedJwt;

/// The `typ` of an ID token. Access tokens have another (RFC 9068 §2.1).
pub const ID_TOKEN_TYPE: &str = "JWT";

/// The members that the server itself decides: a user's claims never replace them.
pub const RESERVED_CLAIMS: [&str; 21] = [
    "iss",
    "sub",
    "aud",
    "exp",
    "nbf",
    "iat",
    "jti",
    "auth_time",
    "nonce",
    "acr",
    "amr",
    "azp",
    "at_hash",
    "c_hash",
    "s_hash",
    "events",
    "cnf",
    "client_id",
    "scope",
    AUTH_REQ_ID_CLAIM,
    REFRESH_TOKEN_HASH_CLAIM,
];

/// The claim that names the backchannel authentication request whose tokens are pushed (CIBA Core §10.3.1).
pub const AUTH_REQ_ID_CLAIM: &str = "urn:openid:params:jwt:claim:auth_req_id";
/// The claim with the hash of the refresh token that is pushed with it (CIBA Core §10.3.1).
pub const REFRESH_TOKEN_HASH_CLAIM: &str = "urn:openid:params:jwt:claim:rt_hash";

/// What an ID token says.
#[derive(Debug, Clone)]
pub struct IdTokenClaims<'a> {
    /// `iss`
    pub issuer: &'a Issuer,
    /// `sub`: the user.
    pub subject: &'a str,
    /// `aud`: the client alone.
    pub client_id: &'a ClientId,
    /// `iat`
    pub issued_at: Timestamp,
    /// `exp`
    pub expires_at: Timestamp,
    /// `auth_time`, if it was asked for.
    pub auth_time: Option<Timestamp>,
    /// `nonce`, exactly as the authorization request had it; absent if it had none.
    pub nonce: Option<&'a str>,
    /// `acr`, if it was asked for and there is one.
    pub acr: Option<&'a str>,
    /// The access token that comes with it. Its hash (`at_hash`, §3.1.3.6) ties the two together, and keeps an ID token from being
    /// taken for an access token by resource servers that accept the type `JWT`.
    pub access_token: Option<&'a str>,
    /// What it is pushed with, if it is.
    pub pushed: Option<PushedWith<'a>>,
    /// Claims about the user that were asked for one by one; [`RESERVED_CLAIMS`] among them are left out.
    pub user_claims: &'a Map<String, Value>,
}

/// What an ID token is pushed with (CIBA Core §10.3.1). The client did not open that connection: the signature over all of it is what
/// keeps tokens from being exchanged for others on the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PushedWith<'a> {
    /// `auth_req_id`
    pub auth_req_id: &'a str,
    /// The refresh token, if there is one.
    pub refresh_token: Option<&'a str>,
}

impl IdTokenClaims<'_> {
    /// Makes header and claims. `signer` has to sign them.
    pub fn encode_unsigned(&self, signer: &dyn Signer) -> UnsignedJwt {
        let mut claims: Map<String, Value> = self
            .user_claims
            .iter()
            .filter(|(name, _)| !RESERVED_CLAIMS.contains(&name.as_str()))
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect();
        let mut add = |name: &str, value: Value| claims.insert(name.to_owned(), value);
        add("iss", json!(self.issuer));
        add("sub", json!(self.subject));
        add("aud", json!(self.client_id));
        add("iat", json!(self.issued_at));
        add("exp", json!(self.expires_at));
        if let Some(auth_time) = self.auth_time {
            add("auth_time", json!(auth_time));
        }
        if let Some(nonce) = self.nonce {
            add("nonce", json!(nonce));
        }
        if let Some(acr) = self.acr {
            add("acr", json!(acr));
        }
        if let Some(access_token) = self.access_token {
            add("at_hash", json!(token_hash(signer.algorithm(), access_token)));
        }
        if let Some(pushed) = self.pushed {
            add(AUTH_REQ_ID_CLAIM, json!(pushed.auth_req_id));
            if let Some(refresh_token) = pushed.refresh_token {
                add(
                    REFRESH_TOKEN_HASH_CLAIM,
                    json!(token_hash(signer.algorithm(), refresh_token)),
                );
            }
        }
        UnsignedJwt::new(signer, ID_TOKEN_TYPE, &Value::Object(claims))
    }
}

/// The left half of a token's hash, by the hash of the algorithm that signs the ID token (§3.1.3.6).
pub fn token_hash(algorithm: SignatureAlgorithm, token: &str) -> String {
    let hash: &'static Algorithm = match algorithm {
        SignatureAlgorithm::Es256 | SignatureAlgorithm::Ps256 | SignatureAlgorithm::Rs256 => &SHA256,
        SignatureAlgorithm::Es384 => &SHA384,
        // Ed25519 hashes by SHA-512 (RFC 8032 §5.1).
        SignatureAlgorithm::EdDsa => &SHA512,
    };
    let digest = digest(hash, token.as_bytes());
    let octets = digest.as_ref();
    base64url::encode(octets.get(..octets.len() / 2).unwrap_or_default())
}
