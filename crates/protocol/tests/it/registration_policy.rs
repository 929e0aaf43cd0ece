//! What a server permits its clients to be: profiles, trust anchors, grants, scopes, resources.

use std::collections::BTreeSet;

use keybound_protocol::authentication_method::AuthenticationMethod;
use keybound_protocol::client::ClientOrigin;
use keybound_protocol::client_metadata::{
    ClientAuthentication, ClientMetadata, ClientMetadataError, PermittedAnchors, RegistrationPolicy,
};
use keybound_protocol::grant_type::GrantType;
use keybound_protocol::profile::Profile;
use keybound_protocol::scope::Scope;
use keybound_protocol::signer::SignatureAlgorithm;
use serde_json::{Value, json};

use crate::client_metadata::{
    accepted, fapi, parse, pki, policy, private_key_jwt, refused, self_registered, self_signed,
};
use crate::jwt::with;

// covers R-FAPI-1, R-FAPI-2, R-FAPI-11
#[test]
fn a_fapi_server_takes_no_laxer_client() {
    for metadata in [pki(), self_signed(), private_key_jwt(SignatureAlgorithm::Ps256)] {
        let member = "tls_client_certificate_bound_access_tokens";
        let parsed = parse(&metadata, &fapi()).unwrap();
        assert!(parsed.certificate_bound_access_tokens());
        assert_eq!(parsed.to_json()[member], json!(true));
        let error = refused(&with(metadata.clone(), member, json!(false)), &fapi());
        assert!(matches!(error, ClientMetadataError::UnboundTokens(Profile::Fapi2)));
        let error = refused(&with(metadata, "keybound_profile", json!("default")), &fapi());
        assert!(matches!(error, ClientMetadataError::ProfileLaxer { .. }));
    }
    let error = refused(&json!({"token_endpoint_auth_method": "none"}), &fapi());
    assert!(matches!(
        error,
        ClientMetadataError::MethodForbidden {
            method: AuthenticationMethod::None,
            ..
        }
    ));
    let secrets = RegistrationPolicy {
        client_secrets_enabled: true,
        ..fapi()
    };
    assert!(matches!(
        refused(&json!({}), &secrets),
        ClientMetadataError::MethodForbidden { .. }
    ));
    for algorithm in [SignatureAlgorithm::Rs256, SignatureAlgorithm::Es384] {
        let metadata = private_key_jwt(algorithm);
        assert!(matches!(refused(&metadata, &fapi()), ClientMetadataError::NoSigningKey));
        let metadata = with(metadata, "token_endpoint_auth_signing_alg", json!(algorithm));
        assert!(matches!(
            refused(&metadata, &fapi()),
            ClientMetadataError::SigningAlgorithmForbidden { .. }
        ));
    }
}

#[test]
fn a_profile_that_the_server_does_not_enforce_cannot_be_registered() {
    let only_default = RegistrationPolicy {
        profiles: BTreeSet::from([Profile::Default]),
        ..policy()
    };
    for profile in [Profile::Fapi2, Profile::Fapi2MessageSigning] {
        let metadata = with(pki(), "keybound_profile", json!(profile.name()));
        let error = refused(&metadata, &only_default);
        assert!(matches!(&error, ClientMetadataError::ProfileNotAvailable(refused) if *refused == profile));
        assert_eq!(
            error.to_string(),
            format!("`keybound_profile` {profile} is not available here: this server does not enforce it")
        );
        // What was registered when it was enforced is still read.
        let stored = ClientMetadata::parse_stored(metadata.to_string().as_bytes()).unwrap();
        assert_eq!(stored.profile(), Some(profile));
    }
    let default = with(pki(), "keybound_profile", json!("default"));
    assert_eq!(
        parse(&default, &only_default).unwrap().profile(),
        Some(Profile::Default)
    );
}

#[test]
fn a_client_may_be_stricter_than_its_server() {
    let strict = accepted(&with(pki(), "keybound_profile", json!("fapi2")));
    assert_eq!(strict.profile(), Some(Profile::Fapi2));
    assert_eq!(strict.effective_profile(Profile::Default), Profile::Fapi2);
    assert_eq!(
        strict.effective_profile(Profile::Fapi2MessageSigning),
        Profile::Fapi2MessageSigning
    );
    assert!(strict.certificate_bound_access_tokens());
    assert_eq!(strict.to_json()["keybound_profile"], "fapi2");
    let error = refused(&with(pki(), "keybound_profile", json!("fapi1")), &policy());
    assert!(matches!(error, ClientMetadataError::Profile(_)));
    let none = json!({"token_endpoint_auth_method": "none", "keybound_profile": "fapi2"});
    assert!(matches!(
        refused(&none, &policy()),
        ClientMetadataError::MethodForbidden { .. }
    ));
}

