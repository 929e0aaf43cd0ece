//! Clients, prepared: found in configuration or store, parsed once, kept until something changes.
//!
//! Every look-up of an id, known or not, from a file or from the store, takes the same way: the cache, else one point read.
//! What is not there is remembered as well, so that an unknown id is not told from a known one by the time it takes.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwap;
use keybound_protocol::access_token::AccessTokenEncoder;
use keybound_protocol::client::{Client, ClientId};
use keybound_protocol::client_metadata::ClientMetadata;
use keybound_protocol::issuer::Issuer;
use keybound_store::{Clients as StoredClients, StoreError, StoredClient};
use quick_cache::sync::Cache;

/// A client with what is the same in all its requests.
#[derive(Debug)]
pub(crate) struct PreparedClient {
    /// What is on file.
    pub(crate) client: Arc<Client>,
    /// Makes its access tokens.
    pub(crate) encoder: AccessTokenEncoder,
}

/// The clients of this server.
pub(crate) struct Clients {
    stored: Arc<dyn StoredClients>,
    configured: ArcSwap<Configured>,
    prepared: Cache<ClientId, Known>,
    /// Counts the occasions on which the cache was emptied: what was read before one of them does not count after it.
    generation: AtomicU64,
    stored_version: AtomicU64,
    /// Clients that are being deleted, and how many of them: nearly always none.
    withheld: Mutex<Vec<ClientId>>,
    withheld_count: AtomicUsize,
}

/// While this lives, the client does not exist for anybody.
pub(crate) struct Withheld<'a> {
    clients: &'a Clients,
    client_id: ClientId,
}

/// What was found under an id, and under which generation: a slow reader may put in what it read before the cache was emptied.
#[derive(Clone)]
struct Known {
    generation: u64,
    client: Option<Arc<PreparedClient>>,
}

struct Configured {
    issuer: Issuer,
    clients: HashMap<ClientId, Arc<Client>>,
}

impl Clients {
    /// With the clients of the configuration. At most `prepared_max` are kept prepared.
    pub(crate) fn new(
        stored: Arc<dyn StoredClients>,
        issuer: &Issuer,
        configured: Vec<Client>,
        prepared_max: usize,
    ) -> Clients {
        Clients {
            stored,
            configured: ArcSwap::from_pointee(Configured::new(issuer, configured)),
            prepared: Cache::new(prepared_max),
            generation: AtomicU64::new(0),
            stored_version: AtomicU64::new(0),
            withheld: Mutex::default(),
            withheld_count: AtomicUsize::new(0),
        }
    }

    /// Replaces the clients of the configuration.
    pub(crate) fn configure(&self, issuer: &Issuer, configured: Vec<Client>) {
        self.configured.store(Arc::new(Configured::new(issuer, configured)));
        self.forget();
    }

    /// Forgets what is prepared if any stored client has changed since this was asked last.
    pub(crate) fn refresh(&self) -> Result<(), StoreError> {
        let version = self.stored.clients_version()?;
        if self.stored_version.swap(version, Ordering::Relaxed) != version {
            self.forget();
        }
        Ok(())
    }

    /// Forgets what is prepared: a client has changed.
    pub(crate) fn forget(&self) {
        self.generation.fetch_add(1, Ordering::AcqRel);
        self.prepared.clear();
    }

    /// The client with this id.
    ///
    /// # Errors
    /// [`StoreError`] if the store had to be asked and did not answer.
    pub(crate) fn find(&self, client_id: &ClientId) -> Result<Option<Arc<PreparedClient>>, StoreError> {
        if self.withheld_count.load(Ordering::SeqCst) > 0 && self.withheld().contains(client_id) {
            return Ok(None);
        }
        let generation = self.generation.load(Ordering::Acquire);
        if let Some(known) = self
            .prepared
            .get(client_id)
            .filter(|known| known.generation == generation)
        {
            return Ok(known.client);
        }
        let client = self.read(client_id)?;
        let known = Known {
            generation,
            client: client.clone(),
        };
        self.prepared.insert(client_id.clone(), known);
        Ok(client)
    }

    /// Hides a client that is about to be deleted.
    ///
    /// Whoever reads the clock after this and before the deletion has a time that no token of the client is younger than: requests
    /// read the clock first and ask for their client then.
    pub(crate) fn withhold(&self, client_id: &ClientId) -> Withheld<'_> {
        self.withheld().push(client_id.clone());
        self.withheld_count.fetch_add(1, Ordering::SeqCst);
        Withheld {
            clients: self,
            client_id: client_id.clone(),
        }
    }

    fn withheld(&self) -> MutexGuard<'_, Vec<ClientId>> {
        // A push or a removal is done or not done: what a panicking thread left is whole.
        self.withheld.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether `client_id` belongs to the configuration, so that the API may not touch it.
    pub(crate) fn is_configured(&self, client_id: &ClientId) -> bool {
        self.configured.load().clients.contains_key(client_id)
    }

    /// The clients of the configuration, by id.
    pub(crate) fn configured(&self) -> Vec<Arc<Client>> {
        let mut clients: Vec<_> = self.configured.load().clients.values().cloned().collect();
        clients.sort_by(|one, other| one.client_id().cmp(other.client_id()));
        clients
    }

    fn read(&self, client_id: &ClientId) -> Result<Option<Arc<PreparedClient>>, StoreError> {
        // Read for configured clients, too: the time it takes must not tell which ids are in files.
        let stored = self.stored.find_client(client_id)?;
        let configured = self.configured.load();
        let client = match configured.clients.get(client_id) {
            Some(client) => Some(Arc::clone(client)),
            None => stored.as_ref().and_then(parse_stored).map(Arc::new),
        };
        Ok(client.map(|client| Arc::new(PreparedClient::new(client, &configured.issuer))))
    }
}

