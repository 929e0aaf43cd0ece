//! The closed set of OAuth error codes that may leave this product, and the HTTP status of each.
//!
//! Reasons (the enums beside each check) map into this set by exhaustive matches. Nothing internal is in it.

use std::fmt;

use http::StatusCode;

use crate::endpoint::Endpoint;

/// An error code of the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ErrorCode {
    /// RFC 6749 §5.2
    InvalidRequest,
    /// RFC 6749 §5.2: client authentication failed.
    InvalidClient,
    /// RFC 6749 §5.2
    InvalidGrant,
    /// RFC 6749 §5.2: the client may not use this grant type.
    UnauthorizedClient,
    /// RFC 6749 §5.2
    UnsupportedGrantType,
    /// RFC 6749 §5.2
    InvalidScope,
    /// RFC 6749 §4.1.2.1
    AccessDenied,
    /// RFC 6749 §4.1.2.1
    UnsupportedResponseType,
    /// RFC 6749 §4.1.2.1: our own fault.
    ServerError,
    /// RFC 6749 §4.1.2.1: overloaded or in maintenance.
    TemporarilyUnavailable,
    /// RFC 6750 §3.1
    InvalidToken,
    /// RFC 6750 §3.1
    InsufficientScope,
    /// RFC 7009 §2.2.1
    UnsupportedTokenType,
    /// RFC 7591 §3.2.2
    InvalidRedirectUri,
    /// RFC 7591 §3.2.2
    InvalidClientMetadata,
    /// RFC 7591 §3.2.2
    InvalidSoftwareStatement,
    /// RFC 7591 §3.2.2
    UnapprovedSoftwareStatement,
    /// RFC 8628 §3.5
    AuthorizationPending,
    /// RFC 8628 §3.5
    SlowDown,
    /// RFC 8628 §3.5
    ExpiredToken,
    /// RFC 8707 §2
    InvalidTarget,
    /// OpenID Connect Core §3.1.2.6: `prompt=none`, and nobody is signed in.
    LoginRequired,
    /// OpenID Connect Core §3.1.2.6: `prompt=none`, and the user has to be asked something.
    InteractionRequired,
    /// OpenID Connect Core §3.1.2.6: `prompt=none`, and the user has not consented.
    ConsentRequired,
    /// OpenID Connect Core §3.1.2.6: `prompt=none`, and the user has to choose an account.
    AccountSelectionRequired,
    /// RFC 9101 §7
    InvalidRequestObject,
    /// RFC 9101 §7: also one that was pushed and has been used or has expired (RFC 9126 §4).
    InvalidRequestUri,
    /// RFC 9101 §7
    RequestNotSupported,
    /// RFC 9101 §7
    RequestUriNotSupported,
    /// OpenID Connect Core §3.1.2.6
    RegistrationNotSupported,
    /// OpenID Connect Core Error Code unmet_authentication_requirements 1.0: nobody can sign in here in the way that the client insists on.
    UnmetAuthenticationRequirements,
    /// RFC 9396 §5
    InvalidAuthorizationDetails,
    /// RFC 9449 §5
    InvalidDpopProof,
    /// RFC 9449 §8
    UseDpopNonce,
    /// CIBA Core §13
    ExpiredLoginHintToken,
    /// CIBA Core §13
    UnknownUserId,
    /// CIBA Core §13
    MissingUserCode,
    /// CIBA Core §13
    InvalidUserCode,
    /// CIBA Core §13
    InvalidBindingMessage,
    /// CIBA Core §12: told in push mode.
    TransactionFailed,
}

/// Whether the request carried an `Authorization` header, and of which scheme.
///
/// RFC 6749 §5.2: a client that tried to authenticate by that header is answered 401 with a challenge of its scheme.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AuthorizationScheme {
    /// No such header.
    Absent,
    /// `Basic` (RFC 7617).
    Basic,
    /// `Bearer` (RFC 6750).
    Bearer,
    /// `DPoP` (RFC 9449).
    Dpop,
    /// Any other: there is no challenge of a scheme that we do not offer, so `Bearer` is named instead.
    Other,
}

