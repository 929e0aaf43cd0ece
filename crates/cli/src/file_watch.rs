//! Notices that a configuration file, or one that it names, has changed.
//!
//! By looking at size and time of change every two seconds: that sees files replaced by renaming, directories swapped under a
//! symbolic link (as Kubernetes does) and new client files alike, which watches on single files do not.

use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

/// How often [`FileWatch::changed`] is meant to be asked.
pub(crate) const INTERVAL: Duration = Duration::from_secs(2);

/// What is looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Watched {
    /// Files by name.
    pub(crate) files: Vec<PathBuf>,
    /// Patterns, for files that may come and go.
    pub(crate) patterns: Vec<PathBuf>,
}

type Stamp = Vec<(PathBuf, Option<(u64, SystemTime)>)>;

/// The files of one daemon and how they looked last.
#[derive(Debug)]
pub(crate) struct FileWatch {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    watched: Watched,
    /// How the files looked when they were read.
    read: Stamp,
    /// How they looked the last time.
    last: Stamp,
}

impl FileWatch {
    /// Files that were read just now.
    pub(crate) fn new(watched: Watched) -> Self {
        let stamp = watched.stamp();
        Self {
            state: Mutex::new(State {
                watched,
                read: stamp.clone(),
                last: stamp,
            }),
        }
    }

    /// Other files count from now on.
    pub(crate) fn replace(&self, watched: Watched) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).watched = watched;
    }

    /// Whether the files differ from when they were read. True once for each change, and only when nothing has changed since
    /// the call before: a file that is still being written is not read half.
    pub(crate) fn changed(&self) -> bool {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let now = state.watched.stamp();
        let settled = now == state.last;
        state.last.clone_from(&now);
        let changed = settled && now != state.read;
        if changed {
            state.read = now;
        }
        changed
    }
}

impl Watched {
    fn stamp(&self) -> Stamp {
        let matching = self
            .patterns
            .iter()
            .filter_map(|pattern| glob::glob(&pattern.to_string_lossy()).ok());
        let mut files: Vec<PathBuf> = self.files.iter().cloned().chain(matching.flatten().flatten()).collect();
        files.sort();
        files.dedup();
        files
            .into_iter()
            .map(|file| {
                let metadata = std::fs::metadata(&file).ok();
                let look = metadata.and_then(|metadata| Some((metadata.len(), metadata.modified().ok()?)));
                (file, look)
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn a_change_is_reported_once_and_only_when_it_has_settled() {
        let directory = tempfile::tempdir().unwrap();
        let (file, pattern) = (directory.path().join("a"), directory.path().join("*.json"));
        std::fs::write(&file, "1").unwrap();
        let watch = FileWatch::new(Watched {
            files: vec![file.clone()],
            patterns: vec![pattern],
        });
        let look = || [watch.changed(), watch.changed(), watch.changed()];
        assert_eq!(look(), [false, false, false]);
        std::fs::write(&file, "12").unwrap();
        assert_eq!(
            look(),
            [false, true, false],
            "first it may still be written, then it counts, then it is known"
        );
        std::fs::write(directory.path().join("new.json"), "{}").unwrap();
        assert_eq!(look(), [false, true, false], "a new file that a pattern names");
        std::fs::remove_file(&file).unwrap();
        assert_eq!(look(), [false, true, false], "a file that went away");
    }
}
