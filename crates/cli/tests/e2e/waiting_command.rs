//! A command that tells its user what to do, and waits for it.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, ChildStderr, Stdio};

use serde_json::Value;

use crate::installation::{Answer, Said, curl, keybound};

/// A command that is still running: what it asked for is its first line on standard error, one JSON object.
pub(crate) struct WaitingCommand {
    process: Child,
    stderr: BufReader<ChildStderr>,
    instruction: Value,
}

impl WaitingCommand {
    /// Runs the binary in `directory` up to its instruction.
    pub(crate) fn start(directory: &Path, arguments: &[&str]) -> Self {
        let mut command = keybound();
        command.current_dir(directory).args(arguments);
        let mut process = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut stderr = BufReader::new(process.stderr.take().unwrap());
        let mut line = String::new();
        stderr.read_line(&mut line).unwrap();
        let instruction = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error} in {line:?}"));
        Self {
            process,
            stderr,
            instruction,
        }
    }

    /// A member of the instruction.
    pub(crate) fn instruction(&self, member: &str) -> &str {
        let value = self.instruction[member].as_str();
        value.unwrap_or_else(|| panic!("no {member} in {}", self.instruction))
    }

    /// curl, at an address in clear: the browser's part.
    pub(crate) fn visit(&self, arguments: &[&str]) -> Answer {
        curl("/dev/null".as_ref(), None, arguments)
    }

    /// Waits for its end.
    pub(crate) fn end(mut self) -> Said {
        let (mut stdout, mut stderr) = (String::new(), String::new());
        self.process.stdout.take().unwrap().read_to_string(&mut stdout).unwrap();
        self.stderr.read_to_string(&mut stderr).unwrap();
        let code = self.process.wait().unwrap().code().unwrap_or(-1);
        Said { code, stdout, stderr }
    }
}

impl Drop for WaitingCommand {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
