//! The file sink on a disk that is really full. Needs the right to mount; without it there is nothing
//! to test, and `/dev/full` in the unit tests has to do.
#![cfg(target_os = "linux")]
// All of this file is a test.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use connect_core::testing::TestWorker;
use connect_core::{AnyConnector, ConfigMap, OffsetMap, SinkRecord, SinkTask, plugin};
use connect_file as _;

/// A file system of one megabyte.
struct SmallDisk {
    folder: tempfile::TempDir,
}

impl SmallDisk {
    fn mount() -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=1m", "tmpfs"])
            .arg(folder.path())
            .output();
        mounted
            .is_ok_and(|mounted| mounted.status.success())
            .then_some(Self { folder })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let unmounted = Command::new("umount").arg(self.folder.path()).status();
        assert!(
            unmounted.is_ok_and(|status| status.success()),
            "cannot unmount"
        );
    }
}

async fn start(path: &Path) -> Box<dyn SinkTask> {
    let AnyConnector::Sink(connector) = plugin::find("FileStreamSink").unwrap().create() else {
        panic!("not a sink")
    };
    let mut task = connector.task();
    let config = ConfigMap::from([("file".to_owned(), path.to_str().unwrap().to_owned())]);
    task.start(TestWorker::new("sink").sink_context(), &config)
        .await
        .unwrap();
    task
}

fn batch(number: usize) -> Vec<String> {
    (0..500)
        .map(|line| format!("{number} {line} {}", "x".repeat(90)))
        .collect()
}

fn records(lines: &[String]) -> Vec<SinkRecord> {
    let topic: Arc<str> = "t".into();
    lines
        .iter()
        .map(|line| SinkRecord::new(Arc::clone(&topic), 0, 0, line.as_str()))
        .collect()
}

/// The task is told to go on for as long as it takes, as a worker does; space appears meanwhile.
#[tokio::test]
async fn writing_goes_on_by_itself_once_there_is_space() {
    let Some(disk) = SmallDisk::mount() else {
        eprintln!("skipped: no right to mount");
        return;
    };
    let ballast = disk.path("ballast");
    fs::write(&ballast, vec![0; 700 * 1024]).unwrap();
    let path = disk.path("sink.txt");
    let mut task = start(&path).await;
    let (mut expected, mut refused) = (String::new(), 0);
    for number in 0..12 {
        let lines = batch(number);
        while let Err(error) = task.put(records(&lines)).await {
            assert!(
                error.is_retriable() && error.message().contains("free some space"),
                "{error}"
            );
            refused += 1;
            if refused == 5 {
                fs::remove_file(&ballast).unwrap();
            }
        }
        lines
            .iter()
            .for_each(|line| expected.extend([line.as_str(), "\n"]));
        if let Err(error) = task.flush(&OffsetMap::new()).await {
            assert!(error.is_retriable(), "{error}");
        }
    }
    task.flush(&OffsetMap::new()).await.unwrap();
    assert!(refused >= 5, "the disk was never full");
    assert!(fs::read_to_string(&path).unwrap() == expected);
}

/// Half a line would be continued by the next task that appends to the file.
#[tokio::test]
async fn a_full_disk_leaves_whole_lines_for_others_to_append_to() {
    let Some(disk) = SmallDisk::mount() else {
        eprintln!("skipped: no right to mount");
        return;
    };
    let ballast = disk.path("ballast");
    fs::write(&ballast, vec![0; 990 * 1024]).unwrap();
    let path = disk.path("sink.txt");
    let (mut one, mut two) = (start(&path).await, start(&path).await);
    let lines = batch(0);
    assert!(
        one.put(records(&lines))
            .await
            .unwrap()
            .failures()
            .is_empty()
    );
    assert!(one.flush(&OffsetMap::new()).await.is_err());
    let kept = fs::read_to_string(&path).unwrap();
    assert!(!kept.is_empty() && kept.ends_with('\n'), "the line is torn");
    fs::remove_file(&ballast).unwrap();
    assert!(
        two.put(records(&["between".to_owned()]))
            .await
            .unwrap()
            .failures()
            .is_empty()
    );
    two.flush(&OffsetMap::new()).await.unwrap();
    one.flush(&OffsetMap::new()).await.unwrap();
    let rest = (lines.join("\n") + "\n").split_off(kept.len());
    assert!(fs::read_to_string(&path).unwrap() == format!("{kept}between\n{rest}"));
}
