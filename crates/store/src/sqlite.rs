//! The store on SQLite: one file, one writer, any number of readers.
//!
//! In reading order: [`settings`](self) and `open` (the file and everything that can be wrong with it), `migrations`
//! (the schema), `writer` and `batch` (group commit), `chain` (the audit chain), `readers` and `scanner` (reading),
//! then one file for each noun, named as the trait's. All SQL of the workspace is below this file.
//!
//! Several processes may have the database open, such as a command line beside a server: nothing that decides is kept
//! in memory between two transactions.

mod access_tokens;
mod approval_requests;
mod audit;
mod authorization_codes;
mod batch;
mod chain;
mod client_assertions;
mod clients;
mod connection;
mod fault;
mod grants;
mod interactions;
mod issued_tokens;
mod migrations;
mod open;
mod pushed_requests;
mod readers;
mod refresh_tokens;
mod refusals;
mod registrations;
mod revocations;
mod rows;
mod scanner;
mod settings;
mod signing_keys;
mod trust_anchors;
mod upkeep;
mod user_sessions;
mod users;
mod verify_chain;
mod writer;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use keybound_protocol::time::Timestamp;
use tokio::sync::watch;

pub use self::settings::{SqliteLimits, SqliteSettings};
use crate::key_file::KeyFile;
use crate::{OpenError, RevocationCursor, Store};

/// Opens stores on SQLite.
#[derive(Debug)]
pub struct SqliteStore;

impl SqliteStore {
    /// Opens a database, or makes it; brings its schema up to date; checks the key file against it.
    ///
    /// Reads and writes files and waits for locks: call it at start, off the runtimes. `now` goes into the records of
    /// what it has to change.
    ///
    /// # Errors
    /// [`OpenError`], one variant per thing that can be wrong. Nothing is changed then.
    pub fn open(settings: &SqliteSettings, now: Timestamp) -> Result<Store, OpenError> {
        let (connection, key_file) = open::open(settings, now)?;
        let failed = |reason: String| OpenError::Failed {
            path: settings.database.clone(),
            reason,
        };
        let cursor = revocations::newest(&connection).map_err(|fault| failed(fault.to_store_error().to_string()))?;
        let key_file = Arc::new(key_file);
        let revocation_cursor = Arc::new(watch::Sender::new(cursor));
        let writer_settings = writer::WriterSettings {
            database: settings.database.clone(),
            node: settings.node.as_str().into(),
            limits: settings.limits.clone(),
            key_file: Arc::clone(&key_file),
            revocations: Arc::clone(&revocation_cursor),
        };
        let unstarted = |error: std::io::Error| failed(format!("no thread could be started: {error}"));
        let database = Arc::new(Database {
            path: settings.database.clone(),
            node: settings.node.as_str().into(),
            scanner: scanner::Scanner::start(settings.database.clone(), &settings.limits).map_err(unstarted)?,
            readers: readers::Readers::new(settings.database.clone(), settings.limits.readers_max),
            writer: writer::Writer::start(connection, writer_settings).map_err(unstarted)?,
            key_file,
            revocation_cursor,
            limits: settings.limits.clone(),
            verifying: Arc::new(AtomicBool::new(false)),
        });
        Ok(Store {
            dpop_nonces: database.key_file.dpop_nonces(),
            clients: database.clone(),
            registrations: database.clone(),
            access_tokens: database.clone(),
            revocations: database.clone(),
            grants: database.clone(),
            authorization_codes: database.clone(),
            refresh_tokens: database.clone(),
            pushed_requests: database.clone(),
            interactions: database.clone(),
            user_sessions: database.clone(),
            client_assertions: database.clone(),
            refusals: database.clone(),
            issued_tokens: database.clone(),
            trust_anchors: database.clone(),
            signing_keys: database.clone(),
            approval_requests: database.clone(),
            users: database.clone(),
            audit: database.clone(),
            upkeep: database,
        })
    }
}

/// An open database: what the nouns share.
struct Database {
    path: PathBuf,
    node: Arc<str>,
    writer: writer::Writer,
    readers: readers::Readers,
    scanner: scanner::Scanner,
    key_file: Arc<KeyFile>,
    revocation_cursor: Arc<watch::Sender<RevocationCursor>>,
    limits: SqliteLimits,
    /// One verification of the audit chains at a time.
    verifying: Arc<AtomicBool>,
}
