//! The key file: 32 random bytes beside the database, never in it. What the store must be able to read again is
//! encrypted under it, and the heads of the audit chains are sealed with it.
//!
//! A copy of the database alone (a backup, a disk that was thrown away) therefore gives no signing key away, and
//! whoever can write the database alone can't rewrite the audit log unseen.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use aws_lc_rs::aead::{AES_256_GCM, Aad, Nonce, RandomizedNonceKey};
use aws_lc_rs::hkdf::{HKDF_SHA256, KeyType, Salt};
use aws_lc_rs::hmac;
use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use keybound_protocol::dpop_nonce::DpopNonces;
use keybound_protocol::grant_id::GrantId;
use zeroize::Zeroizing;

use crate::OpenError;

/// How the one line of a key file begins; 43 characters of base64url follow.
const PREFIX: &str = "keybound-key-1 ";
/// Longer than any key file: nothing more is read of whatever else the path names.
const KEY_FILE_BYTES_MAX: u64 = 256;
/// The first byte of everything sealed: how the rest is made.
const SEALED_FORMAT: u8 = 1;
const NONCE_BYTES: usize = 12;
const KEY_BYTES: usize = 32;

/// An opened key file. Its keys are never printed.
pub struct KeyFile {
    path: PathBuf,
    sealing: RandomizedNonceKey,
    audit: hmac::Key,
    /// What successors of refresh tokens are derived with.
    successors: Salt,
    /// Of the nonces for DPoP proofs, so that they count at every node and after a restart.
    dpop_nonces: Arc<DpopNonces>,
}

/// The sealed value does not open under this key file and this label.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("does not open under this key file")]
pub(crate) struct NotSealedByUs;

impl KeyFile {
    /// Makes a new key file, readable by its owner only, and opens it. Durable when this returns.
    ///
    /// # Errors
    /// [`OpenError::KeyFileUnusable`] if there is a file already (it is never overwritten) or it can't be made.
    pub fn create(path: &Path) -> Result<KeyFile, OpenError> {
        let unusable = |reason: String| OpenError::KeyFileUnusable {
            path: path.to_path_buf(),
            reason,
        };
        let key =
            Zeroizing::new(random::<KEY_BYTES>().ok_or_else(|| unusable("the system has no random numbers".into()))?);
        let text = Zeroizing::new(format!(
            "{PREFIX}{}\n",
            *Zeroizing::new(URL_SAFE_NO_PAD.encode(key.as_ref()))
        ));
        write_new(path, text.as_bytes()).map_err(|error| unusable(error.to_string()))?;
        KeyFile::from_key(path, &key)
    }

