//! What people and programs read: results on standard output, everything else on standard error.

use std::io::{self, ErrorKind, Write};
use std::sync::OnceLock;

use anstyle::{AnsiColor, Style};
use serde::Serialize;

use crate::arguments::OutputFormat;
use crate::configuration::InvalidConfiguration;
use crate::exit_code::{CommandError, CommandResult, ExitCode};

/// Where a command prints, and how.
///
/// Colour is used only on a terminal and never with `NO_COLOR`: anstream decides per stream.
#[derive(Debug)]
pub(crate) struct Terminal {
    format: OutputFormat,
    quiet: bool,
    /// Why part of the result could not be written, the first time it could not.
    lost: OnceLock<io::Error>,
}

/// Good.
pub(crate) const GOOD: Style = AnsiColor::Green.on_default();
/// Bad.
pub(crate) const BAD: Style = AnsiColor::Red.on_default().bold();
/// Of less weight.
pub(crate) const DIM: Style = Style::new().dimmed();
/// Of more weight.
pub(crate) const STRONG: Style = Style::new().bold();

/// `text` in `style`.
pub(crate) fn styled(style: Style, text: impl std::fmt::Display) -> String {
    format!("{style}{text}{style:#}")
}

impl Terminal {
    /// A terminal for the given options.
    pub(crate) fn new(format: OutputFormat, quiet: bool) -> Self {
        Self {
            format,
            quiet,
            lost: OnceLock::new(),
        }
    }

    /// Whether programs read the output.
    pub(crate) fn is_json(&self) -> bool {
        self.format == OutputFormat::Json
    }

    /// Whether text for people may have colour; anstream takes it out again where the stream is no terminal.
    pub(crate) fn coloured(&self) -> bool {
        !self.is_json()
    }

    /// One line of the result, for people. Nothing with `--output json`.
    pub(crate) fn line(&self, text: impl std::fmt::Display) {
        if !self.is_json() {
            self.result(text);
        }
    }

    /// One line of what is done on the way to the result, or of advice, for people. Nothing with `--output json` or `--quiet`.
    pub(crate) fn progress(&self, text: impl std::fmt::Display) {
        if !self.quiet {
            self.line(text);
        }
    }

    /// The result for programs, on one line. Nothing without `--output json`.
    pub(crate) fn json(&self, value: &impl Serialize) {
        if self.is_json()
            && let Ok(text) = serde_json::to_string(value)
        {
            self.result(escaped(&text));
        }
    }

    /// What the user has to do now for the command to go on, on standard error whatever else is asked for: for people, or one JSON
    /// object on one line.
    pub(crate) fn instruction(&self, text: impl std::fmt::Display, value: &impl Serialize) {
        let mut stream = anstream::stderr().lock();
        match serde_json::to_string(value) {
            Ok(json) if self.is_json() => print(&mut stream, &escaped(&json)),
            _ => print(&mut stream, &text),
        }
        let _ = stream.flush();
    }

    /// Plain text that is the result in either format, such as a token or a body.
    pub(crate) fn raw(&self, text: impl std::fmt::Display) {
        self.result(text);
    }

    /// Octets that are the result in either format, exactly these: a body, a script.
    pub(crate) fn octets(&self, octets: &[u8]) {
        self.note(io::stdout().write_all(octets));
    }

    fn result(&self, text: impl std::fmt::Display) {
        self.note(writeln!(anstream::stdout().lock(), "{text}"));
    }

    /// Remembers that part of the result is lost, if it is.
    pub(crate) fn note(&self, written: io::Result<()>) {
        match written {
            // A reader that goes away has what it wanted (`keybound client list | head -1`). The command ends as it would have
            // ended, with the exit code of what it did, rather than by SIGPIPE or with a complaint: a `call` that was refused
            // stays refused whoever reads its output.
            Err(error) if error.kind() == ErrorKind::BrokenPipe => {}
            Err(error) => {
                // Only the first is told.
                let _ = self.lost.set(error);
            }
            Ok(()) => {}
        }
    }

