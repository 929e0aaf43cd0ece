//! Access tokens of this server: made, found again, revoked.
//!
//! A JWT is made without any write; that it was issued is recorded in batches. An opaque token exists once its
//! hash is durable, and is nowhere but in the answer.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aws_lc_rs::error::Unspecified;
use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use keybound_protocol::access_token::encoder::TOKEN_ID_RANDOM_BYTES;
use keybound_protocol::access_token::{
    ACCESS_TOKEN_TYPE, AccessTokenEncoder, CLOCK_LEEWAY, IssuedClaims, OnBehalfOf, TokenId,
};
use keybound_protocol::base64url;
use keybound_protocol::client::ClientId;
use keybound_protocol::client_authentication::IdentifiedClient;
use keybound_protocol::confirmation::Confirmation;
use keybound_protocol::grant_id::GrantId;
use keybound_protocol::issuer::Issuer;
use keybound_protocol::json::{JsonObject, JsonValue};
use keybound_protocol::jws::{JwsPolicy, UnverifiedJws};
use keybound_protocol::resource::ResourceUri;
use keybound_protocol::scope::Scope;
use keybound_protocol::signature_algorithm::SignatureAlgorithm;
use keybound_protocol::signer::SigningError;
use keybound_protocol::time::Timestamp;
use zeroize::Zeroizing;

use keybound_store::{
    AccessTokenHash, AccessTokenReference, AccessTokenState, AccessTokens as StoredAccessTokens, AuditEntry,
    IssuedToken, IssuedTokenRecorder, OpaqueAccessToken, RecordAccessToken, Revocations, RevokeAccessToken, StoreError,
    TokenMarks, TokenRevocation,
};

use crate::settings::ACCESS_TOKEN_LIFETIME_MAX;
use crate::signing_keys::SigningKeys;

/// Random octets of an opaque token: 256 bits, where RFC 6749 §10.10 wants 128.
const OPAQUE_TOKEN_RANDOM_BYTES: usize = 32;

/// Makes, finds and revokes access tokens.
pub(crate) struct AccessTokens {
    pub(crate) keys: Arc<SigningKeys>,
    pub(crate) stored: Arc<dyn StoredAccessTokens>,
    pub(crate) revocations: Arc<dyn Revocations>,
    pub(crate) issued: IssuedTokenRecorder,
    pub(crate) random: SystemRandom,
    pub(crate) token_ids: TokenIds,
}

/// Random octets for token ids, drawn in advance: one call of the generator costs as much as the rest of a token's claims.
///
/// An id has to be distinct, not secret. What is secret, an opaque token, is drawn for itself.
pub(crate) struct TokenIds(Mutex<DrawnInAdvance>);

struct DrawnInAdvance {
    octets: [u8; TOKEN_ID_RANDOM_BYTES * 128],
    used: usize,
}

/// What a token is to say.
#[derive(Clone, Copy)]
pub(crate) struct NewAccessToken<'a> {
    /// To whom it is issued. There is no way to make a token for a client that was not identified in this request.
    pub(crate) recipient: &'a IdentifiedClient,
    /// What that client's tokens have in common.
    pub(crate) encoder: &'a AccessTokenEncoder,
    pub(crate) scope: &'a Scope,
    pub(crate) audience: &'a ResourceUri,
    /// The certificate it is bound to; `None` only for a client whose tokens are not bound.
    pub(crate) confirmation: Option<&'a Confirmation>,
    /// The user whom it speaks for; `None` for the client itself.
    pub(crate) on_behalf_of: Option<OnBehalfOf<'a>>,
    pub(crate) issued_at: Timestamp,
    pub(crate) lifetime: Duration,
}

/// An opaque token that nobody has yet. It counts once its record is durable.
pub(crate) struct UnrecordedToken {
    /// What is handed out.
    pub(crate) text: Zeroizing<String>,
    /// What is stored.
    pub(crate) record: (AccessTokenHash, OpaqueAccessToken),
}

