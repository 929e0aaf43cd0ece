//! Where other people's test data lies, and programs that know the same things.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

/// A file of the data directory that may lie beside the workspace, decompressed; `None`, said on stderr, if it cannot be had.
pub(crate) fn shared_data(file: &str) -> Option<Value> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../../shared/data")
        .join(file);
    if !path.exists() {
        say(&format!(
            "not run: {file} is not in ../shared/data beside the workspace"
        ));
        return None;
    }
    let python = "import lzma,sys; sys.stdout.buffer.write(lzma.open(sys.argv[1]).read())";
    let xz = run(Command::new("xz").arg("-dc").arg(&path), b"");
    let json = xz.or_else(|| run(Command::new("python3").args(["-c", python]).arg(&path), b""));
    match json {
        Some(json) => Some(serde_json::from_slice(&json).unwrap()),
        None => {
            say(&format!("not run: neither xz nor python3 is here to decompress {file}"));
            None
        }
    }
}

/// What a program prints, given this input; `None` if it is not here. A program that is here and fails, fails the test.
pub(crate) fn run(command: &mut Command, input: &[u8]) -> Option<Vec<u8>> {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .ok()?;
    let mut stdin = child.stdin.take()?;
    let input = input.to_vec();
    // In a thread of its own: all pipes are of limited size.
    let writer = std::thread::spawn(move || stdin.write_all(&input));
    let output = child.wait_with_output().unwrap();
    let _ = writer.join();
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {complaint}");
    Some(output.stdout)
}

/// Whether this Python can import a module.
pub(crate) fn python_has(module: &str) -> bool {
    let mut python = Command::new("python3");
    python
        .args(["-c", &format!("import {module}")])
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    python.status().is_ok_and(|status| status.success())
}

/// Past the test harness, which shows nothing of a test that passes: a test that did not run must not look as if it had.
pub(crate) fn say(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// A document of the repository.
pub(crate) fn document(name: &str) -> String {
    let path: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs").join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}
