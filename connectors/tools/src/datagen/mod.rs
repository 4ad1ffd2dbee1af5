//! Made-up records, under the keys of Confluent's Datagen.
//!
//! A record follows from the seed, the task and its number alone. The offset is the number of records
//! that were made, and the seed: `{"task.id": task}` → `{"current.iteration": n, "random.seed": seed}`.

mod generator;
mod pattern;
mod quickstart;
mod random;

use std::hash::{BuildHasher, RandomState};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use connect_core::config::{Config, ConfigMap};
use connect_core::{
    ConnectError, ConnectorContext, ExactlyOnce, Problem, SourceConnector, SourceOffset,
    SourcePartition, SourcePosition, SourceRecord, SourceTask, SourceTaskContext, Type, Value,
    async_trait, register_connector,
};
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep_until};

use generator::Generator;
pub use quickstart::Quickstart;
use random::Random;

/// Records of one poll where none has to wait.
const BATCH: u64 = 500;

register_connector! {
    /// Records made up after a quickstart or a schema.
    pub struct DatagenConnector;
    class = "io.confluent.kafka.connect.datagen.DatagenConnector",
    config = DatagenConfig,
    source = Datagen::default(),
    aliases = ["DatagenSource", "DatagenSourceConnector"],
}

/// The keys of the source of made-up records.
#[derive(Debug, Clone, Config)]
#[config(validate = check)]
pub struct DatagenConfig {
    /// The topic to write to.
    #[config(importance = "high", non_empty)]
    kafka_topic: Arc<str>,
    /// A record comes at random after at most so many milliseconds; with 0 or less they come as fast as
    /// possible.
    #[config(default = 500, range = -1..=86400000)]
    max_interval: i64,
    /// How many records each task writes, over all its restarts; -1 is without end.
    #[config(default = -1, range = -1..)]
    iterations: i64,
    /// What is made up: "users", "pageviews", "orders", "stock_trades" or "ratings".
    #[config(importance = "high")]
    quickstart: Option<Quickstart>,
    /// An Avro schema in JSON instead, whose arg.properties say what values are like.
    #[config(default = "", importance = "high")]
    schema_string: String,
    /// A file with such a schema instead.
    #[config(default = "", importance = "high")]
    schema_filename: PathBuf,
    /// The field that becomes the key; none if empty, unless the quickstart has one.
    #[config(default = "")]
    schema_keyfield: String,
    /// What chance begins with; equal seeds make equal records. Chosen by chance if absent.
    #[config(importance = "low")]
    random_seed: Option<i64>,
}

/// Exactly one of the keys that say what is made up must be there, and it must be right.
fn check(config: &DatagenConfig, problems: &mut Vec<Problem>) {
    let given = [
        (config.quickstart.is_some(), "quickstart"),
        (!config.schema_string.trim().is_empty(), "schema.string"),
        (
            !config.schema_filename.as_os_str().is_empty(),
            "schema.filename",
        ),
    ];
    let given: Vec<&str> = given
        .into_iter()
        .filter_map(|(is_given, key)| is_given.then_some(key))
        .collect();
    match given.as_slice() {
        [] => problems.push(Problem::new(
            "quickstart",
            "expected one of quickstart, schema.string and schema.filename, got none",
        )),
        ["schema.string"] => problems.extend(
            Plan::read(config, &config.schema_string, "schema.string")
                .err()
                .into_iter()
                .flatten(),
        ),
        // A file is looked into by the connector, which may wait.
        ["schema.filename"] => {}
        ["quickstart"] => {
            problems.extend(Plan::of_quickstart(config).err().into_iter().flatten());
        }
        several => problems.extend(several.iter().map(|key| {
            let message = format!("expected one of {}, got all of them", several.join(", "));
            Problem::new(*key, message)
        })),
    }
}

/// What is made, and which part of it is the key.
#[derive(Debug)]
struct Plan {
    generator: Generator,
    /// The index of the key among the fields.
    key: Option<usize>,
}

impl Plan {
    fn of_quickstart(config: &DatagenConfig) -> Result<Self, Vec<Problem>> {
        let schema = config.quickstart.map(Quickstart::schema);
        Self::read(config, schema.unwrap_or_default(), "quickstart")
    }

