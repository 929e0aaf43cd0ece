//! Entity tags and `If-Match` (RFC 9110 §13.1.1): nobody overwrites what somebody else has changed in the meantime.

use http::header::IF_MATCH;
use http::{HeaderMap, HeaderValue};

use super::problem::Problem;

/// The tag of a version.
pub(super) fn entity_tag(version: u64) -> HeaderValue {
    // Quotes and digits are always a header value.
    HeaderValue::try_from(format!("\"{version}\"")).unwrap_or(HeaderValue::from_static("\"\""))
}

/// The version that the caller read; `None` if it does not care.
///
/// # Errors
/// 412 for a tag that no version of ours ever had.
pub(super) fn if_match(headers: &HeaderMap) -> Result<Option<u64>, Problem> {
    let mut values = headers.get_all(IF_MATCH).iter();
    let (Some(value), None) = (values.next(), values.next()) else {
        return if headers.contains_key(IF_MATCH) {
            Err(Problem::precondition_failed())
        } else {
            Ok(None)
        };
    };
    match value.to_str().map(str::trim) {
        Ok("*") => Ok(None),
        Ok(tag) => {
            let digits = tag.strip_prefix('"').and_then(|tag| tag.strip_suffix('"'));
            let version = digits.filter(|digits| digits.bytes().all(|digit| digit.is_ascii_digit()));
            version
                .and_then(|digits| digits.parse().ok())
                .map(Some)
                .ok_or_else(Problem::precondition_failed)
        }
        Err(_) => Err(Problem::precondition_failed()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(value: &'static str) -> Option<Option<u64>> {
        let mut headers = HeaderMap::new();
        headers.insert(IF_MATCH, HeaderValue::from_static(value));
        if_match(&headers).ok()
    }

    #[test]
    fn only_our_own_strong_tags_match() {
        for value in ["7", "W/\"7\"", "\"7", "\"+7\"", "\"\"", "\"7\", \"8\"", "\"x\""] {
            assert_eq!(check(value), None, "{value}");
        }
        assert_eq!(check("\"7\""), Some(Some(7)));
        assert_eq!(check("*"), Some(None));
        assert_eq!(if_match(&HeaderMap::new()).ok(), Some(None));
    }
}
