//! What came beside the end-entity certificate, and which of it can stand in a path at all.

use super::candidate::check_issuer;
use crate::certificate::{Certificate, CertificateError, Version};
use crate::time::Timestamp;

/// A certificate with its octets.
#[derive(Clone, Copy)]
pub(super) struct Link<'a> {
    pub(super) der: &'a [u8],
    pub(super) certificate: &'a Certificate,
}

/// The certificates beside the end-entity certificate, each once, in the order in which they came.
pub(super) struct Presented<'a> {
    issuers: Vec<Issuer<'a>>,
    unreadable: Option<CertificateError>,
}

/// One of them.
pub(super) struct Issuer<'a> {
    der: &'a [u8],
    certificate: Certificate,
    spki_sha256: [u8; 32],
    /// Whether a path with it can be accepted, as far as it can be seen without verifying a signature.
    is_eligible: bool,
}

impl<'a> Presented<'a> {
    pub(super) fn read(presented: &'a [Vec<u8>], now: Timestamp) -> Presented<'a> {
        let mut issuers: Vec<Issuer<'a>> = Vec::new();
        let mut unreadable = None;
        for der in presented {
            if issuers.iter().any(|issuer| issuer.der == der.as_slice()) {
                continue;
            }
            match Certificate::parse(der) {
                Ok(certificate) => issuers.push(Issuer {
                    der,
                    spki_sha256: certificate.spki_sha256(),
                    is_eligible: is_eligible(&certificate, now),
                    certificate,
                }),
                Err(error) => unreadable = Some(error),
            }
        }
        Presented { issuers, unreadable }
    }

    /// All that can be read.
    pub(super) fn links(&self) -> impl Iterator<Item = Link<'_>> {
        self.issuers.iter().map(Issuer::link)
    }

    /// Why one of them, if any, cannot be read.
    pub(super) fn unreadable(&self) -> Option<&CertificateError> {
        self.unreadable.as_ref()
    }

    /// Those that can have issued `subject` by their name and can stand in a path, the likelier ones first.
    pub(super) fn issuers_of(&self, subject: &Certificate) -> Vec<&Issuer<'a>> {
        let named = self
            .issuers
            .iter()
            .filter(|issuer| issuer.is_eligible && issuer.certificate.subject_der() == subject.issuer_der());
        let mut issuers: Vec<&Issuer<'a>> = named.collect();
        issuers.sort_by_key(|issuer| by_key_identifier(subject, &issuer.certificate));
        issuers
    }
}

impl Issuer<'_> {
    pub(super) fn link(&self) -> Link<'_> {
        Link {
            der: self.der,
            certificate: &self.certificate,
        }
    }

    pub(super) fn is_namesake_of(&self, other: &Issuer<'_>) -> bool {
        self.certificate.subject_der() == other.certificate.subject_der()
    }

    /// Whether both are the same authority, which a path may contain once (RFC 4158 §5.2).
    pub(super) fn is_same_authority_as(&self, other: &Issuer<'_>) -> bool {
        self.spki_sha256 == other.spki_sha256 && self.is_namesake_of(other)
    }
}

/// In which order authorities of the right name are tried: the one whose key `subject` names, then those of which nothing is known,
/// then those with another key. No more than an order: identifiers are hints, and some authorities get them wrong.
pub(super) fn by_key_identifier(subject: &Certificate, issuer: &Certificate) -> u8 {
    match (subject.authority_key_identifier(), issuer.subject_key_identifier()) {
        (Some(named), Some(own)) if named == own => 0,
        (Some(_), Some(_)) => 2,
        (None, _) | (_, None) => 1,
    }
}

fn is_eligible(certificate: &Certificate, now: Timestamp) -> bool {
    certificate.version() == Version::V3
        && certificate
            .basic_constraints()
            .is_some_and(|constraints| constraints.ca)
        && certificate.not_before() <= now
        && now <= certificate.not_after()
        && check_issuer(certificate).is_ok()
}
