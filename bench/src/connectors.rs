//! Many connectors in one worker, created and listed by REST: the shipped binary, measured from outside.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::Child;
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::figures::{cpu_ticks, median, status_kb};
use crate::worker::spawn;

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

/// Longest wait for anything before the benchmark gives up.
const PATIENCE: Duration = Duration::from_secs(120);
/// What listing everything is asked with.
const LIST: &str = "GET /connectors?expand=status&expand=info";

/// Creates `count` connectors, every other one a file source and a file sink, and prints how long that
/// takes, how long listing them does, and what each of them costs when it is idle.
pub(crate) fn measure(folder: &Path, count: usize) -> Outcome<()> {
    let worker = Worker::start(folder)?;
    let mut client = worker.client()?;
    // The first pair has what comes once: internal topics, groups, the topic itself.
    for number in 0..2 {
        client.create(folder, number)?;
    }
    client.wait_for_running(2)?;
    sleep(Duration::from_secs(3));
    let memory_before = status_kb(&worker.process, "VmRSS:")?;

    let began = Instant::now();
    for number in 2..count + 2 {
        client.create(folder, number)?;
    }
    let created = began.elapsed();
    client.wait_for_running(count + 2)?;
    println!(
        "{count} connectors created by REST in {:.2} s (goal under 30), all running after {:.2} s",
        created.as_secs_f64(),
        began.elapsed().as_secs_f64()
    );

    // What starting took is given back, and fetches wait.
    sleep(Duration::from_secs(10));
    let memory = status_kb(&worker.process, "VmRSS:")?;
    let ticks = cpu_ticks(&worker.process)?;
    sleep(Duration::from_secs(10));
    let ticks = cpu_ticks(&worker.process)? - ticks;
    println!(
        "an idle connector: {:.1} kB resident (goal under 200); the worker: {:.1} MB, {} ms CPU in 10 s",
        memory.saturating_sub(memory_before) as f64 / count as f64,
        memory as f64 / 1000.0,
        ticks * 10
    );

    let mut times = Vec::new();
    let mut bytes = 0;
    for _ in 0..50 {
        let began = Instant::now();
        bytes = client.ask(LIST, "")?.1.len();
        times.push(began.elapsed());
    }
    let worst = times.iter().max().copied().unwrap_or_default();
    println!(
        "all listed with status and info, {} kB, median of 50: {:.1} ms (worst {:.1}; goal under 100)",
        bytes / 1000,
        median(times).as_secs_f64() * 1e3,
        worst.as_secs_f64() * 1e3
    );
    Ok(())
}

/// A worker without connectors; killed when dropped.
struct Worker {
    process: Child,
    /// Where its REST interface is.
    address: String,
}

impl Worker {
    fn start(folder: &Path) -> Outcome<Self> {
        fs::write(
            folder.join("worker.toml"),
            format!(
                "\"key.converter\" = \"string\"\n\"value.converter\" = \"string\"\n\"listeners\" = \"http://127.0.0.1:0\"\n\"broker.listeners\" = \"PLAINTEXT://127.0.0.1:0\"\n\"broker.log.dirs\" = {:?}\n",
                folder.join("data")
            ),
        )?;
        let log = folder.join("worker.log");
        let process = spawn(
            "connect-standalone",
            ["worker.toml"],
            folder,
            File::create(&log)?,
        )?;
        let mut worker = Worker {
            process,
            address: String::new(),
        };
        let began = Instant::now();
        while worker.address.is_empty() {
            let said = fs::read_to_string(&log)?;
            if let Some((_, address)) = said.split_once("http://")
                && let Some((address, _)) = address.split_once(char::is_whitespace)
            {
                address.clone_into(&mut worker.address);
            }
            if let Some(status) = worker.process.try_wait()? {
                return Err(format!("the worker ended with {status}:\n{said}").into());
            }
            if began.elapsed() > PATIENCE {
                return Err(format!("the worker does not say where it listens:\n{said}").into());
            }
            sleep(Duration::from_millis(5));
        }
        Ok(worker)
    }

    fn client(&self) -> Outcome<Client> {
        let stream = TcpStream::connect(&self.address)?;
        stream.set_nodelay(true)?;
        Ok(Client {
            address: self.address.clone(),
            stream: BufReader::new(stream),
        })
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // Already gone is as good as killed.
        if self.process.kill().is_ok() && self.process.wait().is_err() {
            eprintln!("connect-bench: the worker could not be waited for");
        }
    }
}

/// One connection that is kept.
struct Client {
    address: String,
    stream: BufReader<TcpStream>,
}

impl Client {
    /// Status and body of what is answered.
    fn ask(&mut self, line: &str, body: &str) -> Outcome<(u16, String)> {
        let request = format!(
            "{line} HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            self.address,
            body.len()
        );
        self.stream.get_mut().write_all(request.as_bytes())?;
        let mut first = String::new();
        self.stream.read_line(&mut first)?;
        let status = first.split(' ').nth(1).ok_or("no status")?.parse()?;
        let mut length = 0;
        loop {
            let mut header = String::new();
            self.stream.read_line(&mut header)?;
            let Some((name, text)) = header.trim_end().split_once(':') else {
                break;
            };
            if name.eq_ignore_ascii_case("content-length") {
                length = text.trim().parse()?;
            }
        }
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body)?;
        Ok((status, String::from_utf8(body)?))
    }

    fn create(&mut self, folder: &Path, number: usize) -> Outcome<()> {
        let pair = number / 2;
        let body = match number % 2 {
            0 => {
                let file = folder.join(format!("in-{pair}.txt"));
                fs::write(&file, "a line\n")?;
                format!(
                    r#"{{"name":"source-{pair}","config":{{"connector.class":"FileStreamSource","file":{file:?},"topic":"lines"}}}}"#
                )
            }
            _ => {
                let file = folder.join(format!("out-{pair}.txt"));
                format!(
                    r#"{{"name":"sink-{pair}","config":{{"connector.class":"FileStreamSink","file":{file:?},"topics":"lines"}}}}"#
                )
            }
        };
        match self.ask("POST /connectors", &body)? {
            (201, _) => Ok(()),
            (status, answer) => Err(format!("{status}: {answer}").into()),
        }
    }

    /// Until `count` connectors have a task that runs.
    fn wait_for_running(&mut self, count: usize) -> Outcome<()> {
        let began = Instant::now();
        loop {
            let (_, list) = self.ask(LIST, "")?;
            let running = list.matches(r#""id":0,"state":"RUNNING""#).count();
            if running == count {
                return Ok(());
            }
            if began.elapsed() > PATIENCE {
                return Err(format!("{running} of {count} tasks run after {PATIENCE:?}").into());
            }
            sleep(Duration::from_millis(100));
        }
    }
}
