//! What [`IssuedTokens`](crate::IssuedTokens) promise.

use super::{Case, Open, audit_records, cases, client, entry, t, thumbprint};
use crate::{AuditEntry, AuditQuery, IssuedToken, Lane, Store};

/// All cases.
pub const CASES: &[Case] = cases![
    a_batch_is_one_row_and_one_audit_record,
    a_run_that_did_not_end_is_noticed,
    batches_are_removed_after_thirty_days_and_the_chain_stays_intact,
];

/// Token `number`, issued `secs` seconds after the beginning.
pub(crate) fn token(number: u64, secs: i64) -> IssuedToken {
    IssuedToken {
        token_id: format!("jti \"{number}\""),
        client_id: client("demo"),
        thumbprint: number.is_multiple_of(2).then(|| thumbprint(1)),
        key_id: "key-1".into(),
        issued_at: t(secs),
        expires_at: t(secs + 300),
    }
}

fn tokens(numbers: std::ops::Range<u64>) -> Vec<IssuedToken> {
    numbers.map(|number| token(number, 0)).collect()
}

/// The tokens of all batches, and how many were not recorded.
pub(crate) async fn on_file(store: &Store) -> (Vec<IssuedToken>, u64) {
    let (mut tokens, mut not_recorded, mut after) = (Vec::new(), 0, 0);
    loop {
        let batches = store.issued_tokens.issued_token_batches(after, 3).await.unwrap();
        let Some(last) = batches.last() else {
            return (tokens, not_recorded);
        };
        after = last.sequence;
        not_recorded += batches.iter().map(|batch| batch.not_recorded).sum::<u64>();
        tokens.extend(batches.into_iter().flat_map(|batch| batch.tokens));
    }
}

async fn a_batch_is_one_row_and_one_audit_record(open: &dyn Open) {
    let store = open.open();
    let records = audit_records(&store).await;
    store
        .issued_tokens
        .append_issued_tokens(&tokens(0..4_096), 0, entry(1))
        .await
        .unwrap();
    store
        .issued_tokens
        .append_issued_tokens(&tokens(4_096..4_099), 17, entry(2))
        .await
        .unwrap();
    assert_eq!(audit_records(&store).await, records + 2);
    drop(store);
    let store = open.open();
    let batches = store.issued_tokens.issued_token_batches(0, 10).await.unwrap();
    assert_eq!(
        batches.iter().map(|batch| batch.tokens.len()).collect::<Vec<_>>(),
        [4_096, 3]
    );
    assert_eq!(on_file(&store).await, (tokens(0..4_099), 17));
    let query = AuditQuery {
        action: Some("issued_tokens.".into()),
        limit: 1,
        ..AuditQuery::default()
    };
    let newest = store.audit.records(query).await.unwrap().records.remove(0);
    assert_eq!(
        (newest.lane, newest.sequence),
        (Lane::IssuedTokens, batches[1].sequence)
    );
    assert!(store.audit.verify_chain().await.unwrap().is_intact());
}

async fn a_run_that_did_not_end_is_noticed(open: &dyn Open) {
    let run = |secs| AuditEntry {
        at: t(secs),
        ..entry(0)
    };
    let store = open.open();
    assert!(
        !store.issued_tokens.open_issued_tokens(run(0)).await.unwrap(),
        "there was no run before the first"
    );
    store
        .issued_tokens
        .append_issued_tokens(&tokens(0..3), 0, run(1))
        .await
        .unwrap();
    store.issued_tokens.close_issued_tokens(run(2)).await.unwrap();
    drop(store);
    let store = open.open();
    assert!(!store.issued_tokens.open_issued_tokens(run(3)).await.unwrap());
    drop(store);
    // Ended without a close, with no batch and with one.
    let store = open.open();
    assert!(store.issued_tokens.open_issued_tokens(run(4)).await.unwrap());
    store
        .issued_tokens
        .append_issued_tokens(&tokens(3..6), 0, run(5))
        .await
        .unwrap();
    drop(store);
    let store = open.open();
    assert!(store.issued_tokens.open_issued_tokens(run(6)).await.unwrap());
    let query = AuditQuery {
        action: Some("issued_tokens.opened".into()),
        limit: 10,
        ..AuditQuery::default()
    };
    let opened = store.audit.records(query).await.unwrap().records;
    let interrupted: Vec<_> = opened
        .iter()
        .map(|record| record.details.as_ref().unwrap()["interrupted"] == true)
        .collect();
    assert_eq!(interrupted, [true, true, false, false], "the gap does not show");
    assert!(store.audit.verify_chain().await.unwrap().is_intact());
}

async fn batches_are_removed_after_thirty_days_and_the_chain_stays_intact(open: &dyn Open) {
    let store = open.open();
    let day = 24 * 3600;
    for (number, days) in [(0, 0), (1, 1), (2, 29), (3, 30)] {
        store
            .issued_tokens
            .append_issued_tokens(&[token(number, 0)], 0, entry(days * day))
            .await
            .unwrap();
    }
    store.upkeep.remove_expired(t(30 * day)).await.unwrap();
    assert_eq!(on_file(&store).await.0.len(), 4);
    let removed = store.upkeep.remove_expired(t(31 * day + 1)).await.unwrap();
    assert_eq!((removed.rows, removed.more), (2, false));
    assert_eq!(on_file(&store).await.0, [token(2, 0), token(3, 0)]);
    let report = store.audit.verify_chain().await.unwrap();
    assert!(report.is_intact(), "{report:?}");
}
