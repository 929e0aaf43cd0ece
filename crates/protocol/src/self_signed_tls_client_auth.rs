//! `self_signed_tls_client_auth`: one of the certificates that the client registered, octet for octet (RFC 8705 §2.2).
//!
//! There is no path and no authority: a certificate from any issuer, or of version 1, can be registered. The same key in another
//! certificate is another certificate.

use std::sync::Arc;

use subtle::ConstantTimeEq;

use crate::authentication_method::AuthenticationMethod;
use crate::certificate::{Certificate, subject_public_key_info};
use crate::client::Client;
use crate::client_authentication::{AcceptedCertificate, AuthenticatedClient, ClientAuthenticationError};
use crate::client_metadata::{ClientAuthentication, ExpiredSelfSigned};
use crate::confirmation::CertificateThumbprint;
use crate::jwk_set::JwkSet;
use crate::peer_certificate::{EndEntityCertificate, PresentedCertificate};
use crate::time::Timestamp;
use crate::tls_client_auth::require_certificate;

/// Decides whether the presented certificate is one of those that `client` registered.
///
/// `keys` is the client's key set: the one it registered by value, or what was last fetched from its `jwks_uri`. `trust_epoch` is
/// that of the server, under which a cache may remember the answer (a revoked thumbprint raises it).
///
/// # Errors
/// The first rule that fails, in the order that [`rules`](crate::client_authentication::rules) shows.
pub fn authenticate(
    client: &Arc<Client>,
    presented: &PresentedCertificate,
    keys: &JwkSet,
    trust_epoch: u64,
    now: Timestamp,
) -> Result<(AuthenticatedClient, AcceptedCertificate), ClientAuthenticationError> {
    let ClientAuthentication::SelfSignedTlsClientAuth { expired, .. } = client.metadata().authentication() else {
        return Err(ClientAuthenticationError::MethodNotUsed {
            registered: client.metadata().authentication_method(),
            presented: AuthenticationMethod::SelfSignedTlsClientAuth,
        });
    };
    let end_entity = require_certificate(presented)?;
    if !keys
        .certificates()
        .any(|registered| registered.ct_eq(end_entity.der()).into())
    {
        return Err(NotRegistered::of(end_entity, keys).into());
    }
    let valid_until = check_validity(end_entity, *expired, now)?;
    let thumbprint = end_entity.thumbprint();
    let accepted = AcceptedCertificate::new(client, thumbprint, trust_epoch, valid_until, None);
    Ok((AuthenticatedClient::by_certificate(client, thumbprint), accepted))
}

/// RFC 8705 §2.2 says nothing of validity. A certificate that its owner gave an end is refused after it, unless the client asked for the
/// contrary. Gives until when the answer holds.
fn check_validity(
    end_entity: &EndEntityCertificate,
    expired: ExpiredSelfSigned,
    now: Timestamp,
) -> Result<Timestamp, ClientAuthenticationError> {
    if expired == ExpiredSelfSigned::Accept {
        return Ok(Timestamp::NO_EXPIRATION);
    }
    let certificate = end_entity
        .certificate()
        .map_err(|error| ClientAuthenticationError::RegisteredUnreadable(error.clone()))?;
    if now > certificate.not_after() {
        return Err(ClientAuthenticationError::RegisteredExpired {
            not_after: certificate.not_after(),
            now,
        });
    }
    if now < certificate.not_before() {
        return Err(ClientAuthenticationError::RegisteredNotYetValid {
            not_before: certificate.not_before(),
            now,
        });
    }
    Ok(certificate.not_after())
}

/// How the presented certificate is not one of the registered ones. For operators: on the wire they all look alike.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum NotRegistered {
    /// The key set has no certificate at all.
    #[error("the client's key set has no certificate (x5c)")]
    NoneRegistered,
    /// The registered certificate was issued again for the same key: never enough (RFC 8705 §2.2).
    #[error("the certificate {presented} has the key of the registered {registered} and is another certificate")]
    SameKey {
        /// Thumbprint of what was presented.
        presented: CertificateThumbprint,
        /// Thumbprint of the registered certificate with the same key.
        registered: CertificateThumbprint,
    },
    /// It only calls itself the same.
    #[error("the certificate {presented} has the subject of the registered {registered} and is another certificate")]
    SameSubject {
        /// Thumbprint of what was presented.
        presented: CertificateThumbprint,
        /// Thumbprint of the registered certificate with the same subject.
        registered: CertificateThumbprint,
    },
    /// It has nothing in common with any registered one.
    #[error("the certificate {presented} is not one of the {registered} that the client registered")]
    Unknown {
        /// Thumbprint of what was presented.
        presented: CertificateThumbprint,
        /// How many are registered.
        registered: usize,
    },
}

impl NotRegistered {
    fn of(end_entity: &EndEntityCertificate, keys: &JwkSet) -> NotRegistered {
        let presented = *end_entity.thumbprint();
        let key = subject_public_key_info(end_entity.der()).ok();
        if let Some(same) = keys
            .certificates()
            .find(|der| key.is_some() && subject_public_key_info(der).ok() == key)
        {
            return NotRegistered::SameKey {
                presented,
                registered: CertificateThumbprint::of_certificate(same),
            };
        }
        let same_subject = |der: &&[u8]| match (end_entity.certificate(), Certificate::parse(der)) {
            (Ok(presented), Ok(registered)) => presented.subject().matches(registered.subject()),
            _ => false,
        };
        if let Some(same) = keys.certificates().find(same_subject) {
            return NotRegistered::SameSubject {
                presented,
                registered: CertificateThumbprint::of_certificate(same),
            };
        }
        match keys.certificates().count() {
            0 => NotRegistered::NoneRegistered,
            registered => NotRegistered::Unknown { presented, registered },
        }
    }

    /// What an operator or the client's owner can do about it.
    pub fn fix(&self) -> &'static str {
        match self {
            NotRegistered::NoneRegistered => "register the client's certificate as x5c of a key in jwks or at jwks_uri",
            NotRegistered::SameKey { .. } => {
                "the certificate was made again for the same key: register the new one too (keybound certificate inspect shows it as JWK)"
            }
            NotRegistered::SameSubject { .. } | NotRegistered::Unknown { .. } => {
                "if this is the client's certificate, register it (keybound certificate inspect shows it as JWK); else present the right one"
            }
        }
    }
}
