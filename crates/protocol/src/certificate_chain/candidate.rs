//! Judging one complete path: our own policy, on top of what RFC 5280 path validation already held.

use webpki::VerifiedPath;

use super::diagnosis::{check_critical_extensions, weak_key};
use super::revocation::Lookup;
use super::signature::Signatures;
use super::{ChainError, VerifiedChain};
use crate::certificate::{Certificate, Version};
use crate::time::Timestamp;
use crate::trust_anchor::TrustAnchor;

/// What one path is judged by.
pub(super) struct Policy<'a> {
    pub(super) leaf: &'a Certificate,
    pub(super) leaf_der: &'a [u8],
    pub(super) anchor: &'a TrustAnchor,
    pub(super) now: Timestamp,
    pub(super) signatures: &'a Signatures,
}

impl Policy<'_> {
    pub(super) fn judge(&self, path: &VerifiedPath<'_>) -> Result<VerifiedChain, ChainError> {
        let mut intermediates = Vec::new();
        for certificate in path.intermediate_certificates() {
            let certificate = Certificate::parse(&certificate.der()).map_err(ChainError::IssuerUnreadable)?;
            check_issuer(&certificate)?;
            intermediates.push(certificate);
        }
        self.check_anchor_validity()?;
        self.check_path_length(&intermediates)?;
        if self.anchor.is_strict() {
            self.check_duties_of_issuers(&intermediates)?;
        }
        self.check_usage()?;
        let crl_fresh_until = Lookup::new(self, path).run()?;

        let not_after = intermediates
            .iter()
            .map(Certificate::not_after)
            .chain([self.leaf.not_after(), self.anchor.certificate().not_after()]);
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

    /// webpki takes an anchor for a name and a key (RFC 5280 §6.1.1 (d)). An operator who sees that the certificate of an authority has ended
    /// expects what it issued to have ended too.
    fn check_anchor_validity(&self) -> Result<(), ChainError> {
        let anchor = self.anchor.certificate();
        let subject = || anchor.subject().to_string();
        if self.now > anchor.not_after() {
            return Err(ChainError::IssuerExpired {
                subject: subject(),
                not_after: anchor.not_after(),
            });
        }
        if self.now < anchor.not_before() {
            return Err(ChainError::IssuerNotYetValid {
                subject: subject(),
                not_before: anchor.not_before(),
            });
        }
        Ok(())
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

    /// What RFC 5280 §4 obliges authorities to, and §6 does not tell a verifier to check.
    ///
    /// `intermediates` begin with the end-entity certificate's issuer. A version 1 anchor has no extensions to ask for.
    fn check_duties_of_issuers(&self, intermediates: &[Certificate]) -> Result<(), ChainError> {
        let anchor = self.anchor.certificate();
        let issuers = intermediates.iter().chain([anchor]);
        for (certificate, issuer) in [self.leaf].into_iter().chain(intermediates).zip(issuers) {
            // The signature holds under the issuer's key, so with that name and that key it is its own issuer.
            let is_self_signed = certificate.is_self_issued()
                && certificate.subject_public_key_info() == issuer.subject_public_key_info();
            if !is_self_signed {
                self.check_names_issuers_key(certificate)?;
            }
        }
        if anchor.version() != Version::V3 {
            return Ok(());
        }
        // Whose key signed the anchor's certificate is not known here; of one that bears its issuer's name it is taken to be its own.
        if !anchor.is_self_issued() {
            self.check_names_issuers_key(anchor)?;
        }
        // That they say CA:TRUE was a condition for becoming an anchor.
        if !anchor.critical_extensions().any(|oid| oid == "2.5.29.19") {
            return Err(ChainError::BasicConstraintsNotCritical {
                subject: anchor.subject().to_string(),
                anchor: self.anchor.name().clone(),
            });
        }
        Ok(())
    }

    fn check_names_issuers_key(&self, certificate: &Certificate) -> Result<(), ChainError> {
        match certificate.authority_key_identifier() {
            None | Some([]) => Err(ChainError::AuthorityKeyIdentifierMissing {
                subject: certificate.subject().to_string(),
                anchor: self.anchor.name().clone(),
            }),
            Some(_) => Ok(()),
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
        if let Some(usage) = self.leaf.key_usage().filter(|usage| usage.key_cert_sign()) {
            return Err(ChainError::KeyUsageOfAuthority {
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
}

/// Whether an intermediate certificate may stand in a client's path, apart from what webpki checked.
pub(super) fn check_issuer(certificate: &Certificate) -> Result<(), ChainError> {
    let subject = || certificate.subject().to_string();
    if certificate.subject().is_empty() {
        return Err(ChainError::IssuerNameless);
    }
    check_critical_extensions(certificate)?;
    if !certificate.public_key_kind().is_acceptable() {
        return Err(weak_key(certificate));
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
