//! `/clients`: the registered clients (RFC 7591 metadata plus `client_id`).

use std::sync::Arc;

use aws_lc_rs::error::Unspecified;
use aws_lc_rs::rand::SecureRandom;
use axum::Extension;
use axum::body::Bytes;
use axum::extract::{Path, Query};
use http::{HeaderMap, StatusCode};
use keybound_protocol::base64url;
use keybound_protocol::client::{Client, ClientId, ClientOrigin};
use keybound_protocol::client_metadata::{ClientMetadata, RegistrationPolicy};
use keybound_protocol::error_code::ErrorCode;
use keybound_protocol::json::JsonObject;
use keybound_protocol::secret::GeneratedSecret;
use keybound_store::{
    ClientReplacement, ClientSecretReplacement, CreateClient, DeleteClient, NewClient, ReplaceClient, StoredClient,
};
use serde::Deserialize;
use serde_json::{Value, json};

use super::AdminRequest;
use super::preconditions::if_match;
use super::problem::Problem;
use super::routes::{Answer, Handled, json_body, page_limit};
use crate::client_deletion::delete_client;
use crate::client_secrets::{self, shown_once};
use crate::clients::parse_stored;
use crate::router::ADMIN_PREFIX;
use crate::settings::trust_anchor_names;

/// Random octets of a client id that we choose.
const CLIENT_ID_RANDOM_BYTES: usize = 16;

/// What a listing can be asked. A name that it does not know is refused: a cursor under another name would otherwise answer with
/// the first page, over and over.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ListQuery {
    after: Option<String>,
    limit: Option<u16>,
}

/// All clients, those of files included, in the order of their ids.
pub(super) async fn list(Extension(request): Extension<AdminRequest>, Query(query): Query<ListQuery>) -> Handled {
    let page = page(&request, &query).await?;
    let clients = page.clients.iter().map(|client| shown(client)).collect();
    Ok(page.answer(clients))
}

/// Some clients in the order of their ids, and where the next page starts.
pub(super) struct Page {
    pub(super) clients: Vec<Arc<Client>>,
    has_more: bool,
}

impl Page {
    /// What is said of each client, as the answer of a listing.
    pub(super) fn answer(&self, clients: Vec<Value>) -> Answer {
        match self.clients.last().filter(|_| self.has_more) {
            Some(last) => Answer::ok(&json!({"clients": clients, "next": last.client_id().as_str()})),
            None => Answer::ok(&json!({"clients": clients})),
        }
    }
}

/// The page that was asked for, clients of files included.
pub(super) async fn page(request: &AdminRequest, query: &ListQuery) -> Result<Page, Problem> {
    let limit = page_limit(query.limit);
    let after = query.after.as_deref().map(client_id).transpose()?;
    let page = request.server.store.clients.list_clients(after.clone(), limit).await?;
    let mut clients: Vec<Arc<Client>> = request.server.clients.configured();
    clients.retain(|client| after.as_ref().is_none_or(|after| client.client_id() > after));
    let stored = page
        .clients
        .iter()
        .filter(|stored| !request.server.clients.is_configured(&stored.client_id));
    clients.extend(stored.filter_map(parse_stored).map(Arc::new));
    clients.sort_by(|one, other| one.client_id().cmp(other.client_id()));
    // If the store has more, the ids beyond its page are not all known yet: its last id ends this page.
    if let Some(next) = &page.next {
        clients.retain(|client| client.client_id() <= next);
    }
    let is_cut = clients.len() > usize::from(limit);
    clients.truncate(usize::from(limit));
    Ok(Page {
        clients,
        has_more: is_cut || page.next.is_some(),
    })
}

/// One client.
pub(super) async fn show(Extension(request): Extension<AdminRequest>, Path(id): Path<String>) -> Handled {
    let client_id = known_id(&id)?;
    let found = request
        .server
        .clients
        .find(&client_id)?
        .ok_or_else(|| unknown(&client_id))?;
    Ok(Answer::ok(&shown(&found.client)).version(found.client.version()))
}

