//! The server's own signing keys, encrypted under the key file.

use keybound_protocol::time::Timestamp;
use zeroize::Zeroizing;

use crate::{Answer, AuditEntry};

/// A private key, PKCS #8 DER. Wiped when dropped, never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct PrivateKeyDer(Zeroizing<Vec<u8>>);

/// What a key may still do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SigningKeyState {
    /// Signs, and is published.
    Active,
    /// Has a successor: signs at most until that is known to those who verify, and is published until the last token it
    /// signed has expired.
    Retiring,
    /// Neither; its private key is gone and tokens it signed are denied.
    Revoked,
}

/// A signing key as stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredSigningKey {
    /// `kid`.
    pub key_id: String,
    /// `alg`, its registered name.
    pub algorithm: String,
    /// What it may still do.
    pub state: SigningKeyState,
    /// The private key; `None` once it is revoked.
    pub private_key: Option<PrivateKeyDer>,
    /// The public key, JSON text of one JWK.
    pub public_jwk: String,
    /// When it was added.
    pub created_at: Timestamp,
    /// When it last changed its state.
    pub changed_at: Timestamp,
}

/// What [`SigningKeys::rotate_signing_key`] stores.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewSigningKey {
    /// `kid`.
    pub key_id: String,
    /// `alg`, its registered name.
    pub algorithm: String,
    /// The private key.
    pub private_key: PrivateKeyDer,
    /// The public key, JSON text of one JWK.
    pub public_jwk: String,
}

/// The outcome of [`SigningKeys::rotate_signing_key`] and [`SigningKeys::create_first_signing_key`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RotateSigningKey {
    /// The new key is active.
    Rotated {
        /// The keys of the same algorithm that are retiring from now on.
        retiring: Vec<String>,
    },
    /// There is a key of this id (or, for a first key, an active one of this algorithm); nothing changed.
    AlreadyExists,
}

/// The outcome of [`SigningKeys::revoke_signing_key`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RevokeSigningKey {
    /// The private key is erased and everything it signed is denied.
    Revoked,
    /// It was revoked before.
    AlreadyRevoked,
    /// There is no such key.
    Unknown,
}

impl PrivateKeyDer {
    /// Takes a PKCS #8 document.
    pub fn from_pkcs8(der: Vec<u8>) -> PrivateKeyDer {
        PrivateKeyDer(Zeroizing::new(der))
    }

    pub(crate) fn from_zeroizing(der: Zeroizing<Vec<u8>>) -> PrivateKeyDer {
        PrivateKeyDer(der)
    }

    /// The PKCS #8 document.
    pub fn as_pkcs8(&self) -> &[u8] {
        &self.0
    }
}

impl std::fmt::Debug for PrivateKeyDer {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("PrivateKeyDer(…)")
    }
}

/// The server's own signing keys.
pub trait SigningKeys: Send + Sync {
    /// Adds a key only if there is no active one of its algorithm: what a first start does. Of two nodes that start at
    /// once, one creates it and the other finds it.
    fn create_first_signing_key(&self, key: NewSigningKey, entry: AuditEntry) -> Answer<RotateSigningKey>;

    /// Adds an active key; the active ones of the same algorithm are retiring from now on.
    fn rotate_signing_key(&self, key: NewSigningKey, entry: AuditEntry) -> Answer<RotateSigningKey>;

    /// Revokes a key: erases its private part and denies everything it signed, until `until` (when the last token
    /// it signed has expired, leeway included).
    fn revoke_signing_key(&self, key_id: String, until: Timestamp, entry: AuditEntry) -> Answer<RevokeSigningKey>;

    /// Retires the active keys of algorithms that are none of `kept`, once an active key of the first of those has taken over from
    /// them, and says which: all of them must have been added before `added_before`.
    fn retire_other_signing_keys(
        &self,
        kept: Vec<String>,
        added_before: Timestamp,
        entry: AuditEntry,
    ) -> Answer<Vec<String>>;

    /// Forgets keys that have been retiring since before `retiring_since`, and says which.
    fn remove_retired_signing_keys(&self, retiring_since: Timestamp, entry: AuditEntry) -> Answer<Vec<String>>;

    /// All keys, newest first, decrypted.
    fn signing_keys(&self) -> Answer<Vec<StoredSigningKey>>;
}
