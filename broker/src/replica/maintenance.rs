//! What happens to logs by itself: flushing, checkpoints, retention, compaction, and a look at disks that refuse.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::{Partition, Replicas};
use crate::log::LogError;

/// The running tasks; dropping it aborts them, [`Maintenance::stop`] lets them end their work.
#[derive(Debug)]
pub struct Maintenance {
    stop: watch::Sender<bool>,
    tasks: Vec<JoinHandle<()>>,
}

impl Maintenance {
    pub(crate) fn start(replicas: &Arc<Replicas>) -> Self {
        let stop = watch::Sender::new(false);
        let options = replicas.options();
        let mut tasks = Vec::new();
        let mut every =
            |name: &'static str, millis: u64, work: fn(&Replicas) -> Result<(), LogError>| {
                tasks.push(tokio::spawn(repeat(
                    name,
                    millis,
                    work,
                    Arc::clone(replicas),
                    stop.subscribe(),
                )));
            };
        every("flush", options.flush_scheduler_ms, flush_overdue);
        every(
            "checkpoint",
            options.flush_checkpoint_ms,
            Replicas::checkpoint,
        );
        every(
            "high watermark",
            options.high_watermark_checkpoint_ms,
            Replicas::write_high_watermarks,
        );
        every("retention", options.retention_check_ms, retain);
        if options.cleaner_enable {
            every("cleaner", options.cleaner_backoff_ms, clean);
        }
        tasks.push(tokio::spawn(look_after_disks(
            Arc::clone(replicas),
            stop.subscribe(),
        )));
        Self { stop, tasks }
    }

    /// Ends the tasks and waits for what they are doing.
    pub async fn stop(mut self) {
        self.stop.send_replace(true);
        for task in self.tasks.drain(..) {
            if let Err(error) = task.await {
                tracing::error!(%error, "a maintenance task of the logs failed");
            }
        }
    }
}

impl Drop for Maintenance {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

async fn look_after_disks(replicas: Arc<Replicas>, mut stop: watch::Receiver<bool>) {
    tokio::select! {
        _ = stop.wait_for(|stop| *stop) => {}
        () = replicas.disk().look_after(replicas.paths()) => {}
    }
}

async fn repeat(
    name: &'static str,
    millis: u64,
    work: fn(&Replicas) -> Result<(), LogError>,
    replicas: Arc<Replicas>,
    mut stop: watch::Receiver<bool>,
) {
    let pause = Duration::from_millis(millis.max(1));
    loop {
        tokio::select! {
            _ = stop.wait_for(|stop| *stop) => return,
            () = tokio::time::sleep(pause) => {}
        }
        let looked_at = Arc::clone(&replicas);
        let done = platform::blocking::run(move || work(&looked_at));
        match AssertUnwindSafe(done).catch_unwind().await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                replicas.note_failure(&error);
                tracing::warn!(%error, task = name, "log maintenance failed; trying again later");
            }
            // Nothing would be flushed or removed any more if it ended here.
            Err(_) => {
                tracing::error!(task = name, "log maintenance panicked; trying again later");
            }
        }
    }
}

/// Runs `work` for every partition, and answers the first error after all had their turn.
fn for_each(
    replicas: &Replicas,
    work: impl Fn(&Partition) -> Result<(), LogError>,
) -> Result<(), LogError> {
    let mut result = Ok(());
    for partition in replicas.list() {
        if !partition.is_deleted() {
            result = result.and(work(&partition));
        }
    }
    result
}

fn flush_overdue(replicas: &Replicas) -> Result<(), LogError> {
    let now_ms = platform::clock::unix_millis();
    for_each(replicas, |partition| {
        let since = partition.unflushed_since_ms();
        if since <= now_ms && now_ms - since >= partition.config().flush_ms {
            partition.flush()?;
        }
        partition.log().empty_trash(now_ms)
    })
}

fn retain(replicas: &Replicas) -> Result<(), LogError> {
    let now_ms = platform::clock::unix_millis();
    for_each(replicas, |partition| {
        partition.log().expire_producers(now_ms);
        partition.log().retain(now_ms).map(|_| ())
    })
}

fn clean(replicas: &Replicas) -> Result<(), LogError> {
    while replicas.clean_one()? {}
    Ok(())
}
