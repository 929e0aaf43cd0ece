//! `keybound backchannel`: an administrator speaks for a user who was asked by backchannel authentication (CIBA Core).

use http::Method;
use serde_json::json;

use crate::admin_api::{AdminApi, segment};
use crate::arguments::{Backchannel, BackchannelDecision};
use crate::client::print;
use crate::exit_code::{CommandResult, ExitCode};
use crate::terminal::{GOOD, Terminal, styled};

/// Runs one of the subcommands.
pub(crate) async fn run(command: &Backchannel, terminal: &Terminal) -> CommandResult {
    match command {
        Backchannel::Show(arguments) => show(arguments, terminal).await,
        Backchannel::Approve(arguments) => decide(arguments, "approve", terminal).await,
        Backchannel::Deny(arguments) => decide(arguments, "deny", terminal).await,
    }
}

async fn show(arguments: &BackchannelDecision, terminal: &Terminal) -> CommandResult {
    let api = AdminApi::connect(&arguments.admin).await?;
    let answer = api.send(Method::GET, &path(arguments), None, None).await?;
    print(&answer, terminal);
    Ok(ExitCode::Ok)
}

async fn decide(arguments: &BackchannelDecision, decision: &str, terminal: &Terminal) -> CommandResult {
    let api = AdminApi::connect(&arguments.admin).await?;
    let body = json!({ "decision": decision });
    let answer = api.send(Method::POST, &path(arguments), Some(&body), None).await?;
    terminal.remark(format!("{} decided", styled(GOOD, "✔")));
    print(&answer, terminal);
    Ok(ExitCode::Ok)
}

fn path(arguments: &BackchannelDecision) -> String {
    format!("backchannel/{}", segment(&arguments.auth_req_id))
}
