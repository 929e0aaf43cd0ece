//! `private_key_jwt` (RFC 7523 §3): what a client's assertion says and what is refused.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use keybound_protocol::access_token::CLOCK_LEEWAY;
use keybound_protocol::authentication_method::AuthenticationMethod;
use keybound_protocol::client::{Client, ClientId, ClientOrigin};
use keybound_protocol::client_assertion::{
    ASSERTION_LIFETIME_MAX, AssertionAudience, CLIENT_ASSERTION_TYPE, ClientAssertionError, UnverifiedClientAssertion,
    VerifiedClientAssertion, client_assertion,
};
use keybound_protocol::client_authentication::{ClientAuthenticationError, PublicClient};
use keybound_protocol::client_metadata::{ClientKeys, ClientMetadata, PermittedAnchors, RegistrationPolicy};
use keybound_protocol::error_code::ErrorCode;
use keybound_protocol::form::Form;
use keybound_protocol::grant_type::GrantType;
use keybound_protocol::issuer::Issuer;
use keybound_protocol::jws::JwsError;
use keybound_protocol::profile::Profile;
use keybound_protocol::rule::{Outcome, RuleOutcome};
use keybound_protocol::signer::{SignatureAlgorithm, Signer};
use keybound_protocol::time::Timestamp;
use keybound_protocol::token_request::TokenRequest;
use serde_json::{Value, json};
use url::Url;

use crate::jwt::{ISSUER, NOW, key_set, sign, signer, stranger, with};

/// The token endpoint and the endpoint called, each with its alias.
const ENDPOINT_URLS: [&str; 4] = [
    "https://as.example/tenant/token",
    "https://mtls.as.example/tenant/token",
    "https://as.example/tenant/introspect",
    "https://mtls.as.example/tenant/introspect",
];

fn client(metadata: &Value) -> Client {
    let policy = RegistrationPolicy {
        origin: ClientOrigin::Administrator,
        profile: Profile::Default,
        profiles: Profile::ALL.into(),
        client_secrets_enabled: false,
        methods: AuthenticationMethod::ALL.into(),
        grant_types: BTreeSet::from([GrantType::ClientCredentials]),
        signing_algorithms: [SignatureAlgorithm::Es256].into(),
        authorization_details_types: BTreeSet::new(),
        backchannel_delivery_modes: BTreeSet::new(),
        trust_anchors: BTreeSet::new(),
        trust_anchors_if_omitted: PermittedAnchors::Every,
        scopes: None,
        resources: BTreeSet::new(),
    };
    let metadata = ClientMetadata::parse(metadata.to_string().as_bytes(), &policy).unwrap();
    Client::new(
        ClientId::parse("demo").unwrap(),
        metadata,
        ClientOrigin::Administrator,
        1,
    )
}

fn signing(algorithms: &[SignatureAlgorithm]) -> Client {
    let jwks: Vec<Value> = algorithms
        .iter()
        .map(|algorithm| signer(*algorithm).public_jwk().to_json())
        .collect();
    client(&json!({"token_endpoint_auth_method": "private_key_jwt", "jwks": {"keys": jwks}}))
}

fn claims() -> Value {
    json!({
        "iss": "demo",
        "sub": "demo",
        "aud": ISSUER,
        "jti": "c8a5b6e0",
        "iat": NOW.unix_secs(),
        "exp": NOW.unix_secs() + 60,
    })
}

fn header() -> Value {
    json!({"alg": "ES256", "kid": signer(SignatureAlgorithm::Es256).key_id(), "typ": "JWT"})
}

fn judge_as(
    client: &Client,
    assertion: &str,
    profile: Profile,
    now: Timestamp,
) -> Result<VerifiedClientAssertion, ClientAssertionError> {
    let issuer = Issuer::parse(ISSUER).unwrap();
    let endpoint_urls = ENDPOINT_URLS.map(|url| Url::parse(url).unwrap());
    let server = AssertionAudience {
        issuer: &issuer,
        endpoint_urls: &endpoint_urls,
        profile,
    };
    let empty = key_set(&[]);
    let keys = match client.metadata().keys() {
        Some(ClientKeys::Jwks(jwks)) => jwks,
        _ => &empty,
    };
    UnverifiedClientAssertion::parse(assertion)?.verify(client, keys, &server, now)
}

