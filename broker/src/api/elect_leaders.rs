//! ElectLeaders (key 43, KIP-460): gives partitions their preferred leader again, or any live one.

use kafka_wire::elect_leaders_response::{PartitionResult, ReplicaElectionResult};
use kafka_wire::{ElectLeadersRequest, ElectLeadersResponse};
use kafka_wire_core::{ApiVersion, StrBytes};

use super::message;
use crate::controller::ControllerError;
use crate::controller::operation::Election;
use crate::error_code;
use crate::node::RequestContext;

pub(crate) const VERSIONS: (i16, i16) = (0, 2);

const PREFERRED: i8 = 0;
const UNCLEAN: i8 = 1;

pub(crate) async fn handle(
    ctx: &RequestContext,
    request: ElectLeadersRequest,
    _version: ApiVersion,
) -> ElectLeadersResponse {
    let election = match request.election_type {
        PREFERRED => Election::Preferred,
        UNCLEAN => Election::Unclean,
        // There is no text in the answer to say more.
        _ => {
            return message!(ElectLeadersResponse {
                error_code: error_code::INVALID_REQUEST,
            });
        }
    };
    let partitions = request.topic_partitions.map(|topics| {
        let mut partitions: Vec<(String, i32)> = topics
            .iter()
            .flat_map(|topic| {
                let name = topic.topic.to_string();
                topic
                    .partitions
                    .iter()
                    .map(move |index| (name.clone(), *index))
            })
            .collect();
        partitions.sort_unstable();
        partitions.dedup();
        partitions
    });
    match ctx
        .broker
        .controller
        .elect_leaders(election, partitions)
        .await
    {
        Ok(results) => message!(ElectLeadersResponse {
            replica_election_results: by_topic(results),
        }),
        Err(error) => message!(ElectLeadersResponse {
            error_code: error.code,
        }),
    }
}

fn by_topic(
    results: Vec<(String, i32, Result<(), ControllerError>)>,
) -> Vec<ReplicaElectionResult> {
    let mut topics: Vec<ReplicaElectionResult> = Vec::new();
    for (topic, partition_id, result) in results {
        let (error_code, error_message) = match result {
            Ok(()) => (error_code::NONE, None),
            Err(error) => (error.code, Some(StrBytes::from(error.message))),
        };
        let partition = message!(PartitionResult {
            partition_id,
            error_code,
            error_message,
        });
        match topics.last_mut() {
            Some(last) if *last.topic == *topic => last.partition_result.push(partition),
            _ => topics.push(message!(ReplicaElectionResult {
                topic: StrBytes::from(topic),
                partition_result: vec![partition],
            })),
        }
    }
    topics
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_are_gathered_by_topic() {
        let refused = ControllerError::new(error_code::ELECTION_NOT_NEEDED, "it leads already");
        let topics = by_topic(vec![
            ("a".to_owned(), 0, Ok(())),
            ("a".to_owned(), 1, Err(refused)),
            ("b".to_owned(), 0, Ok(())),
        ]);
        assert_eq!(topics.len(), 2);
        assert_eq!(topics[0].partition_result.len(), 2);
        assert_eq!(topics[0].partition_result[1].error_code, 84);
        assert_eq!(&*topics[1].topic, "b");
    }
}
