//! The page of `GET /metrics`: tables of what there is, and one pass over them.
//!
//! Kafka's metrics have two names, for there are two habits of exporting them: the group's short name
//! and the attribute (`kafka_connect_source_task_source_record_poll_total`, as the rules of the JMX
//! exporter and of Strimzi have it), or the JMX type and the attribute
//! (`kafka_connect_source_task_metrics_source_record_poll_total`). Ours have one.

use connect_core::ConnectorKind;
use tokio::time::Instant;

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

/// Groups of Kafka's metrics, as short name and JMX type.
#[derive(Clone, Copy)]
struct Group(&'static str, &'static str);

const CONNECTOR_TASK: Group = Group("connector_task", "connector_task_metrics");
const SOURCE_TASK: Group = Group("source_task", "source_task_metrics");
const SINK_TASK: Group = Group("sink_task", "sink_task_metrics");
const TASK_ERROR: Group = Group("task_error", "task_error_metrics");
const WORKER: Group = Group("worker", "connect_worker_metrics");

/// A metric of tasks that Kafka has, too.
struct OfTask(
    Group,
    &'static str,
    Kind,
    &'static str,
    fn(&TaskMeter) -> f64,
);

/// A metric of tasks that is ours.
struct Ours(
    &'static str,
    Kind,
    &'static str,
    /// None where it is not known, or there is no such thing.
    fn(&TaskView<'_>) -> Option<f64>,
);

/// A task, as it is scraped.
struct TaskView<'a> {
    labels: &'a str,
    kind: ConnectorKind,
    status: &'a TaskStatus,
    meter: &'a TaskMeter,
    now_ms: i64,
}

const MICROS: f64 = 1000.0;

