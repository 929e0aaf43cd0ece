//! A client of one authorization server: it gets tokens, introspects and revokes them, and calls protected resources.

use std::sync::{Arc, PoisonError, RwLock};

use keybound_protocol::access_token::CLOCK_LEEWAY;
use keybound_protocol::client::ClientId;
use keybound_protocol::endpoint::Endpoint;
use keybound_protocol::introspection::IntrospectionResponse;
use keybound_protocol::resource::ResourceUri;
use keybound_protocol::scope::Scope;
use keybound_protocol::signature_algorithm::SignatureAlgorithm;
use keybound_protocol::time::Timestamp;

use crate::access_token::{AccessToken, Holder};
use crate::authorization_server::AuthorizationServer;
use crate::client_authentication::ClientAuthentication;
use crate::dpop_key::{DpopKey, USE_DPOP_NONCE};
use crate::error::{ClientError, ResponseError};
use crate::exchange::{Answer, Post, post_form};
use crate::identity::Identity;
use crate::request_object::RequestObjectKey;
use crate::token_cache::{HeldToken, TokenCache, TokenKey};
use crate::token_response::TokenResponse;
use crate::trace::Trace;

mod approval;
mod authorization_code;
mod protected_resource;
mod token_grants;

pub(crate) use protected_resource::rejects_token;

/// The algorithms by which ID tokens and signed answers may be signed, unless a client is told otherwise.
const SIGNATURE_ALGORITHMS: [SignatureAlgorithm; 5] = SignatureAlgorithm::ALL;

/// What a client is made of.
#[derive(Clone, Debug)]
pub struct ClientSettings {
    /// Its authorization server.
    pub server: AuthorizationServer,
    /// Its identifier there.
    pub client_id: ClientId,
    /// How it authenticates.
    pub authentication: ClientAuthentication,
    /// The certificate it presents, if it has one.
    pub identity: Identity,
}

/// What a token is asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct TokenRequest {
    scope: Option<Box<str>>,
    resources: Vec<ResourceUri>,
}

impl TokenRequest {
    /// The token that the server gives to who asks for nothing in particular.
    pub fn new() -> TokenRequest {
        TokenRequest::default()
    }

    /// The same with this scope; the empty one leaves it to the server.
    #[must_use]
    pub fn with_scope(mut self, scope: &Scope) -> TokenRequest {
        self.scope = Some(scope.as_str()).filter(|scope| !scope.is_empty()).map(Into::into);
        self
    }

    /// The same for one more resource (RFC 8707).
    #[must_use]
    pub fn with_resource(mut self, resource: ResourceUri) -> TokenRequest {
        self.resources.push(resource);
        self
    }

    fn parameters(&self) -> Vec<(&'static str, String)> {
        let scope = self.scope.iter().map(|scope| ("scope", scope.to_string()));
        let resources = self
            .resources
            .iter()
            .map(|resource| ("resource", resource.as_str().to_owned()));
        scope.chain(resources).collect()
    }
}

/// A client of one authorization server. Tasks share it by reference.
///
/// Time is an argument wherever it matters: callers read it once per request.
pub struct Client {
    server: AuthorizationServer,
    client_id: ClientId,
    authentication: ClientAuthentication,
    identity: RwLock<Identity>,
    tokens: TokenCache,
    uses_mtls_endpoint_aliases: bool,
    request_object_key: Option<RequestObjectKey>,
    dpop_key: Option<DpopKey>,
    algorithms: Vec<SignatureAlgorithm>,
    trace: Option<Arc<dyn Trace>>,
}

impl Client {
    /// Makes a client; nothing is connected yet.
    pub fn new(settings: ClientSettings) -> Client {
        Client {
            server: settings.server,
            client_id: settings.client_id,
            authentication: settings.authentication,
            identity: RwLock::new(settings.identity),
            tokens: TokenCache::new(),
            uses_mtls_endpoint_aliases: false,
            request_object_key: None,
            dpop_key: None,
            algorithms: SIGNATURE_ALGORITHMS.to_vec(),
            trace: None,
        }
    }

