//! What [`Users`](crate::Users) promise.

use std::time::Duration;

use keybound_protocol::user::{UserName, UserSubject};

use super::{Case, Open, audit_records, cases, entry, t};
use crate::{
    BeginSignIn, BeginUserCode, ChangeUser, CreateUser, DeleteUser, LockOut, NewUser, PAGE_MAX, PasswordHash, Store,
    StoredUser, UserChange, UserRemoval,
};

/// All cases.
pub const CASES: &[Case] = cases![
    a_second_user_of_the_same_name_or_subject_is_refused_and_changes_nothing,
    a_created_user_is_found_by_name_and_subject_also_after_a_restart,
    a_user_is_changed_only_at_the_version_that_was_read,
    a_user_is_deleted_only_at_the_version_that_was_read,
    a_deleted_name_made_again_has_another_version,
    of_many_creations_of_one_name_exactly_one_succeeds,
    listing_pages_through_all_users_once_in_order,
    an_attempt_as_nobody_writes_and_changes_nothing,
    a_disabled_user_is_barred,
    so_many_failures_lock_out_until_their_time_is_over,
    of_many_attempts_at_once_no_more_are_counted_than_allowed,
    failures_long_ago_are_forgotten,
    the_right_password_forgets_the_failures,
    nobody_is_signed_in_who_was_changed_meanwhile,
    so_many_wrong_user_codes_lock_out_the_code_and_not_the_password,
    the_right_user_code_of_today_forgets_the_failures,
    of_many_user_codes_at_once_no_more_are_counted_than_allowed,
];

const LOCK_OUT: LockOut = LockOut {
    failures_max: 3,
    locked_for: Duration::from_secs(900),
};

fn name(text: &str) -> UserName {
    UserName::parse(text).unwrap()
}

/// A subject of its own for each number.
pub(crate) fn subject(number: u8) -> UserSubject {
    UserSubject::from_random(&[number; 16])
}

fn new(text: &str, number: u8) -> NewUser {
    NewUser {
        name: name(text),
        subject: subject(number),
        password_hash: PasswordHash::from_phc("$argon2id$one"),
        user_code_hash: None,
        claims: r#"{"name":"Ada"}"#.into(),
        is_disabled: false,
    }
}

/// Stores a user and returns the version.
pub(crate) async fn create(store: &Store, text: &str, number: u8) -> u64 {
    match store.users.create_user(new(text, number), entry(0)).await.unwrap() {
        CreateUser::Created { version } => version,
        CreateUser::AlreadyExists => panic!("{text} exists already"),
    }
}

/// Opens the fresh store of a case that needs users who can be given something: 1 and 2.
pub(crate) async fn peopled(open: &dyn Open) -> Store {
    let store = open.open();
    create(&store, "user-1", 1).await;
    create(&store, "user-2", 2).await;
    store
}

/// Disables a user of [`peopled`].
pub(crate) async fn disable(store: &Store, number: u8) {
    let change = UserChange {
        is_disabled: Some(true),
        ..unchanged(&format!("user-{number}"), None)
    };
    let changed = store.users.change_user(change, entry(20)).await.unwrap();
    assert!(matches!(changed, ChangeUser::Changed { .. }), "{changed:?}");
}

pub(crate) fn unchanged(text: &str, if_version: Option<u64>) -> UserChange {
    UserChange {
        name: name(text),
        if_version,
        password_hash: None,
        user_code_hash: None,
        claims: None,
        is_disabled: None,
        tokens_until: t(400),
    }
}

pub(crate) fn removal(text: &str, if_version: Option<u64>) -> UserRemoval {
    UserRemoval {
        name: name(text),
        if_version,
        tokens_until: t(400),
    }
}

async fn begin(store: &Store, text: &str, secs: i64) -> BeginSignIn {
    let begun = store.users.begin_sign_in(Some(name(text)), LOCK_OUT, entry(secs));
    begun.await.unwrap()
}

fn is_counted(begun: &BeginSignIn) -> bool {
    matches!(begun, BeginSignIn::Counted(_))
}

async fn a_second_user_of_the_same_name_or_subject_is_refused_and_changes_nothing(open: &dyn Open) {
    let store = open.open();
    create(&store, "ada", 1).await;
    let records = audit_records(&store).await;
    for again in [new("ada", 2), new("ADA", 2), new("grace", 1)] {
        let outcome = store.users.create_user(again, entry(1)).await.unwrap();
        assert_eq!(outcome, CreateUser::AlreadyExists);
    }
    assert_eq!(audit_records(&store).await, records);
    assert_eq!(store.users.find_user(&name("grace")).unwrap(), None);
    assert_eq!(store.users.find_user_by_subject(&subject(2)).unwrap(), None);
}

