//! Commands that are printed for people to copy: they have to work as they stand.

use std::ffi::OsStr;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use keybound_protocol::refusal::{RefusalId, RefusalSource};

use crate::arguments::DEFAULT_GATEWAY_OPERATIONS;
use crate::configuration::{self, gateway};

/// This program as the shell of its caller would find it: `keybound` if that is what PATH has, else the word it was called by.
pub(crate) fn program() -> String {
    let called = std::env::args_os().next().unwrap_or_default();
    if is_on_path() || called.is_empty() {
        "keybound".to_owned()
    } else {
        word(Path::new(&called))
    }
}

fn is_on_path() -> bool {
    let (Ok(this), Some(path)) = (
        std::env::current_exe().and_then(std::fs::canonicalize),
        std::env::var_os("PATH"),
    ) else {
        return false;
    };
    // Only the first counts: an older one before this hides it.
    let found =
        std::env::split_paths(&path).find_map(|directory| std::fs::canonicalize(directory.join("keybound")).ok());
    found.is_some_and(|found| found == this)
}

/// `path` as one word of a shell's command.
pub(crate) fn word(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._/:@%+=,".contains(&byte);
    if !text.is_empty() && text.bytes().all(plain) {
        text
    } else {
        format!("'{}'", text.replace('\'', "'\\''"))
    }
}

/// The files of an installation that a command needs besides the client's own.
#[derive(Debug, Clone)]
pub(crate) struct Surroundings {
    directory: PathBuf,
}

impl Surroundings {
    /// The installation in `directory`; empty is the current one.
    pub(crate) fn of(directory: &Path) -> Self {
        Self {
            directory: directory.to_path_buf(),
        }
    }

    /// The installation that a client's directory or file, as `quickstart` lays them out, is part of: `DIR/clients/NAME`.
    pub(crate) fn of_client(client: &Path) -> Option<Self> {
        let client = if client.is_dir() { client } else { client.parent()? };
        let directory = match client.parent()? {
            clients if clients.file_name() == Some(OsStr::new("clients")) => clients.parent()?.to_path_buf(),
            // Said from inside: `--client demo`.
            _ => client.join("../.."),
        };
        directory.join("admin.toml").exists().then_some(Self { directory })
    }

    /// `--admin FILE`, also where that is the default: `KEYBOUND_ADMIN` may say otherwise.
    pub(crate) fn admin_option(&self) -> String {
        format!(" --admin {}", word(&self.directory.join("admin.toml")))
    }

    /// The operations listener of the gateway that lies here.
    fn gateway_operations(&self) -> Option<SocketAddr> {
        let reading = gateway::load(&self.directory.join("gateway.toml"), &configuration::environment()).ok()?;
        Some(reading.into_result().ok()?.operations)
    }
}

/// `keybound explain ID` with what it needs to find the record.
pub(crate) fn explain(id: &str, surroundings: Option<&Surroundings>) -> String {
    let options = match (RefusalId::parse(id).map(|id| id.source()), surroundings) {
        (Ok(RefusalSource::AuthorizationServer), Some(surroundings)) => surroundings.admin_option(),
        (Ok(RefusalSource::Gateway), Some(surroundings)) => match surroundings.gateway_operations() {
            Some(address) => gateway_option(address),
            None => String::new(),
        },
        _ => String::new(),
    };
    format!("{} explain {id}{options}", program())
}

fn gateway_option(address: SocketAddr) -> String {
    let url = format!("http://{address}");
    if url == DEFAULT_GATEWAY_OPERATIONS {
        String::new()
    } else {
        format!(" --gateway {url}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_stays_one_word() {
        for (path, expected) in [
            ("clients/demo", "clients/demo"),
            ("my files/demo", "'my files/demo'"),
            ("it's", "'it'\\''s'"),
            ("$HOME", "'$HOME'"),
            ("", "''"),
        ] {
            assert_eq!(word(Path::new(path)), expected);
        }
    }

    #[test]
    fn the_usual_place_needs_no_option() {
        for (address, expected) in [
            ("127.0.0.1:9445", ""),
            ("127.0.0.1:9545", " --gateway http://127.0.0.1:9545"),
        ] {
            assert_eq!(address.parse().map(gateway_option), Ok(expected.to_owned()));
        }
    }
}
