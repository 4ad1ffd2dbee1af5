//! Fetch requests and what comes back.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use bytes::Bytes;
use kafka_records::{Batch, Record, batches};
use kafka_wire::FetchRequest;
use kafka_wire::fetch_request::{FetchPartition, FetchTopic};
use kafka_wire::fetch_response::{FetchResponse, PartitionData};
use kafka_wire_core::{StrBytes, Uuid};

use super::{ConsumerConfig, FetchedBatch, IsolationLevel, join};
use crate::pool::Pool;
use crate::{Client, ClientError, TopicPartition};

/// The first version that names topics by id.
const FIRST_WITH_TOPIC_IDS: i16 = 13;
/// Room made for a batch's records before any of them was read.
const RESERVE_RECORDS: usize = 64 * 1024;
/// The type of an abort marker in a control record's key.
const ABORT_MARKER: [u8; 2] = [0, 0];

/// One partition to be fetched.
#[derive(Debug, Clone)]
pub(super) struct Want {
    pub(super) partition: TopicPartition,
    pub(super) topic_id: Uuid,
    pub(super) offset: i64,
    pub(super) leader_epoch: i32,
}

/// Fetches from one broker, waiting for records as configured.
pub(super) async fn fetch(
    client: &Client,
    pool: &Pool,
    config: &ConsumerConfig,
    node: i32,
    wants: &[Want],
) -> Result<FetchResponse, ClientError> {
    let addr = client.broker_addr(node).await?;
    let connection = pool.get(&addr).await?;
    let all_have_ids = wants.iter().all(|want| !want.topic_id.is_zero());
    let ceiling = (!all_have_ids).then_some(FIRST_WITH_TOPIC_IDS - 1);
    let version = connection.version::<FetchRequest>(ceiling)?;
    let mut request = FetchRequest::default();
    request.max_wait_ms = join::milliseconds(config.fetch_max_wait);
    request.min_bytes = i32::try_from(config.fetch_min_bytes).unwrap_or(i32::MAX);
    request.max_bytes = i32::try_from(config.fetch_max_bytes).unwrap_or(i32::MAX);
    request.isolation_level = config.isolation.wire();
    let mut topics: BTreeMap<&Arc<str>, FetchTopic> = BTreeMap::new();
    for want in wants {
        let topic = topics.entry(&want.partition.topic).or_insert_with(|| {
            let mut topic = FetchTopic::default();
            if version.value() >= FIRST_WITH_TOPIC_IDS {
                topic.topic_id = want.topic_id;
            } else {
                topic.topic = StrBytes::from(&*want.partition.topic);
            }
            topic
        });
        let mut partition = FetchPartition::default();
        partition.partition = want.partition.partition;
        if version.value() >= 9 {
            partition.current_leader_epoch = want.leader_epoch;
        }
        partition.fetch_offset = want.offset;
        partition.partition_max_bytes =
            i32::try_from(config.max_partition_fetch_bytes).unwrap_or(i32::MAX);
        topic.partitions.push(partition);
    }
    request.topics = topics.into_values().collect();
    let timeout = client
        .config()
        .request_timeout
        .saturating_add(config.fetch_max_wait);
    let response = connection.call(&request, version, timeout).await?;
    ClientError::check(response.error_code, None, || {
        format!("broker {node} refused a fetch")
    })?;
    Ok(response)
}

/// The answer for one partition.
pub(super) fn answer_for<'a>(
    response: &'a FetchResponse,
    want: &Want,
) -> Option<&'a PartitionData> {
    response
        .responses
        .iter()
        .filter(|topic| {
            if topic.topic_id.is_zero() {
                topic.topic.as_str() == &*want.partition.topic
            } else {
                topic.topic_id == want.topic_id
            }
        })
        .flat_map(|topic| &topic.partitions)
        .find(|answer| answer.partition_index == want.partition.partition)
}

/// Slices the records from `offset` on out of what was fetched: none of control batches, none of
/// aborted transactions when only committed ones are wanted. `None` if there was nothing at all.
///
/// Damage behind good records shows with the next fetch, which starts there. So does what comes behind
/// as much as one batch may grow to: few bytes on the wire can be many in memory.
pub(super) fn records(
    config: &ConsumerConfig,
    partition: &TopicPartition,
    offset: i64,
    answer: &PartitionData,
) -> Result<Option<FetchedBatch>, ClientError> {
    let Some(bytes) = answer.records.clone().filter(|bytes| !bytes.is_empty()) else {
        return Ok(None);
    };
    let mut aborted = Aborted::new(config.isolation, answer);
    let mut found = FetchedBatch {
        topic: Arc::clone(&partition.topic),
        partition: partition.partition,
        records: Vec::new(),
        high_watermark: answer.high_watermark,
        next_offset: offset,
        leader_epoch: -1,
    };
    let mut held = 0;
    for batch in batches(bytes) {
        let before = found.records.len();
        let result = batch
            .map_err(|error| error.to_string())
            .and_then(|batch| take(config, &batch, offset, &mut aborted, &mut found));
        if let Err(reason) = result {
            if found.next_offset > offset {
                break;
            }
            let partition = partition.clone();
            return Err(ClientError::Corrupt {
                partition,
                offset: found.next_offset,
                reason,
            });
        }
        let new = found.records.iter().skip(before);
        held += new.map(held_bytes).sum::<usize>();
        if held >= config.max_decompressed_bytes {
            break;
        }
    }
    Ok((found.next_offset > offset).then_some(found))
}

