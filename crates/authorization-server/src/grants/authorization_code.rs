//! `grant_type=authorization_code` (RFC 6749 §4.1.3): a code for tokens, once.
//!
//! Everything that can stand in the way is asked before the code is spent: whoever presents a code that is not theirs, or without the
//! verifier, changes nothing by it. The right client that presents a code for the second time ends the grant, and with it every token
//! that came of it (§4.1.2, §10.5): one of the two was not the client.

use std::sync::Arc;

use keybound_protocol::authorization_request::{AuthorizationRequestError, RequestTerms};
use keybound_protocol::confirmation::Confirmation;
use keybound_protocol::error_code::ErrorCode;
use keybound_protocol::pkce::{CodeChallenge, CodeVerifierError, require_verifier};
use keybound_protocol::token_request::{AuthorizationCodeRequest, PresentedSecret};
use keybound_store::{
    AuthorizationCodeHash, GrantState, RedeemAuthorizationCode, Redemption, StoreError, StoredAuthorizationCode,
};

use super::issue::{Issue, Spent};
use super::share::{Granted, Wish};
use crate::access_tokens::tokens_until;
use crate::authorization_requests;
use crate::client_authentication::Credential;
use crate::endpoints::token::GrantRequest;
use crate::endpoints::{Answer, Refused};
use crate::error::Reason;

/// Why a code was not redeemed. The caller hears `invalid_grant`.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub(crate) enum CodeRefusal {
    #[error("there is no such code")]
    Unknown,
    #[error("the code was given to client {issued_to}")]
    OfAnotherClient { issued_to: String },
    #[error("the code's time is over")]
    Expired,
    #[error("the code was redeemed before; its grant and every token of it have ended now")]
    AlreadyRedeemed,
    #[error("what the user allowed has ended")]
    GrantEnded,
    #[error(
        "redirect_uri {} is not that of the authorization request, {}",
        keybound_protocol::words::one_or_none(presented),
        keybound_protocol::words::one_or_none(expected)
    )]
    RedirectUri {
        presented: Option<String>,
        expected: Option<String>,
    },
    #[error(transparent)]
    Verifier(#[from] CodeVerifierError),
    #[error("a public client redeems only codes that were asked for with a code_challenge")]
    PublicWithoutChallenge,
    #[error("the code is bound to a key (dpop_jkt), and this request proves another one or none")]
    KeyDiffers,
    #[error("the client could not ask for the code any more: {0}")]
    NotPermittedAnyMore(AuthorizationRequestError),
}

impl CodeRefusal {
    /// The code for it.
    pub(crate) fn code(&self) -> ErrorCode {
        ErrorCode::InvalidGrant
    }
}

/// Redeems a code.
pub(crate) async fn exchange(
    grant: &GrantRequest<'_>,
    credential: Credential,
    asked: AuthorizationCodeRequest,
) -> Result<Answer, Refused> {
    let refused = |reason: Reason| Refused::of(grant.client, reason);
    let stored = &grant.server.store.authorization_codes;
    let hash = AuthorizationCodeHash::of(asked.code.expose());
    let found = stored
        .find_authorization_code(&hash)
        .map_err(|error| refused(error.into()))?;
    let found = judge(grant, &credential, &asked, found).map_err(refused)?;
    if found.is_spent {
        grant.identify(credential).await?;
        return Err(refused(penalize(grant, hash).await));
    }
    let wish = Wish {
        scope: None,
        resources: &asked.resources,
        authorization_details: asked.authorization_details.as_ref(),
    };
    let share = Granted::read(&found.grant.grant)
        .map_err(|error| refused(error.into()))?
        .share(&grant.client.client, grant.request.configuration, &wish)
        .map_err(|refusal| refused(refusal.into()))?;
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
    let refresh = issue.draw_refresh_token().map_err(|error| refused(error.into()))?;
    let redemption = Redemption {
        code: hash,
        first_token_id: drawn.token_id.as_str().to_owned(),
        refresh: refresh.as_ref().map(|refresh| refresh.record.clone()),
        opaque: drawn.record(),
        tokens_until: tokens_until(grant.now()),
    };
    let redeemed = stored.redeem_authorization_code(redemption, grant.audit_entry()).await;
    match redeemed.map_err(|error| refused(error.into()))? {
        RedeemAuthorizationCode::Redeemed => {}
        RedeemAuthorizationCode::AlreadySpent => return Err(refused(CodeRefusal::AlreadyRedeemed.into())),
        RedeemAuthorizationCode::Expired => return Err(refused(CodeRefusal::Expired.into())),
        RedeemAuthorizationCode::Unknown => return Err(refused(CodeRefusal::Unknown.into())),
    }
    let spent = Spent {
        refresh_token: refresh.as_ref().map(|refresh| refresh.text.as_str()),
        nonce: found.code.nonce.as_deref(),
    };
    let answered = issue.answer(grant.request.configuration, &drawn, spent).await;
    let response = answered.map_err(|error| refused(error.into()))?;
    Ok(Answer::to(&recipient, Arc::clone(grant.client), response))
}

