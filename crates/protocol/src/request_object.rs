//! Request objects (RFC 9101, CIBA Core §7.1.1): a request as a JWT that its client signed.
//!
//! Given by value alone. A `request_uri` is never fetched: the only ones accepted are those that this server issued (RFC 9126).

use std::time::Duration;

use crate::access_token::CLOCK_LEEWAY;
use crate::client::{Client, ClientId};
use crate::error_code::ErrorCode;
use crate::issuer::Issuer;
use crate::json::{JsonError, JsonObject, JsonTypeError};
use crate::jwk_set::JwkSet;
use crate::jws::{JwsError, JwsPolicy, UnverifiedJws};
use crate::signature_algorithm::SignatureAlgorithm;
use crate::time::Timestamp;

/// How far `exp` may lie ahead of `nbf` and of now, and `nbf` behind now (FAPI 2.0 Message Signing §5.3.1).
pub const REQUEST_OBJECT_LIFETIME_MAX: Duration = Duration::from_secs(60 * 60);

/// The `typ` values of a request object. It may be missing; other kinds of JWT have other values (RFC 8725 §3.11).
const TYPES: [&str; 2] = ["oauth-authz-req+jwt", "JWT"];

/// Why a request object was not accepted: `invalid_request_object` (RFC 9101 §7).
#[derive(Debug, thiserror::Error)]
pub enum RequestObjectError {
    /// Not a JWS, or one whose algorithm, type, key or signature is not acceptable.
    #[error("the request object's signature was not accepted: {0}")]
    Signature(#[from] JwsError),
    /// The claims are not a JSON object without duplicate members.
    #[error("the request object's claims are not a JSON object")]
    Claims(#[source] JsonError),
    /// A claim has the wrong JSON type.
    #[error("in the request object, {0}")]
    ClaimType(#[from] JsonTypeError),
    /// A claim that is needed here is missing.
    #[error("claim `{0}` is missing in the request object")]
    ClaimMissing(&'static str),
    /// `client_id` is not the client.
    #[error("the request object is of client {presented:?}, not of {expected}")]
    ClientId {
        /// What `client_id` says.
        presented: String,
        /// The client.
        expected: ClientId,
    },
    /// `iss` is not the client.
    #[error("the request object's issuer {presented:?} is not the client {expected}")]
    Issuer {
        /// What `iss` says.
        presented: String,
        /// The client.
        expected: ClientId,
    },
    /// `sub` is the client: a client assertion, which must never be taken for a request (RFC 9101 §10.8).
    #[error("the request object's subject is its client, as that of a client assertion")]
    SubjectIsClient,
    /// `aud` does not contain this server.
    #[error(
        "the request object's audience {} does not contain {expected}",
        crate::words::all_or_none(presented)
    )]
    Audience {
        /// What `aud` says.
        presented: Vec<String>,
        /// This server.
        expected: String,
    },
    /// `exp` is over, leeway included.
    #[error("the request object expired at {expired_at}, it is {now}")]
    Expired {
        /// What `exp` says.
        expired_at: Timestamp,
        /// When it was judged.
        now: Timestamp,
    },
    /// `nbf` or `iat` is still to come, leeway included.
    #[error("the request object's `{claim}` is {presented}, it is {now}")]
    InTheFuture {
        /// `nbf` or `iat`.
        claim: &'static str,
        /// What it says.
        presented: Timestamp,
        /// When it was judged.
        now: Timestamp,
    },
    /// `exp` is too far ahead.
    #[error("the request object expires at {expires_at}, more than 60 minutes after {from}")]
    LivesTooLong {
        /// What `exp` says.
        expires_at: Timestamp,
        /// Its `nbf`, or when it was judged.
        from: Timestamp,
    },
    /// `nbf` is too far back.
    #[error("the request object's `nbf` {not_before} is more than 60 minutes before {now}")]
    TooOld {
        /// What `nbf` says.
        not_before: Timestamp,
        /// When it was judged.
        now: Timestamp,
    },
    /// `request` or `request_uri` inside (RFC 9101 §4).
    #[error("the request object contains `{0}`")]
    Nested(&'static str),
}

impl RequestObjectError {
    /// The code that is sent.
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::Signature(_)
            | Self::Claims(_)
            | Self::ClaimType(_)
            | Self::ClaimMissing(_)
            | Self::ClientId { .. }
            | Self::Issuer { .. }
            | Self::SubjectIsClient
            | Self::Audience { .. }
            | Self::Expired { .. }
            | Self::InTheFuture { .. }
            | Self::LivesTooLong { .. }
            | Self::TooOld { .. }
            | Self::Nested(_) => ErrorCode::InvalidRequestObject,
        }
    }
}

/// What a request object is for, and so which claims it needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RequestObjectKind {
    /// An authorization request (RFC 9101): `client_id`. Dates and audience are judged if they are there.
    Authorization,
    /// An authorization request under FAPI 2.0: also `aud`, `exp` and `nbf`, neither of them far away.
    FapiAuthorization,
    /// A backchannel authentication request (CIBA Core §7.1.1): `iss`, `aud`, `exp`, `iat`, `nbf` and `jti`.
    BackchannelAuthentication,
}

