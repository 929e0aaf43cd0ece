//! `/anchors`: the certification authorities that clients' certificates may come from.

use axum::Extension;
use axum::body::Bytes;
use axum::extract::Path;
use http::{HeaderMap, StatusCode};
use keybound_protocol::json::JsonObject;
use keybound_protocol::refusal::Refusal;
use keybound_protocol::trust_anchor::TrustAnchor;
use keybound_store::{CreateTrustAnchor, DeleteTrustAnchor, NewTrustAnchor, ReplaceTrustAnchor};
use serde_json::{Map, Value, json};

use super::AdminRequest;
use super::preconditions::if_match;
use super::problem::Problem;
use super::routes::{Answer, Handled, json_body};
use crate::router::ADMIN_PREFIX;
use crate::trust::TrustAnchorDefinition;

/// All anchors, those of the configuration first.
pub(super) async fn list(Extension(request): Extension<AdminRequest>) -> Handled {
    let configured = request.server.trust.configured();
    let mut shown: Vec<Value> = configured
        .iter()
        .map(|anchor| shown_anchor(anchor, "configuration_file"))
        .collect();
    for stored in request.server.store.trust_anchors.trust_anchors().await? {
        let anchors = serde_json::from_str::<TrustAnchorDefinition>(&stored.definition)
            .ok()
            .and_then(|it| it.load().ok());
        shown.extend(
            anchors
                .iter()
                .flatten()
                .map(|anchor| shown_anchor(anchor, "administrator")),
        );
    }
    Ok(Answer::ok(&json!({"anchors": shown})))
}

/// One name: its definition as [`replace`] takes it, if an administrator made it, and what became of it.
pub(super) async fn show(Extension(request): Extension<AdminRequest>, Path(name): Path<String>) -> Handled {
    let configured = request.server.trust.configured();
    let of_name: Vec<Value> = configured
        .iter()
        .filter(|anchor| anchor.name().as_str() == name)
        .map(|anchor| shown_anchor(anchor, "configuration_file"))
        .collect();
    if !of_name.is_empty() {
        let shown = json!({"name": name, "anchors": of_name, "keybound_origin": "configuration_file"});
        return Ok(Answer::ok(&shown));
    }
    let stored = request.server.store.trust_anchors.trust_anchors().await?;
    let Some(stored) = stored.into_iter().find(|stored| stored.name == name) else {
        return Err(unknown(&name));
    };
    let definition = serde_json::from_str::<TrustAnchorDefinition>(&stored.definition)
        .map_err(|_| Problem::new(StatusCode::INTERNAL_SERVER_ERROR).detail("the stored anchor cannot be read"))?;
    let anchors = definition.load().unwrap_or_default();
    Ok(Answer::ok(&shown_definition(&definition, &anchors)).version(stored.version))
}

/// Adds an anchor: `{"name", "certificates": PEM, "revocation_lists"?: PEM, "crl_missing"?, "require_client_auth_eku"?, "strict"?}`.
/// What [`show`] says beside that may be sent along and has no effect.
pub(super) async fn create(Extension(request): Extension<AdminRequest>, headers: HeaderMap, body: Bytes) -> Handled {
    let (definition, anchors) = read_definition(&headers, body)?;
    let new = stored(&definition);
    let name = new.name.clone();
    require_changeable(&request, &name)?;
    let entry = request.administrator.audit_entry(request.now);
    match request
        .server
        .store
        .trust_anchors
        .create_trust_anchor(new, entry)
        .await?
    {
        CreateTrustAnchor::AlreadyExists => Err(Problem::conflict(format!("there is an anchor {name} already"))),
        CreateTrustAnchor::TooMany => Err(Problem::conflict("there are as many anchors as there may be")),
        CreateTrustAnchor::Created { epoch } => {
            request.server.trust.refresh().await?;
            let location = format!("{ADMIN_PREFIX}/anchors/{name}");
            let answer = Answer::new(StatusCode::CREATED, &shown_definition(&definition, &anchors));
            Ok(answer.version(epoch).location(location))
        }
    }
}

