//! The access token of a request (RFC 6750 §2.1, RFC 9449 §7.1): from the `Authorization` header and from nowhere else.
//!
//! A token in the query or in a form body is not looked for (RFC 9700 §4.3.2): such a request simply has no token.

use std::fmt;

use crate::error_code::ErrorCode;

/// The longest access token in octets.
pub const TOKEN_BYTES_MAX: usize = 16 * 1024;

/// An access token as it was presented. Not shown by `Debug`: whoever reads the log must not be able to use it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct BearerToken<'a>(&'a str);

/// The scheme that a token was presented by.
///
/// It belongs to the binding: `DPoP` says that the token is bound to a key (RFC 9449 §7.1), `Bearer` that it is not. A token that is
/// bound to a certificate keeps `Bearer` (RFC 8705 §3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenScheme {
    /// `Bearer`
    Bearer,
    /// `DPoP`
    Dpop,
}

/// Why a request has no usable bearer token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BearerError {
    /// No `Authorization` header.
    #[error("the request has no Authorization header")]
    Missing,
    /// An `Authorization` header of another scheme than the resource takes: the request has no token for it.
    #[error("the Authorization header is of a scheme that is not taken here")]
    OtherScheme,
    /// More than one `Authorization` header, so that two readers could see two tokens.
    #[error("the request has more than one Authorization header")]
    Repeated,
    /// The scheme alone, without a token.
    #[error("the Authorization header has no token after its scheme")]
    Empty,
    /// Something after the scheme that is not a `b64token`.
    #[error("the token has a character that no token has")]
    Syntax,
    /// Longer than [`TOKEN_BYTES_MAX`].
    #[error("the token is longer than {TOKEN_BYTES_MAX} octets")]
    TooLong,
}

impl<'a> BearerToken<'a> {
    /// Takes the token from the values of all `Authorization` headers of a request.
    ///
    /// The scheme is compared without case (RFC 9110 §11.1); the token is `b64token` (RFC 6750 §2.1).
    ///
    /// # Errors
    /// See [`BearerError`].
    pub fn from_authorization(values: impl IntoIterator<Item = &'a [u8]>) -> Result<Self, BearerError> {
        let (_, token) = Self::of_schemes(values, &[TokenScheme::Bearer])?;
        Ok(token)
    }

    /// The same for a resource that takes tokens by these schemes, with the one it was presented by.
    ///
    /// # Errors
    /// See [`BearerError`].
    pub fn of_schemes(
        values: impl IntoIterator<Item = &'a [u8]>,
        schemes: &[TokenScheme],
    ) -> Result<(TokenScheme, Self), BearerError> {
        let mut values = values.into_iter();
        let value = values.next().ok_or(BearerError::Missing)?;
        if values.next().is_some() {
            return Err(BearerError::Repeated);
        }
        let end = value
            .iter()
            .position(|octet| matches!(octet, b' ' | b'\t'))
            .unwrap_or(value.len());
        let (name, rest) = value.split_at(end);
        let scheme = schemes
            .iter()
            .copied()
            .find(|scheme| scheme.as_str().as_bytes().eq_ignore_ascii_case(name))
            .ok_or(BearerError::OtherScheme)?;
        let start = rest.iter().position(|octet| *octet != b' ').unwrap_or(rest.len());
        let token = rest.get(start..).unwrap_or_default();
        if token.is_empty() {
            return Err(BearerError::Empty);
        }
        Ok((scheme, Self::parse(token)?))
    }

    /// Reads a token that came another way, such as the `token` parameter of an introspection request.
    ///
    /// # Errors
    /// [`BearerError::Empty`], [`BearerError::Syntax`], [`BearerError::TooLong`].
    pub fn parse(token: &'a [u8]) -> Result<Self, BearerError> {
        if token.is_empty() {
            return Err(BearerError::Empty);
        }
        if token.len() > TOKEN_BYTES_MAX {
            return Err(BearerError::TooLong);
        }
        // b64token = 1*( ALPHA / DIGIT / "-" / "." / "_" / "~" / "+" / "/" ) *"="
        let padding = token.iter().rev().take_while(|octet| **octet == b'=').count();
        let body = token.get(..token.len() - padding).unwrap_or_default();
        let is_b64 =
            |octet: &u8| octet.is_ascii_alphanumeric() || matches!(octet, b'-' | b'.' | b'_' | b'~' | b'+' | b'/');
        if body.is_empty() || !body.iter().all(is_b64) {
            return Err(BearerError::Syntax);
        }
        std::str::from_utf8(token).map(Self).map_err(|_| BearerError::Syntax)
    }

