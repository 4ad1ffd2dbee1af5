//! Blocking work (file I/O, compression) kept off the threads that drive the network.

/// Runs `work` on a thread that may block and waits for its result.
///
/// In a simulation the work runs inline: simulated files never block, and a second thread would
/// make the run irreproducible. Dropping the returned future does not stop work that has begun.
///
/// # Panics
/// Resumes a panic of `work` on the caller.
pub async fn run<T, F>(work: F) -> T
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    if crate::simulated() {
        return work();
    }
    match tokio::task::spawn_blocking(work).await {
        Ok(value) => value,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // The runtime is shutting down and will never run it; neither will anything after us.
            Err(_) => std::future::pending().await,
        },
    }
}