/// Why a token could not be made. All of it is our fault.
#[derive(Debug, thiserror::Error)]
pub(crate) enum IssueError {
    #[error("the random number generator failed")]
    NoRandomness,
    #[error("the same random number came twice")]
    RandomnessRepeated,
    #[error(transparent)]
    Signing(#[from] SigningError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<Unspecified> for IssueError {
    fn from(_: Unspecified) -> IssueError {
        IssueError::NoRandomness
    }
}

/// A token of this server that counts now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LiveToken {
    pub(crate) token_id: String,
    pub(crate) client_id: ClientId,
    pub(crate) subject: String,
    pub(crate) scope: Scope,
    pub(crate) audience: Vec<String>,
    pub(crate) auth_time: Option<Timestamp>,
    pub(crate) acr: Option<String>,
    /// An array of objects.
    pub(crate) authorization_details: Option<serde_json::Value>,
    pub(crate) confirmation: Option<Confirmation>,
    pub(crate) issued_at: Timestamp,
    pub(crate) expires_at: Timestamp,
}

/// The outcome of [`AccessTokens::revoke`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Revoked {
    /// It does not count any more, or never did.
    Done,
    /// It belongs to another client and still counts.
    IssuedToAnother,
}

impl Default for TokenIds {
    fn default() -> TokenIds {
        let octets = [0; TOKEN_ID_RANDOM_BYTES * 128];
        TokenIds(Mutex::new(DrawnInAdvance {
            used: octets.len(),
            octets,
        }))
    }
}

impl TokenIds {
    fn draw(&self, into: &mut [u8; TOKEN_ID_RANDOM_BYTES], random: &SystemRandom) -> Result<(), Unspecified> {
        let mut drawn = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if drawn.used + into.len() > drawn.octets.len() {
            random.fill(&mut drawn.octets)?;
            drawn.used = 0;
        }
        let used = drawn.used;
        if let Some(octets) = drawn.octets.get(used..used + into.len()) {
            into.copy_from_slice(octets);
        }
        drawn.used += into.len();
        Ok(())
    }
}

impl AccessTokens {
    /// Makes a JWT. Nothing is waited for, unless the key is of a kind that signs slowly.
    pub(crate) async fn issue_jwt(&self, token: NewAccessToken<'_>) -> Result<String, IssueError> {
        let token_id = self.token_id(None)?;
        self.sign_jwt(&token_id, token).await
    }

    /// Makes the JWT that has this `jti`: what is used once is spent between the two.
    pub(crate) async fn sign_jwt(&self, token_id: &TokenId, token: NewAccessToken<'_>) -> Result<String, IssueError> {
        let expires_at = token.issued_at.plus(token.lifetime);
        let ring = self.keys.ring();
        let claims = IssuedClaims {
            audience: std::slice::from_ref(token.audience),
            scope: token.scope,
            issued_at: token.issued_at,
            expires_at,
            token_id,
            confirmation: token.confirmation,
            on_behalf_of: token.on_behalf_of,
        };
        let unsigned = token.encoder.encode_unsigned(&ring.signer, &claims);
        let key_id = Arc::clone(&ring.key_id);
        let algorithm = ring.signer.signer().algorithm();
        let encoded = if algorithm.signs_slowly() {
            // This thread serves many connections: none of them waits for another one's signature.
            let signer = ring.signer.clone();
            drop(ring);
            tokio::task::spawn_blocking(move || signer.sign(unsigned))
                .await
                .unwrap_or(Err(SigningError { algorithm }))?
        } else {
            ring.signer.sign(unsigned)?
        };
        // Full only when the database has been away for long; then the token is counted, and its record is the request log's.
        self.issued.record(IssuedToken {
            token_id: token_id.as_str().to_owned(),
            client_id: token.recipient.client().client_id().clone(),
            thumbprint: token.confirmation.and_then(Confirmation::certificate).copied(),
            key_id,
            issued_at: token.issued_at,
            expires_at,
        });
        Ok(encoded)
    }

    /// Makes an opaque token, once its hash is durable.
    pub(crate) async fn issue_opaque(
        &self,
        token: NewAccessToken<'_>,
        entry: AuditEntry,
    ) -> Result<String, IssueError> {
        let UnrecordedToken { text, record } = self.draw_opaque(&self.token_id(None)?, token)?;
        let (hash, record) = record;
        match self.stored.record_opaque_access_token(hash, record, entry).await? {
            RecordAccessToken::Recorded => Ok(text.to_string()),
            RecordAccessToken::AlreadyRecorded => Err(IssueError::RandomnessRepeated),
        }
    }

