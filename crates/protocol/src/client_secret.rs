//! How a request carries a client secret (RFC 6749 §2.3.1): in a `Basic` header or in the form, and nowhere else.
//!
//! The secret itself is a [`GeneratedSecret`](crate::secret::GeneratedSecret) of ours; whether one is right decides
//! [`AuthenticatedClient::by_secret`](crate::client_authentication::AuthenticatedClient::by_secret).

use std::fmt;

use zeroize::Zeroizing;

use crate::base64url::{self, Base64Error};
use crate::client_metadata::ClientSecretTransport;

/// A secret as it was presented. Not shown by `Debug`.
#[derive(Clone)]
pub struct PresentedClientSecret {
    secret: Zeroizing<String>,
    transport: ClientSecretTransport,
}

/// User and password of a `Basic` header, decoded.
#[derive(Clone, Debug)]
pub struct BasicCredentials {
    client_id: String,
    secret: PresentedClientSecret,
}

/// Why a `Basic` header has no credentials.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BasicCredentialsError {
    /// What follows the scheme is not base64 (RFC 7617 §2).
    #[error("the credentials are not base64")]
    Base64(#[source] Base64Error),
    /// No colon between user and password.
    #[error("there is no colon between client_id and secret")]
    Colon,
    /// User or password are not form-encoded UTF-8.
    #[error("client_id and secret are not application/x-www-form-urlencoded")]
    Encoding,
}

impl PresentedClientSecret {
    /// A secret that came as form parameter `client_secret`.
    pub fn of_form(secret: &str) -> Self {
        Self {
            secret: Zeroizing::new(secret.to_owned()),
            transport: ClientSecretTransport::Post,
        }
    }

    /// Its text. Not for logs.
    pub fn as_str(&self) -> &str {
        &self.secret
    }

    /// Where it was.
    pub fn transport(&self) -> ClientSecretTransport {
        self.transport
    }
}

impl BasicCredentials {
    /// Reads the value of an `Authorization` header; `None` if it is of another scheme.
    ///
    /// User and password are form-encoded each, then joined by a colon, then base64 (RFC 6749 §2.3.1, RFC 7617 §2). The encoding is
    /// taken at its word: a `+` is a space, and a `%` that begins no escape is an error.
    ///
    /// # Errors
    /// See [`BasicCredentialsError`].
    pub fn parse(authorization: &[u8]) -> Option<Result<Self, BasicCredentialsError>> {
        let (scheme, credentials) = match authorization.iter().position(|octet| *octet == b' ') {
            Some(space) => (authorization.get(..space)?, authorization.get(space..)?),
            None => (authorization, &[][..]),
        };
        scheme
            .eq_ignore_ascii_case(b"Basic")
            .then(|| Self::decode(credentials.trim_ascii()))
    }

    fn decode(credentials: &[u8]) -> Result<Self, BasicCredentialsError> {
        let text = std::str::from_utf8(credentials).map_err(|_| BasicCredentialsError::Base64(Base64Error::Length))?;
        let decoded = Zeroizing::new(base64url::decode_standard(text).map_err(BasicCredentialsError::Base64)?);
        let colon = decoded.iter().position(|octet| *octet == b':');
        let colon = colon.ok_or(BasicCredentialsError::Colon)?;
        let (user, password) = decoded.split_at(colon);
        Ok(Self {
            client_id: form_decoded(user)?,
            secret: PresentedClientSecret {
                secret: Zeroizing::new(form_decoded(password.get(1..).unwrap_or_default())?),
                transport: ClientSecretTransport::Basic,
            },
        })
    }

    /// The user: a client identifier, if it is one.
    pub fn client_id(&self) -> &str {
        &self.client_id
    }

    /// The password.
    pub fn secret(&self) -> &PresentedClientSecret {
        &self.secret
    }
}

