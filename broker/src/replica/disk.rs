//! Whether the disks of this node take what is written to them.
//!
//! A leader that cannot write acknowledges nothing, and neither can the others while they wait for it. So a broker
//! whose disk refuses says so, others lead instead of it, and it is in sync only where nobody else is. When the disk
//! takes writes again, it comes back by itself.
//!
//! One failed write says little: a file is tried at once in each data folder, and if that works, a second failure is
//! waited for, because damage may be to single files.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use platform::fs;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep, timeout};

use crate::log::LogError;

/// What is written to see whether the disk takes it. One more batch of the usual largest size has room then.
const PROBE_BYTES: usize = 1024 * 1024;
/// Its file; what a crash leaves of it is written over the next time.
const PROBE_NAME: &str = ".disk-probe";
/// How long after a start the disk is tried, so as not to be in the way of the start.
const SETTLED: Duration = Duration::from_secs(1);
/// Failures in this time after the first are the same one.
const SAME_FAILURE: Duration = Duration::from_millis(500);
/// A failure after this time has nothing to do with the one before.
const RELATED: Duration = Duration::from_secs(10);
/// How long nothing must have failed before the disk is trusted again; doubles each time that was too early.
const FIRST_REST: Duration = Duration::from_secs(2);
const REST_MAX: Duration = Duration::from_secs(60);

/// See the module.
#[derive(Debug)]
pub(crate) struct DiskHealth {
    failures: AtomicU64,
    failed: Notify,
    refuses: watch::Sender<bool>,
}

impl Default for DiskHealth {
    fn default() -> Self {
        Self {
            failures: AtomicU64::new(0),
            failed: Notify::new(),
            refuses: watch::Sender::new(false),
        }
    }
}

impl DiskHealth {
    /// Notes that something could not be written.
    pub(super) fn note_failure(&self) {
        self.failures.fetch_add(1, Ordering::AcqRel);
        self.failed.notify_one();
    }

    /// Follows whether the disk refuses.
    pub(crate) fn refuses(&self) -> watch::Receiver<bool> {
        self.refuses.subscribe()
    }

    /// Whether the disk refuses now.
    pub(crate) fn is_refusing(&self) -> bool {
        *self.refuses.borrow()
    }

    /// Looks after the data folders for as long as it is polled.
    pub(crate) async fn look_after(&self, folders: Vec<PathBuf>) {
        // A broker that was started on a full disk may be in sync without a write that fails.
        sleep(SETTLED).await;
        if probe(&folders).await.is_err() {
            self.note_failure();
        }
        let mut rest = FIRST_REST;
        loop {
            let well_since = Instant::now();
            let why = self.failing(&folders).await;
            if well_since.elapsed() > REST_MAX {
                rest = FIRST_REST;
            }
            tracing::error!(
                "the disk refuses what is written: {why}; other brokers take over what this one leads until it can be written to again. Free or repair it"
            );
            self.refuses.send_replace(true);
            self.recovered(&folders, rest).await;
            tracing::info!("the disk can be written to again");
            self.refuses.send_replace(false);
            rest = (rest * 2).min(REST_MAX);
        }
    }

    /// Waits until the disk refuses; why.
    async fn failing(&self, folders: &[PathBuf]) -> String {
        loop {
            self.failed.notified().await;
            if let Err(error) = probe(folders).await {
                return error.to_string();
            }
            sleep(SAME_FAILURE).await;
            // One that was noted meanwhile is no second one.
            let before = self.failures.load(Ordering::Acquire);
            let another = async {
                while self.failures.load(Ordering::Acquire) == before {
                    self.failed.notified().await;
                }
            };
            if timeout(RELATED, another).await.is_ok() {
                return "writes keep failing, although a new file can be written".to_owned();
            }
        }
    }

    /// Waits until nothing fails any more for `rest`.
    async fn recovered(&self, folders: &[PathBuf], rest: Duration) {
        loop {
            let before = self.failures.load(Ordering::Acquire);
            sleep(rest).await;
            match probe(folders).await {
                Ok(()) if self.failures.load(Ordering::Acquire) == before => return,
                Ok(()) => {}
                Err(error) => tracing::debug!(%error, "the disk still refuses"),
            }
        }
    }
}

/// Writes a file to each folder and removes it.
async fn probe(folders: &[PathBuf]) -> Result<(), LogError> {
    let folders = folders.to_vec();
    platform::blocking::run(move || folders.iter().try_for_each(|folder| try_folder(folder))).await
}

fn try_folder(folder: &Path) -> Result<(), LogError> {
    let path = folder.join(PROBE_NAME);
    let written = fs::File::create(&path)
        .map_err(LogError::io("create", &path))
        .and_then(|file| {
            file.write_all_at(&vec![0; PROBE_BYTES], 0)
                .and_then(|()| file.sync_data())
                .map_err(LogError::io("write", &path))
        });
    // A file that could not be written is in the way of others.
    let removed = match fs::remove_file(&path) {
        Err(error) if written.is_ok() => Err(LogError::io("remove", &path)(error)),
        _ => Ok(()),
    };
    written.and(removed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder() -> (tempfile::TempDir, Vec<PathBuf>) {
        let folder = tempfile::tempdir().unwrap();
        let folders = vec![folder.path().join("data")];
        (folder, folders)
    }

    #[tokio::test(start_paused = true)]
    async fn a_disk_that_takes_no_new_file_refuses_until_it_does() {
        let (_kept, folders) = folder();
        let health = DiskHealth::default();
        let mut refuses = health.refuses();
        let looking = health.look_after(folders.clone());
        let test = async {
            health.note_failure();
            refuses.wait_for(|refuses| *refuses).await.unwrap();
            std::fs::create_dir(&folders[0]).unwrap();
            let before = Instant::now();
            refuses.wait_for(|refuses| !*refuses).await.unwrap();
            assert!(before.elapsed() >= FIRST_REST);
            assert_eq!(std::fs::read_dir(&folders[0]).unwrap().count(), 0);
        };
        tokio::select! {
            () = looking => {}
            () = test => {}
        }
    }

    #[tokio::test(start_paused = true)]
    async fn one_failure_is_no_reason_but_a_second_one_is() {
        let (_kept, folders) = folder();
        std::fs::create_dir(&folders[0]).unwrap();
        let health = DiskHealth::default();
        let mut refuses = health.refuses();
        let looking = health.look_after(folders);
        let test = async {
            for pause in [Duration::from_millis(1), RELATED * 2, RELATED * 2] {
                sleep(pause).await;
                health.note_failure();
            }
            sleep(Duration::from_secs(1)).await;
            assert!(!*refuses.borrow_and_update());
            health.note_failure();
            refuses.wait_for(|refuses| *refuses).await.unwrap();
            // As long as it goes on, a probe that works says nothing.
            for _ in 0..10 {
                sleep(Duration::from_millis(900)).await;
                health.note_failure();
            }
            assert!(*refuses.borrow_and_update());
            refuses.wait_for(|refuses| !*refuses).await.unwrap();
        };
        tokio::select! {
            () = looking => {}
            () = test => {}
        }
    }
}
