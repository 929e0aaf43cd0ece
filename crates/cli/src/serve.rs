//! `keybound serve`: reads `keybound.toml`, opens the store and the listeners, serves, reloads, drains.

mod listeners;
mod settings;

use std::path::{Path, PathBuf};

use keybound_authorization_server::settings::Environment;
use keybound_authorization_server::{AuthorizationServer, MUTUAL_TLS, PUBLIC};
use keybound_protocol::client::{Client, ClientId};
use keybound_protocol::profile::Profile;
use keybound_tls::{Clock, PreparedReload, Runtimes};
use url::Url;

use crate::arguments::ConfigFile;
use crate::config_check::unreadable;
use crate::configuration::diagnostic::Diagnostic;
use crate::configuration::forwarded_certificate::ListenerName;
use crate::configuration::server::{self, ServerFile};
use crate::configuration::{self, environment};
use crate::daemon::{Running, log_reload, warn};
use crate::database;
use crate::exit_code::{CommandError, CommandResult, ExitCode};
use crate::file_watch::{FileWatch, Watched};
use crate::signals::Signals;
use crate::terminal::Terminal;
use listeners::{Hosts, Opened};

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

/// Everything that is wrong with a server's configuration: in the file, and in the anchors and clients that it names.
pub(crate) fn check(path: &Path, text: &str) -> Vec<Diagnostic> {
    let reading = configuration::parse(path, text, &environment(), |document, base| {
        server::interpret_and(document, base, |policy| settings::check(policy, document))
    });
    reading.findings
}

/// The clients of the file whose profile is stricter than the server's; none where the file makes no server.
pub(crate) fn stricter_clients(file: &ServerFile) -> Vec<(ClientId, Profile)> {
    let Ok((settings, _)) = settings::of(file) else {
        return Vec::new();
    };
    let stricter = |client: &Client| {
        let profile = client
            .metadata()
            .profile()
            .filter(|profile| *profile > file.policy.profile)?;
        Some((client.client_id().clone(), profile))
    };
    settings.clients.iter().filter_map(stricter).collect()
}

/// An authorization server with its listeners.
pub(crate) struct ServerDaemon {
    path: PathBuf,
    watch: FileWatch,
    clock: Clock,
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
        let (file, warnings) = watch.read(|| load(path), |(file, _)| watched(path, file))?;
        warn(&warnings);
        let (settings, warnings) = settings::of(&file)?;
        warn(&warnings);
        // Sockets first: a second server on the same ports must not touch the first one's database.
        let fixed = fixed(&file);
        let listeners = listeners::bind(&file, &settings.trust_anchors, clock, runtimes)?;
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
                    running.hold_operations(
                        listener,
                        service.with_metrics(move |text| listeners.append_metrics(text)),
                    );
                }
            }
        }
        Ok(Self {
            path: path.to_path_buf(),
            watch,
            clock: clock.clone(),
            fixed,
            server,
            issuer: file.issuer.to_string(),
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
        log_reload(&self.path, self.try_reload().await);
    }

    async fn try_reload(&self) -> Result<(), CommandError> {
        let path = &self.path;
        let (file, warnings) = self.watch.read(|| load(path), |(file, _)| watched(path, file))?;
        warn(&warnings);
        let (settings, warnings) = settings::of(&file)?;
        warn(&warnings);
        let hosts = Hosts::of(&file);
        let believed = |listener| listeners::believed(&file, listener, &settings.trust_anchors, &self.clock);
        let mut prepared = self
            .running
            .prepare_reload(PUBLIC, &hosts.public, believed(ListenerName::Public))?;
        if let Some(mutual_tls) = &hosts.mutual_tls {
            let proxy = believed(ListenerName::MutualTls);
            prepared.extend(self.running.prepare_reload(MUTUAL_TLS, mutual_tls, proxy)?);
        }
        // The last that can fail, if the database is away; then it has changed nothing, either.
        self.server
            .reload(settings)
            .await
            .map_err(|error| CommandError::new(ExitCode::Unavailable, error))?;
        prepared.into_iter().for_each(PreparedReload::take_effect);
        if fixed(&file) != self.fixed {
            let keys = "listen, store, the listeners' limits, prepared_clients_max, accepted_certificates_max, \
                        admin_requests_max, revocation_followers_max, refresh_interval, password_threads, passwords_waiting_max, \
                        sign_ins_per_minute, failed_sign_ins_max, lock_out, sign_in_answer_interval, \
                        approval_requests_per_minute, approval_polls_per_minute, pushed_requests_per_minute, \
                        public_requests_per_minute, interactions_per_minute, user_codes_per_minute, notifications_max";
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

fn load(path: &Path) -> Result<(ServerFile, Vec<Diagnostic>), CommandError> {
    let reading = configuration::read(path, &environment(), |document, base| {
        server::interpret_and(document, base, |policy| {
            // Read once more below, in earnest; here only so that all mistakes are told at once.
            if document.has_errors() {
                settings::check(policy, document);
            }
        })
    });
    Ok(reading.map_err(unreadable)?.into_result_with_warnings()?)
}

/// The files whose change is a reason to read everything again, and the patterns of those that may appear.
fn watched(path: &Path, file: &ServerFile) -> Watched {
    let mut files = file.files.clone();
    files.push(path.to_path_buf());
    let patterns = &file.policy.clients;
    Watched {
        files,
        patterns: patterns.iter().map(|pattern| pattern.value.clone()).collect(),
    }
}

/// The keys that a reload does not change, in a form to compare.
fn fixed(file: &ServerFile) -> String {
    let limits = &file.policy.limits.server;
    let sizes = (
        limits.prepared_clients_max,
        limits.accepted_certificates_max,
        limits.admin_requests_max,
        limits.revocation_followers_max,
        limits.refresh_interval,
    );
    let signing_in = (
        limits.password_threads,
        limits.passwords_waiting_max,
        limits.sign_ins_per_minute,
        limits.failed_sign_ins_max,
        limits.lock_out,
        limits.sign_in_answer_interval,
        limits.user_codes_per_minute,
        limits.notifications_max,
    );
    let asking = (
        limits.approval_requests_per_minute,
        limits.approval_polls_per_minute,
        limits.pushed_requests_per_minute,
        limits.public_requests_per_minute,
        limits.interactions_per_minute,
    );
    format!(
        "{:?}",
        (
            &file.listen,
            &file.store,
            &file.policy.limits.listener,
            sizes,
            signing_in,
            asking
        )
    )
}
