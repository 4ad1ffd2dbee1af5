//! The keys a topic can be configured with. Every one of them has an effect; a key that is not
//! here is refused, so that nobody relies on a setting that does nothing.

use super::definition::{BOOLEAN, Definition, Kind, LIST, choice, int, long};

/// Values of `compression.type`.
pub(crate) const COMPRESSION_TYPES: &[&str] =
    &["uncompressed", "zstd", "lz4", "snappy", "gzip", "producer"];

/// Values of `cleanup.policy`.
pub(crate) const CLEANUP_POLICIES: &[&str] = &["compact", "delete"];

/// All keys of a topic, in alphabetical order, with the broker's key each falls back to.
pub(crate) static TOPIC_KEYS: &[Definition] = &[
    Definition::new(
        "cleanup.policy",
        Kind::List { choices: CLEANUP_POLICIES },
        Some("delete"),
        "What happens to old records: delete drops whole segments past the retention, compact keeps the newest record of each key.",
    )
    .falls_back_to(&["log.cleanup.policy"]),
    Definition::new(
        "compression.type",
        choice(COMPRESSION_TYPES),
        Some("producer"),
        "The codec records are stored with; producer keeps what the producer sent.",
    )
    .falls_back_to(&["compression.type"]),
    Definition::new(
        "delete.retention.ms",
        long(0),
        Some("86400000"),
        "How long compaction keeps a tombstone, in milliseconds.",
    )
    .falls_back_to(&["log.cleaner.delete.retention.ms"]),
    Definition::new(
        "file.delete.delay.ms",
        long(0),
        Some("60000"),
        "How long a file stays on disk after it left the log, in milliseconds.",
    )
    .falls_back_to(&["log.segment.delete.delay.ms"]),
    Definition::new(
        "flush.messages",
        long(1),
        Some("9223372036854775807"),
        "Records after which the log is flushed to disk.",
    )
    .falls_back_to(&["log.flush.interval.messages"]),
    Definition::new(
        "flush.ms",
        long(0),
        Some("9223372036854775807"),
        "Milliseconds after which written records are flushed to disk.",
    )
    .falls_back_to(&["log.flush.interval.ms", "log.flush.scheduler.interval.ms"]),
    Definition::new(
        FOLLOWER_THROTTLED,
        LIST,
        Some(""),
        "Replicas that follow at no more than follower.replication.throttled.rate, as partition:broker, or * for all.",
    ),
    Definition::new(
        "index.interval.bytes",
        int(0),
        Some("4096"),
        "Bytes of records between two entries of the offset index.",
    )
    .falls_back_to(&["log.index.interval.bytes"]),
    Definition::new(
        LEADER_THROTTLED,
        LIST,
        Some(""),
        "Replicas that are copied from at no more than leader.replication.throttled.rate, as partition:broker, or * for all.",
    ),
    Definition::new(
        "max.compaction.lag.ms",
        long(1),
        Some("9223372036854775807"),
        "The longest a record stays out of compaction, in milliseconds.",
    )
    .falls_back_to(&["log.cleaner.max.compaction.lag.ms"]),
    Definition::new(
        "max.message.bytes",
        int(0),
        Some("1048588"),
        "The largest record batch, after compression, in bytes.",
    )
    .falls_back_to(&["message.max.bytes"]),
    Definition::new(
        "message.timestamp.after.max.ms",
        long(0),
        Some("3600000"),
        "How far a record's timestamp may be ahead of the broker's clock, in milliseconds.",
    )
    .falls_back_to(&["log.message.timestamp.after.max.ms"]),
    Definition::new(
        "message.timestamp.before.max.ms",
        long(0),
        Some("9223372036854775807"),
        "How far a record's timestamp may be behind the broker's clock, in milliseconds.",
    )
    .falls_back_to(&["log.message.timestamp.before.max.ms"]),
    Definition::new(
        "message.timestamp.type",
        choice(&["CreateTime", "LogAppendTime"]),
        Some("CreateTime"),
        "Whether a record keeps its producer's timestamp or gets the time it was appended.",
    )
    .falls_back_to(&["log.message.timestamp.type"]),
    Definition::new(
        "min.cleanable.dirty.ratio",
        Kind::Double { min: 0.0, max: 1.0 },
        Some("0.5"),
        "The part of a log that must be uncompacted before compaction starts.",
    )
    .falls_back_to(&["log.cleaner.min.cleanable.ratio"]),
    Definition::new(
        "min.compaction.lag.ms",
        long(0),
        Some("0"),
        "The shortest a record stays out of compaction, in milliseconds.",
    )
    .falls_back_to(&["log.cleaner.min.compaction.lag.ms"]),
    Definition::new(
        "min.insync.replicas",
        int(1),
        Some("1"),
        "In-sync replicas that must exist for a write with acks=all to be accepted.",
    )
    .falls_back_to(&["min.insync.replicas"]),
    Definition::new(
        "preallocate",
        BOOLEAN,
        Some("false"),
        "Whether a new segment gets its full size on disk at once.",
    )
    .falls_back_to(&["log.preallocate"]),
    Definition::new(
        "retention.bytes",
        long(-1),
        Some("-1"),
        "Bytes of a partition above which its oldest segments are deleted; -1 is no limit.",
    )
    .falls_back_to(&["log.retention.bytes"]),
    Definition::new(
        "retention.ms",
        long(-1),
        Some("604800000"),
        "Milliseconds after which records are deleted; -1 is never.",
    )
    .falls_back_to(&["log.retention.ms", "log.retention.minutes", "log.retention.hours"]),
    Definition::new(
        "segment.bytes",
        int(SEGMENT_BYTES_MIN),
        Some("1073741824"),
        "The size of a segment file, in bytes.",
    )
    .falls_back_to(&["log.segment.bytes"]),
    Definition::new(
        "segment.index.bytes",
        int(4),
        Some("10485760"),
        "The size of an index file, in bytes.",
    )
    .falls_back_to(&["log.index.size.max.bytes"]),
    Definition::new(
        "segment.jitter.ms",
        long(0),
        Some("0"),
        "The most by which segment.ms is shortened at random, so that segments do not roll together.",
    )
    .falls_back_to(&["log.roll.jitter.ms", "log.roll.jitter.hours"]),
    Definition::new(
        "segment.ms",
        long(1),
        Some("604800000"),
        "Milliseconds after which a segment is closed even if it is not full.",
    )
    .falls_back_to(&["log.roll.ms", "log.roll.hours"]),
    Definition::new(
        UNCLEAN_ELECTION,
        BOOLEAN,
        Some("false"),
        "Whether a replica that is not in sync may become leader when no other is left, losing records.",
    )
    .falls_back_to(&["unclean.leader.election.enable"]),
];

