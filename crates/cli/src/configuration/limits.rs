//! `[limits]`: every limit that can be set, of either file. The names are those of the crates' `Limits`, but for the listener's,
//! which say in the words of the log and of the answers what they are about.

use std::ops::RangeInclusive;
use std::time::Duration;

use keybound_client::GuardedFetchSettings;

use super::diagnostic::Diagnostic;
use super::document::Section;
use super::value::bounded_duration;

/// `[limits]` of `keybound.toml`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ServerLimits {
    /// Of both TLS listeners.
    pub listener: keybound_tls::Limits,
    /// Of the server behind them.
    pub server: keybound_authorization_server::Limits,
    /// Of what it fetches.
    pub fetch: FetchLimits,
}

/// `[limits]` of `gateway.toml`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct GatewayLimits {
    /// Of the resource listener; a body has no limit there, it streams.
    pub listener: keybound_tls::Limits,
    /// Of the leg to upstreams, and of what is remembered.
    pub gateway: keybound_gateway::Limits,
    /// Of the check of tokens.
    pub resource_server: keybound_resource_server::Limits,
    /// Of what is fetched from issuers.
    pub fetch: FetchLimits,
    /// How long an issuer may take to say something about a token.
    pub introspection_timeout: Duration,
}

/// One fetch of a key set or a metadata document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FetchLimits {
    /// For everything together: name, connection, handshake, response.
    pub timeout: Duration,
    /// The longest document.
    pub bytes_max: u64,
}

impl FetchLimits {
    /// 2 s, 256 KiB.
    pub(crate) const DEFAULT: FetchLimits = FetchLimits {
        timeout: Duration::from_secs(2),
        bytes_max: 256 * KIB as u64,
    };

    /// Puts them where they hold.
    pub(crate) fn apply(self, settings: &mut GuardedFetchSettings) {
        settings.timeout = self.timeout;
        settings.bytes_max = self.bytes_max;
    }
}

const KIB: i64 = 1024;
const MIB: i64 = 1024 * KIB;
/// Connections, entries and the like: from one to more than a machine has room for.
const COUNT: RangeInclusive<i64> = 1..=10_000_000;
const MILLISECONDS_100: Duration = Duration::from_millis(100);
const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(86_400);

