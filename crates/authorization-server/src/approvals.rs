//! Approvals: what clients ask of users who are elsewhere, on a device (RFC 8628) or by backchannel authentication (CIBA Core), and how
//! users answer: on the pages, or through an administrator.

pub(crate) mod notification;
mod push;

use std::net::IpAddr;

use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use keybound_protocol::authorization_request::{AuthorizationRequestError, RequestForm, WantedAuthorization};
use keybound_protocol::backchannel_authentication::{BackchannelRequestError, has_to_sign};
use keybound_protocol::client::{Client, ClientId};
use keybound_protocol::device_authorization::UserCode;
use keybound_protocol::error_code::ErrorCode;
use keybound_protocol::grant_id::{GRANT_ID_RANDOM_BYTES, GrantId};
use keybound_protocol::grant_type::GrantType;
use keybound_protocol::time::Timestamp;
use keybound_protocol::user::UserSubject;
use keybound_store::{
    ApprovalChannel, ApprovalDecision, ApprovalRequestHash, ApprovalState, AuditEntry, DecideApprovalRequest, Grant,
    StoreError, StoredApprovalRequest, UserCodeHash,
};
use serde::{Deserialize, Serialize};
use std::time::Duration;

use crate::authorization_requests;
use crate::configuration::Configuration;
use crate::interaction;
use crate::key_sets::KeySetError;
use crate::limits::Limits;
use crate::rate_limit::{Asker, AttemptLimit, RequestLimit, TooMany};
use crate::server::Server;
use notification::{Callback, Notifications};

/// How long a device code lives (RFC 8628 §3.2).
pub(crate) const DEVICE_CODE_LIFETIME: Duration = Duration::from_secs(600);
/// How long a backchannel authentication request lives that asks for nothing else.
pub(crate) const BACKCHANNEL_LIFETIME: Duration = Duration::from_secs(300);
/// How long it lives at most (`requested_expiry`).
pub(crate) const BACKCHANNEL_LIFETIME_MAX: Duration = Duration::from_secs(900);
/// How long a client waits between two questions.
pub(crate) const POLL_INTERVAL: Duration = Duration::from_secs(5);

/// What bounds asking and guessing.
pub(crate) struct Approvals {
    /// Requests that are made.
    asking: RequestLimit,
    /// Questions for what became of them.
    polling: RequestLimit,
    /// User codes that one session, and one address prefix, tries (RFC 8628 §5.1).
    user_codes: AttemptLimit,
    /// Codes of CIBA that are tried for one user.
    secrets: AttemptLimit,
    pub(crate) notifications: Notifications,
}

/// What a client asks of a user, as it is stored.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AskedOfUser {
    /// What is asked for.
    pub wanted: WantedAuthorization,
    /// `binding_message` of CIBA: the same text is shown on the client's side.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub binding_message: Option<String>,
    /// `acr_values` of CIBA.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub acr_values: Vec<String>,
    /// How the request came, and what it was judged by.
    #[serde(default)]
    pub form: RequestForm,
}

/// A request that waits for a user's decision, for whoever shows it.
#[derive(Clone, Debug)]
pub struct WaitingRequest {
    /// Names it in [`UserDecision`]. No secret: nothing can be had for it.
    pub hash: ApprovalRequestHash,
    /// The client that asks.
    pub client_id: ClientId,
    /// What it asks for.
    pub asked: AskedOfUser,
    /// When it is over.
    pub expires_at: Timestamp,
}

/// What a user who is signed in decides.
#[derive(Clone, Debug)]
pub struct UserDecision {
    /// The request.
    pub hash: ApprovalRequestHash,
    /// The user.
    pub subject: UserSubject,
    /// When the user signed in; `None` if an administrator speaks for the user.
    pub auth_time: Option<Timestamp>,
    /// Yes or no.
    pub is_approved: bool,
    /// Who changes something by it, from where.
    pub entry: AuditEntry,
}

