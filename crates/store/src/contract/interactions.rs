//! What [`Interactions`](crate::Interactions) promise.

use super::grants::{code, code_hash, grant, grant_id, interaction, signed_in};
use super::pushed_requests::pushed;
use super::user_sessions::{session, starting};
use super::users::{disable, peopled, removal};
use super::{Case, Open, audit_records, cases, client, entry, t};
use crate::{
    BeginInteraction, CompleteInteraction, InteractionHash, InteractionOutcome, NewInteraction, PushRequest,
    SignInToInteraction, Store, StoredInteraction, UserSessionStart,
};

/// All cases.
pub const CASES: &[Case] = cases![
    an_interaction_is_found_as_it_began_also_after_a_restart,
    a_user_signs_in_to_an_open_interaction_only,
    only_the_user_who_signed_in_consents_and_only_for_the_client_that_asked,
    whoever_is_disabled_or_deleted_meanwhile_neither_signs_in_nor_consents,
    signing_in_ends_the_session_that_the_browser_had,
    a_user_whose_sessions_end_has_to_sign_in_to_open_interactions_again,
    an_interaction_is_completed_once_and_in_time,
    of_two_interactions_of_a_pushed_request_one_completes,
    a_pushed_request_begins_twenty_interactions_and_no_more,
    of_twenty_concurrent_completions_exactly_one_succeeds,
    after_a_restored_backup_there_is_none,
];

fn hash(number: u8) -> InteractionHash {
    interaction(number).hash
}

fn granted(number: u8) -> InteractionOutcome {
    InteractionOutcome::Granted {
        grant: Box::new(grant(number)),
        code: Box::new(code(number)),
    }
}

async fn begin(store: &Store, interaction: NewInteraction) {
    let outcome = store.interactions.begin_interaction(interaction).await.unwrap();
    assert_eq!(outcome, BeginInteraction::Begun);
}

async fn push(store: &Store, number: u8) {
    let outcome = store.pushed_requests.push_request(pushed(number)).await.unwrap();
    assert_eq!(outcome, PushRequest::Pushed);
}

async fn complete_at(store: &Store, number: u8, outcome: InteractionOutcome, secs: i64) -> CompleteInteraction {
    let answer = store
        .interactions
        .complete_interaction(hash(number), outcome, entry(secs));
    answer.await.unwrap()
}

async fn sign_in_at(store: &Store, number: u8, secs: i64) -> SignInToInteraction {
    let answer =
        store
            .interactions
            .sign_in_to_interaction(hash(number), signed_in(2), Some(starting(number)), entry(secs));
    answer.await.unwrap()
}

async fn an_interaction_is_found_as_it_began_also_after_a_restart(open: &dyn Open) {
    let store = peopled(open).await;
    let records = audit_records(&store).await;
    begin(&store, interaction(1)).await;
    push(&store, 1).await;
    let second = NewInteraction {
        pushed: Some(pushed(1).hash),
        signed_in: None,
        ..interaction(2)
    };
    begin(&store, second.clone()).await;
    let again = store.interactions.begin_interaction(second.clone()).await.unwrap();
    assert_eq!(again, BeginInteraction::AlreadyBegun);
    assert_eq!(audit_records(&store).await, records);
    for store in [&store, &open.open()] {
        for begun in [interaction(1), second.clone()] {
            let expected = StoredInteraction {
                interaction: begun.clone(),
                is_completed: false,
            };
            assert_eq!(
                store.interactions.find_interaction(&begun.hash).unwrap(),
                Some(expected)
            );
        }
        assert_eq!(store.interactions.find_interaction(&hash(3)).unwrap(), None);
    }
}

async fn a_user_signs_in_to_an_open_interaction_only(open: &dyn Open) {
    let store = peopled(open).await;
    begin(
        &store,
        NewInteraction {
            signed_in: None,
            ..interaction(1)
        },
    )
    .await;
    let records = audit_records(&store).await;
    assert_eq!(sign_in_at(&store, 2, 10).await, SignInToInteraction::Unknown);
    assert_eq!(sign_in_at(&store, 1, 600).await, SignInToInteraction::Expired);
    assert_eq!(audit_records(&store).await, records);
    let find_session = |store: &Store| store.user_sessions.find_user_session(&session(1).hash).unwrap();
    assert_eq!(find_session(&store), None);
    assert_eq!(sign_in_at(&store, 1, 599).await, SignInToInteraction::SignedIn);
    assert_eq!(audit_records(&store).await, records + 1);
    for store in [&store, &open.open()] {
        let found = store.interactions.find_interaction(&hash(1)).unwrap().unwrap();
        assert_eq!(found.interaction.signed_in, Some(signed_in(2)));
        assert_eq!(find_session(store), Some(session(1)));
    }
    assert_eq!(
        complete_at(&store, 1, InteractionOutcome::Denied, 599).await,
        CompleteInteraction::Completed
    );
    assert_eq!(sign_in_at(&store, 1, 599).await, SignInToInteraction::AlreadyCompleted);
}

