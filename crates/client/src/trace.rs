//! Showing what goes over the wire, without the secrets in it.
//!
//! Whoever implements [`Trace`] never sees a token, a secret or an assertion: they are replaced before it is called, so that
//! a trace may be pasted into a ticket.

use http::{HeaderMap, Method, StatusCode};
use keybound_protocol::confirmation::CertificateThumbprint;
use serde_json::Value;
use url::Url;

/// Receives every request that a client sends and every response that it gets.
///
/// Called from the task that sends the request; it must not block for long.
pub trait Trace: Send + Sync + 'static {
    /// A request is about to be sent.
    fn request(&self, request: &TracedRequest<'_>);

    /// A response has arrived, with its body.
    fn response(&self, response: &TracedResponse<'_>);
}

/// A request as a trace may show it.
#[derive(Debug)]
pub struct TracedRequest<'a> {
    /// The method.
    pub method: &'a Method,
    /// Where it goes.
    pub url: &'a Url,
    /// The certificate that will be presented if the server asks for one.
    pub certificate: Option<&'a CertificateThumbprint>,
    /// The header fields, credentials redacted.
    pub headers: Vec<(String, String)>,
    /// The body, credentials redacted; of a body that is neither a form nor JSON, its length only.
    pub body: String,
}

/// A response as a trace may show it.
#[derive(Debug)]
pub struct TracedResponse<'a> {
    /// Where it came from.
    pub url: &'a Url,
    /// Its status.
    pub status: StatusCode,
    /// The header fields, credentials redacted.
    pub headers: Vec<(String, String)>,
    /// The body, credentials redacted; of a body that is not JSON, its length only.
    pub body: String,
}

/// Form parameters and JSON members whose values are credentials.
const SECRET_NAMES: [&str; 18] = [
    "access_token",
    "actor_token",
    "assertion",
    "auth_req_id",
    "client_assertion",
    "client_notification_token",
    "client_secret",
    "code",
    "code_verifier",
    "device_code",
    "id_token",
    "id_token_hint",
    "login_hint_token",
    "refresh_token",
    "registration_access_token",
    "request",
    "subject_token",
    "token",
];

/// Header fields whose values are credentials; of `Authorization` the scheme is shown.
const SECRET_HEADERS: [&str; 5] = ["authorization", "cookie", "dpop", "proxy-authorization", "set-cookie"];

/// The fields of `headers`, credentials replaced.
pub(crate) fn redacted_headers(headers: &HeaderMap) -> Vec<(String, String)> {
    let redacted = |name: &str, value: &str| match value.split_once(' ') {
        _ if !SECRET_HEADERS.contains(&name) => value.to_owned(),
        Some((scheme, credentials)) if name.ends_with("authorization") => {
            format!("{scheme} {}", redaction(credentials))
        }
        _ => redaction(value),
    };
    headers
        .iter()
        .map(|(name, value)| {
            (
                name.to_string(),
                redacted(name.as_str(), &String::from_utf8_lossy(value.as_bytes())),
            )
        })
        .collect()
}

/// A body as a trace may show it.
pub(crate) fn redacted_body(headers: &HeaderMap, body: &[u8]) -> String {
    let content_type = headers
        .get(http::header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    if content_type.starts_with("application/x-www-form-urlencoded") {
        return redacted_form(body);
    }
    match serde_json::from_slice::<Value>(body) {
        Ok(mut json @ Value::Object(_)) => {
            redact_json(&mut json);
            json.to_string()
        }
        _ if body.is_empty() => String::new(),
        _ => format!("[{} octets]", body.len()),
    }
}

fn redacted_form(body: &[u8]) -> String {
    let mut shown = String::new();
    for (name, value) in url::form_urlencoded::parse(body) {
        let value = if SECRET_NAMES.contains(&name.as_ref()) {
            redaction(&value)
        } else {
            value.into_owned()
        };
        if !shown.is_empty() {
            shown.push('&');
        }
        shown.push_str(&name);
        shown.push('=');
        shown.push_str(&value);
    }
    shown
}

fn redact_json(json: &mut Value) {
    match json {
        Value::Object(members) => {
            for (name, member) in members {
                match member {
                    Value::String(text) if SECRET_NAMES.contains(&name.as_str()) => *text = redaction(text),
                    _ => redact_json(member),
                }
            }
        }
        Value::Array(elements) => elements.iter_mut().for_each(redact_json),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn redaction(secret: &str) -> String {
    format!("[redacted: {} characters]", secret.chars().count())
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failing test panics")]

    use super::*;

    const CANARY: &str = "c4n4ry-c4n4ry";

    #[test]
    fn no_credential_survives_in_a_form() {
        for name in SECRET_NAMES {
            let shown = redacted_form(format!("client_id=a&{name}={CANARY}").as_bytes());
            assert_eq!(shown, format!("client_id=a&{name}=[redacted: 13 characters]"));
        }
        // A name in its percent-encoded spelling is the same name.
        assert!(!redacted_form(format!("%74oken={CANARY}").as_bytes()).contains(CANARY));
    }

    #[test]
    fn no_credential_survives_in_json_at_any_depth() {
        let body = format!(r#"{{"scope":"read","a":[{{"access_token":"{CANARY}"}}],"refresh_token":"{CANARY}"}}"#);
        let shown = redacted_body(&HeaderMap::new(), body.as_bytes());
        assert!(!shown.contains(CANARY), "{shown}");
        assert!(shown.contains(r#""scope":"read""#), "{shown}");
    }

    #[test]
    fn a_body_that_cannot_be_read_is_shown_by_its_length() {
        assert_eq!(redacted_body(&HeaderMap::new(), CANARY.as_bytes()), "[13 octets]");
        assert_eq!(
            redacted_body(&HeaderMap::new(), format!("\"{CANARY}\"").as_bytes()),
            "[15 octets]"
        );
    }

    #[test]
    fn headers_keep_the_scheme_and_lose_the_credentials() {
        let mut headers = HeaderMap::new();
        headers.insert("authorization", format!("Bearer {CANARY}").parse().unwrap());
        headers.insert("cookie", CANARY.parse().unwrap());
        headers.insert("accept", "application/json".parse().unwrap());
        let shown = redacted_headers(&headers);
        assert!(shown.contains(&(
            "authorization".to_owned(),
            "Bearer [redacted: 13 characters]".to_owned()
        )));
        assert!(shown.contains(&("accept".to_owned(), "application/json".to_owned())));
        assert!(shown.iter().all(|(_, value)| !value.contains(CANARY)));
    }
}
