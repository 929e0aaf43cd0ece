//! What [`PushedRequests`](crate::PushedRequests) promise. That finishing spends one is among the interactions' cases.

use super::{Case, Open, audit_records, cases, client, entry, t};
use crate::{PushRequest, PushedRequest, RequestUriHash, StoredPushedRequest};

/// All cases.
pub const CASES: &[Case] = cases![
    a_pushed_request_is_found_by_its_request_uri_also_after_a_restart,
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

async fn after_a_restored_backup_there_is_none(open: &dyn Open) {
    let store = open.open();
    store.pushed_requests.push_request(pushed(1)).await.unwrap();
    store.upkeep.raise_epoch(t(400), entry(5)).await.unwrap();
    store.pushed_requests.push_request(pushed(2)).await.unwrap();
    let find = |number| store.pushed_requests.find_pushed_request(&pushed(number).hash).unwrap();
    assert_eq!(find(1), None);
    assert!(find(2).is_some());
}
