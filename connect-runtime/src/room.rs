//! A room of its own for code of connectors: a thread with its own single-threaded runtime.
//!
//! Whatever runs in a room may block its thread, panic or never return: the worker, other rooms
//! and every connection to a broker go on. What comes out is what it returned, or its panic. A
//! thread cannot be killed, so a room that does not end is abandoned: its owner drops the handle
//! and goes on. Inside a simulation, where everything shares one thread, a room is a plain task.

use std::any::Any;
use std::future::{Future, poll_fn};
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::time::Duration;

use futures_util::FutureExt;
use parking_lot::Mutex;
use tokio::sync::oneshot;
use tokio::time::Instant;
use tracing::{Instrument, Span};

/// Threads for blocking work (file reads and the like) that one room may have at a time.
const BLOCKING_THREADS_MAX: usize = 16;

/// Why a room ended without a result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum RoomFailure {
    /// Its code panicked, with this message.
    Panicked(String),
    /// It could not be opened, for this reason.
    NotOpened(String),
    /// It has ended before, and its result was taken.
    Ended,
}

/// A running room; dropping it abandons the room.
pub(crate) struct Room<T> {
    /// `None` once the result was taken.
    result: Option<oneshot::Receiver<Result<T, RoomFailure>>>,
}

impl<T: Send + 'static> Room<T> {
    /// Opens a room and runs `work` in it, with `span` around everything that it logs.
    pub(crate) fn open(
        name: &str,
        span: Span,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Self {
        let (sender, result) = oneshot::channel();
        let work = AssertUnwindSafe(work.instrument(span)).catch_unwind();
        let work = async move {
            work.await
                .map_err(|panic| RoomFailure::Panicked(message(&*panic)))
        };
        if platform::simulated() {
            // Its owner is the receiver of `result`.
            drop(tokio::spawn(async move { answer(sender, work.await) }));
            return Self::waiting_for(result);
        }
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .max_blocking_threads(BLOCKING_THREADS_MAX)
            .thread_name(format!("{name} io"))
            .build();
        let runtime = match runtime {
            Ok(runtime) => runtime,
            Err(error) => return Self::not_opened(&error),
        };
        let thread = std::thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || {
                answer(sender, runtime.block_on(work));
                // Blocking work that never returns, such as a read from a terminal, must not keep the
                // room.
                runtime.shutdown_background();
            });
        match thread {
            Ok(_) => Self::waiting_for(result),
            Err(error) => Self::not_opened(&error),
        }
    }

    fn not_opened(error: &std::io::Error) -> Self {
        let (sender, result) = oneshot::channel();
        let message = format!("no thread could be started: {error}");
        answer(sender, Err(RoomFailure::NotOpened(message)));
        Self::waiting_for(result)
    }

    fn waiting_for(result: oneshot::Receiver<Result<T, RoomFailure>>) -> Self {
        Self {
            result: Some(result),
        }
    }

    /// Waits for the result, which comes once. Cancel-safe.
    pub(crate) async fn result(&mut self) -> Result<T, RoomFailure> {
        let Some(receiver) = &mut self.result else {
            return Err(RoomFailure::Ended);
        };
        let result = receiver.await;
        self.result = None;
        result.unwrap_or_else(|_| Err(RoomFailure::Panicked("its thread is gone".to_owned())))
    }
}

/// An owner that left does not want the answer.
fn answer<T>(sender: oneshot::Sender<T>, value: T) {
    drop(sender.send(value));
}

/// The text of a panic.
pub(crate) fn message(panic: &(dyn Any + Send)) -> String {
    match (panic.downcast_ref::<&str>(), panic.downcast_ref::<String>()) {
        (Some(text), _) => (*text).to_owned(),
        (_, Some(text)) => text.clone(),
        _ => "a panic without a text".to_owned(),
    }
}

/// What the code of a connector is doing right now, for those who watch from outside.
#[derive(Default)]
pub(crate) struct Activity {
    current: Mutex<Option<Call>>,
}

struct Call {
    operation: &'static str,
    patience: Patience,
    since: Instant,
    /// Set while the thread is inside the call, as opposed to waiting for something.
    inside_since: Option<Instant>,
}

/// What counts as stuck.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Patience {
    /// The call may wait as long as it likes, but not block its thread.
    MayWait,
    /// The call is expected to return.
    ReturnsSoon,
}

