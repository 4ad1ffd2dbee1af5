//! Values from configuration providers that change while tasks run with them.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{LazyLock, Mutex};

use connect_core::{
    Config, ConfigMap, ConnectError, ConnectorContext, SourceConnector, SourceRecord, SourceTask,
    SourceTaskContext, async_trait,
};
use connect_runtime::{Happened, RestartedBy, Worker};
use serde_json::{Value, json};

use crate::world::World;

const PAIR: &str = "org.example.PairSourceConnector";

/// What each task was started with, by connector and number.
type Starts = BTreeMap<(String, u32), Vec<ConfigMap>>;

static STARTS: LazyLock<Mutex<Starts>> = LazyLock::new(Mutex::default);

fn starts(name: &str, task: u32, key: &str) -> Vec<String> {
    let starts = STARTS.lock().unwrap();
    let own = starts.get(&(name.to_owned(), task)).into_iter().flatten();
    own.map(|config| config.get(key).cloned().unwrap_or_default())
        .collect()
}

#[derive(Config)]
struct PairConfig {
    /// What the first task gets.
    #[allow(dead_code)]
    first: String,
    /// What the second task gets.
    #[allow(dead_code)]
    second: String,
}

connect_core::register_connector! {
    /// Two tasks, each with one of two values.
    pub(crate) struct PairFactory;
    class = "org.example.PairSourceConnector",
    config = PairConfig,
    source = Pair::default()
}

#[derive(Default)]
struct Pair(ConfigMap);

#[async_trait]
impl SourceConnector for Pair {
    async fn start(&mut self, _: ConnectorContext, config: &ConfigMap) -> Result<(), ConnectError> {
        self.0 = config.clone();
        Ok(())
    }

    fn task_configs(&self, _: usize) -> Result<Vec<ConfigMap>, ConnectError> {
        let one = |key: &str| ConfigMap::from([(key.to_owned(), self.0[key].clone())]);
        Ok(vec![one("first"), one("second")])
    }

    fn task(&self) -> Box<dyn SourceTask> {
        Box::new(PairTask)
    }
}

struct PairTask;

#[async_trait]
impl SourceTask for PairTask {
    async fn start(
        &mut self,
        context: SourceTaskContext,
        config: &ConfigMap,
    ) -> Result<(), ConnectError> {
        let mut starts = STARTS.lock().unwrap();
        let own = starts
            .entry((context.name().to_owned(), context.task_id()))
            .or_default();
        own.push(config.clone());
        Ok(())
    }

    async fn poll(&mut self) -> Result<Vec<SourceRecord>, ConnectError> {
        std::future::pending().await
    }
}

const KEYS: &[(&str, &str)] = &[
    ("config.providers", "dir"),
    ("config.providers.dir.class", "DirectoryConfigProvider"),
    ("config.reload.interval.ms", "50"),
];

async fn create(worker: &Worker, name: &str, folder: &Path, more: &[(&str, &str)]) {
    let folder = folder.display();
    let mut config: Value = json!({
        "name": name, "connector.class": PAIR, "tasks.max": "2",
        "first": format!("${{dir:{folder}:first}}"), "second": format!("${{dir:{folder}:second}}"),
    });
    for (key, text) in more {
        config[key] = json!(text);
    }
    let fields = config.as_object().unwrap().iter();
    let map = fields.map(|(key, text)| (key.clone(), text.as_str().unwrap().to_owned()));
    let settings = connect_runtime::config::Settings::from_map("test", &map.collect());
    let config =
        connect_runtime::config::connector::ConnectorConfig::read(&settings, worker.config());
    worker.create(config.unwrap().0).await.unwrap();
}

/// Values of providers are secrets in the whole process, so these are words that nobody else says.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_value_that_changes_restarts_the_tasks_that_were_given_it_and_no_others() {
    let world = World::start().await;
    let folder = tempfile::tempdir().unwrap();
    let write = |key: &str, text: &str| std::fs::write(folder.path().join(key), text).unwrap();
    write("first", "pair-7d1c-one");
    write("second", "pair-7d1c-two");
    let worker = world.worker_with(KEYS).await;
    create(&worker, "renewed", folder.path(), &[]).await;
    let none = [("config.action.reload", "none")];
    create(&worker, "left", folder.path(), &none).await;
    for name in ["renewed", "left"] {
        for (task, key) in [(0, "first"), (1, "second")] {
            world
                .until("it has started", || starts(name, task, key).len() == 1)
                .await;
        }
    }
    write("first", "pair-7d1c-other");
    world
        .until("the first task has the other value", || {
            starts("renewed", 0, "first") == ["pair-7d1c-one", "pair-7d1c-other"]
        })
        .await;
    let by_change = |task: Option<usize>| {
        let events = worker.history("renewed").unwrap().events.into_iter();
        let restarted = Happened::Restarted(RestartedBy::Configuration);
        events
            .filter(|event| event.task == task && event.what == restarted)
            .count()
    };
    assert_eq!(by_change(Some(0)), 1);
    world
        .until("the connector itself has it, too", || by_change(None) == 1)
        .await;
    // A value that is gone restarts nothing.
    std::fs::remove_file(folder.path().join("first")).unwrap();
    write("second", "pair-7d1c-more");
    world
        .until("the second task has the other value", || {
            starts("renewed", 1, "second") == ["pair-7d1c-two", "pair-7d1c-more"]
        })
        .await;
    assert_eq!(
        starts("renewed", 0, "first"),
        ["pair-7d1c-one", "pair-7d1c-other"]
    );
    assert_eq!(starts("left", 0, "first"), ["pair-7d1c-one"]);
    assert_eq!(starts("left", 1, "second"), ["pair-7d1c-two"]);
    worker.stop().await;
    world.end().await;
}
