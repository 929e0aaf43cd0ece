//! `--new-identity`: a certificate of this instance's own (RFC 8705 §4), made and kept before the request, and gone again if that
//! brought no token.

use std::path::{Path, PathBuf};

use anyhow::Context;
use keybound_protocol::confirmation::CertificateThumbprint;
use keybound_protocol::time::Timestamp;
use keybound_tls::Identity;

use crate::acting::ClientProfile;
use crate::exit_code::{CommandError, ExitCode};
use crate::pki::{self, EndEntity, PemPair, Purpose};

/// Days that such a certificate is valid. It is believed for its key, not for what it says.
const DAYS: u32 = 90;
/// Characters of the thumbprint in the directory's name.
const NAME_CHARS: usize = 12;

const CERTIFICATE: &str = "cert.pem";
const KEY: &str = "key.pem";
const CLIENT: &str = "client.toml";

/// A certificate and key that nobody had before.
pub(super) struct NewIdentity {
    pair: PemPair,
    thumbprint: String,
}

impl NewIdentity {
    /// Makes one in memory, and has `profile` present it.
    ///
    /// # Errors
    /// If a key cannot be made.
    pub(super) fn make(profile: &mut ClientProfile, now: Timestamp) -> Result<Self, CommandError> {
        let entity = EndEntity {
            days: DAYS,
            ..EndEntity::new(&profile.client_id, Purpose::Client)
        };
        let pair = pki::self_signed(&entity, now)?;
        let identity = Identity::from_pem(pair.certificate.as_bytes(), pair.key.as_bytes())
            .map_err(|error| CommandError::new(ExitCode::Unexpected, error))?;
        let thumbprint = CertificateThumbprint::of_certificate(identity.leaf()).to_string();
        profile.identity = Some(identity);
        Ok(Self { pair, thumbprint })
    }

    /// Keeps it in `directory`, or in one of its own below that of the client, with a `client.toml`. Nothing is overwritten.
    ///
    /// # Errors
    /// Conflict, if there is something already; unexpected, if it cannot be written.
    pub(super) fn keep(
        self,
        directory: Option<&Path>,
        client: Option<&Path>,
        profile: &ClientProfile,
    ) -> Result<KeptIdentity, CommandError> {
        let directory = match directory {
            Some(directory) => directory.to_path_buf(),
            None => {
                let base = match client {
                    Some(path) if path.is_dir() => path.to_path_buf(),
                    Some(file) => file.parent().map(Path::to_path_buf).unwrap_or_default(),
                    None => PathBuf::new(),
                };
                let name: String = self.thumbprint.chars().take(NAME_CHARS).collect();
                base.join("identities").join(format!("x5t-{name}"))
            }
        };
        for file in [CERTIFICATE, KEY, CLIENT] {
            if directory.join(file).exists() {
                let sentence = format!("{} exists already", directory.join(file).display());
                return Err(CommandError::message(ExitCode::Conflict, sentence));
            }
        }
        let text = client_toml(profile)?;
        self.pair.write(&directory, CERTIFICATE, KEY)?;
        pki::write_new(&directory.join(CLIENT), text.as_bytes(), 0o644)?;
        Ok(KeptIdentity { directory })
    }
}

/// One that is on disk.
pub(super) struct KeptIdentity {
    directory: PathBuf,
}

impl KeptIdentity {
    /// Where.
    pub(super) fn directory(&self) -> &Path {
        &self.directory
    }

    /// Takes it away again: no token is bound to it. What else lies in the directory stays.
    pub(super) fn discard(self) {
        let files = [CERTIFICATE, KEY, CLIENT].map(|file| std::fs::remove_file(self.directory.join(file)));
        let outcomes = files.into_iter().chain([std::fs::remove_dir(&self.directory)]);
        for error in outcomes.filter_map(Result::err) {
            tracing::debug!(error = &error as &dyn std::error::Error, "not everything is gone");
        }
    }
}

/// What the client is besides its certificate.
fn client_toml(profile: &ClientProfile) -> anyhow::Result<String> {
    let mut table = toml::Table::new();
    let mut set = |name: &str, value: toml::Value| table.insert(name.to_owned(), value);
    set("issuer", profile.issuer.clone().into());
    set("client_id", profile.client_id.clone().into());
    set("certificate", CERTIFICATE.into());
    set("key", KEY.into());
    let absolute = |path: &Path| {
        let path = std::path::absolute(path).with_context(|| format!("no absolute path of {}", path.display()))?;
        Ok::<_, anyhow::Error>(path.display().to_string())
    };
    if let Some(ca) = &profile.ca {
        set("ca", absolute(ca)?.into());
    }
    if let Some(method) = profile.token_endpoint_auth_method {
        set("token_endpoint_auth_method", method.name().into());
    }
    if let Some(signing_key) = &profile.signing_key_file {
        set("signing_key", absolute(signing_key)?.into());
    }
    if let Some(dpop_key) = &profile.dpop_key_file {
        set("dpop_key", absolute(dpop_key)?.into());
    }
    for (name, is_on) in [
        ("use_mtls_endpoint_aliases", profile.use_mtls_endpoint_aliases),
        ("require_signed_request_object", profile.require_signed_request_object),
        ("tls13_only", profile.tls13_only),
    ] {
        if is_on {
            set(name, true.into());
        }
    }
    Ok(table.to_string())
}
