//! Authorization requests: RFC 6749 §4.1.1, 7636, 8707, 9126, 9700, and what FAPI 2.0 adds.

use std::collections::BTreeSet;

use keybound_protocol::authorization_details::AuthorizationDetailsTypes;
use keybound_protocol::authorization_request::{
    AuthorizationParameters, AuthorizationPolicy, AuthorizationRefusal, AuthorizationRequest,
    AuthorizationRequestError, REQUEST_URI_PREFIX, STATE_BYTES_MAX,
};
use keybound_protocol::authorization_response::ResponseMode;
use keybound_protocol::client::{Client, ClientId, ClientOrigin};
use keybound_protocol::client_metadata::ClientMetadata;
use keybound_protocol::error_code::ErrorCode;
use keybound_protocol::form::Form;
use keybound_protocol::profile::Profile;
use keybound_protocol::redirect_uri::RedirectUriError;
use keybound_protocol::resource::ResourceUri;
use serde_json::{Value, json};

use crate::jwt::with;

pub(crate) const CALLBACK: &str = "https://client.example/callback";
/// Of RFC 7636 appendix B.
pub(crate) const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";

pub(crate) fn metadata() -> Value {
    json!({
        "token_endpoint_auth_method": "tls_client_auth",
        "tls_client_auth_san_dns": "client.example",
        "grant_types": ["authorization_code"],
        "redirect_uris": [CALLBACK],
        "scope": "openid read write",
    })
}

pub(crate) fn client(metadata: &Value) -> Client {
    let metadata = ClientMetadata::parse_stored(metadata.to_string().as_bytes()).unwrap();
    Client::new(
        ClientId::parse("demo").unwrap(),
        metadata,
        ClientOrigin::Registration,
        1,
    )
}

pub(crate) fn good() -> Vec<(&'static str, &'static str)> {
    vec![
        ("response_type", "code"),
        ("client_id", "demo"),
        ("redirect_uri", CALLBACK),
        ("scope", "read"),
        ("state", "xyz"),
        ("code_challenge", CHALLENGE),
        ("code_challenge_method", "S256"),
    ]
}

/// The good request with other values; an empty one takes a parameter away.
pub(crate) fn changed<'a>(other: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    let mut request: Vec<(&str, &str)> = good();
    request.retain(|(name, _)| other.iter().all(|(changed, _)| changed != name));
    request.extend(other.iter().filter(|(_, value)| !value.is_empty()));
    request
}

fn resources() -> BTreeSet<ResourceUri> {
    ["https://api.example", "https://other.example"]
        .map(|uri| ResourceUri::parse(uri).unwrap())
        .into()
}

#[derive(Clone, Copy)]
struct Server {
    profile: Profile,
    is_pushed: bool,
    requires_pushed: bool,
}

const DEFAULT: Server = Server {
    profile: Profile::Default,
    is_pushed: false,
    requires_pushed: false,
};
const FAPI: Server = Server {
    profile: Profile::Fapi2,
    is_pushed: true,
    requires_pushed: false,
};

fn parse(
    server: Server,
    metadata: &Value,
    request: &[(&str, &str)],
) -> Result<AuthorizationRequest, AuthorizationRefusal> {
    let body: String = url::form_urlencoded::Serializer::new(String::new())
        .extend_pairs(request)
        .finish();
    let form = Form::parse(body.as_bytes()).unwrap();
    let policy = AuthorizationPolicy {
        profile: server.profile,
        is_pushed: server.is_pushed,
        requires_pushed: server.requires_pushed,
        resources: &resources(),
        authorization_details_types: &AuthorizationDetailsTypes::default(),
    };
    AuthorizationRequest::parse(&client(metadata), &AuthorizationParameters::of_form(&form), &policy)
}

fn accepted(metadata: &Value, request: &[(&str, &str)]) -> AuthorizationRequest {
    parse(DEFAULT, metadata, request).unwrap_or_else(|refusal| panic!("{request:?}: {refusal}"))
}

