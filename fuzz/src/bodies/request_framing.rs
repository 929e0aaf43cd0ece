//! Octets as what one HTTP/1 connection sends: the screen below hyper against a second reader, written here.
//!
//! Compiled into the fuzz target and into the unit tests of the tls crate, where alone the screen is visible.

use crate::request_framing::{RequestFraming, Screened};
use crate::{FramingViolation, LayerRefusal, Limits, deadline::Phase};

/// What became of octets, however they were cut.
#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    Passed(Phase),
    Head(LayerRefusal),
    Body(FramingViolation),
    AwaitsUpgrade,
}

const GOOD: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";

/// Checks every property for one input.
pub(crate) fn check(octets: &[u8]) {
    let (passed, outcome) = feed(octets, octets.len().max(1));
    assert!(
        octets.starts_with(&passed),
        "octets pass unchanged and in order, or not at all"
    );
    // How the network cut it decides nothing.
    let sum: usize = octets.iter().map(|octet| usize::from(*octet)).sum();
    for piece in [1, 2 + sum % 29] {
        let (in_pieces, same) = feed(octets, piece);
        assert!(
            in_pieces == passed && same == outcome,
            "in pieces of {piece}: {same:?}, else {outcome:?}"
        );
    }
    // What passed is requests that can be read in one way only.
    let reading = read(&passed);
    match &outcome {
        Outcome::Passed(Phase::Between | Phase::Head) | Outcome::Head(_) => assert_eq!(reading, Reading::Between),
        Outcome::Passed(Phase::Body) | Outcome::Body(_) => assert_eq!(reading, Reading::InBody),
        Outcome::AwaitsUpgrade => assert_eq!(reading, Reading::Between),
        Outcome::Passed(phase) => panic!("{phase:?} without an answer"),
    }
    // Between requests, all that was read is forgotten: a good request passes, whatever came before.
    if outcome == Outcome::Passed(Phase::Between) {
        let longer = [octets, GOOD].concat();
        let (all, after) = feed(&longer, longer.len());
        assert!(all == longer && after == Outcome::Passed(Phase::Between), "{after:?}");
    }
    // After a violation nothing passes, whatever comes.
    if matches!(outcome, Outcome::Head(_) | Outcome::Body(_)) {
        let (all, after) = feed(&[octets, GOOD].concat(), octets.len());
        assert!(all == passed && after == outcome, "{after:?}");
    }
}

fn feed(octets: &[u8], piece: usize) -> (Vec<u8>, Outcome) {
    let mut framing = RequestFraming::new(&Limits::default());
    let (mut passed, mut held) = (Vec::new(), Vec::new());
    let mut outcome = Outcome::Passed(Phase::Between);
    for piece in octets.chunks(piece) {
        held.extend_from_slice(piece);
        let (release, refused) = match framing.screen(&held) {
            Screened::Pass { release } => (release, None),
            Screened::Head { release, refusal } => (release, Some(Outcome::Head(refusal))),
            Screened::Body { release, violation } => (release, Some(Outcome::Body(violation))),
        };
        passed.extend(held.drain(..release));
        if let Some(refused) = refused {
            assert_eq!(framing.screen(GOOD), Screened::Pass { release: 0 });
            return (passed, refused);
        }
        outcome = match framing.phase(held.len()) {
            _ if framing.awaits_upgrade() => Outcome::AwaitsUpgrade,
            phase => Outcome::Passed(phase),
        };
    }
    (passed, outcome)
}

/// Where a reader stands at the end of what passed.
#[derive(Debug, PartialEq, Eq)]
enum Reading {
    Between,
    InBody,
}

