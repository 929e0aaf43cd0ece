//! A client at work: the client library with this program's clock, trace and errors.

mod grants;

use std::io::Write;
use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use keybound_client::{
    AccessToken, AuthorizationServer, Client, ClientAuthentication, ClientError, ClientSettings, Clock, Discovery,
    DiscoveryError, DpopKey, GuardedFetch, GuardedFetchSettings, HttpClientSettings, Identity, IncomingBody,
    OutgoingBody, RequestObjectKey, TokenRequest, Trace, TracedRequest, TracedResponse,
};
use keybound_protocol::authentication_method::AuthenticationMethod;
use keybound_protocol::client::ClientId;
use keybound_protocol::endpoint::Endpoint;
use keybound_protocol::issuer::Issuer;
use keybound_protocol::resource::ResourceUri;
use keybound_protocol::scope::Scope;
use keybound_protocol::server_metadata::{MetadataFlag, ServerMetadata};
use serde_json::{Value, json};
use url::Url;

use crate::acting::ClientProfile;
use crate::arguments;
use crate::exit_code::{CommandError, ExitCode};
use crate::signing_key;
use crate::terminal::{DIM, STRONG, on_one_line, styled, without_control_characters};

/// What a token is asked for.
#[derive(Debug, Clone, Default)]
pub(crate) struct Wanted {
    /// Scope words; empty asks for none.
    pub scope: Vec<String>,
    /// Resource indicators (RFC 8707).
    pub resource: Vec<String>,
}

impl From<&arguments::Wanted> for Wanted {
    fn from(arguments: &arguments::Wanted) -> Self {
        Self {
            scope: arguments.scope.clone(),
            resource: arguments.resource.clone(),
        }
    }
}

impl Wanted {
    fn request(&self) -> Result<TokenRequest, CommandError> {
        let usage = |error: &dyn std::fmt::Display| CommandError::message(ExitCode::Usage, error);
        let scope = Scope::parse(&self.scope.join(" ")).map_err(|error| usage(&error))?;
        self.resource
            .iter()
            .try_fold(TokenRequest::new().with_scope(&scope), |request, resource| {
                let resource = ResourceUri::parse(resource).map_err(|error| usage(&error))?;
                Ok(request.with_resource(resource))
            })
    }
}

/// One client of one authorization server, whose metadata is known.
pub(crate) struct Session {
    client: Client,
    metadata: Arc<ServerMetadata>,
    settings: HttpClientSettings,
    clock: Clock,
}

impl Session {
    /// Discovers the server. With `trace`, every request and response is shown on standard error.
    ///
    /// # Errors
    /// If the issuer is no issuer, or its metadata cannot be had.
    pub(crate) async fn start(profile: ClientProfile, trace: bool) -> Result<Self, CommandError> {
        let clock = Clock::system();
        let issuer = Issuer::parse(&profile.issuer).map_err(|error| CommandError::new(ExitCode::Usage, error))?;
        let client_id =
            ClientId::parse(&profile.client_id).map_err(|error| CommandError::new(ExitCode::Usage, error))?;
        let mut fetch = GuardedFetchSettings::new(profile.roots.clone());
        // The user names the issuer, nobody else does: there is no inside of a network to be protected from.
        fetch.allow_addresses = vec![ipnet::Ipv4Net::default().into(), ipnet::Ipv6Net::default().into()];
        fetch.tls13_only = profile.tls13_only;
        let mut discovery = Discovery::new(GuardedFetch::new(fetch));
        if trace {
            discovery = discovery.with_trace(Arc::new(Shown));
        }
        let server = AuthorizationServer::discovered(issuer, discovery);
        let metadata = server
            .metadata(clock.now())
            .await
            .map_err(|error| failed_discovery(&error))?;
        let authentication = authentication(&profile)?;
        let mut settings = HttpClientSettings::new(profile.roots);
        settings.identity = profile.identity;
        settings.tls13_only = profile.tls13_only;
        let mut client = Client::new(ClientSettings {
            server,
            client_id,
            authentication,
            identity: Identity::new(settings.clone()),
        })
        .with_mtls_endpoint_aliases(profile.use_mtls_endpoint_aliases);
        let insists = metadata.has(MetadataFlag::RequireSignedRequestObject) || profile.require_signed_request_object;
        if let Some(signer) = profile.signing_key.filter(|_| insists) {
            client = client.with_request_object_key(RequestObjectKey::new(signer, signing_key::unique_id));
        }
        if let Some(signer) = profile.dpop_key {
            client = client.with_dpop_key(DpopKey::new(signer, clock.clone(), signing_key::unique_id));
        }
        if trace {
            client = client.with_trace(Arc::new(Shown));
        }
        Ok(Self {
            client,
            metadata,
            settings,
            clock,
        })
    }

