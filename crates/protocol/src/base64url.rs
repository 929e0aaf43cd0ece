//! Base64url without padding, as JOSE writes it (RFC 7515 §2), and the standard base64 of `x5c`.
//!
//! Decoding is strict: no padding, no line break, no bit set that the encoder would have left zero. A lenient decoder lets
//! two spellings stand for one value, so that an altered token still verifies or a deny-list misses one.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};

/// Why a text is not the base64 that was expected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Base64Error {
    /// An octet outside the alphabet; padding in base64url and line breaks are of this kind.
    #[error("octet {octet:#04x} at position {position} is not in the alphabet")]
    Octet {
        /// Where, counted from 0.
        position: usize,
        /// The octet itself.
        octet: u8,
    },
    /// No octet string has an encoding of this length.
    #[error("the length is impossible")]
    Length,
    /// The last character has bits set that the encoder leaves zero: another spelling of the same octets.
    #[error("the last character has stray bits")]
    TrailingBits,
    /// Standard base64 whose padding is missing or wrong.
    #[error("the padding is missing or wrong")]
    Padding,
}

/// Encodes `octets` as base64url without padding.
pub fn encode(octets: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(octets)
}

/// Appends the base64url of `octets` to `text`.
pub fn encode_to(octets: &[u8], text: &mut String) {
    URL_SAFE_NO_PAD.encode_string(octets, text);
}

/// Decodes base64url without padding, strictly.
///
/// # Errors
/// Any character outside the alphabet, `=` included, an impossible length, or a second spelling of the same octets.
pub fn decode(text: &str) -> Result<Vec<u8>, Base64Error> {
    URL_SAFE_NO_PAD.decode(text).map_err(Base64Error::from)
}

/// Encodes `octets` as standard base64 with padding, the form of `x5c` (RFC 7517 §4.7).
pub fn encode_standard(octets: &[u8]) -> String {
    STANDARD.encode(octets)
}

/// Decodes standard base64 with its padding, strictly.
///
/// # Errors
/// As [`decode`]; `-` and `_` are not in this alphabet.
pub fn decode_standard(text: &str) -> Result<Vec<u8>, Base64Error> {
    STANDARD.decode(text).map_err(Base64Error::from)
}

impl From<base64::DecodeError> for Base64Error {
    fn from(error: base64::DecodeError) -> Self {
        match error {
            base64::DecodeError::InvalidByte(position, octet) => Self::Octet { position, octet },
            base64::DecodeError::InvalidLength(_) => Self::Length,
            base64::DecodeError::InvalidLastSymbol(_, _) => Self::TrailingBits,
            base64::DecodeError::InvalidPadding => Self::Padding,
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failing test panics")]

    use super::*;

    #[test]
    fn reads_back_what_it_wrote() {
        for length in 0..70u8 {
            let octets: Vec<u8> = (0..length).map(|n| n.wrapping_mul(37)).collect();
            assert_eq!(decode(&encode(&octets)).unwrap(), octets);
            assert_eq!(decode_standard(&encode_standard(&octets)).unwrap(), octets);
        }
    }

    #[test]
    fn refuses_every_second_spelling() {
        assert_eq!(decode("AA").unwrap(), [0]);
        for text in ["AB", "AA=", "AA==", "A", "A A", "AA\n", "A+", "A/", "ÄA"] {
            assert!(decode(text).is_err(), "{text:?}");
        }
        assert_eq!(decode("AB"), Err(Base64Error::TrailingBits));
    }

    #[test]
    fn standard_base64_is_another_alphabet_with_padding() {
        assert_eq!(decode_standard("+/8=").unwrap(), [0xfb, 0xff]);
        for text in ["-_8=", "+/8", "+/9=", "+/8=\n"] {
            assert!(decode_standard(text).is_err(), "{text:?}");
        }
    }
}