async fn a_created_user_is_found_by_name_and_subject_also_after_a_restart(open: &dyn Open) {
    let store = open.open();
    assert_eq!(store.users.find_user(&name("ada")).unwrap(), None);
    let version = create(&store, "ada", 1).await;
    let expected = StoredUser {
        name: name("ada"),
        subject: subject(1),
        password_hash: PasswordHash::from_phc("$argon2id$one"),
        user_code_hash: None,
        claims: r#"{"name":"Ada"}"#.into(),
        is_disabled: false,
        locked_until: None,
        version,
        created_at: t(0),
        updated_at: t(0),
    };
    drop(store);
    let store = open.open();
    let found = store.users.find_user(&name("Ada")).unwrap();
    assert_eq!(found, Some(expected.clone()));
    assert_eq!(store.users.find_user_by_subject(&subject(1)).unwrap(), Some(expected));
    assert!(!format!("{found:?}").contains("argon2id"));
}

async fn a_user_is_changed_only_at_the_version_that_was_read(open: &dyn Open) {
    let store = open.open();
    let change = |change| store.users.change_user(change, entry(1));
    assert_eq!(change(unchanged("ada", None)).await.unwrap(), ChangeUser::Unknown);
    let version = create(&store, "ada", 1).await;
    let records = audit_records(&store).await;
    let stale = change(unchanged("ada", Some(version + 1))).await.unwrap();
    assert_eq!(stale, ChangeUser::VersionConflict { current: version });
    assert_eq!(audit_records(&store).await, records);
    let asked = UserChange {
        password_hash: Some(PasswordHash::from_phc("$argon2id$two")),
        user_code_hash: Some(Some(PasswordHash::from_phc("$argon2id$code"))),
        claims: Some("{}".into()),
        is_disabled: Some(true),
        ..unchanged("ada", Some(version))
    };
    let ChangeUser::Changed { version: second } = change(asked).await.unwrap() else {
        panic!("not changed")
    };
    assert!(second > version);
    let found = store.users.find_user(&name("ada")).unwrap().unwrap();
    assert_eq!(found.password_hash.as_phc(), "$argon2id$two");
    assert_eq!(found.user_code_hash.unwrap().as_phc(), "$argon2id$code");
    assert_eq!((found.claims.as_str(), found.is_disabled), ("{}", true));
    assert_eq!((found.version, found.updated_at), (second, t(1)));
    // What is not named stays; a code can be taken away.
    let asked = UserChange {
        user_code_hash: Some(None),
        ..unchanged("ada", None)
    };
    change(asked).await.unwrap();
    let found = open.open().users.find_user(&name("ada")).unwrap().unwrap();
    assert_eq!((found.user_code_hash, found.is_disabled), (None, true));
    assert_eq!(found.password_hash.as_phc(), "$argon2id$two");
}

async fn a_user_is_deleted_only_at_the_version_that_was_read(open: &dyn Open) {
    let store = open.open();
    let delete = |removal| store.users.delete_user(removal, entry(1));
    assert_eq!(delete(removal("ada", None)).await.unwrap(), DeleteUser::Unknown);
    let version = create(&store, "ada", 1).await;
    let stale = delete(removal("ada", Some(version + 1))).await.unwrap();
    assert_eq!(stale, DeleteUser::VersionConflict { current: version });
    assert!(store.users.find_user(&name("ada")).unwrap().is_some());
    let deleted = delete(removal("ada", Some(version))).await.unwrap();
    assert_eq!(deleted, DeleteUser::Deleted);
    assert_eq!(open.open().users.find_user(&name("ada")).unwrap(), None);
    assert_eq!(delete(removal("ada", None)).await.unwrap(), DeleteUser::Unknown);
}

async fn a_deleted_name_made_again_has_another_version(open: &dyn Open) {
    let store = open.open();
    let first = create(&store, "ada", 1).await;
    store.users.delete_user(removal("ada", None), entry(1)).await.unwrap();
    let second = create(&store, "ada", 2).await;
    assert!(second > first);
    store.upkeep.raise_epoch(t(400), entry(2)).await.unwrap();
    assert!(create(&store, "grace", 3).await > second + 1_000_000_000);
}

async fn of_many_creations_of_one_name_exactly_one_succeeds(open: &dyn Open) {
    let store = open.open();
    let answers: Vec<_> = (0..20)
        .map(|number| store.users.create_user(new("ada", number), entry(0)))
        .collect();
    let mut created = 0;
    for answer in answers {
        created += u32::from(matches!(answer.await.unwrap(), CreateUser::Created { .. }));
    }
    assert_eq!(created, 1);
}