    /// Opens an existing key file.
    ///
    /// # Errors
    /// Every `OpenError::KeyFile…` except `KeyFileWrong`; among them: it is missing, others than its owner may use it, it is
    /// something else.
    pub fn open(path: &Path) -> Result<KeyFile, OpenError> {
        let unusable = |error: std::io::Error| OpenError::KeyFileUnusable {
            path: path.to_path_buf(),
            reason: error.to_string(),
        };
        let malformed = |reason| OpenError::KeyFileMalformed {
            path: path.to_path_buf(),
            reason,
        };
        let file = File::open(path).map_err(|error| match error.kind() {
            ErrorKind::NotFound => OpenError::KeyFileMissing {
                path: path.to_path_buf(),
            },
            _ => unusable(error),
        })?;
        check_mode(path, &file)?;
        let mut text = Zeroizing::new(String::new());
        file.take(KEY_FILE_BYTES_MAX)
            .read_to_string(&mut text)
            .map_err(|error| match error.kind() {
                ErrorKind::InvalidData => malformed("it is not text"),
                _ => unusable(error),
            })?;
        let line = text.strip_suffix('\n').unwrap_or(&text);
        let encoded = line
            .strip_prefix(PREFIX)
            .ok_or(malformed("it does not begin with \"keybound-key-1\""))?;
        let mut key = Zeroizing::new([0; KEY_BYTES]);
        match URL_SAFE_NO_PAD.decode_slice(encoded, key.as_mut()) {
            Ok(KEY_BYTES) => KeyFile::from_key(path, &key),
            _ => Err(malformed("its key is cut short or altered")),
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Encrypts `plain` (AES-256-GCM, random nonce). It opens only under the same `label`, which names what it is and
    /// whose.
    pub(crate) fn seal(&self, plain: &[u8], label: &[u8]) -> Result<Vec<u8>, NotSealedByUs> {
        let mut sealed = Zeroizing::new(Vec::with_capacity(plain.len() + AES_256_GCM.tag_len()));
        sealed.extend_from_slice(plain);
        let nonce = self
            .sealing
            .seal_in_place_append_tag(Aad::from(label), &mut *sealed)
            .map_err(|_| NotSealedByUs)?;
        let mut all = Vec::with_capacity(1 + NONCE_BYTES + sealed.len());
        all.push(SEALED_FORMAT);
        all.extend_from_slice(nonce.as_ref());
        all.extend_from_slice(&sealed);
        Ok(all)
    }

    /// Decrypts what [`seal`](KeyFile::seal) made.
    pub(crate) fn unseal(&self, sealed: &[u8], label: &[u8]) -> Result<Zeroizing<Vec<u8>>, NotSealedByUs> {
        let (format, rest) = sealed.split_first().ok_or(NotSealedByUs)?;
        if *format != SEALED_FORMAT {
            return Err(NotSealedByUs);
        }
        let (nonce, ciphertext) = rest.split_at_checked(NONCE_BYTES).ok_or(NotSealedByUs)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| NotSealedByUs)?;
        let mut buffer = Zeroizing::new(ciphertext.to_vec());
        let plain_bytes = self
            .sealing
            .open_in_place(nonce, Aad::from(label), &mut buffer)
            .map_err(|_| NotSealedByUs)?
            .len();
        buffer.truncate(plain_bytes);
        Ok(buffer)
    }

    /// The seal of an audit chain's head.
    pub(crate) fn audit_seal(&self, head: &[u8]) -> hmac::Tag {
        hmac::sign(&self.audit, head)
    }

    /// True if `seal` is ours for this head. Constant time.
    pub(crate) fn is_audit_seal(&self, head: &[u8], seal: &[u8]) -> bool {
        hmac::verify(&self.audit, head, seal).is_ok()
    }

    /// The nonces for DPoP proofs: the same wherever this key file is.
    pub(crate) fn dpop_nonces(&self) -> Arc<DpopNonces> {
        Arc::clone(&self.dpop_nonces)
    }

    /// The successor of a refresh token: 256 bits in base64url, derived from the token, this key file, and the successor's
    /// place in its family. `None` if the cryptographic library fails.
    pub(crate) fn refresh_token_successor(
        &self,
        token: &str,
        family: &GrantId,
        generation: u64,
    ) -> Option<Zeroizing<String>> {
        let place = generation.saturating_add(1).to_be_bytes();
        let mut derived = Zeroizing::new([0; KEY_BYTES]);
        self.successors
            .extract(token.as_bytes())
            .expand(&[family.as_str().as_bytes(), &place], KeyBytes)
            .and_then(|expanded| expanded.fill(derived.as_mut()))
            .ok()?;
        Some(Zeroizing::new(URL_SAFE_NO_PAD.encode(derived.as_ref())))
    }

    /// One key per purpose, so that no two purposes can be played against each other.
    fn from_key(path: &Path, key: &[u8; KEY_BYTES]) -> Result<KeyFile, OpenError> {
        let unusable = |_| OpenError::KeyFileUnusable {
            path: path.to_path_buf(),
            reason: "the cryptographic library refused its key".into(),
        };
        let sealing = derive(key, b"keybound sealed at rest").map_err(unusable)?;
        let audit = derive(key, b"keybound audit chain heads").map_err(unusable)?;
        let successors = derive(key, b"keybound refresh token successors").map_err(unusable)?;
        let dpop_nonces = derive(key, b"keybound dpop nonces").map_err(unusable)?;
        Ok(KeyFile {
            path: path.to_path_buf(),
            successors: Salt::new(HKDF_SHA256, successors.as_ref()),
            sealing: RandomizedNonceKey::new(&AES_256_GCM, sealing.as_ref()).map_err(unusable)?,
            audit: hmac::Key::new(hmac::HMAC_SHA256, audit.as_ref()),
            dpop_nonces: Arc::new(DpopNonces::new(&dpop_nonces)),
        })
    }
}

impl std::fmt::Debug for KeyFile {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "KeyFile({})", self.path.display())
    }
}

