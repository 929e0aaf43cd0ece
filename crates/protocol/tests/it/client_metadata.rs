//! Client metadata (RFC 7591 §2, RFC 8705 §2.1.2, §2.2, §3.4): what is registered and what is refused.

use std::collections::BTreeSet;

use keybound_protocol::access_token::AccessTokenFormat;
use keybound_protocol::authentication_method::AuthenticationMethod;
use keybound_protocol::client::ClientOrigin;
use keybound_protocol::client_metadata::{
    CLIENT_METADATA_BYTES_MAX, ClientAuthentication, ClientMetadata, ClientMetadataError, ExpiredSelfSigned,
    PermittedAnchors, RegistrationPolicy,
};
use keybound_protocol::error_code::ErrorCode;
use keybound_protocol::grant_type::GrantType;
use keybound_protocol::profile::Profile;
use keybound_protocol::resource::ResourceUri;
use keybound_protocol::signer::{SignatureAlgorithm, Signer};
use keybound_protocol::subject_rule::{SubjectParameter, SubjectRuleError};
use serde_json::{Value, json};

use crate::jwk_sets::APPENDIX_A_JWK;
use crate::jwt::{signer, with};

/// The server of these tests.
pub(crate) fn policy() -> RegistrationPolicy {
    RegistrationPolicy {
        origin: ClientOrigin::Administrator,
        profile: Profile::Default,
        profiles: Profile::ALL.into(),
        client_secrets_enabled: false,
        methods: AuthenticationMethod::ALL.into(),
        grant_types: BTreeSet::from([GrantType::ClientCredentials, GrantType::AuthorizationCode]),
        trust_anchors_if_omitted: PermittedAnchors::Every,
        signing_algorithms: [SignatureAlgorithm::Es256].into(),
        authorization_details_types: BTreeSet::new(),
        backchannel_delivery_modes: BTreeSet::new(),
        trust_anchors: BTreeSet::from(["corp".parse().unwrap(), "partners".parse().unwrap()]),
        scopes: Some(BTreeSet::from(["read".to_owned(), "write".to_owned()])),
        resources: BTreeSet::from([ResourceUri::parse("https://api.example").unwrap()]),
    }
}

pub(crate) fn self_registered() -> RegistrationPolicy {
    RegistrationPolicy {
        origin: ClientOrigin::Registration,
        ..policy()
    }
}

pub(crate) fn fapi() -> RegistrationPolicy {
    RegistrationPolicy {
        profile: Profile::Fapi2,
        ..policy()
    }
}

pub(crate) fn parse(metadata: &Value, policy: &RegistrationPolicy) -> Result<ClientMetadata, ClientMetadataError> {
    ClientMetadata::parse(metadata.to_string().as_bytes(), policy)
}

#[track_caller]
pub(crate) fn accepted(metadata: &Value) -> ClientMetadata {
    parse(metadata, &policy()).unwrap()
}

/// The reason, after its code was checked.
#[track_caller]
pub(crate) fn refused(metadata: &Value, policy: &RegistrationPolicy) -> ClientMetadataError {
    let error = parse(metadata, policy).unwrap_err();
    let code = match error {
        ClientMetadataError::RedirectUri(_) | ClientMetadataError::RedirectUriMissing => ErrorCode::InvalidRedirectUri,
        _ => ErrorCode::InvalidClientMetadata,
    };
    assert_eq!(error.code(), code, "{error}");
    error
}

pub(crate) fn pki() -> Value {
    json!({"token_endpoint_auth_method": "tls_client_auth", "tls_client_auth_san_dns": "demo.example"})
}

pub(crate) fn self_signed() -> Value {
    let jwk: Value = serde_json::from_str(APPENDIX_A_JWK).unwrap();
    json!({"token_endpoint_auth_method": "self_signed_tls_client_auth", "jwks": {"keys": [jwk]}})
}

