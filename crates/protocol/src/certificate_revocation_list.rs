//! Certificate revocation lists (RFC 5280 §5), read from files that the operator configures for a trust anchor.
//!
//! Nothing is fetched: URLs in certificates are never followed. A list is complete (no delta) and direct (signed by the issuer of what
//! it revokes). Whether it is fresh, and whether its signature holds, is decided with each path, in
//! [`certificate_chain`](crate::certificate_chain).

use std::fmt;

use webpki::{CertRevocationList, OwnedCertRevocationList};
use x509_parser::asn1_rs::{FromDer, Tag};
use x509_parser::time::ASN1Time;

use crate::certificate::{CertificateError, Extension, Fields};
use crate::distinguished_name::DistinguishedName;
use crate::time::Timestamp;

/// A revocation list, read.
pub struct CertificateRevocationList {
    list: CertRevocationList<'static>,
    issuer: DistinguishedName,
    this_update: Timestamp,
    next_update: Timestamp,
    partial: bool,
    der: Vec<u8>,
}

impl CertificateRevocationList {
    /// Reads a list from its DER.
    ///
    /// # Errors
    /// It cannot be read, or is of a kind that is not supported: version 1, delta, indirect, without `nextUpdate`.
    pub fn parse(der: &[u8]) -> Result<CertificateRevocationList, CertificateRevocationListError> {
        let list = OwnedCertRevocationList::from_der(der).map_err(|error| match is_version_1(der) {
            true => CertificateRevocationListError::Version1,
            false => CertificateRevocationListError::Unsupported(error),
        })?;
        let list = CertRevocationList::Owned(list);
        let (issuer, this_update, next_update) = read(der).map_err(CertificateRevocationListError::Malformed)?;
        let partial = list.issuing_distribution_point().is_some_and(names_distribution_point);
        Ok(CertificateRevocationList {
            list,
            issuer,
            this_update,
            next_update,
            partial,
            der: der.to_vec(),
        })
    }

    /// Who issued it.
    pub fn issuer(&self) -> &DistinguishedName {
        &self.issuer
    }

    /// When it was issued.
    pub fn this_update(&self) -> Timestamp {
        self.this_update
    }

    /// Until when it is fresh; from this second on it is stale.
    pub fn next_update(&self) -> Timestamp {
        self.next_update
    }

    pub(crate) fn list(&self) -> &CertRevocationList<'static> {
        &self.list
    }

    /// Whether it lists what this issuer issued. `issuer` is the contents of the Name, without tag and length.
    pub(crate) fn is_of(&self, issuer: &[u8]) -> bool {
        self.list.issuer() == issuer
    }

    /// Whether it covers only what its issuer assigned to one distribution point. It says nothing of a certificate without distribution
    /// points, although the path library takes it to (RFC 5280 §6.3.3 (b) (2) (i)).
    pub(crate) fn is_partial(&self) -> bool {
        self.partial
    }

    /// The whole list, DER.
    pub(crate) fn der(&self) -> &[u8] {
        &self.der
    }

    /// When the certificate with this serial number (contents octets) was revoked, if it was.
    pub(crate) fn revoked_at(&self, serial_number: &[u8]) -> Option<Timestamp> {
        let entry = self.list.find_serial(serial_number).ok().flatten()?;
        let secs = i64::try_from(entry.revocation_date.as_secs()).ok()?;
        Some(Timestamp::from_unix_secs(secs))
    }
}

impl fmt::Debug for CertificateRevocationList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CertificateRevocationList")
            .field("issuer", &self.issuer)
            .field("this_update", &self.this_update)
            .field("next_update", &self.next_update)
            .finish_non_exhaustive()
    }
}

/// Whether the value of an issuing distribution point names one: `distributionPoint [0]`, the first field if it is there.
fn names_distribution_point(value: &[u8]) -> bool {
    const FIELD: &str = "issuingDistributionPoint";
    let fields = Fields(value)
        .next(FIELD, Tag::Sequence)
        .map(|sequence| Fields(sequence.data).optional(FIELD, 0));
    // What cannot be read covers less, not more.
    !matches!(fields, Ok(Ok(None)))
}

