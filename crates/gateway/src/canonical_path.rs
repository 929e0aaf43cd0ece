//! The one path: what policy decides about is what the upstream is asked for.
//!
//! A request path that two parsers could read as two different paths is refused, never repaired: whoever reads it
//! differently from us would serve a resource under the policy of another one. What remains is normalised in the one
//! way that no parser disagrees about (RFC 3986 §6.2.2: escapes of unreserved characters are decoded, the others are
//! written in capitals) and then both matched and forwarded.
//!
//! Not here: the query, which no policy reads; it is forwarded as it came. And what some upstreams do to letters, ignoring their
//! case, their accents or their width: nobody can tell which, so routes compare them as they are.

use std::borrow::Cow;

/// Why a request path is ambiguous.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// `*`, an authority, nothing at all.
    #[error("the request target is not a path")]
    NotAPath,
    /// `%2f`: a separator for some, a character for others.
    #[error("the path contains an encoded slash")]
    EncodedSlash,
    /// `\` or `%5c`: a separator on some systems.
    #[error("the path contains a backslash")]
    Backslash,
    /// `.` and `..`, also written `%2e`, also followed by blanks.
    #[error("the path contains a dot segment")]
    DotSegment,
    /// `//`.
    #[error("the path contains an empty segment")]
    EmptySegment,
    /// `;`: some servers cut the segment there.
    #[error("the path contains a path parameter")]
    Parameter,
    /// `%` without two hexadecimal digits.
    #[error("the path contains a malformed escape")]
    MalformedEscape,
    /// What is left after decoding once could be decoded again.
    #[error("the path is encoded twice")]
    DoubleEncoding,
    /// NUL, a line break, any other control character.
    #[error("the path contains a control character")]
    ControlCharacter,
    /// Decoded, it is not UTF-8, or is an overlong form of something else.
    #[error("the path is not UTF-8")]
    NotUtf8,
    /// A twin of a character that separates, escapes or stands alone as a dot segment: full-width, a fraction slash and the like.
    #[error("the path contains a look-alike of a separator")]
    LookAlike,
    /// `/admin.`, `/admin%20`, `/%20admin`: the same as `/admin` where file names are trimmed.
    #[error("the path contains a segment that ends in a dot or blank, or begins with a blank")]
    TrimmedSegment,
    /// A character that RFC 3986 does not let stand unescaped in a path.
    #[error("the path contains a character that must be escaped")]
    ForbiddenCharacter,
}

/// A path that every parser splits into the same segments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CanonicalPath<'a> {
    forwarded: Cow<'a, str>,
    matched: Cow<'a, str>,
}

impl<'a> CanonicalPath<'a> {
    /// Reads the path of a request target, without its query.
    ///
    /// # Errors
    /// What makes it ambiguous.
    pub(crate) fn parse(path: &'a str) -> Result<Self, PathError> {
        if !path.starts_with('/') {
            return Err(PathError::NotAPath);
        }
        if path.bytes().all(is_plain) {
            check_segments(path)?;
            return Ok(Self {
                forwarded: Cow::Borrowed(path),
                matched: Cow::Borrowed(path),
            });
        }
        let (forwarded, decoded) = decode(path)?;
        let matched = String::from_utf8(decoded).map_err(|_| PathError::NotUtf8)?;
        if matched.chars().any(is_look_alike) {
            return Err(PathError::LookAlike);
        }
        if holds_an_escape(matched.as_bytes()) {
            return Err(PathError::DoubleEncoding);
        }
        check_segments(&matched)?;
        Ok(Self {
            forwarded: Cow::Owned(forwarded),
            matched: Cow::Owned(matched),
        })
    }

    /// As the upstream is asked for it.
    pub(crate) fn forwarded(&self) -> &str {
        &self.forwarded
    }

    /// As routes are matched: the same segments, decoded.
    pub(crate) fn matched(&self) -> &str {
        &self.matched
    }

