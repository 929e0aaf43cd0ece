//! `keybound gateway`: reads `gateway.toml`, opens the listeners, serves, reloads, drains.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use keybound_client::{
    AuthorizationServer, Client, ClientAuthentication, ClientSettings, Discovery, GuardedFetch, GuardedFetchSettings,
    HttpClientSettings,
};
use keybound_gateway::settings::{Authorization, GatewaySettings, LongRunning, RouteSettings};
use keybound_gateway::{Environment, Gateway};
use keybound_protocol::dpop_nonce::DpopNonces;
use keybound_protocol::endpoint::Endpoint;
use keybound_protocol::issuer::Issuer;
use keybound_protocol::resource::ResourceUri;
use keybound_protocol::server_metadata::ServerMetadata;
use keybound_resource_server::{
    Binding, IssuerSettings, KeySource, OnStale, REVOCATIONS_REQUEST_MAX, ResourceServer, RevocationSettings,
    RoutePolicy, Validation as TokenValidation,
};
use keybound_tls::{
    ClientCertificatePolicy, Clock, HostPolicies, HostPolicy, Listener, ListenerSettings, PreparedReload, Roots,
    Runtimes, Transport,
};
use url::Url;

use crate::arguments::ConfigFile;
use crate::config_check::unreadable;
use crate::configuration::diagnostic::Diagnostic;
use crate::configuration::gateway::{self, GatewayFile, IssuerEntry, OwnClient, RouteEntry, Validation};
use crate::configuration::limits::GatewayLimits;
use crate::configuration::{Reading, environment};
use crate::daemon::{Running, bind_failed, log_reload, warn};
use crate::exit_code::{CommandError, CommandResult, ExitCode};
use crate::file_watch::{FileWatch, Watched};
use crate::random;
use crate::signals::Signals;
use crate::terminal::Terminal;

/// Runs the gateway until it is told to stop.
pub(crate) fn run(arguments: &ConfigFile, terminal: &Terminal, clock: &Clock) -> CommandResult {
    let path = &arguments.config;
    // Before anything is started: the usual mistakes are in here.
    load(path)?;
    let runtimes = Runtimes::start(0)?;
    let daemon = GatewayDaemon::open(path, clock, &runtimes)?;
    let signals = Signals::take(&runtimes)?;
    daemon.start(&runtimes);
    daemon.running.announce(terminal);
    let code = runtimes.block_on(signals.until_stop(|| daemon.files_changed(), async || daemon.reload()));
    daemon.stop(&runtimes);
    Ok(code)
}

/// What is wrong with a gateway's configuration beyond what the file itself shows.
pub(crate) fn check(reading: Reading<GatewayFile>) -> Vec<Diagnostic> {
    let mut findings = reading.findings;
    if let Some(file) = reading.value
        && let Err(error) = assemble(&file, &random_nonces())
    {
        findings.push(Diagnostic::error("C030", &file.location, format!("{:#}", error.cause)));
    }
    findings
}

/// A gateway with its listeners.
pub(crate) struct GatewayDaemon {
    path: PathBuf,
    watch: FileWatch,
    /// What takes effect at the start only, as it was then.
    fixed: String,
    gateway: Gateway,
    resource: String,
    /// The same through reloads, so that no client is asked for another nonce because of one.
    dpop_nonces: Arc<DpopNonces>,
    running: Running,
}

impl GatewayDaemon {
    /// Prepares the gateway and opens its listeners; nothing is answered yet.
    ///
    /// # Errors
    /// If the configuration makes no gateway, or a port is taken.
    pub(crate) fn open(path: &Path, clock: &Clock, runtimes: &Runtimes) -> Result<Self, CommandError> {
        let watch = FileWatch::default();
        let (file, warnings) = watch.read(|| load(path), |(file, _)| watched(path, &file.files))?;
        warn(&warnings);
        let dpop_nonces = random_nonces();
        let (settings, issuers) = assemble(&file, &dpop_nonces)?;
        let resource_server = ResourceServer::with_limits(issuers, file.limits.resource_server)
            .map_err(|error| CommandError::new(ExitCode::InvalidConfiguration, error))?;
        let environment = Environment {
            clock: clock.clone(),
            random: Arc::new(random::fill),
        };
        let gateway = Gateway::new(&settings, resource_server, environment)
            .map_err(|error| CommandError::new(ExitCode::InvalidConfiguration, error))?;
        let mut resource = ListenerSettings::new("gateway", file.listen, Transport::Tls(hosts(&file)));
        resource.limits = file.limits.listener.clone();
        let operations = ListenerSettings::new("gateway operations", file.operations, Transport::Plain);
        let running = Running::default();
        let resource = Listener::bind(resource, runtimes).map_err(bind_failed)?;
        let operations = Listener::bind(operations, runtimes).map_err(bind_failed)?;
        running.hold(resource, gateway.resource_service());
        let listeners = running.clone();
        let service = gateway
            .operations_service()
            .with_metrics(move |text| listeners.append_metrics(text));
        running.hold_operations(operations, service);
        Ok(Self {
            path: path.to_path_buf(),
            watch,
            fixed: fixed(&file),
            gateway,
            resource: file.resource.to_string(),
            dpop_nonces,
            running,
        })
    }

