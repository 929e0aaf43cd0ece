//! `cargo xtask conformance`: the table of requirements, made from three things.
//!
//! 1. `docs/requirements.toml` says what is required, where it is implemented, and of a row that no test shows, why.
//! 2. A mark `// covers ID, ID` above a test says which rows that test shows ([`marks`]).
//! 3. The last run of `cargo xtask test` says whether those tests passed.
//!
//! The committed `docs/conformance.md` is the table of a run in which all of them did. A test compares it with the first
//! two, the gate with all three.

pub mod marks;
pub mod requirements;

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::path::PathBuf;

use anyhow::{Context, bail};

use crate::conformance::marks::Mark;
use crate::conformance::requirements::{Requirement, Requirements, Status};
use crate::libtest::{Outcome, TestResult};
use crate::{gate, workspace};

/// Writes `docs/conformance.md` from the last run. False if that run does not show what the table claims.
///
/// # Errors
/// If the rows or the marks cannot be read, or the document cannot be written.
pub fn run(options: &[String]) -> anyhow::Result<bool> {
    if let Some(unknown) = options.first() {
        bail!("`cargo xtask conformance` takes no options (got `{unknown}`)");
    }
    let mut table = Table::load()?;
    let results_file = gate::results_file();
    if let Ok(text) = fs::read_to_string(&results_file) {
        let results: Vec<TestResult> = serde_json::from_str(&text).context("target/xtask/results.json")?;
        table = table.with_results(&results);
    } else {
        println!("no run to read: the table takes every marked test as passed; `cargo xtask test` checks that");
    }
    let faults = table.faults();
    for fault in &faults {
        println!("{fault}");
    }
    fs::write(document(), table.to_markdown()).context("cannot write docs/conformance.md")?;
    println!("docs/conformance.md: {}", table.counts());
    Ok(faults.is_empty())
}

fn document() -> PathBuf {
    workspace::root().join("docs/conformance.md")
}

/// The rows with the tests that show them.
#[derive(Debug)]
pub struct Table {
    requirements: Requirements,
    marks: Vec<Mark>,
    /// How each mark's test ended, in the order of `marks`; `None` without a run to look at.
    verdicts: Option<Vec<MarkVerdict>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum MarkVerdict {
    Passed,
    Failed,
    NotRun,
}

impl Table {
    /// Reads rows and marks; every marked test counts as passed.
    ///
    /// # Errors
    /// If `docs/requirements.toml` or a source file cannot be read.
    pub fn load() -> anyhow::Result<Self> {
        Ok(Self::new(Requirements::load()?, marks::in_workspace()?))
    }

    /// A table of these rows and marks.
    pub fn new(requirements: Requirements, marks: Vec<Mark>) -> Self {
        Self {
            requirements,
            marks,
            verdicts: None,
        }
    }

    /// The same table, each mark judged by a run.
    #[must_use]
    pub fn with_results(mut self, results: &[TestResult]) -> Self {
        let verdict = |mark: &Mark| {
            let mut outcomes = results
                .iter()
                .filter(|result| mark.names(result))
                .map(|result| result.outcome)
                .peekable();
            if outcomes.peek().is_none() {
                MarkVerdict::NotRun
            } else if outcomes.all(|outcome| outcome == Outcome::Passed) {
                MarkVerdict::Passed
            } else {
                MarkVerdict::Failed
            }
        };
        self.verdicts = Some(self.marks.iter().map(verdict).collect());
        self
    }

    fn marks_of(&self, id: &str) -> impl Iterator<Item = (&Mark, MarkVerdict)> {
        let verdict = |place: usize| match &self.verdicts {
            Some(verdicts) => verdicts.get(place).copied().unwrap_or(MarkVerdict::NotRun),
            None => MarkVerdict::Passed,
        };
        let with_verdicts = self
            .marks
            .iter()
            .enumerate()
            .map(move |(place, mark)| (mark, verdict(place)));
        with_verdicts.filter(move |(mark, _)| mark.ids.iter().any(|covered| covered == id))
    }

