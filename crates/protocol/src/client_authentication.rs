//! That a client is who it says: the outcome, whatever the method, and every reason against it (RFC 8705 §2, RFC 6749 §2.3).
//!
//! The method comes from the registration, never from what was sent. Each method has its own module, which alone can make an
//! [`AuthenticatedClient`]: [`tls_client_auth`](crate::tls_client_auth),
//! [`self_signed_tls_client_auth`](crate::self_signed_tls_client_auth), [`client_assertion`](crate::client_assertion),
//! [`client_secret`](crate::client_secret). A client of method `none` is a [`PublicClient`] and never an authenticated one. [`rules`] tells an operator afterwards how
//! far a refused request came.

pub mod accepted_certificate;
pub mod error;
pub mod explanation;

use std::sync::Arc;

use crate::authentication_method::AuthenticationMethod;
use crate::client::Client;
use crate::client_assertion::{ClientAssertionError, VerifiedClientAssertion};
use crate::client_secret::PresentedClientSecret;
use crate::confirmation::CertificateThumbprint;

pub use accepted_certificate::AcceptedCertificate;
pub use error::ClientAuthenticationError;
pub use explanation::{ExplanationContext, rules};

/// A client that authenticated by its registered method in this request, or in the one that this is the outcome of.
///
/// Only what checks can make one, and [`assert_authenticated_earlier`](Self::assert_authenticated_earlier), which is named for its claim:
/// holding one is the proof.
#[derive(Clone, Debug)]
pub struct AuthenticatedClient {
    client: Arc<Client>,
    certificate: Option<CertificateThumbprint>,
}

impl AuthenticatedClient {
    /// By a certificate.
    pub(crate) fn by_certificate(client: &Arc<Client>, thumbprint: &CertificateThumbprint) -> AuthenticatedClient {
        AuthenticatedClient {
            client: Arc::clone(client),
            certificate: Some(*thumbprint),
        }
    }

    /// By an assertion that its key signed, once the assertion's `jti` has been spent: a second use of it is
    /// [`AssertionReplayed`](ClientAuthenticationError::AssertionReplayed).
    ///
    /// # Errors
    /// The client is registered for another method, or the assertion is another client's.
    pub fn by_assertion(
        client: &Arc<Client>,
        assertion: &VerifiedClientAssertion,
    ) -> Result<AuthenticatedClient, ClientAuthenticationError> {
        let registered = client.metadata().authentication_method();
        let presented = AuthenticationMethod::PrivateKeyJwt;
        if registered != presented {
            return Err(ClientAuthenticationError::MethodNotUsed { registered, presented });
        }
        if assertion.client_id() != client.client_id() {
            let (presented, expected) = (assertion.client_id().to_string(), client.client_id().clone());
            return Err(ClientAssertionError::Issuer { presented, expected }.into());
        }
        Ok(AuthenticatedClient {
            client: Arc::clone(client),
            certificate: None,
        })
    }

    /// By its secret, sent where this client registered to send it (RFC 6749 §2.3.1).
    ///
    /// # Errors
    /// [`MethodNotUsed`](ClientAuthenticationError::MethodNotUsed) for a client of another method, or a secret in another place;
    /// [`SecretMissing`](ClientAuthenticationError::SecretMissing), [`SecretWrong`](ClientAuthenticationError::SecretWrong).
    pub fn by_secret(
        client: &Arc<Client>,
        secret: &PresentedClientSecret,
    ) -> Result<AuthenticatedClient, ClientAuthenticationError> {
        let registered = client.metadata().authentication_method();
        let presented = secret.transport().method();
        if registered != presented {
            return Err(ClientAuthenticationError::MethodNotUsed { registered, presented });
        }
        match client.secret() {
            None => Err(ClientAuthenticationError::SecretMissing),
            Some(hash) if !hash.matches(secret.as_str()) => Err(ClientAuthenticationError::SecretWrong),
            Some(_) => Ok(AuthenticatedClient {
                client: Arc::clone(client),
                certificate: None,
            }),
        }
    }

    /// By what it did in an earlier request, whose outcome it is sent now (CIBA Core §10.3): there is no request of its own in which
    /// it could authenticate again. Whoever calls this says that it did so then, and that what is sent goes where it registered to get
    /// it. `None` for a client that is a public one by now.
    pub fn assert_authenticated_earlier(client: &Arc<Client>) -> Option<AuthenticatedClient> {
        let registered = client.metadata().authentication_method();
        (registered != AuthenticationMethod::None).then(|| AuthenticatedClient {
            client: Arc::clone(client),
            certificate: None,
        })
    }

    /// The client.
    pub fn client(&self) -> &Arc<Client> {
        &self.client
    }

    /// The method by which it authenticated: the registered one.
    pub fn method(&self) -> AuthenticationMethod {
        self.client.metadata().authentication_method()
    }

    /// The certificate that authenticated it; `None` for other methods, even if there was a certificate on the connection.
    pub fn certificate(&self) -> Option<&CertificateThumbprint> {
        self.certificate.as_ref()
    }
}

/// A client whose request may be judged further: authenticated, or registered as one that cannot be.
///
/// What a client obtains is issued to this, so that no token is made for a `client_id` that was merely read.
#[derive(Clone, Debug)]
pub enum IdentifiedClient {
    /// It authenticated by its registered method.
    Authenticated(AuthenticatedClient),
    /// It is registered with method `none`.
    Public(PublicClient),
}

impl IdentifiedClient {
    /// The client.
    pub fn client(&self) -> &Arc<Client> {
        match self {
            IdentifiedClient::Authenticated(authenticated) => authenticated.client(),
            IdentifiedClient::Public(public) => public.client(),
        }
    }

    /// The client as an authenticated one; `None` for a public one.
    pub fn authenticated(&self) -> Option<&AuthenticatedClient> {
        match self {
            IdentifiedClient::Authenticated(authenticated) => Some(authenticated),
            IdentifiedClient::Public(_) => None,
        }
    }
}

/// A client that is registered with method `none`. It is identified, not authenticated: anybody can send its `client_id`.
#[derive(Clone, Debug)]
pub struct PublicClient {
    client: Arc<Client>,
}

impl PublicClient {
    /// Takes a client that sent nothing but its `client_id` for what it is.
    ///
    /// # Errors
    /// [`MethodNotUsed`](ClientAuthenticationError::MethodNotUsed) if it is registered with any method (RFC 6749 §2.3: `client_id` alone
    /// never authenticates).
    pub fn identify(client: &Arc<Client>) -> Result<PublicClient, ClientAuthenticationError> {
        match client.metadata().authentication_method() {
            AuthenticationMethod::None => Ok(PublicClient {
                client: Arc::clone(client),
            }),
            registered => Err(ClientAuthenticationError::MethodNotUsed {
                registered,
                presented: AuthenticationMethod::None,
            }),
        }
    }

    /// The client.
    pub fn client(&self) -> &Arc<Client> {
        &self.client
    }
}
