//! Our reading and comparing of names beside OpenSSL's and Python cryptography's.
//!
//! The names are made by a generator with a fixed seed, so that a difference can be named and the list of known ones is exact.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use keybound_protocol::certificate::Certificate;
use keybound_protocol::distinguished_name::DistinguishedName;

use crate::der::{BMP, IA5, PRINTABLE, TELETEX, UNIVERSAL, UTF8, oid, sequence, set, tlv};
use crate::oracles::{python_has, run, say};
use crate::pki::{Key, Template};

/// Attribute types that both oracles know, and one that nobody knows.
const TYPES: [&str; 14] = [
    "2.5.4.3",
    "2.5.4.6",
    "2.5.4.7",
    "2.5.4.8",
    "2.5.4.9",
    "2.5.4.10",
    "2.5.4.11",
    "2.5.4.5",
    "2.5.4.97",
    "2.5.4.15",
    "0.9.2342.19200300.100.1.25",
    "0.9.2342.19200300.100.1.1",
    "1.2.840.113549.1.9.1",
    UNKNOWN_TYPE,
];
const UNKNOWN_TYPE: &str = "1.2.3.4.5";

/// What values are made of: special characters of RFC 4514, blanks, several scripts.
const PIECES: [&str; 24] = [
    "a",
    "Bank",
    "PSP",
    "17",
    " ",
    "  ",
    ",",
    "+",
    "\"",
    "\\",
    "<",
    ">",
    ";",
    "=",
    "#",
    "/",
    "ü",
    "Ñ",
    "ção",
    "É",
    "Москва",
    "京都",
    "Σ",
    "O'Neil & Co.",
];

/// A generator of numbers (xorshift) with a fixed seed: no test may fail today and pass tomorrow.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % limit as u64) as usize
    }

    fn one_of<'a, T>(&mut self, items: &'a [T]) -> &'a T {
        let index = self.below(items.len());
        &items[index]
    }
}

#[derive(Clone, PartialEq)]
struct Value {
    kind: &'static str,
    text: String,
    tag: u8,
}

/// RDNs in ASN.1 order.
type Name = Vec<Vec<Value>>;

impl Value {
    fn made(numbers: &mut Numbers) -> Value {
        let pieces = 1 + numbers.below(5);
        let text: String = (0..pieces).map(|_| *numbers.one_of(&PIECES)).collect();
        let text = match text.trim() {
            // A value of nothing but blanks equals nothing.
            "" => "x".to_owned(),
            // OpenSSL writes it unescaped (its rule for the last character overrides that for the first), which RFC 4514 §2.4 forbids:
            // `L=#` is an empty hexadecimal value.
            "#" => "#1".to_owned(),
            _ => text,
        };
        let kind = *numbers.one_of(&TYPES);
        // Python cryptography holds countries to two characters.
        let text = if kind == "2.5.4.6" {
            (*numbers.one_of(&["DE", "br", "Gb"])).to_owned()
        } else {
            text
        };
        let mut tags = vec![UTF8, BMP, UNIVERSAL];
        if text.is_ascii() {
            tags.extend([IA5, TELETEX]);
        }
        // Python cryptography holds issuers to the characters of PrintableString.
        if text
            .bytes()
            .all(|octet| octet.is_ascii_alphanumeric() || b" '()+,-./:=?".contains(&octet))
        {
            tags.push(PRINTABLE);
        }
        Value {
            kind,
            text,
            tag: *numbers.one_of(&tags),
        }
    }

    fn der(&self) -> Vec<u8> {
        let octets = match self.tag {
            BMP => self.text.encode_utf16().flat_map(u16::to_be_bytes).collect(),
            UNIVERSAL => self
                .text
                .chars()
                .flat_map(|character| u32::from(character).to_be_bytes())
                .collect(),
            _ => self.text.clone().into_bytes(),
        };
        sequence(&[oid(self.kind), tlv(self.tag, &octets)])
    }
}

fn made_name(numbers: &mut Numbers) -> Name {
    let rdns = 1 + numbers.below(5);
    let rdn = |numbers: &mut Numbers| {
        let mut values = vec![Value::made(numbers)];
        if numbers.below(4) == 0 {
            values.push(Value::made(numbers));
            // Python cryptography takes no attribute twice.
            values.dedup_by(|one, two| one.kind == two.kind);
        }
        values
    };
    (0..rdns).map(|_| rdn(numbers)).collect()
}

fn der_of(name: &Name) -> Vec<u8> {
    let rdn = |values: &Vec<Value>| {
        let mut values: Vec<Vec<u8>> = values.iter().map(Value::der).collect();
        // SET OF is sorted in DER; OpenSSL writes it so and expects it.
        values.sort();
        set(&values)
    };
    sequence(&name.iter().map(rdn).collect::<Vec<_>>())
}

