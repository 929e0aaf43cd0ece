//! What [`Revocations`](crate::Revocations) promise.

use keybound_protocol::time::Timestamp;

use super::{Case, Open, audit_records, cases, client, entry, t, thumbprint};
use crate::{Revocation, RevocationCursor, RevocationSubject, Store, TokenMarks};

/// All cases.
pub const CASES: &[Case] = cases![
    every_kind_denies_what_it_names_and_nothing_else,
    a_follower_gets_every_entry_once_in_order,
    a_cursor_survives_a_restart_and_its_text,
    a_cursor_of_another_epoch_starts_again,
    a_change_wakes_whoever_watches,
];

fn revocation(subject: RevocationSubject, issued_before: Option<Timestamp>) -> Revocation {
    Revocation {
        subject,
        issued_before,
        until: t(400),
    }
}

async fn revoke(store: &Store, subject: RevocationSubject, issued_before: Option<Timestamp>) -> RevocationCursor {
    store
        .revocations
        .revoke(revocation(subject, issued_before), entry(0))
        .await
        .unwrap()
}

async fn every_kind_denies_what_it_names_and_nothing_else(open: &dyn Open) {
    let store = open.open();
    let (demo, other) = (client("demo"), client("other"));
    let (one, two) = (thumbprint(1), thumbprint(2));
    let token = TokenMarks {
        token_id: "jti-1",
        client_id: &demo,
        thumbprint: Some(&one),
        key_id: Some("key-1"),
        issued_at: t(10),
    };
    let find = |token| store.revocations.find_revocation(token, t(60)).unwrap();
    let subjects = [
        RevocationSubject::TokenId("jti-1".into()),
        RevocationSubject::Client(demo.clone()),
        RevocationSubject::Certificate(one),
        RevocationSubject::SigningKey("key-1".into()),
    ];
    let apart = TokenMarks {
        token_id: "jti-2",
        client_id: &other,
        thumbprint: Some(&two),
        key_id: Some("key-2"),
        issued_at: t(10),
    };
    // What one kind names is nothing to another.
    let crossed = TokenMarks {
        token_id: "key-1",
        key_id: Some("jti-1"),
        ..apart
    };
    for (index, subject) in subjects.into_iter().enumerate() {
        let mut same = apart;
        match index {
            0 => same.token_id = token.token_id,
            1 => same.client_id = token.client_id,
            2 => same.thumbprint = token.thumbprint,
            _ => same.key_id = token.key_id,
        }
        assert_eq!(find(same), None);
        // Strictly before.
        revoke(&store, subject.clone(), Some(t(10))).await;
        assert_eq!(find(same), None);
        revoke(&store, subject.clone(), Some(t(11))).await;
        assert_eq!(find(same), Some(revocation(subject.clone(), Some(t(11)))));
        assert_eq!(
            find(TokenMarks {
                issued_at: t(11),
                ..same
            }),
            None
        );
        revoke(&store, subject.clone(), None).await;
        assert!(
            find(TokenMarks {
                issued_at: t(300),
                ..same
            })
            .is_some()
        );
        assert_eq!(find(apart), None);
        assert_eq!(find(crossed), None);
        assert!(find(token).is_some());
    }
    let bare = TokenMarks {
        thumbprint: None,
        key_id: None,
        ..apart
    };
    assert_eq!(find(bare), None);
    assert!(store.revocations.find_revocation(token, t(400)).unwrap().is_some());
    assert_eq!(store.revocations.find_revocation(token, t(401)).unwrap(), None);
}

async fn a_follower_gets_every_entry_once_in_order(open: &dyn Open) {
    let store = open.open();
    let empty = store
        .revocations
        .revocations_after(RevocationCursor::default(), 10)
        .unwrap();
    assert_eq!((empty.entries.len(), empty.more), (0, false));
    let records = audit_records(&store).await;
    let subject = |number| RevocationSubject::TokenId(format!("jti-{number:03}"));
    let answers: Vec<_> = (0..100)
        .map(|number| store.revocations.revoke(revocation(subject(number), None), entry(0)))
        .collect();
    let (mut followed, mut cursor) = (Vec::new(), empty.cursor);
    // The follower reads while the writer writes.
    let mut read = |limit| {
        let page = store.revocations.revocations_after(cursor, limit).unwrap();
        followed.extend(page.entries.into_iter().map(|entry| entry.subject));
        cursor = page.cursor;
        page.more
    };
    for answer in answers {
        answer.await.unwrap();
        read(7);
    }
    while read(7) {}
    assert_eq!(followed, (0..100).map(subject).collect::<Vec<_>>());
    assert_eq!(audit_records(&store).await, records + 100);
}

async fn a_cursor_survives_a_restart_and_its_text(open: &dyn Open) {
    let store = open.open();
    let first = revoke(&store, RevocationSubject::TokenId("one".into()), None).await;
    revoke(&store, RevocationSubject::TokenId("two".into()), None).await;
    drop(store);
    let store = open.open();
    let first: RevocationCursor = first.to_string().parse().unwrap();
    let page = store.revocations.revocations_after(first, 10).unwrap();
    assert_eq!(
        page.entries,
        [revocation(RevocationSubject::TokenId("two".into()), None)]
    );
    assert_eq!(*store.revocations.watch_revocations().borrow(), page.cursor);
    for bad in [
        "",
        "-",
        "1",
        "1-",
        "-1",
        "a-b",
        "+1-1",
        "1-1-1",
        "1-99999999999999999999",
        " 1-1",
        "1-1\n",
    ] {
        assert!(bad.parse::<RevocationCursor>().is_err(), "{bad:?}");
    }
}

async fn a_cursor_of_another_epoch_starts_again(open: &dyn Open) {
    let store = open.open();
    let before = revoke(&store, RevocationSubject::TokenId("one".into()), None).await;
    store.upkeep.raise_epoch(t(400), entry(1)).await.unwrap();
    let page = store.revocations.revocations_after(before, 10).unwrap();
    assert_eq!(
        page.entries,
        [revocation(RevocationSubject::TokenId("one".into()), None)]
    );
    let again = store.revocations.revocations_after(page.cursor, 10).unwrap();
    assert_eq!(again.entries, []);
}

async fn a_change_wakes_whoever_watches(open: &dyn Open) {
    let store = open.open();
    let mut watch = store.revocations.watch_revocations();
    assert!(!watch.has_changed().unwrap());
    let cursor = revoke(&store, RevocationSubject::Client(client("demo")), None).await;
    watch.changed().await.unwrap();
    assert_eq!(*watch.borrow_and_update(), cursor);
    // What it wakes for can be read at once.
    assert_eq!(
        store
            .revocations
            .revocations_after(RevocationCursor::default(), 10)
            .unwrap()
            .cursor,
        cursor
    );
}
