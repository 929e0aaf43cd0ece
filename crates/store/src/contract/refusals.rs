//! What [`Refusals`](crate::Refusals) promise.

use keybound_protocol::refusal::{CertificateSummary, REFUSAL_ID_RANDOM_BYTES, Refusal, RefusalId, RefusalSource};
use keybound_protocol::rule::{Outcome, RuleOutcome};

use super::{Case, Open, audit_records, cases, t, thumbprint};
use crate::refusals::{REFUSAL_BYTES_MAX, REFUSALS_KEPT_MAX};
use crate::{RefusalCounts, RefusalQuery, Store};

/// All cases.
pub const CASES: &[Case] = cases![
    a_refusal_is_found_by_id_also_after_a_restart,
    refusals_are_found_by_certificate_and_by_client,
    listing_pages_from_the_newest_to_the_oldest,
    a_batch_sent_again_is_stored_once,
    what_a_limit_kept_out_is_counted,
    only_the_newest_hundred_thousand_are_kept,
];

/// The id of refusal `number`.
pub(crate) fn id(number: u64) -> RefusalId {
    let mut random = [0; REFUSAL_ID_RANDOM_BYTES];
    random[..8].copy_from_slice(&number.to_be_bytes());
    RefusalId::from_random(RefusalSource::AuthorizationServer, random)
}

/// Refusal `number`, `secs` seconds after the beginning: of client `number % 3`, with certificate `number % 5`.
pub(crate) fn refusal(number: u64, secs: i64) -> Refusal {
    Refusal {
        id: id(number),
        at: t(secs),
        endpoint: "/token".into(),
        status: 400,
        error_code: None,
        client_id: Some(format!("client {}", number % 3)),
        remote_address: Some("2001:db8::1".parse().unwrap()),
        certificate: Some(certificate(u8::try_from(number % 5).unwrap())),
        reason: format!("refusal {number}"),
        rules: vec![
            RuleOutcome::new("subject", Outcome::Failed)
                .presented("CN=a")
                .registered("CN=b"),
        ],
        fix: Some("register CN=a".into()),
    }
}

/// A summary whose thumbprint is `number` 32 times.
fn certificate(number: u8) -> CertificateSummary {
    let summary = serde_json::json!({
        "x5t#S256": thumbprint(number),
        "subject": "CN=\"müller\",O=\\,",
        "subject_alternative_names": [],
        "serial_number": "01",
        "not_before": t(-10),
    });
    serde_json::from_value(summary).unwrap()
}

fn refusals(numbers: impl IntoIterator<Item = u64>) -> Vec<Refusal> {
    numbers.into_iter().map(|number| refusal(number, 0)).collect()
}

async fn list(store: &Store, query: RefusalQuery) -> Vec<String> {
    let page = store
        .refusals
        .list_refusals(RefusalQuery { limit: 500, ..query })
        .await
        .unwrap();
    assert_eq!(page.next, None);
    page.refusals.into_iter().map(|refusal| refusal.reason).collect()
}

async fn a_refusal_is_found_by_id_also_after_a_restart(open: &dyn Open) {
    let store = open.open();
    let records = audit_records(&store).await;
    let bare = Refusal {
        client_id: None,
        certificate: None,
        remote_address: None,
        rules: Vec::new(),
        fix: None,
        ..refusal(2, 0)
    };
    store
        .refusals
        .append_refusals(&[refusal(1, 0), bare.clone()], 0)
        .await
        .unwrap();
    drop(store);
    let store = open.open();
    assert_eq!(store.refusals.find_refusal(&id(1)).unwrap(), Some(refusal(1, 0)));
    assert_eq!(store.refusals.find_refusal(&id(2)).unwrap(), Some(bare));
    assert_eq!(store.refusals.find_refusal(&id(3)).unwrap(), None);
    assert_eq!(audit_records(&store).await, records, "a refusal changes nothing");
}

async fn refusals_are_found_by_certificate_and_by_client(open: &dyn Open) {
    let store = open.open();
    store.refusals.append_refusals(&refusals(0..30), 0).await.unwrap();
    let expected = |fits: fn(u64) -> bool| -> Vec<String> {
        (0..30)
            .rev()
            .filter(|number| fits(*number))
            .map(|number| format!("refusal {number}"))
            .collect()
    };
    let by_certificate = RefusalQuery {
        thumbprint: Some(thumbprint(2)),
        ..RefusalQuery::default()
    };
    let by_client = RefusalQuery {
        client_id: Some("client 1".into()),
        ..RefusalQuery::default()
    };
    let by_both = RefusalQuery {
        thumbprint: Some(thumbprint(2)),
        ..by_client.clone()
    };
    assert_eq!(list(&store, RefusalQuery::default()).await, expected(|_| true));
    assert_eq!(list(&store, by_certificate).await, expected(|number| number % 5 == 2));
    assert_eq!(list(&store, by_client).await, expected(|number| number % 3 == 1));
    assert_eq!(
        list(&store, by_both).await,
        expected(|number| number % 5 == 2 && number % 3 == 1)
    );
    let nobody = RefusalQuery {
        client_id: Some("client".into()),
        ..RefusalQuery::default()
    };
    assert_eq!(list(&store, nobody).await, [""; 0]);
}

