//! Whether a certificate has a path to a trust anchor, and under which policy (RFC 5280 §6, RFC 8705 §2.1, §7.3 – §7.5).
//!
//! Signatures, validity, basic constraints and name constraints are those of rustls-webpki: whatever is accepted, it accepted. What it
//! leaves to its caller is here: the length of what was presented, key sizes, key usage of every certificate (webpki ignores it),
//! extended key usage, path length below the anchor, revocation per anchor with fresh lists; and the choice of what it is asked about,
//! because anybody can present certificates that make its own search long. Read [`verify`] first; `presented` sorts out what came
//! beside the end-entity certificate, `search` puts paths together, `candidate` judges a complete one, `revocation` its standing;
//! `signature` bounds the work of all of them; `diagnosis` finds, after a refusal, which single thing was wrong.

mod candidate;
mod diagnosis;
mod error;
mod presented;
mod revocation;
mod search;
mod signature;
#[cfg(test)]
mod tests;

use std::time::Duration;

use rustls_pki_types::UnixTime;
use webpki::{ExtendedKeyUsageValidator, KeyPurposeIdIter};

use crate::certificate::{Certificate, Version};
use crate::peer_certificate::{EndEntityCertificate, INTERMEDIATES_MAX};
use crate::time::Timestamp;
use crate::trust_anchor::{TrustAnchor, TrustAnchorName};
use search::Search;

pub(crate) use diagnosis::unsupported_critical_extension;
pub use error::{ChainError, ChainRule};

/// Proof that a certificate has an acceptable path to a trust anchor. Only [`verify`] makes one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedChain {
    anchor: TrustAnchorName,
    anchor_key: TrustAnchorName,
    intermediates: Vec<String>,
    valid_until: Timestamp,
}

impl VerifiedChain {
    /// The configured name of the trust anchor at the end of the path.
    pub fn anchor(&self) -> &TrustAnchorName {
        &self.anchor
    }

    /// The name of the trust anchor's key: `sha256:` and its SPKI hash.
    pub fn anchor_key(&self) -> &TrustAnchorName {
        &self.anchor_key
    }

    /// The subjects of the authorities between the certificate and the trust anchor, from the certificate's issuer on.
    pub fn intermediates(&self) -> &[String] {
        &self.intermediates
    }

    /// Until when this verdict holds if nothing changes: the earliest `notAfter` of the path, its anchor included, and `nextUpdate` of
    /// every revocation list that may have been used.
    pub fn valid_until(&self) -> Timestamp {
        self.valid_until
    }
}

/// Decides whether a certificate has an acceptable path to one of `anchors` at `now`.
///
/// `anchors` are those that the client may use; with none, nobody is trusted. Of the certificates that came beside the end-entity
/// certificate any may be used, in any order. The work is bounded whatever was presented: at most six certificates, and twelve
/// signatures of certificates, each of which is verified once.
///
/// # Errors
/// [`ChainError`]: the first rule, in the order of [`ChainRule`], that no path satisfies.
pub fn verify(
    end_entity: &EndEntityCertificate,
    anchors: &[&TrustAnchor],
    now: Timestamp,
) -> Result<VerifiedChain, ChainError> {
    let presented_intermediates = end_entity.intermediates().len();
    if presented_intermediates > INTERMEDIATES_MAX {
        return Err(ChainError::TooLong {
            presented_intermediates,
        });
    }
    let certificate = end_entity
        .certificate()
        .map_err(|error| ChainError::Unreadable(error.clone()))?;
    check_end_entity(certificate, anchors, now)?;

    Search::new(end_entity, certificate, anchors, now).run()
}

/// What can be said of the certificate alone, before any path is looked for.
fn check_end_entity(certificate: &Certificate, anchors: &[&TrustAnchor], now: Timestamp) -> Result<(), ChainError> {
    if now > certificate.not_after() {
        return Err(ChainError::Expired {
            not_after: certificate.not_after(),
            now,
        });
    }
    if now < certificate.not_before() {
        return Err(ChainError::NotYetValid {
            not_before: certificate.not_before(),
            now,
        });
    }
    if anchors.is_empty() {
        return Err(ChainError::NoTrustAnchor);
    }
    if certificate.version() != Version::V3 {
        return Err(ChainError::UnsupportedVersion {
            subject: certificate.subject().to_string(),
        });
    }
    if !certificate.public_key_kind().is_acceptable() {
        return Err(diagnosis::weak_key(certificate));
    }
    if certificate
        .basic_constraints()
        .is_some_and(|constraints| constraints.ca)
    {
        return Err(ChainError::AuthorityAsEndEntity);
    }
    let mut critical = certificate.critical_extensions();
    let has_names = !certificate.subject_alternative_names().is_empty();
    if certificate.subject().is_empty() && has_names && !critical.any(|oid| oid == "2.5.29.17") {
        return Err(ChainError::AlternativeNamesNotCritical);
    }
    diagnosis::check_critical_extensions(certificate)
}

/// Accepts any extended key usage: see [`candidate`].
struct AnyPurpose;

impl ExtendedKeyUsageValidator for AnyPurpose {
    fn validate(&self, _purposes: KeyPurposeIdIter<'_, '_>) -> Result<(), webpki::Error> {
        Ok(())
    }
}

/// webpki counts from 1970: before that nothing is valid anyway.
fn unix_time(now: Timestamp) -> UnixTime {
    UnixTime::since_unix_epoch(Duration::from_secs(u64::try_from(now.unix_secs()).unwrap_or_default()))
}
