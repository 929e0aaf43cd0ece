//! Certificate and client-certificate policy by server name.

use std::sync::atomic::Ordering::SeqCst;

use keybound_tls::{
    BindError, ClientCertificatePolicy, ForwardedCertificateSettings, Host, HostPolicies, HostPoliciesError,
    HostPolicy, Limits, Listener, ProxyCertificate, Runtimes, Transport,
};

use crate::{
    pki::{self, Client, KeyKind},
    support::{RawClient, Server, settings},
};

fn policy(name: &str, client_certificate: ClientCertificatePolicy, host: &str) -> HostPolicy {
    HostPolicy::new(name, client_certificate, pki::server(&[host]))
}

fn shared_port() -> HostPolicies {
    HostPolicies::several(
        policy("public", ClientCertificatePolicy::Never, "auth.example"),
        vec![policy("mutual_tls", ClientCertificatePolicy::Optional, "mtls.example")],
    )
}

// covers MTLS-3-7, MTLS-5-8, MTLS-6.1-5, TRAP-37
#[tokio::test]
async fn two_names_on_one_port_have_their_own_certificate_and_policy() {
    let server = Server::tls(shared_port());
    for (name, asked, policy, presented) in [
        ("auth.example", 0, "policy=public ", "presented=not requested "),
        ("mtls.example", 1, "policy=mutual_tls ", "presented=peer "),
        ("MTLS.example", 1, "policy=mutual_tls ", "presented=peer "),
    ] {
        let client = RawClient::any_version(Some(&Client::self_signed(KeyKind::P256)));
        let answer = client.get(&server, name).await.unwrap();
        assert!(
            answer.contains(policy) && answer.contains(presented),
            "{name}: {answer}"
        );
        assert!(
            answer.contains(&format!("sni=Some({:?})", name.to_lowercase())),
            "{answer}"
        );
        assert_eq!(client.resolver.asked.load(SeqCst), asked, "{name}");
    }
}

// covers TRAP-32
#[tokio::test]
async fn a_session_of_one_name_is_not_resumed_for_another() {
    let server = Server::tls(shared_port());
    let client = RawClient::any_version(Some(&Client::self_signed(KeyKind::P256)));
    for name in ["auth.example", "mtls.example", "auth.example", "mtls.example"] {
        let stream = client.connect(&server, name).await.unwrap();
        assert_ne!(
            stream.get_ref().1.handshake_kind(),
            Some(rustls::HandshakeKind::Resumed)
        );
    }
    assert_eq!(client.resolver.asked.load(SeqCst), 2);
}

fn refusal(policies: HostPolicies, forwarded: Option<ForwardedCertificateSettings>) -> HostPoliciesError {
    let mut settings = settings(Transport::Tls(policies), Limits::default());
    settings.forwarded_certificate = forwarded.map(Into::into);
    match Listener::bind(settings, &Runtimes::current()) {
        Err(BindError::Hosts { source, .. }) => source,
        other => panic!("{other:?}"),
    }
}

// covers MTLS-6.1-1
#[tokio::test]
async fn settings_that_contradict_themselves_do_not_start() {
    let never = |name: &str, host: &str| policy(name, ClientCertificatePolicy::Never, host);
    let named = |name: &str| HostPolicy {
        hosts: vec![Host {
            names: vec!["a.example".to_owned()],
            identity: pki::server(&["b.example"]),
        }],
        ..never(name, "x")
    };
    let twice = HostPolicies::several(named("one"), vec![named("two")]);
    assert_eq!(
        refusal(twice, None),
        HostPoliciesError::NameTwice {
            name: "a.example".to_owned()
        }
    );
    let same = HostPolicies::several(never("one", "a"), vec![never("one", "b")]);
    assert_eq!(
        refusal(same, None),
        HostPoliciesError::PolicyTwice {
            policy: "one".to_owned()
        }
    );
    let empty = HostPolicies::one(HostPolicy {
        hosts: Vec::new(),
        ..never("one", "a")
    });
    assert_eq!(
        refusal(empty, None),
        HostPoliciesError::NoHost {
            policy: "one".to_owned()
        }
    );

    let any_proxy = ForwardedCertificateSettings {
        from: Vec::new(),
        proxy: None,
    };
    assert_eq!(
        refusal(HostPolicies::one(never("one", "a")), Some(any_proxy)),
        HostPoliciesError::AnyProxy
    );
    let proxy = ProxyCertificate::new("lb.internal", Vec::new(), keybound_tls::Clock::system());
    let proxy = ForwardedCertificateSettings {
        from: Vec::new(),
        proxy: Some(proxy),
    };
    assert_eq!(
        refusal(HostPolicies::one(never("one", "a")), Some(proxy)),
        HostPoliciesError::ProxyNeverAsked
    );
}
