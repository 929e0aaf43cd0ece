//! Where the output goes: a reader that leaves, a disk that is full, `--quiet`, and advice that has to work as printed.

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::json;

use crate::installation::{Installation, Said, free_port_offset, keybound, run_in};

/// Runs the binary with a standard output that nobody reads any more.
fn unread(directory: &Path, arguments: &[&str]) -> Said {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    into(directory, arguments, writer.into())
}

fn into(directory: &Path, arguments: &[&str], stdout: Stdio) -> Said {
    let mut command = keybound();
    command.current_dir(directory).args(arguments);
    // A test runner ignores SIGPIPE as the binary does; nothing here depends on it.
    Said::of(
        command
            .stdout(stdout)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
            .wait_with_output()
            .unwrap(),
    )
}

fn onto_a_full_disk(directory: &Path, arguments: &[&str]) -> Said {
    into(
        directory,
        arguments,
        File::options().write(true).open("/dev/full").unwrap().into(),
    )
}

#[test]
fn output_that_is_lost_is_no_success_and_a_reader_that_left_is_no_failure() {
    let installation = Installation::start();
    let directory = installation.path("");
    let url = installation.gateway("/hello");
    for arguments in [
        vec!["completions", "bash"],
        vec!["completions", "zsh"],
        vec!["man"],
        vec!["--help"],
        vec!["client", "list"],
        vec!["--output", "json", "client", "list"],
        vec!["token", "get", "--client", "clients/demo"],
        vec!["call", &url, "--client", "clients/demo"],
        vec!["certificate", "inspect", "clients/demo/cert.pem"],
    ] {
        let said = onto_a_full_disk(&directory, &arguments).expect_code(1);
        assert!(
            said.stderr
                .contains("the output could not be written: No space left on device"),
            "{arguments:?}: {said:?}"
        );
        assert!(!said.stderr.contains("panicked"), "{arguments:?}: {said:?}");
        let said = unread(&directory, &arguments).expect_code(0);
        assert_eq!(said.stderr, "", "{arguments:?}");
    }
    // What the command did stays what it did, whoever reads.
    let refused = [
        "call",
        &url,
        "--client",
        "clients/stranger",
        "--token",
        &installation.token(),
    ];
    unread(&directory, &refused).expect_code(5);
    onto_a_full_disk(&directory, &refused).expect_code(5);
}

#[test]
fn a_trace_that_nobody_reads_stops_no_request() {
    let installation = Installation::start();
    let mut command = keybound();
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let output = command
        .current_dir(installation.path(""))
        .args(["token", "get", "--client", "clients/demo", "--trace"])
        .stdout(Stdio::piped())
        .stderr(writer)
        .spawn()
        .unwrap()
        .wait_with_output()
        .unwrap();
    let said = Said::of(output).expect_code(0);
    assert_eq!(said.stdout.trim().split('.').count(), 3, "{said:?}");
}

#[test]
fn a_daemon_whose_log_cannot_be_written_serves_on() {
    let directory = Installation::start().stop();
    let full = || File::options().write(true).open("/dev/full").unwrap();
    let mut serving = keybound()
        .current_dir(directory.path())
        .args(["serve", "--config", "keybound.toml"])
        .env("KEYBOUND_LOG", "debug")
        .stdout(Stdio::piped())
        .stderr(full())
        .spawn()
        .unwrap();
    let mut byte = [0];
    serving.stdout.as_mut().unwrap().read_exact(&mut byte).unwrap();
    signal("HUP", serving.id());
    signal("TERM", serving.id());
    assert_eq!(serving.wait().unwrap().code(), Some(0));
}

fn signal(name: &str, process: u32) {
    let sent = Command::new("kill")
        .args([&format!("-{name}"), &process.to_string()])
        .status();
    assert!(sent.unwrap().success());
}

