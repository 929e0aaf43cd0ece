//! `grant_type=client_credentials` (RFC 6749 §4.4): scope and audience of a token that a client asks for itself.
//!
//! Scope and audience are decided together, for one token must never be read as "these words at any of those resources"
//! (RFC 9068 §3). So a token is for exactly one resource, and the words of this server's own resources (the admin API, the feed of
//! revocations) are for these alone, one for each.

use std::sync::Arc;

use keybound_protocol::access_token::AccessTokenFormat;
use keybound_protocol::client::Client;
use keybound_protocol::error_code::ErrorCode;
use keybound_protocol::resource::ResourceUri;
use keybound_protocol::scope::Scope;
use keybound_protocol::token_request::ClientCredentialsRequest;

use super::issue::token_type;
use crate::access_tokens::NewAccessToken;
use crate::client_authentication::Credential;
use crate::endpoints::token::GrantRequest;
use crate::endpoints::{Answer, Refused};
use crate::error::Reason;
use crate::resources::{InsideResource, Resources};
use crate::token_response::TokenResponse;

/// Answers a client that asks for itself. No refresh token comes with this grant (RFC 6749 §4.4.3).
pub(crate) async fn exchange(
    grant: &GrantRequest<'_>,
    credential: Credential,
    asked: ClientCredentialsRequest,
) -> Result<Answer, Refused> {
    let refused = |reason: Reason| Refused::of(grant.client, reason);
    let configuration = grant.request.configuration;
    let (client, resources) = (&grant.client.client, &configuration.resources);
    let decision =
        decide(client, resources, asked.scope.as_ref(), &asked.resources).map_err(|refusal| refused(refusal.into()))?;
    let recipient = grant.identify(credential).await?;
    let lifetime = configuration.access_token_lifetime;
    let token = NewAccessToken {
        recipient: &recipient,
        encoder: &grant.client.encoder,
        scope: &decision.scope,
        audience: &decision.audience,
        confirmation: grant.confirmation.as_ref(),
        on_behalf_of: None,
        issued_at: grant.now(),
        lifetime,
    };
    let (metrics, tokens) = (&grant.server.metrics, &grant.server.tokens);
    let issued = match decision.format {
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
    let token_type = token_type(grant.confirmation.as_ref());
    let response = TokenResponse::new(&issued, token_type, lifetime.as_secs(), &decision.scope).to_response();
    Ok(Answer::to(&recipient, Arc::clone(grant.client), response))
}

/// What the client gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Decision {
    /// The scope of the token; empty for none.
    pub(crate) scope: Scope,
    /// The one resource it is for.
    pub(crate) audience: ResourceUri,
    /// The form it has.
    pub(crate) format: AccessTokenFormat,
}

/// Why it gets nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum GrantRefusal {
    /// A word that the client has not registered.
    #[error("scope `{presented}` exceeds the registered `{registered}`")]
    ScopeNotRegistered { presented: Scope, registered: Scope },
    /// `keybound:…` for a client that no operator vouches for.
    #[error("scope `{presented}` is reserved for clients that an operator made")]
    ScopeReserved { presented: Scope },
    /// A word of one of our own resources together with other words, or at another resource; or other words there.
    #[error("scope `{presented}` and resource {resource} do not go together")]
    ScopeOfAnotherResource { presented: Scope, resource: ResourceUri },
    /// Nothing that was asked for can be had at one of our own resources.
    #[error("the client has not registered scope `{word}`, without which {resource} has nothing for it")]
    NothingInside { resource: ResourceUri, word: &'static str },
    /// A resource that this server does not know.
    #[error("resource {presented} is not configured")]
    ResourceUnknown { presented: ResourceUri },
    /// More than one resource.
    #[error("{count} resources were asked for; a token is for one")]
    SeveralResources { count: usize },
    /// No resource was asked for and there is no default.
    #[error("no resource was asked for, and tokens.default_resource is not configured")]
    NoDefaultResource,
}

