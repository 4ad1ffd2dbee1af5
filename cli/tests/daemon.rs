//! A broker as a detached process.

// A test fails by panicking, in the functions it calls, too.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod world;

use world::{Broker, address};

#[test]
fn start_returns_once_it_listens_and_stop_once_it_is_gone() {
    let broker = Broker::start();
    let pid_file = broker.folder().join("data/broker.pid");
    let pid = std::fs::read_to_string(&pid_file).unwrap();
    assert!(pid.trim().parse::<u32>().is_ok(), "{pid}");
    assert!(broker.folder().join("data/broker.out").exists());
    assert!(std::net::TcpStream::connect(&broker.address).is_ok());

    let second = broker.connect(&["broker", "start", "-daemon", "server.properties"]);
    assert_eq!(second.code, 1);
    assert!(
        second.stderr.contains("already running"),
        "{}",
        second.stderr
    );

    let stopped = broker.stop();
    assert_eq!(
        (stopped.code, stopped.stdout),
        (0, format!("broker stopped (pid {})\n", pid.trim()))
    );
    assert!(!pid_file.exists());
    assert!(std::net::TcpStream::connect(&broker.address).is_err());
    let nothing = broker.stop();
    assert_eq!(nothing.code, 1);
    assert!(
        nothing.stderr.contains("No kafka server to stop"),
        "{}",
        nothing.stderr
    );
}

#[test]
fn a_port_in_use_is_the_reason_that_start_gives() {
    let broker = Broker::start();
    let listener = format!("listeners=PLAINTEXT://{}", broker.address);
    let run = broker.connect(&[
        "broker",
        "start",
        "-daemon",
        "server.properties",
        "--override",
        &listener,
        "--override",
        "log.dirs=other",
    ]);
    assert_eq!(run.code, 1);
    let port = broker.address.rsplit(':').next().unwrap();
    assert!(
        run.stderr.contains(port) && run.stderr.contains("in use"),
        "{}",
        run.stderr
    );
    assert_eq!(run.stdout, "");
}

#[test]
fn wrong_settings_are_all_named_with_their_places() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("server.toml");
    std::fs::write(
        &file,
        "listeners = \"nonsense\"\nnum.partitions = \"many\"\n",
    )
    .unwrap();
    let run = world::connect(&["broker", "start", file.to_str().unwrap()]);
    assert_eq!(run.code, 1);
    assert!(
        run.stderr.contains("server.toml:1:") && run.stderr.contains("listeners"),
        "{}",
        run.stderr
    );
    assert!(
        run.stderr.contains("server.toml:2:") && run.stderr.contains("num.partitions"),
        "{}",
        run.stderr
    );
}

#[test]
fn data_survives_a_restart() {
    let broker = Broker::start();
    assert_eq!(broker.tool(&["produce", "--topic", "t"], "kept\n").code, 0);
    assert_eq!(broker.stop().code, 0);
    let again = broker.connect(&["broker", "start", "-daemon", "server.properties"]);
    assert_eq!(again.code, 0, "{}", again.stderr);
    let address = address(&again.stdout);
    let consumed = broker.connect(&[
        "consume",
        "--topic",
        "t",
        "--from-beginning",
        "--max-messages",
        "1",
        "--bootstrap-server",
        &address,
    ]);
    assert_eq!(consumed.stdout, "kept\n", "{}", consumed.stderr);
}

#[test]
fn a_broker_in_the_foreground_stops_by_its_pid_file() {
    let broker = Broker::start();
    let mut second = std::process::Command::new(env!("CARGO_BIN_EXE_connect"))
        .args([
            "broker",
            "start",
            "server.properties",
            "--override",
            "log.dirs=second",
            "--pid-file",
            "second.pid",
        ])
        .current_dir(broker.folder())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    let mut output = std::io::BufReader::new(second.stdout.take().unwrap());
    std::io::BufRead::read_line(&mut output, &mut line).unwrap();
    assert!(std::net::TcpStream::connect(address(&line)).is_ok());
    let stopped = broker.connect(&["broker", "stop", "--pid-file", "second.pid"]);
    assert_eq!(stopped.code, 0, "{}", stopped.stderr);
    assert_eq!(second.wait().unwrap().code(), Some(0));
    assert!(std::net::TcpStream::connect(&broker.address).is_ok());
}

#[test]
fn a_misspelt_setting_names_its_place_and_the_near_one() {
    let broker = Broker::start();
    let settings = "listeners=PLAINTEXT://127.0.0.1:0\nnum.partitons=3\nlog.dirs=other\n";
    std::fs::write(broker.folder().join("odd.properties"), settings).unwrap();
    let run = broker.connect(&["broker", "start", "-daemon", "odd.properties"]);
    assert_eq!(run.code, 0, "{}", run.stderr);
    assert!(
        run.stderr.contains("odd.properties:2:1: warning: "),
        "{}",
        run.stderr
    );
    assert!(run.stderr.contains("\"num.partitions\""), "{}", run.stderr);
    assert_eq!(
        broker.connect(&["broker", "stop", "odd.properties"]).code,
        0
    );
}
