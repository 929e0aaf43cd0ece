//! Subject alternative names: what a certificate carries, and the four kinds that a client can register (RFC 5280 §4.2.1.6, §7).
//!
//! What arrived ([`SubjectAlternativeName`]) is kept as it came, readable or not. What is registered ([`DnsName`], [`UriName`],
//! [`EmailAddress`], an [`IpAddr`]) was checked when it was registered. A comparison is exact after the normalisation of RFC 5280 §7;
//! there are no wildcards, no suffixes, and no kind ever matches another. (The rules for a *server's* name, RFC 9525, are other
//! rules and not here.)

mod dns;
mod email;
mod uri;

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use x509_parser::asn1_rs::{Any, Class, FromDer, Tag};

use crate::certificate::CertificateError;
use crate::digest::hex;
use crate::distinguished_name::NAMES_MAX;

pub use dns::{DnsName, DnsNameError};
pub use email::{EmailAddress, EmailAddressError};
pub use uri::{UriName, UriNameError};

/// One subject alternative name as it stands in a certificate. Its text is unchecked: compare it, don't use it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SubjectAlternativeName {
    /// `dNSName`.
    Dns(String),
    /// `uniformResourceIdentifier`.
    Uri(String),
    /// `iPAddress`: 4 or 16 octets, and whatever else was put there.
    Ip(Vec<u8>),
    /// `rfc822Name`.
    Email(String),
    /// A kind that cannot be registered, or text that is not ASCII (IA5String is). It matches nothing.
    Other {
        /// Its name in RFC 5280.
        kind: &'static str,
    },
}

impl SubjectAlternativeName {
    /// Reads the value of the extension.
    pub(crate) fn read(value: &[u8]) -> Result<Vec<SubjectAlternativeName>, CertificateError> {
        const FIELD: &str = "subjectAltName";
        let mut rest = match Any::from_der(value) {
            Ok(([], any)) if any.header.class() == Class::Universal && any.header.tag() == Tag::Sequence => any.data,
            _ => return Err(CertificateError::malformed(FIELD)),
        };
        let mut names = Vec::new();
        while !rest.is_empty() {
            let (after, name) = Any::from_der(rest).map_err(|_| CertificateError::malformed(FIELD))?;
            if names.len() == NAMES_MAX {
                return Err(CertificateError::TooManyNames { field: FIELD });
            }
            names.push(SubjectAlternativeName::from_any(&name).ok_or(CertificateError::malformed(FIELD))?);
            rest = after;
        }
        // SEQUENCE SIZE (1..MAX).
        if names.is_empty() {
            return Err(CertificateError::malformed(FIELD));
        }
        Ok(names)
    }

    fn from_any(name: &Any<'_>) -> Option<SubjectAlternativeName> {
        if name.header.class() != Class::ContextSpecific {
            return None;
        }
        let text = |of: fn(String) -> SubjectAlternativeName, kind: &'static str| match std::str::from_utf8(name.data) {
            Ok(text) if text.is_ascii() && !name.header.is_constructed() => of(text.to_owned()),
            _ => SubjectAlternativeName::Other { kind },
        };
        Some(match name.header.tag().0 {
            0 => SubjectAlternativeName::Other { kind: "otherName" },
            1 => text(SubjectAlternativeName::Email, "rfc822Name that is not ASCII"),
            2 => text(SubjectAlternativeName::Dns, "dNSName that is not ASCII"),
            3 => SubjectAlternativeName::Other { kind: "x400Address" },
            4 => SubjectAlternativeName::Other { kind: "directoryName" },
            5 => SubjectAlternativeName::Other { kind: "ediPartyName" },
            6 => text(
                SubjectAlternativeName::Uri,
                "uniformResourceIdentifier that is not ASCII",
            ),
            7 => SubjectAlternativeName::Ip(name.data.to_vec()),
            8 => SubjectAlternativeName::Other { kind: "registeredID" },
            _ => return None,
        })
    }
}

impl fmt::Display for SubjectAlternativeName {
    /// With its kind before it, as OpenSSL writes it; controls are escaped.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SubjectAlternativeName::Dns(name) => write!(f, "DNS:{}", name.escape_debug()),
            SubjectAlternativeName::Uri(uri) => write!(f, "URI:{}", uri.escape_debug()),
            SubjectAlternativeName::Email(address) => write!(f, "email:{}", address.escape_debug()),
            SubjectAlternativeName::Ip(octets) => match ip_address(octets) {
                Some(address) => write!(f, "IP:{address}"),
                None => write!(f, "IP:#{}", hex(octets)),
            },
            SubjectAlternativeName::Other { kind } => f.write_str(kind),
        }
    }
}

/// The address that these octets are: 4 are IPv4, 16 are IPv6, others are none (RFC 5280 §4.2.1.6).
///
/// An IPv4-mapped IPv6 address stays what it is, 16 octets: it never equals the 4 (RFC 5952 §8 compares the binary form).
pub fn ip_address(octets: &[u8]) -> Option<IpAddr> {
    if let Ok(octets) = <[u8; 4]>::try_from(octets) {
        return Some(IpAddr::V4(Ipv4Addr::from(octets)));
    }
    <[u8; 16]>::try_from(octets)
        .ok()
        .map(|octets| IpAddr::V6(Ipv6Addr::from(octets)))
}
