//! `docs/performance.md`.

use std::fmt::Write;

use super::counts::Counts;
use super::footprint::{Daemon, Footprint};
use super::measurement::Figures;
use super::{Row, Sitting, TOKENS, machine};

/// One comparison with its medians.
pub(super) struct Table {
    title: &'static str,
    reference: &'static str,
    goal: Option<(f64, f64)>,
    entries: Vec<Entry>,
}

struct Entry {
    server: &'static str,
    per_second: f64,
    server_us: f64,
    p50_us: f64,
    p99_us: f64,
    server_cores: f64,
    load_cores: f64,
    disturbed: usize,
    wrong: usize,
    guesses_per_second: Option<f64>,
}

impl Table {
    pub(super) fn new(row: &Row<'_>, figures: Vec<Vec<Figures>>) -> Self {
        let entries = row
            .runs
            .iter()
            .zip(figures)
            .map(|(run, figures)| Entry::new(run.name(), &figures))
            .collect();
        Self {
            title: row.title,
            reference: row.reference,
            goal: row.goal,
            entries,
        }
    }

    pub(super) fn has_wrong_answers(&self) -> bool {
        self.entries.iter().any(|entry| entry.wrong > 0)
    }

    /// Ours is compared with a peer, or with itself undisturbed.
    fn is_ours(&self, entry: &Entry) -> bool {
        entry.server.starts_with("keybound") && entry.server != self.reference
    }

    fn write(&self, text: &mut String) {
        let reference = self.entries.iter().find(|entry| entry.server == self.reference);
        let reference = reference.map_or(f64::NAN, |entry| entry.per_second);
        let _ = writeln!(text, "\n### {}\n", self.title);
        text.push_str("| server | answers/s | ratio | µs of its core each | p50 µs | p99 µs | its core busy | load's core busy |\n");
        text.push_str("|---|---|---|---|---|---|---|---|\n");
        for entry in &self.entries {
            let _ = writeln!(
                text,
                "| {} | {:.0} | {:.2} | {:.1} | {:.0} | {:.0} | {:.0} % | {:.0} % |",
                entry.server,
                entry.per_second,
                entry.per_second / reference,
                entry.server_us,
                entry.p50_us,
                entry.p99_us,
                entry.server_cores * 100.0,
                entry.load_cores * 100.0
            );
        }
        for entry in &self.entries {
            if let Some(guesses) = entry.guesses_per_second {
                let _ = writeln!(
                    text,
                    "\n{}: {guesses:.0} passwords each second meanwhile.",
                    entry.server
                );
            }
        }
        for entry in self.entries.iter().filter(|entry| entry.disturbed > 0) {
            let _ = writeln!(
                text,
                "\n{}: {} of its rounds stayed disturbed by other work.",
                entry.server, entry.disturbed
            );
        }
        for entry in self.entries.iter().filter(|entry| entry.wrong > 0) {
            let _ = writeln!(text, "\n**{}: {} wrong answers.**", entry.server, entry.wrong);
        }
        if let Some((now, later)) = self.goal
            && let Some(ours) = self.entries.iter().find(|entry| self.is_ours(entry))
        {
            let ratio = ours.per_second / reference;
            let now = if now > 0.0 {
                format!("goal now {now}, ")
            } else {
                String::new()
            };
            let _ = writeln!(
                text,
                "\n{} to {}: **{ratio:.2}** ({now}later {later}).",
                ours.server, self.reference
            );
        }
    }
}