/// One value of `application/x-www-form-urlencoded` (RFC 6749 Appendix B).
fn form_decoded(encoded: &[u8]) -> Result<String, BasicCredentialsError> {
    let mut decoded = Zeroizing::new(Vec::with_capacity(encoded.len()));
    let mut rest = encoded;
    while let Some((octet, after)) = rest.split_first() {
        rest = after;
        match (octet, after) {
            (b'+', _) => decoded.push(b' '),
            (b'%', [high, low, after @ ..]) => {
                let digit = |octet: u8| char::from(octet).to_digit(16);
                let (Some(high), Some(low)) = (digit(*high), digit(*low)) else {
                    return Err(BasicCredentialsError::Encoding);
                };
                decoded.push((high << 4 | low) as u8);
                rest = after;
            }
            (b'%', _) => return Err(BasicCredentialsError::Encoding),
            (octet, _) => decoded.push(*octet),
        }
    }
    match std::str::from_utf8(&decoded) {
        Ok(text) => Ok(text.to_owned()),
        Err(_) => Err(BasicCredentialsError::Encoding),
    }
}

impl fmt::Debug for PresentedClientSecret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "PresentedClientSecret({:?}, …)", self.transport)
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failing test panics")]

    use super::*;

    fn header(credentials: &str) -> String {
        format!("Basic {}", base64url::encode_standard(credentials.as_bytes()))
    }

    fn check(credentials: &str, client_id: &str, secret: &str) {
        let read = BasicCredentials::parse(header(credentials).as_bytes())
            .unwrap()
            .unwrap();
        assert_eq!(
            (read.client_id(), read.secret().as_str()),
            (client_id, secret),
            "{credentials}"
        );
        assert_eq!(read.secret().transport(), ClientSecretTransport::Basic);
    }

    #[test]
    fn both_halves_are_form_decoded_after_the_colon_was_found() {
        check(
            "s6BhdRkqt3:7Fjfp0ZBr1KtDRbnfVdmIw",
            "s6BhdRkqt3",
            "7Fjfp0ZBr1KtDRbnfVdmIw",
        );
        check("a%3Ab:c%3ad", "a:b", "c:d");
        check("spiffe%3A%2F%2Fexample.org%2Fa:x", "spiffe://example.org/a", "x");
        check("a+b:%C2%A3+%25%2B", "a b", "£ %+");
        check("a:b:c", "a", "b:c");
        check("a:", "a", "");
        check(":a", "", "a");
        check("ä:ö", "ä", "ö");
    }

    #[test]
    fn what_is_no_pair_of_form_encoded_values_is_refused() {
        for credentials in ["a%:b", "a:b%", "a:%4", "a:%zz", "a:%ff", "%C3%28:a"] {
            let read = BasicCredentials::parse(header(credentials).as_bytes()).unwrap();
            assert_eq!(read.unwrap_err(), BasicCredentialsError::Encoding, "{credentials}");
        }
        let read = |value: &str| BasicCredentials::parse(value.as_bytes()).unwrap().unwrap_err();
        assert_eq!(read(&header("nobody")), BasicCredentialsError::Colon);
        for value in [
            "Basic !",
            "Basic YTpi=",
            "Basic YTp",
            "Basic a b",
            "basic \u{e4}",
            "Basic YTpi YTpi",
        ] {
            assert!(matches!(read(value), BasicCredentialsError::Base64(_)), "{value}");
        }
        for value in ["Basic", "Basic "] {
            assert_eq!(read(value), BasicCredentialsError::Colon, "{value}");
        }
    }

    #[test]
    fn the_scheme_has_no_case_and_other_schemes_are_left_alone() {
        assert!(BasicCredentials::parse(b"bAsIc YTpi").unwrap().is_ok());
        assert!(BasicCredentials::parse(b"Basic   YTpi").unwrap().is_ok());
        for value in ["", "Bearer YTpi", "BasicYTpi", "DPoP a", "Basi YTpi"] {
            assert!(BasicCredentials::parse(value.as_bytes()).is_none(), "{value:?}");
        }
    }

    #[test]
    fn debug_shows_no_secret() {
        let read = BasicCredentials::parse(header("a:hush").as_bytes()).unwrap().unwrap();
        assert!(!format!("{read:?}").contains("hush"));
    }
}
