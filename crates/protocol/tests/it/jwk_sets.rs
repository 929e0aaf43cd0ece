//! Keys and certificates in JWKs (RFC 7517, RFC 8705 §2.2.2).

use keybound_protocol::base64url;
use keybound_protocol::jwk::{Jwk, JwkError};
use keybound_protocol::jwk_set::{JWK_SET_BYTES_MAX, JWK_SET_KEYS_MAX, JwkSet, JwkSetError};
use keybound_protocol::public_key::PublicKeyError;
use keybound_protocol::signer::{SignatureAlgorithm, Signer};
use rcgen::{CertificateParams, KeyPair};
use serde_json::{Value, json};

use crate::jwt::{signer, with};

/// RFC 8705 Appendix A, the wrapping of the printed `x5c` undone.
pub(crate) const APPENDIX_A_JWK: &str = r#"{"kty":"EC","x":"1yfLHCpXqFjxCeHHHMVDTcLscpb07KUxudBmOMn8C7Q","y":"8_coZwxS7LfA4vOLS9WuneIXhbGGWvsDSb0tH6IxLm8","crv":"P-256","x5c":["MIIBBjCBrAIBAjAKBggqhkjOPQQDAjAPMQ0wCwYDVQQDDARtdGxzMB4XDTE4MTAxODEyMzcwOVoXDTIyMDUwMjEyMzcwOVowDzENMAsGA1UEAwwEbXRsczBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABNcnyxwqV6hY8QnhxxzFQ03C7HKW9OylMbnQZjjJ/Au08/coZwxS7LfA4vOLS9WuneIXhbGGWvsDSb0tH6IxLm8wCgYIKoZIzj0EAwIDSQAwRgIhAP0RC1E+vwJD/D1AGHGzuri+hlV/PpQEKTWUVeORWz83AiEA5x2eXZOVbUlJSGQgjwD5vaUaKlLR50Q2DmFfQj1L+SY="]}"#;

fn appendix_a() -> Value {
    serde_json::from_str(APPENDIX_A_JWK).unwrap()
}

fn parse(jwk: &Value) -> Result<Jwk, JwkError> {
    Jwk::parse(jwk.to_string().as_bytes())
}

/// A self-signed certificate for each kind of key that certificates have, DER.
pub(crate) fn certificates() -> Vec<Vec<u8>> {
    [
        &rcgen::PKCS_ECDSA_P256_SHA256,
        &rcgen::PKCS_ECDSA_P384_SHA384,
        &rcgen::PKCS_ECDSA_P521_SHA512,
        &rcgen::PKCS_ED25519,
        &rcgen::PKCS_RSA_SHA256,
    ]
    .into_iter()
    .map(|algorithm| {
        let key = KeyPair::generate_for(algorithm).unwrap();
        CertificateParams::new(vec!["demo.example".into()])
            .unwrap()
            .self_signed(&key)
            .unwrap()
            .der()
            .to_vec()
    })
    .collect()
}

// covers MTLS-A-2, MTLS-2.2.2-2, MTLS-2.2.2-4
#[test]
fn the_appendix_jwk_holds_the_appendix_certificate_and_its_key() {
    let jwk = Jwk::parse(APPENDIX_A_JWK.as_bytes()).unwrap();
    assert_eq!(jwk.certificates().len(), 1);
    assert_eq!(jwk.certificates()[0].len(), 266);
    assert_eq!(
        jwk.public_key(),
        Jwk::for_certificate(&jwk.certificates()[0]).unwrap().public_key()
    );
    assert_eq!(jwk.to_json(), appendix_a());
}

// covers MTLS-2.2.2-3
#[test]
fn a_jwk_with_only_a_certificate_is_refused() {
    for member in ["kty", "crv", "x", "y"] {
        let error = parse(&with(appendix_a(), member, Value::Null)).unwrap_err();
        assert!(
            matches!(error, JwkError::Missing(missing) if missing == member),
            "{member}: {error}"
        );
    }
    assert!(matches!(
        parse(&json!({"x5c": appendix_a()["x5c"]})),
        Err(JwkError::Missing("kty"))
    ));
}

