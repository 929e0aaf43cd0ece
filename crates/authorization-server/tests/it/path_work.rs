//! How often a path is looked for, for a peer that proved nothing.

use http::StatusCode;
use keybound_protocol::rule::Outcome;

use crate::pki::{Authority, Leaf, dns};
use crate::world::{Peer, Plan, Side, World, credentials, tls_client};

const CLIENTS: usize = 40;
const JUDGED: &str = "few enough failures for the certificate to be judged";

fn name(index: usize) -> String {
    format!("client-{index}")
}

/// A server with many clients, and somebody with a certificate from elsewhere that bears the authority's name.
async fn world_and_stranger(failures_per_second: u32) -> (World, Authority, Leaf) {
    let authority = Authority::root("corp");
    let mut plan = Plan::new().trusts("corp", &authority);
    for index in 0..CLIENTS {
        plan = plan.client(&name(index), tls_client(&format!("{}.example", name(index))));
    }
    plan.settings.limits.failed_authentications_per_second = failures_per_second;
    let stranger = Authority::root("corp").issue(dns("client-0.example"));
    (plan.start().await, authority, stranger)
}

async fn paths_looked_for(world: &World) -> usize {
    let metrics = String::from_utf8(world.operator().get("/metrics").await.body).unwrap();
    let counter = "keybound_certificate_verdicts_total{from=\"path\"} ";
    let count = metrics.lines().find_map(|line| line.strip_prefix(counter));
    count.unwrap().parse().unwrap()
}

async fn fail(peer: &Peer, clients: std::ops::Range<usize>) {
    for index in clients {
        let reply = peer.post("/token", &credentials(&name(index))).await;
        assert_eq!(reply.status, StatusCode::BAD_REQUEST, "{reply:?}");
    }
}

#[tokio::test]
async fn a_connection_that_asks_for_several_clients_in_turn_gets_each_verdict_once() {
    let (world, _, stranger) = world_and_stranger(100_000).await;
    let peer = world.peer(Side::MutualTls, Some(&stranger));
    for _ in 0..5 {
        fail(&peer, 0..8).await;
    }
    assert_eq!(paths_looked_for(&world).await, 8);
    // The next connection may bring what was missing.
    fail(&world.peer(Side::MutualTls, Some(&stranger)), 0..1).await;
    assert_eq!(paths_looked_for(&world).await, 9);
    // What is kept for one connection is bounded.
    let peer = world.peer(Side::MutualTls, Some(&stranger));
    fail(&peer, 0..9).await;
    fail(&peer, 0..1).await;
    assert_eq!(paths_looked_for(&world).await, 19);
}

#[tokio::test]
async fn a_failure_too_many_is_told_so_before_its_path_is_looked_for_and_clients_are_answered() {
    let (world, authority, stranger) = world_and_stranger(5).await;
    let own = |index| authority.issue(dns(&format!("{}.example", name(index))));
    let known = own(0);
    let known = world.peer(Side::MutualTls, Some(&known));
    assert_eq!(
        known.post("/token", &credentials(&name(0))).await.status,
        StatusCode::OK
    );
    let before = paths_looked_for(&world).await;

    let began = std::time::Instant::now();
    let peer = world.peer(Side::MutualTls, Some(&stranger));
    let mut limited = None;
    for index in 0..CLIENTS {
        let reply = peer.post("/token", &credentials(&name(index))).await;
        match reply.status {
            StatusCode::BAD_REQUEST => {}
            StatusCode::TOO_MANY_REQUESTS => limited = Some(reply),
            other => panic!("{other}"),
        }
    }
    let allowed = 5 + (began.elapsed().as_secs_f64() * 5.0).ceil() as usize;
    let looked_for = paths_looked_for(&world).await - before;
    assert!(looked_for >= 5 && looked_for <= allowed, "{looked_for} {allowed}");
    assert!(
        looked_for < CLIENTS,
        "the machine is too slow for this test to say anything"
    );

    // Two clients of the same network, one known and one never seen before.
    assert_eq!(
        known.post("/token", &credentials(&name(0))).await.status,
        StatusCode::OK
    );
    let never_seen = own(1);
    assert_eq!(world.token(Some(&never_seen), &name(1)).await.status, StatusCode::OK);

    let refusal = world.refusal(&limited.unwrap()).await;
    let first = refusal
        .rules
        .iter()
        .find(|rule| rule.outcome == Outcome::Failed)
        .unwrap();
    assert_eq!(first.rule, JUDGED);
}
