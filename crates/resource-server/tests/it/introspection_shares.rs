//! Who makes tokens up does not keep an issuer from being asked about others.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use http::{Request, Response};
use keybound_protocol::confirmation::BindingError;
use keybound_protocol::peer_certificate::{ForwardingError, PresentedCertificate};
use keybound_resource_server::{AccessTokenRefusal, Binding, Caller, ResourceServer, RoutePolicy, Verdict};
use keybound_tls::{
    ClientCertificatePolicy, Connection, HostPolicies, HostPolicy, Listener, ListenerSettings, RequestBody,
    ResponseBody, Runtimes, Service, Transport,
};
use serde_json::json;
use url::Url;

use crate::introspection::{Asked, active, settings_at};
use crate::pki::{self, Party};
use crate::site::json as json_response;
use crate::support::{NOW, failed_rule, refused_as_invalid_token, route, with_token};

/// An issuer that thinks long about tokens that were made up, and knows those of one party.
#[derive(Clone)]
struct Slow {
    holder: Arc<Party>,
    thinking: Arc<AtomicUsize>,
    /// The most that it thought about at once.
    most: Arc<Mutex<usize>>,
}

impl Service for Slow {
    async fn call(&self, _: &Arc<Connection>, request: Request<RequestBody>) -> Response<ResponseBody> {
        let body = request.into_body().collect().await.unwrap();
        if String::from_utf8_lossy(&body).contains("token=genuine") {
            return json_response(&active(&self.holder));
        }
        let now = self.thinking.fetch_add(1, Ordering::SeqCst) + 1;
        {
            let mut most = self.most.lock().unwrap();
            *most = now.max(*most);
        }
        tokio::time::sleep(Duration::from_millis(1_500)).await;
        self.thinking.fetch_sub(1, Ordering::SeqCst);
        json_response(&json!({"active": false}))
    }
}

impl Slow {
    fn start(holder: Party) -> (Slow, ResourceServer) {
        let policies = HostPolicies::one(HostPolicy::new(
            "slow",
            ClientCertificatePolicy::Optional,
            pki::server(),
        ));
        let settings = ListenerSettings::new("slow", ([127, 0, 0, 1], 0).into(), Transport::Tls(policies));
        let listener = Listener::bind(settings, &Runtimes::current()).unwrap();
        let origin = Url::parse(&format!("https://localhost:{}", listener.local_addr().port())).unwrap();
        let slow = Slow {
            holder: Arc::new(holder),
            thinking: Arc::default(),
            most: Arc::default(),
        };
        listener.serve(slow.clone());
        let own = Party::new("resource");
        (slow, ResourceServer::new(vec![settings_at(&origin, &own)]).unwrap())
    }
}

async fn check(
    resource_server: ResourceServer,
    address: SocketAddr,
    token: String,
    presented: PresentedCertificate,
    policy: RoutePolicy,
) -> Verdict {
    let caller = Caller {
        remote_address: Some(address),
        ..Caller::new(&presented)
    };
    let check = resource_server.check_for(&with_token(&token), &caller, &policy, NOW);
    check.finish().await
}

// covers T25
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn strangers_of_one_prefix_do_not_take_all_questions() {
    let (slow, resource_server) = Slow::start(Party::new("demo"));
    let stranger = Party::new("stranger").presented();
    let mut strangers = tokio::task::JoinSet::new();
    for number in 0..600u16 {
        let address = SocketAddr::from(([203, 0, 113, 1], 4_000 + number % 30));
        let token = format!("made-up-{number}");
        strangers.spawn(check(
            resource_server.clone(),
            address,
            token,
            stranger.clone(),
            route(),
        ));
    }
    let deadline = Instant::now() + Duration::from_secs(10);
    while slow.thinking.load(Ordering::SeqCst) < 64 {
        assert!(Instant::now() < deadline, "they are not asked about");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    for number in 0..20u8 {
        let address = SocketAddr::from(([192, 0, 2, 1], 4_000 + u16::from(number)));
        let token = format!("genuine-{number}");
        let started = Instant::now();
        let verdict = check(
            resource_server.clone(),
            address,
            token,
            slow.holder.presented(),
            route(),
        )
        .await;
        assert!(verdict.is_ok(), "{:?}", verdict.unwrap_err().reason());
        assert!(started.elapsed() < Duration::from_secs(1));
    }
    let mut unavailable = 0;
    for verdict in strangers.join_all().await {
        let refused = verdict.unwrap_err();
        match refused.reason() {
            AccessTokenRefusal::IssuerUnavailable { .. } => {
                assert_eq!(refused.status(), 503);
                assert_eq!(failed_rule(&refused).rule, "the issuer can be asked");
                assert_eq!(refused.retry_after().unwrap(), "1");
                unavailable += 1;
            }
            AccessTokenRefusal::Inactive => assert_eq!(refused.status(), 401),
            reason => panic!("{reason:?}"),
        }
    }
    assert_eq!((unavailable, *slow.most.lock().unwrap()), (600 - 64, 64));
}

// covers MTLS-3-2, T25
#[tokio::test]
async fn a_request_without_a_certificate_is_refused_before_the_issuer_is_asked_where_one_is_needed() {
    let asked = Asked::new();
    let is_none: fn(&BindingError) -> bool = |error| matches!(error, BindingError::NoCertificate);
    for (presented, is_expected) in [
        (PresentedCertificate::None, is_none),
        (PresentedCertificate::NotRequested, |error| {
            matches!(error, BindingError::NotRequested)
        }),
        (
            PresentedCertificate::TooLong {
                presented_intermediates: 7,
            },
            |error| {
                matches!(
                    error,
                    BindingError::ChainTooLong {
                        presented_intermediates: 7
                    }
                )
            },
        ),
        (
            PresentedCertificate::ForwardingRefused(ForwardingError::ChainWithoutCertificate),
            |error| {
                matches!(
                    error,
                    BindingError::Forwarding(ForwardingError::ChainWithoutCertificate)
                )
            },
        ),
    ] {
        for number in 0..100 {
            let verdict = asked.check(&format!("made-up-{number}"), &presented, NOW).await;
            let refused = refused_as_invalid_token(verdict);
            assert!(
                matches!(refused.reason(), AccessTokenRefusal::CertificateRequired(error) if is_expected(error)),
                "{:?}",
                refused.reason()
            );
            let rules = refused.rules();
            assert_eq!(
                failed_rule(&refused).rule,
                "the certificate of this request is the one it is bound to"
            );
            assert_eq!(
                rules[2].rule,
                failed_rule(&refused).rule,
                "nothing is said to have passed that was not asked"
            );
        }
    }
    assert_eq!(asked.questions(), 0);
    // Where a token need not be bound, nobody but the issuer can tell.
    let policy = route().with_binding(Binding::Optional);
    let check = asked
        .resource_server
        .check(&with_token("made-up"), &PresentedCertificate::None, &policy, NOW);
    refused_as_invalid_token(check.finish().await);
    assert_eq!(asked.questions(), 1);
}
