//! The server: its parts put together, kept up to date, taken down.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use aws_lc_rs::error::Unspecified;
use aws_lc_rs::rand::SystemRandom;
use keybound_protocol::access_token::CLOCK_LEEWAY;
use keybound_protocol::refusal::{Refusal, RefusalId};
use keybound_protocol::resource::ResourceUriError;
use keybound_protocol::time::Timestamp;
use keybound_protocol::user::UserSubject;
use keybound_store::{Actor, AuditEntry, IssuedTokenRecorder, RecorderLimits, RefusalRecorder, Store, StoreError};
use keybound_tls::Clock;
use tokio::sync::Mutex;
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::access_tokens::{AccessTokens, TokenIds};
use crate::admin::AdminApi;
use crate::answer_time::AnswerTimer;
use crate::approvals::{Approvals, DecisionRefusal, UserDecision, WaitingRequest};
use crate::client_authentication::{ClientAuthentication, OnFile};
use crate::clients::Clients;
use crate::configuration::Configuration;
use crate::consent_codes::ConsentCodes;
use crate::dpop::DpopProofs;
use crate::endpoints::revocations::RevocationFeed;
use crate::health::Health;
use crate::key_sets::KeySets;
use crate::metrics::Metrics;
use crate::operations::OperationsService;
use crate::rate_limit::{AttemptLimit, FailedAuthentications, RequestLimit};
use crate::refusals::Refusals;
use crate::request_log::RequestLog;
use crate::service::AuthorizationService;
use crate::settings::{ACCESS_TOKEN_LIFETIME_MAX, Environment, Settings};
use crate::signing_keys::{SigningKeys, SigningKeysError};
use crate::trust::Trust;
use crate::trusted_issuers::TrustedIssuers;
use crate::users::UserDirectory;

/// How often the store is asked to prove that it still takes writes.
const PROBE_INTERVAL: Duration = Duration::from_secs(10);
/// How often what has expired is removed.
const REMOVAL_INTERVAL: Duration = Duration::from_secs(60);
/// How old a key of another algorithm than the configured one is at least when it retires, and how old its successor. If two
/// processes with different configurations ever share a database, this limits how many keys they make each other make.
const OTHER_ALGORITHM_KEPT: Duration = Duration::from_secs(86_400);

/// A running authorization server. What listens is opened by the caller, with [`service`](Self::service) and
/// [`operations_service`](Self::operations_service).
pub struct AuthorizationServer {
    server: Arc<Server>,
    upkeep: JoinHandle<()>,
}

