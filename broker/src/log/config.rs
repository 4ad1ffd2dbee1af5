//! A topic's configuration and a node's log settings, parsed once.

use std::collections::BTreeMap;
use std::str::FromStr;

use kafka_records::Compression;

/// One mistake in a configuration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct TopicConfigProblem {
    /// The configuration's name.
    pub key: String,
    /// The value, what was expected and what to do.
    pub message: String,
}

/// Whose timestamps records get.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimestampType {
    /// The producer's.
    CreateTime,
    /// The broker's, when it appends.
    LogAppendTime,
}

/// What happens to old data. Both may be on, neither keeps everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CleanupPolicy {
    /// Segments are removed by age and size.
    pub delete: bool,
    /// Only the newest record of each key is kept.
    pub compact: bool,
}

/// A topic's configuration: each field is Kafka's topic configuration of the same name, with its meaning and unit.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs)] // The names are Kafka's, and its documentation holds.
pub struct LogConfig {
    pub cleanup_policy: CleanupPolicy,
    /// `None` is "producer": batches stay as they were sent.
    pub compression: Option<Compression>,
    pub delete_retention_ms: i64,
    pub file_delete_delay_ms: i64,
    pub flush_messages: i64,
    pub flush_ms: i64,
    pub index_interval_bytes: u32,
    pub max_compaction_lag_ms: i64,
    pub max_message_bytes: usize,
    pub message_timestamp_after_max_ms: i64,
    pub message_timestamp_before_max_ms: i64,
    pub message_timestamp_type: TimestampType,
    pub min_cleanable_dirty_ratio: f64,
    pub min_compaction_lag_ms: i64,
    pub min_insync_replicas: i32,
    pub preallocate: bool,
    pub retention_bytes: i64,
    pub retention_ms: i64,
    pub segment_bytes: u32,
    pub segment_index_bytes: u32,
    pub segment_jitter_ms: i64,
    pub segment_ms: i64,
    /// Kept for later: with one replica there is nothing to elect.
    pub unclean_leader_election_enable: bool,
}

impl Default for LogConfig {
    fn default() -> Self {
        Self {
            cleanup_policy: CleanupPolicy {
                delete: true,
                compact: false,
            },
            compression: None,
            delete_retention_ms: 86_400_000,
            file_delete_delay_ms: 60_000,
            flush_messages: i64::MAX,
            flush_ms: i64::MAX,
            index_interval_bytes: 4096,
            max_compaction_lag_ms: i64::MAX,
            max_message_bytes: 1_048_588,
            message_timestamp_after_max_ms: 3_600_000,
            message_timestamp_before_max_ms: i64::MAX,
            message_timestamp_type: TimestampType::CreateTime,
            min_cleanable_dirty_ratio: 0.5,
            min_compaction_lag_ms: 0,
            min_insync_replicas: 1,
            preallocate: false,
            retention_bytes: -1,
            retention_ms: 604_800_000,
            segment_bytes: 1_073_741_824,
            segment_index_bytes: 10_485_760,
            segment_jitter_ms: 0,
            segment_ms: 604_800_000,
            unclean_leader_election_enable: false,
        }
    }
}

fn number<T: FromStr + PartialOrd + std::fmt::Display>(
    value: &str,
    min: T,
    max: T,
) -> Result<T, String> {
    match value.trim().parse::<T>() {
        Ok(number) if number >= min && number <= max => Ok(number),
        _ => Err(format!("a number from {min} to {max}")),
    }
}

impl LogConfig {
    /// A topic's configuration: `overrides` on top of the broker's defaults.
    ///
    /// # Errors
    /// Every unknown name and unusable value, each with what was expected.
    pub fn parse(
        overrides: &BTreeMap<String, String>,
        defaults: &Self,
    ) -> Result<Self, Vec<TopicConfigProblem>> {
        let mut config = defaults.clone();
        let mut problems = Vec::new();
        for (key, value) in overrides {
            if let Err(expected) = config.set(key, value) {
                let message = if config.get(key).is_some() {
                    format!(
                        "invalid value \"{value}\" for configuration \"{key}\"; expected {expected}"
                    )
                } else {
                    format!("unknown topic configuration \"{key}\"; {expected}")
                };
                problems.push(TopicConfigProblem {
                    key: key.clone(),
                    message,
                });
            }
        }
        if config.min_compaction_lag_ms > config.max_compaction_lag_ms {
            problems.push(TopicConfigProblem {
                key: "min.compaction.lag.ms".to_owned(),
                message: format!(
                    "\"min.compaction.lag.ms\" is {} but \"max.compaction.lag.ms\" is {}; make it no larger",
                    config.min_compaction_lag_ms, config.max_compaction_lag_ms
                ),
            });
        }
        if problems.is_empty() {
            Ok(config)
        } else {
            Err(problems)
        }
    }

