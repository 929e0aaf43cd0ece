//! Remembering a *yes* about a certificate, so that the next connection does not pay for the same path again.

use std::sync::Arc;

use super::AuthenticatedClient;
use crate::client::{Client, ClientId};
use crate::confirmation::CertificateThumbprint;
use crate::peer_certificate::EndEntityCertificate;
use crate::time::Timestamp;
use crate::trust_anchor::TrustAnchorName;

/// That one certificate authenticated one client, and how long that holds.
///
/// Its fields are the whole key of any cache, and [`AuthenticatedClient::from_accepted`] compares them all again: a cache that mixes up
/// its entries loses time, not safety. There is no value for a *no*, which may turn with the next connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AcceptedCertificate {
    client_id: ClientId,
    client_version: u64,
    thumbprint: CertificateThumbprint,
    trust_epoch: u64,
    valid_until: Timestamp,
    anchor: Option<TrustAnchorName>,
}

impl AcceptedCertificate {
    /// Remembers that `thumbprint` authenticated `client` under `trust_epoch`.
    pub(crate) fn new(
        client: &Client,
        thumbprint: &CertificateThumbprint,
        trust_epoch: u64,
        valid_until: Timestamp,
        anchor: Option<TrustAnchorName>,
    ) -> AcceptedCertificate {
        AcceptedCertificate {
            client_id: client.client_id().clone(),
            client_version: client.version(),
            thumbprint: *thumbprint,
            trust_epoch,
            valid_until,
            anchor,
        }
    }

    /// The client.
    pub fn client_id(&self) -> &ClientId {
        &self.client_id
    }

    /// The version of the client: any change of its metadata or keys voids this.
    pub fn client_version(&self) -> u64 {
        self.client_version
    }

    /// The certificate.
    pub fn thumbprint(&self) -> &CertificateThumbprint {
        &self.thumbprint
    }

    /// The trust epoch: any change of anchors, revocation lists or revocations voids this.
    pub fn trust_epoch(&self) -> u64 {
        self.trust_epoch
    }

    /// The first second at which this must be decided anew.
    pub fn valid_until(&self) -> Timestamp {
        self.valid_until
    }

    /// The trust anchor at the end of the path; none for a certificate registered by itself.
    pub fn anchor(&self) -> Option<&TrustAnchorName> {
        self.anchor.as_ref()
    }
}

impl AuthenticatedClient {
    /// Accepts a certificate because it was accepted before, for this very client, under the same trust.
    ///
    /// `None` means nothing but that the question must be asked in full.
    pub fn from_accepted(
        client: &Arc<Client>,
        presented: &EndEntityCertificate,
        accepted: &AcceptedCertificate,
        trust_epoch: u64,
        now: Timestamp,
    ) -> Option<AuthenticatedClient> {
        let same = accepted.client_version == client.version()
            && accepted.trust_epoch == trust_epoch
            && now < accepted.valid_until
            && accepted.thumbprint == *presented.thumbprint()
            && accepted.client_id == *client.client_id()
            // What the version already says, said again where it is cheap: a verdict of one method is none of another.
            && client.metadata().authentication_method().is_mutual_tls();
        same.then(|| AuthenticatedClient::by_certificate(client, presented.thumbprint()))
    }
}
