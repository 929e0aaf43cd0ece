//! The field lines of a head, as far as they frame or route the request (RFC 9112 §5, §6).

use super::{
    Line,
    host::{is_valid_authority, split_port},
    request_line::{RequestLine, is_token},
};
use crate::{FramingViolation, LayerRefusal};

/// What is known of the head that is being read.
#[derive(Debug, Default)]
pub(super) struct HeadFacts {
    request_line: Option<RequestLine>,
    fields: usize,
    /// The last Host; empty storage is kept from request to request.
    host: Vec<u8>,
    hosts: usize,
    transfer_encoding: bool,
    pub(super) chunked: bool,
    pub(super) content_length: Option<u64>,
    pub(super) upgrade: bool,
    expectation_unknown: bool,
}

impl HeadFacts {
    pub(super) fn clear(&mut self) {
        let host = std::mem::take(&mut self.host);
        *self = HeadFacts {
            host,
            ..HeadFacts::default()
        };
        self.host.clear();
    }

    /// Reads the request line, a field line or the last, empty line, without its CRLF.
    pub(super) fn read_line(&mut self, line: &[u8], fields_max: usize) -> Result<Line, LayerRefusal> {
        if self.request_line.is_none() {
            self.request_line = Some(RequestLine::read(line)?);
            return Ok(Line::More);
        }
        if line.is_empty() {
            self.finish()?;
            return Ok(Line::Last);
        }
        self.fields += 1;
        if self.fields > fields_max {
            return Err(LayerRefusal::HeadTooLong);
        }
        let (name, value) = split(line)?;
        match name.len() {
            4 if name.eq_ignore_ascii_case(b"host") => self.read_host(value)?,
            6 if name.eq_ignore_ascii_case(b"expect") => {
                self.expectation_unknown |= !value.eq_ignore_ascii_case(b"100-continue");
            }
            7 if name.eq_ignore_ascii_case(b"upgrade") => self.upgrade = true,
            10 if name.eq_ignore_ascii_case(b"connection") => check_connection(value)?,
            14 if name.eq_ignore_ascii_case(b"content-length") => self.read_content_length(value)?,
            14 if name.eq_ignore_ascii_case(b"content_length") => {
                return Err(FramingViolation::FieldNameLookalike.into());
            }
            17 if name.eq_ignore_ascii_case(b"transfer-encoding") => self.read_transfer_encoding(value)?,
            17 if name.eq_ignore_ascii_case(b"transfer_encoding") => {
                return Err(FramingViolation::FieldNameLookalike.into());
            }
            _ => {}
        }
        Ok(Line::More)
    }

    fn read_host(&mut self, value: &[u8]) -> Result<(), FramingViolation> {
        self.hosts += 1;
        if self.hosts > 1 {
            return Err(FramingViolation::HostCount);
        }
        if !is_valid_authority(value) {
            return Err(FramingViolation::HostValue);
        }
        self.host.clear();
        self.host.extend_from_slice(value);
        Ok(())
    }

    fn read_content_length(&mut self, value: &[u8]) -> Result<(), FramingViolation> {
        if self.transfer_encoding {
            return Err(FramingViolation::BothLengths);
        }
        // One number, written the one way everybody reads alike: no sign, no list, no leading zero.
        let plain =
            matches!(value, [b'0'] | [b'1'..=b'9', ..]) && value.len() <= 18 && value.iter().all(u8::is_ascii_digit);
        if !plain || self.content_length.is_some() {
            return Err(FramingViolation::ContentLength);
        }
        let digits = value.iter().map(|digit| u64::from(digit - b'0'));
        self.content_length = Some(digits.fold(0, |number, digit| number * 10 + digit));
        Ok(())
    }

    fn read_transfer_encoding(&mut self, value: &[u8]) -> Result<(), FramingViolation> {
        if self.content_length.is_some() {
            return Err(FramingViolation::BothLengths);
        }
        if self.transfer_encoding || self.request_line.as_ref().is_some_and(|line| line.http10) {
            return Err(FramingViolation::TransferEncoding);
        }
        self.transfer_encoding = true;
        if value.eq_ignore_ascii_case(b"chunked") {
            self.chunked = true;
            return Ok(());
        }
        let codings_are_tokens = value.split(|octet| *octet == b',').all(|coding| {
            let coding = trim(coding);
            !coding.is_empty() && coding.iter().all(|octet| is_token(*octet))
        });
        Err(if codings_are_tokens {
            FramingViolation::TransferCoding
        } else {
            FramingViolation::TransferEncoding
        })
    }

