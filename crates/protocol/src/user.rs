//! Users of the local directory: what they are called, what tokens call them, what is said about them.

use std::fmt;
use std::str::FromStr;

use serde_json::{Map, Value};

use crate::base64url;
use crate::serde_as_text::serde_as_text;

/// The longest user name in characters: an e-mail address fits.
pub const USER_NAME_CHARACTERS_MAX: usize = 254;

/// The most octets of a user's claims as JSON text.
pub const USER_CLAIMS_BYTES_MAX: usize = 8 * 1024;

/// Random octets of a [`UserSubject`].
pub const USER_SUBJECT_BYTES: usize = 16;

/// How every [`UserSubject`] begins. No client identifier is of this form, so that a `sub` is never of a client *and* a user.
const SUBJECT_PREFIX: &str = "u.";

/// Why a text is not a user name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum UserNameError {
    /// Empty.
    #[error("a user name is not empty")]
    Empty,
    /// Longer than [`USER_NAME_CHARACTERS_MAX`].
    #[error("longer than {USER_NAME_CHARACTERS_MAX} characters")]
    TooLong,
    /// A character other than letters and digits of ASCII and `. _ - + @`, or one of these at the beginning.
    #[error("has a character other than a-z 0-9 . _ - + @, or does not begin with a letter or digit")]
    Character,
}

/// What a user types to sign in: letters and digits of ASCII and `. _ - + @`. Upper case is read as lower case.
///
/// No other characters, so that no two names look alike, and none does anything to a terminal or a log.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UserName(Box<str>);

/// Why a text is not the subject of a user.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not the subject identifier of a user")]
pub struct UserSubjectError;

/// What tokens call a user (`sub`): `u.` and 22 random characters of base64url, never given to anybody else.
///
/// RFC 9068 §2.2, RFC 9700 §4.15: never the name of a client either, for [`ClientId`](crate::client::ClientId) refuses this form.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UserSubject(Box<str>);

/// Why a JSON value is not the claims of a user.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UserClaimsError {
    /// Not one JSON object.
    #[error("not one JSON object")]
    NotAnObject,
    /// Longer than [`USER_CLAIMS_BYTES_MAX`].
    #[error("longer than {USER_CLAIMS_BYTES_MAX} octets")]
    TooLong,
    /// A claim that this server makes itself, or that a token's meaning rests on.
    #[error("claim `{0}` is not the user's: this server sets it")]
    Reserved(String),
    /// A claim whose registered type is another.
    #[error("claim `{name}` is not {expected}")]
    Type {
        /// The claim.
        name: &'static str,
        /// What it should be.
        expected: &'static str,
    },
}

/// What is said about a user: claims of OpenID Connect Core §5.1 and others that an administrator chose.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct UserClaims(Map<String, Value>);

impl UserName {
    /// Reads a user name.
    ///
    /// # Errors
    /// See [`UserNameError`]. A presented text that is none simply names no user.
    pub fn parse(text: &str) -> Result<Self, UserNameError> {
        if text.is_empty() {
            return Err(UserNameError::Empty);
        }
        if text.len() > USER_NAME_CHARACTERS_MAX {
            return Err(UserNameError::TooLong);
        }
        let is_name = |octet: u8| octet.is_ascii_alphanumeric() || matches!(octet, b'.' | b'_' | b'-' | b'+' | b'@');
        if !text.bytes().all(is_name) || !text.starts_with(|first: char| first.is_ascii_alphanumeric()) {
            return Err(UserNameError::Character);
        }
        Ok(Self(text.to_ascii_lowercase().into()))
    }

    /// The name, in lower case.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl UserSubject {
    /// The subject made of these random octets.
    pub fn from_random(octets: &[u8; USER_SUBJECT_BYTES]) -> Self {
        let mut text = String::from(SUBJECT_PREFIX);
        base64url::encode_to(octets, &mut text);
        Self(text.into())
    }

    /// Reads a subject.
    ///
    /// # Errors
    /// [`UserSubjectError`] for every other text.
    pub fn parse(text: &str) -> Result<Self, UserSubjectError> {
        let octets = text.strip_prefix(SUBJECT_PREFIX).map(base64url::decode);
        match octets {
            Some(Ok(octets)) if octets.len() == USER_SUBJECT_BYTES => Ok(Self(text.into())),
            _ => Err(UserSubjectError),
        }
    }

    /// The subject as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Claims that are never a user's to have: who a token is from, for and about, and what it is bound to.
const RESERVED: [&str; 33] = [
    "iss",
    "sub",
    "aud",
    "exp",
    "nbf",
    "iat",
    "jti",
    "azp",
    "nonce",
    "auth_time",
    "acr",
    "amr",
    "at_hash",
    "c_hash",
    "s_hash",
    "sid",
    "cnf",
    "act",
    "may_act",
    "scope",
    "client_id",
    "roles",
    "groups",
    "entitlements",
    "events",
    "authorization_details",
    "active",
    "token_type",
    "username",
    "state",
    "_claim_names",
    "_claim_sources",
    "sub_jwk",
];

const STRINGS: [&str; 15] = [
    "name",
    "given_name",
    "family_name",
    "middle_name",
    "nickname",
    "preferred_username",
    "profile",
    "picture",
    "website",
    "email",
    "gender",
    "birthdate",
    "zoneinfo",
    "locale",
    "phone_number",
];
const BOOLEANS: [&str; 2] = ["email_verified", "phone_number_verified"];

impl UserClaims {
    /// Reads claims, as an administrator gave them.
    ///
    /// # Errors
    /// See [`UserClaimsError`].
    pub fn parse(value: &Value) -> Result<Self, UserClaimsError> {
        let Value::Object(claims) = value else {
            return Err(UserClaimsError::NotAnObject);
        };
        if let Some(reserved) = claims.keys().find(|name| RESERVED.contains(&name.as_str())) {
            return Err(UserClaimsError::Reserved(reserved.clone()));
        }
        require(claims, &STRINGS, "a string", Value::is_string)?;
        require(claims, &BOOLEANS, "true or false", Value::is_boolean)?;
        require(claims, &["address"], "an object", Value::is_object)?;
        require(claims, &["updated_at"], "a number of seconds", Value::is_i64)?;
        let claims = Self(claims.clone());
        if claims.to_json().len() > USER_CLAIMS_BYTES_MAX {
            return Err(UserClaimsError::TooLong);
        }
        Ok(claims)
    }

