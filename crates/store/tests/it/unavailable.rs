//! A database that is locked, slow or full: no write is acknowledged that is not durable, every verb is answered by its
//! deadline, and nobody has to repair anything afterwards.

use std::time::{Duration, Instant};

use keybound_store::{CreateClient, OpaqueAccessToken, SqliteLimits, StoreError};

use crate::{Directory, NOW, block_on, client, entry, new_client};

fn limits() -> SqliteLimits {
    SqliteLimits {
        lock_wait: Duration::from_millis(50),
        deadline: Duration::from_millis(400),
        ..SqliteLimits::default()
    }
}

#[test]
fn a_locked_database_is_unavailable_until_it_is_not() {
    let directory = Directory::new();
    let store = directory.open_with(limits());
    let other = directory.connect();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    block_on(async {
        let started = Instant::now();
        let error = store
            .clients
            .create_client(new_client("demo"), entry())
            .await
            .unwrap_err();
        assert!(matches!(error, StoreError::Unavailable { .. }), "{error}");
        assert!(error.to_string().contains("lock"), "{error}");
        assert!(started.elapsed() < Duration::from_secs(1));
        assert!(store.upkeep.probe(NOW).await.is_err(), "not ready");
        // Reading goes on meanwhile.
        assert_eq!(store.clients.find_client(&client("demo")).unwrap(), None);
        assert_eq!(store.clients.list_clients(None, 10).await.unwrap().clients, []);
        other.execute_batch("COMMIT").unwrap();
        let created = store.clients.create_client(new_client("demo"), entry()).await.unwrap();
        assert!(matches!(created, CreateClient::Created { .. }));
        store.upkeep.probe(NOW).await.unwrap();
    });
}

#[test]
fn every_verb_is_answered_by_its_deadline_and_none_happens_long_after() {
    let directory = Directory::new();
    let limits = SqliteLimits {
        lock_wait: Duration::from_secs(3),
        batch_max: 1,
        ..limits()
    };
    let store = directory.open_with(limits);
    let other = directory.connect();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let answers: Vec<_> = (0..20)
        .map(|number| {
            store
                .clients
                .create_client(new_client(&format!("client-{number}")), entry())
        })
        .collect();
    block_on(async {
        let started = Instant::now();
        for answer in answers {
            let error = answer.await.unwrap_err();
            assert!(
                matches!(error, StoreError::DeadlineExceeded { limit_ms: 400 }),
                "{error}"
            );
        }
        let elapsed = started.elapsed();
        assert!(elapsed < Duration::from_millis(900), "{elapsed:?}");
        other.execute_batch("COMMIT").unwrap();
        store.upkeep.probe(NOW).await.unwrap();
        // The one that was waiting for the lock may have happened, the others were too late.
        let happened = store.clients.list_clients(None, 100).await.unwrap().clients.len();
        assert!(happened <= 1, "{happened} verbs happened after their deadline");
    });
}

#[test]
fn a_full_queue_refuses_at_once() {
    let directory = Directory::new();
    let store = directory.open_with(SqliteLimits {
        waiting_max: 4,
        batch_max: 1,
        ..limits()
    });
    let other = directory.connect();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let answers: Vec<_> = (0..20)
        .map(|number| {
            store
                .clients
                .create_client(new_client(&format!("client-{number}")), entry())
        })
        .collect();
    block_on(async {
        let mut overloaded = 0;
        for answer in answers {
            let error = answer.await.unwrap_err();
            overloaded += usize::from(matches!(error, StoreError::Overloaded { waiting_max: 4 }));
        }
        assert!((15..=16).contains(&overloaded), "{overloaded}");
    });
}

#[test]
fn a_full_database_acknowledges_nothing_it_does_not_keep_and_goes_on_when_there_is_room() {
    let directory = Directory::new();
    let limits = SqliteLimits {
        size_max_bytes: Some(600 * 1024),
        deadline: Duration::from_secs(5),
        ..limits()
    };
    let store = directory.open_with(limits.clone());
    let token = |number: u32| OpaqueAccessToken {
        token_id: format!("jti-{number}"),
        client_id: client("demo"),
        subject: "x".repeat(1_000),
        scope: String::new(),
        audience: Vec::new(),
        authorization_details: None,
        auth_time: None,
        acr: None,
        thumbprint: None,
        key: None,
        issued_at: NOW,
        expires_at: NOW,
    };
    let hash = |number: u32| keybound_store::AccessTokenHash::of_token(&number.to_string());
    let record = |number| {
        store
            .access_tokens
            .record_opaque_access_token(hash(number), token(number), entry())
    };
    block_on(async {
        let (mut acked, mut refused) = (Vec::new(), Vec::new());
        for number in (0..2_000).step_by(20) {
            let answers: Vec<_> = (number..number + 20).map(|number| (number, record(number))).collect();
            for (number, answer) in answers {
                match answer.await {
                    Ok(_) => acked.push(number),
                    Err(error) => {
                        assert!(matches!(error, StoreError::Unavailable { .. }), "{error}");
                        assert!(error.to_string().contains("full"), "{error}");
                        refused.push(number);
                    }
                }
            }
            if refused.len() > 100 {
                break;
            }
        }
        assert!(
            acked.len() > 50 && refused.len() > 100,
            "{} and {}",
            acked.len(),
            refused.len()
        );
        // Reading goes on, and what was acknowledged is there and nothing else is.
        let found = |number| {
            store
                .access_tokens
                .find_access_token(&hash(number), NOW)
                .unwrap()
                .is_some()
        };
        assert!(acked.iter().all(|number| found(*number)));
        assert!(!refused.iter().any(|number| found(*number)));
        let report = store.audit.verify_chain().await.unwrap();
        assert!(report.is_intact(), "{report:?}");
        assert_eq!(report.records, 1 + acked.len() as u64);
        // What has expired makes room, and writing goes on.
        let later = NOW.plus(Duration::from_secs(61));
        assert!(store.upkeep.remove_expired(later).await.unwrap().rows > 0);
        record(9_999).await.unwrap();
    });
    drop(store);
    let store = directory.open_with(limits);
    assert!(block_on(store.audit.verify_chain()).unwrap().is_intact());
}

#[test]
fn a_store_whose_last_handle_is_dropped_finishes_what_is_queued() {
    let directory = Directory::new();
    let store = directory.open();
    let answers: Vec<_> = (0..500)
        .map(|number| {
            store
                .clients
                .create_client(new_client(&format!("client-{number}")), entry())
        })
        .collect();
    drop(store);
    block_on(async {
        for answer in answers {
            assert!(matches!(answer.await, Ok(CreateClient::Created { .. })));
        }
    });
}
