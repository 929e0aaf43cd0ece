//! A whole authorization server on real sockets, with a clock and a store of its own.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use http::{HeaderMap, Method, Request, StatusCode};
use keybound_authorization_server::{
    AuthorizationServer, AuthorizationSettings, Environment, Limits, MUTUAL_TLS, PUBLIC, ResourceSettings, Settings,
    TokenSettings,
};
use keybound_protocol::access_token::AccessTokenFormat;
use keybound_protocol::base64url;
use keybound_protocol::client::{Client, ClientId, ClientOrigin};
use keybound_protocol::client_metadata::ClientMetadata;
use keybound_protocol::issuer::Issuer;
use keybound_protocol::profile::Profile;
use keybound_protocol::refusal::{Refusal, RefusalId};
use keybound_protocol::resource::ResourceUri;
use keybound_protocol::secret::SecretHash;
use keybound_protocol::signature_algorithm::SignatureAlgorithm;
use keybound_protocol::time::Timestamp;
use keybound_protocol::trust_anchor::{CrlMissing, TrustAnchor, TrustAnchorSettings};
use keybound_store::{SqliteSettings, SqliteStore, Store};
use keybound_tls::{
    ClientCertificatePolicy, Clock, ForwardedCertificateSettings, GuardedFetch, GuardedFetchSettings, HostPolicies,
    HostPolicy, HttpClient, HttpClientSettings, Identity, Listener, ListenerHandle, ListenerSettings, OutgoingBody,
    Roots, Runtimes, Transport,
};
use serde_json::{Value, json};
use url::Url;

use crate::pki::{Authority, Leaf, dns};

/// 2026-01-01T00:00:00Z: inside the validity of what [`crate::pki`] makes.
pub(crate) const NOW: i64 = 1_767_225_600;
pub(crate) const ISSUER: &str = "https://as.example";
pub(crate) const API: &str = "https://api.example";
pub(crate) const OTHER_API: &str = "https://other.example";
pub(crate) const OPAQUE_API: &str = "https://opaque.example";

/// A clock that tests set.
#[derive(Clone)]
pub(crate) struct TestClock(Arc<AtomicI64>);

impl TestClock {
    pub(crate) fn new() -> TestClock {
        TestClock(Arc::new(AtomicI64::new(NOW)))
    }

    pub(crate) fn clock(&self) -> Clock {
        let secs = Arc::clone(&self.0);
        Clock::from_fn(move || Timestamp::from_unix_secs(secs.load(Ordering::SeqCst)))
    }

    pub(crate) fn advance(&self, secs: i64) {
        self.0.fetch_add(secs, Ordering::SeqCst);
    }

    pub(crate) fn now(&self) -> i64 {
        self.0.load(Ordering::SeqCst)
    }
}

/// Changes a store before the server gets it.
pub(crate) type AroundStore = Box<dyn FnOnce(&mut Store)>;

/// What a world is made of, before it starts.
pub(crate) struct Plan {
    pub(crate) settings: Settings,
    pub(crate) clock: TestClock,
    pub(crate) server_authority: Authority,
    pub(crate) forwarded: Option<ForwardedCertificateSettings>,
    pub(crate) directory: Option<Arc<tempfile::TempDir>>,
    /// Puts something of its own between server and store.
    pub(crate) around_store: Option<AroundStore>,
}

/// A running server.
pub(crate) struct World {
    pub(crate) server: AuthorizationServer,
    pub(crate) store: Store,
    pub(crate) clock: TestClock,
    pub(crate) public: String,
    pub(crate) mutual_tls: String,
    pub(crate) operations: String,
    pub(crate) roots: Roots,
    pub(crate) directory: Arc<tempfile::TempDir>,
    pub(crate) listeners: Vec<ListenerHandle>,
}

/// Which listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Public,
    MutualTls,
}

/// An answer.
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

/// Somebody with or without a certificate, who keeps connections open.
#[derive(Clone)]
pub(crate) struct Peer {
    client: HttpClient,
    base: String,
}