    /// The same client without a certificate: what a thief has who stole the token alone.
    pub(crate) fn without_certificate(&self) -> Identity {
        Identity::new(HttpClientSettings {
            identity: None,
            ..self.settings.clone()
        })
    }

    /// Where this client asks for tokens: the mutual-TLS alias, if there is one (RFC 8705 §5).
    ///
    /// # Errors
    /// If the server has no token endpoint.
    pub(crate) fn token_endpoint(&self) -> Result<Url, CommandError> {
        self.metadata
            .alias_or(Endpoint::Token)
            .cloned()
            .ok_or_else(|| CommandError::message(ExitCode::Network, "the server's metadata has no token_endpoint"))
    }

    /// `path` at the origin where clients with a certificate connect.
    ///
    /// # Errors
    /// As [`token_endpoint`](Self::token_endpoint).
    pub(crate) fn mutual_tls_url(&self, path: &str) -> Result<Url, CommandError> {
        let mut url = self.token_endpoint()?;
        url.set_path(path);
        Ok(url)
    }

    /// A token.
    ///
    /// # Errors
    /// Refusals are exit 5, everything on the way there is 6.
    pub(crate) async fn access_token(&self, wanted: &Wanted) -> Result<AccessToken, CommandError> {
        let request = wanted.request()?;
        self.client
            .token(&request, self.clock.now())
            .await
            .map_err(|error| failed(&error))
    }

    /// The token response, as RFC 6749 §5.1 names its members.
    ///
    /// # Errors
    /// As [`access_token`](Self::access_token).
    pub(crate) async fn token_response(&self, wanted: &Wanted) -> Result<Value, CommandError> {
        let token = self.access_token(wanted).await?;
        let mut response = json!({ "access_token": token.expose_text(), "token_type": token.scheme().as_str() });
        if let Some(expires_at) = token.expires_at() {
            response["expires_in"] = expires_at.duration_since(self.clock.now()).as_secs().into();
        }
        if let Some(scope) = token.scope() {
            response["scope"] = scope.as_str().into();
        }
        Ok(response)
    }

    /// How the server answers when this client asks for a token, and the id of its refusal if it refuses.
    ///
    /// # Errors
    /// Only if there is no answer.
    pub(crate) async fn token_request_status(
        &self,
        wanted: &Wanted,
    ) -> Result<(StatusCode, Option<String>), CommandError> {
        let request = wanted.request()?;
        match self.client.token(&request, self.clock.now()).await {
            Ok(_) => Ok((StatusCode::OK, None)),
            Err(ClientError::Refused(refusal)) => Ok((refusal.status, refusal.refusal_id)),
            Err(error) => Err(failed(&error)),
        }
    }

    /// Calls a protected resource with a token of this client.
    ///
    /// # Errors
    /// If there is no token or no answer; a refusal by the resource is an answer.
    pub(crate) async fn call(
        &self,
        wanted: &Wanted,
        request: Request<Bytes>,
    ) -> Result<Response<IncomingBody>, CommandError> {
        let wanted = wanted.request()?;
        self.client
            .call(request, &wanted, self.clock.now())
            .await
            .map_err(|error| failed(&error))
    }

    /// Calls a protected resource with a token from elsewhere, over this client's certificate, or with proofs by its DPoP key.
    ///
    /// # Errors
    /// If there is no answer.
    pub(crate) async fn send_with_token(
        &self,
        token: &str,
        request: Request<Bytes>,
    ) -> Result<Response<IncomingBody>, CommandError> {
        let token = self.client.adopt_token(token);
        let token = token.map_err(|error| CommandError::new(ExitCode::Usage, error))?;
        let response = self.client.call_with(&token, &request).await;
        response.map_err(|error| failed(&error))
    }
}

