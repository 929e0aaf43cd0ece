//! `keybound audit`: who changed what, newest first.

use http::Method;
use serde_json::{Value, json};

use crate::admin_api::{AdminApi, segment};
use crate::arguments::Audit;
use crate::exit_code::{CommandError, CommandResult, ExitCode};
use crate::terminal::{Terminal, without_control_characters};

/// Prints the newest records that the arguments ask for.
pub(crate) async fn run(arguments: &Audit, terminal: &Terminal) -> CommandResult {
    let api = AdminApi::connect(&arguments.admin).await?;
    let records = newest(&api, arguments).await?;
    let mut table = comfy_table::Table::new();
    table.load_style(comfy_table::presets::NOTHING);
    table.set_header(["AT", "WHO", "FROM", "DID", "TO"]);
    for record in &records {
        let text = |name: &str| shown(record.get(name));
        table.add_row([
            text("at"),
            actor(record),
            text("remote_address"),
            text("action"),
            text("subject"),
        ]);
    }
    terminal.line(table.trim_fmt());
    terminal.json(&json!({ "records": records }));
    Ok(ExitCode::Ok)
}

async fn newest(api: &AdminApi, arguments: &Audit) -> Result<Vec<Value>, CommandError> {
    let wanted = usize::from(arguments.newest);
    let mut records = Vec::new();
    let mut before = None;
    while records.len() < wanted {
        let mut path = format!("audit?limit={}", wanted - records.len());
        let before_text = before.as_ref().map(Value::to_string);
        for (name, value) in [
            ("action", arguments.action.as_deref()),
            ("subject", arguments.subject.as_deref()),
            ("before", before_text.as_deref()),
        ] {
            if let Some(value) = value {
                path.push_str(&format!("&{name}={}", segment(value)));
            }
        }
        let mut page = api.send(Method::GET, &path, None, None).await?.body;
        if let Some(Value::Array(some)) = page.get_mut("records").map(Value::take) {
            records.extend(some);
        }
        match page.get_mut("next").map(Value::take) {
            Some(next) => before = Some(next),
            None => break,
        }
    }
    Ok(records)
}

/// `{"client": "demo"}` as `client demo`, and `"server"` as it is.
fn actor(record: &Value) -> String {
    match record.get("actor") {
        Some(Value::Object(actor)) => actor
            .iter()
            .map(|(kind, name)| format!("{kind} {}", shown(Some(name))))
            .collect(),
        other => shown(other),
    }
}

fn shown(value: Option<&Value>) -> String {
    match value {
        Some(Value::String(text)) => without_control_characters(text),
        Some(other) => other.to_string(),
        None => String::new(),
    }
}
