//! Writes the inputs that fuzzing starts from: `corpus/TARGET/seed-NNN`, and the authority that some certificates are signed by.
//!
//! `cargo run --manifest-path fuzz/Cargo.toml --example seeds`. The same octets each time: keys are fixed, signatures are
//! Ed25519, and what is damaged is damaged by a generator with a fixed start. Each target has inputs that are right, the nearest
//! ones that are wrong, and both damaged in one to three places. What libFuzzer found lies beside them under other names.

#[path = "../../crates/protocol/tests/it/der.rs"]
mod der;
mod seeds {
    pub(crate) mod certificates;
    pub(crate) mod http;
    pub(crate) mod jose;
    pub(crate) mod names;
    pub(crate) mod random;
}

use std::fs;
use std::path::Path;

use seeds::random::Random;
use seeds::{certificates, http, jose, names};

/// How many inputs each target gets.
const SEEDS: usize = 240;

fn main() -> std::io::Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    fs::write(root.join("src/authority.der"), certificates::authority())?;
    let (mut certificates, altered) = certificates::inputs();
    certificates.extend(altered);
    let targets = [
        ("certificate", certificates),
        ("distinguished_name", names::distinguished_names()),
        ("subject_alternative_name", names::subject_alternative_names()),
        ("jwt", jose::tokens()),
        ("dpop_proof", jose::proofs()),
        ("jwk_set", jose::key_sets()),
        ("form", http::forms()),
        ("client_cert", http::client_certs()),
        ("request_framing", http::requests()),
    ];
    for (target, written) in targets {
        let directory = root.join("corpus").join(target);
        fs::create_dir_all(&directory)?;
        let written_by_hand = written.len();
        let inputs = filled_up(written);
        for (number, input) in inputs.iter().enumerate() {
            fs::write(directory.join(format!("seed-{number:03}")), input)?;
        }
        println!(
            "{target}: {} inputs, {written_by_hand} of them written by hand",
            inputs.len()
        );
    }
    Ok(())
}

/// The inputs without repetition, then damaged ones up to the number wanted.
fn filled_up(written: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
    let mut random = Random::new();
    let mut inputs: Vec<Vec<u8>> = Vec::new();
    let add = |input: Vec<u8>, inputs: &mut Vec<Vec<u8>>| {
        if !inputs.contains(&input) {
            inputs.push(input);
        }
    };
    for input in &written {
        add(input.clone(), &mut inputs);
    }
    while inputs.len() < SEEDS {
        let damaged = random.damaged(&written);
        add(damaged, &mut inputs);
    }
    inputs
}
