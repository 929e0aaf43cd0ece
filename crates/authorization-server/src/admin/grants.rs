//! `/grants`: what users allowed clients. Shown and withdrawn; only users give any.

use axum::Extension;
use axum::extract::{Path, Query};
use http::{HeaderMap, StatusCode};
use keybound_protocol::client::ClientId;
use keybound_protocol::grant_id::GrantId;
use keybound_protocol::user::{UserName, UserSubject};
use keybound_store::{GrantQuery, GrantRevocation, GrantState, RevokeGrant, StoredGrant};
use serde::Deserialize;
use serde_json::{Value, json};

use super::AdminRequest;
use super::preconditions::if_match;
use super::problem::Problem;
use super::routes::{Answer, Handled, page_limit};
use crate::access_tokens::tokens_until;

/// What a listing can be asked. A name that it does not know is refused, as everywhere.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ListQuery {
    /// Only of this user, by name.
    user: Option<String>,
    /// Only of this user, by what tokens call the user.
    sub: Option<String>,
    client_id: Option<String>,
    after: Option<String>,
    limit: Option<u16>,
}

/// Grants in the order of their identifiers.
pub(super) async fn list(Extension(request): Extension<AdminRequest>, Query(query): Query<ListQuery>) -> Handled {
    let by_name = match &query.user {
        Some(name) => {
            let name = UserName::parse(name).map_err(|error| Problem::bad_request(format!("user: {error}")))?;
            let found = request.server.users.find_by_name(&name)?;
            Some(
                found
                    .ok_or_else(|| Problem::not_found(format!("there is no user {name}")))?
                    .subject,
            )
        }
        None => None,
    };
    let by_subject = query.sub.as_deref().map(UserSubject::parse).transpose();
    let by_subject = by_subject.map_err(|error| Problem::bad_request(format!("sub: {error}")))?;
    let client_id = query.client_id.as_deref().map(ClientId::parse).transpose();
    let after = query.after.as_deref().map(str::parse::<GrantId>).transpose();
    let asked = GrantQuery {
        subject: by_name.or(by_subject),
        client_id: client_id.map_err(|error| Problem::bad_request(format!("client_id: {error}")))?,
        after: after.map_err(|error| Problem::bad_request(format!("after: {error}")))?,
        limit: page_limit(query.limit),
    };
    let page = request.server.store.grants.list_grants(asked).await?;
    let grants: Vec<Value> = page.grants.iter().map(|found| shown(found, &request)).collect();
    Ok(match page.next {
        Some(next) => Answer::ok(&json!({"grants": grants, "next": next.as_str()})),
        None => Answer::ok(&json!({"grants": grants})),
    })
}

/// One grant.
pub(super) async fn show(Extension(request): Extension<AdminRequest>, Path(id): Path<String>) -> Handled {
    let found = request.server.store.grants.find_grant(&known_id(&id)?)?;
    let found = found.ok_or_else(unknown)?;
    Ok(Answer::ok(&shown(&found, &request)))
}

/// Ends a grant, with its refresh tokens and access tokens. It has no versions: it is there or it has ended.
pub(super) async fn withdraw(
    Extension(request): Extension<AdminRequest>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Handled {
    if if_match(&headers)?.is_some() {
        return Err(Problem::precondition_failed());
    }
    let revocation = GrantRevocation {
        grant_id: known_id(&id)?,
        only_of: None,
        tokens_until: tokens_until(request.now),
    };
    let entry = request.administrator.audit_entry(request.now);
    match request.server.store.grants.revoke_grant(revocation, entry).await? {
        RevokeGrant::Revoked => Ok(Answer::no_content()),
        RevokeGrant::AlreadyRevoked => Err(Problem::new(StatusCode::GONE).detail("the grant has ended before")),
        RevokeGrant::OfAnother | RevokeGrant::Unknown => Err(unknown()),
    }
}

fn shown(found: &StoredGrant, request: &AdminRequest) -> Value {
    let grant = &found.grant;
    let state = match found.state {
        GrantState::Revoked | GrantState::Void => "ended",
        GrantState::Live if request.now >= grant.expires_at => "expired",
        GrantState::Live => "active",
    };
    let user = request.server.users.find(&grant.subject).ok().flatten();
    let details: Option<Value> = grant
        .authorization_details
        .as_deref()
        .and_then(|details| serde_json::from_str(details).ok());
    json!({
        "grant_id": grant.grant_id.as_str(),
        "client_id": grant.client_id,
        "sub": grant.subject.as_str(),
        "user": user.map(|user| user.name.to_string()),
        "scope": grant.scope,
        "resources": grant.resources,
        "authorization_details": details,
        "state": state,
        "created_at": grant.created_at,
        "expires_at": grant.expires_at,
        "based_on": grant.based_on.as_ref().map(GrantId::as_str),
    })
}

/// An id out of a path: what cannot be one is simply not found.
fn known_id(text: &str) -> Result<GrantId, Problem> {
    text.parse().map_err(|_| unknown())
}

fn unknown() -> Problem {
    Problem::not_found("there is no such grant")
}
