//! Whether one authorization detail is a part of another.

use crate::json::{JsonObject, JsonValue};

/// Whether `requested` asks for no more than `granted` gives.
///
/// Both have the same fields, for a field left out may mean "all" as well as "none". A list of strings may be shorter; every other value
/// is the same: whether a smaller number is less only its type knows.
pub(super) fn is_within(requested: &JsonObject, granted: &JsonObject) -> bool {
    let has_same_fields = requested.names().eq(granted.names());
    has_same_fields
        && requested
            .members()
            .all(|(field, requested)| granted.get(field).is_some_and(|granted| is_part(requested, granted)))
}

fn is_part(requested: &JsonValue, granted: &JsonValue) -> bool {
    match (requested, granted) {
        // Never none of them: an empty list may mean "all" too.
        (JsonValue::Array(requested), JsonValue::Array(granted)) if are_strings(granted) && !requested.is_empty() => {
            requested.iter().all(|value| granted.contains(value))
        }
        (requested, granted) => requested == granted,
    }
}

fn are_strings(values: &[JsonValue]) -> bool {
    values.iter().all(|value| matches!(value, JsonValue::String(_)))
}
