//! [`Registrations`] on SQLite.

use keybound_protocol::client::ClientId;
use rusqlite::Connection;
use serde_json::json;

use super::Database;
use super::batch::Batch;
use super::clients::{self, COLUMNS, stored_client};
use super::fault::Fault;
use super::rows::{change, one, secret_hash, stored, unsigned};
use crate::{
    Answer, AuditEntry, CreateClient, NewRegistration, RegisterClient, RegistrationQuota, RegistrationReplacement,
    Registrations, ReplaceClient, StoreError, StoredRegistration,
};

const WHAT: &str = "registration";
/// The counter of all registered clients.
const ALL: &str = "all";

impl Registrations for Database {
    fn register_client(&self, registration: NewRegistration, entry: AuditEntry) -> Answer<RegisterClient> {
        self.writer.submit(move |batch| register(batch, &registration, &entry))
    }

    fn replace_registered_client(
        &self,
        replacement: RegistrationReplacement,
        entry: AuditEntry,
    ) -> Answer<ReplaceClient> {
        self.writer.submit(move |batch| replace(batch, &replacement, &entry))
    }

    fn find_registration(&self, client_id: &ClientId) -> Result<Option<StoredRegistration>, StoreError> {
        let sql = format!(
            "SELECT {COLUMNS}, token_hash, policy, software_statement
             FROM registrations JOIN clients USING (client_id) WHERE client_id = ?1"
        );
        self.readers.read(|connection| {
            one(connection, &sql, [client_id.as_str()], |row| {
                let token = secret_hash(row, 7, WHAT)?;
                Ok(StoredRegistration {
                    client: stored_client(row)?,
                    token: token.ok_or_else(|| Fault::corrupt(WHAT, "it has no token"))?,
                    policy: row.get(8)?,
                    software_statement: row.get(9)?,
                })
            })
        })
    }
}

fn register(
    batch: &mut Batch<'_>,
    registration: &NewRegistration,
    entry: &AuditEntry,
) -> Result<RegisterClient, Fault> {
    let connection = batch.connection;
    let (policy, hour) = (policy_counter(&registration.policy), entry.at.unix_secs() / 3600);
    let quotas = registration.quotas;
    let sql = "SELECT count FROM registration_hours WHERE address = ?1 AND hour = ?2";
    let this_hour = one(connection, sql, (&registration.address, hour), |row| {
        unsigned(row, 0, WHAT)
    })?;
    let used_up = [
        (count(connection, ALL)?, quotas.clients_max, RegistrationQuota::Clients),
        (
            count(connection, &policy)?,
            quotas.clients_of_policy_max,
            RegistrationQuota::ClientsOfPolicy,
        ),
        (
            this_hour.unwrap_or_default(),
            quotas.per_address_and_hour_max,
            RegistrationQuota::PerAddressAndHour,
        ),
    ];
    if let Some((_, _, quota)) = used_up.into_iter().find(|(count, max, _)| count >= max) {
        return Ok(RegisterClient::TooMany(quota));
    }
    let version = match clients::create(batch, &registration.client, entry)? {
        CreateClient::Created { version } => version,
        CreateClient::AlreadyExists => return Ok(RegisterClient::AlreadyExists),
    };
    let client_id = registration.client.client_id.as_str();
    let sql = "INSERT INTO registrations (client_id, token_hash, policy, software_statement) VALUES (?1, ?2, ?3, ?4)";
    let params = (
        client_id,
        registration.token.as_bytes(),
        &registration.policy,
        registration.software_statement.as_deref(),
    );
    change(connection, sql, params)?;
    let sql = "INSERT INTO registration_counts (name, count) VALUES (?1, 1)
               ON CONFLICT (name) DO UPDATE SET count = count + 1";
    for name in [ALL, &policy] {
        change(connection, sql, [name])?;
    }
    let sql = "INSERT INTO registration_hours (address, hour, count) VALUES (?1, ?2, 1)
               ON CONFLICT (address, hour) DO UPDATE SET count = count + 1";
    change(connection, sql, (&registration.address, hour))?;
    let details = json!({ "version": version, "policy": registration.policy });
    batch.record(entry, "client.registered", client_id, Some(details))?;
    Ok(RegisterClient::Registered { version })
}

fn replace(
    batch: &mut Batch<'_>,
    replacement: &RegistrationReplacement,
    entry: &AuditEntry,
) -> Result<ReplaceClient, Fault> {
    let client_id = replacement.client.client_id.as_str();
    let sql = "SELECT 1 FROM registrations WHERE client_id = ?1";
    if one(batch.connection, sql, [client_id], |_| Ok(()))?.is_none() {
        return Ok(ReplaceClient::Unknown);
    }
    let replaced = clients::replace(batch, &replacement.client, entry)?;
    if let ReplaceClient::Replaced { .. } = replaced {
        let sql = "UPDATE registrations SET software_statement = ?2 WHERE client_id = ?1";
        change(
            batch.connection,
            sql,
            (client_id, replacement.software_statement.as_deref()),
        )?;
    }
    Ok(replaced)
}

/// Ends a registration, if there is one, as part of the deletion of its client.
pub(super) fn end(connection: &Connection, client_id: &ClientId) -> Result<(), Fault> {
    let sql = "DELETE FROM registrations WHERE client_id = ?1 RETURNING policy";
    let policy: Option<String> = one(connection, sql, [client_id.as_str()], |row| Ok(row.get(0)?))?;
    let Some(policy) = policy else { return Ok(()) };
    let sql = "UPDATE registration_counts SET count = count - ?2 WHERE name = ?1 AND count >= ?2";
    for name in [ALL, &policy_counter(&policy)] {
        change(connection, sql, (name, stored(1)))?;
    }
    Ok(())
}

fn count(connection: &Connection, name: &str) -> Result<u64, Fault> {
    let sql = "SELECT count FROM registration_counts WHERE name = ?1";
    let count = one(connection, sql, [name], |row| unsigned(row, 0, WHAT))?;
    Ok(count.unwrap_or_default())
}

fn policy_counter(policy: &str) -> String {
    format!("policy:{policy}")
}
