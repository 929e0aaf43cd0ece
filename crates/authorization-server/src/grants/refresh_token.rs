//! `grant_type=refresh_token` (RFC 6749 §6): another access token of the same grant.
//!
//! A client that authenticates keeps its refresh token, and a renewed certificate changes nothing for it (RFC 8705 §7.1, FAPI 2.0). That
//! of a public client is bound to the certificate it was given over, which is compared at each use (§4), and is replaced by a
//! successor. The client that did not hear of the successor may ask again for half a minute, by the same certificate, as long as
//! nobody has used it; every other second use is a theft or a fault and ends the grant (RFC 9700 §4.14.2).

use std::sync::Arc;
use std::time::Duration;

use keybound_protocol::error_code::ErrorCode;
use keybound_protocol::token_request::RefreshTokenRequest;
use keybound_store::{
    AccessTokenHash, GrantState, OpaqueAccessToken, RecordRefresh, RefreshTokenHash, RefreshTokenHolder, RefreshUse,
    RotateRefreshToken, Rotation, StoredRefreshToken,
};
use zeroize::Zeroizing;

use super::issue::{Drawn, Issue, REFRESH_USE_RECORDED, Spent, idle_until, possessor};
use super::share::{Granted, Wish};
use crate::access_tokens::tokens_until;
use crate::client_authentication::Credential;
use crate::endpoints::token::GrantRequest;
use crate::endpoints::{Answer, Refused};
use crate::error::Reason;

/// For how long a client that did not hear the answer may ask again.
pub(crate) const RETRY_WINDOW: Duration = Duration::from_secs(30);

/// Why a refresh token was refused. The caller hears `invalid_grant`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RefreshRefusal {
    #[error("there is no such refresh token")]
    Unknown,
    #[error("the refresh token was given to client {issued_to}")]
    OfAnotherClient { issued_to: String },
    #[error("the refresh token is of a client that authenticates, and this one did not")]
    NotAuthenticated,
    #[error("the refresh token is bound to {expected}, and this request proves {presented}")]
    HolderDiffers { expected: String, presented: String },
    #[error("nobody has used the refresh token for too long")]
    Idle,
    #[error("what the user allowed has ended")]
    GrantEnded,
    #[error("the refresh token was replaced before; its grant and every token of it have ended now")]
    Reused,
}

impl RefreshRefusal {
    /// The code for it.
    pub(crate) fn code(&self) -> ErrorCode {
        ErrorCode::InvalidGrant
    }
}

/// Answers a refresh request.
pub(crate) async fn exchange(
    grant: &GrantRequest<'_>,
    credential: Credential,
    asked: RefreshTokenRequest,
) -> Result<Answer, Refused> {
    let refused = |reason: Reason| Refused::of(grant.client, reason);
    let presented = asked.refresh_token.expose();
    let hash = RefreshTokenHash::of(presented);
    let found = grant
        .server
        .store
        .refresh_tokens
        .find_refresh_token(&hash)
        .map_err(|error| refused(error.into()))?;
    let found = judge(grant, &credential, found).map_err(refused)?;
    let wish = Wish {
        scope: asked.scope.as_ref(),
        resources: &asked.resources,
        authorization_details: asked.authorization_details.as_ref(),
    };
    let share = Granted::read(&found.grant.grant)
        .map_err(|error| refused(error.into()))?
        .share(&grant.client.client, grant.request.configuration, &wish);
    let share = match share {
        Ok(share) => share,
        Err(refusal) if found.superseded_at.is_some() => {
            // Whatever is asked for with it: a token that was replaced is reported to the store, which ends the family unless this
            // is a retry.
            grant.identify(credential).await?;
            rotate(grant, presented, &found, None).await.map_err(refused)?;
            return Err(refused(refusal.into()));
        }
        Err(refusal) => return Err(refused(refusal.into())),
    };
    let recipient = grant.identify(credential).await?;
    let issue = Issue {
        server: grant.server,
        client: grant.client,
        recipient: &recipient,
        grant: &found.grant.grant,
        share: &share,
        confirmation: grant.confirmation.as_ref(),
        now: grant.now(),
        lifetime: grant.request.configuration.access_token_lifetime,
    };
    let drawn = issue.draw().map_err(|error| refused(error.into()))?;
    let successor = match found.holder.is_rotated() {
        true => Some(
            rotate(grant, presented, &found, drawn.record())
                .await
                .map_err(refused)?,
        ),
        false => {
            keep(grant, hash, &found, &drawn).await.map_err(refused)?;
            None
        }
    };
    let spent = Spent {
        refresh_token: Some(successor.as_deref().map_or(presented, String::as_str)),
        nonce: None,
    };
    let answered = issue.answer(grant.request.configuration, &drawn, spent).await;
    let response = answered.map_err(|error| refused(error.into()))?;
    Ok(Answer::to(&recipient, Arc::clone(grant.client), response))
}

