//! The endpoints of an authorization server, by the names their specifications give them.

/// One endpoint of an authorization server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Endpoint {
    /// The authorization endpoint (RFC 6749 §3.1): the only one that a browser visits.
    Authorization,
    /// The token endpoint (RFC 6749 §3.2).
    Token,
    /// The introspection endpoint (RFC 7662 §2).
    Introspection,
    /// The revocation endpoint (RFC 7009 §2).
    Revocation,
    /// The pushed authorization request endpoint (RFC 9126 §2).
    PushedAuthorizationRequest,
    /// The device authorization endpoint (RFC 8628 §3.1).
    DeviceAuthorization,
    /// The backchannel authentication endpoint (CIBA Core §7).
    BackchannelAuthentication,
    /// The client registration endpoint (RFC 7591 §3).
    Registration,
    /// The userinfo endpoint (OpenID Connect Core §5.3).
    Userinfo,
}

impl Endpoint {
    /// Every endpoint, in the order of the metadata document.
    pub const ALL: [Self; 9] = [
        Self::Authorization,
        Self::Token,
        Self::Introspection,
        Self::Revocation,
        Self::PushedAuthorizationRequest,
        Self::DeviceAuthorization,
        Self::BackchannelAuthentication,
        Self::Registration,
        Self::Userinfo,
    ];

    /// The registered name of this endpoint's member in authorization server metadata (RFC 8414 §2).
    pub fn metadata_name(self) -> &'static str {
        match self {
            Self::Authorization => "authorization_endpoint",
            Self::Token => "token_endpoint",
            Self::Introspection => "introspection_endpoint",
            Self::Revocation => "revocation_endpoint",
            Self::PushedAuthorizationRequest => "pushed_authorization_request_endpoint",
            Self::DeviceAuthorization => "device_authorization_endpoint",
            Self::BackchannelAuthentication => "backchannel_authentication_endpoint",
            Self::Registration => "registration_endpoint",
            Self::Userinfo => "userinfo_endpoint",
        }
    }

    /// Whether clients call it themselves, so that it may have an alias in `mtls_endpoint_aliases` (RFC 8705 §5).
    pub fn is_called_by_clients(self) -> bool {
        self != Self::Authorization
    }
}
