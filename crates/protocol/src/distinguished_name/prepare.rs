//! String preparation for comparing (RFC 4518, for `caseIgnoreMatch` of RFC 4517 §4.2.11).
//!
//! Two departures, both towards fewer matches. Control characters are not deleted: a string with one is never prepared, so that
//! `admin\0` cannot equal `admin`. Characters that are invisible without being controls (soft hyphen, joiners, variation selectors)
//! are kept instead of deleted: two strings that differ in one are different.

use stringprep::tables;
use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;

/// Why a string equals no other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UncomparableText {
    /// A control character, NUL among them.
    #[error("a control character (U+{:04X})", u32::from(*.0))]
    ControlCharacter(char),
    /// A code point that RFC 4518 §2.4 prohibits: unassigned in Unicode 3.2, private use, a replacement character, ….
    #[error("the character U+{:04X}, which RFC 4518 prohibits in comparisons", u32::from(*.0))]
    Prohibited(char),
    /// Nothing but blanks.
    #[error("nothing but blanks")]
    Blank,
}

/// Prepares a string so that two strings match exactly if the results are equal.
pub(super) fn prepare(text: &str) -> Result<String, UncomparableText> {
    if let Some(control) = text.chars().find(|character| character.is_control()) {
        return Err(UncomparableText::ControlCharacter(control));
    }
    // What nearly every name is made of maps to itself but for case.
    if text.is_ascii() {
        return without_insignificant_spaces(&text.to_ascii_lowercase());
    }
    // Map, then normalize (§2.2, §2.3). Table B.2 is made for NFKC to follow it.
    let folded = text.chars().map(space).flat_map(tables::case_fold_for_nfkc);
    let normalized: String = folded.nfkc().collect();
    if let Some(prohibited) = normalized.chars().find(|character| is_prohibited(*character)) {
        return Err(UncomparableText::Prohibited(prohibited));
    }
    if let Some(first) = normalized.chars().next().filter(|first| is_combining_mark(*first)) {
        return Err(UncomparableText::Prohibited(first));
    }
    without_insignificant_spaces(&normalized)
}

/// SPACE for every separator (Unicode general categories Zs, Zl and Zp; RFC 4518 §2.2).
fn space(character: char) -> char {
    if tables::x520_mapped_to_space(character) {
        ' '
    } else {
        character
    }
}

/// RFC 4518 §2.4.
fn is_prohibited(character: char) -> bool {
    tables::unassigned_code_point(character)
        || tables::private_use(character)
        || tables::non_character_code_point(character)
        || tables::change_display_properties_or_deprecated(character)
        || character == '\u{FFFD}'
}

/// Leading and trailing spaces away, inner runs one (§2.6.1). A space with a combining mark on it is no space.
fn without_insignificant_spaces(text: &str) -> Result<String, UncomparableText> {
    let mut result = String::with_capacity(text.len());
    let mut characters = text.chars().peekable();
    let mut pending_space = false;
    while let Some(character) = characters.next() {
        if character == ' ' && !characters.peek().is_some_and(|next| is_combining_mark(*next)) {
            pending_space = !result.is_empty();
            continue;
        }
        if pending_space {
            result.push(' ');
            pending_space = false;
        }
        result.push(character);
    }
    if result.is_empty() {
        Err(UncomparableText::Blank)
    } else {
        Ok(result)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: Result<&str, UncomparableText>) {
        assert_eq!(
            prepare(text).as_deref(),
            expected.as_ref().map(|text| *text),
            "{text:?}"
        );
    }

    #[test]
    fn folds_case_and_compatibility_forms() {
        check("Example PSP", Ok("example psp"));
        check("PRODUÇÃO", Ok("produção"));
        check("Produc\u{327}a\u{303}o", Ok("produção"));
        check("Straße", Ok("strasse"));
        check("ΣΊΣΥΦΟΣ", Ok("σίσυφοσ"));
        check("Ａｃｍｅ", Ok("acme"));
        check("ﬁn", Ok("fin"));
    }

    #[test]
    fn spaces_mean_nothing_at_the_ends_and_one_inside() {
        check("  My   Dept ", Ok("my dept"));
        check("My\u{a0}\u{3000}Dept", Ok("my dept"));
        check("a \u{301}b", Ok("a \u{301}b"));
        check("", Err(UncomparableText::Blank));
        check(" \u{a0} ", Err(UncomparableText::Blank));
    }

    #[test]
    fn what_cannot_be_seen_is_not_deleted() {
        check("ad\u{ad}min", Ok("ad\u{ad}min"));
        check("ad\u{200d}min", Ok("ad\u{200d}min"));
        check("admin\u{fe0f}", Ok("admin\u{fe0f}"));
    }

    #[test]
    fn refuses_what_has_no_meaning_in_a_comparison() {
        check("admin\0", Err(UncomparableText::ControlCharacter('\0')));
        check("a\tb", Err(UncomparableText::ControlCharacter('\t')));
        check("a\u{85}b", Err(UncomparableText::ControlCharacter('\u{85}')));
        check("a\u{7f}", Err(UncomparableText::ControlCharacter('\u{7f}')));
        check("a\u{fffd}", Err(UncomparableText::Prohibited('\u{fffd}')));
        check("a\u{e000}", Err(UncomparableText::Prohibited('\u{e000}')));
        check("a\u{202e}b", Err(UncomparableText::Prohibited('\u{202e}')));
        check("a\u{1f600}", Err(UncomparableText::Prohibited('\u{1f600}')));
        check("\u{301}a", Err(UncomparableText::Prohibited('\u{301}')));
    }
}