async fn only_the_user_who_signed_in_consents_and_only_for_the_client_that_asked(open: &dyn Open) {
    let store = peopled(open).await;
    for begun in [
        NewInteraction {
            signed_in: None,
            ..interaction(1)
        },
        NewInteraction {
            signed_in: Some(signed_in(2)),
            ..interaction(2)
        },
        NewInteraction {
            client_id: client("other"),
            ..interaction(3)
        },
    ] {
        begin(&store, begun).await;
    }
    let records = audit_records(&store).await;
    for number in 1..=3 {
        assert_eq!(
            complete_at(&store, number, granted(number), 10).await,
            CompleteInteraction::NotSignedIn
        );
        assert_eq!(store.grants.find_grant(&grant_id(number)).unwrap(), None);
    }
    assert_eq!(audit_records(&store).await, records);
    // Anybody may leave.
    assert_eq!(
        complete_at(&store, 1, InteractionOutcome::Denied, 10).await,
        CompleteInteraction::Completed
    );
}

async fn whoever_is_disabled_or_deleted_meanwhile_neither_signs_in_nor_consents(open: &dyn Open) {
    let store = peopled(open).await;
    for number in 1..=3 {
        begin(&store, interaction(number)).await;
    }
    disable(&store, 2).await;
    store
        .users
        .delete_user(removal("user-1", None), entry(5))
        .await
        .unwrap();
    // Whoever began while its session still counted, as the page had read it.
    begin(&store, interaction(4)).await;
    let records = audit_records(&store).await;
    assert_eq!(sign_in_at(&store, 3, 10).await, SignInToInteraction::UserBarred);
    assert_eq!(store.user_sessions.find_user_session(&session(3).hash).unwrap(), None);
    for number in [1, 4] {
        assert_eq!(
            complete_at(&store, number, granted(number), 10).await,
            CompleteInteraction::UserBarred
        );
        assert_eq!(store.grants.find_grant(&grant_id(number)).unwrap(), None);
    }
    assert_eq!(audit_records(&store).await, records);
    // It is open still: whoever else signs in goes on with it, and anybody may leave.
    assert_eq!(
        complete_at(&store, 4, InteractionOutcome::Denied, 10).await,
        CompleteInteraction::Completed
    );
}

async fn signing_in_ends_the_session_that_the_browser_had(open: &dyn Open) {
    let store = peopled(open).await;
    let start = |number: u8, other: u8| UserSessionStart {
        instead_of: Some(session(other).hash),
        ..starting(number)
    };
    let is_there = |number: u8| {
        let found = store.user_sessions.find_user_session(&session(number).hash);
        found.unwrap().is_some()
    };
    let outcome = store.user_sessions.start_user_session(starting(1), entry(0));
    outcome.await.unwrap();
    begin(&store, interaction(1)).await;
    let sign_in = |secs| {
        store
            .interactions
            .sign_in_to_interaction(hash(1), signed_in(2), Some(start(2, 1)), entry(secs))
    };
    // What comes too late changes nothing.
    assert_eq!(sign_in(600).await.unwrap(), SignInToInteraction::Expired);
    assert_eq!((is_there(1), is_there(2)), (true, false));
    assert_eq!(sign_in(10).await.unwrap(), SignInToInteraction::SignedIn);
    assert_eq!((is_there(1), is_there(2)), (false, true));
}

async fn a_user_whose_sessions_end_has_to_sign_in_to_open_interactions_again(open: &dyn Open) {
    let store = peopled(open).await;
    begin(&store, interaction(1)).await;
    let ended = store.user_sessions.end_user_sessions_of(signed_in(2).subject, entry(1));
    ended.await.unwrap();
    let who = || {
        let found = store.interactions.find_interaction(&hash(1)).unwrap().unwrap();
        found.interaction.signed_in
    };
    assert_eq!(who(), Some(signed_in(1)));
    let ended = store.user_sessions.end_user_sessions_of(signed_in(1).subject, entry(1));
    ended.await.unwrap();
    assert_eq!(who(), None);
    assert_eq!(
        complete_at(&store, 1, granted(1), 10).await,
        CompleteInteraction::NotSignedIn
    );
}