/// Reads `[limits]` of `keybound.toml`. Absent keys keep their defaults.
pub(crate) fn server(section: Section<'_>) -> ServerLimits {
    let read = Reader(&section);
    let mut listener = read.listener(keybound_tls::Limits::default());
    let defaults = keybound_authorization_server::Limits::default();
    // One key for both: the listener answers 413 before the server has to.
    let body_bytes_max = read.number("request_body_bytes", defaults.body_bytes_max, KIB..=16 * MIB);
    listener.body_bytes_max = Some(body_bytes_max);
    listener.body_timeout = read.duration("request_body", listener.body_timeout, MILLISECONDS_100..=HOUR);
    listener.body_bytes_per_second_min = read.number(
        "request_body_bytes_per_second",
        listener.body_bytes_per_second_min,
        1..=MIB,
    );
    listener.body_rate_grace = read.duration(
        "request_body_grace",
        listener.body_rate_grace,
        MILLISECONDS_100..=10 * MINUTE,
    );
    let limits = ServerLimits {
        listener,
        server: keybound_authorization_server::Limits {
            body_bytes_max,
            failed_authentications_per_second: read.number(
                "failed_authentications_per_second",
                defaults.failed_authentications_per_second,
                1..=100_000,
            ),
            alike_answer_interval: read.duration(
                "alike_answer_interval",
                defaults.alike_answer_interval,
                Duration::from_millis(1)..=SECOND,
            ),
            prepared_clients_max: read.number("prepared_clients_max", defaults.prepared_clients_max, COUNT),
            refresh_interval: read.duration("refresh_interval", defaults.refresh_interval, MILLISECONDS_100..=MINUTE),
            accepted_certificates_max: read.number(
                "accepted_certificates_max",
                defaults.accepted_certificates_max,
                COUNT,
            ),
            key_sets_max: read.number("key_sets_max", defaults.key_sets_max, COUNT),
            key_set_refetch_interval: read.duration(
                "key_set_refetch_interval",
                defaults.key_set_refetch_interval,
                SECOND..=HOUR,
            ),
            key_set_fetches_per_second: read.number(
                "key_set_fetches_per_second",
                defaults.key_set_fetches_per_second,
                1..=100_000,
            ),
            key_set_stale_max: read.duration("key_set_stale_max", defaults.key_set_stale_max, MINUTE..=30 * DAY),
            password_threads: read.number("password_threads", defaults.password_threads, 1..=64),
            passwords_waiting_max: read.number("passwords_waiting_max", defaults.passwords_waiting_max, 1..=10_000),
            sign_ins_per_minute: read.number("sign_ins_per_minute", defaults.sign_ins_per_minute, 1..=100_000),
            failed_sign_ins_max: read.number("failed_sign_ins_max", defaults.failed_sign_ins_max, 1..=1_000),
            lock_out: read.duration("lock_out", defaults.lock_out, SECOND..=DAY),
            sign_in_answer_interval: read.duration(
                "sign_in_answer_interval",
                defaults.sign_in_answer_interval,
                Duration::from_millis(10)..=10 * SECOND,
            ),
            dpop_proofs_max: read.number("dpop_proofs_max", defaults.dpop_proofs_max, COUNT),
            pushed_request_lifetime: read.duration(
                "pushed_request_lifetime",
                defaults.pushed_request_lifetime,
                SECOND..=Duration::from_secs(599),
            ),
            approval_requests_per_minute: read.number(
                "approval_requests_per_minute",
                defaults.approval_requests_per_minute,
                1..=100_000,
            ),
            approval_polls_per_minute: read.number(
                "approval_polls_per_minute",
                defaults.approval_polls_per_minute,
                1..=10_000_000,
            ),
            pushed_requests_per_minute: read.number(
                "pushed_requests_per_minute",
                defaults.pushed_requests_per_minute,
                1..=10_000_000,
            ),
            public_requests_per_minute: read.number(
                "public_requests_per_minute",
                defaults.public_requests_per_minute,
                1..=1_000_000,
            ),
            interactions_per_minute: read.number(
                "interactions_per_minute",
                defaults.interactions_per_minute,
                1..=1_000_000,
            ),
            user_codes_per_minute: read.number("user_codes_per_minute", defaults.user_codes_per_minute, 1..=1_000),
            approvals_waiting_per_user_max: read.number(
                "approvals_waiting_per_user_max",
                defaults.approvals_waiting_per_user_max,
                1..=500,
            ),
            notifications_max: read.number("notifications_max", defaults.notifications_max, 1..=10_000),
            admin_requests_max: read.number("admin_requests_max", defaults.admin_requests_max, 1..=10_000),
            revocation_followers_max: read.number(
                "revocation_followers_max",
                defaults.revocation_followers_max,
                1..=100_000,
            ),
        },
        fetch: read.fetch(),
    };
    read.require_keys_that_count(limits.server.key_set_refetch_interval, limits.server.key_set_stale_max);
    section.finish();
    limits
}

/// Reads `[limits]` of `gateway.toml`. Absent keys keep their defaults.
pub(crate) fn gateway(section: Section<'_>) -> GatewayLimits {
    let read = Reader(&section);
    let mut listener = read.listener(keybound_tls::Limits {
        body_bytes_max: None,
        ..keybound_tls::Limits::default()
    });
    // Only what lies behind the gateway sends any.
    listener.interim_responses_max = read.number("interim_responses", listener.interim_responses_max, 1..=1_000);
    listener.interim_response_bytes_max =
        read.number("interim_response_bytes", listener.interim_response_bytes_max, KIB..=MIB);
    let limits = GatewayLimits {
        listener,
        gateway: read.upstream(),
        resource_server: read.resource_server(),
        fetch: read.fetch(),
        introspection_timeout: read.duration(
            "introspection_timeout",
            Duration::from_secs(30),
            MILLISECONDS_100..=5 * MINUTE,
        ),
    };
    read.require_keys_that_count(
        limits.resource_server.key_set_refetch_interval,
        limits.resource_server.key_set_stale_max,
    );
    section.finish();
    limits
}