/// Calls a protected resource with somebody's token over the connections of `identity`: what a thief would do.
///
/// # Errors
/// If there is no answer.
pub(crate) async fn send_with_token(
    identity: &Identity,
    token: &str,
    request: Request<Bytes>,
) -> Result<Response<IncomingBody>, CommandError> {
    let (mut parts, body) = request.into_parts();
    let value = http::HeaderValue::try_from(format!("Bearer {token}"))
        .map_err(|_| CommandError::message(ExitCode::Usage, "the token has a character that no token has"))?;
    parts.headers.insert(http::header::AUTHORIZATION, value);
    let body = if body.is_empty() {
        OutgoingBody::Empty
    } else {
        OutgoingBody::Full(body)
    };
    identity
        .send(Request::from_parts(parts, body))
        .await
        .map_err(|error| CommandError::new(ExitCode::Network, error))
}

/// How the client authenticates, as its registration has it.
fn authentication(profile: &ClientProfile) -> Result<ClientAuthentication, CommandError> {
    match (profile.token_endpoint_auth_method, &profile.signing_key) {
        (Some(AuthenticationMethod::None), _) => Ok(ClientAuthentication::None),
        (Some(AuthenticationMethod::PrivateKeyJwt), Some(signer)) => {
            Ok(ClientAuthentication::PrivateKeyJwt(signing_key::assertion_key(signer)))
        }
        (Some(AuthenticationMethod::PrivateKeyJwt), None) => Err(CommandError::message(
            ExitCode::Usage,
            "private_key_jwt needs the client's signing_key (--signing-key FILE)",
        )),
        _ => Ok(ClientAuthentication::Certificate),
    }
}

fn failed_discovery(error: &DiscoveryError) -> CommandError {
    with_fix(CommandError::message(ExitCode::Network, chain(error)), error.fix())
}

fn failed(error: &ClientError) -> CommandError {
    let code = match error {
        ClientError::ApprovalExpired => ExitCode::TimedOut,
        _ if error.is_refusal() && !error.is_transient() => ExitCode::Refused,
        _ if error.is_transient() => ExitCode::Unavailable,
        ClientError::NoCertificate | ClientError::NoRequestObjectKey { .. } => ExitCode::Usage,
        // What is not believed is refused, by us.
        ClientError::IdToken { .. } | ClientError::NoS256 { .. } | ClientError::Ended => ExitCode::Refused,
        _ => ExitCode::Network,
    };
    // Not to reach a server at all is a matter of the network, whether or not it is worth another try.
    let code = if matches!(error, ClientError::Request { .. } | ClientError::Discovery(_)) && !error.is_refusal() {
        ExitCode::Network
    } else {
        code
    };
    let fix = match error {
        ClientError::NoS256 { .. } => {
            Some("--assume-s256, if it does and its metadata is only silent about it".to_owned())
        }
        _ => error.fix(),
    };
    with_fix(CommandError::message(code, chain(error)), fix)
}

fn with_fix(error: CommandError, fix: Option<String>) -> CommandError {
    match fix {
        Some(fix) => error.with_fix(fix),
        None => error,
    }
}

/// An error with its causes on one line, whatever a server put into its texts.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.ends_with(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    on_one_line(&text)
}

/// `--trace`: on standard error, so that the result can still be piped.
struct Shown;

impl Trace for Shown {
    fn request(&self, request: &TracedRequest<'_>) {
        let mut text = format!("{} {} {}\n", styled(STRONG, ">"), request.method, request.url);
        if let Some(thumbprint) = request.certificate {
            text.push_str(&styled(DIM, format!("> (certificate x5t#S256 {thumbprint})\n")));
        }
        append(&mut text, '>', &request.headers, &request.body);
        show(&text);
    }

    fn response(&self, response: &TracedResponse<'_>) {
        let mut text = format!("{} {}\n", styled(STRONG, "<"), response.status);
        append(&mut text, '<', &response.headers, &response.body);
        show(&text);
    }
}

/// A reader that has gone away ends the trace and not the request.
fn show(text: &str) {
    let _ = anstream::stderr().write_all(text.as_bytes());
}

fn append(text: &mut String, direction: char, headers: &[(String, String)], body: &str) {
    for (name, value) in headers {
        text.push_str(&format!("{direction} {name}: {}\n", without_control_characters(value)));
    }
    for line in without_control_characters(body).lines() {
        text.push_str(&format!("{direction}   {line}\n"));
    }
    text.push_str(&format!("{direction}\n"));
}
