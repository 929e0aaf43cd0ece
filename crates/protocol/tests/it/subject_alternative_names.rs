//! Subject alternative names (RFC 5280 §4.2.1.6, §7): four kinds, compared exactly after normalisation.

use keybound_protocol::certificate::{Certificate, CertificateError};
use keybound_protocol::subject_alternative_name::{DnsName, EmailAddress, SubjectAlternativeName, UriName};
use keybound_protocol::subject_rule::{SubjectParameter, SubjectRule};
use proptest::prelude::*;

use crate::der::{IA5, UTF8, explicit, name, octet_string, oid, sequence, tlv};
use crate::pki::{DNS, EMAIL, IP, Key, Template, URI, alternative_names, extension};

fn certificate(names: &[(u8, &[u8])]) -> Certificate {
    let der = Template::client("common.example")
        .with(alternative_names(names))
        .self_sign(&Key::generate());
    Certificate::parse(&der).unwrap()
}

fn check(parameter: SubjectParameter, registered: &str, presented: (u8, &[u8]), expected: bool) {
    let rule = SubjectRule::parse(parameter, registered).unwrap_or_else(|error| panic!("{registered:?}: {error}"));
    let certificate = certificate(&[presented]);
    let names = certificate.subject_alternative_names();
    assert_eq!(
        rule.verify(&certificate).is_ok(),
        expected,
        "{registered} against {names:?}"
    );
}

// covers SAN-1, TRAP-12, MTLS-7.5-5, MTLS-2.1.2-3
#[test]
fn a_dns_name_is_the_whole_name_case_aside() {
    let check = |registered: &str, presented: &[u8], expected| {
        check(SubjectParameter::SanDns, registered, (DNS, presented), expected);
    };
    check("client.example.com", b"client.example.com", true);
    check("client.example.com", b"CLIENT.Example.COM", true);
    check("CLIENT.example.com", b"client.example.com", true);
    check("xn--bcher-kva.example", b"XN--BCHER-KVA.example", true);
    check("b\u{fc}cher.example", b"xn--bcher-kva.example", true);
    check("b\u{fc}cher.example", "b\u{fc}cher.example".as_bytes(), false);
    check("client.example.com", b"*.example.com", false);
    check("client.example.com", b"*", false);
    check("client.example.com", b"example.com", false);
    check("client.example.com", b".example.com", false);
    check("client.example.com", b"a.client.example.com", false);
    check("client.example.com", b"client.example.com.", false);
    check("client.example.com", b" client.example.com", false);
    check("client.example.com", b"client.example.com\0", false);
    check("client.example.com", b"client.example.com\0.evil.example", false);
    check("client.example.com", b"", false);
}

// covers SAN-2, MTLS-2.1.2-4
#[test]
fn a_uri_is_compared_in_its_normal_form_with_case() {
    let check = |registered: &str, presented: &[u8], expected| {
        check(SubjectParameter::SanUri, registered, (URI, presented), expected);
    };
    check("https://client.example/app", b"https://client.example/app", true);
    check("https://client.example/app", b"HTTPS://Client.EXAMPLE/app", true);
    check("https://client.example/app", b"https://client.example/x/../app", true);
    check("https://client.example/app", b"https://client.example/%61pp", true);
    check("https://client.example/%2f", b"https://client.example/%2F", true);
    check("https://client.example", b"https://client.example:443/", true);
    check("https://client.example/app", b"https://client.example/App", false);
    check("https://client.example/app", b"https://client.example/app/", false);
    check("https://client.example/app", b"https://client.example/app?", false);
    check("https://client.example/app", b"http://client.example/app", false);
    check("https://client.example/app", b"https://client.example./app", false);
    check("https://client.example/a%2fb", b"https://client.example/a/b", false);
    check("spiffe://example/a", b"spiffe://example/b", false);
    check("spiffe://example/a", b"spiffe://example/a\0", false);
    check("spiffe://example/a", b"spiffe://example/a\n", false);
    check("urn:uuid:f81d4fae", b"URN:uuid:f81d4fae", true);
    check("urn:uuid:f81d4fae", b"urn:UUID:f81d4fae", false);
}

