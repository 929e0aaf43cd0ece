//! What a certificate says its key may be used for: basic constraints, key usage, extended key usage (RFC 5280 §4.2.1.9, .3, .12).

use std::fmt;

use x509_parser::asn1_rs::{BitString, FromDer, Oid, Tag};
use x509_parser::extensions;

use super::{CertificateError, Fields};

/// Whether the subject is a certification authority, and how deep a path below it may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BasicConstraints {
    /// Whether it may issue certificates.
    pub ca: bool,
    /// How many certificates of other authorities may stand between it and the end-entity certificate.
    pub path_length_max: Option<u32>,
}

impl BasicConstraints {
    pub(super) fn read(value: &[u8]) -> Result<BasicConstraints, CertificateError> {
        match extensions::BasicConstraints::from_der(value) {
            Ok(([], constraints)) => Ok(BasicConstraints {
                ca: constraints.ca,
                path_length_max: constraints.path_len_constraint,
            }),
            _ => Err(CertificateError::malformed("basicConstraints")),
        }
    }
}

/// The bits of the key usage extension.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct KeyUsage(u16);

impl KeyUsage {
    const NAMES: [&str; 9] = [
        "digitalSignature",
        "nonRepudiation",
        "keyEncipherment",
        "dataEncipherment",
        "keyAgreement",
        "keyCertSign",
        "cRLSign",
        "encipherOnly",
        "decipherOnly",
    ];

    pub(super) fn read(value: &[u8]) -> Result<KeyUsage, CertificateError> {
        let Ok(([], bits)) = BitString::from_der(value) else {
            return Err(CertificateError::malformed("keyUsage"));
        };
        let mut flags = 0;
        for (index, _) in KeyUsage::NAMES.iter().enumerate() {
            if bits.is_set(index) {
                flags |= 1 << index;
            }
        }
        Ok(KeyUsage(flags))
    }

    fn has(self, bit: u16) -> bool {
        self.0 & (1 << bit) != 0
    }

    /// May sign, as a TLS client does in `CertificateVerify`.
    pub fn digital_signature(self) -> bool {
        self.has(0)
    }

    /// May sign certificates.
    pub fn key_cert_sign(self) -> bool {
        self.has(5)
    }

    /// May sign certificate revocation lists.
    pub fn crl_sign(self) -> bool {
        self.has(6)
    }

    /// The names of RFC 5280 §4.2.1.3 for the bits that are set.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        KeyUsage::NAMES
            .into_iter()
            .enumerate()
            .filter(move |(index, _)| self.0 & (1 << index) != 0)
            .map(|(_, name)| name)
    }
}

impl fmt::Display for KeyUsage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        list(f, self.names())
    }
}

impl fmt::Debug for KeyUsage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyUsage({self})")
    }
}

/// The purposes of the extended key usage extension, as dotted object identifiers; at least one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExtendedKeyUsage {
    purposes: Vec<String>,
}

impl ExtendedKeyUsage {
    const CLIENT_AUTH: &str = "1.3.6.1.5.5.7.3.2";
    const ANY: &str = "2.5.29.37.0";
    const PURPOSES_MAX: usize = 64;

    pub(super) fn read(value: &[u8]) -> Result<ExtendedKeyUsage, CertificateError> {
        const FIELD: &str = "extKeyUsage";
        let malformed = CertificateError::malformed(FIELD);
        let mut outer = Fields(value);
        let mut list = Fields(outer.next(FIELD, Tag::Sequence)?.data);
        if !outer.0.is_empty() {
            return Err(malformed);
        }
        let mut purposes = Vec::new();
        while !list.0.is_empty() {
            let purpose = Oid::try_from(list.next(FIELD, Tag::Oid)?).map_err(|_| malformed.clone())?;
            if purposes.len() == ExtendedKeyUsage::PURPOSES_MAX {
                return Err(malformed);
            }
            purposes.push(purpose.to_id_string());
        }
        // SEQUENCE SIZE (1..MAX): an empty list would allow nothing, or everything.
        if purposes.is_empty() {
            return Err(malformed);
        }
        Ok(ExtendedKeyUsage { purposes })
    }

    /// Names TLS client authentication.
    pub fn client_auth(&self) -> bool {
        self.purposes
            .iter()
            .any(|purpose| purpose == ExtendedKeyUsage::CLIENT_AUTH)
    }

    /// Names `anyExtendedKeyUsage`.
    pub fn any(&self) -> bool {
        self.purposes.iter().any(|purpose| purpose == ExtendedKeyUsage::ANY)
    }

    /// The purposes by their RFC 5280 names where they have one, else dotted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.purposes.iter().map(|purpose| match purpose.as_str() {
            "1.3.6.1.5.5.7.3.1" => "serverAuth",
            ExtendedKeyUsage::CLIENT_AUTH => "clientAuth",
            "1.3.6.1.5.5.7.3.3" => "codeSigning",
            "1.3.6.1.5.5.7.3.4" => "emailProtection",
            "1.3.6.1.5.5.7.3.8" => "timeStamping",
            "1.3.6.1.5.5.7.3.9" => "OCSPSigning",
            ExtendedKeyUsage::ANY => "anyExtendedKeyUsage",
            dotted => dotted,
        })
    }
}

impl fmt::Display for ExtendedKeyUsage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        list(f, self.names())
    }
}

fn list<'a>(f: &mut fmt::Formatter<'_>, names: impl Iterator<Item = &'a str>) -> fmt::Result {
    let mut separator = "";
    for name in names {
        write!(f, "{separator}{name}")?;
        separator = ", ";
    }
    Ok(())
}
