//! Why a store could not be opened ([`OpenError`]) or did not answer ([`StoreError`]).

use std::path::PathBuf;

/// Why a verb was not answered. Always "ask again later": HTTP 503 with `Retry-After`.
///
/// Whatever a verb was to spend counts as spent after an error, and whatever it was to issue was not issued: the
/// commit may have become durable although its answer was lost.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// The database failed: disk full, I/O error, another process holds its lock.
    #[error("the database is unavailable: {reason}")]
    Unavailable {
        /// What SQLite or the operating system said. For operators.
        reason: String,
    },
    /// More is waiting to be written than the queue holds.
    #[error("the database has {waiting_max} writes waiting; refusing more")]
    Overloaded {
        /// The limit that was reached.
        waiting_max: usize,
    },
    /// No answer by the deadline. The write may or may not happen.
    #[error("the database did not answer within {limit_ms} ms")]
    DeadlineExceeded {
        /// The deadline that passed.
        limit_ms: u64,
    },
    /// A row can't be read as what we wrote.
    #[error("the database holds a {what} that cannot be read: {reason}")]
    Corrupt {
        /// Which noun.
        what: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// The store has been closed.
    #[error("the store is closed")]
    Closed,
}

/// Why a store could not be opened. Each is one sentence that names the file; [`fix`](OpenError::fix) is what to do
/// about it.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// `store.url` is not one that this build can open.
    #[error("store.url {url:?} is not understood: {reason}")]
    UnsupportedUrl {
        /// As configured.
        url: String,
        /// Why.
        reason: &'static str,
    },
    /// The directory of the database does not exist.
    #[error("the directory {} for the database does not exist", path.display())]
    DirectoryMissing {
        /// The directory.
        path: PathBuf,
    },
    /// The file or its directory can't be written.
    #[error("the database {} is read-only: {reason}", path.display())]
    ReadOnly {
        /// The database, or its directory.
        path: PathBuf,
        /// What the operating system or SQLite said.
        reason: String,
    },
    /// Another process holds the database's lock.
    #[error("the database {} is locked by another process", path.display())]
    Locked {
        /// The database.
        path: PathBuf,
    },
    /// The file is something else, or damaged.
    #[error("{} is not a Keybound database, or it is damaged: {reason}", path.display())]
    NotADatabase {
        /// The file.
        path: PathBuf,
        /// What SQLite said.
        reason: String,
    },
    /// The database was written by a newer version of this program.
    #[error(
        "the database {} has schema version {found}; this version of keybound knows up to {known}",
        path.display()
    )]
    SchemaNewer {
        /// The database.
        path: PathBuf,
        /// Its schema version.
        found: u32,
        /// The newest we know.
        known: u32,
    },
    /// A migration on record is not the one we have under its number.
    #[error(
        "the database {} was migrated by a different build: step {version} is not the one this build has",
        path.display()
    )]
    SchemaDiffers {
        /// The database.
        path: PathBuf,
        /// The step.
        version: u32,
    },
    /// The key file does not exist although the database holds what was encrypted under it.
    #[error("the key file {} does not exist, and the database holds keys encrypted under it", path.display())]
    KeyFileMissing {
        /// The key file.
        path: PathBuf,
    },
    /// The key file can't be read or made.
    #[error("the key file {} cannot be used: {reason}", path.display())]
    KeyFileUnusable {
        /// The key file.
        path: PathBuf,
        /// What the operating system said.
        reason: String,
    },
    /// Others than its owner may read the key file.
    #[error("the key file {} has mode {mode:04o}: others than its owner can use it", path.display())]
    KeyFileMode {
        /// The key file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The file is not a key file.
    #[error("{} is not a key file: {reason}", path.display())]
    KeyFileMalformed {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The key file belongs to another database.
    #[error("the key file {} is not the one of the database {}", path.display(), database.display())]
    KeyFileWrong {
        /// The key file.
        path: PathBuf,
        /// The database.
        database: PathBuf,
    },
    /// Anything else: no space, an I/O error.
    #[error("the database {} cannot be opened: {reason}", path.display())]
    Failed {
        /// The database.
        path: PathBuf,
        /// What SQLite or the operating system said.
        reason: String,
    },
}

impl OpenError {
    /// What the operator can do about it, in one sentence.
    pub fn fix(&self) -> String {
        match self {
            OpenError::UnsupportedUrl { .. } => "write store.url = \"sqlite:keybound.db\"".into(),
            OpenError::DirectoryMissing { path } => format!("create it: mkdir -p {}", path.display()),
            OpenError::ReadOnly { path, .. } => format!(
                "give the user that runs keybound write access to {} and to its directory, on a file system that is mounted read-write",
                path.display()
            ),
            OpenError::Locked { path } => format!(
                "end the other program that has {} open for writing (`fuser {}` names it), then start again",
                path.display(),
                path.display()
            ),
            OpenError::NotADatabase { .. } => {
                "point store.url at a Keybound database, or move this file away and restore a backup".into()
            }
            OpenError::SchemaNewer { .. } => {
                "run the newer version of keybound, or restore the backup made before it was installed".into()
            }
            OpenError::SchemaDiffers { .. } => "run the build that migrated it, or restore a backup".into(),
            OpenError::KeyFileMissing { path } => format!(
                "put the key file back at {}, from where your secrets are backed up; without it the signing keys are lost",
                path.display()
            ),
            OpenError::KeyFileUnusable { path, .. } => format!(
                "check that the directory of {} exists and that the user that runs keybound can read it",
                path.display()
            ),
            OpenError::KeyFileMode { path, .. } => format!("chmod 600 {}", path.display()),
            OpenError::KeyFileMalformed { .. } => {
                "point store.key_file at the file that `keybound init` wrote, or put it back from a backup".into()
            }
            OpenError::KeyFileWrong { path, .. } => format!(
                "point store.key_file at the key file that this database was made with, instead of {}",
                path.display()
            ),
            OpenError::Failed { .. } => "check the disk's free space and the system log".into(),
        }
    }

    /// True if the same call may succeed later without anybody changing anything: exit code 7 instead of 65.
    pub fn is_temporary(&self) -> bool {
        matches!(self, OpenError::Locked { .. } | OpenError::Failed { .. })
    }
}
