//! The certificate that came with a request, and how it came.
//!
//! Two claims that must not be confused are two types: [`PeerCertificate`] (the peer of this connection proved that it holds the
//! key) and [`ForwardedCertificate`] (a configured proxy says so). [`PresentedCertificate`] also tells apart the ways of having
//! none. Nothing here judges the certificate; what is expensive to compute is computed once and kept with it.

use std::net::IpAddr;
use std::ops::Deref;
use std::sync::{Arc, OnceLock};

use http::HeaderValue;

use crate::certificate::{Certificate, CertificateError};
use crate::client_cert_header;
use crate::confirmation::{CertificateThumbprint, ThumbprintText};

/// The most certificates that are accepted besides the end-entity certificate. Longer chains are refused in HTTP as too long.
pub const INTERMEDIATES_MAX: usize = 6;

/// An end-entity certificate exactly as received, with the certificates that came beside it.
///
/// Only the end-entity certificate is ever an identity; the others are path material, in the order they came. What is derived from
/// it is computed at first use and kept, so that a connection pays once.
#[derive(Debug)]
pub struct EndEntityCertificate {
    der: Vec<u8>,
    intermediates: Vec<Vec<u8>>,
    thumbprint: CertificateThumbprint,
    thumbprint_text: ThumbprintText,
    certificate: OnceLock<Result<Certificate, CertificateError>>,
    client_cert_value: OnceLock<HeaderValue>,
}

impl EndEntityCertificate {
    fn new(der: Vec<u8>, intermediates: Vec<Vec<u8>>) -> EndEntityCertificate {
        let thumbprint = CertificateThumbprint::of_certificate(&der);
        EndEntityCertificate {
            der,
            intermediates,
            thumbprint,
            thumbprint_text: thumbprint.to_text(),
            certificate: OnceLock::new(),
            client_cert_value: OnceLock::new(),
        }
    }

    /// The DER octets as received.
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// The certificates that came with it, DER, in the order they came, without the end-entity certificate.
    pub fn intermediates(&self) -> &[Vec<u8>] {
        &self.intermediates
    }

    /// The value of `x5t#S256`.
    pub fn thumbprint(&self) -> &CertificateThumbprint {
        &self.thumbprint
    }

    /// The text of `x5t#S256`.
    pub fn thumbprint_text(&self) -> &ThumbprintText {
        &self.thumbprint_text
    }

    /// What the certificate says.
    ///
    /// # Errors
    /// It cannot be read. It still has a thumbprint, and a token can be bound to it.
    pub fn certificate(&self) -> Result<&Certificate, &CertificateError> {
        self.certificate.get_or_init(|| Certificate::parse(&self.der)).as_ref()
    }

    /// The value of the `Client-Cert` header for it (RFC 9440 §2.2); cheap to clone.
    pub fn client_cert_value(&self) -> &HeaderValue {
        self.client_cert_value
            .get_or_init(|| client_cert_header::client_cert_value(&self.der))
    }
}

/// The certificate of the peer of this connection, who proved possession of its private key in the handshake.
#[derive(Debug)]
pub struct PeerCertificate(EndEntityCertificate);

impl PeerCertificate {
    /// Makes the claim. Only the code that verified the `CertificateVerify` message of this very connection may call it.
    ///
    /// `leaf` and `intermediates` are DER as received, in the order of the `Certificate` message.
    pub fn assert_possession_proven(leaf: Vec<u8>, intermediates: Vec<Vec<u8>>) -> PeerCertificate {
        PeerCertificate(EndEntityCertificate::new(leaf, intermediates))
    }

    /// Supposes it: for asking what would happen if the holder of the key connected. Nothing may be granted on the answer.
    pub fn suppose_possession(leaf: Vec<u8>, intermediates: Vec<Vec<u8>>) -> PeerCertificate {
        PeerCertificate(EndEntityCertificate::new(leaf, intermediates))
    }

    /// The certificate itself.
    pub fn end_entity(&self) -> &EndEntityCertificate {
        &self.0
    }
}

impl Deref for PeerCertificate {
    type Target = EndEntityCertificate;

    fn deref(&self) -> &EndEntityCertificate {
        &self.0
    }
}

/// The certificate of a client in front of a configured proxy, which vouches for the possession of its key (RFC 8705 §6.5).
#[derive(Debug)]
pub struct ForwardedCertificate {
    end_entity: EndEntityCertificate,
    via: String,
}

impl ForwardedCertificate {
    /// Makes the claim. Only the code that checked that the request came from a proxy on the configured list may call it.
    ///
    /// `via` says which proxy vouched, for operators.
    pub fn assert_from_configured_proxy(
        leaf: Vec<u8>,
        intermediates: Vec<Vec<u8>>,
        via: String,
    ) -> ForwardedCertificate {
        ForwardedCertificate {
            end_entity: EndEntityCertificate::new(leaf, intermediates),
            via,
        }
    }