    /// Whether the path may be forwarded in the very bytes it came in.
    pub(crate) fn is_verbatim(&self) -> bool {
        matches!(self.forwarded, Cow::Borrowed(_))
    }
}

/// What may stand unescaped and means itself: `pchar` of RFC 3986 without `;`, and the separator.
const fn is_plain(byte: u8) -> bool {
    is_unreserved(byte)
        || matches!(
            byte,
            b'/' | b':' | b'@' | b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b',' | b'='
        )
}

const fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

fn check_segments(path: &str) -> Result<(), PathError> {
    let mut segments = path.split('/').skip(1).peekable();
    while let Some(segment) = segments.next() {
        // An empty last segment is a trailing slash, which every parser keeps.
        if segment.is_empty() && segments.peek().is_some() {
            return Err(PathError::EmptySegment);
        }
        // Some file systems drop trailing blanks and dots, so ".. " is ".." there.
        if segment.starts_with(['.', ' ']) && segment.contains('.') && segment.bytes().all(|b| matches!(b, b'.' | b' '))
        {
            return Err(PathError::DotSegment);
        }
        if segment.ends_with(is_trimmed) || segment.starts_with(char::is_whitespace) {
            return Err(PathError::TrimmedSegment);
        }
    }
    Ok(())
}

/// What some systems drop from the end of a name; the ellipsis counts where it becomes three dots first.
fn is_trimmed(character: char) -> bool {
    matches!(character, '.' | '\u{2026}') || character.is_whitespace()
}

/// The normalised text and the decoded octets.
fn decode(path: &str) -> Result<(String, Vec<u8>), PathError> {
    let mut forwarded = String::with_capacity(path.len());
    let mut decoded = Vec::with_capacity(path.len());
    let mut bytes = path.bytes();
    while let Some(byte) = bytes.next() {
        if is_plain(byte) {
            forwarded.push(char::from(byte));
            decoded.push(byte);
            continue;
        }
        if byte != b'%' {
            return Err(unescaped(byte));
        }
        let octet = match (bytes.next().and_then(hexadecimal), bytes.next().and_then(hexadecimal)) {
            (Some(high), Some(low)) => high << 4 | low,
            _ => return Err(PathError::MalformedEscape),
        };
        match octet {
            b'/' => return Err(PathError::EncodedSlash),
            b'\\' => return Err(PathError::Backslash),
            b';' => return Err(PathError::Parameter),
            0..=0x1f | 0x7f => return Err(PathError::ControlCharacter),
            _ if is_unreserved(octet) => forwarded.push(char::from(octet)),
            _ => {
                const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
                forwarded.push('%');
                forwarded.push(char::from(DIGITS[usize::from(octet >> 4)]));
                forwarded.push(char::from(DIGITS[usize::from(octet & 15)]));
            }
        }
        decoded.push(octet);
    }
    Ok((forwarded, decoded))
}

fn unescaped(byte: u8) -> PathError {
    match byte {
        b'\\' => PathError::Backslash,
        b';' => PathError::Parameter,
        0..=0x1f | 0x7f => PathError::ControlCharacter,
        _ => PathError::ForbiddenCharacter,
    }
}

fn hexadecimal(digit: u8) -> Option<u8> {
    char::from(digit)
        .to_digit(16)
        .and_then(|value| u8::try_from(value).ok())
}

/// Whether decoding a second time would find anything: `%252f`, but also `%25%32%66`.
fn holds_an_escape(decoded: &[u8]) -> bool {
    decoded
        .windows(3)
        .any(|three| three[0] == b'%' && three[1].is_ascii_hexdigit() && three[2].is_ascii_hexdigit())
}

/// Characters that compatibility normalisation, or a code page's best fit, turns into a separator, a dot or a percent sign.
const fn is_look_alike(character: char) -> bool {
    is_slash(character)
        || is_backslash(character)
        || matches!(
            character,
            // `.` and `..`
            '\u{ff0e}' | '\u{fe52}' | '\u{2024}' | '\u{2025}'
            // `%`
            | '\u{ff05}' | '\u{fe6a}'
            // `;`
            | '\u{ff1b}' | '\u{fe54}' | '\u{37e}'
        )
}