/// A refusal of which the client is told.
fn told(server: Server, metadata: &Value, request: &[(&str, &str)]) -> AuthorizationRequestError {
    let refusal = parse(server, metadata, request).unwrap_err();
    assert!(refusal.target.is_some(), "{request:?}: {refusal}");
    refusal.reason
}

/// A refusal that only the user sees.
fn shown(metadata: &Value, request: &[(&str, &str)]) -> AuthorizationRequestError {
    let refusal = parse(DEFAULT, metadata, request).unwrap_err();
    assert_eq!(refusal.target, None, "{request:?}: {refusal}");
    refusal.reason
}

// covers R6749-6, R9700-1
#[test]
fn nobody_is_redirected_to_a_uri_that_is_not_registered() {
    for presented in [
        "https://client.example/callback/",
        "https://client.example/callback?x=1",
        "https://client.example/callback#x",
        "https://client.example/Callback",
        "https://CLIENT.example/callback",
        "https://client.example:443/callback",
        "https://client.example/%63allback",
        "https://client.example/callback/../callback",
        "http://client.example/callback",
        "https://client.example.evil.example/callback",
        "https://client.example@evil.example/callback",
        "//client.example/callback",
        "/callback",
        "javascript:alert(1)",
        "https://client.example/callback\\",
    ] {
        let reason = shown(&metadata(), &changed(&[("redirect_uri", presented)]));
        assert_eq!(reason.code(), ErrorCode::InvalidRequest);
        let expected = RedirectUriError::NotRegistered {
            presented: presented.to_owned(),
        };
        assert_eq!(reason, AuthorizationRequestError::RedirectUri(expected));
    }
    let request = accepted(&metadata(), &good());
    assert_eq!(request.sent_redirect_uri().unwrap().as_str(), CALLBACK);
}

// covers R6749-6, FAPI-6
#[test]
fn a_redirect_uri_may_be_left_out_where_there_is_only_one() {
    let without = changed(&[("redirect_uri", "")]);
    let request = accepted(&metadata(), &without);
    assert_eq!(
        (request.redirect_uri().as_str(), request.sent_redirect_uri()),
        (CALLBACK, None)
    );
    let two = with(
        metadata(),
        "redirect_uris",
        json!([CALLBACK, "https://client.example/b"]),
    );
    let missing = |registered| AuthorizationRequestError::RedirectUri(RedirectUriError::Missing { registered });
    assert_eq!(shown(&two, &without), missing(2));
    let refusal = parse(FAPI, &metadata(), &without).unwrap_err();
    assert_eq!((refusal.reason, refusal.target), (missing(1), None));
}

// covers R9700-1
#[test]
fn of_a_loopback_uri_the_port_alone_may_differ() {
    let native = |uri: &str| with(metadata(), "redirect_uris", json!([uri]));
    for (registered, presented) in [
        ("http://127.0.0.1/cb", "http://127.0.0.1:51004/cb"),
        ("http://127.0.0.1:1/cb?x=1", "http://127.0.0.1/cb?x=1"),
        ("http://[::1]/cb", "http://[::1]:61023/cb"),
        ("http://localhost:8080/cb", "http://localhost:9090/cb"),
    ] {
        let request = accepted(&native(registered), &changed(&[("redirect_uri", presented)]));
        assert_eq!(request.redirect_uri().as_str(), presented);
    }
    for (registered, presented) in [
        ("http://127.0.0.1/cb", "http://127.0.0.1:51004/cb2"),
        ("http://127.0.0.1/cb", "http://127.0.0.1:51004/cb?x"),
        ("http://127.0.0.1/cb", "http://localhost:51004/cb"),
        ("http://127.0.0.1/cb", "http://127.0.0.2:51004/cb"),
        ("http://127.0.0.1/cb", "https://127.0.0.1:51004/cb"),
        ("http://127.0.0.1/cb", "http://127.0.0.1:51004@evil.example/cb"),
        ("http://127.0.0.1/cb", "http://127.0.0.1:99999/cb"),
        ("http://127.0.0.1/cb", "http://127.0.0.1:/cb"),
        ("http://127.0.0.1/cb", "http://127.0.0.1:+1/cb"),
        ("http://127.0.0.1/cb", "http://127.0.0.1.evil.example/cb"),
        ("http://localhost/cb", "http://localhost.evil.example/cb"),
        ("https://client.example/cb", "https://client.example:8443/cb"),
    ] {
        shown(&native(registered), &changed(&[("redirect_uri", presented)]));
    }
}

