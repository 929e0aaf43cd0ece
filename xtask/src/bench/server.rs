//! A server under measurement: started on its core, ended when the sitting is over.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

use crate::{bench, processes};

/// Servers run here.
pub(super) const SERVER_CORE: &str = "0";
/// The load generator and the API behind the proxies run here.
pub(super) const LOAD_CORE: &str = "1";

/// Longer than any of them takes to start, valgrind included.
const START_MAX: Duration = Duration::from_secs(120);

/// A running server; dropped, it ends.
pub(super) struct Server {
    pub(super) name: &'static str,
    pub(super) port: u16,
    child: Child,
}

impl Server {
    /// Starts one of the bench's own programs.
    pub(super) fn start_program(name: &'static str, port: u16, core: &str, arguments: &[&str]) -> anyhow::Result<Self> {
        let mut command = pinned(core, program(name));
        command.args(["--port", &port.to_string()]).args(arguments);
        Self::start(name, port, command)
    }

    /// Starts `command`, waits until something listens on `port`. Its output goes to `target/bench/NAME.log`.
    pub(super) fn start(name: &'static str, port: u16, mut command: Command) -> anyhow::Result<Self> {
        let log_file = bench::directory().join(format!("{name}.log"));
        let log = File::create(&log_file)?;
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let child = command.spawn().with_context(|| format!("cannot start {name}"))?;
        let mut server = Self { name, port, child };
        server.wait_until(|| TcpStream::connect(("127.0.0.1", port)).is_ok())?;
        Ok(server)
    }

    /// Waits until `ready`, or fails with the end of the server's log.
    pub(super) fn wait_until(&mut self, ready: impl Fn() -> bool) -> anyhow::Result<()> {
        let began = Instant::now();
        while !ready() {
            let has_ended = self.child.try_wait()?.is_some();
            if has_ended || began.elapsed() > START_MAX {
                let log =
                    std::fs::read_to_string(bench::directory().join(format!("{}.log", self.name))).unwrap_or_default();
                bail!("{} did not start: {}", self.name, log.trim());
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    }

    pub(super) fn process_id(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        processes::stop(&mut self.child);
    }
}

/// One of the bench's own programs, built for release.
pub(super) fn program(name: &str) -> PathBuf {
    bench::directory().join("release").join(name)
}

/// A command that runs on one core.
pub(super) fn pinned(core: &str, program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new("taskset");
    command.args(["-c", core]).arg(program);
    command
}

/// A port that nobody listens on at this moment.
pub(super) fn free_port() -> anyhow::Result<u16> {
    Ok(TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}

/// Whether plain HTTP on `port` answers `GET path` with 200.
pub(super) fn answers_ok(port: u16, path: &str) -> bool {
    let ask = || -> std::io::Result<bool> {
        let mut stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_read_timeout(Some(Duration::from_secs(1)))?;
        write!(
            stream,
            "GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n\r\n"
        )?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer)?;
        Ok(answer.starts_with(b"HTTP/1.1 200"))
    };
    ask().unwrap_or(false)
}