/// Reads requests with the plainest code there is, and refuses whatever two readers could take differently.
fn read(passed: &[u8]) -> Reading {
    let mut rest = passed;
    while !rest.is_empty() {
        let end = rest
            .windows(4)
            .position(|four| four == b"\r\n\r\n")
            .expect("heads pass whole");
        let head = std::str::from_utf8(&rest[..end]).map(str::to_owned);
        let head = head.unwrap_or_else(|_| rest[..end].iter().map(|octet| char::from(*octet)).collect());
        rest = &rest[end + 4..];
        match body(&head) {
            Length::None => {}
            Length::Sized(length) if length > rest.len() as u64 => return Reading::InBody,
            Length::Sized(length) => rest = &rest[usize::try_from(length).expect("no more than there is")..],
            Length::Chunked => match after_chunks(rest) {
                Some(after) => rest = after,
                None => return Reading::InBody,
            },
        }
    }
    Reading::Between
}

enum Length {
    None,
    Sized(u64),
    Chunked,
}

fn body(head: &str) -> Length {
    let mut lines = head.split("\r\n");
    let request_line: Vec<&str> = lines.next().unwrap_or_default().split(' ').collect();
    let [method, target, version] = request_line.as_slice() else {
        panic!("{head:?}: not three words");
    };
    assert!(!method.is_empty() && !target.is_empty(), "{head:?}");
    assert!(matches!(*version, "HTTP/1.0" | "HTTP/1.1"), "{head:?}");
    let (mut hosts, mut lengths, mut codings) = (0, Vec::new(), Vec::new());
    for line in lines {
        assert!(!line.contains(['\r', '\n', '\0']), "{head:?}");
        assert!(!line.starts_with([' ', '\t']), "{head:?}: folded");
        let (name, value) = line.split_once(':').unwrap_or_else(|| panic!("{head:?}: no colon"));
        assert!(
            !name.is_empty() && !name.contains([' ', '\t']),
            "{head:?}: a blank in a name"
        );
        let value = value.trim_matches([' ', '\t']);
        match name.to_ascii_lowercase().as_str() {
            "host" => hosts += 1,
            "content-length" => lengths.push(value.to_owned()),
            "transfer-encoding" => codings.push(value.to_ascii_lowercase()),
            _ => {}
        }
    }
    assert!(
        hosts == 1 || (hosts == 0 && *version == "HTTP/1.0"),
        "{head:?}: {hosts} hosts"
    );
    match (lengths.as_slice(), codings.as_slice()) {
        ([], []) => Length::None,
        ([length], []) => {
            assert!(length.bytes().all(|octet| octet.is_ascii_digit()), "{head:?}");
            Length::Sized(length.parse().expect("a number that fits"))
        }
        ([], [coding]) => {
            assert_eq!((coding.as_str(), *version), ("chunked", "HTTP/1.1"), "{head:?}");
            Length::Chunked
        }
        _ => panic!("{head:?}: two lengths"),
    }
}

/// What follows a chunked body and its trailers; `None` if it is not complete.
fn after_chunks(octets: &[u8]) -> Option<&[u8]> {
    let mut rest = octets;
    loop {
        let (line, after) = line(rest)?;
        let digits = line.split(';').next().unwrap_or_default();
        assert!(digits.bytes().all(|octet| octet.is_ascii_hexdigit()), "{line:?}");
        let size = usize::from_str_radix(digits, 16).expect("a size that fits");
        rest = after;
        if size == 0 {
            break;
        }
        // The end of the body may not have arrived.
        let data_end = rest.get(size..)?;
        let expected = &b"\r\n"[..data_end.len().min(2)];
        assert_eq!(&data_end[..expected.len()], expected, "a chunk ends with CRLF");
        rest = data_end.get(2..)?;
    }
    loop {
        let (line, after) = line(rest)?;
        rest = after;
        if line.is_empty() {
            return Some(rest);
        }
        assert!(line.contains(':'), "{line:?}");
    }
}

fn line(octets: &[u8]) -> Option<(String, &[u8])> {
    let end = octets.windows(2).position(|two| two == b"\r\n")?;
    let line = octets[..end].iter().map(|octet| char::from(*octet)).collect();
    Some((line, &octets[end + 2..]))
}
