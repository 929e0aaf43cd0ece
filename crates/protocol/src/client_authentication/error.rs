//! Why a client was not authenticated.

use std::error::Error;

use crate::authentication_method::AuthenticationMethod;
use crate::certificate::CertificateError;
use crate::certificate_chain::{ChainError, VerifiedChain};
use crate::client_assertion::ClientAssertionError;
use crate::client_secret::BasicCredentialsError;
use crate::confirmation::CertificateThumbprint;
use crate::error_code::ErrorCode;
use crate::peer_certificate::ForwardingError;
use crate::self_signed_tls_client_auth::NotRegistered;
use crate::subject_rule::SubjectMismatch;
use crate::time::Timestamp;

/// Why a client was not authenticated. For operators; never sent.
#[derive(Debug, thiserror::Error)]
pub enum ClientAuthenticationError {
    /// No `client_id`. The certificate never stands in for it (RFC 8705 §2).
    #[error("the request has no client_id")]
    NoClientId,
    /// `client_id` names nobody.
    #[error("there is no client {client_id:?}")]
    UnknownClient {
        /// As sent, shortened.
        client_id: String,
    },
    /// More than one method in one request (RFC 6749 §2.3).
    #[error("the request uses more than one authentication method: {first} and {second}")]
    SeveralMethods {
        /// One of them.
        first: AuthenticationMethod,
        /// Another.
        second: AuthenticationMethod,
    },
    /// A secret or an assertion in the query: it lies in logs and histories by now (RFC 6749 §2.3.1).
    #[error("the request has credentials in its URI")]
    CredentialsInUri,
    /// More than one `Authorization` header, so that two readers could see two clients.
    #[error("the request has more than one Authorization header")]
    AuthorizationRepeated,
    /// `client_id` and the user of the `Basic` header are two.
    #[error("client_id is {form:?}, and the user of the Basic header {basic:?}")]
    SeveralClients {
        /// As sent, shortened.
        form: String,
        /// As sent, shortened.
        basic: String,
    },
    /// A `Basic` header without credentials in it.
    #[error("the Basic header cannot be read")]
    BasicMalformed(#[source] BasicCredentialsError),
    /// A secret beside a certificate, and the secret did not authenticate anybody: two methods in one request, whoever is named.
    #[error("the request has a secret beside a certificate, and the secret did not authenticate the client")]
    SecretBesideCertificate(#[source] Box<ClientAuthenticationError>),
    /// Another method than the registered one. There is no falling back.
    #[error("the client is registered for {registered} and used {presented}")]
    MethodNotUsed {
        /// What is registered.
        registered: AuthenticationMethod,
        /// What the request has.
        presented: AuthenticationMethod,
    },
    /// This server does not offer the method that the client is registered for.
    #[error("authentication method {registered} is not enabled at this server")]
    MethodNotEnabled {
        /// What is registered.
        registered: AuthenticationMethod,
    },
    /// The request came to a listener that never asks for a certificate.
    #[error("the request came to a listener that does not ask for a client certificate")]
    CertificateNotRequested,
    /// The connection has no client certificate.
    #[error("no client certificate was presented")]
    NoCertificate,
    /// A forwarded certificate that does not count.
    #[error("the forwarded certificate was refused")]
    Forwarding(#[source] ForwardingError),
    /// The certificate was not judged: its connection has failed before, and there are too many failures to do the work for nothing.
    #[error("the certificate was not judged: its connection failed before, and there are too many failures")]
    NotJudged,
    /// The certificate of the connection was revoked at this server (`keybound revoke`), whatever it would have proven.
    #[error("certificate {thumbprint} was revoked at this server")]
    CertificateRevoked {
        /// Its thumbprint.
        thumbprint: CertificateThumbprint,
    },
    /// No acceptable path to a trust anchor.
    #[error("the certificate chain was not accepted")]
    Chain(#[source] Box<ChainError>),
    /// A valid certificate of somebody else.
    #[error("{} is {}, the certificate has {}", mismatch.parameter, mismatch.registered, presented_names(mismatch))]
    Subject {
        /// What differs.
        mismatch: Box<SubjectMismatch>,
        /// The path that was found.
        chain: Box<VerifiedChain>,
    },
    /// The registered keys could not be fetched, and there are none from before.
    #[error("the client's keys could not be fetched")]
    KeysUnavailable(#[source] Box<dyn Error + Send + Sync>),
    /// Not one of the client's registered certificates.
    #[error(transparent)]
    NotRegistered(#[from] NotRegistered),
    /// One of the registered certificates, but it has ended.
    #[error("the registered certificate expired at {not_after} (now {now})")]
    RegisteredExpired {
        /// Its last second.
        not_after: Timestamp,
        /// The time of the verdict.
        now: Timestamp,
    },
    /// One of the registered certificates, but it has not begun.
    #[error("the registered certificate is valid only from {not_before} on (now {now})")]
    RegisteredNotYetValid {
        /// Its first second.
        not_before: Timestamp,
        /// The time of the verdict.
        now: Timestamp,
    },
    /// One of the registered certificates, but it cannot be read, so that its end is unknown.
    #[error("the registered certificate cannot be read")]
    RegisteredUnreadable(#[source] CertificateError),
    /// The client assertion was not accepted.
    #[error("the client assertion was not accepted")]
    Assertion(#[from] ClientAssertionError),
    /// The client assertion was used before.
    #[error("the client assertion was used before")]
    AssertionReplayed,
    /// There is no secret on file that could be right.
    #[error("the client has no secret on file")]
    SecretMissing,
    /// The secret is not the client's.
    #[error("the client secret is wrong")]
    SecretWrong,
}

impl ClientAuthenticationError {
    /// What the caller is told: `invalid_client`, whatever failed, but for a request that contradicts itself.
    pub fn code(&self) -> ErrorCode {
        match self {
            // A right secret beside a certificate is one method: the certificate is what tokens are bound to. Anything else there is
            // answered alike, for it must not show who is registered with a secret.
            ClientAuthenticationError::SeveralMethods { .. }
            | ClientAuthenticationError::CredentialsInUri
            | ClientAuthenticationError::AuthorizationRepeated
            | ClientAuthenticationError::SeveralClients { .. }
            | ClientAuthenticationError::SecretBesideCertificate(_) => ErrorCode::InvalidRequest,
            ClientAuthenticationError::NoClientId
            | ClientAuthenticationError::UnknownClient { .. }
            | ClientAuthenticationError::MethodNotUsed { .. }
            | ClientAuthenticationError::MethodNotEnabled { .. }
            | ClientAuthenticationError::CertificateNotRequested
            | ClientAuthenticationError::NoCertificate
            | ClientAuthenticationError::Forwarding(_)
            | ClientAuthenticationError::NotJudged
            | ClientAuthenticationError::CertificateRevoked { .. }
            | ClientAuthenticationError::Chain(_)
            | ClientAuthenticationError::Subject { .. }
            | ClientAuthenticationError::KeysUnavailable(_)
            | ClientAuthenticationError::NotRegistered(_)
            | ClientAuthenticationError::RegisteredExpired { .. }
            | ClientAuthenticationError::RegisteredNotYetValid { .. }
            | ClientAuthenticationError::RegisteredUnreadable(_)
            | ClientAuthenticationError::Assertion(_)
            | ClientAuthenticationError::AssertionReplayed
            | ClientAuthenticationError::BasicMalformed(_)
            | ClientAuthenticationError::SecretMissing
            | ClientAuthenticationError::SecretWrong => ErrorCode::InvalidClient,
        }
    }

    /// What an operator or the client's owner can do about it.
    ///
    /// Static text: what a peer presented must never reach a line that somebody copies into a shell.
    pub fn fix(&self) -> &'static str {
        match self {
            ClientAuthenticationError::NoClientId => "send client_id as a form parameter",
            ClientAuthenticationError::UnknownClient { .. } => {
                "correct the client_id, or register the client (keybound client create)"
            }
            ClientAuthenticationError::SeveralMethods { .. } => "use one authentication method in a request",
            ClientAuthenticationError::CredentialsInUri => {
                "send credentials in the Authorization header or the body, and change the secret that was in the URI"
            }
            ClientAuthenticationError::AuthorizationRepeated => "send one Authorization header",
            ClientAuthenticationError::SeveralClients { .. } => {
                "name one client, in the Authorization header or in client_id"
            }
            ClientAuthenticationError::BasicMalformed(_) => {
                "form-encode client_id and secret, join them by a colon, and base64 the result (RFC 6749 section 2.3.1)"
            }
            ClientAuthenticationError::SecretBesideCertificate(error) => match &**error {
                ClientAuthenticationError::SecretMissing | ClientAuthenticationError::SecretWrong => error.fix(),
                _ => {
                    "use one authentication method in a request: the certificate, or the secret of a client registered for one"
                }
            },
            ClientAuthenticationError::SecretMissing | ClientAuthenticationError::SecretWrong => {
                "configure the client's secret, or make a new one (keybound client update --rotate-secret)"
            }
            ClientAuthenticationError::MethodNotUsed { .. } => {
                "use the registered method, or register another token_endpoint_auth_method (keybound client update)"
            }
            ClientAuthenticationError::MethodNotEnabled { .. } => {
                "enable the method in the configuration, or register another token_endpoint_auth_method"
            }
            ClientAuthenticationError::CertificateNotRequested => {
                "use the endpoint of mtls_endpoint_aliases in the server's metadata: it asks for the certificate"
            }
            ClientAuthenticationError::NoCertificate => {
                "configure the client to present its certificate and key in the TLS handshake"
            }
            ClientAuthenticationError::Forwarding(_) => {
                "compare [[forwarded_certificate]] with what the proxy sends, and from which address"
            }
            ClientAuthenticationError::NotJudged => {
                "find out who fails so often (keybound explain, the request log), and try again on a new connection"
            }
            ClientAuthenticationError::CertificateRevoked { .. } => {
                "give the client a new certificate; who revoked this one is in the audit log (keybound revoke)"
            }
            ClientAuthenticationError::Chain(error) => error.fix(),
            ClientAuthenticationError::Subject { .. } => {
                "if this is the client's certificate, register its value (keybound client update); else present the right certificate"
            }
            ClientAuthenticationError::KeysUnavailable(_) => {
                "make jwks_uri reachable over https (outgoing.ca, outgoing.allow_addresses), or register jwks by value"
            }
            ClientAuthenticationError::NotRegistered(error) => error.fix(),
            ClientAuthenticationError::RegisteredExpired { .. } => {
                "register a new certificate beside it; keybound_expired_self_signed = \"accept\" lets this one pass"
            }
            ClientAuthenticationError::RegisteredNotYetValid { .. } => {
                "wait, or set the clocks of client and server right"
            }
            ClientAuthenticationError::RegisteredUnreadable(_) => "register a well-formed certificate",
            ClientAuthenticationError::Assertion(_) => {
                "make the assertion anew: iss and sub the client_id, aud the issuer, a new jti, exp within 5 minutes, a registered key"
            }
            ClientAuthenticationError::AssertionReplayed => "make a new assertion with a new jti for each request",
        }
    }
}

impl From<ChainError> for ClientAuthenticationError {
    fn from(error: ChainError) -> ClientAuthenticationError {
        ClientAuthenticationError::Chain(Box::new(error))
    }
}

fn presented_names(mismatch: &SubjectMismatch) -> String {
    if mismatch.presented.is_empty() {
        "none".to_owned()
    } else {
        mismatch.presented.join(", ")
    }
}