fn certificate(name: &Name, key: &Key, serial: usize) -> Vec<u8> {
    let serial = (serial as u32 + 0x0100_0000).to_be_bytes();
    Template::new(der_of(name)).serial(&serial).self_sign(key)
}

fn subject(der: &[u8]) -> DistinguishedName {
    Certificate::parse(der).unwrap().subject().clone()
}

fn pem(der: &[u8]) -> String {
    let base64 = STANDARD.encode(der);
    let lines: Vec<&str> = base64
        .as_bytes()
        .chunks(64)
        .map(|line| std::str::from_utf8(line).unwrap())
        .collect();
    format!(
        "-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n",
        lines.join("\n")
    )
}

/// A name as a list of its RDNs, each with its attributes in sorted order: OpenSSL writes those of one RDN backwards.
fn written(name: &DistinguishedName) -> Vec<Vec<String>> {
    name.rdns()
        .map(|rdn| {
            let mut attributes: Vec<String> = rdn.attributes().iter().map(ToString::to_string).collect();
            attributes.sort();
            attributes
        })
        .collect()
}

fn generated(count: usize) -> (Vec<Name>, Vec<Vec<u8>>) {
    let mut numbers = Numbers(0x6b65_7962_6f75_6e64);
    let key = Key::generate();
    let names: Vec<Name> = (0..count).map(|_| made_name(&mut numbers)).collect();
    let certificates = names
        .iter()
        .enumerate()
        .map(|(index, name)| certificate(name, &key, index))
        .collect();
    (names, certificates)
}

/// The subjects of certificates as OpenSSL writes them (RFC 2253 form), in one process: `openssl verify` names every certificate that it
/// does not trust.
fn openssl_subjects(directory: &Path, certificates: &[Vec<u8>]) -> Option<Vec<String>> {
    let mut command = Command::new("openssl");
    command
        .args(["verify", "-nameopt", "RFC2253,utf8"])
        .current_dir(directory);
    for (index, der) in certificates.iter().enumerate() {
        fs::write(directory.join(format!("{index}.pem")), pem(der)).unwrap();
        command.arg(format!("{index}.pem"));
    }
    let output = command.stdin(Stdio::null()).output().ok()?;
    let text = String::from_utf8(output.stderr).unwrap();
    // A block for each file: its subject before every complaint, then the file's name.
    let mut subjects = Vec::new();
    let mut subject = None;
    for line in text.lines() {
        if line.ends_with(".pem: verification failed") {
            subjects.extend(subject.take());
        } else if !line.starts_with("error ") {
            subject.get_or_insert_with(|| line.to_owned());
        }
    }
    assert_eq!(
        subjects.len(),
        certificates.len(),
        "openssl verify wrote something else"
    );
    Some(subjects)
}

// covers DN-1, DN-2, DN-3, DN-4
#[test]
fn two_thousand_subjects_read_as_openssl_writes_them() {
    let (_, certificates) = generated(2000);
    let directory = tempfile::tempdir().unwrap();
    let Some(subjects) = openssl_subjects(directory.path(), &certificates) else {
        return say("not run: there is no openssl to read 2,000 subjects with");
    };
    for (der, text) in certificates.iter().zip(subjects) {
        let ours = subject(der);
        let read: DistinguishedName = text.parse().unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(written(&read), written(&ours), "{text}");
        assert!(ours.matches(&read), "{text}");
    }
}

/// Reads certificates and our spelling of their subjects; answers, a line each, cryptography's spelling of the subject and whether it
/// reads ours as the same name.
const PYTHON: &str = r#"
import base64, json, sys, warnings
warnings.simplefilter("ignore")
from cryptography import x509
names = {"STREET": "2.5.4.9", "emailAddress": "1.2.840.113549.1.9.1", "serialNumber": "2.5.4.5",
         "organizationIdentifier": "2.5.4.97", "businessCategory": "2.5.4.15"}
names = {name: x509.ObjectIdentifier(oid) for name, oid in names.items()}
def flat(name):
    return [sorted((a.oid.dotted_string, a.value) for a in rdn) for rdn in name.rdns]
for line in sys.stdin:
    der, ours = json.loads(line)
    subject = x509.load_der_x509_certificate(base64.b64decode(der)).subject
    try:
        same = flat(x509.Name.from_rfc4514_string(ours, names)) == flat(subject)
    except Exception as error:
        same = repr(error)
    print(json.dumps([subject.rfc4514_string(), same]))
"#;

