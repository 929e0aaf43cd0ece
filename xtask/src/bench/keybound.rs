//! Our server and our gateway as an operator would run them: configuration files, audit, metrics and log on.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context;

use super::pki::Pki;
use super::server::{SERVER_CORE, Server, answers_ok, free_port, pinned, program};
use super::{AUDIENCE, directory};

/// Both daemons.
pub(super) struct Keybound {
    pub(super) server: Server,
    pub(super) gateway: Server,
    pub(super) server_start: Start,
    pub(super) gateway_start: Start,
}

/// How to start one of them once more.
pub(super) struct Start {
    pub(super) command: &'static str,
    pub(super) configuration: PathBuf,
    pub(super) port: u16,
    /// Where the pages are; the gateway has none.
    pub(super) public_port: u16,
    pub(super) operations_port: u16,
}

impl Start {
    /// The command line, on the servers' core.
    pub(super) fn pinned(&self) -> Command {
        let mut command = pinned(SERVER_CORE, program("keybound"));
        command.args(self.arguments());
        command
    }

    pub(super) fn arguments(&self) -> [&str; 3] {
        [
            self.command,
            "--config",
            self.configuration.to_str().unwrap_or_default(),
        ]
    }

    /// The same configuration in another directory, on other ports, with nothing stored yet.
    pub(super) fn copy_elsewhere(&self) -> anyhow::Result<Self> {
        let text = fs::read_to_string(&self.configuration)?;
        let directory = directory().join("keybound").join(format!("{}-copy", self.command));
        let _ = fs::remove_dir_all(&directory);
        fs::create_dir_all(directory.join("secrets"))?;
        let from = self
            .configuration
            .parent()
            .context("unreachable: the file lies in a directory")?;
        if from.join("clients.d").exists() {
            fs::create_dir_all(directory.join("clients.d"))?;
            fs::copy(
                from.join("clients.d/client-1.json"),
                directory.join("clients.d/client-1.json"),
            )?;
        }
        let mut moved = String::new();
        let (mut port, mut public_port, mut operations_port) = (self.port, self.public_port, self.operations_port);
        for line in text.lines() {
            let listens = ["listen = ", "public = ", "mutual_tls = ", "operations = "];
            let listens = listens.iter().find(|key| line.starts_with(**key));
            match listens {
                Some(key) => {
                    let free = free_port()?;
                    match *key {
                        "listen = " | "mutual_tls = " => port = free,
                        "operations = " => operations_port = free,
                        _ => public_port = free,
                    }
                    moved += &format!("{key}\"127.0.0.1:{free}\"\n");
                }
                None => moved += &format!("{line}\n"),
            }
        }
        let configuration = directory.join(self.configuration.file_name().unwrap_or_default());
        fs::write(&configuration, moved)?;
        Ok(Self {
            command: self.command,
            configuration,
            port,
            public_port,
            operations_port,
        })
    }

    /// The server's database.
    pub(super) fn database(&self) -> PathBuf {
        self.configuration.with_file_name("keybound.db")
    }

    /// Whether it says that it is ready.
    pub(super) fn is_ready(&self) -> bool {
        answers_ok(self.operations_port, "/health/ready")
    }

    fn start(&self, name: &'static str) -> anyhow::Result<Server> {
        let mut server = Server::start(name, self.port, self.pinned())?;
        server.wait_until(|| self.is_ready())?;
        Ok(server)
    }
}

impl Keybound {
    /// Writes the configuration and starts both; each is ready when this returns.
    pub(super) fn start(directory: &Path, pki: &Pki, issuer: &str, upstream_port: u16) -> anyhow::Result<Self> {
        let _ = fs::remove_dir_all(directory);
        let server_start = write_server(&directory.join("serve"), pki)?;
        let gateway_start = write_gateway(&directory.join("gateway"), pki, issuer, upstream_port)?;
        let server = server_start.start("keybound serve")?;
        let gateway = gateway_start.start("keybound gateway")?;
        Ok(Self {
            server,
            gateway,
            server_start,
            gateway_start,
        })
    }
}

/// The binary as it ships: without symbols. Returns its size in bytes.
pub(super) fn stripped_size() -> anyhow::Result<u64> {
    let stripped = directory().join("keybound-stripped");
    let mut strip = Command::new("strip");
    crate::workspace::output_of(strip.arg("-o").arg(&stripped).arg(program("keybound")))?;
    Ok(fs::metadata(stripped)?.len())
}

fn write_server(directory: &Path, pki: &Pki) -> anyhow::Result<Start> {
    fs::create_dir_all(directory.join("clients.d"))?;
    fs::create_dir_all(directory.join("secrets"))?;
    let (port, public_port, operations_port) = (free_port()?, free_port()?, free_port()?);
    let pki = pki.path();
    let text = format!(
        r#"issuer = "https://localhost:{public_port}"
clients = ["clients.d/*.json"]
mutual_tls_origin = "https://localhost:{port}"

[listen]
public = "127.0.0.1:{public_port}"
mutual_tls = "127.0.0.1:{port}"
operations = "127.0.0.1:{operations_port}"

[tls]
certificate = "{pki}/server.pem"
key = "{pki}/server.key"

[store]
url = "sqlite:keybound.db"
key_file = "secrets/keys.kek"

[tokens]
default_resource = "{AUDIENCE}"

[limits]
sign_ins_per_minute = 100000

[[trust_anchors]]
name = "bench"
file = "{pki}/ca.pem"
crl_missing = "accept"

[[scopes]]
name = "read"
"#
    );
    let client = r#"{
  "client_id": "client-1",
  "token_endpoint_auth_method": "tls_client_auth",
  "tls_client_auth_san_dns": "client-1.example",
  "tls_client_certificate_bound_access_tokens": true,
  "grant_types": ["client_credentials", "authorization_code", "refresh_token"],
  "redirect_uris": ["https://client-1.example/cb"],
  "scope": "read"
}
"#;
    fs::write(directory.join("clients.d/client-1.json"), client)?;
    let configuration = directory.join("keybound.toml");
    fs::write(&configuration, text)?;
    Ok(Start {
        command: "serve",
        configuration,
        port,
        public_port,
        operations_port,
    })
}

fn write_gateway(directory: &Path, pki: &Pki, issuer: &str, upstream_port: u16) -> anyhow::Result<Start> {
    fs::create_dir_all(directory)?;
    let (port, operations_port) = (free_port()?, free_port()?);
    let pki = pki.path();
    let text = format!(
        r#"listen = "127.0.0.1:{port}"
operations = "127.0.0.1:{operations_port}"
resource = "{AUDIENCE}"

[tls]
certificate = "{pki}/server.pem"
key = "{pki}/server.key"

[outgoing]
ca = ["{pki}/ca.pem"]

[[issuers]]
issuer = "{issuer}"
jwks_uri = "{issuer}/jwks"
validation = "local"

[[routes]]
path = "/"
upstream = "http://127.0.0.1:{upstream_port}"
scopes = ["read"]
binding = "required"
"#
    );
    let configuration = directory.join("gateway.toml");
    fs::write(&configuration, text)?;
    Ok(Start {
        command: "gateway",
        configuration,
        port,
        public_port: port,
        operations_port,
    })
}