/// Ends the grant of a code that was redeemed before, whatever else is asked for with it; returns why it was refused.
async fn penalize(grant: &GrantRequest<'_>, code: AuthorizationCodeHash) -> Reason {
    // Nothing is issued: a code that is spent stays so.
    let nothing = Redemption {
        code,
        first_token_id: String::new(),
        refresh: None,
        opaque: None,
        tokens_until: tokens_until(grant.now()),
    };
    let stored = &grant.server.store.authorization_codes;
    match stored.redeem_authorization_code(nothing, grant.audit_entry()).await {
        Ok(_) => CodeRefusal::AlreadyRedeemed.into(),
        Err(error) => error.into(),
    }
}

/// Decides whether this client, by this request, may redeem the code. Reads only.
///
/// A code that was redeemed before passes, to end its grant, if it is the right client that presents it: one that has authenticated,
/// whatever redirect URI and verifier it sends; one that has not, by its verifier, for anybody can call itself so.
fn judge(
    grant: &GrantRequest<'_>,
    credential: &Credential,
    asked: &AuthorizationCodeRequest,
    found: Option<StoredAuthorizationCode>,
) -> Result<StoredAuthorizationCode, Reason> {
    let found = found.ok_or(CodeRefusal::Unknown)?;
    let issued_to = &found.grant.grant.client_id;
    if issued_to != grant.client.client.client_id() {
        let issued_to = issued_to.to_string();
        return Err(CodeRefusal::OfAnotherClient { issued_to }.into());
    }
    if found.is_spent && !matches!(credential, Credential::Public(_)) {
        return Ok(found);
    }
    require_redirect_uri(&found, asked)?;
    require_challenge(credential, &found, asked)?;
    require_key(grant.confirmation.as_ref(), &found)?;
    if found.is_spent {
        return Ok(found);
    }
    if grant.now() >= found.code.expires_at {
        return Err(CodeRefusal::Expired.into());
    }
    if found.grant.state != GrantState::Live {
        return Err(CodeRefusal::GrantEnded.into());
    }
    require_still_permitted(grant, &found)?;
    Ok(found)
}

/// The client may have become another since it asked.
fn require_still_permitted(grant: &GrantRequest<'_>, found: &StoredAuthorizationCode) -> Result<(), CodeRefusal> {
    let Some(terms) = &found.code.terms else {
        return Ok(());
    };
    // Written by another version of this server: the client has to begin again.
    let terms = RequestTerms::from_json(terms).map_err(|_| CodeRefusal::Unknown)?;
    let policy = authorization_requests::policy(grant.request.configuration, terms.form.is_pushed);
    terms
        .require_still_permitted(&grant.client.client, &policy)
        .map_err(CodeRefusal::NotPermittedAnyMore)
}

/// RFC 6749 §4.1.3: the same as in the authorization request, octet for octet, if it was there.
fn require_redirect_uri(found: &StoredAuthorizationCode, asked: &AuthorizationCodeRequest) -> Result<(), CodeRefusal> {
    let expected = &found.code.redirect_uri;
    if expected.is_some() && asked.redirect_uri != *expected {
        return Err(CodeRefusal::RedirectUri {
            presented: asked.redirect_uri.clone(),
            expected: expected.clone(),
        });
    }
    Ok(())
}

/// RFC 7636 §4.6, RFC 9700 §2.1.1: the verifier of the challenge; none where there was no challenge; and a public client always has one.
fn require_challenge(
    credential: &Credential,
    found: &StoredAuthorizationCode,
    asked: &AuthorizationCodeRequest,
) -> Result<(), Reason> {
    let registered = found.code.code_challenge.as_deref().map(CodeChallenge::parse);
    let registered = registered.transpose().map_err(|error| StoreError::Corrupt {
        what: "authorization code",
        reason: error.to_string(),
    })?;
    let presented = asked.code_verifier.as_ref().map(PresentedSecret::expose);
    require_verifier(registered.as_ref(), presented).map_err(CodeRefusal::from)?;
    if registered.is_none() && matches!(credential, Credential::Public(_)) {
        return Err(CodeRefusal::PublicWithoutChallenge.into());
    }
    Ok(())
}

/// RFC 9449 §10: the key that the authorization request named.
fn require_key(confirmation: Option<&Confirmation>, found: &StoredAuthorizationCode) -> Result<(), CodeRefusal> {
    let presented = confirmation.and_then(Confirmation::key).map(ToString::to_string);
    match &found.code.dpop_jkt {
        Some(expected) if presented.as_ref() != Some(expected) => Err(CodeRefusal::KeyDiffers),
        _ => Ok(()),
    }
}
