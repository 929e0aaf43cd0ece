//! `clients = ["clients.d/*.json"]`: static clients, one JSON object of RFC 7591 metadata with `client_id` per file.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use keybound_protocol::authentication_method::AuthenticationMethod;
use keybound_protocol::client::{Client, ClientId, ClientOrigin};
use keybound_protocol::client_metadata::{ClientMetadata, RegistrationPolicy};
use keybound_protocol::secret::SecretHash;
use keybound_tls::operator_file::{self, OPERATOR_FILE_BYTES_MAX};
use serde_json::Value;

use crate::configuration::diagnostic::{Diagnostic, Located, Location, SourceText};

/// Reads every client that the patterns name. What is wrong with one is a finding in its own file.
pub(crate) fn load(patterns: &[Located<PathBuf>], policy: &RegistrationPolicy) -> (Vec<Client>, Vec<Diagnostic>) {
    let (mut clients, mut findings) = (Vec::<Client>::new(), Vec::new());
    for pattern in patterns {
        let matches = match glob::glob(&pattern.value.to_string_lossy()) {
            Ok(matches) => matches,
            Err(error) => {
                findings.push(Diagnostic::error(
                    "C040",
                    &pattern.location,
                    format!("not a pattern: {error}"),
                ));
                continue;
            }
        };
        for path in matches {
            let path = match path {
                Ok(path) => path,
                Err(error) => {
                    findings.push(Diagnostic::error("C041", &pattern.location, error.to_string()));
                    continue;
                }
            };
            match read(&path, policy, &pattern.location) {
                Ok(client) if clients.iter().any(|other| other.client_id() == client.client_id()) => {
                    let message = format!("{}: a second client is called `{}`", path.display(), client.client_id());
                    findings.push(Diagnostic::error("C042", &pattern.location, message));
                }
                Ok(client) => clients.push(client),
                Err(finding) => findings.push(*finding),
            }
        }
    }
    (clients, findings)
}

fn read(path: &Path, policy: &RegistrationPolicy, named_at: &Location) -> Result<Client, Box<Diagnostic>> {
    let text = operator_file::read_text(path, OPERATOR_FILE_BYTES_MAX).map_err(|error| {
        let finding = Diagnostic::error("C041", named_at, format!("cannot be read: {error}"));
        Box::new(match error.fix() {
            Some(fix) => finding.with_help(fix),
            None => finding,
        })
    })?;
    let source = Arc::new(SourceText {
        name: path.display().to_string(),
        text,
    });
    let text = &source.text;
    let at = |offset: usize, length: usize| Location {
        source: Arc::clone(&source),
        span: offset..offset + length,
    };
    let object: Value = serde_json::from_str(text).map_err(|error| {
        let offset = offset(text, error.line(), error.column());
        Box::new(Diagnostic::error(
            "C043",
            &at(offset, usize::from(offset < text.len())),
            format!("not JSON: {error}"),
        ))
    })?;
    let start = at(text.find('{').unwrap_or_default(), 1);
    let client_id = object.get("client_id").and_then(Value::as_str).ok_or_else(|| {
        Box::new(
            Diagnostic::error("C044", &start, "`client_id` is missing")
                .with_help("a client file is one JSON object with \"client_id\" and RFC 7591 metadata"),
        )
    })?;
    let client_id = ClientId::parse(client_id).map_err(|error| {
        Box::new(Diagnostic::error(
            "C044",
            &member(&source, "client_id").unwrap_or(start.clone()),
            error.to_string(),
        ))
    })?;
    let metadata = ClientMetadata::parse(text.as_bytes(), policy).map_err(|error| {
        // The sentence names the member it is about in backquotes.
        let sentence = error.to_string();
        let place = sentence
            .split('`')
            .nth(1)
            .and_then(|name| member(&source, name))
            .unwrap_or_else(|| start.clone());
        Box::new(Diagnostic::error("C045", &place, sentence))
    })?;
    let secret = secret(&source, &object, metadata.authentication_method(), &start)?;
    Ok(Client::new(client_id, metadata, ClientOrigin::ConfigurationFile, 0).with_secret(secret))
}

/// Where a file has the SHA-256 of its client's secret: files are shown around, so none has the secret itself.
const SECRET_SHA256: &str = "keybound_client_secret_sha256";

fn secret(
    source: &Arc<SourceText>,
    object: &Value,
    method: AuthenticationMethod,
    start: &Location,
) -> Result<Option<SecretHash>, Box<Diagnostic>> {
    let wrong = |name: &str, message: String| {
        let place = member(source, name).unwrap_or_else(|| start.clone());
        Box::new(
            Diagnostic::error("C046", &place, message)
                .with_help("`printf %s \"$SECRET\" | sha256sum` prints it, of a secret with at least 128 random bits"),
        )
    };
    if object.get("client_secret").is_some() {
        let message = format!("`client_secret` does not belong in a file: register `{SECRET_SHA256}`");
        return Err(wrong("client_secret", message));
    }
    match (method.has_secret(), object.get(SECRET_SHA256)) {
        (false, None) => Ok(None),
        (true, None) => Err(wrong(
            "token_endpoint_auth_method",
            format!("a client with `token_endpoint_auth_method` {method} needs `{SECRET_SHA256}`"),
        )),
        (false, Some(_)) => Err(wrong(
            SECRET_SHA256,
            format!("`{SECRET_SHA256}` does not belong to a client with `token_endpoint_auth_method` {method}"),
        )),
        (true, Some(value)) => {
            let hash = value.as_str().map(SecretHash::from_hex);
            match hash {
                Some(Ok(hash)) => Ok(Some(hash)),
                Some(Err(_)) | None => Err(wrong(
                    SECRET_SHA256,
                    format!("`{SECRET_SHA256}` is not 64 hexadecimal digits"),
                )),
            }
        }
    }
}

/// The place of a member's name at the outermost level, or at least of its first mention.
fn member(source: &Arc<SourceText>, name: &str) -> Option<Location> {
    let quoted = format!("\"{name}\"");
    let start = source.text.find(&quoted)?;
    Some(Location {
        source: Arc::clone(source),
        span: start..start + quoted.len(),
    })
}

/// The byte at serde_json's line and column, both from 1.
fn offset(text: &str, line: usize, column: usize) -> usize {
    let start: usize = text
        .split_inclusive('\n')
        .take(line.saturating_sub(1))
        .map(str::len)
        .sum();
    (start + column.saturating_sub(1)).min(text.len())
}
