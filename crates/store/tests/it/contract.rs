//! The contract suite on SQLite: one test per noun.

use keybound_store::contract::{self, Case, Open};
use keybound_store::{SqliteStore, Store};

use crate::{Directory, NOW, block_on};

impl Open for Directory {
    fn open(&self) -> Store {
        SqliteStore::open(&self.settings(), NOW).unwrap()
    }
}

/// Runs each case on a fresh database.
fn check(cases: &[Case]) {
    assert!(!cases.is_empty());
    for case in cases {
        let directory = Directory::new();
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| block_on((case.run)(&directory))));
        assert!(outcome.is_ok(), "the case {} failed, see above", case.name);
    }
}

// covers I4
#[test]
fn clients() {
    check(contract::clients::CASES);
}

// covers I2
#[test]
fn access_tokens() {
    check(contract::access_tokens::CASES);
}

// covers I2
#[test]
fn revocations() {
    check(contract::revocations::CASES);
}

// covers I2, I5
#[test]
fn grants() {
    check(contract::grants::CASES);
}

// covers I2, I5
#[test]
fn silent_grants() {
    check(contract::silent_grants::CASES);
}

// covers R6749-7, R7, I1, I4
#[test]
fn authorization_codes() {
    check(contract::authorization_codes::CASES);
}

// covers R9700-4, R7
#[test]
fn refresh_tokens() {
    check(contract::refresh_tokens::CASES);
}

#[test]
fn pushed_requests() {
    check(contract::pushed_requests::CASES);
}

#[test]
fn interactions() {
    check(contract::interactions::CASES);
}

#[test]
fn user_sessions() {
    check(contract::user_sessions::CASES);
}

// covers R7523-2
#[test]
fn client_assertions() {
    check(contract::client_assertions::CASES);
}

#[test]
fn refusals() {
    check(contract::refusals::CASES);
}

// covers T32, I4
#[test]
fn registrations() {
    check(contract::registrations::CASES);
}

#[test]
fn issued_tokens() {
    check(contract::issued_tokens::CASES);
}

#[test]
fn trust_anchors() {
    check(contract::trust_anchors::CASES);
}

#[test]
fn signing_keys() {
    check(contract::signing_keys::CASES);
}

// covers I6
#[test]
fn audit() {
    check(contract::audit::CASES);
}

#[test]
fn upkeep() {
    check(contract::upkeep::CASES);
}

// covers R9068-3
#[test]
fn users() {
    check(contract::users::CASES);
}

// covers R8628-3, CIBA-4
#[test]
fn approval_requests() {
    check(contract::approval_requests::CASES);
}

#[test]
fn recorders() {
    check(contract::recorders::CASES);
}
