//! `/keys`: the server's signing keys, without their private parts.

use axum::Extension;
use keybound_store::SigningKeyState;
use serde_json::{Value, json};

use super::AdminRequest;
use super::routes::{Answer, Handled};

/// All keys, newest first.
pub(super) async fn list(Extension(request): Extension<AdminRequest>) -> Handled {
    let ring = request.server.keys.ring();
    let keys: Vec<Value> = ring
        .all
        .iter()
        .map(|key| {
            json!({
                "kid": key.key_id,
                "alg": key.algorithm,
                "state": match key.state {
                    SigningKeyState::Active => "active",
                    SigningKeyState::Retiring => "retiring",
                    SigningKeyState::Revoked => "revoked",
                },
                "signs": key.signs,
                "created_at": key.created_at,
                "changed_at": key.changed_at,
            })
        })
        .collect();
    Ok(Answer::ok(&json!({"keys": keys})))
}
