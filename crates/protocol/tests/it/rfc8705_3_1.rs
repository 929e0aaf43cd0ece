//! The confirmation of a bound token and its comparison at a protected resource (RFC 8705 §3, §3.1).

use std::sync::Arc;

use keybound_protocol::confirmation::{BindingError, CertificateThumbprint, Confirmation, ConfirmationError};
use keybound_protocol::peer_certificate::{
    ForwardedCertificate, ForwardingError, PeerCertificate, PresentedCertificate,
};
use proptest::prelude::*;

use crate::pki::{Authority, Key, Template, days_from_now, presented};

const SAMPLE_OF_THE_RFC: &str = "bwcK0esc3ACC3DB2Y5_lESsXE8o9ltc05O89jdN-dg2";

fn certificate() -> Vec<u8> {
    Template::client("demo").self_sign(&Key::generate())
}

fn bound_to(der: &[u8]) -> Confirmation {
    Confirmation::certificate_bound(CertificateThumbprint::of_certificate(der))
}

// covers MTLS-3.1-1, MTLS-3.1-3, MTLS-3.1-4, MTLS-3.1-5, MTLS-9.1-1
#[test]
fn cnf_has_the_shape_of_the_rfc() {
    let der = certificate();
    let json = serde_json::to_value(bound_to(&der)).unwrap();
    let members = json.as_object().unwrap();
    assert_eq!(members.keys().collect::<Vec<_>>(), ["x5t#S256"]);
    let text = members["x5t#S256"].as_str().unwrap();
    assert_eq!(text.len(), 43);
    assert!(
        text.bytes()
            .all(|octet| octet.is_ascii_alphanumeric() || octet == b'-' || octet == b'_'),
        "{text}"
    );
    assert_eq!(
        Confirmation::parse(json.to_string().as_bytes()).unwrap(),
        bound_to(&der)
    );
}

