//! The part of `deny.toml` that needs no other program: banned crates and licences of what is really built.
//!
//! cargo-deny checks more. This is for every machine without it, and looks at `cargo tree`, which knows the features.

use std::collections::BTreeSet;
use std::fs;

use anyhow::Context;
use serde::Deserialize;

use crate::workspace;

/// What `deny.toml` says.
#[derive(Debug, Deserialize)]
pub struct Policy {
    bans: Bans,
    licenses: Licenses,
}

#[derive(Debug, Deserialize)]
struct Bans {
    deny: Vec<Ban>,
}

#[derive(Debug, Deserialize)]
struct Ban {
    #[serde(rename = "crate")]
    name: String,
    reason: String,
}

#[derive(Debug, Deserialize)]
struct Licenses {
    allow: BTreeSet<String>,
}

impl Policy {
    /// Reads `deny.toml`.
    ///
    /// # Errors
    /// If it is absent or has another shape.
    pub fn load() -> anyhow::Result<Self> {
        let text = fs::read_to_string(workspace::root().join("deny.toml")).context("cannot read deny.toml")?;
        toml::from_str(&text).context("deny.toml")
    }

    /// What is wrong with `tree`, lines of `name|licence expression`; empty if nothing is.
    pub fn violations(&self, tree: &str) -> Vec<String> {
        let mut violations = BTreeSet::new();
        for line in tree.lines().filter(|line| !line.is_empty()) {
            let (package, license) = line.split_once('|').unwrap_or((line, ""));
            let name = package.split(' ').next().unwrap_or(package);
            if let Some(ban) = self.bans.deny.iter().find(|ban| ban.name == name) {
                violations.insert(format!("{package} is banned: {}", ban.reason));
            }
            let license = license.trim_end_matches(" (*)");
            if !Expression::new(license).holds_with(&self.licenses.allow) {
                violations.insert(format!(
                    "{package}: the licence `{license}` is not among the allowed ones"
                ));
            }
        }
        violations.into_iter().collect()
    }
}

/// Every package that any of our targets is built from, tests included, with its licence.
///
/// # Errors
/// If cargo fails.
pub fn tree() -> anyhow::Result<String> {
    let mut command = workspace::cargo();
    command.args([
        "tree",
        "--workspace",
        "--locked",
        "--prefix",
        "none",
        "--edges",
        "normal,build,dev",
    ]);
    workspace::output_of(command.args(["--format", "{p}|{l}"]))
}

/// An SPDX expression: `AND` binds closer than `OR`, `/` is an old spelling of `OR`.
struct Expression<'a> {
    words: Vec<&'a str>,
    next: usize,
}

impl<'a> Expression<'a> {
    fn new(text: &'a str) -> Self {
        let mut words = Vec::new();
        for word in text.split_whitespace() {
            let inner = word.trim_start_matches('(');
            words.extend(std::iter::repeat_n("(", word.len() - inner.len()));
            let name = inner.trim_end_matches(')');
            for (place, part) in name.split('/').filter(|part| !part.is_empty()).enumerate() {
                if place > 0 {
                    words.push("OR");
                }
                words.push(part);
            }
            if name == "/" {
                words.push("OR");
            }
            words.extend(std::iter::repeat_n(")", inner.len() - name.len()));
        }
        Self { words, next: 0 }
    }

    /// Whether the allowed licences are enough. An expression that cannot be read is not satisfied.
    fn holds_with(mut self, allowed: &BTreeSet<String>) -> bool {
        let satisfied = self.alternatives(allowed);
        satisfied && self.next == self.words.len()
    }

    fn alternatives(&mut self, allowed: &BTreeSet<String>) -> bool {
        let mut satisfied = self.conjunction(allowed);
        while self.takes("OR") {
            satisfied |= self.conjunction(allowed);
        }
        satisfied
    }

    fn conjunction(&mut self, allowed: &BTreeSet<String>) -> bool {
        let mut satisfied = self.single(allowed);
        while self.takes("AND") {
            satisfied &= self.single(allowed);
        }
        satisfied
    }

    fn single(&mut self, allowed: &BTreeSet<String>) -> bool {
        if self.takes("(") {
            let satisfied = self.alternatives(allowed);
            return self.takes(")") && satisfied;
        }
        let Some(name) = self.words.get(self.next).copied() else {
            return false;
        };
        self.next += 1;
        if self.takes("WITH") {
            self.next += 1;
            return false; // No exception is on the list.
        }
        allowed.contains(name)
    }

    fn takes(&mut self, word: &str) -> bool {
        let found = self.words.get(self.next) == Some(&word);
        self.next += usize::from(found);
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(license: &str, expected: bool) {
        let allowed = ["MIT", "Apache-2.0", "ISC"].map(str::to_owned).into();
        assert_eq!(Expression::new(license).holds_with(&allowed), expected, "{license}");
    }

    #[test]
    fn reads_licence_expressions() {
        check("MIT", true);
        check("GPL-3.0", false);
        check("", false);
        check("MIT OR GPL-3.0", true);
        check("GPL-3.0 / MIT", true);
        check("GPL-3.0/MIT", true);
        check("MIT AND GPL-3.0", false);
        check("ISC AND (GPL-3.0 OR Apache-2.0)", true);
        check("ISC AND (GPL-3.0 OR MPL-2.0)", false);
        check("(MIT OR Apache-2.0) AND GPL-3.0", false);
        check("MIT OR GPL-3.0 AND GPL-2.0", true);
        check("Apache-2.0 WITH LLVM-exception", false);
        check("Apache-2.0 WITH LLVM-exception OR MIT", true);
        check("(MIT", false);
    }
}
