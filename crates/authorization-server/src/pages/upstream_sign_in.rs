//! `/interaction/{id}/upstream/{provider}` and `/upstream/{provider}`: leaves for another provider, and comes back signed in.
//!
//! The first is a link and no form: the browser goes to another site, which `form-action` would have to name. Following it changes
//! nothing here. The second is the redirect URI; whose answer it brings is found by `state` among the cookies of this browser.

use keybound_client::{AuthorizationResponseError, ClientError};
use keybound_protocol::form::Form;
use keybound_store::{Actor, SignedIn};

use super::refusal::PageRefusal;
use super::{PageRequest, cookies, login, page_response};
use crate::error::Reason;
use crate::interaction::{self, OpenInteraction};
use crate::response::Response;
use crate::upstream::{UpstreamError, UpstreamProvider};

/// What the login page says of a provider.
pub(super) struct ProviderLink {
    pub(super) label: String,
    pub(super) href: String,
}

/// The links of an interaction's login page.
pub(super) fn links(request: &PageRequest<'_>, open: &OpenInteraction) -> Vec<ProviderLink> {
    let link = |provider: &UpstreamProvider| ProviderLink {
        label: provider.label.clone(),
        href: interaction::url(request.configuration, &open.id, &format!("upstream/{}", provider.name)),
    };
    request.configuration.upstream_providers.iter().map(link).collect()
}

/// Takes the browser to the provider.
pub(super) async fn leave(request: &PageRequest<'_>) -> Result<Response, Reason> {
    let provider = provider(request)?;
    let open = interaction::open(request)?;
    let begun = provider.begin(&request.configuration.issuer, &open.secret, &open.id, request.now);
    let url = begun.await.map_err(PageRefusal::from)?;
    Ok(page_response::see_other(url.as_str()))
}

/// Takes the answer, and goes on to consent.
pub(super) async fn come_back(request: &PageRequest<'_>) -> Result<Response, Reason> {
    let provider = provider(request)?;
    let query = request.parts.uri.query().unwrap_or_default();
    // Two states in one answer are none; the client library refuses the rest of such an answer, too.
    let state = Form::parse(query.as_bytes())
        .ok()
        .and_then(|form| form.get("state").map(str::to_owned));
    let open = state
        .and_then(|state| interaction_of(request, provider, &state))
        .ok_or_else(|| PageRefusal::from(UpstreamError::State))?;
    let open = interaction::open_by_id(request, open)?;
    let issuer = &request.configuration.issuer;
    let finished = provider.finish(issuer, (&open.secret, &open.id), query, request.now);
    let user = match finished.await {
        Ok(user) => user,
        // The user turned back there: the way in by password is still open.
        Err(UpstreamError::Provider(error)) if is_refusal(&error) => {
            return Ok(page_response::see_other(&interaction::url(
                request.configuration,
                &open.id,
                "login",
            )));
        }
        Err(error) => return Err(PageRefusal::from(error).into()),
    };
    let entry = request.audit_entry(Actor::User(user.subject.to_string()));
    let user = request
        .server
        .users
        .take_over(user, entry)
        .await
        .map_err(PageRefusal::from)?;
    let signed_in = SignedIn {
        subject: user.subject().clone(),
        auth_time: user.auth_time(),
        acr: None,
    };
    login::go_on(request, open, signed_in).await
}

fn provider<'a>(request: &'a PageRequest<'_>) -> Result<&'a UpstreamProvider, PageRefusal> {
    let presented = request.path().rsplit('/').next().unwrap_or_default();
    let mut providers = request.configuration.upstream_providers.iter();
    providers
        .find(|provider| provider.name.as_str() == presented)
        .ok_or_else(|| PageRefusal::from(UpstreamError::UnknownProvider(presented.chars().take(64).collect())))
}

/// The interaction of this browser that left with this state.
fn interaction_of<'a>(request: &'a PageRequest<'_>, provider: &UpstreamProvider, state: &str) -> Option<&'a str> {
    let headers = &request.parts.headers;
    cookies::names_with(headers, cookies::INTERACTION_PREFIX).find_map(|name| {
        let id = name.strip_prefix(cookies::INTERACTION_PREFIX)?;
        let secret = cookies::find(headers, name)?;
        provider.is_state_of(state, secret, id).then_some(id)
    })
}

/// Whether the provider answered, and said no.
fn is_refusal(error: &ClientError) -> bool {
    matches!(error, ClientError::Authorization(source) if matches!(**source, AuthorizationResponseError::Refused(_)))
}
