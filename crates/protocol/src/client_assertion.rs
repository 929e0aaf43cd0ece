//! Client authentication by a signed JWT, `private_key_jwt` (RFC 7523 §3, RFC 7521 §4.2): made by clients, judged by servers.

use std::time::Duration;

use serde_json::json;

use crate::access_token::CLOCK_LEEWAY;
use crate::base64url;
use crate::client::ClientId;
use crate::form::Form;
use crate::issuer::Issuer;
use crate::json::{JsonError, JsonObject, JsonTypeError, JsonValue};
use crate::jwk_set::JwkSet;
use crate::jws::{JwsError, JwsPolicy, UnverifiedJws};
use crate::signature_algorithm::SignatureAlgorithm;
use crate::signer::{Signer, SigningError};
use crate::time::Timestamp;

/// The only `client_assertion_type` (RFC 7523 §2.2).
pub const CLIENT_ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
/// How long an assertion may live.
pub const ASSERTION_LIFETIME_MAX: Duration = Duration::from_secs(5 * 60);
/// How long the assertions of our own clients live.
pub const ASSERTION_LIFETIME: Duration = Duration::from_secs(60);
/// The longest `jti` in octets: it has to be remembered.
pub const ASSERTION_ID_BYTES_MAX: usize = 256;

/// The `typ` values of an assertion. It may be missing; another kind of JWT has another value (RFC 8725 §3.11).
const ASSERTION_TYPES: [&str; 2] = ["JWT", "client-authentication+jwt"];

