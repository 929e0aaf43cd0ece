//! The closed set of error codes, the status of each at each endpoint, and the challenges of RFC 6750.

use http::StatusCode;
use keybound_protocol::challenge::{BearerChallenge, ChallengeError, PresentedChallenge};
use keybound_protocol::endpoint::Endpoint;
use keybound_protocol::error_code::{AuthorizationScheme, ErrorCode};
use keybound_protocol::scope::Scope;

// covers R6749-13, TRAP-22, R7662-1
#[test]
fn invalid_client_is_401_only_where_there_is_a_fitting_challenge() {
    for endpoint in Endpoint::ALL {
        let expected = match endpoint {
            Endpoint::Introspection | Endpoint::BackchannelAuthentication => StatusCode::UNAUTHORIZED,
            _ => StatusCode::BAD_REQUEST,
        };
        assert_eq!(
            ErrorCode::InvalidClient.status(endpoint, AuthorizationScheme::Absent),
            expected,
            "{endpoint:?}"
        );
        for header in [&b"Basic YTpi"[..], b"Bearer x", b"DPoP x", b"Negotiate x", b""] {
            let scheme = AuthorizationScheme::of(Some(header));
            assert_eq!(
                ErrorCode::InvalidClient.status(endpoint, scheme),
                StatusCode::UNAUTHORIZED
            );
        }
    }
    for (header, challenge) in [
        (Some(&b"Basic YTpi"[..]), "Basic"),
        (Some(b"basic"), "Basic"),
        (Some(b"Bearer x"), "Bearer"),
        (Some(b"Digest x"), "Bearer"),
        (None, "Bearer"),
    ] {
        assert_eq!(AuthorizationScheme::of(header).challenge_scheme(), challenge);
    }
}

// covers R6749-13
#[test]
fn every_other_code_is_400_but_for_those_that_mean_another_status() {
    for endpoint in Endpoint::ALL {
        for code in ErrorCode::ALL {
            let expected = match code {
                ErrorCode::InvalidClient => continue,
                ErrorCode::AccessDenied if endpoint == Endpoint::BackchannelAuthentication => StatusCode::FORBIDDEN,
                ErrorCode::InvalidToken => StatusCode::UNAUTHORIZED,
                // A protected resource inside: RFC 9449 §7.1, §9.
                ErrorCode::InvalidDpopProof | ErrorCode::UseDpopNonce if endpoint == Endpoint::Userinfo => {
                    StatusCode::UNAUTHORIZED
                }
                ErrorCode::InsufficientScope => StatusCode::FORBIDDEN,
                ErrorCode::ServerError => StatusCode::INTERNAL_SERVER_ERROR,
                ErrorCode::TemporarilyUnavailable => StatusCode::SERVICE_UNAVAILABLE,
                _ => StatusCode::BAD_REQUEST,
            };
            assert_eq!(
                code.status(endpoint, AuthorizationScheme::Absent),
                expected,
                "{code} at {endpoint:?}"
            );
        }
    }
}

// covers R6749-13
#[test]
fn the_texts_stay_within_the_characters_of_rfc_6749() {
    let described: std::collections::BTreeSet<&str> = ErrorCode::ALL.iter().map(|code| code.description()).collect();
    assert_eq!(described.len(), ErrorCode::ALL.len());
    for text in described {
        assert!(
            text.bytes()
                .all(|octet| matches!(octet, 0x20..=0x21 | 0x23..=0x5b | 0x5d..=0x7e)),
            "{text}"
        );
    }
    assert_eq!(ErrorCode::InvalidClient.description(), "client authentication failed");
}

// covers R7591-5
#[test]
fn the_errors_of_registration_have_their_names_and_are_400() {
    for (code, name) in [
        (ErrorCode::InvalidRedirectUri, "invalid_redirect_uri"),
        (ErrorCode::InvalidClientMetadata, "invalid_client_metadata"),
        (ErrorCode::InvalidSoftwareStatement, "invalid_software_statement"),
        (ErrorCode::UnapprovedSoftwareStatement, "unapproved_software_statement"),
    ] {
        assert_eq!(code.as_str(), name);
        let status = code.status(Endpoint::Registration, AuthorizationScheme::Absent);
        assert_eq!(status, StatusCode::BAD_REQUEST);
    }
}

