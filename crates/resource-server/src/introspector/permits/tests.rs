#![expect(clippy::unwrap_used, reason = "a failing test panics")]

use std::task::Poll;

use super::*;

fn asker(address: &str) -> Asker {
    let address: SocketAddr = address.parse().unwrap();
    Asker {
        prefix: Some(address.ip()),
        connection: Some(address),
    }
}

fn of_connection(prefix: u8, connection: u16) -> Asker {
    asker(&format!("203.0.113.{prefix}:{connection}"))
}

type Acquiring = std::pin::Pin<Box<dyn Future<Output = Result<Permit, TooManyQuestions>>>>;

fn acquiring(permits: &Arc<Permits>, asker: Asker) -> Acquiring {
    let permits = Arc::clone(permits);
    Box::pin(async move { permits.acquire(asker).await })
}

/// What it comes to without waiting.
async fn look(acquiring: &mut Acquiring) -> Option<Result<Permit, TooManyQuestions>> {
    match std::future::poll_fn(|context| Poll::Ready(acquiring.as_mut().poll(context))).await {
        Poll::Ready(result) => Some(result),
        Poll::Pending => None,
    }
}

/// As many permits as are to be had at once by askers, and those who wait.
async fn take_all(permits: &Arc<Permits>, askers: impl Iterator<Item = Asker>) -> (Vec<Permit>, Vec<Acquiring>, usize) {
    let (mut held, mut waiting, mut refused) = (Vec::new(), Vec::new(), 0);
    for asker in askers {
        let mut acquiring = acquiring(permits, asker);
        match look(&mut acquiring).await {
            Some(Ok(permit)) => held.push(permit),
            Some(Err(TooManyQuestions)) => refused += 1,
            None => waiting.push(acquiring),
        }
    }
    (held, waiting, refused)
}

#[tokio::test]
async fn neither_a_prefix_nor_a_connection_gets_more_than_its_share() {
    let permits = Permits::new(256);
    // (connections, held, waiting)
    for (connections, held, waiting) in [(1, 32, 64), (2, 64, 64), (300, 64, 64)] {
        let askers = (0..600).map(|n| of_connection(1, n % connections));
        let (permits_held, waiting_for, refused) = take_all(&permits, askers).await;
        assert_eq!(
            (permits_held.len(), waiting_for.len(), refused),
            (held, waiting, 600 - held - waiting),
            "{connections}"
        );
        // Another has nothing to wait for meanwhile.
        let genuine = asker("192.0.2.1:4000");
        assert!(matches!(look(&mut acquiring(&permits, genuine)).await, Some(Ok(_))));
        drop((permits_held, waiting_for));
        assert_eq!(permits.available(), 256);
    }
}

#[tokio::test]
async fn a_permit_goes_to_who_has_fewest() {
    let permits = Permits::new(256);
    // Strangers of four prefixes take all, and wait for more.
    let askers = (0..2_000).map(|n| of_connection(n as u8 % 4, n % 100));
    let (mut held, mut waiting, _) = take_all(&permits, askers).await;
    assert_eq!((held.len(), permits.available(), waiting.len()), (256, 0, 256));
    // All places in the queue are taken; who has most gives one up, the last to come.
    let genuine = asker("192.0.2.1:4000");
    let mut late = acquiring(&permits, genuine);
    assert!(look(&mut late).await.is_none());
    drop(held.pop());
    let permit = look(&mut late).await.unwrap().unwrap();
    let mut displaced = 0;
    for stranger in &mut waiting {
        match look(stranger).await {
            Some(Err(TooManyQuestions)) => displaced += 1,
            None => {}
            Some(Ok(_)) => panic!("a stranger was served first"),
        }
    }
    assert_eq!(displaced, 1);
    drop(permit);
    assert_eq!(permits.available(), 0);
    drop((held, waiting));
    assert_eq!(permits.available(), 256);
}

#[tokio::test]
async fn nobody_in_particular_has_no_share() {
    let permits = Permits::new(8);
    let (held, waiting, refused) = take_all(&permits, (0..20).map(|_| Asker::UNKNOWN)).await;
    assert_eq!((held.len(), waiting.len(), refused), (8, 8, 4));
}

#[tokio::test]
async fn waiting_ends() {
    let permits = Permits::new(1);
    let held = permits.acquire(Asker::UNKNOWN).await.unwrap();
    let started = std::time::Instant::now();
    assert_eq!(permits.acquire(Asker::UNKNOWN).await.unwrap_err(), TooManyQuestions);
    assert!(started.elapsed() >= INTROSPECTION_WAIT_MAX);
    assert!(permits.lock().waiting.is_empty() && permits.lock().waiting_by_prefix.is_empty());
    drop(held);
    assert_eq!(permits.available(), 1);
}

#[tokio::test]
async fn a_permit_that_nobody_fetched_is_not_lost() {
    let permits = Permits::new(1);
    let held = permits.acquire(Asker::UNKNOWN).await.unwrap();
    let mut first = acquiring(&permits, Asker::UNKNOWN);
    assert!(look(&mut first).await.is_none());
    drop(held);
    // Granted, not looked at, and given up.
    drop(first);
    assert_eq!(permits.available(), 1);
}
