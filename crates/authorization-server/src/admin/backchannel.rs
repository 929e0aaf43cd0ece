//! `/backchannel/{auth_req_id}`: an administrator speaks for a user who was asked by backchannel authentication (CIBA Core), where the
//! user was asked in another way than on our pages.

use axum::Extension;
use axum::body::Bytes;
use axum::extract::Path;
use http::HeaderMap;
use keybound_store::{ApprovalChannel, ApprovalRequestHash, ApprovalState, StoredApprovalRequest};
use serde::Deserialize;
use serde_json::{Value, json};

use super::AdminRequest;
use super::problem::Problem;
use super::routes::{Answer, Handled, json_body};
use crate::approvals::{AskedOfUser, DecisionRefusal, UserDecision};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Body {
    decision: Decision,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Decision {
    Approve,
    Deny,
}

/// What is asked, of whom, and what became of it.
pub(super) async fn show(Extension(request): Extension<AdminRequest>, Path(auth_req_id): Path<String>) -> Handled {
    let found = find(&request, &auth_req_id)?;
    Ok(Answer::ok(&shown(&found, &request)?))
}

/// Decides.
pub(super) async fn decide(
    Extension(request): Extension<AdminRequest>,
    Path(auth_req_id): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Handled {
    let body = json_body(&headers, body)?;
    let Body { decision } = serde_json::from_slice(&body)
        .map_err(|_| Problem::bad_request("send {\"decision\": \"approve\"} or {\"decision\": \"deny\"}"))?;
    let found = find(&request, &auth_req_id)?;
    let ApprovalChannel::Backchannel { subject, .. } = &found.request.channel else {
        return Err(unknown());
    };
    let decision = UserDecision {
        hash: found.request.hash,
        subject: subject.clone(),
        auth_time: None,
        is_approved: matches!(decision, Decision::Approve),
        entry: request.administrator.audit_entry(request.now),
    };
    request.server.decide(decision).await.map_err(|refusal| match refusal {
        DecisionRefusal::Unknown => unknown(),
        DecisionRefusal::Expired
        | DecisionRefusal::AlreadyDecided
        | DecisionRefusal::NotPermittedAnyMore(_)
        | DecisionRefusal::UserBarred => Problem::conflict(refusal.to_string()),
        DecisionRefusal::Store(error) => error.into(),
        DecisionRefusal::TooMany(_) | DecisionRefusal::Busy => {
            Problem::new(http::StatusCode::TOO_MANY_REQUESTS).retry_after()
        }
        DecisionRefusal::Randomness => Problem::new(http::StatusCode::INTERNAL_SERVER_ERROR),
    })?;
    let found = find(&request, &auth_req_id)?;
    Ok(Answer::ok(&shown(&found, &request)?))
}

fn shown(found: &StoredApprovalRequest, request: &AdminRequest) -> Result<Value, Problem> {
    let ApprovalChannel::Backchannel { subject, .. } = &found.request.channel else {
        return Err(unknown());
    };
    let state = match found.state {
        ApprovalState::Pending if request.now >= found.request.expires_at => "expired",
        ApprovalState::Pending => "pending",
        ApprovalState::Approved => "approved",
        ApprovalState::Denied => "denied",
        ApprovalState::Spent => "redeemed",
    };
    let asked = AskedOfUser::read(found)?;
    let user = request.server.users.find(subject)?;
    Ok(json!({
        "client_id": found.request.client_id,
        "sub": subject.as_str(),
        "user": user.map(|user| user.name.to_string()),
        "scope": asked.wanted.scope.as_str(),
        "resources": asked.wanted.resources,
        "authorization_details": asked.wanted.authorization_details,
        "binding_message": asked.binding_message,
        "state": state,
        "created_at": found.created_at,
        "expires_at": found.request.expires_at,
    }))
}

fn find(request: &AdminRequest, auth_req_id: &str) -> Result<StoredApprovalRequest, Problem> {
    let hash = ApprovalRequestHash::of_auth_req_id(auth_req_id);
    let found = request.server.store.approval_requests.find_approval_request(&hash)?;
    found.ok_or_else(unknown)
}

fn unknown() -> Problem {
    Problem::not_found("there is no such backchannel authentication request")
}
