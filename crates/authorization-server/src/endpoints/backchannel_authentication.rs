//! `POST /bc-authorize`: a client asks that a user who is elsewhere be authenticated (CIBA Core §7).
//!
//! Poll and ping mode are served, push mode where it is enabled. `openid` has to be in the scope in any case: §7.1 makes no other kind of
//! request. An ID token comes with the tokens where OpenID is enabled (§10.1.1); without it the user is not made known to the client, and
//! what the user allows is an access token alone. Pushed tokens need the ID token (§10.3.1), so push mode needs OpenID.

use std::sync::Arc;

use aws_lc_rs::rand::SecureRandom;
use http::StatusCode;
use keybound_protocol::authorization_request::AuthorizationParameters;
use keybound_protocol::backchannel_authentication::{
    BackchannelRequest, BackchannelRequestError, UserHint, require_nothing_beside_request,
};
use keybound_protocol::base64url;
use keybound_protocol::client::Client;
use keybound_protocol::client_metadata::DeliveryMode;
use keybound_protocol::confirmation::Confirmation;
use keybound_protocol::digest::{hex, sha256};
use keybound_protocol::grant_type::GrantType;
use keybound_protocol::request_object::{RequestObjectKind, RequestObjectPolicy, UnverifiedRequestObject};
use keybound_protocol::user::{UserName, UserSubject};
use keybound_store::{
    ApprovalChannel, ApprovalRequestHash, AuditEntry, ConsumeClientAssertion, CreateApprovalRequest,
    NewApprovalRequest, OneTimeAssertion, StoreError, StoredUser,
};
use zeroize::Zeroizing;

use super::{Answer, ClientRequest, Refused};
use crate::access_tokens::IssueError;
use crate::approvals::notification::NotificationText;
use crate::approvals::{ApprovalRefusal, AskedOfUser, BACKCHANNEL_LIFETIME, BACKCHANNEL_LIFETIME_MAX, POLL_INTERVAL};
use crate::authorization_requests;
use crate::client_authentication::{Credential, Identified};
use crate::dpop::binding_for;
use crate::error::Reason;
use crate::grants::share::{Granted, Wish};
use crate::id_tokens;
use crate::passwords::{Password, PasswordHashingError};
use crate::response;
use crate::server::Server;
use crate::users::UserCodeRefusal;

/// Random octets of an `auth_req_id`: 256 bits, where CIBA Core §7.3 wants 128.
const AUTH_REQ_ID_RANDOM_BYTES: usize = 32;

