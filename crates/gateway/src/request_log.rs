//! One record per request, written down by another thread.
//!
//! A request only pushes a record onto its lane. The upkeep thread takes the records a few times a second, counts them
//! and writes the log; a lane that is full drops its records and counts those too.
//!
//! Never in a record: tokens, header values, the query. A caller is named by client id and thumbprint alone.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use http::uri::PathAndQuery;
use http::{Method, StatusCode};
use keybound_protocol::access_token::AccessTokenClaims;
use keybound_protocol::confirmation::CertificateThumbprint;
use keybound_protocol::refusal::Refusal;
use keybound_protocol::time::Timestamp;

use crate::lane::Lanes;

/// What is remembered of one request.
pub(crate) struct Record {
    pub(crate) at: Timestamp,
    pub(crate) remote_address: IpAddr,
    pub(crate) method: Method,
    /// The canonical path, if it got that far.
    pub(crate) target: Option<PathAndQuery>,
    /// The route's place in the settings.
    pub(crate) route: Option<usize>,
    pub(crate) status: StatusCode,
    /// Until the head of the answer.
    pub(crate) duration: Duration,
    pub(crate) claims: Option<Arc<AccessTokenClaims>>,
    pub(crate) thumbprint: Option<CertificateThumbprint>,
    pub(crate) refusal: Option<(&'static str, Arc<Refusal>)>,
}

/// Records that were not written yet.
pub(crate) struct RequestLog {
    lanes: Lanes<Lane>,
    records_max: usize,
}

#[derive(Default)]
struct Lane {
    records: Vec<Record>,
    dropped: u64,
}

impl RequestLog {
    pub(crate) fn new(records_max: usize) -> Self {
        Self {
            lanes: Lanes::default(),
            records_max,
        }
    }

    pub(crate) fn push(&self, record: Record) {
        let mut lane = self.lanes.own();
        if lane.records.len() < self.records_max {
            lane.records.push(record);
        } else {
            lane.dropped += 1;
        }
    }

    /// Hands every record to `write`, and returns how many were dropped since the last time.
    pub(crate) fn drain(&self, mut write: impl FnMut(Record)) -> u64 {
        let mut dropped = 0;
        for mut lane in self.lanes.all() {
            if lane.records.is_empty() {
                continue;
            }
            let capacity = lane.records.capacity();
            let records = std::mem::replace(&mut lane.records, Vec::with_capacity(capacity.min(256)));
            dropped += std::mem::take(&mut lane.dropped);
            // Not while writing: the lane's requests must not wait for the log.
            drop(lane);
            records.into_iter().for_each(&mut write);
        }
        dropped
    }
}

/// Writes one record to the log.
pub(crate) fn write(record: &Record) {
    let claims = record.claims.as_deref();
    let client_id = claims.and_then(|claims| claims.client_id.as_deref());
    let thumbprint = record.thumbprint.map(|thumbprint| thumbprint.to_string());
    let path = record.target.as_ref().map(PathAndQuery::path);
    let duration_us = u64::try_from(record.duration.as_micros()).unwrap_or(u64::MAX);
    match &record.refusal {
        None => tracing::info!(
            target: "keybound::request",
            at = %record.at,
            remote_address = %record.remote_address,
            method = record.method.as_str(),
            path,
            route = record.route,
            status = record.status.as_u16(),
            duration_us,
            client_id,
            thumbprint,
            "request"
        ),
        Some((reason_name, refusal)) => tracing::info!(
            target: "keybound::refusal",
            at = %record.at,
            refusal = refusal.id.as_str(),
            remote_address = %record.remote_address,
            method = record.method.as_str(),
            path,
            route = record.route,
            status = record.status.as_u16(),
            duration_us,
            client_id,
            thumbprint,
            reason_name,
            reason = refusal.reason.as_str(),
            "refused"
        ),
    }
}
