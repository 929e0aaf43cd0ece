//! Telling a client that its user has decided (CIBA Core §10.2, §10.3): a POST to the endpoint that it registered, in ping mode with the
//! name of the request, in [push](super::push) mode with what came of it.
//!
//! Nobody is told of a request that expired. §10.2 speaks of end-user authentication that succeeded or failed, §12 does not require the
//! error, and the client was told `expires_in`.
//!
//! The endpoint is somebody else's choice, so the call goes through the [guarded fetch](keybound_tls::GuardedFetch): https alone, no
//! redirects, no special-use addresses. It is tried a few times; a client that was not reached may still ask.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use keybound_protocol::client_metadata::DeliveryMode;
use keybound_protocol::confirmation::CertificateThumbprint;
use keybound_store::{
    ApprovalChannel, ApprovalRequestHash, AuditEntry, Grant, NotificationSecret, StoredApprovalRequest,
};
use keybound_tls::GuardedFetch;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use url::Url;

use super::DecisionRefusal;
use super::push::Pushed;
use crate::clients::PreparedClient;
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
    /// The certificate of the request, to which the tokens will be bound that are pushed: when they are, the client is not there to show
    /// one (RFC 8705 §3).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) thumbprint: Option<CertificateThumbprint>,
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

/// A client that is told, and all that it takes to tell it: a place among the notifications on their way is taken.
pub(super) struct Callback {
    client: Arc<PreparedClient>,
    mode: DeliveryMode,
    url: Url,
    text: NotificationText,
    hash: ApprovalRequestHash,
    place: OwnedSemaphorePermit,
}

impl Callback {
    /// Whom a decision about this request has to be told, if anybody.
    ///
    /// # Errors
    /// [`DecisionRefusal::Busy`] if the client would be sent its tokens and there is no place: they are lost if they are not sent, so
    /// nothing may be decided. A client that is pinged may ask by itself, and is passed over.
    pub(super) fn of(server: &Server, found: &StoredApprovalRequest) -> Result<Option<Callback>, DecisionRefusal> {
        let ApprovalChannel::Backchannel {
            notification: Some(secret),
            ..
        } = &found.request.channel
        else {
            return Ok(None);
        };
        let client_id = &found.request.client_id;
        let Some(client) = server.clients.find(client_id)? else {
            return Ok(None);
        };
        let registered = &client.client.metadata().authorization().backchannel;
        let (Some(mode @ (DeliveryMode::Ping | DeliveryMode::Push)), Some(url)) = (
            server.configuration.load().delivery_mode(&client.client),
            registered.client_notification_endpoint.clone(),
        ) else {
            return Ok(None);
        };
        let Ok(text) = serde_json::from_str(secret.expose()) else {
            tracing::error!(%client_id, "a stored notification cannot be read");
            return Ok(None);
        };
        let places = &server.approvals.notifications.on_their_way;
        let place = match (Arc::clone(places).try_acquire_owned(), mode) {
            (Ok(place), _) => place,
            (Err(_), DeliveryMode::Push) => return Err(DecisionRefusal::Busy),
            (Err(_), _) => {
                tracing::warn!(%client_id, "a client is not notified: as many notifications as there may be are on their way");
                return Ok(None);
            }
        };
        Ok(Some(Callback {
            hash: found.request.hash,
            client,
            mode,
            url,
            text,
            place,
        }))
    }

    /// Tells the client what was decided; nobody waits until it has heard. `allowed` is what the user allowed, if that is it.
    pub(super) async fn tell(self, server: &Server, allowed: Option<&Grant>, entry: &AuditEntry) {
        let body = match self.mode {
            DeliveryMode::Push => {
                let pushed = Pushed {
                    client: &self.client,
                    text: &self.text,
                    hash: self.hash,
                    entry,
                };
                pushed.outcome(server, allowed).await
            }
            DeliveryMode::Ping | DeliveryMode::Poll => json!({ "auth_req_id": self.text.auth_req_id }).to_string(),
        };
        let fetch = server.configuration.load().fetch.clone();
        tokio::spawn(self.send(fetch, Bytes::from(body)));
    }

    async fn send(self, fetch: GuardedFetch, body: Bytes) {
        let _place = self.place;
        let client_id = self.client.client.client_id();
        for wait in ATTEMPTS_AFTER {
            tokio::time::sleep(wait).await;
            match fetch.post_json(self.url.as_str(), &self.text.token, body.clone()).await {
                Ok(()) => return,
                // What is wrong with the endpoint itself does not change in a few seconds.
                Err(error) if !error.may_pass() => {
                    tracing::info!(%client_id, %error, "a client's notification endpoint was not called");
                    return;
                }
                Err(error) => tracing::info!(%client_id, %error, "a client could not be notified"),
            }
        }
    }
}
