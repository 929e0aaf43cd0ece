//! Token introspection (RFC 7662, RFC 8705 §3.2): the request, the answer, and what a resource makes of it.

use std::time::Duration;

use keybound_protocol::base64url;
use keybound_protocol::bearer::TOKEN_BYTES_MAX;
use keybound_protocol::client::ClientId;
use keybound_protocol::confirmation::{CertificateThumbprint, Confirmation};
use keybound_protocol::error_code::ErrorCode;
use keybound_protocol::form::Form;
use keybound_protocol::introspection::{
    ActiveToken, INTROSPECTION_RESPONSE_BYTES_MAX, IntrospectionRequest, IntrospectionRequestError,
    IntrospectionResponse, IntrospectionResponseError,
};
use keybound_protocol::introspection_jwt::{INTROSPECTION_JWT_TYPE, IntrospectionJwt};
use keybound_protocol::issuer::Issuer;
use keybound_protocol::jws::{JwsPolicy, UnverifiedJws};
use keybound_protocol::scope::Scope;
use keybound_protocol::signature_algorithm::SignatureAlgorithm;
use keybound_protocol::signer::Signer;
use keybound_protocol::time::Timestamp;
use serde_json::{Value, json};

use crate::jwt::{ISSUER, NOW, key_set, signer, with};

const LEEWAY: Duration = Duration::from_secs(30);

fn active() -> ActiveToken {
    ActiveToken {
        scope: Some(Scope::parse("read").unwrap()),
        client_id: Some("demo".into()),
        token_type: Some("Bearer".into()),
        expires_at: Some(NOW.plus(Duration::from_secs(300))),
        issued_at: Some(NOW),
        not_before: None,
        subject: Some("demo".into()),
        audience: vec!["https://api.example".into()],
        issuer: Some("https://as.example".into()),
        token_id: Some("id".into()),
        auth_time: None,
        acr: None,
        authorization_details: None,
        confirmation: Some(Confirmation::certificate_bound(CertificateThumbprint::of_certificate(
            b"certificate",
        ))),
    }
}

fn document() -> Value {
    serde_json::from_slice(&IntrospectionResponse::Active(Box::new(active())).to_json()).unwrap()
}

fn parse(document: &Value) -> Result<IntrospectionResponse, IntrospectionResponseError> {
    IntrospectionResponse::parse(document.to_string().as_bytes(), NOW, LEEWAY)
}

