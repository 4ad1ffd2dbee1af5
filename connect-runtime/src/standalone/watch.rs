//! Tells that something may have happened to one of some files.
//!
//! Only a hint, so that a change shows at once: events are coalesced, can overflow, and do not exist
//! on network file systems. Whoever waits here also looks now and then without being told.
//!
//! The files are watched, not their folders: those often hold what connectors write to, and every
//! write there would be an event. A file that is replaced takes its watch with it, which is an event,
//! too; so files are watched anew after every event.

use std::path::Path;
use std::sync::Arc;

use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::Notify;

/// Wakes whoever waits for changes. Dropping it ends the watch.
pub(super) struct FileWatch {
    watcher: RecommendedWatcher,
    wake: Arc<Notify>,
}

impl FileWatch {
    /// Watches nothing yet.
    pub(super) fn new() -> notify::Result<Self> {
        let wake = Arc::new(Notify::new());
        let waiting = Arc::clone(&wake);
        let watcher = notify::recommended_watcher(move |event: notify::Result<Event>| {
            // Reading a file is an event as well.
            if !event.is_ok_and(|event| matches!(event.kind, EventKind::Access(_))) {
                waiting.notify_one();
            }
        })?;
        Ok(Self { watcher, wake })
    }

    /// Watches these files, what is there by their names now. Blocks for a moment.
    pub(super) fn arm<'a>(&mut self, files: impl Iterator<Item = &'a Path>) {
        for file in files {
            // One that was replaced is another file under a name that is known already.
            drop(self.watcher.unwatch(file));
            if let Err(error) = self.watcher.watch(file, RecursiveMode::NonRecursive) {
                tracing::debug!("{} is not watched: {error}", file.display());
            }
        }
    }

    /// Waits until something happened since the last call; may be wrong. Cancel-safe.
    pub(super) async fn changed(&self) {
        self.wake.notified().await;
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::time::Duration;

    use super::*;

    async fn woken(watch: &FileWatch, wait: Duration) -> bool {
        tokio::time::timeout(wait, watch.changed()).await.is_ok()
    }

    #[tokio::test]
    async fn a_write_and_a_rename_over_the_file_wake_and_reading_it_does_not() {
        let soon = Duration::from_secs(10);
        let folder = tempfile::tempdir().unwrap();
        let (path, other) = (folder.path().join("a"), folder.path().join("b"));
        fs::write(&path, "1").unwrap();
        let mut watch = FileWatch::new().unwrap();
        watch.arm(std::iter::once(path.as_path()));
        fs::read(&path).unwrap();
        fs::write(&other, "2").unwrap();
        assert!(!woken(&watch, Duration::from_millis(200)).await);
        for round in 0..2 {
            fs::write(&path, "3").unwrap();
            assert!(woken(&watch, soon).await, "write, round {round}");
            watch.arm(std::iter::once(path.as_path()));
            while woken(&watch, Duration::from_millis(100)).await {}
            fs::write(&other, "4").unwrap();
            fs::rename(&other, &path).unwrap();
            assert!(woken(&watch, soon).await, "rename, round {round}");
            watch.arm(std::iter::once(path.as_path()));
            while woken(&watch, Duration::from_millis(100)).await {}
        }
    }
}
