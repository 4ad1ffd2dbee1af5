//! The tools against a broker: what they print is what scripts written for Kafka's tools parse.

// A test fails by panicking, in the functions it calls, too.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod world;

use world::{Broker, wait_for};

#[test]
fn a_topic_is_created_listed_described_altered_and_deleted() {
    let broker = Broker::start();
    let created = broker.tool(
        &[
            "topics",
            "--create",
            "--topic",
            "orders",
            "--partitions",
            "2",
            "--config",
            "retention.ms=5000",
        ],
        "",
    );
    assert_eq!(
        (created.code, created.stdout.as_str()),
        (0, "Created topic orders.\n"),
        "{}",
        created.stderr
    );
    let again = broker.tool(&["topics", "--create", "--topic", "orders"], "");
    assert_eq!(again.code, 1);
    assert!(
        again
            .stderr
            .contains("Error while executing topic command : "),
        "{}",
        again.stderr
    );
    assert!(again.stderr.contains("already exists"), "{}", again.stderr);
    let tolerated = broker.tool(
        &["topics", "--create", "--topic", "orders", "--if-not-exists"],
        "",
    );
    assert_eq!((tolerated.code, tolerated.stdout.as_str()), (0, ""));

    let listed = broker.tool(&["topics", "--list"], "");
    assert_eq!((listed.code, listed.stdout.as_str()), (0, "orders\n"));

    let described = broker.tool(&["topics", "--describe", "--topic", "orders"], "");
    let lines: Vec<&str> = described.stdout.lines().collect();
    let (head, tail) = lines[0].split_once("\tTopicId: ").unwrap();
    let (id, rest) = tail.split_once('\t').unwrap();
    assert_eq!((head, id.len()), ("Topic: orders", 22));
    assert!(
        rest.starts_with("PartitionCount: 2\tReplicationFactor: 1\tConfigs: "),
        "{rest}"
    );
    assert!(rest.contains("retention.ms=5000"), "{rest}");
    assert_eq!(
        lines[1],
        "\tTopic: orders\tPartition: 0\tLeader: 0\tReplicas: 0\tIsr: 0\tElr: \tLastKnownElr: "
    );
    assert_eq!(lines.len(), 3);
    let by_id = broker.tool(&["topics", "--describe", "--topic-id", id], "");
    assert_eq!(by_id.stdout, described.stdout);
    let healthy = broker.tool(
        &["topics", "--describe", "--under-replicated-partitions"],
        "",
    );
    assert_eq!((healthy.code, healthy.stdout.as_str()), (0, ""));

    let altered = broker.tool(
        &[
            "topics",
            "--alter",
            "--topic",
            "orders",
            "--partitions",
            "3",
        ],
        "",
    );
    assert_eq!(
        (altered.code, altered.stdout.as_str()),
        (0, ""),
        "{}",
        altered.stderr
    );
    let fewer = broker.tool(
        &[
            "topics",
            "--alter",
            "--topic",
            "orders",
            "--partitions",
            "1",
        ],
        "",
    );
    assert_eq!(fewer.code, 1);

    let absent = broker.tool(&["topics", "--describe", "--topic", "absent"], "");
    assert_eq!(absent.code, 1);
    assert!(
        absent
            .stderr
            .contains("Topic 'absent' does not exist as expected"),
        "{}",
        absent.stderr
    );
    assert_eq!(
        broker
            .tool(
                &["topics", "--delete", "--topic", "absent", "--if-exists"],
                ""
            )
            .code,
        0
    );
    assert_eq!(
        broker
            .tool(&["topics", "--delete", "--topic", "orders"], "")
            .code,
        0
    );
    assert_eq!(broker.tool(&["topics", "--list"], "").stdout, "\n");
}

