//! What [`Clients`](crate::Clients) promise.

use keybound_protocol::client::ClientOrigin;

use super::approval_requests::device;
use super::grants::{code, code_hash, grant, interaction};
use super::pushed_requests::pushed;
use super::users::peopled;
use super::{Case, Open, audit_records, cases, client, entry, t};
use crate::{
    ApprovalDecision, ClientRemoval, ClientReplacement, CompleteInteraction, CreateApprovalRequest, CreateClient,
    DecideApprovalRequest, DeleteClient, GrantState, InteractionOutcome, NewClient, PAGE_MAX, PollApprovalRequest,
    PushedRequest, ReplaceClient, SecretChange, Store, StoredClient,
};

/// All cases.
pub const CASES: &[Case] = cases![
    a_created_client_is_found_also_after_a_restart,
    a_second_client_of_the_same_id_is_refused_and_changes_nothing,
    a_client_is_replaced_only_at_the_version_that_was_read,
    a_client_is_deleted_only_at_the_version_that_was_read,
    a_version_is_never_used_twice,
    ids_and_metadata_come_back_as_they_were_given,
    listing_pages_through_all_clients_once_in_order,
    of_many_creations_of_one_id_exactly_one_succeeds,
    a_client_made_anew_inherits_nothing_that_was_open,
];

/// Stores a client and returns its version.
pub(crate) async fn create(store: &Store, name: &str, metadata: &str) -> u64 {
    match store
        .clients
        .create_client(new(name, metadata), entry(0))
        .await
        .unwrap()
    {
        CreateClient::Created { version } => version,
        CreateClient::AlreadyExists => panic!("{name} exists already"),
    }
}

fn new(name: &str, metadata: &str) -> NewClient {
    NewClient {
        client_id: client(name),
        metadata: metadata.into(),
        origin: ClientOrigin::Administrator,
        secret: None,
    }
}

fn replacement(name: &str, metadata: &str, if_version: Option<u64>) -> ClientReplacement {
    ClientReplacement {
        client_id: client(name),
        metadata: metadata.into(),
        secret: SecretChange::Keep,
        if_version,
    }
}

pub(crate) fn removal(name: &str, if_version: Option<u64>) -> ClientRemoval {
    ClientRemoval {
        client_id: client(name),
        if_version,
        tokens_until: t(400),
    }
}