fn judge(header: &Value, claims: &Value) -> Result<VerifiedClientAssertion, ClientAssertionError> {
    let assertion = sign(
        signer(SignatureAlgorithm::Es256).as_ref(),
        &header.to_string(),
        &claims.to_string(),
    );
    judge_as(
        &signing(&[SignatureAlgorithm::Es256]),
        &assertion,
        Profile::Default,
        NOW,
    )
}

fn failed_rule(error: &ClientAssertionError) -> RuleOutcome {
    let mut rules = error.rules().into_iter();
    rules.find(|rule| rule.outcome == Outcome::Failed).unwrap()
}

#[track_caller]
fn refused(verdict: Result<VerifiedClientAssertion, ClientAssertionError>, rule: &str) -> ClientAssertionError {
    let error = verdict.unwrap_err();
    assert_eq!(error.rule(), rule, "{error:?}");
    let failed: Vec<_> = error
        .rules()
        .into_iter()
        .filter(|outcome| outcome.outcome == Outcome::Failed)
        .collect();
    assert_eq!(failed.len(), 1);
    assert_eq!(failed[0].rule, rule);
    assert!(!error.fix().is_empty());
    error
}

const FORM: &str = "a signed JWT as `client_assertion`";
const ALGORITHM: &str = "signature algorithm permitted";
const TYPE: &str = "token type permitted";
const KEY: &str = "signing key registered";
const SIGNATURE: &str = "signature";
const ISS: &str = "`iss` is the client";
const SUB: &str = "`sub` is the client";
const AUD: &str = "`aud` is this server alone";
const DATES: &str = "inside its validity";
const JTI: &str = "`jti` usable once";

