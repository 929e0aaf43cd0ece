//! Verdicts about certificates of `tls_client_auth` clients, remembered as long as they hold: until
//! client, certificate or trust anchors change, or time runs out.
//!
//! To look for a path is the most that anybody can make us do who proved nothing. What its signatures cost is bounded in protocol; how
//! often it is done for one peer, here: a *no* is kept for its connection, and while a connection has one about a client, it gets a
//! verdict about another only as long as there are not too many failures. A new connection gets its first verdict whatever its
//! neighbours do, since a client that was never seen here looks like they do; it costs not much more than the handshake.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use keybound_protocol::client::{Client, ClientId};
use keybound_protocol::client_authentication::{AcceptedCertificate, AuthenticatedClient, ClientAuthenticationError};
use keybound_protocol::peer_certificate::PresentedCertificate;
use keybound_protocol::time::Timestamp;
use keybound_protocol::tls_client_auth;
use keybound_protocol::trust_anchor::TrustAnchors;
use quick_cache::sync::Cache;

use super::Attempt;
use crate::metrics::Metrics;
use crate::rate_limit::TooMany;

/// How long a *no* spares its connection the same work. Short, because time can turn it: a certificate that is not valid yet.
const NO_FOR: Duration = Duration::from_secs(5);

/// How many of them one connection keeps: a peer that asks for several clients in turn is answered from here.
const NOES_MAX: usize = 8;

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

/// The last verdicts of one connection.
#[derive(Default)]
struct Remembered(Mutex<OfConnection>);

#[derive(Default)]
struct OfConnection {
    yes: Option<Arc<AcceptedCertificate>>,
    /// The newest last.
    noes: VecDeque<No>,
}

/// Why a certificate does not authenticate a client.
pub(super) struct PathFailure {
    pub(super) error: Arc<ClientAuthenticationError>,
    /// Whether it was one failure too many, if it was counted already.
    pub(super) counted: Option<Result<(), TooMany>>,
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
        attempt: &Attempt<'_>,
        client: &Arc<Client>,
        anchors: &TrustAnchors,
    ) -> Result<AuthenticatedClient, PathFailure> {
        let Attempt {
            presented,
            connection,
            now,
            ..
        } = *attempt;
        let Some(end_entity) = presented.end_entity() else {
            return tls_client_auth::authenticate(client, presented, anchors, now)
                .map(|(authenticated, _)| authenticated)
                .map_err(|error| PathFailure::uncounted(Arc::new(error)));
        };
        let remembered = connection.state::<Remembered>();
        let yes = remembered.lock().yes.clone();
        if let Some(accepted) = yes
            && let Some(yes) = AuthenticatedClient::from_accepted(client, end_entity, &accepted, anchors.epoch(), now)
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
        if let Some(error) = remembered.lock().no(&key, now) {
            return Err(PathFailure::uncounted(error));
        }
        if let Some(accepted) = self.accepted.get(&key)
            && let Some(yes) = AuthenticatedClient::from_accepted(client, end_entity, &accepted, anchors.epoch(), now)
        {
            self.metrics.verdicts_cached.inc();
            remembered.lock().yes = Some(accepted);
            return Ok(yes);
        }
        let counted = remembered.count_beforehand(attempt, &key);
        if let Some(Err(_)) = counted {
            let error = Arc::new(ClientAuthenticationError::NotJudged);
            return Err(PathFailure { error, counted });
        }
        self.metrics.verdicts_computed.inc();
        match tls_client_auth::authenticate(client, presented, anchors, now) {
            Ok((authenticated, accepted)) => {
                let accepted = Arc::new(accepted);
                self.accepted.insert(key, Arc::clone(&accepted));
                remembered.lock().yes = Some(accepted);
                Ok(authenticated)
            }
            Err(error) => {
                let error = Arc::new(error);
                let no = No {
                    key,
                    at: now,
                    error: Arc::clone(&error),
                };
                remembered.lock().remember(no);
                Err(PathFailure { error, counted })
            }
        }
    }
}

