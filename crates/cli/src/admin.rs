//! `keybound admin create`: an administrator's certificate and client, made locally with access to the database.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::Context;
use keybound_protocol::authentication_method::AuthenticationMethod;
use keybound_protocol::client::{ClientId, ClientOrigin};
use keybound_protocol::client_metadata::{ClientMetadata, PermittedAnchors, RegistrationPolicy};
use keybound_protocol::grant_type::GrantType;
use keybound_protocol::jwk::Jwk;
use keybound_protocol::profile::Profile;
use keybound_protocol::time::Timestamp;
use keybound_store::{Actor, AuditEntry, ClientReplacement, CreateClient, NewClient, SecretChange};

use crate::admin_api::SCOPE;
use crate::advice;
use crate::arguments::AdminCreate;
use crate::config_check::unreadable;
use crate::configuration::{self, server, server::ServerFile};
use crate::database;
use crate::exit_code::{CommandError, CommandResult, ExitCode};
use crate::pki::{EndEntity, Purpose, self_signed, write_new};
use crate::terminal::{GOOD, Terminal, styled};

/// How many names are tried when none is given.
const NAMES_MAX: u32 = 1_000;

/// Makes another administrator of an existing installation.
pub(crate) fn create(arguments: &AdminCreate, terminal: &Terminal, now: Timestamp) -> CommandResult {
    let config = &arguments.config;
    let beside = config.parent().map(Path::to_path_buf).unwrap_or_default();
    let directory = arguments.dir.clone().unwrap_or(beside);
    let named = |name: &str| Administrator {
        client_id: name.to_owned(),
        files: directory.join(name),
        profile: directory.join(format!("{name}.toml")),
        completes: false,
    };
    let administrator = match &arguments.name {
        Some(name) => {
            let administrator = named(plain_name(name)?);
            if !administrator.make(config, now)? {
                return Err(CommandError::message(
                    ExitCode::Conflict,
                    format!(
                        "{name} exists already, as {} or as a client",
                        administrator.profile.display()
                    ),
                )
                .with_fix("another --name, or none for the next that is free"));
            }
            administrator
        }
        None => next_free(config, named, now)?,
    };
    terminal.line(format!(
        "{} administrator {}   {}",
        styled(GOOD, "✔"),
        administrator.client_id,
        administrator.profile.display()
    ));
    terminal.progress(format!(
        "Next:   {} client list --admin {}",
        advice::program(),
        advice::word(&administrator.profile)
    ));
    terminal.json(&serde_json::json!({
        "client_id": administrator.client_id, "admin": administrator.profile.display().to_string(),
        "certificate": administrator.files.join("cert.pem").display().to_string(),
    }));
    Ok(ExitCode::Ok)
}

/// A client_id that is also the name of a file and of a directory.
fn plain_name(name: &str) -> Result<&str, CommandError> {
    let plain = !name.is_empty() && !name.starts_with('.') && !name.contains('/');
    if plain {
        Ok(name)
    } else {
        Err(
            CommandError::message(ExitCode::Usage, format!("--name {name:?} cannot be the name of a file"))
                .with_fix("a name without `/` that does not begin with a dot"),
        )
    }
}

/// The first of admin, admin-2, admin-3 … of which there is neither a file nor a client.
fn next_free(
    config: &Path,
    named: impl Fn(&str) -> Administrator,
    now: Timestamp,
) -> Result<Administrator, CommandError> {
    let numbered = (2..=NAMES_MAX).map(|number| format!("admin-{number}"));
    for name in std::iter::once("admin".to_owned()).chain(numbered) {
        let administrator = named(&name);
        if administrator.make(config, now)? {
            return Ok(administrator);
        }
    }
    Err(CommandError::message(
        ExitCode::Conflict,
        format!("admin to admin-{NAMES_MAX} all exist already"),
    )
    .with_fix("--name NAME"))
}

/// Makes the first administrator, `admin/` and `admin.toml` in `directory`; returns its `client_id`.
///
/// # Errors
/// If the configuration is invalid or a file cannot be written.
pub(crate) fn create_first(config: &Path, directory: &Path, now: Timestamp) -> Result<String, CommandError> {
    let administrator = Administrator {
        client_id: "admin".to_owned(),
        files: directory.join("admin"),
        profile: directory.join("admin.toml"),
        completes: true,
    };
    if administrator.make(config, now)? {
        Ok(administrator.client_id)
    } else {
        let sentence = format!("{} exists already", administrator.profile.display());
        Err(CommandError::message(ExitCode::Conflict, sentence))
    }
}

struct Administrator {
    client_id: String,
    files: PathBuf,
    profile: PathBuf,
    /// Whether what an interrupted run left behind is made anew: nobody can have used it, for the profile comes last.
    completes: bool,
}