    /// What the command comes to once all of its output is written: a result that got lost is no success.
    pub(crate) fn finish(&self, outcome: CommandResult) -> CommandResult {
        self.note(io::stdout().flush());
        match (outcome, self.lost.get()) {
            (Ok(ExitCode::Ok), Some(error)) => {
                let sentence = format!("the output could not be written: {error}");
                Err(CommandError::message(ExitCode::Unexpected, sentence))
            }
            (outcome, _) => outcome,
        }
    }

    /// A remark for people on the way. Nothing with `--quiet`.
    pub(crate) fn remark(&self, text: impl std::fmt::Display) {
        if !self.quiet {
            print(&mut anstream::stderr().lock(), &text);
        }
    }

    /// Why the command failed, and the fix.
    pub(crate) fn failure(&self, error: &CommandError) {
        let mut stream = anstream::stderr().lock();
        if let Some(invalid) = error.cause.downcast_ref::<InvalidConfiguration>() {
            if self.is_json() {
                let errors: Vec<_> = invalid.findings.iter().map(|finding| finding.to_json()).collect();
                print(
                    &mut stream,
                    &serde_json::json!({ "error": error.cause.to_string(), "findings": errors }),
                );
                return;
            }
            for finding in &invalid.findings {
                print(&mut stream, &finding.render(true));
            }
        }
        // The alternate form prints the chain of causes on one line.
        let sentence = without_control_characters(&format!("{:#}", error.cause));
        if self.is_json() {
            let failure = serde_json::json!({ "error": sentence, "fix": error.fix, "exit_code": error.code as u8 });
            print(&mut stream, &escaped(&failure.to_string()));
            return;
        }
        print(&mut stream, &format!("{}: {sentence}", styled(BAD, "error")));
        if let Some(fix) = &error.fix {
            print(&mut stream, &format!("  fix: {}", without_control_characters(fix)));
        }
    }
}

/// Text that came from elsewhere, made safe to print: what is no character of it could rewrite what the reader sees.
pub(crate) fn without_control_characters(text: &str) -> String {
    let replaced = |c: char| c != '\n' && c != '\t' && (c.is_control() || is_directing(c));
    text.chars().map(|c| if replaced(c) { '\u{fffd}' } else { c }).collect()
}

/// The same for a text that is one line: it cannot begin another, either.
pub(crate) fn on_one_line(text: &str) -> String {
    without_control_characters(text).replace(['\n', '\t'], " ")
}

/// JSON in which what could rewrite a terminal is escaped: the same values, whoever reads them.
fn escaped(json: &str) -> String {
    let mut text = String::with_capacity(json.len());
    for c in json.chars() {
        if c.is_control() || is_directing(c) {
            text.push_str(&format!("\\u{:04x}", u32::from(c)));
        } else {
            text.push(c);
        }
    }
    text
}

/// Characters that are not seen and change the order, or the lines, in which others are: `admin<U+202E>nimda` reads as another name.
fn is_directing(c: char) -> bool {
    matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Writes a line to standard error. If that cannot be written either, nobody is left to be told.
fn print(stream: &mut impl Write, text: &impl std::fmt::Display) {
    let _ = writeln!(stream, "{text}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_seen_is_shown_as_replaced() {
        for hidden in "\u{1b}\u{7f}\u{9b}\u{61c}\u{200e}\u{200f}\u{2028}\u{202a}\u{202e}\u{2066}\u{2069}".chars() {
            assert_eq!(
                without_control_characters(&format!("a{hidden}b")),
                "a\u{fffd}b",
                "{hidden:?}"
            );
        }
        let hostile = "a\u{1b}\u{9b}2J\u{202e}b\u{7f}";
        let json = escaped(&serde_json::json!(hostile).to_string());
        assert!(
            json.is_ascii() && !json.contains('\u{1b}') && !json.contains('\u{7f}'),
            "{json:?}"
        );
        assert_eq!(serde_json::from_str::<String>(&json).ok().as_deref(), Some(hostile));
        assert_eq!(on_one_line("a\nerror: b\tc\u{1b}"), "a error: b c\u{fffd}");
        // What belongs to the writing of names stays: a joiner, letters from right to left, a line's end.
        for text in ["नम\u{200d}स्ते", "שלום", "a\nb\tc"] {
            assert_eq!(without_control_characters(text), text);
        }
    }
}