struct Reader<'s, 'd>(&'s Section<'d>);

impl Reader<'_, '_> {
    /// `range` must lie within what the type of `default` holds.
    fn number<T: TryFrom<i64>>(&self, key: &'static str, default: T, range: RangeInclusive<i64>) -> T {
        let written = self.0.integer(key, range);
        written
            .and_then(|located| T::try_from(located.value).ok())
            .unwrap_or(default)
    }

    fn duration(&self, key: &'static str, default: Duration, range: RangeInclusive<Duration>) -> Duration {
        bounded_duration(self.0, key, default, range)
    }

    /// What all listeners have; bodies are the server's alone.
    fn listener(&self, defaults: keybound_tls::Limits) -> keybound_tls::Limits {
        keybound_tls::Limits {
            connections_max: self.number("connections", defaults.connections_max, COUNT),
            connections_per_prefix_max: self.number(
                "connections_per_address_prefix",
                defaults.connections_per_prefix_max,
                COUNT,
            ),
            handshakes_max: self.number("handshakes_in_progress", defaults.handshakes_max, COUNT),
            handshake_timeout: self.duration("handshake", defaults.handshake_timeout, MILLISECONDS_100..=10 * MINUTE),
            certificate_message_bytes_max: self.number(
                "certificate_message_bytes",
                defaults.certificate_message_bytes_max,
                2 * KIB..=64 * KIB,
            ),
            head_timeout: self.duration("request_head", defaults.head_timeout, MILLISECONDS_100..=10 * MINUTE),
            head_bytes_max: self.number("request_head_bytes", defaults.head_bytes_max, KIB..=MIB),
            head_fields_max: self.number("request_head_fields", defaults.head_fields_max, 8..=100),
            idle_timeout: self.duration("idle", defaults.idle_timeout, MILLISECONDS_100..=DAY),
            drain_timeout: self.duration("drain", defaults.drain_timeout, MILLISECONDS_100..=DAY),
            linger_timeout: self.duration("linger", defaults.linger_timeout, MILLISECONDS_100..=5 * MINUTE),
            linger_bytes_max: self.number("linger_bytes", defaults.linger_bytes_max, KIB..=64 * MIB),
            http2_streams_max: self.number("http2_streams", defaults.http2_streams_max, 1..=10_000),
            http2_resets_max: self.number("http2_resets", defaults.http2_resets_max, 1..=1_000_000),
            http2_control_frames_max: self.number(
                "http2_control_frames",
                defaults.http2_control_frames_max,
                1..=1_000_000,
            ),
            http2_keep_alive: self.duration("http2_keep_alive", defaults.http2_keep_alive, SECOND..=10 * MINUTE),
            ..defaults
        }
    }

    fn fetch(&self) -> FetchLimits {
        let defaults = FetchLimits::DEFAULT;
        FetchLimits {
            timeout: self.duration("fetch_timeout", defaults.timeout, MILLISECONDS_100..=MINUTE),
            // Above it, protocol refuses to read what was fetched.
            bytes_max: self.number("fetch_bytes_max", defaults.bytes_max, KIB..=256 * KIB),
        }
    }

