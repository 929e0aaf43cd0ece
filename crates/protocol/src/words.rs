//! How values that others chose stand in a sentence: in quotation marks, with whatever is not printable escaped, and "none" where there is none.

use std::fmt;

/// A text, or none.
pub fn one_or_none(text: &Option<String>) -> impl fmt::Display {
    fmt::from_fn(move |formatter| match text {
        Some(text) => write!(formatter, "{text:?}"),
        None => formatter.write_str("none"),
    })
}

/// All texts of a list, or none.
pub fn all_or_none(texts: &[String]) -> impl fmt::Display {
    fmt::from_fn(move |formatter| {
        let Some((first, more)) = texts.split_first() else {
            return formatter.write_str("none");
        };
        write!(formatter, "{first:?}")?;
        more.iter().try_for_each(|text| write!(formatter, ", {text:?}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_there_has_a_word_and_what_is_cannot_end_its_quotation() {
        assert_eq!(one_or_none(&None).to_string(), "none");
        assert_eq!(one_or_none(&Some("a\"b\n".to_owned())).to_string(), r#""a\"b\n""#);
        assert_eq!(all_or_none(&[]).to_string(), "none");
        let texts = ["a".to_owned(), "b".to_owned()];
        assert_eq!(all_or_none(&texts).to_string(), r#""a", "b""#);
    }
}
