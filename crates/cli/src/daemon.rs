//! What both daemons have: listeners that are opened first and serve afterwards, reload their certificates, and drain.

use std::sync::{Mutex, PoisonError};

use keybound_tls::{BindError, HostPolicies, Listener, ListenerHandle, Service};

use crate::exit_code::{CommandError, ExitCode};
use crate::terminal::Terminal;

type Start = Box<dyn FnOnce() -> ListenerHandle + Send>;

/// The listeners of one daemon.
#[derive(Default)]
pub(crate) struct Running {
    held: Mutex<Vec<Start>>,
    handles: Mutex<Vec<ListenerHandle>>,
}

impl Running {
    /// Keeps an open listener until [`start`](Self::start): connections wait in its socket meanwhile.
    pub(crate) fn hold(&self, listener: Listener, service: impl Service) {
        self.held
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(Box::new(move || listener.serve(service)));
    }

    /// Begins to answer on all of them.
    pub(crate) fn start(&self) {
        let held = std::mem::take(&mut *self.held.lock().unwrap_or_else(PoisonError::into_inner));
        self.handles
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .extend(held.into_iter().map(|start| start()));
    }

    /// Prints a line for each: scripts wait for them.
    pub(crate) fn announce(&self, terminal: &Terminal) {
        for handle in self.handles.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            terminal.remark(format!("listening on {} ({})", handle.local_addr(), handle.name()));
        }
    }

    /// Gives the listener called `name` other certificates.
    ///
    /// # Errors
    /// If the hosts contradict each other; the old ones go on.
    pub(crate) fn reload_hosts(&self, name: &str, hosts: &HostPolicies) -> Result<(), CommandError> {
        for handle in self.handles.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            if handle.name() == name {
                handle
                    .reload(hosts)
                    .map_err(|error| CommandError::new(ExitCode::InvalidConfiguration, error))?;
            }
        }
        Ok(())
    }

    /// Takes no new connections and waits for the old ones, as long as the listeners' limit says.
    pub(crate) async fn drain(&self) {
        let handles = std::mem::take(&mut *self.handles.lock().unwrap_or_else(PoisonError::into_inner));
        let drains: Vec<_> = handles
            .into_iter()
            .map(|handle| tokio::spawn(async move { handle.drain().await }))
            .collect();
        for drain in drains {
            // A drain that panicked was reported by the panic hook.
            let _ = drain.await;
        }
    }
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
