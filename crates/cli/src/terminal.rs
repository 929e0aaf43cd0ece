//! What people and programs read: results on standard output, everything else on standard error.

use std::io::Write;

use anstyle::{AnsiColor, Style};
use serde::Serialize;

use crate::arguments::OutputFormat;
use crate::configuration::InvalidConfiguration;
use crate::exit_code::CommandError;

/// Where a command prints, and how.
///
/// Colour is used only on a terminal and never with `NO_COLOR`: anstream decides per stream.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Terminal {
    format: OutputFormat,
    quiet: bool,
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
        Self { format, quiet }
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
            print(&mut anstream::stdout().lock(), &text);
        }
    }

    /// The result for programs, on one line. Nothing without `--output json`.
    pub(crate) fn json(&self, value: &impl Serialize) {
        if self.is_json()
            && let Ok(text) = serde_json::to_string(value)
        {
            print(&mut anstream::stdout().lock(), &text);
        }
    }

    /// Plain text that is the result in either format, such as a token or a body.
    pub(crate) fn raw(&self, text: impl std::fmt::Display) {
        print(&mut anstream::stdout().lock(), &text);
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
            print(
                &mut stream,
                &serde_json::json!({ "error": sentence, "fix": error.fix, "exit_code": error.code as u8 }),
            );
            return;
        }
        print(&mut stream, &format!("{}: {sentence}", styled(BAD, "error")));
        if let Some(fix) = &error.fix {
            print(&mut stream, &format!("  fix: {fix}"));
        }
    }
}

/// Text that came from elsewhere, made safe to print: control characters could rewrite what the reader sees.
pub(crate) fn without_control_characters(text: &str) -> String {
    text.chars()
        .map(|c| {
            if c.is_control() && c != '\n' && c != '\t' {
                '\u{fffd}'
            } else {
                c
            }
        })
        .collect()
}

fn print(stream: &mut impl Write, text: &impl std::fmt::Display) {
    // A closed pipe is the reader's wish and no failure of ours.
    let _ = writeln!(stream, "{text}");
}
