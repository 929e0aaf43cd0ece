//! The outer structure of a certificate: which octets are which field (RFC 5280 §4.1).
//!
//! Every level must be used up exactly: octets after a structure that one reader skips and another reads are how two readers of
//! one certificate come to see two certificates.

use x509_parser::asn1_rs::{Any, Class, FromDer, Oid, Tag};

use super::CertificateError;

/// The largest certificate that is read, in octets.
pub(super) const DER_OCTETS_MAX: usize = 64 * 1024;
/// The most extensions that are read in one certificate.
pub(super) const EXTENSIONS_MAX: usize = 64;

/// The raw fields of a certificate, each with its tag and length unless it says otherwise.
pub(super) struct Structure<'a> {
    /// The version number, 0 for v1.
    pub(super) version: u8,
    /// Contents of the serial number.
    pub(super) serial: &'a [u8],
    pub(super) issuer: &'a [u8],
    pub(super) validity: &'a [u8],
    pub(super) subject: &'a [u8],
    pub(super) subject_public_key_info: &'a [u8],
    /// What follows the key: unique identifiers and extensions, not read yet.
    trailer: &'a [u8],
}

/// One extension, its value not read yet.
pub(crate) struct Extension<'a> {
    pub(crate) oid: Oid<'a>,
    pub(crate) critical: bool,
    /// Contents of the OCTET STRING.
    pub(super) value: &'a [u8],
}

impl<'a> Structure<'a> {
    /// Finds the fields up to the key; says nothing about their contents nor about the extensions.
    pub(super) fn read(der: &'a [u8]) -> Result<Structure<'a>, CertificateError> {
        if der.len() > DER_OCTETS_MAX {
            return Err(CertificateError::TooLarge { octets: der.len() });
        }
        let mut outer = Fields(der);
        let certificate = outer.next("certificate", Tag::Sequence)?;
        outer.end("certificate")?;
        let mut certificate = Fields(certificate.data);
        let tbs = certificate.next("tbsCertificate", Tag::Sequence)?;
        certificate.next("signatureAlgorithm", Tag::Sequence)?;
        certificate.next("signatureValue", Tag::BitString)?;
        certificate.end("certificate")?;

        let mut tbs = Fields(tbs.data);
        let version = match tbs.optional("version", 0)? {
            // DEFAULT v1: a v1 certificate does not carry the field.
            None => 0,
            Some(tagged) => {
                let mut tagged = Fields(tagged.data);
                let version = tagged.next("version", Tag::Integer)?;
                tagged.end("version")?;
                match version.data {
                    [version @ 0..=2] => *version,
                    _ => return Err(CertificateError::UnknownVersion),
                }
            }
        };
        let serial = tbs.next("serialNumber", Tag::Integer)?.data;
        tbs.next("signature", Tag::Sequence)?;
        let issuer = tbs.raw("issuer", Tag::Sequence)?;
        let validity = tbs.raw("validity", Tag::Sequence)?;
        let subject = tbs.raw("subject", Tag::Sequence)?;
        let subject_public_key_info = tbs.raw("subjectPublicKeyInfo", Tag::Sequence)?;
        Ok(Structure {
            version,
            serial,
            issuer,
            validity,
            subject,
            subject_public_key_info,
            trailer: tbs.0,
        })
    }

    /// The extensions in their order, none twice (RFC 5280 §4.2).
    pub(super) fn extensions(&self) -> Result<Vec<Extension<'a>>, CertificateError> {
        let mut trailer = Fields(self.trailer);
        trailer.optional("issuerUniqueID", 1)?;
        trailer.optional("subjectUniqueID", 2)?;
        let Some(tagged) = trailer.optional("extensions", 3)? else {
            trailer.end("tbsCertificate")?;
            return Ok(Vec::new());
        };
        trailer.end("tbsCertificate")?;
        let mut tagged = Fields(tagged.data);
        let list = tagged.next("extensions", Tag::Sequence)?;
        tagged.end("extensions")?;

        let mut list = Fields(list.data);
        let mut extensions: Vec<Extension<'a>> = Vec::new();
        while !list.0.is_empty() {
            let extension = Extension::read(list.next("extension", Tag::Sequence)?.data)?;
            if extensions.len() == EXTENSIONS_MAX {
                return Err(CertificateError::TooManyExtensions);
            }
            // Which of two would count is for an attacker to guess, reader by reader.
            if extensions.iter().any(|earlier| earlier.oid == extension.oid) {
                return Err(CertificateError::DuplicateExtension {
                    oid: extension.oid.to_id_string(),
                });
            }
            extensions.push(extension);
        }
        Ok(extensions)
    }
}

impl<'a> Extension<'a> {
    pub(crate) fn read(contents: &'a [u8]) -> Result<Extension<'a>, CertificateError> {
        let mut fields = Fields(contents);
        let oid = Oid::try_from(fields.next("extnID", Tag::Oid)?).map_err(|_| CertificateError::malformed("extnID"))?;
        let mut value = fields.any("extnValue")?;
        let mut critical = false;
        if value.header.tag() == Tag::Boolean {
            // DER knows 0xFF alone, and 0x00 is the default that must be left out; both are read, as everybody does.
            critical = match value.data {
                [0] => false,
                [_] => true,
                _ => return Err(CertificateError::malformed("critical")),
            };
            value = fields.any("extnValue")?;
        }
        if value.header.class() != Class::Universal || value.header.tag() != Tag::OctetString {
            return Err(CertificateError::malformed("extnValue"));
        }
        fields.end("extension")?;
        Ok(Extension {
            oid,
            critical,
            value: value.data,
        })
    }
}

/// The fields of one structure, from the front.
pub(crate) struct Fields<'a>(pub(crate) &'a [u8]);

impl<'a> Fields<'a> {
    pub(crate) fn any(&mut self, field: &'static str) -> Result<Any<'a>, CertificateError> {
        let (rest, any) = Any::from_der(self.0).map_err(|_| CertificateError::malformed(field))?;
        self.0 = rest;
        Ok(any)
    }

    pub(crate) fn next(&mut self, field: &'static str, tag: Tag) -> Result<Any<'a>, CertificateError> {
        let any = self.any(field)?;
        if any.header.class() != Class::Universal || any.header.tag() != tag {
            return Err(CertificateError::malformed(field));
        }
        Ok(any)
    }

    /// Like `next`, with tag and length.
    pub(crate) fn raw(&mut self, field: &'static str, tag: Tag) -> Result<&'a [u8], CertificateError> {
        let before = self.0;
        self.next(field, tag)?;
        before
            .get(..before.len() - self.0.len())
            .ok_or(CertificateError::malformed(field))
    }

    /// The next field if it has this context-specific tag.
    pub(crate) fn optional(&mut self, field: &'static str, tag: u32) -> Result<Option<Any<'a>>, CertificateError> {
        if self.0.is_empty() {
            return Ok(None);
        }
        let (rest, any) = Any::from_der(self.0).map_err(|_| CertificateError::malformed(field))?;
        if any.header.class() != Class::ContextSpecific || any.header.tag() != Tag(tag) {
            return Ok(None);
        }
        self.0 = rest;
        Ok(Some(any))
    }

    pub(crate) fn end(&self, field: &'static str) -> Result<(), CertificateError> {
        match self.0 {
            [] => Ok(()),
            rest => Err(CertificateError::TrailingOctets {
                after: field,
                octets: rest.len(),
            }),
        }
    }
}
