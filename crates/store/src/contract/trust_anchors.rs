//! What [`TrustAnchors`](crate::TrustAnchors) promise.

use super::{Case, Open, audit_records, cases, entry, t, thumbprint};
use crate::trust_anchors::TRUST_ANCHORS_MAX;
use crate::{
    CreateTrustAnchor, DeleteTrustAnchor, NewTrustAnchor, ReplaceTrustAnchor, Revocation, RevocationSubject, Store,
    StoredTrustAnchor,
};

/// All cases.
pub const CASES: &[Case] = cases![
    anchors_are_listed_by_name_also_after_a_restart,
    an_anchor_is_replaced_only_at_the_version_that_was_read,
    an_anchor_is_deleted_only_at_the_version_that_was_read,
    every_change_raises_the_trust_epoch_and_nothing_else_does,
    there_is_a_limit,
];

async fn create(store: &Store, name: &str) -> u64 {
    match store
        .trust_anchors
        .create_trust_anchor(new(name), entry(0))
        .await
        .unwrap()
    {
        CreateTrustAnchor::Created { epoch } => epoch,
        other => panic!("{name}: {other:?}"),
    }
}

fn new(name: &str) -> NewTrustAnchor {
    NewTrustAnchor {
        name: name.into(),
        definition: format!("{{\"name\":\"{name}\"}}"),
    }
}

async fn delete(store: &Store, name: &str, if_version: Option<u64>) -> DeleteTrustAnchor {
    store
        .trust_anchors
        .delete_trust_anchor(name.into(), if_version, entry(1))
        .await
        .unwrap()
}

async fn anchors_are_listed_by_name_also_after_a_restart(open: &dyn Open) {
    let store = open.open();
    assert_eq!(store.trust_anchors.trust_anchors().await.unwrap(), []);
    let corp = create(&store, "corp").await;
    let backup = create(&store, "backup ü").await;
    let stored = |name: &str, version| StoredTrustAnchor {
        name: name.into(),
        definition: format!("{{\"name\":\"{name}\"}}"),
        version,
        created_at: t(0),
    };
    drop(store);
    let store = open.open();
    assert_eq!(
        store.trust_anchors.trust_anchors().await.unwrap(),
        [stored("backup ü", backup), stored("corp", corp)]
    );
}

async fn an_anchor_is_replaced_only_at_the_version_that_was_read(open: &dyn Open) {
    let store = open.open();
    let changed = || NewTrustAnchor {
        name: "corp".into(),
        definition: "{\"name\":\"corp\",\"changed\":true}".into(),
    };
    let replace = async |if_version| {
        let replaced = store
            .trust_anchors
            .replace_trust_anchor(changed(), if_version, entry(1));
        replaced.await.unwrap()
    };
    let records = audit_records(&store).await;
    assert_eq!(replace(None).await, ReplaceTrustAnchor::Unknown);
    assert_eq!(audit_records(&store).await, records);
    let (version, other) = (create(&store, "corp").await, create(&store, "other").await);
    let (records, epoch) = (audit_records(&store).await, store.trust_anchors.trust_epoch().unwrap());
    let conflict = ReplaceTrustAnchor::VersionConflict { current: version };
    assert_eq!(replace(Some(version + 1)).await, conflict);
    assert_eq!(store.trust_anchors.trust_epoch().unwrap(), epoch);
    assert_eq!(audit_records(&store).await, records);
    let ReplaceTrustAnchor::Replaced { epoch: replaced } = replace(Some(version)).await else {
        panic!("the version was the one on file")
    };
    assert!(replaced > epoch);
    assert_eq!(store.trust_anchors.trust_epoch().unwrap(), replaced);
    assert_eq!(audit_records(&store).await, records + 1);
    // Whoever read the first does not replace the second.
    let conflict = ReplaceTrustAnchor::VersionConflict { current: replaced };
    assert_eq!(replace(Some(version)).await, conflict);
    let stored = |new: NewTrustAnchor, version| StoredTrustAnchor {
        name: new.name,
        definition: new.definition,
        version,
        created_at: t(0),
    };
    assert_eq!(
        open.open().trust_anchors.trust_anchors().await.unwrap(),
        [stored(changed(), replaced), stored(new("other"), other)]
    );
}

async fn an_anchor_is_deleted_only_at_the_version_that_was_read(open: &dyn Open) {
    let store = open.open();
    assert_eq!(delete(&store, "corp", None).await, DeleteTrustAnchor::Unknown);
    let version = create(&store, "corp").await;
    let conflict = DeleteTrustAnchor::VersionConflict { current: version };
    assert_eq!(delete(&store, "corp", Some(version + 1)).await, conflict);
    assert_eq!(store.trust_anchors.trust_anchors().await.unwrap().len(), 1);
    assert!(matches!(
        delete(&store, "corp", Some(version)).await,
        DeleteTrustAnchor::Deleted { .. }
    ));
    assert_eq!(store.trust_anchors.trust_anchors().await.unwrap(), []);
    // Made again, it is another: whoever read the first does not delete the second.
    create(&store, "corp").await;
    assert!(matches!(
        delete(&store, "corp", Some(version)).await,
        DeleteTrustAnchor::VersionConflict { .. }
    ));
}

async fn every_change_raises_the_trust_epoch_and_nothing_else_does(open: &dyn Open) {
    let store = open.open();
    let epoch = |store: &Store| store.trust_anchors.trust_epoch().unwrap();
    let (mut last, mut records) = (epoch(&store), audit_records(&store).await);
    create(&store, "corp").await;
    assert!(epoch(&store) > last);
    assert_eq!(audit_records(&store).await, records + 1);

    (last, records) = (epoch(&store), records + 1);
    let again = store
        .trust_anchors
        .create_trust_anchor(new("corp"), entry(0))
        .await
        .unwrap();
    assert_eq!(again, CreateTrustAnchor::AlreadyExists);
    assert_eq!(delete(&store, "other", None).await, DeleteTrustAnchor::Unknown);
    assert_eq!((epoch(&store), audit_records(&store).await), (last, records));

    let certificate = RevocationSubject::Certificate(thumbprint(1));
    let revoke = |subject| {
        store.revocations.revoke(
            Revocation {
                subject,
                issued_before: None,
                until: t(9),
            },
            entry(0),
        )
    };
    revoke(certificate).await.unwrap();
    assert!(
        epoch(&store) > last,
        "a cached verdict about the certificate would stay"
    );
    last = epoch(&store);
    revoke(RevocationSubject::TokenId("jti".into())).await.unwrap();
    assert_eq!(epoch(&store), last);

    assert!(matches!(delete(&store, "corp", None).await, DeleteTrustAnchor::Deleted { epoch } if epoch > last));
    assert_eq!(epoch(&store), epoch(&open.open()));
}

async fn there_is_a_limit(open: &dyn Open) {
    let store = open.open();
    let answers: Vec<_> = (0..TRUST_ANCHORS_MAX)
        .map(|number| {
            store
                .trust_anchors
                .create_trust_anchor(new(&format!("anchor {number}")), entry(0))
        })
        .collect();
    for answer in answers {
        assert!(matches!(answer.await.unwrap(), CreateTrustAnchor::Created { .. }));
    }
    let one_more = store
        .trust_anchors
        .create_trust_anchor(new("one more"), entry(0))
        .await
        .unwrap();
    assert_eq!(one_more, CreateTrustAnchor::TooMany);
    delete(&store, "anchor 7", None).await;
    create(&store, "one more").await;
    assert_eq!(
        store.trust_anchors.trust_anchors().await.unwrap().len() as u64,
        TRUST_ANCHORS_MAX
    );
}
