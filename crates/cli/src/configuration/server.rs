//! `keybound.toml`: what the authorization server is told.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ipnet::IpNet;
use keybound_authorization_server::settings::AuthorizationSettings;
use keybound_protocol::access_token::AccessTokenFormat;
use keybound_protocol::authentication_method::AuthenticationMethod;
use keybound_protocol::issuer::Issuer;
use keybound_protocol::profile::Profile;
use keybound_protocol::resource::ResourceUri;
use keybound_protocol::signature_algorithm::SignatureAlgorithm;
use keybound_tls::{Identity, OperatorFileError, Roots};
use url::Url;

use super::authorization;
use super::diagnostic::{Diagnostic, Located, Location};
use super::document::{Document, Section};
use super::forwarded_certificate::{self, ForwardedCertificateEntry};
use super::limits::{self, ServerLimits};
use super::registration::{self, RegistrationEntry};
use super::token_exchange::{self, TokenExchangeEntry};
use super::trust_anchors::{self, TrustAnchorEntries};
use super::upstream_providers::{self, UpstreamProviderEntry};
use super::value::{bounded_duration, https_origin, https_url, identity, network, roots, socket_address, word};
use super::{Base, Reading, read};

/// A `keybound.toml`, interpreted. Paths can be opened as they are.
#[derive(Debug, Clone)]
pub(crate) struct ServerFile {
    /// Every file that it names.
    pub files: Vec<PathBuf>,
    /// `issuer`, exactly as written: it is compared as a string (RFC 8414 §3.3).
    pub issuer: Issuer,
    /// `listen.*`.
    pub listen: Listen,
    /// `mutual_tls_origin`.
    pub mutual_tls_origin: Url,
    /// `tls.certificate`, `tls.key`.
    pub tls: Identity,
    /// `[[tls.names]]`.
    pub tls_names: Vec<NamedCertificate>,
    /// `store.*`.
    pub store: StoreFiles,
    /// `[[forwarded_certificate]]`.
    pub forwarded_certificates: Vec<ForwardedCertificateEntry>,
    /// All else.
    pub policy: PolicyEntries,
}

/// Who may have which tokens: the keys that are complete by themselves, also where others are mistaken. What they name, clients
/// and certificates, is therefore read in any case, and its mistakes are reported with the others.
#[derive(Debug, Clone)]
pub(crate) struct PolicyEntries {
    /// The file itself, for findings about all of it.
    pub location: Location,
    /// `profile`: every client is held to it at least.
    pub profile: Profile,
    /// `clients`: glob patterns, resolved.
    pub clients: Vec<Located<PathBuf>>,
    /// `tokens.*`.
    pub tokens: Tokens,
    /// `ui.name`
    pub operator: Option<String>,
    /// `authorization.*`, `[[authorization_details_types]]`.
    pub authorization: AuthorizationSettings,
    /// `openid.enabled`
    pub openid_enabled: bool,
    /// `backchannel.push_enabled`
    pub push_delivery_enabled: bool,
    /// `outgoing.ca`; `None` means the system's.
    pub outgoing_roots: Option<Roots>,
    /// `outgoing.allow_addresses`.
    pub outgoing_allow_addresses: Vec<IpNet>,
    /// `[[trust_anchors]]`.
    pub trust_anchors: TrustAnchorEntries,
    /// `client_secrets.enabled`.
    pub client_secrets_enabled: bool,
    /// `[registration]`, where it is enabled.
    pub registration: Option<RegistrationEntry>,
    /// `[[token_exchange]]`.
    pub token_exchange: Vec<TokenExchangeEntry>,
    /// `[[upstream_providers]]`.
    pub upstream_providers: Vec<UpstreamProviderEntry>,
    /// `[[scopes]]`.
    pub scopes: Vec<ScopeEntry>,
    /// `[[resources]]`.
    pub resources: Vec<ResourceEntry>,
    /// `limits.*`.
    pub limits: ServerLimits,
}

/// Addresses to listen on.
#[derive(Debug, Clone)]
pub(crate) struct Listen {
    /// For everybody; never asks for a certificate.
    pub public: SocketAddr,
    /// Asks for a certificate, optionally.
    pub mutual_tls: SocketAddr,
    /// Plain HTTP: health and metrics.
    pub operations: SocketAddr,
}

