//! Clients that registered themselves (RFC 7591), and by which token each manages its registration (RFC 7592).
//!
//! The client itself is one of [`Clients`](crate::Clients), and deleting it there ends its registration too. Quotas are counters
//! that the verbs keep, so that a registration costs the same however many there are.

use keybound_protocol::client::ClientId;
use keybound_protocol::secret::SecretHash;

use crate::{Answer, AuditEntry, ClientReplacement, NewClient, ReplaceClient, StoreError, StoredClient};

/// What [`Registrations::register_client`] stores.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewRegistration {
    /// The client.
    pub client: NewClient,
    /// What is kept of its registration access token.
    pub token: SecretHash,
    /// The policy that it was judged by: the name of its initial access token.
    pub policy: String,
    /// The software statement, as it was presented.
    pub software_statement: Option<String>,
    /// The address that asks, as far as quotas tell addresses apart.
    pub address: String,
    /// How many there may be.
    pub quotas: RegistrationQuotas,
}

/// How many registrations there may be, this one included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RegistrationQuotas {
    /// Registered clients in all.
    pub clients_max: u64,
    /// Registered clients of the same policy.
    pub clients_of_policy_max: u64,
    /// Registrations from one address in one hour.
    pub per_address_and_hour_max: u64,
}

/// A quota that is used up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RegistrationQuota {
    /// [`RegistrationQuotas::clients_max`]
    Clients,
    /// [`RegistrationQuotas::clients_of_policy_max`]
    ClientsOfPolicy,
    /// [`RegistrationQuotas::per_address_and_hour_max`]
    PerAddressAndHour,
}

/// The outcome of [`Registrations::register_client`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RegisterClient {
    /// Stored, with this version.
    Registered {
        /// The first version.
        version: u64,
    },
    /// There is a client with this identifier; nothing changed.
    AlreadyExists,
    /// A quota is used up; nothing changed.
    TooMany(RegistrationQuota),
}

/// What [`Registrations::replace_registered_client`] stores.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegistrationReplacement {
    /// The client's new metadata.
    pub client: ClientReplacement,
    /// The software statement that it rests on, as it was presented; none if it rests on none any more.
    pub software_statement: Option<String>,
}

/// A registration as stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredRegistration {
    /// The client.
    pub client: StoredClient,
    /// What is kept of its registration access token.
    pub token: SecretHash,
    /// The policy that it was judged by.
    pub policy: String,
    /// The software statement, as it was presented.
    pub software_statement: Option<String>,
}

/// Clients that registered themselves.
pub trait Registrations: Send + Sync {
    /// Stores a client that registers itself, if no quota is used up: all in one transaction.
    fn register_client(&self, registration: NewRegistration, entry: AuditEntry) -> Answer<RegisterClient>;

    /// Replaces the metadata of a client that registered itself. One that did not is [`ReplaceClient::Unknown`].
    fn replace_registered_client(
        &self,
        replacement: RegistrationReplacement,
        entry: AuditEntry,
    ) -> Answer<ReplaceClient>;

    /// The registration of the client with this identifier; `None` also for clients that were made otherwise. A point read.
    fn find_registration(&self, client_id: &ClientId) -> Result<Option<StoredRegistration>, StoreError>;
}
