//! `/sign-out`: ends the session of this browser.

use askama::Template;
use http::StatusCode;
use http::header::SET_COOKIE;
use keybound_protocol::form::Form;

use super::frame::Frame;
use super::{PageRequest, cookies, form_token, page_response, session};
use crate::error::Reason;
use crate::response::Response;

#[derive(Template)]
#[template(path = "signed_out.html")]
struct SignedOutPage {
    frame: Frame,
}

/// Says that nobody is signed in. Also where somebody is: a link must not sign anybody out, so it is asked on the page of grants.
pub(super) fn get(request: &PageRequest<'_>) -> Result<Response, Reason> {
    if cookies::find(&request.parts.headers, cookies::SESSION).is_some() {
        let grants = format!("{}/grants", request.configuration.issuer_path);
        return Ok(page_response::see_other(&grants));
    }
    let frame = Frame::of(request);
    page_response::page(StatusCode::OK, &SignedOutPage { frame })
}

/// Ends the session.
pub(super) async fn post(request: &PageRequest<'_>, form: &Form<'_>) -> Result<Response, Reason> {
    if let Some(session) = session::current(request).await? {
        form_token::require(form, &session.secret, super::grants::PURPOSE)?;
        session::end(request).await?;
    }
    let mut response = page_response::see_other(&format!("{}/sign-out", request.configuration.issuer_path));
    let over = cookies::remove(cookies::SESSION);
    response.headers_mut().extend(over.map(|cookie| (SET_COOKIE, cookie)));
    Ok(response)
}
