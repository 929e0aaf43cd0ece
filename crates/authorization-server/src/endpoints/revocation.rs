//! `POST /revoke`: a client gives a token up (RFC 7009).

use std::sync::Arc;

use bytes::Bytes;
use http::StatusCode;
use keybound_protocol::client::ClientId;
use keybound_protocol::token_revocation::RevocationRequest;
use keybound_store::{GrantOwner, GrantRevocation, RefreshTokenHash, RevokeGrant, StoreError};

use super::{Answer, ClientRequest, Refused};
use crate::access_tokens::Revoked;
use crate::access_tokens::tokens_until;
use crate::client_authentication::Identified;
use crate::error::Reason;
use crate::response;
use crate::server::Server;

/// Answers a revocation request: 200 with nothing in it, also for what was never a token (§2.2). The change is durable by then.
pub(crate) async fn post(server: &Server, request: &ClientRequest<'_>) -> Result<Answer, Refused> {
    let Identified { client, credential } = server.authentication.authenticate(request.attempt).await?;
    let asked = RevocationRequest::parse(request.form()).map_err(|error| Refused::of(&client, error))?;
    let client_id = client.client.client_id();
    let identified = server
        .authentication
        .spend(&client, credential, || request.audit_entry(client_id))
        .await?;
    let revoked = match asked.token() {
        Some(token) => {
            let revoked = revoke(server, request, client_id, token).await;
            revoked.map_err(|error| Refused::of(&client, error))?
        }
        None => Revoked::Done,
    };
    match revoked {
        // Whoever revokes learns what became of it from a write that is durable, or from the code of the refusal.
        Revoked::Done => {
            let response = response::json(StatusCode::OK, Bytes::from_static(b"{}"));
            Ok(Answer::to(&identified, Arc::clone(&client), response))
        }
        Revoked::IssuedToAnother => Err(Refused::of(&client, Reason::ForeignToken)),
    }
}

/// Revokes whatever kind of token it is. `token_type_hint` is not needed for that: all kinds are looked up at once (§2.1).
///
/// A refresh token takes its grant along, and with it every access token of the grant (§2.1). Any generation of it will do: whoever
/// holds one that was replaced is either the client or a thief, and both ways the grant should end.
async fn revoke(
    server: &Server,
    request: &ClientRequest<'_>,
    client_id: &ClientId,
    token: &str,
) -> Result<Revoked, StoreError> {
    let entry = request.audit_entry(client_id);
    let refresh_token = RefreshTokenHash::of(token);
    let Some(found) = server.store.refresh_tokens.find_refresh_token(&refresh_token)? else {
        let issuer = &request.configuration.issuer;
        return server.tokens.revoke(token, issuer, client_id, entry).await;
    };
    let revocation = GrantRevocation {
        grant_id: found.grant.grant.grant_id,
        only_of: Some(GrantOwner::Client(client_id.clone())),
        tokens_until: tokens_until(request.attempt.now),
    };
    Ok(match server.store.grants.revoke_grant(revocation, entry).await? {
        RevokeGrant::Revoked | RevokeGrant::AlreadyRevoked | RevokeGrant::Unknown => Revoked::Done,
        RevokeGrant::OfAnother => Revoked::IssuedToAnother,
    })
}
