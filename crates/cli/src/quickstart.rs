//! `keybound quickstart`: from an empty directory to a bound token accepted and its replay refused.
//!
//! Every role is played by its own part, on real sockets: the authorization server and the gateway are the daemons of
//! `serve` and `gateway`, the clients are the client library. Read [`files`] for what is written, [`checks`] for what is shown.

mod checks;
mod files;

use std::path::{Path, PathBuf};
use std::time::Instant;

use keybound_tls::{Clock, Runtimes};

use crate::advice::{self, Surroundings};
use crate::arguments::Quickstart;
use crate::config_check::unreadable;
use crate::configuration::{self, gateway::GatewayFile, server::ServerFile};
use crate::exit_code::{CommandError, CommandResult, ExitCode};
use crate::gateway_daemon::GatewayDaemon;
use crate::serve::ServerDaemon;
use crate::signals::Signals;
use crate::terminal::{BAD, DIM, GOOD, STRONG, Terminal, styled};
use files::Layout;

/// Makes what is missing, starts both daemons, runs the checks, and serves on unless told to exit.
pub(crate) fn run(arguments: &Quickstart, terminal: &Terminal, clock: &Clock) -> CommandResult {
    let started = now();
    if let Some(address) = arguments.listen.filter(|address| !address.is_loopback()) {
        return Err(
            CommandError::message(ExitCode::Usage, format!("{address} is not a loopback address"))
                .with_fix("quickstart makes keys that nobody guards; `keybound init` prepares a server for others"),
        );
    }
    let directory = directory(arguments)?;
    let layout = Layout::new(&directory);
    let made = files::prepare(&layout, arguments, clock.now())?;
    for line in &made {
        step(terminal, &line.what, &line.detail);
    }
    let (server_file, gateway_file) = read_back(&layout)?;
    require_loopback(&server_file, &gateway_file)?;
    // Every listener is open before any answers: whoever sees one port open may use them all.
    let runtimes = Runtimes::start(0)?;
    let server = ServerDaemon::open(&layout.keybound_toml(), clock, &runtimes)?;
    let gateway = GatewayDaemon::open(&layout.gateway_toml(), clock, &runtimes)?;
    server.start();
    gateway.start(&runtimes);
    step(
        terminal,
        "Authorization server",
        &format!("{}   mutual TLS {}", server.issuer(), server.mutual_tls_origin()),
    );
    step(terminal, "Gateway", &format!("{} → demo API", gateway.resource()));
    let checks = runtimes.block_on(checks::run(&layout, gateway.resource()))?;
    for check in &checks.outcomes {
        let mark = if check.passed() {
            styled(GOOD, "✔")
        } else {
            styled(BAD, "✘")
        };
        terminal.line(format!(
            " {mark} {:<44} {}{}",
            check.title,
            check.status,
            check.remark()
        ));
    }
    let failed = checks.failed();
    // Until here Ctrl-C ends it at once: there is nothing to drain.
    let serves_on = failed.is_empty() && !arguments.exit;
    let signals = serves_on.then(|| Signals::take(&runtimes)).transpose()?;
    let next = Next {
        arguments,
        directory: &directory,
        checks: &checks,
    };
    for line in next.lines() {
        terminal.progress(line);
    }
    terminal.progress(styled(
        DIM,
        format!(
            " ! Development mode: loopback only, do not expose.   {:.1} s",
            elapsed(started)
        ),
    ));
    terminal.json(&serde_json::json!({
        "issuer": server.issuer(), "mtls_token_endpoint": checks.mtls_token_endpoint, "gateway": gateway.resource(),
        "directory": if directory.as_os_str().is_empty() { ".".to_owned() } else { directory.display().to_string() },
        "checks": checks.to_json(),
    }));
    let outcome = if !failed.is_empty() {
        let sentence = format!("not everything came out as it must: {}", failed.join(", "));
        Err(CommandError::message(ExitCode::Unexpected, sentence)
            .with_fix("compare keybound.toml, gateway.toml and clients.d/ with those of a new quickstart (--dir DIR)"))
    } else if let Some(signals) = signals {
        Ok(runtimes.block_on(signals.until_stop(
            || server.files_changed() | gateway.files_changed(),
            async || {
                server.reload().await;
                gateway.reload();
            },
        )))
    } else {
        Ok(ExitCode::Ok)
    };
    gateway.stop(&runtimes);
    server.stop(&runtimes);
    outcome
}