/// What a record holds in memory, about.
fn held_bytes(record: &Record) -> usize {
    let [key, value] = [&record.key, &record.value].map(|part| part.as_ref().map_or(0, Bytes::len));
    size_of::<Record>() + key + value
}

fn take(
    config: &ConsumerConfig,
    batch: &Batch,
    offset: i64,
    aborted: &mut Aborted,
    found: &mut FetchedBatch,
) -> Result<(), String> {
    let header = &batch.header;
    let next = header.next_offset();
    if next <= offset {
        return Ok(());
    }
    if config.check_crcs {
        batch.verify().map_err(|error| error.to_string())?;
    }
    if header.is_control() {
        aborted.marker(batch, config.max_decompressed_bytes)?;
    } else if !aborted.hides(batch) {
        let before = found.records.len();
        let records = batch
            .records(config.max_decompressed_bytes)
            .map_err(|error| error.to_string())?;
        found.records.reserve(
            usize::try_from(header.record_count)
                .unwrap_or(0)
                .min(RESERVE_RECORDS),
        );
        for record in records {
            match record {
                Ok(record) if record.offset >= offset => found.records.push(record),
                Ok(_) => {}
                Err(error) => {
                    found.records.truncate(before);
                    return Err(error.to_string());
                }
            }
        }
    }
    found.next_offset = next;
    found.leader_epoch = header.partition_leader_epoch;
    Ok(())
}

/// The aborted transactions in one answer.
struct Aborted {
    /// By first offset, the last one first.
    to_come: Vec<(i64, i64)>,
    open: HashSet<i64>,
}

impl Aborted {
    fn new(isolation: IsolationLevel, answer: &PartitionData) -> Self {
        let mut to_come: Vec<(i64, i64)> = Vec::new();
        if isolation == IsolationLevel::ReadCommitted {
            let listed = answer.aborted_transactions.iter().flatten();
            to_come.extend(listed.map(|aborted| (aborted.first_offset, aborted.producer_id)));
            to_come.sort_unstable_by(|left, right| right.cmp(left));
        }
        Self {
            to_come,
            open: HashSet::new(),
        }
    }

    fn advance(&mut self, last_offset: i64) {
        while let Some((_, producer)) = self.to_come.pop_if(|(first, _)| *first <= last_offset) {
            self.open.insert(producer);
        }
    }

    fn hides(&mut self, batch: &Batch) -> bool {
        self.advance(batch.header.last_offset());
        batch.header.is_transactional() && self.open.contains(&batch.header.producer_id)
    }

