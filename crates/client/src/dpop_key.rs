//! The key that a client's tokens are bound to by DPoP (RFC 9449), for clients that cannot do mutual TLS.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use http::{HeaderMap, HeaderName, HeaderValue, Method};
use keybound_protocol::dpop_proof::NewDpopProof;
use keybound_protocol::http_uri::{HttpOrigin, HttpUri};
use keybound_protocol::key_thumbprint::KeyThumbprint;
use keybound_protocol::signer::Signer;
use keybound_tls::{Clock, RequestError};

use crate::error::ClientError;

/// The field with a proof (RFC 9449 §4.1).
pub(crate) const DPOP: HeaderName = HeaderName::from_static("dpop");
/// The field with the nonce for the next proof (RFC 9449 §8).
pub(crate) const DPOP_NONCE: HeaderName = HeaderName::from_static("dpop-nonce");
/// The error by which a server asks for a nonce (RFC 9449 §8, §9).
pub(crate) const USE_DPOP_NONCE: &str = "use_dpop_nonce";

/// Origins whose nonces are remembered at most; of a further one nothing is, which costs a request each time.
pub const NONCE_ORIGINS_MAX: usize = 100;
/// The longest nonce that is kept, in octets.
pub const NONCE_BYTES_MAX: usize = 1024;

/// A key that proves possession in each request, with the nonces that servers have given for it. Cloning is cheap and shares both.
///
/// A client with such a key asks for tokens that are bound to it and takes no others. Its certificate, if it has one, then authenticates
/// alone: a token is bound to one of both.
#[derive(Clone)]
pub struct DpopKey {
    inner: Arc<Inner>,
}

struct Inner {
    signer: Arc<dyn Signer>,
    thumbprint: KeyThumbprint,
    new_proof_id: Box<dyn Fn() -> String + Send + Sync>,
    clock: Clock,
    /// By origin: a nonce is for the server that gave it (RFC 9449 §8.2).
    nonces: Mutex<HashMap<Box<str>, HeaderValue>>,
}

impl DpopKey {
    /// Proves by `signer`, at the time of `clock`: a proof is made for one request, so it is the moment of sending that counts. Every call
    /// of `new_proof_id` returns a `jti` that was never used: 128 random bits will do.
    pub fn new(
        signer: Arc<dyn Signer>,
        clock: Clock,
        new_proof_id: impl Fn() -> String + Send + Sync + 'static,
    ) -> DpopKey {
        DpopKey {
            inner: Arc::new(Inner {
                thumbprint: KeyThumbprint::of_key(signer.public_jwk()),
                signer,
                new_proof_id: Box::new(new_proof_id),
                clock,
                nonces: Mutex::default(),
            }),
        }
    }

    /// `jkt`: what the tokens are bound to (RFC 9449 §6).
    pub fn thumbprint(&self) -> &KeyThumbprint {
        &self.inner.thumbprint
    }

    /// The field for one request to `url`, with the nonce that its server gave last, and the hash of the token that goes with it.
    pub(crate) fn prove(
        &self,
        method: &Method,
        url: &str,
        access_token: Option<&str>,
    ) -> Result<HeaderValue, ClientError> {
        let no_target = || ClientError::Request {
            url: url.to_owned(),
            source: RequestError::UriWithoutHost,
        };
        let target = HttpUri::parse(url).map_err(|_| no_target())?;
        let nonce = self.nonce_for(url);
        let proof = NewDpopProof {
            method: method.as_str(),
            target: &target,
            proof_id: &(self.inner.new_proof_id)(),
            issued_at: self.inner.clock.now(),
            access_token,
            nonce: nonce.as_ref().and_then(|nonce| nonce.to_str().ok()),
        };
        let proof = proof.sign(&*self.inner.signer)?;
        HeaderValue::try_from(proof).map_err(|_| no_target())
    }

    /// The nonce for the next proof to this server.
    pub(crate) fn nonce_for(&self, url: &str) -> Option<HeaderValue> {
        let origin = HttpOrigin::of(url).ok()?;
        let nonces = self.inner.nonces.lock().unwrap_or_else(PoisonError::into_inner);
        nonces.get(origin.as_str()).cloned()
    }

    /// Keeps the nonce of an answer, whether it is a refusal or not (RFC 9449 §8.2).
    pub(crate) fn learn(&self, url: &str, headers: &HeaderMap) {
        let mut fields = headers.get_all(DPOP_NONCE).iter();
        let (Some(nonce), None) = (fields.next(), fields.next()) else {
            return;
        };
        // RFC 9449 §8.1: characters that need no escape in JSON.
        let is_nonce_octet = |octet: &u8| matches!(octet, 0x21 | 0x23..=0x5b | 0x5d..=0x7e);
        let is_one = (1..=NONCE_BYTES_MAX).contains(&nonce.len()) && nonce.as_bytes().iter().all(is_nonce_octet);
        let Some(origin) = HttpOrigin::of(url).ok().filter(|_| is_one) else {
            return;
        };
        let mut nonces = self.inner.nonces.lock().unwrap_or_else(PoisonError::into_inner);
        if nonces.len() < NONCE_ORIGINS_MAX || nonces.contains_key(origin.as_str()) {
            nonces.insert(origin.as_str().into(), nonce.clone());
        }
    }
}

impl std::fmt::Debug for DpopKey {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("DpopKey")
            .field("thumbprint", &self.inner.thumbprint)
            .finish_non_exhaustive()
    }
}
