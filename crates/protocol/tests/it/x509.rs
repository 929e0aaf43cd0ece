//! Reading certificates: lenient where X.509 is old, strict where two readers could see two certificates.

use keybound_protocol::certificate::{Certificate, CertificateError, PublicKeyKind, Version, subject_public_key_info};
use keybound_protocol::confirmation::CertificateThumbprint;
use keybound_protocol::time::Timestamp;
use proptest::prelude::*;

use crate::der::{bit_string, common_name, explicit, integer, octet_string, oid, sequence, tlv};
use crate::pki::{
    CLIENT_AUTH, Key, NOW, SERVER_AUTH, Template, basic_constraints, days_from_now, extended_key_usage, extension,
    key_usage,
};

fn made(template: &Template) -> Vec<u8> {
    template.self_sign(&Key::generate())
}

fn parse(template: &Template) -> Result<Certificate, CertificateError> {
    let der = made(template);
    // Whatever the rest is like, key and thumbprint are there.
    assert!(subject_public_key_info(&der).is_ok());
    assert_eq!(CertificateThumbprint::of_certificate(&der).to_text().len(), 43);
    Certificate::parse(&der)
}

// covers TRAP-44, MTLS-A-4
#[test]
fn old_certificates_are_read() {
    let mut template = Template::new(common_name("demo"));
    template.version = 0;
    assert_eq!(parse(&template).unwrap().version(), Version::V1);
    template.version = 1;
    assert_eq!(parse(&template).unwrap().version(), Version::V2);
    template.version = 2;
    assert_eq!(parse(&template).unwrap().version(), Version::V3);
    // Serial numbers that RFC 5280 §4.1.2.2 forbids and that exist: zero, negative, longer than 20 octets.
    for (serial, shown) in [
        (vec![0], "00"),
        (vec![0xff, 1], "ff01"),
        (vec![1; 40], &*"01".repeat(40)),
    ] {
        let certificate = parse(&Template::new(common_name("demo")).serial(&serial)).unwrap();
        assert_eq!(certificate.serial_number(), shown);
    }
    // Long over.
    let ended = Template::new(common_name("demo")).valid(days_from_now(-20_000), days_from_now(-10_000));
    assert!(!parse(&ended).unwrap().is_valid_at(NOW));
}

// covers X509-2
#[test]
fn both_time_formats_are_read() {
    let times = [
        (-631_152_000, 946_684_799),
        (2_524_607_999, 2_524_608_000),
        (NOW.unix_secs(), Timestamp::NO_EXPIRATION.unix_secs()),
    ];
    for (not_before, not_after) in times {
        let (not_before, not_after) = (
            Timestamp::from_unix_secs(not_before),
            Timestamp::from_unix_secs(not_after),
        );
        let certificate = parse(&Template::client("demo").valid(not_before, not_after)).unwrap();
        assert_eq!(
            (certificate.not_before(), certificate.not_after()),
            (not_before, not_after)
        );
        assert!(certificate.is_valid_at(not_before) && certificate.is_valid_at(not_after));
        assert!(!certificate.is_valid_at(Timestamp::from_unix_secs(not_before.unix_secs() - 1)));
        assert!(!certificate.is_valid_at(Timestamp::from_unix_secs(not_after.unix_secs() + 1)));
    }
}

#[test]
fn octets_after_any_structure_are_refused() {
    let good = made(&Template::client("demo"));
    assert!(Certificate::parse(&good).is_ok());
    let trailing = |der: &[u8]| match Certificate::parse(der) {
        Err(CertificateError::TrailingOctets { after, .. }) => after,
        other => panic!("{other:?}"),
    };
    assert_eq!(trailing(&[good.as_slice(), &[0]].concat()), "certificate");
    assert_eq!(trailing(&[good.as_slice(), good.as_slice()].concat()), "certificate");

    let tbs_octets = match good[5] {
        0x81 => usize::from(good[6]) + 3,
        _ => usize::from(good[6]) * 256 + usize::from(good[7]) + 4,
    };
    let (tbs, rest) = good[4..].split_at(tbs_octets);
    assert_eq!(
        trailing(&sequence(&[tbs.to_vec(), rest.to_vec(), tlv(5, &[])])),
        "certificate"
    );
    let mut template = Template::client("demo");
    template.after_extensions = tlv(5, &[]);
    let der = made(&template);
    assert_eq!(trailing(&der), "tbsCertificate");
    // The key was found before that, and the thumbprint needs no structure at all.
    assert!(subject_public_key_info(&der).is_ok());
}