// covers DN-1, DN-2, DN-3, DN-4
#[test]
fn two_thousand_subjects_read_as_python_cryptography_writes_and_reads_them() {
    let (names, certificates) = generated(2000);
    let mut input = String::new();
    for der in &certificates {
        let line = serde_json::json!([STANDARD.encode(der), subject(der).to_string()]);
        writeln!(input, "{line}").unwrap();
    }
    if !python_has("cryptography") {
        return say("not run: there is no python3 with cryptography to read 2,000 subjects with");
    }
    let output = run(Command::new("python3").args(["-c", PYTHON]), input.as_bytes()).unwrap();
    let lines: Vec<&str> = std::str::from_utf8(&output).unwrap().lines().collect();
    assert_eq!(lines.len(), certificates.len());
    for ((name, der), line) in names.iter().zip(&certificates).zip(lines) {
        let (theirs, same): (String, serde_json::Value) = serde_json::from_str(line).unwrap();
        let ours = subject(der);
        let read: DistinguishedName = theirs.parse().unwrap_or_else(|error| panic!("{theirs}: {error}"));
        assert!(ours.matches(&read), "{theirs} and {ours}");
        // Where a type has no name cryptography writes text and we write hexadecimal digits: then only the comparison says the same.
        let unknown = name.iter().flatten().any(|value| value.kind == UNKNOWN_TYPE);
        if !unknown {
            assert_eq!(written(&read), written(&ours), "{theirs}");
            assert_eq!(same, true, "{ours}");
        }
    }
}

/// One way to make a second name out of a first, and whether the two are the same name to us.
type Change = (&'static str, bool, fn(&mut Name, &mut Numbers) -> bool);

/// The first five keep the name, by our rules; the sixth and seventh by ours and not by OpenSSL's; the others change it. Each answers
/// whether it could be applied.
const CHANGES: [Change; 15] = [
    ("nothing", true, |_, _| true),
    ("ASCII case", true, |name, numbers| {
        change_text(name, numbers, |text| swap_case(text, char::is_ascii))
    }),
    ("string type", true, |name, numbers| {
        change_value(name, numbers, |value| {
            value.tag = if value.tag == BMP { UTF8 } else { BMP };
        })
    }),
    ("blanks", true, |name, numbers| {
        change_text(name, numbers, |text| format!("  {} ", text.replace(' ', "   ")))
    }),
    ("order inside an RDN", true, |name, _| {
        name.iter_mut().for_each(|rdn| rdn.reverse());
        name.iter().any(|rdn| rdn.len() > 1)
    }),
    ("case beyond ASCII", true, |name, numbers| {
        change_text(name, numbers, |text| swap_case(text, |character| !character.is_ascii()))
    }),
    ("compatibility form", true, |name, numbers| {
        let wide = |character: char| match character {
            '!'..='~' => char::from_u32(u32::from(character) + 0xfee0).unwrap(),
            ' ' => '\u{a0}',
            other => other,
        };
        change_text(name, numbers, |text| text.chars().map(wide).collect())
    }),
    ("one character more", false, |name, numbers| {
        change_text(name, numbers, |text| format!("{text}x"))
    }),
    ("one character less", false, |name, numbers| {
        change_text(name, numbers, |text| {
            let mut characters: Vec<char> = text.trim().chars().collect();
            characters.pop();
            characters.into_iter().collect()
        })
    }),
    ("a blank inside", false, |name, numbers| {
        change_text(name, numbers, |text| {
            let characters: Vec<char> = text.trim().chars().collect();
            match characters.split_first() {
                Some((first, rest)) if rest.first().is_some_and(|next| *next != ' ') => {
                    format!("{first} {}", rest.iter().collect::<String>())
                }
                _ => text.to_owned(),
            }
        })
    }),
    ("another type", false, |name, numbers| {
        change_value(name, numbers, |value| {
            value.kind = if value.kind == "2.5.4.3" { "2.5.4.11" } else { "2.5.4.3" }
        })
    }),
    ("an RDN more", false, |name, numbers| {
        name.push(vec![Value::made(numbers)]);
        true
    }),
    ("an RDN less", false, |name, _| {
        name.pop();
        !name.is_empty()
    }),
    ("the order of the RDNs", false, |name, _| {
        name.reverse();
        name.len() > 1
    }),
    ("two RDNs made one", false, |name, _| {
        if name.len() < 2 {
            return false;
        }
        let last = name.pop().unwrap();
        name.last_mut().unwrap().extend(last);
        true
    }),
];

fn change_value(name: &mut Name, numbers: &mut Numbers, change: impl Fn(&mut Value)) -> bool {
    let rdn = numbers.below(name.len());
    let index = numbers.below(name[rdn].len());
    let value = &mut name[rdn][index];
    let before = value.clone();
    // Types with no name compare by octets, where every change is one.
    if value.kind == UNKNOWN_TYPE {
        return false;
    }
    change(value);
    *value != before && !value.text.trim().is_empty()
}

fn change_text(name: &mut Name, numbers: &mut Numbers, change: impl Fn(&str) -> String) -> bool {
    change_value(name, numbers, |value| {
        let text = change(&value.text);
        if text == value.text {
            return;
        }
        value.text = text;
        if !matches!(value.tag, BMP | UNIVERSAL) {
            value.tag = UTF8;
        }
    })
}

/// Upper case for lower and the reverse, for the characters asked for that have exactly one counterpart.
fn swap_case(text: &str, which: fn(&char) -> bool) -> String {
    let swap = |character: char| {
        let swapped: Vec<char> = if character.is_lowercase() {
            character.to_uppercase().collect()
        } else {
            character.to_lowercase().collect()
        };
        match swapped.as_slice() {
            [one] if which(&character) => *one,
            _ => character,
        }
    };
    text.chars().map(swap).collect()
}

/// `openssl x509 -subject_hash` of every certificate, by one `openssl rehash`, which links each to its hash.
fn openssl_hashes(directory: &Path, certificates: &[Vec<u8>]) -> Option<Vec<String>> {
    for (index, der) in certificates.iter().enumerate() {
        fs::write(directory.join(format!("{index}.pem")), pem(der)).unwrap();
    }
    run(Command::new("openssl").arg("rehash").arg(directory), b"")?;
    let mut hashes = BTreeMap::new();
    for entry in fs::read_dir(directory).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_symlink() {
            let target = fs::read_link(entry.path()).unwrap();
            let index: usize = target.file_stem().unwrap().to_str().unwrap().parse().unwrap();
            hashes.insert(index, entry.file_name().to_str().unwrap()[..8].to_owned());
        }
    }
    assert_eq!(hashes.len(), certificates.len(), "openssl rehash left certificates out");
    Some(hashes.into_values().collect())
}

