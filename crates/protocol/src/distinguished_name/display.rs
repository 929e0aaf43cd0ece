//! Writing the canonical string form: RFC 4514 with the short names that are known.

use std::fmt;

use super::value::AttributeValue;
use super::{Attribute, DistinguishedName, RelativeDistinguishedName};

impl fmt::Display for DistinguishedName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        for rdn in self.rdns() {
            write!(f, "{separator}{rdn}")?;
            separator = ",";
        }
        Ok(())
    }
}

impl fmt::Debug for DistinguishedName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.to_string())
    }
}

impl fmt::Display for RelativeDistinguishedName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        for attribute in &self.attributes {
            write!(f, "{separator}{attribute}")?;
            separator = "+";
        }
        Ok(())
    }
}

impl fmt::Display for Attribute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}=", self.attribute_type)?;
        // Text only where the type has a name: the syntax of the others is unknown, so the value's own type must stay visible
        // (RFC 4514 §2.4).
        match (self.attribute_type.name(), self.value.text(), self.value.hexadecimal()) {
            (Some(_), Some(text), _) | (None, Some(text), None) => escaped(f, text),
            (_, _, Some(hexadecimal)) => f.write_str(&hexadecimal),
            (_, None, None) => Ok(()),
        }
    }
}

impl fmt::Display for AttributeValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.text(), self.hexadecimal()) {
            (Some(text), _) => escaped(f, text),
            (None, Some(hexadecimal)) => f.write_str(&hexadecimal),
            (None, None) => Ok(()),
        }
    }
}

/// Text with everything escaped that would mean something else, and every octet of what must not reach a terminal or a log.
fn escaped(f: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    let last = text.chars().count().saturating_sub(1);
    for (index, character) in text.chars().enumerate() {
        match character {
            '"' | '+' | ',' | ';' | '<' | '>' | '\\' => write!(f, "\\{character}")?,
            ' ' if index == 0 || index == last => f.write_str("\\ ")?,
            '#' if index == 0 => f.write_str("\\#")?,
            character if is_hidden(character) => {
                for octet in character.encode_utf8(&mut [0; 4]).bytes() {
                    write!(f, "\\{octet:02X}")?;
                }
            }
            character => write!(f, "{character}")?,
        }
    }
    Ok(())
}

/// Controls, separators other than SPACE, and characters that show nothing or turn the text around them.
fn is_hidden(character: char) -> bool {
    character.is_control()
        || (character != ' ' && stringprep::tables::x520_mapped_to_space(character))
        || stringprep::tables::commonly_mapped_to_nothing(character)
        || stringprep::tables::change_display_properties_or_deprecated(character)
        || matches!(character, '\u{061C}' | '\u{2061}'..='\u{2069}' | '\u{FFF9}'..='\u{FFFD}' | '\u{E0000}'..='\u{E0FFF}')
}
