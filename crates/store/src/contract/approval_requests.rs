//! What [`ApprovalRequests`](crate::ApprovalRequests) promise.

use std::time::Duration;

use super::grants::grant;
use super::users::{disable, peopled, removal, subject};
use super::{Case, Open, audit_records, cases, client, entry, t};
use crate::approval_requests::INTERVAL_MAX;
use crate::{
    ApprovalChannel, ApprovalDecision, ApprovalRedemption, ApprovalRequestHash, ApprovalState, CreateApprovalRequest,
    DecideApprovalRequest, Grant, GrantRevocation, NewApprovalRequest, NotificationSecret, PollApprovalRequest,
    RedeemApprovalRequest, Store, UserCodeHash,
};

/// All cases.
pub const CASES: &[Case] = cases![
    a_secret_or_a_code_on_file_is_not_recorded_again,
    a_request_is_found_by_its_secret_or_code_also_after_a_restart,
    no_more_wait_for_one_user_than_may_whichever_clients_ask,
    a_device_code_is_no_auth_req_id,
    another_clients_request_is_unknown,
    whoever_asks_too_early_waits_longer_for_good,
    whoever_asks_without_pause_writes_nothing_by_it,
    a_request_is_decided_once_and_in_time,
    only_the_user_who_was_asked_approves_and_only_for_the_client_that_asked,
    whoever_is_disabled_or_deleted_meanwhile_approves_nothing,
    a_denied_request_stays_denied,
    an_approved_request_is_redeemed_once,
    of_twenty_concurrent_redemptions_exactly_one_succeeds,
    a_withdrawn_grant_is_not_redeemed,
    a_user_is_shown_what_waits_for_a_decision,
    after_a_restored_backup_there_is_none,
];

fn hash(number: u8) -> ApprovalRequestHash {
    ApprovalRequestHash::of_device_code(&number.to_string())
}

pub(crate) fn device(number: u8) -> NewApprovalRequest {
    NewApprovalRequest {
        hash: hash(number),
        client_id: client("demo"),
        channel: ApprovalChannel::Device {
            user_code: UserCodeHash::of(&format!("code {number}")),
        },
        request: r#"{"scope":"read"}"#.into(),
        interval: Duration::from_secs(5),
        expires_at: t(600),
    }
}

fn backchannel(number: u8, user: u8) -> NewApprovalRequest {
    NewApprovalRequest {
        channel: ApprovalChannel::Backchannel {
            subject: subject(user),
            notification: Some(NotificationSecret::new("a token")),
        },
        ..device(number)
    }
}

async fn create(store: &Store, request: NewApprovalRequest) {
    let created = store.approval_requests.create_approval_request(request, 20, entry(0));
    assert_eq!(created.await.unwrap(), CreateApprovalRequest::Created);
}

async fn decide_at(store: &Store, number: u8, decision: ApprovalDecision, secs: i64) -> DecideApprovalRequest {
    let decided = store
        .approval_requests
        .decide_approval_request(hash(number), decision, entry(secs));
    decided.await.unwrap()
}

fn approved(number: u8) -> ApprovalDecision {
    ApprovalDecision::Approved(Box::new(grant(number)))
}

async fn poll_at(store: &Store, number: u8, secs: i64) -> PollApprovalRequest {
    let polled = store
        .approval_requests
        .poll_approval_request(hash(number), client("demo"), t(secs));
    polled.await.unwrap()
}

fn redemption(number: u8) -> ApprovalRedemption {
    ApprovalRedemption {
        hash: hash(number),
        first_token_id: "token".into(),
        refresh: None,
        opaque: None,
    }
}

async fn redeem_at(store: &Store, number: u8, secs: i64) -> RedeemApprovalRequest {
    let redeemed = store
        .approval_requests
        .redeem_approval_request(redemption(number), entry(secs));
    redeemed.await.unwrap()
}

async fn a_secret_or_a_code_on_file_is_not_recorded_again(open: &dyn Open) {
    let store = peopled(open).await;
    create(&store, device(1)).await;
    let records = audit_records(&store).await;
    let same_code = NewApprovalRequest {
        hash: hash(2),
        ..device(1)
    };
    for request in [device(1), backchannel(1, 1), same_code] {
        let created = store.approval_requests.create_approval_request(request, 20, entry(1));
        assert_eq!(created.await.unwrap(), CreateApprovalRequest::AlreadyExists);
    }
    assert_eq!(audit_records(&store).await, records);
}

