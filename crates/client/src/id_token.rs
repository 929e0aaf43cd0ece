//! ID tokens, verified by who asked for them (OpenID Connect Core §3.1.3.7).

use keybound_protocol::access_token::CLOCK_LEEWAY;
use keybound_protocol::client::ClientId;
use keybound_protocol::id_token::{ID_TOKEN_TYPE, token_hash};
use keybound_protocol::issuer::Issuer;
use keybound_protocol::json::{JsonError, JsonObject, JsonTypeError};
use keybound_protocol::jwk_set::JwkSet;
use keybound_protocol::jws::{JwsError, JwsPolicy, UnverifiedJws};
use keybound_protocol::signature_algorithm::SignatureAlgorithm;
use keybound_protocol::time::Timestamp;

/// Why an ID token was not accepted. What came with it is not to be used either.
#[derive(Debug, thiserror::Error)]
pub enum IdTokenError {
    /// Not a JWS, of another type, by an algorithm that is not allowed, or not signed by the issuer.
    #[error("its signature is not accepted")]
    Signature(#[from] JwsError),
    /// The claims are not a JSON object.
    #[error("its claims are not a JSON object")]
    Json(#[from] JsonError),
    /// A claim has the wrong type.
    #[error(transparent)]
    Type(#[from] JsonTypeError),
    /// A claim is missing.
    #[error("claim `{0}` is missing")]
    Missing(&'static str),
    /// Of another issuer.
    #[error("it is of issuer {presented:?}, not of {expected:?}")]
    Issuer {
        /// `iss`
        presented: String,
        /// Who was asked.
        expected: String,
    },
    /// For another client.
    #[error("it is not meant for this client alone")]
    Audience,
    /// Expired.
    #[error("it has expired")]
    Expired,
    /// Made in the future.
    #[error("it was issued in the future")]
    IssuedInFuture,
    /// The answer to another request: `nonce` is another, or there where none was sent.
    #[error("its nonce is not the one of this request")]
    Nonce,
    /// Not of the access token beside it.
    #[error("its at_hash is not that of the access token")]
    AccessTokenHash,
    /// The user signed in longer ago than was asked for.
    #[error("the sign-in is older than max_age allows")]
    AuthenticationTooOld,
    /// Another user than before.
    #[error("it is of another subject than before")]
    Subject,
}

/// What an ID token has to be.
#[derive(Debug, Clone, Copy)]
pub struct IdTokenPolicy<'a> {
    /// Who was asked.
    pub issuer: &'a Issuer,
    /// Who asked.
    pub client_id: &'a ClientId,
    /// By which algorithms it may be signed.
    pub algorithms: &'a [SignatureAlgorithm],
    /// What `nonce` may be.
    pub nonce: ExpectedNonce<'a>,
    /// What was sent as `max_age`, in seconds.
    pub max_age_secs: Option<u64>,
    /// The access token that came with it.
    pub access_token: &'a str,
}

/// What the `nonce` of an ID token may be.
#[derive(Debug, Clone, Copy)]
pub enum ExpectedNonce<'a> {
    /// The one that was sent.
    Sent(&'a str),
    /// None: none was sent.
    NotSent,
    /// That of the first request, if any, which is not known any more: a refresh (OpenID Connect Core §12.2).
    Unknown,
}

/// A verified ID token.
#[derive(Debug, Clone)]
pub struct IdToken {
    subject: String,
    auth_time: Option<Timestamp>,
    claims: JsonObject,
}

impl IdToken {
    /// Verifies an ID token with the issuer's keys.
    ///
    /// `aud` must be this client alone, or name it as `azp`. `at_hash` may be missing, and is compared where it is not.
    ///
    /// # Errors
    /// See [`IdTokenError`].
    pub fn verify(
        text: &str,
        keys: &JwkSet,
        policy: &IdTokenPolicy<'_>,
        now: Timestamp,
    ) -> Result<IdToken, IdTokenError> {
        let jws = UnverifiedJws::parse(text)?;
        let jws_policy = JwsPolicy {
            algorithms: policy.algorithms,
            types: &[ID_TOKEN_TYPE],
            type_may_be_missing: true,
        };
        let verified = jws.verify(&jws_policy, keys)?;
        let claims = JsonObject::parse(verified.payload())?;
        let text = |name| claims.string(name)?.ok_or(IdTokenError::Missing(name));
        let date = |name| claims.numeric_date(name)?.ok_or(IdTokenError::Missing(name));
        let issuer = text("iss")?;
        if issuer != policy.issuer.as_str() {
            return Err(IdTokenError::Issuer {
                presented: issuer.to_owned(),
                expected: policy.issuer.to_string(),
            });
        }
        let subject = text("sub")?.to_owned();
        let audience = claims.string_or_strings("aud")?.ok_or(IdTokenError::Missing("aud"))?;
        let authorized_party = claims.string("azp")?;
        let own = policy.client_id.as_str();
        let is_ours = match audience.as_slice() {
            [only] => *only == own && authorized_party.is_none_or(|party| party == own),
            several => several.contains(&own) && authorized_party == Some(own),
        };
        if !is_ours {
            return Err(IdTokenError::Audience);
        }
        if Timestamp::from_unix_secs(date("exp")?).plus(CLOCK_LEEWAY) <= now {
            return Err(IdTokenError::Expired);
        }
        if Timestamp::from_unix_secs(date("iat")?) > now.plus(CLOCK_LEEWAY) {
            return Err(IdTokenError::IssuedInFuture);
        }
        match (policy.nonce, claims.string("nonce")?) {
            (ExpectedNonce::Sent(expected), Some(presented)) if expected == presented => {}
            (ExpectedNonce::NotSent, None) | (ExpectedNonce::Unknown, _) => {}
            _ => return Err(IdTokenError::Nonce),
        }
        let expected_hash = || token_hash(verified.algorithm(), policy.access_token);
        if claims
            .string("at_hash")?
            .is_some_and(|presented| presented != expected_hash())
        {
            return Err(IdTokenError::AccessTokenHash);
        }
        let auth_time = claims.numeric_date("auth_time")?.map(Timestamp::from_unix_secs);
        if let Some(max_age_secs) = policy.max_age_secs {
            let auth_time = auth_time.ok_or(IdTokenError::Missing("auth_time"))?;
            let limit = std::time::Duration::from_secs(max_age_secs);
            if auth_time.plus(limit).plus(CLOCK_LEEWAY) < now {
                return Err(IdTokenError::AuthenticationTooOld);
            }
        }
        Ok(IdToken {
            subject,
            auth_time,
            claims,
        })
    }

    /// `sub`: who signed in, by the issuer's name for him.
    pub fn subject(&self) -> &str {
        &self.subject
    }

    /// `auth_time`
    pub fn auth_time(&self) -> Option<Timestamp> {
        self.auth_time
    }

    /// Every claim.
    pub fn claims(&self) -> &JsonObject {
        &self.claims
    }
}
