//! Why a certificate has no acceptable path.

use crate::certificate::{CertificateError, PublicKeyKind};
use crate::time::Timestamp;
use crate::trust_anchor::TrustAnchorName;

/// The rules of a path in the order in which they are checked and explained.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ChainRule {
    /// No more certificates than anyone needs.
    Length,
    /// The end-entity certificate can be read.
    Readable,
    /// `now` is inside its validity.
    Validity,
    /// There is a path to a trust anchor that this client may use.
    Path,
    /// Its key may sign.
    KeyUsage,
    /// It may be used for TLS client authentication.
    ExtendedKeyUsage,
    /// Neither it nor an authority of its path is revoked, and that is known.
    Revocation,
}

/// Why a certificate has no acceptable path to a trust anchor. For operators.
///
/// Subjects and issuers are written canonically. The wire says `invalid_client` to all of them.
#[derive(Debug, thiserror::Error)]
pub enum ChainError {
    /// More certificates than the limit, refused before anything else was asked.
    #[error("{presented_intermediates} certificates were presented besides the end-entity certificate, more than 6")]
    TooLong {
        /// How many came.
        presented_intermediates: usize,
    },
    /// The end-entity certificate cannot be read.
    #[error("the certificate cannot be read")]
    Unreadable(#[source] CertificateError),
    /// The end-entity certificate has ended.
    #[error("the certificate expired at {not_after} (now {now})")]
    Expired {
        /// Its last second.
        not_after: Timestamp,
        /// The time of the verdict.
        now: Timestamp,
    },
    /// The end-entity certificate has not begun.
    #[error("the certificate is valid only from {not_before} on (now {now})")]
    NotYetValid {
        /// Its first second.
        not_before: Timestamp,
        /// The time of the verdict.
        now: Timestamp,
    },
    /// There is no trust anchor that this client may use: nobody is trusted.
    #[error("this client has no trust anchor")]
    NoTrustAnchor,
    /// Version 1 or 2: it cannot say what it may be used for, and the path library does not take it.
    #[error("{subject} is an X.509 version 1 or 2 certificate, which cannot be validated")]
    UnsupportedVersion {
        /// Whose certificate.
        subject: String,
    },
    /// RSA under 2048 bits, or a kind of key whose signatures are not verified here.
    #[error("the key of {subject} is too weak or not supported: {key}")]
    WeakKey {
        /// Whose key.
        subject: String,
        /// The key.
        key: PublicKeyKind,
    },
    /// The certificate of an authority was presented as that of a client.
    #[error("the certificate is that of a certification authority (basicConstraints CA:TRUE), not of a client")]
    AuthorityAsEndEntity,
    /// A critical extension that is not understood (RFC 5280 §4.2).
    #[error("the certificate of {subject} has the critical extension {oid}, which is not supported")]
    UnsupportedCriticalExtension {
        /// Whose certificate.
        subject: String,
        /// The extension.
        oid: String,
    },
    /// The path was presented up to its root, and that is no trust anchor of this client.
    #[error("{issuer} is not a trust anchor of this client")]
    UnknownIssuer {
        /// The root.
        issuer: String,
    },
    /// The issuer is no trust anchor of this client and its certificate was not presented, so that it cannot be known whether it is a
    /// stranger or an authority below an anchor.
    #[error(
        "the issuer {issuer} is not a trust anchor of this client, and its certificate was not presented: \
         it is unknown here, or an intermediate certificate is missing"
    )]
    IssuerNotPresented {
        /// The authority whose certificate nobody showed.
        issuer: String,
    },
    /// The certificate is its own issuer: it belongs to the other method.
    #[error("the certificate is self-signed and no trust anchor issued it")]
    SelfSigned,
    /// The issuer's certificate was not presented, and it looks like one below a trust anchor.
    #[error("the certificate of the issuer {issuer} was not presented, and it is not a trust anchor itself")]
    MissingIntermediate {
        /// The authority whose certificate is missing.
        issuer: String,
    },
    /// Issued by an authority with the name of a trust anchor (or of a presented intermediate) and another key.
    #[error("{subject} was issued by an authority called {issuer} whose key is not that of the configured one")]
    SameNameOtherKey {
        /// What was issued.
        subject: String,
        /// The name that both authorities have.
        issuer: String,
    },
    /// The signature does not hold although the issuer's key is the right one: the certificate was altered.
    #[error("the signature on the certificate of {subject} does not hold")]
    BadSignature {
        /// Whose certificate.
        subject: String,
    },
    /// Signed with an algorithm that is not accepted (SHA-1, MD5, unknown curves).
    #[error("the certificate of {subject} is signed with {algorithm}, which is not accepted")]
    UnsupportedSignatureAlgorithm {
        /// Whose certificate.
        subject: String,
        /// The algorithm as a dotted object identifier.
        algorithm: String,
    },
    /// A certificate of the path, other than the end-entity certificate, cannot be read.
    #[error("an intermediate certificate cannot be read")]
    IssuerUnreadable(#[source] CertificateError),
    /// An authority's certificate, the trust anchor's included, has ended.
    #[error("the certificate of the authority {subject} expired at {not_after}")]
    IssuerExpired {
        /// Which authority.
        subject: String,
        /// Its last second.
        not_after: Timestamp,
    },
    /// An authority's certificate, the trust anchor's included, has not begun.
    #[error("the certificate of the authority {subject} is valid only from {not_before} on")]
    IssuerNotYetValid {
        /// Which authority.
        subject: String,
        /// Its first second.
        not_before: Timestamp,
    },
    /// The issuer is no authority: somebody signed with an end-entity certificate.
    #[error("{subject} issued a certificate and is not a certification authority")]
    IssuerNotAuthority {
        /// Who.
        subject: String,
    },
    /// The issuer's key usage does not allow signing certificates.
    #[error("{subject} issued a certificate and its key usage lacks keyCertSign")]
    IssuerKeyUsage {
        /// Who.
        subject: String,
    },
    /// The issuer is limited to other purposes.
    #[error("{subject} may not issue certificates for TLS clients: its extended key usage lacks clientAuth")]
    IssuerExtendedKeyUsage {
        /// Who.
        subject: String,
    },
    /// An authority without a name: nobody could say who issued (RFC 5280 §4.1.2.6).
    #[error("an authority of the path has an empty subject")]
    IssuerNameless,
    /// A subject that is empty demands alternative names that are marked critical (RFC 5280 §4.1.2.6).
    #[error("the certificate has an empty subject and its alternative names are not marked critical")]
    AlternativeNamesNotCritical,
    /// More authorities in the path than one of them allows.
    #[error("the path is longer than an authority in it allows (pathLenConstraint)")]
    PathLength,
    /// A name in the path that an authority may not issue for, or a constraint that cannot be evaluated.
    #[error("the path violates the name constraints of an authority")]
    NameConstraint,
    /// A certificate of the path does not name its issuer's key, and this anchor is strict.
    #[error(
        "the certificate of {subject} has no authorityKeyIdentifier with a keyIdentifier (RFC 5280 §4.2.1.1), and trust anchor \
         {anchor} is strict"
    )]
    AuthorityKeyIdentifierMissing {
        /// Whose certificate.
        subject: String,
        /// Which anchor.
        anchor: TrustAnchorName,
    },
    /// The anchor's own certificate has no basic constraints that are marked critical, and it is strict.
    #[error(
        "the basicConstraints of {subject} are not marked critical (RFC 5280 §4.2.1.9), and trust anchor {anchor} is strict"
    )]
    BasicConstraintsNotCritical {
        /// Whose certificate.
        subject: String,
        /// Which anchor.
        anchor: TrustAnchorName,
    },
    /// The search for a path took too many steps.
    #[error("the presented certificates make too many possible paths")]
    TooComplex,
    /// The path validation library refused it for a reason that has no variant of its own here.
    #[error("the path was not accepted")]
    Rejected(#[source] webpki::Error),
    /// The key may not sign.
    #[error("the key usage of the certificate lacks digitalSignature: {presented}")]
    KeyUsage {
        /// The usages it has.
        presented: String,
    },
    /// The key may sign certificates although it is not that of an authority (RFC 5280 §4.2.1.9).
    #[error("the key usage of the certificate has keyCertSign, and it is not that of an authority: {presented}")]
    KeyUsageOfAuthority {
        /// The usages it has.
        presented: String,
    },
    /// It is not for TLS clients.
    #[error("the extended key usage of the certificate lacks clientAuth: {presented}")]
    ExtendedKeyUsage {
        /// The purposes it has.
        presented: String,
    },
    /// It has no extended key usage, and this anchor demands one.
    #[error("the certificate has no extended key usage, and trust anchor {anchor} requires clientAuth")]
    ExtendedKeyUsageMissing {
        /// Which anchor.
        anchor: TrustAnchorName,
    },
    /// It, or an authority in its path, was revoked.
    #[error("the certificate of {subject} was revoked at {revoked_at}")]
    Revoked {
        /// Whose certificate.
        subject: String,
        /// When.
        revoked_at: Timestamp,
    },
    /// The revocation list is too old to say anything.
    #[error("the revocation list of {issuer} is stale since {next_update}")]
    CrlStale {
        /// Whose list.
        issuer: String,
        /// When the next one was due.
        next_update: Timestamp,
    },
    /// The revocation list is from the future.
    #[error("the revocation list of {issuer} is only valid from {this_update} on")]
    CrlNotYetValid {
        /// Whose list.
        issuer: String,
        /// When it was issued.
        this_update: Timestamp,
    },
    /// There is no revocation list of an issuer, and the anchor demands one.
    #[error("there is no revocation list of {issuer}, and trust anchor {anchor} requires one")]
    CrlMissing {
        /// Whose list is missing.
        issuer: String,
        /// Which anchor.
        anchor: TrustAnchorName,
    },
    /// The revocation list does not hold: wrong signature, or its issuer may not sign lists.
    #[error("the revocation list of {issuer} does not hold")]
    Crl {
        /// Whose list.
        issuer: String,
        /// Why.
        source: webpki::Error,
    },
}