impl ErrorCode {
    /// Every code.
    pub const ALL: [Self; 40] = [
        Self::InvalidRequest,
        Self::InvalidClient,
        Self::InvalidGrant,
        Self::UnauthorizedClient,
        Self::UnsupportedGrantType,
        Self::InvalidScope,
        Self::AccessDenied,
        Self::UnsupportedResponseType,
        Self::ServerError,
        Self::TemporarilyUnavailable,
        Self::InvalidToken,
        Self::InsufficientScope,
        Self::UnsupportedTokenType,
        Self::InvalidRedirectUri,
        Self::InvalidClientMetadata,
        Self::InvalidSoftwareStatement,
        Self::UnapprovedSoftwareStatement,
        Self::AuthorizationPending,
        Self::SlowDown,
        Self::ExpiredToken,
        Self::InvalidTarget,
        Self::LoginRequired,
        Self::InteractionRequired,
        Self::ConsentRequired,
        Self::AccountSelectionRequired,
        Self::InvalidRequestObject,
        Self::InvalidRequestUri,
        Self::RequestNotSupported,
        Self::RequestUriNotSupported,
        Self::RegistrationNotSupported,
        Self::UnmetAuthenticationRequirements,
        Self::InvalidAuthorizationDetails,
        Self::InvalidDpopProof,
        Self::UseDpopNonce,
        Self::ExpiredLoginHintToken,
        Self::UnknownUserId,
        Self::MissingUserCode,
        Self::InvalidUserCode,
        Self::InvalidBindingMessage,
        Self::TransactionFailed,
    ];

