//! What people see: sign-in, consent, devices, what they allowed, and errors. HTML without scripts.
//!
//! Only the public side has pages: a browser at the mutual-TLS side would ask its user for a certificate. Whoever reads these files
//! begins with [`answer`], then [`interaction`](crate::interaction), which follows one authorization request through its pages.
//!
//! Every form carries a [token](form_token) that only the browser's own cookie explains, and comes from [our own pages](origin);
//! every answer to a form is 303 or a page, never 307 (RFC 9700 §4.12), and every page has the [headers](page_response) that keep it out
//! of frames and caches. Deliberately not here: scripts, third-party resources, CORS.

pub(crate) mod approval;
pub(crate) mod assets;
pub(crate) mod consent;
pub(crate) mod cookies;
pub(crate) mod date;
pub(crate) mod device;
pub(crate) mod error_page;
pub(crate) mod form_token;
pub(crate) mod frame;
pub(crate) mod grants;
pub(crate) mod login;
mod notice;
pub(crate) mod origin;
pub(crate) mod page_response;
pub(crate) mod refusal;
pub(crate) mod session;
pub(crate) mod sign_in;
pub(crate) mod sign_out;
pub(crate) mod terms;
pub(crate) mod theme;
pub(crate) mod untrusted_text;
pub(crate) mod upstream_sign_in;

use std::sync::Arc;

use http::Method;
use http::request::Parts;
use keybound_protocol::form::Form;
use keybound_protocol::time::Timestamp;
use keybound_protocol::user::UserSubject;
use keybound_store::{Actor, AuditEntry};
use keybound_tls::Connection;

use crate::configuration::Configuration;
use crate::endpoints::authorization;
use crate::error::Reason;
use crate::refusals::Circumstances;
use crate::response::Response;
use crate::router::Route;
use crate::server::Server;

/// A request for a page, or of one's form.
#[derive(Clone, Copy)]
pub(crate) struct PageRequest<'a> {
    pub(crate) server: &'a Arc<Server>,
    pub(crate) configuration: &'a Configuration,
    pub(crate) connection: &'a Arc<Connection>,
    pub(crate) parts: &'a Parts,
    /// When the request was complete.
    pub(crate) now: Timestamp,
}

impl PageRequest<'_> {
    /// The path below the issuer's.
    pub(crate) fn path(&self) -> &str {
        let path = self.parts.uri.path();
        path.strip_prefix(self.configuration.issuer_path.as_str())
            .unwrap_or(path)
    }

    /// A parameter of the URL's query, the first of its name. For links between our own pages only.
    pub(crate) fn query(&self, name: &str) -> Option<String> {
        url::form_urlencoded::parse(self.parts.uri.query()?.as_bytes())
            .find(|(found, _)| found == name)
            .map(|(_, value)| value.into_owned())
    }

    /// That a user changes something by this request.
    pub(crate) fn entry_of(&self, subject: &UserSubject) -> AuditEntry {
        self.audit_entry(Actor::User(subject.as_str().to_owned()))
    }

    /// What is on record of this request if it is refused.
    pub(crate) fn circumstances(&self, route: Route) -> Circumstances<'_> {
        Circumstances {
            issuer: &self.configuration.issuer,
            route: Some(route),
            path: self.parts.uri.path(),
            claimed_client_id: None,
            client: None,
            remote_address: self.connection.remote_addr().ip(),
            presented: self.connection.presented(),
            authorization: None,
            now: self.now,
        }
    }

    /// Who changes something by this request.
    pub(crate) fn audit_entry(&self, actor: Actor) -> AuditEntry {
        AuditEntry {
            remote_address: Some(self.connection.remote_addr().ip().to_string()),
            ..AuditEntry::new(self.now, actor)
        }
    }
}

/// Answers what is [a page](Route::is_page). `form` is the body of a POST.
///
/// # Errors
/// A [`Reason`], which is shown as the [error page](error_page).
pub(crate) async fn answer(
    request: &PageRequest<'_>,
    route: Route,
    form: Option<&Form<'_>>,
) -> Result<Response, Reason> {
    // A client may have its own page post to the authorization endpoint (RFC 6749 §3.1): what comes of that asks the user.
    if request.parts.method == Method::POST && route != Route::Authorization {
        origin::require_own(&request.parts.headers, request.configuration.issuer.url())?;
    }
    match (route, form) {
        (Route::Authorization, form) => authorization::answer(request, form).await,
        (Route::Login, None) => login::get(request).await,
        (Route::Login, Some(form)) => login::post(request, form).await,
        (Route::Consent, None) => consent::get(request).await,
        (Route::Consent, Some(form)) => consent::post(request, form).await,
        (Route::SignIn, None) => sign_in::get(request),
        (Route::SignIn, Some(form)) => sign_in::post(request, form).await,
        (Route::SignOut, Some(form)) => sign_out::post(request, form).await,
        (Route::SignOut, None) => sign_out::get(request),
        (Route::UpstreamSignIn, None) => upstream_sign_in::leave(request).await,
        (Route::UpstreamAnswer, None) => upstream_sign_in::come_back(request).await,
        (Route::Device, None) => device::get(request).await,
        (Route::Device, Some(form)) => device::post(request, form).await,
        (Route::Grants, None) => grants::get(request).await,
        (Route::Grants, Some(form)) => grants::post(request, form).await,
        (Route::Theme, Some(form)) => Ok(theme::post(request, form)),
        (Route::Asset, None) => assets::get(request),
        _ => Err(Reason::PathUnknown {
            path: request.parts.uri.path().to_owned(),
        }),
    }
}
