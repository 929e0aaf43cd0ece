//! Which certificate and policy a server name gets, and which authorities a connection may be asked for.

use std::{collections::HashMap, sync::Arc};

use rustls::{
    ServerConfig,
    pki_types::CertificateDer,
    server::{NoClientAuth, NoServerSessionStorage},
    sign::{CertifiedKey, SingleCertAndKey},
};
use webpki::EndEntityCert;

use crate::{
    ClientCertificatePolicy, HostPolicies, HostPoliciesError, ListenerSettings,
    client_certificate_verifier::ClientCertificateVerifier, identity::provider,
};

/// The prepared form of [`HostPolicies`]. A connection keeps the one its handshake was made with.
#[derive(Debug)]
pub(crate) struct HostTable {
    hosts: Vec<PreparedHost>,
    policies: Vec<PreparedPolicy>,
    /// Exact names, lower case.
    names: HashMap<Box<str>, usize>,
    /// `example.com` for a certificate's `*.example.com`.
    wildcards: HashMap<Box<str>, usize>,
}

#[derive(Debug)]
struct PreparedHost {
    config: Arc<ServerConfig>,
    policy: usize,
}

#[derive(Debug)]
struct PreparedPolicy {
    name: Arc<str>,
    client_certificate: ClientCertificatePolicy,
}

/// What a server name chose.
pub(super) struct Choice {
    pub(super) config: Arc<ServerConfig>,
    pub(super) policy: usize,
}

impl HostTable {
    pub(super) fn build(policies: &HostPolicies, settings: &ListenerSettings) -> Result<HostTable, HostPoliciesError> {
        let mut table = HostTable {
            hosts: Vec::new(),
            policies: Vec::new(),
            names: HashMap::new(),
            wildcards: HashMap::new(),
        };
        for policy in &policies.policies {
            if policy.hosts.is_empty() {
                return Err(HostPoliciesError::NoHost {
                    policy: policy.name.to_string(),
                });
            }
            if table.policies.iter().any(|other| other.name == policy.name) {
                return Err(HostPoliciesError::PolicyTwice {
                    policy: policy.name.to_string(),
                });
            }
            let index = table.policies.len();
            table.policies.push(PreparedPolicy {
                name: Arc::clone(&policy.name),
                client_certificate: policy.client_certificate,
            });
            for host in &policy.hosts {
                let config = server_config(Arc::clone(&host.identity.key), policy.client_certificate, settings);
                table.hosts.push(PreparedHost {
                    config: Arc::new(config),
                    policy: index,
                });
                for name in &host.names {
                    table.add_name(name, index)?;
                }
            }
        }
        // Names that were configured win over those a certificate happens to have as well.
        let hosts = policies.policies.iter().flat_map(|policy| &policy.hosts);
        for (index, host) in hosts.enumerate() {
            table.add_certificate_names(index, host.identity.leaf());
        }
        Ok(table)
    }

    fn add_name(&mut self, name: &str, policy: usize) -> Result<(), HostPoliciesError> {
        let host = self.hosts.len() - 1;
        let name = normalized(name);
        match self.names.insert(name.clone().into(), host) {
            Some(other) if self.policy_of(other) != Some(policy) => Err(HostPoliciesError::NameTwice { name }),
            _ => Ok(()),
        }
    }

    fn add_certificate_names(&mut self, host: usize, leaf: &[u8]) {
        let leaf = CertificateDer::from(leaf);
        // A certificate that cannot be read is shown all the same; it then has only the names that were configured.
        let Ok(certificate) = EndEntityCert::try_from(&leaf) else {
            return;
        };
        for name in certificate.valid_dns_names() {
            let name = normalized(name);
            match name.strip_prefix("*.") {
                Some(parent) => self.wildcards.entry(parent.into()).or_insert(host),
                None => self.names.entry(name.into()).or_insert(host),
            };
        }
    }

    /// Certificate and policy for a server name; those of the listener itself for none and for unknown ones.
    pub(super) fn choose(&self, server_name: Option<&str>) -> Option<Choice> {
        let host = server_name.and_then(|name| self.host_of(name)).unwrap_or(0);
        self.hosts.get(host).map(|host| Choice {
            config: Arc::clone(&host.config),
            policy: host.policy,
        })
    }

    pub(super) fn policy_name(&self, policy: usize) -> Option<&Arc<str>> {
        self.policies.get(policy).map(|policy| &policy.name)
    }

    pub(super) fn client_certificate(&self, policy: usize) -> ClientCertificatePolicy {
        self.policies
            .get(policy)
            .map_or(ClientCertificatePolicy::Never, |policy| policy.client_certificate)
    }

    pub(super) fn asks_for_certificates(&self) -> bool {
        self.policies
            .iter()
            .any(|policy| policy.client_certificate == ClientCertificatePolicy::Optional)
    }

    /// Whether every connection is treated alike, whatever its server name.
    pub(crate) fn has_one_policy(&self) -> bool {
        self.policies.len() == 1
    }

    /// Whether `name`, lower case, is served under the policy with this index.
    pub(crate) fn serves(&self, policy: usize, name: &str) -> bool {
        self.host_of(name)
            .is_some_and(|host| self.policy_of(host) == Some(policy))
    }

    fn host_of(&self, name: &str) -> Option<usize> {
        if let Some(host) = self.names.get(name) {
            return Some(*host);
        }
        // RFC 9525 §6.3: a wildcard stands for one whole label, the first.
        let (label, parent) = name.split_once('.')?;
        if label.is_empty() {
            None
        } else {
            self.wildcards.get(parent).copied()
        }
    }

    fn policy_of(&self, host: usize) -> Option<usize> {
        self.hosts.get(host).map(|host| host.policy)
    }
}

fn normalized(name: &str) -> String {
    name.trim_end_matches('.').to_ascii_lowercase()
}

/// The TLS settings of one host.
fn server_config(
    key: Arc<CertifiedKey>,
    client_certificate: ClientCertificatePolicy,
    settings: &ListenerSettings,
) -> ServerConfig {
    let builder = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
        .expect("the provider has cipher suites and key exchange for TLS 1.2 and 1.3");
    let builder = builder.with_client_cert_verifier(match client_certificate {
        ClientCertificatePolicy::Never => Arc::new(NoClientAuth),
        ClientCertificatePolicy::Optional => Arc::new(ClientCertificateVerifier::new(
            settings.limits.certificate_message_bytes_max,
        )),
    });
    let mut config = builder.with_cert_resolver(Arc::new(SingleCertAndKey::from(key)));
    // A resumed session carries a certificate that nobody proved this time, past its expiry and past a change of policy, and
    // early data can be replayed (RFC 8446 §8). Neither is worth the handshakes it would save, with or without certificates.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    config.max_early_data_size = 0;
    config.alpn_protocols = match settings.http2 {
        true => vec![b"h2".to_vec(), b"http/1.1".to_vec()],
        false => vec![b"http/1.1".to_vec()],
    };
    config
}