// covers R6750-4, MTLS-3-12, TRAP-23
#[test]
fn the_codes_of_rfc_6750_have_their_statuses() {
    for (code, status) in [
        (ErrorCode::InvalidRequest, StatusCode::BAD_REQUEST),
        (ErrorCode::InvalidToken, StatusCode::UNAUTHORIZED),
        (ErrorCode::InsufficientScope, StatusCode::FORBIDDEN),
    ] {
        assert_eq!(code.resource_status(), status);
    }
}

// covers R6750-3, MTLS-3-12, MTLS-3-14
#[test]
fn a_challenge_has_parameters_and_none_twice() {
    let bare = BearerChallenge::bare("https://api.example");
    assert_eq!(bare.to_string(), r#"Bearer realm="https://api.example""#);
    assert_eq!(
        bare.clone().with_error(ErrorCode::InvalidToken).to_string(),
        r#"Bearer realm="https://api.example", error="invalid_token", error_description="the access token is not valid for this request""#
    );
    let scoped = bare
        .with_error(ErrorCode::InsufficientScope)
        .with_scope(Scope::parse("read write").unwrap());
    assert!(scoped.to_string().ends_with(r#", scope="read write""#));
    let read = PresentedChallenge::parse(&scoped.to_string()).unwrap();
    assert_eq!(read.realm.as_deref(), Some("https://api.example"));
    assert_eq!(read.error.as_deref(), Some("insufficient_scope"));
    assert_eq!(read.scope.as_deref(), Some("read write"));
    // Said twice, the last one stands.
    let again = scoped
        .with_error(ErrorCode::InvalidToken)
        .with_scope(Scope::empty())
        .to_string();
    assert_eq!(again.matches("error=").count(), 1);
    assert_eq!(again.matches("scope=").count(), 0);
}

#[test]
fn a_realm_cannot_break_out_of_its_quotes() {
    let challenge = BearerChallenge::bare("a\"b\\c\r\nx: y\u{e4}").to_string();
    assert_eq!(challenge, "Bearer realm=\"a\\\"b\\\\c??x: y?\"");
    assert_eq!(
        PresentedChallenge::parse(&challenge).unwrap().realm.as_deref(),
        Some("a\"b\\c??x: y?")
    );
}

#[test]
fn a_client_finds_the_bearer_challenge_among_others() {
    let invalid_token = Some("invalid_token");
    for (value, error) in [
        (r#"Bearer error="invalid_token""#, invalid_token),
        ("bearer error=invalid_token", invalid_token),
        (
            r#"Bearer realm="x, error=\"y\"" , error = "invalid_token""#,
            invalid_token,
        ),
        (r#"Basic realm="x", Bearer error="invalid_token""#, invalid_token),
        (
            r#"Negotiate dG9rZW4=, Bearer error="invalid_token", Digest realm="y", error="z""#,
            invalid_token,
        ),
        (r#"Bearer foo="bar",, error="invalid_token","#, invalid_token),
        ("Bearer", None),
        (r#"Bearer realm="x", Basic realm="y""#, None),
    ] {
        assert_eq!(
            PresentedChallenge::parse(value).unwrap().error.as_deref(),
            error,
            "{value}"
        );
    }
    for (value, error) in [
        ("", ChallengeError::OtherScheme),
        (r#"Basic realm="x""#, ChallengeError::OtherScheme),
        ("Negotiate", ChallengeError::OtherScheme),
        (r#"Bearer error="x", error="y""#, ChallengeError::Repeated),
        (r#"Bearer error="x"#, ChallengeError::Syntax),
        ("Bearer error=", ChallengeError::Syntax),
        ("Bearer \"", ChallengeError::Syntax),
    ] {
        assert_eq!(PresentedChallenge::parse(value), Err(error), "{value}");
    }
}
