//! Authorization responses (RFC 6749 §4.1.2, RFC 9207, JARM), PKCE (RFC 7636) and ID tokens.

use keybound_protocol::authorization_response::{ResponseMode, ResponseTarget, denied, granted};
use keybound_protocol::base64url;
use keybound_protocol::client::ClientId;
use keybound_protocol::error_code::ErrorCode;
use keybound_protocol::id_token::{IdTokenClaims, token_hash};
use keybound_protocol::issuer::Issuer;
use keybound_protocol::jws::{JwsPolicy, UnverifiedJws};
use keybound_protocol::pkce::{
    CodeChallenge, CodeVerifier, CodeVerifierError, VERIFIER_CHARS_MAX, VERIFIER_CHARS_MIN, require_verifier,
};
use keybound_protocol::redirect_uri::RedirectUri;
use keybound_protocol::signer::{SignatureAlgorithm, Signer};
use serde_json::{Map, Value, json};
use url::Url;

use crate::jwt::{ISSUER, NOW, key_set, signer};

const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";

fn target(redirect_uri: &str, state: Option<&str>, response_mode: ResponseMode) -> ResponseTarget {
    ResponseTarget {
        client_id: ClientId::parse("demo").unwrap(),
        redirect_uri: RedirectUri::choose(&[redirect_uri.to_owned()], Some(redirect_uri), false).unwrap(),
        state: state.map(str::to_owned),
        response_mode,
    }
}

fn issuer() -> Issuer {
    Issuer::parse(ISSUER).unwrap()
}

fn parameters(url: &str) -> Vec<(String, String)> {
    Url::parse(url).unwrap().query_pairs().into_owned().collect()
}

fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
    expected
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect()
}

// covers R9207-1, FAPI-10, FAPI-11
#[test]
fn a_response_has_outcome_state_and_issuer_and_nothing_else() {
    let state = "a b&c=d#e%ä\"".repeat(100);
    for (redirect_uri, before) in [
        ("https://client.example/cb", vec![]),
        ("https://client.example/cb?x=1&y=%20", vec![("x", "1"), ("y", " ")]),
    ] {
        let with_state = target(redirect_uri, Some(&state), ResponseMode::Query);
        let url = granted("a-code").to_query(&with_state, &issuer());
        assert!(url.starts_with(redirect_uri), "{url}");
        let expected = [&before[..], &[("code", "a-code"), ("state", &state), ("iss", ISSUER)]].concat();
        assert_eq!(parameters(&url), pairs(&expected));

        let url = denied().to_query(&target(redirect_uri, None, ResponseMode::Query), &issuer());
        let expected = [&before[..], &[("error", "access_denied"), ("iss", ISSUER)]].concat();
        assert_eq!(parameters(&url), pairs(&expected));
    }
    assert!(!format!("{:?}", granted("a-code")).contains("a-code"));
}

// covers R9207-1, FAPI-21
#[test]
fn a_signed_response_is_one_jwt_for_this_client() {
    let target = target("https://client.example/cb", Some("s"), ResponseMode::QueryJwt);
    for algorithm in SignatureAlgorithm::ALL {
        let signer = signer(algorithm);
        let unsigned = granted("a-code").to_unsigned_jwt(&target, &issuer(), &**signer, NOW);
        let parameters = parameters(&unsigned.sign(&**signer).unwrap());
        let [(name, jwt)] = parameters.as_slice() else {
            panic!("{parameters:?}")
        };
        assert_eq!(name, "response");
        let policy = JwsPolicy {
            algorithms: &[algorithm],
            types: &["oauth-authz-resp+jwt"],
            type_may_be_missing: false,
        };
        let jws = UnverifiedJws::parse(jwt).unwrap();
        let keys = key_set(&[signer]);
        let claims: Value = serde_json::from_slice(jws.verify(&policy, &keys).unwrap().payload()).unwrap();
        let expected = json!({
            "iss": ISSUER, "aud": "demo", "exp": NOW.unix_secs() + 600, "code": "a-code", "state": "s",
        });
        assert_eq!(claims, expected);
    }
}

#[test]
fn a_page_may_send_forms_to_the_origin_of_the_redirect_uri_alone() {
    for (redirect_uri, expected) in [
        ("https://client.example/cb?x", "https://client.example"),
        ("http://127.0.0.1:5000/cb", "http://127.0.0.1:5000"),
        ("com.example.app:/cb", "com.example.app:"),
    ] {
        let target = target(redirect_uri, None, ResponseMode::Query);
        assert_eq!(target.redirect_uri.csp_source().as_deref(), Some(expected));
    }
}

