//! What [`RefreshTokens`](crate::RefreshTokens) promise.

use std::time::Duration;

use super::access_tokens::{state, token};
use super::grants::{code_hash, give, grant_id, is_denied, state_of};
use super::users::peopled;
use super::{Case, Open, audit_records, cases, entry, t, thumbprint};
use crate::{
    AccessTokenHash, AccessTokenState, GrantRevocation, GrantState, NewRefreshToken, RecordRefresh,
    RedeemAuthorizationCode, Redemption, RefreshTokenHash, RefreshTokenHolder, RefreshUse, Revocation,
    RevocationSubject, RotateRefreshToken, Rotation, Store,
};

/// All cases.
pub const CASES: &[Case] = cases![
    a_token_is_found_with_its_grant_also_after_a_restart,
    a_rotation_by_anybody_else_or_too_late_changes_nothing,
    a_token_is_replaced_once_and_its_successor_works_also_after_a_restart,
    a_retry_within_its_window_gives_the_same_successor_again,
    any_other_reuse_ends_the_family,
    a_bearer_is_never_told_a_successor_twice,
    of_twenty_concurrent_uses_one_replaces_and_none_forks,
    a_use_of_a_token_that_stays_moves_its_end,
    a_revoked_certificate_ends_the_grants_that_rest_on_it,
    after_a_restored_backup_no_token_is_refreshed,
];

const WINDOW: Duration = Duration::from_secs(30);
const IDLE: i64 = 1_000;

fn holder() -> RefreshTokenHolder {
    RefreshTokenHolder::Certificate(thumbprint(1))
}

fn hash(text: &str) -> RefreshTokenHash {
    RefreshTokenHash::of(text)
}

/// Gives the grant of this number a refresh token and returns its text.
async fn first(store: &Store, number: u8, holder: RefreshTokenHolder) -> String {
    give(store, number).await;
    let text = format!("refresh token {number}");
    let redemption = Redemption {
        code: code_hash(number),
        first_token_id: format!("{}.first", grant_id(number)),
        refresh: Some(NewRefreshToken {
            hash: hash(&text),
            holder,
            idle_until: t(IDLE),
        }),
        opaque: None,
        tokens_until: t(400),
    };
    let outcome = store
        .authorization_codes
        .redeem_authorization_code(redemption, entry(0))
        .await;
    assert_eq!(outcome.unwrap(), RedeemAuthorizationCode::Redeemed);
    text
}

/// The text of the successor, as the server would derive it.
fn successor(store: &Store, text: &str) -> String {
    let found = store.refresh_tokens.find_refresh_token(&hash(text)).unwrap().unwrap();
    let (family, generation) = (&found.grant.grant.grant_id, found.generation);
    let derived = store.refresh_tokens.derive_successor(text, family, generation).unwrap();
    derived.to_string()
}

fn rotation(store: &Store, text: &str) -> Rotation {
    Rotation {
        presented: hash(text),
        presenter: holder(),
        successor: hash(&successor(store, text)),
        idle_until: t(IDLE * 2),
        retry_window: WINDOW,
        opaque: None,
        tokens_until: t(400),
    }
}

async fn rotate_at(store: &Store, rotation: Rotation, secs: i64) -> RotateRefreshToken {
    let answer = store.refresh_tokens.rotate_refresh_token(rotation, entry(secs));
    answer.await.unwrap()
}

