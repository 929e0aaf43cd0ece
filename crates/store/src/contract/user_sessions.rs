//! What [`UserSessions`](crate::UserSessions) promise.

use super::grants::signed_in;
use super::users::{disable, peopled, removal, subject, unchanged};
use super::{Case, Open, audit_records, cases, entry, t};
use crate::{
    AuditQuery, DeleteUser, EndUserSession, NewUserSession, PasswordHash, StartUserSession, Store, UserChange,
    UserSessionHash, UserSessionStart,
};

/// All cases.
pub const CASES: &[Case] = cases![
    a_session_is_found_by_its_cookie_also_after_a_restart,
    a_session_that_is_used_lasts_but_not_beyond_its_end,
    a_session_that_is_ended_is_gone,
    a_user_who_is_kept_out_or_gone_has_no_session,
    a_session_ends_the_one_that_it_takes_the_place_of_and_no_other,
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

/// That session, in a browser that had none.
pub(crate) fn starting(number: u8) -> UserSessionStart {
    UserSessionStart {
        session: session(number),
        instead_of: None,
    }
}

async fn try_to_start(store: &Store, start: UserSessionStart) -> StartUserSession {
    let outcome = store.user_sessions.start_user_session(start, entry(0));
    outcome.await.unwrap()
}

async fn start(store: &Store, number: u8) {
    assert_eq!(try_to_start(store, starting(number)).await, StartUserSession::Started);
}

fn find(store: &Store, number: u8) -> Option<NewUserSession> {
    store.user_sessions.find_user_session(&session(number).hash).unwrap()
}

async fn a_session_is_found_by_its_cookie_also_after_a_restart(open: &dyn Open) {
    let store = peopled(open).await;
    start(&store, 1).await;
    let records = audit_records(&store).await;
    let again = try_to_start(&store, starting(1)).await;
    assert_eq!(again, StartUserSession::AlreadyStarted);
    assert_eq!(audit_records(&store).await, records);
    for store in [&store, &open.open()] {
        assert_eq!(find(store, 1), Some(session(1)));
        assert_eq!(find(store, 2), None);
    }
}

async fn a_session_that_is_used_lasts_but_not_beyond_its_end(open: &dyn Open) {
    let store = peopled(open).await;
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
    let store = peopled(open).await;
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
    let store = peopled(open).await;
    for (number, is_over, changed) in [
        (1, false, unchanged("user-2", None)),
        (
            3,
            true,
            UserChange {
                password_hash: Some(PasswordHash::from_phc("$argon2id$two")),
                ..unchanged("user-2", None)
            },
        ),
    ] {
        start(&store, number).await;
        store.users.change_user(changed, entry(1)).await.unwrap();
        assert_eq!(find(&store, number).is_none(), is_over, "{number}");
    }
    start(&store, 4).await;
    disable(&store, 2).await;
    assert_eq!(find(&store, 4), None);
    // Nor does one start for somebody who was disabled, or deleted, since the password was found to be right.
    let records = audit_records(&store).await;
    assert_eq!(try_to_start(&store, starting(5)).await, StartUserSession::UserBarred);
    assert_eq!((find(&store, 5), audit_records(&store).await), (None, records));
    let enabled = UserChange {
        is_disabled: Some(false),
        ..unchanged("user-2", None)
    };
    store.users.change_user(enabled, entry(1)).await.unwrap();
    start(&store, 5).await;
    let deleted = store.users.delete_user(removal("user-2", None), entry(1)).await;
    assert_eq!(deleted.unwrap(), DeleteUser::Deleted);
    assert_eq!(find(&store, 5), None);
    assert_eq!(try_to_start(&store, starting(6)).await, StartUserSession::UserBarred);
    assert_eq!(find(&store, 6), None);
}

async fn a_session_ends_the_one_that_it_takes_the_place_of_and_no_other(open: &dyn Open) {
    let store = peopled(open).await;
    for number in 1..=3 {
        start(&store, number).await;
    }
    let instead_of = |number: u8, other: u8| UserSessionStart {
        instead_of: Some(session(other).hash),
        ..starting(number)
    };
    let records = audit_records(&store).await;
    // One that does not start ends nothing.
    assert_eq!(
        try_to_start(&store, instead_of(2, 1)).await,
        StartUserSession::AlreadyStarted
    );
    disable(&store, 1).await;
    let mut of_the_disabled = instead_of(4, 1);
    of_the_disabled.session.signed_in.subject = subject(1);
    assert_eq!(
        try_to_start(&store, of_the_disabled).await,
        StartUserSession::UserBarred
    );
    assert_eq!(audit_records(&store).await, records + 1, "that of being disabled");
    assert!(find(&store, 1).is_some());
    assert_eq!(try_to_start(&store, instead_of(4, 1)).await, StartUserSession::Started);
    for store in [&store, &open.open()] {
        let found: Vec<bool> = (1..=4).map(|number| find(store, number).is_some()).collect();
        assert_eq!(found, [false, true, true, true]);
    }
    let query = AuditQuery {
        subject: Some(subject(2).as_str().to_owned()),
        limit: 2,
        ..AuditQuery::default()
    };
    let records = store.audit.records(query).await.unwrap().records;
    let actions: Vec<&str> = records.iter().map(|record| record.action.as_str()).collect();
    assert_eq!(actions, ["user_session.started", "user_session.ended"], "newest first");
    // A cookie that is none is in nobody's way.
    assert_eq!(try_to_start(&store, instead_of(5, 1)).await, StartUserSession::Started);
}

async fn after_a_restored_backup_there_is_none(open: &dyn Open) {
    let store = peopled(open).await;
    start(&store, 1).await;
    store.upkeep.raise_epoch(t(400), entry(5)).await.unwrap();
    start(&store, 2).await;
    assert_eq!(find(&store, 1), None);
    assert_eq!(find(&store, 2), Some(session(2)));
}
