//! Opening connections: what every writer and every reader of the database has in common.

use std::path::Path;
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};

use super::settings::SqliteLimits;

/// More statements than the crate has.
const STATEMENTS_MAX: usize = 128;
/// A reader runs on a thread that serves requests: it never waits long for a lock (in WAL mode there is hardly one).
const READER_LOCK_WAIT: Duration = Duration::from_millis(50);
/// Page cache of the connection that writes, in KiB: what is keyed by a hash is written all over its tables.
const WRITER_CACHE_KIB: i32 = 8 * 1024;
/// Page cache of each other connection, in KiB: several of them must fit into a small process.
const READER_CACHE_KIB: i32 = 1024;

/// A connection that may write. The file must exist.
pub(super) fn open_writer(database: &Path, limits: &SqliteLimits) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(database, flags)?;
    prepare(&connection, limits.lock_wait)?;
    // Write-ahead log: readers never wait for the writer. FULL: a commit returns after its flush.
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    // Where a plain flush leaves data in the drive's cache (macOS), ask for the real one.
    connection.pragma_update(None, "fullfsync", true)?;
    connection.pragma_update(None, "checkpoint_fullfsync", true)?;
    connection.pragma_update(None, "cache_size", -WRITER_CACHE_KIB)?;
    // What a verb's savepoint would restore is kept in memory: otherwise the larger ones go through a file.
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    // After a burst the log file shrinks again.
    connection.pragma_update(None, "journal_size_limit", 16 * 1024 * 1024)?;
    if let Some(bytes) = limits.size_max_bytes {
        let page_bytes: u32 = connection.pragma_query_value(None, "page_size", |row| row.get(0))?;
        let pages = u32::try_from(bytes / u64::from(page_bytes.max(1)))
            .unwrap_or(u32::MAX - 1)
            .max(1);
        connection.pragma_update(None, "max_page_count", pages)?;
    }
    Ok(connection)
}

/// A connection that can't write.
pub(super) fn open_reader(database: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(database, flags)?;
    prepare(&connection, READER_LOCK_WAIT)?;
    Ok(connection)
}

fn prepare(connection: &Connection, lock_wait: Duration) -> rusqlite::Result<()> {
    connection.busy_timeout(lock_wait)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS_MAX);
    // A database file is input like any other: nothing in its schema may run code, and damaged pages are errors, not
    // surprises.
    connection.pragma_update(None, "trusted_schema", false)?;
    connection.pragma_update(None, "cell_size_check", true)?;
    connection.pragma_update(None, "cache_size", -READER_CACHE_KIB)?;
    // A plan never depends on the values that are bound. Without this, binding to a statement that compares with an index on a
    // condition prepares the statement again, each time it is run.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use keybound_protocol::time::Timestamp;
    use rusqlite::StatementStatus;

    use super::*;
    use crate::sqlite::fault::Fault;
    use crate::sqlite::{authorization_codes, migrations};

    #[test]
    fn a_statement_is_prepared_once_however_often_it_is_run() -> Result<(), Fault> {
        let plain = Connection::open_in_memory()?;
        assert_eq!(
            prepared_again(&plain)?,
            2,
            "the control does not show what this is about"
        );
        let prepared = Connection::open_in_memory()?;
        prepare(&prepared, READER_LOCK_WAIT)?;
        assert_eq!(prepared_again(&prepared)?, 0);
        Ok(())
    }

    /// How often SQLite prepared a statement again that is run three times, with other values each time.
    fn prepared_again(connection: &Connection) -> Result<i32, Fault> {
        assert!(migrations::migrate(connection, Timestamp::from_unix_secs(1)).is_ok());
        for octet in [1, 2, 3_u8] {
            let mut statement = connection.prepare_cached(authorization_codes::FIND)?;
            assert!(statement.query([[octet; 32]])?.next()?.is_none());
        }
        let statement = connection.prepare_cached(authorization_codes::FIND)?;
        Ok(statement.get_status(StatementStatus::RePrepare))
    }
}
