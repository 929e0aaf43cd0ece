//! An access token that knows which certificate it may travel with.

use std::sync::Arc;

use http::header::AUTHORIZATION;
use http::{HeaderValue, Request, Response};
use keybound_protocol::bearer::{BearerError, BearerToken, TokenScheme};
use keybound_protocol::confirmation::CertificateThumbprint;
use keybound_protocol::scope::Scope;
use keybound_protocol::time::Timestamp;
use keybound_tls::{IncomingBody, OutgoingBody};

use crate::dpop_key::{DPOP, DpopKey};
use crate::error::ClientError;
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

/// What a token was obtained with, and goes with.
pub(crate) struct Holder {
    pub(crate) identity: Identity,
    /// The key it is bound to, if it is of type `DPoP`.
    pub(crate) dpop: Option<DpopKey>,
}

struct Token {
    text: String,
    /// `Bearer …`, or `DPoP …` for one that is bound to a key; marked sensitive.
    authorization: HeaderValue,
    expires_at: Option<Timestamp>,
    scope: Option<Scope>,
    /// The key it is bound to.
    dpop: Option<DpopKey>,
}

impl AccessToken {
    pub(crate) fn new(
        text: String,
        expires_at: Option<Timestamp>,
        scope: Option<Scope>,
        holder: Holder,
    ) -> Result<AccessToken, BearerError> {
        let Holder { identity, dpop } = holder;
        BearerToken::parse(text.as_bytes())?;
        // A `b64token` has only characters that a header field may have.
        let mut authorization = HeaderValue::try_from(format!("{} {text}", scheme_of(dpop.as_ref()).as_str()))
            .map_err(|_| BearerError::Syntax)?;
        authorization.set_sensitive(true);
        Ok(AccessToken {
            token: Arc::new(Token {
                text,
                authorization,
                expires_at,
                scope,
                dpop,
            }),
            identity,
        })
    }

    /// Sends `request` with this token, over a connection that presents the certificate it was obtained with.
    ///
    /// The token goes into the `Authorization` header, in place of whatever is there, and nowhere else (RFC 6750 §2). One that is bound to
    /// a key goes with a proof for this request (RFC 9449 §7.1); if the resource wants another nonce in it, sending again is up to the caller, as
    /// [`Client::call_with`](crate::Client::call_with) does.
    ///
    /// # Errors
    /// The connection's; the key cannot sign. A refusal by the resource is a response.
    pub async fn send(&self, mut request: Request<OutgoingBody>) -> Result<Response<IncomingBody>, ClientError> {
        let url = request.uri().to_string();
        if let Some(dpop) = &self.token.dpop {
            let proof = dpop.prove(request.method(), &url, Some(&self.token.text))?;
            request.headers_mut().insert(DPOP, proof);
        }
        request
            .headers_mut()
            .insert(AUTHORIZATION, self.token.authorization.clone());
        let response = self.identity.send(request).await;
        let response = response.map_err(|source| ClientError::Request {
            url: url.clone(),
            source,
        })?;
        if let Some(dpop) = &self.token.dpop {
            dpop.learn(&url, response.headers());
        }
        Ok(response)
    }

    /// The scheme that it is sent by, which is its `token_type`.
    pub fn scheme(&self) -> TokenScheme {
        scheme_of(self.token.dpop.as_ref())
    }

    /// The key that it is bound to, if it is bound to one.
    pub fn dpop_key(&self) -> Option<&DpopKey> {
        self.token.dpop.as_ref()
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

fn scheme_of(dpop: Option<&DpopKey>) -> TokenScheme {
    match dpop {
        Some(_) => TokenScheme::Dpop,
        None => TokenScheme::Bearer,
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
