//! Files that were rotated away one after the other while nobody looked.
//!
//! Whoever reads slower than files are rotated, or was stopped meanwhile, finds more than one file
//! between the one it finished and the one that is there now. They are recognised by their names
//! (`app.log.2`, `app.log-20260131`, `app-2026-01-31.log`), so that a backup or a note beside the log
//! is not taken for one, and put in order by when they were created. A compressed one is lost to us.

use std::fs::{self, File, Metadata};
use std::path::Path;
use std::time::SystemTime;

use crate::identity::{Birth, Identity, SEARCH_MAX, directory_of, open};

/// The oldest file that was created between `finished` and `latest`, the one at `path` now, and
/// which is not among `known`.
pub(crate) fn next(
    path: &Path,
    finished: &Metadata,
    latest: &Metadata,
    known: &[Birth],
) -> Option<File> {
    let name = path.file_name()?.to_str()?;
    let between = created(finished)..=created(latest);
    let ends = [Identity::of(finished), Identity::of(latest)];
    let entries = fs::read_dir(directory_of(path)).ok()?;
    let oldest = entries
        .take(SEARCH_MAX)
        .filter_map(Result::ok)
        .filter(|entry| {
            entry
                .file_name()
                .to_str()
                .is_some_and(|other| is_rotation(name, other))
        })
        .filter_map(|entry| Some((entry.metadata().ok()?, entry.path())))
        .filter(|(metadata, _)| metadata.is_file() && between.contains(&created(metadata)))
        .filter(|(metadata, _)| {
            !ends.contains(&Identity::of(metadata)) && !known.contains(&Birth::of(metadata))
        })
        .min_by_key(|(metadata, _)| created(metadata))?;
    open(&oldest.1).ok()
}

/// When the file was made; where the system does not know, when it was last written, which puts
/// rotated files in the same order unless late lines came.
fn created(metadata: &Metadata) -> SystemTime {
    metadata
        .created()
        .or_else(|_| metadata.modified())
        .unwrap_or(SystemTime::UNIX_EPOCH)
}

/// Whether `other` is what a rotation makes of `name`: a number or a date is put behind it, or before
/// its extension.
fn is_rotation(name: &str, other: &str) -> bool {
    if other.strip_prefix(name).is_some_and(is_number_or_date) {
        return true;
    }
    name.rsplit_once('.').is_some_and(|(stem, extension)| {
        let middle = other
            .strip_prefix(stem)
            .and_then(|rest| rest.strip_suffix(extension)?.strip_suffix('.'));
        middle.is_some_and(is_number_or_date)
    })
}

/// Whether the text is a separator, and digits with separators.
fn is_number_or_date(text: &str) -> bool {
    text.starts_with(['.', '-', '_'])
        && text.ends_with(|last: char| last.is_ascii_digit())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_digit() || b".-_:T".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rotations delete the oldest file, and the next new one gets its inode.
    #[test]
    fn a_new_file_with_the_inode_of_a_finished_one_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("app.log");
        let made = |name: &str| {
            let path = folder.path().join(name);
            fs::write(&path, name).unwrap();
            let metadata = fs::metadata(&path).unwrap();
            // So that each file has a time of its own.
            std::thread::sleep(std::time::Duration::from_millis(20));
            (path, metadata)
        };
        let (deleted, of_deleted) = made("app.log.2");
        let (_, finished) = made("kept");
        let left = Birth::of(&of_deleted);
        fs::remove_file(deleted).unwrap();
        let (_, between) = made("app.log.1");
        let (_, latest) = made("app.log");
        if between.created().is_err() {
            return;
        }
        // Not every file system gives the inode again at once; say that it did.
        let left = left.with_identity(Identity::of(&between));
        assert!(next(&path, &finished, &latest, &[left]).is_some());
        let read = Birth::of(&between);
        assert!(next(&path, &finished, &latest, &[read]).is_none());
    }

    #[test]
    fn rotated_files_are_told_from_others_by_their_names() {
        for rotated in [
            "app.log.1",
            "app.log.12",
            "app.log-20260131",
            "app.log.2026-01-31",
            "app.log-2026-01-31T10:00:00",
            "app-2026-01-31.log",
            "app.1.log",
            "app_3.log",
        ] {
            assert!(is_rotation("app.log", rotated), "{rotated}");
        }
        for other in [
            "app.log",
            "app.log.bak",
            "app.log.1.gz",
            "app.log~",
            "app.log2",
            "app2.log",
            "other.log.1",
            "app.log.",
            "app..log",
        ] {
            assert!(!is_rotation("app.log", other), "{other}");
        }
    }
}
