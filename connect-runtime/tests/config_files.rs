//! Configuration files as users write them: three formats, one meaning, every mistake at once.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use connect_core::{
    Config, ConfigMap, ConnectError, ConnectorContext, ConnectorKind, SourceConnector, SourceTask,
    async_trait,
};
use connect_runtime::config::connector::{ConnectorConfig, InitialState, Topics};
use connect_runtime::config::worker::WorkerConfig;
use connect_runtime::config::{Format, Problem, Problems, Settings, apply_environment};

/// A connector with keys like those of the file source.
#[derive(Config)]
struct LinesConfig {
    /// The file to read.
    #[allow(dead_code)]
    file: Option<String>,
    /// Where lines go.
    #[allow(dead_code)]
    topic: String,
    /// Records per poll.
    #[config(default = 2000, range = 1..)]
    #[allow(dead_code)]
    batch_size: u32,
}

#[derive(Default)]
struct Lines;

#[async_trait]
impl SourceConnector for Lines {
    async fn start(&mut self, _: ConnectorContext, _: &ConfigMap) -> Result<(), ConnectError> {
        Ok(())
    }
    fn task_configs(&self, _: usize) -> Result<Vec<ConfigMap>, ConnectError> {
        Ok(Vec::new())
    }
    fn task(&self) -> Box<dyn SourceTask> {
        unreachable!("no test here runs it")
    }
}

connect_core::register_connector! {
    /// Lines.
    pub struct LinesSourceConnector;
    class = "org.example.LinesSourceConnector",
    config = LinesConfig,
    source = Lines
}

fn parse(format: Format, name: &str, text: &str) -> Settings {
    Settings::parse(format, name, text.as_bytes())
        .unwrap_or_else(|error| panic!("{error}"))
        .0
}

fn worker() -> WorkerConfig {
    let text = "key.converter=string\nvalue.converter=string\n";
    WorkerConfig::read(&parse(Format::Properties, "w", text))
        .unwrap()
        .0
}

fn shown(problems: &[Problem]) -> String {
    Problems(problems.to_vec()).to_string()
}

#[test]
fn three_formats_mean_the_same() {
    let toml = r#"
        name = "lines"
        connector.class = "LinesSource"
        "tasks.max" = 1
        topic = "t"
        batch.size = 0x10
        errors.log.enable = true
        [key.converter]
        type = "json"
        schemas.enable = false
    "#;
    let properties = "\
        # a comment\n\
        name = lines\n\
        connector.class: LinesSource\n\
        tasks.max=1\n\
        topic t\n\
        batch.size=\\\n   16\n\
        errors.log.enable=true\n\
        key.converter=json\n\
        key.converter.schemas.enable=false\n";
    let flat = r#"{"name": "lines", "connector.class": "LinesSource", "tasks.max": 1, "topic": "t",
        "batch.size": "16", "errors.log.enable": true, "key.converter": "json",
        "key.converter.schemas.enable": "false"}"#;
    let request =
        format!(r#"{{"name": "lines", "config": {flat}, "initial_state": "PAUSED", "more": 1}}"#);
    let toml = parse(Format::Toml, "a.toml", toml);
    let expected = toml.to_map();
    assert_eq!(expected.len(), 8, "{expected:?}");
    for (format, text) in [
        (Format::Properties, properties),
        (Format::Json, flat),
        (Format::Json, &request),
    ] {
        assert_eq!(parse(format, "a", text).to_map(), expected, "{format:?}");
    }
    let (config, notes) = ConnectorConfig::read(&toml, &worker()).unwrap();
    assert_eq!(shown(&notes), "");
    assert_eq!(config.class, "org.example.LinesSourceConnector");
    assert_eq!(config.kind, ConnectorKind::Source);
    assert_eq!(config.key_converter.config["schemas.enable"], "false");
    assert!(
        config.initial_state == InitialState::Running && config.topics == Topics::Names(vec![])
    );
    let request = parse(Format::Json, "a", &request);
    assert!(
        ConnectorConfig::read(&request, &worker())
            .unwrap()
            .0
            .initial_state
            == InitialState::Paused
    );
}

