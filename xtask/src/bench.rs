//! `cargo xtask bench`: speed and size beside peers, in one sitting on one machine.
//!
//! Only ratios taken in one sitting mean anything, so everything is measured together, in rounds: the ceiling, our server,
//! nginx, the minimal proxy, our gateway. Servers run on core 0; the load generator and the API behind the proxies on
//! core 1. Each figure is the median of its rounds; a run during which something else used the machine is repeated.
//!
//! `--quick` makes one round of one second each, to see that everything works; it writes no document. `--peers-only` leaves
//! Keybound out, to try the yardstick itself; `--only TEXT` measures the rows alone whose title has that text, and writes no document
//! either. `--rounds N` and `--seconds S` change the sitting.

mod counts;
mod footprint;
mod guesses;
mod keybound;
mod machine;
mod measurement;
mod nginx;
mod pki;
mod report;
mod server;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};

use crate::bench::guesses::Guesses;
use crate::bench::keybound::Keybound;
use crate::bench::measurement::{Figures, LoadRun};
use crate::bench::pki::Pki;
use crate::bench::server::{Server, free_port};
use crate::{peers, workspace};

/// How long and how often.
struct Sitting {
    rounds: usize,
    seconds: f64,
    quick: bool,
    peers_only: bool,
    /// A part of the titles of the rows that are measured; all if there is none.
    only: Option<String>,
}

/// Runs the whole sitting. False if a server gave a wrong answer.
///
/// # Errors
/// If something cannot be built, installed or started.
pub fn run(options: &[String]) -> anyhow::Result<bool> {
    let sitting = Sitting::from_options(options)?;
    prepare_machine()?;
    let directory = directory();
    fs::create_dir_all(&directory)?;
    println!("── building");
    build(&sitting)?;
    let pki = Pki::make(&directory.join("pki"))?;
    println!("── measuring: {} rounds of {} s", sitting.rounds, sitting.seconds);
    let subjects = Subjects::start(&sitting, &pki)?;
    let mut rows = subjects.rows();
    rows.retain(|row| sitting.only.as_deref().is_none_or(|only| row.title.contains(only)));
    let mut figures: Vec<Vec<Vec<Figures>>> = rows.iter().map(|row| vec![Vec::new(); row.runs.len()]).collect();
    for round in 1..=sitting.rounds {
        for (row, row_figures) in rows.iter().zip(&mut figures) {
            for (run, run_figures) in row.runs.iter().zip(row_figures) {
                let measured = measurement::measure(run, &pki, &sitting)?;
                println!("   {round}: {:<28} {:<16} {measured}", row.title, run.name());
                run_figures.push(measured);
            }
        }
    }
    let tables: Vec<_> = rows
        .iter()
        .zip(figures)
        .map(|(row, figures)| report::Table::new(row, figures))
        .collect();
    let wrong = tables.iter().any(report::Table::has_wrong_answers);
    drop(rows);
    if sitting.only.is_some() {
        println!("(a part of the sitting: docs/performance.md stays as it is)");
        return Ok(!wrong);
    }
    let footprint = subjects
        .keybound
        .as_ref()
        .map(|keybound| footprint::measure(keybound, sitting.quick))
        .transpose()?;
    let counts = counts::measure(&subjects, &pki, &sitting)?;
    drop(subjects);
    let text = report::markdown(&sitting, &tables, footprint.as_ref(), &counts);
    println!("\n{text}");
    if sitting.quick || sitting.peers_only {
        println!("(a smoke test: docs/performance.md stays as it is)");
    } else {
        fs::write(workspace::root().join("docs/performance.md"), &text).context("cannot write docs/performance.md")?;
    }
    if wrong {
        println!("FAILED: a server gave wrong answers");
    }
    Ok(!wrong)
}

impl Sitting {
    fn from_options(options: &[String]) -> anyhow::Result<Self> {
        let mut sitting = Self {
            rounds: 5,
            seconds: 5.0,
            quick: false,
            peers_only: false,
            only: None,
        };
        let mut options = options.iter();
        while let Some(option) = options.next() {
            let mut value = || options.next().with_context(|| format!("{option} needs a value"));
            match option.as_str() {
                "--quick" => (sitting.quick, sitting.rounds, sitting.seconds) = (true, 1, 1.0),
                "--peers-only" => sitting.peers_only = true,
                "--only" => sitting.only = Some(value()?.clone()),
                "--rounds" => sitting.rounds = value()?.parse()?,
                "--seconds" => sitting.seconds = value()?.parse()?,
                unknown => bail!("`cargo xtask bench` has no option `{unknown}`"),
            }
        }
        Ok(sitting)
    }
}

