//! What a replayed code ends is refused where it is used (FAPI 2.0 Security Profile §5.3.2.1, RFC 6749 §4.1.2), by a resource server
//! that follows the server's revocations, and so is what a certificate is cut off from.

use std::sync::Arc;
use std::time::{Duration, Instant};

use http::Request;
use keybound_protocol::confirmation::CertificateThumbprint;
use keybound_protocol::endpoint::Endpoint;
use keybound_protocol::issuer::Issuer;
use keybound_protocol::peer_certificate::{PeerCertificate, PresentedCertificate};
use keybound_protocol::profile::Profile;
use keybound_protocol::server_metadata::ServerMetadata;
use keybound_protocol::time::Timestamp;
use keybound_resource_server::client::{
    AuthorizationServer, Client, ClientAuthentication, ClientSettings, HttpClientSettings, Identity,
};
use keybound_resource_server::{
    AccessTokenRefusal, IssuerSettings, KeySource, OnStale, ResourceServer, RevocationFollower, RevocationSettings,
    RoutePolicy, Validation,
};
use keybound_store::{Actor, AuditEntry, Revocation, RevocationSubject};
use serde_json::json;
use url::Url;

use crate::consent::{Consent, asking_client, public_client, text};
use crate::pki::{Authority, Leaf, dns, self_signed};
use crate::world::{API, ISSUER, NOW, Plan, Side, World, self_signed_client, with};

/// How many codes are replayed, one after the other.
const TIMES: usize = 20;
const REACHES_WITHIN: Duration = Duration::from_secs(1);

struct Cast {
    world: World,
    demo: Leaf,
    resource_server: ResourceServer,
    _following: RevocationFollower,
}

