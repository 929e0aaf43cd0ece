//! `/sign-in`: signs a user in who came by themselves, to confirm a device or to look at what they allowed.

use std::time::Duration;

use askama::Template;
use http::header::{RETRY_AFTER, SET_COOKIE};
use http::{HeaderValue, StatusCode};
use keybound_protocol::form::Form;
use keybound_protocol::refusal::RefusalId;
use keybound_store::{SignedIn, StartUserSession};

use super::frame::Frame;
use super::refusal::PageRefusal;
use super::upstream_sign_in::{self, ProviderLink};
use super::{PageRequest, cookies, form_token, page_response, session};
use crate::error::Reason;
use crate::explanation;
use crate::passwords::Password;
use crate::refusals::Explained;
use crate::response::{KEYBOUND_REFUSAL, Response};
use crate::router::Route;
use crate::users::{self, SignInAttempt};

/// How long a browser may look at the form.
const BROWSER_COOKIE_LIFETIME: Duration = Duration::from_secs(60 * 60);
/// What the token of the form is for.
const PURPOSE: &str = "sign-in";
/// Longer names are nobody's.
const NAME_CHARS_MAX: usize = 256;

/// The form. The same for users who came from a client.
#[derive(Template)]
#[template(path = "login.html")]
pub(super) struct LoginPage {
    pub(super) frame: Frame,
    /// Who asked for a user, as people are told.
    pub(super) client: Option<String>,
    /// What signing in is for, where no client asked.
    pub(super) purpose: &'static str,
    pub(super) action: String,
    pub(super) form_token: String,
    /// The page that comes after.
    pub(super) to: Option<&'static str>,
    /// The code of a device to go on with.
    pub(super) user_code: Option<String>,
    pub(super) username: String,
    pub(super) refusal: Option<&'static str>,
    /// The other ways in.
    pub(super) providers: Vec<ProviderLink>,
}

/// Where a user goes on who signed in without a client. Named by a word, never by a URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Destination {
    Grants,
    Device,
}

/// Somebody who was not signed in, as the page says it.
pub(super) struct NotSignedIn {
    pub(super) text: &'static str,
    pub(super) status: StatusCode,
    retry_after: Option<Duration>,
    id: RefusalId,
}

impl Destination {
    pub(super) fn from_name(name: Option<&str>) -> Destination {
        match name {
            Some("device") => Destination::Device,
            _ => Destination::Grants,
        }
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Destination::Grants => "grants",
            Destination::Device => "device",
        }
    }

    fn purpose(self) -> &'static str {
        match self {
            Destination::Grants => "to see the applications you connected",
            Destination::Device => "to connect a device",
        }
    }
}

impl NotSignedIn {
    /// Puts onto the page what machines read.
    pub(super) fn mark(&self, mut page: Response) -> Response {
        let headers = page.headers_mut();
        headers.extend(
            HeaderValue::try_from(self.id.to_string())
                .ok()
                .map(|id| (KEYBOUND_REFUSAL, id)),
        );
        if let Some(wait) = self.retry_after {
            headers.insert(RETRY_AFTER, HeaderValue::from(wait.as_secs().max(1)));
        }
        page
    }
}

/// The URL of the form; afterwards the user is at `to`.
pub(super) fn url(request: &PageRequest<'_>, to: Destination, user_code: Option<&str>) -> String {
    let mut query = url::form_urlencoded::Serializer::new(String::new());
    query.append_pair("to", to.name());
    if let Some(user_code) = user_code {
        query.append_pair("user_code", user_code);
    }
    format!("{}/sign-in?{}", request.configuration.issuer_path, query.finish())
}

/// Shows the form, and ties it to this browser.
pub(super) fn get(request: &PageRequest<'_>) -> Result<Response, Reason> {
    let to = Destination::from_name(request.query("to").as_deref());
    form(request, to, request.query("user_code"), String::new(), None)
}

/// Takes the form.
pub(super) async fn post(request: &PageRequest<'_>, form_data: &Form<'_>) -> Result<Response, Reason> {
    let to = Destination::from_name(form_data.get("to"));
    let user_code = form_data.get("user_code").map(str::to_owned);
    let username = form_data.get("username").unwrap_or_default();
    let secret = cookies::find(&request.parts.headers, cookies::BROWSER).ok_or(PageRefusal::FormToken)?;
    form_token::require(form_data, secret, PURPOSE)?;
    let user = match authenticate(request, form_data).await? {
        Ok(user) => user,
        Err(refused) => {
            let page = form(request, to, user_code, username.to_owned(), Some(&refused))?;
            return Ok(refused.mark(page));
        }
    };
    let signed_in = SignedIn {
        subject: user.subject().clone(),
        auth_time: user.auth_time(),
        acr: None,
    };
    go_on(request, to, user_code, signed_in).await
}

