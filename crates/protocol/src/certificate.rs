//! What a certificate says, read once and owned (RFC 5280 §4).
//!
//! Reading decides nothing: an expired, self-signed or version 1 certificate reads well. It is lenient where X.509 is old
//! (version 1, long or negative serial numbers, any string type) and strict where two readers could disagree: octets left over,
//! an extension twice, names, key usages or basic constraints that cannot be read. The thumbprint and the key do not depend on any
//! of this: see [`CertificateThumbprint`](crate::confirmation::CertificateThumbprint) and [`subject_public_key_info`].
//!
//! Signatures and paths are not here but in [`certificate_chain`](crate::certificate_chain).

mod public_key;
mod structure;
mod usage;

use x509_parser::certificate::Validity;
use x509_parser::extensions::{AuthorityKeyIdentifier, KeyIdentifier};
use x509_parser::prelude::FromDer;

use crate::digest::{hex, sha256};
use crate::distinguished_name::DistinguishedName;
use crate::subject_alternative_name::SubjectAlternativeName;
use crate::time::Timestamp;
use structure::Structure;

pub use public_key::PublicKeyKind;
pub(crate) use structure::{Extension, Fields};
pub use usage::{BasicConstraints, ExtendedKeyUsage, KeyUsage};

/// Which X.509 a certificate is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Version {
    /// No extensions, so no alternative names and no key usage. The example of RFC 8705 Appendix A is one.
    V1,
    /// Unique identifiers, never seen in practice.
    V2,
    /// What everybody issues.
    V3,
}

/// The contents of a certificate.
#[derive(Clone, Debug)]
pub struct Certificate {
    version: Version,
    serial_number: String,
    issuer: DistinguishedName,
    issuer_der: Vec<u8>,
    subject: DistinguishedName,
    subject_der: Vec<u8>,
    subject_alternative_names: Vec<SubjectAlternativeName>,
    not_before: Timestamp,
    not_after: Timestamp,
    subject_public_key_info: Vec<u8>,
    public_key_kind: PublicKeyKind,
    basic_constraints: Option<BasicConstraints>,
    key_usage: Option<KeyUsage>,
    extended_key_usage: Option<ExtendedKeyUsage>,
    subject_key_identifier: Option<Vec<u8>>,
    authority_key_identifier: Option<Vec<u8>>,
    crl_distribution_points: bool,
    critical_extensions: Vec<String>,
}

impl Certificate {
    /// Reads a certificate from its DER.
    ///
    /// # Errors
    /// See [`CertificateError`]: more than 64 KiB, more than 64 extensions or 256 names, or anything that cannot be read.
    pub fn parse(der: &[u8]) -> Result<Certificate, CertificateError> {
        let structure = Structure::read(der)?;
        let (rest, validity) =
            Validity::from_der(structure.validity).map_err(|_| CertificateError::malformed("validity"))?;
        if !rest.is_empty() {
            return Err(CertificateError::TrailingOctets {
                after: "validity",
                octets: rest.len(),
            });
        }
        let mut certificate = Certificate {
            version: match structure.version {
                0 => Version::V1,
                1 => Version::V2,
                _ => Version::V3,
            },
            serial_number: hex(structure.serial),
            issuer: DistinguishedName::from_der(structure.issuer, "issuer")?,
            issuer_der: structure.issuer.to_vec(),
            subject: DistinguishedName::from_der(structure.subject, "subject")?,
            subject_der: structure.subject.to_vec(),
            subject_alternative_names: Vec::new(),
            not_before: Timestamp::from_unix_secs(validity.not_before.timestamp()),
            not_after: Timestamp::from_unix_secs(validity.not_after.timestamp()),
            subject_public_key_info: structure.subject_public_key_info.to_vec(),
            public_key_kind: PublicKeyKind::of(structure.subject_public_key_info)?,
            basic_constraints: None,
            key_usage: None,
            extended_key_usage: None,
            subject_key_identifier: None,
            authority_key_identifier: None,
            crl_distribution_points: false,
            critical_extensions: Vec::new(),
        };
        certificate.read_extensions(&structure)?;
        Ok(certificate)
    }

    /// Which X.509 it is.
    pub fn version(&self) -> Version {
        self.version
    }

    /// The serial number as hexadecimal digits, two for each octet of its encoding.
    pub fn serial_number(&self) -> &str {
        &self.serial_number
    }

    /// Who issued it.
    pub fn issuer(&self) -> &DistinguishedName {
        &self.issuer
    }

    /// Whom it is about; may be empty.
    pub fn subject(&self) -> &DistinguishedName {
        &self.subject
    }

    /// Its subject alternative names, in their order.
    pub fn subject_alternative_names(&self) -> &[SubjectAlternativeName] {
        &self.subject_alternative_names
    }

    /// The first second of its validity.
    pub fn not_before(&self) -> Timestamp {
        self.not_before
    }

    /// The last second of its validity; [`Timestamp::NO_EXPIRATION`] if it has no end.
    pub fn not_after(&self) -> Timestamp {
        self.not_after
    }

    /// Whether `now` is inside its validity, both ends included (RFC 5280 §4.1.2.5).
    pub fn is_valid_at(&self, now: Timestamp) -> bool {
        self.not_before <= now && now <= self.not_after
    }

    /// Whether subject and issuer are the same octets: a root, or a certificate of the self-signed method.
    pub fn is_self_issued(&self) -> bool {
        self.issuer_der == self.subject_der
    }

