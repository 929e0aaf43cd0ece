//! Reads the files that an operator names: configuration, certificates, keys, clients, revocation lists.
//!
//! Whole, and therefore bounded; and only what has an end. A device or a named pipe would hang a daemon at its start or at a
//! reload, or fill its memory, where a plain sentence tells of a path that was mistyped. Pipes that are already open are another
//! matter: `/dev/stdin`, and `/dev/fd/63` as shells make it of `<(command)`.

use std::fs::{File, FileType};
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::FileTypeExt;
use std::path::Path;

/// Bytes of a file whose kind names no other limit: certificates, keys, configuration, client metadata.
pub const OPERATOR_FILE_BYTES_MAX: u64 = 1024 * 1024;

/// Bytes of a file with revocation lists: those of large authorities have tens of megabytes.
pub const REVOCATION_LISTS_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// Why a file was not read. The message begins with the file.
#[derive(Debug, thiserror::Error)]
pub enum OperatorFileError {
    /// It cannot be opened or read.
    #[error("{file}: {cause}")]
    Unreadable {
        /// The file.
        file: String,
        /// The cause. No `source`: the message has it already, and a chain would say it twice.
        cause: io::Error,
    },
    /// Something else than a file goes by this name.
    #[error("{file}: {kind}, not a file")]
    NotAFile {
        /// Its name.
        file: String,
        /// What it is, with its article.
        kind: &'static str,
    },
    /// Longer than it may be. Nothing of it was used.
    #[error("{file}: longer than {bytes_max} bytes")]
    TooLong {
        /// The file.
        file: String,
        /// The limit.
        bytes_max: u64,
    },
    /// Text was wanted.
    #[error("{file}: not UTF-8 text")]
    NotText {
        /// The file.
        file: String,
    },
}

impl OperatorFileError {
    /// What to do about it, in a sentence, where that is known.
    pub fn fix(&self) -> Option<&'static str> {
        match self {
            Self::Unreadable { .. } => None,
            Self::NotAFile { kind, .. } => Some(match *kind {
                NAMED_PIPE => "name a file, or use /dev/stdin or <(command): a named pipe may have no writer",
                _ => "name a regular file",
            }),
            Self::TooLong { .. } => Some("is it the right file? None of its kind is that long"),
            Self::NotText { .. } => Some("is it the right file? It should be text"),
        }
    }

    /// Whether there is nothing of that name.
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::Unreadable { cause, .. } if cause.kind() == ErrorKind::NotFound)
    }
}

/// Reads a whole file of at most `bytes_max` bytes.
///
/// # Errors
/// [`OperatorFileError`]
pub fn read(path: &Path, bytes_max: u64) -> Result<Vec<u8>, OperatorFileError> {
    read_from(open(path)?, &path.display().to_string(), bytes_max)
}

/// The same where text is wanted.
///
/// # Errors
/// [`OperatorFileError`]
pub fn read_text(path: &Path, bytes_max: u64) -> Result<String, OperatorFileError> {
    let file = path.display().to_string();
    String::from_utf8(read(path, bytes_max)?).map_err(|_| OperatorFileError::NotText { file })
}

/// Reads what is open already, such as standard input, to its end.
///
/// # Errors
/// [`OperatorFileError`]; it calls the source `name`.
pub fn read_from(source: impl Read, name: &str, bytes_max: u64) -> Result<Vec<u8>, OperatorFileError> {
    let mut bytes = Vec::new();
    let read = source.take(bytes_max.saturating_add(1)).read_to_end(&mut bytes);
    let file = name.to_owned();
    match read {
        Err(cause) => Err(OperatorFileError::Unreadable { file, cause }),
        Ok(read) if read as u64 > bytes_max => Err(OperatorFileError::TooLong { file, bytes_max }),
        Ok(_) => Ok(bytes),
    }
}

/// Opens a file to read, without waiting for anybody.
///
/// # Errors
/// [`OperatorFileError::Unreadable`], [`OperatorFileError::NotAFile`]
pub fn open(path: &Path) -> Result<File, OperatorFileError> {
    let file = || path.display().to_string();
    let unreadable = |cause| OperatorFileError::Unreadable { file: file(), cause };
    // Looked at before it is opened: opening a named pipe waits for its other end.
    let kind = std::fs::metadata(path).map_err(unreadable)?.file_type();
    match unfit(kind) {
        Some(kind) if kind == DIRECTORY || !is_open_already(path) => {
            Err(OperatorFileError::NotAFile { file: file(), kind })
        }
        _ => File::open(path).map_err(unreadable),
    }
}

const DIRECTORY: &str = "a directory";
const NAMED_PIPE: &str = "a named pipe";

/// What it is, if that is no file.
fn unfit(kind: FileType) -> Option<&'static str> {
    match () {
        () if kind.is_file() => None,
        () if kind.is_dir() => Some(DIRECTORY),
        () if kind.is_fifo() => Some(NAMED_PIPE),
        () if kind.is_char_device() => Some("a character device"),
        () if kind.is_block_device() => Some("a block device"),
        () if kind.is_socket() => Some("a socket"),
        () => Some("something special"),
    }
}

/// The names by which a process reaches what it has open.
fn is_open_already(path: &Path) -> bool {
    path == Path::new("/dev/stdin")
        || ["/dev/fd", "/proc/self/fd"]
            .iter()
            .any(|directory| path.starts_with(directory))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use std::os::unix::net::UnixListener;
    use std::process::Command;

    use super::*;

    fn check(path: &Path, bytes_max: u64, expected: Result<&[u8], &str>) {
        let name = path.display().to_string();
        let read = read(path, bytes_max).map_err(|error| error.to_string());
        let expected = expected
            .map(<[u8]>::to_vec)
            .map_err(|sentence| format!("{name}: {sentence}"));
        assert_eq!(read, expected);
    }

    #[test]
    fn refuses_what_is_no_file_without_waiting_for_it() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        assert!(Command::new("mkfifo").arg(path("pipe")).status().unwrap().success());
        let _socket = UnixListener::bind(path("socket")).unwrap();
        std::os::unix::fs::symlink("/dev/zero", path("link.pem")).unwrap();
        check(&path("pipe"), 10, Err("a named pipe, not a file"));
        check(&path("socket"), 10, Err("a socket, not a file"));
        check(&path("link.pem"), 10, Err("a character device, not a file"));
        check(Path::new("/dev/zero"), 10, Err("a character device, not a file"));
        check(directory.path(), 10, Err("a directory, not a file"));
        check(&path("none"), 10, Err("No such file or directory (os error 2)"));
        let absent = open(&path("none")).unwrap_err();
        assert!(absent.is_not_found());
        assert!(std::error::Error::source(&absent).is_none(), "it would be said twice");
        assert!(open(&path("pipe")).unwrap_err().fix().unwrap().contains("/dev/stdin"));
    }

    #[test]
    fn reads_to_the_last_byte_that_is_allowed() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("file");
        std::fs::write(&file, b"0123456789").unwrap();
        check(&file, 10, Ok(b"0123456789"));
        check(&file, 9, Err("longer than 9 bytes"));
        // A file that says it is empty and is not.
        assert!(!read(Path::new("/proc/self/status"), 1 << 20).unwrap().is_empty());
        check(Path::new("/proc/self/status"), 9, Err("longer than 9 bytes"));
        std::fs::write(&file, b"\xff").unwrap();
        assert!(matches!(read_text(&file, 10), Err(OperatorFileError::NotText { .. })));
        assert!(
            read_from(io::repeat(0), "-", 1 << 20)
                .unwrap_err()
                .to_string()
                .starts_with("-: longer")
        );
    }
}
