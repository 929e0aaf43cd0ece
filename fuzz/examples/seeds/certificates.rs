//! Certificates, as authorities issue them and as nobody should.

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use keybound_protocol::certificate_file;

use super::random::Random;
use crate::der::{
    BMP, IA5, PRINTABLE, TELETEX, UNIVERSAL, UTF8, bit_string, boolean, common_name, explicit, implicit, integer, name,
    octet_string, oid, sequence, set, tlv,
};

const APPENDIX_A: &[u8] = include_bytes!("../../../testdata/rfc8705-appendix-a.pem");
const ED25519: &str = "1.3.101.112";
const CLIENT_AUTH: &str = "1.3.6.1.5.5.7.3.2";
const SERVER_AUTH: &str = "1.3.6.1.5.5.7.3.1";

/// The key of the authority, and the one of every other certificate.
fn authority_key() -> Ed25519KeyPair {
    Ed25519KeyPair::from_seed_unchecked(&[7; 32]).expect("32 octets")
}

fn ed25519_key(key: &[u8]) -> Vec<u8> {
    sequence(&[sequence(&[oid(ED25519)]), bit_string(key)])
}

struct Template {
    version: Option<u8>,
    serial: Vec<u8>,
    issuer: Vec<u8>,
    validity: [Vec<u8>; 2],
    subject: Vec<u8>,
    key: Vec<u8>,
    extensions: Vec<Vec<u8>>,
    algorithm: &'static str,
}

impl Template {
    fn new() -> Template {
        Template {
            version: Some(2),
            serial: vec![0x42],
            issuer: common_name("Fuzz authority"),
            validity: [tlv(0x17, b"250101000000Z"), tlv(0x17, b"300101000000Z")],
            subject: common_name("demo"),
            key: ed25519_key(&[9; 32]),
            extensions: Vec::new(),
            algorithm: ED25519,
        }
    }

    fn client() -> Template {
        let names = [(2, &b"client.example.com"[..]), (1, b"demo@example.com")];
        let mut template = Template::new();
        template.extensions = vec![
            key_usage(&[7, 0x80]),
            purposes(&[CLIENT_AUTH]),
            alternative_names(&names),
        ];
        template
    }

    fn with(change: impl FnOnce(&mut Template)) -> Template {
        let mut template = Template::client();
        change(&mut template);
        template
    }

    fn signed_part(&self) -> Vec<u8> {
        let mut fields = Vec::new();
        fields.extend(self.version.map(|version| explicit(0, &integer(&[version]))));
        fields.extend([
            integer(&self.serial),
            sequence(&[oid(self.algorithm)]),
            self.issuer.clone(),
            sequence(&self.validity),
            self.subject.clone(),
            self.key.clone(),
        ]);
        if !self.extensions.is_empty() {
            fields.push(explicit(3, &sequence(&self.extensions)));
        }
        sequence(&fields)
    }

    fn signed(&self) -> Vec<u8> {
        signed(&self.signed_part(), self.algorithm)
    }
}

fn signed(signed_part: &[u8], algorithm: &str) -> Vec<u8> {
    let signature = authority_key().sign(signed_part);
    sequence(&[
        signed_part.to_vec(),
        sequence(&[oid(algorithm)]),
        bit_string(signature.as_ref()),
    ])
}

fn extension(identifier: &str, critical: bool, value: &[u8]) -> Vec<u8> {
    let mut fields = vec![oid(identifier)];
    fields.extend(critical.then(|| boolean(true)));
    fields.push(octet_string(value));
    sequence(&fields)
}

fn key_usage(octets: &[u8]) -> Vec<u8> {
    extension("2.5.29.15", true, &tlv(3, octets))
}

fn purposes(purposes: &[&str]) -> Vec<u8> {
    let purposes: Vec<Vec<u8>> = purposes.iter().map(|purpose| oid(purpose)).collect();
    extension("2.5.29.37", false, &sequence(&purposes))
}

