//! Calling a protected resource with a token of the client's own.

use bytes::Bytes;
use http::header::WWW_AUTHENTICATE;
use http::{HeaderMap, Request, Response, StatusCode};
use keybound_protocol::challenge::PresentedChallenge;
use keybound_protocol::time::Timestamp;
use keybound_tls::{IncomingBody, OutgoingBody};
use url::Url;

use crate::access_token::AccessToken;
use crate::client::{Client, TokenRequest};
use crate::error::ClientError;
use crate::trace::{TracedRequest, TracedResponse, redacted_body, redacted_headers};

impl Client {
    /// Calls a protected resource with a token for `wanted`, over a connection with the certificate that the token belongs to.
    ///
    /// If the resource answers that the token is not valid (401 with a `Bearer` challenge), which happens when it expired, was
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
        if !rejects_token(response.status(), response.headers()) {
            return Ok(response);
        }
        tracing::debug!(uri = %request.uri(), "the resource rejects the token; asking for a new one");
        let renewed = self.token_other_than(Some(&token), wanted, now).await?;
        self.call_with(&renewed, &request).await
    }

    /// Calls a protected resource with a token that the caller has, once.
    ///
    /// # Errors
    /// No answer. A refusal by the resource is an answer.
    pub async fn call_with(
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
            headers.push(("authorization".to_owned(), "Bearer [redacted]".to_owned()));
            trace.request(&TracedRequest {
                method: request.method(),
                url,
                certificate: token.thumbprint(),
                headers,
                body: redacted_body(request.headers(), request.body()),
            });
        }
        let response = token
            .send(sent)
            .await
            .map_err(|source| ClientError::Request { url, source })?;
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
pub(crate) fn rejects_token(status: StatusCode, headers: &HeaderMap) -> bool {
    status == StatusCode::UNAUTHORIZED
        && headers
            .get_all(WWW_AUTHENTICATE)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .filter_map(|value| PresentedChallenge::parse(value).ok())
            .any(|challenge| challenge.error.as_deref() == Some("invalid_token"))
}
