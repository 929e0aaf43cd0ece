//! What `quickstart` writes: only what is not there yet, so that it can be run again.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use anyhow::Context;
use keybound_protocol::jwk::Jwk;
use keybound_protocol::scope::REVOCATIONS_SCOPE;
use keybound_protocol::time::Timestamp;
use url::Url;

use crate::admin;
use crate::arguments::Quickstart;
use crate::certificate::read_chain;
use crate::config_check::unreadable;
use crate::configuration::{gateway, server};
use crate::exit_code::{CommandError, ExitCode};
use crate::init::server_certificate;
use crate::pki::{Authority, EndEntity, PairFiles, Purpose, self_signed, write_new};
use crate::templates::{GatewayTemplate, Template, gateway_toml, keybound_toml};

/// The paths inside of a quickstart directory.
pub(crate) struct Layout {
    directory: PathBuf,
}

/// One step that was taken, for the list that people see.
pub(crate) struct Made {
    /// What it is.
    pub what: String,
    /// Where, and what is notable about it.
    pub detail: String,
}

/// The ports to which `--port-offset` is added.
const PUBLIC: u16 = 8443;
const MUTUAL_TLS: u16 = 8444;
const OPERATIONS: u16 = 8445;
const GATEWAY: u16 = 9443;
const GATEWAY_OPERATIONS: u16 = 9445;

/// The clients that are made, and how they authenticate.
const DEMO: &str = "demo";
const SELF_SIGNED: &str = "demo-self-signed";
const STRANGER: &str = "stranger";
/// The gateway as a client: it follows what the server revokes.
const GATEWAY_CLIENT: &str = "gateway";

impl Layout {
    /// The layout below `directory`.
    pub(crate) fn new(directory: &Path) -> Self {
        Self {
            directory: directory.to_path_buf(),
        }
    }

    fn at(&self, path: &str) -> PathBuf {
        self.directory.join(path)
    }

    /// The authorization server's configuration.
    pub(crate) fn keybound_toml(&self) -> PathBuf {
        self.at("keybound.toml")
    }

    /// The gateway's configuration.
    pub(crate) fn gateway_toml(&self) -> PathBuf {
        self.at("gateway.toml")
    }

    /// A client's directory.
    pub(crate) fn client(&self, name: &str) -> PathBuf {
        self.at("clients").join(name)
    }
}

/// Makes what is missing. A directory in which it was interrupted is completed.
///
/// # Errors
/// If something cannot be written.
pub(crate) fn prepare(layout: &Layout, arguments: &Quickstart, now: Timestamp) -> Result<Vec<Made>, CommandError> {
    let addresses = Addresses::of(arguments)?;
    refuse_other_addresses(layout, arguments, &addresses)?;
    std::fs::create_dir_all(layout.at("clients.d"))
        .with_context(|| format!("cannot make {}", layout.directory.display()))?;
    let issuer = addresses.url(addresses.public);
    let mut made = Vec::new();
    let mut note = |what: &str, detail: String| {
        made.push(Made {
            what: what.to_owned(),
            detail,
        })
    };
    let authority = if layout.at("pki/ca.pem").exists() {
        note("Root CA", format!("{}   found", layout.at("pki/ca.pem").display()));
        Authority::load(&layout.at("pki/ca.pem"), &layout.at("pki/ca.key"))?
    } else {
        let authority = Authority::create("Keybound quickstart CA", 365, now)?;
        let files = authority.pem().write(&layout.at("pki"), "ca.pem", "ca.key")?;
        note("Root CA", files.certificate.display().to_string());
        authority
    };
    if !layout.at("pki/server.pem").exists() {
        let url = Url::parse(&issuer).context("no URL can be made of the address")?;
        let files =
            authority
                .issue(&server_certificate(&url), now)?
                .write(&layout.at("pki"), "server.pem", "server.key")?;
        note(
            "Server certificate",
            format!(
                "{}   {}, expires in 90 days",
                files.certificate.display(),
                addresses.host
            ),
        );
    }
    write_configuration(layout, &addresses, &issuer)?;
    make_clients(layout, &authority, now, &mut note)?;
    if layout.at("admin.toml").exists() {
        note("Database", format!("{}   found", layout.at("keybound.db").display()));
    } else {
        let administrator = admin::create_first(&layout.keybound_toml(), &layout.directory, now)?;
        note("Database", layout.at("keybound.db").display().to_string());
        note(
            "Administrator",
            format!("{}   client_id {administrator}", layout.at("admin.toml").display()),
        );
    }
    Ok(made)
}

