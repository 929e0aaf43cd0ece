//! JWT access tokens (RFC 9068): what they say and what is refused.

use std::time::Duration;

use keybound_protocol::access_token::{
    AccessTokenEncoder, AccessTokenError, CLOCK_LEEWAY, IssuedClaims, IssuerPolicy, PreparedSigner, TokenId,
    UnverifiedAccessToken, verify,
};
use keybound_protocol::bearer::TOKEN_BYTES_MAX;
use keybound_protocol::client::ClientId;
use keybound_protocol::confirmation::{CertificateThumbprint, Confirmation};
use keybound_protocol::error_code::ErrorCode;
use keybound_protocol::issuer::Issuer;
use keybound_protocol::json::JsonObject;
use keybound_protocol::jws::{JwsError, UnverifiedJws};
use keybound_protocol::resource::ResourceUri;
use keybound_protocol::rule::Outcome;
use keybound_protocol::scope::Scope;
use keybound_protocol::signer::{SignatureAlgorithm, Signer};
use keybound_protocol::time::Timestamp;
use serde_json::{Value, json};

use crate::jwt::{ISSUER, NOW, RESOURCE, claims, header, key_set, sign, signer, stranger, with};

/// What the resource of these tests accepts.
pub(crate) fn policy() -> IssuerPolicy {
    IssuerPolicy::new(ISSUER, vec![RESOURCE.to_owned()])
}

fn es256() -> &'static dyn Signer {
    signer(SignatureAlgorithm::Es256).as_ref()
}

fn judge_at(header: &Value, claims: &Value, policy: &IssuerPolicy, now: Timestamp) -> Result<(), AccessTokenError> {
    let token = sign(es256(), &header.to_string(), &claims.to_string());
    verify(&token, policy, &key_set(&[signer(SignatureAlgorithm::Es256)]), now).map(|_| ())
}

fn judge(header: &Value, claims: &Value) -> Result<(), AccessTokenError> {
    judge_at(header, claims, &policy(), NOW)
}

/// Asserts the reason by the rule that failed, and the code; every rule before it passed.
#[track_caller]
fn refused(verdict: Result<(), AccessTokenError>, rule: &str) -> AccessTokenError {
    let error = verdict.unwrap_err();
    assert_eq!(error.rule(), rule, "{error:?}");
    assert_eq!(error.code(), ErrorCode::InvalidToken);
    let rules = error.rules();
    let position = rules
        .iter()
        .position(|outcome| outcome.outcome == Outcome::Failed)
        .unwrap();
    assert_eq!(rules[position].rule, rule);
    assert!(
        rules[..position]
            .iter()
            .all(|outcome| outcome.outcome == Outcome::Passed)
    );
    assert!(
        rules[position + 1..]
            .iter()
            .all(|outcome| outcome.outcome == Outcome::NotReached)
    );
    assert!(!error.fix().is_empty());
    error
}

fn issued(audience: &[&str], scope: &str, confirmation: Option<&Confirmation>) -> (String, JsonObject) {
    let audience: Vec<ResourceUri> = audience.iter().map(|uri| ResourceUri::parse(uri).unwrap()).collect();
    let encoder = AccessTokenEncoder::new(&Issuer::parse(ISSUER).unwrap(), &ClientId::parse("de\"mo\\").unwrap());
    let token = encoder
        .encode(
            &PreparedSigner::new(signer(SignatureAlgorithm::Es256).clone()),
            &IssuedClaims {
                audience: &audience,
                scope: &Scope::parse(scope).unwrap(),
                issued_at: NOW,
                expires_at: NOW.plus(Duration::from_secs(300)),
                token_id: &TokenId::from_random([9; 16]),
                confirmation,
                on_behalf_of: None,
            },
        )
        .unwrap();
    let claims = JsonObject::parse(UnverifiedJws::parse(&token).unwrap().unverified_payload()).unwrap();
    (token, claims)
}