fn constraints(parts: &[Vec<u8>]) -> Vec<u8> {
    extension("2.5.29.19", true, &sequence(parts))
}

fn alternative_names(names: &[(u8, &[u8])]) -> Vec<u8> {
    extension("2.5.29.17", false, &super::names::general_names(names))
}

/// The authority: a certificate for [`authority_key`], signed by itself.
pub(crate) fn authority() -> Vec<u8> {
    let mut template = Template::new();
    template.subject = common_name("Fuzz authority");
    template.key = ed25519_key(authority_key().public_key().as_ref());
    template.extensions = vec![constraints(&[boolean(true)]), key_usage(&[1, 0x06])];
    template.signed()
}

/// Certificates, and certificates with one octet changed before they were signed.
pub(crate) fn inputs() -> (Vec<Vec<u8>>, Vec<Vec<u8>>) {
    let mut certificates: Vec<Vec<u8>> = templates().iter().map(Template::signed).collect();
    certificates.push(authority());
    certificates.extend(certificate_file::certificates(APPENDIX_A).expect("the example of the RFC"));
    certificates.push([Template::client().signed(), vec![0]].concat());
    certificates.push(Template::client().signed_part());
    certificates.push(Vec::new());
    certificates.push(vec![0x30, 0x80, 0, 0]);
    // The outer algorithm is another than the inner one.
    certificates.push(signed(&Template::client().signed_part(), "1.2.840.10045.4.3.2"));
    let mut random = Random::new();
    let mut altered = Vec::new();
    for template in templates() {
        let mut part = template.signed_part();
        let position = random.below(part.len());
        part[position] ^= 1 << random.below(8);
        altered.push(signed(&part, template.algorithm));
    }
    (certificates, altered)
}

fn templates() -> Vec<Template> {
    let mut templates = vec![Template::client(), Template::new()];
    for version in [None, Some(0), Some(1), Some(3)] {
        templates.push(Template::with(|template| template.version = version));
        templates.push(Template::with(|template| {
            template.version = version;
            template.extensions.clear();
        }));
    }
    for serial in [&[][..], &[0], &[0x80], &[0xff; 20], &[0x7f; 40]] {
        templates.push(Template::with(|template| template.serial = serial.to_vec()));
    }
    for [from, to] in [
        [&b"250101000000Z"[..], b"250102000000Z"],
        [b"270101000000Z", b"280101000000Z"],
        [b"300101000000Z", b"250101000000Z"],
        [b"250101000000+0100", b"300101000000Z"],
        [b"2501010000Z", b"300101000000Z"],
        [b"251301000000Z", b"300101000000Z"],
        [b"000101000000Z", b"491231235959Z"],
        [b"500101000000Z", b"991231235959Z"],
    ] {
        templates.push(Template::with(|template| {
            template.validity = [tlv(0x17, from), tlv(0x17, to)]
        }));
    }
    for to in [
        &b"99991231235959Z"[..],
        b"20500101000000Z",
        b"00010101000000Z",
        b"20300101000000.5Z",
        b"20300230000000Z",
    ] {
        templates.push(Template::with(|template| template.validity[1] = tlv(0x18, to)));
    }
    for subject in subjects() {
        templates.push(Template::with(|template| template.subject = subject));
    }
    for extensions in extensions() {
        templates.push(Template::with(|template| template.extensions = extensions));
    }
    for key in keys() {
        templates.push(Template::with(|template| template.key = key));
    }
    templates.push(Template::with(|template| template.issuer = sequence(&[])));
    templates.push(Template::with(|template| template.issuer = template.subject.clone()));
    templates.push(Template::with(|template| template.algorithm = "1.2.840.113549.1.1.5"));
    templates
}

