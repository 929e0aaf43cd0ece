//! What [`SigningKeys`](crate::SigningKeys) promise.

use super::{Case, Open, audit_records, cases, client, entry, t};
use crate::{
    NewSigningKey, PrivateKeyDer, RevocationSubject, RevokeSigningKey, RotateSigningKey, SigningKeyState, Store,
    StoredSigningKey, TokenMarks,
};

/// All cases.
pub const CASES: &[Case] = cases![
    a_key_comes_back_as_it_was_given_also_after_a_restart,
    the_first_key_is_made_once,
    rotation_retires_the_keys_of_the_same_algorithm_only,
    keys_of_other_algorithms_retire_once_a_key_of_this_one_is_as_old,
    a_revoked_key_is_erased_and_everything_it_signed_is_denied,
    a_retired_key_is_removed_when_its_time_is_over,
];

fn key(key_id: &str, algorithm: &str) -> NewSigningKey {
    NewSigningKey {
        key_id: key_id.into(),
        algorithm: algorithm.into(),
        private_key: PrivateKeyDer::from_pkcs8(format!("the private key of {key_id}").into_bytes()),
        public_jwk: format!("{{\"kid\":\"{key_id}\"}}"),
    }
}

async fn rotate(store: &Store, key_id: &str, algorithm: &str, secs: i64) -> RotateSigningKey {
    store
        .signing_keys
        .rotate_signing_key(key(key_id, algorithm), entry(secs))
        .await
        .unwrap()
}

/// Key ids and states, newest first.
async fn states(store: &Store) -> Vec<(String, SigningKeyState)> {
    let keys = store.signing_keys.signing_keys().await.unwrap();
    keys.into_iter().map(|key| (key.key_id, key.state)).collect()
}

fn retiring(key_ids: &[&str]) -> RotateSigningKey {
    RotateSigningKey::Rotated {
        retiring: key_ids.iter().map(|key_id| (*key_id).to_owned()).collect(),
    }
}

async fn a_key_comes_back_as_it_was_given_also_after_a_restart(open: &dyn Open) {
    let store = open.open();
    assert_eq!(rotate(&store, "key-1", "ES256", 5).await, retiring(&[]));
    drop(store);
    let store = open.open();
    let NewSigningKey {
        key_id,
        algorithm,
        private_key,
        public_jwk,
    } = key("key-1", "ES256");
    let expected = StoredSigningKey {
        key_id,
        algorithm,
        private_key: Some(private_key),
        public_jwk,
        state: SigningKeyState::Active,
        created_at: t(5),
        changed_at: t(5),
    };
    assert_eq!(store.signing_keys.signing_keys().await.unwrap(), [expected]);
}

async fn the_first_key_is_made_once(open: &dyn Open) {
    let store = open.open();
    let records = audit_records(&store).await;
    let first = |key_id: &str, algorithm| {
        store
            .signing_keys
            .create_first_signing_key(key(key_id, algorithm), entry(0))
    };
    let answers: Vec<_> = (0..10).map(|number| first(&format!("key-{number}"), "ES256")).collect();
    let mut made = 0;
    for answer in answers {
        made += usize::from(answer.await.unwrap() == retiring(&[]));
    }
    assert_eq!(made, 1);
    assert_eq!(audit_records(&store).await, records + 1);
    assert_eq!(first("another", "EdDSA").await.unwrap(), retiring(&[]));
    drop(store);
    let store = open.open();
    let again = store
        .signing_keys
        .create_first_signing_key(key("later", "ES256"), entry(1))
        .await
        .unwrap();
    assert_eq!(again, RotateSigningKey::AlreadyExists);
    assert_eq!(states(&store).await.len(), 2);
}

async fn rotation_retires_the_keys_of_the_same_algorithm_only(open: &dyn Open) {
    let store = open.open();
    rotate(&store, "es-1", "ES256", 0).await;
    rotate(&store, "ed-1", "EdDSA", 0).await;
    assert_eq!(rotate(&store, "es-2", "ES256", 10).await, retiring(&["es-1"]));
    let records = audit_records(&store).await;
    assert_eq!(
        rotate(&store, "es-2", "ES256", 20).await,
        RotateSigningKey::AlreadyExists
    );
    assert_eq!(
        rotate(&store, "es-1", "EdDSA", 20).await,
        RotateSigningKey::AlreadyExists
    );
    assert_eq!(audit_records(&store).await, records);
    let (active, retiring) = (SigningKeyState::Active, SigningKeyState::Retiring);
    let expected = [("es-2", active), ("ed-1", active), ("es-1", retiring)].map(|(id, state)| (id.to_owned(), state));
    assert_eq!(states(&store).await, expected);
    assert_eq!(states(&open.open()).await, expected);
}

