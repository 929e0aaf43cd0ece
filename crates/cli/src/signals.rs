//! SIGHUP and changed files reload, SIGTERM and Ctrl-C stop.

use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{MissedTickBehavior, interval};

use crate::file_watch::INTERVAL;

/// Waits for SIGTERM or SIGINT; calls `reload` at each SIGHUP, and when `changed` says so, until then.
pub(crate) async fn until_stop(changed: impl Fn() -> bool, reload: impl AsyncFn()) {
    let (Ok(mut hangup), Ok(mut terminate), Ok(mut interrupt)) = (
        signal(SignalKind::hangup()),
        signal(SignalKind::terminate()),
        signal(SignalKind::interrupt()),
    ) else {
        tracing::error!("signals cannot be received: stop the process by other means");
        return std::future::pending().await;
    };
    let mut look = interval(INTERVAL);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = hangup.recv() => reload().await,
            _ = look.tick() => {
                if changed() {
                    reload().await;
                }
            }
            _ = terminate.recv() => return,
            _ = interrupt.recv() => return,
        }
    }
}
