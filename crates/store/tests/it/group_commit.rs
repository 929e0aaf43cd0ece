//! Many verbs share one transaction, and one that fails spoils no other.

use keybound_store::{ClientRemoval, CreateClient, SqliteLimits};

use crate::{Directory, NOW, block_on, client, entry, new_client};

/// How many transactions `verbs` verbs took that were under way together.
fn commits(limits: SqliteLimits, verbs: usize) -> u64 {
    let directory = Directory::new();
    let store = directory.open_with(limits);
    // While somebody else holds the lock the first verb waits, and the others gather behind it.
    let other = directory.connect();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let answers: Vec<_> = (0..verbs)
        .map(|number| {
            store
                .clients
                .create_client(new_client(&format!("client-{number}")), entry())
        })
        .collect();
    std::thread::sleep(std::time::Duration::from_millis(50));
    other.execute_batch("COMMIT").unwrap();
    block_on(async {
        for answer in answers {
            assert!(matches!(answer.await, Ok(CreateClient::Created { .. })));
        }
    });
    let counts = store.upkeep.write_counts();
    assert_eq!((counts.verbs, counts.failures), (verbs as u64, 0));
    counts.commits
}

#[test]
fn verbs_that_wait_together_are_committed_together() {
    let commits = commits(SqliteLimits::default(), 1_000);
    // The first alone, then 256 at a time.
    assert!(commits <= 5, "{commits} commits for 1,000 verbs");
}

// The positive control: without grouping each pays for itself.
#[test]
fn without_batches_every_verb_is_a_commit() {
    assert_eq!(
        commits(
            SqliteLimits {
                batch_max: 1,
                ..SqliteLimits::default()
            },
            100
        ),
        100
    );
}

#[test]
fn one_verb_at_a_time_is_one_commit_each_and_none_for_what_changes_nothing() {
    let directory = Directory::new();
    let store = directory.open();
    block_on(async {
        for number in 0..10 {
            store
                .clients
                .create_client(new_client(&format!("client-{number}")), entry())
                .await
                .unwrap();
        }
        assert_eq!(store.upkeep.write_counts().commits, 10);
    });
}

#[test]
fn a_verb_that_fails_is_rolled_back_alone_and_its_batch_is_committed() {
    let directory = Directory::new();
    let store = directory.open();
    let name = |number: u64| {
        if number.is_multiple_of(3) {
            format!("bad-{number}")
        } else {
            format!("good-{number}")
        }
    };
    let create = |number| store.clients.create_client(new_client(&name(number)), entry());
    let created: Vec<_> = (0..30).map(create).collect();
    block_on(async {
        for answer in created {
            answer.await.unwrap();
        }
    });
    // Deleting fails for some of them in its last step, when all the others are done: the row, a version, an audit
    // record.
    let other = directory.connect();
    other
        .execute_batch(
            "CREATE TRIGGER fails BEFORE INSERT ON revocations WHEN NEW.name LIKE 'bad-%'
             BEGIN SELECT raise(ABORT, 'no'); END",
        )
        .unwrap();
    let before = (store.clients.clients_version().unwrap(), store.upkeep.write_counts());
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let delete = |number| {
        let removal = ClientRemoval {
            client_id: client(&name(number)),
            if_version: None,
            tokens_until: NOW,
        };
        store.clients.delete_client(removal, entry())
    };
    let answers: Vec<_> = (0..30).map(delete).collect();
    other.execute_batch("COMMIT").unwrap();
    block_on(async {
        for (number, answer) in (0_u64..).zip(answers) {
            assert_eq!(answer.await.is_err(), number.is_multiple_of(3), "verb {number}");
        }
        let left = store.clients.list_clients(None, 100).await.unwrap().clients;
        assert_eq!(left.len(), 10);
        assert!(left.iter().all(|client| client.client_id.as_str().starts_with("bad-")));
        // Nothing is left of the failed ones: no version, no audit record, no hole in the chain.
        assert_eq!(store.clients.clients_version().unwrap(), before.0 + 20);
        let report = store.audit.verify_chain().await.unwrap();
        assert!(report.is_intact(), "{report:?}");
        assert_eq!(report.records, 1 + 30 + 20);
    });
    let counts = store.upkeep.write_counts();
    assert_eq!(counts.failures, 10);
    assert!(counts.commits - before.1.commits < 10, "they were not in one batch");
}
