//! What the tests need from other people: programs of the distribution, and packages of Python and npm at pinned
//! versions. Everything but the Debian packages is installed below `target/xtask` and nowhere else.
//!
//! Tests find them at `target/xtask/python/bin/python3` and `target/xtask/node/node_modules`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail};

use crate::workspace;

/// A program that tests start, and the Debian package that has it.
struct Program {
    name: &'static str,
    debian_package: &'static str,
    purpose: &'static str,
}

const PROGRAMS: [Program; 5] = [
    Program {
        name: "openssl",
        debian_package: "openssl",
        purpose: "certificates, chains and names made by others",
    },
    Program {
        name: "curl",
        debian_package: "curl",
        purpose: "requests made by others",
    },
    Program {
        name: "python3",
        debian_package: "python3",
        purpose: "a second reading of certificate names",
    },
    Program {
        name: "node",
        debian_package: "nodejs",
        purpose: "an OAuth client made by others",
    },
    Program {
        name: "npm",
        debian_package: "npm",
        purpose: "installs that OAuth client",
    },
];

/// Installs whatever is missing. Does nothing when all is there, so that it can run at each start of the gate.
///
/// Returns one line that says what is used.
///
/// # Errors
/// A sentence naming exactly what to install, where this process may not install it.
pub fn set_up() -> anyhow::Result<String> {
    let mut missing: Vec<&Program> = PROGRAMS
        .iter()
        .filter(|program| !workspace::is_installed(program.name))
        .collect();
    let mut packages: Vec<&str> = missing.iter().map(|program| program.debian_package).collect();
    if missing.iter().any(|program| program.name == "python3") || !python_makes_environments() {
        packages.push("python3-venv");
    }
    if !packages.is_empty() {
        install_debian_packages(&packages).with_context(|| needed_for(&missing))?;
        missing.retain(|program| !workspace::is_installed(program.name));
        if !missing.is_empty() {
            bail!("still missing after installation: {}", needed_for(&missing));
        }
    }
    let python = set_up_python().context("cannot install the Python packages that the tests need")?;
    let node = set_up_node().context("cannot install the npm packages that the tests need")?;
    Ok(format!("openssl, curl, {python}, {node}"))
}

fn needed_for(missing: &[&Program]) -> String {
    let reasons: Vec<String> = missing
        .iter()
        .map(|program| format!("{} ({})", program.name, program.purpose))
        .collect();
    format!("the tests need {}", reasons.join(", "))
}

fn python_makes_environments() -> bool {
    Command::new("python3")
        .args(["-c", "import venv, ensurepip"])
        .output()
        .is_ok_and(|output| output.status.success())
}

/// Installs Debian packages when we are root on a machine with apt, else says what to type.
///
/// # Errors
/// If the installation failed, or is for somebody else to do.
pub fn install_debian_packages(packages: &[&str]) -> anyhow::Result<()> {
    let list = packages.join(" ");
    if !is_root() || !workspace::is_installed("apt-get") {
        bail!("install them first: sudo apt-get install {list}");
    }
    let install = || {
        let mut command = Command::new("apt-get");
        command
            .args(["install", "-y", "--no-install-recommends"])
            .args(packages)
            .env("DEBIAN_FRONTEND", "noninteractive");
        workspace::run_to_success(&mut command)
    };
    // A fresh machine has no package lists yet; a set-up one needs no refresh.
    install().or_else(|_| {
        workspace::run_to_success(Command::new("apt-get").arg("update"))?;
        install()
    })
}

fn is_root() -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    status.lines().any(|line| {
        line.strip_prefix("Uid:")
            .is_some_and(|ids| ids.split_whitespace().nth(1) == Some("0"))
    })
}

/// A virtual environment with the packages of `xtask/peers/requirements.txt`.
fn set_up_python() -> anyhow::Result<String> {
    let list = peers_dir().join("requirements.txt");
    let environment = workspace::state_dir().join("python");
    let wanted = fs::read_to_string(&list)?;
    if !is_stamped(&environment, &wanted) {
        remove(&environment)?;
        workspace::output_of(Command::new("python3").args(["-m", "venv"]).arg(&environment))?;
        let mut install = Command::new(environment.join("bin/python3"));
        install.args([
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
            "--only-binary",
            ":all:",
            "-r",
        ]);
        workspace::output_of(install.arg(&list))?;
        stamp(&environment, &wanted)?;
    }
    Ok(wanted
        .lines()
        .filter(|line| line.contains("=="))
        .map(str::trim)
        .collect::<Vec<_>>()
        .join(", "))
}

/// The packages of `xtask/peers/package-lock.json`, at exactly those versions.
fn set_up_node() -> anyhow::Result<String> {
    let directory = workspace::state_dir().join("node");
    let lock = fs::read_to_string(peers_dir().join("package-lock.json"))?;
    if !is_stamped(&directory, &lock) {
        remove(&directory)?;
        fs::create_dir_all(&directory)?;
        for file in ["package.json", "package-lock.json"] {
            fs::copy(peers_dir().join(file), directory.join(file))?;
        }
        let mut install = Command::new("npm");
        install
            .args(["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"])
            .current_dir(&directory);
        workspace::output_of(&mut install)?;
        stamp(&directory, &lock)?;
    }
    let lock: serde_json::Value = serde_json::from_str(&lock).context("package-lock.json")?;
    let version = lock
        .pointer("/packages/node_modules~1openid-client/version")
        .and_then(|version| version.as_str());
    Ok(format!("openid-client {}", version.unwrap_or("?")))
}

fn peers_dir() -> PathBuf {
    workspace::root().join("xtask/peers")
}

/// The stamp repeats the list it was made from: a changed list is installed anew, a half-made directory too.
fn is_stamped(directory: &Path, wanted: &str) -> bool {
    fs::read_to_string(directory.join("installed-from")).is_ok_and(|from| from == wanted)
}

fn stamp(directory: &Path, wanted: &str) -> anyhow::Result<()> {
    fs::write(directory.join("installed-from"), wanted).context("cannot write the stamp of the installation")
}

fn remove(directory: &Path) -> anyhow::Result<()> {
    match fs::remove_dir_all(directory) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot clear {}", directory.display()))
        }
        _ => Ok(()),
    }
}