    /// Begins to answer, and to follow what issuers revoke.
    pub(crate) fn start(&self, runtimes: &Runtimes) {
        runtimes.block_on(async { self.gateway.follow_revocations() });
        self.running.start();
    }

    /// The protected resource's identifier.
    pub(crate) fn resource(&self) -> &str {
        &self.resource
    }

    /// Reads the configuration again. A file with an error leaves everything as it is.
    pub(crate) fn reload(&self) {
        log_reload(&self.path, self.try_reload());
    }

    fn try_reload(&self) -> Result<(), CommandError> {
        let path = &self.path;
        let (file, warnings) = self.watch.read(|| load(path), |(file, _)| watched(path, &file.files))?;
        warn(&warnings);
        let (settings, issuers) = assemble(&file, &self.dpop_nonces)?;
        let invalid = |error: anyhow::Error| CommandError::new(ExitCode::InvalidConfiguration, error);
        let resource_server = self
            .gateway
            .resource_server()
            .reconfigured_with_limits(issuers, file.limits.resource_server)
            .map_err(|error| invalid(error.into()))?;
        let prepared = self.running.prepare_reload("gateway", &hosts(&file), None)?;
        // The last that can fail; then it has changed nothing, either.
        self.gateway
            .reload(&settings, resource_server)
            .map_err(|error| CommandError::new(ExitCode::InvalidConfiguration, error))?;
        prepared.into_iter().for_each(PreparedReload::take_effect);
        if fixed(&file) != self.fixed {
            let keys = "listen, operations, the listener's limits, refusals_max, log_records_max";
            tracing::warn!(keys, "a change of these takes effect at the next start");
        }
        Ok(())
    }

    /// Whether a file that counts has changed since this was asked last.
    pub(crate) fn files_changed(&self) -> bool {
        self.watch.changed()
    }

    /// Says not ready, lets what runs end, and stops.
    pub(crate) fn stop(&self, runtimes: &Runtimes) {
        self.gateway.set_ready(false);
        runtimes.block_on(self.running.drain());
        self.gateway.stop_following();
        self.gateway.flush_log();
    }
}

fn load(path: &Path) -> Result<(GatewayFile, Vec<Diagnostic>), CommandError> {
    let reading = gateway::load(path, &environment()).map_err(unreadable)?;
    Ok(reading.into_result_with_warnings()?)
}

fn watched(path: &Path, files: &[PathBuf]) -> Watched {
    let mut files = files.to_vec();
    files.push(path.to_path_buf());
    Watched {
        files,
        patterns: Vec::new(),
    }
}

/// The keys that a reload does not change, in a form to compare.
fn fixed(file: &GatewayFile) -> String {
    let sizes = (file.limits.gateway.refusals_max, file.limits.gateway.log_records_max);
    format!("{:?}", (file.listen, file.operations, &file.limits.listener, sizes))
}

fn hosts(file: &GatewayFile) -> HostPolicies {
    // Where no route checks a binding, nobody is asked for a certificate; of a mixture of both the configuration warned.
    let asks = file.routes.iter().any(|route| route.binding != gateway::Binding::None);
    let policy = if asks {
        ClientCertificatePolicy::Optional
    } else {
        ClientCertificatePolicy::Never
    };
    HostPolicies::one(HostPolicy::new("gateway", policy, file.tls.clone()))
}

/// Nonces of this process alone: a caller that meets several gateways behind one name is asked for a nonce of each.
fn random_nonces() -> Arc<DpopNonces> {
    let mut key = [0; 32];
    random::fill(&mut key);
    Arc::new(DpopNonces::new(&key))
}

fn assemble(
    file: &GatewayFile,
    dpop_nonces: &Arc<DpopNonces>,
) -> Result<(GatewaySettings, Vec<IssuerSettings>), CommandError> {
    let invalid = |error: anyhow::Error| CommandError::new(ExitCode::InvalidConfiguration, error);
    let roots = file.outgoing_roots.clone().map_or_else(Roots::system, Ok);
    let roots = roots.map_err(|error| invalid(error.into()))?;
    let issuers = file
        .issuers
        .iter()
        .map(|entry| issuer(entry, &roots, &file.limits))
        .collect::<anyhow::Result<Vec<_>>>()
        .map_err(invalid)?;
    let routes = file
        .routes
        .iter()
        .map(|entry| {
            let route = route(entry, &file.resource)?;
            Ok(match file.dpop_nonces {
                true => RouteSettings {
                    policy: route.policy.with_dpop_nonces(Arc::clone(dpop_nonces)),
                    ..route
                },
                false => route,
            })
        })
        .collect::<anyhow::Result<_>>()
        .map_err(invalid)?;
    Ok((
        GatewaySettings {
            routes,
            limits: file.limits.gateway.clone(),
        },
        issuers,
    ))
}

