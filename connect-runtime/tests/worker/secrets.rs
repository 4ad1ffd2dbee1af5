//! Secrets: from configuration providers to connectors, and nowhere else.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use connect_runtime::config::Settings;
use connect_runtime::config::worker::WorkerConfig;
use serde_json::{Value, json};

use crate::connectors::SINK;
use crate::program::{ARGUMENTS, interrupt};
use crate::world::World;

const FROM_FILE: &str = "canary-file-7c1d";
const FROM_ENVIRONMENT: &str = "canary-env-93ab";
const FROM_FOLDER: &str = "canary-dir-0b72";
const LITERAL: &str = "canary-literal-51fe";
/// In the middle of a text of a client override.
const IN_JAAS: &str = "canary-jaas-e4a0";
/// In a URL that is no secret as a whole.
const IN_URL: &str = "canary-url-77d1";
/// What no line of a log may have, and no answer but that of a configuration that is written so.
const ALL: [&str; 6] = [
    FROM_FILE,
    FROM_ENVIRONMENT,
    FROM_FOLDER,
    LITERAL,
    IN_JAAS,
    IN_URL,
];

/// The standalone program, with everything that it says and answers.
struct Program {
    child: Child,
    address: String,
    output: JoinHandle<String>,
    log: JoinHandle<String>,
    answers: String,
    folder: tempfile::TempDir,
}