/// Answers a backchannel authentication request.
pub(crate) async fn post(server: &Server, request: &ClientRequest<'_>) -> Result<Answer, Refused> {
    let Identified { client, credential } = server.authentication.authenticate(request.attempt).await?;
    let refused = |reason: Reason| Refused::of(&client, reason);
    let presented = GrantType::BackchannelAuthentication;
    if matches!(credential, Credential::Public(_)) {
        return Err(refused(Reason::PublicClient { presented }));
    }
    super::require_grant_type(&client, presented).map_err(refused)?;
    let client_id = client.client.client_id();
    let asked = async {
        let registered = &client.client.metadata().authorization().backchannel;
        let mode = request.configuration.delivery_mode(&client.client);
        let mode = mode.ok_or(ApprovalRefusal::NoDelivery)?;
        // The client is not there when its tokens are pushed: what they will be bound to is what it holds now (RFC 8705 §3).
        let confirmation = match mode {
            DeliveryMode::Push => binding_for(&server.dpop, &client, request, None)?,
            DeliveryMode::Poll | DeliveryMode::Ping => None,
        };
        server.approvals.ask(request.asker(&client, &credential))?;
        let (parameters, once) = parameters(server, request, &client.client).await?;
        let policy = authorization_requests::policy(request.configuration, false);
        let asked = BackchannelRequest::parse(&client.client, &parameters, &policy).map_err(ApprovalRefusal::from)?;
        if mode == DeliveryMode::Push {
            // Nor can it say later which part of it one token is to be for.
            let wanted = Granted::if_allowed(&asked.wanted);
            wanted.share(&client.client, request.configuration, &Wish::default())?;
        }
        let user = find_user(server, request, &client.client, &asked.hint)?.ok_or(ApprovalRefusal::UnknownUser)?;
        if registered.user_code_parameter {
            let entry = request.audit_entry(client.client.client_id());
            require_user_code(server, &user, asked.user_code.as_deref(), entry).await?;
        }
        Ok::<_, Reason>((asked, user, mode, confirmation, once))
    };
    let (asked, user, mode, confirmation, once) = asked.await.map_err(refused)?;
    // The last thing: an assertion is spent for a request that is kept and for nothing else.
    let entry = || request.audit_entry(client_id);
    let identified = server.authentication.spend(&client, credential, entry).await?;
    // Durable before anything comes of it: a signed request is good once (CIBA Core §7.1.1: `jti`).
    if let Some(once) = once {
        let consumed = server
            .store
            .client_assertions
            .consume_client_assertion(once, entry())
            .await;
        if consumed.map_err(|error| refused(error.into()))? == ConsumeClientAssertion::AlreadyUsed {
            return Err(refused(ApprovalRefusal::RequestReplayed.into()));
        }
    }
    let mut octets = Zeroizing::new([0; AUTH_REQ_ID_RANDOM_BYTES]);
    let drawn = server.tokens.random.fill(octets.as_mut());
    drawn.map_err(|error| refused(IssueError::from(error).into()))?;
    let auth_req_id = Zeroizing::new(base64url::encode(octets.as_ref()));
    let lifetime = asked
        .requested_expiry
        .unwrap_or(BACKCHANNEL_LIFETIME)
        .min(BACKCHANNEL_LIFETIME_MAX);
    let text = |token| NotificationText {
        token,
        auth_req_id: auth_req_id.to_string(),
        thumbprint: confirmation.as_ref().and_then(Confirmation::certificate).copied(),
    };
    let new = NewApprovalRequest {
        hash: ApprovalRequestHash::of_auth_req_id(&auth_req_id),
        client_id: client_id.clone(),
        channel: ApprovalChannel::Backchannel {
            subject: user.subject,
            notification: asked.notification_token.map(|token| text(token).to_secret()),
        },
        request: AskedOfUser {
            wanted: asked.wanted,
            binding_message: asked.binding_message,
            acr_values: asked.acr_values,
            form: asked.form,
        }
        .to_json(),
        interval: POLL_INTERVAL,
        expires_at: request.attempt.now.plus(lifetime),
    };
    let of_user_max = request.configuration.approvals_waiting_per_user_max;
    let requests = &server.store.approval_requests;
    let created = requests.create_approval_request(new, of_user_max, entry());
    match created.await.map_err(|error| refused(error.into()))? {
        CreateApprovalRequest::Created => {}
        CreateApprovalRequest::AlreadyExists => return Err(refused(IssueError::RandomnessRepeated.into())),
        CreateApprovalRequest::TooManyOfUser => return Err(refused(ApprovalRefusal::TooManyOfUser.into())),
        CreateApprovalRequest::TooMany => return Err(refused(ApprovalRefusal::TooManyWaiting.into())),
    }
    // Base64url has no character that JSON escapes.
    let mut body = format!(
        r#"{{"auth_req_id":"{}","expires_in":{}"#,
        *auth_req_id,
        lifetime.as_secs()
    );
    // §7.3: for those who ask.
    if mode != DeliveryMode::Push {
        body.push_str(&format!(r#","interval":{}"#, POLL_INTERVAL.as_secs()));
    }
    body.push('}');
    let response = response::json(StatusCode::OK, body);
    Ok(Answer::to(&identified, Arc::clone(&client), response))
}

/// What was sent: a form, or a signed request and nothing beside it (§7.1.1).
async fn parameters(
    server: &Server,
    request: &ClientRequest<'_>,
    client: &Arc<Client>,
) -> Result<(AuthorizationParameters, Option<OneTimeAssertion>), ApprovalRefusal> {
    let Some(jwt) = request.form().get("request") else {
        return Ok((AuthorizationParameters::of_form(request.form()), None));
    };
    require_nothing_beside_request(request.form())?;
    let metadata = client.metadata();
    let policy = RequestObjectPolicy {
        kind: RequestObjectKind::BackchannelAuthentication,
        issuer: &request.configuration.issuer,
        algorithms: &metadata.backchannel_request_algorithms(request.configuration.profile),
        now: request.attempt.now,
    };
    // Before the keys are looked for: what cannot be good has nobody fetch them.
    let object = UnverifiedRequestObject::parse(jwt, &policy).map_err(BackchannelRequestError::from)?;
    let keys = server.key_sets.keys_of(client, request.attempt.now).await?;
    let object = object
        .verify(client, &keys, &policy)
        .map_err(BackchannelRequestError::from)?;
    let parameters = AuthorizationParameters::of_request_object(&object).map_err(BackchannelRequestError::from)?;
    // Its `jti` may be as long as a form is: what is remembered is not. No client assertion has this form.
    let once = object.one_time().ok_or(ApprovalRefusal::RequestWithoutId)?;
    let once = OneTimeAssertion {
        client_id: client.client_id().clone(),
        token_id: format!("request {}", hex(&sha256(once.token_id.as_bytes()))),
        issued_at: once.issued_at,
        until: once.remember_until,
    };
    Ok((parameters, Some(once)))
}

/// The user that a hint names, if that is somebody who can sign in. We issue no login hint tokens, so none names anybody.
fn find_user(
    server: &Server,
    request: &ClientRequest<'_>,
    client: &Client,
    hint: &UserHint,
) -> Result<Option<StoredUser>, StoreError> {
    let users = &server.store.users;
    let found = match hint {
        UserHint::Login(text) => match (UserSubject::parse(text), UserName::parse(text)) {
            (Ok(subject), _) => users.find_user_by_subject(&subject)?,
            (Err(_), Ok(name)) => users.find_user(&name)?,
            (Err(_), Err(_)) => None,
        },
        UserHint::IdToken(jwt) => match id_tokens::hinted_subject(
            &server.keys.ring(),
            &request.configuration.issuer,
            client.client_id(),
            jwt,
        ) {
            Some(subject) => users.find_user_by_subject(&subject)?,
            None => None,
        },
        UserHint::LoginToken(_) => None,
    };
    Ok(found.filter(|user| !user.is_disabled))
}

/// §7.1: a code that the user told the client's side, so that nobody is asked whom the client only knows by name.
async fn require_user_code(
    server: &Server,
    user: &StoredUser,
    presented: Option<&str>,
    entry: AuditEntry,
) -> Result<(), Reason> {
    let Some(presented) = presented else {
        return Err(ApprovalRefusal::UserCodeMissing.into());
    };
    server.approvals.try_secret(&user.subject)?;
    let presented = Password::new(presented.to_owned());
    let refusal = match server.users.require_user_code(&user.subject, presented, entry).await {
        Ok(()) => return Ok(()),
        Err(refusal) => refusal,
    };
    Err(match refusal {
        UserCodeRefusal::Wrong | UserCodeRefusal::Hashing(PasswordHashingError::TooLong) => {
            ApprovalRefusal::UserCodeWrong.into()
        }
        UserCodeRefusal::LockedOut { until } => ApprovalRefusal::UserCodeLockedOut { until }.into(),
        UserCodeRefusal::Hashing(error) => Reason::PasswordHashing(error),
        UserCodeRefusal::Store(error) => error.into(),
    })
}
