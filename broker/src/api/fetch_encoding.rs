//! How a Fetch response becomes bytes.

use bytes::{Bytes, BytesMut};
use kafka_wire::fetch_response::{EpochEndOffset, LeaderIdAndEpoch, NodeEndpoint, PartitionData};
use kafka_wire::{FetchResponse, KafkaMessage};
use kafka_wire_core::{ApiVersion, EncodeError, Encoder, KafkaEncode, TaggedField, TaggedFields};

use super::fetch::TOPIC_IDS_SINCE;
use super::response::{LENGTH_BYTES, start};
use super::{Preamble, RequestError, Response};

/// Record data from this size on is written from where it was read, without a copy.
const SHARED_FROM_BYTES: usize = 4096;

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
    use crate::api::fetch::{DIVERGENCE_SINCE, LEADERS_SINCE, VERSIONS};
    use crate::api::message;
    use kafka_wire::fetch_response::{AbortedTransaction, FetchableTopicResponse};
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