impl ChainError {
    /// The rule that was not satisfied.
    pub fn rule(&self) -> ChainRule {
        match self {
            ChainError::TooLong { .. } => ChainRule::Length,
            ChainError::Unreadable(_) => ChainRule::Readable,
            ChainError::Expired { .. } | ChainError::NotYetValid { .. } => ChainRule::Validity,
            ChainError::NoTrustAnchor
            | ChainError::UnsupportedVersion { .. }
            | ChainError::WeakKey { .. }
            | ChainError::AuthorityAsEndEntity
            | ChainError::UnsupportedCriticalExtension { .. }
            | ChainError::UnknownIssuer { .. }
            | ChainError::IssuerNotPresented { .. }
            | ChainError::SelfSigned
            | ChainError::MissingIntermediate { .. }
            | ChainError::SameNameOtherKey { .. }
            | ChainError::BadSignature { .. }
            | ChainError::UnsupportedSignatureAlgorithm { .. }
            | ChainError::IssuerUnreadable(_)
            | ChainError::IssuerExpired { .. }
            | ChainError::IssuerNotYetValid { .. }
            | ChainError::IssuerNotAuthority { .. }
            | ChainError::IssuerKeyUsage { .. }
            | ChainError::IssuerExtendedKeyUsage { .. }
            | ChainError::IssuerNameless
            | ChainError::AlternativeNamesNotCritical
            | ChainError::PathLength
            | ChainError::NameConstraint
            | ChainError::AuthorityKeyIdentifierMissing { .. }
            | ChainError::BasicConstraintsNotCritical { .. }
            | ChainError::TooComplex
            | ChainError::Rejected(_) => ChainRule::Path,
            ChainError::KeyUsage { .. } | ChainError::KeyUsageOfAuthority { .. } => ChainRule::KeyUsage,
            ChainError::ExtendedKeyUsage { .. } | ChainError::ExtendedKeyUsageMissing { .. } => {
                ChainRule::ExtendedKeyUsage
            }
            ChainError::Revoked { .. }
            | ChainError::CrlStale { .. }
            | ChainError::CrlNotYetValid { .. }
            | ChainError::CrlMissing { .. }
            | ChainError::Crl { .. } => ChainRule::Revocation,
        }
    }

