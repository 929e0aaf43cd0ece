//! Builds every test program, runs them, and reads what they print.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use anyhow::{Context, bail};

use crate::libtest::{Reader, Report, TestProgram};
use crate::{processes, workspace};

/// A test that says nothing for so long hangs, and is ended rather than waited for.
const SILENCE_MAX: Duration = Duration::from_secs(600);

const TEST_ARGUMENTS: [&str; 5] = ["test", "--workspace", "--locked", "--no-fail-fast", "--color=never"];

/// Where the processes under test note their panics.
pub(super) fn panic_log() -> PathBuf {
    workspace::state_dir().join("panics.log")
}

/// Where the results are kept for `cargo xtask conformance`.
pub(crate) fn results_file() -> PathBuf {
    workspace::state_dir().join("results.json")
}

/// The binary that the tests start, as `cargo test` builds it.
pub(super) fn binary() -> PathBuf {
    workspace::root().join("target/debug/keybound")
}

fn cargo_test() -> Command {
    let mut command = workspace::cargo();
    command.args(TEST_ARGUMENTS);
    command
}

/// Builds the test programs. Returns the program behind each executable's file name.
pub(super) fn build() -> anyhow::Result<BTreeMap<String, TestProgram>> {
    let mut command = cargo_test();
    command
        .args(["--no-run", "--message-format=json-render-diagnostics"])
        .stderr(Stdio::inherit());
    let messages = workspace::output_of(&mut command)?;
    let mut programs = BTreeMap::new();
    for line in messages.lines().filter(|line| line.starts_with('{')) {
        let message: serde_json::Value = serde_json::from_str(line).context("a message of cargo's is not JSON")?;
        let text = |pointer: &str| {
            message
                .pointer(pointer)
                .and_then(|value| value.as_str())
                .unwrap_or_default()
        };
        let is_test = message
            .pointer("/profile/test")
            .and_then(|value| value.as_bool())
            .unwrap_or(false);
        let Some(file_name) = text("/executable")
            .rsplit('/')
            .next()
            .filter(|name| is_test && !name.is_empty())
        else {
            continue;
        };
        let target = if text("/target/kind/0") == "lib" {
            "lib"
        } else {
            text("/target/name")
        };
        let program = TestProgram {
            package: package_name(text("/package_id")).to_owned(),
            target: target.to_owned(),
        };
        programs.insert(file_name.to_owned(), program);
    }
    if programs.is_empty() {
        bail!("cargo named no test program");
    }
    Ok(programs)
}

/// `path+file:///…/crates/tls#keybound-tls@0.1.0`, or `…/xtask#0.1.0` where directory and package agree.
fn package_name(package_id: &str) -> &str {
    let (path, fragment) = package_id.rsplit_once('#').unwrap_or(("", package_id));
    match fragment.split_once('@') {
        Some((name, _)) => name,
        None => path.rsplit('/').next().unwrap_or(fragment),
    }
}

/// Runs every test once. The whole output goes to `target/xtask/test.log`, failures also to the terminal.
pub(super) fn run(programs: BTreeMap<String, TestProgram>) -> anyhow::Result<Report> {
    let _ = fs::remove_file(panic_log());
    let (output, output_writer) = std::io::pipe().context("cannot make a pipe")?;
    // One pipe for both, so that cargo's `Running` lines stay in front of the results they belong to.
    let mut command = cargo_test();
    command
        .args(["--", "--show-output"])
        .env("KEYBOUND_PANIC_LOG", panic_log())
        .env_remove("RUST_BACKTRACE");
    command
        .stdin(Stdio::null())
        .stdout(output_writer.try_clone()?)
        .stderr(output_writer);
    let mut child = command.spawn().context("cannot start `cargo test`")?;
    drop(command); // Our copies of the pipe's end: with them open the reader would never see the end of the output.

    let (line_sender, lines) = mpsc::channel();
    std::thread::spawn(move || {
        for line in BufReader::new(output).split(b'\n').map_while(Result::ok) {
            if line_sender.send(String::from_utf8_lossy(&line).into_owned()).is_err() {
                break;
            }
        }
    });
    let mut log = File::create(workspace::state_dir().join("test.log"))?;
    let mut reader = Reader::new(programs);
    loop {
        match lines.recv_timeout(SILENCE_MAX) {
            Ok(line) => {
                writeln!(log, "{line}")?;
                if reader.line(&line) {
                    println!("   {line}");
                }
            }
            Err(mpsc::RecvTimeoutError::Disconnected) => break,
            Err(mpsc::RecvTimeoutError::Timeout) => {
                processes::end_tree(&mut child);
                bail!(
                    "no test said anything for {} s; see the end of target/xtask/test.log",
                    SILENCE_MAX.as_secs()
                );
            }
        }
    }
    let status = child.wait()?;
    let report = reader.finish();
    fs::write(results_file(), serde_json::to_vec_pretty(&report.results)?)?;
    if !status.success()
        && report
            .results
            .iter()
            .all(|result| result.outcome != crate::libtest::Outcome::Failed)
    {
        bail!("`cargo test` ended with {status} though no test failed; see target/xtask/test.log");
    }
    Ok(report)
}

/// Fails if the binary under test was built without the hook that writes the panic log.
pub(super) fn binary_writes_panic_log() -> anyhow::Result<()> {
    let binary = binary();
    let content = fs::read(&binary).with_context(|| format!("cannot read {}", binary.display()))?;
    let name = b"KEYBOUND_PANIC_LOG";
    if !content.windows(name.len()).any(|window| window == name) {
        bail!("the keybound binary never reads KEYBOUND_PANIC_LOG: its panics would go uncounted");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::package_name;

    #[test]
    fn reads_both_spellings_of_a_package_id() {
        assert_eq!(
            package_name("path+file:///k/crates/tls#keybound-tls@0.1.0"),
            "keybound-tls"
        );
        assert_eq!(package_name("path+file:///k/xtask#0.1.0"), "xtask");
    }
}
