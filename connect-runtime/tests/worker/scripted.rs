//! A sink that does what a test says, call by call.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock, Mutex};

use connect_core::{
    Config, ConfigMap, ConnectError, ConnectorContext, OffsetMap, PutOutcome, SinkConnector,
    SinkRecord, SinkTask, SinkTaskContext, async_trait,
};
use connect_runtime::config::connector::ConnectorConfig;
use serde_json::json;

use crate::world::World;

const SCRIPTED: &str = "org.example.ScriptedSinkConnector";

/// What a sink of this name does; survives restarts of its task.
pub(crate) trait Script: Send + Sync {
    fn put(&self, context: &SinkTaskContext, records: Vec<SinkRecord>) -> Result<(), ConnectError>;

    fn flush(
        &self,
        _context: &SinkTaskContext,
        offsets: &OffsetMap,
    ) -> Result<OffsetMap, ConnectError> {
        Ok(offsets.clone())
    }
}

static SCRIPTS: LazyLock<Mutex<BTreeMap<String, Arc<dyn Script>>>> = LazyLock::new(Mutex::default);

/// A sink of a topic that follows a script.
pub(crate) fn sink(
    world: &World,
    name: &str,
    topics: &str,
    more: &[(&str, &str)],
    script: &Arc<impl Script + 'static>,
) -> ConnectorConfig {
    let script: Arc<dyn Script> = Arc::clone(script) as Arc<dyn Script>;
    SCRIPTS.lock().unwrap().insert(name.to_owned(), script);
    let mut config = json!({"name": name, "connector.class": SCRIPTED, "topics": topics});
    for (key, text) in more {
        config[key] = json!(text);
    }
    world.of(&config)
}

#[derive(Config)]
struct ScriptedConfig {}

connect_core::register_connector! {
    /// Does what a test says.
    pub(crate) struct ScriptedFactory;
    class = "org.example.ScriptedSinkConnector",
    config = ScriptedConfig,
    sink = Scripted::default()
}

#[derive(Default)]
struct Scripted(ConfigMap);

#[async_trait]
impl SinkConnector for Scripted {
    async fn start(&mut self, _: ConnectorContext, config: &ConfigMap) -> Result<(), ConnectError> {
        self.0 = config.clone();
        Ok(())
    }

    fn task_configs(&self, _: usize) -> Result<Vec<ConfigMap>, ConnectError> {
        Ok(vec![self.0.clone()])
    }

    fn task(&self) -> Box<dyn SinkTask> {
        Box::new(ScriptedTask(None))
    }
}

struct ScriptedTask(Option<(SinkTaskContext, Arc<dyn Script>)>);

#[async_trait]
impl SinkTask for ScriptedTask {
    async fn start(&mut self, context: SinkTaskContext, _: &ConfigMap) -> Result<(), ConnectError> {
        let script = SCRIPTS.lock().unwrap()[context.name()].clone();
        self.0 = Some((context, script));
        Ok(())
    }

    async fn put(&mut self, records: Vec<SinkRecord>) -> Result<PutOutcome, ConnectError> {
        let (context, script) = self.0.as_ref().unwrap();
        script.put(context, records).map(|()| PutOutcome::done())
    }

    async fn flush(&mut self, offsets: &OffsetMap) -> Result<OffsetMap, ConnectError> {
        let (context, script) = self.0.as_ref().unwrap();
        script.flush(context, offsets)
    }
}

/// The text of a record.
pub(crate) fn text(record: &SinkRecord) -> String {
    record.value.to_string()
}
