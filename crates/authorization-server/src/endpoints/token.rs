//! `POST /token`: exchanges a grant for an access token (RFC 6749 §3.2).

use std::sync::Arc;

use http::StatusCode;
use keybound_protocol::access_token::AccessTokenFormat;
use keybound_protocol::confirmation::Confirmation;
use keybound_protocol::grant_type::GrantType;
use keybound_protocol::scope::Scope;
use keybound_protocol::token_request::{self, TokenRequest, TokenRequestError};

use super::{Answer, ClientRequest, Refused};
use crate::access_tokens::{IssueError, NewAccessToken};
use crate::client_authentication::{Credential, Identified};
use crate::clients::PreparedClient;
use crate::error::{NothingToBindTo, Reason};
use crate::grants::client_credentials;
use crate::response;
use crate::server::Server;

/// Answers a token request.
pub(crate) async fn post(server: &Server, request: &ClientRequest<'_>) -> Result<Answer, Refused> {
    let Identified { client, credential } = server.authentication.authenticate(request.attempt).await?;
    let refused = |reason: Reason| Refused::of(&client, reason);
    let grant_type = token_request::grant_type(request.form()).map_err(|error| refused(error.into()))?;
    require_grant_type(&client, &credential, grant_type).map_err(refused)?;
    // Before anything is spent: a client whose tokens are bound and that shows no certificate keeps what it has.
    let confirmation = binding_for(&client, request).map_err(refused)?;
    let asked = match TokenRequest::parse(request.form()).map_err(|error| refused(error.into()))? {
        TokenRequest::ClientCredentials(asked) => asked,
        other => {
            let name = other.grant_type().name().to_owned();
            return Err(refused(TokenRequestError::GrantTypeUnsupported(name).into()));
        }
    };
    let resources = &request.configuration.resources;
    let decision = client_credentials::decide(&client.client, resources, asked.scope.as_ref(), &asked.resources)
        .map_err(|refusal| refused(refusal.into()))?;
    // The last thing: an assertion is spent for a token and for nothing else.
    let entry = || request.audit_entry(client.client.client_id());
    let identified = server.authentication.spend(&client, credential, entry).await?;
    let token = NewAccessToken {
        recipient: &identified,
        encoder: &client.encoder,
        scope: &decision.scope,
        audience: &decision.audience,
        confirmation: confirmation.as_ref(),
        issued_at: request.attempt.now,
        lifetime: request.configuration.access_token_lifetime,
    };
    let token = issue(server, request, decision.format, token)
        .await
        .map_err(|error| refused(error.into()))?;
    let response = token_response(
        &token,
        request.configuration.access_token_lifetime.as_secs(),
        &decision.scope,
    );
    Ok(Answer::to(&identified, Arc::clone(&client), response))
}

fn require_grant_type(client: &PreparedClient, credential: &Credential, presented: GrantType) -> Result<(), Reason> {
    let metadata = client.client.metadata();
    // RFC 6749 §4.4: the client credentials grant is for clients that have credentials.
    if presented == GrantType::ClientCredentials && matches!(credential, Credential::Public(_)) {
        return Err(Reason::PublicClient { presented });
    }
    if !metadata.permits_grant_type(presented) {
        return Err(Reason::GrantNotRegistered {
            presented,
            registered: metadata.grant_types().to_vec(),
        });
    }
    Ok(())
}

/// What the token is bound to: the certificate of this request if and only if the client's tokens are bound.
///
/// However the client authenticated (RFC 8705 §3), and to no other certificate than the one whose key was proven for this
/// request (§4).
fn binding_for(client: &PreparedClient, request: &ClientRequest<'_>) -> Result<Option<Confirmation>, Reason> {
    if !client
        .client
        .metadata()
        .requires_bound_access_tokens(request.attempt.profile)
    {
        return Ok(None);
    }
    match request.attempt.presented.end_entity() {
        Some(certificate) => Ok(Some(Confirmation::certificate_bound(*certificate.thumbprint()))),
        None => Err(Reason::NothingToBindTo(NothingToBindTo::of(request.attempt.presented))),
    }
}

async fn issue(
    server: &Server,
    request: &ClientRequest<'_>,
    format: AccessTokenFormat,
    token: NewAccessToken<'_>,
) -> Result<String, IssueError> {
    match format {
        AccessTokenFormat::Jwt => {
            server.metrics.tokens_jwt.inc();
            server.tokens.issue_jwt(token).await
        }
        AccessTokenFormat::Opaque => {
            server.metrics.tokens_opaque.inc();
            let entry = request.audit_entry(token.recipient.client().client_id());
            server.tokens.issue_opaque(token, entry).await
        }
    }
}

/// RFC 6749 §5.1. `Bearer` also for a bound token (RFC 8705 §3), and no refresh token with this grant (§4.4.3).
fn token_response(token: &str, expires_in: u64, scope: &Scope) -> response::Response {
    // Neither a token nor a scope has a character that JSON escapes.
    let mut body = String::with_capacity(token.len() + scope.as_str().len() + 80);
    body.push_str(r#"{"access_token":""#);
    body.push_str(token);
    body.push_str(r#"","token_type":"Bearer","expires_in":"#);
    body.push_str(&expires_in.to_string());
    if !scope.is_empty() {
        body.push_str(r#","scope":""#);
        body.push_str(scope.as_str());
        body.push('"');
    }
    body.push('}');
    response::json(StatusCode::OK, body)
}
