//! Strict JSON (RFC 8259): duplicate members refused at any depth, depth bounded, nothing after the value.
//!
//! RFC 7519 §4 and RFC 7515 §4 let a parser keep the last of two equal members; then a checker and an issuer can read two
//! different tokens from the same octets. Here such a document has no value at all.
//!
//! Read [`JsonObject::parse`] first. There is no conversion to Rust types by derive on purpose: each member that decides
//! something is asked for by name, with its JSON type, and a wrong type is an error instead of "absent".

use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;

use serde::de::{DeserializeSeed, MapAccess, SeqAccess, Visitor};
use serde::ser::{Serialize, Serializer};

/// How many arrays and objects may be nested, the outermost included.
pub const JSON_DEPTH_MAX: usize = 32;

/// Why a document was not read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JsonError {
    /// Not JSON, not UTF-8, or something follows the value.
    #[error("not JSON at line {line}, column {column}")]
    Syntax {
        /// Counted from 1.
        line: usize,
        /// Counted from 1, in octets.
        column: usize,
    },
    /// The same member name twice in one object.
    #[error("member {0:?} occurs twice")]
    DuplicateMember(String),
    /// More than [`JSON_DEPTH_MAX`] levels.
    #[error("nested deeper than {JSON_DEPTH_MAX} levels")]
    TooDeep,
    /// A value of another type where an object was required.
    #[error("not a JSON object")]
    NotAnObject,
}

/// A member that is there but has another JSON type than its specification says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("member `{member}` is not {expected}")]
pub struct JsonTypeError {
    /// The member's name.
    pub member: &'static str,
    /// What it has to be, with its article.
    pub expected: &'static str,
}

/// A JSON value without duplicate members.
#[derive(Debug, Clone, PartialEq)]
pub enum JsonValue {
    /// `null`
    Null,
    /// `true` or `false`
    Bool(bool),
    /// A number as it was read; a fraction stays one.
    Number(serde_json::Number),
    /// A string, unescaped.
    String(String),
    /// An array.
    Array(Vec<JsonValue>),
    /// An object.
    Object(JsonObject),
}

/// A JSON object whose member names are distinct; their order is not kept.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct JsonObject(BTreeMap<String, JsonValue>);

impl JsonObject {
    /// Reads one JSON object and nothing else.
    ///
    /// # Errors
    /// See [`JsonError`].
    pub fn parse(json: &[u8]) -> Result<Self, JsonError> {
        match JsonValue::parse(json)? {
            JsonValue::Object(object) => Ok(object),
            _ => Err(JsonError::NotAnObject),
        }
    }

    /// The member of this name, whatever its type.
    pub fn get(&self, member: &str) -> Option<&JsonValue> {
        self.0.get(member)
    }

    /// Whether a member of this name is there, `null` included.
    pub fn contains(&self, member: &str) -> bool {
        self.0.contains_key(member)
    }

