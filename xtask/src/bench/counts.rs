//! Instructions and allocations per request, counted by valgrind: the same on every machine, busy or not.
//!
//! Only the part between two dumps is counted: connection made, caches warm, one kept-alive connection.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, bail};

use super::measurement::LoadRun;
use super::pki::Pki;
use super::server::{Server, answers_ok, program};
use super::{AUDIENCE, Sitting, Subjects, TOKENS, directory};
use crate::workspace;

/// What valgrind counted, or why not.
pub(super) enum Counts {
    Counted(Vec<Count>),
    NotCounted(String),
}

/// Per request.
pub(super) struct Count {
    pub(super) server: &'static str,
    pub(super) what: &'static str,
    pub(super) instructions: u64,
    pub(super) allocations: f64,
}

/// Functions that hand out memory: of the C library, and of mimalloc as Rust calls it.
const ALLOCATORS: [&str; 8] = [
    "malloc",
    "calloc",
    "realloc",
    "posix_memalign",
    "aligned_alloc",
    "mi_malloc_aligned",
    "mi_zalloc_aligned",
    "mi_realloc_aligned",
];

/// Counts for the ceiling, the proxy, and both of ours.
pub(super) fn measure(subjects: &Subjects, pki: &Pki, sitting: &Sitting) -> anyhow::Result<Counts> {
    if !workspace::is_installed("valgrind") {
        return Ok(Counts::NotCounted("valgrind is not installed".to_owned()));
    }
    println!("── instructions and allocations");
    let requests = if sitting.quick { 100 } else { 1000 };
    let form = "grant_type=client_credentials&client_id=client-1";
    let token = ["--path", "/token", "--body", form, "--expect", "access_token"];
    let tokens = TOKENS.to_string();
    let resource = [
        "--path",
        "/",
        "--expect",
        "from here",
        "--issuer",
        &subjects.issuer,
        "--audience",
        AUDIENCE,
    ];
    let known_tokens: Vec<&str> = resource.iter().copied().chain(["--tokens", &tokens]).collect();
    let token: &[&str] = &token;
    let upstream = subjects.upstream.port.to_string();
    let mut counted = Vec::new();
    for (server, arguments, what, load) in [
        ("ceiling", vec!["--pki", pki.path()], "token, kept alive", token),
        (
            "verifying-proxy",
            vec!["--pki", pki.path(), "--upstream", &upstream],
            "resource, kept alive",
            &known_tokens,
        ),
    ] {
        let port = super::free_port()?;
        let port_text = port.to_string();
        let mut command = under_valgrind(server);
        command.args(["--port", &port_text]).args(arguments);
        let subject = Server::start(server, port, command)?;
        counted.push(count(server, what, &subject, load, pki, requests)?);
    }
    if let Some(keybound) = &subjects.keybound {
        for (name, start, what, load) in [
            ("keybound serve", &keybound.server_start, "token, kept alive", token),
            (
                "keybound gateway",
                &keybound.gateway_start,
                "resource, kept alive",
                &known_tokens,
            ),
        ] {
            let copy = start.copy_elsewhere()?;
            let mut command = under_valgrind("keybound");
            command.args(copy.arguments());
            let mut subject = Server::start(name, copy.port, command)?;
            subject.wait_until(|| answers_ok(copy.operations_port, "/health/ready"))?;
            counted.push(count(name, what, &subject, load, pki, requests)?);
        }
    }
    Ok(Counts::Counted(counted))
}

fn under_valgrind(name: &str) -> Command {
    let mut command = Command::new("valgrind");
    command.args([
        "--tool=callgrind",
        "--instr-atstart=no",
        "--compress-strings=no",
        "--compress-pos=no",
    ]);
    command.arg(format!("--callgrind-out-file={}", dump_file().display()));
    command.arg(program(name));
    command
}

fn dump_file() -> PathBuf {
    directory().join("callgrind.out")
}

