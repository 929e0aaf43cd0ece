//! The server's signing keys: which one signs, which ones are published.
//!
//! A new key is published before it signs, for resource servers fetch the key set at most every 30 s: the predecessor goes on
//! signing for [`PUBLISHED_BEFORE_SIGNING`]. A retiring key stays published until the last token that it signed has expired.
//!
//! When the configuration asks for another algorithm, a key of that one is made and takes over in the same way. Its predecessor
//! stays active for the time being, for the configuration may be taken back, and retires later (`Server::remove_expired`).
//!
//! Beside the algorithm of access tokens there may be others, which clients register for what is signed for them
//! ([`KeyRing::signer_for`]). A key of each is there, and is replaced like the first.

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
    /// What signs access tokens, and everything for those who registered no algorithm.
    pub(crate) signer: PreparedSigner,
    /// What signs for those who registered another algorithm.
    others: Vec<Arc<dyn Signer>>,
    /// Every key whose signatures count.
    pub(crate) published: JwkSet,
    /// The key set as it is served.
    pub(crate) document: PublicDocument,
    /// All keys, revoked ones included, newest first.
    pub(crate) all: Vec<SigningKeySummary>,
    /// The `kid` of what signs access tokens.
    pub(crate) key_id: Arc<str>,
    /// What was chosen, and from what.
    chosen: Chosen,
    fingerprint: Vec<(String, SigningKeyState)>,
}

/// The keys that sign, by `kid`.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Chosen {
    tokens: String,
    /// One for each of the other algorithms.
    others: Vec<String>,
}

impl KeyRing {
    /// The key for who registered this algorithm, or none. `None` if no key of that algorithm signs: it did when it was registered, and
    /// an operator has changed that since.
    pub(crate) fn signer_for(&self, registered: Option<SignatureAlgorithm>) -> Option<&Arc<dyn Signer>> {
        let usual = self.signer.signer();
        match registered {
            Some(registered) if registered != usual.algorithm() => {
                self.others.iter().find(|other| other.algorithm() == registered)
            }
            _ => Some(usual),
        }
    }

