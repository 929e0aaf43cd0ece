//! Distinguished names: RFC 4514 text, RFC 4517 and 4518 comparison.

use keybound_protocol::certificate::Certificate;
use keybound_protocol::distinguished_name::{
    DistinguishedName, DistinguishedNameError, DistinguishedNameProblem, NameDifferenceKind, UncomparableText,
};
use proptest::prelude::*;

use crate::der::{Attribute, BMP, IA5, PRINTABLE, TELETEX, UNIVERSAL, UTF8, name, tlv};
use crate::pki::{Key, Template};

fn written(text: &str) -> DistinguishedName {
    text.parse().unwrap_or_else(|error| panic!("{text:?}: {error}"))
}

/// The subject of a certificate, in ASN.1 order.
fn subject(rdns: &[&[Attribute<'_>]]) -> DistinguishedName {
    subject_of(name(rdns))
}

fn subject_of(der: Vec<u8>) -> DistinguishedName {
    let certificate = Template::new(der).self_sign(&Key::generate());
    Certificate::parse(&certificate).unwrap().subject().clone()
}

fn utf8(text: &str) -> DistinguishedName {
    subject(&[&[("2.5.4.3", UTF8, text.as_bytes())]])
}

fn check(presented: &DistinguishedName, text: &str, expected: bool) {
    assert_eq!(
        presented.matches(&written(text)),
        expected,
        "{presented} against {text}"
    );
    assert_eq!(
        presented.difference(&written(text)).is_none(),
        expected,
        "{presented} against {text}"
    );
}

// covers DN-1
#[test]
fn the_string_lists_rdns_from_last_to_first() {
    let presented = subject(&[
        &[("2.5.4.6", PRINTABLE, b"GB")],
        &[("2.5.4.10", UTF8, b"Org")],
        &[("2.5.4.11", UTF8, b"Unit"), ("2.5.4.11", UTF8, b"Team")],
        &[("2.5.4.3", UTF8, b"x")],
    ]);
    assert_eq!(presented.to_string(), "CN=x,OU=Unit+OU=Team,O=Org,C=GB");
    check(&presented, "CN=x,OU=Unit+OU=Team,O=Org,C=GB", true);
    check(&presented, "C=GB,O=Org,OU=Unit+OU=Team,CN=x", false);
}

// covers DN-2, MTLS-2.1.2-2
#[test]
fn short_names_in_any_case_and_object_identifiers_mean_the_same() {
    let names = [
        ("CN", "2.5.4.3"),
        ("L", "2.5.4.7"),
        ("ST", "2.5.4.8"),
        ("O", "2.5.4.10"),
        ("OU", "2.5.4.11"),
        ("C", "2.5.4.6"),
        ("STREET", "2.5.4.9"),
        ("DC", "0.9.2342.19200300.100.1.25"),
        ("UID", "0.9.2342.19200300.100.1.1"),
        ("emailAddress", "1.2.840.113549.1.9.1"),
        ("E", "1.2.840.113549.1.9.1"),
        ("serialNumber", "2.5.4.5"),
        ("organizationIdentifier", "2.5.4.97"),
        ("businessCategory", "2.5.4.15"),
        ("jurisdictionC", "1.3.6.1.4.1.311.60.2.1.3"),
        ("jurisdictionCountryName", "1.3.6.1.4.1.311.60.2.1.3"),
        ("jurisdictionST", "1.3.6.1.4.1.311.60.2.1.2"),
        ("jurisdictionL", "1.3.6.1.4.1.311.60.2.1.1"),
        ("title", "2.5.4.12"),
        ("GN", "2.5.4.42"),
        ("givenName", "2.5.4.42"),
        ("SN", "2.5.4.4"),
        ("surname", "2.5.4.4"),
        ("initials", "2.5.4.43"),
        ("generationQualifier", "2.5.4.44"),
        ("dnQualifier", "2.5.4.46"),
        ("pseudonym", "2.5.4.65"),
        ("postalCode", "2.5.4.17"),
        ("name", "2.5.4.41"),
    ];
    for (short, dotted) in names {
        let presented = subject(&[&[(dotted, UTF8, b"Value")]]);
        for spelling in [
            short.to_owned(),
            short.to_uppercase(),
            short.to_lowercase(),
            dotted.to_owned(),
        ] {
            check(&presented, &format!("{spelling}=Value"), true);
            check(&presented, &format!("{spelling}=Other"), false);
        }
    }
    // The serial number of an organisation is not a surname, nor its street a state.
    check(&subject(&[&[("2.5.4.5", PRINTABLE, b"1")]]), "SN=1", false);
    check(&subject(&[&[("2.5.4.9", UTF8, b"1")]]), "ST=1", false);
}

// covers DN-3
#[test]
fn types_without_a_name_compare_by_their_octets() {
    let presented = subject(&[&[("1.2.3.4.5", UTF8, b"Text")]]);
    assert_eq!(presented.to_string(), "1.2.3.4.5=#0c0454657874");
    check(&presented, "1.2.3.4.5=#0c0454657874", true);
    check(&presented, "1.2.3.4.5=#0C0454657874", true);
    // BER has several lengths for the same value.
    check(&presented, "1.2.3.4.5=#0c810454657874", true);
    check(&presented, "1.2.3.4.5=#0c0474657874", false);
    check(&presented, "1.2.3.4.5=#130454657874", false);
    check(&presented, "1.2.3.4.6=#0c0454657874", false);
    // As text: the same text, with nothing assumed about case.
    check(&presented, "1.2.3.4.5=Text", true);
    check(&presented, "1.2.3.4.5=text", false);
    // A type with a name may be written in hexadecimal too, and is compared by its own rule.
    check(&utf8("Demo"), "CN=#0c0444656d6f", true);
    check(&utf8("Demo"), "CN=#130464656d6f", true);
    let number = subject(&[&[("1.2.3.4.5", 2, &[5])]]);
    check(&number, "1.2.3.4.5=#020105", true);
    check(&number, "1.2.3.4.5=5", false);
}

// covers DN-4, TRAP-6
#[test]
fn escapes_are_undone() {
    check(&utf8("a,O=b"), "CN=a\\,O=b", true);
    check(&utf8("a,O=b"), "CN=a\\2cO\\3db", true);
    check(&utf8("a,O=b"), "CN=a,O=b", false);
    let two = subject(&[&[("2.5.4.10", UTF8, b"b")], &[("2.5.4.3", UTF8, b"a")]]);
    check(&two, "CN=a,O=b", true);
    check(&two, "CN=a\\,O=b", false);
    check(&utf8("a+O=b"), "CN=a\\+O\\=b", true);
    check(&utf8("\"a\" <b>;c\\d"), "CN=\\\"a\\\" \\<b\\>\\;c\\\\d", true);
    check(&utf8("#a"), "CN=\\#a", true);
    check(&utf8("a#b=c"), "CN=a#b=c", true);
    check(&utf8("Müller"), "CN=M\\c3\\bcller", true);
    check(&utf8("Müller"), "CN=M\\C3\\BCller", true);
    check(&utf8("a\\,b"), "CN=a\\\\\\,b", true);
    assert_eq!(utf8(" a ").to_string(), "CN=\\ a\\ ");
    assert_eq!(utf8("#a").to_string(), "CN=\\#a");
    assert_eq!(utf8("a\0\nb\u{202e}").to_string(), "CN=a\\00\\0Ab\\E2\\80\\AE");
}

fn refused(text: &str) -> DistinguishedNameProblem {
    match text.parse::<DistinguishedName>() {
        Ok(name) => panic!("{text:?} was read as {name}"),
        Err(DistinguishedNameError { problem, .. }) => problem,
    }
}

// covers DN-4, DN-10, TRAP-5, TRAP-16
#[test]
fn what_is_no_name_is_refused() {
    use DistinguishedNameProblem as Problem;
    assert_eq!(refused(""), Problem::Empty);
    assert_eq!(refused("  "), Problem::Empty);
    for text in [
        "CN=a,",
        "CN=a,,O=b",
        ",CN=a",
        "CN=a+",
        "+CN=a",
        "=a",
        "/C=GB/CN=x",
        "CN=a,\u{a0}O=b",
    ] {
        assert_eq!(refused(text), Problem::MissingAttribute, "{text}");
    }
    for text in ["CN", "CN a", "CN:a", "2.5.4.3"] {
        assert_eq!(refused(text), Problem::MissingEquals, "{text}");
    }
    for text in ["FOO=a", "2.5.4.03=a", "2=a", "OID.2.5.4.3=a", "-=a"] {
        assert!(matches!(refused(text), Problem::UnknownType { .. }), "{text}");
    }
    assert_eq!(refused("CN=a;O=b"), Problem::Unescaped(';'));
    assert_eq!(refused("CN=\"a\""), Problem::Unescaped('"'));
    assert_eq!(refused("CN=<a>"), Problem::Unescaped('<'));
    for text in ["CN=a\\", "CN=a\\x", "CN=a\\a", "CN=a\\\u{fc}"] {
        assert_eq!(refused(text), Problem::BadEscape, "{text}");
    }
    assert_eq!(refused("CN=\\ff"), Problem::NotUtf8);
    for text in [
        "CN=#",
        "CN=#0",
        "CN=#zz",
        "CN=#0c",
        "CN=#0c0161ff",
        "CN=#0c01 61",
        "CN=#0c800000",
        "CN=#8100",
    ] {
        assert_eq!(refused(text), Problem::BadHexadecimal, "{text}");
    }
    for (text, character) in [
        ("CN=a\\00", '\0'),
        ("CN=a\tb", '\t'),
        ("CN=\u{7f}", '\u{7f}'),
        ("CN=#0c0161,O=\\0a", '\n'),
    ] {
        assert_eq!(
            refused(text),
            Problem::Uncomparable(UncomparableText::ControlCharacter(character)),
            "{text:?}"
        );
    }
    assert_eq!(
        refused("CN=#0c0100"),
        Problem::Uncomparable(UncomparableText::ControlCharacter('\0'))
    );
    for text in ["CN=", "CN=,O=b", "CN=\\ ", "CN=#0c00"] {
        assert_eq!(refused(text), Problem::Uncomparable(UncomparableText::Blank), "{text}");
    }
    assert_eq!(refused(&vec!["CN=a"; 257].join(",")), Problem::TooLong);
    assert_eq!(refused(&format!("CN={}", "a".repeat(17_000))), Problem::TooLong);
    let position = "CN=a, FOO=b"
        .parse::<DistinguishedName>()
        .map(|_| ())
        .unwrap_err()
        .character;
    assert_eq!(position, 6);
}

#[test]
fn unescaped_blanks_around_separators_mean_nothing() {
    let presented = subject(&[
        &[("2.5.4.10", UTF8, b"Org")],
        &[("2.5.4.3", UTF8, b"a b"), ("2.5.4.5", PRINTABLE, b"7")],
    ]);
    for text in [
        "CN=a b+serialNumber=7,O=Org",
        " CN = a b + serialNumber = 7 , O = Org ",
        "CN=a b   +serialNumber=7,  O=Org",
    ] {
        check(&presented, text, true);
    }
}

// covers DN-5, TRAP-4, MTLS-2.1-5
#[test]
fn rdns_match_by_position_and_attributes_of_one_rdn_in_any_order() {
    let presented = subject(&[
        &[("2.5.4.10", UTF8, b"b")],
        &[("2.5.4.3", UTF8, b"a"), ("0.9.2342.19200300.100.1.1", UTF8, b"u")],
    ]);
    check(&presented, "CN=a+UID=u,O=b", true);
    check(&presented, "UID=u+CN=a,O=b", true);
    check(&presented, "O=b,CN=a+UID=u", false);
    check(&presented, "CN=a,UID=u,O=b", false);
    check(&presented, "CN=a+UID=u", false);
    check(&presented, "CN=a+UID=u,O=b,C=DE", false);
    check(&presented, "CN=a+UID=u+UID=u,O=b", false);
    let twice = subject(&[&[("2.5.4.11", UTF8, b"a")], &[("2.5.4.11", UTF8, b"b")]]);
    check(&twice, "OU=b,OU=a", true);
    check(&twice, "OU=a,OU=b", false);
    let pair = subject(&[&[("2.5.4.11", UTF8, b"a"), ("2.5.4.11", UTF8, b"a")]]);
    check(&pair, "OU=a+OU=a", true);
    check(&pair, "OU=a+OU=b", false);
}

// covers DN-5
#[test]
fn a_text_of_any_string_type_takes_what_its_typed_neighbours_leave() {
    // The text equals both octet forms, which do not equal each other: whoever chooses first must not decide.
    let presented = subject(&[&[("1.2.3.4.5", UTF8, b"T"), ("1.2.3.4.5", PRINTABLE, b"T")]]);
    for registered in ["1.2.3.4.5=T+1.2.3.4.5=#0c0154", "1.2.3.4.5=#0c0154+1.2.3.4.5=T"] {
        check(&presented, registered, true);
        assert!(written(registered).matches(&presented), "{registered}");
    }
    check(&presented, "1.2.3.4.5=#0c0154+1.2.3.4.5=#0c0154", false);
    check(&presented, "1.2.3.4.5=T+1.2.3.4.5=t", false);
    check(&presented, "1.2.3.4.5=T+1.2.3.4.5=T", true);
}

// covers DN-6, DN-9, TRAP-3
#[test]
fn the_same_text_in_any_string_type_is_the_same() {
    for tag in [UTF8, PRINTABLE, TELETEX, IA5] {
        check(&subject(&[&[("2.5.4.10", tag, b"Example Org")]]), "O=example org", true);
    }
    let bmp: Vec<u8> = "Größe".encode_utf16().flat_map(u16::to_be_bytes).collect();
    check(&subject(&[&[("2.5.4.10", BMP, &bmp)]]), "O=GRÖSSE", true);
    let universal: Vec<u8> = "Größe"
        .chars()
        .flat_map(|character| u32::from(character).to_be_bytes())
        .collect();
    check(&subject(&[&[("2.5.4.10", UNIVERSAL, &universal)]]), "O=größe", true);
    check(
        &subject(&[&[("0.9.2342.19200300.100.1.25", IA5, b"EXAMPLE")]]),
        "DC=example",
        true,
    );
    check(
        &subject(&[&[("1.2.840.113549.1.9.1", IA5, b"Info@Example.com")]]),
        "emailAddress=info@example.COM",
        true,
    );
    // Beyond ASCII a TeletexString has no one meaning: only its own octets equal it.
    let teletex = subject(&[&[("2.5.4.10", TELETEX, b"M\xfcller")]]);
    check(&teletex, "O=Müller", false);
    check(&teletex, "O=#14064dfc6c6c6572", true);
    // Octets that are not what their type says are no text.
    let latin = subject(&[&[("2.5.4.10", UTF8, b"M\xfcller")]]);
    check(&latin, "O=Müller", false);
    check(&latin, "O=#0c064dfc6c6c6572", true);
    let surrogate = subject(&[&[("2.5.4.10", BMP, &[0xd8, 0x3d, 0xde, 0x00])]]);
    check(&surrogate, "O=#1e04d83dde00", true);
}

// covers DN-7
#[test]
fn blanks_at_the_ends_mean_nothing_and_inner_runs_are_one() {
    for text in ["My  Dept ", " my dept", "MY\u{a0}DEPT", "My Dept"] {
        check(&utf8(text), "CN=my dept", true);
        check(&utf8(text), "CN=MyDept", false);
    }
}

// covers DN-8, TRAP-5, MTLS-7.5-4
#[test]
fn characters_that_have_no_meaning_in_a_comparison_never_match() {
    for text in [
        "admin\0",
        "\0admin",
        "ad\0min",
        "admin\u{1}",
        "admin\n",
        "admin\u{7f}",
        "admin\u{9f}",
        "admin\u{fffd}",
    ] {
        check(&utf8(text), "CN=admin", false);
        assert!(!utf8(text).matches(&utf8(text)), "{text:?} equals not even itself");
        let kind = utf8(text)
            .difference(&written("CN=admin"))
            .map(|difference| difference.kind);
        assert_eq!(kind, Some(NameDifferenceKind::Uncomparable), "{text:?}");
    }
    // In a certificate whose CA stops reading at NUL this would be good.example.
    check(&utf8("good\0evil"), "CN=good", false);
    for text in ["admin\u{e000}", "admin\u{1f600}", "\u{301}admin"] {
        assert!(!utf8(text).matches(&utf8(text)), "{text:?}");
        assert!(
            matches!(
                refused(&format!("CN={text}")),
                DistinguishedNameProblem::Uncomparable(_)
            ),
            "{text:?}"
        );
    }
    // Invisible characters are not deleted, as RFC 4518 §2.2 would: the names differ.
    for text in ["ad\u{ad}min", "ad\u{200b}min", "ad\u{200d}min", "admin\u{fe0f}"] {
        check(&utf8(text), "CN=admin", false);
        check(&utf8(text), &format!("CN={text}"), true);
    }
    check(&utf8("ＡＤＭＩＮ"), "CN=admin", true);
    check(&utf8("ÉCOLE"), "CN=e\u{301}cole", true);
}

// covers DN-10
#[test]
fn an_empty_name_equals_nothing() {
    let empty = subject(&[]);
    assert!(empty.is_empty());
    assert!(!empty.matches(&empty));
    check(&empty, "CN=a", false);
}

#[test]
fn a_difference_says_where() {
    let presented = subject(&[
        &[("2.5.4.6", PRINTABLE, b"BR")],
        &[("2.5.4.10", UTF8, b"Example PSP")],
        &[("2.5.4.11", UTF8, b"Prod")],
        &[("2.5.4.3", UTF8, b"psp-17")],
    ]);
    let difference = |text: &str| presented.difference(&written(text)).unwrap();
    let produção = difference("CN=psp-17,OU=Produção,O=Example PSP,C=BR");
    assert_eq!(produção.to_string(), "second RDN differs");
    assert_eq!((produção.presented, produção.registered), (10..17, 10..21));
    assert_eq!(&presented.to_string()[10..17], "OU=Prod");
    assert_eq!(
        difference("C=BR,O=Example PSP,OU=Prod,CN=psp-17").kind,
        NameDifferenceKind::Reversed
    );
    assert_eq!(
        difference("OU=Prod,CN=psp-17,O=Example PSP,C=BR").kind,
        NameDifferenceKind::Reordered
    );
    let longer = difference("CN=psp-17,OU=Prod,O=Example PSP,C=BR,DC=x");
    assert_eq!((longer.kind, longer.index), (NameDifferenceKind::Missing, 4));
    assert_eq!(
        longer.presented,
        presented.to_string().len()..presented.to_string().len()
    );
    assert_eq!(
        difference("CN=psp-17,OU=Prod,O=Example PSP").kind,
        NameDifferenceKind::Additional
    );
}

/// Names with everything that can stand in one: text with special characters, hexadecimal values, several attributes in an RDN.
fn any_name() -> impl Strategy<Value = String> {
    let kind = prop_oneof![
        Just("CN".to_owned()),
        Just("emailAddress".to_owned()),
        Just("DC".to_owned()),
        Just("2.5.4.97".to_owned()),
        Just("1.2.3.4".to_owned())
    ];
    let text = "[ ]{0,2}[a-zA-Z0-9 ,+\"\\\\<>;=#äöüßéΣ京]{0,12}[a-z][ ]{0,2}"
        .prop_map(|text| text.bytes().map(|octet| format!("\\{octet:02x}")).collect::<String>());
    let hexadecimal = proptest::collection::vec(any::<u8>(), 0..8).prop_map(|octets| {
        tlv(2, &octets)
            .iter()
            .fold("#".to_owned(), |text, octet| format!("{text}{octet:02x}"))
    });
    let attribute =
        (kind, prop_oneof![3 => text, 1 => hexadecimal]).prop_map(|(kind, value)| format!("{kind}={value}"));
    let rdn = proptest::collection::vec(attribute, 1..3).prop_map(|attributes| attributes.join("+"));
    proptest::collection::vec(rdn, 1..5).prop_map(|rdns| rdns.join(","))
}

proptest! {
    // covers DN-4
    #[test]
    fn reading_what_was_written_changes_nothing(text in any_name()) {
        let first: DistinguishedName = text.parse().unwrap();
        let second: DistinguishedName = first.to_string().parse().unwrap();
        prop_assert_eq!(first.to_string(), second.to_string());
        prop_assert!(first.matches(&second) && second.matches(&first));
    }

    #[test]
    fn a_certificate_s_name_reads_back_as_itself(texts in proptest::collection::vec("\\PC{0,8}[a-z\"+,;<>\\\\ #=]{0,4}[a-z]", 1..5)) {
        let rdns: Vec<Vec<Attribute<'_>>> = texts.iter().map(|text| vec![("2.5.4.3", UTF8, text.as_bytes())]).collect();
        let rdns: Vec<&[Attribute<'_>]> = rdns.iter().map(Vec::as_slice).collect();
        let presented = subject(&rdns);
        match presented.to_string().parse::<DistinguishedName>() {
            Ok(registered) => prop_assert!(presented.matches(&registered), "{}", presented),
            // Unassigned and private characters: then the name does not equal itself either.
            Err(error) => {
                prop_assert!(matches!(error.problem, DistinguishedNameProblem::Uncomparable(_)), "{}", error);
                prop_assert!(!presented.matches(&presented));
            }
        }
    }

    #[test]
    fn any_text_is_read_or_refused_without_panic(text in "\\PC{0,64}") {
        if let Ok(name) = text.parse::<DistinguishedName>() {
            prop_assert!(name.matches(&name));
        }
    }

    #[test]
    fn any_octets_as_a_subject_are_read_or_refused_without_panic(octets in proptest::collection::vec(any::<u8>(), 0..64)) {
        let certificate = Template::new(tlv(0x30, &octets)).self_sign(&Key::generate());
        if let Ok(certificate) = Certificate::parse(&certificate) {
            prop_assert!(!certificate.subject().to_string().contains('\0'));
        }
    }
}