    /// The token's text. Not for logs.
    pub fn as_str(&self) -> &'a str {
        self.0
    }
}

impl TokenScheme {
    /// The registered name, which is also a `token_type`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Bearer => "Bearer",
            Self::Dpop => "DPoP",
        }
    }
}

impl fmt::Debug for BearerToken<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("BearerToken(…)")
    }
}

impl BearerError {
    /// The code of the challenge; `None` for a request without authentication information, which is told only the scheme
    /// (RFC 6750 §3.1).
    ///
    /// A token that is malformed is `invalid_token`, like any other that is not valid; `invalid_request` is left for requests
    /// in which it is not clear what the token is.
    pub fn code(self) -> Option<ErrorCode> {
        match self {
            Self::Missing | Self::OtherScheme => None,
            Self::Repeated | Self::Empty => Some(ErrorCode::InvalidRequest),
            Self::Syntax | Self::TooLong => Some(ErrorCode::InvalidToken),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn extracted<'a>(values: &[&'a str]) -> Result<&'a str, BearerError> {
        BearerToken::from_authorization(values.iter().map(|value| value.as_bytes())).map(|token| token.as_str())
    }

    #[test]
    fn refuses_everything_but_one_header_with_one_token() {
        for (values, error) in [
            (&[][..], BearerError::Missing),
            (&["Bearer a", "Bearer a"], BearerError::Repeated),
            (&["Basic YTpi", "Bearer a"], BearerError::Repeated),
            (&["Basic YTpi"], BearerError::OtherScheme),
            (&["DPoP abc"], BearerError::OtherScheme),
            (&[""], BearerError::OtherScheme),
            (&["Bearerabc"], BearerError::OtherScheme),
            (&["Bear"], BearerError::OtherScheme),
            (&["Bearer"], BearerError::Empty),
            (&["Bearer   "], BearerError::Empty),
            (&["Bearer\tabc"], BearerError::Syntax),
            (&["Bearer a b"], BearerError::Syntax),
            (&["Bearer a,b"], BearerError::Syntax),
            (&["Bearer a, Bearer b"], BearerError::Syntax),
            (&["Bearer a "], BearerError::Syntax),
            (&["Bearer =a"], BearerError::Syntax),
            (&["Bearer ="], BearerError::Syntax),
            (&["Bearer a=b"], BearerError::Syntax),
            (&["Bearer \"a\""], BearerError::Syntax),
            (&["Bearer t\u{f6}ken"], BearerError::Syntax),
        ] {
            assert_eq!(extracted(values), Err(error), "{values:?}");
        }
    }

    #[test]
    fn the_scheme_has_no_case_and_the_token_has_all_of_b64token() {
        for scheme in ["Bearer", "bearer", "BEARER", "bEaReR"] {
            assert_eq!(
                extracted(&[&format!("{scheme} aZ09-._~+/==")]).as_deref(),
                Ok("aZ09-._~+/==")
            );
        }
        assert_eq!(extracted(&["Bearer   abc"]), Ok("abc"));
    }

    #[test]
    fn a_resource_that_takes_proofs_is_told_by_which_scheme_a_token_came() {
        let both = [TokenScheme::Bearer, TokenScheme::Dpop];
        for (value, expected) in [
            ("Bearer abc", Ok(TokenScheme::Bearer)),
            ("DPoP abc", Ok(TokenScheme::Dpop)),
            ("dpop  abc", Ok(TokenScheme::Dpop)),
            ("DPoPabc", Err(BearerError::OtherScheme)),
            ("DPo abc", Err(BearerError::OtherScheme)),
            ("DPoP", Err(BearerError::Empty)),
            ("DPoP a b", Err(BearerError::Syntax)),
        ] {
            let found = BearerToken::of_schemes([value.as_bytes()], &both).map(|(scheme, token)| {
                assert_eq!(token.as_str(), "abc", "{value}");
                scheme
            });
            assert_eq!(found, expected, "{value}");
        }
        let only_proofs = BearerToken::of_schemes([&b"Bearer abc"[..]], &[TokenScheme::Dpop]);
        assert_eq!(only_proofs, Err(BearerError::OtherScheme));
    }

    #[test]
    fn sixteen_kibibytes_pass_and_one_octet_more_does_not() {
        let value = format!("Bearer {}", "a".repeat(TOKEN_BYTES_MAX));
        assert!(extracted(&[&value]).is_ok());
        assert_eq!(extracted(&[&format!("{value}a")]), Err(BearerError::TooLong));
    }

    #[test]
    fn debug_does_not_show_the_token() {
        assert_eq!(format!("{:?}", BearerToken::parse(b"secret")), "Ok(BearerToken(…))");
    }
}
