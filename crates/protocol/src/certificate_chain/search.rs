//! Choosing what the path library is asked about, with bounded work.
//!
//! The library's own search tries every order of the presented certificates and verifies the signatures of each from the anchor on,
//! up to a hundred of them. Six self-made authorities that bear an anchor's name take all of these, and whoever can open a connection
//! can present them. So it is given one anchor and a few of the certificates at a time, and only if the signatures between them
//! hold. These are verified from the anchor down: of what an anchor did not issue nothing else is looked at. An authority that has an
//! anchor's name and another key thereby counts if, and only if, signatures lead from an anchor to it, as in a change of keys or with a
//! cross certificate.
//!
//! This is no validation (RFC 8705 §7.5 warns against one's own). It leaves certificates out and accepts nothing: the library builds
//! and validates its path from what is left, with all it knows, and our own policy judges that path.

use rustls_pki_types::{CertificateDer, TrustAnchor as PathAnchor};
use webpki::EndEntityCert;

use super::candidate::Policy;
use super::presented::{Issuer, Link, Presented, by_key_identifier};
use super::signature::Signatures;
use super::{AnyPurpose, ChainError, VerifiedChain, diagnosis, unix_time};
use crate::certificate::Certificate;
use crate::peer_certificate::EndEntityCertificate;
use crate::time::Timestamp;
use crate::trust_anchor::TrustAnchor;

/// The most paths whose signatures hold that are judged for one verdict.
const PATHS_MAX: usize = 8;

/// The most authorities of one name in one path: an authority's old key, its new key, and each certified by the other. It keeps the
/// number of possible paths small: six authorities of one name have 156 with it and 1956 without.
const NAMESAKES_MAX: usize = 3;

/// One search for a path.
pub(super) struct Search<'a> {
    leaf: Link<'a>,
    presented: Presented<'a>,
    anchors: &'a [&'a TrustAnchor],
    now: Timestamp,
    pub(super) signatures: Signatures,
}

/// What is known so far.
#[derive(Default)]
struct Progress<'s> {
    /// Whether a certificate is signed with a key, both by where they are: many paths have a link in common, and a certificate can be long.
    links: Vec<(&'s [u8], &'s [u8], bool)>,
    /// How many paths were progress.
    paths: usize,
    /// Why the best of those that the library accepted was refused.
    refused: Option<ChainError>,
    /// Why the library did not accept the first of the others.
    error: Option<webpki::Error>,
}

