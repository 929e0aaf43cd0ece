//! A registered value on the first line, and after it the octets of a `subjectAltName` extension's value.

use keybound_protocol::certificate::Certificate;
use keybound_protocol::subject_alternative_name::SubjectAlternativeName;
use keybound_protocol::subject_rule::{SubjectParameter, SubjectRule};

const KINDS: [SubjectParameter; 4] = [
    SubjectParameter::SanDns,
    SubjectParameter::SanUri,
    SubjectParameter::SanIp,
    SubjectParameter::SanEmail,
];

/// Checks every property for one input.
pub(crate) fn check(octets: &[u8]) {
    let end = octets.iter().position(|octet| *octet == b'\n').unwrap_or(octets.len());
    let (registered, extension) = octets.split_at(end);
    let certificate = Certificate::parse(&certificate(extension.get(1..).unwrap_or_default())).ok();
    if let Ok(registered) = std::str::from_utf8(registered) {
        for parameter in KINDS {
            check_rule(parameter, registered, certificate.as_ref());
        }
    }
    let Some(certificate) = certificate else {
        return;
    };
    assert!(!certificate.subject_alternative_names().is_empty());
    for name in certificate.subject_alternative_names() {
        let shown = name.to_string();
        assert!(!shown.chars().any(char::is_control), "{shown:?} would reach a terminal");
        // What the certificate carries can be registered as it stands, or it is nothing that could be registered at all.
        let (parameter, text) = match name {
            SubjectAlternativeName::Dns(text) => (SubjectParameter::SanDns, text.clone()),
            SubjectAlternativeName::Uri(text) => (SubjectParameter::SanUri, text.clone()),
            SubjectAlternativeName::Email(text) => (SubjectParameter::SanEmail, text.clone()),
            SubjectAlternativeName::Ip(_) => (SubjectParameter::SanIp, shown.trim_start_matches("IP:").to_owned()),
            SubjectAlternativeName::Other { .. } => continue,
        };
        if let Ok(rule) = SubjectRule::parse(parameter, &text) {
            assert!(rule.verify(&certificate).is_ok(), "{text:?} is not itself");
        }
    }
}

fn check_rule(parameter: SubjectParameter, registered: &str, certificate: Option<&Certificate>) {
    let Ok(rule) = SubjectRule::parse(parameter, registered) else {
        return;
    };
    assert_eq!((rule.parameter(), rule.as_given()), (parameter, registered));
    let canonical = rule.canonical();
    assert!(canonical.bytes().all(|octet| octet.is_ascii_graphic()), "{canonical:?}");
    let reread = SubjectRule::parse(parameter, &canonical).unwrap_or_else(|error| panic!("{canonical:?}: {error}"));
    assert_eq!(reread.canonical(), canonical, "{registered:?}");
    let Some(certificate) = certificate else {
        return;
    };
    let verdict = rule.verify(certificate);
    assert_eq!(verdict, reread.verify(certificate), "{registered:?} and {canonical:?}");
    match verdict {
        Ok(()) => {
            let names = certificate.subject_alternative_names();
            assert!(
                names.iter().any(|name| is_plausible(parameter, &canonical, name)),
                "{canonical:?} is not among {names:?}"
            );
        }
        Err(mismatch) => {
            mismatch.detail();
            assert_eq!(
                mismatch.presented.len() + mismatch.other_kinds.len(),
                certificate.subject_alternative_names().len()
            );
        }
    }
}

/// What must hold of an equal name whatever was normalised: its kind, and most of its characters.
fn is_plausible(parameter: SubjectParameter, canonical: &str, name: &SubjectAlternativeName) -> bool {
    match (parameter, name) {
        (SubjectParameter::SanDns, SubjectAlternativeName::Dns(text))
        | (SubjectParameter::SanEmail, SubjectAlternativeName::Email(text)) => text.eq_ignore_ascii_case(canonical),
        (SubjectParameter::SanUri, SubjectAlternativeName::Uri(text)) => {
            let scheme = |uri: &str| uri.split(':').next().unwrap_or_default().to_ascii_lowercase();
            scheme(text) == scheme(canonical)
        }
        (SubjectParameter::SanIp, SubjectAlternativeName::Ip(octets)) => match octets.len() {
            4 => !canonical.contains(':'),
            16 => canonical.contains(':'),
            _ => false,
        },
        _ => false,
    }
}

/// A version 3 certificate with this one extension and an empty subject. Its signature is nothing.
fn certificate(extension: &[u8]) -> Vec<u8> {
    // subjectAltName, critical.
    let extension = sequence(&[
        &[0x06, 3, 0x55, 0x1d, 0x11, 0x01, 1, 0xff],
        tlv(0x04, extension).as_slice(),
    ]);
    let algorithm = [0x30, 5, 0x06, 3, 0x2b, 0x65, 0x70];
    let mut key = vec![0x30, 42, 0x30, 5, 0x06, 3, 0x2b, 0x65, 0x70, 0x03, 33, 0];
    key.extend([9; 32]);
    let signed = sequence(&[
        &[0xa0, 3, 0x02, 1, 2, 0x02, 1, 1],
        &algorithm,
        &[0x30, 0],
        &sequence(&[&tlv(0x17, b"260101000000Z"), &tlv(0x17, b"270101000000Z")]),
        &[0x30, 0],
        &key,
        &tlv(0xa3, &sequence(&[&extension])),
    ]);
    sequence(&[&signed, &algorithm, &tlv(0x03, &[0; 65])])
}

fn sequence(parts: &[&[u8]]) -> Vec<u8> {
    tlv(0x30, &parts.concat())
}

fn tlv(identifier: u8, contents: &[u8]) -> Vec<u8> {
    let length = contents.len().to_be_bytes();
    let significant: Vec<u8> = length.into_iter().skip_while(|octet| *octet == 0).collect();
    let mut der = vec![identifier];
    match significant.as_slice() {
        [] => der.push(0),
        [short] if *short < 0x80 => der.push(*short),
        long => {
            der.push(0x80 | long.len() as u8);
            der.extend(long);
        }
    }
    der.extend(contents);
    der
}