    /// Reads a schema that the value of `key` is, or names.
    fn read(config: &DatagenConfig, schema: &str, key: &str) -> Result<Self, Vec<Problem>> {
        let generator = Generator::read(schema).map_err(|problems| {
            let problems = problems.into_iter();
            problems
                .map(|problem| Problem::new(key, problem))
                .collect::<Vec<_>>()
        })?;
        let field = match (config.schema_keyfield.trim(), config.quickstart) {
            ("", Some(quickstart)) => quickstart.key(),
            (field, _) => field,
        };
        if generator.schema.kind() != Type::Struct {
            let kind = generator.schema.kind();
            return Err(vec![Problem::new(
                key,
                format!("expected the schema of a record, got one of {kind}"),
            )]);
        }
        let Some((index, _)) = generator.schema.field(field) else {
            return match field {
                "" => Ok(Self {
                    generator,
                    key: None,
                }),
                _ => {
                    let fields = generator.schema.fields().iter();
                    let names: Vec<&str> = fields.map(|field| field.name.as_ref()).collect();
                    let message = format!(
                        "expected a field of the schema, got \"{field}\"; there are {}",
                        names.join(", ")
                    );
                    Err(vec![Problem::new("schema.keyfield", message)])
                }
            };
        };
        Ok(Self {
            generator,
            key: Some(index),
        })
    }

    /// Reads the file that the schema may be in, too.
    async fn of(config: &DatagenConfig) -> Result<Self, Vec<Problem>> {
        let file = &config.schema_filename;
        if file.as_os_str().is_empty() {
            return match config.quickstart {
                Some(_) => Self::of_quickstart(config),
                None => Self::read(config, &config.schema_string, "schema.string"),
            };
        }
        let schema = schema_in(file).await.map_err(|problem| vec![problem])?;
        Self::read(config, &schema, "schema.filename")
    }
}

async fn schema_in(file: &Path) -> Result<String, Problem> {
    let read = tokio::fs::read_to_string(file).await;
    read.map_err(|error| {
        let shown = file.display().to_string();
        let message = format!("expected a file with an Avro schema: {error}");
        Problem::with_value("schema.filename", shown, message)
    })
}

/// Makes records up, with as many tasks as there may be.
#[derive(Debug, Default)]
struct Datagen {
    config: ConfigMap,
}

#[async_trait]
impl SourceConnector for Datagen {
    async fn validate(&self, config: &ConfigMap) -> Vec<Problem> {
        match DatagenConfig::parse(config) {
            Ok(config) => Plan::of(&config).await.err().unwrap_or_default(),
            Err(problems) => problems,
        }
    }

    async fn start(
        &mut self,
        _context: ConnectorContext,
        config: &ConfigMap,
    ) -> Result<(), ConnectError> {
        DatagenConfig::parse(config)?;
        self.config = config.clone();
        Ok(())
    }

    fn task_configs(&self, max_tasks: usize) -> Result<Vec<ConfigMap>, ConnectError> {
        Ok(vec![self.config.clone(); max_tasks])
    }

    fn task(&self) -> Box<dyn SourceTask> {
        Box::new(DatagenTask { running: None })
    }

    fn exactly_once(&self, _config: &ConfigMap) -> ExactlyOnce {
        ExactlyOnce::Supported
    }

    async fn alter_offsets(
        &self,
        _config: &ConfigMap,
        offsets: &[(SourcePartition, Option<SourceOffset>)],
    ) -> Result<bool, ConnectError> {
        let wrong = |(partition, offset): &(SourcePartition, Option<SourceOffset>)| {
            // Anything may be removed.
            let offset = offset.as_ref()?;
            if partition.read::<TaskPartition>().is_err() {
                return Some(format!(
                    "source partition {partition} is not of this connector; write {{\"task.id\":n}}"
                ));
            }
            offset.read::<Made>().err().map(|_| {
                format!(
                    "source offset {offset} is not of this connector; write \
                     {{\"current.iteration\":n,\"random.seed\":seed}}"
                )
            })
        };
        let problems: Vec<String> = offsets.iter().filter_map(wrong).collect();
        match problems.is_empty() {
            true => Ok(true),
            false => Err(ConnectError::configuration(problems.join("\n"))),
        }
    }
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct TaskPartition {
    #[serde(rename = "task.id")]
    task: u32,
}

/// Confluent's offsets have `task.generation`, too, which says nothing about records.
#[derive(Debug, Serialize, Deserialize)]
struct Made {
    #[serde(rename = "current.iteration")]
    count: u64,
    #[serde(rename = "random.seed")]
    seed: i64,
}

/// Makes the records of one source partition.
struct DatagenTask {
    running: Option<Running>,
}

/// A started task.
struct Running {
    context: SourceTaskContext,
    config: DatagenConfig,
    plan: Plan,
    partition: SourcePartition,
    made: Made,
    /// When the next record comes.
    due: Option<Instant>,
    /// Chance for pauses, which no record depends on.
    pauses: Random,
}

#[async_trait]
impl SourceTask for DatagenTask {
    async fn start(
        &mut self,
        context: SourceTaskContext,
        config: &ConfigMap,
    ) -> Result<(), ConnectError> {
        let config = DatagenConfig::parse(config)?;
        let plan = Plan::of(&config).await?;
        let task = context.task_id();
        let partition = SourcePartition::of(&TaskPartition { task })?;
        let stored = context.offset(&partition).await?;
        let chance = || RandomState::new().hash_one(task).cast_signed();
        let made = match stored {
            // Its seed, even if another one is configured now: the records go on.
            Some(offset) => offset.read::<Made>()?,
            None => Made {
                count: 0,
                seed: config.random_seed.unwrap_or_else(chance),
            },
        };
        self.running = Some(Running {
            pauses: Random::of(chance(), task, made.count),
            context,
            config,
            plan,
            partition,
            made,
            due: None,
        });
        Ok(())
    }

