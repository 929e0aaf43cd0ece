//! README's commands exist: a newcomer types them first.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, bail};

use super::suite;
use crate::workspace;

/// The two commands that do all set-up; README must give them letter for letter.
const PROMISED: [&str; 2] = ["cargo run --release -- quickstart", "cargo xtask test"];

/// Checks every command in README's code blocks: chores against the chores, `keybound` against its own help texts.
pub(super) fn check() -> anyhow::Result<String> {
    let readme = fs::read_to_string(workspace::root().join("README.md")).context("cannot read README.md")?;
    let binary = suite::binary();
    let mut help = Help {
        texts: BTreeMap::new(),
        binary: &binary,
    };
    let commands = commands_in(&readme);
    let mut faults = Vec::new();
    for promised in PROMISED {
        if !commands.iter().any(|command| command == promised) {
            faults.push(format!("the line `{promised}` is missing"));
        }
    }
    for command in &commands {
        if let Err(error) = check_command(command, &mut help) {
            faults.push(format!("`{command}`: {error:#}"));
        }
    }
    if !faults.is_empty() {
        bail!("README.md: {}", faults.join("; "));
    }
    Ok(format!(
        "{} commands of README.md exist with these options",
        commands.len()
    ))
}

/// The commands of all fenced code blocks: one per line, prompts and comments removed, pipelines taken apart.
fn commands_in(readme: &str) -> Vec<String> {
    let joined = readme.replace("\\\n", " ");
    let mut inside = false;
    let mut commands = Vec::new();
    for line in joined.lines().map(str::trim) {
        if let Some(language) = line.strip_prefix("```") {
            inside = !inside && ["sh", "bash", "console", "shell"].contains(&language.trim());
            continue;
        }
        if inside {
            let line = line
                .strip_prefix("$ ")
                .unwrap_or(line)
                .split(" # ")
                .next()
                .unwrap_or(line);
            let parts = line.split(['|', ';']).flat_map(|part| part.split("&&"));
            commands.extend(parts.map(|part| part.trim().to_owned()).filter(|part| is_ours(part)));
        }
    }
    commands
}

fn is_ours(command: &str) -> bool {
    command.starts_with("cargo xtask") || arguments_of_keybound(command).is_some()
}

fn arguments_of_keybound(command: &str) -> Option<Vec<&str>> {
    let words: Vec<&str> = command.split_whitespace().collect();
    if command.starts_with("cargo run") {
        let separator = words.iter().position(|word| *word == "--")?;
        return words.get(separator + 1..).map(<[&str]>::to_vec);
    }
    let program = words.first()?.rsplit('/').next()?;
    (program == "keybound").then(|| words.get(1..).unwrap_or_default().to_vec())
}

fn check_command(command: &str, help: &mut Help<'_>) -> anyhow::Result<()> {
    if let Some(chore) = command.strip_prefix("cargo xtask ") {
        let chore = chore.split_whitespace().next().unwrap_or_default();
        if !crate::CHORES.iter().any(|(name, _)| *name == chore) {
            bail!("no such chore");
        }
        return Ok(());
    }
    let arguments = arguments_of_keybound(command).unwrap_or_default();
    let mut path: Vec<&str> = Vec::new();
    for word in &arguments {
        let subcommands = subcommands_in(help.of(&path)?);
        if subcommands.is_empty() || word.starts_with('-') {
            break;
        }
        if !subcommands.contains(&(*word).to_owned()) {
            bail!("`keybound {}` has no subcommand `{word}`", path.join(" "));
        }
        path.push(word);
    }
    let text = help.of(&path)?.to_owned();
    for option in arguments.iter().filter(|word| word.starts_with("--") && word.len() > 2) {
        let option = option.split('=').next().unwrap_or(option);
        let is_listed = text
            .split(|c: char| !(c.is_alphanumeric() || c == '-'))
            .any(|word| word == option);
        if !is_listed {
            bail!("`keybound {}` has no option `{option}`", path.join(" "));
        }
    }
    Ok(())
}

/// The help texts of the binary, each asked for once.
struct Help<'a> {
    texts: BTreeMap<String, String>,
    binary: &'a Path,
}

impl Help<'_> {
    fn of(&mut self, path: &[&str]) -> anyhow::Result<&str> {
        let key = path.join(" ");
        if !self.texts.contains_key(&key) {
            let text = workspace::output_of(Command::new(self.binary).args(path).arg("--help"))?;
            self.texts.insert(key.clone(), text);
        }
        self.texts
            .get(&key)
            .map(String::as_str)
            .context("unreachable: inserted above")
    }
}

/// The first words below the heading `Commands:` of a help text.
fn subcommands_in(help: &str) -> Vec<String> {
    let list = help.lines().skip_while(|line| line.trim() != "Commands:").skip(1);
    let entries = list.take_while(|line| line.is_empty() || line.starts_with(' '));
    entries
        .filter_map(|line| line.split_whitespace().next())
        .map(str::to_owned)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_commands_in_code_blocks_only() {
        let readme = "Run `keybound no`.\n```sh\n$ keybound token get \\\n  --client c | keybound call URL # why\ncd x && \
                      cargo xtask test\n```\n```toml\nkeybound serve\n```\n";
        assert_eq!(
            commands_in(readme),
            [
                "keybound token get    --client c",
                "keybound call URL",
                "cargo xtask test"
            ]
        );
    }

    #[test]
    fn refuses_an_unknown_subcommand_and_an_unknown_option() {
        let mut texts = BTreeMap::new();
        texts.insert(
            String::new(),
            "Commands:\n  serve  Runs\n  token  Asks\n\nOptions:\n  --quiet\n".to_owned(),
        );
        texts.insert("serve".to_owned(), "Options:\n  -c, --config <F>  where\n".to_owned());
        let mut help = Help {
            texts,
            binary: Path::new("/nonexistent"),
        };
        let mut check = |command| check_command(command, &mut help).map_err(|error| error.to_string());
        assert_eq!(check("keybound serve --config=keybound.toml"), Ok(()));
        assert_eq!(check("cargo run --release -- serve --config F"), Ok(()));
        assert_eq!(
            check("keybound serv"),
            Err("`keybound ` has no subcommand `serv`".to_owned())
        );
        assert_eq!(
            check("keybound serve --conf F"),
            Err("`keybound serve` has no option `--conf`".to_owned())
        );
        assert_eq!(check("cargo xtask tests"), Err("no such chore".to_owned()));
    }
}
