//! A standalone worker with the shipped files, as a process in a folder of its own.

use std::fs::{self, OpenOptions};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use super::{Run, run_in, wait_for_content};

/// How long anything may take; generous, because it only matters to a test that fails, and machines are
/// busy.
pub const LIMIT: Duration = Duration::from_secs(90);

/// A folder with the shipped configuration, the worker on a port of its own.
pub struct Job {
    /// Where it runs.
    pub folder: TempDir,
    /// What is on its command line.
    pub files: Vec<&'static str>,
}

/// A worker as a process; killed at the end if the test did not stop it.
pub struct Running {
    /// The process.
    pub child: Child,
    /// What it printed until it was running.
    pub banner: Vec<String>,
}

impl Job {
    /// The shipped files, copied.
    pub fn new(files: [&'static str; 3]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("../configs");
        for file in files {
            let text = fs::read_to_string(shipped.join(file)).unwrap();
            fs::write(folder.path().join(file), text.replace(":9092", ":0")).unwrap();
        }
        Self {
            folder,
            files: files.to_vec(),
        }
    }

    /// The same with the REST interface on a free port.
    pub fn with_rest(files: [&'static str; 3]) -> Self {
        let job = Self::new(files);
        let worker = job.path(files[0]);
        let text = fs::read_to_string(&worker).unwrap();
        // Top-level keys come before the first table.
        fs::write(
            worker,
            format!("listeners = \"http://127.0.0.1:0\"\n{text}"),
        )
        .unwrap();
        job
    }

    /// The README's main job with the REST interface on a free port, running.
    pub fn started() -> (Self, Running) {
        let job = Self::with_rest(["worker.toml", "file-source.toml", "file-sink.toml"]);
        let running = job.start();
        (job, running)
    }

    /// Writes a file into the folder.
    pub fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    /// The path of a file in the folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Appends to what the source reads.
    pub fn append(&self, text: &str) {
        let mut file = OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.path("test.txt"))
            .unwrap();
        file.write_all(text.as_bytes()).unwrap();
    }

    /// Waits until the sink has written this.
    pub fn expect(&self, text: &str) {
        wait_for_content(&self.path("test.sink.txt"), text, LIMIT);
    }

    /// Starts the worker, which runs when this returns.
    pub fn start(&self) -> Running {
        self.start_with(Stdio::inherit())
    }

    /// As `start`, with its standard error elsewhere.
    pub fn start_with(&self, errors: Stdio) -> Running {
        let mut child = Command::new(env!("CARGO_BIN_EXE_connect-standalone"))
            .args(&self.files)
            .current_dir(self.folder.path())
            .stdout(Stdio::piped())
            .stderr(errors)
            .spawn()
            .unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let mut banner = Vec::new();
        for line in output.lines() {
            let line = line.unwrap();
            let last = line.starts_with("stop:");
            banner.push(line);
            if last {
                break;
            }
        }
        Running { child, banner }
    }
}

impl Running {
    /// Where its REST interface is.
    pub fn url(&self) -> &str {
        let mut lines = self.banner.iter();
        let url = lines.find_map(|line| line.strip_prefix("  rest     "));
        url.unwrap()
    }

    /// `host:port` of its own broker.
    pub fn broker(&self) -> String {
        let mut lines = self.banner.iter();
        let line = lines.find_map(|line| line.strip_prefix("  broker   "));
        line.unwrap().split([' ', ',']).next().unwrap().to_owned()
    }

    /// Runs `connect` in the job's folder, with this worker's REST interface.
    pub fn connect(&self, job: &Job, arguments: &[&str]) -> Run {
        let program = Path::new(env!("CARGO_BIN_EXE_connect"));
        let with_url = [arguments, &["--url", self.url()]].concat();
        run_in(job.folder.path(), program, &with_url, "")
    }

    /// Sends a request to its REST interface; status and body of the answer, or nothing if it is gone
    /// before it has answered.
    pub fn request(&self, line: &str, body: &str) -> Option<(u16, String)> {
        let address = self.url().strip_prefix("http://").unwrap();
        let mut stream = TcpStream::connect(address).ok()?;
        write!(
            stream,
            "{line} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )
        .ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        let (head, body) = answer.split_once("\r\n\r\n")?;
        let status = head.split(' ').nth(1)?.parse().ok()?;
        Some((status, body.to_owned()))
    }

    /// Asks it to stop, as Ctrl-C does, and gives its exit code.
    pub fn interrupt(mut self) -> Option<i32> {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, Signal::INT).unwrap();
        self.child.wait().unwrap().code()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}
