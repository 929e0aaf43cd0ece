//! The head of the upstream's answer, made ready for the caller.

use http::header::{CONNECTION, CONTENT_LENGTH, SET_COOKIE, TE, TRAILER, TRANSFER_ENCODING, UPGRADE, VARY};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use crate::request_head::list;
use crate::{cookies, field_names, trailers};

const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");
const PROXY_AUTHENTICATE: HeaderName = HeaderName::from_static("proxy-authenticate");

/// Removes what speaks of the upstream leg or only the gateway may say, and returns the trailer fields announced.
///
/// `Client-Cert` must not appear in responses (RFC 9440 §2.2), and neither may the other identity fields. An answer that
/// varies with them varies with something the caller's caches cannot see, so such a `Vary` becomes `*` (§2.4).
pub(crate) fn prepare(headers: &mut HeaderMap, status: StatusCode) -> Vec<HeaderName> {
    let announced = trailers::announced(headers);
    if headers.contains_key(CONNECTION) {
        let named: Vec<HeaderName> = list(headers, &CONNECTION)
            .filter_map(|name| HeaderName::from_bytes(name).ok())
            .collect();
        for name in named {
            headers.remove(name);
        }
    }
    for name in [
        &CONNECTION,
        &KEEP_ALIVE,
        &PROXY_CONNECTION,
        &PROXY_AUTHENTICATE,
        &TE,
        &TRANSFER_ENCODING,
        &UPGRADE,
    ] {
        headers.remove(name);
    }
    headers.remove(TRAILER);
    if !status.is_informational()
        && let Some(announcement) = trailers::announcement(&announced)
    {
        headers.insert(TRAILER, announcement);
    }
    if headers.keys().any(|name| field_names::is_identity(name.as_str())) {
        let names: Vec<HeaderName> = headers
            .keys()
            .filter(|name| field_names::is_identity(name.as_str()))
            .cloned()
            .collect();
        for name in names {
            headers.remove(name);
        }
    }
    if list(headers, &VARY).any(|name| std::str::from_utf8(name).is_ok_and(field_names::is_identity)) {
        headers.insert(VARY, HeaderValue::from_static("*"));
    }
    if headers.get_all(SET_COOKIE).iter().any(cookies::sets_own) {
        let kept: Vec<HeaderValue> = headers
            .get_all(SET_COOKIE)
            .iter()
            .filter(|value| !cookies::sets_own(value))
            .cloned()
            .collect();
        headers.remove(SET_COOKIE);
        for value in kept {
            headers.append(SET_COOKIE, value);
        }
    }
    // RFC 9110 §8.6: neither 204 nor 1xx has a length.
    if status == StatusCode::NO_CONTENT || status.is_informational() {
        headers.remove(CONTENT_LENGTH);
    }
    announced
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(presented: &[(&'static str, &'static str)], expected: &[(&str, &str)]) {
        let mut headers = HeaderMap::new();
        for (name, value) in presented {
            headers.append(*name, HeaderValue::from_static(value));
        }
        prepare(&mut headers, StatusCode::OK);
        let seen: Vec<(&str, &str)> = headers
            .iter()
            .map(|(name, value)| (name.as_str(), value.to_str().unwrap_or("?")))
            .collect();
        assert_eq!(seen, expected, "{presented:?}");
    }

    #[test]
    fn removes_what_belongs_to_the_upstream_leg() {
        check(
            &[
                ("connection", "close, X-Leg"),
                ("x-leg", "1"),
                ("keep-alive", "5"),
                ("upgrade", "x"),
                ("x-a", "b"),
            ],
            &[("x-a", "b")],
        );
        check(
            &[("transfer-encoding", "chunked"), ("proxy-authenticate", "Basic")],
            &[],
        );
    }

    #[test]
    fn an_answer_that_varies_with_the_certificate_varies_with_everything() {
        check(&[("vary", "accept, Client-Cert")], &[("vary", "*")]);
        check(&[("vary", "accept"), ("vary", "keybound-subject")], &[("vary", "*")]);
        check(&[("vary", "client_cert_chain")], &[("vary", "*")]);
        check(&[("vary", "accept")], &[("vary", "accept")]);
    }

    #[test]
    fn identity_fields_are_not_for_responses() {
        check(
            &[
                ("client-cert", ":AA==:"),
                ("x-ssl-client-dn", "x"),
                ("x-forwarded-tls-client-cert", "x"),
                ("cf-cert-verified", "true"),
                ("keybound_subject", "x"),
            ],
            &[],
        );
    }

    #[test]
    fn an_upstream_sets_no_cookie_of_ours() {
        check(
            &[("set-cookie", "__Host-keybound=1"), ("set-cookie", "a=1")],
            &[("set-cookie", "a=1")],
        );
    }

    #[test]
    fn a_204_has_no_length() {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_LENGTH, HeaderValue::from_static("5"));
        prepare(&mut headers, StatusCode::NO_CONTENT);
        assert!(headers.is_empty());
    }

    #[test]
    fn an_interim_answer_says_nothing_about_a_body() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("content-length", "5"),
            ("trailer", "x-sum"),
            ("transfer-encoding", "chunked"),
            ("connection", "x-leg"),
            ("x-leg", "1"),
            ("client-cert", ":AA==:"),
            ("keybound-refusal", "G-0"),
            ("set-cookie", "__Host-keybound=1"),
            ("link", "</a>"),
        ] {
            headers.insert(name, HeaderValue::from_static(value));
        }
        prepare(&mut headers, StatusCode::EARLY_HINTS);
        assert_eq!(headers.keys().map(HeaderName::as_str).collect::<Vec<_>>(), ["link"]);
    }
}
