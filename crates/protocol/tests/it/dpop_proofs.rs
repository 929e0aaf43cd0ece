//! DPoP proofs (RFC 9449 §4): what is one, and the nearest thing that is not.

use keybound_protocol::confirmation::{BindingError, CertificateThumbprint, Confirmation, Possession};
use keybound_protocol::dpop_nonce::{DpopNonceError, DpopNonces};
use keybound_protocol::dpop_proof::{
    DPOP_PROOF_BYTES_MAX, DpopProofError, DpopRequest, NewDpopProof, PROOF_ID_BYTES_MAX, VerifiedDpopProof,
};
use keybound_protocol::error_code::ErrorCode;
use keybound_protocol::http_uri::HttpUri;
use keybound_protocol::jwk::JwkError;
use keybound_protocol::jws::JwsError;
use keybound_protocol::key_thumbprint::KeyThumbprint;
use keybound_protocol::peer_certificate::{PeerCertificate, PresentedCertificate};
use keybound_protocol::rule::Outcome;
use keybound_protocol::signer::{SignatureAlgorithm, Signer};
use keybound_protocol::time::Timestamp;
use serde_json::{Value, json};

use crate::jwt::{NOW, sign, signer, stranger};

const RESOURCE: &str = "https://api.example/photos";
const TOKEN: &str = "Kz~8mXK1EalYznwH-LC-1fBAo.4Ljp~zsPE_NeO.gxU";
const TOKEN_HASH: &str = "fUHyO2r2Z3DZ53EsNrWBb0xWXoaNy59IiKCAqksmQEo";

/// RFC 9449, figures 1 and 12: proofs for the token endpoint and for a resource, by one key.
const RFC_KEY: &str = "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I";
const RFC_TOKEN_PROOF: &str = "eyJ0eXAiOiJkcG9wK2p3dCIsImFsZyI6IkVTMjU2IiwiandrIjp7Imt0eSI6IkVDIiwieCI6Imw4dEZyaHgtMzR0VjNoUklDUkRZOXpDa0RscEJoRjQyVVFVZldWQVdCRnMiLCJ5IjoiOVZFNGpmX09rX282NHpiVFRsY3VOSmFqSG10NnY5VERWclUwQ2R2R1JEQSIsImNydiI6IlAtMjU2In19.eyJqdGkiOiItQndDM0VTYzZhY2MybFRjIiwiaHRtIjoiUE9TVCIsImh0dSI6Imh0dHBzOi8vc2VydmVyLmV4YW1wbGUuY29tL3Rva2VuIiwiaWF0IjoxNTYyMjYyNjE2fQ.2-GxA6T8lP4vfrg8v-FdWP0A0zdrj8igiMLvqRMUvwnQg4PtFLbdLXiOSsX0x7NVY-FNyJK70nfbV37xRZT3Lg";
const RFC_RESOURCE_PROOF: &str = "eyJ0eXAiOiJkcG9wK2p3dCIsImFsZyI6IkVTMjU2IiwiandrIjp7Imt0eSI6IkVDIiwieCI6Imw4dEZyaHgtMzR0VjNoUklDUkRZOXpDa0RscEJoRjQyVVFVZldWQVdCRnMiLCJ5IjoiOVZFNGpmX09rX282NHpiVFRsY3VOSmFqSG10NnY5VERWclUwQ2R2R1JEQSIsImNydiI6IlAtMjU2In19.eyJqdGkiOiJlMWozVl9iS2ljOC1MQUVCIiwiaHRtIjoiR0VUIiwiaHR1IjoiaHR0cHM6Ly9yZXNvdXJjZS5leGFtcGxlLm9yZy9wcm90ZWN0ZWRyZXNvdXJjZSIsImlhdCI6MTU2MjI2MjYxOCwiYXRoIjoiZlVIeU8ycjJaM0RaNTNFc05yV0JiMHhXWG9hTnk1OUlpS0NBcWtzbVFFbyJ9.2oW9RP35yRqzhrtNP86L-Ey71EOptxRimPPToA1plemAgR6pxHF8y6-yqyVnmcw6Fy1dqd-jfxSYoMxhAJpLjA";

fn target(url: &str) -> [HttpUri; 1] {
    [HttpUri::parse(url).unwrap()]
}

fn request(targets: &[HttpUri]) -> DpopRequest<'_> {
    DpopRequest {
        method: "GET",
        targets,
        access_token: Some(TOKEN),
        algorithms: &SignatureAlgorithm::ALL,
        nonces: None,
    }
}