    /// Cancel-safe: nothing is awaited between making records and returning them.
    async fn poll(&mut self) -> Result<Vec<SourceRecord>, ConnectError> {
        let running = self.running.as_mut();
        let running = running
            .ok_or_else(|| ConnectError::fatal("the task was polled before it was started"))?;
        let Some(left) = running.left() else {
            let all = running.config.iterations;
            running
                .context
                .waiting(format!("all {all} records (iterations) are written"));
            return std::future::pending().await;
        };
        let count = running.wait().await.min(left);
        running.records(count)
    }
}

impl Running {
    /// How many records are still to come; `None` if it is at the end.
    fn left(&self) -> Option<u64> {
        let Ok(all) = u64::try_from(self.config.iterations) else {
            return Some(u64::MAX);
        };
        all.checked_sub(self.made.count).filter(|left| *left > 0)
    }

    /// Waits until records are due; how many.
    async fn wait(&mut self) -> u64 {
        let Some(longest) = u64::try_from(self.config.max_interval)
            .ok()
            .filter(|most| *most > 0)
        else {
            return BATCH;
        };
        let due = match self.due {
            Some(due) => due,
            None => {
                let pause = Duration::from_millis(longest).mul_f64(self.pauses.unit());
                *self.due.insert(Instant::now() + pause)
            }
        };
        sleep_until(due).await;
        self.due = None;
        1
    }

    fn records(&mut self, count: u64) -> Result<Vec<SourceRecord>, ConnectError> {
        let end = self.made.count.saturating_add(count);
        let mut records: Vec<SourceRecord> = (self.made.count..end)
            .map(|number| self.record(number))
            .collect();
        let made = Made {
            count: end,
            seed: self.made.seed,
        };
        // One offset covers all of a poll.
        if let Some(last) = records.last_mut() {
            let offset = SourceOffset::of(&made)?;
            last.position = Some(SourcePosition::new(self.partition.clone(), offset));
        }
        self.made = made;
        Ok(records)
    }