    /// The member names, in code point order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// The members, by their names in code point order.
    pub fn members(&self) -> impl Iterator<Item = (&str, &JsonValue)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value))
    }

    /// Whether there is no member.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The string of this name, `None` if the member is absent.
    ///
    /// # Errors
    /// [`JsonTypeError`] for any other type, `null` included.
    pub fn string(&self, member: &'static str) -> Result<Option<&str>, JsonTypeError> {
        match self.0.get(member) {
            None => Ok(None),
            Some(JsonValue::String(text)) => Ok(Some(text)),
            Some(_) => Err(JsonTypeError {
                member,
                expected: "a string",
            }),
        }
    }

    /// The boolean of this name, `None` if the member is absent.
    ///
    /// # Errors
    /// [`JsonTypeError`] for any other type: `"true"` and `1` are not `true`.
    pub fn boolean(&self, member: &'static str) -> Result<Option<bool>, JsonTypeError> {
        match self.0.get(member) {
            None => Ok(None),
            Some(JsonValue::Bool(value)) => Ok(Some(*value)),
            Some(_) => Err(JsonTypeError {
                member,
                expected: "a boolean",
            }),
        }
    }

    /// The strings of an array of strings, `None` if the member is absent.
    ///
    /// # Errors
    /// [`JsonTypeError`] for any other type, or an array that holds anything else.
    pub fn strings(&self, member: &'static str) -> Result<Option<Vec<&str>>, JsonTypeError> {
        let wrong = JsonTypeError {
            member,
            expected: "an array of strings",
        };
        match self.0.get(member) {
            None => Ok(None),
            Some(JsonValue::Array(values)) => values
                .iter()
                .map(|value| match value {
                    JsonValue::String(text) => Ok(text.as_str()),
                    _ => Err(wrong),
                })
                .collect::<Result<_, _>>()
                .map(Some),
            Some(_) => Err(wrong),
        }
    }

    /// The strings of a member that is either one string or an array of strings, as `aud` is (RFC 7519 §4.1.3).
    ///
    /// # Errors
    /// [`JsonTypeError`] for any other type.
    pub fn string_or_strings(&self, member: &'static str) -> Result<Option<Vec<&str>>, JsonTypeError> {
        match self.0.get(member) {
            Some(JsonValue::String(text)) => Ok(Some(vec![text])),
            _ => self.strings(member).map_err(|_| JsonTypeError {
                member,
                expected: "a string or an array of strings",
            }),
        }
    }

    /// The object of this name, `None` if the member is absent.
    ///
    /// # Errors
    /// [`JsonTypeError`] for any other type.
    pub fn object(&self, member: &'static str) -> Result<Option<&JsonObject>, JsonTypeError> {
        match self.0.get(member) {
            None => Ok(None),
            Some(JsonValue::Object(object)) => Ok(Some(object)),
            Some(_) => Err(JsonTypeError {
                member,
                expected: "an object",
            }),
        }
    }

    /// A NumericDate (RFC 7519 §2) in whole seconds, a fraction cut off downwards; `None` if the member is absent.
    ///
    /// # Errors
    /// [`JsonTypeError`] for any other type and for numbers beyond ±2^53, which no clock shows.
    pub fn numeric_date(&self, member: &'static str) -> Result<Option<i64>, JsonTypeError> {
        const SECONDS_MAX: f64 = 9_007_199_254_740_992.0;
        let wrong = JsonTypeError {
            member,
            expected: "a number of seconds",
        };
        match self.0.get(member) {
            None => Ok(None),
            Some(JsonValue::Number(number)) => match (number.as_i64(), number.as_f64()) {
                (Some(seconds), _) if seconds.unsigned_abs() <= SECONDS_MAX as u64 => Ok(Some(seconds)),
                (None, Some(seconds)) if seconds.abs() <= SECONDS_MAX => Ok(Some(seconds.floor() as i64)),
                _ => Err(wrong),
            },
            Some(_) => Err(wrong),
        }
    }

    /// The same object without the members of these names.
    #[must_use]
    pub fn without(mut self, names: &[&str]) -> Self {
        self.0.retain(|name, _| !names.contains(&name.as_str()));
        self
    }

    /// The same object with this member, in place of one of its name.
    #[must_use]
    pub fn with(mut self, member: &str, value: JsonValue) -> Self {
        self.0.insert(member.to_owned(), value);
        self
    }

    /// The same object with the members of `other`, in place of its own of the same names.
    #[must_use]
    pub fn overlaid_with(mut self, other: Self) -> Self {
        self.0.extend(other.0);
        self
    }

    /// The same object without its `null` members, which RFC 7592 §2.2 equates with absent ones.
    #[must_use]
    pub fn without_nulls(mut self) -> Self {
        self.0.retain(|_, value| *value != JsonValue::Null);
        self
    }
}

