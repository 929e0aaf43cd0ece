//! How much of what a user allowed one access token gets: as much as is asked for, never more than was granted (RFC 6749 §6,
//! RFC 8707 §2.2, RFC 9396 §6).
//!
//! As with every token of this server, one token is for one resource, so that its scope is never read as "these words at any of
//! those" (RFC 9068 §3). The grant keeps all of it: a later request may ask for another part.

use keybound_protocol::access_token::AccessTokenFormat;
use keybound_protocol::authorization_details::{AuthorizationDetails, AuthorizationDetailsError};
use keybound_protocol::authorization_request::{AuthorizationRequest, WantedAuthorization};
use keybound_protocol::client::Client;
use keybound_protocol::error_code::ErrorCode;
use keybound_protocol::resource::ResourceUri;
use keybound_protocol::scope::Scope;
use keybound_store::{Grant, StoreError};

use crate::configuration::Configuration;
use crate::resources::Resources;

/// What a token request asks for of a grant; whatever it leaves out is as granted.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Wish<'a> {
    pub(crate) scope: Option<&'a Scope>,
    pub(crate) resources: &'a [ResourceUri],
    pub(crate) authorization_details: Option<&'a AuthorizationDetails>,
}

/// What one token gets.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Share {
    pub(crate) scope: Scope,
    /// The one resource it is for.
    pub(crate) audience: ResourceUri,
    pub(crate) format: AccessTokenFormat,
    /// Those that concern the resource.
    pub(crate) authorization_details: AuthorizationDetails,
}

/// Why it gets nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ShareRefusal {
    /// A word that the user did not allow.
    #[error("scope `{presented}` exceeds the granted `{granted}`")]
    ScopeNotGranted { presented: Scope, granted: Scope },
    /// A word that the user allowed, and that was taken from the client since.
    #[error("scope `{presented}` exceeds the `{registered}` that is registered of what was granted")]
    ScopeNotRegistered { presented: Scope, registered: Scope },
    /// Of all that the user allowed, nothing is registered for the client any more.
    #[error("nothing of the granted scope `{granted}`, and no granted detail, is registered for the client any more")]
    NothingLeft { granted: Scope },
    /// A resource that the user did not allow.
    #[error("resource {presented} was not granted")]
    ResourceNotGranted { presented: ResourceUri },
    /// A resource that was granted and is not configured any more.
    #[error("resource {presented} is not configured")]
    ResourceUnknown { presented: ResourceUri },
    /// More than one resource.
    #[error("{count} resources come into question; a token is for one")]
    SeveralResources { count: usize },
    /// Neither request nor grant name a resource, and there is no default.
    #[error("no resource was asked for, and tokens.default_resource is not configured")]
    NoDefaultResource,
    /// More than the user allowed.
    #[error(transparent)]
    AuthorizationDetails(#[from] AuthorizationDetailsError),
}

impl ShareRefusal {
    /// The code for it.
    pub(crate) fn code(&self) -> ErrorCode {
        match self {
            ShareRefusal::ScopeNotGranted { .. } | ShareRefusal::ScopeNotRegistered { .. } => ErrorCode::InvalidScope,
            ShareRefusal::NothingLeft { .. } => ErrorCode::InvalidGrant,
            ShareRefusal::ResourceNotGranted { .. }
            | ShareRefusal::ResourceUnknown { .. }
            | ShareRefusal::SeveralResources { .. }
            | ShareRefusal::NoDefaultResource => ErrorCode::InvalidTarget,
            ShareRefusal::AuthorizationDetails(error) => error.code(),
        }
    }
}

/// What a user allowed, read from where it was kept.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Granted {
    scope: Scope,
    resources: Vec<ResourceUri>,
    authorization_details: AuthorizationDetails,
}

impl Granted {
    /// Reads what was allowed. Words of administration are none of a user's to allow, whatever is on file.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`]: we wrote it, so it can be read.
    pub(crate) fn read(grant: &Grant) -> Result<Granted, StoreError> {
        let resources: Result<_, _> = grant.resources.iter().map(|uri| ResourceUri::parse(uri)).collect();
        let details = grant.authorization_details.as_deref().map(serde_json::from_str);
        Ok(Granted {
            scope: Scope::parse(&grant.scope).map_err(corrupt)?.without_reserved(),
            resources: resources.map_err(corrupt)?,
            authorization_details: details.transpose().map_err(corrupt)?.unwrap_or_default(),
        })
    }

