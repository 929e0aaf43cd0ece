//! RFC 7591 and RFC 7592: clients that register themselves, and manage that.

use http::{Method, StatusCode};
use keybound_authorization_server::{ClientPolicy, InitialAccessToken, REGISTRATION_METHODS, RegistrationSettings};
use keybound_protocol::authentication_method::AuthenticationMethod;
use keybound_protocol::client::ClientId;
use keybound_protocol::profile::Profile;
use keybound_protocol::secret::SecretHash;
use keybound_store::{Actor, AuditQuery};
use serde_json::{Value, json};

use crate::admin::{Administration, administrator};
use crate::pki::{Authority, dns, self_signed};
use crate::world::{API, NOW, Peer, Plan, Reply, Side, World, basic, self_signed_client, tls_client, with};

pub(crate) const INITIAL: &str = "aW5pdGlhbCBhY2Nlc3MgdG9rZW4gb2YgcGFydG5lcnM";
pub(crate) const OTHER_INITIAL: &str = "aW5pdGlhbCBhY2Nlc3MgdG9rZW4gb2Ygb3RoZXJzLi4";

pub(crate) fn policy() -> ClientPolicy {
    ClientPolicy {
        methods: REGISTRATION_METHODS.into(),
        grant_types: None,
        scopes: None,
        trust_anchors: None,
        profile: Profile::Default,
        software_statement_required: false,
        clients_max: 10_000,
    }
}

pub(crate) fn token(name: &str, token: &str, policy: ClientPolicy) -> InitialAccessToken {
    InitialAccessToken {
        name: name.to_owned(),
        token: SecretHash::of(token),
        policy,
    }
}

/// Registration by the token `partners`.
pub(crate) fn registration(policy: ClientPolicy) -> RegistrationSettings {
    RegistrationSettings {
        initial_access_tokens: vec![token("partners", INITIAL, policy)],
        software_statement_issuers: Vec::new(),
        clients_max: 10_000,
        per_address_and_hour_max: 10_000,
    }
}

pub(crate) fn plan(settings: RegistrationSettings) -> Plan {
    let mut plan = Plan::new();
    plan.settings.registration = Some(settings);
    plan
}

pub(crate) async fn send(peer: &Peer, method: Method, path: &str, token: Option<&str>, body: Option<&Value>) -> Reply {
    let authorization = token.map(|token| format!("Bearer {token}"));
    let headers: Vec<(&str, &str)> = authorization
        .iter()
        .map(|value| ("authorization", value.as_str()))
        .collect();
    let body = body.map(|body| ("application/json", body.to_string()));
    peer.send(method, path, &headers, body).await
}

pub(crate) async fn register(world: &World, metadata: &Value) -> Reply {
    let peer = world.peer(Side::Public, None);
    send(&peer, Method::POST, "/register", Some(INITIAL), Some(metadata)).await
}

/// A client that must get registered.
pub(crate) async fn registered(world: &World, metadata: &Value) -> Value {
    let reply = register(world, metadata).await;
    assert_eq!(reply.status, StatusCode::CREATED, "{reply:?}");
    reply.json()
}

/// Where the answer of a registration says that it is managed.
pub(crate) fn own_path(answer: &Value) -> String {
    let uri = answer["registration_client_uri"].as_str().unwrap();
    let path = uri
        .strip_prefix("https://as.example")
        .or_else(|| uri.strip_prefix("https://mtls.as.example"));
    path.unwrap_or_else(|| panic!("{uri}")).to_owned()
}

/// A request of the client that this answer is about.
pub(crate) async fn manage(world: &World, answer: &Value, method: Method, body: Option<&Value>) -> Reply {
    let token = answer["registration_access_token"].as_str().unwrap();
    send(
        &world.peer(Side::Public, None),
        method,
        &own_path(answer),
        Some(token),
        body,
    )
    .await
}

/// What a client sends to change what it is: its metadata without what the server sets.
pub(crate) fn own_members(answer: &Value) -> Value {
    let mut members = answer.clone();
    for name in [
        "registration_access_token",
        "registration_client_uri",
        "client_secret_expires_at",
        "client_id_issued_at",
    ] {
        members.as_object_mut().unwrap().remove(name);
    }
    members
}

