//! As whom a command acts: a client (`--client DIR|FILE` or the single options) or an administrator (`admin.toml`).
//!
//! Both are the same thing on disk, a `client.toml` beside a certificate and a key; an administrator is a client whose
//! registered scope opens the admin API.

use std::path::{Path, PathBuf};

use keybound_tls::{Identity, OperatorFileError, PemError, Roots};
use url::Url;

use crate::arguments::{ActingAdmin, ActingClient};
use crate::configuration::value::{existing_file, https_url, identity};
use crate::configuration::{self, Base, Reading};
use crate::exit_code::{CommandError, ExitCode};

/// A client's own view of itself: whom it asks, as whom, with which certificate.
#[derive(Debug, Clone)]
pub(crate) struct ClientProfile {
    /// The authorization server's issuer identifier.
    pub issuer: String,
    /// Sent with every request (RFC 8705 §2).
    pub client_id: String,
    /// Presented in every handshake; absent for a client that has none.
    pub identity: Option<Identity>,
    /// Whom to believe that a server is who it says.
    pub roots: Roots,
    /// Where the admin API is, when that is not beside the mutual-TLS token endpoint.
    pub admin_api: Option<Url>,
}

impl ClientProfile {
    /// The client that the options name.
    ///
    /// # Errors
    /// Usage, if options are missing; invalid configuration, if a named file is wrong.
    pub(crate) fn from_arguments(arguments: &ActingClient) -> Result<Self, CommandError> {
        let profile = match &arguments.client {
            Some(path) => Some(Self::load(&client_file(path))?),
            None => None,
        };
        let identity = match (&arguments.certificate, &arguments.key) {
            (Some(certificate), Some(key)) => Some(Identity::from_pem_files(certificate, key).map_err(unusable)?),
            (None, None) => None,
            _ => {
                return Err(CommandError::message(
                    ExitCode::Usage,
                    "--certificate and --key go together",
                ));
            }
        };
        let roots = match &arguments.ca {
            Some(ca) => Some(Roots::from_pem_files(std::slice::from_ref(ca)).map_err(unusable)?),
            None => None,
        };
        let missing = || {
            CommandError::message(
                ExitCode::Usage,
                "which client? Neither --client nor --issuer and --client-id is given",
            )
            .with_fix("--client DIR, where DIR holds client.toml, cert.pem and key.pem")
        };
        // An option on the command line wins over the file.
        Ok(match profile {
            Some(profile) => Self {
                issuer: arguments.issuer.clone().unwrap_or(profile.issuer),
                client_id: arguments.client_id.clone().unwrap_or(profile.client_id),
                identity: identity.or(profile.identity),
                roots: roots.unwrap_or(profile.roots),
                admin_api: profile.admin_api,
            },
            None => Self {
                issuer: arguments.issuer.clone().ok_or_else(missing)?,
                client_id: arguments.client_id.clone().ok_or_else(missing)?,
                identity,
                roots: match roots {
                    Some(roots) => roots,
                    None => Roots::system().map_err(unusable)?,
                },
                admin_api: None,
            },
        })
    }

    /// The administrator of `--admin`, `KEYBOUND_ADMIN` or `./admin.toml`.
    ///
    /// # Errors
    /// Not found, if there is no such file; invalid configuration, if it is wrong.
    pub(crate) fn from_admin_arguments(arguments: &ActingAdmin) -> Result<Self, CommandError> {
        Self::load(&arguments.admin).map_err(|error| match error.code {
            ExitCode::NotFound => {
                error.with_fix("--admin FILE or KEYBOUND_ADMIN names the admin.toml that `keybound init` wrote")
            }
            _ => error,
        })
    }

    /// Reads a `client.toml` or `admin.toml`.
    ///
    /// # Errors
    /// As above.
    pub(crate) fn load(path: &Path) -> Result<Self, CommandError> {
        let reading = read(path).map_err(|error| {
            let (code, fix) = match error.is_not_found() {
                true => (ExitCode::NotFound, None),
                false => (ExitCode::InvalidConfiguration, error.fix()),
            };
            let error = CommandError::new(code, error);
            match fix {
                Some(fix) => error.with_fix(fix),
                None => error,
            }
        })?;
        Ok(reading.into_result()?)
    }
}

fn client_file(path: &Path) -> PathBuf {
    if path.is_dir() {
        path.join("client.toml")
    } else {
        path.to_path_buf()
    }
}

fn unusable(error: PemError) -> CommandError {
    let fix = match &error {
        PemError::File(error) => error.fix(),
        _ => None,
    };
    let error = CommandError::new(ExitCode::InvalidConfiguration, error);
    match fix {
        Some(fix) => error.with_fix(fix),
        None => error,
    }
}

fn read(path: &Path) -> Result<Reading<ClientProfile>, OperatorFileError> {
    // No environment: these files belong to one client each, and a process may act as several.
    configuration::read(path, &[], |document, base: &Base| {
        let root = document.root();
        let issuer = root.required_parsed("issuer", |text| https_url(text).map(|_| text.to_owned()));
        let client_id = root.required("client_id");
        let identity = if root.contains("certificate") || root.contains("key") {
            identity(&root, base).map(Some)
        } else {
            for key in ["certificate", "key"] {
                let _ = root.string(key);
            }
            Some(None)
        };
        let roots = if root.contains("ca") {
            existing_file(&root, base, "ca").and_then(|file| match Roots::from_pem_files(&[file.value]) {
                Ok(roots) => Some(roots),
                Err(error) => {
                    root.report(configuration::diagnostic::Diagnostic::error(
                        "C020",
                        &file.location,
                        error.to_string(),
                    ));
                    None
                }
            })
        } else {
            let _ = root.string("ca");
            Roots::system().ok()
        };
        let admin_api = root.parsed("admin_api", https_url);
        root.finish();
        Some(ClientProfile {
            issuer: issuer?.value,
            client_id: client_id?.value,
            identity: identity?,
            roots: roots?,
            admin_api: admin_api.map(|located| located.value),
        })
    })
}
