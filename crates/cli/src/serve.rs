//! `keybound serve`: reads `keybound.toml`, opens the store and the listeners, serves, reloads, drains.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use keybound_authorization_server::settings::{Environment, ResourceSettings, ScopeSettings, Settings, TokenSettings};
use keybound_authorization_server::{AuthorizationServer, MUTUAL_TLS, PUBLIC};
use keybound_protocol::access_token::AccessTokenFormat;
use keybound_protocol::certificate_file;
use keybound_protocol::certificate_revocation_list::CertificateRevocationList;
use keybound_protocol::client::ClientOrigin;
use keybound_protocol::issuer::Issuer;
use keybound_protocol::profile::Profile;
use keybound_protocol::resource::ResourceUri;
use keybound_protocol::trust_anchor::{self, TrustAnchor, TrustAnchorName, TrustAnchorSettings, TrustAnchors};
use keybound_tls::operator_file::{self, OPERATOR_FILE_BYTES_MAX, REVOCATION_LISTS_BYTES_MAX};
use keybound_tls::{
    ClientCertificatePolicy, Clock, ForwardedCertificateSettings, GuardedFetch, GuardedFetchSettings, Host,
    HostPolicies, HostPolicy, Identity, Listener, ListenerSettings, OperatorFileError, PreparedReload,
    ProxyCertificate, Roots, Runtimes, Transport,
};
use url::Url;

use crate::arguments::ConfigFile;
use crate::client_files;
use crate::config_check::unreadable;
use crate::configuration::diagnostic::{Diagnostic, Located, Severity};
use crate::configuration::server::{self, CrlMissing, ListenerName, ScopeEntry, ServerFile, TrustAnchorFiles};
use crate::configuration::{InvalidConfiguration, Reading, environment};
use crate::daemon::{Running, bind_failed};
use crate::database;
use crate::exit_code::{CommandError, CommandResult, ExitCode};
use crate::file_watch::{FileWatch, Watched};
use crate::signals::Signals;
use crate::terminal::Terminal;

/// Runs the authorization server until it is told to stop.
pub(crate) fn run(arguments: &ConfigFile, terminal: &Terminal, clock: &Clock) -> CommandResult {
    let path = &arguments.config;
    // Before anything is started: the usual mistakes are in here.
    load(path)?;
    let runtimes = Runtimes::start(0)?;
    let daemon = ServerDaemon::open(path, clock, &runtimes)?;
    let signals = Signals::take(&runtimes)?;
    daemon.start();
    daemon.running.announce(terminal);
    let code = runtimes.block_on(signals.until_stop(|| daemon.files_changed(), async || daemon.reload().await));
    daemon.stop(&runtimes);
    Ok(code)
}

/// What is wrong with a server's configuration beyond what the file itself shows: anchors, clients, resources.
pub(crate) fn check(reading: Reading<ServerFile>) -> Vec<Diagnostic> {
    let mut findings = reading.findings;
    if let Some(file) = reading.value {
        match assemble(&file) {
            Ok((_, warnings)) => findings.extend(warnings),
            Err(InvalidConfiguration { findings: more }) => findings.extend(more),
        }
    }
    findings
}

/// An authorization server with its listeners.
pub(crate) struct ServerDaemon {
    path: PathBuf,
    watch: FileWatch,
    /// Who vouches for proxies; replaced with every reload.
    proxy_anchors: ProxyAnchors,
    /// What takes effect at the start only, as it was then.
    fixed: String,
    server: AuthorizationServer,
    issuer: String,
    mutual_tls_origin: Url,
    running: Running,
}

