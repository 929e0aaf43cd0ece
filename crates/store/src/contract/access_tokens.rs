//! What [`AccessTokens`](crate::AccessTokens) promise.

use keybound_protocol::key_thumbprint::KeyThumbprint;

use super::clients::{create, removal};
use super::{Case, Open, audit_records, cases, client, entry, t, thumbprint};
use crate::{
    AccessTokenHash, AccessTokenReference, AccessTokenState, DeleteClient, OpaqueAccessToken, RecordAccessToken,
    Revocation, RevocationSubject, RevokeAccessToken, Store, StoredAccessToken, TokenMarks, TokenRevocation,
};

/// All cases.
pub const CASES: &[Case] = cases![
    a_recorded_token_is_found_by_its_hash_also_after_a_restart,
    a_hash_or_jti_on_file_is_not_recorded_again,
    a_revoked_token_is_revoked_also_after_a_restart,
    a_client_revokes_only_its_own_tokens,
    a_revoked_client_or_certificate_takes_its_tokens_along,
    deleting_a_client_revokes_what_it_was_issued,
    a_revoked_jwt_is_denied_by_its_jti,
];

/// A token of `demo`, bound to certificate 1, issued at the beginning for 300 s.
pub(crate) fn token(token_id: &str) -> OpaqueAccessToken {
    OpaqueAccessToken {
        token_id: token_id.into(),
        client_id: client("demo"),
        subject: "demo".into(),
        scope: "read write".into(),
        audience: vec!["https://localhost:9443".into(), "https://b.example/\"x\"".into()],
        authorization_details: None,
        auth_time: None,
        acr: None,
        thumbprint: Some(thumbprint(1)),
        key: None,
        issued_at: t(0),
        expires_at: t(300),
    }
}

/// Records a token and returns its hash.
pub(crate) async fn record(store: &Store, token: OpaqueAccessToken) -> AccessTokenHash {
    let hash = AccessTokenHash::of_token(&format!("the opaque text of {}", token.token_id));
    let outcome = store
        .access_tokens
        .record_opaque_access_token(hash, token, entry(0))
        .await
        .unwrap();
    assert_eq!(outcome, RecordAccessToken::Recorded);
    hash
}

/// What has become of a token, one minute after the beginning.
pub(crate) fn state(store: &Store, hash: &AccessTokenHash) -> AccessTokenState {
    store
        .access_tokens
        .find_access_token(hash, t(60))
        .unwrap()
        .unwrap()
        .state
}

async fn revoke(store: &Store, token: AccessTokenReference, issued_to: Option<&str>) -> RevokeAccessToken {
    let revocation = TokenRevocation {
        token,
        issued_to: issued_to.map(client),
    };
    store
        .access_tokens
        .revoke_access_token(revocation, entry(60))
        .await
        .unwrap()
}

async fn a_recorded_token_is_found_by_its_hash_also_after_a_restart(open: &dyn Open) {
    let store = open.open();
    let hash = record(&store, token("one")).await;
    let unbound = OpaqueAccessToken {
        thumbprint: None,
        key: Some(KeyThumbprint::from_bytes([5; 32])),
        scope: String::new(),
        audience: Vec::new(),
        ..token("two")
    };
    let unbound_hash = record(&store, unbound.clone()).await;
    for store in [store, open.open()] {
        let found = |hash| store.access_tokens.find_access_token(hash, t(60)).unwrap();
        let live = |token| {
            Some(StoredAccessToken {
                token,
                state: AccessTokenState::Live,
            })
        };
        assert_eq!(found(&hash), live(token("one")));
        assert_eq!(found(&unbound_hash), live(unbound.clone()));
        assert_eq!(found(&AccessTokenHash::of_token("another")), None);
    }
}

