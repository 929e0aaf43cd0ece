//! Judges access tokens, those of this product and those of other issuers (RFC 9068 §4).

use crate::access_token::{ACCESS_TOKEN_TYPE, AccessTokenClaims, AccessTokenError, CLOCK_LEEWAY};
use crate::introspection::confirmation_of;
use crate::json::{JsonObject, JsonValue};
use crate::jwk_set::JwkSet;
use crate::jws::{JwsPolicy, UnverifiedJws};
use crate::scope::Scope;
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
    /// Judged in the order of [`AccessTokenError::RULES`].
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
        let mut claims = self.claims()?;

        if claims.issuer != policy.issuer {
            return Err(AccessTokenError::Issuer {
                presented: claims.issuer,
                expected: policy.issuer.clone(),
            });
        }
        let is_rfc_9068 = verified.media_type().is_some_and(|presented| {
            DEFAULT_TOKEN_TYPES
                .iter()
                .any(|own| own.eq_ignore_ascii_case(presented))
        });
        if !is_rfc_9068 {
            self.require_access_token(&claims)?;
        }
        if !claims
            .audience
            .iter()
            .any(|presented| policy.audience.contains(presented))
        {
            return Err(AccessTokenError::Audience {
                presented: claims.audience,
                expected: policy.audience.clone(),
            });
        }
        require_valid_at(&claims, now)?;
        claims.confirmation = confirmation_of(&self.claims).map_err(AccessTokenError::Confirmation)?;
        Ok(VerifiedAccessToken { claims })
    }

    /// The claims with their types, before any is compared. `cnf` is left for the end.
    fn claims(&self) -> Result<AccessTokenClaims, AccessTokenError> {
        let text = |claim: &'static str| self.claims.string(claim).map(|value| value.map(str::to_owned));
        let date = |claim: &'static str| {
            self.claims
                .numeric_date(claim)
                .map(|seconds| seconds.map(Timestamp::from_unix_secs))
        };
        let audience = self
            .claims
            .string_or_strings("aud")?
            .ok_or(AccessTokenError::ClaimMissing("aud"))?;
        let client_id = match text("client_id")? {
            None => text("azp")?,
            found => found,
        };
        // `scp` is what Entra (a text) and Okta (an array) say instead of `scope`.
        let scope = match self.claims.string("scope")? {
            Some(scope) => Scope::parse(scope)?,
            None => Scope::parse(&self.claims.string_or_strings("scp")?.unwrap_or_default().join(" "))?,
        };
        Ok(AccessTokenClaims {
            issuer: text("iss")?.ok_or(AccessTokenError::ClaimMissing("iss"))?,
            subject: text("sub")?,
            audience: audience.into_iter().map(str::to_owned).collect(),
            client_id,
            scope,
            issued_at: date("iat")?,
            not_before: date("nbf")?,
            expires_at: date("exp")?.ok_or(AccessTokenError::ClaimMissing("exp"))?,
            token_id: text("jti")?,
            confirmation: None,
        })
    }

    /// Refuses other JWTs of an issuer that gives all of them the same `typ`.
    fn require_access_token(&self, claims: &AccessTokenClaims) -> Result<(), AccessTokenError> {
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
        if let (Some(client_id), [only]) = (&claims.client_id, claims.audience.as_slice())
            && only == client_id
        {
            return Err(AccessTokenError::OtherKindOfToken { member: "aud" });
        }
        Ok(())
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
