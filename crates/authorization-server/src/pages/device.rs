//! `/device`: connects a device that shows a code (RFC 8628 §3.3).
//!
//! A code in the URL fills the field and nothing more: the user compares it with the device, and decides on a page of its own (§3.3.1,
//! §5.4). Every look at a code counts as a guess (§5.1).
//!
//! The token of the deciding form is made for the code that its page showed: nobody decides about a code by a page of another, or by
//! the page that only asks for one.

use askama::Template;
use http::StatusCode;
use keybound_protocol::device_authorization::UserCode;
use keybound_protocol::form::Form;

use super::frame::Frame;
use super::notice::{self, Notice};
use super::refusal::PageRefusal;
use super::session::{self, Session};
use super::sign_in::{self, Destination};
use super::terms::{Ask, Asked, Binding, ShownClient};
use super::{PageRequest, date, form_token, page_response};
use crate::approvals::{DEVICE_CODE_LIFETIME, DecisionRefusal, UserDecision, WaitingRequest};
use crate::error::Reason;
use crate::interaction;
use crate::response::Response;

/// What the token of the form is for that asks for a code.
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
    let notice = Notice::sent(request, &session);
    let page = DevicePage {
        done: notice.map(Notice::text),
        ..page(request, &session, user_code.unwrap_or_default())
    };
    let mut response = page_response::page(StatusCode::OK, &page)?;
    if notice.is_some() {
        notice::forget(&mut response);
    }
    Ok(response)
}

/// Looks at a code, or takes the decision.
pub(super) async fn post(request: &PageRequest<'_>, form: &Form<'_>) -> Result<Response, Reason> {
    let Some(session) = session::current(request).await? else {
        let to = sign_in::url(request, Destination::Device, None);
        return Ok(page_response::see_other(&to));
    };
    let typed = shortened(form.get("user_code").unwrap_or_default());
    let is_approved = match form.get("action") {
        Some("find") => None,
        Some("approve") => Some(true),
        Some("deny") => Some(false),
        _ => return Err(PageRefusal::NoDecision.into()),
    };
    // Before anything is looked up: a forged form must not use up the attempts of the user.
    let purpose = match is_approved {
        None => PURPOSE.to_owned(),
        Some(_) => deciding(&UserCode::parse(&typed).map_err(|_| PageRefusal::FormToken)?),
    };
    form_token::require(form, &session.secret, &purpose)?;
    let address = request.connection.remote_addr().ip();
    let found = request
        .server
        .find_device_request(&typed, &session.secret, address, request.now);
    let outcome = match (found, is_approved) {
        (Err(refusal), _) => Err(refusal),
        (Ok(waiting), None) => return confirm(request, &session, typed, &waiting),
        (Ok(waiting), Some(is_approved)) => decide(request, &session, &waiting, is_approved).await,
    };
    match outcome {
        Ok(notice) => {
            let mut response = page_response::see_other(&format!("{}/device", request.configuration.issuer_path));
            notice.send(&session, &mut response);
            Ok(response)
        }
        Err(refusal) => refused(request, &session, typed, refusal),
    }
}

/// What the token of the form is for that decides about this code.
fn deciding(user_code: &UserCode) -> String {
    format!("device {}", user_code.letters())
}

async fn decide(
    request: &PageRequest<'_>,
    session: &Session,
    waiting: &WaitingRequest,
    is_approved: bool,
) -> Result<Notice, DecisionRefusal> {
    let decision = UserDecision {
        hash: waiting.hash,
        subject: session.signed_in.subject.clone(),
        auth_time: Some(session.signed_in.auth_time),
        is_approved,
        entry: request.entry_of(&session.signed_in.subject),
    };
    request.server.decide(decision).await?;
    Ok(if is_approved {
        Notice::DeviceConnected
    } else {
        Notice::DeviceDenied
    })
}

fn confirm(
    request: &PageRequest<'_>,
    session: &Session,
    typed: String,
    waiting: &WaitingRequest,
) -> Result<Response, Reason> {
    let client = request.server.clients.find(&waiting.client_id)?;
    // Something was found by it, so it is a code.
    let (Some(client), Ok(user_code)) = (client, UserCode::parse(&typed)) else {
        return refused(request, session, typed, DecisionRefusal::Unknown);
    };
    let (client, configuration) = (&client.client, request.configuration);
    let wanted = &waiting.asked.wanted;
    let asked = Asked {
        scope: wanted.scope.as_str(),
        claims: None,
        resources: &wanted.resources,
        authorization_details: Some(&wanted.authorization_details),
    };
    let lifetime = interaction::grant_lifetime(configuration, client);
    let confirmation = Confirmation {
        client: ShownClient::of(client),
        asks: configuration.words.asks(asked),
        until: date::until(
            // At most: `Server::decide` leaves the device time to ask for it.
            request.now.plus(lifetime).plus(DEVICE_CODE_LIFETIME),
            request.now,
        ),
        binding: Binding::of(client, configuration.profile, None),
    };
    let page = DevicePage {
        confirmation: Some(confirmation),
        form_token: form_token::of(&session.secret, &deciding(&user_code)),
        // As the device shows it, however it was typed.
        ..page(request, session, user_code.to_string())
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
        DecisionRefusal::Unknown
        | DecisionRefusal::Expired
        | DecisionRefusal::AlreadyDecided
        | DecisionRefusal::NotPermittedAnyMore(_) => (
            StatusCode::BAD_REQUEST,
            "No device waits with this code. Compare it, or let the device show another.",
        ),
        DecisionRefusal::Busy => (
            StatusCode::SERVICE_UNAVAILABLE,
            "The server is busy. Wait a moment, then try again.",
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
