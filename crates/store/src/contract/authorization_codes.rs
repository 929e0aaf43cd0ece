//! What [`AuthorizationCodes`](crate::AuthorizationCodes) promise.

use super::access_tokens::{state, token};
use super::grants::{code, code_hash, consent, give, grant, grant_id, is_denied, state_of};
use super::users::peopled;
use super::{Case, Open, audit_records, cases, entry, t};
use crate::{
    AccessTokenHash, AccessTokenState, AuthorizationCode, Grant, GrantRevocation, GrantState, NewRefreshToken,
    RedeemAuthorizationCode, Redemption, RefreshTokenHash, RefreshTokenHolder, Store, StoreError,
};

/// All cases.
pub const CASES: &[Case] = cases![
    a_code_is_found_as_it_was_given_with_its_grant,
    an_unknown_or_expired_code_or_one_of_an_ended_grant_is_not_redeemed,
    a_code_is_redeemed_once_also_across_a_restart,
    a_second_use_ends_the_grant_and_what_came_of_it,
    what_is_handed_out_is_recorded_with_the_use_or_not_at_all,
    of_twenty_concurrent_uses_exactly_one_succeeds,
    after_a_restored_backup_a_code_is_not_redeemed,
];

/// The redemption of the code of this number, for a JWT.
fn redemption(number: u8) -> Redemption {
    Redemption {
        code: code_hash(number),
        first_token_id: format!("{}.first", grant_id(number)),
        refresh: None,
        opaque: None,
        tokens_until: t(400),
    }
}

async fn redeem_at(store: &Store, redemption: Redemption, secs: i64) -> RedeemAuthorizationCode {
    let answer = store
        .authorization_codes
        .redeem_authorization_code(redemption, entry(secs));
    answer.await.unwrap()
}

async fn a_code_is_found_as_it_was_given_with_its_grant(open: &dyn Open) {
    let store = peopled(open).await;
    give(&store, 1).await;
    let bare = AuthorizationCode {
        redirect_uri: None,
        code_challenge: None,
        nonce: None,
        dpop_jkt: Some("0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I".into()),
        ..code(2)
    };
    consent(&store, 2, grant(2), bare.clone()).await;
    for store in [store, open.open()] {
        for (number, expected) in [(1, code(1)), (2, bare.clone())] {
            let found = store.authorization_codes.find_authorization_code(&code_hash(number));
            let found = found.unwrap().unwrap();
            assert_eq!(found.code, expected);
            assert_eq!(found.grant.grant, grant(number));
            assert_eq!(found.grant.state, GrantState::Live);
            assert!(!found.is_spent);
        }
        let unknown = store.authorization_codes.find_authorization_code(&code_hash(3));
        assert_eq!(unknown.unwrap(), None);
    }
}

async fn an_unknown_or_expired_code_or_one_of_an_ended_grant_is_not_redeemed(open: &dyn Open) {
    let store = peopled(open).await;
    give(&store, 1).await;
    give(&store, 2).await;
    let short = Grant {
        expires_at: t(30),
        ..grant(3)
    };
    consent(&store, 3, short, code(3)).await;
    let revocation = GrantRevocation {
        grant_id: grant_id(2),
        only_of: None,
        tokens_until: t(400),
    };
    store.grants.revoke_grant(revocation, entry(1)).await.unwrap();
    let records = audit_records(&store).await;
    for (number, secs, expected) in [
        (9, 1, RedeemAuthorizationCode::Unknown),
        (1, 60, RedeemAuthorizationCode::Expired),
        (1, 61, RedeemAuthorizationCode::Expired),
        (2, 2, RedeemAuthorizationCode::Expired),
        (3, 30, RedeemAuthorizationCode::Expired),
    ] {
        assert_eq!(redeem_at(&store, redemption(number), secs).await, expected, "{number}");
    }
    assert_eq!(audit_records(&store).await, records);
    // None of this used the code up.
    assert_eq!(
        redeem_at(&store, redemption(1), 59).await,
        RedeemAuthorizationCode::Redeemed
    );
}

async fn a_code_is_redeemed_once_also_across_a_restart(open: &dyn Open) {
    let store = peopled(open).await;
    give(&store, 1).await;
    assert_eq!(
        redeem_at(&store, redemption(1), 10).await,
        RedeemAuthorizationCode::Redeemed
    );
    drop(store);
    let store = open.open();
    let found = store.authorization_codes.find_authorization_code(&code_hash(1));
    assert!(found.unwrap().unwrap().is_spent);
    assert_eq!(
        redeem_at(&store, redemption(1), 10).await,
        RedeemAuthorizationCode::AlreadySpent
    );
}

