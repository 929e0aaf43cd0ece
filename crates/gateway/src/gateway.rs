//! The gateway: its state, how it starts and reloads.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use arc_swap::ArcSwap;
use keybound_resource_server::{ResourceServer, RevocationFollower, RoutePolicy};
use keybound_tls::Clock;
use tokio::runtime::Handle;

use crate::metrics::Metrics;
use crate::operations::OperationsService;
use crate::refusals::Refusals;
use crate::request_log::{self, RequestLog};
use crate::resource_metadata::ResourceMetadata;
use crate::resource_service::ResourceService;
use crate::route::Routes;
use crate::running::RunningResponses;
use crate::settings::{GatewaySettings, SettingsError};

/// How often the upkeep thread looks after things. A response whose token has ended is closed after two turns at most.
const UPKEEP_INTERVAL: Duration = Duration::from_millis(200);

/// Turns of the upkeep thread between two looks at idle upstream connections.
const TURNS_PER_POOL_SWEEP: u32 = 25;

/// Fills a buffer with random octets, for refusal ids.
pub type FillRandom = Arc<dyn Fn(&mut [u8]) + Send + Sync>;

/// What the gateway takes from the world around it.
#[derive(Clone)]
pub struct Environment {
    /// Tells the time.
    pub clock: Clock,
    /// Draws refusal ids.
    pub random: FillRandom,
}

/// A running gateway. Cheap to clone; its upkeep thread ends with the last clone.
///
/// It has no sockets of its own: [`resource_service`](Self::resource_service) and
/// [`operations_service`](Self::operations_service) are handed to two `keybound_tls::Listener`s. The resource listener's
/// `body_bytes_max` should be `None`: the gateway streams.
#[derive(Clone)]
pub struct Gateway {
    shared: Arc<Shared>,
}

/// What all requests share.
pub(crate) struct Shared {
    pub(crate) environment: Environment,
    pub(crate) loaded: ArcSwap<Loaded>,
    pub(crate) refusals: Refusals,
    pub(crate) running: Arc<RunningResponses>,
    pub(crate) log: RequestLog,
    pub(crate) metrics: Metrics,
    is_ready: AtomicBool,
    following: Mutex<Following>,
}

/// Who follows what issuers revoke, and on which runtime.
#[derive(Default)]
struct Following {
    runtime: Option<Handle>,
    follower: Option<RevocationFollower>,
}

/// What a reload replaces, as a whole.
pub(crate) struct Loaded {
    pub(crate) routes: Routes,
    pub(crate) metadata: ResourceMetadata,
    pub(crate) resource_server: ResourceServer,
}

impl Gateway {
    /// Prepares a gateway. It is ready at once; [`set_ready`](Self::set_ready) says otherwise, before a drain.
    ///
    /// Sizes of what it remembers (`refusals_max`, `log_records_max`) are fixed here; a reload does not change them.
    ///
    /// # Errors
    /// [`SettingsError`] if a route could match no request, or two match the same.
    pub fn new(
        settings: &GatewaySettings,
        resource_server: ResourceServer,
        environment: Environment,
    ) -> Result<Self, SettingsError> {
        let loaded = Loaded::new(settings, resource_server, &Routes::default())?;
        let shared = Arc::new(Shared {
            environment,
            loaded: ArcSwap::from_pointee(loaded),
            refusals: Refusals::new(settings.limits.refusals_max),
            running: Arc::default(),
            log: RequestLog::new(settings.limits.log_records_max),
            metrics: Metrics::new(),
            is_ready: AtomicBool::new(true),
            following: Mutex::default(),
        });
        let weak = Arc::downgrade(&shared);
        let upkeep = std::thread::Builder::new()
            .name("keybound-upkeep".to_owned())
            .spawn(move || keep_up(&weak));
        if let Err(error) = upkeep {
            // Requests are answered all the same; logs and expiry of running answers are not looked after.
            tracing::error!(%error, "the upkeep thread could not be started");
        }
        Ok(Self { shared })
    }

    /// Replaces routes and issuers, for all requests that arrive from now on. Open upstream connections are kept.
    ///
    /// # Errors
    /// As [`new`](Self::new); the old state then goes on.
    pub fn reload(&self, settings: &GatewaySettings, resource_server: ResourceServer) -> Result<(), SettingsError> {
        let loaded = Loaded::new(settings, resource_server, &self.shared.loaded.load().routes)?;
        let mut following = self.shared.following();
        self.shared.loaded.store(Arc::new(loaded));
        // The new settings may follow others, or as another client.
        self.shared.follow(&mut following);
        Ok(())
    }

