//! Secrets that this server makes and later only recognises: client secrets (RFC 6749 §2.3.1), initial and registration access
//! tokens (RFC 7591 §3, RFC 7592 §3).
//!
//! A [`GeneratedSecret`] has 256 random bits and is shown once; what is kept is its [`SecretHash`]. For that many bits a plain hash
//! is enough: there is nothing to guess that a slow one would protect. Deliberately absent: passwords, which people choose.

use std::fmt;

use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

use crate::base64url;
use crate::digest::sha256;

/// How many random octets a secret is made of.
pub const SECRET_RANDOM_BYTES: usize = 32;

/// A secret on its way to whoever will use it. Not shown by `Debug`.
#[derive(Clone)]
pub struct GeneratedSecret(Zeroizing<String>);

/// SHA-256 of a secret: all that is kept of it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct SecretHash([u8; 32]);

/// The text is not the SHA-256 of anything in hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not 64 hexadecimal digits")]
pub struct SecretHashError;

impl GeneratedSecret {
    /// Makes a secret of random octets.
    pub fn from_random(random: [u8; SECRET_RANDOM_BYTES]) -> Self {
        Self(Zeroizing::new(base64url::encode(&random)))
    }

    /// The secret's text, 43 characters of base64url. To be shown once, and never logged.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What is kept of it.
    pub fn hash(&self) -> SecretHash {
        SecretHash::of(&self.0)
    }
}

impl SecretHash {
    /// The hash of a secret, its characters as they travel.
    pub fn of(secret: &str) -> Self {
        Self(sha256(secret.as_bytes()))
    }

    /// The hash that these octets are.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Reads what `sha256sum` prints: 64 hexadecimal digits.
    ///
    /// # Errors
    /// [`SecretHashError`]
    pub fn from_hex(text: &str) -> Result<Self, SecretHashError> {
        if text.len() != 64 || !text.bytes().all(|octet| octet.is_ascii_hexdigit()) {
            return Err(SecretHashError);
        }
        let mut bytes = [0; 32];
        for (index, octet) in bytes.iter_mut().enumerate() {
            let digits = text.get(index * 2..index * 2 + 2).ok_or(SecretHashError)?;
            *octet = u8::from_str_radix(digits, 16).map_err(|_| SecretHashError)?;
        }
        Ok(Self(bytes))
    }

    /// The 32 octets.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Whether this is the hash of `presented`. Takes the same time wherever they differ.
    pub fn matches(&self, presented: &str) -> bool {
        self.0.ct_eq(&sha256(presented.as_bytes())).into()
    }
}

impl fmt::Debug for GeneratedSecret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("GeneratedSecret(…)")
    }
}

impl fmt::Debug for SecretHash {
    /// The first four octets: enough to tell two apart in a log, too few to look one up.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, ..] = self.0;
        write!(formatter, "SecretHash({a:02x}{b:02x}{c:02x}{d:02x}…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::hex;

    #[test]
    fn a_hash_matches_its_secret_and_nothing_near_it() {
        let secret = GeneratedSecret::from_random([7; 32]);
        assert_eq!(secret.as_str().len(), 43);
        let hash = secret.hash();
        assert!(hash.matches(secret.as_str()));
        for near in ["", " ", &secret.as_str()[1..], &format!("{} ", secret.as_str())] {
            assert!(!hash.matches(near), "{near:?}");
        }
    }

    #[test]
    fn a_hash_is_read_in_hexadecimal_digits_alone() {
        let hash = SecretHash::of("x");
        assert_eq!(SecretHash::from_hex(&hex(hash.as_bytes())), Ok(hash));
        let digits = hex(hash.as_bytes());
        for text in [
            "",
            &digits[1..],
            &format!("{digits}0"),
            &format!("+{}", &digits[1..]),
            &"ä".repeat(32),
        ] {
            assert_eq!(SecretHash::from_hex(text), Err(SecretHashError), "{text:?}");
        }
    }

    #[test]
    fn debug_shows_no_secret() {
        let secret = GeneratedSecret::from_random([9; 32]);
        assert_eq!(format!("{secret:?}"), "GeneratedSecret(…)");
        assert!(format!("{:?}", secret.hash()).len() < 24);
    }
}
