//! Ctrl-C and SIGTERM, for commands that finish what is under way before they end.

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::CliError;

/// Listens for both, from its creation on.
#[derive(Debug)]
pub struct Interruption {
    interrupt: Signal,
    terminate: Signal,
}

impl Interruption {
    /// Starts to listen: from now on, neither ends the process by itself.
    ///
    /// # Errors
    /// When the system does not let us.
    pub fn listen() -> Result<Self, CliError> {
        let failed = |error| CliError::failed(format!("cannot listen for signals: {error}"));
        Ok(Self {
            interrupt: signal(SignalKind::interrupt()).map_err(failed)?,
            terminate: signal(SignalKind::terminate()).map_err(failed)?,
        })
    }

    /// Waits for the next one and gives the exit that a shell expects after it. Cancel-safe.
    pub async fn next(&mut self) -> CliError {
        tokio::select! {
            _ = self.interrupt.recv() => CliError::Exit(130),
            _ = self.terminate.recv() => CliError::Exit(143),
        }
    }
}
