//! The Produce request, written by hand so that batches go from their buffers to the socket without
//! another copy.

use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};

/// The newest version written here. Version 13 only replaces topic names by ids.
pub(super) const NEWEST_VERSION: i16 = 12;
const FIRST_FLEXIBLE: i16 = 9;
const API_KEY: i16 = 0;

/// One topic's batches, at most one per partition.
pub(super) struct TopicBatches {
    pub(super) topic: Arc<str>,
    pub(super) batches: Vec<(i32, Bytes)>,
}

/// A frame with correlation id 0: its head up to the first batch, then batches and what is between
/// and behind them.
pub(super) fn encode(
    version: i16,
    client_id: &str,
    acks: i16,
    timeout_ms: i32,
    topics: &[TopicBatches],
) -> (BytesMut, Vec<Bytes>) {
    let flexible = version >= FIRST_FLEXIBLE;
    let mut pieces = Vec::new();
    let mut head = BytesMut::with_capacity(256);
    head.put_i32(0);
    head.put_i16(API_KEY);
    head.put_i16(version);
    head.put_i32(0);
    // The header's client id is never compact.
    put_string(&mut head, client_id, false);
    if flexible {
        head.put_u8(0);
        head.put_u8(0);
    } else {
        head.put_i16(-1);
    }
    head.put_i16(acks);
    head.put_i32(timeout_ms);
    put_count(&mut head, topics.len(), flexible);
    let mut current = BytesMut::new();
    let mut first: Option<BytesMut> = None;
    std::mem::swap(&mut current, &mut head);
    for topic in topics {
        put_string(&mut current, &topic.topic, flexible);
        put_count(&mut current, topic.batches.len(), flexible);
        for (partition, batch) in &topic.batches {
            current.put_i32(*partition);
            put_count(&mut current, batch.len(), flexible);
            let finished = std::mem::take(&mut current);
            if first.is_none() {
                first = Some(finished);
            } else {
                pieces.push(finished.freeze());
            }
            pieces.push(batch.clone());
            if flexible {
                current.put_u8(0);
            }
        }
        if flexible {
            current.put_u8(0);
        }
    }
    if flexible {
        current.put_u8(0);
    }
    let mut head = match first {
        Some(first) => {
            pieces.push(current.freeze());
            first
        }
        None => current,
    };
    let length = head.len() - 4 + pieces.iter().map(Bytes::len).sum::<usize>();
    if let Some(prefix) = head.first_chunk_mut::<4>() {
        *prefix = u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes();
    }
    (head, pieces)
}

/// A length or an element count: 32 bits, or a varint of it plus one.
fn put_count(buffer: &mut BytesMut, count: usize, flexible: bool) {
    if !flexible {
        buffer.put_u32(u32::try_from(count).unwrap_or(u32::MAX));
        return;
    }
    let mut rest = count as u64 + 1;
    while rest >= 0x80 {
        buffer.put_u8((rest & 0x7f) as u8 | 0x80);
        rest >>= 7;
    }
    buffer.put_u8(rest as u8);
}

fn put_string(buffer: &mut BytesMut, text: &str, flexible: bool) {
    if flexible {
        put_count(buffer, text.len(), true);
    } else {
        buffer.put_u16(u16::try_from(text.len()).unwrap_or(u16::MAX));
    }
    buffer.put_slice(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use kafka_wire::produce_request::{PartitionProduceData, TopicProduceData};
    use kafka_wire::{OutboundFrameLimits, ProduceRequest, encode_request};
    use kafka_wire_core::{ApiVersion, StrBytes};

    use super::*;

    #[test]
    fn frames_are_those_of_the_generated_codec() {
        let topics = [
            TopicBatches {
                topic: Arc::from("orders"),
                batches: vec![
                    (0, Bytes::from(vec![1; 300])),
                    (7, Bytes::from(vec![2; 20_000])),
                ],
            },
            TopicBatches {
                topic: Arc::from("x"),
                batches: vec![(1, Bytes::from_static(b"abc"))],
            },
        ];
        for version in 3..=NEWEST_VERSION {
            let mut request = ProduceRequest::default();
            request.acks = -1;
            request.timeout_ms = 30_000;
            for topic in &topics {
                let mut data = TopicProduceData::default();
                data.name = StrBytes::from(&*topic.topic);
                for (index, records) in &topic.batches {
                    let mut partition = PartitionProduceData::default();
                    partition.index = *index;
                    partition.records = Some(records.clone());
                    data.partition_data.push(partition);
                }
                request.topic_data.push(data);
            }
            let mut expected = BytesMut::new();
            encode_request(
                &mut expected,
                0,
                Some(StrBytes::from("me")),
                &request,
                ApiVersion::new(version),
                OutboundFrameLimits::new(1 << 20),
            )
            .unwrap();
            let (mut head, pieces) = encode(version, "me", -1, 30_000, &topics);
            for piece in pieces {
                head.extend_from_slice(&piece);
            }
            assert_eq!(head, expected, "version {version}");
        }
    }
}
