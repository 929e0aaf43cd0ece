//! Who asks: the client named by `client_id`, proven by its registered method (RFC 8705 §2, RFC 6749 §2.3).
//!
//! Read [`ClientAuthentication::authenticate`]. The verdicts are protocol's; here is where what they need comes from, and the
//! caches of verdicts: a *yes* about a certificate, for all connections, and for one connection the last *yes* and some *noes*.
//!
//! An id that nobody has is judged against a decoy by the same code, and only then found unknown. What still differs in the
//! work, a path to build first of all, does not show either: the answer is sent at [one time](crate::answer_time).

mod decoy;
mod presented;
mod verdicts;

use std::sync::{Arc, Mutex, PoisonError};

use http::HeaderMap;
use keybound_protocol::authentication_method::AuthenticationMethod;
use keybound_protocol::client::{Client, ClientId};
use keybound_protocol::client_assertion::{
    AssertionAudience, ClientAssertionError, UnverifiedClientAssertion, VerifiedClientAssertion,
};
use keybound_protocol::client_authentication::{
    AuthenticatedClient, ClientAuthenticationError, IdentifiedClient, PublicClient,
};
use keybound_protocol::client_metadata::{ClientAuthentication as Registered, ClientKeys};
use keybound_protocol::client_secret::PresentedClientSecret;
use keybound_protocol::confirmation::CertificateThumbprint;
use keybound_protocol::form::Form;
use keybound_protocol::issuer::Issuer;
use keybound_protocol::jwk_set::JwkSet;
use keybound_protocol::peer_certificate::PresentedCertificate;
use keybound_protocol::profile::Profile;
use keybound_protocol::refusal::Refusal;
use keybound_protocol::self_signed_tls_client_auth;
use keybound_protocol::time::Timestamp;
use keybound_store::{AuditEntry, ClientAssertions, ConsumeClientAssertion, OneTimeAssertion, Revocations, StoreError};
use keybound_tls::Connection;
use url::Url;

use crate::clients::{Clients, PreparedClient};
use crate::key_sets::KeySets;
use crate::metrics::Metrics;
use crate::rate_limit::{FailedAuthentications, TooMany};
use crate::trust::Trust;
use decoy::Decoys;
use presented::{Explicit, Presented, Unreadable};
use verdicts::{PathFailure, Verdicts};

/// Authenticates clients.
pub(crate) struct ClientAuthentication {
    on_file: OnFile,
    verdicts: Verdicts,
    decoys: Decoys,
    metrics: Arc<Metrics>,
}

/// What is on file: all that credentials are compared with.
pub(crate) struct OnFile {
    pub(crate) clients: Arc<Clients>,
    pub(crate) trust: Arc<Trust>,
    pub(crate) key_sets: Arc<KeySets>,
    /// Which assertions were used.
    pub(crate) assertions: Arc<dyn ClientAssertions>,
    /// Which certificates were revoked here.
    pub(crate) revocations: Arc<dyn Revocations>,
}

/// The certificate of a connection that was last found not to be revoked, and the trust epoch of that: every revocation of a
/// certificate begins another.
#[derive(Default)]
struct NotRevoked(Mutex<Option<(CertificateThumbprint, u64)>>);

/// One request of somebody who says to be a client.
#[derive(Clone, Copy)]
pub(crate) struct Attempt<'a> {
    pub(crate) form: &'a Form<'a>,
    pub(crate) headers: &'a HeaderMap,
    /// The query of the request's URI, where no credentials may be.
    pub(crate) query: Option<&'a str>,
    /// The certificate of this request.
    pub(crate) presented: &'a PresentedCertificate,
    pub(crate) connection: &'a Connection,
    pub(crate) failures: &'a FailedAuthentications,
    pub(crate) issuer: &'a Issuer,
    /// What `aud` of an assertion may be beside the issuer, at this endpoint.
    pub(crate) endpoint_urls: &'a [Url],
    pub(crate) profile: Profile,
    /// Whether clients may authenticate by secrets.
    pub(crate) client_secrets_enabled: bool,
    pub(crate) now: Timestamp,
}

/// A client whose request may be judged further.
pub(crate) struct Identified {
    pub(crate) client: Arc<PreparedClient>,
    pub(crate) credential: Credential,
}

/// How the client showed who it is.
pub(crate) enum Credential {
    /// It is authenticated.
    Authenticated(AuthenticatedClient),
    /// Its assertion is good and has to be spent before it counts. It is spent last, when nothing else stands in the way.
    Assertion(VerifiedClientAssertion),
    /// It is registered as one that cannot authenticate.
    Public(PublicClient),
}

