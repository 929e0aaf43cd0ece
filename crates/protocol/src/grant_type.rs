//! Grant types, by their registered names (RFC 6749 §4, §6, RFC 8628, RFC 8693, CIBA Core).

use std::fmt;

/// How a client obtains a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum GrantType {
    /// RFC 6749 §4.1
    AuthorizationCode,
    /// RFC 6749 §4.4
    ClientCredentials,
    /// RFC 6749 §6
    RefreshToken,
    /// RFC 8628 §3.4
    DeviceCode,
    /// RFC 8693 §2.1
    TokenExchange,
    /// CIBA Core §10.1
    BackchannelAuthentication,
}

impl GrantType {
    /// Every grant type.
    pub const ALL: [Self; 6] = [
        Self::AuthorizationCode,
        Self::ClientCredentials,
        Self::RefreshToken,
        Self::DeviceCode,
        Self::TokenExchange,
        Self::BackchannelAuthentication,
    ];

    /// The registered name.
    pub fn name(self) -> &'static str {
        match self {
            Self::AuthorizationCode => "authorization_code",
            Self::ClientCredentials => "client_credentials",
            Self::RefreshToken => "refresh_token",
            Self::DeviceCode => "urn:ietf:params:oauth:grant-type:device_code",
            Self::TokenExchange => "urn:ietf:params:oauth:grant-type:token-exchange",
            Self::BackchannelAuthentication => "urn:openid:params:grant-type:ciba",
        }
    }

    /// The grant type of a registered name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|grant_type| grant_type.name() == name)
    }
}

impl fmt::Display for GrantType {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}