/// Where everything listens, and by which name it is called.
struct Addresses {
    /// A name that the certificate has: `localhost`, or the address itself where that name need not lead.
    host: String,
    public: SocketAddr,
    mutual_tls: SocketAddr,
    operations: SocketAddr,
    gateway: SocketAddr,
    gateway_operations: SocketAddr,
}

impl Addresses {
    fn of(arguments: &Quickstart) -> Result<Self, CommandError> {
        let address = arguments.listen.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST));
        let offset = arguments.port_offset.unwrap_or_default();
        let at = |port: u16| match port.checked_add(offset) {
            Some(port) => Ok(SocketAddr::new(address, port)),
            None => {
                let sentence = format!("--port-offset {offset} leads past port 65535: {port} is one of the ports");
                Err(CommandError::message(ExitCode::Usage, sentence).with_fix("56090 is the largest"))
            }
        };
        let host = match address {
            IpAddr::V4(Ipv4Addr::LOCALHOST) => "localhost".to_owned(),
            IpAddr::V4(other) => other.to_string(),
            IpAddr::V6(other) => format!("[{other}]"),
        };
        Ok(Self {
            host,
            public: at(PUBLIC)?,
            mutual_tls: at(MUTUAL_TLS)?,
            operations: at(OPERATIONS)?,
            gateway: at(GATEWAY)?,
            gateway_operations: at(GATEWAY_OPERATIONS)?,
        })
    }

    fn url(&self, address: SocketAddr) -> String {
        format!("https://{}:{}", self.host, address.port())
    }
}

/// An option that contradicts the configuration that is there would be ignored: the files say where everything listens.
fn refuse_other_addresses(layout: &Layout, arguments: &Quickstart, wanted: &Addresses) -> Result<(), CommandError> {
    let mut found: Vec<(PathBuf, SocketAddr, SocketAddr)> = Vec::new();
    let path = layout.keybound_toml();
    if path.exists() {
        let file = server::load(&path, &[]).map_err(unreadable)?.into_result()?;
        found.extend([
            (path.clone(), file.listen.public, wanted.public),
            (path.clone(), file.listen.mutual_tls, wanted.mutual_tls),
            (path, file.listen.operations, wanted.operations),
        ]);
    }
    let path = layout.gateway_toml();
    if path.exists() {
        let file = gateway::load(&path, &[]).map_err(unreadable)?.into_result()?;
        found.extend([
            (path.clone(), file.listen, wanted.gateway),
            (path, file.operations, wanted.gateway_operations),
        ]);
    }
    for (path, there, wanted) in found {
        let refused = |option: String, wanted: String| {
            let sentence = format!(
                "{} listens on {there} already; {option} would have it on {wanted}",
                path.display()
            );
            Err(CommandError::message(ExitCode::Conflict, sentence)
                .with_fix("without this option the quickstart that is there goes on; --dir DIR makes another one"))
        };
        match (arguments.port_offset, arguments.listen) {
            (Some(offset), _) if there.port() != wanted.port() => {
                return refused(format!("--port-offset {offset}"), format!("port {}", wanted.port()));
            }
            (_, Some(address)) if there.ip() != wanted.ip() => {
                return refused(format!("--listen {address}"), wanted.ip().to_string());
            }
            _ => {}
        }
    }
    Ok(())
}

fn write_configuration(layout: &Layout, addresses: &Addresses, issuer: &str) -> anyhow::Result<()> {
    let resource = addresses.url(addresses.gateway);
    let template = Template {
        issuer: issuer.to_owned(),
        mutual_tls_origin: addresses.url(addresses.mutual_tls),
        public: addresses.public.to_string(),
        mutual_tls: addresses.mutual_tls.to_string(),
        operations: addresses.operations.to_string(),
        certificate: "pki/server.pem".into(),
        key: "pki/server.key".into(),
        default_resource: resource.clone(),
        outgoing_ca: "ca = [\"pki/ca.pem\"]".into(),
        allow_addresses: "allow_addresses = [\"127.0.0.0/8\", \"::1/128\"]".into(),
        trust_anchors: "[[trust_anchors]]\nname = \"quickstart\"\nfile = \"pki/ca.pem\"\n".into(),
        resources: String::new(),
    };
    write_if_missing(&layout.keybound_toml(), &keybound_toml(&template))?;
    let gateway = gateway_toml(&GatewayTemplate {
        listen: addresses.gateway.to_string(),
        operations: addresses.gateway_operations.to_string(),
        resource,
        issuer: issuer.to_owned(),
        upstream: "demo:".into(),
        revocations: Some(format!("{}/revocations", addresses.url(addresses.mutual_tls))),
    });
    write_if_missing(&layout.gateway_toml(), &gateway)
}