/// Decides whether this client, by this request, may use the refresh token. Reads only.
///
/// One that has a successor passes, whoever presents it: the store knows whether that is a retry, and else ends the family.
fn judge(
    grant: &GrantRequest<'_>,
    credential: &Credential,
    found: Option<StoredRefreshToken>,
) -> Result<StoredRefreshToken, Reason> {
    let found = found.ok_or(RefreshRefusal::Unknown)?;
    let issued_to = &found.grant.grant.client_id;
    if issued_to != grant.client.client.client_id() {
        let issued_to = issued_to.to_string();
        return Err(RefreshRefusal::OfAnotherClient { issued_to }.into());
    }
    if found.grant.state != GrantState::Live || grant.now() >= found.grant.grant.expires_at {
        return Err(RefreshRefusal::GrantEnded.into());
    }
    if found.superseded_at.is_some() {
        return Ok(found);
    }
    require_holder(grant, credential, &found.holder)?;
    if grant.now() >= found.idle_until {
        return Err(RefreshRefusal::Idle.into());
    }
    Ok(found)
}

fn require_holder(
    grant: &GrantRequest<'_>,
    credential: &Credential,
    expected: &RefreshTokenHolder,
) -> Result<(), RefreshRefusal> {
    if let RefreshTokenHolder::AuthenticatedClient = expected {
        return match credential {
            Credential::Public(_) => Err(RefreshRefusal::NotAuthenticated),
            Credential::Authenticated(_) | Credential::Assertion(_) => Ok(()),
        };
    }
    let presented = possessor(grant.confirmation.as_ref());
    if presented != *expected {
        return Err(RefreshRefusal::HolderDiffers {
            expected: named(expected),
            presented: named(&presented),
        });
    }
    Ok(())
}

/// A holder in words, for operators.
fn named(holder: &RefreshTokenHolder) -> String {
    match holder {
        RefreshTokenHolder::AuthenticatedClient => "an authenticated client".to_owned(),
        RefreshTokenHolder::Certificate(thumbprint) => format!("certificate {thumbprint}"),
        RefreshTokenHolder::Key(jkt) => format!("key {jkt}"),
        RefreshTokenHolder::Bearer => "nothing".to_owned(),
    }
}

/// Replaces the token, and records the access token if it is opaque; returns the text of its successor.
async fn rotate(
    grant: &GrantRequest<'_>,
    presented: &str,
    found: &StoredRefreshToken,
    opaque: Option<(AccessTokenHash, OpaqueAccessToken)>,
) -> Result<Zeroizing<String>, Reason> {
    let refresh_tokens = &grant.server.store.refresh_tokens;
    let family = &found.grant.grant.grant_id;
    let successor = refresh_tokens.derive_successor(presented, family, found.generation)?;
    let rotation = Rotation {
        presented: RefreshTokenHash::of(presented),
        presenter: possessor(grant.confirmation.as_ref()),
        successor: RefreshTokenHash::of(&successor),
        idle_until: idle_until(grant.now()),
        retry_window: RETRY_WINDOW,
        opaque,
        tokens_until: tokens_until(grant.now()),
    };
    match refresh_tokens
        .rotate_refresh_token(rotation, grant.audit_entry())
        .await?
    {
        RotateRefreshToken::Rotated | RotateRefreshToken::Repeated => Ok(successor),
        RotateRefreshToken::Reused => Err(RefreshRefusal::Reused.into()),
        RotateRefreshToken::Refused => Err(RefreshRefusal::GrantEnded.into()),
        RotateRefreshToken::Unknown => Err(RefreshRefusal::Unknown.into()),
    }
}

/// Writes the use of a token that stays down, once a day, and an opaque access token always. A JWT needs neither.
async fn keep(
    grant: &GrantRequest<'_>,
    hash: RefreshTokenHash,
    found: &StoredRefreshToken,
    drawn: &Drawn,
) -> Result<(), Reason> {
    let is_due = grant.now() >= found.used_at.plus(REFRESH_USE_RECORDED);
    let refresh = RefreshUse {
        hash,
        idle_until: is_due.then(|| idle_until(grant.now())),
        opaque: drawn.record(),
    };
    if refresh.idle_until.is_none() && refresh.opaque.is_none() {
        return Ok(());
    }
    let recorded = grant
        .server
        .store
        .refresh_tokens
        .record_refresh(refresh, grant.audit_entry());
    match recorded.await? {
        RecordRefresh::Recorded => Ok(()),
        RecordRefresh::Ended => Err(RefreshRefusal::GrantEnded.into()),
    }
}
