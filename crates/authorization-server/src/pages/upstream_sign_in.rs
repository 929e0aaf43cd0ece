//! `/interaction/{id}/upstream/{provider}`, `/sign-in/upstream/{provider}` and `/upstream/{provider}`: leaves for another provider, and
//! comes back signed in.
//!
//! The first two are links and no forms: the browser goes to another site, which `form-action` would have to name. Following one changes
//! nothing here. The third is the redirect URI; whose answer it brings, and what the user was about, is found by `state` among the
//! cookies of this browser.

use keybound_client::{AuthorizationResponseError, ClientError};
use keybound_protocol::form::Form;
use keybound_protocol::user::UserName;
use keybound_store::{Actor, SignedIn};

use super::refusal::PageRefusal;
use super::sign_in::{self, Destination};
use super::{PageRequest, cookies, login, page_response, session};
use crate::error::Reason;
use crate::interaction::{self, OpenInteraction, UnwantedSignIn};
use crate::response::Response;
use crate::upstream::{Freshness, UpstreamError, UpstreamProvider, UpstreamRequest};

/// What the login page says of a provider.
pub(super) struct ProviderLink {
    pub(super) label: String,
    pub(super) href: String,
}

/// What a user is about who leaves and comes back.
enum Errand {
    /// A client's request.
    Interaction(Box<OpenInteraction>),
    /// One of our own pages, and the secret of the cookie that `/sign-in` gave this browser.
    SignIn { to: Destination, secret: String },
}

impl Errand {
    /// What the provider is asked for: what the client asks for, and of our own accord nothing but who it is.
    fn asked<'a>(&'a self, request: &'a PageRequest<'_>) -> UpstreamRequest<'a> {
        let issuer = &request.configuration.issuer;
        match self {
            Errand::Interaction(open) => UpstreamRequest {
                issuer,
                secret: &open.secret,
                errand: &open.id,
                freshness: Freshness::wanted_by(&open.request, open.begun_at),
                login_hint: open.request.login_hint(),
            },
            Errand::SignIn { to, secret } => UpstreamRequest {
                issuer,
                secret,
                errand: label(*to),
                freshness: None,
                login_hint: None,
            },
        }
    }

    /// The page with the other ways in.
    fn ways_in(&self, request: &PageRequest<'_>) -> String {
        match self {
            Errand::Interaction(open) => interaction::url(request.configuration, &open.id, "login"),
            Errand::SignIn { to, .. } => sign_in::url(request, *to, None),
        }
    }
}

/// What stands in the place of an interaction's identifier, and is none.
fn label(to: Destination) -> &'static str {
    match to {
        Destination::Grants => "sign-in to grants",
        Destination::Device => "sign-in to device",
    }
}

/// The links of an interaction's login page.
pub(super) fn links(request: &PageRequest<'_>, open: &OpenInteraction) -> Vec<ProviderLink> {
    links_by(request, |name| {
        interaction::url(request.configuration, &open.id, &format!("upstream/{name}"))
    })
}

/// The links of `/sign-in`.
pub(super) fn sign_in_links(request: &PageRequest<'_>, to: Destination) -> Vec<ProviderLink> {
    let issuer_path = &request.configuration.issuer_path;
    links_by(request, |name| {
        format!("{issuer_path}/sign-in/upstream/{name}?to={}", to.name())
    })
}

fn links_by(request: &PageRequest<'_>, href: impl Fn(&UserName) -> String) -> Vec<ProviderLink> {
    let link = |provider: &UpstreamProvider| ProviderLink {
        label: provider.label.clone(),
        href: href(&provider.name),
    };
    request.configuration.upstream_providers.iter().map(link).collect()
}

/// Takes the browser to the provider.
pub(super) async fn leave(request: &PageRequest<'_>) -> Result<Response, Reason> {
    let provider = provider(request)?;
    let errand = if request.path().starts_with("/sign-in/") {
        let secret = cookies::find(&request.parts.headers, cookies::BROWSER).ok_or(PageRefusal::ForeignBrowser)?;
        Errand::SignIn {
            to: Destination::from_name(request.query("to").as_deref()),
            secret: secret.to_owned(),
        }
    } else {
        Errand::Interaction(Box::new(interaction::open(request)?))
    };
    let mut asked = errand.asked(request);
    if let (Errand::Interaction(open), Some(freshness)) = (&errand, &mut asked.freshness) {
        freshness.asks_for_login |= is_too_old_here(request, open).await?;
    }
    let url = provider.begin(&asked, request.now).await.map_err(PageRefusal::from)?;
    Ok(page_response::see_other(url.as_str()))
}

/// Takes the answer, and goes on to consent, or to our own page.
pub(super) async fn come_back(request: &PageRequest<'_>) -> Result<Response, Reason> {
    let provider = provider(request)?;
    let query = request.parts.uri.query().unwrap_or_default();
    // Two states in one answer are none; the client library refuses the rest of such an answer, too.
    let state = Form::parse(query.as_bytes())
        .ok()
        .and_then(|form| form.get("state").map(str::to_owned));
    let state = state.ok_or_else(|| PageRefusal::from(UpstreamError::State))?;
    let errand = errand_of(request, provider, &state)?;
    let asked = errand.asked(request);
    let user = match provider.finish(&asked, query, request.now).await {
        Ok(user) => user,
        // The user turned back there: the way in by password is still open.
        Err(UpstreamError::Provider(error)) if is_refusal(&error) => {
            return Ok(page_response::see_other(&errand.ways_in(request)));
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
    match errand {
        Errand::Interaction(open) => login::go_on(request, *open, signed_in).await,
        Errand::SignIn { to, .. } => sign_in::go_on(request, to, None, signed_in).await,
    }
}

/// Whether somebody is signed in here for longer than the client's `max_age`: then it is to be done again, there as well.
async fn is_too_old_here(request: &PageRequest<'_>, open: &OpenInteraction) -> Result<bool, Reason> {
    let Some(session) = session::current(request).await? else {
        return Ok(false);
    };
    let wanted = interaction::require_wanted(&session.signed_in, &open.request, request.now);
    Ok(matches!(wanted, Err(UnwantedSignIn::TooLongAgo { .. })))
}

fn provider<'a>(request: &'a PageRequest<'_>) -> Result<&'a UpstreamProvider, PageRefusal> {
    let presented = request.path().rsplit('/').next().unwrap_or_default();
    let mut providers = request.configuration.upstream_providers.iter();
    providers
        .find(|provider| provider.name.as_str() == presented)
        .ok_or_else(|| PageRefusal::from(UpstreamError::UnknownProvider(presented.chars().take(64).collect())))
}

/// What this browser left for with this state.
fn errand_of(request: &PageRequest<'_>, provider: &UpstreamProvider, state: &str) -> Result<Errand, Reason> {
    if let Some(id) = interaction_of(request, provider, state) {
        return Ok(Errand::Interaction(Box::new(interaction::open_by_id(request, id)?)));
    }
    let secret = cookies::find(&request.parts.headers, cookies::BROWSER);
    let secret = secret.ok_or_else(|| PageRefusal::from(UpstreamError::State))?;
    let mut destinations = [Destination::Grants, Destination::Device].into_iter();
    let to = destinations.find(|to| provider.is_state_of(state, secret, label(*to)));
    Ok(Errand::SignIn {
        to: to.ok_or_else(|| PageRefusal::from(UpstreamError::State))?,
        secret: secret.to_owned(),
    })
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
