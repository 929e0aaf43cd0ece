//! The fuzz targets below `fuzz/`: built by the gate, run for minutes by `cargo xtask fuzz`.
//!
//! Their corpus is replayed by `cargo test`, because each target's body is a plain function; nothing here is needed for
//! that. `fuzz/` is a workspace of its own: libFuzzer is C++, and the product must build without a C++ compiler.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

use crate::workspace;

fn manifest() -> PathBuf {
    workspace::root().join("fuzz/Cargo.toml")
}

/// Builds every target. `Ok(Err(reason))` when it cannot be tried on this machine.
pub(super) fn build() -> anyhow::Result<Result<String, String>> {
    if !["c++", "g++", "clang++"]
        .iter()
        .any(|compiler| workspace::is_installed(compiler))
    {
        return Ok(Err(
            "no C++ compiler (Debian: g++), which libFuzzer needs; the corpus was replayed above".to_owned(),
        ));
    }
    // Without the sanitizer: the gate shows that every target compiles and links, and shares its dependencies' builds.
    let mut command = workspace::cargo();
    command
        .args([
            "build",
            "--locked",
            "--quiet",
            "--bins",
            "--target-dir",
            "target",
            "--manifest-path",
        ])
        .arg(manifest());
    workspace::run_to_success(&mut command)?;
    Ok(Ok(format!("{} targets", targets()?.len())))
}

/// `cargo xtask fuzz [TARGET …] [--minutes N] [--keep]`: runs targets one after the other, N minutes of processor time each.
///
/// `--keep` adds what they found, now and in earlier runs, to the committed corpus: the fewest inputs that reach everything.
///
/// # Errors
/// If a target does not build. A target that finds something makes the answer false.
pub fn run(options: &[String]) -> anyhow::Result<bool> {
    let mut minutes = 10;
    let mut keep = false;
    let mut wanted = Vec::new();
    let mut options = options.iter();
    while let Some(option) = options.next() {
        match option.as_str() {
            "--minutes" => {
                let value = options.next().context("--minutes needs a number")?;
                minutes = value.parse().with_context(|| format!("--minutes {value}"))?;
            }
            "--keep" => keep = true,
            option if option.starts_with('-') => bail!("`cargo xtask fuzz` has no option `{option}`"),
            target => wanted.push(target.to_owned()),
        }
    }
    let known = targets()?;
    if let Some(unknown) = wanted.iter().find(|target| !known.contains(target)) {
        bail!("no fuzz target is called `{unknown}`: there are {}", known.join(", "));
    }
    let chosen = if wanted.is_empty() { known } else { wanted };
    let programs = build_sanitized()?;
    let mut all_clean = true;
    for name in &chosen {
        let target = Target::new(&programs, name)?;
        println!("── fuzz {name}, {minutes} minutes");
        if minutes > 0 && !target.run(Duration::from_secs(minutes * 60))? {
            println!("   FAILED: see {}", target.findings.display());
            all_clean = false;
        }
        if keep {
            target.keep()?;
        }
    }
    println!(
        "fuzz: {} targets, {minutes} minutes each, {}",
        chosen.len(),
        if all_clean { "clean" } else { "FAILED" }
    );
    Ok(all_clean)
}

/// Builds every target with coverage and the address sanitizer; returns where the programs are.
fn build_sanitized() -> anyhow::Result<PathBuf> {
    // Both are nightly flags; RUSTC_BOOTSTRAP lets the pinned stable compiler take them.
    let target_dir = target_dir();
    let triple = host_triple()?;
    let mut build = workspace::cargo();
    build
        .args([
            "build",
            "--locked",
            "--release",
            "--bins",
            "--target",
            &triple,
            "--manifest-path",
        ])
        .arg(manifest());
    build
        .arg("--target-dir")
        .arg(&target_dir)
        .env("RUSTC_BOOTSTRAP", "1")
        .env("RUSTFLAGS", FUZZ_FLAGS.join(" "));
    workspace::run_to_success(&mut build)?;
    Ok(target_dir.join(triple).join("release"))
}

