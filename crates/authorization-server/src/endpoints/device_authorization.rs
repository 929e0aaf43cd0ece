//! `POST /device_authorization`: a device without a browser begins to ask a user (RFC 8628 §3.1).

use std::sync::Arc;

use aws_lc_rs::rand::SecureRandom;
use http::StatusCode;
use keybound_protocol::authorization_request::{AuthorizationParameters, RequestForm, WantedAuthorization};
use keybound_protocol::base64url;
use keybound_protocol::device_authorization::{DeviceAuthorizationResponse, USER_CODE_RANDOM_BYTES, UserCode};
use keybound_protocol::grant_type::GrantType;
use keybound_store::{ApprovalChannel, ApprovalRequestHash, CreateApprovalRequest, NewApprovalRequest, UserCodeHash};
use zeroize::Zeroizing;

use super::{Answer, ClientRequest, Refused};
use crate::access_tokens::IssueError;
use crate::approvals::{ApprovalRefusal, AskedOfUser, DEVICE_CODE_LIFETIME, POLL_INTERVAL};
use crate::authorization_requests::{self, RequestRefusal};
use crate::client_authentication::Identified;
use crate::error::Reason;
use crate::response;
use crate::server::Server;

/// Random octets of a `device_code`: 256 bits.
const DEVICE_CODE_RANDOM_BYTES: usize = 32;
/// How often other codes are drawn when a user's code is taken: one in a million codes is, where 25,000 wait.
const DRAWS_MAX: usize = 5;

/// Answers a device authorization request.
pub(crate) async fn post(server: &Server, request: &ClientRequest<'_>) -> Result<Answer, Refused> {
    let Identified { client, credential } = server.authentication.authenticate(request.attempt).await?;
    let refused = |reason: Reason| Refused::of(&client, reason);
    super::require_grant_type(&client, GrantType::DeviceCode).map_err(refused)?;
    let client_id = client.client.client_id();
    server
        .approvals
        .ask(request.asker(&client, &credential))
        .map_err(|refusal| refused(refusal.into()))?;
    let policy = authorization_requests::policy(request.configuration, false);
    let parameters = AuthorizationParameters::of_form(request.form());
    let wanted = WantedAuthorization::read(&client.client, &parameters, &policy)
        .map_err(|error| refused(RequestRefusal::from(error).into()))?;
    let asked = AskedOfUser {
        wanted,
        binding_message: None,
        acr_values: Vec::new(),
        form: RequestForm {
            profile: client.client.metadata().effective_profile(policy.profile),
            ..RequestForm::default()
        },
    };
    // The last thing: an assertion is spent for a request that is kept and for nothing else.
    let entry = || request.audit_entry(client_id);
    let identified = server.authentication.spend(&client, credential, entry).await?;
    let of_user_max = request.configuration.approvals_waiting_per_user_max;
    for _ in 0..DRAWS_MAX {
        let (device_code, user_code) = draw(&server.tokens.random).map_err(|error| refused(error.into()))?;
        let new = NewApprovalRequest {
            hash: ApprovalRequestHash::of_device_code(&device_code),
            client_id: client_id.clone(),
            channel: ApprovalChannel::Device {
                user_code: UserCodeHash::of(user_code.letters()),
            },
            request: asked.to_json(),
            interval: POLL_INTERVAL,
            expires_at: request.attempt.now.plus(DEVICE_CODE_LIFETIME),
        };
        let created = server
            .store
            .approval_requests
            .create_approval_request(new, of_user_max, entry());
        match created.await.map_err(|error| refused(error.into()))? {
            CreateApprovalRequest::AlreadyExists => {}
            CreateApprovalRequest::TooManyOfUser => return Err(refused(ApprovalRefusal::TooManyOfUser.into())),
            CreateApprovalRequest::TooMany => return Err(refused(ApprovalRefusal::TooManyWaiting.into())),
            CreateApprovalRequest::Created => {
                let answer = DeviceAuthorizationResponse {
                    device_code: &device_code,
                    user_code: &user_code,
                    verification_uri: &request.configuration.issuer.endpoint_url("/device"),
                    expires_in_secs: DEVICE_CODE_LIFETIME.as_secs(),
                    interval_secs: POLL_INTERVAL.as_secs(),
                };
                let response = response::json(StatusCode::OK, answer.to_json().to_string());
                return Ok(Answer::to(&identified, Arc::clone(&client), response));
            }
        }
    }
    Err(refused(ApprovalRefusal::CodesTaken.into()))
}

fn draw(random: &dyn SecureRandom) -> Result<(Zeroizing<String>, UserCode), IssueError> {
    let mut octets = Zeroizing::new([0; DEVICE_CODE_RANDOM_BYTES]);
    random.fill(octets.as_mut())?;
    let device_code = Zeroizing::new(base64url::encode(octets.as_ref()));
    loop {
        let mut octets = Zeroizing::new([0; USER_CODE_RANDOM_BYTES]);
        random.fill(octets.as_mut())?;
        if let Some(user_code) = UserCode::from_random(&octets) {
            return Ok((device_code, user_code));
        }
    }
}
