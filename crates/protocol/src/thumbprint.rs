//! The thumbprint of a certificate, by which a token is bound to it: `x5t#S256` (RFC 8705 §3.1).

use std::fmt;
use std::ops::Deref;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::de::{self, Deserializer, Visitor};
use serde::ser::Serializer;
use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq;

use crate::digest::{hex, sha256};

/// The SHA-256 of a certificate: the value of `x5t#S256` (RFC 8705 §3.1, RFC 7515 §4.1.8).
///
/// It is taken over the certificate's DER exactly as received, never over the key, the PEM text or a re-encoding. Compared in
/// constant time. Its one text form has 43 characters of base64url without padding; every other spelling is refused, so that two
/// texts are equal exactly when their values are.
#[derive(Clone, Copy)]
pub struct CertificateThumbprint([u8; 32]);

impl CertificateThumbprint {
    /// Hashes a certificate, given as the DER octets that were received.
    pub fn of_certificate(der: &[u8]) -> CertificateThumbprint {
        CertificateThumbprint(sha256(der))
    }

    /// The thumbprint whose 32 octets are already known.
    pub const fn from_bytes(bytes: [u8; 32]) -> CertificateThumbprint {
        CertificateThumbprint(bytes)
    }

    /// The 32 octets.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The text of `x5t#S256`, without an allocation.
    pub fn to_text(&self) -> ThumbprintText {
        let mut text = [0; ThumbprintText::CHARS];
        // 32 octets are 43 characters without padding (RFC 4648 §3.2), so the slice always fits.
        let written = URL_SAFE_NO_PAD.encode_slice(self.0, &mut text).unwrap_or_default();
        debug_assert_eq!(written, ThumbprintText::CHARS);
        ThumbprintText(text)
    }

    /// The 64 hexadecimal digits that other tools print, in lower case.
    pub fn to_hex(&self) -> String {
        hex(&self.0)
    }
}

impl PartialEq for CertificateThumbprint {
    fn eq(&self, other: &CertificateThumbprint) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for CertificateThumbprint {}

impl std::hash::Hash for CertificateThumbprint {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}

impl fmt::Display for CertificateThumbprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_text())
    }
}

impl fmt::Debug for CertificateThumbprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_text())
    }
}

impl FromStr for CertificateThumbprint {
    type Err = ThumbprintError;

    /// Reads the text of `x5t#S256`, strictly: 43 characters of base64url, no padding, no blanks, unused bits zero.
    fn from_str(text: &str) -> Result<CertificateThumbprint, ThumbprintError> {
        if text.len() != ThumbprintText::CHARS {
            return Err(ThumbprintError::Length { chars: text.len() });
        }
        let mut bytes = [0; 32];
        match URL_SAFE_NO_PAD.decode_slice(text, &mut bytes) {
            Ok(32) => Ok(CertificateThumbprint(bytes)),
            Ok(_) => Err(ThumbprintError::Length { chars: text.len() }),
            Err(error) => Err(ThumbprintError::Base64url(error)),
        }
    }
}

impl Serialize for CertificateThumbprint {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.to_text())
    }
}

impl<'de> Deserialize<'de> for CertificateThumbprint {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<CertificateThumbprint, D::Error> {
        struct TextVisitor;
        impl Visitor<'_> for TextVisitor {
            type Value = CertificateThumbprint;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("43 characters of base64url")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<CertificateThumbprint, E> {
                text.parse().map_err(E::custom)
            }
        }
        deserializer.deserialize_str(TextVisitor)
    }
}

/// Why a text is not a certificate thumbprint.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ThumbprintError {
    /// SHA-256 in base64url without padding always has 43 characters.
    #[error("a thumbprint has 43 characters, not {chars}")]
    Length {
        /// How many were given.
        chars: usize,
    },
    /// A character outside the alphabet (`+`, `/`, `=`, blanks), or unused bits that are not zero.
    #[error("not base64url without padding")]
    Base64url(#[source] base64::DecodeSliceError),
}

/// The 43 characters of a thumbprint, kept inline: made once per connection and copied into tokens and log lines.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct ThumbprintText([u8; ThumbprintText::CHARS]);

impl ThumbprintText {
    /// How many characters every thumbprint has.
    pub const CHARS: usize = 43;

    /// The text.
    pub fn as_str(&self) -> &str {
        // Only `to_text` makes this value, and base64url is ASCII.
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl Deref for ThumbprintText {
    type Target = str;

    fn deref(&self) -> &str {
        self.as_str()
    }
}

impl fmt::Display for ThumbprintText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for ThumbprintText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const APPENDIX_A: &str = "A4DtL2JmUMhAsvJj5tKyn64SqzmuXbMrJa0n761y5v0";

    fn check_text(text: &str, accepted: bool) {
        assert_eq!(text.parse::<CertificateThumbprint>().is_ok(), accepted, "{text:?}");
    }

    #[test]
    fn one_spelling_only() {
        check_text(APPENDIX_A, true);
        check_text(&format!("{APPENDIX_A}="), false);
        check_text(&format!(" {APPENDIX_A}"), false);
        check_text(&format!("{APPENDIX_A}\n"), false);
        check_text(&APPENDIX_A[..42], false);
        check_text("", false);
        // The last character carries four bits of the value; the unused two must be zero.
        check_text("A4DtL2JmUMhAsvJj5tKyn64SqzmuXbMrJa0n761y5v1", false);
        check_text("A4DtL2JmUMhAsvJj5tKyn64SqzmuXbMrJa0n761y5+0", false);
        check_text(
            "0380ed2f626650c840b2f263e6d2b29fae12ab39ae5db32b25ad27efad72e6fd",
            false,
        );
    }

    #[test]
    fn text_and_value_round_trip() {
        let thumbprint = CertificateThumbprint::from_bytes(std::array::from_fn(|index| index as u8));
        assert_eq!(thumbprint.to_string().parse(), Ok(thumbprint));
        assert_eq!(thumbprint.to_text().len(), 43);
    }
}
