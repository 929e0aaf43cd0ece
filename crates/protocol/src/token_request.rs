//! The token request (RFC 6749 §3.2): what a client asks for once it is authenticated.
//!
//! Read in two steps, in the order of the checks: [`grant_type`] before anything is decided, so that a client that may not use
//! the grant hears `unauthorized_client` and one that cannot be bound keeps what it has; [`TokenRequest::parse`] after that.

use crate::authorization_details::{AuthorizationDetails, AuthorizationDetailsError};
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
    /// A parameter that this grant needs is absent.
    #[error("`{0}` is missing")]
    ParameterMissing(&'static str),
    /// `actor_token` without `actor_token_type`, or the reverse (RFC 8693 §2.1).
    #[error("`actor_token` and `actor_token_type` belong together")]
    ActorIncomplete,
    /// `authorization_details` is malformed.
    #[error(transparent)]
    AuthorizationDetails(#[from] AuthorizationDetailsError),
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
            Self::GrantTypeMissing | Self::ParameterMissing(_) | Self::ActorIncomplete => ErrorCode::InvalidRequest,
            Self::AuthorizationDetails(error) => error.code(),
            Self::GrantTypeUnsupported(_) => ErrorCode::UnsupportedGrantType,
            Self::Scope(_) => ErrorCode::InvalidScope,
            Self::Resource { .. } | Self::TooManyResources => ErrorCode::InvalidTarget,
        }
    }
}

/// A token request, by its grant type.
#[derive(Debug, Clone, PartialEq)]
pub enum TokenRequest {
    /// RFC 6749 §4.4
    ClientCredentials(ClientCredentialsRequest),
    /// RFC 6749 §4.1.3
    AuthorizationCode(AuthorizationCodeRequest),
    /// RFC 6749 §6
    RefreshToken(RefreshTokenRequest),
    /// RFC 8628 §3.4
    DeviceCode(DeviceCodeRequest),
    /// RFC 8693 §2.1
    TokenExchange(TokenExchangeRequest),
    /// CIBA Core §10.1
    BackchannelAuthentication(BackchannelAuthenticationRequest),
}

/// A text that is worth a token, or could be. Not shown by `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct PresentedSecret(Box<str>);

/// A request that trades an authorization code.
#[derive(Debug, Clone, PartialEq)]
pub struct AuthorizationCodeRequest {
    /// `code`
    pub code: PresentedSecret,
    /// `redirect_uri`: the same as in the authorization request, if that had one.
    pub redirect_uri: Option<String>,
    /// `code_verifier`, for [`require_verifier`](crate::pkce::require_verifier).
    pub code_verifier: Option<PresentedSecret>,
    /// Where the token is to be used, within what was granted (RFC 8707 §2.2).
    pub resources: Vec<ResourceUri>,
    /// What the token is to carry, within what was granted (RFC 9396 §6).
    pub authorization_details: Option<AuthorizationDetails>,
}

/// A request that uses a refresh token.
#[derive(Debug, Clone, PartialEq)]
pub struct RefreshTokenRequest {
    /// `refresh_token`
    pub refresh_token: PresentedSecret,
    /// What the token is to have, within what was granted; `None` for all of it.
    pub scope: Option<Scope>,
    /// Where the token is to be used, within what was granted (RFC 8707 §2.2).
    pub resources: Vec<ResourceUri>,
    /// What the token is to carry, within what was granted (RFC 9396 §6).
    pub authorization_details: Option<AuthorizationDetails>,
}

/// A request that asks what became of a device code.
#[derive(Debug, Clone, PartialEq)]
pub struct DeviceCodeRequest {
    /// `device_code`
    pub device_code: PresentedSecret,
    /// Where the token is to be used, within what was granted.
    pub resources: Vec<ResourceUri>,
}

/// A request that trades one token for another.
#[derive(Debug, Clone, PartialEq)]
pub struct TokenExchangeRequest {
    /// `subject_token`
    pub subject_token: PresentedSecret,
    /// `subject_token_type`, a URI.
    pub subject_token_type: String,
    /// `actor_token` and `actor_token_type`.
    pub actor: Option<(PresentedSecret, String)>,
    /// `requested_token_type`; `None` leaves it to the server.
    pub requested_token_type: Option<String>,
    /// `audience`: names of where the token is to be used.
    pub audiences: Vec<String>,
    /// What the token is to have; `None` leaves it to the server.
    pub scope: Option<Scope>,
    /// Where the token is to be used.
    pub resources: Vec<ResourceUri>,
}

