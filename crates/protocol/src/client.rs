//! A registered client: its identifier, its metadata, who vouches for them.

use std::fmt;
use std::str::FromStr;

use crate::client_metadata::ClientMetadata;
use crate::secret::SecretHash;
use crate::serde_as_text::serde_as_text;

/// The longest client identifier in octets.
pub const CLIENT_ID_BYTES_MAX: usize = 256;

/// Why a text is not a client identifier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ClientIdError {
    /// Empty.
    #[error("a client identifier is not empty")]
    Empty,
    /// Longer than [`CLIENT_ID_BYTES_MAX`].
    #[error("longer than {CLIENT_ID_BYTES_MAX} octets")]
    TooLong,
    /// A character outside %x21-7E.
    #[error("has a character that is not printable ASCII, or a space")]
    Character,
    /// The form of a [`UserSubject`](crate::user::UserSubject).
    #[error("`u.` and 22 characters are what tokens call users")]
    UserSubject,
}

/// A client identifier (RFC 6749 §2.2), printable ASCII without spaces.
///
/// RFC 6749 Appendix A.1 also permits spaces. We issue none: header fields and log lines trim them, and two clients must not
/// become one there. Nor is any of the form of a [`UserSubject`](crate::user::UserSubject): a `sub` would be of a client and
/// of a user (RFC 9700 §4.15).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClientId(Box<str>);

impl ClientId {
    /// Reads a client identifier.
    ///
    /// # Errors
    /// See [`ClientIdError`]. A presented text that is none simply names no client.
    pub fn parse(text: &str) -> Result<Self, ClientIdError> {
        if text.is_empty() {
            return Err(ClientIdError::Empty);
        }
        if text.len() > CLIENT_ID_BYTES_MAX {
            return Err(ClientIdError::TooLong);
        }
        if !text.bytes().all(|octet| octet.is_ascii_graphic()) {
            return Err(ClientIdError::Character);
        }
        if crate::user::UserSubject::parse(text).is_ok() {
            return Err(ClientIdError::UserSubject);
        }
        Ok(Self(text.into()))
    }

    /// The identifier as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ClientId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl FromStr for ClientId {
    type Err = ClientIdError;

    fn from_str(text: &str) -> Result<Self, ClientIdError> {
        Self::parse(text)
    }
}

impl std::borrow::Borrow<str> for ClientId {
    fn borrow(&self) -> &str {
        &self.0
    }
}

serde_as_text!(ClientId, |value| &value.0);

/// Who made a client, and so how far its metadata is believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClientOrigin {
    /// A file that the operator wrote; read-only to the API.
    ConfigurationFile,
    /// An administrator, through the admin API or the command line.
    Administrator,
    /// The client itself, at the registration endpoint: its claims about itself are untrusted (RFC 7591 §5).
    Registration,
}

impl ClientOrigin {
    /// Whether an operator stands behind the metadata, so that it may hold reserved scopes and introspection rights.
    pub fn is_operator(self) -> bool {
        match self {
            Self::ConfigurationFile | Self::Administrator => true,
            Self::Registration => false,
        }
    }
}

/// A registered client.
#[derive(Debug, Clone)]
pub struct Client {
    client_id: ClientId,
    metadata: ClientMetadata,
    origin: ClientOrigin,
    version: u64,
    secret: Option<SecretHash>,
}

impl Client {
    /// Puts a client together from what is on file.
    ///
    /// `version` counts its changes, its fetched key set included; every cache about a client names it.
    pub fn new(client_id: ClientId, metadata: ClientMetadata, origin: ClientOrigin, version: u64) -> Self {
        Self {
            client_id,
            metadata,
            origin,
            version,
            secret: None,
        }
    }

    /// With what is kept of its secret. Without one no secret is ever right.
    #[must_use]
    pub fn with_secret(mut self, secret: Option<SecretHash>) -> Self {
        self.secret = secret;
        self
    }

    /// What is kept of its secret, if it has one.
    pub fn secret(&self) -> Option<&SecretHash> {
        self.secret.as_ref()
    }

    /// Its identifier.
    pub fn client_id(&self) -> &ClientId {
        &self.client_id
    }

    /// What it registered.
    pub fn metadata(&self) -> &ClientMetadata {
        &self.metadata
    }

    /// Who made it.
    pub fn origin(&self) -> ClientOrigin {
        self.origin
    }

    /// How often it changed.
    pub fn version(&self) -> u64 {
        self.version
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_identifiers_that_could_be_confused() {
        assert_eq!(ClientId::parse(""), Err(ClientIdError::Empty));
        for text in [" demo", "demo ", "de mo", "dem\u{f6}", "demo\0", "demo\n"] {
            assert_eq!(ClientId::parse(text), Err(ClientIdError::Character), "{text:?}");
        }
        assert_eq!(ClientId::parse(&"x".repeat(257)), Err(ClientIdError::TooLong));
        assert!(ClientId::parse(&"x".repeat(256)).is_ok());
        assert!(ClientId::parse("spiffe://example.org/a\"b").is_ok());
    }
}
