//! Registered URIs, and the normalisation of RFC 5280 §7.4 by RFC 3986 §6.2.2 and §6.2.3.
//!
//! Not the URL parser of browsers: that one repairs what it reads (backslashes, blanks, missing slashes), and two names that need a
//! repair to be equal are not equal.

use std::fmt;
use std::str::FromStr;

/// A URI to be found in a certificate, normalised.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct UriName(String);

/// Why a text is not a URI that a certificate can be expected to carry.
#[derive(Clone, Copy, Debug, thiserror::Error, PartialEq, Eq)]
pub enum UriNameError {
    /// Only absolute URIs name something by themselves (RFC 5280 §4.2.1.6).
    #[error("the URI has no scheme")]
    NoScheme,
    /// Nothing after the scheme.
    #[error("the URI has nothing after its scheme")]
    Empty,
    /// A character that no URI has: a blank, a control, a quote, a bracket, anything that is not ASCII.
    #[error("the URI has a character that must be percent-encoded")]
    BadCharacter,
    /// `%` without two hexadecimal digits.
    #[error("the URI has a percent sign without two hexadecimal digits after it")]
    BadPercentEncoding,
    /// The host or the port is not one.
    #[error("the URI has a host or port that is not one")]
    BadAuthority,
}

impl UriName {
    /// Whether `presented`, a `uniformResourceIdentifier` of a certificate, is this URI after normalisation of both; what cannot be
    /// normalised matches nothing.
    pub fn matches(&self, presented: &str) -> bool {
        // Nearly always the spelling is the same, but it must also be one that has a normal form.
        normalize(presented).is_ok_and(|presented| presented == self.0)
    }

    /// The URI in its normal form.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for UriName {
    type Err = UriNameError;

    fn from_str(text: &str) -> Result<UriName, UriNameError> {
        normalize(text).map(UriName)
    }
}

impl fmt::Display for UriName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The normal form: scheme and host in lower case, percent-encoding only where needed and in upper case, no dot segments; for http and
/// https also no default port and no empty path. Everything else is kept, in its case.
fn normalize(uri: &str) -> Result<String, UriNameError> {
    let (scheme, rest) = uri.split_once(':').ok_or(UriNameError::NoScheme)?;
    let scheme_octet = |octet: u8| octet.is_ascii_alphanumeric() || matches!(octet, b'+' | b'-' | b'.');
    if !scheme.starts_with(|first: char| first.is_ascii_alphabetic()) || !scheme.bytes().all(scheme_octet) {
        return Err(UriNameError::NoScheme);
    }
    let scheme = scheme.to_ascii_lowercase();
    if rest.is_empty() {
        return Err(UriNameError::Empty);
    }
    let (rest, fragment) = split_at(rest, '#');
    let (rest, query) = split_at(rest, '?');
    let (authority, path) = match rest.strip_prefix("//") {
        Some(rest) => {
            let end = rest.find('/').unwrap_or(rest.len());
            let (authority, path) = rest.split_at(end);
            (Some(normalize_authority(authority, &scheme)?), path)
        }
        None => (None, rest),
    };
    let mut path = percent(path, |octet| is_pchar(octet) || octet == b'/')?;
    if path.starts_with('/') {
        path = without_dot_segments(&path);
        // Without an authority, `/..//x` would become `//x`, which is one (RFC 3986 §3.3).
        if authority.is_none() && path.starts_with("//") {
            return Err(UriNameError::BadAuthority);
        }
    }
    if path.is_empty() && authority.is_some() && is_http(&scheme) {
        path.push('/');
    }
    let mut normal = format!("{scheme}:");
    if let Some(authority) = authority {
        normal.push_str("//");
        normal.push_str(&authority);
    }
    normal.push_str(&path);
    for (mark, part) in [('?', query), ('#', fragment)] {
        if let Some(part) = part {
            normal.push(mark);
            normal.push_str(&percent(part, |octet| is_pchar(octet) || matches!(octet, b'/' | b'?'))?);
        }
    }
    Ok(normal)
}

fn is_http(scheme: &str) -> bool {
    matches!(scheme, "http" | "https")
}

fn split_at(text: &str, mark: char) -> (&str, Option<&str>) {
    match text.split_once(mark) {
        Some((before, after)) => (before, Some(after)),
        None => (text, None),
    }
}

fn normalize_authority(authority: &str, scheme: &str) -> Result<String, UriNameError> {
    let (user, host_and_port) = match authority.rsplit_once('@') {
        Some((user, rest)) => (Some(user), rest),
        None => (None, authority),
    };
    let (host, port) = match host_and_port.strip_prefix('[') {
        Some(literal) => {
            let (literal, after) = literal.split_once(']').ok_or(UriNameError::BadAuthority)?;
            let address: std::net::Ipv6Addr = literal.parse().map_err(|_| UriNameError::BadAuthority)?;
            let port = match after {
                "" => None,
                after => Some(after.strip_prefix(':').ok_or(UriNameError::BadAuthority)?),
            };
            (format!("[{address}]"), port)
        }
        None => {
            let (host, port) = split_at(host_and_port, ':');
            let host = percent(host, |octet| is_unreserved(octet) || is_sub_delimiter(octet))?;
            (lower_case(&host), port)
        }
    };
    let mut normal = String::new();
    if let Some(user) = user {
        normal.push_str(&percent(user, |octet| {
            is_unreserved(octet) || is_sub_delimiter(octet) || octet == b':'
        })?);
        normal.push('@');
    }
    if host.is_empty() && is_http(scheme) {
        return Err(UriNameError::BadAuthority);
    }
    normal.push_str(&host);
    match port {
        None => {}
        Some(port) if !port.bytes().all(|octet| octet.is_ascii_digit()) => return Err(UriNameError::BadAuthority),
        Some("") if is_http(scheme) => {}
        Some("80") if scheme == "http" => {}
        Some("443") if scheme == "https" => {}
        Some(port) => {
            normal.push(':');
            normal.push_str(port);
        }
    }
    Ok(normal)
}

