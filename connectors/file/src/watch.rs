//! Tells that something may have happened to a file, through one watcher for the whole process.
//!
//! Only a hint: events are coalesced, can overflow, and do not exist on network file systems. Whoever
//! waits here must look at the file itself, and also look now and then without being told.
//!
//! Directories are watched, not files: a watch on a file dies silently when the file is replaced,
//! and cannot wait for one that does not exist.

use std::collections::HashMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use notify::event::ModifyKind;
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::Notify;

use crate::identity::directory_of;

/// Wakes whoever waits for changes of one path. Dropping it ends the watch.
#[derive(Debug)]
pub(crate) struct Watch {
    wake: Arc<Wake>,
    /// The directory of the path, and, behind a symbolic link, that of the file.
    directories: Vec<PathBuf>,
}

#[derive(Debug, Default)]
struct Wake {
    notify: Notify,
    /// A watched directory is gone.
    lost: AtomicBool,
}

#[derive(Debug)]
struct Interest {
    name: OsString,
    wake: Arc<Wake>,
}

/// Who wants to know about which directory.
type Interests = HashMap<PathBuf, Vec<Interest>>;

struct Hub {
    /// Held while a directory is added or removed. The watcher answers those from its own thread, so
    /// the callback must never wait for this lock.
    watcher: Mutex<RecommendedWatcher>,
    /// Held for moments only, also by the callback.
    interests: Arc<Mutex<Interests>>,
}

impl Watch {
    /// Begins to watch. Blocks for a moment.
    ///
    /// # Errors
    /// The directory does not exist, or the system has no watch left.
    pub(crate) fn start(path: &Path) -> notify::Result<Self> {
        let hub = Hub::get()?;
        let mut watch = Self {
            wake: Arc::default(),
            directories: Vec::new(),
        };
        let directory = directory_of(path).canonicalize()?;
        let target = path
            .canonicalize()
            .ok()
            .filter(|target| directory_of(target) != directory);
        hub.add(&mut watch, directory, path)?;
        if let Some(target) = target {
            hub.add(&mut watch, directory_of(&target).to_owned(), &target)?;
        }
        Ok(watch)
    }

    /// Waits until something happened since the last call; may be wrong, never misses what the system
    /// reports. Cancel-safe.
    pub(crate) async fn changed(&self) {
        self.wake.notify.notified().await;
    }

    /// Whether it will not report anything any more.
    pub(crate) fn is_lost(&self) -> bool {
        self.wake.lost.load(Ordering::Relaxed)
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        if let Ok(hub) = Hub::get() {
            for directory in &self.directories {
                hub.remove(directory, &self.wake);
            }
        }
    }
}

impl Hub {
    /// The process's watcher; made at the first call, and at a later one if that failed.
    fn get() -> notify::Result<&'static Hub> {
        static HUB: OnceLock<Hub> = OnceLock::new();
        static MAKING: Mutex<()> = Mutex::new(());
        let _making = lock(&MAKING);
        if let Some(hub) = HUB.get() {
            return Ok(hub);
        }
        let interests: Arc<Mutex<Interests>> = Arc::default();
        let seen = Arc::clone(&interests);
        let watcher = notify::recommended_watcher(move |event| wake(&mut lock(&seen), event))?;
        Ok(HUB.get_or_init(|| Hub {
            watcher: Mutex::new(watcher),
            interests,
        }))
    }

    fn add(&self, watch: &mut Watch, directory: PathBuf, path: &Path) -> notify::Result<()> {
        let mut watcher = lock(&self.watcher);
        // Also for a directory that is watched already: it may have been replaced.
        watcher.watch(&directory, RecursiveMode::NonRecursive)?;
        let interest = Interest {
            name: path.file_name().unwrap_or_default().to_owned(),
            wake: Arc::clone(&watch.wake),
        };
        lock(&self.interests)
            .entry(directory.clone())
            .or_default()
            .push(interest);
        watch.directories.push(directory);
        Ok(())
    }

    fn remove(&self, directory: &Path, wake: &Arc<Wake>) {
        let mut watcher = lock(&self.watcher);
        let last = {
            let mut interests = lock(&self.interests);
            let Some(waiting) = interests.get_mut(directory) else {
                return;
            };
            waiting.retain(|interest| !Arc::ptr_eq(&interest.wake, wake));
            let last = waiting.is_empty();
            if last {
                interests.remove(directory);
            }
            last
        };
        if last && let Err(error) = watcher.unwatch(directory) {
            tracing::debug!(directory = %directory.display(), %error, "the directory was not watched any more");
        }
    }
}

/// Runs on the watcher's thread, for every event: must be quick.
fn wake(interests: &mut Interests, event: notify::Result<Event>) {
    let event = match event {
        Ok(event) if !event.need_rescan() => event,
        // Events were lost; anything may have happened.
        _ => {
            interests
                .values()
                .flatten()
                .for_each(|interest| interest.wake.notify.notify_one());
            return;
        }
    };
    if matches!(event.kind, EventKind::Access(_)) {
        return;
    }
    let gone = matches!(
        event.kind,
        EventKind::Remove(_) | EventKind::Modify(ModifyKind::Name(_))
    );
    for path in &event.paths {
        if gone && let Some(waiting) = interests.get(path) {
            for interest in waiting {
                interest.wake.lost.store(true, Ordering::Relaxed);
                interest.wake.notify.notify_one();
            }
        }
        let (Some(directory), Some(name)) = (path.parent(), path.file_name()) else {
            continue;
        };
        for interest in interests
            .get(directory)
            .into_iter()
            .flatten()
            .filter(|interest| interest.name == name)
        {
            interest.wake.notify.notify_one();
        }
    }
}

/// The maps behind these locks stay whole even if a holder panicked.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::time::Duration;

    use super::*;

    async fn woken(watch: &Watch) -> bool {
        tokio::time::timeout(Duration::from_millis(500), watch.changed())
            .await
            .is_ok()
    }

    #[tokio::test]
    async fn changes_of_the_file_wake_and_others_do_not() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a");
        let watch = Watch::start(&path).unwrap();
        fs::write(directory.path().join("b"), "x").unwrap();
        assert!(
            tokio::time::timeout(Duration::from_millis(100), watch.changed())
                .await
                .is_err()
        );
        fs::write(&path, "x").unwrap();
        assert!(woken(&watch).await);
        fs::rename(directory.path().join("b"), &path).unwrap();
        assert!(woken(&watch).await);
    }

    #[tokio::test]
    async fn a_directory_made_anew_is_watched_anew() {
        let parent = tempfile::tempdir().unwrap();
        let directory = parent.path().join("d");
        fs::create_dir(&directory).unwrap();
        let path = directory.join("a");
        let watch = Watch::start(&path).unwrap();
        fs::remove_dir(&directory).unwrap();
        assert!(woken(&watch).await && watch.is_lost());
        fs::create_dir(&directory).unwrap();
        let watch = Watch::start(&path).unwrap();
        fs::write(&path, "x").unwrap();
        assert!(woken(&watch).await);
    }

    #[cfg(unix)]
    #[tokio::test]
    async fn a_file_behind_a_symbolic_link_is_watched() {
        let directory = tempfile::tempdir().unwrap();
        let elsewhere = tempfile::tempdir().unwrap();
        let target = elsewhere.path().join("real");
        fs::write(&target, "x").unwrap();
        std::os::unix::fs::symlink(&target, directory.path().join("link")).unwrap();
        let watch = Watch::start(&directory.path().join("link")).unwrap();
        fs::write(&target, "y").unwrap();
        assert!(woken(&watch).await);
    }
}
