//! What runs with a token and does not notice by itself that it has ended: answers that nobody reads, answers that have not
//! begun, and tokens whose issuer has to be asked.

use std::time::{Duration, Instant};

use keybound_gateway::{GatewaySettings, LongRunning, RouteSettings};
use keybound_resource_server::{Denial, DeniedSubject, ResourceServer};
use keybound_tls::Clock;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use crate::expiry::{assert_ends_at, endless, token_for};
use crate::harness::caller::{Caller, Response, read_head};
use crate::harness::introspection::Introspection;
use crate::harness::upstream::Upstream;
use crate::harness::{World, route};
use crate::http2::{frame, head};

const SECOND: Duration = Duration::from_secs(1);

/// An upstream that begins to answer once `begin` is over, and then sends a little for ever; tells when its connection ended.
async fn watched(begin: Duration) -> (Upstream, UnboundedReceiver<Instant>) {
    let (ended, endings) = unbounded_channel();
    let upstream = Upstream::serving(move |mut stream, _| {
        let ended = ended.clone();
        async move {
            if read_head(&mut stream, &mut Vec::new()).await.is_none() {
                return;
            }
            let (mut reading, mut writing) = stream.split();
            let answer = async {
                tokio::time::sleep(begin).await;
                let head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
                let mut written = writing.write_all(head).await;
                while written.is_ok() {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                    written = writing.write_all(b"4\r\ntick\r\n").await;
                }
            };
            let mut rest = Vec::new();
            tokio::select! {
                () = answer => {}
                _ = reading.read_to_end(&mut rest) => {}
            }
            let _ = ended.send(Instant::now());
        }
    })
    .await;
    (upstream, endings)
}

/// An upstream whose whole answer comes at once, when `after` is over.
async fn late(after: Duration) -> Upstream {
    Upstream::serving(move |mut stream, _| async move {
        if read_head(&mut stream, &mut Vec::new()).await.is_some() {
            tokio::time::sleep(after).await;
            let _ = stream
                .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nlate")
                .await;
            std::future::pending().await
        }
    })
    .await
}

fn deny_token_1(resource_server: &ResourceServer, world: &World) {
    let now = Clock::system().now();
    let denial = Denial {
        subject: DeniedSubject::Token("token-1".to_owned()),
        issued_before: None,
        until: now.plus(300 * SECOND),
    };
    let issuer = world.issuer.issuer.parse().unwrap();
    let deny_list = resource_server.deny_list(&issuer).unwrap();
    deny_list.apply([denial], now).unwrap();
}

/// Asks over HTTP/2 and opens no window: what the gateway has for the caller, it cannot send.
async fn ask_with_a_closed_window(world: &World, token: &str) -> Caller {
    let mut caller = Caller::connect(world.address, &world.pki, Some(&world.pki.client), &[b"h2"]).await;
    caller.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await;
    // SETTINGS_INITIAL_WINDOW_SIZE is 0.
    caller.send(frame(4, 0, 0, &[0, 4, 0, 0, 0, 0])).await;
    caller.send(frame(1, 5, 1, &head("/", token))).await;
    caller
}

/// Reads frames until stream 1 or the connection ends, and returns when that was; DATA must not come.
async fn end_of_stream_1(caller: &mut Caller) -> Instant {
    let mut read = Vec::new();
    loop {
        while let Some(length) = read.get(..3).map(|it| usize::from(it[1]) << 8 | usize::from(it[2])) {
            if read.len() < 9 + length {
                break;
            }
            let Some((kind, stream)) = read.get(3).copied().zip(read.get(8).copied()) else {
                break;
            };
            assert_ne!(kind, 0, "DATA came through a closed window");
            if (kind, stream) == (3, 1) {
                return Instant::now();
            }
            read.drain(..9 + length);
        }
        let some = caller.some().await;
        if some.is_empty() {
            return Instant::now();
        }
        read.extend(some);
    }
}

#[track_caller]
fn assert_within_a_second(what: &str, moment: Instant, ends: Instant) {
    assert!(
        moment + Duration::from_millis(50) >= ends,
        "{what}: {:?} early",
        ends - moment
    );
    assert!(moment <= ends + SECOND, "{what}: {:?} late", moment - ends);
}

// covers T1
#[tokio::test]
async fn a_closed_window_does_not_keep_an_answer_alive_past_its_token() {
    let (upstream, mut endings) = watched(Duration::ZERO).await;
    let world = World::start(vec![route("/", upstream.address)]);
    let (token, ends) = token_for(&world, 2).await;
    let mut caller = ask_with_a_closed_window(&world, &token).await;
    let ended = end_of_stream_1(&mut caller).await;
    assert_within_a_second("the stream", ended, ends);
    assert_within_a_second("the upstream's connection", endings.recv().await.unwrap(), ends);
    // Too late: there is nothing left that it could let through.
    caller.send(frame(8, 0, 1, &[0, 16, 0, 0])).await;
    end_of_stream_1(&mut caller).await;
}