    /// Sets one value by its name on topics; an error says what was expected.
    fn set(&mut self, key: &str, value: &str) -> Result<(), String> {
        match key {
            "cleanup.policy" => self.cleanup_policy = cleanup_policy(value)?,
            "compression.type" => self.compression = compression(value)?,
            "delete.retention.ms" => self.delete_retention_ms = number(value, 0, i64::MAX)?,
            "file.delete.delay.ms" => self.file_delete_delay_ms = number(value, 0, i64::MAX)?,
            "flush.messages" => self.flush_messages = number(value, 1, i64::MAX)?,
            "flush.ms" => self.flush_ms = number(value, 0, i64::MAX)?,
            "index.interval.bytes" => {
                self.index_interval_bytes = number(value, 0, i32::MAX as u32)?
            }
            "max.compaction.lag.ms" => self.max_compaction_lag_ms = number(value, 1, i64::MAX)?,
            "max.message.bytes" => self.max_message_bytes = number(value, 0, i32::MAX as usize)?,
            "message.timestamp.after.max.ms" => {
                self.message_timestamp_after_max_ms = number(value, 0, i64::MAX)?
            }
            "message.timestamp.before.max.ms" => {
                self.message_timestamp_before_max_ms = number(value, 0, i64::MAX)?
            }
            "message.timestamp.type" => self.message_timestamp_type = timestamp_type(value)?,
            "min.cleanable.dirty.ratio" => {
                self.min_cleanable_dirty_ratio = number(value, 0.0, 1.0)?
            }
            "min.compaction.lag.ms" => self.min_compaction_lag_ms = number(value, 0, i64::MAX)?,
            "min.insync.replicas" => self.min_insync_replicas = number(value, 1, i32::MAX)?,
            "preallocate" => self.preallocate = boolean(value)?,
            "retention.bytes" => self.retention_bytes = number(value, -1, i64::MAX)?,
            "retention.ms" => self.retention_ms = number(value, -1, i64::MAX)?,
            "segment.bytes" => self.segment_bytes = number(value, 14, i32::MAX as u32)?,
            "segment.index.bytes" => self.segment_index_bytes = number(value, 4, i32::MAX as u32)?,
            "segment.jitter.ms" => self.segment_jitter_ms = number(value, 0, i64::MAX)?,
            "unclean.leader.election.enable" => {
                self.unclean_leader_election_enable = boolean(value)?
            }
            "segment.ms" => self.segment_ms = number(value, 1, i64::MAX)?,
            _ => return Err("it does not exist or has no effect here, remove it".to_owned()),
        }
        Ok(())
    }

    /// The value of one configuration as text, as DescribeConfigs shows it; `None` for an unknown name.
    pub fn get(&self, key: &str) -> Option<String> {
        Some(match key {
            "cleanup.policy" => match (self.cleanup_policy.compact, self.cleanup_policy.delete) {
                (true, true) => "compact,delete".to_owned(),
                (true, false) => "compact".to_owned(),
                (false, true) => "delete".to_owned(),
                (false, false) => String::new(),
            },
            "compression.type" => match self.compression {
                None => "producer".to_owned(),
                Some(Compression::None) => "uncompressed".to_owned(),
                Some(codec) => codec.to_string(),
            },
            "delete.retention.ms" => self.delete_retention_ms.to_string(),
            "file.delete.delay.ms" => self.file_delete_delay_ms.to_string(),
            "flush.messages" => self.flush_messages.to_string(),
            "flush.ms" => self.flush_ms.to_string(),
            "index.interval.bytes" => self.index_interval_bytes.to_string(),
            "max.compaction.lag.ms" => self.max_compaction_lag_ms.to_string(),
            "max.message.bytes" => self.max_message_bytes.to_string(),
            "message.timestamp.after.max.ms" => self.message_timestamp_after_max_ms.to_string(),
            "message.timestamp.before.max.ms" => self.message_timestamp_before_max_ms.to_string(),
            "message.timestamp.type" => match self.message_timestamp_type {
                TimestampType::CreateTime => "CreateTime".to_owned(),
                TimestampType::LogAppendTime => "LogAppendTime".to_owned(),
            },
            "min.cleanable.dirty.ratio" => self.min_cleanable_dirty_ratio.to_string(),
            "min.compaction.lag.ms" => self.min_compaction_lag_ms.to_string(),
            "min.insync.replicas" => self.min_insync_replicas.to_string(),
            "preallocate" => self.preallocate.to_string(),
            "retention.bytes" => self.retention_bytes.to_string(),
            "retention.ms" => self.retention_ms.to_string(),
            "segment.bytes" => self.segment_bytes.to_string(),
            "segment.index.bytes" => self.segment_index_bytes.to_string(),
            "segment.jitter.ms" => self.segment_jitter_ms.to_string(),
            "segment.ms" => self.segment_ms.to_string(),
            "unclean.leader.election.enable" => self.unclean_leader_election_enable.to_string(),
            _ => return None,
        })
    }
}

