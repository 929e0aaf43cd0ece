//! The confirmation `cnf` of a certificate-bound access token: `x5t#S256` (RFC 8705 §3.1, RFC 7800).
//!
//! The same object is a claim of a JWT and a member of an introspection response. Its value is a [`CertificateThumbprint`]. Read
//! [`Confirmation::verify`], which is the whole of what RFC 8705 §3 asks of a protected resource about certificates.
//! Deliberately absent: any judgement of the certificate itself (path, validity, names). A protected resource makes none (§6.2).

use std::fmt;

use serde::de::{self, Deserializer, MapAccess, Visitor};
use serde::ser::{SerializeMap, Serializer};
use serde::{Deserialize, Serialize};

use crate::peer_certificate::{ForwardingError, PresentedCertificate};

pub use crate::thumbprint::{CertificateThumbprint, ThumbprintError, ThumbprintText};

/// The confirmation of a token: which certificate its presenter must prove to hold.
///
/// Members that we do not know are ignored beside one that we can verify (RFC 7800 §3.1). Without one that we can verify, and with
/// any other key confirmation beside it (`jkt`, `jwk`, `jwe`, `kid`), there is no such value: such a token must not pass as a
/// plain bearer token, nor with half of its proofs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Confirmation {
    thumbprint: CertificateThumbprint,
}

impl Confirmation {
    /// Binds a token to the certificate with this thumbprint.
    pub const fn certificate_bound(thumbprint: CertificateThumbprint) -> Confirmation {
        Confirmation { thumbprint }
    }

    /// Reads the JSON value of `cnf`.
    ///
    /// # Errors
    /// Anything but an object that contains `x5t#S256`, once and well-formed, and no other key confirmation.
    pub fn parse(json: &[u8]) -> Result<Confirmation, ConfirmationError> {
        let members: Members = serde_json::from_slice(json)?;
        members.confirmation()
    }

    /// The thumbprint of the certificate that the token is bound to.
    pub const fn thumbprint(&self) -> &CertificateThumbprint {
        &self.thumbprint
    }

    /// Decides whether the sender of this request proved to hold the key of the certificate that the token is bound to.
    ///
    /// RFC 8705 §3. The certificate is compared whole, by its hash, and not judged: it may be expired, self-signed, version 1
    /// or unreadable. To be called for each request: a verdict about one connection says nothing about the next.
    ///
    /// # Errors
    /// One [`BindingError`] for every way not to have presented this certificate. They all are `invalid_token` on the wire.
    pub fn verify(&self, presented: &PresentedCertificate) -> Result<BindingProof, BindingError> {
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
        if *end_entity.thumbprint() == self.thumbprint {
            return Ok(BindingProof {
                thumbprint: self.thumbprint,
            });
        }
        Err(BindingError::Mismatch {
            presented: *end_entity.thumbprint(),
            expected: self.thumbprint,
        })
    }
}

impl Serialize for Confirmation {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(1))?;
        map.serialize_entry("x5t#S256", &self.thumbprint)?;
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

/// Proof that a request came from the holder of the bound certificate. Only [`Confirmation::verify`] makes one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BindingProof {
    thumbprint: CertificateThumbprint,
}

impl BindingProof {
    /// The thumbprint of the certificate that was presented and that the token is bound to.
    pub const fn thumbprint(&self) -> &CertificateThumbprint {
        &self.thumbprint
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
}

/// Why a `cnf` is not one that we can verify. A token that has it must be refused (RFC 8705 §3, RFC 9449 §7.2).
#[derive(Debug, thiserror::Error)]
pub enum ConfirmationError {
    /// Not a JSON object, a repeated member, or a member of the wrong type.
    #[error("cnf is not a JSON object with distinct members of the right types")]
    Malformed(#[from] serde_json::Error),
    /// `x5t#S256` is there and is not a SHA-256 thumbprint.
    #[error("x5t#S256 is not a certificate thumbprint")]
    Thumbprint(#[from] ThumbprintError),
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
    thumbprint: Option<String>,
    other_confirmation: Option<&'static str>,
}

impl Members {
    fn confirmation(self) -> Result<Confirmation, ConfirmationError> {
        // Asked first: a token that also names another key is never accepted on the certificate alone (RFC 7800 §3.1 allows
        // one key, and RFC 9449 needs its own proof).
        if let Some(member) = self.other_confirmation {
            return Err(ConfirmationError::Unsupported { member });
        }
        let Some(text) = self.thumbprint else {
            return Err(ConfirmationError::Unsupported {
                member: "no confirmation method that is known here",
            });
        };
        Ok(Confirmation {
            thumbprint: text.parse()?,
        })
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
                        "x5t#S256" => members.thumbprint = Some(map.next_value()?),
                        "jkt" => members.other_confirmation = skip(&mut map, "jkt")?,
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
        check_cnf(
            r#"{"jkt":"A4DtL2JmUMhAsvJj5tKyn64SqzmuXbMrJa0n761y5v0"}"#,
            "unsupported",
        );
        check_cnf(&format!(r#"{{"x5t#S256":"{APPENDIX_A}","jkt":"x"}}"#), "unsupported");
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
        let confirmation = Confirmation::parse(format!(r#"{{"x5t#S256":"{APPENDIX_A}"}}"#).as_bytes()).ok();
        let json = confirmation.and_then(|confirmation| serde_json::to_string(&confirmation).ok());
        assert_eq!(json, Some(format!(r#"{{"x5t#S256":"{APPENDIX_A}"}}"#)));
    }
}
