//! The contract suite: what every database behind the traits must do, run unchanged on each.
//!
//! A case is given a way to open the store and starts with a fresh one. Opening again must show what was committed: so
//! the suite covers restarts too. Cases panic where the contract is broken.

#![expect(clippy::unwrap_used, reason = "test code: a broken contract is a panic")]

pub mod access_tokens;
pub mod approval_requests;
pub mod audit;
pub mod authorization_codes;
pub mod client_assertions;
pub mod clients;
pub mod grants;
pub mod interactions;
pub mod issued_tokens;
pub mod pushed_requests;
pub mod recorders;
pub mod refresh_tokens;
pub mod refusals;
pub mod registrations;
pub mod revocations;
pub mod signing_keys;
pub mod silent_grants;
pub mod trust_anchors;
pub mod upkeep;
pub mod user_sessions;
pub mod users;

use std::pin::Pin;

use keybound_protocol::client::ClientId;
use keybound_protocol::confirmation::CertificateThumbprint;
use keybound_protocol::time::Timestamp;

use crate::{Actor, AuditEntry, AuditQuery, Store};

/// Opens the store of a case: fresh the first time, then with what was committed.
pub trait Open: Send + Sync {
    /// Opens it.
    fn open(&self) -> Store;
}

/// A case under way.
pub type Running<'a> = Pin<Box<dyn Future<Output = ()> + 'a>>;

/// One case: its name says what is true.
pub struct Case {
    /// Its name.
    pub name: &'static str,
    /// Runs it.
    pub run: for<'a> fn(&'a dyn Open) -> Running<'a>,
}

/// A case made of an async function: its name is the function's.
macro_rules! cases {
    ($($name:ident),* $(,)?) => {
        &[$($crate::contract::Case { name: stringify!($name), run: |open| Box::pin($name(open)) }),*]
    };
}
pub(crate) use cases;

/// The time at which every case begins.
const T0: Timestamp = Timestamp::from_unix_secs(1_700_000_000);

/// `secs` seconds after (before, if negative) the beginning.
const fn t(secs: i64) -> Timestamp {
    Timestamp::from_unix_secs(T0.unix_secs() + secs)
}

/// An entry of an administrator, `secs` seconds after the beginning.
fn entry(secs: i64) -> AuditEntry {
    AuditEntry::new(t(secs), Actor::Administrator(client("admin")))
}

fn client(name: &str) -> ClientId {
    ClientId::parse(name).unwrap()
}

fn thumbprint(number: u8) -> CertificateThumbprint {
    CertificateThumbprint::from_bytes([number; 32])
}

/// How many audit records there are.
async fn audit_records(store: &Store) -> usize {
    let mut count = 0;
    let mut query = AuditQuery {
        limit: u16::MAX,
        ..AuditQuery::default()
    };
    loop {
        let page = store.audit.records(query.clone()).await.unwrap();
        count += page.records.len();
        match page.next {
            Some(next) => query.before = Some(next),
            None => return count,
        }
    }
}
