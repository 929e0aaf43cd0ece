//! `method SP request-target SP HTTP-version` (RFC 9112 §3).

use super::{REFUSED_METHOD, host::is_valid_authority};
use crate::FramingViolation;

const METHOD_BYTES_MAX: usize = 64;

/// What the request line decides about framing and routing.
#[derive(Debug)]
pub(super) struct RequestLine {
    pub(super) http10: bool,
    /// The authority of a target in absolute form, with the default port of its scheme.
    pub(super) authority: Option<(Vec<u8>, u16)>,
}

impl RequestLine {
    pub(super) fn read(line: &[u8]) -> Result<RequestLine, FramingViolation> {
        if line.is_empty() {
            // RFC 9112 §2.2 would have one empty line skipped, for clients that count a body wrongly. Where requests follow each
            // other that is exactly what must not be mended.
            return Err(FramingViolation::EmptyLine);
        }
        if line.iter().any(|octet| octet.is_ascii_control()) {
            return Err(FramingViolation::ControlCharacter);
        }
        let mut parts = line.split(|octet| *octet == b' ');
        let (Some(method), Some(target), Some(version), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(FramingViolation::RequestLine);
        };
        let http10 = match version {
            b"HTTP/1.1" => false,
            b"HTTP/1.0" => true,
            [b'H', b'T', b'T', b'P', b'/', b'0'..=b'9', b'.', b'0'..=b'9'] => return Err(FramingViolation::Version),
            _ => return Err(FramingViolation::RequestLine),
        };
        let method_is_token =
            !method.is_empty() && method.len() <= METHOD_BYTES_MAX && method.iter().all(|o| is_token(*o));
        if !method_is_token || method == REFUSED_METHOD.as_bytes() {
            return Err(FramingViolation::RequestLine);
        }
        if method == b"CONNECT" {
            return Err(FramingViolation::Method);
        }
        Ok(RequestLine {
            http10,
            authority: target_authority(method, target)?,
        })
    }
}

fn target_authority(method: &[u8], target: &[u8]) -> Result<Option<(Vec<u8>, u16)>, FramingViolation> {
    if is_valid_target(target) || (target == b"*" && method == b"OPTIONS") {
        return Ok(None);
    }
    let (port, rest) = if let Some(rest) = strip_prefix_ignoring_case(target, b"https://") {
        (443, rest)
    } else if let Some(rest) = strip_prefix_ignoring_case(target, b"http://") {
        (80, rest)
    } else {
        return Err(FramingViolation::Target);
    };
    let end = rest
        .iter()
        .position(|octet| matches!(octet, b'/' | b'?' | b'#'))
        .unwrap_or(rest.len());
    let (authority, path) = rest.split_at_checked(end).unwrap_or((rest, &[]));
    // A query may follow the authority directly.
    let path_is_valid = path.is_empty() || is_valid_target(path) || path.first() == Some(&b'?') && all_of_target(path);
    if !path_is_valid || !is_valid_authority(authority) {
        return Err(FramingViolation::Target);
    }
    Ok(Some((authority.to_vec(), port)))
}

/// Whether this is a target in origin form: a path, perhaps with a query, of RFC 3986's characters alone.
pub(crate) fn is_valid_target(target: &[u8]) -> bool {
    target.first() == Some(&b'/') && all_of_target(target)
}

fn all_of_target(target: &[u8]) -> bool {
    let mut octets = target.iter();
    while let Some(octet) = octets.next() {
        let valid = match octet {
            b'%' => [octets.next(), octets.next()]
                .iter()
                .all(|digit| digit.is_some_and(u8::is_ascii_hexdigit)),
            octet => TARGET.get(*octet as usize).copied().unwrap_or(false),
        };
        if !valid {
            return false;
        }
    }
    true
}

/// A character of a token (RFC 9110 §5.6.2).
pub(super) fn is_token(octet: u8) -> bool {
    TOKEN.get(octet as usize).copied().unwrap_or(false)
}

const TOKEN: [bool; 256] = table(b"!#$%&'*+-.^_`|~");
const TARGET: [bool; 256] = table(b"-._~!$&'()*+,;=:@/?");

/// Letters, digits and `others`.
const fn table(others: &[u8]) -> [bool; 256] {
    let mut table = [false; 256];
    let mut octet = 0;
    while octet < 256 {
        table[octet] = (octet as u8).is_ascii_alphanumeric();
        octet += 1;
    }
    let mut index = 0;
    while index < others.len() {
        table[others[index] as usize] = true;
        index += 1;
    }
    table
}

fn strip_prefix_ignoring_case<'a>(octets: &'a [u8], prefix: &[u8]) -> Option<&'a [u8]> {
    let (start, rest) = octets.split_at_checked(prefix.len())?;
    start.eq_ignore_ascii_case(prefix).then_some(rest)
}