/// A host in lower case, but for the digits of percent-encoding, which are in upper case.
fn lower_case(host: &str) -> String {
    let mut digits_left = 0;
    let lower = |character: char| {
        if character == '%' {
            digits_left = 2;
            return character;
        }
        if digits_left > 0 {
            digits_left -= 1;
            return character;
        }
        character.to_ascii_lowercase()
    };
    host.chars().map(lower).collect()
}

/// A component with its percent-encoding normalised (RFC 3986 §6.2.2.2); only `allowed` octets may stand unencoded.
fn percent(component: &str, allowed: impl Fn(u8) -> bool) -> Result<String, UriNameError> {
    let mut normal = String::with_capacity(component.len());
    let mut characters = component.chars();
    while let Some(character) = characters.next() {
        if character == '%' {
            let mut digit = || characters.next().and_then(|digit| digit.to_digit(16));
            let (Some(high), Some(low)) = (digit(), digit()) else {
                return Err(UriNameError::BadPercentEncoding);
            };
            match u8::try_from(high * 16 + low) {
                Ok(octet) if is_unreserved(octet) => normal.push(char::from(octet)),
                octet => {
                    let octet = octet.map_err(|_| UriNameError::BadPercentEncoding)?;
                    normal.push_str(&format!("%{octet:02X}"));
                }
            }
            continue;
        }
        match u8::try_from(character) {
            Ok(octet) if allowed(octet) => normal.push(character),
            _ => return Err(UriNameError::BadCharacter),
        }
    }
    Ok(normal)
}

fn is_unreserved(octet: u8) -> bool {
    octet.is_ascii_alphanumeric() || matches!(octet, b'-' | b'.' | b'_' | b'~')
}

fn is_sub_delimiter(octet: u8) -> bool {
    matches!(
        octet,
        b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b',' | b';' | b'='
    )
}

fn is_pchar(octet: u8) -> bool {
    is_unreserved(octet) || is_sub_delimiter(octet) || matches!(octet, b':' | b'@')
}

/// RFC 3986 §5.2.4, for a path that begins with a slash.
fn without_dot_segments(path: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    let mut segments = path.split('/').skip(1).peekable();
    while let Some(segment) = segments.next() {
        let last = segments.peek().is_none();
        match segment {
            "." | ".." => {
                if segment == ".." {
                    kept.pop();
                }
                if last {
                    kept.push("");
                }
            }
            segment => kept.push(segment),
        }
    }
    let mut normal = String::with_capacity(path.len());
    for segment in kept {
        normal.push('/');
        normal.push_str(segment);
    }
    normal
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(uri: &str, expected: Result<&str, UriNameError>) {
        assert_eq!(normalize(uri).as_deref(), expected.as_ref().map(|uri| *uri), "{uri}");
    }

    #[test]
    fn normalizes_what_rfc_5280_names() {
        check("SPIFFE://Example.ORG/Workload/A", Ok("spiffe://example.org/Workload/A"));
        check("https://a/b%7Ec%2fd%3A", Ok("https://a/b~c%2Fd%3A"));
        check("https://a/b/../c/./d", Ok("https://a/c/d"));
        check("https://a/b/%2e%2E/c", Ok("https://a/c"));
        check("https://a/../../b/..", Ok("https://a/"));
        check("https://a", Ok("https://a/"));
        check("https://a:443/", Ok("https://a/"));
        check("https://a:/", Ok("https://a/"));
        check("https://a:80/", Ok("https://a:80/"));
        check("spiffe://a:443", Ok("spiffe://a:443"));
        check("spiffe://a", Ok("spiffe://a"));
        check("https://U:P@A/", Ok("https://U:P@a/"));
        check("https://[2001:DB8:0::1]:8443/x", Ok("https://[2001:db8::1]:8443/x"));
        check("https://A%2dB%fFc/", Ok("https://a-b%FFc/"));
        check("urn:Example:a/../b", Ok("urn:Example:a/../b"));
        check("URN:Example:a", Ok("urn:Example:a"));
        check("https://a/?Q=%7e#F", Ok("https://a/?Q=~#F"));
        check("https://a?q", Ok("https://a/?q"));
        check("https://a//b", Ok("https://a//b"));
    }

    #[test]
    fn refuses_what_is_no_uri() {
        check("", Err(UriNameError::NoScheme));
        check("a.example", Err(UriNameError::NoScheme));
        check("//a.example/b", Err(UriNameError::NoScheme));
        check("1a:b", Err(UriNameError::NoScheme));
        check("https:", Err(UriNameError::Empty));
        check("https://a/b c", Err(UriNameError::BadCharacter));
        check("https://a/b\0", Err(UriNameError::BadCharacter));
        check("https://a\\b/", Err(UriNameError::BadCharacter));
        check("https://ü/", Err(UriNameError::BadCharacter));
        check("https://a/%", Err(UriNameError::BadPercentEncoding));
        check("https://a/%4", Err(UriNameError::BadPercentEncoding));
        check("https://a/%ü0", Err(UriNameError::BadPercentEncoding));
        check("https://a:b/", Err(UriNameError::BadAuthority));
        check("https://[::1/", Err(UriNameError::BadAuthority));
        check("https://[::g]/", Err(UriNameError::BadAuthority));
        check("https:///a", Err(UriNameError::BadAuthority));
        check("x:/..//a", Err(UriNameError::BadAuthority));
    }
}
