//! The types of authorization details that a server knows (RFC 9396 §2.1), with their fields.

use std::collections::BTreeMap;
use std::fmt;

use super::{AuthorizationDetails, AuthorizationDetailsError, detail_type};
use crate::json::{JsonObject, JsonValue};

/// What a field holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FieldKind {
    /// A string that is not empty.
    String,
    /// An array of one or more strings, such as the common fields `actions` and `locations` (RFC 9396 §2.2).
    Strings,
    /// A number.
    Number,
    /// `true` or `false`
    Boolean,
    /// An object, whatever is in it.
    Object,
    /// An array of one or more objects, whatever is in them.
    Objects,
}

/// One configured type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuthorizationDetailsType {
    /// The value of `type`.
    pub name: String,
    /// What people are shown instead of the name.
    pub description: Option<String>,
    /// The fields that have to be there, `type` not among them.
    pub required: BTreeMap<String, FieldKind>,
    /// The fields that may be there.
    pub optional: BTreeMap<String, FieldKind>,
}

/// The configured types. None of them means that `authorization_details` is never accepted.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AuthorizationDetailsTypes(BTreeMap<String, AuthorizationDetailsType>);

impl FieldKind {
    /// Every kind.
    pub const ALL: [Self; 6] = [
        Self::String,
        Self::Strings,
        Self::Number,
        Self::Boolean,
        Self::Object,
        Self::Objects,
    ];

    /// The name in the configuration.
    pub fn name(self) -> &'static str {
        match self {
            Self::String => "string",
            Self::Strings => "strings",
            Self::Number => "number",
            Self::Boolean => "boolean",
            Self::Object => "object",
            Self::Objects => "objects",
        }
    }

    /// The kind of a name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    fn holds(self, value: &JsonValue) -> bool {
        match (self, value) {
            (Self::String, JsonValue::String(text)) => !text.is_empty(),
            (Self::Strings, JsonValue::Array(values)) => {
                !values.is_empty() && values.iter().all(|value| Self::String.holds(value))
            }
            (Self::Number, JsonValue::Number(_))
            | (Self::Boolean, JsonValue::Bool(_))
            | (Self::Object, JsonValue::Object(_)) => true,
            (Self::Objects, JsonValue::Array(values)) => {
                !values.is_empty() && values.iter().all(|value| matches!(value, JsonValue::Object(_)))
            }
            _ => false,
        }
    }
}

impl fmt::Display for FieldKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

impl AuthorizationDetailsTypes {
    /// The types, by name; of two with the same name the later counts.
    pub fn new(types: impl IntoIterator<Item = AuthorizationDetailsType>) -> Self {
        Self(
            types
                .into_iter()
                .map(|configured| (configured.name.clone(), configured))
                .collect(),
        )
    }

    /// Their names, as metadata lists them (RFC 9396 §10).
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// The type of this name.
    pub fn get(&self, name: &str) -> Option<&AuthorizationDetailsType> {
        self.0.get(name)
    }

    /// Whether none is configured.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Decides whether each of `details` is of a configured type and has exactly the fields of it (RFC 9396 §5).
    ///
    /// `registered` are the types that the client said it would use; empty, any (§10 leaves it open).
    ///
    /// # Errors
    /// See [`AuthorizationDetailsError`].
    pub fn require(
        &self,
        details: &AuthorizationDetails,
        registered: &[String],
    ) -> Result<(), AuthorizationDetailsError> {
        for detail in details.iter() {
            self.require_type(detail, registered)?.require(detail)?;
        }
        Ok(())
    }

    /// Decides whether each of `details`, which were granted before, is of a type that is configured and that the client uses still. What
    /// fields they have was judged when they were asked for.
    ///
    /// # Errors
    /// [`AuthorizationDetailsError::TypeUnknown`], [`AuthorizationDetailsError::TypeNotRegistered`]
    pub fn require_types(
        &self,
        details: &AuthorizationDetails,
        registered: &[String],
    ) -> Result<(), AuthorizationDetailsError> {
        details
            .iter()
            .try_for_each(|detail| self.require_type(detail, registered).map(|_| ()))
    }

    /// Those of `details` that [`require_types`](Self::require_types) would let pass.
    #[must_use]
    pub fn of_permitted_types(&self, details: &AuthorizationDetails, registered: &[String]) -> AuthorizationDetails {
        let permitted = |detail: &&JsonObject| self.require_type(detail, registered).is_ok();
        AuthorizationDetails(details.iter().filter(permitted).cloned().collect())
    }

    fn require_type(
        &self,
        detail: &JsonObject,
        registered: &[String],
    ) -> Result<&AuthorizationDetailsType, AuthorizationDetailsError> {
        let name = detail_type(detail).ok_or(AuthorizationDetailsError::TypeMissing)?;
        let configured = self
            .0
            .get(name)
            .ok_or_else(|| AuthorizationDetailsError::TypeUnknown(name.to_owned()))?;
        if !registered.is_empty() && !registered.iter().any(|registered| registered == name) {
            return Err(AuthorizationDetailsError::TypeNotRegistered(name.to_owned()));
        }
        Ok(configured)
    }
}

impl AuthorizationDetailsType {
    fn require(&self, detail: &JsonObject) -> Result<(), AuthorizationDetailsError> {
        let detail_type = || self.name.clone();
        for (field, value) in detail.members().filter(|(field, _)| *field != "type") {
            let expected = self.required.get(field).or_else(|| self.optional.get(field));
            let field = || field.to_owned();
            match expected {
                None => {
                    return Err(AuthorizationDetailsError::FieldUnknown {
                        detail_type: detail_type(),
                        field: field(),
                    });
                }
                Some(expected) if !expected.holds(value) => {
                    return Err(AuthorizationDetailsError::FieldKind {
                        detail_type: detail_type(),
                        field: field(),
                        expected: *expected,
                    });
                }
                Some(_) => {}
            }
        }
        match self.required.keys().find(|field| !detail.contains(field)) {
            Some(field) => Err(AuthorizationDetailsError::FieldMissing {
                detail_type: detail_type(),
                field: field.clone(),
            }),
            None => Ok(()),
        }
    }
}
