//! More kinds of certificates than clients need for themselves.

use std::sync::Arc;

use keybound_protocol::peer_certificate::{PeerCertificate, PresentedCertificate};
use rcgen::{ExtendedKeyUsagePurpose, KeyPair, date_time_ymd};

use crate::pki::{Party, authority, params};

impl Party {
    /// From 1990 to 1991, signed by an authority that nobody knows.
    pub(crate) fn expired_of_unknown_authority(common_name: &str) -> Party {
        let key = KeyPair::generate().unwrap();
        let mut params = params(common_name);
        params.not_before = date_time_ymd(1990, 1, 1);
        params.not_after = date_time_ymd(1991, 1, 1);
        // A server's, besides: who checks only the binding asks for nothing of this.
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let certificate = params.signed_by(&key, &authority("Unknown CA")).unwrap();
        Party {
            der: certificate.der().to_vec(),
            pem: certificate.pem(),
            key,
        }
    }

    /// Another certificate with the same name for the same key, as a renewal that keeps the key makes it.
    pub(crate) fn reissued(&self, common_name: &str) -> Party {
        Party::issued(common_name, KeyPair::from_pem(&self.key.serialize_pem()).unwrap())
    }

    /// As if it had been proven on a connection.
    pub(crate) fn presented(&self) -> PresentedCertificate {
        PresentedCertificate::Peer(Arc::new(PeerCertificate::assert_possession_proven(
            self.der.clone(),
            Vec::new(),
        )))
    }
}
