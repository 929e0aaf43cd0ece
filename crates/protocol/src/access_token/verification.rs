//! Judges access tokens, those of this product and those of other issuers (RFC 9068 §4).

use crate::access_token::{ACCESS_TOKEN_TYPE, AccessTokenClaims, CLOCK_LEEWAY};
use crate::confirmation::ConfirmationError;
use crate::error_code::ErrorCode;
use crate::introspection::confirmation_of;
use crate::json::{JsonError, JsonObject, JsonTypeError, JsonValue};
use crate::jwk_set::JwkSet;
use crate::jws::{JwsError, JwsPolicy, UnverifiedJws};
use crate::scope::{Scope, ScopeError};
use crate::signature_algorithm::SignatureAlgorithm;
use crate::time::Timestamp;

/// The `typ` values that are taken unless an issuer's policy names others.
pub const DEFAULT_TOKEN_TYPES: [&str; 2] = [ACCESS_TOKEN_TYPE, "application/at+jwt"];
/// Members that no access token has. ID tokens have the hashes (OpenID Connect Core §3.1.3.6), security events and logout
/// tokens the last (RFC 8417 §2.2).
const FOREIGN_MEMBERS: [&str; 3] = ["at_hash", "c_hash", "events"];
/// What Keycloak, which gives all its tokens `typ: JWT` in the header, says in a claim of that name about other tokens.
const FOREIGN_KINDS: [&str; 4] = ["ID", "Refresh", "Offline", "Logout"];

/// What a resource accepts from one issuer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IssuerPolicy {
    /// `iss`, compared octet for octet.
    pub issuer: String,
    /// The algorithms it may sign with.
    pub algorithms: Vec<SignatureAlgorithm>,
    /// The values of `typ` it may use. `JWT`, which also ID tokens have, is in it only if somebody wrote it there.
    pub token_types: Vec<String>,
    /// The identifiers of this resource: one of them must be in `aud`. Never a client identifier.
    pub audience: Vec<String>,
}

impl IssuerPolicy {
    /// The policy for an issuer about which nothing else was said: all our algorithms, RFC 9068 types.
    pub fn new(issuer: impl Into<String>, audience: Vec<String>) -> Self {
        Self {
            issuer: issuer.into(),
            algorithms: SignatureAlgorithm::ALL.to_vec(),
            token_types: DEFAULT_TOKEN_TYPES.map(str::to_owned).to_vec(),
            audience,
        }
    }
}

