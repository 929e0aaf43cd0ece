//! What the gateway counts, in the OpenMetrics text format.
//!
//! Requests are counted from their log records, by the upkeep thread: a request touches no metric. Label values are
//! bounded: routes, status classes and reasons, never clients.

use std::fmt::Write as _;
use std::sync::{Mutex, PoisonError};

use keybound_resource_server::RevocationStanding;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use crate::request_log::Record;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    /// Its place in the settings; `none` for requests that met no route.
    route: String,
    /// `2xx` and so on.
    status: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RefusalLabels {
    reason: &'static str,
}

/// Every metric, with the registry that writes them.
pub(crate) struct Metrics {
    registry: Mutex<Registry>,
    requests: Family<RequestLabels, Counter>,
    refusals: Family<RefusalLabels, Counter>,
    durations: Histogram,
    log_records_dropped: Counter,
    upstream_idle_connections: Gauge,
    pub(crate) tunnels: Gauge,
    revocations: Revocations,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct IssuerLabels {
    /// One that the settings name.
    issuer: String,
}

/// How the following of revocations stands, as of the last look.
#[derive(Default)]
struct Revocations {
    entries: Family<IssuerLabels, Gauge>,
    silent_secs: Family<IssuerLabels, Gauge>,
    answers: Family<IssuerLabels, Gauge>,
    failures: Family<IssuerLabels, Gauge>,
}

impl Revocations {
    fn register(&self, registry: &mut Registry) {
        let mut register = |name: &str, help: &str, family: &Family<IssuerLabels, Gauge>| {
            registry.register(name, help, family.clone());
        };
        register(
            "revocations",
            "What an issuer revoked and is still remembered",
            &self.entries,
        );
        register(
            "revocations_silent_seconds",
            "Since when a followed issuer was not heard; -1 before the first full reading",
            &self.silent_secs,
        );
        register("revocation_answers", "Answers of a followed issuer", &self.answers);
        register(
            "revocation_failures",
            "Questions for revocations that brought nothing",
            &self.failures,
        );
    }
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let mut registry = Registry::with_prefix("keybound_gateway");
        let requests = Family::<RequestLabels, Counter>::default();
        registry.register(
            "requests",
            "Requests answered, by route and class of status",
            requests.clone(),
        );
        let refusals = Family::<RefusalLabels, Counter>::default();
        registry.register("refusals", "Requests refused, by reason", refusals.clone());
        let durations = Histogram::new([
            0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0,
        ]);
        registry.register(
            "response_head_seconds",
            "Time to the head of the answer",
            durations.clone(),
        );
        let log_records_dropped = Counter::default();
        registry.register(
            "log_records_dropped",
            "Log records for which there was no room",
            log_records_dropped.clone(),
        );
        let upstream_idle_connections = Gauge::default();
        registry.register(
            "upstream_idle_connections",
            "Connections to upstreams kept for reuse",
            upstream_idle_connections.clone(),
        );
        let tunnels = Gauge::default();
        registry.register("tunnels", "Upgraded connections open", tunnels.clone());
        let revocations = Revocations::default();
        revocations.register(&mut registry);
        Self {
            registry: Mutex::new(registry),
            requests,
            refusals,
            durations,
            log_records_dropped,
            upstream_idle_connections,
            tunnels,
            revocations,
        }
    }

    pub(crate) fn set_revocations<'a>(&self, standings: impl Iterator<Item = RevocationStanding<'a>>) {
        let number = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
        for standing in standings {
            let labels = IssuerLabels {
                issuer: standing.issuer.to_string(),
            };
            let Revocations {
                entries,
                silent_secs,
                answers,
                failures,
            } = &self.revocations;
            entries.get_or_create(&labels).set(number(standing.entries as u64));
            silent_secs
                .get_or_create(&labels)
                .set(standing.heard_ago.map_or(-1, |ago| number(ago.as_secs())));
            answers.get_or_create(&labels).set(number(standing.answers));
            failures.get_or_create(&labels).set(number(standing.failures));
        }
    }

    pub(crate) fn count(&self, record: &Record) {
        let route = record
            .route
            .map_or_else(|| "none".to_owned(), |index| index.to_string());
        let status = match record.status.as_u16() / 100 {
            1 => "1xx",
            2 => "2xx",
            3 => "3xx",
            4 => "4xx",
            _ => "5xx",
        };
        self.requests.get_or_create(&RequestLabels { route, status }).inc();
        self.durations.observe(record.duration.as_secs_f64());
        if let Some((reason, _)) = &record.refusal {
            self.refusals.get_or_create(&RefusalLabels { reason }).inc();
        }
    }

    pub(crate) fn count_dropped_records(&self, dropped: u64) {
        self.log_records_dropped.inc_by(dropped);
    }

    pub(crate) fn set_upstream_idle_connections(&self, connections: usize) {
        self.upstream_idle_connections
            .set(i64::try_from(connections).unwrap_or(i64::MAX));
    }

    /// Everything, as text. `more` may append metrics of other origin before the end marker.
    pub(crate) fn to_text(&self, more: impl FnOnce(&mut String)) -> String {
        let mut text = String::new();
        // Writing to a string cannot fail.
        let _ = encode(&mut text, &self.registry.lock().unwrap_or_else(PoisonError::into_inner));
        let end = "# EOF\n";
        if text.ends_with(end) {
            text.truncate(text.len() - end.len());
        }
        more(&mut text);
        let _ = text.write_str(end);
        text
    }
}
