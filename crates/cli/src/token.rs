//! `keybound token`: get a bound token, look inside one, revoke one.

mod get;
mod new_identity;
mod redirect_listener;
mod token_file;

use keybound_protocol::confirmation::{BindingError, Confirmation};
use keybound_protocol::jws::UnverifiedJws;
use keybound_protocol::peer_certificate::PresentedCertificate;
use keybound_protocol::time::Timestamp;
use keybound_tls::OPERATOR_FILE_BYTES_MAX;
use serde_json::{Value, json};

use crate::acting::ClientProfile;
use crate::arguments::{Token, TokenInspect, TokenRevoke};
use crate::certificate;
use crate::exit_code::{CommandError, CommandResult, ExitCode};
use crate::explanation::validity;
use crate::session::Session;
use crate::terminal::{BAD, DIM, GOOD, STRONG, Terminal, styled, without_control_characters};
use crate::token::token_file::TokenFile;

/// Runs one of the subcommands.
pub(crate) async fn run(command: &Token, terminal: &Terminal, now: Timestamp) -> CommandResult {
    match command {
        Token::Get(arguments) => get::run(arguments, terminal, now).await,
        Token::Revoke(arguments) => revoke(arguments, terminal).await,
        Token::Inspect(arguments) => inspect(arguments, terminal, now),
    }
}

/// Revokes the token of a file: of an answer the refresh token, with which all of its grant ends.
async fn revoke(arguments: &TokenRevoke, terminal: &Terminal) -> CommandResult {
    let file = TokenFile::read(&arguments.token)?;
    let token = file.token(&["refresh_token", "access_token"])?;
    let profile = ClientProfile::from_arguments(&arguments.client)?;
    let session = Session::start(profile, arguments.client.trace).await?;
    session.revoke(token).await?;
    terminal.line(format!("{} revoked, or unknown to the server", styled(GOOD, "✔")));
    terminal.json(&json!({ "revoked": true }));
    Ok(ExitCode::Ok)
}

/// Decodes; nothing is verified but the binding, and the output says so.
fn inspect(arguments: &TokenInspect, terminal: &Terminal, now: Timestamp) -> CommandResult {
    let text = match arguments.token.as_str() {
        "-" => {
            let bytes = certificate::read("-".as_ref(), OPERATOR_FILE_BYTES_MAX)?;
            String::from_utf8_lossy(&bytes).into_owned()
        }
        token => token.to_owned(),
    };
    let token = text.trim();
    let parts = decoded(token)?;
    let presented = match &arguments.certificate {
        None => None,
        Some(file) => Some(PresentedCertificate::from_peer(certificate::read_chain(file)?)),
    };
    let binding = Binding::of(&parts.claims, presented.as_ref());
    terminal.line(styled(STRONG, "Header"));
    terminal.line(pretty(&parts.header));
    terminal.line(styled(STRONG, "Claims"));
    terminal.line(pretty(&parts.claims));
    terminal.line("");
    if let Some(exp) = parts.claims.get("exp").and_then(Value::as_i64) {
        terminal.line(format!("validity    {}", validity(Timestamp::from_unix_secs(exp), now)));
    }
    terminal.line(format!("binding     {}", binding.shown()));
    terminal.line(styled(
        DIM,
        "The signature was not checked: a resource does that, with the issuer's keys.",
    ));
    terminal.json(&json!({
        "header": parts.header, "claims": parts.claims, "binding": binding.to_json(), "signature": "not checked",
    }));
    Ok(match binding {
        Binding::Mismatch { .. } => ExitCode::Refused,
        _ => ExitCode::Ok,
    })
}

/// The claims of a JWT, its signature unverified.
///
/// # Errors
/// If it is no JWT.
pub(crate) fn unverified_claims(token: &str) -> Result<Value, CommandError> {
    Ok(decoded(token)?.claims)
}

struct Decoded {
    header: Value,
    claims: Value,
}