pub(crate) fn private_key_jwt(algorithm: SignatureAlgorithm) -> Value {
    let jwk = signer(algorithm).public_jwk().to_json();
    json!({"token_endpoint_auth_method": "private_key_jwt", "jwks": {"keys": [jwk]}})
}

const SUBJECTS: [(&str, &str); 5] = [
    ("tls_client_auth_subject_dn", "CN=demo,O=Example,C=DE"),
    ("tls_client_auth_san_dns", "demo.example"),
    ("tls_client_auth_san_uri", "spiffe://example.org/demo"),
    ("tls_client_auth_san_ip", "2001:db8::1"),
    ("tls_client_auth_san_email", "demo@example.org"),
];

// covers MTLS-2.1.2-1, MTLS-2.1-2, TRAP-16, TRAP-17
#[test]
fn a_pki_client_has_exactly_one_subject_parameter() {
    let none = json!({"token_endpoint_auth_method": "tls_client_auth"});
    assert!(matches!(
        refused(&none, &policy()),
        ClientMetadataError::Subject(SubjectRuleError::None)
    ));
    for (first, first_value) in SUBJECTS {
        let one = with(none.clone(), first, json!(first_value));
        let ClientAuthentication::TlsClientAuth { subject, .. } = accepted(&one).authentication().clone() else {
            panic!("another method");
        };
        assert_eq!((subject.parameter().name(), subject.as_given()), (first, first_value));
        for (second, second_value) in SUBJECTS {
            if first != second {
                let two = with(one.clone(), second, json!(second_value));
                let error = refused(&two, &policy());
                assert!(
                    matches!(error, ClientMetadataError::Subject(SubjectRuleError::Several { .. })),
                    "{first} {second}"
                );
            }
        }
        // Absent, empty and null are three things: an empty expectation is no expectation.
        assert!(matches!(
            refused(&with(one.clone(), first, json!("")), &policy()),
            ClientMetadataError::Subject(_)
        ));
        let null = one.to_string().replace(&json!(first_value).to_string(), "null");
        let error = ClientMetadata::parse(null.as_bytes(), &policy()).unwrap_err();
        assert!(matches!(error, ClientMetadataError::Subject(SubjectRuleError::None)));
    }
    let all = SUBJECTS
        .into_iter()
        .fold(none, |metadata, (name, value)| with(metadata, name, json!(value)));
    assert!(matches!(
        refused(&all, &policy()),
        ClientMetadataError::Subject(SubjectRuleError::Several { .. })
    ));
}

// covers MTLS-9.5-1
#[test]
fn the_members_of_rfc_8705_have_their_types() {
    for parameter in SubjectParameter::ALL {
        for wrong in [json!(1), json!(true), json!(["demo.example"]), json!({})] {
            let metadata = json!({"token_endpoint_auth_method": "tls_client_auth", parameter.name(): wrong});
            assert!(matches!(refused(&metadata, &policy()), ClientMetadataError::Type(_)));
        }
    }
    for wrong in [json!("true"), json!(1), json!([]), json!("false")] {
        let metadata = with(pki(), "tls_client_certificate_bound_access_tokens", wrong);
        assert!(matches!(refused(&metadata, &policy()), ClientMetadataError::Type(_)));
    }
    for (member, wrong) in [
        ("jwks", json!([])),
        ("jwks", json!("{}")),
        ("jwks_uri", json!(1)),
        ("grant_types", json!("client_credentials")),
        ("scope", json!(["read"])),
        ("redirect_uris", json!("https://app.example")),
        ("keybound_trust_anchors", json!("corp")),
        ("keybound_introspects", json!("https://api.example")),
        ("token_endpoint_auth_method", json!(["tls_client_auth"])),
    ] {
        assert!(
            matches!(
                refused(&with(pki(), member, wrong), &policy()),
                ClientMetadataError::Type(_)
            ),
            "{member}"
        );
    }
}