async fn cast(profile: Profile) -> Cast {
    let authority = Authority::root("corp");
    let gateway = self_signed(dns("gateway"));
    let follower = with(
        self_signed_client(&[&gateway]),
        json!({"scope": "keybound:revocations"}),
    );
    let mut plan = Plan::new().trusts("corp", &authority);
    plan.settings.profile = profile;
    let mut plan = plan
        .client("demo", asking_client("demo.example"))
        .client("gateway", follower);
    if profile == Profile::Default {
        plan = plan.client("app", public_client());
    }
    let world = plan.start().await;
    let keys = world.peer(Side::Public, None).get("/jwks").await.body;
    let url = |path: &str| Url::parse(&format!("{}{path}", world.mutual_tls)).unwrap();
    let issuer = Issuer::parse(ISSUER).unwrap();
    let metadata = ServerMetadata::new(issuer.clone()).with_endpoint(Endpoint::Token, url("/token"), None);
    let mut http = HttpClientSettings::new(world.roots.clone());
    http.identity = Some(gateway.identity());
    let client = Client::new(ClientSettings {
        server: AuthorizationServer::given(metadata),
        client_id: "gateway".parse().unwrap(),
        authentication: ClientAuthentication::Certificate,
        identity: Identity::new(http),
    });
    let keys = keybound_protocol::jwk_set::JwkSet::parse(&keys).unwrap();
    let mut settings = IssuerSettings::new(issuer, Validation::Local(KeySource::Static(keys)));
    settings.revocations = Some(RevocationSettings {
        url: url("/revocations"),
        client: Arc::new(client),
        on_stale: OnStale::Refuse,
    });
    let resource_server = ResourceServer::new(vec![settings]).unwrap();
    let following = resource_server.follow_revocations(&world.clock.clock());
    let cast = Cast {
        demo: authority.issue(dns("demo.example")),
        _following: following,
        resource_server,
        world,
    };
    let begun = Instant::now();
    while cast.resource_server.revocations(cast.now()).any(|it| it.is_silent) {
        assert!(begun.elapsed() < Duration::from_secs(10), "the feed was never read");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    cast
}

impl Cast {
    fn now(&self) -> Timestamp {
        Timestamp::from_unix_secs(self.world.clock.now())
    }

    async fn check(&self, leaf: &Leaf, token: &str) -> Result<(), AccessTokenRefusal> {
        let request = Request::get("/").header("authorization", format!("Bearer {token}"));
        let (parts, ()) = request.body(()).unwrap().into_parts();
        let certificate = PeerCertificate::suppose_possession(leaf.der.to_vec(), Vec::new());
        let presented = PresentedCertificate::from_peer(certificate);
        let policy = RoutePolicy::new(API.parse().unwrap());
        let check = self.resource_server.check(&parts, &presented, &policy, self.now());
        check
            .finish()
            .await
            .map(|_| ())
            .map_err(|refused| refused.into_reason())
    }

    /// How long it takes until the resource refuses the token as revoked.
    async fn until_denied(&self, leaf: &Leaf, token: &str) -> Duration {
        let begun = Instant::now();
        loop {
            match self.check(leaf, token).await {
                Ok(()) => assert!(begun.elapsed() < REACHES_WITHIN, "still accepted"),
                Err(AccessTokenRefusal::Denied { .. }) => return begun.elapsed(),
                Err(other) => panic!("{other}"),
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}

// covers FAPI-24, R6749-7, R7009-5
#[tokio::test]
async fn the_tokens_of_a_replayed_code_are_refused_at_the_resource_within_a_second() {
    for profile in [Profile::Default, Profile::Fapi2] {
        let cast = cast(profile).await;
        let (world, demo) = (&cast.world, &cast.demo);
        let mut took = Vec::new();
        for _ in 0..TIMES {
            let code = world.code(&Consent::to("demo")).await;
            let first = world.redeem(Some(demo), "demo", &code, &[]).await.json();
            let refreshed = world
                .refresh(Some(demo), "demo", text(&first, "refresh_token"), &[])
                .await
                .json();
            let bystander = world.tokens(demo, &Consent::to("demo")).await;
            let tokens = [text(&first, "access_token"), text(&refreshed, "access_token")];
            for token in tokens {
                assert!(cast.check(demo, token).await.is_ok());
            }
            let replayed = world.redeem(Some(demo), "demo", &code, &[]).await;
            assert_eq!(
                (replayed.status.as_u16(), &replayed.json()["error"]),
                (400, &json!("invalid_grant"))
            );
            for token in tokens {
                took.push(cast.until_denied(demo, token).await);
            }
            assert!(cast.check(demo, text(&bystander, "access_token")).await.is_ok());
        }
        took.sort();
        assert!(took.iter().all(|took| *took < REACHES_WITHIN), "{took:?}");
    }
}

// covers MTLS-4-8, R7009-5
#[tokio::test]
async fn a_public_clients_grant_ends_with_the_certificate_it_is_bound_to() {
    let cast = cast(Profile::Default).await;
    let world = &cast.world;
    let (instance, renewed) = (self_signed(dns("instance")), self_signed(dns("instance")));
    let code = world.code(&Consent::to("app")).await;
    let tokens = world.redeem(Some(&instance), "app", &code, &[]).await.json();
    assert!(cast.check(&instance, text(&tokens, "access_token")).await.is_ok());
    let thumbprint: CertificateThumbprint = instance.thumbprint().parse().unwrap();
    let revocation = Revocation {
        subject: RevocationSubject::Certificate(thumbprint),
        issued_before: None,
        until: Timestamp::from_unix_secs(NOW + 100_000),
    };
    let entry = AuditEntry::new(Timestamp::from_unix_secs(NOW), Actor::Operator);
    world.store.revocations.revoke(revocation, entry).await.unwrap();
    cast.until_denied(&instance, text(&tokens, "access_token")).await;
    // On a new connection: what an open one knew ends with the next trust epoch, a second later at most.
    for leaf in [&instance, &renewed] {
        let reply = world
            .refresh(Some(leaf), "app", text(&tokens, "refresh_token"), &[])
            .await;
        assert_eq!(reply.status.as_u16(), 400, "{reply:?}");
    }
}