// covers R7662-2
#[test]
fn an_inactive_token_is_one_member_and_nothing_else() {
    assert_eq!(IntrospectionResponse::Inactive.to_json(), br#"{"active":false}"#);
    // What a server says besides, against the RFC, is not read.
    let talkative = json!({"active": false, "scope": "read", "cnf": {"jkt": "x"}, "exp": "never"});
    assert_eq!(parse(&talkative).unwrap(), IntrospectionResponse::Inactive);
}

// covers MTLS-3.2-1, MTLS-3.2-2, MTLS-9.4-1, MTLS-3-14, TRAP-48, MTLS-3-2
#[test]
fn an_active_bound_token_has_cnf_at_top_level_and_stays_a_bearer_token() {
    assert_eq!(
        document(),
        json!({
            "active": true,
            "scope": "read",
            "client_id": "demo",
            "token_type": "Bearer",
            "exp": NOW.unix_secs() + 300,
            "iat": NOW.unix_secs(),
            "sub": "demo",
            "aud": "https://api.example",
            "iss": "https://as.example",
            "jti": "id",
            "cnf": {"x5t#S256": CertificateThumbprint::of_certificate(b"certificate").to_string()},
        })
    );
    assert_eq!(
        parse(&document()).unwrap(),
        IntrospectionResponse::Active(Box::new(active()))
    );
    let several = ActiveToken {
        audience: vec!["a".into(), "b".into()],
        ..ActiveToken::default()
    };
    let document: Value = serde_json::from_slice(&IntrospectionResponse::Active(Box::new(several)).to_json()).unwrap();
    assert_eq!(document, json!({"active": true, "aud": ["a", "b"]}));
}

// covers TRAP-26, R7800-2, MTLS-7.2-1
#[test]
fn a_response_whose_cnf_cannot_be_verified_is_not_used() {
    for cnf in [
        json!({"jkt": "x"}),
        json!({}),
        json!({"x5t": "T8Qp8fPmVYqb9iHyzQUaAbxBedY"}),
        json!("x"),
        json!([]),
    ] {
        let error = parse(&with(document(), "cnf", cnf)).unwrap_err();
        assert!(matches!(error, IntrospectionResponseError::Confirmation(_)));
    }
    let null = document().to_string();
    let start = null.find(r#""cnf":"#).unwrap();
    let end = start + null[start..].find('}').unwrap() + 1;
    let null = format!("{}\"cnf\":null{}", &null[..start], &null[end..]);
    let error = IntrospectionResponse::parse(null.as_bytes(), NOW, LEEWAY).unwrap_err();
    assert!(matches!(error, IntrospectionResponseError::Confirmation(_)), "{error}");
}

// covers R7662-3
#[test]
fn a_response_is_read_strictly() {
    for (member, value) in [
        ("active", json!("true")),
        ("active", json!(1)),
        ("exp", json!("2000000000")),
        ("aud", json!({})),
        ("scope", json!(["read"])),
        ("client_id", json!(1)),
        ("sub", json!(null)),
    ] {
        let document = if value.is_null() {
            document().to_string().replace(r#""sub":"demo""#, r#""sub":null"#)
        } else {
            with(document(), member, value).to_string()
        };
        let error = IntrospectionResponse::parse(document.as_bytes(), NOW, LEEWAY).unwrap_err();
        assert!(matches!(error, IntrospectionResponseError::Type(_)), "{member}");
    }
    assert!(matches!(
        parse(&with(document(), "active", Value::Null)),
        Err(IntrospectionResponseError::ActiveMissing)
    ));
    assert!(matches!(
        parse(&with(document(), "scope", json!("a  b"))),
        Err(IntrospectionResponseError::Scope(_))
    ));
    for text in [
        "",
        "true",
        "[]",
        r#"{"active":false,"active":true}"#,
        r#"{"active":true,"cnf":{},"cnf":{}}"#,
    ] {
        let error = IntrospectionResponse::parse(text.as_bytes(), NOW, LEEWAY).unwrap_err();
        assert!(matches!(error, IntrospectionResponseError::Json(_)), "{text}");
    }
}

// covers R7662-4
#[test]
fn a_response_is_not_used_past_its_own_dates() {
    let at = |now: i64| {
        IntrospectionResponse::parse(
            document().to_string().as_bytes(),
            Timestamp::from_unix_secs(now),
            LEEWAY,
        )
    };
    let exp = NOW.unix_secs() + 300;
    assert!(at(exp + 29).is_ok());
    assert!(matches!(at(exp + 30), Err(IntrospectionResponseError::OutsideItsDates)));
    let early = with(document(), "nbf", json!(NOW.unix_secs() + 31));
    assert!(matches!(
        parse(&early),
        Err(IntrospectionResponseError::OutsideItsDates)
    ));
    let almost = with(document(), "nbf", json!(NOW.unix_secs() + 30));
    assert!(parse(&almost).is_ok());
}

#[test]
fn a_response_is_bounded() {
    let mut text = document().to_string();
    text.push_str(&" ".repeat(INTROSPECTION_RESPONSE_BYTES_MAX - text.len()));
    assert!(IntrospectionResponse::parse(text.as_bytes(), NOW, LEEWAY).is_ok());
    text.push(' ');
    let error = IntrospectionResponse::parse(text.as_bytes(), NOW, LEEWAY).unwrap_err();
    assert!(matches!(error, IntrospectionResponseError::TooLarge(_)));
}

// covers R7009-3
#[test]
fn a_request_is_a_token_and_its_hint_changes_nothing() {
    for hint in [
        "",
        "&token_type_hint=refresh_token",
        "&token_type_hint=access_token",
        "&token_type_hint=nonsense",
    ] {
        let body = format!("token=abc{hint}");
        let form = Form::parse(body.as_bytes()).unwrap();
        assert_eq!(IntrospectionRequest::parse(&form).unwrap().token(), Some("abc"));
    }
    for body in ["", "token=", "token_type_hint=access_token"] {
        let form = Form::parse(body.as_bytes()).unwrap();
        let error = IntrospectionRequest::parse(&form).unwrap_err();
        assert_eq!(
            (error, error.code()),
            (IntrospectionRequestError::TokenMissing, ErrorCode::InvalidRequest)
        );
    }
    // Too long for a token of anybody's: a question all the same, answered like any unknown token.
    let body = format!("token={}", "a".repeat(TOKEN_BYTES_MAX + 1));
    let form = Form::parse(body.as_bytes()).unwrap();
    assert_eq!(IntrospectionRequest::parse(&form).unwrap().token(), None);
}

// covers R9701-2, R9701-3, R9701-4
#[test]
fn a_signed_response_has_four_claims_and_the_octets_of_the_plain_one() {
    let issuer = Issuer::parse(ISSUER).unwrap();
    let audience = ClientId::parse("rs\"1").unwrap();
    for algorithm in SignatureAlgorithm::ALL {
        let signer = signer(algorithm);
        for response in [
            IntrospectionResponse::Inactive,
            IntrospectionResponse::Active(Box::new(active())),
        ] {
            let jwt = IntrospectionJwt {
                issuer: &issuer,
                audience: &audience,
                issued_at: NOW,
                response: &response,
            };
            let jwt = jwt.encode_unsigned(&**signer).sign(&**signer).unwrap();
            let header = base64url::decode(jwt.split('.').next().unwrap()).unwrap();
            assert_eq!(
                serde_json::from_slice::<Value>(&header).unwrap(),
                json!({"alg": algorithm, "kid": signer.key_id(), "typ": "token-introspection+jwt"})
            );
            let policy = JwsPolicy {
                algorithms: &[algorithm],
                types: &[INTROSPECTION_JWT_TYPE],
                type_may_be_missing: false,
            };
            let (jws, keys) = (UnverifiedJws::parse(&jwt).unwrap(), key_set(&[signer]));
            let verified = jws.verify(&policy, &keys).unwrap();
            let plain = String::from_utf8(response.to_json()).unwrap();
            let expected = format!(
                r#"{{"iss":"{ISSUER}","aud":"rs\"1","iat":{},"token_introspection":{plain}}}"#,
                NOW.unix_secs()
            );
            assert_eq!(std::str::from_utf8(verified.payload()).unwrap(), expected);
        }
    }
}
