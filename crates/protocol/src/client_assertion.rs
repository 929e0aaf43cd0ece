//! Client authentication by a signed JWT, `private_key_jwt` (RFC 7523 §3, RFC 7521 §4.2): made by clients, judged by servers.

mod error;

use std::time::Duration;

use serde_json::json;
use url::Url;

use crate::access_token::CLOCK_LEEWAY;
use crate::base64url;
use crate::client::{Client, ClientId};
use crate::form::Form;
use crate::issuer::Issuer;
use crate::json::{JsonObject, JsonValue};
use crate::jwk_set::JwkSet;
use crate::jws::{JwsPolicy, UnverifiedJws};
use crate::profile::Profile;
use crate::signer::{Signer, SigningError};
use crate::time::Timestamp;

pub use error::ClientAssertionError;

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

/// Whom an assertion has to be made for.
///
/// One value alone: an assertion for several servers could be replayed by one of them at another. Which values name this
/// server depends on the profile, see [`Profile::requires_issuer_as_audience`].
#[derive(Debug, Clone, Copy)]
pub struct AssertionAudience<'a> {
    /// This server. Always accepted as a single string.
    pub issuer: &'a Issuer,
    /// The URLs of the token endpoint and of the endpoint that was called, each with its alias: accepted like the issuer
    /// (RFC 7523 §3, RFC 9126 §2), and either as the only element of a list, unless the profile is stricter.
    pub endpoint_urls: &'a [Url],
    /// The server's profile; that of the client counts if it is stricter. It limits the algorithms and what `aud` may be.
    pub profile: Profile,
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
    issued_at: Option<Timestamp>,
    remember_until: Timestamp,
}

impl AssertionAudience<'_> {
    fn require(&self, presented: &JsonValue, profile: Profile) -> Result<(), ClientAssertionError> {
        let endpoint_urls = if profile.requires_issuer_as_audience() {
            &[]
        } else {
            self.endpoint_urls
        };
        // Octet for octet, as both are published: a slash more is another name.
        let names_us = |presented: &JsonValue| match presented {
            JsonValue::String(presented) => {
                presented == self.issuer.as_str() || endpoint_urls.iter().any(|url| presented == url.as_str())
            }
            _ => false,
        };
        let is_accepted = match presented {
            JsonValue::Array(values) if !profile.requires_issuer_as_audience() => {
                matches!(values.as_slice(), [only] if names_us(only))
            }
            presented => names_us(presented),
        };
        if is_accepted {
            return Ok(());
        }
        Err(ClientAssertionError::Audience {
            presented: serde_json::to_string(presented).unwrap_or_default(),
            accepted: std::iter::once(self.issuer.as_str())
                .chain(endpoint_urls.iter().map(Url::as_str))
                .map(str::to_owned)
                .collect(),
        })
    }
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

    /// Decides whether `client`, whose keys are `keys`, made this assertion for `server`, and whether it is good at `now`.
    ///
    /// `keys` are those it registered, by value or as fetched. A client of another method makes no assertions: none of its
    /// signatures is of a permitted algorithm.
    ///
    /// # Errors
    /// Judged in the order of [`ClientAssertionError::RULES`].
    pub fn verify(
        &self,
        client: &Client,
        keys: &JwkSet,
        server: &AssertionAudience<'_>,
        now: Timestamp,
    ) -> Result<VerifiedClientAssertion, ClientAssertionError> {
        let algorithms = client.metadata().assertion_algorithms(server.profile);
        let client_id = client.client_id();
        let policy = JwsPolicy {
            algorithms: &algorithms,
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
        let presented = self
            .claims
            .get("aud")
            .ok_or(ClientAssertionError::ClaimMissing("aud"))?;
        server.require(presented, client.metadata().effective_profile(server.profile))?;
        let (issued_at, expires_at) = self.require_dates(now)?;
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
            issued_at,
            // For the whole leeway, and the second in which it ends: else the record could go while the assertion is still good.
            remember_until: expires_at.plus(CLOCK_LEEWAY).plus(Duration::from_secs(1)),
        })
    }

    /// `iat`, if there is one, and `exp`.
    fn require_dates(&self, now: Timestamp) -> Result<(Option<Timestamp>, Timestamp), ClientAssertionError> {
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
        Ok((issued_at, expires_at))
    }
}

impl VerifiedClientAssertion {
    /// Who made it.
    pub fn client_id(&self) -> &ClientId {
        &self.client_id
    }

    /// `jti`: to be spent durably, together with the client's identifier, before
    /// [`AuthenticatedClient::by_assertion`](crate::client_authentication::AuthenticatedClient::by_assertion) is asked. A second
    /// assertion with it is a replay.
    pub fn assertion_id(&self) -> &str {
        &self.assertion_id
    }

    /// `iat`, by which a store that was restored from a backup knows that the assertion was made afterwards.
    pub fn issued_at(&self) -> Option<Timestamp> {
        self.issued_at
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
