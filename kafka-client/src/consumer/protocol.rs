//! What members of a group tell each other through the coordinator, which doesn't read it.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use kafka_wire::consumer_protocol_assignment::TopicPartition as AssignedTopic;
use kafka_wire::consumer_protocol_subscription::TopicPartition as OwnedTopic;
use kafka_wire::{
    ConsumerProtocolAssignment, ConsumerProtocolSubscription, encode_consumer_protocol_assignment,
    encode_consumer_protocol_subscription,
};
use kafka_wire_core::{ApiVersion, DecodeLimits, Decoder, KafkaDecode, StrBytes};

use super::assignor::Member;
use crate::topic_partition::by_topic;
use crate::{ClientError, TopicPartition};

/// The newest version of both.
const NEWEST: i16 = 3;
/// What Java's client writes into an assignment.
const ASSIGNMENT: i16 = 1;

fn unreadable(what: &str, reason: impl ToString) -> ClientError {
    ClientError::Protocol {
        context: format!("a group's {what} is unreadable"),
        reason: reason.to_string(),
    }
}

/// What this member wants and, in the cooperative protocol, what it owns.
pub(super) fn encode_subscription(
    topics: &[Arc<str>],
    owned: &[TopicPartition],
    generation: i32,
    user_data: Option<Bytes>,
) -> Result<Bytes, ClientError> {
    let mut subscription = ConsumerProtocolSubscription::default();
    subscription.topics = topics
        .iter()
        .map(|topic| StrBytes::from(&**topic))
        .collect();
    subscription.topics.sort();
    subscription.user_data = user_data;
    subscription.owned_partitions = by_topic(owned)
        .into_iter()
        .map(|(name, partitions)| {
            let mut topic = OwnedTopic::default();
            topic.topic = StrBytes::from(name);
            topic.partitions = partitions;
            topic
        })
        .collect();
    subscription.generation_id = generation;
    let mut bytes = BytesMut::new();
    encode_consumer_protocol_subscription(&mut bytes, &subscription, ApiVersion::new(NEWEST))
        .map_err(|error| unreadable("subscription", error))?;
    Ok(bytes.freeze())
}

/// Reads another member's subscription; of a version newer than ours, what ours has of it.
pub(super) fn decode_subscription(
    id: &str,
    instance_id: Option<&str>,
    bytes: Bytes,
) -> Result<Member, ClientError> {
    let subscription: ConsumerProtocolSubscription = decode(bytes, "subscription")?;
    let mut owned = Vec::new();
    for topic in &subscription.owned_partitions {
        let name: Arc<str> = Arc::from(topic.topic.as_str());
        owned.extend(topic.partitions.iter().map(|partition| TopicPartition {
            topic: Arc::clone(&name),
            partition: *partition,
        }));
    }
    Ok(Member {
        id: id.to_owned(),
        instance_id: instance_id.map(str::to_owned),
        topics: subscription
            .topics
            .iter()
            .map(|topic| topic.as_str().to_owned())
            .collect(),
        owned,
        generation: subscription.generation_id,
    })
}

pub(super) fn encode_assignment(partitions: &[TopicPartition]) -> Result<Bytes, ClientError> {
    let mut assignment = ConsumerProtocolAssignment::default();
    assignment.assigned_partitions = by_topic(partitions)
        .into_iter()
        .map(|(name, partitions)| {
            let mut topic = AssignedTopic::default();
            topic.topic = StrBytes::from(name);
            topic.partitions = partitions;
            topic
        })
        .collect();
    let mut bytes = BytesMut::new();
    encode_consumer_protocol_assignment(&mut bytes, &assignment, ApiVersion::new(ASSIGNMENT))
        .map_err(|error| unreadable("assignment", error))?;
    Ok(bytes.freeze())
}

/// Reads what this member got; nothing at all is an empty assignment.
pub(super) fn decode_assignment(bytes: Bytes) -> Result<Vec<TopicPartition>, ClientError> {
    if bytes.is_empty() {
        return Ok(Vec::new());
    }
    let assignment: ConsumerProtocolAssignment = decode(bytes, "assignment")?;
    let mut partitions = Vec::new();
    for topic in &assignment.assigned_partitions {
        let name: Arc<str> = Arc::from(topic.topic.as_str());
        partitions.extend(topic.partitions.iter().map(|partition| TopicPartition {
            topic: Arc::clone(&name),
            partition: *partition,
        }));
    }
    partitions.sort();
    Ok(partitions)
}

fn decode<M: KafkaDecode>(bytes: Bytes, what: &str) -> Result<M, ClientError> {
    let mut decoder =
        Decoder::new(bytes, DecodeLimits::default()).map_err(|error| unreadable(what, error))?;
    let version = decoder
        .read_i16()
        .map_err(|error| unreadable(what, error))?;
    // Later versions only add fields at the end.
    let version = ApiVersion::new(version.clamp(0, NEWEST));
    M::decode(&mut decoder, version).map_err(|error| unreadable(what, error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subscriptions_come_back_as_written() {
        let owned = [TopicPartition::new("a", 0), TopicPartition::new("a", 4)];
        let bytes =
            encode_subscription(&[Arc::from("b"), Arc::from("a")], &owned, 7, None).unwrap();
        let member = decode_subscription("me", Some("static"), bytes).unwrap();
        assert_eq!(member.topics, ["a", "b"]);
        assert_eq!(member.owned, owned);
        assert_eq!(member.generation, 7);
    }

    #[test]
    fn a_newer_version_is_read_as_far_as_known() {
        let bytes = encode_subscription(&[Arc::from("a")], &[], 1, None).unwrap();
        let mut newer = bytes.to_vec();
        newer[1] = 9;
        newer.extend([1, 2, 3]);
        assert_eq!(
            decode_subscription("me", None, newer.into())
                .unwrap()
                .topics,
            ["a"]
        );
    }

    #[test]
    fn assignments_come_back_as_written_and_nothing_is_empty() {
        let partitions = vec![TopicPartition::new("a", 1), TopicPartition::new("b", 0)];
        assert_eq!(
            decode_assignment(encode_assignment(&partitions).unwrap()).unwrap(),
            partitions
        );
        assert!(decode_assignment(Bytes::new()).unwrap().is_empty());
        assert!(decode_assignment(Bytes::from_static(&[0, 1, 0, 0])).is_err());
    }
}