impl Plan {
    pub(crate) fn new() -> Plan {
        let server_authority = Authority::root("server authority");
        let roots = Roots::from_pem(server_authority.pem().as_bytes()).unwrap();
        let mut fetch = GuardedFetchSettings::new(roots);
        fetch.allow_addresses = vec!["127.0.0.0/8".parse().unwrap(), "::1/128".parse().unwrap()];
        let resource = |uri, access_token_format| ResourceSettings {
            uri: ResourceUri::parse(uri).unwrap(),
            access_token_format,
        };
        let settings = Settings {
            issuer: Issuer::parse(ISSUER).unwrap(),
            mutual_tls_origin: Url::parse("https://mtls.as.example").unwrap(),
            profile: Profile::Default,
            tokens: TokenSettings {
                default_resource: Some(ResourceUri::parse(API).unwrap()),
                signing_algorithm: SignatureAlgorithm::Es256,
                other_signing_algorithms: Vec::new(),
                access_token_lifetime: Duration::from_secs(300),
                dpop_nonces: false,
            },
            operator: Some("Aurora".to_owned()),
            authorization: AuthorizationSettings::default(),
            openid_enabled: false,
            push_delivery_enabled: false,
            trust_anchors: Vec::new(),
            clients: Vec::new(),
            client_secrets_enabled: false,
            registration: None,
            token_exchange: Vec::new(),
            upstream_providers: Vec::new(),
            scopes: Vec::new(),
            resources: vec![
                resource(OTHER_API, None),
                resource(OPAQUE_API, Some(AccessTokenFormat::Opaque)),
            ],
            fetch: GuardedFetch::new(fetch),
            limits: Limits {
                failed_authentications_per_second: 100_000,
                ..Limits::default()
            },
        };
        Plan {
            settings,
            clock: TestClock::new(),
            server_authority,
            forwarded: None,
            directory: None,
            around_store: None,
        }
    }

    /// With a trust anchor.
    pub(crate) fn trusts(mut self, name: &str, authority: &Authority) -> Plan {
        self.settings.trust_anchors.extend(anchor(name, authority, &[], None));
        self
    }

    /// With a trust anchor whose revocation lists are these.
    pub(crate) fn trusts_with_lists(mut self, name: &str, authority: &Authority, lists: &[Vec<u8>]) -> Plan {
        self.settings.trust_anchors.extend(anchor(name, authority, lists, None));
        self
    }

    /// With a client from a configuration file.
    pub(crate) fn client(self, client_id: &str, metadata: Value) -> Plan {
        self.client_with_secret(client_id, metadata, None)
    }

    /// With a client from a configuration file that has a secret, whatever its method.
    pub(crate) fn client_with_secret(mut self, client_id: &str, metadata: Value, secret: Option<&str>) -> Plan {
        let policy = self.settings.registration_policy(ClientOrigin::ConfigurationFile);
        let parsed = ClientMetadata::parse(metadata.to_string().as_bytes(), &policy).unwrap();
        let client_id = ClientId::parse(client_id).unwrap();
        let client = Client::new(client_id, parsed, ClientOrigin::ConfigurationFile, 1);
        self.settings
            .clients
            .push(client.with_secret(secret.map(SecretHash::of)));
        self
    }

    /// With `rs`, which may introspect the tokens that clients get here by default, and `foreign`, which may not.
    pub(crate) fn introspecting(self) -> Plan {
        let asking = |name: &str, resources: &[&str]| {
            with(
                tls_client(&format!("{name}.example")),
                json!({"keybound_introspects": resources}),
            )
        };
        self.client("rs", asking("rs", &[API, OPAQUE_API]))
            .client("foreign", asking("foreign", &[OTHER_API]))
    }

    pub(crate) async fn start(self) -> World {
        World::start(self).await
    }
}

pub(crate) fn anchor(
    name: &str,
    authority: &Authority,
    lists: &[Vec<u8>],
    crl_missing: Option<CrlMissing>,
) -> Vec<TrustAnchor> {
    let settings = TrustAnchorSettings {
        name: name.parse().unwrap(),
        certificates: vec![authority.der().to_vec()],
        crls: lists.to_vec(),
        crl_missing,
        require_client_auth_eku: false,
        strict: false,
    };
    TrustAnchor::load(&settings).unwrap()
}

/// `tls_client_auth` by dNSName.
pub(crate) fn tls_client(san_dns: &str) -> Value {
    json!({
        "token_endpoint_auth_method": "tls_client_auth",
        "tls_client_auth_san_dns": san_dns,
        "grant_types": ["client_credentials"],
        "scope": "read write",
        "tls_client_certificate_bound_access_tokens": true,
    })
}

/// `self_signed_tls_client_auth` with these certificates.
pub(crate) fn self_signed_client(leaves: &[&Leaf]) -> Value {
    let keys: Vec<Value> = leaves.iter().map(|leaf| leaf.jwk()).collect();
    json!({
        "token_endpoint_auth_method": "self_signed_tls_client_auth",
        "jwks": {"keys": keys},
        "grant_types": ["client_credentials"],
        "scope": "read write",
        "tls_client_certificate_bound_access_tokens": true,
    })
}

/// `client_secret_basic` or `client_secret_post`.
pub(crate) fn secret_client(method: &str) -> Value {
    json!({
        "token_endpoint_auth_method": method,
        "grant_types": ["client_credentials"],
        "scope": "read write",
        "tls_client_certificate_bound_access_tokens": false,
    })
}