// covers T20
#[tokio::test]
async fn nor_past_its_revocation() {
    let (upstream, mut endings) = watched(Duration::ZERO).await;
    let world = World::start(vec![route("/", upstream.address)]);
    let mut caller = ask_with_a_closed_window(&world, &world.token()).await;
    // The answer has begun: its head needs no window.
    let mut read = Vec::new();
    while !read.windows(4).any(|window| window == [1, 4, 0, 0]) {
        read.extend(caller.some().await);
    }
    let revoked = Instant::now();
    deny_token_1(&world.gateway.resource_server(), &world);
    let ended = end_of_stream_1(&mut caller).await;
    assert_within_a_second("the stream", ended, revoked);
    assert_within_a_second("the upstream's connection", endings.recv().await.unwrap(), revoked);
}

/// 401 `invalid_token`, recorded for `reason`.
fn assert_refused(world: &World, response: &Response, reason: &str) {
    assert_eq!(response.status, 401);
    let challenge = response.header("www-authenticate").unwrap();
    assert!(challenge.contains(r#"error="invalid_token""#), "{challenge}");
    assert_eq!(response.json()["error"], "invalid_token");
    let refusal = world.refusal(response);
    assert_eq!(refusal.reason, reason);
    assert_eq!(refusal.client_id.as_deref(), Some("demo-client"));
}

const EXPIRED: &str = "the token expired while its request was running";

fn get(token: &str) -> String {
    format!("GET / HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n\r\n")
}

/// Asserts that a request whose upstream does not answer is refused when its token ends, and leaves nothing behind.
async fn assert_ends_with_its_token(method: &str, request: impl Fn(&str) -> String) {
    let (upstream, mut endings) = watched(60 * SECOND).await;
    let world = World::start(vec![route("/", upstream.address)]);
    let (token, ends) = token_for(&world, 1).await;
    let mut caller = world.connect().await;
    caller.send(request(&token)).await;
    let response = caller.response(method).await;
    assert_within_a_second("the answer", Instant::now(), ends);
    assert_refused(&world, &response, EXPIRED);
    assert_within_a_second("the upstream's connection", endings.recv().await.unwrap(), ends);
}

// covers T1
#[tokio::test]
async fn a_wait_for_an_answer_ends_with_its_token() {
    assert_ends_with_its_token("GET", get).await;
}

// covers T1
#[tokio::test]
async fn an_answer_that_is_complete_a_moment_after_its_token_is_not_delivered() {
    let upstream = late(SECOND + Duration::from_millis(20)).await;
    let world = World::start(vec![route("/", upstream.address)]);
    let (token, ends) = token_for(&world, 1).await;
    let mut caller = world.connect().await;
    caller.send(get(&token)).await;
    let response = caller.response("GET").await;
    assert_within_a_second("the answer", Instant::now(), ends);
    assert_refused(&world, &response, EXPIRED);
}

// covers T1
#[tokio::test]
async fn a_request_that_is_still_being_sent_ends_with_its_token() {
    assert_ends_with_its_token("POST", |token| {
        format!(
            "POST / HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\nContent-Length: 1000\r\n\r\nsome"
        )
    })
    .await;
}

// covers T20
#[tokio::test]
async fn a_wait_for_an_answer_ends_when_its_token_is_revoked() {
    let upstream = late(60 * SECOND).await;
    let world = World::start(vec![route("/", upstream.address)]);
    let mut caller = world.connect().await;
    caller.send(get(&world.token())).await;
    while upstream.connections() == 0 {
        tokio::task::yield_now().await;
    }
    let revoked = Instant::now();
    deny_token_1(&world.gateway.resource_server(), &world);
    let response = caller.response("GET").await;
    assert_within_a_second("the answer", Instant::now(), revoked);
    assert_refused(&world, &response, "the token is denied: the token token-1 was revoked");
}

// covers T1
#[tokio::test]
async fn a_wait_may_be_allowed_to_go_on() {
    let upstream = late(2 * SECOND).await;
    let routes = vec![RouteSettings {
        long_running: LongRunning::UntilClose,
        ..route("/", upstream.address)
    }];
    let world = World::start(routes);
    let (token, _) = token_for(&world, 1).await;
    let mut caller = world.connect().await;
    caller.send(get(&token)).await;
    let response = caller.response("GET").await;
    assert_eq!((response.status, response.text()), (200, "late"));
}

// covers T35
#[tokio::test]
async fn a_token_accepted_within_the_leeway_waits_for_its_answer() {
    let upstream = late(SECOND).await;
    let world = World::start(vec![route("/", upstream.address)]);
    let (token, _) = token_for(&world, -5).await;
    let mut caller = world.connect().await;
    caller.send(get(&token)).await;
    assert_eq!(caller.response("GET").await.status, 200);
}

/// A gateway whose tokens are introspected, and believed for a second.
fn introspecting(upstream: &Upstream) -> (World, Introspection) {
    let routes = vec![route("/", upstream.address)];
    let world = World::start(routes.clone());
    let claims = world.issuer.claims(Some(&world.pki.client));
    let (introspection, resource_server) = Introspection::start(&world.pki, &claims, SECOND);
    let limits = Default::default();
    world
        .gateway
        .reload(&GatewaySettings { routes, limits }, resource_server)
        .unwrap();
    (world, introspection)
}

// covers MTLS-3-2
#[tokio::test]
async fn a_token_without_a_certificate_is_refused_before_its_issuer_is_asked() {
    let upstream = Upstream::start().await;
    let (world, introspection) = introspecting(&upstream);
    for number in 0..20 {
        let mut caller = world.connect_as(None).await;
        let token = format!("made-up-{number}");
        let answer = caller.request("GET", "/", &token, "", b"").await;
        assert_eq!(answer.status, 401);
        assert!(
            answer
                .header("www-authenticate")
                .unwrap()
                .contains(r#"error="invalid_token""#)
        );
        assert_eq!(
            world.refusal(&answer).reason,
            "this route takes only bound tokens, and no client certificate was presented"
        );
    }
    assert_eq!((introspection.questions(), upstream.count()), (0, 0));
    let mut caller = world.connect().await;
    assert_eq!(caller.request("GET", "/", "opaque", "", b"").await.status, 200);
    assert_eq!(introspection.questions(), 1);
}

// covers T20
#[tokio::test]
async fn an_answer_ends_when_its_issuer_says_that_the_token_is_not_active_any_more() {
    let upstream = endless(Some(Duration::from_millis(20))).await;
    let (world, introspection) = introspecting(&upstream);
    let mut callers = Vec::new();
    let started = Instant::now();
    for _ in 0..10 {
        let mut caller = world.connect().await;
        caller.send(get("opaque-token")).await;
        assert!(caller.head().await.unwrap().starts_with("HTTP/1.1 200"));
        callers.push(caller);
    }
    // As long as it is active, what runs goes on; it is asked about once a second, not once a second for each.
    while started.elapsed() < 3 * SECOND {
        assert!(!callers[0].some().await.is_empty());
    }
    let questions = introspection.questions();
    assert!((3..=4).contains(&questions), "{questions} questions");
    introspection.revoke();
    let revoked = Instant::now();
    for mut caller in callers {
        while !caller.some().await.is_empty() {}
    }
    // A second for as long as the last answer is believed, and one more.
    assert!(revoked.elapsed() <= 2 * SECOND, "{:?}", revoked.elapsed());
    assert!(introspection.questions() <= questions + 2);
}

// covers T20
#[tokio::test]
async fn a_wait_ends_when_its_issuer_says_that_the_token_is_not_active_any_more() {
    let upstream = late(60 * SECOND).await;
    let (world, introspection) = introspecting(&upstream);
    let mut caller = world.connect().await;
    caller.send(get("opaque-token")).await;
    while upstream.connections() == 0 {
        tokio::task::yield_now().await;
    }
    introspection.revoke();
    let revoked = Instant::now();
    let response = caller.response("GET").await;
    assert!(revoked.elapsed() <= 2 * SECOND, "{:?}", revoked.elapsed());
    assert_refused(&world, &response, "the issuer says that the token is not active");
}

// covers T1
#[tokio::test]
async fn an_introspected_token_ends_at_its_exp_like_any_other() {
    let upstream = endless(Some(Duration::from_millis(20))).await;
    let routes = vec![route("/", upstream.address)];
    let world = World::start(routes.clone());
    let (_, ends) = token_for(&world, 2).await;
    let mut claims = world.issuer.claims(Some(&world.pki.client));
    claims["exp"] = (Clock::system().now().unix_secs() + 2).into();
    let (_introspection, resource_server) = Introspection::start(&world.pki, &claims, 30 * SECOND);
    let limits = Default::default();
    world
        .gateway
        .reload(&GatewaySettings { routes, limits }, resource_server)
        .unwrap();
    let mut caller = world.connect().await;
    caller.send(get("opaque-token")).await;
    assert!(caller.head().await.unwrap().starts_with("HTTP/1.1 200"));
    assert_ends_at(caller, ends, "introspected").await;
}
