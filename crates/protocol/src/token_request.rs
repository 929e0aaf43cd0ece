//! The token request (RFC 6749 §3.2): what a client asks for once it is authenticated.
//!
//! Read in two steps, in the order of the checks: [`grant_type`] before anything is decided, so that a client that may not use
//! the grant hears `unauthorized_client` and one that cannot be bound keeps what it has; [`TokenRequest::parse`] after that.

use crate::error_code::ErrorCode;
use crate::form::Form;
use crate::grant_type::GrantType;
use crate::resource::{ResourceUri, ResourceUriError};
use crate::scope::{Scope, ScopeError};

/// The most `resource` parameters in one request.
pub const RESOURCES_MAX: usize = 10;

/// Why a form is not a token request.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TokenRequestError {
    /// `grant_type` is absent.
    #[error("`grant_type` is missing")]
    GrantTypeMissing,
    /// `grant_type` is none that is known here.
    #[error("grant type {0:?} is not supported")]
    GrantTypeUnsupported(String),
    /// `scope` is malformed.
    #[error("the scope is malformed")]
    Scope(#[from] ScopeError),
    /// A `resource` is malformed.
    #[error("resource {presented:?} is malformed")]
    Resource {
        /// What was sent.
        presented: String,
        /// What is wrong with it.
        #[source]
        source: ResourceUriError,
    },
    /// More than [`RESOURCES_MAX`] resources.
    #[error("more than {RESOURCES_MAX} resources")]
    TooManyResources,
}

impl TokenRequestError {
    /// The code that is sent.
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::GrantTypeMissing => ErrorCode::InvalidRequest,
            Self::GrantTypeUnsupported(_) => ErrorCode::UnsupportedGrantType,
            Self::Scope(_) => ErrorCode::InvalidScope,
            Self::Resource { .. } | Self::TooManyResources => ErrorCode::InvalidTarget,
        }
    }
}

/// A token request of a grant type that this server serves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TokenRequest {
    /// RFC 6749 §4.4
    ClientCredentials(ClientCredentialsRequest),
}

/// A request for a token on the client's own behalf.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientCredentialsRequest {
    /// What it asks for; `None` leaves it to the server (RFC 6749 §3.3).
    pub scope: Option<Scope>,
    /// Where the token is to be used (RFC 8707), in the order asked, without repetition; empty leaves it to the server.
    pub resources: Vec<ResourceUri>,
}

/// Reads which grant a form is about, and nothing else.
///
/// # Errors
/// [`TokenRequestError::GrantTypeMissing`], [`TokenRequestError::GrantTypeUnsupported`].
pub fn grant_type(form: &Form<'_>) -> Result<GrantType, TokenRequestError> {
    let name = form.get("grant_type").ok_or(TokenRequestError::GrantTypeMissing)?;
    GrantType::from_name(name).ok_or_else(|| TokenRequestError::GrantTypeUnsupported(name.to_owned()))
}

impl TokenRequest {
    /// Reads a token request.
    ///
    /// # Errors
    /// See [`TokenRequestError`]. A grant type that has a name but is not served yet is unsupported.
    pub fn parse(form: &Form<'_>) -> Result<Self, TokenRequestError> {
        match grant_type(form)? {
            GrantType::ClientCredentials => Ok(Self::ClientCredentials(ClientCredentialsRequest {
                scope: form.get("scope").map(Scope::parse).transpose()?,
                resources: resources(form)?,
            })),
            unsupported @ (GrantType::AuthorizationCode
            | GrantType::RefreshToken
            | GrantType::DeviceCode
            | GrantType::TokenExchange
            | GrantType::BackchannelAuthentication) => {
                Err(TokenRequestError::GrantTypeUnsupported(unsupported.name().to_owned()))
            }
        }
    }

    /// The grant type it is of.
    pub fn grant_type(&self) -> GrantType {
        match self {
            Self::ClientCredentials(_) => GrantType::ClientCredentials,
        }
    }
}

fn resources(form: &Form<'_>) -> Result<Vec<ResourceUri>, TokenRequestError> {
    let mut resources = Vec::new();
    for presented in form.resources() {
        let resource = ResourceUri::parse(presented).map_err(|source| TokenRequestError::Resource {
            presented: presented.to_owned(),
            source,
        })?;
        if resources.contains(&resource) {
            continue;
        }
        if resources.len() == RESOURCES_MAX {
            return Err(TokenRequestError::TooManyResources);
        }
        resources.push(resource);
    }
    Ok(resources)
}
