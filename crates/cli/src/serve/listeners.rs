//! The server's listeners: which host gets which certificate, who is asked for one, which proxy is believed.

use keybound_authorization_server::{MUTUAL_TLS, PUBLIC};
use keybound_protocol::trust_anchor::TrustAnchor;
use keybound_tls::{
    ClientCertificatePolicy, Clock, ForwardedCertificateSettings, Host, HostPolicies, HostPolicy, Identity, Listener,
    ListenerSettings, ProxyCertificate, Runtimes, Transport,
};

use crate::configuration::forwarded_certificate::ListenerName;
use crate::configuration::server::ServerFile;
use crate::daemon::bind_failed;
use crate::exit_code::CommandError;

/// Who is served where, and asked for a certificate or not.
pub(super) struct Hosts {
    pub(super) public: HostPolicies,
    /// `None` where both sides share a port and are told apart by SNI.
    pub(super) mutual_tls: Option<HostPolicies>,
}

impl Hosts {
    pub(super) fn of(file: &ServerFile) -> Self {
        let host = |name: &str, identity: &Identity| Host {
            names: vec![name.to_owned()],
            identity: identity.clone(),
        };
        let named = file.tls_names.iter().map(|it| host(&it.name, &it.identity));
        let policy = |name: &str, client_certificate, hosts| HostPolicy {
            name: name.into(),
            client_certificate,
            hosts,
        };
        let own = Host {
            names: Vec::new(),
            identity: file.tls.clone(),
        };
        if file.listen.public != file.listen.mutual_tls {
            let hosts: Vec<Host> = std::iter::once(own).chain(named).collect();
            return Self {
                public: HostPolicies::one(policy(PUBLIC, ClientCertificatePolicy::Never, hosts.clone())),
                mutual_tls: Some(HostPolicies::one(policy(
                    MUTUAL_TLS,
                    ClientCertificatePolicy::Optional,
                    hosts,
                ))),
            };
        }
        let alias = file.mutual_tls_origin.host_str().unwrap_or_default();
        let (mutual_tls, others): (Vec<Host>, Vec<Host>) =
            named.partition(|host| host.names.iter().any(|name| name == alias));
        let public = std::iter::once(own).chain(others).collect();
        Self {
            public: HostPolicies::several(
                policy(PUBLIC, ClientCertificatePolicy::Never, public),
                vec![policy(MUTUAL_TLS, ClientCertificatePolicy::Optional, mutual_tls)],
            ),
            mutual_tls: None,
        }
    }
}

/// An open listener.
pub(super) enum Opened {
    Tls(Listener),
    Operations(Listener),
}

/// Opens all of them; nothing is answered yet.
pub(super) fn bind(
    file: &ServerFile,
    anchors: &[TrustAnchor],
    clock: &Clock,
    runtimes: &Runtimes,
) -> Result<Vec<Opened>, CommandError> {
    let hosts = Hosts::of(file);
    let mut opened = Vec::new();
    let mut tls = |name: &'static str, address, hosts, listener| {
        let mut listener_settings = ListenerSettings::new(name, address, Transport::Tls(hosts));
        listener_settings.limits = file.policy.limits.listener.clone();
        listener_settings.forwarded_certificate = believed(file, listener, anchors, clock).map(Into::into);
        Listener::bind(listener_settings, runtimes)
            .map(|listener| opened.push(Opened::Tls(listener)))
            .map_err(bind_failed)
    };
    tls(PUBLIC, file.listen.public, hosts.public, ListenerName::Public)?;
    if let Some(mutual_tls) = hosts.mutual_tls {
        tls(MUTUAL_TLS, file.listen.mutual_tls, mutual_tls, ListenerName::MutualTls)?;
    }
    let operations = ListenerSettings::new("operations", file.listen.operations, Transport::Plain);
    opened.push(Opened::Operations(
        Listener::bind(operations, runtimes).map_err(bind_failed)?,
    ));
    Ok(opened)
}

/// The proxy whose `Client-Cert` counts on `listener`. `anchors` are all that there are; only those that its entry names vouch for it.
pub(super) fn believed(
    file: &ServerFile,
    listener: ListenerName,
    anchors: &[TrustAnchor],
    clock: &Clock,
) -> Option<ForwardedCertificateSettings> {
    let entry = file
        .forwarded_certificates
        .iter()
        .find(|entry| entry.listener.value == listener)?;
    let proxy = entry.proxy.as_ref().map(|proxy| {
        let vouches = |anchor: &&TrustAnchor| proxy.trust_anchors.contains(anchor.name());
        let anchors = anchors.iter().filter(vouches).cloned().collect();
        ProxyCertificate::new(&proxy.san_dns, anchors, clock.clone())
    });
    Some(ForwardedCertificateSettings {
        from: entry.from.clone(),
        proxy,
    })
}
