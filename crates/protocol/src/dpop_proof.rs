//! DPoP proofs (RFC 9449 §4): a JWT that the sender of one request made for that request alone, by a key that its tokens are bound to.
//!
//! [`DpopRequest::verify`] is the whole of §4.3 but for two things: that the proof was not seen before, which needs a memory
//! ([`VerifiedDpopProof::replay_key`]), and that its key is the one a token is bound to, which is
//! [`Confirmation::verify`](crate::confirmation::Confirmation::verify).
//!
//! The key of a proof lies in its own header. So a proof authenticates nobody: it shows that whoever sends this request holds a key, and
//! the token says which key that has to be.

mod error;

use std::time::Duration;

use serde_json::json;

use crate::access_token::CLOCK_LEEWAY;
use crate::base64url;
use crate::digest::sha256;
use crate::dpop_nonce::{DpopNonces, NonceAge};
use crate::http_uri::{HttpUri, HttpUriError};
use crate::json::JsonObject;
use crate::jwk::{Jwk, JwkError};
use crate::jws::{JwsPolicy, UnverifiedJws};
use crate::key_thumbprint::KeyThumbprint;
use crate::signature_algorithm::SignatureAlgorithm;
use crate::signer::{Signer, SigningError};
use crate::time::Timestamp;

pub use error::DpopProofError;

/// The `typ` of a proof.
pub const DPOP_PROOF_TYPE: &str = "dpop+jwt";
/// The longest proof in octets: an RSA key of 8192 bits with its signature, and a long URL, fit.
pub const DPOP_PROOF_BYTES_MAX: usize = 8 * 1024;
/// How old a proof may be by its `iat`. The clock leeway comes on top, in both directions.
pub const DPOP_PROOF_LIFETIME: Duration = Duration::from_secs(60);
/// The longest `jti` in octets.
pub const PROOF_ID_BYTES_MAX: usize = 256;

/// The request that a proof has to be made for, and what its server asks of proofs.
#[derive(Clone, Copy, Debug)]
pub struct DpopRequest<'a> {
    /// The method, compared octet for octet (RFC 9110 §9.1).
    pub method: &'a str,
    /// The targets by which this request may be known: mostly one, two for an endpoint with an alias.
    pub targets: &'a [HttpUri],
    /// The access token that the proof goes with, whose hash it has to contain; `None` where a token is asked for.
    pub access_token: Option<&'a str>,
    /// The algorithms that a proof may be signed with.
    pub algorithms: &'a [SignatureAlgorithm],
    /// The nonces of this server, if it demands one. If not, a `nonce` is not looked at.
    pub nonces: Option<&'a DpopNonces>,
}

/// A proof that was made for one request, by the holder of its key. It must still be new: see [`replay_key`](Self::replay_key).
///
/// Only [`DpopRequest::verify`] makes one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedDpopProof {
    key: KeyThumbprint,
    replay_key: [u8; 32],
    remember_until: Timestamp,
    nonce: Option<NonceAge>,
}

impl DpopRequest<'_> {
    /// Decides whether the `DPoP` fields of a request are one proof, made for this request, now.
    ///
    /// # Errors
    /// Judged in the order of [`DpopProofError::RULES`]; the first offence is the reason.
    pub fn verify<'v>(
        &self,
        fields: impl IntoIterator<Item = &'v [u8]>,
        now: Timestamp,
    ) -> Result<VerifiedDpopProof, DpopProofError> {
        let text = single_field(fields)?;
        let (jws, header) = UnverifiedJws::parse_with_header(text)?;
        let policy = JwsPolicy {
            algorithms: self.algorithms,
            types: &[DPOP_PROOF_TYPE],
            type_may_be_missing: false,
        };
        jws.require_permitted(&policy)?;
        let key = embedded_key(&header)?;
        jws.verify_by(&policy, &key)?;
        let claims = JsonObject::parse(jws.unverified_payload()).map_err(DpopProofError::Claims)?;
        let text = |claim| claims.string(claim)?.ok_or(DpopProofError::ClaimMissing(claim));
        let (proof_id, method, target) = (text("jti")?, text("htm")?, text("htu")?);
        let issued_at = claims
            .numeric_date("iat")?
            .map(Timestamp::from_unix_secs)
            .ok_or(DpopProofError::ClaimMissing("iat"))?;

        if method != self.method {
            let (presented, expected) = (method.to_owned(), self.method.to_owned());
            return Err(DpopProofError::Method { presented, expected });
        }
        self.require_target(target)?;
        let nonce = self.require_nonce(claims.string("nonce")?, now)?;
        require_recent(issued_at, now)?;
        self.require_token_hash(claims.string("ath")?)?;
        if proof_id.is_empty() || proof_id.len() > PROOF_ID_BYTES_MAX {
            return Err(DpopProofError::ProofId);
        }
        let key = KeyThumbprint::of_key(&key);
        Ok(VerifiedDpopProof {
            key,
            replay_key: replay_key(&key, proof_id),
            // Until it is too old, and the second in which it becomes so.
            remember_until: issued_at
                .plus(DPOP_PROOF_LIFETIME)
                .plus(CLOCK_LEEWAY)
                .plus(Duration::from_secs(1)),
            nonce,
        })
    }

    fn require_target(&self, presented: &str) -> Result<(), DpopProofError> {
        let expected = || self.targets.first().map_or_else(String::new, HttpUri::to_string);
        let mismatch = |source: Option<HttpUriError>| DpopProofError::Target {
            presented: presented.to_owned(),
            expected: expected(),
            source,
        };
        let target = HttpUri::parse(presented).map_err(|error| mismatch(Some(error)))?;
        if self.targets.contains(&target) {
            Ok(())
        } else {
            Err(mismatch(None))
        }
    }

    fn require_nonce(&self, presented: Option<&str>, now: Timestamp) -> Result<Option<NonceAge>, DpopProofError> {
        match (self.nonces, presented) {
            (None, _) => Ok(None),
            (Some(_), None) => Err(DpopProofError::NonceMissing),
            (Some(nonces), Some(presented)) => Ok(Some(nonces.judge(presented, now)?)),
        }
    }

    fn require_token_hash(&self, presented: Option<&str>) -> Result<(), DpopProofError> {
        let Some(token) = self.access_token else {
            return Ok(());
        };
        let presented = presented.ok_or(DpopProofError::ClaimMissing("ath"))?;
        if presented == token_hash(token) {
            Ok(())
        } else {
            Err(DpopProofError::TokenHash)
        }
    }
}

