//! Opening the database: the file, its schema, its key file; and a plain sentence for everything that can be wrong with
//! them.

use std::fs::{self, OpenOptions};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use keybound_protocol::digest::hex;
use keybound_protocol::time::Timestamp;
use rusqlite::{Connection, ErrorCode};

use super::batch::Batch;
use super::fault::{Fault, describe};
use super::migrations::{self, MigrationError};
use super::rows::{change, one};
use super::settings::SqliteSettings;
use super::{connection, migrations::KNOWN};
use crate::key_file::{self, KeyFile};
use crate::{Actor, AuditEntry, OpenError};

/// What the key check of a database says once it is opened.
const KEY_CHECK: &[u8] = b"keybound key check";

/// Opens or makes the database, brings its schema up to date and checks the key file against it.
pub(super) fn open(settings: &SqliteSettings, now: Timestamp) -> Result<(Connection, KeyFile), OpenError> {
    let database = &settings.database;
    create_file(database)?;
    let found = Lengths::of(database);
    let failed = |error: rusqlite::Error| sqlite_error(database, &error);
    let connection = connection::open_writer(database, &settings.limits).map_err(failed)?;
    if connection.is_readonly("main").map_err(failed)? {
        // SQLite falls back to reading silently.
        return Err(OpenError::ReadOnly {
            path: database.clone(),
            reason: "permission denied".into(),
        });
    }
    let journal_mode: String = connection
        .pragma_query_value(None, "journal_mode", |row| row.get(0))
        .map_err(failed)?;
    if journal_mode != "wal" {
        let reason = "its file system does not support a write-ahead log (is it a network share?)".into();
        return Err(OpenError::Failed {
            path: database.clone(),
            reason,
        });
    }
    let page_bytes = connection
        .pragma_query_value(None, "page_size", |row| row.get(0))
        .map_err(failed)?;
    found.refuse_torn_file(database, page_bytes)?;
    // IMMEDIATE takes the write lock, so a database that another program keeps locked is noticed now, not at the first
    // token.
    change(&connection, "BEGIN IMMEDIATE", []).map_err(|fault| fault_error(database, fault))?;
    let key_file = prepare(&connection, settings, now)?;
    change(&connection, "COMMIT", []).map_err(|fault| fault_error(database, fault))?;
    Ok((connection, key_file))
}

/// Schema, key file and first audit record, in one transaction.
fn prepare(connection: &Connection, settings: &SqliteSettings, now: Timestamp) -> Result<KeyFile, OpenError> {
    let path = &settings.database;
    let fault = |fault| fault_error(path, fault);
    let found = migrations::migrate(connection, now).map_err(|error| match error {
        MigrationError::Foreign => OpenError::NotADatabase {
            path: path.clone(),
            reason: "it is an SQLite database of another program".into(),
        },
        MigrationError::Newer { found } => OpenError::SchemaNewer {
            path: path.clone(),
            found,
            known: KNOWN,
        },
        MigrationError::Differs { version } => OpenError::SchemaDiffers {
            path: path.clone(),
            version,
        },
        MigrationError::Fault(error) => fault_error(path, error),
    })?;
    let key_file = check_key_file(connection, settings)?;
    if found < KNOWN {
        let entry = AuditEntry::new(now, Actor::Server);
        let mut batch = Batch::new(connection, &settings.node);
        let details = serde_json::json!({ "from": found, "to": KNOWN });
        batch
            .record(&entry, "schema.migrated", &KNOWN.to_string(), Some(details))
            .map_err(fault)?;
        batch.finish(&key_file).map_err(fault)?;
    }
    Ok(key_file)
}

/// Opens the key file and checks that it is this database's; makes one if the database has none yet.
fn check_key_file(connection: &Connection, settings: &SqliteSettings) -> Result<KeyFile, OpenError> {
    let path = &settings.database;
    let fault = |fault| fault_error(path, fault);
    let key_check = meta(connection, "key_check").map_err(fault)?;
    let key_file = match KeyFile::open(&settings.key_file) {
        Err(OpenError::KeyFileMissing { .. }) if key_check.is_none() => KeyFile::create(&settings.key_file)?,
        opened => opened?,
    };
    let unusable = |reason: &str| OpenError::KeyFileUnusable {
        path: settings.key_file.clone(),
        reason: reason.into(),
    };
    match key_check {
        Some(sealed) => {
            let database_id = meta(connection, "database_id").map_err(fault)?.unwrap_or_default();
            let opened = key_file.unseal(&sealed, &database_id);
            if !opened.is_ok_and(|plain| *plain == KEY_CHECK) {
                return Err(OpenError::KeyFileWrong {
                    path: settings.key_file.clone(),
                    database: path.clone(),
                });
            }
        }
        None => {
            let random = key_file::random::<16>().ok_or_else(|| unusable("the system has no random numbers"))?;
            let database_id = hex(&random).into_bytes();
            let sealed = key_file
                .seal(KEY_CHECK, &database_id)
                .map_err(|_| unusable("nothing can be encrypted under it"))?;
            let sql = "INSERT INTO meta (name, value) VALUES ('database_id', ?1), ('key_check', ?2)";
            change(connection, sql, (database_id, sealed)).map_err(fault)?;
        }
    }
    Ok(key_file)
}