// covers R7591-4, R7592-1, MTLS-9.5-1
#[tokio::test]
async fn a_registration_answers_with_all_that_is_registered_and_the_client_can_begin() {
    let authority = Authority::root("corp");
    let world = plan(registration(policy())).trusts("corp", &authority).start().await;
    let metadata = with(
        tls_client("robot.example"),
        json!({"client_name": "Robot", "scope": "read", "unknown_member": [1, {"a": null}]}),
    );
    let leaf = authority.issue(dns("robot.example"));
    for (side, origin) in [
        (Side::Public, "https://as.example"),
        (Side::MutualTls, "https://mtls.as.example"),
    ] {
        let peer = world.peer(side, Some(&leaf));
        let reply = send(&peer, Method::POST, "/register", Some(INITIAL), Some(&metadata)).await;
        assert_eq!(
            (reply.status, reply.header("cache-control")),
            (StatusCode::CREATED, Some("no-store")),
            "{reply:?}"
        );
        assert_eq!(reply.header("pragma"), Some("no-cache"));
        let answer = reply.json();
        let client_id = answer["client_id"].as_str().unwrap();
        let token = answer["registration_access_token"].as_str().unwrap();
        assert_eq!(token.len(), 43, "256 bits");
        let expected = json!({
            "client_id": client_id,
            "client_id_issued_at": NOW,
            "registration_access_token": token,
            "registration_client_uri": format!("{origin}/register/{client_id}"),
            "token_endpoint_auth_method": "tls_client_auth",
            "tls_client_auth_san_dns": "robot.example",
            "tls_client_certificate_bound_access_tokens": true,
            "grant_types": ["client_credentials"],
            "response_types": [],
            "scope": "read",
            "client_name": "Robot",
        });
        assert_eq!(answer, expected, "registered members and no others, and no secret");
        // Read on either side: the same, with the token that was shown, and as often as one likes.
        for _ in 0..2 {
            let read = send(&peer, Method::GET, &own_path(&answer), Some(token), None).await;
            assert_eq!(
                (read.status, read.header("cache-control")),
                (StatusCode::OK, Some("no-store")),
                "{read:?}"
            );
            assert_eq!(read.json(), expected);
        }
        assert_eq!(world.token(Some(&leaf), client_id).await.status, StatusCode::OK);
        let id = ClientId::parse(client_id).unwrap();
        let stored = world.store.registrations.find_registration(&id).unwrap().unwrap();
        assert_eq!(
            (stored.token, stored.policy.as_str()),
            (SecretHash::of(token), "partners"),
            "at rest as a hash"
        );
    }
    let query = AuditQuery {
        action: Some("client.registered".to_owned()),
        limit: 10,
        ..AuditQuery::default()
    };
    let records = world.store.audit.records(query).await.unwrap().records;
    assert_eq!(records.len(), 2);
    assert_eq!(records[0].entry.actor, Actor::Registrant("partners".to_owned()));
}