// covers MTLS-2.2.2-4, TRAP-41
#[test]
fn a_certificate_of_another_key_is_refused() {
    for certificate in certificates() {
        let x5c = json!([base64url::encode_standard(&certificate)]);
        let error = parse(&with(appendix_a(), "x5c", x5c.clone())).unwrap_err();
        assert!(matches!(error, JwkError::CertificateKeyMismatch));
        // Beside its own key it is accepted, whatever the kind.
        let jwk = Jwk::for_certificate(&certificate).unwrap().to_json();
        assert_eq!(jwk["x5c"], x5c);
        assert_eq!(parse(&jwk).unwrap().certificates(), [certificate]);
    }
    // The first certificate decides: the right one in second place does not help.
    let other = base64url::encode_standard(&certificates()[0]);
    let error = parse(&with(appendix_a(), "x5c", json!([other, appendix_a()["x5c"][0]]))).unwrap_err();
    assert!(matches!(error, JwkError::CertificateKeyMismatch));
}

// covers TRAP-41
#[test]
fn x5c_is_standard_base64_and_nothing_else() {
    let text = appendix_a()["x5c"][0].as_str().unwrap().to_owned();
    for wrong in [
        text.replace('+', "-").replace('/', "_"),
        text.trim_end_matches('=').to_owned(),
        format!("{}\n{}", &text[..64], &text[64..]),
        format!(" {text}"),
        format!("{text}="),
    ] {
        let error = parse(&with(appendix_a(), "x5c", json!([wrong]))).unwrap_err();
        assert!(matches!(error, JwkError::CertificateBase64(_)), "{wrong}");
    }
    for (wrong, count) in [(json!([]), 0), (json!(vec![text.clone(); 9]), 9)] {
        assert!(matches!(parse(&with(appendix_a(), "x5c", wrong)), Err(JwkError::CertificateCount(n)) if n == count));
    }
    assert!(matches!(
        parse(&with(appendix_a(), "x5c", json!(text))),
        Err(JwkError::Type(_))
    ));
    assert!(matches!(
        parse(&with(appendix_a(), "x5c", json!(["AAAA"]))),
        Err(JwkError::Certificate(_))
    ));
}

#[test]
fn x5t_s256_has_to_be_the_first_certificates() {
    let right = "A4DtL2JmUMhAsvJj5tKyn64SqzmuXbMrJa0n761y5v0";
    assert!(parse(&with(appendix_a(), "x5t#S256", json!(right))).is_ok());
    let other = right.replace('A', "B");
    assert!(matches!(
        parse(&with(appendix_a(), "x5t#S256", json!(other))),
        Err(JwkError::ThumbprintMismatch)
    ));
    assert!(matches!(
        parse(&with(appendix_a(), "x5t#S256", json!("x"))),
        Err(JwkError::Thumbprint(_))
    ));
}

#[test]
fn private_and_symmetric_keys_are_refused_wherever_they_turn_up() {
    for member in ["d", "p", "q", "dp", "dq", "qi", "oth", "k"] {
        let jwk = with(appendix_a(), member, json!("AQAB"));
        assert!(matches!(parse(&jwk), Err(JwkError::PrivateKey(own)) if own == member));
        let set = JwkSet::parse(json!({"keys": [jwk]}).to_string().as_bytes());
        assert!(matches!(set, Err(JwkSetError::Key { position: 0, .. })));
    }
    assert!(matches!(
        parse(&json!({"kty": "oct", "k": "AQAB"})),
        Err(JwkError::PrivateKey("k"))
    ));
}

