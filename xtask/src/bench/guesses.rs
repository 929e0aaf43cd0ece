//! People who sign in while tokens are asked for: each wrong password costs the server a hash.

use std::process::{Child, Command, Stdio};

use anyhow::{Context, bail};
use serde::Deserialize;

use super::pki::Pki;
use super::server::{LOAD_CORE, pinned, program};
use crate::{processes, workspace};

/// More than the server hashes at a time, so that it is never done.
const AT_ONCE: &str = "32";

/// Passwords of a user who does not exist, which are compared as slowly as anybody's.
pub(super) struct Guesses {
    /// Where the pages are.
    pub(super) public_port: u16,
}

/// While they are being tried.
pub(super) struct Guessing {
    child: Child,
}

/// What the load generator prints.
#[derive(Deserialize)]
struct Tried {
    right: usize,
    per_second: f64,
    first_problem: Option<String>,
}

impl Guesses {
    /// What a run is called during which they are tried.
    pub(super) fn name(&self) -> &'static str {
        "keybound serve, hashing"
    }

    /// Starts to try, for `seconds` and a little.
    pub(super) fn start(&self, pki: &Pki, seconds: f64) -> anyhow::Result<Guessing> {
        let origin = format!("https://localhost:{}", self.public_port);
        let mut curl = Command::new("curl");
        curl.args(["--silent", "--show-error", "--include", "--http1.1", "--cacert"]);
        curl.arg(format!("{}/ca.pem", pki.path()))
            .arg(format!("{origin}/sign-in"));
        let page = workspace::output_of(&mut curl)?;
        let between = |before: &str, after: char| Some(page.split_once(before)?.1.split_once(after)?.0);
        let cookie = between("set-cookie: ", ';').context("the sign-in page sets no cookie")?;
        let token = between("name=\"form_token\" value=\"", '"').context("the sign-in page has no form")?;
        let mut command = pinned(LOAD_CORE, program("load"));
        command
            .args([
                "--port",
                &self.public_port.to_string(),
                "--pki",
                pki.path(),
                "--path",
                "/sign-in",
            ])
            .args([
                "--header",
                &format!("Cookie: {cookie}"),
                "--header",
                &format!("Origin: {origin}"),
            ])
            .args([
                "--body",
                &format!("form_token={token}&username=nobody&password=guess&to=grants"),
            ])
            .args(["--status", "400", "--expect", "login-form", "--connections", AT_ONCE])
            .args(["--warm-up", "0", "--seconds", &(seconds + 0.5).to_string()]);
        let child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .context("cannot start load")?;
        Ok(Guessing { child })
    }
}

impl Guessing {
    /// The process that tries.
    pub(super) fn process_id(&self) -> u32 {
        self.child.id()
    }

    /// How many were tried in each second.
    ///
    /// # Errors
    /// If none were: then the run beside it shows nothing.
    pub(super) fn end(mut self) -> anyhow::Result<f64> {
        let stdout = self
            .child
            .stdout
            .take()
            .context("unreachable: standard output is piped")?;
        let tried: Tried = serde_json::from_reader(stdout).context("load's answer")?;
        if tried.right == 0 {
            bail!("no password was hashed: {}", tried.first_problem.unwrap_or_default());
        }
        Ok(tried.per_second)
    }
}

impl Drop for Guessing {
    fn drop(&mut self) {
        processes::stop(&mut self.child);
    }
}
