//! The console's cookies stay with the console.
//!
//! Cookies ignore ports, so a browser that is signed in to the console on one port sends its session to the gateway on
//! another. No upstream may see it, and none may set one in its place.

use http::HeaderValue;

/// Cookies whose names begin with this are Keybound's own. Browsers compare the prefix `__Host-` without case.
const OWN_PREFIX: &[u8] = b"__host-keybound";

/// Whether a `Cookie` or `Set-Cookie` value may hold a cookie of ours.
pub(crate) fn mentions_own(value: &HeaderValue) -> bool {
    value
        .as_bytes()
        .windows(OWN_PREFIX.len())
        .any(|window| window.eq_ignore_ascii_case(OWN_PREFIX))
}

/// The `Cookie` header for the upstream; `None` if nothing is left.
///
/// HTTP/2 may split the header; HTTP/1.1 wants one (RFC 9113 §8.2.3).
pub(crate) fn forwarded<'a>(mut values: impl Iterator<Item = &'a HeaderValue>) -> Option<HeaderValue> {
    let first = values.next()?;
    let second = values.next();
    if second.is_none() && !mentions_own(first) {
        return Some(first.clone());
    }
    let mut joined: Vec<u8> = Vec::new();
    for value in std::iter::once(first).chain(second).chain(values) {
        for pair in value.as_bytes().split(|byte| *byte == b';').map(<[u8]>::trim_ascii) {
            if pair.is_empty() || is_own(pair) {
                continue;
            }
            if !joined.is_empty() {
                joined.extend_from_slice(b"; ");
            }
            joined.extend_from_slice(pair);
        }
    }
    // Parts of valid values, joined with visible characters, are a valid value.
    (!joined.is_empty())
        .then(|| HeaderValue::from_bytes(&joined).ok())
        .flatten()
}

/// Whether a `Set-Cookie` value sets a cookie of ours.
pub(crate) fn sets_own(value: &HeaderValue) -> bool {
    is_own(value.as_bytes().trim_ascii_start())
}

fn is_own(pair: &[u8]) -> bool {
    // Some servers read a quoted or comma-led name as the name itself; nothing of the kind is worth keeping.
    let name = pair.trim_ascii_start();
    name.get(..OWN_PREFIX.len())
        .is_some_and(|prefix| prefix.eq_ignore_ascii_case(OWN_PREFIX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(presented: &[&'static str], expected: Option<&'static str>) {
        let values: Vec<HeaderValue> = presented.iter().copied().map(HeaderValue::from_static).collect();
        assert_eq!(
            forwarded(values.iter()),
            expected.map(HeaderValue::from_static),
            "{presented:?}"
        );
    }

    #[test]
    fn removes_our_own_and_keeps_the_others() {
        check(&["__Host-keybound=1"], None);
        check(&["__Host-keybound_session=1; a=2"], Some("a=2"));
        check(&["a=1;__HOST-Keybound-x=2 ;b=3"], Some("a=1; b=3"));
        check(&["a=1", "__Host-keybound=2", "b=3"], Some("a=1; b=3"));
        check(&["  __Host-keybound=2"], None);
    }

    #[test]
    fn leaves_other_cookies_as_they_came() {
        check(&[], None);
        check(&["a=1;b=2"], Some("a=1;b=2"));
        check(&["a=__Host-keybound; b=x"], Some("a=__Host-keybound; b=x"));
        check(&["Host-keybound=1"], Some("Host-keybound=1"));
    }

    #[test]
    fn knows_who_sets_ours() {
        assert!(sets_own(&HeaderValue::from_static("__Host-keybound_session=1; Secure")));
        assert!(!sets_own(&HeaderValue::from_static("session=__Host-keybound")));
    }
}