#[test]
fn parameters_of_another_method_are_refused() {
    let methods = [
        (self_signed(), AuthenticationMethod::SelfSignedTlsClientAuth),
        (
            private_key_jwt(SignatureAlgorithm::Es256),
            AuthenticationMethod::PrivateKeyJwt,
        ),
        (
            json!({"token_endpoint_auth_method": "none"}),
            AuthenticationMethod::None,
        ),
    ];
    for (metadata, method) in methods {
        for (name, value) in SUBJECTS {
            let error = refused(&with(metadata.clone(), name, json!(value)), &policy());
            assert!(
                matches!(error, ClientMetadataError::MemberOfOtherMethod { member, method: own } if member == name && own == method)
            );
        }
        let error = refused(&with(metadata, "keybound_trust_anchors", json!(["corp"])), &policy());
        assert!(matches!(
            error,
            ClientMetadataError::MemberOfOtherMethod {
                member: "keybound_trust_anchors",
                ..
            }
        ));
    }
    for member in ["keybound_expired_self_signed", "token_endpoint_auth_signing_alg"] {
        let error = refused(&with(pki(), member, json!("ES256")), &policy());
        assert!(matches!(error, ClientMetadataError::MemberOfOtherMethod { member: own, .. } if own == member));
    }
}

// covers R7591-3
#[test]
fn an_omitted_method_is_a_secret_and_secrets_are_off() {
    assert!(matches!(
        refused(&json!({}), &policy()),
        ClientMetadataError::MethodMissing
    ));
    assert!(matches!(
        refused(&json!({"token_endpoint_auth_method": ""}), &policy()),
        ClientMetadataError::MethodUnknown(_)
    ));
    for method in ["client_secret_basic", "client_secret_post"] {
        let error = refused(&json!({"token_endpoint_auth_method": method}), &policy());
        assert!(matches!(error, ClientMetadataError::SecretsDisabled(own) if own.name() == method));
    }
    for method in ["client_secret_jwt", "TLS_client_auth", "tls", "spiffe_x509"] {
        let error = refused(&json!({"token_endpoint_auth_method": method}), &policy());
        assert!(matches!(error, ClientMetadataError::MethodUnknown(own) if own == method));
    }
    let with_secrets = RegistrationPolicy {
        client_secrets_enabled: true,
        ..policy()
    };
    let metadata = parse(&json!({}), &with_secrets).unwrap();
    assert_eq!(
        metadata.authentication_method(),
        AuthenticationMethod::ClientSecretBasic
    );
    assert_eq!(metadata.to_json()["token_endpoint_auth_method"], "client_secret_basic");
}

// covers MTLS-2.1.1-1, MTLS-2.2.1-1
#[test]
fn the_methods_of_rfc_8705_have_their_names() {
    assert_eq!(
        accepted(&pki()).to_json()["token_endpoint_auth_method"],
        "tls_client_auth"
    );
    assert_eq!(
        accepted(&self_signed()).to_json()["token_endpoint_auth_method"],
        "self_signed_tls_client_auth"
    );
}

// covers MTLS-1-2, MTLS-3.4-1, TRAP-47, R7523-4
#[test]
fn tokens_are_bound_if_and_only_if_the_client_says_so_whatever_its_method() {
    let methods = [
        pki(),
        self_signed(),
        private_key_jwt(SignatureAlgorithm::Es256),
        json!({"token_endpoint_auth_method": "none"}),
    ];
    for metadata in methods {
        let member = "tls_client_certificate_bound_access_tokens";
        let omitted = accepted(&metadata);
        assert!(!omitted.requires_bound_access_tokens(Profile::Default));
        assert_eq!(omitted.to_json()[member], json!(false));
        for flag in [true, false] {
            let registered = accepted(&with(metadata.clone(), member, json!(flag)));
            assert_eq!(registered.requires_bound_access_tokens(Profile::Default), flag);
            assert_eq!(registered.to_json()[member], json!(flag));
            assert!(registered.requires_bound_access_tokens(Profile::Fapi2));
        }
    }
}

