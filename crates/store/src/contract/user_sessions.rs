//! What [`UserSessions`](crate::UserSessions) promise.

use super::grants::signed_in;
use super::users::{create, removal, subject, unchanged};
use super::{Case, Open, audit_records, cases, entry, t};
use crate::{EndUserSession, NewUserSession, PasswordHash, StartUserSession, Store, UserChange, UserSessionHash};

/// All cases.
pub const CASES: &[Case] = cases![
    a_session_is_found_by_its_cookie_also_after_a_restart,
    a_session_that_is_used_lasts_but_not_beyond_its_end,
    a_session_that_is_ended_is_gone,
    a_user_who_is_kept_out_or_gone_has_no_session,
    after_a_restored_backup_there_is_none,
];

/// The session of this number, of user 2: it ends after eight hours, or after thirty minutes without use.
pub(crate) fn session(number: u8) -> NewUserSession {
    NewUserSession {
        hash: UserSessionHash::of(&format!("cookie {number}")),
        signed_in: signed_in(2),
        expires_at: t(28_800),
        idle_until: t(1_800),
    }
}

async fn start(store: &Store, number: u8) {
    let outcome = store.user_sessions.start_user_session(session(number), entry(0));
    assert_eq!(outcome.await.unwrap(), StartUserSession::Started);
}

fn find(store: &Store, number: u8) -> Option<NewUserSession> {
    store.user_sessions.find_user_session(&session(number).hash).unwrap()
}

async fn a_session_is_found_by_its_cookie_also_after_a_restart(open: &dyn Open) {
    let store = open.open();
    start(&store, 1).await;
    let records = audit_records(&store).await;
    let again = store.user_sessions.start_user_session(session(1), entry(0));
    assert_eq!(again.await.unwrap(), StartUserSession::AlreadyStarted);
    assert_eq!(audit_records(&store).await, records);
    for store in [&store, &open.open()] {
        assert_eq!(find(store, 1), Some(session(1)));
        assert_eq!(find(store, 2), None);
    }
}

async fn a_session_that_is_used_lasts_but_not_beyond_its_end(open: &dyn Open) {
    let store = open.open();
    start(&store, 1).await;
    let extend = |until| store.user_sessions.extend_user_session(session(1).hash, t(until));
    for (until, expected) in [(3_000, 3_000), (2_000, 3_000), (99_999, 28_800)] {
        extend(until).await.unwrap();
        assert_eq!(find(&store, 1).unwrap().idle_until, t(expected));
    }
    store
        .user_sessions
        .extend_user_session(session(2).hash, t(1))
        .await
        .unwrap();
    assert_eq!(find(&store, 2), None);
}

async fn a_session_that_is_ended_is_gone(open: &dyn Open) {
    let store = open.open();
    start(&store, 1).await;
    start(&store, 2).await;
    let end = |number| store.user_sessions.end_user_session(session(number).hash, entry(1));
    assert_eq!(end(3).await.unwrap(), EndUserSession::Unknown);
    assert_eq!(end(1).await.unwrap(), EndUserSession::Ended);
    assert_eq!(end(1).await.unwrap(), EndUserSession::Unknown);
    assert!(find(&store, 1).is_none() && find(&store, 2).is_some());
    start(&store, 3).await;
    let end_all = |number| store.user_sessions.end_user_sessions_of(subject(number), entry(1));
    assert_eq!(end_all(1).await.unwrap(), 0);
    assert_eq!(end_all(2).await.unwrap(), 2);
    assert!(find(&open.open(), 2).is_none() && find(&store, 3).is_none());
}

async fn a_user_who_is_kept_out_or_gone_has_no_session(open: &dyn Open) {
    let store = open.open();
    create(&store, "grace", 2).await;
    for (number, is_over, changed) in [
        (1, false, unchanged("grace", None)),
        (
            2,
            true,
            UserChange {
                is_disabled: Some(true),
                ..unchanged("grace", None)
            },
        ),
        (
            3,
            true,
            UserChange {
                password_hash: Some(PasswordHash::from_phc("$argon2id$two")),
                ..unchanged("grace", None)
            },
        ),
    ] {
        start(&store, number).await;
        store.users.change_user(changed, entry(1)).await.unwrap();
        assert_eq!(find(&store, number).is_none(), is_over, "{number}");
    }
    start(&store, 4).await;
    let deleted = store.users.delete_user(removal("grace", None), entry(1)).await;
    deleted.unwrap();
    assert_eq!(find(&store, 4), None);
}

async fn after_a_restored_backup_there_is_none(open: &dyn Open) {
    let store = open.open();
    start(&store, 1).await;
    store.upkeep.raise_epoch(t(400), entry(5)).await.unwrap();
    start(&store, 2).await;
    assert_eq!(find(&store, 1), None);
    assert_eq!(find(&store, 2), Some(session(2)));
}