#[test]
fn ctrl_c_is_an_interruption_and_sigterm_is_none() {
    let directory = Installation::start().stop();
    for (name, code) in [("INT", 130), ("TERM", 0)] {
        for arguments in [
            vec!["serve", "--config", "keybound.toml"],
            vec!["gateway", "--config", "gateway.toml"],
            vec!["--output", "json", "quickstart"],
        ] {
            let mut daemon = keybound()
                .current_dir(directory.path())
                .args(&arguments)
                .stdout(Stdio::piped())
                .stderr(Stdio::null())
                .spawn()
                .unwrap();
            // Its first word says that it serves.
            let mut byte = [0];
            daemon.stdout.as_mut().unwrap().read_exact(&mut byte).unwrap();
            signal(name, daemon.id());
            assert_eq!(daemon.wait().unwrap().code(), Some(code), "{name} {arguments:?}");
        }
    }
}

#[test]
fn quiet_prints_results_only() {
    let directory = tempfile::tempdir().unwrap();
    let offset = free_port_offset().to_string();
    let said = run_in(
        directory.path(),
        &["--quiet", "quickstart", "--exit", "--port-offset", &offset],
    )
    .expect_code(0);
    assert_eq!(said.stdout.lines().count(), 6, "the checks and nothing else: {said:?}");
    assert!(said.stdout.lines().all(|line| line.starts_with(" ✔ ")), "{said:?}");
    assert_eq!(said.stderr, "");
    let said = run_in(directory.path(), &["--quiet", "init", "--dir", "new", "--yes"]).expect_code(0);
    assert_eq!((said.stdout.as_str(), said.stderr.as_str()), ("", ""));
    let made = ["--quiet", "admin", "create", "--config", "new/keybound.toml"];
    let said = run_in(directory.path(), &made).expect_code(0);
    assert_eq!(said.stdout, "✔ administrator admin-2   new/admin-2.toml\n");
}

/// The commands of a text: the lines that begin with the binary's name, as a shell takes them.
fn commands(text: &str) -> Vec<String> {
    let program = env!("CARGO_BIN_EXE_keybound");
    let lines = text
        .lines()
        .filter_map(|line| line.find(program).map(|start| &line[start..]));
    lines.map(str::to_owned).collect()
}

fn in_a_shell(directory: &Path, command: &str) -> Said {
    let mut shell = Command::new("sh");
    shell.args(["-c", command]).current_dir(directory).env("NO_COLOR", "1");
    Said::of(shell.output().unwrap())
}

#[test]
fn what_quickstart_advises_works_as_printed() {
    let elsewhere = tempfile::tempdir().unwrap();
    let here = elsewhere.path();
    let offset = free_port_offset().to_string();
    let arguments = ["quickstart", "--dir", "my own", "--exit", "--port-offset", &offset];
    let said = run_in(here, &arguments).expect_code(0);
    let advised = commands(&said.stdout);
    assert_eq!(advised.len(), 5, "{said:#?}");
    assert!(advised[0].ends_with(" quickstart --dir 'my own'"), "{advised:?}");
    let mut serving = Command::new("sh")
        .args(["-c", &format!("exec {}", advised[0])])
        .current_dir(here)
        .env("NO_COLOR", "1")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut printed = Vec::new();
    let mut stdout = serving.stdout.take().unwrap();
    // The last line names the seconds; after it nothing comes.
    while !String::from_utf8_lossy(&printed).contains("Development mode") {
        let mut chunk = [0; 4096];
        let read = stdout.read(&mut chunk).unwrap();
        assert!(read > 0, "it ended: {}", String::from_utf8_lossy(&printed));
        printed.extend_from_slice(&chunk[..read]);
    }
    for command in &advised[1..] {
        in_a_shell(here, command).expect_code(0);
    }
    let advised = commands(&String::from_utf8_lossy(&printed));
    assert_eq!(advised.len(), 4, "{advised:#?}");
    assert!(advised[3].contains(" explain G-"), "{advised:?}");
    for command in &advised {
        in_a_shell(here, command).expect_code(0);
    }
    // And what `call` says of a refusal by the gateway.
    let token = in_a_shell(here, &advised[0]).stdout;
    let stolen = advised[1].replace("clients/demo", "clients/stranger");
    let said = in_a_shell(here, &format!("{stolen} --token {}", token.trim())).expect_code(5);
    let why = commands(&said.stderr);
    assert_eq!(why.len(), 1, "{said:?}");
    in_a_shell(here, &why[0]).expect_code(0);
    // Also from inside of the directory, and from beside the client.
    for (inside, client) in [
        ("my own", "clients/stranger"),
        ("my own/clients", "stranger/client.toml"),
    ] {
        let (url, inside) = (stolen.split(' ').nth(2).unwrap(), here.join(inside));
        let said = run_in(&inside, &["call", url, "--client", client, "--token", token.trim()]).expect_code(5);
        in_a_shell(&inside, &commands(&said.stderr)[0]).expect_code(0);
    }
    signal("TERM", serving.id());
    assert_eq!(serving.wait().unwrap().code(), Some(0));
}

