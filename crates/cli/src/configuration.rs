//! The two configuration files: `keybound.toml` and `gateway.toml`.
//!
//! Read in this order: [`document`] (TOML with places), [`server`] and [`gateway`] (which keys exist and what they mean; tables with
//! rules of their own are in [`limits`], [`authorization`], [`trust_anchors`], [`registration`] and [`forwarded_certificate`]), [`diagnostic`] (how a mistake is shown). Reading never touches the network; it does open the files it names, because a
//! key that does not match its certificate is a configuration error and not a surprise at the first handshake.

pub(crate) mod authorization;
pub(crate) mod diagnostic;
pub(crate) mod document;
pub(crate) mod forwarded_certificate;
pub(crate) mod gateway;
pub(crate) mod limits;
pub(crate) mod registration;
pub(crate) mod server;
pub(crate) mod token_exchange;
pub(crate) mod trust_anchors;
pub(crate) mod upstream_providers;
pub(crate) mod value;

use std::path::{Path, PathBuf};

use diagnostic::{Diagnostic, Severity};
use document::{Document, ENVIRONMENT_PREFIX};
use keybound_tls::operator_file::{self, OPERATOR_FILE_BYTES_MAX, OperatorFileError};

/// A configuration that was read: the value if nothing stands in its way, and all that was found.
#[derive(Debug)]
pub(crate) struct Reading<T> {
    /// Present when there is no error.
    pub value: Option<T>,
    /// Errors and warnings in the order of the file.
    pub findings: Vec<Diagnostic>,
}

impl<T> Reading<T> {
    /// The value, or the errors.
    ///
    /// # Errors
    /// All findings, if at least one is an error.
    pub(crate) fn into_result(self) -> Result<T, InvalidConfiguration> {
        self.into_result_with_warnings().map(|(value, _)| value)
    }

    /// The same, for daemons: what is probably not meant belongs into their log.
    ///
    /// # Errors
    /// All findings, if at least one is an error.
    pub(crate) fn into_result_with_warnings(self) -> Result<(T, Vec<Diagnostic>), InvalidConfiguration> {
        match self.value {
            Some(value) => Ok((value, self.findings)),
            None => Err(InvalidConfiguration {
                findings: self.findings,
            }),
        }
    }
}

/// The configuration has at least one error.
#[derive(Debug, thiserror::Error)]
#[error("{} in the configuration", count(.findings))]
pub(crate) struct InvalidConfiguration {
    /// Every finding, not only the first.
    pub findings: Vec<Diagnostic>,
}

/// `2 errors, 1 warning`.
pub(crate) fn count(findings: &[Diagnostic]) -> String {
    let errors = findings
        .iter()
        .filter(|finding| finding.severity == Severity::Error)
        .count();
    let warnings = findings.len() - errors;
    let plural = |number: usize, noun: &str| format!("{number} {noun}{}", if number == 1 { "" } else { "s" });
    match (errors, warnings) {
        (_, 0) => plural(errors, "error"),
        (0, _) => plural(warnings, "warning"),
        _ => format!("{}, {}", plural(errors, "error"), plural(warnings, "warning")),
    }
}

/// The variables that override keys, from this process's environment.
pub(crate) fn environment() -> Vec<(String, String)> {
    std::env::vars()
        .filter(|(name, _)| name.starts_with(ENVIRONMENT_PREFIX))
        .collect()
}

/// Reads one file: its text becomes a document, `interpret` takes the keys out of it.
///
/// # Errors
/// If the file cannot be read at all.
pub(crate) fn read<T>(
    path: &Path,
    environment: &[(String, String)],
    interpret: impl FnOnce(&Document, &Base) -> Option<T>,
) -> Result<Reading<T>, OperatorFileError> {
    Ok(parse(path, &read_text(path)?, environment, interpret))
}

/// The text of a configuration file.
///
/// # Errors
/// If it cannot be read at all.
pub(crate) fn read_text(path: &Path) -> Result<String, OperatorFileError> {
    operator_file::read_text(path, OPERATOR_FILE_BYTES_MAX)
}

/// Reads a file whose text is at hand: one that came through a pipe is there only once.
pub(crate) fn parse<T>(
    path: &Path,
    text: &str,
    environment: &[(String, String)],
    interpret: impl FnOnce(&Document, &Base) -> Option<T>,
) -> Reading<T> {
    let document = Document::parse(&path.display().to_string(), text, environment);
    let directory = path.parent().map(Path::to_path_buf).unwrap_or_default();
    // What a parser makes of a file after a slip is not what its author wrote: everything else would be found missing there.
    let value = match document.is_broken() {
        true => None,
        false => interpret(&document, &Base(directory)),
    };
    let findings = document.into_findings();
    let invalid = findings.iter().any(|finding| finding.severity == Severity::Error);
    Reading {
        value: value.filter(|_| !invalid),
        findings,
    }
}

/// The directory that relative paths in a file are relative to: the file's own.
#[derive(Debug, Clone, Default)]
pub(crate) struct Base(PathBuf);

impl Base {
    /// The path as this process can open it.
    pub(crate) fn resolve(&self, path: &str) -> PathBuf {
        self.0.join(path)
    }
}