/// What a request object is judged by.
#[derive(Debug, Clone, Copy)]
pub struct RequestObjectPolicy<'a> {
    /// What it is for.
    pub kind: RequestObjectKind,
    /// This server.
    pub issuer: &'a Issuer,
    /// The algorithms that the client may sign with.
    pub algorithms: &'a [SignatureAlgorithm],
    /// The time.
    pub now: Timestamp,
}

/// A request object that was taken apart. Nothing in it is true yet; but its form, and the algorithm that it names, are such that it is
/// worth the while to look for the client's keys.
#[derive(Debug, Clone)]
pub struct UnverifiedRequestObject<'a> {
    jws: UnverifiedJws<'a>,
    claims: JsonObject,
}

/// A request object that its client's key signed for this server.
#[derive(Debug, Clone, PartialEq)]
pub struct RequestObject {
    claims: JsonObject,
}

/// By what a request object is known that is good for one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OneTimeUse<'a> {
    /// `jti`
    pub token_id: &'a str,
    /// When it is refused in any case.
    pub remember_until: Timestamp,
    /// `iat`
    pub issued_at: Option<Timestamp>,
}

impl RequestObjectKind {
    fn required_claims(self) -> &'static [&'static str] {
        match self {
            Self::Authorization => &["client_id"],
            Self::FapiAuthorization => &["client_id", "aud", "exp", "nbf"],
            Self::BackchannelAuthentication => &["iss", "aud", "exp", "iat", "nbf", "jti"],
        }
    }

    fn limits_dates(self) -> bool {
        self != Self::Authorization
    }
}

impl RequestObjectPolicy<'_> {
    fn of_jws(&self) -> JwsPolicy<'_> {
        JwsPolicy {
            algorithms: self.algorithms,
            types: &TYPES,
            type_may_be_missing: true,
        }
    }
}

impl<'a> UnverifiedRequestObject<'a> {
    /// Takes a request object apart, before any key is looked for: whoever sends garbage has nobody fetch a client's keys.
    ///
    /// # Errors
    /// About size, form, algorithm, type, and claims that are no JSON object: see [`RequestObjectError`].
    pub fn parse(jwt: &'a str, policy: &RequestObjectPolicy<'_>) -> Result<Self, RequestObjectError> {
        let jws = UnverifiedJws::parse(jwt)?;
        jws.require_permitted(&policy.of_jws())?;
        let claims = JsonObject::parse(jws.unverified_payload()).map_err(RequestObjectError::Claims)?;
        Ok(Self { jws, claims })
    }

