//! Device authorization (RFC 8628): the code that a user types, and the answer to the device.

use std::fmt;

use serde_json::{Value, json};
use url::Url;
use zeroize::Zeroizing;

/// The characters of a user code: consonants alone, so that no word comes of them, and none that looks like another (§6.1).
const ALPHABET: &[u8; 20] = b"BCDFGHJKLMNPQRSTVWXZ";
const CHARACTERS: usize = 8;

/// Random octets that a user code is drawn from: the chance that they do not suffice is one in 10^20.
pub const USER_CODE_RANDOM_BYTES: usize = 32;

/// Why a text is not a user code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not eight of the letters of user codes")]
pub struct UserCodeError;

/// What a user types on another device: eight letters of twenty, 34 bits. Guessing has to be limited (§5.1).
///
/// Not shown by `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct UserCode(Zeroizing<String>);

/// The answer to a device (§3.2).
#[derive(Debug, Clone, Copy)]
pub struct DeviceAuthorizationResponse<'a> {
    /// `device_code`
    pub device_code: &'a str,
    /// `user_code`
    pub user_code: &'a UserCode,
    /// `verification_uri`
    pub verification_uri: &'a Url,
    /// `expires_in`
    pub expires_in_secs: u64,
    /// `interval`
    pub interval_secs: u64,
}

impl UserCode {
    /// A code of random octets; `None` if too few of them can be used without making some letters likelier than others.
    pub fn from_random(octets: &[u8; USER_CODE_RANDOM_BYTES]) -> Option<Self> {
        // 240 is the largest multiple of 20 that an octet holds.
        let usable = octets.iter().filter(|octet| **octet < 240);
        let letters = usable.map(|octet| char::from(ALPHABET[usize::from(octet % 20)]));
        let code: String = letters.take(CHARACTERS).collect();
        (code.len() == CHARACTERS).then(|| Self(Zeroizing::new(code)))
    }

    /// Reads a code as people type it: in upper or lower case, with or without hyphen and spaces (§6.1).
    ///
    /// # Errors
    /// [`UserCodeError`]
    pub fn parse(text: &str) -> Result<Self, UserCodeError> {
        let is_separator = |character: char| matches!(character, '-' | ' ' | '\u{2010}'..='\u{2015}');
        let mut code = Zeroizing::new(String::with_capacity(CHARACTERS));
        for character in text.trim().chars().filter(|character| !is_separator(*character)) {
            let letter = character.to_ascii_uppercase();
            let is_known = u8::try_from(letter).is_ok_and(|octet| ALPHABET.contains(&octet));
            if !is_known || code.len() == CHARACTERS {
                return Err(UserCodeError);
            }
            code.push(letter);
        }
        if code.len() == CHARACTERS {
            Ok(Self(code))
        } else {
            Err(UserCodeError)
        }
    }

    /// The eight letters, in upper case and without hyphen: what is compared.
    pub fn letters(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for UserCode {
    /// As it is shown: `BCDF-GHJK`.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (first, second) = self.0.split_at(CHARACTERS / 2);
        write!(formatter, "{first}-{second}")
    }
}

impl fmt::Debug for UserCode {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("UserCode(…)")
    }
}

impl DeviceAuthorizationResponse<'_> {
    /// The answer as JSON.
    pub fn to_json(&self) -> Value {
        let user_code = self.user_code.to_string();
        let mut complete = self.verification_uri.clone();
        complete.query_pairs_mut().append_pair("user_code", &user_code);
        json!({
            "device_code": self.device_code,
            "user_code": user_code,
            "verification_uri": self.verification_uri.as_str(),
            "verification_uri_complete": complete.as_str(),
            "expires_in": self.expires_in_secs,
            "interval": self.interval_secs,
        })
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failing test panics")]

    use super::*;

    #[test]
    fn a_code_is_eight_of_twenty_letters_and_none_is_likelier() {
        let mut octets = [0; USER_CODE_RANDOM_BYTES];
        for (octet, value) in octets.iter_mut().zip([255, 0, 19, 20, 239, 240, 1, 2, 3, 4, 5]) {
            *octet = value;
        }
        let code = UserCode::from_random(&octets).unwrap();
        assert_eq!(code.to_string(), "BZBZ-CDFG");
        assert_eq!(format!("{code:?}"), "UserCode(…)");
        assert_eq!(UserCode::from_random(&[240; USER_CODE_RANDOM_BYTES]), None);
        let seven: [u8; USER_CODE_RANDOM_BYTES] = std::array::from_fn(|place| if place < 7 { 0 } else { 250 });
        assert_eq!(UserCode::from_random(&seven), None);
    }

    #[test]
    fn a_code_is_read_however_it_is_typed() {
        let code = UserCode::parse("BCDF-GHJK").unwrap();
        for text in ["bcdfghjk", " BCDF GHJK ", "b-c-d-f-g-h-j-k", "BCDF\u{2013}GHJK"] {
            assert_eq!(UserCode::parse(text).as_ref(), Ok(&code), "{text}");
        }
        for text in [
            "",
            "-",
            "BCDF-GHJ",
            "BCDF-GHJKL",
            "ACDF-GHJK",
            "BCDF-GHJ1",
            "BCDF_GHJK",
            "\u{412}CDF-GHJK",
            "BCDF\nGHJK",
        ] {
            assert_eq!(UserCode::parse(text), Err(UserCodeError), "{text:?}");
        }
    }

    #[test]
    fn the_complete_uri_holds_the_code() {
        let code = UserCode::parse("BCDFGHJK").unwrap();
        let response = DeviceAuthorizationResponse {
            device_code: "secret",
            user_code: &code,
            verification_uri: &Url::parse("https://as.example/device").unwrap(),
            expires_in_secs: 600,
            interval_secs: 5,
        };
        assert_eq!(
            response.to_json(),
            json!({
                "device_code": "secret", "user_code": "BCDF-GHJK", "verification_uri": "https://as.example/device",
                "verification_uri_complete": "https://as.example/device?user_code=BCDF-GHJK", "expires_in": 600, "interval": 5,
            })
        );
    }
}
