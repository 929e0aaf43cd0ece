//! `POST /introspect`: tells a protected resource about a token (RFC 7662, RFC 8705 §3.2), as JSON or, for those who ask for it, as a
//! signed JWT that says the same (RFC 9701).
//!
//! A token is shown to callers that an operator named for its audience (`keybound_introspects`), and to the one that *is* its
//! audience. Refresh tokens are for this server alone, no resource has any use for one: to everybody they are inactive. To everybody else it does not exist: unknown, expired, revoked and foreign tokens have one answer, octet for octet,
//! and it is sent at [one time](crate::answer_time), whatever it took to find.

use std::sync::Arc;

use http::header::{ACCEPT, CONTENT_TYPE, VARY};
use http::{HeaderValue, StatusCode};
use keybound_protocol::client::Client;
use keybound_protocol::introspection::{ActiveToken, IntrospectionRequest, IntrospectionResponse};
use keybound_protocol::introspection_jwt::{INTROSPECTION_JWT_MEDIA_TYPE, IntrospectionFormat, IntrospectionJwt};
use keybound_protocol::issuer::Issuer;
use keybound_protocol::signature_algorithm::SignatureAlgorithm;

use super::{Answer, ClientRequest, Refused};
use crate::access_tokens::LiveToken;
use crate::client_authentication::Identified;
use crate::error::Reason;
use crate::grants::issue::token_type;
use crate::response;
use crate::server::Server;
use crate::signing_keys;

const JWT: HeaderValue = HeaderValue::from_static(INTROSPECTION_JWT_MEDIA_TYPE);

/// Answers an introspection request.
pub(crate) async fn post(server: &Server, request: &ClientRequest<'_>) -> Result<Answer, Refused> {
    let Identified { client, credential } = server.authentication.authenticate(request.attempt).await?;
    let asked = IntrospectionRequest::parse(request.form()).map_err(|error| Refused::of(&client, error))?;
    let entry = || request.audit_entry(client.client.client_id());
    let identified = server.authentication.spend(&client, credential, entry).await?;
    let Some(caller) = identified.authenticated() else {
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
    let introspection = match visible {
        Some(token) => IntrospectionResponse::Active(Box::new(active(token, issuer))),
        None => IntrospectionResponse::Inactive,
    };
    let accepted = request.headers.get_all(ACCEPT).iter().map(HeaderValue::as_bytes);
    let mut response = match IntrospectionFormat::of_accept(accepted) {
        IntrospectionFormat::Json => response::json(StatusCode::OK, introspection.to_json()),
        IntrospectionFormat::Jwt => {
            let jwt = IntrospectionJwt {
                issuer,
                audience: caller.client().client_id(),
                issued_at: request.attempt.now,
                response: &introspection,
            };
            let registered = caller
                .client()
                .metadata()
                .authorization()
                .introspection_signed_response_alg;
            let jwt = sign(server, jwt, registered)
                .await
                .map_err(|error| Refused::of(&client, error))?;
            let mut response = response::json(StatusCode::OK, jwt);
            response.headers_mut().insert(CONTENT_TYPE, JWT);
            response
        }
    };
    response.headers_mut().insert(VARY, HeaderValue::from_name(ACCEPT));
    Ok(Answer::to(&identified, Arc::clone(&client), response).alike(is_alike))
}

/// Signs by the key of our access tokens, or by that of the algorithm that the caller registered.
///
/// A caller that registered an algorithm gets that one or none (RFC 9701 §6). It was the server's when it was registered; an operator
/// may have changed that since.
async fn sign(
    server: &Server,
    jwt: IntrospectionJwt<'_>,
    registered: Option<SignatureAlgorithm>,
) -> Result<String, Reason> {
    let signer = {
        let ring = server.keys.ring();
        let signing = ring.signer.signer().algorithm();
        let signer = ring.signer_for(registered).map(Arc::clone);
        signer.ok_or_else(|| Reason::ResponseAlgorithm {
            registered: registered.unwrap_or(signing),
            signing,
        })?
    };
    let unsigned = jwt.encode_unsigned(&*signer);
    Ok(signing_keys::sign(signer, |signer| unsigned.sign(signer)).await?)
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
        token_type: Some(token_type(token.confirmation.as_ref()).to_owned()),
        expires_at: Some(token.expires_at),
        issued_at: Some(token.issued_at),
        not_before: None,
        subject: Some(token.subject),
        audience: token.audience,
        issuer: Some(issuer.as_str().to_owned()),
        token_id: Some(token.token_id),
        auth_time: token.auth_time,
        acr: token.acr,
        authorization_details: token.authorization_details,
        confirmation: token.confirmation,
    }
}
