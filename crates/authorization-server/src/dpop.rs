//! DPoP proofs at this server (RFC 9449 §5): which keys tokens and codes are bound to, for clients that cannot do mutual TLS.
//!
//! That a proof is used once is remembered in memory, not in the database: a proof is good for a request whose grant is of one use
//! itself (a code, an assertion, a public client's refresh token: all durable), or whose client proves its own key anew. What a second use of
//! a proof could get after a restart is a token that is bound to the honest client's key. A write for each token request would buy nothing
//! more than that.

use std::sync::Arc;

use http::HeaderValue;
use http::request::Parts;
use keybound_protocol::confirmation::Confirmation;
use keybound_protocol::dpop_nonce::DpopNonces;
use keybound_protocol::dpop_proof::{DpopProofError, DpopRequest, VerifiedDpopProof};
use keybound_protocol::http_uri::HttpUri;
use keybound_protocol::time::Timestamp;
use keybound_resource_server::{DPOP, SeenProofs};
use url::Url;

use crate::clients::PreparedClient;
use crate::configuration::Configuration;
use crate::endpoints::ClientRequest;
use crate::error::{NothingToBindTo, Reason};

/// What is needed to judge proofs, whatever the settings are.
#[derive(Debug)]
pub(crate) struct DpopProofs {
    seen: SeenProofs,
    nonces: Arc<DpopNonces>,
}

/// The targets that a proof may name: an endpoint, and its alias on the mutual-TLS listener.
#[derive(Debug)]
pub(crate) struct DpopTargets(Vec<HttpUri>);

impl DpopTargets {
    /// What proofs for these URLs name.
    pub(crate) fn new(urls: &[Url]) -> DpopTargets {
        DpopTargets(
            urls.iter()
                .filter_map(|url| HttpUri::parse(url.as_str()).ok())
                .collect(),
        )
    }
}

impl DpopProofs {
    /// Remembers so many used proofs. The nonces are those of the store's key file: they count at every node and after a restart.
    pub(crate) fn new(proofs_max: usize, nonces: Arc<DpopNonces>) -> DpopProofs {
        DpopProofs {
            seen: SeenProofs::new(proofs_max),
            nonces,
        }
    }

    /// The proof of a request, if it has one: made for this endpoint, now. It is not used up yet.
    ///
    /// # Errors
    /// [`Reason::DpopProof`]
    pub(crate) fn of(
        &self,
        client: &PreparedClient,
        request: &ClientRequest<'_>,
        targets: &DpopTargets,
    ) -> Result<Option<VerifiedDpopProof>, Reason> {
        if !request.headers.contains_key(DPOP) {
            return Ok(None);
        }
        let profile = client.client.metadata().effective_profile(request.attempt.profile);
        let asked = DpopRequest {
            method: "POST",
            targets: &targets.0,
            access_token: None,
            algorithms: profile.signature_algorithms(),
            nonces: self.demanded(request.configuration),
        };
        let fields = request.headers.get_all(DPOP).iter().map(HeaderValue::as_bytes);
        let verified = asked.verify(fields, request.attempt.now);
        verified.map(Some).map_err(|error| self.refusal(error, request))
    }

    /// The proof that goes with an access token to one of our own resources: made for this request, now. It is not used up yet.
    ///
    /// # Errors
    /// [`DpopProofError`]
    pub(crate) fn beside_token(
        &self,
        token: &str,
        parts: &Parts,
        targets: &DpopTargets,
        configuration: &Configuration,
        now: Timestamp,
    ) -> Result<VerifiedDpopProof, DpopProofError> {
        let asked = DpopRequest {
            method: parts.method.as_str(),
            targets: &targets.0,
            access_token: Some(token),
            algorithms: configuration.profile.signature_algorithms(),
            nonces: self.demanded(configuration),
        };
        asked.verify(parts.headers.get_all(DPOP).iter().map(HeaderValue::as_bytes), now)
    }

    /// Uses up a proof that went with an access token.
    ///
    /// # Errors
    /// [`DpopProofError::Replayed`], [`DpopProofError::MemoryFull`]
    pub(crate) fn spend_at_resource(&self, proof: &VerifiedDpopProof, now: Timestamp) -> Result<(), DpopProofError> {
        self.seen.spend(proof, now)
    }

    /// The nonce for the next proof, where one is demanded.
    pub(crate) fn nonce(&self, configuration: &Configuration, now: Timestamp) -> Option<String> {
        self.demanded(configuration).map(|nonces| nonces.current(now))
    }

    /// Uses a proof up: the last thing before what it is for is given.
    ///
    /// # Errors
    /// [`Reason::DpopProof`]
    pub(crate) fn spend(&self, proof: Option<&VerifiedDpopProof>, request: &ClientRequest<'_>) -> Result<(), Reason> {
        let Some(proof) = proof else {
            return Ok(());
        };
        let spent = self.seen.spend(proof, request.attempt.now);
        spent.map_err(|error| self.refusal(error, request))
    }

    /// A refusal, with the nonce for the next proof where one is demanded.
    pub(crate) fn refusal(&self, error: DpopProofError, request: &ClientRequest<'_>) -> Reason {
        let nonce = self.nonce(request.configuration, request.attempt.now);
        Reason::DpopProof { error, nonce }
    }

    /// The value of `DPoP-Nonce` for an answer, if the client's nonce is about to be replaced (RFC 9449 §8.2).
    pub(crate) fn next_nonce(
        &self,
        proof: Option<&VerifiedDpopProof>,
        configuration: &Configuration,
        now: Timestamp,
    ) -> Option<HeaderValue> {
        proof.filter(|proof| proof.has_earlier_nonce())?;
        HeaderValue::try_from(self.nonce(configuration, now)?).ok()
    }

    fn demanded(&self, configuration: &Configuration) -> Option<&DpopNonces> {
        configuration.dpop_nonces.then_some(&*self.nonces)
    }
}

/// What the tokens of a request are bound to.
///
/// To the certificate of this request if the client's tokens are bound to one, however it authenticated (RFC 8705 §3), and to no other
/// certificate than the one whose key was proven for this request (§4). Else to the key of its proof, if it sends one. Never to both: a
/// request that asks for both is refused (RFC 7800 §3.1). A certificate on the connection of a client whose tokens are not bound to
/// one, be it there by accident or to authenticate, asks for nothing.
///
/// # Errors
/// [`Reason::TwoBindings`], [`Reason::NothingToBindTo`], and [`Reason::DpopProof`] for a client that registered
/// `dpop_bound_access_tokens` and sends no proof.
pub(crate) fn binding_for(
    proofs: &DpopProofs,
    client: &PreparedClient,
    request: &ClientRequest<'_>,
    proof: Option<&VerifiedDpopProof>,
) -> Result<Option<Confirmation>, Reason> {
    let metadata = client.client.metadata();
    if metadata.requires_bound_access_tokens(request.attempt.profile) {
        return match (request.attempt.presented.end_entity(), proof) {
            (Some(_), Some(_)) => Err(Reason::TwoBindings),
            (Some(certificate), None) => Ok(Some(Confirmation::certificate_bound(*certificate.thumbprint()))),
            (None, _) => Err(Reason::NothingToBindTo(NothingToBindTo::of(request.attempt.presented))),
        };
    }
    match proof {
        Some(proof) => Ok(Some(Confirmation::key_bound(*proof.key()))),
        None if metadata.authorization().dpop_bound_access_tokens => {
            Err(proofs.refusal(DpopProofError::Missing, request))
        }
        None => Ok(None),
    }
}