#[test]
fn a_client_can_be_limited_to_some_trust_anchors() {
    let anchors = |metadata: &Value| match accepted(metadata).authentication() {
        ClientAuthentication::TlsClientAuth { anchors, .. } => anchors.clone(),
        other => panic!("{other:?}"),
    };
    assert_eq!(anchors(&pki()), PermittedAnchors::Every);
    let named = with(pki(), "keybound_trust_anchors", json!(["corp", "corp"]));
    assert!(anchors(&named).permits(&"corp".parse().unwrap()));
    assert!(!anchors(&named).permits(&"partners".parse().unwrap()));
    assert_eq!(accepted(&named).to_json()["keybound_trust_anchors"], json!(["corp"]));
    let empty = with(pki(), "keybound_trust_anchors", json!([]));
    assert!(matches!(
        refused(&empty, &policy()),
        ClientMetadataError::NoTrustAnchors
    ));
    for name in ["elsewhere", "", "Corp", "corp "] {
        let error = refused(&with(pki(), "keybound_trust_anchors", json!(["corp", name])), &policy());
        assert!(matches!(error, ClientMetadataError::UnknownTrustAnchor(own) if own == name));
    }
}

// covers R6749-9, MTLS-6.4-2
#[test]
fn grant_types_fit_the_client() {
    assert_eq!(accepted(&pki()).grant_types(), [GrantType::ClientCredentials]);
    let public = json!({"token_endpoint_auth_method": "none"});
    assert_eq!(accepted(&public).grant_types(), []);
    let error = refused(
        &with(public.clone(), "grant_types", json!(["client_credentials"])),
        &policy(),
    );
    assert!(matches!(error, ClientMetadataError::PublicClientCredentials));
    for name in [
        "password",
        "implicit",
        "refresh_token",
        "urn:ietf:params:oauth:grant-type:saml2-bearer",
        "",
    ] {
        let error = refused(&with(pki(), "grant_types", json!([name])), &policy());
        assert!(matches!(error, ClientMetadataError::GrantTypeUnsupported(own) if own == name));
    }
    let only_credentials = RegistrationPolicy {
        grant_types: BTreeSet::from([GrantType::ClientCredentials]),
        ..policy()
    };
    let redirecting = with(pki(), "redirect_uris", json!(["https://app.example/cb"]));
    assert!(matches!(
        refused(&redirecting, &only_credentials),
        ClientMetadataError::GrantTypeUnsupported(_)
    ));
}

// covers R7591-2, R7591-6
#[test]
fn redirects_responses_and_grants_belong_together() {
    let code = with(pki(), "grant_types", json!(["authorization_code"]));
    assert!(matches!(
        refused(&code, &policy()),
        ClientMetadataError::RedirectUriMissing
    ));
    let code = with(code, "redirect_uris", json!(["https://app.example/cb?a=b"]));
    assert_eq!(accepted(&code).to_json()["response_types"], json!(["code"]));
    assert_eq!(accepted(&code).redirect_uris(), ["https://app.example/cb?a=b"]);
    // RFC 7591 §2: omitted, with a redirect URI, means the code grant.
    let omitted = with(code.clone(), "grant_types", Value::Null);
    assert_eq!(accepted(&omitted).grant_types(), [GrantType::AuthorizationCode]);
    for (metadata, response_types) in [
        (code.clone(), json!([])),
        (
            with(code.clone(), "grant_types", json!(["client_credentials"])),
            json!(["code"]),
        ),
    ] {
        let error = refused(&with(metadata, "response_types", response_types), &policy());
        assert!(matches!(error, ClientMetadataError::ResponseTypeWithoutGrant));
    }
    for response_type in ["token", "id_token", "code id_token", "none"] {
        let error = refused(&with(code.clone(), "response_types", json!([response_type])), &policy());
        assert!(matches!(error, ClientMetadataError::ResponseTypeUnsupported(_)));
    }
    for uri in [
        "/cb",
        "app.example/cb",
        "https://app.example/cb#fragment",
        "http://app.example/cb",
        "http://localhost.evil.example/cb",
        "javascript:alert(1)",
        "data:text/html,x",
        "https://user@app.example/cb",
        "https://app.example/c b",
        "",
    ] {
        let error = refused(&with(code.clone(), "redirect_uris", json!([uri])), &policy());
        assert!(matches!(error, ClientMetadataError::RedirectUri(own) if own == uri));
    }
    for (uri, is_for_fapi) in [
        ("http://localhost/cb", false),
        ("com.example.app:/cb", false),
        ("http://127.0.0.1:7777/cb", true),
        ("http://[::1]/cb", true),
    ] {
        let metadata = with(code.clone(), "redirect_uris", json!([uri]));
        assert_eq!(accepted(&metadata).redirect_uris(), [uri]);
        let error = parse(&metadata, &fapi()).err();
        assert_eq!(
            matches!(error, Some(ClientMetadataError::RedirectUri(_))),
            !is_for_fapi,
            "{uri}: {error:?}"
        );
    }
}