    /// What an operator or the client's owner can do about it.
    pub fn fix(&self) -> &'static str {
        match self {
            ChainError::TooLong { .. } => "send only the certificates between the client's own and the trust anchor",
            ChainError::Unreadable(_) => "issue the client a well-formed certificate",
            ChainError::Expired { .. } => {
                "renew the client's certificate; with an unchanged subject nothing changes here"
            }
            ChainError::NotYetValid { .. } => "wait, or set the clocks of issuer and server right",
            ChainError::NoTrustAnchor => "configure [[trust_anchors]], or correct the client's keybound_trust_anchors",
            ChainError::UnsupportedVersion { .. } => {
                "issue an X.509 version 3 certificate (with OpenSSL: give -extfile)"
            }
            ChainError::WeakKey { .. } => {
                "issue a certificate for a key of RSA 2048 bits or more, P-256, P-384 or Ed25519"
            }
            ChainError::AuthorityAsEndEntity => "issue the client a certificate without basicConstraints CA:TRUE",
            ChainError::UnsupportedCriticalExtension { .. } => "issue the certificate without this critical extension",
            ChainError::UnknownIssuer { .. } => {
                "have the certificate issued by a trust anchor of this client, or configure its issuer in [[trust_anchors]]"
            }
            ChainError::IssuerNotPresented { .. } => {
                "if the issuer stands below a trust anchor, let the client send its certificate too; else have the certificate issued by a trust anchor of this client, or configure its issuer in [[trust_anchors]]"
            }
            ChainError::SelfSigned => {
                "present a certificate from a trust anchor, or register the client with self_signed_tls_client_auth"
            }
            ChainError::MissingIntermediate { .. } => {
                "let the client send its issuer's certificate too (the whole chain file, not only the first certificate)"
            }
            ChainError::SameNameOtherKey { .. } => {
                "the authority was made anew under its old name: issue the certificate again, or configure the right one in [[trust_anchors]]"
            }
            ChainError::BadSignature { .. } => "present the certificate exactly as it was issued",
            ChainError::UnsupportedSignatureAlgorithm { .. } => "issue the certificate with SHA-256 or better",
            ChainError::IssuerUnreadable(_) => "send the intermediate certificates exactly as they were issued",
            ChainError::IssuerExpired { .. } => {
                "send the renewed certificate of the authority, or configure it in [[trust_anchors]]"
            }
            ChainError::IssuerNotYetValid { .. } => "wait, or set the clocks of issuer and server right",
            ChainError::IssuerNotAuthority { .. } | ChainError::IssuerKeyUsage { .. } => {
                "have the certificate issued by an authority (basicConstraints CA:TRUE, keyUsage keyCertSign)"
            }
            ChainError::IssuerExtendedKeyUsage { .. } => {
                "have it issued by an authority that may issue for TLS clients"
            }
            ChainError::PathLength => "shorten the path, or raise pathLenConstraint of the authority",
            ChainError::NameConstraint => "issue a certificate for a name that the authority may issue for",
            ChainError::AuthorityKeyIdentifierMissing { .. } => {
                "issue the certificate with authorityKeyIdentifier (with OpenSSL: authorityKeyIdentifier = keyid), or set strict = false in [[trust_anchors]]"
            }
            ChainError::BasicConstraintsNotCritical { .. } => {
                "issue the authority's certificate with basicConstraints marked critical, or set strict = false in [[trust_anchors]]"
            }
            ChainError::TooComplex => {
                "send only the certificates between the client's own and the trust anchor, each once"
            }
            ChainError::Rejected(_) => "issue the client a certificate that satisfies RFC 5280",
            ChainError::IssuerNameless => "have the certificate issued by an authority that has a name",
            ChainError::AlternativeNamesNotCritical => {
                "issue the certificate with a subject, or with subjectAltName marked critical"
            }
            ChainError::KeyUsage { .. } => "issue the certificate with keyUsage digitalSignature",
            ChainError::KeyUsageOfAuthority { .. } => "issue the certificate without keyUsage keyCertSign",
            ChainError::ExtendedKeyUsage { .. } | ChainError::ExtendedKeyUsageMissing { .. } => {
                "issue the certificate with extendedKeyUsage clientAuth"
            }
            ChainError::Revoked { .. } => "issue the client a new certificate",
            ChainError::CrlStale { .. } => "put a fresh revocation list where [[trust_anchors]] crl points",
            ChainError::CrlNotYetValid { .. } => "set the clocks of issuer and server right",
            ChainError::CrlMissing { .. } => {
                "add the issuer's revocation list to [[trust_anchors]] crl, or set crl_missing = \"accept\""
            }
            ChainError::Crl { .. } => "put a revocation list of the right authority where [[trust_anchors]] crl points",
        }
    }
}
