//! Tokens whose issuer vouched for them, by the hash of the token.
//!
//! What is kept is the claims, with what makes them void: the version of the keys that verified them, or the moment at which the
//! issuer was asked about it. Never kept is that a request was accepted: audience, binding, scope, expiry and
//! deny-list are decided for every request, so that a cached token presented by someone else is refused like any other.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{SHA256, digest};
use keybound_protocol::access_token::AccessTokenClaims;
use quick_cache::Weighter;
use quick_cache::sync::Cache;

use crate::moment::Moment;

/// What one entry weighs besides its texts.
const ENTRY_BYTES: usize = 512;

/// SHA-256 of a token: the cache never holds a token that could be used by whoever reads its memory.
pub(crate) type TokenHash = [u8; 32];

pub(crate) fn hash_of(token: &str) -> TokenHash {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest(&SHA256, token.as_bytes()).as_ref());
    hash
}

/// A token that an issuer vouched for.
#[derive(Debug)]
pub(crate) struct CachedToken {
    pub(crate) claims: Arc<AccessTokenClaims>,
    /// The position of its issuer in the resource server's list.
    pub(crate) issuer: usize,
    pub(crate) vouched: Vouched,
    /// The `kid` of the key that signed it, if it was verified here.
    pub(crate) key_id: Option<String>,
    /// The version of the deny-list under which this token was last found clear, plus one; zero: never.
    cleared_at: AtomicU64,
}

/// What the claims rest on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Vouched {
    /// A signature by the keys of this version.
    BySignature {
        /// The version.
        key_set_version: u64,
    },
    /// An introspection answer, to be believed for a while.
    ByIntrospection {
        /// When the issuer was asked.
        asked: Moment,
    },
}

impl CachedToken {
    pub(crate) fn signed(
        claims: Arc<AccessTokenClaims>,
        issuer: usize,
        key_id: Option<String>,
        key_set_version: u64,
    ) -> CachedToken {
        let vouched = Vouched::BySignature { key_set_version };
        CachedToken {
            claims,
            issuer,
            vouched,
            key_id,
            cleared_at: AtomicU64::new(0),
        }
    }

    pub(crate) fn introspected(claims: Arc<AccessTokenClaims>, issuer: usize, asked: Moment) -> CachedToken {
        let vouched = Vouched::ByIntrospection { asked };
        CachedToken {
            claims,
            issuer,
            vouched,
            key_id: None,
            cleared_at: AtomicU64::new(0),
        }
    }

    pub(crate) fn is_clear_at(&self, deny_list_version: u64) -> bool {
        self.cleared_at.load(Ordering::Relaxed) == deny_list_version.wrapping_add(1)
    }

    pub(crate) fn clear_at(&self, deny_list_version: u64) {
        self.cleared_at
            .store(deny_list_version.wrapping_add(1), Ordering::Relaxed);
    }
}

/// The tokens that a resource server knows, sharded and bounded.
#[derive(Debug)]
pub(crate) struct TokenCache(Cache<TokenHash, Arc<CachedToken>, ByTextLength>);

#[derive(Clone, Debug)]
struct ByTextLength;

impl Weighter<TokenHash, Arc<CachedToken>> for ByTextLength {
    fn weight(&self, _: &TokenHash, token: &Arc<CachedToken>) -> u64 {
        let claims = &token.claims;
        let optional = [&claims.subject, &claims.client_id, &claims.token_id, &token.key_id];
        let texts: usize = optional.into_iter().flatten().map(String::len).sum();
        let audiences: usize = claims.audience.iter().map(|audience| audience.len() + 24).sum();
        (ENTRY_BYTES + texts + audiences + claims.issuer.len() + claims.scope.as_str().len()) as u64
    }
}

impl TokenCache {
    pub(crate) fn new(bytes_max: u64) -> TokenCache {
        let entries = usize::try_from(bytes_max).unwrap_or(usize::MAX) / (2 * ENTRY_BYTES);
        TokenCache(Cache::with_weighter(entries, bytes_max, ByTextLength))
    }

    pub(crate) fn find(&self, hash: &TokenHash) -> Option<Arc<CachedToken>> {
        self.0.get(hash)
    }

    pub(crate) fn insert(&self, hash: TokenHash, token: Arc<CachedToken>) {
        self.0.insert(hash, token);
    }

    pub(crate) fn clear(&self) {
        self.0.clear();
    }
}

/// The last token that came over one connection, so that a caller who sends the same one again is spared its hash.
///
/// The owner of a connection keeps one with it and hands it to
/// [`ResourceServer::check_for`](crate::ResourceServer::check_for). Like the cache it remembers claims, never
/// a verdict.
#[derive(Default)]
pub struct LastToken(Mutex<Option<Remembered>>);

/// Tells resource servers apart: a connection may outlive the one that it met first, and positions and versions of one mean nothing
/// to another.
#[derive(Clone, Debug, Default)]
pub(crate) struct Origin(Arc<()>);

struct Remembered {
    origin: Origin,
    /// The token itself: it is as secret as the connection's own buffers, and lives no longer.
    token: Box<[u8]>,
    cached: Arc<CachedToken>,
}

impl LastToken {
    pub(crate) fn find(&self, origin: &Origin, token: &str) -> Option<Arc<CachedToken>> {
        let remembered = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // In constant time: behind a proxy one connection carries the tokens of several clients.
        remembered
            .as_ref()
            .filter(|remembered| Arc::ptr_eq(&remembered.origin.0, &origin.0))
            .filter(|remembered| verify_slices_are_equal(&remembered.token, token.as_bytes()).is_ok())
            .map(|remembered| Arc::clone(&remembered.cached))
    }

    pub(crate) fn remember(&self, origin: &Origin, token: &str, cached: &Arc<CachedToken>) {
        let remembered = Remembered {
            origin: origin.clone(),
            token: token.as_bytes().into(),
            cached: Arc::clone(cached),
        };
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(remembered);
    }
}

impl std::fmt::Debug for LastToken {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("LastToken(…)")
    }
}
