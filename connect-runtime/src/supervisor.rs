//! Keeps one task running: a task that fails is started again, ever more slowly, while that may help.

use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicBool, Ordering};

use connect_core::ConnectorKind;
use futures_util::FutureExt;
use tokio::sync::watch;
use tokio::time::sleep;
use tracing::Instrument;

use crate::history::RestartedBy;
use crate::renewal::Given;
use crate::restart::Restarts;
use crate::room::Patience;
use crate::state::Witness;
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
    let mut restarts = Restarts::new(setup.connector.restart.clone());
    let mut target = setup.target.clone();
    while *target.borrow() != Target::Stop {
        setup.reporter.starting();
        setup.meter.begin();
        let mut given = None;
        let Err(failure) = attempt(&setup, &mut restarts, &mut given).await else {
            continue;
        };
        if *target.borrow() == Target::Stop {
            tracing::error!("task failed while it was stopped: {}", failure.message);
            return;
        }
        let next = restarts.report("task", failure, &setup.reporter);
        tokio::select! {
            () = next.due() => setup.reporter.restarted(RestartedBy::Worker),
            () = next_stop(&mut target) => {}
            () = setup.restart.notified() => {
                restarts.asked();
                setup.reporter.restarted(RestartedBy::Request);
            }
            () = outdated(&setup, given) => {
                restarts.asked();
                setup.reporter.restarted(RestartedBy::Configuration);
            }
        }
    }
}

/// Ends once references stand for something else than in the last attempt.
async fn outdated(setup: &Setup, given: Option<Given>) {
    match given {
        Some(given) => setup.outdated(given).await,
        None => std::future::pending().await,
    }
}

/// What references stand for now; a slow disk can be seen, and ends nothing but this task. `None` if it is
/// told to stop meanwhile.
async fn fresh(setup: &Setup) -> Result<Option<Setup>, TaskFailure> {
    let read = "reading of configuration providers";
    let fresh = setup
        .activity
        .watch(read, Patience::ReturnsSoon, setup.fresh());
    let mut target = setup.target.clone();
    let fresh = tokio::select! {
        fresh = fresh => fresh.map(Some),
        () = setup.watch_calls() => Ok(None),
        () = next_stop(&mut target) => Ok(None),
    };
    setup.reporter.waiting(Witness::Call, None);
    fresh
}

/// One attempt, which ends in order when the task is to be restarted. Notes what the task was given.
async fn attempt(
    setup: &Setup,
    restarts: &mut Restarts,
    given: &mut Option<Given>,
) -> Result<(), TaskFailure> {
    let Some(fresh) = fresh(setup).await? else {
        return Ok(());
    };
    let now = fresh.given();
    *given = Some(now.clone());
    let mut outer = setup.target.clone();
    let (inner, target) = watch::channel(*outer.borrow_and_update());
    let restarted = AtomicBool::new(false);
    let follow = async {
        let mut outdated = std::pin::pin!(setup.outdated(now));
        let by = loop {
            tokio::select! {
                Ok(()) = outer.changed() => {
                    inner.send_replace(*outer.borrow_and_update());
                }
                () = setup.restart.notified() => break RestartedBy::Request,
                () = &mut outdated => break RestartedBy::Configuration,
                else => std::future::pending().await,
            }
        };
        match by {
            RestartedBy::Configuration => tracing::info!(
                "the task is restarted, because a value from a configuration provider has changed"
            ),
            _ => tracing::info!("the task is restarted"),
        }
        restarted.store(true, Ordering::Relaxed);
        setup.reporter.restarted(by);
        inner.send_replace(Target::Stop);
        std::future::pending::<()>().await;
    };
    let reporter = setup.reporter.of_attempt();
    let setup_of_run = Setup {
        target,
        reporter: reporter.clone(),
        ..fresh
    };
    let outcome = tokio::select! {
        outcome = run(&setup_of_run, restarts) => outcome,
        () = follow => Ok(()),
    };
    reporter.over();
    match (outcome, restarted.into_inner()) {
        (Err(failure), true) => {
            tracing::error!("task failed while it was restarted: {}", failure.message);
            restarts.asked();
            Ok(())
        }
        (Ok(()), true) => {
            restarts.asked();
            Ok(())
        }
        (outcome, false) => outcome,
    }
}

/// Runs the task once; when it has run well for long enough, earlier failures no longer count.
async fn run(setup: &Setup, restarts: &mut Restarts) -> Result<(), TaskFailure> {
    let run = async {
        match setup.connector.kind {
            ConnectorKind::Source => source::run(setup.clone()).await,
            ConnectorKind::Sink => sink::run(setup.clone()).await,
        }
    };
    // Converters run outside of rooms, and they are plugins, too.
    let mut run = std::pin::pin!(AssertUnwindSafe(run).catch_unwind());
    let settled = sleep(setup.connector.restart.backoff_max);
    let finished = tokio::select! {
        finished = &mut run => finished,
        () = settled => {
            restarts.settled();
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