async fn a_hash_or_jti_on_file_is_not_recorded_again(open: &dyn Open) {
    let store = open.open();
    let hash = record(&store, token("one")).await;
    let records = audit_records(&store).await;
    let other = AccessTokenHash::of_token("another");
    for (hash, token_id) in [(hash, "two"), (other, "one"), (hash, "one")] {
        let outcome = store
            .access_tokens
            .record_opaque_access_token(hash, token(token_id), entry(1))
            .await
            .unwrap();
        assert_eq!(outcome, RecordAccessToken::AlreadyRecorded);
    }
    assert_eq!(store.access_tokens.find_access_token(&other, t(60)).unwrap(), None);
    assert_eq!(audit_records(&store).await, records);
}

async fn a_revoked_token_is_revoked_also_after_a_restart(open: &dyn Open) {
    let store = open.open();
    let (hash, other) = (record(&store, token("one")).await, record(&store, token("two")).await);
    let records = audit_records(&store).await;
    let opaque = AccessTokenReference::Opaque;
    assert_eq!(
        revoke(&store, opaque(AccessTokenHash::of_token("?")), Some("demo")).await,
        RevokeAccessToken::Unknown
    );
    assert_eq!(audit_records(&store).await, records);
    assert_eq!(
        revoke(&store, opaque(hash), Some("demo")).await,
        RevokeAccessToken::Revoked
    );
    assert_eq!(audit_records(&store).await, records + 1);
    assert_eq!(
        revoke(&store, opaque(hash), Some("demo")).await,
        RevokeAccessToken::AlreadyRevoked
    );
    assert_eq!(audit_records(&store).await, records + 1);
    for store in [store, open.open()] {
        assert_eq!(state(&store, &hash), AccessTokenState::Revoked);
        assert_eq!(state(&store, &other), AccessTokenState::Live);
        // The gateways hear of it.
        let page = store.revocations.revocations_after(Default::default(), 10).unwrap();
        assert_eq!(page.entries.len(), 1);
        assert_eq!(page.entries[0].subject, RevocationSubject::TokenId("one".into()));
        assert!(page.entries[0].until >= t(300), "forgotten while the token lives");
    }
}

async fn a_client_revokes_only_its_own_tokens(open: &dyn Open) {
    let store = open.open();
    let hash = record(&store, token("one")).await;
    let records = audit_records(&store).await;
    let opaque = AccessTokenReference::Opaque(hash);
    assert_eq!(
        revoke(&store, opaque.clone(), Some("stranger")).await,
        RevokeAccessToken::IssuedToAnother
    );
    let jwt = AccessTokenReference::Jwt {
        token_id: "jwt".into(),
        client_id: client("demo"),
        until: t(330),
    };
    assert_eq!(
        revoke(&store, jwt, Some("stranger")).await,
        RevokeAccessToken::IssuedToAnother
    );
    assert_eq!(state(&store, &hash), AccessTokenState::Live);
    assert_eq!(
        store
            .revocations
            .revocations_after(Default::default(), 10)
            .unwrap()
            .entries,
        []
    );
    assert_eq!(audit_records(&store).await, records);
    // An administrator revokes anybody's.
    assert_eq!(revoke(&store, opaque, None).await, RevokeAccessToken::Revoked);
    assert_eq!(state(&store, &hash), AccessTokenState::Revoked);
}

