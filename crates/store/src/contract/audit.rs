//! What the [`Audit`](crate::Audit) log promises.

use super::clients::create;
use super::{Case, Open, cases, client, entry, t, thumbprint};
use crate::{
    Actor, AuditEntry, AuditQuery, ClientReplacement, Lane, Revocation, RevocationSubject, SecretChange, Store,
};

/// All cases.
pub const CASES: &[Case] = cases![
    a_record_says_who_did_what_when_and_from_where,
    each_record_names_its_predecessor,
    listing_pages_from_the_newest_and_filters,
    concurrent_changes_form_one_intact_chain,
];

async fn records(store: &Store, query: AuditQuery) -> Vec<(String, String)> {
    let page = store.audit.records(AuditQuery { limit: 500, ..query }).await.unwrap();
    page.records
        .into_iter()
        .map(|record| (record.action, record.subject))
        .collect()
}

async fn a_record_says_who_did_what_when_and_from_where(open: &dyn Open) {
    let store = open.open();
    let full = AuditEntry {
        at: t(5),
        actor: Actor::Administrator(client("admin")),
        remote_address: Some("192.0.2.1".into()),
        thumbprint: Some(thumbprint(3)),
        request_id: Some("r-1".into()),
    };
    let subject = RevocationSubject::Certificate(thumbprint(9));
    let revocation = Revocation {
        subject,
        issued_before: None,
        until: t(400),
    };
    store.revocations.revoke(revocation, full.clone()).await.unwrap();
    drop(store);
    let store = open.open();
    let record = store
        .audit
        .records(AuditQuery {
            limit: 1,
            ..AuditQuery::default()
        })
        .await
        .unwrap()
        .records
        .remove(0);
    assert_eq!(record.entry, full);
    assert_eq!(
        (record.action.as_str(), record.subject),
        ("revocation.added", thumbprint(9).to_string())
    );
    assert_eq!(record.details.as_ref().unwrap()["kind"], "x5t#S256");
    let json = serde_json::to_value(&store.audit.records(AuditQuery::default()).await.unwrap().records[0]).unwrap();
    assert_eq!(json["actor"]["administrator"], "admin");
    assert_eq!(json["x5t#S256"], thumbprint(3).to_string());
    assert_eq!(json["details"]["until"], t(400).unix_secs());
}

async fn each_record_names_its_predecessor(open: &dyn Open) {
    let store = open.open();
    for name in ["a", "b", "c"] {
        create(&store, name, "{}").await;
    }
    store
        .issued_tokens
        .append_issued_tokens(&[], 1, entry(0))
        .await
        .unwrap();
    drop(store);
    let store = open.open();
    create(&store, "d", "{}").await;
    let page = store
        .audit
        .records(AuditQuery {
            limit: 500,
            ..AuditQuery::default()
        })
        .await
        .unwrap();
    let mut changes: Vec<_> = page
        .records
        .iter()
        .filter(|record| record.lane == Lane::Changes)
        .collect();
    changes.reverse();
    assert!(changes.len() >= 4);
    assert_eq!(
        (changes[0].sequence, changes[0].previous_hash.as_str()),
        (1, "0".repeat(64).as_str())
    );
    for pair in changes.windows(2) {
        assert_eq!(pair[1].sequence, pair[0].sequence + 1);
        assert_eq!(pair[1].previous_hash, pair[0].hash);
    }
    let batch = page
        .records
        .iter()
        .find(|record| record.lane == Lane::IssuedTokens)
        .unwrap();
    assert_eq!(
        (batch.sequence, batch.previous_hash.as_str()),
        (1, "0".repeat(64).as_str())
    );
}

async fn listing_pages_from_the_newest_and_filters(open: &dyn Open) {
    let store = open.open();
    for name in ["a", "b", "c"] {
        create(&store, name, "{}").await;
        let replacement = ClientReplacement {
            client_id: client(name),
            metadata: "{}".into(),
            secret: SecretChange::Keep,
            if_version: None,
        };
        store.clients.replace_client(replacement, entry(1)).await.unwrap();
    }
    let by_action = |action: &str| AuditQuery {
        action: Some(action.into()),
        ..AuditQuery::default()
    };
    let rows = |rows: &[(&str, &str)]| -> Vec<(String, String)> {
        rows.iter()
            .map(|(action, subject)| ((*action).to_owned(), (*subject).to_owned()))
            .collect()
    };
    let (created, replaced) = ("client.created", "client.replaced");
    assert_eq!(
        records(&store, by_action(created)).await,
        rows(&[(created, "c"), (created, "b"), (created, "a")])
    );
    assert_eq!(records(&store, by_action("client.")).await.len(), 6);
    assert_eq!(records(&store, by_action("client")).await, []);
    assert_eq!(records(&store, by_action("client_assertion.")).await, []);
    let of_b = AuditQuery {
        subject: Some("b".into()),
        ..AuditQuery::default()
    };
    assert_eq!(records(&store, of_b).await, rows(&[(replaced, "b"), (created, "b")]));
    let both = AuditQuery {
        subject: Some("b".into()),
        ..by_action(created)
    };
    assert_eq!(records(&store, both).await, rows(&[(created, "b")]));

    let everything = records(&store, AuditQuery::default()).await;
    for limit in [0, 1, 2, 3] {
        let (mut listed, mut before) = (Vec::new(), None);
        loop {
            let page = store
                .audit
                .records(AuditQuery {
                    before,
                    limit,
                    ..AuditQuery::default()
                })
                .await
                .unwrap();
            listed.extend(page.records.into_iter().map(|record| (record.action, record.subject)));
            before = page.next;
            if before.is_none() {
                break;
            }
        }
        assert_eq!(listed, everything, "with pages of {limit}");
    }
}

async fn concurrent_changes_form_one_intact_chain(open: &dyn Open) {
    let store = open.open();
    let before = store.audit.verify_chain().await.unwrap();
    let mut tasks = tokio::task::JoinSet::new();
    for task in 0..10 {
        let store = store.clone();
        tasks.spawn(async move {
            for number in 0..20 {
                create(&store, &format!("{task}-{number}"), "{}").await;
            }
        });
    }
    tasks.join_all().await;
    for store in [store, open.open()] {
        let report = store.audit.verify_chain().await.unwrap();
        assert!(report.is_intact(), "{report:?}");
        assert_eq!(report.records, before.records + 200);
    }
}