// covers R7636-2, R9700-2, R-FAPI-5, FAPI-6
#[test]
fn a_challenge_is_s256_and_whoever_has_to_sends_one() {
    let public = json!({
        "token_endpoint_auth_method": "none", "grant_types": ["authorization_code"], "redirect_uris": [CALLBACK],
        "scope": "read",
    });
    let none = changed(&[("code_challenge", ""), ("code_challenge_method", "")]);
    for (server, metadata) in [(DEFAULT, &public), (FAPI, &metadata())] {
        let reason = told(server, metadata, &none);
        assert!(
            matches!(reason, AuthorizationRequestError::ChallengeMissing(_)),
            "{reason}"
        );
        assert_eq!(reason.code(), ErrorCode::InvalidRequest);
    }
    assert_eq!(accepted(&metadata(), &none).code_challenge(), None);
    for (challenge, method) in [
        (CHALLENGE, "plain"),
        (CHALLENGE, ""),
        (CHALLENGE, "s256"),
        ("", "S256"),
        ("short", "S256"),
        ("E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM=", "S256"),
        ("E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-c", "S256"),
    ] {
        let request = changed(&[("code_challenge", challenge), ("code_challenge_method", method)]);
        let reason = told(DEFAULT, &metadata(), &request);
        assert!(matches!(reason, AuthorizationRequestError::Challenge(_)), "{reason}");
        assert_eq!(reason.code(), ErrorCode::InvalidRequest);
    }
}

// covers R9700-5, R-FAPI-5, FAPI-6
#[test]
fn only_codes_are_given_and_only_in_a_query() {
    for name in ["token", "id_token", "code token", "code id_token", "none", "CODE"] {
        let reason = told(DEFAULT, &metadata(), &changed(&[("response_type", name)]));
        assert_eq!(reason.code(), ErrorCode::UnsupportedResponseType, "{name}");
    }
    let reason = told(DEFAULT, &metadata(), &changed(&[("response_type", "")]));
    assert_eq!(reason.code(), ErrorCode::InvalidRequest);
    for name in ["fragment", "form_post", "fragment.jwt", "form_post.jwt", "Query"] {
        let reason = told(DEFAULT, &metadata(), &changed(&[("response_mode", name)]));
        assert_eq!(reason, AuthorizationRequestError::ResponseMode(name.to_owned()));
    }
    for (name, mode) in [
        ("", ResponseMode::Query),
        ("query", ResponseMode::Query),
        ("jwt", ResponseMode::QueryJwt),
        ("query.jwt", ResponseMode::QueryJwt),
    ] {
        assert_eq!(
            accepted(&metadata(), &changed(&[("response_mode", name)])).response_mode(),
            mode
        );
    }
}

// covers R9126-7, R9101-4, R-FAPI-5, FAPI-9, FAPI-21
#[test]
fn a_request_that_has_to_be_pushed_or_signed_is_refused_otherwise_and_its_client_told() {
    let directly = Server {
        is_pushed: false,
        ..FAPI
    };
    let demanded = Server {
        requires_pushed: true,
        ..DEFAULT
    };
    let registered = with(metadata(), "require_pushed_authorization_requests", json!(true));
    for (server, metadata) in [(directly, &metadata()), (demanded, &metadata()), (DEFAULT, &registered)] {
        let refusal = parse(server, metadata, &good()).unwrap_err();
        assert_eq!(refusal.reason, AuthorizationRequestError::PushedRequired);
        assert_eq!(refusal.code(), ErrorCode::InvalidRequest);
        assert_eq!(refusal.target.unwrap().state.as_deref(), Some("xyz"));
        let pushed = Server {
            is_pushed: true,
            ..server
        };
        assert!(parse(pushed, metadata, &good()).is_ok());
    }
    let registered = with(metadata(), "require_signed_request_object", json!(true));
    let message_signing = Server {
        profile: Profile::Fapi2MessageSigning,
        ..FAPI
    };
    for (server, metadata) in [(DEFAULT, &registered), (message_signing, &metadata())] {
        let reason = told(server, metadata, &good());
        assert_eq!(reason, AuthorizationRequestError::SignedRequired);
        assert_eq!(reason.code(), ErrorCode::InvalidRequest);
    }
}