    /// Reads claims that were stored.
    ///
    /// # Errors
    /// [`UserClaimsError::NotAnObject`]. The other rules may have changed since.
    pub fn parse_stored(text: &str) -> Result<Self, UserClaimsError> {
        match serde_json::from_str(text) {
            Ok(Value::Object(claims)) => Ok(Self(claims)),
            _ => Err(UserClaimsError::NotAnObject),
        }
    }

    /// One claim.
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.0.get(name)
    }

    /// All claims.
    pub fn as_object(&self) -> &Map<String, Value> {
        &self.0
    }

    /// The claims as JSON text.
    pub fn to_json(&self) -> String {
        Value::Object(self.0.clone()).to_string()
    }
}

fn require(
    claims: &Map<String, Value>,
    names: &[&'static str],
    expected: &'static str,
    is_expected: fn(&Value) -> bool,
) -> Result<(), UserClaimsError> {
    let wrong = |name: &&&'static str| claims.get(**name).is_some_and(|value| !is_expected(value));
    match names.iter().find(wrong) {
        Some(name) => Err(UserClaimsError::Type { name, expected }),
        None => Ok(()),
    }
}

impl fmt::Display for UserName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl FromStr for UserName {
    type Err = UserNameError;

    fn from_str(text: &str) -> Result<Self, UserNameError> {
        Self::parse(text)
    }
}

impl fmt::Display for UserSubject {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl FromStr for UserSubject {
    type Err = UserSubjectError;

    fn from_str(text: &str) -> Result<Self, UserSubjectError> {
        Self::parse(text)
    }
}

serde_as_text!(UserSubject, |value| &value.0);

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failing test panics")]

    use serde_json::json;

    use super::*;
    use crate::client::{ClientId, ClientIdError};

    #[test]
    fn refuses_names_that_could_be_confused() {
        assert_eq!(UserName::parse(""), Err(UserNameError::Empty));
        assert_eq!(UserName::parse(&"x".repeat(255)), Err(UserNameError::TooLong));
        for text in [
            " ada",
            "ada ",
            "a da",
            "ad\u{430}",
            "ada\0",
            "ada\n",
            ".ada",
            "-ada",
            "@ada",
            "a/b",
            "a\"b",
            "\u{1b}[1m",
        ] {
            assert_eq!(UserName::parse(text), Err(UserNameError::Character), "{text:?}");
        }
        assert_eq!(
            UserName::parse("Ada.L+x@Example.org").unwrap().as_str(),
            "ada.l+x@example.org"
        );
    }

    #[test]
    fn a_subject_is_of_one_form_and_no_client_id_is() {
        let subject = UserSubject::from_random(&[0xfb; USER_SUBJECT_BYTES]);
        assert_eq!(subject.as_str().len(), 24);
        assert_eq!(UserSubject::parse(subject.as_str()), Ok(subject.clone()));
        assert_eq!(ClientId::parse(subject.as_str()), Err(ClientIdError::UserSubject));
        for text in [
            "",
            "u.",
            "u.ada",
            "x.-_v7-_v7-_v7-_v7-_v7-w",
            &subject.as_str()[..23],
            &format!("{subject}A"),
        ] {
            assert_eq!(UserSubject::parse(text), Err(UserSubjectError), "{text}");
            assert_ne!(ClientId::parse(text), Err(ClientIdError::UserSubject), "{text}");
        }
    }

    #[test]
    fn claims_say_nothing_that_a_token_rests_on() {
        let check = |claims: Value| UserClaims::parse(&claims);
        assert_eq!(check(json!("ada")), Err(UserClaimsError::NotAnObject));
        for name in RESERVED {
            assert_eq!(check(json!({ name: "x" })), Err(UserClaimsError::Reserved(name.into())));
        }
        assert!(matches!(
            check(json!({"email": 1})),
            Err(UserClaimsError::Type { name: "email", .. })
        ));
        assert!(matches!(
            check(json!({"email_verified": "true"})),
            Err(UserClaimsError::Type { .. })
        ));
        assert!(matches!(
            check(json!({"address": "x"})),
            Err(UserClaimsError::Type { .. })
        ));
        assert_eq!(
            check(json!({"name": "x".repeat(USER_CLAIMS_BYTES_MAX)})),
            Err(UserClaimsError::TooLong)
        );
        let claims =
            check(json!({"name": "Ada", "email": "ada@example.org", "email_verified": true, "shoe_size": 38})).unwrap();
        assert_eq!(UserClaims::parse_stored(&claims.to_json()), Ok(claims));
    }
}
