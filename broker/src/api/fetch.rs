//! Fetch (key 1): reads record batches, waiting for new ones if asked to.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use kafka_records::{BatchHeader, Compression};
use kafka_wire::fetch_response::{
    AbortedTransaction, EpochEndOffset, FetchableTopicResponse, LeaderIdAndEpoch, NodeEndpoint,
    PartitionData,
};
use kafka_wire::{FetchRequest, FetchResponse};
use kafka_wire_core::{ApiVersion, StrBytes};
use tokio::time::Instant;

use super::fetch_session::{Plan, Told, TopicKey, Wanted};
use super::leader::{Hints, led};
use super::message;
use crate::config::topic::LEADER_THROTTLED;
use crate::error_code;
use crate::node::{RequestContext, stopped};
use crate::replica::{FollowerFetch, Isolation, Partition};
use crate::replication::ThrottledReplicas;

pub(crate) const VERSIONS: (i16, i16) = (4, 18);

/// The first version that names topics by id.
pub(super) const TOPIC_IDS_SINCE: i16 = 13;
/// The first version whose client knows zstd.
const ZSTD_SINCE: i16 = 10;
/// The first version with sessions.
const SESSIONS_SINCE: i16 = 7;
/// The first version whose client understands where its log and the leader's part.
pub(super) const DIVERGENCE_SINCE: i16 = 12;
/// The first version that tells who leads instead.
pub(super) const LEADERS_SINCE: i16 = 16;
/// The first version in which a follower names itself by a tagged field.
const REPLICA_STATE_SINCE: i16 = 15;
/// The partition error codes a consumer understands; Java's gives up at any other.
const UNDERSTOOD: &[i16] = &[-1, 0, 1, 2, 3, 6, 9, 29, 56, 74, 75, 76, 78, 100, 103];

/// One partition's part of the answer.
struct Answer {
    wanted: Wanted,
    data: PartitionData,
}

impl Answer {
    fn record_bytes(&self) -> usize {
        self.data.records.as_ref().map_or(0, Bytes::len)
    }

    fn told(&self) -> Told {
        Told {
            high_watermark: self.data.high_watermark,
            log_start: self.data.log_start_offset,
        }
    }

    /// Whether the client must hear of it in any case.
    fn is_news(&self) -> bool {
        self.record_bytes() > 0 || self.is_final()
    }

    /// Whether waiting makes it no better: an error, or a follower that has to truncate.
    fn is_final(&self) -> bool {
        self.data.error_code != error_code::NONE || self.data.diverging_epoch.epoch >= 0
    }
}

pub(crate) async fn handle(
    ctx: &RequestContext,
    request: FetchRequest,
    version: ApiVersion,
) -> FetchResponse {
    let by_topic_id = version.value() >= TOPIC_IDS_SINCE;
    let sessions = &ctx.broker.fetch_sessions;
    let plan = if version.value() >= SESSIONS_SINCE {
        sessions.plan(&request, by_topic_id)
    } else {
        match sessions.plan(&request, by_topic_id) {
            Plan::Open(wanted) => Plan::Full(wanted),
            other => other,
        }
    };
    let reading = Reading {
        ctx,
        request: &request,
        version: version.value(),
        follower: follower(&request, version.value()),
    };
    let read = async |wanted| reading.answer(wanted).await;
    let mut response = match plan {
        Plan::Refused(code) => message!(FetchResponse { error_code: code }),
        Plan::Full(wanted) => respond(0, read(wanted).await),
        Plan::Open(wanted) => {
            let answers = read(wanted).await;
            let partitions = answers
                .iter()
                .map(|answer| (answer.wanted.clone(), answer.told()))
                .collect();
            respond(sessions.open(partitions, by_topic_id), answers)
        }
        Plan::Incremental { id, wanted } => {
            let answers = read(wanted).await;
            let news: Vec<(Wanted, Told, bool)> = answers
                .iter()
                .map(|answer| (answer.wanted.clone(), answer.told(), answer.is_news()))
                .collect();
            let changed = sessions.changed(id, &news);
            let answers = answers
                .into_iter()
                .zip(changed)
                .filter_map(|(answer, changed)| changed.then_some(answer))
                .collect();
            respond(id, answers)
        }
    };
    if version.value() >= LEADERS_SINCE {
        name_leaders(ctx, &mut response);
    }
    response
}