async fn no_more_wait_for_one_user_than_may_whichever_clients_ask(open: &dyn Open) {
    let store = peopled(open).await;
    let try_to = async |request: NewApprovalRequest, max, secs| {
        let created = store
            .approval_requests
            .create_approval_request(request, max, entry(secs));
        created.await.unwrap()
    };
    let of_other_client = NewApprovalRequest {
        client_id: client("other"),
        ..backchannel(2, 1)
    };
    for request in [backchannel(1, 1), of_other_client] {
        assert_eq!(try_to(request, 2, 0).await, CreateApprovalRequest::Created);
    }
    let records = audit_records(&store).await;
    assert_eq!(
        try_to(backchannel(3, 1), 2, 1).await,
        CreateApprovalRequest::TooManyOfUser
    );
    assert_eq!(store.approval_requests.find_approval_request(&hash(3)).unwrap(), None);
    assert_eq!(audit_records(&store).await, records);
    // Others are asked, and devices ask nobody yet.
    for request in [backchannel(4, 2), device(5), device(6), device(7)] {
        assert_eq!(try_to(request, 2, 1).await, CreateApprovalRequest::Created);
    }
    // What was answered waits no longer, and what has expired neither.
    decide_at(&store, 1, ApprovalDecision::Denied, 2).await;
    assert_eq!(try_to(backchannel(3, 1), 2, 2).await, CreateApprovalRequest::Created);
    assert_eq!(
        try_to(backchannel(8, 1), 2, 599).await,
        CreateApprovalRequest::TooManyOfUser
    );
    let later = NewApprovalRequest {
        expires_at: t(1_200),
        ..backchannel(8, 1)
    };
    assert_eq!(try_to(later, 2, 600).await, CreateApprovalRequest::Created);
}

async fn a_request_is_found_by_its_secret_or_code_also_after_a_restart(open: &dyn Open) {
    let store = peopled(open).await;
    create(&store, device(1)).await;
    create(&store, backchannel(2, 1)).await;
    drop(store);
    let requests = open.open().approval_requests;
    let found = requests.find_approval_request(&hash(1)).unwrap().unwrap();
    assert_eq!((&found.request, found.state), (&device(1), ApprovalState::Pending));
    assert_eq!(found.created_at, t(0));
    let by_code = |code: &str| {
        requests
            .find_approval_request_by_user_code(&UserCodeHash::of(code))
            .unwrap()
    };
    assert_eq!(by_code("code 1"), Some(found));
    assert_eq!(by_code("code 2"), None);
    // What is sent back can be read, and is not printed.
    let found = requests.find_approval_request(&hash(2)).unwrap().unwrap();
    assert_eq!(found.request, backchannel(2, 1));
    assert!(!format!("{found:?}").contains("a token"));
    assert_eq!(requests.find_approval_request(&hash(3)).unwrap(), None);
}

async fn a_device_code_is_no_auth_req_id(open: &dyn Open) {
    let store = peopled(open).await;
    create(&store, device(1)).await;
    let other = ApprovalRequestHash::of_auth_req_id("1");
    assert_eq!(store.approval_requests.find_approval_request(&other).unwrap(), None);
}

async fn another_clients_request_is_unknown(open: &dyn Open) {
    let store = peopled(open).await;
    create(&store, device(1)).await;
    let polled = store
        .approval_requests
        .poll_approval_request(hash(1), client("other"), t(0));
    assert_eq!(polled.await.unwrap(), PollApprovalRequest::Unknown);
    assert_eq!(poll_at(&store, 2, 0).await, PollApprovalRequest::Unknown);
    // Nor does it count as having asked.
    assert_eq!(poll_at(&store, 1, 0).await, PollApprovalRequest::Pending);
}

async fn whoever_asks_too_early_waits_longer_for_good(open: &dyn Open) {
    let store = peopled(open).await;
    create(&store, device(1)).await;
    let steps = [
        (0, PollApprovalRequest::Pending),
        (5, PollApprovalRequest::Pending),
        (8, PollApprovalRequest::SlowDown),
        // Ten seconds from now on.
        (16, PollApprovalRequest::SlowDown),
        // Fifteen.
        (31, PollApprovalRequest::Pending),
        (46, PollApprovalRequest::Pending),
        (56, PollApprovalRequest::SlowDown),
        (600, PollApprovalRequest::Expired),
    ];
    for (secs, expected) in steps {
        assert_eq!(poll_at(&store, 1, secs).await, expected, "{secs}");
    }
    let found = store
        .approval_requests
        .find_approval_request(&hash(1))
        .unwrap()
        .unwrap();
    assert_eq!(found.request.interval, Duration::from_secs(20));
}

