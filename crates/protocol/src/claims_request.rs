//! The `claims` parameter of OpenID Connect (Core §5.5): claims that a client asks for one by one.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::json::{JsonError, JsonObject, JsonTypeError, JsonValue};

/// The longest `claims` parameter in octets.
pub const CLAIMS_REQUEST_BYTES_MAX: usize = 8 * 1024;
/// The most claims asked for, at the userinfo endpoint and in the ID token each.
pub const CLAIMS_MAX: usize = 50;

/// Why `claims` was not accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ClaimsRequestError {
    /// Longer than [`CLAIMS_REQUEST_BYTES_MAX`].
    #[error("`claims` of {0} octets is too long")]
    TooLong(usize),
    /// More than [`CLAIMS_MAX`] claims.
    #[error("more than {CLAIMS_MAX} claims")]
    TooMany,
    /// Not a JSON object without duplicate members.
    #[error("`claims`: {0}")]
    Json(#[from] JsonError),
    /// A member has the wrong JSON type.
    #[error("`claims`: {0}")]
    Type(#[from] JsonTypeError),
    /// What is asked about a claim is neither `null` nor an object.
    #[error("what is asked about claim {0:?} is neither null nor an object")]
    Claim(String),
}

/// Which claims a client asked for, and where it wants them. Other members than `userinfo` and `id_token` are ignored (§5.5).
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct ClaimsRequest {
    #[serde(default)]
    userinfo: BTreeMap<String, ClaimRequest>,
    #[serde(default)]
    id_token: BTreeMap<String, ClaimRequest>,
}

/// What is asked about one claim (§5.5.1).
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct ClaimRequest {
    /// Whether the client says that it cannot go on without it. An answer without it is right nevertheless.
    #[serde(default)]
    pub essential: bool,
    /// The values of which one is wanted, the preferred first; empty for any.
    #[serde(default)]
    pub values: Vec<JsonValue>,
}

impl ClaimsRequest {
    /// Reads `claims` of an authorization request.
    ///
    /// # Errors
    /// See [`ClaimsRequestError`].
    pub fn parse(text: &str) -> Result<Self, ClaimsRequestError> {
        if text.len() > CLAIMS_REQUEST_BYTES_MAX {
            return Err(ClaimsRequestError::TooLong(text.len()));
        }
        let object = JsonObject::parse(text.as_bytes())?;
        Ok(Self {
            userinfo: claim_requests(object.object("userinfo")?)?,
            id_token: claim_requests(object.object("id_token")?)?,
        })
    }

    /// The claims wanted from the userinfo endpoint.
    pub fn userinfo(&self) -> impl Iterator<Item = (&str, &ClaimRequest)> {
        self.userinfo.iter().map(|(name, claim)| (name.as_str(), claim))
    }

    /// The claims wanted in the ID token.
    pub fn id_token(&self) -> impl Iterator<Item = (&str, &ClaimRequest)> {
        self.id_token.iter().map(|(name, claim)| (name.as_str(), claim))
    }

    /// The user that the client insists on: `sub` of the ID token with one value. Nobody else's ID token may be issued (§5.5.1).
    pub fn required_subject(&self) -> Option<&str> {
        match self.id_token.get("sub")?.values.as_slice() {
            [JsonValue::String(subject)] => Some(subject),
            _ => None,
        }
    }

    /// The authentication contexts of which the client insists on one: an essential `acr` of the ID token with values. A sign-in of
    /// another one has failed (§5.5.1.1). Whoever names none is content with any, and with none.
    pub fn required_authentication_contexts(&self) -> Option<&[JsonValue]> {
        let acr = self.id_token.get("acr")?;
        (acr.essential && !acr.values.is_empty()).then_some(acr.values.as_slice())
    }

    /// Whether this claim is wanted in the ID token.
    pub fn wants_in_id_token(&self, claim: &str) -> bool {
        self.id_token.contains_key(claim)
    }

    /// The same, asking for a claim in the ID token as well: other parameters do that, too, such as `max_age` (§3.1.2.1).
    #[must_use]
    pub fn with_id_token_claim(mut self, claim: &str) -> Self {
        self.id_token.entry(claim.to_owned()).or_default();
        self
    }
}

fn claim_requests(object: Option<&JsonObject>) -> Result<BTreeMap<String, ClaimRequest>, ClaimsRequestError> {
    let mut claims = BTreeMap::new();
    for (name, value) in object.into_iter().flat_map(JsonObject::members) {
        if claims.len() == CLAIMS_MAX {
            return Err(ClaimsRequestError::TooMany);
        }
        let claim = match value {
            JsonValue::Null => ClaimRequest::default(),
            JsonValue::Object(object) => claim_request(object)?,
            _ => return Err(ClaimsRequestError::Claim(name.to_owned())),
        };
        claims.insert(name.to_owned(), claim);
    }
    Ok(claims)
}

fn claim_request(object: &JsonObject) -> Result<ClaimRequest, ClaimsRequestError> {
    let values = match (object.get("value"), object.get("values")) {
        (Some(value), _) => vec![value.clone()],
        (None, Some(JsonValue::Array(values))) => values.clone(),
        (None, Some(_)) => {
            return Err(JsonTypeError {
                member: "values",
                expected: "an array",
            }
            .into());
        }
        (None, None) => Vec::new(),
    };
    Ok(ClaimRequest {
        essential: object.boolean("essential")?.unwrap_or(false),
        values,
    })
}
