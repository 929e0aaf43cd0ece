//! What is counted, for `/metrics`. Every label has a closed set of values: no client id, no address, no path of a peer's choice.
//!
//! The handles are fetched once at start, so that a request pays an atomic increment and no look-up.

use std::time::Duration;

use keybound_protocol::error_code::ErrorCode;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

use crate::router::Route;

type Label = [(&'static str, &'static str); 1];

/// The counters of one server.
pub(crate) struct Metrics {
    registry: Registry,
    durations: [Histogram; Route::COUNT],
    responses: [[Counter; 5]; Route::COUNT],
    refusals: Family<Label, Counter>,
    /// Access tokens handed out.
    pub(crate) tokens_jwt: Counter,
    /// Access tokens handed out.
    pub(crate) tokens_opaque: Counter,
    /// Client authentications that succeeded.
    pub(crate) authentications_accepted: Counter,
    /// Client authentications that failed.
    pub(crate) authentications_failed: Counter,
    /// Certificate verdicts taken from the cache.
    pub(crate) verdicts_cached: Counter,
    /// Certificate verdicts computed.
    pub(crate) verdicts_computed: Counter,
    /// Fetches of client key sets that brought one.
    pub(crate) key_sets_fetched: Counter,
    /// Fetches of client key sets that failed.
    pub(crate) key_set_fetches_failed: Counter,
}

impl Metrics {
    pub(crate) fn new() -> Metrics {
        let mut registry = Registry::with_prefix("keybound");
        let durations: Family<Label, Histogram> =
            Family::new_with_constructor(|| Histogram::new(exponential_buckets(0.000_05, 2.0, 18)));
        registry.register(
            "request_duration_seconds",
            "Time from the request head to the answer",
            durations.clone(),
        );
        let responses: Family<[(&'static str, &'static str); 2], Counter> = Family::default();
        registry.register(
            "responses",
            "Answers by endpoint and class of status",
            responses.clone(),
        );
        let refusals: Family<Label, Counter> = Family::default();
        registry.register("refusals", "Refusals by error code", refusals.clone());
        let tokens: Family<Label, Counter> = Family::default();
        registry.register(
            "access_tokens_issued",
            "Access tokens handed out, by format",
            tokens.clone(),
        );
        let authentications: Family<Label, Counter> = Family::default();
        registry.register(
            "client_authentications",
            "Client authentications, by outcome",
            authentications.clone(),
        );
        let verdicts: Family<Label, Counter> = Family::default();
        registry.register(
            "certificate_verdicts",
            "Accepted certificates, by where the verdict came from",
            verdicts.clone(),
        );
        let fetches: Family<Label, Counter> = Family::default();
        registry.register(
            "client_key_set_fetches",
            "Fetches of clients' jwks_uri, by outcome",
            fetches.clone(),
        );
        let by_route = |route: usize| Route::ALL.get(route).map_or("other", |route| route.name());
        Metrics {
            durations: std::array::from_fn(|route| durations.get_or_create_owned(&[("endpoint", by_route(route))])),
            responses: std::array::from_fn(|route| {
                let class = ["1xx", "2xx", "3xx", "4xx", "5xx"];
                class.map(|class| responses.get_or_create_owned(&[("endpoint", by_route(route)), ("status", class)]))
            }),
            refusals,
            tokens_jwt: tokens.get_or_create_owned(&[("format", "jwt")]),
            tokens_opaque: tokens.get_or_create_owned(&[("format", "opaque")]),
            authentications_accepted: authentications.get_or_create_owned(&[("outcome", "accepted")]),
            authentications_failed: authentications.get_or_create_owned(&[("outcome", "failed")]),
            verdicts_cached: verdicts.get_or_create_owned(&[("from", "cache")]),
            verdicts_computed: verdicts.get_or_create_owned(&[("from", "path")]),
            key_sets_fetched: fetches.get_or_create_owned(&[("outcome", "fetched")]),
            key_set_fetches_failed: fetches.get_or_create_owned(&[("outcome", "failed")]),
            registry,
        }
    }

    /// Counts one answer of an endpoint.
    pub(crate) fn answered(&self, route: Route, status: http::StatusCode, took: Duration) {
        let index = route as usize;
        if let Some(histogram) = self.durations.get(index) {
            histogram.observe(took.as_secs_f64());
        }
        let class = usize::from(status.as_u16() / 100).saturating_sub(1);
        if let Some(counter) = self.responses.get(index).and_then(|classes| classes.get(class)) {
            counter.inc();
        }
    }

    /// Counts one refusal.
    pub(crate) fn refused(&self, code: ErrorCode) {
        self.refusals.get_or_create(&[("error", code.as_str())]).inc();
    }

    /// The OpenMetrics text, with what `append` adds to it: whole metric families.
    pub(crate) fn encode(&self, append: &dyn Fn(&mut String)) -> String {
        let mut text = String::with_capacity(16 * 1024);
        // A String never refuses to be written to.
        let _ = encode(&mut text, &self.registry);
        let end = text.rfind("# EOF").unwrap_or(text.len());
        let tail = text.split_off(end);
        append(&mut text);
        text.push_str(&tail);
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_ends_as_openmetrics_wants_and_holds_the_figures_of_others() {
        let metrics = Metrics::new();
        metrics.answered(Route::Token, http::StatusCode::OK, Duration::from_micros(80));
        metrics.refused(ErrorCode::InvalidClient);
        let text = metrics.encode(&|text| text.push_str("keybound_tls_connections 7\n"));
        assert!(text.ends_with("# EOF\n"), "{text}");
        assert!(text.contains("keybound_tls_connections 7\n"));
        assert!(
            text.contains("keybound_responses_total{endpoint=\"token\",status=\"2xx\"} 1\n"),
            "{text}"
        );
        assert!(text.contains("keybound_refusals_total{error=\"invalid_client\"} 1\n"));
    }
}
