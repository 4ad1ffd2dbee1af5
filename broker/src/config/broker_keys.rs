//! The keys of a broker's `server.properties`.

use super::definition::{BOOLEAN, Definition, Kind, LIST, TEXT, choice, int, long};
use super::topic::{CLEANUP_POLICIES, COMPRESSION_TYPES, SEGMENT_BYTES_MIN, TOPIC_KEYS};

const FOREVER: Option<&str> = Some("9223372036854775807");
const I32_MAX: Option<&str> = Some("2147483647");

/// All keys of a broker, in alphabetical order.
pub(crate) static BROKER_KEYS: &[Definition] = &[
    Definition::new(
        "advertised.listeners",
        LIST,
        None,
        "The addresses clients are told to connect to; without it, each client is told the address it reached.",
    ),
    Definition::new(
        "auto.create.topics.enable",
        BOOLEAN,
        Some("true"),
        "Whether a topic is created when a client first asks for it.",
    ),
    Definition::new(
        "auto.leader.rebalance.enable",
        BOOLEAN,
        Some("true"),
        "Whether leadership is moved back to preferred replicas.",
    ),
    Definition::new(
        "background.threads",
        int(1),
        Some("10"),
        "Threads for background work.",
    )
    .without_effect(),
    Definition::new(
        "broker.heartbeat.interval.ms",
        int(1),
        Some("500"),
        "How often a broker tells the controller that it is there, in milliseconds.",
    ),
    Definition::new("broker.id", int(-1), None, "The older name of node.id."),
    Definition::new(
        "broker.rack",
        TEXT,
        None,
        "The rack or zone of this broker, which clients are told.",
    ),
    Definition::new(
        "broker.session.timeout.ms",
        int(1),
        Some("3000"),
        "How long a silent broker is taken to be there, in milliseconds; others lead by then.",
    ),
    Definition::new(
        "cluster.id",
        TEXT,
        None,
        "The cluster this broker belongs to; a data folder of another cluster is refused.",
    ),
    Definition::new(
        "compression.type",
        choice(COMPRESSION_TYPES),
        Some("producer"),
        "The codec records are stored with; producer keeps what the producer sent.",
    ),
    Definition::new(
        "connections.max.idle.ms",
        long(0),
        Some("600000"),
        "Milliseconds after which a connection without a request is closed.",
    ),
    Definition::new(
        "controlled.shutdown.enable",
        BOOLEAN,
        Some("true"),
        "Whether a broker that stops hands its leaders over first.",
    ),
    Definition::new(
        "controller.listener.names",
        LIST,
        None,
        "Listeners for the other brokers, which clients are not told of.",
    ),
    Definition::new(
        "controller.quorum.bootstrap.servers",
        LIST,
        None,
        "Brokers of the cluster to find it by, as host:port; the first one founds it. Without it, a broker with an empty folder is a cluster of its own.",
    ),
    Definition::new(
        "controller.quorum.election.timeout.ms",
        int(10),
        Some("1000"),
        "How long a voter waits for the leader of the metadata quorum before it wants an election, at least, in milliseconds.",
    ),
    Definition::new(
        "controller.quorum.voters",
        LIST,
        None,
        "The voters of the controller quorum.",
    )
    .without_effect(),
    Definition::new(
        "controller.quorum.voters.max",
        int(1),
        Some("3"),
        "The most brokers that vote in the metadata quorum; the number of voters is always odd.",
    ),
    Definition::new(
        "default.replication.factor",
        Kind::Int { min: 1, max: 32767 },
        Some("1"),
        "Replicas of a topic that is created without saying how many.",
    ),
    Definition::new(
        "delete.topic.enable",
        BOOLEAN,
        Some("true"),
        "Whether topics can be deleted.",
    ),
    Definition::new(
        "fetch.max.bytes",
        int(1024),
        Some("57671680"),
        "The most bytes of records in one fetch response.",
    ),
    Definition::new(
        "fetch.purgatory.purge.interval.requests",
        int(1),
        Some("1000"),
        "Tuning of waiting fetches.",
    )
    .without_effect(),
    Definition::new(
        "follower.replication.throttled.rate",
        long(1),
        FOREVER,
        "Bytes per second at which throttled replicas are copied to this broker.",
    ),
    Definition::new(
        "group.initial.rebalance.delay.ms",
        int(0),
        Some("3000"),
        "How long the first rebalance of a new group waits for more members, in milliseconds.",
    ),
    Definition::new(
        "group.max.session.timeout.ms",
        int(1),
        Some("1800000"),
        "The longest session timeout a group member may ask for, in milliseconds.",
    ),
    Definition::new(
        "group.max.size",
        int(1),
        I32_MAX,
        "Members a group may have.",
    ),
    Definition::new(
        "group.min.session.timeout.ms",
        int(1),
        Some("6000"),
        "The shortest session timeout a group member may ask for, in milliseconds.",
    ),
    Definition::new(
        "inter.broker.listener.name",
        TEXT,
        None,
        "The listener brokers use among themselves; the first one if not set.",
    ),
    Definition::new(
        "leader.imbalance.check.interval.seconds",
        long(1),
        Some("300"),
        "How often leaders that are not preferred are looked for, in seconds.",
    ),
    Definition::new(
        "leader.imbalance.per.broker.percentage",
        int(0),
        Some("10"),
        "The part of partitions a broker may lead without being preferred, in percent, before leaders are moved back.",
    ),
    Definition::new(
        "leader.replication.throttled.rate",
        long(1),
        FOREVER,
        "Bytes per second at which throttled replicas are copied from this broker.",
    ),
    Definition::new(
        "listener.security.protocol.map",
        LIST,
        None,
        "The security protocol of each listener name.",
    )
    .without_effect(),
    Definition::new(
        "listeners",
        LIST,
        Some("PLAINTEXT://127.0.0.1:9092"),
        "The addresses to listen on.",
    ),
    Definition::new(
        "log.cleaner.backoff.ms",
        long(1),
        Some("15000"),
        "How often logs are looked at for compaction, in milliseconds.",
    ),
    Definition::new(
        "log.cleaner.dedupe.buffer.size",
        long(65536),
        Some("16777216"),
        "Memory for the keys of one compaction, in bytes.",
    ),
    Definition::new(
        "log.cleaner.delete.retention.ms",
        long(0),
        Some("86400000"),
        "How long compaction keeps a tombstone, in milliseconds.",
    ),
    Definition::new(
        "log.cleaner.enable",
        BOOLEAN,
        Some("true"),
        "Whether compaction runs.",
    ),
    Definition::new(
        "log.cleaner.max.compaction.lag.ms",
        long(1),
        FOREVER,
        "The longest a record stays out of compaction, in milliseconds.",
    ),
    Definition::new(
        "log.cleaner.min.cleanable.ratio",
        Kind::Double { min: 0.0, max: 1.0 },
        Some("0.5"),
        "The part of a log that must be uncompacted before compaction starts.",
    ),
    Definition::new(
        "log.cleaner.min.compaction.lag.ms",
        long(0),
        Some("0"),
        "The shortest a record stays out of compaction, in milliseconds.",
    ),
    Definition::new(
        "log.cleanup.policy",
        Kind::List {
            choices: CLEANUP_POLICIES,
        },
        Some("delete"),
        "What happens to old records.",
    ),
    Definition::new(
        "log.dir",
        TEXT,
        Some("data/broker"),
        "The data folder, when log.dirs is not set.",
    ),
    Definition::new("log.dirs", LIST, None, "The data folders."),
    Definition::new(
        "log.flush.interval.messages",
        long(1),
        FOREVER,
        "Records after which a log is flushed to disk.",
    ),
    Definition::new(
        "log.flush.interval.ms",
        long(0),
        None,
        "Milliseconds after which written records are flushed to disk.",
    ),
    Definition::new(
        "log.flush.offset.checkpoint.interval.ms",
        int(0),
        Some("60000"),
        "How often the point up to which logs are flushed is written down, in milliseconds.",
    ),
    Definition::new(
        "log.flush.scheduler.interval.ms",
        long(0),
        FOREVER,
        "How often logs are looked at for flushing, in milliseconds.",
    ),
    Definition::new(
        "log.index.interval.bytes",
        int(0),
        Some("4096"),
        "Bytes of records between two entries of the offset index.",
    ),
    Definition::new(
        "log.index.size.max.bytes",
        int(4),
        Some("10485760"),
        "The size of an index file, in bytes.",
    ),
    Definition::new(
        "log.message.timestamp.after.max.ms",
        long(0),
        Some("3600000"),
        "How far a record's timestamp may be ahead of the broker's clock, in milliseconds.",
    ),
    Definition::new(
        "log.message.timestamp.before.max.ms",
        long(0),
        FOREVER,
        "How far a record's timestamp may be behind the broker's clock, in milliseconds.",
    ),
    Definition::new(
        "log.message.timestamp.type",
        choice(&["CreateTime", "LogAppendTime"]),
        Some("CreateTime"),
        "Whether a record keeps its producer's timestamp or gets the time it was appended.",
    ),
    Definition::new(
        "log.preallocate",
        BOOLEAN,
        Some("false"),
        "Whether a new segment gets its full size on disk at once.",
    ),
    Definition::new(
        "log.retention.bytes",
        long(-1),
        Some("-1"),
        "Bytes of a partition above which its oldest segments are deleted; -1 is no limit.",
    ),
    Definition::new(
        "log.retention.check.interval.ms",
        long(1),
        Some("300000"),
        "How often the retention is applied, in milliseconds.",
    ),
    Definition::new(
        "log.retention.hours",
        int(-1),
        Some("168"),
        "Hours after which records are deleted; -1 is never.",
    ),
    Definition::new(
        "log.retention.minutes",
        int(-1),
        None,
        "Minutes after which records are deleted; -1 is never.",
    ),
    Definition::new(
        "log.retention.ms",
        long(-1),
        None,
        "Milliseconds after which records are deleted; -1 is never.",
    ),
    Definition::new(
        "log.roll.hours",
        int(1),
        Some("168"),
        "Hours after which a segment is closed even if it is not full.",
    ),
    Definition::new(
        "log.roll.jitter.hours",
        int(0),
        Some("0"),
        "The most by which log.roll.hours is shortened at random.",
    ),
    Definition::new(
        "log.roll.jitter.ms",
        long(0),
        None,
        "The most by which log.roll.ms is shortened at random.",
    ),
    Definition::new(
        "log.roll.ms",
        long(1),
        None,
        "Milliseconds after which a segment is closed even if it is not full.",
    ),
    Definition::new(
        "log.segment.bytes",
        int(SEGMENT_BYTES_MIN),
        Some("1073741824"),
        "The size of a segment file, in bytes.",
    ),
    Definition::new(
        "log.segment.delete.delay.ms",
        long(0),
        Some("60000"),
        "How long a file stays on disk after it left the log, in milliseconds.",
    ),
    Definition::new("max.connections", int(0), I32_MAX, "Connections at a time."),
    Definition::new(
        "max.connections.per.ip",
        int(0),
        I32_MAX,
        "Connections at a time from one address.",
    ),
    Definition::new(
        "max.incremental.fetch.session.cache.slots",
        int(0),
        Some("1000"),
        "Incremental fetch sessions that are remembered.",
    ),
    Definition::new(
        "message.max.bytes",
        int(0),
        Some("1048588"),
        "The largest record batch, after compression, in bytes.",
    ),
    Definition::new(
        "min.insync.replicas",
        int(1),
        Some("1"),
        "In-sync replicas that must exist for a write with acks=all to be accepted.",
    ),
    Definition::new(
        "node.id",
        int(0),
        Some("0"),
        "The number of this broker in its cluster.",
    )
    .falls_back_to(&["broker.id"]),
    Definition::new("num.io.threads", int(1), Some("8"), "Threads for requests.").without_effect(),
    Definition::new(
        "num.network.threads",
        int(1),
        Some("3"),
        "Threads for the network.",
    )
    .without_effect(),
    Definition::new(
        "num.partitions",
        int(1),
        Some("1"),
        "Partitions of a topic that is created without saying how many.",
    ),
    Definition::new(
        "num.recovery.threads.per.data.dir",
        int(1),
        Some("2"),
        "Threads that recover logs at start.",
    )
    .without_effect(),
    Definition::new(
        "num.replica.fetchers",
        int(1),
        Some("1"),
        "Fetchers per leader that this broker copies from.",
    ),
    Definition::new(
        "offset.metadata.max.bytes",
        int(0),
        Some("4096"),
        "The longest text that may be committed with an offset, in bytes.",
    ),
    Definition::new(
        "offsets.retention.check.interval.ms",
        long(1),
        Some("600000"),
        "How often expired offsets are looked for, in milliseconds.",
    ),
    Definition::new(
        "offsets.retention.minutes",
        int(1),
        Some("10080"),
        "How long the offsets of an empty group are kept, in minutes.",
    ),
    Definition::new(
        "offsets.topic.compression.codec",
        Kind::Int { min: 0, max: 4 },
        Some("0"),
        "The codec of __consumer_offsets: 0 none, 1 gzip, 2 snappy, 3 lz4, 4 zstd.",
    ),
    Definition::new(
        "offsets.topic.num.partitions",
        int(1),
        Some("50"),
        "Partitions of __consumer_offsets; cannot be changed once it exists.",
    ),
    Definition::new(
        "offsets.topic.replication.factor",
        Kind::Int { min: 1, max: 32767 },
        Some("3"),
        "Replicas of __consumer_offsets, as far as there are brokers; more are made as brokers join.",
    ),
    Definition::new(
        "offsets.topic.segment.bytes",
        int(SEGMENT_BYTES_MIN),
        Some("104857600"),
        "The size of a segment file of __consumer_offsets, in bytes.",
    ),
    Definition::new("process.roles", LIST, None, "Broker, controller, or both.").without_effect(),
    Definition::new(
        "producer.id.expiration.ms",
        int(1),
        Some("86400000"),
        "How long a producer that is silent is remembered, in milliseconds.",
    ),
    Definition::new(
        "queued.max.request.bytes",
        long(-1),
        Some("268435456"),
        "Bytes of requests that wait to be handled above which no more are read; -1 is no limit.",
    ),
    Definition::new(
        "queued.max.requests",
        int(1),
        Some("500"),
        "Requests that may wait on all connections.",
    )
    .without_effect(),
    Definition::new(
        MOVING_RATE,
        long(1),
        FOREVER,
        "Bytes per second at which replicas move between the folders of a broker, which they do not here.",
    )
    .without_effect(),
    Definition::new(
        "replica.fetch.backoff.ms",
        int(0),
        Some("1000"),
        "How long a partition that could not be copied rests, in milliseconds.",
    ),
    Definition::new(
        "replica.fetch.max.bytes",
        int(0),
        Some("1048576"),
        "Bytes of one partition that a follower asks for at once; a larger batch is copied all the same.",
    ),
    Definition::new(
        "replica.fetch.min.bytes",
        int(1),
        Some("1"),
        "Bytes a follower waits for.",
    ),
    Definition::new(
        "replica.fetch.response.max.bytes",
        int(0),
        Some("10485760"),
        "Bytes of all partitions that a follower asks for at once.",
    ),
    Definition::new(
        "replica.fetch.wait.max.ms",
        int(0),
        Some("500"),
        "How long a follower waits for records, in milliseconds.",
    ),
    Definition::new(
        "replica.high.watermark.checkpoint.interval.ms",
        long(1),
        Some("5000"),
        "How often high watermarks are written down, in milliseconds.",
    ),
    Definition::new(
        "replica.lag.time.max.ms",
        long(1),
        Some("30000"),
        "How long a replica may lag and count as in sync, in milliseconds.",
    ),
    Definition::new(
        "replica.socket.timeout.ms",
        int(1),
        Some("30000"),
        "How long a follower waits for an answer of a leader, in milliseconds.",
    ),
    Definition::new(
        "security.inter.broker.protocol",
        TEXT,
        Some("PLAINTEXT"),
        "The security protocol brokers use among themselves.",
    )
    .without_effect(),
    Definition::new(
        "socket.receive.buffer.bytes",
        int(-1),
        Some("102400"),
        "The socket's receive buffer, in bytes.",
    )
    .without_effect(),
    Definition::new(
        "socket.request.max.bytes",
        int(1024),
        Some("104857600"),
        "The largest request, in bytes.",
    ),
    Definition::new(
        "socket.send.buffer.bytes",
        int(-1),
        Some("102400"),
        "The socket's send buffer, in bytes.",
    )
    .without_effect(),
    Definition::new(
        "transaction.state.log.min.isr",
        int(1),
        Some("1"),
        "In-sync replicas of the transaction log.",
    )
    .without_effect(),
    Definition::new(
        "transaction.state.log.num.partitions",
        int(1),
        Some("50"),
        "Partitions of the transaction log.",
    )
    .without_effect(),
    Definition::new(
        "transaction.state.log.replication.factor",
        int(1),
        Some("1"),
        "Replicas of the transaction log.",
    )
    .without_effect(),
    Definition::new(
        "unclean.leader.election.enable",
        BOOLEAN,
        Some("false"),
        "Whether a replica that is not in sync may become leader when no other is left, losing records.",
    ),
];

