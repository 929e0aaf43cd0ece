//! Opens the store that a configuration names; one that cannot be used is a plain sentence with a fix and the right exit code.

use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use keybound_protocol::time::Timestamp;
use keybound_store::{OpenError, SqliteSettings, SqliteStore, Store};
use keybound_tls::operator_file::{self, OperatorFileError};

use crate::configuration::server::StoreFiles;
use crate::exit_code::{CommandError, ExitCode};

/// Opens the database, made if missing, and with it the key file.
///
/// # Errors
/// Unavailable (7) for what passes by itself, such as a lock; else invalid configuration (65).
pub(crate) fn open(files: &StoreFiles, now: Timestamp) -> Result<Store, CommandError> {
    if let Some(secrets) = files
        .key_file
        .parent()
        .filter(|secrets| !secrets.as_os_str().is_empty() && !secrets.exists())
    {
        // A directory for secrets is its owner's from the start.
        let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(secrets);
        made.map_err(|error| {
            CommandError::message(
                ExitCode::InvalidConfiguration,
                format!("cannot make {}: {error}", secrets.display()),
            )
        })?;
    }
    for file in [&files.database, &files.key_file] {
        refuse_what_is_no_file(file)?;
    }
    SqliteStore::open(&SqliteSettings::new(&files.database, &files.key_file), now).map_err(cannot_open)
}

/// What is not there yet is made, and what cannot be opened is explained, by the store.
fn refuse_what_is_no_file(path: &Path) -> Result<(), CommandError> {
    match operator_file::open(path) {
        Err(error @ OperatorFileError::NotAFile { .. }) => {
            let fix = error.fix().unwrap_or_default();
            Err(CommandError::new(ExitCode::InvalidConfiguration, error).with_fix(fix))
        }
        _ => Ok(()),
    }
}

fn cannot_open(error: OpenError) -> CommandError {
    // Whoever tries again after 7 must have a chance.
    let code = match error.is_temporary() {
        true => ExitCode::Unavailable,
        false => ExitCode::InvalidConfiguration,
    };
    let fix = error.fix();
    CommandError::new(code, error).with_fix(fix)
}