/// A further server name with a certificate of its own.
#[derive(Debug, Clone)]
pub(crate) struct NamedCertificate {
    /// Compared with SNI.
    pub name: String,
    /// Served for it.
    pub identity: Identity,
}

/// Where state is kept.
#[derive(Debug, Clone)]
pub(crate) struct StoreFiles {
    /// The SQLite database file.
    pub database: PathBuf,
    /// The file with the key that encrypts signing keys.
    pub key_file: PathBuf,
}

/// What tokens look like.
#[derive(Debug, Clone)]
pub(crate) struct Tokens {
    /// `aud` when a request names no `resource`.
    pub default_resource: Option<ResourceUri>,
    /// The algorithm that signs.
    pub signing_algorithm: SignatureAlgorithm,
    /// Those that clients may register beside it for what is signed for them.
    pub other_signing_algorithms: Vec<SignatureAlgorithm>,
    /// How long an access token lives.
    pub access_token_lifetime: Duration,
    /// Whether DPoP proofs need a nonce.
    pub dpop_nonces: bool,
}

/// `[[scopes]]`.
#[derive(Debug, Clone)]
pub(crate) struct ScopeEntry {
    /// The scope token.
    pub name: String,
    /// For people.
    pub description: Option<String>,
}

/// `[[resources]]`.
#[derive(Debug, Clone)]
pub(crate) struct ResourceEntry {
    /// RFC 8707 resource indicator.
    pub uri: ResourceUri,
    /// The format of its tokens, where the client does not register one.
    pub access_token_format: Option<AccessTokenFormat>,
}

/// Reads a `keybound.toml`.
///
/// # Errors
/// If the file cannot be read at all; what is wrong inside it is in the [`Reading`].
pub(crate) fn load(path: &Path, environment: &[(String, String)]) -> Result<Reading<ServerFile>, OperatorFileError> {
    read(path, environment, interpret)
}

/// Takes the keys out of the document.
pub(crate) fn interpret(document: &Document, base: &Base) -> Option<ServerFile> {
    interpret_and(document, base, |_| ())
}

/// Takes the keys out of the document, and lets `look` at those of them that can be made sense of whatever the others say.
pub(crate) fn interpret_and(document: &Document, base: &Base, look: impl FnOnce(&PolicyEntries)) -> Option<ServerFile> {
    let root = document.root();
    let issuer = root.required_parsed("issuer", |text| {
        https_url(text)?;
        Issuer::parse(text).map_err(|error| error.to_string())
    });
    let profile = root.parsed("profile", |text| {
        let unknown = "must be \"default\", \"fapi2\" or \"fapi2-message-signing\"";
        text.parse::<Profile>().map_err(|_| unknown.to_owned())
    });
    let profile = profile.map_or(Profile::Default, |located| located.value);
    let clients = root
        .strings("clients")
        .into_iter()
        .map(|pattern| Located {
            value: base.resolve(&pattern.value),
            location: pattern.location,
        })
        .collect();
    let listen = listen(root.section("listen"));
    let mutual_tls_origin = match root.parsed("mutual_tls_origin", https_origin) {
        Some(origin) => Some(origin),
        None => default_origin(issuer.as_ref(), listen.as_ref()),
    };
    let tls_section = root.section("tls");
    let tls = identity(&tls_section, base);
    let tls_names: Vec<NamedCertificate> = tls_section
        .sections("names")
        .into_iter()
        .filter_map(|section| named_certificate(section, base))
        .collect();
    tls_section.finish();
    let store = store(root.section("store"), base);
    let tokens = tokens(root.section("tokens"), profile);
    let authorization = authorization::settings(&root);
    let operator = operator(root.section("ui"));
    let openid = root.section("openid");
    let openid_enabled = openid.boolean("enabled", false).value;
    openid.finish();
    let push_delivery_enabled = push_delivery(root.section("backchannel"), openid_enabled, profile);
    let client_secrets = root.section("client_secrets");
    let client_secrets_enabled = client_secrets.boolean("enabled", false);
    if client_secrets_enabled.value && !profile.permits_method(AuthenticationMethod::ClientSecretBasic) {
        let message = format!("profile \"{profile}\" permits no client to authenticate by a secret");
        client_secrets.report(Diagnostic::warning("C032", &client_secrets_enabled.location, message));
    }
    let client_secrets_enabled = client_secrets_enabled.value;
    client_secrets.finish();
    let outgoing = root.section("outgoing");
    let outgoing_roots = roots(&outgoing, base, "ca");
    let outgoing_allow_addresses = outgoing
        .parsed_strings("allow_addresses", network)
        .into_iter()
        .map(|located| located.value)
        .collect();
    outgoing.finish();
    let trust_anchors = trust_anchors::entries(document, root.sections("trust_anchors"), base);
    let registration = registration::entry(document, &root, base, &trust_anchors.names);
    let token_exchange = root.sections("token_exchange");
    let token_exchange = token_exchange::entries(document, token_exchange, issuer.as_ref(), profile);
    let upstream_providers = upstream_providers::entries(document, &root, base);
    let scopes = root.sections("scopes").into_iter().filter_map(scope).collect();
    let resources = root.sections("resources").into_iter().filter_map(resource).collect();
    let forwarded = root.sections("forwarded_certificate");
    let forwarded_certificates = forwarded_certificate::entries(document, forwarded, &trust_anchors.names);
    let limits = limits::server(root.section("limits"));
    if let (Some(listen), Some(origin)) = (&listen, &mutual_tls_origin) {
        check_shared_port(&root, listen, origin, &tls_names);
    }
    let policy = PolicyEntries {
        location: root.location().clone(),
        profile,
        clients,
        tokens,
        operator,
        authorization,
        openid_enabled,
        push_delivery_enabled,
        outgoing_roots,
        outgoing_allow_addresses,
        trust_anchors,
        client_secrets_enabled,
        registration,
        token_exchange,
        upstream_providers,
        scopes,
        resources,
        limits,
    };
    root.finish();
    look(&policy);
    Some(ServerFile {
        files: document.files(),
        issuer: issuer?.value,
        mutual_tls_origin: mutual_tls_origin?.value,
        listen: listen?,
        tls: tls?,
        tls_names,
        store: store?,
        forwarded_certificates,
        policy,
    })
}