/// Which replicas follow slowly.
pub(crate) const FOLLOWER_THROTTLED: &str = "follower.replication.throttled.replicas";
/// Which replicas are copied from slowly.
pub(crate) const LEADER_THROTTLED: &str = "leader.replication.throttled.replicas";
/// Whether an election may lose records.
pub(crate) const UNCLEAN_ELECTION: &str = "unclean.leader.election.enable";

/// Whether the key is about the topic in its cluster, so that its logs do not know it.
pub(crate) fn is_about_cluster(key: &str) -> bool {
    [FOLLOWER_THROTTLED, LEADER_THROTTLED, UNCLEAN_ELECTION].contains(&key)
}

/// The smallest segment: smaller ones would cost a file for a handful of batches.
pub(crate) const SEGMENT_BYTES_MIN: i32 = 1024;

/// The definition of a topic's key.
pub(crate) fn topic_key(name: &str) -> Option<&'static Definition> {
    TOPIC_KEYS
        .binary_search_by_key(&name, |definition| definition.name)
        .ok()
        .and_then(|index| TOPIC_KEYS.get(index))
}

#[cfg(test)]
mod tests {
    use super::super::broker_keys::broker_key;
    use super::*;
    use crate::log::LogConfig;

    #[test]
    fn keys_are_sorted_and_fall_back_to_keys_that_exist() {
        assert!(
            TOPIC_KEYS
                .windows(2)
                .all(|pair| pair[0].name < pair[1].name)
        );
        for key in TOPIC_KEYS {
            assert_eq!(topic_key(key.name).unwrap().name, key.name);
            for name in key.falls_back_to {
                assert!(broker_key(name).is_some(), "{name}");
            }
            if let Some(default) = key.default {
                assert_eq!(key.kind.check(default), Ok(()), "{}", key.name);
            }
        }
    }

    #[test]
    fn every_key_is_one_the_log_obeys_with_the_same_default() {
        let defaults = TOPIC_KEYS
            .iter()
            .filter(|key| !is_about_cluster(key.name))
            .filter_map(|key| Some((key.name.to_owned(), key.default?.to_owned())))
            .collect();
        let obeyed = LogConfig::default();
        assert_eq!(LogConfig::parse(&defaults, &obeyed), Ok(obeyed));
    }
}