// covers MTLS-3.1-5, TRAP-2
#[test]
fn the_sample_of_the_rfc_has_unused_bits_and_is_no_thumbprint() {
    assert!(SAMPLE_OF_THE_RFC.parse::<CertificateThumbprint>().is_err());
    let sample = format!(r#"{{"x5t#S256":"{SAMPLE_OF_THE_RFC}"}}"#);
    assert!(matches!(
        Confirmation::parse(sample.as_bytes()),
        Err(ConfirmationError::Thumbprint(_))
    ));
}

// covers MTLS-3-11, MTLS-3-13, MTLS-3.2-3, TRAP-25
#[test]
fn only_the_bound_certificate_satisfies_the_binding() {
    let (bound, other) = (certificate(), certificate());
    let confirmation = bound_to(&bound);
    let proof = confirmation.verify(&presented(&bound, &[])).unwrap();
    assert_eq!(proof.certificate(), confirmation.certificate());

    let expected = *confirmation.certificate().unwrap();
    let mismatch = BindingError::Mismatch {
        presented: CertificateThumbprint::of_certificate(&other),
        expected,
    };
    assert_eq!(confirmation.verify(&presented(&other, &[])), Err(mismatch.clone()));
    // The bound certificate among the others of the chain is nobody's identity.
    assert_eq!(confirmation.verify(&presented(&other, &[&bound])), Err(mismatch));
    assert_eq!(
        confirmation.verify(&PresentedCertificate::None),
        Err(BindingError::NoCertificate)
    );
    assert_eq!(
        confirmation.verify(&PresentedCertificate::NotRequested),
        Err(BindingError::NotRequested)
    );
    let too_long = presented(&bound, &[bound.as_slice(); 7]);
    assert_eq!(
        confirmation.verify(&too_long),
        Err(BindingError::ChainTooLong {
            presented_intermediates: 7
        })
    );
    let refused = ForwardingError::ChainWithoutCertificate;
    let outcome = confirmation.verify(&PresentedCertificate::ForwardingRefused(refused.clone()));
    assert_eq!(outcome, Err(BindingError::Forwarding(refused)));
}

// covers MTLS-3-11, TRAP-40
#[test]
fn the_same_key_in_another_certificate_does_not_satisfy_the_binding() {
    let key = Key::generate();
    let bound = Template::client("demo").self_sign(&key);
    let reissued = Template::client("demo").serial(&[0x43]).self_sign(&key);
    assert!(bound_to(&bound).verify(&presented(&reissued, &[])).is_err());
}

// covers MTLS-6.2-1, MTLS-6.2-2, MTLS-4-2, TRAP-24
#[test]
fn the_certificate_is_compared_and_not_judged() {
    let stranger = Authority::root("Nobody knows");
    let mut version_1 = Template::new(crate::der::common_name("demo"));
    version_1.version = 0;
    for der in [
        stranger.issue(&Template::client("demo")),
        Template::client("demo")
            .valid(days_from_now(-9), days_from_now(-1))
            .self_sign(&Key::generate()),
        version_1.self_sign(&Key::generate()),
        stranger.certificate,
        b"not even readable".to_vec(),
    ] {
        assert!(bound_to(&der).verify(&presented(&der, &[])).is_ok());
    }
}

// covers MTLS-6.5-1
#[test]
fn a_certificate_forwarded_by_a_configured_proxy_counts() {
    let der = certificate();
    let forwarded = ForwardedCertificate::assert_from_configured_proxy(der.clone(), Vec::new(), "lb".to_owned());
    assert_eq!(forwarded.via(), "lb");
    assert!(
        bound_to(&der)
            .verify(&PresentedCertificate::from_proxy(forwarded))
            .is_ok()
    );
    let too_many =
        ForwardedCertificate::assert_from_configured_proxy(der.clone(), vec![der.clone(); 7], "lb".to_owned());
    assert!(
        bound_to(&der)
            .verify(&PresentedCertificate::from_proxy(too_many))
            .is_err()
    );
}

// covers R7800-2, TRAP-26, MTLS-7.2-1
#[test]
fn a_confirmation_that_cannot_be_verified_is_none() {
    let text = CertificateThumbprint::of_certificate(b"x").to_string();
    for json in [
        "{}".to_owned(),
        r#"{"foo":"bar"}"#.to_owned(),
        format!(r#"{{"jwk":{{"kty":"EC","x":"{text}"}}}}"#),
        format!(r#"{{"x5t#S256":"{text}","jwk":{{}}}}"#),
        format!(r#"{{"x5t#S256":"{text}","jkt":"{text}","kid":"1"}}"#),
        // SHA-1, and the name of another hash.
        r#"{"x5t":"T8Qp8fPmVYqb9iHyzQUaAbxBedY"}"#.to_owned(),
        format!(r#"{{"x5t#S384":"{text}"}}"#),
    ] {
        let outcome = Confirmation::parse(json.as_bytes());
        assert!(
            matches!(outcome, Err(ConfirmationError::Unsupported { .. })),
            "{json}: {outcome:?}"
        );
    }
}

// covers MTLS-1.2-1
#[test]
fn proven_and_forwarded_are_two_claims() {
    let der = certificate();
    let peer = PeerCertificate::assert_possession_proven(der.clone(), vec![vec![1]]);
    assert_eq!((peer.der(), peer.intermediates()), (der.as_slice(), &[vec![1]][..]));
    assert!(matches!(
        PresentedCertificate::from_peer(peer),
        PresentedCertificate::Peer(_)
    ));
    let forwarded = ForwardedCertificate::assert_from_configured_proxy(der, Vec::new(), "lb".to_owned());
    assert!(matches!(
        PresentedCertificate::Forwarded(Arc::new(forwarded)),
        PresentedCertificate::Forwarded(_)
    ));
}

proptest! {
    // covers TRAP-2
    #[test]
    fn the_same_octets_have_the_same_thumbprint_and_others_another(one in any::<Vec<u8>>(), two in any::<Vec<u8>>()) {
        let thumbprint = |der: &[u8]| CertificateThumbprint::of_certificate(der);
        prop_assert_eq!(one == two, thumbprint(&one) == thumbprint(&two));
        prop_assert_eq!(one == two, thumbprint(&one).to_string() == thumbprint(&two).to_string());
        prop_assert_eq!(thumbprint(&one).to_string().parse(), Ok(thumbprint(&one)));
    }

    #[test]
    fn any_text_of_43_characters_is_the_one_spelling_of_its_value_or_none(text in "[A-Za-z0-9+/_=-]{43}") {
        if let Ok(thumbprint) = text.parse::<CertificateThumbprint>() {
            prop_assert_eq!(thumbprint.to_string(), text);
        }
    }
}