// covers SAN-3, MTLS-2.1.2-7
#[test]
fn a_mail_address_has_a_local_part_with_case_and_a_host_without() {
    let check = |registered: &str, presented: &[u8], expected| {
        check(SubjectParameter::SanEmail, registered, (EMAIL, presented), expected);
    };
    check("a@x.example", b"a@x.example", true);
    check("a@X.example", b"a@x.EXAMPLE", true);
    check("a@x.example", b"A@x.example", false);
    check("A@x.example", b"a@x.example", false);
    check("a@x.example", b"a@y.x.example", false);
    check("a@x.example", b"@x.example", false);
    check("a@x.example", b"x.example", false);
    check("a@x.example", b"b@a@x.example", false);
    check("a@x.example", b"a@x.example\0", false);
    check("a@x.example", b"<a@x.example>", false);
}

// covers SAN-4, MTLS-2.1.2-5, MTLS-2.1.2-6, TRAP-15
#[test]
fn an_ip_address_is_compared_as_octets() {
    let check = |registered: &str, presented: &[u8], expected| {
        check(SubjectParameter::SanIp, registered, (IP, presented), expected);
    };
    const V6: [u8; 16] = [0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
    const MAPPED: [u8; 16] = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 192, 0, 2, 1];
    check("192.0.2.1", &[192, 0, 2, 1], true);
    check("2001:db8::1", &V6, true);
    check("2001:0DB8:0:0:0:0:0:1", &V6, true);
    check("::ffff:192.0.2.1", &MAPPED, true);
    check("192.0.2.1", &MAPPED, false);
    check("::ffff:192.0.2.1", &[192, 0, 2, 1], false);
    check("192.0.2.1", &[192, 0, 2, 2], false);
    check("192.0.2.1", &[192, 0, 2, 1, 0], false);
    check("192.0.2.1", &[192, 0, 2, 1, 255, 255, 255, 255], false);
    check("192.0.2.1", &[], false);
    check("192.0.2.1", b"192.0.2.1", false);
    for refused in [
        "192.0.2",
        "192.0.2.01",
        "192.0.2.1/24",
        "[2001:db8::1]",
        "2001:db8::1%eth0",
        "client.example",
        "0xc0000201",
    ] {
        assert!(
            SubjectRule::parse(SubjectParameter::SanIp, refused).is_err(),
            "{refused}"
        );
    }
}

// covers SAN-5, TRAP-13, MTLS-2.1-2, MTLS-2.1.2-4, MTLS-2.1.2-7
#[test]
fn no_kind_of_name_stands_in_for_another() {
    let rule = |parameter, value| SubjectRule::parse(parameter, value).unwrap();
    let mail = name(&[
        &[("1.2.840.113549.1.9.1", IA5, b"client@example.com")],
        &[("2.5.4.3", UTF8, b"client.example.com")],
    ]);
    let der = Template::client("").subject(mail).self_sign(&Key::generate());
    let only_subject = Certificate::parse(&der).unwrap();
    assert!(
        rule(SubjectParameter::SanDns, "client.example.com")
            .verify(&only_subject)
            .is_err()
    );
    assert!(
        rule(SubjectParameter::SanEmail, "client@example.com")
            .verify(&only_subject)
            .is_err()
    );

    let text = b"client.example.com";
    let kinds = [
        (SubjectParameter::SanDns, DNS),
        (SubjectParameter::SanUri, URI),
        (SubjectParameter::SanEmail, EMAIL),
    ];
    for (parameter, kind) in kinds {
        let value = match parameter {
            SubjectParameter::SanDns => "client.example.com",
            SubjectParameter::SanUri => "client:example",
            _ => "client@example.com",
        };
        for (_, presented) in kinds.into_iter().filter(|(_, other)| *other != kind) {
            let certificate = certificate(&[(presented, value.as_bytes())]);
            assert!(
                rule(parameter, value).verify(&certificate).is_err(),
                "{parameter} {presented}"
            );
        }
        assert!(
            rule(parameter, value)
                .verify(&certificate(&[(kind, value.as_bytes())]))
                .is_ok(),
            "{parameter}"
        );
    }
    let mismatch = rule(SubjectParameter::SanDns, "client.example.com")
        .verify(&certificate(&[(URI, text)]))
        .unwrap_err();
    assert_eq!(
        mismatch.detail(),
        "the certificate has it as another kind of name, URI:client.example.com, which does not count"
    );
}