// covers R9068-1, R9068-2, R9068-3, R9068-4, MTLS-3-2, MTLS-3.1-1, MTLS-9.1-1, R7800-1
#[test]
fn an_issued_token_says_what_rfc_9068_and_rfc_8705_ask_for() {
    let confirmation = Confirmation::certificate_bound(CertificateThumbprint::of_certificate(b"certificate"));
    let (token, claims) = issued(&[RESOURCE], "read write", Some(&confirmation));
    let names: Vec<&str> = claims.names().collect();
    assert_eq!(
        names,
        ["aud", "client_id", "cnf", "exp", "iat", "iss", "jti", "scope", "sub"]
    );
    assert_eq!(claims.string("iss"), Ok(Some(ISSUER)));
    assert_eq!(claims.string("sub"), Ok(Some("de\"mo\\")));
    assert_eq!(claims.string("client_id"), Ok(Some("de\"mo\\")));
    assert_eq!(claims.string("aud"), Ok(Some(RESOURCE)));
    assert_eq!(claims.string("scope"), Ok(Some("read write")));
    assert_eq!(claims.numeric_date("iat"), Ok(Some(NOW.unix_secs())));
    assert_eq!(claims.numeric_date("exp"), Ok(Some(NOW.unix_secs() + 300)));
    assert_eq!(claims.string("jti").unwrap().unwrap().len(), 22);
    let cnf = claims.object("cnf").unwrap().unwrap();
    assert_eq!(cnf.names().collect::<Vec<_>>(), ["x5t#S256"]);
    assert_eq!(
        cnf.string("x5t#S256"),
        Ok(Some(&*confirmation.certificate().unwrap().to_text()))
    );

    let jws = UnverifiedJws::parse(&token).unwrap();
    assert_eq!(jws.unverified_type(), Some("at+jwt"));
    assert_eq!(jws.unverified_key_id(), Some(es256().key_id()));
    let verified = verify(&token, &policy(), &key_set(&[signer(SignatureAlgorithm::Es256)]), NOW).unwrap();
    assert_eq!(verified.claims().confirmation, Some(confirmation));
    assert_eq!(verified.claims().scope, Scope::parse("write read").unwrap());
    assert_eq!(verified.claims().client_id.as_deref(), Some("de\"mo\\"));
}

#[test]
fn an_issued_token_leaves_out_what_it_does_not_have() {
    let (token, claims) = issued(&[RESOURCE, "urn:other"], "", None);
    assert!(!claims.contains("cnf") && !claims.contains("scope"));
    assert_eq!(claims.strings("aud"), Ok(Some(vec![RESOURCE, "urn:other"])));
    let verified = verify(&token, &policy(), &key_set(&[signer(SignatureAlgorithm::Es256)]), NOW).unwrap();
    assert_eq!(verified.claims().confirmation, None);
    assert!(verified.claims().scope.is_empty());
}

// covers R9068-5, R7662-3, R8725-1
#[test]
fn each_check_refuses_its_own_offence() {
    assert!(judge(&header(es256()), &claims()).is_ok(), "the control");
    let header = header(es256());
    for (member, value, rule) in [
        ("alg", json!("none"), "signature algorithm permitted"),
        ("alg", json!("HS256"), "signature algorithm permitted"),
        ("alg", json!("es256"), "signature algorithm permitted"),
        ("alg", Value::Null, "a signed JWT"),
        ("alg", json!(["ES256"]), "a signed JWT"),
        ("alg", json!("PS256"), "signing key known"),
        ("typ", Value::Null, "token type permitted"),
        ("typ", json!("JWT"), "token type permitted"),
        ("typ", json!("dpop+jwt"), "token type permitted"),
        ("typ", json!("logout+jwt"), "token type permitted"),
        ("typ", json!("token-introspection+jwt"), "token type permitted"),
        ("typ", json!("client-authentication+jwt"), "token type permitted"),
        ("kid", json!("unknown"), "signing key known"),
        ("crit", json!([]), "a signed JWT"),
        ("crit", json!(["exp"]), "a signed JWT"),
    ] {
        refused(judge(&with(header.clone(), member, value), &claims()), rule);
    }
    for (member, value, rule) in [
        ("iss", Value::Null, "claims complete"),
        ("iss", json!(format!("{ISSUER}/")), "issuer"),
        ("iss", json!("https://AS.example/tenant"), "issuer"),
        ("iss", json!([ISSUER]), "claims complete"),
        ("aud", Value::Null, "claims complete"),
        ("aud", json!("https://other.example"), "audience"),
        ("aud", json!(format!("{RESOURCE}/")), "audience"),
        ("aud", json!([]), "audience"),
        ("aud", json!([RESOURCE, 1]), "claims complete"),
        ("exp", Value::Null, "claims complete"),
        ("exp", json!("1900000000"), "claims complete"),
        ("exp", json!(NOW.unix_secs() - 30), "inside its validity"),
        ("nbf", json!(NOW.unix_secs() + 31), "inside its validity"),
        ("iat", json!(NOW.unix_secs() + 31), "inside its validity"),
        ("scope", json!("a  b"), "claims complete"),
        ("scope", json!(["a"]), "claims complete"),
        ("sub", json!(1), "claims complete"),
    ] {
        refused(judge(&header, &with(claims(), member, value)), rule);
    }
    let foreign = sign(
        &stranger(SignatureAlgorithm::Es256),
        &header.to_string(),
        &claims().to_string(),
    );
    let verdict = verify(&foreign, &policy(), &key_set(&[signer(SignatureAlgorithm::Es256)]), NOW).map(|_| ());
    refused(verdict, "signature");
}

