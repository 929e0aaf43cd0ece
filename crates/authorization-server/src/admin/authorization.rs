//! Who may administer.

use std::sync::Arc;

use http::header::{AUTHORIZATION, RETRY_AFTER, WWW_AUTHENTICATE};
use http::request::Parts;
use http::{HeaderName, HeaderValue, StatusCode};
use keybound_protocol::access_token::AccessTokenClaims;
use keybound_protocol::challenge::BearerChallenge;
use keybound_protocol::client::ClientId;
use keybound_protocol::confirmation::CertificateThumbprint;
use keybound_protocol::error_code::ErrorCode;
use keybound_protocol::peer_certificate::PresentedCertificate;
use keybound_protocol::rule::{Outcome, RuleOutcome};
use keybound_protocol::time::Timestamp;
use keybound_resource_server::Refused;
use keybound_store::{Actor, AuditEntry, StoreError, TokenMarks};
use keybound_tls::{Connection, ResponseBody};

use super::TokenCheck;
use super::problem::Problem;
use crate::refusals::{Circumstances, Explained};
use crate::response::{KEYBOUND_REFUSAL, Response};
use crate::router::Route;
use crate::server::Server;

/// Somebody who may administer: proof that [`Caller::authorize`] said yes.
#[derive(Clone, Debug)]
pub(super) struct Administrator {
    client_id: ClientId,
    thumbprint: CertificateThumbprint,
    remote_address: String,
}

/// A request to the admin API of whom nothing is known yet.
pub(super) struct Caller<'a> {
    pub(super) server: &'a Arc<Server>,
    pub(super) connection: &'a Arc<Connection>,
    pub(super) presented: &'a PresentedCertificate,
    pub(super) parts: &'a Parts,
    pub(super) now: Timestamp,
}

/// Why a token that is good in itself does not count here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
enum NoLongerGood {
    #[error("the token is not one of a client's")]
    Incomplete,
    #[error("the token, its client or its certificate was revoked")]
    Revoked,
    #[error("its client is gone, or may not administer any more")]
    Client,
}

const NO_LONGER_GOOD: &str = "token and client still count";

impl Administrator {
    /// Who makes a change, for the audit log.
    pub(super) fn audit_entry(&self, now: Timestamp) -> AuditEntry {
        AuditEntry {
            remote_address: Some(self.remote_address.clone()),
            thumbprint: Some(self.thumbprint),
            ..AuditEntry::new(now, Actor::Administrator(self.client_id.clone()))
        }
    }
}

impl Caller<'_> {
    /// Decides whether this caller may administer. In the error is the answer, already recorded.
    pub(super) async fn authorize(&self, check: &TokenCheck) -> Result<Administrator, Box<Response>> {
        let checked = check
            .resource_server
            .check(self.parts, self.presented, &check.policy, self.now);
        let accepted = checked
            .finish()
            .await
            .map_err(|refused| Box::new(self.refuse(check, &refused)))?;
        let bound = accepted.as_bound();
        let (Some(bound), claims) = (bound, accepted.claims()) else {
            return Err(Box::new(self.refuse_no_longer_good(check, NoLongerGood::Incomplete)));
        };
        // What is revoked is never cached here: asked at each request, so that a revocation counts from the next one on.
        match self.still_good(claims, bound.thumbprint()) {
            Ok(Ok(client_id)) => Ok(Administrator {
                client_id,
                thumbprint: *bound.thumbprint(),
                remote_address: self.connection.remote_addr().ip().to_string(),
            }),
            Ok(Err(reason)) => Err(Box::new(self.refuse_no_longer_good(check, reason))),
            Err(error) => {
                tracing::error!(%error, "the admin API could not ask the store");
                let problem = Problem::new(StatusCode::SERVICE_UNAVAILABLE)
                    .detail("the store does not answer")
                    .retry_after();
                Err(Box::new(
                    super::convert(axum::response::IntoResponse::into_response(problem)).await,
                ))
            }
        }
    }

    fn still_good(
        &self,
        claims: &AccessTokenClaims,
        thumbprint: &CertificateThumbprint,
    ) -> Result<Result<ClientId, NoLongerGood>, StoreError> {
        let client_id = claims.client_id.as_deref().and_then(|text| ClientId::parse(text).ok());
        let (Some(client_id), Some(token_id), Some(issued_at)) = (client_id, &claims.token_id, claims.issued_at) else {
            return Ok(Err(NoLongerGood::Incomplete));
        };
        let marks = TokenMarks {
            token_id,
            client_id: &client_id,
            thumbprint: Some(thumbprint),
            key_id: None,
            issued_at,
        };
        if self
            .server
            .store
            .revocations
            .find_revocation(marks, self.now)?
            .is_some()
        {
            return Ok(Err(NoLongerGood::Revoked));
        }
        let client = self.server.clients.find(&client_id)?;
        let may_administer = client.is_some_and(|client| {
            let client = &client.client;
            client.origin().is_operator()
                && client
                    .metadata()
                    .scope()
                    .contains(keybound_protocol::scope::ADMIN_SCOPE)
        });
        Ok(if may_administer {
            Ok(client_id)
        } else {
            Err(NoLongerGood::Client)
        })
    }

    fn refuse(&self, check: &TokenCheck, refused: &Refused) -> Response {
        let claimed = refused.claims().and_then(|claims| claims.client_id.as_deref());
        let explained = Explained {
            status: refused.status(),
            error_code: refused.code(),
            reason: refused.reason(),
            rules: refused.rules(),
            fix: Some(refused.fix()),
        };
        let headers = [
            (WWW_AUTHENTICATE, refused.challenge()),
            (RETRY_AFTER, refused.retry_after()),
        ];
        self.answer(check, explained, claimed, headers)
    }

    fn refuse_no_longer_good(&self, check: &TokenCheck, reason: NoLongerGood) -> Response {
        let code = ErrorCode::InvalidToken;
        let challenge = BearerChallenge::bare(check.admin.as_str()).with_error(code).to_string();
        let explained = Explained {
            status: code.resource_status(),
            error_code: Some(code),
            reason: &reason,
            rules: vec![RuleOutcome::new(NO_LONGER_GOOD, Outcome::Failed).detail(reason.to_string())],
            fix: Some("get a new token, with a client that has scope keybound:admin".to_owned()),
        };
        self.answer(
            check,
            explained,
            None,
            [(WWW_AUTHENTICATE, HeaderValue::try_from(challenge).ok())],
        )
    }

    fn answer(
        &self,
        check: &TokenCheck,
        explained: Explained<'_>,
        claimed_client_id: Option<&str>,
        more_headers: impl IntoIterator<Item = (HeaderName, Option<HeaderValue>)>,
    ) -> Response {
        let (status, code) = (explained.status, explained.error_code);
        let circumstances = Circumstances {
            issuer: &check.issuer,
            route: Some(Route::Admin),
            path: self.parts.uri.path(),
            claimed_client_id,
            client: None,
            remote_address: self.connection.remote_addr().ip(),
            presented: self.presented,
            authorization: self.parts.headers.get(AUTHORIZATION),
            now: self.now,
        };
        let id = self.server.refusals.record(explained, &circumstances);
        let mut problem = Problem::new(status);
        if let Some(code) = code {
            problem = problem.error(code);
        }
        let mut response = Response::new(ResponseBody::from(problem.to_json()));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        problem.headers(headers);
        let id = (KEYBOUND_REFUSAL, HeaderValue::try_from(id.to_string()).ok());
        for (name, value) in more_headers.into_iter().chain([id]) {
            if let Some(value) = value {
                headers.insert(name, value);
            }
        }
        response
    }
}
