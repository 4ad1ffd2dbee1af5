//! Fetch (key 1): reads record batches, waiting for new ones if asked to.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use kafka_records::{BatchHeader, Compression};
use kafka_wire::fetch_response::{
    AbortedTransaction, EpochEndOffset, FetchableTopicResponse, LeaderIdAndEpoch, NodeEndpoint,
    PartitionData,
};
use kafka_wire::{FetchRequest, FetchResponse, KafkaMessage};
use kafka_wire_core::{
    ApiVersion, EncodeError, Encoder, KafkaEncode, StrBytes, TaggedField, TaggedFields,
};
use tokio::time::Instant;

use super::fetch_session::{Plan, Told, TopicKey, Wanted};
use super::leader::{Hints, led};
use super::response::{LENGTH_BYTES, start};
use super::{Preamble, RequestError, Response, message};
use crate::error_code;
use crate::node::{RequestContext, stopped};
use crate::replica::{FollowerFetch, Isolation, Partition};

pub(crate) const VERSIONS: (i16, i16) = (4, 18);

/// The first version that names topics by id.
const TOPIC_IDS_SINCE: i16 = 13;
/// The first version whose client knows zstd.
const ZSTD_SINCE: i16 = 10;
/// The first version with sessions.
const SESSIONS_SINCE: i16 = 7;
/// The first version whose client understands where its log and the leader's part.
const DIVERGENCE_SINCE: i16 = 12;
/// The first version that tells who leads instead.
const LEADERS_SINCE: i16 = 16;
/// The first version in which a follower names itself by a tagged field.
const REPLICA_STATE_SINCE: i16 = 15;
/// Record data from this size on is written from where it was read, without a copy.
const SHARED_FROM_BYTES: usize = 4096;

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
        data.records = Some(read.records);
        data
    }
}

impl Reading<'_> {
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

/// Encodes a response in pieces, so that record data goes from the log's read buffer to the socket
/// without another copy. The same bytes as the generated encoder, which a test checks.
pub(super) fn encode(header: &Preamble, response: FetchResponse) -> Result<Response, RequestError> {
    let pieces = Pieces {
        done: Vec::new(),
        done_bytes: 0,
        current: BytesMut::new(),
        version: header.api_version,
        flexible: FetchResponse::is_flexible(ApiVersion::new(header.api_version)),
    };
    pieces
        .encode(header, response)
        .map_err(|source| RequestError::Unencodable {
            api: FetchResponse::NAME,
            version: header.api_version,
            source,
        })
        .and_then(|pieces| {
            let mut all = pieces.done;
            let length = pieces.done_bytes + pieces.current.len() - LENGTH_BYTES;
            if all.is_empty() {
                return Response::finish(Vec::new(), pieces.current, length);
            }
            if !pieces.current.is_empty() {
                all.push(pieces.current.freeze());
            }
            let first = BytesMut::from(all.remove(0));
            Response::finish(all, first, length)
        })
}

struct Pieces {
    done: Vec<Bytes>,
    done_bytes: usize,
    current: BytesMut,
    version: i16,
    flexible: bool,
}

impl Pieces {
    fn encode(mut self, header: &Preamble, response: FetchResponse) -> Result<Self, EncodeError> {
        start(&mut self.current, header, self.flexible);
        let (version, flexible) = (self.version, self.flexible);
        let mut encoder = Encoder::new(&mut self.current);
        encoder.write_i32(response.throttle_time_ms)?;
        if version >= 7 {
            encoder.write_i16(response.error_code)?;
            encoder.write_i32(response.session_id)?;
        }
        write_array_len(&mut encoder, flexible, response.responses.len())?;
        for topic in response.responses {
            let mut encoder = Encoder::new(&mut self.current);
            if version >= TOPIC_IDS_SINCE {
                encoder.write_uuid(topic.topic_id)?;
            } else if flexible {
                encoder.write_compact_string(&topic.topic)?;
            } else {
                encoder.write_string(&topic.topic)?;
            }
            write_array_len(&mut encoder, flexible, topic.partitions.len())?;
            for partition in topic.partitions {
                self.partition(partition)?;
            }
            self.end_struct(TaggedFields::default())?;
        }
        let tags = self.nodes(&response.node_endpoints)?;
        self.end_struct(tags)?;
        Ok(self)
    }