// covers R7591-1, R7591-2, R7591-5, MTLS-2.1.2-1, MTLS-2.1-2, TRAP-16, TRAP-17, T32
#[tokio::test]
async fn what_makes_no_client_is_refused_with_its_code_and_nothing_is_stored() {
    let world = plan(registration(policy()))
        .trusts("corp", &Authority::root("corp"))
        .start()
        .await;
    let client = tls_client("robot.example");
    let key = self_signed_client(&[&self_signed(dns("x"))]);
    let method = |name: &str| json!({"token_endpoint_auth_method": name});
    let none = json!({"token_endpoint_auth_method": "tls_client_auth"});
    let subjects = ["subject_dn", "san_dns", "san_uri", "san_ip", "san_email"];
    let mut cases: Vec<(String, Value, &str)> = Vec::new();
    for subject in subjects {
        for value in [json!(""), json!(" "), json!([]), json!(7), json!(null), json!({})] {
            let name = format!("tls_client_auth_{subject}");
            cases.push((
                format!("{subject} {value}"),
                with(none.clone(), json!({name: value})),
                "invalid_client_metadata",
            ));
        }
        if subject != "san_dns" {
            let two = with(client.clone(), json!({format!("tls_client_auth_{subject}"): "x"}));
            cases.push((format!("two, with {subject}"), two, "invalid_client_metadata"));
        }
    }
    let mut more = |name: &str, metadata: Value, code| cases.push((name.to_owned(), metadata, code));
    more("no subject", none.clone(), "invalid_client_metadata");
    more(
        "jwks twice",
        with(key.clone(), json!({"jwks_uri": "https://a.example/"})),
        "invalid_client_metadata",
    );
    more("no method", json!({"client_name": "x"}), "invalid_client_metadata");
    more("unknown method", method("tls_client"), "invalid_client_metadata");
    more(
        "secrets are off",
        method("client_secret_basic"),
        "invalid_client_metadata",
    );
    more("not permitted", method("none"), "invalid_client_metadata");
    more(
        "bound as text",
        with(
            client.clone(),
            json!({"tls_client_certificate_bound_access_tokens": "true"}),
        ),
        "invalid_client_metadata",
    );
    more(
        "grant type",
        with(client.clone(), json!({"grant_types": ["password"]})),
        "invalid_client_metadata",
    );
    more(
        "reserved scope",
        with(client.clone(), json!({"scope": "keybound:admin"})),
        "invalid_client_metadata",
    );
    more(
        "introspection",
        with(client.clone(), json!({"keybound_introspects": [API]})),
        "invalid_client_metadata",
    );
    more(
        "unknown anchor",
        with(client.clone(), json!({"keybound_trust_anchors": ["x"]})),
        "invalid_client_metadata",
    );
    more(
        "sector",
        with(client.clone(), json!({"sector_identifier_uri": "https://a.example/"})),
        "invalid_client_metadata",
    );
    more(
        "pairwise",
        with(client.clone(), json!({"subject_type": "pairwise"})),
        "invalid_client_metadata",
    );
    more(
        "fragment",
        with(client.clone(), json!({"redirect_uris": ["https://a.example/#x"]})),
        "invalid_redirect_uri",
    );
    more(
        "script",
        with(client.clone(), json!({"redirect_uris": ["javascript:alert(1)"]})),
        "invalid_redirect_uri",
    );
    more(
        "statement",
        with(client.clone(), json!({"software_statement": "a.b.c"})),
        "invalid_software_statement",
    );
    more(
        "no redirect URI",
        with(client.clone(), json!({"grant_types": ["authorization_code"]})),
        "invalid_redirect_uri",
    );
    let before = world.store.clients.clients_version().unwrap();
    for (name, metadata, code) in &cases {
        let reply = register(&world, metadata).await;
        assert_eq!(
            (reply.status, reply.json()["error"].as_str()),
            (StatusCode::BAD_REQUEST, Some(*code)),
            "{name} {reply:?}"
        );
        let rule = if *code == "invalid_software_statement" {
            "software statement"
        } else {
            "client metadata permitted"
        };
        assert_eq!(world.refusal(&reply).await.failed_rule().unwrap().rule, rule, "{name}");
    }
    let peer = world.peer(Side::Public, None);
    let headers = [("authorization", format!("Bearer {INITIAL}"))];
    let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
    for (media_type, body, status) in [
        ("application/x-www-form-urlencoded", client.to_string(), 415),
        ("application/json", "{".to_owned(), 400),
        ("application/json", "[]".to_owned(), 400),
        ("application/json", "[".repeat(40), 400),
        ("application/json", r#"{"scope":"a","scope":"b"}"#.to_owned(), 400),
        ("application/json", format!("{{\"x\":\"{}\"}}", "a".repeat(70_000)), 413),
    ] {
        let reply = peer
            .send(Method::POST, "/register", &headers, Some((media_type, body)))
            .await;
        assert_eq!(reply.status.as_u16(), status, "{reply:?}");
    }
    assert_eq!(
        world.store.clients.clients_version().unwrap(),
        before,
        "{} refused",
        cases.len()
    );
    registered(&world, &client).await;
}

// covers R7592-1, T32
#[tokio::test]
async fn nobody_registers_without_an_initial_access_token() {
    let world = plan(registration(policy()))
        .trusts("corp", &Authority::root("corp"))
        .start()
        .await;
    let peer = world.peer(Side::Public, None);
    let client = tls_client("robot.example");
    let bare = "Bearer realm=\"https://as.example\"";
    for (authorization, error) in [
        (None, None),
        (Some(basic("partners", INITIAL)), None),
        (Some(format!("DPoP {INITIAL}")), None),
        (Some("Bearer".to_owned()), Some((400, "invalid_request"))),
        (Some("Bearer wrong".to_owned()), Some((401, "invalid_token"))),
        (Some(format!("Bearer {INITIAL}x")), Some((401, "invalid_token"))),
        (Some(format!("Bearer {OTHER_INITIAL}")), Some((401, "invalid_token"))),
        (Some("Bearer partners".to_owned()), Some((401, "invalid_token"))),
    ] {
        let headers: Vec<(&str, &str)> = authorization
            .iter()
            .map(|value| ("authorization", value.as_str()))
            .collect();
        let body = Some(("application/json", client.to_string()));
        let reply = peer.send(Method::POST, "/register", &headers, body).await;
        let (status, code) = error.unwrap_or((401, "invalid_token"));
        world
            .assert_refused(&reply, status, code, "token of this endpoint")
            .await;
        match error {
            None => assert_eq!(reply.header("www-authenticate"), Some(bare), "no error without a token"),
            Some((401, _)) => {
                let challenge = reply.header("www-authenticate").unwrap();
                assert!(
                    challenge.starts_with(bare) && challenge.contains("error=\"invalid_token\""),
                    "{challenge}"
                );
            }
            Some(_) => assert_eq!(reply.header("www-authenticate"), None),
        }
    }
    // In the body or the query it is none.
    let path = format!("/register?access_token={INITIAL}");
    let reply = send(&peer, Method::POST, &path, None, Some(&client)).await;
    assert_eq!(reply.status, StatusCode::UNAUTHORIZED);
    registered(&world, &client).await;
    // Without any token on file nobody is let in.
    let none = RegistrationSettings {
        initial_access_tokens: Vec::new(),
        ..registration(policy())
    };
    let world = plan(none).start().await;
    assert_eq!(register(&world, &client).await.status, StatusCode::UNAUTHORIZED);
}

// covers R7591-3, R7591-4, R6749-3, R7592-2
#[tokio::test]
async fn where_secrets_are_permitted_a_client_without_a_method_gets_one_and_never_chooses_it() {
    let everything = ClientPolicy {
        methods: AuthenticationMethod::ALL.into(),
        ..policy()
    };
    let mut plan = plan(registration(everything));
    plan.settings.client_secrets_enabled = true;
    let world = plan.trusts("corp", &Authority::root("corp")).start().await;
    let chosen = json!({"scope": "read", "client_id": "robot", "client_secret": "hunter2"});
    let answer = registered(&world, &chosen).await;
    assert_eq!(answer["token_endpoint_auth_method"], "client_secret_basic");
    assert_eq!(answer["client_secret_expires_at"], 0);
    let secret = answer["client_secret"].as_str().unwrap();
    let client_id = answer["client_id"].as_str().unwrap();
    assert!(secret.len() == 43 && client_id != "robot", "{answer}");
    let works = async |secret: &str| {
        let authorization = basic(client_id, secret);
        let peer = world.peer(Side::Public, None);
        let grant = [("grant_type", "client_credentials")];
        peer.post_with("/token", &grant, &[("authorization", &authorization)])
            .await
            .status
            == StatusCode::OK
    };
    assert!(works(secret).await && !works("hunter2").await);
    let read = manage(&world, &answer, Method::GET, None).await.json();
    assert!(read.get("client_secret").is_none(), "shown once: {read}");
    let members = own_members(&answer);
    let chosen = with(members.clone(), json!({"client_secret": "hunter2"}));
    let reply = manage(&world, &answer, Method::PUT, Some(&chosen)).await;
    world
        .assert_refused(
            &reply,
            400,
            "invalid_client_metadata",
            "members that are the client's to set",
        )
        .await;
    // Its own secret may come along, and stays.
    let reply = manage(&world, &answer, Method::PUT, Some(&members)).await;
    assert_eq!(reply.status, StatusCode::OK, "{reply:?}");
    assert!(works(secret).await && !works("hunter2").await);
    // With another method it is gone, and does not come back.
    let tls = with(tls_client("robot.example"), json!({"client_id": client_id}));
    assert_eq!(
        manage(&world, &answer, Method::PUT, Some(&tls)).await.status,
        StatusCode::OK
    );
    assert!(!works(secret).await);
    let back = json!({"client_id": client_id, "token_endpoint_auth_method": "client_secret_basic", "scope": "read"});
    let reply = manage(&world, &answer, Method::PUT, Some(&back)).await.json();
    let second = reply["client_secret"].as_str().unwrap();
    assert!(works(second).await && !works(secret).await);
}

// covers R8414-5, MTLS-5-3, FAPI-2
#[tokio::test]
async fn the_metadata_names_the_endpoint_where_it_is_and_only_there() {
    let metadata = async |world: &World| {
        let path = "/.well-known/oauth-authorization-server";
        world.peer(Side::Public, None).get(path).await.json()
    };
    let document = metadata(&plan(registration(policy())).start().await).await;
    assert_eq!(document["registration_endpoint"], "https://as.example/register");
    assert_eq!(
        document["mtls_endpoint_aliases"]["registration_endpoint"],
        "https://mtls.as.example/register"
    );
    let world = Plan::new().start().await;
    let document = metadata(&world).await;
    assert!(document.get("registration_endpoint").is_none());
    assert!(document["mtls_endpoint_aliases"].get("registration_endpoint").is_none());
    assert_eq!(
        register(&world, &tls_client("x.example")).await.status,
        StatusCode::NOT_FOUND
    );
}

// covers R7591-6
#[tokio::test]
async fn a_hostile_name_is_data_and_administrators_see_where_the_client_comes_from() {
    let (authority, admin) = (Authority::root("corp"), self_signed(dns("admin")));
    let world = plan(registration(policy()))
        .trusts("corp", &authority)
        .client("admin", administrator(&admin))
        .start()
        .await;
    let token = world
        .access_token(&admin, "admin", &[("scope", "keybound:admin")])
        .await;
    let it = Administration {
        demo: authority.issue(dns("demo.example")),
        world,
        admin,
        authority,
        token,
    };
    let name = "<script>alert('x')</script> \"&amp; ${jndi:ldap://x} ' OR 1=1 --";
    let answer = registered(
        &it.world,
        &with(tls_client("one.example"), json!({"client_name": name})),
    )
    .await;
    assert_eq!(answer["client_name"], name);
    let shown = it
        .get(&format!("/clients/{}", answer["client_id"].as_str().unwrap()))
        .await;
    assert_eq!(
        (&shown.json()["client_name"], &shown.json()["keybound_origin"]),
        (&json!(name), &json!("registration"))
    );
    assert_eq!(shown.header("content-type"), Some("application/json"));
    // What would move a terminal's cursor, or turn the text around it, is no name.
    for name in [
        "\u{1b}[2J\u{1b}[31mroot",
        "a\u{0}b",
        "a\r\nb",
        "\u{9b}31m",
        "\u{7f}",
        "gnp.exe\u{202e}",
        "\u{2066}x",
    ] {
        let reply = register(
            &it.world,
            &with(tls_client("one.example"), json!({"client_name": name})),
        )
        .await;
        it.world
            .assert_refused(&reply, 400, "invalid_client_metadata", "client metadata permitted")
            .await;
    }
    // Only an administrator gives rights; a client that registered itself keeps none of them.
    let path = format!("/clients/{}", answer["client_id"].as_str().unwrap());
    assert_eq!(
        it.call(Method::DELETE, &path, &[], None).await.status,
        StatusCode::NO_CONTENT
    );
    let reply = manage(&it.world, &answer, Method::GET, None).await;
    it.world
        .assert_refused(&reply, 401, "invalid_token", "token of this endpoint")
        .await;
}

// covers R6749-11, R7591-4
#[tokio::test]
async fn a_client_that_asks_for_no_scope_gets_those_of_openid_where_it_can_use_them() {
    let authority = Authority::root("corp");
    let machine = with(tls_client("robot.example"), json!({"scope": null}));
    let asking = with(
        machine.clone(),
        json!({"grant_types": ["authorization_code"], "redirect_uris": ["https://client.example/cb"]}),
    );
    let start = async |openid_enabled, scopes: Option<&[&str]>| {
        let mut settings = plan(registration(ClientPolicy {
            scopes: scopes.map(|words| words.iter().map(|word| (*word).to_owned()).collect()),
            ..policy()
        }));
        settings.settings.openid_enabled = openid_enabled;
        settings.trusts("corp", &authority).start().await
    };
    let without_openid = start(false, None).await;
    assert_eq!(registered(&without_openid, &asking).await["scope"], Value::Null);
    let world = start(true, None).await;
    assert_eq!(
        registered(&world, &machine).await["scope"],
        Value::Null,
        "no user, no OpenID"
    );
    let own = registered(&world, &with(asking.clone(), json!({"scope": "read"}))).await;
    assert_eq!(own["scope"], "read");

    let answer = registered(&world, &asking).await;
    assert_eq!(answer["scope"], "openid profile email address phone");
    // RFC 7592 §2.2: what is left out is what the server makes of it, here as there.
    let reply = manage(
        &world,
        &answer,
        Method::PUT,
        Some(&with(own_members(&answer), json!({"scope": null}))),
    )
    .await;
    assert_eq!(reply.json()["scope"], answer["scope"], "{reply:?}");
    let limited = start(true, Some(&["read", "openid"])).await;
    assert_eq!(registered(&limited, &asking).await["scope"], "openid");
}
