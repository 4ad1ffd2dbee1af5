//! The main job: file → broker → file, with the files that are shipped in `configs`.

// A test fails by panicking, in the functions it calls, too.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod world;

use std::collections::BTreeSet;
use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use world::Broker;
use world::job::{Job, LIMIT, Running};

#[test]
fn lines_arrive_in_order_and_a_restart_brings_only_new_ones() {
    let job = Job::new(["worker.toml", "file-source.toml", "file-sink.toml"]);
    let running = job.start();
    assert!(
        (1..=10).contains(&running.banner.len()),
        "{:?}",
        running.banner
    );
    job.append("foo\nbar\n");
    job.expect("foo\nbar\n");
    job.append("baz\n");
    job.expect("foo\nbar\nbaz\n");
    assert_eq!(running.interrupt(), Some(0));

    job.append("qux\n");
    let running = job.start();
    job.expect("foo\nbar\nbaz\nqux\n");
    assert_eq!(running.interrupt(), Some(0));
    assert_eq!(
        fs::read_to_string(job.path("test.sink.txt")).unwrap(),
        "foo\nbar\nbaz\nqux\n"
    );
}

#[test]
fn the_properties_files_do_the_same_against_a_separate_broker() {
    let broker = Broker::start();
    let worker = "connect-standalone.properties";
    let job = Job::new([
        worker,
        "connect-file-source.properties",
        "connect-file-sink.properties",
    ]);
    let text = fs::read_to_string(job.path(worker)).unwrap();
    let with_broker = text.replace(
        "#bootstrap.servers=127.0.0.1:0",
        &format!("bootstrap.servers={}", broker.address),
    );
    assert_ne!(text, with_broker);
    fs::write(job.path(worker), with_broker).unwrap();
    let running = job.start();
    job.append("foo\nbar\nbaz\n");
    job.expect("foo\nbar\nbaz\n");
    let consumed = broker.tool(
        &[
            "consume",
            "--topic",
            "connect-test",
            "--from-beginning",
            "--max-messages",
            "3",
        ],
        "",
    );
    assert_eq!(consumed.stdout, "foo\nbar\nbaz\n", "{}", consumed.stderr);
    assert_eq!(running.interrupt(), Some(0));
    assert!(!job.path("data").exists());
}