/// Replaces everything that defines an anchor: how it gets new revocation lists. What is left out is gone.
pub(super) async fn replace(
    Extension(request): Extension<AdminRequest>,
    Path(name): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Handled {
    require_changeable(&request, &name)?;
    let (definition, anchors) = read_definition(&headers, body)?;
    let new = stored(&definition);
    if new.name != name {
        return Err(Problem::bad_request(
            "name is not the one of the path; it cannot be changed",
        ));
    }
    let if_version = if_match(&headers)?;
    let entry = request.administrator.audit_entry(request.now);
    match request
        .server
        .store
        .trust_anchors
        .replace_trust_anchor(new, if_version, entry)
        .await?
    {
        ReplaceTrustAnchor::Unknown => Err(unknown(&name)),
        ReplaceTrustAnchor::VersionConflict { .. } => Err(Problem::precondition_failed()),
        ReplaceTrustAnchor::Replaced { epoch } => {
            request.server.trust.refresh().await?;
            Ok(Answer::ok(&shown_definition(&definition, &anchors)).version(epoch))
        }
    }
}

/// Removes an anchor. Whoever is trusted by it alone is not any more, from the next request on.
pub(super) async fn delete(
    Extension(request): Extension<AdminRequest>,
    Path(name): Path<String>,
    headers: HeaderMap,
) -> Handled {
    require_changeable(&request, &name)?;
    let entry = request.administrator.audit_entry(request.now);
    let if_version = if_match(&headers)?;
    match request
        .server
        .store
        .trust_anchors
        .delete_trust_anchor(name.clone(), if_version, entry)
        .await?
    {
        DeleteTrustAnchor::Unknown => Err(unknown(&name)),
        DeleteTrustAnchor::VersionConflict { .. } => Err(Problem::precondition_failed()),
        DeleteTrustAnchor::Deleted { .. } => {
            request.server.trust.refresh().await?;
            Ok(Answer::no_content())
        }
    }
}

/// What [`show`] says of a definition beside itself.
const READ_ONLY: [&str; 2] = ["anchors", "keybound_origin"];

/// The definition that a body is, and the anchors that it makes.
fn read_definition(headers: &HeaderMap, body: Bytes) -> Result<(TrustAnchorDefinition, Vec<TrustAnchor>), Problem> {
    let body = json_body(headers, body)?;
    // No member twice: of two that are different it would be chance which one counts.
    JsonObject::parse(&body).map_err(|error| Problem::bad_request(error.to_string()))?;
    let not_a_definition = |error: serde_json::Error| Problem::bad_request(error.to_string());
    let mut members: Map<String, Value> = serde_json::from_slice(&body).map_err(not_a_definition)?;
    members.retain(|name, _| !READ_ONLY.contains(&name.as_str()));
    let definition: TrustAnchorDefinition = serde_json::from_value(Value::Object(members)).map_err(not_a_definition)?;
    let anchors = definition
        .load()
        .map_err(|error| Problem::bad_request(Refusal::reason_of(&error)))?;
    Ok((definition, anchors))
}

fn stored(definition: &TrustAnchorDefinition) -> NewTrustAnchor {
    NewTrustAnchor {
        name: definition.name.as_str().to_owned(),
        definition: json!(definition).to_string(),
    }
}

/// What the configuration names is changed there.
fn require_changeable(request: &AdminRequest, name: &str) -> Result<(), Problem> {
    let configured = request.server.trust.configured();
    if configured.iter().any(|anchor| anchor.name().as_str() == name) {
        return Err(in_the_configuration(name));
    }
    Ok(())
}

/// An administrator's definition, and [what it says of itself](READ_ONLY): one anchor per certificate.
fn shown_definition(definition: &TrustAnchorDefinition, anchors: &[TrustAnchor]) -> Value {
    let mut shown = json!(definition);
    shown["anchors"] = anchors
        .iter()
        .map(|anchor| shown_anchor(anchor, "administrator"))
        .collect();
    shown["keybound_origin"] = json!("administrator");
    shown
}

fn shown_anchor(anchor: &TrustAnchor, origin: &str) -> Value {
    let certificate = anchor.certificate();
    let lists: Vec<Value> = anchor
        .revocation_lists()
        .iter()
        .map(|list| {
            json!({
                "issuer": list.issuer().to_string(),
                "this_update": list.this_update(),
                "next_update": list.next_update(),
            })
        })
        .collect();
    json!({
        "name": anchor.name().as_str(),
        "key": anchor.key_name(),
        "subject": certificate.subject().to_string(),
        "serial_number": certificate.serial_number(),
        "not_before": certificate.not_before(),
        "not_after": certificate.not_after(),
        "revocation_lists": lists,
        "keybound_origin": origin,
    })
}

fn unknown(name: &str) -> Problem {
    Problem::not_found(format!("there is no anchor {name}"))
}

fn in_the_configuration(name: &str) -> Problem {
    Problem::conflict(format!("anchor {name} comes from the configuration: change it there"))
}
