//! RFC 9101 and FAPI 2.0 Message Signing: requests that clients sign.

use keybound_protocol::authorization_request::AuthorizationParameters;
use keybound_protocol::error_code::ErrorCode;
use keybound_protocol::issuer::Issuer;
use keybound_protocol::jws::JwsError;
use keybound_protocol::request_object::{
    RequestObject, RequestObjectError, RequestObjectKind, RequestObjectPolicy, UnverifiedRequestObject,
};
use keybound_protocol::signer::{SignatureAlgorithm, Signer};
use serde_json::{Value, json};

use crate::authorization_requests::{client, metadata};
use crate::jwt::{ISSUER, NOW, key_set, sign, signer, stranger, with};

fn claims() -> Value {
    let now = NOW.unix_secs();
    json!({
        "iss": "demo", "aud": ISSUER, "client_id": "demo", "exp": now + 300, "nbf": now, "iat": now, "jti": "one",
        "response_type": "code", "state": "inside",
    })
}

fn header() -> Value {
    json!({"alg": "ES256", "kid": signer(SignatureAlgorithm::Es256).key_id(), "typ": "oauth-authz-req+jwt"})
}

fn verify_as(kind: RequestObjectKind, jwt: &str) -> Result<RequestObject, RequestObjectError> {
    let policy = RequestObjectPolicy {
        kind,
        issuer: &Issuer::parse(ISSUER).unwrap(),
        algorithms: &SignatureAlgorithm::FAPI,
        now: NOW,
    };
    let keys = key_set(&[signer(SignatureAlgorithm::Es256), signer(SignatureAlgorithm::Rs256)]);
    UnverifiedRequestObject::parse(jwt, &policy)?.verify(&client(&metadata()), &keys, &policy)
}

fn signed(claims: &Value) -> String {
    sign(
        &**signer(SignatureAlgorithm::Es256),
        &header().to_string(),
        &claims.to_string(),
    )
}

#[track_caller]
fn refused(kind: RequestObjectKind, claims: &Value) -> RequestObjectError {
    let error = verify_as(kind, &signed(claims)).unwrap_err();
    assert_eq!(error.code(), ErrorCode::InvalidRequestObject);
    error
}

use RequestObjectKind::{Authorization, BackchannelAuthentication, FapiAuthorization};

// covers R9101-2, R8725-1, FAPI-21
#[test]
fn only_a_key_of_the_client_by_a_permitted_algorithm_makes_one() {
    let es256 = signer(SignatureAlgorithm::Es256);
    let rs256 = signer(SignatureAlgorithm::Rs256);
    let text = claims().to_string();
    let with_header = |member: &str, value: Value| with(header(), member, value).to_string();
    let good = signed(&claims());
    let cases = [
        sign(&stranger(SignatureAlgorithm::Es256), &header().to_string(), &text),
        sign(&**es256, &with_header("alg", json!("none")), &text),
        sign(&**es256, &with_header("alg", json!("HS256")), &text),
        sign(&**es256, &with_header("alg", json!("PS256")), &text),
        sign(
            &**rs256,
            &json!({"alg": "RS256", "kid": rs256.key_id()}).to_string(),
            &text,
        ),
        sign(&**es256, &with_header("typ", json!("at+jwt")), &text),
        sign(&**es256, &with_header("crit", json!(["b64"])), &text),
        format!("{}.", good.rsplit_once('.').unwrap().0),
        good.replace('.', ".."),
        String::new(),
    ];
    for jwt in cases {
        let error = verify_as(Authorization, &jwt).unwrap_err();
        assert!(matches!(error, RequestObjectError::Signature(_)), "{jwt}: {error}");
        assert_eq!(error.code(), ErrorCode::InvalidRequestObject);
    }
    let error = verify_as(
        Authorization,
        &sign(&**es256, &with_header("alg", json!("none")), &text),
    )
    .unwrap_err();
    let RequestObjectError::Signature(JwsError::AlgorithmNotAllowed { presented }) = error else {
        panic!("{error}")
    };
    assert_eq!(presented, "none");
    for header in [
        header(),
        with(header(), "typ", json!("JWT")),
        with(header(), "typ", Value::Null),
    ] {
        assert!(verify_as(FapiAuthorization, &sign(&**es256, &header.to_string(), &text)).is_ok());
    }
}