// covers R7523-1, R-FAPI-1, TRAP-39, R8725-1
#[test]
fn each_check_refuses_its_own_offence() {
    let verified = judge(&header(), &claims()).unwrap();
    assert_eq!(verified.client_id().as_str(), "demo");
    assert_eq!(verified.assertion_id(), "c8a5b6e0");
    for (member, value, rule) in [
        ("alg", json!("none"), ALGORITHM),
        ("alg", json!("HS256"), ALGORITHM),
        ("alg", json!("PS256"), KEY),
        ("alg", Value::Null, FORM),
        ("typ", json!("at+jwt"), TYPE),
        ("typ", json!("dpop+jwt"), TYPE),
        ("kid", json!("unknown"), KEY),
        ("crit", json!(["exp"]), FORM),
    ] {
        refused(judge(&with(header(), member, value), &claims()), rule);
    }
    for (member, value, rule) in [
        ("iss", Value::Null, ISS),
        ("iss", json!("other"), ISS),
        ("iss", json!(ISSUER), ISS),
        ("iss", json!(1), ISS),
        ("sub", Value::Null, SUB),
        ("sub", json!("other"), SUB),
        ("aud", Value::Null, AUD),
        ("aud", json!("https://other.example"), AUD),
        ("exp", Value::Null, DATES),
        ("exp", json!("soon"), DATES),
        ("jti", Value::Null, JTI),
        ("jti", json!(""), JTI),
        ("jti", json!(7), JTI),
        ("jti", json!("x".repeat(257)), JTI),
    ] {
        refused(judge(&header(), &with(claims(), member, value)), rule);
    }
    assert!(judge(&header(), &with(claims(), "jti", json!("x".repeat(256)))).is_ok());
    for typ in [
        Value::Null,
        json!("JWT"),
        json!("jwt"),
        json!("client-authentication+jwt"),
    ] {
        assert!(judge(&with(header(), "typ", typ), &claims()).is_ok());
    }
    let forged = sign(
        &stranger(SignatureAlgorithm::Es256),
        &header().to_string(),
        &claims().to_string(),
    );
    let client = signing(&[SignatureAlgorithm::Es256]);
    refused(judge_as(&client, &forged, Profile::Default, NOW), SIGNATURE);
    let twice = claims().to_string().replacen('{', r#"{"sub":"demo","#, 1);
    let twice = sign(
        signer(SignatureAlgorithm::Es256).as_ref(),
        &header().to_string(),
        &twice,
    );
    refused(judge_as(&client, &twice, Profile::Default, NOW), FORM);
}

// covers R9126-8, R7523-1, R-FAPI-1, TRAP-39
#[test]
fn the_audience_is_the_issuer_or_in_the_default_profile_an_endpoint_of_this_server() {
    let [token, alias, called, called_alias] = ENDPOINT_URLS;
    let never = [
        json!(""),
        json!({"issuer": ISSUER}),
        json!(1),
        json!(format!("{ISSUER}/")),
        json!(format!("{token}/")),
        json!(format!("{token}?x")),
        json!(token.to_uppercase()),
        json!(ISSUER.replace("https", "http")),
        json!("https://as.example:443/tenant"),
        json!("https://as.example/token"),
        json!("https://as.example/tenant/revoke"),
        json!("https://mtls.as.example/tenant"),
        json!("https://other.example/tenant/token"),
        json!([]),
        json!([[ISSUER]]),
        json!([ISSUER, "https://other.example"]),
        json!([ISSUER, token]),
        json!([token, token]),
        json!([format!("{token}/")]),
        json!(["https://other.example"]),
    ];
    let in_the_default_profile = [
        json!(token),
        json!(alias),
        json!(called),
        json!(called_alias),
        json!([ISSUER]),
        json!([token]),
        json!([called_alias]),
    ];
    let server = signing(&[SignatureAlgorithm::Es256]);
    let jwks = json!({"keys": [signer(SignatureAlgorithm::Es256).public_jwk().to_json()]});
    let stricter = client(&json!({
        "token_endpoint_auth_method": "private_key_jwt", "jwks": jwks, "keybound_profile": "fapi2",
    }));
    let judge = |client: &Client, audience: &Value, profile| {
        let assertion = sign(
            signer(SignatureAlgorithm::Es256).as_ref(),
            &header().to_string(),
            &with(claims(), "aud", audience.clone()).to_string(),
        );
        judge_as(client, &assertion, profile, NOW)
    };
    for audience in &never {
        for profile in Profile::ALL {
            let error = refused(judge(&server, audience, profile), AUD);
            assert_eq!(failed_rule(&error).presented, Some(audience.to_string()));
        }
    }
    for audience in &in_the_default_profile {
        assert!(judge(&server, audience, Profile::Default).is_ok(), "{audience}");
        for (client, profile) in [
            (&server, Profile::Fapi2),
            (&server, Profile::Fapi2MessageSigning),
            (&stricter, Profile::Default),
        ] {
            let error = refused(judge(client, audience, profile), AUD);
            assert_eq!(failed_rule(&error).registered, Some(format!("{ISSUER:?}")));
        }
    }
    for profile in Profile::ALL {
        assert!(judge(&server, &json!(ISSUER), profile).is_ok());
    }
    assert!(judge(&stricter, &json!(ISSUER), Profile::Default).is_ok());
    let error = refused(judge(&server, &json!("x"), Profile::Default), AUD);
    let accepted = [ISSUER, token, alias, called, called_alias].map(|name| format!("{name:?}"));
    assert_eq!(failed_rule(&error).registered, Some(accepted.join(" or ")));
}

// covers R7523-1, R-FAPI-4
#[test]
fn an_assertion_lives_at_most_five_minutes() {
    let now = NOW.unix_secs();
    let leeway = i64::try_from(CLOCK_LEEWAY.as_secs()).unwrap();
    let lifetime = i64::try_from(ASSERTION_LIFETIME_MAX.as_secs()).unwrap();
    for (changes, accepted) in [
        (vec![("exp", now - leeway + 1)], true),
        (vec![("exp", now - leeway)], false),
        (vec![("exp", now + lifetime)], true),
        (vec![("exp", now + lifetime + 1)], false),
        // From a clock that is ahead by no more than the leeway.
        (vec![("iat", now + leeway), ("exp", now + leeway + lifetime)], true),
        (vec![("iat", now + leeway), ("exp", now + leeway + lifetime + 1)], false),
        (vec![("iat", now + leeway + 1), ("exp", now + leeway + 60)], false),
        (vec![("iat", now - 250), ("exp", now + 51)], false),
        (vec![("nbf", now + 8)], true),
        (vec![("nbf", now + leeway)], true),
        (vec![("nbf", now + leeway + 1)], false),
        (vec![("nbf", now + 60)], false),
    ] {
        let changed = changes
            .iter()
            .fold(claims(), |claims, (name, value)| with(claims, name, json!(value)));
        let verdict = judge(&header(), &changed);
        assert_eq!(verdict.is_ok(), accepted, "{changes:?}");
        if !accepted {
            refused(verdict, DATES);
        }
    }
    // Without `iat` the time of the verdict counts.
    let without = with(claims(), "iat", Value::Null);
    assert!(judge(&header(), &with(without.clone(), "exp", json!(now + leeway + lifetime))).is_ok());
    refused(
        judge(&header(), &with(without, "exp", json!(now + leeway + lifetime + 1))),
        DATES,
    );
}

// covers R7523-2
#[test]
fn a_spent_identifier_is_remembered_until_nobody_would_accept_it() {
    let verified = judge(&header(), &claims()).unwrap();
    let last = verified.remember_until().minus(Duration::from_secs(1));
    let assertion = sign(
        signer(SignatureAlgorithm::Es256).as_ref(),
        &header().to_string(),
        &claims().to_string(),
    );
    let client = signing(&[SignatureAlgorithm::Es256]);
    assert!(judge_as(&client, &assertion, Profile::Default, last).is_err());
    assert!(
        judge_as(
            &client,
            &assertion,
            Profile::Default,
            last.minus(Duration::from_secs(1))
        )
        .is_ok()
    );
}

// covers TRAP-19
#[test]
fn a_client_of_another_method_makes_no_assertions() {
    let jwks = json!({"keys": [signer(SignatureAlgorithm::Es256).public_jwk().to_json()]});
    let assertion = sign(
        signer(SignatureAlgorithm::Es256).as_ref(),
        &header().to_string(),
        &claims().to_string(),
    );
    for metadata in [
        json!({"token_endpoint_auth_method": "tls_client_auth", "tls_client_auth_san_dns": "a.example", "jwks": jwks}),
        json!({"token_endpoint_auth_method": "none", "jwks": jwks}),
    ] {
        refused(
            judge_as(&client(&metadata), &assertion, Profile::Default, NOW),
            ALGORITHM,
        );
    }
}

// covers R-FAPI-11, R-FAPI-1
#[test]
fn the_profile_limits_the_algorithms() {
    let client = signing(&SignatureAlgorithm::ALL);
    for algorithm in SignatureAlgorithm::ALL {
        let signer = signer(algorithm).as_ref();
        let header = json!({"alg": algorithm, "kid": signer.key_id()});
        let assertion = sign(signer, &header.to_string(), &claims().to_string());
        assert!(
            judge_as(&client, &assertion, Profile::Default, NOW).is_ok(),
            "{algorithm}"
        );
        let verdict = judge_as(&client, &assertion, Profile::Fapi2, NOW);
        assert_eq!(
            verdict.is_ok(),
            SignatureAlgorithm::FAPI.contains(&algorithm),
            "{algorithm}"
        );
    }
}

// covers R7523-2
#[test]
fn the_form_has_the_literal_type_and_one_assertion() {
    let assertion = sign(
        signer(SignatureAlgorithm::Es256).as_ref(),
        &header().to_string(),
        &claims().to_string(),
    );
    let form = |body: &str| -> Result<Option<ClientId>, ClientAssertionError> {
        let form = Form::parse(body.as_bytes()).unwrap();
        let found = UnverifiedClientAssertion::from_form(&form)?;
        Ok(found.map(|assertion| assertion.unverified_client_id().unwrap()))
    };
    let good = format!("client_assertion_type={CLIENT_ASSERTION_TYPE}&client_assertion={assertion}");
    assert_eq!(form(&good).unwrap().unwrap().as_str(), "demo");
    assert_eq!(form("client_id=demo").unwrap(), None);
    for (body, is_expected) in [
        (format!("client_assertion={assertion}"), true),
        (format!("client_assertion_type={CLIENT_ASSERTION_TYPE}"), true),
        (
            format!("client_assertion_type={CLIENT_ASSERTION_TYPE}&client_assertion="),
            true,
        ),
        (
            format!("client_assertion_type=urn:other&client_assertion={assertion}"),
            false,
        ),
        (
            format!(
                "client_assertion_type={}&client_assertion={assertion}",
                CLIENT_ASSERTION_TYPE.to_uppercase()
            ),
            false,
        ),
    ] {
        match form(&body).unwrap_err() {
            ClientAssertionError::Incomplete => assert!(is_expected, "{body}"),
            ClientAssertionError::AssertionType(_) => assert!(!is_expected, "{body}"),
            other => panic!("{other}"),
        }
    }
    let error = form(&format!(
        "client_assertion_type={CLIENT_ASSERTION_TYPE}&client_assertion=a.b"
    ))
    .unwrap_err();
    assert!(matches!(error, ClientAssertionError::Signature(JwsError::PartCount(2))));
    assert!(Form::parse(format!("{good}&client_assertion={assertion}").as_bytes()).is_err());
}

// covers R7523-3
#[test]
fn a_failed_assertion_is_invalid_client_and_the_jwt_grant_does_not_exist() {
    let error = refused(
        judge(&header(), &with(claims(), "aud", json!("https://other.example"))),
        AUD,
    );
    assert_eq!(ClientAuthenticationError::from(error).code(), ErrorCode::InvalidClient);
    assert_eq!(
        ClientAuthenticationError::AssertionReplayed.code(),
        ErrorCode::InvalidClient
    );
    let body = b"grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer&assertion=a.b.c";
    let error = TokenRequest::parse(&Form::parse(body).unwrap()).unwrap_err();
    assert_eq!(error.code(), ErrorCode::UnsupportedGrantType);
}

// covers R6749-2
#[test]
fn a_client_identifier_alone_authenticates_nobody() {
    for metadata in [
        json!({"token_endpoint_auth_method": "tls_client_auth", "tls_client_auth_san_dns": "a.example"}),
        json!({"token_endpoint_auth_method": "private_key_jwt", "jwks_uri": "https://client.example/jwks"}),
        json!({"token_endpoint_auth_method": "self_signed_tls_client_auth", "jwks_uri": "https://client.example/jwks"}),
    ] {
        let error = PublicClient::identify(&Arc::new(client(&metadata))).unwrap_err();
        assert_eq!(error.code(), ErrorCode::InvalidClient);
        assert!(matches!(error, ClientAuthenticationError::MethodNotUsed { .. }));
    }
    let public = Arc::new(client(&json!({"token_endpoint_auth_method": "none"})));
    assert_eq!(
        PublicClient::identify(&public).unwrap().client().client_id().as_str(),
        "demo"
    );
}

#[test]
fn our_own_clients_make_assertions_that_are_accepted() {
    let issuer = Issuer::parse(ISSUER).unwrap();
    let client_id = ClientId::parse("demo").unwrap();
    for algorithm in SignatureAlgorithm::ALL {
        let signer = signer(algorithm).as_ref();
        let assertion = client_assertion(signer, &client_id, &issuer, "unique", NOW).unwrap();
        let verified = judge_as(&signing(&[algorithm]), &assertion, Profile::Default, NOW).unwrap();
        assert_eq!(verified.assertion_id(), "unique");
    }
}
