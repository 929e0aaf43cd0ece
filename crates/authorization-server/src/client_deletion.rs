//! A client is deleted, by an administrator or by itself: its tokens are denied in the same transaction.

use keybound_protocol::client::ClientId;
use keybound_protocol::time::Timestamp;
use keybound_store::{AuditEntry, ClientRemoval, DeleteClient, StoreError};

use crate::access_tokens::tokens_until;
use crate::server::Server;

/// Deletes a client. `entry` is asked who does it, at the time that it is done.
///
/// # Errors
/// [`StoreError`]
pub(crate) async fn delete_client(
    server: &Server,
    client_id: &ClientId,
    if_version: Option<u64>,
    entry: impl FnOnce(Timestamp) -> AuditEntry,
) -> Result<DeleteClient, StoreError> {
    // Its tokens are denied up to the time of the deletion, so none may be issued between that time and the commit.
    let _withheld = server.clients.withhold(client_id);
    let now = server.clock.now();
    let removal = ClientRemoval {
        client_id: client_id.clone(),
        if_version,
        tokens_until: tokens_until(now),
    };
    let deleted = server.store.clients.delete_client(removal, entry(now)).await?;
    if deleted == DeleteClient::Deleted {
        server.clients.forget();
    }
    Ok(deleted)
}
