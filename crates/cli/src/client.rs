//! `keybound client`: registered clients, under their RFC 7591 names.

use std::path::Path;

use bytes::Bytes;
use http::Method;
use keybound_tls::OPERATOR_FILE_BYTES_MAX;
use serde_json::{Map, Value};

use crate::admin_api::{AdminApi, Answer, segment};
use crate::arguments::{Client, ClientCreate, ClientList, ClientShow, ClientUpdate};
use crate::certificate;
use crate::exit_code::{CommandError, CommandResult, ExitCode};
use crate::terminal::{GOOD, STRONG, Terminal, styled, without_control_characters};

/// Runs one of the subcommands.
pub(crate) async fn run(command: &Client, terminal: &Terminal) -> CommandResult {
    match command {
        Client::Create(arguments) => create(arguments, terminal).await,
        Client::List(arguments) => list(arguments, terminal).await,
        Client::Show(arguments) => show(arguments, terminal).await,
        Client::Update(arguments) => update(arguments, terminal).await,
        Client::Delete(arguments) => delete(arguments, terminal).await,
    }
}

async fn create(arguments: &ClientCreate, terminal: &Terminal) -> CommandResult {
    let mut metadata = match &arguments.file {
        Some(file) => object_from(file)?,
        None => Map::new(),
    };
    set(&mut metadata, &arguments.set)?;
    if metadata.is_empty() {
        return Err(CommandError::message(ExitCode::Usage, "no metadata is given").with_fix(
            "--file FILE with a JSON object, or --set NAME=VALUE; `keybound certificate inspect` prints ready ones",
        ));
    }
    let api = AdminApi::connect(&arguments.admin).await?;
    let answer = api
        .send(Method::POST, "clients", Some(&Value::Object(metadata)), None)
        .await?;
    terminal.remark(format!("{} registered", styled(GOOD, "✔")));
    print(&answer, terminal);
    Ok(ExitCode::Ok)
}

async fn list(arguments: &ClientList, terminal: &Terminal) -> CommandResult {
    let api = AdminApi::connect(&arguments.admin).await?;
    let clients = api.clients(Method::GET, "clients", Bytes::new()).await?;
    let mut table = comfy_table::Table::new();
    table.load_style(comfy_table::presets::NOTHING);
    table.set_header(["CLIENT_ID", "METHOD", "SUBJECT OR KEYS", "BOUND TOKENS", "SCOPE"]);
    for client in &clients {
        let text = |name: &str| {
            client
                .get(name)
                .and_then(Value::as_str)
                .map(without_control_characters)
                .unwrap_or_default()
        };
        let bound = client
            .get("tls_client_certificate_bound_access_tokens")
            .and_then(Value::as_bool)
            .unwrap_or_default();
        table.add_row([
            text("client_id"),
            text("token_endpoint_auth_method"),
            credential(client),
            if bound { "yes" } else { "no" }.to_owned(),
            text("scope"),
        ]);
    }
    terminal.line(table.trim_fmt());
    terminal.json(&serde_json::json!({ "clients": clients }));
    Ok(ExitCode::Ok)
}

/// What the client's certificate is compared with, in few words.
fn credential(client: &Value) -> String {
    let subject = client.as_object().into_iter().flatten().find_map(|(name, value)| {
        let short = name.strip_prefix("tls_client_auth_")?;
        Some(format!("{short} {}", without_control_characters(value.as_str()?)))
    });
    let keys = || match (
        client.get("jwks_uri").and_then(Value::as_str),
        client.pointer("/jwks/keys").and_then(Value::as_array),
    ) {
        (Some(uri), _) => without_control_characters(uri),
        (None, Some(keys)) => format!("{} registered", keys.len()),
        (None, None) => String::new(),
    };
    subject.unwrap_or_else(keys)
}

async fn show(arguments: &ClientShow, terminal: &Terminal) -> CommandResult {
    let api = AdminApi::connect(&arguments.admin).await?;
    let answer = api.send(Method::GET, &path(&arguments.client_id), None, None).await?;
    print(&answer, terminal);
    Ok(ExitCode::Ok)
}

async fn update(arguments: &ClientUpdate, terminal: &Terminal) -> CommandResult {
    let api = AdminApi::connect(&arguments.admin).await?;
    let path = path(&arguments.client_id);
    if arguments.rotate_secret {
        let answer = api.send(Method::POST, &format!("{path}/secret"), None, None).await?;
        terminal.remark(format!("{} a new secret, shown this once", styled(GOOD, "✔")));
        print(&answer, terminal);
        return Ok(ExitCode::Ok);
    }
    // Read, change, write back only if nobody else did meanwhile: PUT replaces the whole set (RFC 7592 §2.2).
    let current = api.send(Method::GET, &path, None, None).await?;
    let metadata = match &arguments.file {
        Some(file) => object_from(file)?,
        None => {
            let Value::Object(mut metadata) = current.body else {
                return Err(CommandError::message(
                    ExitCode::Unexpected,
                    "the server answered something that is no client",
                ));
            };
            for name in &arguments.unset {
                if metadata.remove(name).is_none() {
                    return Err(CommandError::message(
                        ExitCode::NotFound,
                        format!("the client has no `{name}`"),
                    ));
                }
            }
            set(&mut metadata, &arguments.set)?;
            metadata
        }
    };
    let answer = api
        .send(
            Method::PUT,
            &path,
            Some(&Value::Object(metadata)),
            current.entity_tag.as_deref(),
        )
        .await?;
    terminal.remark(format!("{} changed", styled(GOOD, "✔")));
    print(&answer, terminal);
    Ok(ExitCode::Ok)
}