// covers SAN-5, TRAP-14
#[test]
fn any_entry_of_the_kind_suffices_and_others_do_not_disturb() {
    let other_name = explicit(
        0,
        &[oid("1.3.6.1.4.1.311.20.2.3"), explicit(0, &tlv(UTF8, b"user@corp"))].concat(),
    );
    let directory_name = explicit(4, &name(&[&[("2.5.4.3", UTF8, b"x")]]));
    let registered_id = tlv(0x88, &[0x2a, 3]);
    let names = [
        other_name,
        directory_name,
        registered_id,
        tlv(0x82, "b\u{fc}cher.example".as_bytes()),
        tlv(0x82, b"first.example"),
        tlv(0x87, &[1, 2, 3]),
        tlv(0x82, b"second.example"),
    ];
    let template = Template::client("x").with(extension("2.5.29.17", true, &sequence(&names)));
    let certificate = Certificate::parse(&template.self_sign(&Key::generate())).unwrap();
    assert_eq!(certificate.subject_alternative_names().len(), 7);
    for value in ["first.example", "second.example"] {
        assert!(
            SubjectRule::parse(SubjectParameter::SanDns, value)
                .unwrap()
                .verify(&certificate)
                .is_ok(),
            "{value}"
        );
    }
}

#[test]
fn an_unreadable_extension_makes_the_certificate_unreadable() {
    let check = |value: &[u8]| {
        let template = Template::client("x").with(extension("2.5.29.17", false, value));
        let error = Certificate::parse(&template.self_sign(&Key::generate()))
            .map(|_| ())
            .unwrap_err();
        assert!(
            matches!(
                error,
                CertificateError::Malformed {
                    field: "subjectAltName"
                }
            ),
            "{error:?}"
        );
    };
    let good = sequence(&[tlv(0x82, b"a.example")]);
    check(&[]);
    check(&sequence(&[]));
    check(&good[..good.len() - 1]);
    check(&[good.as_slice(), &[0]].concat());
    check(&octet_string(&good));
    check(&sequence(&[tlv(0x89, b"a")]));
    check(&sequence(&[tlv(0x0c, b"a")]));
    check(&sequence(&[vec![0x82, 0x05, b'a']]));

    let many = |count| sequence(&vec![tlv(0x82, b"a.example"); count]);
    let parse = |count| {
        let template = Template::client("x").with(extension("2.5.29.17", false, &many(count)));
        Certificate::parse(&template.self_sign(&Key::generate())).map(|_| ())
    };
    assert_eq!(parse(256), Ok(()));
    assert!(matches!(parse(257), Err(CertificateError::TooManyNames { .. })));
}

proptest! {
    #[test]
    fn a_registered_name_reads_back_as_itself(
        host in "[a-z0-9]([a-z0-9-]{0,8}[a-z0-9])?(\\.[a-z]([a-z0-9-]{0,8}[a-z0-9])?){0,3}\\.[a-z]{2}",
        path in "(/[a-zA-Z0-9._~!$&'()*+,;=:@-]{0,6}|/%[0-9A-Fa-f]{2}){0,4}",
        local in "[A-Za-z0-9.+_-]{1,8}",
    ) {
        let dns: DnsName = host.to_uppercase().parse().unwrap();
        prop_assert_eq!(dns.to_string().parse(), Ok(dns));
        let uri: UriName = format!("spiffe://{host}{path}").parse().unwrap();
        prop_assert_eq!(uri.to_string().parse(), Ok(uri));
        let email: EmailAddress = format!("{local}@{host}").parse().unwrap();
        prop_assert_eq!(email.to_string().parse(), Ok(email));
    }

    #[test]
    fn any_octets_in_the_extension_are_read_or_refused_without_panic(octets in proptest::collection::vec(any::<u8>(), 0..64)) {
        let template = Template::client("x").with(extension("2.5.29.17", false, &tlv(0x30, &octets)));
        if let Ok(certificate) = Certificate::parse(&template.self_sign(&Key::generate())) {
            for name in certificate.subject_alternative_names() {
                let shown = name.to_string();
                prop_assert!(!shown.chars().any(char::is_control), "{:?}", name);
                if let SubjectAlternativeName::Uri(uri) = name {
                    prop_assert!(uri.parse::<UriName>().map_or(true, |registered| registered.matches(uri)));
                }
            }
        }
    }

    #[test]
    fn any_text_is_a_value_or_none_without_panic(text in "\\PC{0,40}") {
        for parameter in SubjectParameter::ALL {
            if let Ok(rule) = SubjectRule::parse(parameter, &text) {
                prop_assert!(SubjectRule::parse(parameter, &rule.canonical()).is_ok(), "{} {}", parameter, rule.canonical());
                prop_assert_eq!(rule.as_given(), text.as_str());
            }
        }
    }
}