/// Why an access token was not accepted. For operators; the caller sees `invalid_token`.
#[derive(Debug, thiserror::Error)]
pub enum AccessTokenError {
    /// Not a JWS, or one whose algorithm, type, key or signature is not acceptable.
    #[error("the token's signature was not accepted")]
    Signature(#[from] JwsError),
    /// The claims are not a JSON object without duplicate members.
    #[error("the claims are not a JSON object")]
    Claims(#[source] JsonError),
    /// A claim has the wrong JSON type.
    #[error(transparent)]
    ClaimType(#[from] JsonTypeError),
    /// A claim that every access token has is missing.
    #[error("claim `{0}` is missing")]
    ClaimMissing(&'static str),
    /// `scope` is malformed.
    #[error("the scope is malformed")]
    Scope(#[from] ScopeError),
    /// `iss` is not the issuer that the keys belong to.
    #[error("issuer {presented:?} is not {expected:?}")]
    Issuer {
        /// What `iss` says.
        presented: String,
        /// Whose keys were used.
        expected: String,
    },
    /// None of the audience is this resource.
    #[error("audience {presented:?} does not contain {expected:?}")]
    Audience {
        /// What `aud` says.
        presented: Vec<String>,
        /// What would have been accepted.
        expected: Vec<String>,
    },
    /// `exp` is over, leeway included.
    #[error("expired at {expired_at}, it is {now}")]
    Expired {
        /// What `exp` says.
        expired_at: Timestamp,
        /// When it was judged.
        now: Timestamp,
    },
    /// `nbf` is still to come, leeway included.
    #[error("not valid before {not_before}, it is {now}")]
    NotYetValid {
        /// What `nbf` says.
        not_before: Timestamp,
        /// When it was judged.
        now: Timestamp,
    },
    /// `iat` is still to come, leeway included.
    #[error("issued at {issued_at}, it is {now}")]
    IssuedInTheFuture {
        /// What `iat` says.
        issued_at: Timestamp,
        /// When it was judged.
        now: Timestamp,
    },
    /// A JWT of another kind: an ID token, a logout token or the like.
    #[error("`{member}` shows that this is no access token")]
    OtherKindOfToken {
        /// What gives it away.
        member: &'static str,
    },
    /// `cnf` cannot be verified; the token is not treated as unbound.
    #[error("the confirmation cannot be verified")]
    Confirmation(#[source] ConfirmationError),
}

impl AccessTokenError {
    /// The code that is sent: `invalid_token` for each (RFC 9068 §4).
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::Signature(_)
            | Self::Claims(_)
            | Self::ClaimType(_)
            | Self::ClaimMissing(_)
            | Self::Scope(_)
            | Self::Issuer { .. }
            | Self::Audience { .. }
            | Self::Expired { .. }
            | Self::NotYetValid { .. }
            | Self::IssuedInTheFuture { .. }
            | Self::OtherKindOfToken { .. }
            | Self::Confirmation(_) => ErrorCode::InvalidToken,
        }
    }
}

/// A JWT access token that was taken apart. Its issuer may be read to find the policy and the keys; nothing in it is true yet.
#[derive(Debug)]
pub struct UnverifiedAccessToken<'a> {
    jws: UnverifiedJws<'a>,
    claims: JsonObject,
}

impl<'a> UnverifiedAccessToken<'a> {
    /// Takes a token apart.
    ///
    /// # Errors
    /// [`AccessTokenError::Signature`] and [`AccessTokenError::Claims`] about its form.
    pub fn parse(token: &'a str) -> Result<Self, AccessTokenError> {
        let jws = UnverifiedJws::parse(token)?;
        let claims = JsonObject::parse(jws.unverified_payload()).map_err(AccessTokenError::Claims)?;
        Ok(Self { jws, claims })
    }

    /// The `iss` that someone wrote; `None` if it is no string.
    pub fn unverified_issuer(&self) -> Option<&str> {
        self.claims.string("iss").ok().flatten()
    }

    /// The `kid` that someone wrote.
    pub fn unverified_key_id(&self) -> Option<&str> {
        self.jws.unverified_key_id()
    }

    /// Decides whether the issuer of `policy`, whose keys are `keys`, made this token for this resource, and whether it is
    /// good at `now`.
    ///
    /// # Errors
    /// Signature, issuer, kind, audience, dates and `cnf` are judged in this order: see [`AccessTokenError`].
    pub fn verify(
        &self,
        policy: &IssuerPolicy,
        keys: &JwkSet,
        now: Timestamp,
    ) -> Result<VerifiedAccessToken, AccessTokenError> {
        let types: Vec<&str> = policy.token_types.iter().map(String::as_str).collect();
        let jws_policy = JwsPolicy {
            algorithms: &policy.algorithms,
            types: &types,
            type_may_be_missing: false,
        };
        let verified = self.jws.verify(&jws_policy, keys)?;

        let issuer = self
            .claims
            .string("iss")?
            .ok_or(AccessTokenError::ClaimMissing("iss"))?;
        if issuer != policy.issuer {
            return Err(AccessTokenError::Issuer {
                presented: issuer.to_owned(),
                expected: policy.issuer.clone(),
            });
        }
        let audience = self
            .claims
            .string_or_strings("aud")?
            .ok_or(AccessTokenError::ClaimMissing("aud"))?;
        let is_rfc_9068 = verified.media_type().is_some_and(|presented| {
            DEFAULT_TOKEN_TYPES
                .iter()
                .any(|own| own.eq_ignore_ascii_case(presented))
        });
        if !is_rfc_9068 {
            self.require_access_token(&audience)?;
        }
        if !audience
            .iter()
            .any(|presented| policy.audience.iter().any(|own| own == presented))
        {
            return Err(AccessTokenError::Audience {
                presented: audience.into_iter().map(str::to_owned).collect(),
                expected: policy.audience.clone(),
            });
        }
        let claims = AccessTokenClaims {
            issuer: issuer.to_owned(),
            subject: self.claims.string("sub")?.map(str::to_owned),
            audience: audience.into_iter().map(str::to_owned).collect(),
            client_id: self.client_id()?.map(str::to_owned),
            scope: self.scope()?,
            issued_at: self.date("iat")?,
            not_before: self.date("nbf")?,
            expires_at: self.date("exp")?.ok_or(AccessTokenError::ClaimMissing("exp"))?,
            token_id: self.claims.string("jti")?.map(str::to_owned),
            confirmation: confirmation_of(&self.claims).map_err(AccessTokenError::Confirmation)?,
        };
        require_valid_at(&claims, now)?;
        Ok(VerifiedAccessToken { claims })
    }

    /// Refuses other JWTs of an issuer that gives all of them the same `typ`.
    fn require_access_token(&self, audience: &[&str]) -> Result<(), AccessTokenError> {
        for member in FOREIGN_MEMBERS {
            if self.claims.contains(member) {
                return Err(AccessTokenError::OtherKindOfToken { member });
            }
        }
        if let Some(JsonValue::String(kind)) = self.claims.get("typ")
            && FOREIGN_KINDS.contains(&kind.as_str())
        {
            return Err(AccessTokenError::OtherKindOfToken { member: "typ" });
        }
        // An ID token without hashes, as the code flow may issue it, is still made out to its client and to nobody else.
        if let (Some(client_id), [only]) = (self.client_id()?, audience)
            && *only == client_id
        {
            return Err(AccessTokenError::OtherKindOfToken { member: "aud" });
        }
        Ok(())
    }

    fn client_id(&self) -> Result<Option<&str>, JsonTypeError> {
        match self.claims.string("client_id")? {
            None => self.claims.string("azp"),
            found => Ok(found),
        }
    }

    /// `scope`, or `scp` where an issuer says that instead (Entra as a text, Okta as an array).
    fn scope(&self) -> Result<Scope, AccessTokenError> {
        let words = match self.claims.string("scope")? {
            Some(scope) => scope.to_owned(),
            None => self.claims.string_or_strings("scp")?.unwrap_or_default().join(" "),
        };
        Ok(Scope::parse(&words)?)
    }

    fn date(&self, claim: &'static str) -> Result<Option<Timestamp>, JsonTypeError> {
        Ok(self.claims.numeric_date(claim)?.map(Timestamp::from_unix_secs))
    }
}

/// An access token that an issuer signed for this resource and that was good when it was judged. Its binding is not judged.
///
/// Only [`UnverifiedAccessToken::verify`] makes one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedAccessToken {
    claims: AccessTokenClaims,
}

impl VerifiedAccessToken {
    /// What the issuer says.
    pub fn claims(&self) -> &AccessTokenClaims {
        &self.claims
    }

    /// Judges the dates again, for a token that was verified earlier and is presented once more.
    ///
    /// # Errors
    /// [`AccessTokenError::Expired`], [`AccessTokenError::NotYetValid`], [`AccessTokenError::IssuedInTheFuture`].
    pub fn require_valid_at(&self, now: Timestamp) -> Result<(), AccessTokenError> {
        require_valid_at(&self.claims, now)
    }
}

fn require_valid_at(claims: &AccessTokenClaims, now: Timestamp) -> Result<(), AccessTokenError> {
    if claims.expires_at.plus(CLOCK_LEEWAY) <= now {
        return Err(AccessTokenError::Expired {
            expired_at: claims.expires_at,
            now,
        });
    }
    let latest = now.plus(CLOCK_LEEWAY);
    if let Some(not_before) = claims.not_before.filter(|not_before| latest < *not_before) {
        return Err(AccessTokenError::NotYetValid { not_before, now });
    }
    if let Some(issued_at) = claims.issued_at.filter(|issued_at| latest < *issued_at) {
        return Err(AccessTokenError::IssuedInTheFuture { issued_at, now });
    }
    Ok(())
}

/// Takes a token apart and judges it in one go, for a resource with one issuer.
///
/// # Errors
/// See [`AccessTokenError`].
pub fn verify(
    token: &str,
    policy: &IssuerPolicy,
    keys: &JwkSet,
    now: Timestamp,
) -> Result<VerifiedAccessToken, AccessTokenError> {
    UnverifiedAccessToken::parse(token)?.verify(policy, keys, now)
}
