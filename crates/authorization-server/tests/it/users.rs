//! Signing in: what whoever guesses is told, and how long it takes.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use aws_lc_rs::rand::SystemRandom;
use keybound_authorization_server::users::{REFUSED, SignInAttempt, SignInRefusal, SignedIn};
use keybound_authorization_server::{Limits, Password};
use keybound_protocol::client::ClientId;
use keybound_protocol::time::Timestamp;
use serde_json::json;

use crate::admin::Administration;
use crate::pki::{Authority, dns};
use crate::world::{Plan, World, tls_client};

const HOME: [u8; 4] = [192, 0, 2, 1];
const RIGHT: &str = "correct horse";
/// Long enough for a comparison on a machine that is busy.
const INTERVAL: Duration = Duration::from_millis(400);

fn limits() -> Limits {
    Limits {
        failed_sign_ins_max: 3,
        sign_in_answer_interval: INTERVAL,
        ..Limits::default()
    }
}

/// A server with the users ada, and eve, who is disabled.
async fn directory(limits: Limits) -> Administration {
    let it = Administration::of(|plan| plan.settings.limits = limits).await;
    for (name, disabled) in [("ada", false), ("eve", true)] {
        let user = json!({"name": name, "password": RIGHT, "disabled": disabled});
        let reply = it.call(http::Method::POST, "/users", &[], Some(user)).await;
        assert_eq!(reply.status, 201, "{reply:?}");
    }
    it
}

async fn sign_in_from(world: &World, name: &str, password: &str, from: [u8; 4]) -> Result<SignedIn, SignInRefusal> {
    let attempt = SignInAttempt {
        name,
        password: Password::new(password.to_owned()),
        remote_address: IpAddr::from(from),
        now: Timestamp::from_unix_secs(world.clock.now()),
    };
    world.server.users().authenticate(attempt).await
}

async fn sign_in(world: &World, name: &str, password: &str) -> Result<SignedIn, SignInRefusal> {
    sign_in_from(world, name, password, HOME).await
}

// covers R9068-3
#[tokio::test]
async fn whoever_signs_in_is_called_what_no_client_can_be() {
    let it = directory(limits()).await;
    let signed_in = sign_in(&it.world, "Ada", RIGHT).await.unwrap();
    let subject = signed_in.subject();
    assert_eq!(signed_in.auth_time().unix_secs(), it.world.clock.now());
    assert_eq!(it.get("/users/ada").await.json()["sub"], json!(subject.as_str()));
    assert_eq!(
        it.world.server.users().find(subject).unwrap().unwrap().name.as_str(),
        "ada"
    );
    assert!(ClientId::parse(subject.as_str()).is_err());
    let taken = crate::world::with(tls_client("x.example"), json!({"client_id": subject.as_str()}));
    let reply = it.call(http::Method::POST, "/clients", &[], Some(taken)).await;
    assert_eq!(reply.status, 400, "{reply:?}");
}

#[tokio::test]
async fn wrong_unknown_disabled_and_locked_out_are_one_answer_at_one_time() {
    let it = directory(limits()).await;
    let world = &it.world;
    let timed = async |name: &str, password: &str| {
        let began = Instant::now();
        let refusal = sign_in(world, name, password).await.unwrap_err();
        (refusal, began.elapsed())
    };
    let mut times = Vec::new();
    let mut check = |(refusal, took): (SignInRefusal, Duration), reason: &str| {
        assert_eq!(refusal.text(), REFUSED);
        assert_eq!(refusal.retry_after(), None);
        assert!(refusal.to_string().contains(reason), "{refusal} is not {reason}");
        times.push((reason.to_owned(), took));
    };
    check(timed("nobody", RIGHT).await, "no user of the name that was typed");
    check(timed("no name at all", RIGHT).await, "no user");
    check(timed("eve", RIGHT).await, "disabled");
    check(timed("eve", "wrong password").await, "disabled");
    for _ in 0..3 {
        check(timed("ada", "wrong password").await, "password of ada is wrong");
    }
    // Locked out: also with the right password.
    check(timed("ada", RIGHT).await, "locked out until");
    check(timed("ada", "wrong password").await, "locked out until");
    check(timed("ada", &"x".repeat(2_000)).await, "longer than");
    for (reason, took) in times {
        let beyond = took.as_nanos() % INTERVAL.as_nanos();
        assert!(took >= INTERVAL, "{reason}: {took:?}");
        assert!(
            beyond < INTERVAL.as_nanos() / 2,
            "{reason}: {took:?} is no whole number of {INTERVAL:?}"
        );
    }
    it.world.clock.advance(15 * 60);
    assert!(sign_in(world, "ada", RIGHT).await.is_ok());
}

#[tokio::test]
async fn of_guesses_at_once_no_more_are_looked_at_than_in_a_row() {
    let it = directory(limits()).await;
    let attempts = (0..20).map(|_| sign_in(&it.world, "ada", "wrong password"));
    let refusals = futures_of(attempts).await;
    let looked_at = refusals
        .iter()
        .filter(|outcome| matches!(outcome, Err(SignInRefusal::WrongPassword(_))));
    assert_eq!(looked_at.count(), 3);
}

