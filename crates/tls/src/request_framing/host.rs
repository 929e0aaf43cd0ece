//! `uri-host [":" port]`, as Host and the authority of a target have it (RFC 9110 §7.2).

/// Whether this is a host, of letters, digits, `-`, `.` and `_` or an address in brackets, with or without a port. User
/// information, percent-encoding and the other characters that RFC 3986 allows in a name have no use in https and hide much.
pub(crate) fn is_valid_authority(authority: &[u8]) -> bool {
    let (host, port) = split_port(authority);
    let port_is_valid = port.is_none_or(|port| {
        (1..=5).contains(&port.len())
            && std::str::from_utf8(port).is_ok_and(|port| port.parse::<u16>().is_ok() && !port.starts_with('+'))
    });
    port_is_valid && is_valid_host(host)
}

/// Host and port, which still have to be looked at. Brackets stay with the host.
pub(crate) fn split_port(authority: &[u8]) -> (&[u8], Option<&[u8]>) {
    let after_bracket = authority
        .iter()
        .rposition(|octet| *octet == b']')
        .map_or(0, |bracket| bracket + 1);
    let colon = authority
        .iter()
        .skip(after_bracket)
        .position(|octet| *octet == b':')
        .map(|at| after_bracket + at);
    match colon.and_then(|colon| authority.split_at_checked(colon)) {
        Some((host, port)) => (host, port.get(1..)),
        None => (authority, None),
    }
}

fn is_valid_host(host: &[u8]) -> bool {
    if let Some(address) = host.strip_prefix(b"[").and_then(|host| host.strip_suffix(b"]")) {
        return std::str::from_utf8(address).is_ok_and(|address| address.parse::<std::net::Ipv6Addr>().is_ok());
    }
    !host.is_empty()
        && host.len() <= 255
        && host
            .iter()
            .all(|octet| octet.is_ascii_alphanumeric() || matches!(octet, b'-' | b'.' | b'_'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_what_is_no_host() {
        for authority in [
            "", ":443", "a b", "a,b", "user@a", "a/b", "a?b", "a#b", "a\\b", "a:", "a:x", "a:+1", "a:65536",
            "a:000443", "a:1:2", "[::1", "::1", "[::g]", "[::1]x", "a%2e", "ä", "a\0", "[]",
        ] {
            assert!(!is_valid_authority(authority.as_bytes()), "{authority:?}");
        }
    }

    #[test]
    fn accepts_names_and_addresses_with_and_without_port() {
        for authority in [
            "a",
            "A.Example",
            "a:1",
            "a.b:65535",
            "127.0.0.1:80",
            "[::1]",
            "[2001:db8::1]:443",
            "my_host",
            "a.",
        ] {
            assert!(is_valid_authority(authority.as_bytes()), "{authority:?}");
        }
    }
}
