//! The page of `GET /metrics`: one pass over what there is.
//!
//! Kafka's metrics have two names, for there are two habits of exporting them: the group's short name
//! and the attribute (`kafka_connect_source_task_source_record_poll_total`, as the rules of the JMX
//! exporter and of Strimzi have it), or the JMX type and the attribute
//! (`kafka_connect_source_task_metrics_source_record_poll_total`). Ours have one.

use tokio::time::Instant;

use super::catalogue::{Group, OF_TASKS, OUR_OWN, OfTask, Ours, TaskView, WORKER, number};
use super::meter::TaskMeter;
use super::meters::{ConnectorMeters, Meters, Starts};
use super::text::{Kind, Page, label};
use crate::state::{ConnectorStatus, State, TaskStatus, WorkerStatus};

/// Which names of Kafka's metrics a page has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Names {
    /// Both, so that any dashboard works.
    #[default]
    Both,
    /// With the short name of the group.
    Short,
    /// With the JMX type.
    Jmx,
}

/// One connector with its labels; tasks that are in both its status and its meters.
struct ConnectorView<'a> {
    labels: String,
    status: &'a ConnectorStatus,
    meters: &'a ConnectorMeters,
    tasks: Vec<(String, &'a TaskStatus, &'a TaskMeter)>,
}

/// The page. Nothing is waited for.
pub(crate) fn page(status: &WorkerStatus, meters: &Meters, names: Names) -> String {
    let all = meters.all();
    let connectors = status.iter().filter_map(|(name, status)| {
        let meters = all.get(name.as_str())?;
        Some(view(name, status, meters))
    });
    let connectors: Vec<ConnectorView<'_>> = connectors.collect();
    let now_ms = platform::clock::unix_millis();
    let tasks: Vec<TaskView<'_>> = connectors
        .iter()
        .flat_map(|connector| {
            let kind = connector.status.kind;
            connector
                .tasks
                .iter()
                .map(move |(labels, status, meter)| TaskView {
                    labels,
                    kind,
                    status,
                    meter,
                    now_ms,
                })
        })
        .collect();
    let mut page = Page::default();
    write_worker(&mut page, names, meters, &connectors);
    write_connectors(&mut page, &connectors);
    write_tasks(&mut page, names, &tasks);
    page.into_text()
}

fn view<'a>(
    name: &str,
    status: &'a ConnectorStatus,
    meters: &'a ConnectorMeters,
) -> ConnectorView<'a> {
    let labels = label("connector", name);
    let tasks = status.tasks.iter().zip(&meters.tasks).enumerate();
    let tasks = tasks.map(|(number, (status, meter))| {
        let task = label("task", &number.to_string());
        (format!("{labels},{task}"), status, &**meter)
    });
    ConnectorView {
        tasks: tasks.collect(),
        labels,
        status,
        meters,
    }
}

/// The names of one of Kafka's metrics.
fn names_of(Group { short, jmx, .. }: Group, attribute: &str, names: Names) -> Vec<String> {
    let short = format!("kafka_connect_{short}_{attribute}");
    let jmx = format!("kafka_connect_{jmx}_{attribute}");
    match names {
        Names::Both => vec![short, jmx],
        Names::Short => vec![short],
        Names::Jmx => vec![jmx],
    }
}

