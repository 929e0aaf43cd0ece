//! Accepting connections: one kind of listener for all daemons.
//!
//! Each runtime has a socket of its own on the same port (`SO_REUSEPORT`), accepts on it, and keeps what it accepts. A handshake
//! runs in its connection's own task, so a slow peer stalls nobody. Read `accept.rs` for the life of a connection, `exchange.rs`
//! for that of a request.

use std::{
    io,
    net::{SocketAddr, TcpListener},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use arc_swap::ArcSwap;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::{
    runtime::Handle,
    sync::watch,
    time::{Instant, MissedTickBehavior},
};

use crate::{
    Counters, ForwardedCertificateSettings, HostPolicies, HostPoliciesError, Limits, ListenerSettings, Runtimes,
    Service, Transport,
    counters::ConnectionRefusal,
    deadline::DeadlineTicks,
    forwarded_certificate::{BelievedProxy, Forwarding},
};

mod accept;
mod admission;
mod exchange;
mod handshakes;
mod host_table;
mod lane;

use admission::{Admission, Admissions};
pub(crate) use host_table::HostTable;
use lane::{Lane, Registration};

const BACKLOG: i32 = 1024;

/// A listener whose sockets are open. Connections wait in them until [`serve`](Self::serve).
#[derive(Debug)]
pub struct Listener {
    sockets: Vec<(Handle, TcpListener)>,
    local_addr: SocketAddr,
    shared: Arc<Shared>,
}

/// Why a listener cannot listen.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// The port is taken, or not ours to take.
    #[error("cannot listen on {address} ({listener}): {source}")]
    Socket {
        /// The listener's name.
        listener: String,
        /// The address.
        address: SocketAddr,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// The settings cannot be served.
    #[error("listener {listener}: {source}")]
    Hosts {
        /// The listener's name.
        listener: String,
        /// The cause.
        #[source]
        source: HostPoliciesError,
    },
}

/// What all runtimes of a listener share.
#[derive(Debug)]
pub(crate) struct Shared {
    name: Arc<str>,
    limits: Arc<Limits>,
    counters: Arc<Counters>,
    admissions: Arc<Admissions>,
    /// `None`: plain HTTP.
    hosts: Option<ArcSwap<HostTable>>,
    /// Whose `Client-Cert` counts.
    believed: Arc<BelievedProxy>,
    /// As it was configured, for reloads; but whom it believes is in `believed`.
    settings: ListenerSettings,
    draining: AtomicBool,
    stage: watch::Sender<Stage>,
    /// Sockets that still accept.
    sockets_open: AtomicUsize,
}

/// How far a listener's end has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    Serving,
    Draining,
    Cutting,
}

/// A socket that accepts until this is dropped.
struct OpenSocket(Arc<Shared>);

impl Drop for OpenSocket {
    fn drop(&mut self) {
        self.0.sockets_open.fetch_sub(1, Relaxed);
    }
}

impl Listener {
    /// Opens the sockets, one per runtime.
    ///
    /// # Errors
    /// The address cannot be had, also where another process of this user listens on it already; or the settings contradict
    /// themselves.
    pub fn bind(mut settings: ListenerSettings, runtimes: &Runtimes) -> Result<Listener, BindError> {
        let name = Arc::clone(&settings.name);
        let hosts = |source| BindError::Hosts {
            listener: name.to_string(),
            source,
        };
        let forwarded = settings.forwarded_certificate.take();
        let table = match &settings.transport {
            Transport::Tls(policies) => Some(ArcSwap::from_pointee(
                HostTable::build(policies, &settings).map_err(hosts)?,
            )),
            Transport::Plain => None,
        };
        let asks = table.as_ref().is_some_and(|table| table.load().asks_for_certificates());
        check_forwarding(forwarded.as_deref(), asks).map_err(hosts)?;
        let (sockets, local_addr) =
            open_sockets(settings.address, runtimes.handles()).map_err(|source| BindError::Socket {
                listener: settings.name.to_string(),
                address: settings.address,
                source,
            })?;
        let counters = Arc::new(Counters::new(sockets.len()));
        let shared = Shared {
            name: Arc::clone(&settings.name),
            limits: Arc::new(settings.limits.clone()),
            admissions: Arc::new(Admissions::new(Arc::clone(&counters), &settings.limits)),
            counters,
            hosts: table,
            believed: Arc::new(BelievedProxy::from(forwarded)),
            settings,
            draining: AtomicBool::new(false),
            stage: watch::Sender::new(Stage::Serving),
            sockets_open: AtomicUsize::new(sockets.len()),
        };
        Ok(Listener {
            sockets,
            local_addr,
            shared: Arc::new(shared),
        })
    }

