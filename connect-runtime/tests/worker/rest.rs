//! The REST interface over a socket, with requests written by hand.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use connect_runtime::rest::{RestListeners, RestServer};
use connect_runtime::{State, Worker};
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Duration, Instant, sleep};

use crate::connectors::{Journal, SINK, SOURCE};
use crate::world::World;

/// A worker with a REST interface.
pub(crate) struct Rest {
    pub(crate) world: World,
    pub(crate) worker: Arc<Worker>,
    /// Where it listens.
    pub(crate) addresses: Vec<SocketAddr>,
    pub(crate) address: SocketAddr,
    _server: RestServer,
}

pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) text: String,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or(Value::Null)
    }

    /// The value of a header.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let lines = self.head.lines().skip(1);
        let mut pairs = lines.filter_map(|line| line.split_once(": "));
        pairs.find(|(key, _)| *key == name).map(|(_, value)| value)
    }

    pub(crate) fn is_error(&self, status: u16, message: &str) {
        let expected = json!({"error_code": status, "message": message});
        assert_eq!((self.status, self.json()), (status, expected));
    }
}

async fn raw(address: SocketAddr, request: &str) -> Answer {
    let stream = TcpStream::connect(address).await.unwrap();
    exchange(stream, request.as_bytes()).await
}

/// Sends a request with a body.
pub(crate) async fn send(address: SocketAddr, line: &str, body: &str) -> Answer {
    let request = format!(
        "{line} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    );
    raw(address, &request).await
}

impl Rest {
    pub(crate) async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// With more keys of the worker.
    pub(crate) async fn start_with(more: &[(&str, &str)]) -> Self {
        let world = World::start().await;
        let mut keys = vec![("listeners", "http://127.0.0.1:0")];
        keys.extend(more);
        let worker = Arc::new(world.worker_with(&keys).await);
        let listeners = RestListeners::bind(&worker.config().rest).await.unwrap();
        let addresses = listeners.addresses();
        Self {
            world,
            address: addresses[0],
            addresses,
            _server: listeners.serve(Arc::clone(&worker)),
            worker,
        }
    }

    /// Sends a request as it stands, and reads what comes back.
    pub(crate) async fn raw(&self, request: &str) -> Answer {
        raw(self.address, request).await
    }

    /// Sends a request without a body, with more headers, to one of its listeners.
    pub(crate) async fn ask(&self, listener: usize, line: &str, headers: &[&str]) -> Answer {
        raw(self.addresses[listener], &request(line, headers, "")).await
    }

    pub(crate) async fn send(&self, line: &str, body: &str) -> Answer {
        send(self.address, line, body).await
    }

    pub(crate) async fn call(&self, line: &str) -> Answer {
        self.raw(&format!(
            "{line} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n",
            self.address
        ))
        .await
    }

    pub(crate) async fn get(&self, path: &str) -> Value {
        let answer = self.call(&format!("GET {path}")).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.text);
        answer.json()
    }

    /// Creates a connector.
    pub(crate) async fn create(&self, name: &str, config: &Value) {
        let answer = self.send("POST /connectors", &creation(name, config)).await;
        assert_eq!(answer.status, 201, "{}", answer.text);
    }

    /// Stops a connector.
    pub(crate) async fn stop(&self, name: &str) {
        let answer = self.call(&format!("PUT /connectors/{name}/stop")).await;
        assert_eq!(answer.status, 204, "{}", answer.text);
    }

    /// Waits until a path is answered with this.
    pub(crate) async fn until_get(&self, path: &str, expected: &Value) {
        let begun = Instant::now();
        loop {
            let shown = self.get(path).await;
            if shown == *expected {
                return;
            }
            assert!(begun.elapsed() < Duration::from_secs(60), "{path}: {shown}");
            sleep(Duration::from_millis(20)).await;
        }
    }

    /// Waits until connector and tasks have these states.
    pub(crate) async fn until(&self, name: &str, connector: &str, tasks: &[&str]) -> Value {
        let begun = Instant::now();
        loop {
            let status = self.get(&format!("/connectors/{name}/status")).await;
            let shown: Vec<&str> = status["tasks"]
                .as_array()
                .unwrap()
                .iter()
                .filter_map(|task| task["state"].as_str())
                .collect();
            if status["connector"]["state"] == connector && shown == tasks {
                return status;
            }
            assert!(begun.elapsed() < Duration::from_secs(60), "{status}");
            sleep(Duration::from_millis(10)).await;
        }
    }

    pub(crate) async fn end(self) {
        self.worker.stop().await;
        self.world.end().await;
    }
}