    /// Draws an opaque token that has this `jti`, for a verb that records it with something else.
    pub(crate) fn draw_opaque(
        &self,
        token_id: &TokenId,
        token: NewAccessToken<'_>,
    ) -> Result<UnrecordedToken, IssueError> {
        let text = self.draw_secret()?;
        let client_id = token.recipient.client().client_id();
        let user = token.on_behalf_of;
        let record = OpaqueAccessToken {
            token_id: token_id.as_str().to_owned(),
            client_id: client_id.clone(),
            subject: user.map_or(client_id.as_str(), |user| user.subject).to_owned(),
            scope: token.scope.as_str().to_owned(),
            audience: vec![token.audience.as_str().to_owned()],
            authorization_details: user.and_then(|user| user.authorization_details).map(str::to_owned),
            auth_time: user.and_then(|user| user.auth_time),
            acr: user.and_then(|user| user.acr).map(str::to_owned),
            thumbprint: token.confirmation.and_then(Confirmation::certificate).copied(),
            key: token.confirmation.and_then(Confirmation::key).copied(),
            issued_at: token.issued_at,
            expires_at: token.issued_at.plus(token.lifetime),
        };
        let hash = AccessTokenHash::of_token(&text);
        Ok(UnrecordedToken {
            text,
            record: (hash, record),
        })
    }

    /// 256 random bits as text: an opaque access token, a refresh token, a code.
    pub(crate) fn draw_secret(&self) -> Result<Zeroizing<String>, IssueError> {
        let mut random = Zeroizing::new([0; OPAQUE_TOKEN_RANDOM_BYTES]);
        self.random.fill(random.as_mut())?;
        Ok(Zeroizing::new(base64url::encode(random.as_ref())))
    }

    /// The token, if this server issued it and it counts at `now`: neither expired nor revoked in any way.
    ///
    /// # Errors
    /// [`StoreError`]: whether it is revoked is not known then.
    pub(crate) fn find(&self, token: &str, issuer: &Issuer, now: Timestamp) -> Result<Option<LiveToken>, StoreError> {
        let found = match token.contains('.') {
            true => self.find_jwt(token, issuer, now)?,
            false => self.find_opaque(token, now)?,
        };
        Ok(found.filter(|token| now < token.expires_at))
    }

    /// Revokes a token of `client_id`. Unknown and expired ones need nothing.
    ///
    /// # Errors
    /// [`StoreError`]: it may still count.
    pub(crate) async fn revoke(
        &self,
        token: &str,
        issuer: &Issuer,
        client_id: &ClientId,
        entry: AuditEntry,
    ) -> Result<Revoked, StoreError> {
        let reference = match token.contains('.') {
            true => match self.verified_jwt(token, issuer) {
                Some((token, _)) if token.expires_at.plus(CLOCK_LEEWAY) <= entry.at => return Ok(Revoked::Done),
                Some((token, _)) => AccessTokenReference::Jwt {
                    token_id: token.token_id,
                    client_id: token.client_id,
                    // A resource server accepts it for the leeway longer, and in the second in which that ends.
                    until: token.expires_at.plus(CLOCK_LEEWAY).plus(Duration::from_secs(1)),
                },
                None => return Ok(Revoked::Done),
            },
            false => AccessTokenReference::Opaque(AccessTokenHash::of_token(token)),
        };
        let revocation = TokenRevocation {
            token: reference,
            issued_to: Some(client_id.clone()),
        };
        Ok(match self.stored.revoke_access_token(revocation, entry).await? {
            RevokeAccessToken::Revoked | RevokeAccessToken::AlreadyRevoked | RevokeAccessToken::Unknown => {
                Revoked::Done
            }
            RevokeAccessToken::IssuedToAnother => Revoked::IssuedToAnother,
        })
    }

    /// A new `jti`: of a token of this grant, if there is one.
    pub(crate) fn token_id(&self, grant_id: Option<&GrantId>) -> Result<TokenId, IssueError> {
        let mut random = [0; TOKEN_ID_RANDOM_BYTES];
        self.token_ids.draw(&mut random, &self.random)?;
        Ok(match grant_id {
            Some(grant_id) => TokenId::of_grant(grant_id, random),
            None => TokenId::from_random(random),
        })
    }

