//! `grant_type=urn:ietf:params:oauth:grant-type:device_code` (RFC 8628 §3.4) and `urn:openid:params:grant-type:ciba` (CIBA Core §10.1):
//! what a user who is elsewhere has allowed, once.

use std::sync::Arc;

use keybound_protocol::client_metadata::DeliveryMode;
use keybound_protocol::grant_type::GrantType;
use keybound_protocol::resource::ResourceUri;
use keybound_protocol::token_request::{BackchannelAuthenticationRequest, DeviceCodeRequest};
use keybound_store::{
    ApprovalRedemption, ApprovalRequestHash, PollApprovalRequest, RedeemApprovalRequest, StoredGrant,
};

use super::issue::{Issue, Spent};
use super::share::{Granted, Wish};
use crate::approvals::{ApprovalRefusal, AskedOfUser};
use crate::client_authentication::Credential;
use crate::endpoints::token::GrantRequest;
use crate::endpoints::{Answer, Refused};
use crate::error::Reason;

/// A device asks what became of its code.
pub(crate) async fn exchange_device_code(
    grant: &GrantRequest<'_>,
    credential: Credential,
    asked: DeviceCodeRequest,
) -> Result<Answer, Refused> {
    let hash = ApprovalRequestHash::of_device_code(asked.device_code.expose());
    exchange(grant, credential, hash, &asked.resources).await
}

/// A client asks what became of its backchannel authentication request.
pub(crate) async fn exchange_auth_req_id(
    grant: &GrantRequest<'_>,
    credential: Credential,
    asked: BackchannelAuthenticationRequest,
) -> Result<Answer, Refused> {
    let refused = |reason: Reason| Refused::of(grant.client, reason);
    let presented = GrantType::BackchannelAuthentication;
    if matches!(credential, Credential::Public(_)) {
        return Err(refused(Reason::PublicClient { presented }));
    }
    // §11: who is sent the tokens does not ask for them.
    match grant.request.configuration.delivery_mode(&grant.client.client) {
        Some(DeliveryMode::Poll | DeliveryMode::Ping) => {}
        Some(DeliveryMode::Push) => return Err(refused(ApprovalRefusal::Pushed.into())),
        None => return Err(refused(ApprovalRefusal::NoDelivery.into())),
    }
    let hash = ApprovalRequestHash::of_auth_req_id(asked.auth_req_id.expose());
    exchange(grant, credential, hash, &asked.resources).await
}

async fn exchange(
    grant: &GrantRequest<'_>,
    credential: Credential,
    hash: ApprovalRequestHash,
    resources: &[ResourceUri],
) -> Result<Answer, Refused> {
    let refused = |reason: Reason| Refused::of(grant.client, reason);
    let asker = grant.request.asker(grant.client, &credential);
    grant
        .server
        .approvals
        .poll(asker)
        .map_err(|refusal| refused(refusal.into()))?;
    let allowed = poll(grant, hash).await.map_err(refused)?;
    require_still_permitted(grant, &hash).map_err(refused)?;
    let wish = Wish {
        scope: None,
        resources,
        authorization_details: None,
    };
    let share = Granted::read(&allowed.grant)
        .map_err(|error| refused(error.into()))?
        .share(&grant.client.client, grant.request.configuration, &wish)
        .map_err(|refusal| refused(refusal.into()))?;
    let recipient = grant.identify(credential).await?;
    let issue = Issue {
        server: grant.server,
        client: grant.client,
        recipient: &recipient,
        grant: &allowed.grant,
        share: &share,
        confirmation: grant.confirmation.as_ref(),
        now: grant.now(),
        lifetime: grant.request.configuration.access_token_lifetime,
    };
    let drawn = issue.draw().map_err(|error| refused(error.into()))?;
    let refresh = issue.draw_refresh_token().map_err(|error| refused(error.into()))?;
    let redemption = ApprovalRedemption {
        hash,
        first_token_id: drawn.token_id.as_str().to_owned(),
        refresh: refresh.as_ref().map(|refresh| refresh.record.clone()),
        opaque: drawn.record(),
    };
    let requests = &grant.server.store.approval_requests;
    let redeemed = requests.redeem_approval_request(redemption, grant.audit_entry()).await;
    match redeemed.map_err(|error| refused(error.into()))? {
        RedeemApprovalRequest::Redeemed => {}
        RedeemApprovalRequest::AlreadySpent => return Err(refused(ApprovalRefusal::Spent.into())),
        RedeemApprovalRequest::Expired => return Err(refused(ApprovalRefusal::Expired.into())),
        RedeemApprovalRequest::NotApproved => return Err(refused(ApprovalRefusal::Denied.into())),
        RedeemApprovalRequest::Unknown => return Err(refused(ApprovalRefusal::Unknown.into())),
    }
    let spent = Spent {
        refresh_token: refresh.as_ref().map(|refresh| refresh.text.as_str()),
        nonce: None,
    };
    let answered = issue.answer(grant.request.configuration, &drawn, spent).await;
    let response = answered.map_err(|error| refused(error.into()))?;
    Ok(Answer::to(&recipient, Arc::clone(grant.client), response))
}

/// The client may have become another since it asked. Its grant type was judged, and its scope is by what it gets.
fn require_still_permitted(grant: &GrantRequest<'_>, hash: &ApprovalRequestHash) -> Result<(), Reason> {
    let requests = &grant.server.store.approval_requests;
    let found = requests.find_approval_request(hash)?;
    let found = found.ok_or(ApprovalRefusal::Unknown)?;
    let asked = AskedOfUser::read(&found)?;
    let judged = asked.require_form(
        &grant.client.client,
        &found.request.channel,
        grant.request.configuration,
    );
    Ok(judged.map_err(ApprovalRefusal::NotPermittedAnyMore)?)
}

/// What the user allowed, if the user has decided.
async fn poll(grant: &GrantRequest<'_>, hash: ApprovalRequestHash) -> Result<Box<StoredGrant>, Reason> {
    let client_id = grant.client.client.client_id().clone();
    let requests = &grant.server.store.approval_requests;
    let polled = requests.poll_approval_request(hash, client_id, grant.now());
    let refusal = match polled.await? {
        PollApprovalRequest::Approved(allowed) => return Ok(allowed),
        PollApprovalRequest::Pending => ApprovalRefusal::Pending,
        PollApprovalRequest::SlowDown => ApprovalRefusal::TooEarly,
        PollApprovalRequest::Denied => ApprovalRefusal::Denied,
        PollApprovalRequest::Expired => ApprovalRefusal::Expired,
        PollApprovalRequest::Spent => ApprovalRefusal::Spent,
        PollApprovalRequest::Unknown => ApprovalRefusal::Unknown,
    };
    Err(refusal.into())
}
