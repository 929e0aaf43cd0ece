//! `/authorize`: takes a browser with a client's request, or with the `request_uri` of a pushed one (RFC 6749 §3.1, RFC 9126 §4).
//!
//! Whoever cannot be sent back to the client is shown the error page: only once client and redirect URI are known to belong together
//! is there anywhere to redirect to (RFC 6749 §4.1.2.1).

use std::sync::Arc;

use http::{Method, StatusCode};
use keybound_protocol::authorization_request::{AuthorizationRequest, REQUEST_URI_PREFIX};
use keybound_protocol::authorization_response::{self, AuthorizationResponse};
use keybound_protocol::client::{Client, ClientId};
use keybound_protocol::error_code::ErrorCode;
use keybound_protocol::form::Form;
use keybound_store::RequestUriHash;
use url::Url;

use crate::authorization_requests::{self, Asked, RefusedRequest, RequestRefusal};
use crate::error::Reason;
use crate::explanation;
use crate::interaction;
use crate::pages::PageRequest;
use crate::refusals::{Circumstances, Explained};
use crate::response::Response;
use crate::router::Route;
use crate::silent_authorization;

/// Why a browser with a client's request is shown an error.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AuthorizationRefusal {
    #[error("`client_id` is missing")]
    ClientMissing,
    #[error("there is no client {presented:?}")]
    ClientUnknown { presented: String },
    #[error("both `request` and `request_uri` were sent")]
    RequestTwice,
    #[error("`request_uri` is none that this server made, or it is forgotten")]
    RequestUriUnknown,
    #[error("`request_uri` was pushed by client {pushed_by}")]
    RequestUriOfAnother { pushed_by: ClientId },
    #[error("`request_uri` expired")]
    RequestUriExpired,
    #[error("`request_uri` was used, and its interaction is finished")]
    RequestUriSpent,
}

impl AuthorizationRefusal {
    /// The code for it.
    pub(crate) fn code(&self) -> ErrorCode {
        match self {
            AuthorizationRefusal::ClientMissing
            | AuthorizationRefusal::ClientUnknown { .. }
            | AuthorizationRefusal::RequestTwice => ErrorCode::InvalidRequest,
            AuthorizationRefusal::RequestUriUnknown
            | AuthorizationRefusal::RequestUriOfAnother { .. }
            | AuthorizationRefusal::RequestUriExpired
            | AuthorizationRefusal::RequestUriSpent => ErrorCode::InvalidRequestUri,
        }
    }

    /// What to do about it.
    pub(crate) fn fix(&self) -> &'static str {
        match self {
            AuthorizationRefusal::ClientMissing => "send client_id, also beside request and request_uri",
            AuthorizationRefusal::ClientUnknown { .. } => "register the client, or send the client_id it has",
            AuthorizationRefusal::RequestTwice => "send the request object to /par, and the request_uri alone here",
            AuthorizationRefusal::RequestUriOfAnother { .. } => {
                "send the client_id of the client that pushed the request"
            }
            AuthorizationRefusal::RequestUriUnknown
            | AuthorizationRefusal::RequestUriExpired
            | AuthorizationRefusal::RequestUriSpent => {
                "push a new request for each attempt, and open it within its lifetime"
            }
        }
    }
}

/// Answers a browser. `form` is the body of a POST; else the parameters are in the URL.
///
/// # Errors
/// What only the user can be told.
pub(crate) async fn answer(page: &PageRequest<'_>, form: Option<&Form<'_>>) -> Result<Response, Reason> {
    match form {
        Some(form) => judged(page, form).await,
        None => {
            debug_assert_ne!(page.parts.method, Method::POST);
            let query = page.parts.uri.query().unwrap_or_default();
            judged(page, &Form::parse(query.as_bytes())?).await
        }
    }
}

async fn judged(page: &PageRequest<'_>, form: &Form<'_>) -> Result<Response, Reason> {
    let presented = form.get("client_id").ok_or(AuthorizationRefusal::ClientMissing)?;
    let unknown = || AuthorizationRefusal::ClientUnknown {
        presented: presented.chars().take(100).collect(),
    };
    let client_id = ClientId::parse(presented).map_err(|_| unknown())?;
    let client = page.server.clients.find(&client_id)?.ok_or_else(unknown)?;
    let asked = Asked {
        client: &client.client,
        form,
        is_pushed: false,
        now: page.now,
    };
    if let Some(request_uri) = form.get("request_uri") {
        // RFC 9101 §5: nobody could tell which of both counts.
        if form.get("request").is_some() {
            return Err(AuthorizationRefusal::RequestTwice.into());
        }
        if is_reference(request_uri) {
            let refused = authorization_requests::refuse_reference(page.configuration, asked);
            return refuse(page, &client.client, refused).await;
        }
        let (request, pushed) = pushed(page, &client.client, request_uri)?;
        // The client may have become another since it pushed.
        let policy = authorization_requests::policy(page.configuration, true);
        return match request.require_still_permitted(&client.client, &policy) {
            Ok(()) => go_on(page, &client.client, &request, Some(pushed)).await,
            Err(refused) => refuse(page, &client.client, refused.into()).await,
        };
    }
    match authorization_requests::read(page.server, page.configuration, asked).await {
        Ok(request) => go_on(page, &client.client, &request, None).await,
        Err(refused) => refuse(page, &client.client, refused).await,
    }
}

