//! The bearer token of a request (RFC 6750 §2).

use keybound_protocol::bearer::{BearerError, BearerToken, TOKEN_BYTES_MAX};
use keybound_protocol::error_code::ErrorCode;

fn token<'a>(values: &[&'a [u8]]) -> Result<&'a str, BearerError> {
    BearerToken::from_authorization(values.iter().copied()).map(|token| token.as_str())
}

#[track_caller]
fn refused(values: &[&[u8]], error: BearerError, code: Option<ErrorCode>) {
    let refusal = token(values).unwrap_err();
    assert_eq!((refusal, refusal.code()), (error, code));
}

// covers R6750-1
#[test]
fn two_headers_are_an_invalid_request_even_if_they_agree() {
    let code = Some(ErrorCode::InvalidRequest);
    refused(&[b"Bearer a", b"Bearer a"], BearerError::Repeated, code);
    refused(&[b"Basic YTpi", b"Bearer a"], BearerError::Repeated, code);
    refused(&[b"Bearer "], BearerError::Empty, code);
}

// covers R6750-3
#[test]
fn a_request_without_authentication_information_gets_no_error_code() {
    refused(&[], BearerError::Missing, None);
    refused(&[b"Basic YTpi"], BearerError::OtherScheme, None);
    refused(&[b"DPoP abc"], BearerError::OtherScheme, None);
}

// covers R6750-1, R6750-4
#[test]
fn a_malformed_token_is_an_invalid_token() {
    let code = Some(ErrorCode::InvalidToken);
    for value in [
        &b"Bearer a b"[..],
        b"Bearer a,b",
        b"Bearer \xff",
        b"Bearer a\0",
        b"Bearer ==",
        b"Bearer a=b",
    ] {
        refused(&[value], BearerError::Syntax, code);
    }
    let long = [b"Bearer ".to_vec(), vec![b'a'; TOKEN_BYTES_MAX + 1]].concat();
    refused(&[&long], BearerError::TooLong, code);
    assert_eq!(token(&[&long[..long.len() - 1]]).unwrap().len(), TOKEN_BYTES_MAX);
}
