//! How values that are texts go in and out of JSON: as their text, read as strictly as from anywhere else.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use serde::de::Error as _;

/// Implements `Serialize` by a text of the value, and `Deserialize` by its `FromStr`.
macro_rules! serde_as_text {
    ($type:ty, |$value:ident| $text:expr) => {
        impl serde::Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                let $value = self;
                serializer.serialize_str($text)
            }
        }

        impl<'de> serde::Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                crate::serde_as_text::read(deserializer)
            }
        }
    };
}

pub(crate) use serde_as_text;

/// Reads a text, and of it the value.
pub(crate) fn read<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: serde::Deserializer<'de>,
    T: FromStr,
    T::Err: fmt::Display,
{
    let text = <Cow<'de, str> as serde::Deserialize>::deserialize(deserializer)?;
    text.parse().map_err(D::Error::custom)
}
