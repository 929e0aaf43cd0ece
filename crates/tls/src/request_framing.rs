//! Where one HTTP/1 request ends and the next begins, decided below hyper and without repair (RFC 9112).
//!
//! hyper, like most implementations, mends what it can: it drops a Content-Length beside a Transfer-Encoding, merges equal
//! Content-Lengths, takes a bare LF for a line end. A gateway that mends decides for its upstream what the peer meant, and two
//! readers that decide differently are how requests are smuggled. So every octet passes this screen first. It reads heads whole,
//! lets them pass unchanged or not at all, and follows bodies by their framing. What passes, hyper reads as we do.
//!
//! This is a pure state machine: octets in, how many may pass out. Time, sockets and answers are
//! [`screened_stream`](crate::screened_stream)'s.

use crate::{FramingViolation, LayerRefusal, Limits, deadline::Phase};

mod chunked;
mod field_line;
mod host;
mod request_line;

use chunked::Chunked;
use field_line::HeadFacts;
pub(crate) use host::{is_valid_authority, split_port};
pub(crate) use request_line::is_valid_target;

/// The method of the head that replaces a refused one, which no request of a peer can have: the screen refuses it.
pub(crate) const REFUSED_METHOD: &str = "REFUSED-BY-SCREEN";

/// The head that hyper reads in place of a refused one, so that the service layer answers in order and then closes.
pub(crate) const REFUSED_HEAD: &[u8] =
    b"REFUSED-BY-SCREEN / HTTP/1.1\r\nhost: refused.invalid\r\nconnection: close\r\n\r\n";

/// What may be done with the octets shown.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Screened {
    /// The first `release` octets pass. The rest is an unfinished head, to be shown again with what follows it.
    Pass { release: usize },
    /// The first `release` octets pass; the head after them is refused, and nothing after it is read.
    Head { release: usize, refusal: LayerRefusal },
    /// The first `release` octets pass; the body breaks off there.
    Body {
        release: usize,
        violation: FramingViolation,
    },
}

/// The screen of one connection.
#[derive(Debug)]
pub(crate) struct RequestFraming {
    state: State,
    head: HeadFacts,
    head_bytes_max: usize,
    head_fields_max: usize,
    /// Counts phases begun, so that one left and entered again within a read is noticed.
    phases: u64,
}

#[derive(Debug)]
enum State {
    /// In a head: `line` is where its current line starts, `scanned` how far a line end was looked for.
    Head { line: usize, scanned: usize },
    /// In a body of known length.
    Sized { remaining: u64 },
    /// In a chunked body.
    Chunked(Chunked),
    /// In the trailer section, which is held like a head.
    Trailers { line: usize, scanned: usize },
    /// After a request for an upgrade: nothing passes before it is answered.
    AwaitsUpgrade,
    /// Upgraded: everything passes.
    Tunnel,
    /// After a violation: nothing passes any more.
    Ended,
}

/// What became of the lines of a held section.
enum Section {
    Incomplete,
    Complete { length: usize },
    Refused(LayerRefusal),
}

/// Trailers are rare and small; more than this is no trailer section that anybody needs.
const TRAILER_BYTES_MAX: usize = 8 * 1024;

impl RequestFraming {
    pub(crate) fn new(limits: &Limits) -> RequestFraming {
        RequestFraming {
            state: State::Head { line: 0, scanned: 0 },
            head: HeadFacts::default(),
            head_bytes_max: limits.head_bytes_max,
            head_fields_max: limits.head_fields_max,
            phases: 0,
        }
    }