    /// The code as it is sent.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::InvalidRequest => "invalid_request",
            Self::InvalidClient => "invalid_client",
            Self::InvalidGrant => "invalid_grant",
            Self::UnauthorizedClient => "unauthorized_client",
            Self::UnsupportedGrantType => "unsupported_grant_type",
            Self::InvalidScope => "invalid_scope",
            Self::AccessDenied => "access_denied",
            Self::UnsupportedResponseType => "unsupported_response_type",
            Self::ServerError => "server_error",
            Self::TemporarilyUnavailable => "temporarily_unavailable",
            Self::InvalidToken => "invalid_token",
            Self::InsufficientScope => "insufficient_scope",
            Self::UnsupportedTokenType => "unsupported_token_type",
            Self::InvalidRedirectUri => "invalid_redirect_uri",
            Self::InvalidClientMetadata => "invalid_client_metadata",
            Self::InvalidSoftwareStatement => "invalid_software_statement",
            Self::UnapprovedSoftwareStatement => "unapproved_software_statement",
            Self::AuthorizationPending => "authorization_pending",
            Self::SlowDown => "slow_down",
            Self::ExpiredToken => "expired_token",
            Self::InvalidTarget => "invalid_target",
            Self::LoginRequired => "login_required",
            Self::InteractionRequired => "interaction_required",
            Self::ConsentRequired => "consent_required",
            Self::AccountSelectionRequired => "account_selection_required",
            Self::InvalidRequestObject => "invalid_request_object",
            Self::InvalidRequestUri => "invalid_request_uri",
            Self::RequestNotSupported => "request_not_supported",
            Self::RequestUriNotSupported => "request_uri_not_supported",
            Self::RegistrationNotSupported => "registration_not_supported",
            Self::UnmetAuthenticationRequirements => "unmet_authentication_requirements",
            Self::InvalidAuthorizationDetails => "invalid_authorization_details",
            Self::InvalidDpopProof => "invalid_dpop_proof",
            Self::UseDpopNonce => "use_dpop_nonce",
            Self::ExpiredLoginHintToken => "expired_login_hint_token",
            Self::UnknownUserId => "unknown_user_id",
            Self::MissingUserCode => "missing_user_code",
            Self::InvalidUserCode => "invalid_user_code",
            Self::InvalidBindingMessage => "invalid_binding_message",
            Self::TransactionFailed => "transaction_failed",
        }
    }

    /// The code that is sent as `text`, `None` for one that is not in this set.
    pub fn from_wire(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|code| code.as_str() == text)
    }

    /// The one sentence that may accompany the code as `error_description`.
    ///
    /// Static, and within %x20-21 / %x23-5B / %x5D-7E (RFC 6749 §5.2). For `invalid_client` it is one sentence whatever
    /// failed, so that the answer is no oracle.
    pub fn description(self) -> &'static str {
        match self {
            Self::InvalidRequest => "the request is malformed, incomplete or repeats a parameter",
            Self::InvalidClient => "client authentication failed",
            Self::InvalidGrant => "the grant is invalid, expired, revoked or was issued to another client",
            Self::UnauthorizedClient => "this client may not use this grant type",
            Self::UnsupportedGrantType => "this grant type is not supported",
            Self::InvalidScope => "the scope is malformed, unknown or exceeds what this client may have",
            Self::AccessDenied => "access was denied",
            Self::UnsupportedResponseType => "this response type is not supported",
            Self::ServerError => "the server failed to answer",
            Self::TemporarilyUnavailable => "the server cannot answer at the moment",
            Self::InvalidToken => "the access token is not valid for this request",
            Self::InsufficientScope => "the access token lacks a scope that this request needs",
            Self::UnsupportedTokenType => "tokens of this type cannot be revoked",
            Self::InvalidRedirectUri => "a redirect URI is not acceptable",
            Self::InvalidClientMetadata => "the client metadata is not acceptable",
            Self::InvalidSoftwareStatement => "the software statement is not valid",
            Self::UnapprovedSoftwareStatement => "the software statement is not approved here",
            Self::AuthorizationPending => "the request is still waiting for the user",
            Self::SlowDown => "the request is still waiting for the user; poll less often",
            Self::ExpiredToken => "the code has expired",
            Self::InvalidTarget => "a requested resource is malformed or unknown",
            Self::LoginRequired => "the user has to sign in",
            Self::InteractionRequired => "the user has to be asked",
            Self::ConsentRequired => "the user has to consent",
            Self::AccountSelectionRequired => "the user has to choose an account",
            Self::InvalidRequestObject => "the request object is not acceptable",
            Self::InvalidRequestUri => "the request_uri is unknown, used or expired",
            Self::RequestNotSupported => "request objects are not supported",
            Self::RequestUriNotSupported => "this kind of request_uri is not supported",
            Self::RegistrationNotSupported => "the registration parameter is not supported",
            Self::UnmetAuthenticationRequirements => "users cannot sign in here in the way that was asked for",
            Self::InvalidAuthorizationDetails => "the authorization details are not acceptable",
            Self::InvalidDpopProof => "the DPoP proof is not acceptable",
            Self::UseDpopNonce => "the DPoP proof has to carry the nonce of this response",
            Self::ExpiredLoginHintToken => "the login hint token has expired",
            Self::UnknownUserId => "the hint names nobody",
            Self::MissingUserCode => "a user code is required",
            Self::InvalidUserCode => "the user code is not valid",
            Self::InvalidBindingMessage => "the binding message is not acceptable",
            Self::TransactionFailed => "the transaction failed",
        }
    }

    /// The HTTP status of this code at `endpoint`.
    ///
    /// A function of code and endpoint, except that `invalid_client` is always 401 where the request had an
    /// `Authorization` header (RFC 6749 §5.2). Introspection and backchannel authentication answer it with 401
    /// (RFC 7662 §2.3, CIBA Core §13), the others with 400: 401 would demand a challenge, and there is none for mutual TLS.
    /// RFC 6750's codes mean the same at every endpoint, for some are protected resources themselves.
    pub fn status(self, endpoint: Endpoint, authorization: AuthorizationScheme) -> StatusCode {
        match self {
            Self::InvalidClient => match endpoint {
                Endpoint::Introspection | Endpoint::BackchannelAuthentication => StatusCode::UNAUTHORIZED,
                _ if authorization != AuthorizationScheme::Absent => StatusCode::UNAUTHORIZED,
                _ => StatusCode::BAD_REQUEST,
            },
            Self::AccessDenied if endpoint == Endpoint::BackchannelAuthentication => StatusCode::FORBIDDEN,
            // RFC 9449 §5, §8.
            Self::InvalidDpopProof | Self::UseDpopNonce if endpoint != Endpoint::Userinfo => StatusCode::BAD_REQUEST,
            _ => self.resource_status(),
        }
    }

    /// The HTTP status of this code at a protected resource (RFC 6750 §3.1), where clients do not authenticate.
    pub fn resource_status(self) -> StatusCode {
        match self {
            // RFC 9449 §7.1, §9: at a resource, what is wrong with the proof is answered by a challenge.
            Self::InvalidToken | Self::InvalidDpopProof | Self::UseDpopNonce => StatusCode::UNAUTHORIZED,
            Self::InsufficientScope => StatusCode::FORBIDDEN,
            Self::ServerError => StatusCode::INTERNAL_SERVER_ERROR,
            Self::TemporarilyUnavailable => StatusCode::SERVICE_UNAVAILABLE,
            Self::InvalidRequest
            | Self::InvalidClient
            | Self::InvalidGrant
            | Self::UnauthorizedClient
            | Self::UnsupportedGrantType
            | Self::InvalidScope
            | Self::AccessDenied
            | Self::UnsupportedResponseType
            | Self::UnsupportedTokenType
            | Self::InvalidRedirectUri
            | Self::InvalidClientMetadata
            | Self::InvalidSoftwareStatement
            | Self::UnapprovedSoftwareStatement
            | Self::AuthorizationPending
            | Self::SlowDown
            | Self::ExpiredToken
            | Self::InvalidTarget
            | Self::LoginRequired
            | Self::InteractionRequired
            | Self::ConsentRequired
            | Self::AccountSelectionRequired
            | Self::InvalidRequestObject
            | Self::InvalidRequestUri
            | Self::RequestNotSupported
            | Self::RequestUriNotSupported
            | Self::RegistrationNotSupported
            | Self::UnmetAuthenticationRequirements
            | Self::InvalidAuthorizationDetails
            | Self::ExpiredLoginHintToken
            | Self::UnknownUserId
            | Self::MissingUserCode
            | Self::InvalidUserCode
            | Self::InvalidBindingMessage
            | Self::TransactionFailed => StatusCode::BAD_REQUEST,
        }
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

impl AuthorizationScheme {
    /// Reads the scheme of an `Authorization` header's value; `None` stands for a request without the header.
    pub fn of(authorization: Option<&[u8]>) -> Self {
        let Some(value) = authorization else {
            return Self::Absent;
        };
        let scheme = value.split(|octet| *octet == b' ').next().unwrap_or_default();
        if scheme.eq_ignore_ascii_case(b"Basic") {
            Self::Basic
        } else if scheme.eq_ignore_ascii_case(b"Bearer") {
            Self::Bearer
        } else if scheme.eq_ignore_ascii_case(b"DPoP") {
            Self::Dpop
        } else {
            Self::Other
        }
    }

    /// The scheme that a 401 names in `WWW-Authenticate`; never one that the peer made up.
    pub fn challenge_scheme(self) -> &'static str {
        match self {
            Self::Basic => "Basic",
            Self::Dpop => "DPoP",
            Self::Absent | Self::Bearer | Self::Other => "Bearer",
        }
    }
}

