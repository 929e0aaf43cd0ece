//! Attribute types: object identifiers, and the short names by which people write some of them.

use std::fmt;

/// The types with a short name, the name that is shown first. All of them have the syntax of a character string and are compared
/// without regard to case (X.520, RFC 4519, RFC 2985; the EV jurisdiction types are registered by Microsoft).
const NAMED: [(&str, &[u8], &[&str]); 26] = [
    ("CN", &[0x55, 0x04, 0x03], &["commonName"]),
    ("L", &[0x55, 0x04, 0x07], &["localityName"]),
    ("ST", &[0x55, 0x04, 0x08], &["S", "stateOrProvinceName"]),
    ("O", &[0x55, 0x04, 0x0a], &["organizationName"]),
    ("OU", &[0x55, 0x04, 0x0b], &["organizationalUnitName"]),
    ("C", &[0x55, 0x04, 0x06], &["countryName"]),
    ("STREET", &[0x55, 0x04, 0x09], &["streetAddress"]),
    (
        "DC",
        &[0x09, 0x92, 0x26, 0x89, 0x93, 0xf2, 0x2c, 0x64, 0x01, 0x19],
        &["domainComponent"],
    ),
    (
        "UID",
        &[0x09, 0x92, 0x26, 0x89, 0x93, 0xf2, 0x2c, 0x64, 0x01, 0x01],
        &["userId"],
    ),
    (
        "emailAddress",
        &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, 0x01],
        &["E", "email"],
    ),
    ("serialNumber", &[0x55, 0x04, 0x05], &[]),
    ("organizationIdentifier", &[0x55, 0x04, 0x61], &[]),
    ("businessCategory", &[0x55, 0x04, 0x0f], &[]),
    (
        "jurisdictionC",
        &[0x2b, 0x06, 0x01, 0x04, 0x01, 0x82, 0x37, 0x3c, 0x02, 0x01, 0x03],
        &["jurisdictionCountryName", "jurisdictionOfIncorporationCountryName"],
    ),
    (
        "jurisdictionST",
        &[0x2b, 0x06, 0x01, 0x04, 0x01, 0x82, 0x37, 0x3c, 0x02, 0x01, 0x02],
        &[
            "jurisdictionStateOrProvinceName",
            "jurisdictionOfIncorporationStateOrProvinceName",
        ],
    ),
    (
        "jurisdictionL",
        &[0x2b, 0x06, 0x01, 0x04, 0x01, 0x82, 0x37, 0x3c, 0x02, 0x01, 0x01],
        &["jurisdictionLocalityName", "jurisdictionOfIncorporationLocalityName"],
    ),
    ("title", &[0x55, 0x04, 0x0c], &["T"]),
    ("givenName", &[0x55, 0x04, 0x2a], &["GN", "G"]),
    ("SN", &[0x55, 0x04, 0x04], &["surname"]),
    ("initials", &[0x55, 0x04, 0x2b], &[]),
    ("generationQualifier", &[0x55, 0x04, 0x2c], &[]),
    ("dnQualifier", &[0x55, 0x04, 0x2e], &[]),
    ("pseudonym", &[0x55, 0x04, 0x41], &[]),
    ("postalCode", &[0x55, 0x04, 0x11], &[]),
    ("name", &[0x55, 0x04, 0x29], &[]),
    ("description", &[0x55, 0x04, 0x0d], &[]),
];

/// The type of one attribute of a name: an object identifier, compared as such however it was written.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct AttributeType {
    /// Contents octets of the OBJECT IDENTIFIER.
    octets: Vec<u8>,
}

impl AttributeType {
    /// Reads the contents octets of an OBJECT IDENTIFIER; `None` unless they are its one DER encoding.
    pub(super) fn from_octets(octets: &[u8]) -> Option<AttributeType> {
        let arcs = arcs(octets)?;
        // Padding octets (0x80) would give one identifier two encodings.
        (encode(&arcs)? == octets).then(|| AttributeType {
            octets: octets.to_vec(),
        })
    }

    /// Reads a short name in any case, or a dotted object identifier.
    pub(super) fn from_text(text: &str) -> Option<AttributeType> {
        if text.starts_with(|first: char| first.is_ascii_digit()) {
            return AttributeType::from_dotted(text);
        }
        let named = |(name, _, others): &&(&str, &[u8], &[&str])| {
            name.eq_ignore_ascii_case(text) || others.iter().any(|other| other.eq_ignore_ascii_case(text))
        };
        NAMED.iter().find(named).map(|(_, octets, _)| AttributeType {
            octets: octets.to_vec(),
        })
    }

    /// `numericoid` of RFC 4512 §1.4: at least two arcs, none with leading zeros.
    fn from_dotted(text: &str) -> Option<AttributeType> {
        let mut arcs = Vec::new();
        for arc in text.split('.') {
            let digits = arc.bytes().all(|octet| octet.is_ascii_digit());
            if !digits || (arc.len() > 1 && arc.starts_with('0')) {
                return None;
            }
            arcs.push(arc.parse::<u128>().ok()?);
        }
        Some(AttributeType { octets: encode(&arcs)? })
    }

