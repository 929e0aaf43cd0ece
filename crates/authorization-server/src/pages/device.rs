//! `/device`: connects a device that shows a code (RFC 8628 §3.3).
//!
//! A code in the URL fills the field and nothing more: the user compares it with the device, and decides on a page of its own (§3.3.1,
//! §5.4). Every look at a code counts as a guess (§5.1).

use askama::Template;
use http::StatusCode;
use keybound_protocol::form::Form;

use super::frame::Frame;
use super::refusal::PageRefusal;
use super::session::{self, Session};
use super::sign_in::{self, Destination};
use super::terms::{Ask, Asked, Binding, ShownClient};
use super::{PageRequest, date, form_token, page_response};
use crate::approvals::{DecisionRefusal, UserDecision, WaitingRequest};
use crate::error::Reason;
use crate::interaction;
use crate::response::Response;

/// What the token of this page's forms is for.
const PURPOSE: &str = "device";
/// Longer codes are none.
const CODE_CHARS_MAX: usize = 32;

#[derive(Template)]
#[template(path = "device.html")]
struct DevicePage {
    frame: Frame,
    user: String,
    form_token: String,
    user_code: String,
    done: Option<&'static str>,
    refusal: Option<&'static str>,
    confirmation: Option<Confirmation>,
}

/// What the user decides about.
struct Confirmation {
    client: ShownClient,
    asks: Vec<Ask>,
    until: String,
    binding: Binding,
}

/// Asks for the code.
pub(super) async fn get(request: &PageRequest<'_>) -> Result<Response, Reason> {
    let user_code = request.query("user_code").map(|typed| shortened(&typed));
    let Some(session) = session::current(request).await? else {
        let to = sign_in::url(request, Destination::Device, user_code.as_deref());
        return Ok(page_response::see_other(&to));
    };
    let done = match request.query("done").as_deref() {
        Some("approved") => Some("Connected. Your device goes on by itself."),
        Some("denied") => Some("Denied. The device gets nothing."),
        _ => None,
    };
    let page = DevicePage {
        done,
        ..page(request, &session, user_code.unwrap_or_default())
    };
    page_response::page(StatusCode::OK, &page)
}

/// Looks at a code, or takes the decision.
pub(super) async fn post(request: &PageRequest<'_>, form: &Form<'_>) -> Result<Response, Reason> {
    let Some(session) = session::current(request).await? else {
        let to = sign_in::url(request, Destination::Device, None);
        return Ok(page_response::see_other(&to));
    };
    form_token::require(form, &session.secret, PURPOSE)?;
    let typed = shortened(form.get("user_code").unwrap_or_default());
    let address = request.connection.remote_addr().ip();
    let found = request
        .server
        .find_device_request(&typed, &session.secret, address, request.now);
    let outcome = match (found, form.get("action")) {
        (Err(refusal), _) => Err(refusal),
        (Ok(waiting), Some("find")) => return confirm(request, &session, typed, &waiting),
        (Ok(waiting), Some(decision @ ("approve" | "deny"))) => {
            decide(request, &session, &waiting, decision == "approve").await
        }
        (Ok(_), _) => return Err(PageRefusal::NoDecision.into()),
    };
    match outcome {
        Ok(done) => {
            let location = format!("{}/device?done={done}", request.configuration.issuer_path);
            Ok(page_response::see_other(&location))
        }
        Err(refusal) => refused(request, &session, typed, refusal),
    }
}

async fn decide(
    request: &PageRequest<'_>,
    session: &Session,
    waiting: &WaitingRequest,
    is_approved: bool,
) -> Result<&'static str, DecisionRefusal> {
    let decision = UserDecision {
        hash: waiting.hash,
        subject: session.signed_in.subject.clone(),
        auth_time: Some(session.signed_in.auth_time),
        is_approved,
        entry: request.entry_of(&session.signed_in.subject),
    };
    request.server.decide(decision).await?;
    Ok(if is_approved { "approved" } else { "denied" })
}

fn confirm(
    request: &PageRequest<'_>,
    session: &Session,
    user_code: String,
    waiting: &WaitingRequest,
) -> Result<Response, Reason> {
    let Some(client) = request.server.clients.find(&waiting.client_id)? else {
        return refused(request, session, user_code, DecisionRefusal::Unknown);
    };
    let (client, configuration) = (&client.client, request.configuration);
    let wanted = &waiting.asked.wanted;
    let asked = Asked {
        scope: wanted.scope.as_str(),
        claims: None,
        resources: &wanted.resources,
        authorization_details: Some(&wanted.authorization_details),
    };
    let confirmation = Confirmation {
        client: ShownClient::of(client),
        asks: configuration.words.asks(asked),
        until: date::day(request.now.plus(interaction::grant_lifetime(configuration, client))),
        binding: Binding::of(client, configuration.profile, None),
    };
    let page = DevicePage {
        confirmation: Some(confirmation),
        ..page(request, session, user_code)
    };
    page_response::page(StatusCode::OK, &page)
}

fn refused(
    request: &PageRequest<'_>,
    session: &Session,
    user_code: String,
    refusal: DecisionRefusal,
) -> Result<Response, Reason> {
    let (status, text) = match refusal {
        DecisionRefusal::Store(error) => return Err(error.into()),
        DecisionRefusal::Randomness => return Err(PageRefusal::Random.into()),
        DecisionRefusal::TooMany(_) => (
            StatusCode::TOO_MANY_REQUESTS,
            "Too many codes were tried. Wait a minute, then try again.",
        ),
        // Expired and decided codes are no more than unknown ones to whoever guesses.
        DecisionRefusal::Unknown | DecisionRefusal::Expired | DecisionRefusal::AlreadyDecided => (
            StatusCode::BAD_REQUEST,
            "No device waits with this code. Compare it, or let the device show another.",
        ),
        DecisionRefusal::UserBarred => (
            StatusCode::FORBIDDEN,
            "Your account cannot connect devices at the moment.",
        ),
    };
    let page = DevicePage {
        refusal: Some(text),
        ..page(request, session, user_code)
    };
    page_response::page(status, &page)
}

fn page(request: &PageRequest<'_>, session: &Session, user_code: String) -> DevicePage {
    DevicePage {
        frame: Frame::of(request),
        user: session::display_name(&session.user),
        form_token: form_token::of(&session.secret, PURPOSE),
        user_code,
        done: None,
        refusal: None,
        confirmation: None,
    }
}

fn shortened(typed: &str) -> String {
    typed.chars().take(CODE_CHARS_MAX).collect()
}