#[test]
fn after_kill_9_a_worker_with_a_separate_broker_does_not_wait_for_its_old_session() {
    let broker = Broker::start();
    let worker = "worker.toml";
    let job = Job::new([worker, "file-source.toml", "file-sink.toml"]);
    let text = fs::read_to_string(job.path(worker)).unwrap();
    let with_broker = text.replace(
        "#bootstrap.servers = \"127.0.0.1:0\"",
        &format!("bootstrap.servers = \"{}\"", broker.address),
    );
    assert_ne!(text, with_broker);
    fs::write(job.path(worker), with_broker).unwrap();
    let running = job.start();
    job.append("foo\n");
    job.expect("foo\n");
    drop(running);
    job.append("bar\n");
    let running = job.start();
    // A session lasts 45 s, which is longer than this waits.
    let sink = job.path("test.sink.txt");
    let begun = Instant::now();
    while !fs::read_to_string(&sink).unwrap().ends_with("bar\n") {
        assert!(begun.elapsed() < LIMIT, "the sink does not go on");
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(running.interrupt(), Some(0));
    let members = [
        "groups",
        "--describe",
        "--members",
        "--group",
        "connect-local-file-sink",
    ];
    let members = broker.tool(&members, "");
    assert!(
        !members.stdout.contains("connect-local-file-sink-0"),
        "the group was not left: {}",
        members.stdout
    );
}

#[test]
fn after_kill_9_every_line_is_in_the_sink_or_in_the_dead_letter_queue() {
    let mut job = Job::new(["worker.toml", "file-source.toml", "file-sink.toml"]);
    let sink = fs::read_to_string(job.path("file-sink.toml")).unwrap();
    let sink = sink
        + "\"value.converter\" = \"json\"\n\"value.converter.schemas.enable\" = false\n\
           errors.tolerance = \"all\"\nerrors.deadletterqueue.topic.name = \"dead\"\n";
    fs::write(job.path("file-sink.toml"), sink).unwrap();
    let dead = "name = \"dead\"\nconnector.class = \"FileStreamSink\"\nfile = \"dead.txt\"\n\
                topics = \"dead\"\n";
    fs::write(job.path("dead.toml"), dead).unwrap();
    job.files.push("dead.toml");
    let (rounds, lines) = (5, 3000);
    for round in 0..rounds {
        let numbers = round * lines..(round + 1) * lines;
        let line = |number: usize| match number % 3 {
            0 => format!("{{ {number}\n"),
            _ => format!("{number}\n"),
        };
        job.append(&numbers.map(line).collect::<String>());
        let running = job.start();
        std::thread::sleep(Duration::from_millis(150 * round as u64));
        drop(running);
    }
    let running = job.start();
    let expected: BTreeSet<String> = fs::read_to_string(job.path("test.txt"))
        .unwrap()
        .lines()
        .map(str::to_owned)
        .collect();
    world::wait_for("every line is somewhere", || {
        let read = |name: &str| fs::read_to_string(job.path(name)).unwrap_or_default();
        let (good, bad) = (read("test.sink.txt"), read("dead.txt"));
        let found: BTreeSet<String> = good.lines().chain(bad.lines()).map(str::to_owned).collect();
        found == expected
    });
    let bad = fs::read_to_string(job.path("dead.txt")).unwrap();
    assert!(bad.lines().all(|line| line.starts_with("{ ")));
    assert_eq!(running.interrupt(), Some(0));
}

#[test]
fn json_logs_are_json_throughout_and_name_connector_and_task() {
    let job = Job::new(["worker.toml", "file-source.toml", "file-sink.toml"]);
    let log = fs::File::create(job.path("log")).unwrap();
    let child = Command::new(env!("CARGO_BIN_EXE_connect-standalone"))
        .args(&job.files)
        .args(["--log-format", "json"])
        .env_remove("RUST_LOG")
        .current_dir(job.folder.path())
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .unwrap();
    let running = Running {
        child,
        banner: Vec::new(),
    };
    job.append("foo\n");
    job.expect("foo\n");
    assert_eq!(running.interrupt(), Some(0));
    let log = fs::read_to_string(job.path("log")).unwrap();
    let lines: Vec<serde_json::Value> = log
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("not JSON: {line}")))
        .collect();
    let of_the_sink = |line: &&serde_json::Value| {
        line["span"]["connector"] == "local-file-sink" && line["span"]["task"] == 0
    };
    assert!(lines.iter().any(|line| of_the_sink(&line)), "{log}");
    assert!(log.contains("stopping: "), "{log}");
}

/// Takes a port. Workers of other tests that have it soon end; a program of somebody else's may keep it
/// in use as well.
fn take(port: u16) -> Option<TcpListener> {
    let begun = Instant::now();
    loop {
        match TcpListener::bind(("127.0.0.1", port)) {
            Ok(listener) => return Some(listener),
            Err(_) if begun.elapsed() > LIMIT => return None,
            Err(_) => std::thread::sleep(Duration::from_millis(5)),
        }
    }
}

#[test]
fn the_default_rest_port_may_be_in_use_and_a_configured_one_must_be_free() {
    let job = Job::new(["worker.toml", "file-source.toml", "file-sink.toml"]);
    let _default = take(8083);
    let log = fs::File::create(job.path("log")).unwrap();
    let running = job.start_with(log.into());
    let named = running.banner.iter().any(|line| line.contains("8083"));
    assert!(!named, "{:?}", running.banner);
    assert_eq!(running.interrupt(), Some(0));
    let log = fs::read_to_string(job.path("log")).unwrap();
    assert!(log.starts_with("warning: port 8083 is in use"), "{log}");
    assert!(log.contains("this worker goes on without it"), "{log}");

    let taken = take(0).unwrap();
    let port = taken.local_addr().unwrap().port();
    let text = fs::read_to_string(job.path("worker.toml")).unwrap();
    let configure = |listeners: &str| {
        let with = format!("{text}\nlisteners = \"{listeners}\"\n");
        fs::write(job.path("worker.toml"), with).unwrap();
    };
    configure(&format!("http://127.0.0.1:0,http://127.0.0.1:{port}"));
    let standalone = Path::new(env!("CARGO_BIN_EXE_connect-standalone"));
    let worker = job.path("worker.toml");
    let refused = world::run(standalone, &[worker.to_str().unwrap()], "");
    assert_eq!(refused.code, 2, "{}", refused.stderr);
    let expected = format!("port {port} is in use");
    assert!(refused.stderr.contains(&expected), "{}", refused.stderr);

    configure("http://0.0.0.0:0");
    let refused = world::run(standalone, &[worker.to_str().unwrap()], "");
    assert_eq!(refused.code, 2, "{}", refused.stderr);
    let expected = "rest.allow.unauthenticated.remote";
    assert!(refused.stderr.contains(expected), "{}", refused.stderr);
}

