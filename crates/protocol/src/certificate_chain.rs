//! Whether a certificate has a path to a trust anchor, and under which policy (RFC 5280 §6, RFC 8705 §2.1, §7.3 – §7.5).
//!
//! Signatures, path building, validity, basic constraints and name constraints are those of rustls-webpki; no path is built by hand.
//! What it leaves to its caller is here: the length of what was presented, key sizes, key usage of every certificate (webpki ignores
//! it), extended key usage, path length below the anchor, revocation per anchor with fresh lists. Read [`verify`] first; `candidate`
//! judges one complete path, `revocation` its standing; `diagnosis` finds, after a refusal, which single thing was wrong.

mod candidate;
mod diagnosis;
mod error;
mod revocation;
mod signature;

use std::cell::RefCell;
use std::time::Duration;

use rustls_pki_types::{CertificateDer, TrustAnchor as PathAnchor, UnixTime};
use webpki::{EndEntityCert, ExtendedKeyUsageValidator, KeyPurposeIdIter};

use crate::certificate::{Certificate, Version};
use crate::peer_certificate::{EndEntityCertificate, INTERMEDIATES_MAX};
use crate::time::Timestamp;
use crate::trust_anchor::{TrustAnchor, TrustAnchorName};
use candidate::Policy;

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
/// certificate any may be used, in any order. The path search is bounded (rustls-webpki's budgets and at most six certificates).
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

    let search = Search {
        end_entity,
        certificate,
        anchors,
        now,
        refused: RefCell::new(None),
    };
    search.run()
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

/// One search for a path.
struct Search<'a> {
    end_entity: &'a EndEntityCertificate,
    certificate: &'a Certificate,
    anchors: &'a [&'a TrustAnchor],
    now: Timestamp,
    /// Why the best of the complete paths was refused. webpki calls back with a shared reference, hence the cell.
    refused: RefCell<Option<ChainError>>,
}

impl Search<'_> {
    fn run(&self) -> Result<VerifiedChain, ChainError> {
        let leaf = CertificateDer::from(self.end_entity.der());
        let leaf = EndEntityCert::try_from(&leaf).map_err(|error| self.diagnose(error))?;
        let intermediates: Vec<CertificateDer<'_>> = self
            .end_entity
            .intermediates()
            .iter()
            .map(|der| CertificateDer::from(der.as_slice()))
            .collect();
        let path_anchors: Vec<PathAnchor<'_>> = self.anchors.iter().map(|anchor| borrow(anchor.anchor())).collect();
        let accepted = RefCell::new(None);
        let judge = |path: &webpki::VerifiedPath<'_>| {
            let verdict = self
                .judge(path, &path_anchors)
                .map_err(|refused| self.remember(refused));
            verdict.map(|chain| drop(accepted.replace(Some(chain))))
        };
        let found = leaf.verify_for_usage(
            webpki::ALL_VERIFICATION_ALGS,
            &path_anchors,
            &intermediates,
            unix_time(self.now),
            // Key usages are judged on complete paths, where every certificate's place is known.
            AnyPurpose,
            None,
            Some(&judge),
        );
        match (found, accepted.into_inner()) {
            (Ok(_), Some(chain)) => Ok(chain),
            (Ok(_), None) => Err(ChainError::TooComplex),
            (Err(error), _) => Err(self.diagnose(error)),
        }
    }

    /// Judges one path whose signatures, validity and constraints hold.
    fn judge(
        &self,
        path: &webpki::VerifiedPath<'_>,
        path_anchors: &[PathAnchor<'_>],
    ) -> Result<VerifiedChain, ChainError> {
        let position = path_anchors
            .iter()
            .position(|anchor| std::ptr::eq(anchor, path.anchor()));
        let anchor = position
            .and_then(|position| self.anchors.get(position))
            .ok_or(ChainError::NoTrustAnchor)?;
        Policy {
            leaf: self.certificate,
            leaf_der: self.end_entity.der(),
            anchor,
            now: self.now,
        }
        .judge(path)
    }

    /// Keeps the refusal that came furthest; path building goes on with other paths.
    fn remember(&self, refused: ChainError) -> webpki::Error {
        let mut best = self.refused.borrow_mut();
        if best.as_ref().is_none_or(|best| best.rule() < refused.rule()) {
            *best = Some(refused);
        }
        webpki::Error::UnknownIssuer
    }

    fn diagnose(&self, error: webpki::Error) -> ChainError {
        match self.refused.take() {
            // A complete path existed, and this is why it was not taken.
            Some(refused) => refused,
            None => diagnosis::of(self.end_entity, self.certificate, self.anchors, self.now, error),
        }
    }
}

/// Accepts any extended key usage: see [`candidate`].
struct AnyPurpose;

impl ExtendedKeyUsageValidator for AnyPurpose {
    fn validate(&self, _purposes: KeyPurposeIdIter<'_, '_>) -> Result<(), webpki::Error> {
        Ok(())
    }
}

fn borrow<'a>(anchor: &'a PathAnchor<'static>) -> PathAnchor<'a> {
    PathAnchor {
        subject: anchor.subject.as_ref().into(),
        subject_public_key_info: anchor.subject_public_key_info.as_ref().into(),
        name_constraints: anchor
            .name_constraints
            .as_ref()
            .map(|constraints| constraints.as_ref().into()),
    }
}

/// webpki counts from 1970: before that nothing is valid anyway.
fn unix_time(now: Timestamp) -> UnixTime {
    UnixTime::since_unix_epoch(Duration::from_secs(u64::try_from(now.unix_secs()).unwrap_or_default()))
}
