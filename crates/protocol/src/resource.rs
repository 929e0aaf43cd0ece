//! Resource indicators (RFC 8707): the absolute URIs that name protected resources and become `aud`.

use std::fmt;
use std::str::FromStr;

use crate::serde_as_text::serde_as_text;

/// The longest resource URI in octets.
pub const RESOURCE_BYTES_MAX: usize = 2048;

/// Why a text is not a resource indicator.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ResourceUriError {
    /// Not an absolute URI (RFC 3986 §4.3).
    #[error("not an absolute URI")]
    NotAbsolute,
    /// It has a fragment, which RFC 8707 §2 forbids.
    #[error("has a fragment")]
    Fragment,
    /// It has a character that no URI has: white space, control characters, quotes, anything outside ASCII.
    #[error("has a character that no URI may have")]
    Character,
    /// Longer than [`RESOURCE_BYTES_MAX`].
    #[error("longer than {RESOURCE_BYTES_MAX} octets")]
    TooLong,
}

/// A protected resource's URI, compared octet for octet.
///
/// Nothing is normalised: authorization server and resource server agree on one spelling (RFC 9068 §4 compares `aud` as
/// text), and a spelling that only looks equal is another audience. The text never needs escaping in JSON.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ResourceUri(Box<str>);

impl ResourceUri {
    /// Reads a resource indicator.
    ///
    /// # Errors
    /// See [`ResourceUriError`].
    pub fn parse(text: &str) -> Result<Self, ResourceUriError> {
        if text.len() > RESOURCE_BYTES_MAX {
            return Err(ResourceUriError::TooLong);
        }
        // RFC 3986 §2 by exclusion. The URL parser would strip or encode these instead of refusing them.
        if !text
            .bytes()
            .all(|octet| octet.is_ascii_graphic() && !b"\"<>\\^`{|}".contains(&octet))
        {
            return Err(ResourceUriError::Character);
        }
        if text.contains('#') {
            return Err(ResourceUriError::Fragment);
        }
        match url::Url::parse(text) {
            Ok(_) => Ok(Self(text.into())),
            Err(_) => Err(ResourceUriError::NotAbsolute),
        }
    }

    /// The URI as it was given.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The host that the indicator names, if it is a URL with one.
    pub fn host(&self) -> Option<String> {
        url::Url::parse(&self.0).ok()?.host_str().map(str::to_owned)
    }
}

impl fmt::Display for ResourceUri {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl FromStr for ResourceUri {
    type Err = ResourceUriError;

    fn from_str(text: &str) -> Result<Self, ResourceUriError> {
        Self::parse(text)
    }
}

serde_as_text!(ResourceUri, |value| &value.0);

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failing test panics")]

    use super::*;

    #[test]
    fn keeps_the_text_that_was_given() {
        for text in [
            "https://api.example",
            "https://api.example/",
            "https://API.example/a?b",
            "urn:example:api",
        ] {
            assert_eq!(ResourceUri::parse(text).unwrap().as_str(), text);
        }
        assert_ne!(
            ResourceUri::parse("https://api.example"),
            ResourceUri::parse("https://api.example/")
        );
    }

    #[test]
    fn a_url_has_a_host_and_another_identifier_has_none() {
        let host = |text| ResourceUri::parse(text).unwrap().host();
        assert_eq!(host("https://API.example:9443/a?b").as_deref(), Some("api.example"));
        assert_eq!(host("urn:example:api"), None);
    }

    #[test]
    fn refuses_what_is_not_absolute_or_has_a_fragment() {
        assert_eq!(ResourceUri::parse(""), Err(ResourceUriError::NotAbsolute));
        assert_eq!(ResourceUri::parse("/api"), Err(ResourceUriError::NotAbsolute));
        assert_eq!(ResourceUri::parse("api.example"), Err(ResourceUriError::NotAbsolute));
        assert_eq!(ResourceUri::parse("//api.example"), Err(ResourceUriError::NotAbsolute));
        assert_eq!(
            ResourceUri::parse("https://api.example#x"),
            Err(ResourceUriError::Fragment)
        );
        assert_eq!(
            ResourceUri::parse("https://api.example/#"),
            Err(ResourceUriError::Fragment)
        );
        for text in [" https://a", "https://a\n", "ht\ttps://a", "https://a/\"", "https://ä"] {
            assert_eq!(ResourceUri::parse(text), Err(ResourceUriError::Character), "{text:?}");
        }
        let long = format!("https://a/{}", "x".repeat(RESOURCE_BYTES_MAX));
        assert_eq!(ResourceUri::parse(&long), Err(ResourceUriError::TooLong));
    }
}
