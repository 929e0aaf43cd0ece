//! The keys of issuers: fetched seldom, shared by all who wait, and kept while their issuer is down.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::StatusCode;
use keybound_protocol::access_token::AccessTokenError;
use keybound_protocol::jws::JwsError;
use keybound_protocol::time::Timestamp;
use keybound_resource_server::{
    AccessTokenRefusal, Check, IssuerSettings, KeySource, Limits, ResourceServer, Validation, Verdict,
};
use serde_json::{Value, json};

use crate::pki::Party;
use crate::site::{Site, discovery, json as json_response, status};
use crate::support::{AUDIENCE, NOW, failed_rule, issuer, refused_as_invalid_token, route, with_token};
use crate::token_issuer::TokenIssuer;

const REFETCH_INTERVAL: Duration = Limits::DEFAULT.key_set_refetch_interval;
const REFRESH_AFTER: Duration = Limits::DEFAULT.key_set_refresh_after;
const STALE_MAX: Duration = Limits::DEFAULT.key_set_stale_max;

/// An issuer that publishes what a test says, and a resource server that discovers its keys.
struct Publishing {
    site: Site,
    published: Arc<Mutex<Value>>,
    down: Arc<AtomicBool>,
    resource_server: ResourceServer,
    party: Party,
}

impl Publishing {
    fn new() -> Publishing {
        let published = Arc::new(Mutex::new(json!({"keys": []})));
        let down = Arc::new(AtomicBool::new(false));
        let site = Site::plain({
            let (published, down) = (Arc::clone(&published), Arc::clone(&down));
            move |seen| {
                let issuer = format!("https://{}", seen.headers["host"].to_str().unwrap());
                match seen.path.as_str() {
                    _ if down.load(Ordering::SeqCst) => status(StatusCode::INTERNAL_SERVER_ERROR),
                    "/jwks" => json_response(&published.lock().unwrap()),
                    _ => json_response(&json!({"issuer": issuer, "jwks_uri": format!("{issuer}/jwks")})),
                }
            }
        });
        let resource_server = ResourceServer::new(vec![discovered(&site)]).unwrap();
        Publishing {
            site,
            published,
            down,
            resource_server,
            party: Party::new("demo"),
        }
    }

    fn token_issuer(&self) -> TokenIssuer {
        TokenIssuer::new(&self.site.issuer())
    }

    fn publish(&self, issuers: &[&TokenIssuer]) {
        let keys: Vec<Value> = issuers
            .iter()
            .map(|issuer| issuer.signer.public_jwk().to_json())
            .collect();
        *self.published.lock().unwrap() = json!({"keys": keys});
    }

    fn token(&self, issuer: &TokenIssuer, now: Timestamp) -> String {
        issuer.bound_token(&self.party.thumbprint(), AUDIENCE, now)
    }

    async fn check(&self, token: &str, now: Timestamp) -> Verdict {
        self.resource_server
            .check(&with_token(token), &self.party.presented(), &route(), now)
            .finish()
            .await
    }

    fn fetches(&self) -> usize {
        self.site.seen_at("/jwks").len()
    }
}

fn discovered(site: &Site) -> IssuerSettings {
    IssuerSettings::new(
        issuer(&site.issuer()),
        Validation::Local(KeySource::Discovered(discovery())),
    )
}

fn after(duration: Duration) -> Timestamp {
    NOW.plus(duration)
}

fn is_unknown_key(reason: &AccessTokenRefusal) -> bool {
    matches!(
        reason,
        AccessTokenRefusal::Token(AccessTokenError::Signature(JwsError::UnknownKey { .. }))
    )
}

#[tokio::test]
async fn the_first_request_fetches_the_keys_and_the_next_needs_no_waiting() {
    let publishing = Publishing::new();
    let issuer = publishing.token_issuer();
    publishing.publish(&[&issuer]);
    assert_eq!(publishing.resource_server.issuers_without_keys(NOW).count(), 1);
    assert!(publishing.check(&publishing.token(&issuer, NOW), NOW).await.is_ok());
    assert_eq!(publishing.resource_server.issuers_without_keys(NOW).count(), 0);
    // Another token, never seen: the keys are here.
    let parts = with_token(&publishing.token(&issuer, after(Duration::from_secs(1))));
    let check = publishing
        .resource_server
        .check(&parts, &publishing.party.presented(), &route(), NOW);
    assert!(matches!(check, Check::Done(Ok(_))));
    assert_eq!(publishing.fetches(), 1);
}