/// The follower that asks and the epoch of its registration; `None` for a consumer.
fn follower(request: &FetchRequest, version: i16) -> Option<(i32, i64)> {
    let (id, epoch) = if version >= REPLICA_STATE_SINCE {
        let state = &request.replica_state;
        (state.replica_id, state.replica_epoch)
    } else {
        (request.replica_id, -1)
    };
    (id >= 0).then_some((id, epoch))
}

/// Says who leads the partitions that this node does not.
fn name_leaders(ctx: &RequestContext, response: &mut FetchResponse) {
    let mut hints = Hints::default();
    let image = ctx.broker.controller.image();
    for topic in &mut response.responses {
        let known = image.topic_by_id(topic.topic_id.as_bytes());
        for partition in &mut topic.partitions {
            let (index, error) = (partition.partition_index, partition.error_code);
            let topic = known.map(|topic| &**topic);
            if let Some(leader) = hints.leader(ctx, &image, topic, index, error) {
                partition.current_leader = message!(LeaderIdAndEpoch {
                    leader_id: leader.id,
                    leader_epoch: leader.epoch,
                });
            }
        }
    }
    let nodes = hints.into_nodes().map(|node| {
        message!(NodeEndpoint {
            node_id: node.id,
            host: StrBytes::from(node.host),
            port: i32::from(node.port),
            rack: node.rack.map(StrBytes::from),
        })
    });
    response.node_endpoints = nodes.collect();
}

/// Groups the answers by topic, keeping their order.
fn respond(session_id: i32, answers: Vec<Answer>) -> FetchResponse {
    let mut responses: Vec<FetchableTopicResponse> = Vec::new();
    for Answer { wanted, data } in answers {
        let TopicKey { name, id } = wanted.topic;
        match responses.last_mut() {
            Some(last) if last.topic == name && last.topic_id == id => last.partitions.push(data),
            _ => responses.push(message!(FetchableTopicResponse {
                topic: name,
                topic_id: id,
                partitions: vec![data],
            })),
        }
    }
    message!(FetchResponse {
        session_id,
        responses,
    })
}

/// One request being answered.
struct Reading<'a> {
    ctx: &'a RequestContext,
    request: &'a FetchRequest,
    version: i16,
    /// Who copies, and the epoch of its registration; `None` for a consumer.
    follower: Option<(i32, i64)>,
}

/// A partition and the leader epoch in which it is read.
type Led = (Arc<Partition>, i32);

