//! The confirmation `cnf` of a bound access token: `x5t#S256` for a certificate (RFC 8705 §3.1), `jkt` for a key that signs DPoP proofs
//! (RFC 9449 §6), both in the object of RFC 7800.
//!
//! The same object is a claim of a JWT and a member of an introspection response. Read [`Confirmation::verify`], which is the whole of
//! what a protected resource is asked about the binding. Deliberately absent: any judgement of the certificate itself (path, validity,
//! names). A protected resource makes none (RFC 8705 §6.2).

use std::fmt;

use serde::de::{self, Deserializer, MapAccess, Visitor};
use serde::ser::{SerializeMap, Serializer};
use serde::{Deserialize, Serialize};

use crate::dpop_proof::VerifiedDpopProof;
use crate::key_thumbprint::KeyThumbprint;
use crate::peer_certificate::{ForwardingError, PresentedCertificate};

pub use crate::thumbprint::{CertificateThumbprint, ThumbprintError, ThumbprintText};

/// The confirmation of a token: what its presenter must prove to hold.
///
/// We issue tokens with one of them (RFC 7800 §3.1). Another issuer's token that names both needs both proofs.
///
/// Members that we do not know are ignored beside one that we can verify (RFC 7800 §3.1). Without one that we can verify, and with
/// any other key confirmation beside it (`jwk`, `jwe`, `kid`), there is no such value: such a token must not pass as a
/// plain bearer token, nor with half of its proofs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Confirmation {
    /// `x5t#S256`: the certificate of the connection, or of a configured proxy's client.
    Certificate(CertificateThumbprint),
    /// `jkt`: the key that signs a DPoP proof for each request.
    Key(KeyThumbprint),
    /// Both.
    CertificateAndKey {
        /// `x5t#S256`
        certificate: CertificateThumbprint,
        /// `jkt`
        key: KeyThumbprint,
    },
}

/// What the sender of one request proved to hold.
#[derive(Clone, Copy, Debug)]
pub struct Possession<'a> {
    /// The certificate, or why there is none.
    pub certificate: &'a PresentedCertificate,
    /// The proof, if the token was presented by the scheme `DPoP`. A token of the scheme `Bearer` has none.
    pub proof: Option<&'a VerifiedDpopProof>,
}

impl<'a> From<&'a PresentedCertificate> for Possession<'a> {
    /// The sender of a bearer token: its certificate is all it can prove.
    fn from(certificate: &'a PresentedCertificate) -> Possession<'a> {
        Possession {
            certificate,
            proof: None,
        }
    }
}

impl Confirmation {
    /// Binds a token to the certificate with this thumbprint.
    pub const fn certificate_bound(thumbprint: CertificateThumbprint) -> Confirmation {
        Confirmation::Certificate(thumbprint)
    }

    /// Binds a token to the key with this thumbprint.
    pub const fn key_bound(thumbprint: KeyThumbprint) -> Confirmation {
        Confirmation::Key(thumbprint)
    }

    /// Reads the JSON value of `cnf`.
    ///
    /// # Errors
    /// Anything but an object that contains `x5t#S256`, `jkt` or both, once and well-formed, and no other key confirmation.
    pub fn parse(json: &[u8]) -> Result<Confirmation, ConfirmationError> {
        let members: Members = serde_json::from_slice(json)?;
        members.confirmation()
    }

    /// The thumbprint of the certificate that the token is bound to, if it is bound to one.
    pub const fn certificate(&self) -> Option<&CertificateThumbprint> {
        match self {
            Confirmation::Certificate(certificate) | Confirmation::CertificateAndKey { certificate, .. } => {
                Some(certificate)
            }
            Confirmation::Key(_) => None,
        }
    }

    /// The thumbprint of the key that the token is bound to, if it is bound to one.
    pub const fn key(&self) -> Option<&KeyThumbprint> {
        match self {
            Confirmation::Key(key) | Confirmation::CertificateAndKey { key, .. } => Some(key),
            Confirmation::Certificate(_) => None,
        }
    }

    /// What is left of it where no certificate is compared; `None` if nothing is.
    #[must_use]
    pub const fn without_certificate(self) -> Option<Confirmation> {
        match self {
            Confirmation::Certificate(_) => None,
            Confirmation::Key(key) | Confirmation::CertificateAndKey { key, .. } => Some(Confirmation::Key(key)),
        }
    }

