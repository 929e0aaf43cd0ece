//! The keys that clients register (RFC 7591 §2, RFC 8705 §2.2): by value, by reference, with certificates or without.

use keybound_protocol::client_metadata::{ClientKeys, ClientMetadataError};
use keybound_protocol::jwk::Jwk;
use keybound_protocol::profile::Profile;
use keybound_protocol::signer::{SignatureAlgorithm, Signer};
use serde_json::{Value, json};

use crate::client_metadata::{accepted, pki, policy, private_key_jwt, refused, self_signed};
use crate::jwk_sets::{APPENDIX_A_JWK, certificates};
use crate::jwt::{signer, with};

// covers MTLS-2.2-1, MTLS-2.2.2-1, R7591-1
#[test]
fn keys_come_by_value_or_by_reference_and_never_both() {
    for metadata in [self_signed(), private_key_jwt(SignatureAlgorithm::EdDsa)] {
        assert!(matches!(accepted(&metadata).keys(), Some(ClientKeys::Jwks(_))));
        let neither = with(metadata.clone(), "jwks", Value::Null);
        assert!(matches!(
            refused(&neither, &policy()),
            ClientMetadataError::KeysMissing(_)
        ));
        let by_reference = with(neither, "jwks_uri", json!("https://client.example/jwks"));
        assert_eq!(
            accepted(&by_reference).jwks_uri().unwrap().as_str(),
            "https://client.example/jwks"
        );
        let both = with(metadata, "jwks_uri", json!("https://client.example/jwks"));
        assert!(matches!(refused(&both, &policy()), ClientMetadataError::JwksTwice));
    }
    let both = with(
        with(pki(), "jwks", json!({"keys": []})),
        "jwks_uri",
        json!("https://client.example/jwks"),
    );
    assert!(matches!(refused(&both, &policy()), ClientMetadataError::JwksTwice));
}

#[test]
fn jwks_uri_is_plain_https() {
    let metadata = with(self_signed(), "jwks", Value::Null);
    for url in [
        "http://client.example/jwks",
        "HTTP://client.example/jwks",
        "file:///etc/passwd",
        "https://user:pass@client.example/jwks",
        "https://user@client.example/jwks",
        "https://client.example/jwks#fragment",
        "https://client.example/jwks\n",
        "https://",
        "client.example/jwks",
        "//client.example/jwks",
        "",
    ] {
        let error = refused(&with(metadata.clone(), "jwks_uri", json!(url)), &policy());
        assert!(matches!(error, ClientMetadataError::JwksUri), "{url:?}");
    }
}

// covers MTLS-2.2.2-2
#[test]
fn a_self_signed_client_registers_certificates() {
    let bare = with(serde_json::from_str(APPENDIX_A_JWK).unwrap(), "x5c", Value::Null);
    let error = refused(&with(self_signed(), "jwks", json!({"keys": [bare]})), &policy());
    assert!(matches!(error, ClientMetadataError::NoCertificate));
    assert!(matches!(
        refused(&with(self_signed(), "jwks", json!({"keys": []})), &policy()),
        ClientMetadataError::NoCertificate
    ));
    let jwks: Vec<Value> = certificates()
        .iter()
        .map(|der| Jwk::for_certificate(der).unwrap().to_json())
        .collect();
    let metadata = accepted(&with(self_signed(), "jwks", json!({"keys": jwks})));
    let Some(ClientKeys::Jwks(jwks)) = metadata.keys() else {
        panic!("no keys")
    };
    assert_eq!(jwks.certificates().count(), 5);
    assert_eq!(metadata.to_json()["jwks"]["keys"].as_array().unwrap().len(), 5);
}

// covers MTLS-2.2.2-4, MTLS-2.2.2-3, TRAP-41
#[test]
fn registered_keys_are_judged_at_registration() {
    let swapped = {
        let other = Jwk::for_certificate(&certificates()[0]).unwrap().to_json();
        with(
            serde_json::from_str(APPENDIX_A_JWK).unwrap(),
            "x5c",
            other["x5c"].clone(),
        )
    };
    let only_x5c = json!({"x5c": swapped["x5c"]});
    for jwk in [swapped, only_x5c] {
        let error = refused(&with(self_signed(), "jwks", json!({"keys": [jwk]})), &policy());
        assert!(matches!(error, ClientMetadataError::Jwks(_)));
    }
    let small = json!({"kty": "RSA", "n": keybound_protocol::base64url::encode(&[0xff; 128]), "e": "AQAB"});
    let error = refused(
        &with(
            private_key_jwt(SignatureAlgorithm::Es256),
            "jwks",
            json!({"keys": [small]}),
        ),
        &policy(),
    );
    assert!(matches!(error, ClientMetadataError::KeyNotPermitted(_)));
    let encryption = with(
        signer(SignatureAlgorithm::Es256).public_jwk().to_json(),
        "use",
        json!("enc"),
    );
    let metadata = with(
        private_key_jwt(SignatureAlgorithm::Es256),
        "jwks",
        json!({"keys": [encryption]}),
    );
    assert!(matches!(
        refused(&metadata, &policy()),
        ClientMetadataError::NoSigningKey
    ));
}

#[test]
fn a_client_that_signs_uses_the_algorithm_it_registered() {
    let es256 = private_key_jwt(SignatureAlgorithm::Es256);
    assert_eq!(
        accepted(&es256).assertion_algorithms(Profile::Default),
        SignatureAlgorithm::ALL
    );
    assert_eq!(
        accepted(&es256).assertion_algorithms(Profile::Fapi2),
        SignatureAlgorithm::FAPI
    );
    let registered = with(es256.clone(), "token_endpoint_auth_signing_alg", json!("ES256"));
    assert_eq!(
        accepted(&registered).assertion_algorithms(Profile::Default),
        [SignatureAlgorithm::Es256]
    );
    assert_eq!(
        accepted(&registered).to_json()["token_endpoint_auth_signing_alg"],
        "ES256"
    );
    for name in ["none", "HS256", "ES512", "es256"] {
        let error = refused(
            &with(es256.clone(), "token_endpoint_auth_signing_alg", json!(name)),
            &policy(),
        );
        assert!(matches!(error, ClientMetadataError::SigningAlgorithmUnknown(own) if own == name));
    }
    let error = refused(
        &with(es256, "token_endpoint_auth_signing_alg", json!("PS256")),
        &policy(),
    );
    assert!(matches!(error, ClientMetadataError::NoSigningKey));
    assert_eq!(accepted(&pki()).assertion_algorithms(Profile::Default), []);
    // A client that registered RS256 before the server became stricter cannot sign any more.
    let rs256 = with(
        private_key_jwt(SignatureAlgorithm::Rs256),
        "token_endpoint_auth_signing_alg",
        json!("RS256"),
    );
    assert_eq!(accepted(&rs256).assertion_algorithms(Profile::Fapi2), []);
}
