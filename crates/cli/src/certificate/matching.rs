//! `keybound certificate match`: which registered clients this certificate would authenticate, and why not the others.

use bytes::Bytes;
use http::Method;
use keybound_protocol::base64url;
use serde_json::{Value, json};

use crate::admin_api::AdminApi;
use crate::arguments::CertificateMatch;
use crate::exit_code::{CommandResult, ExitCode};
use crate::terminal::{BAD, DIM, GOOD, Terminal, styled, without_control_characters};

/// Has the server judge the certificate for every client; exit 3 if it is nobody's.
pub(crate) async fn run(arguments: &CertificateMatch, terminal: &Terminal) -> CommandResult {
    // Only the certificates of the file: a private key that lies beside them goes nowhere.
    let presented = super::read_chain(&arguments.file)?;
    let chain = std::iter::once(presented.der()).chain(presented.intermediates().iter().map(Vec::as_slice));
    let chain = Bytes::from(chain.map(pem).collect::<String>());
    let api = AdminApi::connect(&arguments.admin).await?;
    let clients = api.clients(Method::POST, "certificates/match", chain).await?;
    let (matching, others): (Vec<&Value>, Vec<&Value>) = clients.iter().partition(|client| client["matches"] == true);
    for client in &matching {
        let line = format!(
            "{}   {}",
            text(client, "client_id"),
            text(client, "token_endpoint_auth_method")
        );
        terminal.line(format!("{} {line}", styled(GOOD, "✔")));
    }
    for client in &others {
        let line = format!("{}   {}", text(client, "client_id"), text(client, "reason"));
        terminal.line(format!("{} {}", styled(BAD, "✘"), styled(DIM, line)));
    }
    if matching.is_empty() {
        terminal.line("This certificate authenticates no registered client.");
    }
    terminal.json(&json!({ "clients": clients }));
    Ok(if matching.is_empty() {
        ExitCode::NotFound
    } else {
        ExitCode::Ok
    })
}

fn text(client: &Value, name: &str) -> String {
    without_control_characters(client[name].as_str().unwrap_or_default())
}

fn pem(certificate: &[u8]) -> String {
    let text = base64url::encode_standard(certificate);
    format!("-----BEGIN CERTIFICATE-----\n{text}\n-----END CERTIFICATE-----\n")
}