/// A request that asks what became of a backchannel authentication request.
#[derive(Debug, Clone, PartialEq)]
pub struct BackchannelAuthenticationRequest {
    /// `auth_req_id`
    pub auth_req_id: PresentedSecret,
    /// Where the token is to be used, within what was granted.
    pub resources: Vec<ResourceUri>,
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
    /// See [`TokenRequestError`].
    pub fn parse(form: &Form<'_>) -> Result<Self, TokenRequestError> {
        Ok(match grant_type(form)? {
            GrantType::ClientCredentials => Self::ClientCredentials(ClientCredentialsRequest {
                scope: scope(form)?,
                resources: resources(form)?,
            }),
            GrantType::AuthorizationCode => Self::AuthorizationCode(AuthorizationCodeRequest {
                code: secret(form, "code")?,
                redirect_uri: form.get("redirect_uri").map(str::to_owned),
                code_verifier: form.get("code_verifier").map(PresentedSecret::new),
                resources: resources(form)?,
                authorization_details: authorization_details(form)?,
            }),
            GrantType::RefreshToken => Self::RefreshToken(RefreshTokenRequest {
                refresh_token: secret(form, "refresh_token")?,
                scope: scope(form)?,
                resources: resources(form)?,
                authorization_details: authorization_details(form)?,
            }),
            GrantType::DeviceCode => Self::DeviceCode(DeviceCodeRequest {
                device_code: secret(form, "device_code")?,
                resources: resources(form)?,
            }),
            GrantType::TokenExchange => Self::TokenExchange(TokenExchangeRequest {
                subject_token: secret(form, "subject_token")?,
                subject_token_type: text(form, "subject_token_type")?.to_owned(),
                actor: actor(form)?,
                requested_token_type: form.get("requested_token_type").map(str::to_owned),
                audiences: form.audiences().map(str::to_owned).collect(),
                scope: scope(form)?,
                resources: resources(form)?,
            }),
            GrantType::BackchannelAuthentication => Self::BackchannelAuthentication(BackchannelAuthenticationRequest {
                auth_req_id: secret(form, "auth_req_id")?,
                resources: resources(form)?,
            }),
        })
    }

    /// The grant type it is of.
    pub fn grant_type(&self) -> GrantType {
        match self {
            Self::ClientCredentials(_) => GrantType::ClientCredentials,
            Self::AuthorizationCode(_) => GrantType::AuthorizationCode,
            Self::RefreshToken(_) => GrantType::RefreshToken,
            Self::DeviceCode(_) => GrantType::DeviceCode,
            Self::TokenExchange(_) => GrantType::TokenExchange,
            Self::BackchannelAuthentication(_) => GrantType::BackchannelAuthentication,
        }
    }
}

impl PresentedSecret {
    /// A secret as it was sent.
    pub fn new(text: &str) -> Self {
        Self(text.into())
    }

    /// The text, to be hashed and looked up.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for PresentedSecret {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("PresentedSecret(…)")
    }
}

fn text<'a>(form: &'a Form<'_>, name: &'static str) -> Result<&'a str, TokenRequestError> {
    form.get(name).ok_or(TokenRequestError::ParameterMissing(name))
}

fn secret(form: &Form<'_>, name: &'static str) -> Result<PresentedSecret, TokenRequestError> {
    text(form, name).map(PresentedSecret::new)
}

fn scope(form: &Form<'_>) -> Result<Option<Scope>, TokenRequestError> {
    Ok(form.get("scope").map(Scope::parse).transpose()?)
}

fn authorization_details(form: &Form<'_>) -> Result<Option<AuthorizationDetails>, TokenRequestError> {
    let text = form.get("authorization_details");
    Ok(text.map(AuthorizationDetails::parse).transpose()?)
}

fn actor(form: &Form<'_>) -> Result<Option<(PresentedSecret, String)>, TokenRequestError> {
    match (form.get("actor_token"), form.get("actor_token_type")) {
        (None, None) => Ok(None),
        (Some(token), Some(token_type)) => Ok(Some((PresentedSecret::new(token), token_type.to_owned()))),
        _ => Err(TokenRequestError::ActorIncomplete),
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
