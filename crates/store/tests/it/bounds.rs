//! What anybody can make is bounded, and nobody counts rows for it.

use std::time::Duration;

use keybound_store::{
    BeginInteraction, BrowserSecretHash, InteractionHash, NewInteraction, PushRequest, PushedRequest, RequestUriHash,
    SqliteLimits,
};

use crate::{Directory, NOW, block_on, client};

#[test]
fn pushed_requests_and_interactions_stop_at_their_limits_and_go_on_when_some_have_expired() {
    let directory = Directory::new();
    let store = directory.open_with(SqliteLimits {
        pushed_requests_max: 3,
        interactions_max: 2,
        ..SqliteLimits::default()
    });
    let push = |number: u8| {
        store.pushed_requests.push_request(PushedRequest {
            hash: RequestUriHash::of(&number.to_string()),
            client_id: client("demo"),
            request: "{}".into(),
            expires_at: NOW,
        })
    };
    let begin = |number: u8| {
        store.interactions.begin_interaction(NewInteraction {
            hash: InteractionHash::of(&number.to_string()),
            browser: BrowserSecretHash::of("cookie"),
            client_id: client("demo"),
            request: "{}".into(),
            pushed: None,
            signed_in: None,
            expires_at: NOW,
        })
    };
    block_on(async {
        for round in [0, 100] {
            for number in 0..3 {
                assert_eq!(push(round + number).await.unwrap(), PushRequest::Pushed);
            }
            for number in 0..2 {
                assert_eq!(begin(round + number).await.unwrap(), BeginInteraction::Begun);
            }
            assert_eq!(push(round + 4).await.unwrap(), PushRequest::TooMany);
            assert_eq!(begin(round + 4).await.unwrap(), BeginInteraction::TooMany);
            let later = NOW.plus(Duration::from_secs(3_600));
            assert_eq!(store.upkeep.remove_expired(later).await.unwrap().rows, 5);
        }
    });
}
