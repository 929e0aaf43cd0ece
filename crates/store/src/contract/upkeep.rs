//! What [`Upkeep`](crate::Upkeep) promises.

use super::access_tokens::{record, state, token};
use super::clients::create;
use super::grants::{code_hash, give, grant_id, interaction};
use super::pushed_requests::pushed;
use super::user_sessions::{session, starting};
use super::users::peopled;
use super::{Case, Open, audit_records, cases, client, entry, t};
use crate::{
    AccessTokenState, ConsumeClientAssertion, GrantRevocation, NewInteraction, NewRefreshToken, NewSigningKey,
    OneTimeAssertion, OpaqueAccessToken, PrivateKeyDer, Redemption, RefreshTokenHash, RefreshTokenHolder, Revocation,
    RevocationSubject, Store, TokenMarks,
};

/// All cases.
pub const CASES: &[Case] = cases![
    what_has_expired_is_removed_and_nothing_else,
    what_came_of_a_consent_is_removed_when_nothing_depends_on_it,
    a_raised_epoch_voids_what_was_issued_before,
    a_raised_epoch_uses_no_number_twice,
    a_probe_writes_and_changes_nothing,
];

async fn what_has_expired_is_removed_and_nothing_else(open: &dyn Open) {
    let store = open.open();
    // A minute beyond its expiry a token stays, and a spent assertion: longer than any leeway, and than a request that was judged
    // in time waits for the writer.
    let expired = record(
        &store,
        OpaqueAccessToken {
            expires_at: t(240),
            ..token("one")
        },
    )
    .await;
    let live = record(
        &store,
        OpaqueAccessToken {
            expires_at: t(241),
            ..token("two")
        },
    )
    .await;
    let assertion = |token_id: &str, until| OneTimeAssertion {
        client_id: client("demo"),
        token_id: token_id.into(),
        issued_at: None,
        until,
    };
    let consume = |assertion| store.client_assertions.consume_client_assertion(assertion, entry(0));
    consume(assertion("one", t(240))).await.unwrap();
    consume(assertion("two", t(241))).await.unwrap();
    for (token_id, until) in [("one", t(300)), ("two", t(301))] {
        let subject = RevocationSubject::TokenId(token_id.into());
        store
            .revocations
            .revoke(
                Revocation {
                    subject,
                    issued_before: None,
                    until,
                },
                entry(0),
            )
            .await
            .unwrap();
    }
    let records = audit_records(&store).await;
    // At the very second of its expiry a thing is still there.
    assert_eq!(store.upkeep.remove_expired(t(300)).await.unwrap().rows, 0);
    let removed = store.upkeep.remove_expired(t(301)).await.unwrap();
    assert_eq!((removed.rows, removed.more), (3, false));
    assert_eq!(store.access_tokens.find_access_token(&expired, t(301)).unwrap(), None);
    assert!(store.access_tokens.find_access_token(&live, t(301)).unwrap().is_some());
    assert_eq!(
        consume(assertion("two", t(241))).await.unwrap(),
        ConsumeClientAssertion::AlreadyUsed
    );
    let page = store.revocations.revocations_after(Default::default(), 10).unwrap();
    assert_eq!(page.entries.len(), 1);
    assert_eq!(audit_records(&store).await, records);
    // A follower's cursor outlives the entries.
    assert_eq!(
        store.revocations.revocations_after(page.cursor, 10).unwrap().entries,
        []
    );
}

