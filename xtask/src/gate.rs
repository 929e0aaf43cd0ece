//! `cargo xtask test`: what a change must pass before it lands.
//!
//! Every step prints its name, what it found and its time; a step that could not run says so and why. Nothing is skipped
//! in silence: at the end stand one line per step and one per test program.
//!
//! Panics are counted in two ways. The `keybound` binary appends each of its panics to the file that
//! `KEYBOUND_PANIC_LOG` names, whichever test started it; and [`crate::libtest`] finds panics in the output of tests that
//! passed. Both counts must be 0.

pub mod fuzz;
mod readme;
mod suite;

pub(crate) use suite::results_file;

use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

use crate::libtest::Outcome;
use crate::{conformance, peers, workspace};

/// How a step ended.
enum Verdict {
    /// It held; the text says what was looked at.
    Passed(String),
    /// It did not hold.
    Failed(String),
    /// It could not be done here, for the reason given; never for want of trying.
    NotRun(String),
}

struct Step {
    name: &'static str,
    verdict: Verdict,
    took: Duration,
}

/// Runs the whole gate. True if nothing failed.
///
/// # Errors
/// Only if the gate itself cannot work (an unwritable target directory).
pub fn run(options: &[String]) -> anyhow::Result<bool> {
    if let Some(unknown) = options.first() {
        bail!("`cargo xtask test` takes no options (got `{unknown}`): it is the whole gate or nothing");
    }
    fs::create_dir_all(workspace::state_dir()).context("cannot make target/xtask")?;
    let started = Instant::now();
    let mut steps = Vec::new();
    step(&mut steps, "format", || {
        // The other two are workspaces of their own.
        for manifest in ["bench/Cargo.toml", "fuzz/Cargo.toml"] {
            workspace::run_to_success(workspace::cargo().args(["fmt", "--manifest-path", manifest, "--check"]))?;
        }
        cargo_step(&["fmt", "--all", "--", "--check"], "every file")
    });
    step(&mut steps, "peers", || Ok(Verdict::Passed(peers::set_up()?)));
    step(&mut steps, "clippy", || {
        let arguments = [
            "clippy",
            "--workspace",
            "--all-targets",
            "--locked",
            "--quiet",
            "--",
            "-D",
            "warnings",
        ];
        cargo_step(&arguments, "all targets, warnings denied")
    });
    step(&mut steps, "bench", || {
        let mut command = workspace::cargo();
        command.args([
            "clippy",
            "--manifest-path",
            "bench/Cargo.toml",
            "--all-targets",
            "--locked",
            "--quiet",
        ]);
        workspace::run_to_success(command.args(["--target-dir", "target", "--", "-D", "warnings"]))?;
        Ok(Verdict::Passed("its programs compile, warnings denied".to_owned()))
    });
    step(&mut steps, "rustdoc", || {
        let mut command = workspace::cargo();
        command
            .args(["doc", "--workspace", "--no-deps", "--locked", "--quiet"])
            .env("RUSTDOCFLAGS", "-D warnings");
        workspace::run_to_success(&mut command)?;
        Ok(Verdict::Passed("warnings denied".to_owned()))
    });
    let programs = step(&mut steps, "build tests", || {
        let programs = suite::build()?;
        let count = programs.len();
        Ok((programs, Verdict::Passed(format!("{count} test programs"))))
    });
    let report = programs.and_then(|programs| {
        step(&mut steps, "tests", || {
            let report = suite::run(programs)?;
            let verdict = tests_verdict(&report);
            Ok((report, verdict))
        })
    });
    match &report {
        Some(report) => {
            step(&mut steps, "panics", || panic_verdict(&report.panics));
            step(&mut steps, "conformance", || conformance_verdict(&report.results));
            step(&mut steps, "README", || Ok(Verdict::Passed(readme::check()?)));
        }
        None => {
            for name in ["panics", "conformance", "README"] {
                step(&mut steps, name, || {
                    Ok(Verdict::NotRun("the tests did not run".to_owned()))
                });
            }
        }
    }
    step(&mut steps, "fuzz build", || {
        Ok(fuzz::build()?.map_or_else(Verdict::NotRun, Verdict::Passed))
    });
    step(&mut steps, "cargo-deny", cargo_deny);
    Ok(summarise(&steps, report.as_ref(), started.elapsed()))
}

/// What a step hands on besides its verdict: nothing, or a value for later steps.
trait StepResult {
    type Value;
    fn parts(self) -> (Self::Value, Verdict);
}

impl StepResult for Verdict {
    type Value = ();
    fn parts(self) -> ((), Verdict) {
        ((), self)
    }
}

impl<T> StepResult for (T, Verdict) {
    type Value = T;
    fn parts(self) -> (T, Verdict) {
        self
    }
}

fn step<R: StepResult>(
    steps: &mut Vec<Step>,
    name: &'static str,
    work: impl FnOnce() -> anyhow::Result<R>,
) -> Option<R::Value> {
    println!("── {name}");
    let started = Instant::now();
    let (value, verdict) = match work() {
        Ok(result) => {
            let (value, verdict) = result.parts();
            (Some(value), verdict)
        }
        Err(error) => (None, Verdict::Failed(format!("{error:#}"))),
    };
    let took = started.elapsed();
    println!("   {} ({:.1} s)", verdict.text(), took.as_secs_f64());
    steps.push(Step { name, verdict, took });
    value
}