impl ServerDaemon {
    /// Opens the store and the listeners; nothing is answered yet.
    ///
    /// # Errors
    /// If the configuration makes no server, the store does not open, or a port is taken.
    pub(crate) fn open(path: &Path, clock: &Clock, runtimes: &Runtimes) -> Result<Self, CommandError> {
        let watch = FileWatch::default();
        let file = watch.read(|| load(path), |file| watched(path, file))?;
        let (settings, warnings) = assemble(&file)?;
        warn(&warnings);
        // Sockets first: a second server on the same ports must not touch the first one's database.
        let proxy_anchors = ProxyAnchors::new(&settings.trust_anchors);
        let fixed = fixed(&file);
        let listeners = bind(&file, &proxy_anchors, clock, runtimes)?;
        let store = database::open(&file.store, clock.now())?;
        let environment = Environment {
            store,
            clock: clock.clone(),
        };
        let server = runtimes
            .block_on(AuthorizationServer::start(settings, environment))
            .map_err(|error| CommandError::new(ExitCode::Unavailable, error))?;
        let running = Running::default();
        for listener in listeners {
            match listener {
                Opened::Tls(listener) => running.hold(listener, server.service()),
                Opened::Operations(listener) => {
                    let listeners = running.clone();
                    let service = server.operations_service();
                    running.hold(
                        listener,
                        service.with_metrics(move |text| listeners.append_metrics(text)),
                    );
                }
            }
        }
        Ok(Self {
            path: path.to_path_buf(),
            watch,
            proxy_anchors,
            fixed,
            server,
            issuer: file.issuer,
            mutual_tls_origin: file.mutual_tls_origin,
            running,
        })
    }

    /// Begins to answer.
    pub(crate) fn start(&self) {
        self.running.start();
        self.server.set_ready(true);
    }

    /// The issuer identifier.
    pub(crate) fn issuer(&self) -> &str {
        &self.issuer
    }

    /// Where clients with a certificate connect.
    pub(crate) fn mutual_tls_origin(&self) -> &str {
        self.mutual_tls_origin.as_str().trim_end_matches('/')
    }

    /// Reads the configuration again, with everything it names. A file with an error leaves everything as it is.
    pub(crate) async fn reload(&self) {
        let file = self.path.display();
        match self.try_reload().await {
            Ok(()) => tracing::info!(%file, "configuration reloaded"),
            Err(error) => {
                let findings = error.cause.downcast_ref::<InvalidConfiguration>();
                for finding in findings.into_iter().flat_map(|invalid| &invalid.findings) {
                    tracing::error!(%file, finding = %finding.to_json(), "configuration");
                }
                tracing::error!(%file, error = %format!("{:#}", error.cause), "not reloaded; the old configuration goes on");
            }
        }
    }

    async fn try_reload(&self) -> Result<(), CommandError> {
        let path = &self.path;
        let file = self.watch.read(|| load(path), |file| watched(path, file))?;
        let (settings, warnings) = assemble(&file)?;
        warn(&warnings);
        let hosts = Hosts::of(&file);
        let anchors = settings.trust_anchors.clone();
        let mut prepared = self.running.prepare_hosts(PUBLIC, &hosts.public)?;
        if let Some(mutual_tls) = &hosts.mutual_tls {
            prepared.extend(self.running.prepare_hosts(MUTUAL_TLS, mutual_tls)?);
        }
        // The last that can fail, if the database is away; then it has changed nothing, either.
        self.server
            .reload(settings)
            .await
            .map_err(|error| CommandError::new(ExitCode::Unavailable, error))?;
        prepared.into_iter().for_each(PreparedReload::take_effect);
        self.proxy_anchors.replace(&anchors);
        if fixed(&file) != self.fixed {
            let keys = "listen, store, forwarded_certificate, the listeners' limits, prepared_clients_max, \
                        accepted_certificates_max, admin_requests_max, refresh_interval";
            tracing::warn!(keys, "a change of these takes effect at the next start");
        }
        Ok(())
    }

    /// Whether a file that counts has changed since this was asked last.
    pub(crate) fn files_changed(&self) -> bool {
        self.watch.changed()
    }