fn header() -> Value {
    let key = signer(SignatureAlgorithm::Es256).public_jwk().public_members();
    json!({"typ": "dpop+jwt", "alg": "ES256", "jwk": key})
}

fn claims() -> Value {
    json!({
        "jti": "e1j3V_bKic8-LAEB",
        "htm": "GET",
        "htu": RESOURCE,
        "iat": NOW.unix_secs(),
        "ath": TOKEN_HASH,
    })
}

fn proof(header: &Value, claims: &Value) -> String {
    sign(
        signer(SignatureAlgorithm::Es256).as_ref(),
        &header.to_string(),
        &claims.to_string(),
    )
}

fn judge(text: &str) -> Result<VerifiedDpopProof, DpopProofError> {
    request(&target(RESOURCE)).verify([text.as_bytes()], NOW)
}

fn with(value: &Value, member: &str, new: Value) -> Value {
    crate::jwt::with(value.clone(), member, new)
}

fn without(value: &Value, member: &str) -> Value {
    with(value, member, Value::Null)
}

/// Refused by this rule and no other, with this code.
#[track_caller]
fn refused(verdict: Result<VerifiedDpopProof, DpopProofError>, rule: usize, code: ErrorCode) -> DpopProofError {
    let error = verdict.unwrap_err();
    let rule = DpopProofError::RULES[rule];
    assert_eq!((error.rule(), error.code()), (rule, code), "{error:?}");
    let rules = error.rules();
    let failed: Vec<_> = rules.iter().filter(|rule| rule.outcome == Outcome::Failed).collect();
    assert_eq!(failed.len(), 1);
    assert_eq!(failed[0].rule, rule);
    assert!(!error.fix().is_empty());
    error
}

#[track_caller]
fn invalid(verdict: Result<VerifiedDpopProof, DpopProofError>, rule: usize) -> DpopProofError {
    refused(verdict, rule, ErrorCode::InvalidDpopProof)
}

// covers R9449-1, R9449-3, R7638-1
#[test]
fn the_proofs_of_the_rfc_are_proofs_by_the_key_of_the_rfc() {
    let key: KeyThumbprint = RFC_KEY.parse().unwrap();
    let targets = target("https://server.example.com/token");
    let token_request = DpopRequest {
        method: "POST",
        access_token: None,
        ..request(&targets)
    };
    let made_at = Timestamp::from_unix_secs(1_562_262_616);
    let proof = token_request.verify([RFC_TOKEN_PROOF.as_bytes()], made_at).unwrap();
    assert_eq!(proof.key(), &key);

    let targets = target("https://resource.example.org/protectedresource");
    let made_at = Timestamp::from_unix_secs(1_562_262_618);
    let verified = request(&targets)
        .verify([RFC_RESOURCE_PROOF.as_bytes()], made_at)
        .unwrap();
    assert_eq!(verified.key(), &key);
    assert_ne!(verified.replay_key(), proof.replay_key());

    // The confirmation of figure 8.
    let cnf = json!({"jkt": RFC_KEY}).to_string();
    let confirmation = Confirmation::parse(cnf.as_bytes()).unwrap();
    assert_eq!(confirmation, Confirmation::key_bound(key));
    assert_eq!(serde_json::to_string(&confirmation).unwrap(), cnf);
}