fn meta(connection: &Connection, name: &str) -> Result<Option<Vec<u8>>, Fault> {
    one(connection, "SELECT value FROM meta WHERE name = ?1", [name], |row| {
        Ok(row.get(0)?)
    })
}

/// Makes the file if there is none, readable by its owner only. An existing file is left to SQLite: opening and closing
/// it here would drop the locks that another connection of this process holds on it.
fn create_file(database: &Path) -> Result<(), OpenError> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let path = database.to_path_buf();
    match options.open(database) {
        Ok(_) => Ok(()),
        Err(error) => match error.kind() {
            ErrorKind::AlreadyExists if database.is_dir() => Err(OpenError::NotADatabase {
                path,
                reason: "it is a directory".into(),
            }),
            ErrorKind::AlreadyExists => Ok(()),
            ErrorKind::NotFound | ErrorKind::NotADirectory if !directory(database).is_dir() => {
                Err(OpenError::DirectoryMissing {
                    path: directory(database),
                })
            }
            // Some file systems that take no new files say that they do not find them.
            ErrorKind::NotFound | ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => {
                Err(OpenError::ReadOnly {
                    path: directory(database),
                    reason: error.to_string(),
                })
            }
            _ => Err(OpenError::Failed {
                path,
                reason: error.to_string(),
            }),
        },
    }
}

/// How long the files were before anything was opened.
struct Lengths {
    database: u64,
    log: u64,
}

impl Lengths {
    fn of(database: &Path) -> Lengths {
        let bytes = |path: &Path| fs::metadata(path).map_or(0, |metadata| metadata.len());
        let mut log = database.as_os_str().to_owned();
        log.push("-wal");
        Lengths {
            database: bytes(database),
            log: bytes(&PathBuf::from(log)),
        }
    }

    /// A file that ends within a page was cut off, unless a crash interrupted a checkpoint: then the log beside it has
    /// the rest. SQLite itself notices whole missing pages only.
    fn refuse_torn_file(&self, database: &Path, page_bytes: i64) -> Result<(), OpenError> {
        let page_bytes = u64::try_from(page_bytes).unwrap_or(0).max(1);
        if self.log > 0 || self.database.is_multiple_of(page_bytes) {
            return Ok(());
        }
        Err(OpenError::NotADatabase {
            path: database.to_path_buf(),
            reason: "it ends in the middle of a page".into(),
        })
    }
}

fn directory(database: &Path) -> PathBuf {
    match database.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_path_buf(),
        _ => PathBuf::from("."),
    }
}

fn fault_error(path: &Path, fault: Fault) -> OpenError {
    match fault {
        Fault::Sqlite(error) => sqlite_error(path, &error),
        Fault::Corrupt { what, reason } => OpenError::NotADatabase {
            path: path.to_path_buf(),
            reason: format!("{what}: {reason}"),
        },
        Fault::Unwritable { what, reason } => OpenError::Failed {
            path: path.to_path_buf(),
            reason: format!("{what}: {reason}"),
        },
    }
}

/// Which of our sentences fits what SQLite said.
fn sqlite_error(database: &Path, error: &rusqlite::Error) -> OpenError {
    let path = database.to_path_buf();
    let reason = describe(error);
    match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => OpenError::Locked { path },
        Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => OpenError::NotADatabase { path, reason },
        Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied) => OpenError::ReadOnly { path, reason },
        // The log beside the database can't be made.
        Some(ErrorCode::CannotOpen) if !is_writable(&directory(database)) => OpenError::ReadOnly {
            path: directory(database),
            reason,
        },
        Some(ErrorCode::CannotOpen)
            if fs::File::open(database).is_err_and(|e| e.kind() == ErrorKind::PermissionDenied) =>
        {
            OpenError::ReadOnly { path, reason }
        }
        // Tables of ours that are not there, columns that are not ours.
        None | Some(ErrorCode::Unknown) => OpenError::NotADatabase { path, reason },
        Some(_) => OpenError::Failed { path, reason },
    }
}

/// Whether a file can be made in `directory`. Asked by trying: permission bits don't tell about read-only mounts.
fn is_writable(directory: &Path) -> bool {
    let probe = directory.join(format!(".keybound-{}", std::process::id()));
    let made = OpenOptions::new().write(true).create_new(true).open(&probe).is_ok();
    if made {
        let _ = fs::remove_file(&probe);
    }
    made
}