#[test]
fn what_is_produced_is_consumed() {
    let broker = Broker::start();
    // The topic does not exist: the first record creates it.
    let produced = broker.tool(&["produce", "--topic", "greetings"], "hello\nworld\n");
    assert_eq!(
        (produced.code, produced.stdout.as_str()),
        (0, ""),
        "{}",
        produced.stderr
    );
    let consumed = broker.tool(
        &[
            "consume",
            "--topic",
            "greetings",
            "--from-beginning",
            "--max-messages",
            "2",
        ],
        "",
    );
    assert_eq!(
        (consumed.code, consumed.stdout.as_str()),
        (0, "hello\nworld\n"),
        "{}",
        consumed.stderr
    );
    assert_eq!(consumed.stderr, "Processed a total of 2 messages\n");
}

#[test]
fn keys_headers_and_offsets_are_printed_as_asked() {
    let broker = Broker::start();
    let input = "h1:v1,h2:v2\tkey1|value1\nh1:v\tNULL|NULL\n";
    let properties = [
        "parse.key=true",
        "key.separator=|",
        "parse.headers=true",
        "null.marker=NULL",
    ];
    let mut arguments = vec![
        "produce",
        "--topic",
        "t",
        "--compression-codec",
        "zstd",
        "--sync",
    ];
    arguments.extend(
        properties
            .iter()
            .flat_map(|property| ["--property", property]),
    );
    let produced = broker.tool(&arguments, input);
    assert_eq!(produced.code, 0, "{}", produced.stderr);
    let consumed = broker.tool(
        &[
            "consume",
            "--topic",
            "t",
            "--partition",
            "0",
            "--offset",
            "earliest",
            "--timeout-ms",
            "2000",
            "--max-messages",
            "2",
            "--property",
            "print.key=true",
            "--property",
            "print.headers=true",
            "--formatter-property",
            "print.offset=true",
            "--property",
            "print.partition=true",
            "--property",
            "key.separator= ",
        ],
        "",
    );
    assert_eq!(
        consumed.stdout,
        "Partition:0 Offset:0 h1:v1,h2:v2 key1 value1\nPartition:0 Offset:1 h1:v null null\n",
        "{}",
        consumed.stderr
    );
}

#[test]
fn a_group_resumes_is_described_and_reset() {
    let broker = Broker::start();
    assert_eq!(
        broker
            .tool(&["produce", "--topic", "t"], "1\n2\n3\n4\n5\n")
            .code,
        0
    );
    let read = [
        "consume",
        "--topic",
        "t",
        "--group",
        "g",
        "--from-beginning",
        "--max-messages",
    ];
    let first = broker.tool(&[&read[..], &["2"]].concat(), "");
    assert_eq!(
        (first.code, first.stdout.as_str()),
        (0, "1\n2\n"),
        "{}",
        first.stderr
    );

    let listed = broker.tool(&["groups", "--list"], "");
    assert_eq!((listed.code, listed.stdout.as_str()), (0, "g\n"));
    let described = broker.tool(&["groups", "--describe", "--group", "g"], "");
    assert_eq!(described.code, 0, "{}", described.stderr);
    assert_eq!(
        described.stderr,
        "\nConsumer group 'g' has no active members.\n"
    );
    let rows: Vec<Vec<&str>> = described
        .stdout
        .lines()
        .map(|line| line.split_whitespace().collect())
        .collect();
    let header =
        "GROUP TOPIC PARTITION CURRENT-OFFSET LOG-END-OFFSET LAG CONSUMER-ID HOST CLIENT-ID";
    assert_eq!(rows[1].join(" "), header);
    assert_eq!(rows[2], ["g", "t", "0", "2", "5", "3", "-", "-", "-"]);
    let state = broker.tool(&["groups", "--list", "--state"], "");
    assert!(state.stdout.contains("Empty"), "{}", state.stdout);

    let second = broker.tool(&[&read[..], &["3"]].concat(), "");
    assert_eq!(second.stdout, "3\n4\n5\n", "{}", second.stderr);

    let reset = [
        "groups",
        "--reset-offsets",
        "--group",
        "g",
        "--topic",
        "t",
        "--shift-by",
        "-2",
    ];
    let dry = broker.tool(&[&reset[..], &["--dry-run"]].concat(), "");
    let rows: Vec<Vec<&str>> = dry
        .stdout
        .lines()
        .map(|line| line.split_whitespace().collect())
        .collect();
    assert_eq!(rows[1].join(" "), "GROUP TOPIC PARTITION NEW-OFFSET");
    assert_eq!(rows[2], ["g", "t", "0", "3"]);
    assert_eq!(
        broker.tool(&[&reset[..], &["--execute"]].concat(), "").code,
        0
    );
    let third = broker.tool(&[&read[..], &["2"]].concat(), "");
    assert_eq!(third.stdout, "4\n5\n", "{}", third.stderr);

    let deleted = broker.tool(&["groups", "--delete", "--group", "g"], "");
    assert_eq!(
        deleted.stdout, "Deletion of requested consumer groups ('g') was successful.\n",
        "{}",
        deleted.stderr
    );
    let absent = broker.tool(&["groups", "--describe", "--group", "g"], "");
    assert_eq!(absent.code, 1);
    assert!(
        absent.stderr.contains("'g' does not exist")
            || absent.stderr.contains("GROUP_ID_NOT_FOUND"),
        "{}",
        absent.stderr
    );
}

