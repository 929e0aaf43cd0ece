//! What a user granted, held for as long as it lasts: an access token that is good now, and the refresh token of the next.

use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response};
use keybound_protocol::time::Timestamp;
use keybound_tls::IncomingBody;
use tokio::sync::Mutex;

use crate::access_token::AccessToken;
use crate::client::{Client, TokenRequest, rejects_token};
use crate::error::ClientError;
use crate::id_token::IdTokenError;
use crate::token_cache::HeldToken;
use crate::token_response::{RefreshToken, TokenResponse};

/// A user's grant in the hands of its client. Tasks share it by reference: those that need a new token at once cause one request.
///
/// A refresh token that is rotated is replaced by its successor the moment that arrives; if the answer is lost, the same one is sent
/// again, which the server forgives for a short while. After a certificate was renewed the next call refreshes: tokens go with their
/// certificate (RFC 8705 §6.3). The refresh tokens of a public client do so too (RFC 8705 §4): its grant ends with its certificate.
pub struct HeldGrant {
    client: Arc<Client>,
    state: Mutex<State>,
}

struct State {
    held: Option<HeldToken>,
    refresh_token: Option<RefreshToken>,
    subject: Option<String>,
    has_ended: bool,
}

impl HeldGrant {
    /// Holds what a token response brought at `now`.
    pub fn new(client: Arc<Client>, response: &TokenResponse, now: Timestamp) -> HeldGrant {
        let state = State {
            held: Some(HeldToken::new(response.access_token().clone(), now)),
            refresh_token: response.refresh_token().cloned(),
            subject: response.id_token().map(|id_token| id_token.subject().to_owned()),
            has_ended: false,
        };
        HeldGrant {
            client,
            state: Mutex::new(state),
        }
    }

    /// Holds a refresh token that was kept somewhere; the first call refreshes.
    pub fn of_refresh_token(client: Arc<Client>, refresh_token: RefreshToken) -> HeldGrant {
        let state = State {
            held: None,
            refresh_token: Some(refresh_token),
            subject: None,
            has_ended: false,
        };
        HeldGrant {
            client,
            state: Mutex::new(state),
        }
    }

    /// The refresh token to keep for the next time. It may be another after each call of [`token`](Self::token).
    pub async fn refresh_token(&self) -> Option<RefreshToken> {
        self.state.lock().await.refresh_token.clone()
    }

    /// A token that is good, for the certificate that the client presents now.
    ///
    /// # Errors
    /// [`ClientError::Ended`] without a request where there is nothing to refresh with, or an answer said that the grant is over;
    /// else what the refresh met with.
    pub async fn token(&self, now: Timestamp) -> Result<AccessToken, ClientError> {
        self.token_other_than(None, now).await
    }

    async fn token_other_than(
        &self,
        rejected: Option<&AccessToken>,
        now: Timestamp,
    ) -> Result<AccessToken, ClientError> {
        // Held while the server is asked: whoever waits here finds the new token.
        let mut state = self.state.lock().await;
        let identity = self.client.identity();
        state.held.take_if(|held| {
            rejected.is_some_and(|rejected| rejected.is_same_as(&held.token))
                || !held.token.identity().presents_the_same_as(&identity)
        });
        if let Some(held) = state.held.as_ref().filter(|held| held.is_fresh(now)) {
            return Ok(held.token.clone());
        }
        let good = state
            .held
            .as_ref()
            .filter(|held| held.is_good(now))
            .map(|held| held.token.clone());
        let refresh_token = match &state.refresh_token {
            Some(refresh_token) if !state.has_ended => refresh_token.clone(),
            _ => return good.ok_or(ClientError::Ended),
        };
        let response = match self.client.refresh(&refresh_token, &TokenRequest::new(), now).await {
            Ok(response) => response,
            Err(error) if error.is_transient() => return good.ok_or(error),
            Err(error) => {
                state.has_ended = true;
                return Err(error);
            }
        };
        let subject = response.id_token().map(|id_token| id_token.subject());
        if let (Some(before), Some(now)) = (&state.subject, subject)
            && before != now
        {
            state.has_ended = true;
            return Err(ClientError::IdToken {
                issuer: self.client.server().issuer().to_string(),
                source: Box::new(IdTokenError::Subject),
            });
        }
        if let Some(successor) = response.refresh_token() {
            state.refresh_token = Some(successor.clone());
        }
        let token = response.access_token().clone();
        state.held = Some(HeldToken::new(token.clone(), now));
        Ok(token)
    }

    /// Calls a protected resource for the user, as [`Client::call`] does: once more with a new token if the resource says that this one
    /// is not valid.
    ///
    /// # Errors
    /// No token, or no answer. A refusal by the resource is an answer.
    pub async fn call(&self, request: Request<Bytes>, now: Timestamp) -> Result<Response<IncomingBody>, ClientError> {
        let token = self.token(now).await?;
        let response = self.client.call_with(&token, &request).await?;
        if !rejects_token(&token, response.status(), response.headers()) {
            return Ok(response);
        }
        let renewed = self.token_other_than(Some(&token), now).await?;
        self.client.call_with(&renewed, &request).await
    }
}

impl std::fmt::Debug for HeldGrant {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("HeldGrant")
            .field("client", &self.client)
            .finish_non_exhaustive()
    }
}
