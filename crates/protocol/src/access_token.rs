//! JWT access tokens (RFC 9068): their claims, how they are made, how they are judged.
//!
//! Made in [`encoder`], which is the hot path of the token endpoint; judged in [`verification`], which also takes the tokens of
//! other issuers. The binding is not judged here: that is [`Confirmation::verify`](crate::confirmation::Confirmation::verify),
//! at every request, with the certificate of that request.

pub mod encoder;
pub mod error;
pub mod verification;

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use crate::confirmation::Confirmation;
use crate::scope::Scope;
use crate::time::Timestamp;

pub use encoder::{AccessTokenEncoder, IssuedClaims, OnBehalfOf, PreparedSigner, TokenId};
pub use error::AccessTokenError;
pub use verification::{IssuerPolicy, UnverifiedAccessToken, VerifiedAccessToken, verify};

/// The `typ` of an RFC 9068 access token.
pub const ACCESS_TOKEN_TYPE: &str = "at+jwt";
/// By how much clocks may differ.
pub const CLOCK_LEEWAY: Duration = Duration::from_secs(30);

/// How access tokens for a client or a resource are made: `keybound_access_token_format`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AccessTokenFormat {
    /// A JWT that the resource reads itself.
    Jwt,
    /// A random text that the resource asks the server about.
    Opaque,
}

/// The text names no access-token format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not one of jwt, opaque")]
pub struct UnknownAccessTokenFormat;

impl AccessTokenFormat {
    /// The name in configuration and client metadata.
    pub fn name(self) -> &'static str {
        match self {
            Self::Jwt => "jwt",
            Self::Opaque => "opaque",
        }
    }
}

impl FromStr for AccessTokenFormat {
    type Err = UnknownAccessTokenFormat;

    fn from_str(name: &str) -> Result<Self, UnknownAccessTokenFormat> {
        [Self::Jwt, Self::Opaque]
            .into_iter()
            .find(|format| format.name() == name)
            .ok_or(UnknownAccessTokenFormat)
    }
}

impl fmt::Display for AccessTokenFormat {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

/// The claims of an access token that somebody decides by (RFC 9068 §2.2, RFC 8705 §3.1).
///
/// What RFC 9068 requires of issuers but not of resources (§4) may be missing in a foreign token and is `None` then.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessTokenClaims {
    /// `iss`
    pub issuer: String,
    /// `sub`
    pub subject: Option<String>,
    /// `aud`, one or several.
    pub audience: Vec<String>,
    /// `client_id`, or `azp` where an issuer says that instead.
    pub client_id: Option<String>,
    /// `scope`; empty if there is none.
    pub scope: Scope,
    /// `iat`
    pub issued_at: Option<Timestamp>,
    /// `nbf`
    pub not_before: Option<Timestamp>,
    /// `exp`
    pub expires_at: Timestamp,
    /// `jti`
    pub token_id: Option<String>,
    /// `cnf`: what the token is bound to.
    pub confirmation: Option<Confirmation>,
}
