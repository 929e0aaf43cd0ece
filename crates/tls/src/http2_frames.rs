//! The frames of an HTTP/2 connection, as far as its deadlines and abuse limits need them (RFC 9113 §4, §10.5).
//!
//! The library parses and answers them; here only headers of frames are looked at, so that an unfinished header block has a
//! deadline, and floods of frames that cost their sender nothing end the connection.

use crate::{Limits, deadline::Phase};

/// So many octets that we send pay for one WINDOW_UPDATE: whoever takes them gives their place back to the stream and to the
/// connection. Clients do so for many kilobytes at once, the simplest ones for each DATA frame; whoever gets frames so small that
/// this is not enough has the limit of control frames besides.
const SENT_BYTES_PER_WINDOW_UPDATE: u64 = 32;
/// What was sent and not paid with yet counts up to this: more WINDOW_UPDATE frames than this pays for are not due at once.
const SENT_BYTES_MAX: u64 = 1024 * 1024;

const PREFACE_BYTES: usize = 24;
const HEADER_BYTES: usize = 9;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const PRIORITY: u8 = 2;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;

const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

/// Follows the frames of one connection.
#[derive(Debug)]
pub(crate) struct Http2Frames {
    preface: usize,
    header: [u8; HEADER_BYTES],
    header_bytes: usize,
    payload: usize,
    /// Between the first octet of HEADERS and the last of the frame with END_HEADERS.
    in_header_block: bool,
    ends_header_block: bool,
    resets: u32,
    control_frames: u32,
    resets_max: u32,
    control_frames_max: u32,
    /// Octets that we sent and that were not paid with for a WINDOW_UPDATE.
    sent_bytes: u64,
    blocks: u64,
}

/// More resets or control frames than any honest client sends.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Http2Flood;

impl Http2Frames {
    pub(crate) fn new(limits: &Limits) -> Http2Frames {
        Http2Frames {
            preface: PREFACE_BYTES,
            header: [0; HEADER_BYTES],
            header_bytes: 0,
            payload: 0,
            in_header_block: false,
            ends_header_block: false,
            resets: 0,
            control_frames: 0,
            resets_max: limits.http2_resets_max,
            control_frames_max: limits.http2_control_frames_max,
            sent_bytes: 0,
            blocks: 0,
        }
    }

    /// Reads on.
    pub(crate) fn follow(&mut self, input: &[u8]) -> Result<(), Http2Flood> {
        let mut input = input;
        while !input.is_empty() {
            if self.preface > 0 {
                input = skip(input, &mut self.preface);
            } else if self.payload > 0 {
                input = skip(input, &mut self.payload);
                self.end_frame_if_whole();
            } else {
                input = self.read_header(input)?;
            }
        }
        Ok(())
    }

    fn read_header<'a>(&mut self, input: &'a [u8]) -> Result<&'a [u8], Http2Flood> {
        let missing = self.header.get_mut(self.header_bytes..).unwrap_or_default();
        let here = missing.len().min(input.len());
        let (now, later) = input.split_at_checked(here).unwrap_or((input, &[]));
        for (place, octet) in missing.iter_mut().zip(now) {
            *place = *octet;
        }
        self.header_bytes += here;
        if self.header_bytes == HEADER_BYTES {
            self.header_bytes = 0;
            self.begin_frame()?;
        }
        Ok(later)
    }

    fn begin_frame(&mut self) -> Result<(), Http2Flood> {
        let [high, middle, low, kind, flags, ..] = self.header;
        self.payload = u32::from_be_bytes([0, high, middle, low]) as usize;
        match kind {
            HEADERS => {
                self.in_header_block = true;
                self.blocks += 1;
                self.ends_header_block = flags & END_HEADERS != 0;
            }
            CONTINUATION => {
                self.ends_header_block = flags & END_HEADERS != 0;
                self.count_control(self.payload == 0)?;
            }
            RST_STREAM => {
                self.resets += 1;
                if self.resets > self.resets_max {
                    return Err(Http2Flood);
                }
            }
            PRIORITY | SETTINGS | PING => self.count_control(true)?,
            DATA => self.count_control(self.payload == 0 && flags & END_STREAM == 0)?,
            WINDOW_UPDATE => {
                let paid = self.sent_bytes.checked_sub(SENT_BYTES_PER_WINDOW_UPDATE);
                self.sent_bytes = paid.unwrap_or(self.sent_bytes);
                self.count_control(paid.is_none())?;
            }
            // GOAWAY, what only servers send, and what we do not know: it is read and forgotten, which is no reason to send it.
            _ => self.count_control(true)?,
        }
        self.end_frame_if_whole();
        Ok(())
    }

    fn count_control(&mut self, counts: bool) -> Result<(), Http2Flood> {
        self.control_frames += u32::from(counts);
        if self.control_frames > self.control_frames_max {
            Err(Http2Flood)
        } else {
            Ok(())
        }
    }

    fn end_frame_if_whole(&mut self) {
        if self.payload == 0 && self.ends_header_block {
            self.in_header_block = false;
            self.ends_header_block = false;
        }
    }

    /// Control frames are limited per sweep; resets are forgiven for requests that were answered.
    pub(crate) fn forgive(&mut self, requests_ended: u32, swept: bool) {
        self.resets = self.resets.saturating_sub(requests_ended);
        if swept {
            self.control_frames = 0;
        }
    }

    /// We sent so many octets, which the peer may give the place of back.
    pub(crate) fn sent(&mut self, bytes: usize) {
        self.sent_bytes = self.sent_bytes.saturating_add(bytes as u64).min(SENT_BYTES_MAX);
    }

    pub(crate) fn phase(&self) -> Phase {
        if self.in_header_block || self.header_bytes > 0 || self.preface > 0 {
            Phase::Head
        } else {
            Phase::Between
        }
    }

    /// A number that changes with each header block.
    pub(crate) fn blocks(&self) -> u64 {
        self.blocks
    }
}

