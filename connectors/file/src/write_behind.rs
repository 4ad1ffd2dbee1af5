//! Writes lines on a thread that may block, while the next ones are being prepared.
//!
//! Nothing is dropped: what could not be written stays, and the next attempt goes on at exactly that
//! byte. Memory is bounded by [`WriteBehind::room`]: at most twice [`QUEUE_BYTES`] and one batch.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use connect_core::ConnectError;
use tokio::task::JoinHandle;

use crate::append::{Appender, end_of_lines};
use crate::error::FileError;

/// As long as more than this waits to be written, no more is taken.
const QUEUE_BYTES: usize = 4 * 1024 * 1024;

/// Buffers larger than this are given back once they are empty.
const KEEP_BYTES: usize = 2 * QUEUE_BYTES;

/// Lines on their way to a file.
#[derive(Debug)]
pub(crate) struct WriteBehind {
    queue: Arc<Mutex<Queue>>,
    writer: State,
}

/// What waits to be written.
#[derive(Debug, Default)]
struct Queue {
    lines: Vec<u8>,
    /// A writer is at work and will look at the queue again.
    active: bool,
}

/// The writer between two runs, or during one.
#[derive(Debug)]
enum State {
    Idle(Box<Writer>),
    Busy(JoinHandle<(Box<Writer>, Result<(), FileError>)>),
    /// A run panicked and took the writer with it.
    Lost,
}

/// What a run does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Job {
    Open,
    Write,
    Flush,
    Close,
}

#[derive(Debug)]
struct Writer {
    appender: Appender,
    queue: Arc<Mutex<Queue>>,
    /// Taken from the queue; the first `written` bytes are in the file.
    lines: Vec<u8>,
    written: usize,
    /// What became of lines that can no longer be vouched for. The system tells of it once, so that
    /// everything from then on fails: a flush that works must not make up for it.
    lost: Option<(String, PathBuf)>,
}

impl WriteBehind {
    pub(crate) fn new(appender: Appender) -> Self {
        let queue: Arc<Mutex<Queue>> = Arc::default();
        let writer = Writer {
            appender,
            queue: Arc::clone(&queue),
            lines: Vec::new(),
            written: 0,
            lost: None,
        };
        Self {
            queue,
            writer: State::Idle(Box::new(writer)),
        }
    }

    /// Opens the file if it can be.
    pub(crate) async fn open(&mut self) -> Result<(), ConnectError> {
        self.run(Job::Open).await
    }

    /// Waits until there is room for another batch.
    ///
    /// # Errors
    /// What keeps the lines before from being written; they stay.
    pub(crate) async fn room(&mut self) -> Result<(), ConnectError> {
        let full = lock(&self.queue).lines.len() > QUEUE_BYTES;
        let stopped = match &self.writer {
            State::Busy(run) => run.is_finished(),
            State::Idle(writer) => !writer.lines.is_empty(),
            State::Lost => true,
        };
        // A run that has stopped may have stopped with an error.
        if full || stopped {
            self.run(Job::Write).await
        } else {
            Ok(())
        }
    }

    /// Adds lines, through `render`, and sees to it that they are written soon.
    pub(crate) async fn add(
        &mut self,
        render: impl FnOnce(&mut Vec<u8>),
    ) -> Result<(), ConnectError> {
        let active = {
            let mut queue = lock(&self.queue);
            render(&mut queue.lines);
            std::mem::replace(&mut queue.active, true)
        };
        if !active {
            // The last run, if any, is over but for handing back the writer. Its error, if it had one,
            // will come again: the lines it failed on are still the first.
            if let Err(error) = self.collect().await
                && error.class() == connect_core::ErrorClass::Fatal
            {
                return Err(error);
            }
            self.start(Job::Write);
        }
        Ok(())
    }

    /// Writes all and makes it survive a power failure.
    ///
    /// # Errors
    /// As for [`Appender`]; what was not written stays.
    pub(crate) async fn flush(&mut self) -> Result<(), ConnectError> {
        self.run(Job::Flush).await
    }

    /// Writes all and closes the file in order.
    pub(crate) async fn close(&mut self) -> Result<(), ConnectError> {
        self.run(Job::Close).await
    }

    /// Runs a job to its end, after the one that is under way.
    async fn run(&mut self, job: Job) -> Result<(), ConnectError> {
        match self.collect().await {
            // It comes again if it still holds.
            Err(error) if !error.is_retriable() => return Err(error),
            _ => {}
        }
        lock(&self.queue).active = true;
        self.start(job);
        self.collect().await
    }

    fn start(&mut self, job: Job) {
        self.writer = match std::mem::replace(&mut self.writer, State::Lost) {
            State::Idle(mut writer) => State::Busy(tokio::task::spawn_blocking(move || {
                let result = writer.run(job);
                (writer, result)
            })),
            other => other,
        };
    }

    /// Waits for the run that is under way, if any. Cancel-safe.
    async fn collect(&mut self) -> Result<(), ConnectError> {
        let lost = || ConnectError::fatal("writing the file failed unexpectedly");
        match &mut self.writer {
            State::Idle(_) => Ok(()),
            State::Busy(run) => match run.await {
                Ok((writer, result)) => {
                    self.writer = State::Idle(writer);
                    Ok(result?)
                }
                Err(error) => {
                    self.writer = State::Lost;
                    Err(lost().with_source(error))
                }
            },
            State::Lost => Err(lost()),
        }
    }
}

impl Writer {
    fn run(&mut self, job: Job) -> Result<(), FileError> {
        let result = match (self.lost.clone(), job) {
            (Some((what, path)), _) => Err(FileError::Unflushed { what, path }),
            (None, Job::Open) => self.open(),
            (None, Job::Write) => self.write(),
            (None, Job::Flush) => self.write().and_then(|()| self.appender.flush()),
            (None, Job::Close) => {
                let written = self.write().and_then(|()| self.appender.flush());
                if written.is_ok() {
                    self.appender.close();
                }
                written
            }
        };
        if let Err(FileError::Unflushed { what, path }) = &result {
            self.lost = Some((what.clone(), path.clone()));
        }
        if result.is_err() || job == Job::Open {
            lock(&self.queue).active = false;
        }
        result
    }

    /// Writes until the queue is empty.
    fn write(&mut self) -> Result<(), FileError> {
        while self.take() {
            self.open()?;
            while let Some(rest) = self
                .lines
                .get(self.written..)
                .filter(|rest| !rest.is_empty())
            {
                self.written += self.appender.write(rest)?;
            }
        }
        Ok(())
    }

    /// Takes what is in the queue, if all that was taken before is written. False if there is nothing.
    fn take(&mut self) -> bool {
        if self.written < self.lines.len() {
            return true;
        }
        self.lines.clear();
        self.written = 0;
        if self.lines.capacity() > KEEP_BYTES {
            self.lines = Vec::new();
        }
        let mut queue = lock(&self.queue);
        std::mem::swap(&mut queue.lines, &mut self.lines);
        queue.active = !self.lines.is_empty();
        queue.active
    }

    fn open(&mut self) -> Result<(), FileError> {
        if self.appender.open()? {
            // In a file just opened there is nothing, or no more, of a line that was begun.
            let begun = self.lines.get(..self.written).unwrap_or_default();
            self.written = end_of_lines(begun);
        }
        Ok(())
    }
}

/// The queue stays whole even if a holder panicked.
fn lock(queue: &Mutex<Queue>) -> MutexGuard<'_, Queue> {
    queue.lock().unwrap_or_else(PoisonError::into_inner)
}
