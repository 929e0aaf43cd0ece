//! The URL of a request as a DPoP proof names it: `htu` (RFC 9449 §4.2), in the one spelling by which two are compared.

use std::fmt;
use std::net::Ipv6Addr;
use std::str::FromStr;

/// The longest `htu` in octets that is read.
pub const HTTP_URI_BYTES_MAX: usize = 4 * 1024;

/// The target of a request, without query and fragment, normalised: two spellings of one target are equal, two targets never.
///
/// RFC 9449 §4.3 wants RFC 3986's syntax-based (§6.2.2) and scheme-based (§6.2.3) normalisation: case of scheme, host and
/// percent-encodings, encodings of what needs none, dot segments, the default port, the empty path. Nothing else is made equal: not
/// `%2F` and a slash, not two slashes and one, not two cases of a path.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct HttpUri(Box<str>);

/// Why a text is not the target of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HttpUriError {
    /// Longer than [`HTTP_URI_BYTES_MAX`].
    #[error("longer than {HTTP_URI_BYTES_MAX} octets")]
    TooLong,
    /// An octet that no URI has, or a `%` without two digits.
    #[error("not a URI")]
    Syntax,
    /// Neither `https` nor `http`, or a relative reference.
    #[error("not an https or http URL")]
    Scheme,
    /// No host, or user information, which has no place in the target of a request.
    #[error("not a host alone before the path")]
    Authority,
}

impl HttpUri {
    /// Reads a target. Query and fragment are left out, as §4.3 wants.
    ///
    /// # Errors
    /// See [`HttpUriError`].
    pub fn parse(text: &str) -> Result<HttpUri, HttpUriError> {
        if text.len() > HTTP_URI_BYTES_MAX {
            return Err(HttpUriError::TooLong);
        }
        if !text.bytes().all(is_uri_octet) {
            return Err(HttpUriError::Syntax);
        }
        let (scheme, rest) = text.split_once("://").ok_or(HttpUriError::Scheme)?;
        let (scheme, default_port) = match scheme {
            _ if scheme.eq_ignore_ascii_case("https") => ("https", 443),
            _ if scheme.eq_ignore_ascii_case("http") => ("http", 80),
            _ => return Err(HttpUriError::Scheme),
        };
        let target = rest.split(['?', '#']).next().unwrap_or_default();
        let (authority, path) = target.split_at(target.find('/').unwrap_or(target.len()));
        let authority = normal_authority(authority, default_port)?;
        let path = normal_path(path)?;
        Ok(HttpUri(format!("{scheme}://{authority}{path}").into()))
    }

    /// The target of a request for `path`, as it came over the wire, at `origin`: scheme and authority.
    ///
    /// # Errors
    /// See [`HttpUriError`].
    pub fn at(origin: &HttpOrigin, path: &str) -> Result<HttpUri, HttpUriError> {
        if path.len() > HTTP_URI_BYTES_MAX {
            return Err(HttpUriError::TooLong);
        }
        if !path.bytes().all(is_uri_octet) || path.contains(['?', '#']) || !(path.is_empty() || path.starts_with('/')) {
            return Err(HttpUriError::Syntax);
        }
        let mut text = String::with_capacity(origin.0.len() + path.len() + 1);
        text.push_str(&origin.0);
        text.push_str(&normal_path(path)?);
        Ok(HttpUri(text.into()))
    }

    /// The normalised text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for HttpUri {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// Scheme, host and port by which a server is known to its clients, normalised.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct HttpOrigin(Box<str>);

impl HttpOrigin {
    /// The origin of a URL, whatever its path.
    ///
    /// # Errors
    /// See [`HttpUriError`].
    pub fn of(url: &str) -> Result<HttpOrigin, HttpUriError> {
        let HttpUri(text) = HttpUri::parse(url)?;
        // Behind the scheme, a path begins with the first slash, and a normalised one always has one.
        let authority_at = text.find("://").map_or(0, |at| at + 3);
        let end = text
            .get(authority_at..)
            .and_then(|rest| rest.find('/'))
            .map_or(text.len(), |at| authority_at + at);
        Ok(HttpOrigin(text.get(..end).unwrap_or_default().into()))
    }