/// Why not, and what is needed to explain it.
#[derive(Clone, Debug)]
pub(crate) struct AuthenticationFailure {
    pub(crate) error: Arc<ClientAuthenticationError>,
    /// The client, if there is one of that name.
    pub(crate) client: Option<Arc<Client>>,
    /// The keys that were compared.
    pub(crate) keys: Option<Arc<JwkSet>>,
    /// The client that the request named, wherever its method carries the name, whether there is such a client or not.
    pub(crate) claimed_client_id: Option<String>,
    /// Whether it was one too many, if it was counted before it was judged.
    pub(crate) counted: Option<Result<(), TooMany>>,
}

/// The outcome for a request that cannot be judged or is not authenticated.
pub(crate) enum Unauthenticated {
    Failed(AuthenticationFailure),
    Store(StoreError),
}

impl From<StoreError> for Unauthenticated {
    fn from(error: StoreError) -> Unauthenticated {
        Unauthenticated::Store(error)
    }
}

impl ClientAuthentication {
    /// Remembers so many accepted certificates.
    pub(crate) fn new(on_file: OnFile, accepted_max: usize, metrics: Arc<Metrics>) -> ClientAuthentication {
        let (verdicts, decoys) = (Verdicts::new(accepted_max, Arc::clone(&metrics)), Decoys::new());
        ClientAuthentication {
            on_file,
            verdicts,
            decoys,
            metrics,
        }
    }

    /// Decides who made this request.
    ///
    /// # Errors
    /// [`Unauthenticated`]. Nothing is spent, whatever the outcome.
    pub(crate) async fn authenticate(&self, attempt: Attempt<'_>) -> Result<Identified, Unauthenticated> {
        let Presented {
            client_id: claimed,
            explicit,
        } = Presented::read(&attempt).map_err(|unreadable| {
            let Unreadable {
                error,
                claimed_client_id,
            } = unreadable;
            self.failed(error, None, claimed_client_id)
        })?;
        let found = match ClientId::parse(&claimed) {
            Ok(client_id) => self.on_file.clients.find(&client_id)?,
            Err(_) => None,
        };
        let Some(client) = found else {
            let decoy = self.decoys.like(&explicit);
            let error = ClientAuthenticationError::UnknownClient {
                client_id: Refusal::presented_text(&claimed),
            };
            let error = match explicit {
                Explicit::Secret(_) => beside_certificate(&attempt, error),
                Explicit::Assertion(_) | Explicit::Nothing => error,
            };
            // The verdict is not used: it is reached so that it takes its time.
            drop(self.judge(&attempt, decoy, explicit).await);
            return Err(self.failed(error, None, Some(claimed.into_owned())));
        };
        let identified = self.judge(&attempt, &client, explicit).await;
        // Whatever the method: a certificate that was cut off takes part in nothing, be it as a credential or as a binding.
        let identified = match identified {
            Ok(credential) => self.require_not_revoked(&attempt, &client)?.map(|()| credential),
            Err(failure) => Err(failure),
        };
        match identified {
            Ok(credential) => {
                self.metrics.authentications_accepted.inc();
                Ok(Identified { client, credential })
            }
            Err(mut failure) => {
                self.metrics.authentications_failed.inc();
                failure.claimed_client_id = Some(claimed.into_owned());
                Err(Unauthenticated::Failed(failure))
            }
        }
    }

    /// Whether the certificate of this request still counts at all. Asked once for each connection, certificate and trust epoch.
    fn require_not_revoked(
        &self,
        attempt: &Attempt<'_>,
        client: &Arc<PreparedClient>,
    ) -> Result<Result<(), AuthenticationFailure>, StoreError> {
        let Some(certificate) = attempt.presented.end_entity() else {
            return Ok(Ok(()));
        };
        let clear = (*certificate.thumbprint(), self.on_file.trust.anchors().epoch());
        let remembered = &attempt.connection.state::<NotRevoked>().0;
        if *remembered.lock().unwrap_or_else(PoisonError::into_inner) == Some(clear) {
            return Ok(Ok(()));
        }
        let thumbprint = clear.0;
        let found = self
            .on_file
            .revocations
            .find_certificate_revocation(&thumbprint, attempt.now)?;
        if found.is_some() {
            let error = ClientAuthenticationError::CertificateRevoked { thumbprint };
            return Ok(Err(AuthenticationFailure::new(error, Some(&client.client), None)));
        }
        *remembered.lock().unwrap_or_else(PoisonError::into_inner) = Some(clear);
        Ok(Ok(()))
    }