async fn listing_pages_from_the_newest_to_the_oldest(open: &dyn Open) {
    let store = open.open();
    store.refusals.append_refusals(&refusals(0..25), 0).await.unwrap();
    for limit in [0, 1, 7, 24, 25, 26] {
        let (mut listed, mut before) = (Vec::new(), None);
        loop {
            let query = RefusalQuery {
                before,
                limit,
                ..RefusalQuery::default()
            };
            let page = store.refusals.list_refusals(query).await.unwrap();
            listed.extend(page.refusals.iter().map(|refusal| refusal.id));
            before = page.next;
            if before.is_none() {
                break;
            }
        }
        assert_eq!(
            listed,
            (0..25).rev().map(id).collect::<Vec<_>>(),
            "with pages of {limit}"
        );
    }
    let gone = RefusalQuery {
        before: Some(id(99)),
        limit: 10,
        ..RefusalQuery::default()
    };
    assert_eq!(store.refusals.list_refusals(gone).await.unwrap().refusals, []);
}

async fn a_batch_sent_again_is_stored_once(open: &dyn Open) {
    let store = open.open();
    store.refusals.append_refusals(&refusals(0..10), 0).await.unwrap();
    store.refusals.append_refusals(&refusals(5..15), 0).await.unwrap();
    assert_eq!(
        store.refusals.count_refusals().await.unwrap(),
        RefusalCounts {
            stored: 15,
            not_stored: 0
        }
    );
    assert_eq!(list(&store, RefusalQuery::default()).await.len(), 15);
}

async fn what_a_limit_kept_out_is_counted(open: &dyn Open) {
    let store = open.open();
    let huge = Refusal {
        reason: "x".repeat(REFUSAL_BYTES_MAX),
        ..refusal(1, 0)
    };
    store
        .refusals
        .append_refusals(&[huge, refusal(2, 0)], 40)
        .await
        .unwrap();
    store.refusals.append_refusals(&[], 2).await.unwrap();
    assert_eq!(
        store.refusals.count_refusals().await.unwrap(),
        RefusalCounts {
            stored: 1,
            not_stored: 43
        }
    );
    assert_eq!(store.refusals.find_refusal(&id(1)).unwrap(), None);
    drop(store);
    let store = open.open();
    assert_eq!(
        store.refusals.count_refusals().await.unwrap(),
        RefusalCounts {
            stored: 1,
            not_stored: 43
        }
    );
    // Kept for 30 days, the count with them.
    let days = |days: i64| t(days * 24 * 3600 + 3600);
    store.upkeep.remove_expired(days(29)).await.unwrap();
    assert_eq!(
        store.refusals.count_refusals().await.unwrap(),
        RefusalCounts {
            stored: 1,
            not_stored: 43
        }
    );
    assert!(store.refusals.find_refusal(&id(2)).unwrap().is_some());
    store.upkeep.remove_expired(days(30)).await.unwrap();
    assert_eq!(store.refusals.count_refusals().await.unwrap(), RefusalCounts::default());
    assert_eq!(store.refusals.find_refusal(&id(2)).unwrap(), None);
}

async fn only_the_newest_hundred_thousand_are_kept(open: &dyn Open) {
    let store = open.open();
    let extra = 2_500;
    let all: Vec<u64> = (0..REFUSALS_KEPT_MAX + extra).collect();
    for batch in all.chunks(4_096) {
        store
            .refusals
            .append_refusals(&refusals(batch.iter().copied()), 0)
            .await
            .unwrap();
    }
    let counts = store.refusals.count_refusals().await.unwrap();
    assert_eq!(
        counts,
        RefusalCounts {
            stored: REFUSALS_KEPT_MAX,
            not_stored: 0
        }
    );
    assert_eq!(store.refusals.find_refusal(&id(extra - 1)).unwrap(), None);
    assert!(store.refusals.find_refusal(&id(extra)).unwrap().is_some());
    assert!(
        store
            .refusals
            .find_refusal(&id(REFUSALS_KEPT_MAX + extra - 1))
            .unwrap()
            .is_some()
    );
}
