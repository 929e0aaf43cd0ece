//! Judging one complete path: our own policy, on top of what RFC 5280 path validation already held.

use rustls_pki_types::CertificateDer;
use webpki::{
    Cert, EndEntityCert, ExpirationPolicy, RevocationCheckDepth, RevocationOptionsBuilder, UnknownStatusPolicy,
    VerifiedPath,
};

use super::{AnyPurpose, ChainError, VerifiedChain, unix_time};
use crate::certificate::Certificate;
use crate::certificate_revocation_list::CertificateRevocationList;
use crate::time::Timestamp;
use crate::trust_anchor::{CrlMissing, Revocation, TrustAnchor};

/// How far a revocation list may be from the future before it counts as made by a wrong clock, in seconds.
const CLOCK_LEEWAY_SECS: u64 = 30;

/// What one path is judged by.
pub(super) struct Policy<'a> {
    pub(super) leaf: &'a Certificate,
    pub(super) leaf_der: &'a [u8],
    pub(super) anchor: &'a TrustAnchor,
    pub(super) now: Timestamp,
}

impl Policy<'_> {
    pub(super) fn judge(&self, path: &VerifiedPath<'_>) -> Result<VerifiedChain, ChainError> {
        let mut intermediates = Vec::new();
        for certificate in path.intermediate_certificates() {
            let certificate = Certificate::parse(&certificate.der()).map_err(ChainError::IssuerUnreadable)?;
            check_issuer(&certificate)?;
            intermediates.push(certificate);
        }
        self.check_path_length(&intermediates)?;
        self.check_usage()?;
        let crl_fresh_until = self.check_revocation(path)?;

        let not_after = intermediates
            .iter()
            .map(Certificate::not_after)
            .chain([self.leaf.not_after()]);
        let valid_until = not_after.chain(crl_fresh_until).min().unwrap_or(self.leaf.not_after());
        Ok(VerifiedChain {
            anchor: self.anchor.name().clone(),
            anchor_key: self.anchor.key_name().clone(),
            intermediates: intermediates
                .iter()
                .map(|certificate| certificate.subject().to_string())
                .collect(),
            valid_until,
        })
    }

    /// webpki applies the limits of intermediates; the anchor's own it does not know.
    fn check_path_length(&self, intermediates: &[Certificate]) -> Result<(), ChainError> {
        let limit = self
            .anchor
            .certificate()
            .basic_constraints()
            .and_then(|constraints| constraints.path_length_max);
        let length = intermediates
            .iter()
            .filter(|certificate| !certificate.is_self_issued())
            .count();
        match limit {
            Some(limit) if length > limit as usize => Err(ChainError::PathLength),
            _ => Ok(()),
        }
    }

    /// What the end-entity certificate may be used for.
    fn check_usage(&self) -> Result<(), ChainError> {
        // A TLS client signs. Without the extension every use is allowed (RFC 5280 §4.2.1.3).
        if let Some(usage) = self.leaf.key_usage().filter(|usage| !usage.digital_signature()) {
            return Err(ChainError::KeyUsage {
                presented: usage.to_string(),
            });
        }
        match self.leaf.extended_key_usage() {
            None if self.anchor.requires_client_auth_eku() => Err(ChainError::ExtendedKeyUsageMissing {
                anchor: self.anchor.name().clone(),
            }),
            // `anyExtendedKeyUsage` is not enough: who issues a client certificate can say so.
            Some(usage) if !usage.client_auth() => Err(ChainError::ExtendedKeyUsage {
                presented: usage.to_string(),
            }),
            None | Some(_) => Ok(()),
        }
    }

    /// Looks every certificate of the path up in the anchor's lists. Gives the `nextUpdate` of each list that may have been used.
    fn check_revocation(&self, path: &VerifiedPath<'_>) -> Result<Vec<Timestamp>, ChainError> {
        let Revocation::Lists { lists, missing } = self.anchor.revocation() else {
            return Ok(Vec::new());
        };
        let certificates = certificates_of(path);
        let latest = self.now.plus(std::time::Duration::from_secs(CLOCK_LEEWAY_SECS));
        let (usable, premature): (Vec<_>, Vec<_>) = lists.iter().partition(|list| list.this_update() <= latest);
        let mut fresh_until = Vec::new();
        for certificate in &certificates {
            let of_issuer: Vec<_> = usable.iter().filter(|list| list.is_of(certificate.issuer())).collect();
            if of_issuer.is_empty() {
                if let Some(list) = premature.iter().find(|list| list.is_of(certificate.issuer())) {
                    return Err(ChainError::CrlNotYetValid {
                        issuer: list.issuer().to_string(),
                        this_update: list.this_update(),
                    });
                }
                if *missing == CrlMissing::Refuse {
                    return Err(self.crl_missing(certificate));
                }
            }
            // A stale list beside a fresh one is an old one that nobody removed: it is not used.
            let next_updates = of_issuer.iter().map(|list| list.next_update());
            fresh_until.extend(next_updates.filter(|next_update| *next_update > self.now));
        }
        self.check_crl_signer(&certificates, &usable)?;
        if usable.is_empty() {
            return Ok(fresh_until);
        }
        self.look_up(path, &usable, *missing)
            .map_err(|error| self.revocation_error(error, &certificates, &usable))?;
        Ok(fresh_until)
    }

    /// The same path again, this time with the lists; depth, unknown status and freshness are all said explicitly.
    fn look_up(
        &self,
        path: &VerifiedPath<'_>,
        lists: &[&CertificateRevocationList],
        missing: CrlMissing,
    ) -> Result<(), webpki::Error> {
        let lists: Vec<_> = lists.iter().map(|list| list.list()).collect();
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
        let leaf_der = CertificateDer::from(self.leaf_der);
        let leaf = EndEntityCert::try_from(&leaf_der)?;
        let intermediates: Vec<CertificateDer<'_>> = path.intermediate_certificates().map(|cert| cert.der()).collect();
        let anchors = [path.anchor().clone()];
        let time = unix_time(self.now);
        let algorithms = webpki::ALL_VERIFICATION_ALGS;
        leaf.verify_for_usage(
            algorithms,
            &anchors,
            &intermediates,
            time,
            AnyPurpose,
            Some(options),
            None,
        )
        .map(drop)
    }

    /// webpki asks intermediates for `cRLSign`; the anchor's own key usage it does not know.
    fn check_crl_signer(
        &self,
        certificates: &[&Cert<'_>],
        lists: &[&CertificateRevocationList],
    ) -> Result<(), ChainError> {
        if self
            .anchor
            .certificate()
            .key_usage()
            .is_none_or(|usage| usage.crl_sign())
        {
            return Ok(());
        }
        let Some(last) = certificates.last() else {
            return Ok(());
        };
        match lists.iter().find(|list| list.is_of(last.issuer())) {
            None => Ok(()),
            Some(list) => Err(ChainError::Crl {
                issuer: list.issuer().to_string(),
                source: webpki::Error::IssuerNotCrlSigner,
            }),
        }
    }

    /// Names the certificate or the list that a refusal is about.
    fn revocation_error(
        &self,
        error: webpki::Error,
        certificates: &[&Cert<'_>],
        lists: &[&CertificateRevocationList],
    ) -> ChainError {
        for certificate in certificates {
            let of_issuer: Vec<_> = lists.iter().filter(|list| list.is_of(certificate.issuer())).collect();
            match &error {
                webpki::Error::CertRevoked => {
                    if let Some(revoked_at) = of_issuer.iter().find_map(|list| list.revoked_at(certificate.serial())) {
                        return ChainError::Revoked {
                            subject: subject_of(certificate),
                            revoked_at,
                        };
                    }
                }
                webpki::Error::CrlExpired { .. } => {
                    if let Some(list) = of_issuer.first().filter(|list| list.next_update() <= self.now) {
                        return ChainError::CrlStale {
                            issuer: list.issuer().to_string(),
                            next_update: list.next_update(),
                        };
                    }
                }
                webpki::Error::UnknownRevocationStatus => {
                    // There is a list of this issuer, but it is limited to other certificates.
                    return self.crl_missing(certificate);
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

    fn crl_missing(&self, certificate: &Cert<'_>) -> ChainError {
        let parsed = Certificate::parse(&certificate.der());
        ChainError::CrlMissing {
            issuer: parsed
                .map(|certificate| certificate.issuer().to_string())
                .unwrap_or_default(),
            anchor: self.anchor.name().clone(),
        }
    }
}

/// The certificates of a path from the end entity on, without the anchor.
fn certificates_of<'p>(path: &'p VerifiedPath<'p>) -> Vec<&'p Cert<'p>> {
    let end_entity: &Cert<'_> = path.end_entity();
    [end_entity]
        .into_iter()
        .chain(path.intermediate_certificates())
        .collect()
}

fn subject_of(certificate: &Cert<'_>) -> String {
    Certificate::parse(&certificate.der())
        .map(|certificate| certificate.subject().to_string())
        .unwrap_or_default()
}

/// Whether an intermediate certificate may stand in a client's path, apart from what webpki checked.
pub(super) fn check_issuer(certificate: &Certificate) -> Result<(), ChainError> {
    let subject = || certificate.subject().to_string();
    if !certificate.public_key_kind().is_acceptable() {
        return Err(super::diagnosis::weak_key(certificate));
    }
    if certificate.key_usage().is_some_and(|usage| !usage.key_cert_sign()) {
        return Err(ChainError::IssuerKeyUsage { subject: subject() });
    }
    // In an authority's certificate the extension limits what may be issued below it; there `any` does say "any".
    if certificate
        .extended_key_usage()
        .is_some_and(|usage| !usage.client_auth() && !usage.any())
    {
        return Err(ChainError::IssuerExtendedKeyUsage { subject: subject() });
    }
    Ok(())
}