    /// Spends what the credential has of one use. After that the client is authenticated, or public.
    ///
    /// # Errors
    /// [`ClientAuthenticationError::AssertionReplayed`] if it was spent before.
    pub(crate) async fn spend(
        &self,
        client: &Arc<PreparedClient>,
        credential: Credential,
        entry: impl FnOnce() -> AuditEntry,
    ) -> Result<IdentifiedClient, Unauthenticated> {
        let assertion = match credential {
            Credential::Authenticated(authenticated) => return Ok(IdentifiedClient::Authenticated(authenticated)),
            Credential::Public(public) => return Ok(IdentifiedClient::Public(public)),
            Credential::Assertion(assertion) => assertion,
        };
        let one_time = OneTimeAssertion {
            client_id: assertion.client_id().clone(),
            token_id: assertion.assertion_id().to_owned(),
            issued_at: assertion.issued_at(),
            until: assertion.remember_until(),
        };
        let consumed = self
            .on_file
            .assertions
            .consume_client_assertion(one_time, entry())
            .await?;
        let authenticated = match consumed {
            ConsumeClientAssertion::Consumed => AuthenticatedClient::by_assertion(&client.client, &assertion),
            ConsumeClientAssertion::AlreadyUsed => Err(ClientAuthenticationError::AssertionReplayed),
        };
        authenticated.map(IdentifiedClient::Authenticated).map_err(|error| {
            let claimed = client.client.client_id().as_str().to_owned();
            self.failed(error, Some(Arc::clone(&client.client)), Some(claimed))
        })
    }

    /// Reaches the verdict about one client, known or decoy.
    async fn judge(
        &self,
        attempt: &Attempt<'_>,
        client: &Arc<PreparedClient>,
        explicit: Explicit<'_>,
    ) -> Result<Credential, AuthenticationFailure> {
        let client = &client.client;
        let method = client.metadata().authentication_method();
        let failed = |error| AuthenticationFailure::new(error, Some(client), None);
        // What is on file may be older than the server's profile.
        let profile = client.metadata().effective_profile(attempt.profile);
        if !profile.permits_method(method) {
            return Err(failed(ClientAuthenticationError::MethodNotEnabled {
                registered: method,
            }));
        }
        let assertion = match explicit {
            Explicit::Secret(secret) => {
                return by_secret(attempt, client, &secret)
                    .map(Credential::Authenticated)
                    .map_err(|error| failed(beside_certificate(attempt, error)));
            }
            Explicit::Assertion(_) if method != AuthenticationMethod::PrivateKeyJwt => {
                let presented = AuthenticationMethod::PrivateKeyJwt;
                return Err(failed(ClientAuthenticationError::MethodNotUsed {
                    registered: method,
                    presented,
                }));
            }
            Explicit::Assertion(assertion) => Some(assertion.map_err(|error| failed(error.into()))?),
            Explicit::Nothing => None,
        };
        match (client.metadata().authentication(), assertion) {
            (Registered::TlsClientAuth { .. }, _) => {
                let verdict = self.verdicts.of_path(attempt, client, &self.on_file.trust.anchors());
                verdict
                    .map(Credential::Authenticated)
                    .map_err(|failure| AuthenticationFailure::of_path(failure, client))
            }
            (Registered::SelfSignedTlsClientAuth { keys, .. }, _) => self
                .self_signed(attempt, client, keys)
                .await
                .map(Credential::Authenticated),
            (Registered::PrivateKeyJwt { keys, .. }, Some(assertion)) => self
                .assertion(attempt, client, keys, &assertion)
                .await
                .map(Credential::Assertion),
            (Registered::PrivateKeyJwt { .. } | Registered::ClientSecret { .. }, _) => {
                Err(failed(ClientAuthenticationError::MethodNotUsed {
                    registered: method,
                    presented: of_certificate(attempt),
                }))
            }
            (Registered::None, _) => PublicClient::identify(client).map(Credential::Public).map_err(failed),
        }
    }