    /// The same with `use_mtls_endpoint_aliases` (FAPI 2.0 §5.2.2.1): it goes to the aliases even if it neither authenticates with a
    /// certificate nor has one to bind tokens to.
    #[must_use]
    pub fn with_mtls_endpoint_aliases(mut self, always: bool) -> Client {
        self.uses_mtls_endpoint_aliases = always;
        self
    }

    /// The same, signing its authorization and backchannel requests (RFC 9101): all of them, whether or not the server insists.
    #[must_use]
    pub fn with_request_object_key(mut self, key: RequestObjectKey) -> Client {
        self.request_object_key = Some(key);
        self
    }

    /// The same with tokens that are bound to this key (RFC 9449), and no others: every token request has a proof, every pushed request names
    /// the key for its code (§10), and every call of a resource has a proof again.
    #[must_use]
    pub fn with_dpop_key(mut self, key: DpopKey) -> Client {
        self.dpop_key = Some(key);
        self
    }

    /// The same, accepting ID tokens and signed answers by these algorithms alone.
    #[must_use]
    pub fn with_signature_algorithms(mut self, algorithms: &[SignatureAlgorithm]) -> Client {
        self.algorithms = algorithms.to_vec();
        self
    }

    /// The same, showing every request and response to `trace`.
    #[must_use]
    pub fn with_trace(mut self, trace: Arc<dyn Trace>) -> Client {
        self.trace = Some(trace);
        self
    }

    /// The authorization server.
    pub fn server(&self) -> &AuthorizationServer {
        &self.server
    }

    /// The identifier.
    pub fn client_id(&self) -> &ClientId {
        &self.client_id
    }