/// Why there is nothing to decide, or nothing was decided.
#[derive(Debug, thiserror::Error)]
pub enum DecisionRefusal {
    /// No such request, or none of this user's.
    #[error("there is no such request")]
    Unknown,
    /// Its time is over.
    #[error("the request's time is over")]
    Expired,
    /// It was decided before.
    #[error("the request was decided before")]
    AlreadyDecided,
    /// The client could not ask for it any more: it has registered less since, or its profile was raised.
    #[error("the client could not ask for it any more: {0}")]
    NotPermittedAnyMore(BackchannelRequestError),
    /// The user is gone or disabled.
    #[error("the user may not use this server any more")]
    UserBarred,
    /// Too many codes were tried.
    #[error("one attempt too many within a minute")]
    TooMany(TooMany),
    /// What the client would be sent could not be sent now.
    #[error("as many notifications as there may be are on their way")]
    Busy,
    /// Our fault.
    #[error("the store did not answer")]
    Store(#[from] StoreError),
    /// Our fault.
    #[error("the system has no random numbers")]
    Randomness,
}

/// Why a client that asked got nothing.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ApprovalRefusal {
    #[error("the user has not decided")]
    Pending,
    #[error("the user has not decided, and the client asked before its interval was over")]
    TooEarly,
    #[error("the user said no, or withdrew what was allowed")]
    Denied,
    #[error("the request's time is over")]
    Expired,
    #[error("the request was redeemed before")]
    Spent,
    #[error("there is no such request of this client")]
    Unknown,
    #[error("as many requests as there may be are waiting")]
    TooManyWaiting,
    #[error("as many requests as there may be wait for this user's decision")]
    TooManyOfUser,
    #[error("one request too many of this client, or from its address prefix, within a minute")]
    TooOften(TooMany),
    #[error("one question too many of this client, or from its address prefix, within a minute")]
    PolledTooOften(TooMany),
    #[error("the codes drawn were on file already, several times")]
    CodesTaken,
    #[error(transparent)]
    Request(#[from] BackchannelRequestError),
    #[error("the signed request's keys could not be fetched")]
    KeysUnavailable(#[from] KeySetError),
    #[error("the signed request was used before")]
    RequestReplayed,
    #[error("the signed request has an empty `jti`")]
    RequestWithoutId,
    #[error("the client could not ask for it any more: {0}")]
    NotPermittedAnyMore(BackchannelRequestError),
    #[error("the client has registered no way of delivery that is served here")]
    NoDelivery,
    #[error("the client has registered that its tokens are sent to it (push)")]
    Pushed,
    #[error("the hint names no user who can sign in")]
    UnknownUser,
    #[error("the client has registered that users give a code, and there is none in the request")]
    UserCodeMissing,
    #[error("the user's code is not the one in the request")]
    UserCodeWrong,
    #[error("too many wrong codes were sent for the user: none is taken until {until}")]
    UserCodeLockedOut { until: Timestamp },
}

impl ApprovalRefusal {
    /// The code for it.
    pub(crate) fn code(&self) -> ErrorCode {
        match self {
            ApprovalRefusal::Pending => ErrorCode::AuthorizationPending,
            ApprovalRefusal::TooEarly => ErrorCode::SlowDown,
            ApprovalRefusal::Denied => ErrorCode::AccessDenied,
            ApprovalRefusal::Expired => ErrorCode::ExpiredToken,
            ApprovalRefusal::Spent | ApprovalRefusal::Unknown | ApprovalRefusal::NotPermittedAnyMore(_) => {
                ErrorCode::InvalidGrant
            }
            ApprovalRefusal::TooManyWaiting
            | ApprovalRefusal::TooManyOfUser
            | ApprovalRefusal::TooOften(_)
            | ApprovalRefusal::PolledTooOften(_) => ErrorCode::TemporarilyUnavailable,
            ApprovalRefusal::CodesTaken => ErrorCode::ServerError,
            ApprovalRefusal::Request(error) => error.code(),
            ApprovalRefusal::KeysUnavailable(_)
            | ApprovalRefusal::RequestReplayed
            | ApprovalRefusal::RequestWithoutId => ErrorCode::InvalidRequest,
            ApprovalRefusal::NoDelivery | ApprovalRefusal::Pushed => ErrorCode::UnauthorizedClient,
            ApprovalRefusal::UnknownUser => ErrorCode::UnknownUserId,
            ApprovalRefusal::UserCodeMissing => ErrorCode::MissingUserCode,
            // One for both: whoever guesses does not learn when to wait.
            ApprovalRefusal::UserCodeWrong | ApprovalRefusal::UserCodeLockedOut { .. } => ErrorCode::InvalidUserCode,
        }
    }

    /// When to try again, if there is no more to it than that: HTTP 429.
    pub(crate) fn retry_after(&self) -> Option<Duration> {
        match self {
            ApprovalRefusal::TooOften(too_many) | ApprovalRefusal::PolledTooOften(too_many) => {
                Some(too_many.retry_after)
            }
            ApprovalRefusal::TooManyWaiting | ApprovalRefusal::TooManyOfUser => Some(Duration::from_secs(30)),
            _ => None,
        }
    }
}

impl Approvals {
    pub(crate) fn new(limits: &Limits) -> Approvals {
        Approvals {
            asking: RequestLimit::per_minute(limits.approval_requests_per_minute, limits.public_requests_per_minute),
            polling: RequestLimit::per_minute(limits.approval_polls_per_minute, limits.approval_polls_per_minute),
            user_codes: AttemptLimit::per_minute(limits.user_codes_per_minute),
            secrets: AttemptLimit::per_minute(limits.user_codes_per_minute),
            notifications: Notifications::new(limits.notifications_max),
        }
    }

    /// Counts a request.
    pub(crate) fn ask(&self, asker: Asker<'_>) -> Result<(), ApprovalRefusal> {
        self.asking.take(asker).map_err(ApprovalRefusal::TooOften)
    }

    /// Counts a question for what became of a request.
    pub(crate) fn poll(&self, asker: Asker<'_>) -> Result<(), ApprovalRefusal> {
        self.polling.take(asker).map_err(ApprovalRefusal::PolledTooOften)
    }

    /// Counts an attempt to know a user's code of CIBA.
    pub(crate) fn try_secret(&self, subject: &UserSubject) -> Result<(), ApprovalRefusal> {
        self.secrets.take(subject.as_str()).map_err(ApprovalRefusal::TooOften)
    }

    /// Forgets whoever has not asked of late. Called on a timer.
    pub(crate) fn forget_old(&self) {
        self.asking.forget_old();
        self.polling.forget_old();
        self.user_codes.forget_old();
        self.secrets.forget_old();
    }
}

impl AskedOfUser {
    /// As it is stored.
    pub(crate) fn to_json(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    /// Judges once more, by what is registered for `client` now, what it asked.
    ///
    /// # Errors
    /// [`BackchannelRequestError`], for a device as well
    pub(crate) fn require_still_permitted(
        &self,
        client: &Client,
        channel: &ApprovalChannel,
        configuration: &Configuration,
    ) -> Result<(), BackchannelRequestError> {
        let grant_type = match channel {
            ApprovalChannel::Device { .. } => GrantType::DeviceCode,
            ApprovalChannel::Backchannel { .. } => GrantType::BackchannelAuthentication,
        };
        if !client.metadata().permits_grant_type(grant_type) {
            return Err(AuthorizationRequestError::GrantNotRegistered.into());
        }
        self.require_form(client, channel, configuration)?;
        let policy = authorization_requests::policy(configuration, self.form.is_pushed);
        Ok(self.wanted.require_still_permitted(client, &policy)?)
    }

    /// Judges once more how the request came: signed, by the profile in force.
    ///
    /// # Errors
    /// [`BackchannelRequestError`]
    pub(crate) fn require_form(
        &self,
        client: &Client,
        channel: &ApprovalChannel,
        configuration: &Configuration,
    ) -> Result<(), BackchannelRequestError> {
        self.form.require_profile(client, configuration.profile)?;
        let is_backchannel = matches!(channel, ApprovalChannel::Backchannel { .. });
        if is_backchannel && has_to_sign(client, configuration.profile) && !self.form.is_signed {
            return Err(BackchannelRequestError::NotSigned);
        }
        Ok(())
    }

    /// As it was stored.
    pub(crate) fn read(stored: &StoredApprovalRequest) -> Result<AskedOfUser, StoreError> {
        serde_json::from_str(&stored.request.request).map_err(|error| StoreError::Corrupt {
            what: "approval request",
            reason: error.to_string(),
        })
    }
}

impl Server {
    /// Finds the request of a device by the code that a user typed. `session` is whatever tells the user's browser from others.
    ///
    /// # Errors
    /// [`DecisionRefusal::TooMany`] before anything is looked at; `Unknown` also for a code that is none.
    pub(crate) fn find_device_request(
        &self,
        typed: &str,
        session: &str,
        remote_address: IpAddr,
        now: Timestamp,
    ) -> Result<WaitingRequest, DecisionRefusal> {
        let limit = &self.approvals.user_codes;
        limit.take(session).map_err(DecisionRefusal::TooMany)?;
        limit.take_prefix(remote_address).map_err(DecisionRefusal::TooMany)?;
        let user_code = UserCode::parse(typed).map_err(|_| DecisionRefusal::Unknown)?;
        let hash = UserCodeHash::of(user_code.letters());
        let found = self.store.approval_requests.find_approval_request_by_user_code(&hash)?;
        let found = found.ok_or(DecisionRefusal::Unknown)?;
        let channel = found.request.channel.clone();
        let waiting = waiting(found, now)?;
        // Nobody is asked what would not be taken for an answer.
        let client = self.clients.find(&waiting.client_id)?.ok_or(DecisionRefusal::Unknown)?;
        waiting
            .asked
            .require_still_permitted(&client.client, &channel, &self.configuration.load())
            .map_err(DecisionRefusal::NotPermittedAnyMore)?;
        Ok(waiting)
    }

    /// What clients ask of this user by backchannel authentication, oldest first.
    ///
    /// # Errors
    /// [`StoreError`]
    pub(crate) async fn waiting_requests_of(
        &self,
        subject: &UserSubject,
        now: Timestamp,
    ) -> Result<Vec<WaitingRequest>, StoreError> {
        let requests = &self.store.approval_requests;
        let found = requests
            .approval_requests_of(subject.clone(), now, keybound_store::PAGE_MAX)
            .await?;
        let shown = found.into_iter().map(|stored| match waiting(stored, now) {
            Err(DecisionRefusal::Store(error)) => Err(error),
            other => Ok(other.ok()),
        });
        shown.filter_map(Result::transpose).collect()
    }

    /// Records a user's decision; a client that wants to be told is told, and one that is sent its tokens gets them.
    ///
    /// # Errors
    /// [`DecisionRefusal`]; nothing changed then.
    pub(crate) async fn decide(&self, decision: UserDecision) -> Result<(), DecisionRefusal> {
        let requests = &self.store.approval_requests;
        let now = decision.entry.at;
        let found = requests.find_approval_request(&decision.hash)?;
        let found = found.ok_or(DecisionRefusal::Unknown)?;
        if let ApprovalChannel::Backchannel { subject, .. } = &found.request.channel
            && *subject != decision.subject
        {
            return Err(DecisionRefusal::Unknown);
        }
        let callback = Callback::of(self, &found)?;
        let user = self.users.find(&decision.subject)?;
        if decision.is_approved && user.is_none_or(|user| user.is_disabled) {
            return Err(DecisionRefusal::UserBarred);
        }
        let outcome = if decision.is_approved {
            let asked = AskedOfUser::read(&found)?;
            let client = self
                .clients
                .find(&found.request.client_id)?
                .ok_or(DecisionRefusal::Unknown)?;
            let configuration = self.configuration.load();
            asked
                .require_still_permitted(&client.client, &found.request.channel, &configuration)
                .map_err(DecisionRefusal::NotPermittedAnyMore)?;
            let lifetime = interaction::grant_lifetime(&configuration, &client.client);
            // From the decision to the client's next question it lasts, too.
            let expires_at = now.plus(lifetime).plus(DEVICE_CODE_LIFETIME);
            let grant = grant(&decision, &found, asked.wanted, expires_at)?;
            ApprovalDecision::Approved(Box::new(grant))
        } else {
            ApprovalDecision::Denied
        };
        let allowed = match &outcome {
            ApprovalDecision::Approved(grant) => Some(grant.clone()),
            ApprovalDecision::Denied => None,
        };
        let decided = requests.decide_approval_request(decision.hash, outcome, decision.entry.clone());
        match decided.await? {
            DecideApprovalRequest::Decided => {}
            DecideApprovalRequest::AlreadyDecided => return Err(DecisionRefusal::AlreadyDecided),
            DecideApprovalRequest::Expired => return Err(DecisionRefusal::Expired),
            DecideApprovalRequest::UserBarred => return Err(DecisionRefusal::UserBarred),
            DecideApprovalRequest::OfAnother | DecideApprovalRequest::Unknown => return Err(DecisionRefusal::Unknown),
        }
        if let Some(callback) = callback {
            callback.tell(self, allowed.as_deref(), &decision.entry).await;
        }
        Ok(())
    }
}

fn waiting(stored: StoredApprovalRequest, now: Timestamp) -> Result<WaitingRequest, DecisionRefusal> {
    if stored.state != ApprovalState::Pending {
        return Err(DecisionRefusal::AlreadyDecided);
    }
    if now >= stored.request.expires_at {
        return Err(DecisionRefusal::Expired);
    }
    Ok(WaitingRequest {
        asked: AskedOfUser::read(&stored)?,
        hash: stored.request.hash,
        client_id: stored.request.client_id,
        expires_at: stored.request.expires_at,
    })
}

/// What the user allows: all that was asked.
fn grant(
    decision: &UserDecision,
    found: &StoredApprovalRequest,
    wanted: WantedAuthorization,
    expires_at: Timestamp,
) -> Result<Grant, DecisionRefusal> {
    let mut octets = [0; GRANT_ID_RANDOM_BYTES];
    SystemRandom::new()
        .fill(&mut octets)
        .map_err(|_| DecisionRefusal::Randomness)?;
    let details = wanted.authorization_details;
    let now = decision.entry.at;
    Ok(Grant {
        grant_id: GrantId::from_random(octets),
        client_id: found.request.client_id.clone(),
        subject: decision.subject.clone(),
        scope: wanted.scope.as_str().to_owned(),
        resources: wanted.resources.iter().map(|uri| uri.as_str().to_owned()).collect(),
        authorization_details: (!details.is_empty()).then(|| details.to_json().to_string()),
        claims: None,
        auth_time: decision.auth_time,
        acr: None,
        created_at: now,
        expires_at,
        based_on: None,
    })
}