    /// The same, and the usual key where there is none: for what has to be answered in any case. Whoever verifies it will say what is
    /// amiss.
    pub(crate) fn signer_for_or_usual(&self, registered: Option<SignatureAlgorithm>) -> Arc<dyn Signer> {
        let signer = self.signer_for(registered).unwrap_or_else(|| self.signer.signer());
        Arc::clone(signer)
    }
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
    /// Reads the keys; makes the first one of each algorithm that has none. The first algorithm is that of access tokens.
    pub(crate) async fn open(
        stored: Arc<dyn StoredKeys>,
        algorithms: &[SignatureAlgorithm],
        now: Timestamp,
    ) -> Result<SigningKeys, SigningKeysError> {
        let random = SystemRandom::new();
        let ring = load_or_create(&stored, algorithms, &random, now).await?;
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
        algorithms: &[SignatureAlgorithm],
        now: Timestamp,
    ) -> Result<Option<KeyRing>, SigningKeysError> {
        let stored = self.stored.signing_keys().await?;
        let current = self.ring.load();
        let unchanged = fingerprint(&stored) == current.fingerprint
            && choose(&stored, algorithms, now).is_some_and(|chosen| chosen == current.chosen);
        if unchanged {
            return Ok(None);
        }
        match ring(stored, algorithms, &self.random, now)? {
            Some(ring) => Ok(Some(ring)),
            None => load_or_create(&self.stored, algorithms, &self.random, now)
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
    algorithms: &[SignatureAlgorithm],
    random: &SystemRandom,
    now: Timestamp,
) -> Result<KeyRing, SigningKeysError> {
    let keys = stored.signing_keys().await?;
    let missing: Vec<SignatureAlgorithm> = algorithms
        .iter()
        .copied()
        .filter(|algorithm| newest_active(&keys, *algorithm).is_none())
        .collect();
    if let Some(ring) = ring(keys, algorithms, random, now)? {
        return Ok(ring);
    }
    for algorithm in &missing {
        create(stored, *algorithm, random, now).await?;
    }
    let first = algorithms.first().or(missing.first());
    let none = || SigningKeysError::NoActiveKey(first.copied().unwrap_or(SignatureAlgorithm::Es256));
    ring(stored.signing_keys().await?, algorithms, random, now)?.ok_or_else(none)
}

/// Makes the first key of an algorithm.
async fn create(
    stored: &Arc<dyn StoredKeys>,
    algorithm: SignatureAlgorithm,
    random: &SystemRandom,
    now: Timestamp,
) -> Result<(), SigningKeysError> {
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
    Ok(())
}

/// `None` if there is no active key of one of the algorithms.
fn ring(
    stored: Vec<StoredSigningKey>,
    algorithms: &[SignatureAlgorithm],
    random: &SystemRandom,
    now: Timestamp,
) -> Result<Option<KeyRing>, SigningKeysError> {
    let Some(chosen) = choose(&stored, algorithms, now) else {
        return Ok(None);
    };
    let fingerprint = fingerprint(&stored);
    let mut signer = None;
    let mut others: Vec<Arc<dyn Signer>> = Vec::new();
    let mut published = Vec::new();
    let mut all = Vec::with_capacity(stored.len());
    for key in stored {
        let (signs_tokens, signs_others) = (key.key_id == chosen.tokens, chosen.others.contains(&key.key_id));
        if let Some(opened) = open_key(&key, random)? {
            published.push(opened.public_jwk().clone());
            let opened: Arc<dyn Signer> = Arc::new(opened);
            if signs_others {
                others.push(Arc::clone(&opened));
            }
            if signs_tokens {
                signer = Some(PreparedSigner::new(opened));
            }
        }
        all.push(SigningKeySummary {
            key_id: key.key_id,
            algorithm: key.algorithm,
            state: key.state,
            signs: signs_tokens || signs_others,
            created_at: key.created_at,
            changed_at: key.changed_at,
        });
    }
    let published = JwkSet::new(published)?;
    let document = PublicDocument::new(published.to_json().to_string(), KEY_SET_FRESH);
    Ok(signer.map(|signer| KeyRing {
        signer,
        others,
        published,
        document,
        all,
        key_id: chosen.tokens.as_str().into(),
        chosen,
        fingerprint,
    }))
}

/// The keys that sign. `None` if one of the algorithms has no active key.
///
/// Of each algorithm it is the newest active one that has been published for long enough; until then its predecessor; the newest
/// active one if there is no predecessor. The predecessor of what signs access tokens may be of another algorithm.
fn choose(stored: &[StoredSigningKey], algorithms: &[SignatureAlgorithm], now: Timestamp) -> Option<Chosen> {
    let (first, others) = algorithms.split_first()?;
    let newest = newest_active(stored, *first)?;
    let tokens = match is_published(newest, now) {
        true => newest,
        false => predecessor(stored, newest, now)
            .or_else(|| signed_until_now(stored, algorithms, now))
            .unwrap_or(newest),
    };
    let others = others.iter().map(|other| {
        let newest = newest_active(stored, *other)?;
        let until_published = || predecessor(stored, newest, now).unwrap_or(newest);
        let signing = if is_published(newest, now) {
            newest
        } else {
            until_published()
        };
        Some(signing.key_id.clone())
    });
    Some(Chosen {
        tokens: tokens.key_id.clone(),
        others: others.collect::<Option<_>>()?,
    })
}

fn usable(stored: &[StoredSigningKey]) -> impl Iterator<Item = &StoredSigningKey> {
    stored
        .iter()
        .filter(|key| key.private_key.is_some() && SignatureAlgorithm::from_name(&key.algorithm).is_some())
}

fn is_published(key: &StoredSigningKey, now: Timestamp) -> bool {
    now.duration_since(key.created_at) >= PUBLISHED_BEFORE_SIGNING
}

fn newest_active(stored: &[StoredSigningKey], algorithm: SignatureAlgorithm) -> Option<&StoredSigningKey> {
    usable(stored)
        .filter(|key| key.algorithm == algorithm.name() && key.state == SigningKeyState::Active)
        .max_by_key(|key| key.created_at)
}

/// The key of the same algorithm that this one took over from.
fn predecessor<'a>(
    stored: &'a [StoredSigningKey],
    successor: &StoredSigningKey,
    now: Timestamp,
) -> Option<&'a StoredSigningKey> {
    usable(stored)
        .filter(|key| key.state == SigningKeyState::Retiring && key.algorithm == successor.algorithm)
        .filter(|key| is_published(key, now) && key.changed_at == successor.created_at)
        .max_by_key(|key| key.created_at)
}

/// What signed access tokens until the configuration asked for another algorithm: an active key of one that is not asked for any more,
/// or else one that is by now asked for beside it.
fn signed_until_now<'a>(
    stored: &'a [StoredSigningKey],
    algorithms: &[SignatureAlgorithm],
    now: Timestamp,
) -> Option<&'a StoredSigningKey> {
    let is_of = |key: &StoredSigningKey, algorithms: &[SignatureAlgorithm]| {
        algorithms.iter().any(|algorithm| key.algorithm == algorithm.name())
    };
    let first = algorithms.get(..1).unwrap_or_default();
    usable(stored)
        .filter(|key| key.state == SigningKeyState::Active && is_published(key, now) && !is_of(key, first))
        .max_by_key(|key| (!is_of(key, algorithms), key.created_at))
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