fn count(
    server: &'static str,
    what: &'static str,
    subject: &Server,
    load: &[&str],
    pki: &Pki,
    requests: usize,
) -> anyhow::Result<Count> {
    let process_id = subject.process_id().to_string();
    let control = |action: &str| workspace::output_of(Command::new("callgrind_control").args([action, &process_id]));
    // Twice the number of tokens warms every cache.
    ask(subject, load, pki, 2 * TOKENS)?;
    // Instructions grow with requests on a straight line; two points on it leave the connection's own work out.
    let few = counted_run(&control, subject, load, pki, requests)?;
    let many = counted_run(&control, subject, load, pki, 2 * requests)?;
    let per_request = |few: u64, many: u64| many.saturating_sub(few) as f64 / requests as f64;
    let count = Count {
        server,
        what,
        instructions: per_request(few.instructions, many.instructions) as u64,
        allocations: per_request(few.allocations, many.allocations),
    };
    println!(
        "   {server}: {} instructions, {:.1} allocations per request",
        count.instructions, count.allocations
    );
    Ok(count)
}

struct Dump {
    instructions: u64,
    allocations: u64,
}

fn counted_run(
    control: &dyn Fn(&str) -> anyhow::Result<String>,
    subject: &Server,
    load: &[&str],
    pki: &Pki,
    requests: usize,
) -> anyhow::Result<Dump> {
    control("--instr=on")?;
    control("--zero")?;
    ask(subject, load, pki, requests)?;
    control("--dump")?;
    control("--instr=off")?;
    let directory = directory();
    let mut dumps = workspace::files_below(&directory, "")
        .into_iter()
        .filter(|path| is_dump(path))
        .collect::<Vec<_>>();
    let newest = dumps.pop().context("callgrind wrote no dump")?;
    let text = fs::read_to_string(&newest)?;
    for dump in dumps.iter().chain([&newest]) {
        let _ = fs::remove_file(dump);
    }
    read_dump(&text)
}

fn is_dump(path: &Path) -> bool {
    path.file_name()
        .and_then(|name| name.to_str())
        .is_some_and(|name| name.starts_with("callgrind.out."))
}

fn ask(subject: &Server, load: &[&str], pki: &Pki, requests: usize) -> anyhow::Result<()> {
    let run = LoadRun::new(
        subject,
        None,
        &[load, &["--connections", "1", "--requests", &requests.to_string()]],
    );
    let output = run.command(pki).stdin(Stdio::null()).output()?;
    let answer: serde_json::Value = serde_json::from_slice(&output.stdout).context("load's answer")?;
    if answer["right"] != requests {
        bail!(
            "{} under valgrind: {} of {requests} right: {}",
            subject.name,
            answer["right"],
            answer["first_problem"]
        );
    }
    Ok(())
}

/// Adds up a dump of one or several threads: every line of costs is `LINE COST`; a line after `calls=` repeats the cost of
/// the callee and is left out.
fn read_dump(text: &str) -> anyhow::Result<Dump> {
    let (mut instructions, mut allocations) = (0, 0);
    let mut callee = "";
    let mut is_repeated = false;
    for line in text.lines() {
        if let Some(name) = line.strip_prefix("cfn=") {
            callee = name;
        } else if let Some(calls) = line.strip_prefix("calls=") {
            let calls: u64 = calls.split(' ').next().unwrap_or_default().parse().context("calls=")?;
            if ALLOCATORS.contains(&callee) {
                allocations += calls;
            }
            is_repeated = true;
        } else if line.starts_with(|first: char| first.is_ascii_digit()) {
            if !is_repeated {
                instructions += line
                    .split(' ')
                    .nth(1)
                    .and_then(|cost| cost.parse::<u64>().ok())
                    .unwrap_or(0);
            }
            is_repeated = false;
        }
    }
    Ok(Dump {
        instructions,
        allocations,
    })
}

#[cfg(test)]
mod tests {
    use super::read_dump;

    #[test]
    fn adds_up_own_costs_and_calls_of_allocators() {
        let dump = "events: Ir\nfn=a\n10 5\n11 7\ncfn=malloc\ncalls=3 0\n11 900\n\nfn=malloc\n1 300\ncfn=mi_malloc\ncalls=9 0\n\
                    1 600\ntotals: 312\n";
        let dump = read_dump(dump).expect("it is a dump");
        assert_eq!((dump.instructions, dump.allocations), (312, 3));
    }
}