    /// Decides whether the sender of this request proved to hold all that the token is bound to.
    ///
    /// RFC 8705 §3, RFC 9449 §7.1. The certificate is compared whole, by its hash, and not judged: it may be expired, self-signed,
    /// version 1 or unreadable. The scheme belongs to the binding: a token that is bound to a key needs its proof and so the scheme
    /// `DPoP`, and to one that is not a proof says nothing, whatever certificate is there. To be called for each request: a verdict
    /// about one connection says nothing about the next.
    ///
    /// # Errors
    /// One [`BindingError`] for every way not to have proved this. They all are `invalid_token` on the wire.
    pub fn verify<'a>(&self, possession: impl Into<Possession<'a>>) -> Result<BindingProof, BindingError> {
        let Possession { certificate, proof } = possession.into();
        match (self.key(), proof) {
            (None, None) => {}
            (None, Some(_)) => return Err(BindingError::NotBoundToKey),
            (Some(_), None) => return Err(BindingError::NoProof),
            (Some(expected), Some(proof)) if proof.key() != expected => {
                return Err(BindingError::KeyMismatch {
                    presented: *proof.key(),
                    expected: *expected,
                });
            }
            (Some(_), Some(_)) => {}
        }
        if let Some(expected) = self.certificate() {
            require_certificate(certificate, expected)?;
        }
        Ok(BindingProof { proven: *self })
    }
}

fn require_certificate(presented: &PresentedCertificate, expected: &CertificateThumbprint) -> Result<(), BindingError> {
    let end_entity = match presented {
        PresentedCertificate::NotRequested => return Err(BindingError::NotRequested),
        PresentedCertificate::None => return Err(BindingError::NoCertificate),
        PresentedCertificate::ForwardingRefused(error) => return Err(BindingError::Forwarding(error.clone())),
        PresentedCertificate::TooLong {
            presented_intermediates,
        } => {
            return Err(BindingError::ChainTooLong {
                presented_intermediates: *presented_intermediates,
            });
        }
        PresentedCertificate::Peer(peer) => peer.end_entity(),
        PresentedCertificate::Forwarded(forwarded) => forwarded.end_entity(),
    };
    if end_entity.thumbprint() == expected {
        return Ok(());
    }
    Err(BindingError::Mismatch {
        presented: *end_entity.thumbprint(),
        expected: *expected,
    })
}

impl Serialize for Confirmation {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        if let Some(certificate) = self.certificate() {
            map.serialize_entry("x5t#S256", certificate)?;
        }
        if let Some(key) = self.key() {
            map.serialize_entry("jkt", key)?;
        }
        map.end()
    }
}

impl<'de> Deserialize<'de> for Confirmation {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Confirmation, D::Error> {
        Members::deserialize(deserializer)?
            .confirmation()
            .map_err(de::Error::custom)
    }
}

/// Proof that a request came from the holder of what its token is bound to. Only [`Confirmation::verify`] makes one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BindingProof {
    proven: Confirmation,
}

impl BindingProof {
    /// The certificate that was presented and that the token is bound to, if it is bound to one.
    pub const fn certificate(&self) -> Option<&CertificateThumbprint> {
        self.proven.certificate()
    }

    /// The key that signed the request's DPoP proof and that the token is bound to, if it is bound to one.
    pub const fn key(&self) -> Option<&KeyThumbprint> {
        self.proven.key()
    }
}

/// Why a request does not satisfy the binding of its token. For operators; the caller sees `invalid_token`.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum BindingError {
    /// This listener never asks for a certificate, so none can be presented.
    #[error("the token is bound to a certificate, and this listener does not ask for one")]
    NotRequested,
    /// A certificate was asked for and none came. RFC 8705 §3 treats it as a mismatch.
    #[error("the token is bound to a certificate, and no client certificate was presented")]
    NoCertificate,
    /// The presented certificate is another one.
    #[error("the token is bound to certificate {expected}, and {presented} was presented")]
    Mismatch {
        /// The thumbprint of the certificate on this connection.
        presented: CertificateThumbprint,
        /// The thumbprint in the token.
        expected: CertificateThumbprint,
    },
    /// More certificates were presented than anyone needs.
    #[error(
        "a chain of {presented_intermediates} certificates besides the end-entity certificate was presented, more than allowed"
    )]
    ChainTooLong {
        /// How many came besides the end-entity certificate.
        presented_intermediates: usize,
    },
    /// A proxy was to forward the certificate and what it sent does not count.
    #[error("the forwarded certificate was refused")]
    Forwarding(#[source] ForwardingError),
    /// The token is bound to a key and was sent as a bearer token (RFC 9449 §7.2).
    #[error("the token is bound to a key, and it was sent as a bearer token, without a DPoP proof")]
    NoProof,
    /// The proof was made by another key.
    #[error("the token is bound to key {expected}, and the DPoP proof was made by {presented}")]
    KeyMismatch {
        /// The thumbprint of the key in the proof.
        presented: KeyThumbprint,
        /// The thumbprint in the token.
        expected: KeyThumbprint,
    },
    /// The token was sent by the scheme `DPoP` and is not bound to a key: the sender takes it for another one.
    #[error("the token was sent with a DPoP proof, and it is not bound to a key")]
    NotBoundToKey,
}

