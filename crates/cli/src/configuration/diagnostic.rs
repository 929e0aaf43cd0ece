//! What is wrong with a configuration file, with the place.

use std::ops::Range;
use std::sync::Arc;

use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet};
use serde::Serialize;

/// A text that configuration was read from: a file, or one environment variable.
#[derive(Debug)]
pub(crate) struct SourceText {
    /// The path as the user wrote it, or the variable's name.
    pub name: String,
    /// The whole text; spans are byte ranges of it.
    pub text: String,
}

/// Where a value stands.
#[derive(Debug, Clone)]
pub(crate) struct Location {
    /// The text it stands in.
    pub source: Arc<SourceText>,
    /// Byte range in that text.
    pub span: Range<usize>,
}

impl Location {
    /// The place itself, 1-based, columns counted in characters.
    pub(crate) fn line_and_column(&self) -> (usize, usize) {
        let before = self.source.text.get(..self.span.start).unwrap_or(&self.source.text);
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        (
            before.matches('\n').count() + 1,
            before[line_start..].chars().count() + 1,
        )
    }
}

/// A value with the place where it was written.
#[derive(Debug, Clone)]
pub(crate) struct Located<T> {
    /// The value.
    pub value: T,
    /// Its place.
    pub location: Location,
}

/// Whether the configuration can be used all the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Severity {
    /// It cannot.
    Error,
    /// It can, but is probably not what was meant.
    Warning,
}

/// One thing that is wrong, where, and what would mend it.
#[derive(Debug, Clone)]
pub(crate) struct Diagnostic {
    /// Stable, for search: `C002`.
    pub code: &'static str,
    /// Error or warning.
    pub severity: Severity,
    /// One sentence without a full stop.
    pub message: String,
    /// The value or key that is meant.
    pub location: Location,
    /// What to do about it.
    pub help: Option<String>,
}

impl Diagnostic {
    /// An error at `location`.
    pub(crate) fn error(code: &'static str, location: &Location, message: impl Into<String>) -> Self {
        Self {
            code,
            severity: Severity::Error,
            message: message.into(),
            location: location.clone(),
            help: None,
        }
    }

    /// A warning at `location`.
    pub(crate) fn warning(code: &'static str, location: &Location, message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Warning,
            ..Self::error(code, location, message)
        }
    }

    /// The same with advice.
    pub(crate) fn with_help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// The finding as a compiler would print it, several lines.
    pub(crate) fn render(&self, coloured: bool) -> String {
        let level = match self.severity {
            Severity::Error => Level::ERROR,
            Severity::Warning => Level::WARNING,
        };
        let source = &self.location.source;
        let span = self.location.span.start.min(source.text.len())..self.location.span.end.min(source.text.len());
        let mut group = level.primary_title(self.message.as_str()).id(self.code).element(
            Snippet::source(source.text.as_str())
                .path(source.name.as_str())
                .annotation(AnnotationKind::Primary.span(span)),
        );
        if let Some(help) = &self.help {
            group = group.element(Level::HELP.message(help.as_str()));
        }
        let renderer = if coloured {
            Renderer::styled()
        } else {
            Renderer::plain()
        };
        renderer.render(&[group])
    }

    /// The finding for programs.
    pub(crate) fn to_json(&self) -> serde_json::Value {
        let (line, column) = self.location.line_and_column();
        serde_json::json!({
            "code": self.code, "severity": self.severity, "message": self.message, "file": self.location.source.name,
            "line": line, "column": column, "help": self.help,
        })
    }
}
