//! Where the database is, and its limits.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::OpenError;

/// How to open a SQLite store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SqliteSettings {
    /// The database file; its directory must exist. `-wal` and `-shm` files lie beside it while it is open.
    pub database: PathBuf,
    /// The key file. Made, mode 0600, if it is missing and the database is new.
    pub key_file: PathBuf,
    /// The name under which this node's audit chains are kept.
    pub node: String,
    /// Limits; see [`SqliteLimits`].
    pub limits: SqliteLimits,
}

/// The named limits of a SQLite store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SqliteLimits {
    /// Verbs that may wait for the writer; one more is [`StoreError::Overloaded`](crate::StoreError::Overloaded).
    pub waiting_max: usize,
    /// Verbs in one transaction.
    pub batch_max: usize,
    /// How long a verb may take from its call to its answer.
    pub deadline: Duration,
    /// How long to wait for another process that holds the database's lock.
    pub lock_wait: Duration,
    /// Connections for point reads: at least one per thread that serves requests.
    pub readers_max: usize,
    /// Listings that may wait for their thread.
    pub scans_max: usize,
    /// Pushed authorization requests that may be kept at once: public clients push, too.
    pub pushed_requests_max: u64,
    /// Interactions that may be open at once: anybody with a browser begins one.
    pub interactions_max: u64,
    /// Approval requests that may wait at once: public clients show codes, too.
    pub approval_requests_max: u64,
    /// The size at which the database counts as full; `None` is as large as the disk.
    pub size_max_bytes: Option<u64>,
}

impl Default for SqliteLimits {
    fn default() -> SqliteLimits {
        SqliteLimits {
            waiting_max: 4_096,
            batch_max: 256,
            deadline: Duration::from_secs(5),
            lock_wait: Duration::from_secs(2),
            readers_max: std::thread::available_parallelism().map_or(4, usize::from) + 2,
            scans_max: 64,
            pushed_requests_max: 50_000,
            interactions_max: 50_000,
            approval_requests_max: 50_000,
            size_max_bytes: None,
        }
    }
}

impl SqliteSettings {
    /// Settings with the default limits.
    pub fn new(database: impl Into<PathBuf>, key_file: impl Into<PathBuf>) -> SqliteSettings {
        SqliteSettings {
            database: database.into(),
            key_file: key_file.into(),
            node: "local".into(),
            limits: SqliteLimits::default(),
        }
    }

    /// Reads `store.url`: `sqlite:` and a path, which is relative to `base` (the directory of the configuration file).
    ///
    /// # Errors
    /// [`OpenError::UnsupportedUrl`] for anything else.
    pub fn from_url(url: &str, key_file: impl Into<PathBuf>, base: &Path) -> Result<SqliteSettings, OpenError> {
        let unsupported = |reason| OpenError::UnsupportedUrl {
            url: shown(url),
            reason,
        };
        if url.starts_with("postgres:") || url.starts_with("postgresql:") {
            return Err(unsupported("this version of keybound has no PostgreSQL store yet"));
        }
        let path = url
            .strip_prefix("sqlite:")
            .ok_or_else(|| unsupported("it must begin with \"sqlite:\""))?;
        let path = match path.strip_prefix("//") {
            Some(absolute) if absolute.starts_with('/') => absolute,
            Some(_) => return Err(unsupported("after \"sqlite://\" comes an absolute path")),
            None => path,
        };
        if path.is_empty() {
            return Err(unsupported("the path is missing"));
        }
        // SQLite would take these for a database in memory or for options, and everything would be gone after a
        // restart.
        if path.starts_with(':') || path.contains('?') || path.contains('\0') {
            return Err(unsupported("it names no file"));
        }
        Ok(SqliteSettings::new(base.join(path), key_file))
    }
}

/// A URL without what may be a password in it.
fn shown(url: &str) -> String {
    match (url.find("://"), url.rfind('@')) {
        (Some(scheme), Some(at)) if scheme < at => format!("{}://…{}", &url[..scheme], &url[at..]),
        _ => url.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn reads_store_urls() {
        let check = |url: &str, expected: Option<&str>| {
            let settings = SqliteSettings::from_url(url, "keys.kek", Path::new("/etc/keybound"));
            assert_eq!(
                settings.ok().map(|settings| settings.database),
                expected.map(PathBuf::from),
                "{url}"
            );
        };
        check("sqlite:keybound.db", Some("/etc/keybound/keybound.db"));
        check("sqlite:data/keybound.db", Some("/etc/keybound/data/keybound.db"));
        check("sqlite:/var/lib/keybound.db", Some("/var/lib/keybound.db"));
        check("sqlite:///var/lib/keybound.db", Some("/var/lib/keybound.db"));
        check("sqlite://keybound.db", None);
        check("sqlite:", None);
        check("sqlite::memory:", None);
        check("sqlite:keybound.db?mode=memory", None);
        check("keybound.db", None);
        check("postgres://localhost/keybound", None);
    }

    #[test]
    fn shows_no_password() {
        let error =
            SqliteSettings::from_url("postgres://me:secret@db/keybound", "keys.kek", Path::new(".")).unwrap_err();
        assert!(!error.to_string().contains("secret"), "{error}");
        assert!(error.to_string().contains("PostgreSQL"), "{error}");
    }
}
