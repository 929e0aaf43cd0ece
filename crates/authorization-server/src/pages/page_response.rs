//! Answers that are pages: what a browser may do with them, and 303 where it goes on.

use askama::Template;
use bytes::Bytes;
use http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName, LOCATION, REFERRER_POLICY,
    STRICT_TRANSPORT_SECURITY, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use http::{HeaderMap, HeaderValue, StatusCode};
use keybound_tls::ResponseBody;

use crate::error::Reason;
use crate::response::Response;

const HTML: HeaderValue = HeaderValue::from_static("text/html; charset=utf-8");
const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");
const NO_REFERRER: HeaderValue = HeaderValue::from_static("no-referrer");
const CROSS_ORIGIN_OPENER_POLICY: HeaderName = HeaderName::from_static("cross-origin-opener-policy");
const CROSS_ORIGIN_RESOURCE_POLICY: HeaderName = HeaderName::from_static("cross-origin-resource-policy");

/// A page whose forms end with us.
///
/// # Errors
/// [`Reason::Page`] if the template fails, which is our fault.
pub(crate) fn page(status: StatusCode, template: &impl Template) -> Result<Response, Reason> {
    page_with_form_to(None, status, template)
}

/// A page whose form may end at `destination`, the source expression of a validated redirect URI: browsers apply `form-action` to
/// redirects, too.
///
/// # Errors
/// [`Reason::Page`] if the template fails, which is our fault.
pub(crate) fn page_with_form_to(
    destination: Option<&str>,
    status: StatusCode,
    template: &impl Template,
) -> Result<Response, Reason> {
    let html = template.render().map_err(super::refusal::PageRefusal::Template)?;
    let mut response = Response::new(ResponseBody::Full(Bytes::from(html)));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HTML);
    secure(response.headers_mut(), destination);
    Ok(response)
}

/// 303: the browser goes on by GET, and what was posted to us is not posted on (RFC 9700 §4.12).
pub(crate) fn see_other(location: &str) -> Response {
    let mut response = Response::new(ResponseBody::Empty);
    *response.status_mut() = StatusCode::SEE_OTHER;
    let headers = response.headers_mut();
    // Paths of ours are ASCII.
    let location = HeaderValue::try_from(location).unwrap_or(HeaderValue::from_static("/"));
    headers.insert(LOCATION, location);
    secure(headers, None);
    response
}

/// Gives what is answered at a page's path the headers of pages, whoever answers: what is refused before a page is asked for, and
/// `OPTIONS`. Assets and redirections have what they need.
pub(crate) fn complete(response: &mut Response) {
    let status = response.status();
    if status != StatusCode::OK && !status.is_redirection() && !response.headers().contains_key(CONTENT_SECURITY_POLICY)
    {
        secure(response.headers_mut(), None);
    }
}

fn secure(headers: &mut HeaderMap, destination: Option<&str>) {
    let policy = |form_action: &str| {
        format!(
            "default-src 'none'; style-src 'self'; img-src 'self'; font-src 'self'; form-action {form_action}; \
             base-uri 'none'; frame-ancestors 'none'"
        )
    };
    // A source expression is printable ASCII without separators, or it is not one and forms end with us.
    let is_source = |text: &&str| {
        text.bytes()
            .all(|octet| octet.is_ascii_graphic() && octet != b';' && octet != b',')
    };
    let form_action = destination
        .filter(is_source)
        .map_or_else(|| "'self'".to_owned(), |destination| format!("'self' {destination}"));
    let policy = HeaderValue::try_from(policy(&form_action));
    headers.insert(
        CONTENT_SECURITY_POLICY,
        policy.unwrap_or(HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'")),
    );
    // For browsers that do not know frame-ancestors.
    headers.insert(X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
    headers.insert(CACHE_CONTROL, NO_STORE);
    headers.insert(REFERRER_POLICY, NO_REFERRER);
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(STRICT_TRANSPORT_SECURITY, HeaderValue::from_static("max-age=31536000"));
    headers.insert(CROSS_ORIGIN_OPENER_POLICY, HeaderValue::from_static("same-origin"));
    headers.insert(CROSS_ORIGIN_RESOURCE_POLICY, HeaderValue::from_static("same-origin"));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn form_action(destination: Option<&str>) -> String {
        let mut headers = HeaderMap::new();
        secure(&mut headers, destination);
        let policy = headers
            .get(CONTENT_SECURITY_POLICY)
            .and_then(|value| value.to_str().ok());
        let directive = policy.and_then(|policy| {
            policy
                .split("; ")
                .find_map(|directive| directive.strip_prefix("form-action "))
        });
        directive.unwrap_or_default().to_owned()
    }

    #[test]
    fn forms_may_end_at_the_destination_and_nowhere_else() {
        assert_eq!(form_action(None), "'self'");
        assert_eq!(
            form_action(Some("https://client.example")),
            "'self' https://client.example"
        );
        assert_eq!(form_action(Some("com.example.app:")), "'self' com.example.app:");
    }

    #[test]
    fn a_destination_adds_no_directive() {
        for hostile in [
            "https://a; script-src *",
            "https://a,",
            "https://a b",
            "https://a\r\nX: y",
        ] {
            assert_eq!(form_action(Some(hostile)), "'self'", "{hostile:?}");
        }
    }
}
