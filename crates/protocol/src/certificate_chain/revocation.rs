//! Looking every certificate of a path up in the revocation lists of its trust anchor.
//!
//! The path library looks up and verifies the lists; it takes the first that has the issuer's name, and a list of one distribution point
//! for all others. What that leaves open is closed here, always towards refusing: which lists speak for which certificate, lists
//! from the future, an anchor that may not sign lists.

use std::time::Duration;

use rustls_pki_types::CertificateDer;
use webpki::{
    Cert, EndEntityCert, ExpirationPolicy, RevocationCheckDepth, RevocationOptionsBuilder, UnknownStatusPolicy,
    VerifiedPath,
};

use super::candidate::Policy;
use super::{AnyPurpose, ChainError, unix_time};
use crate::certificate::Certificate;
use crate::certificate_revocation_list::CertificateRevocationList;
use crate::time::Timestamp;
use crate::trust_anchor::{CrlMissing, Revocation};

/// How far in the future a revocation list may begin before it counts as not valid yet.
const CLOCK_LEEWAY: Duration = Duration::from_secs(30);

/// One path and the lists below its anchor.
pub(super) struct Lookup<'p> {
    policy: &'p Policy<'p>,
    path: &'p VerifiedPath<'p>,
    /// The certificates from the end entity on, without the anchor.
    certificates: Vec<&'p Cert<'p>>,
}

