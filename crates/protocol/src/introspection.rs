//! Token introspection (RFC 7662): its request, and its response as written by a server and as read by a protected resource.

use serde::Serialize;

use crate::bearer::TOKEN_BYTES_MAX;
use crate::confirmation::{Confirmation, ConfirmationError};
use crate::error_code::ErrorCode;
use crate::form::Form;
use crate::json::{JsonError, JsonObject, JsonTypeError, JsonValue};
use crate::scope::{Scope, ScopeError};
use crate::time::Timestamp;

/// The answer for every token that is unknown, not valid, or none of the caller's business: these octets and no others
/// (RFC 7662 §2.2), so that the three cannot be told apart.
pub const INACTIVE: &[u8] = br#"{"active":false}"#;
/// The largest response that a protected resource reads, in octets.
pub const INTROSPECTION_RESPONSE_BYTES_MAX: usize = 64 * 1024;

/// A request to the introspection endpoint (RFC 7662 §2.1).
///
/// `token_type_hint` is not kept: it may only speed a search up, and ours needs no help.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct IntrospectionRequest<'a> {
    token: &'a str,
}

/// Why a form asks about no token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum IntrospectionRequestError {
    /// `token` is absent.
    #[error("`token` is missing")]
    TokenMissing,
}

impl IntrospectionRequestError {
    /// The code that is sent.
    pub fn code(self) -> ErrorCode {
        match self {
            Self::TokenMissing => ErrorCode::InvalidRequest,
        }
    }
}

impl<'a> IntrospectionRequest<'a> {
    /// Reads a request.
    ///
    /// # Errors
    /// [`IntrospectionRequestError::TokenMissing`]
    pub fn parse(form: &'a Form<'_>) -> Result<Self, IntrospectionRequestError> {
        form.get("token")
            .map(|token| Self { token })
            .ok_or(IntrospectionRequestError::TokenMissing)
    }

    /// The token that is asked about; `None` for one that is too long to be a token of anybody's.
    pub fn token(&self) -> Option<&'a str> {
        Some(self.token).filter(|token| token.len() <= TOKEN_BYTES_MAX)
    }
}

impl std::fmt::Debug for IntrospectionRequest<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("IntrospectionRequest(…)")
    }
}

/// The answer to an introspection request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IntrospectionResponse {
    /// No token that the caller may know anything about.
    Inactive,
    /// A token that is good now.
    Active(Box<ActiveToken>),
}

/// What is told about a token that is good now (RFC 7662 §2.2). Absent members are `None`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct ActiveToken {
    /// What it permits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scope: Option<Scope>,
    /// Whom it was issued to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_id: Option<String>,
    /// `Bearer`, also for a certificate-bound token (RFC 8705 §3); `DPoP` for one that is bound to a key (RFC 9449 §6.2).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token_type: Option<String>,
    /// When it expires.
    #[serde(rename = "exp", skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
    /// When it was issued.
    #[serde(rename = "iat", skip_serializing_if = "Option::is_none")]
    pub issued_at: Option<Timestamp>,
    /// From when on it is good.
    #[serde(rename = "nbf", skip_serializing_if = "Option::is_none")]
    pub not_before: Option<Timestamp>,
    /// On whose behalf it acts.
    #[serde(rename = "sub", skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// Which resources it is for.
    #[serde(
        rename = "aud",
        skip_serializing_if = "Vec::is_empty",
        serialize_with = "one_or_many"
    )]
    pub audience: Vec<String>,
    /// Who issued it.
    #[serde(rename = "iss", skip_serializing_if = "Option::is_none")]
    pub issuer: Option<String>,
    /// Its identifier.
    #[serde(rename = "jti", skip_serializing_if = "Option::is_none")]
    pub token_id: Option<String>,
    /// When the user whom it speaks for had signed in (RFC 9470 §6.2).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub auth_time: Option<Timestamp>,
    /// How (RFC 9470 §6.2).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub acr: Option<String>,
    /// What was granted beyond the scope (RFC 9396 §9.2): an array of objects.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub authorization_details: Option<serde_json::Value>,
    /// What it is bound to (RFC 8705 §3.2, RFC 9449 §6.2).
    #[serde(rename = "cnf", skip_serializing_if = "Option::is_none")]
    pub confirmation: Option<Confirmation>,
}

