//! An access token that knows which certificate it may travel with.

use std::sync::Arc;

use http::header::AUTHORIZATION;
use http::{HeaderValue, Request, Response};
use keybound_protocol::bearer::{BearerError, BearerToken};
use keybound_protocol::confirmation::CertificateThumbprint;
use keybound_protocol::scope::Scope;
use keybound_protocol::time::Timestamp;
use keybound_tls::{IncomingBody, OutgoingBody, RequestError};

use crate::identity::Identity;

/// An access token with the identity it was obtained with. Cloning is cheap.
///
/// Whether a token is bound only its issuer knows, for it is opaque to a client (RFC 6749 §1.4). So each one is treated as if it
/// were: it is sent over the connections of the identity that obtained it, and there is no way to send it over others
/// (RFC 8705 §3).
#[derive(Clone)]
pub struct AccessToken {
    token: Arc<Token>,
    identity: Identity,
}

struct Token {
    text: String,
    /// `Bearer …`, marked sensitive.
    authorization: HeaderValue,
    expires_at: Option<Timestamp>,
    scope: Option<Scope>,
}

impl AccessToken {
    pub(crate) fn new(
        text: String,
        expires_at: Option<Timestamp>,
        scope: Option<Scope>,
        identity: Identity,
    ) -> Result<AccessToken, BearerError> {
        BearerToken::parse(text.as_bytes())?;
        // A `b64token` has only characters that a header field may have.
        let mut authorization = HeaderValue::try_from(format!("Bearer {text}")).map_err(|_| BearerError::Syntax)?;
        authorization.set_sensitive(true);
        Ok(AccessToken {
            token: Arc::new(Token {
                text,
                authorization,
                expires_at,
                scope,
            }),
            identity,
        })
    }

    /// Sends `request` with this token, over a connection that presents the certificate it was obtained with.
    ///
    /// The token goes into the `Authorization` header, in place of whatever is there, and nowhere else (RFC 6750 §2).
    ///
    /// # Errors
    /// The connection's. A refusal by the resource is a response.
    pub async fn send(&self, mut request: Request<OutgoingBody>) -> Result<Response<IncomingBody>, RequestError> {
        request
            .headers_mut()
            .insert(AUTHORIZATION, self.token.authorization.clone());
        self.identity.send(request).await
    }

    /// The identity it was obtained with.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// The certificate it travels with.
    pub fn thumbprint(&self) -> Option<&CertificateThumbprint> {
        self.identity.thumbprint()
    }

    /// When it expires, if the authorization server said so.
    pub fn expires_at(&self) -> Option<Timestamp> {
        self.token.expires_at
    }

    /// Its scope, if the authorization server said that it is another than the one asked for.
    pub fn scope(&self) -> Option<&Scope> {
        self.token.scope.as_ref()
    }

    /// The token's text, for whoever must hand it to another program. It must not be logged, and whoever sends it himself has
    /// to see to the right connection.
    pub fn expose_text(&self) -> &str {
        &self.token.text
    }

    /// Whether both are the same token text.
    pub(crate) fn is_same_as(&self, other: &AccessToken) -> bool {
        Arc::ptr_eq(&self.token, &other.token) || self.token.text == other.token.text
    }
}

impl std::fmt::Debug for AccessToken {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("AccessToken")
            .field("thumbprint", &self.thumbprint())
            .field("expires_at", &self.token.expires_at)
            .field("scope", &self.token.scope)
            .finish_non_exhaustive()
    }
}
