//! The asynchronous side of [`Tail`]: looks on a thread that may block, one look ahead of what is
//! asked for, and waits for a reason to look again.

use std::path::PathBuf;
use std::time::Duration;

use tokio::task::{JoinError, JoinHandle};

use crate::error::FileError;
use crate::tail::{Idle, Step, Tail};
use crate::watch::Watch;

/// A pipe that cannot be waited for is looked at this often: it holds only 64 KiB.
const PIPE_POLL: Duration = Duration::from_millis(20);

/// A tail between two looks, or during one.
#[derive(Debug)]
enum Look {
    Idle(Box<Tail>),
    Busy(JoinHandle<(Box<Tail>, Result<Step, FileError>)>),
    /// A look panicked and took the tail with it.
    Lost,
}

/// Follows a file.
#[derive(Debug)]
pub(crate) struct Follow {
    look: Look,
    path: PathBuf,
    poll_interval: Duration,
    watch: Option<Watch>,
    /// So that a system without file events is told of once.
    warned: bool,
}

impl Follow {
    pub(crate) fn new(path: PathBuf, poll_interval: Duration, tail: Tail) -> Self {
        Self {
            look: Look::Idle(Box::new(tail)),
            path,
            poll_interval,
            watch: None,
            warned: false,
        }
    }

    /// Starts to look ahead, unless it does already.
    pub(crate) fn look_ahead(&mut self) {
        self.look = match std::mem::replace(&mut self.look, Look::Lost) {
            Look::Idle(mut tail) => Look::Busy(tokio::task::spawn_blocking(move || {
                let step = tail.step();
                (tail, step)
            })),
            other => other,
        };
    }

    /// The next step. Cancel-safe: the look goes on, and the next call gets its result.
    pub(crate) async fn step(&mut self) -> Result<Result<Step, FileError>, JoinError> {
        loop {
            match &mut self.look {
                Look::Busy(look) => {
                    let result = look.await;
                    return match result {
                        Ok((tail, step)) => {
                            self.look = Look::Idle(tail);
                            Ok(step)
                        }
                        Err(error) => {
                            self.look = Look::Lost;
                            Err(error)
                        }
                    };
                }
                Look::Idle(_) => self.look_ahead(),
                // The worker does not poll a task that failed; should it, there is nothing to do.
                Look::Lost => std::future::pending().await,
            }
        }
    }

    /// Waits until it may be worth looking again. Cancel-safe.
    pub(crate) async fn wait(&mut self, idle: Idle) {
        if self.watch.as_ref().is_none_or(Watch::is_lost) {
            self.start_watch().await;
            if self.watch.is_some() {
                // What happened before the watch began was not reported.
                return;
            }
        }
        let interval = match idle {
            Idle::Rotating(remaining) => self.poll_interval.min(remaining),
            Idle::Pipe { open: false } => self.poll_interval.min(PIPE_POLL),
            _ => self.poll_interval,
        };
        let changed = async {
            match &self.watch {
                Some(watch) => watch.changed().await,
                None => std::future::pending().await,
            }
        };
        let readable = async {
            match &self.look {
                Look::Idle(tail) if idle == (Idle::Pipe { open: true }) => {
                    readable(tail, interval).await
                }
                _ => std::future::pending().await,
            }
        };
        tokio::select! {
            () = changed => {}
            () = readable => {}
            () = tokio::time::sleep(interval) => {}
        }
    }

    async fn start_watch(&mut self) {
        self.watch = None;
        let path = self.path.clone();
        let started = tokio::task::spawn_blocking(move || Watch::start(&path)).await;
        match started {
            Ok(Ok(watch)) => self.watch = Some(watch),
            Ok(Err(error)) if is_missing(&error) => {
                // The directory does not exist yet; every look tries again.
                tracing::debug!(file = %self.path.display(), "no directory to watch yet");
            }
            Ok(Err(error)) if !self.warned => {
                self.warned = true;
                tracing::warn!(
                    file = %self.path.display(), %error, interval = ?self.poll_interval,
                    "the system reports no changes of the file; looking at it at an interval"
                );
            }
            Ok(Err(_)) => {}
            Err(error) => {
                tracing::error!(file = %self.path.display(), %error, "cannot watch the file")
            }
        }
    }
}

/// Waits until a pipe has something to read; the system reports no events for pipes.
#[cfg(unix)]
async fn readable(tail: &Tail, interval: Duration) {
    use tokio::net::unix::pipe::Receiver;
    // A device is no pipe, and looked at instead.
    let pipe = tail
        .stream()
        .and_then(|pipe| Receiver::from_file(pipe).ok());
    let ready = match &pipe {
        Some(pipe) => pipe.readable().await.is_ok(),
        None => false,
    };
    if !ready {
        tokio::time::sleep(PIPE_POLL.min(interval)).await;
    }
}

#[cfg(not(unix))]
async fn readable(_tail: &Tail, interval: Duration) {
    tokio::time::sleep(PIPE_POLL.min(interval)).await;
}

fn is_missing(error: &notify::Error) -> bool {
    match &error.kind {
        notify::ErrorKind::PathNotFound => true,
        notify::ErrorKind::Io(error) => error.kind() == std::io::ErrorKind::NotFound,
        _ => false,
    }
}
