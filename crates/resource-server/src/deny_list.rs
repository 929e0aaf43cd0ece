//! What must no longer be accepted although its signature is good.
//!
//! A token that is checked locally lives until its `exp` whatever its issuer thinks of it meanwhile. The deny-list is how a
//! revocation reaches it: revoked tokens (`jti`), grants, clients, certificates (`x5t#S256`) and signing keys (`kid`), per issuer,
//! because a `jti` or a client id means nothing outside the issuer that gave it.
//!
//! Who learns of revocations (`revocation_follower.rs`, which asks the issuer; an operator's file) is not decided here: it calls
//! [`DenyList::apply`]. Nothing in it is ever a reason to *accept*.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{PoisonError, RwLock, RwLockReadGuard};

use keybound_protocol::client::ClientId;
use keybound_protocol::confirmation::CertificateThumbprint;
use keybound_protocol::grant_id::GrantId;
use keybound_protocol::revocation_feed::{RevocationEntry, RevokedSubject};
use keybound_protocol::time::Timestamp;

/// Entries one issuer's deny-list holds at most, after expired ones are dropped.
pub const DENIALS_MAX: usize = 250_000;

/// What a denial names.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum DeniedSubject {
    /// One token, by its `jti`.
    Token(String),
    /// Every token of one grant, by what stands before the first dot of their `jti`.
    Grant(String),
    /// Every token of one client.
    Client(ClientId),
    /// Every token bound to one certificate.
    Certificate(CertificateThumbprint),
    /// Every token signed by one key, by its `kid`.
    SigningKey(String),
}

/// One entry of a deny-list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denial {
    /// What is denied.
    pub subject: DeniedSubject,
    /// Only tokens issued before this moment are denied; `None` denies all of them. A token without `iat` is denied, for
    /// nothing shows that it is younger.
    pub issued_before: Option<Timestamp>,
    /// When the entry may be forgotten, because every token that it could deny has expired.
    pub until: Timestamp,
}

/// What the deny-list compares of one verified token.
#[derive(Clone, Copy, Debug)]
pub struct DenialKeys<'a> {
    /// The `jti`.
    pub token_id: Option<&'a str>,
    /// The `client_id`.
    pub client_id: Option<&'a str>,
    /// The certificate that the token is bound to.
    pub certificate: Option<&'a CertificateThumbprint>,
    /// The key that signed the token.
    pub key_id: Option<&'a str>,
    /// The `iat`.
    pub issued_at: Option<Timestamp>,
}

/// The deny-list is full: it can no longer promise that it names everything that was revoked.
///
/// Nothing was forgotten to make room. The caller decides what that means, as it would for a feed that fell silent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the deny-list already holds {DENIALS_MAX} entries that have not expired")]
pub struct DenyListFull;

/// The revocations known of one issuer: a value that is updated while requests are checked against it.
#[derive(Debug, Default)]
pub struct DenyList {
    /// Counts changes. A token that was found clear at version n needs no look-up until n changes.
    version: AtomicU64,
    entries: RwLock<Entries>,
}

#[derive(Debug, Default)]
struct Entries {
    tokens: HashMap<String, Window>,
    grants: HashMap<String, Window>,
    clients: HashMap<String, Window>,
    certificates: HashMap<CertificateThumbprint, Window>,
    keys: HashMap<String, Window>,
}

#[derive(Debug, Clone, Copy)]
struct Window {
    issued_before: Option<Timestamp>,
    until: Timestamp,
}

impl DenyList {
    /// Counts the changes so far; what was clear under one version need not be looked up again under the same one.
    pub fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    /// Adds `denials`, and forgets those whose `until` has passed.
    ///
    /// # Errors
    /// [`DenyListFull`] if not all of them fit; those that fit are in force.
    pub fn apply(&self, denials: impl IntoIterator<Item = Denial>, now: Timestamp) -> Result<(), DenyListFull> {
        let mut entries = self.entries.write().unwrap_or_else(PoisonError::into_inner);
        entries.forget_expired(now);
        let mut outcome = Ok(());
        for denial in denials {
            if entries.len() >= DENIALS_MAX {
                outcome = Err(DenyListFull);
                break;
            }
            entries.add(denial);
        }
        // Still under the write lock: whoever reads the new version also sees the new entries.
        self.version.fetch_add(1, Ordering::Release);
        outcome
    }