fn boolean(value: &str) -> Result<bool, String> {
    match value.trim().to_ascii_lowercase().as_str() {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err("true or false".to_owned()),
    }
}

fn cleanup_policy(value: &str) -> Result<CleanupPolicy, String> {
    let mut policy = CleanupPolicy {
        delete: false,
        compact: false,
    };
    for name in value
        .split(',')
        .map(str::trim)
        .filter(|name| !name.is_empty())
    {
        match name {
            "delete" => policy.delete = true,
            "compact" => policy.compact = true,
            _ => return Err("delete, compact or both with a comma".to_owned()),
        }
    }
    Ok(policy)
}

fn compression(value: &str) -> Result<Option<Compression>, String> {
    match value.trim() {
        "producer" => Ok(None),
        "uncompressed" => Ok(Some(Compression::None)),
        "none" => Err(compression_names()),
        name => name.parse().map(Some).map_err(|_| compression_names()),
    }
}

fn compression_names() -> String {
    "one of uncompressed, gzip, snappy, lz4, zstd, producer".to_owned()
}

fn timestamp_type(value: &str) -> Result<TimestampType, String> {
    match value.trim() {
        "CreateTime" => Ok(TimestampType::CreateTime),
        "LogAppendTime" => Ok(TimestampType::LogAppendTime),
        _ => Err("CreateTime or LogAppendTime".to_owned()),
    }
}

/// Settings of all logs on a node.
#[derive(Debug, Clone)]
pub struct LogOptions {
    /// What a topic gets that has no configuration of its own.
    pub defaults: LogConfig,
    /// Pause between two looks for segments to delete (`log.retention.check.interval.ms`).
    pub retention_check_ms: u64,
    /// Pause between two looks for logs to compact (`log.cleaner.backoff.ms`).
    pub cleaner_backoff_ms: u64,
    /// Whether logs are compacted at all (`log.cleaner.enable`).
    pub cleaner_enable: bool,
    /// Memory for one compaction's map of keys (`log.cleaner.dedupe.buffer.size`).
    pub cleaner_dedupe_bytes: usize,
    /// Pause between two checkpoints of what is durable (`log.flush.offset.checkpoint.interval.ms`); what is not
    /// durable yet is flushed then, which bounds what a restart after a crash has to read.
    pub flush_checkpoint_ms: u64,
    /// Pause between two looks for logs whose `flush.ms` has passed (`log.flush.scheduler.interval.ms`).
    pub flush_scheduler_ms: u64,
    /// Pause between two checkpoints of the high watermarks (`replica.high.watermark.checkpoint.interval.ms`).
    pub high_watermark_checkpoint_ms: u64,
    /// Idempotent producers that are silent for so long are forgotten (`producer.id.expiration.ms`).
    pub producer_id_expiration_ms: i64,
    /// Largest block that a compressed batch may grow to when it is checked or compacted.
    pub decompressed_bytes_max: usize,
}

impl Default for LogOptions {
    fn default() -> Self {
        Self {
            defaults: LogConfig::default(),
            retention_check_ms: 300_000,
            cleaner_backoff_ms: 15_000,
            cleaner_enable: true,
            cleaner_dedupe_bytes: 16 << 20,
            flush_checkpoint_ms: 60_000,
            flush_scheduler_ms: 1000,
            high_watermark_checkpoint_ms: 5000,
            producer_id_expiration_ms: 86_400_000,
            decompressed_bytes_max: 128 << 20,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_can_be_set_again() {
        let shown: BTreeMap<_, _> = [
            "cleanup.policy",
            "compression.type",
            "min.cleanable.dirty.ratio",
            "retention.ms",
        ]
        .map(|key| (key.to_owned(), LogConfig::default().get(key).unwrap()))
        .into();
        assert_eq!(
            LogConfig::parse(&shown, &LogConfig::default()).unwrap(),
            LogConfig::default()
        );
    }

    #[test]
    fn every_mistake_is_named_at_once() {
        let text: BTreeMap<_, _> = [
            ("retention.ms", "soon"),
            ("cleanup.policy", "compact,shred"),
            ("retention.mss", "1"),
        ]
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .into();
        let problems = LogConfig::parse(&text, &LogConfig::default()).unwrap_err();
        let messages: Vec<_> = problems
            .iter()
            .map(|problem| problem.message.as_str())
            .collect();
        assert_eq!(
            messages,
            [
                "invalid value \"compact,shred\" for configuration \"cleanup.policy\"; expected delete, compact or both with a comma",
                "invalid value \"soon\" for configuration \"retention.ms\"; expected a number from -1 to 9223372036854775807",
                "unknown topic configuration \"retention.mss\"; it does not exist or has no effect here, remove it",
            ]
        );
    }
}