    /// The normalised text, without a slash at its end.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for HttpOrigin {
    type Err = HttpUriError;

    fn from_str(text: &str) -> Result<HttpOrigin, HttpUriError> {
        HttpOrigin::of(text)
    }
}

impl fmt::Display for HttpOrigin {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// `reserved`, `unreserved` and `%` (RFC 3986 §2): no blank, no control, no quote, no backslash, nothing beyond ASCII.
fn is_uri_octet(octet: u8) -> bool {
    is_unreserved(octet) || b":/?#[]@!$&'()*+,;=%".contains(&octet)
}

fn is_unreserved(octet: u8) -> bool {
    octet.is_ascii_alphanumeric() || b"-._~".contains(&octet)
}

fn normal_authority(authority: &str, default_port: u16) -> Result<String, HttpUriError> {
    let port_at = match authority.rfind(']') {
        Some(bracket) => bracket + 1,
        None => authority.find(':').unwrap_or(authority.len()),
    };
    let (host, port) = authority.split_at(port_at);
    let host = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        Some(literal) => {
            let address: Ipv6Addr = literal.parse().map_err(|_| HttpUriError::Authority)?;
            format!("[{address}]")
        }
        // A registered name could be percent-encoded; no server of ours has a name that is.
        None if !host.is_empty() && host.bytes().all(is_unreserved) => host.to_ascii_lowercase(),
        None => return Err(HttpUriError::Authority),
    };
    let port = match port.strip_prefix(':') {
        None if port.is_empty() => default_port,
        Some("") => default_port,
        Some(digits) if digits.bytes().all(|octet| octet.is_ascii_digit()) => {
            digits.parse().map_err(|_| HttpUriError::Authority)?
        }
        _ => return Err(HttpUriError::Authority),
    };
    Ok(if port == default_port {
        host
    } else {
        format!("{host}:{port}")
    })
}

/// The path with its percent-encodings in their one form and without dot segments; `/` for none.
fn normal_path(path: &str) -> Result<String, HttpUriError> {
    let decoded = normal_encodings(path)?;
    let mut segments: Vec<&str> = Vec::new();
    // The part before the first slash is empty.
    let mut rest = decoded.split('/').skip(1).peekable();
    while let Some(segment) = rest.next() {
        let is_last = rest.peek().is_none();
        match segment {
            "." | ".." => {
                if segment == ".." {
                    segments.pop();
                }
                // A dot segment at the end leaves the slash before it (RFC 3986 §5.2.4).
                if is_last {
                    segments.push("");
                }
            }
            segment => segments.push(segment),
        }
    }
    Ok(format!("/{}", segments.join("/")))
}

fn normal_encodings(path: &str) -> Result<String, HttpUriError> {
    let mut parts = path.split('%');
    let mut normal = String::with_capacity(path.len());
    normal.push_str(parts.next().unwrap_or_default());
    for part in parts {
        let digits = part.get(..2).ok_or(HttpUriError::Syntax)?;
        // `from_str_radix` would take a sign for a digit.
        if !digits.bytes().all(|octet| octet.is_ascii_hexdigit()) {
            return Err(HttpUriError::Syntax);
        }
        let octet = u8::from_str_radix(digits, 16).map_err(|_| HttpUriError::Syntax)?;
        if is_unreserved(octet) {
            normal.push(char::from(octet));
        } else {
            normal.push('%');
            normal.push_str(&digits.to_ascii_uppercase());
        }
        normal.push_str(part.get(2..).unwrap_or_default());
    }
    Ok(normal)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: Result<&str, HttpUriError>) {
        let parsed = HttpUri::parse(text);
        assert_eq!(
            parsed.as_ref().map(HttpUri::as_str).map_err(|error| *error),
            expected,
            "{text:?}"
        );
        if let Ok(uri) = parsed {
            assert_eq!(HttpUri::parse(uri.as_str()), Ok(uri), "{text:?}");
        }
    }

