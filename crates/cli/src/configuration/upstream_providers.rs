//! `[[upstream_providers]]`: OpenID providers at which users may sign in.

use std::path::PathBuf;
use std::sync::Arc;

use keybound_authorization_server::UpstreamProvider;
use keybound_client::{
    AuthorizationServer, Client, ClientAuthentication, ClientSecret, ClientSettings, Discovery, HttpClientSettings,
};
use keybound_protocol::authentication_method::AuthenticationMethod;
use keybound_protocol::client::ClientId;
use keybound_protocol::issuer::Issuer;
use keybound_protocol::scope::Scope;
use keybound_protocol::signer::LocalSigner;
use keybound_protocol::user::UserName;
use keybound_tls::operator_file::{self, OPERATOR_FILE_BYTES_MAX};
use keybound_tls::{GuardedFetch, Identity, Roots};

use super::Base;
use super::diagnostic::{Diagnostic, Located};
use super::document::{Document, Section};
use super::value::{existing_file, identity};
use crate::signing_key;

/// What is asked of a provider unless the file says otherwise.
const SCOPE: &str = "openid profile email";

/// One provider, as far as the file says.
#[derive(Debug, Clone)]
pub(crate) struct UpstreamProviderEntry {
    name: UserName,
    label: String,
    issuer: Issuer,
    client_id: ClientId,
    authentication: OwnAuthentication,
    scope: Scope,
    assume_s256: bool,
}

/// How this server authenticates at a provider.
#[derive(Debug, Clone)]
enum OwnAuthentication {
    SecretFile {
        file: Located<PathBuf>,
        /// Whether the secret goes into a header (`client_secret_basic`), not into the form.
        is_basic: bool,
    },
    SigningKey(Arc<LocalSigner>),
    Certificate(Identity),
}

/// Takes the providers out of the document.
pub(super) fn entries(document: &Document, root: &Section<'_>, base: &Base) -> Vec<UpstreamProviderEntry> {
    let mut entries: Vec<UpstreamProviderEntry> = Vec::new();
    for section in root.sections("upstream_providers") {
        let location = section.location().clone();
        let Some(entry) = entry(section, base) else { continue };
        if entries.iter().any(|other| other.name == entry.name) {
            let message = format!("a second provider is called `{}`", entry.name);
            document.report(Diagnostic::error("C050", &location, message));
        } else {
            entries.push(entry);
        }
    }
    entries
}

fn entry(section: Section<'_>, base: &Base) -> Option<UpstreamProviderEntry> {
    let name = section.required_parsed("name", UserName::parse);
    let label = section.string("label");
    let issuer = section.required_parsed("issuer", Issuer::parse);
    let client_id = section.required_parsed("client_id", ClientId::parse);
    let scope = section.parsed("scope", Scope::parse);
    let assume_s256 = section.boolean("assume_s256", false).value;
    let authentication = authentication(&section, base);
    section.finish();
    let name = name?.value;
    Some(UpstreamProviderEntry {
        label: label.map_or_else(|| name.to_string(), |label| label.value),
        name,
        issuer: issuer?.value,
        client_id: client_id?.value,
        authentication: authentication?,
        scope: scope.map_or_else(|| Scope::parse(SCOPE).ok(), |scope| Some(scope.value))?,
        assume_s256,
    })
}

/// One credential, and a method that it is for.
fn authentication(section: &Section<'_>, base: &Base) -> Option<OwnAuthentication> {
    use AuthenticationMethod as Method;
    let method = section.parsed("token_endpoint_auth_method", |name| {
        AuthenticationMethod::from_name(name)
            .ok_or_else(|| format!("{name:?} is not a registered authentication method"))
    });
    let has_certificate = section.contains("certificate") || section.contains("key");
    let (has_secret, has_signing_key) = (section.contains("client_secret_file"), section.contains("signing_key"));
    if u8::from(has_secret) + u8::from(has_certificate) + u8::from(has_signing_key) > 1 {
        let message =
            "`client_secret_file`, `certificate` and `signing_key` are ways to authenticate; a provider knows one";
        section.report(Diagnostic::error("C006", section.location(), message));
    }
    let fitting: &[Method] = match (has_certificate, has_signing_key) {
        (true, _) => &[Method::TlsClientAuth, Method::SelfSignedTlsClientAuth],
        (false, true) => &[Method::PrivateKeyJwt],
        (false, false) => &[Method::ClientSecretPost, Method::ClientSecretBasic],
    };
    if let Some(method) = &method
        && !fitting.contains(&method.value)
    {
        let message = format!("there is no credential for {} here", method.value);
        section.report(Diagnostic::error("C006", &method.location, message));
    }
    if has_certificate {
        let _ = (section.string("client_secret_file"), section.string("signing_key"));
        return identity(section, base).map(OwnAuthentication::Certificate);
    }
    let _ = (section.string("certificate"), section.string("key"));
    if has_signing_key {
        let _ = section.string("client_secret_file");
        let file = existing_file(section, base, "signing_key")?;
        return match signing_key::read(&file.value) {
            Ok(signer) => Some(OwnAuthentication::SigningKey(signer)),
            Err(error) => {
                section.report(Diagnostic::error("C021", &file.location, format!("{error:#}")));
                None
            }
        };
    }
    let _ = section.string("signing_key");
    Some(OwnAuthentication::SecretFile {
        file: existing_file(section, base, "client_secret_file")?,
        is_basic: method.is_some_and(|method| method.value == Method::ClientSecretBasic),
    })
}

impl UpstreamProviderEntry {
    /// The provider, reached over `fetch` for what it publishes and with `roots` for the rest.
    ///
    /// # Errors
    /// The file with the secret cannot be read.
    pub(crate) fn load(&self, fetch: &GuardedFetch, roots: &Roots) -> Result<UpstreamProvider, Diagnostic> {
        let mut http = HttpClientSettings::new(roots.clone());
        let authentication = match &self.authentication {
            OwnAuthentication::SecretFile { file, is_basic } => {
                let text = operator_file::read_text(&file.value, OPERATOR_FILE_BYTES_MAX)
                    .map_err(|error| Diagnostic::error("C020", &file.location, error.to_string()))?;
                let secret = ClientSecret::new(text.trim().to_owned());
                match is_basic {
                    true => ClientAuthentication::ClientSecretBasic(secret),
                    false => ClientAuthentication::ClientSecretPost(secret),
                }
            }
            OwnAuthentication::SigningKey(signer) => {
                ClientAuthentication::PrivateKeyJwt(signing_key::assertion_key(signer))
            }
            OwnAuthentication::Certificate(identity) => {
                http.identity = Some(identity.clone());
                ClientAuthentication::Certificate
            }
        };
        Ok(UpstreamProvider {
            name: self.name.clone(),
            label: self.label.clone(),
            client: Arc::new(Client::new(ClientSettings {
                server: AuthorizationServer::discovered(self.issuer.clone(), Discovery::new(fetch.clone())),
                client_id: self.client_id.clone(),
                authentication,
                identity: keybound_client::Identity::new(http),
            })),
            scope: self.scope.clone(),
            assume_s256: self.assume_s256,
        })
    }
}