async fn whoever_asks_without_pause_writes_nothing_by_it(open: &dyn Open) {
    let store = peopled(open).await;
    create(&store, device(1)).await;
    let records = audit_records(&store).await;
    let interval = || {
        let found = store.approval_requests.find_approval_request(&hash(1));
        found.unwrap().unwrap().request.interval
    };
    assert_eq!(poll_at(&store, 1, 0).await, PollApprovalRequest::Pending);
    for _ in 0..50 {
        assert_eq!(poll_at(&store, 1, 0).await, PollApprovalRequest::SlowDown);
    }
    assert_eq!(interval(), INTERVAL_MAX);
    // What came too early does not count as having asked, so that one question a minute is answered.
    for (secs, expected) in [
        (30, PollApprovalRequest::SlowDown),
        (58, PollApprovalRequest::SlowDown),
        (60, PollApprovalRequest::Pending),
        (61, PollApprovalRequest::SlowDown),
        (120, PollApprovalRequest::Pending),
    ] {
        assert_eq!(poll_at(&store, 1, secs).await, expected, "{secs}");
    }
    assert_eq!(interval(), INTERVAL_MAX);
    assert_eq!(audit_records(&store).await, records);
}

async fn a_request_is_decided_once_and_in_time(open: &dyn Open) {
    let store = peopled(open).await;
    assert_eq!(
        decide_at(&store, 1, approved(1), 0).await,
        DecideApprovalRequest::Unknown
    );
    create(&store, device(1)).await;
    create(&store, device(2)).await;
    let records = audit_records(&store).await;
    assert_eq!(
        decide_at(&store, 2, approved(2), 600).await,
        DecideApprovalRequest::Expired
    );
    assert_eq!(audit_records(&store).await, records);
    assert_eq!(
        decide_at(&store, 1, approved(1), 599).await,
        DecideApprovalRequest::Decided
    );
    for decision in [approved(3), ApprovalDecision::Denied] {
        let again = decide_at(&store, 1, decision, 599).await;
        assert_eq!(again, DecideApprovalRequest::AlreadyDecided);
    }
    assert!(store.grants.find_grant(&grant(1).grant_id).unwrap().is_some());
    assert_eq!(store.grants.find_grant(&grant(3).grant_id).unwrap(), None);
    let PollApprovalRequest::Approved(found) = poll_at(&store, 1, 599).await else {
        panic!("not approved")
    };
    assert_eq!(found.grant, grant(1));
    assert_eq!(poll_at(&store, 1, 600).await, PollApprovalRequest::Expired);
}

async fn only_the_user_who_was_asked_approves_and_only_for_the_client_that_asked(open: &dyn Open) {
    let store = peopled(open).await;
    create(&store, backchannel(1, 1)).await;
    create(&store, device(2)).await;
    let of_other_user = Grant {
        subject: subject(2),
        ..grant(1)
    };
    let to_other_client = Grant {
        client_id: client("other"),
        ..grant(1)
    };
    for (number, grant) in [(1, of_other_user), (1, to_other_client.clone()), (2, to_other_client)] {
        let decision = ApprovalDecision::Approved(Box::new(grant));
        let decided = decide_at(&store, number, decision, 1).await;
        assert_eq!(decided, DecideApprovalRequest::OfAnother);
    }
    assert_eq!(store.grants.find_grant(&grant(1).grant_id).unwrap(), None);
    assert_eq!(
        decide_at(&store, 1, approved(1), 1).await,
        DecideApprovalRequest::Decided
    );
}

async fn whoever_is_disabled_or_deleted_meanwhile_approves_nothing(open: &dyn Open) {
    let store = peopled(open).await;
    create(&store, backchannel(1, 1)).await;
    create(&store, device(2)).await;
    disable(&store, 1).await;
    for _ in 0..2 {
        let records = audit_records(&store).await;
        for number in [1, 2] {
            assert_eq!(
                decide_at(&store, number, approved(number), 30).await,
                DecideApprovalRequest::UserBarred
            );
            assert_eq!(store.grants.find_grant(&grant(number).grant_id).unwrap(), None);
        }
        assert_eq!(audit_records(&store).await, records);
        let found = store.approval_requests.find_approval_request(&hash(2)).unwrap();
        assert_eq!(found.unwrap().state, ApprovalState::Pending);
        store
            .users
            .delete_user(removal("user-1", None), entry(40))
            .await
            .unwrap();
    }
    // Somebody else has the device's code and may allow it; and no is nobody's to be kept from.
    let of_another = Grant {
        subject: subject(2),
        ..grant(2)
    };
    let decision = ApprovalDecision::Approved(Box::new(of_another));
    assert_eq!(decide_at(&store, 2, decision, 50).await, DecideApprovalRequest::Decided);
    assert_eq!(
        decide_at(&store, 1, ApprovalDecision::Denied, 50).await,
        DecideApprovalRequest::Decided
    );
}

