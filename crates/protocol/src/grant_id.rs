//! The identifier of a grant: what a user allowed once, and what every token made of it carries in its `jti`.

use std::fmt;
use std::str::FromStr;

use crate::base64url;
use crate::serde_as_text::serde_as_text;

/// How many random octets a grant's identifier is made of.
pub const GRANT_ID_RANDOM_BYTES: usize = 16;
/// So many characters has its text.
const CHARS: usize = 22;

/// Names a grant: 22 characters of base64url.
///
/// Access tokens of a grant have `jti` = `{grant}.{22 more}`, so that one deny entry for the grant reaches every token of it,
/// however many refreshes made them. It is no secret: resource servers read it in every token.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GrantId(Box<str>);

/// The text is no grant's identifier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not 22 characters of base64url")]
pub struct InvalidGrantId;

impl GrantId {
    /// Makes an identifier of random octets.
    pub fn from_random(random: [u8; GRANT_ID_RANDOM_BYTES]) -> Self {
        Self(base64url::encode(&random).into())
    }

    /// The identifier's text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What the `jti` of each of its access tokens begins with; member `jti_prefix` of a deny entry.
    pub fn token_id_prefix(&self) -> String {
        format!("{}.", self.0)
    }

    /// The text of the grant's identifier in the `jti` of a token; `None` for a token that was not made of a grant.
    ///
    /// To look deny entries up by, in one step however many there are. A foreign `jti` may hold any text before its first dot;
    /// then there is no grant of that name.
    pub fn text_in(token_id: &str) -> Option<&str> {
        token_id.split_once('.').map(|(grant_id, _)| grant_id)
    }
}

impl fmt::Display for GrantId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl FromStr for GrantId {
    type Err = InvalidGrantId;

    fn from_str(text: &str) -> Result<Self, InvalidGrantId> {
        let is_one = text.len() == CHARS && base64url::decode(text).is_ok();
        is_one.then(|| Self(text.into())).ok_or(InvalidGrantId)
    }
}

serde_as_text!(GrantId, |value| &value.0);

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failing test panics")]

    use super::*;

    #[test]
    fn has_one_spelling() {
        let grant_id = GrantId::from_random([7; 16]);
        assert_eq!(grant_id.as_str().len(), CHARS);
        assert_eq!(grant_id.as_str().parse::<GrantId>().unwrap(), grant_id);
        let long = format!("{grant_id}A");
        for text in [
            "",
            "AAAAAAAAAAAAAAAAAAAAAB",
            "AAAAAAAAAAAAAAAAAAAAA=",
            "AAAAAAAAAAAAAAAAAAAA.A",
            long.as_str(),
        ] {
            assert_eq!(text.parse::<GrantId>(), Err(InvalidGrantId), "{text:?}");
        }
    }

    #[test]
    fn stands_before_the_dot_of_its_tokens() {
        let grant_id = GrantId::from_random([7; 16]);
        let token_id = format!("{}rest", grant_id.token_id_prefix());
        assert_eq!(GrantId::text_in(&token_id), Some(grant_id.as_str()));
        assert_eq!(GrantId::text_in("no-dot"), None);
        assert_eq!(GrantId::text_in(".rest"), Some(""));
    }
}