async fn an_interaction_is_completed_once_and_in_time(open: &dyn Open) {
    let store = peopled(open).await;
    begin(&store, interaction(1)).await;
    assert_eq!(
        complete_at(&store, 2, granted(2), 10).await,
        CompleteInteraction::Unknown
    );
    assert_eq!(
        complete_at(&store, 1, granted(1), 600).await,
        CompleteInteraction::Expired
    );
    let find_code = |store: &Store| {
        store
            .authorization_codes
            .find_authorization_code(&code_hash(1))
            .unwrap()
    };
    assert_eq!(find_code(&store), None);
    assert_eq!(
        complete_at(&store, 1, granted(1), 599).await,
        CompleteInteraction::Completed
    );
    for store in [&store, &open.open()] {
        assert!(find_code(store).is_some());
        assert_eq!(
            complete_at(store, 1, granted(2), 10).await,
            CompleteInteraction::AlreadyCompleted
        );
        assert_eq!(
            complete_at(store, 1, InteractionOutcome::Denied, 10).await,
            CompleteInteraction::AlreadyCompleted
        );
        assert_eq!(store.grants.find_grant(&grant_id(2)).unwrap(), None);
    }
}

async fn of_two_interactions_of_a_pushed_request_one_completes(open: &dyn Open) {
    let store = peopled(open).await;
    for (outcome, number) in [(granted(2), 1), (InteractionOutcome::Denied, 3)] {
        store.pushed_requests.push_request(pushed(number)).await.unwrap();
        for number_of_interaction in [number, number + 1] {
            let begun = NewInteraction {
                pushed: Some(pushed(number).hash),
                ..interaction(number_of_interaction)
            };
            begin(&store, begun).await;
        }
        let is_spent = || {
            let found = store.pushed_requests.find_pushed_request(&pushed(number).hash);
            found.unwrap().unwrap().is_spent
        };
        // Opening two of them spent nothing.
        assert!(!is_spent());
        // Long after the minute in which a page opens for it.
        assert_eq!(
            complete_at(&store, number + 1, outcome, 500).await,
            CompleteInteraction::Completed
        );
        assert!(is_spent());
        assert_eq!(
            complete_at(&store, number, granted(number), 501).await,
            CompleteInteraction::RequestUriSpent
        );
        assert_eq!(store.grants.find_grant(&grant_id(number)).unwrap(), None);
    }
}

async fn a_pushed_request_begins_twenty_interactions_and_no_more(open: &dyn Open) {
    let store = peopled(open).await;
    let of = |number: u8, request: u8| NewInteraction {
        pushed: Some(pushed(request).hash),
        ..interaction(number)
    };
    let begun = |interaction| store.interactions.begin_interaction(interaction);
    let outcome = begun(of(100, 1)).await.unwrap();
    assert_eq!(outcome, BeginInteraction::RequestUriUsedUp, "nobody pushed it");
    push(&store, 1).await;
    push(&store, 2).await;
    for number in 0..20 {
        begin(&store, of(number, 1)).await;
    }
    assert_eq!(begun(of(101, 1)).await.unwrap(), BeginInteraction::RequestUriUsedUp);
    assert_eq!(store.interactions.find_interaction(&hash(101)).unwrap(), None);
    // Another one goes on, and so do those that have begun.
    begin(&store, of(102, 2)).await;
    assert_eq!(
        complete_at(&store, 3, granted(3), 10).await,
        CompleteInteraction::Completed
    );
}

async fn of_twenty_concurrent_completions_exactly_one_succeeds(open: &dyn Open) {
    let store = peopled(open).await;
    for number in 1..=50 {
        store.pushed_requests.push_request(pushed(number)).await.unwrap();
        let second = number + 100;
        for number_of_interaction in [number, second] {
            let begun = NewInteraction {
                pushed: Some(pushed(number).hash),
                ..interaction(number_of_interaction)
            };
            begin(&store, begun).await;
        }
        let mut completions = tokio::task::JoinSet::new();
        for attempt in 0..20 {
            let interactions = store.interactions.clone();
            let (hash, outcome) = match attempt % 3 {
                0 => (hash(number), granted(number)),
                1 => (hash(second), granted(number)),
                _ => (hash(second), InteractionOutcome::Denied),
            };
            completions.spawn(async move { interactions.complete_interaction(hash, outcome, entry(1)).await });
        }
        let outcomes: Vec<_> = completions.join_all().await.into_iter().map(Result::unwrap).collect();
        let completed = outcomes
            .iter()
            .filter(|outcome| **outcome == CompleteInteraction::Completed)
            .count();
        assert_eq!(completed, 1, "round {number}: {outcomes:?}");
    }
}

async fn after_a_restored_backup_there_is_none(open: &dyn Open) {
    let store = peopled(open).await;
    begin(&store, interaction(1)).await;
    store.upkeep.raise_epoch(t(400), entry(5)).await.unwrap();
    assert_eq!(store.interactions.find_interaction(&hash(1)).unwrap(), None);
    assert_eq!(
        complete_at(&store, 1, granted(1), 6).await,
        CompleteInteraction::Unknown
    );
    assert_eq!(sign_in_at(&store, 1, 6).await, SignInToInteraction::Unknown);
}
