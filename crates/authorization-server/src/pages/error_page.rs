//! The page that ends what cannot go on: what happened, the code, one static sentence, and the reference that `keybound explain` takes.
//!
//! Nothing of the request is on it. A hostile link can bring somebody here and can make it say nothing.

use askama::Template;
use http::header::{ALLOW, RETRY_AFTER};
use keybound_protocol::refusal::RefusalId;
use keybound_protocol::time::Timestamp;

use super::date::Moment;
use super::frame::Frame;
use super::page_response;
use super::refusal::PageRefusal;
use super::theme::Theme;
use crate::configuration::Configuration;
use crate::error::Reason;
use crate::response::{KEYBOUND_REFUSAL, Response};
use crate::upstream::UpstreamError;

#[derive(Template)]
#[template(path = "error.html")]
struct ErrorPage<'a> {
    frame: Frame,
    headline: &'static str,
    lead: &'static str,
    code: &'static str,
    description: &'static str,
    reference: &'a str,
    time: Moment,
}

/// What the page of one refusal needs.
pub(crate) struct Refused<'a> {
    pub(crate) configuration: &'a Configuration,
    pub(crate) reason: &'a Reason,
    pub(crate) id: &'a RefusalId,
    pub(crate) theme: Theme,
    pub(crate) now: Timestamp,
}

/// The page in place of `plain`, the same answer for machines: with its status, and its headers that say what to do.
pub(crate) fn of(refused: &Refused<'_>, plain: Response) -> Response {
    let (headline, lead) = words(refused.reason);
    let page = ErrorPage {
        frame: Frame::bare(refused.configuration, refused.theme),
        headline,
        lead,
        code: refused.reason.code().as_str(),
        description: refused.reason.description(),
        reference: refused.id.as_str(),
        time: Moment::of(refused.now),
    };
    let Ok(mut response) = page_response::page(plain.status(), &page) else {
        return plain;
    };
    for name in [KEYBOUND_REFUSAL, RETRY_AFTER, ALLOW] {
        if let Some(value) = plain.headers().get(&name) {
            response.headers_mut().insert(name, value.clone());
        }
    }
    response
}

/// The fact, and what it means.
fn words(reason: &Reason) -> (&'static str, &'static str) {
    const NOTHING_SHARED: &str = "To be safe we stopped here. Nothing was shared.";
    match reason {
        Reason::Page(PageRefusal::InteractionExpired) => (
            "You took longer than ten minutes",
            "The request ended, and nothing was shared. Go back to the application and start again.",
        ),
        Reason::Page(PageRefusal::InteractionFinished) => (
            "You have already answered",
            "Go back to the application. If it still waits, start again there.",
        ),
        Reason::Page(PageRefusal::RequestUriSpent) => (
            "This request is finished already",
            "It was answered before, perhaps in another tab. If the application still waits, go back to it and start again.",
        ),
        Reason::Page(PageRefusal::UnknownInteraction | PageRefusal::ForeignBrowser) => (
            "This page belongs to another browser",
            "Its request was begun elsewhere, or a cookie is missing. Go back to the application and start again here.",
        ),
        Reason::Page(PageRefusal::CrossSite { .. } | PageRefusal::FormToken) => (
            "This form did not come from our page",
            "Another site may have tried to act for you. Nothing was done. Open the page again and repeat it there.",
        ),
        Reason::Page(PageRefusal::Upstream(UpstreamError::NotFresh(_))) => (
            "The application wants you to sign in again",
            "The other provider did not show that you did so recently. Nothing was shared. Sign out there first, or go back and sign in here.",
        ),
        Reason::Store(_) | Reason::Page(PageRefusal::TooManyInteractions | PageRefusal::TooOften(_)) => (
            "We cannot answer at the moment",
            "Nothing was lost, and nothing was shared. Try again in a few seconds.",
        ),
        reason if reason.is_ours() => (
            "Something failed on our side",
            "Nothing was shared. Try again in a few minutes.",
        ),
        Reason::PathUnknown { .. } => (
            "There is no such page",
            "Check the address, or go back to where you came from.",
        ),
        _ => ("We cannot take you back to the application", NOTHING_SHARED),
    }
}