impl Administrator {
    /// Registers the client and writes the files. False, and nothing is changed, if this administrator's name is taken.
    fn make(&self, config: &Path, now: Timestamp) -> Result<bool, CommandError> {
        let environment = configuration::environment();
        let file = server::load(config, &environment).map_err(unreadable)?.into_result()?;
        let taken = |path: &Path| path.exists() && !(self.completes && path != self.profile);
        if taken(&self.profile) || taken(&self.files) {
            return Ok(false);
        }
        let mut entity = EndEntity::new(&self.client_id, Purpose::Client);
        entity.days = 365;
        let pair = self_signed(&entity, now)?;
        // The database first: if it cannot be used, no file is left behind.
        if !self.register(&file, &pair.end_entity()?, now)? {
            return Ok(false);
        }
        if self.completes && self.files.exists() {
            std::fs::remove_dir_all(&self.files)?;
        }
        pair.write(&self.files, "cert.pem", "key.pem")?;
        let profile = self.profile_toml(&file, config);
        write_new(&self.profile, profile.as_bytes(), 0o600)?;
        Ok(true)
    }

    /// The administrator is a client like any other, by its certificate alone: it depends on no authority. False if there is such a
    /// client already.
    fn register(&self, file: &ServerFile, certificate: &[u8], now: Timestamp) -> Result<bool, CommandError> {
        let jwk = Jwk::for_certificate(certificate).map_err(anyhow::Error::from)?;
        let metadata = serde_json::json!({
            "client_name": format!("Administrator {}", self.client_id),
            "token_endpoint_auth_method": "self_signed_tls_client_auth",
            "jwks": { "keys": [jwk.to_json()] },
            "grant_types": ["client_credentials"],
            "scope": SCOPE,
            "tls_client_certificate_bound_access_tokens": true,
        });
        let policy = RegistrationPolicy {
            origin: ClientOrigin::Administrator,
            profile: Profile::Default,
            profiles: BTreeSet::from([Profile::Default]),
            client_secrets_enabled: false,
            methods: BTreeSet::from([AuthenticationMethod::SelfSignedTlsClientAuth]),
            trust_anchors_if_omitted: PermittedAnchors::Every,
            grant_types: BTreeSet::from([GrantType::ClientCredentials]),
            signing_algorithms: BTreeSet::new(),
            authorization_details_types: BTreeSet::new(),
            backchannel_delivery_modes: BTreeSet::new(),
            trust_anchors: BTreeSet::new(),
            scopes: None,
            resources: BTreeSet::new(),
        };
        let metadata = ClientMetadata::parse(metadata.to_string().as_bytes(), &policy).map_err(anyhow::Error::from)?;
        let client_id = ClientId::parse(&self.client_id).map_err(|error| CommandError::new(ExitCode::Usage, error))?;
        let store = database::open(&file.store, now)?;
        let metadata = metadata.to_json().to_string();
        let entry = || AuditEntry::new(now, Actor::Operator);
        let unavailable = |error| CommandError::new(ExitCode::Unavailable, error);
        let (origin, taken) = (ClientOrigin::Administrator, client_id.clone());
        let client = NewClient {
            client_id,
            metadata: metadata.clone(),
            origin,
            secret: None,
        };
        let created = block_on(store.clients.create_client(client, entry()))?.map_err(unavailable)?;
        if created == CreateClient::AlreadyExists && self.completes {
            let replacement = ClientReplacement {
                client_id: taken,
                metadata,
                secret: SecretChange::Remove,
                if_version: None,
            };
            block_on(store.clients.replace_client(replacement, entry()))?.map_err(unavailable)?;
            return Ok(true);
        }
        Ok(created != CreateClient::AlreadyExists)
    }

    fn profile_toml(&self, file: &ServerFile, config: &Path) -> String {
        let name = self
            .files
            .file_name()
            .map(|name| name.to_string_lossy().into_owned())
            .unwrap_or_default();
        let ca = config
            .parent()
            .map(|directory| directory.join("pki/ca.pem"))
            .filter(|ca| ca.exists());
        let ca = ca.and_then(|ca| std::path::absolute(ca).ok()).map_or_else(
            || {
                "# ca = \"…\"   # the authority of the server's certificate, if the system does not know it\n"
                    .to_owned()
            },
            |ca| format!("ca = {}\n", toml::Value::String(self.relative(&ca))),
        );
        format!(
            "# An administrator of this installation: `keybound client list --admin {}`.\nissuer = \"{}\"\nclient_id = {}\n\
             certificate = \"{name}/cert.pem\"\nkey = \"{name}/key.pem\"\n{ca}admin_api = \"{}admin/v1\"\n",
            self.profile
                .file_name()
                .map(|name| name.to_string_lossy().into_owned())
                .unwrap_or_default(),
            file.issuer,
            toml::Value::String(self.client_id.clone()),
            file.mutual_tls_origin,
        )
    }

    /// `path` as seen from the profile's directory, if it lies below it: so that the directory can be moved.
    fn relative(&self, path: &Path) -> String {
        let base = self
            .profile
            .parent()
            .and_then(|directory| std::path::absolute(directory).ok());
        base.and_then(|base| path.strip_prefix(base).ok().map(Path::to_path_buf))
            .unwrap_or_else(|| path.to_path_buf())
            .display()
            .to_string()
    }
}

fn block_on<F: Future>(future: F) -> Result<F::Output, CommandError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("no runtime")?;
    Ok(runtime.block_on(future))
}