impl Remembered {
    fn lock(&self) -> MutexGuard<'_, OfConnection> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a failure before there is a verdict, if one has to be expected. A *yes* that comes after all has used up one
    /// failure of its network's and client's, and is kept.
    fn count_beforehand(&self, attempt: &Attempt<'_>, key: &Key) -> Option<Result<(), TooMany>> {
        // A proxy's connection carries everybody's requests: its failures are not those of the next client.
        let is_own = matches!(attempt.presented, PresentedCertificate::Peer(_));
        if !is_own || !self.lock().is_refused_for_another(key, attempt.now) {
            return None;
        }
        let (client_id, address) = (key.client_id.as_str(), attempt.connection.remote_addr().ip());
        Some(attempt.failures.record(Some(client_id), address))
    }
}

impl OfConnection {
    fn no(&self, key: &Key, now: Timestamp) -> Option<Arc<ClientAuthenticationError>> {
        let no = self.noes.iter().find(|no| no.key == *key && no.holds(now))?;
        Some(Arc::clone(&no.error))
    }

    /// What was refused before anchors, revocation lists or this client changed says nothing: else all whom an operator's mistake
    /// shut out would have to wait for each other once it is mended.
    fn is_refused_for_another(&self, key: &Key, now: Timestamp) -> bool {
        self.noes
            .iter()
            .any(|no| no.holds(now) && no.key.trust_epoch == key.trust_epoch && no.key.client_id != key.client_id)
    }

    fn remember(&mut self, no: No) {
        self.noes.retain(|known| known.key != no.key);
        if self.noes.len() >= NOES_MAX {
            self.noes.pop_front();
        }
        self.noes.push_back(no);
    }
}

impl No {
    fn holds(&self, now: Timestamp) -> bool {
        self.at <= now && now.duration_since(self.at) < NO_FOR
    }
}

impl PathFailure {
    /// A failure that took no work, and is counted like any other.
    fn uncounted(error: Arc<ClientAuthenticationError>) -> PathFailure {
        PathFailure { error, counted: None }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failing test panics")]

    use super::*;

    const NOW: Timestamp = Timestamp::from_unix_secs(1_767_225_600);

    fn key(client_id: &str, trust_epoch: u64) -> Key {
        Key {
            client_id: ClientId::parse(client_id).unwrap(),
            client_version: 1,
            thumbprint: [7; 32],
            trust_epoch,
        }
    }

    fn refused(keys: impl IntoIterator<Item = Key>) -> OfConnection {
        let mut connection = OfConnection::default();
        for key in keys {
            let error = Arc::new(ClientAuthenticationError::NoCertificate);
            connection.remember(No { key, at: NOW, error });
        }
        connection
    }

    #[test]
    fn a_connection_keeps_so_many_noes_and_no_more() {
        let keys = |count: usize| (0..count).map(|n| key(&format!("c{n}"), 1));
        let connection = refused(keys(NOES_MAX).chain(keys(NOES_MAX)));
        assert!(keys(NOES_MAX).all(|key| connection.no(&key, NOW).is_some()));
        let connection = refused(keys(NOES_MAX + 1));
        assert_eq!(connection.noes.len(), NOES_MAX);
        assert!(connection.no(&key("c0", 1), NOW).is_none());
        assert!(connection.no(&key("c8", 1), NOW).is_some());
    }

    #[test]
    fn a_no_is_about_one_client_one_state_of_trust_and_a_short_time() {
        let connection = refused([key("a", 1)]);
        assert!(connection.no(&key("a", 1), NOW).is_some());
        assert!(connection.no(&key("b", 1), NOW).is_none());
        assert!(connection.no(&key("a", 2), NOW).is_none());
        assert!(connection.no(&key("a", 1), NOW.plus(NO_FOR)).is_none());
        assert!(connection.no(&key("a", 1), NOW.minus(NO_FOR)).is_none());
    }

    #[test]
    fn what_an_operator_mended_makes_nobody_wait() {
        let connection = refused([key("a", 1)]);
        assert!(connection.is_refused_for_another(&key("b", 1), NOW));
        assert!(!connection.is_refused_for_another(&key("a", 1), NOW));
        assert!(!connection.is_refused_for_another(&key("b", 2), NOW));
        assert!(!connection.is_refused_for_another(&key("b", 1), NOW.plus(NO_FOR)));
        assert!(!OfConnection::default().is_refused_for_another(&key("a", 1), NOW));
    }
}
