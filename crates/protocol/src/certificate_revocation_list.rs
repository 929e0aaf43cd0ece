//! Certificate revocation lists (RFC 5280 §5), read from files that the operator configures for a trust anchor.
//!
//! Nothing is fetched: URLs in certificates are never followed. A list is complete (no delta) and direct (signed by the issuer of what
//! it revokes). Whether it is fresh, and whether its signature holds, is decided with each path, in
//! [`certificate_chain`](crate::certificate_chain).

use std::fmt;

use webpki::{CertRevocationList, OwnedCertRevocationList};
use x509_parser::asn1_rs::{FromDer, Tag};
use x509_parser::time::ASN1Time;

use crate::certificate::{CertificateError, Fields};
use crate::distinguished_name::DistinguishedName;
use crate::time::Timestamp;

/// A revocation list, read.
pub struct CertificateRevocationList {
    list: CertRevocationList<'static>,
    issuer: DistinguishedName,
    this_update: Timestamp,
    next_update: Timestamp,
}

impl CertificateRevocationList {
    /// Reads a list from its DER.
    ///
    /// # Errors
    /// It cannot be read, or is of a kind that is not supported: version 1, delta, indirect, without `nextUpdate`.
    pub fn parse(der: &[u8]) -> Result<CertificateRevocationList, CertificateRevocationListError> {
        let list = OwnedCertRevocationList::from_der(der).map_err(CertificateRevocationListError::Unsupported)?;
        let (issuer, this_update, next_update) = read(der).map_err(CertificateRevocationListError::Malformed)?;
        Ok(CertificateRevocationList {
            list: CertRevocationList::Owned(list),
            issuer,
            this_update,
            next_update,
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

/// Issuer, thisUpdate and nextUpdate.
fn read(der: &[u8]) -> Result<(DistinguishedName, Timestamp, Timestamp), CertificateError> {
    let mut list = Fields(Fields(der).next("certificateList", Tag::Sequence)?.data);
    let mut tbs = Fields(list.next("tbsCertList", Tag::Sequence)?.data);
    tbs.next("version", Tag::Integer)?;
    tbs.next("signature", Tag::Sequence)?;
    let issuer = DistinguishedName::from_der(tbs.raw("issuer", Tag::Sequence)?, "issuer")?;
    let (rest, this_update) =
        ASN1Time::from_der(tbs.0).map_err(|_| CertificateError::Malformed { field: "thisUpdate" })?;
    let (_, next_update) = ASN1Time::from_der(rest).map_err(|_| CertificateError::Malformed { field: "nextUpdate" })?;
    let timestamp = |time: ASN1Time| Timestamp::from_unix_secs(time.timestamp());
    Ok((issuer, timestamp(this_update), timestamp(next_update)))
}

/// Why a revocation list cannot be used. For operators.
#[derive(Debug, thiserror::Error)]
pub enum CertificateRevocationListError {
    /// Not the structure of a list, or of a kind that is not supported.
    #[error("the revocation list cannot be read or is of an unsupported kind")]
    Unsupported(#[source] webpki::Error),
    /// A name or a time in it cannot be read.
    #[error("the revocation list cannot be read")]
    Malformed(#[source] CertificateError),
}
