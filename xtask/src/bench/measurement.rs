//! One run of the load generator against one server, with what every process used meanwhile.

use std::fmt;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, bail};
use serde::Deserialize;

use super::Sitting;
use super::guesses::{Guesses, Guessing};
use super::pki::Pki;
use super::server::{LOAD_CORE, Server, pinned, program};
use crate::processes;

/// A run counts as disturbed when others used more than this share of one core.
const OTHERS_SHARE_MAX: f64 = 0.10;
/// A disturbed run is repeated so often; then it stands, and is marked.
const TRIES_MAX: usize = 4;
/// Tokens to make for a run in which each is used once: more than any server here checks in a second.
const FRESH_TOKENS_PER_SECOND: f64 = 40_000.0;

/// Codes to make for a run: more than any server here exchanges in a second.
const CODES_PER_SECOND: f64 = 10_000.0;

/// A server and what to ask it.
pub(super) struct LoadRun<'a> {
    pub(super) server: &'a Server,
    /// The API behind the server, whose work is not disturbance.
    upstream: Option<&'a Server>,
    /// Who tries passwords meanwhile.
    guesses: Option<Guesses>,
    arguments: Vec<String>,
}

impl<'a> LoadRun<'a> {
    pub(super) fn new(server: &'a Server, upstream: Option<&'a Server>, arguments: &[&[&str]]) -> Self {
        let arguments = arguments
            .iter()
            .copied()
            .flatten()
            .map(|word| (*word).to_owned())
            .collect();
        Self {
            server,
            upstream,
            guesses: None,
            arguments,
        }
    }

    /// The same while people sign in at this server.
    pub(super) fn while_guessing(self, guesses: Guesses) -> Self {
        Self {
            guesses: Some(guesses),
            ..self
        }
    }

    /// What the run is called.
    pub(super) fn name(&self) -> &'static str {
        self.guesses.as_ref().map_or(self.server.name, Guesses::name)
    }

    /// The load generator with these arguments, on its core.
    pub(super) fn command(&self, pki: &Pki) -> Command {
        let mut command = pinned(LOAD_CORE, program("load"));
        command
            .args(["--port", &self.server.port.to_string(), "--pki", pki.path()])
            .args(&self.arguments);
        command
    }
}

/// What the load generator prints.
#[derive(Debug, Clone, Deserialize)]
struct LoadResult {
    wrong: usize,
    failed: usize,
    seconds: f64,
    per_second: f64,
    p50_us: f64,
    p99_us: f64,
    first_problem: Option<String>,
}

/// One run.
#[derive(Debug, Clone)]
pub(super) struct Figures {
    pub(super) per_second: f64,
    pub(super) p50_us: f64,
    pub(super) p99_us: f64,
    /// Processor time of the server for one answer.
    pub(super) server_us: f64,
    /// Cores that each used.
    pub(super) server_cores: f64,
    pub(super) load_cores: f64,
    pub(super) others_cores: f64,
    pub(super) wrong: usize,
    pub(super) first_problem: Option<String>,
    /// Passwords that were tried meanwhile, for each second; `None` if nobody was to try any.
    pub(super) guesses_per_second: Option<f64>,
}

impl Figures {
    pub(super) fn is_disturbed(&self) -> bool {
        self.others_cores > OTHERS_SHARE_MAX
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:>7.0}/s  {:>6.1} µs of the server's core each  p50 {:.0} µs  p99 {:.0} µs  cores: server {:.2}, load {:.2}, \
             others {:.2}",
            self.per_second,
            self.server_us,
            self.p50_us,
            self.p99_us,
            self.server_cores,
            self.load_cores,
            self.others_cores
        )?;
        if let Some(guesses) = self.guesses_per_second {
            write!(f, "  passwords: {guesses:.0}/s")?;
        }
        if self.wrong > 0 {
            write!(
                f,
                "  WRONG {}: {}",
                self.wrong,
                self.first_problem.as_deref().unwrap_or_default()
            )?;
        }
        Ok(())
    }
}

/// Measures once; again while the machine was busy with something else.
pub(super) fn measure(run: &LoadRun<'_>, pki: &Pki, sitting: &Sitting) -> anyhow::Result<Figures> {
    let mut figures = measure_once(run, pki, sitting)?;
    let tries = if sitting.quick { 1 } else { TRIES_MAX };
    for _ in 1..tries {
        if !figures.is_disturbed() {
            break;
        }
        std::thread::sleep(Duration::from_secs(2));
        figures = measure_once(run, pki, sitting)?;
    }
    Ok(figures)
}

fn measure_once(run: &LoadRun<'_>, pki: &Pki, sitting: &Sitting) -> anyhow::Result<Figures> {
    let mut command = run.command(pki);
    command.args([
        "--seconds",
        &sitting.seconds.to_string(),
        "--warm-up",
        if sitting.quick { "0.2" } else { "0.5" },
    ]);
    if run.arguments.iter().any(|argument| argument == "--fresh") {
        let tokens = FRESH_TOKENS_PER_SECOND * (sitting.seconds + 0.5);
        command.args(["--tokens", &format!("{tokens:.0}")]);
    }
    if run.arguments.iter().any(|argument| argument == "--codes") {
        let codes = CODES_PER_SECOND * (sitting.seconds + 0.5);
        command.args(["--count", &format!("{codes:.0}")]);
    }
    let guessing = run
        .guesses
        .as_ref()
        .map(|guesses| guesses.start(pki, sitting.seconds))
        .transpose()?;
    let guesser = guessing.as_ref().map(Guessing::process_id);
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context("cannot start load")?;
    let load = child.id();
    let (mut before, mut after) = (None, None);
    let messages = BufReader::new(child.stderr.take().context("unreachable: standard error is piped")?);
    for message in messages.lines().map_while(Result::ok) {
        match message.as_str() {
            "measuring" => before = Some(Usage::now(run, &[Some(load), guesser])),
            "done" => after = Some(Usage::now(run, &[Some(load), guesser])),
            complaint => println!("   load: {complaint}"),
        }
    }
    let output = child.wait_with_output()?;
    let (Some(before), Some(after)) = (before, after) else {
        bail!("load ended early")
    };
    let result: LoadResult = serde_json::from_slice(&output.stdout).context("load's answer")?;
    let share = |of: fn(&Usage) -> Duration| of(&after).saturating_sub(of(&before)).as_secs_f64() / result.seconds;
    let (server_cores, load_cores, upstream_cores) = (share(|u| u.server), share(|u| u.load), share(|u| u.upstream));
    Ok(Figures {
        per_second: result.per_second,
        p50_us: result.p50_us,
        p99_us: result.p99_us,
        server_us: server_cores / result.per_second.max(1.0) * 1e6,
        server_cores,
        load_cores: load_cores + upstream_cores,
        others_cores: (share(|u| u.machine) - server_cores - load_cores - upstream_cores).max(0.0),
        wrong: result.wrong + result.failed,
        first_problem: result.first_problem,
        guesses_per_second: guessing.map(Guessing::end).transpose()?,
    })
}

/// Processor time used so far.
struct Usage {
    server: Duration,
    load: Duration,
    upstream: Duration,
    machine: Duration,
}

impl Usage {
    fn now(run: &LoadRun<'_>, load: &[Option<u32>]) -> Self {
        let load = load.iter().flatten();
        Self {
            server: processes::processor_time(run.server.process_id()),
            load: load.map(|process| processes::processor_time(*process)).sum(),
            upstream: run.upstream.map_or(Duration::ZERO, |upstream| {
                processes::processor_time(upstream.process_id())
            }),
            machine: processes::machine_processor_time(),
        }
    }
}
