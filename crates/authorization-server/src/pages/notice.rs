//! What a form did, told once on the page that comes after it: by a cookie of ours, never by the URL. A link must not make a page say
//! that something was done.

use std::time::Duration;

use http::header::SET_COOKIE;

use super::session::Session;
use super::{PageRequest, cookies, form_token};
use crate::response::Response;

/// How long it waits for its page.
const KEPT: Duration = Duration::from_secs(60);

/// One of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Notice {
    DeviceConnected,
    DeviceDenied,
    Withdrawn,
    NoSuchAccess,
    RequestAllowed,
    RequestDenied,
    RequestOver,
    Busy,
}

impl Notice {
    const ALL: [Notice; 8] = [
        Notice::DeviceConnected,
        Notice::DeviceDenied,
        Notice::Withdrawn,
        Notice::NoSuchAccess,
        Notice::RequestAllowed,
        Notice::RequestDenied,
        Notice::RequestOver,
        Notice::Busy,
    ];

    fn name(self) -> &'static str {
        match self {
            Notice::DeviceConnected => "device-connected",
            Notice::DeviceDenied => "device-denied",
            Notice::Withdrawn => "withdrawn",
            Notice::NoSuchAccess => "no-such-access",
            Notice::RequestAllowed => "request-allowed",
            Notice::RequestDenied => "request-denied",
            Notice::RequestOver => "request-over",
            Notice::Busy => "busy",
        }
    }

    /// As people read it.
    pub(super) fn text(self) -> &'static str {
        match self {
            Notice::DeviceConnected => "Connected. Your device goes on by itself.",
            Notice::DeviceDenied => "Denied. The device gets nothing.",
            Notice::Withdrawn => "Withdrawn. That application has no access any more.",
            Notice::NoSuchAccess => "There is no such access of yours.",
            Notice::RequestAllowed => "Allowed. The application goes on by itself.",
            Notice::RequestDenied => "Denied. The application got nothing.",
            Notice::RequestOver => "That request is over. Nothing was shared.",
            Notice::Busy => "The server is busy. Nothing was decided: try again in a moment.",
        }
    }

    /// Sends it along with the redirection to the page. It counts in this session alone.
    pub(super) fn send(self, session: &Session, response: &mut Response) {
        let cookie = cookies::set(cookies::NOTICE, &self.value(&session.secret), KEPT);
        response.headers_mut().extend(cookie.map(|cookie| (SET_COOKIE, cookie)));
    }

    /// The one that was sent along, if it was sent in this session.
    pub(super) fn sent(request: &PageRequest<'_>, session: &Session) -> Option<Notice> {
        let presented = cookies::find(&request.parts.headers, cookies::NOTICE)?;
        Notice::of(presented, &session.secret)
    }

    fn value(self, secret: &str) -> String {
        format!("{}.{}", self.name(), form_token::of(secret, self.name()))
    }

    fn of(value: &str, secret: &str) -> Option<Notice> {
        let (name, token) = value.split_once('.')?;
        let notice = Notice::ALL.into_iter().find(|notice| notice.name() == name)?;
        form_token::is_of(token, secret, name).then_some(notice)
    }
}

/// Has the browser forget it: it was shown.
pub(super) fn forget(response: &mut Response) {
    let over = cookies::remove(cookies::NOTICE);
    response.headers_mut().extend(over.map(|cookie| (SET_COOKIE, cookie)));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_in_the_session_it_was_sent_in_and_for_what_it_says() {
        let value = Notice::DeviceConnected.value("secret");
        let (_, token) = value.split_once('.').unwrap_or_default();
        for (presented, secret) in [
            (value.as_str(), "another"),
            ("device-connected.", "secret"),
            ("device-connected", "secret"),
            (&format!("withdrawn.{token}"), "secret"),
            (&format!("made-up.{}", form_token::of("secret", "made-up")), "secret"),
        ] {
            assert_eq!(Notice::of(presented, secret), None, "{presented} {secret}");
        }
        for notice in Notice::ALL {
            assert_eq!(Notice::of(&notice.value("secret"), "secret"), Some(notice));
        }
    }
}
