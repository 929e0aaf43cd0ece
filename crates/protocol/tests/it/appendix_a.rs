//! The example of RFC 8705 Appendix A, and values computed from it that must not be mistaken for its thumbprint.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use keybound_protocol::certificate::{Certificate, PublicKeyKind, Version, subject_public_key_info};
use keybound_protocol::certificate_file;
use keybound_protocol::confirmation::{BindingError, CertificateThumbprint, Confirmation};
use keybound_protocol::jwk::Jwk;
use keybound_protocol::jwk_set::JwkSet;
use serde_json::json;

use crate::pki::{NOW, presented};

const PEM: &str = include_str!("../../../../testdata/rfc8705-appendix-a.pem");
const THUMBPRINT: &str = "A4DtL2JmUMhAsvJj5tKyn64SqzmuXbMrJa0n761y5v0";

fn der() -> Vec<u8> {
    certificate_file::certificates(PEM.as_bytes()).unwrap().remove(0)
}

// covers MTLS-A-1, MTLS-3.1-2, MTLS-3.1-3, MTLS-3.1-4
#[test]
fn the_certificate_has_the_printed_thumbprint() {
    let thumbprint = CertificateThumbprint::of_certificate(&der());
    assert_eq!(thumbprint.to_string(), THUMBPRINT);
    assert_eq!(
        thumbprint.to_hex(),
        "0380ed2f626650c840b2f263e6d2b29fae12ab39ae5db32b25ad27efad72e6fd"
    );
    assert_eq!(der().len(), 266);
}

// covers MTLS-A-3, MTLS-7.2-1, R7638-1, TRAP-1
#[test]
fn hashes_of_other_things_are_not_its_thumbprint() {
    let presented = presented(&der(), &[]);
    let check = |text: &str| match text.parse::<CertificateThumbprint>() {
        Err(_) => {}
        Ok(thumbprint) => {
            let verdict = Confirmation::certificate_bound(thumbprint).verify(&presented);
            assert!(matches!(verdict, Err(BindingError::Mismatch { .. })), "{text}");
        }
    };
    // The key: RFC 7638 thumbprint, SPKI SHA-256 in both alphabets. SHA-1. Hexadecimal. Padded. Standard base64.
    check("Fvi_j8Immo6AlgIwpZKqaXnNP_9b09pLKkQHObRebQY");
    check("Wfn777VsDXE+cW3Wvzm7CuMw6D6h15KRhVqq3o80H48=");
    check("Wfn777VsDXE-cW3Wvzm7CuMw6D6h15KRhVqq3o80H48");
    check("4FC429F1F3E6558A9BF621F2CD051A01BC4179D6");
    check("0380ed2f626650c840b2f263e6d2b29fae12ab39ae5db32b25ad27efad72e6fd");
    check(&format!("{THUMBPRINT}="));
    check(&URL_SAFE_NO_PAD.encode(CertificateThumbprint::of_certificate(PEM.as_bytes()).as_bytes()));
    check(&URL_SAFE_NO_PAD.encode(CertificateThumbprint::of_certificate(PEM.trim().as_bytes()).as_bytes()));
    assert!(
        Confirmation::certificate_bound(THUMBPRINT.parse().unwrap())
            .verify(&presented)
            .is_ok()
    );

    let spki = CertificateThumbprint::of_certificate(subject_public_key_info(&der()).unwrap());
    assert_eq!(
        STANDARD.encode(spki.as_bytes()),
        "Wfn777VsDXE+cW3Wvzm7CuMw6D6h15KRhVqq3o80H48="
    );
}

// covers MTLS-A-4, TRAP-44, FAPI-23
#[test]
fn it_is_an_expired_version_1_certificate_and_reads_well() {
    let der = der();
    let certificate = Certificate::parse(&der).unwrap();
    assert_eq!(certificate.version(), Version::V1);
    assert_eq!(certificate.subject().to_string(), "CN=mtls");
    assert!(certificate.is_self_issued());
    assert_eq!(certificate.not_before().to_string(), "2018-10-18T12:37:09Z");
    assert_eq!(certificate.not_after().to_string(), "2022-05-02T12:37:09Z");
    assert!(!certificate.is_valid_at(NOW));
    assert_eq!(*certificate.public_key_kind(), PublicKeyKind::P256);
    assert!(certificate.subject_alternative_names().is_empty());
    assert_eq!(certificate.serial_number(), "02");
    assert!(subject_public_key_info(&der).is_ok());
}

// covers MTLS-A-2, MTLS-2.2.2-4, TRAP-41
#[test]
fn its_jwk_has_the_printed_members() {
    let jwk = Jwk::for_certificate(&der()).unwrap().to_json();
    assert_eq!(jwk["x"], "1yfLHCpXqFjxCeHHHMVDTcLscpb07KUxudBmOMn8C7Q");
    assert_eq!(jwk["y"], "8_coZwxS7LfA4vOLS9WuneIXhbGGWvsDSb0tH6IxLm8");
    assert_eq!(jwk["x5c"], json!([STANDARD.encode(der())]));

    let set = |jwk: serde_json::Value| JwkSet::parse(json!({"keys": [jwk]}).to_string().as_bytes());
    assert_eq!(set(jwk.clone()).unwrap().certificates().collect::<Vec<_>>(), [der()]);
    // Another key beside the certificate, and the certificate in the other alphabet of base64.
    let mut other_key = jwk.clone();
    (other_key["x"], other_key["y"]) = (
        "MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4".into(),
        "4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM".into(),
    );
    assert!(set(other_key).is_err());
    let mut other_alphabet = jwk;
    other_alphabet["x5c"] = json!([URL_SAFE_NO_PAD.encode(der())]);
    assert!(set(other_alphabet).is_err());
}