fn issuer(entry: &IssuerEntry, roots: &Roots, limits: &GatewayLimits) -> anyhow::Result<IssuerSettings> {
    let issuer = entry.issuer.value.clone();
    let mut fetch = GuardedFetchSettings::new(roots.clone());
    // The operator names the issuer, so where it lies is no stranger's choice.
    fetch.allow_addresses = vec![ipnet::Ipv4Net::default().into(), ipnet::Ipv6Net::default().into()];
    limits.fetch.apply(&mut fetch);
    let discovery = Discovery::new(GuardedFetch::new(fetch));
    let validation = match &entry.validation {
        Validation::Local => TokenValidation::Local(match &entry.jwks_uri {
            Some(url) => KeySource::JwksUri {
                url: url.clone(),
                discovery: discovery.clone(),
            },
            None => KeySource::Discovered(discovery.clone()),
        }),
        Validation::Introspection { endpoint, client } => {
            let outgoing = (roots, limits.introspection_timeout);
            TokenValidation::Introspection(introspecting(
                &issuer,
                endpoint.as_ref(),
                client,
                discovery.clone(),
                outgoing,
            ))
        }
    };
    let revocations = entry.revocations.as_ref().map(|followed| {
        let server = AuthorizationServer::discovered(issuer.clone(), discovery.clone());
        RevocationSettings {
            url: followed.url.clone(),
            client: own_client(server, &followed.client, (roots, REVOCATIONS_REQUEST_MAX)),
            on_stale: match followed.on_stale {
                gateway::OnStale::Continue => OnStale::Continue,
                gateway::OnStale::Refuse => OnStale::Refuse,
                gateway::OnStale::Introspect => {
                    let outgoing = (roots, limits.introspection_timeout);
                    let (endpoint, client) = (followed.introspection_endpoint.as_ref(), &followed.client);
                    OnStale::Introspect(introspecting(&issuer, endpoint, client, discovery.clone(), outgoing))
                }
            },
        }
    });
    let mut settings = IssuerSettings::new(issuer, validation);
    if !entry.algorithms.is_empty() {
        settings.algorithms.clone_from(&entry.algorithms);
    }
    if !entry.token_types.is_empty() {
        settings.token_types.clone_from(&entry.token_types);
    }
    settings.audiences.clone_from(&entry.audience);
    settings.revocations = revocations;
    Ok(settings)
}

/// A client that introspects at `endpoint`, or where the issuer's metadata says.
fn introspecting(
    issuer: &Issuer,
    endpoint: Option<&Url>,
    client: &OwnClient,
    discovery: Discovery,
    outgoing: (&Roots, Duration),
) -> Arc<Client> {
    let server = match endpoint {
        None => AuthorizationServer::discovered(issuer.clone(), discovery),
        Some(url) => AuthorizationServer::given(ServerMetadata::new(issuer.clone()).with_endpoint(
            Endpoint::Introspection,
            url.clone(),
            None,
        )),
    };
    own_client(server, client, outgoing)
}

/// The gateway as a client of `server`, which trusts these roots and waits so long for an answer.
fn own_client(server: AuthorizationServer, client: &OwnClient, (roots, timeout): (&Roots, Duration)) -> Arc<Client> {
    let mut http = HttpClientSettings::new(roots.clone());
    http.identity = Some(client.identity.clone());
    http.response_timeout = Some(timeout);
    Arc::new(Client::new(ClientSettings {
        server,
        client_id: client.client_id.clone(),
        authentication: ClientAuthentication::Certificate,
        identity: keybound_client::Identity::new(http),
    }))
}

fn route(entry: &RouteEntry, audience: &ResourceUri) -> anyhow::Result<RouteSettings> {
    let issuers: Vec<_> = entry.issuers.iter().map(|issuer| issuer.value.clone()).collect();
    let policy = RoutePolicy::new(audience.clone())
        .with_scopes(entry.scopes.clone())
        .with_binding(match entry.binding {
            gateway::Binding::Required => Binding::Required,
            gateway::Binding::Optional => Binding::Optional,
            gateway::Binding::None => Binding::None,
        })
        .with_dpop(entry.dpop)
        .with_issuers(issuers);
    let mut settings = RouteSettings::new(&entry.path.value, entry.upstream.clone(), policy);
    settings.methods = entry
        .methods
        .iter()
        .map(|method| method.parse())
        .collect::<Result<_, _>>()?;
    settings.authorization = if entry.forward_authorization {
        Authorization::Forward
    } else {
        Authorization::Strip
    };
    settings.long_running = if entry.until_close {
        LongRunning::UntilClose
    } else {
        LongRunning::UntilExpiry
    };
    Ok(settings)
}
