//! What [`Grants::give_silently`](crate::Grants::give_silently) and [`live_grants`](crate::Grants::live_grants) promise.

use keybound_protocol::grant_id::GrantId;

use super::grants::{code, code_hash, consent, give, grant, grant_id, interaction, is_denied, state_of};
use super::pushed_requests::pushed;
use super::users::{disable, peopled, removal, subject};
use super::{Case, Open, audit_records, cases, client, entry, t};
use crate::{
    AuditQuery, BeginInteraction, CompleteInteraction, GiveSilently, Grant, GrantRevocation, GrantState,
    InteractionOutcome, NewInteraction, RevokeGrant, SilentGrant, Store,
};

/// All cases.
pub const CASES: &[Case] = cases![
    a_silent_grant_says_what_it_rests_on_also_after_a_restart,
    nothing_rests_on_what_does_not_count,
    whoever_is_disabled_or_deleted_meanwhile_is_given_nothing,
    a_silent_grant_ends_with_the_one_it_rests_on_and_not_the_other_way_round,
    a_pushed_request_is_spent_once_silently_or_by_an_interaction,
    live_grants_are_those_that_count_and_that_the_user_gave,
];

/// The grant of this number, resting on another.
fn resting(number: u8, base: &GrantId) -> Grant {
    Grant {
        created_at: t(30),
        expires_at: t(400),
        based_on: Some(base.clone()),
        ..grant(number)
    }
}

async fn give_silently(store: &Store, number: u8, silent: Grant) -> GiveSilently {
    let silent = SilentGrant {
        grant: silent,
        code: code(number),
        pushed: None,
    };
    store.grants.give_silently(silent, entry(30)).await.unwrap()
}

async fn revoke(store: &Store, grant_id: GrantId) -> RevokeGrant {
    let revocation = GrantRevocation {
        grant_id,
        only_of: None,
        tokens_until: t(800),
    };
    store.grants.revoke_grant(revocation, entry(40)).await.unwrap()
}

async fn a_silent_grant_says_what_it_rests_on_also_after_a_restart(open: &dyn Open) {
    let store = peopled(open).await;
    let base = give(&store, 1).await;
    let silent = resting(2, &base);
    assert_eq!(give_silently(&store, 2, silent.clone()).await, GiveSilently::Given);
    let query = AuditQuery {
        subject: Some(grant_id(2).to_string()),
        limit: 10,
        ..AuditQuery::default()
    };
    let records = store.audit.records(query).await.unwrap().records;
    let [record] = records.as_slice() else {
        panic!("{records:?}");
    };
    assert_eq!(record.action, "grant.created");
    assert_eq!(record.details.as_ref().unwrap()["based_on"], base.as_str());
    for store in [store, open.open()] {
        let found = store.grants.find_grant(&grant_id(2)).unwrap().unwrap();
        assert_eq!((found.grant, found.state), (silent.clone(), GrantState::Live));
        let code = store
            .authorization_codes
            .find_authorization_code(&code_hash(2))
            .unwrap();
        assert_eq!(code.unwrap().grant.grant, silent);
    }
}

async fn nothing_rests_on_what_does_not_count(open: &dyn Open) {
    let store = peopled(open).await;
    let base = give(&store, 1).await;
    assert_eq!(give_silently(&store, 2, resting(2, &base)).await, GiveSilently::Given);
    let short = Grant {
        expires_at: t(30),
        ..grant(3)
    };
    consent(&store, 3, short, code(3)).await;
    let withdrawn = give(&store, 4).await;
    revoke(&store, withdrawn.clone()).await;
    let records = audit_records(&store).await;
    for refused in [
        Grant {
            based_on: None,
            ..resting(9, &base)
        },
        resting(9, &grant_id(8)),
        Grant {
            subject: subject(2),
            ..resting(9, &base)
        },
        Grant {
            client_id: client("other"),
            ..resting(9, &base)
        },
        Grant {
            expires_at: t(365 * 86_400 + 1),
            ..resting(9, &base)
        },
        // It is over at this second.
        Grant {
            expires_at: t(30),
            ..resting(9, &grant_id(3))
        },
        resting(9, &withdrawn),
        // Nobody was asked for that one either.
        resting(9, &grant_id(2)),
    ] {
        let outcome = give_silently(&store, 9, refused.clone()).await;
        assert_eq!(outcome, GiveSilently::NotAllowed, "{refused:?}");
    }
    store.upkeep.raise_epoch(t(400), entry(20)).await.unwrap();
    assert_eq!(
        give_silently(&store, 9, resting(9, &base)).await,
        GiveSilently::NotAllowed
    );
    assert_eq!(audit_records(&store).await, records + 1, "that of the epoch alone");
    assert_eq!(store.grants.find_grant(&grant_id(9)).unwrap(), None);
}

