//! Codes and refresh tokens presented twenty times at once, and honest retries, by requests to a whole server: a thousand of each, ten
//! thousand in a campaign. Ten thousand of each go through the store's own tests at any time.

use http::StatusCode;
use keybound_store::{AuthorizationCodeHash, GrantState};
use serde_json::Value;
use tokio::task::JoinSet;

use crate::campaign::rounds;
use crate::consent::{Consent, REDIRECT_URI, VERIFIER, asking_client, give, public_client, text};
use crate::pki::{Authority, dns, self_signed};
use crate::world::{Peer, Plan, Reply, Side, World};

/// In the gate, and in a campaign.
const CHAINS: (usize, usize) = (1_000, 10_000);
const AT_ONCE: usize = 20;

async fn world(authority: &Authority) -> World {
    Plan::new()
        .trusts("corp", authority)
        .client("demo", asking_client("demo.example"))
        .client("app", public_client())
        .start()
        .await
}

async fn once(peer: &Peer, form: Vec<(&'static str, String)>) -> Reply {
    let form: Vec<(&str, &str)> = form.iter().map(|(name, value)| (*name, value.as_str())).collect();
    peer.post("/token", &form).await
}

/// The refresh token that came.
fn refresh_token(reply: &Reply) -> String {
    assert_eq!(reply.status, StatusCode::OK, "{reply:?}");
    let tokens: Value = reply.json();
    text(&tokens, "refresh_token").to_owned()
}

/// Sends a form so often at once, on connections that are kept.
async fn at_once(peer: &Peer, form: &[(&'static str, String)]) -> Vec<Reply> {
    let mut requests = JoinSet::new();
    for _ in 0..AT_ONCE {
        let (peer, form) = (peer.clone(), form.to_vec());
        requests.spawn(async move { once(&peer, form).await });
    }
    requests.join_all().await
}

fn code_form(client_id: &'static str, code: &str) -> Vec<(&'static str, String)> {
    vec![
        ("grant_type", "authorization_code".into()),
        ("client_id", client_id.into()),
        ("code", code.into()),
        ("redirect_uri", REDIRECT_URI.into()),
        ("code_verifier", VERIFIER.into()),
    ]
}

fn refresh_form(refresh_token: &str) -> Vec<(&'static str, String)> {
    vec![
        ("grant_type", "refresh_token".into()),
        ("client_id", "app".into()),
        ("refresh_token", refresh_token.into()),
    ]
}

// covers R6749-7, R7, I1, T7
#[tokio::test]
async fn a_code_presented_twenty_times_at_once_succeeds_once() {
    let authority = Authority::root("corp");
    let world = world(&authority).await;
    let peer = world.peer(Side::MutualTls, Some(&authority.issue(dns("demo.example"))));
    for number in 0..rounds(CHAINS.0, CHAINS.1) {
        let code = give(&world.store, world.clock.now(), &Consent::to("demo")).await;
        let replies = at_once(&peer, &code_form("demo", &code)).await;
        let (redeemed, refused): (Vec<_>, Vec<_>) =
            replies.into_iter().partition(|reply| reply.status == StatusCode::OK);
        assert_eq!((redeemed.len(), refused.len()), (1, AT_ONCE - 1), "code {number}");
        for reply in refused {
            assert_eq!(reply.json()["error"], "invalid_grant", "code {number}: {reply:?}");
        }
        let hash = AuthorizationCodeHash::of(&code);
        let found = world.store.authorization_codes.find_authorization_code(&hash).unwrap();
        assert_eq!(found.unwrap().grant.state, GrantState::Revoked, "code {number}");
    }
}

// covers R9700-4, R7, T8
#[tokio::test]
async fn a_refresh_token_presented_twenty_times_at_once_has_one_successor() {
    let authority = Authority::root("corp");
    let world = world(&authority).await;
    let own = world.peer(Side::MutualTls, Some(&self_signed(dns("instance.example"))));
    let thief = world.peer(Side::MutualTls, Some(&self_signed(dns("instance.example"))));
    let owned = async |form| once(&own, form).await;
    for number in 0..rounds(CHAINS.0, CHAINS.1) {
        let code = give(&world.store, world.clock.now(), &Consent::to("app")).await;
        let first = refresh_token(&owned(code_form("app", &code)).await);
        // Twenty requests of the holder, none of which has heard an answer: one successor, and nobody is punished.
        let replies = at_once(&own, &refresh_form(&first)).await;
        let successors: Vec<String> = replies.iter().map(refresh_token).collect();
        assert!(
            successors.windows(2).all(|two| two[0] == two[1]),
            "token {number} forked"
        );
        let second = refresh_token(&owned(refresh_form(&successors[0])).await);
        assert_ne!(second, successors[0]);
        // Twenty of somebody else who has come by the first one: none, and the family ends.
        let replies = at_once(&thief, &refresh_form(&first)).await;
        for reply in replies {
            assert_eq!(reply.json()["error"], "invalid_grant", "token {number}: {reply:?}");
        }
        let reply = owned(refresh_form(&second)).await;
        assert_eq!(reply.json()["error"], "invalid_grant", "token {number}: {reply:?}");
    }
}

// covers R9700-4, T8
#[tokio::test]
async fn whoever_has_lost_an_answer_asks_again_and_is_not_punished() {
    let authority = Authority::root("corp");
    let world = world(&authority).await;
    let own = world.peer(Side::MutualTls, Some(&self_signed(dns("instance.example"))));
    let code = give(&world.store, world.clock.now(), &Consent::to("app")).await;
    let mut current = refresh_token(&once(&own, code_form("app", &code)).await);
    for number in 0..rounds(CHAINS.0, CHAINS.1) {
        // The first answer is never read; the second one has to be the same, and good to go on with.
        let lost = refresh_token(&once(&own, refresh_form(&current)).await);
        let again = refresh_token(&once(&own, refresh_form(&current)).await);
        assert_eq!(lost, again, "retry {number}");
        assert_ne!(again, current, "retry {number}");
        current = again;
    }
}
