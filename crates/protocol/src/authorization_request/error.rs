//! Why an authorization request was not accepted, and who may be told.

use crate::authorization_details::AuthorizationDetailsError;
use crate::authorization_response::ResponseTarget;
use crate::claims_request::ClaimsRequestError;
use crate::error_code::ErrorCode;
use crate::pkce::CodeChallengeError;
use crate::profile::Profile;
use crate::redirect_uri::RedirectUriError;
use crate::resource::{ResourceUri, ResourceUriError};
use crate::scope::{Scope, ScopeError};

/// Why an authorization request was not accepted.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum AuthorizationRequestError {
    /// The redirect URI is missing or not registered.
    #[error(transparent)]
    RedirectUri(#[from] RedirectUriError),
    /// A parameter is longer than it may be.
    #[error("parameter `{0}` is too long")]
    TooLong(&'static str),
    /// `response_mode` is not one that is served.
    #[error("response mode {0:?} is not supported")]
    ResponseMode(String),
    /// The client has not registered the grant.
    #[error("the client has not registered grant type authorization_code")]
    GrantNotRegistered,
    /// `response_type` is missing.
    #[error("`response_type` is missing")]
    ResponseTypeMissing,
    /// `response_type` is another than `code`.
    #[error("response type {0:?} is not supported")]
    ResponseTypeUnsupported(String),
    /// The request has to be pushed.
    #[error("the request was not pushed, and server, client or profile demand that (RFC 9126 §5)")]
    PushedRequired,
    /// The request has to be signed.
    #[error("the request is not a signed request object, and client or profile demand that (RFC 9101 §10.5)")]
    SignedRequired,
    /// The request was judged by a laxer profile than is in force for its client now.
    #[error("the request was judged by profile {judged}, and {now} is in force for the client now")]
    ProfileRaised {
        /// By then.
        judged: Profile,
        /// Now.
        now: Profile,
    },
    /// There is no code challenge.
    #[error("`code_challenge` is missing, and {0} has to use one")]
    ChallengeMissing(ChallengeRequiredOf),
    /// The code challenge is not acceptable.
    #[error(transparent)]
    Challenge(#[from] CodeChallengeError),
    /// `scope` is malformed.
    #[error("the scope is malformed")]
    Scope(#[from] ScopeError),
    /// A word that the client has not registered.
    #[error("scope `{presented}` exceeds the registered `{registered}`")]
    ScopeNotRegistered {
        /// What was asked for.
        presented: Scope,
        /// What the client registered.
        registered: Scope,
    },
    /// A word that consent never grants.
    #[error("scope `{0}` is reserved, and never granted by users")]
    ScopeReserved(Scope),
    /// A `resource` is malformed.
    #[error("resource {presented:?} is malformed")]
    Resource {
        /// What was sent.
        presented: String,
        /// What is wrong with it.
        #[source]
        source: ResourceUriError,
    },
    /// A `resource` is not known.
    #[error("resource {0} is not configured")]
    ResourceUnknown(ResourceUri),
    /// More than [`RESOURCES_MAX`](crate::token_request::RESOURCES_MAX) resources.
    #[error("too many resources")]
    TooManyResources,
    /// `authorization_details` is not acceptable.
    #[error(transparent)]
    AuthorizationDetails(#[from] AuthorizationDetailsError),
    /// `claims` is not acceptable.
    #[error(transparent)]
    Claims(#[from] ClaimsRequestError),
    /// `prompt` is not acceptable.
    #[error("prompt {0:?} is not a set of known values, or `none` with others")]
    Prompt(String),
    /// `max_age` is not a number of seconds.
    #[error("`max_age` is not a number of seconds")]
    MaxAge,
    /// `dpop_jkt` is not a thumbprint.
    #[error("`dpop_jkt` is not the base64url of a SHA-256")]
    DpopThumbprint,
    /// A code bound to a key, for a client whose tokens are bound to a certificate: it could never be redeemed.
    #[error("the client's access tokens are bound to a certificate, and `dpop_jkt` names a key: one of both too many")]
    TwoBindings,
    /// The client insists on one of these authentication contexts, and this server tells none apart (OpenID Connect Core §5.5.1.1).
    #[error("the client insists on one of {} values of `acr`, and sign-ins have none here", .values)]
    AuthenticationContext {
        /// How many would do.
        values: usize,
    },
    /// The client describes itself in the request (OpenID Connect Core §7.2.1), which is for providers that know no clients.
    #[error("`registration` was sent, and clients are registered beforehand here")]
    RegistrationParameter,
}

/// Who has to use PKCE.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ChallengeRequiredOf {
    /// RFC 9700 §2.1.1
    #[error("a public client")]
    PublicClients,
    /// FAPI 2.0 §5.3.2.2
    #[error("every client of profile {0}")]
    Profile(Profile),
}

impl AuthorizationRequestError {
    /// The code that is sent.
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::RedirectUri(_)
            | Self::TooLong(_)
            | Self::ResponseMode(_)
            | Self::ResponseTypeMissing
            | Self::PushedRequired
            | Self::SignedRequired
            | Self::ProfileRaised { .. }
            | Self::ChallengeMissing(_)
            | Self::Challenge(_)
            | Self::Claims(_)
            | Self::Prompt(_)
            | Self::MaxAge
            | Self::DpopThumbprint
            | Self::TwoBindings => ErrorCode::InvalidRequest,
            Self::AuthenticationContext { .. } => ErrorCode::UnmetAuthenticationRequirements,
            Self::RegistrationParameter => ErrorCode::RegistrationNotSupported,
            Self::GrantNotRegistered => ErrorCode::UnauthorizedClient,
            Self::ResponseTypeUnsupported(_) => ErrorCode::UnsupportedResponseType,
            Self::Scope(_) | Self::ScopeNotRegistered { .. } | Self::ScopeReserved(_) => ErrorCode::InvalidScope,
            Self::Resource { .. } | Self::ResourceUnknown(_) | Self::TooManyResources => ErrorCode::InvalidTarget,
            Self::AuthorizationDetails(error) => error.code(),
        }
    }
}

/// A refused authorization request.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{reason}")]
pub struct AuthorizationRefusal {
    /// Why.
    pub reason: AuthorizationRequestError,
    /// Where the client may be told; `None` if nobody may be redirected, because the redirect URI is not one of the client's.
    pub target: Option<Box<ResponseTarget>>,
}

impl AuthorizationRefusal {
    /// The code that is sent, by a redirect, as JSON or on a page.
    pub fn code(&self) -> ErrorCode {
        self.reason.code()
    }
}