#[test]
fn an_extension_may_stand_there_once() {
    let twice = Template::client("demo").with(extended_key_usage(&[SERVER_AUTH]));
    assert_eq!(
        parse(&twice).map(|_| ()),
        Err(CertificateError::DuplicateExtension {
            oid: "2.5.29.37".to_owned()
        })
    );
    let unknown = extension("1.2.3.4", false, b"anything");
    assert!(parse(&Template::client("demo").with(unknown.clone())).is_ok());
    assert!(parse(&Template::client("demo").with(unknown.clone()).with(unknown)).is_err());
}

#[test]
fn usages_and_constraints_that_cannot_be_read_are_fatal() {
    let check = |identifier: &str, value: &[u8], field: &str| {
        let template = Template::new(common_name("demo")).with(extension(identifier, false, value));
        assert!(
            matches!(parse(&template), Err(CertificateError::Malformed { field: found }) if found == field),
            "{value:?}"
        );
    };
    for value in [
        &[][..],
        &[0x30],
        &sequence(&[]),
        &sequence(&[integer(&[1])]),
        &[0x30, 0, 0],
        &octet_string(&[]),
    ] {
        check("2.5.29.37", value, "extKeyUsage");
    }
    for value in [
        &[][..],
        &tlv(3, &[]),
        &tlv(3, &[9, 0]),
        &integer(&[1]),
        &[3, 2, 7, 0x80, 0],
    ] {
        check("2.5.29.15", value, "keyUsage");
    }
    for value in [
        &[][..],
        &[0x30],
        &sequence(&[octet_string(&[])]),
        &[0x30, 0, 0],
        &integer(&[1]),
    ] {
        check("2.5.29.19", value, "basicConstraints");
    }
    let malformed = [
        &sequence(&[oid("2.5.29.15")])[..],
        &sequence(&[integer(&[1]), octet_string(&[])]),
        &octet_string(&[]),
    ];
    for extension in malformed {
        let template = Template::new(common_name("demo")).with(extension.to_vec());
        assert!(parse(&template).is_err(), "{extension:?}");
    }
}

// covers X509-1
#[test]
fn usages_are_read() {
    let template = Template::new(common_name("demo"))
        .with(key_usage(&[0, 4, 8]))
        .with(extended_key_usage(&[CLIENT_AUTH, "1.2.3"]))
        .with(basic_constraints(true, Some(3)));
    let certificate = parse(&template).unwrap();
    assert_eq!(
        certificate.key_usage().unwrap().to_string(),
        "digitalSignature, keyAgreement, decipherOnly"
    );
    assert_eq!(
        certificate.extended_key_usage().unwrap().to_string(),
        "clientAuth, 1.2.3"
    );
    let constraints = certificate.basic_constraints().unwrap();
    assert!(constraints.ca && constraints.path_length_max == Some(3));
    assert_eq!(
        certificate.critical_extensions().collect::<Vec<_>>(),
        ["2.5.29.15", "2.5.29.19"]
    );
    let without = parse(&Template::new(common_name("demo"))).unwrap();
    assert!(without.key_usage().is_none() && without.extended_key_usage().is_none());
    assert!(without.basic_constraints().is_none());
}

#[test]
fn limits_hold_exactly() {
    let with = |count: u32| {
        let extensions = (0..count).map(|index| extension(&format!("1.2.3.{index}"), false, &[]));
        extensions.fold(Template::new(common_name("demo")), Template::with)
    };
    assert!(parse(&with(64)).is_ok());
    assert_eq!(parse(&with(65)).map(|_| ()), Err(CertificateError::TooManyExtensions));

    let named = |count: usize| {
        let attribute = sequence(&[oid("2.5.4.3"), tlv(12, b"a")]);
        Template::new(sequence(&vec![tlv(0x31, &attribute); count]))
    };
    assert!(parse(&named(256)).is_ok());
    assert!(matches!(parse(&named(257)), Err(CertificateError::TooManyNames { .. })));

    let empty = made(&Template::new(common_name("demo")).with(extension("1.2.3", false, &[1; 60_000])));
    let of_size = |octets: usize| {
        let filling = octets - empty.len() + 60_000;
        // A signature has 70 to 72 octets, so the size is aimed at until it fits.
        (0..1000)
            .map(|_| made(&Template::new(common_name("demo")).with(extension("1.2.3", false, &vec![1; filling]))))
            .find(|der| der.len() == octets)
            .unwrap()
    };
    assert!(Certificate::parse(&of_size(65_536)).is_ok());
    let too_large = of_size(65_537);
    assert_eq!(
        Certificate::parse(&too_large).map(|_| ()),
        Err(CertificateError::TooLarge { octets: 65_537 })
    );
    assert!(subject_public_key_info(&too_large).is_err());
}

