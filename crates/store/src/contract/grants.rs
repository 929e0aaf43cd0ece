//! What [`Grants`](crate::Grants) promise; and how the other cases come by a grant.

use keybound_protocol::grant_id::GrantId;

use super::clients::{create, removal};
use super::users::{self, peopled, subject};
use super::{Case, Open, audit_records, cases, client, entry, t};
use crate::{
    AccessTokenState, AuthorizationCode, AuthorizationCodeHash, BeginInteraction, BrowserSecretHash,
    CompleteInteraction, Grant, GrantOwner, GrantQuery, GrantRevocation, GrantState, InteractionHash,
    InteractionOutcome, NewInteraction, OpaqueAccessToken, Revocation, RevocationSubject, RevokeGrant, SignedIn, Store,
    StoredGrant, TokenMarks,
};

/// All cases.
pub const CASES: &[Case] = cases![
    a_grant_is_found_as_it_was_given_also_after_a_restart,
    nobody_revokes_what_is_anothers,
    a_revoked_grant_takes_every_token_of_it_along_and_no_other,
    deleting_a_client_ends_its_grants_and_not_those_of_its_successor,
    deleting_a_user_ends_the_users_grants,
    after_a_restored_backup_a_grant_is_void,
    listing_pages_through_a_filter_once_in_order,
];