// covers R-FAPI-4
#[test]
fn clocks_may_differ_by_the_leeway_and_not_by_a_second_more() {
    let header = header(es256());
    let leeway = i64::try_from(CLOCK_LEEWAY.as_secs()).unwrap();
    let now = NOW.unix_secs();
    for (claim, date, accepted) in [
        ("exp", now - leeway + 1, true),
        ("exp", now - leeway, false),
        ("nbf", now + leeway, true),
        ("nbf", now + leeway + 1, false),
        ("iat", now + 10, true),
        ("iat", now + leeway, true),
        ("iat", now + leeway + 1, false),
        ("iat", now + 60, false),
    ] {
        let verdict = judge(&header, &with(claims(), claim, json!(date)));
        assert_eq!(verdict.is_ok(), accepted, "{claim} {date}");
    }
}

#[test]
fn a_token_that_was_verified_expires_all_the_same() {
    let token = sign(es256(), &header(es256()).to_string(), &claims().to_string());
    let verified = verify(&token, &policy(), &key_set(&[signer(SignatureAlgorithm::Es256)]), NOW).unwrap();
    assert!(verified.require_valid_at(NOW).is_ok());
    let later = NOW.plus(Duration::from_secs(290) + CLOCK_LEEWAY);
    refused(verified.require_valid_at(later), "inside its validity");
}

// covers R8725-1
#[test]
fn an_id_token_never_passes_where_typ_jwt_is_taken() {
    let mut policy = policy();
    policy.token_types = vec!["JWT".to_owned()];
    let header = with(header(es256()), "typ", json!("JWT"));
    let judge = |claims: Value| judge_at(&header, &claims, &policy, NOW);
    assert!(judge(claims()).is_ok(), "the control: an access token typed JWT");

    for member in ["at_hash", "c_hash", "events"] {
        refused(
            judge(with(claims(), member, json!("x"))),
            "an access token, no other kind",
        );
    }
    for kind in ["ID", "Refresh", "Offline", "Logout"] {
        refused(
            judge(with(claims(), "typ", json!(kind))),
            "an access token, no other kind",
        );
    }
    assert!(judge(with(claims(), "typ", json!("Bearer"))).is_ok());
    // Without hashes it is still made out to the client, and a client is no resource.
    let id_token = json!({"iss": ISSUER, "sub": "alice", "aud": "demo", "azp": "demo", "exp": NOW.unix_secs() + 60});
    refused(judge(id_token.clone()), "an access token, no other kind");
    refused(judge(with(id_token.clone(), "azp", Value::Null)), "audience");
    let mut careless = policy.clone();
    careless.audience.push("demo".to_owned());
    refused(
        judge_at(&header, &id_token, &careless, NOW),
        "an access token, no other kind",
    );
    // A token typed at+jwt is judged by its type, also where JWT is taken besides.
    careless.token_types.push("at+jwt".to_owned());
    let header = with(header.clone(), "typ", json!("at+jwt"));
    assert!(judge_at(&header, &with(claims(), "typ", json!("ID")), &careless, NOW).is_ok());
}