async fn a_denied_request_stays_denied(open: &dyn Open) {
    let store = peopled(open).await;
    create(&store, device(1)).await;
    let denied = decide_at(&store, 1, ApprovalDecision::Denied, 1).await;
    assert_eq!(denied, DecideApprovalRequest::Decided);
    for secs in [1, 2, 700] {
        assert_eq!(poll_at(&store, 1, secs).await, PollApprovalRequest::Denied);
    }
    assert_eq!(redeem_at(&store, 1, 2).await, RedeemApprovalRequest::NotApproved);
}

async fn an_approved_request_is_redeemed_once(open: &dyn Open) {
    let store = peopled(open).await;
    assert_eq!(redeem_at(&store, 1, 0).await, RedeemApprovalRequest::Unknown);
    create(&store, device(1)).await;
    assert_eq!(redeem_at(&store, 1, 0).await, RedeemApprovalRequest::NotApproved);
    decide_at(&store, 1, approved(1), 1).await;
    assert_eq!(redeem_at(&store, 1, 600).await, RedeemApprovalRequest::Expired);
    assert_eq!(redeem_at(&store, 1, 2).await, RedeemApprovalRequest::Redeemed);
    for store in [store, open.open()] {
        assert_eq!(redeem_at(&store, 1, 3).await, RedeemApprovalRequest::AlreadySpent);
        assert_eq!(poll_at(&store, 1, 3).await, PollApprovalRequest::Spent);
    }
}

async fn of_twenty_concurrent_redemptions_exactly_one_succeeds(open: &dyn Open) {
    let store = peopled(open).await;
    create(&store, device(1)).await;
    decide_at(&store, 1, approved(1), 1).await;
    let redemptions: Vec<_> = (0..20)
        .map(|_| store.approval_requests.redeem_approval_request(redemption(1), entry(2)))
        .collect();
    let mut redeemed = 0;
    for answer in redemptions {
        redeemed += u32::from(answer.await.unwrap() == RedeemApprovalRequest::Redeemed);
    }
    assert_eq!(redeemed, 1);
}

async fn a_withdrawn_grant_is_not_redeemed(open: &dyn Open) {
    let store = peopled(open).await;
    create(&store, device(1)).await;
    decide_at(&store, 1, approved(1), 1).await;
    let revocation = GrantRevocation {
        grant_id: grant(1).grant_id,
        only_of: None,
        tokens_until: t(400),
    };
    store.grants.revoke_grant(revocation, entry(2)).await.unwrap();
    assert_eq!(poll_at(&store, 1, 3).await, PollApprovalRequest::Denied);
    assert_eq!(redeem_at(&store, 1, 3).await, RedeemApprovalRequest::NotApproved);
}

async fn a_user_is_shown_what_waits_for_a_decision(open: &dyn Open) {
    let store = peopled(open).await;
    for request in [backchannel(1, 1), backchannel(2, 1), backchannel(3, 2), device(4)] {
        create(&store, request).await;
    }
    decide_at(&store, 2, ApprovalDecision::Denied, 1).await;
    let waiting = async |user, secs| {
        let waiting = store.approval_requests.approval_requests_of(subject(user), t(secs), 10);
        let waiting = waiting.await.unwrap();
        waiting
            .into_iter()
            .map(|stored| stored.request.hash)
            .collect::<Vec<_>>()
    };
    assert_eq!(waiting(1, 599).await, [hash(1)]);
    assert_eq!(waiting(2, 599).await, [hash(3)]);
    assert_eq!(waiting(1, 600).await, []);
}

async fn after_a_restored_backup_there_is_none(open: &dyn Open) {
    let store = peopled(open).await;
    create(&store, device(1)).await;
    decide_at(&store, 1, approved(1), 1).await;
    store.upkeep.raise_epoch(t(400), entry(2)).await.unwrap();
    assert_eq!(store.approval_requests.find_approval_request(&hash(1)).unwrap(), None);
    assert_eq!(poll_at(&store, 1, 3).await, PollApprovalRequest::Unknown);
    assert_eq!(redeem_at(&store, 1, 3).await, RedeemApprovalRequest::Unknown);
    assert_eq!(
        decide_at(&store, 1, approved(2), 3).await,
        DecideApprovalRequest::Unknown
    );
}