impl Entry {
    fn new(server: &'static str, figures: &[Figures]) -> Self {
        let median_of = |of: fn(&Figures) -> f64| median(figures.iter().map(of).collect());
        Self {
            server,
            per_second: median_of(|f| f.per_second),
            server_us: median_of(|f| f.server_us),
            p50_us: median_of(|f| f.p50_us),
            p99_us: median_of(|f| f.p99_us),
            server_cores: median_of(|f| f.server_cores),
            load_cores: median_of(|f| f.load_cores),
            disturbed: figures.iter().filter(|f| f.is_disturbed()).count(),
            wrong: figures.iter().map(|f| f.wrong).sum(),
            guesses_per_second: Some(figures.iter().filter_map(|f| f.guesses_per_second).collect())
                .filter(|guesses: &Vec<f64>| !guesses.is_empty())
                .map(median),
        }
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// The whole document.
pub(super) fn markdown(sitting: &Sitting, tables: &[Table], footprint: Option<&Footprint>, counts: &Counts) -> String {
    let mut text = String::from("# Performance\n\nWritten by `cargo xtask bench`.\n\n");
    let _ = writeln!(text, "Machine: {}.\n", machine::description());
    let _ = writeln!(text, "Peers: {}.", machine::versions());
    let _ = writeln!(
        text,
        "
All in one sitting, {} rounds of {} s in turn, medians; rounds during which other work used more than a tenth of a core were
repeated. Every server is on core 0 alone, the load generator and the API behind the proxies on core 1. TLS 1.3, P-256
certificates, X25519 on both sides unless the title says hybrid (X25519MLKEM768, which this nginx does not know). New connection
means a full mutual handshake for each request; kept alive means 16 connections, new means 64 at a time. Nothing is resumed.

- *ceiling*: hyper, rustls and aws-lc-rs, one ES256 signature and a JSON answer, nothing else. What physics leaves.
- *ceiling and writer*: the ceiling, which before each answer hands the rows that a code exchange leaves to a bare writer in groups.
- *keybound serve*: a `tls_client_auth` client; audit, metrics and log on. Client credentials, unless the title says otherwise.
- *keybound serve, hashing*: the same while others try passwords in vain, which are hashed on the same core.
- *nginx*: one worker, mutual TLS, plain proxying to the same API, no access log; it looks at no token.
- *verifying-proxy*: hyper and rustls, one ES256 verification, expiry and binding compared, for each request; nothing else.
- *keybound gateway*: {TOKENS} distinct bound tokens in turn, or a new one for each request where the title says so.

## Speed",
        sitting.rounds, sitting.seconds
    );
    for table in tables {
        table.write(&mut text);
    }
    if let Some(footprint) = footprint {
        write_footprint(&mut text, footprint);
    }
    write_counts(&mut text, counts);
    text
}

fn write_footprint(text: &mut String, footprint: &Footprint) {
    let mebibytes = |bytes: u64| bytes as f64 / 1024.0 / 1024.0;
    text.push_str("\n## Size\n\n| | resident when idle | ready after |\n|---|---|---|\n");
    let mut row = |name: &str, daemon: &Daemon| {
        let ready = daemon.ready.as_secs_f64() * 1000.0;
        let _ = writeln!(
            text,
            "| {name} | {:.1} MiB | {ready:.0} ms |",
            mebibytes(daemon.resident_bytes)
        );
    };
    row("keybound serve", &footprint.server);
    row("keybound gateway", &footprint.gateway);
    let binary = mebibytes(footprint.binary_bytes);
    let _ = writeln!(
        text,
        "| *goal now / later* | 30 / 20 MB | 100 / 50 ms |\n\nThe binary: **{binary:.1} MiB** (goal 25 MB)."
    );
}

fn write_counts(text: &mut String, counts: &Counts) {
    text.push_str("\n## Work per request\n\n");
    match counts {
        Counts::NotCounted(why) => {
            let _ = writeln!(text, "Not counted: {why}.");
        }
        Counts::Counted(counts) => {
            text.push_str("Counted by valgrind on one kept-alive connection, caches warm: the same on any machine of this kind.\n\n");
            text.push_str("| server | request | instructions | allocations |\n|---|---|---|---|\n");
            for count in counts {
                let (server, what) = (count.server, count.what);
                let _ = writeln!(
                    text,
                    "| {server} | {what} | {} | {:.1} |",
                    count.instructions, count.allocations
                );
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::median;

    #[test]
    fn takes_the_middle() {
        assert_eq!(median(vec![9.0, 1.0, 5.0]), 5.0);
    }
}