const OF_TASKS: &[OfTask] = &[
    OfTask(
        CONNECTOR_TASK,
        "running_ratio",
        Kind::Gauge,
        "The part of its time that the task was running.",
        |task| task.life.ratios().0,
    ),
    OfTask(
        CONNECTOR_TASK,
        "pause_ratio",
        Kind::Gauge,
        "The part of its time that the task was paused.",
        |task| task.life.ratios().1,
    ),
    OfTask(
        CONNECTOR_TASK,
        "batch_size_avg",
        Kind::Gauge,
        "The average number of records of a poll or put lately.",
        |task| task.batch.recent().average(),
    ),
    OfTask(
        CONNECTOR_TASK,
        "batch_size_max",
        Kind::Gauge,
        "The most records of a poll or put lately.",
        |task| task.batch.recent().max(),
    ),
    OfTask(
        CONNECTOR_TASK,
        "offset_commit_avg_time_ms",
        Kind::Gauge,
        "How long commits of offsets took lately, on average.",
        |task| task.commit_us.recent().average() / MICROS,
    ),
    OfTask(
        CONNECTOR_TASK,
        "offset_commit_max_time_ms",
        Kind::Gauge,
        "How long a commit of offsets took lately, at most.",
        |task| task.commit_us.recent().max() / MICROS,
    ),
    OfTask(
        CONNECTOR_TASK,
        "offset_commit_success_percentage",
        Kind::Gauge,
        "The part of the commits lately that worked, from 0 to 1 as in Kafka.",
        TaskMeter::commit_success,
    ),
    OfTask(
        CONNECTOR_TASK,
        "offset_commit_failure_percentage",
        Kind::Gauge,
        "The part of the commits lately that did not work, from 0 to 1 as in Kafka.",
        |task| 1.0 - task.commit_success(),
    ),
    OfTask(
        SOURCE_TASK,
        "source_record_poll_total",
        Kind::Counter,
        "Records polled, before transforms.",
        |task| task.read.total() as f64,
    ),
    OfTask(
        SOURCE_TASK,
        "source_record_poll_rate",
        Kind::Gauge,
        "Records polled per second lately.",
        |task| task.read.recent().rate(),
    ),
    OfTask(
        SOURCE_TASK,
        "source_record_write_total",
        Kind::Counter,
        "Records acknowledged by brokers, behind transforms.",
        |task| task.written.total() as f64,
    ),
    OfTask(
        SOURCE_TASK,
        "source_record_write_rate",
        Kind::Gauge,
        "Records acknowledged per second lately.",
        |task| task.written.recent().rate(),
    ),
    OfTask(
        SOURCE_TASK,
        "poll_batch_avg_time_ms",
        Kind::Gauge,
        "How long polls that gave records took lately, on average.",
        |task| task.call_us.recent().average() / MICROS,
    ),
    OfTask(
        SOURCE_TASK,
        "poll_batch_max_time_ms",
        Kind::Gauge,
        "How long a poll that gave records took lately, at most.",
        |task| task.call_us.recent().max() / MICROS,
    ),
    OfTask(
        SOURCE_TASK,
        "source_record_active_count",
        Kind::Gauge,
        "Records given to the producer that are not acknowledged yet.",
        |task| task.active() as f64,
    ),
    OfTask(
        SOURCE_TASK,
        "source_record_active_count_avg",
        Kind::Gauge,
        "The average of these lately.",
        |task| task.active_samples.recent().average(),
    ),
    OfTask(
        SOURCE_TASK,
        "source_record_active_count_max",
        Kind::Gauge,
        "The most of these lately.",
        |task| task.active_samples.recent().max(),
    ),
    OfTask(
        SINK_TASK,
        "sink_record_read_total",
        Kind::Counter,
        "Records read from topics, before transforms.",
        |task| task.read.total() as f64,
    ),
    OfTask(
        SINK_TASK,
        "sink_record_read_rate",
        Kind::Gauge,
        "Records read per second lately.",
        |task| task.read.recent().rate(),
    ),
    OfTask(
        SINK_TASK,
        "sink_record_send_total",
        Kind::Counter,
        "Records that the task took, behind transforms.",
        |task| task.written.total() as f64,
    ),
    OfTask(
        SINK_TASK,
        "sink_record_send_rate",
        Kind::Gauge,
        "Records that the task took per second lately.",
        |task| task.written.recent().rate(),
    ),
    OfTask(
        SINK_TASK,
        "put_batch_avg_time_ms",
        Kind::Gauge,
        "How long puts took lately, on average.",
        |task| task.call_us.recent().average() / MICROS,
    ),
    OfTask(
        SINK_TASK,
        "put_batch_max_time_ms",
        Kind::Gauge,
        "How long a put took lately, at most.",
        |task| task.call_us.recent().max() / MICROS,
    ),
    OfTask(
        SINK_TASK,
        "partition_count",
        Kind::Gauge,
        "Partitions that the task has.",
        |task| task.partitions() as f64,
    ),
    OfTask(
        SINK_TASK,
        "sink_record_lag_max",
        Kind::Gauge,
        "Records in the slowest of its partitions that the task has not taken yet.",
        |task| task.lag_max().map_or(f64::NAN, |lag| lag as f64),
    ),
    OfTask(
        SINK_TASK,
        "offset_commit_seq_no",
        Kind::Gauge,
        "Commits of offsets that were tried.",
        |task| (task.commits.total() + task.failed_commits.total()) as f64,
    ),
    OfTask(
        SINK_TASK,
        "offset_commit_completion_total",
        Kind::Counter,
        "Commits of offsets that worked.",
        |task| task.commits.total() as f64,
    ),
    OfTask(
        SINK_TASK,
        "offset_commit_completion_rate",
        Kind::Gauge,
        "Commits of offsets that worked, per second lately.",
        |task| task.commits.recent().rate(),
    ),
    OfTask(
        SINK_TASK,
        "sink_record_active_count",
        Kind::Gauge,
        "Records read that no committed offset covers yet.",
        |task| task.active() as f64,
    ),
    OfTask(
        SINK_TASK,
        "sink_record_active_count_avg",
        Kind::Gauge,
        "The average of these lately.",
        |task| task.active_samples.recent().average(),
    ),
    OfTask(
        SINK_TASK,
        "sink_record_active_count_max",
        Kind::Gauge,
        "The most of these lately.",
        |task| task.active_samples.recent().max(),
    ),
    OfTask(
        TASK_ERROR,
        "total_record_failures",
        Kind::Counter,
        "How often a record failed, attempts that were repeated included.",
        |task| task.errors.failures() as f64,
    ),
    OfTask(
        TASK_ERROR,
        "total_record_errors",
        Kind::Counter,
        "Records that failed and ended a run of the task.",
        |task| task.errors.errors() as f64,
    ),
    OfTask(
        TASK_ERROR,
        "total_records_skipped",
        Kind::Counter,
        "Records that failed and were skipped.",
        |task| task.errors.skipped() as f64,
    ),
    OfTask(
        TASK_ERROR,
        "total_retries",
        Kind::Counter,
        "Attempts that were repeated.",
        |task| task.errors.retries() as f64,
    ),
    OfTask(
        TASK_ERROR,
        "total_errors_logged",
        Kind::Counter,
        "Failures of records that were logged.",
        |task| task.errors.total_logged() as f64,
    ),
    OfTask(
        TASK_ERROR,
        "deadletterqueue_produce_requests",
        Kind::Counter,
        "Records for the dead letter queue.",
        |task| task.errors.letters() as f64,
    ),
    OfTask(
        TASK_ERROR,
        "deadletterqueue_produce_failures",
        Kind::Counter,
        "Records that the dead letter queue did not take.",
        |task| task.errors.lost_letters() as f64,
    ),
    OfTask(
        TASK_ERROR,
        "last_error_timestamp",
        Kind::Gauge,
        "When a record failed last, in milliseconds since the epoch; 0 for never.",
        |task| task.errors.last_ms() as f64,
    ),
];

