//! Whether a form was sent by a page of ours: what the browser says about it, beside the [form token](super::form_token).

use http::header::{HeaderName, ORIGIN};
use http::{HeaderMap, HeaderValue};
use url::Url;

use super::refusal::PageRefusal;

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Refuses a form that a browser says came from elsewhere.
///
/// `Sec-Fetch-Site` decides where it is sent: no page can forge it. `Origin` has to be ours, except that a browser which says
/// `same-origin` may hide it: our `Referrer-Policy: no-referrer` makes it `null`. Whoever sends neither header is no browser that
/// another site could misuse.
///
/// # Errors
/// [`PageRefusal::CrossSite`]
pub(crate) fn require_own(headers: &HeaderMap, issuer: &Url) -> Result<(), PageRefusal> {
    let site = single(headers, &SEC_FETCH_SITE)?;
    let origin = single(headers, &ORIGIN)?;
    let is_own_site = match site {
        None => true,
        Some(site) => site == "same-origin",
    };
    let is_own_origin = match origin {
        None => true,
        Some("null") => site.is_some(),
        Some(origin) => origin == issuer.origin().ascii_serialization(),
    };
    if is_own_site && is_own_origin {
        return Ok(());
    }
    Err(PageRefusal::CrossSite {
        site: site.map(shortened),
        origin: origin.map(shortened),
    })
}

fn single<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<Option<&'a str>, PageRefusal> {
    let mut values = headers.get_all(name).iter();
    let text = |value: &'a HeaderValue| value.to_str().unwrap_or("?");
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some(value), None) => Ok(Some(text(value))),
        (Some(value), Some(_)) => Err(PageRefusal::CrossSite {
            site: None,
            origin: Some(shortened(text(value))),
        }),
    }
}

fn shortened(text: &str) -> String {
    text.chars().take(200).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(site: Option<&'static str>, origin: Option<&'static str>, expected: bool) {
        let issuer = Url::parse("https://as.example/tenant").unwrap_or_else(|error| panic!("{error}"));
        let mut headers = HeaderMap::new();
        if let Some(site) = site {
            headers.insert(SEC_FETCH_SITE, HeaderValue::from_static(site));
        }
        if let Some(origin) = origin {
            headers.insert(ORIGIN, HeaderValue::from_static(origin));
        }
        assert_eq!(require_own(&headers, &issuer).is_ok(), expected, "{site:?} {origin:?}");
    }

    #[test]
    fn only_our_own_pages_send_forms() {
        for (site, origin) in [
            (Some("cross-site"), None),
            (Some("same-site"), Some("https://as.example")),
            (Some("none"), None),
            (Some("cross-site"), Some("null")),
            (Some("same-origin"), Some("https://evil.example")),
            (None, Some("https://evil.example")),
            (None, Some("http://as.example")),
            (None, Some("https://as.example:8443")),
            (None, Some("https://as.example.evil.example")),
            (None, Some("null")),
        ] {
            check(site, origin, false);
        }
        check(Some("same-origin"), Some("https://as.example"), true);
        check(Some("same-origin"), Some("null"), true);
        check(None, Some("https://as.example"), true);
        check(None, None, true);
    }
}