impl Activity {
    /// Runs a call into a connector under watch. Cancel-safe if `future` is.
    pub(crate) async fn watch<F: Future>(
        &self,
        operation: &'static str,
        patience: Patience,
        future: F,
    ) -> F::Output {
        let _left = Watch::enter(self, operation, patience);
        let mut future = pin!(future);
        poll_fn(|context| {
            self.set_inside(Some(Instant::now()));
            let poll = future.as_mut().poll(context);
            self.set_inside(None);
            poll
        })
        .await
    }

    fn set_inside(&self, at: Option<Instant>) {
        if let Some(call) = self.current.lock().as_mut() {
            call.inside_since = at;
        }
    }

    /// For how long the present call has kept the task from going on; zero if it does not.
    pub(crate) fn blocked(&self) -> Duration {
        let current = self.current.lock();
        let since = current.as_ref().and_then(|call| match call.patience {
            Patience::MayWait => call.inside_since,
            Patience::ReturnsSoon => Some(call.since),
        });
        since.map(|since| since.elapsed()).unwrap_or_default()
    }

    /// What to say if the present call is stuck for longer than `after`.
    pub(crate) fn stuck(&self, after: Duration) -> Option<String> {
        let current = self.current.lock();
        let call = current.as_ref()?;
        let (since, what) = match (call.patience, call.inside_since) {
            (Patience::MayWait, None) => return None,
            (Patience::MayWait, Some(inside)) => (inside, "has blocked its thread"),
            (Patience::ReturnsSoon, _) => (call.since, "has not returned"),
        };
        let elapsed = since.elapsed();
        (elapsed >= after).then(|| {
            format!(
                "{} {what} for {} s",
                call.operation,
                elapsed.as_secs().max(1)
            )
        })
    }
}

/// Ends the watch also when the call is dropped or panics.
struct Watch<'a>(&'a Activity);

impl<'a> Watch<'a> {
    fn enter(activity: &'a Activity, operation: &'static str, patience: Patience) -> Self {
        *activity.current.lock() = Some(Call {
            operation,
            patience,
            since: Instant::now(),
            inside_since: None,
        });
        Self(activity)
    }
}

impl Drop for Watch<'_> {
    fn drop(&mut self) {
        *self.0.current.lock() = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[tokio::test]
    async fn a_panic_in_a_room_is_its_result() {
        let mut room = Room::<()>::open("test", Span::none(), async { panic!("boom {}", 1) });
        assert_eq!(
            room.result().await,
            Err(RoomFailure::Panicked("boom 1".to_owned()))
        );
        assert_eq!(room.result().await, Err(RoomFailure::Ended));
    }

    #[tokio::test]
    async fn a_blocked_room_does_not_block_its_owner_and_is_seen() {
        let activity = Arc::new(Activity::default());
        let watched = Arc::clone(&activity);
        let (release, wait) = std::sync::mpsc::channel::<()>();
        let mut room = Room::open("test", Span::none(), async move {
            let block = async move { wait.recv().is_err() };
            watched.watch("poll", Patience::MayWait, block).await
        });
        let early = tokio::time::timeout(Duration::from_millis(50), room.result()).await;
        assert!(early.is_err());
        assert_eq!(
            activity.stuck(Duration::from_millis(20)).as_deref(),
            Some("poll has blocked its thread for 1 s")
        );
        drop(release);
        assert_eq!(room.result().await, Ok(true));
        assert_eq!(activity.stuck(Duration::ZERO), None);
    }

    #[tokio::test(start_paused = true)]
    async fn waiting_is_fine_for_a_poll_and_not_for_a_put() {
        let activity = Activity::default();
        let wait = Duration::from_secs(60);
        let watched = |patience| activity.watch("put", patience, tokio::time::sleep(wait));
        let check = async {
            tokio::time::sleep(wait / 2).await;
            activity.stuck(Duration::from_secs(10))
        };
        let ((), stuck) = tokio::join!(watched(Patience::MayWait), check);
        assert_eq!(stuck, None);
        let check = async {
            tokio::time::sleep(wait / 2).await;
            activity.stuck(Duration::from_secs(10))
        };
        let ((), stuck) = tokio::join!(watched(Patience::ReturnsSoon), check);
        assert_eq!(stuck.as_deref(), Some("put has not returned for 30 s"));
    }
}
