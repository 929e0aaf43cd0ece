//! `grant_type=urn:ietf:params:oauth:grant-type:token-exchange` (RFC 8693): a token of a trusted issuer, or of ours, for one of ours
//! that is bound to the certificate of this request.
//!
//! A stolen token buys nothing here: one that is bound is taken only from the holder of its certificate or, by a DPoP proof, of its key; and
//! what is handed out is bound to the certificate or key of whoever asks, also for clients whose other tokens are not. No refresh token comes with this grant.

use std::sync::Arc;

use keybound_protocol::access_token::{AccessTokenFormat, OnBehalfOf};
use keybound_protocol::confirmation::Confirmation;
use keybound_protocol::grant_type::GrantType;
use keybound_protocol::token_exchange::{
    ACCESS_TOKEN_TYPE, JWT_TYPE, Trade, TradePolicy, decide, require_access_tokens,
};
use keybound_protocol::token_request::TokenExchangeRequest;

use super::client_credentials::GrantRefusal;
use super::issue::token_type;
use crate::access_tokens::NewAccessToken;
use crate::client_authentication::Credential;
use crate::endpoints::token::GrantRequest;
use crate::endpoints::{Answer, Refused};
use crate::error::{NothingToBindTo, Reason};
use crate::token_response::TokenResponse;
use crate::trusted_issuers::{NotTraded, Presenter};

/// Answers a client that trades tokens.
pub(crate) async fn exchange(
    grant: &GrantRequest<'_>,
    credential: Credential,
    asked: TokenExchangeRequest,
) -> Result<Answer, Refused> {
    let refused = |reason: Reason| Refused::of(grant.client, reason);
    if matches!(credential, Credential::Public(_)) {
        let presented = GrantType::TokenExchange;
        return Err(refused(Reason::PublicClient { presented }));
    }
    let confirmation = confirmation(grant).map_err(refused)?;
    let trade = trade(grant, &asked)
        .await
        .map_err(|reason| refused(Box::new(reason).into()))?;
    let format = format(grant, &asked, &trade).map_err(|refusal| refused(refusal.into()))?;
    let recipient = grant.identify(credential).await?;
    let token = NewAccessToken {
        recipient: &recipient,
        encoder: &grant.client.encoder,
        scope: &trade.scope,
        audience: &trade.resource,
        confirmation: Some(&confirmation),
        on_behalf_of: Some(OnBehalfOf {
            subject: &trade.subject,
            auth_time: None,
            acr: None,
            authorization_details: None,
            actor: trade.actor.as_deref(),
        }),
        issued_at: grant.now(),
        lifetime: trade.lifetime,
    };
    let (metrics, tokens) = (&grant.server.metrics, &grant.server.tokens);
    let issued = match format {
        AccessTokenFormat::Jwt => {
            metrics.tokens_jwt.inc();
            tokens.issue_jwt(token).await
        }
        AccessTokenFormat::Opaque => {
            metrics.tokens_opaque.inc();
            tokens.issue_opaque(token, grant.audit_entry()).await
        }
    };
    let issued = issued.map_err(|error| refused(error.into()))?;
    let response = TokenResponse {
        issued_token_type: Some(ACCESS_TOKEN_TYPE),
        ..TokenResponse::new(
            &issued,
            token_type(Some(&confirmation)),
            trade.lifetime.as_secs(),
            &trade.scope,
        )
    };
    Ok(Answer::to(&recipient, Arc::clone(grant.client), response.to_response()))
}

/// What the new token is bound to, whatever the client registered.
fn confirmation(grant: &GrantRequest<'_>) -> Result<Confirmation, Reason> {
    let presented = grant.request.attempt.presented;
    match (grant.confirmation, presented.end_entity()) {
        (Some(confirmation), _) => Ok(confirmation),
        (None, Some(certificate)) => Ok(Confirmation::certificate_bound(*certificate.thumbprint())),
        (None, None) => Err(Reason::NothingToBindTo(NothingToBindTo::of(presented))),
    }
}

async fn trade(grant: &GrantRequest<'_>, asked: &TokenExchangeRequest) -> Result<Trade, NotTraded> {
    require_access_tokens(asked)?;
    let client_id = grant.client.client.client_id();
    let presenter = Presenter {
        client_id,
        presented: grant.request.attempt.presented,
        proof: grant.proof,
        own_issuer: &grant.request.configuration.issuer,
        now: grant.now(),
    };
    let issuers = grant.server.trusted_issuers.load_full();
    let (subject, entry) = issuers
        .examine(grant.server, asked.subject_token.expose(), presenter)
        .await?;
    let actor = match &asked.actor {
        Some((token, _)) => Some(issuers.examine(grant.server, token.expose(), presenter).await?.0),
        None => None,
    };
    let policy = TradePolicy {
        client_id: client_id.as_str(),
        registered: grant.client.client.metadata().scope(),
        resources: &entry.settings.resources,
        lifetime: grant.request.configuration.access_token_lifetime,
    };
    Ok(decide(asked, &subject, actor.as_ref(), &policy, grant.now())?)
}

/// The form of the new token, which is for a resource that is configured and not one of our own.
fn format(
    grant: &GrantRequest<'_>,
    asked: &TokenExchangeRequest,
    trade: &Trade,
) -> Result<AccessTokenFormat, GrantRefusal> {
    let resources = &grant.request.configuration.resources;
    if !resources.contains(&trade.resource) || resources.inside(&trade.resource).is_some() {
        return Err(GrantRefusal::ResourceUnknown {
            presented: trade.resource.clone(),
        });
    }
    // Who acts stands in a JWT alone.
    if asked.requested_token_type.as_deref() == Some(JWT_TYPE) || trade.actor.is_some() {
        return Ok(AccessTokenFormat::Jwt);
    }
    let registered = grant.client.client.metadata().access_token_format();
    Ok(registered
        .or(resources.format(&trade.resource))
        .unwrap_or(AccessTokenFormat::Jwt))
}
