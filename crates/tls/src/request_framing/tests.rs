//! The screen as a function of octets. (What the wire answers is in `tests/it/framing.rs`.)

use proptest::{collection::vec, prelude::*, sample::select};

use super::*;

fn framing() -> RequestFraming {
    RequestFraming::new(&Limits::default())
}

/// What became of octets, however they were cut.
#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    Passed,
    Head(LayerRefusal),
    Body(FramingViolation),
}

/// Feeds octets in pieces that end at `cuts`, and returns what passed, what became of the rest, and what is owed.
fn feed(octets: &[u8], cuts: &[usize]) -> (Vec<u8>, Outcome, Phase) {
    let mut framing = framing();
    let (mut passed, mut held) = (Vec::new(), Vec::new());
    let mut ends: Vec<usize> = cuts
        .iter()
        .map(|cut| cut % (octets.len() + 1))
        .chain([octets.len()])
        .collect();
    ends.sort_unstable();
    let mut start = 0;
    for end in ends {
        held.extend_from_slice(&octets[start..end]);
        start = end;
        let (release, outcome) = match framing.screen(&held) {
            Screened::Pass { release } => (release, Outcome::Passed),
            Screened::Head { release, refusal } => (release, Outcome::Head(refusal)),
            Screened::Body { release, violation } => (release, Outcome::Body(violation)),
        };
        passed.extend(held.drain(..release));
        if outcome != Outcome::Passed {
            return (passed, outcome, framing.phase(0));
        }
    }
    (passed, Outcome::Passed, framing.phase(held.len()))
}

fn check(octets: &str, passed: usize, outcome: Outcome, phase: Phase) {
    let (bytes, result, ended_in) = feed(octets.as_bytes(), &[]);
    assert_eq!((bytes.len(), result, ended_in), (passed, outcome, phase), "{octets:?}");
}

const HEAD: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

#[test]
fn heads_pass_whole_or_not_at_all() {
    check("", 0, Outcome::Passed, Phase::Between);
    check("G", 0, Outcome::Passed, Phase::Head);
    check("GET / HTTP/1.1\r\nHost: a\r\n\r", 0, Outcome::Passed, Phase::Head);
    check(HEAD, HEAD.len(), Outcome::Passed, Phase::Between);
    check(&format!("{HEAD}G"), HEAD.len(), Outcome::Passed, Phase::Head);
    let violation = Outcome::Head(FramingViolation::BareLineEnding.into());
    check(&format!("{HEAD}GET /\n"), HEAD.len(), violation, Phase::Linger);
}

#[test]
fn bodies_are_followed_to_their_last_octet() {
    let sized = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n";
    check(sized, sized.len(), Outcome::Passed, Phase::Body);
    check(&format!("{sized}hell"), sized.len() + 4, Outcome::Passed, Phase::Body);
    // What would be a violation in a head is just octets here.
    check(
        &format!("{sized}\0\n\r \n"),
        sized.len() + 5,
        Outcome::Passed,
        Phase::Between,
    );
    let chunked = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    for (body, phase) in [
        ("", Phase::Body),
        ("5", Phase::Body),
        ("5\r\nhello", Phase::Body),
        ("5\r\nhello\r\n0\r\n", Phase::Body),
        ("5\r\n\n\0\r\n \r\n0\r\n\r\n", Phase::Between),
    ] {
        let octets = format!("{chunked}{body}");
        check(&octets, octets.len(), Outcome::Passed, phase);
    }
    // A trailer section is held like a head.
    check(
        &format!("{chunked}0\r\nA: b\r\n"),
        chunked.len() + 3,
        Outcome::Passed,
        Phase::Body,
    );
    let whole = format!("{chunked}0\r\nA: b\r\n\r\n");
    check(&whole, whole.len(), Outcome::Passed, Phase::Between);
}