/// A request as it goes over the wire.
pub(crate) fn request(line: &str, headers: &[&str], body: &str) -> String {
    let headers: String = headers
        .iter()
        .map(|header| format!("{header}\r\n"))
        .collect();
    format!(
        "{line} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{headers}Content-Length: {}\r\n\r\n\
         {body}",
        body.len()
    )
}

/// Sends a request as it stands, and reads what comes back until the connection ends.
pub(crate) async fn exchange(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    request: &[u8],
) -> Answer {
    try_exchange(stream, request).await.unwrap()
}

/// The same where there may be no answer.
pub(crate) async fn try_exchange(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    request: &[u8],
) -> io::Result<Answer> {
    stream.write_all(request).await?;
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).await?;
    let answer = String::from_utf8(bytes).unwrap();
    let parts = answer.split_once("\r\n\r\n");
    let (head, text) = parts.ok_or(io::ErrorKind::UnexpectedEof)?;
    Ok(Answer {
        status: head.split(' ').nth(1).unwrap().parse().unwrap(),
        head: head.to_ascii_lowercase(),
        text: text.to_owned(),
    })
}

pub(crate) fn source(topic: &str, mode: &str) -> Value {
    json!({"connector.class": SOURCE, "topic": topic, "count": 100, "mode": mode})
}

