//! What `quickstart` writes: only what is not there yet, so that it can be run again.

use std::path::{Path, PathBuf};

use anyhow::Context;
use keybound_protocol::jwk::Jwk;
use keybound_protocol::time::Timestamp;
use url::Url;

use crate::admin;
use crate::arguments::Quickstart;
use crate::certificate::read_chain;
use crate::init::server_certificate;
use crate::pki::{Authority, EndEntity, PairFiles, Purpose, self_signed, write_new};
use crate::templates::{Template, gateway_toml, keybound_toml};

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

/// The clients that are made, and how they authenticate.
const DEMO: &str = "demo";
const SELF_SIGNED: &str = "demo-self-signed";
const STRANGER: &str = "stranger";

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
pub(crate) fn prepare(layout: &Layout, arguments: &Quickstart, now: Timestamp) -> anyhow::Result<Vec<Made>> {
    std::fs::create_dir_all(layout.at("clients.d"))
        .with_context(|| format!("cannot make {}", layout.directory.display()))?;
    let ports = Ports::with_offset(arguments)?;
    let issuer = format!("https://localhost:{}", ports.public);
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
        let url = Url::parse(&issuer)?;
        let files =
            authority
                .issue(&server_certificate(&url), now)?
                .write(&layout.at("pki"), "server.pem", "server.key")?;
        note(
            "Server certificate",
            format!("{}   localhost, expires in 90 days", files.certificate.display()),
        );
    }
    write_configuration(layout, &ports, &issuer)?;
    make_clients(layout, &authority, now, &mut note)?;
    if layout.at("admin.toml").exists() {
        note("Database", format!("{}   found", layout.at("keybound.db").display()));
    } else {
        let administrator =
            admin::create_first(&layout.keybound_toml(), &layout.directory, now).map_err(|error| error.cause)?;
        note("Database", layout.at("keybound.db").display().to_string());
        note(
            "Administrator",
            format!("{}   client_id {administrator}", layout.at("admin.toml").display()),
        );
    }
    Ok(made)
}

struct Ports {
    host: String,
    public: u16,
    mutual_tls: u16,
    gateway: u16,
    operations: u16,
    gateway_operations: u16,
}

impl Ports {
    fn with_offset(arguments: &Quickstart) -> anyhow::Result<Self> {
        let port = |port: u16| {
            port.checked_add(arguments.port_offset)
                .with_context(|| format!("--port-offset {} leads past port 65535", arguments.port_offset))
        };
        let host = match arguments.listen {
            std::net::IpAddr::V4(address) => address.to_string(),
            std::net::IpAddr::V6(address) => format!("[{address}]"),
        };
        Ok(Self {
            host,
            public: port(8443)?,
            mutual_tls: port(8444)?,
            gateway: port(9443)?,
            operations: port(8445)?,
            gateway_operations: port(9445)?,
        })
    }

    fn address(&self, port: u16) -> String {
        format!("{}:{port}", self.host)
    }
}

fn write_configuration(layout: &Layout, ports: &Ports, issuer: &str) -> anyhow::Result<()> {
    let resource = format!("https://localhost:{}", ports.gateway);
    let template = Template {
        issuer: issuer.to_owned(),
        mutual_tls_origin: format!("https://localhost:{}", ports.mutual_tls),
        public: ports.address(ports.public),
        mutual_tls: ports.address(ports.mutual_tls),
        operations: ports.address(ports.operations),
        certificate: "pki/server.pem".into(),
        key: "pki/server.key".into(),
        default_resource: resource.clone(),
        outgoing_ca: "ca = [\"pki/ca.pem\"]".into(),
        allow_addresses: "allow_addresses = [\"127.0.0.0/8\", \"::1/128\"]".into(),
        trust_anchors: "[[trust_anchors]]\nname = \"quickstart\"\nfile = \"pki/ca.pem\"\n".into(),
        resources: String::new(),
    };
    write_if_missing(&layout.keybound_toml(), &keybound_toml(&template))?;
    let gateway = gateway_toml(
        &ports.address(ports.gateway),
        &ports.address(ports.gateway_operations),
        &resource,
        issuer,
    );
    write_if_missing(&layout.gateway_toml(), &gateway)
}

fn make_clients(
    layout: &Layout,
    authority: &Authority,
    now: Timestamp,
    note: &mut impl FnMut(&str, String),
) -> anyhow::Result<()> {
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
        let certificate = read_chain(&files.certificate).map_err(|error| error.cause)?;
        let jwk = Jwk::for_certificate(certificate.der())?.to_json();
        let metadata = serde_json::json!({
            "client_id": SELF_SIGNED, "token_endpoint_auth_method": "self_signed_tls_client_auth", "jwks": { "keys": [jwk] },
        });
        register(layout, SELF_SIGNED, metadata)?;
        note(
            "Client \"demo-self-signed\"",
            "self_signed_tls_client_auth, by its certificate".to_owned(),
        );
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

fn issuer_of(keybound_toml: &Path) -> anyhow::Result<String> {
    let reading = crate::configuration::server::load(keybound_toml, &[])?;
    Ok(reading.into_result()?.issuer)
}

fn write_if_missing(path: &Path, text: &str) -> anyhow::Result<()> {
    if path.exists() {
        Ok(())
    } else {
        write_new(path, text.as_bytes(), 0o644)
    }
}
