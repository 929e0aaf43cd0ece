//! What is still running when its token ends.

use std::time::{Duration, Instant};

use keybound_gateway::{LongRunning, RouteSettings};
use keybound_resource_server::{Denial, DeniedSubject};
use keybound_tls::Clock;
use tokio::io::AsyncWriteExt as _;

use crate::harness::caller::{Caller, read_head};
use crate::harness::upstream::Upstream;
use crate::harness::{World, route};

/// Answers at once and then sends something every `interval`; nothing more without one.
pub(crate) async fn endless(interval: Option<Duration>) -> Upstream {
    Upstream::serving(move |mut stream, _| async move {
        if read_head(&mut stream, &mut Vec::new()).await.is_none() {
            return;
        }
        let _ = stream
            .write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n")
            .await;
        match interval {
            Some(interval) => {
                while stream.write_all(b"4\r\ntick\r\n").await.is_ok() {
                    tokio::time::sleep(interval).await;
                }
            }
            None => std::future::pending().await,
        }
    })
    .await
}

/// As much as anybody takes.
async fn flood() -> Upstream {
    Upstream::serving(|mut stream, _| async move {
        if read_head(&mut stream, &mut Vec::new()).await.is_some() {
            let _ = stream
                .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n")
                .await;
            while stream.write_all(&[0; 64 * 1024]).await.is_ok() {}
        }
    })
    .await
}

/// A token that ends in `seconds`, and the moment of its end.
pub(crate) async fn token_for(world: &World, seconds: i64) -> (String, Instant) {
    // From the beginning of a second, so that whole seconds are whole.
    let clock = Clock::system();
    let before = clock.now();
    while clock.now() == before {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let ends = Instant::now() + Duration::from_secs(seconds.unsigned_abs());
    let mut claims = world.issuer.claims(Some(&world.pki.client));
    claims["exp"] = (clock.now().unix_secs() + seconds).into();
    (world.issuer.token(&claims), ends)
}

/// A request with a token that ends in `seconds`, and the moment of its end.
async fn start(world: &World, seconds: i64) -> (Caller, Instant) {
    let (token, ends) = token_for(world, seconds).await;
    let mut caller = world.connect().await;
    caller
        .send(format!(
            "GET / HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n\r\n"
        ))
        .await;
    assert!(caller.head().await.unwrap().starts_with("HTTP/1.1 200"));
    (caller, ends)
}

/// Reads until the end of the connection, which must come within a second of `ends` and not before.
pub(crate) async fn assert_ends_at(mut caller: Caller, ends: Instant, context: &str) {
    let mut last = Vec::new();
    loop {
        let some = caller.some().await;
        if some.is_empty() {
            break;
        }
        last = some;
    }
    let now = Instant::now();
    assert!(
        now >= ends - Duration::from_millis(50),
        "{context}: {:?} early",
        ends - now
    );
    assert!(now <= ends + Duration::from_secs(1), "{context}: {:?} late", now - ends);
    assert!(!last.ends_with(b"0\r\n\r\n"), "{context}: it looks complete");
}

// covers T1
#[tokio::test]
async fn an_answer_ends_with_its_token() {
    for (context, interval) in [("it flows", Some(Duration::from_millis(20))), ("nothing comes", None)] {
        let upstream = endless(interval).await;
        let world = World::start(vec![route("/", upstream.address)]);
        let (caller, ends) = start(&world, 1).await;
        assert_ends_at(caller, ends, context).await;
    }
}

// covers T1
#[tokio::test]
async fn an_answer_that_nobody_reads_ends_with_its_token_too() {
    let upstream = flood().await;
    let world = World::start(vec![route("/", upstream.address)]);
    let (caller, ends) = start(&world, 1).await;
    // Stalled from here on: the gateway cannot even tell the body that it has ended.
    tokio::time::sleep_until((ends + Duration::from_millis(900)).into()).await;
    let open = world.listener.counters().snapshot().connections_open;
    assert_eq!(open, 0, "the connection is still open");
    drop(caller);
}

// covers T1
#[tokio::test]
async fn an_answer_may_be_allowed_to_run_on() {
    let upstream = endless(Some(Duration::from_millis(20))).await;
    let routes = vec![RouteSettings {
        long_running: LongRunning::UntilClose,
        ..route("/", upstream.address)
    }];
    let world = World::start(routes);
    let (mut caller, ends) = start(&world, 1).await;
    while Instant::now() < ends + Duration::from_millis(1_500) {
        assert!(!caller.some().await.is_empty());
    }
}

// covers T20
#[tokio::test]
async fn an_answer_ends_when_its_token_is_revoked() {
    let upstream = endless(Some(Duration::from_millis(20))).await;
    let world = World::start(vec![route("/", upstream.address)]);
    let resource_server = world.issuer.resource_server();
    let settings = keybound_gateway::GatewaySettings {
        routes: vec![route("/", upstream.address)],
        limits: Default::default(),
    };
    world.gateway.reload(&settings, resource_server.clone()).unwrap();
    let (caller, _) = start(&world, 60).await;
    let now = Clock::system().now();
    let denial = Denial {
        subject: DeniedSubject::Token("token-1".to_owned()),
        issued_before: None,
        until: now.plus(Duration::from_secs(300)),
    };
    let issuer = world.issuer.issuer.parse().unwrap();
    resource_server
        .deny_list(&issuer)
        .unwrap()
        .apply([denial], now)
        .unwrap();
    assert_ends_at(caller, Instant::now(), "revoked").await;
}

// covers T35
#[tokio::test]
async fn a_token_accepted_within_the_leeway_gets_its_answer() {
    let upstream = endless(Some(Duration::from_millis(20))).await;
    let world = World::start(vec![route("/", upstream.address)]);
    let (mut caller, _) = start(&world, -5).await;
    let started = Instant::now();
    while started.elapsed() < Duration::from_millis(1_500) {
        assert!(!caller.some().await.is_empty());
    }
}
