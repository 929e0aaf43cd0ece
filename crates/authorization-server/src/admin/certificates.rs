//! `/certificates/match`: which registered clients a certificate would authenticate, and why not the others.

use std::sync::Arc;

use axum::Extension;
use axum::body::Bytes;
use axum::extract::Query;
use keybound_protocol::certificate_file;
use keybound_protocol::client::Client;
use keybound_protocol::client_metadata::{ClientAuthentication, ClientKeys};
use keybound_protocol::peer_certificate::{PeerCertificate, PresentedCertificate};
use keybound_protocol::refusal::Refusal;
use keybound_protocol::{self_signed_tls_client_auth, tls_client_auth};
use serde_json::{Value, json};

use super::AdminRequest;
use super::clients::{ListQuery, page};
use super::problem::Problem;
use super::routes::Handled;

/// `POST`, the body a PEM chain, leaf first: judges it for a page of clients exactly as `/token` would if the holder of its key
/// connected, anchors and revocation lists included.
///
/// Key sets that clients publish are those fetched before: a page of clients is not a reason to fetch a page of key sets.
///
/// Clients whose method is not one of mutual TLS are left out: a certificate is no credential of theirs.
pub(super) async fn matching(
    Extension(request): Extension<AdminRequest>,
    Query(query): Query<ListQuery>,
    body: Bytes,
) -> Handled {
    let mut chain = certificate_file::certificates(&body).map_err(|error| Problem::bad_request(error.to_string()))?;
    let leaf = chain.remove(0);
    // Not proven, and nothing is granted on it: the question is what would happen if it were.
    let presented = PresentedCertificate::from_peer(PeerCertificate::suppose_possession(leaf, chain));
    let page = page(&request, &query).await?;
    let mut judged: Vec<Value> = Vec::with_capacity(page.clients.len());
    for client in &page.clients {
        judged.extend(judge(&request, client, &presented));
    }
    Ok(page.answer(judged))
}

fn judge(request: &AdminRequest, client: &Arc<Client>, presented: &PresentedCertificate) -> Option<Value> {
    let anchors = Arc::clone(&request.server.trust.anchors());
    let now = request.now;
    let verdict = match client.metadata().authentication() {
        ClientAuthentication::TlsClientAuth { .. } => {
            tls_client_auth::authenticate(client, presented, &anchors, now).map(|_| ())
        }
        ClientAuthentication::SelfSignedTlsClientAuth { keys, .. } => {
            let keys = match keys {
                ClientKeys::Jwks(keys) => Ok(Arc::clone(keys)),
                ClientKeys::JwksUri(uri) => request
                    .server
                    .key_sets
                    .fetched(client.client_id(), uri, now)
                    .ok_or_else(|| {
                        format!(
                            "the keys at {uri} have not been fetched yet: the client's next request has them fetched"
                        )
                    }),
            };
            let keys = match keys {
                Ok(keys) => keys,
                Err(reason) => return Some(shown(client, Some(reason))),
            };
            self_signed_tls_client_auth::authenticate(client, presented, &keys, anchors.epoch(), now).map(|_| ())
        }
        _ => return None,
    };
    Some(shown(client, verdict.err().map(|error| Refusal::reason_of(&error))))
}

fn shown(client: &Client, reason: Option<String>) -> Value {
    json!({
        "client_id": client.client_id().as_str(),
        "token_endpoint_auth_method": client.metadata().authentication_method().name(),
        "matches": reason.is_none(),
        "reason": reason,
    })
}