    /// Says not ready, lets what runs end, writes what waits, and stops.
    pub(crate) fn stop(&self, runtimes: &Runtimes) {
        self.server.set_ready(false);
        runtimes.block_on(self.running.drain());
        if let Err(error) = runtimes.block_on(self.server.stop()) {
            tracing::error!(%error, "the last refusals and issued tokens could not be recorded");
        }
    }
}

fn load(path: &Path) -> Result<ServerFile, CommandError> {
    let reading = server::load(path, &environment()).map_err(unreadable)?;
    Ok(reading.into_result()?)
}

/// The files whose change is a reason to read everything again, and the patterns of those that may appear.
fn watched(path: &Path, file: &ServerFile) -> Watched {
    let mut files = file.files.clone();
    files.push(path.to_path_buf());
    Watched {
        files,
        patterns: file.clients.iter().map(|pattern| pattern.value.clone()).collect(),
    }
}

/// The trust anchors by which a proxy's own certificate is judged, those of the latest configuration.
#[derive(Clone)]
struct ProxyAnchors(Arc<Mutex<Arc<TrustAnchors>>>);

impl ProxyAnchors {
    fn new(anchors: &[TrustAnchor]) -> Self {
        Self(Arc::new(Mutex::new(Arc::new(TrustAnchors::new(0, anchors.to_vec())))))
    }

