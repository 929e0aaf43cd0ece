//! A restored backup brings nothing back to life (threat T34).

use std::fs;
use std::path::Path;
use std::time::Duration;

use keybound_protocol::time::Timestamp;
use keybound_store::{
    AccessTokenHash, AccessTokenReference, AccessTokenState, AuditEntry, ConsumeClientAssertion, NewSigningKey,
    OneTimeAssertion, OpaqueAccessToken, PrivateKeyDer, RevokeAccessToken, Store, TokenMarks, TokenRevocation,
};

use crate::{Directory, NOW, block_on, client, entry};

const RESTORES: u32 = 20;

fn later(secs: u64) -> Timestamp {
    NOW.plus(Duration::from_secs(secs))
}

fn assertion(number: u32, issued_at: Timestamp) -> OneTimeAssertion {
    let until = issued_at.plus(Duration::from_secs(330));
    OneTimeAssertion {
        client_id: client("demo"),
        token_id: format!("jti-{number}"),
        issued_at: Some(issued_at),
        until,
    }
}

fn hash(number: u32) -> AccessTokenHash {
    AccessTokenHash::of_token(&format!("token {number}"))
}

async fn issue(store: &Store, number: u32) {
    let token = OpaqueAccessToken {
        token_id: format!("opaque-{number}"),
        client_id: client("demo"),
        subject: "demo".into(),
        scope: String::new(),
        audience: Vec::new(),
        authorization_details: None,
        auth_time: None,
        acr: None,
        thumbprint: None,
        key: None,
        issued_at: NOW,
        expires_at: later(300),
    };
    store
        .access_tokens
        .record_opaque_access_token(hash(number), token, entry())
        .await
        .unwrap();
}

/// Spends and revokes everything.
async fn spend(store: &Store, number: u32) {
    let until = later(330);
    let jwt = AccessTokenReference::Jwt {
        token_id: "jwt".into(),
        client_id: client("demo"),
        until,
    };
    for token in [AccessTokenReference::Opaque(hash(number)), jwt] {
        let revocation = TokenRevocation { token, issued_to: None };
        let revoked = store
            .access_tokens
            .revoke_access_token(revocation, entry())
            .await
            .unwrap();
        assert_eq!(revoked, RevokeAccessToken::Revoked);
    }
    let consumed = store
        .client_assertions
        .consume_client_assertion(assertion(number, NOW), entry())
        .await
        .unwrap();
    assert_eq!(consumed, ConsumeClientAssertion::Consumed);
}

/// Which of the three count again: the opaque token, the JWT, the assertion.
async fn alive(store: &Store, number: u32) -> [bool; 3] {
    let now = later(60);
    let token = store.access_tokens.find_access_token(&hash(number), now).unwrap();
    let demo = client("demo");
    let jwt = TokenMarks {
        token_id: "jwt",
        client_id: &demo,
        thumbprint: None,
        key_id: Some("key-1"),
        issued_at: NOW,
    };
    let consumed = store
        .client_assertions
        .consume_client_assertion(assertion(number, NOW), entry())
        .await
        .unwrap();
    [
        token.is_some_and(|found| found.state == AccessTokenState::Live),
        store.revocations.find_revocation(jwt, now).unwrap().is_none(),
        consumed == ConsumeClientAssertion::Consumed,
    ]
}

fn copy(from: &Path, to: &Path) {
    for file in fs::read_dir(to).unwrap() {
        fs::remove_file(file.unwrap().path()).unwrap();
    }
    for file in fs::read_dir(from).unwrap() {
        let file = file.unwrap();
        fs::copy(file.path(), to.join(file.file_name())).unwrap();
    }
}

/// Makes a backup, spends everything, restores the backup; then what a restore does, if `raises_epoch`.
fn restored(number: u32, raises_epoch: bool) -> [bool; 3] {
    let (directory, backup) = (Directory::new(), Directory::new());
    let store = directory.open();
    let key = NewSigningKey {
        key_id: "key-1".into(),
        algorithm: "ES256".into(),
        private_key: PrivateKeyDer::from_pkcs8(vec![1]),
        public_jwk: "{}".into(),
    };
    block_on(async {
        store.signing_keys.rotate_signing_key(key, entry()).await.unwrap();
        issue(&store, number).await;
    });
    drop(store);
    copy(directory.path(), backup.path());
    let store = directory.open();
    block_on(spend(&store, number));
    assert_eq!(block_on(alive(&store, number)), [false; 3]);
    drop(store);
    copy(backup.path(), directory.path());
    let store = directory.open();
    block_on(async {
        if raises_epoch {
            let at = AuditEntry {
                at: later(50),
                ..entry()
            };
            store.upkeep.raise_epoch(later(400), at).await.unwrap();
        }
        let alive = alive(&store, number).await;
        // What is made after the restore counts.
        let new = assertion(number + 1_000, later(200));
        let consumed = store
            .client_assertions
            .consume_client_assertion(new, entry())
            .await
            .unwrap();
        assert_eq!(consumed, ConsumeClientAssertion::Consumed);
        assert!(store.audit.verify_chain().await.unwrap().is_intact());
        alive
    })
}

// covers T34
#[test]
fn nothing_spent_or_revoked_comes_back_with_a_backup() {
    for number in 0..RESTORES {
        assert_eq!(restored(number, true), [false; 3], "restore {number}");
    }
}

// The positive control: a file that is merely copied back brings everything back.
#[test]
fn without_a_new_epoch_everything_would_come_back() {
    assert_eq!(restored(0, false), [true; 3]);
}