#[tokio::test]
async fn keys_can_be_fetched_before_the_first_request() {
    let publishing = Publishing::new();
    let issuer = publishing.token_issuer();
    publishing.publish(&[&issuer]);
    publishing.resource_server.prepare(NOW).await;
    publishing.resource_server.prepare(NOW).await;
    assert_eq!(publishing.fetches(), 1);
    let parts = with_token(&publishing.token(&issuer, NOW));
    let check = publishing
        .resource_server
        .check(&parts, &publishing.party.presented(), &route(), NOW);
    assert!(matches!(check, Check::Done(Ok(_))));
}

// covers TRAP-42
#[tokio::test]
async fn ten_thousand_unknown_key_ids_cause_at_most_two_fetches() {
    let publishing = Publishing::new();
    let issuer = publishing.token_issuer();
    publishing.publish(&[&issuer]);
    let genuine = publishing.token(&issuer, NOW);
    assert!(publishing.check(&genuine, NOW).await.is_ok());
    // One signature will do: the key is looked for first.
    let claims = issuer.claims(AUDIENCE, NOW);
    let signature = genuine.rsplit('.').next().unwrap();
    let mut refused_count = 0;
    for n in 0..10_000u64 {
        let header = json!({"alg": "ES256", "typ": "at+jwt", "kid": format!("made-up-{n}")});
        let encode = |value: &Value| keybound_protocol::base64url::encode(value.to_string().as_bytes());
        let token = format!("{}.{}.{signature}", encode(&header), encode(&claims));
        // Within one interval, and beginning where a fetch is permitted.
        let now = after(REFETCH_INTERVAL + Duration::from_secs(n / 400));
        let refused = refused_as_invalid_token(publishing.check(&token, now).await);
        assert!(is_unknown_key(refused.reason()), "{:?}", refused.reason());
        refused_count += 1;
        if n % 500 == 0 {
            assert!(publishing.check(&genuine, now).await.is_ok());
        }
    }
    assert_eq!(refused_count, 10_000);
    assert!(publishing.fetches() <= 2, "{}", publishing.fetches());
}