    /// The certificate that is presented at present.
    pub fn identity(&self) -> Identity {
        self.identity.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Presents another certificate from now on, such as the renewed one.
    ///
    /// What is under way goes on as it began. Tokens obtained before stay with the certificate they were obtained with, so the next
    /// call asks for a new one (RFC 8705 §6.3).
    pub fn replace_identity(&self, identity: Identity) {
        *self.identity.write().unwrap_or_else(PoisonError::into_inner) = identity;
    }

    /// A token for `request`, the one that is held or a new one (grant `client_credentials`).
    ///
    /// Tasks that ask for the same at the same time cause one request. A token that is due for renewal and still good is used on
    /// while another task renews it, and if the server cannot be reached.
    ///
    /// # Errors
    /// The authorization server cannot be reached, or refuses.
    pub async fn token(&self, request: &TokenRequest, now: Timestamp) -> Result<AccessToken, ClientError> {
        self.token_other_than(None, request, now).await
    }

    /// A token that is not `rejected`, of which a resource said that it is not valid.
    async fn token_other_than(
        &self,
        rejected: Option<&AccessToken>,
        request: &TokenRequest,
        now: Timestamp,
    ) -> Result<AccessToken, ClientError> {
        let identity = self.identity();
        let slot = self.tokens.slot(&TokenKey::new(identity.thumbprint(), request));
        let held = slot.held(rejected);
        if let Some(held) = held.as_ref().filter(|held| held.is_fresh(now)) {
            return Ok(held.token.clone());
        }
        let _asking = match (slot.asking.try_lock(), held) {
            (Ok(asking), _) => asking,
            // Somebody renews it; until he has done so it is good enough.
            (Err(_), Some(held)) if held.is_good(now) => return Ok(held.token),
            (Err(_), _) => slot.asking.lock().await,
        };
        // Whoever was waited for may have brought it.
        let held = slot.held(rejected);
        if let Some(held) = held.as_ref().filter(|held| held.is_fresh(now)) {
            return Ok(held.token.clone());
        }
        match self.obtain(identity, request, now).await {
            Ok(token) => {
                slot.hold(HeldToken::new(token.clone(), now));
                Ok(token)
            }
            Err(error) => match held.filter(|held| error.is_transient() && held.is_good(now)) {
                Some(held) => Ok(held.token),
                None => Err(error),
            },
        }
    }

    /// Asks for a new token, whatever is held.
    async fn obtain(
        &self,
        identity: Identity,
        request: &TokenRequest,
        now: Timestamp,
    ) -> Result<AccessToken, ClientError> {
        let mut form = vec![("grant_type", "client_credentials".to_owned())];
        form.extend(request.parameters());
        let response = self.token_response(form, identity, now).await?;
        Ok(response.access_token().clone())
    }

    /// Posts a token request and reads its answer; an ID token in it is not yet verified.
    async fn token_response(
        &self,
        form: Vec<(&'static str, String)>,
        identity: Identity,
        now: Timestamp,
    ) -> Result<TokenResponse, ClientError> {
        let (url, answer) = self.post(Endpoint::Token, form, &identity, now).await?;
        TokenResponse::parse(&answer.body, self.holder(identity), now).map_err(|source| ClientError::Response {
            url,
            status: answer.status,
            source,
        })
    }

    /// What the authorization server knows about `token` (RFC 7662).
    ///
    /// # Errors
    /// It cannot be reached, refuses, or answers something that cannot be gone by. Whatever the error, the token is not to be
    /// accepted.
    pub async fn introspect(&self, token: &str, now: Timestamp) -> Result<IntrospectionResponse, ClientError> {
        let form = vec![("token", token.to_owned())];
        let (url, answer) = self.post(Endpoint::Introspection, form, &self.identity(), now).await?;
        IntrospectionResponse::parse(&answer.body, now, CLOCK_LEEWAY).map_err(|source| ClientError::Response {
            url,
            status: answer.status,
            source: ResponseError::Introspection(source),
        })
    }

    /// Revokes `token` (RFC 7009). A token that the server does not know is revoked, too.
    ///
    /// # Errors
    /// The server cannot be reached, or refuses.
    pub async fn revoke(&self, token: &str, now: Timestamp) -> Result<(), ClientError> {
        let form = vec![("token", token.to_owned())];
        self.post(Endpoint::Revocation, form, &self.identity(), now)
            .await
            .map(|_| ())
    }

    async fn post(
        &self,
        endpoint: Endpoint,
        form: Vec<(&'static str, String)>,
        identity: &Identity,
        now: Timestamp,
    ) -> Result<(String, Answer), ClientError> {
        if matches!(self.authentication, ClientAuthentication::Certificate) && identity.thumbprint().is_none() {
            return Err(ClientError::NoCertificate);
        }
        let prefers_aliases = self.uses_mtls_endpoint_aliases || identity.thumbprint().is_some();
        let location = self.server.locate(endpoint, prefers_aliases, now).await?;
        // What a key is proven for: tokens, and codes to come (RFC 9449 §5, §10.1).
        let dpop = self
            .dpop_key
            .as_ref()
            .filter(|_| matches!(endpoint, Endpoint::Token | Endpoint::PushedAuthorizationRequest));
        let nonce = || dpop.and_then(|key| key.nonce_for(location.url.as_str()));
        let mut has_retried = false;
        loop {
            let form = self
                .authentication
                .authenticate(form.clone(), &self.client_id, self.server.issuer(), now)?;
            let post = Post {
                location: &location,
                form: &form,
                identity,
                dpop,
            };
            let sent = nonce();
            match post_form(post, self.trace.as_ref()).await {
                Ok(answer) => return Ok((location.url.to_string(), answer)),
                // Nothing was spent: once more, with the nonce that came with the refusal (RFC 9449 §8). A server that is not content
                // with its own nonce gets no third proof.
                Err(ClientError::Refused(refusal))
                    if refusal.error == USE_DPOP_NONCE && !has_retried && nonce() != sent =>
                {
                    has_retried = true;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// With what a token goes that is asked for over this identity.
    fn holder(&self, identity: Identity) -> Holder {
        Holder {
            identity,
            dpop: self.dpop_key.clone(),
        }
    }
}

impl std::fmt::Debug for Client {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Client")
            .field("issuer", &self.server.issuer().as_str())
            .field("client_id", &self.client_id)
            .field("authentication", &self.authentication)
            .field("identity", &self.identity())
            .finish_non_exhaustive()
    }
}