#[test]
fn five_mistakes_give_five_messages_with_their_places() {
    let text = "\
name = \"lines\"
connector.class = \"LinesSource\"
\"tasks.max\" = 0
fiel = \"test.txt\"
batch.size = \"many\"
errors.tolerance = \"al\"
value.converter = \"jsn\"
";
    let problems =
        ConnectorConfig::read(&parse(Format::Toml, "s.toml", text), &worker()).unwrap_err();
    let lines: Vec<String> = problems.to_string().lines().map(str::to_owned).collect();
    let expected = [
        "s.toml: key \"topic\": is missing; it has no default",
        "s.toml:3:15: key \"tasks.max\": expected a whole number from 1 to 2147483647, got \"0\"",
        "s.toml:4:1: warning: key \"fiel\": is not known and has no effect; did you mean \"file\"?",
        "s.toml:5:14: key \"batch.size\": expected a whole number, at least 1, got \"many\"",
        "s.toml:6:20: key \"errors.tolerance\": expected one of none, all, got \"al\"; did you mean \"all\"?",
    ];
    assert_eq!(lines[..5], expected, "{problems}");
    assert!(
        lines[5].starts_with("s.toml:7:19: key \"value.converter\": "),
        "{problems}"
    );
    assert_eq!(lines.len(), 6, "{problems}");
}

#[test]
fn an_unknown_class_names_the_one_that_was_meant() {
    let text = "name=a\nconnector.class=LinseSource\n";
    let problems =
        ConnectorConfig::read(&parse(Format::Properties, "s.properties", text), &worker())
            .unwrap_err();
    let text = problems.to_string();
    assert!(
        text.starts_with("s.properties:2:17: key \"connector.class\": "),
        "{text}"
    );
    assert!(text.contains("LinesSource"), "{text}");
}

#[test]
fn a_missing_name_and_class_are_both_reported() {
    let problems =
        ConnectorConfig::read(&parse(Format::Json, "s.json", "{}"), &worker()).unwrap_err();
    assert_eq!(
        problems.to_string(),
        "s.json: key \"name\": expected a text, got nothing; it must be set\n\
         s.json: key \"connector.class\": expected the class name or alias of a plugin, got nothing; \
         it must be set"
    );
}

#[test]
fn syntax_errors_name_their_place() {
    let broken = |format, text: &str| {
        Settings::parse(format, "f", text.as_bytes())
            .unwrap_err()
            .to_string()
    };
    assert!(broken(Format::Toml, "a = 1\nb = \n").starts_with("f:2:"));
    let both = broken(Format::Toml, "a = \nb = 1\nc = [1,\n");
    assert!(both.lines().count() >= 2, "{both}");
    assert!(broken(Format::Json, "{\"a\": 1,\n \"b\" 2}").starts_with("f:2:6: not valid JSON"));
    assert!(broken(Format::Properties, "a=1\nb=\\u12x\n").starts_with("f:2:3: expected four"));
    assert_eq!(
        broken(Format::Json, "{\"a\": null, \"b\": {}}"),
        "f:1:7: key \"a\": expected a string, a number or true or false, got null; leave the key \
         out to use its default\n\
         f:1:18: key \"b\": expected a string, a number or true or false, got an object; write \
         dotted keys"
    );
}

#[test]
fn one_key_in_two_spellings_is_an_error_in_toml() {
    let text = "\"batch.size\" = 1\nbatch.size = 2\n";
    let problems = Settings::parse(Format::Toml, "f.toml", text.as_bytes()).unwrap_err();
    assert_eq!(
        problems.to_string(),
        "f.toml:2:1: key \"batch.size\": expected once, got twice; the first is at f.toml:1:1"
    );
}

#[test]
fn properties_are_read_as_java_reads_them() {
    let text = "\
! comment\n\
   # comment\n\
\n\
plain=a=b:c  \n\
escaped\\ key\\:=\\u00fc\\t\\\\x\\q\n\
folded = one \\\n\t\ttwo\\\r\n   three\n\
empty\n\
empty.too =\n\
twice=1\n\
twice=2\n";
    let (settings, notes) = Settings::parse(Format::Properties, "p", text.as_bytes()).unwrap();
    let map = settings.to_map();
    assert_eq!(map["plain"], "a=b:c  ");
    assert_eq!(map["escaped key:"], "\u{fc}\t\\xq");
    assert_eq!(map["folded"], "one twothree");
    assert_eq!((map["empty"].as_str(), map["empty.too"].as_str()), ("", ""));
    assert_eq!(map["twice"], "2");
    assert_eq!(
        shown(&notes),
        "p:12:1: warning: key \"twice\": is given twice, the last one counts; the first is at p:11:1"
    );
    let latin = Settings::parse(Format::Properties, "p", b"a=\xfc\n")
        .unwrap()
        .0;
    assert_eq!(latin.text("a"), Some("\u{fc}"));
    let utf8 = parse(Format::Properties, "p", "a=ü\nb=1");
    assert_eq!(utf8.text("a"), Some("ü"));
}