#[test]
fn typ_is_compared_without_case_and_in_both_spellings() {
    for typ in ["at+jwt", "AT+JWT", "application/at+jwt", "Application/AT+jwt"] {
        assert!(
            judge(&with(header(es256()), "typ", json!(typ)), &claims()).is_ok(),
            "{typ}"
        );
    }
    refused(
        judge(&with(header(es256()), "typ", json!("at+jwt ")), &claims()),
        "token type permitted",
    );
}

// covers TRAP-26, R7800-2, MTLS-7.2-1
#[test]
fn a_confirmation_that_cannot_be_verified_is_no_bearer_token() {
    for cnf in [
        json!({"jkt": "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4"}),
        json!({"foo": "bar"}),
        json!({}),
        json!({"x5t": "T8Qp8fPmVYqb9iHyzQUaAbxBedY"}),
        json!({"x5t#S256": "T8Qp8fPmVYqb9iHyzQUaAbxBedY"}),
        json!({"x5t#S256": 1}),
        json!("A4DtL2JmUMhAsvJj5tKyn64SqzmuXbMrJa0n761y5v0"),
        json!([]),
        json!(false),
        json!({
            "x5t#S256": "A4DtL2JmUMhAsvJj5tKyn64SqzmuXbMrJa0n761y5v0",
            "jwk": {},
        }),
    ] {
        refused(
            judge(&header(es256()), &with(claims(), "cnf", cnf)),
            "confirmation can be verified",
        );
    }
    let null = claims()
        .to_string()
        .replace("{\"x5t#S256\":\"A4DtL2JmUMhAsvJj5tKyn64SqzmuXbMrJa0n761y5v0\"}", "null");
    let token = sign(es256(), &header(es256()).to_string(), &null);
    let verdict = verify(&token, &policy(), &key_set(&[signer(SignatureAlgorithm::Es256)]), NOW).map(|_| ());
    refused(verdict, "confirmation can be verified");
    // RFC 7800 §3.1: unknown members beside one that is verified are ignored.
    let cnf = json!({"x5t#S256": "A4DtL2JmUMhAsvJj5tKyn64SqzmuXbMrJa0n761y5v0", "foo": 1});
    assert!(judge(&header(es256()), &with(claims(), "cnf", cnf)).is_ok());
}

// covers R7515-1
#[test]
fn a_thumbprint_in_the_header_binds_nothing() {
    let thumbprint = "A4DtL2JmUMhAsvJj5tKyn64SqzmuXbMrJa0n761y5v0";
    let header = with(
        with(header(es256()), "x5t#S256", json!(thumbprint)),
        "x5t",
        json!("T8Qp8fPmVYqb9iHyzQUaAbxBedY"),
    );
    let header = with(header, "cnf", json!({"x5t#S256": thumbprint}));
    let token = sign(
        es256(),
        &header.to_string(),
        &with(claims(), "cnf", Value::Null).to_string(),
    );
    let verified = verify(&token, &policy(), &key_set(&[signer(SignatureAlgorithm::Es256)]), NOW).unwrap();
    assert_eq!(verified.claims().confirmation, None);
}

#[test]
fn keys_in_the_header_are_not_used() {
    let stranger = stranger(SignatureAlgorithm::Es256);
    for (member, value) in [
        ("jwk", stranger.public_jwk().to_json()),
        ("jku", json!("https://evil.example/jwks")),
        ("x5u", json!("https://evil.example/cert")),
        ("x5c", json!(["AAAA"])),
    ] {
        for kid in [es256().key_id(), stranger.key_id()] {
            let header = with(with(header(es256()), member, value.clone()), "kid", json!(kid));
            let token = sign(&stranger, &header.to_string(), &claims().to_string());
            let verdict = verify(&token, &policy(), &key_set(&[signer(SignatureAlgorithm::Es256)]), NOW).map(|_| ());
            let rule = if kid == es256().key_id() {
                "signature"
            } else {
                "signing key known"
            };
            refused(verdict, rule);
        }
        // The genuine key with such a header: the members are ignored, not refused.
        assert!(
            judge(&with(header(es256()), member, value), &claims()).is_ok(),
            "{member}"
        );
    }
}