/// Whether a `request_uri` is an address that could be asked for the request (RFC 9101 §5.2).
fn is_reference(request_uri: &str) -> bool {
    Url::parse(request_uri).is_ok_and(|url| matches!(url.scheme(), "https" | "http"))
}

/// Tells the client, if it may be told, else the user.
async fn refuse(page: &PageRequest<'_>, client: &Client, refused: RefusedRequest) -> Result<Response, Reason> {
    let Some(target) = refused.target else {
        return Err(refused.reason.into());
    };
    let code = refused.reason.code();
    record(page, client, refused.reason.into());
    interaction::to_client(page, &target, AuthorizationResponse::Error(code)).await
}

/// Asks the user; or answers at once, if the user must not be asked.
async fn go_on(
    page: &PageRequest<'_>,
    client: &Client,
    request: &AuthorizationRequest,
    pushed: Option<RequestUriHash>,
) -> Result<Response, Reason> {
    let refusal = match request.require_possible_sign_in() {
        Err(impossible) => RequestRefusal::from(impossible).into(),
        Ok(()) if !request.prompt().none => return interaction::begin(page, request, pushed).await,
        Ok(()) => match silent_authorization::grant(page, client, request, pushed).await {
            Ok(code) => {
                let granted = authorization_response::granted(&code);
                return interaction::to_client(page, request.target(), granted).await;
            }
            Err(refusal @ Reason::Silent(_)) => refusal,
            Err(reason) => return Err(reason),
        },
    };
    // RFC 9126 §7.3: the client has had its answer.
    if let Some(pushed) = pushed
        && !page
            .server
            .store
            .pushed_requests
            .spend_pushed_request(pushed, page.now)
            .await?
    {
        return Err(AuthorizationRefusal::RequestUriSpent.into());
    }
    let code = refusal.code();
    record(page, client, refusal);
    interaction::to_client(page, request.target(), AuthorizationResponse::Error(code)).await
}

/// Records what the client is told by a redirect: the answer has no room for the id, and an operator finds it by the client.
fn record(page: &PageRequest<'_>, client: &Client, reason: Reason) {
    let circumstances = Circumstances {
        claimed_client_id: Some(client.client_id().as_str()),
        ..page.circumstances(Route::Authorization)
    };
    let explained = Explained {
        status: StatusCode::SEE_OTHER,
        error_code: Some(reason.code()),
        reason: &reason,
        rules: explanation::rules(&reason, &circumstances),
        fix: explanation::fix(&reason).map(str::to_owned),
    };
    page.server.refusals.record(explained, &circumstances);
}

/// The request behind a `request_uri`. What stands beside it in the URL is ignored (RFC 9126 §4).
///
/// That it is opened spends nothing: a page may be loaded twice, and what is finished spends it (§7.3).
fn pushed(
    page: &PageRequest<'_>,
    client: &Arc<Client>,
    request_uri: &str,
) -> Result<(AuthorizationRequest, RequestUriHash), Reason> {
    if !request_uri.starts_with(REQUEST_URI_PREFIX) {
        return Err(AuthorizationRefusal::RequestUriUnknown.into());
    }
    let hash = RequestUriHash::of(request_uri);
    let found = page.server.store.pushed_requests.find_pushed_request(&hash)?;
    let found = found.ok_or(AuthorizationRefusal::RequestUriUnknown)?;
    if found.pushed.client_id != *client.client_id() {
        return Err(AuthorizationRefusal::RequestUriOfAnother {
            pushed_by: found.pushed.client_id,
        }
        .into());
    }
    if found.is_spent {
        return Err(AuthorizationRefusal::RequestUriSpent.into());
    }
    // To the second, without leeway: both clocks are ours.
    if found.pushed.expires_at <= page.now {
        return Err(AuthorizationRefusal::RequestUriExpired.into());
    }
    let request = AuthorizationRequest::from_json(&found.pushed.request);
    // Pushed to another version of this server: the client has to push again.
    Ok((request.map_err(|_| AuthorizationRefusal::RequestUriUnknown)?, hash))
}
