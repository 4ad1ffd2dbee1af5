//! The cluster and its brokers' data folders.

use std::sync::Arc;

use kafka_wire::describe_cluster_response::DescribeClusterBroker;
use kafka_wire::{DescribeClusterRequest, DescribeLogDirsRequest};

use super::{Admin, ClusterDescription, LogDirDescription, LogDirReplica};
use crate::{BrokerInfo, ClientError, ErrorCode};

impl Admin {
    /// The cluster's id, controller and brokers.
    ///
    /// # Errors
    /// No broker answers.
    pub async fn describe_cluster(&self) -> Result<ClusterDescription, ClientError> {
        let mut retry = self.client.retry();
        loop {
            let result = self
                .client
                .call_any(|version| {
                    let mut request = DescribeClusterRequest::default();
                    if version.value() >= 1 {
                        request.endpoint_type = 1;
                    }
                    if version.value() >= 2 {
                        request.include_fenced_brokers = true;
                    }
                    request
                })
                .await;
            match result {
                Ok((response, _)) => {
                    ClientError::check(
                        response.error_code,
                        response.error_message.as_deref(),
                        || "cannot describe the cluster".to_owned(),
                    )?;
                    let (fenced, brokers): (Vec<_>, Vec<_>) =
                        response.brokers.iter().partition(|broker| broker.is_fenced);
                    return Ok(ClusterDescription {
                        cluster_id: response.cluster_id.as_str().to_owned(),
                        controller: response.controller_id,
                        brokers: brokers.into_iter().map(broker_info).collect(),
                        fenced: fenced.into_iter().map(broker_info).collect(),
                    });
                }
                Err(ClientError::UnsupportedVersion { .. }) => {
                    let info = self.client.cluster().await?;
                    return Ok(ClusterDescription {
                        cluster_id: info.cluster_id,
                        controller: info.controller,
                        brokers: info.brokers,
                        fenced: Vec::new(),
                    });
                }
                Err(error) => retry.again(error).await?,
            }
        }
    }

    /// The version of a broker's software, which those of this project say and Apache Kafka's don't.
    ///
    /// # Errors
    /// The broker doesn't answer.
    pub async fn software_version(&self, broker: i32) -> Result<Option<String>, ClientError> {
        let mut retry = self.client.retry();
        loop {
            match self.client.connection_to(broker).await {
                Ok(connection) => return Ok(connection.software().map(str::to_owned)),
                Err(error) => retry.again(error).await?,
            }
        }
    }

    /// The data folders of these brokers; of all if none is named.
    ///
    /// # Errors
    /// A broker doesn't answer.
    pub async fn describe_log_dirs(
        &self,
        brokers: &[i32],
    ) -> Result<Vec<LogDirDescription>, ClientError> {
        let brokers = if brokers.is_empty() {
            self.client
                .cluster()
                .await?
                .brokers
                .iter()
                .map(|broker| broker.id)
                .collect()
        } else {
            brokers.to_vec()
        };
        let mut all = Vec::new();
        for broker in brokers {
            let mut retry = self.client.retry();
            let response = loop {
                let result = self
                    .client
                    .call_broker(broker, |_| {
                        let mut request = DescribeLogDirsRequest::default();
                        request.topics = None;
                        request
                    })
                    .await;
                match result {
                    Ok((response, _)) => break response,
                    Err(error) => retry.again(error).await?,
                }
            };
            ClientError::check(response.error_code, None, || {
                format!("cannot describe the data folders of broker {broker}")
            })?;
            for answer in response.results {
                let code = ErrorCode(answer.error_code);
                let mut replicas = Vec::new();
                for topic in answer.topics {
                    let name: Arc<str> = Arc::from(topic.name.as_str());
                    replicas.extend(topic.partitions.into_iter().map(|partition| LogDirReplica {
                        topic: Arc::clone(&name),
                        partition: partition.partition_index,
                        size_bytes: partition.partition_size,
                        offset_lag: partition.offset_lag,
                        future: partition.is_future_key,
                    }));
                }
                all.push(LogDirDescription {
                    broker,
                    path: answer.log_dir.into_string(),
                    error: (!code.is_ok()).then_some(code),
                    total_bytes: answer.total_bytes,
                    usable_bytes: answer.usable_bytes,
                    replicas,
                });
            }
        }
        Ok(all)
    }
}

fn broker_info(broker: &DescribeClusterBroker) -> BrokerInfo {
    BrokerInfo {
        id: broker.broker_id,
        host: broker.host.as_str().to_owned(),
        port: u16::try_from(broker.port).unwrap_or(0),
        rack: broker.rack.as_ref().map(|rack| rack.as_str().to_owned()),
    }
}
