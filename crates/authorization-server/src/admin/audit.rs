//! `/audit`: who changed what.

use axum::Extension;
use axum::extract::Query;
use keybound_store::{AuditCursor, AuditQuery};
use serde::Deserialize;
use serde_json::json;

use super::AdminRequest;
use super::routes::{Answer, Handled, page_limit};

/// What a listing can be asked. A name that it does not know is refused: a cursor under another name would otherwise answer with
/// the first page, over and over.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ListQuery {
    before: Option<AuditCursor>,
    action: Option<String>,
    subject: Option<String>,
    limit: Option<u16>,
}

/// The newest records.
pub(super) async fn list(Extension(request): Extension<AdminRequest>, Query(query): Query<ListQuery>) -> Handled {
    let ListQuery {
        before,
        action,
        subject,
        limit,
    } = query;
    let query = AuditQuery {
        before,
        action,
        subject,
        limit: page_limit(limit),
    };
    let page = request.server.store.audit.records(query).await?;
    Ok(Answer::ok(&match page.next {
        Some(next) => json!({"records": page.records, "next": next}),
        None => json!({"records": page.records}),
    }))
}