// covers R7636-1, R7636-3, FAPI-14
#[test]
fn the_verifier_of_appendix_b_fits_its_challenge_and_no_other_does() {
    let challenge = CodeChallenge::parse(CHALLENGE).unwrap();
    assert_eq!(CodeVerifier::parse(VERIFIER).unwrap().challenge(), challenge);
    assert_eq!(challenge.to_text(), CHALLENGE);
    assert_eq!(require_verifier(Some(&challenge), Some(VERIFIER)), Ok(()));
    assert_eq!(require_verifier(None, None), Ok(()));
    let long = "a".repeat(VERIFIER_CHARS_MAX + 1);
    for (presented, expected) in [
        (None, CodeVerifierError::Missing),
        (Some(CHALLENGE), CodeVerifierError::Mismatch),
        (
            Some("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXK"),
            CodeVerifierError::Mismatch,
        ),
        (Some(""), CodeVerifierError::Malformed),
        (
            Some("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjX"),
            CodeVerifierError::Malformed,
        ),
        (
            Some("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjX+"),
            CodeVerifierError::Malformed,
        ),
        (Some(long.as_str()), CodeVerifierError::Malformed),
    ] {
        let error = require_verifier(Some(&challenge), presented).unwrap_err();
        assert_eq!(
            (error, error.code()),
            (expected, ErrorCode::InvalidGrant),
            "{presented:?}"
        );
    }
    for length in [VERIFIER_CHARS_MIN, VERIFIER_CHARS_MAX] {
        assert!(CodeVerifier::parse(&"-._~09azAZ".repeat(13)[..length]).is_ok());
    }
    let made = CodeVerifier::from_random([7; 32]);
    assert!(CodeVerifier::parse(made.as_str()).is_ok());
    assert!(!format!("{made:?}").contains(made.as_str()));
}

// covers R9700-2
#[test]
fn a_verifier_for_a_code_without_challenge_is_a_downgrade() {
    assert_eq!(
        require_verifier(None, Some(VERIFIER)),
        Err(CodeVerifierError::Unexpected)
    );
}

// covers FAPI-17
#[test]
fn an_id_token_says_who_signed_in_and_nothing_nobody_asked_for() {
    let signer = signer(SignatureAlgorithm::Es256);
    let (issuer, client_id) = (issuer(), ClientId::parse("demo").unwrap());
    let nonce = "n".repeat(64);
    let nobody = Map::new();
    let plain = IdTokenClaims {
        issuer: &issuer,
        subject: "u.alice",
        client_id: &client_id,
        issued_at: NOW,
        expires_at: NOW.plus(std::time::Duration::from_secs(300)),
        auth_time: None,
        nonce: None,
        acr: None,
        access_token: None,
        pushed: None,
        user_claims: &nobody,
    };
    let read = |claims: &IdTokenClaims<'_>| -> (Value, Value) {
        let jwt = claims.encode_unsigned(&**signer).sign(&**signer).unwrap();
        let policy = JwsPolicy {
            algorithms: &[SignatureAlgorithm::Es256],
            types: &["JWT"],
            type_may_be_missing: false,
        };
        assert!(
            UnverifiedJws::parse(&jwt)
                .unwrap()
                .verify(&policy, &key_set(&[signer]))
                .is_ok()
        );
        let part = |n: usize| base64url::decode(jwt.split('.').nth(n).unwrap()).unwrap();
        (
            serde_json::from_slice(&part(0)).unwrap(),
            serde_json::from_slice(&part(1)).unwrap(),
        )
    };
    let now = NOW.unix_secs();
    let (header, claims) = read(&plain);
    assert_eq!(header, json!({"alg": "ES256", "kid": signer.key_id(), "typ": "JWT"}));
    assert_eq!(
        claims,
        json!({"iss": ISSUER, "sub": "u.alice", "aud": "demo", "iat": now, "exp": now + 300})
    );
    let user_claims = json!({"email": "alice@example.com", "sub": "u.mallory", "cnf": {}, "exp": 1});
    let (_, claims) = read(&IdTokenClaims {
        auth_time: Some(NOW),
        nonce: Some(&nonce),
        acr: Some("urn:a"),
        access_token: Some("jHkWEdUXMU1BwAsC4vtUsZwnNvTIxEl0z9K3vx5KF0Y"),
        user_claims: user_claims.as_object().unwrap(),
        ..plain
    });
    assert_eq!(
        claims,
        json!({
            "iss": ISSUER, "sub": "u.alice", "aud": "demo", "iat": now, "exp": now + 300, "auth_time": now,
            "nonce": nonce, "acr": "urn:a", "email": "alice@example.com",
            // Of OpenID Connect Core §A.3.
            "at_hash": "77QmUPtjPfzWtF2AnpK9RQ",
        })
    );
    assert_eq!(token_hash(SignatureAlgorithm::EdDsa, "x").len(), 43);
}
