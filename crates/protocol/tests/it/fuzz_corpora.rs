//! The fuzz targets over their corpora: each body is a plain function, and each input once made it go somewhere new.

#[path = "../../../../fuzz/src/bodies/certificate.rs"]
mod certificate;
#[path = "../../../../fuzz/src/bodies/client_cert.rs"]
mod client_cert;
#[path = "../../../../fuzz/src/bodies/distinguished_name.rs"]
mod distinguished_name;
#[path = "../../../../fuzz/src/bodies/dpop_proof.rs"]
mod dpop_proof;
#[path = "../../../../fuzz/src/bodies/form.rs"]
mod form;
#[path = "../../../../fuzz/src/bodies/jwk_set.rs"]
mod jwk_set;
#[path = "../../../../fuzz/src/bodies/jwt.rs"]
mod jwt;
#[path = "../../../../fuzz/src/bodies/subject_alternative_name.rs"]
mod subject_alternative_name;

use std::path::Path;

/// Replays a corpus of at least 200 inputs; a failure names the file.
fn replay(target: &str, check: fn(&[u8])) {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../fuzz/corpus")
        .join(target);
    let mut inputs = 0;
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let octets = std::fs::read(&path).unwrap();
        if std::panic::catch_unwind(|| check(&octets)).is_err() {
            panic!("{}", path.display());
        }
        inputs += 1;
    }
    assert!(inputs >= 200, "only {inputs} inputs");
}

#[test]
fn certificates() {
    replay("certificate", certificate::check);
}

#[test]
fn distinguished_names() {
    replay("distinguished_name", distinguished_name::check);
}

#[test]
fn subject_alternative_names() {
    replay("subject_alternative_name", subject_alternative_name::check);
}

#[test]
fn tokens() {
    replay("jwt", jwt::check);
}

// covers R9449-1
#[test]
fn proofs() {
    replay("dpop_proof", dpop_proof::check);
}

#[test]
fn key_sets() {
    replay("jwk_set", jwk_set::check);
}

#[test]
fn forms() {
    replay("form", form::check);
}

#[test]
fn client_cert_fields() {
    replay("client_cert", client_cert::check);
}