// covers DN-5, DN-6, DN-7, DN-8, TRAP-3, TRAP-4
#[test]
fn two_thousand_pairs_that_are_equal_to_us_are_equal_to_openssl() {
    const PAIRS: usize = 2000;
    let mut numbers = Numbers(0x7270_6c61_6e65_6400);
    let key = Key::generate();
    let mut pairs = Vec::new();
    while pairs.len() < PAIRS {
        let first = made_name(&mut numbers);
        // Half of the pairs are the same name, half differ in one respect.
        let (same, different) = CHANGES.split_at(7);
        let (what, equal, change) = numbers.one_of(if pairs.len() % 2 == 0 { same } else { different });
        let mut second = first.clone();
        let applied = change(&mut second, &mut numbers);
        // A reversal of one RDN, or of two that are alike, changes nothing.
        if applied && (*equal || der_of(&first) != der_of(&second)) {
            pairs.push((*what, *equal, first, second));
        }
    }

    let mut certificates = Vec::new();
    for (what, equal, first, second) in &pairs {
        let ders = [first, second].map(|name| certificate(name, &key, 0));
        let [ours, theirs] = ders.each_ref().map(|der| subject(der));
        assert_eq!(ours.matches(&theirs), *equal, "{what}: {ours} and {theirs}");
        assert_eq!(theirs.matches(&ours), *equal, "{what}: {ours} and {theirs}");
        for (index, name) in [first, second].into_iter().enumerate() {
            certificates.push(certificate(name, &key, certificates.len() + index));
        }
    }
    let kinds: BTreeSet<&str> = pairs.iter().map(|(what, ..)| *what).collect();
    assert_eq!(kinds.len(), CHANGES.len(), "every kind of pair is there");

    let directory = tempfile::tempdir().unwrap();
    let Some(hashes) = openssl_hashes(directory.path(), &certificates) else {
        return say("not run: there is no openssl to compare 2,000 pairs of names with");
    };
    let mut beyond = String::new();
    for (pair, hashes) in pairs.iter().zip(hashes.as_chunks::<2>().0) {
        let (what, equal, ..) = pair;
        if *equal && hashes[0] != hashes[1] {
            let [first, second] = [&pair.2, &pair.3].map(|name| subject(&certificate(name, &key, 0)));
            assert!(
                matches!(*what, "case beyond ASCII" | "compatibility form"),
                "{what}: {first} and {second}"
            );
            writeln!(beyond, "{what}: {first} | {second}").unwrap();
        }
    }
    let listed = include_str!("../../../../testdata/names-equal-beyond-openssl.txt");
    if listed != beyond {
        let found = Path::new(env!("CARGO_TARGET_TMPDIR")).join("names-equal-beyond-openssl.txt");
        fs::write(&found, &beyond).unwrap();
        panic!(
            "testdata/names-equal-beyond-openssl.txt is not the list of pairs that only we call equal; {} is",
            found.display()
        );
    }
}
