use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::PathBuf;
use std::time::Instant;

use connect_core::plugin;
use connect_core::testing::TestWorker;
use connect_core::{AnyConnector, ErrorClass};
use proptest::prelude::*;
use tempfile::TempDir;

use super::*;

struct World {
    directory: TempDir,
    path: PathBuf,
    worker: TestWorker,
    config: ConfigMap,
}

impl World {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("test.txt");
        let config = ConfigMap::from([
            ("file".to_owned(), path.to_str().unwrap().to_owned()),
            ("topic".to_owned(), "connect-test".to_owned()),
            ("rotate.wait.ms".to_owned(), "50".to_owned()),
        ]);
        Self {
            directory,
            path,
            worker: TestWorker::new("local-file-source"),
            config,
        }
    }

    fn with(content: impl AsRef<[u8]>) -> Self {
        let world = Self::new();
        fs::write(&world.path, content).unwrap();
        world
    }

    fn set(mut self, key: &str, value: &str) -> Self {
        self.config.insert(key.to_owned(), value.to_owned());
        self
    }

    fn append(&self, bytes: impl AsRef<[u8]>) {
        let mut file = OpenOptions::new()
            .append(true)
            .create(true)
            .open(&self.path)
            .unwrap();
        file.write_all(bytes.as_ref()).unwrap();
    }

    async fn task(&self) -> Box<dyn SourceTask> {
        let AnyConnector::Source(connector) = plugin::find("FileStreamSource").unwrap().create()
        else {
            panic!("not a source")
        };
        let mut task = connector.task();
        task.start(self.worker.source_context(), &self.config)
            .await
            .unwrap();
        task
    }

    /// Polls until `count` lines arrived, and stores the last position as a worker would.
    async fn lines(&self, task: &mut Box<dyn SourceTask>, count: usize) -> Vec<String> {
        let mut lines = Vec::new();
        while lines.len() < count {
            let records = poll(task).await.unwrap();
            for record in &records {
                lines.push(text(record));
            }
            for position in records.iter().filter_map(|record| record.position.as_ref()) {
                self.worker.store(position);
            }
        }
        assert_eq!(lines.len(), count, "{lines:?}");
        lines
    }
}

async fn poll(task: &mut Box<dyn SourceTask>) -> Result<Vec<SourceRecord>, ConnectError> {
    tokio::time::timeout(Duration::from_secs(10), task.poll())
        .await
        .expect("no lines in ten seconds")
}

async fn nothing(task: &mut Box<dyn SourceTask>) {
    assert!(
        tokio::time::timeout(Duration::from_millis(200), task.poll())
            .await
            .is_err()
    );
}

fn text(record: &SourceRecord) -> String {
    record.value.as_str().unwrap().to_owned()
}

#[test]
fn kafkas_names_find_it() {
    for name in [
        "FileStreamSource",
        "FileStreamSourceConnector",
        "org.apache.kafka.connect.file.FileStreamSourceConnector",
    ] {
        assert_eq!(
            plugin::find(name).unwrap().class(),
            "org.apache.kafka.connect.file.FileStreamSourceConnector"
        );
    }
}

#[test]
fn the_topic_is_required_and_not_empty() {
    let factory = plugin::find("FileStreamSource").unwrap();
    assert_eq!(factory.validate(&ConfigMap::new()).len(), 1);
    assert_eq!(
        factory
            .validate(&ConfigMap::from([("topic".to_owned(), String::new())]))
            .len(),
        1
    );
    assert!(
        factory
            .validate(&ConfigMap::from([("topic".to_owned(), "t".to_owned())]))
            .is_empty()
    );
}

#[test]
fn there_is_always_one_task() {
    assert_eq!(FileSource::default().task_configs(8).unwrap().len(), 1);
}

#[tokio::test]
async fn a_record_is_as_kafkas() {
    let world = World::with("foo\nbar\n");
    let mut task = world.task().await;
    let records = poll(&mut task).await.unwrap();
    let record = &records[0];
    assert_eq!(&*record.topic, "connect-test");
    assert_eq!(
        (&record.key, &record.key_schema, record.partition),
        (&Value::Null, &None, None)
    );
    assert_eq!(record.value_schema, Some(SchemaRef::STRING));
    assert!(record.timestamp.unwrap() > 1_600_000_000_000);
    assert!(record.position.is_none(), "the last record covers it");
    let position = records[1].position.as_ref().unwrap();
    assert_eq!(
        position.partition.fields()["filename"],
        world.path.to_str().unwrap()
    );
    assert_eq!(position.offset.fields()["position"], 8);
}

#[tokio::test]
async fn a_batch_limit_strands_nothing() {
    let world = World::with("1\n2\n3\n4\n5\n").set("batch.size", "2");
    let mut task = world.task().await;
    let mut sizes = Vec::new();
    for _ in 0..3 {
        sizes.push(poll(&mut task).await.unwrap().len());
    }
    assert_eq!(sizes, [2, 2, 1]);
}

