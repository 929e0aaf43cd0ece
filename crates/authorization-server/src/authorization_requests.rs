//! From what a client sent to an [`AuthorizationRequest`]: with parameters as they are, or with a request object that its keys signed.

use std::sync::Arc;

use keybound_protocol::authorization_request::{
    AuthorizationParameters, AuthorizationPolicy, AuthorizationRefusal, AuthorizationRequest,
    AuthorizationRequestError, HintedUser,
};
use keybound_protocol::authorization_response::ResponseTarget;
use keybound_protocol::client::Client;
use keybound_protocol::error_code::ErrorCode;
use keybound_protocol::form::Form;
use keybound_protocol::profile::Profile;
use keybound_protocol::request_object::{
    RequestObjectError, RequestObjectKind, RequestObjectPolicy, UnverifiedRequestObject,
};
use keybound_protocol::time::Timestamp;

use crate::configuration::Configuration;
use crate::id_tokens;
use crate::key_sets::{KeySetError, KeySets};
use crate::server::Server;

/// A request of a client that is known, and at `/par` authenticated.
#[derive(Clone, Copy)]
pub(crate) struct Asked<'a> {
    pub(crate) client: &'a Arc<Client>,
    pub(crate) form: &'a Form<'a>,
    /// Whether it came to `/par`.
    pub(crate) is_pushed: bool,
    pub(crate) now: Timestamp,
}

/// Why there is no authorization request.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RequestRefusal {
    /// A `request_uri` where there must be none: in a pushed request (RFC 9126 §2.1), or beside `request` (RFC 9101 §5).
    #[error("`request_uri` must not be sent here")]
    RequestUriNotAllowed,
    /// A `request_uri` that the client, or somebody else, would have to be asked about (RFC 9101 §5.2): nothing is fetched for a browser.
    #[error("`request_uri` refers to another place, and only those of /par are read")]
    RequestUriReference,
    /// The request object is not acceptable.
    #[error(transparent)]
    RequestObject(#[from] RequestObjectError),
    /// The keys of the client could not be had.
    #[error("the request object's keys could not be fetched")]
    KeysUnavailable(#[from] KeySetError),
    /// What it asks for is not acceptable.
    #[error(transparent)]
    Request(#[from] AuthorizationRequestError),
}

/// A [`RequestRefusal`], and where the client may be told: only if the redirect URI is one of the client's.
pub(crate) struct RefusedRequest {
    pub(crate) reason: RequestRefusal,
    pub(crate) target: Option<Box<ResponseTarget>>,
}

impl From<AuthorizationRefusal> for RefusedRequest {
    fn from(AuthorizationRefusal { reason, target }: AuthorizationRefusal) -> RefusedRequest {
        RefusedRequest {
            reason: reason.into(),
            target,
        }
    }
}

impl From<RequestRefusal> for RefusedRequest {
    /// What was not even read redirects nobody.
    fn from(reason: RequestRefusal) -> RefusedRequest {
        RefusedRequest { reason, target: None }
    }
}

impl RequestRefusal {
    /// The code for it.
    pub(crate) fn code(&self) -> ErrorCode {
        match self {
            RequestRefusal::RequestUriNotAllowed => ErrorCode::InvalidRequest,
            RequestRefusal::RequestUriReference => ErrorCode::RequestUriNotSupported,
            RequestRefusal::RequestObject(error) => error.code(),
            RequestRefusal::KeysUnavailable(_) => ErrorCode::InvalidRequestObject,
            RequestRefusal::Request(error) => error.code(),
        }
    }
}

/// Reads and judges what was asked.
///
/// With `request`, what lies inside counts and nothing beside it (RFC 9101 §6.3).
///
/// # Errors
/// [`RefusedRequest`]
pub(crate) async fn read(
    server: &Server,
    configuration: &Configuration,
    asked: Asked<'_>,
) -> Result<AuthorizationRequest, RefusedRequest> {
    if asked.form.get("request_uri").is_some() {
        return Err(RequestRefusal::RequestUriNotAllowed.into());
    }
    let parameters = match asked.form.get("request") {
        None => AuthorizationParameters::of_form(asked.form),
        Some(request) => request_object(&server.key_sets, configuration, asked, request).await?,
    };
    let policy = policy(configuration, asked.is_pushed);
    let request = AuthorizationRequest::parse(asked.client, &parameters, &policy)?;
    let Some(hint) = parameters.get("id_token_hint") else {
        return Ok(request);
    };
    let client_id = asked.client.client_id();
    let hinted = id_tokens::hinted_subject(&server.keys.ring(), &configuration.issuer, client_id, hint);
    Ok(
        request.with_hinted_user(hinted.map_or(HintedUser::Unverified, |subject| {
            HintedUser::Subject(subject.as_str().to_owned())
        })),
    )
}

/// Refuses a request that lies elsewhere. The client is told where it says beside it.
pub(crate) fn refuse_reference(configuration: &Configuration, asked: Asked<'_>) -> RefusedRequest {
    let parameters = AuthorizationParameters::of_form(asked.form);
    let policy = policy(configuration, asked.is_pushed);
    RefusedRequest {
        reason: RequestRefusal::RequestUriReference,
        target: AuthorizationRequest::named_target(asked.client, &parameters, &policy).map(Box::new),
    }
}

/// What this server knows when it judges what clients ask users for.
pub(crate) fn policy(configuration: &Configuration, is_pushed: bool) -> AuthorizationPolicy<'_> {
    AuthorizationPolicy {
        profile: configuration.profile,
        is_pushed,
        requires_pushed: configuration.authorization.require_pushed_authorization_requests,
        resources: configuration.resources.for_users(),
        authorization_details_types: &configuration.authorization.details_types,
    }
}

async fn request_object(
    key_sets: &Arc<KeySets>,
    configuration: &Configuration,
    asked: Asked<'_>,
    request: &str,
) -> Result<AuthorizationParameters, RequestRefusal> {
    let metadata = asked.client.metadata();
    let policy = RequestObjectPolicy {
        kind: match metadata.effective_profile(configuration.profile) {
            Profile::Default => RequestObjectKind::Authorization,
            Profile::Fapi2 | Profile::Fapi2MessageSigning => RequestObjectKind::FapiAuthorization,
        },
        issuer: &configuration.issuer,
        algorithms: &metadata.request_object_algorithms(configuration.profile),
        now: asked.now,
    };
    // Before the keys are looked for: what cannot be good has nobody fetch them.
    let object = UnverifiedRequestObject::parse(request, &policy)?;
    let keys = key_sets.keys_of(asked.client, asked.now).await?;
    let object = object.verify(asked.client, &keys, &policy)?;
    Ok(AuthorizationParameters::of_request_object(&object)?)
}
