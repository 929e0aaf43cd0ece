//! The answer of the authorization endpoint (RFC 6749 §4.1.2, RFC 9207, JARM), judged before anything is sent.
//!
//! It comes from the browser, that is from anybody. So `state` is compared first, then `iss`, and only then is it believed to be
//! the answer of the server that was asked: an error, or a code. After a bad one nothing is sent anywhere, the code least of all.

use keybound_protocol::access_token::CLOCK_LEEWAY;
use keybound_protocol::authorization_response::RESPONSE_JWT_TYPE;
use keybound_protocol::client::ClientId;
use keybound_protocol::digest::sha256;
use keybound_protocol::issuer::Issuer;
use keybound_protocol::json::{JsonError, JsonObject, JsonTypeError};
use keybound_protocol::jwk_set::JwkSet;
use keybound_protocol::jws::{JwsError, JwsPolicy, UnverifiedJws};
use keybound_protocol::signature_algorithm::SignatureAlgorithm;
use keybound_protocol::time::Timestamp;

use crate::authorization_request::PendingAuthorization;

/// The longest answer that is read, in octets: a query that a browser was sent with.
pub const AUTHORIZATION_RESPONSE_BYTES_MAX: usize = 32 * 1024;

/// Why an authorization response was not accepted.
#[derive(Debug, thiserror::Error)]
pub enum AuthorizationResponseError {
    /// Longer than [`AUTHORIZATION_RESPONSE_BYTES_MAX`].
    #[error("longer than {AUTHORIZATION_RESPONSE_BYTES_MAX} octets")]
    TooLong,
    /// A parameter twice (RFC 6749 §3.1).
    #[error("parameter `{0}` occurs twice")]
    Repeated(&'static str),
    /// `state` is missing or another: it is the answer to somebody else's request (RFC 6749 §10.12).
    #[error("`state` is not the one that was sent: this is no answer to this request")]
    State,
    /// `iss` is another: the answer comes from another server than the one that was asked (RFC 9207 §2.4).
    #[error("`iss` is {presented:?}, but {expected:?} was asked: a mix-up of servers")]
    Issuer {
        /// `iss`
        presented: String,
        /// Who was asked.
        expected: String,
    },
    /// `iss` is missing, and the server sends it always (RFC 9207 §2.4).
    #[error("`iss` is missing, which {expected:?} always sends")]
    IssuerMissing {
        /// Who was asked.
        expected: String,
    },
    /// A signed answer was asked for, and this is none.
    #[error("it is not signed, though a signed answer was asked for")]
    NotSigned,
    /// The signature of a signed answer is not accepted.
    #[error("its signature is not accepted")]
    Signature(#[from] JwsError),
    /// A signed answer says nothing that can be read.
    #[error("its claims are not a JSON object")]
    Claims(#[from] JsonError),
    /// A claim of a signed answer has the wrong type.
    #[error(transparent)]
    Type(#[from] JsonTypeError),
    /// A signed answer lacks a claim.
    #[error("claim `{0}` is missing")]
    ClaimMissing(&'static str),
    /// A signed answer is for another client.
    #[error("it is meant for another client")]
    Audience,
    /// A signed answer is too old.
    #[error("it has expired")]
    Expired,
    /// Neither a code nor an error, or both.
    #[error("it has {0}")]
    CodeAndError(&'static str),
    /// The server refused, or the user.
    #[error(transparent)]
    Refused(AuthorizationRefusal),
}

/// The authorization server said no (RFC 6749 §4.1.2.1).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("authorization was refused: {error}{}", description.as_ref().map(|it| format!(" ({it})")).unwrap_or_default())]
pub struct AuthorizationRefusal {
    /// `error`: any code, also one that we do not know.
    pub error: String,
    /// `error_description`
    pub description: Option<String>,
}

impl AuthorizationRefusal {
    /// Whether the user said no (or the server in his place).
    pub fn is_denied(&self) -> bool {
        self.error == "access_denied"
    }
}

/// A code that came from the server that was asked, in answer to this request.
pub(crate) struct AuthorizationCode(String);

impl AuthorizationCode {
    pub(crate) fn into_text(self) -> String {
        self.0
    }
}

impl std::fmt::Debug for AuthorizationCode {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("AuthorizationCode")
    }
}

/// An answer taken apart; nothing of it is believed.
#[derive(Debug, Default)]
pub(crate) struct UnverifiedResponse {
    code: Option<String>,
    state: Option<String>,
    issuer: Option<String>,
    error: Option<String>,
    error_description: Option<String>,
    response: Option<String>,
}

impl UnverifiedResponse {
    /// Takes the query of the redirection apart; parameters that nobody knows are ignored, empty ones are absent.
    pub(crate) fn parse(query: &str) -> Result<UnverifiedResponse, AuthorizationResponseError> {
        if query.len() > AUTHORIZATION_RESPONSE_BYTES_MAX {
            return Err(AuthorizationResponseError::TooLong);
        }
        let mut parsed = UnverifiedResponse::default();
        for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
            let (slot, name) = match name.as_ref() {
                "code" => (&mut parsed.code, "code"),
                "state" => (&mut parsed.state, "state"),
                "iss" => (&mut parsed.issuer, "iss"),
                "error" => (&mut parsed.error, "error"),
                "error_description" => (&mut parsed.error_description, "error_description"),
                "response" => (&mut parsed.response, "response"),
                _ => continue,
            };
            if slot.replace(value.into_owned()).is_some() {
                return Err(AuthorizationResponseError::Repeated(name));
            }
        }
        for slot in [
            &mut parsed.code,
            &mut parsed.state,
            &mut parsed.issuer,
            &mut parsed.error,
            &mut parsed.error_description,
            &mut parsed.response,
        ] {
            slot.take_if(|value| value.is_empty());
        }
        Ok(parsed)
    }

    /// The signed answer in it, if one was asked for.
    pub(crate) fn signed(&self) -> Result<&str, AuthorizationResponseError> {
        self.response.as_deref().ok_or(AuthorizationResponseError::NotSigned)
    }

    /// Reads what a signed answer says (JARM §2.3, §2.4): signature, `iss`, `aud`, `exp`, in this order.
    pub(crate) fn from_signed(
        response: &str,
        keys: &JwkSet,
        signed: &SignedResponsePolicy<'_>,
        now: Timestamp,
    ) -> Result<UnverifiedResponse, AuthorizationResponseError> {
        let jws = UnverifiedJws::parse(response)?;
        let policy = JwsPolicy {
            algorithms: signed.algorithms,
            types: &["JWT", RESPONSE_JWT_TYPE],
            type_may_be_missing: true,
        };
        let verified = jws.verify(&policy, keys)?;
        let claims = JsonObject::parse(verified.payload())?;
        let text = |name| Ok::<_, JsonTypeError>(claims.string(name)?.map(str::to_owned));
        let parsed = UnverifiedResponse {
            code: text("code")?,
            state: text("state")?,
            issuer: text("iss")?,
            error: text("error")?,
            error_description: text("error_description")?,
            response: None,
        };
        let issuer = parsed.issuer.as_deref();
        require_issuer(
            issuer.ok_or(AuthorizationResponseError::ClaimMissing("iss"))?,
            signed.issuer,
        )?;
        let audience = claims
            .string_or_strings("aud")?
            .ok_or(AuthorizationResponseError::ClaimMissing("aud"))?;
        if audience.as_slice() != [signed.client_id.as_str()] {
            return Err(AuthorizationResponseError::Audience);
        }
        let expires_at = claims
            .numeric_date("exp")?
            .ok_or(AuthorizationResponseError::ClaimMissing("exp"))?;
        if Timestamp::from_unix_secs(expires_at).plus(CLOCK_LEEWAY) <= now {
            return Err(AuthorizationResponseError::Expired);
        }
        Ok(parsed)
    }

    /// Decides whether this is the answer to `pending`, and what it says.
    ///
    /// `issuer` is compared as a string (RFC 9207 §2.4), in errors as well.
    pub(crate) fn verify(
        self,
        pending: &PendingAuthorization,
        issuer: &Issuer,
    ) -> Result<AuthorizationCode, AuthorizationResponseError> {
        let state = self.state.as_deref().unwrap_or_default();
        // The digests are compared, so that the time it takes says nothing about the expected value.
        if sha256(state.as_bytes()) != sha256(pending.secrets.state.as_bytes()) {
            return Err(AuthorizationResponseError::State);
        }
        match self.issuer.as_deref() {
            Some(presented) => require_issuer(presented, issuer)?,
            None if pending.requires_issuer => {
                return Err(AuthorizationResponseError::IssuerMissing {
                    expected: issuer.to_string(),
                });
            }
            None => {}
        }
        match (self.code, self.error) {
            (Some(code), None) => Ok(AuthorizationCode(code)),
            (None, Some(error)) => Err(AuthorizationResponseError::Refused(AuthorizationRefusal {
                error,
                description: self.error_description,
            })),
            (None, None) => Err(AuthorizationResponseError::CodeAndError("neither a code nor an error")),
            (Some(_), Some(_)) => Err(AuthorizationResponseError::CodeAndError("both a code and an error")),
        }
    }
}

/// What a signed answer has to be.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SignedResponsePolicy<'a> {
    /// Who was asked.
    pub(crate) issuer: &'a Issuer,
    /// Who asked.
    pub(crate) client_id: &'a ClientId,
    /// By which algorithms it may be signed.
    pub(crate) algorithms: &'a [SignatureAlgorithm],
}

fn require_issuer(presented: &str, expected: &Issuer) -> Result<(), AuthorizationResponseError> {
    if presented == expected.as_str() {
        return Ok(());
    }
    Err(AuthorizationResponseError::Issuer {
        presented: presented.to_owned(),
        expected: expected.to_string(),
    })
}
