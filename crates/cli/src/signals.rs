//! SIGHUP reloads, SIGTERM and Ctrl-C stop.

use tokio::signal::unix::{SignalKind, signal};

/// Waits for SIGTERM or SIGINT; calls `reload` at each SIGHUP until then.
pub(crate) async fn until_stop(reload: impl AsyncFn()) {
    let (Ok(mut hangup), Ok(mut terminate), Ok(mut interrupt)) = (
        signal(SignalKind::hangup()),
        signal(SignalKind::terminate()),
        signal(SignalKind::interrupt()),
    ) else {
        tracing::error!("signals cannot be received: stop the process by other means");
        return std::future::pending().await;
    };
    loop {
        tokio::select! {
            _ = hangup.recv() => reload().await,
            _ = terminate.recv() => return,
            _ = interrupt.recv() => return,
        }
    }
}
