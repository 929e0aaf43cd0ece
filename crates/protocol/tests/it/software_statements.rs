//! Software statements (RFC 7591 §2.3): whose count, and what they say.

use keybound_protocol::error_code::ErrorCode;
use keybound_protocol::json::JsonObject;
use keybound_protocol::jws::JwsError;
use keybound_protocol::signer::SignatureAlgorithm;
use keybound_protocol::software_statement::{SoftwareStatement, SoftwareStatementError, SoftwareStatementIssuer};
use serde_json::{Value, json};

use crate::jwt::{NOW, key_set, sign, signer, stranger, with};

const DIRECTORY: &str = "https://directory.example";
const US: [&str; 2] = ["https://as.example", "https://as.example/register"];

fn issuers() -> Vec<SoftwareStatementIssuer> {
    vec![SoftwareStatementIssuer {
        issuer: DIRECTORY.to_owned(),
        keys: key_set(&[
            signer(SignatureAlgorithm::Es256),
            signer(SignatureAlgorithm::Ps256),
            signer(SignatureAlgorithm::Rs256),
        ]),
        algorithms: SignatureAlgorithm::FAPI.into(),
    }]
}

fn claims() -> Value {
    json!({"iss": DIRECTORY, "iat": NOW, "exp": NOW.unix_secs() + 60, "client_name": "Approved", "scope": "read"})
}

fn header(algorithm: &str) -> String {
    json!({"alg": algorithm, "typ": "JWT"}).to_string()
}

fn verify(text: &str) -> Result<SoftwareStatement, SoftwareStatementError> {
    SoftwareStatement::verify(text, &issuers(), &US, NOW)
}

fn signed(claims: &Value) -> String {
    sign(
        &**signer(SignatureAlgorithm::Es256),
        &header("ES256"),
        &claims.to_string(),
    )
}

// covers R7591-5, R7591-6
#[test]
fn only_a_key_of_the_issuer_and_an_algorithm_of_the_configuration_sign() {
    let text = claims().to_string();
    for (name, statement) in [
        (
            "a stranger",
            sign(&stranger(SignatureAlgorithm::Es256), &header("ES256"), &text),
        ),
        (
            "RS256",
            sign(&**signer(SignatureAlgorithm::Rs256), &header("RS256"), &text),
        ),
        (
            "a key of another algorithm",
            sign(&**signer(SignatureAlgorithm::Ps256), &header("ES256"), &text),
        ),
        (
            "none",
            sign(&**signer(SignatureAlgorithm::Es256), &header("none"), &text),
        ),
        (
            "an access token",
            sign(
                &**signer(SignatureAlgorithm::Es256),
                r#"{"alg":"ES256","typ":"at+jwt"}"#,
                &text,
            ),
        ),
        (
            "crit",
            sign(
                &**signer(SignatureAlgorithm::Es256),
                r#"{"alg":"ES256","crit":["b64"],"b64":false}"#,
                &text,
            ),
        ),
        (
            "a key of its own",
            sign(
                &stranger(SignatureAlgorithm::Es256),
                r#"{"alg":"ES256","jku":"https://x.example/"}"#,
                &text,
            ),
        ),
        ("altered", signed(&claims()).replace("eyJ", "eyK")),
        ("empty", String::new()),
    ] {
        let error = verify(&statement).unwrap_err();
        assert_eq!(error.code(), ErrorCode::InvalidSoftwareStatement, "{name} {error}");
    }
    for algorithm in [SignatureAlgorithm::Es256, SignatureAlgorithm::Ps256] {
        let statement = sign(&**signer(algorithm), &header(algorithm.name()), &text);
        assert_eq!(verify(&statement).unwrap().issuer(), DIRECTORY);
    }
    let unconfigured = SoftwareStatement::verify(&signed(&claims()), &[], &US, NOW).unwrap_err();
    assert_eq!(unconfigured.code(), ErrorCode::UnapprovedSoftwareStatement);
    let error = verify(&sign(&stranger(SignatureAlgorithm::Es256), &header("ES256"), &text)).unwrap_err();
    assert!(
        matches!(error, SoftwareStatementError::Signature(JwsError::Signature)),
        "{error}"
    );
}

// covers R7591-5
#[test]
fn each_claim_about_the_statement_is_checked() {
    let at = |secs: i64| json!(NOW.unix_secs() + secs);
    for (claim, value, good) in [
        ("exp", at(-30), false),
        ("exp", at(-29), true),
        ("exp", json!("soon"), false),
        ("nbf", at(31), false),
        ("nbf", at(30), true),
        ("iat", at(31), false),
        ("aud", json!("https://other.example"), false),
        ("aud", json!([]), false),
        ("aud", json!(["https://other.example", US[1]]), true),
        ("aud", json!(US[0]), true),
        ("aud", json!(7), false),
        ("iss", json!(7), false),
    ] {
        let verdict = verify(&signed(&with(claims(), claim, value.clone())));
        assert_eq!(verdict.is_ok(), good, "{claim} {value}");
        if let Err(error) = verdict {
            assert_eq!(error.code(), ErrorCode::InvalidSoftwareStatement, "{error}");
        }
    }
    for issuer in ["https://directory.example/", "https://DIRECTORY.example", ""] {
        let error = verify(&signed(&with(claims(), "iss", json!(issuer)))).unwrap_err();
        assert_eq!(error.code(), ErrorCode::UnapprovedSoftwareStatement, "{issuer:?}");
    }
    let mut nobody = claims();
    nobody.as_object_mut().unwrap().remove("iss");
    assert!(matches!(
        verify(&signed(&nobody)),
        Err(SoftwareStatementError::IssuerMissing)
    ));
    // It may live for ever: RFC 7591 asks for `iss` alone.
    nobody = json!({"iss": DIRECTORY});
    assert!(verify(&signed(&nobody)).is_ok());
}

// covers R7591-6
#[test]
fn what_the_statement_says_wins_and_what_is_about_itself_is_no_metadata() {
    let text = signed(&claims());
    let statement = verify(&text).unwrap();
    assert_eq!(statement.as_str(), text);
    let asserted = JsonObject::parse(br#"{"client_name":"Impostor","contacts":["a@example.org"],"iss":"me"}"#).unwrap();
    let registered = serde_json::to_value(statement.over(asserted)).unwrap();
    let expected = json!({"client_name": "Approved", "contacts": ["a@example.org"], "scope": "read", "iss": "me"});
    assert_eq!(registered, expected);
}