fn subjects() -> Vec<Vec<u8>> {
    let bmp: Vec<u8> = "Müller".encode_utf16().flat_map(u16::to_be_bytes).collect();
    let universal: Vec<u8> = "Mü"
        .chars()
        .flat_map(|letter| u32::from(letter).to_be_bytes())
        .collect();
    vec![
        sequence(&[]),
        sequence(&[set(&[])]),
        name(&[
            &[("2.5.4.6", PRINTABLE, b"GB")],
            &[("2.5.4.10", UTF8, b"Org, Inc.")],
            &[("2.5.4.11", UTF8, b"Unit"), ("2.5.4.11", UTF8, b"Team")],
            &[("2.5.4.3", UTF8, "  Zo\u{e9} #1 ".as_bytes())],
        ]),
        name(&[
            &[("0.9.2342.19200300.100.1.25", IA5, b"example")],
            &[("0.9.2342.19200300.100.1.1", UTF8, b"u+1")],
            &[("1.2.840.113549.1.9.1", IA5, b"a@example.com")],
            &[("2.5.4.97", UTF8, b"PSDGB-FCA-123")],
        ]),
        name(&[&[("2.5.4.3", BMP, &bmp)]]),
        name(&[&[("2.5.4.3", UNIVERSAL, &universal)]]),
        name(&[&[("2.5.4.3", TELETEX, b"M\xfcller")]]),
        name(&[&[("2.5.4.3", BMP, b"\xd8\x3d\xde\x00")]]),
        name(&[&[("2.5.4.3", UTF8, b"a\0b\x1b[31m")]]),
        name(&[&[("2.5.4.3", UTF8, "a\u{202e}b\u{e000}".as_bytes())]]),
        name(&[&[("2.5.4.3", UTF8, "\u{fb01}\u{130}\u{df}\u{1e9e}\u{3000}x".as_bytes())]]),
        name(&[&[("2.5.4.3", UTF8, b"\xff\xfe")]]),
        name(&[&[("2.5.4.3", UTF8, b"")]]),
        name(&[&[("2.5.4.3", 0x24, b"\x0c\x01a")]]),
        name(&[&[("1.2.3.4.5", UTF8, b"Text"), ("1.2.3.4.5", 2, &[5])]]),
        name(&[&[("2.5.4.45", 3, &[0, 1, 2])]]),
        name(&[&[("2.999.1", 5, b"")]]),
    ]
}