impl Reading<'_> {
    /// Reads all partitions; if there is too little, waits until there is enough or time is up.
    async fn answer(&self, wanted: Vec<Wanted>) -> Vec<Answer> {
        let wait = Duration::from_millis(u64::try_from(self.request.max_wait_ms).unwrap_or(0));
        let mut deadline = Instant::now() + wait;
        let mut stopping = self.ctx.broker.stopping.clone();
        let bytes_min = usize::try_from(self.request.min_bytes).unwrap_or(0);
        let mut diverging = Vec::new();
        let mut first = true;
        loop {
            let mut partitions: Vec<Result<Led, i16>> =
                wanted.iter().map(|wanted| self.find(wanted)).collect();
            // Subscribed before reading, so that nothing appended in between is missed.
            let mut appended: Vec<_> = partitions
                .iter()
                .flatten()
                .map(|(partition, _)| match self.follower {
                    Some(_) => partition.written(),
                    None => partition.appended(),
                })
                .collect();
            for receiver in &mut appended {
                receiver.mark_unchanged();
            }
            if std::mem::take(&mut first)
                && let Some(follower) = self.follower
            {
                diverging = note_progress(follower, &wanted, &mut partitions);
            }
            let answers = self.read_all(&wanted, partitions, &diverging).await;
            let bytes: usize = answers.iter().map(Answer::record_bytes).sum();
            let failed = answers.iter().any(Answer::is_final);
            if bytes >= bytes_min || failed || wanted.is_empty() || Instant::now() >= deadline {
                return answers;
            }
            drop(answers);
            let mut changes: FuturesUnordered<_> = appended
                .iter_mut()
                .map(|receiver| receiver.changed())
                .collect();
            tokio::select! {
                // A closed channel is a partition that is going away; reading again says so.
                _ = changes.next() => {}
                () = tokio::time::sleep_until(deadline) => {}
                () = stopped(&mut stopping) => deadline = Instant::now(),
            }
        }
    }

    fn find(&self, wanted: &Wanted) -> Result<Led, i16> {
        let image = self.ctx.broker.controller.image();
        let topic = if self.version >= TOPIC_IDS_SINCE {
            image
                .topic_by_id(wanted.topic.id.as_bytes())
                .ok_or(error_code::UNKNOWN_TOPIC_ID)?
        } else {
            image
                .topic(&wanted.topic.name)
                .ok_or(error_code::UNKNOWN_TOPIC_OR_PARTITION)?
        };
        led(self.ctx, topic, wanted.partition, wanted.leader_epoch)
    }

    async fn read_all(
        &self,
        wanted: &[Wanted],
        partitions: Vec<Result<Led, i16>>,
        diverging: &[Option<(i32, i64)>],
    ) -> Vec<Answer> {
        let mut left = usize::try_from(self.request.max_bytes)
            .unwrap_or(0)
            .min(self.ctx.broker.config.fetch_bytes_max)
            .min(self.ctx.broker.fetch_memory.room());
        // The first batch of an answer is given whatever its size, or a client whose limit is
        // smaller than one batch would never get on (KIP-74).
        let mut any = false;
        let mut answers = Vec::with_capacity(wanted.len());
        for (at, (wanted, partition)) in wanted.iter().zip(partitions).enumerate() {
            let data = match (partition, diverging.get(at).copied().flatten()) {
                (Ok((partition, _)), Some(diverging)) => diverges(wanted, &partition, diverging),
                (Ok(led), None) => self.read(wanted, &led, left, any).await,
                (Err(code), _) => self.failed(wanted, code),
            };
            let bytes = data.records.as_ref().map_or(0, Bytes::len);
            any |= bytes > 0;
            left = left.saturating_sub(bytes);
            answers.push(Answer {
                wanted: wanted.clone(),
                data,
            });
        }
        answers
    }

    async fn read(
        &self,
        wanted: &Wanted,
        (partition, epoch): &Led,
        left: usize,
        others_have_data: bool,
    ) -> PartitionData {
        let isolation = match self.follower {
            Some(_) => Isolation::LogEnd,
            None if self.request.isolation_level == 1 => Isolation::Committed,
            None => Isolation::Uncommitted,
        };
        partition.tell_time(Instant::now());
        let offsets = partition.offsets();
        let end = match isolation {
            Isolation::Committed => offsets.last_stable,
            Isolation::Uncommitted => offsets.high_watermark,
            Isolation::LogEnd => offsets.log_end,
        };
        if self.follower.is_none()
            && let Some(diverging) = self.consumer_diverges(wanted, partition)
        {
            return diverges(wanted, partition, diverging);
        }
        if wanted.fetch_offset < offsets.log_start || wanted.fetch_offset > offsets.log_end {
            let mut data = self.failed(wanted, error_code::OFFSET_OUT_OF_RANGE);
            data.log_start_offset = offsets.log_start;
            return data;
        }
        let mut data = message!(PartitionData {
            partition_index: wanted.partition,
            high_watermark: offsets.high_watermark,
            last_stable_offset: offsets.last_stable,
            log_start_offset: offsets.log_start,
            aborted_transactions: matches!(isolation, Isolation::Committed).then(Vec::new),
            records: Some(Bytes::new()),
        });
        let throttled = self.is_throttled(partition);
        let leader_throttle = &self.ctx.broker.leader_throttle;
        if throttled && leader_throttle.wait().is_some() {
            return data;
        }
        let bytes_max = wanted.bytes_max.min(left);
        if wanted.fetch_offset >= end || (others_have_data && bytes_max == 0) {
            return data;
        }
        let read = partition
            .read(wanted.fetch_offset, bytes_max, isolation)
            .await;
        // A deposed leader may have cut its log meanwhile.
        if let Err(code) = partition.leads(*epoch) {
            return self.failed(wanted, code);
        }
        let read = match read {
            Ok(read) => read,
            Err(error) => {
                tracing::debug!(topic = %partition.topic(), partition = wanted.partition, %error, "cannot read");
                let mut data = self.failed(wanted, error.code());
                data.log_start_offset = offsets.log_start;
                return data;
            }
        };
        data.high_watermark = read.high_watermark;
        data.last_stable_offset = read.last_stable_offset;
        data.log_start_offset = read.log_start_offset;
        if others_have_data && read.records.len() > left {
            // One batch that does not fit any more; it comes first another time.
            return data;
        }
        if self.version < ZSTD_SINCE && has_zstd(&read.records) {
            return self.failed(wanted, error_code::UNSUPPORTED_COMPRESSION_TYPE);
        }
        if let Some(aborted) = &mut data.aborted_transactions {
            aborted.extend(read.aborted.iter().map(|(producer_id, first_offset)| {
                message!(AbortedTransaction {
                    producer_id: *producer_id,
                    first_offset: *first_offset,
                })
            }));
        }
        if throttled {
            leader_throttle.copied(read.records.len());
        }
        data.records = Some(read.records);
        data
    }
}