#[test]
fn unknown_versions_and_keys_are_told_apart() {
    let mut template = Template::new(common_name("demo"));
    for version in [3, 0x7f, 0xff] {
        template.version = version;
        assert_eq!(
            Certificate::parse(&made(&template)).map(|_| ()),
            Err(CertificateError::UnknownVersion)
        );
    }
    let kind = |spki: Vec<u8>| {
        let mut template = Template::client("demo");
        template.spki = Some(spki);
        Certificate::parse(&made(&template)).map(|certificate| certificate.public_key_kind().clone())
    };
    let ec = |curve: &str| sequence(&[sequence(&[oid("1.2.840.10045.2.1"), oid(curve)]), bit_string(&[4; 65])]);
    assert_eq!(kind(ec("1.2.840.10045.3.1.7")), Ok(PublicKeyKind::P256));
    assert_eq!(kind(ec("1.3.132.0.34")), Ok(PublicKeyKind::P384));
    assert_eq!(
        kind(ec("1.3.132.0.10")),
        Ok(PublicKeyKind::Other {
            oid: "1.3.132.0.10".to_owned()
        })
    );
    let rsa = |modulus: &[u8]| {
        let key = sequence(&[integer(modulus), integer(&[1, 0, 1])]);
        sequence(&[sequence(&[oid("1.2.840.113549.1.1.1"), tlv(5, &[])]), bit_string(&key)])
    };
    let mut modulus = vec![0; 257];
    modulus[1] = 0x80;
    assert_eq!(kind(rsa(&modulus)), Ok(PublicKeyKind::Rsa { bits: 2048 }));
    modulus.remove(0);
    modulus[0] = 0x7f;
    assert_eq!(kind(rsa(&modulus)), Ok(PublicKeyKind::Rsa { bits: 2047 }));
    assert!(
        kind(sequence(&[
            sequence(&[oid("1.2.840.113549.1.1.1")]),
            bit_string(&[1, 2, 3])
        ]))
        .is_err()
    );
    assert!(kind(sequence(&[])).is_err());
    assert!(kind(explicit(0, &[])).is_err());
}

// covers TRAP-1, MTLS-3.1-2
#[test]
fn the_thumbprint_is_over_the_octets_as_received() {
    let der = made(&Template::client("demo"));
    let thumbprint = CertificateThumbprint::of_certificate(&der);
    for index in [0, 1, 20, der.len() - 1] {
        let mut altered = der.clone();
        altered[index] ^= 1;
        assert_ne!(CertificateThumbprint::of_certificate(&altered), thumbprint);
    }
    assert_eq!(CertificateThumbprint::of_certificate(&der.clone()), thumbprint);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn a_certificate_with_any_octets_changed_is_read_or_refused_without_panic(
        changes in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 1..4),
        cut in any::<Option<proptest::sample::Index>>(),
    ) {
        // One certificate with everything in it; making a key for each case would take longer than the case.
        thread_local! {
            static DER: Vec<u8> = made(
                &Template::client("demo").with(basic_constraints(false, None)).with(crate::pki::alternative_names(&[
                    (crate::pki::DNS, b"client.example"),
                    (crate::pki::IP, &[192, 0, 2, 1]),
                ])),
            );
        }
        let mut der = DER.with(Clone::clone);
        for (index, octet) in changes {
            let index = index.index(der.len());
            der[index] = octet;
        }
        if let Some(cut) = cut {
            der.truncate(cut.index(der.len()));
        }
        if let Ok(certificate) = Certificate::parse(&der) {
            prop_assert!(subject_public_key_info(&der).is_ok());
            prop_assert!(!certificate.subject().to_string().chars().any(char::is_control));
        }
    }

    #[test]
    fn any_octets_are_read_or_refused_without_panic(octets in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = Certificate::parse(&octets);
        let _ = Certificate::parse(&tlv(0x30, &tlv(0x30, &octets)));
        let _ = subject_public_key_info(&octets);
    }
}