/// The grant of this number: of user 1 to `demo`, for a year.
pub(crate) fn grant(number: u8) -> Grant {
    Grant {
        grant_id: grant_id(number),
        client_id: client("demo"),
        subject: subject(1),
        scope: "openid read".into(),
        resources: vec!["https://localhost:9443".into()],
        authorization_details: Some(r#"[{"type":"payment"}]"#.into()),
        claims: Some(r#"{"userinfo":{}}"#.into()),
        auth_time: Some(t(-30)),
        acr: Some("urn:example:password".into()),
        created_at: t(0),
        expires_at: t(365 * 86_400),
        based_on: None,
    }
}

pub(crate) fn grant_id(number: u8) -> GrantId {
    GrantId::from_random([number; 16])
}

pub(crate) fn code_hash(number: u8) -> AuthorizationCodeHash {
    AuthorizationCodeHash::of(&format!("the code of grant {number}"))
}

/// The code of the grant of this number, good for a minute.
pub(crate) fn code(number: u8) -> AuthorizationCode {
    AuthorizationCode {
        hash: code_hash(number),
        redirect_uri: Some("https://client.example/cb".into()),
        code_challenge: Some("E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM".into()),
        nonce: Some("n-0S6_WzA2Mj".into()),
        dpop_jkt: None,
        terms: Some("{}".into()),
        expires_at: t(60),
    }
}

pub(crate) fn signed_in(number: u8) -> SignedIn {
    SignedIn {
        subject: subject(number),
        auth_time: t(-30),
        acr: Some("urn:example:password".into()),
    }
}

pub(crate) fn interaction(number: u8) -> NewInteraction {
    NewInteraction {
        hash: InteractionHash::of(&format!("interaction {number}")),
        browser: BrowserSecretHash::of("cookie"),
        client_id: client("demo"),
        request: r#"{"scope":"read"}"#.into(),
        pushed: None,
        signed_in: Some(signed_in(1)),
        expires_at: t(600),
    }
}

/// Has a user consent to `grant`, which gives `code`.
pub(crate) async fn consent(store: &Store, number: u8, grant: Grant, code: AuthorizationCode) {
    let begun = NewInteraction {
        client_id: grant.client_id.clone(),
        signed_in: Some(SignedIn {
            subject: grant.subject.clone(),
            ..signed_in(1)
        }),
        ..interaction(number)
    };
    let hash = begun.hash;
    let outcome = store.interactions.begin_interaction(begun).await.unwrap();
    assert_eq!(outcome, BeginInteraction::Begun);
    let granted = InteractionOutcome::Granted {
        grant: Box::new(grant),
        code: Box::new(code),
    };
    let outcome = store
        .interactions
        .complete_interaction(hash, granted, entry(0))
        .await
        .unwrap();
    assert_eq!(outcome, CompleteInteraction::Completed);
}

/// Makes the grant of this number, with its code.
pub(crate) async fn give(store: &Store, number: u8) -> GrantId {
    consent(store, number, grant(number), code(number)).await;
    grant_id(number)
}

/// What has become of a grant.
pub(crate) fn state_of(store: &Store, grant_id: &GrantId) -> GrantState {
    store.grants.find_grant(grant_id).unwrap().unwrap().state
}

/// Whether a JWT with this `jti` is denied.
pub(crate) fn is_denied(store: &Store, token_id: &str) -> bool {
    let demo = client("demo");
    let marks = TokenMarks {
        token_id,
        client_id: &demo,
        thumbprint: None,
        key_id: None,
        issued_at: t(30),
    };
    store.revocations.find_revocation(marks, t(60)).unwrap().is_some()
}

async fn revoke(store: &Store, number: u8, only_of: Option<GrantOwner>) -> RevokeGrant {
    let revocation = GrantRevocation {
        grant_id: grant_id(number),
        only_of,
        tokens_until: t(400),
    };
    store.grants.revoke_grant(revocation, entry(40)).await.unwrap()
}

async fn a_grant_is_found_as_it_was_given_also_after_a_restart(open: &dyn Open) {
    let store = peopled(open).await;
    let records = audit_records(&store).await;
    give(&store, 1).await;
    assert_eq!(audit_records(&store).await, records + 1);
    let bare = Grant {
        scope: String::new(),
        resources: Vec::new(),
        authorization_details: None,
        claims: None,
        auth_time: None,
        acr: None,
        ..grant(2)
    };
    consent(&store, 2, bare.clone(), code(2)).await;
    for store in [store, open.open()] {
        for given in [grant(1), bare.clone()] {
            let expected = StoredGrant {
                grant: given.clone(),
                state: GrantState::Live,
            };
            assert_eq!(store.grants.find_grant(&given.grant_id).unwrap(), Some(expected));
        }
        assert_eq!(store.grants.find_grant(&grant_id(3)).unwrap(), None);
    }
}

async fn nobody_revokes_what_is_anothers(open: &dyn Open) {
    let store = peopled(open).await;
    give(&store, 1).await;
    let records = audit_records(&store).await;
    for other in [
        GrantOwner::Subject(subject(2)),
        GrantOwner::Client(client("other")),
        GrantOwner::Client(client("dem")),
    ] {
        assert_eq!(revoke(&store, 1, Some(other)).await, RevokeGrant::OfAnother);
    }
    assert_eq!(revoke(&store, 2, None).await, RevokeGrant::Unknown);
    assert_eq!(state_of(&store, &grant_id(1)), GrantState::Live);
    assert_eq!(audit_records(&store).await, records);
    assert_eq!(
        revoke(&store, 1, Some(GrantOwner::Subject(subject(1)))).await,
        RevokeGrant::Revoked
    );
}

async fn a_revoked_grant_takes_every_token_of_it_along_and_no_other(open: &dyn Open) {
    let store = peopled(open).await;
    let (first, second) = (give(&store, 1).await, give(&store, 2).await);
    let opaque = |token_id: String| OpaqueAccessToken {
        token_id,
        thumbprint: None,
        key: None,
        ..super::access_tokens::token("")
    };
    let of_first = super::access_tokens::record(&store, opaque(format!("{first}.one"))).await;
    let of_second = super::access_tokens::record(&store, opaque(format!("{second}.one"))).await;
    let of_none = super::access_tokens::record(&store, opaque(first.to_string())).await;
    let denied = |store: &Store| {
        let jwts = [
            format!("{first}.one"),
            format!("{first}.two"),
            format!("{second}.one"),
            first.to_string(),
            format!("{first}x.one"),
            format!(".{first}"),
        ];
        jwts.map(|token_id| is_denied(store, &token_id))
    };
    assert_eq!(denied(&store), [false; 6]);
    let records = audit_records(&store).await;
    assert_eq!(revoke(&store, 1, None).await, RevokeGrant::Revoked);
    assert_eq!(revoke(&store, 1, None).await, RevokeGrant::AlreadyRevoked);
    assert_eq!(audit_records(&store).await, records + 1);
    let expected = Revocation {
        subject: RevocationSubject::Grant(first.clone()),
        issued_before: None,
        until: t(400),
    };
    for store in [store, open.open()] {
        assert_eq!(denied(&store), [true, true, false, false, false, false]);
        let state = |hash| super::access_tokens::state(&store, hash);
        assert_eq!(state(&of_first), AccessTokenState::Revoked);
        assert_eq!(state(&of_second), AccessTokenState::Live);
        assert_eq!(state(&of_none), AccessTokenState::Live);
        assert_eq!(state_of(&store, &first), GrantState::Revoked);
        assert_eq!(state_of(&store, &second), GrantState::Live);
        let page = store.revocations.revocations_after(Default::default(), 10).unwrap();
        assert_eq!(page.entries, std::slice::from_ref(&expected));
    }
}

async fn deleting_a_client_ends_its_grants_and_not_those_of_its_successor(open: &dyn Open) {
    let store = peopled(open).await;
    create(&store, "demo", "{}").await;
    give(&store, 1).await;
    let to_other = Grant {
        client_id: client("other"),
        ..grant(2)
    };
    consent(&store, 2, to_other, code(2)).await;
    store
        .clients
        .delete_client(removal("demo", None), entry(50))
        .await
        .unwrap();
    create(&store, "demo", "{}").await;
    let to_successor = Grant {
        created_at: t(51),
        ..grant(3)
    };
    consent(&store, 3, to_successor, code(3)).await;
    for store in [store, open.open()] {
        let states = [1, 2, 3].map(|number| state_of(&store, &grant_id(number)));
        assert_eq!(states, [GrantState::Revoked, GrantState::Live, GrantState::Live]);
    }
}

async fn deleting_a_user_ends_the_users_grants(open: &dyn Open) {
    let store = peopled(open).await;
    let (of_ada, of_grace) = (give(&store, 1).await, grant_id(2));
    let to_grace = Grant {
        subject: subject(2),
        ..grant(2)
    };
    consent(&store, 2, to_grace, code(2)).await;
    store
        .users
        .delete_user(users::removal("user-1", None), entry(50))
        .await
        .unwrap();
    for store in [store, open.open()] {
        assert_eq!(state_of(&store, &of_ada), GrantState::Revoked);
        assert!(is_denied(&store, &format!("{of_ada}.one")));
        assert_eq!(state_of(&store, &of_grace), GrantState::Live);
        assert!(!is_denied(&store, &format!("{of_grace}.one")));
    }
}

async fn after_a_restored_backup_a_grant_is_void(open: &dyn Open) {
    let store = peopled(open).await;
    let before = give(&store, 1).await;
    store.upkeep.raise_epoch(t(400), entry(20)).await.unwrap();
    let after = give(&store, 2).await;
    assert_eq!(state_of(&store, &before), GrantState::Void);
    assert_eq!(state_of(&store, &after), GrantState::Live);
    // What was withdrawn stays withdrawn, in so many words.
    assert_eq!(revoke(&store, 1, None).await, RevokeGrant::Revoked);
    assert_eq!(state_of(&store, &before), GrantState::Revoked);
}

async fn listing_pages_through_a_filter_once_in_order(open: &dyn Open) {
    let store = peopled(open).await;
    users::create(&store, "user-0", 0).await;
    for number in 1..=9 {
        let given = Grant {
            subject: subject(number % 3),
            client_id: client(if number % 2 == 0 { "even" } else { "odd" }),
            ..grant(number)
        };
        consent(&store, number, given, code(number)).await;
    }
    revoke(&store, 3, None).await;
    for (by_subject, by_client, expected) in [
        (None, None, (1..=9).collect::<Vec<u8>>()),
        (Some(subject(0)), None, vec![3, 6, 9]),
        (None, Some(client("even")), vec![2, 4, 6, 8]),
        (Some(subject(0)), Some(client("odd")), vec![3, 9]),
        (Some(subject(7)), None, vec![]),
    ] {
        let mut query = GrantQuery {
            subject: by_subject,
            client_id: by_client,
            after: None,
            limit: 2,
        };
        let mut listed = Vec::new();
        loop {
            let page = store.grants.list_grants(query.clone()).await.unwrap();
            assert!(page.grants.len() <= 2);
            listed.extend(page.grants.into_iter().map(|found| found.grant.grant_id));
            match page.next {
                Some(next) => query.after = Some(next),
                None => break,
            }
        }
        let expected: Vec<GrantId> = expected.into_iter().map(grant_id).collect();
        assert_eq!(listed, expected, "{query:?}");
    }
}
