//! CIBA Core §7.3 and §11: clients that poll often, or many times at once.

use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::approvals::cast;
use crate::ciba::{CIBA, asked, hash, polling, refused};
use crate::world::{Plan, Side};

// covers CIBA-4
#[tokio::test]
async fn of_twenty_polls_at_once_one_gets_the_token() {
    let cast = cast(polling(), Plan::introspecting).await;
    for round in 0..5 {
        let auth_req_id = asked(&cast, &[]).await;
        cast.decide(hash(&auth_req_id), &cast.ada, true).await.unwrap();
        let mut polls = JoinSet::new();
        for _ in 0..20 {
            let peer = cast.world.peer(Side::MutualTls, Some(&cast.demo));
            let auth_req_id = auth_req_id.clone();
            polls.spawn(async move {
                let form = [
                    ("client_id", "demo"),
                    ("grant_type", CIBA),
                    ("auth_req_id", auth_req_id.as_str()),
                ];
                peer.post("/token", &form).await
            });
        }
        let replies = polls.join_all().await;
        let (redeemed, late): (Vec<_>, Vec<_>) = replies.into_iter().partition(|reply| reply.status == 200);
        assert_eq!((redeemed.len(), late.len()), (1, 19), "round {round}");
        for reply in &late {
            cast.world
                .assert_refused(reply, 400, "invalid_grant", crate::ciba::DECISION)
                .await;
        }
        // The one that was first keeps what it got: the others were impatient, and no thieves.
        let answer: Value = redeemed[0].json();
        let form = [("client_id", "rs"), ("token", answer["access_token"].as_str().unwrap())];
        let rs = cast.authority.issue(crate::pki::dns("rs.example"));
        let said = cast.world.post(Some(&rs), "/introspect", &form).await.json();
        assert_eq!(said["active"], json!(true), "round {round}");
    }
}

// covers CIBA-4
#[tokio::test]
async fn whoever_polls_too_early_waits_longer_for_good() {
    let cast = cast(polling(), |plan| plan).await;
    let auth_req_id = asked(&cast, &[]).await;
    for (later, error) in [
        (0, "authorization_pending"),
        (5, "authorization_pending"),
        (1, "slow_down"),
        // Ten seconds from now on.
        (5, "slow_down"),
        // Fifteen; keeping to it brings nothing back.
        (15, "authorization_pending"),
        (15, "authorization_pending"),
        (10, "slow_down"),
        // Twenty.
        (15, "slow_down"),
        (25, "authorization_pending"),
    ] {
        cast.world.clock.advance(later);
        refused(&cast, &auth_req_id, error).await;
    }
    // Another request of the same client begins with five seconds.
    let another = asked(&cast, &[]).await;
    refused(&cast, &another, "authorization_pending").await;
    cast.world.clock.advance(5);
    refused(&cast, &another, "authorization_pending").await;
    // What is decided is said at once, however early.
    cast.decide(hash(&another), &cast.ada, false).await.unwrap();
    refused(&cast, &another, "access_denied").await;
}
