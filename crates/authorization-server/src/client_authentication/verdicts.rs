//! Verdicts about certificates of `tls_client_auth` clients, remembered as long as they hold: until
//! client, certificate or trust anchors change, or time runs out.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use keybound_protocol::client::{Client, ClientId};
use keybound_protocol::client_authentication::{AcceptedCertificate, AuthenticatedClient, ClientAuthenticationError};
use keybound_protocol::peer_certificate::PresentedCertificate;
use keybound_protocol::time::Timestamp;
use keybound_protocol::tls_client_auth;
use keybound_protocol::trust_anchor::TrustAnchors;
use keybound_tls::Connection;
use quick_cache::sync::Cache;

use crate::metrics::Metrics;

/// How long a *no* spares its connection the same work. Short, because time can turn it: a certificate that is not valid yet.
const NO_FOR: Duration = Duration::from_secs(5);

/// Remembers accepted certificates over all connections.
pub(super) struct Verdicts {
    accepted: Cache<Key, Arc<AcceptedCertificate>>,
    metrics: Arc<Metrics>,
}

/// All that a verdict depends on beside time.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Key {
    client_id: ClientId,
    client_version: u64,
    thumbprint: [u8; 32],
    trust_epoch: u64,
}

/// The last verdict of one connection.
#[derive(Default)]
struct LastVerdict(Mutex<Option<Verdict>>);

#[derive(Clone)]
enum Verdict {
    Yes(Arc<AcceptedCertificate>),
    No(Arc<No>),
}

struct No {
    key: Key,
    at: Timestamp,
    error: Arc<ClientAuthenticationError>,
}

impl Verdicts {
    pub(super) fn new(accepted_max: usize, metrics: Arc<Metrics>) -> Verdicts {
        Verdicts {
            accepted: Cache::new(accepted_max),
            metrics,
        }
    }

    /// Decides whether the presented certificate authenticates `client`, or remembers having decided it.
    pub(super) fn of_path(
        &self,
        connection: &Connection,
        client: &Arc<Client>,
        presented: &PresentedCertificate,
        anchors: &TrustAnchors,
        now: Timestamp,
    ) -> Result<AuthenticatedClient, Arc<ClientAuthenticationError>> {
        let Some(end_entity) = presented.end_entity() else {
            return tls_client_auth::authenticate(client, presented, anchors, now)
                .map(|(authenticated, _)| authenticated)
                .map_err(Arc::new);
        };
        let slot = connection.state::<LastVerdict>();
        let last = slot.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(Verdict::Yes(accepted)) = &last
            && let Some(yes) = AuthenticatedClient::from_accepted(client, end_entity, accepted, anchors.epoch(), now)
        {
            self.metrics.verdicts_cached.inc();
            return Ok(yes);
        }
        let key = Key {
            client_id: client.client_id().clone(),
            client_version: client.version(),
            thumbprint: *end_entity.thumbprint().as_bytes(),
            trust_epoch: anchors.epoch(),
        };
        if let Some(Verdict::No(no)) = &last
            && no.key == key
            && no.at <= now
            && now.duration_since(no.at) < NO_FOR
        {
            return Err(Arc::clone(&no.error));
        }
        if let Some(accepted) = self.accepted.get(&key)
            && let Some(yes) = AuthenticatedClient::from_accepted(client, end_entity, &accepted, anchors.epoch(), now)
        {
            self.metrics.verdicts_cached.inc();
            slot.remember(Verdict::Yes(accepted));
            return Ok(yes);
        }
        self.metrics.verdicts_computed.inc();
        match tls_client_auth::authenticate(client, presented, anchors, now) {
            Ok((authenticated, accepted)) => {
                let accepted = Arc::new(accepted);
                self.accepted.insert(key, Arc::clone(&accepted));
                slot.remember(Verdict::Yes(accepted));
                Ok(authenticated)
            }
            Err(error) => {
                let error = Arc::new(error);
                slot.remember(Verdict::No(Arc::new(No {
                    key,
                    at: now,
                    error: Arc::clone(&error),
                })));
                Err(error)
            }
        }
    }
}

impl LastVerdict {
    fn remember(&self, verdict: Verdict) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(verdict);
    }
}