/// The issuer's host with the port of the mutual-TLS listener: where it is, unless something in front of it moves it.
fn default_origin(issuer: Option<&Located<Issuer>>, listen: Option<&Listen>) -> Option<Located<Url>> {
    let (issuer, listen) = (issuer?, listen?);
    let mut origin = Url::parse(issuer.value.as_str()).ok()?;
    origin.set_path("/");
    origin.set_port(Some(listen.mutual_tls.port())).ok()?;
    Some(Located {
        value: origin,
        location: issuer.location.clone(),
    })
}

fn listen(section: Section<'_>) -> Option<Listen> {
    let address = |key, default_port| match section.contains(key) {
        true => section.parsed(key, socket_address).map(|located| located.value),
        false => {
            let _ = section.string(key);
            Some(SocketAddr::from(([127, 0, 0, 1], default_port)))
        }
    };
    let (public, mutual_tls) = (address("public", 8443), address("mutual_tls", 8444));
    let operations = address("operations", 8445);
    let listen = Listen {
        public: public?,
        mutual_tls: mutual_tls?,
        operations: operations?,
    };
    if listen.operations == listen.public || listen.operations == listen.mutual_tls {
        section.report(Diagnostic::error(
            "C010",
            section.location(),
            "`listen.operations` needs an address of its own",
        ));
    }
    if !listen.operations.ip().is_loopback() {
        let message = "`listen.operations` is plain HTTP without authentication, and not a loopback address";
        section.report(Diagnostic::warning("C022", section.location(), message));
    }
    section.finish();
    Some(listen)
}

fn named_certificate(section: Section<'_>, base: &Base) -> Option<NamedCertificate> {
    let name = section.required("name");
    let identity = identity(&section, base);
    section.finish();
    Some(NamedCertificate {
        name: name?.value,
        identity: identity?,
    })
}

fn store(section: Section<'_>, base: &Base) -> Option<StoreFiles> {
    let database = section.parsed("url", |text| match text.strip_prefix("sqlite:") {
        Some("") => Err("names no file: \"sqlite:keybound.db\"".to_owned()),
        Some(file) => Ok(base.resolve(file)),
        None if text.starts_with("postgres") => {
            Err("PostgreSQL is not available in this version; use \"sqlite:…\"".to_owned())
        }
        None => Err("must be \"sqlite:FILE\"".to_owned()),
    });
    let key_file = section
        .string("key_file")
        .map_or_else(|| base.resolve("secrets/keys.kek"), |file| base.resolve(&file.value));
    let written = section.contains("url");
    section.finish();
    Some(StoreFiles {
        database: match database {
            Some(located) => located.value,
            None if written => return None,
            None => base.resolve("keybound.db"),
        },
        key_file,
    })
}

