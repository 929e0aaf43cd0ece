//! Finding out which single thing was wrong, after no path was found.
//!
//! The path library says little about *why* ("unknown issuer" covers a wrong authority, a missing intermediate and more). This walks
//! from the end-entity certificate upwards through what was presented and names the first link that does not hold. It never changes a
//! verdict: it runs only once there is none. What the search verified it does not verify again.

use super::ChainError;
use super::candidate::check_issuer;
use super::presented::{Link, Presented, by_key_identifier};
use super::signature::{DIAGNOSIS_SIGNATURES_MAX, Signatures, Signed};
use crate::certificate::{Certificate, Version};
use crate::time::Timestamp;
use crate::trust_anchor::TrustAnchor;

/// The critical extensions that path validation evaluates: key usage, alternative names, basic constraints, name constraints, CRL
/// distribution points, extended key usage. (Key identifiers must not be critical, RFC 5280 §4.2.1.1.)
const CRITICAL_SUPPORTED: [&str; 6] = [
    "2.5.29.15",
    "2.5.29.17",
    "2.5.29.19",
    "2.5.29.30",
    "2.5.29.31",
    "2.5.29.37",
];

/// The true cause of `error`.
pub(super) fn of(
    leaf: Link<'_>,
    presented: &Presented<'_>,
    anchors: &[&TrustAnchor],
    now: Timestamp,
    signatures: &Signatures,
    error: webpki::Error,
) -> ChainError {
    // These are about a path whose links all hold, so the walk would find nothing.
    match error {
        webpki::Error::NameConstraintViolation
        | webpki::Error::MalformedNameConstraint
        | webpki::Error::InvalidNetworkMaskConstraint => return ChainError::NameConstraint,
        webpki::Error::PathLenConstraintViolated => return ChainError::PathLength,
        webpki::Error::MaximumPathBuildCallsExceeded
        | webpki::Error::MaximumPathDepthExceeded
        | webpki::Error::MaximumSignatureChecksExceeded
        | webpki::Error::MaximumNameConstraintComparisonsExceeded => return ChainError::TooComplex,
        _ => {}
    }
    let walk = Walk {
        presented,
        anchors,
        now,
        signatures,
    };
    signatures.leave_at_most(DIAGNOSIS_SIGNATURES_MAX);
    let found = walk.up_from(leaf);
    // What was not verified was taken for wrong.
    if signatures.is_exhausted() {
        return ChainError::TooComplex;
    }
    found.unwrap_or(ChainError::Rejected(error))
}

pub(super) fn weak_key(certificate: &Certificate) -> ChainError {
    ChainError::WeakKey {
        subject: certificate.subject().to_string(),
        key: certificate.public_key_kind().clone(),
    }
}

pub(super) fn check_critical_extensions(certificate: &Certificate) -> Result<(), ChainError> {
    match certificate
        .critical_extensions()
        .find(|oid| !CRITICAL_SUPPORTED.contains(oid))
    {
        None => Ok(()),
        Some(oid) => Err(ChainError::UnsupportedCriticalExtension {
            subject: certificate.subject().to_string(),
            oid: oid.to_owned(),
        }),
    }
}

/// The first critical extension that path validation does not evaluate.
pub(crate) fn unsupported_critical_extension(certificate: &Certificate) -> Option<&str> {
    certificate
        .critical_extensions()
        .find(|oid| !CRITICAL_SUPPORTED.contains(oid))
}

struct Walk<'a> {
    presented: &'a Presented<'a>,
    anchors: &'a [&'a TrustAnchor],
    now: Timestamp,
    signatures: &'a Signatures,
}