/// Full-width, fraction, division and big; and the four signs with one inside, such as `℅`.
const fn is_slash(character: char) -> bool {
    matches!(
        character,
        '\u{ff0f}' | '\u{2044}' | '\u{2215}' | '\u{29f8}' | '\u{2100}' | '\u{2101}' | '\u{2105}' | '\u{2106}'
    )
}

/// Full-width, small, set minus, operator and big.
const fn is_backslash(character: char) -> bool {
    matches!(
        character,
        '\u{ff3c}' | '\u{fe68}' | '\u{2216}' | '\u{29f5}' | '\u{29f9}'
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(path: &str, expected: Result<(&str, &str), PathError>) {
        let canonical = CanonicalPath::parse(path);
        let seen = canonical
            .as_ref()
            .map(|path| (path.forwarded(), path.matched()))
            .map_err(|error| *error);
        assert_eq!(seen, expected, "{path:?}");
    }

    #[test]
    fn refuses_what_two_parsers_read_differently() {
        for (path, reason) in [
            ("", PathError::NotAPath),
            ("*", PathError::NotAPath),
            ("admin", PathError::NotAPath),
            ("/a%2fb", PathError::EncodedSlash),
            ("/a%2Fb", PathError::EncodedSlash),
            ("/%2f", PathError::EncodedSlash),
            ("/a%5cb", PathError::Backslash),
            ("/a\\b", PathError::Backslash),
            ("/..", PathError::DotSegment),
            ("/../a", PathError::DotSegment),
            ("/a/..", PathError::DotSegment),
            ("/a/./b", PathError::DotSegment),
            ("/.", PathError::DotSegment),
            ("/a/%2e%2e/b", PathError::DotSegment),
            ("/a/.%2E/b", PathError::DotSegment),
            ("/a/%2e/b", PathError::DotSegment),
            ("/a/..%20/b", PathError::DotSegment),
            ("/a/.../b", PathError::DotSegment),
            ("//", PathError::EmptySegment),
            ("//a", PathError::EmptySegment),
            ("/a//b", PathError::EmptySegment),
            ("/a//", PathError::EmptySegment),
            ("/a;x=1/b", PathError::Parameter),
            ("/a/..;/b", PathError::Parameter),
            ("/a%3bx", PathError::Parameter),
            ("/a%3Bx", PathError::Parameter),
            ("/a%", PathError::MalformedEscape),
            ("/a%2", PathError::MalformedEscape),
            ("/a%zz", PathError::MalformedEscape),
            ("/a%u002f", PathError::MalformedEscape),
            ("/a%+2f", PathError::MalformedEscape),
            ("/a%252fb", PathError::DoubleEncoding),
            ("/a%252e%252e/b", PathError::DoubleEncoding),
            ("/a%25%32%66b", PathError::DoubleEncoding),
            ("/a%2541", PathError::DoubleEncoding),
            ("/a%00", PathError::ControlCharacter),
            ("/a%0d%0aX: y", PathError::ControlCharacter),
            ("/a%7f", PathError::ControlCharacter),
            ("/a\u{1}", PathError::ControlCharacter),
            ("/a%c0%af", PathError::NotUtf8),
            ("/a%c0%ae%c0%ae", PathError::NotUtf8),
            ("/a%ff", PathError::NotUtf8),
            ("/a%e0%80%af", PathError::NotUtf8),
            ("/a%ef%bc%8fb", PathError::LookAlike),
            ("/a/%e2%80%a5/b", PathError::LookAlike),
            ("/a%e2%81%84b", PathError::LookAlike),
            ("/a%e2%88%95b", PathError::LookAlike),
            ("/a%e2%a7%b8b", PathError::LookAlike),
            ("/a%E2%84%85b", PathError::LookAlike),
            ("/a%e2%84%80b", PathError::LookAlike),
            ("/a%e2%84%81b", PathError::LookAlike),
            ("/a%e2%84%86b", PathError::LookAlike),
            ("/a%e2%88%96b", PathError::LookAlike),
            ("/a%e2%a7%b5b", PathError::LookAlike),
            ("/a%e2%a7%b9b", PathError::LookAlike),
            ("/a%ef%b9%a8b", PathError::LookAlike),
            ("/a%ef%bc%bcb", PathError::LookAlike),
            ("/a%ef%b9%92b", PathError::LookAlike),
            ("/a%ef%b9%aa2fb", PathError::LookAlike),
            ("/a%ef%b9%94b", PathError::LookAlike),
            ("/a%cd%beb", PathError::LookAlike),
            ("/admin.", PathError::TrimmedSegment),
            ("/admin./x", PathError::TrimmedSegment),
            ("/admin..", PathError::TrimmedSegment),
            ("/admin%2e", PathError::TrimmedSegment),
            ("/admin%20", PathError::TrimmedSegment),
            ("/admin%20/", PathError::TrimmedSegment),
            ("/admin%20.", PathError::TrimmedSegment),
            ("/admin.%20", PathError::TrimmedSegment),
            ("/admin%c2%a0", PathError::TrimmedSegment),
            ("/admin%e3%80%80/x", PathError::TrimmedSegment),
            ("/admin%e2%80%a6", PathError::TrimmedSegment),
            ("/%20admin", PathError::TrimmedSegment),
            ("/a/%20b/c", PathError::TrimmedSegment),
            ("/%e2%80%83admin", PathError::TrimmedSegment),
            ("/%20", PathError::TrimmedSegment),
            ("/a/%20/b", PathError::TrimmedSegment),
            ("/a b", PathError::ForbiddenCharacter),
            ("/a\"b", PathError::ForbiddenCharacter),
            ("/a|b", PathError::ForbiddenCharacter),
            ("/ä", PathError::ForbiddenCharacter),
        ] {
            check(path, Err(reason));
        }
    }

    #[test]
    fn keeps_plain_paths_as_they_came() {
        for path in [
            "/",
            "/a",
            "/a/",
            "/a/b.c",
            "/~x/-_/!$&'()*+,=:@",
            "/.well-known/x",
            "/a..b",
            "/..a",
            "/Admin",
        ] {
            check(path, Ok((path, path)));
            assert!(CanonicalPath::parse(path).is_ok_and(|path| path.is_verbatim()));
        }
    }

    #[test]
    fn normalises_escapes_and_matches_what_they_mean() {
        for (path, forwarded, matched) in [
            ("/%61dmin", "/admin", "/admin"),
            ("/a%2eb", "/a.b", "/a.b"),
            ("/%7euser", "/~user", "/~user"),
            ("/a%2cb", "/a%2Cb", "/a,b"),
            ("/a%20b", "/a%20b", "/a b"),
            ("/a.%20b", "/a.%20b", "/a. b"),
            ("/%e2%80%a6a%e2%80%a6b", "/%E2%80%A6a%E2%80%A6b", "/…a…b"),
            ("/%c2%bd", "/%C2%BD", "/½"),
            ("/100%25", "/100%25", "/100%"),
            ("/%c3%a4", "/%C3%A4", "/ä"),
            ("/a%3fb", "/a%3Fb", "/a?b"),
        ] {
            check(path, Ok((forwarded, matched)));
        }
    }

    #[test]
    fn what_is_forwarded_reads_as_itself() {
        for path in ["/%61/%2c%20b/%c3%a4", "/a%2eb/", "/100%25"] {
            let once = CanonicalPath::parse(path).map(|path| path.forwarded().to_owned());
            let twice = once
                .clone()
                .and_then(|once| CanonicalPath::parse(&once).map(|path| path.forwarded().to_owned()));
            assert_eq!(once, twice);
        }
    }
}