    /// Everything wrong with rows and marks, as sentences; empty when the table may be believed.
    pub fn faults(&self) -> Vec<String> {
        let mut faults = self.requirements.faults();
        let known = self.requirements.ids();
        for mark in &self.marks {
            if mark.test.is_empty() {
                faults.push(format!("{}:{}: this mark stands above no test", mark.file, mark.line));
            }
            for id in mark.ids.iter().filter(|id| !known.contains(id.as_str())) {
                faults.push(format!("{}:{}: no requirement is called `{id}`", mark.file, mark.line));
            }
        }
        for requirement in self.requirements.claimed() {
            let id = &requirement.id;
            let tests: Vec<_> = self.marks_of(id).collect();
            if requirement.status == Status::Shown && tests.is_empty() {
                faults.push(format!("{id}: no test covers it"));
            }
            // A row that comes later may be shown in part; nobody can show what is somebody else's.
            if requirement.status == Status::NotOurs
                && let Some((mark, _)) = tests.first()
            {
                faults.push(format!("{id}: it says `not-ours`, but {} covers it", mark.test));
            }
            for (mark, verdict) in tests {
                match verdict {
                    MarkVerdict::Passed => {}
                    MarkVerdict::Failed => faults.push(format!("{id}: {} in {} failed", mark.test, mark.file)),
                    MarkVerdict::NotRun => faults.push(format!("{id}: {} in {} did not run", mark.test, mark.file)),
                }
            }
        }
        faults
    }

    /// Whether the committed document is this table.
    ///
    /// # Errors
    /// If the document cannot be read.
    pub fn is_up_to_date(&self) -> anyhow::Result<bool> {
        let committed = fs::read_to_string(document()).context("cannot read docs/conformance.md")?;
        Ok(committed == self.to_markdown())
    }

    /// How many rows are what, in one line.
    pub fn counts(&self) -> String {
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        for requirement in self.requirements.claimed() {
            *counts.entry(requirement.status.name()).or_default() += 1;
        }
        let count = |status: Status| counts.get(status.name()).copied().unwrap_or(0);
        let tests = self.marks.len();
        format!(
            "{} rows: {} shown by tests, {} later, {} not ours; {tests} marked tests",
            self.requirements.claimed().count(),
            count(Status::Shown),
            count(Status::Later),
            count(Status::NotOurs)
        )
    }

    /// The document.
    pub fn to_markdown(&self) -> String {
        let mut text = String::from(HEAD);
        let _ = writeln!(text, "{}.", self.counts());
        for section in &self.requirements.section {
            let rows: Vec<_> = section
                .row
                .iter()
                .filter(|row| section.is_claimed() || self.has_marks(row))
                .collect();
            if rows.is_empty() {
                continue;
            }
            let _ = writeln!(text, "\n## {}\n", section.title);
            if let Some(note) = &section.note {
                let _ = writeln!(text, "{note}\n");
            }
            text.push_str(
                "| id | source | level | what is required | implemented in | shown by |\n|---|---|---|---|---|---|\n",
            );
            for row in rows {
                self.write_row(&mut text, row);
            }
        }
        text
    }

    fn has_marks(&self, row: &Requirement) -> bool {
        self.marks_of(&row.id).next().is_some()
    }

    fn write_row(&self, text: &mut String, row: &Requirement) {
        let places: Vec<_> = row
            .at
            .iter()
            .map(|path| format!("[`{}`](../{path})", short(path)))
            .collect();
        let mut shown_by: Vec<_> = self
            .marks_of(&row.id)
            .map(|(mark, verdict)| mark_cell(mark, verdict))
            .collect();
        shown_by.dedup();
        let mut last = match row.status {
            Status::Shown if shown_by.is_empty() => "**no test**".to_owned(),
            Status::Shown => shown_by.join(", "),
            Status::Later if shown_by.is_empty() => format!("*later*: {}", row.why),
            Status::Later => format!("*later*: {}; so far {}", row.why, shown_by.join(", ")),
            Status::NotOurs => format!("*not ours*: {}", row.why),
        };
        if row.status == Status::Shown && !row.why.is_empty() {
            let _ = write!(last, ". {}", row.why);
        }
        let cells = [
            row.id.as_str(),
            &row.source,
            &row.level,
            &row.text,
            &places.join(", "),
            &last,
        ];
        let cells: Vec<_> = cells.iter().map(|cell| cell.replace('|', "\\|")).collect();
        let _ = writeln!(text, "| {} |", cells.join(" | "));
    }
}

fn mark_cell(mark: &Mark, verdict: MarkVerdict) -> String {
    let suffix = match verdict {
        MarkVerdict::Passed => "",
        MarkVerdict::Failed => " **FAILED**",
        MarkVerdict::NotRun => " **not run**",
    };
    format!("[`{}`](../{}){suffix}", mark.test, mark.file)
}

/// `crates/tls/src/accept.rs` as `tls/accept.rs`.
fn short(path: &str) -> String {
    path.strip_prefix("crates/").unwrap_or(path).replace("/src/", "/")
}

const HEAD: &str = "# Conformance

Made by `cargo xtask conformance` from [requirements.toml](requirements.toml), the marks `// covers ID` above tests, and
the results of the last `cargo xtask test`; a test fails when this file is out of date. The words are ours: the text of
the specification decides. Levels are the source's own keywords; BEH is behaviour it states without a keyword, DEF a
definition, ADV advice, DRV our own consequence or decision.

";

#[cfg(test)]
mod tests {
    use super::*;

