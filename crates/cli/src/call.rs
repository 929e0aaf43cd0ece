//! `keybound call URL`: get a bound token and call a protected resource with it.

use std::io::IsTerminal;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, Request};

use crate::acting::ClientProfile;
use crate::advice::{self, Surroundings};
use crate::arguments::Call;
use crate::certificate;
use crate::exit_code::{CommandError, CommandResult, ExitCode};
use crate::session::{Session, Wanted};
use crate::terminal::{BAD, STRONG, Terminal, styled, without_control_characters};

/// Of a request and of an answer: both are held in memory.
const BODY_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// Prints the body; the exit code follows the status.
pub(crate) async fn run(arguments: &Call, terminal: &Terminal) -> CommandResult {
    let request = request(arguments)?;
    let session = Session::start(
        ClientProfile::from_arguments(&arguments.client)?,
        arguments.client.trace,
    )
    .await?;
    let wanted = Wanted::from(&arguments.wanted);
    let response = match &arguments.token {
        Some(token) => session.send_with_token(token, request).await?,
        None => session.call(&wanted, request).await?,
    };
    let (parts, body) = response.into_parts();
    let body = body
        .collect_at_most(BODY_BYTES_MAX)
        .await
        .map_err(|error| CommandError::new(ExitCode::Network, error))?;
    let text = String::from_utf8_lossy(&body);
    let header = |name: &str| {
        parts
            .headers
            .get(name)
            .and_then(|value| value.to_str().ok())
            .map(str::to_owned)
    };
    if terminal.is_json() {
        let json: serde_json::Value = serde_json::from_slice(&body).unwrap_or_else(|_| text.as_ref().into());
        terminal.json(&serde_json::json!({
            "status": parts.status.as_u16(), "www_authenticate": header("www-authenticate"),
            "refusal": header("keybound-refusal"), "body": json,
        }));
    } else if std::io::stdout().is_terminal() {
        terminal.line(without_control_characters(&text));
    } else {
        // Into a file or a pipe it goes octet for octet.
        terminal.octets(&body);
    }
    if !parts.status.is_success() {
        terminal.remark(format!("{} {}", styled(BAD, "HTTP"), styled(STRONG, parts.status)));
        if let Some(challenge) = header("www-authenticate") {
            terminal.remark(format!(
                "  WWW-Authenticate: {}",
                without_control_characters(&challenge)
            ));
        }
        if let Some(id) = header("keybound-refusal") {
            let surroundings = arguments.client.client.as_deref().and_then(Surroundings::of_client);
            let explain = advice::explain(&without_control_characters(&id), surroundings.as_ref());
            terminal.remark(format!("  why: {explain}"));
        }
    }
    Ok(match parts.status.as_u16() {
        200..=299 => ExitCode::Ok,
        401 | 403 => ExitCode::Refused,
        404 => ExitCode::NotFound,
        409 | 412 => ExitCode::Conflict,
        429 | 502 | 503 => ExitCode::Unavailable,
        504 => ExitCode::TimedOut,
        _ => ExitCode::Unexpected,
    })
}

fn request(arguments: &Call) -> Result<Request<Bytes>, CommandError> {
    let usage = |sentence: String| CommandError::message(ExitCode::Usage, sentence);
    let method = Method::from_bytes(arguments.method.as_bytes())
        .map_err(|_| usage(format!("{} is not a request method", arguments.method)))?;
    if !arguments.url.starts_with("https://") {
        return Err(usage(format!("{}: a token is sent over https only", arguments.url)));
    }
    let body = match &arguments.data {
        None => Vec::new(),
        Some(data) => match data.strip_prefix('@') {
            Some(file) => certificate::read(file.as_ref(), BODY_BYTES_MAX)?,
            None => data.clone().into_bytes(),
        },
    };
    let mut request = Request::builder().method(method).uri(&arguments.url);
    for header in &arguments.header {
        let Some((name, value)) = header.split_once(':') else {
            return Err(usage(format!("--header {header}: NAME: VALUE is wanted")));
        };
        let name = HeaderName::try_from(name.trim()).map_err(|_| usage(format!("{name} is not a header name")))?;
        let value = HeaderValue::try_from(value.trim()).map_err(|_| usage(format!("{value} is not a header value")))?;
        request = request.header(name, value);
    }
    request
        .body(Bytes::from(body))
        .map_err(|error| usage(format!("{}: {error}", arguments.url)))
}
