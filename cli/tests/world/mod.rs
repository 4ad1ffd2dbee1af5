//! The built programs, run in folders of their own, and a broker where a test needs one.

// Each test file uses its own part of this.
#![allow(dead_code, unreachable_pub)]

pub mod job;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

/// What a finished program left behind.
#[derive(Debug)]
pub struct Run {
    /// Its exit code.
    pub code: i32,
    /// What it printed.
    pub stdout: String,
    /// What it said besides.
    pub stderr: String,
}

/// What a command that has to succeed printed.
#[track_caller]
pub fn done(run: &Run) -> &str {
    assert_eq!(run.code, 0, "{}{}", run.stdout, run.stderr);
    &run.stdout
}

/// Why a command that has to fail failed.
#[track_caller]
pub fn refused(run: &Run) -> &str {
    assert_eq!(run.code, 1, "{}{}", run.stdout, run.stderr);
    &run.stderr
}

/// Runs `connect` with these arguments and no input.
pub fn connect(arguments: &[&str]) -> Run {
    run(Path::new(env!("CARGO_BIN_EXE_connect")), arguments, "")
}

/// The same in a folder.
pub fn connect_in(folder: &Path, arguments: &[&str]) -> Run {
    run_in(
        folder,
        Path::new(env!("CARGO_BIN_EXE_connect")),
        arguments,
        "",
    )
}

/// The same with input.
pub fn connect_with(folder: &Path, arguments: &[&str], input: &str) -> Run {
    run_in(
        folder,
        Path::new(env!("CARGO_BIN_EXE_connect")),
        arguments,
        input,
    )
}

/// Runs a program until it ends.
pub fn run(program: &Path, arguments: &[&str], input: &str) -> Run {
    run_in(Path::new("."), program, arguments, input)
}

fn run_in(folder: &Path, program: &Path, arguments: &[&str], input: &str) -> Run {
    let mut child = Command::new(program)
        .args(arguments)
        .current_dir(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let text = input.to_owned();
    let writer = std::thread::spawn(move || {
        // A program that ends early does not read everything.
        stdin.write_all(text.as_bytes()).ok();
    });
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    Run {
        code: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

/// A broker as a detached process, in a folder of its own, on a free port. It is stopped at the end.
pub struct Broker {
    folder: TempDir,
    /// `host:port`.
    pub address: String,
}

impl Broker {
    /// Starts it.
    pub fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let settings = "listeners=PLAINTEXT://127.0.0.1:0\nlog.dirs=data\noffsets.topic.num.partitions=1\n\
                        group.initial.rebalance.delay.ms=0\n";
        std::fs::write(folder.path().join("server.properties"), settings).unwrap();
        let mut broker = Self {
            folder,
            address: String::new(),
        };
        let run = broker.connect(&["broker", "start", "-daemon", "server.properties"]);
        assert_eq!(run.code, 0, "{}", run.stderr);
        broker.address = address(&run.stdout);
        broker
    }

    /// The folder it runs in.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Runs `connect` in the broker's folder.
    pub fn connect(&self, arguments: &[&str]) -> Run {
        run_in(
            self.folder(),
            Path::new(env!("CARGO_BIN_EXE_connect")),
            arguments,
            "",
        )
    }

    /// Runs a tool that talks to the broker, with input.
    pub fn tool(&self, arguments: &[&str], input: &str) -> Run {
        let with_address = [arguments, &["--bootstrap-server", &self.address]].concat();
        run_in(
            self.folder(),
            Path::new(env!("CARGO_BIN_EXE_connect")),
            &with_address,
            input,
        )
    }

    /// Starts a tool that talks to the broker and goes on until it is ended.
    pub fn spawn_tool(&self, arguments: &[&str]) -> Tool {
        let child = Command::new(env!("CARGO_BIN_EXE_connect"))
            .args(arguments)
            .args(["--bootstrap-server", &self.address])
            .current_dir(self.folder())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        Tool { child }
    }

    /// Stops it, as the test's last act does by itself.
    pub fn stop(&self) -> Run {
        self.connect(&["broker", "stop", "server.properties"])
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.stop();
    }
}

/// A tool that runs.
pub struct Tool {
    child: Child,
}

impl Tool {
    /// Writes to its standard input.
    pub fn type_in(&mut self, text: &str) {
        let stdin = self.child.stdin.as_mut().unwrap();
        stdin.write_all(text.as_bytes()).unwrap();
    }

    /// Sends it SIGTERM.
    pub fn terminate(&self) {
        let pid = i32::try_from(self.child.id()).unwrap();
        kill_process(Pid::from_raw(pid).unwrap(), Signal::TERM).unwrap();
    }

    /// Waits for its end. Its standard input stays open until then.
    pub fn wait(mut self) -> Run {
        let stdin = self.child.stdin.take();
        let output = self.child.wait_with_output().unwrap();
        drop(stdin);
        Run {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

/// Waits until something is so, at most 20 seconds.
pub fn wait_for(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + job::LIMIT;
    while !is_so() {
        assert!(Instant::now() < deadline, "waited too long for {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The address in `broker listens on ADDRESS, …`.
pub fn address(text: &str) -> String {
    let (_, rest) = text.split_once("listens on ").unwrap();
    rest.split(',').next().unwrap().to_owned()
}

/// Waits until a file has this content, at most `limit`.
pub fn wait_for_content(path: &PathBuf, expected: &str, limit: Duration) {
    let deadline = Instant::now() + limit;
    loop {
        let found = std::fs::read_to_string(path).unwrap_or_default();
        if found == expected {
            return;
        }
        assert!(
            Instant::now() < deadline,
            "{} holds {found:?} and not {expected:?}",
            path.display()
        );
        std::thread::sleep(Duration::from_millis(5));
    }
}
