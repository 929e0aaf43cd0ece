//! Scope: a set of case-sensitive words (RFC 6749 §3.3), and the words that are reserved for administration.

use std::fmt;
use std::str::FromStr;

use crate::serde_as_text::serde_as_text;

/// Scope values that begin with this are ours: granted by `client_credentials` only, to clients from configuration files
/// or made by an administrator.
pub const RESERVED_SCOPE_PREFIX: &str = "keybound:";
/// Permits the admin API.
pub const ADMIN_SCOPE: &str = "keybound:admin";
/// Permits following revocations.
pub const REVOCATIONS_SCOPE: &str = "keybound:revocations";
/// The most words one scope may have.
pub const SCOPE_WORDS_MAX: usize = 100;
/// The longest scope in octets.
pub const SCOPE_BYTES_MAX: usize = 4096;

/// Why a text is not a scope.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ScopeError {
    /// Not words of %x21 / %x23-5B / %x5D-7E with exactly one space between two of them.
    #[error("the scope is not a list of words separated by single spaces")]
    Syntax,
    /// More than [`SCOPE_WORDS_MAX`] words or [`SCOPE_BYTES_MAX`] octets.
    #[error("the scope has more than {SCOPE_WORDS_MAX} words or {SCOPE_BYTES_MAX} octets")]
    TooLong,
}

/// A set of scope values. The order of first mention is kept for display; equality ignores it.
///
/// The text never needs escaping in JSON or in a quoted string: neither `"` nor `\` is in its alphabet.
#[derive(Debug, Clone, Default)]
pub struct Scope(Box<str>);

impl Scope {
    /// The scope without any value.
    pub fn empty() -> Self {
        Self::default()
    }

    /// Reads a scope as it stands in a request, a registration or a token; a word said twice counts once.
    ///
    /// # Errors
    /// See [`ScopeError`]. The empty text is the empty scope.
    pub fn parse(text: &str) -> Result<Self, ScopeError> {
        if text.len() > SCOPE_BYTES_MAX {
            return Err(ScopeError::TooLong);
        }
        if text.is_empty() {
            return Ok(Self::empty());
        }
        let mut words: Vec<&str> = Vec::new();
        for word in text.split(' ') {
            if word.is_empty()
                || !word
                    .bytes()
                    .all(|octet| matches!(octet, 0x21 | 0x23..=0x5b | 0x5d..=0x7e))
            {
                return Err(ScopeError::Syntax);
            }
            if !words.contains(&word) {
                if words.len() == SCOPE_WORDS_MAX {
                    return Err(ScopeError::TooLong);
                }
                words.push(word);
            }
        }
        Ok(Self(words.join(" ").into()))
    }

    /// The words with single spaces between them.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The words, in order of first mention.
    pub fn words(&self) -> impl Iterator<Item = &str> {
        self.0.split(' ').filter(|word| !word.is_empty())
    }

    /// Whether no word is in it.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether `word` is in it, compared octet for octet.
    pub fn contains(&self, word: &str) -> bool {
        self.words().any(|own| own == word)
    }

    /// Whether every word of this scope is also in `other`.
    pub fn is_subset_of(&self, other: &Self) -> bool {
        self.words().all(|word| other.contains(word))
    }

    /// The words that are also in `other`, in this scope's order.
    #[must_use]
    pub fn intersection(&self, other: &Self) -> Self {
        let words: Vec<&str> = self.words().filter(|word| other.contains(word)).collect();
        Self(words.join(" ").into())
    }

    /// Whether a word is reserved for administration (`keybound:…`).
    pub fn has_reserved(&self) -> bool {
        self.words().any(|word| word.starts_with(RESERVED_SCOPE_PREFIX))
    }

    /// The same scope without its reserved words: what a client gets that asked for nothing in particular.
    #[must_use]
    pub fn without_reserved(&self) -> Self {
        let words: Vec<&str> = self
            .words()
            .filter(|word| !word.starts_with(RESERVED_SCOPE_PREFIX))
            .collect();
        Self(words.join(" ").into())
    }
}

impl PartialEq for Scope {
    fn eq(&self, other: &Self) -> bool {
        self.is_subset_of(other) && other.is_subset_of(self)
    }
}

impl Eq for Scope {}

impl fmt::Display for Scope {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl FromStr for Scope {
    type Err = ScopeError;

    fn from_str(text: &str) -> Result<Self, ScopeError> {
        Self::parse(text)
    }
}

serde_as_text!(Scope, |value| &value.0);

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failing test panics")]

    use super::*;

    #[test]
    fn refuses_what_rfc_6749_does_not_spell_so() {
        for text in [" a", "a ", "a  b", "a\tb", "a\nb", "a\"b", "a\\b", "é", "a\u{0}"] {
            assert_eq!(Scope::parse(text), Err(ScopeError::Syntax), "{text:?}");
        }
    }

    #[test]
    fn is_a_set_that_keeps_its_order_of_mention() {
        let scope = Scope::parse("write read write").unwrap();
        assert_eq!(scope.as_str(), "write read");
        assert_eq!(scope, Scope::parse("read write").unwrap());
        assert_ne!(scope, Scope::parse("read Write").unwrap());
        assert!(Scope::empty().is_subset_of(&scope));
        assert!(!scope.is_subset_of(&Scope::empty()));
        assert!(Scope::parse("read").unwrap().is_subset_of(&scope));
        assert!(!scope.contains("rea"));
        assert!(!scope.contains(""));
    }

    #[test]
    fn is_bounded() {
        let words = |count: usize| (0..count).map(|n| n.to_string()).collect::<Vec<_>>().join(" ");
        assert!(Scope::parse(&words(SCOPE_WORDS_MAX)).is_ok());
        assert_eq!(Scope::parse(&words(SCOPE_WORDS_MAX + 1)), Err(ScopeError::TooLong));
        assert!(Scope::parse(&"a".repeat(SCOPE_BYTES_MAX)).is_ok());
        assert_eq!(Scope::parse(&"a".repeat(SCOPE_BYTES_MAX + 1)), Err(ScopeError::TooLong));
    }

    #[test]
    fn keeps_what_another_has_too() {
        let of = |text| Scope::parse(text).unwrap();
        assert_eq!(of("c b a").intersection(&of("a c d")).as_str(), "c a");
        assert!(of("a").intersection(&of("b")).is_empty());
    }

    #[test]
    fn knows_reserved_words() {
        assert!(Scope::parse("a keybound:x").unwrap().has_reserved());
        assert!(!Scope::parse("a Keybound:x keyboundx").unwrap().has_reserved());
        assert_eq!(
            Scope::parse("keybound:admin a").unwrap().without_reserved().as_str(),
            "a"
        );
    }
}
