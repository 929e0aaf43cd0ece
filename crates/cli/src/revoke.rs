//! `keybound revoke`: cuts a certificate off, with everything that is bound to it.

use std::path::Path;

use http::Method;
use keybound_protocol::confirmation::CertificateThumbprint;
use serde_json::json;

use crate::admin_api::AdminApi;
use crate::arguments::Revoke;
use crate::certificate::read_chain;
use crate::exit_code::{CommandError, CommandResult, ExitCode};
use crate::terminal::{DIM, GOOD, STRONG, Terminal, styled};

/// Has the server revoke the certificate; twice is no mistake.
pub(crate) async fn run(arguments: &Revoke, terminal: &Terminal) -> CommandResult {
    let thumbprint = thumbprint(&arguments.certificate)?;
    let api = AdminApi::connect(&arguments.admin).await?;
    let wanted = json!({ "x5t#S256": thumbprint, "dry_run": arguments.dry_run });
    let answer = api.send(Method::POST, "revocations", Some(&wanted), None).await?.body;
    let tokens = answer["opaque_access_tokens"].as_u64().unwrap_or_default();
    let before = match answer["revoked_before"].as_bool() {
        Some(true) => ", which was revoked before",
        _ => "",
    };
    let what = format!("certificate {}{before}", styled(STRONG, thumbprint.to_string()));
    let bound = format!("   opaque access tokens bound to it: {tokens}; JWTs are not counted");
    if arguments.dry_run {
        terminal.line(format!("would revoke {what}{}", styled(DIM, bound)));
    } else {
        terminal.line(format!("{} revoked {what}{}", styled(GOOD, "✔"), styled(DIM, bound)));
    }
    terminal.json(&answer);
    Ok(ExitCode::Ok)
}

/// Of a thumbprint that is written out, or of the first certificate of a file.
fn thumbprint(certificate: &Path) -> Result<CertificateThumbprint, CommandError> {
    let written = certificate.to_str().and_then(|text| text.parse().ok());
    match written {
        // A file of such a name would have to be called ./…
        Some(thumbprint) => Ok(thumbprint),
        None => Ok(*read_chain(certificate)?.thumbprint()),
    }
}