/// Random bytes for what is made once in the life of an installation; `None` if the system has none.
pub(crate) fn random<const BYTES: usize>() -> Option<[u8; BYTES]> {
    let mut bytes = [0; BYTES];
    SystemRandom::new().fill(&mut bytes).ok().map(|()| bytes)
}

struct KeyBytes;

impl KeyType for KeyBytes {
    fn len(&self) -> usize {
        KEY_BYTES
    }
}

fn derive(key: &[u8; KEY_BYTES], purpose: &[u8]) -> Result<Zeroizing<[u8; KEY_BYTES]>, aws_lc_rs::error::Unspecified> {
    let mut derived = Zeroizing::new([0; KEY_BYTES]);
    Salt::new(HKDF_SHA256, &[])
        .extract(key)
        .expand(&[purpose], KeyBytes)?
        .fill(derived.as_mut())?;
    Ok(derived)
}

/// Writes a file that must not exist yet, readable by its owner only, and waits until it and its name are on the disk.
fn write_new(path: &Path, content: &[u8]) -> std::io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path)?;
    file.write_all(content)?;
    file.sync_all()?;
    let directory = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    File::open(directory)?.sync_all()
}

/// A key that others can read is no key. The open file is asked, not its path, so that nobody can swap it in between.
#[cfg(unix)]
fn check_mode(path: &Path, file: &File) -> Result<(), OpenError> {
    use std::os::unix::fs::PermissionsExt;

    let unusable = |reason: String| OpenError::KeyFileUnusable {
        path: path.to_path_buf(),
        reason,
    };
    let metadata: fs::Metadata = file.metadata().map_err(|error| unusable(error.to_string()))?;
    if !metadata.is_file() {
        return Err(unusable("it is not a regular file".into()));
    }
    let mode = metadata.permissions().mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(OpenError::KeyFileMode {
            path: path.to_path_buf(),
            mode,
        });
    }
    Ok(())
}