/// Skips up to `count` octets, and counts them down.
fn skip<'a>(input: &'a [u8], count: &mut usize) -> &'a [u8] {
    let here = (*count).min(input.len());
    *count -= here;
    input.get(here..).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frames() -> Http2Frames {
        let mut frames = Http2Frames::new(&Limits::default());
        assert_eq!(frames.follow(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), Ok(()));
        frames
    }

    fn frame(kind: u8, flags: u8, payload: usize) -> Vec<u8> {
        let mut octets = (payload as u32).to_be_bytes()[1..].to_vec();
        octets.extend([kind, flags, 0, 0, 0, 1]);
        octets.resize(HEADER_BYTES + payload, 0);
        octets
    }

    /// Until a limit is exceeded.
    fn count_until_flood(octets: &[u8]) -> usize {
        let mut frames = frames();
        (0..).take_while(|_| frames.follow(octets).is_ok()).count()
    }

    #[test]
    fn a_header_block_lasts_until_its_last_octet_however_it_is_cut() {
        let octets = [
            frame(HEADERS, 0, 5),
            frame(CONTINUATION, 0, 3),
            frame(CONTINUATION, END_HEADERS, 2),
        ]
        .concat();
        let mut frames = frames();
        for (index, octet) in octets.iter().enumerate() {
            assert_eq!(
                frames.phase(),
                if index == 0 { Phase::Between } else { Phase::Head },
                "{index}"
            );
            assert_eq!(frames.follow(&[*octet]), Ok(()));
        }
        assert_eq!(frames.phase(), Phase::Between);
        // An empty block ends with its header.
        assert_eq!(frames.follow(&frame(HEADERS, END_HEADERS, 0)), Ok(()));
        assert_eq!((frames.phase(), frames.blocks()), (Phase::Between, 2));
    }

    #[test]
    fn floods_are_what_exceeds_the_limits() {
        let limits = Limits::default();
        assert_eq!(
            count_until_flood(&frame(RST_STREAM, 0, 4)),
            limits.http2_resets_max as usize
        );
        for (kind, flags, payload) in [
            (PING, 0, 8),
            (SETTINGS, 0, 6),
            (PRIORITY, 0, 5),
            (DATA, 0, 0),
            (CONTINUATION, 0, 0),
            (WINDOW_UPDATE, 0, 4),
            (7, 0, 8),
            (0x0a, 0, 0),
            (0x10, 0, 6),
            (0xff, 0, 0),
            (0xff, 0, 16_384),
        ] {
            let count = count_until_flood(&frame(kind, flags, payload));
            assert_eq!(count, limits.http2_control_frames_max as usize, "{kind}");
        }
    }

    #[test]
    fn what_was_sent_pays_for_window_updates_and_for_nothing_else() {
        let limits = Limits::default();
        let more = limits.http2_control_frames_max as usize + 1;
        for (sent, kind, expected) in [
            (0, WINDOW_UPDATE, 0),
            (31, WINDOW_UPDATE, 0),
            (32 * 5_000, WINDOW_UPDATE, 5_000),
            (usize::MAX, WINDOW_UPDATE, 32_768),
            (usize::MAX, 0xff, 0),
            (usize::MAX, PING, 0),
        ] {
            let mut frames = frames();
            frames.sent(sent);
            let octets = frame(kind, 0, 4);
            let count = (0..).take_while(|_| frames.follow(&octets).is_ok()).count();
            assert_eq!(count + 1, expected + more, "{kind} after {sent}");
        }
        // Two for each DATA frame of 100 octets, for ever and without a pause.
        let mut frames = frames();
        for _ in 0..100_000 {
            frames.sent(109);
            let update = frame(WINDOW_UPDATE, 0, 4);
            assert_eq!(frames.follow(&[update.clone(), update].concat()), Ok(()));
        }
    }

    #[test]
    fn answers_forgive_resets_and_time_forgives_control_frames() {
        let mut frames = frames();
        for _ in 0..10 {
            for _ in 0..150 {
                assert_eq!(
                    frames.follow(&[frame(RST_STREAM, 0, 4), frame(PING, 0, 8)].concat()),
                    Ok(())
                );
            }
            frames.forgive(150, true);
        }
    }
}
