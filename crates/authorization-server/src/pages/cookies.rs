//! Cookies: all of them `__Host-`, so that no other host can set or read one (RFC 6265bis §4.1.3.2), `HttpOnly`, and `Lax`: a browser that
//! comes back from a client brings them, a form of another site does not.

use std::time::Duration;

use http::header::COOKIE;
use http::{HeaderMap, HeaderValue};

/// The session of a user who is signed in.
pub(crate) const SESSION: &str = "__Host-keybound-session";
/// A browser in which nobody is signed in yet: what the sign-in form is tied to.
pub(crate) const BROWSER: &str = "__Host-keybound-browser";
/// What a form did, for the page after it.
pub(crate) const NOTICE: &str = "__Host-keybound-notice";
/// Light or dark.
pub(crate) const THEME: &str = "__Host-keybound-theme";
/// What the name of an interaction's cookie begins with; its identifier follows. One for each, so that several tabs do not disturb
/// each other, also when they open at once.
pub(crate) const INTERACTION_PREFIX: &str = "__Host-keybound-interaction-";

/// The value of a cookie. A name that comes twice with two values has none: one of them is not ours.
pub(crate) fn find<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let mut values = pairs(headers)
        .filter(|(found, _)| *found == name)
        .map(|(_, value)| value);
    let value = values.next()?;
    values.all(|other| other == value).then_some(value)
}

/// The names that begin with `prefix`, in the order sent: browsers send older cookies first.
pub(crate) fn names_with<'a>(headers: &'a HeaderMap, prefix: &'a str) -> impl Iterator<Item = &'a str> {
    pairs(headers)
        .map(|(name, _)| name)
        .filter(move |name| name.starts_with(prefix))
}

fn pairs(headers: &HeaderMap) -> impl Iterator<Item = (&str, &str)> {
    headers
        .get_all(COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|text| text.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
}

/// `Set-Cookie` with a value made of base64url characters or letters. `None` if such a value were something else.
pub(crate) fn set(name: &str, value: &str, max_age: Duration) -> Option<HeaderValue> {
    let seconds = max_age.as_secs();
    HeaderValue::try_from(format!(
        "{name}={value}; Path=/; Max-Age={seconds}; Secure; HttpOnly; SameSite=Lax"
    ))
    .ok()
}

/// `Set-Cookie` that removes one.
pub(crate) fn remove(name: &str) -> Option<HeaderValue> {
    set(name, "", Duration::ZERO)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(cookies: &[&'static str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for cookie in cookies {
            headers.append(COOKIE, HeaderValue::from_static(cookie));
        }
        headers
    }

    #[test]
    fn finds_exact_names_over_several_headers() {
        let headers = headers(&["a=1; __Host-keybound-session=x", "b=2"]);
        assert_eq!(find(&headers, SESSION), Some("x"));
        assert_eq!(find(&headers, "b"), Some("2"));
        assert_eq!(find(&headers, "keybound-session"), None);
    }

    #[test]
    fn two_values_of_one_name_are_none() {
        assert_eq!(find(&headers(&["a=1; a=2"]), "a"), None);
        assert_eq!(find(&headers(&["a=1; a=1"]), "a"), Some("1"));
    }

    #[test]
    fn sets_every_attribute() {
        let cookie = set(SESSION, "v", Duration::from_secs(60));
        let expected = "__Host-keybound-session=v; Path=/; Max-Age=60; Secure; HttpOnly; SameSite=Lax";
        assert_eq!(cookie, HeaderValue::try_from(expected).ok());
    }

    #[test]
    fn a_value_that_is_no_header_is_no_cookie() {
        assert_eq!(set("a", "x\r\ny", Duration::ZERO), None);
    }
}
