//! JWS against the RFCs' own examples and against another implementation, in both directions.

use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use keybound_protocol::access_token::{AccessTokenEncoder, IssuedClaims, PreparedSigner, TokenId, verify};
use keybound_protocol::client::ClientId;
use keybound_protocol::confirmation::{CertificateThumbprint, Confirmation};
use keybound_protocol::issuer::Issuer;
use keybound_protocol::jwk::Jwk;
use keybound_protocol::jwk_set::JwkSet;
use keybound_protocol::jws::{JwsError, JwsPolicy, UnverifiedJws};
use keybound_protocol::resource::ResourceUri;
use keybound_protocol::scope::Scope;
use keybound_protocol::signer::{SignatureAlgorithm, Signer};
use serde_json::{Value, json};

use crate::access_tokens::policy;
use crate::jwt::{ISSUER, NOW, RESOURCE, claims, header, key_set, sign, signer, stranger};

/// RFC 7515 A.3.
const ES256_KEY: &str = r#"{"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}"#;
const ES256_JWS: &str = "eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q";
/// RFC 7515 A.2.
const RS256_KEY: &str = r#"{"kty":"RSA","n":"ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ","e":"AQAB"}"#;
const RS256_JWS: &str = "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw";
/// RFC 8037 A.2, A.4.
const EDDSA_KEY: &str = r#"{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#;
const EDDSA_JWS: &str = "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc.hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg";

fn any_type(algorithms: &[SignatureAlgorithm]) -> JwsPolicy<'_> {
    JwsPolicy {
        algorithms,
        types: &["at+jwt"],
        type_may_be_missing: true,
    }
}

fn set(jwk: &str) -> JwkSet {
    JwkSet::new(vec![Jwk::parse(jwk.as_bytes()).unwrap()]).unwrap()
}

#[test]
fn verifies_the_examples_of_rfc_7515_and_rfc_8037() {
    for (key, jws, payload) in [
        (
            ES256_KEY,
            ES256_JWS,
            "{\"iss\":\"joe\",\r\n \"exp\":1300819380,\r\n \"http://example.com/is_root\":true}",
        ),
        (
            RS256_KEY,
            RS256_JWS,
            "{\"iss\":\"joe\",\r\n \"exp\":1300819380,\r\n \"http://example.com/is_root\":true}",
        ),
        (EDDSA_KEY, EDDSA_JWS, "Example of Ed25519 signing"),
    ] {
        let parsed = UnverifiedJws::parse(jws).unwrap();
        let keys = set(key);
        let verified = parsed.verify(&any_type(&SignatureAlgorithm::ALL), &keys).unwrap();
        assert_eq!(verified.payload(), payload.as_bytes());
    }
}

#[test]
fn refuses_the_examples_under_each_others_keys() {
    let examples = [(ES256_KEY, ES256_JWS), (RS256_KEY, RS256_JWS), (EDDSA_KEY, EDDSA_JWS)];
    for (position, (key, _)) in examples.iter().enumerate() {
        for (other, (_, jws)) in examples.iter().enumerate() {
            let accepted = UnverifiedJws::parse(jws)
                .unwrap()
                .verify(&any_type(&SignatureAlgorithm::ALL), &set(key))
                .is_ok();
            assert_eq!(accepted, position == other);
        }
    }
}

// covers R8725-1, R-FAPI-11
#[test]
fn refuses_an_algorithm_that_the_caller_does_not_list() {
    for (key, jws, algorithm) in [
        (ES256_KEY, ES256_JWS, SignatureAlgorithm::Es256),
        (RS256_KEY, RS256_JWS, SignatureAlgorithm::Rs256),
        (EDDSA_KEY, EDDSA_JWS, SignatureAlgorithm::EdDsa),
    ] {
        let others: Vec<_> = SignatureAlgorithm::ALL
            .into_iter()
            .filter(|own| *own != algorithm)
            .collect();
        let error = UnverifiedJws::parse(jws)
            .unwrap()
            .verify(&any_type(&others), &set(key))
            .unwrap_err();
        assert!(matches!(error, JwsError::AlgorithmNotAllowed { presented } if presented == algorithm.name()));
    }
    let error = UnverifiedJws::parse(RS256_JWS)
        .unwrap()
        .verify(&any_type(&SignatureAlgorithm::FAPI), &set(RS256_KEY))
        .unwrap_err();
    assert!(matches!(error, JwsError::AlgorithmNotAllowed { .. }));
}

