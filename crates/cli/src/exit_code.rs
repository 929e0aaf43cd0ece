//! How the process ends: a closed set of exit codes, and the error that carries one.

use std::fmt;

use crate::configuration::InvalidConfiguration;

/// The documented exit codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum ExitCode {
    /// Done.
    Ok = 0,
    /// Something that should not happen.
    Unexpected = 1,
    /// The command line makes no sense.
    Usage = 2,
    /// What was asked for is not there.
    NotFound = 3,
    /// It is there already, changed meanwhile, or a port is taken.
    Conflict = 4,
    /// The other side's policy says no.
    Refused = 5,
    /// Network or TLS.
    Network = 6,
    /// Try again.
    Unavailable = 7,
    /// It took too long.
    TimedOut = 8,
    /// `certificate check`: expires soon.
    Expiring = 20,
    /// `certificate check`: no longer, or not yet, valid.
    Expired = 21,
    /// `certificate check`: revoked.
    Revoked = 22,
    /// `certificate check`: no path to a trusted authority.
    Untrusted = 23,
    /// The configuration has errors.
    InvalidConfiguration = 65,
    /// Ctrl-C.
    Interrupted = 130,
}

impl From<ExitCode> for std::process::ExitCode {
    fn from(code: ExitCode) -> Self {
        Self::from(code as u8)
    }
}

/// A command's failure: what is said and how the process ends.
#[derive(Debug)]
pub(crate) struct CommandError {
    /// How the process ends.
    pub code: ExitCode,
    /// What went wrong, in a plain sentence.
    pub cause: anyhow::Error,
    /// What would mend it.
    pub fix: Option<String>,
}

/// What a command returns.
pub(crate) type CommandResult = Result<ExitCode, CommandError>;

impl CommandError {
    /// An error that ends the process with `code`.
    pub(crate) fn new(code: ExitCode, cause: impl Into<anyhow::Error>) -> Self {
        Self {
            code,
            cause: cause.into(),
            fix: None,
        }
    }

    /// An error from a sentence.
    pub(crate) fn message(code: ExitCode, sentence: impl fmt::Display) -> Self {
        Self::new(code, anyhow::anyhow!("{sentence}"))
    }

    /// The same with advice.
    pub(crate) fn with_fix(mut self, fix: impl Into<String>) -> Self {
        self.fix = Some(fix.into());
        self
    }
}

impl From<anyhow::Error> for CommandError {
    fn from(cause: anyhow::Error) -> Self {
        Self::new(ExitCode::Unexpected, cause)
    }
}

impl From<std::io::Error> for CommandError {
    fn from(cause: std::io::Error) -> Self {
        Self::new(ExitCode::Unexpected, cause)
    }
}

impl From<InvalidConfiguration> for CommandError {
    fn from(cause: InvalidConfiguration) -> Self {
        Self::new(ExitCode::InvalidConfiguration, cause)
    }
}