fn extensions() -> Vec<Vec<Vec<u8>>> {
    let address = [0x20, 1, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
    vec![
        vec![alternative_names(&[
            (6, b"spiffe://example.org/a"),
            (7, &[192, 0, 2, 1]),
            (7, &address),
        ])],
        vec![alternative_names(&[
            (7, &[192, 0, 2]),
            (2, "b\u{fc}cher".as_bytes()),
            (8, &[0x2a, 3]),
            (9, b""),
        ])],
        vec![alternative_names(&[])],
        vec![extension("2.5.29.17", true, b"\x30\x02\x82\x00")],
        vec![extension("2.5.29.17", true, b"")],
        vec![alternative_names(&[(2, b"a")]), alternative_names(&[(2, b"b")])],
        vec![key_usage(&[0, 0])],
        vec![key_usage(&[7, 0x80, 0x80])],
        vec![key_usage(&[9, 0x80])],
        vec![key_usage(&[5, 0x60])],
        vec![purposes(&[SERVER_AUTH])],
        vec![purposes(&[SERVER_AUTH, CLIENT_AUTH, "2.5.29.37.0"])],
        vec![purposes(&[])],
        vec![constraints(&[])],
        vec![constraints(&[boolean(true), integer(&[0])])],
        vec![constraints(&[boolean(false)])],
        vec![constraints(&[integer(&[1])])],
        vec![constraints(&[boolean(true), integer(&[0xff])])],
        vec![extension("2.5.29.14", false, &octet_string(b"key"))],
        vec![extension("2.5.29.14", false, b"key")],
        vec![extension("2.5.29.35", false, &sequence(&[implicit(0, b"key")]))],
        vec![extension("2.5.29.31", false, b"anything")],
        vec![extension(
            "2.5.29.30",
            true,
            &sequence(&[explicit(0, &sequence(&[implicit(2, b"example.com")]))]),
        )],
        vec![extension(
            "2.5.29.32",
            true,
            &sequence(&[sequence(&[oid("2.5.29.32.0")])]),
        )],
        vec![extension("1.2.3.4.5", true, b"unknown")],
        vec![extension("1.2.3.4.5", false, b"unknown")],
        vec![sequence(&[
            oid("1.2.3.4.5"),
            boolean(false),
            octet_string(b"default written"),
        ])],
        vec![sequence(&[
            oid("1.2.3.4.5"),
            tlv(1, &[1]),
            octet_string(b"true is 255"),
        ])],
        (0..65)
            .map(|arc| extension(&format!("1.2.3.{arc}"), false, b""))
            .collect(),
    ]
}

fn keys() -> Vec<Vec<u8>> {
    let ec =
        |curve: &str, point: &[u8]| sequence(&[sequence(&[oid("1.2.840.10045.2.1"), oid(curve)]), bit_string(point)]);
    let rsa = |modulus: &[u8], exponent: &[u8]| {
        let key = sequence(&[integer(&[&[0], modulus].concat()), integer(exponent)]);
        sequence(&[sequence(&[oid("1.2.840.113549.1.1.1"), tlv(5, b"")]), bit_string(&key)])
    };
    vec![
        // The base points of P-256 and P-384.
        ec("1.2.840.10045.3.1.7", &P256),
        ec("1.3.132.0.34", &[4; 97]),
        ec("1.3.132.0.35", &[4; 133]),
        ec("1.2.840.10045.3.1.7", &[2; 33]),
        ec("1.2.840.10045.3.1.7", &[0]),
        rsa(&[0xc1; 256], &[1, 0, 1]),
        rsa(&[0xc1; 128], &[1, 0, 1]),
        rsa(&[0xc1; 256], &[2]),
        rsa(&[], &[]),
        ed25519_key(&[9; 31]),
        ed25519_key(authority_key().public_key().as_ref()),
        sequence(&[sequence(&[oid("1.3.101.110")]), bit_string(&[9; 32])]),
        sequence(&[sequence(&[oid("1.2.3.4")]), tlv(3, &[])]),
        sequence(&[sequence(&[oid("1.2.3.4")]), tlv(3, &[7, 0x80])]),
    ]
}

/// The base point of P-256, uncompressed.
pub(crate) const P256: [u8; 65] = [
    0x04, 0x6b, 0x17, 0xd1, 0xf2, 0xe1, 0x2c, 0x42, 0x47, 0xf8, 0xbc, 0xe6, 0xe5, 0x63, 0xa4, 0x40, 0xf2, 0x77, 0x03,
    0x7d, 0x81, 0x2d, 0xeb, 0x33, 0xa0, 0xf4, 0xa1, 0x39, 0x45, 0xd8, 0x98, 0xc2, 0x96, 0x4f, 0xe3, 0x42, 0xe2, 0xfe,
    0x1a, 0x7f, 0x9b, 0x8e, 0xe7, 0xeb, 0x4a, 0x7c, 0x0f, 0x9e, 0x16, 0x2b, 0xce, 0x33, 0x57, 0x6b, 0x31, 0x5e, 0xce,
    0xcb, 0xb6, 0x40, 0x68, 0x37, 0xbf, 0x51, 0xf5,
];

/// A certificate of its own key, for key sets and header fields.
pub(crate) fn self_signed() -> Vec<u8> {
    let mut template = Template::client();
    template.issuer = template.subject.clone();
    template.key = ed25519_key(authority_key().public_key().as_ref());
    template.extensions.clear();
    template.signed()
}
