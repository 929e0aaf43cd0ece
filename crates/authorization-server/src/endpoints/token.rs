//! `POST /token`: exchanges a grant for an access token (RFC 6749 §3.2).

use std::sync::Arc;

use keybound_protocol::client_authentication::IdentifiedClient;
use keybound_protocol::confirmation::Confirmation;
use keybound_protocol::dpop_proof::VerifiedDpopProof;
use keybound_protocol::grant_type::GrantType;
use keybound_protocol::time::Timestamp;
use keybound_protocol::token_request::{self, TokenRequest};
use keybound_resource_server::DPOP_NONCE;
use keybound_store::AuditEntry;

use super::{Answer, ClientRequest, Refused};
use crate::client_authentication::{Credential, Identified};
use crate::clients::PreparedClient;
use crate::dpop::binding_for;
use crate::error::Reason;
use crate::grants::{approval, authorization_code, client_credentials, refresh_token, token_exchange};
use crate::server::Server;

/// What every grant is decided with.
pub(crate) struct GrantRequest<'a> {
    pub(crate) server: &'a Server,
    pub(crate) request: &'a ClientRequest<'a>,
    pub(crate) client: &'a Arc<PreparedClient>,
    /// What the tokens will be bound to; `None` only for a client whose tokens are not bound.
    pub(crate) confirmation: Option<Confirmation>,
    /// The DPoP proof of the request, if it has one.
    pub(crate) proof: Option<&'a VerifiedDpopProof>,
}

/// Answers a token request.
pub(crate) async fn post(server: &Server, request: &ClientRequest<'_>) -> Result<Answer, Refused> {
    let Identified { client, credential } = server.authentication.authenticate(request.attempt).await?;
    let refused = |reason: Reason| Refused::of(&client, reason);
    let grant_type = token_request::grant_type(request.form()).map_err(|error| refused(error.into()))?;
    require_grant_type(&client, &credential, grant_type).map_err(refused)?;
    // Before anything is spent: a client whose tokens are bound and that proves nothing to bind them to keeps what it has.
    let targets = &request.configuration.dpop_token_targets;
    let proof = server.dpop.of(&client, request, targets).map_err(refused)?;
    let confirmation = binding_for(&server.dpop, &client, request, proof.as_ref()).map_err(refused)?;
    let asked = TokenRequest::parse(request.form()).map_err(|error| refused(error.into()))?;
    let grant = GrantRequest {
        server,
        request,
        client: &client,
        confirmation,
        proof: proof.as_ref(),
    };
    let answer = match asked {
        TokenRequest::ClientCredentials(asked) => client_credentials::exchange(&grant, credential, asked).await,
        TokenRequest::AuthorizationCode(asked) => authorization_code::exchange(&grant, credential, asked).await,
        TokenRequest::RefreshToken(asked) => refresh_token::exchange(&grant, credential, asked).await,
        TokenRequest::DeviceCode(asked) => approval::exchange_device_code(&grant, credential, asked).await,
        TokenRequest::BackchannelAuthentication(asked) => {
            approval::exchange_auth_req_id(&grant, credential, asked).await
        }
        TokenRequest::TokenExchange(asked) => token_exchange::exchange(&grant, credential, asked).await,
    }?;
    Ok(
        match server
            .dpop
            .next_nonce(proof.as_ref(), request.configuration, request.attempt.now)
        {
            Some(nonce) => answer.with_header(DPOP_NONCE, nonce),
            None => answer,
        },
    )
}

impl GrantRequest<'_> {
    /// When the request was received.
    pub(crate) fn now(&self) -> Timestamp {
        self.request.attempt.now
    }

    /// Who changes something by it.
    pub(crate) fn audit_entry(&self) -> AuditEntry {
        self.request.audit_entry(self.client.client.client_id())
    }

    /// Spends the request's proof, and the client's assertion, if it authenticated by one: the last thing before the grant itself is, for an assertion is good
    /// for one answer and for nothing else.
    pub(crate) async fn identify(&self, credential: Credential) -> Result<IdentifiedClient, Refused> {
        let spent = self.server.dpop.spend(self.proof, self.request);
        spent.map_err(|reason| Refused::of(self.client, reason))?;
        let entry = || self.audit_entry();
        let spent = self.server.authentication.spend(self.client, credential, entry).await;
        Ok(spent?)
    }
}

fn require_grant_type(client: &PreparedClient, credential: &Credential, presented: GrantType) -> Result<(), Reason> {
    // RFC 6749 §4.4: the client credentials grant is for clients that have credentials.
    if presented == GrantType::ClientCredentials && matches!(credential, Credential::Public(_)) {
        return Err(Reason::PublicClient { presented });
    }
    super::require_grant_type(client, presented)
}
