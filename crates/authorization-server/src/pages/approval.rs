//! What a client asks of a user by backchannel authentication (CIBA Core), as our pages show and decide it.

use keybound_protocol::base64url;
use keybound_store::ApprovalRequestHash;

use super::session::Session;
use super::terms::{Ask, Asked, Binding, ShownClient};
use super::{PageRequest, untrusted_text};
use crate::approvals::{DecisionRefusal, UserDecision, WaitingRequest};
use crate::error::Reason;

/// One such request, shown.
pub(crate) struct Approval {
    /// Names it in a form.
    pub(crate) id: String,
    pub(crate) client: ShownClient,
    pub(crate) asks: Vec<Ask>,
    pub(crate) binding: Binding,
    /// `binding_message` of CIBA: the same text is on the client's side.
    pub(crate) message: Option<String>,
}

/// What a page shows of it; nothing of one whose client is gone, which nobody can answer any more.
///
/// # Errors
/// [`Reason::Store`]
pub(crate) fn shown(request: &PageRequest<'_>, waiting: &WaitingRequest) -> Result<Option<Approval>, Reason> {
    let Some(client) = request.server.clients.find(&waiting.client_id)? else {
        return Ok(None);
    };
    let wanted = &waiting.asked.wanted;
    let asked = Asked {
        scope: wanted.scope.as_str(),
        claims: None,
        resources: &wanted.resources,
        authorization_details: Some(&wanted.authorization_details),
    };
    let message = waiting.asked.binding_message.as_deref();
    Ok(Some(Approval {
        id: base64url::encode(waiting.hash.as_bytes()),
        client: ShownClient::of(&client.client),
        asks: request.configuration.words.asks(asked),
        binding: Binding::of(&client.client, request.configuration.profile, None),
        message: message.and_then(|message| untrusted_text::line(message, 200)),
    }))
}

/// Records the decision of the user who is signed in.
///
/// # Errors
/// [`DecisionRefusal`]
pub(crate) async fn decide(
    request: &PageRequest<'_>,
    session: &Session,
    hash: ApprovalRequestHash,
    is_approved: bool,
) -> Result<(), DecisionRefusal> {
    let decision = UserDecision {
        hash,
        subject: session.signed_in.subject.clone(),
        auth_time: Some(session.signed_in.auth_time),
        is_approved,
        entry: request.entry_of(&session.signed_in.subject),
    };
    request.server.decide(decision).await
}

/// The request that a form names.
pub(crate) fn hash_of(id: &str) -> Option<ApprovalRequestHash> {
    let octets: [u8; 32] = base64url::decode(id).ok()?.try_into().ok()?;
    Some(ApprovalRequestHash::from_bytes(octets))
}

/// Tells a request that is over, which is shown, from what is our fault.
///
/// # Errors
/// What is our fault.
pub(crate) fn require_not_ours(refusal: DecisionRefusal) -> Result<(), Reason> {
    match refusal {
        DecisionRefusal::Unknown
        | DecisionRefusal::Expired
        | DecisionRefusal::AlreadyDecided
        | DecisionRefusal::NotPermittedAnyMore(_)
        | DecisionRefusal::UserBarred
        | DecisionRefusal::TooMany(_)
        | DecisionRefusal::Busy => Ok(()),
        DecisionRefusal::Store(error) => Err(error.into()),
        DecisionRefusal::Randomness => Err(super::refusal::PageRefusal::Random.into()),
    }
}