    fn upstream(&self) -> keybound_gateway::Limits {
        let defaults = keybound_gateway::Limits::default();
        keybound_gateway::Limits {
            connect_timeout: self.duration(
                "upstream_connect_timeout",
                defaults.connect_timeout,
                MILLISECONDS_100..=5 * MINUTE,
            ),
            response_timeout: self.duration(
                "upstream_response_timeout",
                defaults.response_timeout,
                MILLISECONDS_100..=HOUR,
            ),
            upstream_connections_max: self.number(
                "upstream_connections_max",
                defaults.upstream_connections_max,
                1..=1_000_000,
            ),
            upstream_idle_timeout: self.duration(
                "upstream_idle_timeout",
                defaults.upstream_idle_timeout,
                MILLISECONDS_100..=HOUR,
            ),
            upstream_idle_connections_max: self.number(
                "upstream_idle_connections_max",
                defaults.upstream_idle_connections_max,
                1..=100_000,
            ),
            upstream_head_bytes_max: self.number(
                "upstream_head_bytes_max",
                defaults.upstream_head_bytes_max,
                8 * KIB..=MIB,
            ),
            upstream_head_fields_max: self.number(
                "upstream_head_fields_max",
                defaults.upstream_head_fields_max,
                8..=1_000,
            ),
            continue_timeout: self.duration("continue_timeout", defaults.continue_timeout, MILLISECONDS_100..=MINUTE),
            refusals_max: self.number("refusals_max", defaults.refusals_max, 1..=1_000_000),
            log_records_max: self.number("log_records_max", defaults.log_records_max, 1..=1_000_000),
        }
    }

    fn resource_server(&self) -> keybound_resource_server::Limits {
        let defaults = keybound_resource_server::Limits::default();
        keybound_resource_server::Limits {
            cached_tokens_bytes_max: self.number(
                "cached_tokens_bytes_max",
                defaults.cached_tokens_bytes_max,
                64 * KIB..=16 * 1024 * MIB,
            ),
            key_set_refetch_interval: self.duration(
                "key_set_refetch_interval",
                defaults.key_set_refetch_interval,
                SECOND..=HOUR,
            ),
            key_set_refresh_after: self.duration("key_set_refresh_after", defaults.key_set_refresh_after, SECOND..=DAY),
            key_set_stale_max: self.duration("key_set_stale_max", defaults.key_set_stale_max, MINUTE..=30 * DAY),
            introspection_active_max: self.duration(
                "introspection_active_max",
                defaults.introspection_active_max,
                SECOND..=HOUR,
            ),
            introspection_inactive_max: self.duration(
                "introspection_inactive_max",
                defaults.introspection_inactive_max,
                SECOND..=HOUR,
            ),
            introspection_pause: self.duration("introspection_pause", defaults.introspection_pause, SECOND..=MINUTE),
            introspections_max: self.number("introspections_max", defaults.introspections_max, 1..=100_000),
            inactive_tokens_max: self.number("inactive_tokens_max", defaults.inactive_tokens_max, COUNT),
            dpop_proofs_max: self.number("dpop_proofs_max", defaults.dpop_proofs_max, COUNT),
            revocations_silence_max: self.duration(
                "revocations_silence_max",
                defaults.revocations_silence_max,
                30 * SECOND..=HOUR,
            ),
        }
    }

    /// A set that is too old before it may be fetched again would leave times in which nobody has keys.
    fn require_keys_that_count(&self, refetch_interval: Duration, stale_max: Duration) {
        if stale_max < refetch_interval {
            let message = "`limits.key_set_stale_max` must not be shorter than `limits.key_set_refetch_interval`";
            let place = self.0.place_of("key_set_stale_max");
            self.0.report(Diagnostic::error("C025", place, message));
        }
    }
}

#[cfg(test)]
mod tests {
    use keybound_client::Roots;

    use super::super::document::Document;
    use super::*;

    #[test]
    fn the_defaults_are_those_of_the_libraries() {
        let settings = GuardedFetchSettings::new(Roots::none());
        let defaults = FetchLimits {
            timeout: settings.timeout,
            bytes_max: settings.bytes_max,
        };
        assert_eq!(FetchLimits::DEFAULT, defaults);
        let (server, gateway) = (of_server(""), of_gateway(""));
        assert_eq!(server.0.server, keybound_authorization_server::Limits::default());
        assert_eq!(server.0.listener, keybound_tls::Limits::default());
        assert_eq!(gateway.0.gateway, keybound_gateway::Limits::default());
        assert_eq!(gateway.0.resource_server, keybound_resource_server::Limits::default());
    }