// covers R8725-1
#[test]
fn a_key_verifies_the_algorithm_that_it_is_registered_for_and_no_other() {
    // One RSA key can compute both PS256 and RS256; `alg` in the JWK decides, the header does not.
    let ps256 = signer(SignatureAlgorithm::Ps256);
    let rs256_jwk = crate::jwt::with(ps256.public_jwk().to_json(), "alg", json!("RS256"));
    let keys = set(&rs256_jwk.to_string());
    let token = sign(ps256.as_ref(), &header(ps256.as_ref()).to_string(), "{}");
    let error = UnverifiedJws::parse(&token)
        .unwrap()
        .verify(&any_type(&SignatureAlgorithm::ALL), &keys)
        .unwrap_err();
    assert!(matches!(
        error,
        JwsError::AlgorithmNotOfKey {
            algorithm: SignatureAlgorithm::Ps256,
            ..
        }
    ));
    // Without `alg` the kind of key decides.
    let keys = set(&crate::jwt::with(rs256_jwk, "alg", Value::Null).to_string());
    assert!(
        UnverifiedJws::parse(&token)
            .unwrap()
            .verify(&any_type(&SignatureAlgorithm::ALL), &keys)
            .is_ok()
    );
}

#[test]
fn a_key_for_encryption_or_without_verify_verifies_nothing() {
    let es256 = signer(SignatureAlgorithm::Es256);
    let token = sign(es256.as_ref(), &header(es256.as_ref()).to_string(), "{}");
    for (member, value) in [
        ("use", json!("enc")),
        ("key_ops", json!(["sign"])),
        ("alg", json!("ECDH-ES")),
    ] {
        let keys = set(&crate::jwt::with(es256.public_jwk().to_json(), member, value).to_string());
        let error = UnverifiedJws::parse(&token)
            .unwrap()
            .verify(&any_type(&SignatureAlgorithm::ALL), &keys)
            .unwrap_err();
        assert!(matches!(error, JwsError::AlgorithmNotOfKey { .. }), "{member}");
    }
}

#[test]
fn a_token_without_kid_finds_its_key_and_one_with_a_foreign_kid_does_not() {
    let es256 = signer(SignatureAlgorithm::Es256);
    let keys = key_set(&[signer(SignatureAlgorithm::Ps256), es256]);
    let policy = any_type(&SignatureAlgorithm::ALL);
    let verified = |header: Value| {
        let token = sign(es256.as_ref(), &header.to_string(), "{}");
        UnverifiedJws::parse(&token).unwrap().verify(&policy, &keys).map(|_| ())
    };
    assert!(verified(json!({"alg": "ES256"})).is_ok());
    assert!(matches!(
        verified(json!({"alg": "ES256", "kid": "x"})),
        Err(JwsError::UnknownKey { .. })
    ));
    assert!(matches!(
        verified(json!({"alg": "ES256", "kid": ""})),
        Err(JwsError::UnknownKey { .. })
    ));
    let foreign = json!({"alg": "ES256", "kid": signer(SignatureAlgorithm::Ps256).key_id()});
    assert!(matches!(verified(foreign), Err(JwsError::AlgorithmNotOfKey { .. })));
}

fn oracle_algorithm(algorithm: SignatureAlgorithm) -> Algorithm {
    match algorithm {
        SignatureAlgorithm::Es256 => Algorithm::ES256,
        SignatureAlgorithm::Es384 => Algorithm::ES384,
        SignatureAlgorithm::EdDsa => Algorithm::EdDSA,
        SignatureAlgorithm::Ps256 => Algorithm::PS256,
        SignatureAlgorithm::Rs256 => Algorithm::RS256,
    }
}

