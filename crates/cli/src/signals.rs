//! SIGHUP and changed files reload, SIGTERM and Ctrl-C stop.

use std::io;

use keybound_tls::Runtimes;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::{MissedTickBehavior, interval};

use crate::exit_code::ExitCode;
use crate::file_watch::INTERVAL;

/// The signals that a daemon answers to.
pub(crate) struct Signals {
    hangup: Signal,
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    /// Takes the signals from now on: before anybody is told that the daemon serves, for the next they do may be to send one.
    ///
    /// # Errors
    /// If the system gives none.
    pub(crate) fn take(runtimes: &Runtimes) -> io::Result<Self> {
        runtimes.block_on(async {
            Ok(Self {
                hangup: signal(SignalKind::hangup())?,
                terminate: signal(SignalKind::terminate())?,
                interrupt: signal(SignalKind::interrupt())?,
            })
        })
    }

    /// Waits for SIGTERM or SIGINT; calls `reload` at each SIGHUP, and when `changed` says so, until then.
    ///
    /// Returns how the process ends once it has drained: a service manager's SIGTERM asked for just this; Ctrl-C is an
    /// interruption, which a script that runs the command must be able to see.
    pub(crate) async fn until_stop(mut self, changed: impl Fn() -> bool, reload: impl AsyncFn()) -> ExitCode {
        let mut look = interval(INTERVAL);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = self.hangup.recv() => reload().await,
                _ = look.tick() => {
                    if changed() {
                        reload().await;
                    }
                }
                _ = self.terminate.recv() => return ExitCode::Ok,
                _ = self.interrupt.recv() => return ExitCode::Interrupted,
            }
        }
    }
}
