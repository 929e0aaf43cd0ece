//! Trust anchors: the certification authorities whose certificates authenticate `tls_client_auth` clients (RFC 8705 §7.4).
//!
//! There is no default and no system store: an empty set trusts nobody. A client may be limited to some anchors. An anchor is its key,
//! known by the SHA-256 of its SubjectPublicKeyInfo; two anchors with the same subject and different keys are two.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use rustls_pki_types::CertificateDer;
use serde::{Deserialize, Serialize};

use crate::certificate::{Certificate, CertificateError, PublicKeyKind, Version};
use crate::certificate_chain::unsupported_critical_extension;
use crate::certificate_revocation_list::{CertificateRevocationList, CertificateRevocationListError};
use crate::client_metadata::PermittedAnchors;
use crate::digest::hex;
use crate::time::Timestamp;

/// The name by which configuration and clients refer to a trust anchor: letters, digits, `.`, `_`, `-`, at most 64.
///
/// A name is a choice of the operator and no evidence. `sha256:` and 64 hexadecimal digits is the other form: the one key that has
/// this SPKI hash, whatever it is called.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TrustAnchorName(String);

/// Not a name for a trust anchor.
#[derive(Clone, Copy, Debug, thiserror::Error, PartialEq, Eq)]
#[error(
    "a trust anchor's name has 1 to 64 letters, digits, `.`, `_` and `-`, the first a letter or digit, or is `sha256:` and the 64 hexadecimal digits of its SPKI hash"
)]
pub struct TrustAnchorNameError;

impl TrustAnchorName {
    const KEY_PREFIX: &str = "sha256:";