    fn current(&self) -> Arc<TrustAnchors> {
        Arc::clone(&self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn replace(&self, anchors: &[TrustAnchor]) {
        let mut current = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // A higher epoch: what was decided with the anchors before is decided again.
        *current = Arc::new(TrustAnchors::new(current.epoch() + 1, anchors.to_vec()));
    }
}

/// The keys that a reload does not change, in a form to compare.
fn fixed(file: &ServerFile) -> String {
    let forwarded: Vec<_> = file
        .forwarded_certificates
        .iter()
        .map(|entry| (entry.listener.value, &entry.from, &entry.proxy_san_dns))
        .collect();
    let limits = &file.limits.server;
    let sizes = (
        limits.prepared_clients_max,
        limits.accepted_certificates_max,
        limits.admin_requests_max,
        limits.refresh_interval,
    );
    let parts = (&file.listen, &file.store, &file.limits.listener, sizes, forwarded);
    format!("{parts:?}")
}

/// Who is served where, and asked for a certificate or not.
struct Hosts {
    public: HostPolicies,
    /// `None` where both sides share a port and are told apart by SNI.
    mutual_tls: Option<HostPolicies>,
}

impl Hosts {
    fn of(file: &ServerFile) -> Self {
        let host = |name: &str, identity: &Identity| Host {
            names: vec![name.to_owned()],
            identity: identity.clone(),
        };
        let named = file.tls_names.iter().map(|it| host(&it.name, &it.identity));
        let policy = |name: &str, client_certificate, hosts| HostPolicy {
            name: name.into(),
            client_certificate,
            hosts,
        };
        let own = Host {
            names: Vec::new(),
            identity: file.tls.clone(),
        };
        if file.listen.public != file.listen.mutual_tls {
            let hosts: Vec<Host> = std::iter::once(own).chain(named).collect();
            return Self {
                public: HostPolicies::one(policy(PUBLIC, ClientCertificatePolicy::Never, hosts.clone())),
                mutual_tls: Some(HostPolicies::one(policy(
                    MUTUAL_TLS,
                    ClientCertificatePolicy::Optional,
                    hosts,
                ))),
            };
        }
        let alias = file.mutual_tls_origin.host_str().unwrap_or_default();
        let (mutual_tls, others): (Vec<Host>, Vec<Host>) =
            named.partition(|host| host.names.iter().any(|name| name == alias));
        let public = std::iter::once(own).chain(others).collect();
        Self {
            public: HostPolicies::several(
                policy(PUBLIC, ClientCertificatePolicy::Never, public),
                vec![policy(MUTUAL_TLS, ClientCertificatePolicy::Optional, mutual_tls)],
            ),
            mutual_tls: None,
        }
    }
}

enum Opened {
    Tls(Listener),
    Operations(Listener),
}

fn bind(
    file: &ServerFile,
    proxy_anchors: &ProxyAnchors,
    clock: &Clock,
    runtimes: &Runtimes,
) -> Result<Vec<Opened>, CommandError> {
    let hosts = Hosts::of(file);
    let mut opened = Vec::new();
    let mut tls = |name: &'static str, address, hosts, listener| {
        let mut listener_settings = ListenerSettings::new(name, address, Transport::Tls(hosts));
        listener_settings.limits = file.limits.listener.clone();
        listener_settings.forwarded_certificate =
            forwarded_certificate(file, listener, proxy_anchors, clock).map(Into::into);
        Listener::bind(listener_settings, runtimes)
            .map(|listener| opened.push(Opened::Tls(listener)))
            .map_err(bind_failed)
    };
    tls(PUBLIC, file.listen.public, hosts.public, ListenerName::Public)?;
    if let Some(mutual_tls) = hosts.mutual_tls {
        tls(MUTUAL_TLS, file.listen.mutual_tls, mutual_tls, ListenerName::MutualTls)?;
    }
    let operations = ListenerSettings::new("operations", file.listen.operations, Transport::Plain);
    opened.push(Opened::Operations(
        Listener::bind(operations, runtimes).map_err(bind_failed)?,
    ));
    Ok(opened)
}

fn forwarded_certificate(
    file: &ServerFile,
    listener: ListenerName,
    proxy_anchors: &ProxyAnchors,
    clock: &Clock,
) -> Option<ForwardedCertificateSettings> {
    let entry = file
        .forwarded_certificates
        .iter()
        .find(|entry| entry.listener.value == listener)?;
    let proxy = entry.proxy_san_dns.as_ref().map(|san_dns| {
        let anchors = proxy_anchors.clone();
        ProxyCertificate::new(san_dns, move || anchors.current(), clock.clone())
    });
    Some(ForwardedCertificateSettings {
        from: entry.from.clone(),
        proxy,
    })
}

fn warn(findings: &[Diagnostic]) {
    for finding in findings {
        tracing::warn!(finding = %finding.to_json(), "configuration");
    }
}

/// Values for the server, and warnings.
fn assemble(file: &ServerFile) -> Result<(Settings, Vec<Diagnostic>), InvalidConfiguration> {
    let mut findings = Vec::new();
    let place = &file.location;
    let mut take = |result: Result<(), String>| {
        if let Err(sentence) = result {
            findings.push(Diagnostic::error("C030", place, sentence));
        }
    };
    let issuer = Issuer::parse(&file.issuer)
        .map_err(|error| take(Err(format!("`issuer`: {error}"))))
        .ok();
    let default_resource = file.tokens.default_resource.as_ref().and_then(|uri| {
        ResourceUri::parse(uri)
            .map_err(|error| take(Err(format!("`tokens.default_resource`: {error}"))))
            .ok()
    });
    let resources = file.resources.iter().filter_map(|entry| {
        let uri = ResourceUri::parse(&entry.uri)
            .map_err(|error| take(Err(format!("`resources.uri` {}: {error}", entry.uri))));
        let access_token_format = entry.opaque.map(|opaque| {
            if opaque {
                AccessTokenFormat::Opaque
            } else {
                AccessTokenFormat::Jwt
            }
        });
        Some(ResourceSettings {
            uri: uri.ok()?,
            access_token_format,
        })
    });
    let resources: Vec<ResourceSettings> = resources.collect();
    let roots = match file.outgoing_ca.as_slice() {
        [] => Roots::system(),
        files => Roots::from_pem_files(files),
    };
    let roots = roots.map_err(|error| take(Err(format!("`outgoing.ca`: {error}")))).ok();
    let mut trust_anchors = Vec::new();
    for entry in &file.trust_anchors {
        match load_anchor(entry) {
            Ok(anchors) => trust_anchors.extend(anchors),
            Err(finding) => findings.push(*finding),
        }
    }
    let invalid = |findings| Err(InvalidConfiguration { findings });
    let (Some(issuer), Some(roots)) = (issuer, roots) else {
        return invalid(findings);
    };
    let mut fetch = GuardedFetchSettings::new(roots);
    fetch.allow_addresses.clone_from(&file.outgoing_allow_addresses);
    file.limits.fetch.apply(&mut fetch);
    let mut settings = Settings {
        issuer,
        mutual_tls_origin: file.mutual_tls_origin.clone(),
        profile: Profile::Default,
        tokens: TokenSettings {
            default_resource,
            signing_algorithm: file.tokens.signing_algorithm,
            access_token_lifetime: file.tokens.access_token_lifetime,
        },
        trust_anchors,
        clients: Vec::new(),
        scopes: file.scopes.iter().map(scope).collect(),
        resources,
        fetch: GuardedFetch::new(fetch),
        limits: file.limits.server.clone(),
    };
    let (clients, more) = client_files::load(
        &file.clients,
        &settings.registration_policy(ClientOrigin::ConfigurationFile),
    );
    settings.clients = clients;
    findings.extend(more);
    if findings.iter().any(|finding| finding.severity == Severity::Error) {
        return invalid(findings);
    }
    Ok((settings, findings))
}

fn scope(entry: &ScopeEntry) -> ScopeSettings {
    ScopeSettings {
        name: entry.name.clone(),
        description: entry.description.clone(),
    }
}

fn load_anchor(entry: &TrustAnchorFiles) -> Result<Vec<TrustAnchor>, Box<Diagnostic>> {
    let blame = |file: &Located<PathBuf>, error: anyhow::Error| {
        let named = |error: &OperatorFileError| {
            let finding = Diagnostic::error("C031", &file.location, error.to_string());
            error.fix().map_or(finding.clone(), |fix| finding.with_help(fix))
        };
        let message = || format!("{}: {error:#}", file.value.display());
        let other = || Diagnostic::error("C031", &file.location, message());
        Box::new(error.downcast_ref::<OperatorFileError>().map_or_else(other, named))
    };
    let mut crls = Vec::new();
    for file in &entry.crl {
        crls.extend(revocation_lists(&file.value).map_err(|error| blame(file, error))?);
    }
    let certificates = operator_file::read(&entry.file.value, OPERATOR_FILE_BYTES_MAX)
        .map_err(anyhow::Error::from)
        .and_then(|pem| Ok(certificate_file::certificates(&pem)?))
        .map_err(|error| blame(&entry.file, error))?;
    let name = entry.name.value.parse::<TrustAnchorName>().map_err(|error| {
        Box::new(Diagnostic::error(
            "C031",
            &entry.name.location,
            format!("`name`: {error}"),
        ))
    })?;
    let settings = TrustAnchorSettings {
        name,
        certificates,
        crls,
        crl_missing: entry.crl_missing.map(|crl_missing| match crl_missing {
            CrlMissing::Refuse => trust_anchor::CrlMissing::Refuse,
            CrlMissing::Accept => trust_anchor::CrlMissing::Accept,
        }),
        require_client_auth_eku: entry.require_client_auth_eku,
    };
    TrustAnchor::load(&settings).map_err(|error| blame(&entry.file, error.into()))
}

/// The lists of one file, each read once here so that a bad one is blamed on its own file.
fn revocation_lists(file: &Path) -> anyhow::Result<Vec<Vec<u8>>> {
    let lists = certificate_file::revocation_lists(&operator_file::read(file, REVOCATION_LISTS_BYTES_MAX)?)?;
    for list in &lists {
        CertificateRevocationList::parse(list)?;
    }
    Ok(lists)
}
