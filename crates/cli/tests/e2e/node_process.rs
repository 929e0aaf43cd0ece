//! A script of ours in Node.js, with other people's packages, asked line by line.

use std::io::{BufRead, BufReader, Lines, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde_json::Value;

/// A script that answers each line of JSON by one, until it is dropped.
pub(crate) struct NodeProcess {
    process: Child,
    questions: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
}

impl NodeProcess {
    /// Starts a script of this directory.
    pub(crate) fn start(script: &str) -> Self {
        let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
        let modules = manifest.join("../../target/xtask/node/node_modules");
        let modules = modules
            .canonicalize()
            .expect("`cargo xtask test` installs npm's packages; run it once");
        let mut process = Command::new(modules.join("../bin/node"))
            .arg(manifest.join("tests/e2e").join(script))
            .arg(&modules)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("node is installed");
        Self {
            questions: process.stdin.take().unwrap(),
            answers: BufReader::new(process.stdout.take().unwrap()).lines(),
            process,
        }
    }

    /// Asks, and waits for the answer.
    pub(crate) fn ask(&mut self, question: &Value) -> Value {
        writeln!(self.questions, "{question}").unwrap();
        let line = self.answers.next().expect("the script goes on").unwrap();
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error} in {line:?}"))
    }
}

impl Drop for NodeProcess {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