/// One target and where its inputs are.
struct Target {
    program: PathBuf,
    /// What it found itself; never committed.
    found: PathBuf,
    /// The committed inputs.
    corpus: PathBuf,
    /// The inputs that broke a property.
    findings: PathBuf,
}

impl Target {
    fn new(programs: &Path, name: &str) -> anyhow::Result<Target> {
        let target = Target {
            program: programs.join(name),
            found: target_dir().join("corpus").join(name),
            corpus: workspace::root().join("fuzz/corpus").join(name),
            findings: workspace::root().join("fuzz/artifacts").join(name),
        };
        fs::create_dir_all(&target.found)?;
        fs::create_dir_all(&target.findings)?;
        Ok(target)
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.current_dir(workspace::root());
        command
            .args(["-timeout=10", "-verbosity=0", "-print_funcs=0"])
            .arg(format!("-artifact_prefix={}/", self.findings.display()));
        command
    }

    /// Runs it for this much processor time. True if no property broke.
    fn run(&self, processor_time: Duration) -> anyhow::Result<bool> {
        let mut command = self.command();
        // What it finds goes to the first directory; the committed corpus is only read.
        command
            .args(["-max_len=65536", "-print_final_stats=1"])
            .arg(&self.found)
            .arg(&self.corpus);
        let mut child = command.spawn().context("cannot start the fuzz target")?;
        // libFuzzer only knows the time on the wall, which on a busy machine is not time spent.
        let started = Instant::now();
        loop {
            if let Some(status) = child.try_wait()? {
                return Ok(status.success());
            }
            if processor_time_of(child.id()).unwrap_or_else(|| started.elapsed()) >= processor_time {
                // It ends the input at hand, prints its figures and succeeds.
                workspace::run_to_success(Command::new("kill").args(["-USR1", &child.id().to_string()]))?;
                return Ok(child.wait()?.success());
            }
            thread::sleep(Duration::from_millis(500));
        }
    }

    fn keep(&self) -> anyhow::Result<()> {
        let mut command = self.command();
        // The first directory gets what it lacks. Long inputs reach little that short ones do not.
        command
            .args(["-set_cover_merge=1", "-max_len=2048"])
            .arg(&self.corpus)
            .arg(&self.found);
        workspace::run_to_success(&mut command)
    }
}

/// The processor time of a running process; `None` where there is no `/proc`.
fn processor_time_of(process: u32) -> Option<Duration> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // The second field, the program's name, is in brackets and may hold blanks; the 14th and 15th are user and system time,
    // in hundredths of a second on every Linux.
    let (_, fields) = stat.rsplit_once(')')?;
    let hundredths = fields.split_whitespace().skip(11).take(2);
    let hundredths: u64 = hundredths.map(|field| field.parse::<u64>().unwrap_or(0)).sum();
    Some(Duration::from_millis(hundredths * 10))
}

fn target_dir() -> PathBuf {
    workspace::root().join("fuzz/target")
}

const FUZZ_FLAGS: [&str; 9] = [
    "-Zsanitizer=address",
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
    "-Ccodegen-units=1",
    "-Cdebug-assertions",
    "--cfg=fuzzing",
];

/// The names of the binaries of `fuzz/Cargo.toml`.
fn targets() -> anyhow::Result<Vec<String>> {
    let text = fs::read_to_string(manifest()).context("cannot read fuzz/Cargo.toml")?;
    let manifest: toml::Table = text.parse().context("fuzz/Cargo.toml")?;
    let binaries = manifest
        .get("bin")
        .and_then(toml::Value::as_array)
        .context("fuzz/Cargo.toml has no [[bin]]")?;
    let names = binaries.iter().filter_map(|binary| binary.get("name")?.as_str());
    Ok(names.map(str::to_owned).collect())
}

fn host_triple() -> anyhow::Result<String> {
    let version = workspace::output_of(Command::new("rustc").arg("-vV"))?;
    let host = version
        .lines()
        .find_map(|line| line.strip_prefix("host: "))
        .context("rustc names no host")?;
    Ok(host.to_owned())
}