    /// The name of the key with this SPKI hash.
    pub fn of_key(spki_sha256: &[u8; 32]) -> TrustAnchorName {
        TrustAnchorName(format!("{}{}", TrustAnchorName::KEY_PREFIX, hex(spki_sha256)))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for TrustAnchorName {
    type Err = TrustAnchorNameError;

    fn from_str(text: &str) -> Result<TrustAnchorName, TrustAnchorNameError> {
        if let Some(digits) = text.strip_prefix(TrustAnchorName::KEY_PREFIX) {
            let is_hash = digits.len() == 64 && digits.bytes().all(|octet| octet.is_ascii_hexdigit());
            return if is_hash {
                Ok(TrustAnchorName(text.to_ascii_lowercase()))
            } else {
                Err(TrustAnchorNameError)
            };
        }
        let allowed = |octet: u8| octet.is_ascii_alphanumeric() || matches!(octet, b'.' | b'_' | b'-');
        let begins_well = text.starts_with(|first: char| first.is_ascii_alphanumeric());
        if !begins_well || text.len() > 64 || !text.bytes().all(allowed) {
            return Err(TrustAnchorNameError);
        }
        Ok(TrustAnchorName(text.to_owned()))
    }
}

impl TryFrom<String> for TrustAnchorName {
    type Error = TrustAnchorNameError;

    fn try_from(text: String) -> Result<TrustAnchorName, TrustAnchorNameError> {
        text.parse()
    }
}

impl From<TrustAnchorName> for String {
    fn from(name: TrustAnchorName) -> String {
        name.0
    }
}

impl fmt::Display for TrustAnchorName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What to do about a certificate whose issuer has no revocation list among those configured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CrlMissing {
    /// Refuse it: it cannot be known whether it was revoked.
    Refuse,
    /// Take it for not revoked. A list that is there and stale is refused all the same.
    Accept,
}

/// One `[[trust_anchors]]` of the configuration, its files already read.
#[derive(Clone, Debug)]
pub struct TrustAnchorSettings {
    /// Its name.
    pub name: TrustAnchorName,
    /// The certificates of the authority, DER; several share the name and the rest of the settings.
    pub certificates: Vec<Vec<u8>>,
    /// The revocation lists, DER, of the authority and of the authorities below it.
    pub crls: Vec<Vec<u8>>,
    /// What if there is none for an issuer. Unset: with lists, refuse; without any, revocation is not checked.
    pub crl_missing: Option<CrlMissing>,
    /// Whether end-entity certificates must have an extended key usage with `clientAuth`, not only where they have one.
    pub require_client_auth_eku: bool,
    /// Whether a path must also keep what RFC 5280 §4 asks of issuers and §6 does not ask of a verifier: every certificate names its
    /// issuer's key (§4.2.1.1), but for self-signed ones, and the authority's own has critical basic constraints (§4.2.1.9).
    pub strict: bool,
}

/// One certification authority that is trusted, with its policy.
#[derive(Clone, Debug)]
pub struct TrustAnchor {
    name: TrustAnchorName,
    key_name: TrustAnchorName,
    certificate: Certificate,
    anchor: rustls_pki_types::TrustAnchor<'static>,
    revocation: Arc<Revocation>,
    require_client_auth_eku: bool,
    strict: bool,
}

/// How revocation is checked below an anchor.
#[derive(Debug)]
pub(crate) enum Revocation {
    /// Not at all.
    NotChecked,
    /// Against these lists: of one issuer the complete ones first, the newest of them before older ones.
    Lists {
        lists: Vec<CertificateRevocationList>,
        missing: CrlMissing,
    },
}

impl TrustAnchor {
    /// Reads one entry of the configuration: a trust anchor for each of its certificates.
    ///
    /// # Errors
    /// See [`TrustAnchorError`].
    pub fn load(settings: &TrustAnchorSettings) -> Result<Vec<TrustAnchor>, TrustAnchorError> {
        if settings.certificates.is_empty() {
            return Err(TrustAnchorError::NoCertificate);
        }
        let revocation = Arc::new(Revocation::load(settings)?);
        let anchors = settings.certificates.iter().enumerate();
        anchors
            .map(|(index, der)| TrustAnchor::read(settings, index, der, &revocation))
            .collect()
    }

    fn read(
        settings: &TrustAnchorSettings,
        index: usize,
        der: &[u8],
        revocation: &Arc<Revocation>,
    ) -> Result<TrustAnchor, TrustAnchorError> {
        let certificate = Certificate::parse(der).map_err(|source| TrustAnchorError::Unreadable { index, source })?;
        let constraints = certificate.basic_constraints();
        // A version 1 root cannot say that it is an authority; the operator says so by configuring it.
        if certificate.version() == Version::V3 && !constraints.is_some_and(|constraints| constraints.ca) {
            return Err(TrustAnchorError::NotAnAuthority {
                index,
                subject: certificate.subject().to_string(),
            });
        }
        if certificate.key_usage().is_some_and(|usage| !usage.key_cert_sign()) {
            return Err(TrustAnchorError::KeyUsage {
                index,
                subject: certificate.subject().to_string(),
            });
        }
        if certificate.subject().is_empty() {
            return Err(TrustAnchorError::Nameless { index });
        }
        if let Some(oid) = unsupported_critical_extension(&certificate) {
            return Err(TrustAnchorError::CriticalExtension {
                index,
                oid: oid.to_owned(),
            });
        }
        if !certificate.public_key_kind().is_acceptable() {
            return Err(TrustAnchorError::WeakKey {
                index,
                key: certificate.public_key_kind().clone(),
            });
        }
        let anchor = webpki::anchor_from_trusted_cert(&CertificateDer::from(der))
            .map_err(|source| TrustAnchorError::Unsupported { index, source })?
            .to_owned();
        Ok(TrustAnchor {
            name: settings.name.clone(),
            key_name: TrustAnchorName::of_key(&certificate.spki_sha256()),
            certificate,
            anchor,
            revocation: Arc::clone(revocation),
            require_client_auth_eku: settings.require_client_auth_eku,
            strict: settings.strict,
        })
    }

    /// Its name in the configuration.
    pub fn name(&self) -> &TrustAnchorName {
        &self.name
    }

    /// The name of its key, `sha256:` and the SPKI hash: what it is, whatever it is called.
    pub fn key_name(&self) -> &TrustAnchorName {
        &self.key_name
    }

    /// The certificate by which it was configured. What it issued is refused outside its validity.
    pub fn certificate(&self) -> &Certificate {
        &self.certificate
    }

    /// The revocation lists that are checked below it.
    pub fn revocation_lists(&self) -> &[CertificateRevocationList] {
        match &*self.revocation {
            Revocation::NotChecked => &[],
            Revocation::Lists { lists, .. } => lists,
        }
    }

    pub(crate) fn revocation(&self) -> &Revocation {
        &self.revocation
    }

    pub(crate) fn anchor(&self) -> &rustls_pki_types::TrustAnchor<'static> {
        &self.anchor
    }

    pub(crate) fn requires_client_auth_eku(&self) -> bool {
        self.require_client_auth_eku
    }

    pub(crate) fn is_strict(&self) -> bool {
        self.strict
    }
}

impl Revocation {
    fn load(settings: &TrustAnchorSettings) -> Result<Revocation, TrustAnchorError> {
        let missing = match (settings.crl_missing, settings.crls.is_empty()) {
            (None, true) => return Ok(Revocation::NotChecked),
            (None, false) => CrlMissing::Refuse,
            (Some(missing), _) => missing,
        };
        let mut lists = Vec::new();
        for (index, der) in settings.crls.iter().enumerate() {
            let list =
                CertificateRevocationList::parse(der).map_err(|source| TrustAnchorError::Crl { index, source })?;
            lists.push(list);
        }
        // The path library takes the first list of an issuer: one that covers everything before one that covers a part, then the newer.
        lists.sort_by_key(|list| (list.is_partial(), std::cmp::Reverse(list.this_update())));
        Ok(Revocation::Lists { lists, missing })
    }
}

/// All trust anchors of a server, and how often they have changed.
#[derive(Clone, Debug, Default)]
pub struct TrustAnchors {
    epoch: u64,
    anchors: Vec<TrustAnchor>,
}

impl TrustAnchors {
    /// The anchors as of one trust epoch, a number that rises with every change of anchors, revocation lists or revocations.
    pub fn new(epoch: u64, anchors: Vec<TrustAnchor>) -> TrustAnchors {
        TrustAnchors { epoch, anchors }
    }

