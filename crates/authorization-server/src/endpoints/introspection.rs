//! `POST /introspect`: tells a protected resource about a token (RFC 7662, RFC 8705 §3.2).
//!
//! A token is shown to callers that an operator named for its audience (`keybound_introspects`), and to the one that *is* its
//! audience. To everybody else it does not exist: unknown, expired, revoked and foreign tokens have one answer, octet for octet,
//! and it is sent at [one time](crate::answer_time), whatever it took to find.

use bytes::Bytes;
use http::StatusCode;
use keybound_protocol::client::Client;
use keybound_protocol::introspection::{ActiveToken, INACTIVE, IntrospectionRequest, IntrospectionResponse};
use keybound_protocol::issuer::Issuer;

use super::{Answer, ClientRequest, Refused};
use crate::access_tokens::LiveToken;
use crate::client_authentication::Identified;
use crate::error::Reason;
use crate::response;
use crate::server::Server;

/// Answers an introspection request.
pub(crate) async fn post(server: &Server, request: &ClientRequest<'_>) -> Result<Answer, Refused> {
    let Identified { client, credential } = server.authentication.authenticate(request.attempt).await?;
    let asked = IntrospectionRequest::parse(request.form()).map_err(|error| Refused::of(&client, error))?;
    let entry = request.audit_entry(client.client.client_id());
    let credential = server.authentication.spend(&client, credential, entry).await?;
    let Some(caller) = credential.authenticated() else {
        return Err(Refused {
            reason: Reason::PublicCaller,
            client: None,
        });
    };
    let issuer = &request.configuration.issuer;
    let token = match asked.token() {
        Some(token) => server
            .tokens
            .find(token, issuer, request.attempt.now)
            .map_err(|error| Refused::of(&client, error))?,
        None => None,
    };
    let visible = match token {
        // A client that is gone takes its tokens along.
        Some(token)
            if server
                .clients
                .find(&token.client_id)
                .map_err(|error| Refused::of(&client, error))?
                .is_some() =>
        {
            Some(token).filter(|token| may_see(caller.client(), token))
        }
        _ => None,
    };
    let is_alike = visible.is_none();
    let body = match visible {
        Some(token) => Bytes::from(IntrospectionResponse::Active(Box::new(active(token, issuer))).to_json()),
        None => Bytes::from_static(INACTIVE),
    };
    Ok(Answer {
        response: response::json(StatusCode::OK, body),
        client,
        is_alike,
    })
}

fn may_see(caller: &Client, token: &LiveToken) -> bool {
    token.audience.iter().any(|audience| {
        audience == caller.client_id().as_str()
            || caller
                .metadata()
                .introspects()
                .iter()
                .any(|resource| resource.as_str() == audience)
    })
}

fn active(token: LiveToken, issuer: &Issuer) -> ActiveToken {
    ActiveToken {
        scope: Some(token.scope).filter(|scope| !scope.is_empty()),
        client_id: Some(token.client_id.as_str().to_owned()),
        token_type: Some("Bearer".to_owned()),
        expires_at: Some(token.expires_at),
        issued_at: Some(token.issued_at),
        not_before: None,
        subject: Some(token.subject),
        audience: token.audience,
        issuer: Some(issuer.as_str().to_owned()),
        token_id: Some(token.token_id),
        confirmation: token.confirmation,
    }
}
