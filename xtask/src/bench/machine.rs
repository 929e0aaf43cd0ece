//! What is measured on, in general words.

use std::fs;
use std::process::Command;

/// How many cores this process may use.
pub(super) fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZeroUsize::get)
}

/// The processor's model, its cores, and the memory.
pub(super) fn description() -> String {
    let processors = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = processors
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(':'));
    let model = model.map_or("an unnamed processor", |(_, model)| model.trim());
    let memory = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let kibibytes = memory
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:")?.split_whitespace().next()?.parse().ok());
    let gibibytes = kibibytes.unwrap_or(0_u64) as f64 / 1024.0 / 1024.0;
    let is_virtual = processors
        .lines()
        .any(|line| line.starts_with("flags") && line.contains(" hypervisor"));
    let kind = if is_virtual { ", a virtual machine" } else { "" };
    format!("{model}, {} cores, {gibibytes:.0} GiB{kind}", cores())
}

/// The versions of what is compared.
pub(super) fn versions() -> String {
    let nginx = Command::new("/usr/sbin/nginx")
        .arg("-v")
        .output()
        .map(|output| output.stderr)
        .unwrap_or_default();
    let nginx = String::from_utf8_lossy(&nginx)
        .trim()
        .replace("nginx version: nginx/", "nginx ");
    let openssl = Command::new("openssl")
        .arg("version")
        .output()
        .map(|output| output.stdout)
        .unwrap_or_default();
    let openssl = String::from_utf8_lossy(&openssl)
        .split(" (")
        .next()
        .unwrap_or_default()
        .trim()
        .to_owned();
    let rustc = Command::new("rustc")
        .arg("--version")
        .output()
        .map(|output| output.stdout)
        .unwrap_or_default();
    let rustc = String::from_utf8_lossy(&rustc)
        .split(" (")
        .next()
        .unwrap_or_default()
        .trim()
        .to_owned();
    format!("{nginx} with {openssl}; {rustc}")
}