async fn a_token_is_found_with_its_grant_also_after_a_restart(open: &dyn Open) {
    let store = peopled(open).await;
    let holders = [
        RefreshTokenHolder::AuthenticatedClient,
        holder(),
        RefreshTokenHolder::Key("0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I".into()),
        RefreshTokenHolder::Bearer,
    ];
    for (number, holder) in (1..).zip(&holders) {
        first(&store, number, holder.clone()).await;
    }
    for store in [store, open.open()] {
        for (number, holder) in (1..).zip(&holders) {
            let found = store
                .refresh_tokens
                .find_refresh_token(&hash(&format!("refresh token {number}")));
            let found = found.unwrap().unwrap();
            assert_eq!(found.grant.grant.grant_id, grant_id(number));
            assert_eq!((found.generation, &found.holder), (1, holder));
            assert_eq!(
                (found.issued_at, found.used_at, found.idle_until),
                (t(0), t(0), t(IDLE))
            );
            assert_eq!(found.superseded_at, None);
        }
        assert_eq!(store.refresh_tokens.find_refresh_token(&hash("other")).unwrap(), None);
    }
}

async fn a_rotation_by_anybody_else_or_too_late_changes_nothing(open: &dyn Open) {
    let store = peopled(open).await;
    let text = first(&store, 1, holder()).await;
    let stays = first(&store, 2, RefreshTokenHolder::AuthenticatedClient).await;
    let records = audit_records(&store).await;
    let by = |presenter| Rotation {
        presenter,
        ..rotation(&store, &text)
    };
    for (rotation, secs, expected) in [
        (
            by(RefreshTokenHolder::Certificate(thumbprint(2))),
            10,
            RotateRefreshToken::Refused,
        ),
        (by(RefreshTokenHolder::Bearer), 10, RotateRefreshToken::Refused),
        (
            by(RefreshTokenHolder::AuthenticatedClient),
            10,
            RotateRefreshToken::Refused,
        ),
        (rotation(&store, &text), IDLE, RotateRefreshToken::Refused),
        (rotation(&store, &text), 365 * 86_400, RotateRefreshToken::Refused),
        (rotation(&store, &stays), 10, RotateRefreshToken::Refused),
        (
            Rotation {
                presented: hash("unknown"),
                ..rotation(&store, &text)
            },
            10,
            RotateRefreshToken::Unknown,
        ),
    ] {
        assert_eq!(
            rotate_at(&store, rotation.clone(), secs).await,
            expected,
            "{rotation:?}"
        );
    }
    assert_eq!(audit_records(&store).await, records);
    assert_eq!(state_of(&store, &grant_id(1)), GrantState::Live);
    assert_eq!(
        rotate_at(&store, rotation(&store, &text), IDLE - 1).await,
        RotateRefreshToken::Rotated
    );
}

async fn a_token_is_replaced_once_and_its_successor_works_also_after_a_restart(open: &dyn Open) {
    let store = peopled(open).await;
    let first = first(&store, 1, holder()).await;
    let opaque = AccessTokenHash::of_token("opaque");
    let with_opaque = Rotation {
        opaque: Some((opaque, token(&format!("{}.second", grant_id(1))))),
        ..rotation(&store, &first)
    };
    assert_eq!(rotate_at(&store, with_opaque, 10).await, RotateRefreshToken::Rotated);
    assert_eq!(state(&store, &opaque), AccessTokenState::Live);
    let second = successor(&store, &first);
    drop(store);
    let store = open.open();
    let found = store.refresh_tokens.find_refresh_token(&hash(&first)).unwrap().unwrap();
    assert_eq!(found.superseded_at, Some(t(10)));
    let found = store
        .refresh_tokens
        .find_refresh_token(&hash(&second))
        .unwrap()
        .unwrap();
    assert_eq!((found.generation, found.holder, found.issued_at), (2, holder(), t(10)));
    assert_eq!((found.superseded_at, found.idle_until), (None, t(IDLE * 2)));
    assert_eq!(
        rotate_at(&store, rotation(&store, &second), 20).await,
        RotateRefreshToken::Rotated
    );
    assert_ne!(successor(&store, &second), second);
}

