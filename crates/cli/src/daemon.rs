//! What both daemons have: listeners that are opened first and serve afterwards, reload their certificates, and drain.

use std::fmt::Write;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use keybound_tls::{
    BindError, CounterSnapshot, ForwardedCertificateSettings, HostPolicies, Listener, ListenerHandle, PreparedReload,
    Service,
};

use crate::configuration::InvalidConfiguration;
use crate::configuration::diagnostic::Diagnostic;
use crate::exit_code::{CommandError, ExitCode};
use crate::terminal::Terminal;

type Start = Box<dyn FnOnce() -> ListenerHandle + Send>;

/// How long probes that are being answered may still take once everything else has ended.
const OPERATIONS_DRAIN: Duration = Duration::from_secs(1);

/// The listeners of one daemon. Cloning shares them.
#[derive(Clone, Default)]
pub(crate) struct Running {
    listeners: Arc<Listeners>,
}

#[derive(Default)]
struct Listeners {
    held: Mutex<Vec<(Closes, Start)>>,
    handles: Mutex<Vec<(Closes, ListenerHandle)>>,
}

/// When a listener closes in a drain.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Closes {
    First,
    /// The operations listener: until nothing is left to be served, probes learn that the daemon is not ready, and metrics show why
    /// it takes so long.
    Last,
}

impl Running {
    /// Keeps an open listener until [`start`](Self::start): connections wait in its socket meanwhile.
    pub(crate) fn hold(&self, listener: Listener, service: impl Service) {
        self.hold_until(Closes::First, listener, service);
    }

    /// The same for the operations listener, the last to close.
    pub(crate) fn hold_operations(&self, listener: Listener, service: impl Service) {
        self.hold_until(Closes::Last, listener, service);
    }

    fn hold_until(&self, closes: Closes, listener: Listener, service: impl Service) {
        lock(&self.listeners.held).push((closes, Box::new(move || listener.serve(service))));
    }

    /// Begins to answer on all of them.
    pub(crate) fn start(&self) {
        let held = std::mem::take(&mut *lock(&self.listeners.held));
        lock(&self.listeners.handles).extend(held.into_iter().map(|(closes, start)| (closes, start())));
    }

    /// Prints a line for each: scripts wait for them.
    pub(crate) fn announce(&self, terminal: &Terminal) {
        for (_, handle) in lock(&self.listeners.handles).iter() {
            terminal.line(format!("listening on {} ({})", handle.local_addr(), handle.name()));
            terminal.json(&serde_json::json!({ "listening": handle.local_addr(), "listener": handle.name() }));
        }
    }

    /// Appends what the listeners count, as OpenMetrics text.
    pub(crate) fn append_metrics(&self, text: &mut String) {
        let handles = lock(&self.listeners.handles);
        let snapshots: Vec<_> = handles
            .iter()
            .map(|(_, handle)| (handle.name(), handle.counters().snapshot()))
            .collect();
        let mut family =
            |name: &str, kind: &str, help: &str, values: &dyn Fn(&CounterSnapshot) -> Vec<(&'static str, u64)>| {
                let suffix = if kind == "counter" { "_total" } else { "" };
                // A String never refuses to be written to.
                let _ = write!(text, "# HELP keybound_{name} {help}.\n# TYPE keybound_{name} {kind}\n");
                for (listener, snapshot) in &snapshots {
                    for (reason, value) in values(snapshot) {
                        let reason = if reason.is_empty() {
                            String::new()
                        } else {
                            format!(",reason=\"{reason}\"")
                        };
                        let _ = writeln!(
                            text,
                            "keybound_{name}{suffix}{{listener=\"{listener}\"{reason}}} {value}"
                        );
                    }
                }
            };
        family("connections_open", "gauge", "Connections open now", &|it| {
            vec![("", it.connections_open)]
        });
        family("handshakes", "counter", "TLS handshakes finished", &|it| {
            vec![("", it.handshakes_completed)]
        });
        family("handshakes_failed", "counter", "TLS handshakes not finished", &|it| {
            it.handshakes_failed.clone()
        });
        family(
            "connections_refused",
            "counter",
            "Connections closed for a limit",
            &|it| it.connections_refused.clone(),
        );
        family(
            "requests_refused",
            "counter",
            "Requests refused by the transport",
            &|it| it.requests_refused.clone(),
        );
    }

    /// Prepares other certificates for the listener called `name`, and the proxy that it is to believe. They take effect when the
    /// caller has nothing left that could fail.
    ///
    /// # Errors
    /// If they contradict each other; nothing has changed.
    pub(crate) fn prepare_reload(
        &self,
        name: &str,
        hosts: &HostPolicies,
        believed: Option<ForwardedCertificateSettings>,
    ) -> Result<Vec<PreparedReload>, CommandError> {
        lock(&self.listeners.handles)
            .iter()
            .map(|(_, handle)| handle)
            .filter(|handle| handle.name() == name)
            .map(|handle| handle.prepare_reload(hosts, believed.clone()))
            .collect::<Result<_, _>>()
            .map_err(|error| CommandError::new(ExitCode::InvalidConfiguration, error))
    }

    /// Takes no new connections and waits for the old ones, as long as the listeners' limit says; then closes the operations listener.
    pub(crate) async fn drain(&self) {
        let handles = lock(&self.listeners.handles).clone();
        let (last, first): (Vec<_>, Vec<_>) = handles.into_iter().partition(|(closes, _)| *closes == Closes::Last);
        let drains: Vec<_> = first
            .into_iter()
            .map(|(_, handle)| tokio::spawn(async move { handle.drain().await }))
            .collect();
        for drain in drains {
            // A drain that panicked was reported by the panic hook.
            let _ = drain.await;
        }
        for (_, handle) in last {
            handle.drain_within(OPERATIONS_DRAIN).await;
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Logs what a usable configuration file says that is probably not what was meant.
pub(crate) fn warn(warnings: &[Diagnostic]) {
    for finding in warnings {
        tracing::warn!(finding = %finding.to_json(), "configuration");
    }
}

/// Logs how a reload went; where it failed, everything that stood in its way.
pub(crate) fn log_reload(file: &Path, result: Result<(), CommandError>) {
    let file = file.display();
    let Err(error) = result else {
        tracing::info!(%file, "configuration reloaded");
        return;
    };
    let findings = error.cause.downcast_ref::<InvalidConfiguration>();
    for finding in findings.into_iter().flat_map(|invalid| &invalid.findings) {
        tracing::error!(%file, finding = %finding.to_json(), "configuration");
    }
    tracing::error!(%file, error = %format!("{:#}", error.cause), "not reloaded; the old configuration goes on");
}

/// A port that cannot be had, as a plain sentence with a fix.
pub(crate) fn bind_failed(error: BindError) -> CommandError {
    let (code, fix) = match &error {
        BindError::Socket { source, address, .. } => match source.kind() {
            std::io::ErrorKind::AddrInUse => (
                ExitCode::Conflict,
                Some(format!(
                    "another program has port {}: `ss -ltnp` tells which; stop it, or choose another port",
                    address.port()
                )),
            ),
            std::io::ErrorKind::PermissionDenied => (
                ExitCode::Refused,
                Some("ports below 1024 need CAP_NET_BIND_SERVICE".to_owned()),
            ),
            _ => (ExitCode::Network, None),
        },
        BindError::Hosts { .. } => (ExitCode::InvalidConfiguration, None),
    };
    let error = CommandError::message(code, error);
    match fix {
        Some(fix) => error.with_fix(fix),
        None => error,
    }
}