/// Runs all of them at once.
pub(crate) async fn futures_of<F: Future>(futures: impl Iterator<Item = F>) -> Vec<F::Output> {
    let mut waiting: Vec<_> = futures.map(Box::pin).map(|future| (future, None)).collect();
    std::future::poll_fn(|context| {
        let mut is_ready = true;
        for (future, output) in &mut waiting {
            if output.is_none() {
                match future.as_mut().poll(context) {
                    std::task::Poll::Ready(ready) => *output = Some(ready),
                    std::task::Poll::Pending => is_ready = false,
                }
            }
        }
        if is_ready {
            std::task::Poll::Ready(())
        } else {
            std::task::Poll::Pending
        }
    })
    .await;
    waiting.into_iter().filter_map(|(_, output)| output).collect()
}

#[tokio::test]
async fn one_address_prefix_has_so_many_attempts_whatever_names_it_tries() {
    let limits = Limits {
        sign_ins_per_minute: 2,
        ..limits()
    };
    let it = directory(limits).await;
    // Whoever knows the password is no guesser.
    for n in 0..5 {
        let signed_in = sign_in(&it.world, "ada", RIGHT).await;
        assert!(signed_in.is_ok(), "{n}: {signed_in:?}");
    }
    for name in ["nobody", "noone"] {
        let refusal = sign_in(&it.world, name, RIGHT).await.unwrap_err();
        assert!(matches!(refusal, SignInRefusal::Unknown), "{refusal}");
    }
    let refusal = sign_in(&it.world, "ada", RIGHT).await.unwrap_err();
    assert!(matches!(refusal, SignInRefusal::TooMany(_)), "{refusal}");
    assert!(refusal.retry_after().is_some_and(|wait| wait > Duration::from_secs(10)));
    assert!(sign_in_from(&it.world, "ada", RIGHT, [198, 51, 100, 1]).await.is_ok());
}

#[tokio::test]
async fn hashing_passwords_delays_no_token_request() {
    let authority = Authority::root("corp");
    let leaf = authority.issue(dns("demo.example"));
    let mut plan = Plan::new()
        .trusts("corp", &authority)
        .client("demo", tls_client("demo.example"));
    plan.settings.limits.sign_in_answer_interval = Duration::from_millis(10);
    let world = plan.start().await;
    // One that is not counted: what is opened and parsed for the first time.
    assert_eq!(world.token(Some(&leaf), "demo").await.status, 200);
    let signing_in = futures_of((0..20).map(|_| sign_in(&world, "nobody", RIGHT)));
    let tokens = async {
        let mut slowest = Duration::ZERO;
        for _ in 0..5 {
            let asked = Instant::now();
            assert_eq!(world.token(Some(&leaf), "demo").await.status, 200);
            slowest = slowest.max(asked.elapsed());
        }
        (slowest, Instant::now())
    };
    let began = Instant::now();
    let all = async { (signing_in.await, Instant::now()) };
    let ((refusals, passwords_done), (slowest, tokens_done)) = tokio::join!(all, tokens);
    assert!(refusals.iter().all(Result::is_err));
    assert!(tokens_done < passwords_done, "five tokens waited for twenty passwords");
    // One after the other, on one thread: none of the tokens waited for as much as one of them.
    let one_password = (passwords_done - began) / 20;
    assert!(
        slowest < one_password,
        "{slowest:?} for a token, {one_password:?} for a password"
    );
}

#[tokio::test]
async fn a_password_hash_by_older_rules_is_made_anew() {
    let it = directory(limits()).await;
    use argon2::PasswordHasher as _;
    use aws_lc_rs::rand::SecureRandom as _;
    let mut salt = [0; 16];
    SystemRandom::new().fill(&mut salt).unwrap();
    let params = argon2::Params::new(8, 1, 1, None).unwrap();
    let cheap: argon2::password_hash::phc::PasswordHash = argon2::Argon2::from(params)
        .hash_password_with_salt(RIGHT.as_bytes(), &salt)
        .unwrap();
    let name = keybound_protocol::user::UserName::parse("ada").unwrap();
    let change = keybound_store::UserChange {
        name: name.clone(),
        if_version: None,
        password_hash: Some(keybound_store::PasswordHash::from_phc(cheap.to_string())),
        user_code_hash: None,
        claims: None,
        is_disabled: None,
        tokens_until: Timestamp::from_unix_secs(it.world.clock.now()),
    };
    let now = Timestamp::from_unix_secs(it.world.clock.now());
    let entry = keybound_store::AuditEntry::new(now, keybound_store::Actor::Operator);
    it.world.store.users.change_user(change, entry).await.unwrap();
    assert!(sign_in(&it.world, "ada", RIGHT).await.is_ok());
    let stored = it.world.store.users.find_user(&name).unwrap().unwrap();
    assert!(stored.password_hash.as_phc().contains("m=19456"), "made anew");
    assert!(sign_in(&it.world, "ada", RIGHT).await.is_ok());
}