async fn delete(arguments: &ClientShow, terminal: &Terminal) -> CommandResult {
    let api = AdminApi::connect(&arguments.admin).await?;
    api.send(Method::DELETE, &path(&arguments.client_id), None, None)
        .await?;
    terminal.remark(format!(
        "{} {} is deleted: no more tokens, introspection says inactive, and JWTs that a resource checks by itself end when they expire",
        styled(GOOD, "✔"),
        arguments.client_id
    ));
    terminal.json(&serde_json::json!({ "client_id": arguments.client_id, "deleted": true }));
    Ok(ExitCode::Ok)
}

fn path(client_id: &str) -> String {
    format!("clients/{}", segment(client_id))
}

fn object_from(file: &Path) -> Result<Map<String, Value>, CommandError> {
    let bytes = certificate::read(file, OPERATOR_FILE_BYTES_MAX)?;
    match serde_json::from_slice(&bytes) {
        Ok(Value::Object(object)) => Ok(object),
        Ok(_) => Err(CommandError::message(
            ExitCode::Usage,
            format!("{} is not one JSON object", file.display()),
        )),
        Err(error) => Err(CommandError::message(
            ExitCode::Usage,
            format!("{}: {error}", file.display()),
        )),
    }
}

/// Members that are strings whatever their value looks like: an identifier `0123` is no number.
const STRINGS: [&str; 3] = ["client_id", "client_name", "scope"];

/// Members that are lists of words: `a` and `a,b` are understood besides JSON.
const WORD_LISTS: [&str; 4] = ["grant_types", "response_types", "contacts", "keybound_trust_anchors"];

/// Members that are lists of URIs: one is understood besides JSON. A URI may have commas.
const URI_LISTS: [&str; 4] = [
    "redirect_uris",
    "post_logout_redirect_uris",
    "request_uris",
    "keybound_introspects",
];

fn set(metadata: &mut Map<String, Value>, assignments: &[String]) -> Result<(), CommandError> {
    for assignment in assignments {
        let Some((name, value)) = assignment.split_once('=') else {
            return Err(CommandError::message(
                ExitCode::Usage,
                format!("--set {assignment}: NAME=VALUE is wanted"),
            ));
        };
        metadata.insert(name.to_owned(), assigned(name, value));
    }
    Ok(())
}

fn assigned(name: &str, value: &str) -> Value {
    let string = STRINGS.contains(&name) || name.starts_with("tls_client_auth_");
    match serde_json::from_str(value) {
        // A list that is said to be a string is taken at its word, and refused by the server.
        Ok(json) if !string => json,
        _ if WORD_LISTS.contains(&name) => {
            let words = value.split(',').map(str::trim).filter(|word| !word.is_empty());
            words.map(Value::from).collect()
        }
        _ if URI_LISTS.contains(&name) => vec![value].into(),
        _ => Value::from(value),
    }
}

/// Prints a representation, a member a line.
pub(crate) fn print(answer: &Answer, terminal: &Terminal) {
    for (name, value) in answer.body.as_object().into_iter().flatten() {
        let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        terminal.line(format!(
            "{} {}",
            styled(STRONG, format!("{name:<44}")),
            without_control_characters(&value)
        ));
    }
    terminal.json(&answer.body);
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_value_is_what_its_member_wants() {
        for (name, value, expected) in [
            ("grant_types", "client_credentials", json!(["client_credentials"])),
            (
                "grant_types",
                "client_credentials, refresh_token",
                json!(["client_credentials", "refresh_token"]),
            ),
            ("grant_types", "[\"client_credentials\"]", json!(["client_credentials"])),
            ("grant_types", "", json!([])),
            ("keybound_trust_anchors", "corp,partners", json!(["corp", "partners"])),
            (
                "redirect_uris",
                "https://a.test/?x=1,2",
                json!(["https://a.test/?x=1,2"]),
            ),
            ("client_id", "0123", json!("0123")),
            ("client_name", "Smith, Jones", json!("Smith, Jones")),
            ("tls_client_auth_subject_dn", "CN=a,O=b", json!("CN=a,O=b")),
            ("tls_client_certificate_bound_access_tokens", "true", json!(true)),
            ("jwks", "{\"keys\":[]}", json!({ "keys": [] })),
        ] {
            assert_eq!(assigned(name, value), expected, "{name}={value}");
        }
    }
}
