//! Distinguished names: read from a certificate or from an RFC 4514 string, compared as structures, shown canonically.
//!
//! A name is never compared as text and never built by joining text (RFC 8705 §2.1, RFC 5280 §7.1). Read in this order: this file
//! (the structure), `parse` and `display` (RFC 4514), `value` and `prepare` (what a value is compared by; RFC 4518), `compare`
//! (RFC 4517).
//!
//! Attribute types with a short name compare as text without regard to case, whichever string type holds it: UTF8String,
//! PrintableString, IA5String, NumericString, VisibleString, BMPString (no surrogates) and UniversalString. A TeletexString counts as text
//! where it is ASCII, because beyond that issuers disagree about what it means. Everything else, and every type without a short name,
//! compares by its octets.

mod attribute_type;
mod compare;
mod display;
mod parse;
mod prepare;
mod value;

use std::str::FromStr;

use x509_parser::asn1_rs::{Any, Class, FromDer, Tag};

use crate::certificate::CertificateError;

pub use attribute_type::AttributeType;
pub use compare::{NameDifference, NameDifferenceKind};
pub use parse::{DistinguishedNameError, DistinguishedNameProblem};
pub use prepare::UncomparableText;
pub use value::AttributeValue;

/// The most attributes of one name that are read.
pub(crate) const NAMES_MAX: usize = 256;

/// A distinguished name. [`Display`](std::fmt::Display) writes it canonically; [`FromStr`] reads RFC 4514 and refuses the empty name.
#[derive(Clone)]
pub struct DistinguishedName {
    /// In ASN.1 order: from the root of the naming tree to the entry.
    rdns: Vec<RelativeDistinguishedName>,
}

/// One step of a name: usually one attribute, sometimes several without an order among them.
#[derive(Clone, Debug)]
pub struct RelativeDistinguishedName {
    attributes: Vec<Attribute>,
}

/// One attribute of a name.
#[derive(Clone, Debug)]
pub struct Attribute {
    attribute_type: AttributeType,
    value: AttributeValue,
}

impl DistinguishedName {
    /// Reads a `Name` of X.509, DER. It may be empty (RFC 5280 §4.1.2.6).
    pub(crate) fn from_der(der: &[u8], field: &'static str) -> Result<DistinguishedName, CertificateError> {
        let mut names = 0;
        let mut rdns = Vec::new();
        for rdn in values(universal(der, Tag::Sequence), field)? {
            let mut attributes = Vec::new();
            for attribute in values(Some(rdn).filter(|rdn| rdn.header.tag() == Tag::Set), field)? {
                names += 1;
                if names > NAMES_MAX {
                    return Err(CertificateError::TooManyNames { field });
                }
                attributes.push(Attribute::from_any(attribute).ok_or(CertificateError::malformed(field))?);
            }
            if attributes.is_empty() {
                return Err(CertificateError::malformed(field));
            }
            rdns.push(RelativeDistinguishedName { attributes });
        }
        Ok(DistinguishedName { rdns })
    }

    /// Whether there is no RDN at all.
    pub fn is_empty(&self) -> bool {
        self.rdns.is_empty()
    }

    /// The RDNs in the order in which names are written: the most specific first (RFC 4514 §2.1).
    pub fn rdns(&self) -> impl DoubleEndedIterator<Item = &RelativeDistinguishedName> + ExactSizeIterator {
        self.rdns.iter().rev()
    }
}

impl FromStr for DistinguishedName {
    type Err = DistinguishedNameError;

    /// Reads the string form of RFC 4514. What can match nothing is refused, the empty name among it.
    fn from_str(text: &str) -> Result<DistinguishedName, DistinguishedNameError> {
        let mut rdns = parse::parse(text)?;
        rdns.reverse();
        Ok(DistinguishedName { rdns })
    }
}

impl RelativeDistinguishedName {
    /// The attributes, in the order given.
    pub fn attributes(&self) -> &[Attribute] {
        &self.attributes
    }
}

impl Attribute {
    fn from_any(any: Any<'_>) -> Option<Attribute> {
        if any.header.class() != Class::Universal || any.header.tag() != Tag::Sequence {
            return None;
        }
        let (rest, oid) = Any::from_der(any.data).ok()?;
        let (rest, value) = Any::from_der(rest).ok()?;
        if !rest.is_empty() || oid.header.class() != Class::Universal || oid.header.tag() != Tag::Oid {
            return None;
        }
        let attribute_type = AttributeType::from_octets(oid.data)?;
        let value = AttributeValue::from_any(&attribute_type, &value)?;
        Some(Attribute { attribute_type, value })
    }

    /// Its type.
    pub fn attribute_type(&self) -> &AttributeType {
        &self.attribute_type
    }

    /// Its value.
    pub fn value(&self) -> &AttributeValue {
        &self.value
    }
}

/// The one value that `der` is, if it is of this universal type.
fn universal(der: &[u8], tag: Tag) -> Option<Any<'_>> {
    match Any::from_der(der) {
        Ok(([], any)) if any.header.class() == Class::Universal && any.header.tag() == tag => Some(any),
        _ => None,
    }
}

/// The values inside a constructed one.
fn values<'a>(any: Option<Any<'a>>, field: &'static str) -> Result<Vec<Any<'a>>, CertificateError> {
    let malformed = CertificateError::malformed(field);
    let Some(any) = any.filter(|any| any.header.class() == Class::Universal && any.header.is_constructed()) else {
        return Err(malformed);
    };
    let mut rest = any.data;
    let mut values = Vec::new();
    while !rest.is_empty() {
        let Ok((after, value)) = Any::from_der(rest) else {
            return Err(malformed);
        };
        if values.len() == NAMES_MAX {
            return Err(CertificateError::TooManyNames { field });
        }
        values.push(value);
        rest = after;
    }
    Ok(values)
}
