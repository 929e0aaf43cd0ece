//! The head of the request to the upstream, made from the caller's.
//!
//! The order is the defence (RFC 9110 §7.6.1, RFC 9440 §4): what `Connection` names is dropped, then what is reserved, and
//! only then is our own added, which nothing the caller sent can remove any more.

use http::header::{
    AUTHORIZATION, CONNECTION, CONTENT_LENGTH, COOKIE, EXPECT, HOST, TE, TRAILER, TRANSFER_ENCODING, UPGRADE, VIA,
};
use http::request::Parts;
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Uri, Version};

use crate::cookies;
use crate::field_names::{self, FieldKind};
use crate::identity_fields::{CallerFields, FIELDS_MAX};
use crate::request_body::UpstreamBody;
use crate::settings::Authorization;

/// Everything that decides what the upstream is sent.
pub(crate) struct RequestHead<'a> {
    pub(crate) parts: &'a Parts,
    /// The canonical path with the query.
    pub(crate) target: PathAndQuery,
    /// The authority the caller asked for; the upstream sees it as `Host`.
    pub(crate) host: HeaderValue,
    pub(crate) caller: CallerFields,
    pub(crate) authorization: Authorization,
    /// Whether the route's policy depends on the method.
    pub(crate) restricts_methods: bool,
    pub(crate) content: Content,
    /// The protocol that the caller wants to switch to.
    pub(crate) upgrade: Option<HeaderValue>,
}

/// What follows the head.
pub(crate) enum Content {
    Nothing,
    Body {
        /// `None` if only its end will tell.
        length: Option<u64>,
        /// The `Trailer` header, if trailers were announced.
        trailer: Option<HeaderValue>,
        /// Whether the caller waits for `100 Continue`.
        expects_continue: bool,
    },
}

impl RequestHead<'_> {
    /// The request, with an empty body for the caller of this to replace.
    pub(crate) fn to_request(&self) -> Request<UpstreamBody> {
        let mut request = Request::new(UpstreamBody::Empty);
        *request.method_mut() = self.parts.method.clone();
        *request.uri_mut() = Uri::from(self.target.clone());
        *request.headers_mut() = self.headers();
        request
    }

    /// The fields: what remains of the caller's, then the gateway's.
    pub(crate) fn headers(&self) -> HeaderMap {
        let presented = &self.parts.headers;
        let options = ConnectionOptions::of(presented);
        let mut headers = HeaderMap::with_capacity(presented.len() + FIELDS_MAX + 6);
        headers.insert(HOST, self.host.clone());
        for (name, value) in presented {
            if self.passes(name) && !options.name(name) {
                headers.append(name.clone(), value.clone());
            }
        }
        if !options.name(&COOKIE)
            && let Some(cookies) = cookies::forwarded(presented.get_all(COOKIE).iter())
        {
            headers.insert(COOKIE, cookies);
        }
        self.add_framing(&mut headers);
        self.add_connection(&mut headers);
        headers.append(VIA, via(self.parts.version));
        self.caller.add_to(&mut headers);
        headers
    }

    fn passes(&self, name: &HeaderName) -> bool {
        match *name {
            // Each made anew above or below, if at all.
            HOST | COOKIE | CONTENT_LENGTH | EXPECT => false,
            AUTHORIZATION => self.authorization == Authorization::Forward,
            _ if field_names::kind(name) != FieldKind::EndToEnd => false,
            _ => !(self.restricts_methods && field_names::overrides_method(name)),
        }
    }

    fn add_framing(&self, headers: &mut HeaderMap) {
        match &self.content {
            Content::Nothing => {
                // "No body" can be said in two ways, and some servers insist on the one for methods that usually have one.
                if self.parts.headers.contains_key(CONTENT_LENGTH) {
                    headers.insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
                }
            }
            Content::Body {
                length,
                trailer,
                expects_continue,
            } => {
                match length {
                    Some(length) => headers.insert(CONTENT_LENGTH, HeaderValue::from(*length)),
                    // Said outright, because hyper would leave a GET of unknown length without its body.
                    None => headers.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked")),
                };
                if let Some(trailer) = trailer {
                    headers.insert(TRAILER, trailer.clone());
                }
                if *expects_continue {
                    headers.insert(EXPECT, HeaderValue::from_static("100-continue"));
                }
            }
        }
    }

    /// Fields about this leg, which `Connection` must list.
    fn add_connection(&self, headers: &mut HeaderMap) {
        if let Some(protocol) = &self.upgrade {
            headers.insert(UPGRADE, protocol.clone());
            headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
        } else if takes_trailers(&self.parts.headers) {
            headers.insert(TE, HeaderValue::from_static("trailers"));
            headers.insert(CONNECTION, HeaderValue::from_static("te"));
        }
    }
}

/// Whether the caller wants trailers passed on.
pub(crate) fn takes_trailers(headers: &HeaderMap) -> bool {
    list(headers, &TE).any(|coding| coding.eq_ignore_ascii_case(b"trailers"))
}

/// The protocol the caller wants to switch to: one, of its own, asked for properly (RFC 9110 §7.8).
///
/// `h2c` and other versions of HTTP are not passed on: behind such a switch come requests that nobody has checked.
pub(crate) fn requested_protocol(parts: &Parts) -> Option<HeaderValue> {
    let headers = &parts.headers;
    if parts.version != Version::HTTP_11 || !list(headers, &CONNECTION).any(|it| it.eq_ignore_ascii_case(b"upgrade")) {
        return None;
    }
    let mut protocols = headers.get_all(UPGRADE).iter();
    let (Some(protocol), None) = (protocols.next(), protocols.next()) else {
        return None;
    };
    let name = protocol.as_bytes();
    let is_one = !name.is_empty() && !name.iter().any(|byte| matches!(byte, b',' | b' ' | b'\t'));
    let is_http = ["h2c", "h2", "http", "tls"].iter().any(|http| {
        let (name, http) = (
            name.split(|byte| *byte == b'/').next().unwrap_or_default(),
            http.as_bytes(),
        );
        name.eq_ignore_ascii_case(http)
    });
    (is_one && !is_http).then(|| protocol.clone())
}

/// What `Connection` names, to be dropped: the whole list, from every line.
struct ConnectionOptions<'a>(Vec<&'a [u8]>);

impl<'a> ConnectionOptions<'a> {
    fn of(headers: &'a HeaderMap) -> Self {
        // `keep-alive` and `close` name no field that would get this far; without them there is nothing to allocate.
        let names = list(headers, &CONNECTION)
            .filter(|name| !name.eq_ignore_ascii_case(b"keep-alive") && !name.eq_ignore_ascii_case(b"close"));
        Self(names.collect())
    }

    fn name(&self, name: &HeaderName) -> bool {
        self.0
            .iter()
            .any(|option| option.eq_ignore_ascii_case(name.as_str().as_bytes()))
    }
}

/// The members of a comma-separated field, over all its lines.
pub(crate) fn list<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a [u8]> {
    headers
        .get_all(name)
        .iter()
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
        .map(<[u8]>::trim_ascii)
        .filter(|member| !member.is_empty())
}

fn via(version: Version) -> HeaderValue {
    match version {
        Version::HTTP_2 => HeaderValue::from_static("2.0 keybound"),
        Version::HTTP_10 => HeaderValue::from_static("1.0 keybound"),
        _ => HeaderValue::from_static("1.1 keybound"),
    }
}
