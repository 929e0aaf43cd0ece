//! [`Clients`] on SQLite.

use keybound_protocol::client::{ClientId, ClientOrigin};
use keybound_protocol::secret::SecretHash;
use rusqlite::{Connection, Row};
use serde_json::json;

use super::Database;
use super::batch::Batch;
use super::fault::Fault;
use super::registrations;
use super::revocations;
use super::rows::{all, change, client_id, counter, next, one, page, secret_hash, stored, timestamp, unsigned};
use crate::{
    Answer, AuditEntry, ClientPage, ClientRemoval, ClientReplacement, ClientSecretReplacement, Clients, CreateClient,
    DeleteClient, NewClient, ReplaceClient, Revocation, RevocationSubject, SecretChange, StoreError, StoredClient,
};

const WHAT: &str = "client";
/// The columns that [`stored_client`] reads, in their order.
pub(super) const COLUMNS: &str = "client_id, metadata, origin, version, created_at, updated_at, secret_hash";

impl Clients for Database {
    fn create_client(&self, client: NewClient, entry: AuditEntry) -> Answer<CreateClient> {
        self.writer.submit(move |batch| create(batch, &client, &entry))
    }

    fn replace_client(&self, replacement: ClientReplacement, entry: AuditEntry) -> Answer<ReplaceClient> {
        self.writer.submit(move |batch| replace(batch, &replacement, &entry))
    }

    fn replace_client_secret(&self, replacement: ClientSecretReplacement, entry: AuditEntry) -> Answer<ReplaceClient> {
        self.writer
            .submit(move |batch| replace_secret(batch, &replacement, &entry))
    }

    fn delete_client(&self, removal: ClientRemoval, entry: AuditEntry) -> Answer<DeleteClient> {
        self.writer.submit(move |batch| delete(batch, removal, &entry))
    }

    fn find_client(&self, client_id: &ClientId) -> Result<Option<StoredClient>, StoreError> {
        let sql = format!("SELECT {COLUMNS} FROM clients WHERE client_id = ?1");
        self.readers
            .read(|connection| one(connection, &sql, [client_id.as_str()], stored_client))
    }

    fn list_clients(&self, after: Option<ClientId>, limit: u16) -> Answer<ClientPage> {
        self.scanner.submit(move |connection| {
            let sql = format!("SELECT {COLUMNS} FROM clients WHERE client_id > ?1 ORDER BY client_id LIMIT ?2");
            let after = after.as_ref().map_or("", ClientId::as_str);
            let rows = page(limit);
            let mut clients = all(connection, &sql, (after, stored(rows as u64 + 1)), stored_client)?;
            let more = clients.len() > rows;
            clients.truncate(rows);
            let next = clients.last().filter(|_| more).map(|client| client.client_id.clone());
            Ok(ClientPage { clients, next })
        })
    }

    fn clients_version(&self) -> Result<u64, StoreError> {
        self.readers.read(|connection| counter(connection, "client_version"))
    }
}

pub(super) fn create(batch: &mut Batch<'_>, client: &NewClient, entry: &AuditEntry) -> Result<CreateClient, Fault> {
    if current_version(batch.connection, &client.client_id)?.is_some() {
        return Ok(CreateClient::AlreadyExists);
    }
    let version = next(batch.connection, "client_version")?;
    let sql = "INSERT INTO clients (client_id, metadata, origin, version, created_at, updated_at, secret_hash)
               VALUES (?1, ?2, ?3, ?4, ?5, ?5, ?6)";
    let (name, origin) = (client.client_id.as_str(), origin_text(client.origin));
    let params = (
        name,
        &client.metadata,
        origin,
        stored(version),
        entry.at.unix_secs(),
        client.secret.as_ref().map(SecretHash::as_bytes),
    );
    change(batch.connection, sql, params)?;
    batch.record(
        entry,
        "client.created",
        name,
        Some(json!({ "version": version, "origin": origin })),
    )?;
    Ok(CreateClient::Created { version })
}

pub(super) fn replace(
    batch: &mut Batch<'_>,
    replacement: &ClientReplacement,
    entry: &AuditEntry,
) -> Result<ReplaceClient, Fault> {
    let Some(current) = current_version(batch.connection, &replacement.client_id)? else {
        return Ok(ReplaceClient::Unknown);
    };
    if replacement.if_version.is_some_and(|expected| expected != current) {
        return Ok(ReplaceClient::VersionConflict { current });
    }
    let version = next(batch.connection, "client_version")?;
    let sql = "UPDATE clients SET metadata = ?2, version = ?3, updated_at = ?4 WHERE client_id = ?1";
    let name = replacement.client_id.as_str();
    change(
        batch.connection,
        sql,
        (name, &replacement.metadata, stored(version), entry.at.unix_secs()),
    )?;
    match &replacement.secret {
        SecretChange::Keep => {}
        SecretChange::Set(secret) => set_secret(batch.connection, name, Some(secret))?,
        SecretChange::Remove => set_secret(batch.connection, name, None)?,
    }
    batch.record(
        entry,
        "client.replaced",
        name,
        Some(json!({ "version": version, "replaced_version": current })),
    )?;
    Ok(ReplaceClient::Replaced { version })
}