async fn a_retry_within_its_window_gives_the_same_successor_again(open: &dyn Open) {
    let store = peopled(open).await;
    let first = first(&store, 1, holder()).await;
    assert_eq!(
        rotate_at(&store, rotation(&store, &first), 10).await,
        RotateRefreshToken::Rotated
    );
    let second = successor(&store, &first);
    drop(store);
    let store = open.open();
    // A clock that went back is no reason to punish.
    for secs in [10, 9, 25, 40] {
        assert_eq!(
            rotate_at(&store, rotation(&store, &first), secs).await,
            RotateRefreshToken::Repeated,
            "{secs}"
        );
        assert_eq!(successor(&store, &first), second);
    }
    assert_eq!(state_of(&store, &grant_id(1)), GrantState::Live);
    assert_eq!(
        rotate_at(&store, rotation(&store, &second), 41).await,
        RotateRefreshToken::Rotated
    );
}

async fn any_other_reuse_ends_the_family(open: &dyn Open) {
    drop(peopled(open).await);
    for case in 0..4_u8 {
        let store = open.open();
        let number = case + 1;
        let first = first(&store, number, holder()).await;
        let rotated = rotate_at(&store, rotation(&store, &first), 10).await;
        assert_eq!(rotated, RotateRefreshToken::Rotated);
        let second = successor(&store, &first);
        let (reuse, secs) = match case {
            // Too late.
            0 => (rotation(&store, &first), 41),
            // By another certificate.
            1 => {
                let presenter = RefreshTokenHolder::Certificate(thumbprint(2));
                let stolen = Rotation {
                    presenter,
                    ..rotation(&store, &first)
                };
                (stolen, 11)
            }
            // After the successor was used.
            2 => {
                let used = rotate_at(&store, rotation(&store, &second), 11).await;
                assert_eq!(used, RotateRefreshToken::Rotated);
                (rotation(&store, &first), 12)
            }
            // With another idea of the successor.
            _ => {
                let forked = Rotation {
                    successor: hash("another"),
                    ..rotation(&store, &first)
                };
                (forked, 11)
            }
        };
        assert_eq!(
            rotate_at(&store, reuse, secs).await,
            RotateRefreshToken::Reused,
            "{case}"
        );
        for store in [store, open.open()] {
            assert_eq!(state_of(&store, &grant_id(number)), GrantState::Revoked);
            assert!(is_denied(&store, &format!("{}.any", grant_id(number))));
            for text in [&first, &second] {
                assert_eq!(
                    rotate_at(&store, rotation(&store, text), 13).await,
                    RotateRefreshToken::Refused
                );
            }
        }
    }
}

async fn a_bearer_is_never_told_a_successor_twice(open: &dyn Open) {
    let store = peopled(open).await;
    let text = first(&store, 1, RefreshTokenHolder::Bearer).await;
    let by_bearer = || Rotation {
        presenter: RefreshTokenHolder::Bearer,
        ..rotation(&store, &text)
    };
    assert_eq!(rotate_at(&store, by_bearer(), 10).await, RotateRefreshToken::Rotated);
    assert_eq!(rotate_at(&store, by_bearer(), 10).await, RotateRefreshToken::Reused);
    assert_eq!(state_of(&store, &grant_id(1)), GrantState::Revoked);
}

async fn of_twenty_concurrent_uses_one_replaces_and_none_forks(open: &dyn Open) {
    let store = peopled(open).await;
    for number in 1..=100 {
        let text = first(&store, number, holder()).await;
        let mut uses = tokio::task::JoinSet::new();
        for attempt in 0..20 {
            let (tokens, presented) = (store.refresh_tokens.clone(), rotation(&store, &text));
            if attempt % 2 == 0 {
                uses.spawn(tokens.rotate_refresh_token(presented, entry(1)));
            } else {
                uses.spawn(async move { tokens.rotate_refresh_token(presented, entry(1)).await });
            }
        }
        let outcomes: Vec<_> = uses.join_all().await.into_iter().map(Result::unwrap).collect();
        let count = |wanted| outcomes.iter().filter(|outcome| **outcome == wanted).count();
        let counts = (count(RotateRefreshToken::Rotated), count(RotateRefreshToken::Repeated));
        assert_eq!(counts, (1, 19), "round {number}: {outcomes:?}");
        assert_eq!(state_of(&store, &grant_id(number)), GrantState::Live);
    }
}

