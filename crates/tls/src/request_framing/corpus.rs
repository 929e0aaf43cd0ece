//! The fuzz target of the screen over its corpus.

#[path = "../../../../fuzz/src/bodies/request_framing.rs"]
mod body;

use std::path::Path;

#[test]
fn requests_of_the_corpus_are_read_in_one_way() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/request_framing");
    let mut inputs = 0;
    for entry in std::fs::read_dir(directory).expect("the corpus is committed") {
        let path = entry.expect("a file").path();
        let octets = std::fs::read(&path).expect("a file");
        if std::panic::catch_unwind(|| body::check(&octets)).is_err() {
            panic!("{}", path.display());
        }
        inputs += 1;
    }
    assert!(inputs >= 200, "only {inputs} inputs");
}
