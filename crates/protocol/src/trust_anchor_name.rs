//! The operator's name for a trust anchor, by which a client is limited to it (`keybound_trust_anchors`).

use std::fmt;
use std::str::FromStr;

/// The longest name in characters.
pub const TRUST_ANCHOR_NAME_CHARS_MAX: usize = 64;

/// The name of a trust anchor: letters, digits, `.`, `_` and `-`, beginning with a letter or digit.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TrustAnchorName(Box<str>);

/// The text cannot name a trust anchor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a trust anchor's name has 1 to {TRUST_ANCHOR_NAME_CHARS_MAX} letters, digits, dots, dashes and underscores")]
pub struct TrustAnchorNameError;

impl TrustAnchorName {
    /// Reads a name.
    ///
    /// # Errors
    /// [`TrustAnchorNameError`]
    pub fn parse(text: &str) -> Result<Self, TrustAnchorNameError> {
        let permitted = |octet: u8| octet.is_ascii_alphanumeric() || b"._-".contains(&octet);
        let begins_well = text.bytes().next().is_some_and(|octet| octet.is_ascii_alphanumeric());
        if !begins_well || text.len() > TRUST_ANCHOR_NAME_CHARS_MAX || !text.bytes().all(permitted) {
            return Err(TrustAnchorNameError);
        }
        Ok(Self(text.into()))
    }

    /// The name's text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TrustAnchorName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl FromStr for TrustAnchorName {
    type Err = TrustAnchorNameError;

    fn from_str(text: &str) -> Result<Self, TrustAnchorNameError> {
        Self::parse(text)
    }
}

impl serde::Serialize for TrustAnchorName {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> serde::Deserialize<'de> for TrustAnchorName {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        crate::json::deserialize_text(deserializer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_empty_long_and_strange_names() {
        for text in ["", ".", "-a", "a b", "a/b", "\u{e4}", &"a".repeat(65)] {
            assert_eq!(TrustAnchorName::parse(text), Err(TrustAnchorNameError), "{text:?}");
        }
        assert!(TrustAnchorName::parse("corp-2026.g2_a").is_ok());
    }
}