async fn a_use_of_a_token_that_stays_moves_its_end(open: &dyn Open) {
    let store = peopled(open).await;
    let text = first(&store, 1, RefreshTokenHolder::AuthenticatedClient).await;
    let opaque = AccessTokenHash::of_token("opaque");
    let record = |idle_until, opaque, secs| {
        let refresh = RefreshUse {
            hash: hash(&text),
            idle_until,
            opaque,
        };
        store.refresh_tokens.record_refresh(refresh, entry(secs))
    };
    let find = |store: &Store| store.refresh_tokens.find_refresh_token(&hash(&text)).unwrap().unwrap();
    assert_eq!(record(Some(t(2_000)), None, 50).await.unwrap(), RecordRefresh::Recorded);
    let issued = token(&format!("{}.second", grant_id(1)));
    assert_eq!(
        record(None, Some((opaque, issued)), 51).await.unwrap(),
        RecordRefresh::Recorded
    );
    assert_eq!(state(&store, &opaque), AccessTokenState::Live);
    // Never back.
    assert_eq!(record(Some(t(60)), None, 52).await.unwrap(), RecordRefresh::Recorded);
    for store in [&store, &open.open()] {
        assert_eq!((find(store).used_at, find(store).idle_until), (t(52), t(2_000)));
    }
    let revocation = GrantRevocation {
        grant_id: grant_id(1),
        only_of: None,
        tokens_until: t(400),
    };
    store.grants.revoke_grant(revocation, entry(53)).await.unwrap();
    let records = audit_records(&store).await;
    assert_eq!(record(Some(t(9_000)), None, 54).await.unwrap(), RecordRefresh::Ended);
    assert_eq!(find(&store).idle_until, t(2_000));
    assert_eq!(audit_records(&store).await, records);
}

async fn a_revoked_certificate_ends_the_grants_that_rest_on_it(open: &dyn Open) {
    let store = peopled(open).await;
    first(&store, 1, holder()).await;
    first(&store, 2, RefreshTokenHolder::Certificate(thumbprint(2))).await;
    first(&store, 3, RefreshTokenHolder::AuthenticatedClient).await;
    let states = |store: &Store| [1, 2, 3].map(|number| state_of(store, &grant_id(number)) == GrantState::Live);
    let revoke = |issued_before| {
        let revocation = Revocation {
            subject: RevocationSubject::Certificate(thumbprint(1)),
            issued_before,
            until: t(400),
        };
        store.revocations.revoke(revocation, entry(10))
    };
    // Strictly before: what was issued in that very second stays.
    revoke(Some(t(0))).await.unwrap();
    assert_eq!(states(&store), [true, true, true]);
    revoke(None).await.unwrap();
    assert_eq!(states(&store), [false, true, true]);
    assert_eq!(states(&open.open()), [false, true, true]);
}

async fn after_a_restored_backup_no_token_is_refreshed(open: &dyn Open) {
    let store = peopled(open).await;
    let rotated = first(&store, 1, holder()).await;
    let stays = first(&store, 2, RefreshTokenHolder::AuthenticatedClient).await;
    store.upkeep.raise_epoch(t(400), entry(5)).await.unwrap();
    assert_eq!(
        rotate_at(&store, rotation(&store, &rotated), 6).await,
        RotateRefreshToken::Refused
    );
    let refresh = RefreshUse {
        hash: hash(&stays),
        idle_until: None,
        opaque: None,
    };
    let recorded = store.refresh_tokens.record_refresh(refresh, entry(6)).await;
    assert_eq!(recorded.unwrap(), RecordRefresh::Ended);
    let found = store.refresh_tokens.find_refresh_token(&hash(&stays)).unwrap().unwrap();
    assert_eq!(found.grant.state, GrantState::Void);
}