/// `backchannel.push_enabled`
fn push_delivery(section: Section<'_>, openid_enabled: bool, profile: Profile) -> bool {
    let enabled = section.boolean("push_enabled", false);
    if enabled.value && !openid_enabled {
        let message = "tokens are pushed with an ID token (CIBA Core section 10.3.1): set `openid.enabled`";
        section.report(Diagnostic::error("C056", &enabled.location, message));
    }
    if enabled.value && !profile.permits_push_delivery() {
        let message = format!("profile \"{profile}\" permits no client to be sent its tokens");
        section.report(Diagnostic::warning("C032", &enabled.location, message));
    }
    section.finish();
    enabled.value
}

/// `ui.name`: one line that is not empty.
fn operator(section: Section<'_>) -> Option<String> {
    let name = section.parsed("name", |text: &str| match text.trim() {
        "" => Err("a name has to have letters"),
        name if name.chars().count() > 60 || name.chars().any(char::is_control) => {
            Err("a name is one line of at most 60 characters")
        }
        name => Ok(name.to_owned()),
    });
    section.finish();
    name.map(|name| name.value)
}

fn tokens(section: Section<'_>, profile: Profile) -> Tokens {
    let day = Duration::from_secs(86_400);
    let tokens = Tokens {
        default_resource: section
            .parsed("default_resource", ResourceUri::parse)
            .map(|located| located.value),
        signing_algorithm: section
            .parsed("signing_algorithm", |text| permitted_algorithm(text, profile))
            .map_or(SignatureAlgorithm::Es256, |located| located.value),
        other_signing_algorithms: section
            .parsed_strings("other_signing_algorithms", |text| permitted_algorithm(text, profile))
            .into_iter()
            .map(|located| located.value)
            .collect(),
        access_token_lifetime: bounded_duration(
            &section,
            "access_token_lifetime",
            Duration::from_secs(300),
            Duration::from_secs(1)..=day,
        ),
        dpop_nonces: section
            .parsed("dpop_nonce", word(&[("off", false), ("required", true)]))
            .is_some_and(|located| located.value),
    };
    section.finish();
    tokens
}

/// A signature algorithm that the profile permits.
pub(super) fn permitted_algorithm(text: &str, profile: Profile) -> Result<SignatureAlgorithm, String> {
    let algorithm = text.parse::<SignatureAlgorithm>().map_err(|error| error.to_string())?;
    match profile.signature_algorithms().contains(&algorithm) {
        true => Ok(algorithm),
        false => Err(format!("{algorithm} is not permitted by profile \"{profile}\"")),
    }
}

fn scope(section: Section<'_>) -> Option<ScopeEntry> {
    let name = section.required("name");
    let description = section.string("description").map(|located| located.value);
    section.finish();
    Some(ScopeEntry {
        name: name?.value,
        description,
    })
}

fn resource(section: Section<'_>) -> Option<ResourceEntry> {
    let uri = section.required_parsed("uri", ResourceUri::parse);
    let access_token_format = section
        .parsed(
            "access_token_format",
            word(&[("jwt", AccessTokenFormat::Jwt), ("opaque", AccessTokenFormat::Opaque)]),
        )
        .map(|located| located.value);
    section.finish();
    Some(ResourceEntry {
        uri: uri?.value,
        access_token_format,
    })
}

/// Where both sides share a port they are told apart by the name that the client asks for.
fn check_shared_port(root: &Section<'_>, listen: &Listen, origin: &Located<Url>, names: &[NamedCertificate]) {
    let host = origin.value.host_str().unwrap_or_default();
    if listen.public == listen.mutual_tls && !names.iter().any(|named| named.name == host) {
        let message =
            format!("the public and the mutual-TLS listener share a port, and no `[[tls.names]]` is called `{host}`");
        let finding = Diagnostic::error("C024", &origin.location, message);
        root.report(
            finding.with_help("give mutual_tls_origin a host name of its own, with a certificate in [[tls.names]]"),
        );
    }
}