    async fn self_signed(
        &self,
        attempt: &Attempt<'_>,
        client: &Arc<Client>,
        keys: &ClientKeys,
    ) -> Result<AuthenticatedClient, AuthenticationFailure> {
        // Without a certificate there is nothing to look up: nobody makes us fetch by just naming a client.
        let empty = JwkSet::default();
        if attempt.presented.end_entity().is_none() {
            let verdict = self_signed_tls_client_auth::authenticate(client, attempt.presented, &empty, 0, attempt.now);
            let failed = |error| AuthenticationFailure::new(error, Some(client), None);
            return verdict.map(|(authenticated, _)| authenticated).map_err(failed);
        }
        let keys = self.keys(client, keys, attempt.now).await?;
        // Comparing octets costs less than any cache would.
        let verdict = self_signed_tls_client_auth::authenticate(client, attempt.presented, &keys, 0, attempt.now);
        let failed = |error| AuthenticationFailure::new(error, Some(client), Some(Arc::clone(&keys)));
        verdict.map(|(authenticated, _)| authenticated).map_err(failed)
    }

    async fn assertion(
        &self,
        attempt: &Attempt<'_>,
        client: &Arc<Client>,
        keys: &ClientKeys,
        assertion: &UnverifiedClientAssertion<'_>,
    ) -> Result<VerifiedClientAssertion, AuthenticationFailure> {
        let keys = self.keys(client, keys, attempt.now).await?;
        let server = AssertionAudience {
            issuer: attempt.issuer,
            endpoint_urls: attempt.endpoint_urls,
            profile: attempt.profile,
        };
        let failed = |error: ClientAssertionError| {
            AuthenticationFailure::new(error.into(), Some(client), Some(Arc::clone(&keys)))
        };
        assertion.verify(client, &keys, &server, attempt.now).map_err(failed)
    }

    /// The client's keys, by value or as published.
    async fn keys(
        &self,
        client: &Arc<Client>,
        keys: &ClientKeys,
        now: Timestamp,
    ) -> Result<Arc<JwkSet>, AuthenticationFailure> {
        match keys {
            ClientKeys::Jwks(keys) => Ok(Arc::clone(keys)),
            ClientKeys::JwksUri(uri) => {
                let fetched = self.on_file.key_sets.key_set(client.client_id(), uri, now).await;
                let failed = |error| ClientAuthenticationError::KeysUnavailable(Box::new(error));
                fetched.map_err(|error| AuthenticationFailure::new(failed(error), Some(client), None))
            }
        }
    }

    fn failed(
        &self,
        error: ClientAuthenticationError,
        client: Option<Arc<Client>>,
        claimed_client_id: Option<String>,
    ) -> Unauthenticated {
        self.metrics.authentications_failed.inc();
        Unauthenticated::Failed(AuthenticationFailure {
            error: Arc::new(error),
            client,
            keys: None,
            claimed_client_id,
            counted: None,
        })
    }
}

impl AuthenticationFailure {
    fn new(error: ClientAuthenticationError, client: Option<&Arc<Client>>, keys: Option<Arc<JwkSet>>) -> Self {
        AuthenticationFailure {
            error: Arc::new(error),
            client: client.cloned(),
            keys,
            claimed_client_id: None,
            counted: None,
        }
    }

    fn of_path(failure: PathFailure, client: &Arc<Client>) -> Self {
        AuthenticationFailure {
            error: failure.error,
            client: Some(Arc::clone(client)),
            keys: None,
            claimed_client_id: None,
            counted: failure.counted,
        }
    }
}

/// Judged also where secrets are off, so that it takes the same time.
fn by_secret(
    attempt: &Attempt<'_>,
    client: &Arc<Client>,
    secret: &PresentedClientSecret,
) -> Result<AuthenticatedClient, ClientAuthenticationError> {
    let authenticated = AuthenticatedClient::by_secret(client, secret)?;
    if attempt.client_secrets_enabled {
        return Ok(authenticated);
    }
    Err(ClientAuthenticationError::MethodNotEnabled {
        registered: authenticated.method(),
    })
}

/// What a secret that authenticates nobody comes to: beside a certificate it is a second method (RFC 6749 §2.3).
///
/// Only beside a *right* secret is a certificate no method but what tokens are bound to. Whoever is named, and known or not, the
/// answer is the same, so that it does not tell who is registered with a secret.
fn beside_certificate(attempt: &Attempt<'_>, error: ClientAuthenticationError) -> ClientAuthenticationError {
    match attempt.presented.end_entity() {
        Some(_) => ClientAuthenticationError::SecretBesideCertificate(Box::new(error)),
        None => error,
    }
}

/// What a request without any explicit credential uses, for the operator.
fn of_certificate(attempt: &Attempt<'_>) -> AuthenticationMethod {
    match attempt.presented.end_entity() {
        Some(_) => AuthenticationMethod::TlsClientAuth,
        None => AuthenticationMethod::None,
    }
}
