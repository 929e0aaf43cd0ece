//! Request forms: `application/x-www-form-urlencoded` (RFC 6749 §3.2 and Appendix B).
//!
//! Repeated parameters are refused, known or not, because two readers of one form must not see two requests; an empty value
//! counts as absent; unknown parameters are ignored.

use std::borrow::Cow;

use crate::error_code::ErrorCode;

/// The largest form in octets.
pub const FORM_BYTES_MAX: usize = 64 * 1024;
/// The most parameters in one form.
pub const FORM_PARAMETERS_MAX: usize = 100;
/// The parameters that may be repeated (RFC 8707 §2, RFC 8693 §2.1).
const REPEATABLE: [&str; 2] = [RESOURCE, AUDIENCE];
const RESOURCE: &str = "resource";
const AUDIENCE: &str = "audience";

/// Why a body is not a form.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FormError {
    /// Larger than [`FORM_BYTES_MAX`].
    #[error("a form of {0} octets is too large")]
    TooLarge(usize),
    /// More than [`FORM_PARAMETERS_MAX`] parameters.
    #[error("more than {FORM_PARAMETERS_MAX} parameters")]
    TooManyParameters,
    /// A percent sign without two hexadecimal digits, an octet that is not ASCII, or text that is not UTF-8.
    #[error("not a form of UTF-8 text")]
    Encoding,
    /// A parameter twice.
    #[error("parameter {0:?} is repeated")]
    Repeated(String),
}

impl FormError {
    /// The code that is sent. [`FormError::TooLarge`] has an HTTP status of its own, 413.
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::TooLarge(_) | Self::TooManyParameters | Self::Encoding | Self::Repeated(_) => {
                ErrorCode::InvalidRequest
            }
        }
    }
}

/// A form whose parameters are distinct, except for `resource` and `audience`. Not shown by `Debug`: forms hold secrets and assertions.
#[derive(Clone, Default)]
pub struct Form<'a> {
    parameters: Vec<(Cow<'a, str>, Cow<'a, str>)>,
}

impl<'a> Form<'a> {
    /// Reads the body of a request whose media type was already checked.
    ///
    /// # Errors
    /// See [`FormError`].
    pub fn parse(body: &'a [u8]) -> Result<Self, FormError> {
        if body.len() > FORM_BYTES_MAX {
            return Err(FormError::TooLarge(body.len()));
        }
        // The decoder repairs what is malformed instead of refusing it, so that is asked first.
        let mut rest = body;
        while let Some((octet, after)) = rest.split_first() {
            rest = after;
            let well_formed = match octet {
                b'%' => matches!(after, [a, b, ..] if a.is_ascii_hexdigit() && b.is_ascii_hexdigit()),
                octet => octet.is_ascii(),
            };
            if !well_formed {
                return Err(FormError::Encoding);
            }
        }
        let mut parameters: Vec<(Cow<'a, str>, Cow<'a, str>)> = Vec::new();
        for (name, value) in form_urlencoded::parse(body) {
            if parameters.len() == FORM_PARAMETERS_MAX {
                return Err(FormError::TooManyParameters);
            }
            // What was not UTF-8 was decoded to this character; no parameter of OAuth has it by right.
            if name.contains(char::REPLACEMENT_CHARACTER) || value.contains(char::REPLACEMENT_CHARACTER) {
                return Err(FormError::Encoding);
            }
            if !REPEATABLE.contains(&name.as_ref()) && parameters.iter().any(|(earlier, _)| *earlier == name) {
                return Err(FormError::Repeated(name.into_owned()));
            }
            parameters.push((name, value));
        }
        parameters.retain(|(_, value)| !value.is_empty());
        Ok(Self { parameters })
    }

    /// The value of a parameter; `None` if it is absent or empty.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.parameters
            .iter()
            .find(|(own, _)| own == name)
            .map(|(_, value)| value.as_ref())
    }

    /// The values of `resource`, in their order.
    pub fn resources(&self) -> impl Iterator<Item = &str> {
        self.values(RESOURCE)
    }

    /// The values of `audience` (RFC 8693 §2.1), in their order.
    pub fn audiences(&self) -> impl Iterator<Item = &str> {
        self.values(AUDIENCE)
    }

    fn values(&self, name: &'static str) -> impl Iterator<Item = &str> {
        self.parameters
            .iter()
            .filter(move |(own, _)| own == name)
            .map(|(_, value)| value.as_ref())
    }
}

impl std::fmt::Debug for Form<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_set()
            .entries(self.parameters.iter().map(|(name, _)| name))
            .finish()
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failing test panics")]

    use super::*;

    #[test]
    fn decodes_what_appendix_b_encodes() {
        let form = Form::parse(b"a=+%25%26%2B%C2%A3%E2%82%AC&b=x&c").unwrap();
        assert_eq!(form.get("a"), Some(" %&+\u{a3}\u{20ac}"));
        assert_eq!(form.get("c"), None);
        assert_eq!(Form::parse(b"").unwrap().get("a"), None);
    }

    #[test]
    fn refuses_what_the_decoder_would_repair() {
        for body in [
            &b"a=%"[..],
            b"a=%4",
            b"a=%4g",
            b"%zz=1",
            b"a=%ff",
            b"a=%c3%28",
            b"a=%ED%A0%80",
            b"a=\xc3\xa9",
        ] {
            assert_eq!(Form::parse(body).unwrap_err(), FormError::Encoding, "{body:?}");
        }
    }

    #[test]
    fn debug_shows_names_only() {
        assert_eq!(
            format!("{:?}", Form::parse(b"client_secret=hush").unwrap()),
            "{\"client_secret\"}"
        );
    }
}
