//! Reading the string form of RFC 4514.
//!
//! Accepted beyond it: blanks around `,` `+` `=` and at both ends, which mean nothing. Not accepted, although older forms had them:
//! quoted values, `;` between RDNs, `/` between RDNs. Errors carry the position, for a caret.

use super::attribute_type::AttributeType;
use super::prepare::UncomparableText;
use super::value::AttributeValue;
use super::{Attribute, NAMES_MAX, RelativeDistinguishedName};

/// The longest string that is read, in octets.
const OCTETS_MAX: usize = 16 * 1024;

/// Why a string is not a distinguished name that something can equal.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
#[error("{problem} at character {}", self.character + 1)]
pub struct DistinguishedNameError {
    /// What is wrong.
    pub problem: DistinguishedNameProblem,
    /// Where, counted in characters from 0.
    pub character: usize,
}

/// What is wrong with a string that should be a distinguished name.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum DistinguishedNameProblem {
    /// Nothing, or nothing but blanks. An empty name would equal every certificate without a subject.
    #[error("the name is empty")]
    Empty,
    /// More than 16 KiB, or more than 256 attributes.
    #[error("the name is too long")]
    TooLong,
    /// A separator with nothing after it, or nothing where an attribute should be.
    #[error("an attribute such as CN=… is missing")]
    MissingAttribute,
    /// No `=` after an attribute type.
    #[error("`=` is missing after the attribute type")]
    MissingEquals,
    /// Neither a short name that is known nor a dotted object identifier.
    #[error("unknown attribute type {name:?} (a dotted object identifier is always accepted)")]
    UnknownType {
        /// As written.
        name: String,
    },
    /// A character that must be escaped in a value.
    #[error("{0:?} must be written with a backslash before it")]
    Unescaped(char),
    /// A backslash before something that is neither special nor two hexadecimal digits.
    #[error("a backslash must be followed by a special character or two hexadecimal digits")]
    BadEscape,
    /// `\XX` octets that are not UTF-8.
    #[error("the escaped octets are not UTF-8")]
    NotUtf8,
    /// `#` not followed by the BER of one value as pairs of hexadecimal digits.
    #[error("`#` must be followed by one BER value in pairs of hexadecimal digits")]
    BadHexadecimal,
    /// A value that can equal nothing.
    #[error("the value can never match: it has {0}")]
    Uncomparable(#[source] UncomparableText),
}

/// Reads the RDNs in the order of the string, which is the reverse of the ASN.1 order (RFC 4514 §2.1).
pub(super) fn parse(text: &str) -> Result<Vec<RelativeDistinguishedName>, DistinguishedNameError> {
    let mut reader = Reader {
        characters: text.chars().collect(),
        position: 0,
    };
    if text.len() > OCTETS_MAX {
        return Err(reader.error(DistinguishedNameProblem::TooLong));
    }
    reader.skip_blanks();
    if reader.peek().is_none() {
        return Err(reader.error(DistinguishedNameProblem::Empty));
    }
    let mut names = 0;
    let mut rdns = Vec::new();
    let mut attributes = Vec::new();
    loop {
        names += 1;
        if names > NAMES_MAX {
            return Err(reader.error(DistinguishedNameProblem::TooLong));
        }
        attributes.push(reader.attribute()?);
        match reader.take() {
            Some('+') => {}
            Some(',') => rdns.push(RelativeDistinguishedName {
                attributes: std::mem::take(&mut attributes),
            }),
            _ => {
                rdns.push(RelativeDistinguishedName { attributes });
                return Ok(rdns);
            }
        }
    }
}

struct Reader {
    characters: Vec<char>,
    position: usize,
}

impl Reader {
    fn peek(&self) -> Option<char> {
        self.characters.get(self.position).copied()
    }

    fn take(&mut self) -> Option<char> {
        let character = self.peek()?;
        self.position += 1;
        Some(character)
    }

    fn skip_blanks(&mut self) {
        while self.peek() == Some(' ') {
            self.position += 1;
        }
    }

    fn error(&self, problem: DistinguishedNameProblem) -> DistinguishedNameError {
        self.error_at(self.position, problem)
    }

