//! The fuzz targets below `fuzz/`: built by the gate, run for minutes by `cargo xtask fuzz`.
//!
//! Their corpus is replayed by `cargo test`, because each target's body is a plain function; nothing here is needed for
//! that. `fuzz/` is a workspace of its own: libFuzzer is C++, and the product must build without a C++ compiler.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

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

/// `cargo xtask fuzz [--minutes N] [TARGET …]`.
///
/// # Errors
/// If a target does not build. A target that finds something makes the answer false.
pub fn run(options: &[String]) -> anyhow::Result<bool> {
    let mut minutes = 10;
    let mut wanted = Vec::new();
    let mut options = options.iter();
    while let Some(option) = options.next() {
        match option.as_str() {
            "--minutes" => {
                let value = options.next().context("--minutes needs a number")?;
                minutes = value.parse().with_context(|| format!("--minutes {value}"))?;
            }
            option if option.starts_with('-') => bail!("`cargo xtask fuzz` has no option `{option}`"),
            target => wanted.push(target.to_owned()),
        }
    }
    let known = targets()?;
    if let Some(unknown) = wanted.iter().find(|target| !known.contains(target)) {
        bail!("no fuzz target is called `{unknown}`: there are {}", known.join(", "));
    }
    let chosen = if wanted.is_empty() { known } else { wanted };
    // Coverage and the address sanitizer are nightly flags; RUSTC_BOOTSTRAP lets the pinned stable compiler take them.
    let target_dir = workspace::root().join("fuzz/target");
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
    let mut all_clean = true;
    for target in &chosen {
        let program = target_dir.join(&triple).join("release").join(target);
        let new_inputs = target_dir.join("corpus").join(target);
        let findings = workspace::root().join("fuzz/artifacts").join(target);
        fs::create_dir_all(&new_inputs)?;
        fs::create_dir_all(&findings)?;
        println!("── fuzz {target}, {minutes} minutes");
        let mut command = Command::new(program);
        command.current_dir(workspace::root());
        command
            .arg(format!("-max_total_time={}", minutes * 60))
            .args(["-print_final_stats=1", "-verbosity=0"]);
        command
            .args(["-max_len=65536", "-timeout=10"])
            .arg(format!("-artifact_prefix={}/", findings.display()));
        // What it finds goes to the first directory; the committed corpus is only read.
        command
            .arg(&new_inputs)
            .arg(workspace::root().join("fuzz/corpus").join(target));
        if !command.status()?.success() {
            println!("   FAILED: see {}", findings.display());
            all_clean = false;
        }
    }
    println!(
        "fuzz: {} targets, {minutes} minutes each, {}",
        chosen.len(),
        if all_clean { "clean" } else { "FAILED" }
    );
    Ok(all_clean)
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