#[test]
fn scopes_exist_and_reserved_ones_are_for_operators_only() {
    assert_eq!(
        accepted(&with(pki(), "scope", json!("write read"))).scope(),
        &Scope::parse("read write").unwrap()
    );
    assert!(accepted(&pki()).scope().is_empty());
    assert!(matches!(
        refused(&with(pki(), "scope", json!("read admin")), &policy()),
        ClientMetadataError::ScopeUnknown(word) if word == "admin"
    ));
    assert!(matches!(
        refused(&with(pki(), "scope", json!("read  write")), &policy()),
        ClientMetadataError::Scope(_)
    ));
    let unlisted = RegistrationPolicy {
        scopes: None,
        ..policy()
    };
    assert!(parse(&with(pki(), "scope", json!("anything")), &unlisted).is_ok());

    for reserved in ["keybound:admin", "keybound:revocations"] {
        let metadata = with(pki(), "scope", json!(reserved));
        for origin in [ClientOrigin::Administrator, ClientOrigin::ConfigurationFile] {
            assert!(parse(&metadata, &RegistrationPolicy { origin, ..policy() }).is_ok());
        }
        assert!(matches!(
            refused(&metadata, &self_registered()),
            ClientMetadataError::ScopeReserved(_)
        ));
        let mixed = with(metadata, "redirect_uris", json!(["https://app.example/cb"]));
        for grants in [
            json!(["client_credentials", "authorization_code"]),
            json!(["authorization_code"]),
        ] {
            let error = refused(&with(mixed.clone(), "grant_types", grants), &policy());
            assert!(matches!(
                error,
                ClientMetadataError::ScopeReservedForClientCredentials(_)
            ));
        }
    }
    for unknown in ["keybound:", "keybound:everything"] {
        let error = refused(&with(pki(), "scope", json!(unknown)), &unlisted);
        assert!(matches!(error, ClientMetadataError::ScopeUnknown(_)));
    }
}

// covers R7591-6
#[test]
fn a_client_cannot_give_itself_the_right_to_introspect() {
    let metadata = with(pki(), "keybound_introspects", json!(["https://api.example"]));
    assert_eq!(accepted(&metadata).introspects().len(), 1);
    assert_eq!(
        accepted(&metadata).to_json()["keybound_introspects"],
        json!(["https://api.example"])
    );
    assert!(matches!(
        refused(&metadata, &self_registered()),
        ClientMetadataError::IntrospectsNotPermitted
    ));
    let public = json!({"token_endpoint_auth_method": "none", "keybound_introspects": ["https://api.example"]});
    assert!(matches!(
        refused(&public, &policy()),
        ClientMetadataError::IntrospectsNotPermitted
    ));
    let unknown = with(pki(), "keybound_introspects", json!(["https://other.example"]));
    assert!(matches!(
        refused(&unknown, &policy()),
        ClientMetadataError::UnknownResource(_)
    ));
    let relative = with(pki(), "keybound_introspects", json!(["/api"]));
    assert!(matches!(
        refused(&relative, &policy()),
        ClientMetadataError::IntrospectsUri { .. }
    ));
}

// covers R7591-6, MTLS-7.4-1
#[test]
fn a_policy_limits_methods_and_says_which_anchors_an_omission_means() {
    let narrow = RegistrationPolicy {
        methods: BTreeSet::from([AuthenticationMethod::TlsClientAuth]),
        trust_anchors: BTreeSet::from(["partners".parse().unwrap()]),
        trust_anchors_if_omitted: PermittedAnchors::Named(vec!["partners".parse().unwrap()]),
        ..self_registered()
    };
    assert!(matches!(
        refused(&self_signed(), &narrow),
        ClientMetadataError::MethodNotPermitted(AuthenticationMethod::SelfSignedTlsClientAuth)
    ));
    assert!(parse(&self_signed(), &self_registered()).is_ok());
    let corp = with(pki(), "keybound_trust_anchors", json!(["corp"]));
    assert!(matches!(
        refused(&corp, &narrow),
        ClientMetadataError::UnknownTrustAnchor(_)
    ));
    let partners = with(pki(), "keybound_trust_anchors", json!(["partners"]));
    for metadata in [pki(), partners] {
        let parsed = parse(&metadata, &narrow).unwrap();
        let ClientAuthentication::TlsClientAuth { anchors, .. } = parsed.authentication() else {
            panic!("another method")
        };
        assert_eq!(*anchors, PermittedAnchors::Named(vec!["partners".parse().unwrap()]));
        // It is registered, and so stays when the policy changes.
        assert_eq!(parsed.to_json()["keybound_trust_anchors"], json!(["partners"]));
    }
}