async fn listing_pages_through_all_users_once_in_order(open: &dyn Open) {
    let store = open.open();
    for (number, text) in (1..).zip(["grace", "ada", "edsger"]) {
        create(&store, text, number).await;
    }
    let page = store.users.list_users(None, 2).await.unwrap();
    let names: Vec<&str> = page.users.iter().map(|user| user.name.as_str()).collect();
    assert_eq!(
        (names, page.next.clone()),
        (vec!["ada", "edsger"], Some(name("edsger")))
    );
    let page = store.users.list_users(page.next, PAGE_MAX).await.unwrap();
    let names: Vec<&str> = page.users.iter().map(|user| user.name.as_str()).collect();
    assert_eq!((names, page.next), (vec!["grace"], None));
}

async fn an_attempt_as_nobody_writes_and_changes_nothing(open: &dyn Open) {
    let store = open.open();
    let (records, commits) = (audit_records(&store).await, store.upkeep.write_counts().commits);
    assert_eq!(begin(&store, "nobody", 0).await, BeginSignIn::Unknown);
    let no_name = store.users.begin_sign_in(None, LOCK_OUT, entry(1));
    assert_eq!(no_name.await.unwrap(), BeginSignIn::Unknown);
    assert_eq!(store.upkeep.write_counts().commits, commits + 2);
    assert_eq!(audit_records(&store).await, records);
}

async fn a_disabled_user_is_barred(open: &dyn Open) {
    let store = open.open();
    let disabled = NewUser {
        is_disabled: true,
        ..new("ada", 1)
    };
    store.users.create_user(disabled, entry(0)).await.unwrap();
    assert!(matches!(begin(&store, "ada", 0).await, BeginSignIn::Barred(_)));
}

async fn so_many_failures_lock_out_until_their_time_is_over(open: &dyn Open) {
    let store = open.open();
    create(&store, "ada", 1).await;
    create(&store, "grace", 2).await;
    let records = audit_records(&store).await;
    for secs in 0..3 {
        assert!(is_counted(&begin(&store, "ada", secs).await), "{secs}");
    }
    assert_eq!(audit_records(&store).await, records + 1, "the lock-out, and no attempt");
    for store in [store, open.open()] {
        for secs in [3, 901] {
            assert!(
                matches!(begin(&store, "ada", secs).await, BeginSignIn::Barred(_)),
                "{secs}"
            );
        }
        assert!(is_counted(&begin(&store, "grace", 3).await));
    }
    // A new password opens at once; else time does, and the count begins anew.
    let store = open.open();
    for secs in 902..905 {
        assert!(is_counted(&begin(&store, "ada", secs).await), "{secs}");
    }
    assert!(!is_counted(&begin(&store, "ada", 905).await));
    let asked = UserChange {
        password_hash: Some(PasswordHash::from_phc("$argon2id$two")),
        ..unchanged("ada", None)
    };
    store.users.change_user(asked, entry(906)).await.unwrap();
    assert!(is_counted(&begin(&store, "ada", 906).await));
}

async fn of_many_attempts_at_once_no_more_are_counted_than_allowed(open: &dyn Open) {
    let store = open.open();
    create(&store, "ada", 1).await;
    let attempts: Vec<_> = (0..50)
        .map(|_| store.users.begin_sign_in(Some(name("ada")), LOCK_OUT, entry(0)))
        .collect();
    let mut counted = 0;
    for attempt in attempts {
        counted += u32::from(is_counted(&attempt.await.unwrap()));
    }
    assert_eq!(counted, LOCK_OUT.failures_max);
}

async fn failures_long_ago_are_forgotten(open: &dyn Open) {
    let store = open.open();
    create(&store, "ada", 1).await;
    for secs in [0, 1, 902, 903, 1_900] {
        assert!(is_counted(&begin(&store, "ada", secs).await), "{secs}");
    }
    assert_eq!(store.users.find_user(&name("ada")).unwrap().unwrap().locked_until, None);
}

async fn the_right_password_forgets_the_failures(open: &dyn Open) {
    let store = open.open();
    let version = create(&store, "ada", 1).await;
    for secs in 0..3 {
        begin(&store, "ada", secs).await;
    }
    let rehashed = PasswordHash::from_phc("$argon2id$anew");
    let completed = store
        .users
        .complete_sign_in(name("ada"), version, Some(rehashed.clone()), entry(3));
    assert!(completed.await.unwrap());
    let found = store.users.find_user(&name("ada")).unwrap().unwrap();
    assert_eq!((found.locked_until, found.version), (None, version));
    assert_eq!(found.password_hash, rehashed);
    for secs in 4..7 {
        assert!(is_counted(&begin(&store, "ada", secs).await), "{secs}");
    }
    let completed = store.users.complete_sign_in(name("ada"), version, None, entry(7));
    assert!(completed.await.unwrap());
    let found = store.users.find_user(&name("ada")).unwrap().unwrap();
    assert_eq!(found.password_hash, rehashed);
}

