//! `x-fapi-interaction-id`: by which a client and a resource find the same request in their logs (FAPI 2.0).

use http::header::HeaderName;
use http::{HeaderMap, HeaderValue};

const INTERACTION_ID: HeaderName = HeaderName::from_static("x-fapi-interaction-id");
/// Where a UUID has its hyphens (RFC 9562 §4).
const HYPHENS: [usize; 4] = [8, 13, 18, 23];
const UUID_OCTETS: usize = 36;

/// Answers with the identifier that was asked with, if it is one: a UUID, once. Whatever else was sent is not repeated.
pub fn echo(request: &HeaderMap, response: &mut HeaderMap) {
    let mut presented = request.get_all(&INTERACTION_ID).iter();
    let (Some(id), None) = (presented.next(), presented.next()) else {
        return;
    };
    if is_uuid(id) {
        response.insert(INTERACTION_ID, id.clone());
    }
}

fn is_uuid(value: &HeaderValue) -> bool {
    let text = value.as_bytes();
    text.len() == UUID_OCTETS
        && text.iter().enumerate().all(|(at, octet)| match HYPHENS.contains(&at) {
            true => *octet == b'-',
            false => octet.is_ascii_hexdigit(),
        })
}