impl JsonValue {
    /// Reads one JSON value and nothing else.
    ///
    /// # Errors
    /// See [`JsonError`].
    pub fn parse(json: &[u8]) -> Result<Self, JsonError> {
        let offence = RefCell::new(None);
        let mut deserializer = serde_json::Deserializer::from_slice(json);
        let value = ValueSeed {
            levels_left: JSON_DEPTH_MAX,
            offence: &offence,
        }
        .deserialize(&mut deserializer)
        .and_then(|value| deserializer.end().map(|()| value));
        value.map_err(|error| {
            // An offence of ours travels beside the parser's error type, which can only carry text.
            offence.into_inner().unwrap_or_else(|| JsonError::Syntax {
                line: error.line(),
                column: error.column(),
            })
        })
    }
}

impl Serialize for JsonValue {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Null => serializer.serialize_unit(),
            Self::Bool(value) => serializer.serialize_bool(*value),
            Self::Number(number) => number.serialize(serializer),
            Self::String(text) => serializer.serialize_str(text),
            Self::Array(values) => serializer.collect_seq(values),
            Self::Object(object) => object.serialize(serializer),
        }
    }
}

impl Serialize for JsonObject {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(&self.0)
    }
}

/// For values that were stored; what arrives is read by [`JsonValue::parse`], whose errors say more.
impl<'de> serde::Deserialize<'de> for JsonValue {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let offence = RefCell::new(None);
        ValueSeed {
            levels_left: JSON_DEPTH_MAX,
            offence: &offence,
        }
        .deserialize(deserializer)
    }
}

impl<'de> serde::Deserialize<'de> for JsonObject {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match JsonValue::deserialize(deserializer)? {
            JsonValue::Object(object) => Ok(object),
            _ => Err(serde::de::Error::custom(JsonError::NotAnObject)),
        }
    }
}

/// Reads one value with `levels_left` levels of nesting to spend.
#[derive(Clone, Copy)]
struct ValueSeed<'a> {
    levels_left: usize,
    offence: &'a RefCell<Option<JsonError>>,
}

impl ValueSeed<'_> {
    /// The seed for what lies one level deeper.
    fn deeper<E: serde::de::Error>(self) -> Result<Self, E> {
        match self.levels_left.checked_sub(1) {
            Some(levels_left) => Ok(Self { levels_left, ..self }),
            None => Err(self.offend(JsonError::TooDeep)),
        }
    }

    fn offend<E: serde::de::Error>(self, error: JsonError) -> E {
        let text = error.to_string();
        *self.offence.borrow_mut() = Some(error);
        E::custom(text)
    }
}

