//! Grants that a user approves elsewhere: the device authorization grant (RFC 8628) and CIBA in poll mode.

use std::time::Duration;

use keybound_protocol::endpoint::Endpoint;
use keybound_protocol::grant_type::GrantType;
use keybound_protocol::server_metadata::MetadataList;
use keybound_protocol::time::Timestamp;
use keybound_tls::Clock;
use tokio::time::Instant;

use crate::backchannel_authentication::{BackchannelRequest, BackchannelResponse};
use crate::client::authorization_code::ExpectedIdToken;
use crate::client::{Client, TokenRequest};
use crate::device_authorization::{DeviceAuthorization, DeviceAuthorizationResponse};
use crate::error::{ClientError, ResponseError};
use crate::id_token::ExpectedNonce;
use crate::polling::{PendingApproval, Poll};
use crate::token_response::TokenResponse;

impl Client {
    /// Begins the device authorization grant (RFC 8628 §3.1).
    ///
    /// # Errors
    /// The server cannot be reached, or refuses.
    pub async fn begin_device_authorization(
        &self,
        wanted: &TokenRequest,
        now: Timestamp,
    ) -> Result<DeviceAuthorization, ClientError> {
        let identity = self.identity();
        let endpoint = Endpoint::DeviceAuthorization;
        let (url, answer) = self.post(endpoint, wanted.parameters(), &identity, now).await?;
        let response = DeviceAuthorizationResponse::parse(&answer.body).map_err(|source| ClientError::Response {
            url,
            status: answer.status,
            source,
        })?;
        let grant_type = GrantType::DeviceCode;
        Ok(DeviceAuthorization {
            user_code: response.user_code,
            verification_uri: response.verification_uri,
            verification_uri_complete: response.verification_uri_complete,
            pending: PendingApproval::new(grant_type, response.device_code, identity, response.announced, now),
        })
    }

    /// Has the server ask a user (CIBA Core §7.1). The request is signed if the client has a key for that and the server says that it
    /// reads signed ones.
    ///
    /// # Errors
    /// The server cannot be reached, or refuses.
    pub async fn begin_backchannel_authentication(
        &self,
        request: &BackchannelRequest,
        now: Timestamp,
    ) -> Result<PendingApproval, ClientError> {
        let metadata = self.server.metadata(now).await?;
        let reads_signed = metadata
            .names(MetadataList::BackchannelRequestSigningAlgorithms)
            .is_some();
        let form = match &self.request_object_key {
            Some(key) if reads_signed => {
                let object = key.sign(&request.parameters(), &self.client_id, self.server.issuer(), now)?;
                vec![("request", object)]
            }
            _ => request.parameters(),
        };
        let identity = self.identity();
        let endpoint = Endpoint::BackchannelAuthentication;
        let (url, answer) = self.post(endpoint, form, &identity, now).await?;
        let failed = |source: ResponseError| ClientError::Response {
            url,
            status: answer.status,
            source,
        };
        let response = BackchannelResponse::parse(&answer.body).map_err(failed)?;
        let grant_type = GrantType::BackchannelAuthentication;
        Ok(PendingApproval::new(
            grant_type,
            response.auth_req_id,
            identity,
            response.announced,
            now,
        ))
    }