    /// Reads on. `input` starts at the first octet that has not passed.
    pub(crate) fn screen(&mut self, input: &[u8]) -> Screened {
        let mut release = 0;
        loop {
            let rest = input.get(release..).unwrap_or_default();
            match &mut self.state {
                State::Head { .. } if rest.is_empty() => return Screened::Pass { release },
                State::Head { line, scanned } => {
                    let section = next_lines(rest, line, scanned, self.head_bytes_max, |line| {
                        self.head.read_line(line, self.head_fields_max)
                    });
                    match section {
                        Section::Incomplete => return Screened::Pass { release },
                        Section::Refused(refusal) => return self.refuse_head(release, refusal),
                        Section::Complete { length } => {
                            release += length;
                            self.end_head();
                        }
                    }
                }
                State::Sized { remaining } => {
                    let here = usize::try_from(*remaining).unwrap_or(usize::MAX).min(rest.len());
                    *remaining -= here as u64;
                    release += here;
                    if *remaining > 0 {
                        return Screened::Pass { release };
                    }
                    self.end_message();
                }
                State::Chunked(chunked) => match chunked.advance(rest) {
                    Ok(None) => return Screened::Pass { release: input.len() },
                    Ok(Some(used)) => {
                        release += used;
                        self.state = State::Trailers { line: 0, scanned: 0 };
                    }
                    Err((used, violation)) => {
                        self.state = State::Ended;
                        return Screened::Body {
                            release: release + used,
                            violation,
                        };
                    }
                },
                State::Trailers { .. } if rest.is_empty() => return Screened::Pass { release },
                State::Trailers { line, scanned } => {
                    match next_lines(rest, line, scanned, TRAILER_BYTES_MAX, field_line::check_trailer) {
                        Section::Incomplete => return Screened::Pass { release },
                        Section::Complete { length } => {
                            release += length;
                            self.end_message();
                        }
                        Section::Refused(_) => {
                            self.state = State::Ended;
                            return Screened::Body {
                                release,
                                violation: FramingViolation::Trailer,
                            };
                        }
                    }
                }
                State::AwaitsUpgrade | State::Ended => return Screened::Pass { release },
                State::Tunnel => return Screened::Pass { release: input.len() },
            }
        }
    }

    fn end_head(&mut self) {
        self.state = match self.head.content_length {
            _ if self.head.chunked => State::Chunked(Chunked::default()),
            Some(remaining) if remaining > 0 => State::Sized { remaining },
            _ => return self.end_message(),
        };
        self.phases += 1;
    }

    fn end_message(&mut self) {
        self.state = if self.head.upgrade {
            State::AwaitsUpgrade
        } else {
            State::Head { line: 0, scanned: 0 }
        };
        self.head.clear();
        self.phases += 1;
    }

    fn refuse_head(&mut self, release: usize, refusal: LayerRefusal) -> Screened {
        self.state = State::Ended;
        Screened::Head { release, refusal }
    }

    /// What the peer owes, if `held` octets did not pass.
    pub(crate) fn phase(&self, held: usize) -> Phase {
        match self.state {
            State::Head { .. } if held > 0 => Phase::Head,
            State::Head { .. } | State::AwaitsUpgrade => Phase::Between,
            State::Sized { .. } | State::Chunked(_) | State::Trailers { .. } => Phase::Body,
            State::Tunnel => Phase::Tunnel,
            State::Ended => Phase::Linger,
        }
    }

    /// A number that changes whenever a head or body begins or ends.
    pub(crate) fn phases(&self) -> u64 {
        self.phases
    }

    pub(crate) fn awaits_upgrade(&self) -> bool {
        matches!(self.state, State::AwaitsUpgrade)
    }

    /// The request for an upgrade was answered: with 101, or as any other.
    pub(crate) fn answer_upgrade(&mut self, switched: bool) {
        self.state = if switched {
            State::Tunnel
        } else {
            State::Head { line: 0, scanned: 0 }
        };
        self.phases += 1;
    }

    /// Nothing passes any more.
    pub(crate) fn end(&mut self) {
        self.state = State::Ended;
    }
}

/// Hands each line of a section, without its CRLF, to `read`, until the empty one that ends it; an empty line that is the first is
/// handed over, too. `line` and `scanned` say where it got to.
fn next_lines(
    octets: &[u8],
    line: &mut usize,
    scanned: &mut usize,
    bytes_max: usize,
    mut read: impl FnMut(&[u8]) -> Result<Line, LayerRefusal>,
) -> Section {
    loop {
        let Some(ahead) = octets
            .get(*scanned..)
            .and_then(|rest| rest.iter().position(|octet| *octet == b'\n'))
        else {
            *scanned = octets.len();
            return if octets.len() >= bytes_max {
                Section::Refused(LayerRefusal::HeadTooLong)
            } else {
                Section::Incomplete
            };
        };
        let end = *scanned + ahead;
        if end >= bytes_max {
            return Section::Refused(LayerRefusal::HeadTooLong);
        }
        let Some((b'\r', text)) = octets.get(*line..end).and_then(<[u8]>::split_last) else {
            return Section::Refused(FramingViolation::BareLineEnding.into());
        };
        *line = end + 1;
        *scanned = *line;
        match read(text) {
            Ok(Line::More) => {}
            Ok(Line::Last) => return Section::Complete { length: end + 1 },
            Err(refusal) => return Section::Refused(refusal),
        }
    }
}

/// Whether a line ended its section.
#[derive(Debug, PartialEq, Eq)]
enum Line {
    More,
    Last,
}

#[cfg(test)]
mod corpus;
#[cfg(test)]
mod tests;
