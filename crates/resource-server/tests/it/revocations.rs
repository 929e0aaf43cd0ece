//! What an issuer revokes reaches tokens that are checked here, and its silence does what the settings say.

use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::StatusCode;
use keybound_protocol::endpoint::Endpoint;
use keybound_protocol::server_metadata::ServerMetadata;
use keybound_protocol::time::Timestamp;
use keybound_resource_server::client::{AuthorizationServer, Client, ClientAuthentication, ClientSettings, Clock};
use keybound_resource_server::{
    AccessTokenRefusal, IssuerSettings, KeySource, Limits, OnStale, ResourceServer, RevocationFollower,
    RevocationSettings, RunningToken, Validation, Verdict,
};
use serde_json::{Value, json};

use crate::pki::Party;
use crate::site::{Seen, Site, json as json_response, status};
use crate::support::{AUDIENCE, NOW, failed_rule, issuer, refused_as_invalid_token, route, with_token};
use crate::token_issuer::TokenIssuer;

const SILENCE_MAX: Duration = Limits::DEFAULT.revocations_silence_max;

/// An issuer that says what it revoked, and a resource server that follows it.
struct Followed {
    feed: Arc<Feed>,
    site: Site,
    token_issuer: TokenIssuer,
    holder: Party,
    resource_server: ResourceServer,
    clock: Clock,
    following: Option<RevocationFollower>,
}

#[derive(Default)]
struct Feed {
    entries: Mutex<Vec<Value>>,
    down: AtomicBool,
    knows_no_cursor: AtomicBool,
    page: Mutex<Option<usize>>,
    active: AtomicBool,
    clock: AtomicI64,
}

impl Feed {
    fn answer(&self, seen: &Seen) -> http::Response<keybound_tls::ResponseBody> {
        match seen.path.as_str() {
            _ if self.down.load(Ordering::SeqCst) => status(StatusCode::SERVICE_UNAVAILABLE),
            "/token" => {
                json_response(&json!({"access_token": "follow-me", "token_type": "Bearer", "expires_in": 100_000}))
            }
            "/introspect" => {
                let is_active = self.active.load(Ordering::SeqCst);
                let thumbprint = seen
                    .form("token")
                    .and_then(|token| claims(token)["cnf"]["x5t#S256"].as_str().map(str::to_owned));
                json_response(&json!({
                    "active": is_active, "aud": AUDIENCE, "exp": NOW.unix_secs() + 300, "cnf": {"x5t#S256": thumbprint},
                }))
            }
            _ => {
                assert_eq!(seen.path, "/revocations");
                assert_eq!(seen.headers["authorization"], "Bearer follow-me");
                let entries = self.entries.lock().unwrap();
                let from: usize = match seen.query.get("after") {
                    Some(_) if self.knows_no_cursor.swap(false, Ordering::SeqCst) => {
                        return status(StatusCode::BAD_REQUEST);
                    }
                    Some(after) => after.strip_prefix("at-").unwrap().parse().unwrap(),
                    None => 0,
                };
                let to = self
                    .page
                    .lock()
                    .unwrap()
                    .map_or(entries.len(), |page| entries.len().min(from + page));
                json_response(&json!({
                    "cursor": format!("at-{to}"), "entries": entries[from..to], "more": to < entries.len(),
                }))
            }
        }
    }
}

fn claims(token: &str) -> Value {
    let payload = token.split('.').nth(1).unwrap();
    serde_json::from_slice(&keybound_protocol::base64url::decode(payload).unwrap()).unwrap()
}

impl Followed {
    fn new(on_stale: impl FnOnce(Arc<Client>) -> OnStale) -> Followed {
        let feed = Arc::new(Feed::default());
        feed.clock.store(NOW.unix_secs(), Ordering::SeqCst);
        let site = Site::asking({
            let feed = Arc::clone(&feed);
            move |seen| feed.answer(seen)
        });
        let token_issuer = TokenIssuer::new(&site.issuer());
        let metadata = ServerMetadata::new(issuer(&site.issuer()))
            .with_endpoint(Endpoint::Token, site.url("/token"), None)
            .with_endpoint(Endpoint::Introspection, site.url("/introspect"), None);
        let client = Arc::new(Client::new(ClientSettings {
            server: AuthorizationServer::given(metadata),
            client_id: "gateway".parse().unwrap(),
            authentication: ClientAuthentication::Certificate,
            identity: Party::new("gateway").identity(),
        }));
        let validation = Validation::Local(KeySource::Static(token_issuer.keys()));
        let mut settings = IssuerSettings::new(issuer(&site.issuer()), validation);
        settings.revocations = Some(RevocationSettings {
            url: site.url("/revocations"),
            client: Arc::clone(&client),
            on_stale: on_stale(client),
        });
        let clock = Clock::from_fn({
            let feed = Arc::clone(&feed);
            move || Timestamp::from_unix_secs(feed.clock.load(Ordering::SeqCst))
        });
        Followed {
            feed,
            site,
            token_issuer,
            holder: Party::new("demo"),
            resource_server: ResourceServer::new(vec![settings]).unwrap(),
            clock,
            following: None,
        }
    }

