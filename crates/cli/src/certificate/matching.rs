//! `keybound certificate match`: which registered clients this certificate would authenticate, and why not the others.

use std::sync::Arc;

use http::Method;
use keybound_protocol::certificate_file;
use keybound_protocol::client::{Client, ClientId, ClientOrigin};
use keybound_protocol::client_metadata::{ClientAuthentication, ClientKeys, ClientMetadata};
use keybound_protocol::peer_certificate::PresentedCertificate;
use keybound_protocol::time::Timestamp;
use keybound_protocol::trust_anchor::{CrlMissing, TrustAnchor, TrustAnchorSettings, TrustAnchors};
use keybound_protocol::{self_signed_tls_client_auth, tls_client_auth};
use serde_json::{Value, json};

use crate::admin_api::AdminApi;
use crate::arguments::CertificateMatch;
use crate::client;
use crate::exit_code::{CommandError, CommandResult, ExitCode};
use crate::terminal::{BAD, DIM, GOOD, Terminal, styled, without_control_characters};

/// Judges the certificate for every client by the rules that the server uses; exit 3 if it is nobody's.
pub(crate) async fn run(arguments: &CertificateMatch, terminal: &Terminal, now: Timestamp) -> CommandResult {
    let presented = PresentedCertificate::from_peer(super::read_chain(&arguments.file)?);
    let api = AdminApi::connect(&arguments.admin).await?;
    let anchors = anchors(&api).await?;
    let mut results = Vec::new();
    for metadata in client::all(&api).await? {
        results.extend(judge(&metadata, &presented, &anchors, now));
    }
    for result in results.iter().filter(|result| result.verdict.is_ok()) {
        terminal.line(format!(
            "{} {}   {}",
            styled(GOOD, "✔"),
            result.client_id,
            result.method
        ));
    }
    for result in &results {
        if let Err(reason) = &result.verdict {
            let line = format!(
                "{}   {}: {}",
                result.client_id,
                result.method,
                without_control_characters(reason)
            );
            terminal.line(format!("{} {}", styled(BAD, "✘"), styled(DIM, line)));
        }
    }
    let matches = results.iter().filter(|result| result.verdict.is_ok()).count();
    if matches == 0 {
        terminal.line("This certificate authenticates no registered client.");
    }
    let clients: Vec<Value> = results
        .iter()
        .map(|result| {
            json!({
                "client_id": result.client_id, "token_endpoint_auth_method": result.method,
                "matches": result.verdict.is_ok(), "reason": result.verdict.as_ref().err(),
            })
        })
        .collect();
    terminal.json(&json!({ "clients": clients }));
    Ok(if matches == 0 { ExitCode::NotFound } else { ExitCode::Ok })
}

struct Judged {
    client_id: String,
    method: String,
    verdict: Result<(), String>,
}

/// Nothing for clients whose method is not one of mutual TLS: a certificate is no credential of theirs.
fn judge(metadata: &Value, presented: &PresentedCertificate, anchors: &TrustAnchors, now: Timestamp) -> Option<Judged> {
    let client_id = metadata.get("client_id")?.as_str()?;
    let parsed = ClientMetadata::parse_stored(metadata.to_string().as_bytes()).ok()?;
    let client = Client::new(ClientId::parse(client_id).ok()?, parsed, ClientOrigin::Administrator, 1);
    let client = Arc::new(client);
    let method = client.metadata().authentication_method().name().to_owned();
    let sentence = |error: &dyn std::error::Error| keybound_protocol::refusal::Refusal::reason_of(error);
    let verdict = match client.metadata().authentication() {
        ClientAuthentication::TlsClientAuth { .. } => tls_client_auth::authenticate(&client, presented, anchors, now)
            .map(|_| ())
            .map_err(|error| sentence(&error)),
        ClientAuthentication::SelfSignedTlsClientAuth {
            keys: ClientKeys::Jwks(keys),
            ..
        } => self_signed_tls_client_auth::authenticate(&client, presented, keys, anchors.epoch(), now)
            .map(|_| ())
            .map_err(|error| sentence(&error)),
        ClientAuthentication::SelfSignedTlsClientAuth { .. } => {
            Err("its certificates are at its jwks_uri, which only the server fetches".to_owned())
        }
        _ => return None,
    };
    Some(Judged {
        client_id: client_id.to_owned(),
        method,
        verdict,
    })
}

async fn anchors(api: &AdminApi) -> Result<TrustAnchors, CommandError> {
    let body = api.send(Method::GET, "anchors", None, None).await?.body;
    let entries = body
        .get("anchors")
        .and_then(Value::as_array)
        .cloned()
        .unwrap_or_default();
    let mut anchors = Vec::new();
    for entry in &entries {
        anchors.extend(anchor(entry).map_err(|error| CommandError::new(ExitCode::Unexpected, error))?);
    }
    Ok(TrustAnchors::new(1, anchors))
}

fn anchor(entry: &Value) -> anyhow::Result<Vec<TrustAnchor>> {
    let text = |name: &str| entry.get(name).and_then(Value::as_str);
    let settings = TrustAnchorSettings {
        name: text("name").unwrap_or_default().parse()?,
        certificates: certificate_file::certificates(text("certificates").unwrap_or_default().as_bytes())?,
        crls: match text("revocation_lists") {
            Some(lists) => certificate_file::revocation_lists(lists.as_bytes())?,
            None => Vec::new(),
        },
        crl_missing: match text("crl_missing") {
            Some("refuse") => Some(CrlMissing::Refuse),
            Some("accept") => Some(CrlMissing::Accept),
            _ => None,
        },
        require_client_auth_eku: entry
            .get("require_client_auth_eku")
            .and_then(Value::as_bool)
            .unwrap_or_default(),
    };
    Ok(TrustAnchor::load(&settings)?)
}
