//! `prompt=none` (OpenID Connect Core §3.1.2.1): a code for a client whose user must not be asked, because the user was asked before.
//!
//! Somebody has to be signed in, the one that the client wants and recently enough, and a grant that the user gave this client has to
//! cover everything: scope, resources, claims, and exactly these authorization details. What comes of it is a grant of its own that
//! rests on that one and ends with it. It lasts for one access token, and there is no refresh token: whoever wants access for longer
//! asks the user (§11).
//!
//! A public client is never answered so: anybody can ask in its name (RFC 8252 §8.6). All other requests ask the user each time.

use keybound_protocol::authentication_method::AuthenticationMethod;
use keybound_protocol::authorization_request::{AuthorizationRequest, HintedUser};
use keybound_protocol::client::Client;
use keybound_protocol::error_code::ErrorCode;
use keybound_protocol::userinfo;
use keybound_store::{GiveSilently, Grant, RequestUriHash, SilentGrant, StoreError};

use crate::endpoints::authorization::AuthorizationRefusal;
use crate::error::Reason;
use crate::grants::share::Granted;
use crate::id_tokens;
use crate::interaction::{self, UnwantedSignIn};
use crate::pages::{PageRequest, session};

/// Why nothing is given without asking the user.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SilentRefusal {
    #[error("prompt=none, and nobody is signed in in this browser")]
    NobodySignedIn,
    #[error("prompt=none, and the user who was signed in is gone or disabled")]
    UserBarred,
    #[error("prompt=none, and {0}")]
    SignIn(#[from] UnwantedSignIn),
    #[error("prompt=none, and id_token_hint is no ID token that this server is known to have made for this client")]
    HintUnverified,
    #[error("prompt=none, and a public client's users are asked each time")]
    PublicClient,
    #[error("prompt=none, and the user has given this client nothing that still counts")]
    NothingGiven,
    #[error("prompt=none, and none of the {given} grants that the user gave this client covers the request")]
    NotCovered { given: usize },
}

impl SilentRefusal {
    /// The code for it (§3.1.2.6).
    pub(crate) fn code(self) -> ErrorCode {
        match self {
            SilentRefusal::NobodySignedIn
            | SilentRefusal::UserBarred
            | SilentRefusal::SignIn(_)
            | SilentRefusal::HintUnverified => ErrorCode::LoginRequired,
            SilentRefusal::PublicClient | SilentRefusal::NothingGiven | SilentRefusal::NotCovered { .. } => {
                ErrorCode::ConsentRequired
            }
        }
    }

    /// What to do about it.
    pub(crate) fn fix(self) -> &'static str {
        match self {
            SilentRefusal::NobodySignedIn
            | SilentRefusal::UserBarred
            | SilentRefusal::SignIn(_)
            | SilentRefusal::HintUnverified => {
                "let the client send the browser again without prompt=none, so that the user can sign in"
            }
            SilentRefusal::PublicClient | SilentRefusal::NothingGiven | SilentRefusal::NotCovered { .. } => {
                "let the client send the browser again without prompt=none, so that the user can be asked"
            }
        }
    }
}

/// Gives what is asked for, if the user need not be asked; returns the code.
///
/// # Errors
/// [`Reason::Silent`], which the client is told; others are for the user.
pub(crate) async fn grant(
    page: &PageRequest<'_>,
    client: &Client,
    request: &AuthorizationRequest,
    pushed: Option<RequestUriHash>,
) -> Result<String, Reason> {
    let session = session::current(page).await?;
    let signed_in = session.ok_or(SilentRefusal::NobodySignedIn)?.signed_in;
    if request.hinted_user() == Some(&HintedUser::Unverified) {
        return Err(SilentRefusal::HintUnverified.into());
    }
    interaction::require_wanted(&signed_in, request, page.now).map_err(SilentRefusal::from)?;
    if client.metadata().authentication_method() == AuthenticationMethod::None {
        return Err(SilentRefusal::PublicClient.into());
    }
    let grants = &page.server.store.grants;
    let live = grants.live_grants(signed_in.subject.clone(), client.client_id().clone(), page.now);
    let live = live.await?;
    let base = covering(page, request, &live)?;
    let lifetime = interaction::one_token_lifetime(page.configuration);
    let expires_at = page.now.plus(lifetime).min(base.expires_at);
    let mut drawn = interaction::draw_grant(request, &signed_in, page.now, expires_at)?;
    drawn.grant.based_on = Some(base.grant_id.clone());
    let silent = SilentGrant {
        grant: drawn.grant,
        code: drawn.code,
        pushed,
    };
    let entry = page.entry_of(&signed_in.subject);
    match grants.give_silently(silent, entry).await? {
        GiveSilently::Given => Ok(drawn.code_text),
        // The session ended with the user's right to have one.
        GiveSilently::UserBarred => Err(SilentRefusal::UserBarred.into()),
        // It ended meanwhile.
        GiveSilently::NotAllowed => Err(SilentRefusal::NothingGiven.into()),
        GiveSilently::RequestUriSpent => Err(AuthorizationRefusal::RequestUriSpent.into()),
    }
}

/// The newest grant that covers the request.
fn covering<'a>(
    page: &PageRequest<'_>,
    request: &AuthorizationRequest,
    live: &'a [Grant],
) -> Result<&'a Grant, Reason> {
    for grant in live {
        if covers(page, request, grant)? {
            return Ok(grant);
        }
    }
    Err(match live.len() {
        0 => SilentRefusal::NothingGiven.into(),
        given => SilentRefusal::NotCovered { given }.into(),
    })
}

fn covers(page: &PageRequest<'_>, request: &AuthorizationRequest, grant: &Grant) -> Result<bool, StoreError> {
    let granted = Granted::read(grant)?;
    let consented = id_tokens::requested_claims(grant.claims.as_deref());
    Ok(granted.covers(request, &page.configuration.resources)
        && userinfo::is_consented(request.claims(), granted.scope(), &consented))
}