#[test]
fn transforms_as_tables_become_dotted_keys() {
    let text = "\
[[transforms]]\nname = \"mask\"\ntype = \"MaskField$Value\"\nfields = [\"a\", \"b\"]\n\
[[transforms]]\nname = \"route\"\ntype = \"RegexRouter\"\n";
    let map = parse(Format::Toml, "t.toml", text).to_map();
    assert_eq!(map["transforms"], "mask,route");
    assert_eq!(map["transforms.mask.fields"], "a,b");
    assert_eq!(map["transforms.route.type"], "RegexRouter");
}

#[test]
fn mistakes_in_transforms_have_their_places() {
    let text = "\
name = \"lines\"\nconnector.class = \"LinesSource\"\ntopic = \"t\"\n\
[[transforms]]\nname = \"mask\"\ntype = \"MaskFild\"\n\
[[transforms]]\nname = \"route\"\ntype = \"RegexRouter\"\nregx = \"x\"\nregex = \"(\"\nreplacement = \"x\"\n\
[[transforms]]\nname = \"hoist\"\ntype = \"HoistField\"\n";
    let problems =
        ConnectorConfig::read(&parse(Format::Toml, "s.toml", text), &worker()).unwrap_err();
    let lines: Vec<String> = problems.to_string().lines().map(str::to_owned).collect();
    for expected in [
        "s.toml:6:8: key \"transforms.mask.type\": transform \"MaskFild\" is unknown; did you mean \"MaskField",
        "s.toml:10:1: warning: key \"transforms.route.regx\": is not known and has no effect; did you mean \"regex\"?",
        "s.toml:11:9: key \"transforms.route.regex\": expected a regular expression: ",
        "s.toml: key \"transforms.hoist.field\": is missing; it has no default",
    ] {
        assert!(
            lines.iter().any(|line| line.starts_with(expected)),
            "{expected}\n{problems}"
        );
    }
}

#[test]
fn a_worker_file_of_apache_kafka_is_accepted() {
    let text = "\
bootstrap.servers=localhost:9092
key.converter=org.apache.kafka.connect.json.JsonConverter
value.converter=org.apache.kafka.connect.json.JsonConverter
key.converter.schemas.enable=true
value.converter.schemas.enable=true
offset.storage.file.filename=/tmp/connect.offsets
offset.flush.interval.ms=10000
plugin.path=
";
    let (config, notes) =
        WorkerConfig::read(&parse(Format::Properties, "w.properties", text)).unwrap();
    assert_eq!(
        config.bootstrap_servers,
        Some(vec!["localhost:9092".to_owned()])
    );
    assert_eq!(config.offset_flush_interval.as_secs(), 10);
    assert_eq!(config.offset_topic.name, "connect-offsets");
    assert_eq!(notes.len(), 2);
    assert!(
        notes.iter().all(|note| !note.clone().strictly().is_error()),
        "{}",
        shown(&notes)
    );
}

#[test]
fn every_mistake_of_a_worker_file_is_reported() {
    let text = "\
bootstrap.servers = \"localhost\"
key.converter = \"jsn\"
offset.flush.interval.ms = \"often\"
ofset.flush.timeout.ms = 5
producer.acks = \"1\"
";
    let problems = WorkerConfig::read(&parse(Format::Toml, "w.toml", text)).unwrap_err();
    let text = problems.to_string();
    for expected in [
        "w.toml: key \"value.converter\": expected the class name or alias of a plugin, got nothing; it must be set",
        "w.toml:1:21: key \"bootstrap.servers\": expected host:port, got \"localhost\"; an example is \"localhost:9092\"",
        "w.toml:2:17: key \"key.converter\": ",
        "w.toml:3:28: key \"offset.flush.interval.ms\": expected a whole number of at least 1, got \"often\"",
        "w.toml:4:1: warning: key \"ofset.flush.timeout.ms\": is not known and has no effect; did you mean \"offset.flush.timeout.ms\"?",
        "w.toml:5:17: key \"producer.acks\": expected \"all\", got \"1\"",
    ] {
        assert!(text.contains(expected), "missing {expected:?} in\n{text}");
    }
    assert_eq!(text.lines().count(), 6, "{text}");
}

#[test]
fn the_environment_wins_and_shows_as_origin() {
    let mut settings = parse(Format::Toml, "w.toml", "bootstrap.servers = \"a:1\"\n");
    let variables = [
        ("CONNECT_BOOTSTRAP_SERVERS", "b"),
        ("CONNECT_A__B___C", "1"),
        ("OTHER_BOOTSTRAP_SERVERS", "c:3"),
    ];
    let variables = variables.map(|(name, text)| (name.to_owned(), text.to_owned()));
    apply_environment(&mut settings, variables);
    assert_eq!(settings.text("bootstrap.servers"), Some("b"));
    assert_eq!(settings.text("a-b_c"), Some("1"));
    let problems = WorkerConfig::read(&settings).unwrap_err().to_string();
    assert!(
        problems.contains("environment variable CONNECT_BOOTSTRAP_SERVERS: key \"bootstrap.servers\": expected host:port, got \"b\""),
        "{problems}"
    );
}

