//! As whom a command acts: a client (`--client DIR|FILE` or the single options) or an administrator (`admin.toml`).
//!
//! Both are the same thing on disk, a `client.toml` beside a certificate and a key; an administrator is a client whose
//! registered scope opens the admin API.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use keybound_protocol::authentication_method::AuthenticationMethod;
use keybound_protocol::signer::LocalSigner;
use keybound_tls::{Identity, OperatorFileError, PemError, Roots};
use url::Url;

use crate::arguments::{ActingAdmin, ActingClient};
use crate::configuration::value::{existing_file, https_url, identity};
use crate::configuration::{self, Base, Reading};
use crate::exit_code::{CommandError, ExitCode};
use crate::signing_key;

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
    /// Where those came from; `None`: the system's.
    pub ca: Option<PathBuf>,
    /// How it authenticates; `None`: by its certificate.
    pub token_endpoint_auth_method: Option<AuthenticationMethod>,
    /// What signs its assertions and request objects.
    pub signing_key: Option<Arc<LocalSigner>>,
    /// Where that lies.
    pub signing_key_file: Option<PathBuf>,
    /// What its tokens are bound to by DPoP (RFC 9449); `None`: to its certificate, or to nothing.
    pub dpop_key: Option<Arc<LocalSigner>>,
    /// Where that lies.
    pub dpop_key_file: Option<PathBuf>,
    /// Whether it goes to the aliases without a certificate as well (FAPI 2.0 §5.2.2.1).
    pub use_mtls_endpoint_aliases: bool,
    /// Whether it signs its requests though the server does not insist.
    pub require_signed_request_object: bool,
    /// Whether TLS 1.2 is refused.
    pub tls13_only: bool,
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
        let method = match &arguments.token_endpoint_auth_method {
            Some(name) => Some(method(name).map_err(|error| CommandError::message(ExitCode::Usage, error))?),
            None => None,
        };
        let private_key = |file: &Option<PathBuf>| match file {
            Some(file) => signing_key::read(file)
                .map(Some)
                .map_err(|error| CommandError::new(ExitCode::InvalidConfiguration, error)),
            None => Ok(None),
        };
        let signing_key = private_key(&arguments.signing_key)?;
        let dpop_key = private_key(&arguments.dpop_key)?;
        let missing = || {
            CommandError::message(
                ExitCode::Usage,
                "which client? Neither --client nor --issuer and --client-id is given",
            )
            .with_fix("--client DIR, where DIR holds client.toml, cert.pem and key.pem")
        };
        // An option on the command line wins over the file.
        let mut acting = match profile {
            Some(profile) => Self {
                issuer: arguments.issuer.clone().unwrap_or(profile.issuer),
                client_id: arguments.client_id.clone().unwrap_or(profile.client_id),
                identity: identity.or(profile.identity),
                roots: roots.unwrap_or(profile.roots),
                ca: arguments.ca.clone().or(profile.ca),
                token_endpoint_auth_method: method.or(profile.token_endpoint_auth_method),
                signing_key: signing_key.or(profile.signing_key),
                signing_key_file: arguments.signing_key.clone().or(profile.signing_key_file),
                dpop_key: dpop_key.or(profile.dpop_key),
                dpop_key_file: arguments.dpop_key.clone().or(profile.dpop_key_file),
                ..profile
            },
            None => Self {
                issuer: arguments.issuer.clone().ok_or_else(missing)?,
                client_id: arguments.client_id.clone().ok_or_else(missing)?,
                identity,
                roots: match roots {
                    Some(roots) => roots,
                    None => Roots::system().map_err(unusable)?,
                },
                ca: arguments.ca.clone(),
                token_endpoint_auth_method: method,
                signing_key,
                signing_key_file: arguments.signing_key.clone(),
                dpop_key,
                dpop_key_file: arguments.dpop_key.clone(),
                use_mtls_endpoint_aliases: false,
                require_signed_request_object: false,
                tls13_only: false,
                admin_api: None,
            },
        };
        acting.use_mtls_endpoint_aliases |= arguments.use_mtls_endpoint_aliases;
        acting.tls13_only |= arguments.tls13_only;
        Ok(acting)
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

/// The method of a registered name, if a client of this program can use it.
fn method(name: &str) -> Result<AuthenticationMethod, String> {
    match AuthenticationMethod::from_name(name) {
        Some(method) if !method.has_secret() => Ok(method),
        Some(_) => Err(format!("{name}: this program keeps no client secrets")),
        None => Err(format!("{name}: not a registered authentication method")),
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
        let mut ca = None;
        let roots = if root.contains("ca") {
            existing_file(&root, base, "ca").and_then(|file| {
                match Roots::from_pem_files(std::slice::from_ref(&file.value)) {
                    Ok(roots) => {
                        ca = Some(file.value);
                        Some(roots)
                    }
                    Err(error) => {
                        root.report(configuration::diagnostic::Diagnostic::error(
                            "C020",
                            &file.location,
                            error.to_string(),
                        ));
                        None
                    }
                }
            })
        } else {
            let _ = root.string("ca");
            Roots::system().ok()
        };
        let admin_api = root.parsed("admin_api", https_url);
        let token_endpoint_auth_method = root.parsed("token_endpoint_auth_method", method);
        let use_mtls_endpoint_aliases = root.boolean("use_mtls_endpoint_aliases", false).value;
        let require_signed_request_object = root.boolean("require_signed_request_object", false).value;
        let tls13_only = root.boolean("tls13_only", false).value;
        let key_of = |name: &'static str| {
            if !root.contains(name) {
                let _ = root.string(name);
                return None;
            }
            let file = existing_file(&root, base, name)?;
            match signing_key::read(&file.value) {
                Ok(signer) => Some((signer, file.value)),
                Err(error) => {
                    let message = format!("{error:#}");
                    root.report(configuration::diagnostic::Diagnostic::error(
                        "C021",
                        &file.location,
                        message,
                    ));
                    None
                }
            }
        };
        let (signing_key, signing_key_file) = key_of("signing_key").unzip();
        let (dpop_key, dpop_key_file) = key_of("dpop_key").unzip();
        root.finish();
        Some(ClientProfile {
            issuer: issuer?.value,
            client_id: client_id?.value,
            identity: identity?,
            roots: roots?,
            ca,
            token_endpoint_auth_method: token_endpoint_auth_method.map(|located| located.value),
            signing_key,
            signing_key_file,
            dpop_key,
            dpop_key_file,
            use_mtls_endpoint_aliases,
            require_signed_request_object,
            tls13_only,
            admin_api: admin_api.map(|located| located.value),
        })
    })
}
