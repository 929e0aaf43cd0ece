//! `[limits]`: a configured limit holds, and another one after a reload.

use std::process::Command;
use std::time::{Duration, Instant};

use crate::installation::{Installation, run_in};
use crate::scene::Scene;

/// How many of ten failed authentications, one right after the other, were answered 429.
fn too_many(installation: &Installation) -> usize {
    let url = installation.mutual_tls("/token?[1-10]");
    let form = "grant_type=client_credentials&client_id=nobody";
    let answers = installation.curl(None, &["-d", form, &url]);
    // The first answer is taken apart, the others are what is left with it.
    usize::from(answers.status == 429) + answers.body.matches("HTTP/1.1 429").count()
}

fn set_limits(scene_file: &std::path::Path, lines: &str) {
    let text = std::fs::read_to_string(scene_file).unwrap();
    let (before, after) = text.split_once("[limits]\n").unwrap();
    let rest = after.find("\n# Authorities").unwrap_or_default();
    std::fs::write(scene_file, format!("{before}[limits]\n{lines}{}", &after[rest..])).unwrap();
}

// covers T33
#[test]
fn a_configured_limit_holds_and_another_one_after_a_reload() {
    let scene = Scene::new();
    set_limits(
        &scene.path("keybound.toml"),
        "failed_authentications_per_second = 100000\n",
    );
    let (installation, _) = scene.start();
    assert_eq!(too_many(&installation), 0);

    // A value that makes no sense changes nothing, and is shown with its place.
    let file = installation.path("keybound.toml");
    set_limits(&file, "failed_authentications_per_second = 0\n");
    let directory = file.parent().unwrap();
    let said = run_in(directory, &["config", "check", "--config", "keybound.toml"]).expect_code(65);
    let expected = "`limits.failed_authentications_per_second` must lie between 1 and 100000";
    assert!(said.stdout.contains(expected) && said.stdout.contains('^'), "{said:#?}");
    let line = std::fs::read_to_string(&file).unwrap();
    let line = line.lines().position(|line| line.starts_with("failed_")).unwrap() + 1;
    assert!(said.stdout.contains(&format!("keybound.toml:{line}:37")), "{said:#?}");
    hang_up(&installation);
    assert_eq!(too_many(&installation), 0);

    set_limits(&file, "failed_authentications_per_second = 1\n");
    hang_up(&installation);
    let deadline = Instant::now() + Duration::from_secs(10);
    while too_many(&installation) == 0 {
        assert!(Instant::now() < deadline, "the new limit does not hold");
    }
}

pub(crate) fn hang_up(installation: &Installation) {
    let process = installation.process_id().to_string();
    assert!(
        Command::new("kill")
            .args(["-HUP", &process])
            .status()
            .unwrap()
            .success()
    );
}
