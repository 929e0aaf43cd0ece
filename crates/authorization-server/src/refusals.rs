//! Refusals: each gets an id, a record and an answer that shows nothing but the id and the code.

use std::net::IpAddr;
use std::sync::Arc;

use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use http::{HeaderValue, StatusCode};
use keybound_protocol::client::Client;
use keybound_protocol::error_code::{AuthorizationScheme, ErrorCode};
use keybound_protocol::issuer::Issuer;
use keybound_protocol::peer_certificate::PresentedCertificate;
use keybound_protocol::refusal::{CertificateSummary, REFUSAL_ID_RANDOM_BYTES, Refusal, RefusalId, RefusalSource};
use keybound_protocol::rule::RuleOutcome;
use keybound_protocol::time::Timestamp;
use keybound_store::RefusalRecorder;

use crate::error::Reason;
use crate::explanation;
use crate::metrics::Metrics;
use crate::response::Response;
use crate::router::Route;

/// Records refusals and answers them.
pub(crate) struct Refusals {
    pub(crate) recorder: RefusalRecorder,
    pub(crate) random: SystemRandom,
    pub(crate) metrics: Arc<Metrics>,
}

/// What a refused request was.
#[derive(Clone, Copy)]
pub(crate) struct Circumstances<'a> {
    pub(crate) issuer: &'a Issuer,
    /// The endpoint; `None` if there is none at the path.
    pub(crate) route: Option<Route>,
    /// The request's path.
    pub(crate) path: &'a str,
    /// The client that the request named.
    pub(crate) claimed_client_id: Option<&'a str>,
    /// The client, once it was authenticated.
    pub(crate) client: Option<&'a Client>,
    pub(crate) remote_address: IpAddr,
    pub(crate) presented: &'a PresentedCertificate,
    /// The `Authorization` header.
    pub(crate) authorization: Option<&'a HeaderValue>,
    pub(crate) now: Timestamp,
}

/// A refusal as it is recorded, whoever decided it.
pub(crate) struct Explained<'a> {
    pub(crate) status: StatusCode,
    pub(crate) error_code: Option<ErrorCode>,
    pub(crate) reason: &'a dyn std::error::Error,
    pub(crate) rules: Vec<RuleOutcome>,
    pub(crate) fix: Option<String>,
}

impl Refusals {
    /// Records the refusal and makes its answer.
    pub(crate) fn refuse(&self, reason: &Reason, circumstances: &Circumstances<'_>) -> (Response, RefusalId) {
        let scheme = AuthorizationScheme::of(circumstances.authorization.map(HeaderValue::as_bytes));
        let explained = Explained {
            status: reason.status(circumstances.route, scheme),
            error_code: Some(reason.code()),
            reason,
            rules: explanation::rules(reason, circumstances),
            fix: explanation::fix(reason).map(str::to_owned),
        };
        let id = self.record(explained, circumstances);
        if reason.is_ours() {
            tracing::error!(refusal = %id, reason = Refusal::reason_of(reason), "a request failed through our fault");
        }
        (
            reason.response(
                circumstances.route,
                circumstances.issuer,
                circumstances.authorization,
                &id,
            ),
            id,
        )
    }

    /// Records a refusal under a new id.
    pub(crate) fn record(&self, explained: Explained<'_>, circumstances: &Circumstances<'_>) -> RefusalId {
        let id = self.new_id();
        if let Some(code) = explained.error_code {
            self.metrics.refused(code);
        }
        let refusal = Refusal {
            id,
            at: circumstances.now,
            endpoint: Refusal::presented_text(circumstances.path),
            status: explained.status.as_u16(),
            error_code: explained.error_code,
            client_id: circumstances.claimed_client_id.map(Refusal::presented_text),
            remote_address: Some(circumstances.remote_address),
            certificate: circumstances.presented.end_entity().map(CertificateSummary::of),
            reason: Refusal::reason_of(explained.reason),
            rules: explained.rules,
            fix: explained.fix,
        }
        .bounded();
        tracing::debug!(refusal = %id, endpoint = refusal.endpoint, reason = refusal.reason, "refused");
        // What is not stored because there is too much of it is counted there.
        self.recorder.record(refusal);
        id
    }

    /// A new id. If the random source fails it is all zeros: the refusal is then not found again, and still refused.
    pub(crate) fn new_id(&self) -> RefusalId {
        let mut random = [0; REFUSAL_ID_RANDOM_BYTES];
        if self.random.fill(&mut random).is_err() {
            tracing::error!("the random number generator failed");
        }
        RefusalId::from_random(RefusalSource::AuthorizationServer, random)
    }
}
