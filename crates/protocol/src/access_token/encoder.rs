//! Makes access tokens: one buffer, one base64 pass, one signature.
//!
//! What does not change from token to token is bytes beforehand: the JWT header per signing key, the constant claims per client.
//! No JSON value is built on this path.

use std::fmt::{self, Write as _};
use std::sync::Arc;

use crate::access_token::ACCESS_TOKEN_TYPE;
use crate::base64url;
use crate::client::ClientId;
use crate::confirmation::{CertificateThumbprint, Confirmation};
use crate::grant_id::GrantId;
use crate::issuer::Issuer;
use crate::key_thumbprint::KeyThumbprint;
use crate::resource::ResourceUri;
use crate::scope::Scope;
use crate::signature_algorithm::SignatureAlgorithm;
use crate::signer::{Signer, SigningError};
use crate::time::Timestamp;

/// How many random octets a token id is made of.
pub const TOKEN_ID_RANDOM_BYTES: usize = 16;

/// A token's identifier, `jti`: 22 characters of base64url; of a grant's token behind the grant's name and a dot.
///
/// It needs to be distinct, not secret; 128 random bits are.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct TokenId(Box<str>);

impl TokenId {
    /// Makes an identifier of random octets.
    pub fn from_random(random: [u8; TOKEN_ID_RANDOM_BYTES]) -> Self {
        Self(base64url::encode(&random).into())
    }

    /// Makes the identifier of a token of a grant: what ends the grant names all of them by how they begin.
    pub fn of_grant(grant_id: &GrantId, random: [u8; TOKEN_ID_RANDOM_BYTES]) -> Self {
        let mut text = grant_id.token_id_prefix();
        base64url::encode_to(&random, &mut text);
        Self(text.into())
    }

    /// The identifier's text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TokenId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// What differs from token to token.
#[derive(Debug, Clone, Copy)]
pub struct IssuedClaims<'a> {
    /// `aud`: at least one (RFC 9068 §3), else the token would be good nowhere.
    pub audience: &'a [ResourceUri],
    /// `scope`, left out if empty.
    pub scope: &'a Scope,
    /// `iat`
    pub issued_at: Timestamp,
    /// `exp`
    pub expires_at: Timestamp,
    /// `jti`
    pub token_id: &'a TokenId,
    /// `cnf`
    pub confirmation: Option<&'a Confirmation>,
    /// Whom it speaks for; `None` for the client itself (RFC 9068 §2.2).
    pub on_behalf_of: Option<OnBehalfOf<'a>>,
}

/// What a token says about the user whom it speaks for.
#[derive(Debug, Clone, Copy)]
pub struct OnBehalfOf<'a> {
    /// `sub`
    pub subject: &'a str,
    /// `auth_time`: when the user had signed in (RFC 9068 §2.2.1).
    pub auth_time: Option<Timestamp>,
    /// `acr`: how the user had signed in.
    pub acr: Option<&'a str>,
    /// `authorization_details` (RFC 9396 §9.1), those that concern the audience: the JSON text of an array.
    pub authorization_details: Option<&'a str>,
    /// `act`: who acts for that user (RFC 8693 §4.1), the JSON text of an object.
    pub actor: Option<&'a str>,
}

/// A signing key with its encoded header: `base64url({"alg":…,"kid":…,"typ":"at+jwt"}).`
#[derive(Debug, Clone)]
pub struct PreparedSigner {
    signer: Arc<dyn Signer>,
    header: Box<str>,
    /// What the dot and the encoded signature need.
    signature_room: usize,
}

impl PreparedSigner {
    /// Prepares a signing key.
    pub fn new(signer: Arc<dyn Signer>) -> Self {
        let header = format!(
            r#"{{"alg":"{}","kid":{},"typ":"{ACCESS_TOKEN_TYPE}"}}"#,
            signer.algorithm(),
            json_string(signer.key_id()),
        );
        let mut encoded = base64url::encode(header.as_bytes());
        encoded.push('.');
        // An RSA key may be longer than those that we make: then the buffer grows once.
        let signature_room = match signer.algorithm() {
            SignatureAlgorithm::Es256 | SignatureAlgorithm::EdDsa => 87,
            SignatureAlgorithm::Es384 => 129,
            SignatureAlgorithm::Ps256 | SignatureAlgorithm::Rs256 => 513,
        };
        Self {
            signer,
            header: encoded.into(),
            signature_room,
        }
    }

    /// The key itself.
    pub fn signer(&self) -> &Arc<dyn Signer> {
        &self.signer
    }

    /// Completes a token that [`AccessTokenEncoder::encode_unsigned`] began with this signer.
    ///
    /// # Errors
    /// [`SigningError`] if the key cannot be used.
    pub fn sign(&self, UnsignedAccessToken(mut token): UnsignedAccessToken) -> Result<String, SigningError> {
        let signature = self.signer.sign(token.as_bytes())?;
        token.push('.');
        base64url::encode_to(&signature, &mut token);
        Ok(token)
    }
}

