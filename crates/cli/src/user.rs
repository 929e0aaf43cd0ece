//! `keybound user`: the local directory.

use std::path::Path;

use http::Method;
use serde_json::{Map, Value, json};

use crate::admin_api::{AdminApi, segment};
use crate::arguments::{User, UserCreate, UserList, UserShow, UserUpdate};
use crate::certificate;
use crate::client::print;
use crate::exit_code::{CommandError, CommandResult, ExitCode};
use crate::terminal::{GOOD, Terminal, styled, without_control_characters};

/// Longer than any password that the server takes, and its line break.
const PASSWORD_FILE_BYTES_MAX: u64 = 4 * 1024;

/// Runs one of the subcommands.
pub(crate) async fn run(command: &User, terminal: &Terminal) -> CommandResult {
    match command {
        User::Create(arguments) => create(arguments, terminal).await,
        User::List(arguments) => list(arguments, terminal).await,
        User::Show(arguments) => show(arguments, terminal).await,
        User::Update(arguments) => update(arguments, terminal).await,
        User::Delete(arguments) => delete(arguments, terminal).await,
    }
}

async fn create(arguments: &UserCreate, terminal: &Terminal) -> CommandResult {
    let mut user = json!({
        "name": arguments.name,
        "password": first_line(&arguments.password_file)?,
        "claims": assigned(Map::new(), &arguments.set)?,
    });
    if let Some(file) = &arguments.user_code_file {
        user["user_code"] = first_line(file)?.into();
    }
    let api = AdminApi::connect(&arguments.admin).await?;
    let answer = api.send(Method::POST, "users", Some(&user), None).await?;
    terminal.remark(format!("{} made", styled(GOOD, "✔")));
    print(&answer, terminal);
    Ok(ExitCode::Ok)
}

async fn list(arguments: &UserList, terminal: &Terminal) -> CommandResult {
    let api = AdminApi::connect(&arguments.admin).await?;
    let users = api.list("users").await?;
    let mut table = comfy_table::Table::new();
    table.load_style(comfy_table::presets::NOTHING);
    table.set_header(["NAME", "SUB", "STATE", "E-MAIL"]);
    for user in &users {
        let text = |pointer: &str| {
            let text = user.pointer(pointer).and_then(Value::as_str);
            text.map(without_control_characters).unwrap_or_default()
        };
        table.add_row([
            text("/name"),
            text("/sub"),
            state(user).to_owned(),
            text("/claims/email"),
        ]);
    }
    terminal.line(table.trim_fmt());
    terminal.json(&json!({ "users": users }));
    Ok(ExitCode::Ok)
}

fn state(user: &Value) -> &'static str {
    if user.get("disabled").and_then(Value::as_bool).unwrap_or_default() {
        "disabled"
    } else if user.get("locked_until").is_some() {
        "locked out"
    } else {
        "active"
    }
}

async fn show(arguments: &UserShow, terminal: &Terminal) -> CommandResult {
    let api = AdminApi::connect(&arguments.admin).await?;
    let answer = api.send(Method::GET, &path(&arguments.name), None, None).await?;
    print(&answer, terminal);
    Ok(ExitCode::Ok)
}

