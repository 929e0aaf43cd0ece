//! `grant_type=client_credentials` (RFC 6749 §4.4): scope and audience of a token that a client asks for itself.
//!
//! Scope and audience are decided together, for one token must never be read as "these words at any of those resources"
//! (RFC 9068 §3). So a token is for exactly one resource, and the words of the admin API are for the admin API alone.

use keybound_protocol::access_token::AccessTokenFormat;
use keybound_protocol::client::Client;
use keybound_protocol::error_code::ErrorCode;
use keybound_protocol::resource::ResourceUri;
use keybound_protocol::scope::{ADMIN_SCOPE, Scope};

use crate::resources::Resources;

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
    /// `keybound:admin` together with other words, or at another resource; or other words at the admin API.
    #[error("scope `{presented}` and resource {resource} do not go together")]
    ScopeOfAnotherResource { presented: Scope, resource: ResourceUri },
    /// Nothing that was asked for can be had at the admin API.
    #[error("the client has not registered scope `{ADMIN_SCOPE}`, without which {resource} has nothing for it")]
    NothingAtAdminApi { resource: ResourceUri },
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
            GrantRefusal::NothingAtAdminApi { .. }
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
    let asks_admin = scope.is_some_and(|scope| scope.contains(ADMIN_SCOPE));
    let audience = audience(resources, requested, asks_admin)?;
    if audience != resources.admin() {
        let scope = scope.cloned().unwrap_or_else(|| registered.without_reserved());
        if scope.contains(ADMIN_SCOPE) {
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
        return Ok(Decision {
            scope,
            audience: audience.clone(),
            format,
        });
    }
    if !registered.contains(ADMIN_SCOPE) || !client.origin().is_operator() {
        return Err(GrantRefusal::NothingAtAdminApi {
            resource: audience.clone(),
        });
    }
    match scope {
        Some(presented) if presented.words().any(|word| word != ADMIN_SCOPE) => {
            Err(GrantRefusal::ScopeOfAnotherResource {
                presented: presented.clone(),
                resource: audience.clone(),
            })
        }
        // The admin API reads JWTs alone: it is ours, and answers while the store is busy.
        _ => Ok(Decision {
            scope: resources.admin_scope().clone(),
            audience: audience.clone(),
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
    asks_admin: bool,
) -> Result<&'a ResourceUri, GrantRefusal> {
    match requested {
        [] if asks_admin => Ok(resources.admin()),
        [] => resources.default_resource().ok_or(GrantRefusal::NoDefaultResource),
        [one, rest @ ..] if rest.iter().all(|other| other == one) => {
            if resources.contains(one) {
                Ok(one)
            } else {
                Err(GrantRefusal::ResourceUnknown { presented: one.clone() })
            }
        }
        several => Err(GrantRefusal::SeveralResources { count: several.len() }),
    }
}