    /// Decides whether `client`, whose keys are `keys`, made the request object for this server.
    ///
    /// `keys` are those it registered, by value or as fetched.
    ///
    /// # Errors
    /// Signature, claims there, client, audience, dates, nothing nested, in this order: see [`RequestObjectError`].
    pub fn verify(
        self,
        client: &Client,
        keys: &JwkSet,
        policy: &RequestObjectPolicy<'_>,
    ) -> Result<RequestObject, RequestObjectError> {
        self.jws.verify(&policy.of_jws(), keys)?;
        let claims = self.claims;
        if let Some(missing) = policy
            .kind
            .required_claims()
            .iter()
            .find(|claim| !claims.contains(claim))
        {
            return Err(RequestObjectError::ClaimMissing(missing));
        }
        require_client(&claims, client.client_id())?;
        if let Some(presented) = claims.string_or_strings("aud")?
            && !presented.contains(&policy.issuer.as_str())
        {
            return Err(RequestObjectError::Audience {
                presented: presented.into_iter().map(str::to_owned).collect(),
                expected: policy.issuer.as_str().to_owned(),
            });
        }
        require_dates(&claims, policy)?;
        match ["request", "request_uri"]
            .into_iter()
            .find(|claim| claims.contains(claim))
        {
            Some(nested) => Err(RequestObjectError::Nested(nested)),
            None => Ok(RequestObject { claims }),
        }
    }
}

impl RequestObject {
    /// Its `jti`, until when it has to be remembered once it was used (`exp` and the leeway), and its `iat`; `None` without `jti` or `exp`,
    /// or with a `jti` that is empty.
    pub fn one_time(&self) -> Option<OneTimeUse<'_>> {
        let date = |claim| {
            let date = self.claims.numeric_date(claim).ok().flatten();
            date.map(Timestamp::from_unix_secs)
        };
        let token_id = self.claims.string("jti").ok().flatten();
        Some(OneTimeUse {
            token_id: token_id.filter(|token_id| !token_id.is_empty())?,
            remember_until: date("exp")?.plus(CLOCK_LEEWAY),
            issued_at: date("iat"),
        })
    }

    /// What the client signed.
    pub fn claims(&self) -> &JsonObject {
        &self.claims
    }
}

fn require_client(claims: &JsonObject, expected: &ClientId) -> Result<(), RequestObjectError> {
    if let Some(presented) = claims.string("client_id")?
        && presented != expected.as_str()
    {
        let (presented, expected) = (presented.to_owned(), expected.clone());
        return Err(RequestObjectError::ClientId { presented, expected });
    }
    if let Some(presented) = claims.string("iss")?
        && presented != expected.as_str()
    {
        let (presented, expected) = (presented.to_owned(), expected.clone());
        return Err(RequestObjectError::Issuer { presented, expected });
    }
    match claims.string("sub")? {
        Some(subject) if subject == expected.as_str() => Err(RequestObjectError::SubjectIsClient),
        _ => Ok(()),
    }
}

fn require_dates(claims: &JsonObject, policy: &RequestObjectPolicy<'_>) -> Result<(), RequestObjectError> {
    let now = policy.now;
    let date = |claim: &'static str| {
        claims
            .numeric_date(claim)
            .map(|date| date.map(Timestamp::from_unix_secs))
    };
    let (expires_at, not_before) = (date("exp")?, date("nbf")?);
    if let Some(expired_at) = expires_at.filter(|expires_at| expires_at.plus(CLOCK_LEEWAY) <= now) {
        return Err(RequestObjectError::Expired { expired_at, now });
    }
    for (claim, presented) in [("nbf", not_before), ("iat", date("iat")?)] {
        if let Some(presented) = presented.filter(|presented| now.plus(CLOCK_LEEWAY) < *presented) {
            return Err(RequestObjectError::InTheFuture { claim, presented, now });
        }
    }
    if !policy.kind.limits_dates() {
        return Ok(());
    }
    for from in [not_before.unwrap_or(now), now.plus(CLOCK_LEEWAY)] {
        if let Some(expires_at) = expires_at.filter(|expires_at| from.plus(REQUEST_OBJECT_LIFETIME_MAX) < *expires_at) {
            return Err(RequestObjectError::LivesTooLong { expires_at, from });
        }
    }
    match not_before.filter(|not_before| not_before.plus(REQUEST_OBJECT_LIFETIME_MAX).plus(CLOCK_LEEWAY) < now) {
        Some(not_before) => Err(RequestObjectError::TooOld { not_before, now }),
        None => Ok(()),
    }
}