#[test]
fn where_the_commands_find_a_worker_is_no_key_of_one() {
    let mut settings = parse(Format::Toml, "w.toml", "");
    let url = ("CONNECT_URL".to_owned(), "http://127.0.0.1:8083".to_owned());
    apply_environment(&mut settings, [url]);
    assert_eq!(settings.iter().count(), 0);
}

#[tokio::test]
async fn a_file_that_cannot_be_read_says_so() {
    let problems = Settings::read("no/such/file.toml".as_ref())
        .await
        .unwrap_err();
    assert_eq!(
        problems.to_string(),
        "no/such/file.toml: file does not exist; relative paths start in the folder where the \
         command is run"
    );
}

proptest::proptest! {
    #[test]
    fn no_bytes_crash_a_reader(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..200)) {
        for format in [Format::Toml, Format::Properties, Format::Json] {
            drop(Settings::parse(format, "f", &bytes));
        }
    }

    #[test]
    fn no_text_crashes_a_reader(text in "[a-z.=:#!\\\\u0-9\"\\[\\]{},\n\r\t é😀]{0,80}") {
        for format in [Format::Toml, Format::Properties, Format::Json] {
            drop(Settings::parse(format, "f", text.as_bytes()));
        }
    }
}

#[test]
fn connectors_are_kept_where_nobody_elses_can_be_meant() {
    let read = |more: &str| {
        let text = format!("key.converter=string\nvalue.converter=string\n{more}");
        WorkerConfig::read(&parse(Format::Properties, "w.properties", &text))
    };
    let topic = |more: &str| read(more).unwrap().0.config_topic;
    assert_eq!(topic("").unwrap().name, "connect-configs");
    let cluster = "bootstrap.servers=localhost:9092\n";
    assert_eq!(topic(cluster), None);
    let own = format!(
        "{cluster}config.storage.topic=mine\nconfig.storage.replication.factor=3\n\
         config.storage.partitions=5\nconfig.storage.segment.bytes=1048576\n"
    );
    let own = topic(&own).unwrap();
    let shape = (own.name.as_str(), own.partitions, own.replication_factor);
    assert_eq!(shape, ("mine", 1, 3));
    assert_eq!(own.settings.len(), 1);
    assert_eq!(own.settings["segment.bytes"], "1048576");
    let problems = read("config.storage.topic=connect-offsets\n").unwrap_err();
    assert_eq!(
        problems.to_string(),
        "w.properties:3:22: key \"config.storage.topic\": expected a topic of its own, got \
         \"connect-offsets\", which keeps the source offsets"
    );
}

#[test]
fn a_connector_has_the_workers_restarts_but_for_what_it_says_itself() {
    let text = "key.converter=string\nvalue.converter=string\ntask.restart.backoff.ms=7\n\
                task.restart.failures.max=9\nmetrics.sample.window.ms=500\nmetrics.num.samples=3\n";
    let worker = parse(Format::Properties, "w", text);
    let (worker, _) = WorkerConfig::read(&worker).unwrap();
    assert!(worker.restart.enabled, "unless somebody turns it off");
    assert_eq!(worker.sampling.window.as_millis(), 500);
    assert_eq!(worker.sampling.windows, 3);
    let read = |more: &str| {
        let text = format!("name=a\nconnector.class=LinesSource\ntopic=t\n{more}");
        ConnectorConfig::read(&parse(Format::Properties, "c", &text), &worker)
    };
    assert_eq!(read("").unwrap().0.restart, worker.restart);
    let own =
        "task.restart.enable=false\ntask.restart.failures.max=0\ntask.restart.backoff.max.ms=5\n";
    let restart = read(own).unwrap().0.restart;
    assert!(!restart.enabled && restart.failures_max == 0);
    assert_eq!(restart.backoff, worker.restart.backoff);
    assert_eq!(restart.backoff_max.as_millis(), 5);
    let wrong = read("task.restart.failures.max=-1\ntask.restart.enable=maybe\n");
    let text = wrong.unwrap_err().to_string();
    assert!(
        text.contains("a whole number from 0 to 10000, got \"-1\""),
        "{text}"
    );
    assert!(text.contains("true or false, got \"maybe\""), "{text}");
}