    /// Judges the head as a whole.
    fn finish(&mut self) -> Result<(), LayerRefusal> {
        let Some(request_line) = &self.request_line else {
            return Err(FramingViolation::RequestLine.into());
        };
        if self.hosts == 0 && !request_line.http10 {
            return Err(FramingViolation::HostCount.into());
        }
        if let Some((authority, default_port)) = &request_line.authority
            && self.hosts > 0
            && !same_authority(authority, &self.host, *default_port)
        {
            return Err(FramingViolation::HostMismatch.into());
        }
        // HTTP/1.0 knows neither expectations (RFC 9110 §10.1.1) nor upgrades (§7.8).
        if self.expectation_unknown && !request_line.http10 {
            return Err(LayerRefusal::ExpectationUnknown);
        }
        self.upgrade &= !request_line.http10;
        Ok(())
    }
}

/// Whether two authorities are the same host and port.
pub(super) fn same_authority(one: &[u8], other: &[u8], default_port: u16) -> bool {
    let port = |port: Option<&[u8]>| match port.and_then(|port| std::str::from_utf8(port).ok()) {
        Some(port) => port.parse().ok(),
        None => Some(default_port),
    };
    let ((host, own_port), (other_host, other_port)) = (split_port(one), split_port(other));
    host.eq_ignore_ascii_case(other_host) && port(own_port) == port(other_port)
}

/// Name and value of a field line, the value without surrounding blanks.
fn split(line: &[u8]) -> Result<(&[u8], &[u8]), FramingViolation> {
    if matches!(line.first(), Some(b' ' | b'\t')) {
        return Err(FramingViolation::Folding);
    }
    let (name, value) = match line
        .iter()
        .position(|octet| *octet == b':')
        .and_then(|colon| line.split_at_checked(colon))
    {
        Some((name, value)) => (name, value.get(1..).unwrap_or_default()),
        None => return Err(FramingViolation::FieldName),
    };
    if name.is_empty() || !name.iter().all(|octet| is_token(*octet)) {
        return Err(FramingViolation::FieldName);
    }
    if value.iter().any(|octet| octet.is_ascii_control() && *octet != b'\t') {
        return Err(FramingViolation::ControlCharacter);
    }
    Ok((name, trim(value)))
}

fn trim(value: &[u8]) -> &[u8] {
    let mut value = value;
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = value {
        value = rest;
    }
    value
}

/// A proxy removes what Connection names. That it should remove what frames or routes the request can only be meant to confuse.
fn check_connection(value: &[u8]) -> Result<(), FramingViolation> {
    for option in value.split(|octet| *octet == b',') {
        let option = trim(option);
        let framing = [&b"host"[..], b"content-length", b"transfer-encoding", b"trailer"];
        if framing.iter().any(|name| option.eq_ignore_ascii_case(name)) {
            return Err(FramingViolation::ConnectionOption);
        }
    }
    Ok(())
}

/// Checks a line of a trailer section: a field, and none that frames, routes or authorizes (RFC 9110 §6.5.1).
pub(super) fn check_trailer(line: &[u8]) -> Result<Line, LayerRefusal> {
    if line.is_empty() {
        return Ok(Line::Last);
    }
    let (name, _) = split(line)?;
    let forbidden = [
        &b"transfer-encoding"[..],
        b"transfer_encoding",
        b"content-length",
        b"content_length",
        b"host",
        b"connection",
        b"te",
        b"trailer",
        b"upgrade",
        b"expect",
        b"authorization",
        b"cookie",
        b"content-type",
        b"content-encoding",
        b"content-range",
    ];
    if forbidden.iter().any(|other| name.eq_ignore_ascii_case(other)) {
        return Err(FramingViolation::Trailer.into());
    }
    Ok(Line::More)
}
