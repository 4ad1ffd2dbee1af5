//! The standalone program as a process of its own: this test binary, started again.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use crate::connectors::SINK;
use crate::world::World;

/// Where the started process finds its arguments.
pub(crate) const ARGUMENTS: &str = "TEST_PROGRAM_ARGUMENTS";

#[test]
#[ignore = "it is the program that the other test starts"]
fn program() {
    let Ok(arguments) = std::env::var(ARGUMENTS) else {
        return;
    };
    let arguments = arguments.split('\n').map(str::to_owned);
    let code = connect_runtime::standalone::run("program", arguments, None);
    std::process::exit(match code == ExitCode::SUCCESS {
        true => 0,
        false => 1,
    });
}

pub(crate) fn interrupt(child: &Child) {
    interrupt_times(child, 1);
}

/// Several interrupts with nothing between them.
fn interrupt_times(child: &Child, times: usize) {
    let pids = vec![child.id().to_string(); times];
    let killed = Command::new("kill").arg("-INT").args(pids).status();
    assert!(killed.unwrap().success());
}

/// Starts it with a sink whose `put` never returns, and waits until it is in there.
async fn start(world: &World) -> (Child, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let worker = folder.path().join("worker.toml");
    let text = format!(
        "bootstrap.servers = \"{}\"\nkey.converter = \"string\"\nvalue.converter = \"string\"\n\
         listeners = \"http://127.0.0.1:0\"\ntask.stuck.after.ms = 100\n\
         task.shutdown.graceful.timeout.ms = 600000\n",
        world.address()
    );
    std::fs::write(&worker, text).unwrap();
    let sink = folder.path().join("sink.toml");
    let text = format!(
        "name = \"stuck\"\nconnector.class = \"{SINK}\"\ntopics = \"stuck\"\nmode = \"hang\"\n"
    );
    std::fs::write(&sink, text).unwrap();
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "program::program", "--ignored", "--nocapture"])
        .env(
            ARGUMENTS,
            format!("{}\n{}", worker.display(), sink.display()),
        )
        .current_dir(folder.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let output = BufReader::new(child.stdout.take().unwrap());
    let mut lines = output.lines().map(Result::unwrap);
    let rest = lines.find_map(|line| Some(line.split_once("http://")?.1.to_owned()));
    let rest = rest.expect("it says where its REST interface is");
    assert!(lines.any(|line| line.starts_with("stop:")));
    let begun = Instant::now();
    while !status(&rest).contains("put has not returned") {
        assert!(
            begun.elapsed() < Duration::from_secs(60),
            "{}",
            status(&rest)
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    (child, folder)
}

fn status(address: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(
        stream,
        "GET /connectors/stuck/status HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n"
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_interrupt_stops_at_once_and_a_doubled_first_one_does_not() {
    let world = World::start().await;
    let worker = world.worker().await;
    let source = world.source("stuck-source", "stuck", 10, "");
    worker.create(source).await.unwrap();
    world
        .until("there is something to put", || {
            !worker.offsets("stuck-source").is_empty()
        })
        .await;
    let (mut child, _folder) = start(&world).await;
    interrupt_times(&child, 2);
    let mut said = BufReader::new(child.stderr.take().unwrap()).lines();
    assert!(said.any(|line| line.unwrap().starts_with("stopping:")));
    // Longer than what still counts as one.
    tokio::time::sleep(Duration::from_millis(600)).await;
    assert!(child.try_wait().unwrap().is_none(), "it is still stopping");
    let begun = Instant::now();
    let status = loop {
        interrupt(&child);
        tokio::time::sleep(Duration::from_millis(400)).await;
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        assert!(begun.elapsed() < Duration::from_secs(60), "it goes on");
    };
    assert_eq!(status.code(), Some(130));
    worker.stop().await;
    world.end().await;
}