#[test]
fn on_the_path_the_program_is_called_by_its_name() {
    let directory = tempfile::tempdir().unwrap();
    let binary = Path::new(env!("CARGO_BIN_EXE_keybound"));
    let path = format!(
        "{}:{}",
        binary.parent().unwrap().display(),
        std::env::var("PATH").unwrap()
    );
    let init = |path: &str, program: &str, dir: &str| {
        let command = format!("{program} init --yes --dir {dir} | grep 'config check'");
        let mut shell = Command::new("sh");
        shell
            .args(["-c", &command])
            .current_dir(directory.path())
            .env("PATH", path);
        Said::of(shell.env("NO_COLOR", "1").output().unwrap())
            .expect_code(0)
            .stdout
    };
    let said = init(&path, "keybound", "a");
    assert_eq!(said, "Next:   keybound config check --config a/keybound.toml\n");
    std::os::unix::fs::symlink(binary, directory.path().join("kb")).unwrap();
    let said = init(&std::env::var("PATH").unwrap(), "./kb", "b");
    assert_eq!(said, "Next:   ./kb config check --config b/keybound.toml\n");
}

#[test]
fn explain_takes_the_error_uri_and_shows_what_reads_backwards() {
    let installation = Installation::start();
    let hidden = "evil\u{202e}nimda\u{2066}\u{200f}\u{61c}";
    let form = format!("client_id={hidden}");
    let answer = installation.curl(
        Some("demo"),
        &[
            &installation.mutual_tls("/token"),
            "-d",
            "grant_type=client_credentials",
            "--data-urlencode",
            &form,
        ],
    );
    assert_eq!((answer.status, &*answer.error()), (400, "invalid_client"), "{answer:?}");
    let uri = answer.json()["error_uri"].as_str().unwrap().to_owned();
    let by_uri = installation.run(&["explain", &uri]).expect_code(0);
    let by_id = installation.run(&["explain", &answer.refusal()]).expect_code(0);
    // Not all of it: days that are left are counted anew each time.
    let first_line = |said: &str| said.lines().next().map(str::to_owned);
    assert_eq!(first_line(&by_uri.stdout), first_line(&by_id.stdout));
    assert!(by_uri.stdout.contains(&answer.refusal()), "{by_uri:?}");
    let is_hidden = |c: char| hidden.contains(c) && !c.is_ascii();
    assert!(!by_id.stdout.contains(is_hidden), "{by_id:?}");
    let said = installation
        .run(&["explain", "https://localhost/console/refusals/nonsense"])
        .expect_code(2);
    assert!(said.stderr.contains("at the end of its error_uri"), "{said:?}");

    use base64::Engine;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    let part = |value: serde_json::Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let header = part(json!({ "alg": "ES256", "typ": "at+jwt" }));
    let claims = part(json!({ "client_id": hidden, "exp": 2_000_000_000 }));
    let token = format!("{header}.{claims}.{}", URL_SAFE_NO_PAD.encode([0; 64]));
    let said = installation.run(&["token", "inspect", &token]).expect_code(0);
    assert!(
        said.stdout.contains("evil\u{fffd}nimda") && !said.stdout.contains(is_hidden),
        "{said:?}"
    );
}