/// Elsewhere there are no permission bits to look at.
#[cfg(not(unix))]
fn check_mode(_path: &Path, _file: &File) -> Result<(), OpenError> {
    Ok(())
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn is_created_for_its_owner_only_and_never_overwritten() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("keys.kek");
        KeyFile::create(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o600);
        let before = fs::read(&path).unwrap();
        assert!(matches!(KeyFile::create(&path), Err(OpenError::KeyFileUnusable { .. })));
        assert_eq!(fs::read(&path).unwrap(), before);
    }

    #[test]
    fn refuses_a_file_that_others_may_use() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("keys.kek");
        KeyFile::create(&path).unwrap();
        for mode in [0o644, 0o640, 0o604, 0o620, 0o601] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            let error = KeyFile::open(&path).unwrap_err();
            assert!(
                matches!(error, OpenError::KeyFileMode { mode: found, .. } if found == mode),
                "{mode:o}: {error}"
            );
            assert!(error.fix().contains("chmod 600"));
        }
        fs::set_permissions(&path, fs::Permissions::from_mode(0o400)).unwrap();
        KeyFile::open(&path).unwrap();
    }

    #[test]
    fn refuses_what_is_not_a_key_file() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("keys.kek");
        KeyFile::create(&path).unwrap();
        let good = fs::read(&path).unwrap();
        let mut altered = good.clone();
        altered[20] = b'!';
        for bad in [
            &b""[..],
            b"\n",
            b"keybound-key-1 ",
            &good[..good.len() - 5],
            &altered,
            b"\xff\xfe",
            &[b'a'; 4096],
        ] {
            fs::write(&path, bad).unwrap();
            let error = KeyFile::open(&path).unwrap_err();
            assert!(matches!(error, OpenError::KeyFileMalformed { .. }), "{bad:?}: {error}");
            assert!(error.to_string().contains("keys.kek"));
        }
        fs::remove_file(&path).unwrap();
        assert!(matches!(KeyFile::open(&path), Err(OpenError::KeyFileMissing { .. })));
        assert!(matches!(
            KeyFile::open(directory.path()),
            Err(OpenError::KeyFileUnusable { .. })
        ));
    }

    #[test]
    fn opens_what_it_sealed_and_nothing_altered_or_mislabelled() {
        let directory = tempfile::tempdir().unwrap();
        let ours = KeyFile::create(&directory.path().join("ours")).unwrap();
        let theirs = KeyFile::create(&directory.path().join("theirs")).unwrap();
        let sealed = ours.seal(b"a private key", b"signing key 1").unwrap();
        assert_eq!(*ours.unseal(&sealed, b"signing key 1").unwrap(), b"a private key");
        let reopened = KeyFile::open(&directory.path().join("ours")).unwrap();
        assert_eq!(*reopened.unseal(&sealed, b"signing key 1").unwrap(), b"a private key");
        assert_ne!(
            sealed,
            ours.seal(b"a private key", b"signing key 1").unwrap(),
            "a nonce was used twice"
        );
        assert_eq!(ours.unseal(&sealed, b"signing key 2"), Err(NotSealedByUs));
        assert_eq!(theirs.unseal(&sealed, b"signing key 1"), Err(NotSealedByUs));
        for index in 0..sealed.len() {
            let mut altered = sealed.clone();
            altered[index] ^= 1;
            assert_eq!(
                ours.unseal(&altered, b"signing key 1"),
                Err(NotSealedByUs),
                "byte {index}"
            );
            assert_eq!(
                ours.unseal(&sealed[..index], b"signing key 1"),
                Err(NotSealedByUs),
                "cut at {index}"
            );
        }
    }

    #[test]
    fn derives_one_successor_for_each_token_family_generation_and_installation() {
        let directory = tempfile::tempdir().unwrap();
        let ours = KeyFile::create(&directory.path().join("ours")).unwrap();
        let theirs = KeyFile::create(&directory.path().join("theirs")).unwrap();
        let (family, other_family) = (GrantId::from_random([1; 16]), GrantId::from_random([2; 16]));
        let successor = ours.refresh_token_successor("token", &family, 1).unwrap();
        assert_eq!(successor.len(), 43);
        let reopened = KeyFile::open(&directory.path().join("ours")).unwrap();
        assert_eq!(
            reopened.refresh_token_successor("token", &family, 1).unwrap(),
            successor
        );
        for other in [
            ours.refresh_token_successor("Token", &family, 1),
            ours.refresh_token_successor("token", &other_family, 1),
            ours.refresh_token_successor("token", &family, 2),
            theirs.refresh_token_successor("token", &family, 1),
        ] {
            assert_ne!(other.unwrap(), successor);
        }
    }

    #[test]
    fn prints_no_key() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("keys.kek");
        let key_file = KeyFile::create(&path).unwrap();
        assert_eq!(format!("{key_file:?}"), format!("KeyFile({})", path.display()));
    }
}
