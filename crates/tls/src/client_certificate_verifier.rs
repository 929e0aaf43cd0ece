//! What a handshake demands of a client certificate: possession of its key, and nothing else.
//!
//! `CertificateVerify` is checked with the raw public key in both TLS versions, because the library's own check first reads the
//! certificate by rules that X.509 v1 and malformed extensions fail. Whether the certificate is expired, by whom it was issued,
//! and for what, is judged per client and per request by those who can answer in HTTP (RFC 8705 §2, §6.1).
//!
//! What cannot be verified is refused here: keys other than RSA of 2048 to 8192 bits, P-256, P-384, P-521 and Ed25519. The
//! refusal names its reason for the log and the counters; the peer gets an alert.

use std::sync::Arc;

use keybound_protocol::{
    certificate::subject_public_key_info,
    public_key::{PublicKey, PublicKeyError},
};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, OtherError, PeerMisbehaved, SignatureScheme,
    client::danger::HandshakeSignatureValid,
    crypto::{WebPkiSupportedAlgorithms, verify_tls13_signature_with_raw_key},
    pki_types::{CertificateDer, SubjectPublicKeyInfoDer, UnixTime},
    server::danger::{ClientCertVerified, ClientCertVerifier},
};
use webpki::RawPublicKeyEntity;

use crate::{HandshakeFailure, identity::provider};

/// Why a client certificate ended a handshake. Reaches the listener inside the library's error.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum ClientKeyError {
    #[error("no public key can be found in the client certificate")]
    Unreadable,
    #[error("the client certificate's key is not accepted: {0}")]
    Unsupported(#[source] PublicKeyError),
    #[error("the client's certificates have {bytes} bytes, more than {bytes_max}")]
    TooLong { bytes: usize, bytes_max: usize },
}

impl ClientKeyError {
    pub(crate) fn failure(&self) -> HandshakeFailure {
        match self {
            ClientKeyError::Unreadable => HandshakeFailure::CertificateUnreadable,
            ClientKeyError::Unsupported(_) => HandshakeFailure::KeyUnsupported,
            ClientKeyError::TooLong { .. } => HandshakeFailure::CertificateMessageTooLong,
        }
    }
}

impl From<ClientKeyError> for Error {
    fn from(error: ClientKeyError) -> Self {
        Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(error))))
    }
}

/// Accepts any certificate whose key can sign in TLS, once it did.
#[derive(Debug)]
pub(crate) struct ClientCertificateVerifier {
    algorithms: WebPkiSupportedAlgorithms,
    certificate_message_bytes_max: usize,
}

impl ClientCertificateVerifier {
    pub(crate) fn new(certificate_message_bytes_max: usize) -> ClientCertificateVerifier {
        ClientCertificateVerifier {
            algorithms: provider().signature_verification_algorithms,
            certificate_message_bytes_max,
        }
    }
}

impl ClientCertVerifier for ClientCertificateVerifier {
    fn offer_client_auth(&self) -> bool {
        true
    }

    fn client_auth_mandatory(&self) -> bool {
        false
    }

    /// None: a client that sees names of authorities withholds its self-signed certificate (RFC 8446 §4.2.4).
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    /// Decides whether the key can be verified with at all. Trust is not decided here.
    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let bytes = end_entity.len() + intermediates.iter().map(|certificate| certificate.len()).sum::<usize>();
        let bytes_max = self.certificate_message_bytes_max;
        if bytes > bytes_max {
            return Err(ClientKeyError::TooLong { bytes, bytes_max }.into());
        }
        match PublicKey::of_subject_public_key_info(raw_key(end_entity)?) {
            Ok(_) => Ok(ClientCertVerified::assertion()),
            Err(PublicKeyError::Malformed) => Err(ClientKeyError::Unreadable.into()),
            Err(error) => Err(ClientKeyError::Unsupported(error).into()),
        }
    }

    /// In TLS 1.2 a scheme names a hash, not a curve: each algorithm that fits the scheme is tried with the key.
    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let key = SubjectPublicKeyInfoDer::from(raw_key(certificate)?);
        let key = RawPublicKeyEntity::try_from(&key).map_err(|_| Error::from(ClientKeyError::Unreadable))?;
        let algorithms = self
            .algorithms
            .mapping
            .iter()
            .find(|(scheme, _)| *scheme == signed.scheme);
        let (_, algorithms) = algorithms.ok_or(PeerMisbehaved::SignedHandshakeWithUnadvertisedSigScheme)?;
        if algorithms
            .iter()
            .any(|algorithm| key.verify_signature(*algorithm, message, signed.signature()).is_ok())
        {
            return Ok(HandshakeSignatureValid::assertion());
        }
        Err(CertificateError::BadSignature.into())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let key = SubjectPublicKeyInfoDer::from(raw_key(certificate)?);
        verify_tls13_signature_with_raw_key(message, &key, signed, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

fn raw_key<'a>(certificate: &'a CertificateDer<'_>) -> Result<&'a [u8], Error> {
    subject_public_key_info(certificate).map_err(|_| ClientKeyError::Unreadable.into())
}
