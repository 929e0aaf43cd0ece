//! `/refusals`: why somebody was refused. What `keybound explain` reads.

use axum::Extension;
use axum::extract::{Path, Query};
use keybound_protocol::confirmation::CertificateThumbprint;
use keybound_protocol::refusal::RefusalId;
use keybound_store::RefusalQuery;
use serde::Deserialize;
use serde_json::json;

use super::AdminRequest;
use super::problem::Problem;
use super::routes::{Answer, Handled, page_limit};

/// What a listing can be asked. A name that it does not know is refused: a cursor under another name would otherwise answer with
/// the first page, over and over.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ListQuery {
    client_id: Option<String>,
    #[serde(rename = "x5t#S256")]
    thumbprint: Option<String>,
    before: Option<String>,
    limit: Option<u16>,
}

/// The newest refusals, of one client or one certificate if asked for.
pub(super) async fn list(Extension(request): Extension<AdminRequest>, Query(query): Query<ListQuery>) -> Handled {
    let thumbprint = query
        .thumbprint
        .as_deref()
        .map(str::parse::<CertificateThumbprint>)
        .transpose();
    let before = query.before.as_deref().map(RefusalId::parse).transpose();
    let query = RefusalQuery {
        thumbprint: thumbprint.map_err(|error| Problem::bad_request(format!("x5t#S256: {error}")))?,
        client_id: query.client_id,
        before: before.map_err(|error| Problem::bad_request(format!("before: {error}")))?,
        limit: page_limit(query.limit),
    };
    let page = request.server.refusals.recorder.list(query).await?;
    Ok(Answer::ok(&match page.next {
        Some(next) => json!({"refusals": page.refusals, "next": next}),
        None => json!({"refusals": page.refusals}),
    }))
}

/// One refusal, also one of a moment ago.
pub(super) async fn show(Extension(request): Extension<AdminRequest>, Path(id): Path<String>) -> Handled {
    let unknown = || Problem::not_found("there is no such refusal: it is older than 30 days, or was never stored");
    let id = RefusalId::parse(&id).map_err(|_| unknown())?;
    let refusal = request.server.refusals.recorder.find(&id).await?.ok_or_else(unknown)?;
    Ok(Answer::ok(&refusal))
}