// covers FAPI-10, FAPI-17, R6749-5
#[test]
fn what_the_client_gets_back_is_kept_as_it_was() {
    let state = "~!@#$%^&*()_+ ä€😀 ".repeat(60);
    let nonce = "n".repeat(64);
    let request = [
        ("state", state.as_str()),
        ("nonce", &nonce),
        ("unknown", "x"),
        ("login_hint", ""),
    ];
    let request = accepted(&metadata(), &changed(&request));
    assert!(state.len() > 1000);
    assert_eq!(
        (request.state(), request.nonce()),
        (Some(state.as_str()), Some(nonce.as_str()))
    );
    assert_eq!(request.login_hint(), None);
    // Also when it was stored meanwhile.
    let stored = AuthorizationRequest::from_json(&request.to_json()).unwrap();
    assert_eq!(stored, request);
    assert_eq!(accepted(&metadata(), &changed(&[("state", "")])).state(), None);
    let long = "x".repeat(STATE_BYTES_MAX + 1);
    assert_eq!(
        told(DEFAULT, &metadata(), &changed(&[("state", &long)])),
        AuthorizationRequestError::TooLong("state")
    );
}

// covers R6749-11, R8707-1
#[test]
fn scope_and_resources_are_those_that_client_and_server_know() {
    let request = accepted(&metadata(), &changed(&[("scope", "")]));
    assert_eq!(request.scope().as_str(), "openid read write");
    for scope in ["read admin", "read  write", "keybound:admin", "re\"ad"] {
        let reason = told(DEFAULT, &metadata(), &changed(&[("scope", scope)]));
        assert_eq!(reason.code(), ErrorCode::InvalidScope, "{scope}");
    }
    // OpenID Connect Core §11: ignored, but only where it is OpenID Connect.
    let reason = told(DEFAULT, &metadata(), &changed(&[("scope", "read offline_access")]));
    assert_eq!(reason.code(), ErrorCode::InvalidScope);
    let request = accepted(&metadata(), &changed(&[("scope", "openid offline_access read")]));
    assert_eq!(request.scope().as_str(), "openid read");
    let registered = with(metadata(), "scope", json!("openid offline_access"));
    let request = accepted(&registered, &changed(&[("scope", "openid offline_access")]));
    assert!(request.scope().contains("offline_access"));
    for resource in [
        "api.example",
        "https://api.example/#a",
        "https://api.example/",
        "urn:unknown",
    ] {
        let reason = told(DEFAULT, &metadata(), &[&good()[..], &[("resource", resource)]].concat());
        assert_eq!(reason.code(), ErrorCode::InvalidTarget, "{resource}");
    }
    let twice = ["https://other.example", "https://api.example", "https://other.example"].map(|uri| ("resource", uri));
    let request = accepted(&metadata(), &[&good()[..], &twice].concat());
    let resources: Vec<&str> = request.resources().iter().map(ResourceUri::as_str).collect();
    assert_eq!(resources, ["https://other.example", "https://api.example"]);
}