impl serde::Serialize for ErrorCode {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> serde::Deserialize<'de> for ErrorCode {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        Self::from_wire(&text).ok_or_else(|| serde::de::Error::custom("not an error code of this product"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_reads_back_and_describes_itself_within_the_allowed_characters() {
        for code in ErrorCode::ALL {
            assert_eq!(ErrorCode::from_wire(code.as_str()), Some(code));
            for octet in code.as_str().bytes().chain(code.description().bytes()) {
                assert!(matches!(octet, 0x20..=0x21 | 0x23..=0x5b | 0x5d..=0x7e), "{code}");
            }
        }
        assert_eq!(ErrorCode::from_wire("invalid_certificate"), None);
    }

    #[test]
    fn never_names_a_scheme_that_the_peer_made_up() {
        assert_eq!(AuthorizationScheme::of(Some(b"Evil\" x")), AuthorizationScheme::Other);
        assert_eq!(AuthorizationScheme::Other.challenge_scheme(), "Bearer");
        assert_eq!(AuthorizationScheme::of(Some(b"bAsIc eA==")), AuthorizationScheme::Basic);
        assert_eq!(AuthorizationScheme::of(Some(b"")), AuthorizationScheme::Other);
        assert_eq!(AuthorizationScheme::of(None), AuthorizationScheme::Absent);
    }
}
