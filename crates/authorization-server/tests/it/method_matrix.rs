//! Every registered method × everything that can be presented × every endpoint that authenticates clients.

use std::collections::BTreeSet;

use keybound_authorization_server::client_endpoints;
use keybound_protocol::client_assertion::CLIENT_ASSERTION_TYPE;
use keybound_protocol::endpoint::Endpoint;
use keybound_protocol::rule::Outcome;
use serde_json::json;

use crate::campaign::rounds;
use crate::pki::{Authority, Leaf, dns, self_signed};
use crate::rfc8705_2::{assertion, private_key_jwt_client};
use crate::world::{NOW, Peer, Plan, Reply, Side, World, basic, secret_client, self_signed_client, tls_client};

/// The secret of every client that has one.
const SECRET: &str = "Zm9yIHRlc3RzIGFsb25lLCBhbmQgbm90IHJhbmRvbSE";

/// What a request can present, in all combinations that matter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Presented {
    Nothing,
    Pki,
    RegisteredSelfSigned,
    OtherSelfSigned,
    Assertion,
    Basic,
    WrongBasic,
    Post,
    WrongPost,
    PkiAndAssertion,
    PkiAndBasic,
    PkiAndWrongBasic,
    SelfSignedAndPost,
    AssertionAndPost,
    AssertionAndBasic,
    BasicAndPost,
}

use Presented::*;

const PRESENTED: [Presented; 16] = [
    Nothing,
    Pki,
    RegisteredSelfSigned,
    OtherSelfSigned,
    Assertion,
    Basic,
    WrongBasic,
    Post,
    WrongPost,
    PkiAndAssertion,
    PkiAndBasic,
    PkiAndWrongBasic,
    SelfSignedAndPost,
    AssertionAndPost,
    AssertionAndBasic,
    BasicAndPost,
];

/// By the name of the client. `leftover` authenticates by certificate and has a secret on file from before; `nobody` does not exist.
const REGISTERED: [&str; 8] = ["tls", "self", "jwt", "basic", "post", "none", "leftover", "nobody"];

impl Presented {
    fn has_basic(self) -> bool {
        matches!(
            self,
            Basic | WrongBasic | PkiAndBasic | PkiAndWrongBasic | AssertionAndBasic | BasicAndPost
        )
    }

    fn has_post(self) -> bool {
        matches!(
            self,
            Post | WrongPost | SelfSignedAndPost | AssertionAndPost | BasicAndPost
        )
    }

    fn has_assertion(self) -> bool {
        matches!(self, Assertion | PkiAndAssertion | AssertionAndPost | AssertionAndBasic)
    }

    fn secret(self) -> &'static str {
        match self {
            WrongBasic | WrongPost | PkiAndWrongBasic => "Zm9yIHRlc3RzIGFsb25lLCBhbmQgbm90IHJhbmRvbSF",
            _ => SECRET,
        }
    }
}

/// What has to come out: the code, or none where the client is who it says.
fn expected(registered: &str, presented: Presented) -> Option<&'static str> {
    match (registered, presented) {
        ("tls" | "leftover", Pki) | ("self", RegisteredSelfSigned) | ("jwt", Assertion | PkiAndAssertion) => None,
        // Beside a right secret a certificate is no method: it is what tokens are bound to.
        ("basic", Basic | PkiAndBasic) | ("post", Post | SelfSignedAndPost) => None,
        // Nothing is what such a client has to show.
        ("none", Nothing | Pki | RegisteredSelfSigned | OtherSelfSigned) => None,
        (_, PkiAndBasic | PkiAndWrongBasic | SelfSignedAndPost) => Some("invalid_request"),
        (_, AssertionAndPost | AssertionAndBasic | BasicAndPost) => Some("invalid_request"),
        _ => Some("invalid_client"),
    }
}

struct Matrix {
    world: World,
    nothing: Peer,
    pki: Peer,
    registered: Peer,
    other: Peer,
    key: Leaf,
}

impl Matrix {
    async fn new() -> Matrix {
        let authority = Authority::root("corp");
        let (registered, other, key) = (self_signed(dns("x")), self_signed(dns("x")), self_signed(dns("key")));
        let mut plan = Plan::new();
        plan.settings.client_secrets_enabled = true;
        plan.settings.limits.alike_answer_interval = std::time::Duration::ZERO;
        let world = plan
            .trusts("corp", &authority)
            .client("tls", tls_client("demo.example"))
            .client("self", self_signed_client(&[&registered]))
            .client("jwt", private_key_jwt_client(&key))
            .client_with_secret("basic", secret_client("client_secret_basic"), Some(SECRET))
            .client_with_secret("post", secret_client("client_secret_post"), Some(SECRET))
            .client("none", json!({"token_endpoint_auth_method": "none"}))
            .client_with_secret("leftover", tls_client("demo.example"), Some(SECRET))
            .start()
            .await;
        let peer = |leaf| world.peer(Side::MutualTls, leaf);
        Matrix {
            nothing: peer(None),
            pki: peer(Some(&authority.issue(dns("demo.example")))),
            registered: peer(Some(&registered)),
            other: peer(Some(&other)),
            world,
            key,
        }
    }