    fn nodes(&self, nodes: &[NodeEndpoint]) -> Result<TaggedFields, EncodeError> {
        if nodes.is_empty() {
            return Ok(TaggedFields::default());
        }
        let mut list = BytesMut::new();
        let mut encoder = Encoder::new(&mut list);
        encoder.write_compact_array_len(nodes.len())?;
        for node in nodes {
            node.encode(&mut encoder, ApiVersion::new(self.version))?;
        }
        tagged(vec![TaggedField::new(NODES_TAG, list.freeze())])
    }

    /// What an answer says only if there is something to say.
    fn tags_of(&self, data: &PartitionData) -> Result<TaggedFields, EncodeError> {
        let version = ApiVersion::new(self.version);
        let mut tags = Vec::new();
        if data.diverging_epoch != EpochEndOffset::default() {
            tags.push(tag(DIVERGING_EPOCH_TAG, &data.diverging_epoch, version)?);
        }
        if data.current_leader != LeaderIdAndEpoch::default() {
            tags.push(tag(CURRENT_LEADER_TAG, &data.current_leader, version)?);
        }
        if tags.is_empty() {
            return Ok(TaggedFields::default());
        }
        tagged(tags)
    }

    fn partition(&mut self, data: PartitionData) -> Result<(), EncodeError> {
        let flexible = self.flexible;
        let tags = self.tags_of(&data)?;
        let mut encoder = Encoder::new(&mut self.current);
        encoder.write_i32(data.partition_index)?;
        encoder.write_i16(data.error_code)?;
        encoder.write_i64(data.high_watermark)?;
        encoder.write_i64(data.last_stable_offset)?;
        if self.version >= 5 {
            encoder.write_i64(data.log_start_offset)?;
        }
        let aborted = data.aborted_transactions.as_deref();
        match (flexible, aborted) {
            (true, None) => encoder.write_unsigned_varint(0)?,
            (false, None) => encoder.write_i32(-1)?,
            (_, Some(aborted)) => write_array_len(&mut encoder, flexible, aborted.len())?,
        }
        for transaction in aborted.unwrap_or_default() {
            encoder.write_i64(transaction.producer_id)?;
            encoder.write_i64(transaction.first_offset)?;
            if flexible {
                encoder.write_tagged_fields(&TaggedFields::default())?;
            }
        }
        if self.version >= 11 {
            encoder.write_i32(data.preferred_read_replica)?;
        }
        let records = data.records.unwrap_or_default();
        let length = records.len();
        let too_long = || EncodeError::FrameTooLarge { bytes: length };
        if flexible {
            let length = u32::try_from(length + 1).map_err(|_| too_long())?;
            encoder.write_unsigned_varint(length)?;
        } else {
            encoder.write_i32(i32::try_from(length).map_err(|_| too_long())?)?;
        }
        if length < SHARED_FROM_BYTES {
            self.current.extend_from_slice(&records);
        } else {
            let before = std::mem::take(&mut self.current).freeze();
            self.done_bytes += before.len() + length;
            self.done.push(before);
            self.done.push(records);
        }
        self.end_struct(tags)
    }

    fn end_struct(&mut self, tags: TaggedFields) -> Result<(), EncodeError> {
        if self.flexible {
            Encoder::new(&mut self.current).write_tagged_fields(&tags)?;
        }
        Ok(())
    }
}