/// An access token up to its signature: header and claims.
///
/// What signs need not run where the request is answered: [`SignatureAlgorithm::signs_slowly`].
#[derive(Debug)]
pub struct UnsignedAccessToken(String);

/// Makes the access tokens of one client.
///
/// Without anybody whom it speaks for, `sub` is the client (RFC 9068 §2.2).
#[derive(Debug, Clone)]
pub struct AccessTokenEncoder {
    /// `{"iss":…,"client_id":…,"sub":…`
    constant_claims: Box<str>,
    /// How much of that comes before `,"sub"`.
    before_subject: usize,
}

impl AccessTokenEncoder {
    /// Prepares the constant claims of a client's tokens.
    pub fn new(issuer: &Issuer, client_id: &ClientId) -> Self {
        let issuer = json_string(issuer.as_str());
        let client_id = json_string(client_id.as_str());
        let mut constant_claims = format!(r#"{{"iss":{issuer},"client_id":{client_id}"#);
        let before_subject = constant_claims.len();
        constant_claims.push_str(r#","sub":"#);
        constant_claims.push_str(&client_id);
        Self {
            constant_claims: constant_claims.into(),
            before_subject,
        }
    }

    /// Makes and signs one token.
    ///
    /// # Errors
    /// [`SigningError`] if the key cannot be used.
    pub fn encode(&self, signer: &PreparedSigner, claims: &IssuedClaims<'_>) -> Result<String, SigningError> {
        signer.sign(self.encode_unsigned(signer, claims))
    }

    /// Makes one token as far as its signature, by which `signer` has to complete it: the header names its key.
    pub fn encode_unsigned(&self, signer: &PreparedSigner, claims: &IssuedClaims<'_>) -> UnsignedAccessToken {
        let mut json = String::with_capacity(self.constant_claims.len() + 512);
        match &claims.on_behalf_of {
            None => json.push_str(&self.constant_claims),
            Some(user) => {
                let (before_subject, _) = self.constant_claims.split_at(self.before_subject);
                json.push_str(before_subject);
                user.write(&mut json);
            }
        }
        // Writing to a string cannot fail. None of these texts can need an escape: see `ResourceUri`, `Scope`, `TokenId`.
        let _ = match claims.audience {
            [one] => write!(json, r#","aud":"{one}""#),
            many => {
                json.push_str(r#","aud":["#);
                for (position, one) in many.iter().enumerate() {
                    json.push_str(if position == 0 { "\"" } else { ",\"" });
                    json.push_str(one.as_str());
                    json.push('"');
                }
                json.push(']');
                Ok(())
            }
        };
        if !claims.scope.is_empty() {
            json.push_str(r#","scope":""#);
            json.push_str(claims.scope.as_str());
            json.push('"');
        }
        let (issued_at, expires_at) = (claims.issued_at.unix_secs(), claims.expires_at.unix_secs());
        let _ = write!(
            json,
            r#","iat":{issued_at},"exp":{expires_at},"jti":"{}""#,
            claims.token_id
        );
        if let Some(confirmation) = claims.confirmation {
            let members = [
                (
                    "x5t#S256",
                    confirmation.certificate().map(CertificateThumbprint::to_text),
                ),
                ("jkt", confirmation.key().map(KeyThumbprint::to_text)),
            ];
            let mut separator = r#","cnf":{"#;
            for (name, text) in members {
                let Some(text) = text else { continue };
                let _ = write!(json, r#"{separator}"{name}":"{text}""#);
                separator = ",";
            }
            json.push('}');
        }
        json.push('}');

        let mut token = String::with_capacity(signer.header.len() + json.len() * 4 / 3 + 4 + signer.signature_room);
        token.push_str(&signer.header);
        base64url::encode_to(json.as_bytes(), &mut token);
        UnsignedAccessToken(token)
    }
}

impl OnBehalfOf<'_> {
    /// Appends the claims, each with a comma before it.
    fn write(&self, json: &mut String) {
        let mut member = |name: &str, value: &str| {
            json.push_str(",\"");
            json.push_str(name);
            json.push_str("\":");
            json.push_str(value);
        };
        member("sub", &json_string(self.subject));
        if let Some(auth_time) = self.auth_time {
            member("auth_time", &auth_time.unix_secs().to_string());
        }
        if let Some(acr) = self.acr {
            member("acr", &json_string(acr));
        }
        if let Some(authorization_details) = self.authorization_details {
            member("authorization_details", authorization_details);
        }
        if let Some(actor) = self.actor {
            member("act", actor);
        }
    }
}

/// A text as JSON, quotes included.
fn json_string(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
