//! `tls_client_auth`: a certificate from a trusted authority, with the registered subject (RFC 8705 §2.1).

use std::sync::Arc;

use crate::certificate_chain;
use crate::client::Client;
use crate::client_authentication::{AcceptedCertificate, AuthenticatedClient, ClientAuthenticationError};
use crate::client_metadata::ClientAuthentication;
use crate::peer_certificate::{EndEntityCertificate, PresentedCertificate};
use crate::time::Timestamp;
use crate::trust_anchor::TrustAnchors;

/// Decides whether the presented certificate authenticates `client`, which is registered for this method.
///
/// RFC 8705 §2.1: a path to a trust anchor that this client may use, and exactly the registered subject. Only the end-entity
/// certificate is looked at for the subject, never its issuers (of which anybody can send some). The second value is for a cache of
/// accepted certificates.
///
/// # Errors
/// The first rule that fails, in the order that [`rules`](crate::client_authentication::rules) shows.
pub fn authenticate(
    client: &Arc<Client>,
    presented: &PresentedCertificate,
    anchors: &TrustAnchors,
    now: Timestamp,
) -> Result<(AuthenticatedClient, AcceptedCertificate), ClientAuthenticationError> {
    let ClientAuthentication::TlsClientAuth {
        subject,
        anchors: permitted,
    } = client.metadata().authentication()
    else {
        return Err(ClientAuthenticationError::MethodNotUsed {
            registered: client.metadata().authentication_method(),
            presented: crate::authentication_method::AuthenticationMethod::TlsClientAuth,
        });
    };
    let end_entity = require_certificate(presented)?;
    let chain = certificate_chain::verify(end_entity, &anchors.permitted(permitted), now)?;
    // The path could only be verified because the certificate was read.
    let certificate = end_entity
        .certificate()
        .map_err(|error| certificate_chain::ChainError::Unreadable(error.clone()))?;
    if let Err(mismatch) = subject.verify(certificate) {
        return Err(ClientAuthenticationError::Subject {
            mismatch,
            chain: Box::new(chain),
        });
    }
    let thumbprint = end_entity.thumbprint();
    let anchor = Some(chain.anchor().clone());
    let accepted = AcceptedCertificate::new(client, thumbprint, anchors.epoch(), chain.valid_until(), anchor);
    Ok((AuthenticatedClient::by_certificate(client, thumbprint), accepted))
}

/// The certificate that was presented, for either method.
pub(crate) fn require_certificate(
    presented: &PresentedCertificate,
) -> Result<&EndEntityCertificate, ClientAuthenticationError> {
    match presented {
        PresentedCertificate::Peer(peer) => Ok(peer.end_entity()),
        PresentedCertificate::Forwarded(forwarded) => Ok(forwarded.end_entity()),
        PresentedCertificate::NotRequested => Err(ClientAuthenticationError::CertificateNotRequested),
        PresentedCertificate::None => Err(ClientAuthenticationError::NoCertificate),
        PresentedCertificate::ForwardingRefused(error) => Err(ClientAuthenticationError::Forwarding(error.clone())),
        PresentedCertificate::TooLong {
            presented_intermediates,
        } => Err(certificate_chain::ChainError::TooLong {
            presented_intermediates: *presented_intermediates,
        }
        .into()),
    }
}
