//! `POST /revoke`: a client gives a token up (RFC 7009).

use std::sync::Arc;

use bytes::Bytes;
use http::StatusCode;
use keybound_protocol::token_revocation::RevocationRequest;

use super::{Answer, ClientRequest, Refused};
use crate::access_tokens::Revoked;
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
            let entry = request.audit_entry(client_id);
            let revoked = server
                .tokens
                .revoke(token, &request.configuration.issuer, client_id, entry)
                .await;
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