/// The value of a `Basic` header, its halves form-encoded (RFC 6749 §2.3.1).
pub(crate) fn basic(client_id: &str, secret: &str) -> String {
    let encoded = |text: &str| url::form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
    let credentials = format!("{}:{}", encoded(client_id), encoded(secret));
    format!("Basic {}", base64url::encode_standard(credentials.as_bytes()))
}

/// The same object with other members.
pub(crate) fn with(mut object: Value, members: Value) -> Value {
    for (name, value) in members.as_object().unwrap() {
        object[name] = value.clone();
    }
    object
}

pub(crate) fn server_identity(authority: &Authority) -> Identity {
    let wish = crate::pki::Wish {
        extended_key_usages: vec![rcgen::ExtendedKeyUsagePurpose::ServerAuth],
        ..dns("localhost")
    };
    authority.issue(wish).identity()
}

impl World {
    async fn start(plan: Plan) -> World {
        let identity = server_identity(&plan.server_authority);
        let directory = plan.directory.unwrap_or_else(|| Arc::new(tempfile::tempdir().unwrap()));
        let sqlite = SqliteSettings::new(directory.path().join("keybound.db"), directory.path().join("keys.kek"));
        let mut store = SqliteStore::open(&sqlite, Timestamp::from_unix_secs(plan.clock.now())).unwrap();
        if let Some(around) = plan.around_store {
            around(&mut store);
        }
        let environment = Environment {
            store: store.clone(),
            clock: plan.clock.clock(),
        };
        let server = AuthorizationServer::start(plan.settings, environment).await.unwrap();
        let runtimes = Runtimes::current();
        let bind = |name: &str, policy, forwarded: Option<ForwardedCertificateSettings>| {
            let hosts = HostPolicies::one(HostPolicy::new(name, policy, identity.clone()));
            let mut settings =
                ListenerSettings::new(name, SocketAddr::from(([127, 0, 0, 1], 0)), Transport::Tls(hosts));
            settings.forwarded_certificate = forwarded.map(Arc::new);
            Listener::bind(settings, &runtimes).unwrap().serve(server.service())
        };
        let public = bind(PUBLIC, ClientCertificatePolicy::Never, None);
        let mutual_tls = bind(MUTUAL_TLS, ClientCertificatePolicy::Optional, plan.forwarded);
        let operations = ListenerSettings::new("operations", SocketAddr::from(([127, 0, 0, 1], 0)), Transport::Plain);
        let operations = Listener::bind(operations, &runtimes)
            .unwrap()
            .serve(server.operations_service());
        server.set_ready(true);
        let url =
            |scheme: &str, listener: &ListenerHandle| format!("{scheme}://localhost:{}", listener.local_addr().port());
        World {
            public: url("https", &public),
            mutual_tls: url("https", &mutual_tls),
            operations: url("http", &operations),
            roots: Roots::from_pem(plan.server_authority.pem().as_bytes()).unwrap(),
            listeners: vec![public, mutual_tls, operations],
            clock: plan.clock,
            server,
            store,
            directory,
        }
    }

    /// Somebody who presents this certificate where asked.
    pub(crate) fn peer(&self, side: Side, leaf: Option<&Leaf>) -> Peer {
        let mut settings = HttpClientSettings::new(self.roots.clone());
        settings.identity = leaf.map(Leaf::identity);
        let base = match side {
            Side::Public => self.public.clone(),
            Side::MutualTls => self.mutual_tls.clone(),
        };
        Peer {
            client: HttpClient::new(settings),
            base,
        }
    }

    /// Somebody at the operations listener.
    pub(crate) fn operator(&self) -> Peer {
        let mut settings = HttpClientSettings::new(self.roots.clone());
        settings.plain_http = true;
        Peer {
            client: HttpClient::new(settings),
            base: self.operations.clone(),
        }
    }

    /// A form over mutual TLS, on a connection of its own.
    pub(crate) async fn post(&self, leaf: Option<&Leaf>, path: &str, form: &[(&str, &str)]) -> Reply {
        self.peer(Side::MutualTls, leaf).post(path, form).await
    }

    /// A client-credentials request over mutual TLS, on a connection of its own.
    pub(crate) async fn token(&self, leaf: Option<&Leaf>, client_id: &str) -> Reply {
        self.post(leaf, "/token", &credentials(client_id)).await
    }