    const ROWS: &str = r#"
        [[section]]
        title = "Tokens"
        [[section.row]]
        id = "X-1"
        source = "RFC 1 §1"
        level = "MUST"
        text = "Bound."
        status = "shown"
        at = ["xtask/src/lib.rs"]
        [[section.row]]
        id = "X-2"
        source = "RFC 1 §2"
        level = "MAY"
        text = "Refreshed."
        status = "later"
        why = "refresh tokens"
        [[section.row]]
        id = "X-3"
        source = "RFC 1 §3"
        level = "MAY"
        text = "Agreed."
        status = "not-ours"
        why = "operators"
    "#;

    fn mark(ids: &[&str]) -> Mark {
        Mark {
            ids: ids.iter().map(|id| (*id).to_owned()).collect(),
            file: "crates/tls/tests/it/rfc1.rs".to_owned(),
            line: 7,
            test: "refuses".to_owned(),
        }
    }

    fn table(marks: Vec<Mark>) -> Table {
        Table::new(Requirements::parse(ROWS).expect("the rows above parse"), marks)
    }

    fn result(outcome: Outcome) -> TestResult {
        TestResult {
            package: "keybound-tls".to_owned(),
            target: "it".to_owned(),
            name: "rfc1::refuses".to_owned(),
            outcome,
        }
    }

    #[test]
    fn a_shown_row_names_its_tests() {
        let table = table(vec![mark(&["X-1"])]);
        assert_eq!(table.faults(), Vec::<String>::new());
        let row = "| X-1 | RFC 1 §1 | MUST | Bound. | [`xtask/lib.rs`](../xtask/src/lib.rs) | \
                   [`refuses`](../crates/tls/tests/it/rfc1.rs) |";
        assert!(table.to_markdown().contains(row), "{}", table.to_markdown());
    }

    #[test]
    fn a_shown_row_without_a_test_is_a_fault() {
        assert_eq!(table(vec![]).faults(), ["X-1: no test covers it"]);
    }

    #[test]
    fn a_mark_with_an_unknown_id_is_a_fault() {
        let faults = table(vec![mark(&["X-1", "X-9"])]).faults();
        assert_eq!(
            faults,
            ["crates/tls/tests/it/rfc1.rs:7: no requirement is called `X-9`"]
        );
    }

    #[test]
    fn a_mark_above_no_test_is_a_fault() {
        let mut lost = mark(&["X-1"]);
        lost.test.clear();
        let faults = table(vec![mark(&["X-1"]), lost]).faults();
        assert_eq!(
            faults,
            ["crates/tls/tests/it/rfc1.rs:7: this mark stands above no test"]
        );
    }

    #[test]
    fn a_row_of_somebody_else_that_a_test_shows_is_a_fault() {
        let faults = table(vec![mark(&["X-1", "X-3"])]).faults();
        assert_eq!(faults, ["X-3: it says `not-ours`, but refuses covers it"]);
    }

    #[test]
    fn a_row_put_off_may_be_shown_in_part() {
        let table = table(vec![mark(&["X-1", "X-2"])]);
        assert_eq!(table.faults(), Vec::<String>::new());
        let cell = "*later*: refresh tokens; so far [`refuses`](../crates/tls/tests/it/rfc1.rs)";
        assert!(table.to_markdown().contains(cell), "{}", table.to_markdown());
    }

    #[test]
    fn a_marked_test_that_failed_or_did_not_run_is_a_fault() {
        let failed = table(vec![mark(&["X-1"])]).with_results(&[result(Outcome::Failed)]);
        assert_eq!(failed.faults(), ["X-1: refuses in crates/tls/tests/it/rfc1.rs failed"]);
        assert!(failed.to_markdown().contains("**FAILED**"));
        let absent = table(vec![mark(&["X-1"])]).with_results(&[]);
        assert_eq!(
            absent.faults(),
            ["X-1: refuses in crates/tls/tests/it/rfc1.rs did not run"]
        );
        let passed = table(vec![mark(&["X-1"])]).with_results(&[result(Outcome::Passed)]);
        assert!(passed.faults().is_empty());
        assert_eq!(passed.to_markdown(), table(vec![mark(&["X-1"])]).to_markdown());
    }
}