    /// Asks once whether the user has decided. Before its time it asks nobody: the server's `interval` is kept (RFC 8628 §3.5).
    ///
    /// `slow_down` lengthens the interval for good; a server that cannot be reached doubles it. Any other error ends the request, and
    /// the server is not asked again.
    ///
    /// # Errors
    /// [`ClientError::ApprovalExpired`] once its time is over, [`ClientError::Ended`] after an answer that ended it; what the server
    /// refuses.
    pub async fn poll(&self, pending: &mut PendingApproval, now: Timestamp) -> Result<Poll, ClientError> {
        if pending.has_ended {
            return Err(ClientError::Ended);
        }
        if now >= pending.expires_at {
            pending.has_ended = true;
            return Err(ClientError::ApprovalExpired);
        }
        if now < pending.next_poll_at {
            let next_poll_at = pending.next_poll_at;
            return Ok(Poll::Pending { next_poll_at });
        }
        let handle = match pending.grant_type {
            GrantType::DeviceCode => "device_code",
            _ => "auth_req_id",
        };
        let form = vec![
            ("grant_type", pending.grant_type.name().to_owned()),
            (handle, pending.handle.clone()),
        ];
        // Read before the request: by its answer the handle is spent, and nothing that can fail may come between a token and its client.
        let metadata = self.server.metadata(now).await?;
        // CIBA Core §10.1.1 promises an ID token; a server without OpenID asks its users all the same.
        let issues_id_tokens = metadata.names(MetadataList::IdTokenSigningAlgorithms).is_some();
        let is_required = issues_id_tokens && pending.grant_type == GrantType::BackchannelAuthentication;
        let asked = match is_required {
            true => self.server.keys(now).await.map(Some).map_err(ClientError::from),
            false => Ok(None),
        };
        let asked = match asked {
            Ok(keys) => {
                let response = self.token_response(form, pending.identity.clone(), now).await;
                response.map(|response| (response, keys))
            }
            Err(error) => Err(error),
        };
        let error = match asked {
            Ok((response, keys)) => {
                pending.has_ended = true;
                let expected = ExpectedIdToken {
                    nonce: ExpectedNonce::NotSent,
                    max_age_secs: None,
                    is_required,
                    keys,
                };
                let response = self.with_verified_id_token(response, expected, now).await?;
                return Ok(Poll::Approved(Box::new(response)));
            }
            Err(error) => error,
        };
        match &error {
            ClientError::Refused(refusal) if refusal.error == "authorization_pending" => {}
            ClientError::Refused(refusal) if refusal.error == "slow_down" => pending.slow_down(),
            _ if error.is_transient() => {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "asked in vain; asking less often"
                );
                pending.back_off();
            }
            ClientError::Refused(refusal) if refusal.error == "expired_token" => {
                pending.has_ended = true;
                return Err(ClientError::ApprovalExpired);
            }
            _ => {
                pending.has_ended = true;
                return Err(error);
            }
        }
        Ok(pending.wait(now))
    }

    /// Asks until the user has decided, or the request has expired.
    ///
    /// # Errors
    /// As [`poll`](Self::poll).
    pub async fn wait_for_approval(
        &self,
        mut pending: PendingApproval,
        clock: &Clock,
    ) -> Result<TokenResponse, ClientError> {
        loop {
            if let Some(response) = self.poll_and_pause(&mut pending, clock, None).await? {
                return Ok(response);
            }
        }
    }

    /// The same for at most `limit`; `None` if nobody has decided by then.
    ///
    /// To drop [`wait_for_approval`](Self::wait_for_approval) after a time may drop a request that the server is just answering with
    /// the one token it will issue. This one gives up between two requests, never during one.
    ///
    /// # Errors
    /// As [`poll`](Self::poll).
    pub async fn wait_for_approval_within(
        &self,
        mut pending: PendingApproval,
        limit: Duration,
        clock: &Clock,
    ) -> Result<Option<TokenResponse>, ClientError> {
        let deadline = Instant::now().checked_add(limit);
        loop {
            let response = self.poll_and_pause(&mut pending, clock, deadline).await?;
            if response.is_some() || deadline.is_some_and(|deadline| deadline <= Instant::now()) {
                return Ok(response);
            }
        }
    }

    /// Polls once; unless that brought the token, waits until the next time, and not beyond `deadline`.
    async fn poll_and_pause(
        &self,
        pending: &mut PendingApproval,
        clock: &Clock,
        deadline: Option<Instant>,
    ) -> Result<Option<TokenResponse>, ClientError> {
        let now = clock.now();
        let next_poll_at = match self.poll(pending, now).await? {
            Poll::Approved(response) => return Ok(Some(*response)),
            Poll::Pending { next_poll_at } => next_poll_at,
        };
        let pause = next_poll_at.min(pending.expires_at()).duration_since(now);
        // The clock counts whole seconds: one that has just begun is waited out.
        let until = Instant::now() + pause.max(Duration::from_millis(200));
        tokio::time::sleep_until(deadline.map_or(until, |deadline| until.min(deadline))).await;
        Ok(None)
    }
}