    fn error_at(&self, character: usize, problem: DistinguishedNameProblem) -> DistinguishedNameError {
        DistinguishedNameError { problem, character }
    }

    /// One `type=value`, up to but without the separator that follows it.
    fn attribute(&mut self) -> Result<Attribute, DistinguishedNameError> {
        self.skip_blanks();
        let start = self.position;
        while self
            .peek()
            .is_some_and(|character| character.is_ascii_alphanumeric() || matches!(character, '-' | '.'))
        {
            self.position += 1;
        }
        let name: String = self.characters.iter().take(self.position).skip(start).collect();
        if name.is_empty() {
            return Err(self.error(DistinguishedNameProblem::MissingAttribute));
        }
        self.skip_blanks();
        if self.take() != Some('=') {
            return Err(self.error_at(
                self.position.saturating_sub(1).max(start),
                DistinguishedNameProblem::MissingEquals,
            ));
        }
        let Some(attribute_type) = AttributeType::from_text(&name) else {
            return Err(self.error_at(start, DistinguishedNameProblem::UnknownType { name }));
        };
        self.skip_blanks();
        let start = self.position;
        let value = if self.peek() == Some('#') {
            self.hexadecimal(&attribute_type)?
        } else {
            AttributeValue::from_text(&attribute_type, self.text()?)
        };
        if let Some(uncomparable) = value.uncomparable() {
            return Err(self.error_at(start, DistinguishedNameProblem::Uncomparable(uncomparable)));
        }
        Ok(Attribute { attribute_type, value })
    }

    /// `#` and the value's BER.
    fn hexadecimal(&mut self, attribute_type: &AttributeType) -> Result<AttributeValue, DistinguishedNameError> {
        let start = self.position;
        let bad = DistinguishedNameError {
            problem: DistinguishedNameProblem::BadHexadecimal,
            character: start,
        };
        self.position += 1;
        let mut octets = Vec::new();
        while let Some(octet) = self.hexadecimal_pair() {
            octets.push(octet);
        }
        self.skip_blanks();
        if !matches!(self.peek(), None | Some(',' | '+')) {
            return Err(bad);
        }
        AttributeValue::from_ber(attribute_type, &octets).ok_or(bad)
    }

    fn hexadecimal_pair(&mut self) -> Option<u8> {
        let high = self.characters.get(self.position)?.to_digit(16)?;
        let low = self.characters.get(self.position + 1)?.to_digit(16)?;
        self.position += 2;
        u8::try_from(high * 16 + low).ok()
    }

    /// A value written as text, without the blanks around it that nobody escaped.
    fn text(&mut self) -> Result<String, DistinguishedNameError> {
        let start = self.position;
        let mut octets: Vec<u8> = Vec::new();
        // How much stays when unescaped blanks at the end are taken off.
        let mut significant = 0;
        while let Some(character) = self.peek() {
            match character {
                ',' | '+' => break,
                '\\' => {
                    octets.extend(self.escape()?);
                    significant = octets.len();
                    continue;
                }
                '"' | ';' | '<' | '>' => return Err(self.error(DistinguishedNameProblem::Unescaped(character))),
                _ => {}
            }
            self.position += 1;
            octets.extend(character.encode_utf8(&mut [0; 4]).as_bytes());
            if character != ' ' {
                significant = octets.len();
            }
        }
        octets.truncate(significant);
        // Escaped octets are UTF-8 together with what surrounds them, so only the whole can be judged (RFC 4514 §2.4).
        String::from_utf8(octets).map_err(|_| self.error_at(start, DistinguishedNameProblem::NotUtf8))
    }

    /// A backslash and what it escapes: one octet.
    fn escape(&mut self) -> Result<Option<u8>, DistinguishedNameError> {
        let bad = self.error(DistinguishedNameProblem::BadEscape);
        self.position += 1;
        if let Some(octet) = self.hexadecimal_pair() {
            return Ok(Some(octet));
        }
        match self.take() {
            Some(special @ (' ' | '"' | '#' | '+' | ',' | ';' | '<' | '=' | '>' | '\\')) => {
                Ok(u8::try_from(special).ok())
            }
            _ => Err(bad),
        }
    }
}