/// Makes a client. Its id may be chosen by the caller.
pub(super) async fn create(Extension(request): Extension<AdminRequest>, headers: HeaderMap, body: Bytes) -> Handled {
    let body = json_body(&headers, body)?;
    let client_id = match chosen_id(&body)? {
        Some(chosen) => chosen,
        None => random_id(&request)?,
    };
    if request.server.clients.is_configured(&client_id) {
        return Err(in_a_file(&client_id));
    }
    let metadata = metadata(&request, &body)?;
    let secret = client_secrets::of_new_client(&metadata, &request.server.tokens.random).map_err(no_secret)?;
    let new = NewClient {
        client_id: client_id.clone(),
        metadata: metadata.to_json().to_string(),
        origin: ClientOrigin::Administrator,
        secret: secret.as_ref().map(GeneratedSecret::hash),
    };
    let entry = request.administrator.audit_entry(request.now);
    match request.server.store.clients.create_client(new, entry).await? {
        CreateClient::AlreadyExists => Err(Problem::conflict(format!("there is a client {client_id} already"))),
        CreateClient::Created { version } => {
            request.server.clients.forget();
            let client = Client::new(client_id, metadata, ClientOrigin::Administrator, version);
            let location = location(client.client_id());
            Ok(
                Answer::new(StatusCode::CREATED, &shown_once(shown(&client), secret.as_ref()))
                    .version(version)
                    .location(location),
            )
        }
    }
}

