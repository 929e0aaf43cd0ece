//! What [`Registrations`](crate::Registrations) promise.

use keybound_protocol::client::ClientOrigin;
use keybound_protocol::secret::SecretHash;

use super::clients::removal;
use super::{Case, Open, audit_records, cases, client, t};
use crate::{
    Actor, AuditEntry, AuditQuery, ClientReplacement, ClientSecretReplacement, DeleteClient, NewClient,
    NewRegistration, RegisterClient, RegistrationQuota, RegistrationQuotas, RegistrationReplacement, ReplaceClient,
    SecretChange, Store,
};

/// All cases.
pub const CASES: &[Case] = cases![
    a_registration_is_found_with_its_client_also_after_a_restart,
    clients_of_another_origin_have_no_registration,
    a_registration_is_replaced_whole_at_the_version_that_was_read,
    a_secret_is_kept_set_or_removed_with_the_metadata,
    each_quota_refuses_one_more_and_nothing_is_stored,
    deleting_a_client_ends_its_registration_and_makes_room_for_another,
    of_ten_thousand_registrations_at_once_as_many_succeed_as_the_quota_says,
];

const LOTS: RegistrationQuotas = RegistrationQuotas {
    clients_max: u64::MAX,
    clients_of_policy_max: u64::MAX,
    per_address_and_hour_max: u64::MAX,
};

fn entry(secs: i64) -> AuditEntry {
    AuditEntry::new(t(secs), Actor::Registrant("partners".into()))
}

fn new(name: &str) -> NewRegistration {
    NewRegistration {
        client: NewClient {
            client_id: client(name),
            metadata: "{}".into(),
            origin: ClientOrigin::Registration,
            secret: None,
        },
        token: SecretHash::of(name),
        policy: "partners".into(),
        software_statement: Some("a.b.c".into()),
        address: "192.0.2.1".into(),
        quotas: LOTS,
    }
}

async fn register(store: &Store, registration: NewRegistration) -> RegisterClient {
    let answer = store.registrations.register_client(registration, entry(0));
    answer.await.unwrap()
}

fn replacement(name: &str, metadata: &str, if_version: Option<u64>) -> ClientReplacement {
    ClientReplacement {
        client_id: client(name),
        metadata: metadata.into(),
        secret: SecretChange::Keep,
        if_version,
    }
}

async fn a_registration_is_found_with_its_client_also_after_a_restart(open: &dyn Open) {
    let store = open.open();
    assert_eq!(store.registrations.find_registration(&client("a")).unwrap(), None);
    let registered = register(&store, new("a")).await;
    let RegisterClient::Registered { version } = registered else {
        panic!("{registered:?}")
    };
    assert_eq!(register(&store, new("a")).await, RegisterClient::AlreadyExists);
    let query = AuditQuery {
        action: Some("client.registered".into()),
        limit: 10,
        ..AuditQuery::default()
    };
    let records = store.audit.records(query).await.unwrap().records;
    assert_eq!(records.len(), 1);
    assert_eq!(records[0].entry.actor, Actor::Registrant("partners".into()));
    drop(store);
    let store = open.open();
    let found = store.registrations.find_registration(&client("a")).unwrap().unwrap();
    assert_eq!(found.token, SecretHash::of("a"));
    assert_eq!(found.policy, "partners");
    assert_eq!(found.software_statement.as_deref(), Some("a.b.c"));
    assert_eq!(
        (found.client.origin, found.client.version),
        (ClientOrigin::Registration, version)
    );
    assert_eq!(store.clients.find_client(&client("a")).unwrap(), Some(found.client));
}

async fn clients_of_another_origin_have_no_registration(open: &dyn Open) {
    let store = open.open();
    super::clients::create(&store, "made", "{}").await;
    assert_eq!(store.registrations.find_registration(&client("made")).unwrap(), None);
    let records = audit_records(&store).await;
    let change = RegistrationReplacement {
        client: replacement("made", "[]", None),
        software_statement: None,
    };
    let answer = store.registrations.replace_registered_client(change, entry(1)).await;
    assert_eq!(answer.unwrap(), ReplaceClient::Unknown);
    assert_eq!(
        store.clients.find_client(&client("made")).unwrap().unwrap().metadata,
        "{}"
    );
    assert_eq!(register(&store, new("made")).await, RegisterClient::AlreadyExists);
    assert_eq!(audit_records(&store).await, records);
}

