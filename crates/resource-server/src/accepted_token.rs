//! What a successful check returns, and the next step demands.

use std::sync::Arc;

use http::HeaderValue;
use keybound_protocol::access_token::AccessTokenClaims;
use keybound_protocol::confirmation::{BindingProof, CertificateThumbprint};
use keybound_protocol::dpop_proof::VerifiedDpopProof;
use keybound_protocol::key_thumbprint::KeyThumbprint;

use crate::cached_token::CachedToken;

/// An access token that was accepted for one request.
///
/// [`AccessTokenLayer`](crate::AccessTokenLayer) puts it into the request's extensions. There is no other way to have one than
/// [`ResourceServer::check`](crate::ResourceServer::check).
#[derive(Clone, Debug)]
pub enum AcceptedAccessToken {
    /// It is bound to a certificate or a key, and this request came from its holder.
    Bound(BoundAccessToken),
    /// It passed as a bearer token because the route says that it may: whoever has it can use it.
    Bearer(BearerAccessToken),
}

/// A bound access token whose binding was verified for this request (RFC 8705 §3, RFC 9449 §7.1).
#[derive(Clone, Debug)]
pub struct BoundAccessToken {
    token: Arc<CachedToken>,
    proof: BindingProof,
    /// What the key of the token proved with, for what goes on after the request.
    dpop: Option<VerifiedDpopProof>,
    next_nonce: Option<Box<str>>,
}

/// An access token that was accepted without a binding, by the policy of the route.
#[derive(Clone, Debug)]
pub struct BearerAccessToken {
    token: Arc<CachedToken>,
}

impl AcceptedAccessToken {
    pub(crate) fn bound(
        token: Arc<CachedToken>,
        proof: BindingProof,
        dpop: Option<VerifiedDpopProof>,
    ) -> AcceptedAccessToken {
        AcceptedAccessToken::Bound(BoundAccessToken {
            token,
            proof,
            dpop,
            next_nonce: None,
        })
    }

    /// The same, and the caller is to be given another nonce for its next proof.
    pub(crate) fn with_next_nonce(mut self, nonce: String) -> AcceptedAccessToken {
        if let AcceptedAccessToken::Bound(bound) = &mut self {
            bound.next_nonce = Some(nonce.into());
        }
        self
    }

    pub(crate) fn dpop(&self) -> Option<&VerifiedDpopProof> {
        self.as_bound().and_then(|bound| bound.dpop.as_ref())
    }

    /// The value of `DPoP-Nonce` that belongs in the answer, if the caller's nonce is about to be replaced (RFC 9449 §8.2).
    pub fn next_nonce(&self) -> Option<HeaderValue> {
        let nonce = self.as_bound()?.next_nonce.as_deref()?;
        HeaderValue::from_str(nonce).ok()
    }

    pub(crate) fn bearer(token: Arc<CachedToken>) -> AcceptedAccessToken {
        AcceptedAccessToken::Bearer(BearerAccessToken { token })
    }

    pub(crate) fn token(&self) -> &Arc<CachedToken> {
        match self {
            AcceptedAccessToken::Bound(bound) => &bound.token,
            AcceptedAccessToken::Bearer(bearer) => &bearer.token,
        }
    }

    /// What the issuer vouches for.
    pub fn claims(&self) -> &Arc<AccessTokenClaims> {
        &self.token().claims
    }

    /// The bound token, for a step that demands one.
    pub fn as_bound(&self) -> Option<&BoundAccessToken> {
        match self {
            AcceptedAccessToken::Bound(token) => Some(token),
            AcceptedAccessToken::Bearer(_) => None,
        }
    }
}

impl BoundAccessToken {
    /// What the issuer vouches for.
    pub fn claims(&self) -> &Arc<AccessTokenClaims> {
        &self.token.claims
    }

    /// The certificate that the token is bound to, if it is bound to one: the one of this request.
    pub fn certificate(&self) -> Option<&CertificateThumbprint> {
        self.proof.certificate()
    }

    /// The key that the token is bound to, if it is bound to one: the one that signed this request's DPoP proof.
    pub fn key(&self) -> Option<&KeyThumbprint> {
        self.proof.key()
    }
}

impl BearerAccessToken {
    /// What the issuer vouches for.
    pub fn claims(&self) -> &Arc<AccessTokenClaims> {
        &self.token.claims
    }
}