    fn record(&self, number: u64) -> SourceRecord {
        let mut random = Random::of(self.made.seed, self.context.task_id(), number);
        let generator = &self.plan.generator;
        let value = generator.value(number, &mut random);
        let key = self.plan.key.and_then(|index| {
            let key = value.as_struct()?.values().get(index)?.clone();
            Some((key, generator.schema.fields().get(index)?.schema.clone()))
        });
        let (key, key_schema) = match key {
            Some((key, schema)) => (key, Some(schema)),
            None => (Value::Null, None),
        };
        SourceRecord::new(Arc::clone(&self.config.kafka_topic), value)
            .with_key(key, key_schema)
            .with_value_schema(generator.schema.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use connect_core::testing::TestWorker;

    fn config(more: &[(&str, &str)]) -> ConfigMap {
        let mut pairs = vec![("kafka.topic", "made"), ("max.interval", "0")];
        pairs.extend(more);
        pairs
            .into_iter()
            .map(|(key, text)| (key.to_owned(), text.to_owned()))
            .collect()
    }

    async fn started(worker: &TestWorker, more: &[(&str, &str)]) -> DatagenTask {
        let mut task = DatagenTask { running: None };
        task.start(worker.source_context(), &config(more))
            .await
            .unwrap();
        task
    }

    fn bare(records: Vec<SourceRecord>) -> Vec<(Value, Value)> {
        let bare = records.into_iter().map(|record| (record.key, record.value));
        bare.collect()
    }

    #[tokio::test]
    async fn every_quickstart_makes_records_with_its_key() {
        for name in ["users", "pageviews", "orders", "stock_trades", "ratings"] {
            let worker = TestWorker::new("d");
            let mut task = started(&worker, &[("quickstart", name)]).await;
            let records = task.poll().await.unwrap();
            assert_eq!(records.len(), 500);
            for record in records {
                record
                    .value_schema
                    .as_ref()
                    .unwrap()
                    .validate(&record.value)
                    .unwrap();
                record
                    .key_schema
                    .as_ref()
                    .unwrap()
                    .validate(&record.key)
                    .unwrap();
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_restart_makes_the_very_records_that_are_missing_and_then_waits() {
        let keys = [("quickstart", "orders"), ("iterations", "700")];
        let worker = TestWorker::new("d");
        let mut task = started(&worker, &keys).await;
        let first = task.poll().await.unwrap();
        worker.store(first.last().unwrap().position.as_ref().unwrap());
        let second = bare(task.poll().await.unwrap());
        let mut restarted = started(&worker, &keys).await;
        assert_eq!(bare(restarted.poll().await.unwrap()), second);
        assert_eq!(second.len(), 200);
        let more = tokio::time::timeout(Duration::from_secs(60), restarted.poll()).await;
        assert!(more.is_err());
        assert_eq!(
            worker.waiting().unwrap(),
            "all 700 records (iterations) are written"
        );
    }

    #[tokio::test]
    async fn equal_seeds_make_equal_records_and_others_do_not() {
        let made = |seed: &'static str| async move {
            let keys = [("quickstart", "users"), ("random.seed", seed)];
            let mut task = started(&TestWorker::new("d"), &keys).await;
            bare(task.poll().await.unwrap())
        };
        assert_eq!(made("7").await, made("7").await);
        assert_ne!(made("7").await, made("8").await);
    }

    #[tokio::test(start_paused = true)]
    async fn records_come_within_the_longest_interval_also_after_a_poll_that_was_dropped() {
        let keys = [("quickstart", "users"), ("max.interval", "1000")];
        let mut task = started(&TestWorker::new("d"), &keys).await;
        let begun = Instant::now();
        for _ in 0..20 {
            loop {
                let polled = tokio::time::timeout(Duration::from_millis(100), task.poll()).await;
                if let Ok(records) = polled {
                    assert_eq!(records.unwrap().len(), 1);
                    break;
                }
            }
        }
        let elapsed = begun.elapsed();
        assert!(
            elapsed > Duration::from_secs(1) && elapsed < Duration::from_secs(20),
            "{elapsed:?}"
        );
    }

    #[tokio::test]
    async fn a_schema_may_be_in_a_file_and_its_mistakes_are_told_by_validation() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("x.avsc");
        let named = file.display().to_string();
        let keys = config(&[("schema.filename", &named), ("schema.keyfield", "b")]);
        let problems = Datagen::default().validate(&keys).await;
        assert!(
            problems[0].message.contains("expected a file"),
            "{problems:?}"
        );
        std::fs::write(
            &file,
            r#"{"type": "record", "name": "r", "fields": [{"name": "a", "type": "int"}]}"#,
        )
        .unwrap();
        let problems = Datagen::default().validate(&keys).await;
        assert_eq!(problems[0].key, "schema.keyfield");
        let keys = config(&[("schema.filename", &named), ("schema.keyfield", "a")]);
        assert!(Datagen::default().validate(&keys).await.is_empty());
    }

    #[test]
    fn exactly_one_source_of_the_schema_is_wanted() {
        let problems = |more: &[(&str, &str)]| DatagenConfig::parse(&config(more)).unwrap_err();
        assert_eq!(problems(&[])[0].key, "quickstart");
        assert_eq!(
            problems(&[("quickstart", "users"), ("schema.string", "{}")]).len(),
            2
        );
        let wrong = problems(&[(
            "schema.string",
            r#"{"type": "record", "fields": [{"name": "x", "type": "y"}, {}]}"#,
        )]);
        assert_eq!(wrong.len(), 2, "{wrong:?}");
        assert!(
            problems(&[("quickstart", "user")])[0]
                .message
                .contains("users")
        );
    }
}
