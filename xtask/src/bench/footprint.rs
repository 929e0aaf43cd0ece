//! What the daemons cost without any load: memory, time until ready, size.

use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

use super::keybound::{self, Keybound, Start};
use crate::processes;

/// Medians where there are several.
pub(super) struct Footprint {
    pub(super) server: Daemon,
    pub(super) gateway: Daemon,
    pub(super) binary_bytes: u64,
}

/// One daemon.
pub(super) struct Daemon {
    pub(super) resident_bytes: u64,
    pub(super) ready: Duration,
}

/// A daemon counts as idle so long after it was ready.
const IDLE_AFTER: Duration = Duration::from_secs(2);

/// Starts each daemon anew, several times; those that run go on.
pub(super) fn measure(keybound: &Keybound, quick: bool) -> anyhow::Result<Footprint> {
    println!("── memory, start, size");
    let tries = if quick { 1 } else { 10 };
    Ok(Footprint {
        server: daemon(&keybound.server_start, tries)?,
        gateway: daemon(&keybound.gateway_start, tries)?,
        binary_bytes: keybound::stripped_size()?,
    })
}

/// Ports and database are those of the daemon that runs already, so it is a copy with others that is started.
fn daemon(start: &Start, tries: usize) -> anyhow::Result<Daemon> {
    let copy = start.copy_elsewhere()?;
    let mut times = Vec::new();
    let mut resident_bytes = 0;
    for attempt in 0..tries {
        let began = Instant::now();
        let mut child = copy
            .pinned()
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        while !copy.is_ready() {
            if child.try_wait()?.is_some() || began.elapsed() > Duration::from_secs(30) {
                processes::end_tree(&mut child);
                bail!("keybound {} does not become ready", copy.command);
            }
            std::thread::sleep(Duration::from_micros(200));
        }
        // The first start makes keys and tables; later ones are what a restart costs.
        if attempt > 0 || tries == 1 {
            times.push(began.elapsed());
        }
        if attempt + 1 == tries {
            std::thread::sleep(IDLE_AFTER);
            resident_bytes = processes::resident_bytes(child.id());
        }
        processes::stop(&mut child);
    }
    times.sort();
    let ready = times
        .get(times.len() / 2)
        .copied()
        .context("unreachable: there is at least one start")?;
    Ok(Daemon { resident_bytes, ready })
}
