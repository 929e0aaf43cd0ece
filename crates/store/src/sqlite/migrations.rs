//! The schema, step by step. Each step runs once, in one transaction with its record in `schema_migrations`.

use aws_lc_rs::digest::{SHA256, digest};
use keybound_protocol::digest::hex;
use keybound_protocol::time::Timestamp;
use rusqlite::Connection;

use super::fault::Fault;
use super::rows::{all, one, unsigned};

/// Marks a database as ours ("Kbnd"), so that no other program's file is taken for an empty one.
pub(super) const APPLICATION_ID: i32 = 0x4b62_6e64;

/// One step of the schema.
struct Migration {
    name: &'static str,
    sql: &'static str,
}

/// A step from its file.
macro_rules! migration {
    ($number:literal, $name:literal) => {
        Migration {
            name: $name,
            sql: include_str!(concat!("migrations/", $number, "_", $name, ".sql")),
        }
    };
}

/// All steps, oldest first; the first is version 1. Released steps are never edited, only followed.
const MIGRATIONS: &[Migration] = &[
    migration!("0001", "first"),
    migration!("0002", "users"),
    migration!("0003", "registration"),
    migration!("0004", "grants"),
    migration!("0005", "approval_requests"),
    migration!("0006", "bound_keys"),
    migration!("0007", "silent_grants"),
    migration!("0008", "opened_requests"),
    migration!("0009", "client_terms"),
    migration!("0010", "user_codes"),
];

/// The newest schema version that this build knows.
pub(super) const KNOWN: u32 = MIGRATIONS.len() as u32;

/// What stands in the way of migrating.
#[derive(Debug)]
pub(super) enum MigrationError {
    /// The file has tables, and they are not ours.
    Foreign,
    /// Written by a newer version.
    Newer { found: u32 },
    /// A step on record differs from ours.
    Differs { version: u32 },
    /// SQLite failed.
    Fault(Fault),
}

/// Brings the schema up to date, inside the caller's transaction. Returns the version it found.
pub(super) fn migrate(connection: &Connection, now: Timestamp) -> Result<u32, MigrationError> {
    let applied = applied(connection)?;
    let found = applied.iter().map(|(version, _)| *version).max().unwrap_or(0);
    if found > KNOWN {
        return Err(MigrationError::Newer { found });
    }
    for (version, migration) in (1..).zip(MIGRATIONS) {
        match applied.iter().find(|(applied, _)| *applied == version) {
            Some((_, checksum)) if *checksum == migration.checksum() => {}
            Some(_) => return Err(MigrationError::Differs { version }),
            // A hole below a later step: somebody else's numbering.
            None if version < found => return Err(MigrationError::Differs { version }),
            None => apply(connection, version, migration, now)?,
        }
    }
    Ok(found)
}

/// Versions and checksums on record.
fn applied(connection: &Connection) -> Result<Vec<(u32, String)>, MigrationError> {
    let application_id: i32 = connection.pragma_query_value(None, "application_id", |row| row.get(0))?;
    let tables = one(connection, "SELECT count(*) FROM sqlite_schema", [], |row| {
        unsigned(row, 0, "schema")
    })?
    .unwrap_or(0);
    match (application_id, tables) {
        (APPLICATION_ID, _) => {
            let sql = "SELECT version, checksum FROM schema_migrations ORDER BY version";
            Ok(all(connection, sql, [], |row| Ok((row.get(0)?, row.get(1)?)))?)
        }
        (0, 0) => Ok(Vec::new()),
        _ => Err(MigrationError::Foreign),
    }
}

fn apply(connection: &Connection, version: u32, migration: &Migration, now: Timestamp) -> rusqlite::Result<()> {
    if version == 1 {
        connection.pragma_update(None, "application_id", APPLICATION_ID)?;
        connection.execute_batch(
            "CREATE TABLE schema_migrations (
                 version    INTEGER PRIMARY KEY,
                 name       TEXT NOT NULL,
                 checksum   TEXT NOT NULL,
                 applied_at INTEGER NOT NULL
             ) STRICT",
        )?;
    }
    connection.execute_batch(migration.sql)?;
    connection.execute(
        "INSERT INTO schema_migrations (version, name, checksum, applied_at) VALUES (?1, ?2, ?3, ?4)",
        (version, migration.name, migration.checksum(), now.unix_secs()),
    )?;
    Ok(())
}

impl Migration {
    fn checksum(&self) -> String {
        hex(digest(&SHA256, self.sql.as_bytes()).as_ref())
    }
}

impl From<Fault> for MigrationError {
    fn from(fault: Fault) -> MigrationError {
        MigrationError::Fault(fault)
    }
}

impl From<rusqlite::Error> for MigrationError {
    fn from(error: rusqlite::Error) -> MigrationError {
        MigrationError::Fault(Fault::Sqlite(error))
    }
}
