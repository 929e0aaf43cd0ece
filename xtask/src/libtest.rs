//! Reads what `cargo test` prints: which test of which program passed, and whether a passing test hid a panic.
//!
//! A panic in a task or thread that a test started does not fail that test. With `--show-output` libtest prints what
//! passing tests wrote, so such a panic is seen here without any of the tests taking part.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

/// How one test ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// It ran and held.
    Passed,
    /// It ran and did not hold.
    Failed,
    /// It was not run.
    Ignored,
}

/// One line `test … ok` of one test program.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TestResult {
    /// The package, as `keybound-protocol`.
    pub package: String,
    /// `lib`, `doc`, or the name of the binary or of the directory below `tests/`.
    pub target: String,
    /// The path libtest prints: `rfc8705_2_1::refuses_expired`.
    pub name: String,
    /// How it ended.
    pub outcome: Outcome,
}

/// Which package and target a test program belongs to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TestProgram {
    /// The package, as `keybound-protocol`.
    pub package: String,
    /// As in [`TestResult::target`].
    pub target: String,
}

/// What one test program reported, for the summary.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Suite {
    /// Whose tests these are.
    pub program: TestProgram,
    /// The closing line, `ok. 12 passed; 0 failed; …`; empty when the program died before it.
    pub closing_line: String,
}

/// A reader that is fed line by line, standard output and standard error in the order they were written.
#[derive(Debug, Default)]
pub struct Reader {
    /// From the path in cargo's `Running` line to the program.
    programs: BTreeMap<String, TestProgram>,
    section: Section,
    suites: Vec<Suite>,
    results: Vec<TestResult>,
    panics: Vec<String>,
    /// Tests of the current program that are marked `#[should_panic]`.
    demanded_panics: BTreeSet<String>,
    announced: usize,
    counted: usize,
    faults: Vec<String>,
}

#[derive(Debug, Default, PartialEq, Eq)]
enum Section {
    #[default]
    BetweenPrograms,
    Tests,
    /// The captured output of one passing test, named.
    OutputOf(String),
    Failures,
}

impl Reader {
    /// `programs` maps the file name of each test executable to what it tests.
    pub fn new(programs: BTreeMap<String, TestProgram>) -> Self {
        Self {
            programs,
            ..Self::default()
        }
    }

    /// Takes the next line. Returns whether a person should see it now.
    pub fn line(&mut self, line: &str) -> bool {
        let trimmed = line.trim();
        if let Some(program) = self.started_program(trimmed) {
            self.close_program();
            self.demanded_panics.clear();
            self.suites.push(Suite {
                program,
                closing_line: String::new(),
            });
            self.section = Section::BetweenPrograms;
            return false;
        }
        if let Some(count) = trimmed
            .strip_prefix("running ")
            .and_then(|rest| rest.split(' ').next()?.parse().ok())
        {
            (self.announced, self.counted, self.section) = (count, 0, Section::Tests);
            return false;
        }
        if let Some(closing_line) = trimmed.strip_prefix("test result: ") {
            if let Some(suite) = self.suites.last_mut() {
                suite.closing_line = closing_line.to_owned();
            }
            self.close_program();
            return false;
        }
        match trimmed {
            "successes:" => self.section = Section::OutputOf(String::new()),
            "failures:" => self.section = Section::Failures,
            _ => return self.body_line(line, trimmed),
        }
        self.section == Section::Failures
    }

    fn body_line(&mut self, line: &str, trimmed: &str) -> bool {
        if self.section == Section::Tests
            && let Some((printed_name, outcome)) = test_line(trimmed)
        {
            let name = printed_name
                .strip_suffix(" - should panic")
                .unwrap_or(printed_name)
                .to_owned();
            if name != printed_name {
                self.demanded_panics.insert(name.clone());
            }
            let program = self
                .suites
                .last()
                .map(|suite| suite.program.clone())
                .unwrap_or_default();
            self.counted += 1;
            self.results.push(TestResult {
                package: program.package,
                target: program.target,
                name,
                outcome,
            });
            return outcome == Outcome::Failed;
        }
        if let Section::OutputOf(_) = self.section
            && let Some(name) = line
                .strip_prefix("---- ")
                .and_then(|rest| rest.strip_suffix(" stdout ----"))
        {
            self.section = Section::OutputOf(name.to_owned());
            return false;
        }
        if is_panic_message(trimmed) {
            match &self.section {
                // The failed test says it already.
                Section::Failures => {}
                // `#[should_panic]`: the panic is what the test demands.
                Section::OutputOf(test) if self.demanded_panics.contains(test) => {}
                Section::OutputOf(test) => self.panics.push(format!("during {test}: {trimmed}")),
                Section::Tests | Section::BetweenPrograms => self.panics.push(trimmed.to_owned()),
            }
        }
        match self.section {
            Section::Failures => true,
            // Between programs only cargo speaks: errors are worth seeing.
            Section::BetweenPrograms => trimmed.starts_with("error"),
            Section::Tests | Section::OutputOf(_) => false,
        }
    }

