//! What [`RefusalRecorder`] and [`IssuedTokenRecorder`] promise on top of their nouns.

use std::time::Duration;

use super::refusals::{id, refusal};
use super::{Case, Open, cases, issued_tokens, t};
use crate::{
    IssuedTokenRecorder, REFUSALS_PER_SECOND_MAX, RecorderLimits, RefusalCounts, RefusalQuery, RefusalRecorder,
};

/// All cases.
pub const CASES: &[Case] = cases![
    a_refusal_is_found_right_after_it_was_recorded,
    refusals_are_written_when_a_second_has_passed,
    what_is_left_is_written_when_the_recorder_ends,
    of_a_flood_only_a_thousand_per_second_are_stored,
    of_a_full_buffer_the_rest_is_counted,
    issued_tokens_are_on_file_after_a_close,
    issued_tokens_are_written_in_batches,
];

/// Writes nothing by itself within the time of a test.
fn patient() -> RecorderLimits {
    RecorderLimits {
        delay: Duration::from_secs(3_600),
        ..RecorderLimits::default()
    }
}

async fn a_refusal_is_found_right_after_it_was_recorded(open: &dyn Open) {
    let store = open.open();
    let recorder = RefusalRecorder::start(store.refusals.clone(), patient()).unwrap();
    for number in 0..50 {
        assert!(recorder.record(refusal(number, 0)));
        assert_eq!(recorder.find(&id(number)).await.unwrap(), Some(refusal(number, 0)));
    }
    assert_eq!(recorder.find(&id(50)).await.unwrap(), None);
    recorder.record(refusal(50, 0));
    let newest = recorder
        .list(RefusalQuery {
            limit: 1,
            ..RefusalQuery::default()
        })
        .await
        .unwrap();
    assert_eq!(newest.refusals, [refusal(50, 0)]);
}

async fn refusals_are_written_when_a_second_has_passed(open: &dyn Open) {
    let store = open.open();
    let limits = RecorderLimits {
        delay: Duration::from_millis(20),
        ..RecorderLimits::default()
    };
    let recorder = RefusalRecorder::start(store.refusals.clone(), limits).unwrap();
    recorder.record(refusal(1, 0));
    while store.refusals.find_refusal(&id(1)).unwrap().is_none() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn what_is_left_is_written_when_the_recorder_ends(open: &dyn Open) {
    let store = open.open();
    let recorder = RefusalRecorder::start(store.refusals.clone(), patient()).unwrap();
    for number in 0..100 {
        recorder.record(refusal(number, 0));
    }
    drop(recorder);
    assert_eq!(
        store.refusals.count_refusals().await.unwrap(),
        RefusalCounts {
            stored: 100,
            not_stored: 0
        }
    );
}

async fn of_a_flood_only_a_thousand_per_second_are_stored(open: &dyn Open) {
    let store = open.open();
    let recorder = RefusalRecorder::start(store.refusals.clone(), patient()).unwrap();
    let flood = REFUSALS_PER_SECOND_MAX * 3;
    let record = |range: std::ops::Range<u64>, secs: fn(u64) -> i64| -> u64 {
        range
            .map(|number| u64::from(recorder.record(refusal(number, secs(number)))))
            .sum()
    };
    assert_eq!(record(0..flood, |_| 10), REFUSALS_PER_SECOND_MAX);
    // Two threads at the edge of a second, each with its own reading of the clock.
    assert_eq!(
        record(flood..2 * flood, |number| 10 + (number % 2) as i64),
        REFUSALS_PER_SECOND_MAX
    );
    // A clock that was set back is followed.
    assert_eq!(record(2 * flood..3 * flood, |_| -3_600), REFUSALS_PER_SECOND_MAX);
    recorder.flush().await.unwrap();
    let expected = RefusalCounts {
        stored: 3 * REFUSALS_PER_SECOND_MAX,
        not_stored: 6 * REFUSALS_PER_SECOND_MAX,
    };
    assert_eq!(store.refusals.count_refusals().await.unwrap(), expected);
}

async fn of_a_full_buffer_the_rest_is_counted(open: &dyn Open) {
    let store = open.open();
    let limits = RecorderLimits {
        batch_max: 1_000,
        waiting_max: 50,
        ..patient()
    };
    let recorder = RefusalRecorder::start(store.refusals.clone(), limits).unwrap();
    let stored = (0..80).filter(|number| recorder.record(refusal(*number, 0))).count();
    assert_eq!(stored, 50);
    recorder.flush().await.unwrap();
    assert_eq!(
        store.refusals.count_refusals().await.unwrap(),
        RefusalCounts {
            stored: 50,
            not_stored: 30
        }
    );
    assert!(recorder.record(refusal(80, 0)), "there is room again");
}

async fn issued_tokens_are_on_file_after_a_close(open: &dyn Open) {
    let store = open.open();
    let recorder = IssuedTokenRecorder::start(store.issued_tokens.clone(), patient(), t(0))
        .await
        .unwrap();
    let tokens: Vec<_> = (0..10).map(|number| issued_tokens::token(number, 1)).collect();
    for token in &tokens {
        assert!(recorder.record(token.clone()));
    }
    recorder.close(t(2)).await.unwrap();
    drop((recorder, store));
    let store = open.open();
    assert_eq!(issued_tokens::on_file(&store).await, (tokens, 0));
    assert!(
        !store.issued_tokens.open_issued_tokens(super::entry(3)).await.unwrap(),
        "it was closed"
    );
    assert!(store.audit.verify_chain().await.unwrap().is_intact());
}

async fn issued_tokens_are_written_in_batches(open: &dyn Open) {
    let store = open.open();
    let limits = RecorderLimits {
        batch_max: 100,
        waiting_max: 350,
        ..patient()
    };
    let recorder = IssuedTokenRecorder::start(store.issued_tokens.clone(), limits, t(0))
        .await
        .unwrap();
    for number in 0..300 {
        recorder.record(issued_tokens::token(number, 1));
    }
    recorder.flush().await.unwrap();
    let batches = store.issued_tokens.issued_token_batches(0, 100).await.unwrap();
    assert_eq!(batches.iter().map(|batch| batch.tokens.len()).sum::<usize>(), 300);
    assert!(batches.iter().all(|batch| batch.tokens.len() <= 100));
    assert!(batches.len() < 10, "{} rows for 300 tokens", batches.len());
}