/// Why a client assertion was not accepted. For operators; the caller sees `invalid_client`.
#[derive(Debug, thiserror::Error)]
pub enum ClientAssertionError {
    /// `client_assertion` without `client_assertion_type`, or the reverse.
    #[error("`client_assertion` and `client_assertion_type` belong together")]
    Incomplete,
    /// `client_assertion_type` is another one.
    #[error("client assertion type {0:?} is not supported")]
    AssertionType(String),
    /// Not a JWS, or one whose algorithm, type, key or signature is not acceptable.
    #[error("the assertion's signature was not accepted")]
    Signature(#[from] JwsError),
    /// The claims are not a JSON object without duplicate members.
    #[error("the claims are not a JSON object")]
    Claims(#[source] JsonError),
    /// A claim has the wrong JSON type.
    #[error(transparent)]
    ClaimType(#[from] JsonTypeError),
    /// A claim that every assertion has is missing.
    #[error("claim `{0}` is missing")]
    ClaimMissing(&'static str),
    /// `iss` is not the client.
    #[error("issuer {presented:?} is not the client {expected}")]
    Issuer {
        /// What `iss` says.
        presented: String,
        /// The client.
        expected: ClientId,
    },
    /// `sub` is not the client.
    #[error("subject {presented:?} is not the client {expected}")]
    Subject {
        /// What `sub` says.
        presented: String,
        /// The client.
        expected: ClientId,
    },
    /// `aud` is not this issuer as a single string: another server, an endpoint's URL, or a list.
    #[error("audience {presented} is not the issuer {expected:?}")]
    Audience {
        /// What `aud` says, as JSON.
        presented: String,
        /// The issuer.
        expected: String,
    },
    /// `exp` is over, leeway included.
    #[error("expired at {expired_at}, it is {now}")]
    Expired {
        /// What `exp` says.
        expired_at: Timestamp,
        /// When it was judged.
        now: Timestamp,
    },
    /// It would live longer than [`ASSERTION_LIFETIME_MAX`].
    #[error("expires at {expires_at}, more than 5 minutes after {from}")]
    LivesTooLong {
        /// What `exp` says.
        expires_at: Timestamp,
        /// Its `iat`, or when it was judged.
        from: Timestamp,
    },
    /// `nbf` or `iat` is still to come, leeway included.
    #[error("`{claim}` is {presented}, it is {now}")]
    InTheFuture {
        /// `nbf` or `iat`.
        claim: &'static str,
        /// What it says.
        presented: Timestamp,
        /// When it was judged.
        now: Timestamp,
    },
    /// `jti` is empty or longer than [`ASSERTION_ID_BYTES_MAX`].
    #[error("`jti` is empty or longer than {ASSERTION_ID_BYTES_MAX} octets")]
    AssertionId,
}

/// A client assertion that was taken apart. The client that it names may be looked up; nothing in it is true yet.
#[derive(Debug)]
pub struct UnverifiedClientAssertion<'a> {
    jws: UnverifiedJws<'a>,
    claims: JsonObject,
}

/// A client assertion that its client's key signed for this server, now. It must still be new: see
/// [`assertion_id`](Self::assertion_id).
///
/// Only [`UnverifiedClientAssertion::verify`] makes one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedClientAssertion {
    client_id: ClientId,
    assertion_id: String,
    remember_until: Timestamp,
}

impl<'a> UnverifiedClientAssertion<'a> {
    /// Takes the assertion out of a form; `None` if the form has none.
    ///
    /// # Errors
    /// [`ClientAssertionError::Incomplete`], [`ClientAssertionError::AssertionType`], and errors about its form.
    pub fn from_form(form: &'a Form<'_>) -> Result<Option<Self>, ClientAssertionError> {
        match (form.get("client_assertion_type"), form.get("client_assertion")) {
            (None, None) => Ok(None),
            (Some(CLIENT_ASSERTION_TYPE), Some(assertion)) => Self::parse(assertion).map(Some),
            (Some(other), Some(_)) => Err(ClientAssertionError::AssertionType(other.to_owned())),
            _ => Err(ClientAssertionError::Incomplete),
        }
    }

    /// Takes an assertion apart.
    ///
    /// # Errors
    /// [`ClientAssertionError::Signature`] and [`ClientAssertionError::Claims`] about its form.
    pub fn parse(assertion: &'a str) -> Result<Self, ClientAssertionError> {
        let jws = UnverifiedJws::parse(assertion)?;
        let claims = JsonObject::parse(jws.unverified_payload()).map_err(ClientAssertionError::Claims)?;
        Ok(Self { jws, claims })
    }

    /// The client that someone wrote into `sub`; `None` if that cannot be a client's identifier.
    pub fn unverified_client_id(&self) -> Option<ClientId> {
        self.claims
            .string("sub")
            .ok()
            .flatten()
            .and_then(|text| ClientId::parse(text).ok())
    }

    /// The `kid` that someone wrote.
    pub fn unverified_key_id(&self) -> Option<&str> {
        self.jws.unverified_key_id()
    }

    /// Decides whether `client_id`, whose keys are `keys`, made this assertion for the server `issuer`, and whether it is good at
    /// `now`.
    ///
    /// `algorithms` are those that the client may use:
    /// [`ClientMetadata::assertion_algorithms`](crate::client_metadata::ClientMetadata::assertion_algorithms).
    ///
    /// # Errors
    /// Signature, client, audience, dates and `jti` are judged in this order: see [`ClientAssertionError`].
    pub fn verify(
        &self,
        client_id: &ClientId,
        keys: &JwkSet,
        algorithms: &[SignatureAlgorithm],
        issuer: &Issuer,
        now: Timestamp,
    ) -> Result<VerifiedClientAssertion, ClientAssertionError> {
        let policy = JwsPolicy {
            algorithms,
            types: &ASSERTION_TYPES,
            type_may_be_missing: true,
        };
        self.jws.verify(&policy, keys)?;

        let presented = self
            .claims
            .string("iss")?
            .ok_or(ClientAssertionError::ClaimMissing("iss"))?;
        if presented != client_id.as_str() {
            let (presented, expected) = (presented.to_owned(), client_id.clone());
            return Err(ClientAssertionError::Issuer { presented, expected });
        }
        let presented = self
            .claims
            .string("sub")?
            .ok_or(ClientAssertionError::ClaimMissing("sub"))?;
        if presented != client_id.as_str() {
            let (presented, expected) = (presented.to_owned(), client_id.clone());
            return Err(ClientAssertionError::Subject { presented, expected });
        }
        // One string and that the issuer: an assertion made for an endpoint or for several servers could be replayed by one of
        // them at another (FAPI 2.0 §5.3.2.1). The issuer is the same at every alias.
        match self
            .claims
            .get("aud")
            .ok_or(ClientAssertionError::ClaimMissing("aud"))?
        {
            JsonValue::String(presented) if presented == issuer.as_str() => {}
            other => {
                return Err(ClientAssertionError::Audience {
                    presented: serde_json::to_string(other).unwrap_or_default(),
                    expected: issuer.as_str().to_owned(),
                });
            }
        }
        let expires_at = self.require_dates(now)?;
        let assertion_id = self
            .claims
            .string("jti")?
            .ok_or(ClientAssertionError::ClaimMissing("jti"))?;
        if assertion_id.is_empty() || assertion_id.len() > ASSERTION_ID_BYTES_MAX {
            return Err(ClientAssertionError::AssertionId);
        }
        Ok(VerifiedClientAssertion {
            client_id: client_id.clone(),
            assertion_id: assertion_id.to_owned(),
            // For the whole leeway, and the second in which it ends: else the record could go while the assertion is still good.
            remember_until: expires_at.plus(CLOCK_LEEWAY).plus(Duration::from_secs(1)),
        })
    }

    fn require_dates(&self, now: Timestamp) -> Result<Timestamp, ClientAssertionError> {
        let date = |claim: &'static str| {
            self.claims
                .numeric_date(claim)
                .map(|date| date.map(Timestamp::from_unix_secs))
        };
        let expires_at = date("exp")?.ok_or(ClientAssertionError::ClaimMissing("exp"))?;
        if expires_at.plus(CLOCK_LEEWAY) <= now {
            return Err(ClientAssertionError::Expired {
                expired_at: expires_at,
                now,
            });
        }
        let latest = now.plus(CLOCK_LEEWAY);
        let issued_at = date("iat")?;
        for (claim, presented) in [("nbf", date("nbf")?), ("iat", issued_at)] {
            if let Some(presented) = presented.filter(|presented| latest < *presented) {
                return Err(ClientAssertionError::InTheFuture { claim, presented, now });
            }
        }
        // By its own account if it gives one, and in any case not longer from now on: it has to be remembered until then.
        for from in [issued_at.unwrap_or(latest), latest] {
            if from.plus(ASSERTION_LIFETIME_MAX) < expires_at {
                return Err(ClientAssertionError::LivesTooLong { expires_at, from });
            }
        }
        Ok(expires_at)
    }
}

impl VerifiedClientAssertion {
    /// Who made it.
    pub fn client_id(&self) -> &ClientId {
        &self.client_id
    }