async fn a_second_use_ends_the_grant_and_what_came_of_it(open: &dyn Open) {
    let store = peopled(open).await;
    give(&store, 1).await;
    give(&store, 2).await;
    for number in [1, 2] {
        assert_eq!(
            redeem_at(&store, redemption(number), 10).await,
            RedeemAuthorizationCode::Redeemed
        );
    }
    let records = audit_records(&store).await;
    let second = Redemption {
        first_token_id: "another".into(),
        ..redemption(1)
    };
    // Also long after its time.
    assert_eq!(
        redeem_at(&store, second.clone(), 100).await,
        RedeemAuthorizationCode::AlreadySpent
    );
    assert_eq!(audit_records(&store).await, records + 1);
    assert_eq!(
        redeem_at(&store, second, 100).await,
        RedeemAuthorizationCode::AlreadySpent
    );
    assert_eq!(audit_records(&store).await, records + 1);
    for store in [store, open.open()] {
        assert_eq!(state_of(&store, &grant_id(1)), GrantState::Revoked);
        assert!(is_denied(&store, &format!("{}.later", grant_id(1))));
        let entries = store.revocations.revocations_after(Default::default(), 10).unwrap();
        // By the grant, and by the one token that was given for the code.
        assert_eq!(entries.entries.len(), 2);
        assert!(!is_denied(&store, "another"));
        assert_eq!(state_of(&store, &grant_id(2)), GrantState::Live);
        assert!(!is_denied(&store, &format!("{}.first", grant_id(2))));
    }
}

async fn what_is_handed_out_is_recorded_with_the_use_or_not_at_all(open: &dyn Open) {
    let store = peopled(open).await;
    give(&store, 1).await;
    give(&store, 2).await;
    let hash = AccessTokenHash::of_token("opaque");
    let refresh = RefreshTokenHash::of("refresh");
    let with_both = |number| Redemption {
        refresh: Some(NewRefreshToken {
            hash: refresh,
            holder: RefreshTokenHolder::AuthenticatedClient,
            idle_until: t(1_000),
        }),
        opaque: Some((hash, token(&format!("{}.first", grant_id(1))))),
        ..redemption(number)
    };
    assert_eq!(
        redeem_at(&store, with_both(1), 10).await,
        RedeemAuthorizationCode::Redeemed
    );
    assert_eq!(state(&store, &hash), AccessTokenState::Live);
    let found = store.refresh_tokens.find_refresh_token(&refresh).unwrap().unwrap();
    assert_eq!((found.generation, found.grant.grant), (1, grant(1)));
    // The same random numbers again: our fault, and nothing happens.
    let answer = store
        .authorization_codes
        .redeem_authorization_code(with_both(2), entry(10));
    assert!(matches!(answer.await, Err(StoreError::Unavailable { .. })));
    let second = store.authorization_codes.find_authorization_code(&code_hash(2));
    assert!(!second.unwrap().unwrap().is_spent);
    // The replay of the first takes the opaque token along.
    assert_eq!(
        redeem_at(&store, redemption(1), 11).await,
        RedeemAuthorizationCode::AlreadySpent
    );
    assert_eq!(state(&store, &hash), AccessTokenState::Revoked);
}

async fn of_twenty_concurrent_uses_exactly_one_succeeds(open: &dyn Open) {
    let store = peopled(open).await;
    for number in 1..=100 {
        give(&store, number).await;
        let mut uses = tokio::task::JoinSet::new();
        for attempt in 0..20 {
            let codes = store.authorization_codes.clone();
            let presented = redemption(number);
            // Half of them are under way before any is awaited, half from tasks of their own.
            if attempt % 2 == 0 {
                uses.spawn(codes.redeem_authorization_code(presented, entry(1)));
            } else {
                uses.spawn(async move { codes.redeem_authorization_code(presented, entry(1)).await });
            }
        }
        let outcomes: Vec<_> = uses.join_all().await.into_iter().map(Result::unwrap).collect();
        let count = |wanted| outcomes.iter().filter(|outcome| **outcome == wanted).count();
        let counts = (
            count(RedeemAuthorizationCode::Redeemed),
            count(RedeemAuthorizationCode::AlreadySpent),
        );
        assert_eq!(counts, (1, 19), "round {number}: {outcomes:?}");
        assert_eq!(state_of(&store, &grant_id(number)), GrantState::Revoked);
    }
}

async fn after_a_restored_backup_a_code_is_not_redeemed(open: &dyn Open) {
    let store = peopled(open).await;
    give(&store, 1).await;
    store.upkeep.raise_epoch(t(400), entry(5)).await.unwrap();
    give(&store, 2).await;
    assert_eq!(
        redeem_at(&store, redemption(1), 6).await,
        RedeemAuthorizationCode::Expired
    );
    assert_eq!(
        redeem_at(&store, redemption(2), 6).await,
        RedeemAuthorizationCode::Redeemed
    );
}
