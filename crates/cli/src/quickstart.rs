//! `keybound quickstart`: from an empty directory to a bound token accepted and its replay refused.
//!
//! Every role is played by its own part, on real sockets: the authorization server and the gateway are the daemons of
//! `serve` and `gateway`, the clients are the client library. Read [`files`] for what is written, [`checks`] for what is shown.

mod checks;
mod files;

use std::path::{Path, PathBuf};
use std::time::Instant;

use keybound_tls::{Clock, Runtimes};

use crate::arguments::Quickstart;
use crate::config_check::unreadable;
use crate::configuration::{self, gateway::GatewayFile, server::ServerFile};
use crate::exit_code::{CommandError, CommandResult, ExitCode};
use crate::gateway_daemon::GatewayDaemon;
use crate::serve::ServerDaemon;
use crate::signals;
use crate::terminal::{BAD, DIM, GOOD, STRONG, Terminal, styled};
use files::Layout;

/// Makes what is missing, starts both daemons, runs the checks, and serves on unless told to exit.
pub(crate) fn run(arguments: &Quickstart, terminal: &Terminal, clock: &Clock) -> CommandResult {
    let started = now();
    if !arguments.listen.is_loopback() {
        return Err(CommandError::message(
            ExitCode::Usage,
            format!("{} is not a loopback address", arguments.listen),
        )
        .with_fix("quickstart makes keys that nobody guards; `keybound init` prepares a server for others"));
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
    gateway.start();
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
    let passed = checks.outcomes.iter().all(checks::Outcome::passed);
    say_what_next(terminal, &directory, &checks, arguments.exit);
    terminal.line(styled(
        DIM,
        format!(
            " ! Development mode: loopback only, do not expose.   {:.1} s",
            elapsed(started)
        ),
    ));
    terminal.json(&serde_json::json!({
        "issuer": server.issuer(), "mtls_token_endpoint": checks.mtls_token_endpoint, "gateway": gateway.resource(),
        "directory": if directory.as_os_str().is_empty() { ".".to_owned() } else { directory.display().to_string() },
        "checks": checks.outcomes.iter().map(checks::Outcome::to_json).collect::<Vec<_>>(),
    }));
    if !passed {
        server.stop(&runtimes);
        gateway.stop(&runtimes);
        return Err(CommandError::message(
            ExitCode::Unexpected,
            "a check did not come out as it must",
        ));
    }
    if !arguments.exit {
        runtimes.block_on(signals::until_stop(
            || server.files_changed() | gateway.files_changed(),
            async || {
                server.reload().await;
                gateway.reload();
            },
        ));
    }
    gateway.stop(&runtimes);
    server.stop(&runtimes);
    Ok(ExitCode::Ok)
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
    terminal.line(format!(" {} {what:<22} {}", styled(GOOD, "✔"), styled(DIM, detail)));
}

fn say_what_next(terminal: &Terminal, directory: &Path, shown: &checks::Checks, exits: bool) {
    let client = directory.join("clients/demo");
    let admin = directory.join("admin.toml");
    terminal.line("");
    if exits {
        terminal
            .line("Next:   keybound quickstart            keeps serving what is in this directory; then, beside it:");
    } else {
        terminal.line("Next, in another terminal:");
    }
    terminal.line(format!(
        "        keybound token get --client {} --trace",
        client.display()
    ));
    terminal.line(format!(
        "        keybound call {} --client {}",
        shown.protected_resource,
        client.display()
    ));
    terminal.line(format!("        keybound client list --admin {}", admin.display()));
    if let Some(id) = &shown.refusal_id {
        terminal.line(format!(
            "        keybound explain {} --admin {}",
            styled(STRONG, id),
            admin.display()
        ));
    }
    terminal.line("");
}

fn now() -> Instant {
    Instant::now()
}

fn elapsed(started: Instant) -> f64 {
    now().duration_since(started).as_secs_f64()
}