impl<'a> Search<'a> {
    pub(super) fn new(
        end_entity: &'a EndEntityCertificate,
        certificate: &'a Certificate,
        anchors: &'a [&'a TrustAnchor],
        now: Timestamp,
    ) -> Search<'a> {
        Search {
            leaf: Link {
                der: end_entity.der(),
                certificate,
            },
            presented: Presented::read(end_entity.intermediates(), now),
            anchors,
            now,
            signatures: Signatures::new(),
        }
    }

    pub(super) fn run(&self) -> Result<VerifiedChain, ChainError> {
        let mut progress = Progress::default();
        // Short paths first: certificates that need not be there use up no work, and of two ways up the plain one is taken.
        for length in 0..=self.presented.links().count() {
            if let Some(chain) = self.climb(length, &mut Vec::new(), &mut progress) {
                return Ok(chain);
            }
        }
        // A complete path existed, and this is why it was not taken.
        if let Some(refused) = progress.refused {
            return Err(refused);
        }
        if self.signatures.is_exhausted() {
            return Err(ChainError::TooComplex);
        }
        let error = progress.error.unwrap_or(webpki::Error::UnknownIssuer);
        let (leaf, presented) = (self.leaf, &self.presented);
        Err(diagnosis::of(
            leaf,
            presented,
            self.anchors,
            self.now,
            &self.signatures,
            error,
        ))
    }

    /// Puts `more` authorities on top of `path`, in every way that their names allow, until a path is accepted.
    fn climb<'s>(
        &'s self,
        more: usize,
        path: &mut Vec<&'s Issuer<'a>>,
        progress: &mut Progress<'s>,
    ) -> Option<VerifiedChain> {
        let top = path.last().map_or(self.leaf, |issuer| issuer.link());
        let Some(more) = more.checked_sub(1) else {
            return self.below_anchor(top, path, progress);
        };
        for issuer in self.presented.issuers_of(top.certificate) {
            if self.signatures.is_exhausted() || progress.paths >= PATHS_MAX {
                return None;
            }
            let namesakes = path.iter().filter(|below| issuer.is_namesake_of(below)).count();
            if namesakes >= NAMESAKES_MAX || path.iter().any(|below| issuer.is_same_authority_as(below)) {
                continue;
            }
            path.push(issuer);
            let found = self.climb(more, path, progress);
            path.pop();
            if found.is_some() {
                return found;
            }
        }
        None
    }

    /// Ends `path` at each anchor that has the name of its last issuer.
    fn below_anchor<'s>(
        &'s self,
        top: Link<'s>,
        path: &[&'s Issuer<'a>],
        progress: &mut Progress<'s>,
    ) -> Option<VerifiedChain> {
        let named = |anchor: &&TrustAnchor| anchor.certificate().subject_der() == top.certificate.issuer_der();
        let mut anchors: Vec<&TrustAnchor> = self.anchors.iter().copied().filter(named).collect();
        anchors.sort_by_key(|anchor| by_key_identifier(top.certificate, anchor.certificate()));
        anchors.into_iter().find_map(|anchor| {
            let holds = self.signatures_hold(path, anchor, progress);
            if holds {
                self.judge(path, anchor, progress)
            } else {
                None
            }
        })
    }

    /// Whether each certificate, from the one that the anchor issued on, is signed with the key of the one above.
    fn signatures_hold<'s>(
        &'s self,
        path: &[&'s Issuer<'a>],
        anchor: &'s TrustAnchor,
        progress: &mut Progress<'s>,
    ) -> bool {
        let mut key = anchor.certificate().subject_public_key_info();
        let links = path.iter().rev().map(|issuer| issuer.link()).chain([self.leaf]);
        for link in links {
            let mut known = progress.links.iter();
            let known = known.find(|(der, by, _)| std::ptr::eq(*der, link.der) && std::ptr::eq(*by, key));
            let holds = match known {
                Some((_, _, holds)) => *holds,
                None => {
                    let holds = self.signatures.certificate_holds(link.der, key);
                    progress.links.push((link.der, key, holds));
                    holds
                }
            };
            if !holds {
                return false;
            }
            key = link.certificate.subject_public_key_info();
        }
        true
    }

    /// Has a path whose signatures hold validated, and judges it.
    fn judge(&self, path: &[&Issuer<'_>], anchor: &TrustAnchor, progress: &mut Progress<'_>) -> Option<VerifiedChain> {
        if progress.paths >= PATHS_MAX {
            return None;
        }
        progress.paths += 1;
        match self.validate(path, anchor) {
            Ok(Ok(chain)) => return Some(chain),
            // The refusal that came furthest is kept.
            Ok(Err(refused)) => {
                if progress
                    .refused
                    .as_ref()
                    .is_none_or(|best| best.rule() < refused.rule())
                {
                    progress.refused = Some(refused);
                }
            }
            Err(error) => drop(progress.error.get_or_insert(error)),
        }
        None
    }

    /// The verdict of the path library, and in it ours.
    fn validate(
        &self,
        path: &[&Issuer<'_>],
        anchor: &TrustAnchor,
    ) -> Result<Result<VerifiedChain, ChainError>, webpki::Error> {
        let leaf = CertificateDer::from(self.leaf.der);
        let leaf = EndEntityCert::try_from(&leaf)?;
        let intermediates: Vec<CertificateDer<'_>> = path
            .iter()
            .map(|issuer| CertificateDer::from(issuer.link().der))
            .collect();
        let path_anchors = [borrow(anchor.anchor())];
        let validated = leaf.verify_for_usage(
            &self.signatures.of_certificates().as_slice(),
            &path_anchors,
            &intermediates,
            unix_time(self.now),
            // Key usages are judged on complete paths, where every certificate's place is known.
            AnyPurpose,
            None,
            None,
        )?;
        let policy = Policy {
            leaf: self.leaf.certificate,
            leaf_der: self.leaf.der,
            anchor,
            now: self.now,
            signatures: &self.signatures,
        };
        Ok(policy.judge(&validated))
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
