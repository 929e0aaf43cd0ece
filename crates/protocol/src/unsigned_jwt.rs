//! JWTs that this server makes for others to read (RFC 7519): header and claims, and then the signature.
//!
//! In two steps, because a signature may take long and be made elsewhere than the claims. Access tokens have an
//! [encoder](crate::access_token::AccessTokenEncoder) of their own.

use serde_json::{Value, json};

use crate::base64url;
use crate::signer::{Signer, SigningError};

/// A JWT up to its signature.
#[derive(Debug)]
pub struct UnsignedJwt(String);

impl UnsignedJwt {
    /// Makes header and claims. `signer` has to sign them: the header names its key.
    ///
    /// `media_type` becomes `typ`: different kinds of JWT have to exclude each other (RFC 8725 §3.11).
    pub fn new(signer: &dyn Signer, media_type: &str, claims: &Value) -> Self {
        let header = json!({"alg": signer.algorithm(), "kid": signer.key_id(), "typ": media_type});
        let mut jwt = base64url::encode(header.to_string().as_bytes());
        jwt.push('.');
        base64url::encode_to(claims.to_string().as_bytes(), &mut jwt);
        Self(jwt)
    }

    /// Completes the JWT.
    ///
    /// # Errors
    /// [`SigningError`] if the key cannot be used.
    pub fn sign(self, signer: &dyn Signer) -> Result<String, SigningError> {
        let Self(mut jwt) = self;
        let signature = signer.sign(jwt.as_bytes())?;
        jwt.push('.');
        base64url::encode_to(&signature, &mut jwt);
        Ok(jwt)
    }
}
