//! What was sent as an authorization request, as texts: nothing of it is judged yet.

use std::collections::BTreeMap;

use crate::form::Form;
use crate::json::{JsonObject, JsonTypeError, JsonValue};
use crate::request_object::{RequestObject, RequestObjectError};

/// The parameters that count, those of backchannel authentication (CIBA Core §7.1) last. All others are ignored (RFC 6749 §3.1).
const NAMES: [&str; 24] = [
    "response_type",
    "client_id",
    "redirect_uri",
    "scope",
    "state",
    "response_mode",
    "code_challenge",
    "code_challenge_method",
    "nonce",
    "prompt",
    "max_age",
    "login_hint",
    "ui_locales",
    "acr_values",
    "claims",
    "authorization_details",
    "dpop_jkt",
    "registration",
    "login_hint_token",
    "id_token_hint",
    "binding_message",
    "user_code",
    "requested_expiry",
    "client_notification_token",
];

/// The parameters of one authorization request, all of them from one place: a form, or a request object and nothing beside it
/// (RFC 9101 §6.3).
#[derive(Debug, Clone, PartialEq)]
pub struct AuthorizationParameters {
    texts: BTreeMap<&'static str, String>,
    resources: Vec<String>,
    is_signed: bool,
}

impl AuthorizationParameters {
    /// The parameters of a form, or of a query.
    pub fn of_form(form: &Form<'_>) -> Self {
        let text = |name: &'static str| form.get(name).map(|value| (name, value.to_owned()));
        Self {
            texts: NAMES.into_iter().filter_map(text).collect(),
            resources: form.resources().map(str::to_owned).collect(),
            is_signed: false,
        }
    }

    /// The claims of a request object that are parameters. Values that are JSON by themselves may be so here (RFC 9101 §4).
    ///
    /// # Errors
    /// [`RequestObjectError::ClaimType`]
    pub fn of_request_object(object: &RequestObject) -> Result<Self, RequestObjectError> {
        let claims = object.claims();
        let mut texts = BTreeMap::new();
        for name in NAMES {
            if let Some(text) = text(claims, name)?.filter(|text| !text.is_empty()) {
                texts.insert(name, text);
            }
        }
        let resources = claims.string_or_strings("resource")?.unwrap_or_default();
        Ok(Self {
            texts,
            resources: resources.into_iter().map(str::to_owned).collect(),
            is_signed: true,
        })
    }

    /// The value of a parameter; `None` if it is absent or empty.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.texts.get(name).map(String::as_str)
    }

    /// The values of `resource`, in their order.
    pub fn resources(&self) -> impl Iterator<Item = &str> {
        self.resources.iter().map(String::as_str)
    }

    /// Whether the client signed them.
    pub fn is_signed(&self) -> bool {
        self.is_signed
    }
}

fn text(claims: &JsonObject, name: &'static str) -> Result<Option<String>, JsonTypeError> {
    match (name, claims.get(name)) {
        ("claims" | "registration", Some(value @ JsonValue::Object(_)))
        | ("authorization_details", Some(value @ JsonValue::Array(_)))
        | ("max_age" | "requested_expiry", Some(value @ JsonValue::Number(_))) => Ok(serde_json::to_string(value).ok()),
        (name, _) => claims.string(name).map(|text| text.map(str::to_owned)),
    }
}
