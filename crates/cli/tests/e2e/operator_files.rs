//! Files that an operator names: what has no end is refused at once, with the exit code of what it was meant to be.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::installation::{Said, free_port_offset, keybound, run_in};

fn installation() -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    let offset = free_port_offset().to_string();
    run_in(directory.path(), &["quickstart", "--exit", "--port-offset", &offset]).expect_code(0);
    let pipe = directory.path().join("pipe.pem");
    assert!(Command::new("mkfifo").arg(pipe).status().unwrap().success());
    std::fs::write(directory.path().join("long.toml"), "#".repeat(1024 * 1024 + 1)).unwrap();
    directory
}

/// A command that waits for a pipe would wait for ever.
fn run_soon(directory: &Path, arguments: &[&str]) -> Said {
    let mut command = Command::new("timeout");
    command.arg("20").arg(keybound().get_program()).args(arguments);
    Said::of(command.env("NO_COLOR", "1").current_dir(directory).output().unwrap())
}

#[test]
fn an_argument_that_is_no_file_is_refused_at_once_with_a_fix() {
    let directory = installation();
    let directory = directory.path();
    let anonymous = ["--issuer", "https://localhost:1", "--client-id", "a"];
    let with = |more: &[&'static str]| [&["token", "get"], &anonymous[..], more].concat();
    for (arguments, code, sentence) in [
        (
            vec!["certificate", "inspect", "/dev/zero"],
            2,
            "/dev/zero: a character device, not a file",
        ),
        (
            vec!["certificate", "inspect", "pipe.pem"],
            2,
            "pipe.pem: a named pipe, not a file",
        ),
        (
            vec!["certificate", "inspect", "clients"],
            2,
            "clients: a directory, not a file",
        ),
        (
            vec!["certificate", "inspect", "long.toml"],
            2,
            "long.toml: longer than 1048576 bytes",
        ),
        (vec!["certificate", "inspect", "none"], 3, "none: No such file"),
        (
            vec!["certificate", "check", "clients/demo/cert.pem", "--ca", "/dev/zero"],
            2,
            "a character device",
        ),
        (
            vec![
                "certificate",
                "check",
                "clients/demo/cert.pem",
                "--ca",
                "pki/ca.pem",
                "--crl",
                "pipe.pem",
            ],
            2,
            "a named pipe",
        ),
        (vec!["client", "create", "--file", "/dev/zero"], 2, "a character device"),
        (
            vec!["call", "https://localhost:1", "--data", "@pipe.pem"],
            2,
            "a named pipe",
        ),
        (vec!["token", "get", "--client", "pipe.pem"], 65, "a named pipe"),
        (vec!["token", "get", "--client", "long.toml"], 65, "longer than"),
        (
            with(&["--certificate", "/dev/zero", "--key", "/dev/zero"]),
            65,
            "a character device",
        ),
        (with(&["--ca", "pipe.pem"]), 65, "a named pipe"),
        (
            vec!["config", "check", "--config", "/dev/zero"],
            65,
            "a character device",
        ),
        (vec!["config", "check", "--config", "long.toml"], 65, "longer than"),
        (vec!["config", "check", "--config", "clients"], 65, "a directory"),
        (vec!["serve", "--config", "pipe.pem"], 65, "a named pipe"),
        (vec!["gateway", "--config", "/dev/zero"], 65, "a character device"),
    ] {
        let said = run_soon(directory, &arguments);
        assert_eq!(said.code, code, "{arguments:?}: {said:#?}");
        assert!(said.stderr.contains(sentence), "{arguments:?}: {said:#?}");
        let has_fix = ["name a", "is it the right file"]
            .iter()
            .any(|fix| said.stderr.contains(fix));
        assert!(has_fix || code == 3, "{arguments:?}: {said:#?}");
    }
}

#[test]
fn a_configuration_that_names_what_is_no_file_is_refused_at_its_place() {
    let directory = installation();
    let directory = directory.path();
    let path = directory.join("keybound.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    for (find, replace, sentence) in [
        (
            "certificate = \"pki/server.pem\"",
            "certificate = \"/dev/zero\"",
            "a character device",
        ),
        ("key = \"pki/server.key\"", "key = \"pipe.pem\"", "a named pipe"),
        ("file = \"pki/ca.pem\"", "file = \"pki\"", "a directory"),
        (
            "file = \"pki/ca.pem\"",
            "file = \"pki/ca.pem\"\ncrl = [\"pipe.pem\"]",
            "a named pipe",
        ),
        ("ca = [\"pki/ca.pem\"]", "ca = [\"pipe.pem\"]", "a named pipe"),
        (
            "clients = [\"clients.d/*.json\"]",
            "clients = [\"*.pem\"]",
            "a named pipe",
        ),
        (
            "clients = [\"clients.d/*.json\"]",
            "clients = [\"long.toml\"]",
            "longer than",
        ),
    ] {
        assert!(text.contains(find), "{find}");
        std::fs::write(&path, text.replacen(find, replace, 1)).unwrap();
        let said = run_soon(directory, &["config", "check", "--config", "keybound.toml"]).expect_code(65);
        let line = text.lines().position(|line| line.contains(find)).unwrap() + 1 + replace.matches('\n').count();
        assert!(said.stdout.contains(&format!("keybound.toml:{line}:")), "{said:#?}");
        assert!(
            said.stdout.contains(sentence) && said.stdout.contains("help: "),
            "{said:#?}"
        );
    }
    for key in ["url = \"sqlite:keybound.db\"", "key_file = \"secrets/keys.kek\""] {
        let (name, _) = key.split_once(" = ").unwrap();
        let pipe = if name == "url" { "sqlite:pipe.pem" } else { "pipe.pem" };
        std::fs::write(&path, text.replacen(key, &format!("{name} = \"{pipe}\""), 1)).unwrap();
        let said = run_soon(directory, &["serve", "--config", "keybound.toml"]).expect_code(65);
        assert!(said.stderr.contains("pipe.pem: a named pipe, not a file"), "{said:#?}");
    }
}

#[test]
fn standard_input_and_pipes_that_are_open_are_read_up_to_the_limit() {
    let directory = installation();
    let directory = directory.path();
    let program = keybound().get_program().to_owned();
    let shell = |script: &str| {
        let mut command = Command::new("timeout");
        command.args(["20", "bash", "-c", script]).env("keybound", &program);
        Said::of(command.current_dir(directory).stdin(Stdio::null()).output().unwrap())
    };
    for script in [
        "cat clients/demo/cert.pem | \"$keybound\" certificate inspect -",
        "cat clients/demo/cert.pem | \"$keybound\" certificate inspect /dev/stdin",
        "\"$keybound\" certificate inspect <(cat clients/demo/cert.pem)",
    ] {
        let said = shell(script).expect_code(0);
        assert!(said.stdout.contains("demo.client.test"), "{script}: {said:#?}");
    }
    for (script, sentence) in [
        (
            "\"$keybound\" certificate inspect - < /dev/zero",
            "standard input: longer than 1048576 bytes",
        ),
        (
            "\"$keybound\" certificate inspect /dev/stdin < /dev/zero",
            "/dev/stdin: longer than 1048576 bytes",
        ),
        (
            "\"$keybound\" certificate inspect <(cat /dev/zero)",
            "longer than 1048576 bytes",
        ),
        (
            "\"$keybound\" token inspect - < /dev/zero",
            "standard input: longer than 1048576 bytes",
        ),
        (
            "\"$keybound\" client create --file - < /dev/zero",
            "standard input: longer than 1048576 bytes",
        ),
    ] {
        let said = shell(script).expect_code(2);
        assert!(said.stderr.contains(sentence), "{script}: {said:#?}");
    }
    // What comes through a pipe is there once, and read once: its keys are judged, not an empty file.
    let said = shell("\"$keybound\" config check --config <(echo 'profile = \"x\"')").expect_code(65);
    assert!(said.stdout.contains("must be \"default\""), "{said:#?}");
}