#[test]
fn settings_are_altered_and_described() {
    let broker = Broker::start();
    assert_eq!(
        broker
            .tool(&["topics", "--create", "--topic", "t"], "")
            .code,
        0
    );
    let topic = ["configs", "--entity-type", "topics", "--entity-name", "t"];
    let altered = broker.tool(
        &[
            &topic[..],
            &[
                "--alter",
                "--add-config",
                "retention.ms=1000,cleanup.policy=[compact,delete]",
            ],
        ]
        .concat(),
        "",
    );
    assert_eq!(
        (altered.code, altered.stdout.as_str()),
        (0, "Completed updating config for topic t.\n"),
        "{}",
        altered.stderr
    );
    let described = broker.tool(&[&topic[..], &["--describe"]].concat(), "");
    let lines: Vec<&str> = described.stdout.lines().collect();
    assert_eq!(lines[0], "Dynamic configs for topic t are:");
    assert!(lines[1].starts_with("  cleanup.policy=compact,delete sensitive=false synonyms={DYNAMIC_TOPIC_CONFIG:cleanup.policy=compact,delete"), "{}", lines[1]);
    assert!(
        lines[2].starts_with(
            "  retention.ms=1000 sensitive=false synonyms={DYNAMIC_TOPIC_CONFIG:retention.ms=1000"
        ),
        "{}",
        lines[2]
    );
    let deleted = broker.tool(
        &[
            "configs",
            "--topic",
            "t",
            "--alter",
            "--delete-config",
            "retention.ms,cleanup.policy",
        ],
        "",
    );
    assert_eq!(deleted.code, 0, "{}", deleted.stderr);
    let described = broker.tool(&["configs", "--topic", "t", "--describe"], "");
    assert_eq!(described.stdout, "Dynamic configs for topic t are:\n");
    let all = broker.tool(&["configs", "--topic", "t", "--describe", "--all"], "");
    assert!(
        all.stdout.starts_with("All configs for topic t are:\n"),
        "{}",
        all.stdout
    );
    assert!(
        all.stdout.contains("  retention.ms=604800000 "),
        "{}",
        all.stdout
    );
    let unknown = broker.tool(
        &[
            "configs",
            "--topic",
            "t",
            "--alter",
            "--add-config",
            "no.such.key=1",
        ],
        "",
    );
    assert_eq!(unknown.code, 1);
    let broker_settings = broker.tool(&["configs", "--broker", "0", "--describe", "--all"], "");
    assert_eq!(broker_settings.code, 0, "{}", broker_settings.stderr);
    assert!(
        broker_settings
            .stdout
            .starts_with("All configs for broker 0 are:\n"),
        "{}",
        broker_settings.stdout
    );
}

