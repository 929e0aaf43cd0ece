//! Which answers a script of another origin may read (the CORS protocol of the Fetch standard; RFC 9700 §2.6).
//!
//! Those of endpoints that a client calls itself, for clients that live in a browser: with a DPoP key, or with tokens that are not
//! bound. To every origin, because nothing there rests on what a browser adds by itself: no cookie is looked at, and credentials
//! are not permitted, so that a browser leaves them out. Deliberately not here: the authorization endpoint and the other
//! [pages](crate::pages), where cookies count; the mutual-TLS side, to which a browser shows a certificate only with credentials; and
//! introspection, backchannel authentication, devices and the admin API, whose callers are no browsers.

use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_METHOD, ORIGIN,
};
use http::request::Parts;
use http::{HeaderValue, Method};

use crate::response::Response;
use crate::router::{Route, Side};

const EVERY_ORIGIN: HeaderValue = HeaderValue::from_static("*");
/// What our endpoints read. `*` would not cover `Authorization`.
const REQUEST_HEADERS: HeaderValue = HeaderValue::from_static("authorization, content-type, dpop, accept");
/// What a client cannot do without, beyond what every script may read: the nonce for its next proof, and why it was refused.
const RESPONSE_HEADERS: HeaderValue =
    HeaderValue::from_static("dpop-nonce, www-authenticate, retry-after, keybound-refusal, etag");
/// How long a browser need not ask again, in seconds.
const MAX_AGE_SECS: HeaderValue = HeaderValue::from_static("3600");

/// The methods that scripts may call an endpoint by; `None` where they may read nothing.
fn methods(side: Side, route: Route) -> Option<HeaderValue> {
    if side == Side::MutualTls {
        return None;
    }
    match route {
        Route::Token | Route::Revocation | Route::PushedAuthorization | Route::Registration => {
            Some(HeaderValue::from_static("POST"))
        }
        Route::Jwks | Route::Metadata | Route::OpenIdConfiguration => Some(HeaderValue::from_static("GET, HEAD")),
        Route::Userinfo => Some(HeaderValue::from_static("GET, HEAD, POST")),
        Route::ClientConfiguration => Some(HeaderValue::from_static("GET, PUT, DELETE")),
        Route::Introspection
        | Route::DeviceAuthorization
        | Route::BackchannelAuthentication
        | Route::Revocations
        | Route::Admin
        | Route::Authorization
        | Route::Login
        | Route::Consent
        | Route::UpstreamSignIn
        | Route::UpstreamAnswer
        | Route::SignIn
        | Route::SignOut
        | Route::Grants
        | Route::Device
        | Route::Theme
        | Route::Asset => None,
    }
}

/// Lets a script read the answer, and answers the question that a browser asks before the request proper.
pub(crate) fn permit(side: Side, route: Route, request: &Parts, response: &mut Response) {
    // Documents that caches keep say it to everybody: a cache may show them to another origin.
    let is_document = matches!(route, Route::Jwks | Route::Metadata | Route::OpenIdConfiguration);
    if !is_document && !request.headers.contains_key(ORIGIN) {
        return;
    }
    let Some(methods) = methods(side, route) else {
        return;
    };
    let headers = response.headers_mut();
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, EVERY_ORIGIN);
    if request.method == Method::OPTIONS && request.headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD) {
        headers.insert(ACCESS_CONTROL_ALLOW_METHODS, methods);
        headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, REQUEST_HEADERS);
        headers.insert(ACCESS_CONTROL_MAX_AGE, MAX_AGE_SECS);
    } else {
        headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, RESPONSE_HEADERS);
    }
}