    fn started_program(&self, line: &str) -> Option<TestProgram> {
        if let Some(library) = line.strip_prefix("Doc-tests ") {
            return Some(TestProgram {
                package: library.replace('_', "-"),
                target: "doc".to_owned(),
            });
        }
        let path = line.strip_prefix("Running ")?.rsplit_once('(')?.1.strip_suffix(')')?;
        let file = path.rsplit('/').next()?;
        Some(self.programs.get(file).cloned().unwrap_or_else(|| TestProgram {
            package: "unknown".to_owned(),
            target: file.to_owned(),
        }))
    }

    /// Checks that no line of a program was lost in other output: a table made from half the lines would be wrong.
    fn close_program(&mut self) {
        if self.counted != self.announced {
            let program = self
                .suites
                .last()
                .map(|suite| suite.program.clone())
                .unwrap_or_default();
            self.faults.push(format!(
                "{} {}: {} tests announced, {} reported",
                program.package, program.target, self.announced, self.counted
            ));
        }
        (self.announced, self.counted, self.section) = (0, 0, Section::BetweenPrograms);
    }

    /// Everything read, once the last line was taken.
    pub fn finish(mut self) -> Report {
        self.close_program();
        Report {
            suites: self.suites,
            results: self.results,
            panics: self.panics,
            faults: self.faults,
        }
    }
}

/// What a whole run of `cargo test` said.
#[derive(Debug, Default)]
pub struct Report {
    /// One entry per test program, in order.
    pub suites: Vec<Suite>,
    /// One entry per test.
    pub results: Vec<TestResult>,
    /// Panics that failed no test.
    pub panics: Vec<String>,
    /// Why the results may be incomplete; empty when they are whole.
    pub faults: Vec<String>,
}

impl Report {
    /// How many tests ended as `outcome`.
    pub fn count(&self, outcome: Outcome) -> usize {
        self.results.iter().filter(|result| result.outcome == outcome).count()
    }
}

/// `test a::b ... ok`: the name and how it ended.
fn test_line(line: &str) -> Option<(&str, Outcome)> {
    let (name, verdict) = line.strip_prefix("test ")?.rsplit_once(" ... ")?;
    let outcome = match verdict.split([',', ' ']).next()? {
        "ok" => Outcome::Passed,
        "FAILED" => Outcome::Failed,
        "ignored" => Outcome::Ignored,
        _ => return None,
    };
    Some((name, outcome))
}

fn is_panic_message(line: &str) -> bool {
    line.starts_with("thread '") && line.contains(" panicked at ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Report {
        let program = TestProgram {
            package: "keybound-tls".to_owned(),
            target: "it".to_owned(),
        };
        let mut reader = Reader::new(BTreeMap::from([("it-0f".to_owned(), program)]));
        for line in text.lines() {
            reader.line(line);
        }
        reader.finish()
    }

    const RUN: &str = "     Running tests/it/main.rs (target/debug/deps/it-0f)\n\nrunning 3 tests\n\
        test rfc8705_2::accepts ... ok\ntest rfc8705_2::refuses - should panic ... ok\ntest limits::head ... FAILED\n\n";

    #[test]
    fn names_the_package_of_each_test() {
        let report = read(&format!("{RUN}test result: FAILED. 2 passed; 1 failed; 0 ignored\n"));
        let names: Vec<_> = report
            .results
            .iter()
            .map(|result| (&*result.package, &*result.name))
            .collect();
        assert_eq!(
            names,
            [
                ("keybound-tls", "rfc8705_2::accepts"),
                ("keybound-tls", "rfc8705_2::refuses"),
                ("keybound-tls", "limits::head")
            ]
        );
        assert_eq!((report.count(Outcome::Passed), report.count(Outcome::Failed)), (2, 1));
        assert!(report.faults.is_empty(), "{:?}", report.faults);
    }

    #[test]
    fn a_lost_line_is_a_fault() {
        let report = read(&RUN.replace("test limits::head ... FAILED", "garbage test limits::head ... ok"));
        assert_eq!(report.faults, ["keybound-tls it: 3 tests announced, 2 reported"]);
    }

    #[test]
    fn a_panic_inside_a_passing_test_is_reported() {
        let section = "successes:\n\n---- rfc8705_2::accepts stdout ----\n\
            thread 'tokio-runtime-worker' (7) panicked at crates/tls/src/accept.rs:9:5:\n";
        let report = read(&format!("{RUN}{section}"));
        assert_eq!(
            report.panics,
            ["during rfc8705_2::accepts: thread 'tokio-runtime-worker' (7) panicked at crates/tls/src/accept.rs:9:5:"]
        );
    }

    #[test]
    fn a_panic_that_a_test_demands_is_not() {
        let section = "successes:\n\n---- rfc8705_2::refuses stdout ----\n\
            thread 'main' (7) panicked at crates/tls/src/accept.rs:9:5:\n";
        assert!(read(&format!("{RUN}{section}")).panics.is_empty());
    }

    #[test]
    fn a_panic_of_a_failed_test_is_told_once() {
        let section = "failures:\n\n---- limits::head stdout ----\n\
            thread 'limits::head' (7) panicked at crates/tls/tests/it/limits.rs:9:5:\n";
        assert!(read(&format!("{RUN}{section}")).panics.is_empty());
    }
}