#[test]
fn openid_parameters_are_read_and_judged() {
    let request = accepted(
        &with(metadata(), "default_max_age", json!(600)),
        &changed(&[
            ("prompt", "login consent"),
            ("ui_locales", "de en"),
            ("acr_values", "urn:a urn:b"),
            (
                "claims",
                r#"{"id_token":{"sub":{"value":"u.x"},"email":null},"other":1}"#,
            ),
        ]),
    );
    assert!(request.prompt().login && request.prompt().consent && !request.prompt().none);
    assert_eq!(
        (request.max_age(), request.ui_locales()),
        (Some(600), &["de".to_owned(), "en".to_owned()][..])
    );
    assert_eq!(request.claims().required_subject(), Some("u.x"));
    assert_eq!(AuthorizationRequest::from_json(&request.to_json()).unwrap(), request);
    for wrong in [
        ("prompt", "none login"),
        ("prompt", "later"),
        ("max_age", "-1"),
        ("max_age", "1.5"),
        ("max_age", "99999999999"),
        ("claims", "not json"),
        ("claims", r#"{"id_token":{"sub":1}}"#),
        ("claims", r#"{"id_token":{},"id_token":{}}"#),
        ("dpop_jkt", "short"),
    ] {
        let reason = told(DEFAULT, &metadata(), &changed(&[wrong]));
        assert_eq!(reason.code(), ErrorCode::InvalidRequest, "{wrong:?}");
    }
}

#[test]
fn an_authentication_context_that_the_client_insists_on_is_refused_and_no_other() {
    for insists in [
        r#"{"id_token":{"acr":{"essential":true,"values":["urn:mace:incommon:iap:silver","1"]}}}"#,
        r#"{"id_token":{"acr":{"essential":true,"value":"0"}}}"#,
    ] {
        let request = changed(&[("claims", insists), ("acr_values", "0 1")]);
        let reason = accepted(&metadata(), &request).require_possible_sign_in().unwrap_err();
        assert_eq!(reason.code(), ErrorCode::UnmetAuthenticationRequirements, "{insists}");
    }
    for content in [
        r#"{"id_token":{"acr":{"essential":true}}}"#,
        r#"{"id_token":{"acr":{"essential":true,"values":[]}}}"#,
        r#"{"id_token":{"acr":{"values":["1"]}}}"#,
        r#"{"id_token":{"acr":{"essential":false,"value":"1"}}}"#,
        r#"{"id_token":{"acr":null}}"#,
        r#"{"userinfo":{"acr":{"essential":true,"values":["1"]}}}"#,
    ] {
        let request = accepted(&metadata(), &changed(&[("claims", content)]));
        assert_eq!(request.require_possible_sign_in(), Ok(()), "{content}");
    }
    let request = accepted(&metadata(), &changed(&[("acr_values", "0 1")]));
    assert_eq!(request.require_possible_sign_in(), Ok(()));
}

#[test]
fn a_client_does_not_describe_itself_in_its_request() {
    for registration in ["{}", r#"{"redirect_uris":["https://evil.example/"]}"#, "x"] {
        let reason = told(DEFAULT, &metadata(), &changed(&[("registration", registration)]));
        assert_eq!(reason.code(), ErrorCode::RegistrationNotSupported, "{registration}");
    }
    accepted(&metadata(), &changed(&[("registration", "")]));
    // What says how pages look, and to whom, is no reason to refuse anything.
    let shown = [
        ("display", "hologram"),
        ("ui_locales", "xx-bogus de"),
        ("claims_locales", "tlh"),
        ("login_hint", "<b>"),
    ];
    accepted(&metadata(), &changed(&shown));
}

// covers R9449-6
#[test]
fn a_client_whose_tokens_are_bound_to_a_certificate_names_no_key() {
    let jkt = keybound_protocol::base64url::encode(&[7; 32]);
    let names_key = changed(&[("dpop_jkt", &jkt)]);
    let bound = with(metadata(), "tls_client_certificate_bound_access_tokens", json!(true));
    let reason = told(DEFAULT, &bound, &names_key);
    assert_eq!(reason, AuthorizationRequestError::TwoBindings);
    assert_eq!(reason.code(), ErrorCode::InvalidRequest);
    // The profile binds tokens to certificates, too, where the client has not registered that a key does it.
    assert_eq!(
        told(FAPI, &metadata(), &names_key),
        AuthorizationRequestError::TwoBindings
    );
    let by_key = with(metadata(), "dpop_bound_access_tokens", json!(true));
    for (server, metadata) in [(DEFAULT, metadata()), (DEFAULT, by_key.clone()), (FAPI, by_key)] {
        let request = parse(server, &metadata, &names_key).unwrap();
        assert_eq!(request.dpop_jkt(), Some(jkt.as_str()));
    }
    accepted(&bound, &good());
}

#[test]
fn a_client_without_the_grant_is_told_so_where_it_has_a_redirect_uri() {
    let machine = with(metadata(), "grant_types", json!(["client_credentials"]));
    let reason = told(DEFAULT, &with(machine, "response_types", Value::Null), &good());
    assert_eq!(reason.code(), ErrorCode::UnauthorizedClient);
    assert!(REQUEST_URI_PREFIX.ends_with(':'));
}

// covers FAPI-5, FAPI-6, FAPI-9, R9700-1
#[test]
fn a_request_that_was_stored_is_judged_by_the_client_of_today() {
    let asked = AuthorizationRequest::from_json(&accepted(&metadata(), &good()).to_json()).unwrap();
    let judge = |server: Server, metadata: &Value| {
        let policy = AuthorizationPolicy {
            profile: server.profile,
            // Nobody says any more how it came but the request.
            is_pushed: true,
            requires_pushed: server.requires_pushed,
            resources: &resources(),
            authorization_details_types: &AuthorizationDetailsTypes::default(),
        };
        asked.require_still_permitted(&client(metadata), &policy)
    };
    let demanded = Server {
        requires_pushed: true,
        ..DEFAULT
    };
    let changed = |name: &str, value| with(metadata(), name, value);
    for (server, metadata, code, is_told) in [
        (FAPI, metadata(), ErrorCode::InvalidRequest, true),
        (
            DEFAULT,
            changed("keybound_profile", json!("fapi2")),
            ErrorCode::InvalidRequest,
            true,
        ),
        (demanded, metadata(), ErrorCode::InvalidRequest, true),
        (
            DEFAULT,
            changed("require_pushed_authorization_requests", json!(true)),
            ErrorCode::InvalidRequest,
            true,
        ),
        (
            DEFAULT,
            changed("require_signed_request_object", json!(true)),
            ErrorCode::InvalidRequest,
            true,
        ),
        (
            DEFAULT,
            changed("scope", json!("openid write")),
            ErrorCode::InvalidScope,
            true,
        ),
        (
            DEFAULT,
            changed("grant_types", json!(["client_credentials"])),
            ErrorCode::UnauthorizedClient,
            true,
        ),
        (
            DEFAULT,
            changed("redirect_uris", json!(["https://client.example/other"])),
            ErrorCode::InvalidRequest,
            false,
        ),
    ] {
        let refusal = judge(server, &metadata).unwrap_err();
        assert_eq!(
            (refusal.code(), refusal.target.is_some()),
            (code, is_told),
            "{metadata}: {refusal}"
        );
    }
    assert_eq!(judge(DEFAULT, &metadata()), Ok(()));
    assert_eq!(judge(DEFAULT, &changed("scope", json!("read"))), Ok(()));
    // The one registered URI was meant and not named: another one is not.
    let unnamed = accepted(&metadata(), &self::changed(&[("redirect_uri", "")]));
    let policy = AuthorizationPolicy {
        profile: Profile::Default,
        is_pushed: false,
        requires_pushed: false,
        resources: &resources(),
        authorization_details_types: &AuthorizationDetailsTypes::default(),
    };
    let moved = client(&changed("redirect_uris", json!(["https://client.example/other"])));
    assert!(unnamed.require_still_permitted(&moved, &policy).is_err());
    assert_eq!(unnamed.require_still_permitted(&client(&metadata()), &policy), Ok(()));
}