async fn update(arguments: &UserUpdate, terminal: &Terminal) -> CommandResult {
    let password = arguments.password_file.as_deref().map(first_line).transpose()?;
    let user_code = arguments.user_code_file.as_deref().map(first_line).transpose()?;
    let api = AdminApi::connect(&arguments.admin).await?;
    let path = path(&arguments.name);
    // Read, change, write back only if nobody else did meanwhile.
    let current = api.send(Method::GET, &path, None, None).await?;
    let member = |name: &str| current.body.get(name).cloned();
    let Some(Value::Object(mut claims)) = member("claims") else {
        return Err(CommandError::message(
            ExitCode::Unexpected,
            "the server answered something that is no user",
        ));
    };
    for name in &arguments.unset {
        if claims.remove(name).is_none() {
            return Err(CommandError::message(
                ExitCode::NotFound,
                format!("the user has no claim `{name}`"),
            ));
        }
    }
    let is_disabled = member("disabled")
        .and_then(|disabled| disabled.as_bool())
        .unwrap_or_default();
    let mut user = json!({
        "claims": assigned(claims, &arguments.set)?,
        "disabled": arguments.disable || (is_disabled && !arguments.enable),
    });
    if let Some(password) = password {
        user["password"] = password.into();
    }
    if arguments.no_user_code {
        user["user_code"] = Value::Null;
    } else if let Some(user_code) = user_code {
        user["user_code"] = user_code.into();
    }
    let answer = api
        .send(Method::PUT, &path, Some(&user), current.entity_tag.as_deref())
        .await?;
    terminal.remark(format!("{} changed", styled(GOOD, "✔")));
    print(&answer, terminal);
    Ok(ExitCode::Ok)
}

async fn delete(arguments: &UserShow, terminal: &Terminal) -> CommandResult {
    let api = AdminApi::connect(&arguments.admin).await?;
    api.send(Method::DELETE, &path(&arguments.name), None, None).await?;
    terminal.remark(format!(
        "{} {} is deleted",
        styled(GOOD, "✔"),
        without_control_characters(&arguments.name)
    ));
    terminal.json(&json!({ "name": arguments.name, "deleted": true }));
    Ok(ExitCode::Ok)
}

fn path(name: &str) -> String {
    format!("users/{}", segment(name))
}

/// A secret out of a file: everything up to the first line break, which editors put at the end of whatever they save.
fn first_line(file: &Path) -> Result<String, CommandError> {
    let octets = certificate::read(file, PASSWORD_FILE_BYTES_MAX)?;
    let text = String::from_utf8(octets)
        .map_err(|_| CommandError::message(ExitCode::Usage, format!("{} is not text in UTF-8", file.display())))?;
    let line = text.lines().next().unwrap_or_default();
    if line.is_empty() {
        let sentence = format!("the first line of {} is empty", file.display());
        return Err(CommandError::message(ExitCode::Usage, sentence));
    }
    Ok(line.to_owned())
}

/// Claims whose values are strings whatever they look like.
const STRINGS: [&str; 4] = ["name", "nickname", "phone_number", "birthdate"];

fn assigned(mut claims: Map<String, Value>, assignments: &[String]) -> Result<Map<String, Value>, CommandError> {
    for assignment in assignments {
        let Some((name, value)) = assignment.split_once('=') else {
            return Err(CommandError::message(
                ExitCode::Usage,
                format!("--set {assignment}: NAME=VALUE is wanted"),
            ));
        };
        let json = serde_json::from_str(value).ok().filter(|_| !STRINGS.contains(&name));
        claims.insert(name.to_owned(), json.unwrap_or_else(|| value.into()));
    }
    Ok(claims)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn a_claim_is_json_where_it_can_be_and_else_a_string() {
        let assignments = [
            "email=ada@example.org",
            "email_verified=true",
            "phone_number=0123",
            "name=1815",
        ];
        let claims = assigned(Map::new(), &assignments.map(str::to_owned)).unwrap();
        let expected = json!({
            "email": "ada@example.org", "email_verified": true, "phone_number": "0123", "name": "1815",
        });
        assert_eq!(Value::Object(claims), expected);
        assert!(assigned(Map::new(), &["email".to_owned()]).is_err());
    }

    #[test]
    fn a_password_file_ends_at_its_first_line_break() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("password");
        for (written, read) in [
            ("secret one\n", "secret one"),
            (" x \r\nsecond", " x "),
            ("bare", "bare"),
        ] {
            std::fs::write(&file, written).unwrap();
            assert_eq!(first_line(&file).unwrap(), read);
        }
        for written in ["", "\nsecond"] {
            std::fs::write(&file, written).unwrap();
            assert!(first_line(&file).is_err(), "{written:?}");
        }
    }
}