impl Drop for Withheld<'_> {
    fn drop(&mut self) {
        let mut withheld = self.clients.withheld();
        if let Some(position) = withheld.iter().position(|client_id| *client_id == self.client_id) {
            withheld.swap_remove(position);
            self.clients.withheld_count.fetch_sub(1, Ordering::SeqCst);
        }
    }
}

impl PreparedClient {
    pub(crate) fn new(client: Arc<Client>, issuer: &Issuer) -> PreparedClient {
        let encoder = AccessTokenEncoder::new(issuer, client.client_id());
        PreparedClient { client, encoder }
    }
}

impl Configured {
    fn new(issuer: &Issuer, clients: Vec<Client>) -> Configured {
        let clients = clients
            .into_iter()
            .map(|client| (client.client_id().clone(), Arc::new(versioned_by_content(client))))
            .collect();
        Configured {
            issuer: issuer.clone(),
            clients,
        }
    }
}

/// A client of a file has no counter. Its version is a hash of what it says, so that a verdict about it outlives a reload
/// exactly if nothing about it changed. The top bit keeps these versions apart from the counted ones of the store.
fn versioned_by_content(client: Client) -> Client {
    let mut content = client.metadata().to_json().to_string().into_bytes();
    content.extend(client.secret().map_or(&[][..], |secret| secret.as_bytes()));
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &content);
    let version = digest
        .as_ref()
        .iter()
        .take(8)
        .fold(0_u64, |version, octet| version << 8 | u64::from(*octet));
    Client::new(
        client.client_id().clone(),
        client.metadata().clone(),
        client.origin(),
        version | 1 << 63,
    )
    .with_secret(client.secret().copied())
}

/// The client of a stored row. One that cannot be read any more does not exist for anybody, and the log says why.
pub(crate) fn parse_stored(stored: &StoredClient) -> Option<Client> {
    match ClientMetadata::parse_stored(stored.metadata.as_bytes()) {
        Ok(metadata) => {
            let client = Client::new(stored.client_id.clone(), metadata, stored.origin, stored.version);
            Some(client.with_secret(stored.secret))
        }
        Err(error) => {
            tracing::error!(client_id = %stored.client_id, %error, "a stored client cannot be read");
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use keybound_protocol::client::ClientOrigin;
    use keybound_protocol::time::Timestamp;
    use keybound_store::{
        Answer, AuditEntry, ClientPage, ClientRemoval, ClientReplacement, ClientSecretReplacement, CreateClient,
        DeleteClient, NewClient, ReplaceClient,
    };

    use super::*;

    /// A store with at most one client.
    #[derive(Default)]
    struct One(Mutex<Option<StoredClient>>);

    fn not_used<T: Send + 'static>() -> Answer<T> {
        Box::pin(async { Err(StoreError::Closed) })
    }

    impl StoredClients for One {
        fn create_client(&self, _: NewClient, _: AuditEntry) -> Answer<CreateClient> {
            not_used()
        }

        fn replace_client(&self, _: ClientReplacement, _: AuditEntry) -> Answer<ReplaceClient> {
            not_used()
        }

        fn replace_client_secret(&self, _: ClientSecretReplacement, _: AuditEntry) -> Answer<ReplaceClient> {
            not_used()
        }

        fn delete_client(&self, _: ClientRemoval, _: AuditEntry) -> Answer<DeleteClient> {
            not_used()
        }

        fn find_client(&self, client_id: &ClientId) -> Result<Option<StoredClient>, StoreError> {
            let stored = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone();
            Ok(stored.filter(|stored| stored.client_id == *client_id))
        }

        fn list_clients(&self, _: Option<ClientId>, _: u16) -> Answer<ClientPage> {
            not_used()
        }

        fn clients_version(&self) -> Result<u64, StoreError> {
            Ok(1)
        }
    }

    #[test]
    fn what_a_slow_reader_puts_in_after_the_cache_was_emptied_does_not_count() {
        let (Ok(client_id), Ok(issuer)) = (ClientId::parse("slow"), Issuer::parse("https://as.example")) else {
            panic!("both are valid")
        };
        let stored = StoredClient {
            client_id: client_id.clone(),
            metadata: r#"{"token_endpoint_auth_method":"tls_client_auth","tls_client_auth_san_dns":"a.example"}"#
                .into(),
            origin: ClientOrigin::Administrator,
            version: 1,
            secret: None,
            created_at: Timestamp::from_unix_secs(0),
            updated_at: Timestamp::from_unix_secs(0),
        };
        let store = Arc::new(One(Mutex::new(Some(stored))));
        let clients = Clients::new(Arc::clone(&store) as Arc<dyn StoredClients>, &issuer, Vec::new(), 10);
        assert!(clients.find(&client_id).is_ok_and(|found| found.is_some()));
        // The client is removed; the cache is emptied, and then the reader from before gets to put in what it read.
        *store.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = None;
        assert!(
            clients.find(&client_id).is_ok_and(|found| found.is_some()),
            "not cached"
        );
        clients.generation.fetch_add(1, Ordering::AcqRel);
        assert!(clients.find(&client_id).is_ok_and(|found| found.is_none()));
    }
}
