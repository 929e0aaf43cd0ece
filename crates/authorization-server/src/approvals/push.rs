//! What a client is sent whose tokens are pushed (CIBA Core §10.3, §12): the tokens, or that there are none.
//!
//! It is made once. [`redeem_approval_request`](keybound_store::ApprovalRequests::redeem_approval_request) spends the request before
//! anything is signed, so that nothing that goes wrong afterwards makes second tokens for it; a server that stops between the decision
//! and the delivery has sent none, and the client hears nothing before `expires_in`.

use std::sync::Arc;

use keybound_protocol::client_authentication::{AuthenticatedClient, IdentifiedClient};
use keybound_protocol::confirmation::Confirmation;
use keybound_protocol::id_token::PushedWith;
use keybound_store::{
    ApprovalRedemption, ApprovalRequestHash, AuditEntry, Grant, GrantRevocation, RedeemApprovalRequest, StoreError,
};
use serde_json::json;

use super::notification::NotificationText;
use crate::access_tokens::{IssueError, tokens_until};
use crate::clients::PreparedClient;
use crate::grants::issue::{Accompanying, Issue};
use crate::grants::share::{Granted, ShareRefusal, Wish};
use crate::server::Server;

/// A request that was decided, of a client that is sent the outcome.
#[derive(Clone, Copy)]
pub(super) struct Pushed<'a> {
    pub(super) client: &'a Arc<PreparedClient>,
    pub(super) text: &'a NotificationText,
    pub(super) hash: ApprovalRequestHash,
    /// Who decided.
    pub(super) entry: &'a AuditEntry,
}

/// Why a user's yes came to nothing.
#[derive(Debug, thiserror::Error)]
enum PushError {
    #[error("the client is a public one by now")]
    PublicByNow,
    #[error("the client's tokens are bound by now, and its request came without a certificate")]
    NothingToBindTo,
    #[error("the certificate of the client's request has been revoked")]
    CertificateRevoked,
    #[error("there is no OpenID Connect any more, and what is pushed needs an ID token")]
    NoIdToken,
    #[error("the request could not be redeemed: {0}")]
    NotRedeemed(&'static str),
    #[error(transparent)]
    Share(#[from] ShareRefusal),
    #[error(transparent)]
    Issue(#[from] IssueError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Pushed<'_> {
    /// The body that is posted.
    pub(super) async fn outcome(self, server: &Server, allowed: Option<&Grant>) -> String {
        let Some(grant) = allowed else {
            return self.error("access_denied", "the user said no");
        };
        match self.tokens(server, grant).await {
            Ok(body) => body,
            Err(error) => {
                let client_id = self.client.client.client_id();
                tracing::warn!(%client_id, error = &error as &dyn std::error::Error, "what a user allowed could not be pushed");
                self.end(server, grant).await;
                self.error("transaction_failed", "the tokens could not be made")
            }
        }
    }

    /// §12
    fn error(self, error: &str, description: &str) -> String {
        let auth_req_id = &self.text.auth_req_id;
        json!({"auth_req_id": auth_req_id, "error": error, "error_description": description}).to_string()
    }

    /// §10.3.1
    async fn tokens(self, server: &Server, grant: &Grant) -> Result<String, PushError> {
        let (configuration, now) = (server.configuration.load(), self.entry.at);
        // It authenticated when it made the request; here it is only known where it wants to hear.
        let recipient = AuthenticatedClient::assert_authenticated_earlier(&self.client.client)
            .map(IdentifiedClient::Authenticated)
            .ok_or(PushError::PublicByNow)?;
        let share = Granted::read(grant)?.share(&self.client.client, &configuration, &Wish::default())?;
        let confirmation = self.confirmation(server)?;
        let issue = Issue {
            server,
            client: self.client,
            recipient: &recipient,
            grant,
            share: &share,
            confirmation: confirmation.as_ref(),
            now,
            lifetime: configuration.access_token_lifetime,
        };
        let (drawn, refresh) = (issue.draw()?, issue.draw_refresh_token()?);
        let redemption = ApprovalRedemption {
            hash: self.hash,
            first_token_id: drawn.token_id.as_str().to_owned(),
            refresh: refresh.as_ref().map(|refresh| refresh.record.clone()),
            opaque: drawn.record(),
        };
        let requests = &server.store.approval_requests;
        match requests.redeem_approval_request(redemption, self.entry.clone()).await? {
            RedeemApprovalRequest::Redeemed => {}
            RedeemApprovalRequest::AlreadySpent => return Err(PushError::NotRedeemed("it was redeemed before")),
            RedeemApprovalRequest::NotApproved => {
                return Err(PushError::NotRedeemed("what the user allowed has ended"));
            }
            RedeemApprovalRequest::Expired => return Err(PushError::NotRedeemed("its time is over")),
            RedeemApprovalRequest::Unknown => return Err(PushError::NotRedeemed("it is gone")),
        }
        let access_token = issue.complete(&drawn).await?;
        let refresh_token = refresh.as_ref().map(|refresh| refresh.text.as_str());
        let pushed = PushedWith {
            auth_req_id: &self.text.auth_req_id,
            refresh_token,
        };
        let id_token = issue.pushed_id_token(&configuration, pushed, &access_token).await?;
        let id_token = id_token.ok_or(PushError::NoIdToken)?;
        let accompanying = Accompanying {
            refresh_token,
            id_token: Some(&id_token),
        };
        let mut response = issue.token_response(&access_token, accompanying);
        response.auth_req_id = Some(&self.text.auth_req_id);
        Ok(response.to_json())
    }

    /// The certificate of the request binds the tokens (RFC 8705 §3): the connection that they go over proves nothing.
    fn confirmation(self, server: &Server) -> Result<Option<Confirmation>, PushError> {
        let profile = server.configuration.load().profile;
        let Some(thumbprint) = &self.text.thumbprint else {
            let is_bound = self.client.client.metadata().requires_bound_access_tokens(profile);
            return if is_bound {
                Err(PushError::NothingToBindTo)
            } else {
                Ok(None)
            };
        };
        let revoked = server
            .store
            .revocations
            .find_certificate_revocation(thumbprint, self.entry.at)?;
        match revoked {
            Some(_) => Err(PushError::CertificateRevoked),
            None => Ok(Some(Confirmation::certificate_bound(*thumbprint))),
        }
    }

    /// What nobody got anything for is not left among what the user allowed.
    async fn end(self, server: &Server, grant: &Grant) {
        let revocation = GrantRevocation {
            grant_id: grant.grant_id.clone(),
            only_of: None,
            tokens_until: tokens_until(self.entry.at),
        };
        if let Err(error) = server.store.grants.revoke_grant(revocation, self.entry.clone()).await {
            tracing::error!(%error, "a grant that came to nothing could not be ended");
        }
    }
}