    fn of<T>(text: &str, read: fn(Section<'_>) -> T) -> (T, Vec<Diagnostic>) {
        let document = Document::parse("test.toml", &format!("[limits]\n{text}"), &[]);
        let limits = read(document.root().section("limits"));
        (limits, document.into_findings())
    }

    fn of_server(text: &str) -> (ServerLimits, Vec<Diagnostic>) {
        of(text, server)
    }

    fn of_gateway(text: &str) -> (GatewayLimits, Vec<Diagnostic>) {
        of(text, gateway)
    }

    /// The keys of `[limits]` in a template, as if they were not commented out.
    fn written(template: &str) -> String {
        let section = template.split("[limits]\n").nth(1).unwrap_or_default();
        let lines = section.lines().take_while(|line| line.contains(" = "));
        lines
            .map(|line| format!("{}\n", line.trim_start_matches("# ")))
            .collect()
    }

    fn check_each_key<T: PartialEq + std::fmt::Debug>(template: &str, read: fn(Section<'_>) -> T) {
        let text = written(template);
        let (limits, findings) = of(&text, read);
        assert!(findings.is_empty(), "{findings:?}");
        assert_eq!(limits, of("", read).0, "the template shows the defaults");
        assert!(text.lines().count() > 20, "{text}");
        for line in text.lines() {
            let (key, value) = line.split_once(" = ").expect("a key and its value");
            let is_duration = value.starts_with('"');
            let absurd = ["0", "-1", "9223372036854775807", "\"0s\"", "\"40d\"", "\"5\"", "true"];
            for value in absurd {
                let (limits, findings) = of(&format!("{key} = {value}"), read);
                let [finding] = findings.as_slice() else {
                    panic!("{key} = {value}: {findings:?}")
                };
                let right_kind = value.starts_with('"') == is_duration && value != "true";
                assert_eq!(
                    finding.code,
                    if right_kind { "C006" } else { "C004" },
                    "{key} = {value}"
                );
                let place = (2, key.len() + " = ".len() + 1);
                assert_eq!(finding.location.line_and_column(), place, "{key} = {value}");
                assert!(finding.message.contains(key), "{key} = {value}: {}", finding.message);
                assert_eq!(limits, of("", read).0, "{key} = {value}");
            }
            let other = if is_duration { "\"61s\"" } else { "77" };
            let other = match key {
                "alike_answer_interval" => "\"6ms\"",
                "password_threads" => "7",
                "fetch_timeout"
                | "refresh_interval"
                | "continue_timeout"
                | "introspection_pause"
                | "sign_in_answer_interval" => "\"3s\"",
                "cached_tokens_bytes_max" => "65536",
                _ if key.contains("bytes") && !key.contains("per_second") => "65535",
                _ => other,
            };
            let (limits, findings) = of(&format!("{key} = {other}"), read);
            assert!(findings.is_empty(), "{key} = {other}: {findings:?}");
            assert_ne!(limits, of("", read).0, "{key} = {other} changes something");
        }
    }

    #[test]
    fn every_key_of_the_templates_is_read_and_refuses_what_is_absurd() {
        check_each_key(include_str!("../templates/keybound.toml"), server);
        check_each_key(include_str!("../templates/gateway.toml"), gateway);
    }

    #[test]
    fn one_key_limits_bodies_in_both_places() {
        let (limits, _) = of_server("request_body_bytes = 2048");
        assert_eq!(
            (limits.listener.body_bytes_max, limits.server.body_bytes_max),
            (Some(2048), 2048)
        );
        let (_, findings) = of_gateway("request_body_bytes = 2048");
        assert_eq!(
            findings.first().map(|finding| finding.code),
            Some("C002"),
            "a gateway streams"
        );
    }

    #[test]
    fn keys_that_are_too_old_before_they_may_be_fetched_again_are_a_mistake() {
        let text = "key_set_stale_max = \"5m\"\nkey_set_refetch_interval = \"10m\"";
        for findings in [of_server(text).1, of_gateway(text).1] {
            assert_eq!(findings.len(), 1, "{findings:?}");
            assert!(
                findings.iter().all(|finding| finding.code == "C025"
                    && finding.message.contains("must not be shorter")
                    && finding.location.line_and_column() == (2, 21)),
                "{findings:?}"
            );
        }
    }
}