#[test]
fn a_setting_for_all_brokers_is_not_shown_as_one_brokers_own() {
    let broker = Broker::start();
    let everyone = ["configs", "--entity-type", "brokers", "--entity-default"];
    let set = ["--alter", "--add-config", "log.retention.ms=1000"];
    let altered = broker.tool(&[&everyone[..], &set].concat(), "");
    assert_eq!(altered.code, 0, "{}", altered.stderr);
    let described = broker.tool(&[&everyone[..], &["--describe"]].concat(), "");
    assert!(
        described.stdout.contains("log.retention.ms=1000"),
        "{}",
        described.stdout
    );
    let own = broker.tool(&["configs", "--broker", "0", "--describe"], "");
    assert_eq!(
        own.stdout, "Dynamic configs for broker 0 are:\n",
        "{}",
        own.stderr
    );
}

#[test]
fn a_closed_output_ends_quietly() {
    let broker = Broker::start();
    let lines: String = (0..20_000)
        .map(|number| format!("line {number}\n"))
        .collect();
    assert_eq!(broker.tool(&["produce", "--topic", "t"], &lines).code, 0);
    let script = format!(
        "'{}' consume --topic t --from-beginning --bootstrap-server {} | head -1",
        env!("CARGO_BIN_EXE_connect"),
        broker.address
    );
    let run = world::run(std::path::Path::new("sh"), &["-c", &script], "");
    assert_eq!((run.code, run.stdout.as_str()), (0, "line 0\n"));
    assert!(
        !run.stderr.to_lowercase().contains("error"),
        "{}",
        run.stderr
    );
}

#[test]
fn broker_list_still_works_and_says_so() {
    let broker = Broker::start();
    let run = broker.connect(&["topics", "--list", "--broker-list", &broker.address]);
    assert_eq!(run.code, 0);
    assert!(
        run.stderr.contains("--broker-list is deprecated"),
        "{}",
        run.stderr
    );
}

#[test]
fn a_topic_that_does_not_exist_yet_is_waited_for() {
    let broker = Broker::start();
    let waiting = std::thread::scope(|scope| {
        let consumer =
            scope.spawn(|| broker.tool(&["consume", "--topic", "late", "--max-messages", "1"], ""));
        std::thread::sleep(std::time::Duration::from_millis(500));
        assert_eq!(
            broker.tool(&["produce", "--topic", "late"], "hello\n").code,
            0
        );
        consumer.join().unwrap()
    });
    assert_eq!(
        (waiting.code, waiting.stdout.as_str()),
        (0, "hello\n"),
        "{}",
        waiting.stderr
    );
    assert!(
        waiting.stderr.contains("does not exist yet"),
        "{}",
        waiting.stderr
    );
}

#[test]
fn members_and_coordinator_of_an_active_group_are_shown() {
    let broker = Broker::start();
    assert_eq!(broker.tool(&["produce", "--topic", "t"], "1\n").code, 0);
    std::thread::scope(|scope| {
        let consumer = scope.spawn(|| {
            let group = [
                "consume",
                "--topic",
                "t",
                "--group",
                "g",
                "--from-beginning",
                "--max-messages",
                "2",
            ];
            broker.tool(&group, "")
        });
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
        let state = loop {
            let state = broker.tool(&["groups", "--describe", "--group", "g", "--state"], "");
            if state.stdout.contains("Stable") {
                break state.stdout;
            }
            assert!(std::time::Instant::now() < deadline, "{state:?}");
            std::thread::sleep(std::time::Duration::from_millis(20));
        };
        assert!(state.contains(&broker.address), "{state}");
        let members = broker.tool(
            &[
                "groups",
                "--describe",
                "--group",
                "g",
                "--members",
                "--verbose",
            ],
            "",
        );
        let row = members
            .stdout
            .lines()
            .nth(2)
            .unwrap()
            .split_whitespace()
            .collect::<Vec<_>>();
        assert_eq!(
            (row[0], row[2], row[3], row[4], row[6]),
            ("g", "/127.0.0.1", "console-consumer", "1", "t:0")
        );
        let reset = [
            "groups",
            "--reset-offsets",
            "--group",
            "g",
            "--all-topics",
            "--to-earliest",
            "--execute",
        ];
        let refused = broker.tool(&reset, "");
        assert_eq!(refused.code, 1);
        assert!(
            refused.stderr.contains("the current state is Stable"),
            "{}",
            refused.stderr
        );
        assert_eq!(broker.tool(&["produce", "--topic", "t"], "2\n").code, 0);
        assert_eq!(consumer.join().unwrap().stdout, "1\n2\n");
    });
}