/// Version 1 is said by leaving the version out (RFC 5280 §5.1.2.1): the signature's algorithm comes first.
fn is_version_1(der: &[u8]) -> bool {
    let list = Fields(der).next("certificateList", Tag::Sequence);
    let tbs = list.and_then(|list| Fields(list.data).next("tbsCertList", Tag::Sequence));
    tbs.is_ok_and(|tbs| Fields(tbs.data).next("signature", Tag::Sequence).is_ok())
}

/// Issuer, thisUpdate and nextUpdate.
fn read(der: &[u8]) -> Result<(DistinguishedName, Timestamp, Timestamp), CertificateError> {
    let mut list = Fields(Fields(der).next("certificateList", Tag::Sequence)?.data);
    let mut tbs = Fields(list.next("tbsCertList", Tag::Sequence)?.data);
    tbs.next("version", Tag::Integer)?;
    tbs.next("signature", Tag::Sequence)?;
    let issuer = DistinguishedName::from_der(tbs.raw("issuer", Tag::Sequence)?, "issuer")?;
    let (rest, this_update) =
        ASN1Time::from_der(tbs.0).map_err(|_| CertificateError::Malformed { field: "thisUpdate" })?;
    let (rest, next_update) =
        ASN1Time::from_der(rest).map_err(|_| CertificateError::Malformed { field: "nextUpdate" })?;
    check_extensions(rest)?;
    let timestamp = |time: ASN1Time| Timestamp::from_unix_secs(time.timestamp());
    Ok((issuer, timestamp(this_update), timestamp(next_update)))
}

/// The list's number and its issuer's key identifier must not be critical (RFC 5280 §5.2.1, §5.2.3).
fn check_extensions(after_next_update: &[u8]) -> Result<(), CertificateError> {
    // revokedCertificates, which the path library reads, stands between or is left out.
    let mut tagged = Fields(after_next_update);
    let extensions = loop {
        if let Some(extensions) = tagged.optional("crlExtensions", 0)? {
            break Fields(extensions.data).next("crlExtensions", Tag::Sequence)?;
        }
        if tagged.0.is_empty() {
            return Ok(());
        }
        tagged.any("tbsCertList")?;
    };
    let mut extensions = Fields(extensions.data);
    while !extensions.0.is_empty() {
        let extension = Extension::read(extensions.next("extension", Tag::Sequence)?.data)?;
        if extension.critical && matches!(extension.oid.to_id_string().as_str(), "2.5.29.20" | "2.5.29.35") {
            return Err(CertificateError::malformed("crlExtensions"));
        }
    }
    Ok(())
}

/// Why a revocation list cannot be used. For operators.
#[derive(Debug, thiserror::Error)]
pub enum CertificateRevocationListError {
    /// Without version and extensions, so that it has no number and cannot say what it covers.
    #[error(
        "it is a version 1 list, and version 2 with a crlNumber is needed: `openssl ca -gencrl` writes that where its \
         configuration has `crlnumber` and `crl_extensions`"
    )]
    Version1,
    /// Not the structure of a list, or of a kind that is not supported. The path library's own text is the name of its variant.
    #[error("{}", reason(.0))]
    Unsupported(webpki::Error),
    /// A name or a time in it cannot be read.
    #[error("the revocation list cannot be read")]
    Malformed(#[source] CertificateError),
}

fn reason(error: &webpki::Error) -> String {
    let known = match error {
        webpki::Error::UnsupportedCrlVersion => "it is neither a version 1 nor a version 2 list",
        webpki::Error::UnsupportedDeltaCrl => "it is a delta list, and only complete ones are supported",
        webpki::Error::UnsupportedIndirectCrl => {
            "it is an indirect list, and only lists of the certificates' own issuer are supported"
        }
        webpki::Error::UnsupportedRevocationReasonsPartitioning => {
            "it covers some reasons for revocation only, and lists that cover all are needed"
        }
        webpki::Error::UnsupportedCriticalExtension => "it has a critical extension that is not supported",
        webpki::Error::InvalidCrlNumber => "its crlNumber is not a positive number of at most 20 octets",
        webpki::Error::SignatureAlgorithmMismatch => "it names two different signature algorithms",
        webpki::Error::MalformedExtensions => "its extensions are malformed",
        webpki::Error::BadDer | webpki::Error::BadDerTime | webpki::Error::TrailingData(_) => {
            "it does not have the structure of a revocation list"
        }
        other => return format!("it is malformed or of an unsupported kind ({other:?})"),
    };
    known.to_owned()
}