/// Where everything that the sitting makes lies.
fn directory() -> PathBuf {
    workspace::root().join("target/bench")
}

fn prepare_machine() -> anyhow::Result<()> {
    if machine::cores() < 2 {
        bail!("two cores are needed: one for the server, one for the load");
    }
    let needed = [
        ("nginx", "nginx"),
        ("taskset", "util-linux"),
        ("openssl", "openssl"),
        ("curl", "curl"),
    ];
    let missing = needed.iter().filter(|(program, _)| !workspace::is_installed(program));
    let packages: Vec<&str> = missing.map(|(_, package)| *package).collect();
    if !packages.is_empty() {
        peers::install_debian_packages(&packages).context("the bench measures against other people's programs")?;
    }
    Ok(())
}

fn build(sitting: &Sitting) -> anyhow::Result<()> {
    let mut programs = workspace::cargo();
    programs.args([
        "build",
        "--release",
        "--locked",
        "--quiet",
        "--manifest-path",
        "bench/Cargo.toml",
    ]);
    workspace::run_to_success(programs.arg("--target-dir").arg(directory()))?;
    if sitting.peers_only {
        return Ok(());
    }
    // As it ships but with its symbols: the counts below need the names of functions. Its size is taken without them.
    let mut product = workspace::cargo();
    product.args(["build", "--release", "--locked", "--quiet", "--package", "keybound-cli"]);
    product
        .args(["--config", "profile.release.strip=\"none\"", "--target-dir"])
        .arg(directory());
    workspace::run_to_success(&mut product)
}

/// Everything that is measured, running.
struct Subjects {
    ceiling: Server,
    /// The ceiling that also writes what a code exchange leaves.
    writing_ceiling: Server,
    upstream: Server,
    proxy: Server,
    nginx: Server,
    keybound: Option<Keybound>,
    /// The issuer whose tokens the gateway and the proxy check.
    issuer: String,
}

/// The `aud` of every token that the load generator makes.
const AUDIENCE: &str = "https://localhost/api";

/// The ceiling of the code exchange.
const WRITING_CEILING: &str = "ceiling and writer";

/// Distinct bound tokens in use at a time.
const TOKENS: usize = 100;

impl Subjects {
    fn start(sitting: &Sitting, pki: &Pki) -> anyhow::Result<Self> {
        let directory = directory();
        let upstream_port = free_port()?;
        let upstream = Server::start_program("upstream", upstream_port, server::LOAD_CORE, &[])?;
        let pki_arguments = ["--pki", pki.path()];
        let ceiling = Server::start_program("ceiling", free_port()?, server::SERVER_CORE, &pki_arguments)?;
        let rows = directory.join("ceiling.db");
        for suffix in ["", "-wal", "-shm"] {
            let _ = fs::remove_file(directory.join(format!("ceiling.db{suffix}")));
        }
        let port = free_port()?;
        let mut command = server::pinned(server::SERVER_CORE, server::program("ceiling"));
        command.args(["--port", &port.to_string()]).args(pki_arguments);
        let writing_ceiling = Server::start(WRITING_CEILING, port, {
            command.arg("--write").arg(rows);
            command
        })?;
        let issuer = format!("https://localhost:{}", ceiling.port);
        let upstream_text = upstream_port.to_string();
        let proxy_arguments = ["--pki", pki.path(), "--upstream", &upstream_text];
        let proxy = Server::start_program("verifying-proxy", free_port()?, server::SERVER_CORE, &proxy_arguments)?;
        let nginx = nginx::start(&directory.join("nginx"), pki, upstream_port)?;
        let keybound = if sitting.peers_only {
            None
        } else {
            Some(Keybound::start(
                &directory.join("keybound"),
                pki,
                &issuer,
                upstream_port,
            )?)
        };
        Ok(Self {
            ceiling,
            writing_ceiling,
            upstream,
            proxy,
            nginx,
            keybound,
            issuer,
        })
    }

