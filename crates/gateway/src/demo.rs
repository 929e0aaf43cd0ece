//! `demo:`, the upstream that is built in: it answers with what an upstream would have seen.

use std::collections::BTreeMap;

use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Response};
use keybound_tls::ResponseBody;
use serde::Serialize;

/// The body of the answer.
#[derive(Serialize)]
struct Echo<'a> {
    method: &'a str,
    path: &'a str,
    headers: BTreeMap<&'a str, String>,
}

/// 200 with method, path and headers as JSON, whatever was asked.
pub(crate) fn answer(method: &str, path: &str, headers: &HeaderMap) -> Response<ResponseBody> {
    let mut joined: BTreeMap<&str, String> = BTreeMap::new();
    for (name, value) in headers {
        let value = String::from_utf8_lossy(value.as_bytes());
        joined
            .entry(name.as_str())
            .and_modify(|known| {
                known.push_str(", ");
                known.push_str(&value);
            })
            .or_insert_with(|| value.clone().into_owned());
    }
    // Strings only: serialising them cannot fail.
    let body = serde_json::to_vec(&Echo {
        method,
        path,
        headers: joined,
    })
    .unwrap_or_default();
    let mut response = Response::new(ResponseBody::from(body));
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    // It depends on Client-Cert (RFC 9440 §2.4).
    response
        .headers_mut()
        .insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
