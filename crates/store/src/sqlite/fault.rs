//! What can go wrong inside a verb, before it becomes a [`StoreError`].

use rusqlite::ErrorCode;

use crate::StoreError;

/// Why a verb failed: SQLite, or a row that is not what we wrote.
#[derive(Debug)]
pub(super) enum Fault {
    /// SQLite said no.
    Sqlite(rusqlite::Error),
    /// A row can't be read as what we wrote.
    Corrupt { what: &'static str, reason: String },
    /// What was to be written can't be put into words (JSON, encryption): nothing was written.
    Unwritable { what: &'static str, reason: String },
}

impl Fault {
    /// A row of `what` that can't be read.
    pub(super) fn corrupt(what: &'static str, reason: impl std::fmt::Display) -> Fault {
        Fault::Corrupt {
            what,
            reason: reason.to_string(),
        }
    }

    /// A `what` that can't be written.
    pub(super) fn unwritable(what: &'static str, reason: impl std::fmt::Display) -> Fault {
        Fault::Unwritable {
            what,
            reason: reason.to_string(),
        }
    }

    /// True if the connection itself may be broken: it is opened anew before it is used again. After a failed flush
    /// SQLite's and the kernel's ideas of what is on the disk may differ, and a new connection starts from what is
    /// really there.
    pub(super) fn spoils_connection(&self) -> bool {
        match self {
            Fault::Sqlite(error) => !matches!(
                error.sqlite_error_code(),
                Some(
                    ErrorCode::DatabaseBusy
                        | ErrorCode::DatabaseLocked
                        | ErrorCode::DiskFull
                        | ErrorCode::OperationInterrupted
                )
            ),
            Fault::Corrupt { .. } | Fault::Unwritable { .. } => false,
        }
    }

    /// What the caller is told. The text is for operators.
    pub(super) fn to_store_error(&self) -> StoreError {
        match self {
            Fault::Sqlite(error) => StoreError::Unavailable {
                reason: describe(error),
            },
            Fault::Corrupt { what, reason } => StoreError::Corrupt {
                what,
                reason: reason.clone(),
            },
            Fault::Unwritable { what, reason } => StoreError::Unavailable {
                reason: format!("{what}: {reason}"),
            },
        }
    }
}

/// SQLite's sentence, with ours before it where an operator can act on it.
pub(super) fn describe(error: &rusqlite::Error) -> String {
    match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => format!("the disk (or the configured size limit) is full: {error}"),
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
            format!("another process holds the database's lock: {error}")
        }
        Some(ErrorCode::SystemIoFailure) => format!("the disk reported an error: {error}"),
        _ => error.to_string(),
    }
}

impl From<rusqlite::Error> for Fault {
    fn from(error: rusqlite::Error) -> Fault {
        Fault::Sqlite(error)
    }
}
