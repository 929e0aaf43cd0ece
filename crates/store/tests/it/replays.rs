//! Codes and refresh tokens presented again and again: ten thousand of each, twenty at once.
//!
//! The same with the whole server around it, a tenth as often, is among the authorization server's tests.

use std::time::Duration;

use keybound_protocol::confirmation::CertificateThumbprint;
use keybound_protocol::grant_id::GrantId;
use keybound_protocol::time::Timestamp;
use keybound_protocol::user::{UserName, UserSubject};
use keybound_store::{
    AuditEntry, AuthorizationCode, AuthorizationCodeHash, BrowserSecretHash, CompleteInteraction, CreateUser, Grant,
    GrantState, InteractionHash, InteractionOutcome, NewInteraction, NewRefreshToken, NewUser, PasswordHash,
    RedeemAuthorizationCode, Redemption, RefreshTokenHash, RefreshTokenHolder, RotateRefreshToken, Rotation, SignedIn,
    Store,
};
use tokio::task::JoinSet;

use crate::{Directory, NOW, block_on, client, entry};

const CHAINS: u32 = 10_000;
const AT_ONCE: usize = 20;
/// So many chains are under way at once: fewer verbs than may wait for the writer.
const SIDE_BY_SIDE: u32 = 100;
const WINDOW: Duration = Duration::from_secs(30);

fn later(secs: u64) -> Timestamp {
    NOW.plus(Duration::from_secs(secs))
}

fn at(secs: u64) -> AuditEntry {
    AuditEntry {
        at: later(secs),
        ..entry()
    }
}

fn grant_id(number: u32) -> GrantId {
    let mut octets = [0; 16];
    octets[..4].copy_from_slice(&number.to_be_bytes());
    GrantId::from_random(octets)
}

fn code(number: u32) -> AuthorizationCodeHash {
    AuthorizationCodeHash::of(&format!("code {number}"))
}

fn user() -> UserSubject {
    UserSubject::from_random(&[1; 16])
}

/// The user of every consent, who has to be there.
async fn create_user(store: &Store) {
    let new = NewUser {
        name: UserName::parse("consenting").unwrap(),
        subject: user(),
        password_hash: PasswordHash::from_phc("none"),
        user_code_hash: None,
        claims: "{}".into(),
        is_disabled: false,
    };
    let created = store.users.create_user(new, entry()).await.unwrap();
    assert!(matches!(created, CreateUser::Created { .. }), "{created:?}");
}

/// Has a user consent, which gives a code.
async fn consent(store: Store, number: u32) {
    let signed_in = SignedIn {
        subject: user(),
        auth_time: NOW,
        acr: None,
    };
    let grant = Grant {
        grant_id: grant_id(number),
        client_id: client("demo"),
        subject: signed_in.subject.clone(),
        scope: "read".into(),
        resources: Vec::new(),
        authorization_details: None,
        claims: None,
        auth_time: None,
        acr: None,
        created_at: NOW,
        expires_at: later(86_400),
        based_on: None,
    };
    let code = AuthorizationCode {
        hash: code(number),
        redirect_uri: None,
        code_challenge: None,
        nonce: None,
        dpop_jkt: None,
        terms: None,
        expires_at: later(60),
    };
    let hash = InteractionHash::of(&number.to_string());
    let interaction = NewInteraction {
        hash,
        browser: BrowserSecretHash::of("cookie"),
        client_id: client("demo"),
        request: "{}".into(),
        pushed: None,
        signed_in: Some(signed_in),
        expires_at: later(600),
    };
    store.interactions.begin_interaction(interaction).await.unwrap();
    let granted = InteractionOutcome::Granted {
        grant: Box::new(grant),
        code: Box::new(code),
    };
    let completed = store.interactions.complete_interaction(hash, granted, entry()).await;
    assert_eq!(completed.unwrap(), CompleteInteraction::Completed);
}

fn redemption(number: u32, refresh: Option<NewRefreshToken>) -> Redemption {
    Redemption {
        code: code(number),
        first_token_id: format!("{}.first", grant_id(number)),
        refresh,
        opaque: None,
        tokens_until: later(400),
    }
}

fn holder(number: u8) -> RefreshTokenHolder {
    RefreshTokenHolder::Certificate(CertificateThumbprint::from_bytes([number; 32]))
}

/// A refresh token as its client holds it.
struct Held {
    number: u32,
    generation: u64,
    text: String,
}

impl Held {
    /// The first of the chain of this number.
    async fn first(store: &Store, number: u32) -> Held {
        consent(store.clone(), number).await;
        let text = format!("refresh token {number}");
        let refresh = NewRefreshToken {
            hash: RefreshTokenHash::of(&text),
            holder: holder(1),
            idle_until: later(86_400),
        };
        let redeemed = store
            .authorization_codes
            .redeem_authorization_code(redemption(number, Some(refresh)), entry());
        assert_eq!(redeemed.await.unwrap(), RedeemAuthorizationCode::Redeemed);
        Held {
            number,
            generation: 1,
            text,
        }
    }

    fn successor(&self, store: &Store) -> Held {
        let derived = store
            .refresh_tokens
            .derive_successor(&self.text, &grant_id(self.number), self.generation);
        Held {
            number: self.number,
            generation: self.generation + 1,
            text: derived.unwrap().to_string(),
        }
    }

