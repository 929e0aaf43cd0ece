//! Writing DER for tests: certificates that no library makes are made here octet by octet.

/// A value: identifier, length, contents.
pub(crate) fn tlv(identifier: u8, contents: &[u8]) -> Vec<u8> {
    let mut der = vec![identifier];
    match contents.len() {
        length @ 0..0x80 => der.push(length as u8),
        length => {
            let octets: Vec<u8> = length
                .to_be_bytes()
                .into_iter()
                .skip_while(|octet| *octet == 0)
                .collect();
            der.push(0x80 | octets.len() as u8);
            der.extend(octets);
        }
    }
    der.extend_from_slice(contents);
    der
}

pub(crate) fn sequence(parts: &[Vec<u8>]) -> Vec<u8> {
    tlv(0x30, &parts.concat())
}

/// SET OF in the order given: DER would sort, and readers must not depend on it.
pub(crate) fn set(parts: &[Vec<u8>]) -> Vec<u8> {
    tlv(0x31, &parts.concat())
}

/// An INTEGER from its contents octets.
pub(crate) fn integer(contents: &[u8]) -> Vec<u8> {
    tlv(0x02, contents)
}

pub(crate) fn boolean(value: bool) -> Vec<u8> {
    tlv(0x01, &[if value { 0xff } else { 0 }])
}

pub(crate) fn octet_string(contents: &[u8]) -> Vec<u8> {
    tlv(0x04, contents)
}

pub(crate) fn bit_string(contents: &[u8]) -> Vec<u8> {
    tlv(0x03, &[&[0], contents].concat())
}

/// `[number]`, constructed.
pub(crate) fn explicit(number: u8, contents: &[u8]) -> Vec<u8> {
    tlv(0xa0 | number, contents)
}

/// `[number]`, primitive: a GeneralName that is a string.
pub(crate) fn implicit(number: u8, contents: &[u8]) -> Vec<u8> {
    tlv(0x80 | number, contents)
}

pub(crate) fn oid(dotted: &str) -> Vec<u8> {
    let arcs: Vec<u128> = dotted.split('.').map(|arc| arc.parse().unwrap()).collect();
    let mut contents = Vec::new();
    let mut push = |arc: u128| {
        let septets = (128 - arc.leading_zeros()).div_ceil(7).max(1);
        for index in (0..septets).rev() {
            contents.push((arc >> (7 * index)) as u8 & 0x7f | if index == 0 { 0 } else { 0x80 });
        }
    };
    push(arcs[0] * 40 + arcs[1]);
    arcs[2..].iter().for_each(|arc| push(*arc));
    tlv(0x06, &contents)
}

/// The string types of an attribute value.
pub(crate) const UTF8: u8 = 12;
pub(crate) const PRINTABLE: u8 = 19;
pub(crate) const TELETEX: u8 = 20;
pub(crate) const IA5: u8 = 22;
pub(crate) const UNIVERSAL: u8 = 28;
pub(crate) const BMP: u8 = 30;

/// One attribute: type, string type, octets.
pub(crate) type Attribute<'a> = (&'a str, u8, &'a [u8]);

/// A Name in ASN.1 order, each RDN with its attributes.
pub(crate) fn name(rdns: &[&[Attribute<'_>]]) -> Vec<u8> {
    let attribute = |(kind, tag, octets): &Attribute<'_>| sequence(&[oid(kind), tlv(*tag, octets)]);
    let rdn = |attributes: &&[Attribute<'_>]| set(&attributes.iter().map(attribute).collect::<Vec<_>>());
    sequence(&rdns.iter().map(rdn).collect::<Vec<_>>())
}

/// A Name with a common name alone.
pub(crate) fn common_name(text: &str) -> Vec<u8> {
    name(&[&[("2.5.4.3", UTF8, text.as_bytes())]])
}
