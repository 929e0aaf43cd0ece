//! `keybound explain ID`: why a request was refused.

use std::time::Duration;

use http::{Method, Request};
use keybound_protocol::refusal::{Refusal, RefusalId, RefusalSource};
use keybound_protocol::time::Timestamp;
use keybound_tls::{HttpClient, HttpClientSettings, OutgoingBody, Roots};

use crate::admin_api::AdminApi;
use crate::arguments::Explain;
use crate::exit_code::{CommandError, CommandResult, ExitCode};
use crate::explanation;
use crate::terminal::Terminal;

const BODY_BYTES_MAX: u64 = 256 * 1024;

/// Fetches the record, from the server's admin API or a gateway's operations listener, and prints it.
pub(crate) async fn run(arguments: &Explain, terminal: &Terminal, now: Timestamp) -> CommandResult {
    let id = RefusalId::parse(id_in(&arguments.id)).map_err(|error| {
        CommandError::new(ExitCode::Usage, error)
            .with_fix("the id is in the Keybound-Refusal header of the answer, and at the end of its error_uri")
    })?;
    let record = match id.source() {
        RefusalSource::AuthorizationServer => {
            let api = AdminApi::connect(&arguments.admin).await?;
            api.send(Method::GET, &format!("refusals/{id}"), None, None).await?.body
        }
        RefusalSource::Gateway => from_gateway(arguments, id).await?,
    };
    let refusal: Refusal = serde_json::from_value(record.clone()).map_err(|error| {
        CommandError::message(
            ExitCode::Unexpected,
            format!("the record of {id} cannot be read: {error}"),
        )
    })?;
    for line in explanation::lines(&refusal, now) {
        terminal.line(line);
    }
    terminal.json(&record);
    Ok(ExitCode::Ok)
}

/// The id itself, or the last segment of the error_uri: `{issuer}/console/refusals/{ID}`.
fn id_in(text: &str) -> &str {
    let text = text.trim().trim_end_matches('/');
    text.rsplit('/').next().unwrap_or(text)
}

async fn from_gateway(arguments: &Explain, id: RefusalId) -> Result<serde_json::Value, CommandError> {
    let url = format!("{}/refusals/{id}", arguments.gateway.trim_end_matches('/'));
    let mut settings = HttpClientSettings::new(Roots::none());
    settings.plain_http = true;
    settings.response_timeout = Some(Duration::from_secs(5));
    let request = Request::get(&url)
        .body(OutgoingBody::Empty)
        .map_err(anyhow::Error::from)?;
    let response = HttpClient::new(settings).send(request).await.map_err(|error| {
        CommandError::new(ExitCode::Network, error).with_fix("--gateway names the gateway's operations listener")
    })?;
    let status = response.status();
    let body = response.into_body().collect_at_most(BODY_BYTES_MAX).await;
    let body = body.map_err(|error| CommandError::new(ExitCode::Network, error))?;
    match status.as_u16() {
        200 => serde_json::from_slice(&body).map_err(|error| anyhow::Error::from(error).into()),
        404 => Err(CommandError::message(
            ExitCode::NotFound,
            format!("the gateway at {} knows no refusal {id}", arguments.gateway),
        )
        .with_fix("a gateway remembers its last 10,000 refusals since it started; older ones are in its log")),
        _ => Err(CommandError::message(
            ExitCode::Unexpected,
            format!("{url} answered {status}"),
        )),
    }
}