// covers R9449-1
#[test]
fn each_of_the_twelve_checks_refuses_its_own_offence() {
    let (header, claims) = (header(), claims());
    let good = proof(&header, &claims);
    assert!(judge(&good).is_ok());
    let targets = target(RESOURCE);
    let request = request(&targets);
    let octets = good.as_bytes();

    // 1. One DPoP header.
    refused(request.verify([], NOW), 0, ErrorCode::InvalidRequest);
    assert!(matches!(
        invalid(request.verify([octets, octets], NOW), 0),
        DpopProofError::Repeated
    ));
    // 2. One well-formed JWT in it.
    for text in [
        "",
        "x",
        "a.b.c",
        &format!("{good}, {good}"),
        &format!("{good}."),
        &format!(" {good}"),
        &good.replace('.', "=."),
        "\u{e9}.a.b",
        &"a".repeat(DPOP_PROOF_BYTES_MAX + 1),
    ] {
        invalid(judge(text), 1);
    }
    invalid(request.verify([&b"\xff.a.b"[..]], NOW), 1);
    invalid(judge(&proof(&header, &json!(["jti"]))), 1);
    invalid(judge(&proof(&with(&header, "crit", json!(["x"])), &claims)), 1);
    let twice = claims.to_string().replace('}', r#","htm":"GET"}"#);
    invalid(
        judge(&sign(
            signer(SignatureAlgorithm::Es256).as_ref(),
            &header.to_string(),
            &twice,
        )),
        1,
    );
    // 3. All claims are there, and of their types.
    for claim in ["jti", "htm", "htu", "iat"] {
        invalid(judge(&proof(&header, &without(&claims, claim))), 6);
        invalid(judge(&proof(&header, &with(&claims, claim, json!([1])))), 6);
    }
    // 4. The type.
    for media_type in ["JWT", "at+jwt", "dpop", "application/dpop+jwt", ""] {
        invalid(judge(&proof(&with(&header, "typ", json!(media_type)), &claims)), 3);
    }
    invalid(judge(&proof(&without(&header, "typ"), &claims)), 3);
    // 5. An asymmetric algorithm that is permitted.
    for algorithm in ["none", "HS256", "ES512", "es256"] {
        invalid(judge(&proof(&with(&header, "alg", json!(algorithm)), &claims)), 2);
    }
    let only_eddsa = DpopRequest {
        algorithms: &[SignatureAlgorithm::EdDsa],
        ..request
    };
    invalid(only_eddsa.verify([octets], NOW), 2);
    // 6. The signature is by the key in the header: not by another one, not altered, and of that key's algorithm.
    let other = stranger(SignatureAlgorithm::Es256);
    invalid(judge(&sign(&other, &header.to_string(), &claims.to_string())), 5);
    let swapped = with(&header, "jwk", other.public_jwk().public_members());
    invalid(judge(&proof(&swapped, &claims)), 5);
    let (signing_input, _) = good.rsplit_once('.').unwrap();
    invalid(judge(&format!("{signing_input}.")), 5);
    assert!(matches!(
        invalid(judge(&proof(&with(&header, "alg", json!("ES384")), &claims)), 4),
        DpopProofError::Signature(JwsError::AlgorithmNotOfKey { .. })
    ));
    // 7. A public key, and only that.
    assert!(matches!(
        invalid(judge(&proof(&without(&header, "jwk"), &claims)), 4),
        DpopProofError::KeyMissing
    ));
    let mut private = header.clone();
    private["jwk"]["d"] = json!("AA");
    assert!(matches!(
        invalid(judge(&proof(&private, &claims)), 4),
        DpopProofError::Key(JwkError::PrivateKey("d"))
    ));
    for key in [
        json!({"kty": "oct", "k": "AA"}),
        json!({"kty": "EC", "crv": "secp256k1", "x": "AA", "y": "AA"}),
        json!("x"),
        json!(null),
    ] {
        invalid(judge(&proof(&with(&header, "jwk", key), &claims)), 4);
    }
    // 8. The method, whose case matters.
    for method in ["POST", "get", "GET "] {
        invalid(judge(&proof(&header, &with(&claims, "htm", json!(method)))), 7);
    }
    // 9. The URL.
    for url in [
        "https://api.example/photo",
        "https://api.example/photos/",
        "https://api.example/photos/1",
        "https://api.example/Photos",
        "https://api.example:8443/photos",
        "http://api.example/photos",
        "https://other.example/photos",
        "https://api.example@other.example/photos",
        "https://user@api.example/photos",
        "/photos",
        "api.example/photos",
        "",
    ] {
        invalid(judge(&proof(&header, &with(&claims, "htu", json!(url)))), 8);
    }
    // 11. The time: see below for its edges. 10, the nonce, has its own test.
    for seconds in [-91, 31, -86_400, 86_400] {
        invalid(
            judge(&proof(&header, &with(&claims, "iat", json!(NOW.unix_secs() + seconds)))),
            10,
        );
    }
    // 12. The token: its hash here, its key in `the_key_of_the_proof_is_the_key_of_the_token`.
    invalid(judge(&proof(&header, &without(&claims, "ath"))), 11);
    for hash in [
        "",
        "fUHyO2r2Z3DZ53EsNrWBb0xWXoaNy59IiKCAqksmQEp",
        "fUHyO2r2Z3DZ53EsNrWBb0xWXoaNy59IiKCAqksmQEo=",
        TOKEN,
    ] {
        invalid(judge(&proof(&header, &with(&claims, "ath", json!(hash)))), 11);
    }
    invalid(judge(&proof(&header, &with(&claims, "ath", json!(1)))), 11);
    // And a `jti` that can be remembered.
    for proof_id in [String::new(), "x".repeat(PROOF_ID_BYTES_MAX + 1)] {
        invalid(judge(&proof(&header, &with(&claims, "jti", json!(proof_id)))), 12);
    }
    let longest = "x".repeat(PROOF_ID_BYTES_MAX);
    assert!(judge(&proof(&header, &with(&claims, "jti", json!(longest)))).is_ok());
}

// covers R9449-1
#[test]
fn what_the_sender_may_write_otherwise_makes_no_difference() {
    let (header, claims) = (header(), claims());
    for url in [
        "HTTPS://API.example:443/photos",
        "https://api.example/photos?page=2",
        "https://api.example/photos#top",
        "https://api.example/%70hotos",
        "https://api.example/x/../photos",
    ] {
        assert!(
            judge(&proof(&header, &with(&claims, "htu", json!(url)))).is_ok(),
            "{url}"
        );
    }
    // What nobody asked for is not looked at, a nonce included.
    for (claim, value) in [("nonce", json!("x")), ("exp", json!(1)), ("foo", json!({"bar": []}))] {
        assert!(judge(&proof(&header, &with(&claims, claim, value))).is_ok(), "{claim}");
    }
    assert!(judge(&proof(&with(&header, "typ", json!("DPoP+JWT")), &claims)).is_ok());
    assert!(judge(&proof(&with(&header, "kid", json!("whatever")), &claims)).is_ok());
    for seconds in [-90, 30] {
        let claims = with(&claims, "iat", json!(NOW.unix_secs() + seconds));
        assert!(judge(&proof(&header, &claims)).is_ok(), "{seconds}");
    }
    // An alias is as good as the endpoint itself.
    let targets = ["https://as.example/token", RESOURCE].map(|url| HttpUri::parse(url).unwrap());
    let good = proof(&header, &claims);
    assert!(request(&targets).verify([good.as_bytes()], NOW).is_ok());
}

// covers R9449-1
#[test]
fn every_algorithm_makes_proofs() {
    let targets = target(RESOURCE);
    for algorithm in SignatureAlgorithm::ALL {
        let signer = signer(algorithm);
        let new = NewDpopProof {
            method: "GET",
            target: &targets[0],
            proof_id: "1",
            issued_at: NOW,
            access_token: Some(TOKEN),
            nonce: None,
        };
        let verified = judge(&new.sign(signer.as_ref()).unwrap()).unwrap();
        assert_eq!(
            verified.key(),
            &KeyThumbprint::of_key(signer.public_jwk()),
            "{algorithm}"
        );
    }
}

// covers R9449-5
#[test]
fn a_server_that_demands_a_nonce_takes_only_its_own_recent_ones() {
    let (header, claims) = (header(), claims());
    let nonces = DpopNonces::new(&[1; 32]);
    let targets = target(RESOURCE);
    let demanding = DpopRequest {
        nonces: Some(&nonces),
        ..request(&targets)
    };
    let judge = |claims: &Value, now| demanding.verify([proof(&header, claims).as_bytes()], now);
    let challenged = |verdict| refused(verdict, 9, ErrorCode::UseDpopNonce);
    assert!(matches!(challenged(judge(&claims, NOW)), DpopProofError::NonceMissing));
    let foreign = DpopNonces::new(&[2; 32]).current(NOW);
    assert!(matches!(
        challenged(judge(&with(&claims, "nonce", json!(foreign)), NOW)),
        DpopProofError::Nonce(DpopNonceError::Unknown)
    ));
    let old = nonces.current(NOW.minus(std::time::Duration::from_secs(600)));
    assert!(matches!(
        challenged(judge(&with(&claims, "nonce", json!(old)), NOW)),
        DpopProofError::Nonce(DpopNonceError::Old)
    ));
    invalid(judge(&with(&claims, "nonce", json!(7)), NOW), 9);

    let with_nonce = with(&claims, "nonce", json!(nonces.current(NOW)));
    assert!(!judge(&with_nonce, NOW).unwrap().has_earlier_nonce());
    // A minute later it still counts, and is to be replaced.
    let later = NOW.plus(std::time::Duration::from_secs(60));
    assert!(judge(&with_nonce, later).unwrap().has_earlier_nonce());
    // The nonce does not make an old proof young.
    invalid(judge(&with_nonce, NOW.plus(std::time::Duration::from_secs(120))), 10);
}

// covers R9449-1
#[test]
fn two_proofs_are_one_exactly_when_key_and_id_are_the_same() {
    let (header, claims) = (header(), claims());
    let first = judge(&proof(&header, &claims)).unwrap();
    // Signed again, made a second later: the same id of the same key.
    let again = judge(&proof(&header, &with(&claims, "iat", json!(NOW.unix_secs() + 1)))).unwrap();
    assert_eq!(first.replay_key(), again.replay_key());
    let other_id = judge(&proof(&header, &with(&claims, "jti", json!("e1j3V_bKic8-LAEC")))).unwrap();
    assert_ne!(first.replay_key(), other_id.replay_key());
    let other = stranger(SignatureAlgorithm::Es256);
    let theirs = with(&header, "jwk", other.public_jwk().public_members());
    let other_key = judge(&sign(&other, &theirs.to_string(), &claims.to_string())).unwrap();
    assert_ne!(first.replay_key(), other_key.replay_key());
    // Remembered for as long as anybody could take it.
    let last_moment = NOW.plus(std::time::Duration::from_secs(90));
    assert!(first.remember_until() > last_moment);
}

// covers R9449-4, R9449-7, TRAP-26, T2, R7800-1
#[test]
fn the_key_of_the_proof_is_the_key_of_the_token() {
    let own = judge(&proof(&header(), &claims())).unwrap();
    let thief = stranger(SignatureAlgorithm::Es256);
    let theirs = with(&header(), "jwk", thief.public_jwk().public_members());
    let theirs = judge(&sign(&thief, &theirs.to_string(), &claims().to_string())).unwrap();

    let certificate = |der: &[u8]| {
        PresentedCertificate::from_peer(PeerCertificate::assert_possession_proven(der.to_vec(), Vec::new()))
    };
    let (certificate, other, none) = (certificate(b"own"), certificate(b"other"), PresentedCertificate::None);
    let thumbprint = CertificateThumbprint::of_certificate(b"own");
    let by_certificate = Confirmation::certificate_bound(thumbprint);
    let by_key = Confirmation::key_bound(*own.key());
    let by_both = Confirmation::CertificateAndKey {
        certificate: thumbprint,
        key: *own.key(),
    };
    let check = |confirmation: Confirmation, certificate, proof, expected: Result<(), fn(&BindingError) -> bool>| {
        let verdict = confirmation.verify(Possession { certificate, proof });
        match (verdict, expected) {
            (Ok(proof), Ok(())) => {
                assert_eq!(
                    (proof.certificate(), proof.key()),
                    (confirmation.certificate(), confirmation.key())
                );
            }
            (Err(error), Err(is_expected)) => assert!(is_expected(&error), "{confirmation:?} {error:?}"),
            (verdict, _) => panic!("{confirmation:?} {certificate:?} {proof:?}: {verdict:?}"),
        }
    };
    let no_proof: fn(&BindingError) -> bool = |error| matches!(error, BindingError::NoProof);
    let wrong_key: fn(&BindingError) -> bool = |error| matches!(error, BindingError::KeyMismatch { .. });
    let not_to_key: fn(&BindingError) -> bool = |error| matches!(error, BindingError::NotBoundToKey);
    let wrong_certificate: fn(&BindingError) -> bool = |error| matches!(error, BindingError::Mismatch { .. });
    let no_certificate: fn(&BindingError) -> bool = |error| matches!(error, BindingError::NoCertificate);

    // A certificate replaces no proof, and a proof no certificate.
    for presented in [&none, &certificate, &other] {
        check(by_key, presented, None, Err(no_proof));
        check(by_key, presented, Some(&theirs), Err(wrong_key));
        // What the connection carries beside is nobody's business.
        check(by_key, presented, Some(&own), Ok(()));
        check(by_certificate, presented, Some(&own), Err(not_to_key));
    }
    check(by_certificate, &none, None, Err(no_certificate));
    check(by_certificate, &other, None, Err(wrong_certificate));
    check(by_certificate, &certificate, None, Ok(()));
    // One that names both needs both.
    check(by_both, &certificate, None, Err(no_proof));
    check(by_both, &certificate, Some(&theirs), Err(wrong_key));
    check(by_both, &none, Some(&own), Err(no_certificate));
    check(by_both, &other, Some(&own), Err(wrong_certificate));
    check(by_both, &certificate, Some(&own), Ok(()));
}