impl Program {
    fn start(world: &World, format: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let secrets = folder.path().join("secrets.properties");
        std::fs::write(&secrets, format!("token={FROM_FILE}\nnumber=12\n")).unwrap();
        std::fs::write(folder.path().join("token"), FROM_FOLDER).unwrap();
        let worker = folder.path().join("worker.properties");
        let text = format!(
            "bootstrap.servers={}\nkey.converter=string\nvalue.converter=string\n\
             listeners=http://127.0.0.1:0\n\
             producer.client.id=${{env:CANARY}}\n\
             config.providers=file,env,dir\n\
             config.providers.dir.class=DirectoryConfigProvider\n\
             config.providers.file.class=org.apache.kafka.common.config.provider.FileConfigProvider\n\
             config.providers.file.param.allowed.paths={}\n\
             config.providers.env.class=EnvVarConfigProvider\n\
             config.providers.env.param.allowlist.pattern=CANARY\n",
            world.address(),
            folder.path().display()
        );
        std::fs::write(&worker, text).unwrap();
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "program::program", "--ignored", "--nocapture"])
            .env(
                ARGUMENTS,
                format!("--log-format\n{format}\n{}", worker.display()),
            )
            .env("CANARY", FROM_ENVIRONMENT)
            .env("RUST_LOG", "trace")
            .current_dir(folder.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut log = child.stderr.take().unwrap();
        let log = std::thread::spawn(move || {
            let mut text = Vec::new();
            log.read_to_end(&mut text).unwrap();
            String::from_utf8(text).unwrap()
        });
        let mut output = BufReader::new(child.stdout.take().unwrap());
        let mut said = String::new();
        while !said.contains("stop:") {
            assert!(output.read_line(&mut said).unwrap() > 0, "{said}");
        }
        let rest = said.split("http://").nth(1).unwrap();
        let address = rest.lines().next().unwrap().to_owned();
        let output = std::thread::spawn(move || {
            output.read_to_string(&mut said).unwrap();
            said
        });
        Self {
            child,
            address,
            output,
            log,
            answers: String::new(),
            folder,
        }
    }

    /// A reference to the file.
    fn reference(&self, key: &str) -> String {
        let file = self.folder.path().join("secrets.properties");
        format!("${{file:{}:{key}}}", file.display())
    }

    /// Sends a request; everything that comes back is kept.
    fn call(&mut self, line: &str, body: &Value) -> String {
        let body = body.to_string();
        let mut stream = TcpStream::connect(&self.address).unwrap();
        write!(
            stream,
            "{line} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\n\r\n{body}",
            self.address,
            body.len()
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        self.answers.push_str(&answer);
        answer
    }

    fn get(&mut self, path: &str) -> String {
        self.call(&format!("GET {path}"), &json!({}))
    }

    fn until(&mut self, path: &str, expected: &str) {
        let begun = Instant::now();
        loop {
            let answer = self.get(path);
            if answer.contains(expected) {
                return;
            }
            assert!(begun.elapsed() < Duration::from_secs(60), "{answer}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Reads from a tap until a line has this.
    fn tap(&mut self, path: &str, expected: &str) -> String {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(60)))
            .unwrap();
        write!(
            stream,
            "GET {path} HTTP/1.1\r\nHost: {}\r\n\r\n",
            self.address
        )
        .unwrap();
        let mut lines = BufReader::new(stream);
        loop {
            let mut line = String::new();
            assert!(lines.read_line(&mut line).unwrap() > 0, "the tap has ended");
            self.answers.push_str(&line);
            if line.contains(expected) {
                return line;
            }
        }
    }

    /// Stops it: all that it has answered, and all that it has said.
    fn stop(mut self) -> (String, String) {
        interrupt(&self.child);
        assert!(self.child.wait().unwrap().success());
        let said = self.output.join().unwrap() + &self.log.join().unwrap();
        (self.answers, said)
    }
}

fn sink(topic: &str, mode: &str, token: &str) -> Value {
    json!({
        "connector.class": SINK, "topics": topic, "mode": mode, "token": token,
        "consumer.override.client.id": token,
    })
}

/// Secrets in transforms, client overrides and URLs, in a connector that leaks what it has, and everything
/// that answers a GET.
fn everywhere(program: &mut Program, topic: &str, reference: &str) {
    let login = format!("Plain required username=\"u\" password=\"{IN_JAAS}\";");
    let mut config = sink(topic, &format!("url-http://u:{IN_URL}@db"), reference);
    config["consumer.override.sasl.jaas.config"] = json!(login);
    config["producer.override.sasl.jaas.config"] = json!(login);
    config["transforms"] = json!("stamp,cast");
    config["transforms.stamp.type"] = json!("HeaderFrom$Value");
    config["transforms.stamp.fields"] = json!(reference);
    config["transforms.stamp.headers"] = json!(reference);
    config["transforms.stamp.operation"] = json!("copy");
    config["transforms.cast.type"] = json!("InsertHeader");
    config["transforms.cast.header"] = json!("h");
    config["transforms.cast.value.literal"] = json!(reference);
    config["errors.log.enable"] = json!("true");
    config["errors.log.include.messages"] = json!("true");
    let created = program.call("PUT /connectors/everywhere/config", &config);
    assert!(created.starts_with("HTTP/1.1 201"), "{created}");
    // The transform quotes it: strings have no such field.
    program.until("/connectors/everywhere/status", "\"trace\"");
    config["transforms"] = json!("cast");
    config["mode"] = json!("leak");
    let changed = program.call("PUT /connectors/everywhere/config", &config);
    assert!(changed.starts_with("HTTP/1.1 200"), "{changed}");
    program.until(
        "/connectors/everywhere/status",
        "login with [hidden] failed",
    );
    let seen = program.tap("/connectors/everywhere/tap", "\"stage\":\"put\"");
    assert!(seen.contains("[hidden]"), "{seen}");
    let stopped = program.call("PUT /connectors/everywhere/stop", &json!({}));
    assert!(stopped.starts_with("HTTP/1.1 204"), "{stopped}");
    let offsets = json!({"offsets": [{
        "partition": {"kafka_topic": topic, "kafka_partition": 0}, "offset": {"kafka_offset": 0},
    }]});
    let altered = program.call("PATCH /connectors/everywhere/offsets", &offsets);
    assert!(altered.starts_with("HTTP/1.1 200"), "{altered}");
    for path in [
        "/",
        "/health",
        "/metrics",
        "/metrics?names=jmx",
        "/connectors",
        "/connectors?expand=status",
        "/connectors/everywhere",
        "/connectors/everywhere/status",
        "/connectors/everywhere/history",
        "/connectors/everywhere/tasks",
        "/connectors/everywhere/topics",
        "/connectors/everywhere/offsets",
        "/connectors/everywhere/offsets/history",
        "/connectors/file/tasks/0/status",
        "/connectors/literal/history",
        "/connectors/literal/tasks/0/status",
        "/admin/loggers",
        "/admin/loggers/root",
        "/connector-plugins?connectorsOnly=false",
        "/connector-plugins/JournalSinkConnector/config",
    ] {
        let answer = program.get(path);
        assert!(answer.starts_with("HTTP/1.1 "), "{path}");
    }
}

async fn no_secret_is_shown(format: &str) {
    let world = World::start().await;
    let worker = world.worker().await;
    let topic = format!("leaks-{format}");
    let source = world.source("leaks-source", &topic, 10, "");
    worker.create(source).await.unwrap();
    let mut program = Program::start(&world, format);
    let (in_file, number) = (program.reference("token"), program.reference("number"));
    let in_environment = "${env:CANARY}";
    let in_folder = format!("${{dir:{}:token}}", program.folder.path().display());
    for (name, token) in [
        ("file", in_file.as_str()),
        ("env", in_environment),
        ("dir", in_folder.as_str()),
        ("literal", LITERAL),
    ] {
        let created = program.call(
            &format!("PUT /connectors/{name}/config"),
            &sink(&topic, "leak", token),
        );
        assert!(created.starts_with("HTTP/1.1 201"), "{created}");
        // What a connector gets is the secret, and what it says of it is not shown.
        program.until(
            &format!("/connectors/{name}/status"),
            "login with [hidden] failed",
        );
        let config = program.get(&format!("/connectors/{name}/config"));
        assert!(
            config.contains(&format!("\"token\":\"{token}\"")),
            "{config}"
        );
        let tasks = program.get(&format!("/connectors/{name}/tasks"));
        assert!(tasks.contains(&format!("\"token\":\"{token}\"")), "{tasks}");
    }
    for token in [in_file.as_str(), in_environment] {
        let refused = program.call(
            "PUT /connectors/refused/config",
            &sink(&topic, "refuse", token),
        );
        assert!(
            refused.starts_with("HTTP/1.1 400") && refused.contains("not with [hidden]"),
            "{refused}"
        );
        let mut wrong = sink(&topic, "", token);
        for key in [
            "tasks.max",
            "errors.tolerance",
            "value.converter",
            "transforms.x.type",
            "consumer.override.fetch.max.bytes",
            "errors.deadletterqueue.topic.name",
            "topics.regex",
        ] {
            wrong[key] = json!(format!("({token}"));
        }
        wrong["transforms"] = json!("x");
        let refused = program.call("PUT /connectors/refused/config", &wrong);
        assert!(
            refused.contains("not shown, because it may be a secret"),
            "{refused}"
        );
        for config in [wrong, sink(&topic, "refuse", token)] {
            let path = format!("PUT /connector-plugins/{SINK}/config/validate");
            let answer = program.call(&path, &config);
            assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        }
        let class = json!({"connector.class": token, "topics": "x"});
        program.call("PUT /connectors/refused/config", &class);
    }
    let mut short = sink(&topic, "", "x");
    short["tasks.max.enforce"] = json!(number);
    let refused = program.call("PUT /connectors/refused/config", &short);
    assert!(refused.starts_with("HTTP/1.1 400"), "{refused}");
    assert!(!refused.contains("\"12\""), "{refused}");
    program.get("/connectors?expand=info&expand=status");
    everywhere(&mut program, &topic, &in_file);
    program.call(
        "POST /connectors/file/restart?includeTasks=true",
        &json!({}),
    );
    program.until("/connectors/file/status", "login with [hidden] failed");
    let (answers, said) = program.stop();
    for secret in [FROM_FILE, FROM_ENVIRONMENT, FROM_FOLDER] {
        assert!(!answers.contains(secret), "{secret} in an answer");
    }
    // A configuration is shown as it is written, and nothing else is.
    let shown = answers
        .lines()
        .filter(|line| !line.contains("\"connector.class\""));
    for line in shown {
        for secret in ALL {
            assert!(!line.contains(secret), "{secret} in {line}");
        }
    }
    assert!(said.contains("logging in with [hidden]"));
    for secret in ALL {
        let line = said.lines().find(|line| line.contains(secret));
        assert_eq!(line, None, "{secret}");
    }
    worker.stop().await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_secret_is_shown_in_answers_states_or_lines_of_text() {
    no_secret_is_shown("text").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_secret_is_shown_in_lines_of_json() {
    no_secret_is_shown("json").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_secret_that_changes_counts_from_the_next_start_of_the_task() {
    let world = World::start().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("mode");
    std::fs::write(&file, "bad-3").unwrap();
    let worker = world
        .worker_with(&[
            ("config.providers", "dir"),
            ("config.providers.dir.class", "DirectoryConfigProvider"),
        ])
        .await;
    let config = worker.config().clone();
    let pairs = [
        ("name", "rotated"),
        ("connector.class", SINK),
        ("topics", "rotated"),
        (
            "mode",
            &format!("${{dir:{}:mode}}", folder.path().display()),
        ),
    ];
    let map = pairs.map(|(key, text)| (key.to_owned(), text.to_owned()));
    let settings = Settings::from_map("test", &map.into());
    let (sink, _) =
        connect_runtime::config::connector::ConnectorConfig::read(&settings, &config).unwrap();
    worker.create(sink).await.unwrap();
    let source = world.source("rotated-source", "rotated", 10, "");
    worker.create(source).await.unwrap();
    let failed = || {
        let status = worker.status();
        status["rotated"]
            .tasks
            .first()
            .is_some_and(|task| task.failures > 0)
    };
    world.until("the sink fails", failed).await;
    std::fs::write(&file, "").unwrap();
    let journal = crate::connectors::Journal::of("rotated");
    world
        .until("the records are in the sink", || {
            journal.values().len() >= 10
        })
        .await;
    worker.stop().await;
    world.end().await;
}

#[test]
fn a_worker_s_wrong_value_from_a_provider_is_not_shown() {
    let pairs = [
        ("config.providers", "env"),
        ("config.providers.env.class", "EnvVarConfigProvider"),
        ("key.converter", "string"),
        ("value.converter", "string"),
        ("offset.flush.interval.ms", "${env:CARGO_PKG_DESCRIPTION}"),
        ("sasl.password", "canary-sasl-2d2d"),
        ("bootstrap.servers", "canary-sasl-2d2d"),
    ];
    let map = pairs.map(|(key, text)| (key.to_owned(), text.to_owned()));
    let problems = WorkerConfig::read(&Settings::from_map("test", &map.into())).unwrap_err();
    let text = problems.to_string();
    assert!(
        text.contains("what \"${env:CARGO_PKG_DESCRIPTION}\" stands for"),
        "{text}"
    );
    assert!(!text.contains("standalone worker"), "{text}");
    assert!(text.contains("got \"[hidden]\""), "{text}");
    assert!(!text.contains("canary"), "{text}");
}