/// Each thing is there a second before it may go, and gone a second later.
async fn what_came_of_a_consent_is_removed_when_nothing_depends_on_it(open: &dyn Open) {
    const DAY: i64 = 86_400;
    let store = peopled(open).await;
    give(&store, 1).await;
    give(&store, 2).await;
    let redemption = Redemption {
        code: code_hash(1),
        first_token_id: "first".into(),
        refresh: Some(NewRefreshToken {
            hash: RefreshTokenHash::of("refresh"),
            holder: RefreshTokenHolder::AuthenticatedClient,
            idle_until: t(30 * DAY),
        }),
        opaque: None,
        tokens_until: t(400),
    };
    let redeemed = store
        .authorization_codes
        .redeem_authorization_code(redemption, entry(0));
    redeemed.await.unwrap();
    let revocation = GrantRevocation {
        grant_id: grant_id(2),
        only_of: None,
        tokens_until: t(400),
    };
    store.grants.revoke_grant(revocation, entry(0)).await.unwrap();
    for number in [1, 2] {
        store.pushed_requests.push_request(pushed(number)).await.unwrap();
    }
    let opened = NewInteraction {
        pushed: Some(pushed(1).hash),
        ..interaction(3)
    };
    store.interactions.begin_interaction(opened).await.unwrap();
    store
        .user_sessions
        .start_user_session(starting(1), entry(0))
        .await
        .unwrap();
    let what_is_there = |store: &Store| {
        [
            store
                .pushed_requests
                .find_pushed_request(&pushed(2).hash)
                .unwrap()
                .is_some(),
            store
                .interactions
                .find_interaction(&interaction(1).hash)
                .unwrap()
                .is_some(),
            store
                .pushed_requests
                .find_pushed_request(&pushed(1).hash)
                .unwrap()
                .is_some(),
            store
                .user_sessions
                .find_user_session(&session(1).hash)
                .unwrap()
                .is_some(),
            store
                .authorization_codes
                .find_authorization_code(&code_hash(1))
                .unwrap()
                .is_some(),
            store
                .refresh_tokens
                .find_refresh_token(&RefreshTokenHash::of("refresh"))
                .unwrap()
                .is_some(),
            store.grants.find_grant(&grant_id(2)).unwrap().is_some(),
            store.grants.find_grant(&grant_id(1)).unwrap().is_some(),
        ]
    };
    assert_eq!(what_is_there(&store), [true; 8]);
    let minute = 60;
    for (index, last) in [
        // Nobody opened it, and a browser that came in time may wait for the writer so long.
        60 + minute,
        // Its ten minutes, and a minute in which a request may wait for the writer.
        600 + minute,
        // One that was opened: its minute, and the longest interaction, which is still to spend it.
        60 + 900 + minute,
        1_800 + minute,
        // An hour in which a second use still ends the grant.
        60 + 3_600,
        30 * DAY + minute,
        // Ended grants are listed for a month.
        32 * DAY,
        365 * DAY + minute,
    ]
    .into_iter()
    .enumerate()
    {
        store.upkeep.remove_expired(t(last)).await.unwrap();
        assert!(what_is_there(&store)[index], "{index} went too early");
        store.upkeep.remove_expired(t(last + 1)).await.unwrap();
        assert!(!what_is_there(&store)[index], "{index} stayed");
    }
}

async fn a_raised_epoch_voids_what_was_issued_before(open: &dyn Open) {
    let store = open.open();
    let before = record(&store, token("one")).await;
    let key = NewSigningKey {
        key_id: "key-1".into(),
        algorithm: "ES256".into(),
        private_key: PrivateKeyDer::from_pkcs8(vec![1, 2, 3]),
        public_jwk: "{}".into(),
    };
    store.signing_keys.rotate_signing_key(key, entry(0)).await.unwrap();
    let epoch = store.upkeep.epoch().unwrap();
    let records = audit_records(&store).await;
    let raised = store.upkeep.raise_epoch(t(400), entry(50)).await.unwrap();
    assert_eq!(raised, epoch + 1);
    assert_eq!(audit_records(&store).await, records + 1);
    let after = record(
        &store,
        OpaqueAccessToken {
            issued_at: t(55),
            ..token("two")
        },
    )
    .await;
    for store in [store, open.open()] {
        assert_eq!(store.upkeep.epoch().unwrap(), raised);
        assert_eq!(state(&store, &before), AccessTokenState::Void);
        assert_eq!(state(&store, &after), AccessTokenState::Live);
        let demo = client("demo");
        let jwt = |issued_at| TokenMarks {
            token_id: "jti",
            client_id: &demo,
            thumbprint: None,
            key_id: Some("key-1"),
            issued_at,
        };
        assert!(store.revocations.find_revocation(jwt(t(50)), t(60)).unwrap().is_some());
        assert_eq!(store.revocations.find_revocation(jwt(t(51)), t(60)).unwrap(), None);
    }
}

async fn a_raised_epoch_uses_no_number_twice(open: &dyn Open) {
    let store = open.open();
    create(&store, "demo", "{}").await;
    let (version, trust) = (
        store.clients.clients_version().unwrap(),
        store.trust_anchors.trust_epoch().unwrap(),
    );
    store.upkeep.raise_epoch(t(400), entry(1)).await.unwrap();
    // Further than anybody can have counted since the backup was made.
    assert!(store.clients.clients_version().unwrap() > version + 1_000_000_000);
    assert!(store.trust_anchors.trust_epoch().unwrap() > trust + 1_000_000_000);
    // And still exact in JSON.
    assert!(create(&store, "other", "{}").await < 1 << 53);
}

async fn a_probe_writes_and_changes_nothing(open: &dyn Open) {
    let store = open.open();
    let (records, commits) = (audit_records(&store).await, store.upkeep.write_counts().commits);
    store.upkeep.probe(t(0)).await.unwrap();
    store.upkeep.probe(t(1)).await.unwrap();
    assert_eq!(audit_records(&store).await, records);
    assert_eq!(store.upkeep.write_counts().commits, commits + 2);
}