    fn follow(&mut self) {
        self.following = Some(self.resource_server.follow_revocations(&self.clock));
    }

    fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Waits for `condition`, for as long as a slow machine may take.
    async fn until(&self, what: &str, condition: impl Fn() -> bool) {
        for _ in 0..2_000 {
            if condition() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        panic!("{what}: {:?}", self.site.seen().len());
    }

    async fn until_heard(&self) {
        self.until("not heard", || !self.is_silent()).await;
    }

    fn is_silent(&self) -> bool {
        self.resource_server.revocations(self.now()).next().unwrap().is_silent
    }

    fn entries(&self) -> usize {
        self.resource_server.revocations(self.now()).next().unwrap().entries
    }

    fn revoke(&self, entry: Value) {
        self.feed.entries.lock().unwrap().push(entry);
    }

    fn token(&self, token_id: &str) -> String {
        let mut claims = self.token_issuer.claims(AUDIENCE, NOW);
        claims["cnf"] = json!({"x5t#S256": self.holder.thumbprint()});
        claims["jti"] = token_id.into();
        self.token_issuer.sign(&self.token_issuer.header(), &claims)
    }

    async fn check(&self, token: &str) -> Verdict {
        let (headers, presented) = (with_token(token), self.holder.presented());
        self.resource_server
            .check(&headers, &presented, &route(), self.now())
            .finish()
            .await
    }

    async fn run(&self, token: &str) -> RunningToken {
        let accepted = self.check(token).await.unwrap();
        let (headers, presented) = (with_token(token).headers, self.holder.presented());
        self.resource_server
            .follow(&accepted, &headers, &presented, &route(), self.now())
    }

    /// The issuer answers nothing for longer than is borne.
    fn fall_silent(&self) {
        self.feed.down.store(true, Ordering::SeqCst);
        let silent = i64::try_from(SILENCE_MAX.as_secs()).unwrap();
        self.feed.clock.fetch_add(silent, Ordering::SeqCst);
    }
}

// covers R7009-5, T20
#[tokio::test]
async fn what_is_revoked_by_any_name_is_refused_and_what_runs_with_it_ends() {
    let until = NOW.unix_secs() + 400;
    for name in ["jti", "jti_prefix", "client_id", "x5t#S256", "kid"] {
        let mut followed = Followed::new(|_| OnStale::Continue);
        followed.follow();
        followed.until_heard().await;
        let token = followed.token("grant-1.token-1");
        let running = followed.run(&token).await;
        assert!(running.refusal(NOW).is_none());
        // Near it, and something else.
        for near in [
            json!({"jti": "grant-1", "until": until}),
            json!({"jti_prefix": "grant-2.", "until": until}),
            json!({"client_id": "demo-2", "until": until}),
            json!({"kid": "demo", "until": until}),
        ] {
            followed.revoke(near);
        }
        followed.until("not taken over", || followed.entries() == 4).await;
        assert!(followed.check(&token).await.is_ok());
        assert!(running.refusal(NOW).is_none());

        let value = match name {
            "jti" => "grant-1.token-1".to_owned(),
            "jti_prefix" => "grant-1.".to_owned(),
            "client_id" => "demo".to_owned(),
            "x5t#S256" => followed.holder.thumbprint().to_string(),
            _ => followed.token_issuer.signer.key_id().to_owned(),
        };
        followed.revoke(json!({name: value, "until": until}));
        followed.until("not taken over", || followed.entries() == 5).await;
        let refused = refused_as_invalid_token(followed.check(&token).await);
        assert!(matches!(refused.reason(), AccessTokenRefusal::Denied { .. }), "{name}");
        assert_eq!(failed_rule(&refused).rule, "not revoked");
        refused_as_invalid_token(Err(running.refusal(NOW).unwrap()));
    }
}

#[tokio::test]
async fn everything_is_read_before_the_issuer_counts_as_heard_and_then_only_what_is_new() {
    let mut followed = Followed::new(|_| OnStale::Refuse);
    let until = NOW.unix_secs() + 400;
    for number in 0..5 {
        followed.revoke(json!({"jti": format!("old-{number}"), "until": until}));
    }
    *followed.feed.page.lock().unwrap() = Some(2);
    followed.follow();
    followed.until_heard().await;
    assert_eq!(followed.entries(), 5);
    let asked_after: Vec<_> = followed
        .site
        .seen_at("/revocations")
        .iter()
        .map(|seen| seen.query.get("after").cloned())
        .collect();
    let expected: Vec<_> = [None, Some("at-2"), Some("at-4")]
        .map(|after| after.map(str::to_owned))
        .into();
    assert_eq!(asked_after.get(..3), Some(&*expected));

    // A cursor that the issuer does not know any more: everything is read again, and nothing forgotten.
    followed.feed.knows_no_cursor.store(true, Ordering::SeqCst);
    followed
        .until("not read again", || {
            followed
                .site
                .seen_at("/revocations")
                .iter()
                .filter(|seen| !seen.query.contains_key("after"))
                .count()
                == 2
        })
        .await;
    assert_eq!(followed.entries(), 5);

    // Another configuration goes on from there.
    let same = followed.resource_server.revocations(NOW).next().unwrap().answers;
    assert!(same > 0);
    let begun = followed.following.take();
    drop(begun);
    let asked = followed.site.seen_at("/revocations").len();
    tokio::time::sleep(Duration::from_millis(700)).await;
    assert!(followed.site.seen_at("/revocations").len() <= asked + 1, "still asked");
}

#[tokio::test]
async fn silence_refuses_where_the_settings_say_so() {
    let mut followed = Followed::new(|_| OnStale::Refuse);
    let token = followed.token("token-1");
    let refused = followed.check(&token).await.unwrap_err();
    assert_eq!(
        refused.status(),
        StatusCode::SERVICE_UNAVAILABLE,
        "nothing was read yet"
    );
    assert_eq!(failed_rule(&refused).rule, "not revoked");
    assert!(refused.retry_after().is_some());
    followed.follow();
    followed.until_heard().await;
    let running = followed.run(&token).await;
    followed.fall_silent();
    let refused = followed.check(&token).await.unwrap_err();
    assert!(matches!(
        refused.reason(),
        AccessTokenRefusal::RevocationsUnknown { .. }
    ));
    assert!(running.refusal(followed.now()).is_some());
    followed.feed.down.store(false, Ordering::SeqCst);
    followed.until_heard().await;
    assert!(followed.check(&token).await.is_ok());
    assert!(running.refusal(followed.now()).is_none());
}

#[tokio::test]
async fn silence_changes_nothing_by_default_and_is_told() {
    let mut followed = Followed::new(|_| OnStale::Continue);
    let token = followed.token("token-1");
    let standing = |followed: &Followed| {
        followed
            .resource_server
            .revocations(followed.now())
            .next()
            .unwrap()
            .heard_ago
    };
    assert_eq!((followed.is_silent(), standing(&followed)), (true, None));
    assert!(followed.check(&token).await.is_ok());
    followed.follow();
    followed.until_heard().await;
    followed.fall_silent();
    assert!(followed.is_silent());
    assert!(followed.check(&token).await.is_ok());
    followed
        .until("not noticed", || {
            let standing = followed.resource_server.revocations(followed.now()).next().unwrap();
            standing.failures > 0 && standing.last_error.is_some()
        })
        .await;
}

#[tokio::test]
async fn silence_has_the_issuer_asked_about_each_token_where_the_settings_say_so() {
    let mut followed = Followed::new(OnStale::Introspect);
    followed.feed.active.store(true, Ordering::SeqCst);
    followed.follow();
    followed.until_heard().await;
    let token = followed.token("token-1");
    let running = followed.run(&token).await;
    assert!(followed.site.seen_at("/introspect").is_empty());

    followed.following = None;
    let silent = i64::try_from(SILENCE_MAX.as_secs()).unwrap();
    followed.feed.clock.fetch_add(silent, Ordering::SeqCst);
    assert!(followed.check(&token).await.is_ok());
    assert_eq!(
        followed.site.seen_at("/introspect").len(),
        1,
        "the cached signature no longer counts"
    );
    assert!(running.refusal(followed.now()).is_none());

    followed.feed.active.store(false, Ordering::SeqCst);
    let inactive = followed.token("token-2");
    let refused = refused_as_invalid_token(followed.check(&inactive).await);
    assert!(matches!(refused.reason(), AccessTokenRefusal::Inactive));
    let active_max = i64::try_from(Limits::DEFAULT.introspection_active_max.as_secs()).unwrap();
    followed.feed.clock.fetch_add(active_max, Ordering::SeqCst);
    followed
        .until("what runs goes on", || running.refusal(followed.now()).is_some())
        .await;

    // Heard again, the signature counts again.
    followed.follow();
    followed.until_heard().await;
    let asked = followed.site.seen_at("/introspect").len();
    assert!(followed.check(&inactive).await.is_ok());
    assert_eq!(followed.site.seen_at("/introspect").len(), asked);
}
