//! Text as one or two names of RFC 4514, one a line.

use keybound_protocol::distinguished_name::{DistinguishedName, DistinguishedNameError};

/// The longest name that is read.
const OCTETS_MAX: usize = 16 * 1024;

/// Checks every property for one input.
pub(crate) fn check(octets: &[u8]) {
    let Ok(text) = std::str::from_utf8(octets) else {
        return;
    };
    let mut lines = text.splitn(2, '\n');
    let one = lines.next().and_then(name);
    let two = lines.next().and_then(name);
    if let (Some(one), Some(two)) = (&one, &two) {
        check_pair(one, two);
    }
}

fn name(text: &str) -> Option<DistinguishedName> {
    let read: Result<DistinguishedName, DistinguishedNameError> = text.parse();
    let name = match read {
        Ok(name) => name,
        Err(error) => {
            assert!(error.character <= text.chars().count(), "{error} is not in {text:?}");
            return None;
        }
    };
    assert!(!name.is_empty(), "{text:?} has no RDN");
    assert!(
        name.matches(&name) && name.difference(&name).is_none(),
        "{text:?} is not itself"
    );
    let canonical = name.to_string();
    assert!(
        !canonical.chars().any(char::is_control),
        "{canonical:?} would reach a terminal"
    );
    match canonical.parse::<DistinguishedName>() {
        Ok(reread) => {
            assert_eq!(reread.to_string(), canonical, "{text:?}");
            check_pair(&name, &reread);
            assert!(name.matches(&reread), "{text:?} and its canonical form {canonical:?}");
        }
        // Escapes may make a name longer than a name may be.
        Err(error) => assert!(canonical.len() > OCTETS_MAX, "{text:?} to {canonical:?}: {error}"),
    }
    // Blanks that nobody escaped mean nothing around separators.
    let spaced = format!("  {text}");
    assert!(
        spaced
            .parse::<DistinguishedName>()
            .is_ok_and(|spaced| spaced.matches(&name))
            || spaced.len() > OCTETS_MAX,
        "{spaced:?}"
    );
    Some(name)
}

/// Equality has no direction, and does not see the order of attributes inside an RDN.
fn check_pair(one: &DistinguishedName, two: &DistinguishedName) {
    let equal = one.matches(two);
    assert_eq!(equal, two.matches(one), "{one} and {two}");
    for (presented, registered) in [(one, two), (two, one)] {
        match presented.difference(registered) {
            None => assert!(equal, "{presented} and {registered}: no difference"),
            Some(difference) => {
                assert!(!equal, "{presented} and {registered}: {difference}");
                assert!(difference.presented.end <= presented.to_string().chars().count());
                assert!(difference.registered.end <= registered.to_string().chars().count());
            }
        }
    }
    if let (Some(reordered), true) = (reordered(one), one.to_string().len() <= OCTETS_MAX) {
        assert_eq!(reordered.matches(two), equal, "{reordered} is {one}, against {two}");
        assert_eq!(two.matches(&reordered), equal, "{reordered} is {one}, against {two}");
    }
}

/// The same name with the attributes of each RDN in the other order.
fn reordered(name: &DistinguishedName) -> Option<DistinguishedName> {
    let rdns: Vec<String> = name
        .rdns()
        .map(|rdn| {
            let attributes: Vec<String> = rdn.attributes().iter().rev().map(ToString::to_string).collect();
            attributes.join("+")
        })
        .collect();
    rdns.join(",").parse().ok()
}
