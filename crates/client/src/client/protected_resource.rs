//! Calling a protected resource with a token of the client's own.

use bytes::Bytes;
use http::header::WWW_AUTHENTICATE;
use http::{HeaderMap, Request, Response, StatusCode};
use keybound_protocol::bearer::BearerError;
use keybound_protocol::challenge::PresentedChallenge;
use keybound_protocol::time::Timestamp;
use keybound_tls::{IncomingBody, OutgoingBody};
use url::Url;

use crate::access_token::AccessToken;
use crate::client::{Client, TokenRequest};
use crate::dpop_key::USE_DPOP_NONCE;
use crate::error::ClientError;
use crate::trace::{TracedRequest, TracedResponse, redacted_body, redacted_headers};

impl Client {
    /// Calls a protected resource with a token for `wanted`, over a connection with the certificate that the token belongs to.
    ///
    /// If the resource answers that the token is not valid (401 with a challenge of its scheme), which happens when it expired, was
    /// revoked, or belongs to a certificate that has been replaced, a new one is obtained and the request is sent once more
    /// (RFC 8705 §6.3). The second answer is returned whatever it is.
    ///
    /// `request` has an absolute https URI; its `Authorization` is replaced.
    ///
    /// # Errors
    /// No token, or no answer. A refusal by the resource is an answer.
    pub async fn call(
        &self,
        request: Request<Bytes>,
        wanted: &TokenRequest,
        now: Timestamp,
    ) -> Result<Response<IncomingBody>, ClientError> {
        let token = self.token(wanted, now).await?;
        let response = self.call_with(&token, &request).await?;
        if !rejects_token(&token, response.status(), response.headers()) {
            return Ok(response);
        }
        tracing::debug!(uri = %request.uri(), "the resource rejects the token; asking for a new one");
        let renewed = self.token_other_than(Some(&token), wanted, now).await?;
        self.call_with(&renewed, &request).await
    }

    /// Calls a protected resource with a token that the caller has: once, or once more if the resource wants its nonce in the proof of a
    /// token that is bound to a key.
    ///
    /// # Errors
    /// No answer. A refusal by the resource is an answer.
    pub async fn call_with(
        &self,
        token: &AccessToken,
        request: &Request<Bytes>,
    ) -> Result<Response<IncomingBody>, ClientError> {
        let nonce = || {
            let key = token.dpop_key()?;
            key.nonce_for(&request.uri().to_string())
        };
        let sent = nonce();
        let response = self.send_once(token, request).await?;
        // RFC 9449 §9: once more with the nonce that came with the refusal, and not a third time.
        let wants_nonce = challenges_with(token, response.status(), response.headers(), USE_DPOP_NONCE);
        if !wants_nonce || nonce() == sent {
            return Ok(response);
        }
        self.send_once(token, request).await
    }

    /// A token from elsewhere, to be sent as one of this client's: over its connections, and with proofs by its key if it has one.
    ///
    /// # Errors
    /// It is no token that can be sent.
    pub fn adopt_token(&self, text: &str) -> Result<AccessToken, BearerError> {
        AccessToken::new(text.to_owned(), None, None, self.holder(self.identity()))
    }

    async fn send_once(
        &self,
        token: &AccessToken,
        request: &Request<Bytes>,
    ) -> Result<Response<IncomingBody>, ClientError> {
        let url = request.uri().to_string();
        let mut sent = Request::new(match request.body() {
            body if body.is_empty() => OutgoingBody::Empty,
            body => OutgoingBody::Full(body.clone()),
        });
        *sent.method_mut() = request.method().clone();
        *sent.uri_mut() = request.uri().clone();
        *sent.headers_mut() = request.headers().clone();
        let traced = self
            .trace
            .as_ref()
            .and_then(|trace| Some((trace, Url::parse(&url).ok()?)));
        if let Some((trace, url)) = &traced {
            let mut headers = redacted_headers(request.headers());
            let scheme = token.scheme().as_str();
            headers.push(("authorization".to_owned(), format!("{scheme} [redacted]")));
            trace.request(&TracedRequest {
                method: request.method(),
                url,
                certificate: token.thumbprint(),
                headers,
                body: redacted_body(request.headers(), request.body()),
            });
        }
        let response = token.send(sent).await?;
        if let Some((trace, url)) = &traced {
            // The body belongs to the caller and may be long: it is not read here.
            let (status, headers) = (response.status(), redacted_headers(response.headers()));
            trace.response(&TracedResponse {
                url,
                status,
                headers,
                body: String::new(),
            });
        }
        Ok(response)
    }
}

/// Whether an answer says that the token itself is not valid: another one may be.
pub(crate) fn rejects_token(token: &AccessToken, status: StatusCode, headers: &HeaderMap) -> bool {
    challenges_with(token, status, headers, "invalid_token")
}

/// Whether an answer has a challenge of the token's scheme with this error.
fn challenges_with(token: &AccessToken, status: StatusCode, headers: &HeaderMap, error: &str) -> bool {
    status == StatusCode::UNAUTHORIZED
        && headers
            .get_all(WWW_AUTHENTICATE)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .filter_map(|value| PresentedChallenge::of_scheme(value, token.scheme()).ok())
            .any(|challenge| challenge.error.as_deref() == Some(error))
}
