//! TLS settings of both sides, from PEM files.

use std::str::FromStr;
use std::sync::Arc;

use anyhow::Context;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::{default_provider, kx_group};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, ServerConfig, SignatureScheme};

/// Which key exchange the load generator offers; servers take what is offered.
#[derive(Debug, Clone, Copy)]
pub enum KeyExchange {
    /// The classical one, which every peer here knows.
    X25519,
    /// With ML-KEM-768 beside it, which needs a recent peer.
    Hybrid,
}

impl FromStr for KeyExchange {
    type Err = std::io::Error;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        match name {
            "x25519" => Ok(Self::X25519),
            "hybrid" => Ok(Self::Hybrid),
            _ => Err(std::io::Error::other("there are x25519 and hybrid")),
        }
    }
}

/// A certificate chain and its key.
pub struct Identity {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
}

impl Identity {
    /// Reads `DIRECTORY/NAME.pem` and `DIRECTORY/NAME.key`.
    pub fn load(directory: &str, name: &str) -> anyhow::Result<Self> {
        let certificates = format!("{directory}/{name}.pem");
        let chain = CertificateDer::pem_file_iter(&certificates).with_context(|| certificates.clone())?;
        let chain = chain.collect::<Result<Vec<_>, _>>().context(certificates)?;
        let key = format!("{directory}/{name}.key");
        Ok(Self {
            chain,
            key: PrivateKeyDer::from_pem_file(&key).context(key)?,
        })
    }

    /// The end-entity certificate, DER.
    pub fn certificate(&self) -> &[u8] {
        self.chain
            .first()
            .map(|certificate| certificate.as_ref())
            .unwrap_or_default()
    }
}

/// A server that asks for a client certificate of `DIRECTORY/ca.pem` and verifies it; fetching keys needs none.
pub fn server(directory: &str) -> anyhow::Result<Arc<ServerConfig>> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(format!("{directory}/ca.pem")).context("ca.pem")?)?;
    let provider = Arc::new(default_provider());
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone());
    let verifier = verifier.allow_unauthenticated().build()?;
    let identity = Identity::load(directory, "server")?;
    let settings = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    let mut settings = settings
        .with_client_cert_verifier(verifier)
        .with_single_cert(identity.chain, identity.key)?;
    // As the product: whoever asks for certificates resumes nothing.
    settings.session_storage = Arc::new(rustls::server::NoServerSessionStorage {});
    settings.send_tls13_tickets = 0;
    Ok(Arc::new(settings))
}

/// A client that makes a full handshake each time.
pub fn client(identity: Identity, key_exchange: KeyExchange) -> anyhow::Result<Arc<ClientConfig>> {
    let mut provider = default_provider();
    provider.kx_groups = match key_exchange {
        KeyExchange::X25519 => vec![kx_group::X25519],
        KeyExchange::Hybrid => vec![kx_group::X25519MLKEM768],
    };
    let provider = Arc::new(provider);
    let settings = ClientConfig::builder_with_provider(provider.clone());
    let settings = settings.with_protocol_versions(&[&rustls::version::TLS13])?;
    let settings = settings
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyServer(provider)));
    let mut settings = settings.with_client_auth_cert(identity.chain, identity.key)?;
    settings.resumption = rustls::client::Resumption::disabled();
    Ok(Arc::new(settings))
}

/// Believes whoever answers on loopback: verifying would cost the generator more than the handshake costs the server, and
/// the server is what is measured.
#[derive(Debug)]
struct AnyServer(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyServer {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