    /// The address it listens on, with the port the system chose.
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// Starts to serve on every runtime. Dropping the handle changes nothing; the listener serves until it is drained or its
    /// runtimes end.
    pub fn serve<S: Service>(self, service: S) -> ListenerHandle {
        let service = Arc::new(service);
        let mut lanes = Vec::with_capacity(self.sockets.len());
        for (index, (runtime, socket)) in self.sockets.into_iter().enumerate() {
            let lane = Arc::new(Lane::new(index));
            lanes.push(Arc::clone(&lane));
            runtime.spawn(sweep(Arc::clone(&self.shared), Arc::clone(&lane)));
            let (open, service) = (OpenSocket(Arc::clone(&self.shared)), Arc::clone(&service));
            runtime.spawn(async move {
                // Registering a socket needs its runtime, which is this one.
                match tokio::net::TcpListener::from_std(socket) {
                    Ok(socket) => accept::accept(socket, &open.0, lane, service).await,
                    Err(error) => tracing::error!(
                        listener = &*open.0.name,
                        error = &error as &dyn std::error::Error,
                        "the listening socket cannot be used"
                    ),
                }
            });
        }
        ListenerHandle {
            local_addr: self.local_addr,
            shared: self.shared,
            lanes: lanes.into(),
        }
    }
}

/// Steers a listener that serves. Cloning is cheap.
#[derive(Clone, Debug)]
pub struct ListenerHandle {
    local_addr: SocketAddr,
    shared: Arc<Shared>,
    lanes: Arc<[Arc<Lane>]>,
}

/// Certificates and policies that a listener could serve, and a proxy that it could believe, and does not yet.
#[must_use = "nothing changes before it takes effect"]
pub struct PreparedReload {
    shared: Arc<Shared>,
    table: Arc<HostTable>,
    forwarded_certificate: Option<Arc<ForwardedCertificateSettings>>,
}

impl PreparedReload {
    /// Serves them, to all handshakes from now on, and believes that proxy alone, at all requests from now on.
    pub fn take_effect(self) {
        self.shared.believed.store(self.forwarded_certificate);
        // A listener without hosts prepares nothing.
        if let Some(hosts) = &self.shared.hosts {
            hosts.store(self.table);
        }
    }
}

impl std::fmt::Debug for PreparedReload {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "PreparedReload({})", self.shared.name)
    }
}

impl ListenerHandle {
    /// The address it listens on.
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// The listener's name.
    pub fn name(&self) -> &str {
        &self.shared.name
    }

    /// What it counts.
    pub fn counters(&self) -> &Counters {
        &self.shared.counters
    }

    /// Replaces certificates and policies for all handshakes from now on, at once and as a whole; connections keep what they have.
    /// Replaces the proxy whose `Client-Cert` counts for all requests from now on, those of open connections included: one that is
    /// not named here any more is not believed any more.
    ///
    /// # Errors
    /// The new ones cannot be served; the old ones stay.
    pub fn reload(
        &self,
        policies: &HostPolicies,
        forwarded_certificate: Option<ForwardedCertificateSettings>,
    ) -> Result<(), HostPoliciesError> {
        self.prepare_reload(policies, forwarded_certificate)?.take_effect();
        Ok(())
    }

    /// The first half of a [`reload`](Self::reload), which changes nothing: for whoever has more to reload, and wants to have
    /// failed before anything has changed.
    ///
    /// # Errors
    /// As [`reload`](Self::reload).
    pub fn prepare_reload(
        &self,
        policies: &HostPolicies,
        forwarded_certificate: Option<ForwardedCertificateSettings>,
    ) -> Result<PreparedReload, HostPoliciesError> {
        if self.shared.hosts.is_none() {
            return Err(HostPoliciesError::Plain);
        }
        let table = HostTable::build(policies, &self.shared.settings)?;
        check_forwarding(forwarded_certificate.as_ref(), table.asks_for_certificates())?;
        Ok(PreparedReload {
            shared: Arc::clone(&self.shared),
            table: Arc::new(table),
            forwarded_certificate: forwarded_certificate.map(Arc::new),
        })
    }

