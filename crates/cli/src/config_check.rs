//! `keybound config check`: every mistake of a configuration file at once.

use std::path::Path;

use keybound_protocol::client::ClientId;
use keybound_protocol::profile::Profile;
use keybound_tls::OperatorFileError;

use crate::arguments::ConfigCheck;
use crate::configuration::diagnostic::{Diagnostic, Severity};
use crate::configuration::{self, count, gateway, server};
use crate::exit_code::{CommandError, CommandResult, ExitCode};
use crate::terminal::Terminal;
use crate::{gateway_daemon, serve};

/// Checks the file and what it names; opens no socket and no database.
pub(crate) fn run(arguments: &ConfigCheck, terminal: &Terminal) -> CommandResult {
    let path = &arguments.config;
    let findings = findings(path)?;
    let invalid = findings.iter().any(|finding| finding.severity == Severity::Error);
    for finding in &findings {
        terminal.line(finding.render(terminal.coloured()));
        terminal.line("");
    }
    let (profile, clients) = profiles(path)?;
    let changes: Vec<String> = profile.changes().map(|change| change.to_string()).collect();
    for change in &changes {
        terminal.line(format!("{profile}: {change}"));
    }
    let mut client_profiles = Vec::new();
    for (client_id, stricter) in clients {
        // Each profile changes what the one before it does, and more.
        let changes: Vec<String> = stricter
            .changes()
            .skip(changes.len())
            .map(|change| change.to_string())
            .collect();
        for change in &changes {
            terminal.line(format!("client {client_id}, {stricter}: {change}"));
        }
        client_profiles.push(serde_json::json!({
            "client_id": client_id.as_str(), "profile": stricter.name(), "profile_changes": changes,
        }));
    }
    match findings.len() {
        0 => terminal.line(format!("{}: no errors", path.display())),
        _ => terminal.line(count(&findings)),
    }
    let json: Vec<_> = findings.iter().map(Diagnostic::to_json).collect();
    terminal.json(&serde_json::json!({
        "file": path.display().to_string(), "valid": !invalid, "findings": json,
        "profile": profile.name(), "profile_changes": changes, "client_profiles": client_profiles,
    }));
    Ok(if invalid {
        ExitCode::InvalidConfiguration
    } else {
        ExitCode::Ok
    })
}

fn findings(path: &Path) -> Result<Vec<Diagnostic>, CommandError> {
    let text = configuration::read_text(path).map_err(unreadable)?;
    if is_gateway(path, &text) {
        let reading = configuration::parse(path, &text, &configuration::environment(), gateway::interpret);
        return Ok(gateway_daemon::check(reading));
    }
    Ok(serve::check(path, &text))
}

/// The profile of a server's file, with the clients whose own is stricter; the default one of a gateway's and of one that is too broken to
/// say.
fn profiles(path: &Path) -> Result<(Profile, Vec<(ClientId, Profile)>), CommandError> {
    let text = configuration::read_text(path).map_err(unreadable)?;
    if is_gateway(path, &text) {
        return Ok((Profile::Default, Vec::new()));
    }
    let reading = configuration::parse(path, &text, &configuration::environment(), server::interpret);
    Ok(reading.value.map_or((Profile::Default, Vec::new()), |file| {
        (file.policy.profile, serve::stricter_clients(&file))
    }))
}

/// A gateway's file is the one with routes; an empty or broken one is told by its name.
fn is_gateway(path: &Path, text: &str) -> bool {
    let says = |word: &str| text.lines().any(|line| line.trim_start().starts_with(word));
    if says("[[routes]]") || says("[[issuers]]") {
        return true;
    }
    path.file_name()
        .is_some_and(|name| name.to_string_lossy().contains("gateway"))
        && !says("issuer")
}

/// The file that a command needs cannot be read.
pub(crate) fn unreadable(error: OperatorFileError) -> CommandError {
    let code = match error.is_not_found() {
        true => ExitCode::NotFound,
        false => ExitCode::InvalidConfiguration,
    };
    let fix = error
        .fix()
        .unwrap_or("`keybound init` writes a commented configuration, `keybound quickstart` a running demonstration");
    CommandError::new(code, error).with_fix(fix)
}
