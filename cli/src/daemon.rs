//! Running detached: the program starts itself again in a session of its own, and waits until that
//! process has said through a pipe that it is ready, or why it is not.
//!
//! The pipe is the new process's standard output, of which this module owns the first line; from then
//! on it leads nowhere. Standard error is the log file.

use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::CliError;

const READY: &str = "ready ";
const FAILED: &str = "failed ";
/// The longest reason that is read from the detached process.
const REASON_BYTES_MAX: u64 = 64 * 1024;

/// Starts this program again with `arguments`, detached, its log appended to `log`. Returns the new
/// process's id and what it said once it was ready.
///
/// # Errors
/// The reason why it could not start, as it says itself.
pub fn launch(arguments: &[OsString], log: &Path) -> Result<(u32, String), CliError> {
    let log_file = OpenOptions::new()
        .create(true)
        .append(true)
        .open(log)
        .map_err(|error| {
            CliError::failed(format!(
                "cannot write the log \"{}\": {error}",
                log.display()
            ))
        })?;
    let program = std::env::current_exe().map_err(|error| {
        CliError::failed(format!("cannot find out where this program is: {error}"))
    })?;
    let mut child = Command::new(program)
        .arg0("connect")
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(log_file)
        .spawn()
        .map_err(|error| CliError::failed(format!("cannot start a process: {error}")))?;
    let pid = child.id();
    let mut said = String::new();
    if let Some(pipe) = child.stdout.take() {
        let mut pipe = BufReader::new(pipe.take(REASON_BYTES_MAX));
        if pipe.read_line(&mut said).is_ok() && said.starts_with(READY) {
            return Ok((pid, said.trim_end().trim_start_matches(READY).to_owned()));
        }
        if pipe.read_to_string(&mut said).is_err() {
            // What came so far is still worth showing.
        }
    }
    let status = child
        .wait()
        .map_or_else(|error| error.to_string(), |status| status.to_string());
    match said.strip_prefix(FAILED) {
        Some(reason) => Err(CliError::failed(reason.trim_end())),
        None => Err(CliError::failed(format!(
            "the process ended before it was ready ({status}); the reason should be at the end of \"{}\"",
            log.display()
        ))),
    }
}

/// The detached process's side of the pipe.
#[derive(Debug)]
pub struct Detached {
    _private: (),
}

impl Detached {
    /// Leaves the terminal's session, so that closing the terminal does not end this process.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn enter() -> Result<Self, CliError> {
        rustix::process::setsid().map_err(|error| {
            CliError::failed(format!("cannot start a session of its own: {error}"))
        })?;
        Ok(Self { _private: () })
    }

    /// Lets the waiting process return with `message`, one line.
    pub fn ready(self, message: &str) {
        tell(&format!("{READY}{message}\n"));
    }

    /// Lets the waiting process fail with `reason`.
    pub fn failed(self, reason: &str) {
        tell(&format!("{FAILED}{reason}\n"));
    }
}

/// Writes to the pipe and closes it by pointing standard output nowhere.
fn tell(text: &str) {
    let mut output = std::io::stdout().lock();
    let told = output
        .write_all(text.as_bytes())
        .and_then(|()| output.flush());
    if let Err(error) = told {
        tracing::warn!(%error, "nobody waits for this process any more");
    }
    let nowhere = File::options().write(true).open("/dev/null");
    let closed = nowhere.and_then(|nowhere| Ok(rustix::stdio::dup2_stdout(nowhere)?));
    if let Err(error) = closed {
        tracing::warn!(%error, "standard output stays open");
    }
}