    /// The certificate itself.
    pub fn end_entity(&self) -> &EndEntityCertificate {
        &self.end_entity
    }

    /// The proxy that vouched.
    pub fn via(&self) -> &str {
        &self.via
    }
}

impl Deref for ForwardedCertificate {
    type Target = EndEntityCertificate;

    fn deref(&self) -> &EndEntityCertificate {
        &self.end_entity
    }
}

/// What a request came with.
///
/// Absent, unreadable and untrusted are different: whoever is told "no certificate" though one was sent looks in the wrong place.
#[derive(Clone, Debug)]
pub enum PresentedCertificate {
    /// The listener does not ask for one.
    NotRequested,
    /// The listener asked and the peer sent none; or the configured proxy forwarded none.
    None,
    /// Proven in the handshake of this connection.
    Peer(Arc<PeerCertificate>),
    /// Forwarded by a configured proxy.
    Forwarded(Arc<ForwardedCertificate>),
    /// Something was forwarded that does not count.
    ForwardingRefused(ForwardingError),
    /// More than [`INTERMEDIATES_MAX`] certificates came besides the end-entity certificate. Refused before anything else is asked.
    TooLong {
        /// How many came.
        presented_intermediates: usize,
    },
}

impl PresentedCertificate {
    /// The certificate of the peer, or that its chain is too long.
    pub fn from_peer(peer: PeerCertificate) -> PresentedCertificate {
        match too_long(peer.end_entity()) {
            Some(refused) => refused,
            None => PresentedCertificate::Peer(Arc::new(peer)),
        }
    }

    /// The certificate that a proxy forwarded, or that its chain is too long.
    pub fn from_proxy(forwarded: ForwardedCertificate) -> PresentedCertificate {
        match too_long(forwarded.end_entity()) {
            Some(refused) => refused,
            None => PresentedCertificate::Forwarded(Arc::new(forwarded)),
        }
    }

    /// The certificate, if one counts.
    pub fn end_entity(&self) -> Option<&EndEntityCertificate> {
        match self {
            PresentedCertificate::Peer(peer) => Some(peer.end_entity()),
            PresentedCertificate::Forwarded(forwarded) => Some(forwarded.end_entity()),
            PresentedCertificate::NotRequested
            | PresentedCertificate::None
            | PresentedCertificate::ForwardingRefused(_)
            | PresentedCertificate::TooLong { .. } => None,
        }
    }
}

fn too_long(end_entity: &EndEntityCertificate) -> Option<PresentedCertificate> {
    let presented_intermediates = end_entity.intermediates().len();
    (presented_intermediates > INTERMEDIATES_MAX).then_some(PresentedCertificate::TooLong {
        presented_intermediates,
    })
}

/// Why a forwarded certificate does not count (RFC 9440). For operators.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum ForwardingError {
    /// It came from an address that is not on the list of this listener.
    #[error("a certificate was forwarded by {address}, which is not a configured proxy")]
    UntrustedAddress {
        /// The address of the sender.
        address: IpAddr,
    },
    /// The sender did not authenticate as the configured proxy.
    #[error("a certificate was forwarded by a peer that did not authenticate as the configured proxy {expected}")]
    ProxyNotAuthenticated {
        /// The DNS name that the proxy's own certificate must have.
        expected: String,
    },
    /// The header came more than once, or as a list (RFC 9440 §2.2).
    #[error("{header} was sent more than once")]
    Repeated {
        /// Which header.
        header: &'static str,
    },
    /// The value is not a Byte Sequence in standard base64 with padding, or has parameters.
    #[error("{header} is malformed: {problem}")]
    Malformed {
        /// Which header.
        header: &'static str,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// A chain came without the certificate it belongs to (RFC 9440 §2.3).
    #[error("Client-Cert-Chain was sent without Client-Cert")]
    ChainWithoutCertificate,
    /// More octets than a certificate message may have.
    #[error("{header} carries more than {octets_max} octets")]
    TooLarge {
        /// Which header.
        header: &'static str,
        /// The limit.
        octets_max: usize,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chain_longer_than_six_is_refused_whole() {
        for (count, too_long) in [(0, false), (6, false), (7, true), (100, true)] {
            let peer = PeerCertificate::assert_possession_proven(vec![1], vec![vec![2]; count]);
            let presented = PresentedCertificate::from_peer(peer);
            assert_eq!(
                matches!(presented, PresentedCertificate::TooLong { .. }),
                too_long,
                "{count}"
            );
            assert_eq!(presented.end_entity().is_none(), too_long, "{count}");
        }
    }

    #[test]
    fn an_unreadable_certificate_has_a_thumbprint() {
        let peer = PeerCertificate::assert_possession_proven(b"not a certificate".to_vec(), Vec::new());
        assert!(peer.certificate().is_err());
        assert_eq!(peer.thumbprint_text().len(), 43);
    }
}