/// Why the server did not start, or did not take new settings.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The store did not answer.
    #[error("the store did not answer")]
    Store(#[from] StoreError),
    /// There is nothing to sign with.
    #[error("there is no usable signing key")]
    SigningKeys(#[from] SigningKeysError),
    /// The issuer makes no audience for the admin API.
    #[error("the admin API's resource indicator is not valid")]
    AdminResource(#[from] ResourceUriError),
    /// The admin API's own token check cannot be set up.
    #[error("the admin API cannot check tokens")]
    AdminApi(#[from] keybound_resource_server::SettingsError),
    /// The random number generator failed.
    #[error("the random number generator failed")]
    NoRandomness(#[from] Unspecified),
    /// A thread could not be started.
    #[error("a thread could not be started")]
    Thread(#[from] io::Error),
}

/// The parts. Endpoints name the ones they use.
pub(crate) struct Server {
    pub(crate) clock: Clock,
    pub(crate) store: Store,
    pub(crate) configuration: ArcSwap<Configuration>,
    /// Held while settings or signing keys are replaced, so that what belongs together is replaced together.
    changing: Mutex<()>,
    pub(crate) clients: Arc<Clients>,
    pub(crate) trust: Arc<Trust>,
    pub(crate) keys: Arc<SigningKeys>,
    pub(crate) key_sets: Arc<KeySets>,
    pub(crate) authentication: ClientAuthentication,
    pub(crate) tokens: AccessTokens,
    pub(crate) dpop: DpopProofs,
    pub(crate) refusals: Refusals,
    pub(crate) failures: FailedAuthentications,
    pub(crate) answer_timer: Arc<AnswerTimer>,
    pub(crate) users: UserDirectory,
    pub(crate) approvals: Approvals,
    pub(crate) consent_codes: ConsentCodes,
    /// Requests that clients push.
    pub(crate) pushed_requests: RequestLimit,
    /// Interactions that browsers begin.
    pub(crate) interactions: AttemptLimit,
    pub(crate) admin: AdminApi,
    pub(crate) revocations: RevocationFeed,
    pub(crate) trusted_issuers: ArcSwap<TrustedIssuers>,
    pub(crate) health: Arc<Health>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) log: RequestLog,
}

impl AuthorizationServer {
    /// Starts the server: reads keys, clients' version and anchors, makes a signing key if there is none, and begins its upkeep
    /// on the runtime that this is called in.
    ///
    /// It is not [ready](Self::set_ready) before the caller says that every listener is open.
    ///
    /// # Errors
    /// [`StartError`]
    pub async fn start(settings: Settings, environment: Environment) -> Result<AuthorizationServer, StartError> {
        let refresh_interval = settings.limits.refresh_interval;
        let server = Arc::new(Server::new(settings, environment).await?);
        let upkeep = tokio::spawn(upkeep(Arc::downgrade(&server), refresh_interval));
        Ok(AuthorizationServer { server, upkeep })
    }

    /// Takes new settings. Requests that begin afterwards see all of them; on an error none of them.
    ///
    /// Of the [`Limits`](crate::Limits), those of bodies, of failed authentications and of key sets are taken over; the others
    /// hold from the start to the end.
    ///
    /// # Errors
    /// [`StartError`]; the old settings stay.
    pub async fn reload(&self, settings: Settings) -> Result<(), StartError> {
        self.server.reload(settings).await
    }

    /// What answers the public and the mutual-TLS listener. It tells them apart by the name of the connection's
    /// [policy](keybound_tls::Connection::policy), [`PUBLIC`](crate::PUBLIC) or [`MUTUAL_TLS`](crate::MUTUAL_TLS), so that both
    /// may also be one listener with two names.
    pub fn service(&self) -> AuthorizationService {
        AuthorizationService {
            server: Arc::clone(&self.server),
        }
    }

    /// What answers the operations listener.
    pub fn operations_service(&self) -> OperationsService {
        OperationsService {
            server: Arc::clone(&self.server),
            more_metrics: Arc::new(|_| {}),
        }
    }

    /// The users of the local directory: for whoever signs people in beside the pages.
    pub fn users(&self) -> &UserDirectory {
        &self.server.users
    }

    /// Finds the request of a device by the code that a user typed (RFC 8628 §3.3). `session` is whatever tells the user's browser from
    /// others.
    ///
    /// # Errors
    /// [`DecisionRefusal`]
    pub fn find_device_request(
        &self,
        typed: &str,
        session: &str,
        remote_address: IpAddr,
    ) -> Result<WaitingRequest, DecisionRefusal> {
        let now = self.server.clock.now();
        self.server.find_device_request(typed, session, remote_address, now)
    }

    /// What clients ask of this user by backchannel authentication, oldest first.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn waiting_requests_of(&self, subject: &UserSubject) -> Result<Vec<WaitingRequest>, StoreError> {
        let now = self.server.clock.now();
        self.server.waiting_requests_of(subject, now).await
    }

    /// Records what a user decided about either.
    ///
    /// # Errors
    /// [`DecisionRefusal`]; nothing changed then.
    pub async fn decide(&self, decision: UserDecision) -> Result<(), DecisionRefusal> {
        self.server.decide(decision).await
    }

    /// Says that every listener is open (`true`), or that the server is about to stop (`false`): what readiness depends on,
    /// beside the store.
    pub fn set_ready(&self, ready: bool) {
        self.server.health.set_serving(ready);
        self.server.revocations.set_stopping(!ready);
    }

    /// The record of a refusal, also of one that was answered a moment ago.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn refusal(&self, id: &RefusalId) -> Result<Option<Refusal>, StoreError> {
        self.server.refusals.recorder.find(id).await
    }

    /// Ends the server's own work, after the listeners have drained: what was recorded becomes durable.
    ///
    /// # Errors
    /// [`StoreError`] if something could not be written. The next start then says that there may be a gap.
    pub async fn stop(&self) -> Result<(), StoreError> {
        self.server.health.set_serving(false);
        self.upkeep.abort();
        self.server.refusals.recorder.flush().await?;
        self.server.tokens.issued.close(self.server.clock.now()).await
    }
}

impl Drop for AuthorizationServer {
    fn drop(&mut self) {
        self.upkeep.abort();
    }
}

impl Server {
    async fn new(settings: Settings, environment: Environment) -> Result<Server, StartError> {
        let Environment { store, clock } = environment;
        let now = clock.now();
        let limits = settings.limits.clone();
        let metrics = Arc::new(Metrics::new());
        let configuration = Configuration::new(&settings)?;
        let trusted_issuers = TrustedIssuers::new(&settings, None)?;
        let clients = Arc::new(Clients::new(
            Arc::clone(&store.clients),
            &settings.issuer,
            settings.clients,
            limits.prepared_clients_max,
        ));
        clients.refresh()?;
        let trust = Arc::new(Trust::new(Arc::clone(&store.trust_anchors), settings.trust_anchors));
        trust.refresh().await?;
        let algorithms = &configuration.signing_algorithms;
        let keys = Arc::new(SigningKeys::open(Arc::clone(&store.signing_keys), algorithms, now).await?);
        let key_sets = Arc::new(KeySets::new(settings.fetch, &limits, Arc::clone(&metrics)));
        let admin = AdminApi::new(&configuration, keys.ring().published.clone(), limits.admin_requests_max)?;
        let published = keys.ring().published.clone();
        let revocations = RevocationFeed::new(&configuration, published, limits.revocation_followers_max)?;
        let on_file = OnFile {
            clients: Arc::clone(&clients),
            trust: Arc::clone(&trust),
            key_sets: Arc::clone(&key_sets),
            assertions: Arc::clone(&store.client_assertions),
            revocations: Arc::clone(&store.revocations),
        };
        let authentication = ClientAuthentication::new(on_file, limits.accepted_certificates_max, Arc::clone(&metrics));
        let tokens = AccessTokens {
            keys: Arc::clone(&keys),
            stored: Arc::clone(&store.access_tokens),
            revocations: Arc::clone(&store.revocations),
            issued: IssuedTokenRecorder::start(Arc::clone(&store.issued_tokens), RecorderLimits::default(), now)
                .await?,
            random: SystemRandom::new(),
            token_ids: TokenIds::default(),
        };
        let refusals = Refusals {
            recorder: RefusalRecorder::start(Arc::clone(&store.refusals), RecorderLimits::default())?,
            random: SystemRandom::new(),
            metrics: Arc::clone(&metrics),
        };
        let answer_timer = Arc::new(AnswerTimer::start()?);
        Ok(Server {
            clock,
            configuration: ArcSwap::from_pointee(configuration),
            changing: Mutex::new(()),
            clients,
            trust,
            keys,
            key_sets,
            authentication,
            tokens,
            dpop: DpopProofs::new(limits.dpop_proofs_max, Arc::clone(&store.dpop_nonces)),
            refusals,
            failures: FailedAuthentications::new(limits.failed_authentications_per_second),
            approvals: Approvals::new(&limits),
            consent_codes: ConsentCodes::new(&SystemRandom::new())?,
            pushed_requests: RequestLimit::per_minute(
                limits.pushed_requests_per_minute,
                limits.public_requests_per_minute,
            ),
            interactions: AttemptLimit::per_minute(limits.interactions_per_minute),
            users: UserDirectory::start(Arc::clone(&store.users), Arc::clone(&answer_timer), &limits)?,
            answer_timer,
            store,
            admin,
            revocations,
            trusted_issuers: ArcSwap::from_pointee(trusted_issuers),
            health: Arc::default(),
            metrics,
            log: RequestLog::start()?,
        })
    }

    async fn reload(&self, settings: Settings) -> Result<(), StartError> {
        let _changing = self.changing.lock().await;
        let configuration = Configuration::new(&settings)?;
        let now = self.clock.now();
        let ring = self.keys.read(&configuration.signing_algorithms, now).await?;
        let published = match &ring {
            Some(ring) => ring.published.clone(),
            None => self.keys.ring().published.clone(),
        };
        let admin = AdminApi::check(&configuration, published.clone())?;
        let revocations = RevocationFeed::check(&configuration, published)?;
        let trusted_issuers = TrustedIssuers::new(&settings, Some(&self.trusted_issuers.load()))?;
        // Nothing fails from here on.
        if let Some(ring) = ring {
            self.keys.replace(ring);
        }
        self.admin.configure(admin);
        self.revocations.configure(revocations);
        self.trusted_issuers.store(Arc::new(trusted_issuers));
        self.failures
            .configure(settings.limits.failed_authentications_per_second);
        self.key_sets.reload(settings.fetch, &settings.limits);
        self.trust.configure(settings.trust_anchors);
        self.clients.configure(&settings.issuer, settings.clients);
        self.configuration.store(Arc::new(configuration));
        Ok(())
    }

    /// Takes over what something else changed: another process, or another node.
    async fn refresh(&self) -> Result<(), StartError> {
        self.clients.refresh()?;
        self.trust.refresh().await?;
        self.refresh_keys().await
    }

    async fn refresh_keys(&self) -> Result<(), StartError> {
        // Not while a reload is under way: its algorithm would be taken back.
        let _changing = self.changing.lock().await;
        let configuration = self.configuration.load_full();
        let read = self.keys.read(&configuration.signing_algorithms, self.clock.now());
        if let Some(ring) = read.await? {
            let published = ring.published.clone();
            self.keys.replace(ring);
            self.admin.replace_keys(published.clone());
            self.revocations.replace_keys(published);
        }
        Ok(())
    }

    /// Removes what has expired, and keys whose last token has.
    async fn remove_expired(&self, now: Timestamp) -> Result<(), StoreError> {
        while self.store.upkeep.remove_expired(now).await?.more {}
        let algorithms = self.configuration.load_full();
        let kept = algorithms.signing_algorithms.iter();
        let kept = kept.map(|algorithm| algorithm.name().to_owned()).collect();
        let entry = AuditEntry::new(now, Actor::Server);
        self.store
            .signing_keys
            .retire_other_signing_keys(kept, now.minus(OTHER_ALGORITHM_KEPT), entry)
            .await?;
        self.store
            .signing_keys
            .remove_retired_signing_keys(retiring_since(now), AuditEntry::new(now, Actor::Server))
            .await?;
        Ok(())
    }
}

/// Keys that have been retiring since before this have signed no token that still counts. Settings that are no longer in force
/// may have made tokens live longer than now.
fn retiring_since(now: Timestamp) -> Timestamp {
    now.minus(ACCESS_TOKEN_LIFETIME_MAX)
        .minus(CLOCK_LEEWAY)
        .minus(Duration::from_secs(1))
}

/// Everything that happens without a request. Ends when the server is gone.
async fn upkeep(server: std::sync::Weak<Server>, refresh_interval: Duration) {
    let mut ticks = interval(refresh_interval.max(Duration::from_millis(10)));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut probed, mut removed) = (None::<Instant>, Instant::now());
    loop {
        ticks.tick().await;
        let Some(server) = server.upgrade() else { return };
        if let Err(error) = server.refresh().await {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "changes in the store could not be read"
            );
        }
        server.failures.forget_old();
        server.users.forget_old();
        server.approvals.forget_old();
        server.pushed_requests.forget_old();
        server.interactions.forget_old();
        let now = server.clock.now();
        if probed.is_none_or(|at| at.elapsed() >= PROBE_INTERVAL) {
            probed = Some(Instant::now());
            let failure = server.store.upkeep.probe(now).await.err();
            server
                .health
                .set_store_failure(failure.map(|failure| failure.to_string()));
        }
        if removed.elapsed() >= REMOVAL_INTERVAL {
            removed = Instant::now();
            if let Err(error) = server.remove_expired(now).await {
                tracing::warn!(%error, "what has expired could not be removed");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_kept_as_long_as_any_setting_lets_its_tokens_live() {
        let retired_at = Timestamp::from_unix_secs(1_000_000);
        let last_token_counts_until = retired_at.plus(Duration::from_secs(86_400)).plus(CLOCK_LEEWAY);
        assert!(retiring_since(last_token_counts_until) < retired_at);
    }
}
