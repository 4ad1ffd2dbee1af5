use std::fs;
use std::sync::Arc;
use std::time::Duration;

use connect_core::plugin;
use connect_core::testing::TestWorker;
use connect_core::{AnyConnector, ErrorClass};
use tempfile::TempDir;

use super::*;
use crate::append::marker_of;

struct World {
    directory: TempDir,
    path: PathBuf,
    worker: TestWorker,
}

impl World {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("test.sink.txt");
        Self {
            directory,
            path,
            worker: TestWorker::new("local-file-sink"),
        }
    }

    async fn task(&self) -> Box<dyn SinkTask> {
        self.task_on(self.path.clone()).await
    }

    async fn task_on(&self, path: PathBuf) -> Box<dyn SinkTask> {
        let AnyConnector::Sink(connector) = plugin::find("FileStreamSink").unwrap().create() else {
            panic!("not a sink")
        };
        let config = ConfigMap::from([("file".to_owned(), path.to_str().unwrap().to_owned())]);
        let mut task = connector.task();
        task.start(self.worker.sink_context(), &config)
            .await
            .unwrap();
        task
    }

    fn content(&self) -> String {
        fs::read_to_string(&self.path).unwrap()
    }
}

fn records<V: Into<Value>>(values: impl IntoIterator<Item = V>) -> Vec<SinkRecord> {
    let topic: Arc<str> = "connect-test".into();
    values
        .into_iter()
        .zip(0..)
        .map(|(value, offset)| SinkRecord::new(Arc::clone(&topic), 0, offset, value))
        .collect()
}

async fn put<V: Into<Value>>(task: &mut Box<dyn SinkTask>, values: impl IntoIterator<Item = V>) {
    assert!(
        task.put(records(values))
            .await
            .unwrap()
            .failures()
            .is_empty()
    );
}

fn offsets() -> OffsetMap {
    OffsetMap::from([(TopicPartition::new("connect-test", 0), 2)])
}

#[tokio::test]
async fn values_become_lines_and_flush_returns_the_offsets() {
    let world = World::new();
    let mut task = world.task().await;
    assert!(
        task.put(records(["foo", "bar"]))
            .await
            .unwrap()
            .failures()
            .is_empty()
    );
    assert_eq!(task.flush(&offsets()).await.unwrap(), offsets());
    assert_eq!(world.content(), "foo\nbar\n");
    task.stop().await.unwrap();
    assert!(!marker_of(&world.path).exists());
}

