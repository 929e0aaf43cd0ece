//! The server's signing keys: which one signs, which ones are published.
//!
//! A new key is published before it signs, for resource servers fetch the key set at most every 30 s: the predecessor goes on
//! signing for [`PUBLISHED_BEFORE_SIGNING`]. A retiring key stays published until the last token that it signed has expired.
//!
//! When the configuration asks for another algorithm, a key of that one is made and takes over in the same way. Its predecessor
//! stays active for the time being, for the configuration may be taken back, and retires later (`Server::remove_expired`).

use std::sync::Arc;
use std::time::Duration;

use arc_swap::{ArcSwap, Guard};
use aws_lc_rs::rand::SystemRandom;
use keybound_protocol::access_token::encoder::PreparedSigner;
use keybound_protocol::jwk_set::{JwkSet, JwkSetError};
use keybound_protocol::signature_algorithm::SignatureAlgorithm;
use keybound_protocol::signer::{LocalSigner, Signer, SignerError, SigningError};
use keybound_protocol::time::Timestamp;
use keybound_store::{
    Actor, AuditEntry, NewSigningKey, PrivateKeyDer, SigningKeyState, SigningKeys as StoredKeys, StoreError,
    StoredSigningKey,
};

use crate::response::PublicDocument;

/// How long a key is published before it signs, unless there is no other.
pub const PUBLISHED_BEFORE_SIGNING: Duration = Duration::from_secs(60);
/// How long caches may keep the key set.
const KEY_SET_FRESH: Duration = Duration::from_secs(15);

/// Makes a signature, elsewhere if it takes long: this thread serves many connections, and none of them waits for another one's.
///
/// # Errors
/// [`SigningError`] if the key cannot be used.
pub(crate) async fn sign(
    signer: Arc<dyn Signer>,
    make: impl FnOnce(&dyn Signer) -> Result<String, SigningError> + Send + 'static,
) -> Result<String, SigningError> {
    let algorithm = signer.algorithm();
    if !algorithm.signs_slowly() {
        return make(&*signer);
    }
    tokio::task::spawn_blocking(move || make(&*signer))
        .await
        .unwrap_or(Err(SigningError { algorithm }))
}

/// The keys of this server, as they are now.
pub(crate) struct SigningKeys {
    stored: Arc<dyn StoredKeys>,
    random: SystemRandom,
    ring: ArcSwap<KeyRing>,
}

/// One state of the keys.
pub(crate) struct KeyRing {
    /// What signs.
    pub(crate) signer: PreparedSigner,
    /// Every key whose signatures count.
    pub(crate) published: JwkSet,
    /// The key set as it is served.
    pub(crate) document: PublicDocument,
    /// All keys, revoked ones included, newest first.
    pub(crate) all: Vec<SigningKeySummary>,
    /// The `kid` of what signs.
    pub(crate) key_id: Arc<str>,
    fingerprint: Vec<(String, SigningKeyState)>,
}

/// What the admin API says about a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SigningKeySummary {
    pub(crate) key_id: String,
    pub(crate) algorithm: String,
    pub(crate) state: SigningKeyState,
    pub(crate) signs: bool,
    pub(crate) created_at: Timestamp,
    pub(crate) changed_at: Timestamp,
}

