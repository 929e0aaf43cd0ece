//! Light, dark, or what the system says: a cookie, set by a form, so that the first paint is right.

use std::time::Duration;

use http::header::SET_COOKIE;
use keybound_protocol::form::Form;

use super::{PageRequest, cookies, page_response};
use crate::response::Response;
use crate::router::{self, Route, Side};

/// How long the choice is kept.
const KEPT: Duration = Duration::from_secs(365 * 86_400);

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
    // Back only to a page of ours, by its path alone: whatever else is asked for is no place to be sent to.
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

fn is_page(issuer_path: &str, path: &str) -> bool {
    let is_plain = path
        .bytes()
        .all(|octet| octet.is_ascii_alphanumeric() || b"/-_".contains(&octet));
    is_plain && router::find(Side::Public, issuer_path, path).is_some_and(Route::is_page)
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
        ] {
            assert!(!is_page("", path), "{path:?}");
        }
        for path in ["/grants", "/sign-in", "/interaction/AAAAAAAAAAAAAAAAAAAAAA/login"] {
            assert!(is_page("", path), "{path:?}");
        }
        assert!(is_page("/tenant", "/tenant/grants"));
        assert!(!is_page("/tenant", "/grants"));
    }
}
