//! Rich authorization requests (RFC 9396): what is asked for beyond scope words, as typed objects.
//!
//! A server knows the types that were configured, each with its fields. Everything else is refused (§5): a field that nobody
//! understands would be consented to, and then mean something to a resource.

mod narrowing;
mod types;

use crate::error_code::ErrorCode;
use crate::json::{JsonError, JsonObject, JsonValue};
use crate::resource::ResourceUri;

pub use types::{AuthorizationDetailsType, AuthorizationDetailsTypes, FieldKind};

/// The longest `authorization_details` parameter in octets.
pub const AUTHORIZATION_DETAILS_BYTES_MAX: usize = 16 * 1024;
/// The most objects in it.
pub const AUTHORIZATION_DETAILS_MAX: usize = 16;

/// Why `authorization_details` was not accepted: `invalid_authorization_details` (RFC 9396 §5).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AuthorizationDetailsError {
    /// Longer than [`AUTHORIZATION_DETAILS_BYTES_MAX`].
    #[error("`authorization_details` of {0} octets is too long")]
    TooLong(usize),
    /// More than [`AUTHORIZATION_DETAILS_MAX`] objects.
    #[error("{0} authorization details are too many")]
    TooMany(usize),
    /// Not JSON, or with duplicate members.
    #[error("`authorization_details`: {0}")]
    Json(#[from] JsonError),
    /// Not an array of objects, or an empty one.
    #[error("`authorization_details` is not an array of one or more objects")]
    NotObjects,
    /// An object without `type`, or one whose `type` is not a string.
    #[error("an authorization detail has no `type`")]
    TypeMissing,
    /// A type that is not configured.
    #[error("authorization details type {0:?} is not configured")]
    TypeUnknown(String),
    /// A type that the client may not use.
    #[error("authorization details type {0:?} is not registered by the client")]
    TypeNotRegistered(String),
    /// A field that its type does not have.
    #[error("authorization details type {detail_type:?} has no field {field:?}")]
    FieldUnknown {
        /// The type.
        detail_type: String,
        /// The field.
        field: String,
    },
    /// A field that its type requires is missing.
    #[error("field {field:?} of authorization details type {detail_type:?} is missing")]
    FieldMissing {
        /// The type.
        detail_type: String,
        /// The field.
        field: String,
    },
    /// A field of another kind than its type says.
    #[error("field {field:?} of authorization details type {detail_type:?} is not {expected}")]
    FieldKind {
        /// The type.
        detail_type: String,
        /// The field.
        field: String,
        /// What it has to be.
        expected: FieldKind,
    },
    /// More than was granted.
    #[error("an authorization detail of type {0:?} exceeds what was granted")]
    NotGranted(String),
}

impl AuthorizationDetailsError {
    /// The code that is sent.
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::TooLong(_)
            | Self::TooMany(_)
            | Self::Json(_)
            | Self::NotObjects
            | Self::TypeMissing
            | Self::TypeUnknown(_)
            | Self::TypeNotRegistered(_)
            | Self::FieldUnknown { .. }
            | Self::FieldMissing { .. }
            | Self::FieldKind { .. }
            | Self::NotGranted(_) => ErrorCode::InvalidAuthorizationDetails,
        }
    }
}

/// One or more authorization details, or none at all.
#[derive(Debug, Clone, PartialEq, Default, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct AuthorizationDetails(Vec<JsonObject>);

impl AuthorizationDetails {
    /// Reads an array of typed objects; which types there are is asked of [`AuthorizationDetailsTypes::require`], and how much was granted
    /// of [`require_within`](Self::require_within).
    ///
    /// # Errors
    /// About its size and shape: see [`AuthorizationDetailsError`].
    pub fn parse(text: &str) -> Result<Self, AuthorizationDetailsError> {
        if text.len() > AUTHORIZATION_DETAILS_BYTES_MAX {
            return Err(AuthorizationDetailsError::TooLong(text.len()));
        }
        let JsonValue::Array(values) = JsonValue::parse(text.as_bytes())? else {
            return Err(AuthorizationDetailsError::NotObjects);
        };
        if values.is_empty() {
            return Err(AuthorizationDetailsError::NotObjects);
        }
        if values.len() > AUTHORIZATION_DETAILS_MAX {
            return Err(AuthorizationDetailsError::TooMany(values.len()));
        }
        let mut details = Vec::with_capacity(values.len());
        for value in values {
            let JsonValue::Object(detail) = value else {
                return Err(AuthorizationDetailsError::NotObjects);
            };
            if detail_type(&detail).is_none() {
                return Err(AuthorizationDetailsError::TypeMissing);
            }
            details.push(detail);
        }
        Ok(Self(details))
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The objects, in their order.
    pub fn iter(&self) -> impl Iterator<Item = &JsonObject> {
        self.0.iter()
    }

    /// The `type` of each object.
    pub fn types(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter_map(detail_type)
    }

    /// Those that are for `resource`: without `locations`, or with that resource among them (RFC 9396 §9.1 wants a token to carry what
    /// its audience is concerned with, and no more).
    #[must_use]
    pub fn for_resource(&self, resource: &ResourceUri) -> Self {
        let concerns = |detail: &&JsonObject| match detail.strings("locations") {
            Ok(Some(locations)) => locations.contains(&resource.as_str()),
            _ => true,
        };
        Self(self.0.iter().filter(concerns).cloned().collect())
    }

    /// Decides whether these stay within `granted` (RFC 9396 §6.1): each is one that was granted, or a part of one.
    ///
    /// # Errors
    /// [`AuthorizationDetailsError::NotGranted`]
    pub fn require_within(&self, granted: &Self) -> Result<(), AuthorizationDetailsError> {
        for requested in &self.0 {
            if !granted.0.iter().any(|granted| narrowing::is_within(requested, granted)) {
                let detail_type = detail_type(requested).unwrap_or_default();
                return Err(AuthorizationDetailsError::NotGranted(detail_type.to_owned()));
            }
        }
        Ok(())
    }

    /// The array as it is stored and sent.
    pub fn to_json(&self) -> serde_json::Value {
        serde_json::to_value(self).unwrap_or_default()
    }
}

fn detail_type(detail: &JsonObject) -> Option<&str> {
    detail.string("type").ok().flatten()
}
