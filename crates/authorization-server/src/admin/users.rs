//! `/users`: the local directory. Passwords and codes go in and never come out.

use axum::Extension;
use axum::body::Bytes;
use axum::extract::{Path, Query};
use http::{HeaderMap, StatusCode};
use keybound_protocol::user::{UserClaims, UserName};
use keybound_store::{ChangeUser, CreateUser, DeleteUser, NewUser, PasswordHash, StoredUser, UserChange, UserRemoval};
use serde::Deserialize;
use serde_json::{Value, json};

use super::AdminRequest;
use super::preconditions::if_match;
use super::problem::Problem;
use super::routes::{Answer, Handled, json_body, page_limit};
use crate::access_tokens::tokens_until;
use crate::passwords::{PASSWORD_BYTES_MAX, PASSWORD_CHARACTERS_MIN, Password, PasswordHashingError};
use crate::router::ADMIN_PREFIX;

/// What a listing can be asked. A name that it does not know is refused, as everywhere.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ListQuery {
    after: Option<String>,
    limit: Option<u16>,
}

/// What a user is made of, as sent.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct UserBody {
    name: Option<String>,
    password: Option<String>,
    /// Absent leaves it; `null` takes it away.
    #[serde(default, deserialize_with = "present")]
    user_code: Option<Option<String>>,
    #[serde(default)]
    claims: Option<Value>,
    #[serde(default)]
    disabled: bool,
}

/// A member that is there, whatever its value.
fn present<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Option<String>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

/// Users in the order of their names.
pub(super) async fn list(Extension(request): Extension<AdminRequest>, Query(query): Query<ListQuery>) -> Handled {
    let after = query.after.as_deref().map(user_name).transpose()?;
    let page = request
        .server
        .store
        .users
        .list_users(after, page_limit(query.limit))
        .await?;
    let users: Vec<Value> = page.users.iter().map(|user| shown(user, &request)).collect();
    Ok(match page.next {
        Some(next) => Answer::ok(&json!({"users": users, "next": next.as_str()})),
        None => Answer::ok(&json!({"users": users})),
    })
}

/// One user.
pub(super) async fn show(Extension(request): Extension<AdminRequest>, Path(name): Path<String>) -> Handled {
    let user = find(&request, &known_name(&name)?)?;
    Ok(Answer::ok(&shown(&user, &request)).version(user.version))
}

/// Makes a user.
pub(super) async fn create(Extension(request): Extension<AdminRequest>, headers: HeaderMap, body: Bytes) -> Handled {
    let body = user_body(&headers, body)?;
    let name = body
        .name
        .as_deref()
        .ok_or_else(|| Problem::bad_request("name is missing"))?;
    let name = user_name(name)?;
    let password = body
        .password
        .ok_or_else(|| Problem::bad_request("password is missing"))?;
    let claims = claims(body.claims.as_ref())?;
    // Asked before the work of hashing; the store asks again.
    if request.server.store.users.find_user(&name)?.is_some() {
        return Err(already(&name));
    }
    let subject = request.server.users.new_subject();
    let new = NewUser {
        name: name.clone(),
        subject: subject.ok_or_else(|| Problem::new(StatusCode::INTERNAL_SERVER_ERROR))?,
        password_hash: hash(&request, "password", password).await?,
        user_code_hash: match body.user_code.flatten() {
            Some(user_code) => Some(hash_user_code(&request, user_code).await?),
            None => None,
        },
        claims: claims.to_json(),
        is_disabled: body.disabled,
    };
    let entry = request.administrator.audit_entry(request.now);
    match request.server.store.users.create_user(new, entry).await? {
        CreateUser::AlreadyExists => Err(already(&name)),
        CreateUser::Created { version } => {
            let user = find(&request, &name)?;
            Ok(Answer::new(StatusCode::CREATED, &shown(&user, &request))
                .version(version)
                .location(format!("{ADMIN_PREFIX}/users/{name}")))
        }
    }
}

