//! Lines from standard input or a file, read on a thread of their own in chunks: one line at a time
//! from a terminal, many from a pipe.

use std::fs::File;
use std::io::{self, IsTerminal, Read, Write};
use std::path::Path;

use bytes::{Buf, Bytes, BytesMut};
use tokio::sync::mpsc;

use crate::CliError;

const CHUNK_BYTES: usize = 64 * 1024;
/// A line longer than this is refused; no broker takes such a record by default.
const LINE_BYTES_MAX: usize = 256 * 1024 * 1024;
/// Chunks that may wait for the sender.
const CHUNKS_WAITING_MAX: usize = 4;

/// The lines still to come.
#[derive(Debug)]
pub(super) struct Lines {
    chunks: mpsc::Receiver<Result<Vec<Bytes>, CliError>>,
}

impl Lines {
    /// Starts reading. Between lines from a terminal, a prompt is shown.
    ///
    /// # Errors
    /// When the file cannot be opened.
    pub(super) fn open(file: Option<&Path>) -> Result<Self, CliError> {
        let (sender, chunks) = mpsc::channel(CHUNKS_WAITING_MAX);
        let prompt = file.is_none() && io::stdin().is_terminal() && io::stdout().is_terminal();
        let input: Box<dyn Read + Send> = match file {
            Some(path) => Box::new(File::open(path).map_err(|error| {
                CliError::failed(format!("cannot read \"{}\": {error}", path.display()))
            })?),
            None => Box::new(io::stdin()),
        };
        let thread = std::thread::Builder::new().name("lines".to_owned());
        thread
            .spawn(move || read(input, prompt, &sender))
            .map_err(|error| CliError::failed(format!("cannot start a thread: {error}")))?;
        Ok(Self { chunks })
    }

    /// The next lines, without their line ends; `None` at the end of the input. Cancel-safe.
    pub(super) async fn next(&mut self) -> Option<Result<Vec<Bytes>, CliError>> {
        self.chunks.recv().await
    }
}

fn read(
    mut input: Box<dyn Read + Send>,
    prompt: bool,
    sender: &mpsc::Sender<Result<Vec<Bytes>, CliError>>,
) {
    let mut pending = BytesMut::new();
    loop {
        if prompt && show_prompt().is_err() {
            return;
        }
        let outcome = fill(&mut input, &mut pending);
        let (lines, end) = match outcome {
            Ok(0) => (last_line(&mut pending), true),
            Ok(_) if pending.len() > LINE_BYTES_MAX => {
                let message = format!("a line is longer than {LINE_BYTES_MAX} bytes");
                (Err(CliError::failed(message)), true)
            }
            Ok(_) => (Ok(split(&mut pending)), false),
            Err(error) => (
                Err(CliError::failed(format!("cannot read lines: {error}"))),
                true,
            ),
        };
        let nothing = lines.as_ref().is_ok_and(Vec::is_empty);
        if !nothing && sender.blocking_send(lines).is_err() {
            return;
        }
        if end {
            return;
        }
    }
}

fn show_prompt() -> io::Result<()> {
    let mut output = io::stdout().lock();
    output.write_all(b">")?;
    output.flush()
}

/// Reads once, whatever is there.
fn fill(input: &mut dyn Read, pending: &mut BytesMut) -> io::Result<usize> {
    let filled = pending.len();
    pending.resize(filled + CHUNK_BYTES, 0);
    let outcome = loop {
        let space = pending.get_mut(filled..).unwrap_or_default();
        match input.read(space) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            outcome => break outcome,
        }
    };
    pending.truncate(filled + outcome.as_ref().copied().unwrap_or(0));
    outcome
}

/// Takes all complete lines out of `pending`.
fn split(pending: &mut BytesMut) -> Vec<Bytes> {
    let Some(last) = memchr::memrchr(b'\n', pending) else {
        return Vec::new();
    };
    let mut complete = pending.split_to(last + 1).freeze();
    let mut lines = Vec::new();
    while let Some(end) = memchr::memchr(b'\n', &complete) {
        lines.push(without_carriage_return(complete.split_to(end)));
        complete.advance(1);
    }
    lines
}

/// What follows the last line end counts as a line when the input ends.
fn last_line(pending: &mut BytesMut) -> Result<Vec<Bytes>, CliError> {
    if pending.is_empty() {
        return Ok(Vec::new());
    }
    Ok(vec![without_carriage_return(pending.split().freeze())])
}

fn without_carriage_return(mut line: Bytes) -> Bytes {
    if line.last() == Some(&b'\r') {
        line.truncate(line.len() - 1);
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn lines_of_a_file_come_whole_and_the_last_needs_no_line_end() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lines");
        let long = "x".repeat(CHUNK_BYTES * 2 + 7);
        std::fs::write(&path, format!("one\r\n\n{long}\nlast")).unwrap();
        let mut lines = Lines::open(Some(&path)).unwrap();
        let mut all = Vec::new();
        while let Some(chunk) = lines.next().await {
            all.extend(chunk.unwrap());
        }
        assert_eq!(all, ["one", "", long.as_str(), "last"]);
    }
}