fn decoded(token: &str) -> Result<Decoded, CommandError> {
    let opaque = |reason: String| {
        CommandError::message(ExitCode::Usage, format!("this is no JWT: {reason}"))
            .with_fix("an opaque token means nothing outside its issuer; introspection tells what it stands for")
    };
    let jws = UnverifiedJws::parse(token).map_err(|error| opaque(error.to_string()))?;
    let claims = serde_json::from_slice(jws.unverified_payload()).map_err(|error| opaque(error.to_string()))?;
    let header = token.split('.').next().unwrap_or_default();
    let header = keybound_protocol::base64url::decode(header).map_err(|error| opaque(error.to_string()))?;
    let header = serde_json::from_slice(&header).map_err(|error| opaque(error.to_string()))?;
    Ok(Decoded { header, claims })
}

/// What the token's `cnf` says about a certificate.
pub(crate) enum Binding {
    /// There is no `cnf`.
    Unbound,
    /// There is one, and it is no certificate's.
    NotUnderstood { why: String },
    /// There is one, and it is a DPoP key's (RFC 9449 §6).
    Key { expected: String },
    /// There is one, and no certificate to compare it with.
    NotCompared { expected: String },
    /// It is this certificate's.
    Match { expected: String },
    /// It is another's.
    Mismatch { expected: String, presented: String },
}

impl Binding {
    /// Compares; without a certificate only what is there is told.
    pub(crate) fn of(claims: &Value, presented: Option<&PresentedCertificate>) -> Self {
        let Some(cnf) = claims.get("cnf") else {
            return Self::Unbound;
        };
        let confirmation: Confirmation = match serde_json::from_value(cnf.clone()) {
            Ok(confirmation) => confirmation,
            Err(error) => return Self::NotUnderstood { why: error.to_string() },
        };
        let Some(certificate) = confirmation.certificate() else {
            let expected = confirmation.key().map(ToString::to_string).unwrap_or_default();
            return Self::Key { expected };
        };
        let expected = certificate.to_string();
        match presented.map(|presented| confirmation.verify(presented)) {
            None => Self::NotCompared { expected },
            Some(Ok(_)) => Self::Match { expected },
            Some(Err(BindingError::Mismatch { presented, .. })) => Self::Mismatch {
                expected,
                presented: presented.to_string(),
            },
            Some(Err(error)) => Self::Mismatch {
                expected,
                presented: error.to_string(),
            },
        }
    }

    fn shown(&self) -> String {
        match self {
            Self::Unbound => format!("{} no cnf: whoever has this token can use it", styled(BAD, "✘")),
            Self::NotUnderstood { why } => format!(
                "{} a cnf that is no certificate binding: {}",
                styled(BAD, "✘"),
                without_control_characters(why)
            ),
            Self::Key { expected } => format!(
                "{} jkt {expected}: sent with proofs by that key (DPoP)",
                styled(GOOD, "✔")
            ),
            Self::NotCompared { expected } => format!("x5t#S256 {expected}   (--certificate FILE compares)"),
            Self::Match { expected } => format!("{} x5t#S256 {expected} is this certificate", styled(GOOD, "✔")),
            Self::Mismatch { expected, presented } => {
                format!(
                    "{} bound to x5t#S256 {expected}\n              certificate   {presented}",
                    styled(BAD, "✘")
                )
            }
        }
    }

    fn to_json(&self) -> Value {
        match self {
            Self::Unbound => json!({ "bound": false }),
            Self::NotUnderstood { why } => json!({ "bound": false, "not_understood": why }),
            Self::Key { expected } => json!({ "bound": true, "jkt": expected }),
            Self::NotCompared { expected } => json!({ "bound": true, "x5t#S256": expected }),
            Self::Match { expected } => json!({ "bound": true, "x5t#S256": expected, "matches": true }),
            Self::Mismatch { expected, presented } => {
                json!({ "bound": true, "x5t#S256": expected, "matches": false, "presented": presented })
            }
        }
    }
}

fn pretty(value: &Value) -> String {
    without_control_characters(&serde_json::to_string_pretty(value).unwrap_or_default())
}