async fn a_revoked_client_or_certificate_takes_its_tokens_along(open: &dyn Open) {
    let store = open.open();
    let of_demo = record(&store, token("one")).await;
    let other_client = OpaqueAccessToken {
        client_id: client("other"),
        ..token("two")
    };
    let of_other = record(&store, other_client.clone()).await;
    let other_certificate = OpaqueAccessToken {
        thumbprint: Some(thumbprint(2)),
        token_id: "three".into(),
        ..other_client
    };
    let of_other_certificate = record(&store, other_certificate.clone()).await;
    let unbound = record(
        &store,
        OpaqueAccessToken {
            thumbprint: None,
            key: Some(KeyThumbprint::from_bytes([5; 32])),
            token_id: "four".into(),
            ..other_certificate
        },
    )
    .await;
    let later = record(
        &store,
        OpaqueAccessToken {
            issued_at: t(30),
            ..token("five")
        },
    )
    .await;
    let states = |store: &Store| {
        [&of_demo, &of_other, &of_other_certificate, &unbound, &later]
            .map(|hash| state(store, hash) == AccessTokenState::Live)
    };
    assert_eq!(states(&store), [true; 5]);

    let revoke = |subject, issued_before, until| {
        store.revocations.revoke(
            Revocation {
                subject,
                issued_before,
                until,
            },
            entry(30),
        )
    };
    // Strictly before: a token issued in that very second stays.
    let demo = RevocationSubject::Client(client("demo"));
    revoke(demo, Some(t(30)), t(400)).await.unwrap();
    assert_eq!(states(&store), [false, true, true, true, true]);
    revoke(RevocationSubject::Certificate(thumbprint(1)), None, t(400))
        .await
        .unwrap();
    assert_eq!(states(&store), [false, false, true, true, false]);
    // An entry whose time is over says nothing any more.
    revoke(RevocationSubject::Certificate(thumbprint(2)), None, t(59))
        .await
        .unwrap();
    assert_eq!(states(&store), [false, false, true, true, false]);
    revoke(RevocationSubject::Certificate(thumbprint(2)), None, t(60))
        .await
        .unwrap();
    assert_eq!(states(&store), [false, false, false, true, false]);
    assert_eq!(states(&open.open()), [false, false, false, true, false]);
}

async fn deleting_a_client_revokes_what_it_was_issued(open: &dyn Open) {
    let store = open.open();
    create(&store, "demo", "{}").await;
    create(&store, "other", "{}").await;
    let hash = record(
        &store,
        OpaqueAccessToken {
            issued_at: t(50),
            ..token("one")
        },
    )
    .await;
    let of_other = record(
        &store,
        OpaqueAccessToken {
            client_id: client("other"),
            ..token("two")
        },
    )
    .await;
    let deleted = store
        .clients
        .delete_client(removal("demo", None), entry(50))
        .await
        .unwrap();
    assert_eq!(deleted, DeleteClient::Deleted);
    // Also what was issued in the very second of its deletion.
    assert_eq!(state(&store, &hash), AccessTokenState::Revoked);
    assert_eq!(state(&store, &of_other), AccessTokenState::Live);
    let demo = client("demo");
    let jwt = |issued_at| TokenMarks {
        token_id: "jwt",
        client_id: &demo,
        thumbprint: None,
        key_id: None,
        issued_at,
    };
    assert!(store.revocations.find_revocation(jwt(t(50)), t(60)).unwrap().is_some());
    // A client made anew under the same name is not its predecessor.
    create(&store, "demo", "{}").await;
    assert_eq!(store.revocations.find_revocation(jwt(t(51)), t(60)).unwrap(), None);
    assert_eq!(state(&store, &hash), AccessTokenState::Revoked);
}

async fn a_revoked_jwt_is_denied_by_its_jti(open: &dyn Open) {
    let store = open.open();
    let jwt = AccessTokenReference::Jwt {
        token_id: "jwt".into(),
        client_id: client("demo"),
        until: t(330),
    };
    assert_eq!(
        revoke(&store, jwt.clone(), Some("demo")).await,
        RevokeAccessToken::Revoked
    );
    let records = audit_records(&store).await;
    assert_eq!(
        revoke(&store, jwt, Some("demo")).await,
        RevokeAccessToken::AlreadyRevoked
    );
    assert_eq!(audit_records(&store).await, records);
    for store in [store, open.open()] {
        let demo = client("demo");
        let marks = |token_id| TokenMarks {
            token_id,
            client_id: &demo,
            thumbprint: None,
            key_id: None,
            issued_at: t(0),
        };
        let found = store.revocations.find_revocation(marks("jwt"), t(60)).unwrap().unwrap();
        assert_eq!(
            found,
            Revocation {
                subject: RevocationSubject::TokenId("jwt".into()),
                issued_before: None,
                until: t(330),
            }
        );
        assert_eq!(store.revocations.find_revocation(marks("JWT"), t(60)).unwrap(), None);
        assert_eq!(store.revocations.find_revocation(marks("jwt"), t(331)).unwrap(), None);
    }
}