// covers TRAP-42
#[tokio::test]
async fn unknown_key_ids_at_once_share_one_fetch() {
    let publishing = Arc::new(Publishing::new());
    let (published, unknown) = (publishing.token_issuer(), publishing.token_issuer());
    publishing.publish(&[&published]);
    let accepted = Arc::new(AtomicUsize::new(0));
    let tasks: Vec<_> = (0..200)
        .map(|n| {
            let publishing = Arc::clone(&publishing);
            let accepted = Arc::clone(&accepted);
            let token = publishing.token(if n % 2 == 0 { &published } else { &unknown }, NOW);
            tokio::spawn(async move {
                if publishing.check(&token, NOW).await.is_ok() {
                    accepted.fetch_add(1, Ordering::SeqCst);
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(accepted.load(Ordering::SeqCst), 100);
    assert_eq!(publishing.fetches(), 1);
}

// covers TRAP-42
#[tokio::test]
async fn a_new_key_is_found_within_thirty_seconds() {
    let publishing = Publishing::new();
    let (old, new) = (publishing.token_issuer(), publishing.token_issuer());
    publishing.publish(&[&old]);
    assert!(publishing.check(&publishing.token(&old, NOW), NOW).await.is_ok());
    publishing.publish(&[&old, &new]);
    let token = publishing.token(&new, NOW);
    // Too soon after the last fetch: refused, and nothing is asked.
    let refused = refused_as_invalid_token(
        publishing
            .check(&token, after(REFETCH_INTERVAL - Duration::from_secs(1)))
            .await,
    );
    assert!(is_unknown_key(refused.reason()));
    assert_eq!(failed_rule(&refused).rule, "signing key known");
    assert_eq!(publishing.fetches(), 1);
    assert!(publishing.check(&token, after(REFETCH_INTERVAL)).await.is_ok());
    assert!(
        publishing
            .check(&publishing.token(&old, NOW), after(REFETCH_INTERVAL))
            .await
            .is_ok()
    );
    assert_eq!(publishing.fetches(), 2);
}

#[tokio::test]
async fn a_key_that_was_withdrawn_is_noticed_though_every_key_id_is_known() {
    let publishing = Publishing::new();
    let (old, new) = (publishing.token_issuer(), publishing.token_issuer());
    publishing.publish(&[&old]);
    let token = publishing.token(&old, after(REFRESH_AFTER));
    assert!(publishing.check(&publishing.token(&old, NOW), NOW).await.is_ok());
    publishing.publish(&[&new]);
    let now = after(REFRESH_AFTER);
    // This request starts the refresh and does not wait for it.
    assert!(publishing.check(&token, now).await.is_ok());
    publishing.resource_server.prepare(now).await;
    let mut refused = None;
    for _ in 0..200 {
        match publishing.check(&token, now).await {
            Ok(_) => tokio::time::sleep(Duration::from_millis(10)).await,
            Err(refusal) => {
                refused = Some(refusal);
                break;
            }
        }
    }
    assert!(is_unknown_key(refused.unwrap().reason()));
    assert_eq!(publishing.fetches(), 2);
}

// covers TRAP-42
#[tokio::test]
async fn a_failed_fetch_empties_nothing_and_a_stale_set_serves_for_a_day() {
    let publishing = Publishing::new();
    let issuer = publishing.token_issuer();
    publishing.publish(&[&issuer]);
    assert!(publishing.check(&publishing.token(&issuer, NOW), NOW).await.is_ok());
    publishing.down.store(true, Ordering::SeqCst);
    for hour in 1..=24 {
        let now = after(Duration::from_secs(hour * 3600));
        assert!(
            publishing.check(&publishing.token(&issuer, now), now).await.is_ok(),
            "hour {hour}"
        );
        // Let the refresh that this started come to its end.
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let too_old = after(STALE_MAX + Duration::from_secs(1));
    let refused = publishing
        .check(&publishing.token(&issuer, too_old), too_old)
        .await
        .unwrap_err();
    assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(
        matches!(
            refused.reason(),
            AccessTokenRefusal::KeysUnavailable { source: Some(_), .. }
        ),
        "{:?}",
        refused.reason()
    );
    assert_eq!(failed_rule(&refused).rule, "the issuer's keys are known");
    // Back again.
    publishing.down.store(false, Ordering::SeqCst);
    let now = too_old.plus(REFETCH_INTERVAL);
    assert!(publishing.check(&publishing.token(&issuer, now), now).await.is_ok());
}

// covers TRAP-42
#[tokio::test]
async fn a_document_that_is_no_key_set_empties_nothing() {
    let publishing = Publishing::new();
    let issuer = publishing.token_issuer();
    publishing.publish(&[&issuer]);
    let genuine = publishing.token(&issuer, NOW);
    assert!(publishing.check(&genuine, NOW).await.is_ok());
    for (n, document) in [
        json!({}),
        json!({"keys": "none"}),
        json!({"keys": [{"kty": "EC"}]}),
        json!([]),
    ]
    .into_iter()
    .enumerate()
    {
        *publishing.published.lock().unwrap() = document;
        let now = after(REFETCH_INTERVAL * (n as u32 + 1));
        refused_as_invalid_token(
            publishing
                .check(&publishing.token(&publishing.token_issuer(), now), now)
                .await,
        );
        assert!(publishing.check(&genuine, now).await.is_ok());
        assert_eq!(publishing.fetches(), n + 2);
    }
}

#[tokio::test]
async fn an_issuer_that_was_never_reached_is_503_and_tried_at_growing_distances() {
    let publishing = Publishing::new();
    let issuer = publishing.token_issuer();
    publishing.publish(&[&issuer]);
    publishing.down.store(true, Ordering::SeqCst);
    for second in 0..60u64 {
        let now = after(Duration::from_secs(second));
        for _ in 0..10 {
            let refused = publishing
                .check(&publishing.token(&issuer, now), now)
                .await
                .unwrap_err();
            assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
            assert!(refused.challenge().is_none());
            assert!(matches!(refused.reason(), AccessTokenRefusal::KeysUnavailable { .. }));
        }
    }
    // At 0, 1, 3, 7, 15 and 31 s; each asks for the metadata, which failed.
    assert_eq!(publishing.site.seen().len(), 6);
    publishing.down.store(false, Ordering::SeqCst);
    let now = after(Duration::from_secs(61));
    assert!(publishing.check(&publishing.token(&issuer, now), now).await.is_ok());
}

#[tokio::test]
async fn a_request_that_is_given_up_does_not_stop_the_fetch_that_others_wait_for() {
    let publishing = Publishing::new();
    let issuer = publishing.token_issuer();
    publishing.publish(&[&issuer]);
    let parts = with_token(&publishing.token(&issuer, NOW));
    let first = publishing
        .resource_server
        .check(&parts, &publishing.party.presented(), &route(), NOW);
    let second = publishing
        .resource_server
        .check(&parts, &publishing.party.presented(), &route(), NOW);
    assert!(matches!((&first, &second), (Check::Pending(_), Check::Pending(_))));
    drop(first);
    assert!(second.finish().await.is_ok());
    assert_eq!(publishing.fetches(), 1);
}

#[tokio::test]
async fn other_settings_go_on_with_the_keys_from_the_same_place_and_with_no_others() {
    let publishing = Publishing::new();
    let token_issuer = publishing.token_issuer();
    publishing.publish(&[&token_issuer]);
    let token = publishing.token(&token_issuer, NOW);
    assert!(publishing.check(&token, NOW).await.is_ok());
    publishing.down.store(true, Ordering::SeqCst);

    let same = publishing
        .resource_server
        .reconfigured(vec![discovered(&publishing.site)])
        .unwrap();
    let check = same.check(&with_token(&token), &publishing.party.presented(), &route(), NOW);
    assert!(matches!(check, Check::Done(Ok(_))));
    assert_eq!(publishing.fetches(), 1);

    let url = publishing.site.url("/other-jwks");
    let elsewhere = Validation::Local(KeySource::JwksUri {
        url,
        discovery: discovery(),
    });
    let elsewhere = IssuerSettings::new(issuer(&publishing.site.issuer()), elsewhere);
    let other = publishing.resource_server.reconfigured(vec![elsewhere]).unwrap();
    let check = other.check(&with_token(&token), &publishing.party.presented(), &route(), NOW);
    let refused = check.finish().await.unwrap_err();
    assert!(
        matches!(refused.reason(), AccessTokenRefusal::KeysUnavailable { .. }),
        "{:?}",
        refused.reason()
    );
    assert_eq!(publishing.site.seen_at("/other-jwks").len(), 1);
}

#[tokio::test]
async fn other_limits_hold_from_the_next_request_on_and_keys_stay() {
    let publishing = Publishing::new();
    let token_issuer = publishing.token_issuer();
    publishing.publish(&[&token_issuer]);
    assert!(
        publishing
            .check(&publishing.token(&token_issuer, NOW), NOW)
            .await
            .is_ok()
    );
    publishing.down.store(true, Ordering::SeqCst);
    let minute = Duration::from_secs(60);
    let limits = Limits {
        key_set_stale_max: minute,
        ..Limits::DEFAULT
    };
    let settings = vec![discovered(&publishing.site)];
    let strict = publishing
        .resource_server
        .reconfigured_with_limits(settings.clone(), limits)
        .unwrap();
    let status_at = |resource_server: &ResourceServer, now| {
        let token = with_token(&publishing.token(&token_issuer, now));
        let check = resource_server.check(&token, &publishing.party.presented(), &route(), now);
        async { check.finish().await.map_err(|refused| refused.status()).map(|_| ()) }
    };
    assert_eq!(status_at(&strict, after(minute)).await, Ok(()));
    let later = after(minute + Duration::from_secs(1));
    let unavailable = Err(StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(status_at(&strict, later).await, unavailable);
    assert_eq!(status_at(&publishing.resource_server, later).await, Ok(()));
    let again = strict.reconfigured(settings).unwrap();
    assert_eq!(status_at(&again, later).await, unavailable, "the limits go on, too");
}

#[tokio::test]
async fn a_clock_that_is_set_back_keeps_no_withdrawn_key_alive() {
    let publishing = Publishing::new();
    let token_issuer = publishing.token_issuer();
    publishing.publish(&[&token_issuer]);
    let second = Duration::from_secs(1);
    let limits = Limits {
        key_set_refetch_interval: second,
        key_set_refresh_after: second,
        key_set_stale_max: second,
        ..Limits::DEFAULT
    };
    let resource_server = ResourceServer::with_limits(vec![discovered(&publishing.site)], limits).unwrap();
    let an_hour_ago = Timestamp::from_unix_secs(NOW.unix_secs() - 3600);
    let check_at = async |now| {
        let token = with_token(&publishing.token(&token_issuer, an_hour_ago));
        let check = resource_server.check(&token, &publishing.party.presented(), &route(), now);
        check.finish().await
    };
    assert!(check_at(an_hour_ago.plus(second)).await.is_ok());
    publishing.publish(&[&TokenIssuer::new(&publishing.site.issuer())]);
    // The monotonic clock says that every limit has passed.
    tokio::time::sleep(Duration::from_millis(1_050)).await;
    let refused = refused_as_invalid_token(check_at(an_hour_ago).await);
    assert!(is_unknown_key(refused.reason()), "{:?}", refused.reason());
    assert_eq!(publishing.fetches(), 2);
}