async fn whoever_is_disabled_or_deleted_meanwhile_is_given_nothing(open: &dyn Open) {
    let store = peopled(open).await;
    let base = give(&store, 1).await;
    assert_eq!(give_silently(&store, 2, resting(2, &base)).await, GiveSilently::Given);
    disable(&store, 1).await;
    for _ in 0..2 {
        let records = audit_records(&store).await;
        assert_eq!(
            give_silently(&store, 3, resting(3, &base)).await,
            GiveSilently::UserBarred
        );
        assert_eq!(store.grants.find_grant(&grant_id(3)).unwrap(), None);
        assert_eq!(audit_records(&store).await, records);
        store
            .users
            .delete_user(removal("user-1", None), entry(40))
            .await
            .unwrap();
    }
    for number in [1, 2] {
        assert_eq!(state_of(&store, &grant_id(number)), GrantState::Revoked);
    }
}

async fn a_silent_grant_ends_with_the_one_it_rests_on_and_not_the_other_way_round(open: &dyn Open) {
    let store = peopled(open).await;
    let (base, other) = (give(&store, 1).await, give(&store, 2).await);
    for (number, base) in [(3, &base), (4, &base), (5, &other)] {
        assert_eq!(
            give_silently(&store, number, resting(number, base)).await,
            GiveSilently::Given
        );
    }
    assert_eq!(revoke(&store, grant_id(3)).await, RevokeGrant::Revoked);
    assert_eq!(state_of(&store, &base), GrantState::Live);
    let records = audit_records(&store).await;
    assert_eq!(revoke(&store, base.clone()).await, RevokeGrant::Revoked);
    assert_eq!(audit_records(&store).await, records + 2, "one for each that ended now");
    for store in [store, open.open()] {
        for (number, is_live) in [(1, false), (2, true), (3, false), (4, false), (5, true)] {
            let is_found_live = state_of(&store, &grant_id(number)) == GrantState::Live;
            assert_eq!(is_found_live, is_live, "{number}");
            assert_eq!(
                is_denied(&store, &format!("{}.one", grant_id(number))),
                !is_live,
                "{number}"
            );
        }
    }
}

async fn a_pushed_request_is_spent_once_silently_or_by_an_interaction(open: &dyn Open) {
    let store = peopled(open).await;
    let base = give(&store, 1).await;
    store.pushed_requests.push_request(pushed(1)).await.unwrap();
    let begun = NewInteraction {
        pushed: Some(pushed(1).hash),
        ..interaction(2)
    };
    let outcome = store.interactions.begin_interaction(begun).await.unwrap();
    assert_eq!(outcome, BeginInteraction::Begun);
    let silent = |number| SilentGrant {
        grant: resting(number, &base),
        code: code(number),
        pushed: Some(pushed(1).hash),
    };
    let given = store.grants.give_silently(silent(3), entry(30)).await.unwrap();
    assert_eq!(given, GiveSilently::Given);
    let again = store.grants.give_silently(silent(4), entry(30)).await.unwrap();
    assert_eq!(again, GiveSilently::RequestUriSpent);
    assert_eq!(store.grants.find_grant(&grant_id(4)).unwrap(), None);
    let granted = InteractionOutcome::Granted {
        grant: Box::new(grant(5)),
        code: Box::new(code(5)),
    };
    let completed = store
        .interactions
        .complete_interaction(interaction(2).hash, granted, entry(31));
    assert_eq!(completed.await.unwrap(), CompleteInteraction::RequestUriSpent);
}

async fn live_grants_are_those_that_count_and_that_the_user_gave(open: &dyn Open) {
    let store = peopled(open).await;
    let given = [
        (1, grant(1)),
        (
            2,
            Grant {
                created_at: t(10),
                ..grant(2)
            },
        ),
        (
            3,
            Grant {
                expires_at: t(100),
                ..grant(3)
            },
        ),
        (
            4,
            Grant {
                subject: subject(2),
                ..grant(4)
            },
        ),
        (
            5,
            Grant {
                client_id: client("other"),
                ..grant(5)
            },
        ),
    ];
    for (number, given) in given {
        consent(&store, number, given, code(number)).await;
    }
    assert_eq!(
        give_silently(&store, 7, resting(7, &grant_id(1))).await,
        GiveSilently::Given
    );
    let live = async |store: &Store, secs| {
        let found = store.grants.live_grants(subject(1), client("demo"), t(secs));
        let found = found.await.unwrap();
        found.into_iter().map(|grant| grant.grant_id).collect::<Vec<_>>()
    };
    assert_eq!(live(&store, 99).await, [2, 1, 3].map(grant_id));
    assert_eq!(live(&store, 100).await, [2, 1].map(grant_id));
    revoke(&store, grant_id(2)).await;
    assert_eq!(live(&open.open(), 100).await, [grant_id(1)]);
    store.upkeep.raise_epoch(t(400), entry(20)).await.unwrap();
    assert!(live(&store, 100).await.is_empty());
}
