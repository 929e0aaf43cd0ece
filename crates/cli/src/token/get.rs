//! `keybound token get`: every grant, one after the other.

use std::io::IsTerminal;
use std::process::{Command, Stdio};
use std::time::Duration;

use keybound_client::{
    AuthorizationRequest, AuthorizationSecrets, BackchannelRequest, RefreshToken, TokenExchange, TokenResponse,
    UserHint,
};
use keybound_protocol::resource::ResourceUri;
use keybound_protocol::scope::Scope;
use keybound_protocol::time::Timestamp;
use serde_json::{Value, json};
use url::Url;

use super::new_identity::NewIdentity;
use super::redirect_listener::RedirectListener;
use super::token_file::TokenFile;
use crate::acting::ClientProfile;
use crate::advice;
use crate::arguments::{Grant, ResponseMode, TokenGet};
use crate::exit_code::{CommandError, CommandResult, ExitCode};
use crate::random;
use crate::session::{Session, Wanted};
use crate::terminal::{DIM, STRONG, Terminal, on_one_line, styled};

/// Prints the token alone, so that it can be used in a pipe; with `--output json` the whole token response.
pub(super) async fn run(arguments: &TokenGet, terminal: &Terminal, now: Timestamp) -> CommandResult {
    require_fitting_options(arguments, terminal)?;
    let mut profile = ClientProfile::from_arguments(&arguments.client)?;
    // On disk before anything is asked for: a token whose certificate could not be kept would be good for nothing.
    let new_identity = match &arguments.new_identity {
        Some(directory) => {
            let new_identity = NewIdentity::make(&mut profile, now)?;
            Some(new_identity.keep(directory.as_deref(), arguments.client.client.as_deref(), &profile)?)
        }
        None => None,
    };
    let response = match obtained(arguments, terminal, profile).await {
        Ok(response) => response,
        Err(error) => {
            if let Some(kept) = new_identity {
                kept.discard();
            }
            return Err(error);
        }
    };
    if let Some(kept) = new_identity {
        let directory = advice::word(kept.directory());
        terminal.remark(format!(
            "The token's certificate is kept in {directory}; go on with --client {directory}"
        ));
    }
    if terminal.is_json() {
        terminal.json(&response);
        return Ok(ExitCode::Ok);
    }
    terminal.raw(response.get("access_token").and_then(Value::as_str).unwrap_or_default());
    if arguments.grant != Grant::Refresh && response.get("refresh_token").is_some() {
        terminal.remark("There is a refresh token as well; --output json shows it.");
    }
    Ok(ExitCode::Ok)
}

/// The whole answer of the token endpoint.
async fn obtained(arguments: &TokenGet, terminal: &Terminal, profile: ClientProfile) -> Result<Value, CommandError> {
    let session = Session::start(profile, arguments.client.trace).await?;
    Ok(match arguments.grant {
        Grant::ClientCredentials => session.token_response(&Wanted::from(&arguments.wanted)).await?,
        Grant::Refresh => refresh(arguments, &session).await?,
        Grant::AuthorizationCode => answer(&authorization_code(arguments, terminal, &session).await?),
        Grant::Device => answer(&device(arguments, terminal, &session).await?),
        Grant::Ciba => answer(&ciba(arguments, terminal, &session).await?),
        Grant::Exchange => answer(&exchange(arguments, &session).await?),
    })
}

/// What a grant cannot do without, and what would lose something.
fn require_fitting_options(arguments: &TokenGet, terminal: &Terminal) -> Result<(), CommandError> {
    let usage = |sentence: &str| Err(CommandError::message(ExitCode::Usage, sentence));
    match (arguments.grant, &arguments.refresh_token) {
        (Grant::Refresh, None) => return usage("--grant refresh needs --refresh-token FILE"),
        (Grant::Refresh, Some(file)) if TokenFile::is_standard_input(file) && !terminal.is_json() => {
            return usage("--refresh-token - needs --output json: the successor of a rotated token would be lost");
        }
        (Grant::Refresh, Some(_)) | (_, None) => {}
        (_, Some(_)) => return usage("--refresh-token goes with --grant refresh"),
    }
    match (arguments.grant, &arguments.subject_token) {
        (Grant::Exchange, None) => return usage("--grant exchange needs --subject-token FILE"),
        (Grant::Exchange, Some(_)) | (_, None) => {}
        (_, Some(_)) => return usage("--subject-token goes with --grant exchange"),
    }
    if arguments.grant == Grant::Ciba && arguments.login_hint.is_none() {
        return usage("--grant ciba needs --login-hint NAME: whom is the server to ask?");
    }
    Ok(())
}

/// Its members, as they came.
fn answer(response: &TokenResponse) -> Value {
    response.expose_members().clone()
}

/// What is asked for, as types.
fn wanted(arguments: &TokenGet) -> Result<(Scope, Vec<ResourceUri>), CommandError> {
    let usage = |error: &dyn std::fmt::Display| CommandError::message(ExitCode::Usage, error);
    let scope = Scope::parse(&arguments.wanted.scope.join(" ")).map_err(|error| usage(&error))?;
    let resources = arguments.wanted.resource.iter();
    let resources = resources.map(|text| ResourceUri::parse(text).map_err(|error| usage(&error)));
    Ok((scope, resources.collect::<Result<_, _>>()?))
}