impl<'p> Lookup<'p> {
    pub(super) fn new(policy: &'p Policy<'p>, path: &'p VerifiedPath<'p>) -> Lookup<'p> {
        let end_entity: &Cert<'_> = path.end_entity();
        let certificates = [end_entity]
            .into_iter()
            .chain(path.intermediate_certificates())
            .collect();
        Lookup {
            policy,
            path,
            certificates,
        }
    }

    /// Refuses a revoked certificate and one of which nothing is known. Gives the `nextUpdate` of each list that may have been used.
    pub(super) fn run(&self) -> Result<Vec<Timestamp>, ChainError> {
        let Revocation::Lists { lists, missing } = self.policy.anchor.revocation() else {
            return Ok(Vec::new());
        };
        let latest = self.policy.now.plus(CLOCK_LEEWAY);
        let (usable, premature): (Vec<_>, Vec<_>) = lists.iter().partition(|list| list.this_update() <= latest);
        let mut relevant: Vec<&CertificateRevocationList> = Vec::new();
        let mut partial = Vec::new();
        for (index, certificate) in self.certificates.iter().enumerate() {
            let lists = self.lists_for(index, &usable);
            let parsed = Certificate::parse(&certificate.der()).map_err(ChainError::IssuerUnreadable)?;
            // A list of one distribution point says nothing of a certificate that names none.
            let covers =
                |list: &&&CertificateRevocationList| !list.is_partial() || parsed.has_crl_distribution_points();
            if !lists.iter().any(|list| covers(&list)) {
                if let Some(list) = premature.iter().find(|list| list.is_of(certificate.issuer())) {
                    let (issuer, this_update) = (list.issuer().to_string(), list.this_update());
                    return Err(ChainError::CrlNotYetValid { issuer, this_update });
                }
                if *missing == CrlMissing::Refuse {
                    return Err(self.missing(&parsed));
                }
            }
            partial.extend(
                lists
                    .iter()
                    .filter(|list| list.is_partial())
                    .map(|list| (*certificate, *list)),
            );
            relevant.extend(lists);
        }
        self.check_anchor_may_sign(&relevant)?;
        // In the order of `lists`, which is the order of precedence.
        let relevant: Vec<_> = usable.into_iter().filter(|list| contains(&relevant, list)).collect();
        self.look_up(&relevant, *missing)
            .map_err(|error| self.name(error, &relevant))?;
        // The library asked one list of each issuer. Any other that covers a part may revoke too.
        for (certificate, list) in partial {
            if let Some(revoked_at) = list.revoked_at(certificate.serial()) {
                return Err(ChainError::Revoked {
                    subject: subject_of(certificate),
                    revoked_at,
                });
            }
        }
        // A stale list beside a fresh one is an old one that nobody removed: it was not used.
        let next_updates = relevant.iter().map(|list| list.next_update());
        Ok(next_updates
            .filter(|next_update| *next_update > self.policy.now)
            .collect())
    }

    /// The lists of the issuer of a certificate.
    ///
    /// An authority that changed its key has lists under both keys and one name. Where there are several, those that the issuer's key
    /// signed are meant; if it signed none, all are, and the library will say what is wrong.
    fn lists_for<'l>(
        &self,
        index: usize,
        lists: &[&'l CertificateRevocationList],
    ) -> Vec<&'l CertificateRevocationList> {
        let Some(certificate) = self.certificates.get(index) else {
            return Vec::new();
        };
        let named: Vec<_> = lists
            .iter()
            .copied()
            .filter(|list| list.is_of(certificate.issuer()))
            .collect();
        if named.len() < 2 {
            return named;
        }
        let signed: Vec<_> = match self.certificates.get(index + 1) {
            Some(issuer) => {
                let key = issuer.subject_public_key_info();
                named
                    .iter()
                    .copied()
                    .filter(|list| self.policy.signatures.list_holds(list, &key))
                    .collect()
            }
            None => {
                let key = self.policy.anchor.certificate().subject_public_key_info();
                named
                    .iter()
                    .copied()
                    .filter(|list| self.policy.signatures.list_holds(list, key))
                    .collect()
            }
        };
        if signed.is_empty() { named } else { signed }
    }

    /// The same path again, this time with the lists; depth, unknown status and freshness are all said explicitly.
    fn look_up(&self, lists: &[&CertificateRevocationList], missing: CrlMissing) -> Result<(), webpki::Error> {
        let lists: Vec<_> = lists.iter().map(|list| list.list()).collect();
        // Without any list there is nothing to look up; that this is allowed was decided before.
        let Ok(options) = RevocationOptionsBuilder::new(&lists) else {
            return Ok(());
        };
        let options = options
            .with_depth(RevocationCheckDepth::Chain)
            .with_status_policy(match missing {
                CrlMissing::Refuse => UnknownStatusPolicy::Deny,
                CrlMissing::Accept => UnknownStatusPolicy::Allow,
            })
            .with_expiration_policy(ExpirationPolicy::Enforce)
            .build();
        let leaf = CertificateDer::from(self.policy.leaf_der);
        let leaf = EndEntityCert::try_from(&leaf)?;
        let intermediates = self.path.intermediate_certificates();
        let intermediates: Vec<CertificateDer<'_>> = intermediates.map(|certificate| certificate.der()).collect();
        let anchors = [self.path.anchor().clone()];
        let time = unix_time(self.policy.now);
        let algorithms = self.policy.signatures.of_lists();
        leaf.verify_for_usage(
            &algorithms.as_slice(),
            &anchors,
            &intermediates,
            time,
            AnyPurpose,
            Some(options),
            None,
        )
        .map(drop)
    }

    /// The library asks intermediates for `cRLSign`; the anchor's own key usage it does not know.
    fn check_anchor_may_sign(&self, lists: &[&CertificateRevocationList]) -> Result<(), ChainError> {
        let usage = self.policy.anchor.certificate().key_usage();
        if usage.is_none_or(|usage| usage.crl_sign()) {
            return Ok(());
        }
        let issuer = self.certificates.last().map(|certificate| certificate.issuer());
        match lists
            .iter()
            .find(|list| issuer.is_some_and(|issuer| list.is_of(issuer)))
        {
            None => Ok(()),
            Some(list) => {
                let source = webpki::Error::IssuerNotCrlSigner;
                Err(ChainError::Crl {
                    issuer: list.issuer().to_string(),
                    source,
                })
            }
        }
    }

    /// Names the certificate or the list that a refusal of the library is about.
    fn name(&self, error: webpki::Error, lists: &[&CertificateRevocationList]) -> ChainError {
        for certificate in &self.certificates {
            let of_issuer: Vec<_> = lists.iter().filter(|list| list.is_of(certificate.issuer())).collect();
            match &error {
                webpki::Error::CertRevoked => {
                    let revoked_at = of_issuer.iter().find_map(|list| list.revoked_at(certificate.serial()));
                    if let Some(revoked_at) = revoked_at {
                        return ChainError::Revoked {
                            subject: subject_of(certificate),
                            revoked_at,
                        };
                    }
                }
                webpki::Error::CrlExpired { .. } => {
                    if let Some(list) = of_issuer.first().filter(|list| list.next_update() <= self.policy.now) {
                        let (issuer, next_update) = (list.issuer().to_string(), list.next_update());
                        return ChainError::CrlStale { issuer, next_update };
                    }
                }
                // There is a list of this issuer, and it is limited to other certificates.
                webpki::Error::UnknownRevocationStatus => {
                    if let Ok(certificate) = Certificate::parse(&certificate.der()) {
                        return self.missing(&certificate);
                    }
                }
                _ => {
                    if let Some(list) = of_issuer.first() {
                        return ChainError::Crl {
                            issuer: list.issuer().to_string(),
                            source: error,
                        };
                    }
                }
            }
        }
        ChainError::Rejected(error)
    }

    fn missing(&self, certificate: &Certificate) -> ChainError {
        let anchor = self.policy.anchor.name().clone();
        ChainError::CrlMissing {
            issuer: certificate.issuer().to_string(),
            anchor,
        }
    }
}

fn contains(lists: &[&CertificateRevocationList], list: &CertificateRevocationList) -> bool {
    lists.iter().any(|other| std::ptr::eq(*other, list))
}

fn subject_of(certificate: &Cert<'_>) -> String {
    Certificate::parse(&certificate.der())
        .map(|certificate| certificate.subject().to_string())
        .unwrap_or_default()
}
