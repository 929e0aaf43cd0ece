//! What [`PushedRequests`](crate::PushedRequests) promise. That finishing spends one is among the interactions' cases.

use super::{Case, Open, audit_records, cases, client, entry, t};
use crate::{PushRequest, PushedRequest, RequestUriHash, StoredPushedRequest};

/// All cases.
pub const CASES: &[Case] = cases![
    a_pushed_request_is_found_by_its_request_uri_also_after_a_restart,
    a_pushed_request_is_spent_once,
    after_a_restored_backup_there_is_none,
];

/// The request of this number, pushed by `demo` for a minute.
pub(crate) fn pushed(number: u8) -> PushedRequest {
    PushedRequest {
        hash: RequestUriHash::of(&format!("urn:ietf:params:oauth:request_uri:{number}")),
        client_id: client("demo"),
        request: r#"{"scope":"read"}"#.into(),
        expires_at: t(60),
    }
}

async fn a_pushed_request_is_found_by_its_request_uri_also_after_a_restart(open: &dyn Open) {
    let store = open.open();
    let records = audit_records(&store).await;
    let push = |pushed| store.pushed_requests.push_request(pushed);
    assert_eq!(push(pushed(1)).await.unwrap(), PushRequest::Pushed);
    let other = PushedRequest {
        client_id: client("other"),
        ..pushed(1)
    };
    assert_eq!(push(other).await.unwrap(), PushRequest::AlreadyPushed);
    assert_eq!(audit_records(&store).await, records);
    let expected = StoredPushedRequest {
        pushed: pushed(1),
        is_spent: false,
    };
    for store in [&store, &open.open()] {
        let find = |number| store.pushed_requests.find_pushed_request(&pushed(number).hash).unwrap();
        assert_eq!(find(1), Some(expected.clone()));
        assert_eq!(find(2), None);
    }
}

async fn a_pushed_request_is_spent_once(open: &dyn Open) {
    let store = open.open();
    let spend = |number| store.pushed_requests.spend_pushed_request(pushed(number).hash, t(10));
    assert!(!spend(1).await.unwrap(), "nobody pushed it");
    for number in [1, 2] {
        store.pushed_requests.push_request(pushed(number)).await.unwrap();
    }
    assert!(spend(1).await.unwrap());
    for store in [&store, &open.open()] {
        let spend = store.pushed_requests.spend_pushed_request(pushed(1).hash, t(11));
        assert!(!spend.await.unwrap());
        let is_spent = |number| {
            let found = store.pushed_requests.find_pushed_request(&pushed(number).hash);
            found.unwrap().unwrap().is_spent
        };
        assert_eq!([is_spent(1), is_spent(2)], [true, false]);
    }
}

async fn after_a_restored_backup_there_is_none(open: &dyn Open) {
    let store = open.open();
    store.pushed_requests.push_request(pushed(1)).await.unwrap();
    store.upkeep.raise_epoch(t(400), entry(5)).await.unwrap();
    store.pushed_requests.push_request(pushed(2)).await.unwrap();
    let find = |number| store.pushed_requests.find_pushed_request(&pushed(number).hash).unwrap();
    assert_eq!(find(1), None);
    assert!(find(2).is_some());
}
