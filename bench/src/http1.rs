//! As much HTTP/1.1 as a load generator needs: one request out, one answer in.

use std::io;
use std::ops::Range;

use tokio::io::{AsyncRead, AsyncReadExt};

/// What came back.
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// Where the body lies in the buffer, with the framing of chunks if there is any.
    pub body: Range<usize>,
    /// Whether the server ends the connection.
    pub closes: bool,
}

enum Framing {
    Length(usize),
    Chunked,
    UntilClosed,
}

/// Reads one whole answer into `buffer`, from its start.
pub async fn read_answer(stream: &mut (impl AsyncRead + Unpin), buffer: &mut Vec<u8>) -> io::Result<Answer> {
    buffer.clear();
    let body_start = loop {
        let already = buffer.len().saturating_sub(3);
        if stream.read_buf(buffer).await? == 0 {
            return Err(io::Error::other("closed before an answer"));
        }
        if let Some(place) = find(&buffer[already..], b"\r\n\r\n") {
            break already + place + 4;
        }
    };
    let (status, framing, mut closes) = read_head(&buffer[..body_start])?;
    let is_whole = |buffer: &[u8]| match framing {
        Framing::Length(length) => buffer.len() >= body_start + length,
        // Good for bodies that this generator asks for; a general reader would count chunks.
        Framing::Chunked => buffer[body_start..].ends_with(b"0\r\n\r\n"),
        Framing::UntilClosed => false,
    };
    while !is_whole(buffer) {
        if stream.read_buf(buffer).await? == 0 {
            if matches!(framing, Framing::UntilClosed) {
                closes = true;
                break;
            }
            return Err(io::Error::other("answer cut short"));
        }
    }
    Ok(Answer {
        status,
        body: body_start..buffer.len(),
        closes,
    })
}

fn read_head(head: &[u8]) -> io::Result<(u16, Framing, bool)> {
    let head = std::str::from_utf8(head).map_err(io::Error::other)?;
    let mut lines = head.split("\r\n");
    let status_line = lines.next().unwrap_or_default();
    let status = status_line.split(' ').nth(1).and_then(|status| status.parse().ok());
    let status = status.ok_or_else(|| io::Error::other(format!("no status in {status_line:?}")))?;
    let (mut framing, mut closes) = (Framing::UntilClosed, false);
    for (name, value) in lines.filter_map(|line| line.split_once(':')) {
        let value = value.trim();
        if name.eq_ignore_ascii_case("content-length") {
            framing = Framing::Length(value.parse().map_err(io::Error::other)?);
        } else if name.eq_ignore_ascii_case("transfer-encoding") {
            framing = Framing::Chunked;
        } else if name.eq_ignore_ascii_case("connection") {
            closes = value.eq_ignore_ascii_case("close");
        }
    }
    Ok((status, framing, closes))
}

/// Where `needle` begins in `haystack`.
pub fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}
