//! `keybound certificate`: certificates as RFC 8705 sees them.

pub(crate) mod check;
pub(crate) mod create;
pub(crate) mod inspect;
pub(crate) mod matching;

use std::path::Path;

use keybound_protocol::certificate_file;
use keybound_protocol::peer_certificate::PeerCertificate;
use keybound_tls::operator_file::{self, OPERATOR_FILE_BYTES_MAX, OperatorFileError};

use crate::exit_code::{CommandError, ExitCode};

/// Reads a chain, leaf first, from PEM or one certificate from DER; `-` is standard input.
///
/// Possession of the key is supposed: whoever runs the command on a file asks what would happen if its holder connected.
///
/// # Errors
/// Not found, or not a certificate (exit 2).
pub(crate) fn read_chain(path: &Path) -> Result<PeerCertificate, CommandError> {
    let bytes = read(path, OPERATOR_FILE_BYTES_MAX)?;
    let mut chain = certificate_file::certificates(&bytes).map_err(|error| {
        CommandError::message(ExitCode::Usage, format!("{}: {error}", path.display()))
            .with_fix("a certificate in PEM begins with -----BEGIN CERTIFICATE-----")
    })?;
    let leaf = chain.remove(0);
    Ok(PeerCertificate::suppose_possession(leaf, chain))
}

/// Reads a file that an argument names, or standard input for `-`, of at most `bytes_max` bytes.
///
/// # Errors
/// Not found (exit 3), no file or too long (2), or unreadable.
pub(crate) fn read(path: &Path, bytes_max: u64) -> Result<Vec<u8>, CommandError> {
    let result = if path == Path::new("-") {
        operator_file::read_from(std::io::stdin().lock(), "standard input", bytes_max)
    } else {
        operator_file::read(path, bytes_max)
    };
    result.map_err(|error| {
        let (code, fix) = match &error {
            OperatorFileError::Unreadable { .. } if error.is_not_found() => (ExitCode::NotFound, None),
            OperatorFileError::Unreadable { .. } => (ExitCode::Unexpected, None),
            _ => (ExitCode::Usage, error.fix()),
        };
        let error = CommandError::new(code, error);
        match fix {
            Some(fix) => error.with_fix(fix),
            None => error,
        }
    })
}
