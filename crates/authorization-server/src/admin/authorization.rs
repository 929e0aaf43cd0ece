//! Who may administer.

use http::StatusCode;
use keybound_protocol::time::Timestamp;
use keybound_store::{Actor, AuditEntry};
use keybound_tls::ResponseBody;

use super::problem::Problem;
use crate::protected_resource::{Authorized, Caller, TokenCheck, Unauthorized};
use crate::response::Response;

/// Somebody who may administer: proof that [`authorize`] said yes.
#[derive(Clone, Debug)]
pub(super) struct Administrator {
    authorized: Authorized,
    remote_address: String,
}

impl Administrator {
    /// Who makes a change, for the audit log.
    pub(super) fn audit_entry(&self, now: Timestamp) -> AuditEntry {
        AuditEntry {
            remote_address: Some(self.remote_address.clone()),
            thumbprint: Some(self.authorized.thumbprint),
            ..AuditEntry::new(now, Actor::Administrator(self.authorized.client_id.clone()))
        }
    }
}

/// Decides whether this caller may administer. In the error is the answer, already recorded.
pub(super) async fn authorize(caller: &Caller<'_>, check: &TokenCheck) -> Result<Administrator, Box<Response>> {
    match caller.authorize(check).await {
        Ok(authorized) => Ok(Administrator {
            authorized,
            remote_address: caller.connection.remote_addr().ip().to_string(),
        }),
        Err(Unauthorized::Refused { status, code, headers }) => {
            let mut problem = Problem::new(status);
            if let Some(code) = code {
                problem = problem.error(code);
            }
            let mut response = Response::new(ResponseBody::from(problem.to_json()));
            *response.status_mut() = status;
            problem.headers(response.headers_mut());
            response.headers_mut().extend(headers);
            Err(Box::new(response))
        }
        Err(Unauthorized::Store(error)) => {
            tracing::error!(%error, "the admin API could not ask the store");
            let problem = Problem::new(StatusCode::SERVICE_UNAVAILABLE)
                .detail("the store does not answer")
                .retry_after();
            let answer = super::convert(axum::response::IntoResponse::into_response(problem)).await;
            Err(Box::new(answer))
        }
    }
}