const OUR_OWN: &[Ours] = &[
    Ours(
        "kafka_connect_task_state",
        Kind::Gauge,
        "The state of the task: 0 unassigned, 1 running, 2 paused, 3 restarting, 4 failed, 5 stopped.",
        |task| Some(number(task.status.state)),
    ),
    Ours(
        "kafka_connect_task_state_seconds",
        Kind::Gauge,
        "How long the task has been in its state.",
        |task| Some(task.meter.life.since().elapsed().as_secs_f64()),
    ),
    Ours(
        "kafka_connect_task_restarts_total",
        Kind::Counter,
        "How often the task was started again, by itself or on request.",
        |task| Some(task.meter.life.restarts() as f64),
    ),
    Ours(
        "kafka_connect_task_failures_total",
        Kind::Counter,
        "How often the task failed.",
        |task| Some(task.meter.life.failures() as f64),
    ),
    Ours(
        "kafka_connect_task_next_restart_seconds",
        Kind::Gauge,
        "In how many seconds the failed task is started again.",
        |task| {
            let next = task.status.next_try_ms?;
            Some(seconds(next.saturating_sub(task.now_ms)))
        },
    ),
    Ours(
        "kafka_connect_task_not_restarted",
        Kind::Gauge,
        "Whether the task failed and is not started again by itself.",
        |task| Some(f64::from(u8::from(task.status.not_restarted.is_some()))),
    ),
    Ours(
        "kafka_connect_task_waiting",
        Kind::Gauge,
        "Whether the task says that it makes no progress; its status has the reason.",
        |task| Some(f64::from(u8::from(task.status.waiting.is_some()))),
    ),
    Ours(
        "kafka_connect_task_blocked_seconds",
        Kind::Gauge,
        "How long a call into the task's code that should have returned has been under way.",
        |task| Some(task.meter.blocked().as_secs_f64()),
    ),
    Ours(
        "kafka_connect_task_seconds_since_last_record",
        Kind::Gauge,
        "How long ago the task polled or read its last record; nothing before the first.",
        |task| {
            let last = task.meter.last_record_ms()?;
            Some(seconds(task.now_ms.saturating_sub(last)))
        },
    ),
    Ours(
        "kafka_connect_task_buffered_bytes",
        Kind::Gauge,
        "Bytes of records in the producer of a source task that are not acknowledged yet.",
        |task| match task.kind {
            ConnectorKind::Source => Some(task.meter.buffered_bytes() as f64),
            ConnectorKind::Sink => None,
        },
    ),
    Ours(
        "kafka_connect_task_offset_commit_success_total",
        Kind::Counter,
        "Commits of offsets that worked.",
        |task| Some(task.meter.commits.total() as f64),
    ),
    Ours(
        "kafka_connect_task_offset_commit_failure_total",
        Kind::Counter,
        "Commits of offsets that did not work; they are tried again.",
        |task| Some(task.meter.failed_commits.total() as f64),
    ),
];

/// The state as a number.
fn number(state: State) -> f64 {
    match state {
        State::Unassigned => 0.0,
        State::Running => 1.0,
        State::Paused => 2.0,
        State::Restarting => 3.0,
        State::Failed => 4.0,
        State::Stopped => 5.0,
    }
}

fn seconds(millis: i64) -> f64 {
    millis.max(0) as f64 / 1000.0
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
fn names_of(Group(short, jmx): Group, attribute: &str, names: Names) -> Vec<String> {
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
        let only = match group.0 {
            "source_task" => Some(ConnectorKind::Source),
            "sink_task" => Some(ConnectorKind::Sink),
            _ => None,
        };
        for name in names_of(*group, attribute, names) {
            page.family(&name, *kind, help);
            for task in tasks {
                if only.is_none_or(|only| task.kind == only) {
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