    fn rotation(&self, store: &Store, presenter: u8) -> Rotation {
        Rotation {
            presented: RefreshTokenHash::of(&self.text),
            presenter: holder(presenter),
            successor: RefreshTokenHash::of(&self.successor(store).text),
            idle_until: later(86_400),
            retry_window: WINDOW,
            opaque: None,
            tokens_until: later(400),
        }
    }

    async fn present(&self, store: &Store, presenter: u8, secs: u64) -> RotateRefreshToken {
        let rotation = self.rotation(store, presenter);
        let rotated = store.refresh_tokens.rotate_refresh_token(rotation, at(secs));
        rotated.await.unwrap()
    }
}

fn is_live(store: &Store, number: u32) -> bool {
    let found = store.grants.find_grant(&grant_id(number)).unwrap().unwrap();
    found.state == GrantState::Live
}

/// Runs every chain on a fresh store, many side by side.
fn run<F: Future<Output = ()> + Send + 'static>(chain: impl Fn(Store, u32) -> F) {
    let directory = Directory::new();
    let store = directory.open();
    block_on(async {
        create_user(&store).await;
        let mut running = JoinSet::new();
        for number in 0..CHAINS {
            if running.len() as u32 >= SIDE_BY_SIDE {
                running.join_next().await.unwrap().unwrap();
            }
            running.spawn(chain(store.clone(), number));
        }
        running.join_all().await;
    });
}

// covers R6749-7, R7, I1
#[test]
fn of_ten_thousand_codes_presented_twenty_times_at_once_each_succeeds_once() {
    run(async |store: Store, number| {
        consent(store.clone(), number).await;
        let answers: Vec<_> = (0..AT_ONCE)
            .map(|_| {
                let codes = &store.authorization_codes;
                codes.redeem_authorization_code(redemption(number, None), at(1))
            })
            .collect();
        let mut redeemed = 0;
        for answer in answers {
            match answer.await.unwrap() {
                RedeemAuthorizationCode::Redeemed => redeemed += 1,
                RedeemAuthorizationCode::AlreadySpent => {}
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(redeemed, 1, "code {number}");
        assert!(!is_live(&store, number), "code {number}");
    });
}

// covers R9700-4, R7
#[test]
fn of_ten_thousand_refresh_tokens_presented_twenty_times_at_once_each_is_replaced_once() {
    run(async |store: Store, number| {
        let held = Held::first(&store, number).await;
        let answers: Vec<_> = (0..AT_ONCE)
            .map(|attempt| {
                // Half of them come from somebody else.
                let presenter = if attempt % 2 == 0 { 1 } else { 2 };
                let rotation = held.rotation(&store, presenter);
                store.refresh_tokens.rotate_refresh_token(rotation, at(1))
            })
            .collect();
        let (mut rotated, mut ended) = (0, 0);
        for (attempt, answer) in answers.into_iter().enumerate() {
            match answer.await.unwrap() {
                RotateRefreshToken::Rotated => rotated += 1,
                RotateRefreshToken::Reused => ended += 1,
                RotateRefreshToken::Repeated => assert_eq!(attempt % 2, 0, "a thief was told the successor"),
                RotateRefreshToken::Refused => {}
                RotateRefreshToken::Unknown => panic!("token {number} is gone"),
            }
        }
        // The first of somebody else's after the replacement ends the family, and there is nothing left to fork.
        assert_eq!((rotated, ended), (1, 1), "token {number}");
        assert!(!is_live(&store, number), "token {number}");
    });
}

// covers R9700-4
#[test]
fn of_ten_thousand_honest_retries_none_is_punished() {
    run(async |store: Store, number| {
        let held = Held::first(&store, number).await;
        assert_eq!(held.present(&store, 1, 1).await, RotateRefreshToken::Rotated);
        // The answer is lost, once or twice.
        for secs in [u64::from(number % 31), 31] {
            assert_eq!(held.present(&store, 1, secs).await, RotateRefreshToken::Repeated);
        }
        let next = held.successor(&store);
        assert_eq!(next.present(&store, 1, 40).await, RotateRefreshToken::Rotated);
        assert!(is_live(&store, number), "chain {number}");
    });
}

// covers R9700-4
#[test]
fn of_ten_thousand_stolen_chains_every_theft_is_noticed() {
    run(async |store: Store, number| {
        let stolen = Held::first(&store, number).await;
        // However far the chain has come since, whoever uses it first, with the client's own key or another.
        let steps = u64::from(number % 4) + 1;
        let mut held = Held {
            number,
            generation: stolen.generation,
            text: stolen.text.clone(),
        };
        for step in 0..steps {
            assert_eq!(held.present(&store, 1, step).await, RotateRefreshToken::Rotated);
            held = held.successor(&store);
        }
        let (presenter, secs) = match (number % 2, steps) {
            (0, _) => (2, steps),
            // By the client's own key only the time tells, if the successor is still unused.
            (_, 1) => (1, 31),
            _ => (1, steps),
        };
        assert!(
            is_live(&store, number),
            "the control: chain {number} is good until then"
        );
        assert_eq!(
            stolen.present(&store, presenter, secs).await,
            RotateRefreshToken::Reused,
            "chain {number}"
        );
        assert!(!is_live(&store, number), "chain {number}");
        assert_eq!(held.present(&store, 1, secs).await, RotateRefreshToken::Refused);
    });
}