    /// Begins to follow what issuers revoke, on the runtime that this is called in, and goes on with it through reloads. Until an
    /// issuer was heard that is followed, [`is_ready`](Self::is_ready) says no, unless its tokens are introspected meanwhile.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn follow_revocations(&self) {
        let mut following = self.shared.following();
        following.runtime = Some(Handle::current());
        self.shared.follow(&mut following);
    }

    /// Ends that: nothing more is asked.
    pub fn stop_following(&self) {
        *self.shared.following() = Following::default();
    }

    /// The resource server in use: the one to [reconfigure](ResourceServer::reconfigured) for a reload, so that known keys and
    /// revocations go on.
    pub fn resource_server(&self) -> ResourceServer {
        self.shared.loaded.load().resource_server.clone()
    }

    /// Answers the requests of the resource listener.
    pub fn resource_service(&self) -> ResourceService {
        ResourceService::new(Arc::clone(&self.shared))
    }

    /// Answers the requests of the operations listener.
    pub fn operations_service(&self) -> OperationsService {
        OperationsService::new(self.clone())
    }

    /// What was refused lately.
    pub fn refusals(&self) -> &Refusals {
        &self.shared.refusals
    }

    /// Whether `/health/ready` says so: [`set_ready`](Self::set_ready) has not said otherwise, and every issuer whose revocations
    /// are followed was heard lately, or its tokens are introspected instead.
    pub fn is_ready(&self) -> bool {
        let (loaded, now) = (self.shared.loaded.load(), self.shared.environment.clock.now());
        let mut followed = loaded.resource_server.revocations(now);
        self.shared.is_ready.load(Ordering::Acquire) && followed.all(|it| !it.is_silent || !it.counts)
    }

    /// Decides what `/health/ready` says: not ready before a drain begins, so that no new callers are sent here.
    pub fn set_ready(&self, is_ready: bool) {
        self.shared.is_ready.store(is_ready, Ordering::Release);
    }

    /// Writes the log records that wait. Call it before the process ends.
    pub fn flush_log(&self) {
        self.shared.write_log();
    }

    pub(crate) fn shared(&self) -> &Shared {
        &self.shared
    }
}

impl std::fmt::Debug for Gateway {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Gateway")
            .field("routes", &self.shared.loaded.load().routes.len())
            .finish_non_exhaustive()
    }
}

impl Loaded {
    fn new(
        settings: &GatewaySettings,
        resource_server: ResourceServer,
        previous: &Routes,
    ) -> Result<Self, SettingsError> {
        let policies: Vec<&RoutePolicy> = settings.routes.iter().map(|route| &route.policy).collect();
        Ok(Self {
            routes: Routes::new(&settings.routes, &settings.limits, previous)?,
            metadata: ResourceMetadata::new(&policies, &resource_server),
            resource_server,
        })
    }
}

impl Shared {
    fn following(&self) -> MutexGuard<'_, Following> {
        self.following.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Follows with the settings in force; whoever followed before stops.
    fn follow(&self, following: &mut Following) {
        let Some(runtime) = &following.runtime else { return };
        let _entered = runtime.enter();
        let resource_server = &self.loaded.load().resource_server;
        following.follower = Some(resource_server.follow_revocations(&self.environment.clock));
    }

    pub(crate) fn write_log(&self) {
        let dropped = self.log.drain(|record| {
            self.metrics.count(&record);
            request_log::write(&record);
        });
        if dropped > 0 {
            self.metrics.count_dropped_records(dropped);
            tracing::warn!(target: "keybound::request", dropped, "requests were answered but not logged");
        }
    }

    pub(crate) fn count_revocations(&self) {
        let (loaded, now) = (self.loaded.load(), self.environment.clock.now());
        self.metrics.set_revocations(loaded.resource_server.revocations(now));
    }

    pub(crate) fn count_connections(&self) {
        let idle = self
            .loaded
            .load()
            .routes
            .upstreams()
            .map(|upstream| upstream.idle_connections())
            .sum();
        self.metrics.set_upstream_idle_connections(idle);
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.write_log();
    }
}

/// Until the gateway is gone: writes the log, ends what has lost its token, closes what nobody uses.
fn keep_up(shared: &Weak<Shared>) {
    let mut turn: u32 = 0;
    loop {
        std::thread::sleep(UPKEEP_INTERVAL);
        let Some(shared) = shared.upgrade() else { return };
        shared.write_log();
        shared.running.sweep(shared.environment.clock.now());
        turn = turn.wrapping_add(1);
        if turn.is_multiple_of(TURNS_PER_POOL_SWEEP) {
            for upstream in shared.loaded.load().routes.upstreams() {
                upstream.close_old();
            }
        }
    }
}