async fn a_registration_is_replaced_whole_at_the_version_that_was_read(open: &dyn Open) {
    let store = open.open();
    let RegisterClient::Registered { version } = register(&store, new("a")).await else {
        panic!("not registered")
    };
    let change = |if_version| RegistrationReplacement {
        client: replacement("a", r#"{"n":2}"#, if_version),
        software_statement: None,
    };
    let replace = async |change| {
        let answer = store.registrations.replace_registered_client(change, entry(2));
        answer.await.unwrap()
    };
    assert_eq!(
        replace(change(Some(version + 1))).await,
        ReplaceClient::VersionConflict { current: version }
    );
    let found = || store.registrations.find_registration(&client("a")).unwrap().unwrap();
    assert_eq!(found().software_statement.as_deref(), Some("a.b.c"), "a refused change");
    assert!(matches!(
        replace(change(Some(version))).await,
        ReplaceClient::Replaced { .. }
    ));
    assert_eq!(
        (found().client.metadata.as_str(), found().software_statement),
        (r#"{"n":2}"#, None)
    );
    assert_eq!(found().token, SecretHash::of("a"), "the token is never another one");
}

async fn a_secret_is_kept_set_or_removed_with_the_metadata(open: &dyn Open) {
    let store = open.open();
    let (one, other) = (SecretHash::of("one"), SecretHash::of("other"));
    let with_secret = NewClient {
        secret: Some(one),
        ..new("a").client
    };
    store.clients.create_client(with_secret, entry(0)).await.unwrap();
    let secret = || store.clients.find_client(&client("a")).unwrap().unwrap().secret;
    assert_eq!(secret(), Some(one));
    for (change, expected) in [
        (SecretChange::Keep, Some(one)),
        (SecretChange::Set(other), Some(other)),
        (SecretChange::Remove, None),
        (SecretChange::Keep, None),
    ] {
        let change = ClientReplacement {
            secret: change,
            ..replacement("a", "{}", None)
        };
        store.clients.replace_client(change, entry(1)).await.unwrap();
        assert_eq!(secret(), expected);
    }
    let rotate = async |name: &str, if_version| {
        let rotation = ClientSecretReplacement {
            client_id: client(name),
            secret: one,
            if_version,
        };
        store.clients.replace_client_secret(rotation, entry(2)).await.unwrap()
    };
    assert_eq!(rotate("b", None).await, ReplaceClient::Unknown);
    let version = store.clients.find_client(&client("a")).unwrap().unwrap().version;
    let conflict = ReplaceClient::VersionConflict { current: version };
    assert_eq!(rotate("a", Some(version + 1)).await, conflict);
    assert_eq!(secret(), None);
    let rotated = rotate("a", Some(version)).await;
    assert!(matches!(rotated, ReplaceClient::Replaced { version: newer } if newer > version));
    assert_eq!(secret(), Some(one));
}

async fn each_quota_refuses_one_more_and_nothing_is_stored(open: &dyn Open) {
    let store = open.open();
    for name in ["a", "b"] {
        assert!(matches!(
            register(&store, new(name)).await,
            RegisterClient::Registered { .. }
        ));
    }
    let (records, version) = (audit_records(&store).await, store.clients.clients_version().unwrap());
    for (quotas, quota) in [
        (
            RegistrationQuotas { clients_max: 2, ..LOTS },
            RegistrationQuota::Clients,
        ),
        (
            RegistrationQuotas {
                clients_of_policy_max: 2,
                ..LOTS
            },
            RegistrationQuota::ClientsOfPolicy,
        ),
        (
            RegistrationQuotas {
                per_address_and_hour_max: 2,
                ..LOTS
            },
            RegistrationQuota::PerAddressAndHour,
        ),
    ] {
        let registration = NewRegistration { quotas, ..new("c") };
        assert_eq!(register(&store, registration).await, RegisterClient::TooMany(quota));
    }
    assert_eq!(store.clients.find_client(&client("c")).unwrap(), None);
    assert_eq!(audit_records(&store).await, records);
    assert_eq!(store.clients.clients_version().unwrap(), version);
    // Another policy, another address and another hour each have a count of their own.
    let quotas = RegistrationQuotas {
        clients_of_policy_max: 1,
        per_address_and_hour_max: 1,
        ..LOTS
    };
    let elsewhere = NewRegistration {
        policy: "others".into(),
        address: "192.0.2.2".into(),
        quotas,
        ..new("d")
    };
    assert!(matches!(
        register(&store, elsewhere).await,
        RegisterClient::Registered { .. }
    ));
    let later = NewRegistration {
        quotas: RegistrationQuotas {
            per_address_and_hour_max: 1,
            ..LOTS
        },
        ..new("e")
    };
    let answer = store.registrations.register_client(later, entry(3600));
    assert!(matches!(answer.await.unwrap(), RegisterClient::Registered { .. }));
}

async fn deleting_a_client_ends_its_registration_and_makes_room_for_another(open: &dyn Open) {
    let store = open.open();
    let one = RegistrationQuotas {
        clients_max: 1,
        clients_of_policy_max: 1,
        ..LOTS
    };
    let registration = |name: &str| NewRegistration {
        quotas: one,
        ..new(name)
    };
    for round in 0..3 {
        let name = format!("client-{round}");
        let registered = register(&store, registration(&name)).await;
        assert!(matches!(registered, RegisterClient::Registered { .. }), "{round}");
        assert!(matches!(
            register(&store, registration("more")).await,
            RegisterClient::TooMany(_)
        ));
        let deleted = store.clients.delete_client(removal(&name, None), entry(1)).await;
        assert_eq!(deleted.unwrap(), DeleteClient::Deleted);
        assert_eq!(store.registrations.find_registration(&client(&name)).unwrap(), None);
        let again = store.clients.delete_client(removal(&name, None), entry(1)).await;
        assert_eq!(again.unwrap(), DeleteClient::Unknown, "and no room for two");
    }
}

async fn of_ten_thousand_registrations_at_once_as_many_succeed_as_the_quota_says(open: &dyn Open) {
    let store = open.open();
    let quotas = RegistrationQuotas {
        clients_of_policy_max: 1_000,
        ..LOTS
    };
    let mut registered = 0;
    // As many at once as the writer's queue takes.
    for block in 0..100 {
        let answers: Vec<_> = (0..100)
            .map(|number| {
                let registration = NewRegistration {
                    quotas,
                    ..new(&format!("client-{block}-{number}"))
                };
                store.registrations.register_client(registration, entry(0))
            })
            .collect();
        for answer in answers {
            match answer.await.unwrap() {
                RegisterClient::Registered { .. } => registered += 1,
                RegisterClient::TooMany(quota) => assert_eq!(quota, RegistrationQuota::ClientsOfPolicy),
                RegisterClient::AlreadyExists => panic!("every name is another"),
            }
        }
    }
    assert_eq!(registered, 1_000);
    assert_eq!(store.clients.clients_version().unwrap(), 1_000);
}