/// Goes on to where the user wanted to be, with whoever signed in, here or elsewhere.
///
/// # Errors
/// [`PageRefusal::UserBarred`], [`PageRefusal::Random`], [`Reason::Store`]
pub(super) async fn go_on(
    request: &PageRequest<'_>,
    to: Destination,
    user_code: Option<String>,
    signed_in: SignedIn,
) -> Result<Response, Reason> {
    let entry = request.entry_of(&signed_in.subject);
    let (secret, start) = session::begin(request, signed_in)?;
    let started = request.server.store.user_sessions.start_user_session(start, entry);
    match started.await? {
        StartUserSession::Started => {}
        StartUserSession::UserBarred => return Err(PageRefusal::UserBarred.into()),
        StartUserSession::AlreadyStarted => return Err(PageRefusal::Random.into()),
    }
    let mut location = format!("{}/{}", request.configuration.issuer_path, to.name());
    if let Some(user_code) = user_code.filter(|_| to == Destination::Device) {
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        query.append_pair("user_code", &user_code);
        location.push('?');
        location.push_str(&query.finish());
    }
    let mut response = page_response::see_other(&location);
    session::keep(&mut response, &secret);
    let over = cookies::remove(cookies::BROWSER);
    response.headers_mut().extend(over.map(|cookie| (SET_COOKIE, cookie)));
    Ok(response)
}

fn form(
    request: &PageRequest<'_>,
    to: Destination,
    user_code: Option<String>,
    username: String,
    refused: Option<&NotSignedIn>,
) -> Result<Response, Reason> {
    let known = cookies::find(&request.parts.headers, cookies::BROWSER);
    let secret = known.map_or_else(session::new_secret, |secret| Ok(secret.to_owned()))?;
    let page = LoginPage {
        frame: Frame::of(request),
        client: None,
        purpose: to.purpose(),
        action: format!("{}/sign-in", request.configuration.issuer_path),
        form_token: form_token::of(&secret, PURPOSE),
        to: Some(to.name()),
        user_code,
        username,
        refusal: refused.map(|refused| refused.text),
        providers: upstream_sign_in::sign_in_links(request, to),
    };
    let mut response = page_response::page(refused.map_or(StatusCode::OK, |refused| refused.status), &page)?;
    let cookie = cookies::set(cookies::BROWSER, &secret, BROWSER_COOKIE_LIFETIME);
    response.headers_mut().extend(cookie.map(|cookie| (SET_COOKIE, cookie)));
    Ok(response)
}

/// Judges name and password of a form. Whoever is not signed in is on record, under an id that only the header has.
///
/// # Errors
/// What is not about the user.
pub(super) async fn authenticate(
    request: &PageRequest<'_>,
    form: &Form<'_>,
) -> Result<Result<users::SignedIn, NotSignedIn>, Reason> {
    let name: String = form
        .get("username")
        .unwrap_or_default()
        .trim()
        .chars()
        .take(NAME_CHARS_MAX)
        .collect();
    let attempt = SignInAttempt {
        name: &name,
        password: Password::new(form.get("password").unwrap_or_default().to_owned()),
        remote_address: request.connection.remote_addr().ip(),
        now: request.now,
    };
    let refusal = match request.server.users.authenticate(attempt).await {
        Ok(user) => return Ok(Ok(user)),
        Err(refusal) => refusal,
    };
    let retry_after = refusal.retry_after();
    let status = match &refusal {
        users::SignInRefusal::TooMany(_) => StatusCode::TOO_MANY_REQUESTS,
        _ if retry_after.is_some() => StatusCode::SERVICE_UNAVAILABLE,
        // One for everything that depends on who was named. Not 401, which has to name a scheme (RFC 9110 §15.5.2): a form is none, and for
        // one that browsers know they would ask in a window of their own. Not 403 either, which says that no other password would
        // help. Not 200: whoever watches for guessing by status, a proxy or a log, has to tell a failure from a sign-in. 422 would do as
        // well, but is less known.
        _ => StatusCode::BAD_REQUEST,
    };
    let explained = Explained {
        status,
        error_code: None,
        reason: &refusal,
        rules: explanation::sign_in_rules(&refusal),
        fix: Some(refusal.fix().to_owned()),
    };
    let circumstances = request.circumstances(Route::SignIn);
    Ok(Err(NotSignedIn {
        text: refusal.text(),
        status,
        retry_after,
        id: request.server.refusals.record(explained, &circumstances),
    }))
}