/// `--dir`; else the current directory if it is empty or holds a quickstart; else a new one inside it.
fn directory(arguments: &Quickstart) -> Result<PathBuf, CommandError> {
    if let Some(directory) = &arguments.dir {
        return Ok(directory.clone());
    }
    let here = Path::new(".");
    let empty = std::fs::read_dir(here)?.next().is_none();
    let continued = here.join("keybound.toml").exists() && here.join("clients/demo/client.toml").exists();
    Ok(if empty || continued {
        PathBuf::new()
    } else {
        PathBuf::from("keybound-quickstart")
    })
}

fn read_back(layout: &Layout) -> Result<(ServerFile, GatewayFile), CommandError> {
    let environment = configuration::environment();
    let server = configuration::server::load(&layout.keybound_toml(), &environment)
        .map_err(unreadable)?
        .into_result()?;
    let gateway = configuration::gateway::load(&layout.gateway_toml(), &environment)
        .map_err(unreadable)?
        .into_result()?;
    Ok((server, gateway))
}

/// Files edited by hand, or variables, may say otherwise than the arguments did.
fn require_loopback(server: &ServerFile, gateway: &GatewayFile) -> Result<(), CommandError> {
    let addresses = [
        server.listen.public,
        server.listen.mutual_tls,
        server.listen.operations,
        gateway.listen,
        gateway.operations,
    ];
    match addresses.iter().find(|address| !address.ip().is_loopback()) {
        None => Ok(()),
        Some(address) => Err(
            CommandError::message(ExitCode::Usage, format!("{address} is not a loopback address"))
                .with_fix("quickstart serves this machine only; use `keybound serve` and `keybound gateway`"),
        ),
    }
}

fn step(terminal: &Terminal, what: &str, detail: &str) {
    terminal.progress(format!(" {} {what:<22} {}", styled(GOOD, "✔"), styled(DIM, detail)));
}

/// What to try next: each line can be copied as it stands.
struct Next<'a> {
    arguments: &'a Quickstart,
    directory: &'a Path,
    checks: &'a checks::Checks,
}

impl Next<'_> {
    fn lines(&self) -> Vec<String> {
        let program = advice::program();
        let client = advice::word(&self.directory.join("clients/demo"));
        let surroundings = Surroundings::of(self.directory);
        let mut lines = vec![String::new()];
        if self.arguments.exit {
            let dir = self.arguments.dir.as_deref();
            let dir = dir
                .map(|dir| format!(" --dir {}", advice::word(dir)))
                .unwrap_or_default();
            lines.push("Next, to keep serving what is in this directory:".to_owned());
            lines.push(format!("        {program} quickstart{dir}"));
            lines.push("and in another terminal:".to_owned());
        } else {
            lines.push("Next, in another terminal:".to_owned());
        }
        lines.push(format!("        {program} token get --client {client} --trace"));
        let resource = &self.checks.protected_resource;
        lines.push(format!("        {program} call {resource} --client {client}"));
        lines.push(format!("        {program} client list{}", surroundings.admin_option()));
        // A gateway forgets when it stops; what the server refused is in the database.
        let refusal = match self.arguments.exit {
            true => &self.checks.server_refusal,
            false => &self.checks.gateway_refusal,
        };
        if let Some(id) = refusal {
            let explain = advice::explain(id, Some(&surroundings));
            lines.push(format!("        {}", explain.replace(id, &styled(STRONG, id))));
        }
        lines.push(String::new());
        lines
    }
}

fn now() -> Instant {
    Instant::now()
}

fn elapsed(started: Instant) -> f64 {
    now().duration_since(started).as_secs_f64()
}
