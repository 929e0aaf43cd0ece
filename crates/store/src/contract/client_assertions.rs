//! What [`ClientAssertions`](crate::ClientAssertions) promise.

use super::{Case, Open, audit_records, cases, client, entry, t};
use crate::{ConsumeClientAssertion, OneTimeAssertion, Store};

/// All cases.
pub const CASES: &[Case] = cases![
    an_assertion_is_consumed_once_also_across_a_restart,
    a_jti_belongs_to_its_client,
    of_twenty_concurrent_uses_exactly_one_succeeds_a_thousand_times,
    after_a_restored_backup_only_assertions_made_since_are_consumed,
];

fn assertion(client_id: &str, token_id: &str) -> OneTimeAssertion {
    OneTimeAssertion {
        client_id: client(client_id),
        token_id: token_id.into(),
        issued_at: Some(t(0)),
        until: t(330),
    }
}

async fn consume(store: &Store, assertion: OneTimeAssertion) -> ConsumeClientAssertion {
    store
        .client_assertions
        .consume_client_assertion(assertion, entry(0))
        .await
        .unwrap()
}

async fn an_assertion_is_consumed_once_also_across_a_restart(open: &dyn Open) {
    let store = open.open();
    let records = audit_records(&store).await;
    assert_eq!(
        consume(&store, assertion("demo", "one")).await,
        ConsumeClientAssertion::Consumed
    );
    assert_eq!(audit_records(&store).await, records + 1);
    for store in [store, open.open()] {
        assert_eq!(
            consume(&store, assertion("demo", "one")).await,
            ConsumeClientAssertion::AlreadyUsed
        );
        // Whatever else the second one says.
        let later = OneTimeAssertion {
            issued_at: None,
            until: t(9_999),
            ..assertion("demo", "one")
        };
        assert_eq!(consume(&store, later).await, ConsumeClientAssertion::AlreadyUsed);
        assert_eq!(audit_records(&store).await, records + 1);
    }
}

async fn a_jti_belongs_to_its_client(open: &dyn Open) {
    let store = open.open();
    assert_eq!(
        consume(&store, assertion("demo", "one")).await,
        ConsumeClientAssertion::Consumed
    );
    assert_eq!(
        consume(&store, assertion("other", "one")).await,
        ConsumeClientAssertion::Consumed
    );
    assert_eq!(
        consume(&store, assertion("demo", "ONE")).await,
        ConsumeClientAssertion::Consumed
    );
    assert_eq!(
        consume(&store, assertion("dem", "oone")).await,
        ConsumeClientAssertion::Consumed
    );
}

async fn of_twenty_concurrent_uses_exactly_one_succeeds_a_thousand_times(open: &dyn Open) {
    let store = open.open();
    for round in 0..1_000 {
        let mut uses = tokio::task::JoinSet::new();
        for number in 0..20 {
            // Half of them are under way before any is awaited, half from tasks of their own.
            let assertions = store.client_assertions.clone();
            let presented = assertion("demo", &format!("jti-{round}"));
            if number % 2 == 0 {
                uses.spawn(assertions.consume_client_assertion(presented, entry(0)));
            } else {
                uses.spawn(async move { assertions.consume_client_assertion(presented, entry(0)).await });
            }
        }
        let outcomes = uses.join_all().await;
        let consumed = outcomes
            .iter()
            .filter(|outcome| matches!(outcome, Ok(ConsumeClientAssertion::Consumed)))
            .count();
        let refused = outcomes
            .iter()
            .filter(|outcome| matches!(outcome, Ok(ConsumeClientAssertion::AlreadyUsed)))
            .count();
        assert_eq!((consumed, refused), (1, 19), "round {round}: {outcomes:?}");
    }
}

async fn after_a_restored_backup_only_assertions_made_since_are_consumed(open: &dyn Open) {
    let store = open.open();
    store.upkeep.raise_epoch(t(400), entry(100)).await.unwrap();
    let at = |issued_at, until| OneTimeAssertion {
        issued_at,
        until,
        ..assertion("demo", &format!("{issued_at:?}-{until}"))
    };
    for (presented, expected) in [
        // Made before the restore: possibly used in the time that is lost. A minute for clocks that are ahead.
        (at(Some(t(99)), t(330)), ConsumeClientAssertion::AlreadyUsed),
        (at(Some(t(160)), t(330)), ConsumeClientAssertion::AlreadyUsed),
        (at(Some(t(161)), t(330)), ConsumeClientAssertion::Consumed),
        // One that does not say when it was made: made since, if none lives as long.
        (at(None, t(700)), ConsumeClientAssertion::AlreadyUsed),
        (at(None, t(701)), ConsumeClientAssertion::Consumed),
    ] {
        assert_eq!(consume(&store, presented.clone()).await, expected, "{presented:?}");
    }
}