fn replace_secret(
    batch: &mut Batch<'_>,
    replacement: &ClientSecretReplacement,
    entry: &AuditEntry,
) -> Result<ReplaceClient, Fault> {
    let Some(current) = current_version(batch.connection, &replacement.client_id)? else {
        return Ok(ReplaceClient::Unknown);
    };
    if replacement.if_version.is_some_and(|expected| expected != current) {
        return Ok(ReplaceClient::VersionConflict { current });
    }
    let version = next(batch.connection, "client_version")?;
    let name = replacement.client_id.as_str();
    let sql = "UPDATE clients SET version = ?2, updated_at = ?3 WHERE client_id = ?1";
    change(batch.connection, sql, (name, stored(version), entry.at.unix_secs()))?;
    set_secret(batch.connection, name, Some(&replacement.secret))?;
    batch.record(
        entry,
        "client.secret_replaced",
        name,
        Some(json!({ "version": version, "replaced_version": current })),
    )?;
    Ok(ReplaceClient::Replaced { version })
}

fn set_secret(connection: &Connection, name: &str, secret: Option<&SecretHash>) -> Result<(), Fault> {
    let sql = "UPDATE clients SET secret_hash = ?2 WHERE client_id = ?1";
    change(connection, sql, (name, secret.map(SecretHash::as_bytes)))?;
    Ok(())
}

fn delete(batch: &mut Batch<'_>, removal: ClientRemoval, entry: &AuditEntry) -> Result<DeleteClient, Fault> {
    let Some(current) = current_version(batch.connection, &removal.client_id)? else {
        return Ok(DeleteClient::Unknown);
    };
    if removal.if_version.is_some_and(|expected| expected != current) {
        return Ok(DeleteClient::VersionConflict { current });
    }
    // The number moves, so that whoever caches clients looks again.
    next(batch.connection, "client_version")?;
    change(
        batch.connection,
        "DELETE FROM clients WHERE client_id = ?1",
        [removal.client_id.as_str()],
    )?;
    registrations::end(batch.connection, &removal.client_id)?;
    end_what_waits(batch, &removal.client_id)?;
    batch.record(
        entry,
        "client.deleted",
        removal.client_id.as_str(),
        Some(json!({ "deleted_version": current })),
    )?;
    // One row, however many grants there are. A client made anew under this name has none of them.
    let sql = "INSERT INTO ended_clients (client_id, ended_at) VALUES (?1, ?2)
               ON CONFLICT (client_id) DO UPDATE SET ended_at = max(ended_at, excluded.ended_at)";
    change(
        batch.connection,
        sql,
        (removal.client_id.as_str(), entry.at.unix_secs()),
    )?;
    let revocation = Revocation {
        subject: RevocationSubject::Client(removal.client_id),
        // Tokens issued in this very second are older than the deletion: nothing is issued to a client that is gone.
        issued_before: Some(revocations::after(entry.at)),
        until: removal.tokens_until,
    };
    revocations::add(batch, &revocation)?;
    Ok(DeleteClient::Deleted)
}

/// A client made anew under this name inherits nothing that is still open: no request that was pushed, no page that asks a user, no
/// question that a user has not answered, no answer that was not fetched. Codes end with their grants.
fn end_what_waits(batch: &Batch<'_>, client_id: &ClientId) -> Result<(), Fault> {
    for (counter, sql) in [
        ("pushed_requests", "DELETE FROM pushed_requests WHERE client_id = ?1"),
        ("interactions", "DELETE FROM interactions WHERE client_id = ?1"),
        (
            "approval_requests",
            "DELETE FROM approval_requests WHERE client_id = ?1",
        ),
    ] {
        let rows = change(batch.connection, sql, [client_id.as_str()])? as u64;
        let sql = "UPDATE counters SET value = max(0, value - ?2) WHERE name = ?1";
        change(batch.connection, sql, (counter, stored(rows)))?;
    }
    Ok(())
}

fn current_version(connection: &Connection, client_id: &ClientId) -> Result<Option<u64>, Fault> {
    let sql = "SELECT version FROM clients WHERE client_id = ?1";
    one(connection, sql, [client_id.as_str()], |row| unsigned(row, 0, WHAT))
}

/// A row of [`COLUMNS`].
pub(super) fn stored_client(row: &Row<'_>) -> Result<StoredClient, Fault> {
    Ok(StoredClient {
        client_id: client_id(row, 0, WHAT)?,
        metadata: row.get(1)?,
        origin: origin_of(row.get_ref(2)?.as_str().map_err(|error| Fault::corrupt(WHAT, error))?)?,
        version: unsigned(row, 3, WHAT)?,
        created_at: timestamp(row, 4)?,
        updated_at: timestamp(row, 5)?,
        secret: secret_hash(row, 6, WHAT)?,
    })
}

const fn origin_text(origin: ClientOrigin) -> &'static str {
    match origin {
        ClientOrigin::ConfigurationFile => "configuration_file",
        ClientOrigin::Administrator => "administrator",
        ClientOrigin::Registration => "registration",
    }
}

fn origin_of(text: &str) -> Result<ClientOrigin, Fault> {
    match text {
        "configuration_file" => Ok(ClientOrigin::ConfigurationFile),
        "administrator" => Ok(ClientOrigin::Administrator),
        "registration" => Ok(ClientOrigin::Registration),
        other => Err(Fault::corrupt(WHAT, format_args!("its origin is {other:?}"))),
    }
}