fn make_clients(
    layout: &Layout,
    authority: &Authority,
    now: Timestamp,
    note: &mut impl FnMut(&str, String),
) -> Result<(), CommandError> {
    let issuer = issuer_of(&layout.keybound_toml())?;
    let dns_name = "demo.client.test";
    let certified = |name: &str, dns: &str| {
        let mut entity = EndEntity::new(name, Purpose::Client);
        entity.dns.push(dns.to_owned());
        authority.issue(&entity, now)
    };
    if make_client(layout, &issuer, DEMO, || certified(DEMO, dns_name))?.is_some() {
        let metadata = serde_json::json!({
            "client_id": DEMO, "token_endpoint_auth_method": "tls_client_auth", "tls_client_auth_san_dns": dns_name,
        });
        register(layout, DEMO, metadata)?;
        note("Client \"demo\"", format!("tls_client_auth, SAN dns:{dns_name}"));
    }
    if let Some(files) = make_client(layout, &issuer, SELF_SIGNED, || {
        self_signed(&EndEntity::new(SELF_SIGNED, Purpose::Client), now)
    })? {
        let certificate = read_chain(&files.certificate)?;
        let jwk = Jwk::for_certificate(certificate.der())
            .map_err(anyhow::Error::from)?
            .to_json();
        let metadata = serde_json::json!({
            "client_id": SELF_SIGNED, "token_endpoint_auth_method": "self_signed_tls_client_auth", "jwks": { "keys": [jwk] },
        });
        register(layout, SELF_SIGNED, metadata)?;
        note(
            "Client \"demo-self-signed\"",
            "self_signed_tls_client_auth, by its certificate".to_owned(),
        );
    }
    let gateway_name = "gateway.client.test";
    if make_client(layout, &issuer, GATEWAY_CLIENT, || {
        certified(GATEWAY_CLIENT, gateway_name)
    })?
    .is_some()
    {
        let metadata = serde_json::json!({
            "client_id": GATEWAY_CLIENT, "token_endpoint_auth_method": "tls_client_auth",
            "tls_client_auth_san_dns": gateway_name, "scope": REVOCATIONS_SCOPE,
        });
        register(layout, GATEWAY_CLIENT, metadata)?;
        note("Client \"gateway\"", "follows revocations for the gateway".to_owned());
    }
    if make_client(layout, &issuer, STRANGER, || certified(STRANGER, "stranger.test"))?.is_some() {
        note(
            "\"stranger\"",
            "a certificate of the same CA, registered nowhere".to_owned(),
        );
    }
    Ok(())
}

/// The certificate, key and client.toml of a client, unless they are there.
fn make_client(
    layout: &Layout,
    issuer: &str,
    name: &str,
    make: impl FnOnce() -> anyhow::Result<crate::pki::PemPair>,
) -> anyhow::Result<Option<PairFiles>> {
    let directory = layout.client(name);
    if directory.join("client.toml").exists() {
        return Ok(None);
    }
    let files = make()?.write(&directory, "cert.pem", "key.pem")?;
    write_new(
        &directory.join("client.toml"),
        client_toml(issuer, name, "../../pki/ca.pem").as_bytes(),
        0o644,
    )?;
    Ok(Some(files))
}

/// A client.toml beside cert.pem and key.pem.
pub(crate) fn client_toml(issuer: &str, client_id: &str, ca: &str) -> String {
    format!(
        "issuer = \"{issuer}\"\nclient_id = \"{client_id}\"\ncertificate = \"cert.pem\"\nkey = \"key.pem\"\nca = \"{ca}\"\n"
    )
}

fn register(layout: &Layout, name: &str, mut metadata: serde_json::Value) -> anyhow::Result<()> {
    metadata["client_name"] = format!("Quickstart {name}").into();
    metadata["grant_types"] = serde_json::json!(["client_credentials"]);
    metadata["tls_client_certificate_bound_access_tokens"] = true.into();
    let text = serde_json::to_string_pretty(&metadata)? + "\n";
    write_if_missing(&layout.at("clients.d").join(format!("{name}.json")), &text)
}

fn issuer_of(keybound_toml: &Path) -> Result<String, CommandError> {
    let reading = server::load(keybound_toml, &[]).map_err(unreadable)?;
    Ok(reading.into_result()?.issuer.to_string())
}

fn write_if_missing(path: &Path, text: &str) -> anyhow::Result<()> {
    if path.exists() {
        Ok(())
    } else {
        write_new(path, text.as_bytes(), 0o644)
    }
}