pub(crate) fn creation(name: &str, config: &Value) -> String {
    json!({"name": name, "config": config}).to_string()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_worker_and_its_plugins_are_described() {
    let rest = Rest::start().await;
    let root = rest.get("/").await;
    assert_eq!(root["version"], "4.3.0");
    assert_eq!(root["kafka_cluster_id"], rest.worker.cluster_id());
    assert_eq!(root["connect_version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(rest.get("/health").await["status"], "healthy");

    let plugins = rest.get("/connector-plugins").await;
    let kinds = plugins.as_array().unwrap().iter();
    let kinds: Vec<&str> = kinds.map(|it| it["type"].as_str().unwrap()).collect();
    assert!(kinds.is_sorted(), "sinks come first: {kinds:?}");
    let version = env!("CARGO_PKG_VERSION");
    let own = json!({"class": SOURCE, "type": "source", "version": version});
    assert!(plugins.as_array().unwrap().contains(&own), "{plugins}");
    let all = rest.get("/connector-plugins?connectorsOnly=false").await;
    for (value, expected) in [("true", &plugins), ("", &plugins), ("no", &all)] {
        let path = format!("/connector-plugins?connectorsOnly={value}");
        assert_eq!(&rest.get(&path).await, expected, "{path}");
    }
    for kind in [
        "sink",
        "converter",
        "header_converter",
        "transformation",
        "predicate",
    ] {
        let found = all.as_array().unwrap().iter().any(|it| it["type"] == kind);
        assert!(found, "{kind}");
    }
    let keys = rest.get("/connector-plugins/NumbersSource/config").await;
    assert_eq!(keys[0]["name"], "topic");
    assert!(
        keys.as_array()
            .unwrap()
            .iter()
            .any(|key| key["name"] == "tasks.max")
    );
    for (plugin, key) in [
        ("RegexRouter", "regex"),
        ("TopicNameMatches", "pattern"),
        (
            "org.apache.kafka.connect.json.JsonConverter",
            "schemas.enable",
        ),
    ] {
        let path = format!("/connector-plugins/{plugin}/config");
        let keys = rest.get(&path).await.to_string();
        assert!(keys.contains(&format!("\"name\":\"{key}\"")), "{keys}");
    }
    let path = "/connector-plugins/JsonConverter/config";
    for wanted in ["latest", env!("CARGO_PKG_VERSION"), "[0.0.1,)"] {
        rest.get(&format!("{path}?version={wanted}")).await;
    }
    let answer = rest.call(&format!("GET {path}?version=99")).await;
    let message = format!(
        "Plugin JsonConverter not found that matches the version range 99, available versions: [{}]",
        env!("CARGO_PKG_VERSION")
    );
    answer.is_error(400, &message);
    let answer = rest.call(&format!("GET {path}?version=[1")).await;
    assert_eq!(answer.status, 400, "{}", answer.text);
    let unknown = rest.call("GET /connector-plugins/Nothing/config").await;
    assert_eq!(unknown.status, 404, "{}", unknown.text);
    rest.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_validation_lists_every_mistake_and_hides_secrets() {
    let rest = Rest::start().await;
    let path = "PUT /connector-plugins/JournalSink/config/validate";
    let config = json!({
        "name": "v", "connector.class": SINK, "topics": "t", "tasks.max": "many",
        "token": "hunter2",
    });
    let answer = rest.send(path, &config.to_string()).await;
    let infos = answer.json();
    assert_eq!((answer.status, &infos["error_count"]), (200, &json!(1)));
    assert_eq!(infos["name"], SINK);
    assert!(!answer.text.contains("hunter2"), "{}", answer.text);
    let of = |name: &str| {
        let configs = infos["configs"].as_array().unwrap();
        let found = configs.iter().find(|it| it["value"]["name"] == name);
        found.unwrap().clone()
    };
    assert_eq!(of("token")["value"]["value"], "[hidden]");
    assert_eq!(of("token")["definition"]["type"], "PASSWORD");
    let errors = &of("tasks.max")["value"]["errors"];
    assert!(
        errors[0].as_str().unwrap().contains("got \"many\""),
        "{errors}"
    );

    let form = |name: &str| {
        let definition = of(name)["definition"].clone();
        let fields = ["group", "order_in_group", "width", "display_name"];
        let [group, order, width, display] = fields.map(|field| definition[field].clone());
        (group, order, width, display)
    };
    assert_eq!(
        form("tasks.max"),
        (
            json!("Common"),
            json!(4),
            json!("SHORT"),
            json!("Tasks max")
        )
    );
    assert_eq!(
        form("errors.tolerance"),
        (
            json!("Error Handling"),
            json!(3),
            json!("SHORT"),
            json!("Error Tolerance")
        )
    );

    let other = json!({"connector.class": SOURCE}).to_string();
    let answer = rest.send(path, &other).await;
    let message =
        format!("Included connector type {SOURCE} does not match request type JournalSink");
    answer.is_error(400, &message);
    rest.send(path, "{}")
        .await
        .is_error(400, "Connector config must contain the key connector.class");
    rest.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_validation_has_the_keys_of_transforms_converters_and_clients() {
    let rest = Rest::start().await;
    let config = json!({
        "name": "v", "connector.class": "JournalSink", "topics": "t", "transforms": "route",
        "transforms.route.type": "RegexRouter", "transforms.route.regex": "(",
        "transforms.route.predicate": "gone", "predicates": "gone", "predicates.gone.type": "RecordIsTombstone",
        "value.converter": "JsonConverter", "producer.override.linger.ms": "5",
        "consumer.override.sasl.jaas.config": "user and password", "unknown.key": "x",
    });
    let path = "PUT /connector-plugins/JournalSink/config/validate";
    let answer = rest.send(path, &config.to_string()).await;
    let infos = answer.json();
    // The replacement is missing; the pattern is looked at once everything is there.
    assert_eq!((answer.status, &infos["error_count"]), (200, &json!(1)));
    assert_eq!(infos["name"], "JournalSink", "as it was called");
    let groups = [
        "Common",
        "Transforms",
        "Predicates",
        "Error Handling",
        "Transforms: route",
        "Predicates: gone",
    ];
    let shown = infos["groups"].as_array().unwrap();
    assert_eq!(
        shown.get(..groups.len()),
        Some(&groups.map(|it| json!(it))[..])
    );
    let value = |name: &str| {
        let configs = infos["configs"].as_array().unwrap();
        let found = configs.iter().find(|it| it["value"]["name"] == name);
        found.map(|found| (found["value"]["value"].clone(), found["definition"].clone()))
    };
    for (name, expected) in [
        ("transforms.route.type", json!("RegexRouter")),
        ("transforms.route.regex", json!("(")),
        ("transforms.route.replacement", json!(null)),
        ("transforms.route.predicate", json!("gone")),
        ("transforms.route.negate", json!("false")),
        ("predicates.gone.type", json!("RecordIsTombstone")),
        ("value.converter", json!("JsonConverter")),
        ("value.converter.schemas.enable", json!("true")),
        ("producer.override.linger.ms", json!("5")),
        ("consumer.override.sasl.jaas.config", json!("[hidden]")),
        ("exactly.once.support", json!(null)),
    ] {
        let Some((shown, definition)) = value(name) else {
            // Sinks have no such key.
            assert_eq!(name, "exactly.once.support");
            continue;
        };
        assert_eq!(shown, expected, "{name}");
        assert_eq!(definition["name"], name);
    }
    let (_, converter) = value("key.converter").unwrap();
    assert_eq!(
        converter["default_value"],
        "org.apache.kafka.connect.storage.StringConverter"
    );
    assert_eq!(value("unknown.key"), None, "as in Kafka");
    rest.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_patches_all_count() {
    let rest = Rest::start().await;
    rest.create("patched", &source("patched", "")).await;
    let patch = async |number: usize| {
        let changes = json!({format!("key.{number}"): "x"}).to_string();
        let answer = rest
            .send("PATCH /connectors/patched/config", &changes)
            .await;
        assert_eq!(answer.status, 200, "{}", answer.text);
    };
    tokio::join!(patch(0), patch(1), patch(2), patch(3), patch(4), patch(5));
    let config = rest.get("/connectors/patched/config").await;
    for number in 0..6 {
        assert_eq!(config[format!("key.{number}")], "x", "{config}");
    }
    rest.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_configuration_is_answered_with_its_tasks() {
    let rest = Rest::start().await;
    let config = json!({"connector.class": SINK, "topics": "t", "tasks.max": "2"});
    let answer = rest
        .send("POST /connectors", &creation("two", &config))
        .await;
    let tasks = json!([{"connector": "two", "task": 0}, {"connector": "two", "task": 1}]);
    assert_eq!((answer.status, &answer.json()["tasks"]), (201, &tasks));
    let path = "PUT /connectors/two/config";
    let answer = rest.send(path, &config.to_string()).await;
    assert_eq!((answer.status, &answer.json()["tasks"]), (200, &tasks));
    let answer = rest.send("PATCH /connectors/two/config", "{}").await;
    assert_eq!((answer.status, &answer.json()["tasks"]), (200, &tasks));
    let answer = rest
        .send("PUT /connectors/%20two%20/config", &config.to_string())
        .await;
    assert_eq!(answer.status, 400, "{}", answer.text);
    for (number, message) in [
        ("-1", "No status found for task two--1"),
        ("2", "No status found for task two-2"),
        ("x", "HTTP 404 Not Found"),
        ("99999999999", "HTTP 404 Not Found"),
    ] {
        let path = format!("GET /connectors/two/tasks/{number}/status");
        rest.call(&path).await.is_error(404, message);
    }
    rest.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connector_lives_from_creation_to_deletion() {
    let rest = Rest::start().await;
    assert_eq!(rest.get("/connectors").await, json!([]));
    let config = source("life", "");
    let answer = rest
        .send("POST /connectors", &creation("life", &config))
        .await;
    assert_eq!(answer.status, 201, "{}", answer.text);
    assert!(
        answer.head.contains("\r\nlocation: /connectors/life"),
        "{}",
        answer.head
    );
    assert_eq!(answer.json()["type"], "source");
    let status = rest.until("life", "RUNNING", &["RUNNING"]).await;
    assert_eq!(status["name"], "life");
    assert_eq!(status["tasks"][0]["id"], 0);
    assert_eq!(status["tasks"][0]["worker_id"], rest.address.to_string());
    assert_eq!(status["tasks"][0]["version"], env!("CARGO_PKG_VERSION"));

    let kept = json!({
        "connector.class": SOURCE, "count": "100", "mode": "", "name": "life", "topic": "life",
    });
    let info = rest.get("/connectors/life").await;
    let expected = json!({
        "name": "life", "config": kept, "tasks": [{"connector": "life", "task": 0}], "type": "source",
    });
    assert_eq!(info, expected);
    assert_eq!(rest.get("/connectors/life/config").await, kept);
    let tasks = rest.get("/connectors/life/tasks").await;
    assert_eq!(tasks[0]["id"], json!({"connector": "life", "task": 0}));
    assert_eq!(tasks[0]["config"]["topic"], "life");
    assert_eq!(
        tasks[0]["config"]["task.class"],
        "org.example.NumbersSourceTask"
    );
    assert_eq!(rest.get("/connectors/life/tasks/0/status").await["id"], 0);
    assert_eq!(rest.get("/connectors/").await, json!(["life"]));
    let all = rest
        .get("/connectors/?expand=status&expand=info&expand=more")
        .await;
    assert_eq!(all["life"]["info"], expected);
    assert_eq!(all["life"]["status"]["name"], "life");
    let unknown = rest.get("/connectors?expand=more").await;
    assert_eq!(unknown, json!({"life": {}}));

    for _ in 0..2 {
        let answer = rest.call("PUT /connectors/life/pause").await;
        assert_eq!((answer.status, answer.text.as_str()), (202, ""));
        rest.until("life", "PAUSED", &["PAUSED"]).await;
    }
    assert_eq!(rest.call("PUT /connectors/life/resume").await.status, 202);
    rest.until("life", "RUNNING", &["RUNNING"]).await;
    assert_eq!(rest.call("PUT /connectors/life/stop").await.status, 204);
    rest.until("life", "STOPPED", &[]).await;
    assert_eq!(rest.get("/connectors/life/config").await, kept);
    assert_eq!(rest.call("POST /connectors/life/restart").await.status, 204);
    rest.until("life", "STOPPED", &[]).await;
    assert_eq!(rest.call("PUT /connectors/life/resume").await.status, 202);
    rest.until("life", "RUNNING", &["RUNNING"]).await;

    rest.world
        .until("its offset is stored", || {
            let offsets = rest.worker.offsets("life");
            offsets
                .first()
                .is_some_and(|at| at.offset.to_json() == r#"{"next":100}"#)
        })
        .await;
    let offsets = json!({"offsets": [{"partition": {"of": "numbers"}, "offset": {"next": 100}}]});
    assert_eq!(rest.get("/connectors/life/offsets").await, offsets);
    let answer = rest.call("DELETE /connectors/life").await;
    assert_eq!((answer.status, answer.text.as_str()), (204, ""));
    rest.call("GET /connectors/life")
        .await
        .is_error(404, "Connector life not found");
    assert_eq!(rest.get("/connectors").await, json!([]));
    rest.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn configurations_are_put_patched_and_keep_the_state() {
    let rest = Rest::start().await;
    let path = "PUT /connectors/put/config";
    let config = source("put", "");
    assert_eq!(rest.send(path, &config.to_string()).await.status, 201);
    rest.until("put", "RUNNING", &["RUNNING"]).await;
    assert_eq!(rest.call("PUT /connectors/put/pause").await.status, 202);
    rest.until("put", "PAUSED", &["PAUSED"]).await;
    let answer = rest.send(path, &source("other", "").to_string()).await;
    assert_eq!(
        (answer.status, &answer.json()["config"]["topic"]),
        (200, &json!("other"))
    );
    rest.until("put", "PAUSED", &["PAUSED"]).await;
    let changes = r#"{"topic": "third", "mode": null}"#;
    let answer = rest.send("PATCH /connectors/put/config", changes).await;
    let config = &answer.json()["config"];
    assert_eq!((answer.status, &config["topic"]), (200, &json!("third")));
    assert_eq!(config.get("mode"), None);
    let answer = rest.send("PATCH /connectors/none/config", "{}").await;
    answer.is_error(404, "Connector none not found");
    let answer = rest
        .send("PATCH /connectors/put/config", r#"{"topic": null}"#)
        .await;
    assert_eq!(answer.status, 400, "{}", answer.text);
    assert_eq!(rest.get("/connectors/put/config").await["topic"], "third");
    rest.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_initial_state_is_obeyed() {
    let rest = Rest::start().await;
    for (name, state, tasks) in [("p", "PAUSED", &["PAUSED"][..]), ("s", "STOPPED", &[])] {
        let config = source("initial", "");
        let body = json!({"name": name, "config": config, "initial_state": state});
        let answer = rest.send("POST /connectors", &body.to_string()).await;
        assert_eq!(answer.status, 201, "{}", answer.text);
        rest.until(name, state, tasks).await;
    }
    let body = json!({"name": "x", "config": source("initial", ""), "initial_state": "HALTED"});
    let answer = rest.send("POST /connectors", &body.to_string()).await;
    assert_eq!(answer.status, 400);
    assert!(answer.text.contains("HALTED"), "{}", answer.text);
    rest.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn failed_tasks_are_restarted_when_somebody_asks() {
    let rest = Rest::start().await;
    let answer = rest
        .send(
            "POST /connectors",
            &creation("bad", &source("bad", "configuration")),
        )
        .await;
    assert_eq!(answer.status, 201, "{}", answer.text);
    let status = rest.until("bad", "RUNNING", &["FAILED"]).await;
    let task = &status["tasks"][0];
    assert!(
        task["trace"]
            .as_str()
            .unwrap()
            .contains("it can never work"),
        "{task}"
    );
    assert_eq!(task["failures"], 1);

    assert!(
        task.get("next_try_ms").is_none(),
        "time mends nothing: {task}"
    );
    let why = task["not_restarted"].as_str().unwrap();
    assert!(why.contains("correct the configuration"), "{why}");

    for (restarts, line, code) in [
        (1, "POST /connectors/bad/tasks/0/restart", 204),
        (
            2,
            "POST /connectors/bad/restart?includeTasks=true&onlyFailed=true",
            202,
        ),
    ] {
        let answer = rest.call(line).await;
        assert_eq!(answer.status, code, "{}", answer.text);
        if code == 202 {
            let shown = answer.json();
            assert_eq!(shown["tasks"][0]["state"], "RESTARTING");
            assert_eq!(shown["connector"]["state"], "RUNNING");
        }
        rest.world
            .until("it has failed again", || {
                let task = rest.worker.status()["bad"].tasks[0].clone();
                task.restarts == restarts && task.state == State::Failed
            })
            .await;
    }
    let answer = rest.call("POST /connectors/bad/tasks/7/restart").await;
    answer.is_error(404, "Task bad-7 not found");
    let answer = rest.call("GET /connectors/bad/tasks/7/status").await;
    answer.is_error(404, "No status found for task bad-7");
    rest.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_of_everything_loses_and_repeats_nothing() {
    let rest = Rest::start().await;
    let sink = json!({"connector.class": SINK, "topics": "again"});
    for (name, config) in [
        ("again-source", &source("again", "")),
        ("again-sink", &sink),
    ] {
        let answer = rest.send("POST /connectors", &creation(name, config)).await;
        assert_eq!(answer.status, 201, "{}", answer.text);
    }
    let journal = Journal::of("again-sink");
    let all = || journal.values().len() >= 100;
    rest.world.until("all records are in the sink", all).await;
    for name in ["again-source", "again-sink"] {
        let line = format!("POST /connectors/{name}/restart?includeTasks=true");
        let answer = rest.call(&line).await;
        assert_eq!(answer.json()["connector"]["state"], "RESTARTING");
        assert_eq!(answer.status, 202);
        rest.until(name, "RUNNING", &["RUNNING"]).await;
    }
    let line = "POST /connectors/again-source/restart";
    assert_eq!(rest.call(line).await.status, 204);
    let committed = json!({"offsets": [{
        "partition": {"kafka_topic": "again", "kafka_partition": 0},
        "offset": {"kafka_offset": 100},
    }]});
    let begun = Instant::now();
    while rest.get("/connectors/again-sink/offsets").await != committed {
        assert!(
            begun.elapsed() < Duration::from_secs(60),
            "the offset is not committed"
        );
        sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(journal.values().len(), 100);
    rest.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mistakes_are_answered_in_kafka_s_form() {
    let rest = Rest::start().await;
    let body = creation("twice", &source("twice", ""));
    assert_eq!(rest.send("POST /connectors", &body).await.status, 201);
    let answer = rest.send("POST /connectors", &body).await;
    answer.is_error(409, "Connector twice already exists");

    let status = rest.call("GET /connectors/none/status").await;
    status.is_error(404, "No status found for connector none");
    for line in [
        "GET /connectors/none",
        "GET /connectors/none/config",
        "GET /connectors/none/tasks",
        "GET /connectors/none/offsets",
        "DELETE /connectors/none",
        "PUT /connectors/none/stop",
        "POST /connectors/none/restart",
        "POST /connectors/none/tasks/0/restart",
        "GET /connectors/none/history",
    ] {
        rest.call(line)
            .await
            .is_error(404, "Connector none not found");
    }
    for action in ["pause", "resume"] {
        rest.call(&format!("PUT /connectors/none/{action}"))
            .await
            .is_error(404, "Unknown connector none");
    }
    let answer = rest
        .call("POST /connectors/none/restart?includeTasks=true")
        .await;
    answer.is_error(404, "Unknown connector: none");
    rest.call("GET /nothing")
        .await
        .is_error(404, "HTTP 404 Not Found");
    rest.call("GET /connectors/twice/nothing")
        .await
        .is_error(404, "HTTP 404 Not Found");
    let answer = rest.call("DELETE /connectors").await;
    answer.is_error(405, "HTTP 405 Method Not Allowed");
    assert!(answer.head.contains("\r\nallow: "), "{}", answer.head);

    for body in [
        "",
        "{",
        "[]",
        "{}",
        r#"{"name": "a"}"#,
        r#"{"name": 1, "config": {}}"#,
        r#"{"config": {}}"#,
        r#"{"name": "a", "config": {"topic": ["b"]}}"#,
        r#"{"name": "a", "config": {"topic": null}}"#,
        r#"{"name": "a", "config": {"name": "b"}}"#,
        r#"{"name": "a", "config": {}}"#,
        r#"{"name": "a", "config": {}, "initialState": "STOPPED"}"#,
    ] {
        let answer = rest.send("POST /connectors", body).await;
        assert_eq!(answer.status, 400, "{body}: {}", answer.text);
        assert_eq!(answer.json()["error_code"], 400, "{body}: {}", answer.text);
    }
    let wrong = json!({"connector.class": SOURCE, "count": "many"});
    let answer = rest
        .send("POST /connectors", &creation("wrong", &wrong))
        .await;
    assert_eq!(answer.status, 400);
    let message = answer.json()["message"].as_str().unwrap().to_owned();
    assert!(
        message.starts_with(
            "Connector configuration is invalid and contains the following 2 error(s):\n"
        ),
        "{message}"
    );
    assert!(
        message.contains("key \"count\"") && message.contains("key \"topic\""),
        "{message}"
    );
    let large = format!("{{\"name\": \"{}\"}}", "a".repeat(2 * 1024 * 1024));
    let head = format!(
        "POST /connectors HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        large.len()
    );
    assert_eq!(rest.raw(&head).await.status, 413);
    rest.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn web_pages_cannot_give_orders() {
    let rest = Rest::start().await;
    let close = "Connection: close\r\n";
    for (request, status) in [
        (
            format!("GET / HTTP/1.1\r\nHost: rebound.example.org\r\n{close}\r\n"),
            403,
        ),
        (
            format!("GET / HTTP/1.1\r\nHost: localhost:8083\r\n{close}\r\n"),
            200,
        ),
        (
            format!(
                "POST /connectors/a/restart HTTP/1.1\r\nHost: localhost\r\n\
                 Origin: https://example.org\r\n{close}\r\n"
            ),
            403,
        ),
        (
            format!(
                "POST /connectors HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/plain\r\n\
                 Content-Length: 2\r\n{close}\r\n{{}}"
            ),
            415,
        ),
    ] {
        let answer = rest.raw(&request).await;
        assert_eq!(answer.status, status, "{request}{}", answer.text);
    }
    rest.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connector_that_hangs_delays_no_answer_about_others() {
    let rest = Rest::start().await;
    let sink = json!({"connector.class": SINK, "topics": "hang", "mode": "hang"});
    for (name, config) in [("kind", &source("hang", "")), ("hanging", &sink)] {
        let answer = rest.send("POST /connectors", &creation(name, config)).await;
        assert_eq!(answer.status, 201, "{}", answer.text);
    }
    rest.world
        .until("put hangs, and the state says so", || {
            let tasks = &rest.worker.status()["hanging"].tasks;
            let waiting = tasks.first().and_then(|task| task.waiting.as_deref());
            waiting.is_some_and(|text| text.contains("put has not returned"))
        })
        .await;
    let begun = Instant::now();
    let (deleted, (names, after)) = tokio::join!(rest.call("DELETE /connectors/hanging"), async {
        sleep(Duration::from_millis(50)).await;
        (rest.get("/connectors").await, begun.elapsed())
    });
    assert_eq!(names, json!(["hanging", "kind"]));
    assert!(after < Duration::from_secs(2), "{after:?}");
    assert_eq!(deleted.status, 204, "{}", deleted.text);
    assert_eq!(rest.get("/connectors").await, json!(["kind"]));
    rest.worker.stop().await;
    let answer = rest.call("GET /connectors").await;
    answer.is_error(503, "The worker is stopping");
    rest.end().await;
}
