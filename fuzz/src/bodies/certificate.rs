//! Octets as a certificate: what is read of it, what it is called, and that no path is verified which nobody signed.

use std::cell::OnceCell;

use aws_lc_rs::signature::Ed25519KeyPair;
use keybound_protocol::certificate::{Certificate, subject_public_key_info};
use keybound_protocol::certificate_chain;
use keybound_protocol::client_cert_header::parse_client_cert;
use keybound_protocol::confirmation::CertificateThumbprint;
use keybound_protocol::distinguished_name::DistinguishedName;
use keybound_protocol::jwk::Jwk;
use keybound_protocol::peer_certificate::PeerCertificate;
use keybound_protocol::time::Timestamp;
use keybound_protocol::trust_anchor::{TrustAnchor, TrustAnchorSettings};

/// The authority of the corpus: `seeds.rs` signs with this key.
const AUTHORITY: &[u8] = include_bytes!("../authority.der");
const AUTHORITY_SEED: [u8; 32] = [7; 32];
/// 2026-01-01T00:00:00Z
const NOW: Timestamp = Timestamp::from_unix_secs(1_767_225_600);

thread_local! {
    static ANCHOR: OnceCell<Vec<TrustAnchor>> = const { OnceCell::new() };
}

/// Checks every property for one input.
pub(crate) fn check(octets: &[u8]) {
    let read = Certificate::parse(octets);
    let end_entity = PeerCertificate::assert_possession_proven(octets.to_vec(), Vec::new());
    let thumbprint = CertificateThumbprint::of_certificate(octets);
    // The thumbprint is of the octets as received, readable or not, and has one spelling.
    assert_eq!(*end_entity.thumbprint(), thumbprint);
    assert_eq!(thumbprint.to_string().parse(), Ok(thumbprint));
    assert_eq!(end_entity.der(), octets);
    if !octets.is_empty() && octets.len() <= 48 * 1024 {
        let value = end_entity.client_cert_value().as_bytes();
        assert_eq!(
            parse_client_cert(&[value]).as_ref().map(Option::as_deref),
            Ok(Some(octets))
        );
    }
    assert_eq!(end_entity.certificate().err(), read.as_ref().err());
    check_path(&end_entity);
    let key = subject_public_key_info(octets);
    match &read {
        Ok(certificate) => {
            assert_eq!(key, Ok(certificate.subject_public_key_info()));
            check_contents(certificate, octets);
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
    if let Ok(jwk) = Jwk::for_certificate(octets) {
        assert!(key.is_ok(), "a key was read of a certificate that has none");
        let written = jwk.to_json().to_string();
        let reread = Jwk::parse(written.as_bytes()).expect("what registers a certificate reads back");
        assert_eq!(reread, jwk);
    }
}

fn check_contents(certificate: &Certificate, octets: &[u8]) {
    check_name(certificate.subject());
    check_name(certificate.issuer());
    for name in certificate.subject_alternative_names() {
        let text = name.to_string();
        assert!(!text.chars().any(char::is_control), "{text:?} would reach a terminal");
    }
    let (first, last) = (certificate.not_before(), certificate.not_after());
    for now in [first, last, NOW] {
        assert_eq!(certificate.is_valid_at(now), first <= now && now <= last);
    }
    assert_eq!(certificate.serial_number().len() % 2, 0);
    // Nothing may follow, nothing may be missing.
    let mut longer = octets.to_vec();
    longer.push(0);
    assert!(Certificate::parse(&longer).is_err());
    assert!(Certificate::parse(&octets[..octets.len() - 1]).is_err());
}

/// What is displayed of a name reads back as the same name, if it equals anything at all.
fn check_name(name: &DistinguishedName) {
    let text = name.to_string();
    assert!(!text.chars().any(char::is_control), "{text:?} would reach a terminal");
    let mut attributes = name.rdns().flat_map(|rdn| rdn.attributes());
    let comparable = attributes.all(|attribute| attribute.value().uncomparable().is_none());
    assert_eq!(name.matches(name), comparable && !name.is_empty(), "{text}");
    match text.parse::<DistinguishedName>() {
        Ok(written) => {
            assert!(comparable, "{text} can be registered and is presented by nobody");
            assert!(written.matches(name) && name.matches(&written), "{text}");
            assert_eq!(written.to_string(), text);
        }
        // The limit of the written form is a limit of octets; a certificate's are smaller than their escapes.
        Err(error) => assert!(
            !comparable || name.is_empty() || text.len() > 16 * 1024,
            "{text}: {error}"
        ),
    }
}

/// What has a path was signed by the authority: Ed25519 makes one signature for one message, so it can be made again.
fn check_path(end_entity: &PeerCertificate) {
    ANCHOR.with(|anchor| {
        let anchor = anchor.get_or_init(|| {
            TrustAnchor::load(&TrustAnchorSettings {
                name: "fuzz".parse().expect("letters"),
                certificates: vec![AUTHORITY.to_vec()],
                crls: Vec::new(),
                crl_missing: None,
                require_client_auth_eku: false,
                strict: false,
            })
            .expect("the authority of the corpus is one")
        });
        let anchors: Vec<&TrustAnchor> = anchor.iter().collect();
        match certificate_chain::verify(end_entity, &anchors, NOW) {
            Ok(chain) => {
                let (signed, signature) = signed_part(end_entity.der()).expect("what was verified can be read");
                let authority = Ed25519KeyPair::from_seed_unchecked(&AUTHORITY_SEED).expect("32 octets");
                assert_eq!(authority.sign(signed).as_ref(), signature, "nobody signed this");
                assert!(chain.valid_until() >= NOW);
                assert!(
                    end_entity
                        .certificate()
                        .is_ok_and(|certificate| certificate.is_valid_at(NOW))
                );
            }
            Err(error) => assert!(!error.to_string().is_empty()),
        }
        assert!(
            certificate_chain::verify(end_entity, &[], NOW).is_err(),
            "trusted by nobody"
        );
    });
}

/// The TBSCertificate, and the octets of the signature.
fn signed_part(der: &[u8]) -> Option<(&[u8], &[u8])> {
    let (_, contents, _) = value(der)?;
    let (signed, _, rest) = value(contents)?;
    let (_, _, rest) = value(rest)?;
    let (_, signature, _) = value(rest)?;
    Some((signed, signature.get(1..)?))
}

/// The first value of `der`: whole, its contents, and what follows.
fn value(der: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let first = usize::from(*der.get(1)?);
    let (header, length) = if first < 0x80 {
        (2, first)
    } else {
        let octets = der.get(2..2 + (first & 0x7f))?;
        let length = octets.iter().fold(0, |length, octet| length << 8 | usize::from(*octet));
        (2 + octets.len(), length)
    };
    let end = header + length;
    Some((der.get(..end)?, der.get(header..end)?, der.get(end..)?))
}