    /// Stops accepting, lets every request in progress finish (HTTP/1: with `Connection: close`; HTTP/2: GOAWAY), and cuts what is
    /// still open after [`Limits::drain_timeout`](crate::Limits::drain_timeout). Returns when no connection is left.
    ///
    /// A daemon reports itself unready first, so that nobody sends new connections here.
    pub async fn drain(&self) {
        self.drain_within(self.shared.limits.drain_timeout).await;
    }

    /// [`drain`](Self::drain) with a limit of its own.
    pub async fn drain_within(&self, limit: Duration) {
        self.shared.draining.store(true, Relaxed);
        self.shared.stage.send_replace(Stage::Draining);
        self.lanes.iter().for_each(|lane| lane.wake_all());
        let deadline = Instant::now() + limit;
        while !self.shared.is_over() {
            if Instant::now() >= deadline {
                // Handshakes first, and the rest again and again: one of them may just have finished.
                self.shared.stage.send_replace(Stage::Cutting);
                self.lanes.iter().for_each(|lane| lane.cut_all());
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

impl Shared {
    fn host_table(&self) -> Option<Arc<HostTable>> {
        self.hosts.as_ref().map(ArcSwap::load_full)
    }

    /// Whether nothing is left to be served.
    fn is_over(&self) -> bool {
        self.sockets_open.load(Relaxed) == 0 && self.counters.connections_open.load(Relaxed) == 0
    }

    fn is_draining(&self) -> bool {
        self.draining.load(Relaxed)
    }

    fn refuse_connection(&self, refusal: ConnectionRefusal, remote_addr: SocketAddr) {
        self.counters.connection_refused(refusal);
        tracing::debug!(listener = &*self.name, remote = %remote_addr, ?refusal, "connection refused");
    }

    fn forwarding(&self) -> Forwarding {
        Forwarding::of(&self.believed)
    }
}

/// What counts a connection, from its handshake to its last octet.
#[derive(Debug)]
pub(crate) struct Tenure {
    shared: Arc<Shared>,
    _admission: Admission,
    _registration: Registration,
}

impl Tenure {
    pub(crate) fn refused(&self, refusal: ConnectionRefusal) {
        self.shared.counters.connection_refused(refusal);
    }
}

/// Lets time pass for the connections of a lane, until the listener is stopped and none is left.
async fn sweep(shared: Arc<Shared>, lane: Arc<Lane>) {
    let limits = DeadlineTicks::new(&shared.limits);
    let mut interval = tokio::time::interval(shared.limits.sweep_interval.max(Duration::from_millis(1)));
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        interval.tick().await;
        lane.sweep(&limits);
        if shared.is_draining() && shared.is_over() {
            return;
        }
    }
}

/// `asks`: whether the listener asks for client certificates.
fn check_forwarding(
    forwarded_certificate: Option<&ForwardedCertificateSettings>,
    asks: bool,
) -> Result<(), HostPoliciesError> {
    match forwarded_certificate {
        Some(ForwardedCertificateSettings { from, proxy: None }) if from.is_empty() => Err(HostPoliciesError::AnyProxy),
        Some(ForwardedCertificateSettings { proxy: Some(_), .. }) if !asks => Err(HostPoliciesError::ProxyNeverAsked),
        _ => Ok(()),
    }
}

fn open_sockets(address: SocketAddr, runtimes: &[Handle]) -> io::Result<(Vec<(Handle, TcpListener)>, SocketAddr)> {
    let shared = runtimes.len() > 1;
    if shared && address.port() != 0 {
        // Any process of this user could join a port that is shared. Asking for it alone first finds out whether one is there.
        drop(open_socket(address, false)?);
    }
    let mut sockets = Vec::with_capacity(runtimes.len());
    let mut local_addr = address;
    for runtime in runtimes {
        let socket = open_socket(local_addr, shared)?;
        local_addr = socket.local_addr()?;
        sockets.push((runtime.clone(), socket));
    }
    Ok((sockets, local_addr))
}

fn open_socket(address: SocketAddr, shared: bool) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // Connections of a predecessor that still fade away must not keep its successor from starting.
    socket.set_reuse_address(true)?;
    if shared {
        socket.set_reuse_port(true)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}
