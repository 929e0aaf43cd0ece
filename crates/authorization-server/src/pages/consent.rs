//! `/interaction/{id}/consent`: asks the user, every time. What may be given without asking (`prompt=none`) never comes here:
//! [`silent_authorization`](crate::silent_authorization).

use askama::Template;
use http::StatusCode;
use keybound_protocol::error_code::ErrorCode;
use keybound_protocol::form::Form;
use url::Url;

use super::frame::Frame;
use super::refusal::PageRefusal;
use super::session::{self, Session};
use super::terms::{Ask, Asked, Binding, ShownClient};
use super::{PageRequest, date, form_token, page_response};
use crate::error::Reason;
use crate::interaction::{self, OpenInteraction};
use crate::response::Response;

#[derive(Template)]
#[template(path = "consent.html")]
struct ConsentPage {
    frame: Frame,
    client: ShownClient,
    user: String,
    sign_in_again: String,
    action: String,
    form_token: String,
    asks: Vec<Ask>,
    until: String,
    redirect_host: String,
    binding: Binding,
}

/// Shows who asks and for what.
pub(super) async fn get(request: &PageRequest<'_>) -> Result<Response, Reason> {
    let open = interaction::open(request)?;
    let Some(session) = signed_in(request, &open).await? else {
        return Ok(to_login(request, &open));
    };
    let configuration = request.configuration;
    let client = &open.client.client;
    let asked = Asked {
        scope: open.request.scope().as_str(),
        claims: Some(open.request.claims()),
        resources: open.request.resources(),
        authorization_details: Some(open.request.authorization_details()),
    };
    let page = ConsentPage {
        frame: Frame::of(request),
        client: ShownClient::of(client),
        user: session::display_name(&session.user),
        sign_in_again: interaction::url(configuration, &open.id, "login"),
        action: interaction::url(configuration, &open.id, "consent"),
        form_token: form_token::of(&open.secret, &purpose(&open)),
        asks: configuration.words.asks(asked),
        until: date::until(
            request.now.plus(interaction::grant_lifetime(configuration, client)),
            request.now,
        ),
        redirect_host: destination(open.request.redirect_uri().as_str()),
        binding: Binding::of(client, configuration.profile, open.request.dpop_jkt()),
    };
    page_response::page_with_form_to(
        open.request.redirect_uri().csp_source().as_deref(),
        StatusCode::OK,
        &page,
    )
}

/// Takes the decision.
pub(super) async fn post(request: &PageRequest<'_>, form: &Form<'_>) -> Result<Response, Reason> {
    match decide(request, form).await {
        // Found finished at once, or, of two forms at the same time, by the compare-and-set.
        Err(Reason::Page(PageRefusal::InteractionFinished)) => decided_before(request, form).await,
        outcome => outcome,
    }
}

async fn decide(request: &PageRequest<'_>, form: &Form<'_>) -> Result<Response, Reason> {
    let open = interaction::open(request)?;
    form_token::require(form, &open.secret, &purpose(&open))?;
    let Some(session) = signed_in(request, &open).await? else {
        return Ok(to_login(request, &open));
    };
    match form.get("decision") {
        Some("approve") => interaction::grant(request, open, &session).await,
        Some("deny") => interaction::deny(request, open, ErrorCode::AccessDenied).await,
        _ => Err(PageRefusal::NoDecision.into()),
    }
}

/// Answers a second press of the same button as the first one, as far as that does no harm: see
/// [`ConsentCodes`](crate::consent_codes::ConsentCodes).
async fn decided_before(request: &PageRequest<'_>, form: &Form<'_>) -> Result<Response, Reason> {
    let finished = interaction::finished(request)?;
    form_token::require(form, &finished.secret, &purpose(&finished))?;
    let session = signed_in(request, &finished).await?;
    let again = match session.filter(|_| form.get("decision") == Some("approve")) {
        Some(session) => interaction::grant_again(request, &finished, &session).await?,
        None => None,
    };
    again.ok_or_else(|| PageRefusal::InteractionFinished.into())
}

/// The user of the interaction, as long as this browser's session is that user's: who signed out elsewhere consents to nothing.
async fn signed_in(request: &PageRequest<'_>, open: &OpenInteraction) -> Result<Option<Session>, Reason> {
    let Some(signed_in) = &open.signed_in else {
        return Ok(None);
    };
    let session = session::current(request).await?;
    Ok(session.filter(|session| session.signed_in == *signed_in))
}

fn to_login(request: &PageRequest<'_>, open: &OpenInteraction) -> Response {
    page_response::see_other(&interaction::url(request.configuration, &open.id, "login"))
}

fn purpose(open: &OpenInteraction) -> String {
    format!("consent {}", open.id)
}

/// Where the browser goes: a host, or the name of an application's own scheme.
fn destination(redirect_uri: &str) -> String {
    let url = Url::parse(redirect_uri).ok();
    let host = url.as_ref().and_then(|url| {
        let host = url.host_str().filter(|_| matches!(url.scheme(), "https" | "http"))?;
        Some(match url.port() {
            Some(port) => format!("{host}:{port}"),
            None => host.to_owned(),
        })
    });
    host.or_else(|| url.map(|url| format!("the application that opens {}: addresses", url.scheme())))
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_destination_is_what_an_address_bar_would_show() {
        for (uri, expected) in [
            ("https://app.example/cb?x=1", "app.example"),
            ("https://bank.example@evil.example/", "evil.example"),
            ("http://127.0.0.1:8123/cb", "127.0.0.1:8123"),
            (
                "com.example.app:/cb",
                "the application that opens com.example.app: addresses",
            ),
            ("https://bücher.example/", "xn--bcher-kva.example"),
        ] {
            assert_eq!(destination(uri), expected, "{uri}");
        }
    }
}
