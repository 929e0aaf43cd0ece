//! Text that a client chose, shown to a person: nothing in it may look like ours, turn what stands beside it, or be endless.
//!
//! Templates escape HTML; this removes what HTML has no word against. Templates put the result into `<bdi>`, so that a name written
//! from right to left stays in its place.

use keybound_protocol::client_metadata::description::is_invisible;

/// The longest name that is shown.
const NAME_CHARS_MAX: usize = 60;
/// Marks that may stand on one letter; more of them run over the lines above and below.
const MARKS_MAX: usize = 3;

/// One line of at most [`NAME_CHARS_MAX`] characters. `None` if nothing visible is left.
pub(crate) fn name(text: &str) -> Option<String> {
    line(text, NAME_CHARS_MAX)
}

/// One line of at most `chars_max` characters. `None` if nothing visible is left.
pub(crate) fn line(text: &str, chars_max: usize) -> Option<String> {
    let mut shown = String::new();
    let (mut chars, mut marks) = (0, 0);
    let mut gap = false;
    for character in text.chars() {
        if character.is_whitespace() {
            gap = true;
            continue;
        }
        if is_invisible(character) {
            continue;
        }
        marks = if is_mark(character) { marks + 1 } else { 0 };
        if marks > MARKS_MAX || (marks > 0 && shown.is_empty()) {
            continue;
        }
        if chars >= chars_max {
            shown.push('…');
            break;
        }
        if gap && !shown.is_empty() {
            shown.push(' ');
            chars += 1;
        }
        gap = false;
        shown.push(character);
        chars += 1;
    }
    (!shown.is_empty()).then_some(shown)
}

/// Two letters for a name, as people know them from pictures of persons.
pub(crate) fn initials(name: &str) -> String {
    let letters = name
        .split(|character: char| !character.is_alphanumeric())
        .filter_map(|word| word.chars().next())
        .filter(|letter| letter.is_alphanumeric());
    letters.take(2).flat_map(char::to_uppercase).take(2).collect()
}

fn is_mark(character: char) -> bool {
    matches!(
        character,
        '\u{300}'..='\u{36f}'
            | '\u{483}'..='\u{489}'
            | '\u{591}'..='\u{5bd}'
            | '\u{610}'..='\u{61a}'
            | '\u{64b}'..='\u{65f}'
            | '\u{e31}'
            | '\u{e34}'..='\u{e3a}'
            | '\u{e47}'..='\u{e4e}'
            | '\u{1ab0}'..='\u{1aff}'
            | '\u{1dc0}'..='\u{1dff}'
            | '\u{20d0}'..='\u{20ff}'
            | '\u{fe20}'..='\u{fe2f}'
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: Option<&str>) {
        assert_eq!(name(text).as_deref(), expected, "{text:?}");
    }

    #[test]
    fn ordinary_names_stay() {
        for text in ["Contas Claras", "Banco João & Söhne", "日本銀行", "بنك", "a <b> c"] {
            check(text, Some(text));
        }
    }

    #[test]
    fn what_turns_or_hides_is_gone() {
        check("safe\u{202e}evil", Some("safeevil"));
        check("a\u{2066}b\u{2069}c\u{200f}", Some("abc"));
        check("ze\u{200b}ro\u{feff}", Some("zero"));
        check("tag\u{e0041}\u{e007f}", Some("tag"));
        check("esc\u{1b}[31mred\u{9b}2J", Some("esc[31mred2J"));
        check("\u{202e}\u{200b} \t", None);
        check("\u{3164}\u{2800}", None);
    }

    #[test]
    fn lines_become_one_and_end() {
        check("  a\n\nb\t c ", Some("a b c"));
        let long = name(&"x".repeat(500)).unwrap_or_default();
        assert_eq!(long, "x".repeat(NAME_CHARS_MAX) + "…");
    }

    #[test]
    fn marks_do_not_pile_up() {
        let piled = format!("a{}b", "\u{301}".repeat(50));
        assert_eq!(name(&piled), Some(format!("a{}b", "\u{301}".repeat(MARKS_MAX))));
    }

    #[test]
    fn initials_are_two_letters_at_most() {
        for (name, expected) in [
            ("Contas Claras", "CC"),
            ("ledger-export", "LE"),
            ("x", "X"),
            ("<>", ""),
            ("ß a", "SS"),
        ] {
            assert_eq!(initials(name), expected, "{name}");
        }
    }
}