    async fn ask(
        &self,
        path: &str,
        more: &[(&str, &str)],
        registered: &str,
        presented: Presented,
        round: usize,
    ) -> Reply {
        let peer = match presented {
            Pki | PkiAndAssertion | PkiAndBasic | PkiAndWrongBasic => &self.pki,
            RegisteredSelfSigned | SelfSignedAndPost => &self.registered,
            OtherSelfSigned => &self.other,
            _ => &self.nothing,
        };
        let token_id = format!("{path}-{registered}-{presented:?}-{round}");
        let assertion = assertion(&self.key, registered, &token_id, NOW);
        let mut form = [&[("client_id", registered)], more].concat();
        if presented.has_assertion() {
            form.extend([
                ("client_assertion_type", CLIENT_ASSERTION_TYPE),
                ("client_assertion", &assertion),
            ]);
        }
        if presented.has_post() {
            form.push(("client_secret", presented.secret()));
        }
        let basic = basic(registered, presented.secret());
        let headers = match presented.has_basic() {
            true => vec![("authorization", basic.as_str())],
            false => Vec::new(),
        };
        peer.post_with(path, &form, &headers).await
    }
}

/// What such a request has beside its credentials, if it is to succeed.
fn parameters(endpoint: Endpoint) -> &'static [(&'static str, &'static str)] {
    match endpoint {
        Endpoint::Token => &[("grant_type", "client_credentials")],
        Endpoint::Introspection | Endpoint::Revocation => &[("token", "x")],
        // What else such an endpoint wants is not sent: it says so once it knows the client.
        _ => &[],
    }
}

// covers T3, R6749-1, R6749-2, R6749-9, TRAP-8, TRAP-18, TRAP-19, TRAP-22, TRAP-49, MTLS-1-1, MTLS-2-1, MTLS-2.1.1-1, MTLS-2.2.1-1, TLS-8
#[tokio::test]
async fn only_the_registered_method_ever_authenticates_at_any_endpoint() {
    let matrix = Matrix::new().await;
    // Those that the code has: a new one is in the matrix when it is in the router.
    let endpoints: Vec<_> = client_endpoints().collect();
    let paths: BTreeSet<&str> = endpoints.iter().map(|(_, path)| *path).collect();
    let all = [
        "/token",
        "/introspect",
        "/revoke",
        "/par",
        "/device_authorization",
        "/bc-authorize",
    ];
    assert_eq!(paths, BTreeSet::from(all));
    let (mut accepted, mut refused) = (0, 0);
    let rounds = rounds(12, 100);
    for round in 0..rounds {
        for (endpoint, path) in &endpoints {
            for registered in REGISTERED {
                for presented in PRESENTED {
                    let reply = matrix
                        .ask(path, parameters(*endpoint), registered, presented, round)
                        .await;
                    let case = format!("{path} {registered} {presented:?} {reply:?}");
                    match expected(registered, presented) {
                        None => {
                            accepted += 1;
                            matrix.assert_accepted(*endpoint, registered, round, &reply).await;
                        }
                        Some(error) => {
                            refused += 1;
                            assert_eq!(reply.json()["error"], error, "{case}");
                            // RFC 6749 §5.2, and RFC 7662 §2.3, CIBA Core §13.
                            let is_challenged = presented.has_basic()
                                || matches!(endpoint, Endpoint::Introspection | Endpoint::BackchannelAuthentication);
                            let status = match error == "invalid_client" && is_challenged {
                                true => 401,
                                false => 400,
                            };
                            assert_eq!(reply.status.as_u16(), status, "{case}");
                            let scheme = match presented.has_basic() {
                                true => "Basic realm=\"https://as.example\"",
                                false => "Bearer realm=\"https://as.example\"",
                            };
                            let challenge = (status == 401).then_some(scheme);
                            assert_eq!(reply.header("www-authenticate"), challenge, "{case}");
                            if round == 0 {
                                matrix.assert_authentication_failed(&reply, &case).await;
                            }
                        }
                    }
                }
            }
        }
    }
    // tls, leftover, self: one each; jwt, basic, post: two each; none: four.
    assert_eq!(accepted, rounds * endpoints.len() * (3 + 6 + 4));
    assert_eq!(
        accepted + refused,
        rounds * endpoints.len() * REGISTERED.len() * PRESENTED.len()
    );
}

impl Matrix {
    async fn assert_accepted(&self, endpoint: Endpoint, registered: &str, round: usize, reply: &Reply) {
        let case = format!("{endpoint:?} {registered} {reply:?}");
        match (endpoint, registered) {
            // What a public client lacks there is a grant that it could use (RFC 6749 §4.4).
            (Endpoint::Token, "none") => assert_eq!(reply.json()["error"], "unauthorized_client", "{case}"),
            // RFC 7662 §2.1: callers have to be authenticated.
            (Endpoint::Introspection, "none") => assert_eq!(reply.json()["error"], "invalid_client", "{case}"),
            (Endpoint::Token | Endpoint::Introspection | Endpoint::Revocation, _) => {
                assert_eq!(reply.status.as_u16(), 200, "{case}");
            }
            (_, "none") => {}
            _ if reply.status.is_success() => {}
            _ if round > 0 => assert_ne!(reply.json()["error"], "invalid_client", "{case}"),
            // Refused for something else. A store keeps no more than a thousand refusals a second, which is a round or two.
            _ => {
                let refusal = self.world.refusal(reply).await;
                let is_known = |rule: &keybound_protocol::rule::RuleOutcome| {
                    rule.rule == "client authenticated" && rule.outcome == Outcome::Passed
                };
                assert!(refusal.rules.iter().any(is_known), "{case} {refusal:#?}");
            }
        }
    }

    async fn assert_authentication_failed(&self, reply: &Reply, case: &str) {
        let refusal = self.world.refusal(reply).await;
        // Rules of authentication stand in its place in the list, and the one that failed is among them.
        let failed = refusal.failed_rule().unwrap_or_else(|| panic!("{case} {refusal:#?}"));
        let is_of_another_step = ["client authenticated", "grant type supported", "parameter token sent"];
        assert!(!is_of_another_step.contains(&&*failed.rule), "{case} {refusal:#?}");
    }
}
