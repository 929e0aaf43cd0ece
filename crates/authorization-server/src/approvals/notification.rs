//! Telling a client that its user has decided (CIBA Core §10.2, ping mode): a POST to the endpoint that it registered.
//!
//! The endpoint is somebody else's choice, so the call goes through the [guarded fetch](keybound_tls::GuardedFetch): https alone, no
//! redirects, no special-use addresses. It is tried a few times; a client that was not reached may still ask.

use std::sync::Arc;
use std::time::Duration;

use keybound_protocol::client_metadata::DeliveryMode;
use keybound_protocol::time::Timestamp;
use keybound_store::{ApprovalChannel, NotificationSecret, StoredApprovalRequest};
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;

use crate::server::Server;

/// How long to wait before each attempt.
const ATTEMPTS_AFTER: [Duration; 3] = [Duration::ZERO, Duration::from_secs(1), Duration::from_secs(5)];

/// Bounds the notifications that are on their way.
pub(crate) struct Notifications {
    on_their_way: Arc<Semaphore>,
}

/// What a client is told with, as the store keeps it.
#[derive(Serialize, Deserialize)]
pub(crate) struct NotificationText {
    /// `client_notification_token`
    pub(crate) token: String,
    /// `auth_req_id`
    pub(crate) auth_req_id: String,
}

impl Notifications {
    pub(crate) fn new(notifications_max: usize) -> Notifications {
        Notifications {
            on_their_way: Arc::new(Semaphore::new(notifications_max.clamp(1, Semaphore::MAX_PERMITS))),
        }
    }
}

impl NotificationText {
    pub(crate) fn to_secret(&self) -> NotificationSecret {
        NotificationSecret::new(&serde_json::to_string(self).unwrap_or_default())
    }
}

/// Begins to tell the client of a request that was decided, if it wants to be told. Nobody waits for it.
pub(super) fn begin(server: &Server, decided: &StoredApprovalRequest, now: Timestamp) {
    let ApprovalChannel::Backchannel {
        notification: Some(secret),
        ..
    } = &decided.request.channel
    else {
        return;
    };
    let client_id = decided.request.client_id.clone();
    if now >= decided.request.expires_at {
        return;
    }
    let Ok(Some(client)) = server.clients.find(&client_id) else {
        return;
    };
    let registered = &client.client.metadata().authorization().backchannel;
    let (Some(DeliveryMode::Ping), Some(url)) = (
        registered.token_delivery_mode,
        registered.client_notification_endpoint.clone(),
    ) else {
        return;
    };
    let Ok(text) = serde_json::from_str::<NotificationText>(secret.expose()) else {
        tracing::error!(%client_id, "a stored notification cannot be read");
        return;
    };
    let Ok(permit) = Arc::clone(&server.approvals.notifications.on_their_way).try_acquire_owned() else {
        tracing::warn!(%client_id, "a client is not notified: as many notifications as there may be are on their way");
        return;
    };
    let fetch = server.configuration.load().fetch.clone();
    tokio::spawn(async move {
        let _permit = permit;
        let body = serde_json::json!({ "auth_req_id": text.auth_req_id }).to_string();
        for wait in ATTEMPTS_AFTER {
            tokio::time::sleep(wait).await;
            match fetch.post_json(url.as_str(), &text.token, body.clone().into()).await {
                Ok(()) => return,
                // What is wrong with the endpoint itself does not change in a few seconds.
                Err(error) if !error.may_pass() => {
                    tracing::info!(%client_id, %error, "a client's notification endpoint was not called");
                    return;
                }
                Err(error) => tracing::info!(%client_id, %error, "a client could not be notified"),
            }
        }
    });
}