    /// The most that tokens may have.
    pub(crate) fn scope(&self) -> &Scope {
        &self.scope
    }

    /// Whether the user allowed all of this already, and of authorization details exactly this.
    pub(crate) fn covers(&self, request: &AuthorizationRequest, resources: &Resources) -> bool {
        let named = |uris: &[ResourceUri]| -> Vec<ResourceUri> {
            match uris {
                [] => resources.default_resource().into_iter().cloned().collect(),
                named => named.to_vec(),
            }
        };
        let granted = named(&self.resources);
        request.scope().is_subset_of(&self.scope)
            && named(request.resources()).iter().all(|uri| granted.contains(uri))
            && *request.authorization_details() == self.authorization_details
    }

    /// What is granted if the user allows all that is asked.
    pub(crate) fn if_allowed(wanted: &WantedAuthorization) -> Granted {
        Granted {
            scope: wanted.scope.without_reserved(),
            resources: wanted.resources.clone(),
            authorization_details: wanted.authorization_details.clone(),
        }
    }

    /// Decides what a token gets that `client` asks for by `wish`. What was taken from the client since the user allowed it is left out: words
    /// that it has not registered any more, and details of types that it does not use, or that are not configured, any more.
    ///
    /// # Errors
    /// [`ShareRefusal`]. What is asked for is never narrowed silently: whoever asks for too much is told so.
    pub(crate) fn share(
        &self,
        client: &Client,
        configuration: &Configuration,
        wish: &Wish<'_>,
    ) -> Result<Share, ShareRefusal> {
        let resources = &configuration.resources;
        let types = &configuration.authorization.details_types;
        let types_registered = &client.metadata().authorization().authorization_details_types;
        let left = self.scope.intersection(client.metadata().scope());
        let details_left = types.of_permitted_types(&self.authorization_details, types_registered);
        let is_of_nothing = self.scope.is_empty() && self.authorization_details.is_empty();
        if left.is_empty() && details_left.is_empty() && !is_of_nothing {
            return Err(ShareRefusal::NothingLeft {
                granted: self.scope.clone(),
            });
        }
        let scope = match wish.scope {
            Some(presented) if !presented.is_subset_of(&self.scope) => {
                return Err(ShareRefusal::ScopeNotGranted {
                    presented: presented.clone(),
                    granted: self.scope.clone(),
                });
            }
            Some(presented) if !presented.is_subset_of(&left) => {
                return Err(ShareRefusal::ScopeNotRegistered {
                    presented: presented.clone(),
                    registered: left,
                });
            }
            Some(presented) => presented.clone(),
            None => left,
        };
        let audience = self.audience(resources, wish.resources)?.clone();
        let details = match wish.authorization_details {
            Some(presented) => {
                presented.require_within(&self.authorization_details)?;
                types.require_types(presented, types_registered)?;
                presented
            }
            None => &details_left,
        };
        let format = client
            .metadata()
            .access_token_format()
            .or(resources.format(&audience))
            .unwrap_or(AccessTokenFormat::Jwt);
        Ok(Share {
            scope,
            authorization_details: details.for_resource(&audience),
            audience,
            format,
        })
    }

    fn audience<'a>(
        &'a self,
        resources: &'a Resources,
        requested: &'a [ResourceUri],
    ) -> Result<&'a ResourceUri, ShareRefusal> {
        let of_default = || resources.default_resource().ok_or(ShareRefusal::NoDefaultResource);
        let is_granted = |uri: &ResourceUri| match self.resources.as_slice() {
            [] => resources.default_resource() == Some(uri),
            granted => granted.contains(uri),
        };
        let audience = match (requested, self.resources.as_slice()) {
            ([], []) => of_default()?,
            ([], [one]) | ([one], _) => one,
            ([], several) | (several, _) => return Err(ShareRefusal::SeveralResources { count: several.len() }),
        };
        let presented = || audience.clone();
        // Our own resources are for clients that an operator vouches for, never for a user's.
        if !is_granted(audience) || resources.inside(audience).is_some() {
            return Err(ShareRefusal::ResourceNotGranted { presented: presented() });
        }
        if !resources.contains(audience) {
            return Err(ShareRefusal::ResourceUnknown { presented: presented() });
        }
        Ok(audience)
    }
}

fn corrupt(error: impl std::fmt::Display) -> StoreError {
    StoreError::Corrupt {
        what: "grant",
        reason: error.to_string(),
    }
}
