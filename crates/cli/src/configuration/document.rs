//! A TOML document with places, overlaid with environment variables, read so that every mistake is found in one pass.
//!
//! serde stops at the first error; an operator wants all of them. So the document becomes a small tree in which each
//! value knows its place, and a [`Section`] takes keys out of it, noting what is missing, mistyped or left over.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::diagnostic::{Diagnostic, Located, Location, Severity, SourceText};

/// Variables that begin with this override keys: `KEYBOUND__LISTEN__PUBLIC` is `listen.public`.
pub(crate) const ENVIRONMENT_PREFIX: &str = "KEYBOUND__";

#[derive(Debug, Clone)]
enum Value {
    String(String),
    Integer(i64),
    Boolean(bool),
    Other(&'static str),
    Array(Vec<Node>),
    Table(Table),
}

#[derive(Debug, Clone)]
struct Node {
    value: Value,
    location: Location,
}

#[derive(Debug, Clone)]
struct Entry {
    key: Location,
    node: Node,
}

type Table = BTreeMap<String, Entry>;

impl Value {
    fn kind(&self) -> &'static str {
        match self {
            Self::String(_) => "a string",
            Self::Integer(_) => "an integer",
            Self::Boolean(_) => "a boolean",
            Self::Other(kind) => kind,
            Self::Array(_) => "an array",
            Self::Table(_) => "a table",
        }
    }
}

/// A whole configuration: the file and the variables that override it.
#[derive(Debug)]
pub(crate) struct Document {
    root: Table,
    location: Location,
    is_broken: bool,
    findings: RefCell<Vec<Diagnostic>>,
    files: RefCell<Vec<PathBuf>>,
    /// Every key that was looked for, with the tables it lies in.
    #[cfg(test)]
    asked: RefCell<std::collections::BTreeSet<String>>,
}

impl Document {
    /// Parses `text`, then lays the `environment` over it.
    ///
    /// `environment` holds (name, value) pairs whose names begin with [`ENVIRONMENT_PREFIX`]. A value is read as TOML if it
    /// is TOML, else as a string, so that `KEYBOUND__LISTEN__PUBLIC=127.0.0.1:8443` needs no quotes.
    pub(crate) fn parse(name: &str, text: &str, environment: &[(String, String)]) -> Self {
        let source = Arc::new(SourceText {
            name: name.to_owned(),
            text: text.to_owned(),
        });
        let (parsed, errors) = DeTable::parse_recoverable(text);
        let findings = errors
            .iter()
            .map(|error| {
                let location = Location {
                    source: Arc::clone(&source),
                    span: error.span().unwrap_or(0..0),
                };
                Diagnostic::error("C001", &location, error.message().to_owned())
            })
            .collect();
        let root = table(&source, parsed.get_ref());
        let mut document = Self {
            root,
            location: at(&source, 0..0),
            is_broken: !errors.is_empty(),
            findings: RefCell::new(findings),
            files: RefCell::default(),
            #[cfg(test)]
            asked: RefCell::default(),
        };
        for (variable, value) in environment {
            document.overlay(variable, value);
        }
        document
    }

    fn overlay(&mut self, variable: &str, text: &str) {
        let Some(path) = variable.strip_prefix(ENVIRONMENT_PREFIX) else {
            return;
        };
        let source = Arc::new(SourceText {
            name: variable.to_owned(),
            text: text.to_owned(),
        });
        let value = match DeValue::parse(text) {
            Ok(parsed) => node(&source, &parsed),
            Err(_) => Node {
                value: Value::String(text.to_owned()),
                location: whole(&source),
            },
        };
        let path = path.to_ascii_lowercase();
        let mut segments: Vec<&str> = path.split("__").collect();
        let Some(last) = segments.pop() else { return };
        let mut table = &mut self.root;
        for segment in segments {
            let entry = table.entry(segment.to_owned()).or_insert_with(|| Entry {
                key: whole(&source),
                node: Node {
                    value: Value::Table(Table::new()),
                    location: whole(&source),
                },
            });
            let Value::Table(inner) = &mut entry.node.value else {
                let message = format!("`{variable}` names a key inside of a value that is not a table");
                self.findings
                    .borrow_mut()
                    .push(Diagnostic::error("C003", &whole(&source), message));
                return;
            };
            table = inner;
        }
        table.insert(
            last.to_owned(),
            Entry {
                key: whole(&source),
                node: value,
            },
        );
    }

