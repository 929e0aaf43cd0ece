//! The `Client-Cert` and `Client-Cert-Chain` header fields (RFC 9440), in both directions.
//!
//! Only syntax is decided here. Whether the sender is a proxy that may forward anything is the listener's decision, made before.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::HeaderValue;
use sfv::{BareItem, Item, List, ListEntry, Parser};

use crate::peer_certificate::{ForwardingError, INTERMEDIATES_MAX};

const CLIENT_CERT: &str = "Client-Cert";
const CLIENT_CERT_CHAIN: &str = "Client-Cert-Chain";
/// The most octets of a decoded field: what a TLS certificate message may have.
const OCTETS_MAX: usize = 64 * 1024;

/// Reads the `Client-Cert` fields of one request: the end-entity certificate, DER, or `None` if there is no such field.
///
/// RFC 9440 §2.2: exactly one field with exactly one Byte Sequence. The parser of structured fields accepts missing padding and
/// parameters; a sender of this field has no reason for either, and two readers could disagree about them, so both are refused.
///
/// # Errors
/// [`ForwardingError::Repeated`], [`Malformed`](ForwardingError::Malformed) or [`TooLarge`](ForwardingError::TooLarge).
pub fn parse_client_cert(values: &[&[u8]]) -> Result<Option<Vec<u8>>, ForwardingError> {
    let value = match values {
        [] => return Ok(None),
        [value] => *value,
        _ => return Err(ForwardingError::Repeated { header: CLIENT_CERT }),
    };
    check_size(CLIENT_CERT, value.len())?;
    let item: Item = Parser::new(value)
        .parse()
        .map_err(|_| malformed(CLIENT_CERT, "not one Byte Sequence of RFC 9651"))?;
    octets(CLIENT_CERT, &item, trim(value)).map(Some)
}

/// Reads the `Client-Cert-Chain` fields of one request: the other certificates in the order of the TLS message, DER each.
///
/// RFC 9440 §2.3: a list of Byte Sequences, which may be spread over several fields. `end_entity` says whether there was a
/// `Client-Cert` beside it. More than one certificate above the limit is not read: the chain is refused as too long anyway.
///
/// # Errors
/// [`ForwardingError::ChainWithoutCertificate`], [`Malformed`](ForwardingError::Malformed) or
/// [`TooLarge`](ForwardingError::TooLarge).
pub fn parse_client_cert_chain(values: &[&[u8]], end_entity: Option<&[u8]>) -> Result<Vec<Vec<u8>>, ForwardingError> {
    if values.is_empty() {
        return Ok(Vec::new());
    }
    if end_entity.is_none() {
        return Err(ForwardingError::ChainWithoutCertificate);
    }
    check_size(CLIENT_CERT_CHAIN, values.iter().map(|value| value.len()).sum())?;
    let mut chain = Vec::new();
    for value in values {
        let list: List = Parser::new(*value)
            .parse()
            .map_err(|_| malformed(CLIENT_CERT_CHAIN, "not a list of RFC 9651"))?;
        // A Byte Sequence contains no comma, so the members' own spelling is found by splitting at commas.
        let mut spellings = value.split(|octet| *octet == b',');
        for entry in &list {
            let ListEntry::Item(item) = entry else {
                return Err(malformed(CLIENT_CERT_CHAIN, "an inner list"));
            };
            let certificate = octets(CLIENT_CERT_CHAIN, item, trim(spellings.next().unwrap_or_default()))?;
            if end_entity == Some(certificate.as_slice()) {
                return Err(malformed(CLIENT_CERT_CHAIN, "it repeats the end-entity certificate"));
            }
            if chain.len() <= INTERMEDIATES_MAX {
                chain.push(certificate);
            }
        }
    }
    Ok(chain)
}

/// The value of `Client-Cert` for a certificate, DER.
pub fn client_cert_value(der: &[u8]) -> HeaderValue {
    field_value(byte_sequence(der))
}

/// The value of `Client-Cert-Chain` for certificates, DER each; `None` if there are none, because an empty list is not sent.
pub fn client_cert_chain_value(chain: &[Vec<u8>]) -> Option<HeaderValue> {
    if chain.is_empty() {
        return None;
    }
    Some(field_value(
        chain
            .iter()
            .map(|der| byte_sequence(der))
            .collect::<Vec<_>>()
            .join(", "),
    ))
}

fn byte_sequence(der: &[u8]) -> String {
    format!(":{}:", STANDARD.encode(der))
}

fn field_value(text: String) -> HeaderValue {
    HeaderValue::try_from(text).expect("base64, colons, commas and blanks are allowed in a field value")
}

/// The octets of an item, whose own spelling is `spelling`.
fn octets(header: &'static str, item: &Item, spelling: &[u8]) -> Result<Vec<u8>, ForwardingError> {
    if !item.params.is_empty() {
        return Err(malformed(header, "parameters"));
    }
    let BareItem::ByteSequence(octets) = &item.bare_item else {
        return Err(malformed(header, "not a Byte Sequence"));
    };
    if octets.is_empty() {
        return Err(malformed(header, "an empty Byte Sequence"));
    }
    // One spelling for one value: standard alphabet, padded, unused bits zero.
    if byte_sequence(octets).as_bytes() != spelling {
        return Err(malformed(header, "base64 that is not canonical"));
    }
    Ok(octets.clone())
}

fn check_size(header: &'static str, octets: usize) -> Result<(), ForwardingError> {
    // Four characters for three octets.
    if octets > OCTETS_MAX / 3 * 4 {
        return Err(ForwardingError::TooLarge {
            header,
            octets_max: OCTETS_MAX,
        });
    }
    Ok(())
}

fn malformed(header: &'static str, problem: &'static str) -> ForwardingError {
    ForwardingError::Malformed { header, problem }
}

/// Without the blanks that HTTP allows around a value.
fn trim(value: &[u8]) -> &[u8] {
    let blank = |octet: &u8| matches!(octet, b' ' | b'\t');
    let start = value.iter().position(|octet| !blank(octet)).unwrap_or(value.len());
    let end = value
        .iter()
        .rposition(|octet| !blank(octet))
        .map_or(start, |last| last + 1);
    value.get(start..end).unwrap_or_default()
}