/// Replaces everything that a client registered (RFC 7592 §2.2: what is left out is gone).
pub(super) async fn replace(
    Extension(request): Extension<AdminRequest>,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Handled {
    let body = json_body(&headers, body)?;
    let client_id = changeable_id(&request, &id)?;
    if chosen_id(&body)?.is_some_and(|chosen| chosen != client_id) {
        return Err(Problem::bad_request(
            "client_id is not the one of the path; it cannot be changed",
        ));
    }
    let if_version = if_match(&headers)?;
    let stored = find_stored(&request, &client_id)?;
    let metadata = metadata(&request, &body)?;
    let random = &request.server.tokens.random;
    let (change, secret) =
        client_secrets::of_changed_client(&metadata, stored.secret.as_ref(), random).map_err(no_secret)?;
    let replacement = ClientReplacement {
        client_id: client_id.clone(),
        metadata: metadata.to_json().to_string(),
        secret: change,
        if_version,
    };
    let entry = request.administrator.audit_entry(request.now);
    match request.server.store.clients.replace_client(replacement, entry).await? {
        ReplaceClient::Unknown => Err(unknown(&client_id)),
        ReplaceClient::VersionConflict { .. } => Err(Problem::precondition_failed()),
        ReplaceClient::Replaced { version } => {
            request.server.clients.forget();
            let client = Client::new(client_id, metadata, stored.origin, version);
            Ok(Answer::ok(&shown_once(shown(&client), secret.as_ref())).version(version))
        }
    }
}

/// Gives a client another secret; the one before is wrong from now on.
pub(super) async fn replace_secret(
    Extension(request): Extension<AdminRequest>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Handled {
    let client_id = changeable_id(&request, &id)?;
    let if_version = if_match(&headers)?;
    let client = parse_stored(&find_stored(&request, &client_id)?).ok_or_else(|| unknown(&client_id))?;
    if !client.metadata().authentication_method().has_secret() {
        let method = client.metadata().authentication_method();
        return Err(Problem::conflict(format!(
            "client {client_id} authenticates by {method}: it has no secret"
        )));
    }
    let secret = client_secrets::generate(&request.server.tokens.random).map_err(no_secret)?;
    let replacement = ClientSecretReplacement {
        client_id: client_id.clone(),
        secret: secret.hash(),
        if_version,
    };
    let entry = request.administrator.audit_entry(request.now);
    match request
        .server
        .store
        .clients
        .replace_client_secret(replacement, entry)
        .await?
    {
        ReplaceClient::Unknown => Err(unknown(&client_id)),
        ReplaceClient::VersionConflict { .. } => Err(Problem::precondition_failed()),
        ReplaceClient::Replaced { version } => {
            request.server.clients.forget();
            let shown = json!({"client_id": client_id});
            Ok(Answer::ok(&shown_once(shown, Some(&secret))).version(version))
        }
    }
}

/// Removes a client; every token it has is denied from now on.
pub(super) async fn delete(
    Extension(request): Extension<AdminRequest>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Handled {
    let client_id = changeable_id(&request, &id)?;
    let if_version = if_match(&headers)?;
    let stored = request.server.store.clients.find_client(&client_id)?;
    let stored = stored.ok_or_else(|| unknown(&client_id))?;
    if if_version.is_some_and(|version| version != stored.version) {
        return Err(Problem::precondition_failed());
    }
    let entry = |now| request.administrator.audit_entry(now);
    match delete_client(&request.server, &client_id, if_version, entry).await? {
        DeleteClient::Unknown => Err(unknown(&client_id)),
        DeleteClient::VersionConflict { .. } => Err(Problem::precondition_failed()),
        DeleteClient::Deleted => Ok(Answer::no_content()),
    }
}

/// A client as it is shown: what it registered, its id, and who made it.
fn shown(client: &Client) -> Value {
    let mut shown = client.metadata().to_json();
    shown["client_id"] = json!(client.client_id());
    shown["keybound_origin"] = json!(client.origin());
    shown
}

fn no_secret(_: Unspecified) -> Problem {
    Problem::new(StatusCode::INTERNAL_SERVER_ERROR)
}

fn metadata(request: &AdminRequest, body: &[u8]) -> Result<ClientMetadata, Problem> {
    require_no_secret(body)?;
    let policy = registration_policy(request);
    ClientMetadata::parse(body, &policy).map_err(|error| Problem::bad_request(error.to_string()).error(error.code()))
}

/// Secrets are made here, where they have 256 random bits. One that is sent would be ignored, and whoever sent it would not know.
fn require_no_secret(body: &[u8]) -> Result<(), Problem> {
    let object = JsonObject::parse(body).map_err(|error| Problem::bad_request(error.to_string()))?;
    match ["client_secret", "keybound_client_secret_sha256"]
        .into_iter()
        .find(|member| object.contains(member))
    {
        Some(member) => Err(
            Problem::bad_request(format!("`{member}` cannot be chosen: the server makes secrets"))
                .error(ErrorCode::InvalidClientMetadata),
        ),
        None => Ok(()),
    }
}

/// What the configuration knows, and the trust anchors that administrators added.
fn registration_policy(request: &AdminRequest) -> RegistrationPolicy {
    let mut policy = request.server.configuration.load().registration_policy.clone();
    policy
        .trust_anchors
        .extend(request.server.trust.anchors().iter().flat_map(trust_anchor_names));
    policy
}

fn chosen_id(body: &[u8]) -> Result<Option<ClientId>, Problem> {
    let object = JsonObject::parse(body).map_err(|error| Problem::bad_request(error.to_string()))?;
    let chosen = object
        .string("client_id")
        .map_err(|error| Problem::bad_request(error.to_string()))?;
    chosen.map(client_id).transpose()
}

fn random_id(request: &AdminRequest) -> Result<ClientId, Problem> {
    let mut random = [0; CLIENT_ID_RANDOM_BYTES];
    let failed = || Problem::new(StatusCode::INTERNAL_SERVER_ERROR);
    request.server.tokens.random.fill(&mut random).map_err(|_| failed())?;
    ClientId::parse(&base64url::encode(&random)).map_err(|_| failed())
}

fn client_id(text: &str) -> Result<ClientId, Problem> {
    ClientId::parse(text).map_err(|error| Problem::bad_request(format!("client_id: {error}")))
}

/// An id out of a path: what cannot be one is simply not found.
fn known_id(text: &str) -> Result<ClientId, Problem> {
    ClientId::parse(text).map_err(|_| Problem::not_found("there is no such client"))
}

fn changeable_id(request: &AdminRequest, text: &str) -> Result<ClientId, Problem> {
    let client_id = known_id(text)?;
    if request.server.clients.is_configured(&client_id) {
        Err(in_a_file(&client_id))
    } else {
        Ok(client_id)
    }
}

fn find_stored(request: &AdminRequest, client_id: &ClientId) -> Result<StoredClient, Problem> {
    request
        .server
        .store
        .clients
        .find_client(client_id)?
        .ok_or_else(|| unknown(client_id))
}

fn unknown(client_id: &ClientId) -> Problem {
    Problem::not_found(format!("there is no client {client_id}"))
}

fn in_a_file(client_id: &ClientId) -> Problem {
    Problem::conflict(format!(
        "client {client_id} comes from a configuration file: change it there"
    ))
}

fn location(client_id: &ClientId) -> String {
    let encoded: String = url::form_urlencoded::byte_serialize(client_id.as_str().as_bytes()).collect();
    format!("{ADMIN_PREFIX}/clients/{encoded}")
}