    fn find_jwt(&self, token: &str, issuer: &Issuer, now: Timestamp) -> Result<Option<LiveToken>, StoreError> {
        let Some((token, key_id)) = self.verified_jwt(token, issuer) else {
            return Ok(None);
        };
        let marks = TokenMarks {
            token_id: &token.token_id,
            client_id: &token.client_id,
            thumbprint: token.confirmation.as_ref().and_then(Confirmation::certificate),
            key_id: Some(&key_id),
            issued_at: token.issued_at,
        };
        let denied = self.revocations.find_revocation(marks, now)?.is_some();
        Ok((!denied).then_some(token))
    }

    fn find_opaque(&self, token: &str, now: Timestamp) -> Result<Option<LiveToken>, StoreError> {
        let Some(found) = self.stored.find_access_token(&AccessTokenHash::of_token(token), now)? else {
            return Ok(None);
        };
        let token = found.token;
        let Ok(scope) = Scope::parse(&token.scope) else {
            return Ok(None);
        };
        let live = LiveToken {
            token_id: token.token_id,
            client_id: token.client_id,
            subject: token.subject,
            scope,
            audience: token.audience,
            auth_time: token.auth_time,
            acr: token.acr,
            authorization_details: token
                .authorization_details
                .and_then(|text| serde_json::from_str(&text).ok()),
            // A token is bound to one of them.
            confirmation: token
                .thumbprint
                .map(Confirmation::certificate_bound)
                .or(token.key.map(Confirmation::key_bound)),
            issued_at: token.issued_at,
            expires_at: token.expires_at,
        };
        Ok(match found.state {
            AccessTokenState::Live => Some(live),
            AccessTokenState::Revoked | AccessTokenState::Void => None,
        })
    }

    /// A JWT that one of our published keys signed as an access token of this issuer, and the `kid`. Its dates are not judged.
    fn verified_jwt(&self, token: &str, issuer: &Issuer) -> Option<(LiveToken, String)> {
        let jws = UnverifiedJws::parse(token).ok()?;
        let ring = self.keys.ring();
        let policy = JwsPolicy {
            algorithms: &SignatureAlgorithm::ALL,
            types: &[ACCESS_TOKEN_TYPE],
            type_may_be_missing: false,
        };
        let verified = jws.verify(&policy, &ring.published).ok()?;
        let claims = JsonObject::parse(verified.payload()).ok()?;
        let text = |claim: &'static str| claims.string(claim).ok().flatten();
        let date = |claim: &'static str| claims.numeric_date(claim).ok().flatten().map(Timestamp::from_unix_secs);
        if text("iss")? != issuer.as_str() {
            return None;
        }
        let confirmation = match claims.get("cnf") {
            None => None,
            // What we signed can be read; a token with a `cnf` that cannot is never taken for an unbound one.
            Some(cnf) => Some(Confirmation::parse(&serde_json::to_vec::<JsonValue>(cnf).ok()?).ok()?),
        };
        let token = LiveToken {
            token_id: text("jti")?.to_owned(),
            client_id: ClientId::parse(text("client_id")?).ok()?,
            subject: text("sub")?.to_owned(),
            scope: Scope::parse(text("scope").unwrap_or_default()).ok()?,
            audience: claims
                .string_or_strings("aud")
                .ok()??
                .into_iter()
                .map(str::to_owned)
                .collect(),
            auth_time: date("auth_time"),
            acr: text("acr").map(str::to_owned),
            authorization_details: claims
                .get("authorization_details")
                .and_then(|details| serde_json::to_value(details).ok()),
            confirmation,
            issued_at: date("iat")?,
            expires_at: date("exp")?,
        };
        Some((token, verified.key().key_id()?.to_owned()))
    }
}

/// When the last access token that was issued by `now` will have expired everywhere: what denies it is kept until then. Settings that
/// are no longer in force may have made tokens live longer than now, and two clocks may differ by the leeway in either direction.
pub(crate) fn tokens_until(now: Timestamp) -> Timestamp {
    now.plus(ACCESS_TOKEN_LIFETIME_MAX).plus(CLOCK_LEEWAY * 2)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn token_ids_drawn_in_advance_are_all_different() {
        let (ids, random) = (TokenIds::default(), SystemRandom::new());
        let mut seen = HashSet::new();
        for n in 0..1_000 {
            let mut id = [0; TOKEN_ID_RANDOM_BYTES];
            assert!(ids.draw(&mut id, &random).is_ok());
            assert!(seen.insert(id), "{n}");
        }
    }
}
