//! `keybound certificate`: certificates as RFC 8705 sees them.

pub(crate) mod check;
pub(crate) mod create;
pub(crate) mod inspect;
pub(crate) mod matching;

use std::io::Read;
use std::path::Path;

use keybound_protocol::certificate_file;
use keybound_protocol::peer_certificate::PeerCertificate;

use crate::exit_code::{CommandError, ExitCode};

/// Reads a chain, leaf first, from PEM or one certificate from DER; `-` is standard input.
///
/// Possession of the key is supposed: whoever runs the command on a file asks what would happen if its holder connected.
///
/// # Errors
/// Not found, or not a certificate (exit 1).
pub(crate) fn read_chain(path: &Path) -> Result<PeerCertificate, CommandError> {
    let bytes = read(path)?;
    let mut chain = certificate_file::certificates(&bytes).map_err(|error| {
        CommandError::message(ExitCode::Unexpected, format!("{}: {error}", path.display()))
            .with_fix("a certificate in PEM begins with -----BEGIN CERTIFICATE-----")
    })?;
    let leaf = chain.remove(0);
    Ok(PeerCertificate::suppose_possession(leaf, chain))
}

/// Reads a file, or standard input for `-`.
///
/// # Errors
/// Not found (exit 3), or unreadable.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>, CommandError> {
    let mut bytes = Vec::new();
    let result = if path == Path::new("-") {
        std::io::stdin().lock().read_to_end(&mut bytes).map(|_| ())
    } else {
        std::fs::read(path).map(|content| bytes = content)
    };
    result.map_err(|error| {
        let code = if error.kind() == std::io::ErrorKind::NotFound {
            ExitCode::NotFound
        } else {
            ExitCode::Unexpected
        };
        CommandError::message(code, format!("{}: {error}", path.display()))
    })?;
    Ok(bytes)
}