/// Why there is no key to sign with.
#[derive(Debug, thiserror::Error)]
pub enum SigningKeysError {
    /// The store did not answer.
    #[error("the signing keys could not be read")]
    Store(#[from] StoreError),
    /// A key cannot be used.
    #[error("signing key {key_id} cannot be used")]
    Key {
        /// Its `kid`.
        key_id: String,
        /// The cause.
        #[source]
        source: SignerError,
    },
    /// A key could not be made.
    #[error("a signing key for {algorithm} could not be made")]
    Generate {
        /// The algorithm.
        algorithm: SignatureAlgorithm,
        /// The cause.
        #[source]
        source: SignerError,
    },
    /// The keys make no set.
    #[error("the signing keys make no key set")]
    Set(#[from] JwkSetError),
    /// There is no active key of the configured algorithm, although one was just made.
    #[error("there is no active signing key for {0}")]
    NoActiveKey(SignatureAlgorithm),
}

impl SigningKeys {
    /// Reads the keys; makes the first one of `algorithm` if there is none.
    pub(crate) async fn open(
        stored: Arc<dyn StoredKeys>,
        algorithm: SignatureAlgorithm,
        now: Timestamp,
    ) -> Result<SigningKeys, SigningKeysError> {
        let random = SystemRandom::new();
        let ring = load_or_create(&stored, algorithm, &random, now).await?;
        Ok(SigningKeys {
            stored,
            random,
            ring: ArcSwap::from_pointee(ring),
        })
    }

    /// Reads the keys again: another process may have rotated them, and a new key becomes old enough to sign.
    ///
    /// `None` if nothing changed. What is read counts once it is put in [place](Self::replace).
    pub(crate) async fn read(
        &self,
        algorithm: SignatureAlgorithm,
        now: Timestamp,
    ) -> Result<Option<KeyRing>, SigningKeysError> {
        let stored = self.stored.signing_keys().await?;
        let current = self.ring.load();
        let unchanged = fingerprint(&stored) == current.fingerprint
            && choose(&stored, algorithm, now).is_some_and(|signing| *signing.key_id == *current.key_id);
        if unchanged {
            return Ok(None);
        }
        match ring(stored, algorithm, &self.random, now)? {
            Some(ring) => Ok(Some(ring)),
            None => load_or_create(&self.stored, algorithm, &self.random, now)
                .await
                .map(Some),
        }
    }

    /// From now on these are the keys.
    pub(crate) fn replace(&self, ring: KeyRing) {
        self.ring.store(Arc::new(ring));
    }

    /// The keys now.
    pub(crate) fn ring(&self) -> Guard<Arc<KeyRing>> {
        self.ring.load()
    }
}

async fn load_or_create(
    stored: &Arc<dyn StoredKeys>,
    algorithm: SignatureAlgorithm,
    random: &SystemRandom,
    now: Timestamp,
) -> Result<KeyRing, SigningKeysError> {
    if let Some(ring) = ring(stored.signing_keys().await?, algorithm, random, now)? {
        return Ok(ring);
    }
    let failed = |source| SigningKeysError::Generate { algorithm, source };
    // An RSA key takes up to seconds, in which this thread goes on answering.
    let generator = random.clone();
    let signer = tokio::task::spawn_blocking(move || LocalSigner::generate(algorithm, &generator))
        .await
        .unwrap_or(Err(SignerError::Library))
        .map_err(failed)?;
    let key = NewSigningKey {
        key_id: signer.key_id().to_owned(),
        algorithm: algorithm.name().to_owned(),
        private_key: PrivateKeyDer::from_pkcs8(signer.to_pkcs8().map_err(failed)?.to_vec()),
        public_jwk: signer.public_jwk().to_json().to_string(),
    };
    // Of two nodes that start at once one creates it; both then read the same keys.
    stored
        .create_first_signing_key(key, AuditEntry::new(now, Actor::Server))
        .await?;
    ring(stored.signing_keys().await?, algorithm, random, now)?.ok_or(SigningKeysError::NoActiveKey(algorithm))
}

/// `None` if there is no active key of the algorithm.
fn ring(
    stored: Vec<StoredSigningKey>,
    algorithm: SignatureAlgorithm,
    random: &SystemRandom,
    now: Timestamp,
) -> Result<Option<KeyRing>, SigningKeysError> {
    let Some(signing) = choose(&stored, algorithm, now).map(|key| key.key_id.clone()) else {
        return Ok(None);
    };
    let fingerprint = fingerprint(&stored);
    let mut signer = None;
    let mut published = Vec::new();
    let mut all = Vec::with_capacity(stored.len());
    for key in stored {
        let signs = key.key_id == signing;
        if let Some(opened) = open_key(&key, random)? {
            published.push(opened.public_jwk().clone());
            if signs {
                signer = Some(PreparedSigner::new(Arc::new(opened)));
            }
        }
        all.push(SigningKeySummary {
            key_id: key.key_id,
            algorithm: key.algorithm,
            state: key.state,
            signs,
            created_at: key.created_at,
            changed_at: key.changed_at,
        });
    }
    let published = JwkSet::new(published)?;
    let document = PublicDocument::new(published.to_json().to_string(), KEY_SET_FRESH);
    Ok(signer.map(|signer| KeyRing {
        signer,
        published,
        document,
        all,
        key_id: signing.into(),
        fingerprint,
    }))
}

/// The key that signs: the newest active one of the algorithm that has been published for long enough; until then its
/// predecessor; the newest active one if there is no predecessor.
fn choose(stored: &[StoredSigningKey], algorithm: SignatureAlgorithm, now: Timestamp) -> Option<&StoredSigningKey> {
    let is_of_algorithm = |key: &StoredSigningKey| key.algorithm == algorithm.name();
    let is_published = |key: &StoredSigningKey| now.duration_since(key.created_at) >= PUBLISHED_BEFORE_SIGNING;
    let usable = || {
        stored
            .iter()
            .filter(|key| key.private_key.is_some() && SignatureAlgorithm::from_name(&key.algorithm).is_some())
    };
    let newest_active = usable()
        .filter(|key| is_of_algorithm(key) && key.state == SigningKeyState::Active)
        .max_by_key(|key| key.created_at)?;
    if is_published(newest_active) {
        return Some(newest_active);
    }
    let predecessor = usable()
        .filter(|key| is_published(key))
        .filter(|key| match key.state {
            SigningKeyState::Retiring => is_of_algorithm(key) && key.changed_at == newest_active.created_at,
            // What signed until the configuration asked for this algorithm.
            SigningKeyState::Active => !is_of_algorithm(key),
            SigningKeyState::Revoked => false,
        })
        .max_by_key(|key| (is_of_algorithm(key), key.created_at));
    Some(predecessor.unwrap_or(newest_active))
}

/// The private half of a key that still counts.
fn open_key(key: &StoredSigningKey, random: &SystemRandom) -> Result<Option<LocalSigner>, SigningKeysError> {
    let (Some(private_key), Some(algorithm)) = (&key.private_key, SignatureAlgorithm::from_name(&key.algorithm)) else {
        return Ok(None);
    };
    if key.state == SigningKeyState::Revoked {
        return Ok(None);
    }
    LocalSigner::from_pkcs8(algorithm, private_key.as_pkcs8(), random)
        .map(Some)
        .map_err(|source| SigningKeysError::Key {
            key_id: key.key_id.clone(),
            source,
        })
}

fn fingerprint(stored: &[StoredSigningKey]) -> Vec<(String, SigningKeyState)> {
    stored.iter().map(|key| (key.key_id.clone(), key.state)).collect()
}