impl Verdict {
    fn text(&self) -> String {
        match self {
            Self::Passed(what) => format!("passed: {what}"),
            Self::Failed(why) => format!("FAILED: {why}"),
            Self::NotRun(why) => format!("NOT RUN: {why}"),
        }
    }
}

fn cargo_step(arguments: &[&str], what: &str) -> anyhow::Result<Verdict> {
    workspace::run_to_success(workspace::cargo().args(arguments))?;
    Ok(Verdict::Passed(what.to_owned()))
}

fn tests_verdict(report: &crate::libtest::Report) -> Verdict {
    let (passed, failed) = (report.count(Outcome::Passed), report.count(Outcome::Failed));
    let ignored = report.count(Outcome::Ignored);
    let died: Vec<_> = report
        .suites
        .iter()
        .filter(|suite| suite.closing_line.is_empty())
        .map(|suite| format!("{} {}", suite.program.package, suite.program.target))
        .collect();
    if !died.is_empty() {
        Verdict::Failed(format!("ended without a result: {}", died.join(", ")))
    } else if !report.faults.is_empty() {
        Verdict::Failed(format!("results incomplete: {}", report.faults.join("; ")))
    } else if failed > 0 {
        Verdict::Failed(format!(
            "{failed} of {} tests (whole output: target/xtask/test.log)",
            passed + failed
        ))
    } else if ignored > 0 {
        Verdict::Failed(format!(
            "{ignored} tests are ignored: assert what happens today instead"
        ))
    } else if passed == 0 {
        Verdict::Failed("no test ran".to_owned())
    } else {
        Verdict::Passed(format!("{passed} tests in {} programs", report.suites.len()))
    }
}

fn panic_verdict(in_tests: &[String]) -> anyhow::Result<Verdict> {
    let log = suite::panic_log();
    let in_product = match fs::read_to_string(&log) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
        Err(error) => return Err(error).with_context(|| format!("cannot read {}", log.display())),
    };
    for panic in in_tests.iter().map(String::as_str).chain(in_product.lines()) {
        println!("   {panic}");
    }
    let count = in_tests.len() + in_product.lines().count();
    if count > 0 {
        return Ok(Verdict::Failed(format!("{count} panics, 0 allowed")));
    }
    // The positive control: a binary without the hook would always report 0.
    suite::binary_writes_panic_log()?;
    Ok(Verdict::Passed(
        "0, in all test programs and all processes they started".to_owned(),
    ))
}

fn conformance_verdict(results: &[crate::libtest::TestResult]) -> anyhow::Result<Verdict> {
    let table = conformance::Table::load()?.with_results(results);
    let faults = table.faults();
    for fault in &faults {
        println!("   {fault}");
    }
    if !faults.is_empty() {
        return Ok(Verdict::Failed(format!("{} rows or marks are wrong", faults.len())));
    }
    if !table.is_up_to_date()? {
        return Ok(Verdict::Failed(
            "docs/conformance.md is out of date: run `cargo xtask conformance`".to_owned(),
        ));
    }
    Ok(Verdict::Passed(table.counts()))
}

fn cargo_deny() -> anyhow::Result<Verdict> {
    if !workspace::is_installed("cargo-deny") {
        return Ok(Verdict::NotRun(
            "cargo-deny is not installed; bans and licences were checked by xtask's own test, advisories were not"
                .to_owned(),
        ));
    }
    let mut command = Command::new("cargo-deny");
    command
        .current_dir(workspace::root())
        .args(["--locked", "--log-level", "error"]);
    // Not the advisories: the verdict on a change must not depend on what somebody published this minute.
    command.args(["check", "bans", "licenses", "sources"]);
    workspace::run_to_success(&mut command)?;
    Ok(Verdict::Passed("bans, licences, sources".to_owned()))
}

fn summarise(steps: &[Step], report: Option<&crate::libtest::Report>, took: Duration) -> bool {
    println!("\n── summary");
    for step in steps {
        println!(
            "{:<12} {:>7.1} s  {}",
            step.name,
            step.took.as_secs_f64(),
            step.verdict.text()
        );
    }
    println!();
    if let Some(report) = report {
        for suite in &report.suites {
            println!(
                "{:<32} {:<10} {}",
                suite.program.package, suite.program.target, suite.closing_line
            );
        }
    }
    let failed_steps: Vec<_> = steps
        .iter()
        .filter(|step| matches!(step.verdict, Verdict::Failed(_)))
        .map(|step| step.name)
        .collect();
    println!("\ngate: {:.0} s in all", took.as_secs_f64());
    if failed_steps.is_empty() {
        println!("gate: passed");
    } else {
        println!("gate: FAILED at {}", failed_steps.join(", "));
    }
    let count = |outcome| report.map_or(0, |report| report.count(outcome));
    println!(
        "tests: {} passed, {} failed",
        count(Outcome::Passed),
        count(Outcome::Failed)
    );
    failed_steps.is_empty()
}
