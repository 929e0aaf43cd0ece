//! What a server refuses because it has too much to do, or because its store is not there.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use crate::causes::{Causes, INVALID_CLIENT, tls_client_auth};
use crate::installation::{Answer, Installation};
use crate::openssl::Wanted;
use crate::scene::{Scene, access_token, token};

fn opaque_scene() -> Scene {
    let scene = Scene::new();
    scene.openssl.authority("corp", "/O=Corp/CN=Corp CA");
    scene.openssl.certificate(Wanted::new("a", "/CN=a"), Some("corp"));
    scene.trusts("corp", "");
    let mut client = tls_client_auth("corp", "tls_client_auth_subject_dn", "CN=a");
    client["keybound_access_token_format"] = "opaque".into();
    scene.client("opaque", &client);
    scene
}

/// Fails to authenticate so often in one second that the last failure is answered otherwise.
fn fail_often(installation: &Installation) -> Answer {
    let url = installation.mutual_tls("/token?[1-60]");
    let form = "grant_type=client_credentials&client_id=opaque";
    // One connection, one answer after the other; the last is what `curl` is left with.
    let answers = installation.curl(None, &["-d", form, &url]);
    let text = format!(
        "HTTP/1.1 {} x\r\n{}\r\n\r\n{}",
        answers.status,
        fields(&answers),
        answers.body
    );
    let limited = text
        .split("HTTP/1.1 ")
        .filter(|answer| answer.starts_with("429"))
        .last();
    let limited = limited.unwrap_or_else(|| panic!("no 429 in {text}"));
    let (head, body) = limited.split_once("\r\n\r\n").unwrap();
    let headers = head.lines().filter_map(|line| line.split_once(':'));
    Answer {
        status: 429,
        headers: headers
            .map(|(name, value)| (name.to_owned(), value.trim().to_owned()))
            .collect(),
        body: body.to_owned(),
    }
}

fn fields(answer: &Answer) -> String {
    let lines: Vec<String> = answer
        .headers
        .iter()
        .map(|(name, value)| format!("{name}: {value}"))
        .collect();
    lines.join("\r\n")
}

// covers UX-2, R12, T33, R6749-3
#[test]
fn the_first_failed_rule_is_why_there_was_no_time_or_no_store() {
    let (installation, openssl) = opaque_scene().start();
    access_token(&token(&installation, &openssl, Some("a"), "opaque", ""));
    let mut causes = Causes::new(&installation);

    // 429 is for failures alone: what it withholds is the code of the failure, and that is what `explain` names first.
    let limited = fail_often(&installation);
    assert!(limited.header("retry-after").is_some(), "{limited:?}");
    let rule = "client certificate presented";
    causes.refused(
        "failed too often",
        &limited,
        (429, "temporarily_unavailable"),
        rule,
        "no client certificate",
    );
    let record = installation.explain(&limited.refusal());
    let rate = record["rules"]
        .as_array()
        .unwrap()
        .iter()
        .rfind(|rule| rule["outcome"] == "failed");
    assert_eq!(
        rate.unwrap()["rule"],
        "failed authentications within their limit",
        "{record}"
    );
    access_token(&token(&installation, &openssl, Some("a"), "opaque", ""));

    let locked = while_locked(&installation.path("keybound.db"), || {
        token(&installation, &openssl, Some("a"), "opaque", "")
    });
    assert!(locked.header("retry-after").is_some(), "{locked:?}");
    let rule = "store answers";
    causes.refused("database locked", &locked, (503, "temporarily_unavailable"), rule, "");
    access_token(&token(&installation, &openssl, Some("a"), "opaque", ""));
    assert_eq!(causes.shown.len(), 2);
    let after = token(&installation, &openssl, None, "opaque", "");
    assert_eq!((after.status, after.error().as_str()), INVALID_CLIENT, "{after:?}");
}

/// Runs `action` while another process holds the database.
fn while_locked<T>(database: &Path, action: impl FnOnce() -> T) -> T {
    let hold = "import sqlite3, sys\n\
                it = sqlite3.connect(sys.argv[1], isolation_level=None)\n\
                it.execute('BEGIN IMMEDIATE')\n\
                print('held', flush=True)\n\
                sys.stdin.read()\n";
    let mut holder = Command::new("python3")
        .args(["-c", hold])
        .arg(database)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("python3 is installed");
    let mut line = String::new();
    BufReader::new(holder.stdout.take().unwrap())
        .read_line(&mut line)
        .unwrap();
    assert_eq!(line, "held\n");
    let result = action();
    let mut input = holder.stdin.take().unwrap();
    input.flush().unwrap();
    drop(input);
    holder.wait().unwrap();
    result
}