    /// The issuer as it stands there, DER. Path building compares these octets (RFC 5280 §6.1 chains names by their encoding).
    pub(crate) fn issuer_der(&self) -> &[u8] {
        &self.issuer_der
    }

    /// The subject as it stands there, DER.
    pub(crate) fn subject_der(&self) -> &[u8] {
        &self.subject_der
    }

    /// The SubjectPublicKeyInfo, DER.
    pub fn subject_public_key_info(&self) -> &[u8] {
        &self.subject_public_key_info
    }

    /// The SHA-256 of the SubjectPublicKeyInfo: it names a key, never a certificate (compare with the thumbprint).
    pub fn spki_sha256(&self) -> [u8; 32] {
        sha256(&self.subject_public_key_info)
    }

    /// Algorithm and size of its key.
    pub fn public_key_kind(&self) -> &PublicKeyKind {
        &self.public_key_kind
    }

    /// Whether it may be a certification authority, if it says.
    pub fn basic_constraints(&self) -> Option<&BasicConstraints> {
        self.basic_constraints.as_ref()
    }

    /// What its key may be used for, if it says.
    pub fn key_usage(&self) -> Option<&KeyUsage> {
        self.key_usage.as_ref()
    }

    /// For which purposes, if it says.
    pub fn extended_key_usage(&self) -> Option<&ExtendedKeyUsage> {
        self.extended_key_usage.as_ref()
    }

    /// A name for its own key, if it gives one. A hint for finding issuers, never evidence.
    pub fn subject_key_identifier(&self) -> Option<&[u8]> {
        self.subject_key_identifier.as_deref()
    }

    /// The name of its issuer's key, if it gives one. A hint for finding issuers, never evidence.
    pub fn authority_key_identifier(&self) -> Option<&[u8]> {
        self.authority_key_identifier.as_deref()
    }

    /// Whether it says where its revocation is published. The places themselves are never visited.
    pub(crate) fn has_crl_distribution_points(&self) -> bool {
        self.crl_distribution_points
    }

    /// The extensions marked critical, as dotted object identifiers.
    pub fn critical_extensions(&self) -> impl Iterator<Item = &str> {
        self.critical_extensions.iter().map(String::as_str)
    }

    fn read_extensions(&mut self, structure: &Structure<'_>) -> Result<(), CertificateError> {
        for extension in structure.extensions()? {
            let oid = extension.oid.to_id_string();
            match oid.as_str() {
                // The two hints are read leniently: nothing is decided by them.
                "2.5.29.14" => {
                    self.subject_key_identifier = KeyIdentifier::from_der(extension.value)
                        .ok()
                        .map(|(_, identifier)| identifier.0.to_vec());
                }
                "2.5.29.35" => {
                    self.authority_key_identifier = AuthorityKeyIdentifier::from_der(extension.value)
                        .ok()
                        .and_then(|(_, identifier)| identifier.key_identifier)
                        .map(|identifier| identifier.0.to_vec());
                }
                "2.5.29.15" => self.key_usage = Some(KeyUsage::read(extension.value)?),
                "2.5.29.17" => self.subject_alternative_names = SubjectAlternativeName::read(extension.value)?,
                "2.5.29.19" => self.basic_constraints = Some(BasicConstraints::read(extension.value)?),
                "2.5.29.37" => self.extended_key_usage = Some(ExtendedKeyUsage::read(extension.value)?),
                "2.5.29.31" => self.crl_distribution_points = true,
                _ => {}
            }
            if extension.critical {
                self.critical_extensions.push(oid);
            }
        }
        Ok(())
    }
}

/// The SubjectPublicKeyInfo of a certificate, DER, with its tag and length.
///
/// For checking a `CertificateVerify`: it is found in version 1 certificates too, and in ones whose names or extensions cannot be
/// read, because possession of the key is one question and what the certificate says another.
///
/// # Errors
/// The octets are not the outer structure of a certificate.
pub fn subject_public_key_info(der: &[u8]) -> Result<&[u8], CertificateError> {
    Ok(Structure::read(der)?.subject_public_key_info)
}

/// Why a certificate could not be read. For operators.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum CertificateError {
    /// Larger than anything that a TLS certificate message carries here.
    #[error("the certificate has {octets} octets, more than 65536")]
    TooLarge {
        /// Its size.
        octets: usize,
    },
    /// A field is not what X.509 says it is.
    #[error("the certificate cannot be read: {field} is malformed")]
    Malformed {
        /// Its name in RFC 5280.
        field: &'static str,
    },
    /// There is something after the end of a structure.
    #[error("the certificate has {octets} octets left over after {after}")]
    TrailingOctets {
        /// The structure that had ended.
        after: &'static str,
        /// How many octets follow it.
        octets: usize,
    },
    /// Neither version 1, 2 nor 3.
    #[error("the certificate has an unknown version")]
    UnknownVersion,
    /// More than 64 extensions.
    #[error("the certificate has more than 64 extensions")]
    TooManyExtensions,
    /// One extension twice, which RFC 5280 §4.2 forbids.
    #[error("the certificate has extension {oid} twice")]
    DuplicateExtension {
        /// Which.
        oid: String,
    },
    /// More than 256 names in subject, issuer or alternative names.
    #[error("the certificate has more than 256 names in {field}")]
    TooManyNames {
        /// Where.
        field: &'static str,
    },
}

impl CertificateError {
    pub(crate) const fn malformed(field: &'static str) -> CertificateError {
        CertificateError::Malformed { field }
    }
}