    /// The short name, if it has one.
    pub fn name(&self) -> Option<&'static str> {
        NAMED
            .iter()
            .find(|(_, octets, _)| *octets == self.octets.as_slice())
            .map(|(name, _, _)| *name)
    }

    /// The object identifier, dotted.
    pub fn dotted(&self) -> String {
        let arcs = arcs(&self.octets).unwrap_or_default();
        arcs.iter().map(u128::to_string).collect::<Vec<_>>().join(".")
    }
}

impl fmt::Display for AttributeType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => f.write_str(&self.dotted()),
        }
    }
}

impl fmt::Debug for AttributeType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// The arcs of an object identifier; `None` if it is cut off or an arc exceeds 128 bits (UUID-based ones have 128).
fn arcs(octets: &[u8]) -> Option<Vec<u128>> {
    let mut arcs = Vec::new();
    let mut arc: u128 = 0;
    let mut complete = false;
    for octet in octets {
        arc = arc.checked_mul(128)? | u128::from(octet & 0x7f);
        complete = octet & 0x80 == 0;
        if complete {
            if arcs.is_empty() {
                // The first two arcs share one subidentifier (X.690 §8.19.4).
                let first = (arc / 40).min(2);
                arcs.push(first);
                arc -= first * 40;
            }
            arcs.push(arc);
            arc = 0;
        }
    }
    complete.then_some(arcs)
}

/// The contents octets for these arcs; `None` if no object identifier has them.
fn encode(arcs: &[u128]) -> Option<Vec<u8>> {
    let [first, second, rest @ ..] = arcs else {
        return None;
    };
    if *first > 2 || (*first < 2 && *second >= 40) {
        return None;
    }
    let mut octets = Vec::new();
    push_subidentifier(&mut octets, second.checked_add(first * 40)?);
    for arc in rest {
        push_subidentifier(&mut octets, *arc);
    }
    Some(octets)
}

fn push_subidentifier(octets: &mut Vec<u8>, arc: u128) {
    let septets = (128 - arc.leading_zeros()).div_ceil(7).max(1);
    for index in (0..septets).rev() {
        let septet = (arc >> (7 * index)) as u8 & 0x7f;
        octets.push(if index == 0 { septet } else { septet | 0x80 });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_of_the_table_is_its_own_identifier() {
        for (index, (name, octets, others)) in NAMED.iter().enumerate() {
            let attribute_type = AttributeType::from_octets(octets);
            assert_eq!(attribute_type, AttributeType::from_text(name), "{name}");
            assert_eq!(
                attribute_type,
                AttributeType::from_text(&name.to_ascii_uppercase()),
                "{name}"
            );
            let dotted = attribute_type.as_ref().map(AttributeType::dotted).unwrap_or_default();
            assert_eq!(attribute_type, AttributeType::from_text(&dotted), "{name} {dotted}");
            for spelling in others.iter().chain([name]) {
                let holders = NAMED.iter().filter(|(name, _, others)| {
                    others
                        .iter()
                        .chain([name])
                        .any(|other| other.eq_ignore_ascii_case(spelling))
                });
                assert_eq!(holders.count(), 1, "{spelling} of row {index}");
            }
        }
    }

    fn check_dotted(text: &str, expected: Option<&[u8]>) {
        let attribute_type = AttributeType::from_text(text);
        assert_eq!(
            attribute_type
                .as_ref()
                .map(|attribute_type| attribute_type.octets.as_slice()),
            expected,
            "{text}"
        );
        if let Some(attribute_type) = attribute_type {
            assert_eq!(attribute_type.dotted(), text);
        }
    }

    #[test]
    fn reads_dotted_identifiers() {
        check_dotted("2.5.4.3", Some(&[0x55, 4, 3]));
        check_dotted("2.999.3", Some(&[0x88, 0x37, 3]));
        check_dotted("0.0", Some(&[0]));
        check_dotted("1.39.128", Some(&[79, 0x81, 0]));
        check_dotted("2.25.340282366920938463463374607431768211455", {
            let mut octets = vec![105, 0x83];
            octets.extend([0xff; 17]);
            octets.push(0x7f);
            Some(octets.leak())
        });
        for refused in [
            "2",
            "2.",
            ".5",
            "2..5",
            "3.1",
            "1.40",
            "02.5",
            "2.05",
            "2.5.4.3x",
            "2.-1",
            "2.340282366920938463463374607431768211456",
        ] {
            check_dotted(refused, None);
        }
    }

    #[test]
    fn one_encoding_for_one_identifier() {
        assert!(AttributeType::from_octets(&[0x55, 4, 3]).is_some());
        for refused in [
            &[][..],
            &[0x55, 4, 0x83],
            &[0x55, 0x80, 4],
            &[0x80, 0x55, 4, 3],
            &[0xff; 40],
        ] {
            assert!(AttributeType::from_octets(refused).is_none(), "{refused:?}");
        }
    }
}