// covers R9068-1
#[test]
fn another_implementation_reads_our_tokens() {
    let issuer = Issuer::parse(ISSUER).unwrap();
    let encoder = AccessTokenEncoder::new(&issuer, &ClientId::parse("de\"mo\\").unwrap());
    let confirmation = Confirmation::certificate_bound(CertificateThumbprint::of_certificate(b"certificate"));
    for algorithm in SignatureAlgorithm::ALL {
        let signer = signer(algorithm);
        let token = encoder
            .encode(
                &PreparedSigner::new(signer.clone()),
                &IssuedClaims {
                    audience: &[
                        ResourceUri::parse(RESOURCE).unwrap(),
                        ResourceUri::parse("urn:b").unwrap(),
                    ],
                    scope: &Scope::parse("read write").unwrap(),
                    issued_at: NOW,
                    expires_at: NOW.plus(std::time::Duration::from_secs(300)),
                    token_id: &TokenId::from_random([7; 16]),
                    confirmation: Some(&confirmation),
                    on_behalf_of: None,
                },
            )
            .unwrap();
        let mut validation = Validation::new(oracle_algorithm(algorithm));
        validation.set_audience(&[RESOURCE]);
        validation.set_issuer(&[ISSUER]);
        validation.validate_exp = false;
        let key = |jwk: Value| DecodingKey::from_jwk(&serde_json::from_value(jwk).unwrap()).unwrap();
        let published = key(signer.public_jwk().to_json());
        let read = jsonwebtoken::decode::<Value>(&token, &published, &validation).unwrap();
        assert_eq!(read.header.typ.as_deref(), Some("at+jwt"));
        assert_eq!(read.header.kid.as_deref(), Some(signer.key_id()));
        assert_eq!(
            read.claims,
            json!({
                "iss": ISSUER,
                "sub": "de\"mo\\",
                "client_id": "de\"mo\\",
                "aud": [RESOURCE, "urn:b"],
                "scope": "read write",
                "iat": NOW,
                "exp": NOW.unix_secs() + 300,
                "jti": "BwcHBwcHBwcHBwcHBwcHBw",
                "cnf": {"x5t#S256": confirmation.certificate()},
            })
        );
        // Under another key it is a forgery, for both implementations.
        let other = stranger(algorithm);
        assert!(jsonwebtoken::decode::<Value>(&token, &key(other.public_jwk().to_json()), &validation).is_err());
        assert!(
            verify(
                &token,
                &policy(),
                &JwkSet::new(vec![other.public_jwk().clone()]).unwrap(),
                NOW
            )
            .is_err()
        );
    }
}

#[test]
fn we_read_another_implementations_tokens() {
    for algorithm in SignatureAlgorithm::ALL {
        let signer = signer(algorithm);
        let base64 = keybound_protocol::base64url::encode_standard(&signer.to_pkcs8().unwrap());
        let pem = format!("-----BEGIN PRIVATE KEY-----\n{base64}\n-----END PRIVATE KEY-----\n");
        let key = match algorithm {
            SignatureAlgorithm::Es256 | SignatureAlgorithm::Es384 => EncodingKey::from_ec_pem(pem.as_bytes()),
            SignatureAlgorithm::EdDsa => EncodingKey::from_ed_pem(pem.as_bytes()),
            SignatureAlgorithm::Ps256 | SignatureAlgorithm::Rs256 => EncodingKey::from_rsa_pem(pem.as_bytes()),
        }
        .unwrap();
        let mut header = Header::new(oracle_algorithm(algorithm));
        header.typ = Some("at+jwt".into());
        header.kid = Some(signer.key_id().into());
        let token = jsonwebtoken::encode(&header, &claims(), &key).unwrap();
        let verified = verify(&token, &policy(), &key_set(&[signer]), NOW).unwrap();
        assert_eq!(verified.claims().client_id.as_deref(), Some("demo"), "{algorithm}");
    }
}

// covers R7638-1, MTLS-A-3
#[test]
fn a_jwk_thumbprint_names_the_key() {
    let rsa = r#"{"kty":"RSA","n":"0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw","e":"AQAB","alg":"RS256","kid":"2011-04-29"}"#;
    for (jwk, thumbprint) in [
        (rsa, "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"),
        (EDDSA_KEY, "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"),
        (
            crate::jwk_sets::APPENDIX_A_JWK,
            "Fvi_j8Immo6AlgIwpZKqaXnNP_9b09pLKkQHObRebQY",
        ),
    ] {
        let jwk = Jwk::parse(jwk.as_bytes()).unwrap();
        assert_eq!(keybound_protocol::base64url::encode(&jwk.thumbprint()), thumbprint);
    }
}
