//! `keybound init`: commented configurations for production, keys, and the first administrator.

use std::io::{BufRead, IsTerminal, Write};
use std::path::{Path, PathBuf};

use anyhow::Context;
use keybound_protocol::time::Timestamp;
use url::{Host, Url};

use crate::admin;
use crate::advice;
use crate::arguments::Init;
use crate::configuration::value::https_url;
use crate::exit_code::{CommandError, CommandResult, ExitCode};
use crate::pki::{Authority, EndEntity, PairFiles, Purpose, write_new};
use crate::templates::{GatewayTemplate, Template, gateway_toml, keybound_toml};
use crate::terminal::{BAD, GOOD, Terminal, styled};

/// Asks what it must, writes keybound.toml, gateway.toml, secrets/, pki/, admin/ and admin.toml, and says what is still missing.
pub(crate) fn run(arguments: &Init, terminal: &Terminal, now: Timestamp) -> CommandResult {
    let issuer = issuer(arguments)?;
    let url = https_url(&issuer)
        .map_err(|error| CommandError::message(ExitCode::Usage, format!("--issuer {issuer}: {error}")))?;
    let dir = &arguments.dir;
    for name in ["keybound.toml", "gateway.toml", "admin.toml", "pki", "secrets", "admin"] {
        if dir.join(name).exists() {
            return Err(CommandError::message(
                ExitCode::Conflict,
                format!("{} exists already", dir.join(name).display()),
            )
            .with_fix("--dir names an empty directory; nothing was changed"));
        }
    }
    std::fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
    let addresses = Addresses::of(&url);
    write_pki(dir, &url, now)?;
    std::fs::create_dir_all(dir.join("clients.d"))?;
    let template = Template {
        issuer: issuer.clone(),
        mutual_tls_origin: addresses.mutual_tls_origin.clone(),
        public: addresses.public.clone(),
        mutual_tls: addresses.mutual_tls.clone(),
        operations: addresses.operations.clone(),
        certificate: "pki/server.pem".into(),
        key: "pki/server.key".into(),
        default_resource: addresses.resource.clone(),
        outgoing_ca: "# ca = [\"pki/ca.pem\"]".into(),
        allow_addresses: "allow_addresses = []".into(),
        trust_anchors: String::new(),
        resources: String::new(),
    };
    let config = dir.join("keybound.toml");
    write_new(&config, keybound_toml(&template).as_bytes(), 0o644)?;
    let gateway = dir.join("gateway.toml");
    let gateway_template = GatewayTemplate {
        listen: addresses.gateway.clone(),
        operations: addresses.gateway_operations.clone(),
        resource: addresses.resource.clone(),
        issuer: issuer.clone(),
        upstream: "http://127.0.0.1:8080".into(),
        revocations: None,
    };
    write_new(&gateway, gateway_toml(&gateway_template).as_bytes(), 0o644)?;
    for (what, file) in [("configuration", &config), ("gateway", &gateway)] {
        terminal.progress(format!("{} {what:<20} {}", styled(GOOD, "✔"), file.display()));
    }
    terminal.progress(format!(
        "{} server certificate   {}   from a development authority",
        styled(GOOD, "✔"),
        dir.join("pki/server.pem").display()
    ));
    let administrator = admin::create_first(&config, dir, now)?;
    terminal.progress(format!(
        "{} key encryption key   {}",
        styled(GOOD, "✔"),
        dir.join("secrets/keys.kek").display()
    ));
    terminal.progress(format!(
        "{} administrator        {}   client_id {}",
        styled(GOOD, "✔"),
        dir.join("admin.toml").display(),
        administrator
    ));
    let mut missing = vec![
        "tls.certificate: replace pki/server.pem by a certificate that your clients trust; pki/ca.pem is for trying out".to_owned(),
        "[[trust_anchors]]: none yet, so no client can use tls_client_auth".to_owned(),
        "clients.d/: no client yet; `keybound certificate inspect FILE` prints ready metadata".to_owned(),
        format!(
            "tokens.default_resource: {}, the `aud` of tokens for which no resource was asked, and `resource` of gateway.toml",
            addresses.resource
        ),
        format!("gateway.toml, upstream: {}, the API that the gateway protects", gateway_template.upstream),
        "gateway.toml, revocations: not followed yet, so a token that is revoked is taken until it expires".to_owned(),
    ];
    missing.extend(addresses.port_missing(&url));
    terminal.progress("");
    terminal.progress("Still missing:");
    for line in &missing {
        terminal.progress(format!("{} {line}", styled(BAD, "!")));
    }
    let program = advice::program();
    let (config_word, gateway_word) = (advice::word(&config), advice::word(&gateway));
    terminal.progress("");
    terminal.progress(format!("Next:   {program} config check --config {config_word}"));
    terminal.progress(format!("        {program} serve --config {config_word}"));
    terminal.progress(format!("        {program} gateway --config {gateway_word}"));
    terminal.json(&serde_json::json!({
        "configuration": config.display().to_string(), "gateway": gateway.display().to_string(), "issuer": issuer, "mutual_tls_origin": addresses.mutual_tls_origin,
        "administrator": administrator, "missing": missing,
    }));
    Ok(ExitCode::Ok)
}