    /// The document's top level.
    pub(crate) fn root(&self) -> Section<'_> {
        Section {
            document: self,
            path: String::new(),
            table: Some(&self.root),
            location: self.location.clone(),
            known: RefCell::default(),
        }
    }

    /// Notes a finding.
    pub(crate) fn report(&self, finding: Diagnostic) {
        self.findings.borrow_mut().push(finding);
    }

    /// Whether the text is no TOML.
    pub(crate) fn is_broken(&self) -> bool {
        self.is_broken
    }

    /// Whether an error was found so far.
    pub(crate) fn has_errors(&self) -> bool {
        let findings = self.findings.borrow();
        findings.iter().any(|finding| finding.severity == Severity::Error)
    }

    /// The files that the document names, as they were opened.
    pub(crate) fn files(&self) -> Vec<PathBuf> {
        self.files.borrow().clone()
    }

    /// The keys that were looked for: those that there are.
    #[cfg(test)]
    pub(crate) fn asked(&self) -> std::collections::BTreeSet<String> {
        self.asked.borrow().clone()
    }

    /// Everything found so far, in the order of the file.
    pub(crate) fn into_findings(self) -> Vec<Diagnostic> {
        let mut findings = self.findings.into_inner();
        findings.sort_by(|a, b| {
            (&a.location.source.name, a.location.span.start).cmp(&(&b.location.source.name, b.location.span.start))
        });
        findings
    }
}

fn whole(source: &Arc<SourceText>) -> Location {
    Location {
        source: Arc::clone(source),
        span: 0..source.text.len(),
    }
}

fn at(source: &Arc<SourceText>, span: Range<usize>) -> Location {
    Location {
        source: Arc::clone(source),
        span,
    }
}

fn table(source: &Arc<SourceText>, parsed: &DeTable<'_>) -> Table {
    parsed
        .iter()
        .map(|(key, value)| {
            (
                key.get_ref().to_string(),
                Entry {
                    key: at(source, key.span()),
                    node: node(source, value),
                },
            )
        })
        .collect()
}

fn node(source: &Arc<SourceText>, parsed: &Spanned<DeValue<'_>>) -> Node {
    let value = match parsed.get_ref() {
        DeValue::String(text) => Value::String(text.to_string()),
        DeValue::Integer(number) => i64::from_str_radix(&number.as_str().replace('_', ""), number.radix())
            .map_or(Value::Other("an integer out of range"), Value::Integer),
        DeValue::Boolean(boolean) => Value::Boolean(*boolean),
        DeValue::Float(_) => Value::Other("a float"),
        DeValue::Datetime(_) => Value::Other("a date"),
        DeValue::Array(items) => Value::Array(items.iter().map(|item| node(source, item)).collect()),
        DeValue::Table(inner) => Value::Table(table(source, inner)),
    };
    Node {
        value,
        location: at(source, parsed.span()),
    }
}

/// One table of the document, from which keys are taken. Call [`finish`](Self::finish) when all known keys were asked for.
pub(crate) struct Section<'d> {
    document: &'d Document,
    path: String,
    table: Option<&'d Table>,
    location: Location,
    known: RefCell<Vec<&'static str>>,
}

