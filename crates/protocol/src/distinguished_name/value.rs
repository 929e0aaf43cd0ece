//! The value of one attribute of a name, and what it is compared by.

use x509_parser::asn1_rs::{Any, Class, FromBer};

use super::attribute_type::AttributeType;
use super::prepare::{UncomparableText, prepare};
use crate::digest::hex;

/// The value of one attribute.
///
/// In a certificate a value has an ASN.1 type, in an RFC 4514 string only text. Text compares as text whichever string type holds
/// it; everything else compares by its octets.
#[derive(Clone, Debug)]
pub struct AttributeValue {
    source: Source,
    key: Key,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Source {
    /// Written as text in an RFC 4514 string.
    Text(String),
    /// With its ASN.1 type, from a certificate or written as `#` and hexadecimal digits.
    Encoded { octets: Encoded, text: Option<String> },
}

/// What decides equality.
#[derive(Clone, Debug)]
enum Key {
    /// Of a type with a name: prepared text, equal if the same.
    Prepared(String),
    /// Of a type with no name, written as text: equal to a string of any type with exactly this text. What else its matching rule
    /// may call equal is unknown here.
    Exact(String),
    /// Of a type with no name, or of no string type that is understood: equal if the same type and octets.
    Octets,
    /// Equal to nothing.
    Never(UncomparableText),
}

/// An ASN.1 value: identifier octet and contents. (The length is the only other thing in an encoding, and BER has many for one.)
#[derive(Clone, Debug, PartialEq, Eq)]
struct Encoded {
    identifier: u8,
    contents: Vec<u8>,
}

impl AttributeValue {
    /// A value written as text.
    pub(super) fn from_text(attribute_type: &AttributeType, text: String) -> AttributeValue {
        let key = match prepare(&text) {
            Err(uncomparable) => Key::Never(uncomparable),
            Ok(prepared) if attribute_type.name().is_some() => Key::Prepared(prepared),
            Ok(_) => Key::Exact(text.clone()),
        };
        AttributeValue {
            source: Source::Text(text),
            key,
        }
    }

    /// A value with its ASN.1 type, BER; `None` unless `ber` is exactly one value of a universal type.
    pub(super) fn from_ber(attribute_type: &AttributeType, ber: &[u8]) -> Option<AttributeValue> {
        let (rest, any) = Any::from_ber(ber).ok()?;
        if !rest.is_empty() {
            return None;
        }
        AttributeValue::from_any(attribute_type, &any)
    }

    /// A value with its ASN.1 type; `None` if it is not of a universal type.
    pub(super) fn from_any(attribute_type: &AttributeType, any: &Any<'_>) -> Option<AttributeValue> {
        let tag = u8::try_from(any.header.tag().0).ok().filter(|tag| *tag < 31)?;
        if any.header.class() != Class::Universal || !any.header.length().is_definite() {
            return None;
        }
        let constructed = any.header.is_constructed();
        let octets = Encoded {
            identifier: if constructed { tag | 0x20 } else { tag },
            contents: any.data.to_vec(),
        };
        // A string cut into pieces (constructed) is BER that nobody writes; it stays octets.
        let text = if constructed { None } else { text_of(tag, any.data) };
        let key = match text.as_deref().map(prepare) {
            Some(Err(uncomparable)) => Key::Never(uncomparable),
            Some(Ok(prepared)) if attribute_type.name().is_some() => Key::Prepared(prepared),
            Some(Ok(_)) | None => Key::Octets,
        };
        Some(AttributeValue {
            source: Source::Encoded { octets, text },
            key,
        })
    }

    /// Its text, if it is a character string that is understood.
    pub fn text(&self) -> Option<&str> {
        match &self.source {
            Source::Text(text) => Some(text),
            Source::Encoded { text, .. } => text.as_deref(),
        }
    }

    /// Why it equals nothing, if so.
    pub fn uncomparable(&self) -> Option<UncomparableText> {
        match &self.key {
            Key::Never(uncomparable) => Some(*uncomparable),
            Key::Prepared(_) | Key::Exact(_) | Key::Octets => None,
        }
    }

    /// The `#` form of RFC 4514 §2.4, for a value that has an ASN.1 type.
    pub(super) fn hexadecimal(&self) -> Option<String> {
        match &self.source {
            Source::Text(_) => None,
            Source::Encoded { octets, .. } => Some(format!("#{}", hex(&octets.der()))),
        }
    }

    /// Whether this is a text that equals strings of different types, which do not equal each other.
    pub(super) fn is_of_any_type(&self) -> bool {
        matches!(self.key, Key::Exact(_))
    }

    /// Whether two values of the same attribute type are equal.
    pub(super) fn matches(&self, other: &AttributeValue) -> bool {
        match (&self.key, &other.key) {
            (Key::Prepared(one), Key::Prepared(two)) | (Key::Exact(one), Key::Exact(two)) => one == two,
            (Key::Octets, Key::Octets) => self.source == other.source,
            (Key::Exact(exact), Key::Octets) => other.text() == Some(exact),
            (Key::Octets, Key::Exact(exact)) => self.text() == Some(exact),
            (Key::Never(_), _) | (_, Key::Never(_)) => false,
            (Key::Prepared(_), Key::Exact(_) | Key::Octets) | (Key::Exact(_) | Key::Octets, Key::Prepared(_)) => false,
        }
    }
}

impl Encoded {
    /// Identifier, shortest length, contents.
    fn der(&self) -> Vec<u8> {
        let length = self.contents.len();
        let mut der = vec![self.identifier];
        match u8::try_from(length) {
            Ok(short) if short < 0x80 => der.push(short),
            _ => {
                let octets = length.to_be_bytes();
                let significant: Vec<u8> = octets.into_iter().skip_while(|octet| *octet == 0).collect();
                der.push(0x80 | significant.len() as u8);
                der.extend(significant);
            }
        }
        der.extend(&self.contents);
        der
    }
}

/// The text of a string type, or `None` where the octets are not what the type says.
///
/// TeletexString is understood where it is ASCII only. Beyond that some issuers meant T.61 and others Latin-1, and a guess could make
/// two different names equal. PrintableString, NumericString and the like are read as ASCII even with characters that they exclude.
fn text_of(tag: u8, contents: &[u8]) -> Option<String> {
    const UTF8_STRING: u8 = 12;
    const NUMERIC_STRING: u8 = 18;
    const PRINTABLE_STRING: u8 = 19;
    const TELETEX_STRING: u8 = 20;
    const IA5_STRING: u8 = 22;
    const VISIBLE_STRING: u8 = 26;
    const UNIVERSAL_STRING: u8 = 28;
    const BMP_STRING: u8 = 30;
    match tag {
        UTF8_STRING => String::from_utf8(contents.to_vec()).ok(),
        NUMERIC_STRING | PRINTABLE_STRING | TELETEX_STRING | IA5_STRING | VISIBLE_STRING => contents
            .is_ascii()
            .then(|| String::from_utf8(contents.to_vec()).ok())
            .flatten(),
        // Two octets a character: there are no surrogate pairs in a BMPString, so a surrogate is an error.
        BMP_STRING => {
            let (characters, []) = contents.as_chunks::<2>() else {
                return None;
            };
            characters
                .iter()
                .map(|pair| char::from_u32(u16::from_be_bytes(*pair).into()))
                .collect()
        }
        UNIVERSAL_STRING => {
            let (characters, []) = contents.as_chunks::<4>() else {
                return None;
            };
            characters
                .iter()
                .map(|quad| char::from_u32(u32::from_be_bytes(*quad)))
                .collect()
        }
        _ => None,
    }
}
