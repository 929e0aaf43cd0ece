//! Light, dark, or what the system says: a cookie, set by a form, so that the first paint is right.

use std::time::Duration;

use http::Uri;
use http::header::SET_COOKIE;
use keybound_protocol::form::Form;

use super::{PageRequest, cookies, page_response};
use crate::response::Response;
use crate::router::{self, Route, Side};

/// How long the choice is kept.
const KEPT: Duration = Duration::from_secs(365 * 86_400);

/// The longest query of a page that is come back to, in octets.
const QUERY_BYTES_MAX: usize = 512;

/// A theme.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Theme {
    System,
    Light,
    Dark,
}

impl Theme {
    pub(crate) const ALL: [Theme; 3] = [Theme::System, Theme::Light, Theme::Dark];

    /// The theme that this browser chose.
    pub(crate) fn of(headers: &http::HeaderMap) -> Theme {
        cookies::find(headers, cookies::THEME).map_or(Theme::System, Theme::from_name)
    }

    fn from_name(name: &str) -> Theme {
        match name {
            "light" => Theme::Light,
            "dark" => Theme::Dark,
            _ => Theme::System,
        }
    }

    /// The value of `data-theme`; `None` leaves it to the system.
    pub(crate) fn name(self) -> Option<&'static str> {
        match self {
            Theme::System => None,
            Theme::Light => Some("light"),
            Theme::Dark => Some("dark"),
        }
    }

    pub(crate) fn label(self) -> &'static str {
        match self {
            Theme::System => "System",
            Theme::Light => "Light",
            Theme::Dark => "Dark",
        }
    }
}

/// `POST /theme`: keeps the choice and goes back to the page.
pub(super) fn post(request: &PageRequest<'_>, form: &Form<'_>) -> Response {
    let issuer_path = &request.configuration.issuer_path;
    // Back only to a page of ours: whatever else is asked for is no place to be sent to.
    let page = form.get("page").filter(|page| is_page(issuer_path, page));
    let location = page.map_or_else(|| format!("{issuer_path}/grants"), str::to_owned);
    let mut response = page_response::see_other(&location);
    let cookie = match Theme::from_name(form.get("theme").unwrap_or_default()).name() {
        Some(name) => cookies::set(cookies::THEME, name, KEPT),
        None => cookies::remove(cookies::THEME),
    };
    response.headers_mut().extend(cookie.map(|cookie| (SET_COOKIE, cookie)));
    response
}

/// The page at this address as it is come back to: with its query, if that is one that [`post`] sends anybody back with.
pub(super) fn come_back_to(uri: &Uri) -> String {
    match uri.query() {
        Some(query) if is_plain_query(query) => format!("{}?{query}", uri.path()),
        _ => uri.path().to_owned(),
    }
}

fn is_page(issuer_path: &str, address: &str) -> bool {
    let (path, query) = address.split_once('?').unwrap_or((address, ""));
    let is_plain = path
        .bytes()
        .all(|octet| octet.is_ascii_alphanumeric() || b"/-_".contains(&octet));
    is_plain && is_plain_query(query) && router::find(Side::Public, issuer_path, path).is_some_and(Route::is_page)
}

/// What pages of ours have as queries: names and values that are percent-encoded, and few.
fn is_plain_query(query: &str) -> bool {
    let is_plain = |octet: u8| octet.is_ascii_alphanumeric() || b"-._~%&=+".contains(&octet);
    query.len() <= QUERY_BYTES_MAX && query.bytes().all(is_plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_pages_of_ours_are_gone_back_to() {
        for path in [
            "",
            "https://evil.example/grants",
            "//evil.example/grants",
            "/\\evil.example",
            "/grants?x=https://evil.example",
            "/grants\r\nSet-Cookie: x=y",
            "/token",
            "/jwks",
            "/tenant/grants",
            "/grants?a=1?b=2",
            "/grants?a=1#b",
            "/grants?a=1\r\nSet-Cookie: x=y",
            "/grants?a=1 b",
            "/token?a=1",
            "?a=1",
            "//evil.example?a=1",
        ] {
            assert!(!is_page("", path), "{path:?}");
        }
        for path in [
            "/grants",
            "/sign-in",
            "/interaction/AAAAAAAAAAAAAAAAAAAAAA/login",
            "/device?user_code=WDJB-MJHT&x=%C3%A4+b",
        ] {
            assert!(is_page("", path), "{path:?}");
            assert_eq!(path.parse().map(|uri| come_back_to(&uri)).ok(), Some(path.to_owned()));
        }
        assert!(!is_page("", &format!("/device?{}", "a".repeat(QUERY_BYTES_MAX + 1))));
        for odd in ["/device?user_code=<b>", "/device?next=//evil.example", "/device?a=1?b"] {
            let uri: Result<Uri, _> = odd.parse();
            assert!(
                uri.is_err() || uri.is_ok_and(|uri| come_back_to(&uri) == "/device"),
                "{odd}"
            );
        }
        assert!(is_page("/tenant", "/tenant/grants"));
        assert!(!is_page("/tenant", "/grants"));
    }
}
