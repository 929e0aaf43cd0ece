//! The rows of `docs/requirements.toml`.

use std::collections::BTreeSet;
use std::fs;

use anyhow::Context;
use serde::Deserialize;

use crate::workspace;

/// The whole file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Requirements {
    /// In the order of the document.
    pub section: Vec<Section>,
}

/// Rows with one heading.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Section {
    /// The heading.
    pub title: String,
    /// A paragraph below it.
    pub note: Option<String>,
    /// False for neighbouring specifications: their rows are listed where a test names one, and nothing is claimed about
    /// the others.
    pub claimed: Option<bool>,
    /// The rows.
    pub row: Vec<Requirement>,
}

impl Section {
    /// Whether every row of this section is answered for.
    pub fn is_claimed(&self) -> bool {
        self.claimed.unwrap_or(true)
    }
}

/// One requirement.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Requirement {
    /// Stable; tests name it.
    pub id: String,
    /// Document and section.
    pub source: String,
    /// The source's own keyword, or one of ours (see the head of the table).
    pub level: String,
    /// The requirement in our words.
    pub text: String,
    /// What we say about it.
    #[serde(default)]
    pub status: Status,
    /// Where it is implemented: paths from the root of the repository.
    #[serde(default)]
    pub at: Vec<String>,
    /// Of a row put off, with which part of the design it comes; of one that is not ours, whose it is; of a shown one,
    /// what its tests leave open.
    #[serde(default)]
    pub why: String,
}

/// What we say about a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Status {
    /// Tests show it.
    #[default]
    Shown,
    /// It comes with a part that does not exist yet.
    Later,
    /// Somebody else has to keep it.
    NotOurs,
}

impl Status {
    /// As the file spells it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Shown => "shown",
            Self::Later => "later",
            Self::NotOurs => "not-ours",
        }
    }
}

impl Requirements {
    /// Reads the file of the repository.
    ///
    /// # Errors
    /// If it is absent or does not have this shape.
    pub fn load() -> anyhow::Result<Self> {
        let path = workspace::root().join("docs/requirements.toml");
        let text = fs::read_to_string(&path).context("cannot read docs/requirements.toml")?;
        Self::parse(&text).context("docs/requirements.toml")
    }

    /// Reads rows from TOML.
    ///
    /// # Errors
    /// If the text does not have this shape.
    pub fn parse(text: &str) -> anyhow::Result<Self> {
        Ok(toml::from_str(text)?)
    }

    /// Every id that a mark may name.
    pub fn ids(&self) -> BTreeSet<&str> {
        self.section
            .iter()
            .flat_map(|section| &section.row)
            .map(|row| row.id.as_str())
            .collect()
    }

    /// The rows that are answered for, one by one.
    pub fn claimed(&self) -> impl Iterator<Item = &Requirement> {
        self.section
            .iter()
            .filter(|section| section.is_claimed())
            .flat_map(|section| &section.row)
    }

    /// What is wrong with the rows themselves.
    pub(super) fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        let mut seen = BTreeSet::new();
        for row in self.section.iter().flat_map(|section| &section.row) {
            let id = &row.id;
            if !seen.insert(id) {
                faults.push(format!("{id}: the id stands twice in docs/requirements.toml"));
            }
            if row.status != Status::Shown && row.why.is_empty() {
                faults.push(format!("{id}: a row that is `{}` says `why`", row.status.name()));
            }
            for path in row.at.iter().filter(|path| !workspace::root().join(path).exists()) {
                faults.push(format!("{id}: `at` names {path}, which does not exist"));
            }
        }
        for row in self
            .claimed()
            .filter(|row| row.status == Status::Shown && row.at.is_empty())
        {
            faults.push(format!("{}: a row that is shown says `at`", row.id));
        }
        faults
    }
}