impl BindingError {
    /// What to do about it.
    pub fn fix(&self) -> &'static str {
        match self {
            Self::NotRequested => "let the caller use the listener that asks for a client certificate",
            Self::NoCertificate => "let the caller connect with the certificate that it obtained the token with",
            Self::Mismatch { .. } => {
                "the token was obtained with another certificate: after a renewal the caller asks for a new token; if nothing was \
                 renewed, somebody else uses it"
            }
            Self::ChainTooLong { .. } => {
                "let the caller send its certificate with the intermediates alone, without roots and leftovers"
            }
            Self::Forwarding(_) => "check the proxy's forwarding of the client certificate (Client-Cert)",
            Self::NoProof => {
                "let the caller send the token as Authorization: DPoP …, with a proof for each request in the header DPoP; if it does not \
                 have the key, it is not the one that obtained the token"
            }
            Self::KeyMismatch { .. } => {
                "the token was obtained with another key: a caller that changes its key asks for a new token; if nothing was changed, \
                 somebody else uses it"
            }
            Self::NotBoundToKey => {
                "let the caller send the token by the scheme that the token endpoint named in `token_type`, Bearer for a token that is \
                 bound to a certificate"
            }
        }
    }
}

/// Why a `cnf` is not one that we can verify. A token that has it must be refused (RFC 8705 §3, RFC 9449 §7.2).
#[derive(Debug, thiserror::Error)]
pub enum ConfirmationError {
    /// Not a JSON object, a repeated member, or a member of the wrong type.
    #[error("cnf is not a JSON object with distinct members of the right types")]
    Malformed(#[from] serde_json::Error),
    /// `x5t#S256` is there and is not a SHA-256 thumbprint.
    #[error("x5t#S256 is not a certificate thumbprint")]
    Thumbprint(#[source] ThumbprintError),
    /// `jkt` is there and is not a SHA-256 thumbprint.
    #[error("jkt is not a key thumbprint")]
    KeyThumbprint(#[source] ThumbprintError),
    /// The token is bound in a way that is not ours to verify, or also in such a way.
    #[error("cnf asks for {member}, which is not supported")]
    Unsupported {
        /// The member that names the other key, or a statement that there is none we know.
        member: &'static str,
    },
}

/// The members of a `cnf` object that matter, before they are judged.
#[derive(Default)]
struct Members {
    certificate: Option<String>,
    key: Option<String>,
    other_confirmation: Option<&'static str>,
}

impl Members {
    fn confirmation(self) -> Result<Confirmation, ConfirmationError> {
        // Asked first: a token that also names a key in another way is never accepted on what we can verify alone.
        if let Some(member) = self.other_confirmation {
            return Err(ConfirmationError::Unsupported { member });
        }
        let certificate = self.certificate.map(|text| text.parse()).transpose();
        let key = self.key.map(|text| text.parse()).transpose();
        match (
            certificate.map_err(ConfirmationError::Thumbprint)?,
            key.map_err(ConfirmationError::KeyThumbprint)?,
        ) {
            (Some(certificate), Some(key)) => Ok(Confirmation::CertificateAndKey { certificate, key }),
            (Some(certificate), None) => Ok(Confirmation::Certificate(certificate)),
            (None, Some(key)) => Ok(Confirmation::Key(key)),
            (None, None) => Err(ConfirmationError::Unsupported {
                member: "no confirmation method that is known here",
            }),
        }
    }
}

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Members, D::Error> {
        struct MembersVisitor;
        impl<'de> Visitor<'de> for MembersVisitor {
            type Value = Members;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
                // A repeated name is refused, known or not: two readers of one token must not see two bindings.
                let mut seen: Vec<String> = Vec::new();
                let mut members = Members::default();
                while let Some(name) = map.next_key::<String>()? {
                    if seen.contains(&name) {
                        return Err(de::Error::custom("repeated member"));
                    }
                    match name.as_str() {
                        "x5t#S256" => members.certificate = Some(map.next_value()?),
                        "jkt" => members.key = Some(map.next_value()?),
                        "jwk" => members.other_confirmation = skip(&mut map, "jwk")?,
                        "jwe" => members.other_confirmation = skip(&mut map, "jwe")?,
                        "kid" => members.other_confirmation = skip(&mut map, "kid")?,
                        _ => drop(map.next_value::<de::IgnoredAny>()?),
                    }
                    seen.push(name);
                }
                Ok(members)
            }
        }
        fn skip<'de, A: MapAccess<'de>>(map: &mut A, name: &'static str) -> Result<Option<&'static str>, A::Error> {
            map.next_value::<de::IgnoredAny>()?;
            Ok(Some(name))
        }
        deserializer.deserialize_map(MembersVisitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const APPENDIX_A: &str = "A4DtL2JmUMhAsvJj5tKyn64SqzmuXbMrJa0n761y5v0";

    fn check_cnf(json: &str, expected: &str) {
        let outcome = match Confirmation::parse(json.as_bytes()) {
            Ok(_) => "ok",
            Err(ConfirmationError::Malformed(_)) => "malformed",
            Err(ConfirmationError::Thumbprint(_)) => "thumbprint",
            Err(ConfirmationError::KeyThumbprint(_)) => "jkt",
            Err(ConfirmationError::Unsupported { .. }) => "unsupported",
        };
        assert_eq!(outcome, expected, "{json}");
        assert_eq!(
            serde_json::from_str::<Confirmation>(json).is_ok(),
            expected == "ok",
            "{json}"
        );
    }

    #[test]
    fn only_a_confirmation_that_can_be_verified_is_one() {
        check_cnf(&format!(r#"{{"x5t#S256":"{APPENDIX_A}"}}"#), "ok");
        check_cnf(
            &format!(r#"{{"x5t#S256":"{APPENDIX_A}","foo":{{"x5t#S256":1}}}}"#),
            "ok",
        );
        check_cnf(r#"{}"#, "unsupported");
        check_cnf(r#"{"foo":"bar"}"#, "unsupported");
        check_cnf(
            r#"{"x5t":"A4DtL2JmUMhAsvJj5tKyn64SqzmuXbMrJa0n761y5v0"}"#,
            "unsupported",
        );
        check_cnf(&format!(r#"{{"X5T#S256":"{APPENDIX_A}"}}"#), "unsupported");
        check_cnf(r#"{"jkt":"A4DtL2JmUMhAsvJj5tKyn64SqzmuXbMrJa0n761y5v0"}"#, "ok");
        check_cnf(&format!(r#"{{"x5t#S256":"{APPENDIX_A}","jkt":"{APPENDIX_A}"}}"#), "ok");
        check_cnf(&format!(r#"{{"x5t#S256":"{APPENDIX_A}","jkt":"x"}}"#), "jkt");
        check_cnf(&format!(r#"{{"x5t#S256":"x","jkt":"{APPENDIX_A}"}}"#), "thumbprint");
        check_cnf(&format!(r#"{{"jkt":"{APPENDIX_A}="}}"#), "jkt");
        check_cnf(
            &format!(r#"{{"jkt":"{APPENDIX_A}","jkt":"{APPENDIX_A}"}}"#),
            "malformed",
        );
        check_cnf(r#"{"jkt":null}"#, "malformed");
        check_cnf(&format!(r#"{{"jkt":"{APPENDIX_A}","jwk":{{}}}}"#), "unsupported");
        check_cnf(&format!(r#"{{"JKT":"{APPENDIX_A}"}}"#), "unsupported");
        check_cnf(&format!(r#"{{"kid":"x","x5t#S256":"{APPENDIX_A}"}}"#), "unsupported");
        check_cnf(
            &format!(r#"{{"x5t#S256":"{APPENDIX_A}","x5t#S256":"{APPENDIX_A}"}}"#),
            "malformed",
        );
        check_cnf(&format!(r#"{{"x5t#S256":"{APPENDIX_A}","a":1,"a":1}}"#), "malformed");
        check_cnf(&format!(r#"{{"x5t#S256":"{APPENDIX_A}="}}"#), "thumbprint");
        check_cnf(r#"{"x5t#S256":null}"#, "malformed");
        check_cnf(r#"{"x5t#S256":["A"]}"#, "malformed");
        check_cnf(r#"null"#, "malformed");
        check_cnf(r#""A4DtL2JmUMhAsvJj5tKyn64SqzmuXbMrJa0n761y5v0""#, "malformed");
        check_cnf(r#"[]"#, "malformed");
    }

    #[test]
    fn serializes_as_the_rfc_shows() {
        for json in [
            format!(r#"{{"x5t#S256":"{APPENDIX_A}"}}"#),
            format!(r#"{{"jkt":"{APPENDIX_A}"}}"#),
            format!(r#"{{"x5t#S256":"{APPENDIX_A}","jkt":"{APPENDIX_A}"}}"#),
        ] {
            let confirmation = Confirmation::parse(json.as_bytes()).ok();
            let written = confirmation.and_then(|confirmation| serde_json::to_string(&confirmation).ok());
            assert_eq!(written, Some(json));
        }
    }
}