    /// Nobody is trusted.
    pub fn none() -> TrustAnchors {
        TrustAnchors::default()
    }

    /// The trust epoch: whatever was concluded under another one must be concluded again.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Every anchor.
    pub fn iter(&self) -> impl Iterator<Item = &TrustAnchor> {
        self.anchors.iter()
    }

    /// The anchors that a client may use, by their own names or those of their keys.
    ///
    /// A name that no anchor has selects nothing: a client limited to an anchor that was removed is trusted by nobody.
    pub fn permitted(&self, permitted: &PermittedAnchors) -> Vec<&TrustAnchor> {
        let permits = |anchor: &&TrustAnchor| permitted.permits(&anchor.name) || permitted.permits(&anchor.key_name);
        self.anchors.iter().filter(permits).collect()
    }

    /// When the first of the revocation lists becomes stale.
    pub fn earliest_next_update(&self) -> Option<Timestamp> {
        let lists = self.anchors.iter().flat_map(TrustAnchor::revocation_lists);
        lists.map(CertificateRevocationList::next_update).min()
    }
}

/// Why an entry of `[[trust_anchors]]` cannot be used. For operators; a certificate or list is named by its place in the file.
#[derive(Debug, thiserror::Error)]
pub enum TrustAnchorError {
    /// No certificate at all.
    #[error("there is no certificate")]
    NoCertificate,
    /// One of the certificates cannot be read.
    #[error("certificate {} cannot be read", index + 1)]
    Unreadable {
        /// Counted from 0.
        index: usize,
        /// Why.
        source: CertificateError,
    },
    /// It is an end-entity certificate. As an anchor it could not even authenticate itself.
    #[error("certificate {} ({subject}) is not a certification authority", index + 1)]
    NotAnAuthority {
        /// Counted from 0.
        index: usize,
        /// Its subject.
        subject: String,
    },
    /// Its key usage does not allow signing certificates.
    #[error("certificate {} ({subject}) may not sign certificates: its key usage lacks keyCertSign", index + 1)]
    KeyUsage {
        /// Counted from 0.
        index: usize,
        /// Its subject.
        subject: String,
    },
    /// It has an empty subject, so that nothing can name it as its issuer.
    #[error("certificate {} has an empty subject", index + 1)]
    Nameless {
        /// Counted from 0.
        index: usize,
    },
    /// It has a critical extension that is not understood.
    #[error("certificate {} has the critical extension {oid}, which is not supported", index + 1)]
    CriticalExtension {
        /// Counted from 0.
        index: usize,
        /// The extension.
        oid: String,
    },
    /// RSA under 2048 bits, or a key whose signatures cannot be verified here.
    #[error("certificate {} has a key that is too weak or not supported: {key}", index + 1)]
    WeakKey {
        /// Counted from 0.
        index: usize,
        /// The key.
        key: PublicKeyKind,
    },
    /// The path validation library cannot use it.
    #[error("certificate {} cannot be used as a trust anchor", index + 1)]
    Unsupported {
        /// Counted from 0.
        index: usize,
        /// Why.
        source: webpki::Error,
    },
    /// One of the revocation lists cannot be used.
    #[error("revocation list {} cannot be used", index + 1)]
    Crl {
        /// Counted from 0.
        index: usize,
        /// Why.
        source: CertificateRevocationListError,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_empty_long_and_strange_names() {
        for text in ["", ".", "-a", "a b", "a/b", "\u{e4}", &"a".repeat(65)] {
            assert_eq!(text.parse::<TrustAnchorName>(), Err(TrustAnchorNameError), "{text:?}");
        }
        assert!("corp-2026.g2_a".parse::<TrustAnchorName>().is_ok());
        assert_eq!("sha256:ab".parse::<TrustAnchorName>(), Err(TrustAnchorNameError));
        let of_key = format!("sha256:{}", "aB".repeat(32)).parse::<TrustAnchorName>();
        assert_eq!(of_key, Ok(TrustAnchorName::of_key(&[0xab; 32])));
    }
}
