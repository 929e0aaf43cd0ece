//! `POST /par`: takes an authorization request from its client before any browser sees it (RFC 9126).

use std::sync::Arc;

use aws_lc_rs::rand::SecureRandom;
use http::StatusCode;
use keybound_protocol::authorization_request::REQUEST_URI_PREFIX;
use keybound_protocol::base64url;
use keybound_protocol::grant_type::GrantType;
use keybound_resource_server::DPOP_NONCE;
use keybound_store::{PushRequest, PushedRequest, RequestUriHash};

use super::{Answer, ClientRequest, Refused};
use crate::access_tokens::IssueError;
use crate::authorization_requests::{self, Asked};
use crate::client_authentication::Identified;
use crate::error::Reason;
use crate::response;
use crate::server::Server;

/// Random octets of a `request_uri`: 256 bits, where RFC 9126 §7.1 wants what cannot be guessed.
const REQUEST_URI_RANDOM_BYTES: usize = 32;

/// Answers a pushed authorization request.
pub(crate) async fn post(server: &Server, request: &ClientRequest<'_>) -> Result<Answer, Refused> {
    let Identified { client, credential } = server.authentication.authenticate(request.attempt).await?;
    let refused = |reason: Reason| Refused::of(&client, reason);
    super::require_grant_type(&client, GrantType::AuthorizationCode).map_err(refused)?;
    let counted = server.pushed_requests.take(request.asker(&client, &credential));
    counted.map_err(|too_many| refused(Reason::PushedTooOften(too_many)))?;
    let targets = &request.configuration.dpop_pushed_targets;
    let proof = server.dpop.of(&client, request, targets).map_err(refused)?;
    let asked = Asked {
        client: &client.client,
        form: request.form(),
        is_pushed: true,
        now: request.attempt.now,
    };
    let authorization_request = authorization_requests::read(server, request.configuration, asked)
        .await
        .map_err(|refusal| refused(refusal.reason.into()))?;
    // RFC 9449 §10.1: the header says what the parameter says, and if both are there they say the same.
    let authorization_request = match (
        proof.as_ref().map(|proof| proof.key().to_string()),
        authorization_request,
    ) {
        (Some(proof), asked) if asked.dpop_jkt().is_some_and(|parameter| parameter != proof) => {
            let parameter = asked.dpop_jkt().unwrap_or_default().to_owned();
            return Err(refused(Reason::DpopKeyDiffers { parameter, proof }));
        }
        (Some(proof), asked) => asked.bound_to_dpop_key(proof),
        (None, asked) => asked,
    };
    // As with `dpop_jkt`, which was judged with the request: the tokens of such a client are bound to a certificate.
    let metadata = client.client.metadata();
    if authorization_request.dpop_jkt().is_some() && metadata.requires_bound_access_tokens(request.attempt.profile) {
        return Err(refused(Reason::TwoBindings));
    }
    server.dpop.spend(proof.as_ref(), request).map_err(refused)?;
    // The last thing: an assertion is spent for a request that is kept and for nothing else.
    let entry = || request.audit_entry(client.client.client_id());
    let identified = server.authentication.spend(&client, credential, entry).await?;

    let mut random = [0; REQUEST_URI_RANDOM_BYTES];
    let drawn = server.tokens.random.fill(&mut random);
    drawn.map_err(|error| refused(IssueError::from(error).into()))?;
    let request_uri = format!("{REQUEST_URI_PREFIX}{}", base64url::encode(&random));
    let lifetime = request.configuration.pushed_request_lifetime;
    let pushed = PushedRequest {
        hash: RequestUriHash::of(&request_uri),
        client_id: client.client.client_id().clone(),
        request: authorization_request.to_json(),
        expires_at: request.attempt.now.plus(lifetime),
    };
    let pushed = server.store.pushed_requests.push_request(pushed).await;
    match pushed.map_err(|error| refused(error.into()))? {
        PushRequest::Pushed => {}
        PushRequest::AlreadyPushed => return Err(refused(IssueError::RandomnessRepeated.into())),
        PushRequest::TooMany => return Err(refused(Reason::TooManyPushedRequests)),
    }
    // Neither has a character that JSON escapes.
    let body = format!(
        r#"{{"request_uri":"{request_uri}","expires_in":{}}}"#,
        lifetime.as_secs()
    );
    let response = response::json(StatusCode::CREATED, body);
    let answer = Answer::to(&identified, Arc::clone(&client), response);
    Ok(
        match server
            .dpop
            .next_nonce(proof.as_ref(), request.configuration, request.attempt.now)
        {
            Some(nonce) => answer.with_header(DPOP_NONCE, nonce),
            None => answer,
        },
    )
}
