//! `/revocations`: certificates that are cut off, whoever they were issued by.
//!
//! What is revoked here is refused by introspection from then on, by whoever follows `GET /revocations` at once, and by every
//! endpoint of this server that clients authenticate at. Trust anchors' revocation lists are something else: they are their
//! issuers' word.

use std::time::Duration;

use axum::Extension;
use axum::body::Bytes;
use http::{HeaderMap, StatusCode};
use keybound_protocol::confirmation::CertificateThumbprint;
use keybound_store::{Revocation, RevocationSubject};
use serde::Deserialize;
use serde_json::json;

use super::AdminRequest;
use super::problem::Problem;
use super::routes::{Answer, Handled, json_body};

/// For how long: longer than any certificate of a client lives. It comes back only as a new certificate.
const CERTIFICATE_REVOKED_FOR: Duration = Duration::from_secs(10 * 365 * 24 * 60 * 60);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    #[serde(rename = "x5t#S256")]
    thumbprint: CertificateThumbprint,
    /// Nothing is revoked: the answer says what would be.
    #[serde(default)]
    dry_run: bool,
}

/// `POST`: revokes a certificate, with everything that is bound to it. Answers how many opaque access tokens on file that are;
/// of JWTs nothing is on file.
pub(super) async fn create(Extension(request): Extension<AdminRequest>, headers: HeaderMap, body: Bytes) -> Handled {
    let body = json_body(&headers, body)?;
    let wanted: Wanted = serde_json::from_slice(&body).map_err(|error| Problem::bad_request(error.to_string()))?;
    let (server, now) = (&request.server, request.now);
    let revocations = &server.store.revocations;
    let known = revocations.find_certificate_revocation(&wanted.thumbprint, now)?;
    let tokens = revocations.count_bound_access_tokens(wanted.thumbprint, now).await?;
    let revocation = Revocation {
        subject: RevocationSubject::Certificate(wanted.thumbprint),
        issued_before: None,
        until: now.plus(CERTIFICATE_REVOKED_FOR),
    };
    let answer = |status, is_revoked: bool| {
        Answer::new(
            status,
            &json!({
                "x5t#S256": wanted.thumbprint,
                "revoked": is_revoked,
                "revoked_before": known.is_some(),
                "until": revocation.until,
                "opaque_access_tokens": tokens,
            }),
        )
    };
    if wanted.dry_run {
        return Ok(answer(StatusCode::OK, known.is_some()));
    }
    let entry = request.administrator.audit_entry(now);
    revocations.revoke(revocation.clone(), entry).await?;
    // Verdicts of this process name the trust epoch: the next request sees it, without waiting for the next refresh.
    if let Err(error) = server.trust.refresh().await {
        tracing::warn!(%error, "a revocation counts here with the next refresh");
    }
    Ok(answer(StatusCode::CREATED, true))
}
