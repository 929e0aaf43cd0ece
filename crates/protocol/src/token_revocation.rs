//! The revocation of a token by the client that has it (RFC 7009).
//!
//! Certificates are revoked elsewhere: see [`certificate_revocation_list`](crate::certificate_revocation_list).

use crate::bearer::TOKEN_BYTES_MAX;
use crate::error_code::ErrorCode;
use crate::form::Form;

/// A request to the revocation endpoint (RFC 7009 §2.1).
///
/// `token_type_hint` is not kept: it may only speed a search up, and ours needs no help.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct RevocationRequest<'a> {
    token: &'a str,
}

/// Why a form revokes no token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RevocationRequestError {
    /// `token` is absent.
    #[error("`token` is missing")]
    TokenMissing,
}

impl RevocationRequestError {
    /// The code that is sent (RFC 7009 §2.2.1).
    pub fn code(self) -> ErrorCode {
        match self {
            Self::TokenMissing => ErrorCode::InvalidRequest,
        }
    }
}

impl<'a> RevocationRequest<'a> {
    /// Reads a request.
    ///
    /// # Errors
    /// [`RevocationRequestError::TokenMissing`]
    pub fn parse(form: &'a Form<'_>) -> Result<Self, RevocationRequestError> {
        form.get("token")
            .map(|token| Self { token })
            .ok_or(RevocationRequestError::TokenMissing)
    }

    /// The token that is given up; `None` for one that is too long to be a token of anybody's.
    pub fn token(&self) -> Option<&'a str> {
        Some(self.token).filter(|token| token.len() <= TOKEN_BYTES_MAX)
    }
}

impl std::fmt::Debug for RevocationRequest<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("RevocationRequest(…)")
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failing test panics")]

    use super::*;

    #[test]
    fn a_request_is_about_one_token() {
        let parse = |body: &str| {
            let form = Form::parse(body.as_bytes()).unwrap();
            RevocationRequest::parse(&form).map(|asked| asked.token().map(str::to_owned))
        };
        for body in ["", "token=", "token_type_hint=access_token", "Token=abc"] {
            let error = parse(body).unwrap_err();
            assert_eq!(
                (error, error.code()),
                (RevocationRequestError::TokenMissing, ErrorCode::InvalidRequest),
                "{body}"
            );
        }
        let found = parse("token=abc&token_type_hint=nonsense").unwrap();
        assert_eq!(found.as_deref(), Some("abc"));
        let long = format!("token={}", "a".repeat(TOKEN_BYTES_MAX + 1));
        assert_eq!(parse(&long), Ok(None));
    }
}