// covers R9101-2, TRAP-42
#[test]
fn what_no_key_could_make_good_is_refused_before_a_key_is_looked_for() {
    let es256 = signer(SignatureAlgorithm::Es256);
    let issuer = Issuer::parse(ISSUER).unwrap();
    let policy = RequestObjectPolicy {
        kind: Authorization,
        issuer: &issuer,
        algorithms: &SignatureAlgorithm::FAPI,
        now: NOW,
    };
    let text = claims().to_string();
    let with_header = |member: &str, value: Value| with(header(), member, value).to_string();
    let good = signed(&claims());
    for (jwt, reason) in [
        (String::new(), "1 parts"),
        ("garbage".to_owned(), "1 parts"),
        (good.replace('.', ".."), "5 parts"),
        (good.replacen('.', "!.", 1), "header is not base64url"),
        ("a".repeat(16 * 1024 + 1), "longer than"),
        (
            sign(&**es256, &with_header("alg", json!("none")), &text),
            "algorithm \"none\"",
        ),
        (
            sign(&**es256, &with_header("alg", json!("HS256")), &text),
            "algorithm \"HS256\"",
        ),
        (
            sign(&**es256, &with_header("alg", json!("RS256")), &text),
            "algorithm \"RS256\"",
        ),
        (sign(&**es256, &with_header("alg", Value::Null), &text), "has no `alg`"),
        (
            sign(&**es256, &with_header("typ", json!("at+jwt")), &text),
            "type \"at+jwt\"",
        ),
        (sign(&**es256, &with_header("crit", json!(["b64"])), &text), "`crit`"),
        (sign(&**es256, &header().to_string(), "not json"), "not a JSON object"),
        (sign(&**es256, &header().to_string(), "[]"), "not a JSON object"),
    ] {
        let error = UnverifiedRequestObject::parse(&jwt, &policy).unwrap_err();
        assert!(error.to_string().contains(reason), "{reason}: {error}");
        assert_eq!(error.code(), ErrorCode::InvalidRequestObject);
    }
    // Whose signature it is, and what it says, only the keys tell.
    for jwt in [
        good,
        sign(&stranger(SignatureAlgorithm::Es256), &header().to_string(), &text),
        sign(&**es256, &header().to_string(), "{}"),
    ] {
        assert!(UnverifiedRequestObject::parse(&jwt, &policy).is_ok(), "{jwt}");
    }
}

// covers R9101-1, R9101-3
#[test]
fn it_is_of_this_client_and_for_this_server_and_contains_no_other() {
    let changed = |claim: &str, value: Value| refused(Authorization, &with(claims(), claim, value));
    assert!(matches!(
        changed("client_id", Value::Null),
        RequestObjectError::ClaimMissing("client_id")
    ));
    assert!(matches!(
        changed("client_id", json!("other")),
        RequestObjectError::ClientId { .. }
    ));
    assert!(matches!(
        changed("iss", json!("other")),
        RequestObjectError::Issuer { .. }
    ));
    assert!(matches!(
        changed("sub", json!("demo")),
        RequestObjectError::SubjectIsClient
    ));
    assert!(matches!(
        changed("aud", json!("https://other.example")),
        RequestObjectError::Audience { .. }
    ));
    assert!(matches!(changed("aud", json!([])), RequestObjectError::Audience { .. }));
    assert!(matches!(changed("aud", json!(1)), RequestObjectError::ClaimType(_)));
    assert!(matches!(
        changed("request", json!("x.y.z")),
        RequestObjectError::Nested("request")
    ));
    assert!(matches!(
        changed("request_uri", json!("urn:x")),
        RequestObjectError::Nested("request_uri")
    ));
    let several = with(claims(), "aud", json!(["https://other.example", ISSUER]));
    assert!(verify_as(FapiAuthorization, &signed(&several)).is_ok());
}