#[test]
fn expired_self_signed_certificates_are_refused_unless_the_client_says_otherwise() {
    let expired = |metadata: &Value| match accepted(metadata).authentication() {
        ClientAuthentication::SelfSignedTlsClientAuth { expired, .. } => *expired,
        other => panic!("{other:?}"),
    };
    assert_eq!(expired(&self_signed()), ExpiredSelfSigned::Refuse);
    let accepting = with(self_signed(), "keybound_expired_self_signed", json!("accept"));
    assert_eq!(expired(&accepting), ExpiredSelfSigned::Accept);
    assert_eq!(accepted(&accepting).to_json()["keybound_expired_self_signed"], "accept");
    let error = refused(
        &with(self_signed(), "keybound_expired_self_signed", json!("yes")),
        &policy(),
    );
    assert!(matches!(error, ClientMetadataError::ExpiredSelfSigned(_)));
}

#[test]
fn the_format_of_access_tokens_is_jwt_or_opaque() {
    assert_eq!(accepted(&pki()).access_token_format(), None);
    for (name, format) in [("jwt", AccessTokenFormat::Jwt), ("opaque", AccessTokenFormat::Opaque)] {
        let metadata = accepted(&with(pki(), "keybound_access_token_format", json!(name)));
        assert_eq!(metadata.access_token_format(), Some(format));
        assert_eq!(metadata.to_json()["keybound_access_token_format"], name);
    }
    let error = refused(&with(pki(), "keybound_access_token_format", json!("JWT")), &policy());
    assert!(matches!(error, ClientMetadataError::AccessTokenFormat(_)));
}

// covers R7591-2
#[test]
fn unknown_members_are_ignored_and_not_answered() {
    let metadata = json!({
        "token_endpoint_auth_method": "tls_client_auth",
        "tls_client_auth_san_dns": "demo.example",
        "client_id": "chosen",
        "client_secret": "hush",
        "registration_access_token": "x",
        "keybound_unheard_of": {"a": [1]},
        "software_statement_like": null,
    });
    let answered = accepted(&metadata).to_json();
    let names: Vec<&str> = answered.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(
        names,
        [
            "grant_types",
            "response_types",
            "tls_client_auth_san_dns",
            "tls_client_certificate_bound_access_tokens",
            "token_endpoint_auth_method",
        ]
    );
}

// covers R7591-4, MTLS-1-3, MTLS-9.5-1
#[test]
fn what_is_registered_is_answered_and_reads_back_the_same() {
    let described = json!({
        "client_name": "Demo \u{e4}\u{f6}",
        "client_uri": "https://app.example",
        "logo_uri": "https://app.example/logo.png",
        "tos_uri": "https://app.example/tos",
        "policy_uri": "https://app.example/policy",
        "contacts": ["ops@app.example"],
        "software_id": "demo",
        "software_version": "1.2",
        "scope": "read",
        "keybound_access_token_format": "opaque",
        "keybound_introspects": ["https://api.example"],
    });
    let mut all: Vec<Value> = SUBJECTS
        .into_iter()
        .map(|(name, value)| json!({"token_endpoint_auth_method": "tls_client_auth", name: value}))
        .collect();
    all.extend([self_signed(), private_key_jwt(SignatureAlgorithm::Es384)]);
    all.push(with(
        pki(),
        "jwks",
        private_key_jwt(SignatureAlgorithm::Ps256)["jwks"].clone(),
    ));
    for mut metadata in all {
        metadata
            .as_object_mut()
            .unwrap()
            .extend(described.as_object().unwrap().clone());
        for origin in [ClientOrigin::Administrator, ClientOrigin::ConfigurationFile] {
            let answered = parse(&metadata, &RegistrationPolicy { origin, ..policy() })
                .unwrap()
                .to_json();
            for (name, value) in metadata.as_object().unwrap() {
                assert_eq!(&answered[name], value, "{name}");
            }
            assert_eq!(accepted(&answered).to_json(), answered);
            let stored = ClientMetadata::parse_stored(answered.to_string().as_bytes()).unwrap();
            assert_eq!(stored.to_json(), answered);
        }
    }
}

