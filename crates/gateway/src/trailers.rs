//! Trailer fields, both ways: announced in `Trailer`, and only what may stand in a trailer.
//!
//! An HTTP/1.1 peer is only sent what the head announced; RFC 9110 §6.5.1 lets a gateway drop the others.

use http::header::TRAILER;
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::field_names;

/// The trailer fields that `headers` announce and that may be passed on.
pub(crate) fn announced(headers: &HeaderMap) -> Vec<HeaderName> {
    // Hardly any message has one; then there is nothing to allocate.
    headers
        .get_all(TRAILER)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|names| names.split(','))
        .filter_map(|name| HeaderName::from_bytes(name.trim().as_bytes()).ok())
        .filter(field_names::may_be_trailer)
        .collect()
}

/// The `Trailer` header that announces exactly `names`; none for none.
pub(crate) fn announcement(names: &[HeaderName]) -> Option<HeaderValue> {
    let names: Vec<&str> = names.iter().map(HeaderName::as_str).collect();
    (!names.is_empty())
        .then(|| HeaderValue::from_str(&names.join(", ")).ok())
        .flatten()
}

/// Drops every field that was not announced.
pub(crate) fn retain_announced(trailers: &mut HeaderMap, announced: &[HeaderName]) {
    retain(trailers, |name| announced.contains(name));
}

/// Drops every field that may not stand in a trailer; for HTTP/2, which announces nothing.
pub(crate) fn retain_permitted(trailers: &mut HeaderMap) {
    retain(trailers, field_names::may_be_trailer);
}

fn retain(trailers: &mut HeaderMap, keep: impl Fn(&HeaderName) -> bool) {
    let dropped: Vec<HeaderName> = trailers.keys().filter(|name| !keep(name)).cloned().collect();
    for name in dropped {
        trailers.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn announces_only_what_may_be_passed_on() {
        let mut headers = HeaderMap::new();
        headers.append(
            TRAILER,
            HeaderValue::from_static("X-Checksum, Client-Cert,content-length"),
        );
        headers.append(TRAILER, HeaderValue::from_static("keybound_subject , server-timing"));
        let names = announced(&headers);
        assert_eq!(
            announcement(&names),
            Some(HeaderValue::from_static("x-checksum, server-timing"))
        );
        assert_eq!(announcement(&announced(&HeaderMap::new())), None);
    }

    #[test]
    fn drops_what_was_not_announced() {
        let mut trailers = HeaderMap::new();
        trailers.append("x-checksum", HeaderValue::from_static("1"));
        trailers.append("x-other", HeaderValue::from_static("2"));
        trailers.append("x-other", HeaderValue::from_static("3"));
        retain_announced(&mut trailers, &[HeaderName::from_static("x-checksum")]);
        assert_eq!(trailers.len(), 1);
    }

    #[test]
    fn drops_identity_from_trailers_without_an_announcement() {
        let mut trailers = HeaderMap::new();
        trailers.append("client_cert", HeaderValue::from_static("1"));
        trailers.append("grpc-status", HeaderValue::from_static("0"));
        retain_permitted(&mut trailers);
        assert_eq!(
            trailers.keys().map(HeaderName::as_str).collect::<Vec<_>>(),
            ["grpc-status"]
        );
    }
}
