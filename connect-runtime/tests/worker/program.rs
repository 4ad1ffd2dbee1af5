//! The standalone program as a process of its own: this test binary, started again.

use std::io::{BufRead, BufReader};
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
    let pid = child.id().to_string();
    let killed = Command::new("kill").args(["-INT", &pid]).status().unwrap();
    assert!(killed.success());
}

/// Starts it with a sink whose `put` never returns; it is running when this returns.
fn start(world: &World) -> (Child, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let worker = folder.path().join("worker.toml");
    let text = format!(
        "bootstrap.servers = \"{}\"\nkey.converter = \"string\"\nvalue.converter = \"string\"\n\
         task.shutdown.graceful.timeout.ms = 30000\n",
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
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let output = BufReader::new(child.stdout.take().unwrap());
    let mut lines = output.lines().map(Result::unwrap);
    assert!(lines.any(|line| line.starts_with("stop:")));
    (child, folder)
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
    let (mut child, _folder) = start(&world);
    // Time to get stuck in `put`.
    tokio::time::sleep(Duration::from_secs(1)).await;
    interrupt(&child);
    interrupt(&child);
    tokio::time::sleep(Duration::from_millis(600)).await;
    assert!(child.try_wait().unwrap().is_none(), "it is still stopping");
    let second = Instant::now();
    interrupt(&child);
    let status = child.wait().unwrap();
    assert_eq!(status.code(), Some(130));
    assert!(second.elapsed() < Duration::from_secs(5));
    worker.stop().await;
    world.end().await;
}
