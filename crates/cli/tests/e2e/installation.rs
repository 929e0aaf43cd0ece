//! An installation in a temporary directory: made by `quickstart`, served in the background, asked with curl.

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU16, Ordering};

use serde_json::Value;
use tempfile::TempDir;

/// The binary under test.
pub(crate) fn keybound() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_keybound"));
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("KEYBOUND_")) {
        // The gate counts panics through this one; nothing else of the caller's environment may decide a test.
        if name != "KEYBOUND_PANIC_LOG" {
            command.env_remove(name);
        }
    }
    command.env("NO_COLOR", "1");
    command
}

/// What a finished command said.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Said {
    pub(crate) fn of(output: Output) -> Self {
        Self {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// The last line of standard output as JSON.
    pub(crate) fn json(&self) -> Value {
        let line = self.stdout.lines().last().unwrap_or_default();
        serde_json::from_str(line).unwrap_or_else(|error| panic!("{error} in {self:?}"))
    }

    pub(crate) fn expect_code(self, code: i32) -> Self {
        assert_eq!(self.code, code, "{self:#?}");
        self
    }
}

/// Runs the binary to its end in `directory`.
pub(crate) fn run_in(directory: &Path, arguments: &[&str]) -> Said {
    Said::of(keybound().current_dir(directory).args(arguments).output().unwrap())
}

/// A port offset whose five ports are free now and that no other test of this process has.
pub(crate) fn free_port_offset() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    static CHOOSING: Mutex<()> = Mutex::new(());
    let _one_at_a_time = CHOOSING.lock();
    let spread = u16::try_from(std::process::id() % 4_000).unwrap();
    loop {
        let offset = 10_000 + (spread * 10 + NEXT.fetch_add(10, Ordering::Relaxed)) % 40_000;
        let free = |port: u16| TcpListener::bind(("127.0.0.1", port + offset)).is_ok();
        if [8443, 8444, 8445, 9443, 9445].into_iter().all(free) {
            return offset;
        }
    }
}

/// A quickstart that serves until it is dropped.
pub(crate) struct Installation {
    directory: TempDir,
    process: Child,
    pub(crate) offset: u16,
}

impl Installation {
    /// Makes and serves one.
    pub(crate) fn start() -> Self {
        Self::start_in(tempfile::tempdir().unwrap(), free_port_offset())
    }

    pub(crate) fn start_in(directory: TempDir, offset: u16) -> Self {
        let mut process = keybound()
            .current_dir(directory.path())
            .args(["--output", "json", "quickstart", "--port-offset", &offset.to_string()])
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        let announced: Value = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error} in {line:?}"));
        assert_eq!(announced["issuer"], format!("https://localhost:{}", 8443 + offset));
        Self {
            directory,
            process,
            offset,
        }
    }

    pub(crate) fn path(&self, path: &str) -> PathBuf {
        self.directory.path().join(path)
    }

    pub(crate) fn process_id(&self) -> u32 {
        self.process.id()
    }

    pub(crate) fn public(&self, path: &str) -> String {
        format!("https://localhost:{}{path}", 8443 + self.offset)
    }

    pub(crate) fn mutual_tls(&self, path: &str) -> String {
        format!("https://localhost:{}{path}", 8444 + self.offset)
    }

    pub(crate) fn gateway(&self, path: &str) -> String {
        format!("https://localhost:{}{path}", 9443 + self.offset)
    }

    /// Runs the binary in its directory.
    pub(crate) fn run(&self, arguments: &[&str]) -> Said {
        run_in(self.directory.path(), arguments)
    }

    /// What `explain` says of a refusal of the server.
    pub(crate) fn explain(&self, id: &str) -> Value {
        let gateway = format!("http://127.0.0.1:{}", 9445 + self.offset);
        self.run(&["--output", "json", "explain", id, "--gateway", &gateway])
            .expect_code(0)
            .json()
    }

    /// curl with the CA and, if named, the certificate of a client.
    pub(crate) fn curl(&self, client: Option<&str>, arguments: &[&str]) -> Answer {
        let identity = client.map(|client| {
            let directory = self.path("clients").join(client);
            (directory.join("cert.pem"), directory.join("key.pem"))
        });
        curl(
            &self.path("pki/ca.pem"),
            identity.as_ref().map(|(certificate, key)| (&**certificate, &**key)),
            arguments,
        )
    }

    /// A token for the demo client.
    pub(crate) fn token(&self) -> String {
        self.run(&["token", "get", "--client", "clients/demo"])
            .expect_code(0)
            .stdout
            .trim()
            .to_owned()
    }

    /// Tells the process to stop and waits for it.
    pub(crate) fn stop(mut self) -> TempDir {
        Command::new("kill")
            .arg(self.process.id().to_string())
            .status()
            .unwrap();
        self.process.wait().unwrap();
        let replacement = tempfile::tempdir().unwrap();
        std::mem::replace(&mut self.directory, replacement)
    }
}

impl Drop for Installation {
    fn drop(&mut self) {
        // Killed hard: whatever it has acknowledged has to survive that.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// An HTTP answer as curl saw it.
#[derive(Debug)]
pub(crate) struct Answer {
    /// 0 if there was no answer.
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.headers.iter().filter(|(it, _)| it.eq_ignore_ascii_case(name));
        values.next().map(|(_, value)| value.as_str())
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error} in {self:?}"))
    }

    /// `error` of an OAuth error answer.
    pub(crate) fn error(&self) -> String {
        self.json()["error"].as_str().unwrap_or_default().to_owned()
    }

    pub(crate) fn refusal(&self) -> String {
        self.header("keybound-refusal").unwrap_or_default().to_owned()
    }
}

/// Debian's curl: OpenSSL on the other side of every handshake.
pub(crate) fn curl(ca: &Path, identity: Option<(&Path, &Path)>, arguments: &[&str]) -> Answer {
    let mut command = Command::new("curl");
    command
        .args(["--silent", "--include", "--max-time", "20", "--http1.1", "--cacert"])
        .arg(ca);
    if let Some((certificate, key)) = identity {
        command.arg("--cert").arg(certificate).arg("--key").arg(key);
    }
    let output = command.args(arguments).output().expect("curl is installed");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    let mut lines = head.lines();
    let status = lines
        .next()
        .and_then(|line| line.split(' ').nth(1))
        .and_then(|code| code.parse().ok())
        .unwrap_or(0);
    let headers = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_owned(), value.trim().to_owned()))
        .collect();
    Answer {
        status,
        headers,
        body: body.to_owned(),
    }
}