#[test]
fn key_members_have_one_spelling() {
    let rsa = signer(SignatureAlgorithm::Rs256).public_jwk().to_json();
    let n = base64url::decode(rsa["n"].as_str().unwrap()).unwrap();
    let padded = base64url::encode(&[&[0][..], &n].concat());
    assert!(matches!(
        parse(&with(rsa.clone(), "n", json!(padded))),
        Err(JwkError::Key(PublicKeyError::Rsa))
    ));
    assert!(matches!(
        parse(&with(rsa.clone(), "e", json!("AAEAAQ"))),
        Err(JwkError::Key(PublicKeyError::Rsa))
    ));
    assert!(matches!(
        parse(&with(rsa, "e", json!("AQAB="))),
        Err(JwkError::Base64url { member: "e", .. })
    ));
    let x = base64url::encode(&[1; 31]);
    assert!(matches!(
        parse(&with(appendix_a(), "x", json!(x))),
        Err(JwkError::Key(PublicKeyError::Point))
    ));
    let swapped = with(appendix_a(), "x", appendix_a()["y"].clone());
    assert!(matches!(parse(&swapped), Err(JwkError::Key(PublicKeyError::Point))));
    assert!(matches!(
        parse(&with(appendix_a(), "alg", json!("RS256"))),
        Err(JwkError::AlgorithmMismatch {
            algorithm: SignatureAlgorithm::Rs256
        })
    ));
    assert!(matches!(
        Jwk::parse(br#"{"kty":"EC","kty":"RSA"}"#),
        Err(JwkError::Json(_))
    ));
}

// covers R-FAPI-11
#[test]
fn small_rsa_keys_and_unknown_kinds_are_passed_over_in_a_set() {
    let es256 = signer(SignatureAlgorithm::Es256).public_jwk().to_json();
    let small = json!({"kty": "RSA", "kid": "small", "n": base64url::encode(&[0xff; 128]), "e": "AQAB"});
    let set = json!({"keys": [
        small,
        {"kty": "OKP", "crv": "X25519", "kid": "encrypt", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"},
        {"kty": "EC", "crv": "secp256k1", "x": "", "y": ""},
        {"kty": "AKP", "alg": "ML-DSA-44", "pub": "AAAA"},
        es256,
    ]});
    let set = JwkSet::parse(set.to_string().as_bytes()).unwrap();
    assert_eq!(set.keys().len(), 1);
    assert_eq!(set.skipped().len(), 4);
    assert_eq!(set.skipped()[0].key_id.as_deref(), Some("small"));
    assert_eq!(set.skipped()[0].reason, "an RSA key of 1024 bits is not permitted");
    assert!(!set.contains_key_id("small"));
}

// covers R-FAPI-11
#[test]
fn two_keys_of_one_kid_have_to_differ_in_what_they_are_for() {
    let set = |keys: Value| JwkSet::parse(json!({"keys": keys}).to_string().as_bytes());
    let key = |algorithm: SignatureAlgorithm| with(signer(algorithm).public_jwk().to_json(), "kid", json!("same"));
    let other = with(
        crate::jwt::stranger(SignatureAlgorithm::Es256).public_jwk().to_json(),
        "kid",
        json!("same"),
    );
    let es256 = key(SignatureAlgorithm::Es256);

    let error = set(json!([es256, other])).unwrap_err();
    assert!(matches!(error, JwkSetError::DuplicateKeyId(kid) if kid == "same"));
    // Resolved by kty, by use, by alg, and by being the same key.
    assert!(
        set(json!([
            es256,
            key(SignatureAlgorithm::EdDsa),
            key(SignatureAlgorithm::Es384)
        ]))
        .is_ok()
    );
    assert!(set(json!([es256, with(other, "use", json!("enc"))])).is_ok());
    assert!(set(json!([key(SignatureAlgorithm::Ps256), key(SignatureAlgorithm::Rs256)])).is_ok());
    assert!(set(json!([es256, es256])).is_ok());
    // An RSA key without `alg` verifies both RSA algorithms.
    let any_rsa = with(key(SignatureAlgorithm::Rs256), "alg", Value::Null);
    assert!(matches!(
        set(json!([key(SignatureAlgorithm::Ps256), any_rsa])),
        Err(JwkSetError::DuplicateKeyId(_))
    ));
}

#[test]
fn a_set_is_an_object_with_an_array_of_objects() {
    for set in [
        "[]",
        "{}",
        r#"{"keys":{}}"#,
        r#"{"keys":[1]}"#,
        r#"{"keys":[],"keys":[]}"#,
        "",
        r#"{"keys":null}"#,
    ] {
        assert!(JwkSet::parse(set.as_bytes()).is_err(), "{set}");
    }
    assert!(JwkSet::parse(br#"{"keys":[]}"#).unwrap().keys().is_empty());
}

#[test]
fn a_set_is_bounded() {
    let set = |count: usize| json!({"keys": vec![json!({"kty": "none"}); count]}).to_string();
    assert!(JwkSet::parse(set(JWK_SET_KEYS_MAX).as_bytes()).is_ok());
    assert!(matches!(
        JwkSet::parse(set(JWK_SET_KEYS_MAX + 1).as_bytes()),
        Err(JwkSetError::TooManyKeys(101))
    ));
    let mut document = br#"{"keys":[]}"#.to_vec();
    document.resize(JWK_SET_BYTES_MAX, b' ');
    assert!(JwkSet::parse(&document).is_ok());
    document.push(b' ');
    assert!(matches!(JwkSet::parse(&document), Err(JwkSetError::TooLarge(_))));
}