    /// An abort marker ends what it aborts; later batches of the same producer are another
    /// transaction.
    fn marker(&mut self, batch: &Batch, max: usize) -> Result<(), String> {
        self.advance(batch.header.last_offset());
        if self.open.is_empty() {
            return Ok(());
        }
        let first: Option<Record> = batch
            .records(max)
            .map_err(|error| error.to_string())?
            .next()
            .transpose()
            .map_err(|error| error.to_string())?;
        let kind: Option<Bytes> = first.and_then(|record| record.key);
        if kind.is_some_and(|kind| kind.get(2..4) == Some(&ABORT_MARKER[..])) {
            self.open.remove(&batch.header.producer_id);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use kafka_records::{BatchBuilder, Compression, ProducerIdentity, RecordRef, assign_offsets};
    use kafka_wire::fetch_response::AbortedTransaction;

    use super::*;

    fn identity(producer_id: i64) -> ProducerIdentity {
        ProducerIdentity {
            producer_id,
            producer_epoch: 0,
            base_sequence: 0,
        }
    }

    fn batch(base: i64, values: &[&str], producer: Option<i64>) -> Vec<u8> {
        let mut builder = BatchBuilder::new(Compression::None, 1024);
        for value in values {
            builder.push(RecordRef {
                timestamp: 0,
                key: None,
                value: Some(value.as_bytes()),
                headers: &[],
            });
        }
        let bytes = match producer {
            Some(producer) => builder.finish_with(identity(producer), true),
            None => builder.finish(),
        };
        place(bytes.unwrap(), base)
    }

    fn marker(base: i64, producer: i64, commit: bool) -> Vec<u8> {
        let mut builder = BatchBuilder::new(Compression::None, 128);
        let key = [0, 0, 0, u8::from(commit)];
        builder.push(RecordRef {
            timestamp: 0,
            key: Some(&key),
            value: Some(&[0; 6]),
            headers: &[],
        });
        place(builder.finish_control(identity(producer)).unwrap(), base)
    }

    fn place(bytes: Bytes, base: i64) -> Vec<u8> {
        let mut bytes = bytes.to_vec();
        assign_offsets(&mut bytes, base, 3);
        bytes
    }

    fn answer(pieces: &[Vec<u8>], aborted: &[(i64, i64)]) -> PartitionData {
        let mut answer = PartitionData::default();
        answer.records = Some(Bytes::from(pieces.concat()));
        answer.high_watermark = 100;
        answer.aborted_transactions = Some(
            aborted
                .iter()
                .map(|(producer, first)| {
                    let mut aborted = AbortedTransaction::default();
                    aborted.producer_id = *producer;
                    aborted.first_offset = *first;
                    aborted
                })
                .collect(),
        );
        answer
    }

    fn read(
        isolation: IsolationLevel,
        offset: i64,
        answer: &PartitionData,
    ) -> Result<Option<(Vec<String>, i64)>, ClientError> {
        let config = ConsumerConfig {
            isolation,
            ..ConsumerConfig::default()
        };
        let found = records(&config, &TopicPartition::new("t", 0), offset, answer)?;
        Ok(found.map(|found| {
            let values = found
                .records
                .iter()
                .map(|record| String::from_utf8(record.value.as_ref().unwrap().to_vec()).unwrap())
                .collect();
            (values, found.next_offset)
        }))
    }

    fn strings(values: &[&str]) -> Vec<String> {
        values.iter().map(|value| (*value).to_owned()).collect()
    }

    #[test]
    fn a_batch_that_starts_before_the_position_is_cut() {
        let answer = answer(&[batch(10, &["a", "b", "c"], None)], &[]);
        let found = read(IsolationLevel::ReadUncommitted, 11, &answer)
            .unwrap()
            .unwrap();
        assert_eq!(found, (strings(&["b", "c"]), 13));
    }

    #[test]
    fn aborted_transactions_and_markers_are_hidden_and_passed() {
        let pieces = [
            batch(0, &["open1"], Some(1)),
            batch(1, &["kept"], Some(2)),
            marker(2, 1, false),
            batch(3, &["second"], Some(1)),
            marker(4, 2, true),
            marker(5, 1, true),
        ];
        let answer = answer(&pieces, &[(1, 0)]);
        let committed = read(IsolationLevel::ReadCommitted, 0, &answer)
            .unwrap()
            .unwrap();
        assert_eq!(committed, (strings(&["kept", "second"]), 6));
        let all = read(IsolationLevel::ReadUncommitted, 0, &answer)
            .unwrap()
            .unwrap();
        assert_eq!(all, (strings(&["open1", "kept", "second"]), 6));
    }

    #[test]
    fn damage_is_reported_where_it_is_and_not_before() {
        let mut bad = batch(11, &["bad"], None);
        *bad.last_mut().unwrap() ^= 1;
        let answer = answer(&[batch(10, &["good"], None), bad], &[]);
        let found = read(IsolationLevel::ReadUncommitted, 10, &answer)
            .unwrap()
            .unwrap();
        assert_eq!(found, (strings(&["good"]), 11));
        let error = read(IsolationLevel::ReadUncommitted, 11, &answer).unwrap_err();
        assert!(
            matches!(error, ClientError::Corrupt { offset: 11, .. }),
            "{error}"
        );
    }

    #[test]
    fn little_on_the_wire_does_not_become_much_in_memory() {
        let zeros = vec![0; 100_000];
        let bomb = |base| {
            let mut builder = BatchBuilder::new(Compression::Gzip, 1024);
            builder.push(RecordRef {
                timestamp: 0,
                key: None,
                value: Some(&zeros),
                headers: &[],
            });
            place(builder.finish().unwrap(), base)
        };
        let answer = answer(&(0..50).map(bomb).collect::<Vec<_>>(), &[]);
        let config = ConsumerConfig {
            max_decompressed_bytes: 250_000,
            ..ConsumerConfig::default()
        };
        let partition = TopicPartition::new("t", 0);
        let found = records(&config, &partition, 0, &answer).unwrap().unwrap();
        assert_eq!((found.records.len(), found.next_offset), (3, 3));
        let found = records(&config, &partition, 3, &answer).unwrap().unwrap();
        assert_eq!((found.records.len(), found.next_offset), (3, 6));
    }

    #[test]
    fn nothing_fetched_is_nothing() {
        assert!(
            read(IsolationLevel::ReadUncommitted, 0, &answer(&[], &[]))
                .unwrap()
                .is_none()
        );
    }
}