    #[test]
    fn spellings_of_one_target_become_one() {
        for text in [
            "https://server.example.com/a/b",
            "HTTPS://Server.Example.COM/a/b",
            "https://server.example.com:443/a/b",
            "https://server.example.com:/a/b",
            "https://server.example.com:0443/a/b",
            "https://server.example.com/a/b?c=d",
            "https://server.example.com/a/b#e/f",
            "https://server.example.com/a/b?#",
            "https://server.example.com/%61/%62",
            "https://server.example.com/a/./b",
            "https://server.example.com/a/c/../b",
            "https://server.example.com/../a/%2e%2E/a/b",
        ] {
            check(text, Ok("https://server.example.com/a/b"));
        }
        for text in [
            "https://h.example",
            "https://h.example/",
            "https://h.example?q",
            "https://h.example/.",
        ] {
            check(text, Ok("https://h.example/"));
        }
        check("http://h.example:80/a", Ok("http://h.example/a"));
        check("https://[::1]:8443/a", Ok("https://[::1]:8443/a"));
        check("https://[0:0:0:0:0:0:0:1]/a", Ok("https://[::1]/a"));
        check("https://h.example/%c3%a9%2f", Ok("https://h.example/%C3%A9%2F"));
        check("https://h.example/a/b/..", Ok("https://h.example/a/"));
    }

    #[test]
    fn other_targets_stay_others() {
        for text in [
            "http://h.example/a",
            "https://h.example:8443/a",
            "https://h.example./a",
            "https://h.example/A",
            "https://h.example/a/",
            "https://h.example//a",
            "https://h.example/%2Fa",
            "https://h.example/%2561",
            "https://h.example/a;b",
            "https://x.h.example/a",
        ] {
            assert_ne!(HttpUri::parse(text), HttpUri::parse("https://h.example/a"), "{text}");
        }
    }

    #[test]
    fn what_is_no_target_is_refused() {
        for text in [
            "https://h.example/a b",
            " https://h.example/a",
            "https://h.example/a\n",
            "https://h.example\\a",
            "https://h.example/\u{e9}",
            "https://h\u{e9}.example/",
            "https://h.example/%",
            "https://h.example/%4",
            "https://h.example/%4g",
            "https://h.example/%+1",
            "https://h.example/\"",
        ] {
            check(text, Err(HttpUriError::Syntax));
        }
        for text in [
            "",
            "/a",
            "//h.example/a",
            "h.example/a",
            "ftp://h.example/a",
            "https:h.example/a",
            "https:/h.example/a",
        ] {
            check(text, Err(HttpUriError::Scheme));
        }
        for text in [
            "https://",
            "https:///a",
            "https://user@h.example/a",
            "https://h.example:99999/a",
            "https://h.example:x/a",
            "https://h.example:4:4/a",
            "https://%68.example/a",
            "https://[::g]/a",
            "https://[::1/a",
            "https://[::1]x/a",
            "https://:443/a",
        ] {
            check(text, Err(HttpUriError::Authority));
        }
        check(
            &format!("https://h.example/{}", "a".repeat(HTTP_URI_BYTES_MAX)),
            Err(HttpUriError::TooLong),
        );
    }

    #[test]
    fn a_request_for_a_path_at_an_origin_is_what_a_proof_names() {
        for origin in [
            "https://Api.example:443",
            "https://api.example/below?x",
            "https://api.example",
        ] {
            let Ok(origin) = HttpOrigin::of(origin) else {
                unreachable!("{origin} has an origin")
            };
            assert_eq!(origin.as_str(), "https://api.example");
            assert_eq!(
                HttpUri::at(&origin, "/a/%62"),
                HttpUri::parse("https://api.example/a/b")
            );
            assert_eq!(HttpUri::at(&origin, ""), HttpUri::parse("https://api.example"));
            for path in ["a", "*", "/a?b", "/a#b", "/a b"] {
                assert_eq!(HttpUri::at(&origin, path), Err(HttpUriError::Syntax), "{path}");
            }
        }
        assert!(HttpOrigin::of("urn:example").is_err());
    }
}