fn issuer(arguments: &Init) -> Result<String, CommandError> {
    if let Some(issuer) = &arguments.issuer {
        return Ok(issuer.clone());
    }
    let default = "https://localhost:8443";
    if arguments.yes {
        return Ok(default.to_owned());
    }
    if !std::io::stdin().is_terminal() {
        return Err(
            CommandError::message(ExitCode::Usage, "what is the issuer? Nobody is there to be asked")
                .with_fix("--issuer URL, or --yes for the defaults"),
        );
    }
    let mut stderr = anstream::stderr();
    write!(
        stderr,
        "Issuer, the https URL that clients know this server by [{default}]: "
    )?;
    stderr.flush()?;
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line)?;
    let line = line.trim();
    Ok(if line.is_empty() { default } else { line }.to_owned())
}

struct Addresses {
    public: String,
    mutual_tls: String,
    operations: String,
    mutual_tls_origin: String,
    gateway: String,
    gateway_operations: String,
    /// What the gateway protects, by the name that callers know.
    resource: String,
    /// The port of `public`.
    port: u16,
}

/// The port that is listened on where the issuer names none.
const PORT: u16 = 8443;
/// From the server's ports to the gateway's.
const GATEWAY_DISTANCE: u16 = 1_000;

impl Addresses {
    /// Ports follow the issuer's. A name that is not this machine's own is listened for on every interface.
    fn of(issuer: &Url) -> Self {
        let local = match issuer.host() {
            Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
            Some(Host::Ipv4(address)) => address.is_loopback(),
            Some(Host::Ipv6(address)) => address.is_loopback(),
            None => false,
        };
        let interface = if local { "127.0.0.1" } else { "0.0.0.0" };
        let port = match issuer.port() {
            Some(port) if port < u16::MAX - 1 => port,
            _ => PORT,
        };
        let gateway = match port.checked_add(GATEWAY_DISTANCE) {
            Some(gateway) if gateway < u16::MAX - 1 => gateway,
            _ => port - GATEWAY_DISTANCE,
        };
        let host = issuer.host_str().unwrap_or("localhost");
        Self {
            public: format!("{interface}:{port}"),
            mutual_tls: format!("{interface}:{}", port + 1),
            operations: format!("127.0.0.1:{}", port + 2),
            mutual_tls_origin: format!("https://{host}:{}", port + 1),
            gateway: format!("{interface}:{gateway}"),
            gateway_operations: format!("127.0.0.1:{}", gateway + 2),
            resource: format!("https://{host}:{gateway}"),
            port,
        }
    }

    /// What is still to do where the issuer means another port than the one that is listened on. Port 443 is not taken by itself: it
    /// needs a privilege, and often a proxy has it.
    fn port_missing(&self, issuer: &Url) -> Option<String> {
        let means = issuer.port_or_known_default().filter(|port| *port != self.port)?;
        let privilege = if means < 1024 {
            " (ports below 1024 need CAP_NET_BIND_SERVICE)"
        } else {
            ""
        };
        Some(format!(
            "listen.public: {issuer} means port {means}, and this listens on {}: forward port {means} to it, or listen on {means}{privilege}",
            self.public,
            issuer = issuer.as_str().trim_end_matches('/'),
        ))
    }
}

fn write_pki(dir: &Path, issuer: &Url, now: Timestamp) -> anyhow::Result<PairFiles> {
    let pki: PathBuf = dir.join("pki");
    let authority = Authority::create("Keybound development CA", 3_650, now)?;
    authority.pem().write(&pki, "ca.pem", "ca.key")?;
    authority
        .issue(&server_certificate(issuer), now)?
        .write(&pki, "server.pem", "server.key")
}

/// A certificate for the issuer's host, and for this machine's own names if that is where it runs.
pub(crate) fn server_certificate(issuer: &Url) -> EndEntity {
    let mut entity = EndEntity::new(issuer.host_str().unwrap_or("localhost"), Purpose::Server);
    match issuer.host() {
        Some(Host::Domain(name)) => entity.dns.push(name.to_owned()),
        Some(Host::Ipv4(address)) => entity.ip.push(address.into()),
        Some(Host::Ipv6(address)) => entity.ip.push(address.into()),
        None => {}
    }
    if entity.dns.iter().any(|name| name == "localhost") {
        entity.ip = vec![[127, 0, 0, 1].into(), std::net::Ipv6Addr::LOCALHOST.into()];
    }
    entity
}