    /// What is compared with what.
    fn rows(&self) -> Vec<Row<'_>> {
        let server = self.keybound.as_ref().map(|keybound| &keybound.server);
        let gateway = self.keybound.as_ref().map(|keybound| &keybound.gateway);
        let mut rows = Vec::new();
        for (title, connections, goal, load) in [
            ("token, kept alive", "16", Some((0.7, 0.9)), &[][..]),
            ("token, new connection", "64", Some((0.85, 0.9)), &["--new-connections"]),
            (
                "token, new, hybrid exchange",
                "64",
                None,
                &["--new-connections", "--key-exchange", "hybrid"],
            ),
        ] {
            let form = "grant_type=client_credentials&client_id=client-1";
            let common = [
                "--path",
                "/token",
                "--body",
                form,
                "--expect",
                "access_token",
                "--connections",
                connections,
            ];
            let run = |server| LoadRun::new(server, None, &[&common, load]);
            let runs = [Some(&self.ceiling), server].into_iter().flatten().map(run).collect();
            rows.push(Row {
                title,
                reference: "ceiling",
                goal,
                runs,
            });
        }
        self.add_grant_rows(&mut rows);
        self.add_password_row(&mut rows);
        let tokens = TOKENS.to_string();
        let in_turn = ["--tokens", tokens.as_str()];
        let (nginx, proxy) = (Some(&self.nginx), Some(&self.proxy));
        let resource_rows: [(_, _, _, _, &[&[&str]], _); 4] = [
            (
                "resource, kept alive",
                "nginx",
                "16",
                Some((0.6, 0.9)),
                &[&in_turn],
                vec![nginx, gateway, proxy],
            ),
            (
                "resource, new connection",
                "nginx",
                "64",
                None,
                &[&in_turn, &["--new-connections"]],
                vec![nginx, gateway, proxy],
            ),
            (
                "resource, new, hybrid exchange",
                "verifying-proxy",
                "64",
                None,
                &[&in_turn, &["--new-connections", "--key-exchange", "hybrid"]],
                vec![proxy, gateway],
            ),
            (
                "resource, every token new",
                "verifying-proxy",
                "16",
                Some((0.0, 0.9)),
                &[&["--fresh"]],
                vec![proxy, gateway],
            ),
        ];
        for (title, reference, connections, goal, load, servers) in resource_rows {
            let common = ["--path", "/", "--expect", "from here", "--connections", connections];
            let issued = ["--issuer", self.issuer.as_str(), "--audience", AUDIENCE];
            let parts: Vec<&[&str]> = [&common[..], &issued[..]]
                .into_iter()
                .chain(load.iter().copied())
                .collect();
            let run = |server| LoadRun::new(server, Some(&self.upstream), &parts);
            rows.push(Row {
                title,
                reference,
                goal,
                runs: servers.into_iter().flatten().map(run).collect(),
            });
        }
        rows
    }
}

impl Subjects {
    /// The grants of users: a code for tokens, and a refresh token that stays.
    fn add_grant_rows<'a>(&'a self, rows: &mut Vec<Row<'a>>) {
        let database = self.keybound.as_ref().map(|keybound| keybound.server_start.database());
        let database = database.as_deref().and_then(Path::to_str).unwrap_or_default();
        let server = self.keybound.as_ref().map(|keybound| &keybound.server);
        let common = ["--path", "/token", "--expect", "access_token", "--connections"];
        let code = [
            "--body",
            "grant_type=authorization_code&client_id=client-1&code={secret}",
        ];
        let refresh = [
            "--body",
            "grant_type=refresh_token&client_id=client-1&refresh_token={secret}",
        ];
        for (title, reference, ceiling, goal, connections, body, secrets) in [
            (
                "code exchange",
                WRITING_CEILING,
                &self.writing_ceiling,
                0.8,
                "64",
                &code,
                "--codes",
            ),
            (
                "refresh, confidential, not rotated",
                "ceiling",
                &self.ceiling,
                0.6,
                "16",
                &refresh,
                "--refresh-token",
            ),
        ] {
            let mut runs = vec![LoadRun::new(ceiling, None, &[&common, &[connections], body])];
            let ours = [secrets, database];
            runs.extend(server.map(|server| LoadRun::new(server, None, &[&common, &[connections], body, &ours])));
            rows.push(Row {
                title,
                reference,
                goal: Some((goal, goal)),
                runs,
            });
        }
    }
}

impl Subjects {
    /// Tokens while people sign in, whose passwords are hashed on the core that is measured.
    fn add_password_row<'a>(&'a self, rows: &mut Vec<Row<'a>>) {
        let Some(keybound) = &self.keybound else { return };
        let run = || {
            let form = "grant_type=client_credentials&client_id=client-1";
            let common = ["--path", "/token", "--body", form, "--expect", "access_token"];
            LoadRun::new(&keybound.server, None, &[&common, &["--connections", "16"]])
        };
        let guesses = Guesses {
            public_port: keybound.server_start.public_port,
        };
        rows.push(Row {
            title: "token, while passwords are hashed",
            reference: keybound.server.name,
            goal: Some((0.9, 0.95)),
            runs: vec![run(), run().while_guessing(guesses)],
        });
    }
}

/// One comparison.
struct Row<'a> {
    title: &'static str,
    /// The server that the others are divided by.
    reference: &'static str,
    /// What ours must reach now, and later.
    goal: Option<(f64, f64)>,
    runs: Vec<LoadRun<'a>>,
}
