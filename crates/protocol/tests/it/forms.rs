//! Request forms, token requests, scope and resource in them.

use keybound_protocol::error_code::ErrorCode;
use keybound_protocol::form::{FORM_BYTES_MAX, FORM_PARAMETERS_MAX, Form, FormError};
use keybound_protocol::grant_type::GrantType;
use keybound_protocol::token_request::{
    ClientCredentialsRequest, RESOURCES_MAX, TokenRequest, TokenRequestError, grant_type,
};

fn request(body: &str) -> Result<TokenRequest, TokenRequestError> {
    TokenRequest::parse(&Form::parse(body.as_bytes()).unwrap())
}

fn client_credentials(body: &str) -> ClientCredentialsRequest {
    match request(body) {
        Ok(TokenRequest::ClientCredentials(request)) => request,
        other => panic!("{body}: {other:?}"),
    }
}

#[track_caller]
fn refused(body: &str, code: ErrorCode) -> TokenRequestError {
    let error = request(body).unwrap_err();
    assert_eq!(error.code(), code, "{body}");
    error
}

// covers R6749-5
#[test]
fn repeated_parameters_are_refused_known_or_not() {
    for (body, name) in [
        ("client_id=a&client_id=a", "client_id"),
        ("client_id=a&scope=x&client_id=b", "client_id"),
        ("grant_type=client_credentials&grant_type=", "grant_type"),
        ("unknown=1&unknown=2", "unknown"),
        ("a=1&%61=2", "a"),
        ("=1&=2", ""),
    ] {
        let error = Form::parse(body.as_bytes()).unwrap_err();
        assert_eq!(error, FormError::Repeated(name.to_owned()), "{body}");
        assert_eq!(error.code(), ErrorCode::InvalidRequest);
    }
    // Names are case-sensitive: these are two parameters.
    assert!(Form::parse(b"scope=a&Scope=b").is_ok());
}

// covers R6749-5
#[test]
fn unknown_parameters_are_ignored_and_empty_ones_absent() {
    let request = client_credentials("grant_type=client_credentials&scope=&resource=&foo=bar&refresh_token=x");
    assert_eq!(request.scope, None);
    assert!(request.resources.is_empty());
    assert_eq!(
        refused("grant_type=&client_id=a", ErrorCode::InvalidRequest),
        TokenRequestError::GrantTypeMissing
    );
    assert_eq!(
        refused("", ErrorCode::InvalidRequest),
        TokenRequestError::GrantTypeMissing
    );
}

// covers R6749-4
#[test]
fn a_body_that_is_no_form_of_utf_8_is_refused() {
    for body in [
        &b"\xff=1"[..],
        b"a=%FF",
        b"a=%",
        b"{\"grant_type\":\"client_credentials\xc3\xa4\"}",
    ] {
        assert_eq!(Form::parse(body).unwrap_err(), FormError::Encoding);
    }
    // A JSON body is one long parameter name, and so asks for nothing.
    assert_eq!(
        refused(r#"{"grant_type":"client_credentials"}"#, ErrorCode::InvalidRequest),
        TokenRequestError::GrantTypeMissing
    );
}

#[test]
fn a_form_is_bounded() {
    let mut body = b"a=".to_vec();
    body.resize(FORM_BYTES_MAX, b'x');
    assert!(Form::parse(&body).is_ok());
    body.push(b'x');
    assert_eq!(Form::parse(&body).unwrap_err(), FormError::TooLarge(FORM_BYTES_MAX + 1));
    let parameters = |count: usize| (0..count).map(|n| format!("p{n}=1")).collect::<Vec<_>>().join("&");
    assert!(Form::parse(parameters(FORM_PARAMETERS_MAX).as_bytes()).is_ok());
    assert_eq!(
        Form::parse(parameters(FORM_PARAMETERS_MAX + 1).as_bytes()).unwrap_err(),
        FormError::TooManyParameters
    );
}

#[test]
fn grant_types_are_known_by_name() {
    assert_eq!(
        request("grant_type=client_credentials").unwrap().grant_type(),
        GrantType::ClientCredentials
    );
    for name in ["password", "implicit", "client-credentials", "CLIENT_CREDENTIALS"] {
        let error = refused(&format!("grant_type={name}"), ErrorCode::UnsupportedGrantType);
        assert_eq!(error, TokenRequestError::GrantTypeUnsupported(name.to_owned()));
    }
    let form = Form::parse(b"grant_type=refresh_token").unwrap();
    assert_eq!(grant_type(&form), Ok(GrantType::RefreshToken));
}

// covers R6749-11
#[test]
fn a_malformed_scope_is_invalid_scope_and_a_missing_one_is_left_to_the_server() {
    for scope in ["a++b", "%20a", "a%20", "%22a%22", "a%5Cb", "%C3%A4", "a%0Ab", "a%00"] {
        let error = refused(
            &format!("grant_type=client_credentials&scope={scope}"),
            ErrorCode::InvalidScope,
        );
        assert!(matches!(error, TokenRequestError::Scope(_)));
    }
    let request = client_credentials("grant_type=client_credentials&scope=b+a+b");
    assert_eq!(request.scope.unwrap().as_str(), "b a");
}

// covers R8707-1
#[test]
fn resource_is_absolute_without_fragment_and_may_repeat() {
    let body = "grant_type=client_credentials&resource=https%3A%2F%2Fa.example&resource=urn%3Ab&resource=https%3A%2F%2Fa.example";
    let several = client_credentials(body);
    let resources: Vec<&str> = several.resources.iter().map(|resource| resource.as_str()).collect();
    assert_eq!(resources, ["https://a.example", "urn:b"]);
    for wrong in [
        "%2Fapi",
        "a.example",
        "https%3A%2F%2Fa.example%2F%23x",
        "https%3A%2F%2Fa.example%2F%20",
        "%23",
    ] {
        let error = refused(
            &format!("grant_type=client_credentials&resource={wrong}"),
            ErrorCode::InvalidTarget,
        );
        assert!(matches!(error, TokenRequestError::Resource { .. }), "{wrong}");
    }
    let many = |count: usize| {
        let resources: String = (0..count).map(|n| format!("&resource=urn%3Aa{n}")).collect();
        format!("grant_type=client_credentials{resources}")
    };
    assert!(request(&many(RESOURCES_MAX)).is_ok());
    assert_eq!(
        refused(&many(RESOURCES_MAX + 1), ErrorCode::InvalidTarget),
        TokenRequestError::TooManyResources
    );
}