#[test]
fn sigterm_lets_consumer_and_producer_finish() {
    let broker = Broker::start();
    assert_eq!(broker.tool(&["produce", "--topic", "t"], "1\n").code, 0);
    let consume = ["consume", "--topic", "t", "--group", "g"];
    let often = ["--command-property", "auto.commit.interval.ms=50"];
    let consumer = broker.spawn_tool(&[&consume[..], &often].concat());
    let describe = ["groups", "--describe", "--group", "g"];
    // The group keeps its place although nothing has come yet.
    wait_for("the position to be committed", || {
        let offsets = broker.tool(&describe, "");
        let row: Vec<&str> = offsets
            .stdout
            .lines()
            .nth(2)
            .map(|row| row.split_whitespace().collect())
            .unwrap_or_default();
        row.starts_with(&["g", "t", "0", "1", "1", "0"])
    });
    consumer.terminate();
    let ended = consumer.wait();
    assert_eq!(ended.code, 143, "{}", ended.stderr);
    assert_eq!(ended.stderr, "Processed a total of 0 messages\n");
    let state = broker.tool(&[&describe[..], &["--state"]].concat(), "");
    assert!(state.stdout.contains("Empty"), "{}", state.stdout);

    let mut reading = broker.spawn_tool(&["produce", "--topic", "t", "--timeout", "60000"]);
    // What was read from the pipe is sent before the end, however long the producer may linger.
    reading.type_in("2\n");
    std::thread::sleep(std::time::Duration::from_millis(500));
    reading.terminate();
    let ended = reading.wait();
    assert_eq!(ended.code, 143, "{}", ended.stderr);
    let rest = broker.tool(&[&consume[..], &["--max-messages", "1"]].concat(), "");
    assert_eq!(rest.stdout, "2\n", "{}", rest.stderr);
}

#[test]
fn client_settings_come_from_a_file() {
    let broker = Broker::start();
    let settings = format!("bootstrap.servers={}\nclient.id=mine\n", broker.address);
    std::fs::write(broker.folder().join("client.properties"), settings).unwrap();
    let listed = broker.connect(&["topics", "--list", "--command-config", "client.properties"]);
    assert_eq!(
        (listed.code, listed.stdout.as_str()),
        (0, "\n"),
        "{}",
        listed.stderr
    );
    std::fs::write(
        broker.folder().join("secure.toml"),
        "security.protocol = \"SSL\"\n",
    )
    .unwrap();
    let refused = broker.connect(&[
        "consume",
        "--topic",
        "t",
        "--consumer.config",
        "secure.toml",
    ]);
    assert_eq!(refused.code, 1);
    assert!(
        refused.stderr.contains("secure.toml:1:"),
        "{}",
        refused.stderr
    );
}

#[test]
fn a_line_that_cannot_be_parsed_ends_the_producer_after_the_lines_before_it() {
    let broker = Broker::start();
    let produced = broker.tool(
        &["produce", "--topic", "t", "--property", "parse.key=true"],
        "k\tv\nnokey\nk\tw\n",
    );
    assert_eq!(produced.code, 1);
    assert!(
        produced
            .stderr
            .contains("No key separator found on line number 2: 'nokey'"),
        "{}",
        produced.stderr
    );
    let consumed = broker.tool(
        &[
            "consume",
            "--topic",
            "t",
            "--from-beginning",
            "--timeout-ms",
            "500",
        ],
        "",
    );
    assert_eq!(consumed.stdout, "v\n");
}
