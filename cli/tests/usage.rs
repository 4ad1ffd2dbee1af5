//! What is printed, and which exit code is given, when the command line makes no sense.

// A test fails by panicking, in the functions it calls, too.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod world;

use world::connect;

#[test]
fn no_arguments_show_three_examples() {
    let run = connect(&[]);
    assert_eq!(run.code, 1);
    assert_eq!(run.stdout, "");
    assert!(
        run.stderr.contains("Usage: connect <COMMAND>"),
        "{}",
        run.stderr
    );
    let (_, examples) = run.stderr.split_once("Examples:\n").unwrap();
    assert_eq!(
        examples
            .lines()
            .take_while(|line| line.starts_with("  connect "))
            .count(),
        3
    );
}

#[test]
fn help_is_no_error_and_fits_a_screen() {
    let run = connect(&["--help"]);
    assert_eq!(run.code, 0);
    assert!(run.stdout.lines().count() <= 34, "{}", run.stdout);
}

#[test]
fn a_misspelt_command_names_the_near_one() {
    let run = connect(&["topic", "--list"]);
    assert_eq!(run.code, 1);
    assert!(run.stderr.contains("'topics'"), "{}", run.stderr);
}

#[test]
fn zookeeper_is_explained_whatever_else_is_given() {
    for arguments in [
        ["topics", "--list", "--zookeeper", "localhost:2181"],
        ["topics", "--zookeeper=localhost:2181", "--old-option", "x"],
    ] {
        let run = connect(&arguments);
        assert_eq!(run.code, 1);
        assert!(
            run.stderr.contains("there is no ZooKeeper"),
            "{}",
            run.stderr
        );
        assert!(run.stderr.contains("--bootstrap-server"), "{}", run.stderr);
    }
}

#[test]
fn a_broker_needs_its_settings() {
    let run = connect(&["broker", "start"]);
    assert_eq!(run.code, 1);
    assert!(
        run.stderr.contains("settings are missing"),
        "{}",
        run.stderr
    );
    let run = connect(&["broker", "start", "absent.toml"]);
    assert_eq!(run.code, 1);
    assert!(
        run.stderr.contains("\"absent.toml\" does not exist"),
        "{}",
        run.stderr
    );
}

#[test]
fn an_action_is_needed_and_only_one() {
    for arguments in [vec!["topics"], vec!["topics", "--list", "--describe"]] {
        let run = connect(&arguments);
        assert_eq!(run.code, 1);
        assert!(run.stderr.contains("--list"), "{}", run.stderr);
    }
    let run = connect(&["groups", "--list", "--describe"]);
    assert_eq!(run.code, 1);
    assert!(run.stderr.contains("exactly one action"), "{}", run.stderr);
}

#[test]
fn links_answer_to_kafkas_names() {
    let folder = tempfile::tempdir().unwrap();
    let bin = folder.path().join("bin");
    let run = connect(&["links", bin.to_str().unwrap()]);
    assert_eq!((run.code, run.stderr.as_str()), (0, ""));
    for name in ["kafka-topics", "kafka-topics.sh"] {
        let run = world::run(&bin.join(name), &["--list"], "");
        assert_eq!(run.code, 1);
        assert!(
            run.stderr.contains("--bootstrap-server must be specified"),
            "{}",
            run.stderr
        );
        assert!(run.stderr.contains(name), "{}", run.stderr);
    }
    let run = world::run(&bin.join("kafka-server-start.sh"), &["-daemon"], "");
    assert_eq!(run.code, 1);
    assert!(
        run.stderr.contains("kafka-server-start.sh [-daemon] FILE"),
        "{}",
        run.stderr
    );
    let run = world::run(&bin.join("connect-standalone.sh"), &[], "");
    assert_eq!(run.code, 1);
    assert!(
        run.stderr.contains("connect-standalone.sh"),
        "{}",
        run.stderr
    );
    // A second time replaces the links.
    assert_eq!(connect(&["links", bin.to_str().unwrap()]).code, 0);
}

#[test]
fn a_broker_that_is_not_there_is_named() {
    let run = connect(&["topics", "--list", "--bootstrap-server", "127.0.0.1:1"]);
    assert_eq!(run.code, 1);
    assert!(run.stderr.contains("127.0.0.1:1"), "{}", run.stderr);
    assert!(run.stderr.contains("start the broker"), "{}", run.stderr);
}

#[test]
fn the_file_connectors_are_there() {
    let run = connect(&["plugins"]);
    assert_eq!(run.code, 0);
    for class in ["FileStreamSourceConnector", "FileStreamSinkConnector"] {
        let full = format!("org.apache.kafka.connect.file.{class}");
        assert!(
            run.stdout.lines().any(|line| line.starts_with(&full)),
            "{}",
            run.stdout
        );
    }
}

#[test]
fn the_connectors_to_test_with_are_there_under_kafka_s_names() {
    let run = connect(&["plugins"]);
    for class in [
        "org.apache.kafka.connect.tools.VerifiableSourceConnector",
        "org.apache.kafka.connect.tools.VerifiableSinkConnector",
        "org.apache.kafka.connect.tools.MockSourceConnector",
        "org.apache.kafka.connect.tools.MockSinkConnector",
        "org.apache.kafka.connect.tools.SchemaSourceConnector",
        "io.confluent.kafka.connect.datagen.DatagenConnector",
    ] {
        let listed = run.stdout.lines().any(|line| line.starts_with(class));
        assert!(listed, "{class} in {}", run.stdout);
    }
}

#[test]
fn kafka_s_transforms_and_predicates_are_there() {
    let run = connect(&["plugins", "--no-headers"]);
    assert_eq!(run.code, 0);
    let count = |kind: &str| {
        run.stdout
            .lines()
            .filter(|line| line.contains(kind))
            .count()
    };
    // Ten come for keys and for values, six for records as a whole.
    assert_eq!(count("  transformation  "), 2 * 10 + 6, "{}", run.stdout);
    assert_eq!(count("  predicate  "), 3, "{}", run.stdout);
}