#[test]
fn the_banner_says_where_rest_answers() {
    let job = Job::new(["worker.toml", "file-source.toml", "file-sink.toml"]);
    let text = fs::read_to_string(job.path("worker.toml")).unwrap();
    let with = format!("{text}\nlisteners = \"http://127.0.0.1:0,http://localhost:0\"\n");
    fs::write(job.path("worker.toml"), with).unwrap();
    let running = job.start();
    assert!(running.banner.len() <= 10, "{:?}", running.banner);
    let mut lines = running.banner.iter();
    let line = lines.find_map(|line| line.strip_prefix("  rest     "));
    let urls: Vec<&str> = line.unwrap().split(", ").collect();
    assert_eq!(urls.len(), 2, "{urls:?}");
    for url in urls {
        let address = url.strip_prefix("http://").unwrap();
        let mut stream = TcpStream::connect(address).unwrap();
        write!(
            stream,
            "GET /connectors HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n"
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(
            answer.ends_with(r#"["local-file-sink","local-file-source"]"#),
            "{answer}"
        );
    }
    assert_eq!(running.interrupt(), Some(0));
}

#[test]
fn exit_codes_are_kafkas() {
    let standalone = Path::new(env!("CARGO_BIN_EXE_connect-standalone"));
    let usage = world::run(standalone, &[], "");
    assert_eq!(usage.code, 1);
    assert!(
        usage.stderr.to_lowercase().contains("usage"),
        "{}",
        usage.stderr
    );
    let absent = world::run(standalone, &["absent.toml"], "");
    assert_eq!(absent.code, 2);
    assert!(absent.stderr.contains("absent.toml"), "{}", absent.stderr);
    let job = Job::new(["worker.toml", "file-source.toml", "file-sink.toml"]);
    fs::write(
        job.path("odd.toml"),
        "name = \"odd\"\nconnector.class = \"FileStreamSorce\"\n",
    )
    .unwrap();
    let paths = [job.path("worker.toml"), job.path("odd.toml")];
    let arguments = paths.each_ref().map(|path| path.to_str().unwrap());
    let unknown = world::run(standalone, &arguments, "");
    assert_eq!(unknown.code, 3);
    assert!(unknown.stderr.contains("odd.toml:2:"), "{}", unknown.stderr);
    assert!(
        unknown.stderr.contains("FileStreamSource"),
        "{}",
        unknown.stderr
    );
}

#[test]
fn both_formats_of_the_shipped_files_mean_the_same() {
    use connect_runtime::config::{Format, Settings};
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../configs");
    let read = |name: &str| {
        let path = folder.join(name);
        let bytes = fs::read(&path).unwrap();
        let (settings, warnings) =
            Settings::parse(Format::detect(&path, &bytes), name, &bytes).unwrap();
        assert!(warnings.is_empty(), "{warnings:?}");
        settings.to_map()
    };
    for (toml, properties) in [
        ("worker.toml", "connect-standalone.properties"),
        ("file-source.toml", "connect-file-source.properties"),
        ("file-sink.toml", "connect-file-sink.properties"),
        ("server.toml", "server.properties"),
    ] {
        assert_eq!(read(toml), read(properties), "{toml}");
    }
}
