//! `/grants`: what a user allowed, and ends here.

use askama::Template;
use http::StatusCode;
use keybound_protocol::authorization_details::AuthorizationDetails;
use keybound_protocol::client::ClientId;
use keybound_protocol::form::Form;
use keybound_protocol::grant_id::GrantId;
use keybound_protocol::resource::ResourceUri;
use keybound_store::{GrantOwner, GrantQuery, GrantRevocation, GrantState, RevokeGrant, StoredGrant};

use super::approval::{self, Approval};
use super::date::{self, Moment};
use super::frame::Frame;
use super::notice::{self, Notice};
use super::refusal::PageRefusal;
use super::session::{self, Session};
use super::sign_in::{self, Destination};
use super::terms::{Ask, Asked, ShownClient};
use super::{PageRequest, form_token, page_response};
use crate::access_tokens::tokens_until;
use crate::approvals::DecisionRefusal;
use crate::error::Reason;
use crate::response::Response;

/// What the token of this page's forms is for: all of them, signing out included.
pub(super) const PURPOSE: &str = "grants";
/// Grants of one page.
const GRANTS_SHOWN: u16 = 50;

#[derive(Template)]
#[template(path = "grants.html")]
struct GrantsPage {
    frame: Frame,
    user: String,
    form_token: String,
    /// What was just done.
    done: Option<&'static str>,
    /// What clients ask by backchannel authentication.
    waiting: Vec<Approval>,
    grants: Vec<ShownGrant>,
    is_first: bool,
    next: Option<String>,
}

struct ShownGrant {
    id: String,
    client: String,
    client_id: String,
    asks: Vec<Ask>,
    given: Moment,
    until: String,
}

/// Lists what counts.
pub(super) async fn get(request: &PageRequest<'_>) -> Result<Response, Reason> {
    let Some(session) = session::current(request).await? else {
        return Ok(page_response::see_other(&sign_in::url(
            request,
            Destination::Grants,
            None,
        )));
    };
    let after = request.query("after").and_then(|text| text.parse().ok());
    let query = GrantQuery {
        subject: Some(session.signed_in.subject.clone()),
        client_id: None,
        after: after.clone(),
        limit: GRANTS_SHOWN,
    };
    let found = request.server.store.grants.list_grants(query).await?;
    let mut grants = Vec::new();
    for grant in found.grants {
        // What rests on another ends with that, and is none of its own to the user.
        let is_given = grant.grant.based_on.is_none();
        if is_given && grant.state == GrantState::Live && request.now < grant.grant.expires_at {
            grants.push(shown(request, &grant)?);
        }
    }
    let waiting = request
        .server
        .waiting_requests_of(&session.signed_in.subject, request.now)
        .await?;
    let waiting = waiting.iter().map(|waiting| approval::shown(request, waiting));
    let waiting = waiting.filter_map(Result::transpose);
    let notice = Notice::sent(request, &session);
    let page = GrantsPage {
        waiting: waiting.collect::<Result<_, _>>()?,
        frame: Frame::of(request),
        user: session::display_name(&session.user),
        form_token: form_token::of(&session.secret, PURPOSE),
        done: notice.map(Notice::text),
        grants,
        is_first: after.is_none(),
        next: found.next.map(|next| next.as_str().to_owned()),
    };
    let mut response = page_response::page(StatusCode::OK, &page)?;
    if notice.is_some() {
        notice::forget(&mut response);
    }
    Ok(response)
}

/// Withdraws one, or decides what is asked.
pub(super) async fn post(request: &PageRequest<'_>, form: &Form<'_>) -> Result<Response, Reason> {
    let Some(session) = session::current(request).await? else {
        return Ok(page_response::see_other(&sign_in::url(
            request,
            Destination::Grants,
            None,
        )));
    };
    form_token::require(form, &session.secret, PURPOSE)?;
    if let Some(decision @ ("approve" | "deny")) = form.get("action") {
        return decide(request, &session, form, decision == "approve").await;
    }
    let grant_id = match (form.get("action"), form.get("grant").map(str::parse::<GrantId>)) {
        (Some("withdraw"), Some(Ok(grant_id))) => grant_id,
        _ => return Err(PageRefusal::NoDecision.into()),
    };
    let notice = match withdraw(request, &session, grant_id).await? {
        RevokeGrant::Revoked | RevokeGrant::AlreadyRevoked => Notice::Withdrawn,
        // One answer for both: whether a grant of somebody else has this identifier is nobody's business.
        RevokeGrant::OfAnother | RevokeGrant::Unknown => Notice::NoSuchAccess,
    };
    Ok(back(request, &session, notice))
}

fn back(request: &PageRequest<'_>, session: &Session, notice: Notice) -> Response {
    let mut response = page_response::see_other(&format!("{}/grants", request.configuration.issuer_path));
    notice.send(session, &mut response);
    response
}

/// Decides what a client asks by backchannel authentication.
async fn decide(
    request: &PageRequest<'_>,
    session: &Session,
    form: &Form<'_>,
    is_approved: bool,
) -> Result<Response, Reason> {
    let hash = form.get("request").and_then(approval::hash_of);
    let hash = hash.ok_or(PageRefusal::NoDecision)?;
    // Only what waits for this user: what a device asks is decided where its code is typed, by whoever has it in front of them.
    let waiting = request
        .server
        .waiting_requests_of(&session.signed_in.subject, request.now)
        .await?;
    let is_waiting = waiting.iter().any(|waiting| waiting.hash == hash);
    let notice = if !is_waiting {
        Notice::RequestOver
    } else {
        match approval::decide(request, session, hash, is_approved).await {
            Ok(()) if is_approved => Notice::RequestAllowed,
            Ok(()) => Notice::RequestDenied,
            Err(DecisionRefusal::Busy) => Notice::Busy,
            Err(refusal) => {
                approval::require_not_ours(refusal)?;
                Notice::RequestOver
            }
        }
    };
    Ok(back(request, session, notice))
}

async fn withdraw(request: &PageRequest<'_>, session: &Session, grant_id: GrantId) -> Result<RevokeGrant, Reason> {
    let revocation = GrantRevocation {
        grant_id,
        only_of: Some(GrantOwner::Subject(session.signed_in.subject.clone())),
        tokens_until: tokens_until(request.now),
    };
    let entry = request.entry_of(&session.signed_in.subject);
    Ok(request.server.store.grants.revoke_grant(revocation, entry).await?)
}

fn shown(request: &PageRequest<'_>, stored: &StoredGrant) -> Result<ShownGrant, Reason> {
    let grant = &stored.grant;
    let client = request.server.clients.find(&grant.client_id)?;
    let resources: Vec<ResourceUri> = grant
        .resources
        .iter()
        .filter_map(|resource| ResourceUri::parse(resource).ok())
        .collect();
    let details = grant.authorization_details.as_deref();
    let details = details.and_then(|text| AuthorizationDetails::parse(text).ok());
    let asked = Asked {
        scope: &grant.scope,
        claims: None,
        resources: &resources,
        authorization_details: details.as_ref(),
    };
    let configuration = request.configuration;
    Ok(ShownGrant {
        id: grant.grant_id.as_str().to_owned(),
        client: client.map_or_else(
            || bare_name(&grant.client_id),
            |client| ShownClient::of(&client.client).name,
        ),
        client_id: bare_name(&grant.client_id),
        asks: configuration.words.asks(asked),
        given: Moment::of(grant.created_at),
        until: date::until(grant.expires_at, request.now),
    })
}

fn bare_name(client_id: &ClientId) -> String {
    super::untrusted_text::line(client_id.as_str(), 200).unwrap_or_default()
}
