//! The authorization code grant (RFC 6749 §4.1) with PKCE, pushed requests (RFC 9126) and the checks of RFC 9207.

use std::time::Duration;

use keybound_protocol::endpoint::Endpoint;
use keybound_protocol::grant_type::GrantType;
use keybound_protocol::json::JsonObject;
use keybound_protocol::jwk_set::JwkSet;
use keybound_protocol::pkce::S256;
use keybound_protocol::server_metadata::{MetadataFlag, MetadataList, ServerMetadata};
use keybound_protocol::time::Timestamp;
use url::Url;

use crate::authorization_request::{AuthorizationRequest, AuthorizationSecrets, PendingAuthorization};
use crate::authorization_response::{SignedResponsePolicy, UnverifiedResponse};
use crate::client::Client;
use crate::error::{ClientError, ResponseError};
use crate::id_token::{ExpectedNonce, IdToken, IdTokenError, IdTokenPolicy};
use crate::token_response::TokenResponse;

/// What is expected of an ID token in a token response.
pub(crate) struct ExpectedIdToken<'a> {
    pub(crate) nonce: ExpectedNonce<'a>,
    pub(crate) max_age_secs: Option<u64>,
    /// Whether a response without one is refused.
    pub(crate) is_required: bool,
    /// The issuer's keys, where they were had before anything was spent.
    pub(crate) keys: Option<JwkSet>,
}

/// A request that the server keeps (RFC 9126 §2.2).
struct PushedRequest {
    request_uri: String,
    expires_at: Timestamp,
}

impl Client {
    /// Begins to ask a user: makes the address that his browser goes to.
    ///
    /// The request is pushed where the server has an endpoint for that, and signed if the client has a key for that; S256 is always
    /// used. The authorization endpoint has no alias, whatever the metadata says: a browser goes there, and has no such certificate.
    ///
    /// `secrets` are for this one request.
    ///
    /// # Errors
    /// The server cannot be reached or refuses the pushed request; it does not say that it supports S256, or takes
    /// signed requests alone and there is no key. Then nothing was sent.
    pub async fn begin_authorization(
        &self,
        request: &AuthorizationRequest,
        secrets: AuthorizationSecrets,
        now: Timestamp,
    ) -> Result<PendingAuthorization, ClientError> {
        let metadata = self.server.metadata(now).await?;
        let issuer = || self.server.issuer().to_string();
        let no_endpoint = |endpoint| ClientError::NoEndpoint {
            issuer: issuer(),
            endpoint,
        };
        let mut url = metadata
            .endpoint(Endpoint::Authorization)
            .cloned()
            .ok_or_else(|| no_endpoint(Endpoint::Authorization))?;
        // A server that says nothing has no PKCE (RFC 8414 §2): it would ignore the challenge, and take a stolen code.
        let supports_s256 = match metadata.names(MetadataList::CodeChallengeMethods) {
            Some(methods) => methods.iter().any(|method| method == S256),
            None => request.assumes_s256(),
        };
        if !supports_s256 {
            return Err(ClientError::NoS256 { issuer: issuer() });
        }
        let mut parameters = request.parameters(&secrets);
        // RFC 9449 §10: the code is good for the holder of this key alone.
        let dpop_jkt = self.dpop_key.as_ref().map(|key| key.thumbprint().to_string());
        parameters.extend(dpop_jkt.map(|jkt| ("dpop_jkt", jkt)));
        let parameters = self.signed_if_able(parameters, &metadata, now)?;
        let identity = self.identity();
        let mut expires_at = None;
        if metadata.endpoint(Endpoint::PushedAuthorizationRequest).is_some() {
            let pushed = self.push(parameters, &identity, now).await?;
            url.query_pairs_mut()
                .append_pair("client_id", self.client_id.as_str())
                .append_pair("request_uri", &pushed.request_uri);
            expires_at = Some(pushed.expires_at);
        } else if metadata.has(MetadataFlag::RequirePushedAuthorizationRequests) {
            return Err(no_endpoint(Endpoint::PushedAuthorizationRequest));
        } else {
            url.query_pairs_mut()
                .append_pair("client_id", self.client_id.as_str())
                .extend_pairs(parameters);
        }
        Ok(PendingAuthorization {
            url,
            expires_at,
            secrets,
            request: request.clone(),
            requires_issuer: metadata.has(MetadataFlag::AuthorizationResponseIss),
            identity,
        })
    }

    /// Puts a request together again that [`begin_authorization`](Self::begin_authorization) began: for a caller that keeps nothing while
    /// the user is away, and makes the same `secrets` once more. That an answer is taken only once is then the caller's to see to.
    ///
    /// # Errors
    /// The server's metadata cannot be had.
    pub async fn resume_authorization(
        &self,
        request: &AuthorizationRequest,
        secrets: AuthorizationSecrets,
        now: Timestamp,
    ) -> Result<PendingAuthorization, ClientError> {
        let metadata = self.server.metadata(now).await?;
        Ok(PendingAuthorization {
            // Where the browser went is over.
            url: request.redirect_uri().clone(),
            expires_at: None,
            secrets,
            request: request.clone(),
            requires_issuer: metadata.has(MetadataFlag::AuthorizationResponseIss),
            identity: self.identity(),
        })
    }