#[test]
fn after_a_request_to_upgrade_nothing_passes_before_the_answer() {
    let head = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n";
    let octets = [&head[..], HEAD.as_bytes()].concat();
    for switched in [false, true] {
        let mut framing = framing();
        assert_eq!(framing.screen(&octets), Screened::Pass { release: head.len() });
        assert!(framing.awaits_upgrade());
        assert_eq!(framing.screen(HEAD.as_bytes()), Screened::Pass { release: 0 });
        framing.answer_upgrade(switched);
        assert_eq!(framing.screen(HEAD.as_bytes()), Screened::Pass { release: HEAD.len() });
        let nonsense = framing.screen(b"\n");
        assert_eq!(nonsense == Screened::Pass { release: 1 }, switched, "{nonsense:?}");
    }
    // HTTP/1.0 knows no upgrade.
    let old = b"GET / HTTP/1.0\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n";
    let octets = [&old[..], HEAD.as_bytes()].concat();
    assert_eq!(framing().screen(&octets), Screened::Pass { release: octets.len() });
}

#[test]
fn a_head_may_be_as_long_as_the_limit_and_no_longer() {
    let limit = Limits::default().head_bytes_max;
    let head = |bytes: usize| {
        let start = "GET / HTTP/1.1\r\nHost: a\r\nA: ";
        format!("{start}{}\r\n\r\n", "a".repeat(bytes - start.len() - 4))
    };
    check(&head(limit), limit, Outcome::Passed, Phase::Between);
    check(
        &head(limit + 1),
        0,
        Outcome::Head(LayerRefusal::HeadTooLong),
        Phase::Linger,
    );
    check(
        &format!("{HEAD}{}", head(limit)),
        HEAD.len() + limit,
        Outcome::Passed,
        Phase::Between,
    );
}

#[test]
fn a_head_is_refused_as_too_long_as_soon_as_it_is() {
    let mut octets = b"GET / HTTP/1.1\r\nHost: a\r\nA: ".to_vec();
    octets.resize(32 * 1024 - 1, b'a');
    let mut screen = framing();
    assert_eq!(screen.screen(&octets), Screened::Pass { release: 0 });
    octets.push(b'a');
    let refused = Screened::Head {
        release: 0,
        refusal: LayerRefusal::HeadTooLong,
    };
    assert_eq!(screen.screen(&octets), refused);
}

/// Pieces of requests, good and bad, in any order.
fn requests() -> impl Strategy<Value = Vec<u8>> {
    let pieces = select(vec![
        HEAD,
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
        "5;x\r\nhello\r\n",
        "0\r\nA: b\r\n\r\n",
        "GET / HTTP/1.1\r\n",
        "Host: a\r\n",
        "Content-Length: 7\r\n",
        "Transfer-Encoding: chunked\r\n",
        "A: b\r\n",
        " folded\r\n",
        "\r\n",
        "\n",
        "\r",
        "0",
        "\0",
    ]);
    vec(pieces, 0..12).prop_map(|pieces| pieces.concat().into_bytes())
}

proptest! {
    /// How octets are cut into reads changes neither what passes nor what is refused.
    #[test]
    fn cuts_change_nothing(octets in requests(), cuts in vec(any::<usize>(), 0..12)) {
        prop_assert_eq!(feed(&octets, &cuts), feed(&octets, &[]));
    }

    /// No octets make it panic, and what passes is a prefix of what came.
    #[test]
    fn what_passes_is_a_prefix(octets in vec(any::<u8>(), 0..200), cuts in vec(any::<usize>(), 0..6)) {
        let (passed, ..) = feed(&octets, &cuts);
        prop_assert!(octets.starts_with(&passed));
    }

    /// hyper's own parser of targets takes every target that passes, so that none is left to its own answers.
    #[test]
    fn targets_that_pass_are_targets_to_hyper(target in "/[!-~]{0,40}") {
        if is_valid_target(target.as_bytes()) {
            prop_assert!(http::Uri::try_from(target.as_str()).is_ok());
        }
    }
}
