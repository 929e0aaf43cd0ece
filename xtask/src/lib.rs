//! Repository chores, in Rust: nothing here is part of the product.
//!
//! - [`gate`]: `cargo xtask test`, what a change must pass.
//! - [`peers`]: `cargo xtask setup`, programs and packages of other people that the tests talk to.
//! - [`conformance`]: `cargo xtask conformance`, the table of requirements and the tests that show them.
//! - [`mod@bench`]: `cargo xtask bench`, speed and size beside peers on one machine.
//! - [`import_wall`]: which crate may depend on which.
//! - [`dependency_policy`]: which crates of other people, under which licences.
//!
//! Deliberately not here: anything a user of Keybound runs.
#![expect(
    clippy::print_stdout,
    reason = "a program of chores reports to the terminal it was started from"
)]

pub mod bench;
pub mod conformance;
pub mod dependency_policy;
pub mod gate;
pub mod import_wall;
pub mod libtest;
pub mod peers;
pub mod processes;
pub mod workspace;

use std::process::ExitCode;

/// Every chore with the line that explains it, in the order of the help text. README's commands are checked against it.
pub const CHORES: [(&str, &str); 5] = [
    (
        "test",
        "the gate: format, lints, documents, every test, panics, conformance, fuzz targets, dependencies, README",
    ),
    (
        "setup",
        "install what the tests need from other people: Debian, npm and Python packages (part of `test`)",
    ),
    (
        "conformance",
        "write docs/conformance.md from docs/requirements.toml, the marks in tests, and the last run",
    ),
    (
        "bench",
        "measure against the ceiling, nginx and a minimal proxy; writes docs/performance.md (--quick: a smoke test)",
    ),
    (
        "fuzz",
        "run the fuzz targets named, or all, --minutes N of processor time each (default 10); --keep adds what they found",
    ),
];

/// Runs the chore that `arguments` name.
pub fn run(arguments: &[String]) -> ExitCode {
    let (chore, options) = match arguments.split_first() {
        Some((chore, options)) => (chore.as_str(), options),
        None => ("help", arguments),
    };
    let result = match chore {
        "test" => gate::run(options),
        "setup" => peers::set_up().map(|report| {
            println!("{report}");
            true
        }),
        "conformance" => conformance::run(options),
        "bench" => bench::run(options),
        "fuzz" => gate::fuzz::run(options),
        "help" | "--help" | "-h" => {
            print_help();
            Ok(true)
        }
        unknown => Err(anyhow::anyhow!(
            "no chore is called `{unknown}`; `cargo xtask help` lists them"
        )),
    };
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            println!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn print_help() {
    println!("cargo xtask CHORE\n");
    for (chore, explanation) in CHORES {
        println!("  {chore:<12} {explanation}");
    }
}
