//! What must not be readable in the files.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use keybound_protocol::dpop_nonce::{DpopNonceError, NonceAge};
use keybound_protocol::user::UserSubject;
use keybound_store::{
    AccessTokenHash, ApprovalChannel, ApprovalRequestHash, CreateApprovalRequest, NewApprovalRequest, NewSigningKey,
    NotificationSecret, OpaqueAccessToken, OpenError, PrivateKeyDer, SqliteSettings, SqliteStore, StoreError,
};

use crate::{Directory, NOW, block_on, client, entry};

const CANARY: &str = "canary-7f3k22qd9m4tb2-canary";

/// Every byte of every file in the directory, the key file aside.
fn contents(directory: &Directory) -> Vec<u8> {
    let mut all = Vec::new();
    for file in fs::read_dir(directory.path()).unwrap() {
        let path = file.unwrap().path();
        if path != directory.key_file() {
            all.extend(fs::read(path).unwrap());
        }
    }
    all
}

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    haystack.windows(needle.len()).any(|window| window == needle)
}

fn write_canaries(directory: &Directory) {
    let store = directory.open();
    let token = OpaqueAccessToken {
        token_id: "jti-in-clear".into(),
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
        expires_at: NOW,
    };
    let key = NewSigningKey {
        key_id: "key-1".into(),
        algorithm: "ES256".into(),
        private_key: PrivateKeyDer::from_pkcs8(CANARY.into()),
        public_jwk: "{}".into(),
    };
    block_on(async {
        let hash = AccessTokenHash::of_token(CANARY);
        store
            .access_tokens
            .record_opaque_access_token(hash, token, entry())
            .await
            .unwrap();
        store.signing_keys.rotate_signing_key(key, entry()).await.unwrap();
        let request = NewApprovalRequest {
            hash: ApprovalRequestHash::of_auth_req_id(CANARY),
            client_id: client("demo"),
            channel: ApprovalChannel::Backchannel {
                subject: UserSubject::from_random(&[1; 16]),
                notification: Some(NotificationSecret::new(CANARY)),
            },
            request: "{}".into(),
            interval: Duration::from_secs(5),
            expires_at: NOW,
        };
        let created = store.approval_requests.create_approval_request(request, 20, entry());
        assert_eq!(created.await.unwrap(), CreateApprovalRequest::Created);
        // Also in the log beside the database, while it is open.
        let open = contents(directory);
        assert!(
            contains(&open, b"jti-in-clear"),
            "the control: what is in clear is found"
        );
        assert!(!contains(&open, CANARY.as_bytes()));
    });
}

#[test]
fn neither_tokens_nor_signing_keys_are_in_clear_in_any_file() {
    let directory = Directory::new();
    write_canaries(&directory);
    let closed = contents(&directory);
    assert!(contains(&closed, b"jti-in-clear"));
    assert!(!contains(&closed, CANARY.as_bytes()));
    let key_file = fs::read_to_string(directory.key_file()).unwrap();
    assert!(!contains(
        &closed,
        key_file.trim().trim_start_matches("keybound-key-1 ").as_bytes()
    ));
    // And yet the key can be read again.
    let keys = block_on(directory.open().signing_keys.signing_keys()).unwrap();
    assert_eq!(keys[0].private_key.as_ref().unwrap().as_pkcs8(), CANARY.as_bytes());
    assert!(!format!("{keys:?}").contains("canary"), "{keys:?}");
    assert!(!format!("{:?}", AccessTokenHash::of_token(CANARY)).contains("canary"));
}

#[test]
fn the_files_are_readable_by_their_owner_only() {
    let directory = Directory::new();
    let _store = directory.open();
    let mut files = 0;
    for file in fs::read_dir(directory.path()).unwrap() {
        let file = file.unwrap();
        assert_eq!(
            file.metadata().unwrap().permissions().mode() & 0o7777,
            0o600,
            "{:?}",
            file.path()
        );
        files += 1;
    }
    assert_eq!(files, 4, "database, log, index of the log, key file");
}

#[test]
fn the_wrong_key_file_is_named_and_nothing_is_changed() {
    let (ours, theirs) = (Directory::new(), Directory::new());
    write_canaries(&ours);
    write_canaries(&theirs);
    let before = fs::read(ours.database()).unwrap();
    let crossed = SqliteSettings {
        key_file: theirs.key_file(),
        ..ours.settings()
    };
    let error = SqliteStore::open(&crossed, NOW).unwrap_err();
    assert!(matches!(error, OpenError::KeyFileWrong { .. }), "{error}");
    for name in [theirs.key_file(), ours.database()] {
        assert!(error.to_string().contains(name.to_str().unwrap()), "{error}");
    }
    assert!(error.fix().contains("store.key_file"), "{}", error.fix());
    assert_eq!(fs::read(ours.database()).unwrap(), before);
    ours.open();
}

#[test]
fn a_lost_key_file_is_not_silently_replaced() {
    let directory = Directory::new();
    write_canaries(&directory);
    let kept = directory.path().join("kept");
    fs::rename(directory.key_file(), &kept).unwrap();
    let error = SqliteStore::open(&directory.settings(), NOW).unwrap_err();
    assert!(matches!(error, OpenError::KeyFileMissing { .. }), "{error}");
    assert!(error.to_string().contains("keys.kek") && error.fix().contains("keys.kek"));
    assert!(!directory.key_file().exists());
    fs::rename(&kept, directory.key_file()).unwrap();
    directory.open();
}

#[test]
fn a_key_file_that_others_can_read_is_refused() {
    let directory = Directory::new();
    drop(directory.open());
    fs::set_permissions(directory.key_file(), fs::Permissions::from_mode(0o644)).unwrap();
    let error = SqliteStore::open(&directory.settings(), NOW).unwrap_err();
    assert!(matches!(error, OpenError::KeyFileMode { mode: 0o644, .. }), "{error}");
    assert!(error.to_string().contains("0644"), "{error}");
    assert!(error.fix().starts_with("chmod 600 "), "{}", error.fix());
}

#[test]
fn a_sealed_key_moved_to_another_row_does_not_open() {
    let directory = Directory::new();
    write_canaries(&directory);
    let store = directory.open();
    let key = NewSigningKey {
        key_id: "key-2".into(),
        algorithm: "ES256".into(),
        private_key: PrivateKeyDer::from_pkcs8(vec![2; 32]),
        public_jwk: "{}".into(),
    };
    block_on(store.signing_keys.rotate_signing_key(key, entry())).unwrap();
    let exchange = "UPDATE signing_keys SET sealed = (SELECT sealed FROM signing_keys WHERE key_id = 'key-1')
                    WHERE key_id = 'key-2'";
    directory.connect().execute_batch(exchange).unwrap();
    let error = block_on(store.signing_keys.signing_keys()).unwrap_err();
    assert!(
        matches!(
            error,
            StoreError::Corrupt {
                what: "signing key",
                ..
            }
        ),
        "{error}"
    );
    assert!(error.to_string().contains("key-2"), "{error}");
}

// covers R9449-5
#[test]
fn nonces_for_dpop_proofs_are_those_of_the_key_file() {
    let (directory, other) = (Directory::new(), Directory::new());
    let nonce = directory.open().dpop_nonces.current(NOW);
    let stranger = other.open().dpop_nonces.judge(&nonce, NOW);
    assert_eq!(stranger, Err(DpopNonceError::Unknown));
    // After a restart; another node with the same file is the same to it.
    let again = directory.open().dpop_nonces.judge(&nonce, NOW);
    assert_eq!(again, Ok(NonceAge::Current));
}
