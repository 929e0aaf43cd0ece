//! A panic is a bug in every process. Tests count them: the hook appends to the file that `KEYBOUND_PANIC_LOG` names.

use std::io::Write;
use std::path::PathBuf;

/// Installs the hook, beside the one that prints.
pub(crate) fn install() {
    let Some(path) = std::env::var_os("KEYBOUND_PANIC_LOG").map(PathBuf::from) else {
        return;
    };
    let printing = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if let Ok(mut file) = std::fs::OpenOptions::new().create(true).append(true).open(&path) {
            // Nothing can be done in a panic about a log that cannot be written; the message is printed all the same.
            let _ = writeln!(
                file,
                "keybound[{}]: {}",
                std::process::id(),
                panic.to_string().replace('\n', " ")
            );
        }
        printing(panic);
    }));
}
