//! Certificates for the tests.

use std::sync::LazyLock;

use keybound_client::{CertificateAndKey, HttpClientSettings, Identity, Roots};
use keybound_protocol::confirmation::CertificateThumbprint;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair, SerialNumber,
};

/// The authority of the servers, and of most clients.
pub(crate) static CA: LazyLock<CertifiedIssuer<'static, KeyPair>> = LazyLock::new(|| authority("Test CA"));

pub(crate) fn authority(name: &str) -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

pub(crate) fn roots() -> Roots {
    Roots::from_pem(CA.pem().as_bytes()).unwrap()
}

/// The identity of a server at `localhost`.
pub(crate) fn server() -> CertificateAndKey {
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec!["localhost".to_owned(), "127.0.0.1".to_owned()]).unwrap();
    let certificate = params.signed_by(&key, &*CA).unwrap();
    CertificateAndKey::from_pem(certificate.pem().as_bytes(), key.serialize_pem().as_bytes()).unwrap()
}

/// Somebody with a certificate and its key.
pub(crate) struct Party {
    pub(crate) key: KeyPair,
    pub(crate) der: Vec<u8>,
    pub(crate) pem: String,
}

impl Party {
    /// Signed by [`CA`], with a key of its own.
    pub(crate) fn new(common_name: &str) -> Party {
        Party::issued(common_name, KeyPair::generate().unwrap())
    }

    /// Signed by [`CA`] for this key.
    pub(crate) fn issued(common_name: &str, key: KeyPair) -> Party {
        let certificate = params(common_name).signed_by(&key, &*CA).unwrap();
        Party {
            der: certificate.der().to_vec(),
            pem: certificate.pem(),
            key,
        }
    }

    pub(crate) fn self_signed(common_name: &str) -> Party {
        let key = KeyPair::generate().unwrap();
        let certificate = params(common_name).self_signed(&key).unwrap();
        Party {
            der: certificate.der().to_vec(),
            pem: certificate.pem(),
            key,
        }
    }

    pub(crate) fn thumbprint(&self) -> CertificateThumbprint {
        CertificateThumbprint::of_certificate(&self.der)
    }

    pub(crate) fn certificate_and_key(&self) -> CertificateAndKey {
        CertificateAndKey::from_pem(self.pem.as_bytes(), self.key.serialize_pem().as_bytes()).unwrap()
    }

    /// Its connections.
    pub(crate) fn identity(&self) -> Identity {
        let mut settings = HttpClientSettings::new(roots());
        settings.identity = Some(self.certificate_and_key());
        Identity::new(settings)
    }
}

/// Connections of somebody without a certificate.
pub(crate) fn anonymous() -> Identity {
    Identity::new(HttpClientSettings::new(roots()))
}

pub(crate) fn params(common_name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, common_name);
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    // Else it is made of the key, and a re-issued certificate would have the serial number of the first.
    params.serial_number = Some(SerialNumber::from(next_serial_number()));
    params
}

fn next_serial_number() -> u64 {
    static NEXT: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(1);
    NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed)
}