impl<'de> DeserializeSeed<'de> for ValueSeed<'_> {
    type Value = JsonValue;

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<JsonValue, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for ValueSeed<'_> {
    type Value = JsonValue;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<JsonValue, E> {
        Ok(JsonValue::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<JsonValue, E> {
        Ok(JsonValue::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<JsonValue, E> {
        Ok(JsonValue::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<JsonValue, E> {
        Ok(JsonValue::Number(value.into()))
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<JsonValue, E> {
        serde_json::Number::from_f64(value)
            .map(JsonValue::Number)
            .ok_or_else(|| E::custom("not a finite number"))
    }

    fn visit_str<E>(self, value: &str) -> Result<JsonValue, E> {
        Ok(JsonValue::String(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<JsonValue, E> {
        Ok(JsonValue::String(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<JsonValue, A::Error> {
        let seed = self.deeper()?;
        let mut values = Vec::new();
        while let Some(value) = sequence.next_element_seed(seed)? {
            values.push(value);
        }
        Ok(JsonValue::Array(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<JsonValue, A::Error> {
        let seed = self.deeper()?;
        let mut members = BTreeMap::new();
        while let Some(name) = map.next_key::<Cow<'de, str>>()? {
            if members.contains_key(name.as_ref()) {
                return Err(self.offend(JsonError::DuplicateMember(name.into_owned())));
            }
            let value = map.next_value_seed(seed)?;
            members.insert(name.into_owned(), value);
        }
        Ok(JsonValue::Object(JsonObject(members)))
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failing test panics")]

    use super::*;

    fn nested(levels: usize) -> String {
        format!("{}{}", "[".repeat(levels), "]".repeat(levels))
    }

    #[test]
    fn refuses_a_duplicate_member_at_any_depth() {
        for (json, member) in [
            (r#"{"a":1,"a":1}"#, "a"),
            (r#"{"x":{"a":1,"b":2,"a":3}}"#, "a"),
            (r#"{"x":[0,{"iss":1,"i\u0073s":2}]}"#, "iss"),
        ] {
            assert_eq!(
                JsonValue::parse(json.as_bytes()),
                Err(JsonError::DuplicateMember(member.into())),
                "{json}"
            );
        }
        assert!(JsonValue::parse(br#"{"a":{"a":{"a":1}}}"#).is_ok());
    }

    #[test]
    fn depth_32_is_read_and_33_is_not() {
        assert!(JsonValue::parse(nested(JSON_DEPTH_MAX).as_bytes()).is_ok());
        assert_eq!(
            JsonValue::parse(nested(JSON_DEPTH_MAX + 1).as_bytes()),
            Err(JsonError::TooDeep)
        );
        assert_eq!(
            JsonValue::parse("[".repeat(200_000).as_bytes()),
            Err(JsonError::TooDeep)
        );
    }

    #[test]
    fn refuses_what_is_not_exactly_one_value() {
        for json in [
            "",
            " ",
            "{} {}",
            "{}x",
            "{'a':1}",
            "{a:1}",
            "[1,]",
            "\u{feff}{}",
            "nul",
            "01",
            "\"\\ud800\"",
            "// x\n{}",
        ] {
            assert!(
                matches!(JsonValue::parse(json.as_bytes()), Err(JsonError::Syntax { .. })),
                "{json:?}"
            );
        }
        assert!(matches!(JsonValue::parse(b"\"\xff\""), Err(JsonError::Syntax { .. })));
        assert_eq!(JsonObject::parse(b"[]"), Err(JsonError::NotAnObject));
    }

    #[test]
    fn a_wrong_type_is_not_absent() {
        let object = JsonObject::parse(br#"{"s":1,"b":"true","a":["x",1],"o":[],"n":"5","z":null}"#).unwrap();
        assert_eq!(
            object.string("s").unwrap_err().to_string(),
            "member `s` is not a string"
        );
        assert!(object.string("z").is_err());
        assert!(object.boolean("b").is_err());
        assert!(object.strings("a").is_err());
        assert!(object.string_or_strings("a").is_err());
        assert!(object.object("o").is_err());
        assert!(object.numeric_date("n").is_err());
        assert_eq!(object.string("missing"), Ok(None));
        assert!(!object.without_nulls().contains("z"));
    }

    #[test]
    fn numeric_dates_are_whole_seconds() {
        let object =
            JsonObject::parse(br#"{"a":12,"b":12.9,"c":-0.5,"d":1e30,"e":18446744073709551615,"f":1.7e9}"#).unwrap();
        assert_eq!(object.numeric_date("a"), Ok(Some(12)));
        assert_eq!(object.numeric_date("b"), Ok(Some(12)));
        assert_eq!(object.numeric_date("c"), Ok(Some(-1)));
        assert!(object.numeric_date("d").is_err());
        assert!(object.numeric_date("e").is_err());
        assert_eq!(object.numeric_date("f"), Ok(Some(1_700_000_000)));
    }

    #[test]
    fn prints_what_it_read() {
        let json = br#"{"a":[1,2.5,null,true],"b":{"c":"\u00e9\""}}"#;
        let value = JsonValue::parse(json).unwrap();
        let printed = serde_json::to_vec(&value).unwrap();
        assert_eq!(JsonValue::parse(&printed).unwrap(), value);
    }
}