/// Tags of a response and of a partition in it.
const NODES_TAG: u32 = 0;
const DIVERGING_EPOCH_TAG: u32 = 0;
const CURRENT_LEADER_TAG: u32 = 1;

fn tag(
    tag: u32,
    value: &impl KafkaEncode,
    version: ApiVersion,
) -> Result<TaggedField, EncodeError> {
    let mut bytes = BytesMut::new();
    value.encode(&mut Encoder::new(&mut bytes), version)?;
    Ok(TaggedField::new(tag, bytes.freeze()))
}

fn tagged(fields: Vec<TaggedField>) -> Result<TaggedFields, EncodeError> {
    TaggedFields::from_sorted(fields).map_err(EncodeError::from)
}

fn write_array_len<T: kafka_wire_core::EncodeTarget>(
    encoder: &mut Encoder<T>,
    flexible: bool,
    length: usize,
) -> Result<(), EncodeError> {
    if flexible {
        encoder.write_compact_array_len(length)
    } else {
        encoder.write_array_len(length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kafka_wire_core::{StrBytes, Uuid};

    #[test]
    fn pieces_are_the_bytes_of_the_generated_encoder_in_every_version() {
        for version in VERSIONS.0..=VERSIONS.1 {
            let header = Preamble {
                api_key: 1,
                api_version: version,
                correlation_id: 77,
            };
            let by_id = version >= TOPIC_IDS_SINCE;
            let partition = |index, size: usize, aborted| {
                message!(PartitionData {
                    partition_index: index,
                    high_watermark: 9,
                    last_stable_offset: 8,
                    log_start_offset: if version >= 5 { 1 } else { -1 },
                    aborted_transactions: aborted,
                    records: Some(Bytes::from(vec![7; size])),
                })
            };
            let aborted = message!(AbortedTransaction {
                producer_id: 4,
                first_offset: 5,
            });
            let topic = |partitions| {
                message!(FetchableTopicResponse {
                    topic: if by_id {
                        StrBytes::default()
                    } else {
                        StrBytes::from("topic")
                    },
                    topic_id: if by_id {
                        Uuid::from_bytes([3; 16])
                    } else {
                        Uuid::ZERO
                    },
                    partitions,
                })
            };
            let mut strayed = partition(5, 0, None);
            if version >= DIVERGENCE_SINCE {
                strayed.diverging_epoch = message!(EpochEndOffset {
                    epoch: 3,
                    end_offset: 70_000,
                });
                strayed.current_leader = message!(LeaderIdAndEpoch {
                    leader_id: 2,
                    leader_epoch: 300,
                });
            }
            let node = |id| {
                message!(NodeEndpoint {
                    node_id: id,
                    host: StrBytes::from("host"),
                    port: 9092,
                    rack: (id > 1).then(|| StrBytes::from("rack")),
                })
            };
            let nodes = if version >= LEADERS_SINCE {
                vec![node(1), node(2)]
            } else {
                vec![]
            };
            let response = message!(FetchResponse {
                node_endpoints: nodes,
                session_id: if version >= 7 { 6 } else { 0 },
                responses: vec![
                    topic(vec![
                        partition(0, 10_000, None),
                        partition(1, 0, Some(vec![])),
                        partition(2, 20, Some(vec![aborted])),
                    ]),
                    topic(vec![
                        partition(0, 5000, None),
                        partition(4, 6000, None),
                        strayed
                    ]),
                    topic(vec![]),
                ],
            });
            let whole = Response::encode(&header, &response).unwrap();
            let pieces = encode(&header, response).unwrap();
            assert!(pieces.pieces.len() > 5);
            assert_eq!(
                pieces.pieces.concat(),
                whole.pieces.concat(),
                "version {version}"
            );
            let empty = message!(FetchResponse {});
            let whole = Response::encode(&header, &empty).unwrap();
            assert_eq!(
                encode(&header, empty).unwrap().pieces.concat(),
                whole.pieces.concat()
            );
        }
    }
}
