//! Which metrics there are of tasks: their names, what they mean, and where they are read.

use connect_core::ConnectorKind;

use super::meter::TaskMeter;
use super::text::Kind;
use crate::state::{State, TaskStatus};

/// A group of Kafka's metrics.
#[derive(Clone, Copy)]
pub(super) struct Group {
    /// The name that the rules of exporters give it.
    pub(super) short: &'static str,
    /// The JMX type, as exporters write it.
    pub(super) jmx: &'static str,
    /// Whose tasks have it, if not all have.
    pub(super) only: Option<ConnectorKind>,
}

const CONNECTOR_TASK: Group = Group {
    short: "connector_task",
    jmx: "connector_task_metrics",
    only: None,
};
const SOURCE_TASK: Group = Group {
    short: "source_task",
    jmx: "source_task_metrics",
    only: Some(ConnectorKind::Source),
};
const SINK_TASK: Group = Group {
    short: "sink_task",
    jmx: "sink_task_metrics",
    only: Some(ConnectorKind::Sink),
};
const TASK_ERROR: Group = Group {
    short: "task_error",
    jmx: "task_error_metrics",
    only: None,
};
pub(super) const WORKER: Group = Group {
    short: "worker",
    jmx: "connect_worker_metrics",
    only: None,
};

/// A metric of tasks that Kafka has, too.
pub(super) struct OfTask(
    pub(super) Group,
    pub(super) &'static str,
    pub(super) Kind,
    pub(super) &'static str,
    pub(super) fn(&TaskMeter) -> f64,
);

/// A metric of tasks that is ours.
pub(super) struct Ours(
    pub(super) &'static str,
    pub(super) Kind,
    pub(super) &'static str,
    /// None where it is not known, or there is no such thing.
    pub(super) fn(&TaskView<'_>) -> Option<f64>,
);

/// A task, as it is scraped.
pub(super) struct TaskView<'a> {
    pub(super) labels: &'a str,
    pub(super) kind: ConnectorKind,
    pub(super) status: &'a TaskStatus,
    pub(super) meter: &'a TaskMeter,
    pub(super) now_ms: i64,
}

/// In a millisecond.
const MICROS: f64 = 1000.0;

/// What Kafka has, too.
pub(super) const OF_TASKS: &[OfTask] = &[
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

/// What JMX cannot say.
pub(super) const OUR_OWN: &[Ours] = &[
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
pub(super) fn number(state: State) -> f64 {
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
