//! A chunked body, octet by octet (RFC 9112 §7.1).

use crate::FramingViolation;

/// Extensions must be ignored, so they may come; nobody sends more than this.
const EXTENSION_BYTES_MAX: usize = 256;
/// Hexadecimal digits of a chunk size: more would not fit into 63 bits.
const SIZE_DIGITS_MAX: usize = 15;

/// Where in a chunked body we are.
#[derive(Debug)]
pub(super) enum Chunked {
    Size { value: u64, digits: usize },
    Extension { size: u64, bytes: usize },
    SizeLineFeed { size: u64 },
    Data { remaining: u64 },
    DataReturn,
    DataLineFeed,
}

impl Default for Chunked {
    fn default() -> Self {
        Chunked::Size { value: 0, digits: 0 }
    }
}

impl Chunked {
    /// Reads on. `Ok(Some(n))`: after `n` octets the last chunk is over and the trailer section begins. `Err` has the number of
    /// octets before the offending one.
    pub(super) fn advance(&mut self, input: &[u8]) -> Result<Option<usize>, (usize, FramingViolation)> {
        let mut at = 0;
        while let Some(octet) = input.get(at) {
            if let Chunked::Data { remaining } = self {
                let here = usize::try_from(*remaining).unwrap_or(usize::MAX).min(input.len() - at);
                *remaining -= here as u64;
                at += here;
                if *remaining == 0 {
                    *self = Chunked::DataReturn;
                }
                continue;
            }
            *self = self.step(*octet).map_err(|violation| (at, violation))?;
            at += 1;
            if let Chunked::Data { remaining: 0 } = self {
                return Ok(Some(at));
            }
        }
        Ok(None)
    }

    /// The state after one octet of framing. `Data` with nothing remaining is the end of the last chunk.
    fn step(&self, octet: u8) -> Result<Chunked, FramingViolation> {
        match (self, octet) {
            (Chunked::Size { value, digits }, octet) if octet.is_ascii_hexdigit() && *digits < SIZE_DIGITS_MAX => {
                let digit = (octet as char).to_digit(16).map_or(0, u64::from);
                Ok(Chunked::Size {
                    value: value * 16 + digit,
                    digits: digits + 1,
                })
            }
            (Chunked::Size { value, digits: 1.. }, b'\r') => Ok(Chunked::SizeLineFeed { size: *value }),
            (Chunked::Size { value, digits: 1.. }, b';') => Ok(Chunked::Extension { size: *value, bytes: 0 }),
            (Chunked::Extension { size, .. }, b'\r') => Ok(Chunked::SizeLineFeed { size: *size }),
            (Chunked::Extension { size, bytes }, b'\t' | b' '..=b'~') if *bytes < EXTENSION_BYTES_MAX => {
                Ok(Chunked::Extension {
                    size: *size,
                    bytes: bytes + 1,
                })
            }
            (Chunked::SizeLineFeed { size }, b'\n') => Ok(Chunked::Data { remaining: *size }),
            (Chunked::DataReturn, b'\r') => Ok(Chunked::DataLineFeed),
            (Chunked::DataLineFeed, b'\n') => Ok(Chunked::default()),
            (Chunked::DataReturn | Chunked::DataLineFeed, _) => Err(FramingViolation::ChunkEnd),
            _ => Err(FramingViolation::ChunkSize),
        }
    }
}
