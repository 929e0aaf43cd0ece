//! The store, tested from outside.

#![expect(clippy::unwrap_used, reason = "tests")]

mod bounds;
mod contract;
mod crash;
mod group_commit;
mod opening;
mod replays;
mod restore;
mod secrets;
mod tampering;
mod unavailable;

use std::path::{Path, PathBuf};

use keybound_protocol::client::{ClientId, ClientOrigin};
use keybound_protocol::time::Timestamp;
use keybound_store::{Actor, AuditEntry, NewClient, SqliteLimits, SqliteSettings, SqliteStore, Store};

/// The time of every test.
const NOW: Timestamp = Timestamp::from_unix_secs(1_700_000_000);

/// A directory with a database and its key file, removed at the end.
struct Directory(tempfile::TempDir);

impl Directory {
    fn new() -> Directory {
        Directory(tempfile::tempdir().unwrap())
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn database(&self) -> PathBuf {
        self.path().join("keybound.db")
    }

    fn key_file(&self) -> PathBuf {
        self.path().join("keys.kek")
    }

    fn settings(&self) -> SqliteSettings {
        SqliteSettings::new(self.database(), self.key_file())
    }

    fn open(&self) -> Store {
        SqliteStore::open(&self.settings(), NOW).unwrap()
    }

    fn open_with(&self, limits: SqliteLimits) -> Store {
        SqliteStore::open(
            &SqliteSettings {
                limits,
                ..self.settings()
            },
            NOW,
        )
        .unwrap()
    }

    /// A connection beside the store's own, as another program would have.
    fn connect(&self) -> rusqlite::Connection {
        rusqlite::Connection::open(self.database()).unwrap()
    }
}

fn entry() -> AuditEntry {
    AuditEntry::new(NOW, Actor::Operator)
}

fn client(name: &str) -> ClientId {
    ClientId::parse(name).unwrap()
}

fn new_client(name: &str) -> NewClient {
    NewClient {
        client_id: client(name),
        metadata: "{}".into(),
        origin: ClientOrigin::Administrator,
        secret: None,
    }
}

/// Runs a future on a runtime like the daemons'.
fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
        .block_on(future)
}
