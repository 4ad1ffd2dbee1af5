//! Standard input, shared by whatever reads it in this process, one after the other.
//!
//! A read of it cannot be cancelled, so it happens on a thread of its own that nobody waits for: a
//! worker stops although nothing was typed.

use std::io::Read;
use std::sync::OnceLock;

use bytes::Bytes;
use tokio::sync::{Mutex, mpsc};

/// The most read at once.
const READ_BYTES: usize = 64 * 1024;

/// How many reads may wait to be taken.
const READS_MAX: usize = 4;

/// What was read next; `None` at the end of the input. Cancel-safe.
pub(crate) async fn next() -> Option<Bytes> {
    static READS: OnceLock<Mutex<mpsc::Receiver<Bytes>>> = OnceLock::new();
    let reads = READS.get_or_init(|| Mutex::new(start()));
    reads.lock().await.recv().await
}

fn start() -> mpsc::Receiver<Bytes> {
    let (sender, receiver) = mpsc::channel(READS_MAX);
    let spawned = std::thread::Builder::new()
        .name("stdin".to_owned())
        .spawn(move || read(&sender));
    if let Err(error) = spawned {
        tracing::error!(%error, "cannot start a thread to read standard input");
    }
    receiver
}

/// Reads to the end; the dropped sender tells.
fn read(sender: &mpsc::Sender<Bytes>) {
    let mut buffer = vec![0; READ_BYTES];
    loop {
        match std::io::stdin().lock().read(&mut buffer) {
            Ok(0) => return,
            Ok(length) => {
                let read = Bytes::copy_from_slice(buffer.get(..length).unwrap_or_default());
                if sender.blocking_send(read).is_err() {
                    return;
                }
            }
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => {
                tracing::error!(%error, "cannot read standard input");
                return;
            }
        }
    }
}
