//! `keybound certificate create`: a certificate for development.

use keybound_protocol::time::Timestamp;

use crate::arguments::CertificateCreate;
use crate::exit_code::{CommandError, CommandResult, ExitCode};
use crate::pki::{Authority, EndEntity, Purpose, self_signed};
use crate::terminal::{GOOD, Terminal, styled};

/// Makes the certificate and key and writes cert.pem and key.pem; never overwrites.
pub(crate) fn run(arguments: &CertificateCreate, terminal: &Terminal, now: Timestamp) -> CommandResult {
    for name in ["cert.pem", "key.pem"] {
        let path = arguments.dir.join(name);
        if path.exists() {
            return Err(
                CommandError::message(ExitCode::Conflict, format!("{} exists already", path.display()))
                    .with_fix("--dir names another directory"),
            );
        }
    }
    let entity = EndEntity {
        common_name: arguments.name.clone(),
        purpose: if arguments.server {
            Purpose::Server
        } else {
            Purpose::Client
        },
        dns: arguments.dns.clone(),
        uri: arguments.uri.clone(),
        ip: arguments.ip.clone(),
        email: arguments.email.clone(),
        days: arguments.days,
    };
    let pair = match (&arguments.ca, &arguments.ca_key) {
        _ if arguments.authority => Authority::create(&arguments.name, arguments.days, now)?.pem().clone(),
        (Some(ca), Some(ca_key)) => Authority::load(ca, ca_key)?.issue(&entity, now)?,
        _ => self_signed(&entity, now)?,
    };
    let files = pair.write(&arguments.dir, "cert.pem", "key.pem")?;
    let thumbprint = super::read_chain(&files.certificate)?.thumbprint().to_string();
    terminal.line(format!(
        "{} {}   x5t#S256 {thumbprint}",
        styled(GOOD, "✔"),
        files.certificate.display()
    ));
    terminal.line(format!("{} {}", styled(GOOD, "✔"), files.key.display()));
    terminal.json(&serde_json::json!({
        "certificate": files.certificate.display().to_string(), "key": files.key.display().to_string(), "x5t#S256": thumbprint,
    }));
    Ok(ExitCode::Ok)
}
