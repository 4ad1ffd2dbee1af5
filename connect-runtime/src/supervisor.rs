//! Keeps one task running: a task that fails is started again, ever more slowly.

use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicBool, Ordering};

use connect_core::ConnectorKind;
use futures_util::FutureExt;
use tokio::sync::watch;
use tokio::time::sleep;
use tracing::Instrument;

use crate::backoff::Backoff;
use crate::state::State;
use crate::task::{Setup, Target, TaskFailure, next_stop};
use crate::{room, sink, source};

/// Runs a task until it is told to stop.
pub(crate) async fn supervise(setup: Setup) {
    let span = setup.span();
    let reporter = setup.reporter.clone();
    attempts(setup).instrument(span).await;
    reporter.stopped();
}

async fn attempts(setup: Setup) {
    let config = &setup.shared.config;
    let mut backoff = Backoff::new(config.restart_backoff, config.restart_backoff_max);
    let mut target = setup.target.clone();
    while *target.borrow() != Target::Stop {
        let Err(failure) = attempt(&setup, &mut backoff).await else {
            continue;
        };
        if *target.borrow() == Target::Stop {
            tracing::error!("task failed while it was stopped: {}", failure.message);
            return;
        }
        let (state, pause) = match failure.lasting {
            true => (State::Failed, backoff.failed_for_long()),
            false => (State::Restarting, backoff.failed()),
        };
        let failures = backoff.failures();
        tracing::error!(
            "task failed ({failures}), next try in {pause:.1?}: {}",
            failure.message
        );
        let next_try = platform::clock::unix_millis()
            .saturating_add(i64::try_from(pause.as_millis()).unwrap_or(i64::MAX));
        setup
            .reporter
            .failed(state, failures, failure.message, next_try);
        tokio::select! {
            () = sleep(pause) => {}
            () = next_stop(&mut target) => {}
            () = setup.restart.notified() => backoff.reset(),
        }
    }
}

/// One attempt, which ends in order when the task is to be restarted.
async fn attempt(setup: &Setup, backoff: &mut Backoff) -> Result<(), TaskFailure> {
    let mut outer = setup.target.clone();
    let (inner, target) = watch::channel(*outer.borrow_and_update());
    let restarted = AtomicBool::new(false);
    let follow = async {
        loop {
            tokio::select! {
                Ok(()) = outer.changed() => {
                    inner.send_replace(*outer.borrow_and_update());
                }
                () = setup.restart.notified() => break,
                else => std::future::pending().await,
            }
        }
        tracing::info!("the task is restarted");
        restarted.store(true, Ordering::Relaxed);
        setup.reporter.state(State::Restarting);
        inner.send_replace(Target::Stop);
        std::future::pending::<()>().await;
    };
    let setup_of_run = Setup {
        target,
        ..setup.fresh()?
    };
    let outcome = tokio::select! {
        outcome = run(&setup_of_run, backoff) => outcome,
        () = follow => Ok(()),
    };
    match (outcome, restarted.into_inner()) {
        (Err(failure), true) => {
            tracing::error!("task failed while it was restarted: {}", failure.message);
            backoff.reset();
            Ok(())
        }
        (Ok(()), true) => {
            backoff.reset();
            Ok(())
        }
        (outcome, false) => outcome,
    }
}

/// Runs the task once; when it has run well for long enough, earlier failures no longer count.
async fn run(setup: &Setup, backoff: &mut Backoff) -> Result<(), TaskFailure> {
    let run = async {
        match setup.connector.kind {
            ConnectorKind::Source => source::run(setup.clone()).await,
            ConnectorKind::Sink => sink::run(setup.clone()).await,
        }
    };
    // Converters run outside of rooms, and they are plugins, too.
    let mut run = std::pin::pin!(AssertUnwindSafe(run).catch_unwind());
    let settled = sleep(setup.shared.config.restart_backoff_max);
    let finished = tokio::select! {
        finished = &mut run => finished,
        () = settled => {
            backoff.reset();
            setup.reporter.settled();
            run.await
        }
    };
    finished.unwrap_or_else(|panic| {
        let message = room::message(&*panic);
        Err(TaskFailure::new(format!(
            "the task's loop panicked: {message}"
        )))
    })
}