#[test]
fn duplicate_members_are_refused_in_header_and_claims() {
    let keys = key_set(&[signer(SignatureAlgorithm::Es256)]);
    let twice = |json: Value, member: &str| {
        let first = json[member].to_string();
        format!("{{\"{member}\":{first},{}", &json.to_string()[1..])
    };
    for (header, claims) in [
        (twice(header(es256()), "alg"), claims().to_string()),
        (twice(header(es256()), "typ"), claims().to_string()),
        (header(es256()).to_string(), twice(claims(), "aud")),
        (header(es256()).to_string(), twice(claims(), "cnf")),
        (
            header(es256()).to_string(),
            claims()
                .to_string()
                .replace("{\"x5t#S256\"", "{\"a\":{\"b\":1,\"b\":2},\"x5t#S256\""),
        ),
    ] {
        let token = sign(es256(), &header, &claims);
        refused(verify(&token, &policy(), &keys, NOW).map(|_| ()), "a signed JWT");
    }
}

#[test]
fn the_first_check_on_a_token_is_its_size() {
    let keys = key_set(&[signer(SignatureAlgorithm::Es256)]);
    let padded = |count: usize| {
        let claims = with(claims(), "padding", json!("x".repeat(count)));
        sign(es256(), &header(es256()).to_string(), &claims.to_string())
    };
    let mut count = TOKEN_BYTES_MAX / 4 * 3 - 600;
    while padded(count + 1).len() <= TOKEN_BYTES_MAX {
        count += 1;
    }
    assert!(verify(&padded(count), &policy(), &keys, NOW).is_ok());
    let error = verify(&padded(count + 3), &policy(), &keys, NOW).unwrap_err();
    assert!(matches!(error, AccessTokenError::Signature(JwsError::TooLong)));
}

#[test]
fn what_is_no_token_at_all_is_refused_by_form() {
    for token in [
        "",
        ".",
        "..",
        "...",
        "a.b",
        "a.b.c",
        "a.b.c.d.e",
        "eyJhbGciOiJFUzI1NiJ9..",
        "{}.{}.{}",
    ] {
        let error = UnverifiedAccessToken::parse(token).unwrap_err();
        assert_eq!(error.rule(), "a signed JWT", "{token:?}");
    }
}

#[test]
fn tokens_of_other_issuers_are_read_as_they_are() {
    // Keycloak: azp. Entra: scp as a text. Okta: scp as an array.
    let mut policy = policy();
    policy.token_types = vec!["JWT".to_owned()];
    let header = with(header(es256()), "typ", json!("JWT"));
    for (member, value) in [
        ("scp", json!("read write")),
        ("scp", json!(["read", "write"])),
        ("scope", json!("read write")),
    ] {
        let claims = with(
            with(with(claims(), "scope", Value::Null), "client_id", Value::Null),
            "azp",
            json!("app"),
        );
        let claims = with(
            with(with(claims, member, value), "jti", Value::Null),
            "sub",
            Value::Null,
        );
        let token = sign(es256(), &header.to_string(), &claims.to_string());
        let verified = verify(&token, &policy, &key_set(&[signer(SignatureAlgorithm::Es256)]), NOW).unwrap();
        assert_eq!(verified.claims().client_id.as_deref(), Some("app"));
        assert_eq!(verified.claims().scope, Scope::parse("read write").unwrap());
        assert_eq!(
            (&verified.claims().subject, &verified.claims().token_id),
            (&None, &None)
        );
    }
}

#[test]
fn the_issuer_can_be_read_before_anything_is_verified() {
    let token = sign(
        &stranger(SignatureAlgorithm::Es256),
        &header(es256()).to_string(),
        &claims().to_string(),
    );
    let unverified = UnverifiedAccessToken::parse(&token).unwrap();
    assert_eq!(unverified.unverified_issuer(), Some(ISSUER));
    assert_eq!(unverified.unverified_key_id(), Some(es256().key_id()));
    let token = sign(
        es256(),
        &header(es256()).to_string(),
        &with(claims(), "iss", json!(1)).to_string(),
    );
    assert_eq!(UnverifiedAccessToken::parse(&token).unwrap().unverified_issuer(), None);
}