    /// The access token of a client that must get one.
    pub(crate) async fn access_token(&self, leaf: &Leaf, client_id: &str, more: &[(&str, &str)]) -> String {
        let form = [&credentials(client_id)[..], more].concat();
        let reply = self.post(Some(leaf), "/token", &form).await;
        assert_eq!(reply.status, StatusCode::OK, "{reply:?}");
        reply.json()["access_token"].as_str().unwrap().to_owned()
    }

    /// The record of the refusal that this answer is.
    pub(crate) async fn refusal(&self, reply: &Reply) -> Refusal {
        let id = reply
            .headers
            .get("keybound-refusal")
            .unwrap_or_else(|| panic!("no refusal: {reply:?}"))
            .to_str()
            .unwrap();
        let id = RefusalId::parse(id).unwrap();
        self.server.refusal(&id).await.unwrap().unwrap()
    }

    /// Asserts the answer and the rule that the record names as the cause.
    pub(crate) async fn assert_refused(&self, reply: &Reply, status: u16, error: &str, rule: &str) -> Refusal {
        assert_eq!(
            (reply.status.as_u16(), reply.json()["error"].as_str()),
            (status, Some(error)),
            "{reply:?}"
        );
        let refusal = self.refusal(reply).await;
        let failed = refusal.failed_rule().map(|rule| rule.rule.as_ref());
        assert_eq!(failed, Some(rule), "{refusal:#?}");
        assert_eq!(refusal.status, status);
        refusal
    }
}

/// The parameters of the client-credentials grant.
pub(crate) fn credentials(client_id: &str) -> [(&str, &str); 2] {
    [("grant_type", "client_credentials"), ("client_id", client_id)]
}

impl Peer {
    pub(crate) async fn post(&self, path: &str, form: &[(&str, &str)]) -> Reply {
        self.post_with(path, form, &[]).await
    }

    /// A form with other header fields, which win.
    pub(crate) async fn post_with(&self, path: &str, form: &[(&str, &str)], headers: &[(&str, &str)]) -> Reply {
        let body: String = url::form_urlencoded::Serializer::new(String::new())
            .extend_pairs(form)
            .finish();
        self.send(
            Method::POST,
            path,
            headers,
            Some(("application/x-www-form-urlencoded", body)),
        )
        .await
    }

    pub(crate) async fn get(&self, path: &str) -> Reply {
        self.send(Method::GET, path, &[], None).await
    }

    pub(crate) async fn get_with_token(&self, path: &str, token: &str) -> Reply {
        let authorization = format!("Bearer {token}");
        self.send(Method::GET, path, &[("authorization", &authorization)], None)
            .await
    }

    pub(crate) async fn send(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<(&str, String)>,
    ) -> Reply {
        let mut request = Request::builder().method(method).uri(format!("{}{path}", self.base));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let given = |name: &str| headers.iter().any(|(given, _)| given.eq_ignore_ascii_case(name));
        if let Some((content_type, _)) = &body
            && !given("content-type")
        {
            request = request.header("content-type", *content_type);
        }
        let body = body.map_or(OutgoingBody::Empty, |(_, body)| OutgoingBody::from(body));
        self.exchange(request.body(body).unwrap()).await
    }

    /// A form that arrives as slowly as `body` makes it.
    pub(crate) async fn post_streamed(&self, path: &str, body: OutgoingBody) -> Reply {
        let headers = [("content-type", "application/x-www-form-urlencoded")];
        self.send_streamed(Method::POST, path, &headers, body).await
    }

    pub(crate) async fn send_streamed(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: OutgoingBody,
    ) -> Reply {
        let mut request = Request::builder().method(method).uri(format!("{}{path}", self.base));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.exchange(request.body(body).unwrap()).await
    }

    async fn exchange(&self, request: Request<OutgoingBody>) -> Reply {
        let response = self.client.send(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let body = body.collect_at_most(1 << 20).await.unwrap().to_vec();
        Reply {
            status: parts.status,
            headers: parts.headers,
            body,
        }
    }
}

impl std::fmt::Debug for Reply {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            formatter,
            "{} {:?} {}",
            self.status,
            self.headers,
            String::from_utf8_lossy(&self.body)
        )
    }
}

impl Reply {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.headers.get_all(name).iter();
        let value = values.next()?;
        assert!(values.next().is_none(), "{name} twice");
        Some(value.to_str().unwrap())
    }
}

/// The claims of a JWT, its signature not looked at.
pub(crate) fn claims(token: &str) -> Value {
    let payload = token.split('.').nth(1).unwrap();
    serde_json::from_slice(&base64url::decode(payload).unwrap()).unwrap()
}

/// The header of a JWT.
pub(crate) fn jose_header(token: &str) -> Value {
    let header = token.split('.').next().unwrap();
    serde_json::from_slice(&base64url::decode(header).unwrap()).unwrap()
}
