//! Answers of the authorization endpoint that go to the client: a redirect with the outcome in its query, signed where that was
//! asked for.

use std::sync::Arc;

use http::header::{CACHE_CONTROL, LOCATION, REFERRER_POLICY};
use http::{HeaderValue, StatusCode};
use keybound_protocol::authorization_response::{AuthorizationResponse, ResponseMode, ResponseTarget};
use keybound_protocol::issuer::Issuer;
use keybound_protocol::signer::{Signer, SigningError};
use keybound_protocol::time::Timestamp;
use keybound_tls::ResponseBody;

use crate::response::Response;
use crate::signing_keys;

/// Sends the browser back to the client with the outcome.
///
/// 303, so that what was posted to us is never posted on (RFC 9700 §4.12). The code is in the URL: no cache keeps the answer, and no
/// page learns where the browser came from.
///
/// `signer` makes the signature, if there is to be one.
///
/// # Errors
/// [`SigningError`] if the response is to be signed and the key cannot be used.
pub(crate) async fn redirect(
    signer: Arc<dyn Signer>,
    issuer: &Issuer,
    target: &ResponseTarget,
    outcome: AuthorizationResponse<'_>,
    now: Timestamp,
) -> Result<Response, SigningError> {
    let url = match target.response_mode {
        ResponseMode::Query => outcome.to_query(target, issuer),
        ResponseMode::QueryJwt => {
            let unsigned = outcome.to_unsigned_jwt(target, issuer, &*signer, now);
            signing_keys::sign(signer, |signer| unsigned.sign(signer)).await?
        }
    };
    let mut response = Response::new(ResponseBody::Empty);
    *response.status_mut() = StatusCode::SEE_OTHER;
    let headers = response.headers_mut();
    // Registered URIs and what is added to them are printable ASCII.
    let location = HeaderValue::try_from(url).unwrap_or(HeaderValue::from_static("/"));
    headers.insert(LOCATION, location);
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    Ok(response)
}
