//! `/interaction/{id}/login`: signs a user in who came from a client, or goes back to it.

use http::StatusCode;
use keybound_protocol::error_code::ErrorCode;
use keybound_protocol::form::Form;
use keybound_store::{SignInToInteraction, SignedIn};

use super::frame::Frame;
use super::refusal::PageRefusal;
use super::sign_in::{LoginPage, authenticate};
use super::{PageRequest, form_token, page_response, session, upstream_sign_in};
use crate::error::Reason;
use crate::interaction::{self, OpenInteraction};
use crate::response::Response;

/// Shows the form. Also to somebody who is signed in: "not you?" leads here.
pub(super) async fn get(request: &PageRequest<'_>) -> Result<Response, Reason> {
    let open = interaction::open(request)?;
    let username = open.request.login_hint().unwrap_or_default().to_owned();
    form(request, &open, username, None, StatusCode::OK)
}

/// Takes the form.
pub(super) async fn post(request: &PageRequest<'_>, form_data: &Form<'_>) -> Result<Response, Reason> {
    let open = interaction::open(request)?;
    form_token::require(form_data, &open.secret, &purpose(&open))?;
    if form_data.get("action") == Some("cancel") {
        return interaction::deny(request, open, ErrorCode::AccessDenied).await;
    }
    let username = form_data.get("username").unwrap_or_default();
    let user = match authenticate(request, form_data).await? {
        Ok(user) => user,
        Err(refused) => {
            let page = form(request, &open, username.to_owned(), Some(refused.text), refused.status)?;
            return Ok(refused.mark(page));
        }
    };
    let signed_in = SignedIn {
        subject: user.subject().clone(),
        auth_time: user.auth_time(),
        acr: None,
    };
    go_on(request, open, signed_in).await
}

/// Goes on to consent with whoever signed in, here or elsewhere.
///
/// # Errors
/// [`PageRefusal`] if the interaction was finished meanwhile.
pub(super) async fn go_on(
    request: &PageRequest<'_>,
    open: OpenInteraction,
    signed_in: SignedIn,
) -> Result<Response, Reason> {
    if !open.request.is_about(signed_in.subject.as_str()) {
        // OpenID Connect Core §3.1.2.2, §5.5.1: the client asked for one user, and this is another.
        return interaction::deny(request, open, ErrorCode::LoginRequired).await;
    }
    let (secret, start) = session::begin(request, signed_in.clone())?;
    let entry = request.entry_of(&signed_in.subject);
    let stored = &request.server.store.interactions;
    let outcome = stored.sign_in_to_interaction(open.hash, signed_in, Some(start), entry);
    match outcome.await? {
        SignInToInteraction::SignedIn => {}
        SignInToInteraction::UserBarred => return Err(PageRefusal::UserBarred.into()),
        SignInToInteraction::AlreadyCompleted => return Err(PageRefusal::InteractionFinished.into()),
        SignInToInteraction::Expired => return Err(PageRefusal::InteractionExpired.into()),
        SignInToInteraction::Unknown => return Err(PageRefusal::UnknownInteraction.into()),
    }
    let mut response = page_response::see_other(&interaction::url(request.configuration, &open.id, "consent"));
    session::keep(&mut response, &secret);
    Ok(response)
}

fn purpose(open: &OpenInteraction) -> String {
    format!("login {}", open.id)
}

fn form(
    request: &PageRequest<'_>,
    open: &OpenInteraction,
    username: String,
    refusal: Option<&'static str>,
    status: StatusCode,
) -> Result<Response, Reason> {
    let page = LoginPage {
        frame: Frame::of(request),
        client: Some(open.client_name()),
        purpose: "",
        action: interaction::url(request.configuration, &open.id, "login"),
        form_token: form_token::of(&open.secret, &purpose(open)),
        to: None,
        user_code: None,
        username,
        refusal,
        providers: upstream_sign_in::links(request, open),
    };
    page_response::page_with_form_to(open.request.redirect_uri().csp_source().as_deref(), status, &page)
}