async fn a_created_client_is_found_also_after_a_restart(open: &dyn Open) {
    let store = open.open();
    assert_eq!(store.clients.find_client(&client("demo")).unwrap(), None);
    let version = create(&store, "demo", r#"{"scope":"read"}"#).await;
    let expected = StoredClient {
        client_id: client("demo"),
        metadata: r#"{"scope":"read"}"#.into(),
        origin: ClientOrigin::Administrator,
        version,
        secret: None,
        created_at: t(0),
        updated_at: t(0),
    };
    assert_eq!(
        store.clients.find_client(&client("demo")).unwrap(),
        Some(expected.clone())
    );
    drop(store);
    let store = open.open();
    assert_eq!(store.clients.find_client(&client("demo")).unwrap(), Some(expected));
    assert_eq!(store.clients.clients_version().unwrap(), version);
    // Another spelling is another client.
    assert_eq!(store.clients.find_client(&client("Demo")).unwrap(), None);
}

async fn a_second_client_of_the_same_id_is_refused_and_changes_nothing(open: &dyn Open) {
    let store = open.open();
    let version = create(&store, "demo", "{}").await;
    let records = audit_records(&store).await;
    let again = store
        .clients
        .create_client(new("demo", r#"{"scope":"all"}"#), entry(1))
        .await
        .unwrap();
    assert_eq!(again, CreateClient::AlreadyExists);
    let found = store.clients.find_client(&client("demo")).unwrap().unwrap();
    assert_eq!((found.metadata.as_str(), found.version), ("{}", version));
    assert_eq!(store.clients.clients_version().unwrap(), version);
    assert_eq!(audit_records(&store).await, records);
}

async fn a_client_is_replaced_only_at_the_version_that_was_read(open: &dyn Open) {
    let store = open.open();
    let clients = &store.clients;
    let unknown = clients
        .replace_client(replacement("demo", "{}", None), entry(1))
        .await
        .unwrap();
    assert_eq!(unknown, ReplaceClient::Unknown);
    let first = create(&store, "demo", "{}").await;
    let records = audit_records(&store).await;
    let stale = clients
        .replace_client(replacement("demo", "[]", Some(first + 1)), entry(1))
        .await
        .unwrap();
    assert_eq!(stale, ReplaceClient::VersionConflict { current: first });
    assert_eq!(clients.find_client(&client("demo")).unwrap().unwrap().metadata, "{}");
    assert_eq!(audit_records(&store).await, records);

    let replaced = clients
        .replace_client(replacement("demo", r#"{"n":1}"#, Some(first)), entry(2))
        .await
        .unwrap();
    let ReplaceClient::Replaced { version: second } = replaced else {
        panic!("{replaced:?}")
    };
    assert!(second > first);
    let found = clients.find_client(&client("demo")).unwrap().unwrap();
    assert_eq!((found.metadata.as_str(), found.version), (r#"{"n":1}"#, second));
    assert_eq!((found.created_at, found.updated_at), (t(0), t(2)));
    assert_eq!(found.origin, ClientOrigin::Administrator);
    // Without a version the caller takes what is there.
    let replaced = clients
        .replace_client(replacement("demo", "{}", None), entry(3))
        .await
        .unwrap();
    assert!(
        matches!(replaced, ReplaceClient::Replaced { version } if version > second),
        "{replaced:?}"
    );
    let stale = clients
        .replace_client(replacement("demo", "{}", Some(second)), entry(4))
        .await
        .unwrap();
    assert!(matches!(stale, ReplaceClient::VersionConflict { .. }), "{stale:?}");
}

async fn a_client_is_deleted_only_at_the_version_that_was_read(open: &dyn Open) {
    let store = open.open();
    let clients = &store.clients;
    assert_eq!(
        clients.delete_client(removal("demo", None), entry(1)).await.unwrap(),
        DeleteClient::Unknown
    );
    let version = create(&store, "demo", "{}").await;
    let records = audit_records(&store).await;
    let stale = clients
        .delete_client(removal("demo", Some(version + 7)), entry(1))
        .await
        .unwrap();
    assert_eq!(stale, DeleteClient::VersionConflict { current: version });
    assert!(clients.find_client(&client("demo")).unwrap().is_some());
    assert_eq!(audit_records(&store).await, records);

    let before = clients.clients_version().unwrap();
    assert_eq!(
        clients
            .delete_client(removal("demo", Some(version)), entry(2))
            .await
            .unwrap(),
        DeleteClient::Deleted
    );
    assert_eq!(clients.find_client(&client("demo")).unwrap(), None);
    assert!(
        clients.clients_version().unwrap() > before,
        "nobody who caches clients would look again"
    );
    assert_eq!(
        clients.delete_client(removal("demo", None), entry(3)).await.unwrap(),
        DeleteClient::Unknown
    );
    drop(store);
    assert_eq!(open.open().clients.find_client(&client("demo")).unwrap(), None);
}

async fn a_version_is_never_used_twice(open: &dyn Open) {
    let store = open.open();
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..3 {
        assert!(seen.insert(create(&store, "demo", "{}").await));
        let replaced = store
            .clients
            .replace_client(replacement("demo", "{}", None), entry(1))
            .await
            .unwrap();
        let ReplaceClient::Replaced { version } = replaced else {
            panic!("{replaced:?}")
        };
        assert!(seen.insert(version));
        assert_eq!(
            store
                .clients
                .delete_client(removal("demo", None), entry(2))
                .await
                .unwrap(),
            DeleteClient::Deleted
        );
    }
}

async fn ids_and_metadata_come_back_as_they_were_given(open: &dyn Open) {
    let store = open.open();
    let names = [
        "'",
        "\"",
        "';DROP/**/TABLE/**/clients;--",
        "%_\\",
        "a/b?c#d",
        "~",
        &"x".repeat(256),
    ];
    let long = format!("{{\"client_name\":\"{}\"}}", "ü".repeat(30_000));
    let metadata = ["{}", "{\"client_name\":\"\\u0000 ' \\\" 日本\"}", &long];
    for (index, name) in names.iter().enumerate() {
        create(&store, name, metadata[index % metadata.len()]).await;
    }
    for (index, name) in names.iter().enumerate() {
        let found = store.clients.find_client(&client(name)).unwrap().unwrap();
        assert_eq!(
            (found.client_id.as_str(), found.metadata.as_str()),
            (*name, metadata[index % metadata.len()])
        );
    }
}

async fn listing_pages_through_all_clients_once_in_order(open: &dyn Open) {
    let store = open.open();
    let clients = &store.clients;
    assert_eq!(clients.list_clients(None, 10).await.unwrap().clients, []);
    let mut names: Vec<String> = (0..23).map(|number| format!("client-{number:02}")).collect();
    names.extend(["A", "B", "a", "~", "!"].map(String::from));
    let created: Vec<_> = names
        .iter()
        .map(|name| clients.create_client(new(name, "{}"), entry(0)))
        .collect();
    for answer in created {
        assert!(matches!(answer.await.unwrap(), CreateClient::Created { .. }));
    }
    names.sort();
    for limit in [0, 1, 5, 27, 28, 29, PAGE_MAX, u16::MAX] {
        let (mut listed, mut after) = (Vec::new(), None);
        loop {
            let page = clients.list_clients(after, limit).await.unwrap();
            assert!(page.clients.len() <= usize::from(limit.clamp(1, PAGE_MAX)));
            listed.extend(page.clients.iter().map(|client| client.client_id.as_str().to_owned()));
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        assert_eq!(listed, names, "with pages of {limit}");
    }
}

async fn of_many_creations_of_one_id_exactly_one_succeeds(open: &dyn Open) {
    let store = open.open();
    let answers: Vec<_> = (0..50)
        .map(|number| {
            store
                .clients
                .create_client(new("demo", &format!("{{\"n\":{number}}}")), entry(0))
        })
        .collect();
    let mut created = 0;
    for answer in answers {
        created += usize::from(matches!(answer.await.unwrap(), CreateClient::Created { .. }));
    }
    assert_eq!(created, 1);
}

async fn a_client_made_anew_inherits_nothing_that_was_open(open: &dyn Open) {
    let store = peopled(open).await;
    for name in ["demo", "other"] {
        create(&store, name, "{}").await;
    }
    let of_other = PushedRequest {
        client_id: client("other"),
        ..pushed(2)
    };
    for pushed in [pushed(1), of_other.clone()] {
        store.pushed_requests.push_request(pushed).await.unwrap();
    }
    for number in [1, 2] {
        store.interactions.begin_interaction(interaction(number)).await.unwrap();
        let created = store
            .approval_requests
            .create_approval_request(device(number), 20, entry(0));
        assert_eq!(created.await.unwrap(), CreateApprovalRequest::Created);
    }
    let outcome = InteractionOutcome::Granted {
        grant: Box::new(grant(1)),
        code: Box::new(code(1)),
    };
    let completed = store
        .interactions
        .complete_interaction(interaction(1).hash, outcome, entry(1));
    assert_eq!(completed.await.unwrap(), CompleteInteraction::Completed);
    let approved = ApprovalDecision::Approved(Box::new(grant(2)));
    let decided = store
        .approval_requests
        .decide_approval_request(device(1).hash, approved, entry(1));
    assert_eq!(decided.await.unwrap(), DecideApprovalRequest::Decided);
    let removed = store.clients.delete_client(removal("demo", None), entry(2)).await;
    assert_eq!(removed.unwrap(), DeleteClient::Deleted);
    create(&store, "demo", "{}").await;
    for store in [&store, &open.open()] {
        let found = |pushed: &PushedRequest| store.pushed_requests.find_pushed_request(&pushed.hash).unwrap();
        assert_eq!(found(&pushed(1)), None);
        assert!(found(&of_other).is_some(), "that of another client stays");
        for number in [1, 2] {
            let hash = interaction(number).hash;
            assert_eq!(store.interactions.find_interaction(&hash).unwrap(), None);
            let hash = device(number).hash;
            assert_eq!(store.approval_requests.find_approval_request(&hash).unwrap(), None);
            let polled = store
                .approval_requests
                .poll_approval_request(hash, client("demo"), t(3));
            assert_eq!(polled.await.unwrap(), PollApprovalRequest::Unknown);
        }
        let found = store
            .authorization_codes
            .find_authorization_code(&code_hash(1))
            .unwrap();
        assert_ne!(found.unwrap().grant.state, GrantState::Live);
    }
}
