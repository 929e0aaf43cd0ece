//! Many tokens and certificates through one cache, in any order: what was right for one request is never right for another.

use std::sync::Arc;

use keybound_protocol::peer_certificate::PresentedCertificate;
use keybound_resource_server::{AccessTokenRefusal, Binding, Caller, Check, LastToken, ResourceServer, RoutePolicy};

use crate::pki::Party;
use crate::support::{AUDIENCE, ISSUER, NOW, resource_server, route, with_token};
use crate::token_issuer::TokenIssuer;

const PARTIES: usize = 25;
const TOKENS_EACH: usize = 4;
const REQUESTS: usize = 10_000;

/// A fixed sequence that looks like chance (Knuth's MMIX).
struct Sequence(u64);

impl Sequence {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % bound
    }
}

struct World {
    resource_server: ResourceServer,
    presented: Vec<PresentedCertificate>,
    /// The owner of each token, by position, and the token.
    tokens: Vec<(usize, String)>,
}

fn world() -> World {
    let issuer = TokenIssuer::new(ISSUER);
    let parties: Vec<Party> = (0..PARTIES).map(|_| Party::new("demo")).collect();
    let tokens = (0..PARTIES * TOKENS_EACH)
        .map(|n| {
            let owner = n % PARTIES;
            let mut claims = issuer.claims(AUDIENCE, NOW);
            claims["jti"] = format!("token-{n}").into();
            claims["cnf"] = serde_json::json!({"x5t#S256": parties[owner].thumbprint()});
            (owner, issuer.sign(&issuer.header(), &claims))
        })
        .collect();
    let presented = parties.iter().map(Party::presented).collect();
    World {
        resource_server: resource_server(&issuer),
        presented,
        tokens,
    }
}

/// Plays one interleaving: wrongly accepted, wrongly refused, genuine.
fn play(world: &World, policy: &RoutePolicy, seed: u64) -> (usize, usize, usize) {
    let mut sequence = Sequence(seed);
    // As many connections as certificates, and one in front of everybody, as behind a proxy.
    let connections: Vec<LastToken> = (0..PARTIES).map(|_| LastToken::default()).collect();
    let proxied = LastToken::default();
    let (mut wrongly_accepted, mut wrongly_refused, mut genuine) = (0, 0, 0);
    for _ in 0..REQUESTS {
        let (owner, token) = &world.tokens[sequence.below(world.tokens.len())];
        let presenter = match sequence.below(2) {
            0 => *owner,
            _ => sequence.below(PARTIES),
        };
        let parts = with_token(token);
        let presented = &world.presented[presenter];
        let server = &world.resource_server;
        let last = match sequence.below(3) {
            0 => None,
            1 => Some(&connections[presenter]),
            _ => Some(&proxied),
        };
        let caller = Caller {
            last,
            ..Caller::new(presented)
        };
        let check = server.check_for(&parts, &caller, policy, NOW);
        let Check::Done(verdict) = check else {
            panic!("the keys are given")
        };
        match (verdict, presenter == *owner) {
            (Ok(accepted), true) => {
                genuine += 1;
                let own = presented.end_entity().unwrap().thumbprint();
                assert!(accepted.as_bound().is_none_or(|bound| bound.certificate() == Some(own)));
            }
            (Err(_), true) => wrongly_refused += 1,
            (Ok(_), false) => wrongly_accepted += 1,
            (Err(refused), false) => assert!(matches!(refused.reason(), AccessTokenRefusal::Binding(_))),
        }
    }
    (wrongly_accepted, wrongly_refused, genuine)
}

// covers TRAP-28, MTLS-3-11
#[test]
fn ten_thousand_interleavings_of_tokens_and_certificates_on_one_cache_confuse_nothing() {
    let world = world();
    for seed in [1, 8705] {
        let (wrongly_accepted, wrongly_refused, genuine) = play(&world, &route(), seed);
        assert_eq!((wrongly_accepted, wrongly_refused), (0, 0), "seed {seed}");
        assert!(genuine > REQUESTS / 3, "seed {seed}: {genuine}");
    }
}

// covers TRAP-28
#[test]
fn nor_do_they_from_several_threads_at_once() {
    let world = Arc::new(world());
    let threads: Vec<_> = (0..4)
        .map(|seed| {
            let world = Arc::clone(&world);
            std::thread::spawn(move || play(&world, &route(), seed))
        })
        .collect();
    for thread in threads {
        let (wrongly_accepted, wrongly_refused, _) = thread.join().unwrap();
        assert_eq!((wrongly_accepted, wrongly_refused), (0, 0));
    }
}

#[test]
fn positive_control_without_the_binding_the_same_interleavings_are_full_of_mistakes() {
    let (wrongly_accepted, wrongly_refused, _) = play(&world(), &route().with_binding(Binding::None), 1);
    assert!(wrongly_accepted > REQUESTS / 3, "{wrongly_accepted}");
    assert_eq!(wrongly_refused, 0);
}