impl GrantRefusal {
    /// The code for it.
    pub(crate) fn code(&self) -> ErrorCode {
        match self {
            GrantRefusal::ScopeNotRegistered { .. }
            | GrantRefusal::ScopeReserved { .. }
            | GrantRefusal::ScopeOfAnotherResource { .. } => ErrorCode::InvalidScope,
            GrantRefusal::NothingInside { .. }
            | GrantRefusal::ResourceUnknown { .. }
            | GrantRefusal::SeveralResources { .. }
            | GrantRefusal::NoDefaultResource => ErrorCode::InvalidTarget,
        }
    }
}

/// Decides what `client` gets that asks for `scope` (`None`: nothing in particular) at `resources` (empty: the default).
///
/// # Errors
/// [`GrantRefusal`]. A scope is never narrowed silently: whoever asks for too much is told so.
pub(crate) fn decide(
    client: &Client,
    resources: &Resources,
    scope: Option<&Scope>,
    requested: &[ResourceUri],
) -> Result<Decision, GrantRefusal> {
    let registered = client.metadata().scope();
    if let Some(presented) = scope {
        require_registered(client, presented)?;
    }
    let asked = scope.and_then(|scope| resources.inside_of_scope(scope));
    let audience = audience(resources, requested, asked)?;
    if let Some(inside) = resources.inside(audience) {
        return decide_inside(client, inside, scope);
    }
    let scope = scope.cloned().unwrap_or_else(|| registered.without_reserved());
    if asked.is_some() {
        return Err(GrantRefusal::ScopeOfAnotherResource {
            presented: scope,
            resource: audience.clone(),
        });
    }
    let format = client
        .metadata()
        .access_token_format()
        .or(resources.format(audience))
        .unwrap_or(AccessTokenFormat::Jwt);
    Ok(Decision {
        scope,
        audience: audience.clone(),
        format,
    })
}

fn decide_inside(client: &Client, inside: &InsideResource, scope: Option<&Scope>) -> Result<Decision, GrantRefusal> {
    if !client.metadata().scope().contains(inside.word) || !client.origin().is_operator() {
        return Err(GrantRefusal::NothingInside {
            resource: inside.uri.clone(),
            word: inside.word,
        });
    }
    match scope {
        Some(presented) if presented.words().any(|word| word != inside.word) => {
            Err(GrantRefusal::ScopeOfAnotherResource {
                presented: presented.clone(),
                resource: inside.uri.clone(),
            })
        }
        // They read JWTs alone: these are ours, and are read while the store is busy.
        _ => Ok(Decision {
            scope: inside.scope.clone(),
            audience: inside.uri.clone(),
            format: AccessTokenFormat::Jwt,
        }),
    }
}

fn require_registered(client: &Client, presented: &Scope) -> Result<(), GrantRefusal> {
    let registered = client.metadata().scope();
    if !presented.is_subset_of(registered) {
        return Err(GrantRefusal::ScopeNotRegistered {
            presented: presented.clone(),
            registered: registered.clone(),
        });
    }
    // Registration refuses these words already. Asked again, because what is on file may be older than that rule.
    if presented.has_reserved() && !client.origin().is_operator() {
        return Err(GrantRefusal::ScopeReserved {
            presented: presented.clone(),
        });
    }
    Ok(())
}

fn audience<'a>(
    resources: &'a Resources,
    requested: &'a [ResourceUri],
    asked: Option<&'a InsideResource>,
) -> Result<&'a ResourceUri, GrantRefusal> {
    match (requested, asked) {
        ([], Some(inside)) => Ok(&inside.uri),
        ([], None) => resources.default_resource().ok_or(GrantRefusal::NoDefaultResource),
        ([one, rest @ ..], _) if rest.iter().all(|other| other == one) => {
            if resources.contains(one) {
                Ok(one)
            } else {
                Err(GrantRefusal::ResourceUnknown { presented: one.clone() })
            }
        }
        (several, _) => Err(GrantRefusal::SeveralResources { count: several.len() }),
    }
}