    /// The first entry that denies the token with these `keys`, if there is one.
    pub fn find(&self, keys: DenialKeys<'_>) -> Option<DeniedSubject> {
        let entries = self.read();
        let denies = |window: Option<&Window>| window.is_some_and(|window| window.covers(keys.issued_at));
        if let Some(token_id) = keys.token_id.filter(|id| denies(entries.tokens.get(*id))) {
            return Some(DeniedSubject::Token(token_id.to_owned()));
        }
        let grant = keys.token_id.and_then(GrantId::text_in);
        if let Some(grant) = grant.filter(|id| denies(entries.grants.get(*id))) {
            return Some(DeniedSubject::Grant(grant.to_owned()));
        }
        if let Some(certificate) = keys.certificate.filter(|it| denies(entries.certificates.get(*it))) {
            return Some(DeniedSubject::Certificate(*certificate));
        }
        if let Some(key_id) = keys.key_id.filter(|id| denies(entries.keys.get(*id))) {
            return Some(DeniedSubject::SigningKey(key_id.to_owned()));
        }
        let client_id = keys.client_id.filter(|id| denies(entries.clients.get(*id)))?;
        ClientId::parse(client_id).ok().map(DeniedSubject::Client)
    }

    /// How many entries are in force.
    pub fn len(&self) -> usize {
        self.read().len()
    }

    /// Whether nothing is denied.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn read(&self) -> RwLockReadGuard<'_, Entries> {
        self.entries.read().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entries {
    fn len(&self) -> usize {
        self.tokens.len() + self.grants.len() + self.clients.len() + self.certificates.len() + self.keys.len()
    }

    fn forget_expired(&mut self, now: Timestamp) {
        self.tokens.retain(|_, window| window.until > now);
        self.grants.retain(|_, window| window.until > now);
        self.clients.retain(|_, window| window.until > now);
        self.certificates.retain(|_, window| window.until > now);
        self.keys.retain(|_, window| window.until > now);
    }

    fn add(&mut self, denial: Denial) {
        let window = Window {
            issued_before: denial.issued_before,
            until: denial.until,
        };
        match denial.subject {
            DeniedSubject::Token(id) => Window::widen(self.tokens.entry(id).or_insert(window), window),
            DeniedSubject::Grant(id) => Window::widen(self.grants.entry(id).or_insert(window), window),
            DeniedSubject::Client(id) => {
                Window::widen(self.clients.entry(id.as_str().to_owned()).or_insert(window), window)
            }
            DeniedSubject::Certificate(it) => Window::widen(self.certificates.entry(it).or_insert(window), window),
            DeniedSubject::SigningKey(id) => Window::widen(self.keys.entry(id).or_insert(window), window),
        }
    }
}

impl From<RevocationEntry> for Denial {
    fn from(entry: RevocationEntry) -> Denial {
        let subject = match entry.subject {
            RevokedSubject::Token(id) => DeniedSubject::Token(id),
            RevokedSubject::Grant(id) => DeniedSubject::Grant(id),
            RevokedSubject::Client(id) => DeniedSubject::Client(id),
            RevokedSubject::Certificate(thumbprint) => DeniedSubject::Certificate(thumbprint),
            RevokedSubject::SigningKey(id) => DeniedSubject::SigningKey(id),
        };
        Denial {
            subject,
            issued_before: entry.issued_before,
            until: entry.until,
        }
    }
}

impl Window {
    /// A second entry for the same subject can only deny more, never less.
    fn widen(existing: &mut Window, other: Window) {
        existing.until = existing.until.max(other.until);
        existing.issued_before = match (existing.issued_before, other.issued_before) {
            (Some(one), Some(two)) => Some(one.max(two)),
            _ => None,
        };
    }

    fn covers(&self, issued_at: Option<Timestamp>) -> bool {
        match (self.issued_before, issued_at) {
            (Some(issued_before), Some(issued_at)) => issued_at < issued_before,
            (None, _) | (_, None) => true,
        }
    }
}
