//! Who is signed in: a session of eight hours that ends after half an hour without use, under a cookie that is new at each sign-in.

use std::time::Duration;

use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use http::header::SET_COOKIE;
use keybound_protocol::base64url;
use keybound_store::{NewUserSession, SignedIn, UserSessionHash, UserSessionStart};

use super::refusal::PageRefusal;
use super::{PageRequest, cookies, untrusted_text};
use crate::error::Reason;
use crate::response::Response;
use crate::users::User;

/// How long a session lives, whatever happens.
const SESSION_LIFETIME: Duration = Duration::from_secs(8 * 60 * 60);
/// How long it lives unused.
const SESSION_IDLE: Duration = Duration::from_secs(30 * 60);
/// Its end is moved at most this often: reading a page is no write.
const EXTENDED_EVERY: Duration = Duration::from_secs(60);
/// Bytes of a cookie's secret.
const SECRET_BYTES: usize = 32;

/// Somebody who is signed in.
pub(crate) struct Session {
    /// The cookie: what form tokens are made of.
    pub(crate) secret: String,
    pub(crate) signed_in: SignedIn,
    pub(crate) user: User,
}

/// A secret for a cookie, or another text that nobody guesses.
///
/// # Errors
/// [`PageRefusal::Random`]
pub(crate) fn new_secret() -> Result<String, PageRefusal> {
    let mut octets = [0; SECRET_BYTES];
    SystemRandom::new().fill(&mut octets).map_err(|_| PageRefusal::Random)?;
    Ok(base64url::encode(&octets))
}

/// The session of this browser, if it counts and its user may still sign in.
///
/// # Errors
/// [`Reason::Store`]
pub(crate) async fn current(request: &PageRequest<'_>) -> Result<Option<Session>, Reason> {
    let Some(secret) = cookies::find(&request.parts.headers, cookies::SESSION) else {
        return Ok(None);
    };
    let sessions = &request.server.store.user_sessions;
    let Some(found) = sessions.find_user_session(&UserSessionHash::of(secret))? else {
        return Ok(None);
    };
    if found.expires_at <= request.now || found.idle_until <= request.now {
        return Ok(None);
    }
    let Some(user) = user(request, &found.signed_in)? else {
        return Ok(None);
    };
    let idle_until = request.now.plus(SESSION_IDLE);
    if idle_until.duration_since(found.idle_until) >= EXTENDED_EVERY {
        sessions.extend_user_session(found.hash, idle_until).await?;
    }
    Ok(Some(Session {
        secret: secret.to_owned(),
        signed_in: found.signed_in,
        user,
    }))
}

/// The user who signed in, unless there is none any more or it may not act.
///
/// # Errors
/// [`Reason::Store`]
pub(crate) fn user(request: &PageRequest<'_>, signed_in: &SignedIn) -> Result<Option<User>, Reason> {
    let user = request.server.users.find(&signed_in.subject)?;
    Ok(user.filter(|user| !user.is_disabled))
}

/// A session that begins now, in place of the one that this browser had, if it had one: who signs in leaves no second way in. With the
/// value of its cookie.
///
/// # Errors
/// [`PageRefusal::Random`]
pub(crate) fn begin(request: &PageRequest<'_>, signed_in: SignedIn) -> Result<(String, UserSessionStart), PageRefusal> {
    let secret = new_secret()?;
    let session = NewUserSession {
        hash: UserSessionHash::of(&secret),
        signed_in,
        expires_at: request.now.plus(SESSION_LIFETIME),
        idle_until: request.now.plus(SESSION_IDLE),
    };
    let instead_of = cookies::find(&request.parts.headers, cookies::SESSION).map(UserSessionHash::of);
    Ok((secret, UserSessionStart { session, instead_of }))
}

/// Ends the session that this browser had, if it had one: its user signs out.
///
/// # Errors
/// [`Reason::Store`]
pub(crate) async fn end(request: &PageRequest<'_>) -> Result<(), Reason> {
    let Some(secret) = cookies::find(&request.parts.headers, cookies::SESSION) else {
        return Ok(());
    };
    let sessions = &request.server.store.user_sessions;
    let hash = UserSessionHash::of(secret);
    if let Some(found) = sessions.find_user_session(&hash)? {
        let entry = request.entry_of(&found.signed_in.subject);
        sessions.end_user_session(hash, entry).await?;
    }
    Ok(())
}

/// Gives the browser the cookie of its session.
pub(crate) fn keep(response: &mut Response, secret: &str) {
    let cookie = cookies::set(cookies::SESSION, secret, SESSION_LIFETIME);
    response.headers_mut().extend(cookie.map(|cookie| (SET_COOKIE, cookie)));
}

/// What a user is called on our pages.
pub(crate) fn display_name(user: &User) -> String {
    let name = user.claims.get("name").and_then(|name| name.as_str());
    name.and_then(untrusted_text::name)
        .unwrap_or_else(|| user.name.as_str().to_owned())
}