    /// `jti`: to be spent, together with the client's identifier, before anything is issued. A second assertion with it is a replay.
    pub fn assertion_id(&self) -> &str {
        &self.assertion_id
    }

    /// Until when the spent `jti` has to be remembered.
    pub fn remember_until(&self) -> Timestamp {
        self.remember_until
    }
}

/// Makes a client assertion, good for [`ASSERTION_LIFETIME`] and for one use.
///
/// `assertion_id` becomes `jti` and must never be used again.
///
/// # Errors
/// [`SigningError`] if the key cannot be used.
pub fn client_assertion(
    signer: &dyn Signer,
    client_id: &ClientId,
    issuer: &Issuer,
    assertion_id: &str,
    now: Timestamp,
) -> Result<String, SigningError> {
    // Not `client-authentication+jwt`: servers built on the usual Java library refuse every type but this.
    let header = json!({"alg": signer.algorithm(), "kid": signer.key_id(), "typ": "JWT"});
    let claims = json!({
        "iss": client_id,
        "sub": client_id,
        "aud": issuer,
        "jti": assertion_id,
        "iat": now,
        "exp": now.plus(ASSERTION_LIFETIME),
    });
    let mut assertion = base64url::encode(header.to_string().as_bytes());
    assertion.push('.');
    base64url::encode_to(claims.to_string().as_bytes(), &mut assertion);
    let signature = signer.sign(assertion.as_bytes())?;
    assertion.push('.');
    base64url::encode_to(&signature, &mut assertion);
    Ok(assertion)
}