async fn authorization_code(
    arguments: &TokenGet,
    terminal: &Terminal,
    session: &Session,
) -> Result<TokenResponse, CommandError> {
    let listener = RedirectListener::open(arguments.redirect_port, &arguments.redirect_path)?;
    let (scope, resources) = wanted(arguments)?;
    let request = AuthorizationRequest::new(listener.redirect_uri().clone()).with_scope(scope);
    let mut request = resources.into_iter().fold(request, AuthorizationRequest::with_resource);
    if let Some(hint) = &arguments.login_hint {
        request = request.with_login_hint(hint);
    }
    if let Some(details) = &arguments.authorization_details {
        request = request.with_authorization_details(details);
    }
    if arguments.response_mode == ResponseMode::Jwt {
        request = request.with_signed_response();
    }
    if arguments.assume_s256 {
        request = request.with_assumed_s256();
    }
    let pending = session.begin_authorization(&request, secrets()).await?;
    // What was pushed is kept for a minute or so; the page has to be open before.
    let expires_in = session.secs_until(pending.expires_at());
    let within = expires_in
        .map(|secs| format!(" within {secs} seconds"))
        .unwrap_or_default();
    terminal.instruction(
        format!("Open this address in a browser{within}:\n\n  {}\n", pending.url()),
        &json!({
            "authorization_url": pending.url().as_str(), "redirect_uri": listener.redirect_uri().as_str(), "expires_in": expires_in,
        }),
    );
    if !arguments.no_browser && std::io::stderr().is_terminal() {
        open_in_browser(pending.url());
    }
    let query = listener.answer(Duration::from_secs(arguments.wait)).await?;
    session.finish_authorization(pending, &query).await
}

fn secrets() -> AuthorizationSecrets {
    let [mut state, mut nonce, mut verifier] = [[0; 32]; 3];
    for octets in [&mut state, &mut nonce, &mut verifier] {
        random::fill(octets);
    }
    AuthorizationSecrets::from_octets(&state, &nonce, &verifier)
}

/// Tries to; the address is on the screen anyhow.
fn open_in_browser(url: &Url) {
    let program = if cfg!(target_os = "macos") { "open" } else { "xdg-open" };
    let mut command = Command::new(program);
    command
        .arg(url.as_str())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    if let Err(error) = command.spawn() {
        tracing::debug!(error = &error as &dyn std::error::Error, "no browser was opened");
    }
}

async fn device(arguments: &TokenGet, terminal: &Terminal, session: &Session) -> Result<TokenResponse, CommandError> {
    let device = session
        .begin_device_authorization(&Wanted::from(&arguments.wanted))
        .await?;
    let user_code = on_one_line(&device.user_code);
    let complete = device.verification_uri_complete.as_ref().map(Url::as_str);
    let shortcut = complete
        .map(|url| format!("\nor open\n\n  {url}\n"))
        .unwrap_or_default();
    terminal.instruction(
        format!(
            "Open this address on any device:\n\n  {}\n\nand type the code\n\n  {}\n{shortcut}",
            device.verification_uri,
            styled(STRONG, &user_code)
        ),
        &json!({
            "user_code": device.user_code, "verification_uri": device.verification_uri.as_str(),
            "verification_uri_complete": complete,
        }),
    );
    session
        .wait_for_approval(device.pending, Duration::from_secs(arguments.wait))
        .await
}

async fn ciba(arguments: &TokenGet, terminal: &Terminal, session: &Session) -> Result<TokenResponse, CommandError> {
    let (scope, resources) = wanted(arguments)?;
    let hint = UserHint::Login(arguments.login_hint.clone().unwrap_or_default());
    let request = BackchannelRequest::new(hint, &scope).with_requested_expiry(Duration::from_secs(arguments.wait));
    let mut request = resources.into_iter().fold(request, BackchannelRequest::with_resource);
    if let Some(message) = &arguments.binding_message {
        request = request.with_binding_message(message);
    }
    if let Some(details) = &arguments.authorization_details {
        request = request.with_authorization_details(details);
    }
    let pending = session.begin_backchannel_authentication(&request).await?;
    let auth_req_id = on_one_line(pending.expose_handle());
    terminal.instruction(
        format!(
            "The server has asked the user; waiting for the decision.\n{}",
            styled(
                DIM,
                format!("keybound backchannel approve|deny {auth_req_id}   decides for the user")
            )
        ),
        &json!({ "auth_req_id": auth_req_id }),
    );
    session
        .wait_for_approval(pending, Duration::from_secs(arguments.wait))
        .await
}

/// The successor of a rotated token is written where its predecessor was read before anything is printed.
async fn refresh(arguments: &TokenGet, session: &Session) -> Result<Value, CommandError> {
    let path = arguments.refresh_token.clone().unwrap_or_default();
    let file = TokenFile::read(&path)?;
    let presented = file.token(&["refresh_token"])?;
    let refresh_token = RefreshToken::parse(presented).map_err(|error| CommandError::new(ExitCode::Usage, error))?;
    let response = session
        .refresh(&refresh_token, &Wanted::from(&arguments.wanted))
        .await?;
    let mut members = answer(&response);
    match response.refresh_token() {
        Some(successor) if *successor != refresh_token => {
            if !TokenFile::is_standard_input(&path) {
                file.replace(successor.expose_text(), &members)?;
            }
        }
        Some(_) => {}
        // It stays good: whoever keeps the answer keeps that, too.
        None => members["refresh_token"] = refresh_token.expose_text().into(),
    }
    Ok(members)
}

async fn exchange(arguments: &TokenGet, session: &Session) -> Result<TokenResponse, CommandError> {
    let (scope, resources) = wanted(arguments)?;
    let file = TokenFile::read(&arguments.subject_token.clone().unwrap_or_default())?;
    let subject_token = file.token(&["access_token"])?;
    let exchange = TokenExchange::new(subject_token, &arguments.subject_token_type).with_scope(&scope);
    let exchange = resources.into_iter().fold(exchange, TokenExchange::with_resource);
    let audiences = arguments.audience.iter();
    let exchange = audiences.fold(exchange, |exchange, audience| exchange.with_audience(audience));
    session.exchange(&exchange).await
}
