//! Processes and what they used, as Linux tells it below `/proc`.

use std::collections::BTreeMap;
use std::fs;
use std::process::{Child, Command};
use std::time::Duration;

/// Linux counts processor time in hundredths of a second on every machine it runs on today.
const TICKS_PER_SECOND: f64 = 100.0;

/// `root` and every process below it.
pub fn tree(root: u32) -> Vec<u32> {
    let mut children: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    for pid in entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()) {
        if let Some(parent) = stat_field(pid, 1) {
            children
                .entry(u32::try_from(parent).unwrap_or(0))
                .or_default()
                .push(pid);
        }
    }
    let mut found = Vec::new();
    let mut unread = vec![root];
    while let Some(pid) = unread.pop() {
        found.push(pid);
        unread.extend(children.remove(&pid).unwrap_or_default());
    }
    found
}

/// Processor time that `root` and its descendants have used.
pub fn processor_time(root: u32) -> Duration {
    let ticks: u64 = tree(root)
        .into_iter()
        .map(|pid| stat_field(pid, 11).unwrap_or(0) + stat_field(pid, 12).unwrap_or(0))
        .sum();
    from_ticks(ticks)
}

/// Processor time that the whole machine has used, all cores added up; waiting for disks and time stolen by a
/// hypervisor are not use.
pub fn machine_processor_time() -> Duration {
    let text = fs::read_to_string("/proc/stat").unwrap_or_default();
    let fields: Vec<u64> = text
        .lines()
        .next()
        .unwrap_or_default()
        .split_whitespace()
        .skip(1)
        .filter_map(|field| field.parse().ok())
        .collect();
    const IDLE: usize = 3;
    const WAITING: usize = 4;
    const STOLEN: usize = 7;
    let used = fields
        .iter()
        .take(8)
        .enumerate()
        .filter(|(place, _)| ![IDLE, WAITING, STOLEN].contains(place));
    from_ticks(used.map(|(_, ticks)| ticks).sum())
}

/// Resident memory of `root` and its descendants, in bytes.
pub fn resident_bytes(root: u32) -> u64 {
    tree(root)
        .into_iter()
        .filter_map(|pid| status_kibibytes(pid, "VmRSS:"))
        .sum::<u64>()
        * 1024
}

/// Ends `child` and every process below it, at once.
pub fn end_tree(child: &mut Child) {
    // Sending signals is not in the standard library.
    let pids = tree(child.id()).into_iter().map(|pid| pid.to_string());
    let _ = Command::new("kill").arg("-KILL").args(pids).status();
    let _ = child.wait();
}

/// Asks `child` to end, as an operator does, and waits for it; after ten seconds ends it.
pub fn stop(child: &mut Child) {
    let _ = Command::new("kill").args(["-TERM", &child.id().to_string()]).status();
    for _ in 0..100 {
        if matches!(child.try_wait(), Ok(Some(_))) {
            return;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    end_tree(child);
}

/// A number of `/proc/PID/stat`, counted from the state letter (0): the name before it may contain blanks.
fn stat_field(pid: u32, field: usize) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    text.rsplit_once(')')?.1.split_whitespace().nth(field)?.parse().ok()
}

fn status_kibibytes(pid: u32, name: &str) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    text.lines()
        .find_map(|line| line.strip_prefix(name))?
        .split_whitespace()
        .next()?
        .parse()
        .ok()
}

fn from_ticks(ticks: u64) -> Duration {
    Duration::from_secs_f64(ticks as f64 / TICKS_PER_SECOND)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sees_itself_and_what_it_started() {
        let mut child = Command::new("sleep")
            .arg("60")
            .spawn()
            .expect("sleep is on every machine");
        assert!(tree(std::process::id()).contains(&child.id()));
        end_tree(&mut child);
        assert!(!tree(std::process::id()).contains(&child.id()));
    }

    #[test]
    fn reads_its_own_memory() {
        assert!(resident_bytes(std::process::id()) > 1024 * 1024);
    }
}
