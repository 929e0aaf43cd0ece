//! Marks in tests: `// covers MTLS-3-11, MTLS-3-12` on the line above `#[test]`.
//!
//! A list that ends in a comma goes on in the next comment line. Other attributes and comments may stand between the mark
//! and its function.

use std::fs;

use anyhow::Context;

use crate::libtest::TestResult;
use crate::workspace;

/// One mark with the test below it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mark {
    /// The requirements it names.
    pub ids: Vec<String>,
    /// The file, from the root of the repository.
    pub file: String,
    /// The line of the mark, from 1.
    pub line: usize,
    /// The test's function; empty if no test follows.
    pub test: String,
}

/// A mark may be followed by so many lines of comments and attributes before its function.
const LINES_TO_FUNCTION_MAX: usize = 20;

/// The marks of every crate and of the chores' own tests, sorted by file and line.
///
/// # Errors
/// If a source file cannot be read.
pub fn in_workspace() -> anyhow::Result<Vec<Mark>> {
    let root = workspace::root();
    let mut marks = Vec::new();
    let crates = workspace::files_below(&root.join("crates"), ".rs");
    for path in crates
        .into_iter()
        .chain(workspace::files_below(&root.join("xtask/tests"), ".rs"))
    {
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let file = path.strip_prefix(&root).unwrap_or(&path).to_string_lossy().into_owned();
        marks.extend(in_file(&file, &text));
    }
    Ok(marks)
}

/// The marks of one file.
fn in_file(file: &str, text: &str) -> Vec<Mark> {
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    let mut marks = Vec::new();
    let mut next = 0;
    while let Some(line) = lines.get(next) {
        next += 1;
        let Some(list) = line.strip_prefix("// covers ") else {
            continue;
        };
        let mark_line = next;
        let mut list = list.trim_end().to_owned();
        while list.ends_with(',') {
            let Some(more) = lines.get(next).and_then(|line| line.strip_prefix("// ")) else {
                break;
            };
            list.push_str(more.trim_end());
            next += 1;
        }
        let ids = list
            .split(',')
            .map(|id| id.trim().to_owned())
            .filter(|id| !id.is_empty())
            .collect();
        let below = lines.get(next..).unwrap_or_default();
        marks.push(Mark {
            ids,
            file: file.to_owned(),
            line: mark_line,
            test: test_below(below).unwrap_or_default(),
        });
    }
    marks
}

/// The name of the first function, if one of the lines above it makes it a test.
fn test_below(lines: &[&str]) -> Option<String> {
    let mut is_test = false;
    for line in lines.iter().take(LINES_TO_FUNCTION_MAX) {
        if line.starts_with("#[") {
            is_test |= ["#[test", "::test]", "::test("]
                .iter()
                .any(|attribute| line.contains(attribute));
        } else if let Some((before, after)) = line.split_once("fn ")
            && before.split_whitespace().all(|word| ["pub", "async"].contains(&word))
        {
            let name = after.split(['(', '<']).next().unwrap_or(after).trim();
            return is_test.then(|| name.to_owned());
        }
    }
    None
}

impl Mark {
    /// Whether `result` is the outcome of this mark's test.
    ///
    /// Modules inside the file are not read, so a name is compared at both ends: the module path that the file's place
    /// gives, and the function.
    pub fn names(&self, result: &TestResult) -> bool {
        let Some((package, target, modules)) = self.place() else {
            return false;
        };
        let same_target = match target {
            Some(target) => result.target == target,
            None => result.target != "doc",
        };
        let function = result.name.rsplit("::").next().unwrap_or(&result.name);
        let inside = result.name.strip_suffix(function).unwrap_or("");
        let same_module = modules.is_empty() || inside.starts_with(&format!("{modules}::"));
        result.package == package && same_target && same_module && function == self.test
    }

    /// The package, the test target (`None` for the source itself), and the module path of the file.
    fn place(&self) -> Option<(String, Option<&str>, String)> {
        let (package, path) = match self.file.strip_prefix("crates/") {
            Some(path) => path
                .split_once('/')
                .map(|(directory, path)| (format!("keybound-{directory}"), path))?,
            None => ("xtask".to_owned(), self.file.strip_prefix("xtask/")?),
        };
        let (target, path) = match path.strip_prefix("tests/") {
            Some(path) => {
                let (target, path) = path.split_once('/').unwrap_or((path.trim_end_matches(".rs"), ""));
                (Some(target), path)
            }
            None => (None, path.strip_prefix("src/")?),
        };
        let modules = path.trim_end_matches(".rs");
        let modules = if ["main", "lib"].contains(&modules) {
            String::new()
        } else {
            modules.replace('/', "::")
        };
        Some((package, target, modules))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::libtest::Outcome;

    fn result(target: &str, name: &str) -> TestResult {
        TestResult {
            package: "keybound-tls".to_owned(),
            target: target.to_owned(),
            name: name.to_owned(),
            outcome: Outcome::Passed,
        }
    }

    fn mark(file: &str) -> Mark {
        Mark {
            ids: vec![],
            file: file.to_owned(),
            line: 1,
            test: "refuses".to_owned(),
        }
    }

    #[test]
    fn reads_marks_above_tests() {
        let text = "// covers A-1, A-2,\n// A-3\n#[tokio::test(flavor = \"current_thread\")]\nasync fn refuses() {}\n\
                    \n// covers B-1\n/// Why.\n#[test]\n#[should_panic]\nfn accepts() {}\n";
        let found: Vec<_> = in_file("f", text)
            .into_iter()
            .map(|mark| (mark.ids.join(" "), mark.line, mark.test))
            .collect();
        assert_eq!(
            found,
            [
                ("A-1 A-2 A-3".to_owned(), 1, "refuses".to_owned()),
                ("B-1".to_owned(), 6, "accepts".to_owned())
            ]
        );
    }

    #[test]
    fn a_mark_above_a_plain_function_names_no_test() {
        assert_eq!(
            in_file("f", "// covers A-1\nfn helper() {}\n#[test]\nfn t() {}\n")[0].test,
            ""
        );
    }

    #[test]
    fn finds_the_result_of_a_requirement_test() {
        let mark = mark("crates/tls/tests/it/rfc8705/s2.rs");
        assert!(mark.names(&result("it", "rfc8705::s2::refuses")));
        assert!(mark.names(&result("it", "rfc8705::s2::inner::refuses")));
        assert!(!mark.names(&result("it", "rfc8705::s3::refuses")));
        assert!(!mark.names(&result("lib", "rfc8705::s2::refuses")));
        assert!(!mark.names(&result("it", "rfc8705::s2::also_refuses")));
    }

    #[test]
    fn finds_the_result_of_a_test_file_that_is_its_own_program() {
        let mark = mark("xtask/tests/import_wall.rs");
        let result = TestResult {
            package: "xtask".to_owned(),
            ..result("import_wall", "refuses")
        };
        assert!(mark.names(&result));
        assert!(!mark.names(&TestResult {
            target: "conformance".to_owned(),
            ..result
        }));
    }

    #[test]
    fn finds_the_result_of_a_unit_test() {
        let mark = mark("crates/tls/src/accept.rs");
        assert!(mark.names(&result("lib", "accept::tests::refuses")));
        assert!(!mark.names(&result("lib", "accept_loop::tests::refuses")));
    }
}