#[tokio::test]
async fn lines_arrive_without_a_flush() {
    let world = World::new();
    let mut task = world.task().await;
    put(&mut task, ["foo"]).await;
    for _ in 0..100 {
        if world.content() == "foo\n" {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("the line is not there after a second");
}

#[tokio::test]
async fn values_are_rendered_as_kafka_does_and_bytes_as_they_are() {
    let world = World::new();
    let mut task = world.task().await;
    let values = [
        Value::Null,
        Value::Int32(5),
        Value::Float64(1e10),
        Value::Bytes(b"\xff\x00".to_vec().into()),
    ];
    put(&mut task, values).await;
    task.flush(&offsets()).await.unwrap();
    assert_eq!(
        fs::read(&world.path).unwrap(),
        b"null\n5\n1.0E10\n\xff\x00\n"
    );
}

#[tokio::test]
async fn many_batches_arrive_in_order() {
    let world = World::new();
    let mut task = world.task().await;
    let mut expected = String::new();
    for batch in 0..200 {
        let lines: Vec<String> = (0..500)
            .map(|line| format!("{batch} {line} {}", "x".repeat(80)))
            .collect();
        lines
            .iter()
            .for_each(|line| expected.extend([line.as_str(), "\n"]));
        put(&mut task, lines).await;
        if batch % 50 == 0 {
            task.flush(&offsets()).await.unwrap();
        }
    }
    task.flush(&offsets()).await.unwrap();
    assert!(world.content() == expected);
}

#[tokio::test]
async fn a_missing_folder_is_retried_with_the_reason_and_loses_nothing() {
    let world = World::new();
    let folder = world.directory.path().join("later");
    let mut task = world.task_on(folder.join("sink.txt")).await;
    assert!(
        world
            .worker
            .waiting()
            .unwrap()
            .contains("create the missing directory")
    );
    put(&mut task, ["foo"]).await;
    for _ in 0..2 {
        let error = task.flush(&offsets()).await.unwrap_err();
        assert!(
            error.is_retriable() && error.message().contains("create the missing directory"),
            "{error}"
        );
        let error = task.put(records(["bar"])).await.unwrap_err();
        assert!(error.is_retriable(), "{error}");
    }
    fs::create_dir(&folder).unwrap();
    put(&mut task, ["bar"]).await;
    task.flush(&offsets()).await.unwrap();
    assert_eq!(
        fs::read_to_string(folder.join("sink.txt")).unwrap(),
        "foo\nbar\n"
    );
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_full_disk_is_retried_with_the_reason() {
    let world = World::new();
    let mut task = world.task_on("/dev/full".into()).await;
    put(&mut task, ["foo"]).await;
    let error = task.flush(&offsets()).await.unwrap_err();
    assert!(
        error.is_retriable() && error.message().contains("free some space"),
        "{error}"
    );
    assert!(task.put(records(["bar"])).await.unwrap_err().is_retriable());
    assert!(task.stop().await.is_err());
}

#[tokio::test]
async fn a_torn_line_is_cut_before_its_record_comes_again() {
    let world = World::new();
    let mut task = world.task().await;
    put(&mut task, ["foo", "bar"]).await;
    task.flush(&offsets()).await.unwrap();
    drop(task);
    let torn = fs::OpenOptions::new()
        .write(true)
        .open(&world.path)
        .unwrap();
    torn.set_len(6).unwrap();
    let mut task = world.task().await;
    put(&mut task, ["bar"]).await;
    task.flush(&offsets()).await.unwrap();
    assert_eq!(world.content(), "foo\nbar\n");
}

#[tokio::test]
async fn unflushed_lines_of_a_deleted_file_come_again() {
    let world = World::new();
    let mut task = world.task().await;
    put(&mut task, ["foo"]).await;
    while world.content().is_empty() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    fs::remove_file(&world.path).unwrap();
    put(&mut task, ["bar"]).await;
    // Whoever tries again, as a worker does before it gives up a task, must not be told that all is well.
    for _ in 0..2 {
        let error = task.flush(&offsets()).await.unwrap_err();
        assert_eq!(error.class(), ErrorClass::Fatal, "{error}");
    }
    let error = task.put(records(["more"])).await.unwrap_err();
    assert_eq!(error.class(), ErrorClass::Fatal, "{error}");
    assert!(task.stop().await.is_err());
}

#[tokio::test]
async fn tasks_share_a_file_line_by_line() {
    let world = World::new();
    let (mut one, mut two) = (world.task().await, world.task().await);
    for _ in 0..100 {
        put(&mut one, ["a".repeat(100)]).await;
        put(&mut two, ["b".repeat(100)]).await;
    }
    one.flush(&offsets()).await.unwrap();
    two.flush(&offsets()).await.unwrap();
    let content = world.content();
    assert_eq!(content.lines().count(), 200);
    assert!(content.lines().all(|line| {
        line.len() == 100
            && line
                .bytes()
                .all(|byte| Some(&byte) == line.as_bytes().first())
    }));
}

#[cfg(unix)]
#[tokio::test]
async fn a_named_pipe_waits_for_its_reader_and_gets_every_line_whole() {
    use std::io::{BufRead, BufReader};
    let world = World::new();
    assert!(
        std::process::Command::new("mkfifo")
            .arg(&world.path)
            .status()
            .unwrap()
            .success()
    );
    let mut task = world.task().await;
    assert!(world.worker.waiting().unwrap().contains("cannot open"));
    let lines: Vec<String> = (0..5000)
        .map(|number| format!("{number} {}", "x".repeat(100)))
        .collect();
    // Taken, although nobody reads yet; the pipe holds an eighth of it, and then a part of a line.
    put(&mut task, lines.clone()).await;
    assert!(task.flush(&offsets()).await.unwrap_err().is_retriable());
    let (pipe, reading) = (world.path.clone(), lines.len());
    let reader = std::thread::spawn(move || {
        let pipe = BufReader::new(fs::File::open(pipe).unwrap());
        std::thread::sleep(Duration::from_millis(1500));
        pipe.lines()
            .take(reading)
            .collect::<Result<Vec<String>, _>>()
            .unwrap()
    });
    let mut retries = 0;
    while let Err(error) = task.flush(&offsets()).await {
        assert!(error.is_retriable(), "{error}");
        retries += 1;
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(retries > 0, "the pipe was never full");
    assert!(reader.join().unwrap() == lines);
}