fn write_worker(page: &mut Page, names: Names, meters: &Meters, connectors: &[ConnectorView<'_>]) {
    let mut write = |attribute: &str, kind: Kind, help: &str, value: f64| {
        for name in names_of(WORKER, attribute, names) {
            page.family(&name, kind, help);
            page.sample(&name, "", value);
        }
    };
    let tasks: usize = connectors.iter().map(|it| it.tasks.len()).sum();
    write(
        "connector_count",
        Kind::Gauge,
        "Connectors.",
        connectors.len() as f64,
    );
    write("task_count", Kind::Gauge, "Tasks.", tasks as f64);
    for (what, starts) in [
        ("connector", &meters.connector_starts),
        ("task", &meters.task_starts),
    ] {
        let Numbers {
            attempts,
            successes,
            failures,
        } = Numbers::of(starts);
        let attribute = |suffix: &str| format!("{what}_startup_{suffix}");
        let tried = format!("How often a {what} was started.");
        write(
            &attribute("attempts_total"),
            Kind::Counter,
            &tried,
            attempts,
        );
        let worked = format!("Starts of a {what} that worked.");
        write(
            &attribute("success_total"),
            Kind::Counter,
            &worked,
            successes,
        );
        let failed = format!("Starts of a {what} that failed.");
        write(
            &attribute("failure_total"),
            Kind::Counter,
            &failed,
            failures,
        );
        let part = format!("The part of the starts of a {what} that worked, from 0 to 1.");
        let ended = successes + failures;
        write(
            &attribute("success_percentage"),
            Kind::Gauge,
            &part,
            successes / ended,
        );
        let part = format!("The part of the starts of a {what} that failed, from 0 to 1.");
        write(
            &attribute("failure_percentage"),
            Kind::Gauge,
            &part,
            failures / ended,
        );
    }
    for (state, what) in [
        (None, "total"),
        (Some(State::Running), "running"),
        (Some(State::Paused), "paused"),
        (Some(State::Failed), "failed"),
        (Some(State::Restarting), "restarting"),
        (Some(State::Unassigned), "unassigned"),
    ] {
        let attribute = format!("connector_{what}_task_count");
        for name in names_of(WORKER, &attribute, names) {
            let help = match state {
                None => "Tasks of the connector.".to_owned(),
                Some(_) => format!("Tasks of the connector that are {what}."),
            };
            page.family(&name, Kind::Gauge, &help);
            for connector in connectors {
                let is_counted = |task: &&TaskStatus| state.is_none_or(|state| task.state == state);
                let count = connector.status.tasks.iter().filter(is_counted).count();
                page.sample(&name, &connector.labels, count as f64);
            }
        }
    }
    let uptime = "kafka_connect_worker_uptime_seconds";
    page.family(uptime, Kind::Gauge, "How long the worker has been running.");
    let age = Instant::now().saturating_duration_since(meters.born);
    page.sample(uptime, "", age.as_secs_f64());
    let build = "kafka_connect_build_info";
    page.family(build, Kind::Gauge, "The version of the program.");
    page.sample(build, &label("version", env!("CARGO_PKG_VERSION")), 1.0);
}

struct Numbers {
    attempts: f64,
    successes: f64,
    failures: f64,
}

impl Numbers {
    fn of(starts: &Starts) -> Self {
        Self {
            attempts: starts.attempts() as f64,
            successes: starts.successes() as f64,
            failures: starts.failures() as f64,
        }
    }
}

fn write_connectors(page: &mut Page, connectors: &[ConnectorView<'_>]) {
    let info = "kafka_connect_connector_info";
    page.family(info, Kind::Gauge, "The type and class of the connector.");
    for connector in connectors {
        let kind = label("connector_type", connector.status.kind.name());
        let class = label("connector_class", &connector.status.class);
        let labels = format!("{},{kind},{class}", connector.labels);
        page.sample(info, &labels, 1.0);
    }
    // As the rules of the exporters have it: one sample, whose label is the state.
    let status = "kafka_connect_connector_status";
    page.family(
        status,
        Kind::Gauge,
        "The state of connectors and, with a label task, of tasks.",
    );
    for connector in connectors {
        let own = (&connector.labels, connector.status.connector.state);
        let tasks = connector.tasks.iter();
        let tasks = tasks.map(|(labels, status, _)| (labels, status.state));
        for (labels, state) in std::iter::once(own).chain(tasks) {
            let state = label("status", &state.to_string().to_ascii_lowercase());
            page.sample(status, &format!("{labels},{state}"), 1.0);
        }
    }
    type OfConnector = fn(&ConnectorView<'_>) -> f64;
    let ours: [(&str, Kind, &str, OfConnector); 3] = [
        (
            "kafka_connect_connector_state",
            Kind::Gauge,
            "The state of the connector's own code: 0 unassigned, 1 running, 2 paused, 3 restarting, 4 failed, 5 stopped.",
            |connector| number(connector.status.connector.state),
        ),
        (
            "kafka_connect_connector_restarts_total",
            Kind::Counter,
            "How often the connector's own code was started again, by itself or on request.",
            |connector| connector.meters.own.restarts() as f64,
        ),
        (
            "kafka_connect_connector_failures_total",
            Kind::Counter,
            "How often the connector's own code failed.",
            |connector| connector.meters.own.failures() as f64,
        ),
    ];
    for (name, kind, help, read) in ours {
        page.family(name, kind, help);
        for connector in connectors {
            page.sample(name, &connector.labels, read(connector));
        }
    }
}

fn write_tasks(page: &mut Page, names: Names, tasks: &[TaskView<'_>]) {
    for OfTask(group, attribute, kind, help, read) in OF_TASKS {
        for name in names_of(*group, attribute, names) {
            page.family(&name, *kind, help);
            for task in tasks {
                if group.only.is_none_or(|only| task.kind == only) {
                    page.sample(&name, task.labels, read(task.meter));
                }
            }
        }
    }
    for Ours(name, kind, help, read) in OUR_OWN {
        page.family(name, *kind, help);
        for task in tasks {
            if let Some(value) = read(task) {
                page.sample(name, task.labels, value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;
    use std::sync::Arc;
    use std::time::Duration;

    use connect_core::ConnectorKind;

    use crate::metrics::Sampling;
    use crate::state::{Board, Reporter};

    fn board() -> (Board, Reporter) {
        let board = Board::new(Sampling::default());
        let name: Arc<str> = "files".into();
        board.add(&name, ConnectorKind::Source, "FileStreamSource");
        board.set_tasks(&name, 1);
        let reporter = Reporter::new(&board, &name, Some(0));
        (board, reporter)
    }

    fn shown(board: &Board, names: Names) -> String {
        page(&board.status(), board.meters(), names)
    }

    #[test]
    fn what_a_task_did_is_there_under_both_of_kafka_s_names() {
        let (board, reporter) = board();
        reporter.starting();
        reporter.state(State::Running);
        let meter = reporter.meter();
        meter.polled(10, Duration::from_millis(3));
        meter.sending(10);
        meter.sent(10, 9);
        let text = shown(&board, Names::Both);
        for line in [
            "kafka_connect_source_task_source_record_poll_total{connector=\"files\",task=\"0\"} 10",
            "kafka_connect_source_task_metrics_source_record_write_total{connector=\"files\",task=\"0\"} 9",
            "kafka_connect_source_task_metrics_poll_batch_max_time_ms{connector=\"files\",task=\"0\"} 3",
            "kafka_connect_connector_status{connector=\"files\",task=\"0\",status=\"running\"} 1",
            "kafka_connect_task_state{connector=\"files\",task=\"0\"} 1",
            "kafka_connect_worker_task_startup_success_total 1",
            "kafka_connect_connect_worker_metrics_task_count 1",
            "kafka_connect_worker_connector_running_task_count{connector=\"files\"} 1",
        ] {
            assert!(text.lines().any(|shown| shown == line), "{line}\n{text}");
        }
        assert!(
            !text.contains("sink_record_read_total{"),
            "a source reads no topics"
        );
        let short = shown(&board, Names::Short);
        assert!(!short.contains("_task_metrics_"), "{short}");
    }

    #[test]
    fn every_family_is_told_once_and_its_samples_follow_it() {
        let (board, _) = board();
        let text = shown(&board, Names::Both);
        let mut seen = BTreeSet::new();
        let mut family = "";
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("# TYPE ") {
                family = rest.split(' ').next().unwrap();
                assert!(seen.insert(family), "{family} comes twice");
            } else if !line.starts_with('#') {
                assert_eq!(line.split(['{', ' ']).next(), Some(family), "{line}");
            }
        }
        assert!(seen.len() > 80, "{}", seen.len());
    }

    #[test]
    fn a_failed_task_is_there_with_its_state_restarts_and_next_try() {
        let (board, reporter) = board();
        reporter.starting();
        let next = platform::clock::unix_millis() + 60_000;
        reporter.failed(State::Restarting, 1, "boom".to_owned(), Ok(next));
        let text = shown(&board, Names::Short);
        let task = "{connector=\"files\",task=\"0\"}";
        assert!(
            text.contains(&format!("kafka_connect_task_state{task} 3")),
            "{text}"
        );
        assert!(text.contains(&format!("kafka_connect_task_failures_total{task} 1")));
        assert!(text.contains("kafka_connect_worker_task_startup_failure_total 1"));
        let next = format!("kafka_connect_task_next_restart_seconds{task} ");
        let next = text.lines().find_map(|line| line.strip_prefix(&next));
        let next: f64 = next.unwrap().parse().unwrap();
        assert!(next > 50.0 && next <= 60.0, "{next}");
    }
}