async fn nobody_is_signed_in_who_was_changed_meanwhile(open: &dyn Open) {
    let store = open.open();
    let version = create(&store, "ada", 1).await;
    begin(&store, "ada", 0).await;
    let asked = UserChange {
        is_disabled: Some(true),
        ..unchanged("ada", None)
    };
    store.users.change_user(asked, entry(1)).await.unwrap();
    let records = audit_records(&store).await;
    for version in [version, version + 1] {
        let completed = store.users.complete_sign_in(name("ada"), version, None, entry(2));
        assert!(!completed.await.unwrap());
    }
    let completed = store.users.complete_sign_in(name("nobody"), version, None, entry(2));
    assert!(!completed.await.unwrap());
    assert_eq!(audit_records(&store).await, records);
}

async fn begin_code(store: &Store, number: u8, secs: i64) -> BeginUserCode {
    let begun = store.users.begin_user_code(subject(number), LOCK_OUT, entry(secs));
    begun.await.unwrap()
}

fn is_code_counted(begun: &BeginUserCode) -> bool {
    matches!(begun, BeginUserCode::Counted(_))
}

async fn so_many_wrong_user_codes_lock_out_the_code_and_not_the_password(open: &dyn Open) {
    let store = peopled(open).await;
    assert_eq!(begin_code(&store, 9, 0).await, BeginUserCode::Unknown);
    let records = audit_records(&store).await;
    for secs in 0..3 {
        assert!(is_code_counted(&begin_code(&store, 1, secs).await), "{secs}");
    }
    assert_eq!(audit_records(&store).await, records + 1, "the lock-out, and no attempt");
    for store in [store, open.open()] {
        for secs in [3, 901] {
            let begun = begin_code(&store, 1, secs).await;
            let BeginUserCode::LockedOut { user, until } = begun else {
                panic!("{begun:?}")
            };
            assert_eq!((user.subject, until), (subject(1), t(902)));
        }
        assert!(is_code_counted(&begin_code(&store, 2, 3).await));
        assert!(
            is_counted(&begin(&store, "user-1", 3).await),
            "the password is another secret"
        );
    }
    // And the other way round.
    let store = open.open();
    for secs in 4..7 {
        begin(&store, "user-2", secs).await;
    }
    assert!(!is_counted(&begin(&store, "user-2", 7).await));
    assert!(is_code_counted(&begin_code(&store, 2, 904).await));
    // Another code opens at once; else time does.
    let other_code = UserChange {
        user_code_hash: Some(Some(PasswordHash::from_phc("$argon2id$two"))),
        ..unchanged("user-1", None)
    };
    let other_password = UserChange {
        password_hash: Some(PasswordHash::from_phc("$argon2id$two")),
        ..unchanged("user-1", None)
    };
    store.users.change_user(other_password, entry(8)).await.unwrap();
    assert!(!is_code_counted(&begin_code(&store, 1, 8).await));
    store.users.change_user(other_code, entry(9)).await.unwrap();
    for secs in 9..12 {
        assert!(is_code_counted(&begin_code(&store, 1, secs).await), "{secs}");
    }
    assert!(!is_code_counted(&begin_code(&store, 1, 12).await));
    assert!(is_code_counted(&begin_code(&store, 1, 911).await));
    disable(&store, 1).await;
    assert_eq!(begin_code(&store, 1, 912).await, BeginUserCode::Unknown);
}

async fn the_right_user_code_of_today_forgets_the_failures(open: &dyn Open) {
    let store = peopled(open).await;
    let version = |store: &Store| store.users.find_user(&name("user-1")).unwrap().unwrap().version;
    let read = version(&store);
    for secs in 0..3 {
        begin_code(&store, 1, secs).await;
    }
    let complete = async |version| {
        let completed = store.users.complete_user_code(name("user-1"), version, entry(3));
        completed.await.unwrap()
    };
    let records = audit_records(&store).await;
    assert!(!complete(read + 1_000).await, "changed since");
    assert!(!is_code_counted(&begin_code(&store, 1, 3).await));
    assert_eq!(audit_records(&store).await, records);
    assert!(complete(read).await);
    assert_eq!(audit_records(&store).await, records + 1);
    for secs in 4..7 {
        assert!(is_code_counted(&begin_code(&store, 1, secs).await), "{secs}");
    }
    disable(&store, 1).await;
    assert!(!complete(version(&store)).await, "disabled since");
}

async fn of_many_user_codes_at_once_no_more_are_counted_than_allowed(open: &dyn Open) {
    let store = peopled(open).await;
    let attempts: Vec<_> = (0..50)
        .map(|_| store.users.begin_user_code(subject(1), LOCK_OUT, entry(0)))
        .collect();
    let mut counted = 0;
    for attempt in attempts {
        counted += u32::from(is_code_counted(&attempt.await.unwrap()));
    }
    assert_eq!(counted, LOCK_OUT.failures_max);
}