#[test]
fn stored_metadata_stays_readable_when_the_server_changes() {
    let metadata = with(
        with(pki(), "keybound_trust_anchors", json!(["gone"])),
        "scope",
        json!("gone"),
    );
    assert!(parse(&metadata, &policy()).is_err());
    let stored = ClientMetadata::parse_stored(metadata.to_string().as_bytes()).unwrap();
    assert_eq!(stored.to_json()["keybound_trust_anchors"], json!(["gone"]));
    // What contradicts itself stays refused.
    let error = ClientMetadata::parse_stored(br#"{"token_endpoint_auth_method":"tls_client_auth"}"#).unwrap_err();
    assert!(matches!(error, ClientMetadataError::Subject(SubjectRuleError::None)));
}

#[test]
fn what_is_no_bounded_json_object_is_refused() {
    for text in ["", "[]", "null", "{", r#"{"scope":"a","scope":"b"}"#] {
        let error = ClientMetadata::parse(text.as_bytes(), &policy()).unwrap_err();
        assert!(matches!(error, ClientMetadataError::Json(_)), "{text}");
    }
    let mut metadata = pki().to_string();
    metadata.push_str(&" ".repeat(CLIENT_METADATA_BYTES_MAX - metadata.len()));
    assert!(ClientMetadata::parse(metadata.as_bytes(), &policy()).is_ok());
    metadata.push(' ');
    assert!(matches!(
        ClientMetadata::parse(metadata.as_bytes(), &policy()),
        Err(ClientMetadataError::TooLarge(_))
    ));
}

#[test]
fn descriptions_are_bounded_and_link_to_https_only() {
    for (member, value) in [
        ("client_name", json!("x".repeat(513))),
        ("client_name", json!("a\u{1b}[31m")),
        ("client_uri", json!("http://app.example")),
        ("logo_uri", json!("javascript:alert(1)")),
        ("tos_uri", json!("https://app.example/ x")),
        ("policy_uri", json!("policy")),
        ("contacts", json!(vec!["a"; 21])),
    ] {
        let error = refused(&with(pki(), member, value), &policy());
        assert!(matches!(error, ClientMetadataError::Description { member: own } if own == member));
    }
}

#[test]
fn the_names_of_methods_and_grants_read_back() {
    for method in AuthenticationMethod::ALL {
        assert_eq!(AuthenticationMethod::from_name(method.name()), Some(method));
    }
    for grant_type in GrantType::ALL {
        assert_eq!(GrantType::from_name(grant_type.name()), Some(grant_type));
    }
    for profile in Profile::ALL {
        assert_eq!(profile.name().parse(), Ok(profile));
    }
}

// covers R7591-6
#[test]
fn a_name_that_would_turn_or_move_what_stands_around_it_is_no_name() {
    for name in [
        "\u{200b}",
        "",
        " \u{ad}\u{feff} ",
        "a\u{202e}b",
        "\u{2066}a",
        "a\u{1b}[2J",
        "a\nb",
        "\u{0}",
        "\u{9b}1m",
    ] {
        let error = refused(&with(pki(), "client_name", json!(name)), &policy());
        assert!(
            matches!(error, ClientMetadataError::Description { member: "client_name" }),
            "{name:?}"
        );
    }
    for name in ["<b>a</b>", "\u{5d0}\u{5d1}\u{200f}", "M\u{fc}ller & S\u{f6}hne"] {
        let parsed = accepted(&with(pki(), "client_name", json!(name)));
        assert_eq!(parsed.description().client_name(), Some(name));
    }
}