/// Replaces what can be read: `claims` and `disabled`, and what is left out is gone. What cannot be read back (`password`,
/// `user_code`) stays unless it is given.
pub(super) async fn replace(
    Extension(request): Extension<AdminRequest>,
    Path(path): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Handled {
    let body = user_body(&headers, body)?;
    let name = known_name(&path)?;
    if body
        .name
        .as_deref()
        .map(user_name)
        .transpose()?
        .is_some_and(|other| other != name)
    {
        return Err(Problem::bad_request(
            "name is not the one of the path; it cannot be changed",
        ));
    }
    let if_version = if_match(&headers)?;
    let claims = claims(body.claims.as_ref())?;
    let stored = find(&request, &name)?;
    if if_version.is_some_and(|version| version != stored.version) {
        return Err(Problem::precondition_failed());
    }
    let asked = UserChange {
        name: name.clone(),
        if_version,
        password_hash: match body.password {
            Some(password) => Some(hash(&request, "password", password).await?),
            None => None,
        },
        user_code_hash: match body.user_code {
            Some(Some(user_code)) => Some(Some(hash_user_code(&request, user_code).await?)),
            Some(None) => Some(None),
            None => None,
        },
        claims: Some(claims.to_json()),
        is_disabled: Some(body.disabled),
        tokens_until: tokens_until(request.now),
    };
    let entry = request.administrator.audit_entry(request.now);
    match request.server.store.users.change_user(asked, entry).await? {
        ChangeUser::Unknown => Err(unknown(&name)),
        ChangeUser::VersionConflict { .. } => Err(Problem::precondition_failed()),
        ChangeUser::Changed { version } => {
            let user = find(&request, &name)?;
            Ok(Answer::ok(&shown(&user, &request)).version(version))
        }
    }
}

/// Removes a user, with sessions and grants.
pub(super) async fn delete(
    Extension(request): Extension<AdminRequest>,
    Path(path): Path<String>,
    headers: HeaderMap,
) -> Handled {
    let name = known_name(&path)?;
    let removal = UserRemoval {
        name: name.clone(),
        if_version: if_match(&headers)?,
        tokens_until: tokens_until(request.now),
    };
    let entry = request.administrator.audit_entry(request.now);
    match request.server.store.users.delete_user(removal, entry).await? {
        DeleteUser::Unknown => Err(unknown(&name)),
        DeleteUser::VersionConflict { .. } => Err(Problem::precondition_failed()),
        DeleteUser::Deleted => Ok(Answer::no_content()),
    }
}

/// A user as shown: everything but secrets.
fn shown(user: &StoredUser, request: &AdminRequest) -> Value {
    let claims = UserClaims::parse_stored(&user.claims).unwrap_or_default();
    let mut shown = json!({
        "name": user.name.as_str(),
        "sub": user.subject.as_str(),
        "claims": claims.as_object(),
        "disabled": user.is_disabled,
        "user_code": user.user_code_hash.is_some(),
        "created_at": user.created_at,
        "updated_at": user.updated_at,
    });
    if let Some(until) = user.locked_until.filter(|until| request.now < *until) {
        shown["locked_until"] = json!(until);
    }
    shown
}

fn user_body(headers: &HeaderMap, body: Bytes) -> Result<UserBody, Problem> {
    let body = json_body(headers, body)?;
    // Neither the value nor the place: a password may be in what is wrong.
    serde_json::from_slice(&body).map_err(|error| {
        let kind = if error.is_data() {
            "it has a member that is unknown or of another type; known are name, password, user_code, claims, disabled"
        } else {
            "it is not one JSON object"
        };
        Problem::bad_request(kind)
    })
}

fn claims(value: Option<&Value>) -> Result<UserClaims, Problem> {
    match value {
        Some(value) => UserClaims::parse(value).map_err(|error| Problem::bad_request(format!("claims: {error}"))),
        None => Ok(UserClaims::default()),
    }
}

async fn hash(request: &AdminRequest, what: &str, secret: String) -> Result<PasswordHash, Problem> {
    let password = Password::new(secret);
    if !password.is_acceptable() {
        return Err(Problem::bad_request(format!(
            "{what} has to have at least {PASSWORD_CHARACTERS_MIN} characters and at most {PASSWORD_BYTES_MAX} octets"
        )));
    }
    request.server.users.hash(password).await.map_err(hashing_failed)
}

/// A code that is said or typed for CIBA: shorter than a password, for wrong ones are counted like wrong passwords.
async fn hash_user_code(request: &AdminRequest, user_code: String) -> Result<PasswordHash, Problem> {
    if !(4..=64).contains(&user_code.chars().count()) {
        return Err(Problem::bad_request("user_code has to have 4 to 64 characters"));
    }
    let user_code = Password::new(user_code);
    request.server.users.hash(user_code).await.map_err(hashing_failed)
}

fn hashing_failed(error: PasswordHashingError) -> Problem {
    match error {
        PasswordHashingError::Busy { .. } => Problem::new(StatusCode::SERVICE_UNAVAILABLE)
            .detail("too many passwords are waiting to be hashed")
            .retry_after(),
        PasswordHashingError::TooLong => Problem::bad_request("longer than any password"),
        PasswordHashingError::Failed(reason) => {
            tracing::error!(reason, "a password could not be hashed");
            Problem::new(StatusCode::INTERNAL_SERVER_ERROR)
        }
    }
}

fn find(request: &AdminRequest, name: &UserName) -> Result<StoredUser, Problem> {
    request.server.store.users.find_user(name)?.ok_or_else(|| unknown(name))
}

fn user_name(text: &str) -> Result<UserName, Problem> {
    UserName::parse(text).map_err(|error| Problem::bad_request(format!("name: {error}")))
}

/// A name out of a path: what cannot be one is simply not found.
fn known_name(text: &str) -> Result<UserName, Problem> {
    UserName::parse(text).map_err(|_| Problem::not_found("there is no such user"))
}

fn unknown(name: &UserName) -> Problem {
    Problem::not_found(format!("there is no user {name}"))
}

fn already(name: &UserName) -> Problem {
    Problem::conflict(format!("there is a user {name} already"))
}
