//! Notices that a configuration file, or one that it names, has changed.
//!
//! By looking at size and time of change four times a second: that sees files replaced by renaming, directories swapped under a
//! symbolic link (as Kubernetes does) and new client files alike, which watches on single files do not.

use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

/// How often [`FileWatch::changed`] is meant to be asked. A change counts when it is seen twice, so within two of these.
pub(crate) const INTERVAL: Duration = Duration::from_millis(250);

/// The part of the time that may be spent on looking: with very many files, or a slow disk, one looks less often.
const SHARE_MAX: u32 = 20;

/// What is looked at.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Watched {
    /// Files by name.
    pub(crate) files: Vec<PathBuf>,
    /// Patterns, for files that may come and go.
    pub(crate) patterns: Vec<PathBuf>,
}

type Stamp = Vec<(PathBuf, Option<(u64, SystemTime)>)>;

/// The files of one daemon and how they looked last.
#[derive(Debug, Default)]
pub(crate) struct FileWatch {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    watched: Watched,
    /// How the files looked before they were read.
    read: Stamp,
    /// How they looked the last time.
    last: Stamp,
    /// Not to look again before this, because the last time took so long.
    rest_until: Option<Instant>,
}

impl FileWatch {
    /// Reads with `read`, and watches from now on what that `names`.
    ///
    /// All of it is looked at before it is read, so that a change in between is noticed later. Which files there are is known
    /// only once the first of them was read; so it is read twice, and the second time counts. What is read after this returns
    /// was looked at, too.
    ///
    /// # Errors
    /// Those of `read`; the files known so far are then watched on.
    pub(crate) fn read<T, E>(
        &self,
        mut read: impl FnMut() -> Result<T, E>,
        names: impl Fn(&T) -> Watched,
    ) -> Result<T, E> {
        self.look(None);
        let first = read()?;
        self.look(Some(names(&first)));
        read()
    }

    fn look(&self, other: Option<Watched>) {
        let mut state = self.lock();
        if let Some(watched) = other {
            state.watched = watched;
        }
        let stamp = state.watched.stamp();
        state.read.clone_from(&stamp);
        state.last = stamp;
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the files differ from when they were read. True once for each change, and only when nothing has changed since
    /// the call before: a file that is still being written is not read half.
    pub(crate) fn changed(&self) -> bool {
        let mut state = self.lock();
        let begun = Instant::now();
        if state.rest_until.is_some_and(|until| begun < until) {
            return false;
        }
        let changed = state.look_again();
        state.rest_until = rest(begun.elapsed()).map(|rest| begun + rest);
        changed
    }
}

/// How long not to look again after a look of this duration; `None` where the interval is long enough.
fn rest(look: Duration) -> Option<Duration> {
    let rest = look * SHARE_MAX;
    (rest > INTERVAL).then_some(rest)
}

impl State {
    fn look_again(&mut self) -> bool {
        let now = self.watched.stamp();
        let settled = now == self.last;
        self.last.clone_from(&now);
        let changed = settled && now != self.read;
        if changed {
            self.read = now;
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

    impl FileWatch {
        /// [`changed`](Self::changed) at any pace.
        fn look_again(&self) -> bool {
            self.lock().look_again()
        }
    }

    #[test]
    fn a_change_is_reported_once_and_only_when_it_has_settled() {
        let directory = tempfile::tempdir().unwrap();
        let (file, pattern) = (directory.path().join("a"), directory.path().join("*.json"));
        std::fs::write(&file, "1").unwrap();
        let watch = FileWatch::default();
        let watched = Watched {
            files: vec![file.clone()],
            patterns: vec![pattern],
        };
        watch.read(|| std::fs::read(&file), |_| watched.clone()).unwrap();
        let look = || [watch.look_again(), watch.look_again(), watch.look_again()];
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

    #[test]
    fn a_look_that_takes_long_is_not_repeated_soon() {
        let milliseconds = Duration::from_millis;
        assert_eq!(rest(milliseconds(0)), None);
        assert_eq!(rest(milliseconds(12)), None);
        assert_eq!(rest(milliseconds(100)), Some(milliseconds(2_000)));
        // What is looked at soon enough is noticed within a second.
        assert!(INTERVAL * 2 < milliseconds(600));
    }

    #[test]
    fn a_change_between_reading_and_watching_is_not_missed() {
        let directory = tempfile::tempdir().unwrap();
        let (file, named) = (directory.path().join("a"), directory.path().join("b"));
        let watched = || Watched {
            files: vec![file.clone(), named.clone()],
            patterns: Vec::new(),
        };
        // Which one changes while it is being read, and during which of the two readings.
        for (changes, reading) in [(&file, 1), (&file, 2), (&named, 1), (&named, 2)] {
            std::fs::write(&file, "1").unwrap();
            std::fs::write(&named, "1").unwrap();
            let (watch, mut readings, mut content) = (FileWatch::default(), 0, String::new());
            watch
                .read(
                    || {
                        content = std::fs::read_to_string(changes)?;
                        readings += 1;
                        if readings == reading {
                            std::fs::write(changes, format!("changed in {reading}"))?;
                        }
                        Ok::<_, std::io::Error>(())
                    },
                    |()| watched(),
                )
                .unwrap();
            let is_stale = content == "1";
            assert_eq!(is_stale, reading == 2, "{changes:?}");
            let looks = [watch.look_again(), watch.look_again(), watch.look_again()];
            assert_eq!(looks, [false, is_stale, false], "{changes:?} {reading}");
        }
    }

    #[test]
    fn what_could_not_be_read_is_read_again_when_it_has_changed_and_not_before() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("a");
        std::fs::write(&file, "1").unwrap();
        let watch = FileWatch::default();
        let watched = Watched {
            files: vec![file.clone()],
            patterns: Vec::new(),
        };
        watch.read(|| Ok::<_, ()>(()), |()| watched.clone()).unwrap();
        std::fs::write(&file, "broken").unwrap();
        watch.read(|| Err::<(), _>(()), |()| watched.clone()).unwrap_err();
        assert_eq!([watch.look_again(), watch.look_again()], [false, false]);
        std::fs::write(&file, "mended!").unwrap();
        assert_eq!([watch.look_again(), watch.look_again()], [false, true]);
    }
}