/// Why an answer is not an introspection response that can be used.
#[derive(Debug, thiserror::Error)]
pub enum IntrospectionResponseError {
    /// Larger than [`INTROSPECTION_RESPONSE_BYTES_MAX`].
    #[error("an introspection response of {0} octets is too large")]
    TooLarge(usize),
    /// Not a JSON object without duplicate members.
    #[error("not a JSON object")]
    Json(#[from] JsonError),
    /// `active` is missing.
    #[error("`active` is missing")]
    ActiveMissing,
    /// A member has the wrong JSON type.
    #[error(transparent)]
    Type(#[from] JsonTypeError),
    /// `scope` is malformed.
    #[error("the scope is malformed")]
    Scope(#[from] ScopeError),
    /// `cnf` cannot be verified. The token must be refused, never treated as unbound.
    #[error("the confirmation cannot be verified")]
    Confirmation(#[source] ConfirmationError),
    /// The issuer says active and the token's own dates say otherwise.
    #[error("active, but outside its own dates")]
    OutsideItsDates,
}

#[derive(Serialize)]
struct ActiveResponse<'a> {
    active: bool,
    #[serde(flatten)]
    token: &'a ActiveToken,
}

impl IntrospectionResponse {
    /// The response as it is sent.
    pub fn to_json(&self) -> Vec<u8> {
        match self {
            Self::Inactive => INACTIVE.to_vec(),
            // Strings, numbers and a map of them always serialise. Should they not, the safe answer is the inactive one.
            Self::Active(token) => {
                serde_json::to_vec(&ActiveResponse { active: true, token }).unwrap_or_else(|_| INACTIVE.to_vec())
            }
        }
    }

    /// Reads a response, of any issuer.
    ///
    /// Beside `"active":false` nothing else is read. Dates are judged again with `leeway`, because a response may come late or
    /// from a server that forgot to.
    ///
    /// # Errors
    /// See [`IntrospectionResponseError`]. Whatever the error, the token is not accepted.
    pub fn parse(json: &[u8], now: Timestamp, leeway: std::time::Duration) -> Result<Self, IntrospectionResponseError> {
        if json.len() > INTROSPECTION_RESPONSE_BYTES_MAX {
            return Err(IntrospectionResponseError::TooLarge(json.len()));
        }
        let object = JsonObject::parse(json)?;
        if !object
            .boolean("active")?
            .ok_or(IntrospectionResponseError::ActiveMissing)?
        {
            return Ok(Self::Inactive);
        }
        let text = |member: &'static str| object.string(member).map(|value| value.map(str::to_owned));
        let date = |member: &'static str| {
            object
                .numeric_date(member)
                .map(|seconds| seconds.map(Timestamp::from_unix_secs))
        };
        let token = ActiveToken {
            scope: object.string("scope")?.map(Scope::parse).transpose()?,
            client_id: text("client_id")?,
            token_type: text("token_type")?,
            expires_at: date("exp")?,
            issued_at: date("iat")?,
            not_before: date("nbf")?,
            subject: text("sub")?,
            audience: object
                .string_or_strings("aud")?
                .unwrap_or_default()
                .into_iter()
                .map(str::to_owned)
                .collect(),
            issuer: text("iss")?,
            token_id: text("jti")?,
            auth_time: date("auth_time")?,
            acr: text("acr")?,
            authorization_details: object
                .get("authorization_details")
                .and_then(|details| serde_json::to_value(details).ok()),
            confirmation: confirmation_of(&object).map_err(IntrospectionResponseError::Confirmation)?,
        };
        let expired = token
            .expires_at
            .is_some_and(|expires_at| expires_at.plus(leeway) <= now);
        let too_early = token.not_before.is_some_and(|not_before| now.plus(leeway) < not_before);
        if expired || too_early {
            return Err(IntrospectionResponseError::OutsideItsDates);
        }
        Ok(Self::Active(Box::new(token)))
    }
}

/// The `cnf` of claims or of a response; `None` only if the member is absent.
pub(crate) fn confirmation_of(object: &JsonObject) -> Result<Option<Confirmation>, ConfirmationError> {
    let Some(member) = object.get("cnf") else {
        return Ok(None);
    };
    // `null` is no confirmation either: the reader below refuses everything but an object.
    let json = serde_json::to_vec::<JsonValue>(member)?;
    Confirmation::parse(&json).map(Some)
}

fn one_or_many<S: serde::Serializer>(audience: &[String], serializer: S) -> Result<S::Ok, S::Error> {
    match audience {
        [one] => serializer.serialize_str(one),
        many => serializer.collect_seq(many),
    }
}