impl Reading<'_> {
    /// Whether the follower that asks is one that catches up and may be held back for it (KIP-73).
    fn is_throttled(&self, partition: &Partition) -> bool {
        let node = &self.ctx.broker;
        let Some((follower, _)) = self.follower.filter(|_| node.leader_throttle.is_limited())
        else {
            return false;
        };
        let image = node.controller.image();
        let Some(topic) = image.topic_by_id(&partition.topic_id()) else {
            return false;
        };
        let index = partition.index();
        let in_sync = topic
            .partitions
            .get(&index)
            .is_some_and(|state| state.isr.contains(&follower));
        !in_sync
            && ThrottledReplicas::of(&topic.config, LEADER_THROTTLED)
                .contains(index, node.config.node_id)
    }

    /// Whether what a consumer read is not here any more (KIP-320).
    fn consumer_diverges(&self, wanted: &Wanted, partition: &Partition) -> Option<(i32, i64)> {
        if wanted.last_epoch < 0 || self.version < DIVERGENCE_SINCE {
            return None;
        }
        let (epoch, end) = partition.epoch_end_offset(wanted.last_epoch);
        let diverges = epoch >= 0 && (epoch < wanted.last_epoch || end < wanted.fetch_offset);
        diverges.then_some((epoch, end))
    }

    /// An answer with an error. Followers know all codes.
    fn failed(&self, wanted: &Wanted, code: i16) -> PartitionData {
        let error_code = if self.follower.is_some() || UNDERSTOOD.contains(&code) {
            code
        } else {
            error_code::UNKNOWN_SERVER_ERROR
        };
        message!(PartitionData {
            partition_index: wanted.partition,
            error_code,
            high_watermark: -1,
            last_stable_offset: -1,
            log_start_offset: -1,
            records: Some(Bytes::new()),
        })
    }
}

/// Notes how far the follower is with each partition, before anything is read. Answers from where on it has to truncate;
/// a partition of which it cannot be noted is not read.
fn note_progress(
    (broker, broker_epoch): (i32, i64),
    wanted: &[Wanted],
    partitions: &mut [Result<Led, i16>],
) -> Vec<Option<(i32, i64)>> {
    let now = Instant::now();
    let note = |(wanted, found): (&Wanted, &mut Result<Led, i16>)| {
        let (partition, epoch) = found.as_ref().ok()?;
        let fetch = FollowerFetch {
            broker,
            broker_epoch,
            offset: wanted.fetch_offset,
            log_start: wanted.log_start,
            last_epoch: wanted.last_epoch,
            leader_epoch: *epoch,
        };
        match partition.follower_fetched(fetch, now) {
            Ok(diverging) => diverging,
            // Reading says more about it.
            Err(error_code::OFFSET_OUT_OF_RANGE) => None,
            Err(code) => {
                *found = Err(code);
                None
            }
        }
    };
    wanted.iter().zip(partitions).map(note).collect()
}

/// The answer to a follower that has something else than the leader from an offset on.
fn diverges(
    wanted: &Wanted,
    partition: &Partition,
    (epoch, end_offset): (i32, i64),
) -> PartitionData {
    let offsets = partition.offsets();
    message!(PartitionData {
        partition_index: wanted.partition,
        high_watermark: offsets.high_watermark,
        last_stable_offset: offsets.last_stable,
        log_start_offset: offsets.log_start,
        diverging_epoch: message!(EpochEndOffset { epoch, end_offset }),
        records: Some(Bytes::new()),
    })
}

/// Whether any of the batches is compressed with zstd.
fn has_zstd(records: &[u8]) -> bool {
    let mut rest = records;
    while let Ok(header) = BatchHeader::parse(rest) {
        if matches!(header.compression(), Ok(Compression::Zstd)) {
            return true;
        }
        match rest.get(header.total_bytes()..) {
            Some(next) if !next.is_empty() => rest = next,
            _ => break,
        }
    }
    false
}