impl Walk<'_> {
    /// The first link that does not hold; `None` if all do.
    fn up_from(&self, leaf: Link<'_>) -> Option<ChainError> {
        let mut current = leaf;
        // Every step uses up one presented certificate, so this ends.
        let mut unused: Vec<Link<'_>> = self.presented.links().collect();
        loop {
            if let Some(error) = self.below_anchor(current) {
                return error.err();
            }
            let mut issuers: Vec<Link<'_>> = unused.iter().filter(|issuer| names(issuer, current)).copied().collect();
            issuers.sort_by_key(|issuer| by_key_identifier(current.certificate, issuer.certificate));
            let Some(issuer) = issuers
                .iter()
                .find(|issuer| self.signed(current, issuer))
                .or(issuers.first())
            else {
                return Some(match self.presented.unreadable() {
                    Some(error) => ChainError::IssuerUnreadable(error.clone()),
                    None => self.no_issuer(leaf, current),
                });
            };
            if let Some(error) = self.issued(current, *issuer) {
                return Some(error);
            }
            let used = issuer.der;
            unused.retain(|link| !std::ptr::eq(link.der, used));
            current = *issuer;
        }
    }

    /// If trust anchors have the name of the issuer: whether one of them issued `subject`. `None` if no anchor has that name.
    fn below_anchor(&self, subject: Link<'_>) -> Option<Result<(), ChainError>> {
        let mut named = self
            .anchors
            .iter()
            .filter(|anchor| names_anchor(anchor, subject))
            .peekable();
        let first = named.peek().copied()?;
        if let Err(error) = check_signature_algorithm(subject) {
            return Some(Err(error));
        }
        let issued = |anchor: &&&TrustAnchor| {
            self.signatures
                .certificate_holds(subject.der, anchor.certificate().subject_public_key_info())
        };
        if named.any(|anchor| issued(&anchor)) {
            return Some(Ok(()));
        }
        Some(Err(wrong_signature(subject.certificate, first.certificate())))
    }

    /// Why `issuer`, which was presented and has the right name, cannot have issued `subject`.
    fn issued(&self, subject: Link<'_>, issuer: Link<'_>) -> Option<ChainError> {
        let authority = issuer.certificate;
        let name = || authority.subject().to_string();
        if authority.version() != Version::V3 {
            return Some(ChainError::UnsupportedVersion { subject: name() });
        }
        if !authority.basic_constraints().is_some_and(|constraints| constraints.ca) {
            return Some(ChainError::IssuerNotAuthority { subject: name() });
        }
        if let Err(error) = check_issuer(authority).and(check_signature_algorithm(subject)) {
            return Some(error);
        }
        if !self.signed(subject, &issuer) {
            return Some(wrong_signature(subject.certificate, authority));
        }
        if self.now > authority.not_after() {
            return Some(ChainError::IssuerExpired {
                subject: name(),
                not_after: authority.not_after(),
            });
        }
        if self.now < authority.not_before() {
            return Some(ChainError::IssuerNotYetValid {
                subject: name(),
                not_before: authority.not_before(),
            });
        }
        None
    }

    fn signed(&self, subject: Link<'_>, issuer: &Link<'_>) -> bool {
        // The biggest keys are the slowest ones, and one that is not supported verifies nothing.
        issuer.certificate.public_key_kind().is_acceptable()
            && self
                .signatures
                .certificate_holds(subject.der, issuer.certificate.subject_public_key_info())
    }

    /// The issuer of `top` is neither presented nor an anchor.
    fn no_issuer(&self, leaf: Link<'_>, top: Link<'_>) -> ChainError {
        let issuer = top.certificate.issuer().to_string();
        if top.certificate.is_self_issued() {
            return if std::ptr::eq(leaf.der, top.der) {
                ChainError::SelfSigned
            } else {
                ChainError::UnknownIssuer { issuer }
            };
        }
        // Whether the missing issuer stands below one of the anchors cannot be known without its certificate. Evidence: a revocation list
        // of that issuer among the anchor's, another certificate of the path below it, or the same organisation in its name.
        if self.anchors.iter().any(|anchor| seems_below(anchor, top.certificate)) {
            return ChainError::MissingIntermediate { issuer };
        }
        ChainError::IssuerNotPresented { issuer }
    }
}

/// Whether the issuer of `certificate`, whose own certificate nobody showed, seems to stand below this anchor.
fn seems_below(anchor: &TrustAnchor, certificate: &Certificate) -> bool {
    let issuer = certificate.issuer();
    if anchor
        .revocation_lists()
        .iter()
        .any(|list| list.issuer().matches(issuer))
    {
        return true;
    }
    issuer.shares_organization_with(anchor.certificate().subject())
}

fn names(issuer: &Link<'_>, subject: Link<'_>) -> bool {
    issuer.certificate.subject_der() == subject.certificate.issuer_der()
}

fn names_anchor(anchor: &TrustAnchor, subject: Link<'_>) -> bool {
    anchor.certificate().subject_der() == subject.certificate.issuer_der()
}

/// The signature does not hold under the key of the authority with the issuer's name.
fn wrong_signature(subject: &Certificate, authority: &Certificate) -> ChainError {
    let named = subject.authority_key_identifier();
    // Only where both name the same key is it certain that the certificate was altered; else a second authority of that name is by far
    // the likelier cause.
    if named.is_some() && named == authority.subject_key_identifier() {
        return ChainError::BadSignature {
            subject: subject.subject().to_string(),
        };
    }
    ChainError::SameNameOtherKey {
        subject: subject.subject().to_string(),
        issuer: authority.subject().to_string(),
    }
}

fn check_signature_algorithm(subject: Link<'_>) -> Result<(), ChainError> {
    let Ok(signed) = Signed::read(subject.der) else {
        return Ok(());
    };
    if signed.is_of_known_algorithm() {
        return Ok(());
    }
    Err(ChainError::UnsupportedSignatureAlgorithm {
        subject: subject.certificate.subject().to_string(),
        algorithm: signed.algorithm_oid,
    })
}