#[tokio::test]
async fn positions_of_multi_byte_text_resume_exactly() {
    let world = World::with("éééé\n");
    let mut task = world.task().await;
    let records = poll(&mut task).await.unwrap();
    assert_eq!(
        records[0].position.as_ref().unwrap().offset.fields()["position"],
        9
    );
    world.worker.store(records[0].position.as_ref().unwrap());
    world.append("漢字\n");
    let mut task = world.task().await;
    assert_eq!(world.lines(&mut task, 1).await, ["漢字"]);
}

#[tokio::test]
async fn a_stored_position_beyond_the_end_does_not_spin() {
    let world = World::with("foo\n");
    let partition = SourcePartition::of(&FilePartition {
        filename: world.config.get("file").cloned(),
    })
    .unwrap();
    world.worker.store_offset(
        &partition,
        &SourceOffset::from_json(r#"{"position":4000}"#).unwrap(),
    );
    let mut task = world.task().await;
    assert_eq!(world.lines(&mut task, 1).await, ["foo"]);
    nothing(&mut task).await;
}

#[tokio::test]
async fn truncation_and_rewriting_while_running_is_noticed() {
    let world = World::with("a longer first version\n");
    let mut task = world.task().await;
    world.lines(&mut task, 1).await;
    nothing(&mut task).await;
    fs::write(&world.path, "short\n").unwrap();
    assert_eq!(world.lines(&mut task, 1).await, ["short"]);
}

#[tokio::test]
async fn an_appended_line_arrives_at_once() {
    let world = World::with("foo\n");
    let mut task = world.task().await;
    world.lines(&mut task, 1).await;
    nothing(&mut task).await;
    for _ in 0..5 {
        let before = Instant::now();
        world.append("bar\n");
        world.lines(&mut task, 1).await;
        assert!(
            before.elapsed() < Duration::from_millis(500),
            "{:?}: file events do not work",
            before.elapsed()
        );
    }
}

#[tokio::test]
async fn a_missing_file_is_waited_for_and_says_so() {
    let world = World::new();
    let mut task = world.task().await;
    nothing(&mut task).await;
    assert!(
        world
            .worker
            .waiting()
            .unwrap()
            .contains("does not exist yet")
    );
    world.append("foo\n");
    assert_eq!(world.lines(&mut task, 1).await, ["foo"]);
    assert_eq!(world.worker.waiting(), None);
    world.append("bar");
    nothing(&mut task).await;
    assert!(world.worker.waiting().unwrap().contains("no line end yet"));
}

#[tokio::test]
async fn rotation_is_followed_and_survives_a_restart() {
    let world = World::with("one\n");
    let mut task = world.task().await;
    world.lines(&mut task, 1).await;
    world.append("two\n");
    fs::rename(&world.path, world.directory.path().join("test.txt.1")).unwrap();
    world.append("three\n");
    assert_eq!(world.lines(&mut task, 2).await, ["two", "three"]);
    world.append("four\n");
    fs::rename(&world.path, world.directory.path().join("test.txt.2")).unwrap();
    world.append("five\n");
    let mut task = world.task().await;
    assert_eq!(world.lines(&mut task, 2).await, ["four", "five"]);
}

#[tokio::test]
async fn a_line_too_long_is_one_record_error_and_then_goes_on() {
    for chunk in ["4096", "524288"] {
        let long = "x".repeat(20_000);
        let world = World::with(format!("one\n{long}\ntwo\n"))
            .set("max.line.bytes", "100")
            .set("read.buffer.bytes", chunk);
        let mut task = world.task().await;
        assert_eq!(world.lines(&mut task, 1).await, ["one"]);
        let error = poll(&mut task).await.unwrap_err();
        assert_eq!(error.class(), ErrorClass::Record);
        assert!(
            error.message().starts_with("the line at byte 4 of"),
            "{error}"
        );
        assert_eq!(world.lines(&mut task, 1).await, ["two"]);
        let mut task = world.task().await;
        nothing(&mut task).await;
    }
}

#[tokio::test]
async fn a_directory_is_retried_until_it_is_a_file() {
    let world = World::new();
    fs::create_dir(&world.path).unwrap();
    let mut task = world.task().await;
    let error = poll(&mut task).await.unwrap_err();
    assert!(
        error.is_retriable() && error.message().contains("is a directory"),
        "{error}"
    );
    fs::remove_dir(&world.path).unwrap();
    world.append("foo\n");
    assert_eq!(world.lines(&mut task, 1).await, ["foo"]);
}

#[tokio::test]
async fn invalid_utf8_is_never_corrupted_unless_asked_for() {
    let bad = b"ok\n\xff\xfe\n\xc3\xa9\n";
    let world = World::with(bad);
    let records = poll(&mut world.task().await).await.unwrap();
    assert_eq!(text(&records[0]), "ok");
    assert_eq!(
        records[1].value,
        Value::Bytes(bytes::Bytes::from_static(b"\xff\xfe"))
    );
    assert_eq!(records[1].value_schema, Some(SchemaRef::BYTES));
    assert_eq!(text(&records[2]), "é");
    let world = World::with(bad).set("encoding", "utf-8-replace");
    assert_eq!(
        text(&poll(&mut world.task().await).await.unwrap()[1]),
        "\u{fffd}\u{fffd}"
    );
    let world = World::with(bad).set("encoding", "bytes");
    let records = poll(&mut world.task().await).await.unwrap();
    assert_eq!(
        records[0].value,
        Value::Bytes(bytes::Bytes::from_static(b"ok"))
    );
}

#[cfg(unix)]
#[tokio::test]
async fn a_named_pipe_delivers_lines_without_positions() {
    let world = World::new().set("poll.interval.ms", "60000");
    assert!(
        std::process::Command::new("mkfifo")
            .arg(&world.path)
            .status()
            .unwrap()
            .success()
    );
    let mut task = world.task().await;
    nothing(&mut task).await;
    let path = world.path.clone();
    let writer = std::thread::spawn(move || {
        let mut pipe = OpenOptions::new().write(true).open(path).unwrap();
        for number in 0..20_000 {
            writeln!(pipe, "line {number}").unwrap();
        }
    });
    let mut seen = 0;
    while seen < 20_000 {
        for record in poll(&mut task).await.unwrap() {
            assert_eq!(text(&record), format!("line {seen}"));
            assert!(record.position.is_none());
            seen += 1;
        }
    }
    writer.join().unwrap();
    nothing(&mut task).await;
}

#[tokio::test]
async fn offsets_to_alter_are_checked() {
    let source = FileSource::default();
    let world = World::new();
    let partition = SourcePartition::from_json(r#"{"filename":"a"}"#).unwrap();
    let alter = async |partition: &str, offset: Option<&str>| {
        let offset = offset.map(|offset| SourceOffset::from_json(offset).unwrap());
        let offsets = [(SourcePartition::from_json(partition).unwrap(), offset)];
        source.alter_offsets(&world.config, &offsets).await
    };
    assert!(
        alter(r#"{"filename":"a"}"#, Some(r#"{"position":5}"#))
            .await
            .unwrap()
    );
    assert!(alter(r#"{"other":"a"}"#, None).await.unwrap());
    assert!(
        alter(r#"{"other":"a"}"#, Some(r#"{"position":5}"#))
            .await
            .is_err()
    );
    assert!(
        alter(r#"{"filename":"a"}"#, Some(r#"{"position":-5}"#))
            .await
            .is_err()
    );
    assert!(
        alter(r#"{"filename":"a"}"#, Some(r#"{"position":"5"}"#))
            .await
            .is_err()
    );
    assert!(
        alter(r#"{"filename":"a","inode":5}"#, Some(r#"{"position":5}"#))
            .await
            .is_err()
    );
    let at = |filename: &str, offset: &str| {
        let partition = SourcePartition::from_json(&format!("{{\"{filename}\":\"a\"}}"));
        (
            partition.unwrap(),
            Some(SourceOffset::from_json(offset).unwrap()),
        )
    };
    let wrong = [
        at("file", r#"{"position":5}"#),
        at("filename", r#"{"position":5}"#),
        at("filename", r#"{"line":5}"#),
    ];
    let error = source.alter_offsets(&world.config, &wrong).await;
    assert_eq!(
        error.unwrap_err().message(),
        "source partition {\"file\":\"a\"} is not of this connector; write {\"filename\":\"…\"}\n\
         source offset {\"line\":5} is not of this connector; write {\"position\":n}, n bytes from the start"
    );
    assert!(
        source
            .alter_offsets(&ConfigMap::new(), &[(partition, None)])
            .await
            .is_err()
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// A poll that is dropped at any point, as the worker does, loses and repeats nothing.
    #[test]
    fn dropped_polls_lose_nothing(patience in proptest::collection::vec(0u64..3, 1..200), batch in 1i32..50) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        runtime.block_on(async {
            let expected: Vec<String> = (0..3000).map(|number| format!("line {number}")).collect();
            let world = World::with(expected.join("\n") + "\n")
                .set("batch.size", &batch.to_string())
                .set("read.buffer.bytes", "4096");
            let mut task = world.task().await;
            let mut patience = patience.into_iter().cycle();
            let mut lines = Vec::new();
            while lines.len() < expected.len() {
                let patience = patience.next().unwrap();
                let polled = tokio::select! {
                    biased;
                    polled = task.poll() => polled.unwrap(),
                    () = async { for _ in 0..patience { tokio::task::yield_now().await } } => continue,
                };
                prop_assert!(polled.len() <= usize::try_from(batch).unwrap());
                lines.extend(polled.iter().map(text));
            }
            prop_assert_eq!(lines, expected);
            Ok(())
        })?;
    }
}