impl<'d> Section<'d> {
    fn entry(&self, key: &'static str) -> Option<&'d Entry> {
        self.note_known(key);
        self.table.and_then(|table| table.get(key))
    }

    fn note_known(&self, key: &'static str) {
        self.known.borrow_mut().push(key);
        #[cfg(test)]
        self.document.asked.borrow_mut().insert(self.name(key));
    }

    fn name(&self, key: &str) -> String {
        if self.path.is_empty() {
            key.to_owned()
        } else {
            format!("{}.{key}", self.path)
        }
    }

    /// Where the table stands.
    pub(crate) fn location(&self) -> &Location {
        &self.location
    }

    /// Notes a finding.
    pub(crate) fn report(&self, finding: Diagnostic) {
        self.document.report(finding);
    }

    /// Notes that the document names `path`: what is to be watched for changes.
    pub(crate) fn names_file(&self, path: &Path) {
        self.document.files.borrow_mut().push(path.to_path_buf());
    }

    fn mistyped(&self, key: &str, node: &Node, wanted: &str) {
        let message = format!("`{}` must be {wanted}, not {}", self.name(key), node.value.kind());
        self.report(Diagnostic::error("C004", &node.location, message));
    }

    /// A string, if present.
    pub(crate) fn string(&self, key: &'static str) -> Option<Located<String>> {
        let node = &self.entry(key)?.node;
        let Value::String(text) = &node.value else {
            self.mistyped(key, node, "a string");
            return None;
        };
        Some(Located {
            value: text.clone(),
            location: node.location.clone(),
        })
    }

    /// A string; its absence is an error.
    pub(crate) fn required(&self, key: &'static str) -> Option<Located<String>> {
        if self.table.is_none_or(|table| !table.contains_key(key)) {
            self.note_known(key);
            let span = self.location.span.start..self.location.span.start;
            let place = Location {
                source: Arc::clone(&self.location.source),
                span,
            };
            self.report(Diagnostic::error(
                "C005",
                &place,
                format!("`{}` is missing", self.name(key)),
            ));
            return None;
        }
        self.string(key)
    }

    /// A string read by `parse`, whose error becomes a finding with `code`.
    pub(crate) fn parsed<T, E: std::fmt::Display>(
        &self,
        key: &'static str,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<Located<T>> {
        let text = self.string(key)?;
        self.parse_located(key, &text, parse)
    }

    /// A required string read by `parse`.
    pub(crate) fn required_parsed<T, E: std::fmt::Display>(
        &self,
        key: &'static str,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<Located<T>> {
        let text = self.required(key)?;
        self.parse_located(key, &text, parse)
    }

    fn parse_located<T, E: std::fmt::Display>(
        &self,
        key: &str,
        text: &Located<String>,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<Located<T>> {
        match parse(&text.value) {
            Ok(value) => Some(Located {
                value,
                location: text.location.clone(),
            }),
            Err(error) => {
                self.report(Diagnostic::error(
                    "C006",
                    &text.location,
                    format!("`{}`: {error}", self.name(key)),
                ));
                None
            }
        }
    }

    /// A boolean, or `default`.
    pub(crate) fn boolean(&self, key: &'static str, default: bool) -> Located<bool> {
        let absent = Located {
            value: default,
            location: self.location.clone(),
        };
        let Some(entry) = self.entry(key) else { return absent };
        let Value::Boolean(value) = entry.node.value else {
            self.mistyped(key, &entry.node, "true or false");
            return absent;
        };
        Located {
            value,
            location: entry.node.location.clone(),
        }
    }

    /// A whole number within `range`, if present.
    pub(crate) fn integer(&self, key: &'static str, range: std::ops::RangeInclusive<i64>) -> Option<Located<i64>> {
        let node = &self.entry(key)?.node;
        match node.value {
            Value::Integer(value) if range.contains(&value) => Some(Located {
                value,
                location: node.location.clone(),
            }),
            Value::Integer(_) => {
                let message = format!(
                    "`{}` must lie between {} and {}",
                    self.name(key),
                    range.start(),
                    range.end()
                );
                self.report(Diagnostic::error("C006", &node.location, message));
                None
            }
            _ => {
                self.mistyped(key, node, "a whole number");
                None
            }
        }
    }

    /// A duration such as `"30s"`, `"5m"`, `"1h"`, `"1d"`, if present.
    pub(crate) fn duration(&self, key: &'static str) -> Option<Located<Duration>> {
        self.parsed(key, parse_duration)
    }

    /// An array of strings; absent is empty.
    pub(crate) fn strings(&self, key: &'static str) -> Vec<Located<String>> {
        let Some(entry) = self.entry(key) else {
            return Vec::new();
        };
        let Value::Array(items) = &entry.node.value else {
            self.mistyped(key, &entry.node, "an array of strings");
            return Vec::new();
        };
        let mut strings = Vec::with_capacity(items.len());
        for item in items {
            match &item.value {
                Value::String(text) => strings.push(Located {
                    value: text.clone(),
                    location: item.location.clone(),
                }),
                _ => self.mistyped(key, item, "an array of strings"),
            }
        }
        strings
    }

    /// An array of strings, each read by `parse`.
    pub(crate) fn parsed_strings<T, E: std::fmt::Display>(
        &self,
        key: &'static str,
        parse: impl Fn(&str) -> Result<T, E>,
    ) -> Vec<Located<T>> {
        self.strings(key)
            .iter()
            .filter_map(|text| self.parse_located(key, text, &parse))
            .collect()
    }

    /// Whether the key is there at all.
    pub(crate) fn contains(&self, key: &str) -> bool {
        self.table.is_some_and(|table| table.contains_key(key))
    }

    /// Where the value of `key` stands, or the table if it has none.
    pub(crate) fn place_of(&self, key: &str) -> &Location {
        let entry = self.table.and_then(|table| table.get(key));
        entry.map_or(&self.location, |entry| &entry.node.location)
    }

    /// A table; absent is empty.
    pub(crate) fn section(&self, key: &'static str) -> Section<'d> {
        let entry = self.entry(key);
        let (table, location) = match entry {
            None => (None, self.location.clone()),
            Some(entry) => match &entry.node.value {
                Value::Table(table) => (Some(table), entry.key.clone()),
                _ => {
                    self.mistyped(key, &entry.node, "a table");
                    (None, entry.node.location.clone())
                }
            },
        };
        Section {
            document: self.document,
            path: self.name(key),
            table,
            location,
            known: RefCell::default(),
        }
    }

    /// An array of tables; absent is empty.
    pub(crate) fn sections(&self, key: &'static str) -> Vec<Section<'d>> {
        let Some(entry) = self.entry(key) else {
            return Vec::new();
        };
        let Value::Array(items) = &entry.node.value else {
            self.mistyped(key, &entry.node, "an array of tables");
            return Vec::new();
        };
        let mut sections = Vec::with_capacity(items.len());
        for item in items {
            let Value::Table(table) = &item.value else {
                self.mistyped(key, item, "an array of tables");
                continue;
            };
            sections.push(Section {
                document: self.document,
                path: self.name(key),
                table: Some(table),
                location: item.location.clone(),
                known: RefCell::default(),
            });
        }
        sections
    }

    /// Reports every key that nobody asked for.
    pub(crate) fn finish(self) {
        let known = self.known.borrow();
        for (key, entry) in self.table.into_iter().flatten() {
            if known.contains(&key.as_str()) {
                continue;
            }
            let message = format!("unknown key `{}`", self.name(key));
            let mut finding = Diagnostic::error("C002", &entry.key, message);
            if let Some(meant) = nearest(key, &known) {
                finding = finding.with_help(format!("did you mean `{}`?", self.name(meant)));
            }
            self.document.report(finding);
        }
    }
}

/// The known word that `word` was probably meant to be.
pub(crate) fn nearest<'k>(word: &str, known: &[&'k str]) -> Option<&'k str> {
    known
        .iter()
        .map(|candidate| (strsim::damerau_levenshtein(word, candidate), *candidate))
        .filter(|(distance, candidate)| *distance <= 1 + candidate.len() / 4)
        .min()
        .map(|(_, candidate)| candidate)
}

/// Reads `500ms`, `30s`, `5m`, `1h` or `1d`.
pub(crate) fn parse_duration(text: &str) -> Result<Duration, String> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let factor_millis = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return Err("a duration is a whole number with ms, s, m, h or d, as in \"5m\"".to_owned()),
    };
    number
        .parse::<u64>()
        .ok()
        .and_then(|number| number.checked_mul(factor_millis))
        .map(Duration::from_millis)
        .ok_or_else(|| "a duration is a whole number with ms, s, m, h or d, as in \"5m\"".to_owned())
}
