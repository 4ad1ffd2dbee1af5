//! Asking the controller for other leaders.

use kafka_wire::ElectLeadersRequest;
use kafka_wire::elect_leaders_request::TopicPartitions;
use kafka_wire_core::StrBytes;

use super::controller::is_controller_trouble;
use super::{Admin, Each, ElectionType, timeout_ms};
use crate::topic_partition::by_topic;
use crate::{ClientError, TopicPartition};

impl Admin {
    /// Elects leaders for these partitions; `None` is all partitions of the cluster, of which only
    /// those come back for which there was something to do.
    ///
    /// # Errors
    /// Of the whole call: no controller could be reached. Per partition `ELECTION_NOT_NEEDED` if
    /// its leader is the right one already, `PREFERRED_LEADER_NOT_AVAILABLE` or
    /// `ELIGIBLE_LEADERS_NOT_AVAILABLE` if nobody can lead.
    pub async fn elect_leaders(
        &self,
        election: ElectionType,
        partitions: Option<&[TopicPartition]>,
    ) -> Result<Each<TopicPartition, ()>, ClientError> {
        let topics = self
            .ask_again_while(is_controller_trouble, || async {
                let (response, _) = self
                    .client
                    .call_controller(|version| {
                        let mut request = ElectLeadersRequest::default();
                        if version.value() >= 1 {
                            request.election_type = election.wire();
                        }
                        request.timeout_ms = timeout_ms(&self.client);
                        request.topic_partitions = partitions.map(|partitions| {
                            by_topic(partitions)
                                .into_iter()
                                .map(|(topic, indexes)| {
                                    let mut wanted = TopicPartitions::default();
                                    wanted.topic = StrBytes::from(topic);
                                    wanted.partitions = indexes;
                                    wanted
                                })
                                .collect()
                        });
                        request
                    })
                    .await?;
                ClientError::check(response.error_code, None, || {
                    "cannot elect leaders".to_owned()
                })?;
                Ok(response.replica_election_results)
            })
            .await?;
        let mut all = Vec::new();
        for topic in topics {
            self.client.metadata().mark_stale(topic.topic.as_str());
            for answer in topic.partition_result {
                let partition = TopicPartition::new(topic.topic.as_str(), answer.partition_id);
                let outcome =
                    ClientError::check(answer.error_code, answer.error_message.as_deref(), || {
                        format!("cannot elect a leader for {partition}")
                    });
                all.push((partition, outcome));
            }
        }
        Ok(all)
    }
}