/// The definition of a broker's key.
pub(crate) fn broker_key(name: &str) -> Option<&'static Definition> {
    BROKER_KEYS
        .binary_search_by_key(&name, |definition| definition.name)
        .ok()
        .and_then(|index| BROKER_KEYS.get(index))
}

/// Whether the key can be changed while the broker runs: what topics fall back to, and how fast
/// replicas are copied.
pub(crate) fn is_changeable(name: &str) -> bool {
    let inherited = || {
        TOPIC_KEYS
            .iter()
            .any(|topic| topic.falls_back_to.contains(&name))
    };
    [LEADER_RATE, FOLLOWER_RATE, MOVING_RATE].contains(&name) || inherited()
}

/// Bytes per second that throttled replicas get from this broker, ...
pub(crate) const LEADER_RATE: &str = "leader.replication.throttled.rate";
/// ... and that they take.
pub(crate) const FOLLOWER_RATE: &str = "follower.replication.throttled.rate";

/// Kafka's tools unset it together with the other two.
const MOVING_RATE: &str = "replica.alter.log.dirs.io.max.bytes.per.second";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_sorted_and_their_defaults_valid() {
        assert!(
            BROKER_KEYS
                .windows(2)
                .all(|pair| pair[0].name < pair[1].name)
        );
        for key in BROKER_KEYS {
            assert_eq!(broker_key(key.name).unwrap().name, key.name);
            if let Some(default) = key.default {
                assert_eq!(key.kind.check(default), Ok(()), "{}", key.name);
            }
        }
    }
}
