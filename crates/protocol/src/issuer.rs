//! The issuer identifier of an authorization server (RFC 8414 §2) and where its metadata lies (§3).

use std::fmt;
use std::str::FromStr;

use url::Url;

use crate::serde_as_text::serde_as_text;

/// The longest issuer identifier in octets.
pub const ISSUER_BYTES_MAX: usize = 1024;

/// Why a text is not an issuer identifier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum IssuerError {
    /// Not an absolute URL, or one with characters that a URL parser would silently change.
    #[error("not an absolute URL")]
    NotAUrl,
    /// RFC 8414 §2 wants the `https` scheme.
    #[error("the scheme is not https")]
    NotHttps,
    /// It has a query or a fragment.
    #[error("has a query or a fragment")]
    QueryOrFragment,
    /// It has a user name or a password.
    #[error("has a user name or password")]
    Credentials,
    /// Longer than [`ISSUER_BYTES_MAX`].
    #[error("longer than {ISSUER_BYTES_MAX} octets")]
    TooLong,
}

/// An authorization server's identifier, compared octet for octet (RFC 8414 §3.3, RFC 9207 §2.4).
///
/// It never changes with the way a request came: not on the host of `mtls_endpoint_aliases`, not behind a proxy.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Issuer {
    text: Box<str>,
    url: Url,
}

impl Issuer {
    /// Reads an issuer identifier.
    ///
    /// # Errors
    /// See [`IssuerError`].
    pub fn parse(text: &str) -> Result<Self, IssuerError> {
        if text.len() > ISSUER_BYTES_MAX {
            return Err(IssuerError::TooLong);
        }
        let url = Url::parse(text).map_err(|_| IssuerError::NotAUrl)?;
        if !text
            .bytes()
            .all(|octet| octet.is_ascii_graphic() && !b"\"<>\\^`{|}".contains(&octet))
        {
            return Err(IssuerError::NotAUrl);
        }
        if url.scheme() != "https" {
            return Err(IssuerError::NotHttps);
        }
        if text.contains(['?', '#']) {
            return Err(IssuerError::QueryOrFragment);
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(IssuerError::Credentials);
        }
        Ok(Self { text: text.into(), url })
    }

    /// The identifier as it was given.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The identifier as a URL.
    pub fn url(&self) -> &Url {
        &self.url
    }

    /// The path below which this issuer's endpoints lie, without a trailing slash; empty for most.
    pub fn path(&self) -> &str {
        self.url.path().trim_end_matches('/')
    }

    /// `{origin}/.well-known/oauth-authorization-server{path}`: inserted between host and path (RFC 8414 §3.1).
    pub fn metadata_url(&self) -> Url {
        self.with_path(&format!("/.well-known/oauth-authorization-server{}", self.path()))
    }

    /// `{issuer}/.well-known/openid-configuration`: appended to the path (OpenID Connect Discovery §4).
    pub fn openid_configuration_url(&self) -> Url {
        self.with_path(&format!("{}/.well-known/openid-configuration", self.path()))
    }

    /// The URL of `path` (with its leading slash) below this issuer.
    pub fn endpoint_url(&self, path: &str) -> Url {
        self.with_path(&format!("{}{path}", self.path()))
    }

    fn with_path(&self, path: &str) -> Url {
        let mut url = self.url.clone();
        url.set_path(path);
        url
    }
}

impl fmt::Display for Issuer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.text)
    }
}

impl FromStr for Issuer {
    type Err = IssuerError;

    fn from_str(text: &str) -> Result<Self, IssuerError> {
        Self::parse(text)
    }
}

serde_as_text!(Issuer, |value| &value.text);

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failing test panics")]

    use super::*;

    #[test]
    fn refuses_what_rfc_8414_does_not_allow() {
        for (text, error) in [
            ("localhost:8443", IssuerError::NotHttps),
            ("/issuer", IssuerError::NotAUrl),
            ("http://as.example", IssuerError::NotHttps),
            ("https://as.example?x", IssuerError::QueryOrFragment),
            ("https://as.example/#", IssuerError::QueryOrFragment),
            ("https://user@as.example", IssuerError::Credentials),
            (" https://as.example", IssuerError::NotAUrl),
            ("https://as.example/\n", IssuerError::NotAUrl),
        ] {
            assert_eq!(Issuer::parse(text), Err(error), "{text:?}");
        }
    }

    #[test]
    fn keeps_its_spelling_and_finds_its_endpoints() {
        for (text, path, endpoint) in [
            ("https://as.example", "", "https://as.example/token"),
            ("https://as.example/", "", "https://as.example/token"),
            (
                "https://as.example:8443/a/b",
                "/a/b",
                "https://as.example:8443/a/b/token",
            ),
            ("https://as.example/a/", "/a", "https://as.example/a/token"),
        ] {
            let issuer = Issuer::parse(text).unwrap();
            assert_eq!(issuer.as_str(), text);
            assert_eq!(issuer.path(), path);
            assert_eq!(issuer.endpoint_url("/token").as_str(), endpoint);
        }
    }
}