// covers FAPI-21, R-FAPI-4
#[test]
fn under_fapi_it_is_young_and_ends_soon() {
    let now = NOW.unix_secs();
    let changed = |claim: &str, value: Value| with(claims(), claim, value);
    for claim in ["exp", "nbf", "aud"] {
        let error = refused(FapiAuthorization, &changed(claim, Value::Null));
        assert!(
            matches!(error, RequestObjectError::ClaimMissing(missing) if missing == claim),
            "{error}"
        );
        assert!(verify_as(Authorization, &signed(&changed(claim, Value::Null))).is_ok());
    }
    let error = refused(FapiAuthorization, &changed("exp", json!(now - 30)));
    assert!(matches!(error, RequestObjectError::Expired { .. }), "{error}");
    let error = refused(FapiAuthorization, &changed("exp", json!(now + 3601)));
    assert!(matches!(error, RequestObjectError::LivesTooLong { .. }), "{error}");
    let old = with(changed("nbf", json!(now - 3631)), "exp", json!(now + 1));
    let error = refused(FapiAuthorization, &old);
    assert!(
        matches!(
            error,
            RequestObjectError::LivesTooLong { .. } | RequestObjectError::TooOld { .. }
        ),
        "{error}"
    );
    for claim in ["nbf", "iat"] {
        let error = refused(FapiAuthorization, &changed(claim, json!(now + 61)));
        assert!(matches!(error, RequestObjectError::InTheFuture { .. }), "{error}");
        assert!(verify_as(FapiAuthorization, &signed(&changed(claim, json!(now + 8)))).is_ok());
    }
    assert!(verify_as(FapiAuthorization, &signed(&changed("exp", json!(now + 3600)))).is_ok());
}

// covers CIBA-3, FAPI-22
#[test]
fn a_backchannel_request_has_all_six_claims() {
    for claim in ["iss", "aud", "exp", "iat", "nbf", "jti"] {
        let error = refused(BackchannelAuthentication, &with(claims(), claim, Value::Null));
        assert!(
            matches!(error, RequestObjectError::ClaimMissing(missing) if missing == claim),
            "{error}"
        );
    }
    let without_client_id = with(claims(), "client_id", Value::Null);
    assert!(verify_as(BackchannelAuthentication, &signed(&without_client_id)).is_ok());
}

// covers R9101-1
#[test]
fn its_claims_are_the_parameters() {
    let mut claims = claims();
    for (name, value) in [
        ("max_age", json!(60)),
        ("claims", json!({"userinfo": {"email": null}})),
        ("authorization_details", json!([{"type": "payment"}])),
        ("resource", json!(["https://api.example"])),
        ("nonce", json!("")),
    ] {
        claims = with(claims, name, value);
    }
    let object = verify_as(Authorization, &signed(&claims)).unwrap();
    let parameters = AuthorizationParameters::of_request_object(&object).unwrap();
    assert!(parameters.is_signed());
    assert_eq!(parameters.get("max_age"), Some("60"));
    assert_eq!(parameters.get("claims"), Some(r#"{"userinfo":{"email":null}}"#));
    assert_eq!(parameters.get("authorization_details"), Some(r#"[{"type":"payment"}]"#));
    assert_eq!(parameters.get("nonce"), None);
    assert_eq!(parameters.resources().collect::<Vec<_>>(), ["https://api.example"]);
    for (name, value) in [
        ("state", json!(1)),
        ("scope", json!(["read"])),
        ("max_age", json!(true)),
    ] {
        let object = verify_as(Authorization, &signed(&with(claims.clone(), name, value))).unwrap();
        let error = AuthorizationParameters::of_request_object(&object).unwrap_err();
        assert_eq!(error.code(), ErrorCode::InvalidRequestObject, "{name}");
    }
}
