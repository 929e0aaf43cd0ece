//! Nonces that a server hands out for DPoP proofs (RFC 9449 §8, §9): a time and a MAC over it, so that nothing is remembered.
//!
//! A nonce shows that a proof was made after the nonce was: whoever makes proofs in advance, or has a wrong clock, does not get far. It
//! is not one-time; that a proof is used once is what its `jti` is for.

use std::fmt;
use std::time::Duration;

use aws_lc_rs::hmac::{self, HMAC_SHA256};

use crate::base64url;
use crate::time::Timestamp;

/// How long one nonce is handed out.
pub const NONCE_INTERVAL: Duration = Duration::from_secs(60);
/// For how many intervals after its own a nonce still counts: about five minutes.
pub const NONCE_INTERVALS_KEPT: u64 = 5;

/// How many octets of the MAC are in a nonce: nobody guesses 128 bits within minutes.
const TAG_BYTES: usize = 16;
/// Says what the MAC is for, so that no other use of the key makes a nonce.
const LABEL: &[u8] = b"keybound dpop nonce";

/// What nonces of one server, or of several that share a key, are made with.
pub struct DpopNonces {
    key: hmac::Key,
}

/// Why a `nonce` does not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DpopNonceError {
    /// This server did not make it.
    #[error("the nonce is not one of this server")]
    Unknown,
    /// It did, and that was too long ago.
    #[error("the nonce is too old")]
    Old,
}

/// A nonce that counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NonceAge {
    /// The one that is handed out now.
    Current,
    /// An earlier one: the client should be given the current one.
    Earlier,
}

impl DpopNonces {
    /// Nonces by this key. Servers that answer under one name need the same, or each of them asks for another nonce.
    pub fn new(key: &[u8; 32]) -> DpopNonces {
        DpopNonces {
            key: hmac::Key::new(HMAC_SHA256, key),
        }
    }

    /// The nonce that is handed out at `now`: 32 characters of base64url.
    pub fn current(&self, now: Timestamp) -> String {
        self.of(interval_of(now))
    }

    /// Decides whether `presented` is a nonce of ours that still counts at `now`.
    ///
    /// # Errors
    /// See [`DpopNonceError`].
    pub fn judge(&self, presented: &str, now: Timestamp) -> Result<NonceAge, DpopNonceError> {
        let octets = base64url::decode(presented).map_err(|_| DpopNonceError::Unknown)?;
        let (interval, tag) = octets.split_first_chunk::<8>().ok_or(DpopNonceError::Unknown)?;
        let interval = u64::from_be_bytes(*interval);
        // One sixteen-octet prefix of a MAC has one encoding: comparing what we would have made compares all of it.
        let expected = self.tag(interval);
        if aws_lc_rs::constant_time::verify_slices_are_equal(&expected, tag).is_err() {
            return Err(DpopNonceError::Unknown);
        }
        let current = interval_of(now);
        if interval == current {
            return Ok(NonceAge::Current);
        }
        // One of the interval to come was made by another node, whose clock is ahead.
        let is_kept = interval.saturating_add(NONCE_INTERVALS_KEPT) >= current && interval <= current.saturating_add(1);
        if is_kept {
            Ok(NonceAge::Earlier)
        } else {
            Err(DpopNonceError::Old)
        }
    }

    fn of(&self, interval: u64) -> String {
        let mut octets = interval.to_be_bytes().to_vec();
        octets.extend_from_slice(&self.tag(interval));
        base64url::encode(&octets)
    }

    fn tag(&self, interval: u64) -> [u8; TAG_BYTES] {
        let mut context = hmac::Context::with_key(&self.key);
        context.update(LABEL);
        context.update(&interval.to_be_bytes());
        let mut tag = [0; TAG_BYTES];
        for (octet, made) in tag.iter_mut().zip(context.sign().as_ref()) {
            *octet = *made;
        }
        tag
    }
}

impl fmt::Debug for DpopNonces {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("DpopNonces(…)")
    }
}

/// The interval of a moment, counted from 1970; moments before that are of the first.
fn interval_of(now: Timestamp) -> u64 {
    u64::try_from(now.unix_secs()).unwrap_or_default() / NONCE_INTERVAL.as_secs()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_unix_secs(1_800_000_000);

    #[test]
    fn a_nonce_counts_for_five_minutes_and_only_with_its_maker() {
        let nonces = DpopNonces::new(&[7; 32]);
        let nonce = nonces.current(NOW);
        assert_eq!(nonce.len(), 32);
        for (seconds, expected) in [
            (0, Ok(NonceAge::Current)),
            (59, Ok(NonceAge::Current)),
            (60, Ok(NonceAge::Earlier)),
            (359, Ok(NonceAge::Earlier)),
            (360, Err(DpopNonceError::Old)),
            (86_400, Err(DpopNonceError::Old)),
            (-1, Ok(NonceAge::Earlier)),
            (-60, Ok(NonceAge::Earlier)),
            (-61, Err(DpopNonceError::Old)),
        ] {
            let then = Timestamp::from_unix_secs(NOW.unix_secs() + seconds);
            assert_eq!(nonces.judge(&nonce, then), expected, "{seconds}");
        }
        assert_eq!(
            DpopNonces::new(&[8; 32]).judge(&nonce, NOW),
            Err(DpopNonceError::Unknown)
        );
        assert_eq!(DpopNonces::new(&[7; 32]).judge(&nonce, NOW), Ok(NonceAge::Current));
    }

    #[test]
    fn no_other_text_is_a_nonce() {
        let nonces = DpopNonces::new(&[7; 32]);
        let nonce = nonces.current(NOW);
        for position in 0..nonce.len() {
            let mut altered = nonce.clone().into_bytes();
            altered[position] = if altered[position] == b'A' { b'B' } else { b'A' };
            let altered = String::from_utf8(altered).unwrap_or_default();
            assert_eq!(nonces.judge(&altered, NOW), Err(DpopNonceError::Unknown), "{altered}");
        }
        for text in [
            "",
            "A",
            &nonce[..31],
            &format!("{nonce}A"),
            &format!("{nonce}="),
            "AAAAAAAAAAA",
        ] {
            assert_eq!(nonces.judge(text, NOW), Err(DpopNonceError::Unknown), "{text}");
        }
    }

    #[test]
    fn debug_does_not_show_the_key() {
        assert_eq!(format!("{:?}", DpopNonces::new(&[7; 32])), "DpopNonces(…)");
    }
}
