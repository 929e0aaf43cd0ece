//! Clients made through the admin API or by registration. Those of configuration files are not stored.

use keybound_protocol::client::{ClientId, ClientOrigin};
use keybound_protocol::secret::SecretHash;
use keybound_protocol::time::Timestamp;

use crate::{Answer, AuditEntry, StoreError};

/// A client as stored: its metadata is the JSON text of RFC 7591 that the authorization server validated and wrote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredClient {
    /// Its identifier.
    pub client_id: ClientId,
    /// RFC 7591 metadata, JSON text of one object.
    pub metadata: String,
    /// Who made it.
    pub origin: ClientOrigin,
    /// Counts the changes of all clients of this store, so a client deleted and made again never has an old version
    /// again. The entity tag of the admin API.
    pub version: u64,
    /// What is kept of its secret, if it has one.
    pub secret: Option<SecretHash>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
}

/// What [`Clients::create_client`] stores.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewClient {
    /// Its identifier, chosen by the administrator or generated.
    pub client_id: ClientId,
    /// RFC 7591 metadata, JSON text of one object.
    pub metadata: String,
    /// Who makes it.
    pub origin: ClientOrigin,
    /// What is kept of its secret, if it gets one.
    pub secret: Option<SecretHash>,
}

/// What becomes of a client's secret when its metadata is replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SecretChange {
    /// It stays, or stays absent.
    Keep,
    /// From now on this one is right, and no other.
    Set(SecretHash),
    /// From now on none is.
    Remove,
}

/// What [`Clients::replace_client`] stores.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientReplacement {
    /// The client to change.
    pub client_id: ClientId,
    /// The whole new metadata, JSON text of one object.
    pub metadata: String,
    /// What becomes of its secret.
    pub secret: SecretChange,
    /// The version the caller read (`If-Match`); `None` replaces whatever is there.
    pub if_version: Option<u64>,
}

/// What [`Clients::replace_client_secret`] stores.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientSecretReplacement {
    /// The client.
    pub client_id: ClientId,
    /// What is kept of its new secret; the old one is wrong from now on.
    pub secret: SecretHash,
    /// The version the caller read (`If-Match`); `None` replaces whatever is there.
    pub if_version: Option<u64>,
}

/// What [`Clients::delete_client`] removes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientRemoval {
    /// The client to remove.
    pub client_id: ClientId,
    /// The version the caller read (`If-Match`); `None` deletes whatever is there.
    pub if_version: Option<u64>,
    /// When the last of its access tokens will have expired (leeway included): until then they are denied.
    pub tokens_until: Timestamp,
}

/// The outcome of [`Clients::create_client`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CreateClient {
    /// Stored, with this version.
    Created {
        /// The first version.
        version: u64,
    },
    /// There is one with this identifier; nothing changed.
    AlreadyExists,
}

/// The outcome of [`Clients::replace_client`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReplaceClient {
    /// Stored, with this version.
    Replaced {
        /// The new version.
        version: u64,
    },
    /// The client has changed since the caller read it; nothing changed.
    VersionConflict {
        /// The version on file.
        current: u64,
    },
    /// There is no such client.
    Unknown,
}

/// The outcome of [`Clients::delete_client`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DeleteClient {
    /// Removed, and every token issued to it up to now is denied.
    Deleted,
    /// The client has changed since the caller read it; nothing changed.
    VersionConflict {
        /// The version on file.
        current: u64,
    },
    /// There is no such client.
    Unknown,
}

/// Clients in the order of their identifiers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientPage {
    /// The clients.
    pub clients: Vec<StoredClient>,
    /// Where the next page starts (`after`); `None` if this was the last.
    pub next: Option<ClientId>,
}

/// Clients made by an administrator or by registration.
pub trait Clients: Send + Sync {
    /// Stores a new client.
    fn create_client(&self, client: NewClient, entry: AuditEntry) -> Answer<CreateClient>;

    /// Replaces the metadata of a client if its version is still the expected one.
    fn replace_client(&self, replacement: ClientReplacement, entry: AuditEntry) -> Answer<ReplaceClient>;

    /// Gives a client another secret.
    fn replace_client_secret(&self, replacement: ClientSecretReplacement, entry: AuditEntry) -> Answer<ReplaceClient>;

    /// Removes a client, its registration if it made one, denies every token issued to it so far, and ends every grant to it, in one
    /// transaction.
    fn delete_client(&self, removal: ClientRemoval, entry: AuditEntry) -> Answer<DeleteClient>;

    /// The client with this identifier. A point read.
    fn find_client(&self, client_id: &ClientId) -> Result<Option<StoredClient>, StoreError>;

    /// Clients after `after` in the order of their identifiers (bytes), at most `limit`.
    fn list_clients(&self, after: Option<ClientId>, limit: u16) -> Answer<ClientPage>;

    /// The newest version of any client: whoever caches clients looks here every second. A point read.
    fn clients_version(&self) -> Result<u64, StoreError>;
}