    /// The parameters, or `request` alone, in which they are signed: nothing else may stand beside it but what authenticates the client
    /// (RFC 9126 §3).
    fn signed_if_able(
        &self,
        parameters: Vec<(&'static str, String)>,
        metadata: &ServerMetadata,
        now: Timestamp,
    ) -> Result<Vec<(&'static str, String)>, ClientError> {
        let issuer = self.server.issuer();
        match &self.request_object_key {
            Some(key) => Ok(vec![("request", key.sign(&parameters, &self.client_id, issuer, now)?)]),
            None if metadata.has(MetadataFlag::RequireSignedRequestObject) => Err(ClientError::NoRequestObjectKey {
                issuer: issuer.to_string(),
            }),
            None => Ok(parameters),
        }
    }

    async fn push(
        &self,
        parameters: Vec<(&'static str, String)>,
        identity: &crate::Identity,
        now: Timestamp,
    ) -> Result<PushedRequest, ClientError> {
        let endpoint = Endpoint::PushedAuthorizationRequest;
        let (url, answer) = self.post(endpoint, parameters, identity, now).await?;
        PushedRequest::parse(&answer.body, now).map_err(|source| ClientError::Response {
            url,
            status: answer.status,
            source,
        })
    }

    /// Takes the answer that the browser brought to the redirect URI, and redeems the code in it.
    ///
    /// `query` is the query of that request, undecoded. State, `iss`, signature, error and code are judged before anything is sent; the
    /// code goes to the server that was asked, over the certificate that pushed the request.
    ///
    /// # Errors
    /// [`ClientError::Authorization`] for an answer that is not accepted, with its cause; then no request was made. What the token endpoint
    /// refuses; an ID token that is not accepted, or missing.
    pub async fn finish_authorization(
        &self,
        pending: PendingAuthorization,
        query: &str,
        now: Timestamp,
    ) -> Result<TokenResponse, ClientError> {
        let mut answer = UnverifiedResponse::parse(query)?;
        if pending.request.wants_signed_response() {
            let signed = answer.signed()?.to_owned();
            let policy = SignedResponsePolicy {
                issuer: self.server.issuer(),
                client_id: &self.client_id,
                algorithms: &self.algorithms,
            };
            let keys = self.server.keys(now).await?;
            answer = UnverifiedResponse::from_signed(&signed, &keys, &policy, now)?;
        }
        let code = answer.verify(&pending, self.server.issuer())?;
        // Before the code is spent: what it is good for once is not to be lost for want of keys.
        let wants_id_token = pending.request.wants_id_token();
        let keys = match wants_id_token {
            true => Some(self.server.keys(now).await?),
            false => None,
        };
        let form = vec![
            ("grant_type", GrantType::AuthorizationCode.name().to_owned()),
            ("code", code.into_text()),
            ("redirect_uri", pending.request.redirect_uri().to_string()),
            ("code_verifier", pending.secrets.verifier.as_str().to_owned()),
        ];
        let response = self.token_response(form, pending.identity.clone(), now).await?;
        let expected = ExpectedIdToken {
            nonce: match wants_id_token {
                true => ExpectedNonce::Sent(&pending.secrets.nonce),
                false => ExpectedNonce::NotSent,
            },
            max_age_secs: pending.request.max_age_secs(),
            is_required: wants_id_token,
            keys,
        };
        self.with_verified_id_token(response, expected, now).await
    }

    /// The response, if its ID token is accepted.
    ///
    /// One that nobody has to have is left out if the keys for it cannot be had now: the tokens beside it are there, and the server may
    /// have spent what they came of.
    pub(crate) async fn with_verified_id_token(
        &self,
        mut response: TokenResponse,
        expected: ExpectedIdToken<'_>,
        now: Timestamp,
    ) -> Result<TokenResponse, ClientError> {
        let issuer = self.server.issuer();
        let refused = |source| ClientError::IdToken {
            issuer: issuer.to_string(),
            source: Box::new(source),
        };
        let Some(text) = response.take_unverified_id_token() else {
            return match expected.is_required {
                true => Err(refused(IdTokenError::Missing("id_token"))),
                false => Ok(response),
            };
        };
        let keys = match expected.keys {
            Some(keys) => keys,
            None => match self.server.keys(now).await {
                Ok(keys) => keys,
                Err(error) if expected.is_required => return Err(error.into()),
                Err(error) => {
                    tracing::warn!(
                        error = &error as &dyn std::error::Error,
                        "an ID token that cannot be verified is left out"
                    );
                    return Ok(response);
                }
            },
        };
        let policy = IdTokenPolicy {
            issuer,
            client_id: &self.client_id,
            algorithms: &self.algorithms,
            nonce: expected.nonce,
            max_age_secs: expected.max_age_secs,
            access_token: response.access_token().expose_text(),
        };
        let id_token = IdToken::verify(&text, &keys, &policy, now).map_err(refused)?;
        response.set_id_token(id_token);
        Ok(response)
    }
}

impl PushedRequest {
    fn parse(body: &[u8], now: Timestamp) -> Result<PushedRequest, ResponseError> {
        let object = JsonObject::parse(body)?;
        let request_uri = object
            .string("request_uri")?
            .ok_or(ResponseError::Missing("request_uri"))?;
        // A URI, and none that would be fetched: the server knows it by name.
        Url::parse(request_uri).map_err(|_| ResponseError::Uri("request_uri"))?;
        let lifetime = object
            .numeric_date("expires_in")?
            .ok_or(ResponseError::Missing("expires_in"))?;
        Ok(PushedRequest {
            request_uri: request_uri.to_owned(),
            expires_at: now.plus(Duration::from_secs(lifetime.max(0).unsigned_abs())),
        })
    }
}
