//! Files with tokens: the text alone, or the answer of `token get --output json`.

use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::Context;
use keybound_tls::OPERATOR_FILE_BYTES_MAX;
use serde_json::Value;

use crate::certificate;
use crate::exit_code::{CommandError, ExitCode};

/// What a token file holds.
pub(super) struct TokenFile {
    path: PathBuf,
    /// The members of an answer; `None` where the file is the token alone.
    answer: Option<Value>,
    text: String,
}

impl TokenFile {
    /// Reads a file, or standard input for `-`.
    ///
    /// # Errors
    /// Not found, or usage where it is something else than a token.
    pub(super) fn read(path: &Path) -> Result<Self, CommandError> {
        let octets = certificate::read(path, OPERATOR_FILE_BYTES_MAX)?;
        let text = String::from_utf8_lossy(&octets).trim().to_owned();
        let answer = match text.starts_with('{') {
            true => Some(
                serde_json::from_str(&text)
                    .map_err(|error| CommandError::message(ExitCode::Usage, format!("{}: {error}", path.display())))?,
            ),
            false => None,
        };
        Ok(Self {
            path: path.to_path_buf(),
            answer,
            text,
        })
    }

    /// The token: the first of `members` that an answer has, or all of the text.
    ///
    /// # Errors
    /// Usage, if there is none.
    pub(super) fn token(&self, members: &[&str]) -> Result<&str, CommandError> {
        let token = match &self.answer {
            Some(answer) => members.iter().find_map(|member| answer.get(member)?.as_str()),
            None => Some(self.text.as_str()).filter(|text| !text.is_empty()),
        };
        token.ok_or_else(|| {
            let members = members.join(" or ");
            CommandError::message(
                ExitCode::Usage,
                format!("{}: there is no {members} in it", self.path.display()),
            )
        })
    }

    /// Whether it came from standard input, so that nothing can be written back.
    pub(super) fn is_standard_input(path: &Path) -> bool {
        path == Path::new("-")
    }

    /// Replaces the file by one with the successor of a rotated refresh token: `answer` where it was an answer, the token alone else.
    ///
    /// # Errors
    /// If it cannot be written; the old file is then as it was.
    pub(super) fn replace(&self, successor: &str, answer: &Value) -> Result<(), CommandError> {
        let text = match self.answer {
            Some(_) => answer.to_string(),
            None => successor.to_owned(),
        };
        let mut name = self.path.file_name().unwrap_or_default().to_owned();
        name.push(format!(".{}.new", std::process::id()));
        let temporary = self.path.with_file_name(name);
        let write = || {
            let mut file = std::fs::OpenOptions::new()
                .write(true)
                .create_new(true)
                .mode(0o600)
                .open(&temporary)?;
            writeln!(file, "{text}")?;
            file.sync_all()?;
            std::fs::rename(&temporary, &self.path)
        };
        let written = write().with_context(|| {
            format!(
                "the refresh token was rotated, and its successor cannot be written to {}",
                self.path.display()
            )
        });
        Ok(written?)
    }
}