async fn keys_of_other_algorithms_retire_once_a_key_of_this_one_is_as_old(open: &dyn Open) {
    let store = open.open();
    rotate(&store, "es-1", "ES256", 0).await;
    rotate(&store, "ps-1", "PS256", 10).await;
    rotate(&store, "ed-1", "EdDSA", 20).await;
    let retire_but = |kept: &[&str], added_before| {
        let kept = kept.iter().map(|algorithm| (*algorithm).to_owned()).collect();
        store
            .signing_keys
            .retire_other_signing_keys(kept, t(added_before), entry(30))
    };
    let retire = |algorithm: &str, added_before| retire_but(&[algorithm], added_before);
    let records = audit_records(&store).await;
    // Its successor is too young, or there is none.
    assert_eq!(retire("PS256", 10).await.unwrap(), [""; 0]);
    assert_eq!(retire("RS256", 99).await.unwrap(), [""; 0]);
    // Or it signs beside the others.
    assert_eq!(retire_but(&["PS256", "ES256"], 11).await.unwrap(), [""; 0]);
    assert_eq!(retire_but(&["RS256", "PS256"], 99).await.unwrap(), [""; 0]);
    assert_eq!(retire_but(&[], 99).await.unwrap(), [""; 0]);
    assert_eq!(audit_records(&store).await, records);
    assert_eq!(retire("PS256", 11).await.unwrap(), ["es-1"]);
    assert_eq!(retire("PS256", 11).await.unwrap(), [""; 0]);
    assert_eq!(audit_records(&store).await, records + 1);
    let (active, retiring) = (SigningKeyState::Active, SigningKeyState::Retiring);
    let expected = [("ed-1", active), ("ps-1", active), ("es-1", retiring)].map(|(id, state)| (id.to_owned(), state));
    assert_eq!(states(&open.open()).await, expected);
    let found = store.signing_keys.signing_keys().await.unwrap().remove(2);
    assert_eq!((found.created_at, found.changed_at), (t(0), t(30)));
}

async fn a_revoked_key_is_erased_and_everything_it_signed_is_denied(open: &dyn Open) {
    let store = open.open();
    rotate(&store, "key-1", "ES256", 0).await;
    let revoke = |key_id: &str| store.signing_keys.revoke_signing_key(key_id.into(), t(400), entry(10));
    let records = audit_records(&store).await;
    assert_eq!(revoke("key-2").await.unwrap(), RevokeSigningKey::Unknown);
    assert_eq!(audit_records(&store).await, records);
    assert_eq!(revoke("key-1").await.unwrap(), RevokeSigningKey::Revoked);
    assert_eq!(revoke("key-1").await.unwrap(), RevokeSigningKey::AlreadyRevoked);
    assert_eq!(audit_records(&store).await, records + 1);
    let found = store.signing_keys.signing_keys().await.unwrap().remove(0);
    assert_eq!((found.state, found.private_key), (SigningKeyState::Revoked, None));
    assert_eq!((found.created_at, found.changed_at), (t(0), t(10)));
    // Whatever date the thief writes into a token.
    let demo = client("demo");
    let marks = TokenMarks {
        token_id: "jti",
        client_id: &demo,
        thumbprint: None,
        key_id: Some("key-1"),
        issued_at: t(399),
    };
    let denied = store.revocations.find_revocation(marks, t(20)).unwrap().unwrap();
    assert_eq!(denied.subject, RevocationSubject::SigningKey("key-1".into()));
    // A revoked key is not the first of its algorithm's any more.
    let first = store
        .signing_keys
        .create_first_signing_key(key("key-2", "ES256"), entry(20))
        .await
        .unwrap();
    assert_eq!(first, retiring(&[]));
}

async fn a_retired_key_is_removed_when_its_time_is_over(open: &dyn Open) {
    let store = open.open();
    for (key_id, secs) in [("key-1", 0), ("key-2", 100), ("key-3", 200)] {
        rotate(&store, key_id, "ES256", secs).await;
    }
    let remove = |retiring_since| {
        store
            .signing_keys
            .remove_retired_signing_keys(retiring_since, entry(300))
    };
    let records = audit_records(&store).await;
    assert_eq!(remove(t(100)).await.unwrap(), [""; 0]);
    assert_eq!(audit_records(&store).await, records);
    assert_eq!(remove(t(101)).await.unwrap(), ["key-1"]);
    assert_eq!(audit_records(&store).await, records + 1);
    assert_eq!(remove(t(9_999)).await.unwrap(), ["key-2"]);
    assert_eq!(states(&store).await, [("key-3".to_owned(), SigningKeyState::Active)]);
}
