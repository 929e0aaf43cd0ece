//! `keybound init`: a commented configuration for production, keys, and the first administrator.

use std::io::{BufRead, IsTerminal, Write};
use std::path::{Path, PathBuf};

use anyhow::Context;
use keybound_protocol::time::Timestamp;
use url::{Host, Url};

use crate::admin;
use crate::arguments::Init;
use crate::configuration::value::https_url;
use crate::exit_code::{CommandError, CommandResult, ExitCode};
use crate::pki::{Authority, EndEntity, PairFiles, Purpose, write_new};
use crate::templates::{Template, keybound_toml};
use crate::terminal::{BAD, GOOD, Terminal, styled};

/// Asks what it must, writes keybound.toml, secrets/, pki/, admin/ and admin.toml, and says what is still missing.
pub(crate) fn run(arguments: &Init, terminal: &Terminal, now: Timestamp) -> CommandResult {
    let issuer = issuer(arguments)?;
    let url = https_url(&issuer)
        .map_err(|error| CommandError::message(ExitCode::Usage, format!("--issuer {issuer}: {error}")))?;
    let dir = &arguments.dir;
    for name in ["keybound.toml", "admin.toml", "pki", "secrets", "admin"] {
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
        public: addresses.public,
        mutual_tls: addresses.mutual_tls,
        operations: addresses.operations,
        certificate: "pki/server.pem".into(),
        key: "pki/server.key".into(),
        default_resource: format!("{}/resource", issuer.trim_end_matches('/')),
        outgoing_ca: "# ca = [\"pki/ca.pem\"]".into(),
        allow_addresses: "allow_addresses = []".into(),
        trust_anchors: String::new(),
        resources: String::new(),
    };
    let config = dir.join("keybound.toml");
    write_new(&config, keybound_toml(&template).as_bytes(), 0o644)?;
    terminal.line(format!(
        "{} configuration        {}",
        styled(GOOD, "✔"),
        config.display()
    ));
    terminal.line(format!(
        "{} server certificate   {}   from a development authority",
        styled(GOOD, "✔"),
        dir.join("pki/server.pem").display()
    ));
    let administrator = admin::create_first(&config, dir, now)?;
    terminal.line(format!(
        "{} key encryption key   {}",
        styled(GOOD, "✔"),
        dir.join("secrets/keys.kek").display()
    ));
    terminal.line(format!(
        "{} administrator        {}   client_id {}",
        styled(GOOD, "✔"),
        dir.join("admin.toml").display(),
        administrator
    ));
    let missing = [
        "tls.certificate: replace pki/server.pem by a certificate that your clients trust; pki/ca.pem is for trying out",
        "[[trust_anchors]]: none yet, so no client can use tls_client_auth",
        "clients.d/: no client yet; `keybound certificate inspect FILE` prints ready metadata",
        "tokens.default_resource: the `aud` of tokens for which no resource was asked",
    ];
    terminal.line("");
    terminal.line("Still missing:");
    for line in missing {
        terminal.line(format!("{} {line}", styled(BAD, "!")));
    }
    terminal.line("");
    terminal.line(format!("Next:   keybound config check --config {}", config.display()));
    terminal.line(format!("        keybound serve --config {}", config.display()));
    terminal.json(&serde_json::json!({
        "configuration": config.display().to_string(), "issuer": issuer, "mutual_tls_origin": addresses.mutual_tls_origin,
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
}

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
            _ => 8443,
        };
        let host = issuer.host_str().unwrap_or("localhost");
        Self {
            public: format!("{interface}:{port}"),
            mutual_tls: format!("{interface}:{}", port + 1),
            operations: format!("127.0.0.1:{}", port + 2),
            mutual_tls_origin: format!("https://{host}:{}", port + 1),
        }
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