impl VerifiedDpopProof {
    /// The key that made it, for the binding of a token.
    pub fn key(&self) -> &KeyThumbprint {
        &self.key
    }

    /// Stands for this proof and no other: its key and its `jti`, in 32 octets whatever their length. A second proof with it within
    /// [`remember_until`](Self::remember_until) is a replay.
    pub fn replay_key(&self) -> &[u8; 32] {
        &self.replay_key
    }

    /// Until when the replay key has to be remembered: from then on the proof is too old for anybody.
    pub fn remember_until(&self) -> Timestamp {
        self.remember_until
    }

    /// Whether its nonce counts and is about to be replaced, so that the client should be given the current one.
    pub fn has_earlier_nonce(&self) -> bool {
        self.nonce == Some(NonceAge::Earlier)
    }
}

/// A proof to be made.
#[derive(Clone, Copy, Debug)]
pub struct NewDpopProof<'a> {
    /// `htm`
    pub method: &'a str,
    /// `htu`
    pub target: &'a HttpUri,
    /// `jti`: never to be used again.
    pub proof_id: &'a str,
    /// `iat`
    pub issued_at: Timestamp,
    /// The token that it goes with, for `ath`.
    pub access_token: Option<&'a str>,
    /// `nonce`, as the server gave it.
    pub nonce: Option<&'a str>,
}

impl NewDpopProof<'_> {
    /// Makes the proof, by the key that tokens are bound to.
    ///
    /// # Errors
    /// [`SigningError`] if the key cannot be used.
    pub fn sign(&self, signer: &dyn Signer) -> Result<String, SigningError> {
        let header = json!({
            "alg": signer.algorithm(),
            "jwk": signer.public_jwk().public_members(),
            "typ": DPOP_PROOF_TYPE,
        });
        let mut claims = json!({
            "jti": self.proof_id,
            "htm": self.method,
            "htu": self.target.as_str(),
            "iat": self.issued_at,
        });
        if let Some(token) = self.access_token {
            claims["ath"] = token_hash(token).into();
        }
        if let Some(nonce) = self.nonce {
            claims["nonce"] = nonce.into();
        }
        let mut proof = base64url::encode(header.to_string().as_bytes());
        proof.push('.');
        base64url::encode_to(claims.to_string().as_bytes(), &mut proof);
        let signature = signer.sign(proof.as_bytes())?;
        proof.push('.');
        base64url::encode_to(&signature, &mut proof);
        Ok(proof)
    }
}

/// The one field with one proof. A list would have a comma, which no JWT has.
fn single_field<'v>(fields: impl IntoIterator<Item = &'v [u8]>) -> Result<&'v str, DpopProofError> {
    let mut fields = fields.into_iter();
    let field = fields.next().ok_or(DpopProofError::Missing)?;
    if fields.next().is_some() {
        return Err(DpopProofError::Repeated);
    }
    if field.len() > DPOP_PROOF_BYTES_MAX {
        return Err(DpopProofError::TooLong);
    }
    std::str::from_utf8(field).map_err(|_| DpopProofError::Text)
}

/// The key of the header's `jwk`. Private and symmetric keys are refused as everywhere: whoever sends one has lost it.
fn embedded_key(header: &JsonObject) -> Result<Jwk, DpopProofError> {
    let object = header
        .object("jwk")
        .map_err(|error| DpopProofError::Key(JwkError::Type(error)))?
        .ok_or(DpopProofError::KeyMissing)?;
    Ok(Jwk::from_object(object)?)
}

fn require_recent(issued_at: Timestamp, now: Timestamp) -> Result<(), DpopProofError> {
    if now.plus(CLOCK_LEEWAY) < issued_at {
        return Err(DpopProofError::InTheFuture { issued_at, now });
    }
    if issued_at.plus(DPOP_PROOF_LIFETIME).plus(CLOCK_LEEWAY) < now {
        return Err(DpopProofError::Old { issued_at, now });
    }
    Ok(())
}

/// `ath`: the hash of the token as it is sent (RFC 9449 §4.2).
fn token_hash(token: &str) -> String {
    base64url::encode(&sha256(token.as_bytes()))
}

fn replay_key(key: &KeyThumbprint, proof_id: &str) -> [u8; 32] {
    let mut octets = key.as_bytes().to_vec();
    octets.extend_from_slice(proof_id.as_bytes());
    sha256(&octets)
}
